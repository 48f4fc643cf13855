"""Many sources, one order: a merge by receive time.

Rows of equal time keep the order of the sources file, and within a source the order of the file. A file that `continues` is read
after the one before it, on the same connection. Every connection is opened before its first row and closed after its last.
"""

from __future__ import annotations

import heapq
from itertools import count
from operator import itemgetter
from typing import TYPE_CHECKING, Final, Protocol

from xarb.imports import (
    binance_archive,
    binance_raw,
    bybit_ob500,
    bybit_trades,
    ccxt_books,
    coinapi_csv,
    cryptofeed_raw,
    cryptolake_parquet,
    hftbacktest_npz,
    nautilus_parquet,
    okx_books,
    okx_trades,
    quotes_csv,
    quotes_parquet,
    tardis_csv,
    tardis_raw,
)
from xarb.imports.tape import Listings, Tape
from xarb.model.units import NEVER
from xarb.wires.events import LinkEvent, RejectEvent, WireEvent
from xarb.wires.rows import Link

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from xarb.imports.sources import Source

Placed = tuple[int, Link, WireEvent]  # receive time (NEVER: at the end, at the last row's time), connection, event


class Reader(Protocol):
    """Reads files of one format; one reader serves a file and those that continue it."""

    def read(self, source: Source) -> Iterator[tuple[int, WireEvent]]:
        """The events of one file with receive times that never decrease; 0 for rejects before any time is known."""


READERS: Final[dict[str, Callable[[Source, Tape], Reader]]] = {
    "quotes-csv": quotes_csv.Reader,
    "quotes-parquet": quotes_parquet.Reader,
    "binance-raw": binance_raw.Reader,
    "binance-archive": binance_archive.Reader,
    "bybit-ob500": bybit_ob500.Reader,
    "bybit-trades": bybit_trades.Reader,
    "okx-books": okx_books.Reader,
    "okx-trades": okx_trades.Reader,
    "tardis-csv": tardis_csv.Reader,
    "tardis-raw": tardis_raw.Reader,
    "ccxt-books": ccxt_books.Reader,
    "coinapi-csv": coinapi_csv.Reader,
    "cryptofeed-raw": cryptofeed_raw.Reader,
    "cryptolake-parquet": cryptolake_parquet.Reader,
    "nautilus-parquet": nautilus_parquet.Reader,
    "hftbacktest-npz": hftbacktest_npz.Reader,
}


class Stream:
    """A source and those that continue it: one leg of the merge."""

    def __init__(self, sources: list[Source], listings: Listings, numbers: Iterator[int]) -> None:
        self.sources = sources
        self.tape = Tape(listings)
        self._numbers = numbers
        self._links: dict[str, Link] = {}
        self._reader = READERS[sources[0].format](sources[0], self.tape)

    def events(self) -> Iterator[Placed]:
        """The stream's events in order, each with its connection."""
        early: list[Placed] = []  # what came before any time was known takes the first one
        for placed in self._placed():
            if placed[0] == 0:
                early.append(placed)
                continue
            for _, link, event in early:
                yield placed[0], link, event
            early.clear()
            yield placed
        last = self.tape.last or NEVER
        for _, link, event in early:
            yield last, link, event
        for link in self._links.values():
            if link.conn >= 0:
                yield last, link, LinkEvent(link.venue, None, "closed", "end of the source")

    def _placed(self) -> Iterator[Placed]:
        before: Source | None = None
        for source in self.sources:
            if before is not None:
                for link in self._links.values():
                    link.source = source.name
                    yield self.tape.last, link, LinkEvent(link.venue, None, "heartbeat", f"continues {before.name}")
            if source.venue is not None and source.venue not in self._links:
                yield from self._reading(source, source.venue)
            else:
                yield from self._reading(source, None)
            before = source

    def _reading(self, source: Source, venue: str | None) -> Iterator[Placed]:
        """Events of one file; `venue` is opened with the first of them, or at the end of an empty file."""
        for ts_recv, event in self._reader.read(source):
            if venue is not None:
                yield ts_recv, *self._opened(venue, source)
                venue = None
            market = event.venue if isinstance(event, LinkEvent | RejectEvent) else event.listing.instrument.venue
            link = self._links.get(market or "")
            if link is None:
                if market is None or isinstance(event, RejectEvent):
                    yield ts_recv, self._nameless(source), event
                    continue
                found = self._opened(market, source)
                yield ts_recv, *found
                link = found[0]
            yield ts_recv, link, event
        if venue is not None:
            yield self.tape.last, *self._opened(venue, source)

    def _opened(self, venue: str, source: Source) -> tuple[Link, LinkEvent]:
        link = self._links[venue] = Link(next(self._numbers), venue, source.name)
        return link, LinkEvent(venue, None, "opened", f"import of {source.format}", None, source.time_rule)

    def _nameless(self, source: Source) -> Link:
        """The link of a reject whose venue is unknown or has no connection: the only connection, or none."""
        if len(self._links) == 1:
            return next(iter(self._links.values()))
        return Link(-1, "", source.name)


def streams_of(sources: tuple[Source, ...], listings: Listings, first_conn: int) -> list[Stream]:
    """The legs of the merge, in the order that breaks ties.

    Raises:
        ConfigError: a reader refuses its source.
    """
    numbers = count(first_conn)
    chains: list[list[Source]] = []
    for source in sources:
        if source.continues:
            chains[-1].append(source)
        else:
            chains.append([source])
    return [Stream(chain, listings, numbers) for chain in chains]


def merged(streams: list[Stream]) -> Iterator[Placed]:
    """All events by receive time; ties in the order of the streams."""
    return heapq.merge(*(stream.events() for stream in streams), key=itemgetter(0))
