"""What do orders cost: does a backtest with twice as many take at most 2.1 times their share?

Processes on W1 with a cool-down that lets one bundle through for an episode, and with a shorter one that lets about twice as many through;
without orders (a profit that no gap reaches) the rest of the run is seen. CPU seconds, medians.

    python -m bench.orders [EVENTS]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from bench.backtest import experiment, fees, median_cost, value_of
from bench.markets import make, w1


def main() -> None:
    """Print three lines and the ratio."""
    events = int(sys.argv[1]) if len(sys.argv) > 1 else 2_000_000
    market = w1(events)
    found = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(folder / "log", market)
        (folder / "fees.toml").write_text(fees(market))
        config = folder / "config.toml"
        plain = experiment(market)
        for title, change in (
            ("no orders", ("min_profit_bps = 1", "min_profit_bps = 1000\nopen_bps = 900")),
            ("orders", ("", "")),
            ("twice as many", ("cool_down_ms = 500", "cool_down_ms = 60")),
        ):
            config.write_text(plain.replace(*change) if change[0] else plain)
            cost = median_cost(config, folder / "log")
            found.append((value_of(cost.output, "bundles"), cost.cpu_s))
            print(f"{title:14} {found[-1][0]:>7,} bundles, {cost.cpu_s:.2f} s CPU", flush=True)
    (_, empty), (few, some), (many, more) = found
    print(
        f"{many / few:.2f} times the bundles cost {(more - empty) / (some - empty):.2f} times as much beyond the run without orders"
    )


if __name__ == "__main__":
    main()
