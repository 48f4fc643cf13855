"""CoinAPI flat files: trades, quotes and limitbook_full, told apart by the columns of their header.

Layouts of the CoinAPI documentation ("Flat Files", data types): semicolons, `time_coinapi` is the receive time, UTC with up to seven decimals. A time of day
alone belongs to the day in the path (`D-20230701`). Equal times mean that the exchange gave none, a quote's size of 0 that there was none. An aggressor
that CoinAPI estimated is unknown here. Of a book's rows those of price levels are read, `SNAPSHOT` and `SET`; any other type, and any row of a single
order, is a reject that gives the book up until the next snapshot.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from xarb.errors import ConfigError
from xarb.imports.textfile import TextFile
from xarb.wires.events import (
    APPLY,
    BUY,
    SELL,
    UNKNOWN,
    UNSYNCED,
    DepthEvent,
    LinkEvent,
    QuoteEvent,
    RejectEvent,
    TradeEvent,
    WireEvent,
    readable,
)
from xarb.wires.intake import sides
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

Item = tuple[int, WireEvent]
Row = dict[str, str]


class _Message:
    """Rows of a book that belong together: a block of SNAPSHOT, or what has equal times."""

    __slots__ = ("is_snapshot", "levels", "ts_event", "ts_recv")

    def __init__(self, ts_event: int | None, ts_recv: int, *, is_snapshot: bool) -> None:
        self.ts_event = ts_event
        self.ts_recv = ts_recv
        self.is_snapshot = is_snapshot
        self.levels: dict[str, list[tuple[str, str]]] = {"1": [], "0": []}

    def holds(self, ts_event: int | None, ts_recv: int, *, is_snapshot: bool) -> bool:
        """Whether a row is of this message."""
        return self.is_snapshot == is_snapshot and (is_snapshot or (self.ts_event, self.ts_recv) == (ts_event, ts_recv))


class Reader:
    """Reads the files of one instrument; whether its book is in sync is kept from file to file."""

    def __init__(self, source: Source, tape: Tape) -> None:
        self._tape = tape
        self._listing = tape.listings.require(source.venue or "", source.symbol or "")
        self._is_synced = False
        self._held: _Message | None = None

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
                yield tape.last, self._reject("wrong_fields", f"{len(cells)} fields, the header has {len(names)}", raw, line)
                continue
            row = dict(zip(names, cells, strict=True))
            try:
                ts_recv = _nanos(row["time_coinapi"], day)
                ts_event = None if row["time_exchange"] == row["time_coinapi"] else _nanos(row["time_exchange"], day)
            except ValueError as error:
                yield tape.last, self._reject("bad_time", str(error), raw, line)
                continue
            late = tape.backwards(ts_recv, line, raw, source.venue)
            if late is not None:
                yield tape.last, late
            elif read is None:
                yield from self._level(row, ts_event, raw, line)
            else:
                try:
                    yield ts_recv, read(row, ts_event)
                except _Bad as bad:
                    yield ts_recv, self._reject(bad.rule, str(bad), raw, line)
                except ValueError as error:
                    yield ts_recv, self._reject("bad_number", str(error), raw, line)
        yield from self._flushed()
        if file.truncated:
            detail = "the gzip file stops in the middle; the lines before are imported"
            yield tape.last, RejectEvent("truncated_file", detail, None, *self._listing.key, line)

    def _trade(self, row: Row, ts_event: int | None) -> WireEvent:
        aggressor = _AGGRESSORS.get(row["taker_side"])
        if aggressor is None:
            raise _Bad("bad_side", f"taker_side {row['taker_side']!r} is none of {', '.join(filter(None, _AGGRESSORS))}")
        prices, qtys = self._listing.levels([(row["price"], row["base_amount"])])
        trade_id = row.get("id_trade") or None
        if trade_id is not None and self._tape.repeats(self._listing, trade_id):
            raise _Bad("duplicate_trade", f"trade id {trade_id} was seen already")
        return TradeEvent(self._listing, ts_event, None, trade_id, prices[0], qtys[0], aggressor, *self._listing.scales)

    def _quote(self, row: Row, ts_event: int | None) -> WireEvent:
        bid, ask = row["bid_px"] or None, row["ask_px"] or None
        if bid is None and ask is None:
            raise _Bad("empty_quote", "neither bid nor ask")
        bid_qty, ask_qty = (size if size.strip("0.") else None for size in (row["bid_sx"], row["ask_sx"]))
        numbers = self._listing.quote(bid, bid_qty, ask, ask_qty)
        return QuoteEvent(self._listing, ts_event, None, *numbers, *self._listing.scales)

    def _level(self, row: Row, ts_event: int | None, raw: bytes, line: int) -> Iterator[Item]:
        """Put a row of a book into its message, after the message that it ends."""
        ts_recv, kind = self._tape.last, row["update_type"]
        is_snapshot = kind == "SNAPSHOT"
        if self._held is not None and not self._held.holds(ts_event, ts_recv, is_snapshot=is_snapshot):
            yield from self._flushed()
        if kind not in {"SNAPSHOT", "SET"} or row.get("order_id"):
            yield from self._flushed()
            what = f"a row of type {kind!r}" + (" of a single order" if row.get("order_id") else "")
            yield ts_recv, self._reject("unread_kind", f"{what}; SNAPSHOT and SET of price levels are read", raw, line)
            if self._is_synced:
                self._is_synced = False
                yield ts_recv, LinkEvent(*self._listing.key, "gap", "a row of the book is of a kind that is not read")
            return
        held = self._held = self._held or _Message(ts_event, ts_recv, is_snapshot=is_snapshot)
        held.ts_event, held.ts_recv = ts_event, ts_recv
        level = row["entry_px"], row["entry_sx"]
        try:
            self._listing.levels([level])
        except ValueError as error:
            yield ts_recv, self._reject("bad_number", str(error), raw, line)
            return
        if row["is_buy"] not in held.levels:
            yield ts_recv, self._reject("bad_side", f"is_buy {row['is_buy']!r} is neither 0 nor 1", raw, line)
            return
        held.levels[row["is_buy"]].append(level)

    def _flushed(self) -> Iterator[Item]:
        """The event of the message at hand."""
        held, self._held = self._held, None
        if held is None or not (held.levels["1"] or held.levels["0"]):
            return
        self._is_synced = self._is_synced or held.is_snapshot
        verdict = APPLY if self._is_synced else UNSYNCED
        numbers = sides(self._listing, held.levels["1"], held.levels["0"])
        yield held.ts_recv, DepthEvent(self._listing, held.ts_event, None, None, None, held.is_snapshot, verdict, *numbers)

    def _reject(self, rule: str, detail: str, raw: bytes, line: int) -> RejectEvent:
        return RejectEvent(rule, detail, readable(raw), *self._listing.key, line)


class _Bad(Exception):  # it says what is wrong with a row
    """A row that breaks `rule`."""

    def __init__(self, rule: str, detail: str) -> None:
        super().__init__(detail)
        self.rule = rule


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
