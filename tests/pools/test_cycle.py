"""The best input of a cycle: against every input of small pools, and against a search of large ones."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from tests.pools.made import SHARED, concentrated, random_concentrated, random_product, recorded_wbtc_weth
from xarb.pools.constant_product import ConstantProduct
from xarb.pools.cycle import Hop, amounts_of, best_input
from xarb.pools.ticks import sqrt_price_at


def earned(hops: Sequence[Hop], amount_in: int) -> int:
    """What an input earns by the pools' own integers."""
    return amounts_of(hops, amount_in)[-1] - amount_in


def searched(hops: Sequence[Hop], most: int) -> int:
    """The most that is earned, by thirds and then unit by unit: roundings make it rough, but no more than a few units."""
    low, high = 1, most
    while high - low > 30:
        third = (high - low) // 3
        if earned(hops, low + third) < earned(hops, high - third):
            low += third
        else:
            high -= third
    return max(earned(hops, amount) for amount in range(low, high + 1))


def test_small_pools_of_constant_product() -> None:
    """Every input is tried: it is mostly not better at all, and never more than a unit or two, which roundings on two hops come to."""
    draw = random.Random(3)  # noqa: S311  # a test's draw
    gaining = exact = 0
    for _ in range(300):
        hops = [Hop(random_product(draw, (100, 4000)), True), Hop(random_product(draw, (100, 4000)), False)]
        most = max(earned(hops, amount) for amount in range(1, 4000))
        best = best_input(hops)
        found = 0 if best is None else best.profit
        assert most - 2 <= found <= max(most, 0)
        gaining, exact = gaining + (most > 0), exact + (found == most)
    assert gaining > 100
    assert exact > gaining * 0.88  # without the neighbours on either side it is less


@pytest.mark.parametrize("kinds", ["cp", "pc", "cc", "ppp", "pcp"])
def test_large_pools_of_every_kind(kinds: str) -> None:
    """p: constant product, c: concentrated; over two and three hops."""
    draw = random.Random(kinds)  # noqa: S311  # a test's draw
    gaining = 0
    for _ in range(60):
        hops = []
        for place, kind in enumerate(kinds):
            pool = random_concentrated(draw, (10**18, 10**21)) if kind == "c" else random_product(draw, (10**21, 10**22))
            hops.append(Hop(pool, place % 2 == 0))
        best = best_input(hops)
        most = searched(hops, 10**23)
        assert (0 if best is None else best.profit) >= most - max(2 * len(kinds), most // 10**12)
        if best is not None:
            gaining += 1
            assert best.profit == best.amounts[-1] - best.amounts[0] > 0
            assert best.amounts == amounts_of(hops, best.amounts[0])
            for cap in (1, best.amounts[0] // 3 + 1, best.amounts[0] - 1, best.amounts[0]):
                capped = best_input(hops, most=cap)
                assert capped is None or capped.amounts[0] <= cap
            assert best_input(hops, most=best.amounts[0]) == best
    assert gaining > 10


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"the recorded chain data are not there: {SHARED}")
def test_over_the_ticks_of_a_recorded_pool() -> None:
    """Coins of 8 decimals on the way, where a unit is worth 3e11 of the other: neighbours are counted in it."""
    pool = recorded_wbtc_weth()
    for shift in (90, 95, 105, 110):
        other = ConstantProduct(reserve0=10**11, reserve1=33 * 10**20 * shift // 100)
        for hops in ([Hop(pool, True), Hop(other, False)], [Hop(other, True), Hop(pool, False)]):
            best = best_input(hops)
            most = searched(hops, 10**11)
            assert (0 if best is None else best.profit) >= most
        for hops in ([Hop(pool, False), Hop(other, True)], [Hop(other, False), Hop(pool, True)]):
            best = best_input(hops)
            if best is not None:
                around = range(best.amounts[0] - 40, best.amounts[0] + 40)
                assert best.profit >= max(earned(hops, amount) for amount in around)
                assert best.profit >= searched(hops, 10**22) * (1 - 1e-6)


def test_where_nothing_can_be_earned() -> None:
    """Equal prices, an empty pool, liquidity on one side only, and liquidity that ends."""
    even = ConstantProduct(reserve0=10**9, reserve1=10**9)
    assert best_input([Hop(even, True), Hop(ConstantProduct(reserve0=10**9, reserve1=10**9), False)]) is None
    assert best_input([Hop(even, True), Hop(ConstantProduct(reserve0=0, reserve1=0), False)]) is None
    bare = concentrated(3000, 60, sqrt_price_at(0), [(600, 1200, 10**9)])
    assert best_input([Hop(bare, True), Hop(even, False)]) is None
    # token1 of `cheap` buys much of token0 of a pool whose range ends after some of it
    thin = concentrated(3000, 60, sqrt_price_at(600), [(540, 660, 10**9)])
    cheap = ConstantProduct(reserve0=10**9, reserve1=10**8)
    best = best_input([Hop(cheap, False), Hop(thin, True)])
    assert best is not None
    assert earned([Hop(cheap, False), Hop(thin, True)], best.amounts[0] * 2) < best.profit


def test_what_is_no_cycle() -> None:
    """One hop, or one pool twice."""
    pool = ConstantProduct(reserve0=10**9, reserve1=10**9)
    for hops in ([Hop(pool, True)], [Hop(pool, True), Hop(pool, False)]):
        with pytest.raises(ValueError, match="at least two hops"):
            best_input(hops)
