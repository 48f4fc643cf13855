"""Question: how long does one decision of the micro strategy take, from the wake to the plan, and what does the size search cost of it?

Hand-made books through a view of plain lists, so that the engine's own lookups are not in it. `python -m bench.micro` from the
checkout's root. Prints the best of 40 rounds in microseconds, and multiples of a plain Python call measured in the same run.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from time import perf_counter_ns

from tests.strategies.board import NOW, Board, edge, spot, tier
from xarb.config.strategies import StrategyConfig
from xarb.engine.strategy import Pair, Wake
from xarb.settings import micro_params
from xarb.strategies.micro import Micro, MicroState

ROUNDS, CALLS = 40, 40


def board(levels: int, *, fee_asset: str = "quote", convert: bool = False) -> Board:
    """Two venues (three with a conversion) with realistic scales; half of the levels are worth taking."""
    quote = "USDC" if convert else "USDT"
    made = Board(
        [
            spot(f"BTC/{quote}", "a", px_scale=2, qty_scale=5, lot_int=1),
            spot("BTC/USDT", "b", px_scale=1, qty_scale=4, lot_int=1),
            spot("USDC/USDT", "a", px_scale=4, qty_scale=2, lot_int=1),
        ],
        [
            ([(6_010_000 - 250 * n, 25_000 + 7 * n) for n in range(levels)], []),
            ([], [(600_000 + 25 * n, 2_100 + n) for n in range(levels)]),
            ([(9_999 - n, 100_000_000) for n in range(levels)], []),
        ],
    )
    made.fees = [tier(200_000), tier(250_000, fee_asset), tier(100_000)]
    for venue, asset in (("a", "BTC"), ("b", "USDT"), ("a", "USDC")):
        made.own(venue, asset, 10**9)
    return made


def measure(call: Callable[[], object]) -> float:
    """Best round of a call in microseconds: what it costs when nothing else runs."""
    rounds = []
    for _ in range(ROUNDS):
        start = perf_counter_ns()
        for _ in range(CALLS):
            call()
        rounds.append((perf_counter_ns() - start) / CALLS / 1000)
    return min(rounds)


def main() -> None:
    """Print the table."""
    wake = Wake(NOW, "open", edge())
    yardstick = measure(lambda: sum(range(100)))
    print(f"yardstick: sum(range(100)) {yardstick:.2f} us")
    config = StrategyConfig(
        kind="micro", min_profit_bps=Decimal("0.00001"), min_profit_quote=Decimal("1e-18"), max_notional_quote=Decimal(10**8)
    )
    for title, levels, fee, convert in (
        ("2 legs, 1 level, fees in quote", 1, "quote", False),
        ("2 legs, 1 level, fee in base", 1, "received", False),
        ("2 legs, 10 levels, fees in quote", 10, "quote", False),
        ("2 legs, 10 levels, fee in base", 10, "received", False),
        ("3 legs, 10 levels, conversion", 10, "quote", True),
        ("3 legs, 10 levels, conversion, fee in base", 10, "received", True),
    ):
        view = board(levels, fee_asset=fee, convert=convert)
        pair = Pair(0, 1, 0, 0, 0, 0)._replace(convert=2 if convert else -1, convert_side="bid" if convert else "")
        strategy = Micro("m", "main", (pair,), micro_params(config), rates={}, assumed_qty={})

        def decide(strategy: Micro = strategy, view: Board = view) -> object:
            strategy.state = MicroState()
            return strategy.on_wake(wake, view)

        took = measure(decide)
        print(f"{title:45} {took:7.1f} us  {took / yardstick:5.1f} x  {type(decide()[0]).__name__}")  # type: ignore[index]  # a list of plans


if __name__ == "__main__":
    main()
