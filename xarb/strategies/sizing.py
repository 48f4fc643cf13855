"""The size at which a bundle earns most: both books and the conversion walked exactly, in integers.

What a size q earns, in the quote asset of the buy leg, for q base units sold:

- The sell leg takes bids from the best. A fee in quote lessens the proceeds, a fee in base asks for more base than is sold.
- The buy leg takes asks from the best, for as much as makes the bundle flat in base after fees in base:
  bought * (1 - base fee) >= sold * (1 + base fee). Without such fees both quantities are equal and lie on both lot grids (the least
  common multiple); with them each lies on its own grid, the bought one is rounded up, and the surplus is worth nothing to us.
- With a conversion the proceeds are turned into the buy leg's quote asset as far as they fill lots of the conversion instrument; what
  is left over is worth nothing to us.
- What moving inventory costs (`strategies/moving.py`) is a fee on the notional of the buy leg beyond a quantity; no quantity depends on it.
- A fee in a third coin costs what buying the coins back costs; no quantity depends on it. With a conversion, costs in the currency that is
  converted count at its best price.

Without lots on the bought and converted quantity the profit is never below the true one: the bound. It is concave in q, and from where more
proceeds are worth less than their fee in coins it falls. With lots the profit is a sawtooth on it, whose teeth may be 1 / fee lots apart
(1,000 at 10 bps), so that the best size can be far from the bound's peak.

The search goes through cells: ranges of q in which no leg changes its level. It starts at the peak and goes outwards until the bound says
that nothing better can follow. In a cell the profit is a line plus a staircase for each rounded quantity. With at most one staircase (no
conversion, or no fees in base) the cell's best is found directly, in as many steps as Euclid's algorithm takes, whatever the depth
in lots: the result is the best of the whole grid. With two, leaving out either gives a bound for a range and the size that reaches it; the
size of the lower bound is tried and the range split there, best bound first, until no bound is above the best profit found. After `SPLITS` of them in one decision no more are made; then what is missed is
less than one lot, the cheaper of the bought and the converted one.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush
from math import lcm
from typing import Final, NamedTuple

import msgspec

from xarb.model.units import MONEY_ONE, MONEY_SCALE, PPB, Money, ceil_div
from xarb.strategies.conversion import FINE, Conversion, Stretch
from xarb.strategies.ladder import TEN, Leg, Level, least_of, most_of, stepped, walk
from xarb.strategies.staircase import Staircase, highest

SPLITS: Final = 200  # up to 9 ms (`bench.sizing`); what it costs and misses: `python -m bench.sizing`


class Size(msgspec.Struct, frozen=True):
    """A sized bundle: quantities at each leg's own scale, limit prices at the worst level walked, money at 18 decimals."""

    sell_qty: int
    sell_price: int
    buy_qty: int
    buy_price: int
    convert_qty: int
    convert_price: int
    buy_notional: Money  # what the bought quantity costs before fees, rounded up
    profit: Money  # after all fees and what moving inventory costs, rounded down
    inventory_cost: Money = Money(0)  # rounded up

    @property
    def ratio_ppb(self) -> int:
        """Profit over the notional of the buy leg, rounded down."""
        return self.profit * PPB // self.buy_notional


class TooSmall(msgspec.Struct, frozen=True):
    """No size is allowed: what bounds it from above lies below what bounds it from below.

    `reason` is "depth", the `bound` of a leg, "min_notional" (a deep walk lowers the limit price below it) or "conversion" (the
    proceeds, the depth or the bounds of the conversion leg are below its minima).
    """

    reason: str
    most: int  # largest base quantity within depth, balances and limits, 18 decimals
    least: int  # smallest base quantity that both venues take, 18 decimals


def best_size(sell: Leg, buy: Leg, convert: Leg | None = None, *, convert_sells: bool = True) -> Size | TooSmall:
    """The best size of a bundle; the arguments are those of `Sizing`."""
    is_plain = convert is None and sell.base_fee_ppb == buy.base_fee_ppb == 0 and not buy.moving
    if is_plain and len(sell.levels) == len(buy.levels) == 1:
        size = _at_one_price(sell, buy)
        if size is not None:
            return size
    return Sizing(sell, buy, convert, convert_sells=convert_sells).best()


def smallest_size(legs: Sequence[Leg], ratio_ppb: int, *, convert_sells: bool) -> Size | TooSmall:
    """About the smallest size that earns a ratio: it is doubled from the smallest that the minima allow; where none does, the best size.

    Args:
        legs: the sell leg, the buy leg and, if there is one, the conversion.
        ratio_ppb: least profit over the notional of the buy leg.
        convert_sells: as of `Sizing`.
    """
    best = best_size(*legs, convert_sells=convert_sells)
    sell = legs[0]
    qty = sell.lot
    while isinstance(best, Size) and qty < best.sell_qty:
        found = best_size(msgspec.structs.replace(sell, max_qty=qty), *legs[1:], convert_sells=convert_sells)
        least = 0
        if isinstance(found, TooSmall):
            least = ceil_div(found.least, TEN[MONEY_SCALE - sell.qty_scale])
        elif found.ratio_ppb >= ratio_ppb:
            return found
        qty = max(2 * qty, least)
    return best


def _at_one_price(sell: Leg, buy: Leg) -> Size | None:
    """The best size with one price on each side and nothing rounded, at once; None where no size is allowed.

    Profit is a multiple of the size there, and the minima hold from the smallest size on.
    """
    (bid, bid_qty), (ask, ask_qty) = sell.levels[0], buy.levels[0]
    scale, px_scale = max(sell.qty_scale, buy.qty_scale), max(sell.px_scale, buy.px_scale)
    sell_unit, buy_unit = TEN[scale - sell.qty_scale], TEN[scale - buy.qty_scale]
    step = lcm(sell.lot * sell_unit, buy.lot * buy_unit)
    most = most_of(sell, [(bid, bid_qty * sell_unit)], scale)
    most = min(most, most_of(buy, [(ask, ask_qty * buy_unit)], scale)) // step * step
    least = max(1, least_of(sell, bid) * sell_unit, least_of(buy, ask) * buy_unit)
    least = -(-least // step) * step
    if most < least:
        return None
    income = bid * TEN[px_scale - sell.px_scale] * (PPB - sell.quote_fee_ppb - sell.coin_fee_ppb)
    margin = income - ask * TEN[px_scale - buy.px_scale] * (PPB + buy.quote_fee_ppb + buy.coin_fee_ppb)
    size = most if margin > 0 else least
    notional = ceil_div(ask * size * MONEY_ONE, TEN[scale + buy.px_scale])
    profit = size * margin * MONEY_ONE // TEN[scale + px_scale + 9]
    return Size(size // sell_unit, bid, size // buy_unit, ask, 0, 0, Money(notional), Money(profit))


class Sizing:
    """The search for one decision.

    Args:
        sell: the leg whose bids are taken; levels in falling order of price.
        buy: the leg whose asks are taken; levels in rising order of price.
        convert: the conversion leg, None where both legs share the quote asset.
        convert_sells: the conversion sells what the sell leg yields (its bids are taken); else it spends it (its asks are taken).
    """

    def __init__(self, sell: Leg, buy: Leg, convert: Leg | None = None, *, convert_sells: bool = True) -> None:
        self._sell, self._buy = sell, buy
        self._in_base = sell.base_fee_ppb != 0 or buy.base_fee_ppb != 0
        self._rounded = self._in_base or convert is not None
        scale = max(sell.qty_scale, buy.qty_scale) + (FINE if self._rounded else 0)
        self._scale = scale
        self._one = TEN[scale]
        self._sell_unit, self._buy_unit = TEN[scale - sell.qty_scale], TEN[scale - buy.qty_scale]
        self._buy_lot = buy.lot * self._buy_unit
        sell_lot = sell.lot * self._sell_unit
        self._step = sell_lot if self._in_base else lcm(sell_lot, self._buy_lot)
        self._bids = [(price, qty * self._sell_unit) for price, qty in sell.levels]
        self._asks = [(price, qty * self._buy_unit) for price, qty in buy.levels]
        self._up, self._down = PPB + sell.base_fee_ppb, PPB - buy.base_fee_ppb  # bought * down >= sold * up
        self._keep = PPB - sell.quote_fee_ppb  # what is left of the proceeds
        # Income, coins and cost are at `money` decimals and 9 more, which hold the fee, and times what the conversion says.
        self._conversion = Conversion(convert, scale + sell.px_scale, sells=convert_sells) if convert is not None else None
        income_scale, coin_scale, cost_scale, times, rate = scale + sell.px_scale, scale + sell.px_scale, scale + buy.px_scale, 1, 1
        if self._conversion is not None:
            income_scale, times, rate = self._conversion.worth_scale, self._conversion.times, self._conversion.rate
            coin_scale += self._conversion.rate_scale
        money = max(income_scale, coin_scale, cost_scale)
        self._money_one = TEN[money + 9] * times
        self._income_unit = TEN[money - income_scale]
        self._coin_unit = TEN[money - coin_scale] * rate * sell.coin_fee_ppb  # of the proceeds before fees
        # What is paid: the asks, with fees in `_cost_unit`, or, where moving costs, split at its steps and each with its own fees.
        pay = PPB + buy.quote_fee_ppb + buy.coin_fee_ppb
        self._paid, self._moving = self._asks, buy.moving
        if buy.moving:
            self._moving = tuple((qty * self._buy_unit, ppb) for qty, ppb in buy.moving)
            self._asks, moving = stepped(self._asks, self._moving)
            self._paid = [(price * (pay + more), qty) for (price, qty), more in zip(self._asks, moving, strict=True)]
            pay = 1
        self._cost_unit = TEN[money - cost_scale] * pay * times
        self._sell_most, self._buy_most = most_of(sell, self._bids, scale), most_of(buy, self._asks, scale)
        self._grid = self._buy_lot if self._in_base else self._step
        # `grow` / `width` of a grid step is bought for each step sold.
        self._grow, self._width = self._step * self._up, self._grid * self._down
        self._last = min(self._sell_most // self._step, self._buy_most // self._grid * self._width // self._grow)
        self._most = self._last * self._step
        self._least = self._smallest()
        self._best = 0  # steps of the best size so far (0: none yet), and its profit
        self._top = 0
        self._most_splits = SPLITS
        self.splits = 0

    def best(self, *, splits: int = SPLITS) -> Size | TooSmall:
        """The best size; of equal profits that of the smallest size (with both fees in base and a conversion: of any).

        `splits` bounds the search where two quantities are rounded; the attribute of that name says how many were made.
        """
        self._best, self._most_splits, self.splits = 0, splits, 0
        if self._most < self._least or (self._conversion is not None and self._keep <= 0):
            return self._too_small()
        peak = self._peak()
        first = self._cell(peak // self._step)
        self._search(first)
        height = self._bound(peak) - self._slack()
        k = first.high + 1
        while k <= self._last and not self._is_settled(k, height, self._top):
            cell = self._cell(k)
            self._search(cell)
            k = cell.high + 1
        k = first.low - 1
        while k * self._step >= self._least and not self._is_settled(k, height, self._top - 1):
            cell = self._cell(k)
            self._search(cell)
            k = cell.low - 1
        if not self._best:
            return self._too_small()
        return self._size(self._best * self._step, self._top)

    def _is_settled(self, k: int, height: int, enough: int) -> bool:
        """Whether neither k nor a size farther out can earn more than `enough`; at `height` or less the bound falls from the peak to k."""
        if not self._best:
            return False
        bound = self._bound(k * self._step)
        return bound <= enough and bound <= height

    def _slack(self) -> int:
        """How far the rounded bound can lie above the function that it stands for."""
        if not self._rounded:
            return 0
        unit = self._conversion.finest if self._conversion is not None else 0
        return unit * self._income_unit + self._paid[-1][0] * self._cost_unit

    def _too_small(self) -> TooSmall:
        reason = "min_notional" if self._conversion is None else "conversion"
        bought = self._bought(self._least) if self._down > 0 else self._least
        for leg, levels, most, least in (
            (self._buy, self._asks, self._buy_most, bought),
            (self._sell, self._bids, self._sell_most, self._least),
        ):
            if most < least:
                reason = "depth" if sum(qty for _, qty in levels) < least else leg.bound
        return TooSmall(reason, self._most * MONEY_ONE // self._one, ceil_div(self._least * MONEY_ONE, self._one))

    # --- the grid

    def _smallest(self) -> int:
        """The smallest size on the grid that may satisfy the minima of both legs."""
        least = self._step
        for leg, unit, levels in ((self._sell, self._sell_unit, self._bids), (self._buy, self._buy_unit, self._asks)):
            wanted = ceil_div(leg.min_qty, TEN[MONEY_SCALE - leg.qty_scale]) * unit
            if levels and leg.min_notional:  # a limit price lies at or below the best bid, at or below the last ask
                price = levels[0][0] if leg is self._sell else levels[-1][0]
                wanted = max(wanted, ceil_div(leg.min_notional * self._one * TEN[leg.px_scale], price * MONEY_ONE))
            if leg is self._buy and self._in_base:  # sold, for the smallest bought that is rounded up to it
                wanted = max(wanted - self._buy_lot, 0) * self._down // self._up
            least = max(least, ceil_div(wanted, self._step) * self._step)
        return least

    def _peak(self) -> int:
        """The grid point at or below which the bound has its peak: among the sizes at which one of the books changes level."""
        marks = []
        for levels, up, down in ((self._bids, 1, 1), (self._asks, self._up, self._down)):
            total = 0
            for _, qty in levels:
                total += qty
                marks.append(total * down // up)
        if self._conversion is not None:
            marks += self._conversion.marks(self._bids[0][0] * self._keep)
        low, high = self._least, self._most
        step = self._step
        points = [low, *sorted([mark // step * step for mark in marks if low < mark < high]), high]
        left, right = 0, len(points) - 1
        while left < right:
            middle = (left + right) // 2
            if self._bound(points[middle]) >= self._bound(points[middle + 1]):
                right = middle
            else:
                left = middle + 1
        return points[left]

    # --- what a size earns

    def _bought(self, sold: int) -> int:
        """The quantity to buy for a quantity sold."""
        if not self._in_base:
            return sold
        return ceil_div(ceil_div(sold * self._up, self._down), self._buy_lot) * self._buy_lot

    def _cell(self, k: int) -> _Cell:
        """The cell around the size of k steps."""
        _, price, before, total, qty = _level_at(self._bids, k * self._step)
        low, high = before // self._step + 1, min((before + qty) // self._step, self._last)
        first = max(ceil_div(self._least, self._step), ceil_div(least_of(self._sell, price) * self._sell_unit, self._step))
        proceeds = (total - price * before, price * self._step)
        income = (proceeds[0] * self._keep, proceeds[1] * self._keep)
        at, price, before, total, qty = _level_at(self._paid, ceil_div(k * self._grow, self._width) * self._grid)
        low = max(low, before // self._grid * self._width // self._grow + 1)
        high = min(high, (before + qty) // self._grid * self._width // self._grow)
        least = ceil_div(least_of(self._buy, self._asks[at][0]) * self._buy_unit, self._grid)
        first = max(first, (least - 1) * self._width // self._grow + 1)
        base = (price * before - total) * self._cost_unit - proceeds[0] * self._coin_unit
        slope = -proceeds[1] * self._coin_unit
        cost = price * self._grid * self._cost_unit
        if not self._in_base:
            slope, cost = slope - cost, 0
        if self._conversion is None:
            base, slope = base + income[0] * self._income_unit, slope + income[1] * self._income_unit
            return _Cell(low, high, first, base, slope, cost, _FLAT)
        stretch = self._conversion.stretch(k, income)
        low = max(low, stretch.low)
        high = high if stretch.high is None else min(high, stretch.high)
        first = high + 1 if stretch.first is None else max(first, stretch.first)
        return _Cell(low, high, first, base + stretch.worth * self._income_unit, slope, cost, stretch)

    def _search(self, cell: _Cell) -> None:
        """Take the best size of a cell if it is better than the best so far."""
        low, high = max(cell.low, cell.first), cell.high
        if low > high:
            return
        ranges: list[tuple[int, int, int, int]] = []
        bound, k = self._highest(cell, low, high)
        if cell.cost and cell.into.gain:  # what is missed without any split is less than the cheaper lot
            for _, other in (self._over_bought(cell, low, high), self._over_converted(cell, low, high)):
                self._take(cell, other)
        while True:
            self._take(cell, k)
            if bound > self._top and self.splits < self._most_splits:
                self.splits += 1
                for start, end in ((low, k - 1), (k + 1, high)):
                    if start <= end:
                        bound, best = self._highest(cell, start, end)
                        heappush(ranges, (-bound, best, start, end))
            if not ranges or -ranges[0][0] <= self._top or self.splits >= self._most_splits:
                return
            bound, k, low, high = heappop(ranges)
            bound = -bound

    def _take(self, cell: _Cell, k: int) -> None:
        """Take the size of k steps if it is better than the best so far."""
        profit = self._profit(cell, k)
        if not self._best or (profit, -k) > (self._top, -self._best):
            self._best, self._top = k, profit

    def _highest(self, cell: _Cell, low: int, high: int) -> tuple[int, int]:
        """A bound of the profits of the sizes from `low` to `high`, and where it is reached; exact with at most one staircase."""
        cost, gain = cell.cost, cell.into.gain
        if cost and gain:
            return min(self._over_bought(cell, low, high), self._over_converted(cell, low, high))
        if cost:
            return self._over_bought(cell, low, high)
        if gain:
            return self._over_converted(cell, low, high)
        k = high if cell.slope > 0 else low
        return cell.base + cell.slope * k, k

    def _over_bought(self, cell: _Cell, low: int, high: int) -> tuple[int, int]:
        """The highest profit without lots on the converted quantity, and where it is."""
        into, gain = cell.into, cell.into.gain * self._income_unit
        scale = into.width
        base, slope = cell.base * scale + gain * into.shift, cell.slope * scale + gain * into.grow
        stair = Staircase(slope, -cell.cost * scale, self._grow, self._grow * low + self._width - 1, self._width)
        value, k = highest(stair, high - low)
        return (base + slope * low + value) // scale, low + k

    def _over_converted(self, cell: _Cell, low: int, high: int) -> tuple[int, int]:
        """The highest profit without lots on the bought quantity, and where it is."""
        into, scale = cell.into, self._width
        slope = cell.slope * scale - cell.cost * self._grow
        stair = Staircase(slope, into.gain * self._income_unit * scale, into.grow, into.grow * low + into.shift, into.width)
        value, k = highest(stair, high - low)
        return (cell.base * scale + slope * low + value) // scale, low + k

    def _profit(self, cell: _Cell, k: int) -> int:
        """Profit of the size of k steps, within the cell, at the money scale and 9 decimals more."""
        into = cell.into
        profit = cell.base + cell.slope * k - cell.cost * ceil_div(k * self._grow, self._width)
        return profit + into.gain * self._income_unit * ((into.grow * k + into.shift) // into.width)

    def _bound(self, sold: int) -> int:
        """The profit without lots on the bought and converted quantity, rounded up: never below the profit, it rises and then falls."""
        bought = sold * self._up // self._down
        proceeds = walk(self._bids, sold)[0]
        income = proceeds * self._keep
        if self._conversion is not None:
            income = self._conversion.worth(self._conversion.most_for(income, 1) + 1)
        return income * self._income_unit - proceeds * self._coin_unit - walk(self._paid, bought)[0] * self._cost_unit

    def _size(self, sold: int, profit: int) -> Size:
        bought = self._bought(sold)
        proceeds, worst = walk(self._bids, sold)
        cost, dearest = walk(self._asks, bought)
        converted = convert_price = 0
        if self._conversion is not None:
            fine = self._conversion.most_for(proceeds * self._keep, self._conversion.lot)
            converted, convert_price = fine // TEN[FINE], walk(self._conversion.levels, fine)[1]
        moving = 0
        for qty, ppb in self._moving:
            moving += (cost - walk(self._asks, min(qty, bought))[0]) * ppb
        one = self._one * TEN[self._buy.px_scale]
        return Size(
            sold // self._sell_unit,
            worst,
            bought // self._buy_unit,
            dearest,
            converted,
            convert_price,
            Money(ceil_div(cost * MONEY_ONE, one)),
            Money(profit * MONEY_ONE // self._money_one),
            Money(ceil_div(moving * MONEY_ONE, one * PPB) if moving else 0),
        )


class _Cell(NamedTuple):
    """A range of sizes in steps, `low` to `high`, of which those from `first` on satisfy all minima.

    The profit of k is `base` + `slope` * k, less `cost` for each lot bought, and with what `into` says of the lots converted; the worth in it
    is part of `base` already.
    """

    low: int
    high: int
    first: int
    base: int
    slope: int
    cost: int
    into: Stretch


_FLAT: Final = Stretch(0, None, 0, 0)


def _level_at(levels: list[Level], qty: int) -> tuple[int, int, int, int, int]:
    """The level at which a walk over `qty` ends: its place, price, quantity and notional before it, its own quantity."""
    at = before = total = price = size = 0
    for at, (price, size) in enumerate(levels):  # noqa: B007  # what the last one was is the result
        if before + size >= qty:
            break
        total += price * size
        before += size
    return at, price, before, total, size
