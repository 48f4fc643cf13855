"""What others trade on accounts of ours: their fills of a UTC day come to so much, over all starts, until a person accepts it.

Beyond a bound new bundles end. Amounts are money at 18 decimals; what a fill is worth is what was paid, buys and sales alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from xarb.engine.captured import OthersCopy
from xarb.engine.carried import ForeignFills
from xarb.engine.outputs import Outputs
from xarb.engine.results import DAY_NS, Pricing
from xarb.engine.rules import Market
from xarb.engine.setup import Setup
from xarb.model.instrument import Instrument
from xarb.model.units import MONEY_ONE, MONEY_SCALE, Money, format_decimal

OTHERS: Final = "others_trade"
"""The reason of the refusal with which the engine says that others trade too much on an account."""
_NO_STRATEGY: Final = ""
Place = tuple[str, str, str]  # account, venue, quote asset


class Strangers(msgspec.Struct, frozen=True, kw_only=True):
    """Others traded more on accounts of ours than is allowed: worth so much, `bound` is allowed; None: nothing can price it."""

    account: str
    venue: str
    worth: Money | None
    bound: Money
    actor = "others"

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Strangers:
        """From the row of the refusal."""
        return cls(account=row["account"], venue=row["venue"], worth=row["value"], bound=row["bound"])

    def __str__(self) -> str:
        worth = "more than can be priced" if self.worth is None else f"{format_decimal(self.worth, MONEY_SCALE)}"
        bound = format_decimal(self.bound, MONEY_SCALE)
        return f"others traded on {self.account} at {self.venue}: their fills of this day come to {worth}, allowed are {bound}"


class Others:
    """Counts their fills, and judges them.

    What earlier starts were told on the same day counts too, and is judged before the first bundle that is wished for: the start that was
    told of it may have died before it could say anything.

    Args:
        market: the time.
        outputs: where the refusal goes.
        pricing: what assets are worth.
        setup: names what is traded, how much is allowed, and what earlier starts were told.
    """

    def __init__(self, market: Market, outputs: Outputs, pricing: Pricing, *, setup: Setup) -> None:
        self._market, self._outputs, self._pricing = market, outputs, pricing
        self._limits = setup.adjust
        self._quotes = quotes_of(setup.instruments)
        self._day = max((one.day for one in setup.foreign), default=0)
        self._sums = {(one.account, one.venue, one.asset): one.amount for one in setup.foreign if one.day == self._day}
        self.is_open = bool(self._sums)  # whether something was not judged yet

    def take(self, values: Mapping[str, Any]) -> Strangers | None:
        """A report that is none of this start's; what is said where it is a fill of others with which theirs come to more than is allowed.

        What this log's own earlier starts sent is not theirs. Their worth is reckoned over all accounts.
        """
        found = foreign_fill(values, self._quotes)
        if found is None:
            return None
        place, notional = found
        day = self._market.now // DAY_NS
        if day != self._day:
            self._day = day
            self._sums.clear()
        self._sums[place] = self._sums.get(place, 0) + notional
        return self._weigh(place)

    def judge(self) -> Strangers | None:
        """The same of what is there already, before something begins."""
        if self._day != self._market.now // DAY_NS or not self._sums:
            self.is_open = False
            return None
        return self._weigh(max(self._sums, key=self._of_place))

    def _of_place(self, place: Place) -> tuple[int, Place]:
        return self._sums[place], place

    def _weigh(self, place: Place) -> Strangers | None:
        """Whether it is too much, which is then said of that place; what nothing has priced yet is counted once something does."""
        self.is_open = False
        by_asset: dict[str, int] = {}
        for (_, _, asset), amount in self._sums.items():
            by_asset[asset] = by_asset.get(asset, 0) + amount
        total: Money | None = Money(0)
        for asset in sorted(by_asset):
            worth = self._pricing.cost(by_asset[asset], asset, self._limits.currencies)
            if worth is None and not self._pricing.may_cost(asset, self._limits.currencies):
                total = None
                break
            self.is_open = self.is_open or worth is None
            total = Money((total or 0) + (worth or 0))
        bound = self._limits.foreign
        if total is not None and total <= bound:
            return None
        account, venue, _ = place
        self._outputs.emit("refusals", (account, _NO_STRATEGY, None, venue, None, OTHERS, total, bound))
        return Strangers(account=account, venue=venue, worth=total, bound=bound)

    def capture(self) -> OthersCopy:
        """The day, and what theirs come to, as plain values."""
        return OthersCopy(self._day, [(*place, amount) for place, amount in self._sums.items()], self.is_open)

    def restore(self, copy: OthersCopy) -> None:
        """Take over a copy."""
        self._day, self.is_open = copy.day, copy.is_open
        self._sums = {(account, venue, asset): amount for account, venue, asset, amount in copy.sums}


def quotes_of(instruments: Iterable[Instrument]) -> dict[tuple[str, str], str]:
    """Quote assets by venue and symbol."""
    return {(one.venue, one.symbol): one.quote for one in instruments}


def foreign_fill(values: Mapping[str, Any], quotes: Mapping[tuple[str, str], str]) -> tuple[Place, int] | None:
    """Where a fill of somebody else was told and what was paid, rounded up; None where a report is none, or says too little."""
    quote = quotes.get((values["venue"], values["symbol"]))
    if values["start"] is not None or values["event"] != "fill" or quote is None or None in (values["price"], values["qty"]):
        return None
    return (values["account"], values["venue"], quote), -(-values["price"] * values["qty"] // MONEY_ONE)


def added_up(
    before: Sequence[ForeignFills], rows: Iterable[Mapping[str, Any]], quotes: Mapping[tuple[str, str], str]
) -> tuple[ForeignFills, ...]:
    """What others' fills come to on the last day on which any was told: those of before, and those of rows of `reports`."""
    day = max((one.day for one in before), default=0)
    sums = {(one.account, one.venue, one.asset): one.amount for one in before if one.day == day}
    for row in rows:
        found = foreign_fill(row, quotes)
        if found is None:
            continue
        place, notional = found
        told = row["ts_recv"] // DAY_NS
        if told > day:
            day, sums = told, {}
        sums[place] = sums.get(place, 0) + notional
    return tuple(
        ForeignFills(account=place[0], venue=place[1], asset=place[2], day=day, amount=sums[place]) for place in sorted(sums)
    )
