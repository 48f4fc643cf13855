"""ccxt's markets as instruments: names on the stream."""

from __future__ import annotations

from typing import Any

import pytest

from xarb.errors import ConfigError
from xarb.venues.markets import instrument_of

TICK_SIZE = 4


def market(**more: Any) -> dict[str, Any]:
    """A spot market as ccxt gives it, with numbers as text."""
    usual = {"id": "XXBTZUSD", "symbol": "BTC/USD", "base": "BTC", "quote": "USD", "type": "spot", "contract": False, "limits": {}}
    return {**usual, "precision": {"price": "0.1", "amount": "1e-8"}, "info": {"wsname": "XBT/USD"}, **more}


@pytest.mark.parametrize(
    ("unified", "on_rest", "on_stream"),
    [
        ("BTC/USD", "XBT/USD", "BTC/USD"),
        ("DOGE/BTC", "XDG/XBT", "DOGE/BTC"),
        ("LUNA/USD", "LUNA2/USD", "LUNA2/USD"),
        ("LUNC/USD", "LUNA/USD", "LUNA/USD"),
    ],
)
def test_kraken_names_are_the_exchanges_own(unified: str, on_rest: str, on_stream: str) -> None:
    """The stream's name comes from the exchange's, not from ccxt's, in which another coin has the name LUNA."""
    base, quote = unified.split("/")
    found = instrument_of(
        market(symbol=unified, base=base, quote=quote, info={"wsname": on_rest}),
        "kraken",
        exchange_id="kraken",
        mode=TICK_SIZE,
        origin="test",
    )
    assert (found.symbol, found.native, found.px_scale, found.tick_int) == (unified, on_stream, 1, 1)


def test_a_kraken_market_without_a_name_on_the_stream_is_refused() -> None:
    """It could not be told from others there."""
    with pytest.raises(ConfigError, match="market BTC/USD of kraken cannot be read"):
        instrument_of(market(info={}), "kraken", exchange_id="kraken", mode=TICK_SIZE, origin="test")
