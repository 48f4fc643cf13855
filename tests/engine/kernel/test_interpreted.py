"""The fold without compilation."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.mark.skipif(os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="this run is interpreted itself")
def test_interpreted_it_equals_the_same_plain_model() -> None:
    """With the JIT off the kernel passes the same comparisons with the plain model and with fractions as with it on."""
    tests = [f"tests/engine/kernel/test_{name}.py" for name in ("naive", "conversion", "wide", "book")]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *tests],
        cwd=ROOT,
        env=os.environ | {"NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:]
