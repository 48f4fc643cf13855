"""Rows for live logs: tuples as `RowBuilder` makes them, output rows as the engine does, and everything back out of a log."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tests.log.logs import BTC, START, Placed, Row, connection, full, instrument, placed
from xarb.log.reader import LogReader
from xarb.log.rows import from_table
from xarb.model.columns import INPUTS, TABLES
from xarb.model.event import OutputRow, output_row

Values = tuple[Any, ...]
HEAD: list[Placed] = [connection(0), instrument(BTC, 2, 5)]


def values_of(kind: str, row: Row) -> Values:
    """A row by name as a tuple in column order, enums as indices."""
    found = []
    for column in TABLES[kind].columns:
        value = row.get(column.name)
        found.append(column.values.index(value) if column.values and value is not None else value)
    return tuple(found)


def inputs_of(rows: Iterable[Placed]) -> dict[str, list[Values]]:
    """Placed rows by kind, as a live log takes them."""
    found: dict[str, list[Values]] = {}
    for kind, row in rows:
        found.setdefault(kind, []).append(values_of(kind, row))
    return found


def head() -> dict[str, list[Values]]:
    """A connection and an instrument: seq 0 and 1."""
    return inputs_of(placed(HEAD))


def quotes(first: int, count: int) -> dict[str, list[Values]]:
    """Quotes with the seqs from `first` on."""
    venue, symbol = BTC
    return {
        "quotes": [
            (n, START + n * 1000, START, 0, venue, symbol, n, 100 + n, 5, 200 + n, None, 2, 5) for n in range(first, first + count)
        ]
    }


def refusal(after: int, n: int, value: int | None = None, ts: int | None = None) -> OutputRow:
    """An output row."""
    ts = START + after * 1000 if ts is None else ts
    row = {"after_seq": after, "n": n, "ts": ts, "account": "a", "strategy": "s", "reason": "limit", "value": value}
    return output_row("refusals", row)


def read_inputs(folder: Path) -> list[Placed]:
    """Every sealed input of a log as written, in order."""
    found: list[Placed] = []
    with LogReader(folder) as reader:
        for kind in INPUTS:
            names = [column.name for column in TABLES[kind].columns]
            for entry in reader.entries(kind):
                for batch in reader.files.batches(entry, names, 10_000):
                    found += [(kind, row) for row in from_table(kind, batch)]
    return sorted(found, key=lambda pair: pair[1]["seq"])


def read_outputs(folder: Path) -> list[Placed]:
    """Every sealed output of a log, in order."""
    with LogReader(folder) as reader:
        return list(reader.outputs())


def whole(rows: Sequence[Placed]) -> list[Placed]:
    """The rows with absent columns as None, as they are read back."""
    return [(kind, full(kind, row)) for kind, row in rows]
