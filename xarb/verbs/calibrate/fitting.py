"""From observations to tables of a model, and back to the quantiles that such a table gives.

A table holds values of which each is equally likely to be drawn, as the simulated venue takes them. Times are ns, shares parts per billion.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Final, NamedTuple

from xarb.model.units import PPB, ceil_div

LEAST: Final = 20  # observations without which nothing is fitted, unless another number is asked for
MOST: Final = 200  # values of a table
_MICRO: Final = 1_000
_Z: Final = 1.959964  # of 95 % on both sides


class Ratio(NamedTuple):
    """`hits` of `total`, with the bounds of Wilson's interval at 95 %; None where there is nothing to count."""

    hits: int
    total: int

    @property
    def value(self) -> float | None:
        """The share."""
        return self.hits / self.total if self.total else None

    @property
    def bounds(self) -> tuple[float, float] | None:
        """Between which the true share lies, as a rule."""
        if not self.total:
            return None
        share, spread = self.hits / self.total, _Z * _Z / self.total
        middle = (share + spread / 2) / (1 + spread)
        half = _Z * math.sqrt(share * (1 - share) / self.total + spread / (4 * self.total)) / (1 + spread)
        return max(0.0, middle - half), min(1.0, middle + half)


def quantile(ascending: Sequence[int], share: float) -> int | None:
    """The smallest value that at least this share of the values does not exceed; None without values."""
    if not ascending:
        return None
    return ascending[max(0, math.ceil(share * len(ascending)) - 1)]


def table(values: Sequence[int], least: int = LEAST) -> tuple[int, ...]:
    """A table of the values, ascending: all of them, or MOST quantiles in the middles of equal parts; none of fewer than `least`."""
    if len(values) < least:
        return ()
    ascending = sorted(values)
    if len(ascending) <= MOST:
        return tuple(ascending)
    return tuple(ascending[(2 * part + 1) * len(ascending) // (2 * MOST)] for part in range(MOST))


def latency_table(values: Sequence[int], least: int = LEAST) -> tuple[int, ...]:
    """As `table`, in whole microseconds, rounded up; a latency below zero is none."""
    return tuple(ceil_div(max(0, value), _MICRO) * _MICRO for value in table(values, least))


def feed_table(values: Sequence[int], responses: Sequence[int], least: int = LEAST) -> tuple[int, ...]:
    """As `latency_table`, cut where as large a part of the rows is cut as of the table of responses is raised to it.

    The simulated venue lets no report come sooner than its slowest row. So one of the two must give way, and there the sum of both errors is
    least. Without a table of responses it is cut at the 99th percentile.
    """
    found = latency_table(values, least)
    if not found:
        return found
    top = quantile(found, 0.99)
    if responses:
        after, before = sorted(found), sorted(responses)
        top = next(one for one in after if _above(after, one) * len(before) <= bisect_left(before, one) * len(after))
    assert top is not None
    return tuple(min(one, top) for one in found)


def _above(ascending: Sequence[int], value: int) -> int:
    return len(ascending) - bisect_right(ascending, value)


def share_table(values: Sequence[int], least: int = LEAST) -> tuple[int, ...]:
    """As `table`, of shares; none where every order got all, which is what a venue does without a table."""
    found = table(values, least)
    return () if all(share == PPB for share in found) else found


def sums(one: Sequence[int], other: Sequence[int], *, least: int = 0) -> list[int]:
    """Ascending, every sum of a value of one table and one of another, of which the second is at least `least`: drawn apart, as likely."""
    raised = [max(value, least) for value in other]
    return sorted(first + second for first in one for second in raised)
