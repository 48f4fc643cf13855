"""The open tail of a log that is being written, or whose writer died: journal frames that no segment holds yet, as Arrow tables.

The manifest is read first, then the journals of later segments: a row is in a sealed file or in the tail, never in both and never
in neither, whatever the writer seals in between.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from xarb.errors import LogError
from xarb.log.journal import FOLDER, Opening, Walk, journals, read_opening
from xarb.log.manifest import Manifest
from xarb.log.rows import outputs_to_table, tuples_to_table
from xarb.log.schema import arrow_schema
from xarb.model.columns import INPUTS, TABLES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from xarb.log.packing import Row

_CHUNK_ROWS: Final = 65_536
_PARTS: Final = 64  # tables of a kind that are held before they become one
_TRIES: Final = 20
_PAUSE_S: Final = 0.005


class _Part:
    """One journal as far as it was read."""

    def __init__(self, path: Path, opening: Opening, start: int, next_seq: int) -> None:
        self.path, self.opening = path, opening
        self.end = start
        self.next_seq = next_seq
        self.first_ts: int | None = None
        self.last_ts = 0
        self.torn_bytes = 0
        self.trouble: str | None = None
        self.is_damaged = self.is_ended = False
        self.synced = -1  # last seq that was on the disk by the word of its frames
        self.tables: dict[str, list[pa.Table]] = {}

    def read(self) -> bool:
        """Take the frames that came since the last call; whether there were some.

        Raises:
            FileNotFoundError: the journal was sealed in between.
        """
        with self.path.open("rb") as file:
            if os.fstat(file.fileno()).st_size == self.end:
                self.torn_bytes, self.trouble, self.is_damaged = 0, None, False
                return False
            file.seek(self.end)
            data = file.read()
        walk = Walk(data, self.opening, start=self.end, next_seq=self.next_seq)
        held: dict[str, list[Row]] = {}
        before = self.end
        for frame in walk:
            self.synced = max(self.synced, frame.synced)
            for kind, rows in frame.rows().items():
                held.setdefault(kind, []).extend(rows)
                if kind in INPUTS:
                    self.first_ts = rows[0][1] if self.first_ts is None else min(self.first_ts, rows[0][1])
                    self.last_ts = max(self.last_ts, rows[-1][1])
            if sum(map(len, held.values())) >= _CHUNK_ROWS:
                self._add(held)
                held = {}
        self._add(held)
        self.is_ended = walk.ended if walk.end > before else self.is_ended
        self.end = walk.end
        self.next_seq = self.next_seq if walk.next_seq is None else walk.next_seq
        self.torn_bytes, self.trouble, self.is_damaged = walk.torn_bytes, walk.trouble, walk.later is not None
        return self.end > before

    def _add(self, held: Mapping[str, Sequence[Row]]) -> None:
        for kind, rows in held.items():
            is_input = TABLES[kind].is_input
            table = tuples_to_table(kind, rows) if is_input else outputs_to_table(kind, [(kind, *row) for row in rows])
            parts = self.tables.setdefault(kind, [])
            parts.append(table)
            if len(parts) >= _PARTS:
                self.tables[kind] = [pa.concat_tables(parts).unify_dictionaries().combine_chunks()]


class Tail:
    """What of a log is not sealed, as of the last `refresh`.

    Attributes:
        manifest: what is sealed, as of the same moment.

    Raises:
        ConfigError: the folder is no log.
        LogError: the manifest or a journal is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._parts: list[_Part] = []
        self._seen: tuple[str, list[tuple[int, int]]] | None = None
        self.manifest: Manifest
        self.refresh()

    def refresh(self) -> bool:
        """Read what came since the last call, which costs as much as there is of it; whether anything changed.

        Raises:
            LogError: the manifest or a journal is damaged; names the command that says more.
        """
        for last in (*[False] * (_TRIES - 1), True):
            try:
                found = Manifest(self.folder)
                parts = self._read(found)
                if found.path.stat().st_size != found.bytes:  # it grew: a journal may have gone before it was looked for
                    raise FileNotFoundError
            except FileNotFoundError:
                if last:
                    raise LogError(f"{self.folder}: journals come and go; run: xarb log verify {self.folder}") from None
            except LogError:  # or the writer is in the middle of a line or of a frame
                if last:
                    raise
            else:
                self.manifest, self._parts = found, parts
                break
            time.sleep(_PAUSE_S)
        before, self._seen = self._seen, self._state()
        return before != self._seen

    def _state(self) -> tuple[str, list[tuple[int, int]]]:
        return self.manifest.head, [(part.opening.salt, part.end) for part in self._parts]

    def _read(self, found: Manifest) -> list[_Part]:
        known = {part.opening.salt: part for part in self._parts}
        next_seq, number = found.last + 1, len(found.segments)
        parts: list[_Part] = []
        for segment, path in journals(self.folder):
            if segment < len(found.segments):
                continue  # sealed, and not removed yet
            opening, start = read_opening(path)
            part = known.get(opening.salt) or _Part(path, opening, start, next_seq)
            if part.end == start:
                part.next_seq = next_seq  # it was made ahead: the journal before it has grown since
            part.read()
            if segment != number or part.is_damaged:
                what = part.trouble if part.is_damaged else f"segment {number} should come first"
                raise LogError(f"{path}: {what}; run: xarb log verify {self.folder}")
            parts.append(part)
            next_seq, number = part.next_seq, number + 1
        return parts

    @property
    def last_seq(self) -> int:
        """Last seq of the log with its tail, -1 when it is empty."""
        return self._parts[-1].next_seq - 1 if self._parts else self.manifest.last

    @property
    def first_ts(self) -> int | None:
        """ts_recv of the first input of the tail, None when it has none."""
        return next((part.first_ts for part in self._parts if part.first_ts is not None), None)

    @property
    def last_ts(self) -> int:
        """ts_recv of the last input of the log with its tail, 0 when it is empty."""
        return max([self.manifest.last_ts, *(part.last_ts for part in self._parts)])

    @property
    def rows(self) -> dict[str, int]:
        """Rows of the tail by kind, in the order of the column tables."""
        counts = {kind: sum(len(table) for part in self._parts for table in part.tables.get(kind, ())) for kind in TABLES}
        return {kind: count for kind, count in counts.items() if count}

    @property
    def bytes(self) -> int:
        """Bytes of sound frames and headers."""
        return sum(part.end for part in self._parts)

    @property
    def torn_bytes(self) -> int:
        """Bytes behind the last sound frame: of a frame being written, or torn when the writer died."""
        return sum(part.torn_bytes for part in self._parts)

    @property
    def lost(self) -> str | None:
        """What a start refuses: a journal without its end, while frames say that what follows was on the disk."""
        part = next((part for part in self._parts if not part.is_ended), None)
        witness = max((part.synced for part in self._parts), default=-1)
        if part is None or witness < part.next_seq:
            return None
        return f"{part.path} ends at seq {part.next_seq - 1} (byte {part.end}), but rows up to seq {witness} were on the disk"

    @property
    def journals(self) -> list[str]:
        """Names of the journal files, relative to the log, in order."""
        return [f"{FOLDER}/{part.path.name}" for part in self._parts]

    def table(self, kind: str) -> pa.Table:
        """The rows of a kind, in order."""
        found = [table for part in self._parts for table in part.tables.get(kind, ())]
        return pa.concat_tables(found) if found else arrow_schema(kind).empty_table()


def open_tail(folder: Path) -> Tail | None:
    """The tail of a log that has a journal folder, None of one that has not.

    Raises:
        ConfigError: the folder is no log.
        LogError: the manifest or a journal is damaged.
    """
    return Tail(folder) if (folder / FOLDER).is_dir() else None
