"""The import verb: sources into a log, new or existing, whole or not at all."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import msgspec

from xarb.errors import ConfigError
from xarb.imports.merge import merged, streams_of
from xarb.imports.tape import Listings
from xarb.log import manifest
from xarb.log.ends import left_off
from xarb.log.manifest import Header
from xarb.log.reader import LogReader
from xarb.log.rows import tuples_to_table
from xarb.log.writer import LogWriter
from xarb.model.units import NEVER
from xarb.wires.rows import Row, RowBuilder

if TYPE_CHECKING:
    from collections.abc import Callable

    from xarb.imports.sources import Sources

_ID_LENGTH: Final = 16
FLUSH_ROWS: Final = 131_072  # rows collected before they go to the log's writer


class Progress(NamedTuple):
    """How far an import is: rows written, bytes read of all bytes of the files, and the receive time reached."""

    rows: int
    bytes_read: int
    bytes_total: int
    ts_recv: int


class ImportSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What an import wrote: rows per kind, rejects per source and rule, the range of seq and of time (ns), and what is to be known of files."""

    log: str
    sources: int
    first_seq: int
    last_seq: int
    first_ts: int
    last_ts: int
    rows: dict[str, int]
    rejects: dict[str, dict[str, int]]
    notes: tuple[str, ...] = ()


class LogState(msgspec.Struct, frozen=True, kw_only=True):
    """What an import must know of the log that it goes on with; the defaults are those of a new log.

    `scales` are the decimals of prices and quantities of the instruments that the log knows, by (venue, symbol).
    """

    next_seq: int = 0
    last_ts: int = 0
    next_conn: int = 0
    scales: dict[tuple[str, str], tuple[int, int]] = {}


class Sink(Protocol):
    """Where rows go: all rows of one range of seq, by kind and in seq order, as tuples in the column order of `model/columns`."""

    def __call__(self, parts: dict[str, list[Row]]) -> None:
        """Take the rows of a range."""


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
        parts = self.builder.take()
        if parts:
            sink(parts)
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
            notes=tuple(note for stream in self._streams for note in stream.tape.notes),
        )


def import_into(sources: Sources, folder: Path | str, *, progress: Callable[[Progress], None] | None = None) -> ImportSummary:
    """Merge the sources by receive time and write them as a log, or append them to the log that is there.

    Appending goes on with the log's seq, connection numbers and scales. Everything appears with one manifest line: an error, an
    interrupt or a crash leaves the log as it was, and no new one.

    Args:
        sources: what to import; ties in receive time keep its order.
        folder: a log, an empty folder, or one that does not exist yet.
        progress: called about every 131,072 rows, and at the end.

    Raises:
        ConfigError: a file cannot be used, a source begins before the log's end, the folder is something else or a run.
        LogError: the log is damaged or being written by someone else.
    """
    folder = Path(folder)
    if (folder / manifest.NAME).is_file():
        writer, state = _appending(folder)
        with writer:
            return _run(Merge(sources, state), writer, progress)
    merge = Merge(sources, LogState())
    header = Header(kind="log", log_id=_log_id(sources), origin=f"import of {sources.origin}")
    with LogWriter.create(folder, header, seal_rows=None) as writer:
        return _run(merge, writer, progress)


def state_of(reader: LogReader) -> LogState:
    """What an import must know of a log that it goes on with."""
    known = reader.instruments_at(reader.last_seq + 1)
    return LogState(
        next_seq=reader.last_seq + 1,
        last_ts=reader.manifest.last_ts,
        next_conn=reader.connections,
        scales={(one.venue, one.symbol): (one.px_scale, one.qty_scale) for one in known},
    )


def _appending(folder: Path) -> tuple[LogWriter, LogState]:
    """A writer at the log's end and the state there, read while the writer keeps others out.

    Where the process of the log's last start died, the writer holds the row that says so, which appears with what is imported.
    """
    writer = LogWriter.append_to(folder, seal_rows=None)
    try:
        if writer.manifest.header.kind != "log":
            raise ConfigError(f"{folder} is a run; an import needs a log")
        with LogReader(folder) as reader:
            state = state_of(reader)
            rows = left_off(reader, state.last_ts, "import")
            writer.write("operator", tuples_to_table("operator", rows))
            return writer, msgspec.structs.replace(state, next_seq=state.next_seq + len(rows))
    except BaseException:  # an interrupt among them: the log must not stay locked
        writer.abort()
        raise


def _run(merge: Merge, writer: LogWriter, progress: Callable[[Progress], None] | None) -> ImportSummary:
    def sink(parts: dict[str, list[Row]]) -> None:
        for kind, rows in parts.items():
            writer.write(kind, tuples_to_table(kind, rows))
        writer.commit()

    merge.run(sink, progress)
    return merge.summary(str(writer.folder))


def _log_id(sources: Sources) -> str:
    """The identity of an imported log: the same sources give the same id, so that an import can be repeated."""
    text = "\n".join(f"{source.format} {source.name} {source.venue} {source.symbol}" for source in sources.sources)
    return hashlib.sha256(text.encode()).hexdigest()[:_ID_LENGTH]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
