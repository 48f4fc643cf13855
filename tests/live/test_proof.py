"""The walk of docs/proof.md with the shipped configs, from the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.live.proof import run


@pytest.mark.parametrize("is_real", [True, False], ids=["real", "paper"])
def test_the_walk_of_the_documentation(tmp_path: Path, *, is_real: bool) -> None:
    """It trades, it is proven byte for byte, the backtest of its log is compared, and the exchanges' books agree."""
    found = run(tmp_path, seconds=12, is_real=is_real)
    assert found.verified
    assert found.commands > 0
    assert found.diff in (0, 1)
    assert found.agrees
