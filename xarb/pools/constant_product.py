"""Pools of Uniswap v2 and its forks: reserve0 * reserve1 must not fall. The fee is data, since forks differ in nothing else.

Source: `getAmountOut` and `getAmountIn` of v2-periphery 1.1.0, with the fee in place of their 997 of 1000.
"""

from __future__ import annotations

from typing import Final

import msgspec

from xarb.pools.outcome import Swapped

UINT112: Final = (1 << 112) - 1
UNISWAP_FEE: Final = (3, 1000)


class ConstantProduct(msgspec.Struct, frozen=True, kw_only=True):
    """A pool as of one moment: reserves in smallest units, the fee as a fraction of the input."""

    reserve0: int
    reserve1: int
    fee_numerator: int = UNISWAP_FEE[0]
    fee_denominator: int = UNISWAP_FEE[1]

    def __post_init__(self) -> None:
        """Refuse what no pool can be.

        Raises:
            ValueError: a reserve that its 112 bits do not hold, or a fee that is not in [0, 1).
        """
        if not (0 <= self.reserve0 <= UINT112 and 0 <= self.reserve1 <= UINT112):
            raise ValueError(f"reserves {self.reserve0} and {self.reserve1}: each lies in 0 to {UINT112}")
        if not 0 <= self.fee_numerator < self.fee_denominator:
            raise ValueError(f"fee {self.fee_numerator}/{self.fee_denominator}: lies in 0 to 1, the latter excluded")

    def reserves(self, *, zero_for_one: bool) -> tuple[int, int]:
        """The reserve that an input joins, and the one that an output comes from."""
        return (self.reserve0, self.reserve1) if zero_for_one else (self.reserve1, self.reserve0)

    def quote_in(self, amount_in: int, *, zero_for_one: bool) -> Swapped:
        """What an exact input comes to, rounded down; 0 from an empty pool.

        Raises:
            ValueError: the input is not above 0.
        """
        if amount_in <= 0:
            raise ValueError(f"input {amount_in} is not above 0")
        mine, theirs = self.reserves(zero_for_one=zero_for_one)
        kept = amount_in * (self.fee_denominator - self.fee_numerator)
        return Swapped(amount_in, kept * theirs // (mine * self.fee_denominator + kept))

    def quote_out(self, amount_out: int, *, zero_for_one: bool) -> Swapped:
        """What an exact output costs, rounded up as the router does; all but one unit where more is asked for than there is.

        Raises:
            ValueError: the output is not above 0, or the pool is empty.
        """
        mine, theirs = self.reserves(zero_for_one=zero_for_one)
        given = min(amount_out, theirs - 1)
        if given <= 0:
            raise ValueError(f"output {amount_out} of a pool that holds {theirs}")
        cost = mine * given * self.fee_denominator // ((theirs - given) * (self.fee_denominator - self.fee_numerator)) + 1
        return Swapped(cost, given)

    def swapped(self, amount_in: int, amount_out: int, *, zero_for_one: bool) -> ConstantProduct:
        """The pool after a swap.

        Raises:
            ValueError: the pool does not hold the output, or its 112 bits not the input.
        """
        up, down = (amount_in, -amount_out) if zero_for_one else (-amount_out, amount_in)
        return msgspec.structs.replace(self, reserve0=self.reserve0 + up, reserve1=self.reserve1 + down)
