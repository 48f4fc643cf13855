"""The list of benchmarks: complete, and each one can be run from it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from bench.__main__ import NAMES

BENCH = Path(__file__).resolve().parents[1] / "bench"
MAKERS = {"markets", "depth_markets"}  # of logs, for the others
MODULES = sorted(path.stem for path in BENCH.glob("*.py") if not path.stem.startswith("__"))


def test_the_list_is_complete() -> None:
    """Every module of the folder is a benchmark of the list or makes logs for them."""
    assert set(NAMES) == set(MODULES) - MAKERS


@pytest.mark.parametrize("name", NAMES)
def test_a_benchmark_runs_without_arguments(name: str) -> None:
    """The list calls `main()`; its question is the first paragraph of the module."""
    tree = ast.parse((BENCH / f"{name}.py").read_text(encoding="utf-8"))
    mains = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "main"]
    assert [len(main.args.args) - len(main.args.defaults) for main in mains] == [0]
    assert (ast.get_docstring(tree) or "").partition("\n\n")[0].strip()
