"""Where does the time of a whole backtest go: decode, engine kernel, venue kernel, decisions, execution and reports, writing?

One process; each part is measured by CPU time of the main thread around the calls that make it up, what is left is the driver and start-up.
The check of the digests runs in another thread and is stated apart. Each entry into a part costs about 3 us of measuring on a busy machine.

    python -m bench.parts [EVENTS]
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bench.backtest import MARKETS, experiment, fees
from bench.markets import make
from xarb import backtest
from xarb.config import load_experiment
from xarb.engine.engine import Engine
from xarb.engine.execution import Execution
from xarb.engine.kernel import fold
from xarb.engine.outputs import Outputs
from xarb.log.canonical import OutputDigest
from xarb.log.reader import LogReader
from xarb.log.writer import LogWriter
from xarb.strategies.micro import Micro
from xarb.summary import Summary
from xarb.venues.fold import loop
from xarb.venues.simulated import SimulatedVenues

PARTS = (
    ("decode", LogReader, "batches"),
    ("engine kernel", fold, "run"),
    ("venue kernel", loop, "run"),
    ("venue orders", SimulatedVenues, "take"),
    ("venue orders", SimulatedVenues, "reports"),
    ("decisions", Micro, "on_wake"),
    ("risk and execution", Execution, "submit"),
    ("risk and execution", Execution, "on_report"),
    ("risk and execution", Engine, "take_reports"),
    ("output rows", Outputs, "take_kernel_rows"),
    ("output rows", Outputs, "drain"),
    ("digest", OutputDigest, "take"),
    ("summary", Summary, "take"),
    ("writing", LogWriter, "write_outputs"),
    ("writing", LogWriter, "finish"),
)


class Clock:
    """CPU time by part; time in a part inside another one counts for the inner one alone."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = {}
        self._within: list[str] = []
        self._since = time.thread_time()

    def turn(self, part: str | None) -> None:
        """Enter a part, or leave the innermost one."""
        now = time.thread_time()
        if self._within:
            self.spent[self._within[-1]] = self.spent.get(self._within[-1], 0.0) + now - self._since
        self._since = now
        if part is None:
            self._within.pop()
        else:
            self._within.append(part)

    def around(self, part: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """The call, measured."""

        def measured(*args: Any, **kwargs: Any) -> Any:
            self.turn(part)
            try:
                return call(*args, **kwargs)
            finally:
                self.turn(None)

        return measured

    def over(self, part: str, call: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
        """The call of a generator, measured item by item."""

        def measured(*args: Any, **kwargs: Any) -> Iterator[Any]:
            items = call(*args, **kwargs)
            while True:
                self.turn(part)
                try:
                    item = next(items, None)
                finally:
                    self.turn(None)
                if item is None:
                    return
                yield item

        return measured


def main() -> None:
    """Print a table for W1 and W2."""
    events = int(sys.argv[1]) if len(sys.argv) > 1 else 5_000_000
    clock = Clock()
    for part, owner, name in PARTS:
        call = getattr(owner, name)
        setattr(owner, name, clock.over(part, call) if name == "batches" else clock.around(part, call))
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for title, market in MARKETS.items():
            log, config = folder / title, folder / f"{title}.toml"
            make(log, market(events))
            (folder / "fees.toml").write_text(fees(market(events)))
            config.write_text(experiment(market(events)))
            for number in range(2):  # the first one loads compiled code
                clock.spent.clear()
                began, all_began = time.thread_time(), time.process_time()
                backtest.backtest(load_experiment(config, {}), log=log, out=folder / f"{title}-{number}", advance=lambda *_: None)
                whole, all_threads = time.thread_time() - began, time.process_time() - all_began
            print(f"{title}, {events:,} events: {whole:.2f} s of the main thread, {all_threads - whole:.2f} s of others (digests)")
            rest = whole - sum(clock.spent.values())
            for part, spent in [*clock.spent.items(), ("the rest", rest)]:
                print(f"  {part:20} {spent / events * 1e9:7.1f} ns an event  {spent / whole:6.1%}")


if __name__ == "__main__":
    main()
