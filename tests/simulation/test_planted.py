"""The simulator finds what it is there to find: each planted bug breaks a world within a bounded number of seeds."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path

import pytest

from tests.simulation.planted import COUNTED, DENIED, HALTED, KILLS, MIDNIGHT, MOVED, RIVAL, SEALED, SLOW, STRANGERS, Bug
from tests.simulation.planted_others import BUGS
from tests.simulation.shown import SHOWN
from xarb.simulation.case import run_case
from xarb.simulation.faults import (
    FAULTS,
    Sealing,
    draw_deny,
    draw_kills,
    draw_moved,
    draw_odds,
    draw_sealing,
    draw_slowness,
    draw_waits,
)
from xarb.simulation.halts import draw_halts
from xarb.simulation.limits import before_midnight
from xarb.simulation.rivals import draw_rival
from xarb.simulation.strangers import draw_strangers
from xarb.simulation.verb import scratch
from xarb.simulation.world import World

WORLDS = 250  # worlds that a bug has to show itself in; most need fewer than ten


def worlds(bug: Bug) -> Iterator[int]:
    """Seeds in which the bug can have an effect."""
    seed = 0
    while True:
        seed += 1
        odds = draw_odds(World(seed).draw)
        found = {name for name in FAULTS if getattr(odds, name) > 0}
        apart = (
            (KILLS, draw_kills(seed)),
            (MIDNIGHT, before_midnight(seed)),
            (SLOW, draw_slowness(seed).odds),
            (SEALED, draw_sealing(seed) != Sealing()),
            (COUNTED, draw_waits(seed, 2).exchanges),
            (MOVED, draw_moved(seed)),
            (HALTED, draw_halts(seed).changes and not draw_rival(seed).kind),
            (DENIED, draw_deny(seed)),
            (STRANGERS, draw_strangers(seed).acts),
            (RIVAL, draw_rival(seed).kind),
        )
        found |= {name for name, is_so in apart if is_so}
        if not bug.faults or found & set(bug.faults):
            yield seed


def find(bug: Bug) -> tuple[int, set[str]]:
    """The world in which one of the bug's oracles was broken, and all that were by then; 0 where none of its was.

    The world that showed it when this was last looked up comes first, then all in order.
    """
    found: set[str] = set()
    with scratch() as folder:
        for seed in chain(filter(None, [SHOWN.get(bug.name)]), islice(worlds(bug), WORLDS)):
            found.update(one.oracle for one in run_case(seed, folder).violations)
            if found & set(bug.oracles):
                return seed, found
    return 0, found


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_planted_bug_is_found(bug: Bug, monkeypatch: pytest.MonkeyPatch) -> None:
    """A world is broken by the bug, and by an oracle that stands for what the bug does."""
    bug.plant(monkeypatch)
    world, oracles = find(bug)
    assert world, f"{bug.name} lived through {WORLDS} worlds, or was found by {oracles} only"


def test_enough_bugs_are_planted() -> None:
    """The list has at least twenty, each of another name, and the documents say how many."""
    assert len({bug.name for bug in BUGS}) == len(BUGS) >= 20
    root = Path(__file__).parents[2]
    assert f"list {len(BUGS)} bugs" in (root / "docs/simulation.md").read_text()
    assert f"{len(BUGS)} planted bugs break them" in (root / "SECURITY.md").read_text()
