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
from types import BuiltinFunctionType
from xarb.verbs.backtest import backtest
from xarb.config import load_experiment
from xarb.engine.kernel.compiled import Entry

called = set()
def note(frame, event, function):
    if event == "c_call":
        called.add(id(function))

experiment = load_experiment(Path("experiments/quickstart.toml"), {"run.end": "2026-01-05T23:58:00"})
sys.setprofile(note)
backtest(experiment, out=Path(sys.argv[1]), advance=lambda *_: None)
sys.setprofile(None)
for module in sorted(name for name in sys.modules if ".kernel" in name or ".fold" in name):
    for name, entry in sorted(vars(sys.modules[module]).items()):
        entered = isinstance(entry, Entry) and "loaded" in vars(entry)
        if entered or (isinstance(entry, BuiltinFunctionType) and entry.__module__ == module and id(entry) in called):
            print(module, name)
"""


def test_a_backtest_enters_nothing_that_is_not_warmed(tmp_path: Path) -> None:
    """Every entry point that a backtest of the quickstart calls stands in the table."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", LIST_ENTERED, str(tmp_path / "run")]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    warmed = {f"{module} {name}" for part in ENTRIES.values() for module, names in part.items() for name in names}
    assert set(done.stdout.splitlines()) == warmed
