"""Turns complete journals into sealed segments: `python -m xarb.log.seal LOG [LOCK_HANDLE [FRAMES_DAYS INPUTS_DAYS]]`.

The order of a seal: Parquet files written and synced, renamed, read again and compared, the manifest line, and only then the journal
goes. Whatever stops it in between, the journal is there and the next seal begins anew or finds the segment complete.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final

from xarb.errors import InvariantBroken, LogError, XarbError
from xarb.log import manifest
from xarb.log.claim import Claim
from xarb.log.journal import FOLDER, Opening, Walk, journals, read_opening
from xarb.log.manifest import Manifest
from xarb.log.prune import Retention, apply_retention
from xarb.log.rows import outputs_to_table, tuples_to_table
from xarb.log.writer import LogWriter
from xarb.model.columns import TABLES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from xarb.log.packing import Row

CHUNK_ROWS: Final = 65_536  # rows that become tables together
_LOW_PRIORITY: Final = 15


def seal_ended(found: Manifest, claim: Claim) -> list[int]:
    """Seal every complete journal of a log, in order; the numbers of the segments.

    Args:
        found: the log's manifest, which grows with them.
        claim: the caller's claim on it.

    Raises:
        LogError: a journal is damaged, or does not follow the sealed segments.
    """
    sealed = []
    for segment, path in journals(found.folder):
        opening, start = read_opening(path)
        walk = Walk(path.read_bytes()[start:], opening, start=start)
        if segment < len(found.segments):
            _compare(found, opening, walk)
            manifest.sync_lines(found.path)
        else:
            if not is_complete(walk, path):
                break
            seal_journal(found, path, claim)
            sealed.append(segment)
        path.unlink()
        manifest.sync_folder(path.parent)
    return sealed


def seal_and_prune(folder: Path, claim: Claim, retention: Retention | None) -> list[int]:
    """`seal_ended`, then what need not be kept any longer goes: no other process adds a line to the manifest meanwhile.

    Args:
        folder: the log.
        claim: the caller's claim on it.
        retention: how long inputs are kept; None is for ever.

    Raises:
        LogError: as `seal_ended`, or a file cannot be removed.
    """
    found = Manifest(folder)
    sealed = seal_ended(found, claim)
    if retention is not None:
        apply_retention(found, retention)
    return sealed


def is_complete(walk: Walk, path: Path) -> bool:
    """Whether a journal has its last frame and nothing behind it."""
    for _ in walk:
        pass
    if walk.trouble is not None and walk.later is not None:
        raise LogError(f"{path} is damaged at byte {walk.end}: {walk.trouble}; run: xarb log repair {path.parents[1]}")
    return walk.ended and walk.trouble is None


def seal_journal(found: Manifest, path: Path, claim: Claim) -> None:
    """Publish one complete journal as the next segment; the journal stays.

    Raises:
        LogError: it does not follow the log's end, is damaged, or what was written reads otherwise.
    """
    try:
        _seal(found, path, claim)
    except InvariantBroken as error:
        raise LogError(f"{path} holds rows that do not follow: {error}; run: xarb log repair {found.folder}") from None


def _seal(found: Manifest, path: Path, claim: Claim) -> None:
    opening, start = read_opening(path)
    with LogWriter.sealing(found, claim) as writer:
        if opening.segment != len(writer.manifest.segments):
            raise LogError(f"{path} is of segment {opening.segment}; {len(writer.manifest.segments)} would follow in the log")
        walk = Walk(path.read_bytes()[start:], opening, start=start, next_seq=writer.last + 1)
        held: dict[str, list[Row]] = {}
        for frame in walk:
            for kind, rows in frame.rows().items():
                held.setdefault(kind, []).extend(rows)
            if sum(map(len, held.values())) >= CHUNK_ROWS:
                _write(writer, held)
                held = {}
        if walk.trouble is not None:
            raise LogError(f"{path} is damaged at byte {walk.end}: {walk.trouble}; run: xarb log repair {found.folder}")
        _write(writer, held)


def _write(writer: LogWriter, held: Mapping[str, Sequence[Row]]) -> None:
    for kind, rows in held.items():
        if TABLES[kind].is_input:
            writer.write(kind, tuples_to_table(kind, rows))
        else:
            writer.write(kind, outputs_to_table(kind, [(kind, *row) for row in rows]))
    writer.commit()


def _compare(found: Manifest, opening: Opening, walk: Walk) -> None:
    """Refuse to drop a journal whose segment does not hold all of it."""
    folder, segment = found.folder, found.segments[opening.segment]
    counts: Counter[str] = Counter()
    first = None
    for frame in walk:
        first = frame.first_seq if first is None else first
        counts.update({kind: len(rows) for kind, rows in frame.rows().items()})
    sealed: Counter[str] = Counter()
    for entry in segment.files:
        sealed[entry.kind] += entry.rows
    last = None if walk.next_seq is None else walk.next_seq - 1
    if counts != sealed or (segment.first, segment.last) != (first, last):
        raise LogError(
            f"segment {segment.segment} holds seq {segment.first} to {segment.last}, its journal {first} to {last}, or other counts; "
            f"run: xarb log repair {folder}"
        )
    for entry in segment.files:
        file = folder / entry.path
        if not file.is_file() or manifest.file_digest(file) != entry.sha256:
            raise LogError(
                f"{file} is missing or was changed, and the journal of segment {segment.segment} still holds its rows: keep a copy of "
                f"{folder / FOLDER}; xarb log repair {folder} moves it to {FOLDER}/damaged"
            )


def main(arguments: Sequence[str]) -> int:
    """Seal what is complete in a log; the exit code, 1 with the reason on standard error.

    Args:
        arguments: the folder, the open lock of the process that writes the log when that started this one, and days of retention.
    """
    os.nice(_LOW_PRIORITY)
    folder = Path(arguments[0])
    try:
        claim = Claim(folder, None, inherited=int(arguments[1]) if len(arguments) > 1 else None)
        days = [int(word) for word in arguments[2:]]
        retention = Retention(frames_days=days[0], inputs_days=days[1]) if days else None
        try:
            seal_and_prune(folder, claim, retention)
        finally:
            claim.release()
    except XarbError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
