"""What the clients of a simulated venue see of its books: the levels as the market left them, minus what orders took from them."""

from __future__ import annotations

from bisect import bisect_left
from typing import Final, NamedTuple

from xarb.engine.kernel.book import ASK, BID
from xarb.engine.kernel.state import BOOK_LEVELS
from xarb.engine.words import place, width, words
from xarb.model.units import NULL
from xarb.venues.fold.state import INSTRUMENT, INSTRUMENTS, MARK, MARKED, MARKS, PRICES, SIZES, VenueMemory

_PX: Final = place(INSTRUMENT, "best_px")
_QTY: Final = place(INSTRUMENT, "best_qty")
_LEVELS: Final = place(INSTRUMENT, "levels")
_SLOT: Final = place(INSTRUMENT, "slot")
_ASSUMED: Final = place(INSTRUMENT, "assumed")
_MARKS: Final = place(INSTRUMENT, "marks")
_WIDTH: Final = width(INSTRUMENT)
_MARK_WIDTH: Final = width(MARK)
_MARK_PRICE: Final = place(MARK, "price")
_MARK_LEFT: Final = place(MARK, "left")


class Level(NamedTuple):
    """A price and the quantity that can be had there, at the instrument's scales."""

    price: int
    qty: int


class ShownBook:
    """One instrument's book, read from the venue's memory. Levels of unknown size are not shown.

    Args:
        memory: the compiled half of the simulated venues.
        number: of the instrument.
    """

    __slots__ = ("_at", "_marked", "_mine", "_number", "_prices", "_sizes")

    def __init__(self, memory: VenueMemory, number: int) -> None:
        self._number = number
        self._mine = words(memory.tables[INSTRUMENTS])
        self._at = number * _WIDTH
        self._marked = words(memory.tables[MARKED])
        self._prices = words(memory.tables[PRICES])
        self._sizes = words(memory.tables[SIZES])

    @property
    def is_deep(self) -> bool:
        """Whether the book has more than one level a side."""
        return self._mine[self._at + _SLOT] >= 0

    def marked(self, side: int) -> list[int]:
        """Prices of the levels from which something was taken."""
        start = (self._number * 2 + side) * MARKS * _MARK_WIDTH
        count = self._mine[self._at + _MARKS + side]
        return [self._marked[start + at * _MARK_WIDTH + _MARK_PRICE] for at in range(count)]

    def qty(self, side: int, price: int) -> int:
        """What can be had at a price, 0 for nothing."""
        count = self._mine[self._at + _LEVELS + side]
        if count == 0:
            return 0
        slot = self._mine[self._at + _SLOT]
        if slot < 0:
            if self._mine[self._at + _PX + side] != price:
                return 0
            return self._left(side, price, self._mine[self._at + _QTY + side])
        start = (slot * 2 + side) * BOOK_LEVELS
        sign = 1 if side == BID else -1  # the best level is the last one
        at = bisect_left(self._prices, sign * price, start, start + count, key=sign.__mul__)
        if at == start + count or self._prices[at] != price:
            return 0
        return self._left(side, price, self._sizes[at])

    def levels(self, side: int, limit: int = BOOK_LEVELS) -> list[Level]:
        """The best `limit` levels at which something can be had, best first."""
        count = self._mine[self._at + _LEVELS + side]
        slot = self._mine[self._at + _SLOT]
        if count and slot < 0:
            price = self._mine[self._at + _PX + side]
            left = self._left(side, price, self._mine[self._at + _QTY + side])
            return [Level(price, left)] if left > 0 and limit > 0 else []
        found: list[Level] = []
        start = (slot * 2 + side) * BOOK_LEVELS
        for at in range(start + count - 1, start - 1, -1):
            if len(found) == limit:
                break
            price = self._prices[at]
            left = self._left(side, price, self._sizes[at])
            if left > 0:
                found.append(Level(price, left))
        return found

    def best(self, side: int) -> Level | None:
        """The best level at which something can be had."""
        found = self.levels(side, 1)
        return found[0] if found else None

    def _left(self, side: int, price: int, size: int) -> int:
        if size == NULL:
            size = self._mine[self._at + _ASSUMED]
            if size == NULL:
                return 0
        count = self._mine[self._at + _MARKS + side]
        if count == 0:
            return size
        start = (self._number * 2 + side) * MARKS * _MARK_WIDTH
        for at in range(start, start + count * _MARK_WIDTH, _MARK_WIDTH):
            if self._marked[at + _MARK_PRICE] == price:
                return max(0, size - self._marked[at + _MARK_LEFT])
        return size


__all__ = ["ASK", "BID", "Level", "ShownBook"]
