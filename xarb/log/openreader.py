"""A log that somebody has still, read with what its journal holds: for who must know what a process did that is stopped, hangs or goes on."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

from xarb.log.reader import EVERYTHING, LogReader, Selection, behind, narrowed
from xarb.log.rows import from_table
from xarb.log.tail import Tail

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

    from xarb.log.merge import Position


class OpenReader(LogReader):
    """A log as it stands with its open tail, and as it stands later after `refresh`.

    `batches`, `outputs`, `rows`, `tables`, `instruments` (in their latest form), `connections` and `last_seq` have both, the rest only
    what is sealed.

    Raises:
        ConfigError: the folder is no log.
        LogError: it is damaged; a frame that was torn while it was written is none.
    """

    def __init__(self, folder: Path) -> None:
        self._tail = Tail(folder)
        self._read_sealed()

    def _read_sealed(self) -> None:
        super().__init__(self._tail.folder, found=self._tail.manifest)
        self._announced = -1  # the last seq of an instruments or connections row of the tail that was looked at
        self._extend()

    def refresh(self) -> bool:
        """Read what was written since; whether anything was. Iterators of before must not be used any more.

        Raises:
            LogError: the log is damaged.
        """
        head = self._tail.manifest.head
        if not self._tail.refresh():
            return False
        if self._tail.manifest.head != head:
            self.close()
            self._read_sealed()
        else:
            self._extend()
        return True

    @property
    def unsealed(self) -> dict[str, int]:
        """Rows of the tail by kind."""
        return self._tail.rows

    def _extend(self) -> None:
        self.last_seq = self._tail.last_seq
        self.last_ts = self._tail.last_ts
        new = Selection(first_seq=self._announced + 1)
        for row in self._of_tail("instruments", new):
            self._announce(row)
        for row in self._of_tail("connections", new):
            self.connections = max(self.connections, row["conn"] + 1)
        self._announced = self.last_seq
        self.instruments = self.instruments_at(self.last_seq + 1)

    def rows(
        self, kind: str, *, columns: Collection[str] | None = None, select: Selection = EVERYTHING
    ) -> Iterator[dict[str, Any]]:
        """Every row of an input kind, as `LogReader.rows`; those of the tail with all columns and whatever the selection."""
        yield from super().rows(kind, columns=columns, select=select)
        yield from self._of_tail(kind, EVERYTHING)

    def tables(self, kind: str, columns: Collection[str], select: Selection = EVERYTHING) -> Iterator[pa.RecordBatch]:
        """Columns of the rows of a kind, as `LogReader.tables`; those of the tail have all columns."""
        yield from super().tables(kind, columns, select)
        yield from (part for _, part in self._unsealed(kind, select))

    def _of_tail(self, kind: str, select: Selection) -> Iterator[dict[str, Any]]:
        for _, part in self._unsealed(kind, select):
            yield from from_table(kind, part)

    def _unsealed(self, kind: str, select: Selection) -> list[tuple[Position, pa.RecordBatch]]:
        """The rows of the tail."""
        parts = [narrowed(kind, batch, select) for batch in self._tail.table(kind).to_batches()]
        return [(behind(kind, part), part) for part in parts if part.num_rows]
