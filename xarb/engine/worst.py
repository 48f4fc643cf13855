"""What a bundle may lose at worst, by its plan and the caps of its strategy, and what an open one has lost so far.

At worst every leg fills at its limit or, all but one, is completed at the hedge cap; or some of the legs fill alone and each of them is undone at
the unwind cap. Fees are in it, and whatever is left beside the currency of the limit counts at what it is worth now, against us. A strategy
that holds what is left undoes and completes nothing: its naked legs count at what they are worth now. What no order of the plan is bound by
is not in it: a residual that has to be held, or a leg of unknown fate that fills after the others were undone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from xarb.engine.bundle import Bundle, Leg
from xarb.engine.desk import Desk
from xarb.engine.portfolio import Hold
from xarb.engine.results import Pricing
from xarb.engine.rules import Refusal
from xarb.engine.side import SELL, Side, capped_price, turned_over
from xarb.model.units import PPB, Ppb, ceil_div

BUNDLE_LOSS: Final = "bundle_loss"  # a plan may lose more than a bundle may
BUNDLE_LOST: Final = "bundle_lost"  # an open bundle has
UNKNOWN: Final = "bundle_loss_unknown"  # nobody knows what either of them is
Flows = Mapping[str, int]
Holds = Callable[[Side, int, int], Hold | None]  # what an order may take, by side, price and quantity


class Worst:
    """Says what a plan may lose, and what a bundle has lost.

    Args:
        pricing: what assets are worth.
        holds: what orders take, for fees in a third coin.
    """

    def __init__(self, pricing: Pricing, holds: Holds) -> None:
        self._pricing, self._holds = pricing, holds

    def check(self, legs: Sequence[Leg], desk: Desk) -> Refusal | None:
        """Why a bundle of these legs may lose too much; each of them can be sent and paid for."""
        if not desk.limits.max_bundle_loss:
            return None
        policy = desk.policy
        planned = [self._flows(leg.side, leg.price, leg.qty) for leg in legs]
        completed, undone = planned, planned
        if policy.residual != "hold":
            completed = [self._at(leg.side, leg, policy.hedge_cap_ppb) for leg in legs]
            backs = [self._at(desk.side(leg.instrument, -leg.sign), leg, policy.unwind_cap_ppb) for leg in legs]
            undone = [_sum(pair) for pair in zip(planned, backs, strict=True)]
        ends = [_sum([*completed[:at], planned[at], *completed[at + 1 :]]) for at in range(len(legs))]
        return self._judge(desk, ends, undone)

    def check_swap(self, desk: Desk, swap: tuple[Leg, int, int], hedge: Leg, gas: Flows) -> Refusal | None:
        """The same of a swap and its hedge: `swap` is its leg with the least base and quote that it changes, `gas` the most that it burns.

        What it swapped is undone by the hedge alone, at the hedge cap; where it reverts, or a reorganisation takes it back, the hedge is undone.
        """
        if not desk.limits.max_bundle_loss:
            return None
        policy, side = desk.policy, hedge.side
        leg, base, quote = swap
        swapped = {side.base: leg.sign * base, side.quote: -leg.sign * quote}
        back = self._at(desk.side(hedge.instrument, -hedge.sign), hedge, policy.unwind_cap_ppb)
        undone = _sum([self._flows(side, hedge.price, hedge.qty), back, gas])
        price = capped_price(side, hedge.price, policy.hedge_cap_ppb)
        qty = min(hedge.qty, turned_over(side, price, (side.base, base))) if hedge.sign == SELL else hedge.qty
        ends = [gas, _sum([swapped, self._flows(side, price, qty), gas])]
        if policy.residual == "hold":
            ends, undone = [gas, _sum([swapped, gas])], _sum([self._flows(side, hedge.price, hedge.qty), gas])
        return self._judge(desk, [*ends, undone], ())

    def check_gas(self, desk: Desk, gas: Flows) -> Refusal | None:
        """The same of a cycle that one transaction swaps, or nothing of it: what it burns is all that it can lose."""
        return self._judge(desk, [gas], ()) if desk.limits.max_bundle_loss else None

    def lost(self, bundle: Bundle) -> Refusal | None:
        """Why an open bundle has lost too much by now, or nobody knows how much: what its fills changed, as it is worth now."""
        flows = bundle.flows if bundle.swap is None else _sum([bundle.flows, bundle.swap.gas])
        for currency, bound in bundle.desk.limits.max_bundle_loss.items():
            made = self._worth(flows, currency)
            if made is None:
                return Refusal(UNKNOWN)
            if -made > bound:
                return Refusal(BUNDLE_LOST, -1, -made, bound)
        return None

    def _judge(self, desk: Desk, ends: Sequence[Flows], undone: Sequence[Flows]) -> Refusal | None:
        """Whether the worst of some ends, or all but one of what is undone, is too much."""
        for currency, bound in desk.limits.max_bundle_loss.items():
            made = [self._worth(flows, currency) for flows in (*ends, *undone)]
            known = [-one for one in made if one is not None]
            if len(known) < len(made):
                return Refusal(UNKNOWN)
            alone = [max(0, one) for one in known[len(ends) :]]
            worst = max(*known[: len(ends)], sum(alone) - min(alone, default=0))
            if worst > bound:
                return Refusal(BUNDLE_LOSS, -1, worst, bound)
        return None

    def _at(self, side: Side, leg: Leg, cap_ppb: Ppb) -> Flows:
        """What an order of a leg's size changes as far beyond the leg's limit as a cap allows."""
        return self._flows(side, capped_price(side, leg.price, cap_ppb), leg.qty)

    def _flows(self, side: Side, price: int, qty: int) -> Flows:
        """What an order changes that fills wholly at a price, by asset."""
        size, value = qty * side.qty_unit, side.notional(price, qty)
        flows = {side.base: side.sign * size, side.quote: -side.sign * value}
        flows[side.base] -= ceil_div(size * side.base_fee_ppb, PPB)
        flows[side.quote] -= ceil_div(value * side.quote_fee_ppb, PPB)
        if side.coin is not None:
            hold = self._holds(side, price, qty)
            assert hold is not None, "what a leg may take was found before"
            flows[side.coin.asset] = flows.get(side.coin.asset, 0) - hold[1][1]
        return flows

    def _worth(self, flows: Flows, currency: str) -> int | None:
        total = 0
        for asset, amount in flows.items():
            worth = self._pricing.worth(amount, asset, currency)
            if worth is None:
                return None
            total += worth
        return total


def _sum(parts: Iterable[Flows]) -> Flows:
    flows: dict[str, int] = {}
    for part in parts:
        for asset, amount in part.items():
            flows[asset] = flows.get(asset, 0) + amount
    return flows
