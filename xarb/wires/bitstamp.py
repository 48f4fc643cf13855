"""Bitstamp public channels: frames to exact events, with order books kept in sync as far as times allow.

Format and rules: Bitstamp "WebSocket API v2", public channels, 2026.

Bitstamp numbers nothing: a book message has the time of its book in microseconds and no counter. What that proves, and what not:

- Messages of one channel arrive in order on one connection. So after the first one everything was received, until a frame comes that
  cannot be read, or that goes back in time: then the book is given up with a `gap`, and all books are where not even its channel can be read.
- A snapshot over REST starts a book only if it is no older than the first message received: an older one misses what happened in between.
  A message no newer than the snapshot is `old`.
- **Not proven**: that the exchange sent every change. A message lost on its side leaves no trace here; the engine's own rules
  (crossed books, `order_book_` against the deltas) are all that may show it.

`order_book_` is the best 100 levels a side, whole; `live_trades_` a trade, whose `type` is the taker's side (0 buys, 1 sells). There is no
stream of best bids and asks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Final

import msgspec

from xarb.model.units import INT64_MAX, NANOS_PER_S
from xarb.wires.continuity import BUFFERED, Rule, Update
from xarb.wires.decimals import Listing
from xarb.wires.events import (
    APPLY,
    BUY,
    SELL,
    UNSYNCED,
    BookEvent,
    DepthEvent,
    LinkEvent,
    TradeEvent,
    WireEvent,
)
from xarb.wires.fetched import FetchedSession
from xarb.wires.intake import counter, sides
from xarb.wires.pings import Pings
from xarb.wires.refusal import Refused
from xarb.wires.session import Ask, Send
from xarb.wires.times import nanos_of

PING_NS: Final = 20 * NANOS_PER_S
_DIFFS, _BOOKS, _TRADES = "diff_order_book_", "order_book_", "live_trades_"
_CHANNELS: Final = {"deltas": _DIFFS, "books": _BOOKS, "trades": _TRADES}
_HEARTBEAT: Final = msgspec.json.encode({"event": "bts:heartbeat"}).decode()
_SIDES: Final = {0: BUY, 1: SELL}

_Id = Annotated[int, msgspec.Meta(ge=0, le=INT64_MAX)]


class _Frame(msgspec.Struct, gc=False):
    """The envelope of a stream message."""

    event: str
    channel: str = ""
    data: msgspec.Raw = msgspec.Raw(b"null")


class _Levels(msgspec.Struct, gc=False):
    """A book or its changes, in the stream and over REST; `microtimestamp` is in us."""

    microtimestamp: str
    bids: list[tuple[str, str]]
    asks: list[tuple[str, str]]


class _Trade(msgspec.Struct, gc=False):
    """`live_trades_`; the numbers without `_str` are floats, which are not read."""

    id: _Id
    type: int
    price_str: str
    amount_str: str
    microtimestamp: str


_frame = msgspec.json.Decoder(_Frame).decode
_levels = msgspec.json.Decoder(_Levels).decode
_trade = msgspec.json.Decoder(_Trade).decode


class BitstampSession(FetchedSession):
    """One connection to Bitstamp's public stream.

    Args:
        listings: listing of each native name (`btcusd`); names outside it give rejects.
        channels: of `deltas`, `books` and `trades` those to subscribe when the connection opens.
        buffered: updates kept per symbol while waiting for a snapshot; the oldest leaves the buffer first, its rows are recorded.
    """

    def __init__(self, listings: Iterable[Listing], channels: Sequence[str] = (), *, buffered: int = BUFFERED) -> None:
        pings = Pings(PING_NS, lambda _: _HEARTBEAT)
        super().__init__("bitstamp", listings, TIME_RULE, "/api/v2/order_book/{}/".format, buffered=buffered, pings=pings)
        self._channels = channels
        self._before: dict[str, int] = {}  # time of the update before, us; absent where that is not known
        self._unread = tuple(self._syncs)
        self._readers: dict[str, Callable[[msgspec.Raw, Listing], list[WireEvent]]] = {
            _DIFFS: self._depth,
            _BOOKS: self._book,
            _TRADES: self._trade,
        }

    def open(self, ts: int) -> list[Ask]:
        """One subscription for each channel of each instrument, as the exchange wants it."""
        self.tick(ts)
        names = [_CHANNELS[channel] + native for channel in self._channels for native in self._intake.listings]
        return [Send(msgspec.json.encode({"event": "bts:subscribe", "data": {"channel": name}}).decode()) for name in names]

    def _misses(self, native: str, rule: str) -> list[WireEvent]:
        self._before.pop(native, None)
        return super()._misses(native, rule)

    def _read(self, payload: bytes, native: str | None) -> list[WireEvent]:
        if native is not None:
            return self._snapshot(_levels(payload), self._intake.listing(native))
        frame = _frame(payload)
        prefix = next((one for one in self._readers if frame.channel.startswith(one)), "")
        name = frame.channel.removeprefix(prefix)
        self._concerns(name if prefix == _DIFFS else "")
        if frame.event.startswith("bts:"):
            return self._control(frame, name)
        if not prefix or frame.event not in {"data", "trade"}:
            raise Refused("unknown_message", f"event {frame.event!r} of channel {frame.channel!r} is not decoded")
        return self._readers[prefix](frame.data, self._intake.listing(name))

    def _control(self, frame: _Frame, native: str) -> list[WireEvent]:
        if frame.event == "bts:heartbeat":
            return [LinkEvent(self.venue, None, "heartbeat")]
        if frame.event == "bts:subscription_succeeded":
            return [LinkEvent(self.venue, self._intake.listing(native).instrument.symbol, "subscribed", frame.channel)]
        if frame.event == "bts:request_reconnect":
            self._reopen = "bts:request_reconnect"
            return [LinkEvent(self.venue, None, "heartbeat", "bts:request_reconnect: the exchange will close the connection")]
        rule = "exchange_error" if frame.event == "bts:error" else "unknown_message"
        raise Refused(rule, f"event {frame.event!r} of channel {frame.channel!r}")

    def _trade(self, data: msgspec.Raw, listing: Listing) -> list[WireEvent]:
        body = _trade(data)
        aggressor = _SIDES.get(body.type)
        if aggressor is None:
            raise Refused("wrong_type", f"type must be 0 or 1, not {body.type}")
        prices, qtys = listing.levels([(body.price_str, body.amount_str)])
        when = nanos_of(body.microtimestamp, "us")
        return [TradeEvent(listing, when, None, str(body.id), prices[0], qtys[0], aggressor, *listing.scales)]

    def _book(self, data: msgspec.Raw, listing: Listing) -> list[WireEvent]:
        body = _levels(data)
        return [BookEvent(listing, nanos_of(body.microtimestamp, "us"), None, *sides(listing, body.bids, body.asks))]

    def _depth(self, data: msgspec.Raw, listing: Listing) -> list[WireEvent]:
        body = _levels(data)
        when = counter(body.microtimestamp, "microtimestamp")
        event = _depth_event(listing, body, is_snapshot=False)
        native = listing.instrument.native
        before = self._before.get(native)
        if before is not None and when < before:
            before = None  # the times of the stream no longer prove anything
        self._before[native] = when
        return self._updated(native, Update(when, when, before, event))

    def _snapshot(self, body: _Levels, listing: Listing) -> list[WireEvent]:
        when = counter(body.microtimestamp, "microtimestamp")
        return self._started(listing.instrument.native, when, _depth_event(listing, body, is_snapshot=True))


def _depth_event(listing: Listing, body: _Levels, *, is_snapshot: bool) -> DepthEvent:
    levels = sides(listing, body.bids, body.asks)
    when = nanos_of(body.microtimestamp, "us")
    return DepthEvent(listing, when, None, None, None, is_snapshot, APPLY if is_snapshot else UNSYNCED, *levels)


def _is_old(last: int, starting: bool, update: Update) -> bool:  # noqa: FBT001  # columns of the rule
    return starting and update.last <= last


def _continues(last: int, starting: bool, update: Update) -> bool:  # noqa: FBT001, ARG001  # same
    """An update covers what happened since the one before it, which must be in the book: applied, or within its snapshot."""
    return update.prev is not None and update.prev <= last


def _expected(last: int, starting: bool) -> str:  # noqa: FBT001, ARG001  # same
    return f"an update whose predecessor is known and no later than {last} us"


TIME_RULE: Final = Rule(_is_old, _continues, _expected)
