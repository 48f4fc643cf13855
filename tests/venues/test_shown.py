"""What clients see of a book is what an order could take from it, whatever was taken before and whatever the market did since."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.instruments import instrument
from tests.venues.market import MS, Row, batch_of, plain_model, setup_of, submit
from xarb.venues.fold import book as kernel
from xarb.venues.fold.state import FILLS
from xarb.venues.shown import ASK, BID
from xarb.venues.simulated import SimulatedVenues
from xarb.venues.terms import ConstantLatency

_INSTANT = ConstantLatency(0)
_FAR = 10**9
levels = st.lists(st.tuples(st.integers(1, 6), st.integers(0, 9)), min_size=0, max_size=6, unique_by=lambda level: level[0])
books = st.tuples(levels, levels).map(
    lambda sides: Row(
        "book",
        0,
        0,
        (
            tuple(sorted(((100 - price, qty) for price, qty in sides[0]), reverse=True)),
            tuple(sorted((100 + price, qty) for price, qty in sides[1])),
        ),
    )
)
trades = st.builds(
    lambda price, qty, aggressor: Row("trade", 0, 0, (price, qty, aggressor)),
    st.integers(95, 105),
    st.integers(1, 5),
    st.integers(0, 2),
)
orders = st.tuples(st.sampled_from(("buy", "sell")), st.integers(94, 106), st.integers(1, 12))
steps = st.lists(st.one_of(books, trades, orders), min_size=1, max_size=25)


def _takeable(venues: SimulatedVenues, side: int) -> list[tuple[int, int]]:
    """The levels of a side as a walk through the whole of it would fill them, nothing taken."""
    memory = venues._memory
    limit = 1 if side == BID else _FAR
    count, _ = kernel.walk(memory.handle, 0, side, limit, _FAR, 0)
    fills = memory.tables[FILLS].tolist()
    return [(fills[2 * at], fills[2 * at + 1]) for at in range(int(count))]


@given(steps, st.booleans())
def test_shown_levels_are_what_can_be_taken(drawn: list[Row | tuple[str, int, int]], deep: bool) -> None:
    """After each row and each order both sides agree with the matching engine, level by level, and a look at one level too."""
    one = instrument("a", lot_int=1, tick_int=1)
    model = plain_model(feed_latency=_INSTANT, order_latency=_INSTANT, response_latency=_INSTANT)
    venues = SimulatedVenues(setup_of([one], sources=[1 if deep else 0]), {"a": model})
    shown = venues.book(0)
    assert shown.is_deep is deep
    for seq, step in enumerate(drawn):
        ts = seq * MS
        if isinstance(step, Row):
            kind, values = step.kind, step.values
            if kind == "book" and not deep:  # the best of each side as a quote
                bid, ask = (values[0] or ((None, None),))[0], (values[1] or ((None, None),))[0]
                kind, values = "quote", (*bid, *ask)
            venues.load(batch_of([Row(kind, ts, 0, values)], [one], seq))
            venues.run(seq)
        else:
            word, price, qty = step
            venues.take([submit(seq + 1, word, price, qty, ts=max(0, ts - MS))])
            venues.reports(max(0, ts - MS))
        for side in (BID, ASK):
            seen = shown.levels(side)
            assert [tuple(level) for level in seen] == _takeable(venues, side)
            assert all(shown.qty(side, level.price) == level.qty for level in seen)
            assert shown.best(side) == (seen[0] if seen else None)
            assert [tuple(level) for level in shown.levels(side, 1)] == [tuple(level) for level in seen[:1]]
