"""Ratios and curves: against hand-reckoned figures and the plain list of values."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xarb.model.units import NANOS_PER_S
from xarb.summary.curve import Curve
from xarb.summary.ratios import Hits, Period, period_of, ratios_of

DAY, SECOND = Period(86_400, "day"), Period(1, "second")


def test_ratios_are_those_of_their_definitions() -> None:
    """Changes 1, 2, 3, -2: mean 1; deviations add up to 14 over 3; the one loss gives a mean square of 1."""
    found = ratios_of([1, 2, 3, -2], DAY)
    assert found.sharpe == pytest.approx(1 / math.sqrt(14 / 3) * math.sqrt(365))
    assert found.sortino == pytest.approx(math.sqrt(365))
    assert found.observations == 4


@pytest.mark.parametrize("changes", [[], [5]])
def test_ratios_of_fewer_than_two_changes_are_undefined(changes: list[int]) -> None:
    """One observation has no spread; how many there are is told."""
    assert ratios_of(changes, DAY) == (None, None, len(changes))


def test_ratios_without_anything_to_divide_by_are_undefined() -> None:
    """Equal changes have no Sharpe ratio, changes without a loss no Sortino ratio; large equal ones too, whose mean floats cannot hold."""
    assert ratios_of([10**25 + 1] * 7, DAY) == (None, None, 7)
    assert ratios_of([0, 0, 0], DAY) == (None, None, 3)
    assert ratios_of([1, 2], DAY).sharpe is not None
    assert ratios_of([1, 2], DAY).sortino is None


def test_hits_of_nothing_are_undefined() -> None:
    """A share of none is none, not zero."""
    assert Hits(0, 0).ratio is None
    assert Hits(1, 4).ratio == 0.25


@pytest.mark.parametrize(
    ("seconds", "word"), [(29, "second"), (30, "second"), (1_800, "minute"), (108_000, "hour"), (2_592_000, "day"), (10**9, "day")]
)
def test_period_is_the_longest_of_which_there_are_thirty(seconds: int, word: str) -> None:
    """Each border lies on the side of the longer one."""
    assert period_of(seconds * NANOS_PER_S).word == word


Steps = st.lists(st.tuples(st.integers(0, 100 * NANOS_PER_S), st.integers(-50, 50)), max_size=120)


@given(Steps, st.integers(1, 30))
def test_changes_are_those_between_the_ends_of_periods(steps: list[tuple[int, int]], points: int) -> None:
    """Against a plain look at the list; they add up to the last value that lies in a whole period."""
    begins, ends = 7, 7 + 100 * NANOS_PER_S
    curve, plain = Curve(begins, ends, SECOND, points=points), sorted(steps, key=lambda step: step[0])
    for ts, value in plain:
        curve.take(begins + ts, value)
    closing = [next((value for ts, value in reversed(plain) if ts < (n + 1) * NANOS_PER_S), 0) for n in range(100)]
    assert curve.changes() == [now - before for now, before in zip(closing, [0, *closing], strict=False)]


@given(Steps, st.integers(1, 30))
def test_curve_is_bounded_and_keeps_its_extremes_and_its_end(steps: list[tuple[int, int]], points: int) -> None:
    """At most four points a stretch, in order of time, each of them a value that was taken."""
    curve, plain = Curve(0, 100 * NANOS_PER_S, SECOND, points=points), sorted(steps, key=lambda step: step[0])
    for step in plain:
        curve.take(*step)
    drawn = list(curve.points())
    assert drawn[0] == (0, 0)
    assert len(drawn) <= 4 * points + 1
    assert drawn[1:] == sorted(drawn[1:], key=lambda point: point[0])
    assert set(drawn[1:]) <= set(plain)
    if plain:
        values = [value for _, value in plain]
        assert (max(v for _, v in drawn[1:]), min(v for _, v in drawn[1:]), drawn[-1]) == (max(values), min(values), plain[-1])
