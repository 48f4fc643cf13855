"""Timers and heartbeats of a live engine: what is due at a moment, and when to look again."""

from __future__ import annotations

from typing import Any

import pytest

from xarb.live.timers import APART_NS, QUIET_NS, Timers
from xarb.model.units import NANOS_PER_MS, NEVER

SCAN = 100 * NANOS_PER_MS
T = 1_700_000_000_000_000_000 // SCAN * SCAN


class Put:
    """A driver that keeps what it was given."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, tuple[Any, ...]]] = []
        self.timers = Timers(lambda kind, values: self.rows.append((kind, values)))

    def look(self, now: int, *, last: int | None = None, wanted: bool = True, due: int = NEVER) -> int:
        """When to look again, after `now`."""
        return self.timers.look(now, now if last is None else last, [("s", SCAN)] if wanted else [], due)


def test_a_timer_comes_at_the_grid_and_counts_what_was_missed() -> None:
    """A timer that is wanted anew waits for the next grid time; one that is late says by how much."""
    put = Put()
    assert put.look(T + 5) == T + SCAN
    assert put.rows == []
    assert put.look(T + SCAN) == T + 2 * SCAN
    assert put.look(T + SCAN + 7) == T + 2 * SCAN
    assert put.look(T + 5 * SCAN + 3) == T + 6 * SCAN
    assert put.rows == [("timers", ("s", T + SCAN, 0)), ("timers", ("s", T + 5 * SCAN, 3))]


def test_a_timer_that_was_not_wanted_meanwhile_has_missed_nothing() -> None:
    """Only grid times at which it was wanted count."""
    put = Put()
    put.look(T)
    put.look(T + SCAN // 2, wanted=False)
    put.look(T + 7 * SCAN + 1)
    assert put.rows == []
    put.look(T + 8 * SCAN)
    assert put.rows == [("timers", ("s", T + 8 * SCAN, 0))]


@pytest.mark.parametrize("past", [1, SCAN])
def test_a_deadline_gets_an_input_after_it(past: int) -> None:
    """An input at the deadline's own time would not fire it, so the look comes after it."""
    put = Put()
    due = T + 30 * NANOS_PER_MS
    assert put.look(T, wanted=False, due=due) == due + 1
    put.look(due, wanted=False, due=due)
    assert put.rows == []
    put.look(due + past, last=T, wanted=False, due=due)
    assert [kind for kind, _ in put.rows] == ["health"]


def test_silence_gets_a_heartbeat() -> None:
    """After a second without an input."""
    put = Put()
    assert put.look(T, wanted=False) == T + QUIET_NS
    put.look(T + QUIET_NS, last=T, wanted=False)
    assert put.rows == [("health", (None, "heartbeat", 1, None))]


def test_a_deadline_that_stays_does_not_make_the_loop_spin() -> None:
    """Heartbeats keep their distance."""
    put = Put()
    again = put.look(T + 1, wanted=False, due=T)
    assert again >= T + 1 + APART_NS
    put.look(T + 2, wanted=False, due=T)
    assert len(put.rows) == 1
    put.look(again, wanted=False, due=T)
    assert len(put.rows) == 2
