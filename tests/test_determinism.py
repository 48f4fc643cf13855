"""One digest of all outputs, whatever may differ between two runs of the same log with the same experiment.

The market is the shipped synthetic one, shorter: quotes, books, deltas, trades, gaps and rejects, two strategies, drawn latencies.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from xarb.config import load_experiment
from xarb.log.manifest import Manifest
from xarb.log.reader import LogReader
from xarb.log.rows import from_table
from xarb.log.writer import LogWriter
from xarb.model.columns import INPUTS
from xarb.synthetic import make_quickstart
from xarb.verbs.backtest import Result, backtest

ROOT = Path(__file__).resolve().parents[1]
EXPERIMENT = ROOT / "experiments" / "quickstart.toml"
INTERPRETERS = "XARB_TEST_PYTHONS"  # paths of interpreters with the dependencies installed, as in PATH
VERSIONS = ("3.11", "3.12", "3.13")
SCRIPT = """
import sys
from pathlib import Path
from tests.test_determinism import run
print(run(Path(sys.argv[1]), Path(sys.argv[2])).digest)
"""


def _unseen(done: int, total: int, note: str = "") -> None:
    del done, total, note


def run(log: Path, out: Path, batch_rows: int = 262_144) -> Result:
    """A backtest of the log; `out` must not exist."""
    return backtest(load_experiment(EXPERIMENT), log=log, out=out, advance=_unseen, batch_rows=batch_rows)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """About 12,000 rows."""
    return make_quickstart(tmp_path_factory.mktemp("determinism") / "log", events=12_000)


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """About 3,000 rows, for what is slow."""
    return make_quickstart(tmp_path_factory.mktemp("determinism") / "short", events=3_000)


@pytest.fixture(scope="module")
def known(log: Path, tmp_path_factory: pytest.TempPathFactory) -> Result:
    """The run that others are held against."""
    return run(log, tmp_path_factory.mktemp("determinism") / "known")


def elsewhere(log: Path, out: Path, python: str = sys.executable, **environment: str) -> str:
    """The digest of a run in a process of its own."""
    done = subprocess.run(
        [python, "-c", SCRIPT, str(log), str(out)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip()


def impersonal(folder: Path) -> str:
    """The digest of a run's rows without the run's id, which client order ids begin with."""
    reader = LogReader(folder)
    prefix = f"{reader.manifest.header.log_id[:8]}-1-"
    rows = [repr(pair).replace(prefix, "run-1-") for pair in reader.outputs()]
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()


def test_the_run_does_something(known: Result) -> None:
    """Both strategies trade, legs miss, feeds fail and something is refused: the digest below is one of real work."""
    rows = list(LogReader(known.folder).outputs())
    seen = {kind for kind, _ in rows}
    assert seen == {
        "bundles",
        "commands",
        "feed_states",
        "fills",
        "flags",
        "ledger",
        "opportunities",
        "orders",
        "refusals",
        "residuals",
        "sim_reports",
    }
    assert {row["strategy"] for kind, row in rows if kind == "fills"} == {"eager", "patient"}
    assert {"open", "hedge"} <= {row["purpose"] for kind, row in rows if kind == "fills"}
    assert len(rows) > 800


@pytest.mark.parametrize("rows", [7, 1_000, 100_000])
def test_batches_of_any_size_give_one_digest(rows: int, log: Path, known: Result, tmp_path: Path) -> None:
    """How many rows the reader hands over at a time does not matter."""
    assert run(log, tmp_path / "run", rows).digest == known.digest


def test_batches_of_one_row_give_the_same_digest(short: Path, tmp_path: Path) -> None:
    """A run row by row equals a run of the whole log at once."""
    assert run(short, tmp_path / "single", 1).digest == run(short, tmp_path / "whole").digest


def test_two_runs_in_one_process_give_one_digest(log: Path, known: Result, tmp_path: Path) -> None:
    """Nothing of a run is left over for the next."""
    assert run(log, tmp_path / "run").digest == known.digest


@pytest.mark.parametrize("row_group", [500, 3_000, 131_072])
def test_row_groups_of_any_size_give_one_digest(row_group: int, log: Path, known: Result, tmp_path: Path) -> None:
    """The same rows in files of another make are another log with another id, and give the same outputs but for that id."""
    copy = tmp_path / "log"
    manifest = Manifest(log)
    with LogWriter.create(copy, manifest.header, row_group=row_group) as writer:
        for kind in INPUTS:
            for entry in (entry for entry in manifest.files if entry.kind == kind):
                writer.write_rows(kind, from_table(kind, pq.read_table(log / entry.path, partitioning=None)))
        writer.commit()
    groups = {pq.ParquetFile(copy / entry.path).num_row_groups for entry in Manifest(copy).files if entry.kind == "quotes"}
    assert (max(groups) > 1) == (row_group < 5_000)
    assert impersonal(run(copy, tmp_path / "run").folder) == impersonal(known.folder)


@pytest.mark.parametrize("seed", ["0", "1"])
def test_hash_seeds_give_one_digest(seed: str, log: Path, known: Result, tmp_path: Path) -> None:
    """No output depends on the order of a set or on a hash."""
    assert elsewhere(log, tmp_path / "run", PYTHONHASHSEED=seed) == known.digest


def test_compiled_and_interpreted_give_one_digest(short: Path, tmp_path: Path) -> None:
    """With the JIT off the same source gives the same outputs."""
    compiled = elsewhere(short, tmp_path / "compiled", NUMBA_DISABLE_JIT="0")
    assert elsewhere(short, tmp_path / "interpreted", NUMBA_DISABLE_JIT="1") == compiled


@pytest.mark.parametrize("version", VERSIONS)
def test_python_versions_give_one_digest(version: str, log: Path, known: Result, tmp_path: Path) -> None:
    """Python 3.11, 3.12 and 3.13 give the same outputs, where they are present with the dependencies."""
    python = _interpreter(version)
    if python is None:
        pytest.skip(f"no Python {version} with the dependencies on PATH or in {INTERPRETERS}")
    assert elsewhere(log, tmp_path / "run", python) == known.digest


def _interpreter(version: str) -> str | None:
    """A Python of that version which can import what a backtest needs."""
    found = [path for path in os.environ.get(INTERPRETERS, "").split(os.pathsep) if path]
    probe = f"import sys, msgspec, numba, pyarrow, pytest; sys.exit('%d.%d' % sys.version_info[:2] != {version!r})"
    for path in (*found, sys.executable, shutil.which(f"python{version}")):
        if path is not None and subprocess.run([path, "-c", probe], capture_output=True, check=False).returncode == 0:
            return path
    return None
