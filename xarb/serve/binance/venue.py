"""Everything of one venue that speaks Binance: requests by name, streams, users, limits, and the gate that every request passes."""

from __future__ import annotations

from typing import Any, Final

from xarb.serve.binance.errors import ApiError
from xarb.serve.binance.market_data import MarketData
from xarb.serve.binance.parameters import Parameters
from xarb.serve.binance.signing import Key, Keys
from xarb.serve.binance.streams import Streams
from xarb.serve.binance.trading import Trading
from xarb.serve.binance.users import Users
from xarb.serve.config import ServeConfig, VenueTerms
from xarb.serve.exchange import Exchange
from xarb.serve.limits import RateLimits, TooMany
from xarb.serve.socket import House

CONNECTION_WEIGHT: Final = 2


class BinanceVenue:
    """One venue behind Binance's protocol.

    Args:
        exchange: the venue.
        config: keys, fees, limits.
        house: faults, request log and sockets.
    """

    def __init__(self, exchange: Exchange, config: ServeConfig, house: House) -> None:
        self.exchange = exchange
        self.house = house
        self.keys = Keys(config.keys)
        self.limits = RateLimits(config.limits)
        self.streams = Streams(exchange)
        self.users = Users(exchange)
        terms = config.venues.get(exchange.name, VenueTerms())
        self.market_data = MarketData(exchange, config.limits, terms.max_open_orders)
        self.trading = Trading(exchange, self.limits, house.clock, terms)

    def weigh(self, address: str, weight: int) -> int:
        """Count a request's weight; what was used of this minute's.

        Raises:
            ApiError: 429, or 418 for who goes on.
        """
        try:
            return self.limits.request(address, weight, self.house.clock.wall_ns())
        except TooMany as many:
            raise _too_many(many, self.limits.limits.weight_1m, self.exchange.now_ms()) from None

    def public(self, name: str, parameters: Parameters) -> Any:
        """Answer a public request."""
        return self.market_data.requests[name].answer(parameters)

    def private(self, name: str, parameters: Parameters, key: Key) -> Any:
        """Answer a signed request of a key."""
        return self.trading.requests[name].answer(parameters, key)

    def weight(self, name: str, parameters: Parameters) -> int:
        """What a request weighs; one that cannot be read weighs 1."""
        known = self.market_data.requests.get(name) or self.trading.requests[name]
        try:
            return known.weight(parameters)
        except ApiError:
            return 1


def _too_many(many: TooMany, limit: int, now_ms: int) -> ApiError:
    if many.banned:
        until = now_ms + many.wait_s * 1000
        text = f"Way too much request weight used; IP banned until {until}. Please use WebSocket Streams for live updates to avoid bans."
        return ApiError(-1003, text, status=418, retry_after_s=many.wait_s)
    text = (
        f"Too much request weight used; current limit is {limit} request weight per 1 MINUTE. "
        "Please use WebSocket Streams for live updates to avoid polling the API."
    )
    return ApiError(-1003, text, status=429, retry_after_s=many.wait_s)


__all__ = ["CONNECTION_WEIGHT", "BinanceVenue"]
