"""Any number of simulated worlds: `python -m tests.simulation SEEDS [FIRST]`; prints each seed in which something was broken.

Two cores share a long run as two ranges of seeds. The exit code is 1 where a world was broken.
"""

from __future__ import annotations

import sys
import time

from xarb.simulation.case import Verdict
from xarb.simulation.verb import run_seeds


def main(count: int, first: int) -> int:
    """Run them; the exit code."""
    began, worlds = time.monotonic(), list[Verdict]()

    def seen(verdict: Verdict) -> None:
        worlds.append(verdict)
        for one in verdict.violations[:3]:
            sys.stdout.write(f"seed {verdict.seed}: {one.oracle}: {one.what}\n")
        if verdict.violations:
            sys.stdout.write(f"  see it with: xarb sim --seed {verdict.seed} --trace\n")
            sys.stdout.flush()

    bad = run_seeds(range(first, first + count), seen)
    seconds = time.monotonic() - began
    totals = f"{sum(one.orders for one in worlds)} orders, {sum(one.fills for one in worlds)} fills, {sum(one.starts for one in worlds)} starts"
    sys.stdout.write(f"{count} seeds from {first} on, {totals}, {len(bad)} broken, {count / seconds:.1f} seeds/s\n")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1))
