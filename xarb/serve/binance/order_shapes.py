"""Binance's JSON shapes of orders, fills and balances, on REST, on a request socket and in the user stream."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from xarb.serve.binance.shapes import amount
from xarb.serve.orders import CANCELED, EXPIRED_IN_MATCH, MARKET, Fill, ServedOrder
from xarb.venues.accounts import Purse

_NONE: Final = amount(0)
_STP: Final = "EXPIRE_TAKER"
NETWORK: Final = "XARB"  # the one network of a served venue


def placed(order: ServedOrder, response: str) -> dict[str, Any]:
    """The answer to a new order: ACK, RESULT or FULL."""
    found: dict[str, Any] = {
        "symbol": order.symbol,
        "orderId": order.id,
        "orderListId": -1,
        "clientOrderId": order.intent.client_id,
        "transactTime": order.updated_ms,
    }
    if response == "ACK":
        return found
    found |= {**_figures(order), "workingTime": order.ms, "selfTradePreventionMode": _STP}
    if response == "FULL":
        found["fills"] = [
            {
                "price": amount(fill.price),
                "qty": amount(fill.qty),
                "commission": amount(fill.fee),
                "commissionAsset": fill.fee_asset,
                "tradeId": fill.trade_id,
            }
            for fill in order.fills
        ]
    return found


def canceled(order: ServedOrder) -> dict[str, Any]:
    """The answer to a cancel."""
    return {
        "symbol": order.symbol,
        "origClientOrderId": order.intent.client_id,
        "orderId": order.id,
        "orderListId": -1,
        "clientOrderId": order.cancel_id,
        "transactTime": order.updated_ms,
        **_figures(order),
        "selfTradePreventionMode": _STP,
    }


def known(order: ServedOrder) -> dict[str, Any]:
    """An order that was asked for."""
    return {
        "symbol": order.symbol,
        "orderId": order.id,
        "orderListId": -1,
        "clientOrderId": order.intent.client_id,
        **_figures(order),
        "stopPrice": _NONE,
        "icebergQty": _NONE,
        "time": order.ms,
        "updateTime": order.updated_ms,
        "isWorking": True,
        "workingTime": order.ms,
        "selfTradePreventionMode": _STP,
    }


def _figures(order: ServedOrder) -> dict[str, Any]:
    return {
        "price": amount(order.price),
        "origQty": amount(order.qty),
        "executedQty": amount(order.filled),
        "origQuoteOrderQty": amount(order.intent.quote_value),
        "cummulativeQuoteQty": amount(order.value),
        "status": order.status,
        "timeInForce": _tif(order),
        "type": order.intent.kind,
        "side": _side(order),
    }


def own_trade(order: ServedOrder, fill: Fill) -> dict[str, Any]:
    """A fill as myTrades lists it."""
    return {
        "symbol": order.symbol,
        "id": fill.trade_id,
        "orderId": order.id,
        "orderListId": -1,
        "price": amount(fill.price),
        "qty": amount(fill.qty),
        "quoteQty": amount(fill.value),
        "commission": amount(fill.fee),
        "commissionAsset": fill.fee_asset,
        "time": fill.ms,
        "isBuyer": order.intent.buy,
        "isMaker": fill.is_maker,
        "isBestMatch": True,
    }


def execution(order: ServedOrder, what: str, fill: Fill | None, *, event_id: int, now_ms: int) -> dict[str, Any]:
    """The executionReport event; after a cancel `c` is the cancel's own id and `C` the order's."""
    is_cancel = what == CANCELED
    found: dict[str, Any] = {
        "e": "executionReport",
        "E": now_ms,
        "s": order.symbol,
        "c": order.cancel_id if is_cancel else order.intent.client_id,
        "S": _side(order),
        "o": order.intent.kind,
        "f": _tif(order),
        "q": amount(order.qty),
        "p": amount(order.price),
        "P": _NONE,
        "F": _NONE,
        "g": -1,
        "C": order.intent.client_id if is_cancel else "",
        "x": "TRADE_PREVENTION" if order.status == EXPIRED_IN_MATCH else what,
        "X": order.status,
        "r": "NONE",
        "i": order.id,
        "l": amount(fill.qty) if fill else _NONE,
        "z": amount(order.filled),
        "L": amount(fill.price) if fill else _NONE,
        "n": amount(fill.fee) if fill else "0",
        "N": fill.fee_asset if fill else None,
        "T": order.updated_ms,
        "t": fill.trade_id if fill else -1,
        "I": event_id,
        "w": what == "NEW" and order.intent.tif == "gtc",
        "m": fill.is_maker if fill else False,
        "M": False,
        "O": order.ms,
        "Z": amount(order.value),
        "Y": amount(fill.value) if fill else _NONE,
        "Q": amount(order.intent.quote_value),
        "W": order.ms,
        "V": _STP,
    }
    return found


def position(purse: Purse, assets: Iterable[str], *, now_ms: int) -> dict[str, Any]:
    """The outboundAccountPosition event: the balances that may have changed."""
    return {
        "e": "outboundAccountPosition",
        "E": now_ms,
        "u": now_ms,
        "B": [{"a": asset, "f": amount(purse.free.get(asset, 0)), "l": amount(purse.held.get(asset, 0))} for asset in assets],
    }


def coin(asset: str, free: int, held: int, *, is_open: bool) -> dict[str, Any]:
    """An asset of capital/config/getall, on the one network that a served venue has."""
    return {
        "coin": asset,
        "name": asset,
        "free": amount(free),
        "locked": amount(held),
        "freeze": _NONE,
        "ipoable": _NONE,
        "ipoing": _NONE,
        "isLegalMoney": False,
        "storage": _NONE,
        "trading": True,
        "withdrawing": _NONE,
        "depositAllEnable": is_open,
        "withdrawAllEnable": is_open,
        "networkList": [
            {
                "network": NETWORK,
                "coin": asset,
                "name": "the served exchange's own ledger",
                "isDefault": True,
                "depositEnable": is_open,
                "withdrawEnable": is_open,
                "depositDesc": "" if is_open else "suspended",
                "withdrawDesc": "" if is_open else "suspended",
                "withdrawFee": "0",
                "withdrawMin": "0.00000001",
                "withdrawMax": "9999999999.99999999",
                "withdrawIntegerMultiple": "0.00000001",
                "minConfirm": 1,
                "unLockConfirm": 0,
                "busy": False,
                "estimatedArrivalTime": 0,
            }
        ],
    }


def _side(order: ServedOrder) -> str:
    return "BUY" if order.intent.buy else "SELL"


def _tif(order: ServedOrder) -> str:
    return "GTC" if order.intent.kind == MARKET else order.intent.tif.upper()


__all__ = ["canceled", "coin", "execution", "known", "own_trade", "placed", "position"]
