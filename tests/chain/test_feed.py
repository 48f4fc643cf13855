"""A chain's feed against a real node, through every way in which nodes and connections fail: what is in the log is the chain."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine, Sequence
from typing import Any

import msgspec
import pytest

from tests.chain.conftest import Chain
from tests.chain.following import QUICK, Rebuilt, following, source_of
from tests.chain.market import Market
from tests.chain.proxy import FaultProxy, Message, is_head, proxied


def run(story: Coroutine[Any, Any, None]) -> None:
    """Within a time-out."""

    async def timed() -> None:
        async with asyncio.timeout(60):
            await story

    asyncio.run(timed())


def moving(chain: Chain, rate: float = 3.0) -> Market:
    """A market whose blocks come when the test wants them."""
    return Market(chain.node, chain.world, seed=9, rate=rate, interval_s=2.0)


def websocket(chain: Chain) -> str:
    """The node's own address."""
    return f"ws://127.0.0.1:{chain.node.port}"


@pytest.mark.parametrize("way", ["ipc", "websocket"])
def test_what_is_in_the_log_is_the_chain(chain: Chain, way: str) -> None:
    """Sixty blocks of swaps, mints and burns: complete, in order, and every field of every pool is the chain's."""

    async def story() -> None:
        market = moving(chain)
        address = str(chain.node.ipc) if way == "ipc" else websocket(chain)
        async with following(source_of(chain.world, address)) as feed:
            for number in range(60):
                market.block()
                if number % 7 == 0:
                    await feed.reach(chain.node)
            await feed.reach(chain.node)
            rebuilt = Rebuilt(feed.rows)
        rebuilt.compare(chain.node)
        assert len(rebuilt.blocks) == 61
        assert not feed.of("rejects")
        assert {row["cause"] for row in feed.of("pools")} == {"snapshot", "sync", "swap", "mint", "burn"}
        assert len(feed.of("swaps")) > 100
        assert not feed.links("gap")

    run(story())


def test_a_reorganisation_is_undone_and_followed(chain: Chain) -> None:
    """The newest blocks go, one row each, and those of the new branch come; the node tells it by nothing but new heads."""

    async def story() -> None:
        market = moving(chain)
        async with following(source_of(chain.world, str(chain.node.ipc))) as feed:
            for _ in range(12):
                market.block()
            await feed.reach(chain.node)
            before = Rebuilt(feed.rows).blocks
            chain.node.call("anvil_reorg", 5, [])
            market.block()
            await feed.reach(chain.node)
            rebuilt = Rebuilt(feed.rows)
            assert rebuilt.removed == 5
            assert rebuilt.blocks[: len(before) - 5] == before[:-5]
            assert not feed.links("gap")
            rebuilt.compare(chain.node)

    run(story())


def test_a_reorganisation_deeper_than_what_is_kept_begins_anew(chain: Chain) -> None:
    """A gap says so, and all pools are read as of one block."""

    async def story() -> None:
        market = moving(chain)
        policy = msgspec.structs.replace(QUICK, history=4)
        async with following(source_of(chain.world, str(chain.node.ipc), policy=policy)) as feed:
            for _ in range(12):
                market.block()
            await feed.reach(chain.node)
            chain.node.call("anvil_reorg", 9, [])
            market.block()
            await feed.reach(chain.node)
            rebuilt = Rebuilt(feed.rows)
            assert rebuilt.removed == 0
            assert [row["event"] for row in feed.links("gap", "resync")] == ["gap", "resync"]
            rebuilt.compare(chain.node)

    run(story())


def test_heads_that_are_lost_doubled_and_swapped_change_nothing(chain: Chain) -> None:
    """Every block comes once and in order, whatever is heard of it."""
    draw = random.Random(4)  # noqa: S311  # a test's draw
    held: list[Message] = []

    def rewrite(message: Message, method: str) -> Sequence[Message]:
        del method
        if not is_head(message):
            return [message]
        held.append(message)
        if len(held) < 4:
            return []
        out = [one for one in held if draw.random() < 0.7 for _ in range(draw.choice([1, 2]))]
        draw.shuffle(out)
        held.clear()
        return out

    async def story() -> None:
        market = moving(chain)
        async with proxied(chain.node.port) as proxy, following(source_of(chain.world, proxy.url)) as feed:
            proxy.rewrite = rewrite
            for _ in range(40):
                market.block()
                await asyncio.sleep(0)
            await feed.until(lambda: len(feed.of("blocks")) > 20, "most blocks")
            proxy.rewrite = _untouched
            market.block()
            await feed.reach(chain.node)
            rebuilt = Rebuilt(feed.rows)
            assert (len(rebuilt.blocks), rebuilt.removed) == (42, 0)
            rebuilt.compare(chain.node)

    run(story())


def _untouched(message: Message, method: str) -> Sequence[Message]:
    del method
    return [message]


def test_pools_are_read_again_one_after_the_other(chain: Chain) -> None:
    """Between two blocks, with what happened since: what is read is what the rows make of each pool."""

    async def story() -> None:
        market = moving(chain)
        policy = msgspec.structs.replace(QUICK, refresh_s=0.02)
        async with following(source_of(chain.world, str(chain.node.ipc), policy=policy)) as feed:
            again = 0
            for _ in range(400):
                market.block()
                await feed.reach(chain.node)
                again = sum(row["cause"] == "snapshot" for row in feed.of("pools")) - 9
                if again >= 18:
                    break
            Rebuilt(feed.rows).compare(chain.node)
            assert again >= 18
            assert {row["symbol"] for row in feed.of("pools")[9:] if row["cause"] == "snapshot"} == set(feed.source.pools)
            assert not feed.of("rejects")

    run(story())


@pytest.mark.parametrize("how", ["goodbye", "cut", "too big", "no json", "no object"])
def test_a_connection_that_ends_is_made_anew_and_what_was_missed_is_filled_in(chain: Chain, how: str) -> None:
    """A clean close, a broken socket, a message beyond the bound (1009), one that is no JSON or no object: no block is missing."""

    async def end(proxy: FaultProxy) -> None:
        if how == "goodbye":
            await proxy.close()
        elif how == "cut":
            proxy.cut()
        elif how == "too big":
            await proxy.inject({"jsonrpc": "2.0", "method": "eth_subscription", "params": "x" * (2 << 20)})
        elif how == "no json":
            await proxy.inject_text("{")
        else:
            await proxy.inject("hello")

    async def story() -> None:
        market = moving(chain)
        limits = msgspec.structs.replace(QUICK.limits, message_mb=1)
        policy = msgspec.structs.replace(QUICK, limits=limits)
        async with proxied(chain.node.port) as proxy, following(source_of(chain.world, proxy.url, policy=policy)) as feed:
            for _ in range(3):
                market.block()
                await feed.reach(chain.node)
                opened = len(feed.links("opened"))
                proxy.refuses = True
                await end(proxy)
                await feed.until(lambda: feed.links("lost"), "the loss")
                for _ in range(5):
                    market.block()
                proxy.refuses = False
                await feed.reach(chain.node)
                assert len(feed.links("opened")) == opened + 1
            rebuilt = Rebuilt(feed.rows)
            rebuilt.compare(chain.node)
            assert len(rebuilt.blocks) == 1 + 3 * 6
            assert len(feed.links("lost")) == 3
            assert not feed.links("gap")
            (why,) = {row["detail"].split(":")[0].split(" ")[0] for row in feed.links("lost")}
            assert "1009" in feed.links("lost")[0]["detail"] or how != "too big", why

    run(story())


def test_after_more_missed_blocks_than_are_filled_in_pools_are_read_anew(chain: Chain) -> None:
    """A long silence costs one snapshot and not every block."""

    async def story() -> None:
        market = moving(chain)
        policy = msgspec.structs.replace(QUICK, reach=5)
        async with proxied(chain.node.port) as proxy, following(source_of(chain.world, proxy.url, policy=policy)) as feed:
            proxy.refuses = True
            proxy.cut()
            await feed.until(lambda: feed.links("lost"), "the loss")
            for _ in range(12):
                market.block()
            proxy.refuses = False
            await feed.reach(chain.node)
            assert [row["event"] for row in feed.links("gap", "resync")] == ["gap", "resync"]
            rebuilt = Rebuilt(feed.rows)
            assert len(rebuilt.blocks) == 1
            rebuilt.compare(chain.node)

    run(story())


def test_a_frozen_node_is_noticed_and_another_one_followed(chain: Chain) -> None:
    """It neither answers nor closes; the pings tell, and what it did not tell is filled in by the other."""

    async def story() -> None:
        market = moving(chain)
        async with proxied(chain.node.port) as proxy, proxied(chain.node.port) as other:
            other.refuses = True
            async with following(source_of(chain.world, proxy.url, other.url)) as feed:
                other.refuses = False
                await feed.until(lambda: len(feed.links("opened")) == 2, "the other node")
                proxy.freeze()
                for _ in range(4):
                    market.block()
                await feed.reach(chain.node)
                Rebuilt(feed.rows).compare(chain.node)
                assert [row["value"] for row in feed.health("rpc_followed")] == [0, 1]
                await feed.until(lambda: feed.links("lost", "closed"), "the end of the frozen connection")
                proxy.thaw()

    run(story())
