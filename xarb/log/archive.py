"""Moves the old part of a log into a folder of its own, which is a log too: the same header, the same lines, the same digests.

The archive holds everything of its segments that the log still has, orders and money among it, which stay in the log as well. It is made
beside its place, durable and with every digest compared, and gets its name when it is whole; only then does the log's tombstone follow.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from xarb.errors import ConfigError, LogError
from xarb.log import manifest
from xarb.log.manifest import FileEntry, Manifest
from xarb.log.prune import Pruned, bury, claimed, plan, remove_covered, said
from xarb.log.tombstones import ENGINE_INPUTS, FRAMES, MARK, Part

if TYPE_CHECKING:
    from collections.abc import Callable

_CHUNK: Final = 1 << 20


def archive(
    folder: Path, before: int, to: Path, *, by: str, progress: Callable[[int, int], None] | None = None, dry_run: bool = False
) -> Pruned:
    """Copy every segment that ends before a time into an archive, then remove the engine's inputs and raw frames of them here.

    An archive that an interrupted call completed is taken as it is, after a look at every digest.

    Args:
        folder: the log.
        before: ns since 1970.
        to: the archive's folder, which must not exist yet, or be empty.
        by: what asked for it, such as the command; the user is added.
        progress: is told bytes copied, of all.
        dry_run: only say what would go.

    Raises:
        ConfigError: `folder` is no log, or `to` is something else already, or lies inside a log.
        LogError: a writer is at work or died, the log is damaged, or the archive cannot be written; nothing is removed then.
    """
    if dry_run:
        found = Manifest(folder)
        return msgspec.structs.replace(said(found, before, plan(found, before, (ENGINE_INPUTS, FRAMES))), to=str(to))
    with claimed(folder) as found:
        done = len(remove_covered(found))
        parts = plan(found, before, (ENGINE_INPUTS, FRAMES))
        outcome = msgspec.structs.replace(said(found, before, parts), completed=done, to=str(to) if parts else None)
        if not parts:
            return outcome
        count = sum(segment.last_ts < before for segment in found.segments)
        lines = _lines(found, count)
        entries = [entry for one in found.segments[:count] for entry in one.files if entry.path not in found.gone]
        if not _is_there(to, lines, entries):
            _make(found, to, lines, entries, progress)
        bury(found, parts, by=by, to=str(to))
        return outcome


def _lines(found: Manifest, count: int) -> bytes:
    """The manifest of the archive: the log's own lines up to the last segment's, then what is gone of them by later tombstones."""
    _, end = found.places[count - 1]
    data = found.path.read_bytes()[:end]
    head = data[:-1].rpartition(b"\n")[2].partition(b" ")[0].decode()
    inside = data.count(MARK)
    for stone in found.tombstones[inside:]:
        gone = tuple(
            Part(first=part.first, last=min(part.last, count - 1), kinds=part.kinds) for part in stone.gone if part.first < count
        )
        if gone:
            line = manifest.line_of(msgspec.structs.replace(stone, gone=gone, previous=head))
            head = line.partition(b" ")[0].decode()
            data += line
    return data


def _is_there(to: Path, lines: bytes, entries: list[FileEntry]) -> bool:
    """Whether `to` is this archive, whole.

    Raises:
        ConfigError: it is something else.
        LogError: it is this archive, and a file of it is damaged.
    """
    path = to / manifest.NAME
    if path.is_file() and path.read_bytes() == lines:
        for entry in entries:
            copy = to / entry.path
            if not copy.is_file() or manifest.file_digest(copy) != entry.sha256:
                raise LogError(f"{copy} is missing or was changed; remove {to} and archive again: nothing was removed from the log")
        manifest.sync_names(to)
        return True
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise ConfigError(f"{to} exists already; an archive needs a folder of its own")
    outer = next((one for one in to.resolve().parents if (one / manifest.NAME).exists()), None)
    if outer is not None:
        raise ConfigError(f"{to} lies inside the log {outer}; choose another folder")
    return False


def _make(found: Manifest, to: Path, lines: bytes, entries: list[FileEntry], progress: Callable[[int, int], None] | None) -> None:
    """Write the archive beside its place and give it its name."""
    made = to.absolute().parent / f".{to.name}.archive.tmp"
    total, copied = sum(entry.bytes for entry in entries), 0
    try:
        if made.exists():
            shutil.rmtree(made)  # of a call that was interrupted
        manifest.make_folder(made)
        for entry in entries:
            _copy(found.folder / entry.path, made / entry.path, entry)
            copied += entry.bytes
            if progress is not None:
                progress(copied, total)
        with (made / manifest.NAME).open("wb") as file:
            file.write(lines)
            file.flush()
            os.fsync(file.fileno())
        for place in sorted(path for path in made.rglob("*") if path.is_dir()):
            manifest.sync_folder(place)
        manifest.sync_folder(made)
        made.rename(to)
        manifest.sync_folder(to.absolute().parent)
    except OSError as error:
        shutil.rmtree(made, ignore_errors=True)
        raise LogError(f"{to} cannot be written: {error}; nothing was removed from {found.folder}") from None
    except BaseException:  # an interrupt among them
        shutil.rmtree(made, ignore_errors=True)
        raise


def _copy(source: Path, target: Path, entry: FileEntry) -> None:
    """Copy one file, durable, and read the copy again.

    Raises:
        LogError: the file is not the one that was sealed.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with source.open("rb") as file, target.open("xb") as copy:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            copy.write(chunk)
        copy.flush()
        os.fsync(copy.fileno())
    if digest.hexdigest() != entry.sha256 or manifest.file_digest(target) != entry.sha256:
        raise LogError(f"{source} was changed after it was sealed: nothing was archived or removed. Run xarb log verify")
