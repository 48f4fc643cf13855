"""How fast is a whole backtest whose strategy asks for every event in plain Python, and looks at the quote each time?

One process on W1; prints events a second of wall and CPU time, the second of two runs.

    python -m bench.every_event [EVENTS]
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from bench.backtest import experiment, fees
from bench.markets import make, w1
from xarb import assembly
from xarb.config import load_experiment
from xarb.engine.strategy import Plan, View, Wake, Wakes
from xarb.verbs.backtest import backtest


class Widest(msgspec.Struct):
    """What the strategy remembers: the widest spread in price steps, and how often it was called."""

    spread: int = 0
    calls: int = 0


class Asker:
    """Asks for every event of two instruments."""

    id = "cross"
    account = "main"

    def __init__(self) -> None:
        self.state = Widest()

    def wakes(self) -> Wakes:
        """Every market row."""
        return Wakes(every_event=(0, 1))

    def on_wake(self, wake: Wake, view: View) -> Sequence[Plan]:
        """Look at the quote."""
        quote, state = view.quote(wake.instrument), self.state
        state.calls += 1
        if quote.bid is not None and quote.ask is not None:
            state.spread = max(state.spread, quote.ask - quote.bid)
        return ()


def main() -> None:
    """Print a line."""
    events = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    asker = Asker()
    setattr(assembly, "_strategy", lambda *_: asker)  # noqa: B010  # experiments know no strategy of this kind; mypy and ruff agree on this form
    with tempfile.TemporaryDirectory() as name:
        folder, market = Path(name), w1(events)
        make(folder / "log", market)
        (folder / "fees.toml").write_text(fees(market))
        (folder / "config.toml").write_text(experiment(market))
        loaded = load_experiment(folder / "config.toml", {})
        for number in range(2):
            asker.state = Widest()
            wall, cpu = time.perf_counter(), time.process_time()
            backtest(loaded, log=folder / "log", out=folder / f"run-{number}", advance=lambda *_: None)
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(f"{asker.state.calls:,} calls: {events / wall / 1e6:.2f} M events/s wall, {events / cpu / 1e6:.2f} M/s CPU")


if __name__ == "__main__":
    main()
