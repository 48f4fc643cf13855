"""The size search against a second model that tries every size."""

from __future__ import annotations

from hypothesis import given, settings

from tests.strategies.brute import best_profit, outcomes
from tests.strategies.generators import conversions, legs
from xarb.strategies.sizing import Leg, Size, Sizing

ONE = 10**18
ALL = 100_000


@settings(max_examples=200, deadline=None)
@given(legs("bid"), legs("ask"))
def test_no_size_earns_more(sell: Leg, buy: Leg) -> None:
    """On random books, fees, lots, minima and bounds the profit found is that of the best of all sizes."""
    found = Sizing(sell, buy).best(ALL)
    assert (found.profit if isinstance(found, Size) else None) == best_profit(sell, buy)


@settings(max_examples=150, deadline=None)
@given(legs("bid"), legs("ask"), conversions())
def test_no_size_earns_more_through_a_conversion(sell: Leg, buy: Leg, way: tuple[Leg, bool]) -> None:
    """With a conversion leg, sold or bought, the profit found is that of the best of all sizes."""
    convert, sells = way
    found = Sizing(sell, buy, convert, convert_sells=sells).best(ALL)
    assert (found.profit if isinstance(found, Size) else None) == best_profit(sell, buy, convert, sells=sells)


@settings(max_examples=100, deadline=None)
@given(legs("bid"), legs("ask"))
def test_quantities_earn_what_is_said(sell: Leg, buy: Leg) -> None:
    """The quantities found are allowed ones, and their profit and buy notional are those stated."""
    found = Sizing(sell, buy).best(ALL)
    if isinstance(found, Size):
        rows = {
            (sold * 10**sell.qty_scale, bought * 10**buy.qty_scale): p for sold, bought, p in outcomes(sell, buy, None, sells=True)
        }
        profit = rows[found.sell_qty, found.buy_qty]
        assert found.profit == profit * ONE // 1
        assert found.buy_qty * found.buy_price >= found.buy_notional * 10 ** (buy.qty_scale + buy.px_scale) // ONE


def leg(*levels: tuple[int, int], **terms: int | str) -> Leg:
    """A leg without decimals and with lot 1."""
    return Leg(list(levels), 0, 0, **{"lot": 1, **terms})  # type: ignore[arg-type]  # terms by name
