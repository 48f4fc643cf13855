"""Deadlines of execution: exact times at which something happens if nothing came before."""

from __future__ import annotations

from heapq import heappop, heappush
from typing import NamedTuple

from xarb.engine.bundle import Bundle, Order
from xarb.model.units import NEVER


class Closed(NamedTuple):
    """A bundle closed, or the cool-down that followed it ended; `pair` is the kernel pair that it was planned on."""

    strategy: str
    pair: int


Due = Order | Bundle | Closed  # an order times out, a residual is looked at again, a cool-down ends


class Deadlines:
    """A heap of them; at equal time the one that was set first comes first."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Due]] = []
        self._ordinal = 0

    def set(self, ts: int, what: Due) -> None:
        """Something is due at `ts`."""
        self._ordinal += 1
        heappush(self._heap, (ts, self._ordinal, what))

    def next(self) -> int:
        """Time of the next deadline, NEVER without one."""
        heap = self._heap
        while heap and _is_void(heap[0][0], heap[0][2]):
            heappop(heap)
        return heap[0][0] if heap else NEVER

    def pop(self, ts: int) -> Due | None:
        """The next that is due at `ts` or before, None when there is none."""
        return heappop(self._heap)[2] if self.next() <= ts else None


def _is_void(ts: int, what: Due) -> bool:
    """Whether nothing would happen: the order is done, the residual waits no longer or for another time."""
    if isinstance(what, Order):
        return not what.alive
    return isinstance(what, Bundle) and what.retry_at != ts
