"""Money at the simulated venues: balances by account, venue and asset, what orders hold of them, and fees. Exact integers only."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Final

from xarb.model.instrument import FeeTier, Instrument
from xarb.model.units import MONEY_SCALE, PPB, Money

Need = tuple[str, int, str, int]  # an asset and its amount at 18 decimals, then another pair, whose amount may be 0
NOTHING: Final[Need] = ("", 0, "", 0)


class Fees:
    """How one tier charges fills of one instrument on one side.

    asset: the coin.
    in_base, in_quote: whether it is the instrument's own; needs_rate: whether it is a third one, whose price must be known.
    given: what a fill takes away; from_received: whether the fee comes out of what it brings in.
    qty_unit, notional_unit: what turns a quantity, and a price times a quantity, at the instrument's scales into 18 decimals.
    rate_scale: ten to the price scale of the instrument that prices a third coin.
    """

    __slots__ = (
        "asset",
        "base",
        "buy",
        "from_received",
        "given",
        "in_base",
        "in_quote",
        "maker_ppb",
        "needs_rate",
        "notional_unit",
        "qty_unit",
        "quote",
        "rate_scale",
        "taker_ppb",
    )

    def __init__(self, tier: FeeTier, instrument: Instrument, *, buy: bool, rate_scale: int = 0) -> None:
        self.taker_ppb: int = tier.taker_ppb
        self.maker_ppb: int = tier.maker_ppb
        self.buy = buy
        self.base = instrument.base
        self.quote = instrument.quote
        self.asset = fee_asset(tier, instrument, buy=buy)
        self.given = instrument.quote if buy else instrument.base
        self.in_base = self.asset == instrument.base
        self.in_quote = self.asset == instrument.quote
        self.from_received = self.in_base if buy else self.in_quote
        third = not (self.in_base or self.in_quote)
        self.needs_rate = third and (tier.taker_ppb != 0 or tier.maker_ppb != 0)
        self.qty_unit: int = 10 ** (MONEY_SCALE - instrument.qty_scale)
        self.notional_unit: int = 10 ** (MONEY_SCALE - instrument.scale)
        self.rate_scale: int = 10**rate_scale

    def of(self, base: int, quote: int, ppb: int, rate: int) -> int:
        """The fee at 18 decimals, rounded up once, of a fill that moves `base` and `quote` (money, above zero).

        `rate` is the coin's bid at its instrument's price scale, used for a third coin.
        """
        if self.in_base:
            return -(-base * ppb // PPB)
        if self.in_quote:
            return -(-quote * ppb // PPB)
        if ppb == 0:
            return 0
        return -(-quote * ppb * self.rate_scale // (PPB * rate))

    def need(self, price: int, qty: int, fee_price: int, *, ppb: int, rate: int) -> Need:
        """What an order must have free: what it gives at its limit, and its fee where that is not taken from what it receives.

        `fee_price` is the price at which the fee is reckoned: above the limit for a sale into a better bid.
        """
        base = qty * self.qty_unit
        if self.from_received and not self.buy:
            return self.given, base, self.asset, 0
        quote = price * qty * self.notional_unit
        amount = quote if self.buy else base
        if self.from_received:
            return self.given, amount, self.asset, 0
        fee = self.of(base, quote if fee_price == price else fee_price * qty * self.notional_unit, ppb, rate)
        if fee <= 0:
            return self.given, amount, self.asset, 0
        if self.asset == self.given:
            return self.given, amount + fee, self.asset, 0
        return self.given, amount, self.asset, fee


def fee_asset(tier: FeeTier, instrument: Instrument, *, buy: bool) -> str:
    """The asset in which the tier charges a fill of that side."""
    if tier.asset == "quote" or (tier.asset == "received" and not buy):
        return instrument.quote
    if tier.asset in ("base", "received"):
        return instrument.base
    return tier.asset


class Purse:
    """Money of one account at one venue, by asset at 18 decimals: free for new orders, and held by resting ones.

    A balance can fall below zero only by what an accepted order turns out to cost beyond what it held: the rounding of its fees,
    or a third coin that became dearer. Such a debt blocks further orders until it is covered.
    """

    __slots__ = ("free", "held")

    def __init__(self) -> None:
        self.free: defaultdict[str, int] = defaultdict(int)
        self.held: defaultdict[str, int] = defaultdict(int)

    def covers(self, need: Need) -> bool:
        """Whether the free balances suffice."""
        given, amount, coin, fee = need
        return self.free.get(given, 0) >= amount and (fee == 0 or self.free.get(coin, 0) >= fee)

    def hold(self, need: Need, *, sign: int) -> None:
        """Move what an order needs from free to held (sign 1) or back (sign -1)."""
        given, amount, coin, fee = need
        for asset, part in ((given, amount), (coin, fee)):
            if part:
                self.free[asset] -= sign * part
                self.held[asset] += sign * part


class Accounts:
    """The purses of all accounts."""

    def __init__(self, opening: Mapping[tuple[str, str, str], Money]) -> None:
        self._purses: dict[tuple[str, str], Purse] = {}
        for (account, venue, asset), value in opening.items():
            self.purse(account, venue).free[asset] = int(value)

    def purse(self, account: str, venue: str) -> Purse:
        """The account's purse at a venue, empty where it opened with nothing there."""
        return self._purses.setdefault((account, venue), Purse())

    def capture(self) -> list[tuple[str, str, dict[str, int], dict[str, int]]]:
        """Account, venue, free and held by asset, as plain values."""
        return [(*key, {**purse.free}, {**purse.held}) for key, purse in self._purses.items()]

    def restore(self, copy: list[tuple[str, str, dict[str, int], dict[str, int]]]) -> None:
        """Take over a copy; purses stay the objects that they are."""
        for account, venue, free, held in copy:
            purse = self.purse(account, venue)
            for mine, theirs in ((purse.free, free), (purse.held, held)):
                mine.clear()
                mine.update(theirs)

    def all(self) -> dict[tuple[str, str, str], int]:
        """Free plus held by (account, venue, asset), in sorted order."""
        totals: dict[tuple[str, str, str], int] = {}
        for (account, venue), purse in self._purses.items():
            for amounts in (purse.free, purse.held):
                for asset, amount in amounts.items():
                    key = (account, venue, asset)
                    totals[key] = totals.get(key, 0) + amount
        return dict(sorted(totals.items()))
