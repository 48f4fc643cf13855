"""What risk asks of a path of pools that one transaction swaps, or nothing of it, and of the order at an exchange that hedges it.

Unlike a cycle it leaves two coins moved until the order has filled, so that everything applies which applies to a leg: exposure, what is open,
bands. The swap counts as a leg on the chain, in the hedge's symbol. What pays is the wallet alone: a loan has to come back in the same transaction.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final, NamedTuple

from xarb.engine.atomic import Known, Ways, come_to
from xarb.engine.bundle import Bundle, Leg
from xarb.engine.carried import PlannedSwap
from xarb.engine.desk import Desk
from xarb.engine.portfolio import Hold, Till
from xarb.engine.risk import Risk, Wanted, Way, Working, check_money
from xarb.engine.rules import Market, Refusal
from xarb.engine.setup import Setup
from xarb.engine.side import BUY, SELL
from xarb.engine.strategy import SwapPlan
from xarb.engine.swap import SEQUENCES, Swap, swap_leg
from xarb.engine.terms import ChainTerms
from xarb.engine.volumes import Planned, where_of
from xarb.model.command import SwapHop
from xarb.model.units import MONEY_SCALE, PPB, ceil_div, format_decimal

LEAST_HOPS: Final = 1


class Hedged(NamedTuple):
    """A swap as it may be sent: its hops, both tokens, what its pools give now, what is reserved for it, what counts towards the day; and the hedge."""

    hops: tuple[SwapHop, ...]
    tokens: tuple[str, str]
    expected_out: int
    hold: Hold
    planned: Planned
    swap: Leg
    hedge: Leg
    instruments: tuple[int, ...]

    def lay(self, bundle: Bundle, order: int) -> None:
        """What a bundle of both is: its base must end at zero, and the swap, of that number, is alive."""
        bundle.flat, bundle.instruments = (self.hedge.side.base,), self.instruments
        hedge, sold = self.hedge.side, self.swap.sign == SELL
        coins = (hedge.base, hedge.quote) if sold else (hedge.quote, hedge.base)
        planned = PlannedSwap(
            venue=self.swap.side.names[2],
            order=order,
            coins=dict(zip(self.tokens, coins, strict=True)),
            base=format_decimal(self.swap.qty, MONEY_SCALE),
            quote=format_decimal(self.planned.value, MONEY_SCALE),
        )
        bundle.swap, bundle.live = Swap(planned, self.swap), 1


class _Sizes(NamedTuple):
    """What goes in, comes out, and comes out at least, at 18 decimals; and what comes out in smallest units."""

    paid: int
    got: int
    least: int
    expected_out: int


class HedgedRules:
    """Approves swaps with a hedge.

    Args:
        market: the time.
        ways: what pools they may go through.
        risk: limits, desks and breakers.
        setup: the terms of chains.
    """

    def __init__(self, market: Market, ways: Ways, risk: Risk, setup: Setup) -> None:
        self._market, self._ways, self._risk = market, ways, risk
        self._terms = setup.chains

    def approve(self, plan: SwapPlan, desk: Desk, working: Working) -> Hedged | Refusal:
        """The swap as it may be sent with its hedge, or the first rule that they break."""
        if not self._risk.armed:
            return self._risk.stands
        if plan.sequence not in SEQUENCES:
            return Refusal("sequence_unknown")
        known = self._ways.hops(plan.venue, plan.hops, desk, least=LEAST_HOPS)
        if isinstance(known, Refusal):
            return known
        leg = self._risk.leg(plan.hedge, desk, self._market.now)
        if isinstance(leg, Refusal):
            return leg
        refusal = _check_path(known) or self._check_terms(plan, known) or self._check_coins(plan, known, leg)
        if refusal is not None:
            return refusal
        sizes = self._sizes(plan, known)
        if isinstance(sizes, Refusal):
            return sizes
        return self._together(plan, desk, known, leg=leg, sizes=sizes, working=working)

    def _check_terms(self, plan: SwapPlan, known: list[Known]) -> Refusal | None:
        """What the plan says of itself; how old a pool may be is its feed's to say, since a gap opens between blocks as well."""
        first = known[0].number
        if plan.amount <= 0 or plan.min_out <= 0 or plan.gas_limit <= 0 or plan.ceiling_wei <= 0:
            return Refusal("plan_incomplete", first)
        return self._ways.check_deadline(plan.deadline_s, first)

    def _check_coins(self, plan: SwapPlan, known: list[Known], leg: Leg) -> Refusal | None:
        """Both tokens count as what the hedge trades, and it trades them the other way round."""
        coins, side = self._terms[plan.venue].coins, leg.side
        paid, got = coins.get(known[0].hop.token_in), coins.get(known[-1].token_out)
        if paid is None or got is None:
            return Refusal("identity_unproven", known[0 if paid is None else -1].number)
        if (paid, got) not in ((side.base, side.quote), (side.quote, side.base)) or plan.profit_asset != side.quote:
            return Refusal("mixed_currency", leg.instrument)
        return Refusal("unbalanced", leg.instrument) if leg.sign != (SELL if got == side.base else BUY) else None

    def _sizes(self, plan: SwapPlan, known: list[Known]) -> _Sizes | Refusal:
        """By the pools as they are; the contract must be able to insist on what it is to."""
        units: list[int] = []
        for token, number in ((known[0].hop.token_in, known[0].number), (known[-1].token_out, known[-1].number)):
            unit = self._ways.unit(plan.venue, token, number)
            if isinstance(unit, Refusal):
                return unit
            units.append(unit)
        expected = come_to(known, plan.amount)
        if expected < plan.min_out:
            return Refusal("unprofitable", known[0].number, expected * units[1], plan.min_out * units[1])
        return _Sizes(plan.amount * units[0], expected * units[1], plan.min_out * units[1], expected)

    def _together(
        self, plan: SwapPlan, desk: Desk, known: list[Known], *, leg: Leg, sizes: _Sizes, working: Working
    ) -> Hedged | Refusal:
        """Whether both balance, keep to limits, and can be paid for."""
        terms, numbers, first = self._terms[plan.venue], [one.number for one in known], known[0].number
        base, quote = (sizes.got, sizes.paid) if leg.sign == SELL else (sizes.paid, sizes.got)
        swap = swap_leg(desk, (plan.venue, leg.instrument, -leg.sign), base, quote)
        planned = Planned((plan.venue, known[0].hop.pool, leg.side.quote), first, quote)
        instruments = tuple(sorted({*numbers, leg.instrument}))
        most = plan.gas_limit * min(plan.ceiling_wei, terms.max_fee_wei)
        refusal = (
            _check_balance(leg, base)
            or self._risk.breakers.check_cycle((desk.account, plan.venue), first, quote)
            or self._risk.breakers.check([leg])
            or self._risk.check_limits(desk, [planned, Planned(where_of(leg.side), leg.instrument, leg.value)], instruments)
            or self._risk.check_open([swap, leg], desk, working)
            or self._check_gas(desk, terms, most, (working(desk), [swap, leg]))
            or self._risk.check_band([leg], desk)
            or self._risk.check_fate([leg], desk)
        )
        if refusal is not None:
            return refusal
        hold = self._risk.hold(leg.side, leg.price, leg.qty)
        if hold is None:
            return Refusal("fee_rate_unknown", leg.instrument)
        leg.hold = hold
        gas, token = desk.till(plan.venue, terms.native), desk.till(plan.venue, known[0].hop.token_in)
        mine: Hold = ((gas, most), (token, sizes.paid))
        wanted: dict[Till, Wanted] = {gas: Wanted(most, first), token: Wanted(sizes.paid, first)}
        wanted |= {till: Wanted(amount, leg.instrument) for till, amount in hold}
        least = (swap, sizes.least, sizes.paid) if leg.sign == SELL else (swap, sizes.paid, sizes.least)
        refusal = check_money(wanted, desk) or self._risk.worst.check_swap(desk, least, leg, {terms.native: -most})
        if refusal is not None:
            return refusal
        tokens = (known[0].hop.token_in, known[-1].token_out)
        hops = tuple(one.hop for one in known)
        return Hedged(hops, tokens, sizes.expected_out, mine, planned, swap, leg, instruments)

    def _check_gas(self, desk: Desk, terms: ChainTerms, most: int, ways: tuple[list[Way], list[Leg]]) -> Refusal | None:
        """A bound on the native asset holds, whatever this swap's gas, it and its hedge, and all that is on its way take of it."""
        bound = desk.limits.max_exposure.get(terms.native)
        if bound is None:
            return None
        working, legs = ways
        low = self._risk.exposure(desk, terms.native, [*working, *((leg.side, (leg.price, leg.qty)) for leg in legs)])[0] - most
        return Refusal("max_exposure", -1, low, -bound) if low < -bound else None


def _check_path(known: list[Known]) -> Refusal | None:
    """Each hop takes what the one before gives, no pool comes twice, and it does not go round."""
    for one, after in pairwise(known):
        if one.token_out != after.hop.token_in:
            return Refusal("no_path", one.number)
    if known[-1].token_out == known[0].hop.token_in:
        return Refusal("no_path", known[-1].number)
    if len({one.number for one in known}) < len(known):
        return Refusal("pool_twice", known[0].number)
    return None


def _check_balance(leg: Leg, base: int) -> Refusal | None:
    """Less than a lot of the base is left over, and nothing is missing: a sale takes no more than comes, a purchase brings no less than goes."""
    fee = ceil_div(leg.qty_money * leg.side.base_fee_ppb, PPB) if leg.side.base_fee_ppb else 0
    left = -leg.sign * base + leg.sign * leg.qty_money - fee
    bound = leg.side.lot_money
    return None if 0 <= left < bound else Refusal("unbalanced", leg.instrument, left, bound if left > 0 else 0)
