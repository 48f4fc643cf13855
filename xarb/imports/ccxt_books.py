"""Order books as ccxt hands them out (`watch_order_book`, `fetch_order_book`), one JSON object a line.

ccxt's order book structure: `bids` and `asks` as lists of `[price, amount]` from the best (a third element is a count or an id), `symbol`, `timestamp` in ms or
null, `nonce` or null. It has no receive time: another key of the object says it, or a rule makes it of `timestamp`. Numbers are taken from the text
of the JSON, which Python writes so that it reads back alike; no float is made of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from xarb.errors import ConfigError
from xarb.imports.levels import check_order
from xarb.imports.textfile import TextFile
from xarb.model.units import INT64_MAX
from xarb.wires.events import BookEvent, RejectEvent, WireEvent, readable
from xarb.wires.intake import sides
from xarb.wires.times import checked, nanos_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from xarb.imports.sources import Source
    from xarb.imports.tape import Tape

_object: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_symbol: Final = msgspec.json.Decoder(str | None).decode
_levels: Final = msgspec.json.Decoder(list[list[msgspec.Raw]]).decode
_NULL: Final = msgspec.Raw(b"null")
_PAIR: Final = 2


class Reader:
    """Reads the files of one exchange, of one symbol or of many."""

    def __init__(self, source: Source, tape: Tape) -> None:
        del source  # every line is whole
        self._tape = tape

    def read(self, source: Source) -> Iterator[tuple[int, WireEvent]]:
        """The events of one file with their receive times.

        Raises:
            ConfigError: the file cannot be used, or its first line is no order book of ccxt.
        """
        tape, file, line = self._tape, TextFile(source.file), 0
        start = tape.bytes_read
        for line, raw in file.lines():
            tape.bytes_read = start + file.bytes_read
            try:
                found = _object(raw)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                found, flaw = {}, RejectEvent("bad_json", str(error), readable(raw), source.venue, source.symbol, line)
            else:
                absent = [key for key in ("bids", "asks", "timestamp") if key not in found]
                flaw = RejectEvent(
                    "wrong_fields", f"no {' and no '.join(absent)}", readable(raw), source.venue, source.symbol, line
                )
                if not absent:
                    event = self._book(found, source, raw, line)  # moves the clock, so before it is read
                    yield tape.last, event
                    continue
            if line == 1:
                raise ConfigError(f"{source.file}: line 1 is no order book of ccxt: {flaw.detail}")
            yield tape.last, flaw
        if file.truncated:
            detail = "the gzip file stops in the middle; the lines before are imported"
            yield tape.last, RejectEvent("truncated_file", detail, None, source.venue, None, line)

    def _book(self, found: dict[str, msgspec.Raw], source: Source, raw: bytes, line: int) -> WireEvent:
        """The book of a line, or the reject that it is."""
        symbol = source.symbol
        rule = "unknown_instrument"
        try:
            symbol = _symbol(found.get("symbol", _NULL)) or symbol
            listing = self._tape.listings.find(source.venue or "", symbol or "")
            if listing is None or source.symbol not in {None, symbol}:
                raise ValueError(f"no instrument {symbol}@{source.venue}" if listing is None else f"not {source.symbol}")
            rule = "bad_time"
            ts_event, ts_recv = _times(found, source)
            late = self._tape.backwards(ts_recv, line, raw, source.venue)
            if late is not None:
                return late
            rule = "bad_number"
            nonce = _text(found.get("nonce", _NULL))
            venue_seq = None if nonce is None else _counter(nonce)
            bids, asks = _side(found["bids"]), _side(found["asks"])
            numbers = sides(listing, bids, asks)
            rule = "unsorted_book"
            check_order(numbers[0], numbers[2])
            return BookEvent(listing, ts_event, venue_seq, *numbers)
        except (ValueError, msgspec.DecodeError, RecursionError) as error:
            return RejectEvent(rule, str(error), readable(raw), source.venue, symbol, line)


def _text(raw: msgspec.Raw) -> str | None:
    """The text of a JSON number, None for null."""
    text = bytes(raw).decode()
    return None if text == "null" else text


def _times(found: dict[str, msgspec.Raw], source: Source) -> tuple[int | None, int]:
    """The venue's time, and the receive time that the line or the rule gives, ns.

    Raises:
        ValueError: the one that is needed is missing, or no time.
    """
    stated = _text(found["timestamp"])
    ts_event = None if stated is None else nanos_of(stated, "ms")
    key = source.columns.get("ts_recv")
    if key is not None:
        return ts_event, nanos_of(_text(found.get(key, _NULL)) or "", source.time_unit or "ns")
    if ts_event is None:
        raise ValueError("timestamp is null, from which the receive time is made")
    return ts_event, checked(ts_event + source.rule_ns)


def _side(raw: msgspec.Raw) -> list[tuple[str, str]]:
    """The levels of a side as text.

    Raises:
        ValueError: a level is no pair.
    """
    levels = _levels(raw)
    if any(len(level) < _PAIR for level in levels):
        raise ValueError("a level is no pair of price and amount")
    return [(bytes(level[0]).decode(), bytes(level[1]).decode()) for level in levels]


def _counter(text: str) -> int:
    if not text.isdigit() or int(text[:20]) > INT64_MAX:
        raise ValueError(f"nonce {text[:40]!r} is no counter")
    return int(text)
