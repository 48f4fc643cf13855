"""What flattens a residual: fees, budgets, conversions, pauses between tries."""

from __future__ import annotations

from typing import Any

import pytest

from tests.defaults import breaker_limits, execution_policy, risk_limits, strategy_terms
from tests.engine.desk import HOUR, Desk, money
from tests.engine.table import instrument
from xarb.engine.bundle import restored
from xarb.engine.strategy import Pair
from xarb.errors import ConfigError
from xarb.model.instrument import FeeTier
from xarb.model.units import MONEY_ONE, NANOS_PER_S, Money, Ppb

GOOD = ("buy a 101 5", "sell b 100 5")
NO_AGE = risk_limits(latency_threshold_ns=HOUR)


def desk(budget: dict[str, Money] | None = None, **policy: Any) -> Desk:
    """A desk with an execution policy; half a second between tries."""
    policy = {"retry_ns": NANOS_PER_S // 2} | policy
    return Desk(terms={"s": strategy_terms(limits=NO_AGE, execution=execution_policy(**policy), budget=budget or {})})


def fee(asset: str, ppb: int) -> FeeTier:
    """A tier with one ratio."""
    return FeeTier(maker_ppb=Ppb(ppb), taker_ppb=Ppb(ppb), asset=asset)


def test_an_untradable_feed_is_waited_for() -> None:
    """A residual on a crossed feed is not held at once: it is completed at the next try, when the feed is sound again."""
    at = desk(unwind_cap_ppb=0)
    at.tell(*GOOD)
    at.fill(1, 101, 5)
    at.quote(1, 105, 101)
    assert at.report(2, "expired") == ["refuse feed_not_tradable", "refuse unwind_cap"]
    waits = at.now
    assert (at.bundle.state, at.engine.execution.next_deadline()) == ("residual", waits + NANOS_PER_S // 2)
    assert at.quote(1) == []
    assert at.quote(0, ts=waits + NANOS_PER_S) == ["hedge 3 sell b 100 5"]
    assert at.drained("commands")[-1]["ts"] == waits + NANOS_PER_S // 2


def test_tries_in_vain_count_and_end_in_held() -> None:
    """Where the market stays beyond both caps the residual is tried `max_attempts` times, `retry_ns` apart, and then held."""
    at = desk(hedge_cap_ppb=0, unwind_cap_ppb=0, max_attempts=3)
    at.tell(*GOOD)
    at.quote(1, 99, 100)
    at.fill(1, 101, 5)
    at.report(2, "expired")
    first = at.now
    at.quote(0, ts=first + 9 * NANOS_PER_S)
    tries = [row["ts"] - first for row in at.drained("refusals") if row["reason"] == "hedge_cap"]
    assert tries == [0, NANOS_PER_S // 2, NANOS_PER_S]
    assert at.bundle.state == "held"
    assert at.engine.portfolio.holdings("s")["BTC", "USD"].qty == 5 * MONEY_ONE


def bounded(most: int, asset: str = "BTC", **policy: Any) -> Desk:
    """A desk whose strategy may come to so much of an asset at most, with two tries for a residual."""
    limits = risk_limits(latency_threshold_ns=HOUR, max_exposure={asset: money(most)})
    terms = strategy_terms(limits=limits, execution=execution_policy(max_attempts=2, **policy))
    return Desk("abcdef", terms={"s": terms})


def test_what_flattens_stays_within_the_bound_of_an_asset() -> None:
    """Six were held short, then five bought in vain, and another bundle may sell four: of the five that are to be sold again three may be."""
    at = bounded(12, hedge_cap_ppb=0, unwind_cap_ppb=0)
    at.tell("buy e 101 6", "sell f 100 6")
    at.quote(4, 102, 103)
    at.fill(2, 100, 6)
    assert at.report(1, "expired") == ["refuse hedge_cap", "refuse unwind_cap"]
    assert at.quote(4, 102, 103, ts=at.now + NANOS_PER_S) == ["refuse hedge_cap", "refuse unwind_cap"]
    at.tell("buy a 101 5", "sell b 100 5")
    at.quote(1, 99, 100)
    at.fill(3, 101, 5, "f2")
    assert at.report(4, "expired") == ["refuse hedge_cap", "refuse unwind_cap"]
    assert len(at.tell("buy c 101 8", "sell d 100 8")) == 2
    at.quote(1)
    assert at.quote(0, ts=at.now + NANOS_PER_S) == ["hedge 7 sell b 100 3"]
    assert at.engine.execution.exposure("s", "BTC") == (-12 * MONEY_ONE, 7 * MONEY_ONE)
    at.fill(7, 100, 3, "f3")
    assert at.bundle.state == "held"
    last = at.drained("refusals")[-2]
    assert (last["reason"], last["value"], last["bound"]) == ("max_exposure", -14 * MONEY_ONE, -12 * MONEY_ONE)


@pytest.mark.parametrize("letters", ["ab", "ba"])
def test_a_position_beyond_its_bound_is_lessened_all_the_same(letters: str) -> None:
    """A start with a lower bound than the position: a bundle of that start is flattened where that lessens it, and held where it does not."""
    at = bounded(9, unwind_cap_ppb=20_000_000)
    at.tell("buy a 101 5", "sell b 100 5")
    at.engine.portfolio.post(at.bundle.desk.till("a", "BTC"), 20 * MONEY_ONE, "trade", None)
    at.fill(1 if letters == "ab" else 2, 101 if letters == "ab" else 100, 5)
    did = at.report(2 if letters == "ab" else 1, "expired")
    assert did == (["hedge 3 sell b 100 5"] if letters == "ab" else ["refuse max_exposure", "refuse max_exposure"])


def test_money_of_a_quote_currency_is_bounded_too() -> None:
    """A purchase takes what a sale gives, its fee on top: 101 each and 10 bps are 505.505 of five, so that with 500 four are bought."""
    at = bounded(510, "USD")
    at.tell("buy a 101 5", "sell b 100 5")
    at.engine.portfolio.post(at.bundle.desk.till("c", "USD"), -510 * MONEY_ONE, "trade", None)
    at.fill(2, 100, 5)
    assert at.report(1, "expired") == ["hedge 3 buy a 101 4"]


def test_undone_first_where_the_policy_says_so() -> None:
    """Though the missing leg could be completed; where undoing is beyond its cap it is completed."""
    at = desk(residual="reverse", unwind_cap_ppb=10_000_000)
    at.tell(*GOOD)
    at.fill(1, 101, 5)
    assert at.report(2, "expired") == ["unwind 3 sell a 100 5"]
    other = desk(residual="reverse", unwind_cap_ppb=0)
    other.tell(*GOOD)
    other.quote(0, 90, 92)
    other.fill(1, 101, 5)
    assert other.report(2, "expired") == ["hedge 3 sell b 100 5"]


def test_held_at_once_where_the_policy_says_so() -> None:
    """No order; what is left is inventory at its cost."""
    at = desk(residual="hold")
    at.tell(*GOOD)
    at.fill(1, 101, 5)
    assert at.report(2, "expired") == ["refuse residual_hold"]
    assert at.bundle.state == "held"
    assert at.engine.portfolio.holdings("s")["BTC", "USD"].qty == 5 * MONEY_ONE


def test_each_try_goes_a_step_further() -> None:
    """1 % a try: the market, 2 % away, is reached at the second one; the cap holds however many tries there are."""
    at = desk(hedge_cap_ppb=50_000_000, unwind_cap_ppb=0, cap_step_ppb=10_000_000, max_attempts=9)
    at.tell(*GOOD)
    at.quote(1, 98, 99)
    at.fill(1, 101, 5)
    at.report(2, "expired")
    assert at.quote(0, ts=at.now + NANOS_PER_S) == ["hedge 3 sell b 98 5"]
    assert at.report(3, "expired") == ["hedge 4 sell b 97 5"]
    assert at.report(4, "expired") == ["hedge 5 sell b 96 5"]
    assert at.report(5, "expired") == ["hedge 6 sell b 95 5"]
    assert at.report(6, "expired") == ["hedge 7 sell b 95 5"]


def test_a_residual_is_held_when_its_time_is_up() -> None:
    """At that time exactly, between two tries, whatever tries are left."""
    at = desk(hedge_cap_ppb=0, unwind_cap_ppb=0, max_attempts=1000, residual_ttl_ns=1_200_000_000)
    at.tell(*GOOD)
    at.quote(1, 99, 100)
    at.fill(1, 101, 5)
    at.report(2, "expired")
    first = at.now
    at.quote(0, ts=first + 9 * NANOS_PER_S)
    rows = [(row["ts"] - first, row["reason"]) for row in at.drained("refusals")]
    assert [ts for ts, reason in rows if reason == "hedge_cap"] == [0, NANOS_PER_S // 2, NANOS_PER_S]
    assert rows[-1] == (1_200_000_000, "residual_ttl")
    assert at.bundle.state == "held"


def test_a_hedge_turned_away_when_the_time_is_up_is_the_last() -> None:
    """It is held at once: there is nothing to pause for."""
    at = desk(residual_ttl_ns=NANOS_PER_S)
    at.tell(*GOOD)
    at.fill(1, 101, 5)
    at.report(2, "expired")
    assert at.report(3, "rejected", later=NANOS_PER_S) == ["refuse residual_ttl"]
    assert at.bundle.state == "held"


def test_the_age_of_a_residual_is_in_a_copy() -> None:
    """So that its time does not begin anew where a copy is taken over."""
    at = desk(residual_ttl_ns=NANOS_PER_S)
    at.tell(*GOOD)
    at.fill(1, 101, 5)
    at.report(2, "expired")
    copy = at.bundle.capture()
    assert copy.unbalanced_at == at.now
    assert restored(copy, at.bundle.desk, "").capture() == copy


def test_a_late_fill_begins_a_new_time() -> None:
    """What a late fill leaves is a new residual, with its own time."""
    at = desk(hedge_cap_ppb=0, unwind_cap_ppb=0, max_attempts=1000, residual_ttl_ns=NANOS_PER_S)
    at.tell(*GOOD)
    at.quote(1, 99, 100)
    at.fill(1, 101, 3)
    at.report(1, "expired")
    at.report(2, "expired")
    at.quote(0, ts=at.now + 2 * NANOS_PER_S)
    assert at.bundle.state == "held"
    at.quote(1, 100, 101, ts=at.now + NANOS_PER_S)
    assert at.fill(1, 101, 2, "late") == ["hedge 3 sell b 100 5"]


def test_a_hedge_turned_away_pauses() -> None:
    """A venue that rejects a hedge is not asked again at once; a hedge that merely expired is."""
    at = desk()
    at.tell(*GOOD)
    at.fill(1, 101, 5)
    assert at.report(2, "rejected") == ["hedge 3 sell b 100 5"]
    assert at.report(3, "rejected", reason="rate_limit") == []
    assert at.report(3, "rejected") == []  # said twice: the pause goes on
    assert at.quote(0, ts=at.now + NANOS_PER_S) == ["hedge 4 sell b 100 5"]
    assert at.report(4, "expired") == ["hedge 5 sell b 100 5"]


def test_a_fill_ends_the_pause() -> None:
    """A late fill changes the residual, which is looked at at once, for the new amount."""
    at = desk(unwind_cap_ppb=0, hedge_cap_ppb=0)
    at.tell(*GOOD)
    at.quote(1, 99, 100)
    at.fill(1, 101, 5)
    at.report(2, "expired")
    at.quote(1)
    assert at.fill(2, 100, 3) == ["hedge 3 sell b 100 2"]
    assert at.fill(3, 100, 2) == []
    assert at.bundle.state == "closed"
    assert at.quote(0, ts=at.now + NANOS_PER_S) == []


def test_an_untouched_leg_is_completed_with_its_fee_on_top() -> None:
    """A sale that pays in base sells only as much as leaves room for the fee; a purchase that pays in base buys that much more."""
    made = [instrument("a"), instrument("b")]
    at = Desk(instruments=made, fee=fee("base", 10_000_000), terms={"s": strategy_terms(limits=NO_AGE)})
    at.tell("buy a 101 1021", "sell b 100 1000")
    at.fill(1, 101, 1021, fee=10, fee_asset="BTC")
    assert at.report(2, "rejected") == ["hedge 3 sell b 100 1000"]  # 1011 to sell: 1000 and 10 of fee
    other = Desk(instruments=made, fee=fee("base", 10_000_000), terms={"s": strategy_terms(limits=NO_AGE)})
    other.tell("buy a 101 1021", "sell b 100 1000")
    other.fill(2, 100, 1000, fee=10, fee_asset="BTC")
    assert other.report(1, "rejected") == ["hedge 3 buy a 101 1020"]  # 1010 to cover, with 1 % lost on the way


def test_a_budget_holds_for_hedges() -> None:
    """A hedge that the budget cannot pay in full is cut down to it, and the account's other money stays for others."""
    budget = {"USD": money(506), "BTC": money(5)}
    at = desk(budget, hedge_cap_ppb=30_000_000)
    at.tell(*GOOD)
    at.quote(0, 103, 104)
    assert at.report(1, "expired") == []
    assert at.fill(2, 100, 5, fee=480) == ["hedge 3 buy a 104 5"]
    rest = desk(budget, hedge_cap_ppb=30_000_000)
    rest.tell(*GOOD)
    rest.quote(0, 103, 104)
    rest.report(1, "expired")
    assert rest.fill(2, 100, 5, fee=600) == ["hedge 3 buy a 104 3"]
    assert (rest.engine.portfolio.free_of_budget("s", "USD") or 0) >= 0


def test_a_poor_account_hedges_what_it_can() -> None:
    """Where the balance does not cover the residual a smaller order goes out, and nothing where not even a lot is covered."""
    opening = {("main", "a", "USD"): money(506), ("main", "b", "BTC"): money(5)}
    at = Desk(
        opening=opening,
        terms={"s": strategy_terms(limits=NO_AGE, execution=execution_policy(hedge_cap_ppb=Ppb(50_000_000), max_attempts=1))},
    )
    at.tell(*GOOD)
    at.fill(2, 100, 5)
    assert at.report(1, "rejected") == ["hedge 3 buy a 106 4"]
    assert at.engine.portfolio.free_of_account(("main", "a", "USD")) >= 0


def converting(side: str = "bid", **policy: Any) -> Desk:
    """BTC/USD at a, BTC/EUR at b, and EUR/USD (bid) or USD/EUR (ask) at c."""
    last = (
        instrument("c", base="EUR", symbol="EUR/USD")
        if side == "bid"
        else instrument("c", base="USD", quote="EUR", symbol="USD/EUR")
    )
    made = [instrument("a"), instrument("b", quote="EUR", symbol="BTC/EUR"), last]
    pair = Pair(1, 0, 0, 0, 0, 0, convert=2, convert_side=side)
    terms = strategy_terms(limits=NO_AGE, execution=execution_policy(**policy))
    opening = {("main", i.venue, asset): money(1_000_000) for i in made for asset in (i.base, i.quote)}
    return Desk("abc", instruments=made, groups=[], pairs=(pair,), terms={"s": terms}, fee=fee("quote", 0), opening=opening)


def test_a_leftover_quote_currency_is_converted() -> None:
    """Proceeds that the conversion leg did not turn over are sold on its instrument, once base is flat."""
    at = converting()
    assert len(at.tell("buy a 101 5", "sell b 100 5", "sell c 100 500")) == 3
    at.fill(1, 101, 5)
    at.fill(2, 100, 5, fee_asset="EUR")
    at.fill(3, 100, 200)
    assert at.report(3, "expired") == ["hedge 4 sell c 100 300"]
    assert at.fill(4, 100, 300) == []
    assert at.bundle.state == "closed"
    assert at.engine.portfolio.flows("s")["EUR"] == 0


def test_a_conversion_without_proceeds_is_undone() -> None:
    """Where only the conversion filled, what it sold is bought back."""
    at = converting(unwind_cap_ppb=50_000_000)
    at.tell("buy a 101 5", "sell b 100 5", "sell c 100 500")
    at.report(1, "rejected")
    at.report(2, "rejected")
    assert at.fill(3, 100, 500) == ["unwind 4 buy c 105 500"]
    assert at.fill(4, 101, 500) == []
    assert at.bundle.state == "closed"
    assert at.engine.portfolio.flows("s") == {"EUR": 0, "USD": -500 * MONEY_ONE}


def test_a_conversion_that_buys_spends_no_more_than_is_left() -> None:
    """Where the conversion spends the proceeds, the rest buys what it pays for at the cap, rounded down; a lot's worth is dust."""
    at = converting("ask", hedge_cap_ppb=0)
    at.quote(2, 2, 3)
    assert len(at.tell("buy a 101 5", "sell b 100 5", "buy c 3 166")) == 3
    at.fill(1, 101, 5)
    at.fill(2, 100, 5, fee_asset="EUR")
    assert at.report(3, "expired") == ["hedge 4 buy c 3 166"]
    assert at.fill(4, 3, 166, fee_asset="EUR") == []
    assert at.bundle.state == "closed"
    assert at.engine.portfolio.holdings("s")["EUR", "EUR"].qty == 2 * MONEY_ONE


def test_base_is_flattened_before_currency() -> None:
    """With both left over the base goes first, and the currency follows for what the base then brought."""
    at = converting(hedge_cap_ppb=20_000_000, unwind_cap_ppb=20_000_000)
    at.tell("buy a 101 5", "sell b 100 5", "sell c 100 500")
    at.fill(1, 101, 5)
    at.fill(2, 100, 3, fee_asset="EUR")
    at.fill(3, 100, 500)
    assert at.report(2, "expired") == ["hedge 4 sell b 98 2"]
    assert at.fill(4, 99, 2, fee_asset="EUR") == ["unwind 5 buy c 102 2"]


def test_a_late_fill_brings_new_attempts() -> None:
    """What a late fill leaves is a residual of its own, with all its tries, however many the one before used up."""
    at = desk(max_attempts=1)
    at.tell(*GOOD)
    at.fill(1, 101, 3)
    at.report(1, "expired")
    assert at.report(2, "expired") == ["hedge 3 sell b 100 3"]
    assert at.report(3, "expired") == ["refuse max_attempts"]
    assert at.bundle.state == "held"
    assert at.fill(1, 101, 2, "late") == ["hedge 4 sell b 100 5"]


@pytest.mark.parametrize("name", ["timeout_ns", "retry_ns", "max_cancels"])
def test_a_policy_without_an_end_is_refused(name: str) -> None:
    """Neither a time-out nor a pause may be zero, nor may an order go uncanceled."""
    with pytest.raises(ConfigError, match=f"{name} must be above zero"):
        desk(None, **{name: 0})


def lost(**policy: Any) -> Desk:
    """A desk whose order 2 is of unknown fate while all of order 1 is bought; any held residual opens breakers."""
    limits = {letter: breaker_limits(unknown=0, errors=0, rejects=0, ack_ns=0, residual_held=True) for letter in "abc"}
    made = execution_policy(**({"timeout_ns": HOUR, "retry_ns": NANOS_PER_S, "unwind_cap_ppb": 0} | policy))
    at = Desk("abc", terms={"s": strategy_terms(limits=NO_AGE, execution=made)}, breakers=limits)
    at.tell(*GOOD)
    at.fill(1, 101, 5)
    at.report(2, "unknown")
    return at


def opened(at: Desk) -> list[tuple[str, str, int]]:
    """Breakers that opened: of which venue, why and when."""
    rows = [row for row in at.drained("breakers") if row["state"] == "open"]
    return [(row["venue"], row["reason"], row["ts"]) for row in rows]


@pytest.mark.parametrize("wait", [0, NANOS_PER_S // 2, 9 * NANOS_PER_S])
def test_time_runs_out_beside_an_order_of_unknown_fate(wait: int) -> None:
    """Whatever the wait is: the venues get no new bundle from that time on, and what is left is booked once the fate is known."""
    at = lost(unknown_wait_ns=wait, residual_ttl_ns=2 * NANOS_PER_S)
    lost_at = at.now
    at.quote(2, ts=lost_at + 2 * NANOS_PER_S)
    assert opened(at) == []
    at.quote(2, ts=lost_at + 2 * NANOS_PER_S + 1)
    assert opened(at) == [(venue, "residual_held", lost_at + 2 * NANOS_PER_S) for venue in "ab"]
    told = [row for row in at.drained("refusals") if row["reason"] == "residual_ttl"]
    assert [(row["venue"], row["ts"]) for row in told] == [("a", lost_at + 2 * NANOS_PER_S)]
    before = len(at.rows)
    assert at.quote(2, ts=lost_at + 60 * NANOS_PER_S) == []
    assert len(at.rows) == before or at.drained("refusals")[-1]["reason"] == "residual_ttl"
    assert at.engine.execution.open_bundles("s") == 1
    assert at.report(2, "expired") == ["refuse residual_ttl"]
    assert [(row["asset"], row["qty"], row["cause"]) for row in at.drained("residuals")] == [("BTC", 5 * MONEY_ONE, "held")]
    assert len(opened(at)) == 2


def test_time_runs_out_once_and_what_balances_is_no_residual() -> None:
    """The lost order filled after all: the bundle closes flat, and nothing is booked."""
    at = lost(residual_ttl_ns=NANOS_PER_S, unknown_wait_ns=5 * NANOS_PER_S)
    at.quote(2, ts=at.now + 3 * NANOS_PER_S)
    assert len(opened(at)) == 2
    at.fill(2, 100, 5, "f2")
    assert at.bundle.state == "closed"
    assert at.drained("residuals") == []


def test_what_a_lost_order_filled_has_a_time_of_its_own() -> None:
    """The first residual was undone long ago: the fill of the lost order leaves a new one, which is completed, not held."""
    at = lost(residual_ttl_ns=3 * NANOS_PER_S, unknown_wait_ns=NANOS_PER_S, unwind_cap_ppb=Ppb(20_000_000), max_attempts=1)
    assert at.quote(2, ts=at.now + 2 * NANOS_PER_S) == ["unwind 3 sell a 99 5"]
    at.fill(3, 100, 5, "f2")
    assert at.quote(2, ts=at.now + 60 * NANOS_PER_S) == []
    assert opened(at) == []
    assert at.fill(2, 100, 5, "f3") == ["hedge 4 buy a 101 5"]


def test_a_residual_that_only_shrinks_keeps_its_time() -> None:
    """Two of five are undone before the time is up: the rest is as old as all of it was."""
    at = lost(residual_ttl_ns=3 * NANOS_PER_S, unknown_wait_ns=NANOS_PER_S, unwind_cap_ppb=Ppb(20_000_000), max_attempts=9)
    lost_at = at.now
    assert at.quote(2, ts=lost_at + 2 * NANOS_PER_S) == ["unwind 3 sell a 99 5"]
    at.fill(3, 100, 2, "f2")
    at.report(3, "expired")
    at.quote(2, ts=lost_at + 4 * NANOS_PER_S)
    assert {ts - lost_at for _, _, ts in opened(at)} == {3 * NANOS_PER_S}


def test_tries_run_out_beside_an_order_of_unknown_fate() -> None:
    """The last order that undoes filled nothing: the same follows as when time runs out."""
    at = lost(unknown_wait_ns=NANOS_PER_S, unwind_cap_ppb=Ppb(20_000_000), max_attempts=1)
    assert at.quote(2, ts=at.now + 2 * NANOS_PER_S) == ["unwind 3 sell a 99 5"]
    at.report(3, "expired")
    assert at.quote(2, ts=at.now + 2 * NANOS_PER_S) == ["refuse max_attempts"]
    assert [venue for venue, _, _ in opened(at)] == ["a", "b"]
    assert at.quote(2, ts=at.now + 60 * NANOS_PER_S) == []


@pytest.mark.parametrize("residual", ["hold", "proceed"])
def test_a_policy_that_holds_and_a_kill_open_nothing(residual: str) -> None:
    """They hold on purpose, so that no time runs out."""
    at = lost(residual_ttl_ns=NANOS_PER_S, residual=residual)
    if residual == "proceed":
        at.slow("operator", {"action": "kill", "actor": "a person", "detail": "cancel"})
    at.quote(2, ts=at.now + 60 * NANOS_PER_S)
    assert opened(at) == []
