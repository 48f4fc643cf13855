"""A chain of a test: pools that seeded traders move, blocks that hold their logs, reorgs; and what a plain model makes of its rows.

The truth of each block is a copy of all pools as of its end, kept by hash. The plain model knows no undo: it reads the blocks that
stand from the start again, and moves pools by what rows state.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from tests.pools.made import random_concentrated, random_product
from xarb.engine.pool import Maths
from xarb.log.batching import slow_row
from xarb.model.event import SlowRow
from xarb.pools.concentrated import Concentrated
from xarb.pools.constant_product import ConstantProduct
from xarb.pools.financing import LOANS, Loan
from xarb.wires import chains
from xarb.wires.chains import Block, BlockRow, ChainRow, LoanRow, Pool, PoolRow, SwapRow
from xarb.wires.rows import RowBuilder

VENUE = "ethereum"
SECOND = 10**9
START = 1_700_000_000
V3 = Pool(address="0x" + "3" * 40, kind="v3", token0="0xa0", token1="0xb0", decimals0=18, decimals1=6, fee_ppm=500, tick_spacing=60)
V2 = Pool(address="0x" + "2" * 40, kind="v2", token0="0xa0", token1="0xb0", decimals0=18, decimals1=6, fee_ppm=3000)


def copied(pools: Mapping[str, Maths]) -> dict[str, Maths]:
    """The pools as they are now."""
    return {name: pool.copy() if isinstance(pool, Concentrated) else pool for name, pool in pools.items()}


class ChainWorld:
    """The chain and its traders; `rows` are what a feed gives of it, in order, with their times."""

    def __init__(self, seed: int, *, swaps_only: bool = False) -> None:
        self.draw = random.Random(seed)  # noqa: S311  # a test's draw
        self.pools: dict[str, Maths] = {}
        three = random_concentrated(self.draw, (10**18, 10**20))
        three.fee_pips = V3.fee_ppm
        two = random_product(self.draw, (10**20, 10**22))
        self.pools[V3.address] = three
        self.pools[V2.address] = ConstantProduct(
            reserve0=two.reserve0, reserve1=two.reserve1, fee_numerator=V2.fee_ppm, fee_denominator=10**6
        )
        self.positions: list[tuple[int, int, int]] = []
        self.blocks: list[Block] = []
        self.truth: dict[str, dict[str, Maths]] = {}
        self.held: dict[str, list[PoolRow | SwapRow | LoanRow]] = {}
        self.rows: list[tuple[int, ChainRow]] = []
        self.now = START * SECOND
        self._hashes = 0
        self._swaps_only = swaps_only
        self._lenders = random.Random(f"lenders {seed}")  # noqa: S311  # a test's draw

    def mine(self, acts: int, *, snapshots: bool = False) -> Block:
        """A block on top of the last with so many acts, whose rows are given."""
        self.now += 12 * SECOND
        self._hashes += 1
        parent = self.blocks[-1].hash if self.blocks else "0xgenesis"
        number = self.blocks[-1].number + 1 if self.blocks else 100
        block = Block(
            venue=VENUE,
            conn=0,
            chain_id=1,
            number=number,
            hash=f"0x{self._hashes:064x}",
            parent_hash=parent,
            timestamp_s=self.now // SECOND,
            base_fee_wei=10**9 + number,
            gas_used=15_000_000,
            gas_limit=30_000_000,
            miner="0xmm",
        )
        rows: list[PoolRow | SwapRow | LoanRow] = []
        for _ in range(acts):
            rows += self._act(block, len(rows))
        if snapshots:
            rows += [chains.snapshot_row(block, pool, self.pools[pool.address]) for pool in (V2, V3)]
        if self._lenders.random() < 0.4:
            rows += [self._loan(block) for _ in range(self._lenders.randint(1, 3))]
        self.blocks.append(block)
        self.truth[block.hash], self.held[block.hash] = copied(self.pools), rows
        for row in rows:
            self.give(row)
        self.give(chains.block_row(block, len(rows)))
        return block

    def reorg(self, depth: int) -> None:
        """The last blocks are no more, the newest first."""
        for _ in range(depth):
            block = self.blocks.pop()
            self.give(chains.block_row(block, len(self.held[block.hash]), removed=True))
        self.pools = copied(self.truth[self.blocks[-1].hash])

    def give(self, row: ChainRow) -> None:
        """Give a row at this moment."""
        self.rows.append((self.now, row))

    def _act(self, block: Block, at: int) -> list[PoolRow | SwapRow]:
        kind = self.draw.choice(["swap3"] * 4 + ["swap2"] * 3 + ([] if self._swaps_only else ["mint", "burn", "sync"]))
        place = chains._place(block) | {"tx_index": at, "log_index": at * 3, "tx_hash": f"0x{at}"}  # a test's own
        return {"swap3": self._swap3, "swap2": self._swap2, "mint": self._mint, "burn": self._burn, "sync": self._sync}[kind](place)

    def _loan(self, block: Block) -> LoanRow:
        """What a lender says: often what it said before, at times nothing."""
        draw = self._lenders
        loan = Loan(
            way=draw.choice(LOANS),
            lender=draw.choice(["0xa1", "0xa2"]),
            premium_wad=draw.choice([None, 0, 5 * 10**14]),
            available=draw.choice([None, 0, 2**256 - 1, draw.randrange(10**24)]),
        )
        return chains.loan_row(block, loan, draw.choice([V2.token0, V2.token1]))

    def _pool_row(self, place: Mapping[str, Any], pool: Pool, cause: str, **state: Any) -> PoolRow:
        return PoolRow(**place, **chains._identity(pool), cause=cause, **state)  # a test's own

    def _swap3(self, place: dict[str, Any]) -> list[PoolRow | SwapRow]:
        pool, down = self.pools[V3.address], self.draw.random() < 0.5
        assert isinstance(pool, Concentrated)
        amount = int(10 ** self.draw.uniform(0, 19))
        way = self.draw.choice(["in", "out", "limit"])
        if way == "limit":
            limit = pool.sqrt_price * self.draw.randint(9900, 9999) // 10_000
            limit = limit if down else pool.sqrt_price * self.draw.randint(10_001, 10_100) // 10_000
            done = pool.cross(1 << 200, zero_for_one=down, limit=limit)
        else:
            done = pool.cross(amount, zero_for_one=down, exact_out=way == "out")
        pool.move(done.sqrt_price, done.tick, done.liquidity)
        deltas = (done.amount_in, -done.amount_out) if down else (-done.amount_out, done.amount_in)
        state = {"sqrt_price_x96": done.sqrt_price, "liquidity": done.liquidity, "tick": done.tick}
        return [
            self._pool_row(place, V3, "swap", **state),
            SwapRow(**place, symbol=V3.address, sender="0x5e", recipient="0x4e", delta0=deltas[0], delta1=deltas[1]),
        ]

    def _swap2(self, place: dict[str, Any]) -> list[PoolRow | SwapRow]:
        pool, down = self.pools[V2.address], self.draw.random() < 0.5
        assert isinstance(pool, ConstantProduct)
        done = pool.quote_in(int(10 ** self.draw.uniform(3, 20)), zero_for_one=down)
        given = done.amount_out - (self.draw.random() < 0.1)
        if given <= 0:
            return []
        after = pool.swapped(done.amount_in, given, zero_for_one=down)
        self.pools[V2.address] = after
        into = (done.amount_in, 0) if down else (0, done.amount_in)
        deltas = (done.amount_in, -given) if down else (-given, done.amount_in)
        follows = place | {"log_index": place["log_index"] + 1}
        return [
            self._pool_row(place, V2, "sync", reserve0=after.reserve0, reserve1=after.reserve1),
            SwapRow(
                **follows,
                symbol=V2.address,
                sender="0x5e",
                recipient="0x4e",
                delta0=deltas[0],
                delta1=deltas[1],
                in0=into[0],
                in1=into[1],
            ),
        ]

    def _sync(self, place: dict[str, Any]) -> list[PoolRow | SwapRow]:
        pool, factor = self.pools[V2.address], self.draw.randint(900, 1100)
        assert isinstance(pool, ConstantProduct)
        after = ConstantProduct(
            reserve0=pool.reserve0 * factor // 1000,
            reserve1=pool.reserve1 * factor // 1000,
            fee_numerator=pool.fee_numerator,
            fee_denominator=pool.fee_denominator,
        )
        self.pools[V2.address] = after
        return [self._pool_row(place, V2, "sync", reserve0=after.reserve0, reserve1=after.reserve1)]

    def _mint(self, place: dict[str, Any]) -> list[PoolRow | SwapRow]:
        pool = self.pools[V3.address]
        assert isinstance(pool, Concentrated)
        lower = (pool.tick // 60 + self.draw.randint(-20, 10)) * 60
        change = (lower, lower + self.draw.randint(1, 30) * 60, self.draw.randint(1, 10**20))
        self.positions.append(change)
        return self._resized(place, pool, *change, cause="mint")

    def _burn(self, place: dict[str, Any]) -> list[PoolRow | SwapRow]:
        pool = self.pools[V3.address]
        assert isinstance(pool, Concentrated)
        here = [one for one in self.positions if min(pool.gross.get(one[0], 0), pool.gross.get(one[1], 0)) >= one[2]]
        if not here or self.draw.random() < 0.1:
            tick = min(pool.gross)
            return self._resized(place, pool, tick, tick + 60, 0, cause="burn")  # collects fees
        lower, upper, liquidity = self.draw.choice(here)
        part = liquidity if self.draw.random() < 0.5 else self.draw.randint(1, liquidity)
        if lower <= pool.tick < upper and pool.liquidity < part:
            return []
        return self._resized(place, pool, lower, upper, -part, cause="burn")

    def _resized(self, place: dict[str, Any], pool: Concentrated, *change: int, cause: str) -> list[PoolRow | SwapRow]:
        try:
            pool.change(*change)
        except ValueError:
            return []  # another position ends there
        lower, upper, liquidity = change
        named = {"tick_lower": lower, "tick_upper": upper, "liquidity_delta": liquidity, "amount0": 1, "amount1": 1}
        return [self._pool_row(place, V3, cause, **named)]


def slow_rows(rows: Sequence[tuple[int, ChainRow]], first_seq: int = 0) -> list[SlowRow]:
    """The rows as the engine takes them, by way of what a log keeps."""
    builder = RowBuilder(next_seq=first_seq)
    for ts, row in rows:
        builder.put_chain(ts, row)
    return sorted((slow_row(kind, row) for kind, found in builder.take().items() for row in found), key=lambda row: row.seq)


def plain_states(rows: Sequence[tuple[int, ChainRow]]) -> list[dict[str, Any]]:
    """After each `blocks` row, what the blocks that stand leave, read from the start: by address the fields that rows state."""
    standing: list[list[ChainRow]] = []
    waiting: list[ChainRow] = []
    found = []
    for _, row in rows:
        if not isinstance(row, BlockRow):
            waiting.append(row)
            continue
        if row.event == "removed":
            standing.pop()
        else:
            standing.append(waiting)
            waiting = []
        found.append(_plain(row for block in standing for row in block))
    return found


def plain_loans(rows: Sequence[tuple[int, ChainRow]]) -> list[dict[tuple[str, str, str], tuple[int | None, int | None]]]:
    """After each `blocks` row, what lenders said last in the blocks that stand, by way, lender and token."""
    standing: list[list[ChainRow]] = [[]]
    found = []
    for _, row in rows:
        if not isinstance(row, BlockRow):
            standing[-1].append(row)
            continue
        if row.event == "removed":
            del standing[-2]
        else:
            standing.append([])
        said = [one for block in standing for one in block if isinstance(one, LoanRow)]
        found.append({(one.way, one.lender, one.token): (one.premium_wad, one.available) for one in said})
    return found


def _plain(rows: Any) -> dict[str, Any]:
    state: dict[str, Any] = {}
    for row in rows:
        if not isinstance(row, PoolRow):
            continue
        mine = state.setdefault(row.symbol, {"net": {}, "gross": {}})
        for name in ("reserve0", "reserve1", "sqrt_price_x96", "liquidity", "tick"):
            if getattr(row, name) is not None:
                mine[name] = getattr(row, name)
        if row.cause == "snapshot" and row.kind == "v3":
            mine["net"] = dict(zip(row.ticks or (), row.tick_nets or (), strict=True))
            mine["gross"] = dict(zip(row.ticks or (), row.tick_grosses or (), strict=True))
        if row.liquidity_delta is not None:
            for tick, sign in ((row.tick_lower, 1), (row.tick_upper, -1)):
                mine["net"][tick] = mine["net"].get(tick, 0) + sign * row.liquidity_delta
                mine["gross"][tick] = mine["gross"].get(tick, 0) + row.liquidity_delta
                if not mine["gross"][tick]:
                    del mine["gross"][tick], mine["net"][tick]
            assert row.tick_lower is not None
            assert row.tick_upper is not None
            if row.tick_lower <= mine["tick"] < row.tick_upper:
                mine["liquidity"] += row.liquidity_delta
    return state


def fields_of(maths: Maths | None) -> dict[str, Any]:
    """A pool of the engine as the plain model names its fields."""
    if maths is None:
        return {}
    if isinstance(maths, ConstantProduct):
        return {"net": {}, "gross": {}, "reserve0": maths.reserve0, "reserve1": maths.reserve1}
    return {
        "net": maths.net,
        "gross": maths.gross,
        "sqrt_price_x96": maths.sqrt_price,
        "liquidity": maths.liquidity,
        "tick": maths.tick,
    }
