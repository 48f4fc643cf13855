"""Tables: what is fitted, what is not, and that a venue which draws from one has the quantiles that were observed."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xarb.model.units import PPB
from xarb.venues.fold.draw import splitmix64
from xarb.venues.terms import TableLatency
from xarb.verbs.calibrate.fitting import LEAST, MOST, Ratio, feed_table, latency_table, quantile, share_table, sums, table

MS = 1_000_000
latencies = st.lists(st.integers(0, 5_000 * MS), min_size=LEAST, max_size=1_500)


@settings(max_examples=30)
@given(latencies, st.sampled_from([0.1, 0.25, 0.5, 0.75, 0.9]))
def test_a_table_has_the_quantiles_of_what_it_was_made_of(values: list[int], share: float) -> None:
    """Each quantile of a table lies between those of the observations half a value of the table further down and up."""
    made = latency_table(values)
    assert list(made) == sorted(made)
    assert len(made) == min(len(values), MOST)
    found, slack = quantile(made, share), 1.5 / len(made)
    low, high = (quantile(sorted(values), min(1.0, max(0.0, share + side))) for side in (-slack, slack))
    assert found is not None
    assert low is not None
    assert high is not None
    assert low <= found <= high + 1_000  # rounded up to a microsecond


def test_draws_from_a_table_have_its_quantiles() -> None:
    """20,000 draws of a venue from the table of a skewed sample have the sample's quantiles within a hundredth of probability."""
    values = sorted((3 + splitmix64(5, at) % 40 + (500 if splitmix64(6, at) % 10 == 0 else 0)) * MS for at in range(5_000))
    model = TableLatency(latency_table(values))
    drawn = sorted(model.pick(splitmix64(1, at)) for at in range(20_000))
    for share in (0.05, 0.25, 0.5, 0.75, 0.85, 0.95):
        low, high = (quantile(values, share + side) for side in (-0.01, 0.01))
        found = quantile(drawn, share)
        assert found is not None
        assert low is not None
        assert high is not None
        assert low <= found <= high


def test_many_observations_are_taken_from_the_middles_of_equal_parts() -> None:
    """Of 2,000 values each of 200 parts gives the one in its middle, so that neither end is favoured."""
    assert table(range(2_000)) == tuple(range(5, 2_000, 10))


def test_few_observations_make_no_table() -> None:
    """One less than asked for is none, as many are all of them; below zero is at once, and ns are rounded up to us."""
    assert table(range(LEAST - 1)) == ()
    assert table(range(LEAST)) == tuple(range(LEAST))
    assert latency_table([-5, 1, 1_000, 1_001], 4) == (0, 1_000, 1_000, 2_000)


@pytest.mark.parametrize(
    ("feed", "responses", "made"),
    [
        ([1, 2, 3, 50], [60, 70], (1, 2, 3, 50)),  # answers are slower: nothing is cut
        ([1, 2, 3, 50], [2, 4, 60, 70], (1, 2, 3, 3)),  # one of four is cut, and one of four raised
        ([30, 31, 32], [1, 2], (30, 30, 30)),  # each answer is quicker than any row
        ([1, 2, 3, 50], [], (1, 2, 3, 50)),
    ],
)
def test_a_feed_gives_way_where_errors_are_least(feed: list[int], responses: list[int], made: tuple[int, ...]) -> None:
    """It is cut where as large a part of its rows is cut as answers are raised; no other cut has a smaller sum of both errors."""
    us = [value * 1_000 for value in feed]
    found = feed_table(us, [value * 1_000 for value in responses], 1)
    assert found == tuple(value * 1_000 for value in made)

    def error(top: int) -> float:
        cut = sum(max(0, one - top) for one in feed) / len(feed)
        return cut + sum(max(0, top - one) for one in responses) / max(1, len(responses))

    if responses:
        assert error(made[-1]) == min(map(error, feed))


def test_without_answers_a_feed_is_cut_at_its_99th_percentile() -> None:
    """One value of 200 that is far away does not make every answer as late."""
    assert feed_table([1_000] * 199 + [9_000_000], [])[-1] == 1_000


def test_a_whole_share_is_no_table() -> None:
    """Where every order got all there is nothing to fit; where one did not, the table has it."""
    assert share_table([PPB] * 30) == ()
    assert share_table([0] + [PPB] * 29)[:2] == (0, PPB)


def test_an_interval_holds_the_share_and_stays_within_bounds() -> None:
    """Wilson's interval of 5 of 100 is the published one; nothing of 50 has a lower end of 0 and an upper end above it."""
    low, high = Ratio(5, 100).bounds or (0, 0)
    assert (round(low, 4), round(high, 4)) == (0.0215, 0.1118)
    low, high = Ratio(0, 50).bounds or (1, 0)
    assert low == pytest.approx(0, abs=1e-12)
    assert 0.07 < high < 0.072
    assert Ratio(0, 0).bounds is None
    assert Ratio(0, 0).value is None


def test_sums_are_every_pair() -> None:
    """Two tables drawn apart add up to every pair once, the second no smaller than the least."""
    assert sums([1, 2], [10, 30], least=20) == [21, 22, 31, 32]
