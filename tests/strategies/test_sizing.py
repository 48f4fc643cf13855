"""The size search against a second model that tries every size."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import astuple, replace

from tests.strategies.brute import best_of_units, best_profit, outcomes
from tests.strategies.generators import conversions, deep_conversions, deep_legs, legs
from xarb.strategies.ladder import Leg
from xarb.strategies.sizing import Size, Sizing, TooSmall, best_size

ONE = 10**18


@settings(max_examples=200, deadline=None)
@given(legs("bid"), legs("ask"))
def test_no_size_earns_more(sell: Leg, buy: Leg) -> None:
    """On random books, fees, lots, minima and bounds the profit found is that of the best of all sizes."""
    found = Sizing(sell, buy).best()
    assert (found.profit if isinstance(found, Size) else None) == best_profit(sell, buy)


@settings(max_examples=300, deadline=None)
@given(legs("bid"), legs("ask"))
def test_one_price_on_each_side_needs_no_search(sell: Leg, buy: Leg) -> None:
    """The size that is found at once is the one that the search finds, or both say why there is none."""
    bids, asks = (replace(leg, levels=leg.levels[:1], base_fee_ppb=0) for leg in (sell, buy))
    assert best_size(bids, asks) == Sizing(bids, asks).best()


@settings(max_examples=150, deadline=None)
@given(legs("bid"), legs("ask"), conversions())
def test_no_size_earns_more_through_a_conversion(sell: Leg, buy: Leg, way: tuple[Leg, bool]) -> None:
    """With a conversion leg, sold or bought, the profit found is that of the best of all sizes."""
    convert, sells = way
    found = Sizing(sell, buy, convert, convert_sells=sells).best()
    assert (found.profit if isinstance(found, Size) else None) == best_profit(sell, buy, convert, sells=sells)


@settings(max_examples=200, deadline=None)
@given(legs("bid"), legs("ask"), conversions(), st.tuples(*[st.integers(0, 1_100_000_000)] * 3))
def test_no_size_earns_more_whatever_fees_in_a_third_coin(
    sell: Leg, buy: Leg, way: tuple[Leg, bool], fees: tuple[int, int, int]
) -> None:
    """Nor where fees in a third coin, beside others, take more than all that a larger size brings: the bound falls before its depth ends."""
    convert, sells = way
    found = Sizing(
        replace(sell, coin_fee_ppb=fees[0]),
        replace(buy, coin_fee_ppb=fees[1]),
        replace(convert, coin_fee_ppb=fees[2] // 2),
        convert_sells=sells,
    ).best()
    brute = best_profit(
        replace(sell, coin_fee_ppb=fees[0]),
        replace(buy, coin_fee_ppb=fees[1]),
        replace(convert, coin_fee_ppb=fees[2] // 2),
        sells=sells,
    )
    assert (found.profit if isinstance(found, Size) else None) == brute


@settings(max_examples=150, deadline=None)
@given(deep_legs("bid"), deep_legs("ask"))
def test_no_size_of_thousands_of_lots_earns_more(sell: Leg, buy: Leg) -> None:
    """Over thousands of lots with base fees of 5 to 50 bps the best lot is found, however far from the peak it lies."""
    found = Sizing(sell, buy).best()
    assert (found.profit if isinstance(found, Size) else None) == best_of_units(sell, buy)


@settings(max_examples=150, deadline=None)
@given(deep_legs("bid"), deep_legs("ask"), deep_conversions())
def test_no_size_of_thousands_of_lots_earns_more_through_a_conversion(sell: Leg, buy: Leg, way: tuple[Leg, bool]) -> None:
    """Base fees and a conversion both round over thousands of lots, and the best lot is found."""
    small = [replace(leg, levels=[(price // 1_000, qty) for price, qty in leg.levels]) for leg in (sell, buy)]
    for pair in ((sell, buy), (small[0], small[1])):  # proceeds of a lot are thousands or some of the conversion's
        found = Sizing(*pair, way[0], convert_sells=way[1]).best()
        assert (found.profit if isinstance(found, Size) else None) == best_of_units(*pair, way[0], sells=way[1])


@settings(max_examples=60, deadline=None)
@given(legs("bid"), legs("ask"))
def test_two_ways_to_try_every_size_agree(sell: Leg, buy: Leg) -> None:
    """The fast model that writes out every unit gives what the plain one gives."""
    fast = [
        replace(Leg([(price, qty % 30) for price, qty in one.levels], 0, 0, 1, *astuple(one)[4:9]), moving=one.moving)
        for one in (sell, buy)
    ]
    assert best_of_units(*fast) == best_profit(*fast)


def test_the_best_lot_may_lie_far_from_the_peak() -> None:
    """With 10 bps of base fee a bundle of 999 sold and 1,000 bought earns where every size near the smallest one loses."""
    sell, buy = leg((10_015, 5_000)), leg((10_000, 1_600), base_fee_ppb=1_000_000)
    assert Sizing(sell, buy).best() == Size(999, 10_015, 1_000, 10_000, 0, 0, 10_000_000 * ONE, 4_985 * ONE)  # type: ignore[arg-type]  # money
    near = Sizing(replace(sell, max_qty=998), buy).best()
    assert isinstance(near, Size)
    assert near.profit == (998 * 10_015 - 999 * 10_000) * ONE


@settings(max_examples=60, deadline=None)
@given(deep_legs("bid"), deep_legs("ask"), deep_conversions(), st.integers(0, 3))
def test_a_search_that_ends_early_misses_less_than_a_lot(sell: Leg, buy: Leg, way: tuple[Leg, bool], splits: int) -> None:
    """With hardly any splits the profit is that of a size, and less than a lot's worth below the best one."""
    convert, sells = way
    found = Sizing(sell, buy, convert, convert_sells=sells).best(splits=splits)
    best = best_of_units(sell, buy, convert, sells=sells)
    assert isinstance(found, Size) == (best is not None)
    if isinstance(found, Size) and best is not None:
        dearest = max(price for price, _ in convert.levels) * ONE // 1_000 if sells else ONE
        assert best - dearest < found.profit <= best


def test_a_deep_walk_below_the_minimum_gives_way_to_a_shallow_one() -> None:
    """Where a worse limit price takes the whole size below the minimum notional, the last size before that price is taken."""
    sell = leg((1_000, 100), (500, 60), min_notional=90_000 * ONE)
    found = Sizing(sell, leg((400, 1_000))).best()
    assert isinstance(found, Size)
    assert (found.sell_qty, found.sell_price, found.profit) == (100, 1_000, 60_000 * ONE)


def test_a_fee_that_leaves_nothing_is_no_size() -> None:
    """Fees that take all of the base bought, or all of the proceeds before a conversion, are refused, not divided by."""
    bids, asks, way = leg((100, 10)), leg((90, 10)), leg((1, 10_000))
    assert isinstance(Sizing(bids, replace(asks, base_fee_ppb=10**9)).best(), TooSmall)
    assert isinstance(Sizing(replace(bids, quote_fee_ppb=10**9), asks, way).best(), TooSmall)
    assert isinstance(Sizing(replace(bids, quote_fee_ppb=2 * 10**9), asks, way, convert_sells=False).best(), TooSmall)
    for sells in (True, False):
        assert isinstance(Sizing(bids, asks, replace(way, coin_fee_ppb=10**9), convert_sells=sells).best(), TooSmall)


def test_a_fee_in_a_third_coin_leaves_the_proceeds_whole() -> None:
    """The 1,000 of ten sold are all converted; coins for 3 % of them, and for 1 % of the conversion, only lessen the profit."""
    sell, buy = leg((100, 10), coin_fee_ppb=30_000_000), leg((40, 10))
    sold = Sizing(sell, buy, leg((2, 10_000), coin_fee_ppb=10_000_000)).best()
    assert isinstance(sold, Size)
    assert (sold.convert_qty, sold.profit) == (1_000, (2_000 - 400 - 60 - 20) * ONE)
    spent = Sizing(sell, leg((20, 10)), leg((2, 300), (4, 10_000), coin_fee_ppb=10_000_000), convert_sells=False).best()
    assert isinstance(spent, Size)
    assert (spent.convert_qty, spent.profit) == (400, (400 - 200 - 15 - 5) * ONE)


def test_the_size_ends_where_coins_cost_more_than_a_sale_brings() -> None:
    """Beyond the conversion's first level a unit of proceeds is worth 10 and its fee 15: nothing more is sold, however cheap the buying."""
    sell, buy = leg((100, 1_000), coin_fee_ppb=150_000_000), leg((1, 1_000))
    found = Sizing(sell, buy, leg((100, 20_000), (10, 10**6))).best()
    assert isinstance(found, Size)
    assert (found.sell_qty, found.profit) == (200, (20_000 * 100 - 20_000 * 15 - 200) * ONE)


@settings(max_examples=100, deadline=None)
@given(legs("bid"), legs("ask"))
def test_quantities_earn_what_is_said(sell: Leg, buy: Leg) -> None:
    """The quantities found are allowed ones, and their profit and buy notional are those stated."""
    found = Sizing(sell, buy).best()
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
