"""Plans of transfers from what lies where and what is known of networks."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.live.site import site
from tests.trial import Rows, Trial, usual
from xarb.cli import app
from xarb.config import load_experiment
from xarb.config.inventory import InventoryConfig
from xarb.errors import ConfigError
from xarb.inquiry.sections import as_json
from xarb.model.units import MONEY_ONE, Money
from xarb.verbs.inventory import Holdings, Inventory, inventory_of
from xarb.verbs.rebalance import rebalance
from xarb.verbs.rebalance.asking import ask_networks
from xarb.verbs.rebalance.networks import Network, completed, read_networks, ways_of

SHARES = """
[inventory]
band_bps = 100
[inventory.shares.main.alpha]
BTC = 0.2
[inventory.shares.main.bravo]
BTC = 0.8
"""
TABLE = """
[[network]]
venue = "alpha"
asset = "BTC"
network = "SLOW"
withdraw_fee = "0.004"
withdraw_min = "0.01"
step = "0.001"
minutes = 60
source = "https://alpha.example/fees"
as_of = "2026-01-05"

[[network]]
venue = "alpha"
asset = "BTC"
network = "FAST"
withdraw_fee = "0.002"
withdraw_min = "0.01"
step = "0.001"
minutes = 5
source = "https://alpha.example/fees"
as_of = "2026-01-05"
"""


def network(venue: str, name: str, *, deposit: bool = True, withdraw: bool = True, fee: str | None = None) -> tuple[int, Any]:
    """A wallets row of bitcoin."""
    row = {"venue": venue, "asset": "BTC", "network": name, "deposit_open": deposit, "withdraw_open": withdraw}
    more = {} if fee is None else {"withdraw_fee": int(Decimal(fee) * MONEY_ONE), "withdraw_min": MONEY_ONE // 100}
    return 0, ("wallets", row | more)


def run_of(folder: Path, rows: Rows) -> Path:
    """A run over a market with those rows, with one bitcoin at each of two venues."""
    trial = Trial(folder)
    (folder / "networks.toml").write_text(TABLE)
    trial.run(
        trial.experiment(trial.log([*usual(), *rows]), more=SHARES), {f"accounts.main.{v}.BTC": "1" for v in ("alpha", "bravo")}
    )
    return folder / "run1"


def planned(folder: Path, *words: str) -> tuple[int, dict[str, Any], str]:
    """Exit code, tables and standard error of `xarb rebalance --plan`."""
    done = CliRunner().invoke(app, ["rebalance", str(folder), "--plan", "--format", "json", *words])
    return done.exit_code, json.loads(done.stdout), done.stderr


def test_the_plan_goes_by_the_cheapest_network_that_is_open(tmp_path: Path) -> None:
    """The log says which networks are open, the table what they cost: the cheap one is suspended at its destination, so the other is taken."""
    closed: Rows = [
        network("alpha", "SLOW"),
        network("alpha", "FAST"),
        network("bravo", "SLOW"),
        network("bravo", "FAST", deposit=False),
    ]
    folder = run_of(tmp_path, closed)
    code, tables, words = planned(folder, "--networks", str(tmp_path / "networks.toml"))
    [row] = tables["plan"]
    bitcoin = next(one for one in inventory_of(folder).holdings if one.asset == "BTC")
    assert (code, words) == (0, "")
    assert (row["from"], row["to"], row["network"], row["fee"], row["minutes"]) == ("alpha", "bravo", "SLOW", "0.004", 60)
    assert Decimal(row["amount"]) == Decimal(row["arrives"]) + Decimal("0.004")
    assert Decimal(row["arrives"]) % Decimal("0.001") == 0
    assert abs(Decimal(row["arrives"]) - Decimal(bitcoin.drifts["alpha"]).scaleb(-18)) < Decimal("0.005")
    assert Decimal(row["fee_worth"]) == Decimal("0.004") * Decimal("100.05")
    assert tables["cost"] == [{"currency": "USDT", "fees": row["fee_worth"]}]
    assert {(one["venue"], one["network"], one["deposits"]) for one in tables["networks"]} >= {("bravo", "FAST", "suspended")}
    assert all("networks.toml: https://alpha.example/fees, 2026-01-05" in one["source"] for one in tables["networks"] if one["fee"])


def test_what_is_open_at_both_ends_and_cheaper_is_taken(tmp_path: Path) -> None:
    """The same with nothing suspended; what the venue says of its fee counts before the table."""
    opened: Rows = [
        network("alpha", "SLOW", fee="0.001"),
        network("alpha", "FAST"),
        network("bravo", "SLOW"),
        network("bravo", "FAST"),
    ]
    code, tables, _ = planned(run_of(tmp_path, opened), "--networks", str(tmp_path / "networks.toml"))
    assert code == 0
    assert [(one["network"], one["fee"]) for one in tables["plan"]] == [("SLOW", "0.001")]


def test_without_a_plan_the_reason_is_told_and_the_exit_code_is_1(tmp_path: Path) -> None:
    """No fee is known of any network, or no withdrawal is open: nothing is invented."""
    unknown: Rows = [network("alpha", "SLOW"), network("alpha", "FAST", withdraw=False, fee="1"), network("bravo", "SLOW")]
    code, tables, words = planned(run_of(tmp_path, unknown))
    assert (code, tables["plan"]) == (1, [])
    assert "BTC of main: no plan: nothing can be withdrawn from alpha" in words
    assert {(one["network"], one["not_used"]) for one in tables["networks"] if one["venue"] == "alpha"} == {
        ("SLOW", "fee not known"),
        ("FAST", "withdrawals suspended"),
    }


def test_plans_are_refused_without_being_asked_for_or_without_targets(tmp_path: Path) -> None:
    """xarb moves no money: without --plan it does nothing; without targets there is nothing to plan for."""
    folder = run_of(tmp_path, [])
    done = CliRunner().invoke(app, ["rebalance", str(folder)])
    assert "moves no money" in str(done.exception)
    (tmp_path / "none.toml").write_text("[inventory]\n")
    done = CliRunner().invoke(app, ["rebalance", str(folder), "--plan", "--config", str(tmp_path / "none.toml")])
    assert "no targets" in str(done.exception)
    done = CliRunner().invoke(app, ["rebalance", str(folder), "--plan", "--ask"])
    assert "--ask needs --config" in str(done.exception)


def test_nothing_to_move_is_said(tmp_path: Path) -> None:
    """Within the bands the plan is empty, exit code 0."""
    folder = run_of(tmp_path, [])
    (tmp_path / "wide.toml").write_text(SHARES.replace("100", "9000"))
    code, tables, words = planned(folder, "--config", str(tmp_path / "wide.toml"))
    assert (code, tables["plan"]) == (0, [])
    assert "nothing to move" in words


def held(**alpha: int) -> Inventory:
    """Two venues that should hold the same of coins that nothing prices."""
    holdings = [
        Holdings(
            account="main",
            asset=asset,
            balances={"alpha": amount * MONEY_ONE, "bravo": 0},
            free={"alpha": amount * MONEY_ONE, "bravo": 0},
            shares={"alpha": MONEY_ONE // 2, "bravo": MONEY_ONE // 2},
            band=amount * MONEY_ONE // 10,
            currency="",
            mark=None,
        )
        for asset, amount in alpha.items()
    ]
    return Inventory("a test", InventoryConfig(), holdings, [], [])


def test_costs_without_a_price_stand_in_their_own_asset() -> None:
    """They are not left out of the total, nor added to a currency."""
    networks = [
        Network(venue=venue, asset=asset, network="N", fee=Money(MONEY_ONE), least=Money(0), source="a test")
        for asset in ("AAA", "BBB")
        for venue in ("alpha", "bravo")
    ]
    done = rebalance(held(AAA=20, BBB=40), table=networks)
    tables = json.loads(as_json(done.sections))
    assert tables["cost"] == [{"currency": "AAA", "fees": "1"}, {"currency": "BBB", "fees": "1"}]
    assert all("not known whether deposits at bravo are open" in row["why"] for row in tables["plan"])
    assert [row["fee_bps"] for row in tables["plan"]] == ["952.38096", "487.80488"]


def test_a_transfer_under_way_is_told_first() -> None:
    """A plan made while money is on its way would move it twice."""
    pending = {"asset": "AAA", "account": "main", "venue": "bravo", "qty": MONEY_ONE, "status": "pending"}
    done = rebalance(held()._replace(pending=[pending]))
    assert done.troubles == ["AAA of main at bravo: a transfer of 1 is pending; plan when it has ended"]


def test_a_network_that_a_venue_does_not_list_is_closed_there() -> None:
    """Where the venue lists others of the asset; of a venue that said nothing the table's networks may be open."""
    said = [
        Network(
            venue="alpha",
            asset="AAA",
            network="X",
            deposit_open=True,
            withdraw_open=True,
            fee=Money(1),
            least=Money(1),
            source="said",
        )
    ]
    table = [
        Network(venue=venue, asset="AAA", network="Y", fee=Money(1), least=Money(1), source="table") for venue in ("alpha", "bravo")
    ]
    found = {(one.venue, one.network): one for one in completed(said, table)}
    assert found["alpha", "Y"].withdraw_open is False
    assert found["bravo", "Y"].withdraw_open is None
    assert ways_of(list(found.values())) == []


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('withdraw_fee = "-1"', "below zero"),
        ('withdraw_fee = "much"', "not a decimal number"),
        ("withdraw_fee = 0.1", "Expected `str"),
        ('step = "0"', "a step is above zero"),
        ("minutes = -1", "minutes are not below it"),
        ('fee = "1"', "unknown key 'fee'"),
        ('as_of = "2026"\n[[network]]\nvenue = "a"\nasset = "B"\nnetwork = "C"\nsource = "s"', "stands there twice"),
    ],
)
def test_wrong_tables_are_refused_by_name(tmp_path: Path, line: str, words: str) -> None:
    """File, entry and what is wrong."""
    path = tmp_path / "networks.toml"
    path.write_text(f'[[network]]\nvenue = "a"\nasset = "B"\nnetwork = "C"\nsource = "s"\n{line}\n' + 'as_of = "2026"\n')
    with pytest.raises(ConfigError, match=words):
        read_networks(path)


def test_exchanges_are_asked_through_ccxt(tmp_path: Path) -> None:
    """Two served exchanges tell fee, minimum and what is open of each network."""

    async def story() -> list[Network]:
        async with site(tmp_path) as at:
            loaded = load_experiment(at.config)
            return await asyncio.wait_for(asyncio.to_thread(ask_networks, loaded, {"BTC", "USDT"}), 60)

    found = asyncio.run(story())
    assert [(one.venue, one.asset) for one in found] == [
        (venue, asset) for venue in ("alpha", "bravo") for asset in ("BTC", "USDT")
    ]
    assert all(one.deposit_open and one.withdraw_open and one.fee == 0 and one.least == 10**10 for one in found)
    assert len({one.network for one in found}) == 1
    assert [(way.source, way.to) for way in ways_of([one for one in found if one.asset == "BTC"])] == [
        ("alpha", "bravo"),
        ("bravo", "alpha"),
    ]
