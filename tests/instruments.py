"""Instruments for tests: one place that states every field."""

from __future__ import annotations

from typing import Any

from xarb.model.instrument import Instrument


def spot(venue: str, symbol: str = "BTC/USDT", **changes: Any) -> Instrument:
    """A spot instrument named by its symbol, at two decimals of price and five of quantity, whose steps are one of these."""
    base, _, quote = symbol.partition("/")
    fields: dict[str, Any] = {
        "venue": venue,
        "symbol": symbol,
        "native": base + quote,
        "kind": "spot",
        "base": base,
        "quote": quote,
        "settle": quote,
        "px_scale": 2,
        "qty_scale": 5,
        "tick_int": 1,
        "lot_int": 1,
    }
    return Instrument(**(fields | changes))


def instrument(venue: str, symbol: str = "BTC/USD", **changes: Any) -> Instrument:
    """The same without decimals."""
    return spot(venue, symbol, **({"px_scale": 0, "qty_scale": 0} | changes))
