"""Money at the simulated venues: balances by account, venue and asset, what orders hold of them, and fees. Exact integers only."""

from __future__ import annotations

from collections.abc import Mapping

from xarb.model.instrument import FeeTier, Instrument
from xarb.model.units import MONEY_SCALE, PPB, Money

Amounts = dict[str, int]  # by asset, at 18 decimals


class Fees:
    """How one tier charges fills of one instrument on one side.

    asset: the coin.
    in_base, in_quote: whether it is the instrument's own; needs_rate: whether it is a third one, whose price must be known.
    qty_unit, notional_unit: what turns a quantity, and a price times a quantity, at the instrument's scales into 18 decimals.
    rate_scale: ten to the price scale of the instrument that prices a third coin.
    """

    def __init__(self, tier: FeeTier, instrument: Instrument, *, buy: bool, rate_scale: int = 0) -> None:
        self.tier = tier
        self.buy = buy
        self.base = instrument.base
        self.quote = instrument.quote
        self.asset = fee_asset(tier, instrument, buy=buy)
        self.in_base = self.asset == instrument.base
        self.in_quote = self.asset == instrument.quote
        third = not (self.in_base or self.in_quote)
        self.needs_rate = third and (tier.taker_ppb != 0 or tier.maker_ppb != 0)
        self.qty_unit: int = 10 ** (MONEY_SCALE - instrument.qty_scale)
        self.notional_unit: int = 10 ** (MONEY_SCALE - instrument.scale)
        self.rate_scale: int = 10**rate_scale

    def of(self, price: int, qty: int, *, ppb: int, rate: int) -> int:
        """The fee at 18 decimals, rounded up once; `rate` is the coin's bid at its instrument's price scale, used for a third coin."""
        if self.in_base:
            return -(-qty * self.qty_unit * ppb // PPB)
        if self.in_quote:
            return -(-price * qty * self.notional_unit * ppb // PPB)
        if ppb == 0:
            return 0
        return -(-price * qty * self.notional_unit * ppb * self.rate_scale // (PPB * rate))

    def need(self, price: int, qty: int, *, fee_price: int, ppb: int, rate: int) -> Amounts:
        """What an order must have free: what it gives at its limit, and its fee where that is not taken from what it receives.

        `fee_price` is the price at which the fee is reckoned: above the limit for a sale into a better bid.
        """
        fee = self.of(fee_price, qty, ppb=ppb, rate=rate)
        if self.buy:
            need = {self.quote: price * qty * self.notional_unit}
            from_received = self.in_base
        else:
            need = {self.base: qty * self.qty_unit}
            from_received = self.in_quote
        if fee > 0 and not from_received:
            need[self.asset] = need.get(self.asset, 0) + fee
        return need


def fee_asset(tier: FeeTier, instrument: Instrument, *, buy: bool) -> str:
    """The asset in which the tier charges a fill of that side."""
    if tier.asset == "quote" or (tier.asset == "received" and not buy):
        return instrument.quote
    if tier.asset in ("base", "received"):
        return instrument.base
    return tier.asset


class Accounts:
    """Free balances and what resting orders hold, by (account, venue) and asset.

    A balance can fall below zero only by what an accepted order turns out to cost beyond what it held: the rounding of its fees,
    or a third coin that became dearer. Such a debt blocks further orders until it is covered.
    """

    def __init__(self, opening: Mapping[tuple[str, str, str], Money]) -> None:
        self._free: dict[tuple[str, str], Amounts] = {}
        self._held: dict[tuple[str, str], Amounts] = {}
        for (account, venue, asset), value in opening.items():
            self._of(self._free, account, venue)[asset] = int(value)

    def free(self, account: str, venue: str, asset: str) -> int:
        """What new orders may use, at 18 decimals."""
        return self._of(self._free, account, venue).get(asset, 0)

    def held(self, account: str, venue: str, asset: str) -> int:
        """What resting orders hold, at 18 decimals."""
        return self._of(self._held, account, venue).get(asset, 0)

    def covers(self, account: str, venue: str, need: Amounts) -> bool:
        """Whether the free balances suffice."""
        free = self._of(self._free, account, venue)
        for asset, amount in need.items():  # noqa: SIM110  # a generator costs twice as much, and every order passes here
            if free.get(asset, 0) < amount:
                return False
        return True

    def add(self, account: str, venue: str, asset: str, amount: int) -> None:
        """Change a free balance."""
        free = self._of(self._free, account, venue)
        free[asset] = free.get(asset, 0) + amount

    def hold(self, account: str, venue: str, amounts: Amounts, *, sign: int) -> None:
        """Move amounts from free to held (sign 1) or back (sign -1)."""
        free, held = self._of(self._free, account, venue), self._of(self._held, account, venue)
        for asset, amount in amounts.items():
            free[asset] = free.get(asset, 0) - sign * amount
            held[asset] = held.get(asset, 0) + sign * amount

    def settle(self, account: str, instrument: Instrument, changes: tuple[int, int], *, fee: tuple[str, int]) -> None:
        """Apply a fill: changes of base and quote, and a fee paid in its coin."""
        free = self._of(self._free, account, instrument.venue)
        free[instrument.base] = free.get(instrument.base, 0) + changes[0]
        free[instrument.quote] = free.get(instrument.quote, 0) + changes[1]
        free[fee[0]] = free.get(fee[0], 0) - fee[1]

    def all(self) -> dict[tuple[str, str, str], int]:
        """Free plus held by (account, venue, asset), in sorted order."""
        totals: dict[tuple[str, str, str], int] = {}
        for book in (self._free, self._held):
            for (account, venue), amounts in book.items():
                for asset, amount in amounts.items():
                    key = (account, venue, asset)
                    totals[key] = totals.get(key, 0) + amount
        return dict(sorted(totals.items()))

    @staticmethod
    def _of(book: dict[tuple[str, str], Amounts], account: str, venue: str) -> Amounts:
        found = book.get((account, venue))
        if found is None:
            found = book[account, venue] = {}
        return found
