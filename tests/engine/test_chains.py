"""Blocks and pools as the engine follows them: complete blocks alone, undone exactly, silent, gapped, drifted."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from tests.defaults import engine_setup, feed_limits, strategy_terms
from tests.engine.chainworld import SECOND, V2, V3, VENUE, ChainWorld, fields_of, plain_loans, plain_states, slow_rows
from tests.engine.table import Watcher
from xarb.engine.captured import EngineCopy
from xarb.engine.engine import Engine, Stop
from xarb.engine.strategy import View, Wake, Wakes
from xarb.errors import LogError
from xarb.model.batch import NO_BOOKS, NO_DELTAS, NO_QUOTES, NO_TRADES, Batch
from xarb.model.event import OutputRow, SlowRow, named
from xarb.wires.chains import ChainRow, PoolRow, SwapRow, listing_of

NUMBER = {V2.address: 0, V3.address: 1}


class Seer(Watcher):
    """Notes at each block what it sees of chain and pools."""

    def __init__(self) -> None:
        super().__init__("seer", Wakes(blocks=(VENUE,)))
        self.seen: list[tuple[Any, ...]] = []

    def on_wake(self, wake: Wake, view: View) -> Sequence[Any]:
        """Block number and base fee, both pools' fields, and who lends what."""
        block = view.block(VENUE)
        head = None if block is None else (block.number, block.base_fee_wei)
        pools = {name: fields_of(view.pool(number)) for name, number in NUMBER.items()}
        copied = {name: {key: dict(v) if isinstance(v, dict) else v for key, v in one.items()} for name, one in pools.items()}
        lent = {
            (loan.way, loan.lender, token): (loan.premium_wad, loan.available)
            for token in (V2.token0, V2.token1)
            for loan in view.loans(VENUE, token)
        }
        self.seen.append((wake.kind, wake.venue, head, copied, lent))
        return ()


def engine() -> tuple[Engine, Seer]:
    """An engine of two pools of one chain."""
    seer = Seer()
    instruments = [listing_of(VENUE, pool, "test").instrument for pool in (V2, V3)]
    setup = engine_setup(
        instruments=instruments,
        groups=[[0], [1]],
        sources=[0, 0],
        limits=[feed_limits()] * 2,
        fees={},
        opening={},
        connections=1,
        log_id="L",
        terms={"seer": strategy_terms()},
    )
    return Engine(setup, [seer]), seer


def fold(one: Engine, rows: Sequence[SlowRow]) -> list[OutputRow]:
    """Apply rows as one batch; the outputs."""
    one.load(Batch(rows[0].seq, rows[-1].seq, NO_QUOTES, NO_DELTAS, NO_TRADES, NO_BOOKS, list(rows)))
    assert one.run() is Stop.END
    return one.outputs.drain()


def told(outputs: Sequence[OutputRow]) -> list[str]:
    """Feed states and flags as text."""
    names = {V2.address: "v2", V3.address: "v3", "": "chain"}
    found = []
    for row in outputs:
        values = named(row)
        if row[0] == "feed_states":
            found.append(f"{names[values['symbol']]} {values['previous']} {values['state']}")
        if row[0] == "flags":
            found.append(f"{names[values['symbol']]} {values['rule']} {values['value']} {values['bound']}")
    return found


def quiet(ts: int, seq: int) -> SlowRow:
    """A row that only lets time pass."""
    return SlowRow(seq, ts, "health", {"venue": None, "metric": "lag_ns", "value": 0, "detail": None})


def connected(seq: int, ts: int, event: str, symbol: str | None = None) -> SlowRow:
    """A row of the chain's connection."""
    return SlowRow(seq, ts, "connections", {"conn": 0, "venue": VENUE, "symbol": symbol, "event": event})


@pytest.mark.parametrize("seed", range(6))
def test_states_are_those_of_the_plain_model_at_every_block(seed: int) -> None:
    """Over hundreds of acts, with reorgs of up to five blocks and periodic snapshots; and the traders' own pools agree."""
    world = ChainWorld(seed)
    world.mine(0, snapshots=True)
    truths = [world.truth[world.blocks[-1].hash]]
    for _ in range(40):
        if len(world.blocks) > 6 and world.draw.random() < 0.2:
            depth = world.draw.randint(1, 5)
            hashes = [block.hash for block in world.blocks[-depth - 1 : -1]][::-1]
            world.reorg(depth)
            truths += [world.truth[one] for one in hashes]
        world.mine(world.draw.randint(0, 12), snapshots=world.draw.random() < 0.1)
        truths.append(world.truth[world.blocks[-1].hash])
    one, seer = engine()
    outputs = fold(one, slow_rows(world.rows))
    assert told(outputs) == ["v2 down live", "v3 down live"]
    assert len(seer.seen) == len(truths)
    lends = plain_loans(world.rows)
    assert len({str(sorted(one.items(), key=str)) for one in lends}) > 10
    for (kind, venue, _, pools, lent), plain, truth, lends_now in zip(
        seer.seen, plain_states(world.rows), truths, lends, strict=True
    ):
        assert (kind, venue) == ("block", VENUE)
        assert lent == lends_now
        assert pools == plain
        assert pools == {name: fields_of(pool) for name, pool in truth.items()}
    assert seer.seen[-1][2] == (world.blocks[-1].number, world.blocks[-1].base_fee_wei)


@pytest.mark.parametrize("seed", range(3))
def test_cuts_and_copies_change_nothing(seed: int) -> None:
    """However the rows are cut into batches, and where a copy goes on in a fresh engine: the same outputs, sights and copies."""
    world = ChainWorld(seed + 50)
    world.mine(3, snapshots=True)
    for _ in range(12):
        if len(world.blocks) > 4 and world.draw.random() < 0.4:
            world.reorg(world.draw.randint(1, 3))
        world.mine(world.draw.randint(0, 5), snapshots=world.draw.random() < 0.2)
    rows = slow_rows(world.rows)
    whole, seer = engine()
    outputs = fold(whole, rows)
    draw = random.Random(seed)  # noqa: S311  # a test's draw
    again, other = engine()
    found: list[OutputRow] = []
    seen: list[tuple[Any, ...]] = []
    at = 0
    while at < len(rows):
        size = draw.randint(1, 9)
        found += fold(again, rows[at : at + size])
        at += size
        copy = msgspec.json.decode(msgspec.json.encode(again.capture()), type=EngineCopy)
        seen += other.seen
        again, other = engine()
        again.restore(copy)
        assert msgspec.json.encode(again.capture()) == msgspec.json.encode(copy)
    assert found == outputs
    assert seen == seer.seen
    assert msgspec.json.encode(again.capture().decisions.chains) == msgspec.json.encode(whole.capture().decisions.chains)


def test_a_chain_is_stale_at_its_exact_time_and_live_with_its_next_block() -> None:
    """60 s after the last block, before the first input that is later; not while blocks come."""
    world = ChainWorld(1)
    world.mine(2, snapshots=True)
    first = len(world.rows)
    at = world.now
    world.now += 100 * SECOND
    world.mine(2)
    one, _ = engine()
    rows = slow_rows(world.rows)
    assert told(fold(one, rows[:first])) == ["v2 down live", "v3 down live"]
    outputs = fold(one, [quiet(at + 60 * SECOND, first)])
    assert told(outputs) == []
    outputs = fold(one, [quiet(at + 60 * SECOND + 1, first + 1)])
    assert told(outputs) == ["v2 live stale", "v3 live stale"]
    assert {row[3] for row in outputs} == {at + 60 * SECOND}
    assert (one.chains.pool(0), one.chains.feed(0).tradable) == (None, False)
    later = slow_rows(world.rows[first:], first + 2)
    assert told(fold(one, later)) == ["v2 stale live", "v3 stale live"]


def test_a_block_cut_off_counts_for_nothing_and_comes_again() -> None:
    """Half a block before a lost connection changes nothing; the whole block after it does, once."""
    world = ChainWorld(2)
    world.mine(2, snapshots=True)
    first = len(world.rows)
    world.mine(8)
    block = world.rows[first:]
    one, seer = engine()
    fold(one, slow_rows(world.rows[:first]))
    seq = first
    half = slow_rows(block[: len(block) // 2], seq)
    seq += len(half)
    assert told(fold(one, half)) == []
    assert told(fold(one, [connected(seq, world.now, "lost")])) == ["v2 live down", "v3 live down"]
    assert told(fold(one, [connected(seq + 1, world.now, "opened"), *slow_rows(block, seq + 2)])) == [
        "v2 down live",
        "v3 down live",
    ]
    assert seer.seen[-1][3] == {name: fields_of(pool) for name, pool in world.pools.items()}


def _without_a_row(world: ChainWorld) -> list[tuple[int, ChainRow]]:
    """A block of which one row is not in the log."""
    at = len(world.rows)
    world.mine(6)
    return [*world.rows[:at], *world.rows[at + 1 :]]


def _without_a_block(world: ChainWorld) -> list[tuple[int, ChainRow]]:
    """A block of which nothing is in the log."""
    at = len(world.rows)
    world.mine(6)
    kept = world.rows[:at]
    world.rows.clear()
    world.mine(1)
    return [*kept, *world.rows]


def _unknown_removed(world: ChainWorld) -> list[tuple[int, ChainRow]]:
    """A block is removed that is not the newest."""
    world.mine(1)
    gone = world.rows[-1][1]
    assert not isinstance(gone, PoolRow | SwapRow)
    world.give(msgspec.structs.replace(gone, event="removed", block_hash="0xother"))
    return world.rows


@pytest.mark.parametrize(
    ("broken", "rule"),
    [(_without_a_row, "block_incomplete"), (_without_a_block, "block_gap"), (_unknown_removed, "block_gap")],
)
def test_a_gap_ends_with_a_snapshot(broken: Any, rule: str) -> None:
    """Pools are unknown and not tradable after it, until the whole of each is in the log again."""
    world = ChainWorld(3)
    world.mine(2, snapshots=True)
    rows = broken(world)
    one, _ = engine()
    found = told(fold(one, slow_rows(rows)))
    assert [text.split()[:2] for text in found if "chain" in text] == [["chain", rule]]
    assert found[-2:] == ["v2 live gapped", "v3 live gapped"]
    assert one.chains.pool(1) is None
    world.rows.clear()
    world.mine(2)
    world.mine(2, snapshots=True)
    after = told(fold(one, slow_rows(world.rows, len(rows))))
    assert after[-2:] == ["v2 gapped live", "v3 gapped live"]
    assert fields_of(one.chains.pool(1)) == fields_of(world.pools[V3.address])


def test_a_gap_of_one_pool_leaves_the_other_alone() -> None:
    """A gap that names a pool is that pool's; one of the chain is everybody's, and no lender is known any more."""
    world = ChainWorld(4)
    world.mine(2, snapshots=True)
    for _ in range(9):
        world.mine(0)
    one, _ = engine()
    fold(one, slow_rows(world.rows))
    lent = [one.chains.loans(VENUE, token) for token in (V2.token0, V2.token1)]
    assert all(lent)
    seq = len(world.rows)
    assert told(fold(one, [connected(seq, world.now, "gap", V3.address)])) == ["v3 live gapped"]
    assert [one.chains.loans(VENUE, token) for token in (V2.token0, V2.token1)] == lent
    assert told(fold(one, [connected(seq + 1, world.now, "gap")])) == ["v2 live gapped"]
    assert [one.chains.loans(VENUE, token) for token in (V2.token0, V2.token1)] == [(), ()]


def test_a_reorg_deeper_than_what_is_kept() -> None:
    """64 blocks are undone exactly; the removal of one more is a gap."""
    world = ChainWorld(5)
    world.mine(1, snapshots=True)
    for _ in range(70):
        world.mine(1)
    one, seer = engine()
    fold(one, slow_rows(world.rows))
    at = len(world.rows)
    world.reorg(64)
    assert told(fold(one, slow_rows(world.rows[at:], at))) == []
    assert fields_of(one.chains.pool(1)) == fields_of(world.pools[V3.address])
    assert (one.chains.block(VENUE), seer.seen[-1][2]) == (None, None)
    at = len(world.rows)
    world.reorg(1)
    assert told(fold(one, slow_rows(world.rows[at:], at))) == [
        f"chain block_gap {world.blocks[-1].number + 1} None",
        "v2 live gapped",
        "v3 live gapped",
    ]


def test_a_removed_snapshot_is_undone_too() -> None:
    """A pool whose first snapshot is taken back is unknown again; the next one makes it live."""
    world = ChainWorld(6)
    world.mine(0)
    world.mine(2, snapshots=True)
    one, _ = engine()
    fold(one, slow_rows(world.rows))
    at = len(world.rows)
    world.reorg(1)
    assert told(fold(one, slow_rows(world.rows[at:], at))) == ["v2 live down", "v3 live down"]
    at = len(world.rows)
    world.mine(2)
    world.mine(2, snapshots=True)
    assert told(fold(one, slow_rows(world.rows[at:], at))) == ["v2 down live", "v3 down live"]


def test_rows_of_an_unknown_pool_are_an_error() -> None:
    """A pool that no instruments row names stops the fold with its place."""
    world = ChainWorld(6)
    world.mine(0, snapshots=True)
    ts, row = world.rows[0]
    assert isinstance(row, PoolRow)
    world.rows[0] = ts, msgspec.structs.replace(row, symbol="0xstranger")
    one, _ = engine()
    with pytest.raises(LogError, match="seq 0: no instruments row of pool 0xstranger@ethereum"):
        fold(one, slow_rows(world.rows))
