"""Decimal text to integers."""

from __future__ import annotations

from contextlib import suppress
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wires.generators import NO_NUMBERS, NUMBERS
from xarb.catalog import load_instruments
from xarb.model.units import INT64_MAX
from xarb.wires.decimals import REMEMBERED, Listing, ScaledTable, Unrepresentable

BTC = load_instruments().require("binance", "BTC/USDT")


@given(st.lists(NUMBERS, min_size=1, max_size=20))
def test_every_number_equals_its_text(texts: list[str]) -> None:
    """Read again after all growth, each integer over ten to the scale is the number that the text states, unless it was refused."""
    table, held = ScaledTable(2), []
    for text in texts:
        with suppress(Unrepresentable):
            assert abs(table[text]) <= INT64_MAX
            held.append(text)
    for text in held:
        assert Fraction(table[text], 10**table.scale) == Fraction(text)


@given(NO_NUMBERS)
def test_what_is_no_number_raises(text: str) -> None:
    """NaN, infinities, blanks, other scripts and half numbers are errors, and do not stay in the table."""
    table = ScaledTable(2)
    with pytest.raises(ValueError, match="not a decimal number"):
        table[text]
    assert text not in table


@pytest.mark.parametrize(
    ("text", "scale", "value"),
    [
        ("61837.63000000", 2, 6183763),
        ("-0.0", 2, 0),
        ("1e-12", 12, 1),
        ("1E2", 0, 100),
        (".5", 1, 5),
        ("5.", 0, 5),
        ("+7", 0, 7),
        ("100000000000", 0, 10**11),
    ],
)
def test_forms(text: str, scale: int, value: int) -> None:
    """Trailing zeros, negative zero, exponents and missing halves read as the number they are."""
    table = ScaledTable(scale)
    assert table[text] == value
    assert table.scale == scale


def test_a_finer_value_grows_the_scale_and_forgets_old_integers() -> None:
    """After growth the same text gives the integer at the new scale."""
    table = ScaledTable(2)
    assert table["1.5"] == 150
    assert table["0.001"] == 1
    assert table.scale == 3
    assert table["1.5"] == 1500


@pytest.mark.parametrize(
    "text", ["1e-19", "0." + "0" * 30 + "1", "9223372036854775808", "1e999", "1" * 4000, "1" * 5000, "92233720368547758.08"]
)
def test_what_does_not_fit_is_refused(text: str) -> None:
    """More than 18 decimals and more than 64 bits are refused and leave the scale as it was."""
    table = ScaledTable(4)
    with pytest.raises(ValueError, match=r"64 bits|decimals|digits"):
        table[text]
    assert table.scale == 4


def test_one_absurd_value_cannot_spoil_the_scale() -> None:
    """A value so fine that ordinary ones would no longer fit is refused, and ordinary ones go on."""
    table = ScaledTable(2)
    assert table["61837.63"] == 6183763
    with pytest.raises(Unrepresentable, match="no room"):
        table["0.000000000000000001"]
    assert table["61837.64"] == 6183764


def test_the_table_stays_bounded() -> None:
    """Reading more texts than are remembered starts the table afresh and stays exact."""
    table = ScaledTable(0)
    for number in range(REMEMBERED + 10):
        assert table[str(number)] == number
    assert len(table) <= REMEMBERED


def test_levels_are_all_at_one_scale() -> None:
    """A message whose last level is finer comes back wholly at the finer scale."""
    listing = Listing(BTC)
    prices, qtys = listing.levels([("1.5", "1"), ("1.25", "0.123456789")])
    assert listing.scales == (2, 9)
    assert prices == [150, 125]
    assert qtys == [10**9, 123456789]


def test_a_quote_keeps_absent_numbers_absent() -> None:
    """None stays None, and the rest is at the listing's scales."""
    listing = Listing(BTC)
    assert listing.quote("1.5", None, None, "2") == (150, None, None, 2 * 10**8)
    assert listing.quote(None, None, "1.555", "2") == (None, None, 1555, 2 * 10**8)
