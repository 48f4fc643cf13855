"""Ticks and square roots of prices, as the TickMath library of Uniswap v3 has them: price = 1.0001 ** tick.

Source: the published library (v3-core 1.0.1); the constants are 2**128 / sqrt(1.0001) ** (2 ** bit), rounded as there.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Final

MIN_TICK: Final = -887_272
MAX_TICK: Final = 887_272
MIN_SQRT_PRICE: Final = 4_295_128_739
MAX_SQRT_PRICE: Final = 1_461_446_703_485_210_103_287_273_052_203_988_822_378_723_970_342
Q96: Final = 1 << 96
_MAX_UINT256: Final = (1 << 256) - 1
_FACTORS: Final = (
    0xFFFCB933BD6FAD37AA2D162D1A594001,
    0xFFF97272373D413259A46990580E213A,
    0xFFF2E50F5F656932EF12357CF3C7FDCC,
    0xFFE5CACA7E10E4E61C3624EAA0941CD0,
    0xFFCB9843D60F6159C9DB58835C926644,
    0xFF973B41FA98C081472E6896DFB254C0,
    0xFF2EA16466C96A3843EC78B326B52861,
    0xFE5DEE046A99A2A811C461F1969C3053,
    0xFCBE86C7900A88AEDCFFC83B479AA3A4,
    0xF987A7253AC413176F2B074CF7815E54,
    0xF3392B0822B70005940C7A398E4B70F3,
    0xE7159475A2C29B7443B29C7FA6E889D9,
    0xD097F3BDFD2022B8845AD8F792AA5825,
    0xA9F746462D870FDF8A65DC1F90E061E5,
    0x70D869A156D2A1B890BB3DF62BAF32F7,
    0x31BE135F97D08FD981231505542FCFA6,
    0x9AA508B5B7A84E1C677DE54F3E99BC9,
    0x5D6AF8DEDB81196699C329225EE604,
    0x2216E584F5FA1EA926041BEDFE98,
    0x48A170391F7DC42444E8FA2,
)
_LOG_TICK: Final = math.log(1.0001) / 2
_LOG_Q96: Final = 96 * math.log(2)


@lru_cache(maxsize=1 << 16)
def sqrt_price_at(tick: int) -> int:
    """The square root of the price at a tick, Q64.96, rounded up as the contract does.

    Raises:
        ValueError: the tick lies outside of MIN_TICK to MAX_TICK.
    """
    if not MIN_TICK <= tick <= MAX_TICK:
        raise ValueError(f"tick {tick} lies outside of {MIN_TICK} to {MAX_TICK}")
    left = abs(tick)
    ratio = 1 << 128
    for factor in _FACTORS:
        if not left:
            break
        if left & 1:
            ratio = ratio * factor >> 128
        left >>= 1
    if tick > 0:
        ratio = _MAX_UINT256 // ratio
    return (ratio >> 32) + (1 if ratio & 0xFFFFFFFF else 0)


def tick_at(sqrt_price: int) -> int:
    """The greatest tick whose square root of a price is not above `sqrt_price`.

    A guess by logarithm is corrected exactly, so that the float decides nothing.

    Raises:
        ValueError: the price lies outside of MIN_SQRT_PRICE to MAX_SQRT_PRICE, the latter excluded.
    """
    if not MIN_SQRT_PRICE <= sqrt_price < MAX_SQRT_PRICE:
        raise ValueError(f"square root of a price {sqrt_price} lies outside of {MIN_SQRT_PRICE} to {MAX_SQRT_PRICE - 1}")
    tick = math.floor((math.log(sqrt_price) - _LOG_Q96) / _LOG_TICK)
    tick = min(max(tick, MIN_TICK), MAX_TICK)
    while sqrt_price_at(tick) > sqrt_price:
        tick -= 1
    while tick < MAX_TICK and sqrt_price_at(tick + 1) <= sqrt_price:
        tick += 1
    return tick
