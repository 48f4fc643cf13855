"""Edges across quote currencies: converted at a third instrument's bid or ask, or at a constant peg, against exact fractions."""

from __future__ import annotations

from fractions import Fraction
from math import floor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.defaults import feed_limits
from tests.engine.table import Fold, instrument, pair
from xarb.engine.kernel.edges import edge_ppb
from xarb.engine.setup import CONVERT_DIGITS
from xarb.engine.strategy import Pair, Wakes
from xarb.errors import ConfigError
from xarb.model.units import INT64_MAX, NANOS_PER_S, PPB

FEE = 1_000_000
scales = st.integers(0, 4)
prices = st.integers(1, 10**9)


def market(way: Pair, decimals: tuple[int, int, int] = (0, 0, 0)) -> Fold:
    """Sell a, buy b, convert at c."""
    chosen = [instrument(letter, px_scale=scale) for letter, scale in zip("abc", decimals, strict=True)]
    limits = feed_limits(liveness_ns=3600 * NANOS_PER_S, freeze_ns=0, outlier_floor_ppb=9 * PPB)
    return Fold("abc", wakes=Wakes(pairs=(way,)), instruments=chosen, limits=limits)


@settings(deadline=None)
@given(st.tuples(scales, scales, scales), prices, prices, prices, st.sampled_from(["bid", "ask"]), st.integers(-(10**6), 10**7))
def test_the_verdict_and_the_edge_are_those_of_the_converted_bid(
    decimals: tuple[int, int, int], bid: int, ask: int, rate: int, side: str, threshold: int
) -> None:
    """Converted, rounded down four decimals below the buy leg's scale, net of three fees: exactly what fractions say; what does not fit 63 bits is held lower."""
    way = Pair(0, 1, threshold, threshold, FEE, FEE, convert=2, convert_side=side, convert_fee_ppb=FEE)
    market_ = market(way, decimals)
    real = Fraction(rate, 10 ** decimals[2])
    factor = real if side == "bid" else 1 / real
    unit = 10 ** (decimals[1] + CONVERT_DIGITS)
    converted = Fraction(min(floor(Fraction(bid, 10 ** decimals[0]) * factor * unit), INT64_MAX), unit)
    price = Fraction(ask, 10 ** decimals[1])
    conversion = Fraction(PPB, PPB - FEE) if side == "bid" else Fraction(PPB + FEE, PPB)
    bound = price * Fraction(PPB + FEE, PPB - FEE) * Fraction(PPB + threshold, PPB) * conversion
    market_.quote("0.0", "a", bid, 5, None, None)
    market_.quote("0.1", "b", None, None, ask, 5)
    caused = market_.quote("0.2", "c", *((rate, 5, None, None) if side == "bid" else (None, None, rate, 5)))
    assert ("opened a>b" in caused) == (converted >= bound)
    assert int(edge_ppb(market_.kernel.world, 0)) == min(floor(converted / price * PPB), INT64_MAX) - PPB


def test_the_conversions_feed_is_the_pairs() -> None:
    """An untradable conversion closes the pair for the feed's sake, and its recovery opens it again."""
    market_ = market(Pair(0, 1, 0, 0, 0, 0, convert=2, convert_side="bid"))
    market_.quote("0.0", "a", 110, 5, 120, 5)
    market_.quote("0.1", "b", 90, 5, 100, 5)
    assert market_.quote("0.2", "c", 1, 5, 2, 5) == ["feed c down live", "opened a>b"]
    assert market_.quote("0.3", "c", 3, 5, 2, 5) == ["flag c crossed", "feed c live crossed", "closed a>b"]
    assert market_.quote("0.4", "c", 1, 5, 2, 5) == ["feed c crossed live", "opened a>b"]


def test_a_premium_stands_at_its_constant_peg() -> None:
    """With a peg of 1/1000 a bid of 110,000 is worth 110."""
    market_ = market(Pair(0, 1, 0, 0, 0, 0, peg_left=1, peg_right=1000, premium=True))
    market_.quote("0.0", "a", 110_000, 5, 120_000, 5)
    assert market_.quote("0.1", "b", 90, 5, 111, 5) == ["feed b down live"]
    assert market_.quote("0.2", "b", 90, 5, 110, 5) == ["opened a>b"]
    assert int(edge_ppb(market_.kernel.world, 0)) == 0


def test_a_conversion_needs_a_side() -> None:
    """Neither bid nor ask is refused by name."""
    with pytest.raises(ConfigError, match="convert_side"):
        market(Pair(0, 1, 0, 0, 0, 0, convert=2, convert_side="mid"))


def test_a_plain_pair_needs_no_conversion() -> None:
    """Without a conversion the edge is the one of the prices as they are, across scales."""
    market_ = market(pair(0, 1), (1, 0, 0))
    market_.quote("0.0", "a", 1105, 5, 1106, 5)
    market_.quote("0.1", "b", 90, 5, 100, 5)
    assert int(edge_ppb(market_.kernel.world, 0)) == floor(Fraction(105, 1000) * PPB)
