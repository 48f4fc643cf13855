"""Tardis CSV files: trades, quotes, incremental_book_L2 and book_snapshot_N, told apart by their header.

Layouts of the Tardis documentation ("Downloadable CSV files"): times are microseconds, `local_timestamp` is the receive time. Rows of
an incremental book that share exchange, symbol, both times and `is_snapshot` are one message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from xarb.errors import ConfigError
from xarb.imports.levels import ASKS, BIDS, Item, LevelBook
from xarb.imports.textfile import TextFile
from xarb.wires.events import (
    BUY,
    SELL,
    UNKNOWN,
    BookEvent,
    QuoteEvent,
    RejectEvent,
    TradeEvent,
    WireEvent,
    readable,
)
from xarb.wires.times import nanos_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from xarb.imports.sources import Source
    from xarb.imports.tape import Tape
    from xarb.wires.decimals import Listing

VENUES: Final = {  # Tardis exchange id -> our venue id; others keep their id
    "binance-futures": "binanceusdm",
    "binance-delivery": "binancecoinm",
    "coinbase": "coinbaseexchange",
    "okex": "okx",
    "okex-futures": "okx",
    "okex-swap": "okx",
    "huobi": "htx",
    "huobi-dm": "htx",
    "huobi-dm-swap": "htx",
    "huobi-dm-linear-swap": "htx",
    "gate-io": "gate",
    "crypto-com": "cryptocom",
}
_HEAD: Final = "exchange,symbol,timestamp,local_timestamp"
_TRADES: Final = f"{_HEAD},id,side,price,amount"
_QUOTES: Final = f"{_HEAD},ask_amount,ask_price,bid_price,bid_amount"
_LEVELS: Final = f"{_HEAD},is_snapshot,side,price,amount"
_AGGRESSORS: Final = {"buy": BUY, "sell": SELL, "unknown": UNKNOWN, "": UNKNOWN}
_SIDES: Final = {"bid": BIDS, "ask": ASKS}
_FLAGS: Final = {"true": True, "false": False}
DEPTHS: Final = (5, 10, 25, 50, 100)


def _snapshot_header(depth: int) -> str:
    levels = (f"asks[{n}].price,asks[{n}].amount,bids[{n}].price,bids[{n}].amount" for n in range(depth))
    return f"{_HEAD},{','.join(levels)}"


class _Row:
    """One line: its fields, and what is common to all layouts."""

    __slots__ = ("fields", "line", "listing", "text", "ts_event", "ts_recv")

    def __init__(self, text: str, line: int, listing: Listing, ts_event: int, ts_recv: int) -> None:
        self.text = text
        self.line = line
        self.fields = text.split(",")
        self.listing = listing
        self.ts_event = ts_event
        self.ts_recv = ts_recv

    @property
    def message(self) -> tuple[tuple[str, str], int, int, str]:
        """What the rows of one incremental book message share."""
        return self.listing.key, self.ts_event, self.ts_recv, self.fields[4]

    def reject(self, rule: str, detail: str) -> RejectEvent:
        """A reject of this line."""
        return RejectEvent(rule, detail, readable(self.text), *self.listing.key, self.line)


class Reader:
    """Reads the files of one stream; which books are in sync is kept from file to file."""

    def __init__(self, source: Source, tape: Tape) -> None:
        del source  # every file states its exchange and symbol
        self._tape = tape
        self._books: dict[tuple[str, str], LevelBook] = {}

    def read(self, source: Source) -> Iterator[Item]:
        """The events of one file with their receive times.

        Raises:
            ConfigError: the file cannot be used, or its header is none of the layouts.
        """
        file = TextFile(source.file)
        start = self._tape.bytes_read
        lines = file.lines()
        header = next(lines, (1, b""))[1].decode("utf-8", "backslashreplace")
        reader = self._layout(source, header)
        rows = self._rows(source, file, lines, header.count(",") + 1)
        for ts_recv, event in reader(rows):
            self._tape.bytes_read = start + file.bytes_read
            yield ts_recv, event

    def _layout(self, source: Source, header: str) -> Callable[[Iterator[_Row | RejectEvent]], Iterator[Item]]:
        if header == _LEVELS:
            return self._messages
        one: Callable[[_Row], WireEvent] | None = {_TRADES: self._trade, _QUOTES: self._quote}.get(header)
        for depth in DEPTHS:
            if header == _snapshot_header(depth):
                one = self._book
        if one is None:
            shown = header if len(header) < 200 else header[:200] + "..."
            raise ConfigError(
                f"{source.name}: line 1 is the header of no Tardis layout that is read "
                f"(trades, quotes, incremental_book_L2, book_snapshot_5/10/25/50/100): {shown!r}"
            )
        return lambda rows: self._singles(rows, one)

    def _rows(self, source: Source, file: TextFile, lines: Iterator[tuple[int, bytes]], width: int) -> Iterator[_Row | RejectEvent]:
        """Lines with their common fields read, or the rejects that they are."""
        tape = self._tape
        for line, raw in lines:
            text = raw.decode("utf-8", "backslashreplace")
            cells = text.split(",", 4)
            if text.count(",") + 1 != width:
                detail = f"{text.count(',') + 1} fields, the header has {width}"
                yield RejectEvent("wrong_fields", detail, readable(text), source.venue, source.symbol, line)
                continue
            venue = VENUES.get(cells[0], cells[0])
            listing = tape.listings.find_native(venue, cells[1])
            fixed = listing is None or (source.venue in {None, venue} and source.symbol in {None, listing.instrument.symbol})
            if listing is None or not fixed:
                detail = f"no instrument {cells[1]!r} on {venue}" if fixed else f"not {source.symbol}@{source.venue}"
                yield RejectEvent("unknown_instrument", detail, readable(text), venue, cells[1] or None, line)
                continue
            try:
                ts_event, ts_recv = nanos_of(cells[2], "us"), nanos_of(cells[3], "us")
            except ValueError as error:
                yield RejectEvent("bad_time", str(error), readable(text), *listing.key, line)
                continue
            late = tape.backwards(ts_recv, line, text, venue)
            row = _Row(text, line, listing, ts_event, ts_recv)
            yield row if late is None else row.reject(late.rule, late.detail)
        if file.truncated:
            detail = "the gzip file stops in the middle; the lines before are imported"
            yield RejectEvent("truncated_file", detail, None, source.venue, None)

    def _singles(self, rows: Iterator[_Row | RejectEvent], one: Callable[[_Row], WireEvent]) -> Iterator[Item]:
        """Layouts of which every line is an event."""
        for row in rows:
            if isinstance(row, RejectEvent):
                yield self._tape.last, row
                continue
            try:
                yield row.ts_recv, one(row)
            except ValueError as error:
                yield row.ts_recv, row.reject("bad_number", str(error))

    def _trade(self, row: _Row) -> WireEvent:
        trade_id, side, price, amount = row.fields[4:]
        aggressor = _AGGRESSORS.get(side)
        if aggressor is None:
            return row.reject("bad_side", f"side {side!r} is none of buy, sell, unknown")
        prices, qtys = row.listing.levels([(price, amount)])
        if trade_id and self._tape.repeats(row.listing, trade_id):
            return row.reject("duplicate_trade", f"trade id {trade_id} was seen already")
        return TradeEvent(row.listing, row.ts_event, None, trade_id or None, prices[0], qtys[0], aggressor, *row.listing.scales)

    def _quote(self, row: _Row) -> WireEvent:
        ask_qty, ask, bid, bid_qty = (cell or None for cell in row.fields[4:])
        if ask is None and bid is None:
            return row.reject("empty_quote", "neither bid nor ask")
        numbers = row.listing.quote(bid, bid_qty, ask, ask_qty)
        return QuoteEvent(row.listing, row.ts_event, None, *numbers, *row.listing.scales)

    def _book(self, row: _Row) -> WireEvent:
        cells = row.fields[4:]
        asks = _filled(cells[0::4], cells[1::4])
        bids = _filled(cells[2::4], cells[3::4])
        prices, qtys = row.listing.levels(bids + asks)
        cut = len(bids)
        sides = prices[:cut], qtys[:cut], prices[cut:], qtys[cut:]
        return BookEvent(row.listing, row.ts_event, None, *sides, *row.listing.scales)

    def _messages(self, rows: Iterator[_Row | RejectEvent]) -> Iterator[Item]:
        """Incremental books: consecutive rows of one message become one event."""
        tape, current = self._tape, None
        for row in rows:
            if isinstance(row, RejectEvent):
                yield tape.last, row
                for book in self._concerned(row):
                    is_placed = row.rule == "truncated_file"  # what is missing was of this file
                    yield from book.lose(tape.last, f"a row of the book was rejected: {row.rule}", is_placed=is_placed)
                continue
            book = self._books.setdefault(row.listing.key, LevelBook(row.listing))
            if current is not None and current is not book:
                yield from current.ended()
            current = book
            yield from self._level(book, row)
        if current is not None:
            yield from current.ended()

    def _level(self, book: LevelBook, row: _Row) -> Iterator[Item]:
        """Put a row into its message, after the message that it ends."""
        is_snapshot = _FLAGS.get(row.fields[4].lower())
        if is_snapshot is None:
            yield from book.ended()
            yield from book.rejected(
                row.ts_recv, row.reject("bad_flag", f"is_snapshot {row.fields[4]!r} is neither true nor false")
            )
            return
        yield from book.row(row.message, row.ts_event, row.ts_recv, is_snapshot=is_snapshot)
        side, price, amount = row.fields[5:]
        if side not in _SIDES:
            flaw = row.reject("bad_side", f"side {side!r} is neither bid nor ask")
            yield from book.rejected(row.ts_recv, flaw, is_placed=True)
            return
        try:
            book.add(_SIDES[side], (price, amount))
        except ValueError as error:
            yield from book.rejected(row.ts_recv, row.reject("bad_number", str(error)), is_placed=True)

    def _concerned(self, reject: RejectEvent) -> list[LevelBook]:
        """The books of which a row that cannot be placed may have been: that of its symbol, or all where it names none."""
        if reject.rule == "unknown_instrument":
            return []
        return [book for key, book in self._books.items() if reject.symbol is None or key == (reject.venue, reject.symbol)]


def _filled(prices: list[str], amounts: list[str]) -> list[tuple[str, str]]:
    """The levels of one side; empty cells may only follow the last level.

    Raises:
        ValueError: a level behind an empty one, or a price without an amount.
    """
    levels = list(zip(prices, amounts, strict=True))
    while levels and levels[-1] == ("", ""):
        levels.pop()
    if any(not price or not amount for price, amount in levels):
        raise ValueError("an empty cell stands before a filled level")
    return levels
