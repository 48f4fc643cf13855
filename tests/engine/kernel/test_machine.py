"""Machine code in files: what an entry point takes, gives and refuses, and that it runs without the compiler."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest

from xarb.engine.kernel import lowering, machine
from xarb.errors import ConfigError, InvariantBroken
from xarb.model.units import INT64_MAX, NULL

ROOT = Path(__file__).resolve().parents[3]
WITHOUT_NUMBA = """
import sys
from pathlib import Path
from xarb.verbs.backtest import backtest
from xarb.config import load_experiment

experiment = load_experiment(Path("experiments/quickstart.toml"), {"run.end": "2026-01-05T23:58:00"})
backtest(experiment, out=Path(sys.argv[1]), advance=lambda *_: None)
print("numba" in sys.modules)
"""


def weigh(first: int, second: int) -> int:
    """Two integers."""
    return 10 * first + second


def both(first: int, second: int) -> tuple[int, int]:
    """A pair of integers."""
    return second, first


def nothing(first: int) -> None:  # an entry point has arguments
    """None."""


def positive(first: int) -> int:
    """Raises in compiled code."""
    if first < 0:
        raise ValueError
    return first


def halve(first: int) -> float:
    """A float."""
    return first / 2


def count(first: int) -> int:
    """An integer, by memory of numba's."""
    return int(np.arange(first)[first - 1])


def built(function: Any, folder: Path) -> Any:
    """The function as an entry point: compiled, stored and loaded."""
    path = folder / f"trial.{function.__name__}"
    dispatcher = numba.njit(function, error_model="numpy", nogil=True)
    machine.store(path, lowering.lower(dispatcher, machine.symbol_of("tests", path)))
    return machine.load("tests", path)


def test_integers_go_in_and_come_out(tmp_path: Path) -> None:
    """All of 64 bits pass, from Python's integers and numpy's; results are integers, tuples of them or None."""
    entry = built(weigh, tmp_path)
    assert entry(4, 2) == 42
    assert entry(np.int64(-4), np.int32(2)) == -38
    assert entry(0, INT64_MAX) == INT64_MAX
    assert entry(0, NULL) == NULL
    assert built(both, tmp_path)(-1, 7) == (7, -1)
    assert built(nothing, tmp_path)(5) is None


def test_an_entry_point_says_what_it_is(tmp_path: Path) -> None:
    """Name and module stand in tracebacks and profiles."""
    entry = built(weigh, tmp_path)
    assert (entry.__module__, entry.__name__) == ("tests.trial", "weigh")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((1,), TypeError),
        ((1, 2, 3), TypeError),
        ((1, 2.0), TypeError),
        ((None, 2), TypeError),
        ((1, "2"), TypeError),
        ((INT64_MAX + 1, 2), OverflowError),
        ((1, NULL - 1), OverflowError),
    ],
)
def test_what_is_no_integer_of_64_bits_is_refused(arguments: tuple[object, ...], error: type[Exception], tmp_path: Path) -> None:
    """Nothing is cut off or rounded on the way into compiled code."""
    entry = built(weigh, tmp_path)
    with pytest.raises(error):
        entry(*arguments)
    assert entry(1, -1) == 9


def test_an_error_in_compiled_code_is_raised(tmp_path: Path) -> None:
    """Compiled code that raises cannot say what, but never returns a number instead."""
    entry = built(positive, tmp_path)
    assert entry(3) == 3
    with pytest.raises(InvariantBroken, match="tests\\.trial\\.positive raised"):
        entry(-3)


def test_results_are_not_kept(tmp_path: Path) -> None:
    """A call leaves no reference behind, neither to its arguments nor to its results."""
    pair, none = built(both, tmp_path), built(nothing, tmp_path)
    big = 10**15
    before = sys.getrefcount(big), sys.getrefcount(None)
    for _ in range(1000):
        assert pair(big, 1)
        none(big)
    assert abs(sys.getrefcount(big) - before[0]) < 10
    assert abs(sys.getrefcount(None) - before[1]) < 500


def test_code_that_needs_numba_at_run_time_is_refused(tmp_path: Path) -> None:
    """An entry point that allocates names the symbol while it is compiled; loading it would end the process."""
    with pytest.raises(InvariantBroken, match="needs NRT_"):
        built(count, tmp_path)


def test_a_result_that_is_no_integer_is_refused(tmp_path: Path) -> None:
    """A float never comes out of an entry point."""
    with pytest.raises(InvariantBroken, match="returns float64"):
        built(halve, tmp_path)


@pytest.mark.parametrize("place", [0, 31, 32, 500, -1])
def test_a_damaged_file_is_not_run(place: int, tmp_path: Path) -> None:
    """A flipped bit anywhere, or a cut, and the file counts as absent; storing again mends it."""
    built(weigh, tmp_path)
    path = tmp_path / "trial.weigh"
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    hurt = bytearray(whole)
    hurt[place] ^= 4
    file.write_bytes(hurt)
    assert machine.load("tests", path) is None
    file.write_bytes(whole[:-1])
    assert machine.load("tests", path) is None
    assert built(weigh, tmp_path)(1, 2) == 12


def test_a_folder_that_cannot_be_written_is_named_with_the_way_out(tmp_path: Path) -> None:
    """A file where a folder should be: nothing is loaded, and storing says which folder and which setting helps."""
    (tmp_path / "taken").write_text("")
    path = tmp_path / "taken" / "trial.weigh"
    assert machine.load("tests", path) is None
    with pytest.raises(ConfigError, match=r"taken: .*; set NUMBA_CACHE_DIR"):
        machine.store(path, b"code")


@pytest.mark.skipif(os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="nothing is compiled")
def test_a_backtest_with_stored_code_never_imports_numba(tmp_path: Path) -> None:
    """The first run compiles what is missing, the second one runs without the compiler."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    said = [
        subprocess.run(
            [sys.executable, "-c", WITHOUT_NUMBA, str(tmp_path / run)],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for run in ("first", "second")
    ]
    assert said[1].strip() == "False"
