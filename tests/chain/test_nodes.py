"""Nodes that lie, lag, keep silent or are of another chain: what they say does not get into the log, or is taken back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.chain.conftest import Chain
from tests.chain.contracts import call_data
from tests.chain.following import QUICK, Following, Rebuilt, following, source_of
from tests.chain.node import running
from tests.chain.proxy import Message, Rewrite, is_head, proxied
from tests.chain.test_feed import moving, run, websocket
from tests.chain.world import load
from xarb.errors import ConfigError, Retryable
from xarb.venues.dex.endpoint import Endpoint
from xarb.venues.dex.loading import load_pools
from xarb.wires.evm import SIGNATURES


def answers(method: str, change: Callable[[Any], Any]) -> Rewrite:
    """A node whose answers to one method are changed; None: they are kept back."""

    def rewrite(message: Message, asked: str) -> Sequence[Message]:
        if asked != method or "result" not in message:
            return [message]
        result = change(message["result"])
        return [] if result is None else [message | {"result": result}]

    return rewrite


def heads(change: Callable[[Any], Sequence[Any]]) -> Rewrite:
    """A node whose announcements are changed."""

    def rewrite(message: Message, asked: str) -> Sequence[Message]:
        del asked
        if not is_head(message):
            return [message]
        return [message | {"params": message["params"] | {"result": one}} for one in change(message["params"]["result"])]

    return rewrite


def _is_open(one: Endpoint) -> bool:
    return one.is_open


def _has_more(feed: Following, before: int) -> bool:
    return len(feed.of("pending")) - before >= 5


@pytest.mark.parametrize(
    ("lie", "rule"),
    [
        (lambda logs: [log | {"removed": True} for log in logs], "removed"),
        (lambda logs: [log | {"blockHash": "0x" + "11" * 32} for log in logs], "not of"),
        (lambda logs: logs[::-1], "comes after"),
        (lambda logs: logs + logs, "comes after"),
        (lambda logs: [log | {"address": "0x" + "11" * 20} for log in logs], "not asked for"),
        (lambda logs: {"logs": logs}, "no list"),
    ],
)
def test_logs_that_cannot_be_are_never_taken(chain: Chain, lie: Callable[[Any], Any], rule: str) -> None:
    """Removed, of another block, twice, out of order, of others: that node is believed no more, and another one tells the block."""

    async def story() -> None:
        market = moving(chain, rate=4.0)
        async with proxied(chain.node.port) as proxy, proxied(chain.node.port) as honest:
            honest.refuses = True
            async with following(source_of(chain.world, proxy.url, honest.url)) as feed:
                honest.refuses = False
                proxy.rewrite = answers("eth_getLogs", lie)
                for _ in range(4):
                    market.block()
                await feed.reach(chain.node)
                rebuilt = Rebuilt(feed.rows)
                rebuilt.compare(chain.node)
                assert (len(rebuilt.blocks), rebuilt.removed) == (5, 0)
                (row,) = feed.health("rpc_distrusted")
                assert rule in row["detail"]
                assert [row["rule"] for row in feed.of("rejects")] == ["bad_answer"]
                assert not feed.links("gap")

    run(story())


def test_logs_that_are_left_out_are_found_by_comparison(chain: Chain) -> None:
    """A node that tells less than another lies: pools are read anew from the other one, and a gap says from where on nothing counts."""

    async def story() -> None:
        market = moving(chain, rate=4.0)
        async with proxied(chain.node.port) as proxy:  # noqa: SIM117  # two lines read better
            async with following(source_of(chain.world, proxy.url, str(chain.node.ipc))) as feed:
                liar, honest = feed.feed.streams
                await feed.until(lambda: liar.is_open and honest.is_open, "both nodes")
                while feed.feed.current is not liar:
                    honest.give_up("the test wants the other one")
                    await asyncio.sleep(0.02)  # it comes back, and the other one is followed meanwhile
                await feed.until(lambda: honest.is_open, "both nodes again")
                proxy.rewrite = answers("eth_getLogs", lambda logs: logs[:-1])
                for _ in range(6):
                    market.block()
                await feed.until(lambda: feed.health("rpc_distrusted"), "the liar found")
                await feed.reach(chain.node)
                await feed.until(lambda: feed.links("resync"), "a new beginning")
                market.block()
                await feed.reach(chain.node)
                (row,) = feed.health("rpc_distrusted")
                assert row["value"] == 0
                assert "another node, which has more" in row["detail"]
                assert [row["event"] for row in feed.links("gap", "resync")] == ["gap", "resync"]
                Rebuilt(feed.rows).compare(chain.node)

    run(story())


def test_a_node_that_puts_its_logs_in_order_late_is_not_taken_for_a_liar(chain: Chain) -> None:
    """It is asked once more before anybody is believed less."""
    answered: list[int] = []

    def late(logs: list[Message]) -> list[Message]:
        answered.append(len(logs))
        return [] if len(answered) == 1 else logs

    async def story() -> None:
        market = moving(chain, rate=4.0)
        async with proxied(chain.node.port) as proxy:
            proxy.refuses = True
            async with following(source_of(chain.world, str(chain.node.ipc), proxy.url)) as feed:
                proxy.refuses = False
                await feed.until(lambda: len(feed.links("opened")) == 2, "both nodes")
                proxy.rewrite = answers("eth_getLogs", late)
                market.block()
                await feed.reach(chain.node)
                await feed.until(lambda: len(answered) > 1, "the second question")
                market.block()
                await feed.reach(chain.node)
                assert answered[0] > 0
                assert not feed.health("rpc_distrusted")
                assert not feed.health("rpc_disagree")

    run(story())


def test_the_only_node_is_asked_again_after_a_while(chain: Chain) -> None:
    """One wrong answer does not end a recording for ever: what was missed meanwhile is filled in."""

    async def story() -> None:
        market = moving(chain, rate=4.0)
        policy = msgspec.structs.replace(QUICK, distrust_s=0.5)
        async with (
            proxied(chain.node.port) as proxy,
            following(source_of(chain.world, proxy.url, policy=policy)) as feed,
        ):
            proxy.rewrite = answers("eth_getLogs", lambda logs: logs + logs)
            market.block()
            await feed.until(lambda: feed.health("rpc_distrusted"), "the wrong answer")
            proxy.rewrite = answers("nothing", lambda result: result)
            market.block()
            await feed.reach(chain.node)
            rebuilt = Rebuilt(feed.rows)
            assert len(rebuilt.blocks) == 3
            rebuilt.compare(chain.node)

    run(story())


def test_the_majority_says_which_branch_is_the_chain(chain: Chain, world_folder: Path, tmp_path: Path) -> None:
    """A node on a branch of its own is followed until two others name other blocks; then its blocks are taken back."""

    async def story() -> None:
        with running(tmp_path, fresh=False) as other:
            load(other, world_folder)
            async with following(source_of(chain.world, str(other.ipc), str(chain.node.ipc), websocket(chain))) as feed:
                await feed.until(lambda: len(feed.links("opened")) == 3, "all nodes")
                stray = feed.feed.streams[0]
                for one in feed.feed.streams[1:]:
                    while feed.feed.current is not stray and feed.feed.current is not None:
                        feed.feed.current.give_up("the test wants the stray one")
                        await asyncio.sleep(0.02)  # another one is chosen meanwhile
                    await feed.until(partial(_is_open, one), "the node again")
                for _ in range(3):
                    other.transact(chain.world.owner, chain.world.tokens["WETH"], call_data("deposit()"), value=10**15)
                await feed.reach(other)
                market = moving(chain)
                for _ in range(3):
                    market.block()
                await feed.until(lambda: feed.health("rpc_distrusted"), "the stray one found")
                await feed.reach(chain.node)
                (row,) = feed.health("rpc_distrusted")
                assert (row["value"], "another hash than most" in row["detail"]) == (0, True)
                rebuilt = Rebuilt(feed.rows)
                assert rebuilt.removed == 3
                rebuilt.compare(chain.node)

    run(story())


def test_two_nodes_that_disagree_are_named_and_neither_is_believed_less(chain: Chain, world_folder: Path, tmp_path: Path) -> None:
    """Nobody can say which of two is right: it is on record, once a block."""

    async def story() -> None:
        with running(tmp_path, fresh=False) as other:
            load(other, world_folder)
            async with following(source_of(chain.world, str(other.ipc), str(chain.node.ipc))) as feed:
                await feed.until(lambda: len(feed.links("opened")) == 2, "both nodes")
                market = moving(chain)
                for _ in range(3):
                    market.block()
                    other.transact(chain.world.owner, chain.world.tokens["WETH"], call_data("deposit()"), value=10**15)
                await feed.until(lambda: feed.health("rpc_disagree"), "the disagreement")
                assert not feed.health("rpc_distrusted")
                detail = feed.health("rpc_disagree")[0]["detail"]
                assert str(other.ipc) in detail
                assert str(chain.node.ipc) in detail

    run(story())


def test_a_node_that_lags_is_left_until_it_has_caught_up(chain: Chain) -> None:
    """It answers, but of the past; the other one is followed, and its return is on record too."""
    pinned: dict[str, Any] = {}

    def rewrite(message: Message, method: str) -> Sequence[Message]:
        if is_head(message):
            return []
        if method == "eth_getBlockByNumber" and isinstance(message.get("result"), dict):
            return [message | {"result": pinned}]
        return [message]

    async def story() -> None:
        market = moving(chain)
        async with proxied(chain.node.port) as proxy, proxied(chain.node.port) as other:
            other.refuses = True
            policy = msgspec.structs.replace(QUICK, silent_s=30.0)
            async with following(source_of(chain.world, proxy.url, other.url, policy=policy)) as feed:
                other.refuses = False
                await feed.until(lambda: len(feed.links("opened")) == 2, "both nodes")
                pinned.update(chain.node.call("eth_getBlockByNumber", "latest", False))
                proxy.rewrite = rewrite
                for _ in range(8):
                    market.block()
                await feed.reach(chain.node)
                assert [row["value"] for row in feed.health("rpc_followed")] == [0, 1]
                assert [row["value"] for row in feed.health("rpc_behind")] == [8]
                proxy.rewrite = answers("nothing", lambda result: result)
                market.block()
                await feed.until(lambda: len(feed.health("rpc_behind")) == 2, "the return")
                assert feed.health("rpc_behind")[1]["value"] == 0
                await feed.reach(chain.node)
                Rebuilt(feed.rows).compare(chain.node)

    run(story())


def test_a_subscription_that_died_is_noticed(chain: Chain) -> None:
    """The node lives and mines, and announces nothing: a new connection is made, and nothing is missing. One that rests is left alone."""

    async def story() -> None:
        market = moving(chain)
        async with proxied(chain.node.port) as proxy, following(source_of(chain.world, proxy.url)) as feed:
            await feed.until(lambda: feed.health("chain_silent_ms"), "the silence of a chain that rests")
            assert not feed.links("lost", "closed")
            proxy.rewrite = heads(lambda _: [])
            for _ in range(3):
                market.block()
            await feed.until(lambda: feed.links("closed"), "the end of the connection")
            assert "not announced any more" in feed.links("closed")[0]["detail"]
            await feed.reach(chain.node)
            assert len(Rebuilt(feed.rows).blocks) == 4

    run(story())


@pytest.mark.parametrize(
    ("fault", "trace"),
    [
        (heads(lambda head: [head | {"number": "soon"}]), "bad_head"),
        (heads(lambda head: [{**head, "hash": "0x" + "33" * 32}]), None),
        (answers("eth_getLogs", lambda _: None), "late"),
    ],
    ids=["unreadable heads", "heads of blocks that are not", "answers that never come"],
)
def test_faults_of_single_messages_lose_no_block(chain: Chain, fault: Rewrite, trace: str | None) -> None:
    """What cannot be read is kept as a reject, what does not exist is not followed, what does not come ends the connection."""

    async def story() -> None:
        market = moving(chain)
        async with proxied(chain.node.port) as proxy, following(source_of(chain.world, proxy.url)) as feed:
            proxy.rewrite = fault
            market.block()
            if trace == "bad_head":
                await feed.until(lambda: feed.of("rejects"), "the reject")
                assert feed.of("rejects")[0]["rule"] == trace
            elif trace is not None:
                await feed.until(lambda: feed.links("closed"), "the end of the connection")
                assert "no answer in 1 s" in feed.links("closed")[0]["detail"]
            else:
                await feed.until(lambda: "eth_getLogs" in proxy.calls[-3:] or feed.links("closed"), "a try")
            proxy.rewrite = answers("nothing", lambda result: result)
            market.block()
            await feed.reach(chain.node)
            rebuilt = Rebuilt(feed.rows)
            assert len(rebuilt.blocks) == 3
            rebuilt.compare(chain.node)

    run(story())


def test_removed_logs_and_strangers_messages_say_nothing(chain: Chain) -> None:
    """Logs are asked for by block: pushed ones, removed or not, and answers to what nobody asked change nothing."""
    log = {"removed": True, "address": chain.world.v2_pairs["sushi WETH/DAI"], "topics": [], "data": "0x"}
    pushed = {"jsonrpc": "2.0", "method": "eth_subscription", "params": {"subscription": "0xdead", "result": log}}

    async def story() -> None:
        market = moving(chain)
        async with proxied(chain.node.port) as proxy, following(source_of(chain.world, proxy.url)) as feed:
            strange: list[Message] = [
                pushed,
                {"jsonrpc": "2.0", "id": 999_999, "result": []},
                {"jsonrpc": "2.0", "id": None, "error": {}},
            ]
            for one in strange:
                await proxy.inject(one)
                market.block()
            await feed.reach(chain.node)
            assert len(feed.links("opened")) == 1
            assert not feed.of("rejects")
            Rebuilt(feed.rows).compare(chain.node)

    run(story())


def test_a_log_that_is_not_what_its_topic_says_makes_pools_be_read_anew(chain: Chain) -> None:
    """It is kept as a reject; from its block on nothing counts until then, because nobody knows what it did."""
    sync = SIGNATURES["v2"]["Sync(uint112,uint112)"]

    def broken(logs: list[Message]) -> list[Message]:
        return [log | {"data": "0x1234"} if log["topics"][0] == sync else log for log in logs]

    async def story() -> None:
        market = moving(chain, rate=4.0)
        async with proxied(chain.node.port) as proxy, following(source_of(chain.world, proxy.url)) as feed:
            proxy.rewrite = answers("eth_getLogs", broken)
            while not feed.of("rejects"):
                market.block()
                await asyncio.sleep(0.02)  # until one trades on v2
            proxy.rewrite = answers("nothing", lambda result: result)
            await feed.until(lambda: feed.links("resync"), "a new beginning")
            market.block()
            await feed.reach(chain.node)
            assert feed.of("rejects")[0]["rule"] == "bad_log"
            assert feed.links("gap")
            Rebuilt(feed.rows).compare(chain.node)

    run(story())


def test_transactions_are_seen_before_their_inclusion(chain: Chain) -> None:
    """Each once, as the followed node tells it: whole, or looked up by its hash where the node gives only that."""
    refused: list[int] = []

    def by_hash(message: Message, method: str) -> Sequence[Message]:
        result = message.get("params", {}).get("result")
        if method == "eth_getTransactionByHash" and not refused:
            refused.append(message["id"])
            return [{"jsonrpc": "2.0", "id": message["id"], "error": {"code": -32000, "message": "not found"}}]
        if isinstance(result, dict) and "nonce" in result and "parentHash" not in result:
            return [message | {"params": message["params"] | {"result": result["hash"]}}]
        return [message]

    async def story() -> None:
        market = moving(chain)
        async with proxied(chain.node.port) as proxy, following(source_of(chain.world, proxy.url, pending=True)) as feed:
            for rewrite in (answers("nothing", lambda result: result), by_hash):
                proxy.rewrite = rewrite
                before = len(feed.of("pending"))
                market.block()
                await feed.until(partial(_has_more, feed, before), "transactions")
            await feed.reach(chain.node)
            rows = feed.of("pending")
            assert len({row["tx_hash"] for row in rows}) == len(rows)
            assert {row["sender"] for row in rows} == {chain.world.owner.lower()}
            unseen = {row["tx_hash"] for row in feed.of("swaps")} - {row["tx_hash"] for row in rows}
            assert len(unseen) <= len(refused) == 1
            assert len(feed.links("opened")) == 1  # a transaction that is gone again is no reason to leave
            assert all(row["data"] and row["gas_limit"] == 2_000_000 for row in rows)

    run(story())


def test_a_node_of_another_chain_is_refused(chain: Chain) -> None:
    """At the start with the addresses' names, and later where one that reconnects is suddenly somebody else's."""

    async def story() -> None:
        with pytest.raises(ConfigError, match="is of chain 31337, not 1"):
            await load_pools(msgspec.structs.replace(source_of(chain.world, websocket(chain)), chain_id=1))
        with pytest.raises(Retryable, match="nowhere"):
            await load_pools(source_of(chain.world, "/nowhere.ipc"), tries=1)
        async with proxied(chain.node.port) as proxy:  # noqa: SIM117  # two lines read better
            async with following(source_of(chain.world, str(chain.node.ipc), proxy.url)) as feed:
                await feed.until(lambda: len(feed.links("opened")) == 2, "both nodes")
                proxy.rewrite = answers("eth_chainId", lambda _: "0x1")
                proxy.cut()
                await feed.until(lambda: feed.health("rpc_distrusted"), "the stranger found")
                assert "of chain 1, not 31337" in feed.health("rpc_distrusted")[0]["detail"]
                market = moving(chain)
                market.block()
                await feed.reach(chain.node)

    run(story())


def test_a_node_that_is_catching_up_is_not_followed(chain: Chain) -> None:
    """It says so itself."""

    async def story() -> None:
        async with proxied(chain.node.port) as proxy:  # two lines read better
            proxy.rewrite = answers("eth_syncing", lambda _: {"currentBlock": "0x1", "highestBlock": "0x99"})
            async with following(source_of(chain.world, proxy.url, str(chain.node.ipc))) as feed:
                await feed.until(lambda: feed.health("connect_failed_status"), "its refusal")
                assert "catching up" in feed.health("connect_failed_status")[0]["detail"]
                assert feed.feed.current is feed.feed.streams[1]
                assert not feed.feed.streams[0].is_open

    run(story())
