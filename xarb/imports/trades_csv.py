"""Trades of an exchange's own archive as CSV: one row of a file to one trade, for every layout that says where it has what.

Rows come in the order of time: Bybit's files of 2019 to 2021 begin with the newest one.
"""

from __future__ import annotations

from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Final, NamedTuple

from xarb.errors import ConfigError
from xarb.imports.newest import InOrder
from xarb.imports.quotes_parquet import decimal_of_float
from xarb.imports.textfile import TextFile
from xarb.imports.worth import is_worth
from xarb.model.units import parse_decimal
from xarb.wires.events import BUY, SELL, LinkEvent, RejectEvent, TradeEvent, WireEvent, readable
from xarb.wires.refusal import Refused
from xarb.wires.times import nanos_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from xarb.imports.sources import Source
    from xarb.imports.tape import Tape
    from xarb.wires.decimals import Listing

_AGGRESSORS: Final = {"Buy": BUY, "buy": BUY, "Sell": SELL, "sell": SELL}
_SHOWN: Final = 200  # characters of a header that an error quotes


class Layout(NamedTuple):
    """Where a file has what: places of its columns, from 0, of `width` columns; None is a column that it does not have.

    `time_unit` is that of the times, `worth` the column that states what a trade of contracts is worth. `is_headed` is false where line 1 is a trade already.
    """

    width: int
    time_unit: str
    time: int
    side: int
    price: int
    qty: int
    trade_id: int | None
    native: int | None
    is_headed: bool = True
    worth: int | None = None


def refuse_header(source: Source, raw: bytes, whose: str) -> ConfigError:
    """The error for a file whose first line is of no layout that is read."""
    text = raw.decode("utf-8", "backslashreplace")
    shown = text if len(text) < _SHOWN else text[:_SHOWN] + "..."
    return ConfigError(f"{source.name}: line 1 is the header of no layout of {whose} that is read: {shown!r}")


class TradeReader:
    """Reads the files of one stream of trades.

    Args:
        source: the first file; its venue is stated.
        tape: the stream's clock.
        layout_of: finds the layout in a file's first line, or raises ConfigError.
    """

    def __init__(self, source: Source, tape: Tape, layout_of: Callable[[Source, bytes], Layout]) -> None:
        assert source.venue is not None, "checked when the sources were read"
        self._venue = source.venue
        self._tape = tape
        self._layout_of = layout_of
        self._proven: set[tuple[str, str]] = set()  # instruments whose contract_size a trade has shown to be right

    def read(self, source: Source) -> Iterator[tuple[int, WireEvent]]:
        """The events of one file with the receive times that the rule makes.

        Raises:
            ConfigError: the file cannot be used, or its first line is of no layout that is read.
        """
        tape, file = self._tape, TextFile(source.file)
        start, lines = tape.bytes_read, file.lines()
        first = next(lines, (1, b""))
        layout = self._checked(source, first[1])
        order = InOrder(lines if layout.is_headed else chain((first,), lines), partial(_when, layout))
        line, is_told = first[0], False
        for number, raw in order.rows():
            tape.bytes_read = start + file.bytes_read
            if order.is_newest_first and not is_told:
                yield tape.last, self._told(f"{source.name}: the newest row comes first; read from the end")
                is_told = True
            line = max(line, number)
            yield self._row(source, layout, raw, number)
        if file.truncated:
            detail = "the gzip file stops in the middle; the lines before are imported"
            yield tape.last, RejectEvent("truncated_file", detail, None, source.venue, source.symbol, line)

    def _told(self, words: str) -> LinkEvent:
        self._tape.notes.append(words)
        return LinkEvent(self._venue, None, "heartbeat", words)

    def _checked(self, source: Source, raw: bytes) -> Layout:
        layout = self._layout_of(source, raw)
        if layout.native is None and source.symbol is None:
            raise ConfigError(f"{source.name}: line 1: a layout that names no instrument: state symbol")
        return layout

    def _row(self, source: Source, layout: Layout, raw: bytes, line: int) -> tuple[int, WireEvent]:
        """A row and its receive time."""
        tape, text = self._tape, raw.decode("utf-8", "backslashreplace")
        cells, symbol = text.split(","), source.symbol
        try:
            if len(cells) != layout.width:
                raise Refused("wrong_fields", f"{len(cells)} fields, the layout has {layout.width}")
            listing = self._listing(source, None if layout.native is None else cells[layout.native])
            symbol = listing.instrument.symbol
            ts_event = _time(cells[layout.time], layout.time_unit)
            late = tape.backwards(ts_event + source.rule_ns, line, raw, self._venue)
            if late is not None:
                raise Refused(late.rule, late.detail)
            return tape.last, self._trade(source, layout, cells, listing, ts_event)
        except Refused as bad:
            return tape.last, RejectEvent(bad.rule, readable(str(bad)), readable(raw), self._venue, symbol, line)
        except ValueError as error:
            return tape.last, RejectEvent("bad_number", readable(str(error)), readable(raw), self._venue, symbol, line)

    def _listing(self, source: Source, native: str | None) -> Listing:
        """The instrument of a row, by the name that it gives or by what the source states."""
        listings = self._tape.listings
        if native is None:
            return listings.require(self._venue, source.symbol or "")
        found = listings.find_native(self._venue, native)
        if found is None:
            raise Refused("unknown_instrument", f"no instrument {native[:80]!r} on {self._venue}")
        if source.symbol not in {None, found.instrument.symbol}:
            raise Refused("unknown_instrument", f"{native!r} is not {source.symbol}@{self._venue}")
        return found

    def _trade(self, source: Source, layout: Layout, cells: list[str], listing: Listing, ts_event: int) -> WireEvent:
        aggressor = _AGGRESSORS.get(cells[layout.side])
        if aggressor is None:
            raise Refused("bad_side", f"side {cells[layout.side][:40]!r} is neither buy nor sell")
        price, qty = _exact(cells[layout.price], source.price_decimals), _exact(cells[layout.qty], source.qty_decimals)
        prices, qtys = listing.levels([(price, qty)])
        trade_id = None if layout.trade_id is None else cells[layout.trade_id] or None
        if trade_id is not None and self._tape.repeats(listing, trade_id):
            raise Refused("duplicate_trade", f"trade id {trade_id} was seen already")
        if layout.worth is not None and listing.key not in self._proven:
            trade = cells[layout.price], cells[layout.qty], cells[layout.worth]
            if is_worth(source.name, listing.instrument, trade, "the column of its value"):
                self._proven.add(listing.key)
        return TradeEvent(listing, ts_event, None, trade_id, prices[0], qtys[0], aggressor, *listing.scales)


def _exact(text: str, decimals: int | None) -> str:
    """The number, or the one of so many decimals for which a finer text stands as the digits of a 64-bit float.

    Raises:
        ValueError: no number, or near none of so many decimals.
    """
    if decimals is None or parse_decimal(text)[1] <= decimals:
        return text
    return decimal_of_float(float(text), decimals)


def _when(layout: Layout, raw: bytes) -> int | None:
    """The time of a row, None where there is none to read."""
    cells = raw.decode("utf-8", "backslashreplace").split(",")
    try:
        return nanos_of(cells[layout.time], layout.time_unit) if len(cells) == layout.width else None
    except ValueError:
        return None


def _time(text: str, unit: str) -> int:
    try:
        return nanos_of(text, unit)
    except ValueError as error:
        raise Refused("bad_time", str(error)) from None
