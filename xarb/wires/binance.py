"""Binance spot, USD-M and COIN-M market streams: frames to exact events, with order books kept in sync.

A session owns one connection. It keeps no book, only what proves that a book can be kept: the last update id of each symbol and a
bounded buffer of updates. Rules (Binance "How to manage a local order book correctly", spot and futures):

- Before a snapshot every update is handed back with verdict `unsynced` and is buffered.
- A snapshot with id L that reaches the buffered updates is handed back, and after it, again and with verdict `apply`, the buffered
  updates that are newer than L: the first copy says what arrived when, the second one builds the book.
- A spot update is old when u <= L, a futures update when u < L; one that arrives late is handed back with verdict `old`.
- Spot continues with U <= last + 1 <= u, then U = last + 1; futures start with U or pu at or below L, then pu = last u.
- A break gives a `gap`, and updates are `unsynced` again until a snapshot, which gives a `resync`. A snapshot older than the oldest
  buffered update cannot start a book: it is handed back as `unsynced` with a `gap`, and the caller fetches another.
- A snapshot older than a book in sync is handed back as `old`.

Nothing is dropped: whatever cannot be decoded is a reject with its text.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Annotated, Any, Final, TypeVar

import msgspec

from xarb.model.units import INT64_MAX, parse_money
from xarb.wires.decimals import Listing
from xarb.wires.events import (
    APPLY,
    BUY,
    OLD,
    SELL,
    UNSYNCED,
    DepthEvent,
    LinkEvent,
    MarkEvent,
    QuoteEvent,
    RejectEvent,
    TradeEvent,
    WireEvent,
    readable,
)
from xarb.wires.times import nanos_of

BUFFERED: Final = 2048  # updates kept per symbol while waiting for a snapshot: 200 s at 100 ms, several at the raw pace
MARKETS: Final = {"spot": "binance", "usdm": "binanceusdm", "coinm": "binancecoinm"}

_Id = Annotated[int, msgspec.Meta(ge=-1, le=INT64_MAX)]
_Levels = list[tuple[str, str]]
_T = TypeVar("_T")


class _Frame(msgspec.Struct, gc=False):
    """Union of the fields that the decoded streams and the REST snapshot use; `data` is the payload of an envelope."""

    stream: str | None = None
    data: _Frame | None = None
    e: str | None = None
    E: int | None = None
    T: int | None = None
    s: str | None = None
    symbol: str | None = None
    U: _Id | None = None
    u: _Id | None = None
    pu: _Id | None = None
    b: _Levels | str | int | None = None
    a: _Levels | str | int | None = None
    B: str | None = None
    A: str | None = None
    t: int | None = None
    p: str | None = None
    q: str | int | None = None
    m: bool | None = None
    i: str | None = None
    r: str | None = None
    lastUpdateId: _Id | None = None  # noqa: N815  # the wire's own name
    bids: _Levels | None = None
    asks: _Levels | None = None
    id: int | str | None = None
    code: int | None = None
    msg: str | None = None
    error: Any = None


class _Update(msgspec.Struct, gc=False):
    """A decoded depth update with its ids."""

    first: int
    last: int
    prev: int | None
    event: DepthEvent


class _Sync:
    """What is known of one symbol's sequence."""

    __slots__ = ("broken", "buffer", "last", "starting")

    def __init__(self, limit: int) -> None:
        self.last: int | None = None  # last update id of the book, None while there is none
        self.starting = False  # the next update is the first after a snapshot
        self.broken = False  # a gap was seen since the last sync
        self.buffer: deque[_Update] = deque(maxlen=limit)


_decode = msgspec.json.Decoder(_Frame).decode
_decode_loosely = msgspec.json.Decoder(Any, float_hook=str).decode
_TEXTS: Final = ("b", "a", "B", "A", "p", "q", "i", "r")


def _untyped(payload: bytes) -> _Frame:
    """Decode a frame whose prices are JSON numbers: their text is kept, no float is made.

    Raises:
        msgspec.DecodeError: not JSON, or not the shape of any known message.
    """
    found = _decode_loosely(payload)
    if not isinstance(found, dict):
        raise msgspec.ValidationError("Expected `object`")
    inner = found.get("data")
    for part in (found, inner if isinstance(inner, dict) else {}):
        for key in _TEXTS:
            value = part.get(key)
            if isinstance(value, int) and not isinstance(value, bool) and not (part.get("e") == "aggTrade" and key == "a"):
                part[key] = str(value)
        for key in ("b", "a", "bids", "asks"):
            if isinstance(part.get(key), list):
                part[key] = [_level(level) for level in part[key]]
    return msgspec.convert(found, _Frame)


def _level(level: object) -> object:
    if not isinstance(level, list):
        return level
    return [str(number) if isinstance(number, int) and not isinstance(number, bool) else number for number in level]


class BinanceSession:
    """One connection to one of Binance's three market-data services.

    Args:
        market: `spot`, `usdm` or `coinm`.
        listings: listing of each native name (`BTCUSDT`); names outside it give rejects.
        buffered: updates kept per symbol while waiting for a snapshot; the oldest leaves the buffer first, its rows are recorded.
    """

    def __init__(self, market: str, listings: Iterable[Listing], *, buffered: int = BUFFERED) -> None:
        self.venue = MARKETS[market]
        self._futures = market != "spot"
        self._listings = {listing.instrument.native: listing for listing in listings}
        self._syncs = {native: _Sync(buffered) for native in self._listings}
        self._readers: dict[str, Callable[[_Frame, Listing], list[WireEvent]]] = {
            "depthUpdate": self._depth,
            "bookTicker": self._ticker,
            "trade": self._trade,
            "aggTrade": self._trade,
            "markPriceUpdate": self._mark,
        }

    def needs_snapshot(self, native: str) -> bool:
        """Whether the symbol has updates but no book in sync: the adapter fetches a snapshot."""
        sync = self._syncs[native]
        return sync.last is None and bool(sync.buffer)

    def lost(self) -> None:
        """The connection broke: every book is out of sync and buffers are empty; the adapter records the loss itself."""
        for sync in self._syncs.values():
            sync.broken = sync.broken or sync.last is not None
            sync.last, sync.starting = None, False
            sync.buffer.clear()

    def receive(self, payload: bytes) -> list[WireEvent]:
        """Decode one frame as it arrived; a REST snapshot in the stream of a one-symbol session is taken as such."""
        return self._guarded(payload, None)

    def snapshot(self, native: str, payload: bytes) -> list[WireEvent]:
        """Decode the answer to a REST depth request for `native`."""
        return self._guarded(payload, native)

    def _guarded(self, payload: bytes, native: str | None) -> list[WireEvent]:
        try:
            frame = _decode(payload)
        except msgspec.ValidationError:
            try:
                frame = _untyped(payload)
            except (msgspec.DecodeError, ValueError, RecursionError) as error:
                return [self._reject("wrong_type", str(error), payload)]
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            return [self._reject("bad_json", str(error), payload)]
        body = frame.data if frame.data is not None else frame
        name = native or body.s or body.symbol
        try:
            return self._dispatch(body, name, payload)
        except ValueError as error:
            return [self._reject("bad_number", str(error), payload, native=name)]

    def _dispatch(self, body: _Frame, name: str | None, payload: bytes) -> list[WireEvent]:
        if body.lastUpdateId is not None:
            name = name or (next(iter(self._listings)) if len(self._listings) == 1 else None)
            reader: Callable[[_Frame, Listing], list[WireEvent]] | None = self._snapshot
        elif body.e is None and body.u is not None and isinstance(body.b, str):
            reader = self._ticker
        elif body.e is not None:
            reader = self._readers.get(body.e)
        elif body.id is not None and body.code is None and body.error is None and name is None:
            return [LinkEvent(self.venue, None, "subscribed", f"request {body.id} acknowledged")]
        else:
            reader = None
        if reader is None:
            return [self._reject("unknown_message", f"message type {body.e!r} is not decoded", payload, native=name)]
        listing = self._listings.get(name or "")
        if listing is None:
            return [self._reject("unknown_instrument", f"{name!r} is no instrument of this connection", payload, native=name)]
        try:
            return reader(body, listing)
        except _Missing as missing:
            return [self._reject("missing_field", str(missing), payload, native=name)]

    def _reject(self, rule: str, detail: str, payload: bytes, *, native: str | None = None) -> RejectEvent:
        listing = self._listings.get(native or "")
        symbol = listing.instrument.symbol if listing else native
        return RejectEvent(rule, readable(detail[:500]), readable(payload), self.venue, symbol)

    def _ticker(self, body: _Frame, listing: Listing) -> list[WireEvent]:
        if not isinstance(body.b, str) or not isinstance(body.a, str):
            raise _Missing("b and a must be prices")
        bid_qty, ask_qty = _need(body.B, "B"), _need(body.A, "A")
        bid, bid_size, ask, ask_size = listing.quote(body.b, bid_qty, body.a, ask_qty)
        if bid_size == 0:  # Binance sends zero price and size for an empty side
            bid = bid_size = None
        if ask_size == 0:
            ask = ask_size = None
        return [QuoteEvent(listing, _when(body), body.u, bid, bid_size, ask, ask_size, *listing.scales)]

    def _trade(self, body: _Frame, listing: Listing) -> list[WireEvent]:
        number = body.t if body.e == "trade" else body.a
        if not isinstance(number, int):
            raise _Missing("a trade must have its id")
        if body.m is None:
            raise _Missing("m, whether the buyer is the maker, is absent")
        prices, qtys = listing.levels([(_need(body.p, "p"), _need(_text(body.q), "q"))])
        aggressor = SELL if body.m else BUY
        return [TradeEvent(listing, _when(body), None, str(number), prices[0], qtys[0], aggressor, *listing.scales)]

    def _mark(self, body: _Frame, listing: Listing) -> list[WireEvent]:
        mark, _, index, _ = listing.quote(_need(body.p, "p"), None, body.i or None, None)
        rate = parse_money(body.r) if body.r else None
        due = nanos_of(str(body.T), "ms") if body.T else None
        when = nanos_of(str(body.E), "ms") if body.E is not None else None  # T is the next funding time in this message
        return [MarkEvent(listing, when, mark, index, rate, due, *listing.scales)]

    def _levels_of(self, body: _Frame, listing: Listing) -> tuple[list[int], list[int], list[int], list[int], int, int]:
        bids, asks = (body.bids, body.asks) if body.lastUpdateId is not None else (body.b, body.a)
        if not isinstance(bids, list) or not isinstance(asks, list):
            raise _Missing("bids and asks must be lists of levels")
        prices, qtys = listing.levels(bids + asks)
        cut = len(bids)
        return prices[:cut], qtys[:cut], prices[cut:], qtys[cut:], *listing.scales

    def _depth(self, body: _Frame, listing: Listing) -> list[WireEvent]:
        first, last = _need(body.U, "U"), _need(body.u, "u")
        prev = _need(body.pu, "pu") if self._futures else None
        event = DepthEvent(
            listing,
            _when(body),
            last,
            first,
            prev,
            False,
            UNSYNCED,
            *self._levels_of(body, listing),
        )
        sync = self._syncs[listing.instrument.native]
        if sync.last is None:
            return self._wait(sync, _Update(first, last, prev, event))
        return self._follow(sync, _Update(first, last, prev, event))

    def _wait(self, sync: _Sync, update: _Update) -> list[WireEvent]:
        sync.buffer.append(update)
        return [update.event]

    def _follow(self, sync: _Sync, update: _Update) -> list[WireEvent]:
        """Judge an update against a book in sync, and move the book on."""
        last = sync.last
        assert last is not None, "a book in sync has a last id"
        if self._is_old(sync, update):
            return [msgspec.structs.replace(update.event, verdict=OLD)]
        if not self._continues(sync, update):
            expected = f"U <= {last + 1}" if sync.starting else (f"pu = {last}" if self._futures else f"U = {last + 1}")
            sync.last, sync.starting, sync.broken = None, False, True
            detail = f"expected {expected}, got U {update.first} u {update.last} pu {update.prev}"
            instrument = update.event.listing.instrument
            return [LinkEvent(self.venue, instrument.symbol, "gap", detail), *self._wait(sync, update)]
        sync.last, sync.starting = update.last, False
        return [msgspec.structs.replace(update.event, verdict=APPLY)]

    def _is_old(self, sync: _Sync, update: _Update) -> bool:
        last = sync.last
        assert last is not None, "a book in sync has a last id"
        if self._futures and sync.starting:
            return update.last < last
        return update.last <= last

    def _continues(self, sync: _Sync, update: _Update) -> bool:
        last = sync.last
        assert last is not None, "a book in sync has a last id"
        if not self._futures:
            return update.first <= last + 1 if sync.starting else update.first == last + 1
        if sync.starting:
            return update.first <= last or (update.prev is not None and update.prev <= last)
        return update.prev == last

    def _snapshot(self, body: _Frame, listing: Listing) -> list[WireEvent]:
        last = _need(body.lastUpdateId, "lastUpdateId")
        event = DepthEvent(
            listing,
            _when(body),
            last,
            None,
            None,
            True,
            APPLY,
            *self._levels_of(body, listing),
        )
        sync = self._syncs[listing.instrument.native]
        if sync.last is not None and last < sync.last:
            return [msgspec.structs.replace(event, verdict=OLD)]
        trial = _Sync(1)
        trial.last, trial.starting = last, True
        newer = [update for update in sync.buffer if not self._is_old(trial, update)]
        symbol = listing.instrument.symbol
        if newer and not self._continues(trial, newer[0]):
            sync.broken = True
            detail = f"snapshot {last} is older than the oldest update waiting, U {newer[0].first}"
            return [LinkEvent(self.venue, symbol, "gap", detail), msgspec.structs.replace(event, verdict=UNSYNCED)]
        events: list[WireEvent] = [event]
        if sync.broken:
            events.insert(0, LinkEvent(self.venue, symbol, "resync", f"snapshot {last}"))
        sync.last, sync.starting, sync.broken = last, True, False
        sync.buffer.clear()
        for update in newer:
            found = self._follow(sync, update) if sync.last is not None else self._wait(sync, update)
            # An update behind a break inside the buffer was recorded as unsynced when it came: only the break is news.
            events.extend(item for item in found if not (isinstance(item, DepthEvent) and item.verdict == UNSYNCED))
        return events


class _Missing(Exception):  # private, becomes a reject
    """A field that the message type must have is absent or of another type."""


def _need(value: _T | None, name: str) -> _T:
    if value is None:
        raise _Missing(f"{name} is absent")
    return value


def _text(value: str | int | None) -> str | None:
    return None if value is None else str(value)


def _when(body: _Frame) -> int | None:
    """Matching-engine time where the frame has it, else the event time, ns."""
    value = body.T if body.T is not None else body.E
    return None if value is None else nanos_of(str(value), "ms")
