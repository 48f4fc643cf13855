"""Pools as they would be: others' swaps stepped upon what is simulated, our own recorded ones left out, to the unit."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
import pytest

from tests.engine.chainworld import V2, V3, VENUE, ChainWorld, slow_rows
from xarb.engine.chains import Chains
from xarb.engine.pool import Maths, same
from xarb.model.event import SlowRow
from xarb.pools.concentrated import Concentrated
from xarb.venues.apart import Apart
from xarb.venues.asked import through
from xarb.venues.captured import ApartCopy
from xarb.wires.chains import PoolRow, SwapRow, listing_of

NUMBERS = {V2.address: 0, V3.address: 1}


class Put(NamedTuple):
    """A swap of an exact input (`is_out`: output), or liquidity for a range of the v3 pool; without a pool whatever the world draws.

    `is_ours` stands behind what others do in its block.
    """

    pool: str
    down: bool
    amount: int
    is_ours: bool = False
    span: tuple[int, int] | None = None
    is_out: bool = False


class Scripted(ChainWorld):
    """A chain whose blocks hold what a script says; of what an input and an output explain alike rows say that it was the coarser token's."""

    puts: Sequence[Put] = ()
    told: Sequence[Put] = ()

    def play(self, puts: Sequence[Put], *, snapshots: bool = False) -> list[Put]:
        """A block with these; what rows say of them."""
        self.puts, self.told = list(puts), []
        self.mine(len(puts), snapshots=snapshots)
        return list(self.told)

    def _act(self, block: Any, at: int) -> list[PoolRow | SwapRow]:
        put, self.puts = self.puts[0], self.puts[1:]
        name = f"0x{'a' if put.is_ours else 'b'}{block.number}{at}"
        place = {**_place(block), "tx_index": at, "log_index": at * 3, "tx_hash": name}
        self.told = [*self.told, put]
        if not put.pool:
            return super()._act(block, at)
        if put.span is not None:
            pool = self.pools[V3.address]
            assert isinstance(pool, Concentrated)
            return self._resized(place, pool, *put.span, put.amount, cause="mint")
        cost, given, after = _swapped(self.pools[put.pool], put)
        alike = [
            one
            for one in (put._replace(amount=cost, is_out=False), put._replace(amount=given, is_out=True))
            if one.amount > 0 and same(_swapped(self.pools[put.pool], one)[2], after)
        ]
        if not put.is_ours and len(alike) > 1:
            self.told = [*self.told[:-1], alike[given < cost]]
        self.pools[put.pool] = after
        deltas = (cost, -given) if put.down else (-given, cost)
        moved: dict[str, Any] = {"sender": "0x5e", "recipient": "0x4e", "delta0": deltas[0], "delta1": deltas[1]}
        if isinstance(after, Concentrated):
            state = {"sqrt_price_x96": after.sqrt_price, "liquidity": after.liquidity, "tick": after.tick}
            return [self._pool_row(place, V3, "swap", **state), SwapRow(**place, symbol=V3.address, **moved)]
        into: dict[str, Any] = {"in0": max(deltas[0], 0), "in1": max(deltas[1], 0)}
        follows = place | {"log_index": place["log_index"] + 1}
        held = {"reserve0": after.reserve0, "reserve1": after.reserve1}
        return [self._pool_row(place, V2, "sync", **held), SwapRow(**follows, symbol=V2.address, **moved, **into)]


def _swapped(pool: Maths, put: Put) -> tuple[int, int, Maths]:
    """What it costs and gives, and the pool after it."""
    if not put.is_out:
        given, after, _ = through(pool, put.amount, zero_for_one=put.down)
        return put.amount, given, after
    if isinstance(pool, Concentrated):
        done, moved = pool.cross(put.amount, zero_for_one=put.down, exact_out=True), pool.copy()
        moved.move(done.sqrt_price, done.tick, done.liquidity)
        return done.amount_in, done.amount_out, moved
    asked = pool.quote_out(put.amount, zero_for_one=put.down)
    return asked.amount_in, asked.amount_out, pool.swapped(*asked, zero_for_one=put.down)


def _place(block: Any) -> dict[str, Any]:
    names = ("venue", "conn", "chain_id")
    about = {name: getattr(block, name) for name in names}
    return about | {"ts_event": block.timestamp_s * 10**9, "block_number": block.number, "block_hash": block.hash}


def script(draw: random.Random, blocks: int) -> list[list[Put]]:
    """What others do in each block, and then we."""
    found = []
    for _ in range(blocks):
        puts = [
            Put(
                draw.choice((V2.address, V3.address)),
                down=draw.random() < 0.5,
                amount=int(10 ** draw.uniform(6, 16)),
                is_out=draw.random() < 0.3,
            )
            for _ in range(4)
        ]
        if draw.random() < 0.4:
            lower = draw.randint(-20, 10) * 60
            puts.append(Put(V3.address, down=True, amount=10**15, span=(lower, lower + 600)))
        ours = [Put(pool, draw.random() < 0.5, int(10 ** draw.uniform(14, 16)), is_ours=True) for pool in (V2.address, V3.address)]
        found.append(puts + (ours if draw.random() < 0.5 else []))
    return found


def worlds(seed: int, blocks: list[list[Put]], *, with_us: bool) -> tuple[Scripted, Scripted]:
    """The chain that is recorded, with us or without, and the other one, in which others do what the rows of the first say that they did."""
    recorded, other = Scripted(seed), Scripted(seed)
    for one in (recorded, other):
        one.play([], snapshots=True)
    for number, puts in enumerate(blocks):
        told = recorded.play([put for put in puts if with_us or not put.is_ours], snapshots=number % 4 == 3)
        theirs = [put for put in told if not put.is_ours]
        other.play(theirs if with_us else [*theirs, *(put for put in puts if put.is_ours)], snapshots=number % 4 == 3)
    return recorded, other


class Followed:
    """The pools of a log, and those apart from it."""

    def __init__(self, world: ChainWorld, own: frozenset[str] = frozenset()) -> None:
        self.world = world
        self.rows: list[SlowRow] = slow_rows(world.rows)
        self.chains = Chains([listing_of(VENUE, pool, "test").instrument for pool in (V2, V3)], {}, lambda *_: None, loans={})
        self.apart = Apart(self.chains, NUMBERS, own)

    def block(self) -> None:
        """Go on by a block."""
        while (row := self.rows.pop(0)).kind != "blocks":
            self.chains.apply(row)
        staged = self.chains.staged(VENUE, row.values["block_hash"])
        before = self.apart.before(staged)
        self.chains.apply(row)
        self.apart.follow(staged, before)

    def swap(self, puts: Sequence[Put]) -> None:
        """What is simulated."""
        for put in puts:
            if put.is_ours:
                self.apart.swap(NUMBERS[put.pool], put.amount, zero_for_one=put.down)

    def is_as(self, truth: dict[str, Maths]) -> bool:
        """Whether both pools are those."""
        return all(same(_known(self.apart.pool(number)), truth[name]) for name, number in NUMBERS.items())


def _known(pool: Maths | None) -> Maths:
    assert pool is not None
    return pool


def hashes(world: ChainWorld) -> frozenset[str]:
    """Transactions of ours."""
    return frozenset(row.tx_hash for _, row in world.rows if isinstance(row, SwapRow) and row.tx_hash.startswith("0xa"))


@pytest.mark.parametrize("seed", range(6))
def test_what_others_put_in_is_stepped_upon_what_is_simulated(seed: int) -> None:
    """A log without us, and our swaps simulated: after every block the pools are those of the chain that holds them; checkpoints change nothing."""
    blocks = script(random.Random(seed), 20)  # noqa: S311  # a test's draw
    alone, shared = worlds(seed, blocks, with_us=False)
    one = Followed(alone)
    one.block()
    for puts, block in zip(blocks, shared.blocks[1:], strict=True):
        one.block()
        one.swap(puts)
        assert one.is_as(shared.truth[block.hash])
        kept = one.apart.capture()
        one.apart = Apart(one.chains, NUMBERS, frozenset())
        one.apart.restore(msgspec.json.decode(msgspec.json.encode(kept), type=list[ApartCopy]))
        assert one.apart.capture() == kept
    assert kept


@pytest.mark.parametrize("seed", range(6))
def test_what_the_log_has_of_ours_is_left_out(seed: int) -> None:
    """A log that was traded on: without what we did the pools are those of the chain without us; simulated again, those of the log, and nothing is apart."""
    blocks = script(random.Random(100 + seed), 20)  # noqa: S311  # a test's draw
    shared, alone = worlds(seed, blocks, with_us=True)
    without, again = Followed(shared, hashes(shared)), Followed(shared, hashes(shared))
    without.block()
    again.block()
    for puts, block, real in zip(blocks, alone.blocks[1:], shared.blocks[1:], strict=True):
        without.block()
        assert without.is_as(alone.truth[block.hash])
        again.block()
        again.swap(puts)
        assert again.is_as(shared.truth[real.hash])
        assert again.apart.capture() == []
    assert without.apart.capture()


@pytest.mark.parametrize("seed", range(6))
def test_where_nothing_is_apart_others_may_do_what_they_like(seed: int) -> None:
    """Swaps that stop at a price, liquidity of both kinds: what the log has of ours, simulated again behind it, leaves the log's pools."""
    world = Scripted(seed)
    world.play([], snapshots=True)
    ours = [Put(pool, down=True, amount=10**13, is_ours=True) for pool in (V2.address, V3.address)]
    for _ in range(25):
        world.play([*(Put("", down=True, amount=1) for _ in range(4)), *ours])
    one = Followed(world, hashes(world))
    one.block()
    compared = 0
    for block in world.blocks[1:]:
        one.block()
        if None in (one.apart.pool(0), one.apart.pool(1)):
            break  # somebody took all liquidity, or a fee that is none: no swap is simulated there any more
        one.swap(ours)
        assert one.is_as(world.truth[block.hash])
        assert one.apart.capture() == []
        compared += 1
    assert compared > 3
