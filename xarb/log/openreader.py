"""A log that somebody has still, read with what its journal holds: for who must know what a process did that is stopped or hangs."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

from xarb.log.reader import EVERYTHING, LogReader, Selection, narrowed
from xarb.log.rows import from_table
from xarb.log.tail import Tail

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa


class OpenReader(LogReader):
    """A log as it stands with its open tail.

    `rows`, `tables`, `instruments` (in their latest form) and `last_seq` have both, the rest only what is sealed.

    Raises:
        ConfigError: the folder is no log.
        LogError: it is damaged; a frame that was torn while it was written is none.
    """

    def __init__(self, folder: Path) -> None:
        self._tail = Tail(folder)
        super().__init__(folder, found=self._tail.manifest)
        self.last_seq = self._tail.last_seq
        self.last_ts = self._tail.last_ts
        for row in from_table("instruments", self._tail.table("instruments")):
            self._announce(row)
        self.instruments = self.instruments_at(self.last_seq + 1)

    def rows(
        self, kind: str, *, columns: Collection[str] | None = None, select: Selection = EVERYTHING
    ) -> Iterator[dict[str, Any]]:
        """Every row of an input kind, as `LogReader.rows`; those of the tail with all columns and whatever the selection."""
        yield from super().rows(kind, columns=columns, select=select)
        yield from from_table(kind, self._tail.table(kind))

    def tables(self, kind: str, columns: Collection[str], select: Selection = EVERYTHING) -> Iterator[pa.RecordBatch]:
        """Columns of the rows of a kind, as `LogReader.tables`; those of the tail have all columns."""
        yield from super().tables(kind, columns, select)
        for batch in self._tail.table(kind).to_batches():
            part = narrowed(kind, batch, select)
            if part.num_rows:
                yield part
