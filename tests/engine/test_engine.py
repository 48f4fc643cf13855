"""The engine around execution: one order of rows, and wakes of own reports."""

from __future__ import annotations

from tests.engine.desk import Desk
from xarb.model.columns import TABLES

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
