"""Warming: the table of entry points is what a backtest really enters."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from xarb.warm import ENTRIES

ROOT = Path(__file__).resolve().parents[1]
LIST_ENTERED = """
import sys
from pathlib import Path
from numba.core.dispatcher import Dispatcher
from xarb.backtest import backtest
from xarb.config import load_experiment

experiment = load_experiment(Path("experiments/quickstart.toml"), {"run.end": "2026-01-05T23:58:00"})
backtest(experiment, out=Path(sys.argv[1]), advance=lambda *_: None)
for module in sorted(name for name in sys.modules if ".kernel" in name or ".fold" in name):
    for name, entry in sorted(vars(sys.modules[module]).items()):
        if isinstance(entry, Dispatcher) and entry.py_func.__module__ == module and entry.signatures:
            if type(entry._cache).__name__ != "NullCache":
                print(module, name, {str(kind) for signature in entry.signatures for kind in signature})
"""


def test_a_backtest_enters_nothing_that_is_not_warmed(tmp_path: Path) -> None:
    """Every cached entry point that a backtest of the quickstart calls stands in the table, and takes int64 only."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", LIST_ENTERED, str(tmp_path / "run")]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    warmed = {f"{module} {name} {{'int64'}}" for part in ENTRIES.values() for module, names in part.items() for name in names}
    assert set(done.stdout.splitlines()) == warmed
