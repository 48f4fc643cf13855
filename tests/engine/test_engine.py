"""The engine around execution: one order of rows, and wakes of own reports."""

from __future__ import annotations

import pytest

from tests.defaults import execution_policy, risk_limits, strategy_terms
from tests.engine.desk import HOUR, Desk
from xarb.engine.engine import Engine
from xarb.engine.strategy import Pair
from xarb.errors import ConfigError, InvariantBroken, LogError
from xarb.model.columns import TABLES
from xarb.model.units import NANOS_PER_S

GOOD = ("buy a 101 5", "sell b 100 5")


def test_rows_have_the_columns_of_their_tables() -> None:
    """Every row of a bundle's life names columns of its table only and leaves out none that must be there."""
    desk = Desk()
    desk.tell(*GOOD)
    desk.fill(1, 101, 5, fee=1)
    desk.report(2, "expired")
    desk.tell("buy a 101 5", "sell b 100 4")
    kinds = {kind for kind, _ in desk.rows}
    assert {"commands", "orders", "fills", "ledger", "sim_reports", "refusals"} <= kinds
    for kind, row in desk.rows:
        columns = {column.name: column for column in TABLES[kind].columns}
        assert set(row) <= set(columns), kind
        for name, column in columns.items():
            assert column.nullable or row.get(name) is not None, f"{kind}.{name}"
            assert not column.values or row.get(name) is None or row[name] in column.values, f"{kind}.{name}"


def test_places_are_unique_and_dense() -> None:
    """(after_seq, n) counts from 0 after each input over all kinds."""
    desk = Desk()
    desk.tell(*GOOD)
    desk.fill(1, 101, 5, fee=1)
    desk.fill(2, 100, 5)
    places: dict[int, list[int]] = {}
    for _, row in desk.rows:
        places.setdefault(row["after_seq"], []).append(row["n"])
    for numbers in places.values():
        assert sorted(numbers) == list(range(len(numbers)))


def test_own_reports_wake_their_strategy() -> None:
    """A report wakes the strategy that sent the order, after it was applied."""
    desk = Desk()
    desk.tell(*GOOD)
    desk.fill(1, 101, 5)
    assert desk.told["s"].woken[-1] == "report"


def edged(cool_down_ns: int = 0) -> Desk:
    """A desk whose pair sells at b and buys at a, with an edge of 10 % standing since the last quote."""
    terms = strategy_terms(limits=risk_limits(latency_threshold_ns=HOUR, cool_down_ns=cool_down_ns))
    desk = Desk(pairs=(Pair(1, 0, 0, 0, 0, 0),), terms={"s": terms})
    desk.quote(1, 111, 112)
    return desk


def plan_on_edge(desk: Desk) -> None:
    """Send a bundle on the open episode, and have both legs rejected."""
    desk.tell(*GOOD, opportunity=desk.engine.episodes.open_edges(0)[0].opportunity)
    number = desk.engine.execution.orders
    desk.told["s"].woken.clear()
    desk.report(number - 1, "rejected")
    desk.report(number, "rejected")


def test_the_close_of_a_bundle_rearms_its_pair() -> None:
    """Without a cool-down the pair wakes right after the report that closed the bundle."""
    desk = edged()
    plan_on_edge(desk)
    assert desk.told["s"].woken == ["report", "report", "rearm"]


def test_the_end_of_a_cool_down_rearms_the_pair() -> None:
    """With a cool-down the pair wakes when it ends, at that very time, before the next input, and not at the close."""
    desk = edged(NANOS_PER_S)
    plan_on_edge(desk)
    assert desk.told["s"].woken == ["report", "report"]
    closed = desk.now
    desk.quote(1, 111, 112, ts=closed + NANOS_PER_S)
    assert "rearm" not in desk.told["s"].woken  # at equal time the input is first
    desk.quote(1, 111, 112, ts=closed + NANOS_PER_S + 1)
    assert desk.told["s"].woken.count("rearm") == 1


def test_a_later_episode_rearms_too() -> None:
    """An edge that closed and opened again during the cool-down wakes when it ends; one that is gone does not."""
    desk = edged(NANOS_PER_S)
    plan_on_edge(desk)
    closed = desk.now
    desk.quote(1, 100, 101)
    desk.quote(1, 111, 112)
    desk.quote(0, ts=closed + 2 * NANOS_PER_S)
    assert desk.told["s"].woken.count("rearm") == 1
    gone = edged(NANOS_PER_S)
    plan_on_edge(gone)
    gone.quote(1, 100, 101)
    gone.quote(0, ts=gone.now + 2 * NANOS_PER_S)
    assert "rearm" not in gone.told["s"].woken


def test_a_plan_on_no_episode_of_ours_is_a_bug() -> None:
    """A made-up opportunity stops the engine before anything is sent."""
    desk = edged()
    with pytest.raises(InvariantBroken, match="unknown opportunity 77"):
        desk.tell(*GOOD, opportunity=77)
    assert desk.engine.execution.orders == 0


def test_order_at_equal_time() -> None:
    """At one time come the input, the reports, then the deadline, whose cancel leaves last; a report in time spares the cancel."""
    terms = strategy_terms(limits=risk_limits(latency_threshold_ns=HOUR), execution=execution_policy(timeout_ns=NANOS_PER_S))
    desk = Desk(terms={"s": terms})
    desk.tell(*GOOD)
    due = desk.now + NANOS_PER_S
    assert desk.quote(1, ts=due) == []
    assert desk.report(1, "expired", later=0) == []
    assert desk.now == due
    assert desk.quote(1, ts=due + 1) == ["cancel 2"]
    assert [(row["order"], row["state"], row["ts"]) for row in desk.drained("orders")[2:]] == [
        (1, "expired", due),
        (2, "unknown", due),
    ]


def test_strategies_are_called_in_id_order() -> None:
    """Whatever the order in which they were given."""
    terms = {name: strategy_terms() for name in ("t", "s", "u")}
    desk = Desk(terms=terms)
    for name in terms:
        desk.told[name].plans.append(desk.plan(*GOOD))
    desk.quote(0)
    assert [row["strategy"] for row in desk.drained("commands")] == ["s", "s", "t", "t", "u", "u"]


def test_one_id_for_two_strategies_is_refused() -> None:
    """Rows and money of two strategies could not be told apart."""
    desk = Desk()
    with pytest.raises(ConfigError, match="unique: s, s"):
        Engine(desk.engine.setup, [desk.told["s"], desk.told["s"]])


def test_reports_do_not_turn_time_back() -> None:
    """A driver that ran the engine past a report is stopped."""
    desk = Desk()
    with pytest.raises(InvariantBroken, match="the engine was run too far"):
        desk.engine.take_reports(desk.now - 1, [])


@pytest.mark.parametrize(
    ("changes", "why"),
    [({"px_scale": -1}, "would lose decimals"), ({"qty_scale": -1}, "would lose decimals"), ({"quote": "EUR"}, "'USD' into 'EUR'")],
)
def test_an_instrument_stays_what_it_is(changes: dict[str, object], why: str) -> None:
    """A row that takes decimals away or changes what is traded is a damaged log, not a change of balances."""
    desk = Desk()
    with pytest.raises(LogError, match=why):
        desk.learn(0, **changes)
