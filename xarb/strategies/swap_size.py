"""How much of a swap on a chain and of the order that hedges it leaves most, exactly: in lots of the exchange, by the pools' own integers.

What a path costs grows faster than what goes through it, and each further level of a book pays less, so that the profit has one top: the last lot
that still adds to it is found by halving. Roundings of coarse tokens make small steps in that, so that neighbours are compared too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from xarb.model.units import MONEY_ONE, PPB, ceil_div
from xarb.pools.cycle import Hop, amounts_of
from xarb.strategies.ladder import TEN, Leg, least_of, most_of, walk
from xarb.strategies.legs import LegTerms

_NEIGHBOURS: Final = 16


class Tokens(NamedTuple):
    """Smallest units, as money, of the token that goes in and of the one that comes out."""

    unit_in: int
    unit_out: int


class Bounds(NamedTuple):
    """Most of the first token that may go in, at 18 decimals, and the most that the swap may be worth in the hedge's quote."""

    balance: int
    notional: int


class Size(NamedTuple):
    """One size: quantity and limit price of the order at its scales, what goes into the first pool and becomes of it by hop, and money.

    All money is in the order's quote: what it turns over, its fees, what the swap is worth, and what remains of it all.
    """

    qty: int
    price: int
    amounts: tuple[int, ...]
    value: int
    fee: int
    notional: int
    profit: int


def best_size(hops: Sequence[Hop], tokens: Tokens, leg: Leg, terms: LegTerms, bounds: Bounds) -> Size | None:
    """The size that leaves most, before gas; None where none is possible, or the best leaves nothing."""

    def at(lots: int) -> Size | None:
        return size_at(hops, tokens, leg, terms, lots * leg.lot)

    def fits(lots: int) -> bool:
        one = at(lots)
        return one is not None and one.amounts[0] * tokens.unit_in <= bounds.balance and one.notional <= bounds.notional

    most = _last(most_of(leg, leg.levels, leg.qty_scale) // leg.lot, fits)

    def grows(lots: int) -> bool:
        before, after = at(lots - 1), at(lots)
        return after is not None and (before is None or after.profit > before.profit)

    least = max(ceil_div(least_of(leg, leg.levels[0][0]), leg.lot), 1)
    if most < least:
        return None
    top = max(_last(most, grows), least)
    near = [at(lots) for lots in range(max(top - _NEIGHBOURS, least), min(top + _NEIGHBOURS, most) + 1)]
    found = [one for one in near if one is not None and one.qty >= least_of(leg, one.price)]
    best = max(found, key=lambda one: one.profit, default=None)
    return best if best is not None and best.profit > 0 else None


def size_at(hops: Sequence[Hop], tokens: Tokens, leg: Leg, terms: LegTerms, qty: int) -> Size | None:
    """What a quantity comes to; None where the pools cannot give or take it.

    A sale of a coin needs as much of it out of the pools, with a fee that is charged in it; a purchase brings what goes into them.
    """
    if qty <= 0:
        return None
    total, price = walk(leg.levels, qty)
    value = total * MONEY_ONE // TEN[leg.px_scale + leg.qty_scale]
    fee = ceil_div(value * (leg.quote_fee_ppb + leg.coin_fee_ppb), PPB)
    in_base = ceil_div(qty * terms.unit * leg.base_fee_ppb, PPB) if leg.base_fee_ppb else 0
    if terms.side == "bid":
        amounts = _cheapest(hops, ceil_div(qty * terms.unit + in_base, tokens.unit_out))
        if amounts is None:
            return None
        paid = amounts[0] * tokens.unit_in
        return Size(qty, price, amounts, value, fee, paid, value - fee - paid)
    given = (qty * terms.unit - in_base) // tokens.unit_in
    amounts = amounts_of(hops, given)
    if given <= 0 or amounts[-1] <= 0 or len(amounts) <= len(hops):
        return None
    got = amounts[-1] * tokens.unit_out
    return Size(qty, price, amounts, value, fee, got, got - value - fee)


def _cheapest(hops: Sequence[Hop], wanted: int) -> tuple[int, ...] | None:
    """The least input of which at least so much comes out, and what it becomes; None where the pools have not so much."""
    needed = wanted
    for pool, zero_for_one in reversed(hops):
        try:
            cost = pool.quote_out(needed, zero_for_one=zero_for_one)
        except ValueError:
            return None
        if cost.amount_out < needed or cost.amount_in <= 0:
            return None
        needed = cost.amount_in
    amounts = amounts_of(hops, needed)
    return amounts if amounts[-1] >= wanted else None


def _last(most: int, holds: Callable[[int], bool]) -> int:
    """The last of 1 to `most` up to which something holds, 0 where it does not of the first."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        if holds(middle):
            low = middle
        else:
            high = middle - 1
    return low
