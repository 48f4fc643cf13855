"""Question: how many splits does the size search need where fees in base and a conversion both round, and what does it miss without more?

The hardest realistic case: BTC lots of 0.00001 over ten random levels of up to 3 BTC each, a fee in base, a conversion with lots of one cent or
one whole unit, and an edge after all fees down to 0.1 bps. `python -m bench.sizing` from the checkout's root. Prints splits and microseconds a
decision (median, 90th percentile, most), the share of decisions that used all splits, and the most that was missed against a search with
40 times as many, in bps of the notional.
"""

from __future__ import annotations

import random
from time import perf_counter_ns

from xarb.strategies.ladder import Leg
from xarb.strategies.sizing import SPLITS, Size, Sizing

DECISIONS = 60
PRICE = 6_000_000  # 60,000 at two decimals


def books(draw: random.Random, edge: float, fee_ppb: int, lot: int) -> tuple[Leg, Leg, Leg]:
    """A sell leg `edge` bps above what the fees cost, a buy leg and a conversion."""
    bid = int(PRICE * (1 + fee_ppb / 1e9 + 0.000_101 + edge / 1e4))
    bids = sorted(((bid - n * draw.randint(1, 600), draw.randint(1, 300_000)) for n in range(10)), reverse=True)
    asks = sorted((PRICE + n * draw.randint(1, 600), draw.randint(1, 300_000)) for n in range(10))
    ways = [(10_000 - n, draw.randint(1, 10**8)) for n in range(10)]
    return Leg(bids, 2, 5, 1), Leg(asks, 2, 5, 1, base_fee_ppb=fee_ppb), Leg(ways, 4, 2, lot, 100_000)


def main() -> None:
    """Print the table."""
    draw = random.Random(3)  # noqa: S311  # no secret
    for edge in (0.1, 1.0, 5.0, 20.0):
        for fee_ppb in (200_000, 1_000_000):
            for lot in (1, 100):
                splits, times, missed = [], [], 0.0
                for _ in range(DECISIONS):
                    search = Sizing(*books(draw, edge, fee_ppb, lot))
                    start = perf_counter_ns()
                    found = search.best()
                    times.append((perf_counter_ns() - start) / 1000)
                    splits.append(search.splits)
                    if search.splits == SPLITS and isinstance(found, Size):
                        more = search.best(splits=40 * SPLITS)
                        assert isinstance(more, Size)
                        missed = max(missed, (more.profit - found.profit) / more.buy_notional * 1e4)
                spent, took = (sorted(values) for values in (splits, times))
                marks = (DECISIONS // 2, DECISIONS * 9 // 10, DECISIONS - 1)
                print(
                    f"edge {edge:4} bps, fee {fee_ppb // 100_000:2} bps, lot {lot:3}:",
                    "splits " + " ".join(f"{spent[at]:3}" for at in marks),
                    "us " + " ".join(f"{took[at]:6.0f}" for at in marks),
                    f"all used {splits.count(SPLITS) / DECISIONS:4.0%}, missed {missed:.5f} bps",
                    sep="  ",
                )


if __name__ == "__main__":
    main()
