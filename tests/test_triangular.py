"""A triangular strategy from its config on: backtest, check, summary, why, proof."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest

from tests.trial import Run, Trial, head, quiet, tick
from xarb.assembly.resolved import resolve_recorded
from xarb.config import load_experiment
from xarb.errors import ConfigError
from xarb.live.cautions import tell_of_cycles
from xarb.log.reader import LogReader
from xarb.verbs.check import check
from xarb.verbs.verify import verify
from xarb.verbs.why import Question, why

SYMBOLS: Final = ("BTC/USDT", "ETH/BTC", "ETH/USDT")
ROUND: Final = """[strategies.round]
kind = "triangular"
start_assets = ["USDT"]
min_profit_bps = 1
min_profit_quote = 0
max_notional_quote = 1000
"""
_MICRO: Final = ("[strategies.cross]", "kind =", "min_profit", "max_notional")


def rows(until: int = 3000) -> list[tuple[int, Any]]:
    """On alpha BTC at 100, ETH at 0.5 BTC and at 50, but at 51 from the second second on: 2 % in a round."""
    found = head(("alpha",), SYMBOLS)
    for at in range(0, until, 100):
        dear = 5_100 if at >= 1000 else 4_995
        found.append((at, tick("alpha", 9_990, 10_000)))
        found.append((at + 1, tick("alpha", 49, 50, symbol="ETH/BTC")))
        found.append((at + 2, tick("alpha", dear, dear + 10, symbol="ETH/USDT")))
    return found


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Trial:
    """A folder with the log."""
    made = Trial(tmp_path_factory.mktemp("triangular"))
    made.log(rows())
    return made


def experiment(trial: Trial, more: str = ROUND) -> Path:
    """An experiment on it."""
    return trial.experiment(trial.folder / "log", ("alpha",), without=_MICRO, more=more)


def submits(run: Run) -> list[str]:
    """What was sent, in order."""
    return [f"{row['side']} {row['symbol']} {row['qty_int']}" for row in run["commands"] if row["kind"] == "submit"]


def test_a_round_earns_what_it_says(trial: Trial) -> None:
    """1,000 USDT go round as far as the depth of one BTC lets them, all legs fill, and 2 USDT come of each 100."""
    run = trial.run(experiment(trial))
    assert submits(run)[:3] == ["buy BTC/USDT 50000", "buy ETH/BTC 100000", "sell ETH/USDT 100000"]
    gained: dict[str, int] = {}
    for row in run["ledger"]:
        if row["cause"] != "opening":
            gained[row["asset"]] = gained.get(row["asset"], 0) + row["delta"]
    assert {asset: delta for asset, delta in gained.items() if delta} == {"USDT": gained["USDT"]}
    assert gained["USDT"] > 0
    assert {row["state"] for row in run["orders"] if row["state"] in ("filled", "expired", "rejected")} == {"filled"}


def test_each_key_has_its_effect(trial: Trial) -> None:
    """What goes round must be named, so many trades at most are made, and every row is looked at where that is asked for."""
    path = experiment(trial)
    assert submits(trial.run(path))
    with pytest.raises(ConfigError, match=r"start_assets: DOGE is traded on none of its instruments; they trade BTC, ETH, USDT"):
        trial.run(path, {"strategies.round.start_assets": '["DOGE"]'})
    from_btc = trial.run(path, {"strategies.round.start_assets": '["BTC"]'})
    assert {row["legs"].split(", ")[0] for row in from_btc["opportunities"]} == {"buy ETH/BTC@alpha"}
    with pytest.raises(ConfigError, match=r"max_legs = 2"):
        trial.run(path, {"strategies.round.max_legs": "2"})
    at = {every: trial.run(path, {"strategies.round.every_row": every})["commands"][0]["ts"] for every in ("true", "false")}
    assert at["true"] < at["false"]


@pytest.mark.parametrize(
    ("more", "why_not"),
    [
        (ROUND.replace('start_assets = ["USDT"]\n', ""), r"strategies\.round\.start_assets is missing"),
        (ROUND + "improve_bps = 1\n", r"strategies\.round\.improve_bps is of strategies of kind micro, this one is triangular"),
        (ROUND + "scan_ms = 0\n", r"strategies\.round\.scan_ms = 0: without the scan"),
        (ROUND.replace("triangular", "micro"), r"strategies\.round\.start_assets is of strategies of kind triangular"),
    ],
)
def test_keys_of_another_kind_are_refused(trial: Trial, more: str, why_not: str) -> None:
    """By name, as is a key that is missing."""
    with pytest.raises(ConfigError, match=why_not):
        load_experiment(experiment(trial, more))


def test_check_says_what_can_go_round(trial: Trial) -> None:
    """Three instruments; without one of them nothing goes round, and without money on one it is named."""
    found = check(load_experiment(experiment(trial)), log=None)
    assert (found.pairs, found.blocked, found.idle) == (3, 0, ())
    found = check(load_experiment(experiment(trial), {"strategies.round.symbols": '["BTC/USDT", "ETH/BTC"]'}), log=None)
    assert found.idle == ("round",)
    off = check(load_experiment(experiment(trial), {"strategies.round.max_open_bundles": "0"}), log=None)
    assert (off.blocked, off.idle) == (3, ("round",))


def test_what_a_search_may_leave_out_is_said_by_check_and_at_a_start(
    trial: Trial, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two cycles where one is looked at: a table, and a line with a reading; nothing is said where all are looked at."""
    made = load_experiment(experiment(trial))
    assert "Cycles that are left out" not in {table.title for table in check(made, log=None).tables}
    for module in ("xarb.strategies.cycles", "xarb.assembly.rounds"):
        monkeypatch.setattr(f"{module}.MAX_FOUND", 1)
    warning = "round: of the cycles through USDT that earn, a search looks at 1; 1 more may earn at once"
    [table] = [table for table in check(made, log=None).tables if table.title == "Cycles that are left out"]
    assert table.rows == ((warning,),)
    told: list[tuple[Any, ...]] = []

    class Told:
        def health(self, *reading: Any) -> None:
            told.append(reading)

    with LogReader(trial.folder / "log") as reader:
        tell_of_cycles(resolve_recorded(made, reader), reader.instruments, Told())  # type: ignore[arg-type]
    assert told == [("cycles_left_out", 1, None, warning)]
    assert warning in capsys.readouterr().err


def test_its_orders_are_explained_and_proven(trial: Trial) -> None:
    """`why` names the trades, the rows and what the strategy saw; `verify` decides the same again."""
    trial.run(experiment(trial))
    run = trial.folder / f"run{trial.runs}"
    assert verify(run, log=None, advance=quiet).equal
    sections = {section.key: section for section in why(run, Question(order="1", opportunity=None, start=None))}
    shown = sections["opportunity"]
    assert "legs" in shown.columns
    assert "buy BTC/USDT@alpha, buy ETH/BTC@alpha, sell ETH/USDT@alpha" in shown.rows[0]
    assert len(sections["evidence"].rows) >= 3
    assert why(run, Question(order=None, opportunity=1, start=None))
