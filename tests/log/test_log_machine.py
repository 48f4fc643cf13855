"""Any order of appends, syncs, rotations, seals, closes, kills and power failures, against what a recorder must find afterwards."""

from __future__ import annotations

import errno
import os
import threading
from contextlib import ExitStack

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from tests.log.live import head
from tests.log.logs import HEADER
from tests.log.recorder import check_recorded, rows_from
from tests.log.states import state, torn
from tests.log.test_livelog import rotated
from tests.log.trace import Tree, watched, write_tree
from xarb.errors import LogError
from xarb.log.committer import Policy
from xarb.log.disk import DISK, Disk
from xarb.log.journal import SUFFIX, journals
from xarb.log.livelog import LiveLog
from xarb.log.tail import Tail
from xarb.simulation.verb import scratch

SMALL = Policy(commit_ms=5, seal_rows=40, reserve_bytes=0, separate=False)
WAIT_S = 60
FEW = settings(
    max_examples=25,
    stateful_step_count=25,
    deadline=None,
    derandomize=True,
    database=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)  # every example writes real files: its time says nothing, and shrinking would take minutes


class Stalling:
    """The disk of a journal, on which a flush may stall until the power is gone.

    Args:
        flushes: False plants the fault: fdatasync says that it was done, and it was not.
    """

    def __init__(self, *, flushes: bool) -> None:
        self.disk = Disk(DISK.write, self._flush)
        self._flushes = flushes
        self._is_stalled = False
        self._power = threading.Event()

    def stall(self) -> None:
        """Nothing that is written from here on becomes durable."""
        self._is_stalled = True

    def lose_power(self) -> None:
        """What waits fails."""
        self._power.set()

    def _flush(self, handle: int) -> None:
        if self._is_stalled:
            assert self._power.wait(WAIT_S), "the power was never cut"
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        if self._flushes:
            DISK.flush(handle)


class LogMachine(RuleBasedStateMachine):
    """One log, its recorder, and the last seq that may not be lost."""

    flushes = True
    cuts = torn = 0  # power failures, and how many of them left a torn tail

    def __init__(self) -> None:
        super().__init__()
        self.held = ExitStack()
        self.root = self.held.enter_context(scratch())
        self.homes = 0
        self.kept = -1  # must survive a power failure
        self.written = -1  # must survive a kill

    @initialize()
    def create(self) -> None:
        """An empty log with its first rows."""
        self._watch({})
        self.log = LiveLog.create(self.folder, HEADER, SMALL, self.stalling.disk)
        self.log.append(head())
        self.sync()
        self.first = len(self.trace.steps)

    def _watch(self, tree: Tree) -> None:
        """Watch a new folder in which this is."""
        self.watching = ExitStack()
        self.homes += 1
        home = self.root / f"{self.homes}"
        write_tree(tree, home)
        self.folder = home / "log"
        self.stalling = Stalling(flushes=self.flushes)
        self.trace = self.watching.enter_context(watched(home))
        self.trace.promise = lambda: (self.kept, self.written)
        self.first = 0

    @rule(count=st.integers(1, 30))
    def append(self, count: int) -> None:
        """Rows that are only in memory yet."""
        self.log.append(*rows_from(self.log.last + 1, count))

    @rule(counts=st.lists(st.integers(1, 30), max_size=8))
    def write(self, counts: list[int]) -> None:
        """They survive a kill, and so does each further batch; a full journal is rotated by it, and sealed beside."""
        self.log.write()
        for count in counts:
            self.append(count)
            self.log.write()
        self.written = self.log.last

    @rule()
    def rotate(self) -> None:
        """The next journal is made, and the third write goes into it."""
        rotated(self.log)
        before = self.log._committer.current.path
        self.write(counts=[30, 30, 5])
        assert self.log._committer.current.path != before

    @rule()
    def sync(self) -> None:
        """They survive a power failure."""
        self.log.sync()
        self.kept = self.written = self.log.last

    @rule(looked_at=st.booleans())
    def close(self, *, looked_at: bool) -> None:
        """Everything is sealed."""
        last = self.log.last
        self.log.close()
        self._reopen(last, looked_at=looked_at)

    @rule(looked_at=st.booleans())
    def kill(self, *, looked_at: bool) -> None:
        """What was written is there."""
        self.log.abandon()
        self._reopen(self.written, looked_at=looked_at)

    @rule(
        counts=st.lists(st.integers(1, 30), min_size=1, max_size=4),
        back=st.integers(0, 8),
        fate=st.integers(0, 999),
        is_torn=st.sampled_from([True, True, False]),
        looked_at=st.booleans(),
    )
    def lose_power(self, counts: list[int], back: int, fate: int, *, is_torn: bool, looked_at: bool) -> None:
        """The disk stalls, more is written, and the power goes, then or some steps before: what was synced is there, of the rest anything."""
        self.stalling.stall()
        self.write(counts)
        back = back % len(counts) if is_torn else back  # one write at least is left
        cut = max(self.first, len(self.trace.steps) - back)
        self.stalling.lose_power()
        self.log.abandon()
        self.watching.close()
        found = (torn(self.trace, cut, fate, SUFFIX) if is_torn else None) or state(self.trace, cut, fate)
        self._watch(found.tree)
        self.kept = self.written = found.must
        type(self).cuts += 1
        type(self).torn += Tail(self.folder).torn_bytes > 0
        self._reopen(found.must, looked_at=looked_at)

    def _reopen(self, last: int, *, looked_at: bool) -> None:
        if looked_at:
            check_recorded(self.folder, last)
        self.log = LiveLog.open(self.folder, SMALL, self.stalling.disk)
        assert self.log.last >= last, f"{last - self.log.last} acknowledged rows are lost"
        self.kept = self.written = self.log.last

    def teardown(self) -> None:
        """Every row that was written, once, as it was."""
        with self.held:
            if not hasattr(self, "log"):
                return
            self.log.abandon()
            self.watching.close()
            if self.flushes:
                check_recorded(self.folder, self.written)
                assert not journals(self.folder)


class Forgetful(LogMachine):
    """The same with an fdatasync that does nothing."""

    flushes = False


def test_any_course_of_a_log_keeps_what_it_acknowledged() -> None:
    """25 courses of up to 25 steps: nothing acknowledged is lost, nothing is twice, nothing is invented, the log is sound."""
    run_state_machine_as_test(LogMachine, settings=FEW)
    assert LogMachine.torn * 3 >= LogMachine.cuts >= 25, "it meets too few torn tails"


def test_a_log_without_fdatasync_is_caught() -> None:
    """The same machine finds a disk that forgets: rows are lost, or a start refuses what is missing."""
    with pytest.raises((AssertionError, LogError), match=r"acknowledged rows are lost|xarb log repair"):
        run_state_machine_as_test(Forgetful, settings=FEW)
