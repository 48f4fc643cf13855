"""Rows that only a live log has: timers, reports of real venues, acts of the operator."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.defaults import execution_policy, risk_limits, strategy_terms
from tests.engine.desk import HOUR, Desk, Told, money
from xarb.engine.strategy import Pair, Wakes
from xarb.errors import LogError
from xarb.model.batch import NO_BOOKS, NO_DELTAS, NO_QUOTES, NO_TRADES, Batch
from xarb.model.columns import TABLES
from xarb.model.command import CancelOrder
from xarb.model.event import SlowRow
from xarb.model.units import MONEY_ONE, NANOS_PER_MS, NANOS_PER_S, NEVER

NO_AGE = risk_limits(latency_threshold_ns=HOUR)
GOOD = ("buy a 101 5", "sell b 100 5")
SECOND = 1_000_000_000


def desk(**setup: Any) -> Desk:
    """A desk whose timers and reports are rows."""
    return Desk(**({"timers_are_rows": True, "start": 3} | setup))


def report(desk: Desk, number: int, told: str, **changes: Any) -> list[str]:
    """A report row of an order; what the engine did."""
    names = [column.name for column in TABLES["reports"].columns]
    letter = desk.letters[desk.engine.execution.order(number).plan.instrument]
    one = desk.engine.instruments[desk.letters.index(letter)]
    values = dict.fromkeys(names) | {"account": "main", "strategy": "s", "venue": one.venue, "symbol": one.symbol}
    return desk.slow("reports", values | {"start": 3, "order": number, "event": told} | changes)


FILL: dict[str, Any] = {
    "fill_id": "f1",
    "price": int(money(101)),
    "qty": int(money(5)),
    "fee": 0,
    "fee_asset": "USD",
    "liquidity": "taker",
}


def test_a_reports_row_moves_an_order_as_a_report_does() -> None:
    """A fill row books base and quote; it writes no sim_reports row, because an input is recorded already; its strategy is woken."""
    one = desk()
    one.tell(*GOOD)
    report(one, 1, "fill", **FILL)
    assert (one.balance("a", "BTC"), one.balance("a", "USD")) == (1_000_005, 1_000_000 - 505)
    assert one.drained("sim_reports") == []
    assert one.told["s"].woken[-1] == "report"
    report(one, 2, "rejected", reason="no_balance")
    states = [(row["order"], row["state"], row["reason"]) for row in one.drained("orders")]
    assert states[-2:] == [(2, "rejected", "no_balance"), (3, "pending", None)]  # the naked leg is hedged at once


def test_reports_of_others_change_nothing() -> None:
    """An order of another start, one that is not ours (within what others may trade), and what is no news of an order's state."""
    one = desk()
    one.tell(*GOOD)
    before = len(one.rows)
    small = {"start": None, "order": None, "qty": int(money(5)) // 10}
    for changes in ({"start": 2}, small, {"event": "foreign"}, {"event": "cancel_sent"}):
        assert report(one, 1, "fill", **(FILL | changes)) == []
    assert len(one.rows) == before
    assert one.balance("a", "BTC") == 1_000_000


@pytest.mark.parametrize(
    ("changes", "says"),
    [({"order": 9}, "order 9"), ({"venue": "elsewhere"}, "elsewhere"), ({"price": int(money(101)) + 1}, "price")],
)
def test_a_report_that_cannot_be_applied_is_named(changes: dict[str, Any], says: str) -> None:
    """An unknown order or instrument, and a price finer than the instrument's decimals."""
    one = desk()
    one.tell(*GOOD)
    with pytest.raises(LogError, match=f"seq {one.seq}.*{says}"):
        report(one, 1, "fill", **(FILL | changes))


def test_a_fill_finer_than_the_order_is_booked_once_the_scales_grew() -> None:
    """An `instruments` row with the finer scale comes before it; what is paid is the fill's own price, to the last digit."""
    one = desk()
    one.tell(*GOOD)
    known = one.engine.instruments[one.letters.index("a")]
    finer = msgspec.structs.asdict(known) | {"px_scale": known.px_scale + 2}
    one.slow("instruments", finer | {"tick_int": known.tick_int and known.tick_int * 100})
    price = int(money(101)) - int(money(1)) // 10 ** (known.px_scale + 2)
    report(one, 1, "fill", **(FILL | {"price": price}))
    [fill] = one.drained("fills")
    assert fill["price"] == price
    paid = [row["delta"] for row in one.drained("ledger") if row["asset"] == "USD"]
    assert paid[-1] == -5 * price  # after the opening balances


def test_a_disarmed_engine_sends_no_bundle_until_it_is_armed() -> None:
    """Arm and disarm are acts; an act of another name changes nothing."""
    one = desk(armed=False)
    assert one.tell(*GOOD) == ["refuse disarmed"]
    one.slow("operator", {"action": "note", "actor": "me", "detail": None})
    assert one.tell(*GOOD) == ["refuse disarmed"]
    one.slow("operator", {"action": "arm", "actor": "me", "detail": None})
    assert len(one.tell(*GOOD)) == 2
    one.slow("operator", {"action": "disarm", "actor": "me", "detail": None})
    assert one.tell(*GOOD) == ["refuse disarmed"]


def test_disarmed_legs_are_still_hedged() -> None:
    """What is open is brought to its end: a rejected leg beside a filled one is hedged while disarmed."""
    one = desk()
    one.tell(*GOOD)
    report(one, 1, "fill", **FILL)
    one.slow("operator", {"action": "disarm", "actor": "me", "detail": None})
    assert any(did.startswith("hedge") for did in report(one, 2, "rejected"))


def test_a_kill_cancels_what_may_still_fill_and_disarms() -> None:
    """Orders that are final are left alone."""
    one = desk()
    one.tell(*GOOD)
    report(one, 1, "fill", **FILL)
    assert one.slow("operator", {"action": "kill", "actor": "me", "detail": None}) == ["cancel 2"]
    assert isinstance(one.sent[-1], CancelOrder)
    assert one.tell(*GOOD) == ["refuse disarmed"]


def _kill(one: Desk, level: str | None) -> list[str]:
    return one.slow("operator", {"action": "kill", "actor": "me", "detail": level})


def _naked(one: Desk) -> None:
    """The first leg filled, the second on its way."""
    one.tell(*GOOD)
    report(one, 1, "fill", **FILL)


def test_a_kill_of_entries_lets_what_is_under_way_come_to_its_end() -> None:
    """No cancel; a leg that fails is hedged; no new bundle, armed again or not."""
    one = desk()
    _naked(one)
    assert _kill(one, "entries") == []
    assert report(one, 2, "rejected") == ["hedge 3 sell b 100 5"]
    one.slow("operator", {"action": "arm", "actor": "me", "detail": None})
    assert one.tell(*GOOD) == ["refuse disarmed"]


@pytest.mark.parametrize("level", ["cancel", "stop", None, "the process had ended"])
def test_a_kill_that_cancels_sends_nothing_more(level: str | None) -> None:
    """What the cancels leave is held as inventory. A row without a level is of the highest."""
    one = desk()
    _naked(one)
    assert _kill(one, level) == ["cancel 2"]
    assert report(one, 2, "canceled") == ["refuse killed"]
    assert one.bundle.state == "held"
    assert one.engine.execution.killed == (level if level == "cancel" else "stop")


def test_a_kill_that_cancels_ends_what_waits_for_its_next_try() -> None:
    """At once, not when the pause is over."""
    one = desk(terms={"s": strategy_terms(limits=NO_AGE, execution=execution_policy(hedge_cap_ppb=0, unwind_cap_ppb=0))})
    _naked(one)
    one.quote(1, 90, 91)
    assert report(one, 2, "rejected") == ["refuse hedge_cap", "refuse unwind_cap"]
    assert _kill(one, "cancel") == ["refuse killed"]
    assert (one.bundle.state, one.engine.execution.next_deadline()) == ("held", NEVER)


def test_a_kill_that_unwinds_undoes_and_never_completes() -> None:
    """Within the cap, though the missing leg could be had; beyond the cap it is tried again, and then held."""
    one = desk(terms={"s": strategy_terms(limits=NO_AGE, execution=execution_policy(unwind_cap_ppb=10_000_000))})
    _naked(one)
    assert _kill(one, "unwind") == ["cancel 2"]
    assert report(one, 2, "canceled") == ["unwind 3 sell a 100 5"]
    one.quote(0, 90, 91)
    assert report(one, 3, "expired") == ["refuse unwind_cap"]


def test_a_hard_leg_releases_nothing_after_a_kill_that_cancels() -> None:
    """Its fill is undone instead."""
    one = desk(terms={"s": strategy_terms(limits=NO_AGE, execution=execution_policy(unwind_cap_ppb=10_000_000))})
    assert one.tell(*GOOD, sequence="hard_leg_first") == ["open 1 buy a 101 5"]
    assert _kill(one, "unwind") == ["cancel 1"]
    assert report(one, 1, "fill", **FILL) == ["unwind 2 sell a 100 5"]


def test_a_kill_goes_up_and_not_back() -> None:
    """A lower level after a higher one changes nothing, a higher one goes on from there; a copy knows the level."""
    one = desk()
    _naked(one)
    assert _kill(one, "cancel") == ["cancel 2"]
    assert _kill(one, "entries") == []
    assert _kill(one, "cancel") == []
    assert one.engine.execution.killed == "cancel"
    other = desk()
    other.engine.execution.restore(one.engine.execution.capture())
    assert other.engine.execution.killed == "cancel"
    assert _kill(one, "stop") == ["cancel 2"]


def transfer(
    one: Desk, status: str, qty: int, *, fee: int | None = None, asked: int | None = None, name: str | None = "t1"
) -> None:
    """A deposit or withdrawal (negative) of USD stands so, asked for at a time, ns."""
    values = {"account": "main", "strategy": "", "venue": "a", "asset": "USD", "network": None, "ts_event": asked, "status": status}
    more = {"qty": int(money(qty)), "fee": None if fee is None else int(money(fee)), "transfer_id": name}
    one.slow("transfers", values | more)


def _transferred(one: Desk) -> list[tuple[int, int]]:
    return [(row["delta"] // MONEY_ONE, row["balance"] // MONEY_ONE) for row in one.drained("ledger") if row["cause"] == "transfer"]


def test_a_deposit_counts_once_it_is_credited() -> None:
    """Each once, whatever is told again; it can be spent, and is no profit of a strategy."""
    one = desk()
    transfer(one, "pending", 500)
    assert _transferred(one) == []
    transfer(one, "ok", 500)
    transfer(one, "ok", 500)
    transfer(one, "ok", 70, name="t2")
    assert _transferred(one) == [(500, 1_000_500), (70, 1_000_570)]
    assert one.balance("a", "USD") == 1_000_570
    assert one.engine.portfolio.flows("s") == {}
    marks = {"USD": MONEY_ONE, "BTC": MONEY_ONE}
    assert one.engine.portfolio.value("main", marks, marks).trading == 0


def test_a_withdrawal_counts_from_its_request_until_it_failed() -> None:
    """With its fee; what failed comes back; one that was asked for before the start had left before."""
    one = desk()
    transfer(one, "pending", -300, fee=2, asked=one.now)
    assert _transferred(one) == [(-302, 999_698)]
    transfer(one, "ok", -300, fee=2, asked=one.now)
    assert len(_transferred(one)) == 1
    transfer(one, "pending", -50, asked=one.now, name=None)
    transfer(one, "failed", -50, asked=one.now, name=None)
    first = one.engine.portfolio.opened_at
    transfer(one, "ok", -40, asked=first - 1, name="old")
    transfer(one, "ok", -40, name="of no known time")
    assert _transferred(one)[1:] == [(-50, 999_648)]


def test_a_withdrawal_of_the_last_seconds_before_a_start_explains_its_amount_once() -> None:
    """It is booked by nobody; while it is under way nothing is said of it, and what failed explains nothing."""
    one, place = desk(), ("main", "a", "USD")
    before = one.engine.portfolio.opened_at - 1
    for status, name in (("pending", "t1"), ("ok", "t1"), ("pending", "t2"), ("failed", "t2")):
        transfer(one, status, -40, fee=2, asked=before, name=name)
    transfer(one, "ok", -7, asked=before - 10 * NANOS_PER_S, name="old")
    assert one.engine.portfolio.strayed(place, 0) == (-money(42), 0)
    assert _transferred(one) == []


def test_transfers_are_in_a_copy() -> None:
    """What was counted is not counted again where a copy is taken over, and balances name what came."""
    one = desk()
    transfer(one, "ok", 500)
    copy = one.engine.portfolio.capture()
    other = desk().engine.portfolio
    other.restore(copy)
    assert other.capture() == copy
    other.transfer("main|a|USD|in|t1", ("main", "a", "USD"), int(money(500)))
    assert other.balance(("main", "a", "USD")) == money(1_000_500)
    other.transfer("x", ("main", "a", "DOGE"), 7)
    assert other.balances()["main", "a", "DOGE"] == 7


def test_a_cancel_of_all_leaves_the_engine_armed() -> None:
    """An ordered stop cancels what did not end by itself."""
    one = desk()
    one.tell(*GOOD)
    assert one.slow("operator", {"action": "cancel", "actor": "me", "detail": None}) == ["cancel 1", "cancel 2"]
    assert "refuse disarmed" not in one.tell(*GOOD)


class Scanner(Told):
    """A strategy with a timer of 100 ms."""

    def __init__(self, *, needs_edge: bool) -> None:
        super().__init__("s", 2, (Pair(1, 0, 0, 0, 0, 0),))
        self._wakes = Wakes(pairs=(Pair(1, 0, 0, 0, 0, 0),), timer_ns=100 * NANOS_PER_MS, timer_needs_edge=needs_edge)


@pytest.mark.parametrize("needs_edge", [False, True])
def test_timers_are_wanted_and_delivered_as_rows(monkeypatch: pytest.MonkeyPatch, needs_edge: bool) -> None:
    """The kernel fires none itself; one that needs an edge is wanted, and wakes, only while one stands."""
    monkeypatch.setattr("tests.engine.desk.Told", lambda *_: Scanner(needs_edge=needs_edge))
    one = desk(terms={"s": strategy_terms()})
    row = {"strategy": "s", "due": 0, "missed": 0}
    assert one.engine.timers() == ([] if needs_edge else [("s", 100 * NANOS_PER_MS)])
    one.slow("timers", row)
    assert one.told["s"].woken.count("timer") == (0 if needs_edge else 1)
    one.quote(1, 111, 112)  # an edge opens
    one.quote(0, ts=one.now + 10 * SECOND)
    assert one.engine.timers() == [("s", 100 * NANOS_PER_MS)]
    woken = one.told["s"].woken.count("timer")
    one.slow("timers", row)
    assert one.told["s"].woken.count("timer") == woken + 1


def test_a_timer_for_nobody_is_named() -> None:
    """A strategy that this start does not run."""
    with pytest.raises(LogError, match="'ghost'"):
        desk().slow("timers", {"strategy": "ghost", "due": 0, "missed": 0})


def test_deadlines_are_told_to_the_driver() -> None:
    """The execution timeout of an order is due; an input after it fires it."""
    one = desk()
    one.tell(*GOOD)
    due = one.engine.next_due
    assert one.now < due < one.now + HOUR
    did = one.slow("health", {"venue": None, "metric": "heartbeat", "value": 1, "detail": None}, ts=due + 1)
    assert did == ["cancel 1", "cancel 2"]


def test_a_deadline_that_a_reports_row_sets_fires_within_the_batch() -> None:
    """Rows in one batch give what they give one by one: the end of a cool-down, set by a fill, wakes before the next later input."""

    def story(*, together: bool) -> list[Any]:
        terms = strategy_terms(limits=risk_limits(latency_threshold_ns=HOUR, cool_down_ns=50 * NANOS_PER_MS))
        one = desk(terms={"s": terms}, pairs=(Pair(1, 0, 0, 0, 0, 0),))
        one.quote(1, 111, 112)
        edge = next(row["opportunity"] for row in one.drained("opportunities"))
        one.tell(*GOOD, opportunity=edge)
        rows = []
        for order, letter in ((1, "a"), (2, "b")):
            values = dict.fromkeys(column.name for column in TABLES["reports"].columns)
            values |= {"account": "main", "strategy": "s", "venue": letter, "symbol": "BTC/USD", "start": 3, "order": order}
            rows.append(("reports", values | {"event": "fill"} | FILL | {"fill_id": letter, "price": int(money(105))}))
        beat = {"venue": None, "metric": "heartbeat", "value": 1, "detail": None}
        rows += [("health", beat)] * 2
        times = [one.now + step * NANOS_PER_MS for step in (1, 2, 30, 90)]
        if together:
            slow = [SlowRow(one.seq + n, ts, kind, values) for n, ((kind, values), ts) in enumerate(zip(rows, times, strict=True))]
            one.engine.load(Batch(one.seq, one.seq + 3, NO_QUOTES, NO_DELTAS, NO_TRADES, NO_BOOKS, slow))
            one.advance()
        else:
            for (kind, values), ts in zip(rows, times, strict=True):
                one.slow(kind, values, ts=ts)
        return [one.told["s"].woken, one.rows]

    apart = story(together=False)
    assert "rearm" in apart[0]
    assert story(together=True) == apart
