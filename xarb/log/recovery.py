"""What a new writer does with the journals that the last one left: a torn tail is cut, damage is refused, what is sound is sealed."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from xarb.errors import LogError
from xarb.log import manifest
from xarb.log.journal import (
    ENDED,
    FOLDER,
    SUFFIX,
    Frame,
    Opening,
    Walk,
    frame_bytes,
    journals,
    make_journal,
    read_opening,
    write_whole,
)
from xarb.log.manifest import Manifest
from xarb.log.prune import mend_tombstone
from xarb.log.seal import seal_ended
from xarb.log.tombstones import MARK
from xarb.model.columns import INPUTS

if TYPE_CHECKING:
    from xarb.log.claim import Claim
    from xarb.log.packing import Row

DAMAGED: Final = "damaged"  # journals that could not be used whole are kept here
TRUNCATED: Final = "journal_truncated_bytes"  # metric of the health row that a torn tail leaves


class Recovery(msgspec.Struct, frozen=True, kw_only=True):
    """What was found and done: segments sealed out of journals, and bytes of a torn tail that were cut (never acknowledged rows)."""

    sealed: int
    truncated_bytes: int


class _Left(msgspec.Struct):
    """A journal that was left, looked through."""

    path: Path
    opening: Opening
    start: int
    end: int
    first_seq: int
    next_seq: int
    frames: int = 0
    synced: int = -1
    ended: bool = False
    trouble: str | None = None
    torn_bytes: int = 0
    last_ts: int = 0


def recover(found: Manifest, claim: Claim) -> Recovery | None:
    """Bring a log into the state of a clean stop; None when it was in it.

    Args:
        found: the log's manifest, mended (`mend_manifest`); it grows with what is sealed.
        claim: the caller's claim on it.

    Raises:
        LogError: the manifest or a journal is damaged, or rows that were on the disk are missing; names `xarb log repair`.
    """
    folder = found.folder
    for half in (folder / FOLDER).glob(".*.tmp"):
        half.unlink()
    drop_replaced(folder)
    check_openings(folder, found)
    sealed = len(seal_ended(found, claim))  # before anything else: a seal that was interrupted
    left = [_look(folder, path) for _, path in journals(folder)]
    if not left:
        return Recovery(sealed=sealed, truncated_bytes=0) if sealed else None
    _check_rows(folder, found, left)
    torn = next((place for place, one in enumerate(left) if one.trouble is not None or not one.ended), len(left) - 1)
    cut = left[torn].torn_bytes
    for later in reversed(left[torn + 1 :]):
        if later.frames:
            cut += later.path.stat().st_size
            keep(later.path)
        else:
            later.path.unlink()
    if left[torn].frames or cut:
        _end(left[torn], cut)
    else:
        left[torn].path.unlink()
    manifest.sync_folder(folder / FOLDER)
    sealed += len(seal_ended(found, claim))
    return Recovery(sealed=sealed, truncated_bytes=cut) if sealed or cut else None


def mend_manifest(folder: Path) -> int:
    """Cut half a line off the end of a manifest, or one with a hole, which a power failure may leave. Bytes cut.

    Its segment does not exist yet. That is certain only while the journal of that segment is there, which goes after its line is on the
    disk, or while the copy of a tombstone is there, whose files go later still. A whole line that has lost its end alone gets it back.

    Raises:
        LogError: the last line is damaged and no journal holds its rows.
    """
    mend_tombstone(folder)
    path = folder / manifest.NAME
    manifest.sync_lines(path)  # a new journal names the last one
    torn = manifest.torn_end(path)
    if torn is None or not torn.lines or any(map(manifest.is_whole, torn.rest.split(b"\n")[1:])):
        return 0  # or its beginning or middle is damaged: whoever reads it says so
    if manifest.is_whole(torn.rest):
        with path.open("ab") as file:
            file.write(b"\n")
            file.flush()
            os.fsync(file.fileno())
        return 0
    segment = sum(MARK not in line for line in torn.lines) - 1  # the first line is the header
    if not any(number == segment for number, _ in journals(folder)):
        raise LogError(
            f"{path} line {len(torn.lines) + 1}, the last one, is damaged, and no journal holds the rows of its segment: restore the "
            "file from a copy, or, if an import was cut off by a power failure, remove that line and import again"
        )
    manifest.cut(path, torn.at)
    return len(torn.rest)


def keep(path: Path, stem: str | None = None) -> Path:
    """Move a journal to `journal/damaged/` under a name of that stem (None: its own) that is free; where it is now."""
    kept = path.parent / DAMAGED
    kept.mkdir(exist_ok=True)
    target = next(one for n in range(1, 10**6) if not (one := kept / f"{stem or path.stem}-{n}{SUFFIX}").exists())
    path.rename(target)
    manifest.sync_folder(kept)
    manifest.sync_folder(path.parent)
    return target


def drop_replaced(folder: Path) -> None:
    """Remove journals whose rows a repair has put into another one; it was stopped before it could."""
    replaced: set[int] = set()
    for _, path in journals(folder):
        opening, _ = read_opening(path)
        if opening.salt in replaced:
            path.unlink()
        replaced.update(opening.replaces)


def _look(folder: Path, path: Path) -> _Left:
    """Walk through a journal.

    Raises:
        LogError: it is damaged before its last sound frame.
    """
    opening, start = read_opening(path)
    walk = Walk(path.read_bytes()[start:], opening, start=start)
    last: Frame | None = None
    frames, synced, first_seq = 0, -1, -1
    for frame in walk:
        first_seq = frame.first_seq if frames == 0 else first_seq
        frames, synced = frames + 1, max(synced, frame.synced)
        last = frame if frame.inputs else last
    if walk.trouble is not None and walk.later is not None:
        raise LogError(
            f"{path} is damaged at byte {walk.end}: {walk.trouble}, and sound rows follow; run: xarb log repair {folder}"
        )
    return _Left(
        path=path,
        opening=opening,
        start=start,
        end=walk.end,
        first_seq=first_seq,
        next_seq=-1 if walk.next_seq is None else walk.next_seq,
        frames=frames,
        synced=synced,
        ended=walk.ended,
        trouble=walk.trouble,
        torn_bytes=walk.torn_bytes,
        last_ts=0 if last is None else max(row[1] for kind, rows in last.rows().items() if kind in INPUTS for row in rows),
    )


def check_openings(folder: Path, found: Manifest) -> None:
    """Refuse journals that are not of this log or do not follow each other and the sealed segments.

    Raises:
        LogError: the first that does not.
    """
    mend = f"run: xarb log repair {folder}"
    expected, previous = len(found.segments), 0
    for segment, path in journals(folder):
        opening, _ = read_opening(path)
        if not belongs(opening, found, previous):
            raise LogError(f"{path} is not a journal of this log, or not the one that follows; {mend}")
        if segment >= len(found.segments):
            if segment != expected:
                raise LogError(f"{path} is of segment {segment}; {expected} would follow; {mend}")
            expected += 1
        previous = opening.salt


def belongs(opening: Opening, found: Manifest, previous: int) -> bool:
    """Whether a journal was made for this log, and after the journal with the salt `previous` (0 when that is not known)."""
    follows = not previous or opening.previous in {0, previous}
    return opening.log_id == found.header.log_id and opening.head in found.heads and follows


def _check_rows(folder: Path, found: Manifest, left: list[_Left]) -> None:
    """Refuse journals whose rows do not follow each other, or that have lost what was on the disk.

    A tail of an earlier journal may be gone while a later one has frames: after a power failure, when neither was synced. That is
    a torn tail as long as no frame says that the lost rows were on the disk.
    """
    mend = f"run: xarb log repair {folder}"
    next_seq, last_ts = found.last + 1, found.last_ts
    for one in left:
        if one.frames and one.first_seq != next_seq:
            raise LogError(f"{one.path} begins at seq {one.first_seq} where {next_seq} should be; {mend}")
        one.next_seq = next_seq = one.next_seq if one.frames else next_seq
        one.last_ts = last_ts = max(one.last_ts, last_ts)
        if not one.ended:
            break
    witness = max(one.synced for one in left)
    if witness >= next_seq:
        raise LogError(f"{left[0].path} ends at seq {next_seq - 1}, but rows up to seq {witness} were on the disk; {mend}")


def _end(one: _Left, cut: int) -> None:
    """Cut what is torn and write the last frame, with a health row of what was cut."""
    rows: dict[str, list[Row]] = {}
    if cut:
        row = (one.next_seq, one.last_ts or time.time_ns(), None, TRUNCATED, cut, f"{one.path.name}: {one.trouble or 'lost tail'}")
        rows["health"] = [row]
    last = frame_bytes(one.opening, rows, first_seq=one.next_seq, synced=one.next_seq - 1, flags=ENDED)
    if one.torn_bytes:  # in a file of its own: written over them, torn bytes would stand behind a last frame until they are cut
        make_journal(one.path.parents[1], one.opening, [one.path.read_bytes()[one.start : one.end], last])
        return
    handle = os.open(one.path, os.O_WRONLY | os.O_APPEND)
    try:
        if not one.ended or cut:
            write_whole(handle, last)
        os.fsync(handle)
    finally:
        os.close(handle)
