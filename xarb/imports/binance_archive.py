"""Binance's public archive (data.binance.vision): trades, aggTrades and bookTicker of spot, USD-M and COIN-M, and T_DEPTH books of futures.

Layouts of github.com/binance/binance-public-data and of the headers that later files have. The archive has no receive time: `time_rule` makes one of the
matching engine's. A trade is at the id and the size of its row; what follows from other columns (the value of a trade, ids of the trades in an
aggregate) is not kept. COIN-M sizes are contracts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

from xarb.errors import ConfigError
from xarb.imports.binance_depth import Books
from xarb.imports.binance_files import SNAP, UPDATE, Clock, kind_of, verified
from xarb.imports.textfile import TextFile
from xarb.imports.worth import is_worth
from xarb.wires.binance import MARKETS
from xarb.wires.events import BUY, SELL, LinkEvent, RejectEvent, TradeEvent, WireEvent, readable
from xarb.wires.intake import best, counter
from xarb.wires.refusal import Refused

if TYPE_CHECKING:
    from collections.abc import Iterator

    from xarb.imports.sources import Source
    from xarb.imports.tape import Tape

_TRADES: Final = "id,price,qty,quote_qty,time,is_buyer_maker"
_AGGREGATES: Final = "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker"
_TICKERS: Final = "update_id,best_bid_price,best_bid_qty,best_ask_price,best_ask_qty,transaction_time,event_time"
_HEADERS: Final = {
    "binance": {"trades": f"{_TRADES},is_best_match", "aggTrades": f"{_AGGREGATES},is_best_match"},
    "binanceusdm": {"trades": _TRADES, "aggTrades": _AGGREGATES, "bookTicker": _TICKERS},
    "binancecoinm": {"trades": _TRADES.replace("quote_qty", "base_qty"), "aggTrades": _AGGREGATES, "bookTicker": _TICKERS},
}
_TIME_PLACES: Final = {"trades": 4, "aggTrades": 5, "bookTicker": 5}
_AGGRESSORS: Final = {"true": SELL, "True": SELL, "false": BUY, "False": BUY}  # by whether the buyer is the maker
_UNREAD: Final = {"bookDepth": "it holds sums within bands of per cent around the price, which are no levels of a book"}

Item = tuple[int, WireEvent]


class _Layout(NamedTuple):
    """How the rows of a file are read: its header, whether it has one or not, and the place of the time."""

    header: str
    width: int
    time_place: int
    read: Callable[[list[str], int], WireEvent]


class Reader:
    """Reads the files of one instrument and one kind; of books, whether they are in sync is kept from file to file."""

    def __init__(self, source: Source, tape: Tape) -> None:
        venue, symbol = source.venue or "", source.symbol or ""
        if venue not in _HEADERS:
            raise ConfigError(f"{source.name}: venue {venue!r} is none of Binance's; allowed: {', '.join(MARKETS.values())}")
        self._tape = tape
        self._listing = tape.listings.require(venue, symbol)
        self._kind = ""
        self._books = Books(self._listing, tape)
        self._unproven: str | None = None  # the source whose trades have not yet shown that contract_size is right

    def read(self, source: Source) -> Iterator[Item]:
        """The events of one file with the receive times that the rule makes, after what its checksum says.

        Raises:
            ConfigError: the file cannot be used, is not what its checksum says, or its name and its columns are none of the layouts.
        """
        kind = self._kind_of(source)
        yield self._told(verified(source.file))
        if source.rest is not None:
            yield self._told(verified(source.rest_file))
        yield from self._books.read(source, kind) if kind in {SNAP, UPDATE} else self._rows(source, kind)

    def _kind_of(self, source: Source) -> str:
        native, venue = self._listing.instrument.native, self._listing.instrument.venue
        kind = kind_of(source.file, native)
        is_depth = kind in {SNAP, UPDATE}
        if (is_depth and venue == "binance") or not (is_depth or kind in _HEADERS[venue]):
            allowed = [*_HEADERS[venue], *(() if venue == "binance" else ("T_DEPTH",))]
            why = f"{_UNREAD[kind]}; " if kind in _UNREAD else ""
            raise ConfigError(f"{source.name}: files of {kind} are not read for {venue}: {why}read are {', '.join(allowed)}")
        if source.rest is not None and (kind != UPDATE or kind_of(source.rest_file, native) != SNAP):
            raise ConfigError(f"{source.name}: rest names the {SNAP} file that belongs to a {UPDATE} file")
        stream = "depth" if is_depth else kind
        if self._kind not in {"", stream}:
            raise ConfigError(f"{source.name}: continues files of {self._kind} with one of {stream}")
        self._kind = stream
        return kind

    def _told(self, words: str) -> Item:
        self._tape.notes.append(words)
        return self._tape.last, LinkEvent(*self._listing.key, "heartbeat", words)

    def _layout(self, source: Source, kind: str, first: str) -> _Layout:
        """The layout of a file, by its kind and its first line, which is the header or a row.

        Raises:
            ConfigError: the line is neither.
        """
        header = _HEADERS[self._listing.instrument.venue][kind]
        width = header.count(",") + 1
        if first != header and (first.count(",") + 1 != width or not first.partition(",")[0].isdigit()):
            raise ConfigError(f"{source.name}: line 1 is neither the header nor a row of {kind} ({header}): {first[:200]!r}")
        return _Layout(
            header, width, _TIME_PLACES[kind], {"trades": self._trade, "aggTrades": self._aggregate}.get(kind, self._quote)
        )

    def _rows(self, source: Source, kind: str) -> Iterator[Item]:
        tape, file, line = self._tape, TextFile(source.file), 0
        start, clock = tape.bytes_read, Clock(source.name)
        if kind == "trades" and self._listing.instrument.contract == "inverse":
            self._unproven = source.name
        layout: _Layout | None = None
        for line, raw in file.lines():
            tape.bytes_read = start + file.bytes_read
            text = raw.decode("utf-8", "backslashreplace")
            layout = layout or self._layout(source, kind, text)
            cells = text.split(",")
            if line == 1 and text == layout.header:
                continue
            if len(cells) != layout.width:
                yield tape.last, self._reject("wrong_fields", f"{len(cells)} fields, {kind} has {layout.width}", raw, line)
                continue
            try:
                ts_event = clock.nanos(cells[layout.time_place], line)
            except ValueError as error:
                yield tape.last, self._reject("bad_time", str(error), raw, line)
                continue
            ts_recv = ts_event + source.rule_ns
            late = tape.backwards(ts_recv, line, raw, source.venue)
            if late is not None:
                yield tape.last, late
                continue
            try:
                yield ts_recv, layout.read(cells, ts_event)
            except Refused as refused:
                yield ts_recv, self._reject(refused.rule, str(refused), raw, line)
            except ValueError as error:
                yield ts_recv, self._reject("bad_number", str(error), raw, line)
        if layout is None:
            raise ConfigError(f"{source.name}: the file is empty")
        if file.truncated:
            detail = "the gzip file stops in the middle; the lines before are imported"
            yield tape.last, RejectEvent("truncated_file", detail, None, *self._listing.key, line)

    def _trade(self, cells: list[str], ts_event: int) -> WireEvent:
        event = self._print(cells, ts_event, cells[5])
        if self._unproven is not None:
            price, contracts, base_qty = cells[1:4]
            if is_worth(self._unproven, self._listing.instrument, (price, contracts, base_qty), "base_qty"):
                self._unproven = None
        return event

    def _aggregate(self, cells: list[str], ts_event: int) -> WireEvent:
        return self._print(cells, ts_event, cells[6])

    def _print(self, cells: list[str], ts_event: int, is_buyer_maker: str) -> TradeEvent:
        aggressor = _AGGRESSORS.get(is_buyer_maker)
        if aggressor is None:
            raise Refused("bad_flag", f"is_buyer_maker {is_buyer_maker[:40]!r} is neither true nor false")
        trade_id = str(counter(cells[0], "the id of a trade"))
        prices, qtys = self._listing.levels([(cells[1], cells[2])])
        return TradeEvent(self._listing, ts_event, None, trade_id, prices[0], qtys[0], aggressor, *self._listing.scales)

    def _quote(self, cells: list[str], ts_event: int) -> WireEvent:
        bid, bid_qty, ask, ask_qty = cells[1:5]
        return best(self._listing, ts_event, counter(cells[0], "update_id"), (bid, bid_qty, ask, ask_qty))

    def _reject(self, rule: str, detail: str, raw: bytes, line: int) -> RejectEvent:
        return RejectEvent(rule, detail, readable(raw), *self._listing.key, line)
