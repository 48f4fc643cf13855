"""What does a pool's row cost the engine, the check of a swap included, beside a quote of the same pool?

Microseconds of CPU a row, the best of five. The v3 pool has 600 ticks. `python -m bench.chains`
"""

from __future__ import annotations

import time
from typing import Any, Final

from bench.pools import many_ticks
from xarb.engine.pool import Pool
from xarb.pools.concentrated import Concentrated
from xarb.pools.constant_product import ConstantProduct

_SWAPS: Final = 2000


def _crossings(start: Concentrated) -> tuple[list[tuple[dict[str, Any], dict[str, Any]]], int]:
    """Rows of swaps to and fro within a range, and the amount."""
    pool, amount = start.copy(), 10**15
    found = []
    for number in range(_SWAPS):
        down = number % 2 == 0
        done = pool.cross(amount, zero_for_one=down)
        pool.move(done.sqrt_price, done.tick, done.liquidity)
        state = {"cause": "swap", "sqrt_price_x96": str(done.sqrt_price), "liquidity": str(done.liquidity), "tick": done.tick}
        deltas = (done.amount_in, -done.amount_out) if down else (-done.amount_out, done.amount_in)
        found.append((state, {"delta0": str(deltas[0]), "delta1": str(deltas[1])}))
    return found, amount


def _syncs(start: ConstantProduct) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    pool, amount = start, 10**18
    found = []
    for number in range(_SWAPS):
        down = number % 2 == 0
        done = pool.quote_in(amount, zero_for_one=down)
        pool = pool.swapped(done.amount_in, done.amount_out, zero_for_one=down)
        state = {"cause": "sync", "kind": "v2", "fee_ppm": 3000, "reserve0": str(pool.reserve0), "reserve1": str(pool.reserve1)}
        deltas = (done.amount_in, -done.amount_out) if down else (-done.amount_out, done.amount_in)
        into = (amount, 0) if down else (0, amount)
        names = ("delta0", "delta1", "in0", "in1")
        found.append((state, dict(zip(names, map(str, (*deltas, *into)), strict=True))))
    return found


def _apply(start: ConstantProduct | Concentrated, rows: list[tuple[dict[str, Any], dict[str, Any]]]) -> float:
    best = float("inf")
    for _ in range(5):
        pool = Pool()
        pool.maths = start.copy() if isinstance(start, Concentrated) else start
        begin = time.process_time()
        for state, swap in rows:
            pool.apply(state, swap)
        best = min(best, (time.process_time() - begin) / len(rows))
        assert not pool.drift
    return best * 1e6


def main() -> None:
    """Print the figures."""
    three = many_ticks()
    rows, amount = _crossings(three)
    begin = time.process_time()
    for number in range(_SWAPS):
        three.quote_in(amount, zero_for_one=number % 2 == 0)
    print(f"{'a quote of v3':40} {(time.process_time() - begin) / _SWAPS * 1e6:6.1f} us")
    print(f"{'a swap of v3, judged and applied':40} {_apply(three, rows):6.1f} us")
    two = ConstantProduct(reserve0=10**24, reserve1=10**24, fee_numerator=3000, fee_denominator=10**6)
    print(f"{'a swap of v2, judged and applied':40} {_apply(two, _syncs(two)):6.1f} us")


if __name__ == "__main__":
    main()
