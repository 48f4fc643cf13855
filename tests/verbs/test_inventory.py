"""Where money lies and where it should: the report from a run and from a live log, against the ledger's own rows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.live.player import Player, recorded
from tests.log.logs import Placed
from tests.trial import VENUES, Trial, head, tick, usual
from xarb.cli import app
from xarb.config import load_experiment
from xarb.config.inventory import InventoryConfig
from xarb.errors import ConfigError
from xarb.inquiry.sections import as_json
from xarb.log.reader import LogReader
from xarb.starts import LIVE
from xarb.verbs.inventory import inventory_of, inventory_sections
from xarb.verbs.why import Question, why

TARGETS = """
[inventory]
band_bps = 500

[inventory.shares.main.alpha]
BTC = 0.25
USDT = 0.5

[inventory.shares.main.bravo]
BTC = 0.75
USDT = 0.5
"""
OPENING = {
    f"accounts.main.{venue}.{asset}": value for venue in ("alpha", "bravo") for asset, value in (("BTC", "1"), ("USDT", "500"))
}


COST = {"strategies.cross.inventory_cost_bps": "{ BTC = 80 }"}


def told(folder: Path, targets: InventoryConfig | None = None) -> dict[tuple[str, str], dict[str, Any]]:
    """The report's rows by venue and asset."""
    rows = json.loads(as_json(inventory_sections(inventory_of(folder, targets=targets))))["inventory"]
    return {(row["venue"], row["asset"]): row for row in rows}


def ledger(folder: Path) -> list[dict[str, Any]]:
    """The ledger rows of a run."""
    with LogReader(folder) as reader:
        return [dict(row) for kind, row in reader.outputs() if kind == "ledger"]


@pytest.fixture
def run(tmp_path: Path) -> tuple[Trial, Path]:
    """A backtest in which bravo's bitcoin went to alpha."""
    trial = Trial(tmp_path)
    experiment = trial.experiment(trial.log(usual()), more=TARGETS)
    trial.run(experiment, OPENING)
    return trial, tmp_path / "run1"


def test_a_run_tells_balance_target_and_drift(run: tuple[Trial, Path]) -> None:
    """Balances are the ledger's last, targets the shares of their sum, drifts what lies between; worth is at the last mid, 100.05."""
    _, folder = run
    last = {(row["venue"], row["asset"]): row["balance"] for row in ledger(folder)}
    found = told(folder)
    for asset, shares in (("BTC", ("0.25", "0.75")), ("USDT", ("0.5", "0.5"))):
        total = sum(Decimal(last[venue, asset]).scaleb(-18) for venue in ("alpha", "bravo"))
        for venue, share in zip(("alpha", "bravo"), shares, strict=True):
            row = found[venue, asset]
            balance = Decimal(last[venue, asset]).scaleb(-18)
            assert Decimal(row["balance"]) == balance
            assert Decimal(row["target"]) == total * Decimal(share)
            assert Decimal(row["drift"]) == balance - total * Decimal(share)
            assert Decimal(row["band"]) == total * Decimal("0.05")
            price = Decimal("100.05") if asset == "BTC" else 1
            assert Decimal(row["drift_worth"]) == Decimal(row["drift"]) * price
            assert row["currency"] == "USDT"
    assert found["alpha", "BTC"]["verdict"] == "above"
    assert found["bravo", "BTC"]["verdict"] == "below"
    assert Decimal(found["alpha", "BTC"]["balance"]) > 1


def test_a_trade_prices_only_what_no_quote_does(tmp_path: Path) -> None:
    """A last trade far off the mid of ETH changes nothing; SOL, of which there is no quote, is worth its last trade."""
    trial = Trial(tmp_path)
    eth = [(at, tick("alpha", 500, 510, symbol="ETH/USDT")) for at in range(0, 4000, 100)]
    prints = [(3990, trade("alpha", symbol, price)) for symbol, price in (("ETH/USDT", 999), ("SOL/USDT", 777))]
    rows = [*usual(), *head(symbols=("ETH/USDT", "SOL/USDT"))[2:], *eth, *prints]
    trial.run(trial.experiment(trial.log(rows)), OPENING)
    marks = {held.asset: held.mark for held in inventory_of(tmp_path / "run1").holdings}
    assert (marks["ETH"], marks["SOL"], marks["USDT"]) == (5_050 * 10**15, 7_770 * 10**15, 10**18)


def trade(venue: str, symbol: str, price: int) -> Placed:
    """A public print, in cents."""
    row = {"conn": VENUES.index(venue), "venue": venue, "symbol": symbol, "price_int": price, "qty_int": 1}
    return "trades", row | {"px_scale": 2, "qty_scale": 5, "aggressor": "buy"}


def test_the_command_says_what_strays_and_exits_with_1(run: tuple[Trial, Path]) -> None:
    """Plain data on standard output, a sentence for each balance beyond its band on standard error, and exit code 1; 0 within the bands."""
    _, folder = run
    done = CliRunner().invoke(app, ["inventory", str(folder)])
    assert done.exit_code == 1
    assert done.stdout.splitlines()[1].split("\t")[:4] == ["account", "venue", "asset", "balance"]
    assert "BTC of main at alpha lies" in done.stderr
    wide = folder.parent / "wide.toml"
    wide.write_text(TARGETS.replace("500", "9000"))
    done = CliRunner().invoke(app, ["inventory", str(folder), "--config", str(wide)])
    assert (done.exit_code, done.stderr) == (0, "")


def test_without_targets_balances_are_shown(run: tuple[Trial, Path]) -> None:
    """What has no target has no drift, and nothing strays; the command says how to state targets."""
    _, folder = run
    found = told(folder, InventoryConfig())
    assert {row["verdict"] for row in found.values()} == {"no target"}
    assert {row["drift"] for row in found.values()} == {None}
    none = folder.parent / "none.toml"
    none.write_text("[inventory]\nband_bps = 1\n")
    done = CliRunner().invoke(app, ["inventory", str(folder), "--config", str(none)])
    assert done.exit_code == 0
    assert "[inventory.shares.ACCOUNT.VENUE]" in done.stderr


def test_a_venue_without_a_share_is_left_alone(run: tuple[Trial, Path]) -> None:
    """Its balance is shown and is no part of the total that is shared out."""
    _, folder = run
    found = told(folder, InventoryConfig(shares={"main": {"alpha": {"BTC": Decimal(1)}}}))
    assert found["alpha", "BTC"]["drift"] == "0"
    assert found["bravo", "BTC"]["verdict"] == "no target"


def test_targets_that_name_nothing_are_refused(run: tuple[Trial, Path]) -> None:
    """A misspelt venue is an error and no empty venue to which money should go."""
    trial, folder = run
    with pytest.raises(ConfigError, match=r"inventory\.shares\.main\.alfa"):
        inventory_of(folder, targets=InventoryConfig(shares={"main": {"alfa": {"BTC": Decimal(1)}}}))
    for key, words in (("main.charlie.BTC", r"no \[accounts\.main\.charlie\]"), ("main.alpha.BCT", "no asset of the log")):
        account, venue, asset = key.split(".")
        text = f"[inventory.shares.{account}.{venue}]\n{asset} = 1\n"
        with pytest.raises(ConfigError, match=words):
            trial.run(trial.experiment(trial.folder / "log", more=text))


def test_shares_of_an_asset_add_up_to_one(tmp_path: Path) -> None:
    """Else the targets would not add up to what there is, and no transfer could reach them."""
    path = tmp_path / "x.toml"
    path.write_text("[inventory.shares.main.alpha]\nBTC = 0.3\n[inventory.shares.main.bravo]\nBTC = 0.6\n")
    with pytest.raises(
        ConfigError, match=r"inventory\.shares\.main\.alpha\.BTC, inventory\.shares\.main\.bravo\.BTC add up to 0\.9"
    ):
        load_experiment(path)
    path.write_text("[inventory.shares.main.alpha]\nBTC = 1.5\n[inventory.shares.main.bravo]\nBTC = -0.5\n")
    with pytest.raises(ConfigError, match="allowed are numbers from 0 on"):
        load_experiment(path)


def test_a_log_without_decisions_has_no_inventory(run: tuple[Trial, Path]) -> None:
    """Nothing traded on it, which is an error."""
    _, folder = run
    done = CliRunner().invoke(app, ["inventory", str(folder.parent / "log")])
    assert isinstance(done.exception, ConfigError)
    assert "without a start" in str(done.exception)


def test_costs_of_assets_that_do_not_exist_are_refused(run: tuple[Trial, Path]) -> None:
    """A misspelt asset would cost nothing, and a ratio is as fine as every other one."""
    trial, _ = run
    experiment = trial.experiment(trial.folder / "log")
    for costs, words in (("{ BCT = 1 }", r"inventory_cost_bps\.BCT: no asset"), ("{ BTC = 0.000001 }", "at most 5 decimals")):
        with pytest.raises(ConfigError, match=words):
            trial.run(experiment, {"strategies.cross.inventory_cost_bps": costs})


# --- what it costs


def asked(folder: Path, question: Question) -> dict[str, list[dict[str, Any]]]:
    """The answer of `xarb why` by table."""
    found: dict[str, list[dict[str, Any]]] = json.loads(as_json(why(folder, question)))
    return found


def test_why_tells_the_inventory_cost_of_what_was_taken_and_of_what_was_refused(tmp_path: Path) -> None:
    """A bundle that took bitcoin from bravo, where too little lies, shows its cost in the plan; one that it spoils in the refusal."""
    trial = Trial(tmp_path)
    experiment = trial.experiment(trial.log(usual()), more=TARGETS)
    trial.run(experiment, {**OPENING, "strategies.cross.inventory_cost_bps": "{ BTC = 10 }"})
    decision = {row["what"]: row["value"] for row in asked(tmp_path / "run1", Question("1", None, None))["decision"]}
    paid = next(row for row in asked(tmp_path / "run1", Question("1", None, None))["fills"] if row["side"] == "buy")
    assert decision["after inventory cost of"] == f"{Decimal(paid['notional']) / 1000:f}".rstrip("0") + " USDT"
    trial.run(experiment, {**OPENING, "strategies.cross.inventory_cost_bps": "{ BTC = 89 }"})
    [refusal, *_] = asked(tmp_path / "run2", Question(None, 1, None))["refusals"]
    assert refusal["reason"] == "inventory_cost"
    assert Decimal(refusal["value"]) > Decimal(refusal["bound"]) > 0


def test_a_bundle_that_brings_balances_nearer_is_free(tmp_path: Path) -> None:
    """Where bravo has too much bitcoin, the same cost changes no row."""
    trial = Trial(tmp_path)
    nearer = TARGETS.replace("0.25", "0.9").replace("0.75", "0.1")
    experiment = trial.experiment(trial.log(usual()), more=nearer)
    rows = [trial.run(experiment, {**OPENING, "strategies.cross.max_open_bundles": "1", **more}) for more in ({}, COST)]
    assert rows[0]["opportunities"] == rows[1]["opportunities"]
    assert len(rows[0]["fills"]) == len(rows[1]["fills"]) > 0


# --- live


@pytest.fixture
def player(tmp_path: Path) -> Iterator[Player]:
    """Real trading of which nothing answers, with balances that an exchange told."""
    made = Player(tmp_path / "live", mode=LIVE, send=lambda _: None, armed=False, changes={"inventory.band_bps": "100"})
    made.play(list(recorded(0, 400)))
    yield made
    made.log.close()


def test_a_live_log_is_read_while_it_is_written(player: Player) -> None:
    """Of the last start: what the venue says is free bounds what can be withdrawn; a transfer that is not over is under way."""
    one = 10**18
    player._put("balances", (None, "main", "", "alpha", "BTC", one // 2, one))
    player._put("transfers", (None, "main", "", "bravo", "ETH", "ERC20", 3 * one, None, "t1", "pending"))
    player._put("transfers", (None, "main", "", "bravo", "ETH", "ERC20", 2 * one, None, "t2", "pending"))
    player._put("transfers", (None, "main", "", "bravo", "ETH", "ERC20", 2 * one, None, "t2", "ok"))
    player._put("wallets", ("alpha", "BTC", "BTC", True, False, None, None))
    player._put("wallets", ("alpha", "BTC", "BTC", True, True, 5, 7))
    player.flush()
    found = inventory_of(player.log.folder)
    bitcoin = next(held for held in found.holdings if held.asset == "BTC")
    assert bitcoin.balances["alpha"] == 2 * one
    assert bitcoin.free == {**bitcoin.balances, "alpha": one // 2}
    assert [(row["transfer_id"], row["status"]) for row in found.pending] == [("t1", "pending")]
    assert [(row["withdraw_open"], row["withdraw_fee"]) for row in found.wallets] == [(True, 5)]
    assert bitcoin.currency == "USDT"
    assert bitcoin.mark is not None
