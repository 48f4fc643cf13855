"""The verbs in Python: the same answers as the command line's, as frames with types."""

from __future__ import annotations

import json
import pkgutil
import shutil
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

import xarb
from tests.live.player import EXPERIMENT, QUICKSTART, Player, recorded
from xarb import api
from xarb.cli import app
from xarb.errors import ConfigError

END = {"run.end": "2026-01-05T23:50:00Z", "strategies.eager.min_profit_bps": 5}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> xarb.Run:
    """A part of the quickstart."""
    return xarb.backtest(EXPERIMENT, out=tmp_path_factory.mktemp("api") / "run", settings=END)


def test_a_backtest_gives_tables_and_every_row(run: xarb.Run) -> None:
    """Tables by key, rows by kind; settings take Python values."""
    assert {"backtest", "assumptions", "strategies", "refusals_by_reason"} <= run.keys()
    assert run.strategies["strategy"].to_list() == ["eager", "patient"]
    assert run.strategies.schema["orders"] == pl.Decimal(38, 0)
    fills = run.frames.fills.collect()
    assert fills.height > 0
    assert fills["price"].dtype == pl.Decimal(38, 18)
    assert xarb.verify(run.folder, cut=5).ok
    assert len(run.digest) == 64


def test_sql_gives_a_frame(run: xarb.Run) -> None:
    """Decimals exact, equal names told apart; no row leaves the columns."""
    found = xarb.query([QUICKSTART, run.folder], "SELECT count(*) AS n, sum(fee) AS fee, sum(fee) AS fee FROM fills")
    assert found.columns == ["n", "fee", "fee_1"]
    assert found["fee"][0] == sum(run.frames.fills.collect()["fee"].to_list(), Decimal(0))
    assert xarb.query(run.folder, "SELECT venue, ts FROM fills WHERE false").columns == ["venue", "ts"]
    with pytest.raises(ConfigError, match="views:"):
        xarb.query(run.folder, "SELECT * FROM nothing")


def test_a_page_is_written_and_its_key_figures_come_back(run: api.Run, tmp_path: Path) -> None:
    """One column for the run; the PnL is the one that the run printed."""
    found = api.report(run.folder, tmp_path / "page.html", trades=1)
    assert found.ok
    assert (tmp_path / "page.html").read_text().startswith("<!doctype html>")
    told = dict(found.key_figures.iter_rows())
    assert [Decimal(told["trading PnL, USDT"])] == run.trading_pnl["last"].to_list()


def test_questions_give_what_the_command_gives(run: xarb.Run) -> None:
    """Each number is the one that JSON has; times are times."""
    found = xarb.at(run.folder, 5_000, markets=["BTC/USDT@bravo"], depth=3)
    words = ["at", str(run.folder), "--seq", "5000", "--market", "BTC/USDT@bravo", "--depth", "3", "--format", "json"]
    printed = json.loads(CliRunner().invoke(app, words).stdout)
    assert list(found) == list(printed)
    for key, rows in printed.items():
        assert found[key].height == len(rows)
    (feed,), (shown,) = found.feeds.to_dicts(), printed["feeds"]
    assert feed["bid"] == Decimal(shown["bid"])
    assert found.feeds.schema["confirmed"] == pl.Datetime("ns")
    assert feed["confirmed"].isoformat()[:23] == shown["confirmed"][:23]
    assert (feed["tradable"], feed["bid_seq"]) == (shown["tradable"], shown["bid_seq"])
    assert xarb.why(run.folder, 1).commands["order"].to_list() == [1]
    again = shutil.copytree(run.folder, run.folder.with_name("again"))
    assert xarb.diff(run.folder, again).ok
    with pytest.raises(AttributeError, match="no table is called 'trades'; there are moment"):
        _ = found.trades


def test_check_and_status_have_their_verdict(tmp_path: Path) -> None:
    """As their exit codes do."""
    assert xarb.check(EXPERIMENT).ok
    assert not xarb.check(EXPERIMENT, settings={"strategies.eager.max_open_bundles": 0}).ok
    player = Player(tmp_path / "log")
    player.play(list(recorded(0, 1_000)))
    player.end()
    found = xarb.status(tmp_path / "log")
    assert not found.ok
    assert found.status.height > 3


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["1", "-2", None], pl.Decimal(38, 0)),
        (["1.5", "-", "0.25"], pl.Decimal(38, 2)),
        (["1", "x"], pl.String()),
        (["9" * 30 + "." + "1" * 12, "1"], pl.String()),
        ([1, None], pl.Int64()),
        ([True, False], pl.Boolean()),
        ([1, "x"], pl.String()),
        (["2026-01-05T23:45:08.627798923Z", "-"], pl.Datetime("ns")),
        ([], pl.Null()),
    ],
)
def test_a_column_has_the_type_of_all_its_cells(values: list[object], kind: pl.DataType) -> None:
    """Numbers exact, times to the nanosecond, else text; ids are never numbers."""
    made = api._series("column", values)
    assert made.dtype == kind
    assert len(made) == len(values)
    if kind == pl.Datetime("ns"):
        assert made.dt.timestamp("ns")[0] == 1_767_656_708_627_798_923
    assert api._series("fill_id", ["12", "13"]).dtype == pl.String


def test_values_of_settings_are_written_as_toml() -> None:
    """Texts with quotes, lists, tables, floats without an exponent."""
    found = api._overrides({"a": 'say "x"\\', "b": [1, True], "c": {"BTC": Decimal("1e-8")}, "d": 1e-7})
    assert found == {"a": '"say \\"x\\"\\\\"', "b": "[1, true]", "c": '{ "BTC" = 0.00000001 }', "d": "0.0000001"}


def test_no_module_hides_a_verb() -> None:
    """Importing a module of the package puts it there by its name: none may be called as a verb is."""
    modules = {one.name for one in pkgutil.iter_modules(xarb.__path__)}
    assert not modules & set(xarb.__all__)
    assert set(xarb.__all__) <= set(dir(xarb))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = xarb.nothing
