"""Text times to nanoseconds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xarb.wires.times import nanos_of, nanos_of_rfc3339


@pytest.mark.parametrize(
    ("text", "unit", "nanos"),
    [
        ("1525783064648", "ms", 1525783064648000000),
        ("1525783064.648123456", "s", 1525783064648123456),
        ("1525783064648000.5", "us", 1525783064648000500),
        ("1723161255030314667", "ns", 1723161255030314667),
        ("1.5e9", "s", 1500000000000000000),
    ],
)
def test_units(text: str, unit: str, nanos: int) -> None:
    """Every unit, with fractions and exponents, gives exact nanoseconds."""
    assert nanos_of(text, unit) == nanos


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("", "ms"),
        ("NaN", "s"),
        ("1525783064648", "s"),
        ("1525783064648", "ns"),
        ("-1", "s"),
        ("1525783064648000000.5", "ns"),
        ("9" * 30, "s"),
    ],
)
def test_wrong_times(text: str, unit: str) -> None:
    """No number, a wrong unit and a fraction of a nanosecond are errors."""
    with pytest.raises(ValueError, match=r"decimal|years|decimals"):
        nanos_of(text, unit)


@given(st.datetimes(datetime(2000, 1, 1), datetime(2099, 12, 31)), st.integers(0, 999))  # noqa: DTZ001  # made UTC below
def test_times_of_day_equal_the_calendar_of_the_standard_library(moment: datetime, nanos: int) -> None:
    """Every day of the century, to the nanosecond."""
    exact = (moment.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1000 + nanos
    assert nanos_of_rfc3339(f"{moment:%Y-%m-%dT%H:%M:%S.%f}{nanos:03d}Z") == exact


def test_a_fraction_may_be_short_or_absent() -> None:
    """`.5` is half a second."""
    assert nanos_of_rfc3339("2023-02-09T20:32:50.5Z") == nanos_of_rfc3339("2023-02-09T20:32:50+00:00") + 500_000_000


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2023-02-29T00:00:00Z",
        "2023-13-01T00:00:00Z",
        "2023-01-00T00:00:00Z",
        "2023-01-01T24:00:00Z",
        "2023-01-01T00:00:60Z",
        "2023-01-01T00:00:00",
        "2023-01-01T00:00:00+01:00",
        "2023-01-01T00:00:00.1234567890Z",
        "1970-01-01T00:00:00Z",
        "2023-01-01T00:00:00Z\n",
        "٢٠٢٣-01-01T00:00:00Z",
    ],
)
def test_wrong_times_of_day(text: str) -> None:
    """Another form or zone, a day that does not exist, and a time outside the years are errors."""
    with pytest.raises(ValueError, match=r"not a time|no day|years"):
        nanos_of_rfc3339(text)
