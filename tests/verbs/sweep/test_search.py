"""Whole sweeps of small markets: equal to backtests, equal however they were done, going on where they were ended."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import xarb
from tests.trial import Rows, Trial, gap, head, quiet, steady, usual
from xarb.config import load_experiment
from xarb.errors import ConfigError, LogError, Refused
from xarb.sql import TRIALS, open_query
from xarb.verbs.backtest import backtest
from xarb.verbs.new import new_strategy
from xarb.verbs.sweep import Found, Hands, Plan, sweep, tables
from xarb.verbs.sweep.journal import NAME

ROOT = Path(__file__).resolve().parents[3]
MORE = """
[sweep]
period_s = 1
[sweep.parameters.strategies.cross]
max_notional_quote = [5, 50]
cool_down_ms = { low = 0, high = 200, step = 200 }
"""


def made(folder: Path, rows: Rows | None = None, more: str = MORE) -> Path:
    """An experiment with a sweep over a market of four seconds."""
    trial = Trial(folder)
    return trial.experiment(trial.log(usual() if rows is None else rows), more=more)


def late(by: int) -> Rows:
    """Two gaps before the last second and one in it, of `by` cents."""
    calm = [(at, row) for at, row in steady(4000) if not (500 <= at < 1000 or 3200 <= at < 3600)]
    return [*head(), *calm, *gap(500, 1000, by=40), *gap(3200, 3600, by=by)]


def swept(experiment: Path, out: str, *, workers: int = 1, resume: bool = False, **settings: str) -> Found:
    """The sweep of an experiment, in a folder beside it."""
    plan = Plan(experiment, {f"sweep.{key}": value for key, value in settings.items()})
    return sweep(plan, out=experiment.parent / out, resume=resume, hands=Hands(workers), advance=quiet)


def test_each_trial_is_the_backtest_of_its_settings(tmp_path: Path) -> None:
    """Its digest is that of a run with the same keys set, and its figures are those that the run prints; windows are run.start and run.end."""
    experiment = made(tmp_path, late(90))
    for windows in ("0", "2"):
        found = swept(experiment, f"sweep{windows}", windows=windows)
        assert len(found.rows) == 4 + (windows == "2")
        for row in (found.rows[0], found.rows[2], found.rows[-1]):
            settings = {**row.settings, **row.window}
            assert settings.keys() - row.settings.keys() == {"all": set(), "in": {"run.end"}, "out": {"run.start"}}[row.sample]
            result = backtest(
                load_experiment(experiment, settings), out=tmp_path / f"run{windows}{row.trial}{row.sample}", advance=quiet
            )
            assert row.outcome.digest == result.digest
            line = result.summary.line("cross")
            assert (f"{row.outcome.orders}", f"{row.outcome.trading_pnl:f} USDT") == (line.orders, line.pnl)
            assert row.outcome.orders
    assert len({row.outcome.digest for row in found.rows}) > 3


@pytest.mark.parametrize(("name", "settings"), [("dex_dex", {}), ("triangular", {"run.end": '"2026-01-05T23:45:40Z"'})])
def test_every_kind_of_input_is_the_same_in_shared_memory(tmp_path: Path, name: str, settings: dict[str, str]) -> None:
    """Books, deltas, trades, marks and blocks of shipped recordings: a trial has the digest of its backtest."""
    path = ROOT / "experiments" / f"{name}.toml"
    key = f"strategies.{min(load_experiment(path).strategies)}.min_profit_bps"
    plan = Plan(path, settings | {"sweep.parameters": f'{{ "{key}" = [1] }}'})
    (row,) = sweep(plan, out=tmp_path / "sweep", hands=Hands(1), advance=quiet).rows
    assert row.outcome.orders
    assert row.outcome.digest == backtest(load_experiment(path, settings | {key: "1"}), out=tmp_path / "run", advance=quiet).digest


def test_the_table_is_the_same_however_many_processes_made_it(tmp_path: Path) -> None:
    """Byte for byte; and `xarb query` reads it, parameters and figures as columns."""
    experiment = made(tmp_path)
    for workers in (1, 3):
        swept(experiment, f"by{workers}", workers=workers, method="random", trials="12", windows="2")
    assert (tmp_path / "by1" / TRIALS).read_bytes() == (tmp_path / "by3" / TRIALS).read_bytes()
    with open_query([tmp_path / "by1", tmp_path / "log"]) as query:
        sql = 'SELECT sample, count(*), count(*) FILTER (chosen), typeof(any_value("strategies.cross.cool_down_ms")) FROM trials GROUP BY 1 ORDER BY 1'
        assert list(query.run(sql).rows()) == [("in", 12, 1, "BIGINT"), ("out", 1, 1, "BIGINT")]
        assert "trials" in query.views
    with open_query([tmp_path / "by1", tmp_path / "by3"]) as query:
        assert list(query.run("SELECT sweep, count(*) FROM trials GROUP BY 1 ORDER BY 1").rows()) == [("by1", 13), ("by3", 13)]
        assert list(query.run("SELECT * FROM logs").rows()) == []


def test_a_sweep_goes_on_where_it_was_ended(tmp_path: Path) -> None:
    """Finished runs are not done again, a line cut short is no finished run, the table is the same; more trials may follow."""
    experiment = made(tmp_path)
    whole = swept(experiment, "whole", method="random", trials="6")
    lines = (tmp_path / "whole" / NAME).read_bytes().splitlines(keepends=True)
    distinct = len(lines) - 1
    half = tmp_path / "half"
    half.mkdir()
    (half / NAME).write_bytes(b"".join(lines[:3]) + lines[3][:40])
    with pytest.raises(ConfigError, match="go on with it by --resume"):
        swept(experiment, "half", method="random", trials="6")
    again = swept(experiment, "half", resume=True, method="random", trials="6")
    assert (whole.again, again.again) == (0, 2)
    assert (half / TRIALS).read_bytes() == (tmp_path / "whole" / TRIALS).read_bytes()
    assert len((half / NAME).read_bytes().splitlines()) == distinct + 1
    more = swept(experiment, "half", resume=True, method="random", trials="8")
    assert more.again == distinct
    assert [row.outcome for row in more.rows[:6]] == [row.outcome for row in whole.rows]
    for key, value in (("seed", "2"), ("goal", '"sharpe"'), ("method", '"grid"')):
        with pytest.raises(ConfigError, match="is a sweep with another search"):
            sweep(
                Plan(experiment, {"sweep.method": '"random"', f"sweep.{key}": value}),
                out=half,
                resume=True,
                hands=Hands(1),
                advance=quiet,
            )
    (half / NAME).write_bytes(lines[0] + b"{}\n")
    with pytest.raises(LogError, match="is damaged"):
        swept(experiment, "half", resume=True, method="random")


def test_a_full_disk_ends_it_and_it_goes_on(tmp_path: Path) -> None:
    """What cannot be kept ends the sweep in words, whether a line is refused or cut; the rest is done when there is room again."""
    experiment = made(tmp_path)
    whole = swept(experiment, "whole")
    bound = len((tmp_path / "whole" / NAME).read_bytes()) // 2
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (bound, before[1]))
        with pytest.raises((LogError, Refused), match=r"cannot be written|do not fit on its disk"):
            swept(experiment, "full")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    again = swept(experiment, "full", resume=True)
    assert [row.outcome for row in again.rows] == [row.outcome for row in whole.rows]


def test_ended_in_any_way_it_goes_on(tmp_path: Path) -> None:
    """SIGKILL of the command while its processes work, then Ctrl-C: finished runs stay, nobody and no decoded data are left behind."""
    experiment = made(tmp_path, more=MORE.replace("200 }", "2 }"))  # 101 times 2 runs
    command = [sys.executable, "-m", "xarb", "sweep", str(experiment), "--out", str(tmp_path / "sweep"), "--workers", "2"]
    journal = tmp_path / "sweep" / NAME
    lines: list[bytes] = []
    for end, code, words in (
        (signal.SIGKILL, -signal.SIGKILL, ""),
        (signal.SIGINT, 130, "interrupted; finished runs are kept; go on with --resume"),
    ):
        kept = len(lines)
        with subprocess.Popen(command, cwd=ROOT, start_new_session=True, stderr=subprocess.PIPE, text=True) as process:
            deadline = time.monotonic() + 60
            while not (journal.exists() and journal.read_bytes().count(b"\n") > kept + 5):
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.01)  # no event of another process can be awaited here
            if end == signal.SIGINT:
                os.killpg(process.pid, end)  # as a terminal does
            else:
                process.kill()
            _, said = process.communicate(timeout=60)
        assert (process.returncode, words in said, "Traceback" in said) == (code, True, False), said
        _until_gone(process.pid, deadline)
        assert [path.name for path in journal.parent.iterdir()] == [NAME]
        now = [line for line in journal.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
        assert now[:kept] == lines
        assert kept + 5 < len(now) < 202
        assert len({line.partition(b'"outcome"')[0] for line in now}) == len(now), "a finished run was done again"
        lines, command = now, [*command, "--resume"]


def _until_gone(group: int, deadline: float) -> None:
    """Processes of that group end by themselves when the one that held their lines is gone."""
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.01)  # no event of another process can be awaited here
    raise AssertionError("a process of the sweep is still there")


def test_what_fails_is_told_in_its_row(tmp_path: Path) -> None:
    """A trial whose config does not stand beside the others' values fails alone, by the config's own words."""
    ends = '"venues.alpha.order_latency.uniform_ms.0" = [10, 40]\n"venues.alpha.order_latency.uniform_ms.1" = [30, 60.5]\n'
    plan = Plan(made(tmp_path, more=f"[sweep.parameters]\n{ends}"), {"venues.alpha.order_latency": "{ uniform_ms = [30, 40] }"})
    found = sweep(plan, out=tmp_path / "sweep", hands=Hands(1), advance=quiet)
    errors = {tuple(row.settings.values()): row.outcome.error for row in found.rows}
    assert [key for key, error in errors.items() if error] == [("40", "30")]
    assert "ConfigError" in str(errors["40", "30"])
    assert "40000000 to 30000000 is not an ascending range" in str(errors["40", "30"])
    frame = pl.read_parquet(tmp_path / "sweep" / TRIALS)
    assert frame.filter(pl.col("error").is_not_null()).select("trading_pnl", "digest").row(0) == (None, None)
    assert (
        f"{frame['venues.alpha.order_latency.uniform_ms.1'].to_list()}"
        == "[Decimal('30.0'), Decimal('60.5'), Decimal('30.0'), Decimal('60.5')]"
    )
    assert len(tables(found)[1].rows) == 3, "the best are those that have a figure"


def deadly(folder: Path) -> Path:
    """A sweep of a strategy of the user's own that ends its process at size 7 and raises at size 5."""
    new_strategy("taker", folder / "mine")
    code = folder / "taker.py"
    deadly = "        if self._params.size == 7:\n            os.kill(os.getpid(), 9)\n        1 / (5 - self._params.size)\n"
    text = (folder / "mine" / "taker.py").read_text().replace("        edge = wake.edge\n", f"{deadly}        edge = wake.edge\n")
    code.write_text(text.replace("import msgspec\n", "import os\n\nimport msgspec\n", 1))
    more = '[strategies.taker]\nkind = "custom"\ncode = "taker.py"\nmin_profit_bps = 1\nmin_profit_quote = 0\nmax_notional_quote = 10\n[sweep.parameters]\n"strategies.taker.params.size" = [0.01, 7, 5, 0.02]\n'
    return made(folder, more=more)


def test_a_process_that_dies_costs_its_trial_alone(tmp_path: Path) -> None:
    """It is tried once more; what a strategy of the user's own raises is told with its place; other trials are as they would be."""
    found = swept(deadly(tmp_path), "sweep", workers=2)
    errors = [row.outcome.error for row in found.rows]
    assert errors[1] == "its process was ended by SIGKILL, 2 times"
    assert "taker.py line" in str(errors[2])
    assert (errors[0], errors[3]) == (None, None)
    assert found.rows[0].outcome.digest != found.rows[3].outcome.digest


@pytest.mark.parametrize("key", ["open_bsp", "kind"])
def test_a_value_that_never_stands_is_refused_before_anything_runs(tmp_path: Path, key: str) -> None:
    """By the config's own words, with nothing left behind."""
    experiment = made(tmp_path, more=f'[sweep.parameters]\n"strategies.cross.{key}" = ["macro"]\n')
    with pytest.raises(ConfigError, match=r"unknown key strategies\.cross\.open_bsp|kind = macro: allowed: micro"):
        swept(experiment, "sweep")
    assert not (tmp_path / "sweep").exists()


def test_choices_do_not_look_ahead(tmp_path: Path) -> None:
    """Whatever the window that judges holds, choices before it and their figures are the same; what it says of them is not."""
    seen: list[Any] = []
    for name, by in (("one", 90), ("other", -90)):
        (tmp_path / name).mkdir()
        found = swept(made(tmp_path / name, late(by)), "sweep", windows="4", train="3")
        inside = [row._replace(outcome=None) for row in found.rows if row.sample == "in"]  # type: ignore[arg-type]  # compared apart
        figures = [row.outcome for row in found.rows if row.sample == "in"]
        digests = [one.digest for one in figures]
        outside = [row.outcome for row in found.rows if row.sample == "out"]
        seen.append((inside, [(one.orders, one.trading_pnl, one.sharpe) for one in figures], digests, outside))
        assert outside[0].orders
        assert len(set(digests)) > 2
    assert seen[0][:2] == seen[1][:2]
    assert seen[0][3] != seen[1][3]


def test_splits_roll_or_are_anchored(tmp_path: Path) -> None:
    """Rolling, settings are chosen in the last `train` windows; anchored, in all before; too few windows are refused."""
    experiment = made(tmp_path)
    for anchored, counts in (("false", (2, 2)), ("true", (2, 3))):
        found = swept(experiment, f"sweep-{anchored}", windows="4", train="2", anchored=anchored)
        assert [split.choose.windows for split in found.splits] == list(counts)
        ends = [(row.begin, row.end) for row in found.rows if row.sample == "out"]
        starts = {row.end for row in found.rows if row.sample == "in"}
        assert all(end < begin for end, (begin, _) in zip(sorted(starts), ends, strict=True))
    with pytest.raises(ConfigError, match=r"sweep\.windows = 2: one more than sweep\.train = 2"):
        swept(experiment, "few", windows="2", train="2")


def test_goal_currency_and_period_decide_what_they_say(tmp_path: Path) -> None:
    """The best is that of the goal; figures are in the currency; a longer period gives fewer observations."""
    experiment = made(tmp_path)
    for goal in ("trading_pnl", "sharpe"):
        found = swept(experiment, goal, goal=f'"{goal}"')
        values = [getattr(row.outcome, goal) for row in found.rows]
        assert [row.is_chosen for row in found.rows].index(True) == values.index(max(values))
    assert {row.outcome.observations for row in found.rows} == {4}
    longer = swept(experiment, "longer", period_s="2")
    assert {row.outcome.observations for row in longer.rows} == {2}
    strange = swept(experiment, "strange", currency='"EUR"')
    assert {row.outcome.error for row in strange.rows} == {"ConfigError: sweep.currency = EUR: profit is stated in USDT"}


def test_python_has_it_too(tmp_path: Path) -> None:
    """A frame with a row for each run; what is tried may be given there; the Sharpe ratio is the one that a report shows of the run."""
    experiment = made(tmp_path, late(90))
    tried = {"sweep.parameters": {"strategies.cross.max_notional_quote": [5, 10.5]}, "sweep.period_s": 0}
    found = xarb.sweep(experiment, out=tmp_path / "sweep", hands=xarb.Hands(1), settings=tried)
    assert found.trials["strategies.cross.max_notional_quote"].to_list() == [Decimal(5), Decimal("10.5")]
    assert found.trials["trading_pnl"].dtype == pl.Decimal(38, 18)
    assert found.sweep["value"].to_list()[1] == "2"
    run = xarb.backtest(experiment, out=tmp_path / "run", settings={"strategies.cross.max_notional_quote": 5})
    assert run.digest == found.trials["digest"][0]
    told = dict(xarb.report(run.folder, tmp_path / "page.html", trades=0).key_figures.iter_rows())
    assert (
        told["Sharpe ratio, a period, USDT"]
        == f"{found.trials['sharpe'][0]:.4f} ({found.trials['observations'][0]} changes, one a second)"
    )
    with pytest.raises(ConfigError, match="0 workers: at least one is needed"):
        xarb.sweep(experiment, out=tmp_path / "none", hands=xarb.Hands(0))
