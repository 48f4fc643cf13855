"""The verb `log rederive`: decode the raw messages of a log again, with the decoders of today, into a new log.

What came out of a message when it was recorded stands right behind it in the log, with the same time and connection. That is left out and
made anew; everything else (the messages themselves, connections opening and closing, readings, rows of feeds that have no raw messages) is
copied. With decoders that did not change the new log's rows are those of the old one.
"""

from __future__ import annotations

import hashlib
import heapq
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from xarb.console import Advance, Table
from xarb.errors import ConfigError, LogError, Refused
from xarb.log.files import Files
from xarb.log.manifest import Header, Manifest
from xarb.log.rows import tuples_of, tuples_to_table
from xarb.log.writer import LogWriter
from xarb.model.columns import CONNECTION_EVENTS, CONTRACT_KINDS, INPUTS, INSTRUMENT_KINDS, TABLES
from xarb.model.instrument import Instrument, instrument_fields
from xarb.provenance import code_digest
from xarb.wires.decimals import Listing
from xarb.wires.events import LinkEvent, RejectEvent
from xarb.wires.exchanges import WIRES
from xarb.wires.rows import Link, Row, RowBuilder
from xarb.wires.session import Session

_DERIVED: Final = ("quotes", "books", "book_deltas", "trades", "marks", "connections", "rejects")
_LEFT_OUT: Final = ("starts", "timers")  # of a fold over the old rows: they name seqs, and outputs that a new log has not
_CARRIED: Final = re.compile(r"wire=(\S+) channels=(\S*) symbols=(\S+)")
_ROWS: Final = 16_384
_FLUSH_ROWS: Final = 131_072
_OPENED, _ENDS = CONNECTION_EVENTS.index("opened"), tuple(CONNECTION_EVENTS.index(name) for name in ("lost", "closed"))
_BY_US: Final = (_OPENED, *_ENDS)
_NAMES: Final = {kind: [column.name for column in TABLES[kind].columns] for kind in INPUTS}


class Rederived(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it: rows by kind in the old log and in the new one, and how many messages were decoded."""

    log: str
    frames: int
    before: dict[str, int]
    after: dict[str, int]


def rederive(folder: Path, into: Path, *, advance: Advance | None = None) -> Rederived:
    """Decode a log's raw messages again into a new log. Outputs of live trading are left out: they rest on the old rows.

    Raises:
        ConfigError: the folder is no log, has no raw messages, or the new one is there already.
        LogError: the log is damaged.
        Refused: a part of it was pruned.
    """
    found = Manifest(folder)
    if found.header.kind != "log":
        raise ConfigError(f"{folder} is a run: it has no raw messages")
    if not any(entry.kind == "frames" for entry in found.files):
        raise ConfigError(f"{folder} has no raw messages: it was imported, or recorded without frames")
    if found.gone:
        raise Refused(
            f"{folder}: {len(found.gone)} of its files were pruned or archived; only a whole log, or an archive, is rederived"
        )
    before = {kind: count for kind in INPUTS if (count := sum(one.rows for one in found.files if one.kind == kind))}
    log_id = hashlib.sha256(f"{found.header.log_id} {found.head} {code_digest()}".encode()).hexdigest()[:16]
    header = Header(kind="log", log_id=log_id, origin=f"rederived from {found.header.log_id} at {found.head}")
    again = Again()
    with LogWriter.create(into, header) as writer:
        for kind, row in rows_in_order(folder, found):
            again.take(kind, row)
            if again.builder.held >= _FLUSH_ROWS:
                _flush(writer, again.builder)
                if advance is not None:
                    advance(again.builder.next_seq, sum(before.values()))
        _flush(writer, again.builder)
    after = {kind: count for kind, count in again.builder.counts.items() if count}
    return Rederived(log=str(into), frames=again.frames, before=before, after=after)


def rows_in_order(folder: Path, found: Manifest) -> Iterator[tuple[str, Row]]:
    """Every input row of a log with its kind, in the order of seq, as tuples in column order.

    Raises:
        LogError: a file was changed.
    """
    files = Files(folder)
    try:
        streams = (_stream(files, found, kind) for kind in INPUTS)
        for _, kind, row in heapq.merge(*streams, key=lambda one: one[0]):
            yield kind, row
    finally:
        files.close()


def _stream(files: Files, found: Manifest, kind: str) -> Iterator[tuple[int, str, Row]]:
    for entry in sorted((one for one in found.files if one.kind == kind), key=lambda one: one.first):
        for batch in files.batches(entry, _NAMES[kind], _ROWS):
            for row in tuples_of(kind, batch):
                yield row[0], kind, row


def _flush(writer: LogWriter, builder: RowBuilder) -> None:
    for kind, rows in builder.take().items():
        writer.write(kind, tuples_to_table(kind, rows))
    writer.commit()


class Again:
    """Takes the rows of a log in order and gives those of the new one to a builder.

    Attributes:
        builder: holds the new rows.
        frames: messages decoded.
    """

    def __init__(self) -> None:
        self.builder = RowBuilder()
        self.frames = 0
        self._listings: dict[tuple[str, str], Listing] = {}
        self._links: dict[int, tuple[Link, Session]] = {}
        self._frame: tuple[int, int] | None = None  # ts and connection of the message whose rows are made anew

    def take(self, kind: str, row: Row) -> None:
        """The next row of the old log.

        Raises:
            LogError: a connection carries what cannot be decoded any more.
        """
        if self._is_derived(kind, row):
            return
        if kind in _LEFT_OUT:
            return
        self.builder.copy(kind, row)
        if kind == "frames":
            self._decode(row)
            return
        self._frame = None
        if kind == "instruments":
            self._know(dict(zip(_NAMES[kind], row, strict=True)))
        elif kind == "connections":
            self._connect(dict(zip(_NAMES[kind], row, strict=True)))

    def _is_derived(self, kind: str, row: Row) -> bool:
        """Whether a row came out of the last message."""
        if self._frame is None or row[1] != self._frame[0]:
            return False
        if kind == "instruments":
            return True
        if kind not in _DERIVED or row[_NAMES[kind].index("conn")] != self._frame[1]:
            return False
        return kind != "connections" or row[_NAMES[kind].index("event")] not in _BY_US

    def _know(self, values: dict[str, Any]) -> None:
        values |= {"kind": INSTRUMENT_KINDS[values["kind"]], "contract": CONTRACT_KINDS[values["contract"]]}
        one = Instrument(**instrument_fields(values))
        self._listings[one.venue, one.symbol] = Listing(one)  # the row has the log's scales

    def _connect(self, values: Mapping[str, Any]) -> None:
        conn, venue = values["conn"], values["venue"]
        if values["event"] in _ENDS:
            self._links.pop(conn, None)
        if values["event"] != _OPENED:
            return
        found = _CARRIED.fullmatch(values["detail"] or "")
        if found is None:
            return  # a feed without raw messages of ours
        wire = WIRES.get(found[1])
        if wire is None:
            raise LogError(f"seq {values['seq']}: no decoder for {found[1]} any more")
        unknown = [symbol for symbol in found[3].split(",") if (venue, symbol) not in self._listings]
        if unknown:
            raise LogError(f"seq {values['seq']}: no row of instruments for {', '.join(unknown)} on {venue} before its connection")
        listings = [self._listings[venue, symbol] for symbol in found[3].split(",")]
        session = wire.session(listings, [name for name in found[2].split(",") if name])
        session.open(values["ts_recv"])
        self._links[conn] = Link(conn, venue, values["source"], epoch=values["epoch"]), session

    def _decode(self, row: Row) -> None:
        _, ts, conn, venue, native, payload = row
        if conn not in self._links:
            self._frame = None
            return
        link, session = self._links[conn]
        self._frame = ts, conn
        self.frames += 1
        for event in session.receive(payload, native):
            if isinstance(event, LinkEvent | RejectEvent) and event.venue != venue:
                event = msgspec.structs.replace(event, venue=venue)  # noqa: PLW2901  # under its name in this log
            self.builder.add(ts, link, event)
        session.asks()


def rederived_tables(done: Rederived) -> list[Table]:
    """What came of it, as tables."""
    kinds = [kind for kind in INPUTS if kind in done.before or kind in done.after]
    rows = tuple(
        (
            kind,
            f"{done.before.get(kind, 0)}",
            f"{done.after.get(kind, 0)}",
            f"{done.after.get(kind, 0) - done.before.get(kind, 0):+d}",
        )
        for kind in kinds
    )
    return [
        Table("Rederived", ("what", "value"), (("log", done.log), ("messages decoded", f"{done.frames}"))),
        Table("Rows by kind", ("kind", "before", "after", "more"), rows),
    ]
