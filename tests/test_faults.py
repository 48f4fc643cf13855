"""The table of faults names tests that exist, and leaves no fault out."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ROWS = re.findall(r"^\| (\d+) \|.*\|([^|]*)\|$", (ROOT / "docs" / "faults.md").read_text(), re.MULTILINE)


def test_every_fault_is_there_once() -> None:
    """All 33, in order, each with tests."""
    assert [number for number, _ in ROWS] == [str(number) for number in range(1, 34)]
    assert [number for number, tests in ROWS if "`" not in tests] == []


def test_every_named_test_exists() -> None:
    """A test that was renamed or removed leaves its fault unproven."""
    for number, tests in ROWS:
        for file, name in re.findall(r"`([^`]+)::(\w+)`", tests):
            assert re.search(rf"^(async )?def {name}\(", (ROOT / file).read_text(), re.MULTILINE), f"{number}: {file}::{name}"
        assert tests.count("`") == 2 * len(re.findall(r"`[^`]+::\w+`", tests)), number
