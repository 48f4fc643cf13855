"""No leg is priced too far from what all live venues say."""

from __future__ import annotations

from typing import Any

import pytest

from tests.defaults import risk_limits, strategy_terms
from tests.engine.desk import Desk, money
from tests.engine.table import instrument
from xarb.engine.strategy import Pair
from xarb.model.units import Ppb

BPS = 100_000


def banded(bps: int, letters: str = "abc", **setup: Any) -> Desk:
    """A desk whose legs may lie so far from the median; all mids are 100.5."""
    return Desk(letters, terms={"s": strategy_terms(limits=risk_limits(price_band_ppb=Ppb(bps * BPS)))}, **setup)


def last(desk: Desk) -> tuple[str, int, int | None]:
    """Venue, value and bound of the last refusal."""
    row = desk.drained("refusals")[-1]
    return row["venue"], row["value"], row["bound"]


@pytest.mark.parametrize(
    ("legs", "bound"),
    [
        (("buy a 101 5", "sell b 100 5"), None),
        (("buy a 106 5", "sell b 100 5"), ("a", money(106), 100_500_000 * 1_05 * 10**10)),
        (("buy a 101 5", "sell b 95 5"), ("b", money(95), 100_500_000 * 95 * 10**10)),
        (("buy a 95 5", "sell b 95 5"), ("a", money(95), 100_500_000 * 95 * 10**10)),
    ],
)
def test_a_price_beyond_the_band_is_refused(legs: tuple[str, str], bound: tuple[str, int, int] | None) -> None:
    """Above and below, buying and selling, with the last price that would have been allowed."""
    desk = banded(500)
    did = desk.tell(*legs)
    if bound is None:
        assert len(did) == 2
    else:
        assert did == ["refuse price_band"]
        assert last(desk) == bound


def test_the_band_itself_is_allowed() -> None:
    """To the last part per billion: 111 is 21 of 201 halves above 100.5."""
    exact = Desk("ab", terms={"s": strategy_terms(limits=risk_limits(price_band_ppb=Ppb(104_477_612)))})
    assert len(exact.tell("buy a 111 5", "sell b 100 5")) == 2
    less = Desk("ab", terms={"s": strategy_terms(limits=risk_limits(price_band_ppb=Ppb(104_477_611)))})
    assert less.tell("buy a 111 5", "sell b 100 5") == ["refuse price_band"]


def test_one_venue_that_is_off_does_not_move_the_median() -> None:
    """Of three the middle one counts; of two both are off by half their distance; of four the two in the middle count."""
    desk = banded(100)
    desk.quote(2, 200, 201)
    assert len(desk.tell("buy a 101 5", "sell b 100 5")) == 2
    assert desk.tell("buy a 101 5", "sell c 200 5") == ["refuse price_band"]
    assert last(desk)[0] == "c"
    pair = banded(100, "ab")
    pair.quote(1, 104, 105)
    assert pair.tell("buy a 101 5", "sell b 104 5") == ["refuse price_band"]
    assert last(pair) == ("a", money(101), 102_500_000 * 99 * 10**10)
    four = banded(100, "abcd")
    four.quote(2, 200, 201)
    four.quote(3, 102, 103)
    assert len(four.tell("buy a 101 5", "sell b 101 5")) == 2


def test_feeds_that_are_not_tradable_have_no_say() -> None:
    """A crossed venue is left out."""
    desk = banded(100)
    desk.quote(1, 110, 111)
    desk.quote(2, 120, 110)
    assert desk.tell("buy a 101 5", "sell b 110 5") == ["refuse price_band"]
    assert last(desk)[2] == 105_500_000 * 99 * 10**10


def test_what_is_not_traded_has_no_say() -> None:
    """A halted venue goes on quoting and is left out; once it is traded again it counts."""
    desk = banded(100)
    desk.quote(1, 110, 111)
    desk.learn(2, active=False)
    assert desk.tell("buy a 101 5", "sell b 110 5") == ["refuse price_band"]
    assert last(desk)[2] == 105_500_000 * 99 * 10**10
    desk.learn(2, active=True)
    assert desk.tell("buy a 101 5", "sell b 110 5") == ["refuse price_band"]
    assert last(desk)[:2] == ("b", money(110))


def test_scales_are_not_mixed_up() -> None:
    """A venue that quotes with more decimals says the same."""
    desk = banded(100, instruments=[instrument("a"), instrument("b"), instrument("c", px_scale=2)])
    desk.quote(2, 10_000, 10_100)
    assert len(desk.tell("buy a 101 5", "sell b 100 5")) == 2
    assert len(desk.tell("buy c 10100 5", "sell b 100 5")) == 2


def test_what_stands_alone_has_no_band() -> None:
    """Nothing else is proven the same: a pair of its own, such as one that converts, cannot be compared with anything."""
    desk = banded(1, "ab", groups=[[0], [1]], pairs=(Pair(1, 0, 0, 0, 0, 0),))
    assert len(desk.tell("buy a 101 5", "sell b 100 5")) == 2


def test_where_peers_are_silent_nothing_is_sent() -> None:
    """There are others of the same thing, but none of them is tradable: nobody knows where the market is."""
    desk = banded(10_000, groups=[[0, 2], [1]], pairs=(Pair(1, 0, 0, 0, 0, 0),))
    assert len(desk.tell("buy a 101 5", "sell b 100 5")) == 2
    desk.quote(2, 120, 110)
    assert desk.tell("buy a 101 5", "sell b 100 5") == ["refuse price_band_unknown"]
