"""Venue and file times as text or integers to exact nanoseconds since 1970 UTC."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from xarb.model.units import NANOS_PER_S, parse_decimal, to_scale

UNIT_SCALES: Final = {"s": 9, "ms": 6, "us": 3, "ns": 0}  # decimals of one unit down to the nanosecond
EARLIEST: Final = 946_684_800_000_000_000  # 2000-01-01; a time outside these two is a wrong unit or a broken clock,
LATEST: Final = 4_102_444_800_000_000_000  # 2100-01-01; and one of them would make every later row of its file "earlier"


def nanos_of(text: str, unit: str) -> int:
    """The time `text`, a decimal number of `unit` since 1970, in ns.

    Raises:
        ValueError: no decimal number, finer than a nanosecond, or outside the years 2000 to 2099.
        KeyError: `unit` is none of `s`, `ms`, `us`, `ns`.
    """
    scale = UNIT_SCALES[unit]
    if text.isascii() and text.isdigit() and len(text) < 20:
        return checked(int(text) * 10**scale)
    return checked(to_scale(*parse_decimal(text), scale))


def checked(nanos: int) -> int:
    """`nanos` itself.

    Raises:
        ValueError: outside the years 2000 to 2099.
    """
    if EARLIEST <= nanos < LATEST:
        return nanos
    raise ValueError(f"the time {nanos} ns lies outside the years 2000 to 2099; is the unit right?")


def nanos_of_rfc3339(text: str) -> int:
    """A time such as `2023-10-06T17:35:55.440295Z`, in ns; only UTC, with at most nine decimals.

    Raises:
        ValueError: another form, a day or hour that does not exist, or outside the years 2000 to 2099.
    """
    found = _RFC3339.match(text)
    if found is None:
        raise ValueError(f"not a time in UTC: {text[:60]!r}")
    seconds = int(found[2]) * 3600 + int(found[3]) * 60 + int(found[4])
    return checked(_midnight(found[1]) + seconds * NANOS_PER_S + int((found[5] or "").ljust(9, "0")))


@lru_cache(maxsize=64)
def _midnight(day: str) -> int:
    """When a day such as `2023-10-06` began, in ns; by the civil calendar's 400-year cycle of 146,097 days."""
    year, month, date = int(day[:4]), int(day[5:7]), int(day[8:])
    is_leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    if not 1 <= month <= 12 or not 1 <= date <= _MONTHS[month - 1] + (is_leap and month == 2):
        raise ValueError(f"there is no day {day}")
    before = year - 1
    days = (
        before * 365 + before // 4 - before // 100 + before // 400 + sum(_MONTHS[: month - 1]) + (is_leap and month > 2) + date - 1
    )
    return (days - _DAYS_TO_1970) * 86_400 * NANOS_PER_S


_RFC3339: Final = re.compile(
    r"(\d{4}-\d\d-\d\d)T([01]\d|2[0-3]):([0-5]\d):([0-5]\d)(?:\.(\d{1,9}))?(?:Z|\+00:00)\Z",
    re.ASCII,
)
_MONTHS: Final = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_DAYS_TO_1970: Final = 719_162  # from 0001-01-01
