"""The highest point of a line plus a staircase against looking at every point."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from xarb.strategies.staircase import Staircase, highest

SMALL, LARGE = st.integers(-60, 60), st.integers(-(10**40), 10**40)


@settings(max_examples=600, deadline=None)
@given(
    st.tuples(SMALL | LARGE, SMALL | LARGE, st.integers(0, 90) | st.integers(0, 10**40), SMALL | LARGE, st.integers(1, 90)),
    st.integers(0, 80),
    st.integers(0, 10**38),
)
def test_no_point_is_higher(terms: tuple[int, int, int, int, int], last: int, widen: int) -> None:
    """The point found is the first of the highest ones, for small numbers (many ties) and for numbers of 40 digits."""
    slope, rise, grow, shift, width = terms
    width += widen
    values = [slope * x + rise * ((grow * x + shift) // width) for x in range(last + 1)]
    assert highest(Staircase(slope, rise, grow, shift, width), last) == (max(values), values.index(max(values)))


def test_a_long_stair_takes_no_time() -> None:
    """Of 10**30 points with a tooth every 1,000 the highest one is found at once."""
    stair = Staircase(10_000, -10_000, 1_000, 998, 999)
    value, x = highest(stair, 10**30)
    assert value == 10_000 * x - 10_000 * ((1_000 * x + 998) // 999) == 0
    assert x == 0
    assert highest(stair._replace(slope=10_015), 10**30)[1] == 10**30 // 999 * 999
