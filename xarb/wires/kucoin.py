"""KuCoin spot market streams: frames to exact events, with order books kept in sync.

Format and rules: KuCoin "Classic WebSocket", spot public channels, 2026. The address of the stream is asked for (`stream_url`), the exchange
says `welcome` before it takes subscriptions, and a client that stays silent longer than `pingInterval` (18 s) is dropped.

- `/market/level2:` carries `sequenceStart` and `sequenceEnd`; an update continues a book whose sequence is L when start <= L + 1 <= end.
  A change with price 0 moves the sequence and no level.
- A snapshot without a key holds 100 levels a side, the updates concern all. What lies beyond the 100th level is unknown unless it
  changed, so a book is known within the prices of its snapshot only. `_Known` counts the levels in there; before it
  runs out of them the book is given up with a `gap` and started again from a new snapshot.
- `/spotMarket/level1:` is the best bid and ask, at most every 10 ms, with a time and without a number: a lost one does not show.
  `/market/ticker:`, the same every 100 ms with a sequence, is decoded too.
- `/market/match:` is a trade; `side` is the taker's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Final
from urllib.parse import quote, urlsplit

import msgspec

from xarb.model.units import INT64_MAX, NANOS_PER_S
from xarb.wires.continuity import BUFFERED, OVERLAP_RULE, Update
from xarb.wires.decimals import Listing
from xarb.wires.events import (
    APPLY,
    BUY,
    SELL,
    UNSYNCED,
    DepthEvent,
    LinkEvent,
    TradeEvent,
    WireEvent,
)
from xarb.wires.fetched import FetchedSession
from xarb.wires.intake import best, counter, millis, sides
from xarb.wires.pings import Pings
from xarb.wires.refusal import Refused
from xarb.wires.session import Ask, Send
from xarb.wires.times import nanos_of

SNAPSHOT_LEVELS: Final = 100  # levels a side of the public snapshot; a side with fewer is whole
LEAST_KNOWN: Final = 20  # levels a side: twice what a strategy sees by default
MOST_KNOWN: Final = 5_000  # levels a side that the engine keeps
PING_NS: Final = 15 * NANOS_PER_S
_TOPICS: Final = {"quotes": "/spotMarket/level1:", "deltas": "/market/level2:", "trades": "/market/match:"}
_SYMBOLS_A_TOPIC: Final = 100
_SUCCESS: Final = "200000"

_Id = Annotated[int, msgspec.Meta(ge=0, le=INT64_MAX)]


class _Frame(msgspec.Struct, gc=False):
    """The envelope of a stream message, and of an answer over REST (`code`, `msg`)."""

    type: str | None = None
    topic: str | None = None
    subject: str | None = None
    id: str | int | None = None
    code: str | int | None = None
    msg: str | None = None
    data: msgspec.Raw = msgspec.Raw(b"null")


class _Changes(msgspec.Struct, gc=False):
    """Changed levels as (price, size, sequence)."""

    asks: list[tuple[str, str, str]]
    bids: list[tuple[str, str, str]]


class _Update(msgspec.Struct, gc=False):
    """`trade.l2update`; `time` is in ms and absent in older messages."""

    changes: _Changes
    sequenceStart: _Id  # noqa: N815  # the wire's own names, here and below
    sequenceEnd: _Id  # noqa: N815
    time: int | None = None


class _Book(msgspec.Struct, gc=False):
    """`GET /api/v1/market/orderbook/level2_100`; `time` is in ms."""

    sequence: str
    bids: list[tuple[str, str]]
    asks: list[tuple[str, str]]
    time: int | None = None


class _Level1(msgspec.Struct, gc=False):
    """`level1`: (price, size) of each side, or nothing; `timestamp` is in ms."""

    asks: list[str]
    bids: list[str]
    timestamp: int


class _Ticker(msgspec.Struct, gc=False):
    """`trade.ticker`; `time` is in ms."""

    sequence: str
    bestBid: str | None  # noqa: N815
    bestBidSize: str | None  # noqa: N815
    bestAsk: str | None  # noqa: N815
    bestAskSize: str | None  # noqa: N815
    time: int | None = None


class _Match(msgspec.Struct, gc=False):
    """`trade.l3match`; `time` is in ns."""

    sequence: str
    tradeId: str  # noqa: N815
    side: str
    price: str
    size: str
    time: str


class _Server(msgspec.Struct, gc=False):
    endpoint: str


class _Servers(msgspec.Struct, gc=False):
    token: str
    instanceServers: list[_Server]  # noqa: N815


class _Bullet(msgspec.Struct, gc=False):
    """`POST /api/v1/bullet-public`."""

    data: _Servers


_frame = msgspec.json.Decoder(_Frame).decode
_update = msgspec.json.Decoder(_Update).decode
_book = msgspec.json.Decoder(_Book).decode
_level1 = msgspec.json.Decoder(_Level1).decode
_ticker = msgspec.json.Decoder(_Ticker).decode
_match = msgspec.json.Decoder(_Match).decode
_bullet = msgspec.json.Decoder(_Bullet).decode


def stream_url(answer: bytes) -> str:
    """The address of the stream, from the answer to `POST /api/v1/bullet-public`. It holds a token that is good for one connection.

    Raises:
        ValueError: the answer names no server that can be reached by an encrypted or a loopback connection.
    """
    try:
        data = _bullet(answer).data
    except msgspec.DecodeError as error:
        raise ValueError(f"the exchange gave no address of its stream: {error}") from error
    for server in data.instanceServers:
        parts = urlsplit(server.endpoint)
        if parts.scheme == "wss" or (parts.scheme == "ws" and parts.hostname in {"127.0.0.1", "localhost", "::1"}):
            return f"{server.endpoint}?token={quote(data.token, safe='')}"
    raise ValueError("the exchange named no server of its stream that is reached by wss://")


class _Known:
    """The levels of one side that lie within the prices of the last snapshot, or nothing where that snapshot was the whole side."""

    __slots__ = ("_is_bid", "_prices", "_scale", "_worst")

    def __init__(self, prices: list[int], scale: int, *, is_bid: bool) -> None:
        self._is_bid, self._scale = is_bid, scale
        self._prices: dict[int, None] | None = dict.fromkeys(prices) if len(prices) >= SNAPSHOT_LEVELS else None
        self._worst = prices[-1] if prices else 0

    def is_enough(self, prices: list[int], qtys: list[int], scale: int) -> bool:
        """Take changes of this side at `scale`; whether what is known of it still reaches far enough."""
        known = self._prices
        if known is None:
            return True
        if scale > self._scale:
            factor = 10 ** (scale - self._scale)
            known = self._prices = {price * factor: None for price in known}
            self._worst, self._scale = self._worst * factor, scale
        lift = 10 ** (self._scale - scale)  # more than 1 for an update that was decoded before the scale grew
        for number, qty in zip(prices, qtys, strict=True):
            price = number * lift
            if qty == 0:
                known.pop(price, None)
            elif price >= self._worst if self._is_bid else price <= self._worst:
                known[price] = None
        return LEAST_KNOWN <= len(known) <= MOST_KNOWN


class KucoinSession(FetchedSession):
    """One connection to KuCoin's public spot stream.

    Args:
        listings: listing of each native name (`BTC-USDT`); names outside it give rejects.
        channels: of `quotes`, `deltas` and `trades` those to subscribe once the exchange has said welcome.
        buffered: updates kept per symbol while waiting for a snapshot; the oldest leaves the buffer first, its rows are recorded.
    """

    def __init__(self, listings: Iterable[Listing], channels: Sequence[str] = (), *, buffered: int = BUFFERED) -> None:
        path = "/api/v1/market/orderbook/level2_100?symbol={}"
        pings = Pings(PING_NS, lambda ts: msgspec.json.encode({"id": str(ts), "type": "ping"}).decode())
        super().__init__("kucoin", listings, OVERLAP_RULE, path.format, buffered=buffered, pings=pings)
        self._channels = channels
        self._wanted: list[Ask] = []
        self._known: dict[str, tuple[_Known, _Known]] = {}
        self._readers: dict[str, Callable[[msgspec.Raw, Listing], list[WireEvent]]] = {
            "trade.l2update": self._depth,
            "level1": self._best,
            "trade.ticker": self._best_of_ticker,
            "trade.l3match": self._trade,
        }

    def open(self, ts: int) -> list[Ask]:
        """Nothing yet but the clock of the pings: subscriptions follow the exchange's welcome."""
        self.tick(ts)
        return []

    def asks(self) -> list[Ask]:
        """Subscriptions after the welcome, and snapshots that are missing."""
        wanted, self._wanted = self._wanted, []
        return [*wanted, *super().asks()]

    def _read(self, payload: bytes, native: str | None) -> list[WireEvent]:
        frame = _frame(payload)
        if native is not None:
            return self._snapshot(frame, self._intake.listing(native))
        if frame.type != "message":
            return self._control(frame)
        reader = self._readers.get(frame.subject or "")
        if reader is None:
            raise Refused("unknown_message", f"subject {frame.subject!r} is not decoded")
        listing = self._intake.listing((frame.topic or "").partition(":")[2])
        if frame.subject == "trade.l2update":
            self._concerns(listing.instrument.native)
        return reader(frame.data, listing)

    def _control(self, frame: _Frame) -> list[WireEvent]:
        if frame.type == "welcome":
            self._wanted = self._subscriptions()
            return [LinkEvent(self.venue, None, "heartbeat", "welcome")]
        if frame.type == "pong":
            return [LinkEvent(self.venue, None, "heartbeat", "pong")]
        if frame.type == "ack":
            return [LinkEvent(self.venue, None, "subscribed", f"request {frame.id} acknowledged")]
        if frame.type == "error":
            raise Refused("exchange_error", f"the exchange refused request {frame.id} with code {frame.code}")
        raise Refused("unknown_message", f"message type {frame.type!r} is not decoded")

    def _subscriptions(self) -> list[Ask]:
        natives = list(self._intake.listings)
        found: list[Ask] = []
        for channel in self._channels:
            for start in range(0, len(natives), _SYMBOLS_A_TOPIC):
                topic = _TOPICS[channel] + ",".join(natives[start : start + _SYMBOLS_A_TOPIC])
                message = {
                    "id": str(len(found) + 1),
                    "type": "subscribe",
                    "topic": topic,
                    "privateChannel": False,
                    "response": True,
                }
                found.append(Send(msgspec.json.encode(message).decode()))
        return found

    def _best(self, data: msgspec.Raw, listing: Listing) -> list[WireEvent]:
        body = _level1(data)
        if len(body.bids) not in {0, 2} or len(body.asks) not in {0, 2}:
            raise Refused("wrong_type", "a side must be a price and a size, or nothing")
        bid, bid_qty = body.bids or (None, None)
        ask, ask_qty = body.asks or (None, None)
        return [best(listing, millis(body.timestamp), None, (bid, bid_qty, ask, ask_qty))]

    def _best_of_ticker(self, data: msgspec.Raw, listing: Listing) -> list[WireEvent]:
        body = _ticker(data)
        texts = body.bestBid, body.bestBidSize, body.bestAsk, body.bestAskSize
        return [best(listing, millis(body.time), counter(body.sequence, "sequence"), texts)]

    def _trade(self, data: msgspec.Raw, listing: Listing) -> list[WireEvent]:
        body = _match(data)
        aggressor = {"buy": BUY, "sell": SELL}.get(body.side)
        if aggressor is None:
            raise Refused("wrong_type", f"side must be buy or sell, not {body.side!r}")
        prices, qtys = listing.levels([(body.price, body.size)])
        when, sequence = nanos_of(body.time, "ns"), counter(body.sequence, "sequence")
        return [TradeEvent(listing, when, sequence, body.tradeId, prices[0], qtys[0], aggressor, *listing.scales)]

    def _depth(self, data: msgspec.Raw, listing: Listing) -> list[WireEvent]:
        body = _update(data)
        first, last = body.sequenceStart, body.sequenceEnd
        if first > last:
            raise Refused("wrong_type", f"sequenceStart {first} lies behind sequenceEnd {last}")
        levels = sides(listing, _moved(body.changes.bids), _moved(body.changes.asks))
        event = DepthEvent(listing, millis(body.time), last, first, None, False, UNSYNCED, *levels)
        native = listing.instrument.native
        events = self._updated(native, Update(first, last, None, event))
        gap = self._left(native, events)
        return [*gap, event] if gap else events  # the event is unsynced, as it is while a snapshot is awaited

    def _snapshot(self, frame: _Frame, listing: Listing) -> list[WireEvent]:
        if str(frame.code) != _SUCCESS:
            raise Refused("exchange_error", f"no snapshot: code {frame.code}, {frame.msg!r}")
        body = _book(frame.data)
        last = counter(body.sequence, "sequence")
        event = DepthEvent(listing, millis(body.time), last, None, None, True, APPLY, *sides(listing, body.bids, body.asks))
        native = listing.instrument.native
        events = self._started(native, last, event)
        gap = self._left(native, events)
        return [*gap, msgspec.structs.replace(event, verdict=UNSYNCED)] if gap else events

    def _left(self, native: str, events: list[WireEvent]) -> list[WireEvent]:
        """The gap that stands for events which leave too few known levels; nothing where enough are left."""
        applied = (one for one in events if isinstance(one, DepthEvent) and one.verdict == APPLY)
        if all(self._covers(native, one) for one in applied):
            return []
        return self._syncs[native].lose(f"the market leaves the {SNAPSHOT_LEVELS} levels of the snapshot")

    def _covers(self, native: str, event: DepthEvent) -> bool:
        """Take what an event does to the levels that are known; whether they still reach far enough."""
        if event.is_snapshot:
            bids = _Known(event.bids, event.px_scale, is_bid=True)
            asks = _Known(event.asks, event.px_scale, is_bid=False)
            self._known[native] = bids, asks
            return True
        bids, asks = self._known[native]
        enough = bids.is_enough(event.bids, event.bid_qtys, event.px_scale)
        return asks.is_enough(event.asks, event.ask_qtys, event.px_scale) and enough


def _moved(changes: list[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    """The changes that move a level: those with price 0 only move the sequence."""
    return [change for change in changes if change[0] != "0"]
