"""Coinbase Advanced Trade market data: frames to exact events, with order books kept in sync.

Sources: Coinbase Developer Platform, "Advanced Trade WebSocket" (channels level2, ticker, market_trades, heartbeats; overview), 2026. Rules:

- `sequence_num` counts every message of the connection, of whatever channel, heartbeats and acknowledgements too. Any number but the last + 1
  is a gap of the connection: which product the missing message was about is not known. All books are then subscribed anew; quotes and
  trades go on. A message that cannot be read is not counted, so that the next one shows the gap; one of which no more than the number
  can be read, and that may have been a book's, is a gap of the connection itself.
- `level2` answers in messages of `l2_data`: a snapshot of the whole book, several MB for a large product, then changed levels with their
  new sizes. It deletes levels that it never sent. Sides are `bid` and `offer`. The time of a row is that of the message, since those of
  the levels in a snapshot are not of this world (1970).
- Quotes are `ticker`, which comes with trades, not with every change of the best levels: books are the better source.
- `side` of a trade is the maker's; the aggressor is the other one. Updates hold the trades of 250 ms, which are put in the order of their
  ids. The snapshot holds trades from before the subscription, which are no news: they are left out, and a `subscribed` row says how many.
- Channels without news close after 60 to 90 s unless `heartbeats` are subscribed, which come every second.
- USD and USDC share one book there: market data of `X-USDC` are those of `X-USD` and have that name, but for `USDT-USDC` and `EURC-USDC`.
  So `X-USD` is what is subscribed, and its rows are those of either instrument, or of both where both are recorded.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Annotated, Any, Final

import msgspec

from xarb.model.units import INT64_MAX
from xarb.wires.decimals import Listing
from xarb.wires.events import BUY, SELL, LinkEvent, QuoteEvent, TradeEvent, WireEvent, readable
from xarb.wires.refusal import FAULTS, Refused, need
from xarb.wires.streamed import StreamSession, depth_of
from xarb.wires.times import nanos_of_rfc3339

_CHANNELS: Final = {"quotes": "ticker", "deltas": "level2", "trades": "market_trades"}
_WITHOUT_BOOKS: Final = frozenset({"ticker", "market_trades", "heartbeats", "subscriptions"})
_AGGRESSORS: Final = {"BUY": SELL, "SELL": BUY}  # by the maker's side
_OWN_BOOKS: Final = ("USDT-USDC", "EURC-USDC")  # products in USDC that are not those in USD under another name

_Id = Annotated[int, msgspec.Meta(ge=0, le=INT64_MAX)]


class _Update(msgspec.Struct, gc=False):
    side: str
    price_level: str
    new_quantity: str


class _Ticker(msgspec.Struct, gc=False):
    product_id: str
    best_bid: str | None = None
    best_bid_quantity: str | None = None
    best_ask: str | None = None
    best_ask_quantity: str | None = None


class _Trade(msgspec.Struct, gc=False):
    trade_id: str
    product_id: str
    price: str
    size: str
    side: str
    time: str


class _Event(msgspec.Struct, gc=False):
    """Union of the fields that the decoded channels use."""

    type: str | None = None
    product_id: str | None = None
    updates: list[_Update] | None = None
    tickers: list[_Ticker] | None = None
    trades: list[_Trade] | None = None
    subscriptions: Any = None


class _Frame(msgspec.Struct, gc=False):
    channel: str | None = None
    timestamp: str | None = None
    sequence_num: _Id | None = None
    events: list[_Event] | None = None
    type: str | None = None
    message: str | None = None


_decode = msgspec.json.Decoder(_Frame).decode


class CoinbaseSession(StreamSession):
    """One connection to Coinbase's public market data.

    Args:
        listings: instruments by native name (`BTC-USD`).
        channels: of `quotes`, `deltas` and `trades` those to subscribe when the connection opens; heartbeats are always subscribed.
    """

    def __init__(self, listings: Iterable[Listing], channels: Sequence[str] = ()) -> None:
        super().__init__("coinbase", listings, channels)
        self._last: int | None = None  # sequence_num of the last message
        self._natives: dict[str, list[str]] = {}  # by the name on the stream
        for native in self._listings:
            self._natives.setdefault(stream_name(native), []).append(native)

    def _subscribe(self) -> list[str]:
        products = list(self._natives)
        return [_request("subscribe", "heartbeats"), *(_request("subscribe", _CHANNELS[one], products) for one in self._channels)]

    def _resubscribe(self, natives: Sequence[str]) -> list[str]:
        products = list(dict.fromkeys(map(stream_name, natives)))
        return [_request("unsubscribe", "level2", products), _request("subscribe", "level2", products)]

    def _read(self, payload: bytes) -> list[WireEvent]:
        frame = _decode(payload)
        number = frame.sequence_num
        if number is None:
            if frame.type == "error":
                raise Refused("venue_error", f"error: {frame.message}")
            raise Refused("missing_field", "sequence_num is absent")
        events: list[WireEvent] = []
        if self._last is not None and number != self._last + 1:
            events += self._books.all_lost(f"expected sequence_num {self._last + 1}, got {number}")
        self._last = number
        try:
            return events + self._content(frame, number, payload)
        except FAULTS as error:
            events.append(self._reject(error, payload))
            if frame.channel not in _WITHOUT_BOOKS and frame.type != "error" and self._books.any_in_sync():
                events += self._books.all_lost(f"sequence_num {number} was counted and could not be read")
            return events

    def _content(self, frame: _Frame, number: int, payload: bytes) -> list[WireEvent]:
        if frame.type == "error":
            raise Refused("venue_error", f"error: {frame.message}")
        when = None if frame.timestamp is None else nanos_of_rfc3339(frame.timestamp)
        events: list[WireEvent] = []
        for part in need(frame.events, "events"):
            if frame.channel == "l2_data":
                for native in self._of(need(part.product_id, "product_id")):
                    events += self._part(part, partial(self._book, native, when, number), payload, native)
            elif frame.channel == "ticker":
                for ticker in need(part.tickers, "tickers"):
                    for native in self._of(ticker.product_id):
                        events += self._each([ticker], partial(self._quote, native, when, number), payload, native)
            elif frame.channel == "market_trades":
                events += self._prints(part, payload)
            elif frame.channel == "heartbeats":
                events.append(LinkEvent(self.venue, None, "heartbeat"))
            elif frame.channel == "subscriptions":
                events.append(LinkEvent(self.venue, None, "subscribed", readable(f"{part.subscriptions}")))
            else:
                raise Refused("unknown_message", f"channel {frame.channel!r} is not decoded")
        return events

    def _of(self, product: str) -> list[str]:
        """The native names of the instruments whose data a product's are; an unknown name stays, for the reject."""
        return self._natives.get(product) or [product]

    def _book(self, native: str, when: int | None, number: int, part: _Event) -> list[WireEvent]:
        listing = self._listing(native)
        is_snapshot = part.type == "snapshot"
        if not is_snapshot and part.type != "update":
            raise Refused("unknown_message", f"l2_data of type {part.type!r}")
        sides: dict[str, list[tuple[str, str]]] = {"bid": [], "offer": []}
        for level in need(part.updates, "updates"):
            side = sides.get(level.side)
            if side is None:
                raise Refused("wrong_type", f"side {level.side!r} is neither bid nor offer")
            side.append((level.price_level, level.new_quantity))
        event = depth_of(listing, (when, number, None), (sides["bid"], sides["offer"]), is_snapshot=is_snapshot)
        return self._books.snapshot(native, number, event) if is_snapshot else self._books.update(native, number, event)

    def _quote(self, native: str, when: int | None, number: int, ticker: _Ticker) -> list[WireEvent]:
        listing = self._listing(native)
        bid_side, ask_side = (ticker.best_bid, ticker.best_bid_quantity), (ticker.best_ask, ticker.best_ask_quantity)
        bid, bid_qty, ask, ask_qty = listing.quote(*(text or None for text in (*bid_side, *ask_side)))
        if bid_qty == 0:  # an empty side
            bid = bid_qty = None
        if ask_qty == 0:
            ask = ask_qty = None
        return [QuoteEvent(listing, when, number, bid, bid_qty, ask, ask_qty, *listing.scales)]

    def _prints(self, part: _Event, payload: bytes) -> list[WireEvent]:
        trades = need(part.trades, "trades")
        if part.type == "snapshot":
            return [LinkEvent(self.venue, None, "subscribed", f"{len(trades)} trades from before the subscription left out")]
        events: list[WireEvent] = []
        for trade in sorted(trades, key=_order):
            for native in self._of(trade.product_id):
                events += self._each([trade], partial(self._trade, native), payload, native)
        return events

    def _trade(self, native: str, trade: _Trade) -> list[WireEvent]:
        listing = self._listing(native)
        side = _AGGRESSORS.get(trade.side)
        if side is None:
            raise Refused("wrong_type", f"side {trade.side!r} is neither BUY nor SELL")
        prices, qtys = listing.levels([(trade.price, trade.size)])
        when = nanos_of_rfc3339(trade.time)
        return [TradeEvent(listing, when, None, trade.trade_id, prices[0], qtys[0], side, *listing.scales)]


def stream_name(native: str) -> str:
    """The name under which a product's market data come."""
    return native[:-1] if native.endswith("-USDC") and native not in _OWN_BOOKS else native


def _order(trade: _Trade) -> tuple[str, int, str]:
    """By product, and there by number: a longer text of digits is a larger one."""
    return trade.product_id, len(trade.trade_id), trade.trade_id


def _request(kind: str, channel: str, products: Sequence[str] = ()) -> str:
    body: dict[str, Any] = {"type": kind, "channel": channel}
    if products:
        body["product_ids"] = list(products)
    return msgspec.json.encode(body).decode()
