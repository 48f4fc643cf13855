"""What does the compiled fold cost by itself, per row, with validation, feed states and episodes, and nothing else?

Synthetic columns in memory go through `fold.run`, exactly as from a log; wakes and output rows are counted and thrown away. The
yardstick of the same run is a compiled loop that reads every column of the same rows once and keeps a sum: below it no fold over
these columns can go. Medians of several runs, one core.

    python -m bench.kernel [ROWS]
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numba import njit

from bench.markets import COINS, VENUES, Market, blocks, w1, w2
from xarb.config import FeedConfig
from xarb.engine.kernel import fold, state
from xarb.engine.setup import AdjustLimits, Setup, build_state, lay_mid_units
from xarb.engine.strategy import Pair, Wakes
from xarb.model.batch import NO_BOOKS, NO_DELTAS, NO_QUOTES, NO_TRADES, Batch, Books, Deltas, Quotes
from xarb.model.instrument import Instrument
from xarb.model.units import NEVER, NULL, Money, Ppb
from xarb.settings import feed_limits

RUNS: Final = 5
DEPTH: Final = 10
LIVE_STEPS: Final = 200_000
Blocks = tuple[Quotes, Deltas, Books]


class Watcher:
    """Every directed pair of every symbol, woken by edges; its rows are thrown away."""

    id = "bench"
    account = "main"
    state: Any = None

    def __init__(self, market: Market) -> None:
        numbers = range(market.venues)
        self._pairs = tuple(
            Pair(s * market.venues + a, s * market.venues + b, 100_000, 0, market.taker_ppb, market.taker_ppb)
            for s in range(market.symbols)
            for a in numbers
            for b in numbers
            if a != b
        )

    def wakes(self) -> Wakes:
        """All pairs, and a timer of 100 ms while an edge stands."""
        return Wakes(pairs=self._pairs, timer_ns=100_000_000, improve_ppb=50_000)

    def on_wake(self, _wake: object, _view: object) -> tuple[()]:
        """Nothing."""
        return ()


def kernel(market: Market, source: int) -> state.KernelState:
    """A kernel for the market."""
    instruments = [_instrument(symbol, venue) for symbol in range(market.symbols) for venue in range(market.venues)]
    groups = [list(range(s * market.venues, (s + 1) * market.venues)) for s in range(market.symbols)]
    setup = Setup(
        instruments=instruments,
        groups=groups,
        identities={},
        sources=[source] * len(instruments),
        limits=[feed_limits(FeedConfig())] * len(instruments),
        fees={},
        opening={},
        connections=market.venues,
        log_id="bench",
        terms={},
        rates={},
        coin_margin_ppb=0,
        timers_are_rows=False,
        armed=True,
        start=1,
        not_transferable_anyway={},
        results=(),
        volumes=(),
        breakers={},
        broken=(),
        bundles=(),
        flows=(),
        foreign=(),
        heads={},
        chains={},
        cycles=(),
        transactions=(),
        counts_all=False,
        adjust=AdjustLimits(worth=Money(0), ratio_ppb=Ppb(0), currencies=(), foreign=Money(0)),
    )
    made, _ = build_state(setup, [Watcher(market)])
    lay_mid_units(made, groups, instruments)
    return made


def _instrument(symbol: int, venue: int) -> Instrument:
    coin = COINS[symbol]
    name = f"{coin.base}/USDT"
    return Instrument(
        venue=VENUES[venue],
        symbol=name,
        native=name,
        kind="spot",
        base=coin.base,
        quote="USDT",
        settle="USDT",
        px_scale=coin.px_scale,
        qty_scale=coin.qty_scale,
        tick_int=1,
        lot_int=1,
    )


def drive(made: state.KernelState, blocks: Blocks) -> tuple[int, int]:
    """Run the blocks to their end; (wakes, rows) that came out."""
    world = made.world
    wakes = rows = 0
    quotes, deltas, books = blocks
    made.load(Batch(0, NEVER, quotes, deltas, NO_TRADES, books, []))
    while fold.run(made.handle, NEVER) != fold.END:
        wakes, rows = wakes + int(world["wakes"]), rows + int(world["outs"])
        world["wakes"] = world["outs"] = 0
    return wakes, rows + int(world["outs"])


@njit(cache=False)  # type: ignore[untyped-decorator]  # numba ships no types
def touch(columns: Any) -> int:
    """Read every column once."""
    total = 0
    for j in range(len(columns.seq)):
        total += columns.seq[j] ^ columns.ts_recv[j] ^ columns.ts_event[j] ^ columns.conn[j] ^ columns.inst[j]
        total += columns.venue_seq[j] ^ columns.bid[j] ^ columns.bid_qty[j] ^ columns.ask[j] ^ columns.ask_qty[j]
    return total


def median_ns(work: Callable[[], object], rows: int) -> float:
    """Median time of a run, in ns a row; a first run is thrown away."""
    work()
    taken = []
    for _ in range(RUNS):
        began = time.perf_counter_ns()
        work()
        taken.append((time.perf_counter_ns() - began) / rows)
    return statistics.median(taken)


def frozen(block: Any) -> Any:
    """The columns read-only, as a reader hands them over: another array type for numba."""
    for column in block:
        column.flags.writeable = False
    return block


def quotes_of(market: Market) -> Quotes:
    """The market's quotes."""
    parts = list(blocks(market))
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    inst = columns["symbol"] * market.venues + columns["venue"]
    rows = np.arange(market.events, dtype=np.int64)
    names = ("venue_seq", "bid", "bid_qty", "ask", "ask_qty")
    ends = (columns["ts_recv"], columns["ts_event"], columns["venue"].astype(np.int32), inst.astype(np.int32))
    quotes: Quotes = frozen(Quotes(rows, *ends, *(columns[name] for name in names)))
    return quotes


def books_of(quotes: Quotes) -> Books:
    """Ten levels a side around each quote."""
    count = len(quotes.seq)
    steps = np.arange(DEPTH, dtype=np.int64)
    px = np.concatenate([quotes.bid[:, None] - steps, quotes.ask[:, None] + steps], axis=1).reshape(-1)
    qty = np.concatenate([quotes.bid_qty[:, None] + steps, quotes.ask_qty[:, None] + steps], axis=1).reshape(-1)
    offset = np.arange(count + 1, dtype=np.int64) * 2 * DEPTH
    bids = np.full(count, DEPTH, np.int32)
    books: Books = frozen(Books(*quotes[:5], quotes.venue_seq, offset, bids, px, qty))
    return books


def deltas_of(market: Market, count: int) -> Deltas:
    """Snapshots of 200 levels a side, then messages of four changed levels; two in three near the top, none crossing."""
    random = np.random.Generator(np.random.PCG64(market.seed))
    places = market.symbols * market.venues
    levels = 200
    inst = np.concatenate([np.repeat(np.arange(places), 2 * levels), np.repeat(random.integers(0, places, count // 4 + 1), 4)])
    snapshot = np.zeros(len(inst), np.bool_)
    snapshot[: places * 2 * levels] = True
    side = random.integers(0, 2, len(inst))
    depth = np.where(random.random(len(inst)) < 0.67, random.integers(0, 8, len(inst)), random.integers(0, levels, len(inst)))
    first = np.tile(np.concatenate([np.arange(levels), np.arange(levels)]), places)
    side[snapshot], depth[snapshot] = np.tile(np.repeat([0, 1], levels), places), first
    mid = np.array([coin.mid for coin in COINS[: market.symbols]], np.int64)[inst // market.venues]
    price = np.where(side == 0, mid - 1 - depth, mid + 1 + depth)
    qty = np.where(random.random(len(inst)) < 0.2, 0, random.integers(1, 1000, len(inst)))
    qty[snapshot] = 7
    last = np.zeros(len(inst), np.bool_)
    last[places * 2 * levels + 3 :: 4] = True
    last[2 * levels - 1 : places * 2 * levels : 2 * levels] = True
    seq = np.arange(len(inst), dtype=np.int64)
    ts = 10**18 + seq * 100_000
    ints = (seq, ts, ts - 1_000_000, (inst % market.venues).astype(np.int32), inst.astype(np.int32), np.full(len(inst), NULL))
    verdict = np.zeros(len(inst), np.int8)
    deltas: Deltas = frozen(Deltas(*ints, side.astype(np.int8), price, qty, snapshot, last, verdict))
    return deltas


def live(market: Market, quotes: Quotes) -> tuple[float, float]:
    """p50 and p99 of one step called from Python, in ns, the cost of reading the timer taken off."""
    made = kernel(market, state.SOURCE_QUOTES)
    rows = list(zip(*(column[:LIVE_STEPS].tolist() for column in quotes), strict=True))
    clock, step, handle, world = time.perf_counter_ns, fold.step_quote, made.handle, made.world
    taken = []
    for row in rows:
        began = clock()
        why = step(handle, *row)
        taken.append(clock() - began)
        if why != fold.END:
            world["wakes"] = world["outs"] = 0
    floor = statistics.median([-(clock() - clock()) for _ in range(10_000)])
    taken.sort()
    return taken[len(taken) // 2] - floor, taken[len(taken) * 99 // 100] - floor


def main() -> None:
    """Print the table."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 2_000_000
    for name, market in (("W1", w1(rows)), ("W2", w2(rows))):
        quotes = quotes_of(market)
        cost = median_ns(lambda q=quotes, m=market: drive(kernel(m, state.SOURCE_QUOTES), (q, NO_DELTAS, NO_BOOKS)), rows)  # type: ignore[misc]  # bound at once
        floor = median_ns(lambda q=quotes: touch(q), rows)  # type: ignore[misc]  # bound at once
        wakes, out = drive(kernel(market, state.SOURCE_QUOTES), (quotes, NO_DELTAS, NO_BOOKS))
        print(f"{name} quotes  {cost:6.1f} ns a row = {cost / floor:4.1f} x reading the columns ({floor:.1f} ns); ", end="")
        print(f"{wakes * 1e6 / rows:.0f} wakes, {out * 1e6 / rows:.0f} rows a million")
        p50, p99 = live(market, quotes)
        print(f"{name} live step from Python: p50 {p50:.0f} ns, p99 {p99:.0f} ns")
    market = w2(rows // 4)
    books = books_of(quotes_of(market))
    cost = median_ns(lambda: drive(kernel(market, state.SOURCE_BOOKS), (NO_QUOTES, NO_DELTAS, books)), rows // 4)
    print(f"W2 books of {DEPTH} levels  {cost:6.1f} ns a row = {1e3 / cost:.1f} M/s")
    deltas = deltas_of(market, rows)
    cost = median_ns(lambda: drive(kernel(market, state.SOURCE_DELTAS), (NO_QUOTES, deltas, NO_BOOKS)), len(deltas.seq))
    print(f"W2 changed levels  {cost:6.1f} ns a row = {1e3 / cost:.1f} M/s")


if __name__ == "__main__":
    main()
