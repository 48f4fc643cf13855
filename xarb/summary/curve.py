"""A curve of any length in bounded memory: of each stretch of time the first, lowest, highest and last value."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from xarb.model.units import NANOS_PER_S
from xarb.summary.ratios import Period

POINTS: Final = 2_000  # stretches at most; a screen has no more columns


class _Point(NamedTuple):
    ts: int
    number: int  # two values of one moment keep their order
    value: int


class _Stretch(NamedTuple):
    first: _Point
    low: _Point
    high: _Point
    last: _Point


class Curve:
    """Trading PnL over time in one currency: points to draw, and the value at the end of each period.

    Args:
        begins: ns; at it the value is zero.
        ends: ns, the last moment that there can be.
        period: how often changes are looked at.
        points: how many stretches are kept at most.

    Attributes:
        taken: how many values there were.
        ends, period: as given.
    """

    def __init__(self, begins: int, ends: int, period: Period, *, points: int = POINTS) -> None:
        self.taken = 0
        self.ends = ends
        self.period = period
        self._begins = begins
        self._width = max(1, -(-(ends - begins + 1) // points))
        self._stretches: dict[int, _Stretch] = {}
        self._period_ns = period.seconds * NANOS_PER_S
        self._closing: dict[int, int] = {}  # by period: its last value

    def take(self, ts: int, value: int) -> None:
        """The value from a time on."""
        self.taken += 1
        self._draw(_Point(ts, self.taken, value))
        self._closing[(ts - self._begins) // self._period_ns] = value

    def _draw(self, point: _Point) -> None:
        at = (point.ts - self._begins) // self._width
        old = self._stretches.get(at)
        if old is None:
            self._stretches[at] = _Stretch(point, point, point, point)
        else:
            low = point if point.value < old.low.value else old.low
            high = point if point.value > old.high.value else old.high
            self._stretches[at] = _Stretch(old.first, low, high, point)

    def until(self, ends: int, period: Period, *, points: int = POINTS) -> Curve:
        """The same values on a longer or shorter stretch of time that has them all.

        Changes are the same as if it had been made so at once; of what is drawn only points that are kept here can be kept.

        Args:
            ends: ns.
            period: whole multiples of this one's.
            points: as for a new one.
        """
        made = Curve(self._begins, ends, period, points=points)
        made.taken = self.taken
        for stretch in sorted(self._stretches):
            for point in sorted(set(self._stretches[stretch])):
                made._draw(point)
        for at in sorted(self._closing):
            made._closing[at * self._period_ns // made._period_ns] = self._closing[at]
        return made

    def points(self) -> Iterator[tuple[int, int]]:
        """Time (ns) and value of what is drawn, in order: nothing is left out where there are few, no extreme where there are many."""
        yield (self._begins, 0)
        for at in sorted(self._stretches):
            yield from ((one.ts, one.value) for one in sorted(set(self._stretches[at])))

    def changes(self) -> list[int]:
        """The change in each whole period, and in the rest at the end as one more where it is at least half of one."""
        span = self.ends - self._begins
        count = span // self._period_ns + (span % self._period_ns * 2 >= self._period_ns)
        found, before = [], 0
        for at in range(count):
            value = self._closing.get(at, before)
            found.append(value - before)
            before = value
        return found
