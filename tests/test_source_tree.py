"""What linters cannot see: rules of the house that are checked on the syntax tree of every source file."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "xarb"
SOURCES = sorted(PACKAGE.rglob("*.py"))
PURE = ("model", "pools", "engine", "strategies", "wires", "venues/simulated", "venues/fold")
COMPILED = ("engine/kernel", "venues/fold")
DRAWERS = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "base"}
FUNCTION_LINES, FILE_LINES, PARAMETERS, PARAMETERS_BY_PLACE = 70, 600, 6, 3
WORDS = ("TODO", "FIXME", "XXX", "NotImplementedError", "pragma: no cover")

Function = ast.FunctionDef | ast.AsyncFunctionDef


def _name(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def _is_in(path: Path, folders: tuple[str, ...]) -> bool:
    return any(_name(path).startswith(folder) for folder in folders)


def _functions(tree: ast.AST) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def _makes_set(node: ast.expr | None, names: set[str]) -> bool:
    """Whether an expression is surely a set: a literal, a comprehension, set(), frozenset(), an operation on one, or a name bound to one."""
    if isinstance(node, ast.Set | ast.SetComp):
        return True
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return node.func.id in {"set", "frozenset"}
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr | ast.BitAnd | ast.Sub | ast.BitXor):
        return _makes_set(node.left, names) or _makes_set(node.right, names)
    return isinstance(node, ast.Name) and node.id in names


def set_iterations(tree: ast.AST) -> list[int]:
    """Lines on which the order of a set reaches the program: iterated, turned into a list or tuple, joined or popped."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and _makes_set(node.value, names):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            hint = ast.unparse(node.annotation)
            if hint.startswith(("set[", "frozenset[")) or _makes_set(node.value, names):
                names.add(node.target.id)
    found = []
    for node in ast.walk(tree):
        looped = node.iter if isinstance(node, ast.For | ast.comprehension) else None
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in {"list", "tuple", "enumerate", "iter"}
        ):
            looped = node.args[0] if node.args else None
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in {"join", "pop"}:
            looped = node.func.value if node.func.attr == "pop" else (node.args[0] if node.args else None)
        if looped is not None and _makes_set(looped, names):
            found.append(getattr(node, "lineno", getattr(looped, "lineno", 0)))
    return found


def hash_calls(tree: ast.AST) -> list[int]:
    """Lines that call hash() or id(), whose values differ from process to process."""
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"hash", "id"}
    ]


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_file_keeps_the_limits_of_the_house(path: Path) -> None:
    """No file over 600 lines without a reason, no function over 70, no drawer names, no words that stand for missing behaviour."""
    text = path.read_text(encoding="utf-8")
    lines = text.count("\n") + 1
    assert lines <= FILE_LINES, f"{lines} lines"
    assert not DRAWERS & set(path.relative_to(PACKAGE).with_suffix("").parts), "a drawer is no concept"
    for word in WORDS:
        assert word not in text, f"{word} stands for behaviour that is not there"
    for function in _functions(ast.parse(text)):
        length = (function.end_lineno or 0) - function.lineno + 1
        assert length <= FUNCTION_LINES, f"{function.name} has {length} lines"


def test_importing_changes_nothing_of_the_interpreter() -> None:
    """No module of ours, nor what it imports, raises the limit of recursion, which is what deep JSON is refused by (py_ecc, below web3, does)."""
    script = (
        "import importlib, pkgutil, sys, xarb\n"
        "before = sys.getrecursionlimit()\n"
        "names = [one.name for one in pkgutil.walk_packages(xarb.__path__, 'xarb.') if not one.name.endswith('__main__')]\n"
        "for name in names: importlib.import_module(name)\n"
        "print(len(names) > 200, sys.getrecursionlimit() == before)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.split() == ["True", "True"]


CODE_FROM_DATA = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "numpy.load", "np.load"}
CODE_FROM_DATA_MODULES = {"pickle", "marshal", "shelve", "yaml", "dill", "cloudpickle", "joblib"}


def code_from_data(tree: ast.AST) -> list[int]:
    """Lines that turn data into code, or could: evaluation, formats that hold objects, shells."""
    found = []
    for node in ast.walk(tree):
        modules: list[str] = []
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules = [node.module or ""]
        if {module.partition(".")[0] for module in modules} & CODE_FROM_DATA_MODULES:
            found.append(node.lineno)  # type: ignore[attr-defined]  # an import is a statement
        if isinstance(node, ast.Call) and (
            ast.unparse(node.func) in CODE_FROM_DATA
            or any(word.arg in {"shell", "allow_pickle"} for word in node.keywords)
            or "subprocess_shell" in ast.unparse(node.func)
        ):
            found.append(node.lineno)
    return found


def test_processes_of_ours_run_nothing_of_the_working_directory() -> None:
    """Python as another process of ours is started with `-P`, else a file json.py that lies there would be run."""
    starts = [line for path in SOURCES for line in path.read_text().splitlines() if "sys.executable" in line]
    assert len(starts) >= 2
    assert [line for line in starts if 'sys.executable, "-P", "-m"' not in line] == []


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_file_makes_no_code_of_data(path: Path) -> None:
    """No eval, exec, pickle, YAML or shell anywhere in the package."""
    assert code_from_data(ast.parse(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    "text",
    [
        "eval(x)",
        "exec('a')",
        "import pickle",
        "from yaml import load",
        "import os\nos.system(x)",
        "subprocess.run(x, shell=True)",
        "asyncio.create_subprocess_shell(x)",
        "np.load(x)",
        "import marshal as m",
    ],
)
def test_code_from_data_is_seen(text: str) -> None:
    """The check finds each way."""
    assert code_from_data(ast.parse(text))


@pytest.mark.parametrize("path", [p for p in SOURCES if not _is_in(p, COMPILED)], ids=_name)
def test_function_takes_few_parameters(path: Path) -> None:
    """At most six parameters, outside compiled code, whose steps take the columns of a row by place."""
    for function in _functions(ast.parse(path.read_text(encoding="utf-8"))):
        arguments = function.args
        names = [a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs) if a.arg not in {"self", "cls"}]
        if not _is_command(function):
            assert len(names) <= PARAMETERS, f"{function.name} takes {len(names)} parameters"


def _is_command(function: Function) -> bool:
    """Whether a function is a command of the command line: its parameters are options."""
    return any("command" in ast.unparse(decorator) or "callback" in ast.unparse(decorator) for decorator in function.decorator_list)


@pytest.mark.parametrize("path", [p for p in SOURCES if _is_in(p, PURE)], ids=_name)
def test_pure_file_never_depends_on_the_order_of_a_set(path: Path) -> None:
    """In pure code nothing iterates over a set or asks for hash() or id()."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert set_iterations(tree) == []
    assert hash_calls(tree) == []


@pytest.mark.parametrize(
    "text",
    [
        "for x in {1, 2}: pass",
        "a = set()\nfor x in a: pass",
        "a: set[int] = f()\nb = [x for x in a]",
        "list(frozenset(x))",
        "','.join({'a'})",
        "a = set(b) | c\nfor x in a: pass",
    ],
)
def test_set_iteration_is_seen(text: str) -> None:
    """The check finds each way of iterating over a set."""
    assert set_iterations(ast.parse(text))


def test_sorted_set_is_fine() -> None:
    """A sorted set has an order, and membership asks for none."""
    assert set_iterations(ast.parse("a = {1}\nfor x in sorted(a): pass\n1 in a")) == []
