"""The command that runs many worlds: each broken seed is named with the line that shows it, and nothing is left out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tests.simulation import runner
from xarb.simulation.case import Verdict
from xarb.simulation.oracles import Violation

if TYPE_CHECKING:
    import pytest


def _case(seed: int, folder: Path) -> Verdict:
    assert folder.is_dir()
    if seed == 103:
        raise ZeroDivisionError("nothing to share")
    bad = (Violation("exposure", "too much"),) if seed == 101 else ()
    return Verdict(seed, "", 1, 2, 3, 1, bad)


def test_broken_seeds_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken oracle and an error are told with their seeds, the worlds behind them are run all the same, and the exit code says so."""
    monkeypatch.setattr(runner, "run_case", _case)
    lines: list[str] = []
    parts = list(runner.chunks(range(1, 251)))
    assert [len(one) for one in parts] == [100, 100, 50]
    assert runner.tell(map(runner.run_chunk, parts), 250, lines.append) == 1
    assert lines[:4] == [
        "seed 101: exposure: too much",
        "  see it with: xarb sim --seed 101 --trace",
        "seed 103: ZeroDivisionError: nothing to share",
        "  see it with: xarb sim --seed 103 --trace",
    ]
    assert lines[4].startswith("250 of 250 worlds, 498 orders, 747 fills, 249 starts; 2 broken")


def test_worlds_that_are_missing_are_no_success(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer worlds than were asked for fail the run."""
    monkeypatch.setattr(runner, "run_case", _case)
    assert runner.tell([runner.run_chunk(range(5))], 5, lambda _: None) == 0
    assert runner.tell([runner.run_chunk(range(5))], 6, lambda _: None) == 1


def test_fresh_seeds_are_drawn_and_printed() -> None:
    """Fixed and fresh worlds run in processes; another run draws other seeds."""
    said: list[list[str]] = [[], []]
    for lines in said:
        assert runner.main(["2", "7", "--fresh", "2", "--processes", "1"], lines.append) == 0, lines
        assert lines[0] == "fixed seeds 7 to 8"
        assert lines[-1].startswith("4 of 4 worlds")
    assert said[0][1].startswith("fresh seeds 1")
    assert said[0][1] != said[1][1]
