"""One leg of a bundle as the size search sees it: price levels from the best, lots, fees, minima and bounds."""

from __future__ import annotations

from typing import Final

import msgspec

from xarb.model.units import MONEY_ONE, MONEY_SCALE, ceil_div

Level = tuple[int, int]
Steps = tuple[tuple[int, int], ...]  # (quantity, ppb): beyond it each unit costs so much more of its notional
TEN: Final[tuple[int, ...]] = tuple(10**power for power in range(128))


class Leg(msgspec.Struct, frozen=True):
    """One leg's book and terms.

    `levels` are (price, quantity) from the best, at `px_scale` and `qty_scale`; prices are above zero. `quote_fee_ppb` is the fee that is
    taken in quote, `base_fee_ppb` the one in base, `coin_fee_ppb` what one in a third coin costs, in quote, without taking any of it; that
    one is not negative. `min_qty` and `min_notional` are at 18 decimals. `max_qty` is the most that balances and limits allow, at
    `qty_scale`; it does not know the price of a later level, `max_spend` does: limit price times quantity stays within it (18 decimals,
    None: no bound). `bound` names what set them. `moving`, of a buy leg, is what moving inventory costs, from quantities at `qty_scale` on.
    """

    levels: list[Level]
    px_scale: int
    qty_scale: int
    lot: int
    quote_fee_ppb: int = 0
    base_fee_ppb: int = 0
    coin_fee_ppb: int = 0
    min_qty: int = 0
    min_notional: int = 0
    max_qty: int | None = None
    max_spend: int | None = None
    bound: str = "limit"
    moving: Steps = ()


def walk(levels: list[Level], qty: int) -> tuple[int, int]:
    """Sum of price times quantity over the best levels, and the worst price; what exceeds the depth is not walked."""
    total = price = 0
    for price, size in levels:
        if size >= qty:
            return total + price * qty, price
        total += price * size
        qty -= size
    return total, price


def stepped(levels: list[Level], steps: Steps) -> tuple[list[Level], list[int]]:
    """The levels, split where a step begins, and of each the ppb that are reached there; steps are in order of their quantity."""
    split, reached = [], []
    before = at = ppb = 0
    for price, qty in levels:
        end = before + qty
        while at < len(steps) and steps[at][0] < end:
            if steps[at][0] > before:
                split.append((price, steps[at][0] - before))
                reached.append(ppb)
                before = steps[at][0]
            ppb += steps[at][1]
            at += 1
        split.append((price, end - before))
        reached.append(ppb)
        before = end
    return split, reached


def least_of(leg: Leg, price: int) -> int:
    """The smallest quantity at the leg's scale that its minima allow at a limit price."""
    least = ceil_div(leg.min_qty, TEN[MONEY_SCALE - leg.qty_scale]) if leg.min_qty else 0
    if not leg.min_notional:
        return least
    return max(least, ceil_div(leg.min_notional * TEN[leg.px_scale + leg.qty_scale], price * MONEY_ONE))


def most_of(leg: Leg, levels: list[Level], scale: int) -> int:
    """The largest quantity within depth, `max_qty` and `max_spend` at the limit price, at `scale`."""
    depth = 0
    unit = TEN[scale + leg.px_scale]
    for price, qty in levels:
        reach = depth + qty
        if leg.max_spend is not None:
            afford = leg.max_spend * unit // (price * MONEY_ONE)
            if afford < reach:
                depth = max(depth, afford)
                break
        depth = reach
    return depth if leg.max_qty is None else min(depth, leg.max_qty * TEN[scale - leg.qty_scale])
