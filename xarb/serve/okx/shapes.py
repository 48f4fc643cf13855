"""OKX's JSON shapes. Numbers are plain decimal text, times are ms as text, absent values are empty text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from xarb.model.instrument import Instrument
from xarb.model.units import MONEY_ONE, MONEY_SCALE, format_decimal
from xarb.serve.book import ASK, BID
from xarb.serve.exchange import Listing
from xarb.serve.okx.countdowns import CANCEL_ID
from xarb.serve.orders import FILLED, LIMIT_MAKER, MARKET, NEW, PARTIALLY_FILLED, Fill, ServedOrder
from xarb.serve.tape import INTERVALS, Bar, Print
from xarb.venues.accounts import Purse

STATES: Final = {NEW: "live", PARTIALLY_FILLED: "partially_filled", FILLED: "filled"}  # all others are canceled
_TIFS: Final = {"gtc": "limit", "ioc": "ioc", "fok": "fok"}
BARS: Final = {
    "1s": "1s",
    "1m": "1m",
    "3m": "3m",
    "5m": "5m",
    "15m": "15m",
    "30m": "30m",
    "1H": "1h",
    "2H": "2h",
    "4H": "4h",
    "6H": "6h",
    "12H": "12h",
    "1D": "1d",
    "3D": "3d",
}


def text(money: int) -> str:
    """Money as decimal text."""
    return format_decimal(money, MONEY_SCALE)


def inst_id(one: Instrument) -> str:
    """OKX's name of a spot instrument."""
    return f"{one.base}-{one.quote}"


def instrument(listing: Listing) -> dict[str, Any]:
    """An instrument of public/instruments; its code is its number in the log, from 1."""
    one = listing.instrument
    lot = (one.lot_int or 1) * 10 ** (MONEY_SCALE - one.qty_scale)
    empty = dict.fromkeys(("alias", "ctMult", "ctType", "ctVal", "ctValCcy", "expTime", "optType", "settleCcy", "stk", "uly"), "")
    return {
        **empty,
        "instType": "SPOT",
        "instId": inst_id(one),
        "instIdCode": listing.number + 1,
        "instFamily": "",
        "category": "1",
        "baseCcy": one.base,
        "quoteCcy": one.quote,
        "lever": "",
        "listTime": "",
        "lotSz": text(lot),
        "minSz": text(max(one.min_qty or 0, lot)),
        "tickSz": text((one.tick_int or 1) * 10 ** (MONEY_SCALE - one.px_scale)),
        "maxLmtSz": "9000000",
        "maxMktSz": "9000000",
        "maxLmtAmt": "20000000",
        "maxMktAmt": "1000000",
        "ruleType": "normal",
        "state": "live" if one.untradable_because() is None else "suspend",
    }


def level(price: int, qty: int) -> list[str]:
    """A level; nobody knows of how many orders."""
    return [text(price), text(qty), "0", "1" if qty else "0"]


def book(listing: Listing, limit: int, now_ms: int) -> dict[str, Any]:
    """A whole book."""
    return {
        "asks": [level(*one) for one in listing.levels(ASK, limit)],
        "bids": [level(*one) for one in listing.levels(BID, limit)],
        "ts": str(now_ms),
        "seqId": listing.book.updates,
    }


def ticker(listing: Listing, now_ms: int) -> dict[str, Any]:
    """The 24 hour ticker."""
    bid, ask = listing.best(BID), listing.best(ASK)
    found = listing.tape.day(now_ms)
    last = listing.tape.prints[-1] if listing.tape.prints else None
    opened = "" if found is None else text(found.open)
    return {
        "instType": "SPOT",
        "instId": inst_id(listing.instrument),
        "last": "" if last is None else text(last.price),
        "lastSz": "" if last is None else text(last.qty),
        "askPx": "" if ask is None else text(ask[0]),
        "askSz": "" if ask is None else text(ask[1]),
        "bidPx": "" if bid is None else text(bid[0]),
        "bidSz": "" if bid is None else text(bid[1]),
        "open24h": opened,
        "high24h": "" if found is None else text(found.high),
        "low24h": "" if found is None else text(found.low),
        "vol24h": "0" if found is None else text(found.volume),
        "volCcy24h": "0" if found is None else text(found.value),
        "sodUtc0": opened,
        "sodUtc8": opened,
        "ts": str(now_ms),
    }


def trade(listing: Listing, one: Print) -> dict[str, Any]:
    """A public trade; `side` is who took."""
    return {
        "instId": inst_id(listing.instrument),
        "tradeId": str(one.id),
        "px": text(one.price),
        "sz": text(one.qty),
        "side": "sell" if one.buyer_is_maker else "buy",
        "ts": str(one.ms),
    }


def bar(one: Bar, interval: str, now_ms: int) -> list[str]:
    """A bar of market/candles."""
    figures = [text(value) for value in (one.open, one.high, one.low, one.close, one.volume, one.value, one.value)]
    return [str(one.ms), *figures, "1" if one.ms + INTERVALS[interval] <= now_ms else "0"]


def order(one: ServedOrder, instrument_id: str) -> dict[str, Any]:
    """An order as trade/order tells it; fees are negative, in the asset of the last fill."""
    last = one.fills[-1] if one.fills else None
    fee = sum(fill.fee for fill in one.fills)
    kind = "post_only" if one.intent.kind == LIMIT_MAKER else "market" if one.intent.kind == MARKET else _TIFS[one.intent.tif]
    by_quote = one.intent.quote_value > 0
    empty = dict.fromkeys(
        ("algoId", "attachAlgoClOrdId", "ccy", "lever", "rebateCcy", "slOrdPx", "slTriggerPx", "tpOrdPx", "tpTriggerPx", "source"),
        "",
    )
    return {
        **empty,
        "instType": "SPOT",
        "instId": instrument_id,
        "ordId": str(one.id),
        "clOrdId": one.intent.client_id,
        "tag": one.intent.tag,
        "px": "" if one.intent.kind == MARKET else text(one.price),
        "sz": text(one.intent.quote_value if by_quote else one.qty),
        "tgtCcy": ("quote_ccy" if by_quote else "base_ccy") if one.intent.kind == MARKET else "",
        "ordType": kind,
        "side": "buy" if one.intent.buy else "sell",
        "posSide": "net",
        "tdMode": "cash",
        "accFillSz": text(one.filled),
        "fillPx": "" if last is None else text(last.price),
        "fillSz": "" if last is None else text(last.qty),
        "fillTime": "" if last is None else str(last.ms),
        "tradeId": "" if last is None else str(last.trade_id),
        "avgPx": _average(one),
        "state": STATES.get(one.status, "canceled"),
        "fee": text(-fee),
        "feeCcy": "" if last is None else last.fee_asset,
        "rebate": "0",
        "pnl": "0",
        "category": "normal",
        "cancelSource": _cancel_source(one),
        "reduceOnly": "false",
        "stpMode": "cancel_taker",
        "cTime": str(one.ms),
        "uTime": str(one.updated_ms),
    }


def order_event(one: ServedOrder, instrument_id: str, fill: Fill | None) -> dict[str, Any]:
    """An order as the orders channel tells it: with the fill that it is about."""
    return {
        **order(one, instrument_id),
        "fillPx": "" if fill is None else text(fill.price),
        "fillSz": "0" if fill is None else text(fill.qty),
        "fillTime": "" if fill is None else str(fill.ms),
        "tradeId": "" if fill is None else str(fill.trade_id),
        "fillFee": "0" if fill is None else text(-fill.fee),
        "fillFeeCcy": "" if fill is None else fill.fee_asset,
        "execType": "" if fill is None else "M" if fill.is_maker else "T",
        "code": "0",
        "msg": "",
        "amendResult": "",
        "reqId": "",
    }


def fill(one: ServedOrder, instrument_id: str, part: Fill) -> dict[str, Any]:
    """A fill of trade/fills."""
    return {
        "instType": "SPOT",
        "instId": instrument_id,
        "tradeId": str(part.trade_id),
        "ordId": str(one.id),
        "clOrdId": one.intent.client_id,
        "billId": str(part.trade_id),
        "tag": one.intent.tag,
        "fillPx": text(part.price),
        "fillSz": text(part.qty),
        "side": "buy" if one.intent.buy else "sell",
        "posSide": "net",
        "execType": "M" if part.is_maker else "T",
        "feeCcy": part.fee_asset,
        "fee": text(-part.fee),
        "fillTime": str(part.ms),
        "ts": str(part.ms),
    }


def balance(purse: Purse, assets: Sequence[str], now_ms: int) -> dict[str, Any]:
    """An account with its assets; worth in dollars is nobody's to say."""
    return {
        "uTime": str(now_ms),
        "totalEq": "",
        "details": [
            {
                "ccy": asset,
                "cashBal": text(purse.free.get(asset, 0) + purse.held.get(asset, 0)),
                "availBal": text(purse.free.get(asset, 0)),
                "availEq": "",
                "frozenBal": text(purse.held.get(asset, 0)),
                "ordFrozen": text(purse.held.get(asset, 0)),
                "eq": text(purse.free.get(asset, 0) + purse.held.get(asset, 0)),
                "uTime": str(now_ms),
            }
            for asset in assets
        ],
    }


def _average(one: ServedOrder) -> str:
    """Value over quantity, cut at 10 decimals."""
    return text(one.value * MONEY_ONE // one.filled // 10**8 * 10**8) if one.filled else ""


def _cancel_source(one: ServedOrder) -> str:
    if one.status in STATES:
        return ""
    by_whom = {"": "14", CANCEL_ID: "20"}.get(one.cancel_id, "1")  # its time in force, the countdown, the user
    return {"post_only_would_cross": "31", "self_trade": "32"}.get(one.reason or "", by_whom)


__all__ = [
    "BARS",
    "balance",
    "bar",
    "book",
    "fill",
    "inst_id",
    "instrument",
    "level",
    "order",
    "order_event",
    "text",
    "ticker",
    "trade",
]
