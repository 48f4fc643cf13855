"""How far into a book a market order reaches: its worst price, which is what the matching engine takes as its limit."""

from __future__ import annotations

from typing import Final, NamedTuple

from xarb.model.units import MONEY_SCALE
from xarb.serve.book import ASK, BID
from xarb.serve.exchange import Listing

_DEEPEST: Final = 5_000


class Reach(NamedTuple):
    """The worst price at the instrument's scale, and the value as money; what the book does not have counts at that price."""

    price: int
    value: int


def reach(listing: Listing, *, buy: bool, qty: int) -> Reach | None:
    """How far `qty` (at the instrument's scale) reaches; None when the book is empty."""
    lot, unit = listing.instrument.lot_int or 1, 10 ** (MONEY_SCALE - listing.instrument.scale)
    left, worst, value = qty, 0, 0
    for price, size in listing.book.levels(ASK if buy else BID, _DEEPEST):
        part = min(left, size - size % lot)
        if part > 0:
            worst, left, value = price, left - part, value + price * part
        if left == 0:
            break
    return Reach(worst, (value + left * worst) * unit) if worst else None


def spend_of(listing: Listing, *, buy: bool, value: int) -> tuple[Reach | None, int]:
    """How far money of the quote asset reaches, spent or to be earned, and the whole lots that are had for it."""
    lot, unit = listing.instrument.lot_int or 1, 10 ** (MONEY_SCALE - listing.instrument.scale)
    left, worst, qty = value // unit, 0, 0
    for price, size in listing.book.levels(ASK if buy else BID, _DEEPEST):
        can = left // price
        part = min(can - can % lot, size - size % lot)
        if part > 0:
            worst, qty, left = price, qty + part, left - part * price
        if can < size:
            break
    return (Reach(worst, value - value % unit - left * unit) if worst else None), qty


__all__ = ["Reach", "reach", "spend_of"]
