"""One served book: what changed in what clients see, level by level, under one counter of updates."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from xarb.venues.shown import ASK, BID, Level, ShownBook


class Change(NamedTuple):
    """A level that clients see differently now; `qty` 0: it is gone. Price and quantity at the instrument's scales."""

    side: int
    price: int
    qty: int


class ServedBook:
    """A book as its clients know it.

    Attributes:
        updates: number of the last change; one count for snapshots, tops and differences.
    """

    __slots__ = ("_levels", "_shown", "updates")

    def __init__(self, shown: ShownBook) -> None:
        self._shown = shown
        self._levels: tuple[dict[int, int], dict[int, int]] = ({}, {})
        self.updates = 0

    @property
    def is_deep(self) -> bool:
        """Whether it has more than one level a side; only then do quotes not move it."""
        return self._shown.is_deep

    def touch(self, levels: Iterable[tuple[int, int]]) -> list[Change]:
        """Look again at these levels (side, price), and at those from which orders took."""
        wanted = {*levels, *((side, price) for side in (BID, ASK) for price in self._shown.marked(side))}
        return self._changed(Change(side, price, self._shown.qty(side, price)) for side, price in sorted(wanted))

    def refresh(self) -> list[Change]:
        """Look again at every level."""
        found = []
        for side in (BID, ASK):
            now, before = dict(self._shown.levels(side)), self._levels[side]
            found += [Change(side, price, 0) for price in before if price not in now]
            found += [Change(side, price, qty) for price, qty in now.items()]
        return self._changed(found)

    def rescale(self, price: int, qty: int) -> None:
        """Finer scales: prices and quantities grow by powers of ten."""
        for levels in self._levels:
            grown = {before * price: size * qty for before, size in levels.items()}
            levels.clear()
            levels.update(grown)

    def best(self, side: int) -> Level | None:
        """The best level of a side."""
        return self._shown.best(side)

    def levels(self, side: int, limit: int) -> list[Level]:
        """The best levels of a side."""
        return self._shown.levels(side, limit)

    def _changed(self, seen: Iterable[Change]) -> list[Change]:
        found = []
        for change in seen:
            mine = self._levels[change.side]
            if mine.get(change.price, 0) != change.qty:
                if change.qty:
                    mine[change.price] = change.qty
                else:
                    del mine[change.price]
                found.append(change)
        if found:
            self.updates += 1
        return found


__all__ = ["ASK", "BID", "Change", "Level", "ServedBook"]
