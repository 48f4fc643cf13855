"""What an exchange says of orders and trades, as exact values; a reply that does not say what it must is refused, never completed.

ccxt's trading client leaves numbers as text (`exchange.py`), so that no value here has ever been a float.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from xarb.model.units import Money, parse_money

NANOS_PER_MILLI: Final = 1_000_000
# ccxt's word for an order's state, and ours: `open`, or the event that ended it; `filled` ends by its fills.
_STATES: Final = {
    "open": "open",
    "closed": "filled",
    "canceled": "canceled",
    "canceling": "open",
    "expired": "expired",
    "rejected": "rejected",
}


class UnreadableReply(ValueError):
    """A reply that lacks what it must say, such as a body that was cut off; what it answers has an unknown fate."""


class OrderSaid(msgspec.Struct, frozen=True, kw_only=True):
    """An order as the exchange states it. `state` is `open`, `filled`, `canceled`, `expired` or `rejected`; amounts are money."""

    symbol: str
    venue_order_id: str
    state: str
    client_id: str | None = None
    side: str | None = None
    price: Money | None = None
    qty: Money | None = None
    cum_qty: Money | None = None
    ts_event: int | None = None
    reason: str | None = None


class TradeSaid(msgspec.Struct, frozen=True, kw_only=True):
    """A fill as the exchange states it; fee, positive is paid, and its asset are None where this source does not tell them."""

    symbol: str
    fill_id: str
    venue_order_id: str
    price: Money
    qty: Money
    client_id: str | None = None
    side: str | None = None
    fee: Money | None = None
    fee_asset: str | None = None
    liquidity: str | None = None
    ts_event: int | None = None


def order_said(raw: Any, symbol: str) -> OrderSaid:
    """An order from ccxt's structure.

    Raises:
        UnreadableReply: no structure, another symbol, no id, no known state, or a number that is none.
    """
    if not isinstance(raw, Mapping) or not isinstance(raw.get("info"), Mapping):
        raise UnreadableReply("the reply is no order")
    venue_order_id, state = raw.get("id"), _STATES.get(raw.get("status") or "")
    if not venue_order_id or state is None:
        raise UnreadableReply(f"an order with id {venue_order_id!r} and state {raw.get('status')!r}")
    if raw.get("symbol") != symbol:
        raise UnreadableReply(f"an order on {raw.get('symbol')!r}, asked was {symbol}")
    return OrderSaid(
        symbol=symbol,
        venue_order_id=str(venue_order_id),
        state=state,
        client_id=raw.get("clientOrderId") or None,
        side=raw.get("side"),
        price=_money(raw, "price"),
        qty=_money(raw, "amount"),
        cum_qty=_money(raw, "filled"),
        ts_event=_nanos(raw.get("lastUpdateTimestamp") or raw.get("timestamp")),
    )


def trade_said(raw: Any, symbol: str, order: OrderSaid | None = None) -> TradeSaid:
    """A fill from ccxt's structure; what a fill within an order's reply leaves out is the order's.

    Raises:
        UnreadableReply: no structure, no id, no order, or no positive price and quantity.
    """
    if not isinstance(raw, Mapping):
        raise UnreadableReply("the reply is no trade")
    fill_id, order_id = raw.get("id"), raw.get("order") or (order and order.venue_order_id)
    price, qty = _money(raw, "price"), _money(raw, "amount")
    if not fill_id or not order_id or not price or not qty or price < 0 or qty < 0:
        raise UnreadableReply(f"a trade with id {fill_id!r} of order {order_id!r} at {raw.get('price')!r} of {raw.get('amount')!r}")
    fee = raw.get("fee") or {}
    return TradeSaid(
        symbol=symbol,
        fill_id=str(fill_id),
        venue_order_id=str(order_id),
        price=price,
        qty=qty,
        client_id=order.client_id if order else _client_id(raw.get("info")),
        side=raw.get("side") or (order.side if order else None),
        fee=_money(fee, "cost") if fee.get("currency") else None,
        fee_asset=fee.get("currency"),
        liquidity=raw.get("takerOrMaker"),
        ts_event=_nanos(raw.get("timestamp")) or (order.ts_event if order else None),
    )


def _client_id(info: object) -> str | None:
    """The client id of a fill, which ccxt does not unify; OKX states it."""
    return info.get("clOrdId") or None if isinstance(info, Mapping) else None


def money_said(value: object, what: str) -> Money:
    """A number of a reply, which is text or an integer, as money.

    Raises:
        UnreadableReply: a float, or no decimal number.
    """
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise UnreadableReply(f"{what} is {type(value).__name__}, not a decimal text")
    try:
        return parse_money(str(value))
    except ValueError as error:
        raise UnreadableReply(f"{what}: {error}") from None


def _money(raw: Mapping[str, Any], name: str) -> Money | None:
    value = raw.get(name)
    return None if value is None else money_said(value, name)


def _nanos(milliseconds: object) -> int | None:
    text = str(milliseconds)
    return int(text) * NANOS_PER_MILLI if text.isascii() and text.isdigit() and len(text) < 16 else None
