"""OKX v5 public market data: frames to exact events, with order books kept in sync.

Sources: OKX API v5, "WS / Order book channel" (2026-07-07), "Trades channel", "Mark price channel", "Index tickers channel", "Funding rate
channel", "WebSocket overview" (2026). Rules:

- `books` starts with a snapshot of 400 levels (`prevSeqId` -1); an update continues it when its `prevSeqId` is the last `seqId`. An empty
  update with `prevSeqId` = `seqId` says after about 60 quiet seconds that all is as it was. `seqId` may start again lower after maintenance;
  the chain still holds. The exchange itself removes levels that leave the 400, and levels that it never sent.
- `checksum` is 0 and without meaning since 2026-06-23. A checksum that is not 0, as in older recordings, is verified over the best 25 levels
  of each side; such recordings have no `seqId`, and there it is all that proves continuity.
- Quotes are `bbo-tbt`. Their `seqId` may start again too, which is told as a new life of the counter, a `subscribed` row.
- A mark price, an index price and a funding rate are three channels; each row holds what its frame said and null for the rest. An index
  belongs to every derivative of the connection whose native name begins with the index's.
- The exchange closes a connection that was silent for 30 s: a text `ping` goes out every 20 s, and `pong` is a heartbeat.

Its archive of order books ("Historical market data", 400 levels; files of 2023 to 2026) holds the messages of one book without what is around them on the
wire, with levels of three texts. It has neither `seqId` nor `checksum`: there the order of the lines is all that proves continuity, and a new snapshot,
every minute in older files and every 15 minutes in newer ones, ends whatever was lost.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Final, Protocol

import msgspec

from xarb.model.units import INT64_MAX, NANOS_PER_S
from xarb.wires.decimals import Listing
from xarb.wires.events import BUY, SELL, LinkEvent, MarkEvent, QuoteEvent, TradeEvent, WireEvent, readable
from xarb.wires.refusal import Refused, need, ratio_of
from xarb.wires.streamed import StreamSession, depth_of, unsynced
from xarb.wires.texts import LevelTexts
from xarb.wires.times import nanos_of

PING_NS: Final = 20 * NANOS_PER_S
CHECKED_LEVELS: Final = 25
BOOKS: Final = ("books", "books-l2-tbt")  # every 100 ms, and every 10 ms for VIP accounts: one form, each a chain of its own
_ARGS_A_MESSAGE: Final = 100  # a request may hold 64 KiB; 100 arguments are about 6 KiB
_AGGRESSORS: Final = {"buy": BUY, "sell": SELL}

_Id = Annotated[int, msgspec.Meta(ge=-1, le=INT64_MAX)]
_Level = tuple[str, str, str, str]  # price, size, always "0", number of orders


class _Arg(msgspec.Struct, gc=False):
    channel: str = ""
    instId: str | None = None  # noqa: N815  # the wire's own name


class _Item(msgspec.Struct, gc=False):
    """Union of the fields that the decoded channels use."""

    instId: str | None = None  # noqa: N815  # the wire's own name
    bids: list[_Level] | None = None
    asks: list[_Level] | None = None
    ts: str | int | None = None
    checksum: int | None = None
    seqId: _Id | None = None  # noqa: N815  # same
    prevSeqId: _Id | None = None  # noqa: N815  # same
    tradeId: str | None = None  # noqa: N815  # same
    px: str | None = None
    sz: str | None = None
    side: str | None = None
    markPx: str | None = None  # noqa: N815  # same
    idxPx: str | None = None  # noqa: N815  # same
    fundingRate: str | None = None  # noqa: N815  # same
    fundingTime: str | None = None  # noqa: N815  # same


class _Message(Protocol):
    """What a message of a book says, on the wire or in the archive."""

    @property
    def bids(self) -> Sequence[tuple[str, ...]] | None: ...
    @property
    def asks(self) -> Sequence[tuple[str, ...]] | None: ...
    @property
    def ts(self) -> str | int | None: ...
    @property
    def checksum(self) -> int | None: ...
    @property
    def seqId(self) -> int | None: ...  # noqa: N802  # the wire's own name
    @property
    def prevSeqId(self) -> int | None: ...  # noqa: N802  # same


class ArchivedMessage(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """A line of the archive; levels are price, size, number of orders. The last three are the wire's, should a file have them."""

    instId: str  # noqa: N815  # the archive's own name
    action: str
    ts: str
    asks: list[tuple[str, str, str]]
    bids: list[tuple[str, str, str]]
    seqId: _Id | None = None  # noqa: N815  # same
    prevSeqId: _Id | None = None  # noqa: N815  # same
    checksum: int | None = None


class _Frame(msgspec.Struct, gc=False):
    event: str | None = None
    code: str | None = None
    msg: str | None = None
    arg: _Arg | None = None
    action: str | None = None
    data: list[_Item] | None = None


_decode = msgspec.json.Decoder(_Frame).decode
decode_archived = msgspec.json.Decoder(ArchivedMessage).decode


class OkxSession(StreamSession):
    """One connection to OKX's public service; spot and derivatives alike.

    Args:
        listings: instruments by native name (`BTC-USDT`, `BTC-USDT-SWAP`, `BTC-USD-261225`).
        channels: of `quotes`, `deltas`, `trades` and `marks` those to subscribe when the connection opens; marks are for derivatives only.
        books: the channel of books, one of `BOOKS`.
    """

    def __init__(self, listings: Iterable[Listing], channels: Sequence[str] = (), *, books: str = BOOKS[0]) -> None:
        super().__init__("okx", listings, channels, ping_every_ns=PING_NS, ping="ping")
        assert books in BOOKS, books
        self._kind = books
        self._is_proven = True  # by seqId or checksum
        self._derivatives = [native for native, listing in self._listings.items() if listing.instrument.kind != "spot"]
        self._of_index: dict[str, list[Listing]] = {}
        for native in self._derivatives:
            self._of_index.setdefault(_index_of(native), []).append(self._listings[native])
        self._texts: dict[str, LevelTexts] = {}  # books whose checksum is alive
        self._quoted: dict[str, int] = {}  # last seqId of the quotes of a native name

    def _subscribe(self) -> list[str]:
        args = []
        for channel in self._channels:
            if channel == "marks":
                perpetuals = [native for native in self._derivatives if self._listings[native].instrument.kind == "perpetual"]
                args += [("mark-price", native) for native in self._derivatives]
                args += [("index-tickers", index) for index in self._of_index]
                args += [("funding-rate", native) for native in perpetuals]
            else:
                name = {"quotes": "bbo-tbt", "deltas": self._kind, "trades": "trades"}[channel]
                args += [(name, native) for native in self._listings]
        return _requests("subscribe", args)

    def _resubscribe(self, natives: Sequence[str]) -> list[str]:
        args = [(self._kind, native) for native in natives]
        return [*_requests("unsubscribe", args), *_requests("subscribe", args)]

    def _read(self, payload: bytes) -> list[WireEvent]:
        if payload == b"pong":
            return [LinkEvent(self.venue, None, "heartbeat", "pong")]
        frame = _decode(payload)
        if frame.event is not None:
            return self._answer(frame)
        arg = need(frame.arg, "arg")
        items, native = need(frame.data, "data"), need(arg.instId, "arg.instId")
        if arg.channel == self._kind:
            return [
                event
                for item in items
                for event in self._part(item, lambda item: self._depth(frame.action, item, native), payload, native)
            ]
        if arg.channel == "index-tickers":
            return [event for item in items for event in self._index(item, native)]
        listing = self._listing(native)
        readers: dict[str, Any] = {
            "bbo-tbt": self._quote,
            "trades": self._trade,
            "mark-price": self._mark,
            "funding-rate": self._funding,
        }
        reader = readers.get(arg.channel)
        if reader is None:
            raise Refused("unknown_message", f"channel {arg.channel!r} is not decoded")
        return list(self._each(items, lambda item: reader(item, listing), payload, native))

    def _answer(self, frame: _Frame) -> list[WireEvent]:
        """What the exchange says to a request, or on its own account."""
        native = frame.arg.instId if frame.arg else None
        listing = self._listings.get(native or "")
        symbol = listing.instrument.symbol if listing else None
        channel = readable(f"{frame.arg.channel} {native}") if frame.arg else ""
        if frame.event == "error":
            raise Refused("venue_error", f"{frame.code}: {frame.msg}")
        if frame.event == "notice":
            self._reopen = f"notice {frame.code}"
            return [LinkEvent(self.venue, None, "heartbeat", readable(f"notice {frame.code}: {frame.msg}"))]
        if frame.event == "subscribe":
            return [LinkEvent(self.venue, symbol, "subscribed", channel)]
        return [LinkEvent(self.venue, symbol, "heartbeat", readable(f"{frame.event} {channel}"))]

    def _depth(self, action: str | None, item: _Message, native: str) -> list[WireEvent]:
        listing = self._listing(native)
        bids, asks = need(item.bids, "bids"), need(item.asks, "asks")
        last, prev = item.seqId, None if item.prevSeqId == -1 else item.prevSeqId
        is_snapshot = action == "snapshot"
        if not is_snapshot and action != "update":
            raise Refused("unknown_message", f"books with action {action!r}")
        if last is None and not item.checksum and self._is_proven:
            raise Refused("missing_field", "seqId is absent, and there is no checksum in its place")
        event = depth_of(listing, (_when(item), last, prev), (bids, asks), is_snapshot=is_snapshot)
        known = self._books.last(native)
        if is_snapshot:
            self._texts.pop(native, None)
            if item.checksum:
                self._texts[native] = LevelTexts()
        elif known is None:
            return [unsynced(event)]
        elif last is not None and prev != known:
            return [*self._books.lost(native, f"expected prevSeqId {known}, got {item.prevSeqId} seqId {last}"), unsynced(event)]
        texts = self._texts.get(native)
        if texts is not None and item.checksum:
            texts.apply(event, map(_text, bids), map(_text, asks))
            found = checksum_of(texts)
            if found != item.checksum:
                return [*self._books.lost(native, f"expected checksum {item.checksum}, the book's is {found}"), unsynced(event)]
        elif last is None and (self._is_proven or (known and not is_snapshot)):
            return [*self._books.lost(native, "neither seqId nor a checksum since the snapshot"), unsynced(event)]
        if is_snapshot:
            return self._books.snapshot(native, last, event)
        return self._books.update(native, last or 0, event)

    def _quote(self, item: _Item, listing: Listing) -> list[WireEvent]:
        bids, asks = need(item.bids, "bids"), need(item.asks, "asks")
        bid, ask = (bids[0] if bids else (None, None)), (asks[0] if asks else (None, None))
        found = listing.quote(bid[0], bid[1], ask[0], ask[1])
        quote = QuoteEvent(listing, _when(item), item.seqId, *found, *listing.scales)
        native = listing.instrument.native
        if item.seqId is None:
            return [quote]
        before = self._quoted.get(native, item.seqId)
        self._quoted[native] = item.seqId
        if item.seqId >= before:
            return [quote]
        detail = f"the exchange's counter starts again at {item.seqId} after {before}"
        return [LinkEvent(self.venue, listing.instrument.symbol, "subscribed", detail), quote]

    def _trade(self, item: _Item, listing: Listing) -> list[WireEvent]:
        side = _AGGRESSORS.get(need(item.side, "side"))
        if side is None:
            raise Refused("wrong_type", f"side {item.side!r} is neither buy nor sell")
        prices, qtys = listing.levels([(need(item.px, "px"), need(item.sz, "sz"))])
        number = need(item.tradeId, "tradeId")
        return [TradeEvent(listing, _when(item), None, number, prices[0], qtys[0], side, *listing.scales)]

    def _mark(self, item: _Item, listing: Listing) -> list[WireEvent]:
        mark, _, _, _ = listing.quote(need(item.markPx, "markPx"), None, None, None)
        return [MarkEvent(listing, _when(item), mark, None, None, None, *listing.scales)]

    def _index(self, item: _Item, index: str) -> list[WireEvent]:
        listings = self._of_index.get(index)
        if listings is None:
            raise Refused("unknown_instrument", f"{index!r} is the index of no derivative of this connection")
        events: list[WireEvent] = []
        for listing in listings:
            price, _, _, _ = listing.quote(need(item.idxPx, "idxPx"), None, None, None)
            events.append(MarkEvent(listing, _when(item), None, price, None, None, *listing.scales))
        return events

    def _funding(self, item: _Item, listing: Listing) -> list[WireEvent]:
        rate = ratio_of(need(item.fundingRate, "fundingRate"))
        due = nanos_of(item.fundingTime, "ms") if item.fundingTime else None
        return [MarkEvent(listing, _when(item), None, None, rate, due, *listing.scales)]


class OkxArchiveSession(OkxSession):
    """The lines of a file of OKX's archive of order books, through the rules of the wire; what is rejected loses the book, since no number tells of it."""

    def __init__(self, listings: Iterable[Listing]) -> None:
        super().__init__(listings)
        self._is_proven = False

    def _read(self, payload: bytes) -> list[WireEvent]:
        line = decode_archived(payload)
        return self._part(line, lambda line: self._depth(line.action, line, line.instId), payload, line.instId)

    def _unreadable(self, error: Exception, payload: bytes) -> list[WireEvent]:  # noqa: ARG002  # the seam's signature
        return self._books.all_lost("a message could not be read") if self._books.any_in_sync() else []


def checksum_of(texts: LevelTexts) -> int:
    """CRC32, as a signed integer, of bid and ask levels in turn from the best, `price:size` each and `:` between; 25 of each side."""
    bids, asks = texts.top(CHECKED_LEVELS)
    parts: list[str] = []
    for at in range(max(len(bids), len(asks))):
        parts += bids[at : at + 1]
        parts += asks[at : at + 1]
    found = zlib.crc32(":".join(parts).encode())
    return found - (1 << 32) if found >= 1 << 31 else found


def _text(level: tuple[str, ...]) -> str:
    return f"{level[0]}:{level[1]}"


def _index_of(native: str) -> str:
    """The index of a derivative: `BTC-USD` of `BTC-USD-261225`."""
    return "-".join(native.split("-")[:2])


def _requests(op: str, args: Sequence[tuple[str, str]]) -> list[str]:
    texts = []
    for start in range(0, len(args), _ARGS_A_MESSAGE):
        part = [{"channel": channel, "instId": native} for channel, native in args[start : start + _ARGS_A_MESSAGE]]
        texts.append(msgspec.json.encode({"op": op, "args": part}).decode())
    return texts


def _when(item: _Item | _Message) -> int | None:
    return None if item.ts is None else nanos_of(str(item.ts), "ms")
