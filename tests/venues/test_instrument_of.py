"""Markets of ccxt as instruments: exact steps, native names, contracts; parsed by ccxt itself from what exchanges send."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.venues.player import Player
from xarb.errors import ConfigError
from xarb.model.units import MONEY_ONE
from xarb.venues.exchange import Place
from xarb.venues.markets import instrument_of, load_instruments

SPOT: dict[str, Any] = {
    "id": "BTCUSDT",
    "symbol": "BTC/USDT",
    "base": "BTC",
    "quote": "USDT",
    "settle": None,
    "type": "spot",
    "contract": False,
    "active": True,
    "precision": {"price": "0.01", "amount": "0.00001"},
    "limits": {"amount": {"min": "0.00001"}, "cost": {"min": "5"}},
}


def test_a_market_that_ccxt_parsed_keeps_its_text() -> None:
    """Binance's exchangeInfo from a served exchange through ccxt's own parser: tick, lot and least order are exact."""

    async def story() -> None:
        async with Player().serving() as player:
            place = Place(rest_url=player.rest_url)
            one, other = await load_instruments("binance", "here", ["ETH/USDT", "BTC/USDT"], place=place)
            assert (one.symbol, one.native, other.native, other.venue) == ("ETH/USDT", "ETHUSDT", "BTCUSDT", "here")
            assert (one.kind, one.base, one.quote, one.settle) == ("spot", "ETH", "USDT", "USDT")
            assert (one.px_scale, one.tick_int, one.qty_scale, one.lot_int) == (2, 1, 5, 1)
            assert (one.min_qty, one.min_notional) == (MONEY_ONE // 10**5, 5 * MONEY_ONE)
            assert (one.contract, one.contract_size, one.active) == ("none", None, True)
            assert one.untradable_because() is None

    asyncio.run(story())


@pytest.mark.parametrize(
    ("mode", "text", "scale", "step"),
    [
        (4, "0.05", 2, 5),
        (4, "1e-8", 8, 1),
        (4, "10", 0, 10),
        (4, "0.5", 1, 5),
        (2, "3", 3, 1),
        (2, "0", 0, 1),
        (4, None, 0, None),
        (4, "0", 0, None),
        (3, "5", 0, None),
        (4, "1e-20", 0, None),
    ],
)
def test_steps_are_read_in_each_of_ccxts_modes(mode: int, text: str | None, scale: int, step: int | None) -> None:
    """Tick size (4), decimal places (2); without a step, or with significant digits (3), the instrument is recorded, not traded."""
    market = SPOT | {"precision": {"price": text, "amount": "0.001" if mode == 4 else "3"}}
    one = instrument_of(market, "v", exchange_id="v", mode=mode, origin="")
    assert (one.px_scale, one.tick_int) == (scale, step)
    if step is None:
        assert one.untradable_because() == "steps_unknown"


def test_contracts_have_size_kind_and_expiry() -> None:
    """A linear perpetual, an inverse future; settle asset, size and expiry as the exchange says."""
    more = {"contract": True, "linear": True, "inverse": False, "contractSize": "0.01", "settle": "USDT"}
    one = instrument_of(SPOT | more | {"type": "swap", "symbol": "BTC/USDT:USDT"}, "okx", exchange_id="okx", mode=4, origin="")
    assert (one.kind, one.contract, one.contract_size, one.settle) == ("perpetual", "linear", MONEY_ONE // 100, "USDT")
    more = {"contract": True, "linear": False, "inverse": True, "contractSize": "100", "settle": "BTC", "expiry": 1_700_000_000_000}
    one = instrument_of(SPOT | more | {"type": "future"}, "okx", exchange_id="okx", mode=4, origin="")
    assert (one.kind, one.contract, one.contract_size, one.expiry) == ("future", "inverse", 100 * MONEY_ONE, 1_700_000_000 * 10**9)


@pytest.mark.parametrize(
    "more", [{"type": "index"}, {"precision": {"price": "x", "amount": "1"}}, {"limits": {"cost": {"min": "many"}}}]
)
def test_a_market_that_cannot_be_read_is_refused_by_name(more: dict[str, Any]) -> None:
    """A kind that is not known, or a number that is none."""
    with pytest.raises(ConfigError, match="market BTC/USDT of v cannot be read"):
        instrument_of(SPOT | more, "v", exchange_id="v", mode=4, origin="")
