"""Bybit v5 public streams (spot, linear and inverse contracts): frames to exact events, with order books kept in sync.

Sources: Bybit API v5, "Websocket Stream": connect, orderbook, trade, ticker (2026). Rules:

- `orderbook.50` (or 200) starts with a snapshot; a delta continues it when its `u` is the last `u` + 1. A snapshot may come at any time, with
  `u` 1 after a restart of the service, and replaces the book. The exchange itself removes levels that leave the depth. `seq` orders
  messages of several streams and proves nothing here; no column holds it.
- Quotes are `orderbook.1`, which sends snapshots only, at least every 3 s. Its `u` is a counter of its own; where it starts again lower, a
  `subscribed` row tells of the counter's new life.
- Marks are the `tickers` of contracts: a snapshot, then deltas that leave out what did not change, so that each row has the values in force.
  One that says nothing of mark, index, funding rate and funding time, as every ticker of spot, gives no row.
- A connection wants a ping every 20 s; a request for spot holds at most 10 topics.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Annotated, Final

import msgspec

from xarb.model.units import INT64_MAX, NANOS_PER_S
from xarb.wires.decimals import Listing
from xarb.wires.events import BUY, SELL, LinkEvent, MarkEvent, QuoteEvent, TradeEvent, WireEvent, readable
from xarb.wires.refusal import Refused, need, ratio_of
from xarb.wires.streamed import StreamSession, depth_of, unsynced
from xarb.wires.times import nanos_of

VENUES: Final = {"spot": "bybit", "linear": "bybitlinear", "inverse": "bybitinverse"}  # by market
PING_NS: Final = 20 * NANOS_PER_S
DEPTHS: Final = (50, 200, 1000)  # what the exchange offers beyond the best level
DEPTH: Final = 50
ARCHIVE_DEPTH: Final = 500  # the stream that the exchange's archive of order books holds
_TOPICS_A_MESSAGE: Final = {"spot": 10, "linear": 100, "inverse": 100}  # 10 is the exchange's limit for spot, contracts have none
_AGGRESSORS: Final = {"Buy": BUY, "Sell": SELL}

_Id = Annotated[int, msgspec.Meta(ge=0, le=INT64_MAX)]
_Levels = list[tuple[str, str]]


class _Item(msgspec.Struct, gc=False):
    """Union of the fields that the decoded topics use."""

    s: str | None = None
    b: _Levels | None = None
    a: _Levels | None = None
    u: _Id | None = None
    T: int | None = None
    S: str | None = None
    v: str | None = None
    p: str | None = None
    i: str | None = None
    markPrice: str | None = None  # noqa: N815  # the wire's own name
    indexPrice: str | None = None  # noqa: N815  # same
    fundingRate: str | None = None  # noqa: N815  # same
    nextFundingTime: str | None = None  # noqa: N815  # same


class _Frame(msgspec.Struct, gc=False):
    topic: str | None = None
    type: str | None = None
    ts: int | None = None
    cts: int | None = None
    data: _Item | list[_Item] | None = None
    success: bool | None = None
    ret_msg: str | None = None
    op: str | None = None


_decode = msgspec.json.Decoder(_Frame).decode


class BybitSession(StreamSession):
    """One connection to one of Bybit's public services.

    Args:
        market: `spot`, `linear` or `inverse`.
        listings: instruments by native name (`BTCUSDT`).
        channels: of `quotes`, `deltas`, `trades` and, for contracts, `marks` those to subscribe when the connection opens.
        depth: levels of a side, one of `DEPTHS`, or `ARCHIVE_DEPTH` for recorded messages.
    """

    def __init__(self, market: str, listings: Iterable[Listing], channels: Sequence[str] = (), *, depth: int = DEPTH) -> None:
        super().__init__(VENUES[market], listings, channels, ping_every_ns=PING_NS, ping='{"op":"ping"}')
        assert depth in {*DEPTHS, ARCHIVE_DEPTH}, depth
        self._kind = f"orderbook.{depth}"
        self._at_once = _TOPICS_A_MESSAGE[market]
        self._quoted: dict[str, int] = {}  # last u of the quotes of a native name
        self._marks: dict[str, tuple[str | None, str | None, str | None, str | None]] = {}  # mark, index, rate, time in force

    def _subscribe(self) -> list[str]:
        topics = {"quotes": "orderbook.1", "deltas": self._kind, "trades": "publicTrade", "marks": "tickers"}
        return self._requests(
            "subscribe", [f"{topics[channel]}.{native}" for channel in self._channels for native in self._listings]
        )

    def _resubscribe(self, natives: Sequence[str]) -> list[str]:
        topics = [f"{self._kind}.{native}" for native in natives]
        return [*self._requests("unsubscribe", topics), *self._requests("subscribe", topics)]

    def _requests(self, op: str, topics: Sequence[str]) -> list[str]:
        texts = []
        for number, start in enumerate(range(0, len(topics), self._at_once)):
            part = topics[start : start + self._at_once]
            texts.append(msgspec.json.encode({"req_id": f"{op} {number + 1}", "op": op, "args": part}).decode())
        return texts

    def _read(self, payload: bytes) -> list[WireEvent]:
        frame = _decode(payload)
        if frame.topic is None:
            return self._answer(frame)
        kind, _, native = frame.topic.rpartition(".")
        data = frame.data
        if data is None:
            raise Refused("missing_field", "data is absent")
        if kind == self._kind:
            items = data if isinstance(data, list) else [data]
            return [event for item in items for event in self._part(item, partial(self._book, frame, native), payload, native)]
        if kind not in {"orderbook.1", "publicTrade", "tickers"}:
            raise Refused("unknown_message", f"topic {frame.topic!r} is not decoded")
        listing = self._listing(native)
        if isinstance(data, list) != (kind == "publicTrade"):
            raise Refused("wrong_type", f"data of {frame.topic!r} must be a list for trades, an object for all else")
        if isinstance(data, list):
            return list(self._each(data, partial(self._trade, listing), payload, native))
        return self._quote(frame, data, listing) if kind == "orderbook.1" else self._mark(frame, data, listing)

    def _answer(self, frame: _Frame) -> list[WireEvent]:
        """What the exchange says to a request."""
        if frame.success is False:
            raise Refused("venue_error", f"{frame.op}: {frame.ret_msg}")
        if frame.op in {"ping", "pong"}:
            return [LinkEvent(self.venue, None, "heartbeat", "pong")]
        if frame.op in {"subscribe", "unsubscribe"}:
            return [
                LinkEvent(self.venue, None, "subscribed" if frame.op == "subscribe" else "heartbeat", f"{frame.op} acknowledged")
            ]
        raise Refused("unknown_message", f"neither a topic nor a known answer: op {frame.op!r}")

    def _book(self, frame: _Frame, native: str, item: _Item) -> list[WireEvent]:
        listing, last = self._listing(native), need(item.u, "u")
        if item.s != native:
            raise Refused("wrong_type", readable(f"the topic is of {native!r}, the book of {item.s!r}"))
        is_snapshot = frame.type == "snapshot"
        if not is_snapshot and frame.type != "delta":
            raise Refused("unknown_message", f"order book of type {frame.type!r}")
        event = depth_of(listing, (_when(frame), last, None), (need(item.b, "b"), need(item.a, "a")), is_snapshot=is_snapshot)
        if is_snapshot:
            return self._books.snapshot(native, last, event)
        known = self._books.last(native)
        if known is not None and last != known + 1:
            return [*self._books.lost(native, f"expected u {known + 1}, got {last}"), unsynced(event)]
        return self._books.update(native, last, event)

    def _quote(self, frame: _Frame, item: _Item, listing: Listing) -> list[WireEvent]:
        if frame.type != "snapshot":
            raise Refused("unknown_message", f"best levels of type {frame.type!r}, which are snapshots only")
        bids, asks, last = need(item.b, "b"), need(item.a, "a"), need(item.u, "u")
        bid, ask = (bids[0] if bids else (None, None)), (asks[0] if asks else (None, None))
        quote = QuoteEvent(listing, _when(frame), last, *listing.quote(*bid, *ask), *listing.scales)
        before = self._quoted.get(listing.instrument.native, last)
        self._quoted[listing.instrument.native] = last
        if last >= before:
            return [quote]
        detail = f"the exchange's counter starts again at {last} after {before}"
        return [LinkEvent(self.venue, listing.instrument.symbol, "subscribed", detail), quote]

    def _trade(self, listing: Listing, item: _Item) -> list[WireEvent]:
        side = _AGGRESSORS.get(need(item.S, "S"))
        if side is None:
            raise Refused("wrong_type", f"side {item.S!r} is neither Buy nor Sell")
        prices, qtys = listing.levels([(need(item.p, "p"), need(item.v, "v"))])
        when = nanos_of(str(need(item.T, "T")), "ms")
        return [TradeEvent(listing, when, None, need(item.i, "i"), prices[0], qtys[0], side, *listing.scales)]

    def _mark(self, frame: _Frame, item: _Item, listing: Listing) -> list[WireEvent]:
        native = listing.instrument.native
        said = (item.markPrice, item.indexPrice, item.fundingRate, item.nextFundingTime)
        if frame.type not in {"snapshot", "delta"}:
            raise Refused("unknown_message", f"ticker of type {frame.type!r}")
        if all(value is None for value in said):
            return []
        if frame.type == "delta":
            before = self._marks.get(native, (None, None, None, None))
            mark_text, index_text, rate_text, due_text = (
                new if new is not None else old for new, old in zip(said, before, strict=True)
            )
        else:
            mark_text, index_text, rate_text, due_text = said
        mark, _, index, _ = listing.quote(mark_text or None, None, index_text or None, None)
        due = nanos_of(due_text, "ms") if due_text and due_text != "0" else None
        event = MarkEvent(listing, _when(frame), mark, index, ratio_of(rate_text), due, *listing.scales)
        self._marks[native] = mark_text, index_text, rate_text, due_text
        return [event]


def _when(frame: _Frame) -> int | None:
    """The matching engine's time where the frame has it, else that of the market-data system, ns."""
    value = frame.cts if frame.cts is not None else frame.ts
    return None if value is None else nanos_of(str(value), "ms")
