"""Strategies of the user's own: written by `xarb new`, run, proven, refused where their code is not the one; and what they raise."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.live.player import Player, recorded
from tests.trial import quiet
from xarb.assembly import code
from xarb.cli import app
from xarb.config import load_experiment
from xarb.errors import ConfigError, Refused, StrategyFailed
from xarb.log.reader import LogReader
from xarb.verbs.at import at
from xarb.verbs.backtest import backtest
from xarb.verbs.check import check
from xarb.verbs.new import new_strategy
from xarb.verbs.verify import verify


@pytest.fixture(autouse=True)
def nothing_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test begins as a process does: no code may run yet."""
    monkeypatch.setattr(code, "_files", {})


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """The folder with a new strategy."""
    new_strategy("gap_taker", tmp_path / "mine")
    return tmp_path / "mine"


def run_of(mine: Path, changes: dict[str, str] | None = None) -> Path:
    """A backtest of it."""
    return backtest(load_experiment(mine / "gap_taker.toml", changes), out=mine / "run", advance=quiet).folder


def sizes(run: Path) -> set[float]:
    """The sizes of its orders that open bundles."""
    with LogReader(run) as reader:
        rows = [row for _, row in reader.outputs(kinds=("commands",)) if (row["kind"], row["purpose"]) == ("submit", "open")]
    return {row["qty_int"] / 10 ** row["qty_scale"] for row in rows}


def put(mine: Path, old: str, new: str) -> None:
    """Change the code."""
    path = mine / "gap_taker.py"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_a_new_strategy_runs_as_it_is_written(mine: Path) -> None:
    """Check, backtest, proof, a look back; and the test that was written with it passes."""
    experiment = load_experiment(mine / "gap_taker.toml")
    found = check(experiment, log=None)
    assert (found.pairs, found.blocked, found.idle) == (2, 0, ())
    run = run_of(mine)
    assert sizes(run) == {0.02}
    assert verify(run, advance=quiet).equal
    assert at(run, 50_000, advance=quiet)
    sys.path.insert(0, str(mine))
    try:
        import test_gap_taker  # type: ignore[import-not-found]  # written just now

        test_gap_taker.test_it_trades_and_is_proven(mine / "again")
    finally:
        sys.path.remove(str(mine))


def test_what_only_a_log_names_is_not_run(mine: Path) -> None:
    """Not even where the file lies beside it; named by the user it is, and changed it is not."""
    run = run_of(mine)
    code._files.clear()
    with pytest.raises(Refused, match=r"decided by code of gap_taker\.py .*name the file with --code"):
        verify(run, advance=quiet)
    runner = CliRunner()
    assert runner.invoke(app, ["verify", str(run), "--code", str(mine / "gap_taker.py")]).exit_code == 0
    code._files.clear()
    put(mine, "taken += 1", "taken += 2")
    refused = runner.invoke(app, ["verify", str(run), "--code", str(mine / "gap_taker.py")])
    assert isinstance(refused.exception, Refused)


def test_other_code_than_the_config_pins_is_refused(mine: Path) -> None:
    """Before anything of it runs."""
    digest = code.allow(mine / "gap_taker.py")
    pin = {"strategies.gap_taker.code_sha256": f'"{digest}"'}
    assert run_of(mine, pin)
    put(mine, '"""', 'raise SystemExit\n"""')
    with pytest.raises(ConfigError, match=rf"code_sha256 is {digest}, but gap_taker.py has the digest .*: it was changed"):
        run_of(mine, pin)


def test_params_are_what_it_is_given(mine: Path) -> None:
    """As numbers or text; unknown ones and wrong ones are refused by name."""
    for params, size in (("{ size = 0.05 }", 0.05), ('{ size = "0.03" }', 0.03)):
        assert sizes(run_of(mine, {"strategies.gap_taker.params": params})) == {size}
        shutil.rmtree(mine / "run")
    for params, part in (("{ sise = 1 }", "unknown field `sise`"), ('{ size = "big" }', "size")):
        with pytest.raises(ConfigError, match=rf"strategies\.gap_taker\.params: .*{part}"):
            run_of(mine, {"strategies.gap_taker.params": params})


@pytest.mark.parametrize(
    ("old", "new", "part"),
    [
        ("def strategy(given", "def strateg(given", r"gap_taker\.py has no function strategy\(given\)"),
        ("given.name, given.account", '"x", given.account', "the strategy's id is 'x', it must be the given name 'gap_taker'"),
        ("self.state = State()", "self.state = {}", r"state must be a msgspec\.Struct"),
        ("    def wakes(self)", "    def wake(self)", "has no wakes"),
        ("class State(", "class State(()", r"gap_taker\.py line \d+: SyntaxError"),
        ("class State(", "1 / 0\nclass State(", r"gap_taker\.py line \d+: ZeroDivisionError"),
        ("self.state = State()", "self.state = States()", r"gap_taker\.py line \d+: NameError"),
    ],
)
def test_code_that_makes_no_strategy_is_refused_with_its_place(mine: Path, old: str, new: str, part: str) -> None:
    """Wrong use, not a traceback."""
    put(mine, old, new)
    with pytest.raises(ConfigError, match=part):
        run_of(mine)


def test_what_it_raises_ends_the_run_with_its_place(mine: Path) -> None:
    """And the command says so in a line, with exit code 1."""
    put(mine, "pair = self._pairs[edge.pair]", "pair = self._pairs[10_000]")
    with pytest.raises(StrategyFailed, match=r"strategies\.gap_taker: .*gap_taker\.py line \d+: IndexError") as found:
        run_of(mine)
    assert found.value.exit_code == 1
    assert not (mine / "run" / "manifest.jsonl").exists()


def test_it_trades_on_a_live_log_and_is_proven_there(mine: Path, tmp_path: Path) -> None:
    """On paper, beside strategies of ours."""
    changes = {
        "strategies.gap_taker": '{ kind = "custom", code = "'
        + str(mine / "gap_taker.py")
        + '", venues = ["alpha", "bravo"], symbols = ["BTC/USDT"], open_bps = 1, min_profit_bps = 1, min_profit_quote = 0.05, '
        "max_notional_quote = 5000 }"
    }
    player = Player(tmp_path / "log", changes=changes)
    player.play(list(recorded(0, 4_000)))
    player.end()
    with LogReader(tmp_path / "log") as reader:
        mine_sent = [row for _, row in reader.outputs(kinds=("opportunities",)) if row["strategy"] == "gap_taker"]
        config = json.loads(next(reader.rows("starts"))["config"])
    assert mine_sent
    assert len(config["strategies"]["gap_taker"]["code_sha256"]) == 64
    assert verify(tmp_path / "log", advance=quiet).equal


def test_an_installed_package_offers_one(mine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the name of its entry point; another version of it is not the code that decided."""
    site = tmp_path / "site"
    (site / "own_pack").mkdir(parents=True)
    (site / "own_pack" / "__init__.py").write_text("")
    module = site / "own_pack" / "gap.py"
    module.write_text((mine / "gap_taker.py").read_text())
    info = site / "own_pack-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: own-pack\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[xarb.strategies]\ngap = own_pack.gap\n")
    monkeypatch.syspath_prepend(str(site))
    run = run_of(mine, {"strategies.gap_taker.code": '"gap"'})
    assert verify(run, advance=quiet).equal
    module.write_text(module.read_text() + "\n")
    with pytest.raises(Refused, match="the installed gap is not the code that decided"):
        verify(run, advance=quiet)
    with pytest.raises(ConfigError, match="no installed strategy gone: packages offer gap"):
        run_of(mine, {"strategies.gap_taker.code": '"gone"'})


def test_a_new_strategy_overwrites_nothing_and_needs_a_name(mine: Path, tmp_path: Path) -> None:
    """All files or none."""
    with pytest.raises(ConfigError, match=r"gap_taker\.py.*there already"):
        new_strategy("gap_taker", mine)
    for name in ("Gap", "9gap", "gap-taker", "", "class", "../gap", "gäp"):
        with pytest.raises(ConfigError, match="a strategy's name is made of"):
            new_strategy(name, tmp_path / "other")
    assert not (tmp_path / "other").exists()
    path = mine / "gap_taker.toml"
    text = path.read_text()
    path.write_text(text.replace('code = "gap_taker.py"', ""))
    with pytest.raises(ConfigError, match=r"strategies\.gap_taker\.code is missing"):
        load_experiment(path)
    path.write_text(text.replace("gap_taker.py", "none.py"))
    with pytest.raises(ConfigError, match=r"none\.py: cannot be read"):
        run_of(mine)
