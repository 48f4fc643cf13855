"""Prints, bars and 24 hour figures of one instrument, against sums over all its prints."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from xarb.model.units import MONEY_ONE
from xarb.serve.tape import DAY_MS, INTERVALS, Tape

_START = 1_700_000_000_000
trades = st.lists(
    st.tuples(st.integers(0, 400_000), st.integers(1, 500), st.integers(1, 50), st.booleans()), min_size=1, max_size=40
)


@given(trades, st.sampled_from(["1s", "1m", "3m", "5m", "1h"]))
def test_bars_are_sums_over_prints(drawn: list[tuple[int, int, int, bool]], interval: str) -> None:
    """Each bar has the first, last, highest and lowest price, and all volumes, of the prints of its span; no span is lost."""
    tape, step, now = Tape(), INTERVALS[interval], 0
    spans: dict[int, list[tuple[int, int, bool]]] = {}
    for wait, price, qty, sold in drawn:
        now += wait
        ms = _START + now
        tape.add(ms, price * MONEY_ONE, qty * MONEY_ONE, buyer_is_maker=sold)
        spans.setdefault(ms - ms % step, []).append((price, qty, sold))
    bars = tape.bars(interval)
    assert [bar.ms for bar in bars] == sorted(spans)
    for bar in bars:
        mine = spans[bar.ms]
        prices = [price for price, _, _ in mine]
        assert [value // MONEY_ONE for value in (bar.open, bar.close, bar.high, bar.low)] == [
            prices[0],
            prices[-1],
            max(prices),
            min(prices),
        ]
        assert (bar.count, bar.volume) == (len(mine), sum(qty for _, qty, _ in mine) * MONEY_ONE)
        assert Fraction(bar.value, MONEY_ONE) == sum(price * qty for price, qty, _ in mine)
        assert bar.taker_qty == sum(qty for _, qty, sold in mine if not sold) * MONEY_ONE
    assert [one.id for one in tape.prints] == list(range(1, len(drawn) + 1))


def test_the_day_ends_after_a_day() -> None:
    """What is older than 24 hours, to the minute, counts no more."""
    tape = Tape()
    for at, price in ((0, 5), (DAY_MS // 2, 7), (DAY_MS, 6)):
        tape.add(_START + at, price * MONEY_ONE, MONEY_ONE, buyer_is_maker=False)
    whole, half = tape.day(_START + DAY_MS - 60_000), tape.day(_START + DAY_MS + 60_000)
    assert whole is not None
    assert half is not None
    assert (whole.open // MONEY_ONE, whole.count) == (5, 3)
    assert (half.open // MONEY_ONE, half.close // MONEY_ONE, half.count, half.first) == (7, 6, 2, 2)
    assert tape.day(_START + 3 * DAY_MS) is None
