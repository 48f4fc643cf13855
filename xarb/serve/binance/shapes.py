"""Binance's JSON shapes of what clients see: symbols, levels, trades, bars, tickers. Numbers are text with at least 8 decimals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from xarb.model.instrument import Instrument
from xarb.model.units import MONEY_ONE, MONEY_SCALE, format_decimal
from xarb.serve.book import ASK, BID
from xarb.serve.exchange import Listing
from xarb.serve.tape import DAY_MS, INTERVALS, Bar, Print

_EIGHT: Final = 10**10  # money to 8 decimals
_LARGEST: Final = "9000000.00000000"
ORDER_TYPES: Final = ("LIMIT", "LIMIT_MAKER", "MARKET")
PRECISION: Final = 8


def amount(money: int) -> str:
    """Money as text with 8 decimals, or as many more as it needs."""
    value, finer = divmod(money, _EIGHT)
    if finer:
        return format_decimal(money, MONEY_SCALE)
    sign = "-" if value < 0 else ""
    whole, fraction = divmod(abs(value), 100_000_000)
    return f"{sign}{whole}.{fraction:08d}"


def levels(found: Sequence[tuple[int, int]]) -> list[list[str]]:
    """Levels of a book."""
    return [[amount(price), amount(qty)] for price, qty in found]


def precision_of(scale: int) -> int:
    """Decimals that an asset is said to have."""
    return max(PRECISION, scale)


def symbol(one: Instrument, most_orders: int) -> dict[str, Any]:
    """A symbol of exchangeInfo; steps that the log does not know are one unit of its scale, and trading is off."""
    tick, lot = one.tick_int or 1, one.lot_int or 1
    step = lot * 10 ** (MONEY_SCALE - one.qty_scale)
    tradable = one.untradable_because() is None
    return {
        "symbol": one.native,
        "status": "TRADING" if tradable else "BREAK",
        "baseAsset": one.base,
        "baseAssetPrecision": precision_of(one.qty_scale),
        "quoteAsset": one.quote,
        "quotePrecision": PRECISION,
        "quoteAssetPrecision": PRECISION,
        "baseCommissionPrecision": PRECISION,
        "quoteCommissionPrecision": PRECISION,
        "orderTypes": list(ORDER_TYPES),
        "icebergAllowed": False,
        "ocoAllowed": False,
        "otoAllowed": False,
        "quoteOrderQtyMarketAllowed": True,
        "allowTrailingStop": False,
        "cancelReplaceAllowed": False,
        "amendAllowed": False,
        "pegInstructionsAllowed": False,
        "isSpotTradingAllowed": tradable,
        "isMarginTradingAllowed": False,
        "filters": [
            {
                "filterType": "PRICE_FILTER",
                "minPrice": amount(tick * 10 ** (MONEY_SCALE - one.px_scale)),
                "maxPrice": "0.00000000",
                "tickSize": amount(tick * 10 ** (MONEY_SCALE - one.px_scale)),
            },
            {
                "filterType": "LOT_SIZE",
                "minQty": amount(max(one.min_qty or 0, step)),
                "maxQty": _LARGEST,
                "stepSize": amount(step),
            },
            {
                "filterType": "NOTIONAL",
                "minNotional": amount(one.min_notional or 0),
                "applyMinToMarket": True,
                "maxNotional": _LARGEST,
                "applyMaxToMarket": False,
                "avgPriceMins": 0,
            },
            {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": most_orders},
        ],
        "permissions": [],
        "permissionSets": [["SPOT"]],
        "defaultSelfTradePreventionMode": "EXPIRE_TAKER",
        "allowedSelfTradePreventionModes": ["EXPIRE_TAKER"],
    }


def trade(one: Print) -> dict[str, Any]:
    """A trade of REST."""
    return {
        "id": one.id,
        "price": amount(one.price),
        "qty": amount(one.qty),
        "quoteQty": amount(one.value),
        "time": one.ms,
        "isBuyerMaker": one.buyer_is_maker,
        "isBestMatch": True,
    }


def aggregate(one: Print) -> dict[str, Any]:
    """A trade as an aggregate of itself alone."""
    return {
        "a": one.id,
        "p": amount(one.price),
        "q": amount(one.qty),
        "f": one.id,
        "l": one.id,
        "T": one.ms,
        "m": one.buyer_is_maker,
        "M": True,
    }


def bar(one: Bar, interval: str) -> list[Any]:
    """A bar of REST's klines."""
    return [
        one.ms,
        amount(one.open),
        amount(one.high),
        amount(one.low),
        amount(one.close),
        amount(one.volume),
        one.ms + INTERVALS[interval] - 1,
        amount(one.value),
        one.count,
        amount(one.taker_qty),
        amount(one.taker_value),
        "0",
    ]


def kline(one: Bar, interval: str, *, closed: bool, native: str) -> dict[str, Any]:
    """A bar of the kline stream."""
    return {
        "t": one.ms,
        "T": one.ms + INTERVALS[interval] - 1,
        "s": native,
        "i": interval,
        "f": one.first,
        "L": one.last,
        "o": amount(one.open),
        "c": amount(one.close),
        "h": amount(one.high),
        "l": amount(one.low),
        "v": amount(one.volume),
        "n": one.count,
        "x": closed,
        "q": amount(one.value),
        "V": amount(one.taker_qty),
        "Q": amount(one.taker_value),
        "B": "0",
    }


def book_ticker(listing: Listing) -> dict[str, Any]:
    """The best quote; an absent side is zero."""
    bid, ask = listing.best(BID) or (0, 0), listing.best(ASK) or (0, 0)
    return {
        "symbol": listing.instrument.native,
        "bidPrice": amount(bid[0]),
        "bidQty": amount(bid[1]),
        "askPrice": amount(ask[0]),
        "askQty": amount(ask[1]),
    }


def day(listing: Listing, now_ms: int) -> dict[str, Any]:
    """The 24 hour ticker of REST; without a trade its prices are zero."""
    found = listing.tape.day(now_ms)
    last = listing.tape.prints[-1] if listing.tape.prints else None
    if found is None or last is None:
        figures = dict.fromkeys(("priceChange", "priceChangePercent", "weightedAvgPrice", "prevClosePrice"), amount(0))
        figures |= dict.fromkeys(("lastPrice", "lastQty", "openPrice", "highPrice", "lowPrice", "volume", "quoteVolume"), amount(0))
        counts = {"firstId": -1, "lastId": -1, "count": 0}
    else:
        change = found.close - found.open
        figures = {
            "priceChange": amount(change),
            "priceChangePercent": _percent(change, found.open),
            "weightedAvgPrice": amount(_mean(found)),
            "prevClosePrice": amount(found.open),
            "lastPrice": amount(found.close),
            "lastQty": amount(last.qty),
            "openPrice": amount(found.open),
            "highPrice": amount(found.high),
            "lowPrice": amount(found.low),
            "volume": amount(found.volume),
            "quoteVolume": amount(found.value),
        }
        counts = {"firstId": found.first, "lastId": found.last, "count": found.count}
    return {**book_ticker(listing), **figures, "openTime": now_ms - DAY_MS, "closeTime": now_ms, **counts}


def mini_event(listing: Listing, now_ms: int) -> dict[str, Any]:
    """The miniTicker event."""
    one = day(listing, now_ms)
    return {
        "e": "24hrMiniTicker",
        "E": now_ms,
        "s": one["symbol"],
        "c": one["lastPrice"],
        "o": one["openPrice"],
        "h": one["highPrice"],
        "l": one["lowPrice"],
        "v": one["volume"],
        "q": one["quoteVolume"],
    }


_TICKER: Final = (
    ("s", "symbol"),
    ("p", "priceChange"),
    ("P", "priceChangePercent"),
    ("w", "weightedAvgPrice"),
    ("x", "prevClosePrice"),
    ("c", "lastPrice"),
    ("Q", "lastQty"),
    ("b", "bidPrice"),
    ("B", "bidQty"),
    ("a", "askPrice"),
    ("A", "askQty"),
    ("o", "openPrice"),
    ("h", "highPrice"),
    ("l", "lowPrice"),
    ("v", "volume"),
    ("q", "quoteVolume"),
    ("O", "openTime"),
    ("C", "closeTime"),
    ("F", "firstId"),
    ("L", "lastId"),
    ("n", "count"),
)


def ticker_event(listing: Listing, now_ms: int) -> dict[str, Any]:
    """The 24hrTicker event."""
    one = day(listing, now_ms)
    return {"e": "24hrTicker", "E": now_ms, **{short: one[long] for short, long in _TICKER}}


def _percent(change: int, of: int) -> str:
    """100 x change / of with three decimals, toward zero."""
    if of == 0:
        return "0.000"
    thousandths = abs(change) * 100_000 // of
    return f"{'-' if change < 0 else ''}{thousandths // 1000}.{thousandths % 1000:03d}"


def _mean(one: Bar) -> int:
    """Value over volume, cut at 8 decimals."""
    return one.value * MONEY_ONE // one.volume // _EIGHT * _EIGHT if one.volume else 0


__all__ = [
    "ORDER_TYPES",
    "PRECISION",
    "aggregate",
    "amount",
    "bar",
    "book_ticker",
    "day",
    "kline",
    "levels",
    "mini_event",
    "precision_of",
    "symbol",
    "ticker_event",
    "trade",
]
