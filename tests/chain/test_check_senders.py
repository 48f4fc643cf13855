"""The check of who sends on a chain: wallet, executor, nonce, gas and what pays for it, and what speaks against sending, each by its words."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.chain.conftest import Chain
from tests.chain.contracts import deploy
from tests.chain.following import source_of
from tests.chain.stage import Stage
from tests.chain.twice import config, wallet
from tests.chain.world import UNIT
from tests.dexworld import EVEN, Act, chain_log, experiment
from tests.verbs.test_record import run
from xarb.assembly import Assembly, recorded_ground
from xarb.assembly.resolved import resolve, resolve_recorded
from xarb.board import Board
from xarb.cli import app
from xarb.config import load_experiment
from xarb.live.chainboard import chain_table
from xarb.log.livelog import Latency, Stats
from xarb.log.reader import LogReader
from xarb.model.units import MONEY_ONE
from xarb.replay import replay
from xarb.venues.dex.loading import load_pools
from xarb.venues.dex.venue import ChainVenue
from xarb.verbs.check.senders import check_senders, lacking_on_the_way


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


def test_a_session_shows_its_chains(stage: Stage, tmp_path: Path) -> None:
    """A line each: the block as the engine has it, and address, nonce and objections of who sends there, once the chain was compared."""
    path = experiment(tmp_path, chain_log(tmp_path / "log", [Act(EVEN), Act(EVEN, base_fee_wei=7)]))
    with LogReader(tmp_path / "log") as reader:
        resolved = resolve_recorded(load_experiment(path), reader)
        assembly = Assembly(resolved, recorded_ground(resolved, reader))
        replay(assembly, reader.batches(), lambda _: None)
    now = assembly.engine.now + 1_500_000_000
    shown = ("ethereum", "101", "1.5", "0.000000007", "2 of 2")
    assert chain_table(assembly, {}, now).rows == ((*shown, "-", "-", "-", "-"),)

    async def story() -> None:
        desk = stage.desk()
        before = chain_table(assembly, {"ethereum": ChainVenue(desk)}, now).rows[0]
        assert before[5:] == (stage.wallet.address.lower(), "-", "0", "hot at local: the chain was not compared yet")
        await desk.open()
        assert chain_table(assembly, {"ethereum": ChainVenue(desk)}, now).rows[0] == (
            *shown,
            stage.wallet.address.lower(),
            "1",
            "0",
            "none",
        )

    run(story())
    said: list[str] = []
    board = Board(None, said.append)
    stats = Stats(
        rows=0, bytes=0, write=Latency(), sync=Latency(), lag_ns=0, journal_rows=0, seals=0, seal_error=None, is_full=False
    )
    board.update((), now, stats, 11.0, more=[chain_table(assembly, {}, now)])
    assert said[0].startswith("chain=ethereum block=101 age_s=1.5 base_fee_gwei=0.000000007 pools=2_of_2 address=-")


def test_coins_that_may_not_be_sent_are_said(stage: Stage, tmp_path: Path) -> None:
    """Each token that a strategy takes for a coin, and that the wallet may not swap, with the strategies that would; none of another chain's."""
    environment = wallet(tmp_path)
    weth, dai, usdc = (stage.world.tokens[name].lower() for name in ("WETH", "DAI", "USDC"))
    given = {"strategies.cycles.kind": '"cex_dex"', "chains.local.sending.tokens": f'["{weth.upper().replace("0X", "0x")}"]'}
    given["onchain.local.coins"] = f'{{ {weth} = "ETH", {dai} = "DAI", {usdc} = "USDC" }}'
    found = check_senders(load_experiment(config(stage, tmp_path), given), environment)
    lacks = "(onchain.local.coins) for strategies.cycles, and is not among chains.local.sending.tokens"
    assert found.objections == [
        f"main at local: {token} counts as {coin} {lacks}" for token, coin in ((dai, "DAI"), (usdc, "USDC"))
    ]
    assert found.tables[0].rows[0][-1].count(lacks) == 2
    elsewhere = load_experiment(config(stage, tmp_path), given | {"strategies.cycles.venues": '["base"]'})
    assert check_senders(elsewhere, environment).objections == []


def test_tokens_on_the_way_that_may_not_be_sent_are_said(stage: Stage, tmp_path: Path) -> None:
    """A cycle swaps each token that it comes through, and so does a path: one that is not listed would be refused each time it is planned."""
    weth, dai, usdc, wbtc = (stage.world.tokens[name].lower() for name in ("WETH", "DAI", "USDC", "WBTC"))
    instruments = asyncio.run(load_pools(source_of(stage.world, str(stage.node.ipc))))

    def lacking(*tokens: str, **settings: str) -> list[str]:
        given = {"chains.local.sending.tokens": f"{[*tokens]}".replace("'", '"')}
        given |= {f"strategies.cycles.{name}": value for name, value in settings.items()}
        found = load_experiment(config(stage, tmp_path), given)
        return lacking_on_the_way(found, resolve(found, instruments), instruments)

    def told(*tokens: str) -> list[str]:
        words = "is swapped on the way by strategies.cycles, and is not among chains.local.sending.tokens"
        return [f"main at local: {token} {words}" for token in sorted(tokens)]

    assert lacking(weth) == told(dai, usdc, wbtc)
    assert lacking(weth.upper().replace("0X", "0x"), dai, usdc, wbtc) == []
    assert lacking(dai) == told(usdc, wbtc), "what goes round is told already"
    pools = [stage.world.v2_pairs[f"{exchange} WETH/DAI"].lower() for exchange in ("uniswap", "sushi")]
    assert lacking(weth, symbols=f"{pools}".replace("'", '"')) == told(dai)


def test_what_speaks_against_sending_is_said(stage: Stage, code: str, tmp_path: Path) -> None:
    """Each for itself; a start would find the same, or bid in vain."""
    environment = wallet(tmp_path)

    def objection(**changes: str) -> str:
        given = {f"chains.local.sending.{key}": value for key, value in changes.items()}
        (why,) = check_senders(load_experiment(config(stage, tmp_path), given), environment).objections
        return why

    assert "is not the executor that was tested" in objection(executor=f'"{stage.world.v2_pairs["uniswap WETH/DAI"].lower()}"')
    assert "there is no wallet nobody" in objection(wallet='"nobody"')
    weth, dai = (stage.world.tokens[name].lower() for name in ("WETH", "DAI"))
    goes = f"{weth} goes round for strategies.cycles, and is not among chains.local.sending.tokens"
    assert objection(tokens=f'["{dai}"]').endswith(goes)
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
