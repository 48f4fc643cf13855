"""Courses of a log that are crashed at every step: what lies there, what is done, how it goes on after a crash, and what must be true then."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import msgspec

from tests.log.aged import DAY, aged
from tests.log.live import Values, head, read_inputs, read_outputs
from tests.log.logs import HEADER, START
from tests.log.recorder import rows_from
from tests.log.states import Fate, State
from tests.log.trace import Trace, read_tree
from xarb.errors import ConfigError, LogError
from xarb.log.archive import archive
from xarb.log.check import verify_log
from xarb.log.checkpoints import KEPT, Checkpoint, checkpoint_paths, read_checkpoint, write_checkpoint
from xarb.log.claim import Claim
from xarb.log.committer import Policy
from xarb.log.findings import Finding
from xarb.log.journal import ENDED, FOLDER, journals
from xarb.log.livelog import LiveLog
from xarb.log.manifest import NAME, Manifest, cut, torn_end
from xarb.log.prune import Retention, prune
from xarb.log.recovery import mend_manifest, recover
from xarb.log.repair import LOST, repair
from xarb.log.seal import seal_and_prune, seal_ended
from xarb.simulation.verb import scratch

SMALL = Policy(by_hand=True, seal_rows=12, reserve_bytes=0, separate=False)
RESERVING = msgspec.structs.replace(SMALL, reserve_bytes=64)
PLAIN = Policy(by_hand=True, reserve_bytes=0, separate=False)
KEEP = Policy(by_hand=True, reserve_bytes=0, separate=False, retention=Retention(frames_days=1, inputs_days=1))
Rows = tuple[list[Values], list[Values]]


class Course(NamedTuple):
    """One of them; every function is given the folder in which log and archive lie.

    Attributes:
        name: of it.
        prepare: what lies there, all of it on the disk.
        act: what is done.
        resume: how it goes on after a crash.
        judge: raises AssertionError for what may not be.
    """

    name: str
    prepare: Callable[[Path], None]
    act: Callable[[Path, Trace], None]
    resume: Callable[[Path, State], None]
    judge: Callable[[Path, State], None]


def stepped(log: LiveLog) -> None:
    """What the writer thread does in a round."""
    held = log._committer
    held._sync()
    held._prepare()
    held._hand_over()
    held._write_checkpoint()
    held.check()


def checkpoint_of(folder: Path, seq: int) -> Checkpoint:
    """A checkpoint of a log as it stands."""
    found = Manifest(folder)
    return Checkpoint(log_id=found.header.log_id, code_digest="x", start=1, seq=seq, n=0, line=found.head, state=b"state" * 20)


# --- a log from its beginning to its close


def _record(root: Path, trace: Trace) -> None:
    """Groups of writes, some synced, some not, two rotations with their seals, a checkpoint, and a close."""
    written = -1
    log = LiveLog.create(root / "log", HEADER, RESERVING)
    trace.promise = lambda: (log.synced, written)
    log.append(head())
    log.sync()
    for number, size in enumerate((3, 2, 4, 4, 3, 5, 2, 4)):
        log.append(*rows_from(log.last + 1, size))
        log.write()
        written = log.last
        if number == 3:
            log.checkpoint(checkpoint_of(root / "log", log.last))
        if number % 2:
            stepped(log)
    log.close()


# --- after a crash, a start


def _start(root: Path, state: State) -> None:
    """Open and close; a hole is mended by the command that the refusal names."""
    folder = root / "log"
    try:
        LiveLog.open(folder, PLAIN).close()
    except (ConfigError, LogError) as error:
        if state.must < 0:
            return  # the log was never said to be there
        if not state.is_holed or "xarb log repair" not in str(error):
            raise
        repair(folder)
        LiveLog.open(folder, PLAIN).close()


def _judge_recorded(root: Path, state: State) -> None:
    """Every promised row, no other ones, nothing more by another start, and it grows on."""
    folder = root / "log"
    try:
        before = read_tree(folder)
        LiveLog.open(folder, PLAIN).close()
    except (OSError, ConfigError, LogError):
        assert state.must < 0, "the log is gone"
        return
    assert read_tree(folder) == before, "another start found more to do"
    _grow(folder)
    _check_rows(folder, state)


def _grow(folder: Path) -> None:
    with LiveLog.open(folder, PLAIN) as log:
        log.append({"health": [(log.last + 1, log.last_ts or START, None, "m", 1, None)]})
        log.sync()
    report = verify_log(folder)
    assert report.ok, report.findings


def _check_rows(folder: Path, state: State) -> None:
    rows, outs = read_inputs(folder)[:-1], [(row["after_seq"], row["value"]) for _, row in read_outputs(folder)]
    assert len(rows) > state.must, f"{state.must + 1 - len(rows)} promised rows are lost"
    at_first = {seq for rows_ in head().values() for seq, *_ in rows_}
    is_repaired = any(row.get("metric") == LOST for _, row in rows)
    assert state.is_holed or not is_repaired, "rows were lost"
    shift = 0
    for seq, (kind, row) in enumerate(rows):
        assert row["seq"] == seq
        if kind == "quotes":
            assert shift <= row["bid_int"] - 100 - seq, "a row is there twice"
            shift = row["bid_int"] - 100 - seq
        assert kind == "quotes" or seq in at_first or seq > state.must, f"a promised row is now one of {kind}"
        assert not shift or (is_repaired and seq > state.must), "a row is not what it was"
    there = {row["seq"]: row["bid_int"] - 100 for kind, row in rows if kind == "quotes"}
    expected = [(seq, old * 10**18) for seq, old in there.items() if old % 3 == 0]
    assert outs == expected, "outputs are not those of the inputs"
    found = Manifest(folder)
    for path in checkpoint_paths(folder):
        assert read_checkpoint(path, found).seq < len(rows), "a checkpoint of a row that is not there"


# --- journals that a dead writer left


def _leave(root: Path) -> None:
    """A sealed segment, a complete journal, and one that is not."""
    folder = root / "log"
    with LiveLog.create(folder, HEADER, PLAIN) as log:
        log.append(head())
        log.append(*rows_from(2, 4))
    log = LiveLog.open(folder, SMALL)
    log._committer._hand_over = lambda: None  # type: ignore[method-assign]  # no seal comes in between
    for size in (5, 4, 5, 4, 3):
        log.append(*rows_from(log.last + 1, size))
        log.write()
        stepped(log)
    log.abandon()
    assert len(journals(folder)) == 2


def _leave_torn(root: Path) -> None:
    """The same with a torn frame at the end, longer than what a recovery writes in its place."""
    _leave(root)
    folder = root / "log"
    log = LiveLog.open(folder, PLAIN)
    for _ in range(2):
        log.append(*rows_from(log.last + 1, 3))
        log.write()
    path = log._file.path
    size = path.stat().st_size
    log.append(*rows_from(log.last + 1, 60))
    log.write()
    log.abandon()
    data = path.read_bytes()
    assert len(data) - size > 400
    path.write_bytes(data[:-3])


def _leave_lost_tail(root: Path) -> None:
    """Two journals of which the first has lost its end, that was never synced: the second one goes too."""
    folder = root / "log"
    with LiveLog.create(folder, HEADER, PLAIN) as log:
        log.append(head())
        log.append(*rows_from(2, 4))
    log = LiveLog.open(folder, SMALL)
    log._committer.want_next()
    log._committer._prepare()
    for size in (5, 4, 5, 4, 3):
        log.append(*rows_from(log.last + 1, size))
        log.write()
    log.abandon()
    (_, first), (_, _) = journals(folder)
    first.write_bytes(first.read_bytes()[:-70])


def _leave_damaged(root: Path) -> None:
    """Two journals, of which the second is damaged in its middle."""
    _leave(root)
    path = journals(root / "log")[-1][1]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _seal(root: Path, trace: Trace) -> None:
    trace.promise = lambda: (23, 23)
    claim = Claim(root / "log", None)
    seal_ended(Manifest(root / "log"), claim)
    claim.release()


def _recover(root: Path, trace: Trace, last: int = 23) -> None:
    trace.promise = lambda: (last, last)
    claim = Claim(root / "log", None)
    mend_manifest(root / "log")
    recover(Manifest(root / "log"), claim)
    claim.release()


def _repair(root: Path, trace: Trace) -> None:
    trace.promise = lambda: (0, 0)
    repair(root / "log")


def _repair_again(root: Path, _state: State) -> None:
    repair(root / "log")


def _judge_repaired(root: Path, _state: State) -> None:
    """The rows of a repair that nothing stopped, and the damaged file is kept."""
    folder = root / "log"
    assert list(folder.glob(f"{FOLDER}/damaged/*")), "the damaged file was not kept"
    before = read_tree(folder)
    LiveLog.open(folder, PLAIN).close()
    assert read_tree(folder) == before
    _grow(folder)
    inputs, outputs = _rows(folder)
    assert (inputs[:-1], outputs) == _whole("repair")[1]


# --- the old part of a log


def _old(root: Path) -> None:
    aged(root / "log", 2)


def _prune(root: Path, _trace: Trace | State) -> None:
    prune(root / "log", START + DAY, by="a test")


def _archive(root: Path, _trace: Trace | State) -> None:
    archive(root / "log", START + DAY, root / "kept" / "old", by="a test")


def _keep(root: Path, state: State) -> None:
    _mend(root / "log", state)
    LiveLog.open(root / "log", KEEP).close()


def _old_with_journal(root: Path) -> None:
    aged(root / "log", 3)
    log = LiveLog.open(root / "log", PLAIN)
    log.append({"health": [(log.last + 1, log.last_ts, None, "m", 1, None)]})
    log.write()
    log._put({}, 0, ENDED)
    log.abandon()


def _seal_and_prune(root: Path, _trace: Trace) -> None:
    claim = Claim(root / "log", None)
    found = Manifest(root / "log")
    recover(found, claim)
    seal_and_prune(root / "log", claim, KEEP.retention)
    claim.release()


def _rows(folder: Path) -> Rows:
    inputs = [(kind, *row.values()) for kind, row in read_inputs(folder)]
    return inputs, [(kind, *row.values()) for kind, row in read_outputs(folder)]


@cache
def _whole(name: str) -> tuple[Rows, Rows]:
    """The rows before a course, and after one that nothing stopped."""
    with scratch() as root:
        course = COURSES[name]
        course.prepare(root)
        before = ([], []) if name == "repair" else _rows(root / "log")
        course.act(root, Trace(root))
        return before, _rows(root / "log")


class _Look(NamedTuple):
    """What a check and a reader say of a log."""

    findings: list[Finding]
    leftovers: list[str]
    rows: Rows


_LOOKS: dict[bytes, _Look] = {}


def _looked(folder: Path) -> _Look:
    """Check and read a log, once for the same files."""
    key = hashlib.sha256(repr(sorted(read_tree(folder).items())).encode()).digest()
    if key not in _LOOKS:
        report = verify_log(folder)
        _LOOKS[key] = _Look(report.findings, report.leftovers, ([], []) if report.findings else _rows(folder))
    return _LOOKS[key]


def _mend(folder: Path, state: State) -> None:
    """Cut half a tombstone; one of other bytes is refused, and cut by a person."""
    try:
        mend_manifest(folder)
    except LogError as error:
        torn = torn_end(folder / NAME)
        if Fate.OTHER.value not in state.what or "the last one, is damaged" not in str(error) or torn is None:
            raise
        cut(folder / NAME, torn.at)


def _pruning(name: str, act: Callable[[Path, Trace | State], None]) -> Callable[[Path, State], None]:
    """How it goes on after a pruning of some name was stopped: a look at the log as it is, and the same again."""

    def resume(root: Path, state: State) -> None:
        folder = root / "log"
        found = _looked(folder)
        if found.findings:
            _mend(folder, state)
            found = _looked(folder)
        assert not found.findings, found.findings
        assert found.rows in _whole(name), "rows of neither before nor after"
        act(root, state)

    return resume


def _judge_pruned(name: str) -> Callable[[Path, State], None]:
    def judge(root: Path, _state: State) -> None:
        folder = root / "log"
        found = _looked(folder)
        assert (found.findings, found.leftovers) == ([], [])
        assert found.rows == _whole(name)[1], "not the rows of a pruning that nothing stopped"
        if name == "archive":
            kept = _looked(root / "kept" / "old")
            assert (kept.findings, kept.leftovers) == ([], [])
            both = sorted({*found.rows[0], *kept.rows[0]}, key=repr)
            assert both == sorted(_whole(name)[0][0], key=repr), "a row is in neither log nor archive"
        _grow(folder)

    return judge


# --- checkpoints


def _checkpoints(root: Path, trace: Trace) -> None:
    """More than are kept; the promise is the last one's number."""
    done = -1
    trace.promise = lambda: (done, done)
    for seq in range(KEPT + 2):
        write_checkpoint(root / "log", checkpoint_of(root / "log", seq))
        done = seq


def _nothing(_root: Path, _state: State) -> None:
    pass


def _judge_checkpoints(root: Path, state: State) -> None:
    """The newest one that was promised is there or a newer one, all are sound, and another one can be written."""
    folder = root / "log"
    for _ in range(2):
        found = Manifest(folder)
        seqs = [read_checkpoint(path, found).seq for path in checkpoint_paths(folder)]
        assert max(seqs, default=-1) >= state.must, "a checkpoint is lost"
        write_checkpoint(folder, checkpoint_of(folder, max(seqs, default=-1) + 1))
    _grow(folder)


COURSES = {
    course.name: course
    for course in (
        Course("record", lambda _: None, _record, _start, _judge_recorded),
        Course("seal", _leave, _seal, _start, _judge_recorded),
        Course("recover", _leave_torn, lambda root, trace: _recover(root, trace, 29), _start, _judge_recorded),
        Course("recover a lost tail", _leave_lost_tail, lambda root, trace: _recover(root, trace, 10), _start, _judge_recorded),
        Course("repair", _leave_damaged, _repair, _repair_again, _judge_repaired),
        Course("prune", _old, _prune, _pruning("prune", _prune), _judge_pruned("prune")),
        Course("archive", _old, _archive, _pruning("archive", _archive), _judge_pruned("archive")),
        Course("retain", _old_with_journal, _seal_and_prune, _keep, _judge_pruned("retain")),
        Course("checkpoints", _old, _checkpoints, _nothing, _judge_checkpoints),
    )
}
