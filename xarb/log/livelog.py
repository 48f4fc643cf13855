"""The open log of a recorder or of live trading: rows are appended by the loop, written to a journal, and sealed beside it."""

from __future__ import annotations

import os
import time
from collections import deque
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import msgspec

from xarb.errors import InvariantBroken, LogError
from xarb.log import manifest
from xarb.log.checkpoints import Checkpoint
from xarb.log.claim import Claim
from xarb.log.committer import FULL, Committer, JournalFile, Policy, to_ns
from xarb.log.disk import DISK, Disk
from xarb.log.journal import ENDED, FOLDER, by_kind, frame_bytes, write_whole
from xarb.log.manifest import Header, Manifest
from xarb.log.recovery import Recovery, mend_manifest, recover
from xarb.log.seal import seal_and_prune
from xarb.log.writer import check_leftovers
from xarb.model.columns import INPUTS, OUTPUTS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from xarb.log.packing import Row
    from xarb.model.event import OutputRow

RESERVE: Final = ".reserve"  # disk space that is given up when the disk is full
ESSENTIAL: Final = (
    *(
        "operator",
        "reports",
        "balances",
        "transfers",
        "wallets",
        "receipts",
        "transactions",
        "timers",
        "connections",
        "health",
        "rejects",
        "starts",
    ),
)
_AHEAD: Final = 0.75  # the next journal is made when the current one is this far
_KEPT: Final = 4_096
_ORPHAN_WAIT_S: Final = 120.0


class Latency(msgspec.Struct, frozen=True):
    """Latencies of the last few thousand calls, in ns; 0 before any."""

    p50: int = 0
    p99: int = 0
    max: int = 0


class Stats(msgspec.Struct, frozen=True, kw_only=True):
    """How a live log does.

    Attributes:
        rows: rows written since it was opened.
        bytes: bytes of frames written since it was opened.
        write: latency of a write, encoding included.
        sync: latency of fsync.
        lag_ns: age of the oldest write that is not durable yet, 0 when all are.
        journal_rows: rows of the current journal.
        seals: seals that ended well since it was opened.
        seal_error: what the last seal said when it failed; the rows are safe in its journal.
        checkpoint_error: what the last checkpoint said when it could not be written; proof begins at an older one then.
        is_full: the disk was full and the reserve was given up: only orders, money and state are taken.
    """

    rows: int
    bytes: int
    write: Latency
    sync: Latency
    lag_ns: int
    journal_rows: int
    seals: int
    seal_error: str | None
    checkpoint_error: str | None = None
    is_full: bool


class LiveLog:
    """A log that is being written. One thread calls it; use as a context manager, which closes it also after an exception.

    Rows survive `kill -9` once `write` returned and power failure at the latest `Policy.commit_ms` and an fsync later, or at once
    after `sync`.

    Attributes:
        folder: the log.
        last: seq of the last input appended, -1 in an empty log.
        last_ts: its ts_recv, 0 in an empty log.
        recovered: what opening found and did, None when everything was sealed.
        is_full: the disk was full; whoever trades stops now. `append` takes the kinds of ESSENTIAL and outputs only.

    Raises:
        ConfigError: the folder exists already (create) or is no log (open).
        LogError: another writer holds the log, or it is damaged: names the command that mends it.
    """

    def __init__(self, found: Manifest, claim: Claim, policy: Policy, recovered: Recovery | None, disk: Disk = DISK) -> None:
        self.folder = claim.folder
        self.recovered = recovered
        self.is_full = False
        self._claim, self._policy = claim, policy
        (self.folder / FOLDER).mkdir(exist_ok=True)
        manifest.sync_folder(self.folder)
        self._reserve = self._make_reserve()
        self.last, self.last_ts = found.last, found.last_ts
        self._committer = Committer(found, claim, policy, disk)
        self._file.first_seq = self.last + 1
        self._written = self.last
        self._inputs: dict[str, list[Row]] = {}
        self._outputs: list[OutputRow] = []
        self._last_output = (-1, -1, 0)  # after_seq, n, ts
        self._rows = self._bytes = 0
        self._write_ns: deque[int] = deque(maxlen=_KEPT)
        self._seal_ns = to_ns(policy.seal_s)
        self._is_open = True
        self._is_torn = False  # an append or a write was left in its middle: an interrupt came

    @classmethod
    def create(cls, folder: Path | str, header: Header, policy: Policy | None = None, disk: Disk = DISK) -> LiveLog:
        """A new log in a folder that does not exist yet or is empty."""
        claim = Claim(Path(folder), header)
        try:
            return cls(Manifest(claim.folder), claim, policy or Policy(), None, disk)
        except BaseException:  # an interrupt among them: no half a log is left behind
            claim.discard()
            raise

    @classmethod
    def open(cls, folder: Path | str, policy: Policy | None = None, disk: Disk = DISK) -> LiveLog:
        """An existing log: what its last writer left in journals is sealed first, so that readers see all of it."""
        return cls.open_with(folder, policy, disk)[0]

    @classmethod
    def open_with(cls, folder: Path | str, policy: Policy | None = None, disk: Disk = DISK) -> tuple[LiveLog, Manifest]:
        """The same, with its manifest as it stands then: of a long log it costs more to read than everything else."""
        claim = Claim(Path(folder), None, wait_s=_ORPHAN_WAIT_S)
        try:
            mend_manifest(claim.folder)
            found = Manifest(claim.folder)
            if found.header.kind != "log":
                raise LogError(f"{folder} is a run; only a log can be continued")
            check_leftovers(found)
            recovered = recover(found, claim)
            return cls(found, claim, policy or Policy(), recovered, disk), found
        except BaseException:  # an interrupt among them: the log must not stay claimed
            claim.release()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._is_torn or isinstance(error, LogError | InvariantBroken):
            self.abandon()  # the log, its rows or a half-done write are what failed: everything written stays in the journal
        else:
            self.close()

    @property
    def _file(self) -> JournalFile:
        return self._committer.current

    @property
    def stats(self) -> Stats:
        """How the log does."""
        return Stats(
            rows=self._rows,
            bytes=self._bytes,
            write=_latency(self._write_ns),
            sync=_latency(self._committer.sync_ns),
            lag_ns=self._committer.lag_ns,
            journal_rows=self._file.rows,
            seals=self._committer.seals,
            seal_error=self._committer.seal_error,
            checkpoint_error=self._committer.checkpoint_error,
            is_full=self.is_full,
        )

    @property
    def synced(self) -> int:
        """The last input that is on the disk for certain."""
        return self._committer.synced_seq

    def append(self, inputs: Mapping[str, Sequence[Row]], outputs: Sequence[OutputRow] = ()) -> None:
        """Take rows; nothing is written yet.

        Args:
            inputs: rows by kind as `RowBuilder.take` gives them; together their seqs go on at `last` + 1 without a gap.
            outputs: everything that was decided while these inputs were applied, in (after_seq, n) order: none belongs to an input
                before `last`, because a segment closes with all outputs of its inputs.

        Raises:
            InvariantBroken: seqs, times or ordinals do not follow; nothing was taken.
            LogError: the disk is full and the rows are not essential, or the log failed or was closed.
        """
        self._check_open()
        last, last_ts = self.last, self.last_ts
        if inputs:
            if self.is_full and any(kind not in ESSENTIAL for kind in inputs):
                raise LogError(f"{self.folder}: the disk is full; only {', '.join(ESSENTIAL)} and outputs are taken")
            last, last_ts = _follow(inputs, last, last_ts)
        last_output = self._follow_outputs(outputs, last) if outputs else self._last_output
        self._is_torn = True
        for kind, rows in inputs.items():
            self._inputs.setdefault(kind, []).extend(rows)
        self._outputs += outputs
        self.last, self.last_ts = last, last_ts
        self._last_output = last_output
        self._is_torn = False

    def _follow_outputs(self, outputs: Sequence[OutputRow], last: int) -> tuple[int, int, int]:
        """Where the outputs end, after a check that they follow."""
        after, n, ts = self._last_output
        low = max(self.last, self._file.first_seq)
        for row in outputs:
            kind, now, ordinal, time_ = row[:4]
            if kind not in OUTPUTS:
                raise InvariantBroken(f"{kind} is no kind of output")
            if not (now == after and ordinal == n + 1) and not (now > after and ordinal == 0):
                raise InvariantBroken(f"output ({now}, {ordinal}) follows ({after}, {n})")
            if time_ < ts:
                raise InvariantBroken(f"output ({now}, {ordinal}): time goes back")
            if not low <= now <= last:
                raise InvariantBroken(f"output ({now}, {ordinal}) is not of the inputs {low} to {last}")
            after, n, ts = now, ordinal, time_
        return after, n, ts

    def write(self) -> None:
        """Hand everything appended to the OS, in one frame: it survives the death of the process. Without rows it does nothing.

        Raises:
            InvariantBroken: a row does not fit its table; the log takes nothing more.
            LogError: the disk failed, or is full and the reserve spent, or the log was closed.
        """
        self._check_open()
        if not self._inputs and not self._outputs:
            return
        began = time.monotonic_ns()
        self._is_torn = True
        if self._inputs and self._is_due(began):
            self._rotate()
        self._put(by_kind(self._inputs, self._outputs), began)
        self._inputs, self._outputs = {}, []
        self._is_torn = False
        self._write_ns.append(time.monotonic_ns() - began)

    @property
    def sealed(self) -> tuple[int, str]:
        """Seals that ended well since it was opened, and the digest of the manifest's last line then."""
        seals = self._committer.seals
        return seals, self._committer.head

    def checkpoint(self, checkpoint: Checkpoint) -> None:
        """Have a checkpoint of an input that was appended written beside the loop, once that input is on the disk."""
        self._check_open()
        self._committer.want_checkpoint(checkpoint)

    def _check_open(self) -> None:
        """A closed log's file number may be another file's by now."""
        if not self._is_open:
            raise LogError(f"{self.folder} was closed; nothing more can be written")
        self._committer.check()

    def _put(self, rows: dict[str, list[Row]], now: int, flags: int = 0) -> None:
        """Write one frame into the current journal."""
        file = self._file
        synced = self._committer.synced_seq
        try:
            data = frame_bytes(file.opening, rows, first_seq=self._written + 1, synced=synced, flags=flags)
        except InvariantBroken as error:
            self._committer.fail(str(error))
            raise
        self._write_bytes(file, data)
        count = sum(map(len, rows.values()))
        if not file.rows:
            file.began_ns = now
        file.rows += count
        file.size += len(data)
        self._rows += count
        self._bytes += len(data)
        self._written += sum(len(mine) for kind, mine in rows.items() if kind in _IS_INPUT)
        file.last_seq = self._written
        self._committer.wrote()

    def _write_bytes(self, file: JournalFile, data: bytes) -> None:
        try:
            try:
                write_whole(file.handle, data, self._committer.disk)
            except OSError as error:
                os.ftruncate(file.handle, file.size)  # no half a frame before a whole one
                if error.errno not in FULL or self._reserve is None:
                    raise
                self.is_full = True
                self._reserve.unlink(missing_ok=True)
                self._reserve = None
                write_whole(file.handle, data, self._committer.disk)
        except OSError as error:
            self._committer.fail(f"{file.path}: {error}")
            self._committer.check()

    def _is_due(self, now: int) -> bool:
        """Whether the journal is full; asks for the next one a little ahead."""
        file, policy = self._file, self._policy
        if not file.rows:
            return False
        part = max(file.rows / policy.seal_rows, file.size / policy.seal_bytes, (now - file.began_ns) / self._seal_ns)
        if part >= _AHEAD:
            self._committer.want_next()
        return part >= 1

    def _rotate(self) -> None:
        """Close the journal at its last input with the outputs that still belong to it, and go on in the next one."""
        if not self._committer.has_next:
            return  # the disk is slow: the current journal grows on
        mine = [row for row in self._outputs if row[1] <= self._written]
        self._put(by_kind({}, mine), time.monotonic_ns(), ENDED)
        self._outputs = self._outputs[len(mine) :]
        self._committer.take_next().first_seq = self._written + 1

    def sync(self) -> None:
        """Write, and return when it is on the disk.

        Raises:
            InvariantBroken: as `write`.
            LogError: as `write`, or fsync failed, which is final.
        """
        self.write()
        self._committer.sync()

    def tend(self) -> None:
        """As the writer thread does after each commit time; for who has none (`Policy.by_hand`).

        Raises:
            LogError: the disk failed.
        """
        self._check_open()
        self._committer.tend()
        self._committer.check()

    def close(self) -> None:
        """Write everything, seal it and let go of the log; may be called again.

        Raises:
            InvariantBroken: as `write`.
            LogError: as `write`, or the seal failed: the rows are in the journal, and the next start seals them.
        """
        if not self._is_open:
            return
        try:
            self._committer.check()
            if self._is_torn:
                raise LogError(
                    f"{self.folder}: a write was interrupted; what was written is in the journal, and the next start seals it"
                )
            self.write()
            if self._file.rows:
                self._put({}, time.monotonic_ns(), ENDED)
            self._committer.close()
            if not self._file.rows:
                self._file.discard()
            seal_and_prune(self.folder, self._claim, self._policy.retention)
            if self._reserve is not None:
                self._reserve.unlink(missing_ok=True)
            if not any((self.folder / FOLDER).iterdir()):
                (self.folder / FOLDER).rmdir()
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Let go of the log and leave it as the death of the process would."""
        if self._is_open:
            self._is_open = False
            self._committer.abandon()
            self._claim.release()

    def _make_reserve(self) -> Path | None:
        """Take the disk space that is kept for orders; None when there is too little, or none is wanted."""
        path = self.folder / FOLDER / RESERVE
        if not self._policy.reserve_bytes:
            path.unlink(missing_ok=True)
            return None
        handle = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
        try:
            os.posix_fallocate(handle, 0, self._policy.reserve_bytes)
        except OSError as error:
            if error.errno not in FULL:
                raise LogError(f"{path}: {error}") from None
            path.unlink()
            raise LogError(f"{self.folder}: the disk has no {self._policy.reserve_bytes} bytes left for a reserve") from None
        finally:
            os.close(handle)
        return path


_IS_INPUT: Final = frozenset(INPUTS)


def _follow(inputs: Mapping[str, Sequence[Row]], last: int, last_ts: int) -> tuple[int, int]:
    """Last seq and ts_recv of the inputs, after a check that they follow."""
    heads: list[Row] = []
    for kind, rows in inputs.items():
        if kind not in _IS_INPUT:
            raise InvariantBroken(f"{kind} is no kind of input")
        if len(rows) == 1 == len(inputs) and rows[0][0] == last + 1 and rows[0][1] >= last_ts:
            return last + 1, rows[0][1]  # as most rows come
        mine = [row[:2] for row in rows]
        if any(one[0] >= two[0] for one, two in pairwise(mine)):
            raise InvariantBroken(f"{kind}: seq does not increase")
        heads += mine
    if not heads:
        return last, last_ts
    if len(inputs) > 1:
        heads.sort()
    if [head[0] for head in heads] != list(range(last + 1, last + 1 + len(heads))):
        raise InvariantBroken(f"seq is not gap-free after {last}")
    times = [last_ts, *(head[1] for head in heads)]
    if any(one > two for one, two in pairwise(times)):
        raise InvariantBroken(f"ts_recv goes back after seq {last}")
    return last + len(heads), times[-1]


def _latency(samples: deque[int]) -> Latency:
    found = sorted(samples)
    if not found:
        return Latency()
    return Latency(found[len(found) // 2], found[min(len(found) - 1, len(found) * 99 // 100)], found[-1])
