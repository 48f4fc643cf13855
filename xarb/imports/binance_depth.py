"""Books of Binance's futures as its archive has them: T_DEPTH, one level a row, snapshots in one file and updates in another.

Layout of github.com/binance/binance-public-data ("Futures Orderbook Download"): rows of one message share time and update ids, a size replaces the one
before, and `pu` is the last id of the update before. Whether a book is in sync follows from the ids, by the rule of the live session
(`wires/binance.py`); the archive says of itself that it has holes, and each is a `gap`.
"""

from __future__ import annotations

import heapq
from operator import attrgetter
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from xarb.errors import ConfigError
from xarb.imports.binance_files import SNAP, UPDATE, Clock
from xarb.imports.textfile import TextFile
from xarb.wires.binance import FUTURES_RULE
from xarb.wires.continuity import BookSync, Update
from xarb.wires.events import APPLY, UNSYNCED, DepthEvent, RejectEvent, WireEvent, readable
from xarb.wires.intake import counter, sides
from xarb.wires.refusal import Refused

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from xarb.imports.sources import Source
    from xarb.imports.tape import Tape
    from xarb.wires.decimals import Listing

_UNPROVEN: Final = "symbol,timestamp,first_update_id,last_update_id,side,update_type,price,qty"
_HEADER: Final = f"{_UNPROVEN},pu"
_WIDTH: Final = 9
_TYPES: Final = {SNAP: "snap", UPDATE: "set"}
_NO_PREVIOUS: Final = {"-1", ""}  # of a snapshot
_ROWS_LIMIT: Final = 200_000  # of one message; a whole book of Binance's has some ten thousand

Item = tuple[int, WireEvent]


class _Head(NamedTuple):
    """What the rows of one message share: its time, ns, and its ids."""

    ts_event: int
    first: int
    last: int
    prev: int | None


class _Message:
    """Rows of one head, or without one what is no row of any. It is whole when no row that may have been of it was rejected."""

    __slots__ = ("file", "head", "is_whole", "levels", "rejects", "rows", "ts_recv")

    def __init__(
        self, file: _File, head: _Head | None, ts_recv: int, *, is_whole: bool, rejects: Sequence[RejectEvent] = ()
    ) -> None:
        self.file = file
        self.head = head
        self.ts_recv = ts_recv
        self.rejects = [*rejects]
        self.is_whole = is_whole
        self.levels: dict[str, list[tuple[str, str]]] = {"b": [], "a": []}
        self.rows: list[tuple[int, bytes]] = []


class Books:
    """The book of one instrument over any number of files."""

    def __init__(self, listing: Listing, tape: Tape) -> None:
        self._listing = listing
        self._tape = tape
        self._sync = BookSync(*listing.key, FUTURES_RULE)

    def read(self, source: Source, kind: str) -> Iterator[Item]:
        """The events of a file, and of the snapshots that its source names beside it, merged by time.

        Raises:
            ConfigError: a file cannot be used, or its header is not the layout.
        """
        tape = self._tape
        files = [_File(self._listing, source, kind)]
        if source.rest is not None:
            files.insert(0, _File(self._listing, source, SNAP, is_beside=True))
        for one in heapq.merge(*(file.messages(tape) for file in files), key=attrgetter("ts_recv")):
            for reject in one.rejects:
                yield max(tape.last, one.ts_recv), reject
            if one.head is not None and one.ts_recv < tape.last:
                for line, row in one.rows:
                    late = tape.backwards(one.ts_recv, line, row, source.venue)
                    assert late is not None, "compared above"
                    yield tape.last, one.file.placed(late)
                continue
            tape.last = max(tape.last, one.ts_recv)
            for event in self._events(one):
                yield tape.last, event

    def _events(self, one: _Message) -> list[WireEvent]:
        """What a message does to the book; one that is not whole moves nothing, and gives the book up if it is an update."""
        head, bids, asks = one.head, one.levels["b"], one.levels["a"]
        lost: list[WireEvent] = []
        if not one.is_whole and not one.file.is_snapshot:
            lost = self._sync.lose("a row of an update was rejected")
        if head is None or not (one.is_whole or bids or asks):
            return lost
        first, prev = (None, None) if one.file.is_snapshot else (head.first, head.prev)
        numbers = sides(self._listing, bids, asks)
        event = DepthEvent(self._listing, head.ts_event, head.last, first, prev, one.file.is_snapshot, UNSYNCED, *numbers)
        if not one.is_whole:
            return [*lost, event]
        if one.file.is_snapshot:
            return self._sync.snapshot(head.last, msgspec.structs.replace(event, verdict=APPLY))
        return self._sync.update(Update(head.first, head.last, head.prev, event))


class _File:
    """One file of rows."""

    def __init__(self, listing: Listing, source: Source, kind: str, *, is_beside: bool = False) -> None:
        self._listing = listing
        self._rule_ns = source.rule_ns
        self._path = source.rest_file if is_beside else source.file
        self._name = source.rest if is_beside and source.rest else source.name
        self._is_beside = is_beside
        self._type = _TYPES[kind]
        self.is_snapshot = kind == SNAP

    def messages(self, tape: Tape) -> Iterator[_Message]:
        """The messages of the file, in its order; a row whose head cannot be read spoils the one before it and the one behind it.

        Raises:
            ConfigError: it cannot be used, or its header is not the layout.
        """
        file, clock = TextFile(self._path), Clock(self._name)
        lines, start = file.lines(), tape.bytes_read
        self._check_header(next(lines, (1, b""))[1])
        held: _Message | None = None
        line, last, is_spoilt = 1, 0, False
        for line, raw in lines:
            if not self._is_beside:
                tape.bytes_read = start + file.bytes_read
            cells = raw.decode("utf-8", "backslashreplace").split(",")
            try:
                head = self._head(cells, clock, line)
            except Refused as refused:
                if held is not None:
                    held.is_whole = False
                    yield held
                held, is_spoilt = None, True
                yield _Message(self, None, last, is_whole=False, rejects=[self._reject(refused.rule, str(refused), raw, line)])
                continue
            if held is None or head != held.head:
                if held is not None:
                    yield held
                last = head.ts_event + self._rule_ns
                held, is_spoilt = _Message(self, head, last, is_whole=not is_spoilt), False
            self._take(held, cells, raw, line)
        if held is not None:
            held.is_whole = held.is_whole and not file.truncated
            yield held
        if file.truncated:
            detail = "the gzip file stops in the middle; the lines before are imported"
            cut = self.placed(RejectEvent("truncated_file", detail, None, *self._listing.key, line))
            yield _Message(self, None, last, is_whole=True, rejects=[cut])

    def _check_header(self, raw: bytes) -> None:
        header = raw.decode("utf-8", "backslashreplace")
        if header == _UNPROVEN:
            raise ConfigError(
                f"{self._name}: line 1 has no pu, without which nothing shows whether an update is missing; it is not read"
            )
        if header != _HEADER:
            raise ConfigError(f"{self._name}: line 1 is not the header of T_DEPTH ({_HEADER}): {header[:200]!r}")

    def _head(self, cells: list[str], clock: Clock, line: int) -> _Head:
        if len(cells) != _WIDTH:
            raise Refused("wrong_fields", f"{len(cells)} fields, the header has {_WIDTH}")
        if cells[0] != self._listing.instrument.native:
            raise Refused("unknown_instrument", f"symbol {cells[0][:40]!r} in a file of {self._listing.instrument.native}")
        first, last = counter(cells[2], "first_update_id"), counter(cells[3], "last_update_id")
        prev = None if cells[8] in _NO_PREVIOUS else counter(cells[8], "pu")
        try:
            return _Head(clock.nanos(cells[1], line), first, last, prev)
        except ValueError as error:
            raise Refused("bad_time", str(error)) from None

    def _take(self, held: _Message, cells: list[str], raw: bytes, line: int) -> None:
        """Put a row's level into its message, or the reject that it is."""
        if len(held.rows) + len(held.rejects) >= _ROWS_LIMIT:
            raise ConfigError(f"{self._name}: line {line} is of a message of more than {_ROWS_LIMIT} rows, which no book has")
        side, kind, price, qty = cells[4:8]
        try:
            if kind != self._type:
                raise Refused("unread_kind", f"update_type {kind[:40]!r} where {self._type} is read")
            if side not in held.levels:
                raise Refused("bad_side", f"side {side[:40]!r} is neither a nor b")
            self._listing.levels([(price, qty)])
        except (Refused, ValueError) as error:
            rule = error.rule if isinstance(error, Refused) else "bad_number"
            held.rejects.append(self._reject(rule, str(error), raw, line))
            held.is_whole = False
        else:
            held.levels[side].append((price, qty))
            held.rows.append((line, raw))

    def _reject(self, rule: str, detail: str, raw: bytes, line: int) -> RejectEvent:
        return self.placed(RejectEvent(rule, detail, readable(raw), *self._listing.key, line))

    def placed(self, reject: RejectEvent) -> RejectEvent:
        """A reject with its line; of the file beside the source's, which a row has no column for, the detail tells it."""
        if not self._is_beside:
            return reject
        return msgspec.structs.replace(reject, detail=f"{self._name}, line {reject.line}: {reject.detail}", line=None)
