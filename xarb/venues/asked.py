"""What others asked of a pool, read from a recorded row, and what that comes to upon another state of it, by the contracts' integers.

A row says what was put in and taken, and the states before and after it; from them follows what was asked for:

- a swap of an exact input, or of an exact output: whichever explains the row. Where both do, of v2 that of the coarser token, since the other one would
  have to be what it is by chance, and of v3 the input;
- a v3 swap up to a price, where neither does and a swap to the price at which it stopped does. It goes to that price again, and is undone by the
  contract where the price is beyond it already. It had more than it put in, but how much more no row says;
- liquidity of a v3 pool: the same amount of it, for the same range;
- liquidity into a v2 pool: through the router, which prices one token by the other, with what was put in as the most of either; as it is where the
  router would not have put in that. Whether there was more of one token no row says;
- liquidity out of a v2 pool: the same share of it, which rows tell to a unit of the reserves.

What no row says has a bound, `Again.off`: so far may the reserves of v2 lie apart, or so much input may a swap of v3 lie apart: by another way to
explain its row, or by what it needs beyond it to reach its price.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any, Final, NamedTuple

import msgspec

from xarb.engine.pool import Maths
from xarb.pools.concentrated import Concentrated, Crossing
from xarb.pools.constant_product import ConstantProduct
from xarb.pools.outcome import Swapped

EXACT: Final = (0, 0)
_MOST: Final = (1 << 255) - 1  # no swap asks for more


class Again(NamedTuple):
    """A pool after what was asked for again; `off` is the bound by token of what no row says, None where nothing bounds it."""

    maths: Maths
    off: tuple[int, int] | None = EXACT


def given(swap: Mapping[str, Any] | None, token: int) -> int:
    """What a swap put in of a token."""
    if swap is None:
        return 0
    put = swap[f"in{token}"]
    return max(int(swap[f"delta{token}"]), 0) if put is None else int(put)


def again(mine: Maths, was: Maths, now: Maths, row: tuple[Mapping[str, Any], Mapping[str, Any] | None]) -> Again:
    """A recorded row upon another state; `was` and `now` are what the log has before and after it.

    Raises:
        ValueError: no pool can be what would come of it.
    """
    values, swap = row
    put = (given(swap, 0), given(swap, 1))
    if isinstance(mine, ConstantProduct) and isinstance(was, ConstantProduct) and isinstance(now, ConstantProduct):
        return _product(mine, was, now, put)
    if not isinstance(mine, Concentrated):
        raise ValueError("a pool of one kind became one of another")  # noqa: TRY004  # as any other state that cannot be
    after = mine.copy()
    if values["cause"] in ("mint", "burn"):
        after.change(values["tick_lower"], values["tick_upper"], int(values["liquidity_delta"]))
        return Again(after)
    if max(put) <= 0 or swap is None or not isinstance(was, Concentrated) or not isinstance(now, Concentrated):
        return Again(after)
    done, off = _crossed(after, was, now, swap)
    if done is not None:
        after.move(done.sqrt_price, done.tick, done.liquidity)
    return Again(after, off)


# --- v3


def _crossed(
    mine: Concentrated, was: Concentrated, now: Concentrated, swap: Mapping[str, Any]
) -> tuple[Crossing | None, tuple[int, int] | None]:
    """A swap again; None where the contract refuses it. And how much more it needs than its row proves that there was."""
    down = given(swap, 0) > 0
    put, taken = max(given(swap, 0), given(swap, 1)), -int(swap["delta1" if down else "delta0"])
    is_in = _left(was.cross(put, zero_for_one=down)) == _state(now)
    is_out = taken > 0 and _left(was.cross(taken, zero_for_one=down, exact_out=True)) == _state(now)
    if is_in or is_out:
        ways = [mine.cross(put, zero_for_one=down)] if is_in else []
        ways += [mine.cross(taken, zero_for_one=down, exact_out=True)] if is_out else []
        off = abs(ways[-1].amount_in - ways[0].amount_in)
        return ways[0], (off, 0) if down else (0, off)
    limit = now.sqrt_price
    if limit == was.sqrt_price or _to(was, limit, down=down)[:2] != (put, taken):
        return mine.cross(put, zero_for_one=down), None  # what else explains it no maths of ours knows
    if limit == mine.sqrt_price or (limit < mine.sqrt_price) != down:
        return None, EXACT
    done = _to(mine, limit, down=down)
    more = max(done.amount_in - put, 0)
    return done, (more, 0) if down else (0, more)


def _to(pool: Concentrated, limit: int, *, down: bool) -> Crossing:
    return pool.cross(_MOST, zero_for_one=down, limit=limit)


def _left(done: Crossing) -> tuple[int, int, int]:
    return (done.sqrt_price, done.tick, done.liquidity)


def _state(pool: Concentrated) -> tuple[int, int, int]:
    return (pool.sqrt_price, pool.tick, pool.liquidity)


# --- v2


def _product(mine: ConstantProduct, was: ConstantProduct, now: ConstantProduct, put: tuple[int, int]) -> Again:
    """The same of a v2 pool: a swap takes what it asked for, or as much less than the quote as it did."""
    if min(put) > 0:  # both tokens came in: what stayed of each is all that is known
        return Again(_sized(mine, mine.reserve0 + now.reserve0 - was.reserve0, mine.reserve1 + now.reserve1 - was.reserve1))
    if max(put) <= 0:
        return _priced(mine, was, (now.reserve0 - was.reserve0, now.reserve1 - was.reserve1))
    zero_for_one, amount = put[0] > 0, max(put)
    taken = was.reserve1 - now.reserve1 if zero_for_one else was.reserve0 - now.reserve0
    left = was.quote_in(amount, zero_for_one=zero_for_one).amount_out - taken
    is_out = taken > 0 and was.quote_out(taken, zero_for_one=zero_for_one).amount_in == amount
    ways = [Swapped(amount, max(mine.quote_in(amount, zero_for_one=zero_for_one).amount_out - max(left, 0), 0))]
    if is_out:
        asked = mine.quote_out(taken, zero_for_one=zero_for_one)
        ways = [asked] if left > 0 else [*ways, asked]
    ways = ways[::-1] if taken < amount else ways
    off = abs(ways[-1][0] - ways[0][0]), abs(ways[-1][1] - ways[0][1])
    is_explained = left == 0 or is_out
    bound = None if not is_explained else off if zero_for_one else off[::-1]
    return Again(mine.swapped(*ways[0], zero_for_one=zero_for_one), bound)


def _priced(mine: ConstantProduct, was: ConstantProduct, change: tuple[int, int]) -> Again:
    """Reserves that changed without a swap."""
    reserves = (mine.reserve0, mine.reserve1)
    if min(was.reserve0, was.reserve1, *reserves) <= 0:
        return Again(_sized(mine, was.reserve0 + change[0], was.reserve1 + change[1]), None)
    low: tuple[int, int]
    off: tuple[int, int] | None
    if min(change) > 0:
        low, off = _added(reserves, was, change)
    elif max(change) < 0:
        low, off = _shared(reserves, was, change)
    elif min(change) == 0:  # a gift of one token
        low, off = change, EXACT
    else:  # balances that changed by themselves
        low, off = _scaled(reserves, was, change), None
    return Again(_sized(mine, reserves[0] + low[0], reserves[1] + low[1]), off)


def _added(reserves: tuple[int, int], was: ConstantProduct, change: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """What is put in: with what the row proves that there was, and how far more of the other token would lead."""
    put0, put1 = change
    is_first = put1 == put0 * was.reserve1 // was.reserve0  # all there was of token0 went in
    is_second = put0 == put1 * was.reserve0 // was.reserve1
    if not is_first and not is_second:
        return change, EXACT  # not by the router
    quotes = ((put0, put0 * reserves[1] // reserves[0]), (put1 * reserves[0] // reserves[1], put1))
    low = quotes[0] if quotes[0][1] <= put1 else quotes[1]
    ends = [low, *(quote for quote, is_it in zip(quotes, (is_first, is_second), strict=True) if is_it)]
    return low, (max(one[0] for one in ends) - low[0], max(one[1] for one in ends) - low[1])


def _shared(
    reserves: tuple[int, int], was: ConstantProduct, change: tuple[int, int]
) -> tuple[tuple[int, int], tuple[int, int] | None]:
    """What is taken out for the same share, the least of it, and how far the most lies from that."""
    least = max(Fraction(-change[0], was.reserve0), Fraction(-change[1], was.reserve1))
    below = min(Fraction(1 - change[0], was.reserve0), Fraction(1 - change[1], was.reserve1))
    if least >= below:
        return _scaled(reserves, was, change), None  # no share comes to that: it was no plain burn
    low, top = ([int(share * one) for one in reserves] for share in (least, below))
    most = [at - (below * one == at) for at, one in zip(top, reserves, strict=True)]  # the share lies below
    return (-low[0], -low[1]), (most[0] - low[0], most[1] - low[1])


def _scaled(reserves: tuple[int, int], was: ConstantProduct, change: tuple[int, int]) -> tuple[int, int]:
    """In the same proportion, rounded towards what was there."""
    return (reserves[0] * change[0] // was.reserve0, reserves[1] * change[1] // was.reserve1)


def _sized(mine: ConstantProduct, reserve0: int, reserve1: int) -> ConstantProduct:
    return msgspec.structs.replace(mine, reserve0=reserve0, reserve1=reserve1)


def through(pool: Maths, amount: int, *, zero_for_one: bool) -> tuple[int, Maths, int]:
    """What a pool gives for an input, the pool after it, and the initialised ticks that were crossed."""
    if isinstance(pool, Concentrated):
        done = pool.cross(amount, zero_for_one=zero_for_one)
        after = pool.copy()
        after.move(done.sqrt_price, done.tick, done.liquidity)
        return (done.amount_out if done.amount_in == amount else 0), after, pool.crossed(done.tick)
    swap = pool.quote_in(amount, zero_for_one=zero_for_one)
    if swap.amount_out <= 0:
        return 0, pool, 0
    return swap.amount_out, pool.swapped(swap.amount_in, swap.amount_out, zero_for_one=zero_for_one), 0
