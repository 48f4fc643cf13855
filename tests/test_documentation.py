"""The README and the pages made from code: every command runs, no page is stale, no link is dead."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from xarb.cli import app

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("experiments", "recordings", "data")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def commands(text: str) -> list[str]:
    """The command lines of all `sh` blocks."""
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.strip() and not line.startswith("#")]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder that looks like a fresh checkout to the commands: the shipped data linked, no runs."""
    for name in FOLDERS:
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


def run(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run one line of the README; `make demo` runs the command behind it, installed as this interpreter has it."""
    words = shlex.split(line.replace("make demo", ".venv/bin/xarb demo"))
    assert words[0] == ".venv/bin/xarb", f"the README types {line!r}, which is no command of ours"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-m", "xarb", *words[1:]],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def test_every_command_of_the_readme_runs(checkout: Path) -> None:
    """Typed in order in a fresh checkout, each command of the README exits with 0 and prints something."""
    lines = commands((ROOT / "README.md").read_text(encoding="utf-8"))
    assert len(lines) >= 8
    for line in lines:
        done = run(line, checkout)
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        assert done.stdout.strip(), line


def blocks_of(page: Path, language: str) -> list[str]:
    """The blocks of a page in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(
    "page", [page for page in PAGES[1:] if blocks_of(page, "sh")], ids=lambda page: page.relative_to(ROOT).as_posix()
)
def test_every_command_of_a_page_runs(page: Path, checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Typed in order in a fresh checkout, each prints something; `diff` alone may say 1, that there are differences."""
    monkeypatch.chdir(checkout)
    for line in commands(page.read_text(encoding="utf-8")):
        words = shlex.split(line)
        assert words[0] == "xarb", f"{page.name} types {line!r}, which is no command of ours"
        done = CliRunner().invoke(app, words[1:])
        assert done.exit_code in ({0, 1} if words[1] == "diff" else {0}), f"{line}\n{done.output}\n{done.exception!r}"
        assert done.output.strip(), line


@pytest.mark.parametrize(
    "page", [page for page in PAGES if blocks_of(page, "python")], ids=lambda page: page.relative_to(ROOT).as_posix()
)
def test_python_of_a_page_runs(page: Path, checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The blocks of a page, one after the other in one namespace."""
    monkeypatch.chdir(checkout)
    names: dict[str, object] = {}
    for block in blocks_of(page, "python"):
        exec(compile(block, page.name, "exec"), names)  # noqa: S102  # our own pages


def test_generated_pages_are_fresh() -> None:
    """The pages that are made from code say what the code says."""
    done = subprocess.run(
        [sys.executable, "docs/generate.py", "--check"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}{done.stderr}\nwrite them with: make docs"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link of a page names a file that is there."""
    for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def test_each_decision_has_a_number_of_its_own() -> None:
    """Its file and its heading have the same one."""
    records = sorted((ROOT / "docs" / "adr").glob("*.md"))
    numbers = [path.name[:4] for path in records]
    assert len(set(numbers)) == len(numbers)
    for path in records:
        assert path.read_text(encoding="utf-8").startswith(f"# {int(path.name[:4])}. "), path.name


def test_help_is_fast_because_nothing_heavy_is_imported() -> None:
    """`xarb --help` imports none of the large libraries."""
    heavy = {"numba", "numpy", "pyarrow", "polars", "duckdb", "ccxt", "web3", "rich"}
    script = "import sys; sys.argv = ['xarb', '--help']\ntry:\n  import xarb.__main__ as m; m.main()\nexcept SystemExit: pass\nprint(sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    loaded = set(re.findall(r"'(\w+)", done.stdout.splitlines()[-1]))
    assert not heavy & loaded
