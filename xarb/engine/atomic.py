"""What risk asks of a cycle that one transaction swaps, or nothing of it.

Such a cycle leaves nothing unbalanced, so that no residual, no exposure to what it trades and no open notional follow from it. What is at stake is
gas, which is reserved at the most that may be bid for it; and where our own tokens pay, they must be there, though they always come back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from xarb.engine.chains import Chains
from xarb.engine.desk import Desk
from xarb.engine.pool import Maths, fees
from xarb.engine.portfolio import Hold, Till
from xarb.engine.risk import Risk, Wanted, check_money
from xarb.engine.rules import Market, Refusal
from xarb.engine.setup import Setup
from xarb.engine.strategy import AtomicPlan
from xarb.engine.terms import ChainTerms
from xarb.engine.volumes import Planned
from xarb.model.command import SwapHop
from xarb.model.units import MONEY_ONE, MONEY_SCALE, NANOS_PER_S
from xarb.pools.concentrated import Concentrated
from xarb.pools.cycle import Hop, amounts_of
from xarb.pools.financing import lender_of

LEAST_HOPS: Final = 2
MOST_HOPS: Final = 4  # the contract's
_NANO: Final = 10 ** (MONEY_SCALE - 9)  # one ns as money of seconds


class Cycle(NamedTuple):
    """A cycle as it may be sent: its hops, the token that goes round, what is reserved, and what counts towards the day."""

    hops: tuple[SwapHop, ...]
    token: str
    hold: Hold
    planned: Planned
    instruments: tuple[int, ...]


class Known(NamedTuple):
    """A hop with what is known of its pool."""

    number: int
    hop: SwapHop
    token_out: str
    maths: Maths


class Ways:
    """Ways through pools.

    Args:
        market: instruments and the time.
        chains: the pools.
        setup: the terms of chains.
    """

    def __init__(self, market: Market, chains: Chains, setup: Setup) -> None:
        self._market, self._chains = market, chains
        self._terms = setup.chains
        self._count = len(setup.instruments)

    def hops(self, venue: str, hops: Sequence[tuple[int, bool]], desk: Desk, *, least: int) -> list[Known] | Refusal:
        """The hops of a plan as they may be swapped, each through another pool, or the first rule that one breaks."""
        count = len(hops)
        if count < least:
            return Refusal("too_few_legs", -1, count * MONEY_ONE, least * MONEY_ONE)
        if count > MOST_HOPS:
            return Refusal("too_many_legs", -1, count * MONEY_ONE, MOST_HOPS * MONEY_ONE)
        if venue not in self._terms:
            return Refusal("chain_unknown")
        known: list[Known] = []
        for number, zero_for_one in hops:
            hop = self._hop(venue, number, zero_for_one, desk)
            if isinstance(hop, Refusal):
                return hop
            known.append(hop)
        return known

    def unit(self, venue: str, token: str, number: int) -> int | Refusal:
        """A token's smallest unit as money; `number` is of an instrument that trades it."""
        decimals = self._chains.decimals(venue, token)
        if decimals is None or decimals > MONEY_SCALE:
            return Refusal("decimals", number, None if decimals is None else decimals * MONEY_ONE, MONEY_SCALE * MONEY_ONE)
        return int(10 ** (MONEY_SCALE - decimals))

    def check_age(self, venue: str, first: int, limit: int) -> Refusal | None:
        """The newest block is not older than `limit`, ns."""
        age = self._market.now - self._chains.heard(venue)
        return Refusal("stale_quote", first, age * _NANO, limit * _NANO) if age > limit else None

    def check_deadline(self, deadline_s: int, first: int) -> Refusal | None:
        """It lies ahead."""
        now = self._market.now
        if deadline_s * NANOS_PER_S <= now:
            return Refusal("deadline", first, deadline_s * MONEY_ONE, now // NANOS_PER_S * MONEY_ONE)
        return None

    def _hop(self, venue: str, number: int, zero_for_one: bool, desk: Desk) -> Known | Refusal:  # noqa: FBT001  # a way, as hops have it
        if not 0 <= number < self._count:
            return Refusal("instrument_unknown")
        one = self._market.instrument(number)
        if one.kind != "pool" or one.venue != venue:
            return Refusal("not_atomic", number)
        if number not in desk.allowed:
            return Refusal("not_allowed", number)
        maths = self._chains.pool(number)
        if maths is None:
            return Refusal("feed_not_tradable", number)
        token_in, token_out = (one.base, one.quote) if zero_for_one else (one.quote, one.base)
        is_v3 = isinstance(maths, Concentrated)
        hop = SwapHop(
            pool=one.symbol, token_in=token_in, is_v3=is_v3, zero_for_one=zero_for_one, fee_pips=0 if is_v3 else fees(maths)
        )
        return Known(number, hop, token_out, maths)

    def check_loan(self, plan: AtomicPlan, first: Known, unit: int) -> Refusal | None:
        """Whether the lender of a plan lends so much for what the plan reckons with, as of the newest block."""
        one = lender_of(self._chains.loans(plan.venue, first.hop.token_in), plan.funding, plan.lender)
        if one is None:
            return Refusal("no_lender", first.number)
        if one.premium_wad is None:
            return Refusal("premium_unknown", first.number)
        if one.available is None:
            return Refusal("depth_unknown", first.number)
        if one.available < plan.amount:
            return Refusal("lender_depth", first.number, one.available * unit, plan.amount * unit)
        costs = one.premium(plan.amount)
        return Refusal("premium", first.number, plan.premium * unit, costs * unit) if plan.premium < costs else None


def come_to(known: Sequence[Known], amount: int) -> int:
    """What an amount comes to through pools as they are."""
    return amounts_of([Hop(one.maths, one.hop.zero_for_one) for one in known], amount)[-1]


class AtomicRules:
    """Approves cycles on chains.

    Args:
        ways: what pools they may go through.
        risk: limits, desks and breakers.
        setup: the terms of chains.
    """

    def __init__(self, ways: Ways, risk: Risk, setup: Setup) -> None:
        self._ways, self._risk = ways, risk
        self._terms = setup.chains

    def approve(self, plan: AtomicPlan, desk: Desk) -> Cycle | Refusal:
        """The cycle as it may be sent, or the first rule that it breaks."""
        if not self._risk.armed:
            return self._risk.stands
        known = self._ways.hops(plan.venue, plan.hops, desk, least=LEAST_HOPS)
        return known if isinstance(known, Refusal) else self._round(plan, desk, known, self._terms[plan.venue])

    def _round(self, plan: AtomicPlan, desk: Desk, known: list[Known], terms: ChainTerms) -> Cycle | Refusal:
        """Whether it goes round, earns what it says, and can be paid for."""
        numbers = [one.number for one in known]
        token, first = known[0].hop.token_in, numbers[0]
        for one, after in zip(known, [*known[1:], known[0]], strict=True):
            if one.token_out != after.hop.token_in:
                return Refusal("no_cycle", one.number)
        if len(set(numbers)) < len(numbers):
            return Refusal("pool_twice", first)
        unit = self._ways.unit(plan.venue, token, first)
        if isinstance(unit, Refusal):
            return unit
        value, most = plan.amount * unit, plan.gas_limit * min(plan.ceiling_wei, terms.max_fee_wei)
        gas = desk.till(plan.venue, terms.native)
        instruments = tuple(sorted(numbers))
        planned = Planned((plan.venue, known[0].hop.pool, token), first, value)
        refusal = (
            self._check_terms(plan, desk, known, unit)
            or self._risk.breakers.check_cycle((desk.account, plan.venue), first, value)
            or self._risk.check_limits(desk, [planned], instruments)
            or _check_gas(desk, gas, most)
        )
        if refusal is not None:
            return refusal
        wanted: dict[Till, Wanted] = {gas: Wanted(most, first)}
        if plan.funding == "wallet":
            wanted[desk.till(plan.venue, token)] = Wanted(value, first)
        refusal = check_money(wanted, desk) or self._risk.worst.check_gas(desk, {terms.native: -most})
        if refusal is not None:
            return refusal
        return Cycle(tuple(one.hop for one in known), token, ((gas, most),), planned, instruments)

    def _check_terms(self, plan: AtomicPlan, desk: Desk, known: list[Known], unit: int) -> Refusal | None:
        """What the plan says of itself, against the pools as they are now; amounts as money of the token."""
        first = known[0].number
        refusal = self._ways.check_age(plan.venue, first, desk.limits.latency_threshold_ns) or self._ways.check_deadline(
            plan.deadline_s, first
        )
        if refusal is not None:
            return refusal
        if plan.amount <= 0 or plan.gas_limit <= 0 or plan.ceiling_wei <= 0 or plan.premium < 0 or plan.min_profit < 0:
            return Refusal("plan_incomplete", first)
        if (plan.funding in ("callback", "wallet")) is not (plan.lender == ""):
            return Refusal("no_lender", first)
        if plan.lender and plan.lender in [one.hop.pool for one in known]:  # its lock is taken while it lends
            return Refusal("lender_in_cycle", first)
        refusal = self._ways.check_loan(plan, known[0], unit) if plan.lender else None
        if refusal is not None:
            return refusal
        kept = come_to(known, plan.amount) - plan.amount - plan.premium
        if kept < plan.min_profit or kept <= 0:
            return Refusal("unprofitable", first, kept * unit, plan.min_profit * unit)
        return None


def _check_gas(desk: Desk, gas: Till, most: int) -> Refusal | None:
    """A bound on the native asset holds, whatever this cycle and all orders on their way take of it at most."""
    bound = desk.limits.max_exposure.get(gas.asset)
    if bound is None:
        return None
    low = gas.share.flow - gas.share.reserved - most
    return Refusal("max_exposure", -1, low, -bound) if low < -bound else None
