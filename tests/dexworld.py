"""Logs and experiments of two pools on one chain, for tests of whole runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from tests.engine.chainworld import slow_rows
from tests.engine.cycles import CHAIN, CHEAP, DEAR, GWEI, POOLS, WETH, product
from tests.log.logs import connection, instrument
from tests.trial import Rows, Run, quiet, write_log
from xarb.config import load_experiment
from xarb.log.reader import LogReader
from xarb.pools.financing import Loan
from xarb.verbs.backtest import backtest
from xarb.wires import chains
from xarb.wires.chains import Block, ChainRow, Pool, PoolRow

EVEN: Final = {CHEAP.address: (10**21, 3_000 * 10**9), DEAR.address: (10**21, 3_000 * 10**9)}
GAP: Final = {CHEAP.address: (10**21, 3_000 * 10**9), DEAR.address: (10**21, 3_150 * 10**9)}
BLOCK_MS: Final = 2_000
PLAIN: Final = {
    "latency": "{ constant_ms = 100 }",
    "lag_ms": "0",
    "receipt_ms": "100",
    "missed_bps": "0",
    "taken_bps": "0",
    "finality_blocks": "2",
}


class Act(NamedTuple):
    """A block: pools as they are after it, or so many blocks removed before it; its base fee."""

    pools: Mapping[str, tuple[int, int]]
    removed: int = 0
    base_fee_wei: int = 10 * GWEI
    loans: tuple[Loan, ...] = ()  # of WETH, as it says


def chain_log(folder: Path, acts: Sequence[Act], pools: Sequence[Pool] = POOLS) -> Path:
    """A log of these blocks, one each two seconds."""
    return write_log(folder, chain_rows(acts, pools))


def chain_rows(acts: Sequence[Act], pools: Sequence[Pool] = POOLS) -> Rows:
    """Its rows."""
    rows: list[tuple[int, ChainRow]] = []
    blocks: list[tuple[Block, int]] = []
    now: dict[str, tuple[int, int]] = {}
    states: list[dict[str, tuple[int, int]]] = []
    for at, act in enumerate(acts):
        ts = at * BLOCK_MS
        for _ in range(act.removed):
            gone, count = blocks.pop()
            rows.append((ts, chains.block_row(gone, count, removed=True)))
            states.pop()
            now = dict(states[-1])
        parent = blocks[-1][0] if blocks else None
        block = Block(
            venue=CHAIN,
            conn=0,
            chain_id=1,
            number=100 if parent is None else parent.number + 1,
            hash=f"0x{at + 1:064x}",
            parent_hash="0xgenesis" if parent is None else parent.hash,
            timestamp_s=1_767_225_600 + ts // 1000,
            base_fee_wei=act.base_fee_wei,
            gas_used=15_000_000,
            gas_limit=30_000_000,
            miner="0xmm",
        )
        given: list[ChainRow] = []
        for number, pool in enumerate(pools):
            reserves = act.pools[pool.address]
            if parent is None:
                given.append(chains.snapshot_row(block, pool, product(pool, reserves)))
            elif now[pool.address] != reserves:
                place = chains._place(block) | {
                    "tx_index": number,
                    "log_index": number * 3,
                    "tx_hash": f"0x{number}",
                }  # a test's own
                state: dict[str, Any] = {"reserve0": reserves[0], "reserve1": reserves[1]}
                given.append(PoolRow(**place, **chains._identity(pool), cause="sync", **state))  # a test's own
            now[pool.address] = reserves
        given += [chains.loan_row(block, loan, WETH) for loan in act.loans]
        rows += [(ts, row) for row in (*given, chains.block_row(block, len(given)))]
        blocks.append((block, len(given)))
        states.append(dict(now))
    found: Rows = [(0, connection(0, CHAIN))]
    for pool in pools:
        tokens = {"base": pool.token0, "quote": pool.token1, "settle": pool.token1}
        found.append((0, instrument((CHAIN, pool.address), 0, 0, kind="pool", **tokens)))
    for row in slow_rows(rows):
        found.append(
            (row.ts_recv, (row.kind, {name: value for name, value in row.values.items() if name not in ("seq", "ts_recv")}))
        )
    return found


def experiment(folder: Path, log: Path, *, simulated: Mapping[str, str] | None = None, **changes: str) -> Path:
    """An experiment over it with a strategy that takes whatever pays; `changes` are keys of [strategies.dex]."""
    chain = "\n".join(f"{name} = {value}" for name, value in (PLAIN | dict(simulated or {})).items())
    plain = {"kind": '"dex_dex"', "min_profit_bps": "0", "min_profit_quote": "0", "max_notional_quote": "1000"}
    plain |= {"latency_threshold_ms": "500", "max_edge_bps": "0", "success_bps": "10000"}
    keys = "\n".join(f"{name} = {value}" for name, value in (plain | changes).items())
    text = f"""[run]
log = "{log.name}"
[onchain.{CHAIN}]
wrapped = "{WETH}"
[onchain.{CHAIN}.simulated]
{chain}
[accounts.main.{CHAIN}]
ETH = 10
{WETH} = 5
[strategies.dex]
{keys}
"""
    path = folder / "dex.toml"
    path.write_text(text)
    return path


def run(path: Path, out: Path, **overrides: str) -> Run:
    """The rows of a backtest by kind; dots in names of `overrides` are double underscores."""
    given = {name.replace("__", "."): value for name, value in overrides.items()}
    result = backtest(load_experiment(path, given), out=out, advance=quiet)
    found: Run = {}
    with LogReader(result.folder) as reader:
        for kind, row in reader.outputs():
            found.setdefault(kind, []).append(dict(row))
    return found
