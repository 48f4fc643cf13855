"""The writer that every verb shares: rows stream into temporary files, a seal publishes them.

Publishing: write, fsync, rename, fsync of the folder, sha256, then one fsynced manifest line. Until that line stands, nothing of
the segment exists for a reader; leftovers start with a dot and are removed by the next writer.
"""

from __future__ import annotations

import datetime as dt
import fcntl
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
import pyarrow as pa

from xarb.errors import ConfigError, InvariantBroken, LogError
from xarb.log import manifest
from xarb.log.manifest import FileEntry, Header, Manifest, Segment, Summary
from xarb.log.rows import to_table
from xarb.log.schema import ROW_GROUP, arrow_schema, open_writer, schema_digest
from xarb.model.columns import TABLES, Table
from xarb.model.units import NANOS_PER_S

SEAL_ROWS: Final = 50_000_000  # a segment is sealed at the next commit beyond this many rows
_DAY_NS: Final = 86_400 * NANOS_PER_S
_LOCK: Final = ".lock"


class _OpenFile:
    """One growing file of a kind and a UTC date."""

    def __init__(self, folder: Path, kind: str, date: str, row_group: int) -> None:
        self.kind, self.date = kind, date
        self.folder = folder / f"kind={kind}" / f"date={date}"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.path = self.folder / f".{os.getpid()}-{kind}.tmp"
        self._row_group = row_group
        self._writer = open_writer(str(self.path), kind, row_group)
        self._held: list[pa.Table] = []
        self._held_rows = 0
        self.rows = 0
        self.first = self.last = -1
        self.first_ts = self.last_ts = 0

    def add(self, table: pa.Table, keys: np.ndarray, times: np.ndarray) -> None:
        if self.rows == 0:
            self.first, self.first_ts = int(keys[0]), int(times[0])
        self.last, self.last_ts = int(keys[-1]), int(times[-1])
        self.rows += len(table)
        self._held.append(table)
        self._held_rows += len(table)
        if self._held_rows >= self._row_group:
            whole = pa.concat_tables(self._held).unify_dictionaries()
            full = self._held_rows // self._row_group * self._row_group
            self._writer.write(whole.slice(0, full).combine_chunks())
            rest = whole.slice(full)
            self._held, self._held_rows = ([rest] if len(rest) else []), len(rest)

    def publish(self, root: Path) -> FileEntry:
        if self._held:
            self._writer.write(pa.concat_tables(self._held).unify_dictionaries().combine_chunks())
        self._writer.close()
        with self.path.open("rb") as handle:
            os.fsync(handle.fileno())
        target = self.folder / f"{self.first:020d}-{self.last:020d}.parquet"
        if target.exists():
            raise LogError(f"{target} exists already but no manifest line names it; run xarb log verify")
        self.path.rename(target)
        for folder in (self.folder, self.folder.parent, root):
            manifest.sync_folder(folder)
        return FileEntry(
            path=target.relative_to(root).as_posix(),
            kind=self.kind,
            date=self.date,
            rows=self.rows,
            first=self.first,
            last=self.last,
            first_ts=self.first_ts,
            last_ts=self.last_ts,
            sha256=manifest.file_digest(target),
            bytes=target.stat().st_size,
            schema=schema_digest(self.kind),
        )

    def drop(self) -> None:
        self._writer.close()
        self.path.unlink(missing_ok=True)


class LogWriter:
    """Appends rows to a log or a run.

    Rows are given kind by kind; `commit` says that everything given so far closes a range: for inputs, seq without a gap over
    all kinds. Use as a context manager: an exception aborts, and a log that was created by this writer disappears with it.

    Raises:
        ConfigError: the folder exists already (create) or is no log (append).
        LogError: another writer holds the log, or it cannot be continued.
    """

    def __init__(self, folder: Path, header: Header | None, *, row_group: int = ROW_GROUP, seal_rows: int = SEAL_ROWS) -> None:
        self.folder = folder
        self._created = header is not None
        self._row_group, self._seal_rows = row_group, seal_rows
        if header is not None:
            if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
                raise ConfigError(f"{folder} exists already; choose another folder or remove it")
            folder.mkdir(parents=True, exist_ok=True)
        self._lock = self._take_lock()
        if header is not None:
            manifest.append_line(folder / manifest.NAME, header)
            manifest.sync_folder(folder)
        self.manifest = Manifest(folder)
        if self.manifest.summary is not None:
            raise LogError(f"{folder} is a finished run; nothing can be added to it")
        self._remove_leftovers()
        self._files: dict[tuple[str, str], _OpenFile] = {}
        self._pending: list[tuple[Table, np.ndarray, np.ndarray]] = []
        self._segment_first = -1
        self._rows = 0
        self.last = self.manifest.last
        self.last_ts = self.manifest.last_ts

    @classmethod
    def create(cls, folder: Path, header: Header, *, row_group: int = ROW_GROUP, seal_rows: int = SEAL_ROWS) -> LogWriter:
        """A writer of a new log or run in a folder that does not exist yet or is empty."""
        return cls(Path(folder), header, row_group=row_group, seal_rows=seal_rows)

    @classmethod
    def append_to(cls, folder: Path) -> LogWriter:
        """A writer that goes on at the end of an existing log."""
        return cls(Path(folder), None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    def _take_lock(self) -> int:
        handle = os.open(self.folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            raise LogError(f"{self.folder} is being written by another process") from None
        return handle

    def _remove_leftovers(self) -> None:
        for leftover in self.folder.glob("kind=*/date=*/.*.tmp"):
            leftover.unlink()
        named = {entry.path for entry in self.manifest.files}
        for found in self.folder.glob("kind=*/date=*/*.parquet"):
            if found.relative_to(self.folder).as_posix() not in named:
                found.unlink()  # renamed, but its manifest line was never written: it does not exist

    def write_rows(self, kind: str, rows: Sequence[dict[str, Any]]) -> None:
        """`write` for rows as dicts; see `xarb.log.rows`."""
        if rows:
            self.write(kind, to_table(kind, rows))

    def write(self, kind: str, table: pa.Table) -> None:
        """Take rows of one kind, in key order.

        Raises:
            InvariantBroken: another schema, or a key or time that goes back.
        """
        if len(table) == 0:
            return
        expected = arrow_schema(kind)
        if not table.schema.equals(expected):
            raise InvariantBroken(f"{kind}: the table's schema is not that of the log:\n{table.schema}\nexpected\n{expected}")
        columns = TABLES[kind]
        keys = table.column(columns.key[0]).to_numpy()
        times = table.column("ts_recv" if columns.is_input else "ts").to_numpy()
        steps = np.diff(keys)
        if len(steps) and (steps.min() < 0 or (columns.is_input and steps.min() == 0)):
            raise InvariantBroken(f"{kind}: {columns.key[0]} does not increase")
        if len(times) > 1 and np.diff(times).min() < 0:
            raise InvariantBroken(f"{kind}: times go back")
        self._pending.append((columns, keys, times))
        days = times // _DAY_NS
        start = 0
        for stop in [*(np.flatnonzero(np.diff(days)) + 1).tolist(), len(days)]:
            date = dt.datetime.fromtimestamp(int(days[start]) * 86_400, tz=dt.UTC).date().isoformat()
            file = self._files.get((kind, date))
            if file is None:
                file = self._files[kind, date] = _OpenFile(self.folder, kind, date, self._row_group)
            file.add(table.slice(start, stop - start), keys[start:stop], times[start:stop])
            start = stop

    def commit(self) -> None:
        """Close the range of everything given since the last commit; seals when the segment is large enough.

        Raises:
            InvariantBroken: inputs leave a gap in seq, or times go back over kinds.
        """
        if not self._pending:
            return
        keys = np.concatenate([keys for _, keys, _ in self._pending])
        times = np.concatenate([times for _, _, times in self._pending])
        is_input = self._pending[0][0].is_input
        self._rows += len(keys)
        if len(self._pending) > 1:
            order = np.argsort(keys, kind="stable")
            keys, times = keys[order], times[order]
        if is_input:
            if keys[0] != self.last + 1 or (len(keys) > 1 and not bool((np.diff(keys) == 1).all())):
                raise InvariantBroken(f"seq is not gap-free after {self.last}")
            if times[0] < self.last_ts or (len(times) > 1 and np.diff(times).min() < 0):
                raise InvariantBroken(f"ts_recv goes back after seq {self.last}")
        if self._segment_first < 0:
            self._segment_first, self._segment_first_ts = int(keys[0]), int(times[0])
        self.last, self.last_ts = int(keys[-1]), int(times.max())
        self._pending = []
        if self._rows >= self._seal_rows:
            self.seal()

    def seal(self) -> None:
        """Publish the segment of everything committed so far."""
        if self._pending:
            raise InvariantBroken("seal before commit")
        if not self._files:
            return
        entries = [file.publish(self.folder) for _, file in sorted(self._files.items())]
        self._files = {}
        segment = Segment(
            segment=len(self.manifest.segments),
            first=self._segment_first,
            last=self.last,
            first_ts=self._segment_first_ts,
            last_ts=self.last_ts,
            files=tuple(entries),
            previous=self.manifest.head,
        )
        self.manifest.head = manifest.append_line(self.folder / manifest.NAME, segment)
        self.manifest.segments.append(segment)
        self._segment_first, self._rows = -1, 0

    def finish(self, output_digest: str, last_seq: int) -> None:
        """Seal a run and write its closing line."""
        self.commit()
        self.seal()
        entry = Summary(output_digest=output_digest, last_seq=last_seq, previous=self.manifest.head)
        self.manifest.head = manifest.append_line(self.folder / manifest.NAME, entry)
        self.manifest.summary = entry

    def close(self) -> None:
        """Commit, seal and let go of the log."""
        self.commit()
        self.seal()
        self._release()

    def abort(self) -> None:
        """Drop everything that is not sealed; a log that this writer created is removed whole."""
        for file in self._files.values():
            file.drop()
        self._files, self._pending = {}, []
        if self._created:
            shutil.rmtree(self.folder)
        self._release()

    def _release(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1
            if not self._created or self.folder.exists():
                (self.folder / _LOCK).unlink(missing_ok=True)
