"""The files of a log as the manifest names them: checked against their digest in a thread, one ahead, then read row group by row group."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.parquet as pq

from xarb.errors import LogError
from xarb.log.manifest import FileEntry, file_digest
from xarb.log.schema import arrow_schema, schema_digest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

Range = tuple[int, int]
_ERRORS: Final = (OSError, pa.ArrowException)
_RANGED: Final = ("seq", "after_seq", "ts_recv", "ts")
_Stamp = tuple[int, int, int]


class Files:
    """Files of one log. A file is good for as long as neither its size nor its time of change differ from when it was checked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._pool = ThreadPoolExecutor(1, "xarb-digest")  # hashlib lets other threads run while it works
        self._checking: dict[str, Future[tuple[_Stamp, str]]] = {}
        self._good: dict[str, _Stamp] = {}

    def ahead(self, entry: FileEntry) -> None:
        """Begin to check a file."""
        if entry.path not in self._checking and entry.path not in self._good:
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
            self.ahead(entry)
            stamp, found = self._checking.pop(entry.path).result()
        except OSError as error:
            raise LogError(f"{path}: cannot be read: {error.strerror}; run: xarb log verify {self.folder}") from None
        if found != entry.sha256:
            raise LogError(f"{path} was changed after it was sealed; none of it was used. Run: xarb log verify {self.folder}")
        if entry.schema != schema_digest(entry.kind):
            raise LogError(f"{path}: {entry.kind} has other columns than this version of xarb reads")
        self._good[entry.path] = stamp

    def batches(
        self, entry: FileEntry, columns: Sequence[str], size: int, *, seqs: Range | None = None, times: Range | None = None
    ) -> Iterator[pa.RecordBatch]:
        """The rows of a file in record batches of at most `size` rows; row groups outside the ranges (inclusive) are not read.

        Raises:
            LogError: the file is not the one that was sealed.
        """
        self.check(entry)
        try:
            with pq.ParquetFile(self.folder / entry.path, pre_buffer=False) as file:
                if not file.schema_arrow.equals(arrow_schema(entry.kind)):
                    raise LogError(f"{self.folder / entry.path} has not the columns of {entry.kind}")
                groups = [group for group in range(file.num_row_groups) if _overlaps(file.metadata.row_group(group), seqs, times)]
                if groups:
                    yield from file.iter_batches(size, row_groups=groups, columns=list(columns), use_threads=False)
        except _ERRORS as error:
            raise LogError(f"{self.folder / entry.path}: cannot be read as Parquet: {error}") from None

    def ranges(self, entry: FileEntry) -> dict[str, Range]:
        """Smallest and largest key and time by the statistics of the file's row groups, by column name.

        Raises:
            LogError: the file cannot be read.
        """
        found: dict[str, Range] = {}
        try:
            footer = pq.read_metadata(self.folder / entry.path)
        except _ERRORS as error:
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
        self._pool.shutdown(cancel_futures=True)


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
