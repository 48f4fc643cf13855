"""The engine, fed with rows of a real chain, against the chain itself."""

from __future__ import annotations

import os
from typing import Any

from tests.chain.conftest import Chain
from tests.chain.contracts import read
from tests.chain.states import concentrated, constant_product, fields
from tests.chain.traders import Traders
from tests.defaults import engine_setup, feed_limits
from tests.engine.chainworld import SECOND, VENUE, slow_rows
from xarb.engine.engine import Engine, Stop
from xarb.model.batch import NO_BOOKS, NO_DELTAS, NO_QUOTES, NO_TRADES, Batch
from xarb.model.event import OutputRow, named
from xarb.wires.chains import Block, ChainRow, Log, Pool, block_row, listing_of, log_rows, snapshot_row

ACTS = int(os.environ.get("XARB_CHAIN_ACTS", "1000"))  # a longer run: XARB_CHAIN_ACTS=20000


class Feed:
    """Reads blocks of the node into an engine, each complete, and takes them back."""

    def __init__(self, chain: Chain) -> None:
        self.node, world = chain
        kinds = dict.fromkeys(world.v2_pairs.values(), "v2") | dict.fromkeys(world.v3_pools.values(), "v3")
        self.pools = {address.lower(): self._pool(address, kind) for address, kind in kinds.items()}
        instruments = [listing_of(VENUE, pool, "node").instrument for pool in self.pools.values()]
        count = len(instruments)
        setup = engine_setup(
            instruments=instruments,
            groups=[[number] for number in range(count)],
            sources=[0] * count,
            limits=[feed_limits()] * count,
            fees={},
            opening={},
            connections=1,
            log_id="L",
        )
        self.engine = Engine(setup, [])
        self.blocks: list[Block] = []
        self.counts: list[int] = []
        self.rows: dict[str, int] = {}
        self.seq = 0
        self.outputs: list[OutputRow] = []

    def _pool(self, address: str, kind: str) -> Pool:
        def ask(to: str, signature: str, returns: str) -> Any:
            return read(self.node, to, signature, returns=[returns])[0]

        tokens = [ask(address, f"token{side}()", "address").lower() for side in (0, 1)]
        decimals = [ask(token, "decimals()", "uint8") for token in tokens]
        return Pool(
            address=address.lower(),
            kind=kind,
            token0=tokens[0],
            token1=tokens[1],
            decimals0=decimals[0],
            decimals1=decimals[1],
            fee_ppm=3000 if kind == "v2" else ask(address, "fee()", "uint24"),
            factory=ask(address, "factory()", "address").lower(),
            tick_spacing=None if kind == "v2" else ask(address, "tickSpacing()", "int24"),
        )

    def follow(self, *, snapshots: bool = False) -> None:
        """All blocks up to the newest, with a snapshot of every pool at its end where that is wanted."""
        head = int(self.node.call("eth_blockNumber"), 16)
        first = self.blocks[-1].number + 1 if self.blocks else head
        for number in range(first, head + 1):
            block = self._block(number)
            rows: list[ChainRow] = []
            if self.blocks:
                logs = self.node.call("eth_getLogs", {"blockHash": block.hash, "address": list(self.pools)})
                for log in logs:
                    rows += log_rows(block, self.pools[log["address"].lower()], _log(log))
            if snapshots and number == head:
                rows += [snapshot_row(block, pool, self.chained(pool)) for pool in self.pools.values()]
            for row in rows:
                name = type(row).__name__ + getattr(row, "cause", "")
                self.rows[name] = self.rows.get(name, 0) + 1
            self.blocks.append(block)
            self.counts.append(len(rows))
            self._give([*rows, block_row(block, len(rows))])

    def back_to(self, number: int) -> None:
        """The blocks after that one are no more."""
        while self.blocks[-1].number > number:
            block, count = self.blocks.pop(), self.counts.pop()
            self._give([block_row(block, count, removed=True)])

    def chained(self, pool: Pool) -> Any:
        """The pool as the chain has it now."""
        return constant_product(self.node, pool.address) if pool.kind == "v2" else concentrated(self.node, pool.address)

    def check(self) -> None:
        """Every field of every pool, and no flag."""
        for number, pool in enumerate(self.pools.values()):
            mine = self.engine.chains.pool(number)
            assert mine is not None, self.engine.chains.feed(number)
            assert fields(mine) == fields(self.chained(pool)), pool
        assert [named(row) for row in self.outputs if row[0] == "flags"] == []

    def _give(self, rows: list[ChainRow]) -> None:
        slow = slow_rows([(SECOND, row) for row in rows], self.seq)  # all at one time: silence is not asked about here
        self.engine.load(Batch(self.seq, self.seq + len(rows) - 1, NO_QUOTES, NO_DELTAS, NO_TRADES, NO_BOOKS, slow))
        assert self.engine.run() is Stop.END
        self.outputs += self.engine.outputs.drain()
        self.seq += len(rows)

    def _block(self, number: int) -> Block:
        found = self.node.call("eth_getBlockByNumber", hex(number), False)
        return Block(
            venue=VENUE,
            conn=0,
            chain_id=int(self.node.call("eth_chainId"), 16),
            number=number,
            hash=found["hash"],
            parent_hash=found["parentHash"],
            timestamp_s=int(found["timestamp"], 16),
            base_fee_wei=int(found["baseFeePerGas"], 16),
            gas_used=int(found["gasUsed"], 16),
            gas_limit=int(found["gasLimit"], 16),
            miner=found["miner"],
        )


def _log(found: dict[str, Any]) -> Log:
    return Log(
        tx_index=int(found["transactionIndex"], 16),
        log_index=int(found["logIndex"], 16),
        tx_hash=found["transactionHash"],
        topics=tuple(found["topics"]),
        data=found["data"],
    )


def test_the_engine_has_the_pools_of_the_chain(chain: Chain) -> None:
    """After a thousand acts of traders, with blocks taken back on the way: every field of every pool, and no swap that our maths does not explain."""
    feed = Feed(chain)
    feed.follow(snapshots=True)
    traders = Traders(chain.node, chain.world, seed=8)
    for act in range(ACTS):
        if act % 100 == 99:
            feed.follow()
            number, kept = feed.blocks[-1].number, chain.node.call("evm_snapshot")
            for _ in range(5):
                traders.act()
            feed.follow()
            assert chain.node.call("evm_revert", kept)
            feed.back_to(number)
            feed.check()
        traders.act()
        feed.follow(snapshots=act % 250 == 0)
    feed.check()
    assert min(feed.rows[name] for name in ("PoolRowsync", "PoolRowswap", "PoolRowmint", "PoolRowburn", "SwapRow")) > ACTS // 50
    states = [named(row) for row in feed.outputs if row[0] == "feed_states"]
    assert [(row["previous"], row["state"]) for row in states] == [("down", "live")] * len(feed.pools)
