"""How fast is a whole backtest, from Parquet to a sealed run, and where does the time go?

Runs `xarb backtest` as a process on W1 (1 symbol, 2 venues) and W2 (5 symbols, 4 venues) with the micro strategy deciding in plain Python and
the simulated venue filling. Prints events a second (wall and CPU), peak memory, wakes and bundles per million events, and the multiple of
what pyarrow alone needs to decode the same columns in the same minute.

    python -m bench.backtest [EVENTS ...]
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final, NamedTuple

import pyarrow.parquet as pq

from bench.markets import COINS, VENUES, Market, w1, w2
from xarb.log.decode import COLUMNS
from xarb.log.reader import LogReader

ROUNDS: Final = 3
MARKETS: Final = {"W1": w1, "W2": w2}


class Cost(NamedTuple):
    """What a process cost: seconds of wall and CPU, and its peak memory in MiB."""

    wall_s: float
    cpu_s: float
    peak_mib: float
    output: str


def experiment(market: Market) -> str:
    """The config of a benchmark: 10 bps a side as the market was made for, ample money, no limit that would stop a bundle."""
    lines = ["[run]", "seed = 1"]
    for venue in VENUES[: market.venues]:
        lines += [
            f"[venues.{venue}]",
            f'fees = "bench-{venue}"',
            "order_latency = { constant_ms = 2 }",
            "feed_latency = { constant_ms = 1 }",
            "response_latency = { constant_ms = 2 }",
            "rate_limit_per_s = 1000",
            f"[accounts.main.{venue}]",
            "USDT = 1000000000",
            *(f"{coin.base} = 100000000" for coin in COINS[: market.symbols]),
        ]
    lines += ["[strategies.cross]", 'kind = "micro"', "min_profit_bps = 1", "min_profit_quote = 0.01", "max_notional_quote = 5000"]
    lines += ["cool_down_ms = 500"]
    return "\n".join(lines).replace("[run]\n", '[run]\nfees_file = "fees.toml"\n') + "\n"


def fees(market: Market) -> str:
    """The fee schedules that the market was made for."""
    ratio = f"{market.taker_ppb / 1e9:.9f}"
    return "\n".join(
        f'[bench-{venue}]\nvenue = "{venue}"\nmaker = "{ratio}"\ntaker = "{ratio}"\nsource = "bench"\nas_of = "2026-01"\n'
        for venue in VENUES[: market.venues]
    )


def timed(command: list[str], environment: dict[str, str] | None = None) -> Cost:
    """Run a process to its end and say what it cost."""
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment) as process:
        output = process.stdout.read() if process.stdout is not None else ""
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}\n{output}")
    return Cost(time.perf_counter() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, output)


def decode_s(folder: Path, kind: str = "quotes") -> float:
    """CPU seconds that pyarrow needs for the columns of a kind that a backtest reads."""
    with LogReader(folder) as reader:
        entries = reader.entries(kind)
    began = time.process_time()
    for entry in entries:
        with pq.ParquetFile(folder / entry.path, pre_buffer=False) as file:
            for batch in file.iter_batches(1 << 17, columns=list(COLUMNS[kind]), use_threads=False):
                assert batch.num_rows
    return time.process_time() - began


def value_of(output: str, name: str) -> int:
    """A number of the printed summary."""
    found = next(line.split("\t")[1] for line in output.splitlines() if line.startswith(f"{name}\t"))
    return int(found)


def median_cost(config: Path, log: Path, rounds: int = ROUNDS) -> Cost:
    """Medians over a few processes after one that compiles and warms the page cache; the largest memory."""
    command = [sys.executable, "-m", "xarb", "backtest", str(config), "--log", str(log)]
    costs = []
    for _ in range(rounds + 1):
        out = config.parent / "run"
        costs.append(timed([*command, "--out", str(out)]))
        shutil.rmtree(out)
    wall, cpu = (statistics.median(getattr(cost, field) for cost in costs[1:]) for field in ("wall_s", "cpu_s"))
    return Cost(wall, cpu, max(cost.peak_mib for cost in costs[1:]), costs[1].output)


def measure(name: str, market: Market, folder: Path, rounds: int = ROUNDS) -> None:
    """Make the log, run, print a line."""
    log = folder / f"{name}-{market.events}"
    timed(
        [sys.executable, "-m", "bench.markets", name.lower(), str(log), str(market.events)]
    )  # apart: a child's peak counts its parent's
    (folder / "fees.toml").write_text(fees(market))
    config = folder / f"{name}.toml"
    config.write_text(experiment(market))
    cost = median_cost(config, log, rounds)
    decode = statistics.median(decode_s(log) for _ in range(ROUNDS))
    millions = market.events / 1e6
    print(
        f"{name} {market.events:>11,}: {cost.wall_s:6.2f} s wall, {cost.cpu_s:6.2f} s CPU, {millions / cost.wall_s:5.1f} M events/s wall,"
        f" {millions / cost.cpu_s:5.1f} CPU, {cost.peak_mib:4.0f} MiB, {cost.cpu_s / decode:4.1f} x decode,"
        f" {value_of(cost.output, 'wakes') / millions:.0f} wakes and {value_of(cost.output, 'bundles') / millions:.0f} bundles per million",
        flush=True,
    )
    shutil.rmtree(log)


def main() -> None:
    """Measure W1 and W2 at each size."""
    sizes = [int(word) for word in sys.argv[1:]] or [100_000, 5_000_000]
    with tempfile.TemporaryDirectory() as name:
        for events in sizes:
            for title, market in MARKETS.items():
                measure(title, market(events), Path(name))


if __name__ == "__main__":
    main()
