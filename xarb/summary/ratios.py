"""Ratios of a profit over time: definitions, number of observations, and None where one is undefined.

Trading PnL is looked at once a period. A change is the PnL at the end of a period minus that at the end of the one before. There is no rate
without risk and no capital in it: what is traded is an inventory that stays, and dividing every change by one capital changes no ratio.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

from xarb.model.units import NANOS_PER_S

YEAR_S: Final = 365 * 86_400  # these markets never close
_LEAST: Final = 2  # observations: one has no spread
_PERIODS: Final = ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second"))
_WANTED: Final = 30  # periods that there should be at least


class Period(NamedTuple):
    """How often PnL is looked at: every so many seconds, and what that is called."""

    seconds: int
    word: str


class Ratios(NamedTuple):
    """Sharpe and Sortino ratio of one year, each None where it is undefined, and of how many changes they are."""

    sharpe: float | None
    sortino: float | None
    observations: int


class Hits(NamedTuple):
    """Bundles that changed a balance and of which the trading PnL is known, and how many of them gained."""

    won: int
    known: int

    @property
    def ratio(self) -> float | None:
        """The share that gained; None where there is none."""
        return self.won / self.known if self.known else None


def period_of(span_ns: int) -> Period:
    """The longest of day, hour, minute and second of which a span has at least 30."""
    for seconds, word in _PERIODS:
        if span_ns >= _WANTED * seconds * NANOS_PER_S:
            return Period(seconds, word)
    return Period(*_PERIODS[-1])


def ratios_of(changes: Sequence[int], period: Period) -> Ratios:
    """Both ratios of the changes of one period each.

    Sharpe: mean over standard deviation (n - 1), times the root of periods in a year of 365 days. Sortino: the same over the root of the mean
    square of the losses, of all n changes. Undefined with fewer than two changes, or where nothing is to be divided by.
    """
    count = len(changes)
    if count < _LEAST:
        return Ratios(None, None, count)
    mean = sum(changes) / count
    year = math.sqrt(YEAR_S / period.seconds)
    spread = math.sqrt(math.fsum((one - mean) ** 2 for one in changes) / (count - 1))
    losses = math.sqrt(math.fsum(min(one, 0) ** 2 for one in changes) / count)
    return Ratios(
        mean / spread * year if len(set(changes)) > 1 else None,
        mean / losses * year if losses else None,
        count,
    )
