"""The Sharpe ratio of a series, and what it is worth as the best of many."""

from __future__ import annotations

import math

import pytest

from xarb.model.units import MONEY_ONE
from xarb.verbs.sweep.luck import Moments, deflated, expected_best, moments


def test_a_ratio_is_undefined_where_nothing_differs() -> None:
    """One observation, or equal ones, have no spread; else mean over the standard deviation of a sample."""
    assert moments([5]) == Moments(1)
    assert moments([5, 5, 5]) == Moments(3)
    found = moments([MONEY_ONE, 2 * MONEY_ONE, 6 * MONEY_ONE])
    assert found.observations == 3
    assert found.sharpe == pytest.approx(3 / math.sqrt(7))
    assert found.skewness == pytest.approx(6 / (14 / 3) ** 1.5)
    assert found.kurtosis == pytest.approx(98 / 3 / (14 / 3) ** 2)


def test_the_best_of_many_is_measured_by_how_many_there_were() -> None:
    """The bar rises with the number of trials and their spread; the worked example of the paper's section on it is met."""
    spread = [0.0, 1.0, 2.0]
    bars = [expected_best(spread, count) for count in (2, 10, 100, 1000)]
    assert all(one is not None for one in bars)
    assert bars == sorted(bars, key=float)  # type: ignore[arg-type]  # none is None
    assert expected_best(spread, 1) is None
    assert expected_best([1.0], 5) is None
    # Bailey and Lopez de Prado 2014: 100 trials, yearly ratio 2.5 over 1250 days (250 a year), variance of the trials' ratios 1/2 a year,
    # skewness -3, kurtosis 10: the bar is 0.1132 a day, the deflated ratio 0.9004.
    sharpe, width = 2.5 / math.sqrt(250), math.sqrt(0.5 / 250)
    bar = expected_best([-width / math.sqrt(2), width / math.sqrt(2)], 100)
    assert bar == pytest.approx(0.1132, abs=1e-4)
    assert deflated(Moments(1250, sharpe, -3.0, 10.0), bar or 0) == pytest.approx(0.9004, abs=1e-4)
    assert deflated(Moments(3), 0.0) is None
