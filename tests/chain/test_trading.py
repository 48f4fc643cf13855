"""`xarb live` on a chain: a gap between two pools is found, swapped, included, booked and proven; and what a stop, a kill and a crash leave."""

from __future__ import annotations

import asyncio
import re
import signal
import time
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from tests.chain.builder import Builder
from tests.chain.conftest import Chain
from tests.chain.stage import KEY, RELAY_KEY, Stage
from tests.chain.watched import LOOK_S, Watched, watching
from tests.chain.world import UNIT
from tests.trial import quiet
from tests.verbs.test_record import Command, run
from xarb.config import load_experiment
from xarb.live.kill import kill, reset
from xarb.log.check import verify_log
from xarb.log.reader import LogReader
from xarb.venues.wallets import account_of, add_wallet
from xarb.verbs.backtest import backtest
from xarb.verbs.diff import diff
from xarb.verbs.verify import verify

WORDS = "canary pass phrase 55e0"
KINDS = ("operator", "transactions", "receipts", "blocks", "cycle_states", "sim_receipts", "starts")
LIMIT_S = 240.0  # the first process may have to compile the kernel
BLOCK_S = 0.4


@pytest.fixture
def stage(chain: Chain, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """Everything, with a wallet on disk, and blocks as the test has them, at the time of the wall clock."""
    monkeypatch.setenv("XARB_WALLETS", str(tmp_path / "wallets"))
    monkeypatch.setenv("XARB_WALLET_HOT_PASSPHRASE", WORDS)
    add_wallet("hot", account_of(KEY, "a test"), WORDS, {"XARB_WALLETS": str(tmp_path / "wallets")}, scrypt_n=2)
    found = Stage(chain, code)
    found.node.call("anvil_removeBlockTimestampInterval")
    found.node.call("eth_sendTransaction", found.close_the_edge())
    block(found)
    return found


def block(stage: Stage) -> None:
    """A block with what waits."""
    latest = int(stage.node.call("eth_getBlockByNumber", "latest", False)["timestamp"], 16)
    stage.node.call("evm_mine", {"timestamp": max(int(time.time()), latest)})


def config(stage: Stage, folder: Path) -> Path:
    """Cycles of the WETH/DAI pools of v2 and v3."""
    pools = [stage.world.v2_pairs["uniswap WETH/DAI"], stage.world.v3_pools["WETH/DAI 3000"]]
    weth, dai = (stage.world.tokens[name].lower() for name in ("WETH", "DAI"))
    text = f"""
[run]
currencies = ["ETH"]
[live]
mode = "live"
stop_ms = 5000
[chains.local]
chain_id = 31337
rpc = ["{stage.node.ipc}"]
pools = {pools}
[chains.local.factories.uniswap2]
address = "{stage.world.v2_factories["uniswap"]}"
kind = "v2"
fee_ppm = 3000
[chains.local.factories.uniswap3]
address = "{stage.world.v3_factory}"
kind = "v3"
[chains.local.sending]
wallet = "hot"
executor = "{stage.executor}"
tokens = {[weth, dai]}
max_fee_gwei = 60
finality_blocks = 2
poll_ms = 50
[onchain.local]
wrapped = "{weth}"
max_fee_gwei = 60
[onchain.local.simulated]
latency = {{ constant_ms = 100 }}
lag_ms = 50
receipt_ms = 100
missed_bps = 0
taken_bps = 0
finality_blocks = 2
[accounts.main.local]
ETH = 100
[strategies.cycles]
kind = "dex_dex"
max_legs = 2
min_profit_bps = 1
min_profit_quote = 0.0005
max_notional_quote = 50
latency_threshold_ms = 5000
deadline_ms = 60000
max_edge_bps = 0
success_bps = 10000
max_day_loss = {{ ETH = 1 }}
""".replace("'", '"')
    path = folder / "dex.toml"
    path.write_text(text)
    return path


def live(stage: Stage, folder: Path, *words: str) -> AbstractAsyncContextManager[Watched]:
    """`xarb live` until the block ends, killed if it still runs then."""
    return living(config(stage, folder), *words)


def living(path: Path, *words: str) -> AbstractAsyncContextManager[Watched]:
    """The same of a config."""
    log = path.parent / "log"
    return watching(log, KINDS, "live", str(path), "--out", str(log), *words)


REAL = ("--live", "--account", "main")


async def armed(stage: Stage, it: Watched) -> None:
    """Wait until it trades."""
    await it.until("blocks")
    block(stage)
    await it.until("operator", action="arm")


def gap(stage: Stage) -> None:
    """Somebody sells WETH in the v3 pool."""
    stage.node.call("eth_sendTransaction", stage.swap_request(("WETH", "DAI"), 10 * UNIT))
    block(stage)


def weth_of(stage: Stage) -> str:
    """Its address."""
    return stage.world.tokens["WETH"].lower()


def test_a_loan_costs_what_the_log_says(stage: Stage, tmp_path: Path) -> None:
    """A pool lends; premium, amount and profit are those of the rows, and a backtest of them comes to the same cycle and profit to the unit."""
    path = config(stage, tmp_path)
    lender = stage.world.v3_pools["WETH/USDC 500"].lower()
    text = path.read_text().replace('tokens = ["', f'lenders = ["{lender}"]\ntokens = ["')
    text = text.replace("max_legs = 2", 'max_legs = 2\nfinancing = "flashloan"')
    text = re.sub(r"(constant_ms|lag_ms|receipt_ms) = \d+", r"\1 = 1", text)  # blocks of this test follow each other at once
    weth = weth_of(stage)
    path.write_text(f'{text}[chains.local.lenders.pool]\nkind = "flash"\naddress = "{lender}"\ntokens = ["{weth}"]\n')

    async def story() -> None:
        async with living(path, *REAL) as it:
            await armed(stage, it)
            gap(stage)
            await it.until("transactions", event="sent")
            block(stage)
            await it.until("receipts", status="succeeded")
            block(stage)
            block(stage)
            await it.until("cycle_states", state="final")
            await it.stop()

    run(story(), LIMIT_S)
    log = tmp_path / "log"
    assert verify(log, advance=quiet).equal
    again = backtest(load_experiment(path), log=log, out=tmp_path / "run", advance=quiet).folder
    found = []
    for folder in (log, again):
        with LogReader(folder) as reader:
            (cycle,) = [row for _, row in reader.outputs(kinds=("cycles",))]
            (done,) = [row for _, row in reader.outputs(kinds=("cycle_states",)) if row["state"] == "succeeded"]
            found.append([*(cycle[name] for name in ("amount", "funding", "lender", "premium", "min_profit")), done["profit"]])
    assert found[0] == found[1]
    amount, *paid, profit = found[0]
    assert paid[:3] == ["flash", lender, str(-(-int(amount) * 5 // 10_000))]
    assert stage.held()["WETH"] == int(profit) > 0


def test_a_gap_is_swapped_booked_and_proven(stage: Stage, tmp_path: Path) -> None:
    """To the unit, in the chain, in the log's money and by replay."""

    async def story() -> None:
        async with live(stage, tmp_path, *REAL) as it:
            await armed(stage, it)
            before = stage.held()
            gap(stage)
            await it.until("transactions", event="sent")
            block(stage)
            receipt = await it.until("receipts", status="succeeded")
            for _ in range(3):
                block(stage)
                await asyncio.sleep(BLOCK_S)  # the market's own time
            await it.until("cycle_states", state="final")
            profit = int(receipt["profit"])
            assert stage.held()["WETH"] == before["WETH"] + profit > before["WETH"]
            await it.stop()

    run(story(), LIMIT_S)
    log = tmp_path / "log"
    assert verify_log(log).ok
    assert verify(log, advance=quiet).equal
    with LogReader(log) as reader:
        booked = {(row["asset"], row["cause"]): row["delta"] for _, row in reader.outputs(kinds=("ledger",))}
    gas = int(booked["ETH", "gas"])
    assert int(booked[weth_of(stage), "cycle"]) > -gas > 0
    assert stage.node.call("eth_getBalance", stage.wallet.address, "latest") == hex(int(booked["ETH", "opening"]) + gas)


def test_a_relay_has_it_included_and_nobody_else_sees_it(stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Left out of one block, it is asked for again and in the next; booked to the unit, proven, and never in the public pool."""
    monkeypatch.setenv("XARB_WALLET_FRIEND_PASSPHRASE", WORDS)
    add_wallet("friend", account_of(RELAY_KEY, "a test"), WORDS, {"XARB_WALLETS": str(tmp_path / "wallets")}, scrypt_n=2)
    builder, path = Builder(stage.node), config(stage, tmp_path)
    builder.friends, builder.is_followed = {stage.friend.address}, True
    text = path.read_text().replace("max_legs = 2", 'max_legs = 2\nchannel = "relay"')

    async def story() -> None:
        async with builder.listening():
            path.write_text(
                text.replace(
                    'wallet = "hot"', f'wallet = "hot"\nrelay = "{builder.url}"\nrelay_wallet = "friend"\nrelay_blocks = 10'
                )
            )
            async with living(path, *REAL) as it:
                await armed(stage, it)
                gap(stage)
                await it.until("transactions", event="sent")
                left_out = builder.build(with_bundles=False)
                await it.until_so(lambda: left_out + 1 in builder.bundles)
                assert not it.found("receipts")
                builder.build()
                receipt = await it.until("receipts", status="succeeded")
                assert (receipt["block_number"], stage.held()["WETH"]) == (left_out + 1, int(receipt["profit"]))
                for _ in range(3):
                    builder.build()
                await it.until("cycle_states", state="final")
                await it.stop()

    run(story(), LIMIT_S)
    assert builder.asked["eth_callBundle"] == builder.asked["eth_sendBundle"] >= 2
    assert not builder.pool
    assert verify(tmp_path / "log", advance=quiet).equal
    with LogReader(tmp_path / "log") as reader:
        assert {row["channel"] for row in reader.rows("transactions") if row["order"] is not None} == {"relay"}
        booked = sum(int(row["delta"]) for _, row in reader.outputs(kinds=("ledger",)) if row["cause"] == "cycle")
    assert booked == stage.held()["WETH"] > 0


def test_a_start_finds_out_before_it_arms_and_a_kill_cancels(stage: Stage, tmp_path: Path) -> None:
    """What a killed process sent is told by the chain; then what waits at a kill to `cancel` is bid for with a transfer to ourselves."""

    async def story() -> None:
        async with live(stage, tmp_path, *REAL) as it:
            await armed(stage, it)
            before = stage.held()
            gap(stage)
            sent = await it.until("transactions", event="sent")
        async with live(stage, tmp_path, *REAL) as it:
            await it.until("starts", number=2)
            block(stage)
            receipt = await it.until("receipts", status="succeeded")
            assert receipt["tx_hash"] == sent["tx_hash"]
            await it.until("operator", 2, action="arm")
            assert [row["state"] for row in it.found("cycle_states", order=-1)][:2] == ["sent", "succeeded"]
            kinds = [(kind, row.get("status") or row.get("action")) for kind, row in it.rows]
            last = len(kinds) - 1 - kinds[::-1].index(("operator", "arm"))
            assert kinds.index(("receipts", "succeeded")) < last
            held = stage.held()
            assert held["WETH"] == before["WETH"] + int(receipt["profit"])
            gap(stage)
            await it.until("transactions", 2, event="sent")
            code, _, err = await (await Command.start("kill", str(tmp_path / "log"), "--level", "cancel")).end()
            assert code == 0, err
            await it.until("transactions", event="intent", purpose="cancel")
            block(stage)
            await it.until("cycle_states", state="dropped")
            assert stage.held() == held | {"nonce": held["nonce"] + 1}
            await it.stop(code=3)

    run(story(), LIMIT_S)
    assert verify_log(tmp_path / "log").ok
    assert verify(tmp_path / "log", advance=quiet).equal
    with LogReader(tmp_path / "log") as reader:
        found = {row["asset"]: int(row["balance"]) for _, row in reader.outputs(kinds=("ledger",))}
    assert found[weth_of(stage)] == stage.held()["WETH"]
    assert hex(found["ETH"]) == stage.node.call("eth_getBalance", stage.wallet.address, "latest")


async def mined(stage: Stage, work: asyncio.Task[Any]) -> None:
    """A block whenever something replaced the trade that waits, until the work is done."""
    trade = waiting(stage)
    while not work.done():
        if (now := waiting(stage)) and now != trade:
            block(stage)
        await asyncio.sleep(LOOK_S)  # another process's bids
    await work


def waiting(stage: Stage) -> str | None:
    """Hash of the transaction of ours that the node has waiting."""
    found = stage.node.call("txpool_content")["pending"]
    mine = {address.lower(): one for address, one in found.items()}.get(stage.wallet.address.lower(), {})
    return next((one["hash"] for one in mine.values()), None)


def test_a_kill_without_the_process_cancels_and_proves(stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One process was killed: `xarb kill --config` takes the nonce and says so. One that stands still: who watches over it does the same.

    That has the wallet that it was handed over. The log has what left, and the next start knows it for ours.
    """
    log, phrase = tmp_path / "log", tmp_path / "phrase"
    monkeypatch.delenv("XARB_WALLET_HOT_PASSPHRASE")
    monkeypatch.setenv("XARB_WALLET_HOT_PASSPHRASE_FILE", str(phrase))
    phrase.touch(mode=0o600)
    phrase.write_text(WORDS)

    async def story() -> None:
        async with live(stage, tmp_path, *REAL) as it:
            await armed(stage, it)
            before = stage.held()
            gap(stage)
            sent = await it.until("transactions", event="sent")
        experiment = load_experiment(config(stage, tmp_path))
        killing = asyncio.create_task(asyncio.to_thread(kill, log, wait_s=5, experiment=experiment))
        await mined(stage, killing)
        [told] = [row for row in killing.result()[0].rows if row[1] == "local"]
        assert told[2].startswith(f"{sent['tx_hash']} by 0x")
        assert told[3:] == ("-", "0", "-", "-", "not compared")
        assert stage.held() == before | {"nonce": before["nonce"] + 1}
        reset(log)
        stage.node.call("eth_sendTransaction", stage.close_the_edge())  # a gap that was there before it is armed is not gone after
        block(stage)
        async with live(stage, tmp_path, *REAL, "--set", "live.hang_ms=1000") as it:
            await it.until("starts", number=2)
            block(stage)
            await it.until("operator", 2, action="arm")
            [end] = [row for row in it.found("transactions", event="replaced") if row["tx_hash"] == sent["tx_hash"]]
            assert end["reason"] == "ours"
            assert not it.found("transactions", event="adopted", reason="foreign")
            phrase.unlink()
            gap(stage)
            await it.until("transactions", 2, event="intent", purpose="trade")
            await it.until("transactions", 3, event="sent")
            it.command.process.send_signal(signal.SIGSTOP)
            ended = asyncio.create_task(it.command.end())
            await mined(stage, ended)
            code, _, err = ended.result()
            assert code == -signal.SIGKILL
            assert "nothing else is open" in err
            assert stage.held() == before | {"nonce": before["nonce"] + 2}

    run(story(), LIMIT_S)
    assert verify_log(log).ok
    assert verify(log, advance=quiet).equal
    with LogReader(log) as reader:
        rows = list(reader.rows("transactions"))
        assert [row["actor"] for row in reader.rows("operator") if row["action"] == "kill"][1:] == ["watchdog"]
    assert [row["event"] for row in rows if row["purpose"] == "cancel"] == ["intent", "sent", "mined", "final", "intent", "sent"]


def test_a_kill_by_hand_of_a_process_that_stands_still(stage: Stage, tmp_path: Path) -> None:
    """`xarb kill LOG --config` ends it, and what took the nonce of its trade is proven by the node's own receipt.

    The process beside it would wait for another minute: nobody but the person acts.
    """
    log = tmp_path / "log"

    actor = ""

    async def story() -> None:
        nonlocal actor
        async with live(stage, tmp_path, *REAL, "--set", "live.hang_ms=60000") as it:
            await armed(stage, it)
            before = stage.held()
            gap(stage)
            sent = await it.until("transactions", event="sent")
            it.command.process.send_signal(signal.SIGSTOP)
            words = ("kill", str(log), "--config", str(config(stage, tmp_path)), "--wait", "1s")
            by_hand = await Command.start(*words)
            actor = f"(process {by_hand.process.pid})"
            ended = asyncio.create_task(by_hand.end())
            await mined(stage, ended)
            code, out, err = ended.result()
            assert code == 0, err + out
            await it.command.end()
            assert it.command.process.returncode == -signal.SIGKILL
            cancel = re.search(rf"{sent['tx_hash']} by (0x[0-9a-f]{{64}}) in block ([0-9]+)", out)
            assert cancel is not None, out
            receipt = stage.node.call("eth_getTransactionReceipt", cancel[1])
            mine = stage.wallet.address.lower()
            assert (receipt["status"], receipt["from"], receipt["to"]) == ("0x1", mine, mine)
            assert int(receipt["blockNumber"], 16) == int(cancel[2])
            assert int(stage.node.call("eth_getTransactionByHash", cancel[1])["nonce"], 16) == before["nonce"]
            assert stage.node.call("eth_getTransactionReceipt", sent["tx_hash"]) is None
            assert stage.held() == before | {"nonce": before["nonce"] + 1}

    run(story(), LIMIT_S)
    assert verify_log(log).ok
    assert verify(log, advance=quiet).equal
    with LogReader(log) as reader:
        rows = [(row["purpose"], row["event"]) for row in reader.rows("transactions")]
        [by] = [row["actor"] for row in reader.rows("operator") if row["action"] == "kill"]
    assert by.endswith(actor)
    assert rows[-2:] == [("cancel", "intent"), ("cancel", "sent")]


def test_nobody_else_uses_the_address(stage: Stage, tmp_path: Path) -> None:
    """A second xarb with the wallet is refused; a nonce that a stranger spends kills to `entries`, by name, and holds."""

    async def story() -> None:
        async with live(stage, tmp_path, *REAL) as it:
            await armed(stage, it)
            words = ("live", str(config(stage, tmp_path)), "--out", str(tmp_path / "other"), *REAL)
            code, _, err = await (await Command.start(*words)).end()
            assert (code, "main at local: process" in err, "trades with this key already" in err) == (1, True, True), err
            stage.node.call("anvil_impersonateAccount", stage.wallet.address)
            stage.node.call("eth_sendTransaction", {"from": stage.wallet.address, "to": stage.world.owner, "value": "0x1"})
            block(stage)
            kill = await it.until("operator", action="kill")
            assert kill["actor"] == "account"
            assert "spent by transactions that this log does not know" in kill["detail"]
            await it.stop(code=3)

    run(story(), LIMIT_S)
    assert verify(tmp_path / "log", advance=quiet).equal


def test_on_paper_nothing_leaves(stage: Stage, tmp_path: Path) -> None:
    """The same config and the same chain, without a wallet: the simulated chain swaps, and a backtest of the log does the same."""

    async def story() -> None:
        async with live(stage, tmp_path, "--set", "live.mode=paper", "--set", 'chains.local.sending.wallet="nobody"') as it:
            await armed(stage, it)
            before = stage.held()
            gap(stage)
            await it.until("sim_receipts", event="sent")
            block(stage)
            await it.until("sim_receipts", event="succeeded")
            await it.stop()
            assert stage.held() == before
            assert it.found("transactions") == []

    run(story(), LIMIT_S)
    assert verify(tmp_path / "log", advance=quiet).equal
    backtest(load_experiment(tmp_path / "dex.toml"), log=tmp_path / "log", out=tmp_path / "run", advance=quiet)
    assert diff(tmp_path / "log", tmp_path / "run").differences == []
