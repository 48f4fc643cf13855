"""Backtests of a log with a chain in it: what a strategy does on pools, over any batches, and the proof of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.engine.chainworld import V2, V3, VENUE, ChainWorld, slow_rows
from tests.log.logs import connection, instrument
from tests.trial import SYMBOL, Rows, Trial, head, quiet, steady
from xarb.assembly import Assembly, recorded_ground
from xarb.assembly.resolved import resolve_recorded
from xarb.config import load_experiment
from xarb.engine.strategy import BundlePlan, LegPlan, Plan, Strategy, View, Wake, Wakes
from xarb.log.canonical import OutputDigest
from xarb.log.info import info
from xarb.log.reader import LogReader
from xarb.model.event import OutputRow, named
from xarb.model.units import Money
from xarb.pools.constant_product import ConstantProduct
from xarb.replay import replay
from xarb.verbs.backtest import backtest
from xarb.verbs.verify import verify
from xarb.wires.chains import BlockRow

UNIT = 10**18


class Memory(msgspec.Struct):
    """What a unit of token0 came to at the last block."""

    before: int = 0


class PoolLed:
    """Buys at alpha and sells at bravo when a pool of the chain pays more for its token0 than it did a block before."""

    def __init__(self) -> None:
        self.id, self.account = "cross", "main"
        self.state = Memory()
        self.seen: list[tuple[int, int, int | None]] = []

    def wakes(self) -> Wakes:
        """Every block."""
        return Wakes(blocks=(VENUE,))

    def on_wake(self, wake: Wake, view: View) -> Sequence[Plan]:
        """Quote the pool; two legs when it pays more."""
        numbers = {one.id: number for number, one in enumerate(view.instruments)}
        pool, block = view.pool(numbers[f"{V2.address}@{VENUE}"]), view.block(VENUE)
        if pool is None or block is None:
            return ()
        paid, before = pool.quote_in(UNIT, zero_for_one=True).amount_out, self.state.before
        self.state.before = paid
        self.seen.append((block.number, paid, block.base_fee_wei))
        if not before or paid <= before:
            return ()
        buy, sell = numbers[f"{SYMBOL}@alpha"], numbers[f"{SYMBOL}@bravo"]
        ask, bid = view.quote(buy), view.quote(sell)
        if ask.ask is None or bid.bid is None:
            return ()
        legs = (LegPlan(buy, "buy", ask.ask, 1000), LegPlan(sell, "sell", bid.bid, 1000))
        plan = BundlePlan(
            opportunity=None,
            legs=legs,
            sequence="simultaneous",
            quote_seqs=(ask.ask_seq, bid.bid_seq),
            expected_profit=Money(0),
            profit_asset="USDT",
            edge_ppb=0,
        )
        return [plan]


class OnPools(Assembly):
    """An assembly with that strategy under the name of the config's."""

    def strategies(self, rates: Mapping[tuple[str, str, str], int]) -> list[Strategy]:
        """The one strategy."""
        del rates
        self.led = PoolLed()
        return [self.led]


def chain_rows(world: ChainWorld) -> Rows:
    """The chain's connection, its pools, and its rows: a block every 100 ms from 500 ms on."""
    found: Rows = [(0, connection(2, VENUE))]
    for pool in (V2, V3):
        tokens = {"base": pool.token0, "quote": pool.token1, "settle": pool.token1}
        found.append((0, instrument((VENUE, pool.address), 0, 0, kind="pool", **tokens)))
    at = 500
    for row in slow_rows(world.rows):
        values = {name: value for name, value in row.values.items() if name not in ("seq", "ts_recv")}
        found.append((at, (row.kind, values | {"conn": 2})))
        at += 100 * (row.kind == "blocks")
    return found


@pytest.fixture
def world() -> ChainWorld:
    """Thirty blocks with reorgs."""
    made = ChainWorld(11)
    made.mine(0, snapshots=True)
    for number in range(25):
        if number % 8 == 7:
            made.reorg(2)
        made.mine(6)
    return made


@pytest.fixture
def trial(tmp_path: Path) -> Trial:
    """A folder."""
    return Trial(tmp_path)


def _run(log: Path, experiment: Path, batch_rows: int) -> tuple[list[OutputRow], PoolLed]:
    with LogReader(log) as reader:
        resolved = resolve_recorded(load_experiment(experiment), reader)
        assembly = OnPools(resolved, recorded_ground(resolved, reader))
        rows: list[OutputRow] = []
        replay(assembly, reader.batches(rows=batch_rows), rows.extend)
        return rows, assembly.led


def test_a_strategy_on_pools(trial: Trial, world: ChainWorld) -> None:
    """It sees the pool of each block that is complete, as the traders had it, and its orders follow blocks alone, over any batches."""
    log = trial.log([*head(), *steady(4500), *chain_rows(world)])
    experiment = trial.experiment(log)
    rows, led = _run(log, experiment, 1 << 20)
    expected: list[tuple[int, int, int | None]] = []
    heads: list[str] = []
    numbers: dict[str, tuple[int, int | None]] = {}
    for _, row in world.rows:
        if not isinstance(row, BlockRow):
            continue
        numbers[row.block_hash] = (row.block_number, row.base_fee_wei)
        if row.event == "added":
            heads.append(row.block_hash)
        else:
            heads.pop()
        pool = world.truth[heads[-1]][V2.address]
        assert isinstance(pool, ConstantProduct)
        number, fee = numbers[heads[-1]]
        expected.append((number, pool.quote_in(UNIT, zero_for_one=True).amount_out, fee))
    assert led.seen == expected
    rises = sum(later[1] > earlier[1] for earlier, later in pairwise(expected))
    submits = [row for row in map(named, (row for row in rows if row[0] == "commands")) if row["kind"] == "submit"]
    with LogReader(log) as reader:
        blocks = {row.seq for batch in reader.batches() for row in batch.slow if row.kind == "blocks"}
    assert 0 < len(submits) <= 2 * rises
    assert {row["after_seq"] for row in submits} <= blocks
    assert any(row[0] == "fills" for row in rows)
    digests = set()
    for size in (1, 7, 1 << 20):
        digest = OutputDigest()
        digest.take(_run(log, experiment, size)[0])
        digests.add(digest.hex())
    assert len(digests) == 1


def test_a_run_over_a_chain_is_proven(trial: Trial, world: ChainWorld) -> None:
    """A backtest of a log with blocks, pools and a drift writes states and flags of pools, and `verify` finds the same."""
    rows = chain_rows(world)
    at = max(n for n, (_, (kind, values)) in enumerate(rows) if kind == "swaps" and values["symbol"] == V3.address)
    ts, (kind, values) = rows[at]
    rows[at] = (ts, (kind, values | {"delta0": str(int(values["delta0"]) * 3 + 1)}))
    log = trial.log([*head(), *steady(4500), *rows])
    result = backtest(load_experiment(trial.experiment(log)), out=trial.folder / "run", advance=quiet)
    found: dict[str, list[dict[str, Any]]] = {}
    with LogReader(result.folder) as reader:
        for kind, row in reader.outputs():
            found.setdefault(kind, []).append(dict(row))
    states = [(row["symbol"], row["state"]) for row in found["feed_states"] if row["venue"] == VENUE]
    assert states == [(V2.address, "live"), (V3.address, "live"), (V3.address, "drifted")]
    assert [row["rule"][:5] for row in found["flags"] if row["venue"] == VENUE] == ["pool_"]
    assert verify(result.folder, advance=quiet).equal
    counted = info(log).instruments[f"{V3.address}@{VENUE}"]
    assert counted["swaps"] == sum(kind == "swaps" and values["symbol"] == V3.address for _, (kind, values) in rows)
