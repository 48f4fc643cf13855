"""How good the best of many trials is once it is known how many there were.

The deflated Sharpe ratio of D. H. Bailey and M. Lopez de Prado, "The Deflated Sharpe Ratio", Journal of Portfolio Management 40 (5), 2014.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist, variance
from typing import Final, NamedTuple

from xarb.model.units import MONEY_ONE
from xarb.summary.ratios import YEAR_S, Period, ratios_of

_PERIOD: Final = Period(YEAR_S, "year")  # of which a year has one: the ratio is not made yearly
_EULER: Final = 0.5772156649015329  # the Euler-Mascheroni constant


class Moments(NamedTuple):
    """A series of changes of money, as it is judged.

    Attributes:
        observations: how many there are.
        sharpe: of one period, as `xarb.summary.ratios` defines it; None where it is undefined.
        skewness, kurtosis: third and fourth standardised moment (of a normal distribution 0 and 3); None with `sharpe`.
    """

    observations: int
    sharpe: float | None = None
    skewness: float | None = None
    kurtosis: float | None = None


def moments(changes: Sequence[int]) -> Moments:
    """The moments of changes in money, one for each period."""
    ratio = ratios_of(changes, _PERIOD)
    if ratio.sharpe is None:
        return Moments(ratio.observations)
    values = [change / MONEY_ONE for change in changes]
    mean = math.fsum(values) / len(values)
    away = [value - mean for value in values]
    spread = math.sqrt(math.fsum(one**2 for one in away) / len(values))
    return Moments(
        ratio.observations,
        ratio.sharpe,
        math.fsum((one / spread) ** 3 for one in away) / len(values),
        math.fsum((one / spread) ** 4 for one in away) / len(values),
    )


def expected_best(sharpes: Sequence[float], trials: int) -> float | None:
    """The Sharpe ratio that the best of so many trials is expected to have when none has any skill.

    It rests on the spread of the trials' ratios and takes the trials for independent, which neighbours in a grid are not: with fewer
    independent ones it would be lower. None for fewer than two of either.
    """
    if trials < 2 or len(sharpes) < 2:
        return None
    normal = NormalDist()
    high = (1 - _EULER) * normal.inv_cdf(1 - 1 / trials) + _EULER * normal.inv_cdf(1 - 1 / (trials * math.e))
    return math.sqrt(variance(sharpes)) * high


def deflated(best: Moments, bar: float) -> float | None:
    """The probability that the true Sharpe ratio is above `bar`, given the series' length, skewness and kurtosis; None if undefined."""
    if best.sharpe is None or best.skewness is None or best.kurtosis is None:
        return None
    width = 1 - best.skewness * best.sharpe + (best.kurtosis - 1) / 4 * best.sharpe**2
    if width <= 0:
        return None
    return NormalDist().cdf((best.sharpe - bar) * math.sqrt(best.observations - 1) / math.sqrt(width))
