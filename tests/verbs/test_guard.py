"""The guard of determinism: strategies that reach for what is none of their business are named, with kind and line."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Final

import pytest
from typer.testing import CliRunner, Result

from tests.live.player import EXPERIMENT
from tests.trial import quiet
from xarb.assembly import code
from xarb.cli import app
from xarb.config import load_experiment
from xarb.errors import Refused
from xarb.verbs.backtest import backtest
from xarb.verbs.guard import BATCHES, HASH_SEEDS, Guarded, Watch, guard
from xarb.verbs.new import new_strategy

PLACE: Final = "        edge = wake.edge\n"
END: Final = {"run.end": '"2026-01-05T23:50:00Z"'}  # a part of the recording is enough


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder with a new strategy, and no code that may run."""
    monkeypatch.setattr(code, "_files", {})
    new_strategy("gap_taker", tmp_path / "mine")
    return tmp_path / "mine"


def guarded(mine: Path, planted: str, head: str = "") -> Guarded:
    """What the guard says of the strategy with some lines at the start of each decision."""
    path = mine / "gap_taker.py"
    text = path.read_text()
    assert PLACE in text
    lines = "".join(f"        {line}\n" for line in planted.splitlines())
    path.write_text(text.replace(PLACE, lines + PLACE).replace("import msgspec\n", f"import msgspec\n{head}\n"))
    experiment = load_experiment(mine / "gap_taker.toml", END)
    run = backtest(experiment, out=mine / "run", advance=quiet)
    again = ["backtest", str(mine / "gap_taker.toml"), "--set", f"run.end={END['run.end']}"]
    return guard(experiment, run.digest, again=again, advance=quiet)


def reached(found: Guarded) -> set[tuple[str, str]]:
    """Kind and function of what was reached for."""
    return {(row[1], row[2]) for table in found.tables for row in table.rows if table.title.startswith("What strategies")}


def outcomes(found: Guarded) -> dict[str, str]:
    """How the runs ended."""
    return {row[0]: row[1] for table in found.tables if table.title == "Decided again" for row in table.rows}


@pytest.mark.parametrize(
    ("planted", "head", "kind", "what"),
    [
        ("time.time()", "import time", "clock", "time"),
        ("monotonic_ns()", "from time import monotonic_ns", "clock", "monotonic_ns"),
        ("dt.datetime.now()", "import datetime as dt", "clock", "datetime.now"),
        ("random.choice([1, 2])", "import random", "chance", "Random.getrandbits"),
        ("uuid.uuid4()", "import uuid", "chance", "urandom"),
        ("np.random.default_rng().random()", "import numpy as np", "chance", "urandom"),
        ("os.environ.get('HOME')", "import os", "environment", "os.environ"),
        ("os.getpid()", "import os", "environment", "getpid"),
        ("open(__file__).close()", "", "file", "open"),
        ("list(Path('.').glob('*'))", "from pathlib import Path", "file", "os.scandir"),
        ("socket.socket().close()", "import socket", "network", "socket.__new__"),
    ],
)
def test_what_a_strategy_reaches_for_is_named(
    mine: Path, planted: str, head: str, kind: str, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its line, however it came by it."""
    monkeypatch.setattr("xarb.verbs.guard.HASH_SEEDS", ())  # which take a process each
    found = guarded(mine, planted, head)
    assert not found.clean
    assert (kind, what) in reached(found)
    (table,) = (one for one in found.tables if one.title.startswith("What strategies"))
    assert all(row[0] == "gap_taker" and f"{mine / 'gap_taker.py'}:" in row[3] and int(row[4]) > 0 for row in table.rows)


def test_what_depends_on_the_hash_seed_is_found(mine: Path) -> None:
    """It reaches for nothing, and decides otherwise in another process."""
    found = guarded(mine, "if hash(str(wake.ts)) % 2:\n    return ()")
    assert not found.clean
    assert not reached(found)
    assert {outcomes(found)[f"hash seed {seed}"] for seed in HASH_SEEDS} == {"OTHER"}
    assert {outcomes(found)[f"batches of {size} rows"] for size in BATCHES} == {"equal"}


def test_what_depends_on_the_batch_is_found(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that tells a strategy in which batch it is."""
    from xarb.engine.engine import Engine
    from xarb.model.batch import Batch

    load = Engine.load

    def told(self: Engine, batch: Batch) -> None:
        load(self, batch)
        code.GROUP_SIZE = len(batch.quotes.seq)  # type: ignore[attr-defined]  # a place that a strategy must not know

    monkeypatch.setattr(Engine, "load", told)
    monkeypatch.setattr(code, "GROUP_SIZE", 0, raising=False)
    found = guarded(mine, "if getattr(code, 'GROUP_SIZE', 10_000) < 900:\n    return ()", "from xarb.assembly import code")
    assert outcomes(found)[f"batches of {BATCHES[0]} rows"] == "OTHER"
    assert outcomes(found)["watched"] == "equal"


def test_ours_are_clean_and_the_command_says_so(tmp_path: Path) -> None:
    """Exit code 0; a refusal where something was found."""
    done: Result = CliRunner().invoke(
        app, ["backtest", str(EXPERIMENT), "--guard", "--set", f"run.end={END['run.end']}", "--out", str(tmp_path / "run")]
    )
    assert done.exit_code == 0, done.output
    assert done.stdout.count("\tequal\n") == 1 + len(BATCHES) + len(HASH_SEEDS)
    new_strategy("gap_taker", tmp_path)
    path = tmp_path / "gap_taker.py"
    path.write_text(
        path.read_text().replace(PLACE, f"        wake.ts + id(view) %% 2 + __import__('time').time()\n{PLACE}".replace("%%", "%"))
    )
    words = [
        "backtest",
        str(tmp_path / "gap_taker.toml"),
        "--guard",
        "--set",
        f"run.end={END['run.end']}",
        "--out",
        str(tmp_path / "other"),
    ]
    refused = CliRunner().invoke(app, words)
    assert isinstance(refused.exception, Refused)
    assert "clock" in refused.stdout


def test_what_others_left_behind_is_not_the_strategys() -> None:
    """A finalizer that reads a file waits until nobody is watched, however much a strategy makes; then garbage is collected again."""

    class Left:
        def __init__(self) -> None:
            self.itself = self

        def __del__(self) -> None:
            with Path(__file__).open():
                pass

    watch, thresholds = Watch(), gc.get_threshold()
    gc.collect()
    try:
        Left()
        with watch.on("calm"):
            gc.set_threshold(5)
            made = [[number] for number in range(100)]
    finally:
        gc.set_threshold(*thresholds)
    assert len(made) == 100
    assert not watch.found
    assert gc.isenabled()
