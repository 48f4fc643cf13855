"""The query command: which words are logs and which is the statement, and the examples on a real run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from xarb.config import load_experiment
from xarb.sql.examples import EXAMPLES
from xarb.verbs.backtest import backtest

ROOT = Path(__file__).resolve().parents[2]
QUICKSTART = ROOT / "recordings" / "quickstart"


def query(*words: str | Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run `xarb query` in a pipe."""
    command = [sys.executable, "-m", "xarb", "query", *map(str, words)]
    return subprocess.run(
        command, input=stdin, capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backtest of the quickstart."""
    experiment = load_experiment(ROOT / "experiments" / "quickstart.toml")
    return backtest(experiment, out=tmp_path_factory.mktemp("runs") / "run", advance=lambda *_: None).folder


def test_every_example_runs_as_printed_on_a_real_run(run: Path) -> None:
    """What `--examples` prints can be piped back, each statement runs, and those that must have an answer on the quickstart have one."""
    printed = query(QUICKSTART, run, "--examples")
    assert printed.returncode == 0
    assert printed.stdout.count("/* ") == len(EXAMPLES)
    done = query(QUICKSTART, run, stdin=printed.stdout)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") > 10 * len(EXAMPLES)


def test_example_can_be_given_as_one_word(run: Path) -> None:
    """A statement may begin with its title as a comment."""
    example = next(one for one in EXAMPLES if one.needs == "run")
    done = query(run, f"/* {example.title} */\n{example.sql}")
    assert done.returncode == 0, done.stderr
    assert "," in done.stdout


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (("nowhere",), "no log is there"),
        (("nowhere", "SELECT 1"), "no log is at 'nowhere'"),
        ((QUICKSTART, "SELECT 1", "SELECT 2"), "one statement is taken"),
        ((QUICKSTART, "--format", "xml", "SELECT 1"), "--format xml: allowed are table, csv, json, parquet"),
        ((QUICKSTART, "SELECT * FROM nothing"), "views:"),
        ((QUICKSTART, "SELEC 1"), "syntax error"),
        ((QUICKSTART, "--examples", "SELECT 1"), "takes no SQL"),
        ((ROOT, "SELECT 1"), "is no log"),
        ((), "at least one log or run"),
    ],
)
def test_wrong_use_exits_with_2_and_says_why(words: tuple[str | Path, ...], part: str) -> None:
    """Each wrong use is named and nothing is printed as data."""
    done = query(*words)
    assert done.returncode == 2
    assert part in done.stderr
    assert done.stdout == ""


def test_parquet_reaches_the_pipe_whole() -> None:
    """Binary output is not touched by the text layer."""
    command = [sys.executable, "-m", "xarb", "query", str(QUICKSTART), "--format", "parquet", "SELECT venue FROM quotes LIMIT 3"]
    done = subprocess.run(command, capture_output=True, check=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert done.stdout[:4] == done.stdout[-4:] == b"PAR1"
