"""Raw line logs of Binance streams: `<receive time, ns> <JSON as received>`, one message a line, plain or gzip."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from xarb.errors import ConfigError
from xarb.imports.textfile import TextFile
from xarb.wires.binance import MARKETS, BinanceSession
from xarb.wires.events import RejectEvent, WireEvent, readable
from xarb.wires.times import nanos_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from xarb.imports.sources import Source
    from xarb.imports.tape import Tape

_MARKET_OF = {venue: market for market, venue in MARKETS.items()}


class Reader:
    """Reads the files of one stream; the session, and with it the sync of the book, lives on from file to file."""

    def __init__(self, source: Source, tape: Tape) -> None:
        venue, symbol = source.venue or "", source.symbol or ""
        market = _MARKET_OF.get(venue)
        if market is None:
            raise ConfigError(f"{source.name}: venue {venue!r} is none of Binance's; allowed: {', '.join(MARKETS.values())}")
        self._tape = tape
        self._session = BinanceSession(market, [tape.listings.require(venue, symbol)])

    def read(self, source: Source) -> Iterator[tuple[int, WireEvent]]:
        """The events of one file with their receive times.

        Raises:
            ConfigError: the file cannot be used.
        """
        tape, receive, file = self._tape, self._session.receive, TextFile(source.file)
        start = tape.bytes_read
        line = 0
        for line, raw in file.lines():
            tape.bytes_read = start + file.bytes_read
            clock, _, payload = raw.partition(b" ")
            try:
                ts_recv = nanos_of(clock.decode("ascii"), "ns")
            except ValueError as error:
                yield tape.last, RejectEvent("bad_time", readable(str(error)), readable(raw), source.venue, None, line)
                continue
            late = tape.backwards(ts_recv, line, raw, source.venue)
            if late is not None:
                yield tape.last, late
                continue
            for event in receive(payload):
                yield ts_recv, msgspec.structs.replace(event, line=line) if isinstance(event, RejectEvent) else event
        if file.truncated:
            detail = "the gzip file stops in the middle; the lines before are imported"
            yield tape.last, RejectEvent("truncated_file", detail, None, source.venue, None, line)
