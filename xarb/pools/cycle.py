"""The input of a cycle of pools that earns most.

Within one range of each pool, a swap is a Moebius map u -> (p u + q) / (r u + s) of its input, and so is a chain of them: the input at
which its slope is 1 has a closed form, sqrt(determinant) less s over r. Ranges are walked until that input lies inside of those it was
computed for. What comes out is confirmed by the pools' own integers, and so are its neighbours, counted in the coarsest token of the
way, because roundings decide there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from math import isqrt
from typing import Final, NamedTuple

from xarb.pools.concentrated import Concentrated
from xarb.pools.constant_product import ConstantProduct
from xarb.pools.steps import PIPS, amount0_between, amount1_between
from xarb.pools.ticks import Q96

_NEIGHBOURS: Final = 64  # moves to a better neighbour; beyond them the closed form would have been wrong
_Matrix = tuple[int, int, int, int]
_UNMOVED: Final[_Matrix] = (1, 0, 0, 1)


class Hop(NamedTuple):
    """A pool of a cycle and the way through it."""

    pool: ConstantProduct | Concentrated
    zero_for_one: bool


class Best(NamedTuple):
    """What a cycle earns at most: the amounts from the input to the output of the last hop, in smallest units, and what remains."""

    amounts: tuple[int, ...]
    profit: int


class _Piece(NamedTuple):
    """A range as a map of the whole input of its pool, and the input at which it ends (None: never)."""

    map: _Matrix
    end: int | None


def best_input(hops: Sequence[Hop], most: int | None = None) -> Best | None:
    """The input that earns most, and what it earns; None where nothing does.

    Args:
        hops: pools in order; the last gives the token that the first takes.
        most: the largest input there may be.

    Raises:
        ValueError: fewer than two hops, or a pool twice, whose second swap would find another state than is known.
    """
    if len(hops) < 2 or any(one.pool is other.pool for one, other in combinations(hops, 2)):
        raise ValueError("a cycle has at least two hops, each through another pool")
    guess = _guess(hops, most)
    if guess <= 0:
        return None
    best = _confirmed(hops, guess, most)
    return best if best.profit > 0 else None


def amounts_of(hops: Sequence[Hop], amount_in: int) -> tuple[int, ...]:
    """What an input becomes from hop to hop, by the pools' own integers; (input, 0) where it is lost on the way.

    A pool that takes less than it is offered gives what it gives: the rest is lost, as it is on chain.
    """
    amounts = [amount_in]
    for pool, zero_for_one in hops:
        if amounts[-1] <= 0:
            return (amount_in, 0)
        amounts.append(pool.quote_in(amounts[-1], zero_for_one=zero_for_one).amount_out)
    return tuple(amounts)


def _guess(hops: Sequence[Hop], most: int | None) -> int:
    """The best input of the maps; 0 where the first unit does not earn."""
    pieces = [_pieces(hop) for hop in hops]
    now: list[_Piece] = []
    for one in pieces:
        piece = next(one, None)
        if piece is None:
            return 0
        now.append(piece)
    reached = 0
    while True:
        whole, end, ends = _joined(now)
        p, q, r, s = whole
        root = isqrt(p * s - q * r)
        best = (root - s) // r if r > 0 else 0
        if best <= reached or end is None or best <= end:
            return _capped(max(best, reached), most)
        reached = end
        if most is not None and reached >= most:
            return most
        following = next(pieces[ends], None)
        if following is None:  # the pool's liquidity ends here
            return _capped(reached, most)
        now[ends] = following


def _capped(amount: int, most: int | None) -> int:
    return amount if most is None else min(amount, most)


def _joined(pieces: Sequence[_Piece]) -> tuple[_Matrix, int | None, int]:
    """The map of the whole chain; the first input at which a piece of it ends, and whose it is."""
    whole, first, whose = _UNMOVED, None, -1
    for number, (here, end) in enumerate(pieces):
        p, q, r, s = whole
        if end is not None and p > r * end:  # else the hops before it never come to so much
            at = max((s * end - q) // (p - r * end), 0)
            if first is None or at < first:
                first, whose = at, number
        whole = _after(here, whole)
    return whole, first, whose


def _after(second: _Matrix, first: _Matrix) -> _Matrix:
    a, b, c, d = second
    p, q, r, s = first
    return (a * p + b * r, a * q + b * s, c * p + d * r, c * q + d * s)


def _pieces(hop: Hop) -> Iterator[_Piece]:
    """The ranges of a pool in the order in which a swap goes through them."""
    pool, zero_for_one = hop
    if isinstance(pool, ConstantProduct):
        mine, theirs = pool.reserves(zero_for_one=zero_for_one)
        kept = pool.fee_denominator - pool.fee_numerator
        if mine and theirs:
            yield _Piece((kept * theirs, 0, kept, mine * pool.fee_denominator), None)
        return
    kept, taken, given = PIPS - pool.fee_pips, 0, 0
    for start, end, liquidity in pool.ranges(zero_for_one=zero_for_one):
        slope = kept * start * Q96
        if zero_for_one:
            top, bottom = kept * liquidity * start * start, PIPS * liquidity * Q96 * Q96
            whole, out = amount0_between(end, start, liquidity, up=True), amount1_between(end, start, liquidity, up=False)
        else:
            top, bottom = kept * liquidity * Q96 * Q96, PIPS * liquidity * start * start
            whole, out = amount1_between(start, end, liquidity, up=True), amount0_between(start, end, liquidity, up=False)
        upper = given * slope + top
        until = taken - (-whole * PIPS // kept)
        yield _Piece((upper, given * bottom - upper * taken, slope, bottom - slope * taken), until)
        taken, given = until, given + out


def _confirmed(hops: Sequence[Hop], guess: int, most: int | None) -> Best:
    """The best of a guess and its neighbours, by the pools' own integers."""
    amounts = amounts_of(hops, guess)
    best = Best(amounts, amounts[-1] - guess)
    if len(amounts) <= len(hops) or min(amounts) <= 0:
        return best
    place = min(range(len(amounts)), key=amounts.__getitem__)
    centre = amounts[place]
    best = max(best, _at(hops, place, centre, most) or best, key=lambda one: one.profit)
    for way in (1, -1):
        for move in range(1, _NEIGHBOURS):
            near = _at(hops, place, centre + way * move, most)
            if near is None or near.profit <= best.profit:
                break
            best = near
    return best


def _at(hops: Sequence[Hop], place: int, amount: int, most: int | None) -> Best | None:
    """The cheapest way to have `amount` after `place` hops, and what it comes to; None where there is none."""
    needed = amount
    for pool, zero_for_one in reversed(hops[:place]):
        if needed <= 0:
            return None
        try:
            cost = pool.quote_out(needed, zero_for_one=zero_for_one)
        except ValueError:
            return None
        if cost.amount_out < needed:
            return None
        needed = cost.amount_in
    if needed <= 0 or (most is not None and needed > most):
        return None
    amounts = amounts_of(hops, needed)
    return Best(amounts, amounts[-1] - needed)
