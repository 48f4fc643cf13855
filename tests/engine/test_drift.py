"""What is wrong with a pool whose rows are not what our maths makes of them, and when it may be traded again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from tests.engine.chainworld import V2, V3, ChainWorld, fields_of, slow_rows
from tests.engine.test_chains import engine, fold, told
from tests.pools.made import concentrated
from xarb.engine.drift import CrossedTo, Drift, Paid, judge_crossing, judge_paid
from xarb.pools.concentrated import Concentrated
from xarb.pools.constant_product import ConstantProduct
from xarb.pools.ticks import sqrt_price_at
from xarb.wires.chains import BlockRow, ChainRow, Pool, PoolRow, SwapRow


def without(world: ChainWorld, index: int, chosen: Callable[[ChainRow], bool]) -> None:
    """Take rows out of what was given from `index` on, so that their blocks say nothing of them."""
    kept: list[tuple[int, ChainRow]] = []
    gone = 0
    for ts, row in world.rows[index:]:
        if isinstance(row, BlockRow):
            kept.append((ts, msgspec.structs.replace(row, rows=row.rows - gone)))
            gone = 0
        elif chosen(row):
            gone += 1
        else:
            kept.append((ts, row))
    world.rows[index:] = kept


def changed(world: ChainWorld, kind: type, pool: str, change: Callable[[Any], dict[str, Any]]) -> None:
    """Change the last row of that kind of a pool."""
    at = max(n for n, (_, row) in enumerate(world.rows) if isinstance(row, kind) and getattr(row, "symbol", "") == pool)
    ts, row = world.rows[at]
    world.rows[at] = ts, msgspec.structs.replace(row, **change(row))


def world_of(seed: int = 7, **changes: Any) -> ChainWorld:
    """A chain with one wide position, on which swaps move the price within ranges and across."""
    world = ChainWorld(seed, swaps_only=True)
    pool = concentrated(V3.fee_ppm, 60, sqrt_price_at(30), [(-6000, 6000, 10**20), (-600, 600, 10**20)])
    for name, value in changes.items():
        setattr(pool, name, value)
    world.pools[V3.address] = pool
    return world


def flags(world: ChainWorld) -> list[str]:
    """What the engine tells of all rows but for the first states."""
    one, _ = engine()
    return [text for text in told(fold(one, slow_rows(world.rows))) if "down live" not in text]


def test_sound_swaps_are_never_a_drift() -> None:
    """Exact input, exact output, limits, and swaps of v2 that leave a unit: hundreds of them."""
    world = world_of()
    world.mine(0, snapshots=True)
    for _ in range(40):
        world.mine(20)
    world.mine(0, snapshots=True)
    assert flags(world) == []


def test_a_swap_of_v3_that_is_not_in_the_log() -> None:
    """The next swap does not begin where the one before it ended."""
    world = world_of()
    world.mine(0, snapshots=True)
    at = len(world.rows)
    world.mine(12)
    world.mine(12)
    gone = next(row.block_hash for _, row in world.rows[at:] if isinstance(row, PoolRow))
    without(world, at, lambda row: getattr(row, "symbol", "") == V3.address and getattr(row, "block_hash", "") == gone)
    assert flags(world) == ["v3 pool_missed_event None None", "v3 live drifted"]


def test_a_mint_that_is_not_in_the_log() -> None:
    """The next swap has more liquidity than we know of."""
    world = world_of()
    world.mine(0, snapshots=True)
    pool = world.pools[V3.address]
    assert isinstance(pool, Concentrated)
    pool.change(-60_00, 60_00, 10**19)
    world.mine(12)
    assert flags(world) == ["v3 pool_missed_event None None", "v3 live drifted"]


def test_a_burn_of_what_is_not_there() -> None:
    """More is taken away than we know of: a mint is not in the log."""
    world = world_of()
    world.mine(0, snapshots=True)
    world.mine(30)
    changed(
        world,
        PoolRow,
        V3.address,
        lambda _: {"cause": "burn", "tick_lower": -600, "tick_upper": 600, "liquidity_delta": -(10**21)},
    )
    assert flags(world) == ["v3 pool_missed_event None None", "v3 live drifted"]


@pytest.mark.parametrize("real", [100, 490, 3000, 10_000])
def test_another_fee_of_v3(real: int) -> None:
    """The first swap shows it, with the fee that it was."""
    world = world_of(fee_pips=real)
    world.mine(0)
    start = world.pools[V3.address]
    assert isinstance(start, Concentrated)
    stated = start.copy()
    stated.fee_pips = V3.fee_ppm
    world.pools[V3.address] = stated
    world.rows.clear()
    world.blocks.clear()
    world.mine(0, snapshots=True)
    stated.fee_pips = real
    for _ in range(3):
        world.mine(4)
    found = flags(world)
    assert found[-1] == "v3 live drifted"
    rule, value, bound = found[0].split()[1:]
    assert (rule, bound) == ("pool_wrong_fee", "500")
    assert abs(int(value) - real) <= 1


def _with_v2_fee(real: int, blocks: int) -> ChainWorld:
    """Swaps of v2 at a fee that is not 3000 ppm, large enough to show it."""
    world = world_of()
    world.mine(0, snapshots=True)
    pool = world.pools[V2.address]
    assert isinstance(pool, ConstantProduct)
    world.pools[V2.address] = msgspec.structs.replace(pool, fee_numerator=real)
    for _ in range(blocks):
        world.mine(10)
    return world


def test_a_lower_fee_of_v2_shows_at_once() -> None:
    """No contract of our fee gives so much."""
    found = flags(_with_v2_fee(1000, 3))
    assert found[0].startswith("v2 pool_wrong_fee ")
    assert abs(int(found[0].split()[2]) - 1000) <= 5
    assert found[1] == "v2 live drifted"


def test_a_higher_fee_of_v2_shows_after_sixteen_swaps() -> None:
    """One that gives less than the quote says nothing: who swaps may leave something. Sixteen in a row do."""
    few = _with_v2_fee(10_000, 3)
    swaps = [row for _, row in few.rows if isinstance(row, SwapRow) and row.symbol == V2.address]
    assert 0 < len(swaps) < 16
    assert flags(few) == []
    found = flags(_with_v2_fee(10_000, 12))
    assert found[0].startswith("v2 pool_wrong_fee ")
    assert abs(int(found[0].split()[2]) - 10_000) <= 5
    assert found[1:] == ["v2 live drifted"]


def _last_swap_of_v2(world: ChainWorld) -> tuple[PoolRow, SwapRow]:
    rows = [row for _, row in world.rows if getattr(row, "symbol", "") == V2.address]
    swap = [row for row in rows if isinstance(row, SwapRow)][-1]
    sync = next(
        row
        for row in rows
        if isinstance(row, PoolRow) and row.log_index == swap.log_index - 1 and row.block_hash == swap.block_hash
    )
    return sync, swap


def test_a_token_that_takes_a_part_of_what_leaves_the_pool() -> None:
    """The reserve of the token that went out is less than the swap says."""
    world = world_of()
    world.mine(0, snapshots=True)
    world.mine(8)
    sync, swap = _last_swap_of_v2(world)
    out = "reserve1" if swap.delta1 < 0 else "reserve0"
    at = next(n for n, (_, row) in enumerate(world.rows) if row is sync)
    world.rows[at] = world.rows[at][0], msgspec.structs.replace(sync, **{out: getattr(sync, out) - 1000})
    world.rows[:] = [one for one in world.rows if not (isinstance(one[1], PoolRow | SwapRow) and _after(one[1], swap))]
    held = sum(not isinstance(row, BlockRow) and row.block_hash == swap.block_hash for _, row in world.rows)  # type: ignore[union-attr]  # of a block
    ts, block = world.rows[-1]
    assert isinstance(block, BlockRow)
    world.rows[-1] = ts, msgspec.structs.replace(block, rows=held)
    assert flags(world) == ["v2 pool_fee_on_transfer None None", "v2 live drifted"]


def _after(row: PoolRow | SwapRow, swap: SwapRow) -> bool:
    return row.block_hash == swap.block_hash and row.symbol == swap.symbol and (row.log_index or 0) > swap.log_index


def test_a_sync_of_v2_that_is_not_in_the_log() -> None:
    """Both reserves are others than the swap makes of those before it."""
    world = world_of()
    world.mine(0, snapshots=True)
    at = len(world.rows)
    world.mine(10)
    world.mine(10)
    gone = world.blocks[-2].hash
    without(world, at, lambda row: getattr(row, "symbol", "") == V2.address and getattr(row, "block_hash", "") == gone)
    assert flags(world) == ["v2 pool_missed_event None None", "v2 live drifted"]


def test_amounts_that_no_pool_of_v3_gives() -> None:
    """Neither a missed event nor a fee explains them."""
    world = world_of()
    world.mine(0, snapshots=True)
    world.mine(12)
    changed(world, SwapRow, V3.address, lambda row: {"delta0": row.delta0 * 7, "delta1": row.delta1 // 3})
    assert flags(world) == ["v3 pool_unknown_drift None None", "v3 live drifted"]


def test_a_drift_by_a_missed_event_ends_with_a_snapshot_that_agrees() -> None:
    """The first snapshot is taken over, the second must be what we made of it; then the pool is live."""
    world = world_of()
    world.mine(0, snapshots=True)
    changed(world, PoolRow, V3.address, lambda row: {"liquidity": row.liquidity + 1, "tick_nets": row.tick_nets})
    one, _ = engine()
    fold(one, slow_rows(world.rows))
    at = len(world.rows)
    world.mine(6, snapshots=True)
    assert told(fold(one, slow_rows(world.rows[at:], at))) == ["v3 pool_missed_event None None", "v3 live drifted"]
    at = len(world.rows)
    world.mine(6)
    assert told(fold(one, slow_rows(world.rows[at:], at))) == []
    assert one.chains.pool(1) is None
    at = len(world.rows)
    world.mine(6, snapshots=True)
    assert told(fold(one, slow_rows(world.rows[at:], at))) == ["v3 drifted live"]
    assert fields_of(one.chains.pool(1)) == fields_of(world.pools[V3.address])


def test_another_fee_stays() -> None:
    """No snapshot makes a pool live again whose fee is not what it was taken for."""
    world = world_of()
    world.mine(0, snapshots=True)
    world.mine(4, snapshots=True)
    changed(world, PoolRow, V3.address, lambda _: {"fee_ppm": 3000})
    pool = world.pools[V3.address]
    assert isinstance(pool, Concentrated)
    for _ in range(2):
        world.mine(0, snapshots=True)
        changed(world, PoolRow, V3.address, lambda _: {"fee_ppm": 3000})
    assert flags(world) == ["v3 pool_wrong_fee 3000 500", "v3 live drifted"]


def test_a_pool_that_cannot_be() -> None:
    """A tick that is not the price's, as a fork with other maths has it."""
    world = world_of()
    world.mine(0, snapshots=True)
    world.mine(4, snapshots=True)
    changed(world, PoolRow, V3.address, lambda row: {"tick": row.tick + 500})
    assert flags(world) == ["v3 pool_unknown_drift None None", "v3 live drifted"]


def test_swaps_that_leave_a_little_are_no_other_fee() -> None:
    """Twenty swaps that each leave a hundred-thousandth are of a careful trader; and one with two tokens in tells nothing of the fee."""
    pool = ConstantProduct(reserve0=10**24, reserve1=10**24, fee_numerator=3000, fee_denominator=10**6)
    out = pool.quote_in(10**20, zero_for_one=True).amount_out
    given = out - out // 100_000
    assert judge_paid(pool, pool.swapped(10**20, given, zero_for_one=True), Paid(10**20, 0, 10**20, -given)) == (True, None)
    low = out - out // 1000
    exact, shown = judge_paid(pool, pool.swapped(10**20, low, zero_for_one=True), Paid(10**20, 0, 10**20, -low))
    assert not exact
    assert shown is not None
    assert shown.bound == 3000
    assert shown.value is not None
    assert 3990 <= shown.value <= 4010
    both = Paid(10**20, 10**18, 10**20, 10**18 - out)
    after = msgspec.structs.replace(pool, reserve0=pool.reserve0 + both.delta0, reserve1=pool.reserve1 + both.delta1)
    assert judge_paid(pool, after, both) == (False, None)


def _crossed(pool: Concentrated, amount: int, *, exact_out: bool = False) -> CrossedTo:
    """What the log of a swap that lets the price fall says."""
    done = pool.cross(amount, zero_for_one=True, exact_out=exact_out)
    return CrossedTo(done.amount_in, -done.amount_out, done.sqrt_price, done.liquidity, done.tick)


def test_exact_output_that_is_less_than_the_price_moves() -> None:
    """With so much liquidity one unit of the price is more than the output: neither the limit nor the input alone explains it."""
    pool = concentrated(500, 60, sqrt_price_at(0) + 5, [(-6000, 6000, 10**34)])
    assert judge_crossing(pool, _crossed(pool, 12_345, exact_out=True)) is None


def test_liquidity_that_was_missed_far_from_the_price() -> None:
    """The swap ended a little within a range that we do not know of."""
    known, real = (
        concentrated(500, 60, sqrt_price_at(0) + 5, [(-6000, 6000, 10**20), *more]) for more in ([], [(-6000, -1200, 10**20)])
    )
    assert judge_crossing(known, _crossed(real, 65 * 10**17)) == Drift("pool_missed_event")


@pytest.mark.parametrize("pool", [V2, V3])
def test_a_snapshot_that_is_not_what_we_made(pool: Pool) -> None:
    """Without any row between, it differs: an event was missed."""
    world = world_of()
    world.mine(0, snapshots=True)
    world.mine(0, snapshots=True)
    column = "reserve0" if pool is V2 else "liquidity"
    changed(world, PoolRow, pool.address, lambda row: {column: getattr(row, column) + 1})
    assert flags(world) == [f"{pool.kind} pool_missed_event None None", f"{pool.kind} live drifted"]
