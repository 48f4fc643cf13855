"""CoinAPI flat files: trades, quotes and limitbook_full, told apart by the columns of their header.

Layouts of the CoinAPI documentation ("Flat Files", data types): semicolons, `time_coinapi` is the receive time, UTC with up to seven decimals. A time of day
alone belongs to the day in the path (`D-20230701`). Equal times mean that the exchange gave none, a quote's size of 0 that there was none. An aggressor
that CoinAPI estimated is unknown here. Of a book's rows those of price levels are read, `SNAPSHOT` and `SET`; any other type, and any row of a single
order, is a reject that gives the book up until the next snapshot.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from xarb.errors import ConfigError
from xarb.imports.levels import ASKS, BIDS, Item, LevelBook
from xarb.imports.textfile import TextFile
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
from xarb.wires.times import nanos_of_rfc3339

if TYPE_CHECKING:
    from collections.abc import Iterator

    from xarb.imports.sources import Source
    from xarb.imports.tape import Tape

_TIMES: Final = frozenset({"time_exchange", "time_coinapi"})
_KINDS: Final = {  # the columns that must be there, and those that may be
    "trades": (_TIMES | {"price", "base_amount", "taker_side"}, {"guid", "id_trade", "id_order_maker", "id_order_taker"}),
    "quotes": (_TIMES | {"ask_px", "ask_sx", "bid_px", "bid_sx"}, {"id_site_coinapi"}),
    "limitbook_full": (_TIMES | {"is_buy", "update_type", "entry_px", "entry_sx"}, {"order_id"}),
}
_AGGRESSORS: Final = {
    "BUY": BUY,
    "SELL": SELL,
    "BUY_ESTIMATED": UNKNOWN,
    "SELL_ESTIMATED": UNKNOWN,
    "UNKNOWN": UNKNOWN,
    "": UNKNOWN,
}
_DAY: Final = re.compile(r"\AD-(\d{4})(\d\d)(\d\d)\Z")

_SIDES: Final = {"1": BIDS, "0": ASKS}

Row = dict[str, str]
_Read = Callable[[Row, int | None], WireEvent]


class Reader:
    """Reads the files of one instrument; whether its book is in sync is kept from file to file."""

    def __init__(self, source: Source, tape: Tape) -> None:
        self._tape = tape
        self._listing = tape.listings.require(source.venue or "", source.symbol or "")
        self._book = LevelBook(self._listing)

    def read(self, source: Source) -> Iterator[Item]:
        """The events of one file with their receive times.

        Raises:
            ConfigError: the file cannot be used, or its header is none of the layouts.
        """
        tape, file, line = self._tape, TextFile(source.file), 1
        start = tape.bytes_read
        lines = file.lines()
        names, separator, kind = _header(source, next(lines, (1, b""))[1])
        read = {"trades": self._trade, "quotes": self._quote}.get(kind)
        day = next((f"{m[1]}-{m[2]}-{m[3]}T" for part in source.file.absolute().parts if (m := _DAY.match(part))), "")
        for line, raw in lines:
            tape.bytes_read = start + file.bytes_read
            cells = raw.decode("utf-8", "backslashreplace").split(separator)
            if len(cells) != len(names):
                flaw = self._reject("wrong_fields", f"{len(cells)} fields, the header has {len(names)}", raw, line)
                yield from self._unplaced(flaw, read)
                continue
            row = dict(zip(names, cells, strict=True))
            try:
                ts_recv = _nanos(row["time_coinapi"], day)
                ts_event = None if row["time_exchange"] == row["time_coinapi"] else _nanos(row["time_exchange"], day)
            except ValueError as error:
                yield from self._unplaced(self._reject("bad_time", str(error), raw, line), read)
                continue
            late = tape.backwards(ts_recv, line, raw, source.venue)
            if late is not None:
                yield from self._unplaced(late, read)
            elif read is None:
                yield from self._level(row, ts_event, raw, line)
            else:
                try:
                    yield ts_recv, read(row, ts_event)
                except Refused as bad:
                    yield ts_recv, self._reject(bad.rule, str(bad), raw, line)
                except ValueError as error:
                    yield ts_recv, self._reject("bad_number", str(error), raw, line)
        if file.truncated:
            detail = "the gzip file stops in the middle; the lines before are imported"
            flaw = RejectEvent("truncated_file", detail, None, *self._listing.key, line)
            yield from self._unplaced(flaw, read, is_placed=True)  # what is missing was of this file
        yield from self._book.ended()

    def _unplaced(self, flaw: RejectEvent, read: _Read | None, *, is_placed: bool = False) -> list[Item]:
        """A row that cannot be placed, of a book where the file is not of single events."""
        return [(self._tape.last, flaw)] if read else self._book.rejected(self._tape.last, flaw, is_placed=is_placed)

    def _trade(self, row: Row, ts_event: int | None) -> WireEvent:
        aggressor = _AGGRESSORS.get(row["taker_side"])
        if aggressor is None:
            raise Refused("bad_side", f"taker_side {row['taker_side']!r} is none of {', '.join(filter(None, _AGGRESSORS))}")
        prices, qtys = self._listing.levels([(row["price"], row["base_amount"])])
        trade_id = row.get("id_trade") or None
        if trade_id is not None and self._tape.repeats(self._listing, trade_id):
            raise Refused("duplicate_trade", f"trade id {trade_id} was seen already")
        return TradeEvent(self._listing, ts_event, None, trade_id, prices[0], qtys[0], aggressor, *self._listing.scales)

    def _quote(self, row: Row, ts_event: int | None) -> WireEvent:
        bid, ask = row["bid_px"] or None, row["ask_px"] or None
        if bid is None and ask is None:
            raise Refused("empty_quote", "neither bid nor ask")
        bid_qty, ask_qty = (size if size.strip("0.") else None for size in (row["bid_sx"], row["ask_sx"]))
        numbers = self._listing.quote(bid, bid_qty, ask, ask_qty)
        return QuoteEvent(self._listing, ts_event, None, *numbers, *self._listing.scales)

    def _level(self, row: Row, ts_event: int | None, raw: bytes, line: int) -> Iterator[Item]:
        """Put a row of a book into its message, after the message that it ends."""
        book, ts_recv, kind = self._book, self._tape.last, row["update_type"]
        if kind not in {"SNAPSHOT", "SET"} or row.get("order_id"):
            yield from book.ended()
            what = f"a row of type {kind!r}" + (" of a single order" if row.get("order_id") else "")
            yield from book.rejected(
                ts_recv, self._reject("unread_kind", f"{what}; SNAPSHOT and SET of price levels are read", raw, line)
            )
            return
        is_snapshot = kind == "SNAPSHOT"
        yield from book.row(kind if is_snapshot else (ts_event, ts_recv), ts_event, ts_recv, is_snapshot=is_snapshot)
        assert book.held is not None, "the row was placed in it"
        book.held.ts_event, book.held.ts_recv = ts_event, ts_recv  # a block of SNAPSHOT is whole with its last row
        side = _SIDES.get(row["is_buy"])
        if side is None:
            flaw = self._reject("bad_side", f"is_buy {row['is_buy']!r} is neither 0 nor 1", raw, line)
            yield from book.rejected(ts_recv, flaw, is_placed=True)
            return
        try:
            book.add(side, (row["entry_px"], row["entry_sx"]))
        except ValueError as error:
            yield from book.rejected(ts_recv, self._reject("bad_number", str(error), raw, line), is_placed=True)

    def _reject(self, rule: str, detail: str, raw: bytes, line: int) -> RejectEvent:
        return RejectEvent(rule, detail, readable(raw), *self._listing.key, line)


def _header(source: Source, raw: bytes) -> tuple[list[str], str, str]:
    """Names of the columns, what separates them, and which layout they are of.

    Raises:
        ConfigError: none of the layouts.
    """
    text = raw.decode("utf-8", "backslashreplace")
    separator = ";" if ";" in text else ","
    names = text.split(separator)
    for kind, (needed, further) in _KINDS.items():
        if len(set(names)) == len(names) and needed <= set(names) <= needed | further:
            return names, separator, kind
    shown = text if len(text) < 200 else text[:200] + "..."
    raise ConfigError(f"{source.file}: line 1 is the header of no CoinAPI layout that is read ({', '.join(_KINDS)}): {shown!r}")


def _nanos(text: str, day: str) -> int:
    """A time in UTC, in ns; a time of day is that of `day`.

    Raises:
        ValueError: no time, or a time of day where the path names no day.
    """
    if "T" not in text and not day:
        raise ValueError(f"the time of day {text[:40]!r} needs a path with its day, such as D-20230701")
    return nanos_of_rfc3339((text if "T" in text else day + text).removesuffix("Z") + "Z")
