"""The import verb: sources in, a log out, whole or not at all."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

import msgspec
import pyarrow as pa

from xarb.errors import ConfigError
from xarb.imports.merge import merged, streams_of
from xarb.imports.sources import Sources
from xarb.imports.tape import Listings
from xarb.model.columns import TABLES, Type
from xarb.model.units import MONEY_SCALE, NEVER
from xarb.wires.rows import Row, RowBuilder

FLUSH_ROWS: Final = 131_072  # rows collected before they go to the log's writer


class Progress(NamedTuple):
    """How far an import is: rows written, bytes read of all bytes of the files, and the receive time reached."""

    rows: int
    bytes_read: int
    bytes_total: int
    ts_recv: int


class ImportSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What an import wrote: rows per kind, rejects per source and rule, the range of seq and of time (ns)."""

    log: str
    sources: int
    first_seq: int
    last_seq: int
    first_ts: int
    last_ts: int
    rows: dict[str, int]
    rejects: dict[str, dict[str, int]]


class LogState(msgspec.Struct, frozen=True, kw_only=True):
    """What an import must know of the log that it goes on with; the defaults are those of a new log.

    `scales` are the decimals of prices and quantities of the instruments that the log knows, by (venue, symbol).
    """

    next_seq: int = 0
    last_ts: int = 0
    next_conn: int = 0
    scales: dict[tuple[str, str], tuple[int, int]] = {}


class Sink(Protocol):
    """Where rows go: per kind and in seq order, as tuples in the column order of `model/columns.py`."""

    def __call__(self, kind: str, rows: list[Row]) -> None:
        """Take rows of one kind."""


class Merge:
    """One import before it has a log: runs the merge and hands rows to a sink.

    Raises:
        ConfigError: a reader refuses its source.
    """

    def __init__(self, sources: Sources, state: LogState) -> None:
        self.sources = sources
        self.state = state
        self.builder = RowBuilder(state.next_seq, state.last_ts, state.scales)
        self.first_ts = 0
        self._streams = streams_of(sources.sources, Listings(sources.instruments, state.scales), state.next_conn)

    def run(self, sink: Sink, progress: Callable[[Progress], None] | None = None) -> None:
        """Move every row into `sink`.

        Raises:
            ConfigError: a file cannot be used, a source is older than the log's end, or nothing has a valid time.
        """
        builder, total = self.builder, sum(_size(source.file) for source in self.sources.sources)
        for ts_recv, link, event in merged(self._streams):
            if not self.first_ts:
                self._begin(ts_recv, link.source)
            builder.add(builder.last_ts if ts_recv == NEVER else ts_recv, link, event)
            if builder.held >= FLUSH_ROWS:
                self._flush(sink, progress, total)
        self._flush(sink, progress, total)

    def _begin(self, ts_recv: int, source: str) -> None:
        """Check the earliest row against the log's end."""
        if ts_recv == NEVER:
            raise ConfigError(f"{self.sources.origin}: no row of any source has a valid time; nothing was imported")
        if ts_recv < self.state.last_ts:
            raise ConfigError(
                f"{source}: begins at {ts_recv} ns, before the log's end at {self.state.last_ts} ns; a log only grows forward. "
                "Import these sources into a log of their own, or all sources together into a new one"
            )
        self.first_ts = ts_recv

    def _flush(self, sink: Sink, progress: Callable[[Progress], None] | None, total: int) -> None:
        for kind, rows in self.builder.take().items():
            sink(kind, rows)
        if progress is not None:
            done = sum(stream.tape.bytes_read for stream in self._streams)
            progress(Progress(sum(self.builder.counts.values()), done, total, self.builder.last_ts))

    def summary(self, log: str) -> ImportSummary:
        """What was written so far."""
        builder = self.builder
        rejects: dict[str, dict[str, int]] = {}
        for (source, rule), number in sorted(builder.rejects.items()):
            rejects.setdefault(source, {})[rule] = number
        return ImportSummary(
            log=log,
            sources=len(self.sources.sources),
            first_seq=self.state.next_seq,
            last_seq=builder.next_seq - 1,
            first_ts=self.first_ts,
            last_ts=builder.last_ts,
            rows={kind: number for kind, number in builder.counts.items() if number},
            rejects=rejects,
        )


def table_of(kind: str, rows: list[Row], schema: Any) -> Any:
    """Rows as a `pyarrow.Table` of that schema; money becomes DECIMAL(38,18)."""
    columns = list(zip(*rows, strict=True))
    arrays = []
    for column, values in zip(TABLES[kind].columns, columns, strict=True):
        exact = [None if value is None else _decimal(value) for value in values] if column.type is Type.MONEY else values
        arrays.append(pa.array(exact, type=schema.field(column.name).type))
    return pa.Table.from_arrays(arrays, schema=schema)


def _decimal(value: int) -> Decimal:
    """Money as a Decimal without rounding: constructed, not computed."""
    return Decimal((value < 0, tuple(map(int, str(abs(value)))), -MONEY_SCALE))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
