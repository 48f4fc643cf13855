"""The kernel against a plain model of the same rules, on random sequences of rows."""

from __future__ import annotations

import msgspec
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engine.naive_fold import NaiveFold
from tests.engine.table import Fold
from xarb.engine.kernel import feed, fold, state
from xarb.engine.setup import FeedLimits
from xarb.engine.strategy import Pair, Wakes
from xarb.model.batch import NO_BOOKS, NO_DELTAS, NO_QUOTES, NO_TRADES, Batch, Quotes
from xarb.model.units import NANOS_PER_S, NEVER, NULL

UNIT = NANOS_PER_S // 10
LETTERS = "abcd"
LIMITS = FeedLimits(
    liveness_ns=20 * UNIT,
    cache_ns=35 * UNIT,
    freeze_ns=15 * UNIT,
    freeze_moves=3,
    outlier_floor_ppb=100_000_000,
    outlier_mads=2,
    spread_multiple=0,
    quality_floor=0,
    max_latency_ns=NEVER,
)
PAIRS = (
    Pair(0, 1, 5_000_000, 0, 1_000_000, 1_000_000),
    Pair(1, 0, 0, -10_000_000, 0, 0),
    Pair(1, 2, 0, 0, 0, 0),
    Pair(0, 2, 0, 0, 1_000_000, 0, convert=3, convert_side="bid", convert_fee_ppb=1_000_000),
    Pair(2, 1, 10_000_000, 0, 0, 0, convert=3, convert_side="ask", convert_fee_ppb=1_000_000),
)
prices = st.none() | st.integers(97, 104) | st.integers(60, 140)
rates = st.none() | st.integers(1, 2)
sizes = st.integers(0, 3)


def _quotes(number: int) -> st.SearchStrategy[tuple[object, ...]]:
    price = rates if number == 3 else prices
    return st.tuples(st.just("quote"), st.just(number), price, sizes, price, sizes)


row = st.one_of(
    *[_quotes(number) for number in (0, 0, 1, 1, 2, 2, 3)],
    st.tuples(st.sampled_from(["heartbeat", "gap"]), st.integers(0, 3)),
)
rows = st.lists(st.tuples(st.sampled_from([0, 1, 1, 2, 3, 7, 12, 25, 40]), row), max_size=40)
wants = st.builds(
    Wakes,
    pairs=st.just(PAIRS),
    min_life_ns=st.sampled_from([0, 3 * UNIT]),
    improve_ppb=st.sampled_from([0, 5_000_000]),
    timer_ns=st.sampled_from([0, 4 * UNIT]),
)


def _feed(fold_: Fold, ts: int, given_row: tuple[object, ...]) -> list[str]:
    """Give the kernel one row."""
    kind, number, *values = given_row
    assert isinstance(number, int)
    seconds = f"{ts // NANOS_PER_S}.{ts % NANOS_PER_S:09d}"
    if kind == "quote":
        return fold_.quote(seconds, LETTERS[number], *values)  # type: ignore[arg-type]  # the generator's tuple
    caused = fold_.advance(seconds)
    fold.begin_row(fold_.kernel.handle, fold_.seq, ts)
    fold_.seq += 1
    if kind == "gap" or int(fold_.kernel.tables[state.CONNECTIONS]["known"][number]):
        fold.connection_row(fold_.kernel.handle, number, number, feed.GAP if kind == "gap" else -1)
    return caused + fold_.caused()


@settings(deadline=None, max_examples=300)
@given(rows, wants)
def test_the_kernel_does_what_the_plain_model_does(given_rows: list[tuple[int, tuple[object, ...]]], wakes: Wakes) -> None:
    """Feed states, flags, episodes and wakes are equal, row by row, over gaps, silence, age, crossed and outlying quotes and timers."""
    real = Fold(LETTERS, limits=LIMITS, wakes=wakes)
    plain = NaiveFold(LETTERS, LIMITS, wakes)
    ts = UNIT
    for gap, given_row in given_rows:
        ts += gap * UNIT
        plain.rows.clear()
        caused = [text for text in _feed(real, ts, given_row) if not text.endswith("locked")]
        kind, number, *values = given_row
        if kind == "quote":
            plain.quote(ts, number, *values)  # type: ignore[arg-type]  # the generator's tuple
        else:
            getattr(plain, str(kind))(ts, number)
        assert caused == plain.rows
    assert real.wakes == [f"{int(text.split()[0]) / NANOS_PER_S:.3f} {text.split()[1]}" for text in plain.wakes]


CALM = msgspec.structs.replace(LIMITS, outlier_floor_ppb=12_000_000, liveness_ns=NEVER // 2, cache_ns=NEVER // 2, freeze_ns=0)
CLOSE_PAIRS = tuple(Pair(a, b, 4_000_000, 1_000_000, 0, 0) for a in range(3) for b in range(3) if a != b)
moves = st.lists(st.tuples(st.integers(0, 2), st.integers(-6, 6), st.integers(1, 3)), min_size=20, max_size=200)


@settings(deadline=None, max_examples=150)
@given(moves)
def test_quotes_that_seldom_reach_a_threshold_are_not_overlooked(walk: list[tuple[int, int, int]]) -> None:
    """Mids wander near one another: the kernel, which skips most looks at peers, finds each episode and outlier that a full look finds."""
    wakes = Wakes(pairs=CLOSE_PAIRS)
    real, plain = Fold("abc", limits=CALM, wakes=wakes), NaiveFold("abc", CALM, wakes)
    mids = [1000, 1000, 1000]
    for step, (number, change, half) in enumerate(walk):
        mids[number] += change - (mids[number] - 1000) // 8
        sides = (mids[number] - half, 5, mids[number] + half, 5)
        plain.rows.clear()
        caused = _feed(real, (step + 1) * UNIT, ("quote", number, *sides))
        plain.quote((step + 1) * UNIT, number, *sides)
        assert caused == plain.rows


def _column(values: list[int], dtype: type[np.generic] = np.int64) -> np.ndarray[tuple[int], np.dtype[np.generic]]:
    column = np.array(values, dtype)
    column.flags.writeable = False
    return column


def _run(blocks: list[list[list[int]]], wakes: Wakes) -> tuple[list[str], list[str]]:
    """Rows and wakes of the batches one after another."""
    fold_ = Fold(LETTERS, limits=LIMITS, wakes=wakes)
    texts: list[str] = []
    for block in blocks:
        columns = [list(column) for column in zip(*block, strict=True)] or [[] for _ in Quotes._fields]
        kinds = [np.int32 if name in ("conn", "inst") else np.int64 for name in Quotes._fields]
        quotes = Quotes(*(_column(c, k) for c, k in zip(columns, kinds, strict=True))) if block else NO_QUOTES  # type: ignore[arg-type]  # built by field
        fold_.kernel.load(Batch(0, NEVER, quotes, NO_DELTAS, NO_TRADES, NO_BOOKS, []))
        while fold.run(fold_.kernel.handle, NEVER) != fold.END:
            texts += fold_.caused()
        texts += fold_.caused()
    return texts, fold_.wakes


@settings(deadline=None, max_examples=100)
@given(rows, wants, st.lists(st.integers(0, 40), max_size=5))
def test_no_split_of_a_sequence_changes_an_output(
    given_rows: list[tuple[int, tuple[object, ...]]], wakes: Wakes, cuts: list[int]
) -> None:
    """Cut anywhere, also into empty batches, the rows and wakes are those of one batch."""
    table: list[list[int]] = []
    ts = UNIT
    for gap, (kind, number, *values) in given_rows:
        ts += gap * UNIT
        if kind == "quote" and isinstance(number, int):
            sides = [NULL if value is None else int(str(value)) for value in values]
            table.append([len(table), ts, NULL, number, number, NULL, *sides])
    ends = sorted({min(cut, len(table)) for cut in cuts})
    parts = [table[begin:end] for begin, end in zip([0, *ends], [*ends, len(table)], strict=True)]
    assert _run(parts, wakes) == _run([table], wakes)


def test_the_limits_of_the_comparison_are_the_kernels() -> None:
    """The plain model is given every limit that it honours, and the others are off."""
    assert {name for name in msgspec.structs.asdict(LIMITS) if name.endswith("_ns")} == {
        *("liveness_ns", "cache_ns", "max_latency_ns", "future_ns", "freeze_ns", "score_ns")
    }
