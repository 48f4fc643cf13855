"""Money at a venue that differs from ours: what an account found there, and what becomes of it.

A small difference is booked, of no strategy. A larger one stops new bundles for good, since nobody knows what else is not as we think.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from xarb.engine.outputs import Outputs
from xarb.engine.portfolio import Place, Portfolio
from xarb.engine.results import Pricing
from xarb.engine.setup import Setup
from xarb.errors import LogError
from xarb.model.instrument import Instrument
from xarb.model.units import MONEY_ONE, MONEY_SCALE, PPB, Money, format_decimal, parse_money

DISCREPANCY: Final = "discrepancy"
"""The act of an operator's row with which an account tells a `Discrepancy`; its detail is `Discrepancy.text`."""
REFUSED: Final = "balance_differs"
"""The reason of the refusal with which the engine says that it does not book one."""
OTHERS: Final = "others_trade"
"""The reason of the refusal with which the engine says that others trade too much on an account."""
_NO_STRATEGY: Final = ""


class Discrepancy(msgspec.Struct, frozen=True, kw_only=True):
    """What an account has at a venue and what it should have by our books; money at 18 decimals.

    Of `theirs` is left out what others' orders had locked when the start opened: it was never in our books. Until `agreed` (ns by the log's
    clock) the two were the same, 0 where they never were in this start: what was told by then explains nothing of the difference.
    """

    account: str
    venue: str
    asset: str
    ours: int
    theirs: int
    agreed: int = 0

    actor = "balances"

    @property
    def place(self) -> Place:
        """Account, venue, asset."""
        return self.account, self.venue, self.asset

    @property
    def difference(self) -> int:
        """What the venue has more than we."""
        return self.theirs - self.ours

    @property
    def text(self) -> str:
        """As a row has it."""
        amounts = {"ours": self.ours, "theirs": self.theirs, "difference": self.difference}
        named = {name: format_decimal(amount, MONEY_SCALE) for name, amount in amounts.items()}
        told = {"account": self.account, "venue": self.venue, "asset": self.asset, **named}
        return msgspec.json.encode(told | ({"agreed": f"{self.agreed}"} if self.agreed else {})).decode()

    def __str__(self) -> str:
        ours, theirs, more = (format_decimal(amount, MONEY_SCALE) for amount in (self.ours, self.theirs, self.difference))
        return f"{self.account} has {theirs} {self.asset} at {self.venue}, by our books {ours}: {more} is not explained"


class Strangers(msgspec.Struct, frozen=True, kw_only=True):
    """Others traded more on an account of ours than is allowed: worth so much, `bound` is allowed; None: nothing can price it."""

    account: str
    venue: str
    worth: Money | None
    bound: Money
    actor = "others"

    def __str__(self) -> str:
        worth = "more than can be priced" if self.worth is None else f"{format_decimal(self.worth, MONEY_SCALE)}"
        bound = format_decimal(self.bound, MONEY_SCALE)
        return f"others traded on {self.account} at {self.venue}: their fills of this start come to {worth}, allowed are {bound}"


def read_discrepancy(seq: int, detail: str | None) -> Discrepancy:
    """The reverse of `Discrepancy.text`, from the row of that seq.

    Raises:
        LogError: it is none.
    """
    try:
        found = msgspec.json.decode(detail or "", type=dict[str, str])
        ours, theirs = parse_money(found["ours"]), parse_money(found["theirs"])
        agreed = int(found.get("agreed", "0"))
        return Discrepancy(
            account=found["account"], venue=found["venue"], asset=found["asset"], ours=ours, theirs=theirs, agreed=agreed
        )
    except (msgspec.DecodeError, KeyError, ValueError) as error:
        raise LogError(f"seq {seq}: what is said of a balance cannot be read: {error}") from None


def fill_changes(values: Mapping[str, Any], market: Instrument, sign: int) -> dict[str, int]:
    """What a fill of a `reports` row changed, by asset; `sign` is 1 for a purchase. What it is worth in quote is rounded against us."""
    changes = {market.base: sign * values["qty"], market.quote: -sign * values["price"] * values["qty"] // MONEY_ONE}
    changes[values["fee_asset"]] = changes.get(values["fee_asset"], 0) - values["fee"]
    return changes


def is_complete(values: Mapping[str, Any]) -> bool:
    """Whether a fill of a `reports` row says all that it takes to know what it changed, its side apart."""
    return None not in (values.get(name) for name in ("price", "qty", "fee", "fee_asset"))


class Discrepancies:
    """Judges what accounts find.

    Args:
        portfolio: our books.
        outputs: where the refusal of one that is too large goes.
        pricing: what assets are worth.
        setup: names what is traded, and how much may be booked.
    """

    def __init__(self, portfolio: Portfolio, outputs: Outputs, pricing: Pricing, *, setup: Setup) -> None:
        self._portfolio, self._outputs, self._pricing = portfolio, outputs, pricing
        self._limits = setup.adjust
        self._quotes = {(one.venue, one.symbol): one.quote for one in setup.instruments}
        at_stake = {(one.venue, asset) for one in setup.instruments for asset in (one.base, one.quote)}
        at_stake |= {(setup.instruments[number].venue, tier.asset) for (_, number), tier in setup.fees.items()}
        self._at_stake = frozenset(at_stake)  # asked for members only

    def take(self, found: Discrepancy) -> Discrepancy | None:
        """Book a difference, or give it back where it is too large for that.

        One whose `ours` is not what our books say now was overtaken by a fill or a transfer: the account looks again. What others' fills
        may have changed since the two agreed last explains as much of a difference, in its own direction. An asset that nothing trades is
        booked whatever its size.
        """
        if found.difference == 0 or found.ours != self._portfolio.balance(found.place):
            return None
        least, most = self._portfolio.strayed(found.place, found.agreed)
        rest = max(0, found.difference - most, least - found.difference)
        is_known = not rest or (found.venue, found.asset) not in self._at_stake
        if is_known or rest * PPB <= abs(found.ours) * self._limits.ratio_ppb:
            self._portfolio.adjust(found.place, found.difference)
            return None
        worth = self._worth(rest, found.asset)
        if worth is None and any(self._pricing.prices(found.asset, one) for one in self._limits.currencies):
            return None  # nothing has priced it yet: it is told again
        if worth is not None and worth <= self._limits.worth:
            self._portfolio.adjust(found.place, found.difference)
            return None
        row = (found.account, _NO_STRATEGY, None, found.venue, None, REFUSED, worth, self._limits.worth)
        self._outputs.emit("refusals", row)
        return found

    def others(self, values: Mapping[str, Any]) -> Strangers | None:
        """A report that is none of this start's; what is said where it is a fill of others with which theirs come to more than is allowed.

        What this log's own earlier starts sent is not theirs. Their worth is that of what was paid, over all accounts.
        """
        quote = self._quotes.get((values["venue"], values["symbol"]))
        if values["start"] is not None or values["event"] != "fill" or quote is None or None in (values["price"], values["qty"]):
            return None
        notional = -(-values["price"] * values["qty"] // MONEY_ONE)
        total: Money | None = Money(0)
        for asset, amount in sorted(self._portfolio.traded_by_others(quote, notional).items()):
            worth = self._worth(amount, asset)
            if worth is None and not any(self._pricing.prices(asset, one) for one in self._limits.currencies):
                total = None
                break
            total = Money((total or 0) + (worth or 0))  # what nothing has priced yet is counted with the next fill
        bound = self._limits.foreign
        if total is not None and total <= bound:
            return None
        self._outputs.emit("refusals", (values["account"], _NO_STRATEGY, None, values["venue"], None, OTHERS, total, bound))
        return Strangers(account=values["account"], venue=values["venue"], worth=total, bound=bound)

    def _worth(self, amount: int, asset: str) -> Money | None:
        """What it would cost, in the first currency in which something prices it: a feed that is tradable, else any."""
        for is_trusted in (True, False):
            for currency in self._limits.currencies:
                worth = self._pricing.worth(-amount, asset, currency, is_trusted=is_trusted)
                if worth is not None:
                    return Money(-worth)
        return None
