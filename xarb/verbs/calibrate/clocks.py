"""The clocks of exchanges beside ours, as a log measured them: how an exchange's time is put on our clock."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from xarb.model.units import NANOS_PER_MS

METRIC: Final = "clock_offset_ns"
_AROUND: Final = 2  # readings before and after one
_STEPS: Final = (NANOS_PER_MS, 1_000)  # ns, of venues that tell time in ms or us
Ints = NDArray[np.int64]


class Clock(NamedTuple):
    """One exchange's clock.

    Attributes:
        times, offsets: when it was measured, and by how much it was ahead of ours, ns; rising times. Each offset is the middle one of five
            readings in a row, since a single one is as wrong as its round trip was uneven.
        step: what its times are cut to, ns; 1 where they are not. A time stands for the middle of its step.
    """

    times: tuple[int, ...] = ()
    offsets: tuple[int, ...] = ()
    step: int = 1

    def ours(self, theirs: int, near: int) -> int:
        """An exchange's time on our clock; `near` is our time at which it was heard of."""
        return theirs + self.step // 2 - self._offset(near)

    def ours_all(self, theirs: Ints, near: Ints) -> Ints:
        """As `ours`, of many."""
        if not self.times:
            return theirs + self.step // 2
        at = np.maximum(np.searchsorted(np.array(self.times, np.int64), near, side="right") - 1, 0)
        return theirs + self.step // 2 - np.array(self.offsets, np.int64)[at]

    def _offset(self, near: int) -> int:
        """The last reading up to a time; before the first one that."""
        return self.offsets[max(0, bisect_right(self.times, near) - 1)] if self.times else 0

    @property
    def middle_ns(self) -> int | None:
        """The middle one of the readings."""
        return sorted(self.offsets)[len(self.offsets) // 2] if self.offsets else None


def clocks_of(health: Iterable[Mapping[str, Any]]) -> dict[str, Clock]:
    """By venue, its readings among rows of `health` in the order of the log."""
    found: dict[str, list[tuple[int, int]]] = {}
    for row in health:
        if row["metric"] == METRIC and row["venue"] is not None:
            found.setdefault(row["venue"], []).append((row["ts_recv"], row["value"]))
    return {venue: Clock(tuple(ts for ts, _ in mine), _smooth([value for _, value in mine])) for venue, mine in found.items()}


def _smooth(values: list[int]) -> tuple[int, ...]:
    around = [sorted(values[max(0, at - _AROUND) : at + _AROUND + 1]) for at in range(len(values))]
    return tuple(few[len(few) // 2] for few in around)


def step_of(times: Iterable[int]) -> int:
    """What all of these times are cut to, ns."""
    left = list(times)
    return next((step for step in _STEPS if left and all(time % step == 0 for time in left)), 1)
