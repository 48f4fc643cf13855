"""A chain's feed under test: what it puts into a log, and pools rebuilt from that alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from tests.chain.node import Node
from tests.chain.states import concentrated, constant_product, fields
from tests.chain.world import World
from xarb.model.columns import TABLES
from xarb.pools.concentrated import Concentrated
from xarb.pools.constant_product import ConstantProduct
from xarb.venues.clock import Clock
from xarb.venues.dex.endpoint import ChainPolicy
from xarb.venues.dex.feed import ChainFeed, ChainSource
from xarb.venues.dex.lending import Lender
from xarb.venues.dex.loading import load_pools
from xarb.venues.dex.reading import Factory
from xarb.venues.dex.rpc import RpcLimits
from xarb.venues.intake import Intake
from xarb.wires.decimals import Listing
from xarb.wires.rows import Row, RowBuilder

CHAIN_ID = 31_337
V2_FEE_PPM = 3000
WAIT_S = 20.0
QUICK = ChainPolicy(
    limits=RpcLimits(connect_s=2.0, call_s=1.0, ping_s=0.3, close_s=0.1),
    silent_s=0.5,
    lag_s=0.3,
    disagree_s=0.3,
    again_s=0.2,
    tick_s=0.05,
    first_pause_s=0.02,
    longest_pause_s=0.1,
)

# For tests of what comes and not of what fails: a machine that is busy for seconds is no node that is gone.
PATIENT = msgspec.structs.replace(QUICK, limits=RpcLimits(connect_s=20.0, call_s=20.0, ping_s=20.0, close_s=0.1), silent_s=20.0)


def source_of(
    world: World, *rpc: str, policy: ChainPolicy = QUICK, pending: bool = False, lenders: tuple[Lender, ...] = ()
) -> ChainSource:
    """All pools of the world."""
    factories = [Factory(name=name, address=one.lower(), kind="v2", fee_ppm=V2_FEE_PPM) for name, one in world.v2_factories.items()]
    factories.append(Factory(name="v3", address=world.v3_factory.lower(), kind="v3"))
    pools = [one.lower() for one in (*world.v2_pairs.values(), *world.v3_pools.values())]
    return ChainSource(
        venue="local",
        chain_id=CHAIN_ID,
        rpc=rpc,
        pools=tuple(pools),
        factories=tuple(factories),
        lenders=lenders,
        pending=pending,
        policy=policy,
    )


class Following:
    """A feed at work.

    Attributes:
        rows: everything that it put down, in order of seq: kind and values by column.
    """

    def __init__(self, source: ChainSource) -> None:
        self.source = source
        self.rows: list[tuple[str, dict[str, Any]]] = []
        self._came = asyncio.Event()
        self.intake = Intake(RowBuilder(), Clock(0), self._deliver)
        self.feed: ChainFeed

    def _deliver(self, parts: dict[str, list[Row]]) -> None:
        found = [(row[0], kind, row) for kind, rows in parts.items() for row in rows]
        for _, kind, row in sorted(found, key=lambda one: one[0]):
            self.rows.append((kind, _named(kind, row)))
        self._came.set()

    def of(self, kind: str) -> list[dict[str, Any]]:
        """The rows of a kind."""
        return [values for name, values in self.rows if name == kind]

    def health(self, metric: str) -> list[dict[str, Any]]:
        """The readings of a metric."""
        return [row for row in self.of("health") if row["metric"] == metric]

    def links(self, *events: str) -> list[dict[str, Any]]:
        """What became of connections."""
        return [row for row in self.of("connections") if row["event"] in events]

    async def until(self, is_so: Callable[[], object], what: str) -> None:
        """Wait until something is so."""
        async with asyncio.timeout(WAIT_S):
            while not is_so():
                self._came.clear()
                try:
                    async with asyncio.timeout(0.05):  # not everything that is waited for comes as a row
                        await self._came.wait()
                except TimeoutError:
                    continue
        assert is_so(), what

    async def reach(self, node: Node) -> None:
        """Wait until the node's latest block is in the log."""
        block = node.call("eth_getBlockByNumber", "latest", False)

        def is_there() -> bool:
            last = next((row for kind, row in reversed(self.rows) if kind == "blocks"), None)
            return last is not None and (last["event"], last["block_hash"]) == ("added", block["hash"])

        await self.until(is_there, f"block {block['number']}")


@asynccontextmanager
async def following(source: ChainSource) -> AsyncIterator[Following]:
    """The feed of a source, from its first snapshot to the end."""
    found = Following(source)
    listings = [Listing(one) for one in await load_pools(source)]
    found.feed = ChainFeed(source, listings, intake=found.intake, first_conn=0)
    task = asyncio.ensure_future(found.feed.run())
    begun = asyncio.ensure_future(found.until(lambda: found.of("blocks"), "a first block"))
    try:
        await asyncio.wait({task, begun}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
        begun.result()
        yield found
        if task.done():
            task.result()
    finally:
        begun.cancel()
        task.cancel()
        await asyncio.gather(task, begun, return_exceptions=True)
        found.intake.flush()


def _named(kind: str, row: Row) -> dict[str, Any]:
    return {
        column.name: column.values[value] if column.values and value is not None else value
        for column, value in zip(TABLES[kind].columns, row, strict=True)
    }


class Rebuilt:
    """Pools as the rows of a log say that they are; nothing else is known.

    Every rule of the rows is checked on the way: a block's rows stand together, in log order, and their count is that of the row which
    closes it; a block follows the one before it, but after a gap; only the latest is removed.
    """

    def __init__(self, rows: Iterable[tuple[str, dict[str, Any]]]) -> None:
        self.blocks: list[str] = []
        self.removed = 0
        self._states: list[dict[str, Concentrated | ConstantProduct]] = [{}]  # after each block
        self._loans: list[dict[tuple[str, str, str], tuple[str | None, str | None]]] = [{}]
        self._kinds: dict[str, str] = {}
        self._open: list[tuple[str, dict[str, Any]]] = []
        self._has_gap = self._had_gap = True
        conns: set[int] = set()
        for kind, row in rows:
            if kind in ("pools", "swaps", "loans"):
                self._open.append((kind, row))
            elif kind == "blocks":
                self._close(row)
            elif kind == "connections" and row["venue"] == "local":
                is_new = (
                    row["event"] == "opened" and row["conn"] not in conns
                )  # another process: it begins with the pools as they are
                self._has_gap |= is_new or row["event"] == "gap"
                conns.add(row["conn"])
        assert not self._open, "rows of a block that was never closed"

    @property
    def tip(self) -> str | None:
        """Hash of the latest block."""
        return self.blocks[-1] if self.blocks else None

    @property
    def loans(self) -> dict[tuple[str, str, str], tuple[str | None, str | None]]:
        """Premium and depth by way, lender and token, as of the latest block."""
        return self._loans[-1]

    def _close(self, row: dict[str, Any]) -> None:
        digest = row["block_hash"]
        if row["event"] == "removed":
            assert (self._open, self.tip) == ([], digest)
            self.removed += 1
            self.blocks.pop()
            self._states.pop()
            self._loans.pop()
            return
        assert row["rows"] == len(self._open)
        assert {one["block_hash"] for _, one in self._open} <= {digest}
        places = [one["log_index"] for kind, one in self._open if kind != "loans" and one["log_index"] is not None]
        assert places == sorted(places)
        snapshots = [one for kind, one in self._open if kind == "pools" and one["log_index"] is None]
        lent = [one for kind, one in self._open if kind == "loans"]
        assert snapshots + lent == [one for _, one in self._open[len(places) :]]
        self._had_gap = self._has_gap
        if row["parent_hash"] != self.tip:
            assert self._has_gap, "a block without its parent"
            assert snapshots, "a beginning without a state"
            self.blocks, self._states, self._loans = [], [{}], [{}]
        if snapshots:
            self._has_gap = False
        state = {pool: one.copy() if isinstance(one, Concentrated) else one for pool, one in self._states[-1].items()}
        loans = {} if self._had_gap else dict(self._loans[-1])
        loans |= {(one["way"], one["lender"], one["token"]): (one["premium_wad"], one["available"]) for one in lent}
        for kind, one in self._open:
            if kind == "pools":
                self._apply(state, one)
        self.blocks.append(digest)
        self._states.append(state)
        self._loans.append(loans)
        self._open = []

    def _apply(self, state: dict[str, Concentrated | ConstantProduct], row: dict[str, Any]) -> None:
        pool, cause = row["symbol"], row["cause"]
        self._kinds[pool] = row["kind"]
        before = state.get(pool)
        if before is not None and cause == "snapshot" and not self._had_gap:
            state.pop(pool)
            self._apply(state, row)
            assert fields(state[pool]) == fields(before), f"a snapshot of {pool} is not what its rows made of it"
            return
        if row["kind"] == "v2":
            state[pool] = ConstantProduct(reserve0=int(row["reserve0"]), reserve1=int(row["reserve1"]))
        elif cause == "snapshot":
            numbers = zip(row["ticks"], row["tick_nets"], row["tick_grosses"], strict=True)
            state[pool] = Concentrated(
                fee_pips=row["fee_ppm"],
                tick_spacing=row["tick_spacing"],
                sqrt_price=int(row["sqrt_price_x96"]),
                tick=row["tick"],
                liquidity=int(row["liquidity"]),
                ticks={tick: (int(net), int(gross)) for tick, net, gross in numbers},
            )
        elif cause == "swap":
            assert isinstance(before, Concentrated)
            before.move(int(row["sqrt_price_x96"]), row["tick"], int(row["liquidity"]))
        else:
            assert isinstance(before, Concentrated)
            before.change(row["tick_lower"], row["tick_upper"], int(row["liquidity_delta"]))

    def compare(self, node: Node) -> None:
        """Every field of every pool is the chain's."""
        assert len(self._states[-1]) == len(self._kinds) > 0
        for pool, state in self._states[-1].items():
            chained = constant_product(node, pool) if self._kinds[pool] == "v2" else concentrated(node, pool)
            assert fields(state) == fields(chained), pool
