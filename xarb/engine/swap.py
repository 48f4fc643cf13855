"""A swap on a chain as the bundle sees it that an order at an exchange hedges.

Its tokens count as the coins of the exchange that a person said they are. Quantity and price are money at 18 decimals, whatever the scales of
the instrument that hedges, so that they never change with those.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Final, NamedTuple

import msgspec

from xarb.engine.bundle import Bundle, Leg
from xarb.engine.captured import SwapCopy
from xarb.engine.carried import PlannedSwap
from xarb.engine.desk import Desk
from xarb.engine.side import Side, turned_over
from xarb.model.units import MONEY_ONE, MONEY_SCALE, ceil_div

DEX_FIRST: Final = "dex_first"
SIMULTANEOUS: Final = "simultaneous"
SEQUENCES: Final = (DEX_FIRST, SIMULTANEOUS)
SENT: Final = "sent"  # it may be included
REORGED: Final = "reorged"  # it was, and may be again: nobody knows
DONE: Final = "done"  # a block holds it, or it is over


class Changed(NamedTuple):
    """What a receipt changed: `swapped` of the hedge's base and quote, None where nothing was swapped, and `gas` by asset."""

    swapped: tuple[int, int] | None
    gas: Mapping[str, int]


NOTHING: Final = Changed(None, {})


class Swap:
    """`planned` says where and under which number, `leg` what it buys or sells of the hedge's base at most, `state` is one of the three above.

    `gas` is what its transactions changed beside that, by asset.
    """

    __slots__ = ("gas", "leg", "planned", "state")

    def __init__(self, planned: PlannedSwap, leg: Leg) -> None:
        self.planned, self.leg = planned, leg
        self.state = SENT
        self.gas: dict[str, int] = {}

    @property
    def is_open(self) -> bool:
        """Whether a block may hold it yet."""
        return self.state != DONE

    def capture(self) -> SwapCopy:
        """It as plain values."""
        return SwapCopy(self.planned, self.state, *self.leg.side.key, self.leg.price, self.leg.qty, {**self.gas})


def swap_leg(desk: Desk, place: tuple[str, int, int], base: int, quote: int) -> Leg:
    """A swap as a leg: it trades what an instrument trades, on a chain.

    Args:
        desk: whose.
        place: the chain, the number of the instrument that hedges, and whether base comes (+1) or goes (-1).
        base: how much of it, at 18 decimals.
        quote: what goes or comes for it.
    """
    return Leg(_side(desk, *place), ceil_div(quote * MONEY_ONE, base), base)


def restored_swap(copy: SwapCopy, desk: Desk) -> Swap:
    """The swap of a copy."""
    swap = Swap(copy.planned, Leg(_side(desk, copy.planned.venue, copy.instrument, copy.sign), copy.price, copy.qty))
    swap.state, swap.gas = copy.state, {**copy.gas}
    return swap


def book(bundle: Bundle, change: Changed) -> None:
    """What a receipt says, or what is taken back of one, changes what a bundle has of both coins; base and quote differ in sign."""
    assert bundle.swap is not None, "only a bundle with a swap is told of one"
    gas = bundle.swap.gas
    for asset, amount in change.gas.items():
        gas[asset] = gas.get(asset, 0) + amount
    if change.swapped is None:
        return
    base, quote = change.swapped
    hedge, flows = bundle.legs[0].side, bundle.flows
    residual = bundle.residual
    flows[hedge.base] = flows.get(hedge.base, 0) + base
    flows[hedge.quote] = flows.get(hedge.quote, 0) + quote
    bundle.compare(residual)
    sign = bundle.swap.leg.sign
    size, value = bundle.traded.get((hedge.number, sign), (0, 0))
    size, value = size + sign * base, value - sign * quote
    bundle.traded[hedge.number, sign] = (size, value)
    if not size:
        del bundle.traded[hedge.number, sign]
    bundle.filled = bool(bundle.traded)


def to_hedge(bundle: Bundle) -> int:
    """How much the hedge may trade of what was swapped: no more than was planned, in whole lots, and nothing a second time.

    Nothing where the instrument is not traded any more: what was swapped is a residual then.
    """
    leg = bundle.legs[0]
    got = bundle.flows.get(leg.side.base, 0)
    if leg.released or got * leg.sign >= 0 or leg.side.untradable is not None:
        return 0
    price = leg.side.no_worse(leg.price)
    qty = min(leg.qty, turned_over(leg.side, price, (leg.side.base, abs(got))))
    return qty if leg.side.check_steps(price, qty) is None else 0


def _side(desk: Desk, venue: str, number: int, sign: int) -> Side:
    instrument = msgspec.structs.replace(
        desk.side(number, sign).instrument,
        venue=venue,
        px_scale=MONEY_SCALE,
        qty_scale=MONEY_SCALE,
        tick_int=None,
        lot_int=None,
        min_qty=None,
        min_notional=None,
    )
    return Side(number, sign, instrument, None, till=partial(desk.till, venue))
