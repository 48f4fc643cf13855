"""A kill without desk and engine, on a real node with a builder between: what waits is bid for, and what became of each nonce is proven."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

import pytest

from tests.chain.conftest import Chain
from tests.chain.stage import FEES, Stage, runs
from xarb.venues.dex import killing
from xarb.venues.dex.desk import ChainDesk
from xarb.venues.dex.killing import Terms, kill
from xarb.venues.dex.nonces import Nonces, rebuilt
from xarb.venues.dex.outgoing import Access
from xarb.venues.killing import Killed


@pytest.fixture
def stage(chain: Chain, code: str) -> Stage:
    """Everything."""
    return Stage(chain, code)


async def waiting(stage: Stage, *, orders: int = 1) -> ChainDesk:
    """A desk whose process is gone: of so many trades each waits."""
    desk = stage.desk()
    await desk.open()
    cycle, _ = stage.planned(blocks=50)
    for order in range(1, orders + 1):
        assert await desk.trade(stage.trade(cycle, order=order)) is not None
    return desk


async def killed(stage: Stage, *, fees: Any = FEES, log: bool = True, unread: str | None = None) -> Killed:
    """What a kill comes to that knows the rows so far, or none of them."""
    rows = [row.values for row in stage.rows if row.kind == "transactions"] if log else []
    nonces = rebuilt(Nonces("local", 31337, stage.wallet.address.lower()), rows)
    terms = Terms(
        account="hot",
        permits=stage.desk()._permits,
        fees=fees,
        wait_blocks=2,
        unread=unread,
        look_s=0.02,
        patience_s=0.4,
    )
    return await kill(terms, Access(stage.wallet, stage.builder, None), nonces, stage.keep)


async def until_replaced(stage: Stage, task: asyncio.Task[Killed]) -> Killed:
    """Blocks, but none as long as a trade of ours is in the pool."""
    while not task.done():
        trades = hashes(stage, "trade")
        if stage.builder.pool and not any(one.tx_hash in trades for one in stage.builder.pool):
            stage.builder.build()
        await asyncio.sleep(0.01)  # another task's bids
    return await task


def hashes(stage: Stage, purpose: str) -> list[str]:
    """Those of intents."""
    values = [row.values for row in stage.rows if row.kind == "transactions"]
    return [one["tx_hash"] for one in values if (one["event"], one["purpose"]) == ("intent", purpose)]


def test_what_waits_is_canceled_and_proven_by_its_receipt(stage: Stage) -> None:
    """At a tenth more; the trade is named, and what took its nonce in which block."""

    async def story() -> None:
        await waiting(stage)
        before = stage.held()
        done = await until_replaced(stage, asyncio.create_task(killed(stage)))
        [trade], [cancel] = hashes(stage, "trade"), hashes(stage, "cancel")
        block = int(stage.node.call("eth_blockNumber"), 16)
        assert done.canceled == (f"{trade} by {cancel} in block {block}",)
        assert (done.unproven, done.ended, done.failures, done.foreign) == ((), (), (), 0)
        assert stage.held() == before | {"nonce": before["nonce"] + 1}
        old, new = (row.values for row in stage.rows if row.kind == "transactions" and row.values["event"] == "intent")
        assert int(new["max_fee_wei"]) * 10 >= int(old["max_fee_wei"]) * 11
        assert int(new["tip_wei"]) * 10 >= int(old["tip_wei"]) * 11

    runs(story)


def test_a_trade_that_was_faster_is_said(stage: Stage) -> None:
    """Included before the kill looked, or between its look and its cancel: the trade has ended, and nothing is canceled."""

    async def story() -> None:
        await waiting(stage)
        stage.builder.build()
        done = await killed(stage)
        [trade] = hashes(stage, "trade")
        block = int(stage.node.call("eth_blockNumber"), 16)
        assert (done.ended, done.unproven) == ((f"{trade} succeeded in block {block}",), ())
        assert hashes(stage, "cancel") == []

    runs(story)


def test_what_no_block_takes_is_not_proven(stage: Stage) -> None:
    """Until the time is up; one cancel waits, and is named beside the trade."""

    async def story() -> None:
        await waiting(stage)
        done = await killed(stage)
        [trade], [cancel] = hashes(stage, "trade"), hashes(stage, "cancel")
        assert done.unproven == (f"nonce {stage.held()['nonce']}: {trade} or {cancel} may still be included",)
        assert done.canceled == done.ended == ()

    runs(story)


def test_a_higher_bid_is_made_while_no_block_takes_it(stage: Stage) -> None:
    """Blocks come and leave it out: every two of them it bids a tenth more, until the cap."""

    async def story() -> None:
        await waiting(stage)
        cap = int(stage.rows[-2].values["max_fee_wei"]) * 13 // 10  # two tenths more fit in
        task = asyncio.create_task(killed(stage, fees=FEES.__class__(tip_wei=FEES.tip_wei, cap_wei=cap, rises=1)))
        while not task.done():
            stage.node.call("evm_mine")
            await asyncio.sleep(0.02)  # the node's blocks, which the hunt looks for
        done = await task
        bids = [int(row.values["max_fee_wei"]) for row in stage.rows if row.values.get("event") == "intent"]
        assert len(bids) == 3
        assert all(new * 10 >= old * 11 for old, new in pairwise(bids))
        assert bids[-1] <= cap
        assert done.unproven[0].endswith(f"; a higher bid is above the cap of {cap} wei")

    runs(story)


def test_a_gap_below_what_waits_is_filled(stage: Stage) -> None:
    """The first of two trades was lost: behind its nonce nothing is mined, so that both are bid for."""

    async def story() -> None:
        desk = await waiting(stage, orders=2)
        before = stage.held()
        stage.builder.pool.pop(0)
        stage.keep(desk.nonces.dropped(hashes(stage, "trade")[0], "unseen"))
        done = await until_replaced(stage, asyncio.create_task(killed(stage)))
        assert done.unproven == ()
        assert [one.split()[0] for one in done.canceled] == hashes(stage, "trade")
        assert stage.held() == before | {"nonce": before["nonce"] + 2}

    runs(story)


def test_a_log_that_does_not_say_ends_all_that_waits(stage: Stage) -> None:
    """It does not know what was bid: it bids more until the node takes it. What it could not read stays unproven."""

    async def story() -> None:
        await waiting(stage)
        before = stage.held()
        done = await until_replaced(stage, asyncio.create_task(killed(stage, log=False, unread="damaged")))
        assert done.unproven == ("damaged",)
        assert len(done.canceled) == 1
        assert any("underpriced" in one for one in done.failures)
        assert stage.held() == before | {"nonce": before["nonce"] + 1}

    runs(story)


def test_what_others_wait_for_is_left_alone(stage: Stage) -> None:
    """With a log that says all: counted, and not bid for."""

    async def story() -> None:
        await waiting(stage)
        done = await killed(stage, log=False)
        assert (done.foreign, done.unproven, done.canceled) == (1, (), ())
        assert hashes(stage, "cancel") == []

    runs(story)


def test_a_nonce_that_a_stranger_spent(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """No receipt is of ours: not proven at once, and then told as what it is."""
    monkeypatch.setattr(killing, "SETTLE_S", 0.05)

    async def story() -> None:
        await waiting(stage)
        stage.builder.pool.clear()
        stage.node.call("anvil_setNonce", stage.wallet.address, hex(stage.held()["nonce"] + 1))
        done = await killed(stage)
        assert done.unproven == ()
        assert done.ended == (f"nonce {stage.held()['nonce'] - 1}: spent by a transaction that the log does not know",)

    runs(story)


def test_another_chain_proves_nothing(stage: Stage) -> None:
    """A node of another chain, or one that knows less than is final, or none: nothing is sent."""

    async def story() -> None:
        desk = await waiting(stage)
        stage.builder.build()
        await desk.look()
        for _ in range(4):
            stage.builder.build()
        await desk.look()
        stage.node.call("anvil_setNonce", stage.wallet.address, hex(0))
        done = await killed(stage)
        assert "another chain, or the node is behind" in done.unproven[0]
        stage.builder.refused["eth_chainId"] = "gone"
        done = await killed(stage)
        assert done.unproven == ("gone",)
        assert hashes(stage, "cancel") == []

    runs(story)
