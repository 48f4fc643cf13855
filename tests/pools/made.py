"""Pools that tests make: by hand, at random, and from recorded states."""

from __future__ import annotations

import json
import random
from math import isqrt
from pathlib import Path

from xarb.pools.concentrated import Concentrated
from xarb.pools.constant_product import ConstantProduct
from xarb.pools.ticks import sqrt_price_at, tick_at

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "evm"


def encoded(numerator: int, denominator: int) -> int:
    """The square root of a price of numerator to denominator, Q64.96, rounded down."""
    return isqrt((numerator << 192) // denominator)


def concentrated(fee_pips: int, tick_spacing: int, sqrt_price: int, positions: list[tuple[int, int, int]]) -> Concentrated:
    """A pool at a price with positions of (lower tick, upper tick, liquidity)."""
    pool = Concentrated(
        fee_pips=fee_pips, tick_spacing=tick_spacing, sqrt_price=sqrt_price, tick=tick_at(sqrt_price), liquidity=0, ticks={}
    )
    for lower, upper, liquidity in positions:
        pool.change(lower, upper, liquidity)
    return pool


def random_concentrated(draw: random.Random, liquidity: tuple[int, int], spacing: int = 60) -> Concentrated:
    """A pool with six positions around a price near 1."""
    positions = []
    for _ in range(6):
        lower = draw.randint(-60, 50) * spacing
        positions.append((lower, lower + draw.randint(1, 40) * spacing, draw.randint(*liquidity)))
    start = sqrt_price_at(draw.randint(-2000, 2000)) + draw.randint(0, 10**20)
    return concentrated(draw.choice([100, 500, 3000]), spacing, start, positions)


def random_product(draw: random.Random, reserves: tuple[int, int]) -> ConstantProduct:
    """A pool of constant product with one of the usual fees."""
    return ConstantProduct(
        reserve0=draw.randint(*reserves),
        reserve1=draw.randint(*reserves),
        fee_numerator=draw.choice([0, 1, 3, 25]),
        fee_denominator=1000,
    )


def recorded_wbtc_weth() -> Concentrated:
    """WBTC/WETH at 0.3 % of Ethereum block 24,407,242, with its 458 ticks."""
    state = json.loads((SHARED / "degenbot/chain_data/1/uniswap_v3_wbtc_weth_block_24407242.json").read_text())
    now = state["scalars"]
    return Concentrated(
        fee_pips=now["fee"],
        tick_spacing=now["tick_spacing"],
        sqrt_price=now["sqrt_price_x96"],
        tick=now["tick"],
        liquidity=now["liquidity"],
        ticks={int(tick): (net, gross) for tick, (gross, net, *_) in state["tick_data"].items()},
    )
