"""What lenders of a chain said in the blocks that stand, as two sides have it."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Mapping
from typing import Final, NamedTuple

from xarb.inquiry.decided import Decided
from xarb.pools.financing import WAD

REASONS: Final = frozenset(
    {"no_lender", "premium_unknown", "depth_unknown", "lender_depth", "premium"}
)  # that rest on what lenders said
_ROW: Final = ("block_number", "block_hash", "way", "lender", "token", "premium_wad", "available")
Key = tuple[str, str, str]  # way, lender, token


class Terms(NamedTuple):
    """What a lender takes, of 10**18, and has, in smallest units; None: it did not say."""

    premium_wad: int | None
    available: int | None

    def __str__(self) -> str:
        share = "not known" if self.premium_wad is None else f"{self.premium_wad * 100 / WAD:g} %"
        return f"{share} of {'not known' if self.available is None else self.available}"

    def enough(self, amount: int | None) -> object:
        """What of it a loan of so much rests on; None: any."""
        depth = self.available if amount is None or self.available is None else self.available >= amount
        return (self.premium_wad, depth)


class Lenders:
    """The lenders of a chain as the log of one side has them.

    Args:
        side: a run or a start.
        venue: the chain.
        hashes: of the blocks that stand.
    """

    def __init__(self, side: Decided, venue: str, hashes: frozenset[str]) -> None:
        self._said: defaultdict[Key, list[tuple[int, Terms]]] = defaultdict(list)
        for row in side.rows("loans", ("venue", "=", venue), columns=_ROW):
            if row["block_hash"] in hashes:
                premium, available = (None if row[name] is None else int(row[name]) for name in ("premium_wad", "available"))
                said = self._said[row["way"], row["lender"], row["token"]]
                said.append((row["block_number"], Terms(premium, available)))

    def at(self, number: int) -> Mapping[Key, Terms]:
        """What was known as of the end of a block."""
        found = {}
        for key, said in self._said.items():
            place = bisect_right(said, number, key=lambda one: one[0])
            if place:
                found[key] = said[place - 1][1]
        return found


def lenders_differ(mine: Lenders, theirs: Lenders, number: int, amount: int | None) -> str:
    """In which words lenders said something else to both sides as of a block that a loan of so much rests on; empty where they did not."""
    a, b = mine.at(number), theirs.at(number)
    for key in sorted({*a, *b}):
        one, other = a.get(key), b.get(key)
        if (one and one.enough(amount)) != (other and other.enough(amount)):
            way, lender, token = key
            return f"{way} {lender} lent {token} for {one or 'nobody knows what'} in A, and for {other or 'nobody knows what'} in B"
    return ""
