"""hftbacktest event files: one structured array `data` in an npz, of L2 depth and trades. Nothing in it is unpickled.

Layout of hftbacktest 2 (its `types.py`, `event_dtype`): the low byte of `ev` is the kind, the bits from 28 up say the side and who sees the row, exchange or
local. A row that both see at other places of the order stands twice; the local one is read. Rows of equal times, one behind the other, are one message. A
message of snapshot rows replaces the book: it names both sides, or the book is given up until one does. Prices and sizes are floats of stated decimals.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.lib import format as npy

from xarb.errors import ConfigError
from xarb.imports.levels import ASKS, BIDS, Item, LevelBook
from xarb.imports.quotes_parquet import decimal_of_float
from xarb.imports.zipped import member_of
from xarb.wires.events import (
    BUY,
    SELL,
    UNKNOWN,
    RejectEvent,
    TradeEvent,
    WireEvent,
)
from xarb.wires.times import checked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from xarb.imports.sources import Source
    from xarb.imports.tape import Tape

EVENT: Final = np.dtype(
    [
        ("ev", "<u8"),
        ("exch_ts", "<i8"),
        ("local_ts", "<i8"),
        ("px", "<f8"),
        ("qty", "<f8"),
        ("order_id", "<u8"),
        ("ival", "<i8"),
        ("fval", "<f8"),
    ]
)
DEPTH: Final = 1
TRADE: Final = 2
CLEAR: Final = 3
SNAPSHOT: Final = 4
BUY_SIDE: Final = 1 << 29
SELL_SIDE: Final = 1 << 28
LOCAL: Final = 1 << 30
EXCHANGE: Final = 1 << 31
_KIND: Final = 0xFF
_CHUNK: Final = 65_536  # rows
_BOOK_KINDS: Final = frozenset({DEPTH, CLEAR, SNAPSHOT, 10, 11, 12, 13})  # what changes a book, single orders among it
_SIDES: Final = {BUY_SIDE: BIDS, SELL_SIDE: ASKS}
_AGGRESSORS: Final = {BUY_SIDE: BUY, SELL_SIDE: SELL, 0: UNKNOWN}


class Reader:
    """Reads the files of one instrument; whether its book is in sync is kept from file to file."""

    def __init__(self, source: Source, tape: Tape) -> None:
        self._tape = tape
        self._listing = tape.listings.require(source.venue or "", source.symbol or "")
        self._decimals = source.price_decimals or 0, source.qty_decimals or 0
        self._book = LevelBook(self._listing)
        self._named: set[int] = set()  # sides of which the message at hand says anything

    def read(self, source: Source) -> Iterator[Item]:
        """The events of one file with their receive times; the line of a reject is the row, from 1.

        Raises:
            ConfigError: the file cannot be used, or its array is of another layout.
        """
        book = self._book
        for line, row in _rows(source, self._tape):
            ev, ts_event, ts_recv = row[:3]
            if ev & EXCHANGE and not ev & LOCAL:
                continue  # the same event stands where the receiver saw it
            kind = ev & _KIND
            flaw = self._flaw(row, line)
            if flaw is not None:
                yield from book.rejected(self._tape.last, flaw) if kind in _BOOK_KINDS else [(self._tape.last, flaw)]
                continue
            key = ts_event, ts_recv, kind in {CLEAR, SNAPSHOT}
            if book.held is not None and (kind == TRADE or book.held.key != key):
                yield from self._ended()
            if kind == TRADE:
                yield self._tape.last, self._trade(row, line)
                continue
            yield from book.row(key, ts_event or None, ts_recv, is_snapshot=key[2])
            flaw = self._level(row, line)
            if flaw is not None:
                yield from book.rejected(self._tape.last, flaw, is_placed=True)
        yield from self._ended()

    def _flaw(self, row: tuple[Any, ...], line: int) -> RejectEvent | None:
        """What forbids to use a row; a row without flaw moves the clock."""
        ev, ts_event, ts_recv = row[:3]
        side = ev & (BUY_SIDE | SELL_SIDE)
        if not ev & LOCAL:
            return self._reject("bad_flag", f"ev {ev:#x} says neither exchange nor local", row, line)
        if ev & _KIND not in {DEPTH, TRADE, CLEAR, SNAPSHOT}:
            return self._reject("unread_kind", f"kind {ev & _KIND} is none of depth, trade, clear, snapshot", row, line)
        if side not in _AGGRESSORS or (side == 0 and ev & _KIND != TRADE):
            return self._reject("bad_side", f"ev {ev:#x} names {'both sides' if side else 'no side'}", row, line)
        if ts_event == ts_recv == self._tape.last == 0 and ev & _KIND in {CLEAR, SNAPSHOT}:
            return None  # the book at the end of the day before, which takes the first time that follows
        try:
            checked(ts_event)
            late = self._tape.backwards(checked(ts_recv), line, _text(row), self._listing.key[0])
        except ValueError as error:
            return self._reject("bad_time", str(error), row, line)
        return late

    def _numbers(self, row: tuple[Any, ...]) -> tuple[str, str]:
        """Price and size as decimal text.

        Raises:
            ValueError: one is no number of the stated decimals, the size is negative, or the instrument cannot hold it.
        """
        pair = decimal_of_float(row[3], self._decimals[0]), decimal_of_float(row[4], self._decimals[1])
        if row[4] < 0:
            raise ValueError(f"the size {row[4]} is negative")
        self._listing.levels([pair])
        return pair

    def _level(self, row: tuple[Any, ...], line: int) -> RejectEvent | None:
        """Take the level of a row, or say what is wrong with its numbers."""
        side = row[0] & (BUY_SIDE | SELL_SIDE)
        self._named.add(side)
        if row[0] & _KIND == CLEAR:
            return None
        try:
            self._book.add(_SIDES[side], self._numbers(row))
        except ValueError as error:
            return self._reject("bad_number", str(error), row, line)
        return None

    def _trade(self, row: tuple[Any, ...], line: int) -> WireEvent:
        try:
            prices, qtys = self._listing.levels([self._numbers(row)])
        except ValueError as error:
            return self._reject("bad_number", str(error), row, line)
        aggressor = _AGGRESSORS[row[0] & (BUY_SIDE | SELL_SIDE)]
        return TradeEvent(self._listing, row[1], None, None, prices[0], qtys[0], aggressor, *self._listing.scales)

    def _ended(self) -> Iterator[Item]:
        """The event of the message at hand; half a snapshot gives the book up."""
        held, named = self._book.held, self._named
        self._named = set()
        if held is not None and held.is_snapshot and len(named) < len(_SIDES):
            yield from self._book.lose(held.ts_recv, "a snapshot of one side only", is_placed=True)
        yield from self._book.ended()

    def _reject(self, rule: str, detail: str, row: tuple[Any, ...], line: int) -> RejectEvent:
        return RejectEvent(rule, detail, _text(row), *self._listing.key, line)


def _text(row: tuple[Any, ...]) -> str:
    return ", ".join(f"{name}={cell!r}" for name, cell in zip(EVENT.names or (), row, strict=True))


def _rows(source: Source, tape: Tape) -> Iterator[tuple[int, tuple[Any, ...]]]:
    """The rows of the array with their numbers from 1, a chunk at a time.

    Raises:
        ConfigError: no npz, damaged, or an array of another layout.
    """
    start = tape.bytes_read
    try:
        size = source.file.stat().st_size
        with source.file.open("rb") as archive, member_of(source.file, archive, "data.npy") as file:
            left = total = _length(source, file)
            while left:
                wanted = min(left, _CHUNK)
                block = file.read(wanted * EVENT.itemsize)
                if len(block) != wanted * EVENT.itemsize:
                    raise ConfigError(f"{source.file}: the array ends before its {total} rows")
                yield from enumerate(np.frombuffer(block, EVENT).tolist(), total - left + 1)
                left -= wanted
                tape.bytes_read = start + size * (total - left) // total
            if file.read(1):
                raise ConfigError(f"{source.file}: bytes follow the {total} rows of the array")
    except OSError as error:
        raise ConfigError(f"{source.file}: cannot be read: {error.strerror or error}") from None


def _length(source: Source, file: Any) -> int:
    """Rows of the array, after its header.

    Raises:
        ConfigError: no array of numpy, or of another layout.
    """
    try:
        version = npy.read_magic(file)
        header = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(version)
        if header is None:
            raise ConfigError(f"{source.file}: npy of version {version[0]}.{version[1]}; 1.0 and 2.0 can be read")
        shape, _, dtype = header(file)
    except ValueError as error:
        raise ConfigError(f"{source.file}: data.npy is no array of numpy: {error}") from None
    if dtype != EVENT or len(shape) != 1:
        raise ConfigError(f"{source.file}: an array of {dtype} and shape {shape}, not of hftbacktest's events: {EVENT}")
    return int(shape[0])
