"""Time for an engine that only moves by inputs: timers that strategies asked for, on their grid, and heartbeats where nothing else comes.

A timer row comes at the first look after its grid time; times that were missed meanwhile are counted in it. A heartbeat comes when a
deadline of the engine has passed, and when no input came for a second, so that silence is noticed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from xarb.model.units import NANOS_PER_MS, NANOS_PER_S, NEVER

QUIET_NS: Final = NANOS_PER_S
APART_NS: Final = NANOS_PER_MS  # heartbeats come no closer: a deadline that did not move on must not make the loop spin
HEARTBEAT: Final = "heartbeat"
Put = Callable[[str, tuple[object, ...]], None]


class Timers:
    """What rows are due at a moment, and when to look again.

    Args:
        put: takes a row: its kind, and its values after seq and ts_recv.
    """

    def __init__(self, put: Put) -> None:
        self._put = put
        self._last: dict[str, int] = {}  # by strategy whose timer is wanted: the grid time up to which it was woken
        self._beats = 0
        self._beat_at = -APART_NS

    def look(self, now: int, last_input: int, wanted: Sequence[tuple[str, int]], next_due: int) -> int:
        """Put what is due at `now`; the time at which to look again, ns.

        Args:
            now: this moment, ns.
            last_input: ts_recv of the last input.
            wanted: (strategy id, interval) of the timers that the engine wants, as `Engine.timers` says.
            next_due: its next deadline.
        """
        again = last_input + QUIET_NS
        is_beat_due = now > next_due or now >= again
        last: dict[str, int] = {}
        for strategy, interval in wanted:
            grid = now // interval * interval
            before = self._last.get(strategy)
            if before is not None and grid > before:
                self._put("timers", (strategy, grid, (grid - before) // interval - 1))
                is_beat_due = False
            last[strategy] = grid
            again = min(again, grid + interval)
        self._last = last
        if is_beat_due and now - self._beat_at >= APART_NS:
            self._beats += 1
            self._beat_at = now
            self._put("health", (None, HEARTBEAT, self._beats, None))
        return min(
            max(again, self._beat_at + APART_NS, now + 1),
            max(next_due, self._beat_at + APART_NS) + 1 if next_due < NEVER else NEVER,
        )
