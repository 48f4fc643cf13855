"""Binance's public requests, the same on REST and on a request socket: what each weighs and what it answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from xarb.serve.binance import shapes
from xarb.serve.binance.errors import ApiError, illegal
from xarb.serve.binance.parameters import Parameters
from xarb.serve.book import ASK, BID
from xarb.serve.config import Limits
from xarb.serve.exchange import Exchange, Listing
from xarb.serve.tape import INTERVALS, Print

_DEPTHS: Final = ((100, 5), (500, 25), (1000, 50), (5000, 250))  # limit up to, weight


class Public(NamedTuple):
    """One public request: its weight for given parameters, and its answer."""

    weight: Callable[[Parameters], int]
    answer: Callable[[Parameters], Any]


class MarketData:
    """The public requests of one venue.

    Args:
        exchange: the venue.
        limits: as exchangeInfo states them.
        most_orders: that an account may have open on a symbol.
    """

    def __init__(self, exchange: Exchange, limits: Limits, most_orders: int) -> None:
        self._exchange = exchange
        self._limits = limits
        self._most_orders = most_orders
        self.requests: dict[str, Public] = {
            "ping": Public(_one(1), lambda _: {}),
            "time": Public(_one(1), lambda _: {"serverTime": exchange.now_ms()}),
            "exchangeInfo": Public(_one(20), self._info),
            "depth": Public(_depth_weight, self._depth),
            "trades": Public(_one(25), self._trades),
            "historicalTrades": Public(_one(25), self._trades),
            "aggTrades": Public(_one(4), self._aggregates),
            "klines": Public(_one(2), self._klines),
            "avgPrice": Public(_one(2), self._average),
            "ticker/24hr": Public(_ticker_weight(2, 80), lambda p: self._each(p, self._day)),
            "ticker/price": Public(_ticker_weight(2, 4), lambda p: self._each(p, self._price)),
            "ticker/bookTicker": Public(_ticker_weight(2, 4), lambda p: self._each(p, shapes.book_ticker)),
        }

    def rate_limits(self) -> list[dict[str, Any]]:
        """The limits as exchangeInfo states them."""
        limits = self._limits
        return [
            {"rateLimitType": kind, "interval": interval, "intervalNum": number, "limit": limit}
            for kind, interval, number, limit in (
                ("REQUEST_WEIGHT", "MINUTE", 1, limits.weight_1m),
                ("ORDERS", "SECOND", 10, limits.orders_10s),
                ("ORDERS", "DAY", 1, limits.orders_1d),
                ("CONNECTIONS", "MINUTE", 5, limits.connections_5m),
            )
        ]

    def _info(self, parameters: Parameters) -> dict[str, Any]:
        chosen = parameters.listings(self._exchange) or list(self._exchange.listings.values())
        return {
            "timezone": "UTC",
            "serverTime": self._exchange.now_ms(),
            "rateLimits": self.rate_limits(),
            "exchangeFilters": [],
            "symbols": [shapes.symbol(listing.instrument, self._most_orders) for listing in chosen],
        }

    def _depth(self, parameters: Parameters) -> dict[str, Any]:
        listing = parameters.listing(self._exchange)
        limit = min(_limit(parameters, 100, 5000), 5000)
        return {
            "lastUpdateId": listing.book.updates,
            "bids": shapes.levels(listing.levels(BID, limit)),
            "asks": shapes.levels(listing.levels(ASK, limit)),
        }

    def _trades(self, parameters: Parameters) -> list[dict[str, Any]]:
        return [shapes.trade(one) for one in self._prints(parameters)]

    def _aggregates(self, parameters: Parameters) -> list[dict[str, Any]]:
        return [shapes.aggregate(one) for one in self._prints(parameters)]

    def _prints(self, parameters: Parameters) -> list[Print]:
        """The latest prints, or those from an id or within a span of time."""
        found = list(parameters.listing(self._exchange).tape.prints)
        limit = _limit(parameters, 500, 1000)
        first = parameters.optional_integer("fromId")
        start, end = parameters.optional_integer("startTime"), parameters.optional_integer("endTime")
        if first is None and start is None and end is None:
            return found[-limit:]
        return [
            one
            for one in found
            if (first is None or one.id >= first) and (start is None or one.ms >= start) and (end is None or one.ms <= end)
        ][:limit]

    def _klines(self, parameters: Parameters) -> list[list[Any]]:
        listing = parameters.listing(self._exchange)
        interval = parameters.choice("interval", INTERVALS, ApiError(-1120, "Invalid interval."))
        limit = _limit(parameters, 500, 1000)
        start, end = parameters.optional_integer("startTime"), parameters.optional_integer("endTime")
        found = [
            one for one in listing.tape.bars(interval) if (start is None or one.ms >= start) and (end is None or one.ms <= end)
        ]
        return [shapes.bar(one, interval) for one in (found[:limit] if start is not None else found[-limit:])]

    def _average(self, parameters: Parameters) -> dict[str, Any]:
        listing = parameters.listing(self._exchange)
        bars = [one for one in listing.tape.bars("1m") if one.ms > self._exchange.now_ms() - 300_000]
        volume, value = sum(one.volume for one in bars), sum(one.value for one in bars)
        last = listing.tape.prints[-1] if listing.tape.prints else None
        price = value * 10**8 // volume * 10**10 if volume else 0 if last is None else last.price
        return {"mins": 5, "price": shapes.amount(price), "closeTime": 0 if last is None else last.ms}

    def _each(self, parameters: Parameters, shape: Callable[[Listing], dict[str, Any]]) -> Any:
        """One object for `symbol`, else a list."""
        chosen = parameters.listings(self._exchange)
        if "symbol" in parameters and chosen is not None:
            return shape(chosen[0])
        return [shape(listing) for listing in (self._exchange.listings.values() if chosen is None else chosen)]

    def _day(self, listing: Listing) -> dict[str, Any]:
        return shapes.day(listing, self._exchange.now_ms())

    def _price(self, listing: Listing) -> dict[str, Any]:
        last = listing.tape.prints[-1].price if listing.tape.prints else 0
        return {"symbol": listing.instrument.native, "price": shapes.amount(last)}


def _one(weight: int) -> Callable[[Parameters], int]:
    return lambda _: weight


def _ticker_weight(one: int, every: int) -> Callable[[Parameters], int]:
    return lambda parameters: one if "symbol" in parameters else every


def _depth_weight(parameters: Parameters) -> int:
    limit = _limit(parameters, 100, 5000)
    return next((weight for most, weight in _DEPTHS if limit <= most), 250)


def _limit(parameters: Parameters, default: int, most: int) -> int:
    limit = parameters.integer("limit", default)
    if not limit:
        raise illegal("limit", r"^[0-9]{1,20}$")
    return min(limit, most)


__all__ = ["MarketData", "Public"]
