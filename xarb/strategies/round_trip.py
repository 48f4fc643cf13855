"""What a cycle of trades brings back of its first asset, and the amount at which that is the most; in integers.

Each leg spends what the one before it brought, in whole lots, as many as that pays for; what is left over is worth nothing to us. A leg takes
its side of the book from the best level on. Fees lessen what a leg brings or add to what it spends; one in a third coin, and what moving assets
between venues costs, is deducted at the best prices of the cycle and changes no quantity.

Without lots what comes back is a concave function of what goes in, whose peak lies where some leg changes its level: that is found first, by
halving. Around it whole lots are tried: for each leg the few counts of its lots next to the peak, with the least that the legs before it must
bring and the most that the legs after it can take. Coarse lots leave over what finer ones would not, so that the best size may lie where the
lots of all legs happen to meet: farther from the peak than is looked. `tests/strategies/test_round_trip.py` says how much is missed.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Final

import msgspec

from xarb.model.units import MONEY_SCALE, PPB, Money, ceil_div
from xarb.strategies.cycles import ONE
from xarb.strategies.ladder import TEN, Leg, least_of, most_of, walk
from xarb.strategies.sizing import TooSmall

NEAR: Final = 8  # counts of lots tried on each side of the peak, for each leg


class Moving(msgspec.Struct, frozen=True):
    """What of the spent asset must come from elsewhere: beyond `free` (18 decimals) each unit costs so many ppb of its worth."""

    free: int = 0
    cost_ppb: int = 0


class Trade(msgspec.Struct, frozen=True):
    """One leg of a cycle: `leg` sells its base, or buys it; its levels are cut to what depth, balances and limits allow when it is sized."""

    leg: Leg
    sells: bool
    moving: Moving = Moving()


class RoundTrip(msgspec.Struct, frozen=True):
    """A sized cycle: by leg quantity and limit price at the instrument's scales; money in the asset that goes round, at 18 decimals."""

    orders: tuple[tuple[int, int], ...]
    spent: Money
    profit: Money  # rounded down, after all fees and `inventory_cost`
    inventory_cost: Money

    @property
    def ratio_ppb(self) -> int:
        """Profit over what was spent, rounded down."""
        return self.profit * PPB // self.spent


def best_round_trip(trades: Sequence[Trade]) -> RoundTrip | TooSmall:
    """The amount at which a cycle earns most, or why none is allowed; `most` and `least` are then of the base of the leg that forbids it."""
    return _Round([_Way(trade) for trade in trades]).best()


def smallest_round_trip(trades: Sequence[Trade], ratio_ppb: int) -> RoundTrip | TooSmall:
    """About the smallest amount that earns a ratio, by doubling the first leg's lots; where none does, the best one."""
    return _Round([_Way(trade) for trade in trades]).best(ratio_ppb)


class _Way:
    """A trade as a curve: what it spends and brings at the end of each level, fees included, at 18 decimals."""

    def __init__(self, trade: Trade) -> None:
        leg = trade.leg
        self.trade, self.leg, self.sells = trade, leg, trade.sells
        self.lot = leg.lot
        self.unit = TEN[MONEY_SCALE - leg.qty_scale]
        self._value_unit = TEN[MONEY_SCALE - leg.qty_scale - leg.px_scale]
        self.most = most_of(leg, leg.levels, leg.qty_scale) // leg.lot * leg.lot
        ends, total = [0], 0
        for _, qty in leg.levels:
            total = min(total + qty, self.most)
            if total > ends[-1]:
                ends.append(total)
        self.ends = ends
        self.worst = walk(leg.levels, self.most)[1]
        lot = self.lot * self.unit
        self.room = lot if self.sells else 2 * self.worst * self.lot * self._value_unit  # what risk lets be left over
        self.spending = [self.spent(qty) for qty in ends]
        self.bringing = [self.got(qty) for qty in ends]

    @property
    def rate(self) -> int:
        """What a unit brings at the best level, at `ONE`, rounded down."""
        return self.bringing[1] * ONE // self.spending[1]

    def value(self, qty: int) -> int:
        """Price times quantity over the levels."""
        return walk(self.leg.levels, qty)[0] * self._value_unit

    def spent(self, qty: int) -> int:
        """What a quantity takes."""
        amount, fee = (qty * self.unit, self.leg.base_fee_ppb) if self.sells else (self.value(qty), self.leg.quote_fee_ppb)
        return amount + ceil_div(amount * fee, PPB)

    def got(self, qty: int) -> int:
        """What a quantity brings."""
        amount, fee = (self.value(qty), self.leg.quote_fee_ppb) if self.sells else (qty * self.unit, self.leg.base_fee_ppb)
        return amount - ceil_div(amount * fee, PPB)

    def onward(self, amount: int) -> int:
        """What an amount brings, lots apart."""
        return _between(self.spending, self.bringing, amount)

    def back(self, amount: int) -> int:
        """What must be spent to bring an amount, lots apart."""
        return _between(self.bringing, self.spending, amount)

    def most_for(self, amount: int) -> int | None:
        """The most lots that an amount pays for; None where so much is left over that risk would not have it."""
        qty = _between(self.spending, self.ends, amount) // self.lot * self.lot + self.lot
        while qty > 0 and (qty > self.most or self.spent(qty) > amount):
            qty -= self.lot
        return None if amount - self.spent(qty) >= self.room else qty

    def least_for(self, amount: int) -> int:
        """The fewest lots that bring an amount; more than `most` where none do."""
        qty = max(_between(self.bringing, self.ends, amount) // self.lot * self.lot, self.lot)
        while qty <= self.most and self.got(qty) < amount:
            qty += self.lot
        while qty > self.lot and self.got(qty - self.lot) >= amount:
            qty -= self.lot
        return qty

    def is_allowed(self, qty: int) -> bool:
        """Whether the venue takes an order of that size at the limit that its depth asks for."""
        return 0 < qty <= self.most and qty >= least_of(self.leg, walk(self.leg.levels, qty)[1])


class _Round:
    """The search."""

    def __init__(self, ways: Sequence[_Way]) -> None:
        self._ways = ways

    def best(self, enough_ppb: int | None = None) -> RoundTrip | TooSmall:
        """The best amount, or the smallest looked at that earns a ratio."""
        ways = self._ways
        for way in ways:
            if way.most < way.lot or way.bringing[1] <= 0:
                return _too_small(way, "depth" if sum(qty for _, qty in way.leg.levels) < way.lot else way.leg.bound)
        worths = [ONE]  # from the last to the first: what a unit of what a leg brings is worth at the end, at ONE
        for way in reversed(ways[1:]):
            worths.append(worths[-1] * way.rate // ONE)
        self._worths = worths[::-1]
        best: RoundTrip | None = None
        wanted = self._candidates(self._peak())
        if enough_ppb is not None:
            lots = ways[0].most // ways[0].lot
            wanted = sorted([*wanted, *(ways[0].lot << power for power in range(lots.bit_length()))])
        for first in wanted:
            trip = self._trip(first)
            if trip is not None and enough_ppb is not None and trip.ratio_ppb >= enough_ppb:
                return trip
            if trip is not None and (best is None or trip.profit > best.profit):
                best = trip
        return best if best is not None else self._why_none()

    def _peak(self) -> int:
        """What goes in where most comes back, lots apart."""
        ways, marks = self._ways, [0]
        most = ways[0].spending[-1]
        for at, way in enumerate(ways):
            for amount in way.spending[1:]:
                marks.append(self._start_of(at, amount))
            most = min(most, self._start_of(at, way.spending[-1]))
        points = sorted(mark for mark in marks if mark <= most)
        low, high = 0, len(points) - 1
        while low < high:
            middle = (low + high) // 2
            if self._net(points[middle]) >= self._net(points[middle + 1]):
                high = middle
            else:
                low = middle + 1
        return points[low]

    def _start_of(self, at: int, amount: int) -> int:
        """What must go in for a leg to spend an amount; all that may, where the legs before cannot bring it."""
        for way in reversed(self._ways[:at]):
            amount = way.back(amount)
        return amount

    def _net(self, amount: int) -> int:
        start = amount
        costs = 0
        for at, way in enumerate(self._ways):
            costs += self._moving_cost(at, amount) + self._coin_cost(at, amount, bought=way.onward(amount))
            amount = way.onward(amount)
        return amount - start - costs

    def _candidates(self, peak: int) -> list[int]:
        """Quantities of the first leg: those with which some leg has a count of lots near the peak's."""
        ways = self._ways
        found: dict[int, None] = {}
        amount = peak
        for at, way in enumerate(ways):
            middle = _between(way.spending, way.ends, amount) // way.lot
            counts = range(max(middle - NEAR, 1), middle + 2)
            smallest = [ceil_div(least_of(way.leg, price), way.lot) for price in (way.leg.levels[0][0], way.worst)]
            found |= dict.fromkeys(self._first_for(at, count * way.lot) for count in (*counts, *smallest))
            amount = way.onward(amount)
        return sorted(qty for qty in found if 0 < qty <= ways[0].most)

    def _first_for(self, at: int, qty: int) -> int:
        """The least quantity of the first leg with which a leg can trade a quantity; 0 where none is enough."""
        ways = self._ways
        while at > 0 and 0 < qty <= ways[at].most:
            qty = ways[at - 1].least_for(ways[at].spent(qty))
            at -= 1
        return qty if at == 0 else 0

    def _trip(self, first: int) -> RoundTrip | None:
        """The cycle with a quantity of its first leg, None where it is not allowed."""
        ways = self._ways
        orders, costs, moved = [], 0, 0
        amount, qty = ways[0].spent(first), first
        start = amount
        for at, way in enumerate(ways):
            if at:
                found = way.most_for(amount)
                if found is None:
                    return None
                qty = found
            if not way.is_allowed(qty):
                return None
            orders.append((qty, walk(way.leg.levels, qty)[1]))
            moved += self._moving_cost(at, way.spent(qty))
            costs += self._coin_cost(at, way.spent(qty), bought=way.got(qty))
            amount = way.got(qty)
        return RoundTrip(tuple(orders), Money(start), Money(amount - start - costs - moved), Money(moved))

    def _moving_cost(self, at: int, spent: int) -> int:
        """What moving a leg's input costs, in what goes round, rounded up."""
        moving = self._ways[at].trade.moving
        beyond = spent - moving.free
        if beyond <= 0 or not moving.cost_ppb:
            return 0
        worth = self._worths[at - 1] if at else ONE
        return ceil_div(beyond * moving.cost_ppb * worth, PPB * ONE)

    def _coin_cost(self, at: int, spent: int, *, bought: int) -> int:
        """What a fee in a third coin costs, in what goes round, rounded up; it is in ppb of the leg's quote."""
        way = self._ways[at]
        fee = way.leg.coin_fee_ppb
        if not fee:
            return 0
        amount, worth = (bought, self._worths[at]) if way.sells else (spent, self._worths[at - 1] if at else ONE)
        return ceil_div(amount * fee * worth, PPB * ONE)

    def _why_none(self) -> TooSmall:
        ways = self._ways
        for at, way in enumerate(ways):
            least = max(least_of(way.leg, way.worst), way.lot)
            if least > way.most:
                return _too_small(way, "depth" if sum(qty for _, qty in way.leg.levels) < least else way.leg.bound)
            if not 0 < self._first_for(at, ceil_div(least, way.lot) * way.lot) <= ways[0].most:
                return _too_small(way, ways[0].leg.bound)
        return _too_small(ways[0], "min_notional")


def _too_small(way: _Way, reason: str) -> TooSmall:
    price = walk(way.leg.levels, max(way.most, 1))[1]
    least = max(least_of(way.leg, price), way.lot)
    return TooSmall(reason, way.most * way.unit, least * way.unit)


def _between(xs: Sequence[int], ys: Sequence[int], x: int) -> int:
    """The line through points at x, rounded down; beyond the last point its value there."""
    if x >= xs[-1]:
        return ys[-1]
    if x <= xs[0]:
        return ys[0]
    at = bisect_right(xs, x)
    low, high = xs[at - 1], xs[at]
    return ys[at - 1] + (x - low) * (ys[at] - ys[at - 1]) // (high - low)
