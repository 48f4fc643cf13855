"""An order that an exchange does not know is dead once everything agrees on it: look-ups over the settle time, fills and the balance."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.serve.site import head, serving
from tests.venues.exchange_server import SmallExchange
from tests.venues.test_cex import ends, run
from tests.venues.test_cex_served import DEEP, trading_at
from tests.venues.trader import Trader, trading
from xarb.engine.discrepancy import read_discrepancy
from xarb.serve.faults import Fault
from xarb.venues import absence

NEVER = "rejected never_arrived"
LONG = 10**6  # look-ups


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look-ups follow each other faster."""
    monkeypatch.setattr(absence, "LOOKS_S", (0.02, 0.05, 0.1))


def doubts(at: Trader) -> list[str]:
    """What was told of orders that are not found, and not dead."""
    return [row["detail"] for row in at.of("health") if row["metric"] == "order_unproven"]


async def doubted(at: Trader, count: int = 1) -> list[str]:
    """The same, once there is so much of it."""
    async with asyncio.timeout(10):
        while len(found := doubts(at)) < count:
            await at.venue.rows_came()
    return found


def denying(*faults: Any) -> SmallExchange:
    """An exchange that fills orders and denies it to look-ups, cancels, in its list of fills and on its stream."""
    server = SmallExchange()
    server.is_mute = server.hides_trades = True
    server.unknown, server.faults = LONG, list(faults)
    return server


def test_an_order_that_is_denied_for_longer_than_the_window_is_not_given_up() -> None:
    """Look-ups, a cancel and the list of fills find nothing, and the money has moved: of unknown fate, and the balance is named."""

    async def work() -> None:
        server = denying("drop")
        async with server.serving(), trading(server, settle_ms=100) as at:
            await at.submit(1)
            why = "the balance differs by 0.999 BTC, -60000.01 USDT, which may be a fill of it"
            assert await doubted(at) == [f"0123abcd-1-1 is not found, and not proven to be dead: {why}"]
            looks = len(server.seen)
            await asyncio.sleep(0.5)
            assert len(server.seen) > looks, "it is looked up further"
            assert len(doubts(at)) == 1, "and told once"
            assert [event for event in at.events(1) if event != "not_found"] == ["sent", "unknown exchange_not_available"]
            server.hides_trades = False
            assert (await at.until(ends("fill 1"), 1))[-1] == "fill 1"

    run(work())


def test_the_window_is_the_accounts_own() -> None:
    """However many look-ups find nothing, an order is not given up before it is over."""

    async def work(settle_ms: int, least_s: float, most_s: float) -> None:
        server = SmallExchange()
        server.faults = ["lose"]
        async with server.serving(), trading(server, settle_ms=settle_ms) as at:
            await at.submit(1)
            begun = asyncio.get_running_loop().time()
            await at.until(ends(NEVER), 1)
            assert least_s <= asyncio.get_running_loop().time() - begun <= most_s

    run(work(100, 0.1, 1.2))
    run(work(1_500, 1.5, 5.0))


def test_two_of_unknown_fate_are_reckoned_together() -> None:
    """One that filled unseen and one that never came: neither is dead while the balance may speak for it, and both end when the fill is told."""

    async def work() -> None:
        server = denying("drop", "lose")
        async with server.serving(), trading(server, settle_ms=100) as at:
            await at.submit(1)
            await at.submit(2, side="sell", price_int=5_900_000)
            found = await doubted(at, 2)
            assert {text.split()[0] for text in found} == {"0123abcd-1-1", "0123abcd-1-2"}
            assert all("beside another order that may hide one" in text for text in found)
            server.hides_trades = False
            await at.until(ends("fill 1"), 1)
            assert NEVER in await at.until(ends(NEVER), 2)

    run(work())


def test_two_that_never_came_are_dead() -> None:
    """Both ways on one symbol, and every coin as it was: the set is dead."""

    async def work() -> None:
        server = denying("lose", "lose")
        async with server.serving(), trading(server, settle_ms=100) as at:
            await at.submit(1)
            await at.submit(2, side="sell", price_int=5_900_000)
            for number in (1, 2):
                assert (await at.until(ends(NEVER), number))[-1] == NEVER
            assert doubts(at) == []

    run(work())


def test_a_fill_that_nobody_owns_keeps_an_order_alive() -> None:
    """The list of fills names an order that no question finds: it may be ours, and is in the end."""

    async def work() -> None:
        server = denying("drop")
        server.hides_trades, server.denies_ids = False, True
        async with server.serving(), trading(server, settle_ms=100) as at:
            await at.submit(1)
            [told] = await doubted(at)
            assert told.endswith("nobody names the order of a fill on BTC/USDT")
            server.denies_ids = False
            await at.until(ends("fill 1"), 1)

    run(work())


def test_what_differs_for_long_is_told_and_then_the_order_is_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    """Money that looks like a fill and is none: told as a difference after a while; booked, it speaks for no order any more."""

    async def work() -> None:
        server = denying("lose")
        async with server.serving(), trading(server, settle_ms=100) as at:
            desk = at.venue.desks["main"]
            desk.check.again_s = 0.1
            books = {asset: int(amount * 10**18) for asset, amount in server.opening.items()}
            desk.check.begin(lambda *_: books, {})
            server.balances["BTC"] += Decimal("0.5")
            server.balances["USDT"] -= Decimal(30_000)
            await at.submit(1)
            await doubted(at)
            await desk.settle_balances()
            assert at.of("operator") == [], "not at once: a fill may yet be told"
            monkeypatch.setattr(absence, "DOUBT_S", 0.0)
            await desk.settle_balances()
            found = [read_discrepancy(1, row["detail"]) for row in at.of("operator")]
            assert [(one.asset, one.difference) for one in found] == [("BTC", 5 * 10**17), ("USDT", -30_000 * 10**18)]
            assert NEVER not in at.events(1)
            books.update({one.asset: one.theirs for one in found})
            await at.until(ends(NEVER), 1)

    run(work())


def test_without_books_nothing_is_dead() -> None:
    """What the account should have is not known: an order that is not found stays of unknown fate."""

    async def work() -> None:
        server = denying("lose")
        async with server.serving(), trading(server, settle_ms=100) as at:
            at.venue.desks["main"].check._before = None
            await at.submit(1)
            [told] = await doubted(at)
            assert told.endswith("nobody knows what the account should have")

    run(work())


def test_a_served_exchange_that_denies_a_fill(tmp_path: Path) -> None:
    """Its reply and its pushes are lost, look-ups say that there is no such order, fills are not listed; then it says so after all."""
    faults = (
        Fault(kind="drop_reply", on="POST /api/v3/order", after=1),
        Fault(kind="gap", on="executionReport", after=1, count=0),
        Fault(kind="status", on="GET /api/v3/order", after=1, count=12, status=400, code=-2013, message="Order does not exist."),
        Fault(kind="empty", on="GET /api/v3/myTrades", after=1, count=12),
    )

    async def work() -> None:
        async with serving(tmp_path, [*head(), (10, DEEP)], faults=faults) as site, trading_at(site, settle_ms=100) as at:
            await at.submit(1, 150_000, price_int=10_001)
            told = await doubted(at)
            assert "BTC" in told[0]
            assert "which may be a fill of it" in told[0]
            events = await at.until(lambda found: sum(one.startswith("fill") for one in found) == 2, 1)
            assert NEVER not in events

    run(work())
