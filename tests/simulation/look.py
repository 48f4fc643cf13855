"""Looks for each planted bug in the worlds in order, and writes down which one shows it, so that the tests look there first."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.simulation import shown
from tests.simulation.planted_others import BUGS
from tests.simulation.test_planted import find


def main() -> None:
    """The command."""
    shown.SHOWN.clear()
    found: dict[str, int] = {}
    for bug in BUGS:
        with pytest.MonkeyPatch.context() as patch:
            bug.plant(patch)
            found[bug.name], _ = find(bug)
    path = Path(shown.__file__)
    head = path.read_text().partition("SHOWN")[0]
    lines = "".join(f'    "{name}": {seed},\n' for name, seed in found.items() if seed)
    path.write_text(f"{head}SHOWN: dict[str, int] = {{\n{lines}}}\n")


if __name__ == "__main__":
    main()
