"""Binance spot, USD-M and COIN-M market streams: frames to exact events, with order books kept in sync.

A session owns one connection. It keeps no book, only what proves that a book can be kept: the last update id of each symbol and a
bounded buffer of updates. Rules (Binance "How to manage a local order book correctly", spot and futures):

- Before a snapshot every update is handed back with verdict `unsynced` and is buffered.
- A snapshot with id L that reaches the buffered updates is handed back, and after it, again and with verdict `apply`, the buffered
  updates that are newer than L, as one message: the first copy says what arrived when, the second one builds the book.
- A spot update is old when u <= L, a futures update when u < L; one that arrives late is handed back with verdict `old`.
- Spot continues with U <= last + 1 <= u, then U = last + 1; futures start with U or pu at or below L, then pu = last u.
- A break gives a `gap`, and updates are `unsynced` again until a snapshot, which gives a `resync`. A snapshot older than the oldest
  buffered update, or followed by a break in the buffer, cannot start a book: it is handed back as `unsynced` with a `gap`, and
  the caller fetches another.
- A snapshot older than a book in sync is handed back as `old`.

The buffer and the order of these steps are `wires/continuity.py`; this file has Binance's rule for what follows what. Nothing is dropped:
whatever cannot be decoded is a reject with its text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Any, Final

import msgspec

from xarb.model.units import INT64_MAX
from xarb.wires.continuity import BUFFERED, Rule, Update
from xarb.wires.decimals import Listing
from xarb.wires.events import (
    APPLY,
    BUY,
    SELL,
    UNSYNCED,
    DepthEvent,
    LinkEvent,
    MarkEvent,
    QuoteEvent,
    TradeEvent,
    WireEvent,
)
from xarb.wires.fetched import FetchedSession
from xarb.wires.refusal import Refused, need, ratio_of
from xarb.wires.session import Ask, Send
from xarb.wires.times import nanos_of

MARKETS: Final = {"spot": "binance", "usdm": "binanceusdm", "coinm": "binancecoinm"}
_STREAMS: Final = {  # stream by market and channel
    "spot": {"quotes": "bookTicker", "deltas": "depth@100ms", "trades": "trade"},
    "usdm": {"quotes": "bookTicker", "deltas": "depth@0ms", "trades": "aggTrade", "marks": "markPrice@1s"},
    "coinm": {"quotes": "bookTicker", "deltas": "depth@0ms", "trades": "aggTrade", "marks": "markPrice@1s"},
}
_DEPTH_PATHS: Final = {"spot": "/api/v3/depth", "usdm": "/fapi/v1/depth", "coinm": "/dapi/v1/depth"}
_STREAMS_A_MESSAGE: Final = 200
_ENDS: Final = ("serverShutdown", "eventStreamTerminated")

_Id = Annotated[int, msgspec.Meta(ge=-1, le=INT64_MAX)]
_Levels = list[tuple[str, str]]


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
    X: str | None = None
    i: str | None = None
    r: str | None = None
    lastUpdateId: _Id | None = None  # noqa: N815  # the wire's own name
    bids: _Levels | None = None
    asks: _Levels | None = None
    id: int | str | None = None
    code: int | None = None
    msg: str | None = None
    error: Any = None


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


class BinanceSession(FetchedSession):
    """One connection to one of Binance's three market-data services.

    Args:
        market: `spot`, `usdm` or `coinm`.
        listings: listing of each native name (`BTCUSDT`); names outside it give rejects.
        channels: of `quotes`, `deltas`, `trades` and `marks` those to subscribe when the connection opens.
        buffered: updates kept per symbol while waiting for a snapshot; the oldest leaves the buffer first, its rows are recorded.
    """

    def __init__(self, market: str, listings: Iterable[Listing], channels: Sequence[str] = (), *, buffered: int = BUFFERED) -> None:
        self._futures = market != "spot"
        rule, path = FUTURES_RULE if self._futures else SPOT_RULE, _DEPTH_PATHS[market] + "?symbol={}&limit=1000"
        super().__init__(MARKETS[market], listings, rule, path.format, buffered=buffered)
        natives = self._intake.listings
        self._streams = [f"{native.lower()}@{_STREAMS[market][channel]}" for native in natives for channel in channels]
        self._readers: dict[str, Callable[[_Frame, Listing], list[WireEvent]]] = {
            "depthUpdate": self._depth,
            "bookTicker": self._ticker,
            "trade": self._trade,
            "aggTrade": self._trade,
            "markPriceUpdate": self._mark,
        }

    def open(self, ts: int) -> list[Ask]:  # noqa: ARG002  # the seam's signature
        """Subscriptions, at most 200 streams a message; snapshots follow once updates flow."""
        texts = []
        for number, start in enumerate(range(0, len(self._streams), _STREAMS_A_MESSAGE)):
            params = self._streams[start : start + _STREAMS_A_MESSAGE]
            texts.append(msgspec.json.encode({"method": "SUBSCRIBE", "params": params, "id": number + 1}).decode())
        return [Send(text) for text in texts]

    def _read(self, payload: bytes, native: str | None) -> list[WireEvent]:
        """Decode a frame; a REST snapshot in the stream of a one-symbol session is taken as such."""
        try:
            frame = _decode(payload)
        except msgspec.ValidationError:
            try:
                frame = _untyped(payload)
            except (msgspec.DecodeError, ValueError, RecursionError) as error:
                raise Refused("wrong_type", str(error)) from error
        body = frame.data if frame.data is not None else frame
        name = native or body.s or body.symbol
        self._intake.about(name)
        if body.lastUpdateId is not None:
            name = name or (next(iter(self._syncs)) if len(self._syncs) == 1 else None)
            reader: Callable[[_Frame, Listing], list[WireEvent]] | None = self._snapshot
        elif body.e is None and body.u is not None and isinstance(body.b, str):
            reader = self._ticker
        elif body.e in _ENDS:
            self._reopen = body.e
            return [LinkEvent(self.venue, None, "heartbeat", f"{body.e}: the exchange will close the connection")]
        elif body.e is not None:
            reader = self._readers.get(body.e)
        elif body.id is not None and body.code is None and body.error is None and name is None:
            return [LinkEvent(self.venue, None, "subscribed", f"request {body.id} acknowledged")]
        else:
            reader = None
        if reader is None:
            raise Refused("unknown_message", f"message type {body.e!r} is not decoded")
        return reader(body, self._intake.listing(name))

    def _ticker(self, body: _Frame, listing: Listing) -> list[WireEvent]:
        if not isinstance(body.b, str) or not isinstance(body.a, str):
            raise Refused("missing_field", "b and a must be prices")
        bid_qty, ask_qty = need(body.B, "B"), need(body.A, "A")
        bid, bid_size, ask, ask_size = listing.quote(body.b, bid_qty, body.a, ask_qty)
        if bid_size == 0:  # Binance sends zero price and size for an empty side
            bid = bid_size = None
        if ask_size == 0:
            ask = ask_size = None
        return [QuoteEvent(listing, _when(body), body.u, bid, bid_size, ask, ask_size, *listing.scales)]

    def _trade(self, body: _Frame, listing: Listing) -> list[WireEvent]:
        number = body.t if body.e == "trade" else body.a
        if not isinstance(number, int):
            raise Refused("missing_field", "a trade must have its id")
        if body.m is None:
            raise Refused("missing_field", "m, whether the buyer is the maker, is absent")
        if body.X not in {None, "MARKET"}:  # of futures: the insurance fund or a deleveraging took it over, on no book
            raise Refused("off_book_trade", f"a trade of kind {body.X[:40]!r} was not made on the book")
        prices, qtys = listing.levels([(need(body.p, "p"), need(_text(body.q), "q"))])
        aggressor = SELL if body.m else BUY
        return [TradeEvent(listing, _when(body), None, str(number), prices[0], qtys[0], aggressor, *listing.scales)]

    def _mark(self, body: _Frame, listing: Listing) -> list[WireEvent]:
        mark, _, index, _ = listing.quote(need(body.p, "p"), None, body.i or None, None)
        rate = ratio_of(body.r)
        due = nanos_of(str(body.T), "ms") if body.T else None
        when = nanos_of(str(body.E), "ms") if body.E is not None else None  # T is the next funding time in this message
        return [MarkEvent(listing, when, mark, index, rate, due, *listing.scales)]

    def _levels_of(self, body: _Frame, listing: Listing) -> tuple[list[int], list[int], list[int], list[int], int, int]:
        bids, asks = (body.bids, body.asks) if body.lastUpdateId is not None else (body.b, body.a)
        if not isinstance(bids, list) or not isinstance(asks, list):
            raise Refused("missing_field", "bids and asks must be lists of levels")
        prices, qtys = listing.levels(bids + asks)
        cut = len(bids)
        return prices[:cut], qtys[:cut], prices[cut:], qtys[cut:], *listing.scales

    def _depth(self, body: _Frame, listing: Listing) -> list[WireEvent]:
        native = listing.instrument.native
        self._concerns(native)
        first, last = need(body.U, "U"), need(body.u, "u")
        prev = need(body.pu, "pu") if self._futures else None
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
        return self._updated(native, Update(first, last, prev, event))

    def _snapshot(self, body: _Frame, listing: Listing) -> list[WireEvent]:
        last = need(body.lastUpdateId, "lastUpdateId")
        event = DepthEvent(listing, _when(body), last, None, None, True, APPLY, *self._levels_of(body, listing))
        return self._started(listing.instrument.native, last, event)


def _spot_is_old(last: int, starting: bool, update: Update) -> bool:  # noqa: FBT001, ARG001  # columns of the rule
    return update.last <= last


def _spot_continues(last: int, starting: bool, update: Update) -> bool:  # noqa: FBT001  # same
    return update.first <= last + 1 if starting else update.first == last + 1


def _spot_expected(last: int, starting: bool) -> str:  # noqa: FBT001  # same
    return f"U <= {last + 1}" if starting else f"U = {last + 1}"


def _futures_is_old(last: int, starting: bool, update: Update) -> bool:  # noqa: FBT001  # same
    return update.last < last if starting else update.last <= last


def _futures_continues(last: int, starting: bool, update: Update) -> bool:  # noqa: FBT001  # same
    if starting:
        return update.first <= last or (update.prev is not None and update.prev <= last)
    return update.prev == last


def _futures_expected(last: int, starting: bool) -> str:  # noqa: FBT001  # same
    return f"U <= {last + 1}" if starting else f"pu = {last}"


SPOT_RULE: Final = Rule(_spot_is_old, _spot_continues, _spot_expected)
FUTURES_RULE: Final = Rule(_futures_is_old, _futures_continues, _futures_expected)


def _text(value: str | int | None) -> str | None:
    return None if value is None else str(value)


def _when(body: _Frame) -> int | None:
    """Matching-engine time where the frame has it, else the event time, ns."""
    value = body.T if body.T is not None else body.E
    return None if value is None else nanos_of(str(value), "ms")
