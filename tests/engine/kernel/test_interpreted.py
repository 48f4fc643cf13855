"""The fold without compilation."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.engine.kernel.test_naive import PAIRS, UNIT, market, rows_of
from xarb.engine.strategy import Wakes

ROOT = Path(__file__).parents[3]
WORLDS = 25


def _drawn(seed: int) -> list[tuple[int, tuple[Any, ...]]]:
    """150 actions of every kind, each drawn anew from the seed."""
    draw = random.Random(seed)  # noqa: S311 - a seeded sequence, no secret

    def price() -> int | None:
        choice: int | None = draw.choice([None, 0, *range(980, 1030), draw.randint(600, 1400)])
        return choice

    def size() -> int | None:
        return draw.choice([None, 0, 1, 2, 4, 4, 4, -1])

    def action() -> tuple[Any, ...]:
        levels = [(draw.choice(["bid", "ask"]), draw.randint(980, 1030), size()) for _ in range(draw.randint(0, 4))]
        near = {draw.randint(980, 1030) for _ in range(3)}
        number, counter = draw.randint(0, 2), draw.choice([None, None, 1, 2, 3])
        event = draw.choice(["gap", "lost", "opened", "subscribed", "heartbeat", "resync"])
        return draw.choice(
            [
                *[("sound", draw.choice([0, 0, 1, 2]), draw.randint(990, 1010), draw.randint(1, 8))] * 8,
                ("quote", number, price(), size(), price(), size(), counter, draw.choice([None, 0, 5 * UNIT]), draw.random() < 0.3),
                ("rate", draw.randint(1, 2), draw.randint(0, 1)),
                *[("deltas", levels, draw.random() < 0.2, draw.randint(0, 9), draw.randint(0, 4))] * 2,
                ("book", near, {price_ + 30 for price_ in near}, draw.randint(0, 9), size(), counter),
                ("trade", number, draw.choice([None, *range(1, 70)]), price(), size()),
                ("connection", draw.randint(0, 3), event, draw.random() < 0.3),
                ("reject", draw.randint(0, 3)),
                *([("scale", number, draw.randint(0, 1), 0)] if draw.random() < 0.05 else []),
            ]
        )

    return [(draw.choice([0, 1, 1, 1, 2, 3, 12]), action()) for _ in range(150)]


def digest() -> tuple[str, int]:
    """Over all rows and wakes of the seeded sequences; and how many rows there are."""
    found = hashlib.sha256()
    count = 0
    for seed in range(WORLDS):
        real = market(
            Wakes(pairs=PAIRS, every_event=(0, 1), improve_ppb=1_000_000, timer_ns=4 * UNIT), Wakes(pairs=PAIRS, min_life_ns=UNIT)
        )
        real.feed(rows_of(_drawn(seed)))
        found.update(repr([real.rows, *(listener.heard for listener in real.listeners)]).encode())
        count += len(real.rows)
    return found.hexdigest(), count


@pytest.mark.skipif(os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="this run is interpreted itself")
def test_interpreted_it_gives_the_same_digest() -> None:
    """With the JIT off all rows and wakes of seeded sequences of every kind have the digest that they have with it on."""
    done = subprocess.run(
        [sys.executable, "-c", "from tests.engine.kernel.test_interpreted import digest; print(*digest())"],
        cwd=ROOT,
        env=os.environ | {"NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == [str(part) for part in digest()]
    assert digest()[1] > 1000
