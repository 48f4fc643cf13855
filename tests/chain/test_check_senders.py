"""The check of who sends on a chain: wallet, executor, nonce, gas and what pays for it, and what speaks against sending, each by its words."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.chain.conftest import Chain
from tests.chain.contracts import deploy
from tests.chain.stage import Stage
from tests.chain.twice import config, wallet
from tests.chain.world import UNIT
from xarb.check.senders import check_senders
from xarb.cli import app
from xarb.config import load_experiment
from xarb.model.units import MONEY_ONE


@pytest.fixture
def stage(chain: Chain, code: str) -> Stage:
    """Our executor and wallet on a chain."""
    return Stage(chain, code)


def test_who_may_send_is_told_with_what_there_is(stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nonce, what waits, fees, ether of the wallet and tokens of the executor; the command prints them and is content."""
    environment = wallet(tmp_path)
    senders = check_senders(load_experiment(config(stage, tmp_path)), environment)
    assert senders.objections == []
    (row,) = senders.tables[0].rows
    said = dict(zip(senders.tables[0].columns, row, strict=True))
    assert said["address"].lower() == stage.wallet.address.lower()
    assert (said["nonce"], said["waiting"], said["bid at most gwei"], said["verdict"]) == ("1", "0", "60", "may send")
    wei = int(stage.node.call("eth_getBalance", stage.wallet.address, "latest"), 16)
    assert senders.money["main", "local", "ETH"] == wei * MONEY_ONE // UNIT
    assert senders.money["main", "local", stage.world.tokens["WETH"].lower()] == 0
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    done = CliRunner().invoke(app, ["check", str(tmp_path / "cycles.toml"), "--measure", "1s"])
    assert done.exit_code == 0, done.output
    assert "may send" in done.stdout
    assert "9 of 9 pairs and instruments of cycles can trade" in done.stderr


def test_what_speaks_against_sending_is_said(stage: Stage, code: str, tmp_path: Path) -> None:
    """Each for itself; a start would find the same, or bid in vain."""
    environment = wallet(tmp_path)

    def objection(**changes: str) -> str:
        given = {f"chains.local.sending.{key}": value for key, value in changes.items()}
        (why,) = check_senders(load_experiment(config(stage, tmp_path), given), environment).objections
        return why

    assert "is not the executor that was tested" in objection(executor=f'"{stage.world.v2_pairs["uniswap WETH/DAI"].lower()}"')
    assert "there is no wallet nobody" in objection(wallet='"nobody"')
    stage.node.call("anvil_setNextBlockBaseFeePerGas", hex(70 * 10**9))
    stage.node.call("evm_mine")
    assert "60 are bid at most" in objection()
    stage.node.call("anvil_setNextBlockBaseFeePerGas", hex(10**9))
    stage.node.call("evm_mine")
    stage.node.call("anvil_setBalance", stage.wallet.address, hex(10**12))
    assert "has 0.000001 ETH, and gas of a cycle of two pools costs 0.000" in objection()
    stage.node.call("anvil_setBalance", stage.wallet.address, hex(UNIT))
    stage.node.call("evm_setAutomine", True)  # a word of the node
    strangers = deploy(stage.node, stage.world.owner, code).lower()
    assert f"the executor at {strangers} is {stage.world.owner.lower()}'s" in objection(executor=f'"{strangers}"')
