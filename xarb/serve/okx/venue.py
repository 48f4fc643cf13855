"""Everything of one venue that speaks OKX: listings by instrument id, keys, limits, requests and channels."""

from __future__ import annotations

from xarb.model.units import NANOS_PER_S
from xarb.serve.config import ServeConfig, VenueTerms
from xarb.serve.exchange import Exchange
from xarb.serve.limits import TooMany, Windows
from xarb.serve.okx.channels import Channels
from xarb.serve.okx.countdowns import Countdowns
from xarb.serve.okx.errors import throttled
from xarb.serve.okx.shapes import inst_id
from xarb.serve.okx.signing import OkxKeys
from xarb.serve.okx.trading import OkxTrading, Signed
from xarb.serve.socket import House


class OkxVenue:
    """One venue behind OKX's protocol.

    Args:
        exchange: the venue.
        config: keys, fees, limits.
        house: faults, request log and sockets.
    """

    def __init__(self, exchange: Exchange, config: ServeConfig, house: House) -> None:
        self.exchange = exchange
        self.house = house
        self.listings = {inst_id(one.instrument): one for one in exchange.listings.values()}
        self.keys = OkxKeys(config.keys)
        terms = config.venues.get(exchange.name, VenueTerms())
        self.countdowns = Countdowns(exchange, house.clock)
        self.trading = OkxTrading(exchange, self.listings, config.limits, house.clock, terms)
        self.trading.requests["POST", "trade/cancel-all-after"] = Signed("trade", self.countdowns.set)
        self.channels = Channels(exchange, self.listings, self.trading.assets)
        self._limits = config.limits
        self._windows = Windows()
        self._connects = Windows()

    def connect(self, address: str) -> None:
        """Count a socket of an address.

        Raises:
            TooMany: more than it may open in a second.
        """
        self._connects.count("sockets", address, self._limits.connections_1s, self.house.clock.mono_ns(), span_ns=NANOS_PER_S)

    def count(self, path: str, address: str) -> None:
        """Count a request.

        Raises:
            OkxError: too many of them.
        """
        try:
            self._windows.count(path, address, self._limits.requests_2s, self.house.clock.wall_ns())
        except TooMany:
            raise throttled(status=429) from None


__all__ = ["OkxVenue"]
