"""The band around the market: no order is priced too far from what all live venues of the same thing say."""

from __future__ import annotations

from collections.abc import Sequence

from xarb.engine.bundle import Leg
from xarb.engine.rules import Market, Refusal
from xarb.model.units import MONEY_SCALE, PPB, ceil_div


class Band:
    """Compares a leg's price with the median of the mids of all tradable feeds that are proven the same thing, its own among them.

    Of two the median lies halfway. An instrument that nothing else is proven the same as has no band; where others are, but fewer than two
    feeds are tradable, nothing is sent.

    Args:
        market: what is known of instruments and quotes now.
        groups: numbers of instruments that are proven the same thing.
    """

    def __init__(self, market: Market, groups: Sequence[Sequence[int]]) -> None:
        self._market = market
        self._peers = {number: tuple(group) for group in groups if len(group) > 1 for number in group}

    def check(self, legs: Sequence[Leg], band_ppb: int) -> Refusal | None:
        """The first leg that is priced beyond the band, with its price and the last price that would have been allowed."""
        for leg in legs:
            peers = self._peers.get(leg.instrument)
            if peers is None:
                continue
            middle = self._median(peers)
            if middle is None:
                return Refusal("price_band_unknown", leg.instrument)
            price, room = leg.price * leg.side.px_unit, middle * band_ppb
            if abs(4 * price - middle) * PPB <= room:
                continue
            above = 4 * price > middle
            bound = (middle * PPB + room) // (4 * PPB) if above else ceil_div(middle * PPB - room, 4 * PPB)
            return Refusal("price_band", leg.instrument, price, bound)
        return None

    def _median(self, numbers: Sequence[int]) -> int | None:
        """Four times the median as money, so that it is exact; None of fewer than two feeds of what is traded."""
        market, mids = self._market, list[int]()
        for number in numbers:
            best, one = market.best(number), market.instrument(number)
            if not one.active or best.bid is None or best.ask is None or market.confirmed(number) is None:
                continue
            mids.append((best.bid + best.ask) * 10 ** (MONEY_SCALE - one.px_scale))
        if len(mids) < 2:
            return None
        mids.sort()
        half = len(mids) // 2
        return mids[half] + mids[~half]
