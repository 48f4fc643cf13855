"""Every limit of risk trips, by name, with value and bound."""

from __future__ import annotations

from typing import Any, Final

import msgspec
import pytest

from tests.defaults import execution_policy, risk_limits, strategy_terms
from tests.engine.desk import FEE, HOUR, Desk, money
from tests.engine.table import instrument
from xarb.engine.engine import Engine
from xarb.engine.strategy import Pair
from xarb.engine.terms import StrategyTerms
from xarb.engine.volumes import SentVolume
from xarb.errors import ConfigError, InvariantBroken
from xarb.model.instrument import FeeTier
from xarb.model.units import MONEY_ONE, NANOS_PER_S, NULL, Money, Ppb

GOOD = ("buy a 101 5", "sell b 100 5")
FILLED: Final[dict[str, Any]] = {
    "price_int": 101,
    "qty_int": 2,
    "fill_id": "f1",
    "fee": Money(0),
    "fee_asset": "USD",
    "liquidity": "taker",
}
SENT = ["open 1 buy a 101 5", "open 2 sell b 100 5"]


def limited(**limits: Any) -> Desk:
    """A desk whose strategy has these limits."""
    return Desk(terms={"s": strategy_terms(limits=risk_limits(**limits))})


def last(desk: Desk) -> tuple[int | None, int | None]:
    """Value and bound of the last refusal."""
    row = desk.drained("refusals")[-1]
    return row["value"], row["bound"]


def test_a_sound_bundle_is_sent() -> None:
    """Nothing stands against two balanced legs on tradable feeds."""
    assert Desk().tell(*GOOD) == SENT


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"kind": "perpetual"}, "derivative_not_supported"),
        ({"kind": "pool"}, "pool_takes_no_orders"),
        ({"active": False}, "instrument_inactive"),
        ({"px_scale": 10, "qty_scale": 9}, "scale_too_fine"),
        ({"tick_int": None}, "steps_unknown"),
        ({"lot_int": None}, "steps_unknown"),
        ({"tick_int": 2}, "tick"),
        ({"lot_int": 2}, "lot"),
        ({"min_qty": money(6)}, "min_qty"),
        ({"min_notional": money(506)}, "min_notional"),
    ],
)
def test_what_the_instrument_forbids(changes: dict[str, Any], reason: str) -> None:
    """Each property of an instrument that forbids an order refuses the bundle by name."""
    desk = Desk(instruments=[instrument("a", **changes), instrument("b")])
    assert desk.tell(*GOOD) == [f"refuse {reason}"]
    assert desk.sent == []


@pytest.mark.parametrize(
    ("legs", "reason"),
    [
        (("buy a 101 5",), "too_few_legs"),
        (("buy a 101 5", "sell a 100 5"), "self_trade"),
        (("buy a 101 5", "buy b 101 5"), "mixed_currency"),
        (("buy a 101 5", "sell b 100 4"), "unbalanced"),
        (("buy a 101 5", "sell b 100 6"), "unbalanced"),
        (("buy a 0 5", "sell b 100 5"), "bad_price"),
        (("buy a 101 0", "sell b 100 5"), "bad_qty"),
        (("buy a 101 5", "sell b 100 -5"), "bad_qty"),
        (("hold a 101 5", "sell b 100 5"), "side_unknown"),
    ],
)
def test_what_the_legs_must_be(legs: tuple[str, ...], reason: str) -> None:
    """Legs that do not make a balanced bundle are refused by name."""
    assert Desk().tell(*legs) == [f"refuse {reason}"]


@pytest.mark.parametrize(
    ("limits", "did"),
    [
        ({"venues": ("a", "b"), "symbols": ("BTC/USD",)}, SENT),
        ({"venues": ("a",)}, ["refuse not_allowed"]),
        ({"symbols": ("ETH/USD",)}, ["refuse not_allowed"]),
    ],
)
def test_only_what_is_named_is_traded(limits: dict[str, Any], did: list[str]) -> None:
    """A strategy that plans on another venue or symbol than its config names is refused, whatever it watches."""
    assert limited(**limits).tell(*GOOD) == did


def test_no_order_leaves_for_what_may_not_be_traded() -> None:
    """The last step before a command asks again: whoever wants the order, the engine breaks, and no command waits to be taken."""
    desk = limited()
    desk.tell(*GOOD)
    desk.fill(1, 101, 5)
    desk.engine.execution._desks["s"].allowed = frozenset()
    with pytest.raises(InvariantBroken, match="which it may not trade"):
        desk.report(2, "expired")
    assert desk.engine.take_commands() == []


def test_a_check_that_fails_lets_nothing_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error in a rule goes up to the driver; no command and no reservation is left of the bundle."""
    desk = limited(max_symbol_open=money(10**6))

    def broken(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("xarb.engine.risk._check_notional", broken)
    with pytest.raises(ZeroDivisionError):
        desk.tell(*GOOD)
    assert desk.engine.take_commands() == []
    assert desk.engine.portfolio.reserved(("main", "a", "USD")) == 0


@pytest.mark.parametrize(
    ("limit", "bound", "reason", "value"),
    [("max_symbol_open", 1909, "symbol_open", 2010), ("max_venue_open", 1009, "venue_open", 1010)],
)
def test_what_may_still_fill_is_bounded(limit: str, bound: int, reason: str, value: int) -> None:
    """Orders on their way and UNKNOWN ones count with what is left of them, on one symbol over all venues, or on one venue."""
    desk = limited(**{limit: money(bound)})
    assert desk.tell(*GOOD) == SENT
    desk.report(1, "unknown")
    assert desk.tell(*GOOD) == [f"refuse {reason}"]
    assert last(desk) == (money(value), money(bound))
    desk.fill(1, 101, 1)
    assert len(desk.tell(*GOOD)) == 2


def test_what_a_hard_leg_may_release_may_still_fill() -> None:
    """The second leg counts before it is sent."""
    desk = limited(max_venue_open=money(999))
    assert desk.tell(*GOOD, sequence="hard_leg_first") == SENT[:1]
    assert desk.tell(*GOOD) == ["refuse venue_open"]
    assert last(desk) == (money(1010), money(999))


def test_an_unknown_sequence_is_refused() -> None:
    """A plan must say how its legs go out."""
    assert Desk().tell(*GOOD, sequence="whenever") == ["refuse sequence_unknown"]


def test_identity_must_be_proven() -> None:
    """Instruments of no common group and no declared pair are not the same thing."""
    desk = Desk(groups=[])
    assert desk.tell(*GOOD) == ["refuse identity_unproven"]


def test_a_premium_is_never_traded() -> None:
    """A pair that only a peg connects is refused as premium."""
    desk = Desk(groups=[], pairs=(Pair(1, 0, 0, 0, 0, 0, premium=True),))
    assert desk.tell(*GOOD) == ["refuse premium"]


def test_currencies_meet_only_in_a_conversion_leg() -> None:
    """USD against EUR without its conversion leg is refused; with it the bundle goes out, unless the conversion misses the amount."""

    def desk() -> Desk:
        made = [instrument("a"), instrument("b", quote="EUR", symbol="BTC/EUR"), instrument("c", base="EUR", symbol="EUR/USD")]
        return Desk("abc", instruments=made, groups=[], pairs=(Pair(1, 0, 0, 0, 0, 0, convert=2, convert_side="bid"),))

    assert desk().tell(*GOOD) == ["refuse mixed_currency"]
    assert len(desk().tell(*GOOD, "sell c 100 499")) == 3
    assert desk().tell(*GOOD, "sell c 100 400") == ["refuse unbalanced"]
    assert desk().tell(*GOOD, "buy c 101 499") == ["refuse unbalanced"]


def test_a_foreign_profit_currency_is_refused() -> None:
    """Profit must be stated in a currency that the bundle leaves."""
    assert Desk().tell(*GOOD, profit_asset="EUR") == ["refuse mixed_currency"]


def test_fee_must_be_known() -> None:
    """An instrument without a fee tier is not traded, and a fee coin without a price neither."""
    desk = Desk(fees={("main", 0): FeeTier(maker_ppb=FEE, taker_ppb=FEE)})
    assert desk.tell(*GOOD) == ["refuse fee_unknown"]
    coin = Desk(fee=FeeTier(maker_ppb=FEE, taker_ppb=FEE, asset="BNB"))
    assert coin.tell(*GOOD) == ["refuse fee_rate_unknown"]


def test_a_fee_coin_is_reserved_at_its_rate() -> None:
    """A third coin's fee is reserved at the bid of its rate less one per cent, and refused where it is not there."""
    made = [
        instrument("a"),
        instrument("b"),
        instrument("a", symbol="BNB/USD", base="BNB"),
        instrument("b", symbol="BNB/USD", base="BNB"),
    ]
    rates = {("a", "BNB", "USD"): 2, ("b", "BNB", "USD"): 3}
    opening = {("main", v, asset): money(1000) for v in "ab" for asset in ("BTC", "USD", "BNB")}

    def desk(**changes: Money) -> Desk:
        mine = opening | {("main", "a", coin): amount for coin, amount in changes.items()}
        tier = FeeTier(maker_ppb=FEE, taker_ppb=FEE, asset="BNB")
        return Desk("abcd", instruments=made, groups=[[0, 1], [2, 3]], rates=rates, opening=mine, fee=tier)

    rich = desk()
    assert rich.tell(*GOOD) == SENT
    least = -(-505 * MONEY_ONE // (1000 * 99))  # 505 at 10 bps, in coins of 100 less one per cent
    assert rich.engine.portfolio.reserved(("main", "a", "BNB")) == least
    assert desk(BNB=Money(least)).tell(*GOOD) == SENT
    assert desk(BNB=Money(least - 1)).tell(*GOOD) == ["refuse balance"]


def test_what_a_fee_coin_may_take_stays_reserved_while_nothing_prices_it() -> None:
    """A part fills when the coin has no bid any more: what was set aside for the whole order stays so, until the order has its end."""
    made = [
        instrument("a"),
        instrument("b"),
        instrument("a", symbol="BNB/USD", base="BNB"),
        instrument("b", symbol="BNB/USD", base="BNB"),
    ]
    opening = {("main", v, asset): money(1000) for v in "ab" for asset in ("BTC", "USD", "BNB")}
    tier = FeeTier(maker_ppb=FEE, taker_ppb=FEE, asset="BNB")
    rates = {("a", "BNB", "USD"): 2, ("b", "BNB", "USD"): 3}
    desk = Desk("abcd", instruments=made, groups=[[0, 1], [2, 3]], rates=rates, opening=opening, fee=tier)
    desk.tell(*GOOD)
    places = [("main", "a", asset) for asset in ("BNB", "USD")]
    before = [desk.engine.portfolio.reserved(place) for place in places]
    assert all(before)
    desk.quote(2, bid=NULL)
    desk.fill(1, 101, 2)
    assert [desk.engine.portfolio.reserved(place) for place in places] == before
    desk.report(1, "expired")
    assert [desk.engine.portfolio.reserved(place) for place in places] == [0, 0]


def test_feed_must_be_tradable() -> None:
    """A crossed feed is not traded on."""
    desk = Desk()
    desk.quote(1, 105, 101)
    assert desk.tell(*GOOD) == ["refuse feed_not_tradable"]


def test_stale_quote_trips_just_above_the_threshold() -> None:
    """A quote may be exactly as old as the threshold, not a nanosecond older."""
    desk = limited(latency_threshold_ns=NANOS_PER_S)
    confirmed = desk.now
    desk.told["s"].plans.append(desk.plan(*GOOD))
    assert desk.quote(0, ts=confirmed + NANOS_PER_S) == SENT
    desk.told["s"].plans.append(desk.plan(*GOOD))
    assert desk.quote(0, ts=confirmed + NANOS_PER_S + 1) == ["refuse stale_quote"]
    assert last(desk) == (MONEY_ONE + 10**9, MONEY_ONE)


def test_max_open_bundles_trips_until_one_closes() -> None:
    """A bundle more than allowed is refused while the others are open."""
    desk = limited(max_open_bundles=1)
    assert desk.tell(*GOOD) == SENT
    assert desk.tell(*GOOD) == ["refuse max_open_bundles"]
    desk.report(1, "rejected")
    desk.report(2, "rejected")
    assert len(desk.tell(*GOOD)) == 2


def test_max_notional_trips_just_above() -> None:
    """A leg worth the limit passes, one worth more does not."""
    assert limited(max_notional=money(505)).tell(*GOOD) == SENT
    desk = limited(max_notional=Money(505 * MONEY_ONE - 1))
    assert desk.tell(*GOOD) == ["refuse max_notional"]
    assert last(desk) == (505 * MONEY_ONE, 505 * MONEY_ONE - 1)


def test_daily_volume_starts_anew_at_midnight() -> None:
    """Both legs count towards the UTC day in which they were sent."""
    desk = limited(daily_volume=money(1005), latency_threshold_ns=48 * HOUR)
    assert desk.tell(*GOOD) == SENT
    assert desk.tell(*GOOD) == ["refuse daily_volume"]
    for order in (1, 2):
        desk.report(order, "expired")
    desk.told["s"].plans.append(desk.plan(*GOOD))
    assert desk.quote(0, ts=24 * HOUR - 1)[-1] == "refuse daily_volume"
    desk.told["s"].plans.append(desk.plan(*GOOD))
    assert desk.quote(0, ts=24 * HOUR) == ["open 3 buy a 101 5", "open 4 sell b 100 5"]


def test_what_flattens_counts_towards_the_day_and_is_never_refused() -> None:
    """A bound that the two legs use up lets the hedge out, and what that sent is in what the next bundle is refused for."""
    desk = limited(daily_volume=money(1005))
    assert desk.tell(*GOOD) == SENT
    desk.fill(1, 101, 5)
    assert desk.report(2, "rejected") == ["hedge 3 sell b 100 5"]
    desk.fill(3, 100, 5, "f2")
    assert desk.tell(*GOOD) == ["refuse daily_volume"]
    assert last(desk) == ((1005 + desk_sent(desk, 3) + 1005) * MONEY_ONE, 1005 * MONEY_ONE)


def desk_sent(desk: Desk, number: int) -> int:
    """Notional of an order, in whole units."""
    order = desk.engine.execution.order(number)
    return order.price * order.qty


def test_what_a_hard_leg_releases_after_midnight_counts_on_the_new_day() -> None:
    """The whole bundle counts on the day of the decision; what is sent of it on another day counts there too, piece by piece."""
    terms = strategy_terms(
        execution=execution_policy(timeout_ns=48 * HOUR),
        limits=risk_limits(daily_volume=money(1204), latency_threshold_ns=48 * HOUR),
    )
    desk = Desk(terms={"s": terms})
    desk.quote(0, ts=24 * HOUR - 5_000_000)
    desk.quote(1)
    assert desk.tell(*GOOD, sequence="hard_leg_first") == ["open 1 buy a 101 5"]
    assert desk.report(1, "fill", later=10_000_000, **FILLED) == ["open 2 sell b 100 2"]
    assert desk.tell(*GOOD) == ["refuse daily_volume"]
    assert last(desk) == (1205 * MONEY_ONE, 1204 * MONEY_ONE)


def test_daily_volume_is_bounded_on_a_symbol_and_on_a_venue() -> None:
    """A symbol's bound counts both legs, a venue's one; the bound itself is allowed, a new day begins anew."""
    for name, most in (("daily_symbol", 1005), ("daily_venue", 505)):
        assert limited(**{name: Money(most * MONEY_ONE - 1)}).tell(*GOOD) == [f"refuse {name}"]
        desk = limited(**{name: money(most)}, latency_threshold_ns=48 * HOUR)
        assert desk.tell(*GOOD) == SENT
        for order in (1, 2):
            desk.report(order, "expired")
        assert desk.tell(*GOOD) == [f"refuse {name}"]
        assert last(desk) == (2 * most * MONEY_ONE, most * MONEY_ONE)
        desk.quote(0, ts=24 * HOUR - 1)
        desk.told["s"].plans.append(desk.plan(*GOOD))
        assert desk.quote(0, ts=24 * HOUR) == ["open 3 buy a 101 5", "open 4 sell b 100 5"]


def test_what_earlier_starts_sent_today_counts() -> None:
    """Of this strategy, in that scope, on this day; what came on an earlier day, elsewhere or of others does not."""
    before: dict[str, Any] = {
        "strategy": "s",
        "venue": "a",
        "symbol": "BTC/USD",
        "currency": "USD",
        "day": 0,
        "amount": 500 * MONEY_ONE,
    }
    others: tuple[dict[str, Any], ...] = ({"strategy": "t"}, {"currency": "EUR"}, {"day": -1})

    def refused(limits: dict[str, Money], **changes: Any) -> bool:
        terms = strategy_terms(limits=risk_limits(**limits))
        desk = Desk(terms={"s": terms}, volumes=(SentVolume(**(before | changes)),))
        return desk.tell(*GOOD) != SENT

    scopes: tuple[tuple[str, int, dict[str, Any]], ...] = (
        ("daily_volume", 1505, {"currency": "EUR"}),
        ("daily_symbol", 1505, {"symbol": "X/USD"}),
        ("daily_venue", 1005, {"venue": "c"}),
    )
    for limit, most, elsewhere in scopes:
        assert not refused({limit: money(most)})
        tight = {limit: Money(most * MONEY_ONE - 1)}
        assert refused(tight)
        assert not any(refused(tight, **one) for one in (*others, elsewhere))


def test_orders_per_second_slide() -> None:
    """Orders older than a second no longer count."""
    desk = limited(orders_per_second=3, latency_threshold_ns=HOUR)
    assert desk.tell(*GOOD) == SENT
    sent = desk.now
    assert desk.tell(*GOOD) == ["refuse orders_per_second"]
    desk.told["s"].plans.append(desk.plan(*GOOD))
    assert desk.quote(0, ts=sent + NANOS_PER_S) == ["open 3 buy a 101 5", "open 4 sell b 100 5"]


def test_bundles_per_minute_slide() -> None:
    """Bundles that began more than a minute ago no longer count, and one that was refused never did."""
    desk = limited(bundles_per_minute=1, latency_threshold_ns=HOUR)
    assert desk.tell(*GOOD) == SENT
    began = desk.now
    assert desk.tell(*GOOD) == ["refuse bundles_per_minute"]
    assert last(desk) == (2 * MONEY_ONE, MONEY_ONE)
    desk.report(1, "rejected")
    desk.report(2, "rejected")
    desk.told["s"].plans.append(desk.plan(*GOOD))
    assert desk.quote(0, ts=began + 60 * NANOS_PER_S - 1) == ["refuse bundles_per_minute"]
    desk.told["s"].plans.append(desk.plan(*GOOD))
    assert desk.quote(0, ts=began + 60 * NANOS_PER_S) == ["open 3 buy a 101 5", "open 4 sell b 100 5"]


def test_a_part_of_a_balance_is_drawn_on() -> None:
    """What orders on their way draw on counts with what a new bundle wants; a fill frees its part."""
    opening = {("main", venue, asset): money(amount) for venue in "ab" for asset, amount in (("BTC", 50), ("USD", 10_000))}
    desk = Desk(terms={"s": strategy_terms(limits=risk_limits(balance_share_ppb=Ppb(200_000_000)))}, opening=opening)
    assert desk.tell("buy a 101 11", "sell b 100 11") == ["refuse balance_share"]
    assert last(desk) == (11 * MONEY_ONE, 10 * MONEY_ONE)
    assert len(desk.tell("buy a 101 10", "sell b 100 10")) == 2
    assert desk.tell("buy a 101 1", "sell b 100 1") == ["refuse balance_share"]
    desk.fill(2, 100, 10)
    assert desk.tell("buy a 101 9", "sell b 100 9") == ["refuse balance_share"]  # 40 BTC are left: 8 of them
    assert len(desk.tell("buy a 101 8", "sell b 100 8")) == 2


def test_cool_down_holds_for_the_instruments() -> None:
    """After a bundle its instruments rest, in either direction, and no longer than told."""
    desk = limited(cool_down_ns=NANOS_PER_S, latency_threshold_ns=HOUR)
    desk.tell(*GOOD)
    desk.report(1, "rejected")
    desk.report(2, "rejected")
    closed = desk.now
    assert desk.tell("buy b 101 5", "sell a 100 5") == ["refuse cool_down"]
    desk.told["s"].plans.append(desk.plan(*GOOD))
    assert desk.quote(0, ts=closed + NANOS_PER_S) == ["open 3 buy a 101 5", "open 4 sell b 100 5"]


def test_balance_counts_what_is_reserved() -> None:
    """The same coin is not spent twice: the buy reserves notional and fee, the sell its quantity."""
    fee = Money(505 * MONEY_ONE // 1000)
    opening = {("main", "a", "USD"): Money(505 * MONEY_ONE + fee), ("main", "b", "BTC"): money(5)}
    desk = Desk(opening=opening)
    assert desk.tell(*GOOD) == SENT
    assert desk.tell(*GOOD) == ["refuse balance"]
    assert last(desk) == (505 * MONEY_ONE + fee, 0)
    short = Desk(opening=opening | {("main", "a", "USD"): Money(505 * MONEY_ONE + fee - 1)})
    assert short.tell(*GOOD) == ["refuse balance"]
    naked = Desk(opening=opening | {("main", "b", "BTC"): Money(5 * MONEY_ONE - 1)})
    assert naked.tell(*GOOD) == ["refuse balance"]


def test_two_strategies_share_an_account_but_no_coin() -> None:
    """Neither spends the other's budget, and the second finds reserved what the first has sent."""
    budget = {"USD": money(600), "BTC": money(5)}
    terms = {name: strategy_terms(budget=budget) for name in ("s", "t")}
    desk = Desk(terms=terms, opening={("main", v, asset): money(1200) for v in "ab" for asset in ("USD", "BTC")})
    assert desk.tell(*GOOD) == SENT
    assert desk.tell(*GOOD) == ["refuse budget"]
    assert desk.tell(*GOOD, name="t") == ["open 3 buy a 101 5", "open 4 sell b 100 5"]
    poor = Desk(terms=terms, opening={("main", "a", "USD"): money(600), ("main", "b", "BTC"): money(10)})
    poor.told["t"].plans.append(poor.plan(*GOOD))
    assert poor.tell(*GOOD) == [*SENT, "refuse balance"]
    assert [row["strategy"] for row in poor.drained("refusals")] == ["t"]


def test_a_fee_in_base_shortens_what_is_sold() -> None:
    """Bought 1000 yields 999 to sell at 10 bps in base; the bundle balances after fees."""
    desk = Desk(fee=FeeTier(maker_ppb=FEE, taker_ppb=FEE, asset="received"))
    assert len(desk.tell("buy a 101 1000", "sell b 100 999")) == 2
    assert desk.tell("buy a 101 1000", "sell b 100 998") == ["refuse unbalanced"]


def test_a_strategy_without_terms_is_refused_at_once() -> None:
    """No terms are no permission: the engine is not even built."""
    desk = Desk()
    setup = msgspec.structs.replace(desk.engine.setup, terms={})
    with pytest.raises(ConfigError, match="strategy s has no terms"):
        Engine(setup, [desk.told["s"]])


def test_an_unknown_instrument_is_refused() -> None:
    """A leg on a number that the log does not know is refused by name, without a venue."""
    desk = Desk()
    for number in (-1, 2):
        plan = desk.plan(*GOOD)
        legs = (plan.legs[0], msgspec.structs.replace(plan.legs[1], instrument=number))
        desk.told["s"].plans.append(msgspec.structs.replace(plan, legs=legs))
        assert desk.quote(0) == ["refuse instrument_unknown"]
        assert desk.drained("refusals")[-1]["venue"] is None


def test_max_exposure_counts_what_is_in_flight_and_unknown() -> None:
    """Two bundles of 5 may leave 10 long or short: the second is refused until the first is certain, UNKNOWN is not."""
    desk = limited(max_exposure={"BTC": money(9)}, latency_threshold_ns=HOUR)
    assert desk.tell(*GOOD) == SENT
    assert desk.tell(*GOOD) == ["refuse max_exposure"]
    assert last(desk) == (10 * MONEY_ONE, 9 * MONEY_ONE)
    desk.fill(1, 101, 5)
    desk.report(2, "unknown")
    assert desk.tell(*GOOD) == ["refuse max_exposure"]
    desk.fill(2, 100, 5)
    assert len(desk.tell(*GOOD)) == 2
    assert limited(max_exposure={"BTC": Money(5 * MONEY_ONE - 1)}).tell(*GOOD) == ["refuse max_exposure"]
    short = limited(max_exposure={"USD": Money(505 * MONEY_ONE - 1)})
    assert short.tell(*GOOD) == ["refuse max_exposure"]
    assert last(short) == (-505_505 * MONEY_ONE // 1000, 1 - 505 * MONEY_ONE)  # its fee on top


def test_max_exposure_counts_what_a_hard_leg_may_release() -> None:
    """Legs that wait for the first one count before they are sent."""
    desk = limited(max_exposure={"BTC": money(9)})
    assert len(desk.tell(*GOOD, sequence="hard_leg_first")) == 1
    assert desk.engine.execution.exposure("s", "BTC") == (-5 * MONEY_ONE, 5 * MONEY_ONE)


def test_a_base_fee_must_not_leave_the_bundle_short() -> None:
    """Equal quantities leave less than is sold where the fee is taken in base."""
    desk = Desk(fee=FeeTier(maker_ppb=FEE, taker_ppb=FEE, asset="received"))
    assert desk.tell("buy a 101 1000", "sell b 100 1000") == ["refuse unbalanced"]
    assert last(desk) == (-MONEY_ONE, MONEY_ONE)
    assert desk.tell("buy a 101 500", "sell b 100 500") == ["refuse unbalanced"]  # half a lot short


def test_a_sale_reserves_a_coin_fee_at_the_best_bid() -> None:
    """A sale below the bid is filled at the bid, and pays its fee in a coin on that."""
    made = [instrument("a"), instrument("b"), *(instrument(letter, symbol="BNB/USD", base="BNB") for letter in "ab")]
    rates = {("a", "BNB", "USD"): 2, ("b", "BNB", "USD"): 3}
    opening = {("main", v, asset): money(1000) for v in "ab" for asset in ("BTC", "USD", "BNB")}
    tier = FeeTier(maker_ppb=FEE, taker_ppb=FEE, asset="BNB")
    desk = Desk("abcd", instruments=made, groups=[[0, 1], [2, 3]], rates=rates, opening=opening, fee=tier, coin_margin_ppb=0)
    desk.tell("buy a 101 5", "sell b 50 5")
    assert desk.engine.portfolio.reserved(("main", "b", "BNB")) == 500 * MONEY_ONE // (1000 * 100)


@pytest.mark.parametrize(
    ("leg", "reason"),
    [("sell c 100 500", None), ("sell c 100 499", "unbalanced"), ("sell c 100 501", "unbalanced"), ("sell c 90 500", None)],
)
def test_a_conversion_turns_over_what_was_earned(leg: str, reason: str | None) -> None:
    """To the lot: selling one lot less leaves too much, one more than the best quotes can bring sells what is not there."""
    made = [instrument("a"), instrument("b", quote="EUR", symbol="BTC/EUR"), instrument("c", base="EUR", symbol="EUR/USD")]
    free = FeeTier(maker_ppb=Ppb(0), taker_ppb=Ppb(0))
    desk = Desk("abc", instruments=made, groups=[], pairs=(Pair(1, 0, 0, 0, 0, 0, convert=2, convert_side="bid"),), fee=free)
    did = desk.tell(*GOOD, leg)
    assert did == [f"refuse {reason}"] if reason else len(did) == 3


def test_a_conversion_may_count_on_better_bids_than_the_limit() -> None:
    """A sale that walks from 100 down to its limit of 99 may bring up to 500, and so may the conversion turn over 496 to 500."""
    made = [instrument("a"), instrument("b", quote="EUR", symbol="BTC/EUR"), instrument("c", base="EUR", symbol="EUR/USD")]
    free = FeeTier(maker_ppb=Ppb(0), taker_ppb=Ppb(0))
    found = []
    for qty in (494, 495, 500, 501):
        desk = Desk("abc", instruments=made, groups=[], pairs=(Pair(1, 0, 0, 0, 0, 0, convert=2, convert_side="bid"),), fee=free)
        found.append(len(desk.tell("buy a 101 5", "sell b 99 5", f"sell c 100 {qty}")))
    assert found == [1, 3, 3, 1]


@pytest.mark.parametrize(
    "terms", [strategy_terms(budget={"USTD": money(1)}), strategy_terms(limits=risk_limits(max_exposure={"BTX": money(1)}))]
)
def test_a_limit_on_an_asset_that_nothing_trades_is_refused(terms: StrategyTerms) -> None:
    """A misspelt asset would bind nobody: the engine is not even built."""
    with pytest.raises(ConfigError, match="which no instrument trades"):
        Desk(terms={"s": terms})
