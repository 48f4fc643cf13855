"""Ticks and square roots of prices: the published values, and each the inverse of the other."""

from __future__ import annotations

import random
from decimal import Decimal, localcontext

import pytest

from xarb.pools.ticks import MAX_SQRT_PRICE, MAX_TICK, MIN_SQRT_PRICE, MIN_TICK, sqrt_price_at, tick_at


def test_ends_are_the_published_ones() -> None:
    """MIN_TICK and MAX_TICK give the bounds, and nothing lies beyond."""
    assert sqrt_price_at(MIN_TICK) == MIN_SQRT_PRICE
    assert sqrt_price_at(MAX_TICK) == MAX_SQRT_PRICE
    assert sqrt_price_at(0) == 1 << 96
    assert (tick_at(MIN_SQRT_PRICE), tick_at(MAX_SQRT_PRICE - 1)) == (MIN_TICK, MAX_TICK - 1)
    for tick in (MIN_TICK - 1, MAX_TICK + 1):
        with pytest.raises(ValueError, match="lies outside"):
            sqrt_price_at(tick)
    for price in (MIN_SQRT_PRICE - 1, MAX_SQRT_PRICE):
        with pytest.raises(ValueError, match="lies outside"):
            tick_at(price)


@pytest.mark.parametrize(
    ("tick", "sqrt_price"),
    [
        (MIN_TICK + 1, 4_295_343_490),
        (MAX_TICK - 1, 1_461_373_636_630_004_318_706_518_188_784_493_106_690_254_656_249),
        (50, 79_426_470_787_362_580_746_886_972_461),
        (100, 79_625_275_426_524_748_796_330_556_128),
        (-100, 78_833_030_112_140_176_575_862_854_579),
        (250_000, 21_246_587_762_933_397_357_449_903_968_194_344),
        (-500_000, 1_101_692_437_043_807_371),
        (738_203, 847_134_979_253_254_120_489_401_328_389_043_031_315_994_541),
    ],
)
def test_published_values(tick: int, sqrt_price: int) -> None:
    """Values of the library's own cases."""
    assert sqrt_price_at(tick) == sqrt_price
    assert tick_at(sqrt_price) == tick


def test_every_bit_of_a_tick_is_right() -> None:
    """Each power of two against the definition with 60 digits: never farther off than the library's own rounding."""
    with localcontext() as context:
        context.prec = 60
        for bit in range(20):
            for tick in (1 << bit, -(1 << bit)):
                if abs(tick) > MAX_TICK:
                    continue
                exact = Decimal("1.0001") ** tick
                wanted = exact.sqrt() * (1 << 96)
                assert abs(sqrt_price_at(tick) - wanted) <= 1 + wanted / 10**12


def test_the_tick_of_a_price_is_the_greatest_not_above_it() -> None:
    """At, below and between random ticks, where the float that guesses is off by one now and then."""
    draw = random.Random(7)  # noqa: S311  # a test's draw
    for _ in range(4000):
        tick = draw.randint(MIN_TICK + 1, MAX_TICK - 1)
        price = sqrt_price_at(tick)
        assert tick_at(price) == tick
        assert tick_at(price - 1) == tick - 1
        between = draw.randint(price, sqrt_price_at(tick + 1) - 1)
        assert tick_at(between) == tick
