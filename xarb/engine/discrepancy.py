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
from xarb.model.units import MONEY_ONE, MONEY_SCALE, PPB, format_decimal, parse_money

DISCREPANCY: Final = "discrepancy"
"""The act of an operator's row with which an account tells a `Discrepancy`; its detail is `Discrepancy.text`."""
REFUSED: Final = "balance_differs"
"""The reason of the refusal with which the engine says that it does not book one."""
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
        at_stake = {(one.venue, asset) for one in setup.instruments for asset in (one.base, one.quote)}
        at_stake |= {(setup.instruments[number].venue, tier.asset) for (_, number), tier in setup.fees.items()}
        at_stake |= {(venue, chain.native) for venue, chain in setup.chains.items()}
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
        worth = self._pricing.cost(rest, found.asset, self._limits.currencies)
        if worth is None and self._pricing.may_cost(found.asset, self._limits.currencies):
            return None  # nothing has priced it yet: it is told again
        if worth is not None and worth <= self._limits.worth:
            self._portfolio.adjust(found.place, found.difference)
            return None
        row = (found.account, _NO_STRATEGY, None, found.venue, None, REFUSED, worth, self._limits.worth)
        self._outputs.emit("refusals", row)
        return found
