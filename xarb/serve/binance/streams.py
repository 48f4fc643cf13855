"""Binance's market streams: who listens to what, and the frames of each stream, made once for all who listen."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from xarb.serve.binance import shapes
from xarb.serve.binance.shapes import amount
from xarb.serve.book import ASK, BID, Change
from xarb.serve.exchange import Exchange, Listing
from xarb.serve.orders import Fill, ServedOrder
from xarb.serve.socket import Socket
from xarb.serve.tape import INTERVALS, Print

FAST_MS: Final = 100
SLOW_MS: Final = 1000
_encode = msgspec.json.Encoder().encode
_KNOWN: Final = re.compile(
    r"[a-z0-9\-_.]+@(bookTicker|trade|aggTrade|miniTicker|ticker|depth(5|10|20)?(@100ms|@1000ms)?|kline_("
    + "|".join(INTERVALS)
    + r"))\Z"
)
_ALL: Final = ("!miniTicker@arr", "!ticker@arr")
_PARTIAL: Final = (5, 10, 20)


def is_stream(name: str) -> bool:
    """Whether a name has the form of a stream that is served."""
    return name in _ALL or bool(_KNOWN.match(name))


class Listener:
    """One socket on the streams. `combined` frames name their stream."""

    __slots__ = ("combined", "names", "socket")

    def __init__(self, socket: Socket, *, combined: bool) -> None:
        self.socket = socket
        self.combined = combined
        self.names: dict[str, None] = {}


class _Diff:
    """Levels that changed since the last depth event of one rhythm."""

    __slots__ = ("levels", "names", "sent")

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names
        self.levels: tuple[dict[int, int], dict[int, int]] = ({}, {})
        self.sent = 0  # u of the last event

    def add(self, changes: Sequence[Change]) -> None:
        """Remember what each level is now."""
        for side, price, qty in changes:
            self.levels[side][price] = qty

    def take(self, listing: Listing, now_ms: int, *, wanted: bool) -> bytes | None:
        """The event, None when nothing changed or nobody wants it."""
        if listing.book.updates == self.sent:
            return None
        first, self.sent = self.sent + 1, listing.book.updates
        bids, asks = self.levels
        frame = None
        if wanted:
            frame = _encode(
                {
                    "e": "depthUpdate",
                    "E": now_ms,
                    "s": listing.instrument.native,
                    "U": first,
                    "u": self.sent,
                    "b": _diff(listing, bids),
                    "a": _diff(listing, asks),
                }
            )
        bids.clear()
        asks.clear()
        return frame


def _diff(listing: Listing, changed: dict[int, int]) -> list[list[str]]:
    return [[amount(listing.price(price)), amount(listing.qty(qty))] for price, qty in changed.items()]


class _Feed:
    """One listing's streams: names, and what was last said on them."""

    __slots__ = ("agg", "fast", "lower", "partial", "said", "slow", "ticker", "top", "trade")

    def __init__(self, lower: str) -> None:
        self.lower = lower
        self.ticker = f"{lower}@bookTicker"
        self.trade = f"{lower}@trade"
        self.agg = f"{lower}@aggTrade"
        self.fast = _Diff((f"{lower}@depth@100ms",))
        self.slow = _Diff((f"{lower}@depth", f"{lower}@depth@1000ms"))
        self.top: tuple[tuple[int, int] | None, tuple[int, int] | None] = (None, None)
        self.partial: dict[str, int] = {}  # updates last sent, by stream
        self.said: dict[str, tuple[int, int]] = {}  # last trade, or start and last trade of a bar, by stream


class Streams:
    """The streams of one venue.

    Args:
        exchange: the venue.
    """

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._listeners: dict[str, dict[Listener, None]] = {}
        self._feeds = {listing.number: (listing, _Feed(native.lower())) for native, listing in exchange.listings.items()}
        exchange.watch(self)

    # --- who listens

    @property
    def listened(self) -> int:
        """Streams that somebody listens to."""
        return len(self._listeners)

    def subscribe(self, listener: Listener, names: Sequence[str]) -> None:
        """Add streams; those that nobody serves stay silent, the others say with their next beat how things stand."""
        for name in names:
            for _, feed in self._feeds.values():
                feed.partial.pop(name, None)
                feed.said.pop(name, None)
            listener.names[name] = None
            self._listeners.setdefault(name, {})[listener] = None

    def unsubscribe(self, listener: Listener, names: Sequence[str]) -> None:
        """Take streams away."""
        for name in names:
            listener.names.pop(name, None)
            self._listeners.get(name, {}).pop(listener, None)
            if not self._listeners.get(name, True):
                del self._listeners[name]

    def leave(self, listener: Listener) -> None:
        """The socket is gone."""
        self.unsubscribe(listener, list(listener.names))

    # --- at once

    def book_moved(self, listing: Listing, changes: Sequence[Change]) -> None:
        """A changed top is told at once, everything else with the next event of its rhythm."""
        feed = self._feeds[listing.number][1]
        feed.fast.add(changes)
        feed.slow.add(changes)
        if feed.ticker not in self._listeners:
            feed.top = (None, None)
            return
        bid, ask = listing.best(BID), listing.best(ASK)
        if (bid, ask) == feed.top:
            return
        feed.top = (bid, ask)
        (bid_price, bid_qty), (ask_price, ask_qty) = bid or (0, 0), ask or (0, 0)
        self._push(
            feed.ticker,
            f'{{"u":{listing.book.updates},"s":"{listing.instrument.native}","b":"{amount(bid_price)}","B":"{amount(bid_qty)}",'
            f'"a":"{amount(ask_price)}","A":"{amount(ask_qty)}"}}',
        )

    def printed(self, listing: Listing, one: Print) -> None:
        """A public trade."""
        feed = self._feeds[listing.number][1]
        native = listing.instrument.native
        if feed.trade in self._listeners:
            self._push(
                feed.trade,
                f'{{"e":"trade","E":{self._exchange.now_ms()},"s":"{native}","t":{one.id},"p":"{amount(one.price)}","q":"{amount(one.qty)}",'
                f'"T":{one.ms},"m":{"true" if one.buyer_is_maker else "false"},"M":true}}',
            )
        if feed.agg in self._listeners:
            frame = {"e": "aggTrade", "E": self._exchange.now_ms(), "s": native, **shapes.aggregate(one)}
            self._push(feed.agg, _encode(frame).decode())

    def order_moved(self, order: ServedOrder, what: str, fill: Fill | None) -> None:
        """Not public."""

    def money_moved(self, account: str, assets: Sequence[str]) -> None:
        """Not public."""

    # --- in a rhythm

    def fast(self) -> None:
        """Every 100 ms: depth at that rhythm."""
        for listing, feed in self._feeds.values():
            self._depth(listing, feed.fast)
            for limit in _PARTIAL:
                self._partial(listing, feed, f"{feed.lower}@depth{limit}@100ms", limit)

    def slow(self) -> None:
        """Every second: depth at that rhythm, tickers and bars."""
        now = self._exchange.now_ms()
        moved: dict[str, list[Any]] = {name: [] for name in _ALL}
        for listing, feed in self._feeds.values():
            self._depth(listing, feed.slow)
            for limit in _PARTIAL:
                self._partial(listing, feed, f"{feed.lower}@depth{limit}", limit)
                self._partial(listing, feed, f"{feed.lower}@depth{limit}@1000ms", limit)
            self._tickers(listing, feed, now, moved)
            for interval in INTERVALS:
                name = f"{feed.lower}@kline_{interval}"
                if name in self._listeners:
                    self._bars(listing, feed, name, interval)
        for name, frames in moved.items():
            if frames and name in self._listeners:
                self._push(name, _encode(frames).decode())

    def _depth(self, listing: Listing, diff: _Diff) -> None:
        names = [name for name in diff.names if name in self._listeners]
        frame = diff.take(listing, self._exchange.now_ms(), wanted=bool(names))
        if frame is not None:
            for name in names:
                self._push(name, frame.decode())

    def _partial(self, listing: Listing, feed: _Feed, name: str, limit: int) -> None:
        if name not in self._listeners or feed.partial.get(name) == listing.book.updates:
            return
        feed.partial[name] = listing.book.updates
        frame = {
            "lastUpdateId": listing.book.updates,
            "bids": shapes.levels(listing.levels(BID, limit)),
            "asks": shapes.levels(listing.levels(ASK, limit)),
        }
        self._push(name, _encode(frame).decode())

    def _tickers(self, listing: Listing, feed: _Feed, now: int, moved: dict[str, list[Any]]) -> None:
        last = listing.tape.last_id
        for kind, every, shape in (
            ("miniTicker", _ALL[0], shapes.mini_event),
            ("ticker", _ALL[1], shapes.ticker_event),
        ):
            name = f"{feed.lower}@{kind}"
            state = (last, 0 if kind == "miniTicker" else listing.book.updates)  # the full ticker has the best quote too
            if feed.said.get(name) == state or (name not in self._listeners and every not in self._listeners):
                continue
            feed.said[name] = state
            frame = shape(listing, now)
            moved[every].append(frame)
            if name in self._listeners:
                self._push(name, _encode(frame).decode())

    def _bars(self, listing: Listing, feed: _Feed, name: str, interval: str) -> None:
        """The bar at hand when it has new trades; each bar once more, closed, when its time is over."""
        bars = listing.tape.bars(interval)
        if not bars:
            return
        now, native = self._exchange.now_ms(), listing.instrument.native
        start, last = feed.said.get(name, (-1, -1))
        for one in bars:
            over = one.ms + INTERVALS[interval] <= now
            if one.ms < start or (one.ms == start and last == -1):  # told already, or closed
                continue
            if start == -1 and one is not bars[-1]:
                continue
            if over or one.ms != start or one.last != last:
                frame = {
                    "e": "kline",
                    "E": now,
                    "s": native,
                    "k": shapes.kline(one, interval, closed=over, native=native),
                }
                self._push(name, _encode(frame).decode())
            feed.said[name] = (one.ms, -1 if over else one.last)
            start, last = feed.said[name]

    def _push(self, name: str, payload: str) -> None:
        combined = None
        for listener in self._listeners.get(name, ()):
            if listener.combined:
                combined = combined or f'{{"stream":"{name}","data":{payload}}}'
                listener.socket.push(name, combined)
            else:
                listener.socket.push(name, payload)


__all__ = ["FAST_MS", "SLOW_MS", "Listener", "Streams", "is_stream"]
