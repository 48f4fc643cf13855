"""What a strategy sent in a UTC day: the notional of its orders in each quote currency, of all, on one symbol, and on one venue.

Amounts are money at 18 decimals. Nothing of this is counted for a strategy without such a limit; what earlier starts sent on the same
day counts too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from xarb.engine.results import DAY_NS
from xarb.engine.rules import Market, Refusal
from xarb.engine.side import Side
from xarb.engine.terms import RiskLimits
from xarb.model.units import Money

Scope = tuple[str, str, str]  # venue, symbol ("": all of them), quote currency
VolumeCopy = list[tuple[str, str, str, int]]  # a scope each, and what was sent


class Planned(NamedTuple):
    """What a new bundle would send: where, by instrument number, and its notional there."""

    where: Scope
    instrument: int
    value: int


class SentVolume(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a strategy sent in earlier starts on one day in one market.

    Attributes:
        strategy: who.
        venue, symbol: the market.
        currency: the quote currency.
        day: UTC day since 1970.
        amount: notional of all orders.
    """

    strategy: str
    venue: str
    symbol: str
    currency: str
    day: int
    amount: int


class Volumes:
    """What one strategy sent today.

    Args:
        strategy: its id.
        limits: what it is held to.
        market: the time.
    """

    def __init__(self, strategy: str, limits: RiskLimits, market: Market) -> None:
        self._strategy, self._market = strategy, market
        bounds = (limits.daily_volume, limits.daily_symbol, limits.daily_venue)
        self._bounds = list(zip(("daily_volume", "daily_symbol", "daily_venue"), bounds, strict=True))
        self._is_limited = any(bound is not None for bound in bounds)
        self._day = 0
        self._sent: dict[Scope, int] = {}

    def count_all(self) -> None:
        """Count also without a limit."""
        self._is_limited = True

    def carry(self, volumes: Sequence[SentVolume]) -> None:
        """Begin with what earlier starts sent; of others' it takes none."""
        mine = [one for one in volumes if one.strategy == self._strategy]
        self._day = max((one.day for one in mine), default=0)
        for one in mine:
            if one.day == self._day:
                self._add((one.venue, one.symbol, one.currency), one.amount)

    def sent(self, scope: Scope) -> int:
        """What was sent in the present UTC day of engine time."""
        return self._sent.get(scope, 0) if self._day == self._market.now // DAY_NS else 0

    def count(self, where: Scope, value: int) -> None:
        """An order, or a leg of a bundle that begins, counts towards the day."""
        if not self._is_limited:
            return
        day = self._market.now // DAY_NS
        if day != self._day:
            self._day = day
            self._sent.clear()
        self._add(where, value)

    def _add(self, where: Scope, value: int) -> None:
        for scope in _scopes(where):
            self._sent[scope] = self._sent.get(scope, 0) + value

    def check(self, legs: Sequence[Planned]) -> Refusal | None:
        """The first bound that they would go beyond."""
        if not self._is_limited:
            return None
        for number, (reason, bound) in enumerate(self._bounds):
            if bound is not None and (refusal := self._beyond(legs, number, reason, bound)) is not None:
                return refusal
        return None

    def _beyond(self, legs: Sequence[Planned], number: int, reason: str, bound: Money) -> Refusal | None:
        sums: dict[Scope, int] = {}
        first: dict[Scope, int] = {}
        for where, instrument, value in legs:
            scope = _scopes(where)[number]
            sums[scope] = sums.get(scope, self.sent(scope)) + value
            first.setdefault(scope, instrument)
        for scope, after in sums.items():
            if after > bound:
                return Refusal(reason, first[scope], after, bound)
        return None

    def capture(self) -> tuple[int, VolumeCopy]:
        """The day, and what was sent in it, as plain values."""
        return self._day, [(*scope, amount) for scope, amount in self._sent.items()]

    def restore(self, day: int, copy: VolumeCopy) -> None:
        """Take over a copy."""
        self._day = day
        self._sent = {(venue, symbol, currency): amount for venue, symbol, currency, amount in copy}


def where_of(side: Side) -> Scope:
    """The market of a side."""
    _, _, venue, symbol = side.names
    return venue, symbol, side.quote


def _scopes(where: Scope) -> tuple[Scope, Scope, Scope]:
    """What an order counts towards, in the order of the limits: all of its currency, its symbol, its venue."""
    venue, symbol, currency = where
    return ("", "", currency), ("", symbol, currency), (venue, "", currency)
