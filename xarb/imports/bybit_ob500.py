"""Bybit's archive of order books, 500 levels: messages of `orderbook.500` as JSON, one a line, in a zip of one file a day.

The archive ("Historical Market Data", OrderBook) holds the messages as the stream sent them (Bybit API v5, "Orderbook"), without a receive time:
`time_rule` makes one of the matching engine's time `cts`, in ms, or of `ts` where a message has none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from xarb.errors import ConfigError
from xarb.imports.messages import MessageReader
from xarb.wires.bybit import ARCHIVE_DEPTH, VENUES, BybitSession
from xarb.wires.events import readable
from xarb.wires.refusal import Refused
from xarb.wires.times import nanos_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from xarb.imports.sources import Source
    from xarb.imports.tape import Tape
    from xarb.wires.events import WireEvent

_MARKET_OF: Final = {venue: market for market, venue in VENUES.items()}
_TOPIC: Final = f"orderbook.{ARCHIVE_DEPTH}."


class _Head(msgspec.Struct, gc=False):
    """What must be known of a line before its session reads it; times are ms."""

    topic: str
    ts: int
    cts: int | None = None


_decode = msgspec.json.Decoder(_Head).decode


class Reader:
    """Reads the files of one book; the session, and with it the sync of the book, lives on from file to file."""

    def __init__(self, source: Source, tape: Tape) -> None:
        venue, symbol = source.venue or "", source.symbol or ""
        market = _MARKET_OF.get(venue)
        if market is None:
            raise ConfigError(f"{source.name}: venue {venue!r} is none of Bybit's; allowed: {', '.join(_MARKET_OF)}")
        session = BybitSession(market, [tape.listings.require(venue, symbol)], depth=ARCHIVE_DEPTH)
        self._messages = MessageReader(tape, session, _time, "Bybit's archive of order books")

    def read(self, source: Source) -> Iterator[tuple[int, WireEvent]]:
        """The events of one file with the receive times that the rule makes.

        Raises:
            ConfigError: the file cannot be used, or its first line is no message of an order book of 500 levels.
        """
        return self._messages.read(source)


def _time(raw: bytes) -> int:
    """The venue's time of a message, ns.

    Raises:
        Refused: no JSON, without what a message has, of another topic, or with a time that is none.
    """
    try:
        head = _decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused("bad_json", readable(str(error))) from None
    if not head.topic.startswith(_TOPIC):
        raise Refused("unknown_message", readable(f"topic {head.topic[:80]!r} is not {_TOPIC}*"))
    try:
        return nanos_of(str(head.ts if head.cts is None else head.cts), "ms")
    except ValueError as error:
        raise Refused("bad_time", readable(str(error))) from None
