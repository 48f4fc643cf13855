"""Any course of a book, in the engine and from an exchange's stream on; each planted bug is found by the courses that the suite runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.engine.books_machine import BooksMachine
from tests.engine.planted_books import KERNEL, WIRED
from tests.engine.wired_machine import WIRES, machine_of
from tests.machines import Plant, found_by, run

ROOT = Path(__file__).parents[2]


def test_any_course_of_a_book_is_what_the_plain_model_has() -> None:
    """50 courses of 50 steps: rows, wakes, levels and best quotes are those of a model of dicts."""
    run(BooksMachine)


@pytest.mark.parametrize("name", WIRES)
def test_a_book_in_sync_is_the_exchanges_whatever_befalls_its_stream(name: str) -> None:
    """50 courses of 50 steps from frames to the engine's levels; and the book comes back once everything arrives."""
    run(machine_of(name))


@pytest.mark.parametrize(("name", "plant"), WIRED, ids=[plant.__name__ for _, plant in WIRED])
def test_a_planted_bug_of_a_session_is_found(name: str, plant: Plant) -> None:
    """Those courses see what is missing."""
    assert found_by(machine_of(name), plant), f"{plant.__name__} lives"


def test_each_planted_bug_of_the_kernel_is_found() -> None:
    """The same, with an interpreted kernel, whose parts can be taken away."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.engine.planted_books"],
        cwd=ROOT,
        env=os.environ | {"NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert len(done.stdout.splitlines()) == len(KERNEL) + 1
