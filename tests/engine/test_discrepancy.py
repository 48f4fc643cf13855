"""Money at a venue that differs from ours: booked, or the end of new bundles."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from tests.defaults import engine_setup, feed_limits
from tests.engine.desk import Desk, money
from tests.engine.table import instrument
from tests.engine.test_live_rows import FILL, GOOD, desk, report, transfer
from xarb.config.inventory import InventoryConfig
from xarb.engine.carried import CarriedBundle, CarriedLeg, CarriedOrder
from xarb.engine.discrepancy import DISCREPANCY, Discrepancy, read_discrepancy
from xarb.engine.setup import AdjustLimits
from xarb.errors import LogError
from xarb.model.instrument import FeeTier
from xarb.model.order import CARRIED
from xarb.model.units import MONEY_ONE, NANOS_PER_S, Money, Ppb
from xarb.settings import adjust_limits

FREE = money(10**9)  # what others may trade
LIMITS = AdjustLimits(worth=money(50), ratio_ppb=Ppb(100_000), currencies=("USD",), foreign=FREE)  # 100 USD of the million
HELD = 1_000_000


def tell(one: Desk, asset: str, theirs: int, *, ours: int | None = None, venue: str = "a") -> list[str]:
    """An account tells that it has other money; what the engine did."""
    booked = one.balance(venue, asset) if ours is None else ours
    found = Discrepancy(account="main", venue=venue, asset=asset, ours=money(booked), theirs=money(theirs))
    return one.slow("operator", {"action": DISCREPANCY, "actor": "account main", "detail": found.text})


def adjusted(one: Desk) -> list[tuple[str, str, int, int]]:
    """Strategy, asset, change and balance of each adjustment."""
    rows = [row for row in one.drained("ledger") if row["cause"] == "adjustment"]
    return [(row["strategy"], row["asset"], row["delta"] // MONEY_ONE, row["balance"] // MONEY_ONE) for row in rows]


@pytest.mark.parametrize(
    ("asset", "change", "limits"),
    [
        ("USD", 50, {"ratio_ppb": 0}),
        ("USD", -50, {"ratio_ppb": 0}),
        ("BTC", 5, {"ratio_ppb": 0, "worth": money(505)}),
        ("USD", 100, {"worth": 0}),
        ("BTC", -100, {"worth": 0}),
        ("GIFT", 10**6, {"ratio_ppb": 0, "worth": 0}),
    ],
)
def test_a_small_difference_is_booked_and_is_nobodys_profit(asset: str, change: int, limits: dict[str, Any]) -> None:
    """Up to a worth at the highest ask, or a part of the balance; and whatever is of an asset that nothing trades."""
    one = desk(adjust=msgspec.structs.replace(LIMITS, **limits))
    before = one.balance("a", asset)
    assert tell(one, asset, before + change) == []
    assert adjusted(one) == [("", asset, change, before + change)]
    assert one.balance("a", asset) == before + change
    assert one.engine.portfolio.flows("s") == {}
    marks = {"USD": MONEY_ONE, "BTC": MONEY_ONE, "GIFT": MONEY_ONE}
    assert one.engine.portfolio.value("main", marks, marks).trading == 0
    assert one.engine.distrust is None
    assert len(one.tell(*GOOD)) == 2


@pytest.mark.parametrize(
    ("asset", "change", "limits", "worth"),
    [
        ("USD", 101, {}, 101),
        ("USD", -101, {}, 101),
        ("BTC", 5, {"ratio_ppb": 0, "worth": money(504)}, 505),
        ("BTC", -5, {"ratio_ppb": 0, "worth": money(504)}, 505),
        ("BTC", 101, {"worth": 0, "currencies": ("EUR",)}, None),
    ],
)
def test_a_large_one_ends_new_bundles_for_good(asset: str, change: int, limits: dict[str, Any], worth: int | None) -> None:
    """Nothing is booked; what is open comes to its end; nobody arms it again. One that nothing can ever price is large."""
    made = msgspec.structs.replace(LIMITS, **limits)
    one = desk(adjust=made)
    one.tell(*GOOD)
    before = one.balance("a", asset)
    assert tell(one, asset, before + change) == ["refuse balance_differs"]
    [row] = [row for row in one.drained("refusals") if row["reason"] == "balance_differs"]
    assert (row["account"], row["venue"], row["value"], row["bound"]) == ("main", "a", worth and money(worth), made.worth)
    assert adjusted(one) == []
    assert one.engine.execution.killed == "entries"
    assert one.engine.distrust is not None
    assert f"main has {before + change} {asset} at a, by our books {before}" in str(one.engine.distrust)
    one.slow("operator", {"action": "arm", "actor": "me", "detail": None})
    assert one.tell(*GOOD) == ["refuse disarmed"]
    assert report(one, 1, "fill", **FILL) == []
    assert report(one, 2, "rejected") == ["hedge 3 sell b 100 5"]


def test_a_difference_that_something_overtook_is_neither_booked_nor_feared() -> None:
    """Its `ours` is not what our books say now: the account looks again."""
    one = desk(adjust=LIMITS)
    assert tell(one, "USD", HELD + 1, ours=HELD - 7) == []
    assert tell(one, "USD", HELD) == []
    assert (adjusted(one), one.engine.distrust, one.engine.execution.killed) == ([], None, None)


def test_an_asset_whose_price_is_not_known_yet_is_left_alone_until_it_is() -> None:
    """Neither booked nor feared before the first quote; judged when it is told again."""
    one = Desk("a", timers_are_rows=True, adjust=LIMITS)
    chosen = [instrument("a")]
    opening = {("main", "a", asset): money(HELD) for asset in ("BTC", "USD")}
    blind = Desk.__new__(Desk)
    blind.__dict__.update(one.__dict__)
    limits = [feed_limits()]
    setup = engine_setup(
        instruments=chosen,
        groups=[[0]],
        sources=[0],
        limits=limits,
        fees={},
        opening=opening,
        connections=1,
        log_id="testlog1",
        timers_are_rows=True,
        adjust=LIMITS,
    )
    blind.engine, blind.rows, blind.seq, blind.now = type(one.engine)(setup, []), [], 0, 0
    assert tell(blind, "BTC", HELD + 200, ours=HELD) == []
    assert (adjusted(blind), blind.engine.distrust) == ([], None)
    blind.quote(0)
    assert tell(blind, "BTC", HELD + 200) == ["refuse balance_differs"]


BIG: dict[str, Any] = FILL | {"qty": int(money(400)), "fee": int(money(1))}  # 400 BTC at 101
LATER = 60 * NANOS_PER_S  # behind whatever the books opened with


def strange(one: Desk, **changes: Any) -> None:
    """A fill of somebody else's order, of 400 BTC at 101 USD, a buy unless told otherwise."""
    report(one, 1, "fill", **(BIG | {"start": None, "order": None, "side": "buy"} | changes))


@pytest.mark.parametrize(("before_s", "explains"), [(1, True), (9, True), (11, False)])
def test_a_withdrawal_asked_for_while_the_start_opened_explains_what_it_took(before_s: int, *, explains: bool) -> None:
    """What the books opened with may have been asked for before it left; once, whatever is told of it before, and not one that is older than any look."""
    one = desk(adjust=LIMITS)
    one.tell(*GOOD)
    asked = one.engine.portfolio.opened_at - before_s * NANOS_PER_S
    for status in ("pending", "ok"):
        transfer(one, status, -400, asked=asked)
    assert adjusted(one) == []
    assert (tell(one, "USD", one.balance("a", "USD") - 400) == []) is explains
    assert tell(one, "USD", one.balance("a", "USD") - 400) == ["refuse balance_differs"]


def test_old_fills_of_others_explain_what_they_changed_in_their_own_direction() -> None:
    """Of an order of another start, or of somebody else's, that may be in what the books opened with; once, also after a copy.

    A buy and a sale of 400 leave nothing to be explained: they moved nothing together, so that 700 more are nobody's doing. Until now
    each explained 400 in both directions, behind which a theft of 800 could hide.
    """
    one = desk(adjust=LIMITS)
    one.tell(*GOOD)
    strange(one, start=2, order=1, fill_id="f2")
    other = desk(adjust=LIMITS)
    other.engine.portfolio.restore(one.engine.portfolio.capture())
    for each in (one, other):
        assert tell(each, "BTC", HELD + 400) == []
        assert adjusted(each) == [("", "BTC", 400, HELD + 400)]
        assert tell(each, "BTC", HELD + 400 + 400) == ["refuse balance_differs"]
    both = desk(adjust=LIMITS)
    both.tell(*GOOD)
    strange(both)
    strange(both, side="sell", fill_id="f2")
    assert tell(both, "BTC", HELD + 700) == ["refuse balance_differs"]


@pytest.mark.parametrize(("side", "change"), [("buy", -400), ("sell", 400)])
def test_a_theft_is_no_fill_of_others_in_the_other_direction(side: str, change: int) -> None:
    """A stranger's buy cannot have taken coins, nor a sale brought them."""
    one = desk(adjust=LIMITS)
    one.tell(*GOOD)
    strange(one, side=side)
    assert tell(one, "BTC", HELD + change) == ["refuse balance_differs"]


@pytest.mark.parametrize("change", [-400, 400])
def test_a_fill_whose_side_nobody_says_explains_both_directions(change: int) -> None:
    """Some exchanges do not say it."""
    one = desk(adjust=LIMITS)
    one.tell(*GOOD)
    strange(one, side=None, ts_event=LATER)
    assert tell(one, "BTC", HELD + change) == []


def test_a_fill_behind_the_opening_is_booked_and_hides_nothing() -> None:
    """Base, quote and fee at once, of no strategy and no profit; coins that vanish behind it are missed to the last one."""
    one = desk(adjust=LIMITS)
    one.tell(*GOOD)
    before = one.balance("a", "USD")
    strange(one, ts_event=LATER)
    rows = [(row["asset"], row["delta"] // MONEY_ONE) for row in one.drained("ledger") if row["cause"] == "foreign"]
    assert rows == [("BTC", 400), ("USD", -40_401)]
    assert (one.balance("a", "BTC"), one.balance("a", "USD")) == (HELD + 400, before - 40_401)
    assert one.engine.portfolio.flows("s") == {}
    assert tell(one, "BTC", HELD) == ["refuse balance_differs"]  # what was bought is gone: the exchange has what it had
    assert "-400 is not explained" in str(one.engine.distrust)


@pytest.mark.parametrize(("happened", "is_refused"), [(1, False), (LATER, True)])
def test_a_fill_of_a_carried_order_that_was_adjusted_before_it_was_told_is_taken_back(happened: int, *, is_refused: bool) -> None:
    """It may be in what the books opened with, or have been booked as a difference since: so much less is no surprise; of a later one it is."""
    prices = {"price": money(101), "qty": money(5)}
    leg = CarriedLeg(venue="a", symbol="BTC/USD", side="buy", **prices)
    other = CarriedLeg(venue="b", symbol="BTC/USD", side="sell", **prices)
    sent = CarriedOrder(
        start=2,
        order=1,
        client_order_id="testlog1-2-1",
        leg=0,
        attempt=0,
        purpose="open",
        venue="a",
        symbol="BTC/USD",
        side="buy",
        filled=0,
        state="unknown",
        fill_ids=(),
        **prices,
    )
    bundle = CarriedBundle(
        start=2,
        bundle=1,
        account="main",
        strategy="s",
        state=CARRIED,
        sequence="simultaneous",
        flat=("BTC",),
        cycle=False,
        legs=(leg, other),
        orders=(sent,),
        flows={},
        traded=(),
    )
    one = desk(adjust=msgspec.structs.replace(LIMITS, worth=money(510), ratio_ppb=Ppb(0)), bundles=(bundle,), armed=False)
    report(one, -1, "fill", **(FILL | {"start": 2, "order": 1, "side": "buy", "ts_event": happened}))
    assert one.balance("a", "BTC") == HELD + 5
    assert ("refuse balance_differs" in tell(one, "BTC", HELD + 5 - 8)) is is_refused  # 808 USD, of which 303 are not explained


def test_what_was_told_before_the_two_agreed_explains_nothing_after_it() -> None:
    """A comparison that found no difference behind a fill of others has settled it."""
    for agreed, did in ((LATER, ["refuse balance_differs"]), (1, [])):
        one = desk(adjust=LIMITS)
        one.tell(*GOOD)
        strange(one)
        found = Discrepancy(account="main", venue="a", asset="BTC", ours=money(HELD), theirs=money(HELD + 400), agreed=agreed)
        assert one.slow("operator", {"action": DISCREPANCY, "actor": "account main", "detail": found.text}) == did


def test_a_fee_coin_that_nothing_prices_is_at_stake() -> None:
    """Orders depend on it, although no instrument trades it."""
    one = desk(adjust=LIMITS, fee=FeeTier(maker_ppb=Ppb(0), taker_ppb=Ppb(0), asset="BNB"))
    assert tell(one, "BNB", 1) == ["refuse balance_differs"]


@pytest.mark.parametrize(
    "detail", [None, "", "[]", '{"account": "main"}', '{"account":"a","venue":"b","asset":"c","ours":"x","theirs":"1"}']
)
def test_what_cannot_be_read_is_named(detail: str | None) -> None:
    """By its seq."""
    with pytest.raises(LogError, match="seq 7"):
        read_discrepancy(7, detail)


def test_a_row_tells_it_exactly() -> None:
    """To the last of 18 decimals, and negative where we have more."""
    found = Discrepancy(account="main", venue="a", asset="BTC", ours=10**18 + 1, theirs=10**18)
    assert read_discrepancy(1, found.text) == found
    seen = msgspec.structs.replace(found, agreed=7)
    assert read_discrepancy(1, seen.text) == seen
    assert '"difference":"-0.000000000000000001"' in found.text


def test_the_kill_that_follows_says_its_level_and_why() -> None:
    """The row's detail names a level, and a reason behind it."""
    one = desk()
    one.tell(*GOOD)
    assert one.slow("operator", {"action": "kill", "actor": "balances", "detail": "entries: 3 BTC are not explained"}) == []
    assert one.engine.execution.killed == "entries"


def test_the_config_sets_what_is_booked() -> None:
    """A worth in the reporting currencies, and a part of the balance in basis points."""
    config = InventoryConfig(adjust_worth=Decimal("2.5"), adjust_bps=Decimal("0.3"), foreign_worth=Decimal(7))
    made = adjust_limits(config, ("USDT", "USD"))
    assert made == AdjustLimits(
        worth=Money(25 * MONEY_ONE // 10), ratio_ppb=Ppb(30_000), currencies=("USDT", "USD"), foreign=money(7)
    )
