"""What one bundle may lose: at worst by its plan and caps, and by what filled of it; and losses that are seen although nobody decides."""

from __future__ import annotations

from typing import Any

import pytest

from tests.defaults import execution_policy, risk_limits, strategy_terms
from tests.engine.desk import FEE, Desk, Told, money
from tests.engine.table import instrument
from xarb.engine.carried import CarriedBundle, CarriedLeg, CarriedOrder
from xarb.engine.results import Carried
from xarb.model.instrument import FeeTier
from xarb.model.units import MONEY_ONE, NANOS_PER_S, Money, Ppb

GOOD = ("buy a 101 5", "sell b 100 5")
PERCENT = Ppb(10**7)


def thousandths(number: int) -> Money:
    """Money."""
    return Money(number * MONEY_ONE // 1000)


def limited(*, most: int | None = None, on_loss: str = "kill", day: int | None = None, setup: Any = None, **policy: Any) -> Desk:
    """A desk whose strategy has a limit for each bundle, in thousandths, and perhaps one for the day, in whole units."""
    limits = risk_limits(
        on_loss=on_loss,
        max_bundle_loss={} if most is None else {"USD": thousandths(most)},
        max_day_loss={} if day is None else {"USD": money(day)},
    )
    return Desk(terms={"s": strategy_terms(limits=limits, execution=execution_policy(**policy))}, **(setup or {}))


def refused(desk: Desk, *legs: str) -> tuple[str, int, int]:
    """Reason, value and bound, in thousandths, of the refusal of a plan."""
    desk.tell(*(legs or GOOD))
    row = desk.drained("refusals")[-1]
    return row["reason"], row["value"] * 1000 // MONEY_ONE, row["bound"] * 1000 // MONEY_ONE


def events(desk: Desk) -> list[tuple[int, str]]:
    """What happened to bundles."""
    return [(row["bundle"], row["event"]) for row in desk.drained("bundles")]


@pytest.mark.parametrize(
    ("worst", "policy"),
    [
        (6_005, {}),  # both at their limits: one less each, and both fees
        (16_015, {"hedge_cap_ppb": 2 * PERCENT, "unwind_cap_ppb": Ppb(0)}),  # sold at 100, and the purchase completed at 103
        (26_025, {"hedge_cap_ppb": Ppb(0), "unwind_cap_ppb": 5 * PERCENT}),  # sold at 100 and bought back at 105
        (6_005, {"residual": "hold", "hedge_cap_ppb": 2 * PERCENT, "unwind_cap_ppb": 5 * PERCENT}),  # nothing is flattened
    ],
)
def test_a_plan_is_refused_for_what_it_may_lose_at_worst(worst: int, policy: dict[str, Any]) -> None:
    """The bound itself is allowed, a thousandth less is not; fees and caps count, whichever end costs more."""
    assert refused(limited(most=worst - 1, **policy)) == ("bundle_loss", worst, worst - 1)
    assert len(limited(most=worst, **policy).tell(*GOOD)) == 2


def test_a_naked_leg_that_is_held_counts_at_what_it_is_worth() -> None:
    """A strategy that flattens nothing: the leg alone, at the least bid of all venues."""
    desk = limited(most=54_000, residual="hold", setup={"letters": "abc"})
    desk.quote(2, 90, 91)
    assert refused(desk) == ("bundle_loss", 55_505, 54_000)


def test_all_legs_but_the_cheapest_may_fill_and_be_undone() -> None:
    """Bought at 101 and sold at 96 (51.97 with fees), and one sale bought back at 105 (26.025): the other sale never filled."""
    legs = ("buy a 101 10", "sell b 100 5", "sell c 100 5")
    caps: dict[str, Any] = {"hedge_cap_ppb": Ppb(0), "unwind_cap_ppb": 5 * PERCENT}
    assert refused(limited(most=77_994, setup={"letters": "abc"}, **caps), *legs) == ("bundle_loss", 77_995, 77_994)
    assert len(limited(most=77_995, setup={"letters": "abc"}, **caps).tell(*legs)) == 3


def test_a_fee_in_what_is_bought_counts_at_what_it_is_worth() -> None:
    """Of 1,000 one is the fee: 999 are sold for one less each, and pay 99.9."""
    fee = {"fee": FeeTier(maker_ppb=FEE, taker_ppb=FEE, asset="received")}
    legs = ("buy a 101 1000", "sell b 100 999")
    assert refused(limited(most=1_199_899, setup=fee), *legs) == ("bundle_loss", 1_199_900, 1_199_899)
    assert len(limited(most=1_199_900, setup=fee).tell(*legs)) == 2


def test_a_fee_in_a_third_coin_counts_at_what_it_is_worth() -> None:
    """0.01005 coins, which cost 101 each, beside the 5 that the legs lose."""
    made = [instrument("a"), instrument("b"), *(instrument(letter, symbol="BNB/USD", base="BNB") for letter in "ab")]
    setup: dict[str, Any] = {"letters": "abcd", "instruments": made, "groups": [[0, 1], [2, 3]], "coin_margin_ppb": 0}
    setup |= {"rates": {("a", "BNB", "USD"): 2, ("b", "BNB", "USD"): 3}}
    setup["fee"] = FeeTier(maker_ppb=FEE, taker_ppb=FEE, asset="BNB")
    assert refused(limited(most=6_015, setup=setup)) == ("bundle_loss", 6_015, 6_015)
    assert len(limited(most=6_016, setup=setup).tell(*GOOD)) == 2


def test_a_plan_that_nobody_can_value_is_refused() -> None:
    """A limit in an asset in which nothing prices what is traded: fails closed."""
    limits = risk_limits(max_bundle_loss={"BTC": money(1)})
    assert Desk(terms={"s": strategy_terms(limits=limits)}).tell(*GOOD) == ["refuse bundle_loss_unknown"]


def test_nothing_begins_beside_a_bundle_that_nobody_can_value() -> None:
    """Any plan beside a bundle that paid a fee in a coin without a price."""
    tier = FeeTier(maker_ppb=FEE, taker_ppb=FEE, asset="received")
    desk = limited(most=10**7, setup={"fee": tier})
    assert len(desk.tell("buy a 101 1000", "sell b 100 999")) == 2
    desk.fill(1, 101, 1000, fee=1, fee_asset="BNB")
    desk.tell("buy a 101 1000", "sell b 100 999")
    assert desk.drained("refusals")[-1]["reason"] == "bundle_loss_unknown"


def test_an_open_bundle_that_lost_too_much_kills_at_the_next_second() -> None:
    """A naked leg whose market falls while nobody decides: told once, with the bundle; what flattens it goes out all the same."""
    desk = limited(most=20_000)
    desk.tell(*GOOD)
    desk.fill(1, 101, 5)
    for letter in range(2):
        desk.quote(letter, 90, 91)
    assert desk.engine.execution.killed is None
    did = desk.quote(0, 90, 91, ts=NANOS_PER_S + 1)
    assert did == ["refuse loss"]
    assert events(desk) == [(1, "opened"), (1, "beyond")]
    [row] = desk.drained("refusals")
    assert (row["value"], row["bound"], row["opportunity"], row["ts"]) == (money(55), money(20), None, NANOS_PER_S)
    assert desk.engine.execution.loss == "s is beyond its bundle_loss: 55, allowed are 20"
    assert desk.tell(*GOOD) == ["refuse loss"]
    desk.quote(0, 90, 91, ts=3 * NANOS_PER_S)
    desk.quote(1, 100, 101)
    assert desk.report(2, "rejected") == ["hedge 3 sell b 100 5"]
    assert events(desk)[1:] == [(1, "beyond"), (1, "unbalanced")]


def test_the_fill_that_loses_too_much_tells_it_at_once() -> None:
    """What filled counts with the fill; a bundle that ends beyond it is told of before its end."""
    desk = limited(most=7_000)
    desk.tell(*GOOD)
    desk.fill(1, 101, 5)
    assert desk.fill(2, 99, 5) == ["refuse loss"]
    assert events(desk) == [(1, "opened"), (1, "beyond"), (1, "closed")]


def test_where_losses_only_refuse_nothing_begins_beside_a_bundle_that_lost_too_much() -> None:
    """Until it has its end, or its market is back; no kill."""
    desk = limited(most=20_000, on_loss="refuse")
    desk.tell(*GOOD)
    desk.fill(1, 101, 5)
    desk.quote(1, 90, 91)
    assert refused(desk) == ("bundle_lost", 55_000, 20_000)
    assert events(desk) == [(1, "opened"), (1, "beyond")]
    desk.quote(1, 100, 101)
    assert len(desk.tell(*GOOD)) == 2
    desk.quote(1, 90, 91)
    assert refused(desk)[0] == "bundle_lost"
    assert events(desk) == [(1, "opened"), (1, "beyond"), (2, "opened")]
    desk.quote(1, 100, 101)
    desk.fill(2, 100, 5)
    desk.quote(1, 90, 91)
    assert len(desk.tell(*GOOD)) == 2
    assert desk.engine.execution.killed is None


def test_a_loss_of_the_day_is_seen_though_nothing_is_decided() -> None:
    """At the whole second, by the quotes as of then."""
    desk = limited(day=20)
    desk.tell(*GOOD)
    desk.fill(1, 101, 5)
    desk.quote(1, 90, 91, ts=NANOS_PER_S)
    assert desk.engine.execution.killed is None
    assert desk.quote(0, ts=NANOS_PER_S + 1) == ["refuse loss"]
    assert desk.drained("refusals")[0]["ts"] == NANOS_PER_S
    [told] = desk.drained("results")
    assert (told["pnl"], told["day_pnl"], told["ts"]) == (money(-55), money(-55), NANOS_PER_S)


def test_a_start_behind_the_reset_is_not_killed_by_what_was_seen() -> None:
    """It opens with the result that killed, of what is held still: it refuses, and a second later nothing has changed."""
    seen = Carried(
        account="main", strategy="s", currency="USD", flows={"BTC": 5 * MONEY_ONE, "USD": -505 * MONEY_ONE}, last=-55 * MONEY_ONE
    )
    desk = limited(day=20, setup={"results": (seen,), "start": 2})
    desk.quote(1, 90, 91)
    for second in (1, 2):
        desk.quote(1, 90, 91, ts=second * NANOS_PER_S + 1)
    assert desk.engine.execution.killed is None
    assert desk.tell(*GOOD) == ["refuse day_loss"]


def test_seconds_that_nothing_came_in_are_one() -> None:
    """After a year without an input one look is enough, at the last whole second before the next."""
    desk = limited(
        day=20, setup={"results": (Carried(account="main", strategy="s", currency="USD", flows={"BTC": 5 * MONEY_ONE}),)}
    )
    year = 365 * 86_400 * NANOS_PER_S
    seen: list[int] = []
    real = desk.engine.execution.losses.beat

    def beat(ts: int, before: int) -> None:
        seen.append(ts)
        real(ts, before)

    desk.engine.execution.losses.beat = beat  # type: ignore[method-assign]  # to see when it is called
    desk.quote(0, ts=year + 5)
    assert seen == [NANOS_PER_S, year]
    desk.quote(0, ts=year + NANOS_PER_S)
    desk.quote(0, ts=year + NANOS_PER_S + 1)
    assert seen == [NANOS_PER_S, year, year + NANOS_PER_S]


def taken_up(*, is_beyond: bool) -> CarriedBundle:
    """A bundle of an earlier start that bought five at 201 and sold nothing, told or not that it has lost too much."""
    order = CarriedOrder(
        start=1,
        order=1,
        client_order_id="old-1-1",
        leg=0,
        attempt=0,
        purpose="open",
        venue="a",
        symbol="BTC/USD",
        side="buy",
        price=201 * MONEY_ONE,
        qty=5 * MONEY_ONE,
        filled=5 * MONEY_ONE,
        state="filled",
        fill_ids=("f1",),
    )
    return CarriedBundle(
        start=1,
        bundle=7,
        account="main",
        strategy="s",
        state="carried",
        sequence="simultaneous",
        flat=("BTC",),
        cycle=False,
        legs=tuple(
            CarriedLeg(venue=venue, symbol="BTC/USD", side=side, price=price * MONEY_ONE, qty=5 * MONEY_ONE)
            for venue, side, price in (("a", "buy", 201), ("b", "sell", 200))
        ),
        orders=(order,),
        flows={"BTC": 5 * MONEY_ONE, "USD": -1_005 * MONEY_ONE},
        traded=(),
        unbalanced_at=1,
        is_beyond=is_beyond,
    )


def test_a_bundle_that_a_start_takes_up_is_told_of_once() -> None:
    """An earlier start told that it lost too much, and a person has reset trading since: it kills nothing again."""
    for known in (False, True):
        desk = limited(most=20_000, setup={"bundles": (taken_up(is_beyond=known),), "start": 2, "armed": False})
        desk.quote(0, ts=NANOS_PER_S + 1)
        assert (desk.engine.execution.killed is None) is known


@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize("events", [0, 2])
def test_the_first_second_is_looked_at_wherever_batches_are_cut(learned: bool, events: int) -> None:
    """Losses are looked at at the first whole second, whatever came first, in a batch of its own or not, and whether anybody asks for it."""
    told = []
    for size in (1, 4):
        setup = {"bundles": (taken_up(is_beyond=False),), "start": 2, "armed": False, "quiet": True, "real": (Told("s", events),)}
        desk = limited(most=20_000, setup=setup)
        quotes = [(number, 1_000_000 * (at + 1)) for at, number in enumerate((0, 1))]
        desk.quotes([*quotes, (0, NANOS_PER_S + 1), (1, 3 * NANOS_PER_S)], size=size, learned=learned)
        told.append([(row["ts"], row["event"]) for row in desk.drained("bundles") if row["event"] == "beyond"])
    assert told == [[(NANOS_PER_S, "beyond")]] * 2


@pytest.mark.parametrize("first", [0, 2])
def test_what_a_kill_amid_a_wake_leaves_to_wait_for_is_waited_for(first: int) -> None:
    """A plan finds a loss, which lets what is carried come to its end: its deadlines count at once, wherever batches are cut."""
    told = []
    for size in (1, 4):
        setup = {"bundles": (taken_up(is_beyond=False),), "start": 2, "armed": False, "quiet": True}
        desk = limited(most=20_000, setup=setup, retry_ns=NANOS_PER_S // 10)
        desk.quotes([(0, 10), (1, 20)][:first], size=2)
        desk.told["s"].plans.append(desk.plan(*GOOD))
        desk.quotes([(number, at * NANOS_PER_S // 10) for number, at in ((0, 1), (1, 3), (0, 5), (1, 7))], size=size)
        told.append([(row["ts"], row["event"]) for row in desk.drained("bundles")])
    assert told[0] == told[1]
    assert told[0][-1][1] == "held"


def test_what_a_start_took_up_follows_a_copy_in_what_is_known_of_instruments() -> None:
    """Lots grew before the copy was taken: an engine that goes on from it refuses what the first one refuses."""
    setup = {"bundles": (taken_up(is_beyond=False),), "start": 2, "quiet": True}
    one, other = (limited(setup=setup) for _ in range(2))
    one.quote(0)
    one.quote(1)
    one.learn(0, lot_int=2)
    other.engine.restore(one.engine.capture())
    other.now, other.seq = one.now, one.seq
    for desk in (one, other):
        assert "refuse lot" in desk.tell(*GOOD)
