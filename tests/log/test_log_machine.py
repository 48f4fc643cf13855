"""Any order of appends, syncs, rotations, seals, closes, kills and power failures, against what a recorder must find afterwards."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from tests.log.live import head
from tests.log.logs import HEADER
from tests.log.recorder import check_recorded, rows_from
from tests.log.test_livelog import rotated
from xarb.errors import LogError
from xarb.log.committer import Policy
from xarb.log.disk import Bytes, Disk
from xarb.log.journal import journals, read_opening
from xarb.log.livelog import LiveLog

SMALL = Policy(commit_ms=5, seal_rows=40, reserve_bytes=0, separate=False)
FEW = settings(
    max_examples=25,
    stateful_step_count=25,
    deadline=None,
    derandomize=True,
    database=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)  # every example writes real files: its time says nothing, and shrinking would take minutes


class Remembering:
    """The disk, and how much of each journal a power failure would leave.

    Args:
        flushes: False plants the fault: fdatasync says that it was done, and it was not.
    """

    def __init__(self, *, flushes: bool) -> None:
        self.durable: dict[int, int] = {}  # bytes, by inode
        self._flushes = flushes
        self.disk = Disk(self._write, self._flush)

    def _write(self, handle: int, data: Bytes) -> int:
        stat = os.fstat(handle)
        known = self.durable.get(stat.st_ino, stat.st_size)
        self.durable[stat.st_ino] = min(known, stat.st_size)  # another file may have had this inode before
        return os.write(handle, data)

    def _flush(self, handle: int) -> None:
        stat = os.fstat(handle)
        if self._flushes:
            self.durable[stat.st_ino] = stat.st_size


class LogMachine(RuleBasedStateMachine):
    """One log, its recorder, and the last seq that may not be lost."""

    flushes = True

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.folder = self.root / "log"
        self.memory = Remembering(flushes=self.flushes)
        self.kept = -1  # must survive a power failure
        self.written = -1  # must survive a kill

    @initialize()
    def create(self) -> None:
        """An empty log with its first rows."""
        self.log = LiveLog.create(self.folder, HEADER, SMALL, self.memory.disk)
        self.log.append(head())

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

    @precondition(lambda self: self.written >= 0)
    @rule(part=st.integers(0, 100), zeros=st.integers(0, 100), looked_at=st.booleans())
    def lose_power(self, part: int, zeros: int, *, looked_at: bool) -> None:
        """What was synced is there; of what was not, any part, torn anywhere, or zeros in its place."""
        self.log.abandon()
        for _, path in journals(self.folder):
            stat = path.stat()
            durable = min(self.memory.durable.get(stat.st_ino, read_opening(path)[1]), stat.st_size)
            data, loose = path.read_bytes(), stat.st_size - durable
            left = data[: durable + loose * part // 100]
            path.write_bytes(left + bytes((loose - (len(left) - durable)) * zeros // 100))
        self._reopen(self.kept, looked_at=looked_at)

    def _reopen(self, last: int, *, looked_at: bool) -> None:
        if looked_at:
            check_recorded(self.folder, last)
        self.log = LiveLog.open(self.folder, SMALL, self.memory.disk)
        assert self.log.last >= last, f"{last - self.log.last} acknowledged rows are lost"
        self.kept = self.written = self.log.last
        if self.log.last < 1:
            self.log.append(dict([*head().items()][self.log.last + 1 :]))

    def teardown(self) -> None:
        """Every row that was written, once, as it was."""
        if hasattr(self, "log"):
            self.log.abandon()
        try:
            if self.written >= 0 and self.flushes:
                check_recorded(self.folder, self.written)
                assert not journals(self.folder)
        finally:
            shutil.rmtree(self.root)


class Forgetful(LogMachine):
    """The same with an fdatasync that does nothing."""

    flushes = False


def test_any_course_of_a_log_keeps_what_it_acknowledged() -> None:
    """25 courses of up to 25 steps: nothing acknowledged is lost, nothing is twice, nothing is invented, the log is sound."""
    run_state_machine_as_test(LogMachine, settings=FEW)


def test_a_log_without_fdatasync_is_caught() -> None:
    """The same machine finds a disk that forgets: rows are lost, or a start refuses what is missing."""
    with pytest.raises((AssertionError, LogError), match=r"acknowledged rows are lost|xarb log repair"):
        run_state_machine_as_test(Forgetful, settings=FEW)
