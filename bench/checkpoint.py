"""How long does a checkpoint of paper trading stop the loop, and how does that grow with books and with orders?

The quickstart's config on its 13 instruments, each with a book of 50, 500 or 5,000 levels a side (the most that is kept), then 3,000 to
48,000 orders that two venues take at once. p50 and worst of 40 copies in microseconds, bytes of the copy, and the same with a plain
copy of as many bytes as 1.

    python -m bench.checkpoint
"""

from __future__ import annotations

import time
from pathlib import Path

import msgspec
import numpy as np

from xarb.assembly import Assembly, Ground
from xarb.assembly.resolved import opening_balances, resolve
from xarb.checkpoint import capture
from xarb.config import load_experiment
from xarb.log.reader import LogReader
from xarb.model.batch import NO_BOOKS, NO_QUOTES, NO_TRADES, Batch, Deltas
from xarb.model.units import NULL
from xarb.replay import turn

ROOT = Path(__file__).resolve().parents[1]
START = 1_700_000_000_000_000_000
DELTAS = 2  # as assembly.SOURCES
BOOKS = (50, 500, 5_000)
COPIES = 40


def assembly() -> Assembly:
    """The quickstart on paper, its books moved by deltas."""
    with LogReader(ROOT / "recordings" / "quickstart") as log:
        resolved = resolve(load_experiment(ROOT / "experiments" / "quickstart.toml"), log.instruments)
        ground = Ground(
            instruments=log.instruments,
            sources=[DELTAS] * len(log.instruments),
            connections=1,
            log_id="bench",
            opening=opening_balances(resolved),
            simulated=True,
            timers_are_rows=True,
            armed=True,
            start=1,
        )
        return Assembly(resolved, ground)


def snapshots(instruments: int, levels: int) -> Batch:
    """A whole book of each instrument."""
    count = instruments * 2 * levels
    place = np.arange(count)
    level, side = place % levels, place // levels % 2
    last = place % (2 * levels) == 2 * levels - 1
    columns = {
        "seq": place,
        "ts_recv": np.full(count, START),
        "ts_event": np.full(count, START),
        "conn": np.zeros(count),
        "inst": place // (2 * levels),
        "venue_seq": np.full(count, NULL),
        "side": side,
        "price": 1_000_000 + np.where(side == 0, -1 - level, 1 + level),
        "qty": np.full(count, 1_000),
        "is_snapshot": np.ones(count),
        "is_last": last,
        "verdict": np.zeros(count),
    }
    narrow = {"conn": np.int32, "inst": np.int32, "side": np.int8, "is_snapshot": np.bool_, "is_last": np.bool_, "verdict": np.int8}
    deltas = Deltas(**{name: np.ascontiguousarray(columns[name], narrow.get(name, np.int64)) for name in Deltas._fields})
    return Batch(0, count - 1, NO_QUOTES, deltas, NO_TRADES, NO_BOOKS, ())


def measure(what: str, parts: Assembly) -> None:
    """Copy it again and again."""
    spent, plain = [], []
    for _ in range(COPIES):
        began = time.perf_counter_ns()
        copy = capture(parts)
        spent.append(time.perf_counter_ns() - began)
        began = time.perf_counter_ns()
        bytearray(copy)
        plain.append(time.perf_counter_ns() - began)
    spent.sort()
    plain.sort()
    p50 = spent[COPIES // 2]
    print(f"{what:28} {p50 / 1e3:10.0f} {spent[-1] / 1e3:10.0f} {len(copy):12} {p50 / plain[COPIES // 2]:8.1f}")


def with_orders(parts: Assembly, orders: int) -> Assembly:
    """As many done orders in bundles of two, as execution and the venues remember them."""
    assert parts.venues is not None
    engine, venues = parts.engine.capture(), parts.venues.capture()
    bundle = (
        b'[1,"eager",1,"simultaneous",35,"closed",0,true,0,["ETH"],[8,11],{"ETH":0,"USDT":229683290000000000},'
        b"[[11,1,137200000000000000,431617480000000000000],[8,-1,137200000000000000,431933550000000000000]],{},[],"
        b'[[8,-1,315050,1372,1372,1372,[]],[11,1,31459,1372,1372,1372,[]]],[[1,0,0,"open",8,-1,315050,1372,1372,"filled",0,'
        b'["01234567-1-1.1"],[],0],[2,1,0,"open",11,1,31459,1372,1372,"filled",0,["01234567-1-2.1"],[],0]]]'
    )
    archive = msgspec.structs.replace(
        engine.decisions.execution.archive,
        bundle_of=[1 + number // 2 for number in range(orders)],
        packed={1 + number: (0, msgspec.Raw(bundle)) for number in range(orders // 2)},
    )
    execution = msgspec.structs.replace(engine.decisions.execution, archive=archive, bundles=orders // 2)
    decisions = msgspec.structs.replace(engine.decisions, execution=execution)
    done = {1 + number: ("filled", START, 1) for number in range(orders)}
    dealings = msgspec.structs.replace(venues.dealings, matching=msgspec.structs.replace(venues.dealings.matching, done=done))
    fresh = assembly()
    fresh.engine.restore(msgspec.structs.replace(engine, decisions=decisions))
    assert fresh.venues is not None
    fresh.venues.restore(msgspec.structs.replace(venues, dealings=dealings))
    return fresh


def main() -> None:
    """Print a line for each size."""
    print(f"{'':28} {'p50 us':>10} {'worst us':>10} {'bytes':>12} {'ratio':>8}")
    for levels in BOOKS:
        parts = assembly()
        turn(parts, snapshots(len(parts.engine.instruments), levels))
        parts.engine.outputs.drain()
        measure(f"{levels} levels a side", parts)
        if levels == BOOKS[0]:
            shallow = parts
    for orders in (3_000, 12_000, 48_000):
        measure(f"{BOOKS[0]} levels, {orders} orders", with_orders(shallow, orders))


if __name__ == "__main__":
    main()
