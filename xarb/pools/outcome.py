"""What a swap comes to, whichever pool it is in."""

from __future__ import annotations

from typing import NamedTuple, Protocol


class Swapped(NamedTuple):
    """A swap, in smallest units: what the pool took, fee included, and what it gave."""

    amount_in: int
    amount_out: int


class Pool(Protocol):
    """A pool of two tokens. `zero_for_one`: token0 goes in and token1 comes out; else the other way round."""

    def quote_in(self, amount_in: int, *, zero_for_one: bool) -> Swapped:
        """What an exact input comes to; a pool that runs out takes less than is offered."""
        ...

    def quote_out(self, amount_out: int, *, zero_for_one: bool) -> Swapped:
        """What an exact output costs; a pool that runs out gives less than is asked for."""
        ...
