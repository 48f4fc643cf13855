"""Run it: `python -m tests.fuzz SECONDS [SEED]`; exit code 1 and the case in `fuzz-failure.bin` when something else than an error of ours comes out."""

from __future__ import annotations

import contextlib
import resource
import signal
import sys
import tempfile
import time
from pathlib import Path
from random import Random
from types import FrameType
from typing import Final

from tests.fuzz.importers import importers
from tests.fuzz.mutation import mutated
from tests.fuzz.served import served
from tests.fuzz.stores import stores
from tests.fuzz.targets import Target, targets
from xarb.errors import InvariantBroken, XarbError

HANG_S: Final = 10
GROWTH_KIB: Final = 512 << 10  # of memory over a whole run, after the first round


class HangError(Exception):
    """A case took too long."""


def feed(target: Target, data: bytes, random: Random) -> None:
    """Feed one case; errors of our tree are answers, a broken invariant is none.

    Raises:
        HangError: it took longer than 10 s.
    """
    signal.signal(signal.SIGALRM, _hang)
    signal.alarm(HANG_S)
    try:
        target.feed(data, random)
    except InvariantBroken:
        raise
    except XarbError:
        pass  # what bad input is to give
    finally:
        signal.alarm(0)


def _hang(number: int, frame: FrameType | None) -> None:
    del number, frame
    raise HangError(f"longer than {HANG_S} s")


def run(seconds: float, seed: int) -> int:
    """Fuzz all targets in turn; prints what was done. Exit code."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        rounds = []
        for make in (targets, importers, stores, served):
            made = make(Path(folder))
            rounds += made
            for one in made:
                stack.callback(one.close)
        counts = dict.fromkeys((one.name for one in rounds), 0)
        for target in rounds:
            for data in target.corpus:
                feed(target, data, Random(seed))
        before, until, number = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic() + seconds, 0
        while time.monotonic() < until:
            for target in rounds:
                turn = time.monotonic() + 0.2
                while time.monotonic() < turn:
                    feed_mutated(target, seed, number)
                    number += 1
                    counts[target.name] += 1
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    for name, count in counts.items():
        print(f"{name}\t{count}")
    print(f"{sum(counts.values())} cases in {seconds:g} s, seed {seed}, {grown >> 10} MiB grown")
    return int(grown > GROWTH_KIB)


def feed_mutated(target: Target, seed: int, number: int) -> None:
    """Feed the case of a number; one that fails is kept."""
    random = Random(f"{seed} {number}")
    data = mutated(random.choice(target.corpus), target.corpus, random)
    try:
        feed(target, data, random)
    except Exception:
        Path("fuzz-failure.bin").write_bytes(data)
        print(f"{target.name}: seed {seed}, case {number}: kept in fuzz-failure.bin")
        raise


if __name__ == "__main__":
    sys.exit(run(float(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1))
