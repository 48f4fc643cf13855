"""Replayed rows beside recorded ones, row by row, up to the first that differs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from xarb.console import Table
from xarb.log.canonical import OutputDigest
from xarb.model.columns import TABLES
from xarb.model.event import named, output_row
from xarb.replay import Rows


class Difference(NamedTuple):
    """The first row that differs: place in the total order, the recorded row and the replayed one (None: there is none)."""

    recorded: tuple[str, Mapping[str, Any]] | None
    replayed: tuple[str, Mapping[str, Any]] | None


class Differs(Exception):  # no error: it ends the replay
    """A replayed row is not the recorded one."""


class Comparison:
    """Compares replayed rows with recorded ones as they come.

    `rows` were equal so far; `difference` is the first that was not, and `digest` is over all replayed rows.
    """

    def __init__(self, recorded: Iterator[tuple[str, Mapping[str, Any]]]) -> None:
        self._recorded = recorded
        self.rows = 0
        self.difference: Difference | None = None
        self.digest = OutputDigest()

    def take(self, rows: Rows) -> None:
        """Compare a batch of replayed rows.

        Raises:
            Differs: one is another; `difference` has both.
        """
        for row in rows:
            found = next(self._recorded, None)
            if found is None or output_row(*found) != row:
                self.difference = Difference(found, (row[0], named(row)))
                raise Differs
            self.rows += 1
        self.digest.take(rows)

    def finish(self) -> None:
        """Nothing may be left over."""
        left = next(self._recorded, None)
        if left is not None:
            self.difference = Difference(left, None)


def difference_table(difference: Difference) -> Table:
    """Both rows of a difference column by column; what differs is marked."""
    rows: list[tuple[str, ...]] = []
    kinds = [side[0] if side else "-" for side in difference]
    rows.append(("*" if kinds[0] != kinds[1] else "", "kind", *kinds))
    for name in _names(difference):
        cells = ["(no row)" if side is None else str(side[1].get(name)) for side in difference]
        rows.append(("*" if cells[0] != cells[1] else "", name, cells[0], cells[1]))
    return Table("First difference", ("", "column", "recorded", "replayed"), tuple(rows))


def _names(difference: Difference) -> Sequence[str]:
    names: list[str] = []
    for side in difference:
        if side is not None:
            names += [column.name for column in TABLES[side[0]].columns if column.name not in names]
    return names
