"""Decodes the private streams: what an exchange pushes of our orders, fills and balances, as exact values. No I/O and no clock.

A session takes the texts of one connection and gives what they say. A frame that it cannot read raises `UnreadableReply`; the
connection goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from xarb.model.units import Money
from xarb.venues.replies import NANOS_PER_MILLI, OrderSaid, TradeSaid, UnreadableReply, money_said


class Told(NamedTuple):
    """What one push says of one order, with the fill that caused it."""

    order: OrderSaid
    trade: TradeSaid | None


class BalanceTold(NamedTuple):
    """A balance after a change; money."""

    asset: str
    free: Money
    locked: Money
    ts_event: int | None


class Moved(NamedTuple):
    """A balance changed without an order: a deposit, a withdrawal or a transfer between accounts."""

    asset: str


class Ready(NamedTuple):
    """The subscription stands: from now on everything is pushed."""


class Ended(NamedTuple):
    """The exchange says that this stream ends, or refuses it."""

    reason: str


Item = Told | BalanceTold | Moved | Ready | Ended


class UserSession(Protocol):
    """One connection's protocol."""

    @property
    def ping(self) -> str | None:
        """A text that keeps the connection alive; None: the websocket's own pings do."""

    def hello(self) -> list[str]:
        """Texts to send once connected."""

    def take(self, text: str) -> tuple[list[Item], list[str]]:
        """What a frame says, and texts to send in answer.

        Raises:
            UnreadableReply: it is not what the exchange documents.
        """


class Names(NamedTuple):
    """Names of an exchange in ours: symbols by its own name, and the asset of its code."""

    symbols: Mapping[str, str]
    asset: Callable[[str], str]


_BINANCE_STATES: Final = {
    "NEW": "open",
    "PENDING_NEW": "open",
    "PARTIALLY_FILLED": "open",
    "PENDING_CANCEL": "open",
    "FILLED": "filled",
    "CANCELED": "canceled",
    "REJECTED": "rejected",
    "EXPIRED": "expired",
    "EXPIRED_IN_MATCH": "expired",
}


class BinanceUserSession:
    """Binance spot WS-API, `userDataStream.subscribe.signature` (user-data-stream.md, 2026).

    Args:
        sign: adds key, time and signature to parameters.
        names: of symbols and assets.
    """

    ping = None

    def __init__(self, sign: Callable[[dict[str, Any]], dict[str, Any]], names: Names) -> None:
        self._sign = sign
        self._names = names

    def hello(self) -> list[str]:
        """The subscription."""
        asked = {"id": "1", "method": "userDataStream.subscribe.signature", "params": self._sign({})}
        return [msgspec.json.encode(asked).decode()]

    def take(self, text: str) -> tuple[list[Item], list[str]]:
        """As the protocol says."""
        frame = _object(text)
        if "status" in frame:
            if frame["status"] != 200:
                error = frame.get("error")
                code = error.get("code") if isinstance(error, dict) else None
                return [Ended(f"refused with status {frame['status']}, code {code}")], []
            return [Ready()], []
        event = frame.get("event", frame)
        if not isinstance(event, dict):
            raise UnreadableReply("an event that is no object")
        kind = event.get("e")
        if kind == "executionReport":
            return [self._order(event)], []
        if kind == "outboundAccountPosition":
            ts = _nanos(event.get("u"))
            return [self._balance(part, ts) for part in _list(event, "B")], []
        if kind == "balanceUpdate":
            return [Moved(self._names.asset(_text(event, "a")))], []
        if kind in ("eventStreamTerminated", "serverShutdown"):
            return [Ended(str(kind))], []
        return [], []

    def _balance(self, part: Any, ts: int | None) -> BalanceTold:
        if not isinstance(part, dict):
            raise UnreadableReply("a balance that is no object")
        asset = self._names.asset(_text(part, "a"))
        return BalanceTold(asset, money_said(part.get("f"), "f"), money_said(part.get("l"), "l"), ts)

    def _order(self, event: Mapping[str, Any]) -> Item:
        native = _text(event, "s")
        symbol, state = self._names.symbols.get(native, native), _BINANCE_STATES.get(_text(event, "X"))
        if state is None:
            raise UnreadableReply(f"order state {event['X']!r}")
        ts, side = _nanos(event.get("T")), _text(event, "S").lower()
        client_id = _text(event, "C" if event.get("C") else "c")  # of a cancel, `c` is the cancel's own id
        reason = event.get("r")
        order = OrderSaid(
            symbol=symbol,
            venue_order_id=_number(event, "i"),
            state=state,
            client_id=client_id,
            side=side,
            price=money_said(event.get("p"), "p"),
            qty=money_said(event.get("q"), "q"),
            cum_qty=money_said(event.get("z"), "z"),
            ts_event=ts,
            reason=None if reason in (None, "NONE") else str(reason).lower(),
        )
        if event.get("x") != "TRADE":
            return Told(order, None)
        fee_asset = _optional(event, "N")
        trade = TradeSaid(
            symbol=symbol,
            fill_id=_number(event, "t"),
            venue_order_id=order.venue_order_id,
            price=money_said(event.get("L"), "L"),
            qty=money_said(event.get("l"), "l"),
            client_id=client_id,
            side=side,
            fee=money_said(event.get("n"), "n") if fee_asset else None,
            fee_asset=self._names.asset(fee_asset) if fee_asset else None,
            liquidity="maker" if event.get("m") is True else "taker",
            ts_event=ts,
        )
        return Told(order, trade)


_OKX_STATES: Final = {
    "live": "open",
    "partially_filled": "open",
    "filled": "filled",
    "canceled": "canceled",
    "mmp_canceled": "canceled",
}
_OKX_CHANNELS: Final = ({"channel": "orders", "instType": "SPOT"}, {"channel": "account"})


class OkxUserSession:
    """OKX v5 private stream: login, then the channels `orders` and `account` (OKX v5 websocket, 2026).

    Args:
        login: the arguments of `login`, signed now.
        names: of symbols and assets.
    """

    ping = "ping"

    def __init__(self, login: Callable[[], dict[str, str]], names: Names) -> None:
        self._login = login
        self._names = names
        self._missing = len(_OKX_CHANNELS)

    def hello(self) -> list[str]:
        """The login."""
        return [msgspec.json.encode({"op": "login", "args": [self._login()]}).decode()]

    def take(self, text: str) -> tuple[list[Item], list[str]]:
        """As the protocol says."""
        if text == "pong":
            return [], []
        frame = _object(text)
        event = frame.get("event")
        if event == "login" and frame.get("code", "0") == "0":
            return [], [msgspec.json.encode({"op": "subscribe", "args": list(_OKX_CHANNELS)}).decode()]
        if event == "subscribe":
            self._missing -= 1
            return ([Ready()] if self._missing == 0 else []), []
        if event in ("error", "login"):
            return [Ended(f"refused with code {frame.get('code')}")], []
        if event == "notice":
            return [Ended(f"notice {frame.get('code')}")], []
        about = frame.get("arg")
        channel = about.get("channel") if isinstance(about, dict) else None
        if channel == "orders":
            return [self._order(part) for part in _list(frame, "data")], []
        if channel == "account":
            return [item for part in _list(frame, "data") for item in self._balances(part)], []
        return [], []

    def _balances(self, part: Any) -> list[Item]:
        found: list[Item] = []
        for one in _list(part, "details"):
            asset = self._names.asset(_text(one, "ccy"))
            free, locked = money_said(one.get("availBal"), "availBal"), money_said(one.get("frozenBal"), "frozenBal")
            found.append(BalanceTold(asset, free, locked, _nanos(one.get("uTime"))))
        return found

    def _order(self, part: Any) -> Item:
        native = _text(part, "instId")
        symbol, state = self._names.symbols.get(native, native), _OKX_STATES.get(_text(part, "state"))
        if state is None:
            raise UnreadableReply(f"order state {part['state']!r}")
        client_id, venue_order_id, side = _optional(part, "clOrdId"), _text(part, "ordId"), _text(part, "side")
        order = OrderSaid(
            symbol=symbol,
            venue_order_id=venue_order_id,
            state=state,
            client_id=client_id,
            side=side,
            price=money_said(part["px"], "px") if part.get("px") else None,
            qty=money_said(part.get("sz"), "sz"),
            cum_qty=money_said(part.get("accFillSz") or "0", "accFillSz"),
            ts_event=_nanos(part.get("uTime")),
        )
        if not part.get("tradeId"):
            return Told(order, None)
        fee, fee_asset = part.get("fillFee"), _optional(part, "fillFeeCcy")
        trade = TradeSaid(
            symbol=symbol,
            fill_id=_text(part, "tradeId"),
            venue_order_id=venue_order_id,
            price=money_said(part.get("fillPx"), "fillPx"),
            qty=money_said(part.get("fillSz"), "fillSz"),
            client_id=client_id,
            side=side,
            fee=Money(-money_said(fee, "fillFee")) if fee and fee_asset else None,  # theirs is negative when it is paid
            fee_asset=self._names.asset(fee_asset) if fee and fee_asset else None,
            liquidity="maker" if part.get("execType") == "M" else "taker",
            ts_event=_nanos(part.get("fillTime")),
        )
        return Told(order, trade)


def _object(text: str) -> dict[str, Any]:
    try:
        frame = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise UnreadableReply("a frame that is no JSON, or nested too deep") from None
    if not isinstance(frame, dict):
        raise UnreadableReply("a frame that is no object")
    return frame


def _list(frame: Any, name: str) -> list[Any]:
    found = frame.get(name) if isinstance(frame, dict) else None
    if not isinstance(found, list):
        raise UnreadableReply(f"no list {name}")
    return found


def _text(frame: Any, name: str) -> str:
    found = frame.get(name) if isinstance(frame, dict) else None
    if not isinstance(found, str) or not found:
        raise UnreadableReply(f"no text {name}")
    return found


def _optional(frame: Mapping[str, Any], name: str) -> str | None:
    return _text(frame, name) if frame.get(name) else None


def _number(frame: Mapping[str, Any], name: str) -> str:
    found = frame.get(name)
    if isinstance(found, bool) or not isinstance(found, int) or found < 0:
        raise UnreadableReply(f"no number {name}")
    return str(found)


def _nanos(milliseconds: object) -> int | None:
    text = str(milliseconds)
    return int(text) * NANOS_PER_MILLI if text.isascii() and text.isdigit() and len(text) < 16 else None
