"""What a strategy made so far, in the currencies that its limits of loss name: since the day began, and below its peak.

Valued is what its fills changed, so that an account's opening inventory and its revaluation stand apart. Every amount is money at 18
decimals. Nothing of this is reckoned for a strategy without such a limit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from xarb.engine.captured import ResultCopy
from xarb.engine.portfolio import Portfolio
from xarb.engine.rules import Market, Refusal
from xarb.engine.terms import RiskLimits
from xarb.model.instrument import Instrument
from xarb.model.units import MONEY_ONE, MONEY_SCALE, NANOS_PER_S, Money

LOSS: Final = "loss"
"""The reason of the refusals that follow from a limit of loss that killed trading; the first of them has the loss and its bound."""
DAY_NS: Final = 86_400 * NANOS_PER_S


class Carried(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What earlier starts made in a currency.

    Attributes:
        account: whose money.
        strategy: who.
        currency: in which it is valued.
        flows: what fills changed, by asset.
        day: UTC day since 1970 of the last result.
        base: the result with which that day began.
        peak: the highest result at the end of a bundle, zero at least.
        last: the last result.
    """

    account: str
    strategy: str
    currency: str
    flows: dict[str, int] = {}
    day: int = 0
    base: int = 0
    peak: int = 0
    last: int = 0

    @property
    def key(self) -> tuple[str, str, str]:
        """What there is one of."""
        return self.account, self.strategy, self.currency


class Taken(NamedTuple):
    """A result at the end of a bundle, as its row has it."""

    currency: str
    pnl: int
    day_pnl: int
    peak: int


class Pricing:
    """What assets are worth in a currency now, against us: what is held at the least tradable bid, what is owed at the highest ask."""

    def __init__(self, market: Market, instruments: Sequence[Instrument], alike: Mapping[str, str]) -> None:
        self._market, self._alike = market, alike  # by address of a token the asset that it is worth as much as
        self._priced: dict[tuple[str, str], list[int]] = {}
        for number, one in enumerate(instruments):
            if one.kind == "spot":
                self._priced.setdefault((one.base, one.quote), []).append(number)

    def prices(self, asset: str, currency: str) -> bool:
        """Whether anything may ever price an asset in a currency."""
        asset, currency = self._alike.get(asset, asset), self._alike.get(currency, currency)
        return asset == currency or (asset, currency) in self._priced

    def worth(self, amount: int, asset: str, currency: str, *, is_trusted: bool = True) -> int | None:
        """Money for an amount of an asset, rounded down; None where no feed prices it, or none that is tradable if it `is_trusted`."""
        asset, currency = self._alike.get(asset, asset), self._alike.get(currency, currency)
        if amount == 0 or asset == currency:
            return amount
        market, found = self._market, None
        for number in self._priced.get((asset, currency), ()):
            best, one = market.best(number), market.instrument(number)
            price = best.bid if amount > 0 else best.ask
            if price is None or (is_trusted and (market.confirmed(number) is None or one.untradable_because() is not None)):
                continue
            price *= 10 ** (MONEY_SCALE - one.px_scale)
            if found is None or (price < found if amount > 0 else price > found):
                found = price
        return None if found is None else amount * found // MONEY_ONE

    def cost(self, amount: int, asset: str, currencies: Sequence[str]) -> Money | None:
        """What it would cost, in the first currency in which something prices it: a feed that is tradable, else any."""
        for is_trusted in (True, False):
            for currency in currencies:
                worth = self.worth(-amount, asset, currency, is_trusted=is_trusted)
                if worth is not None:
                    return Money(-worth)
        return None

    def may_cost(self, asset: str, currencies: Sequence[str]) -> bool:
        """Whether anything may ever price an asset in one of the currencies."""
        return any(self.prices(asset, one) for one in currencies)


class _Result:
    """One currency's; see `Carried`. `told` are the limits that stood exceeded when they were last looked at."""

    __slots__ = ("base", "currency", "day", "flows", "last", "max_day_loss", "max_drawdown", "peak", "told")

    def __init__(self, limits: RiskLimits, carried: Carried) -> None:
        self.currency = carried.currency
        self.max_day_loss = limits.max_day_loss.get(carried.currency)
        self.max_drawdown = limits.max_drawdown.get(carried.currency)
        self.flows = carried.flows
        self.day, self.base, self.peak, self.last = carried.day, carried.base, carried.peak, carried.last
        self.told = frozenset(one.reason for one in self.beyond(carried.day, carried.last))

    def beyond(self, day: int, pnl: int) -> list[Refusal]:
        """The limits that a result on a day lies beyond."""
        found = []
        lost, fallen = self.began(day) - pnl, self.peak - pnl
        if self.max_day_loss is not None and lost > self.max_day_loss:
            found.append(Refusal("day_loss", -1, lost, self.max_day_loss))
        if self.max_drawdown is not None and fallen > self.max_drawdown:
            found.append(Refusal("drawdown", -1, fallen, self.max_drawdown))
        return found

    def began(self, day: int) -> int:
        """The result with which a day began: what came after the last one of an earlier day counts for this one."""
        return self.base if day == self.day else self.last


class Results:
    """What one strategy makes; the state moves at the end of bundles only, each time with a row.

    Args:
        who: account and strategy.
        limits: whose currencies count.
        carried: what earlier starts made, of anybody.
        pricing: what assets are worth.
        portfolio: where fills are.
        market: the time.
    """

    def __init__(
        self,
        who: tuple[str, str],
        limits: RiskLimits,
        carried: Sequence[Carried],
        *,
        pricing: Pricing,
        portfolio: Portfolio,
        market: Market,
    ) -> None:
        _, self._strategy = who
        self._pricing, self._portfolio, self._market = pricing, portfolio, market
        before = {one.key: one for one in carried}
        self._results = [
            _Result(limits, before.get((*who, currency)) or Carried(account=who[0], strategy=who[1], currency=currency))
            for currency in currencies_of(limits)
        ]

    def check(self) -> Refusal | None:
        """Why no bundle may begin: more was lost than is allowed, or nobody knows how much."""
        for one in self._results:
            pnl = self._pnl(one)
            if pnl is None:
                return Refusal("loss_unknown")
            beyond = one.beyond(self._market.now // DAY_NS, pnl)
            if beyond:
                return beyond[0]
        return None

    def crossed(self) -> Refusal | None:
        """The first limit that is exceeded now and was not when this was last asked, open bundles' fills valued as they stand.

        What earlier starts lost was told then: a person has reset trading since. A loss that nobody can value crosses nothing.
        """
        found: list[Refusal] = []
        day = self._market.now // DAY_NS
        for one in self._results:
            pnl = self._pnl(one)
            if pnl is None:
                continue
            beyond = one.beyond(day, pnl)
            found += [refusal for refusal in beyond if refusal.reason not in one.told]
            one.told = frozenset(refusal.reason for refusal in beyond)
        return found[0] if found else None

    def take(self) -> Iterator[Taken]:
        """A bundle came to its end: what was made is the new state, where it is known."""
        for one in self._results:
            pnl = self._pnl(one)
            if pnl is None:
                continue
            day = self._market.now // DAY_NS
            one.base, one.day = one.began(day), day
            one.peak, one.last = max(one.peak, pnl), pnl
            yield Taken(one.currency, pnl, pnl - one.base, one.peak)

    def _pnl(self, one: _Result) -> int | None:
        total, flows = 0, {**one.flows}
        for asset, flow in self._portfolio.changes(self._strategy):
            flows[asset] = flows.get(asset, 0) + flow
        for asset, amount in flows.items():
            worth = self._pricing.worth(amount, asset, one.currency)
            if worth is None:
                return None
            total += worth
        return total

    def capture(self) -> list[ResultCopy]:
        """The state as plain values."""
        return [ResultCopy(one.currency, one.day, one.base, one.peak, one.last, sorted(one.told)) for one in self._results]

    def restore(self, copies: Sequence[ResultCopy]) -> None:
        """Take over a copy, which has at least the currencies that are followed here."""
        found = {copy.currency: copy for copy in copies}
        for one in self._results:
            copy = found[one.currency]
            one.day, one.base, one.peak, one.last = copy.day, copy.base, copy.peak, copy.last
            one.told = frozenset(copy.told)


def currencies_of(limits: RiskLimits) -> list[str]:
    """The currencies that limits of loss name, in order."""
    return sorted({*limits.max_day_loss, *limits.max_drawdown})
