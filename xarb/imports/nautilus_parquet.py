"""NautilusTrader catalog files: Parquet of QuoteTick, TradeTick and OrderBookDelta, told apart by their columns.

Layout of its Arrow schemas (`crates/serialization/src/arrow`): prices and sizes are little-endian integers of 8 bytes at 9 decimals or of 16 bytes at 16
decimals, whose true decimals stand in the metadata of the schema; times are ns. `ts_init`, when the object was made, is the receive time. Deltas
are a message up to the flag LAST or the next time; a message that clears the book or is flagged SNAPSHOT replaces it, a bare clear gives it up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from xarb.errors import ConfigError
from xarb.imports.levels import ASKS, BIDS, Item, LevelBook
from xarb.imports.quotes_parquet import BATCH
from xarb.log.smallfiles import UNREADABLE
from xarb.wires.events import (
    BUY,
    SELL,
    UNKNOWN,
    QuoteEvent,
    RejectEvent,
    TradeEvent,
    WireEvent,
    readable,
)
from xarb.wires.refusal import Refused
from xarb.wires.times import checked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from xarb.imports.sources import Source
    from xarb.imports.tape import Tape

_NUMBER: Final = "fixed-size number"
_U8: Final = pa.uint8()
_U64: Final = pa.uint64()
_TIMES: Final = {"ts_event": _U64, "ts_init": _U64}
LAYOUTS: Final[dict[str, dict[str, Any]]] = {
    "QuoteTick": {"bid_price": _NUMBER, "ask_price": _NUMBER, "bid_size": _NUMBER, "ask_size": _NUMBER, **_TIMES},
    "TradeTick": {"price": _NUMBER, "size": _NUMBER, "aggressor_side": _U8, "trade_id": pa.string(), **_TIMES},
    "OrderBookDelta": {
        "action": _U8,
        "side": _U8,
        "price": _NUMBER,
        "size": _NUMBER,
        "order_id": _U64,
        "flags": _U8,
        "sequence": _U64,
        **_TIMES,
    },
}
_SCALES: Final = {8: 9, 16: 16}  # decimals of the fixed-point integers, by their bytes
_AGGRESSORS: Final = {0: UNKNOWN, 1: BUY, 2: SELL}
ADD: Final = 1
UPDATE: Final = 2
DELETE: Final = 3
CLEAR: Final = 4
LAST: Final = 128
SNAPSHOT: Final = 32
_SIDES: Final = {1: BIDS, 2: ASKS}

Row = dict[str, Any]


class Reader:
    """Reads the files of one instrument; whether its book is in sync is kept from file to file."""

    def __init__(self, source: Source, tape: Tape) -> None:
        self._tape = tape
        self._listing = tape.listings.require(source.venue or "", source.symbol or "")
        self._book = LevelBook(self._listing)

    def read(self, source: Source) -> Iterator[Item]:
        """The events of one file with their receive times; the line of a reject is the row, from 1.

        Raises:
            ConfigError: the file cannot be used, or is of another layout.
        """
        tape, start, line = self._tape, self._tape.bytes_read, 0
        try:
            with pq.ParquetFile(source.file, pre_buffer=False) as file:
                kind, decimals = _layout(source, file.schema_arrow)
                for batch in file.iter_batches(BATCH):
                    for row in batch.to_pylist():
                        line += 1
                        yield from self._row(kind, row, decimals, line)
                yield from self._ended()
                tape.bytes_read = start + source.file.stat().st_size
        except UNREADABLE as error:
            raise ConfigError(f"{source.file}: cannot be read as Parquet: {error}") from None

    def _row(self, kind: str, row: Row, decimals: dict[str, int], line: int) -> Iterator[Item]:
        """What a row says, after the message that it ends."""
        tape, payload = self._tape, ", ".join(f"{name}={cell!r}" for name, cell in row.items())
        is_delta = kind == "OrderBookDelta"
        try:
            ts_event, ts_recv = checked(row["ts_event"] or 0), checked(row["ts_init"] or 0)
            flaw = tape.backwards(ts_recv, line, payload, self._listing.key[0])
        except ValueError as error:
            flaw = self._reject("bad_time", str(error), payload, line)
        if flaw is not None:
            yield from self._book.rejected(tape.last, flaw) if is_delta else [(tape.last, flaw)]
            return
        if is_delta:
            yield from self._placed(ts_event, ts_recv, row)
        try:
            texts = {name: _text(row[name], places) for name, places in decimals.items()}
            if kind == "QuoteTick":
                yield ts_recv, self._quote(ts_event, texts)
            elif kind == "TradeTick":
                yield ts_recv, self._trade(ts_event, row, texts)
            else:
                self._delta(row, texts)
        except (Refused, ValueError) as error:
            flaw = self._reject(error.rule if isinstance(error, Refused) else "bad_number", str(error), payload, line)
            yield from self._book.rejected(ts_recv, flaw, is_placed=True) if is_delta else [(ts_recv, flaw)]
        if is_delta and (row["flags"] or 0) & LAST:
            yield from self._ended()

    def _quote(self, ts_event: int, texts: dict[str, str]) -> WireEvent:
        numbers = self._listing.quote(*(texts[name] for name in ("bid_price", "bid_size", "ask_price", "ask_size")))
        return QuoteEvent(self._listing, ts_event, None, *numbers, *self._listing.scales)

    def _trade(self, ts_event: int, row: Row, texts: dict[str, str]) -> WireEvent:
        aggressor, trade_id = _AGGRESSORS.get(row["aggressor_side"]), row["trade_id"] or None
        if aggressor is None:
            raise Refused("bad_side", f"aggressor_side {row['aggressor_side']} is none of {sorted(_AGGRESSORS)}")
        prices, qtys = self._listing.levels([(texts["price"], texts["size"])])
        if trade_id is not None and self._tape.repeats(self._listing, trade_id):
            raise Refused("duplicate_trade", f"trade id {trade_id} was seen already")
        return TradeEvent(self._listing, ts_event, None, trade_id, prices[0], qtys[0], aggressor, *self._listing.scales)

    def _placed(self, ts_event: int, ts_recv: int, row: Row) -> Iterator[Item]:
        """Put a delta into its message, after the message that it ends."""
        book, key = self._book, (ts_event, ts_recv)
        if book.held is not None and book.held.key != key:
            yield from self._ended()
        yield from book.row(key, ts_event, ts_recv, is_snapshot=False)
        assert book.held is not None, "the row was placed in it"
        book.held.is_snapshot = book.held.is_snapshot or row["action"] == CLEAR or bool((row["flags"] or 0) & SNAPSHOT)

    def _delta(self, row: Row, texts: dict[str, str]) -> None:
        """Take the level of a delta."""
        action, side = row["action"], _SIDES.get(row["side"])
        if action == CLEAR:
            return
        if action not in {ADD, UPDATE, DELETE} or row["order_id"]:
            raise Refused("unread_kind", "add, update, delete and clear of price levels are read, not of single orders")
        if side is None:
            raise Refused("bad_side", f"side {row['side']} is neither buy nor sell")
        self._book.add(side, (texts["price"], "0" if action == DELETE else texts["size"]))

    def _ended(self) -> Iterator[Item]:
        """The event of the message at hand, and the gap where it clears the book and fills it with nothing."""
        held = self._book.held
        if held is not None and held.is_snapshot and not (held.levels[BIDS] or held.levels[ASKS]):
            yield from self._book.lose(held.ts_recv, "the book was cleared", is_placed=True)
        yield from self._book.ended()

    def _reject(self, rule: str, detail: str, payload: str, line: int) -> RejectEvent:
        return RejectEvent(rule, detail, readable(payload), *self._listing.key, line)


def _layout(source: Source, schema: Any) -> tuple[str, dict[str, int]]:
    """Which layout a file is of, and the stated decimals of its fixed-point columns.

    Raises:
        ConfigError: none of the layouts, or without the metadata.
    """
    kind = next((kind for kind, columns in LAYOUTS.items() if schema.names == list(columns)), None)
    if kind is None or not all(_fits(schema.field(name).type, wanted) for name, wanted in LAYOUTS[kind].items()):
        shown = ", ".join(f"{field.name} {field.type}" for field in schema)
        raise ConfigError(f"{source.file}: of no layout of NautilusTrader that is read ({', '.join(LAYOUTS)}): {shown}")
    found = {}
    for name, wanted in LAYOUTS[kind].items():
        if wanted == _NUMBER:
            key = b"price_precision" if name.endswith("price") else b"size_precision"
            text = (schema.metadata or {}).get(key, b"")
            if not (text.isdigit() and int(text) <= _SCALES[schema.field(name).type.byte_width]):
                raise ConfigError(
                    f"{source.file}: {key.decode()} of the schema is {text.decode(errors='backslashreplace')!r}, no number of decimals"
                )
            found[name] = int(text)
    return kind, found


def _fits(kind: Any, wanted: Any) -> bool:
    if wanted == _NUMBER:
        return pa.types.is_fixed_size_binary(kind) and kind.byte_width in _SCALES
    return bool(kind == wanted)


def _text(raw: bytes | None, places: int) -> str:
    """A fixed-point number as decimal text.

    Raises:
        ValueError: null, or finer than the stated decimals.
    """
    if raw is None:
        raise ValueError("a number is null")
    number, spare = int.from_bytes(raw, "little", signed=True), 10 ** (_SCALES[len(raw)] - places)
    if number % spare:
        raise ValueError(f"{number}e-{_SCALES[len(raw)]} has more than {places} decimals")
    return f"{number // spare}e-{places}"
