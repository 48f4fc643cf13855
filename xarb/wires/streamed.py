"""Connections whose book snapshots come in the stream itself: what the sessions of such exchanges share.

There is nothing to buffer: a snapshot and what follows it arrive in order. A book is in sync from its snapshot until its session says that
it is lost; its updates are then `unsynced` until the next snapshot, which gives a `resync`. A lost book is subscribed to anew, alone, on the
same connection; the more often in vain, the later.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, TypeVar

import msgspec

from xarb.model.units import NANOS_PER_S
from xarb.wires.asking import Asking
from xarb.wires.decimals import Listing
from xarb.wires.events import APPLY, UNSYNCED, DepthEvent, LinkEvent, RejectEvent, WireEvent
from xarb.wires.refusal import FAULTS, Refused, of_waiting, reject_of
from xarb.wires.session import Ask, Reopen, Send

WAIT_NS: Final = 10 * NANOS_PER_S  # a snapshot that did not come is asked for after this long, again after twice as long each time
SEND_NS: Final = NANOS_PER_S // 4  # the slowest pace at which an adapter sends what it was asked to

_T = TypeVar("_T")


class _Book:
    """What is known of one symbol's book."""

    __slots__ = ("broken", "last", "live")

    def __init__(self) -> None:
        self.live = False
        self.last = 0  # the exchange's counter at the last message that was applied
        self.broken = False  # a gap was told since the last snapshot


class StreamedBooks:
    """Which books of a connection are in sync, and what is to be subscribed anew.

    Args:
        venue: venue id.
        listings: by native name.
        request: the texts that end and begin the book subscriptions of some native names.
    """

    def __init__(self, venue: str, listings: dict[str, Listing], request: Callable[[Sequence[str]], list[str]]) -> None:
        self._venue = venue
        self._listings = listings
        self._request = request
        self._books = {native: _Book() for native in listings}
        self._asking = Asking(listings, 2 * WAIT_NS)

    def expect(self, ts: int, messages: int) -> None:
        """All books are subscribed from `ts` ns on, with so many messages, which an adapter sends no slower than four a second."""
        self._asking.expect(ts, ts + WAIT_NS + messages * SEND_NS)

    def last(self, native: str) -> int | None:
        """The exchange's counter at the last applied message of a book; None while the book is not in sync."""
        book = self._books[native]
        return book.last if book.live else None

    def any_in_sync(self) -> bool:
        """Whether there is a book that could be lost."""
        return any(book.live for book in self._books.values())

    def snapshot(self, native: str, last: int | None, event: DepthEvent) -> list[WireEvent]:
        """The events of a snapshot, which starts the book whatever was before; `last` is None where messages have no counter."""
        book = self._books[native]
        events: list[WireEvent] = [event]
        if book.live or book.broken:
            why = "the exchange sent a new snapshot" if book.live else "snapshot after a gap"
            events.insert(
                0, LinkEvent(self._venue, event.listing.instrument.symbol, "resync", why if last is None else f"{why}, {last}")
            )
        book.live, book.broken, book.last = True, False, last or 0
        self._asking.came(native)
        return events

    def update(self, native: str, last: int, event: DepthEvent) -> list[WireEvent]:
        """The events of an update that follows the last one: applied while the book is in sync, else `unsynced`."""
        book = self._books[native]
        if not book.live:
            return [unsynced(event)]
        book.last = last
        return [event]

    def lost(self, native: str, detail: str) -> list[WireEvent]:
        """The gap of a book that can no longer be trusted, and none if that was told already."""
        book = self._books[native]
        if not self._lose(native, book):
            return []
        return [LinkEvent(self._venue, self._listings[native].instrument.symbol, "gap", detail)]

    def all_lost(self, detail: str) -> list[WireEvent]:
        """The gap of the whole connection: whatever was in sync no longer is."""
        for native, book in self._books.items():
            if book.live:
                self._lose(native, book)
        return [LinkEvent(self._venue, None, "gap", detail)]

    def _lose(self, native: str, book: _Book) -> bool:
        news, book.live, book.broken = book.live, False, True
        self._asking.want(native)
        return news

    def asks(self) -> list[Ask]:
        """The subscriptions that are due; a call takes them."""
        ready = self._asking.due()
        return [Send(text) for text in self._request(ready)] if ready else []

    def tick(self, ts: int) -> list[Ask]:
        """The same, with the time in ns."""
        self._asking.at(ts)
        return self.asks()


class StreamSession(ABC):
    """A session with books that start in the stream; an exchange's session says what its frames and requests look like.

    Args:
        venue: venue id.
        listings: the connection's instruments; other names give rejects.
        channels: what to subscribe when the connection opens.
        ping_every_ns: how often `ping` is sent, 0 for never.
        ping: the exchange's ping.
    """

    def __init__(
        self, venue: str, listings: Iterable[Listing], channels: Sequence[str], *, ping_every_ns: int = 0, ping: str = ""
    ) -> None:
        self.venue = venue
        self._listings = {listing.instrument.native: listing for listing in listings}
        self._channels = tuple(channels)
        self._books = StreamedBooks(venue, self._listings, self._resubscribe)
        self._ping_every_ns = ping_every_ns
        self._ping = ping
        self._pinged = 0
        self._reopen: str | None = None

    def open(self, ts: int) -> list[Ask]:
        """The subscriptions of all channels; snapshots come by themselves."""
        self._pinged = ts
        texts = self._subscribe() if self._listings else []
        if "deltas" in self._channels:
            self._books.expect(ts, len(texts))
        return [Send(text) for text in texts]

    def asks(self) -> list[Ask]:
        """Lost books to subscribe anew, and the reconnect that the exchange announced."""
        asks = self._books.asks()
        if self._reopen is not None:
            asks.append(Reopen(self._reopen))
            self._reopen = None
        return asks

    def tick(self, ts: int) -> list[Ask]:
        """The ping where one is due, and lost books that are still lost."""
        asks = self._books.tick(ts)
        if self._ping_every_ns and ts - self._pinged >= self._ping_every_ns:
            self._pinged = ts
            asks.append(Send(self._ping))
        return asks

    def receive(self, payload: bytes, native: str | None = None) -> list[WireEvent]:  # noqa: ARG002  # the seam's signature
        """The events of one frame as it arrived; whatever is wrong with it is a reject."""
        try:
            return self._read(payload)
        except FAULTS as error:
            return [self._reject(error, payload), *self._unreadable(error, payload)]

    @abstractmethod
    def _subscribe(self) -> list[str]:
        """The messages that subscribe every channel of every instrument."""

    @abstractmethod
    def _resubscribe(self, natives: Sequence[str]) -> list[str]:
        """The messages that end and begin the book subscriptions of these instruments."""

    @abstractmethod
    def _read(self, payload: bytes) -> list[WireEvent]:
        """The events of a frame.

        Raises:
            Refused: the frame breaks a rule.
            DecodeError: it is not JSON, or not the shape of any known message.
            ValueError: a number is none, or does not fit.
        """

    def _unreadable(self, error: Exception, payload: bytes) -> list[WireEvent]:  # noqa: ARG002  # for exchanges that must react
        """What it means besides a reject that a frame as a whole raised `error`."""
        return []

    def _listing(self, native: str | None) -> Listing:
        listing = self._listings.get(native or "")
        if listing is None:
            raise Refused("unknown_instrument", f"{native!r} is no instrument of this connection")
        return listing

    def _reject(self, error: Exception, payload: bytes, native: str | None = None) -> RejectEvent:
        return reject_of(error, payload, self.venue, native, self._listings.get(native or ""))

    def _each(
        self, items: Iterable[_T], read: Callable[[_T], Iterable[WireEvent]], payload: bytes, native: str
    ) -> Iterator[WireEvent]:
        """The events of every part of a frame; a part that is wrong becomes a reject and leaves the others alone."""
        for item in items:
            try:
                yield from read(item)
            except FAULTS as error:
                yield self._reject(error, payload, native)

    def _part(self, item: _T, read: Callable[[_T], list[WireEvent]], payload: bytes, native: str) -> list[WireEvent]:
        """The events of a part of a frame that concerns a book; one that cannot be read leaves a hole in the book."""
        try:
            return read(item)
        except FAULTS as error:
            reject = self._reject(error, payload, native)
            if native not in self._listings:
                return [reject]
            gap = self._books.lost(native, f"a message was rejected: {reject.rule}")
            return [reject, *gap] if gap else [of_waiting(reject)]


def unsynced(event: DepthEvent) -> DepthEvent:
    """The same message, which moves no book."""
    return msgspec.structs.replace(event, verdict=UNSYNCED)


def depth_of(
    listing: Listing,
    ids: tuple[int | None, int | None, int | None],
    sides: tuple[Sequence[tuple[str, ...]], Sequence[tuple[str, ...]]],
    *,
    is_snapshot: bool,
) -> DepthEvent:
    """A book message to apply, from its event time and its own and its predecessor's id, and from the texts of bids and asks.

    Raises:
        ValueError: a text is no decimal number, or does not fit.
    """
    ts_event, last, prev = ids
    bids, asks = sides
    prices, qtys = listing.levels([*bids, *asks])
    cut = len(bids)
    levels = prices[:cut], qtys[:cut], prices[cut:], qtys[cut:]
    return DepthEvent(listing, ts_event, last, None, prev, is_snapshot, APPLY, *levels, *listing.scales)
