"""Kraken spot, websocket v2: frames to exact events, with order books kept in sync by their checksums.

Sources: Kraken API Center, "Spot Websocket v2" (book, ticker, trade, ping, status) and its guide "Book checksum (v2)", 2026. Rules:

- There is no sequence number. Every book message, snapshot and update, has a CRC32 over the best 10 levels of each side as they are after
  the message: asks, then bids, each `price` and `qty` with the point and leading zeros removed. Prices and sizes are JSON numbers and stand
  on the wire at the pair's full precision, trailing zeros too, so the text as sent is what the checksum is made of; it is never made a float.
- A checksum that does not fit is a gap: the message is `unsynced`, the book is subscribed anew. A loss that touched levels beyond the tenth
  shows when they come into the best ten: the deeper the subscription, the later. Hence 25 levels by default.
- A level that leaves the subscribed depth is not removed by the exchange. The session does it: such levels follow as removals (size 0) in
  the message that pushed them out.
- A frame that cannot be read, or that does not say of which book it is, may have been an update of any: a gap of the connection.
- Quotes are `ticker` with `event_trigger` `bbo`; numbers there are without trailing zeros. Trades are asked for without the last 50 before
  the subscription. The symbol on this wire is `BTC/USD`, never `XBT/USD`.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, Final

import msgspec

from xarb.model.units import NANOS_PER_S
from xarb.wires.decimals import Listing
from xarb.wires.events import BUY, SELL, DepthEvent, LinkEvent, QuoteEvent, TradeEvent, WireEvent, readable
from xarb.wires.refusal import Refused, need
from xarb.wires.streamed import StreamSession, depth_of, unsynced
from xarb.wires.texts import LevelTexts
from xarb.wires.times import nanos_of_rfc3339

PING_NS: Final = 20 * NANOS_PER_S
CHECKED_LEVELS: Final = 10
DEPTHS: Final = (10, 25, 100, 500, 1000)  # what the exchange accepts
DEPTH: Final = 25
_AGGRESSORS: Final = {"buy": BUY, "sell": SELL}
_ABSENT: Final = msgspec.Raw()


class _Level(msgspec.Struct, gc=False):
    price: msgspec.Raw
    qty: msgspec.Raw


class _Item(msgspec.Struct, gc=False):
    """Union of the fields that the decoded channels use; numbers are kept as their text."""

    symbol: str | None = None
    bids: list[_Level] | None = None
    asks: list[_Level] | None = None
    checksum: int | None = None
    timestamp: str | None = None
    bid: msgspec.Raw = _ABSENT
    bid_qty: msgspec.Raw = _ABSENT
    ask: msgspec.Raw = _ABSENT
    ask_qty: msgspec.Raw = _ABSENT
    price: msgspec.Raw = _ABSENT
    qty: msgspec.Raw = _ABSENT
    side: str | None = None
    trade_id: int | None = None
    system: str | None = None


class _Result(msgspec.Struct, gc=False):
    channel: str | None = None
    symbol: str | None = None


class _Frame(msgspec.Struct, gc=False):
    channel: str | None = None
    type: str | None = None
    data: list[_Item] | None = None
    method: str | None = None
    success: bool | None = None
    error: str | None = None
    result: _Result | None = None


_decode = msgspec.json.Decoder(_Frame).decode


class KrakenSession(StreamSession):
    """One connection to Kraken's public websocket v2.

    Args:
        listings: instruments by native name (`BTC/USD`).
        channels: of `quotes`, `deltas` and `trades` those to subscribe when the connection opens.
        depth: levels of a side, one of `DEPTHS`.
    """

    def __init__(self, listings: Iterable[Listing], channels: Sequence[str] = (), *, depth: int = DEPTH) -> None:
        super().__init__("kraken", listings, channels, ping_every_ns=PING_NS, ping='{"method":"ping"}')
        assert depth in DEPTHS, depth
        self._depth = depth
        self._texts = {native: LevelTexts() for native in self._listings}

    def _subscribe(self) -> list[str]:
        return [self._request("subscribe", channel, list(self._listings)) for channel in self._channels]

    def _resubscribe(self, natives: Sequence[str]) -> list[str]:
        return [self._request("unsubscribe", "deltas", natives), self._request("subscribe", "deltas", natives)]

    def _request(self, method: str, channel: str, natives: Sequence[str]) -> str:
        requests: dict[str, dict[str, Any]] = {
            "quotes": {"channel": "ticker", "symbol": natives, "event_trigger": "bbo"},
            "deltas": {"channel": "book", "symbol": natives, "depth": self._depth},
            "trades": {"channel": "trade", "symbol": natives, "snapshot": False},
        }
        return msgspec.json.encode({"method": method, "params": requests[channel]}).decode()

    def _read(self, payload: bytes) -> list[WireEvent]:
        frame = _decode(payload)
        if frame.method is not None:
            return self._answer(frame)
        channel = need(frame.channel, "channel")
        if channel == "heartbeat":
            return [LinkEvent(self.venue, None, "heartbeat")]
        items = need(frame.data, "data")
        events: list[WireEvent] = []
        if channel == "book":
            if frame.type not in {"snapshot", "update"}:
                raise Refused("wrong_type", f"book of type {frame.type!r}")
            for item in items:
                need(item.symbol, "symbol")
            read = partial(self._book, is_snapshot=frame.type == "snapshot")
            for item in items:
                events += self._part(item, read, payload, item.symbol or "")
            return events
        if channel == "status":
            return [LinkEvent(self.venue, None, "heartbeat", readable(f"status {item.system}")) for item in items]
        reader = {"ticker": self._quote, "trade": self._trade}.get(channel)
        if reader is None:
            raise Refused("unknown_message", f"channel {channel!r} is not decoded")
        for item in items:
            events += self._each([item], reader, payload, item.symbol or "")
        return events

    def _unreadable(self, error: Exception, payload: bytes) -> list[WireEvent]:  # noqa: ARG002  # the seam's signature
        is_whole = isinstance(error, Refused) and error.rule not in {"missing_field", "wrong_type"}  # it is known to be no book
        if not is_whole and self._books.any_in_sync():
            return self._books.all_lost("a frame could not be read")
        return []

    def _answer(self, frame: _Frame) -> list[WireEvent]:
        """What the exchange says to a request."""
        if frame.error is not None or frame.success is False:
            raise Refused("venue_error", f"{frame.method}: {frame.error}")
        result = frame.result or _Result()
        listing = self._listings.get(result.symbol or "")
        symbol = listing.instrument.symbol if listing else None
        event = "subscribed" if frame.method == "subscribe" else "heartbeat"
        return [
            LinkEvent(self.venue, symbol, event, readable(f"{frame.method} {result.channel or ''} {result.symbol or ''}".strip()))
        ]

    def _book(self, item: _Item, *, is_snapshot: bool) -> list[WireEvent]:
        native = need(item.symbol, "symbol")
        listing = self._listing(native)
        wanted = need(item.checksum, "checksum")
        bids = [(str(level.price, "ascii"), str(level.qty, "ascii")) for level in item.bids or ()]
        asks = [(str(level.price, "ascii"), str(level.qty, "ascii")) for level in item.asks or ()]
        if is_snapshot and (item.bids is None or item.asks is None):
            raise Refused("missing_field", "a snapshot must have bids and asks")
        event = depth_of(listing, (_when(item), None, None), (bids, asks), is_snapshot=is_snapshot)
        if not is_snapshot and self._books.last(native) is None:
            return [unsynced(event)]
        texts = self._texts[native]
        texts.apply(event, [text_of(level) for level in bids], [text_of(level) for level in asks])
        dropped = texts.bids.cut(self._depth), texts.asks.cut(self._depth)
        found = checksum_of(texts)
        if found != wanted:
            return [*self._books.lost(native, f"expected checksum {wanted}, the book's is {found}"), unsynced(event)]
        if dropped[0] or dropped[1]:
            event = _without(event, *dropped)
        return self._books.snapshot(native, 0, event) if is_snapshot else self._books.update(native, 0, event)

    def _quote(self, item: _Item) -> list[WireEvent]:
        listing = self._listing(item.symbol)
        bid, bid_qty, ask, ask_qty = listing.quote(_text(item.bid), _text(item.bid_qty), _text(item.ask), _text(item.ask_qty))
        if bid_qty == 0:  # an empty side
            bid = bid_qty = None
        if ask_qty == 0:
            ask = ask_qty = None
        return [QuoteEvent(listing, _when(item), None, bid, bid_qty, ask, ask_qty, *listing.scales)]

    def _trade(self, item: _Item) -> list[WireEvent]:
        listing = self._listing(item.symbol)
        side = _AGGRESSORS.get(need(item.side, "side"))
        if side is None:
            raise Refused("wrong_type", f"side {item.side!r} is neither buy nor sell")
        prices, qtys = listing.levels([(need(_text(item.price), "price"), need(_text(item.qty), "qty"))])
        number = str(need(item.trade_id, "trade_id"))
        return [TradeEvent(listing, _when(item), None, number, prices[0], qtys[0], side, *listing.scales)]


def checksum_of(texts: LevelTexts) -> int:
    """CRC32 over the best 10 asks, then the best 10 bids."""
    bids, asks = texts.top(CHECKED_LEVELS)
    return zlib.crc32("".join([*asks, *bids]).encode())


def text_of(level: tuple[str, str]) -> str:
    """A level as the checksum has it: `45285.2` and `0.00100000` are `452852100000`.

    Raises:
        ValueError: a number in exponent form, which has no such text.
    """
    price, qty = level
    if "e" in (price + qty).lower():
        raise ValueError(f"a number in exponent form has no place in a checksum: {price} {qty}")
    return price.replace(".", "").lstrip("0") + qty.replace(".", "").lstrip("0")


def _without(event: DepthEvent, bids: list[int], asks: list[int]) -> DepthEvent:
    """The message with the removal of levels that it pushed out of the subscribed depth."""
    return msgspec.structs.replace(
        event,
        bids=event.bids + bids,
        bid_qtys=event.bid_qtys + [0] * len(bids),
        asks=event.asks + asks,
        ask_qtys=event.ask_qtys + [0] * len(asks),
    )


def _text(raw: msgspec.Raw) -> str | None:
    """A number's text; None where it is absent or null."""
    text = str(raw, "ascii")
    return None if not text or text == "null" else text


def _when(item: _Item) -> int | None:
    return None if item.timestamp is None else nanos_of_rfc3339(item.timestamp)
