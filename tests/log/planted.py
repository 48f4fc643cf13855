"""Bugs of the log's order of writing that `tests.log.crash` must find, each planted alone."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from xarb.log import checkpoints, committer, journal, manifest, recovery
from xarb.log.committer import Committer
from xarb.log.disk import Bytes, Disk
from xarb.log.growing import GrowingFile
from xarb.log.journal import Opening
from xarb.log.manifest import Segment
from xarb.log.tombstones import Tombstone

if TYPE_CHECKING:
    import msgspec
    import pytest


class Bug(NamedTuple):
    """One of them.

    Attributes:
        name: what is wrong.
        course: the course of `tests.log.courses` that shows it.
        plant: puts it there.
    """

    name: str
    course: str
    plant: Callable[[pytest.MonkeyPatch], None]


def _forget(*_arguments: object) -> None:
    """A sync that does nothing."""


def _no_folder_sync(of: Callable[[Path], bool]) -> Callable[[pytest.MonkeyPatch], None]:
    """Names in some folders are not synced."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        real = manifest.sync_folder

        def sync(folder: Path) -> None:
            if not of(folder):
                real(folder)

        patch.setattr(manifest, "sync_folder", sync)
        patch.setattr(checkpoints, "sync_folder", sync)

    return plant


def _no_sync_at_seal(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(GrowingFile, "sync", _forget)


def _no_journal_sync(patch: pytest.MonkeyPatch) -> None:
    def write(handle: int, data: Bytes) -> int:
        return os.write(handle, data)

    def init(self: Committer, found: manifest.Manifest, claim: object, policy: committer.Policy, _disk: Disk) -> None:
        real(self, found, claim, policy, Disk(write, _forget))  # type: ignore[arg-type]  # it is what was given

    real = Committer.__init__
    patch.setattr(Committer, "__init__", init)


def _no_line_sync(kind: type[msgspec.Struct]) -> Callable[[pytest.MonkeyPatch], None]:
    """A manifest line of a kind is not synced before what it stands for goes."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        real = manifest.append_line

        def append(path: Path, entry: msgspec.Struct) -> str:
            if not isinstance(entry, kind):
                return real(path, entry)
            line = manifest.line_of(entry)
            with path.open("ab") as file:
                file.write(line)
            return line.partition(b" ")[0].decode()

        patch.setattr(manifest, "append_line", append)
        patch.setattr(manifest, "sync_lines", _forget)  # it makes up for it

    return plant


def _acknowledged_early(patch: pytest.MonkeyPatch) -> None:
    real = Committer._sync

    def sync(self: Committer) -> None:
        self.synced_seq = self.current.last_seq
        real(self)

    patch.setattr(Committer, "_sync", sync)


def _journal_renamed_early(patch: pytest.MonkeyPatch) -> None:
    def make(folder: Path, opening: Opening, frames: Iterable[bytes] = ()) -> Path:
        real = os.fsync
        late: list[int] = []
        patch.setattr(os, "fsync", lambda handle: late.append(os.dup(handle)) if not late else real(handle))
        path = made(folder, opening, frames)
        patch.setattr(os, "fsync", real)
        real(late[0])
        os.close(late[0])
        return path

    made = journal.make_journal
    for module in (committer, recovery):
        patch.setattr(module, "make_journal", make)


def _checkpoint_renamed_early(patch: pytest.MonkeyPatch) -> None:
    def write(folder: Path, checkpoint: checkpoints.Checkpoint) -> Path:
        real = os.fsync
        late: list[int] = []
        patch.setattr(os, "fsync", lambda handle: late.append(os.dup(handle)) if not late else real(handle))
        path = written(folder, checkpoint)
        patch.setattr(os, "fsync", real)
        real(late[0])
        os.close(late[0])
        return path

    written = checkpoints.write_checkpoint
    patch.setattr("tests.log.courses.write_checkpoint", write)


def _wrong_cut(by: Callable[[recovery._Left], int]) -> Callable[[pytest.MonkeyPatch], None]:
    """A torn tail is cut elsewhere than behind the last sound frame."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        real = recovery._end

        def end(one: recovery._Left, cut: int) -> None:
            one.end += by(one)
            real(one, cut)

        patch.setattr(recovery, "_end", end)

    return plant


def _over_the_tail(patch: pytest.MonkeyPatch) -> None:
    """The last frame is written over the torn bytes, and what is left of them is cut afterwards."""

    def end(one: recovery._Left, cut: int) -> None:
        row = (one.next_seq, one.last_ts, None, recovery.TRUNCATED, cut, "torn")
        handle = os.open(one.path, os.O_WRONLY)
        os.lseek(handle, one.end, os.SEEK_SET)
        last = journal.frame_bytes(
            one.opening, {"health": [row]}, first_seq=one.next_seq, synced=one.next_seq - 1, flags=journal.ENDED
        )
        journal.write_whole(handle, last)
        os.ftruncate(handle, one.end + len(last))
        os.fsync(handle)
        os.close(handle)

    patch.setattr(recovery, "_end", end)


def _first_frame(one: recovery._Left) -> int:
    """How far it is from the end of the sound frames to the end of the first one, negative."""
    walk = journal.Walk(one.path.read_bytes()[one.start :], one.opening, start=one.start)
    return next(iter(walk)).stop - one.end


BUGS = (
    Bug("no folder is synced", "record", _no_folder_sync(lambda _: True)),
    Bug("a new journal's folder is not synced", "record", _no_folder_sync(lambda folder: folder.name == journal.FOLDER)),
    Bug("sealed files' folders are not synced", "seal", _no_folder_sync(lambda folder: folder.name.startswith(("kind=", "date=")))),
    Bug("a new log's folder is not synced", "record", _no_folder_sync(lambda folder: not (folder / manifest.NAME).exists())),
    Bug("checkpoints' folder is not synced", "checkpoints", _no_folder_sync(lambda folder: folder.name == checkpoints.FOLDER)),
    Bug("an archive's folder is not synced", "archive", _no_folder_sync(lambda folder: folder.name == "kept")),
    Bug("sealed files are not synced", "seal", _no_sync_at_seal),
    Bug("the journal is not synced", "record", _no_journal_sync),
    Bug("the journal goes before its segment's line is on the disk", "seal", _no_line_sync(Segment)),
    Bug("files go before their tombstone is on the disk", "prune", _no_line_sync(Tombstone)),
    Bug("rows are acknowledged before the sync", "record", _acknowledged_early),
    Bug("a journal is renamed before its bytes are synced", "record", _journal_renamed_early),
    Bug("a checkpoint is renamed before its bytes are synced", "checkpoints", _checkpoint_renamed_early),
    Bug("a last frame is written over a torn tail", "recover", _over_the_tail),
    Bug("a torn tail is cut in the middle of a frame", "recover", _wrong_cut(lambda _: -1)),
    Bug("a torn tail is cut too early", "recover", _wrong_cut(_first_frame)),
    Bug("a torn tail is cut too late", "recover", _wrong_cut(lambda _: 1)),
)
