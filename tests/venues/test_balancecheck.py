"""Balances compared: a difference counts when two asks found the same one, and nothing moved between them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.serve.site import head, serving
from tests.venues.test_cex import run
from tests.venues.test_cex_served import DEEP, trading_at
from tests.venues.test_countdown import CountingAccount, live
from tests.venues.test_countdown import Desk as CountingDesk
from xarb.engine.discrepancy import read_discrepancy
from xarb.model.units import NANOS_PER_S, Money, parse_money
from xarb.venues.balancecheck import BalanceCheck
from xarb.venues.liveorders import Expected
from xarb.venues.orderids import OrderName
from xarb.venues.replies import OrderSaid
from xarb.venues.userwires import BalanceTold


def told(**assets: int) -> list[BalanceTold]:
    """What an exchange says: free, with 1 of each locked."""
    return [BalanceTold(asset, Money(amount - 1), Money(1), None) for asset, amount in assets.items()]


def check(**ours: int) -> BalanceCheck:
    """One that compares with these books; others' orders had 2 BTC locked when they were opened."""
    made = BalanceCheck("main", "a")
    made.begin(lambda account, venue: ours if (account, venue) == ("main", "a") else {}, {"BTC": 2})
    return made


def look(one: BalanceCheck, at_s: float, theirs: list[BalanceTold], *, moved: int = 1, moving: tuple[str, ...] = ()) -> list[Any]:
    """Asset, ours and theirs of each difference that counts."""
    rows = one.look(int(at_s * NANOS_PER_S), theirs, moved, moving=moving)
    found = [read_discrepancy(1, row.values["detail"]) for row in rows]
    assert all(
        (row.kind, row.values["action"], row.values["actor"]) == ("operator", "discrepancy", "account main at a") for row in rows
    )
    return [(each.asset, each.ours, each.theirs) for each in found]


def test_two_asks_that_agree_count_and_are_told_once() -> None:
    """Less what others had locked; again only when it is another one, or a while later."""
    one = check(BTC=10, USD=5)
    assert look(one, 0, told(BTC=13, USD=5)) == []
    assert (one.is_open, one.wants_again) == (True, True)
    assert look(one, 10, told(BTC=13, USD=5)) == [("BTC", 10, 11)]
    assert one.is_open is False
    assert look(one, 20, told(BTC=13, USD=5)) == []
    assert look(one, 30, told(BTC=14, USD=5)) == []
    assert look(one, 40, told(BTC=14, USD=5)) == [("BTC", 10, 12)]
    assert look(one, 100, told(BTC=14, USD=5)) == []
    assert look(one, 110, told(BTC=14, USD=5)) == [("BTC", 10, 12)]


def test_what_agrees_is_not_told() -> None:
    """An asset that is locked in whole, one that we think of and is not listed, and one that we do not know."""
    one = check(BTC=10, USD=0)
    assert look(one, 0, told(BTC=12)) == []
    assert one.is_open is False
    assert look(one, 10, told(BTC=12, GIFT=7)) == []
    assert look(one, 20, told(GIFT=7)) == [("GIFT", 0, 7)]
    assert look(one, 30, told(GIFT=7)) == [("BTC", 10, -2)]


def test_a_difference_says_until_when_there_was_none() -> None:
    """The last ask but one that found none: the last may not have shown a fill yet; never where an ask found none just once."""
    one = check(BTC=10, USD=5)
    look(one, 0, told(BTC=12, USD=5))
    look(one, 60, told(BTC=12, USD=7))
    look(one, 120, told(BTC=12, USD=7))
    look(one, 180, told(BTC=13, USD=7))
    rows = one.look(int(190 * NANOS_PER_S), told(BTC=13, USD=8), 1, moving=())
    assert [read_discrepancy(1, row.values["detail"]).agreed for row in rows] == [60 * NANOS_PER_S]
    rows = one.look(int(200 * NANOS_PER_S), told(BTC=13, USD=8), 1, moving=())
    assert [read_discrepancy(1, row.values["detail"]).agreed for row in rows] == [0]


def test_what_moved_between_or_came_too_soon_does_not_count() -> None:
    """A report or an order between two asks; another difference; an ask half a second later; one that was void."""
    one = check(USD=5)
    assert look(one, 0, told(USD=7), moved=1) == []
    assert look(one, 10, told(USD=7), moved=2) == []
    assert one.wants_again is False  # a regular ask comes next, however much moves
    assert look(one, 60, told(USD=8), moved=2) == []
    assert look(one, 60.5, told(USD=8), moved=2) == []
    one.void()
    assert one.is_open is True
    assert look(one, 70, told(USD=8), moved=2) == []
    assert look(one, 80, told(USD=8), moved=2) == [("USD", 5, 8)]


def test_an_asset_with_a_transfer_under_way_is_not_judged() -> None:
    """Nobody knows whether it is in the balance yet."""
    one = check(USD=5)
    assert look(one, 0, told(USD=7), moving=("USD",)) == []
    assert look(one, 10, told(USD=7), moving=("USD",)) == []
    assert look(one, 20, told(USD=7)) == []
    assert look(one, 30, told(USD=7)) == [("USD", 5, 7)]


def test_nothing_is_compared_before_there_are_books() -> None:
    """Before a start."""
    one = BalanceCheck("main", "a")
    assert look(one, 0, told(USD=7)) == look(one, 10, told(USD=7)) == []


def test_nothing_is_compared_beside_what_moves_or_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Something was told since balances were asked for; an order's request is on its way, the exchange has not told of it, or counts more than its fills."""

    async def story() -> None:
        async with CountingDesk(CountingAccount()) as at:
            desk, did = at.desk, list[str]()

            def look_at(*_: object, **__: object) -> tuple[()]:
                did.append("compared")
                return ()

            monkeypatch.setattr(desk.check, "look", look_at)
            monkeypatch.setattr(desk.check, "void", lambda: did.append("void"))

            def compared() -> str:
                desk._compare([], desk._moved)
                return did[-1]

            assert compared() == "compared"
            desk._compare([], desk._moved - 1)
            assert did[-1] == "void"
            name = OrderName(1, 1)
            one = desk.leaves(
                Expected(name=name, account="main", strategy="s", venue="okx", symbol="BTC/USDT", side="buy", qty=Money(4))
            )
            assert compared() == "void"
            desk.answered(one)
            assert compared() == "void"
            stated = OrderSaid(
                symbol="BTC/USDT", venue_order_id="9", state="open", client_id=one.sent_id, side="buy", cum_qty=Money(0)
            )
            desk.say(desk.orders.heard(stated, source="send"))
            assert compared() == "compared"
            desk.say(desk.orders.heard(msgspec.structs.replace(stated, cum_qty=Money(1)), source="stream"))
            assert compared() == "void"

    live(story())


@pytest.mark.parametrize(("asset", "change"), [("USDT", "0.0315"), ("BTC", "2.5"), ("USDT", "-400.25")])
def test_money_that_moves_at_the_served_exchange_is_found(tmp_path: Path, asset: str, change: str) -> None:
    """A fee's rebate, a deposit, a withdrawal that no list has: told to the last digit; an order between the asks makes them begin anew."""

    async def work() -> None:
        async with serving(tmp_path, [*head(), (10, DEEP)]) as site, trading_at(site) as at:
            desk = at.venue.desks["main"]
            books = {one["asset"]: one["free"] for one in at.of("balances")}
            desk.check.again_s = 0.1
            desk.check.begin(lambda *_: books, {})
            await desk.settle_balances()
            assert at.of("operator") == []
            site.server.desk.move(("main", "alpha", asset), parse_money(change))
            await desk.settle_balances()
            [row] = at.of("operator")
            found = read_discrepancy(1, row["detail"])
            assert (found.place, found.difference) == (("main", "alpha", asset), parse_money(change))
            books[asset] = Money(found.theirs)
            await at.submit(1, 100_000, price_int=10_001)
            await desk.reconcile()
            await desk.reconcile()
            assert at.of("operator") == [row], "between these two nothing waited long enough"

    run(work())
