"""What an exact quote and the best input of a cycle cost, beside one multiplication of 256 bits?

Figures are microseconds of CPU, the best of seven; the pool has 300 positions with 600 ticks. `python -m bench.pools`
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from xarb.pools.concentrated import Concentrated
from xarb.pools.constant_product import ConstantProduct
from xarb.pools.cycle import Hop, best_input
from xarb.pools.ticks import sqrt_price_at


def _micros(act: Callable[[], object], times: int = 2000) -> float:
    best = float("inf")
    for _ in range(7):
        begin = time.process_time()
        for _ in range(times):
            act()
        best = min(best, (time.process_time() - begin) / times)
    return best * 1e6


def many_ticks() -> Concentrated:
    """A pool at a price of 1 whose liquidity changes at 600 ticks, some 60 apart."""
    draw = random.Random(1)  # noqa: S311  # a benchmark's draw
    pool = Concentrated(fee_pips=3000, tick_spacing=60, sqrt_price=sqrt_price_at(0) + 1, tick=0, liquidity=0, ticks={})
    for lower in range(-300, 0):
        pool.change(lower * 60, (lower + 301) * 60, draw.randint(10**18, 10**19))
    return pool


def main() -> None:
    """Print the figures."""
    left, right = (1 << 255) - 19, (1 << 255) - 31
    unit = _micros(lambda: left * right, 20_000)
    pool = many_ticks()
    product = ConstantProduct(reserve0=10**22, reserve1=102 * 10**20)
    rows = [("one product of 256 bits", unit, 0)]
    rows.append(("v2, exact input", _micros(lambda: product.quote_in(10**18, zero_for_one=True)), 0))
    within = _micros(lambda: pool.quote_in(10**15, zero_for_one=True))
    rows.append(("v3, within a range", within, 0))
    for amount in (10**19, 10**20, 5 * 10**20):
        tick = pool.cross(amount, zero_for_one=True).tick
        crossed = -(tick // 60)
        cost = _micros(lambda amount=amount: pool.quote_in(amount, zero_for_one=True), 200)  # type: ignore[misc]  # bound in the loop
        rows.append((f"v3, {crossed} ticks crossed", cost, crossed))
    rows.append(("best input, v2 and v2", _micros(_best(product, ConstantProduct(reserve0=10**22, reserve1=10**22)), 300), 0))
    rows.append(("best input, v3 and v2", _micros(_best(pool, product), 300), 0))
    for name, micros, crossed in rows:
        each = f"{(micros - within) / crossed:6.2f} us a tick" if crossed else ""
        print(f"{name:28} {micros:8.2f} us {micros / unit:8.0f} products {each}")


def _best(first: Concentrated | ConstantProduct, second: ConstantProduct) -> Callable[[], object]:
    cycles = [[Hop(pools[0], zero_for_one=True), Hop(pools[1], zero_for_one=False)] for pools in ((first, second), (second, first))]
    earning = [cycle for cycle in cycles if best_input(cycle) is not None]
    return lambda: best_input(earning[0])


if __name__ == "__main__":
    main()
