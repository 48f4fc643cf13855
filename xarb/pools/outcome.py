"""What a swap comes to, whichever pool it is in."""

from __future__ import annotations

from typing import NamedTuple


class Swapped(NamedTuple):
    """A swap, in smallest units: what the pool took, fee included, and what it gave."""

    amount_in: int
    amount_out: int
