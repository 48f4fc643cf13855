"""The size at which a bundle earns most: both books and the conversion walked exactly, in integers.

What a size q earns, in the quote asset of the buy leg, for q base units sold:

- The sell leg takes bids from the best. A fee in quote lessens the proceeds, a fee in base asks for more base than is sold.
- The buy leg takes asks from the best, for as much as makes the bundle flat in base after fees in base:
  bought * (1 - base fee) >= sold * (1 + base fee). Without such fees both quantities are equal and lie on both lot grids (the least
  common multiple); with them each lies on its own grid, the bought one is rounded up, and the surplus is worth nothing to us.
- With a conversion the proceeds are turned into the buy leg's quote asset as far as they fill lots of the conversion instrument; what
  is left over is worth nothing to us.
- A fee in a third coin counts as a fee in quote at the price of buying the coin back.

Without lots on the bought and converted quantity the profit is concave in q, and never below the true one. The search starts at its
peak and goes outwards until that bound says that nothing better can follow, so its result is the best of the whole grid. Only
if rounding alone decides (fees in base or a conversion, and a very thin edge) would that take many steps; it ends after
`tries` of them on each side, where what is missed is less than one lot of the rounded leg.
"""

from __future__ import annotations

from math import lcm
from typing import Final, NamedTuple

from xarb.model.units import MONEY_ONE, MONEY_SCALE, PPB, Money, ceil_div

Level = tuple[int, int]
_FINE: Final = 9  # decimals below the finest quantity scale in which the bound is computed
_TEN: Final[tuple[int, ...]] = tuple(10**power for power in range(128))


class Leg(NamedTuple):
    """One leg's book and terms.

    `levels` are (price, quantity) from the best, at `px_scale` and `qty_scale`; prices are above zero. `quote_fee_ppb` is the fee that
    counts in quote (including the worth of a third coin), `base_fee_ppb` the fee that is taken in base. `min_qty` and `min_notional`
    are at 18 decimals. `max_qty` is the most that balances and limits allow, at `qty_scale`; it does not know the price of a later
    level, `max_spend` does: limit price times quantity stays within it (18 decimals, None: no bound). `bound` names what set them.
    """

    levels: list[Level]
    px_scale: int
    qty_scale: int
    lot: int
    quote_fee_ppb: int = 0
    base_fee_ppb: int = 0
    min_qty: int = 0
    min_notional: int = 0
    max_qty: int | None = None
    max_spend: int | None = None
    bound: str = "limit"


class Size(NamedTuple):
    """A sized bundle: quantities at each leg's own scale, limit prices at the worst level walked, money at 18 decimals."""

    sell_qty: int
    sell_price: int
    buy_qty: int
    buy_price: int
    convert_qty: int
    convert_price: int
    buy_notional: Money  # what the bought quantity costs before fees, rounded up
    profit: Money  # after all fees, rounded down


class TooSmall(NamedTuple):
    """No size is allowed: what bounds it from above lies below what bounds it from below.

    `reason` is "depth", the `bound` of a leg, "min_notional" (a deep walk lowers the limit price below it) or "conversion" (the
    proceeds, the depth or the bounds of the conversion leg are below its minima).
    """

    reason: str
    most: int  # largest base quantity within depth, balances and limits, 18 decimals
    least: int  # smallest base quantity that both venues take, 18 decimals


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
        scale = max(sell.qty_scale, buy.qty_scale) + (_FINE if self._rounded else 0)
        self._scale = scale
        self._one = _TEN[scale]
        self._sell_unit, self._buy_unit = _TEN[scale - sell.qty_scale], _TEN[scale - buy.qty_scale]
        self._buy_lot = buy.lot * self._buy_unit
        sell_lot = sell.lot * self._sell_unit
        self._step = sell_lot if self._in_base else lcm(sell_lot, self._buy_lot)
        self._bids = [(price, qty * self._sell_unit) for price, qty in sell.levels]
        self._asks = [(price, qty * self._buy_unit) for price, qty in buy.levels]
        self._up, self._down = PPB + sell.base_fee_ppb, PPB - buy.base_fee_ppb  # bought * down >= sold * up
        self._keep, self._pay = PPB - sell.quote_fee_ppb, PPB + buy.quote_fee_ppb
        # Income and cost are at `money` decimals and 9 more, which hold the fee.
        self._conversion = _Conversion(convert, scale + sell.px_scale, sells=convert_sells) if convert is not None else None
        income_scale = scale + sell.px_scale if self._conversion is None else self._conversion.worth_scale
        cost_scale = scale + buy.px_scale
        money = max(income_scale, cost_scale)
        self._money_one = _TEN[money + 9]
        self._income_unit, self._cost_unit = _TEN[money - income_scale], _TEN[money - cost_scale] * self._pay
        self._sell_most, self._buy_most = _most(sell, self._bids, scale), _most(buy, self._asks, scale)
        most = min(self._sell_most, self._buy_most * self._down // self._up)
        self._most = most // self._step * self._step
        self._least = self._smallest()

    def best(self, tries: int) -> Size | TooSmall:
        """The best size; `tries` bounds the steps on each side of the peak. Of equal profits the first found is kept."""
        if self._most < self._least:
            return self._too_small()
        if len(self._bids) == len(self._asks) == 1 and not self._rounded:
            # One price on each side: profit is a multiple of the size, and the minima hold from the smallest size on.
            margin = self._bids[0][0] * self._keep * self._income_unit - self._asks[0][0] * self._cost_unit
            size = self._most if margin > 0 else self._least
            return self._size(size, size * margin)
        start = self._peak()
        best, top = None, None
        for step, first in ((self._step, start), (-self._step, start - self._step)):
            size = first
            for _ in range(tries):
                if not self._least <= size <= self._most:
                    break
                profit = self._profit(size)
                if profit is not None and (top is None or profit > top):
                    best, top = size, profit
                elif top is not None and ((profit is not None and not self._rounded) or self._bound(size) <= top):
                    break
                size += step
        if best is None or top is None:
            return self._too_small()
        return self._size(best, top)

    def _too_small(self) -> TooSmall:
        reason = "min_notional" if self._conversion is None else "conversion"
        for leg, levels, most in ((self._buy, self._asks, self._buy_most), (self._sell, self._bids, self._sell_most)):
            if most < self._least:
                reason = "depth" if sum(qty for _, qty in levels) < self._least else leg.bound
        return TooSmall(reason, self._most * MONEY_ONE // self._one, ceil_div(self._least * MONEY_ONE, self._one))

    # --- the grid

    def _smallest(self) -> int:
        """The smallest size on the grid that may satisfy the minima of both legs."""
        least = self._step
        for leg, unit, levels in ((self._sell, self._sell_unit, self._bids), (self._buy, self._buy_unit, self._asks)):
            wanted = ceil_div(leg.min_qty, _TEN[MONEY_SCALE - leg.qty_scale]) * unit
            if levels and leg.min_notional:  # a limit price lies at or below the best bid, at or below the last ask
                price = levels[0][0] if leg is self._sell else levels[-1][0]
                wanted = max(wanted, ceil_div(leg.min_notional * self._one * _TEN[leg.px_scale], price * MONEY_ONE))
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

    def _profit(self, sold: int) -> int | None:
        """Profit of a size at the money scale and 9 decimals more, None where the size breaks a minimum or a bound."""
        bought = self._bought(sold)
        if bought > self._buy_most:
            return None
        proceeds, worst = _walk(self._bids, sold)
        cost, dearest = _walk(self._asks, bought)
        if not _allowed(self._sell, sold // self._sell_unit, worst) or not _allowed(self._buy, bought // self._buy_unit, dearest):
            return None
        income = proceeds * self._keep
        if self._conversion is not None:
            converted = self._conversion.most_for(income, self._conversion.lot)
            if not self._conversion.allows(converted):
                return None
            income = self._conversion.worth(converted)
        return income * self._income_unit - cost * self._cost_unit

    def _bound(self, sold: int) -> int:
        """The profit without lots on the bought and converted quantity, rounded up: concave, never below the profit."""
        bought = sold * self._up // self._down
        income = _walk(self._bids, sold)[0] * self._keep
        if self._conversion is not None:
            income = self._conversion.worth(self._conversion.most_for(income, 1) + 1)
        return income * self._income_unit - _walk(self._asks, bought)[0] * self._cost_unit

    def _size(self, sold: int, profit: int) -> Size:
        bought = self._bought(sold)
        proceeds, worst = _walk(self._bids, sold)
        cost, dearest = _walk(self._asks, bought)
        converted = convert_price = 0
        if self._conversion is not None:
            fine = self._conversion.most_for(proceeds * self._keep, self._conversion.lot)
            converted, convert_price = fine // _TEN[_FINE], _walk(self._conversion.levels, fine)[1]
        return Size(
            sold // self._sell_unit,
            worst,
            bought // self._buy_unit,
            dearest,
            converted,
            convert_price,
            Money(ceil_div(cost * MONEY_ONE, self._one * _TEN[self._buy.px_scale])),
            Money(profit * MONEY_ONE // self._money_one),
        )


class _Conversion:
    """The conversion leg as a function from proceeds to what they are worth in the buy leg's quote asset.

    Proceeds are at `proceeds_scale` and 9 decimals more; quantities at the leg's own scale and 9 decimals more.
    """

    def __init__(self, leg: Leg, proceeds_scale: int, *, sells: bool) -> None:
        self._leg, self._sells = leg, sells
        scale = leg.qty_scale + _FINE
        self.lot = leg.lot * _TEN[_FINE]
        self.levels = [(price, qty * _TEN[_FINE]) for price, qty in leg.levels]
        self._most = _most(leg, self.levels, scale)
        self.worth_scale = scale + (leg.px_scale if sells else 0)
        self._one, self._px_one = _TEN[scale], _TEN[leg.px_scale]
        self._proceeds_one, self._proceeds_unit = _TEN[proceeds_scale + 9], _TEN[proceeds_scale]
        self._spread = PPB + (leg.base_fee_ppb if sells else leg.quote_fee_ppb)  # what one unit takes of the proceeds
        self._yield = PPB - (leg.quote_fee_ppb if sells else leg.base_fee_ppb)

    def most_for(self, proceeds: int, lot: int) -> int:
        """The quantity that the proceeds allow, on the grid of `lot`, within depth and bounds."""
        if self._sells:
            most = proceeds * self._one * PPB // (self._proceeds_one * self._spread)
            return min(most, self._most) // lot * lot
        left = proceeds * self._one * self._px_one
        unit = self._spread * self._proceeds_unit  # price * quantity * unit is at the scale of `left`
        most = 0
        for price, qty in self.levels:
            whole = price * qty * unit
            if whole > left:
                most += left // (price * unit)
                break
            left -= whole
            most += qty
        return min(most, self._most) // lot * lot

    def worth(self, converted: int) -> int:
        """What a quantity yields in the buy leg's quote asset after fees, at `worth_scale` and 9 decimals more."""
        return (_walk(self.levels, converted)[0] if self._sells else converted) * self._yield

    def allows(self, converted: int) -> bool:
        """Whether the leg's minima hold for a quantity."""
        return converted > 0 and _allowed(self._leg, converted // _TEN[_FINE], _walk(self.levels, converted)[1])

    def marks(self, worth: int) -> list[int]:
        """About the base quantities at which the book changes level, at `worth` proceeds each: only the search's start rests on them."""
        marks, total = [], 0
        for price, qty in self.levels:
            total += qty if self._sells else qty * price // self._px_one
            marks.append(total * self._proceeds_one // (max(worth, 1) * self._one))
        return marks


def _walk(levels: list[Level], qty: int) -> tuple[int, int]:
    """Sum of price times quantity over the best levels, and the worst price; what exceeds the depth is not walked."""
    total = price = 0
    for price, size in levels:
        if size >= qty:
            return total + price * qty, price
        total += price * size
        qty -= size
    return total, price


def _allowed(leg: Leg, qty: int, price: int) -> bool:
    """Whether a quantity at the leg's scale and a limit price satisfy its minima."""
    return qty * _TEN[MONEY_SCALE - leg.qty_scale] >= leg.min_qty and (
        price * qty * MONEY_ONE >= leg.min_notional * _TEN[leg.px_scale + leg.qty_scale]
    )


def _most(leg: Leg, levels: list[Level], scale: int) -> int:
    """The largest quantity within depth, `max_qty` and `max_spend` at the limit price, at `scale`."""
    depth = 0
    unit = _TEN[scale + leg.px_scale]
    for price, qty in levels:
        reach = depth + qty
        if leg.max_spend is not None:
            afford = leg.max_spend * unit // (price * MONEY_ONE)
            if afford < reach:
                depth = max(depth, afford)
                break
        depth = reach
    return depth if leg.max_qty is None else min(depth, leg.max_qty * _TEN[scale - leg.qty_scale])
