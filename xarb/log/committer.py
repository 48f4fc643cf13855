"""The writer thread of a live log: fsync in groups, the next journal made ahead, complete journals given to a sealing process."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from xarb.errors import ConfigError, InvariantBroken, LogError
from xarb.log.checkpoints import Checkpoint, write_checkpoint
from xarb.log.disk import DISK, Disk
from xarb.log.journal import Opening, make_journal, new_opening
from xarb.log.manifest import Manifest, last_digest
from xarb.log.prune import Retention
from xarb.log.seal import seal_and_prune
from xarb.model.units import NANOS_PER_S

if TYPE_CHECKING:
    from xarb.log.claim import Claim

FULL: Final = (errno.ENOSPC, errno.EDQUOT)
_KEPT: Final = 4_096  # latencies that the figures are taken from
_RETRY_S: Final = 1.0
_SEAL_WAIT_S: Final = 600
_SEAL_AGAIN_S: Final = 5.0


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """How a live log is written.

    Attributes:
        commit_ms: fsync of what was written at the latest after this long; what a power failure may take.
        seal_s: a journal is sealed at the latest this long after its first row, in seconds.
        seal_rows: or beyond this many rows.
        seal_bytes: or beyond this many bytes.
        reserve_bytes: disk space kept, so that orders can be written when the disk is full.
        separate: seal in a process of its own, beside the loop; False seals in the writer thread.
        retention: what a seal removes of the old part of the log; None removes nothing.
        by_hand: there is no thread: whoever keeps a time of their own calls `tend`.
    """

    commit_ms: float = 10.0
    seal_s: float = 900.0
    seal_rows: int = 1_000_000
    seal_bytes: int = 64 << 20
    reserve_bytes: int = 16 << 20
    separate: bool = True
    retention: Retention | None = None
    by_hand: bool = False

    def __post_init__(self) -> None:
        """Refuse what can never be.

        Raises:
            ConfigError: names the attribute.
        """
        for name in ("commit_ms", "seal_s", "seal_rows", "seal_bytes"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"{name} = {getattr(self, name)}: must be above 0")
        if self.reserve_bytes < 0:
            raise ConfigError(f"reserve_bytes = {self.reserve_bytes}: must be 0 or more")


class JournalFile:
    """A journal that is being written: its file, and how far it got. The loop writes, the writer thread syncs and closes."""

    def __init__(self, path: Path, opening: Opening, first_seq: int = -1) -> None:
        self.path, self.opening = path, opening
        self.handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        self.size = os.fstat(self.handle).st_size
        self.first_seq = first_seq  # seq of its first input
        self.rows = 0
        self.began_ns = 0  # monotonic, of its first row
        self.last_seq = -1  # last input written
        self.is_durable = False  # it is complete, and all of it is on the disk

    def close(self) -> None:
        """Let go of the file; may be called again."""
        if self.handle >= 0:
            os.close(self.handle)
            self.handle = -1

    def discard(self) -> None:
        """Remove a journal that holds nothing."""
        self.close()
        self.path.unlink(missing_ok=True)


class Committer:
    """Owns the journal files of a live log and the thread that makes them durable.

    What was written waits for the commit time, so that one fsync serves many writes. What is asked of the thread does not: with the next
    journal late the present one would grow beyond its bounds.

    A failed fsync is final: the kernel may have dropped the pages, so nothing is tried again and every later call raises.
    """

    def __init__(self, found: Manifest, claim: Claim, policy: Policy, disk: Disk = DISK) -> None:
        self.folder, self.policy, self.disk = found.folder, policy, disk
        self._claim = claim
        self._log_id = found.header.log_id
        self._head = found.head  # of lines that are on the disk: never read while a sealer may write one
        self.synced_seq = found.last
        self.sync_ns: deque[int] = deque(maxlen=_KEPT)
        self.dirty_since = 0  # monotonic ns of the oldest write that no fsync has begun for, 0 for none
        self._syncing_since = 0  # of the oldest write that an fsync is under way for
        self.seal_error: str | None = None
        self.seals = 0
        self.checkpoint_error: str | None = None
        self._checkpoint: Checkpoint | None = None  # to be written once all inputs in it are durable
        self._failed: str | None = None
        self._sync_lock = threading.Lock()
        self._wake = threading.Event()
        self._hurry = threading.Event()  # something was asked for that does not wait for the commit time
        self._stopping = threading.Event()
        self._retired: deque[JournalFile] = deque()
        self._next: JournalFile | None = None
        self._wants_next = False
        self._sealer: subprocess.Popen[bytes] | None = None
        self._to_seal = False
        self._seal_at = 0.0  # monotonic s before which no seal is tried
        self.current = self._make(len(found.segments), 0)
        self._thread = None if policy.by_hand else threading.Thread(target=self._run, name="xarb-journal", daemon=True)
        if self._thread is not None:
            self._thread.start()

    def check(self) -> None:
        """Refuse to go on after a failure.

        Raises:
            LogError: what failed.
        """
        if self._failed is not None:
            raise LogError(f"{self.folder} cannot be written any more: {self._failed}")

    def fail(self, what: str) -> None:
        """Nothing is written from here on."""
        self._failed = self._failed or what

    def wrote(self) -> None:
        """Bytes were given to the OS: they are durable at the latest after the commit time."""
        if not self.dirty_since:
            self.dirty_since = time.monotonic_ns()
            self._wake.set()

    def want_next(self) -> None:
        """Ask for the journal that follows, which the thread makes ahead."""
        if self._next is None and not self._wants_next:
            self._wants_next = True
            self._wake_now()

    @property
    def head(self) -> str:
        """Digest of the manifest's last line, as of the last seal that ended well."""
        return self._head

    def want_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Ask for a checkpoint to be written; one that waits still is forgotten for it."""
        self._checkpoint = checkpoint
        self._wake_now()

    @property
    def has_next(self) -> bool:
        """Whether the journal that follows is made."""
        return self._next is not None

    def take_next(self) -> JournalFile:
        """Go on in the journal that follows; the current one, whose last frame was written, is synced, closed and sealed.

        Raises:
            InvariantBroken: there is none (see `has_next`).
        """
        if self._next is None:
            raise InvariantBroken("no journal was made ahead")
        self._retired.append(self.current)
        self.current, self._next = self._next, None
        self._wake_now()
        return self.current

    def sync(self) -> None:
        """Make everything written so far durable, now.

        Raises:
            LogError: the disk failed.
        """
        self.check()
        self._sync()
        self.check()

    @property
    def lag_ns(self) -> int:
        """Age of the oldest write that is not durable yet, 0 when all are."""
        since = self._syncing_since or self.dirty_since
        return time.monotonic_ns() - since if since else 0

    def close(self) -> None:
        """Stop the thread, make everything durable and wait for the sealing process.

        Raises:
            LogError: the disk failed.
        """
        self._halt()
        self._sync()
        self._drop_files()
        self._finish_seal(wait_s=_SEAL_WAIT_S)
        self.check()

    def abandon(self) -> None:
        """Leave the journals as a killed process would; a sealing process is waited for, because it works under this one's lock."""
        self._halt()
        self._drop_files()
        self._finish_seal(wait_s=_SEAL_WAIT_S)

    def _halt(self) -> None:
        self._stopping.set()
        self._wake_now()
        if self._thread is not None:
            self._thread.join()

    def _wake_now(self) -> None:
        self._hurry.set()
        self._wake.set()

    def _drop_files(self) -> None:
        for file in (self.current, *self._retired):
            file.close()
        self._retired.clear()
        if self._next is not None:
            self._next.discard()
            self._next = None

    def _make(self, segment: int, previous: int) -> JournalFile:
        opening = new_opening(segment, self._head, self._log_id, previous)
        return JournalFile(make_journal(self.folder, opening), opening)

    def _run(self) -> None:
        try:
            while True:
                if self._wake.wait(_RETRY_S if self._busy() else None):  # else it is time to look again at what did not work
                    self._hurry.wait(self.policy.commit_ms / 1e3)
                self._wake.clear()  # before the look at what there is to do: what comes after it wakes again
                self._hurry.clear()
                if self._stopping.is_set():
                    return
                self.tend()
        except Exception as error:  # noqa: BLE001  # the top of a thread: whatever it is halts the log
            self.fail(f"the writer thread ended: {error!r}")

    def tend(self) -> None:
        """What the thread does after each commit time, or once it is asked: sync, the next journal, seals of complete ones, a checkpoint."""
        self._sync()
        self._prepare()
        self._hand_over()
        self._write_checkpoint()

    def _busy(self) -> bool:
        return self._sealer is not None or self._to_seal or self._wants_next or bool(self._retired) or self._checkpoint is not None

    def _sync(self) -> None:
        """fdatasync of complete journals, then of the current one: a later file is never durable before an earlier one.

        Loop and writer thread both come here. A complete journal is durable after its last fdatasync and is not looked at again:
        from there on it is the thread's, which closes it without the lock.
        """
        with self._sync_lock:
            if self._failed is not None:
                return
            current = self.current  # before the retired ones: what the loop retires meanwhile is then among them, or still this one
            retired = tuple(self._retired)
            files = [file for file in dict.fromkeys((*retired, current)) if not file.is_durable]
            self._syncing_since, self.dirty_since = self.dirty_since, 0  # what is written from here on is dirty again,
            lasts = [file.last_seq for file in files]  # and what is counted here was written before
            for file, last in zip(files, lasts, strict=True):
                began = time.monotonic_ns()
                try:
                    self.disk.flush(file.handle)
                except OSError as error:
                    self.fail(f"fsync of {file.path} failed and is never tried again: {error}")
                    return
                self.sync_ns.append(time.monotonic_ns() - began)
                self.synced_seq = max(self.synced_seq, last)
                file.is_durable = file in retired
            self._syncing_since = 0

    def _prepare(self) -> None:
        if not self._wants_next or self._next is not None:
            return
        try:
            self._next = self._make(self.current.opening.segment + 1, self.current.opening.salt)
        except OSError as error:
            if error.errno not in FULL:
                raise
            return  # the current journal goes on; the next look comes in a second
        self._wants_next = False

    def _hand_over(self) -> None:
        """Close complete journals, which are durable by now, and have them sealed."""
        while self._retired and self._retired[0].is_durable:
            self._retired.popleft().close()
            self._to_seal = True
        self._finish_seal(wait_s=0)
        if not self._to_seal or self._sealer is not None or time.monotonic() < self._seal_at:
            return
        self._to_seal = False
        try:
            if self.policy.separate:
                self._sealer = start_sealer(self.folder, self._claim, self.policy.retention)
            else:
                self._sealed(len(seal_and_prune(self.folder, self._claim, self.policy.retention)))
        except (OSError, LogError) as error:
            self._not_sealed(str(error))

    def _sealed(self, count: int) -> None:
        """Seals ended well, and no other is under way: their lines are on the disk."""
        self._head = last_digest(self.folder)  # before the count: who sees that finds this
        self.seals += count
        self.seal_error = None

    def _write_checkpoint(self) -> None:
        """Write the one that waits; its inputs are on the disk first. Nothing is lost by one that cannot be written."""
        checkpoint = self._checkpoint
        if checkpoint is None or checkpoint.seq > self.synced_seq:
            return
        self._checkpoint = None
        try:
            write_checkpoint(self.folder, checkpoint)
        except OSError as error:
            self.checkpoint_error = str(error)
        else:
            self.checkpoint_error = None

    def _not_sealed(self, why: str) -> None:
        """The rows are safe in their journals; it is tried again after a pause."""
        self.seal_error = why
        self._to_seal = True
        self._seal_at = time.monotonic() + _SEAL_AGAIN_S

    def _finish_seal(self, wait_s: float) -> None:
        if self._sealer is None:
            return
        if not wait_s and self._sealer.poll() is None:
            return
        try:
            _, said = self._sealer.communicate(timeout=wait_s or None)
        except subprocess.TimeoutExpired:
            self._sealer.kill()  # it may be stopped anywhere: its journal is there until the segment is
            _, said = self._sealer.communicate()
        code, self._sealer = self._sealer.returncode, None
        if code == 0:
            self._sealed(1)
        else:
            self._not_sealed(said.decode(errors="replace").strip().rpartition("\n")[2] or f"exit code {code}")


def start_sealer(folder: Path, claim: Claim, retention: Retention | None = None) -> subprocess.Popen[bytes]:
    """A process of low priority that seals the complete journals of a log under this process's lock, and prunes it."""
    command = [sys.executable, "-P", "-m", "xarb.log.seal", str(folder), str(claim.handle)]
    if retention is not None:
        command += [str(retention.frames_days), str(retention.inputs_days)]
    source = str(Path(__file__).resolve().parents[2])
    paths = os.pathsep.join([source, *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.Popen(  # noqa: S603  # our own module
        command,
        pass_fds=(claim.handle,),
        start_new_session=True,  # the Ctrl-C that stops a recorder does not stop its seal
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": paths},
    )


def to_ns(seconds: float) -> int:
    """Seconds as ns."""
    return round(seconds * NANOS_PER_S)
