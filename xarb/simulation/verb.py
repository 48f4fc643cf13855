"""The verb `sim`: run cases by their seeds, show one of them event by event."""

from __future__ import annotations

import gc
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from xarb.console import Advance, Table
from xarb.errors import Refused
from xarb.model.units import NANOS_PER_MS
from xarb.simulation.case import Verdict, run_case

_MEMORY: Final = Path("/dev/shm")  # noqa: S108  # a folder of our own is made below it
_YOUNG: Final = 20_000  # objects that were made and not let go of: some twenty worlds


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder for worlds, in memory where the machine has such a file system."""
    with _collected_seldom(), tempfile.TemporaryDirectory(prefix="xarb-sim-", dir=_MEMORY if _MEMORY.is_dir() else None) as folder:
        yield Path(folder)


@contextmanager
def _collected_seldom() -> Iterator[None]:
    """A world is thousands of objects in cycles that are gone at once: collect those of some worlds together, and never look at older ones.

    At the collector's own pace that takes 7 % of the time.
    """
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def run_seeds(seeds: Iterable[int], seen: Callable[[Verdict], None]) -> list[Verdict]:
    """Run cases; those in which something was broken."""
    bad = []
    with scratch() as folder:
        for seed in seeds:
            verdict = run_case(seed, folder)
            seen(verdict)
            if verdict.violations:
                bad.append(verdict)
    return bad


def simulate(seed: int, *, count: int = 1, trace: Callable[[str], None] | None = None, advance: Advance) -> list[Table]:
    """Run `count` cases from a seed on; with `trace` each event of them is shown.

    Raises:
        Refused: something was broken; names the seeds and the command that shows them.
    """
    verdicts = []
    with scratch() as folder:
        for at in range(count):
            verdicts.append(run_case(seed + at, folder, None if trace is None else _shown(trace)))
            advance(at + 1, count)
    bad = [one for one in verdicts if one.violations]
    if bad:
        told = "\n".join(f"seed {one.seed}: {one.violations[0].oracle}: {one.violations[0].what}" for one in bad)
        raise Refused(f"{told}\nto see one: xarb sim --seed {bad[0].seed} --trace")
    what = (
        ("seeds", f"{seed} to {seed + count - 1}" if count > 1 else f"{seed}"),
        ("events", f"{sum(one.events for one in verdicts)}"),
        ("orders that arrived", f"{sum(one.orders for one in verdicts)}"),
        ("fills", f"{sum(one.fills for one in verdicts)}"),
        ("starts of the process", f"{sum(one.starts for one in verdicts)}"),
        ("digest", verdicts[-1].digest),
        ("result", "nothing was broken"),
    )
    return [Table("Simulated worlds", ("what", "value"), what)]


def _shown(trace: Callable[[str], None]) -> Callable[[int, str], None]:
    return lambda ts, text: trace(f"{ts / NANOS_PER_MS:12.3f} {text}")
