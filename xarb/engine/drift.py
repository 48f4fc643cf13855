"""Whether what a chain says of a pool is what its maths gives, and if not, what kind of thing is wrong.

A swap of v3 is exact input, exact output, or one that its limit stopped: one of the three must give the very amounts and state that the
log states. A swap of v2 may take any output up to the quote, so that a fee above ours shows only in what nobody ever gets.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from xarb.pools.concentrated import Concentrated
from xarb.pools.constant_product import ConstantProduct
from xarb.pools.ticks import MAX_SQRT_PRICE, MIN_SQRT_PRICE

PPM: Final = 1_000_000
WRONG_FEE: Final = "pool_wrong_fee"
MISSED: Final = "pool_missed_event"
TAXED: Final = "pool_fee_on_transfer"
UNKNOWN: Final = "pool_unknown_drift"
FEE_STEP: Final = 50  # ppm; fees of forks lie further apart, and who leaves a unit or two shows less
SHORT_SWAPS: Final = 16  # v2 swaps in a row, none at the quote, all as if of a higher fee
_ROUNDING: Final = 8  # units by which roundings of a few steps may differ
_ALL: Final = 1 << 255
_Q96: Final = 1 << 96
_NEAR: Final = 1000  # one part in so many


class Drift(NamedTuple):
    """What is wrong: a flag's rule, the fee that the chain shows and ours, in ppm, where that is it."""

    rule: str
    value: int | None = None
    bound: int | None = None


class CrossedTo(NamedTuple):
    """A swap of v3 as its log states it."""

    delta0: int
    delta1: int
    sqrt_price: int
    liquidity: int
    tick: int


class Paid(NamedTuple):
    """A swap of v2 as its log states it: what came in, and what came in less what went out."""

    in0: int
    in1: int
    delta0: int
    delta1: int


def judge_crossing(pool: Concentrated, said: CrossedTo) -> Drift | None:
    """Look at a swap of v3, with the pool as it was before it."""
    down = said.delta0 > 0 or (said.delta0 == 0 == said.delta1 and said.sqrt_price < pool.sqrt_price)
    into, out = (said.delta0, -said.delta1) if down else (said.delta1, -said.delta0)
    if into < 0 or out < 0:
        return Drift(UNKNOWN)
    wanted = (into, out, said.sqrt_price, said.tick, said.liquidity)
    if into and pool.cross(into, zero_for_one=down) == wanted:
        return None
    if out and pool.cross(out, zero_for_one=down, exact_out=True) == wanted:
        return None
    ahead = MIN_SQRT_PRICE < said.sqrt_price < pool.sqrt_price if down else pool.sqrt_price < said.sqrt_price < MAX_SQRT_PRICE
    if not ahead:
        return Drift(MISSED if _continues(pool.fee_pips, said, down=down) else UNKNOWN)
    if pool.cross(_ALL, zero_for_one=down, limit=said.sqrt_price) == wanted:
        return None
    free = pool.copy()
    free.fee_pips = 0
    net, given, _, _, liquidity = free.cross(_ALL, zero_for_one=down, limit=said.sqrt_price)
    if liquidity == said.liquidity and abs(given - out) <= _ROUNDING and 0 < net <= into:
        fee = (into - net) * PPM // into
        if abs(into - net - -(-into * pool.fee_pips // PPM)) > _ROUNDING:
            return Drift(WRONG_FEE, fee, pool.fee_pips)
    if liquidity != said.liquidity or _continues(pool.fee_pips, said, down=down):
        return Drift(MISSED)
    return Drift(UNKNOWN)


def _continues(fee_pips: int, said: CrossedTo, *, down: bool) -> bool:
    """Whether a swap within one range ends where the log says, from whatever price it began at: something before it was missed."""
    price, liquidity = said.sqrt_price, said.liquidity
    if not liquidity:
        return False
    if down:
        before = price - said.delta1 * _Q96 // liquidity
        net, stated = liquidity * _Q96 * (before - price) // (before * price), said.delta0 * (PPM - fee_pips) // PPM
    else:
        before = price - said.delta1 * (PPM - fee_pips) * _Q96 // (PPM * liquidity)
        if before <= 0:
            return False
        net, stated = liquidity * _Q96 * (price - before) // (before * price), -said.delta0
    return abs(net - stated) <= max(stated // _NEAR, _ROUNDING)


def judge_reserves(before: ConstantProduct, after: ConstantProduct, paid: Paid) -> Drift | None:
    """Look at the reserves of v2 after a swap; whether its fee is right is another question (`judge_paid`)."""
    lost0 = before.reserve0 + paid.delta0 - after.reserve0
    lost1 = before.reserve1 + paid.delta1 - after.reserve1
    if lost0 == 0 == lost1:
        return None
    if (lost1 == 0 < lost0 and paid.in0 == 0) or (lost0 == 0 < lost1 and paid.in1 == 0):
        return Drift(TAXED)  # more left the pool than it sent
    return Drift(MISSED)


def judge_paid(before: ConstantProduct, after: ConstantProduct, paid: Paid) -> tuple[bool, Drift | None]:
    """Whether a swap of v2 gave what it may at our fee, and what is wrong where it gave more.

    A swap that gave less shows the fee at which it would have been exact, as a drift that is none by itself. One with both tokens on
    a side tells nothing: neither.
    """
    part, whole = before.fee_numerator, before.fee_denominator
    left0, left1 = after.reserve0 * whole - paid.in0 * part, after.reserve1 * whole - paid.in1 * part
    ours = part * PPM // whole
    if left0 * left1 < before.reserve0 * before.reserve1 * whole * whole:
        return False, Drift(WRONG_FEE, _shown_fee(before, paid), ours)
    shown = _shown_fee(before, paid)
    if shown is None:
        return False, None
    if shown < ours + FEE_STEP:
        return True, None
    down = paid.in1 == 0
    into, out = (paid.in0, -paid.delta1) if down else (paid.in1, -paid.delta0)
    if before.quote_in(into, zero_for_one=down).amount_out == out or before.quote_out(out, zero_for_one=down).amount_in == into:
        return True, None
    return False, Drift(WRONG_FEE, shown, ours)


def _shown_fee(before: ConstantProduct, paid: Paid) -> int | None:
    """The fee in ppm at which a swap from one token to the other is exact, rounded down; None of another kind of swap."""
    if paid.in0 and not paid.in1 and paid.delta1 < 0:
        into, out, mine, theirs = paid.in0, -paid.delta1, before.reserve0, before.reserve1
        plain = paid.delta0 == paid.in0
    elif paid.in1 and not paid.in0 and paid.delta0 < 0:
        into, out, mine, theirs = paid.in1, -paid.delta0, before.reserve1, before.reserve0
        plain = paid.delta1 == paid.in1
    else:
        return None
    if not plain or out >= theirs:
        return None
    return PPM - -(-out * mine * PPM // ((theirs - out) * into))
