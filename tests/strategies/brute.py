"""The sizing rule written a second time, as plainly as possible: exact fractions, every size of the grid is tried."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from fractions import Fraction
from itertools import accumulate
from math import ceil, floor, lcm

from xarb.strategies.ladder import Leg

PPB = 10**9
ONE = 10**18


def real_levels(leg: Leg) -> list[tuple[Fraction, Fraction]]:
    """Prices and quantities as fractions."""
    return [(Fraction(price, 10**leg.px_scale), Fraction(qty, 10**leg.qty_scale)) for price, qty in leg.levels]


def walk(levels: list[tuple[Fraction, Fraction]], qty: Fraction) -> tuple[Fraction, Fraction] | None:
    """Notional of the best levels and the limit price; None where the depth does not suffice."""
    total, price = Fraction(0), Fraction(0)
    for price, size in levels:
        part = min(size, qty)
        total += price * part
        qty -= part
        if qty == 0:
            return total, price
    return None


def fits(leg: Leg, qty: Fraction, limit: Fraction) -> bool:
    """Whether a leg's minima and bounds allow a quantity at a limit price."""
    if leg.max_qty is not None and qty > Fraction(leg.max_qty, 10**leg.qty_scale):
        return False
    if leg.max_spend is not None and qty * limit > Fraction(leg.max_spend, ONE):
        return False
    return qty >= Fraction(leg.min_qty, ONE) and qty * limit >= Fraction(leg.min_notional, ONE)


def lot_of(leg: Leg) -> Fraction:
    """The lot as a fraction."""
    return Fraction(leg.lot, 10**leg.qty_scale)


def first_price(leg: Leg, *, sells: bool) -> Fraction:
    """What a unit of proceeds is worth at the best price of a conversion."""
    price = real_levels(leg)[0][0]
    return price if sells else 1 / price


def conversions(leg: Leg, proceeds: Fraction, *, sells: bool) -> Fraction | None:
    """The worth of what is converted: as many lots as the proceeds and the leg allow; None when that is too little.

    A fee in a third coin takes none of the proceeds: its cost is deducted from the worth.
    """
    lot, levels = lot_of(leg), real_levels(leg)
    base, quote, coin = (Fraction(fee, PPB) for fee in (leg.base_fee_ppb, leg.quote_fee_ppb, leg.coin_fee_ppb))
    best = None
    steps = 1
    while True:
        qty = lot * steps
        walked = walk(levels, qty)
        if walked is None:
            break
        notional, limit = walked
        spent = qty * (1 + base) if sells else notional * (1 + quote)
        over = leg.max_qty is not None and qty > Fraction(leg.max_qty, 10**leg.qty_scale)
        over = over or (leg.max_spend is not None and qty * limit > Fraction(leg.max_spend, ONE))
        if spent > proceeds or over:
            break
        worth = notional * (1 - quote) if sells else qty * (1 - base)
        cost = notional * coin if sells else notional * coin * first_price(leg, sells=False)
        best = worth - cost if fits(leg, qty, limit) else None
        steps += 1
    return best


def moving(buy: Leg, bought: Fraction) -> Fraction:
    """What moving inventory costs: of each step its ppb of the notional beyond its quantity."""
    levels, cost = real_levels(buy), Fraction(0)
    for from_qty, ppb in buy.moving:
        free = min(Fraction(from_qty, 10**buy.qty_scale), bought)
        whole, part = walk(levels, bought), walk(levels, free)
        assert whole is not None
        assert part is not None
        cost += (whole[0] - part[0]) * Fraction(ppb, PPB)
    return cost


def outcomes(sell: Leg, buy: Leg, convert: Leg | None, *, sells: bool) -> Iterator[tuple[Fraction, Fraction, Fraction]]:
    """(sold, bought, profit) of every allowed size."""
    in_base = bool(sell.base_fee_ppb or buy.base_fee_ppb)
    step, buy_lot = lot_of(sell), lot_of(buy)
    if not in_base:
        scale = 10 ** max(sell.qty_scale, buy.qty_scale)
        step = Fraction(lcm(int(step * scale), int(buy_lot * scale)), scale)
    bids, asks = real_levels(sell), real_levels(buy)
    sold = step
    while (sale := walk(bids, sold)) is not None:
        needed = sold * Fraction(PPB + sell.base_fee_ppb, PPB - buy.base_fee_ppb)
        bought = ceil(needed / buy_lot) * buy_lot
        purchase = walk(asks, bought)
        if purchase is None:
            return
        if fits(sell, sold, sale[1]) and fits(buy, bought, purchase[1]):
            income: Fraction | None = sale[0] * (1 - Fraction(sell.quote_fee_ppb, PPB))
            coins = sale[0] * Fraction(sell.coin_fee_ppb, PPB)
            if convert is not None and income is not None:
                income = conversions(convert, income, sells=sells)
                coins *= first_price(convert, sells=sells)
            if income is not None:
                spent = purchase[0] * (1 + Fraction(buy.quote_fee_ppb + buy.coin_fee_ppb, PPB))
                yield sold, bought, income - coins - spent - moving(buy, bought)
        sold += step


def best_profit(sell: Leg, buy: Leg, convert: Leg | None = None, *, sells: bool = True) -> int | None:
    """The best profit as money, rounded down; None where no size is allowed."""
    profits = [profit for _, _, profit in outcomes(sell, buy, convert, sells=sells)]
    return floor(max(profits) * ONE) if profits else None


def best_of_units(sell: Leg, buy: Leg, convert: Leg | None = None, *, sells: bool = True) -> int | None:
    """`best_profit` for lots of one unit, no decimals (three in a conversion's price) and no bounds, fast enough for thousands of lots.

    Every unit of a book is written out with its price; sums over the first n units are looked up.
    """
    bids, asks = units_of(sell), units_of(buy)
    proceeds, costs = sums_of(bids), sums_of(asks)
    ways = units_of(convert) if convert is not None else []
    turned = sums_of(ways)
    best: Fraction | None = None
    for sold in range(1, len(bids) + 1):
        bought = ceil(Fraction(sold * (PPB + sell.base_fee_ppb), PPB - buy.base_fee_ppb))
        if bought > len(asks):
            break
        if not takes(sell, sold, bids) or not takes(buy, bought, asks):
            continue
        income = proceeds[sold] * (PPB - sell.quote_fee_ppb)
        coins = proceeds[sold] * sell.coin_fee_ppb
        if convert is not None:
            first = convert.levels[0][0]
            if sells:
                lots = min(income // (PPB + convert.base_fee_ppb), len(ways))
                worth = Fraction(turned[lots] * (PPB - convert.quote_fee_ppb - convert.coin_fee_ppb) - coins * first)
            else:
                lots = bisect_right(turned, income * 1000 // (PPB + convert.quote_fee_ppb)) - 1
                spent = turned[lots] * convert.coin_fee_ppb + coins * 1000
                worth = lots * (PPB - convert.base_fee_ppb) * 1000 - Fraction(spent * 1000, first)
            if not takes(convert, lots, ways):
                continue
        else:
            worth = Fraction((income - coins) * 1000)
        profit = worth - costs[bought] * (PPB + buy.quote_fee_ppb + buy.coin_fee_ppb) * 1000
        profit -= sum((costs[bought] - costs[min(qty, bought)]) * ppb for qty, ppb in buy.moving) * 1000
        best = profit if best is None else max(best, profit)
    return None if best is None else floor(best * (ONE // (PPB * 1000)))


def units_of(leg: Leg) -> list[int]:
    """The price of each unit of a book, best first."""
    return [price for price, qty in leg.levels for _ in range(qty)]


def sums_of(units: list[int]) -> list[int]:
    """What the first n units cost, for n from 0 on."""
    return [0, *accumulate(units)]


def takes(leg: Leg, qty: int, units: list[int]) -> bool:
    """Whether a leg's minima allow a quantity at the price of its last unit."""
    return qty > 0 and qty * ONE >= leg.min_qty and qty * units[qty - 1] * ONE >= leg.min_notional * 10**leg.px_scale
