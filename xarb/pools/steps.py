"""One step of a swap inside a range of constant liquidity, as the SqrtPriceMath and SwapMath libraries of Uniswap v3 have it.

Every rounding is theirs: what comes in is rounded up, what goes out down, and the square root of the price so that the pool never
gives too much. Source: v3-core 1.0.1.
"""

from __future__ import annotations

from typing import Final, NamedTuple

PIPS: Final = 1_000_000
_UINT256: Final = 1 << 256


class Step(NamedTuple):
    """A step: square root of the price after it, what came in without fee, what went out, and the fee."""

    sqrt_price: int
    amount_in: int
    amount_out: int
    fee: int


def amount0_between(lower: int, upper: int, liquidity: int, *, up: bool) -> int:
    """Token0 between two square roots of prices (lower <= upper, lower > 0), rounded up or down twice as the contract does."""
    product = (liquidity << 96) * (upper - lower)
    if up:
        return -(-product // upper // lower)
    return product // upper // lower


def amount1_between(lower: int, upper: int, liquidity: int, *, up: bool) -> int:
    """Token1 between two square roots of prices (lower <= upper), rounded up or down."""
    product = liquidity * (upper - lower)
    return -(-product >> 96) if up else product >> 96


def price_after_input(sqrt_price: int, liquidity: int, amount: int, *, zero_for_one: bool) -> int:
    """Where an input without fee moves the square root of the price."""
    if not zero_for_one:
        return sqrt_price + (amount << 96) // liquidity
    if not amount:
        return sqrt_price
    numerator, product = liquidity << 96, amount * sqrt_price
    if product < _UINT256 and numerator + product < _UINT256:
        return -(-numerator * sqrt_price // (numerator + product))
    return -(-numerator // (numerator // sqrt_price + amount))  # where the contract's product overflows, it rounds another way


def price_after_output(sqrt_price: int, liquidity: int, amount: int, *, zero_for_one: bool) -> int:
    """Where an output moves the square root of the price.

    Raises:
        ValueError: there is not so much in the range: the contract reverts.
    """
    if zero_for_one:
        after = sqrt_price + (-(amount << 96) // liquidity)
        if after <= 0:
            raise ValueError(f"output {amount} is more than the range has")
        return after
    if not amount:
        return sqrt_price
    numerator, product = liquidity << 96, amount * sqrt_price
    if product >= _UINT256 or numerator <= product:
        raise ValueError(f"output {amount} is more than the range has")
    return -(-numerator * sqrt_price // (numerator - product))


def step_in(sqrt_price: int, target: int, liquidity: int, remaining: int, fee_pips: int) -> Step:
    """As much of an exact input as moves the price to `target` at most.

    Args:
        sqrt_price: where the price is.
        target: where the range ends; below `sqrt_price` when token0 comes in.
        liquidity: of the range, may be 0.
        remaining: input left, fee included, above 0.
        fee_pips: fee in millionths of the input.
    """
    usable = remaining * (PIPS - fee_pips) // PIPS
    down = sqrt_price >= target
    if down:
        whole = amount0_between(target, sqrt_price, liquidity, up=True)
    else:
        whole = amount1_between(sqrt_price, target, liquidity, up=True)
    if usable >= whole:
        after, amount_in, fee = target, whole, -(-whole * fee_pips // (PIPS - fee_pips))
    else:  # less than the whole never rounds onto the target, neither up nor down
        after = price_after_input(sqrt_price, liquidity, usable, zero_for_one=down)
        if down:
            amount_in = amount0_between(after, sqrt_price, liquidity, up=True)
        else:
            amount_in = amount1_between(sqrt_price, after, liquidity, up=True)
        fee = remaining - amount_in
    if down:
        return Step(after, amount_in, amount1_between(after, sqrt_price, liquidity, up=False), fee)
    return Step(after, amount_in, amount0_between(sqrt_price, after, liquidity, up=False), fee)


def step_out(sqrt_price: int, target: int, liquidity: int, remaining: int, fee_pips: int) -> Step:
    """As much of an exact output as moves the price to `target` at most; arguments as of `step_in`, `remaining` is output."""
    down = sqrt_price >= target
    if down:
        whole = amount1_between(target, sqrt_price, liquidity, up=False)
    else:
        whole = amount0_between(sqrt_price, target, liquidity, up=False)
    after = target if remaining >= whole else price_after_output(sqrt_price, liquidity, remaining, zero_for_one=down)
    if down:
        amount_in = amount0_between(after, sqrt_price, liquidity, up=True)
        amount_out = whole if after == target else amount1_between(after, sqrt_price, liquidity, up=False)
    else:
        amount_in = amount1_between(sqrt_price, after, liquidity, up=True)
        amount_out = whole if after == target else amount0_between(sqrt_price, after, liquidity, up=False)
    return Step(after, amount_in, min(amount_out, remaining), -(-amount_in * fee_pips // (PIPS - fee_pips)))
