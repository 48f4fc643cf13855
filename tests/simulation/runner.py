"""Many simulated worlds in processes: what is broken is printed with its seed and the line that shows it."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from itertools import chain
from typing import Final, NamedTuple

from xarb.simulation.case import run_case
from xarb.simulation.verb import scratch

CHUNK: Final = 100  # seeds that a process takes at a time
FRESH_FROM: Final = 1_000_000_000  # fresh seeds lie above every fixed one
_SHOWN: Final = 3  # broken oracles of a world that are printed
_SILENT_S: Final = 300.0  # a chunk takes some seconds
_TELL_S: Final = 15.0  # between two lines of progress
Say = Callable[[str], object]


class Chunk(NamedTuple):
    """What became of some worlds: how many, what happened in them, the CPU seconds they took, and what was broken by seed."""

    worlds: int
    orders: int
    fills: int
    starts: int
    cpu_s: float
    broken: dict[int, list[str]]

    def plus(self, other: Chunk) -> Chunk:
        """Both together."""
        return Chunk(
            self.worlds + other.worlds,
            self.orders + other.orders,
            self.fills + other.fills,
            self.starts + other.starts,
            self.cpu_s + other.cpu_s,
            self.broken | other.broken,
        )


def run_chunk(seeds: range) -> Chunk:
    """Run some worlds in this process."""
    began, orders, fills, starts, broken = time.process_time(), 0, 0, 0, dict[int, list[str]]()
    with scratch() as folder:
        for seed in seeds:
            try:
                verdict = run_case(seed, folder)
            except Exception as error:  # noqa: BLE001  # whatever a world ends by, its seed is to be named and the others go on
                broken[seed] = [f"{type(error).__name__}: {error}"]
                continue
            orders, fills, starts = orders + verdict.orders, fills + verdict.fills, starts + verdict.starts
            if verdict.violations:
                broken[seed] = [f"{one.oracle}: {one.what}" for one in verdict.violations[:_SHOWN]]
    return Chunk(len(seeds), orders, fills, starts, time.process_time() - began, broken)


def chunks(seeds: range) -> Iterator[range]:
    """The seeds in parts."""
    return (seeds[at : at + CHUNK] for at in range(0, len(seeds), CHUNK))


def tell(done: Iterable[Chunk], total: int, say: Say) -> int:
    """Print what is broken as it is found, how far it is now and then, and the sums; the exit code."""
    began = told = time.monotonic()
    sums = Chunk(0, 0, 0, 0, 0.0, {})
    for one in done:
        sums = sums.plus(one)
        for seed, lines in one.broken.items():
            for line in lines:
                say(f"seed {seed}: {line}")
            say(f"  see it with: xarb sim --seed {seed} --trace")
        if time.monotonic() - told > _TELL_S:
            told = time.monotonic()
            say(f"{sums.worlds} of {total} worlds, {len(sums.broken)} broken, {told - began:.0f} s")
    say(
        f"{sums.worlds} of {total} worlds, {sums.orders} orders, {sums.fills} fills, {sums.starts} starts; {len(sums.broken)} broken; "
        f"{time.monotonic() - began:.0f} s, {sums.worlds / max(sums.cpu_s, 1e-9):.1f} worlds per second of CPU"
    )
    return 1 if sums.broken or sums.worlds != total else 0


def run(parts: list[range], processes: int) -> Iterator[Chunk]:
    """Run them in that many processes, each as it is done.

    Raises:
        TimeoutError: they take far too long: a world that does not end.
        BrokenProcessPool: a process died.
    """
    most_s = _SILENT_S + 10.0 * sum(len(one) for one in parts) / processes
    pool = ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn"))
    try:
        waits: list[Future[Chunk]] = [pool.submit(run_chunk, part) for part in parts]
        for wait in as_completed(waits, timeout=most_s):
            yield wait.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for one in multiprocessing.active_children():  # where a world does not end, its process would be waited for
            one.terminate()


def main(arguments: list[str], say: Say) -> int:
    """Run what the arguments say; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("count", type=int, nargs="?", default=25_000, help="fixed seeds")
    parser.add_argument("first", type=int, nargs="?", default=1, help="the first of them")
    parser.add_argument("--fresh", type=int, default=0, help="seeds that are drawn anew")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    asked = parser.parse_args(arguments)
    base = FRESH_FROM + secrets.randbelow(FRESH_FROM)
    say(f"fixed seeds {asked.first} to {asked.first + asked.count - 1}")
    if asked.fresh:
        say(f"fresh seeds {base} to {base + asked.fresh - 1}")
    parts = list(chain(chunks(range(base, base + asked.fresh)), chunks(range(asked.first, asked.first + asked.count))))
    return tell(run(parts, asked.processes), asked.count + asked.fresh, say)
