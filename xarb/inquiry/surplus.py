"""The difference of an order's money on two sides, split into what other fees make of it, and the rest."""

from __future__ import annotations

from xarb.inquiry.align import OrderPair
from xarb.inquiry.course import Flow, Market, Order
from xarb.inquiry.decided import Decided
from xarb.model.instrument import FeeTier
from xarb.model.units import Money, fee_of


class Fees:
    """Fees as side A's schedules give them.

    What a side paid beyond that schedule for its own fills is its surplus; the difference of the surpluses is the part of other fees.
    So equal schedules leave nothing for fees, whatever was filled, and other fees nothing for the fills when these are equal. Both parts
    add up to the whole difference exactly. Where a schedule charges in a third coin no fee can be computed from a fill alone: there the
    fees are the part of fees when the fills are equal, else they go with the fills.
    """

    def __init__(self, side: Decided) -> None:
        self._tiers = side.resolved.fees
        self._rates = side.resolved.rates
        self._assets = {(row["venue"], row["symbol"]): (row["base"], row["quote"]) for row in side.rows("instruments")}

    def split(self, pair: OrderPair) -> tuple[Flow, Flow]:
        """The rest and the part of other fees, b minus a, by asset; what is zero is left out."""
        a, b = pair
        expected = [None if one is None else self._expected(one) for one in pair]
        if a is not None and b is not None and a.trades == b.trades and _filled(a) == _filled(b):
            return {}, _minus(b.fees, a.fees)
        if a is None or b is None or expected[0] is None or expected[1] is None:
            whole = [{} if one is None else _plus(one.trades, one.fees) for one in pair]
            return _minus(whole[1], whole[0]), {}
        rest = _minus(_plus(b.trades, expected[1]), _plus(a.trades, expected[0]))
        return rest, _minus(_minus(b.fees, expected[1]), _minus(a.fees, expected[0]))

    def coin_market(self, order: Order) -> Market | None:
        """The market whose price makes an order's fee in a third coin; None where the fee follows from the fills."""
        venue, assets, tier = order.market[0], self._assets.get(order.market), self._tier(order)
        if tier is None or assets is None:
            return None
        for name, coin in self._rates.items():
            one, _, at = name.rpartition("@")
            if (at, coin) == (venue, tier.asset) and self._assets.get((venue, one)) == (coin, assets[1]):
                return venue, one
        return None

    def _tier(self, order: Order) -> FeeTier | None:
        venue, symbol = order.market
        return self._tiers.get(f"{symbol}@{venue}", self._tiers.get(venue))

    def _expected(self, order: Order) -> Flow | None:
        """What the schedule takes for an order's fills; None where it charges in a third coin or is not known."""
        tier, assets = self._tier(order), self._assets.get(order.market)
        if tier is None or assets is None:
            return None
        base, quote = assets
        side = order.plan[0]
        named = {"quote": quote, "base": base, "received": base if side == "buy" else quote}
        asset = named.get(tier.asset, tier.asset)
        if asset not in assets:
            return None
        taken: Flow = {}
        for fill in order.fills:
            ratio = tier.maker_ppb if fill.liquidity == "maker" else tier.taker_ppb
            taken[asset] = taken.get(asset, 0) - fee_of(Money(fill.notional if asset == quote else fill.qty), ratio)
        return taken


def _filled(order: Order) -> tuple[tuple[int, int, str], ...]:
    return tuple((fill.price, fill.qty, fill.liquidity) for fill in order.fills)


def _plus(one: Flow, other: Flow) -> Flow:
    return {asset: one.get(asset, 0) + other.get(asset, 0) for asset in {**one, **other}}


def _minus(one: Flow, other: Flow) -> Flow:
    found = {asset: one.get(asset, 0) - other.get(asset, 0) for asset in {**one, **other}}
    return {asset: change for asset, change in found.items() if change}
