"""The open log: what is appended is written, sealed and read back, whatever stops it."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from tests.log.live import head, quotes, read_inputs, read_outputs, refusal
from tests.log.logs import HEADER, START, small_log
from xarb.errors import ConfigError, InvariantBroken, LogError
from xarb.log import checkpoints, committer, journal, livelog
from xarb.log.check import verify_log
from xarb.log.committer import Policy
from xarb.log.disk import DISK, Disk
from xarb.log.journal import FOLDER, journals
from xarb.log.livelog import LiveLog
from xarb.log.manifest import Header, Manifest
from xarb.log.reader import LogReader
from xarb.log.writer import LogWriter

ROOT = Path(__file__).resolve().parents[2]
QUICK = Policy(commit_ms=1, reserve_bytes=4096, separate=False)
BY_HAND = Policy(by_hand=True, reserve_bytes=0, separate=False)


def wait_for(done: Callable[[], bool], seconds: float = 20) -> None:
    """Wait until something is true."""
    until = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < until, "it never became true"
        time.sleep(0.005)


def rotated(log: LiveLog) -> None:
    """Wait until the log's next journal is there, so that the next write rotates."""
    log._committer.want_next()
    wait_for(lambda: log._committer.has_next)


def test_a_recording_is_a_log_when_it_is_closed(tmp_path: Path) -> None:
    """Everything appended is sealed at the close; the folder verifies, and nothing of the journal is left."""
    with LiveLog.create(tmp_path / "log", HEADER, QUICK) as log:
        log.append(head())
        for n in range(10):
            log.append(quotes(2 + 3 * n, 3))
            log.write()
    assert (log.last, log.stats.rows) == (31, 32)
    assert verify_log(tmp_path / "log").ok
    assert [row["seq"] for _, row in read_inputs(tmp_path / "log")] == list(range(32))
    assert not (tmp_path / "log" / FOLDER).exists()
    assert not (tmp_path / "log" / ".lock").exists()


def test_a_log_goes_on_where_it_ended(tmp_path: Path) -> None:
    """Opened again, a log continues its seq, one that an import made too; a log without rows stays without segments."""
    folder = small_log(tmp_path / "log")
    with LiveLog.open(folder, QUICK) as log:
        assert (log.last, log.recovered) == (9, None)
        log.append(quotes(10, 2))
    with LiveLog.open(folder, QUICK) as log:
        assert log.last == 11
    assert [(one.first, one.last) for one in Manifest(folder).segments] == [(0, 9), (10, 11)]
    assert verify_log(folder).ok


def test_journals_are_sealed_while_it_goes_on(tmp_path: Path) -> None:
    """A full journal is followed by the next one without a row lost, by rows, by bytes and by time; a process of its own seals it."""
    for number, policy in enumerate(
        (Policy(seal_rows=10), Policy(seal_bytes=600), Policy(seal_s=0.01), Policy(seal_rows=10, separate=False))
    ):
        folder = tmp_path / f"log{number}"
        with LiveLog.create(folder, HEADER, policy) as log:
            log.append(head())
            for n in range(2, 32):
                log.append(quotes(n, 1))
                log.write()
                time.sleep(0.002)
            wait_for(lambda log=log: log.stats.seals > 0)  # type: ignore[misc]  # bound in the loop
            assert log.stats.seal_error is None
            assert len(Manifest(folder).segments) > 0
        assert [row["seq"] for _, row in read_inputs(folder)] == list(range(32))
        assert verify_log(folder).ok


def test_outputs_are_sealed_with_the_inputs_that_they_follow(tmp_path: Path) -> None:
    """An output after the last input of a full journal goes into that journal, though it was decided later."""
    folder = tmp_path / "log"
    with LiveLog.create(folder, HEADER, Policy(seal_rows=1, separate=False)) as log:
        log.append(head(), [refusal(1, 0, 10**37)])
        log.write()
        for n in range(2, 6):
            rotated(log)
            log.append(quotes(n, 1), [refusal(n - 1, 1, ts=START + n * 1000), refusal(n, 0, -n)])
            log.write()
    segments = Manifest(folder).segments
    assert [(one.first, one.last) for one in segments] == [(0, 1), (2, 2), (3, 3), (4, 4), (5, 5)]
    assert [sum(file.rows for file in one.files if file.kind == "refusals") for one in segments] == [2, 2, 2, 2, 1]
    assert [(row["after_seq"], row["n"]) for _, row in read_outputs(folder)] == [
        (1, 0),
        (1, 1),
        (2, 0),
        (2, 1),
        (3, 0),
        (3, 1),
        (4, 0),
        (4, 1),
        (5, 0),
    ]
    assert read_outputs(folder)[0][1]["value"] == 10**37
    assert verify_log(folder).ok


@pytest.mark.parametrize(
    ("inputs", "outputs", "what"),
    [
        (quotes(3, 1), [], "seq is not gap-free after 1"),
        (quotes(1, 1), [], "seq is not gap-free after 1"),
        ({"quotes": [*quotes(3, 1)["quotes"], *quotes(2, 1)["quotes"]]}, [], "quotes: seq does not increase"),
        ({"quotes": [(2, 5, *quotes(2, 1)["quotes"][0][2:])]}, [], "ts_recv goes back after seq 1"),
        ({"fills": []}, [], "fills is no kind of input"),
        ({}, [("quotes", 1, 0, START)], "quotes is no kind of output"),
        ({}, [refusal(0, 0)], r"output \(0, 0\) is not of the inputs 1 to 1"),
        (quotes(2, 1), [refusal(3, 0)], r"output \(3, 0\) is not of the inputs 1 to 2"),
        (quotes(2, 1), [refusal(1, 1)], r"output \(1, 1\) follows \(-1, -1\)"),
        (quotes(2, 1), [refusal(2, 0), refusal(2, 0)], r"output \(2, 0\) follows \(2, 0\)"),
        (quotes(2, 1), [refusal(1, 0), refusal(2, 0, ts=5)], "time goes back"),
    ],
)
def test_what_does_not_follow_is_not_taken(tmp_path: Path, inputs: dict[str, Any], outputs: list[Any], what: str) -> None:
    """Gaps, repeats and disorder are refused before anything of them is taken, and the log goes on."""
    with LiveLog.create(tmp_path / "log", HEADER, QUICK) as log:
        log.append(head())
        with pytest.raises(InvariantBroken, match=what):
            log.append(inputs, outputs)
        assert log.last == 1
        log.append(quotes(2, 1), [refusal(1, 0), refusal(2, 0)])
    assert verify_log(tmp_path / "log").rows == 5


@pytest.mark.parametrize(("place", "value"), [(6, 2**63), (6, "5"), (6, True), (4, None), (4, "\ud800"), (11, 128), (7, 1.0)])
def test_a_row_that_does_not_fit_never_reaches_the_disk(tmp_path: Path, place: int, value: object) -> None:
    """A value of the wrong type or out of range stops the log before it is written; what was written before is kept."""
    folder = tmp_path / "log"
    row = quotes(3, 1)["quotes"][0]

    def record() -> None:
        with LiveLog.create(folder, HEADER, QUICK) as log:
            log.append(head())
            log.append(quotes(2, 1))
            log.write()
            log.append({"quotes": [(*row[:place], value, *row[place + 1 :])]})
            log.write()

    with pytest.raises(InvariantBroken, match="quotes: a row does not fit"):
        record()
    with LiveLog.open(folder, QUICK) as log:
        assert log.last == 2
    assert verify_log(folder).ok


def test_an_exception_in_the_loop_loses_nothing(tmp_path: Path) -> None:
    """A log that its writer created stays when the writer fails, unlike an import."""

    def fail(log: LiveLog) -> None:
        with log:
            log.append(head())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail(LiveLog.create(tmp_path / "log", HEADER, QUICK))
    assert verify_log(tmp_path / "log").rows == 2


def _interrupted(folder: Path, step: int) -> str | None:
    """Write to a log, interrupted at the `step`-th line of what it runs; that line, None when there are fewer."""
    files = {livelog.__file__: {"append", "write", "_put", "_write_bytes", "_rotate"}, journal.__file__: {"write_whole"}}
    seen, where = 0, None

    def line(frame: FrameType, event: str, _: object) -> Callable[..., Any]:
        nonlocal seen, where
        if event == "line":
            seen += 1
            if seen == step:
                sys.settrace(None)
                where = f"{frame.f_code.co_name}:{frame.f_lineno}"
                raise KeyboardInterrupt
        return line

    def call(frame: FrameType, _: str, __: object) -> Callable[..., Any] | None:
        return line if frame.f_code.co_name in files.get(frame.f_code.co_filename, ()) else None

    before = sys.gettrace()
    with suppress(KeyboardInterrupt), LiveLog.create(folder, HEADER, QUICK) as log:
        log.append(head(), [refusal(1, 0)])
        log.write()
        rotated(log)
        log._policy = Policy(seal_rows=1)
        rows = quotes(2, 1) | {"health": [(3, START + 3000, None, "m", 1, None)]}
        rows["quotes"] += quotes(4, 2)["quotes"]
        sys.settrace(call)
        try:
            log.append(rows, [refusal(1, 1), refusal(5, 0)])
            log.write()
        finally:
            sys.settrace(before)
            log._policy = QUICK
    return where


def test_an_interrupt_anywhere_leaves_a_log_that_goes_on(tmp_path: Path) -> None:
    """Ctrl-C at any line of an append or a write: the next start finds all of the rows of that call or none, and no half of them."""
    for step in range(1, 500):
        folder = tmp_path / f"{step}"
        where = _interrupted(folder, step)
        LiveLog.open(folder, QUICK).close()
        assert verify_log(folder).ok, where
        seqs = [row["seq"] for _, row in read_inputs(folder)]
        assert seqs in (list(range(2)), list(range(6)), [*range(2), 2]), where  # the last: a torn frame and its health row
        if where is None:
            assert seqs == list(range(6))
            break
    assert step > 40


def test_a_later_journal_is_never_synced_before_an_earlier_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop goes on in the next journal while a sync looks at what there is: the one before it is synced by then, or not counted."""
    log = LiveLog.create(tmp_path / "log", HEADER, BY_HAND)
    held = log._committer
    log.append(head())
    log.write()
    held._wants_next = True
    held._prepare()
    synced: list[str] = []
    real = os.fdatasync

    def noting(handle: int) -> None:
        synced.append(Path(f"/proc/self/fd/{handle}").readlink().name)
        real(handle)

    monkeypatch.setattr("xarb.log.committer.os.fdatasync", noting)

    class Racing(deque[committer.JournalFile]):
        def __iter__(self) -> Iterator[committer.JournalFile]:
            yield from list(super().__iter__())
            if not raced:
                raced.append(True)
                log._policy = Policy(seal_rows=1)
                log.append(quotes(2, 3))
                log.write()

    raced: list[bool] = []
    held._retired = Racing()
    held._sync()
    assert synced == ["00000000.journal"]
    assert log.synced == 1
    held._sync()
    assert synced[1:] == ["00000000.journal", "00000001.journal"]
    assert log.synced == 4
    log.abandon()


def test_a_journal_that_the_thread_closes_is_not_synced_again(tmp_path: Path) -> None:
    """The loop asks for a sync between the thread's own one and its look at what is complete: the closed file is none of its business."""
    closes: list[Callable[[], None]] = []

    def flush(handle: int) -> None:
        while closes:
            closes.pop()()
        DISK.flush(handle)

    log = LiveLog.create(tmp_path / "log", HEADER, BY_HAND, Disk(DISK.write, flush))
    held = log._committer
    log.append(head())
    log.write()
    held._wants_next = True
    held._prepare()
    log._policy = Policy(seal_rows=1)
    log.append(quotes(2, 3))
    log.write()
    (first,) = held._retired
    held._sync()
    assert first.is_durable
    closes.append(held._hand_over)
    log.append(quotes(5, 1))
    log.sync()
    assert not closes, "there was no flush in which the file could be closed"
    assert first.handle == -1
    assert log.synced == 5
    log.close()
    assert verify_log(tmp_path / "log").ok


def test_a_write_during_a_sync_stays_dirty(tmp_path: Path) -> None:
    """What is written once the sync has begun to count is not forgotten: the log lags until the next sync."""
    log = LiveLog.create(tmp_path / "log", HEADER, BY_HAND)
    held = log._committer
    raced: list[bool] = []

    class Racing(committer.JournalFile):
        @property
        def last_seq(self) -> int:  # the loop writes right before the thread reads it
            found = self.counted
            if held._sync_lock.locked() and not raced:
                raced.append(True)
                log.append(quotes(2, 1))
                log.write()
            return found

        @last_seq.setter
        def last_seq(self, value: int) -> None:
            self.counted = value

    counted = held.current.__dict__.pop("last_seq")
    held.current.__class__ = Racing
    held.current.last_seq = counted
    log.append(head())
    log.write()
    held._sync()
    assert raced
    assert log.synced == 1
    assert log.stats.lag_ns > 0
    held._sync()
    assert (log.synced, log.stats.lag_ns) == (2, 0)
    log.abandon()


@pytest.mark.parametrize("separate", [True, False])
def test_a_seal_that_fails_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, separate: bool) -> None:
    """No process can be started, or the disk is full for Parquet: the log says so and goes on, and the seal comes later."""

    def fail(*_: object) -> None:
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(committer, "_SEAL_AGAIN_S", 0.05)
    log = LiveLog.create(tmp_path / "log", HEADER, Policy(commit_ms=1, reserve_bytes=0, separate=separate))
    log.append(head())
    log.write()
    rotated(log)
    with monkeypatch.context() as broken:
        broken.setattr(committer, "start_sealer" if separate else "seal_and_prune", fail)
        log._policy = Policy(seal_rows=1)
        log.append(quotes(2, 1))
        log.write()
        log._policy = QUICK
        wait_for(lambda: log.stats.seal_error is not None)
        log.append(quotes(3, 1))
        log.write()
    wait_for(lambda: len(Manifest(log.folder).segments) == 1)
    wait_for(lambda: log.stats.seal_error is None)
    log.close()
    assert verify_log(log.folder).ok


def test_the_next_journal_is_made_while_a_manifest_line_is_being_written(tmp_path: Path) -> None:
    """The sealing process may be in the middle of its line at that moment: the log does not look there."""
    log = LiveLog.create(tmp_path / "log", HEADER, QUICK)
    log.append(head())
    log.write()
    path = log.folder / "manifest.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + b"half a line")
    rotated(log)
    path.write_bytes(whole)
    log.append(quotes(2, 1))
    log.close()
    assert verify_log(log.folder).ok


@pytest.mark.parametrize("wrong", [{"commit_ms": 0}, {"seal_s": 0}, {"seal_rows": 0}, {"seal_bytes": -1}, {"reserve_bytes": -1}])
def test_a_policy_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    """The name of the attribute is in the error."""
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Policy(**wrong)


def test_a_reserve_that_nobody_wants_goes(tmp_path: Path) -> None:
    """A writer without a reserve removes the one that a dead writer left."""
    log = LiveLog.create(tmp_path / "log", HEADER, QUICK)
    log.append(head())
    log.write()
    log.abandon()
    LiveLog.open(log.folder, Policy(reserve_bytes=0)).close()
    assert not (log.folder / FOLDER).exists()


def test_there_is_one_writer(tmp_path: Path) -> None:
    """A log that is recorded takes no second recorder and no import; one with a journal left takes an import after its recovery."""
    folder = tmp_path / "log"
    code = f"from xarb.log.livelog import LiveLog\nLiveLog.open({str(folder)!r}).close()"
    with LiveLog.create(folder, HEADER, QUICK) as log:
        log.append(head())
        log.write()
        for take in (LiveLog.open, LogWriter.append_to):
            with pytest.raises(LogError, match="is being written by another process"):
                take(folder)
        other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
        assert "is being written by another process" in other.stderr
        log.abandon()
    with pytest.raises(LogError, match="has a journal that is not sealed"):
        LogWriter.append_to(folder)
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=ROOT).returncode == 0
    LogWriter.append_to(folder).close()
    assert verify_log(folder).rows == 2


def test_files_that_have_no_number_are_no_journals_and_no_checkpoints(tmp_path: Path) -> None:
    """A digit of another script is none."""
    for folder, suffix in ((FOLDER, journal.SUFFIX), (checkpoints.FOLDER, checkpoints.SUFFIX)):
        (tmp_path / folder).mkdir()
        for name in ("1", "\u00b2", "\u0663"):
            (tmp_path / folder / f"{name}{suffix}").touch()
    assert [number for number, _ in journal.journals(tmp_path)] == [1]
    assert [path.stem for path in checkpoints.checkpoint_paths(tmp_path)] == ["1"]


def test_only_logs_are_recorded_into(tmp_path: Path) -> None:
    """A folder with something in it, one that is no log, and a run are refused, and left as they were."""
    (tmp_path / "some").mkdir()
    (tmp_path / "some" / "file").write_text("mine")
    with pytest.raises(ConfigError, match="exists already"):
        LiveLog.create(tmp_path / "some", HEADER)
    with pytest.raises(ConfigError, match="is no log"):
        LiveLog.open(tmp_path / "some")
    LogWriter.create(tmp_path / "run", Header(kind="run", log_id="r")).close()
    with pytest.raises(LogError, match="is a run"):
        LiveLog.open(tmp_path / "run")
    assert [path.name for path in (tmp_path / "some").iterdir()] == ["file"]
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["manifest.jsonl"]


def test_rows_are_durable_soon_and_at_once_when_asked(tmp_path: Path) -> None:
    """What was written is synced within the commit time without another call, and before `sync` returns."""
    with LiveLog.create(tmp_path / "log", HEADER, QUICK) as log:
        log.append(head())
        log.write()
        wait_for(lambda: log.synced == 1)
        wait_for(lambda: log.stats.lag_ns == 0)
        log.append(quotes(2, 5))
        log.sync()
        assert log.synced == 6
        assert log.stats.sync.p50 > 0
    slow = Policy(commit_ms=5_000, reserve_bytes=0)
    with LiveLog.open(tmp_path / "log", slow) as log:
        log.append(quotes(7, 1))
        log.write()
        assert (log.synced, log.stats.lag_ns > 0) == (6, True)
        log.sync()
        assert log.synced == 7
        log.abandon()


def test_an_abandoned_log_keeps_what_was_written(tmp_path: Path) -> None:
    """Rows that were appended and not written are gone, written ones are sealed by the next start; a reader sees sealed rows only."""
    folder = tmp_path / "log"
    log = LiveLog.create(folder, HEADER, QUICK)
    log.append(head())
    log.write()
    log.append(quotes(2, 1))
    log.abandon()
    assert [number for number, _ in journals(folder)] == [0]
    with LogReader(folder) as reader:
        assert reader.last_seq == -1
    with LiveLog.open(folder, QUICK) as log:
        assert log.last == 1
        assert log.recovered is not None
        assert (log.recovered.sealed, log.recovered.truncated_bytes) == (1, 0)
        log.append(quotes(2, 1))
    assert verify_log(folder).rows == 3


def test_a_closed_log_writes_nothing_more(tmp_path: Path) -> None:
    """Its file's number may be another file's by then: neither a late row nor what was appended before reaches it."""
    log = LiveLog.create(tmp_path / "log", HEADER, QUICK)
    log.append(head())
    log.close()
    with (tmp_path / "other").open("wb") as other:  # takes the lowest free number, which the journal had
        with pytest.raises(LogError, match="closed"):
            log.append(quotes(2, 1))
        with pytest.raises(LogError, match="closed"):
            log.write()
        assert other.tell() == 0
    assert (tmp_path / "other").stat().st_size == 0


def test_what_is_asked_of_the_thread_does_not_wait_for_the_commit_time(tmp_path: Path) -> None:
    """With a commit time of ten minutes the next journal is made, a complete one sealed and a checkpoint written at once."""
    with LiveLog.create(tmp_path / "log", HEADER, Policy(commit_ms=600_000, seal_rows=4, reserve_bytes=0, separate=False)) as log:
        log.append(head())
        log.write()  # from here on the thread lets the commit time pass
        log.append(quotes(2, 1))
        log.write()
        log.append(quotes(3, 1))
        log.write()  # three rows of four were there: the next journal is asked for
        wait_for(lambda: log._committer.has_next, seconds=60)
        log.append(quotes(4, 1))
        log.write()
        wait_for(lambda: log.stats.seals == 1, seconds=60)
        log.append(quotes(5, 1))
        log.write()
        made = checkpoints.Checkpoint(log_id="1", code_digest="2", start=1, seq=log.last, n=0, line="3", state=b"x")
        log.checkpoint(made)
        wait_for(lambda: [path.stem for path in checkpoints.checkpoint_paths(log.folder)] == [f"{log.last:020}"], seconds=60)


def test_by_hand_no_thread_does_anything(tmp_path: Path) -> None:
    """Who keeps a time of their own calls `tend`: before that nothing is synced, made ahead or sealed."""
    before = threading.active_count()
    with LiveLog.create(tmp_path / "log", HEADER, Policy(by_hand=True, seal_rows=2, reserve_bytes=0, separate=False)) as log:
        assert threading.active_count() == before
        log.append(head())
        log.write()
        log.append(quotes(2, 1))
        log.write()
        assert (log.synced, log._committer.has_next) == (-1, False)
        log.tend()
        assert (log.synced, log._committer.has_next) == (2, True)
        log.append(quotes(3, 1))
        log.write()
        log.tend()
        assert (log.synced, log.stats.seals) == (3, 1)
