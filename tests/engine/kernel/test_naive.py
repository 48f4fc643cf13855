"""The engine's kernel against a plain model of the same rules, on random sequences of every kind of row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import astuple

from tests.defaults import feed_limits
from tests.engine.market import Level, Market, Row, book, connection, message, quote, trade
from tests.engine.naive_feed import READINGS
from tests.engine.naive_fold import NaiveFold
from tests.engine.table import instrument
from xarb.engine.kernel import state
from xarb.engine.kernel.edges import edge_ppb
from xarb.engine.setup import FeedLimits
from xarb.engine.strategy import Pair, Wakes
from xarb.model.units import NANOS_PER_S, NEVER

UNIT = NANOS_PER_S // 10
LETTERS = "abcd"
INSTRUMENTS = (*(instrument(letter, px_scale=1, tick_int=5, lot_int=2) for letter in "abc"), instrument("d"))
SOURCES = ("quotes", "deltas", "books", "quotes")
CONNECTIONS = 4  # a comes over 0 or 3, b over 1, c over 0, d over 2
LIMITS = feed_limits(
    liveness_ns=20 * UNIT,
    cache_ns=17 * UNIT,
    freeze_ns=15 * UNIT,
    freeze_moves=3,
    outlier_floor_ppb=100_000_000,
    outlier_mads=2,
    jump_ppb=30_000_000,
    jump_ns=12 * UNIT,
    spread_multiple=2,
    off_market_ppb=20_000_000,
    quality_floor=940,
    score_ns=2 * UNIT,
    max_latency_ns=4 * UNIT,
    future_ns=UNIT,
    dense_trade_ids=True,
)
PAIRS = (
    Pair(0, 1, 5_000_000, 0, 1_000_000, 1_000_000),
    Pair(1, 0, 0, -10_000_000, 0, 0),
    Pair(1, 2, 0, 0, 0, 0),
    Pair(0, 2, 0, 0, 1_000_000, 0, convert=3, convert_side="bid", convert_fee_ppb=1_000_000),
    Pair(2, 1, 10_000_000, 0, 0, 0, convert=3, convert_side="ask", convert_fee_ppb=1_000_000),
)
Action = tuple[Any, ...]

near = st.integers(980, 1030)
prices = near | near | st.integers(600, 1400)
any_price = st.none() | prices | prices | prices | st.just(0)
sizes = st.none() | st.sampled_from([0, 1, 2, 4, 4, 4, -1])
counters = st.none() | st.none() | st.integers(0, 5)
latencies = st.none() | st.none() | st.sampled_from([0, 4 * UNIT, 5 * UNIT, -UNIT, -2 * UNIT])
level = st.tuples(st.sampled_from(["bid", "ask"]), prices | prices | prices | st.just(0), sizes)
sound = st.tuples(st.just("sound"), st.sampled_from([0, 0, 1, 1, 2, 2]), near, st.integers(1, 8))
action = st.one_of(
    sound,
    sound,
    st.tuples(st.just("quote"), st.integers(0, 2), any_price, sizes, any_price, sizes, counters, latencies, st.booleans()),
    st.tuples(st.just("rate"), st.integers(1, 2), st.integers(0, 1)),
    st.tuples(
        st.just("deltas"),
        st.lists(level, max_size=4),
        st.sampled_from([False, False, False, True]),
        st.integers(0, 7),
        st.integers(0, 4),  # levels of a snapshot behind which updates follow in the same message; 0: none follow
    ),
    st.tuples(st.just("book"), st.sets(near, max_size=3), st.sets(near, max_size=3), st.integers(0, 9), sizes, counters),
    st.tuples(st.just("trade"), st.integers(0, 2), st.none() | st.integers(1, 5) | st.integers(60, 75), any_price, sizes),
    st.tuples(
        st.just("connection"),
        st.integers(0, 3),
        st.sampled_from(["gap", "lost", "closed", "opened", "subscribed", "heartbeat", "heartbeat", "resync"]),
        st.booleans(),
    ),
    st.tuples(st.just("scale"), st.sampled_from([0, 1, 2, 3, 3]), st.integers(0, 1), st.integers(0, 1)),
    st.tuples(st.just("reject"), st.integers(0, 3)),
)
actions = st.lists(st.tuples(st.sampled_from([0, 1, 1, 1, 2, 3, 7, 12, 25, 40]), action), max_size=40)
wants = st.builds(
    Wakes,
    pairs=st.just(PAIRS),
    min_life_ns=st.sampled_from([0, 3 * UNIT]),
    improve_ppb=st.sampled_from([0, 5_000_000]),
    timer_ns=st.sampled_from([0, 4 * UNIT]),
    max_edge_ppb=st.sampled_from([0, 20_000_000]),
    every_event=st.sampled_from([(), (0, 1), (0, 1, 2, 3)]),
)


def rows_of(steps: Sequence[tuple[int, Action]]) -> list[Row]:
    """The rows that the actions stand for: prices and sizes, drawn at the first scales, are written at the latest ones."""
    known_as = list(INSTRUMENTS)
    rows: list[Row] = []
    ts = 10 * UNIT
    for gap, (kind, *values) in steps:
        ts += gap * UNIT
        if kind == "connection":
            conn, event, whole = values
            rows.append(connection(ts, conn, event, known_as[conn if conn < 3 else 0], whole=whole))
        elif kind == "scale":
            number, price, quantity = values
            before = known_as[number]
            changes = {"px_scale": before.px_scale + price, "tick_int": (before.tick_int or 1) * 10**price}
            changes |= {"qty_scale": before.qty_scale + quantity, "lot_int": (before.lot_int or 1) * 10**quantity}
            known_as[number] = msgspec.structs.replace(before, **changes)
            rows.append(Row("instruments", ts, msgspec.structs.asdict(known_as[number])))
        elif kind == "reject":
            one = known_as[values[0]]
            rows.append(Row("rejects", ts, {"venue": one.venue, "symbol": one.symbol}))
        else:
            rows += _market_rows(ts, (kind, *values), known_as)
    return rows


def _market_rows(ts: int, given_action: Action, known_as: Sequence[Any]) -> list[Row]:
    kind, *values = given_action
    number: int = {"rate": 3, "deltas": 1, "book": 2}[kind] if kind in ("rate", "deltas", "book") else values[0]
    one, first = known_as[number], INSTRUMENTS[number]

    def px(value: int | None) -> int | None:
        return None if value is None else value * int(10 ** (one.px_scale - first.px_scale))

    def qty(value: int | None) -> int | None:
        return None if value is None else value * int(10 ** (one.qty_scale - first.qty_scale))

    if kind == "sound":
        bid, half = values[1], values[2]
        levels = [("bid", px(bid), qty(4)), ("ask", px(bid + half), qty(4))]
        if number == 0:
            return [quote(ts, 0, px(bid), qty(4), px(bid + half), qty(4))]
        return message(ts, 1, levels, snapshot=True) if number == 1 else [_over(0, book(ts, 2, levels[:1], levels[1:]))]
    if kind == "rate":
        return [_over(2, quote(ts, 3, px(values[0]), qty(5), px(values[0] + values[1]), qty(5)))]
    if kind == "quote":
        bid, bid_qty, ask, ask_qty, counter, latency, other = values[1:]
        event = None if latency is None else ts - latency
        row = quote(ts, number, px(bid), qty(bid_qty), px(ask), qty(ask_qty), venue_seq=counter, ts_event=event)
        return [_over((3 if other else 0, 1, 0)[number], row)]
    if kind == "trade":
        return [_over((0, 1, 0)[number], trade(ts, number, values[1], px(values[2]), qty(values[3])))]
    if kind == "deltas":
        levels = [(side, px(price), qty(size)) for side, price, size in values[0]]
        verdict, first = ("old", "unsynced")[values[2]] if values[2] < 2 else "apply", values[3]
        if values[1] and first:
            return [*message(ts, 1, levels[:first], snapshot=True, verdict=verdict, ends=False), *message(ts, 1, levels[first:])]
        return message(ts, 1, levels, snapshot=values[1], verdict=verdict)
    bids, asks, fault, size, counter = values
    sides: list[list[Level]] = [[(side, px(price), qty(4)) for price in given_] for side, given_ in _sorted(bids, asks).items()]
    if fault == 0:
        sides[0].reverse()
    elif fault == 1:
        sides[1] = sides[1] * 2
    elif fault in (2, 3) and sides[fault - 2]:
        sides[fault - 2][-1] = (*sides[fault - 2][-1][:2], qty(size))
    elif fault == 4:
        sides[0].append(("bid", 0, 1))
    return [_over(0, book(ts, 2, sides[0], sides[1], counter))]


def _sorted(bids: set[int], asks: set[int]) -> dict[str, list[int]]:
    return {"bid": sorted(bids, reverse=True), "ask": sorted(asks)}


def _over(conn: int, row: Row) -> Row:
    return row._replace(values=row.values | {"conn": conn})


def market(*wakes: Wakes, limits: FeedLimits = LIMITS) -> Market:
    """The engine over the four instruments."""
    return Market(LETTERS, instruments=INSTRUMENTS, sources=SOURCES, limits=limits, wakes=wakes, connections=CONNECTIONS)


@settings(deadline=None, max_examples=300)
@given(actions, wants)
def test_the_kernel_does_what_the_plain_model_does(steps: list[tuple[int, Action]], wakes: Wakes) -> None:
    """Flags, feed states, episodes and wakes are equal row by row and in time, and quotes, books, scores and spreads at the end.

    After each row the edge that is kept of an open episode is that of the quotes as they are.
    """
    real = market(wakes)
    plain = NaiveFold(INSTRUMENTS, SOURCES, LIMITS, wakes, CONNECTIONS)
    for row in rows_of(steps):
        assert real.feed([row]) == plain.apply(row), row
        kernel = real.engine._kernel
        standing = [pair for pair, mine in enumerate(kernel.tables[state.PAIRS]) if mine["status"] == state.PAIR_OPEN]
        assert [kernel.tables[state.PAIRS][pair]["edge"] for pair in standing] == [
            edge_ppb(kernel.world, pair) for pair in standing
        ]
    assert [row["ts"] for row in real.rows] == plain.times
    assert real.listeners[0].heard == plain.wakes
    for number, me in enumerate(plain.feeds):
        record = real.record(LETTERS[number])
        assert astuple(real.engine.market.best(number))[:4] == (me.bid, me.sizes[0], me.ask, me.sizes[1])
        assert (int(record["score"]), [int(record[f"mean_{name}"]) for name in READINGS]) == (
            me.score.value,
            list(me.score.means.values()),
        )
        if me.source != "quotes":
            for side, book_ in me.books.items():
                assert real.engine.market.levels(number, side, 100) == sorted(book_.items(), reverse=side == "bid")


CALM = msgspec.structs.replace(
    LIMITS,
    outlier_floor_ppb=12_000_000,
    jump_ppb=4_000_000,
    liveness_ns=NEVER // 2,
    cache_ns=NEVER // 2,
    freeze_ns=0,
    spread_multiple=0,
)
CLOSE_PAIRS = tuple(Pair(a, b, 4_000_000, 1_000_000, 0, 0) for a in range(3) for b in range(3) if a != b)
moves = st.lists(st.tuples(st.integers(0, 2), st.integers(-6, 6), st.integers(1, 3)), min_size=20, max_size=200)


@settings(deadline=None, max_examples=100)
@given(moves)
def test_quotes_that_seldom_reach_a_threshold_are_not_overlooked(walk: list[tuple[int, int, int]]) -> None:
    """Mids wander near one another: the kernel, which skips most looks at peers, finds each episode, outlier and jump that a full look finds."""
    wakes = Wakes(pairs=CLOSE_PAIRS)
    three = tuple(instrument(letter) for letter in "abc")
    real = Market("abc", instruments=three, limits=CALM, wakes=[wakes])
    plain = NaiveFold(three, ["quotes"] * 3, CALM, wakes, 3)
    mids = [1000, 1000, 1000]
    for step, (number, change, half) in enumerate(walk):
        mids[number] += change - (mids[number] - 1000) // 8
        row = quote((step + 1) * UNIT, number, mids[number] - half, 5, mids[number] + half, 5)
        assert real.feed([row]) == plain.apply(row)


@settings(deadline=None, max_examples=100)
@given(actions, wants, wants, st.lists(st.integers(0, 60), max_size=6))
def test_no_split_of_a_sequence_changes_an_output(
    steps: list[tuple[int, Action]], first: Wakes, second: Wakes, cuts: list[int]
) -> None:
    """Cut anywhere, also within a message and into empty batches, rows and wakes of two strategies are those of one batch."""
    rows = rows_of(steps)
    ends = sorted({min(cut, len(rows)) for cut in cuts})
    whole, cut = market(first, second), market(first, second)
    whole.feed(rows)
    for begin, end in zip([0, *ends], [*ends, len(rows)], strict=True):
        cut.feed(rows[begin:end])
    assert cut.rows == whole.rows
    assert [listener.heard for listener in cut.listeners] == [listener.heard for listener in whole.listeners]
