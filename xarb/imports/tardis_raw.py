"""Raw market data of Tardis: what an exchange's stream sent, one message a line, through the wire session that reads the exchange live.

Two layouts, told apart line by line. Of the feeds (Tardis "HTTP API Reference", `/data-feeds/:exchange`; caches of its clients hold the same): the time in
UTC with 100 ns, a space, the message. Of Tardis Machine's `/replay`: `{"localTimestamp": ..., "message": ...}`. An empty line, or `null`, says that the recorder
was disconnected. Books that exchanges give over REST alone are messages marked `generated`, of a form of Tardis' own (tardis-node, `src/realtimefeeds`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

import msgspec

from xarb.errors import ConfigError
from xarb.imports.levels import missed
from xarb.imports.tardis_csv import VENUES
from xarb.imports.textfile import TextFile
from xarb.wires import binance, bybit, kraken, okx
from xarb.wires.events import LinkEvent, RejectEvent, WireEvent, readable
from xarb.wires.exchanges import WIRES
from xarb.wires.refusal import Refused
from xarb.wires.times import nanos_of_rfc3339

if TYPE_CHECKING:
    from collections.abc import Iterator

    from xarb.imports.sources import Source
    from xarb.imports.tape import Tape
    from xarb.wires.decimals import Listing
    from xarb.wires.session import Session

_Sessions = dict[str, Callable[[Sequence["Listing"]], "Session"]]
_GENERATED: Final = re.compile(rb'"generated"\s*:\s*true')
_TRADES: Final = re.compile(rb'\s*\{\s*"stream"\s*:\s*"([^"@]+)@(trade|aggTrade)"')  # Binance's, which say the same trades twice
_MARKS: Final = frozenset({b"", b"null"})
_OTHER_FORMS: Final = {
    "coinbase": "of Coinbase Tardis records the feed of Coinbase Exchange; that of Advanced Trade is decoded",
    "upbit": "of Upbit Tardis records the long field names; the SIMPLE form is decoded",
}
# Where Tardis records several channels of books, or one of another depth than a session takes by itself.
BOOK_CHANNELS: Final[dict[str, _Sessions]] = {
    "okx": {name: partial(okx.OkxSession, books=name) for name in okx.BOOKS},
    "kraken": {f"book.{depth}": partial(kraken.KrakenSession, depth=depth) for depth in kraken.DEPTHS},
    **{
        venue: {f"orderbook.{depth}": partial(bybit.BybitSession, market, depth=depth) for depth in bybit.DEPTHS}
        for market, venue in bybit.VENUES.items()
    },
}


class _Replayed(msgspec.Struct, gc=False):
    """A line of Tardis Machine's `/replay`."""

    localTimestamp: str  # noqa: N815  # the machine's own name
    message: msgspec.Raw


class _Generated(msgspec.Struct, gc=False):
    """What a generated book may have, by exchange."""

    stream: str = ""
    topic: str = ""
    channel: str = ""
    event: str = ""
    symbol: str = ""
    data: msgspec.Raw = msgspec.Raw()
    result: msgspec.Raw = msgspec.Raw()


_replayed = msgspec.json.Decoder(_Replayed).decode
_generated = msgspec.json.Decoder(_Generated).decode


class Reader:
    """Reads the files of one exchange; the session, and with it the sync of the books, lives on from file to file."""

    def __init__(self, source: Source, tape: Tape) -> None:
        venue = source.venue or ""
        wire = WIRES.get(venue)
        if wire is None or venue in _OTHER_FORMS:
            ours = f", which is {VENUES[venue]} here" if VENUES.get(venue) in WIRES else ""
            why = _OTHER_FORMS.get(venue, f"no wire of venue {venue!r}{ours} is decoded")
            raise ConfigError(f"{source.name}: {why}; allowed: {', '.join(one for one in WIRES if one not in _OTHER_FORMS)}")
        self._open = _session_of(source)
        self._tape = tape
        self._venue = venue
        self._listings = [tape.listings.require(venue, source.symbol)] if source.symbol else tape.listings.of_venue(venue)
        if not self._listings:
            raise ConfigError(f"{source.name}: no instrument of {venue} is listed; add an instruments file")
        self._session = self._open(self._listings)
        self._is_fresh = True  # the session has seen nothing yet
        self._trades: dict[bytes, bytes] = {}  # the stream of a name's trades that is read

    def read(self, source: Source) -> Iterator[tuple[int, WireEvent]]:
        """The events of one file with their receive times.

        Raises:
            ConfigError: the file cannot be used, begins with no line of Tardis' raw data, or with a frame of Kraken's version 1.
        """
        tape, file, line, is_known = self._tape, TextFile(source.file), 0, False
        start = tape.bytes_read
        for line, raw in file.lines():
            tape.bytes_read = start + file.bytes_read
            if raw.strip() in _MARKS:
                for event in self._disconnected():
                    yield tape.last, event
                continue
            flaw: RejectEvent | None
            try:
                ts_recv, payload = _split(raw)
                flaw = tape.backwards(ts_recv, line, raw, self._venue)
            except Refused as refused:
                if not is_known and refused.rule == "bad_line":
                    raise ConfigError(
                        f"{source.file}: line {line} is no line of Tardis' raw data: {readable(raw[:80])!r}"
                    ) from None
                flaw = RejectEvent(refused.rule, str(refused), readable(raw), self._venue, None, line)
            if flaw is not None:
                for event in [flaw, *missed(self._session)]:
                    yield tape.last, event
                continue
            if not is_known and payload.startswith(b"["):
                raise ConfigError(
                    f"{source.file}: line {line} is a frame of another version of the stream: {readable(payload[:80])!r}"
                )
            is_known, self._is_fresh = True, False
            for event in self._events(payload):
                yield ts_recv, msgspec.structs.replace(event, line=line) if isinstance(event, RejectEvent) else event
        if file.truncated:
            detail = "the gzip file stops in the middle; the lines before are imported"
            for event in [RejectEvent("truncated_file", detail, None, self._venue, None, line), *missed(self._session)]:
                yield tape.last, event

    def _events(self, payload: bytes) -> list[WireEvent]:
        """What a message says: a generated book is the answer to a request for it."""
        if _GENERATED.search(payload):
            found = _answer(self._venue, payload)
            if found is None:
                detail = "a message that Tardis made; of those the books of a REST snapshot are read"
                return [RejectEvent("unread_kind", detail, readable(payload), self._venue)]
            return self._session.receive(found[1], found[0])
        trades = _TRADES.match(payload) if self._venue in binance.MARKETS.values() else None
        if trades is not None and self._trades.setdefault(trades[1], trades[2]) != trades[2]:
            detail = f"the trades of this name are read from its stream {self._trades[trades[1]].decode()}"
            return [RejectEvent("duplicate_trade", detail, readable(payload), self._venue)]
        return self._session.receive(payload)

    def _disconnected(self) -> list[WireEvent]:
        """The next message is of another connection, on which books start anew; marks in a row are one."""
        if self._is_fresh:
            return []
        self._session, self._is_fresh = self._open(self._listings), True
        return [LinkEvent(self._venue, None, "gap", "the recorder was disconnected")]


def _session_of(source: Source) -> Callable[[Sequence[Listing]], Session]:
    """What opens a session that reads the source's channel of books.

    Raises:
        ConfigError: `book_channel` is none of the exchange's, or must be stated.
    """
    venue, name = source.venue or "", source.book_channel
    known = BOOK_CHANNELS.get(venue, {})
    if name is None and venue != "kraken":
        wire = WIRES[venue]
        return lambda listings: wire.session(listings, wire.channels)
    if name not in known:
        allowed = f"allowed: {', '.join(known)}" if known else f"{venue} has one channel of books"
        raise ConfigError(f"{source.name}: book_channel {'is missing' if name is None else f'{name!r} is not known'}; {allowed}")
    return known[name]


def _split(raw: bytes) -> tuple[int, bytes]:
    """Receive time, ns, and message of a line.

    Raises:
        Refused: no line of either layout, or a time that is none.
    """
    if raw.startswith(b"{"):
        try:
            line = _replayed(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Refused("bad_line", readable(str(error))) from None
        clock, payload = line.localTimestamp, bytes(line.message)
    else:
        first, _, payload = raw.partition(b" ")
        clock = readable(first)
    if not payload.lstrip().startswith((b"{", b"[")):
        raise Refused("bad_line", "no time and no message in JSON")
    try:
        return nanos_of_rfc3339(clock), payload
    except ValueError as error:
        raise Refused("bad_time" if clock[:1].isdigit() else "bad_line", readable(str(error))) from None


def _answer(venue: str, payload: bytes) -> tuple[str, bytes] | None:
    """Native name and body of a REST snapshot that Tardis fetched; None for all else that it made."""
    try:
        found = _generated(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if venue in binance.MARKETS.values():
        name, _, kind = found.stream.partition("@")
        return (name.upper(), bytes(found.data)) if kind == "depthSnapshot" else None
    if venue == "kucoin":
        kind, _, name = found.topic.partition(":")
        return (name, payload) if kind == "/market/level2Snapshot" else None
    if venue == "gate":
        is_book = (found.channel, found.event) == ("spot.order_book_update", "snapshot")
        return (found.symbol, bytes(found.result)) if is_book else None
    prefix, _, name = found.channel.rpartition("_")
    return (name, bytes(found.data)) if (venue, prefix, found.event) == ("bitstamp", "diff_order_book", "snapshot") else None
