"""Who lends what on a chain: what rows say of it as of its newest block, and what a config states of whom no row speaks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from xarb.engine.captured import LentCopy
from xarb.model.units import MONEY_SCALE
from xarb.pools.financing import Loan, LoanTerms, Way

Key = tuple[Way, str, str]  # way, lender, token


class Terms(NamedTuple):
    """What a lender takes, of 10**18, and has, in smallest units; None: it did not say."""

    premium_wad: int | None
    available: int | None


class Lent(NamedTuple):
    """What was known before a row; None: nothing."""

    key: Key
    before: Terms | None


class Lending:
    """The lenders of one chain.

    Args:
        stated: what the config says of those of whom the log says nothing.
    """

    def __init__(self, stated: Sequence[LoanTerms] = ()) -> None:
        self._stated = tuple(stated)
        self._known: dict[Key, Terms] = {}

    def apply(self, values: Mapping[str, Any]) -> Lent:
        """Apply a `loans` row; what takes it back."""
        key: Key = (values["way"], values["lender"], values["token"])
        before = self._known.get(key)
        self._known[key] = Terms(_number(values["premium_wad"]), _number(values["available"]))
        return Lent(key, before)

    def undo(self, one: Lent) -> None:
        """Take back a row that was applied."""
        if one.before is None:
            self._known.pop(one.key, None)
        else:
            self._known[one.key] = one.before

    def forget(self) -> None:
        """Rows were lost: what they say is not known any more."""
        self._known.clear()

    def of(self, token: str, decimals: int | None) -> tuple[Loan, ...]:
        """Who lends a token of so many decimals (None: unknown), in the order of ways and addresses."""
        found = {
            (way, lender): Loan(way=way, lender=lender, premium_wad=terms.premium_wad, available=terms.available)
            for (way, lender, of), terms in self._known.items()
            if of == token
        }
        for one in self._stated:
            if one.token == token and (one.way, one.lender) not in found:
                units = None if decimals is None or decimals > MONEY_SCALE else 10 ** (MONEY_SCALE - decimals)
                available = None if units is None else one.available // units
                found[one.way, one.lender] = Loan(way=one.way, lender=one.lender, premium_wad=one.premium_wad, available=available)
        return tuple(found[key] for key in sorted(found))

    def capture(self) -> list[LentCopy]:
        """What rows said as plain values."""
        return [LentCopy(*key, *terms) for key, terms in self._known.items()]

    def restore(self, copies: Sequence[LentCopy]) -> None:
        """Take over a copy."""
        self._known = {(one.way, one.lender, one.token): Terms(one.premium_wad, one.available) for one in copies}


def copy_of(one: Lent) -> LentCopy:
    """What takes a row back, as plain values."""
    premium_wad, available = one.before or (None, None)
    return LentCopy(*one.key, premium_wad, available, one.before is not None)


def lent_of(copy: LentCopy) -> Lent:
    """The reverse of `copy_of`."""
    before = Terms(copy.premium_wad, copy.available) if copy.is_known else None
    return Lent((copy.way, copy.lender, copy.token), before)


def _number(value: str | None) -> int | None:
    return None if value is None else int(value)
