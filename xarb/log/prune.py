"""Removes old files of a log for good, and says so in its manifest: a tombstone first, on the disk, then the files.

Stopped anywhere in between, the log is as before, or the files that a tombstone covers are still there: leftovers, which no reader looks
at and which the next pruning removes.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from xarb.errors import ConfigError, LogError
from xarb.log import manifest
from xarb.log.claim import Claim
from xarb.log.journal import journals
from xarb.log.manifest import FileEntry, Manifest
from xarb.log.reader import LogReader
from xarb.log.tombstones import ENGINE_INPUTS, FRAMES, Part, Reason, Tombstone, covered
from xarb.model.units import NANOS_PER_S

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

COPY: Final = ".tombstone.tmp"  # the line that is about to be appended, by which half of it is known for what it is
_DAY_NS: Final = 86_400 * NANOS_PER_S


class Retention(msgspec.Struct, frozen=True, kw_only=True):
    """How long a log that grows keeps its inputs, in days; 0 is for ever.

    Counted back from the last sealed input in whole UTC days, so that a wall clock that was set wrong removes nothing, and something goes
    once a day. A segment goes when all of it is older. Orders and money never go.

    Attributes:
        frames_days: raw frames.
        inputs_days: the engine's inputs; proof by replay begins behind those that are gone.
    """

    frames_days: int = 0
    inputs_days: int = 0

    def __post_init__(self) -> None:
        """Refuse what can never be.

        Raises:
            ConfigError: names the attribute.
        """
        for name in ("frames_days", "inputs_days"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} = {getattr(self, name)}: must be 0 or more")


class Pruned(msgspec.Struct, frozen=True, kw_only=True):
    """What was removed, or would be.

    Attributes:
        folder: the log.
        before: segments that end before this time were looked at, ns.
        parts: what went, none when there was nothing to do.
        files: files that went.
        rows: their rows.
        bytes: their bytes.
        first_left: seq from which on no input of the engine is missing.
        starts: numbers of starts whose inputs are incomplete now, so that nothing can prove them any more.
        completed: files that an earlier tombstone covered and that were still there: removed now.
        kept_whole: the segment that lies on both sides of `before`, of which nothing went; None when there is none.
        to: the folder of the archive, None when nothing was archived.
    """

    folder: str
    before: int
    parts: tuple[Part, ...] = ()
    files: int = 0
    rows: int = 0
    bytes: int = 0
    first_left: int = 0
    starts: tuple[int, ...] = ()
    completed: int = 0
    kept_whole: int | None = None
    to: str | None = None


def prune(folder: Path, before: int, *, by: str, frames_only: bool = False, dry_run: bool = False) -> Pruned:
    """Remove the engine's inputs and the raw frames of every segment that ends before a time; what an interrupted pruning left goes too.

    Args:
        folder: the log.
        before: ns since 1970.
        by: what asked for it, such as the command; the user is added.
        frames_only: leave the engine's inputs.
        dry_run: only say what would go.

    Raises:
        ConfigError: the folder is no log.
        LogError: a writer is at work (a live log prunes itself, see `Retention`), its writer died, or the log is damaged.
    """
    kinds = (FRAMES,) if frames_only else (ENGINE_INPUTS, FRAMES)
    if dry_run:
        found = Manifest(folder)
        check_is_log(found)
        return said(found, before, plan(found, before, kinds))
    with claimed(folder) as found:
        done = len(remove_covered(found))
        parts = plan(found, before, kinds)
        outcome = msgspec.structs.replace(said(found, before, parts), completed=done)
        if parts:
            bury(found, parts, by=by)
        return outcome


def apply_retention(found: Manifest, retention: Retention, *, by: str = "retention") -> list[Pruned]:
    """Remove what a log need not keep any longer. The caller holds the log's claim, and no seal is under way.

    Args:
        found: the log's manifest, which grows with what is removed.
        retention: how long what is kept.
        by: what asked for it.

    Raises:
        LogError: the log is damaged, or a file cannot be removed.
    """
    removed = []
    for days, kinds in ((retention.frames_days, FRAMES), (retention.inputs_days, ENGINE_INPUTS)):
        before = (found.last_ts // _DAY_NS - days) * _DAY_NS
        parts = plan(found, before, (kinds,)) if days else ()
        if parts:
            removed.append(said(found, before, parts))
            bury(found, parts, by=by)
        elif found.gone and not removed:
            remove_covered(found)
    return removed


@contextlib.contextmanager
def claimed(folder: Path) -> Iterator[Manifest]:
    """The manifest of a log that nobody else writes meanwhile, and whose journals are sealed.

    Raises:
        ConfigError: the folder is no log.
        LogError: a writer is at work, or died and left a journal; or the manifest is damaged.
    """
    claim = Claim(folder, None)
    try:
        mend_tombstone(folder)
        found = Manifest(folder)
        check_is_log(found)
        if journals(folder):
            raise LogError(f"{folder} has a journal that is not sealed; let it be recovered first: xarb log repair {folder}")
        yield found
    finally:
        claim.release()


def check_is_log(found: Manifest) -> None:
    """Refuse a run.

    Raises:
        ConfigError: it is one.
    """
    if found.header.kind != "log":
        raise ConfigError(f"{found.folder} is a run: it has no inputs, and outputs are never removed; delete the folder instead")


def plan(found: Manifest, before: int, groups: Sequence[Sequence[str]]) -> tuple[Part, ...]:
    """What may go: of each group of kinds the files that are there, in segments that end before a time (ns)."""
    parts: list[Part] = []
    for kinds in groups:
        open_: list[int] = []
        for segment in found.segments:
            mine = segment.last_ts < before and any(entry.kind in kinds and entry.path not in found.gone for entry in segment.files)
            if mine:
                open_ = [*open_[:1], segment.segment]
            if open_ and (not mine or segment is found.segments[-1]):
                parts.append(Part(first=open_[0], last=open_[-1], kinds=tuple(kinds)))
                open_ = []
    return tuple(parts)


def said(found: Manifest, before: int, parts: tuple[Part, ...]) -> Pruned:
    """What removing these parts removes."""
    entries = covered(parts, found.segments, found.gone) if parts else []
    paths = {entry.path for entry in entries}
    gone = [
        segment.last
        for segment in found.segments
        if any(entry.kind in ENGINE_INPUTS and (entry.path in found.gone or entry.path in paths) for entry in segment.files)
    ]
    first_left = gone[-1] + 1 if gone else 0
    with LogReader(found.folder) as reader:
        lost = tuple(row["number"] for row in reader.rows("starts") if row["seq"] < first_left)
    whole = next((one.segment for one in found.segments if one.first_ts < before <= one.last_ts), None)
    return Pruned(
        folder=str(found.folder),
        before=before,
        parts=parts,
        files=len(entries),
        rows=sum(entry.rows for entry in entries),
        bytes=sum(entry.bytes for entry in entries),
        first_left=first_left,
        starts=lost,
        kept_whole=whole,
    )


def bury(found: Manifest, parts: Sequence[Part], *, by: str, to: str | None = None) -> None:
    """Append the tombstone of these parts, durable, by which the manifest grows, then remove their files.

    Raises:
        LogError: a file cannot be removed; the tombstone stands, and the next pruning goes on.
    """
    reason: Reason = "pruned" if to is None else "archived"
    who = f"{by}, {_user()}"
    stone = Tombstone(gone=tuple(parts), reason=reason, by=who, ts=time.time_ns(), to=to, previous=found.head)
    copy = found.folder / COPY
    with copy.open("wb") as file:
        file.write(manifest.line_of(stone))
        file.flush()
        os.fsync(file.fileno())
    manifest.sync_folder(found.folder)
    manifest.append_line(found.path, stone)
    copy.unlink()
    found.grow()
    remove_covered(found)


def remove_covered(found: Manifest) -> list[FileEntry]:
    """Remove the files that tombstones cover, and the folders that become empty; those that were still there.

    Raises:
        LogError: one cannot be removed.
    """
    removed: list[FileEntry] = []
    try:
        for segment in found.segments:
            for entry in segment.files:
                path = found.folder / entry.path
                if entry.path in found.gone and path.exists():
                    if not removed:
                        manifest.sync_lines(found.path)
                    path.unlink()
                    removed.append(entry)
                    for folder in (path.parent, path.parent.parent):
                        with contextlib.suppress(OSError):  # it holds other files
                            folder.rmdir()
    except OSError as error:
        raise LogError(f"{found.folder}: {error}; a tombstone covers the file, and the next pruning tries again") from None
    return removed


def mend_tombstone(folder: Path) -> None:
    """Cut half a tombstone off the end of a manifest: its copy is there still, so that no file of it has gone.

    Half of it is its bytes with zeros in place of those that never came. A copy without such a half is removed.
    """
    copy, path = folder / COPY, folder / manifest.NAME
    if not copy.exists():
        return
    torn = manifest.torn_end(path)
    if torn is not None and torn.lines:
        line = copy.read_bytes()
        if len(torn.rest) > len(line) or any(byte not in {0, one} for byte, one in zip(torn.rest, line, strict=False)):
            return  # it is of something else
        manifest.cut(path, torn.at)
    copy.unlink()


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # the system knows no name for it
        return f"user {os.getuid()}"
