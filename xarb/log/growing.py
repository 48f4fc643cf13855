"""One growing Parquet file of one kind and one UTC date, before a seal gives it its name."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, Self, TypeVar

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from xarb.errors import LogError
from xarb.log import manifest, smallfiles
from xarb.log.manifest import FileEntry
from xarb.log.schema import open_writer, schema_digest
from xarb.model.columns import TABLES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

MARKET_KINDS: Final = ("quotes", "books", "book_deltas", "trades", "marks")  # rows of one instrument each
_READ_ROWS: Final = 65_536
_SYNCING: Final = 8  # threads that wait for the disk
_WORTH_NS: Final = 1_000_000  # what may be waited for before threads are begun, which take as long
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
_SMALL: Final = 1 << 20  # pairs of venue and symbol that are counted in an array


class GrowingFile:
    """Takes rows, writes full row groups as they come, and is published under `<first>-<last>.parquet`."""

    def __init__(self, folder: Path, kind: str, date: str, number: int, row_group: int) -> None:
        self.kind, self.date = kind, date
        self.folder = folder / f"kind={kind}" / f"date={date}"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.path = self.folder / f".{os.getpid()}-{number:06d}.tmp"
        self._row_group = row_group
        self._writer = open_writer(str(self.path), kind, row_group)
        self._held: list[pa.Table] = []
        self._held_rows = 0
        self._open = True
        self.rows = 0
        self.first = self.last = -1
        self.first_ts = self.last_ts = 0
        self.instruments: dict[str, None] = {}
        self.connections: int | msgspec.UnsetType = msgspec.UNSET

    def add(self, table: pa.Table, keys: NDArray[np.int64], times: NDArray[np.int64]) -> None:
        """Take rows in key order; `keys` are seq or after_seq, `times` ns."""
        if self.rows == 0:
            self.first, self.first_ts = int(keys[0]), int(times[0])
        self.last, self.last_ts = int(keys[-1]), int(times[-1])
        self.rows += len(table)
        if self.kind in MARKET_KINDS:
            for batch in table.to_batches():
                note_instruments(batch, self.instruments)
        if self.kind == "connections":
            self.connections = max(self.connections or 0, 1 + int(table.column("conn").to_numpy().max()))
        self._held.append(table)
        self._held_rows += len(table)
        if self._held_rows >= self._row_group:
            whole = pa.concat_tables(self._held).unify_dictionaries()
            full = self._held_rows // self._row_group * self._row_group
            self._writer.write(whole.slice(0, full).combine_chunks())
            rest = whole.slice(full)
            self._held, self._held_rows = ([rest] if len(rest) else []), len(rest)

    def end(self) -> None:
        """Write what is held and the footer; nothing is added afterwards. The bytes are not durable yet."""
        if not self._open:
            return
        if self._held:
            self._writer.write(pa.concat_tables(self._held).unify_dictionaries().combine_chunks())
            self._held, self._held_rows = [], 0
        self._writer.close()
        self._open = False

    def sync(self) -> None:
        """Make the bytes of the ended file durable."""
        with self.path.open("rb") as handle:
            os.fsync(handle.fileno())

    def name(self, root: Path) -> None:
        """Give the ended file its name.

        Raises:
            LogError: a file of that name is there already.
        """
        target = self.folder / f"{self.first:020d}-{self.last:020d}.parquet"
        if target.exists():
            raise LogError(f"{target} exists already but no manifest line names it; run xarb log verify {root}")
        self.path.rename(target)
        self.path = target

    def entry(self, root: Path) -> FileEntry:
        """What the manifest says of the named file."""
        return FileEntry(
            path=self.path.relative_to(root).as_posix(),
            kind=self.kind,
            date=self.date,
            rows=self.rows,
            first=self.first,
            last=self.last,
            first_ts=self.first_ts,
            last_ts=self.last_ts,
            sha256=manifest.file_digest(self.path),
            bytes=self.path.stat().st_size,
            schema=schema_digest(self.kind),
            instruments=tuple(self.instruments),
            connections=self.connections,
        )

    def drop(self) -> None:
        """Remove the file, published or not, and the folders that it leaves empty."""
        if self._open:
            self._writer.close()
            self._open = False
        self.path.unlink(missing_ok=True)
        for folder in (self.folder, self.folder.parent):
            try:
                folder.rmdir()
            except OSError:
                return


def publish(files: Sequence[GrowingFile], root: Path) -> list[FileEntry]:
    """End files and give them their names, all durable; they exist once the manifest has the returned entries.

    They are ended one after the other: an encoder holds a whole row group, and eight at once took 150 MiB more than one. The system
    writes what several threads ask to sync at once: 36 syncs of a run one after the other took 135 ms, a sync alone 3.8 ms.

    Raises:
        LogError: a file of such a name is there already.
        OSError: something could not be written.
    """
    for file in files:
        file.end()
    with _Together() as together:
        together.each(GrowingFile.sync, files)
        for file in files:
            file.name(root)
        entries = together.each(lambda file: file.entry(root), files)
        together.each(manifest.sync_folder, dict.fromkeys(one for file in files for one in (file.folder, file.folder.parent, root)))
    return entries


class _Together:
    """Does things of which each waits for the disk in threads, but for those that do not wait: in memory a sync takes a microsecond."""

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown()

    def each(self, work: Callable[[_Item], _Result], items: Iterable[_Item]) -> list[_Result]:
        """What the work gives for each item, in order; the first ones are tried here, and what is left once they took too long in threads."""
        left, done = list(items), list[_Result]()
        until = time.monotonic_ns() + _WORTH_NS
        while left and time.monotonic_ns() < until:
            done.append(work(left.pop(0)))
        if left:
            self._pool = self._pool or ThreadPoolExecutor(_SYNCING, "xarb-sync")
            done += self._pool.map(work, left)
        return done


def reread(root: Path, entry: FileEntry) -> None:
    """Read a published file whole, page checksums included, and compare its rows with what its entry says.

    Raises:
        LogError: it cannot be read, or holds another number of rows or another range.
    """
    rows, first, last = 0, None, None
    try:
        for keys in _keys(root / entry.path, entry):
            first = keys[0].as_py() if first is None else first
            rows, last = rows + len(keys), keys[-1].as_py()
    except smallfiles.UNREADABLE as error:
        raise LogError(f"{root / entry.path} cannot be read back: {error}") from None
    if (rows, first, last) != (entry.rows, entry.first, entry.last):
        raise LogError(f"{root / entry.path} reads back as {rows} rows from {first} to {last}, not as it was written")


def _keys(path: Path, entry: FileEntry) -> Iterator[pa.Array]:
    """The keys of its rows, all of whose columns are decoded."""
    key = TABLES[entry.kind].key[0]
    if smallfiles.is_small(entry):
        yield smallfiles.read(path, entry).column(key)
        return
    with pq.ParquetFile(path, pre_buffer=False, page_checksum_verification=True) as file:
        for batch in file.iter_batches(_READ_ROWS, use_threads=False):
            yield batch.column(key)


def note_instruments(batch: pa.RecordBatch, known: dict[str, None]) -> None:
    """Add `symbol@venue` of every instrument in the rows to `known`, in order of first appearance; about 2 ns a row."""
    venue, symbol = batch.column("venue"), batch.column("symbol")
    venues, symbols = venue.dictionary.to_pylist(), symbol.dictionary.to_pylist()
    pairs = venue.indices.to_numpy().astype(np.int64) * len(symbols) + symbol.indices.to_numpy()
    possible = len(venues) * len(symbols)
    found = np.flatnonzero(np.bincount(pairs, minlength=1)) if possible <= _SMALL else np.unique(pairs)
    names = {int(pair): f"{symbols[pair % len(symbols)]}@{venues[pair // len(symbols)]}" for pair in found}
    new = [pair for pair, name in names.items() if name not in known]
    for pair in sorted(new, key=lambda pair: int(np.argmax(pairs == pair))):
        known[names[pair]] = None
