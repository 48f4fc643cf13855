"""What a balance says of an order that its exchange does not know, and how look-ups are spaced."""

from __future__ import annotations

import pytest

from xarb.model.units import Money, parse_money
from xarb.venues.absence import JITTER, LOOKS_S, Pauses, doubt
from xarb.venues.liveorders import Expected
from xarb.venues.orderids import OrderName


def order(side: str, symbol: str = "BTC/USDT") -> Expected:
    """An order of one unit."""
    name = OrderName(1, 1)
    return Expected(name=name, account="main", strategy="s", venue="a", symbol=symbol, side=side, qty=Money(10**18))


def more(**differences: str) -> dict[str, int]:
    """What the account has more than the log says."""
    return {asset: parse_money(text) for asset, text in differences.items()}


@pytest.mark.parametrize("side", ["buy", "sell"])
@pytest.mark.parametrize(
    "differences",
    [{}, {"BTC": "0", "USDT": "0"}, {"BTC": "5"}, {"USDT": "-0.01"}, {"GIFT": "7"}, {"BNB": "-1", "USDT": "3"}],
)
def test_a_coin_that_is_exact_shows_that_nothing_was_filled(side: str, differences: dict[str, str]) -> None:
    """A fill moves both coins: money that moves without a word in one of them, or in others, keeps no order alive."""
    assert doubt(order(side), more(**differences), []) is None


@pytest.mark.parametrize("differences", [{"BTC": "1", "USDT": "-90"}, {"BTC": "-0.5", "USDT": "44"}, {"BTC": "1", "USDT": "1"}])
def test_both_coins_off_may_be_a_fill(differences: dict[str, str]) -> None:
    """Whatever the signs: something else may have moved them as well; the figures are told."""
    text = doubt(order("buy"), more(**differences), [])
    assert text == f"the balance differs by {differences['BTC']} BTC, {differences['USDT']} USDT, which may be a fill of it"


def test_orders_that_may_cancel_out_are_judged_together() -> None:
    """A purchase and a sale that both filled leave the base as it was, but not every coin: the fees went somewhere."""
    both = [order("sell")]
    assert doubt(order("buy"), more(USDT="-0.3"), both) is not None
    assert doubt(order("buy"), more(BNB="-0.01"), both) is not None
    assert doubt(order("buy"), more(), both) is None
    assert doubt(order("buy"), more(USDT="-0.3"), [order("buy")]) is None, "two purchases cannot"


def test_a_coin_that_no_other_order_moves_the_other_way_is_enough() -> None:
    """A sale on another symbol hides what a purchase did to the quote, and not what it did to the base."""
    beside = [order("sell", "ETH/USDT")]
    assert doubt(order("buy"), more(ETH="-1", USDT="30"), beside) is None
    assert doubt(order("buy"), more(BTC="1", ETH="-1"), beside) is not None, "what both did to the quote may cancel out"


def test_look_ups_back_off_with_a_bounded_jitter() -> None:
    """Never sooner than the pause, and by the same name the same again; another desk draws others."""
    pauses = [Pauses("a").before(turn) for turn in range(9)]
    for turn, pause in enumerate(pauses):
        least = LOOKS_S[min(turn, len(LOOKS_S) - 1)]
        assert least <= pause <= least * (1 + JITTER)
    assert [Pauses("a").before(turn) for turn in range(9)] == pauses
    assert len({Pauses(name).before(0) for name in "abcdef"}) == 6
