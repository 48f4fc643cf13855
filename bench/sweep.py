"""How long do 100 trials over 5 million quotes take, and what do they share?

Runs `xarb sweep` as a process on W1 (1 symbol, 2 venues): 100 random draws of the threshold, the size and the cool-down of the micro strategy, with the
latency of one venue. Prints wall and CPU seconds, CPU a trial beside that of one whole backtest of the same log, and the memory of the largest process
beside the whole of all of them, shared pages once (Linux's proportional set size, looked at four times a second).

    python -m bench.sweep [EVENTS [TRIALS]]
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Final, Self

from bench.backtest import experiment, fees, median_cost, timed
from bench.markets import w1

_SWEEP: Final = """
[sweep]
method = "random"
[sweep.parameters]
"strategies.cross.min_profit_bps" = { low = 1.0, high = 8.0 }
"strategies.cross.max_notional_quote" = { low = 1000, high = 20000, log = true }
"strategies.cross.cool_down_ms" = { low = 500, high = 3000, step = 100 }
"venues.alpha.order_latency.constant_ms" = { low = 1, high = 20 }
"""
_LOOK_S: Final = 0.25


class Memory:
    """Looks at the memory of the processes of ours that have a word in their command line, until it is told to end."""

    def __init__(self, word: str) -> None:
        self.peak_mib = 0.0
        self._word, self._end = word.encode(), threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._end.wait(_LOOK_S):
            self.peak_mib = max(self.peak_mib, sum(map(self._pss_mib, Path("/proc").glob("[0-9]*"))))

    def _pss_mib(self, process: Path) -> float:
        try:
            if self._word not in (process / "cmdline").read_bytes():
                return 0.0
            text = (process / "smaps_rollup").read_text()
        except OSError:  # it has ended
            return 0.0
        return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")) / 1024


def main() -> None:
    """Make the log, backtest it once, sweep it."""
    events = int(sys.argv[1]) if len(sys.argv) > 1 else 5_000_000
    trials = int(sys.argv[2]) if len(sys.argv) > 2 else 100
    market = w1(events)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        log, config, out = folder / "W1", folder / "w1.toml", folder / "swept"
        subprocess.run([sys.executable, "-m", "bench.markets", "w1", str(log), str(events)], check=True, stdout=subprocess.DEVNULL)
        (folder / "fees.toml").write_text(fees(market))
        config.write_text(experiment(market) + _SWEEP)
        one = median_cost(config, log, rounds=1)
        command = [
            sys.executable,
            "-m",
            "xarb",
            "sweep",
            str(config),
            "--log",
            str(log),
            "--out",
            str(out),
            "--trials",
            str(trials),
        ]
        with Memory(str(out)) as memory:
            cost = timed(command)
        print(
            f"{trials} trials of {events:,} quotes: {cost.wall_s:.1f} s wall, {cost.cpu_s:.1f} s CPU, {cost.cpu_s / trials:.3f} s a trial,"
            f" {cost.cpu_s / trials / one.cpu_s:.2f} x a whole backtest ({one.cpu_s:.2f} s), {events * trials / cost.cpu_s / 1e6:.1f} M quotes/s"
            f" of CPU; memory {cost.peak_mib:.0f} MiB the largest process, {memory.peak_mib:.0f} MiB all, shared pages once",
            flush=True,
        )
        print(cost.output.splitlines()[-1])


if __name__ == "__main__":
    main()
