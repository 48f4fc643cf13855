"""Crypto Lake files: Parquet of the tables trades, book, level_1 and book_delta_v2, told apart by their columns.

Columns as they lie in its store, and under the names that its client gives them (lake-api, `load_data`): `timestamp` or `origin_time` is the exchange's time, not
positive where it gave none, `receipt_timestamp` or `received_time` ours, both integers of ns or timestamps. Prices and sizes are floats of stated decimals. Deltas are sizes at
their prices, 0 removes one; rows of equal times are one message. No row of them says that a book begins, nor does a day begin with one: they are recorded and move none.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from xarb.errors import ConfigError
from xarb.imports.levels import ASKS, BIDS, Item, LevelBook, check_order
from xarb.imports.quotes_parquet import BATCH, decimal_of_float
from xarb.log.smallfiles import UNREADABLE
from xarb.model.units import INT64_MAX
from xarb.wires.events import BUY, SELL, BookEvent, QuoteEvent, RejectEvent, TradeEvent, WireEvent, readable
from xarb.wires.intake import sides
from xarb.wires.refusal import Refused
from xarb.wires.times import UNIT_SCALES, checked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from xarb.imports.sources import Source
    from xarb.imports.tape import Tape

_OURS: Final = {  # a column of the store: the client's name, which this file uses
    "timestamp": "origin_time",
    "receipt_timestamp": "received_time",
    "amount": "quantity",
    "id": "trade_id",
}
_TIMES: Final = frozenset({"origin_time", "received_time"})
_TRADES: Final = _TIMES | {"side", "quantity", "price", "trade_id"}
_DELTAS: Final = _TIMES | {"sequence_number", "side_is_bid", "price", "size"}
_BOOK: Final = _TIMES | {"sequence_number"}
_FURTHER: Final = frozenset({"exchange", "symbol", "dt", "__index_level_0__"})  # partitions of the store, and what pandas adds
_LEVEL: Final = re.compile(r"(bid|ask)_(\d{1,2})_(price|size)\Z")
DEPTH: Final = 20
_NAMES: Final = {side: [(f"{side}_{n}_price", f"{side}_{n}_size") for n in range(DEPTH)] for side in ("bid", "ask")}
_AGGRESSORS: Final = {"buy": BUY, "sell": SELL}

Row = dict[str, Any]
_Read = Callable[[int | None, Row], WireEvent]


class Reader:
    """Reads the files of one instrument."""

    def __init__(self, source: Source, tape: Tape) -> None:
        self._tape = tape
        self._listing = tape.listings.require(source.venue or "", source.symbol or "")
        self._decimals = source.price_decimals or 0, source.qty_decimals or 0
        self._deltas = LevelBook(self._listing)
        self._named: tuple[Any, Any] | None = None  # exchange and symbol of the first row

    def read(self, source: Source) -> Iterator[Item]:
        """The events of one file with their receive times; the line of a reject is the row, from 1.

        Raises:
            ConfigError: the file cannot be used, or is of another layout.
        """
        tape, start, line = self._tape, self._tape.bytes_read, 0
        try:
            with pq.ParquetFile(source.file, pre_buffer=False) as file:
                kind, names = _layout(source, file.schema_arrow)
                read = {"trades": self._trade, "book": self._book, "level_1": self._quote}.get(kind)
                for batch in file.iter_batches(BATCH):
                    columns = [_cells(column) for column in batch.columns]
                    for cells in zip(*columns, strict=True):
                        line += 1
                        yield from self._row(dict(zip(names, cells, strict=True)), read, line)
                yield from self._deltas.ended()
                tape.bytes_read = start + source.file.stat().st_size
        except UNREADABLE as error:
            raise ConfigError(f"{source.file}: cannot be read as Parquet: {error}") from None

    def _row(self, row: Row, read: _Read | None, line: int) -> Iterator[Item]:
        """What a row says."""
        tape = self._tape
        try:
            ts_event, ts_recv = self._times(row)
            late = tape.backwards(ts_recv, line, "", self._listing.key[0])
            if late is not None:
                raise Refused(late.rule, late.detail)
            if read is None:
                yield from self._delta(ts_event, ts_recv, row)
            else:
                yield ts_recv, read(ts_event, row)
        except (Refused, ValueError) as error:
            rule = error.rule if isinstance(error, Refused) else "bad_number"
            flaw = RejectEvent(rule, str(error), readable(_text(row)), *self._listing.key, line)
            yield from self._deltas.rejected(tape.last, flaw) if read is None else [(tape.last, flaw)]

    def _times(self, row: Row) -> tuple[int | None, int]:
        """The exchange's time, if it gave one, and the receive time, ns.

        Raises:
            Refused: a time that is none, or another instrument than that of the first row.
        """
        named = row.get("exchange"), row.get("symbol")
        self._named = self._named or named
        if named != self._named:
            raise Refused(
                "unknown_instrument", f"a row of {named[1]} on {named[0]} in a file of {self._named[1]} on {self._named[0]}"
            )
        origin = row["origin_time"]
        try:
            return (checked(origin) if origin is not None and origin > 0 else None), checked(row["received_time"] or 0)
        except ValueError as error:
            raise Refused("bad_time", str(error)) from None

    def _trade(self, ts_event: int | None, row: Row) -> WireEvent:
        aggressor = _AGGRESSORS.get(row["side"])
        if aggressor is None:
            raise Refused("bad_side", f"side {row['side']!r} is neither buy nor sell")
        prices, qtys = self._listing.levels([self._level(row["price"], row["quantity"])])
        trade_id = None if row["trade_id"] is None else str(row["trade_id"]) or None
        if trade_id is not None and self._tape.repeats(self._listing, trade_id):
            raise Refused("duplicate_trade", f"trade id {trade_id} was seen already")
        return TradeEvent(self._listing, ts_event, None, trade_id, prices[0], qtys[0], aggressor, *self._listing.scales)

    def _book(self, ts_event: int | None, row: Row) -> WireEvent:
        bids, asks = self._side(row, "bid"), self._side(row, "ask")
        numbers = sides(self._listing, bids, asks)
        try:
            check_order(numbers[0], numbers[2])
        except ValueError as error:
            raise Refused("unsorted_book", str(error)) from None
        return BookEvent(self._listing, ts_event, _counter(row), *numbers)

    def _quote(self, ts_event: int | None, row: Row) -> WireEvent:
        bids, asks = self._side(row, "bid"), self._side(row, "ask")
        if not bids and not asks:
            raise Refused("empty_quote", "neither bid nor ask")
        bid, bid_qty = bids[0] if bids else (None, None)
        ask, ask_qty = asks[0] if asks else (None, None)
        numbers = self._listing.quote(bid, bid_qty, ask, ask_qty)
        return QuoteEvent(self._listing, ts_event, _counter(row), *numbers, *self._listing.scales)

    def _delta(self, ts_event: int | None, ts_recv: int, row: Row) -> Iterator[Item]:
        """Put a delta into its message, after the message that it ends."""
        book = self._deltas
        if row["side_is_bid"] is None:
            raise Refused("bad_side", "side_is_bid is null")
        level, number = self._level(row["price"], row["size"], is_removal=row["size"] == 0), _counter(row)
        yield from book.row((ts_event, ts_recv), ts_event, ts_recv, is_snapshot=False)
        book.add(BIDS if row["side_is_bid"] else ASKS, level)
        assert book.held is not None, "the row was placed in it"
        book.held.venue_seq = number

    def _side(self, row: Row, side: str) -> list[tuple[str, str]]:
        """The levels of one side; absent ones may only follow the last.

        Raises:
            ValueError: a number that cannot be used, or a level behind an absent one.
        """
        pairs = ((row.get(price), row.get(size)) for price, size in _NAMES[side])
        cells = [None if _is_absent(price) and _is_absent(size) else (price, size) for price, size in pairs]
        while cells and cells[-1] is None:
            cells.pop()
        if None in cells:
            raise ValueError(f"level {cells.index(None)} of the {side}s is absent before one that is there")
        return [self._level(*cell) for cell in cells if cell is not None]

    def _level(self, price: float | None, size: float | None, *, is_removal: bool = False) -> tuple[str, str]:
        """Price and size as decimal text.

        Raises:
            ValueError: one is absent, no number of the stated decimals, or a size that no level has.
        """
        if price is None or size is None:
            raise ValueError("a price or a size is null")
        if size < 0 or (size == 0 and not is_removal):
            raise ValueError(f"the size {size} is not positive")
        return decimal_of_float(price, self._decimals[0]), decimal_of_float(size, self._decimals[1])


def _is_absent(cell: float | None) -> bool:
    return cell is None or math.isnan(cell)


def _counter(row: Row) -> int | None:
    """The exchange's counter; one that is not positive is none.

    Raises:
        ValueError: it has more than 63 bits.
    """
    number: int | None = row["sequence_number"]
    if number is not None and number > INT64_MAX:
        raise ValueError(f"sequence_number {number} has more than 63 bits")
    return number if number is not None and number > 0 else None


def _text(row: Row) -> str:
    return ", ".join(f"{name}={cell!r}" for name, cell in row.items() if cell is not None)


def _cells(column: Any) -> list[Any]:
    """Python values; timestamps are integers of ns."""
    if not pa.types.is_timestamp(column.type):
        return column.to_pylist()  # type: ignore[no-any-return]  # pyarrow ships no types
    factor = 10 ** UNIT_SCALES[column.type.unit]
    return [None if cell is None else cell * factor for cell in column.cast(pa.int64()).to_pylist()]


def _layout(source: Source, schema: Any) -> tuple[str, list[str]]:
    """Which table a file is of, and the client's names of its columns.

    Raises:
        ConfigError: none of the tables, or a column of another type.
    """
    names = [_OURS.get(name, name) for name in schema.names]
    known = set(names) - _FURTHER
    levels = {name for name in known if _LEVEL.match(name)}
    depth = len(levels) // 4
    whole = {f"{side}_{number}_{what}" for side in ("bid", "ask") for number in range(depth) for what in ("price", "size")}
    kind = {_TRADES: "trades", _DELTAS: "book_delta_v2"}.get(frozenset(known), "")
    if known - levels == _BOOK and levels == whole and depth in {1, DEPTH}:
        kind = "level_1" if depth == 1 else "book"
    wrong = [field for field, name in zip(schema, names, strict=True) if not _fits(name, field.type)]
    if not kind or wrong or len(set(names)) < len(names):
        shown = ", ".join(f"{field.name} {field.type}" for field in wrong or schema)
        tables = "trades, book, level_1, book_delta_v2"
        raise ConfigError(f"{source.file}: of no table of Crypto Lake that is read ({tables}): {readable(shown[:500])}")
    return kind, names


def _fits(name: str, kind: Any) -> bool:
    """Whether a column is of a type that its meaning can have."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    is_whole = bool(pa.types.is_integer(kind))
    is_text = bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
    if name in _TIMES:
        return is_whole or bool(pa.types.is_timestamp(kind))
    if name == "trade_id":
        return is_whole or is_text
    if name in {"side", "exchange", "symbol"}:
        return is_text
    if name == "side_is_bid":
        return bool(pa.types.is_boolean(kind))
    if name == "sequence_number":
        return is_whole
    return name in _FURTHER or bool(pa.types.is_float64(kind))
