"""Why an order was sent: the chain back to the market events, and the state that the strategy saw."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.live.player import EXPERIMENT, Player, recorded
from tests.trial import Trial, quiet, steady, usual
from xarb.cli import app
from xarb.config import load_experiment
from xarb.engine.strategy import BundlePlan, Pass
from xarb.errors import ConfigError, Refused
from xarb.inquiry.decided import open_decided
from xarb.inquiry.moment import Wanted, witness
from xarb.inquiry.sections import as_json
from xarb.log.manifest import Manifest
from xarb.log.prune import prune
from xarb.log.reader import LogReader
from xarb.model.units import parse_money
from xarb.verbs.backtest import backtest
from xarb.verbs.why import Question, why

ROWS = 2_500  # of the quickstart: orders, hedges and refusals are among what is decided on them


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A live log on paper with two starts; the second one's orders count from 1 again."""
    folder = tmp_path_factory.mktemp("why") / "live"
    for at, count, seed in ((0, ROWS, 1), (ROWS, 3_500, 2)):  # the second one's books start empty
        player = Player(folder, seed=seed)
        player.play(list(recorded(at, count)))
        player.end()
    return folder


@pytest.fixture(scope="module")
def run(live: Path) -> Path:
    """A backtest of the live log."""
    return backtest(load_experiment(EXPERIMENT), log=live, out=live.parent / "run", advance=quiet).folder


def told(folder: Path, order: str | None = None, **more: Any) -> dict[str, list[dict[str, Any]]]:
    """The answer as JSON gives it."""
    log = more.pop("log", None)
    question = Question(order, more.get("opportunity"), more.get("start"))
    found: dict[str, list[dict[str, Any]]] = json.loads(as_json(why(folder, question, log=log)))
    return found


def outputs(folder: Path, kind: str) -> list[dict[str, Any]]:
    """The output rows of a kind."""
    with LogReader(folder) as reader:
        return [row for _, row in reader.outputs(kinds=(kind,))]


def test_every_order_of_a_run_leads_back_to_the_rows_that_set_its_prices(run: Path, live: Path) -> None:
    """The quotes that the strategy saw are those that the opportunity names, and the evidence has them with their age."""
    with LogReader(live) as reader:
        received: dict[int, int] = {}
        for batch in reader.batches():
            for block in (batch.quotes, batch.deltas, batch.books):
                received |= dict(zip(block.seq.tolist(), block.ts_recv.tolist(), strict=True))
    decided = {row["bundle"]: row for row in outputs(run, "opportunities") if row["bundle"] is not None}
    orders = [row for row in outputs(run, "commands") if row["kind"] == "submit"]
    assert len(orders) > 10
    for order in orders[:8]:
        found, decision = told(run, str(order["order"])), decided[order["bundle"]]
        shown = {row["symbol"] + "@" + row["venue"]: row for row in found["decision_instruments"]}
        sell = shown[f"{decision['sell_symbol']}@{decision['sell_venue']}"]
        buy = shown[f"{decision['buy_symbol']}@{decision['buy_venue']}"]
        assert (sell["bid_seq"], buy["ask_seq"]) == (decision["sell_seq"], decision["buy_seq"])
        ages = {row["seq"]: row["age_ms"] for row in found["evidence"]}
        for seq in (decision["sell_seq"], decision["buy_seq"]):
            assert parse_money(ages[seq]) == (decision["ts"] - received[seq]) * 10**12
        assert [row["price"] for row in found["commands"] if row["kind"] == "submit"] == [
            row["price"] for row in found["bundle"] if row["order"] == order["order"] and row["kind"] == "submit"
        ]


def test_the_order_asks_for_what_was_planned_at_what_was_seen(run: Path) -> None:
    """A planned order is one of the legs that the strategy asked for, at a level that it saw, with the money that it saw as free."""
    found = told(run, "1")
    order = found["commands"][0]
    leg = next(row for row in found["decision_plan"] if row["venue"] == order["venue"])
    assert (leg["side"], leg["price"], leg["qty"]) == (order["side"], order["price"], order["qty"])
    side = "bid" if order["side"] == "sell" else "ask"
    assert order["price"] in [row[side] for row in found["decision_levels"] if row["venue"] == order["venue"]]
    base = order["symbol"].split("/")[0]
    opening = next(row for row in outputs(run, "ledger") if (row["venue"], row["asset"]) == (order["venue"], base))
    free = next(row for row in found["decision_free"] if (row["venue"], row["asset"]) == (order["venue"], base))
    assert parse_money(free["free"]) == opening["balance"]  # nothing was reserved before the first order


def test_a_hedge_is_shown_with_the_decision_and_the_moment_it_was_sent(run: Path) -> None:
    """An order that execution sent by itself has a second moment, later than the decision, in which the strategy was not asked."""
    hedge = next(row for row in outputs(run, "commands") if row["purpose"] == "hedge")
    found = told(run, str(hedge["order"]))
    sending = {row["what"]: row["value"] for row in found["sending"]}
    decision = {row["what"]: row["value"] for row in found["decision"]}
    assert sending["last input"] == hedge["after_seq"]
    assert decision["time"] < sending["time"]
    assert "called because of" in decision
    assert "called because of" not in sending
    assert {row["purpose"] for row in found["bundle"]} >= {"open", "hedge"}


def test_what_the_bundle_gained_is_the_sum_of_its_ledger(run: Path) -> None:
    """The result of each asset is the ledger's, trades and fees apart, to the last digit."""
    order = next(row["order"] for row in outputs(run, "fills"))
    found = told(run, str(order))
    mine = {row["order"] for row in found["bundle"]}
    sums: dict[str, int] = {}
    for row in outputs(run, "ledger"):
        if row["order"] in mine:
            sums[row["asset"]] = sums.get(row["asset"], 0) + row["delta"]
    assert {row["asset"]: parse_money(row["sum"]) for row in found["result"]} == sums
    assert all(parse_money(row["trades"]) + parse_money(row["fees"]) == parse_money(row["sum"]) for row in found["result"])
    assert {row["order"] for row in found["reports"]} == mine


def test_a_changed_level_comes_with_its_whole_message(run: Path, live: Path) -> None:
    """Where a price was set by a message of levels, all rows of that message are told: those it rested on first, one of them the last."""
    deltas: dict[int, list[Any]] = {}
    with LogReader(live) as reader:
        for batch in reader.batches():
            columns = (batch.deltas.seq, batch.deltas.inst, batch.deltas.ts_recv, batch.deltas.is_last)
            deltas |= {seq: rest for seq, *rest in zip(*(column.tolist() for column in columns), strict=True)}
    row = next(row for row in outputs(run, "opportunities") if row["bundle"] is not None and row["buy_seq"] in deltas)
    order = next(one["order"] for one in outputs(run, "commands") if one["bundle"] == row["bundle"])
    evidence = [one for one in told(run, str(order))["evidence"] if one["kind"] == "book_deltas" and one["seq"] in deltas]
    mine = [one for one in evidence if deltas[one["seq"]][0] == deltas[row["buy_seq"]][0]]
    seqs = sorted(one["seq"] for one in mine)
    assert len(seqs) > 1
    same = [seq for seq, (inst, *_) in deltas.items() if inst == deltas[row["buy_seq"]][0]]
    before, last = max(seq for seq in same if seq < seqs[0]), deltas[seqs[-1]]
    assert deltas[before][2], "the row before the message ends another one"
    assert last[2], "the message is told up to its end"
    assert seqs == [seq for seq in same if seqs[0] <= seq <= seqs[-1]]
    assert not any(deltas[seq][2] for seq in seqs[:-1])
    assert mine[0]["is"] != "of the same message"


def test_legs_released_by_the_first_fill_are_told_apart(run: Path) -> None:
    """In `hard_leg_first` only the first leg is the decision's; the other was sent by execution when that was filled, or never."""
    decided = {
        row["bundle"]: row["ts"]
        for row in outputs(run, "opportunities")
        if row["strategy"] == "patient" and row["bundle"] is not None
    }
    orders = [row for row in outputs(run, "commands") if row["bundle"] in decided and row["kind"] == "submit"]
    assert orders
    for order in orders[:3]:
        found = told(run, str(order["order"]))
        assert ("sending" in found) == (order["ts"] != decided[order["bundle"]])
        assert {row["what"]: row["value"] for row in found["decision"]}["sequence"] == "hard_leg_first"
        assert len(found["decision_plan"]) == 2


def test_a_refused_opportunity_says_what_the_strategy_saw_and_why_not(run: Path) -> None:
    """The first refusal is explained: its reason, the rows it rested on, and the plan that the strategy did not make."""
    refused = next(row for row in outputs(run, "opportunities") if row["verdict"] == "refused")
    found = told(run, opportunity=refused["opportunity"])
    first = next(row for row in found["opportunity"] if row["verdict"] == "refused")
    decision = {row["what"]: row["value"] for row in found["decision"]}
    assert decision["passed on because of"] == first["reason"]
    assert first["reason"] in {row["reason"] for row in found["refusals"]}
    assert {row["seq"] for row in found["evidence"]} >= {first["sell_seq"], first["buy_seq"]}


def test_a_start_of_a_live_log_has_orders_of_its_own(live: Path) -> None:
    """A number needs its start, a client order id does not; both starts are explained from their own rows."""
    with pytest.raises(ConfigError, match="starts 1 to 2"):
        told(live, "1")
    first, second = told(live, "1", start=1), told(live, "01234567-2-1")
    assert first["commands"][0]["client_order_id"] == "01234567-1-1"
    assert first["commands"][0]["after_seq"] < second["commands"][0]["after_seq"]
    for found in (first, second):
        head = {row["what"]: row["value"] for row in found["subject"]}
        assert head["armed"].startswith("yes: arm by test")
        assert "came again" in head["state seen"]
    assert told(live, "1", start=2) == second


def test_the_live_start_and_the_backtest_saw_the_same(live: Path, run: Path) -> None:
    """The first order rests on the same market in both, and only the place in the log may differ."""
    mine, theirs = told(live, "1", start=1), told(run, "1")
    for key in ("decision_instruments", "decision_levels", "decision_free", "decision_plan", "evidence", "result"):
        assert mine[key] == theirs[key], key


def test_while_disarmed_the_risk_refuses_and_says_so(tmp_path: Path) -> None:
    """An opportunity of a start that nobody armed was planned by the strategy and refused by risk."""
    player = Player(tmp_path / "log", armed=False)
    player.play(list(recorded(0, 1_300)))
    player.end()
    found = told(tmp_path / "log", opportunity=1)
    head = {row["what"]: row["value"] for row in found["subject"]}
    assert head["armed"] == "no: nobody had armed it"
    assert found["refusals"][0]["reason"] == "disarmed"
    assert found["decision_plan"]


def test_rows_in_the_open_tail_are_told_without_the_state(tmp_path: Path) -> None:
    """While the log is written the chain is there at once; the state waits for the seal, and the answer says so."""
    player = Player(tmp_path / "log")
    player.play(list(recorded(0, 1_300)))
    try:
        found = told(tmp_path / "log", "1")
        assert found["commands"]
        assert any(row["what"] == "state seen" and "open tail" in row["value"] for row in found["subject"])
        assert "decision_levels" not in found
    finally:
        player.end()
    assert "decision_levels" in told(tmp_path / "log", "1")


def test_a_run_whose_replay_decides_otherwise_is_not_explained(tmp_path: Path) -> None:
    """With another log in the place of the run's the chain is refused, not shown with another market's state."""
    trial = Trial(tmp_path)
    log = trial.log(usual())
    made = backtest(load_experiment(trial.experiment(log)), out=tmp_path / "made", advance=quiet).folder
    assert told(made, "1")["decision_levels"]
    other = trial.log([*usual(), *steady(4_500)[-4:]], "other")
    with pytest.raises(Refused, match="not the log"):
        told(made, "1", log=other)
    row = next(row for row in outputs(made, "commands") if row["order"] == 1)
    with open_decided(made) as decided, pytest.raises(Refused, match="does not give the row"):
        witness(decided, Wanted("cross", row["opportunity"], 1, 1, ()), [("commands", row | {"qty_int": row["qty_int"] + 1})])


def test_the_witness_sees_each_decision_in_order(run: Path) -> None:
    """Each decided row of an opportunity has one moment, at its input and its time, with the plan that led to it."""
    rows = outputs(run, "opportunities")
    number = next(row["opportunity"] for row in rows if row["verdict"] == "refused")
    decided_rows = [row for row in rows if row["opportunity"] == number and row["phase"] == "decided"]
    with open_decided(run) as decided:
        wanted = Wanted(decided_rows[0]["strategy"], number, len(decided_rows), None, ())
        seen = witness(decided, wanted, [("opportunities", row) for row in decided_rows])
    assert [(one.after_seq, one.ts) for one in seen.decisions] == [(row["after_seq"], row["ts"]) for row in decided_rows]
    for one, row in zip(seen.decisions, decided_rows, strict=True):
        assert isinstance(one.plan, BundlePlan) or (isinstance(one.plan, Pass) and one.plan.reason == row["reason"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["999"], "there are 1 to"),
        (["01234567-9-9"], "has no order"),
        (["--opportunity", "99999"], "there are 1 to"),
        (["--opportunity", "x"], "must be a whole number"),
        (["1", "--opportunity", "1"], "an order or an opportunity"),
        (["1", "--format", "csv"], "allowed are table, json"),
        (["1", "--start", "7"], "has no start 7"),
        (["1", "--start", "0"], "has no start 0"),
        (["\u00b2"], "has no order"),
        (["9" * 5_000], "has no order"),
        (["--opportunity", "9" * 5_000], "must be a whole number"),
        (["--opportunity", "\u00b2"], "must be a whole number"),
        ([], "an order or an opportunity"),
    ],
)
def test_wrong_use_is_told(run: Path, arguments: list[str], message: str) -> None:
    """Each wrong question is an error that says what is allowed."""
    done = CliRunner().invoke(app, ["why", str(run), *arguments])
    assert isinstance(done.exception, ConfigError)
    assert message in str(done.exception)


def test_command_prints_tables_or_json(run: Path) -> None:
    """A pipe gets tab-separated tables, each under its title, and with --format json one object."""
    plain = CliRunner().invoke(app, ["why", str(run), "1"])
    assert plain.exit_code == 0
    assert "# Why: order 1\n" in plain.stdout
    assert "# What the strategy saw: levels\n" in plain.stdout
    found = json.loads(CliRunner().invoke(app, ["why", str(run), "1", "--format", "json"]).stdout)
    assert found["commands"][0]["order"] == 1


def test_of_a_pruned_log_what_is_left_is_told(live: Path, tmp_path: Path) -> None:
    """Orders, fills and money as before; the rows that went are named, and no state is shown in their place."""
    whole, folder = told(live, "1", start=1), tmp_path / "pruned"
    shutil.copytree(live, folder)
    prune(folder, Manifest(folder).segments[0].last_ts + 1, by="a test")
    found = told(folder, "1", start=1)
    for key in ("commands", "bundle", "opportunity", "reports", "states", "fills", "ledger", "result"):
        assert found[key] == whole[key], key
    assert not any(key.startswith("decision") for key in found)
    (seen,) = (row["value"] for row in found["subject"] if row["what"] == "state seen")
    assert seen.startswith("not shown: ")
    assert "were pruned" in seen
    set_by = [row for row in whole["evidence"] if "set the" in row["is"]]
    assert {row["seq"] for row in found["evidence"]} == {row["seq"] for row in set_by}
    assert {row["content"] for row in found["evidence"]} == {"this row is not in the log any more"}


def test_a_log_without_a_start_has_nothing_to_explain(tmp_path: Path) -> None:
    """A recorded log holds no decisions."""
    log = Trial(tmp_path).log(usual())
    with pytest.raises(ConfigError, match="nothing was decided"):
        told(log, "1")
