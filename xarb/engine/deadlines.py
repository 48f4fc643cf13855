"""Deadlines of execution: exact times at which something happens if nothing came before."""

from __future__ import annotations

from heapq import heappop, heappush
from typing import Final, NamedTuple

from xarb.engine.bundle import Bundle, Order
from xarb.engine.captured import DueCopy
from xarb.model.units import NEVER

ORDER: Final = "order"
BUNDLE: Final = "bundle"
REST: Final = "rest"


class Closed(NamedTuple):
    """A bundle closed, or the cool-down that followed it ended; `pair` is the kernel pair that it was planned on."""

    strategy: str
    pair: int


class CoolDown:
    """The rest that follows a closed bundle."""

    __slots__ = ("closed", "due")

    def __init__(self, closed: Closed) -> None:
        self.closed = closed
        self.due = 0


Due = Order | Bundle | CoolDown  # an order times out, a residual is looked at again, a cool-down ends


class Deadlines:
    """A heap of them; at equal time the one that was set first comes first.

    What is due carries the time of its deadline in `due`; another time there means that nothing is to happen any more.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Due]] = []
        self._ordinal = 0

    def set(self, ts: int, what: Due) -> None:
        """Something is due at `ts`, and at no other time."""
        what.due = ts
        self._ordinal += 1
        heappush(self._heap, (ts, self._ordinal, what))

    def next(self) -> int:
        """Time of the next deadline, NEVER without one."""
        heap = self._heap
        while heap:
            ts, _, what = heap[0]
            if what.due == ts:
                return ts
            heappop(heap)
        return NEVER

    def entries(self) -> list[tuple[int, int, Due]]:
        """Time, ordinal and what, in the order in which they come; those that nothing is to follow any more among them."""
        return sorted(self._heap, key=_when)

    @property
    def ordinal(self) -> int:
        """Of the deadline that was set last."""
        return self._ordinal

    def restore(self, entries: list[tuple[int, int, Due]], ordinal: int) -> None:
        """Take over entries, as they were given out, and the ordinal of the last."""
        self._heap, self._ordinal = [*entries], ordinal

    def pop(self, ts: int) -> Due | None:
        """The next that is due at `ts` or before, None when there is none."""
        return heappop(self._heap)[2] if self.next() <= ts else None


def _when(entry: tuple[int, int, Due]) -> tuple[int, int]:
    return entry[:2]


def due_copy(ts: int, ordinal: int, what: Due) -> DueCopy:
    """A deadline as plain values."""
    if isinstance(what, Order):
        return DueCopy(ts, ordinal, ORDER, "", what.number)
    if isinstance(what, Bundle):
        return DueCopy(ts, ordinal, BUNDLE, "", what.number)
    return DueCopy(ts, ordinal, REST, *what.closed)
