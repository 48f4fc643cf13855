"""Bundles by hand-made reports: what is sent beside each report, and where money ends."""

from __future__ import annotations

import gc
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.defaults import execution_policy, risk_limits, strategy_terms
from tests.engine.desk import Desk, money
from tests.engine.table import instrument
from xarb.errors import InvariantBroken
from xarb.model.columns import ORDER_STATES
from xarb.model.command import Report
from xarb.model.order import ORDER_LIFE
from xarb.model.units import MONEY_ONE, NANOS_PER_S, NEVER, Ppb

GOOD = ("buy a 101 5", "sell b 100 5")
EVENTS = ("accepted", "partial_fill", "full_fill", "rejected", "canceled", "expired", "unknown")


def desk(letters: str = "ab", **policy: Any) -> Desk:
    """A desk with an execution policy and no age limit on quotes."""
    terms = strategy_terms(limits=risk_limits(latency_threshold_ns=NEVER), execution=execution_policy(**policy))
    return Desk(letters, terms={"s": terms})


def states(at: Desk) -> list[str]:
    """States of orders in the order of their rows."""
    return [f"{row['order']} {row['state']}" for row in at.drained("orders")]


def test_two_fills_close_the_bundle() -> None:
    """Whole fills of both legs balance: closed, nothing reserved, nothing held."""
    at = desk()
    at.tell(*GOOD)
    assert at.fill(1, 101, 5) == []
    assert at.bundle.state == "open"
    assert at.fill(2, 100, 5) == []
    assert at.bundle.state == "closed"
    assert states(at) == ["1 pending", "2 pending", "1 filled", "2 filled"]
    assert at.engine.portfolio.flows("s") == {"BTC": 0, "USD": -5 * MONEY_ONE}
    assert at.engine.execution.open_bundles("s") == 0
    assert at.engine.execution.next_deadline() == NEVER


def test_nothing_filled_closes_without_a_hedge() -> None:
    """Two rejected legs are no trade."""
    at = desk()
    at.tell(*GOOD)
    assert at.report(1, "rejected", reason="x") == []
    assert at.report(2, "expired") == []
    assert at.bundle.state == "closed"
    assert at.engine.portfolio.flows("s") == {}


def test_the_missing_leg_is_completed() -> None:
    """A short sell leg is sold at up to the hedge cap beyond its limit, only the missing part, once both orders are done."""
    at = desk(hedge_cap_ppb=20_000_000)
    at.tell(*GOOD)
    at.fill(1, 101, 5)
    at.fill(2, 100, 3)
    assert at.report(2, "expired") == ["hedge 3 sell b 98 2"]
    assert at.bundle.state == "hedging"
    assert at.fill(3, 99, 2) == []
    assert at.bundle.state == "closed"


def test_beyond_the_hedge_cap_the_filled_leg_is_undone() -> None:
    """Where the market left the hedge cap, the bought leg is sold where it was bought."""
    at = desk(hedge_cap_ppb=0, unwind_cap_ppb=20_000_000)
    at.tell(*GOOD)
    at.quote(1, 99, 100)
    at.fill(1, 101, 5)
    assert at.report(2, "expired") == ["unwind 3 sell a 99 5"]
    assert at.bundle.state == "unwinding"
    at.fill(3, 100, 5)
    assert at.bundle.state == "closed"


def test_a_short_residual_is_bought_back() -> None:
    """When only the sell filled, the buy leg is completed at up to the cap above its limit, else the sell is undone."""
    at = desk(hedge_cap_ppb=20_000_000)
    at.tell(*GOOD)
    at.fill(2, 100, 5)
    assert at.report(1, "rejected") == ["hedge 3 buy a 103 5"]
    other = desk(hedge_cap_ppb=0, unwind_cap_ppb=20_000_000)
    other.tell(*GOOD)
    other.quote(0, 101, 102)
    other.fill(2, 100, 5)
    assert other.report(1, "rejected") == ["unwind 3 buy b 102 5"]


def residuals(at: Desk) -> list[tuple[Any, ...]]:
    """What became inventory: asset, whole units, what they cost, and why; the account, the strategy and the bundle are named."""
    rows = at.drained("residuals")
    assert all((row["account"], row["strategy"], row["bundle"]) == ("main", "s", 1) for row in rows)
    return [(row["asset"], row["qty"] // MONEY_ONE, row["cost"] // MONEY_ONE, row["cost_asset"], row["cause"]) for row in rows]


def test_beyond_both_caps_it_is_held_at_its_cost() -> None:
    """Without a price within a cap the residual becomes inventory at what it cost, and the refusals say why."""
    at = desk(hedge_cap_ppb=0, unwind_cap_ppb=0, max_attempts=1)
    at.tell(*GOOD)
    at.quote(1, 99, 100)
    at.fill(1, 101, 5)
    assert at.report(2, "expired") == ["refuse hedge_cap", "refuse unwind_cap"]
    assert at.bundle.state == "held"
    held = at.engine.portfolio.holdings("s")["BTC", "USD"]
    assert (held.qty, held.cost) == (5 * MONEY_ONE, 505 * MONEY_ONE)
    assert residuals(at) == [("BTC", 5, 505, "USD", "held")]
    assert at.engine.execution.open_bundles("s") == 0


def test_attempts_are_bounded() -> None:
    """After the allowed number of orders the residual is held."""
    at = desk(max_attempts=2, hedge_cap_ppb=10_000_000)
    at.tell(*GOOD)
    at.fill(1, 101, 5)
    assert at.report(2, "expired") == ["hedge 3 sell b 99 5"]
    assert at.report(3, "expired") == ["hedge 4 sell b 99 5"]
    assert at.report(4, "expired") == ["refuse max_attempts"]
    assert at.bundle.state == "held"


def test_dust_goes_to_inventory_without_an_order() -> None:
    """What is below the least notional of every leg is booked, not chased."""
    made = [instrument(letter, min_notional=money(150)) for letter in "ab"]
    at = Desk(instruments=made)
    at.tell(*GOOD)
    at.fill(1, 101, 5)
    at.fill(2, 100, 4)
    assert at.report(2, "expired") == []
    assert at.bundle.state == "closed"
    assert at.engine.portfolio.holdings("s")["BTC", "USD"].cost == 101 * MONEY_ONE
    assert residuals(at) == [("BTC", 1, 101, "USD", "dust")]


def test_the_hard_leg_goes_first() -> None:
    """Each fill of the first leg releases the other in proportion, rounded down to lots; the rest is flattened."""
    terms = strategy_terms(execution=execution_policy(unwind_cap_ppb=Ppb(20_000_000)))
    at = Desk(instruments=[instrument("a"), instrument("b", lot_int=2)], terms={"s": terms})
    assert at.tell("buy a 101 10", "sell b 100 10", sequence="hard_leg_first") == ["open 1 buy a 101 10"]
    assert at.engine.portfolio.reserved(("main", "b", "BTC")) == 10 * MONEY_ONE
    assert at.fill(1, 101, 3, "f1") == ["open 2 sell b 100 2"]
    assert at.fill(1, 101, 3, "f1") == []
    assert at.fill(1, 101, 4, "f2") == ["open 3 sell b 100 4"]
    assert at.report(1, "expired") == []
    assert at.fill(2, 100, 2) == []
    assert at.fill(3, 100, 4) == ["unwind 4 sell a 99 1"]
    assert at.engine.portfolio.reserved(("main", "b", "BTC")) == 0


def test_a_hard_leg_without_a_fill_releases_nothing() -> None:
    """When the first leg dies unfilled the others never go out and their reservation ends."""
    at = desk()
    at.tell(*GOOD, sequence="hard_leg_first")
    assert at.report(1, "expired") == []
    assert at.bundle.state == "closed"
    assert at.engine.portfolio.reserved(("main", "b", "BTC")) == 0


def test_a_silent_order_turns_unknown_and_is_canceled() -> None:
    """At the deadline, not before, the order is UNKNOWN and canceled, thrice at most, and the money stays reserved."""
    at = desk(timeout_ns=NANOS_PER_S)
    at.tell(*GOOD)
    sent = at.now
    at.fill(2, 100, 5)
    assert at.engine.execution.next_deadline() == sent + NANOS_PER_S
    assert at.quote(1, ts=sent + NANOS_PER_S) == []  # at equal time the input is first
    assert at.quote(1, ts=sent + NANOS_PER_S + 1) == ["cancel 1"]
    row = at.drained("orders")[-1]
    assert (row["state"], row["ts"], row["reason"]) == ("unknown", sent + NANOS_PER_S, "execution_timeout")
    assert at.engine.portfolio.reserved(("main", "a", "USD")) > 505 * MONEY_ONE
    assert at.engine.execution.exposure("s", "BTC") == (-5 * MONEY_ONE, 0)
    assert at.quote(1, ts=sent + 9 * NANOS_PER_S) == ["cancel 1", "cancel 1"]
    cancels = [row["ts"] - sent for row in at.drained("commands") if row["kind"] == "cancel"]
    assert cancels == [NANOS_PER_S, 2 * NANOS_PER_S, 3 * NANOS_PER_S]
    assert at.engine.execution.next_deadline() == sent + 11 * NANOS_PER_S  # then what filled is undone
    assert at.engine.execution.open_bundles("s") == 1
    assert at.fill(1, 101, 5) == []
    assert at.bundle.state == "closed"


def test_what_filled_is_undone_where_the_other_leg_stays_unknown() -> None:
    """After a while, not before; the leg of unknown fate is not sent again, and its fill, when it is told, is a residual like any other."""
    terms = strategy_terms(
        execution=execution_policy(
            timeout_ns=NANOS_PER_S, unknown_wait_ns=4 * NANOS_PER_S, unwind_cap_ppb=Ppb(20_000_000), max_cancels=1
        )
    )
    at = Desk(terms={"s": terms})
    at.tell(*GOOD)
    sent = at.now
    at.fill(1, 101, 5)
    at.report(2, "unknown")
    heard = at.now
    assert at.quote(1, ts=heard + 4 * NANOS_PER_S) == []
    assert at.engine.execution.next_deadline() == heard + 4 * NANOS_PER_S
    assert at.quote(1, ts=heard + 4 * NANOS_PER_S + 1) == ["unwind 3 sell a 99 5"]
    assert at.bundle.state == "unwinding"
    assert at.engine.execution.exposure("s", "BTC") == (-5 * MONEY_ONE, 5 * MONEY_ONE)
    assert at.fill(3, 100, 5, "f2") == []
    assert at.tell(*GOOD) == ["refuse order_unknown"]
    assert at.engine.execution.open_bundles("s") == 1
    assert at.fill(2, 100, 5, "f3") == ["hedge 4 buy a 101 5"]
    assert at.fill(4, 101, 5, "f4") == []
    assert at.bundle.state == "closed"
    assert at.engine.portfolio.flow("s", "BTC") == 0
    assert len(at.tell(*GOOD)) == 2
    assert sent < heard


def test_what_filled_is_not_undone_where_the_other_leg_is_known_to_live_after_all() -> None:
    """It may fill yet, and a time-out ends it: what was waited for is over."""
    policy = execution_policy(timeout_ns=300 * NANOS_PER_S, unknown_wait_ns=4 * NANOS_PER_S, unwind_cap_ppb=Ppb(20_000_000))
    at = Desk(terms={"s": strategy_terms(execution=policy)})
    at.tell(*GOOD)
    at.fill(1, 101, 5)
    at.report(2, "unknown")
    until = at.now + 4 * NANOS_PER_S
    assert at.engine.execution.next_deadline() == until
    at.report(2, "accepted")
    assert at.quote(1, ts=until + 1) == []
    assert at.fill(2, 100, 5, "f2") == []
    assert at.bundle.state == "closed"


def test_undoing_stays_within_the_bound_of_an_asset() -> None:
    """Another bundle began meanwhile: were all of it to fill the wrong way, all that is to be undone would be too much, three are not."""
    policy = execution_policy(
        timeout_ns=300 * NANOS_PER_S, unknown_wait_ns=4 * NANOS_PER_S, unwind_cap_ppb=Ppb(20_000_000), max_attempts=1
    )
    limits = risk_limits(max_exposure={"BTC": money(9)}, latency_threshold_ns=NEVER)
    at = Desk("abcde", terms={"s": strategy_terms(execution=policy, limits=limits)})
    at.tell("buy c 101 5", "sell d 100 5")
    at.fill(2, 100, 5)
    at.fill(1, 101, 4, "f2")
    assert at.report(1, "expired") == ["hedge 3 buy c 101 1"]
    assert at.report(3, "expired") == ["refuse max_attempts"]
    assert at.engine.portfolio.flow("s", "BTC") == -MONEY_ONE
    at.tell(*GOOD)
    at.fill(4, 101, 5, "f3")
    at.report(5, "unknown")
    assert len(at.tell("buy e 101 5", "sell a 100 5")) == 2
    heard = at.now
    assert at.quote(1, ts=heard + 5 * NANOS_PER_S) == ["unwind 8 sell a 99 3"]
    assert at.engine.execution.exposure("s", "BTC") == (-9 * MONEY_ONE, 9 * MONEY_ONE)


def test_what_leaves_no_room_is_undone_when_there_is_some() -> None:
    """Another bundle may come to all that is allowed: nothing more goes that way until it has its end, and then all of it does."""
    policy = execution_policy(
        timeout_ns=300 * NANOS_PER_S, unknown_wait_ns=4 * NANOS_PER_S, unwind_cap_ppb=Ppb(20_000_000), max_attempts=1
    )
    limits = risk_limits(max_exposure={"BTC": money(9)}, latency_threshold_ns=NEVER)
    at = Desk("abcde", terms={"s": strategy_terms(execution=policy, limits=limits)})
    at.tell("buy c 101 5", "sell d 100 5")
    at.fill(2, 100, 5)
    assert at.report(1, "expired") == ["hedge 3 buy c 101 5"]
    assert at.report(3, "expired") == ["refuse max_attempts"]
    at.tell("buy a 101 4", "sell b 100 4")
    at.fill(4, 101, 4, "f3")
    at.report(5, "unknown")
    assert len(at.tell("buy e 101 4", "sell a 100 4")) == 2
    heard = at.now
    assert at.quote(1, ts=heard + 5 * NANOS_PER_S) == ["refuse max_exposure"]
    assert (at.drained("refusals")[-1]["value"], at.drained("refusals")[-1]["bound"]) == (-13 * MONEY_ONE, -9 * MONEY_ONE)
    at.report(6, "expired")
    at.report(7, "expired")
    assert at.quote(1, ts=heard + 10 * NANOS_PER_S) == ["unwind 8 sell a 99 4"]


@pytest.mark.parametrize("why", ["hold", "killed", "for ever", "out of reach", "balanced"])
def test_what_filled_stays_where_it_is_not_to_be_undone(why: str) -> None:
    """The policy holds it, a kill lets nothing out, there is no limit of time, the cap forbids it, or all is flat."""
    policy = execution_policy(
        timeout_ns=NANOS_PER_S,
        unknown_wait_ns=0 if why == "for ever" else 4 * NANOS_PER_S,
        unwind_cap_ppb=Ppb(0) if why == "out of reach" else Ppb(20_000_000),
        residual="hold" if why == "hold" else "proceed",
    )
    at = Desk(terms={"s": strategy_terms(execution=policy)})
    at.tell(*GOOD)
    at.fill(1, 101, 5)
    if why == "balanced":
        at.fill(2, 100, 5, "f2")
        assert at.bundle.state == "closed"
        return
    at.report(2, "unknown")
    if why == "killed":
        at.slow("operator", {"action": "kill", "actor": "a person", "detail": "cancel"})
    heard = at.now
    did = [one for pause in range(1, 30) for one in at.quote(1, ts=heard + pause * NANOS_PER_S)]
    assert [one for one in did if not one.startswith("cancel")] == (["refuse unwind_cap"] * 7 if why == "out of reach" else [])
    assert at.engine.execution.open_bundles("s") == 1


def test_what_lives_on_a_halted_instrument_is_canceled_at_once() -> None:
    """One cancel for each order there, and none elsewhere; its end is that of any canceled order, and what is left is flattened elsewhere."""
    at = Desk("abc", terms={"s": strategy_terms(execution=execution_policy(unwind_cap_ppb=Ppb(20_000_000)))})
    at.tell(*GOOD)
    at.tell("buy c 101 5", "sell a 100 5")
    assert at.learn(1, active=False) == ["cancel 2"]
    row = at.drained("commands")[-1]
    assert (row["after_seq"], row["ts"], row["purpose"]) == (at.seq - 1, at.now, "cancel")
    assert at.learn(1, min_qty=money(2)) == []
    assert at.learn(0, active=False) == ["cancel 1", "cancel 4"]
    at.learn(0, active=True)
    at.fill(1, 101, 5)
    assert at.report(2, "canceled") == ["unwind 5 sell a 99 5"]


def test_a_hard_leg_releases_nothing_where_nothing_is_traded() -> None:
    """The first leg fills although it is canceled: the other is not sent to a halted instrument, and what filled is undone."""
    at = Desk("ab", terms={"s": strategy_terms(execution=execution_policy(unwind_cap_ppb=Ppb(20_000_000)))})
    assert len(at.tell(*GOOD, sequence="hard_leg_first")) == 1
    assert at.learn(1, active=False) == []
    assert at.fill(1, 101, 5) == ["unwind 2 sell a 99 5"]


def test_a_hard_leg_is_released_on_the_step_of_now() -> None:
    """Steps of prices grew since the plan: the other leg keeps to them, and is no worse than it was planned."""
    at = Desk("ab")
    at.tell("buy a 101 5", "sell b 101 5", sequence="hard_leg_first")
    at.learn(1, tick_int=5)
    assert at.fill(1, 101, 5) == ["open 2 sell b 105 5"]
    other = Desk("ab")
    other.tell("sell b 100 5", "buy a 102 5", sequence="hard_leg_first")
    other.learn(0, tick_int=5)
    assert other.fill(1, 100, 5) == ["open 2 buy a 100 5"]


def test_a_hard_leg_is_released_in_the_lots_of_now() -> None:
    """Lots grew between two fills: what is released now is whole lots, whatever was released before."""
    at = Desk("ab")
    at.tell("buy a 101 10", "sell b 100 10", sequence="hard_leg_first")
    assert at.fill(1, 101, 3, "f1") == ["open 2 sell b 100 3"]
    at.learn(1, lot_int=5)
    assert at.fill(1, 101, 7, "f2") == ["open 3 sell b 100 5"]


def test_a_hard_leg_is_not_released_for_nothing() -> None:
    """A step of prices that is coarser than the price leaves no price to buy at: nothing is sent."""
    at = Desk("ab")
    at.tell("sell b 100 5", "buy a 102 5", sequence="hard_leg_first")
    at.learn(0, tick_int=1_000)
    assert not [one for one in at.fill(1, 100, 5) if one.startswith("open")]


def test_an_unknown_report_sends_one_cancel() -> None:
    """A venue that does not know is asked to cancel, once."""
    at = desk()
    at.tell(*GOOD)
    assert at.report(1, "unknown") == ["cancel 1"]
    assert at.report(1, "unknown") == []


def test_a_late_fill_opens_the_bundle_again() -> None:
    """A fill after the end is applied and flattened; position follows fills, not states."""
    at = desk()
    at.tell(*GOOD)
    at.report(1, "canceled")
    at.report(2, "canceled")
    assert at.bundle.state == "closed"
    assert at.fill(1, 101, 2) == ["hedge 3 sell b 100 2"]
    assert at.engine.execution.open_bundles("s") == 1
    at.fill(3, 100, 2)
    assert at.bundle.state == "closed"
    assert at.balance("a", "BTC") == 1_000_002


def test_a_late_fill_takes_back_what_was_held() -> None:
    """Inventory of a held bundle is booked anew, never twice."""
    at = desk(max_attempts=0)
    at.tell(*GOOD)
    at.fill(1, 101, 3)
    at.report(1, "expired")
    at.report(2, "expired")
    assert at.engine.portfolio.holdings("s")["BTC", "USD"].qty == 3 * MONEY_ONE
    at.fill(1, 101, 2, "late")
    assert at.engine.portfolio.holdings("s")["BTC", "USD"].qty == 5 * MONEY_ONE
    assert residuals(at) == [("BTC", 3, 303, "USD", "held"), ("BTC", -3, -303, "USD", "late_fill"), ("BTC", 5, 505, "USD", "held")]


@pytest.mark.parametrize("bad", [{"fill_id": None}, {"price_int": None}, {"qty_int": 0}, {"fee": None}, {"qty_int": -1}])
def test_half_a_fill_is_refused(bad: dict[str, Any]) -> None:
    """A fill that lacks something is a broken promise of the adapter."""
    at = desk()
    at.tell(*GOOD)
    whole: dict[str, Any] = {"price_int": 101, "qty_int": 5, "fill_id": "f", "fee": money(0), "fee_asset": "USD"}
    with pytest.raises(InvariantBroken, match="a fill without"):
        at.report(1, "fill", **(whole | bad))


def test_every_event_has_a_next_state() -> None:
    """The order table is total, and a final state only changes to filled."""
    assert set(ORDER_LIFE) == {(state, event) for state in ORDER_STATES for event in EVENTS}
    for final in ("filled", "canceled", "rejected", "expired"):
        assert {ORDER_LIFE[final, event] for event in EVENTS} <= {final, "filled"}


REPORTS = st.tuples(
    st.integers(1, 8),
    st.sampled_from(["accepted", "fill", "fill", "fill", "canceled", "rejected", "expired", "unknown"]),
    st.integers(1, 5),
    st.integers(0, 3),
)


@given(sequence=st.sampled_from(["simultaneous", "hard_leg_first"]), reports=st.lists(REPORTS, max_size=25))
def test_any_reports_leave_fills_and_reservations_in_order(sequence: str, reports: list[tuple[int, str, int, int]]) -> None:
    """In any interleaving the position is the sum of distinct fills, and done bundles reserve nothing."""
    at = desk()
    at.tell(*GOOD, sequence=sequence)
    execution = at.engine.execution
    counted: dict[tuple[int, str], int] = {}
    for number, event, qty, ident in reports:
        if number > execution.orders:
            continue
        if event == "fill":
            counted.setdefault((number, f"f{ident}"), qty * execution.order(number).plan.sign)
            at.fill(number, 100, qty, f"f{ident}")
        else:
            at.report(number, event)
    position = at.balance("a", "BTC") + at.balance("b", "BTC") - 2_000_000
    assert position == sum(counted.values())
    number = 0
    while (number := number + 1) <= execution.orders or not at.bundle.done:
        if number <= execution.orders:
            at.report(number, "canceled")
        else:
            at.quote(0, ts=at.now + NANOS_PER_S)
    assert at.engine.execution.open_bundles("s") == 0
    for venue in "ab":
        for asset in ("BTC", "USD"):
            assert at.engine.portfolio.reserved(("main", venue, asset)) == 0
    held = at.engine.portfolio.holdings("s")
    assert sum(holding.qty for (asset, _), holding in held.items() if asset == "BTC") == at.engine.portfolio.flows("s").get(
        "BTC", 0
    )


def test_an_order_that_outlives_its_cancel_is_canceled_again() -> None:
    """A cancel that a venue refuses leaves the order standing; the next time-out asks again, so that nothing stays open for good."""
    at = desk(timeout_ns=NANOS_PER_S)
    at.tell(*GOOD)
    at.fill(2, 100, 5)
    sent = at.now
    assert at.quote(0, ts=sent + NANOS_PER_S) == ["cancel 1"]
    assert at.report(1, "accepted", reason="cancel_outage") == []
    assert states(at)[-1] == "1 accepted"
    assert at.quote(0, ts=at.now + NANOS_PER_S) == ["cancel 1"]
    assert at.report(1, "canceled") == ["hedge 3 buy a 101 5"]


def test_what_a_report_means_after_fills() -> None:
    """An order with fills is partially filled when it is acknowledged late, and canceled when the rest is rejected."""
    at = desk()
    at.tell(*GOOD)
    at.fill(1, 101, 2)
    at.report(1, "unknown")
    at.report(1, "accepted")
    assert states(at)[-1] == "1 partially_filled"
    at.report(1, "unknown")
    at.report(1, "rejected")
    assert states(at)[-1] == "1 canceled"


def test_more_than_ordered_is_applied_and_undone() -> None:
    """A venue that fills more than was asked changed our position: it is applied, reserves nothing below zero, and is flattened."""
    at = desk(hedge_cap_ppb=20_000_000, unwind_cap_ppb=20_000_000)
    at.tell(*GOOD)
    at.fill(1, 101, 7)
    assert at.fill(2, 100, 5) == ["hedge 3 sell b 98 2"]
    assert at.balance("a", "BTC") == 1_000_007
    assert at.engine.portfolio.reserved(("main", "a", "USD")) == 0


def test_a_report_on_another_instrument_is_refused() -> None:
    """An adapter that mixes up instruments is stopped before money moves."""
    at = desk()
    at.tell(*GOOD)
    with pytest.raises(InvariantBroken, match="order 1 is on instrument 0, not 1"):
        at.engine.take_reports(at.now, [Report(ts=at.now, order=1, instrument=1, event="accepted")])
    with pytest.raises(InvariantBroken, match="a report names order 3; 2 were sent"):
        at.engine.execution.on_report(Report(ts=at.now, order=3, instrument=1, event="accepted"))


@pytest.mark.parametrize("when", ["before", "between", "after"])
def test_scales_that_grow_leave_money_as_it_was(when: str) -> None:
    """Decimals that an instrument gains while an order is out, between its fills or after the bundle's end change no amount."""
    at = desk(hedge_cap_ppb=20_000_000)
    at.tell(*GOOD)
    place = ("main", "b", "BTC")

    def grow() -> None:
        assert at.learn(1, px_scale=2, qty_scale=1, tick_int=100, lot_int=10) == []

    if when == "before":
        grow()
        assert at.engine.portfolio.reserved(place) == 5 * MONEY_ONE
        at.fill(2, 10000, 20, "f1")
    else:
        at.fill(2, 100, 2, "f1")
        if when == "between":
            grow()
    assert at.engine.portfolio.reserved(place) == 3 * MONEY_ONE
    assert at.engine.execution.exposure("s", "BTC") == (-5 * MONEY_ONE, 3 * MONEY_ONE)
    if when == "after":
        assert at.fill(1, 101, 2) == []
        assert at.report(1, "expired") == []
        assert at.report(2, "expired") == []
        assert at.bundle.state == "closed"
        grow()
        at.quote(1, 10000, 10100, size=10)
        assert at.fill(2, 10000, 20, "f1") == []  # known from before it was packed
        assert at.fill(2, 10000, 10, "late") == ["hedge 3 buy a 103 1"]
    else:
        at.fill(1, 101, 5)
        at.quote(1, 10000, 10100, size=10)
        assert at.report(2, "expired") == ["hedge 3 sell b 9800 30"]
        assert at.fill(3, 9900, 30) == []
        assert at.bundle.state == "closed"
        assert at.engine.portfolio.flows("s") == {"BTC": 0, "USD": -8 * MONEY_ONE}
    assert at.engine.execution.order(2).filled == (30 if when == "after" else 20)


def test_a_hard_leg_releases_right_after_scales_grew() -> None:
    """The share that a first leg releases is the same in finer quantities, on either side."""
    at = desk()
    at.tell("buy a 101 10", "sell b 100 10", sequence="hard_leg_first")
    assert at.fill(1, 101, 3, "f1") == ["open 2 sell b 100 3"]
    at.learn(0, qty_scale=2, lot_int=100)
    at.learn(1, qty_scale=1, lot_int=10)
    assert at.fill(1, 101, 400, "f2") == ["open 3 sell b 100 40"]
    assert at.engine.portfolio.reserved(("main", "b", "BTC")) == 10 * MONEY_ONE


def test_scales_that_grow_beyond_money_round_against_us() -> None:
    """Where price times quantity no longer fits 18 decimals a purchase costs the digit above, a sale brings the one below."""
    at = desk()
    at.tell(*GOOD)
    at.learn(0, px_scale=10, qty_scale=9, tick_int=1, lot_int=1)
    at.learn(1, px_scale=10, qty_scale=9, tick_int=1, lot_int=1)
    at.fill(1, 101 * 10**10 + 1, 5 * 10**9 - 1)
    at.fill(2, 100 * 10**10 + 1, 5 * 10**9 - 1)
    bought, sold = ((price * 10**10 + 1) * (5 * 10**9 - 1) for price in (101, 100))
    assert bought % 10
    assert sold % 10
    assert [row["notional"] for row in at.drained("fills")] == [bought // 10 + 1, sold // 10]


def test_done_bundles_are_packed_and_forget_nothing() -> None:
    """No order of a done bundle stays as an object; owner, state and fills are there again when a report names it."""
    at = desk()
    for _ in range(3):
        at.tell(*GOOD)
    for number in range(1, 7):
        at.fill(number, 101, 5)
    assert at.engine.execution._archive.open_bundles() == []
    assert at.engine.execution.owner(3) == "s"
    order = at.engine.execution.order(3)
    assert (order.state, order.filled, order.client_id, order.bundle.number) == ("filled", 5, "testlog1-1-3", 2)
    assert at.fill(3, 101, 5) == []
    assert at.fill(3, 101, 1, "late") == ["hedge 7 sell b 100 1"]
    assert at.engine.execution.open_bundles("s") == 1
    at.fill(7, 100, 1)
    assert at.engine.execution._archive.open_bundles() == []
    assert at.balance("a", "BTC") == 1_000_016


def test_memory_of_done_bundles_is_small() -> None:
    """A done bundle of two filled orders keeps less than a kilobyte."""
    at = desk()

    def trade(times: int) -> None:
        for _ in range(times):
            at.tell(*GOOD)
            at.fill(at.engine.execution.orders - 1, 101, 5)
            at.fill(at.engine.execution.orders, 100, 5)
        at.rows.clear()
        at.sent.clear()
        at.quote(0, ts=at.now + 10 * NANOS_PER_S)
        at.quote(1)
        gc.collect()

    trade(50)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        trade(200)
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert 0 < grown / 200 < 1000
