"""The page of a run as a person finds it: opened in a browser that is fetched with npm."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest

from tests.live.player import EXPERIMENT
from tests.trial import quiet
from tests.verbs.report.test_report import END, HOSTILE, hostile_page
from xarb.config import load_experiment
from xarb.verbs.backtest import backtest
from xarb.verbs.report import Wanted, report

HERE: Final = Path(__file__).resolve().parent
BROWSER: Final = HERE / "node_modules" / "@sparticuz" / "chromium"
LIGHT: Final = {"paper": "rgb(255, 255, 255)", "ink": "rgb(28, 33, 40)", "plot": "rgb(255, 255, 255)", "text": "rgb(28, 33, 40)"}
DARK: Final = {"paper": "rgb(20, 24, 29)", "ink": "rgb(228, 232, 236)", "plot": "rgb(20, 24, 29)", "text": "rgb(228, 232, 236)"}


def skip_without(node: str | None, said: str = "") -> None:
    """Skip where there is no browser, or where it `said` that it cannot run."""
    if node is None or not BROWSER.is_dir():
        pytest.skip("no browser for the tests of pages: `make test` fetches it with npm (or: npm ci in tests/browser)")
    if any(word in said for word in ("Cannot find module", "error while loading shared libraries", "ENOEXEC")):
        pytest.skip(f"the browser does not run on this machine: {said.strip().splitlines()[-1]}")


def look(*words: str | Path) -> dict[str, Any]:
    """What a person would find on the pages; skips where there is no browser."""
    node = shutil.which("node")
    skip_without(node)
    done = subprocess.run([str(node), HERE / "look.mjs", *words], capture_output=True, text=True, check=False, timeout=120)
    skip_without(node, done.stderr)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def check_panel(panel: dict[str, Any]) -> None:
    """A trade down to its quotes."""
    assert panel["head"].startswith("Bundle ")
    assert {"What the strategy saw: instruments", "What the strategy saw: levels", "Fills", "Ledger"} <= set(panel["titles"])
    assert panel["rows"] > 20
    assert panel["quotes"] >= 2  # bid and ask of a market whose quotes are rows


def test_page_in_a_browser(tmp_path: Path) -> None:
    """Plots drawn and on one axis of time, trades open, light and dark, no wider than a phone; nothing asked for, no error, no name run."""
    run = backtest(load_experiment(EXPERIMENT, END), out=tmp_path / "run", advance=quiet)
    report(Wanted([run.folder]), tmp_path / "page.html", advance=quiet)
    (tmp_path / "hostile.html").write_text(hostile_page(), encoding="utf-8")
    found = look(tmp_path / "page.html", tmp_path / "hostile.html")

    assert found["told"] == []
    assert found["asked"] == [(tmp_path / "page.html").as_uri()]
    assert len(found["plots"]) > 12
    for plot in found["plots"]:
        assert plot["marks"] > 1, plot["key"]
        assert min(plot["size"]) > 100, plot["key"]
    assert found["buttons"] == ["Download plot as a PNG", "Zoom", "Pan", "Zoom in", "Zoom out", "Reset axes"]

    check_panel(found["by_point"])
    check_panel(found["by_row"])
    zoomed, (first, last) = found["zoomed"], found["zoomed"]["before"]
    assert zoomed["equity"] == zoomed["feeds"] == zoomed["drawdown"]
    assert first < zoomed["equity"][0] < zoomed["equity"][1] < last
    assert found["sorted"] == sorted(found["sorted"])
    assert len(set(found["sorted"])) > 5

    assert (found["light"], found["switched"], found["dark"]) == (LIGHT, DARK, DARK)
    assert found["phone"] == {"page": 390, "window": 390}

    hostile = found["hostile"]
    assert (hostile["elements"], hostile["scripts"], hostile["links"], hostile["told"]) == (0, 3, 0, [])
    assert hostile["asked"] == [(tmp_path / "hostile.html").as_uri()]
    assert hostile["head"].endswith(HOSTILE)
