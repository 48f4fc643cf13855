"""The files of a log as the manifest names them: checked against their digest in a thread, one ahead, then read row group by row group.

Small ones are read whole at once (`smallfiles`).
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from xarb.errors import LogError
from xarb.log import smallfiles
from xarb.log.manifest import FileEntry, Manifest, file_digest
from xarb.log.schema import arrow_schema, schema_digest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

Range = tuple[int, int]
_RANGED: Final = ("seq", "after_seq", "ts_recv", "ts")
_Stamp = tuple[int, int, int]


class Files:
    """Files of one log. A file is good for as long as neither its size nor its time of change differ from when it was checked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._pool: ThreadPoolExecutor | None = None  # hashlib lets other threads run while it works
        self._checking: dict[str, Future[tuple[_Stamp, str]]] = {}
        self._good: dict[str, _Stamp] = {}

    def ahead(self, entry: FileEntry) -> None:
        """Begin to check a file; a small one is not worth a thread."""
        if not (entry.path in self._checking or entry.path in self._good or smallfiles.is_small(entry)):
            self._begin(entry)

    def _begin(self, entry: FileEntry) -> None:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, "xarb-digest")
        self._checking[entry.path] = self._pool.submit(_digest, self.folder / entry.path)

    def check(self, entry: FileEntry) -> None:
        """Wait until the file is known to be the one that was sealed.

        Raises:
            LogError: it is not, or cannot be read; names the file and the command that says more.
        """
        path = self.folder / entry.path
        try:
            if entry.path in self._good and self._good[entry.path] == _stamp(path):
                return
            self._good.pop(entry.path, None)
            stamp, found = _digest(path) if smallfiles.is_small(entry) else self._checked(entry)
        except OSError as error:
            why = self._where(entry) or error.strerror
            raise LogError(f"{path}: cannot be read: {why}; run: xarb log verify {self.folder}") from None
        if found != entry.sha256:
            raise LogError(f"{path} was changed after it was sealed; none of it was used. Run: xarb log verify {self.folder}")
        if entry.schema != schema_digest(entry.kind):
            raise LogError(f"{path}: {entry.kind} has other columns than this version of xarb reads")
        self._good[entry.path] = stamp

    def _checked(self, entry: FileEntry) -> tuple[_Stamp, str]:
        if entry.path not in self._checking:
            self._begin(entry)
        return self._checking.pop(entry.path).result()

    def batches(self, entry: FileEntry, columns: Sequence[str], size: int) -> Iterator[pa.RecordBatch]:
        """The rows of a file in record batches of at most `size` rows, every value of them decoded.

        Raises:
            LogError: the file is not the one that was sealed.
        """
        if smallfiles.is_small(entry):
            yield from self._whole(entry).select(columns).to_batches(size)
            return
        with self._opened(entry) as file:
            yield from file.iter_batches(size, columns=list(columns), use_threads=False)

    def chosen(
        self, entry: FileEntry, columns: Sequence[str], size: int, *, seqs: Range | None = None, times: Range | None = None
    ) -> Iterator[pa.RecordBatch]:
        """`batches` of the row groups that may hold rows of the ranges (inclusive), without decoding what their statistics tell.

        Raises:
            LogError: the file is not the one that was sealed.
        """
        if smallfiles.is_small(entry):  # whether it may hold such rows its entry says as well as its footer
            yield from self._whole(entry).select(columns).to_batches(size)
            return
        with self._opened(entry) as file:
            for run in _runs(file, columns, seqs, times):
                read = file.iter_batches(size, row_groups=run.groups, columns=run.read, use_threads=False)
                yield from read if run.read == list(columns) else _completed(read, run, columns, file.schema_arrow)

    def _whole(self, entry: FileEntry) -> pa.Table:
        """The rows of a small file."""
        self.check(entry)
        found = smallfiles.kept(entry)
        if found is not None:
            return found
        path = self.folder / entry.path
        try:
            return smallfiles.read(path, entry)
        except smallfiles.UNREADABLE as error:
            raise LogError(f"{path}: cannot be read as Parquet: {self._where(entry) or error}") from None

    @contextmanager
    def _opened(self, entry: FileEntry) -> Iterator[pq.ParquetFile]:
        self.check(entry)
        try:
            with pq.ParquetFile(self.folder / entry.path, pre_buffer=False) as file:
                if not file.schema_arrow.equals(arrow_schema(entry.kind)):
                    raise LogError(f"{self.folder / entry.path} has not the columns of {entry.kind}")
                yield file
        except smallfiles.UNREADABLE as error:
            why = self._where(entry) or error
            raise LogError(f"{self.folder / entry.path}: cannot be read as Parquet: {why}") from None

    def _where(self, entry: FileEntry) -> str | None:
        """Why a file is not there, where it was pruned since the manifest was read."""
        if (self.folder / entry.path).exists() or entry.path not in Manifest(self.folder).gone:
            return None
        return "it was pruned meanwhile"

    def ranges(self, entry: FileEntry) -> dict[str, Range]:
        """Smallest and largest key and time by the statistics of the file's row groups, by column name.

        Raises:
            LogError: the file cannot be read.
        """
        found: dict[str, Range] = {}
        try:
            footer = pq.read_metadata(self.folder / entry.path)
        except smallfiles.UNREADABLE as error:
            raise LogError(f"{self.folder / entry.path}: cannot be read as Parquet: {error}") from None
        for group in range(footer.num_row_groups):
            for place in range(footer.num_columns):
                column = footer.row_group(group).column(place)
                if column.path_in_schema in _RANGED and column.statistics is not None and column.statistics.has_min_max:
                    low, high = found.get(column.path_in_schema, (column.statistics.min, column.statistics.max))
                    found[column.path_in_schema] = min(low, column.statistics.min), max(high, column.statistics.max)
        return found

    def close(self) -> None:
        """Stop checking."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)


class _Run(NamedTuple):
    """Row groups that follow each other, of which the same columns are read; the others are known from their statistics."""

    groups: list[int]
    read: list[str]
    first_seq: int | None  # where seq is not read: of the first row, from which it goes on by one a row


def _runs(file: pq.ParquetFile, columns: Sequence[str], seqs: Range | None, times: Range | None) -> list[_Run]:
    """What to read of a file.

    A column that is null in every row of a group needs no decoding, nor does `seq` in a group that holds every seq of its range: it only
    increases. These are 4 of 44 columns of most books, and a tenth of the time of a log of one kind.
    """
    runs: list[_Run] = []
    next_seq = None
    for group in range(file.num_row_groups):
        found = file.metadata.row_group(group)
        if not _overlaps(found, seqs, times):
            continue
        known, first_seq = _known(found, columns)
        read = [name for name in columns if name not in known]
        if not runs or runs[-1].read != read or first_seq != next_seq:
            runs.append(_Run([], read, first_seq))
        runs[-1].groups.append(group)
        next_seq = None if first_seq is None else first_seq + found.num_rows
    return runs


def _known(group: pq.RowGroupMetaData, columns: Sequence[str]) -> tuple[set[str], int | None]:
    """The columns of a row group that its statistics tell whole, and the first seq if that is one of them; one column is always read."""
    known: set[str] = set()
    first_seq = None
    for place in range(group.num_columns):
        column = group.column(place)
        name, _, inner = column.path_in_schema.partition(".")
        if name not in columns or column.statistics is None:
            continue
        if inner and not name.endswith("_deep_int"):
            continue  # statistics do not tell an empty list from none; of a book's levels both are the same
        found = column.statistics
        if name == "seq":
            if found.has_min_max and found.max - found.min + 1 == group.num_rows:
                known.add(name)
                first_seq = found.min
        elif found.has_null_count and found.null_count == column.num_values == group.num_rows:
            known.add(name)
    return (known, first_seq) if len(known) < len(columns) else (set(), None)


def _completed(read: Iterator[pa.RecordBatch], run: _Run, columns: Sequence[str], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """The batches with the columns that were not read."""
    chosen = pa.schema([schema.field(name) for name in columns])
    seq = run.first_seq
    for batch in read:
        made = {name: batch.column(name) for name in run.read}
        if seq is not None:
            data = pa.py_buffer(np.arange(seq, seq + batch.num_rows))  # pa.array would import numpy.ma
            made["seq"] = pa.Array.from_buffers(pa.int64(), batch.num_rows, [None, data], 0)
            seq += batch.num_rows
        arrays = [made[name] if name in made else pa.nulls(batch.num_rows, schema.field(name).type) for name in columns]
        yield pa.RecordBatch.from_arrays(arrays, schema=chosen)


def _stamp(path: Path) -> _Stamp:
    stat = path.stat()
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def _digest(path: Path) -> tuple[_Stamp, str]:
    return _stamp(path), file_digest(path)


def _overlaps(group: pq.RowGroupMetaData, seqs: Range | None, times: Range | None) -> bool:
    """Whether a row group may hold rows of the ranges, by its statistics of the key and of the time."""
    if seqs is None and times is None:
        return True
    wanted = {"seq": seqs, "after_seq": seqs, "ts_recv": times, "ts": times}
    for place in range(group.num_columns):
        column = group.column(place)
        range_ = wanted.get(column.path_in_schema)
        if range_ is None or column.statistics is None or not column.statistics.has_min_max:
            continue
        if column.statistics.max < range_[0] or column.statistics.min > range_[1]:
            return False
    return True
