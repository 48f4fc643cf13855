"""Gate spot market streams (v4): frames to exact events, with order books kept in sync.

Format and rules: Gate "Spot WebSocket v4", order book channels, 2026.

- `spot.order_book_update` at 100 ms concerns the best 100 levels a side. An update says its ids U and u; it continues a book whose id is L when
  U <= L + 1 <= u. The book starts with a REST snapshot of the same depth and its id, or with a message marked `full`, which the
  exchange sends now and then: that is the whole book, as of u, and replaces what was there.
- A level that falls behind the 100th is no longer updated, and is told again when it comes back: behind the 100th level a book is not proven.
- `spot.book_ticker` is the best bid and ask, every 10 ms, with the id of the book.
- `spot.trades` is a trade; `side` is the taker's, `id_market` counts the trades of the market (absent in messages before 2024).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Any, Final

import msgspec

from xarb.model.units import INT64_MAX, NANOS_PER_S
from xarb.wires.continuity import BUFFERED, OVERLAP_RULE, Update
from xarb.wires.decimals import Listing
from xarb.wires.events import APPLY, BUY, SELL, UNSYNCED, DepthEvent, LinkEvent, TradeEvent, WireEvent
from xarb.wires.fetched import FetchedSession
from xarb.wires.intake import best, millis, sides
from xarb.wires.pings import Pings
from xarb.wires.refusal import Refused
from xarb.wires.session import Ask, Send
from xarb.wires.times import nanos_of

PING_NS: Final = 15 * NANOS_PER_S
_CHANNELS: Final = {"quotes": "spot.book_ticker", "deltas": "spot.order_book_update", "trades": "spot.trades"}
_PACE: Final = "100ms"  # 100 levels; the faster 20ms has 20
_SYMBOLS_A_MESSAGE: Final = 100

_Id = Annotated[int, msgspec.Meta(ge=0, le=INT64_MAX)]


class _Frame(msgspec.Struct, gc=False):
    """The envelope of a stream message."""

    channel: str
    event: str = ""
    error: Any = None
    result: msgspec.Raw = msgspec.Raw(b"null")


class _Depth(msgspec.Struct, gc=False):
    """`spot.order_book_update`; `t` is in ms."""

    s: str
    t: int
    U: _Id
    u: _Id
    b: list[tuple[str, str]]
    a: list[tuple[str, str]]
    full: bool = False


class _Ticker(msgspec.Struct, gc=False):
    """`spot.book_ticker`; `t` is in ms, an empty side has empty texts."""

    s: str
    t: int
    u: _Id
    b: str
    B: str
    a: str
    A: str


class _Trade(msgspec.Struct, gc=False):
    """`spot.trades`; `create_time_ms` is in ms with a fraction."""

    id: _Id
    currency_pair: str
    create_time_ms: str
    side: str
    amount: str
    price: str
    id_market: _Id | None = None


class _Book(msgspec.Struct, gc=False):
    """`GET /api/v4/spot/order_book`; `update` is the time of the book in ms, `current` that of the answer."""

    id: _Id
    bids: list[tuple[str, str]]
    asks: list[tuple[str, str]]
    update: int | None = None


_frame = msgspec.json.Decoder(_Frame).decode
_depth = msgspec.json.Decoder(_Depth).decode
_ticker = msgspec.json.Decoder(_Ticker).decode
_trade = msgspec.json.Decoder(_Trade).decode
_book = msgspec.json.Decoder(_Book).decode


class GateSession(FetchedSession):
    """One connection to Gate's public spot stream.

    Args:
        listings: listing of each native name (`BTC_USDT`); names outside it give rejects.
        channels: of `quotes`, `deltas` and `trades` those to subscribe when the connection opens.
        buffered: updates kept per symbol while waiting for a snapshot; the oldest leaves the buffer first, its rows are recorded.
    """

    def __init__(self, listings: Iterable[Listing], channels: Sequence[str] = (), *, buffered: int = BUFFERED) -> None:
        path = "/api/v4/spot/order_book?currency_pair={}&limit=100&with_id=true"
        pings = Pings(PING_NS, lambda ts: _message(ts, {"channel": "spot.ping"}))
        super().__init__("gate", listings, OVERLAP_RULE, path.format, buffered=buffered, pings=pings)
        self._channels = channels
        self._readers: dict[str, Callable[[msgspec.Raw], list[WireEvent]]] = {
            "spot.book_ticker": self._best,
            "spot.order_book_update": self._depth,
            "spot.trades": self._trade,
        }

    def open(self, ts: int) -> list[Ask]:
        """Subscriptions: up to 100 instruments a message, one a message where a pace is named beside it."""
        self.tick(ts)
        natives = list(self._intake.listings)
        asks: list[Ask] = []
        for channel in self._channels:
            if channel == "deltas":
                payloads = [[native, _PACE] for native in natives]
            else:
                payloads = [natives[start : start + _SYMBOLS_A_MESSAGE] for start in range(0, len(natives), _SYMBOLS_A_MESSAGE)]
            for payload in payloads:
                asks.append(Send(_message(ts, {"channel": _CHANNELS[channel], "event": "subscribe", "payload": payload})))
        return asks

    def _read(self, payload: bytes, native: str | None) -> list[WireEvent]:
        if native is not None:
            return self._snapshot(_book(payload), self._intake.listing(native))
        frame = _frame(payload)
        if frame.error is not None:
            raise Refused("exchange_error", f"the exchange refused {frame.event} of {frame.channel}")
        if frame.channel == "spot.pong":
            return [LinkEvent(self.venue, None, "heartbeat", "pong")]
        if frame.event == "subscribe":
            return [LinkEvent(self.venue, None, "subscribed", frame.channel)]
        reader = self._readers.get(frame.channel)
        if reader is None or frame.event != "update":
            raise Refused("unknown_message", f"event {frame.event!r} of channel {frame.channel!r} is not decoded")
        return reader(frame.result)

    def _best(self, result: msgspec.Raw) -> list[WireEvent]:
        body = _ticker(result)
        listing = self._intake.listing(body.s)
        texts = body.b or None, body.B or None, body.a or None, body.A or None
        return [best(listing, millis(body.t), body.u, texts)]

    def _trade(self, result: msgspec.Raw) -> list[WireEvent]:
        body = _trade(result)
        listing = self._intake.listing(body.currency_pair)
        aggressor = {"buy": BUY, "sell": SELL}.get(body.side)
        if aggressor is None:
            raise Refused("wrong_type", f"side must be buy or sell, not {body.side!r}")
        prices, qtys = listing.levels([(body.price, body.amount)])
        when = nanos_of(body.create_time_ms, "ms")
        return [TradeEvent(listing, when, body.id_market, str(body.id), prices[0], qtys[0], aggressor, *listing.scales)]

    def _depth(self, result: msgspec.Raw) -> list[WireEvent]:
        body = _depth(result)
        listing = self._intake.listing(body.s)
        native = listing.instrument.native
        self._concerns(native)
        if body.u < body.U:
            raise Refused("wrong_type", f"U {body.U} lies behind u {body.u}")
        levels = sides(listing, _kept(body.b), _kept(body.a)) if body.full else sides(listing, body.b, body.a)
        verdict = APPLY if body.full else UNSYNCED
        event = DepthEvent(listing, millis(body.t), body.u, body.U, None, body.full, verdict, *levels)
        return self._started(native, body.u, event) if body.full else self._updated(native, Update(body.U, body.u, None, event))

    def _snapshot(self, body: _Book, listing: Listing) -> list[WireEvent]:
        levels = sides(listing, body.bids, body.asks)
        event = DepthEvent(listing, millis(body.update), body.id, None, None, True, APPLY, *levels)
        return self._started(listing.instrument.native, body.id, event)


def _kept(levels: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The levels of a whole book: one of size 0, which removes a level in an update, is none."""
    return [level for level in levels if level[1].strip("0.") or not level[1]]


def _message(ts: int, fields: dict[str, Any]) -> str:
    """A request with its time, in s as the exchange wants it."""
    return msgspec.json.encode({"time": ts // NANOS_PER_S, **fields}).decode()
