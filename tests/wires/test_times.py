"""Text times to nanoseconds."""

from __future__ import annotations

import pytest

from xarb.wires.times import nanos_of


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
