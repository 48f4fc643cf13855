"""Upbit public stream: frames to exact events.

Format: Upbit "WebSocket" reference, `orderbook` and `trade` in the SIMPLE form (short field names), 2026.

- Each `orderbook` message is a whole book of up to 30 levels, so there is nothing to keep in sync: a lost message is made good by the next,
  and cannot be seen, because books have times and no counter. Their first level is no event of its own.
- Numbers are JSON numbers. They are read as the text that arrived, and no float is made.
- `trade` has a `sequential_id` that is unique and neither gap-free nor ordered: six of 304 recorded trades came behind a later one, and
  the engine flags them. `ask_bid` is the taker's side (ASK sells, BID buys). Trades from before the subscription are not asked for; one that
  comes (`SNAPSHOT`) is no news and is left out, a `subscribed` row says so.
- A connection without a frame for 120 s is dropped. The text `PING` is answered with `{"status":"UP"}`, again every 10 s.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Final

import msgspec

from xarb.model.units import INT64_MAX, NANOS_PER_S
from xarb.wires.decimals import Listing
from xarb.wires.events import BUY, SELL, BookEvent, LinkEvent, TradeEvent, WireEvent
from xarb.wires.intake import Intake, millis, sides
from xarb.wires.pings import Pings
from xarb.wires.refusal import Refused
from xarb.wires.session import Ask, Send

PING_NS: Final = 30 * NANOS_PER_S
_TYPES: Final = {"books": "orderbook", "trades": "trade"}
_AGGRESSORS: Final = {"ASK": SELL, "BID": BUY}

_Id = Annotated[int, msgspec.Meta(ge=0, le=INT64_MAX)]


class _Frame(msgspec.Struct, gc=False):
    """What every message may have: its type, its code, or the exchange's answer to a ping or a bad request."""

    ty: str | None = None
    cd: str | None = None
    status: str | None = None
    error: Any = None


class _Unit(msgspec.Struct, gc=False):
    """One level of both sides, as the numbers' own text."""

    ap: msgspec.Raw
    bp: msgspec.Raw
    bs: msgspec.Raw
    ask_size: msgspec.Raw = msgspec.field(name="as")


class _Book(msgspec.Struct, gc=False):
    """`orderbook`; `tms` is in ms."""

    obu: list[_Unit]
    tms: int


class _Trade(msgspec.Struct, gc=False):
    """`trade`; `ttms` is the time of the trade in ms."""

    tp: msgspec.Raw
    tv: msgspec.Raw
    ab: str
    sid: _Id
    ttms: int
    st: str = "REALTIME"


_frame = msgspec.json.Decoder(_Frame, float_hook=str).decode
_book = msgspec.json.Decoder(_Book).decode
_trade = msgspec.json.Decoder(_Trade).decode


class UpbitSession:
    """One connection to Upbit's public stream.

    Args:
        listings: listing of each native name (`KRW-BTC`); names outside it give rejects.
        channels: of `books` and `trades` those to subscribe when the connection opens.
    """

    venue = "upbit"

    def __init__(self, listings: Iterable[Listing], channels: Sequence[str] = ()) -> None:
        self._intake = Intake(self.venue, listings)
        self._channels = channels
        self._pings = Pings(PING_NS, lambda _: "PING")

    def open(self, ts: int) -> list[Ask]:
        """One message with all subscriptions: a further one would replace them. Its ticket is `ts`."""
        self._pings.tick(ts)
        codes = list(self._intake.listings)
        if not codes or not self._channels:
            return []
        wanted: list[dict[str, Any]] = [{"ticket": f"xarb-{ts}"}]
        for channel in self._channels:
            wanted.append({"type": _TYPES[channel], "codes": codes})
        if "trades" in self._channels:
            wanted[1 + self._channels.index("trades")]["is_only_realtime"] = True  # no trade from before the connection
        wanted.append({"format": "SIMPLE"})
        return [Send(msgspec.json.encode(wanted).decode())]

    def asks(self) -> list[Ask]:
        """Nothing: every book is whole."""
        return []

    def tick(self, ts: int) -> list[Ask]:
        """A ping every 30 s."""
        return list(self._pings.tick(ts))

    def receive(self, payload: bytes, native: str | None = None) -> list[WireEvent]:
        """Decode one frame as it arrived."""
        return self._intake.guarded(self._read, payload, native)

    def _read(self, payload: bytes, native: str | None) -> list[WireEvent]:  # noqa: ARG002  # nothing is fetched
        frame = _frame(payload)
        if frame.ty == "orderbook":
            return self._orderbook(payload, self._intake.listing(frame.cd))
        if frame.ty == "trade":
            return self._trade(payload, self._intake.listing(frame.cd))
        if frame.status is not None and frame.ty is None:
            return [LinkEvent(self.venue, None, "heartbeat", f"status {frame.status}")]
        if frame.error is not None:
            raise Refused("exchange_error", "the exchange refused a request")
        raise Refused("unknown_message", f"message type {frame.ty!r} is not decoded")

    def _orderbook(self, payload: bytes, listing: Listing) -> list[WireEvent]:
        body = _book(payload)
        bids = [(_number(unit.bp), _number(unit.bs)) for unit in body.obu]
        asks = [(_number(unit.ap), _number(unit.ask_size)) for unit in body.obu]
        return [BookEvent(listing, millis(body.tms), None, *sides(listing, _levels(bids), _levels(asks)))]

    def _trade(self, payload: bytes, listing: Listing) -> list[WireEvent]:
        body = _trade(payload)
        if body.st == "SNAPSHOT":
            detail = f"trade {body.sid} from before the subscription left out"
            return [LinkEvent(self.venue, listing.instrument.symbol, "subscribed", detail)]
        aggressor = _AGGRESSORS.get(body.ab)
        if aggressor is None:
            raise Refused("wrong_type", f"ab must be ASK or BID, not {body.ab!r}")
        prices, qtys = listing.levels([(_number(body.tp), _number(body.tv))])
        return [TradeEvent(listing, millis(body.ttms), None, str(body.sid), prices[0], qtys[0], aggressor, *listing.scales)]


def _number(raw: msgspec.Raw) -> str:
    """The text of a JSON number, as it arrived; any other value is found out when it is parsed as a number."""
    return bytes(raw).decode()


def _levels(levels: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The levels of a side: a pair of zeros fills up the row of a longer other side and is none."""
    return [level for level in levels if level[0].strip("0.") or level[1].strip("0.")]
