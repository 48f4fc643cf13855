"""The conversion leg of a bundle: what proceeds are worth in the buy leg's quote asset when they are turned into it in whole lots."""

from __future__ import annotations

from typing import Final, NamedTuple

from xarb.model.units import PPB, ceil_div
from xarb.strategies.ladder import TEN, Leg, least_of, most_of, walk

FINE: Final = 9  # decimals below the finest quantity scale in which the bound is computed


class Stretch(NamedTuple):
    """A range of sizes k over which the conversion stays within one of its levels, or its quantity does not change.

    The worth of what is converted is `worth` + `gain` * floor((`grow` * k + `shift`) / `width`), the floor being the number of lots.
    """

    low: int
    high: int | None  # None: no end
    first: int | None  # the first size that the leg's minima allow, maybe above `high`; None: there is none
    worth: int
    gain: int = 0
    grow: int = 0
    shift: int = 0
    width: int = 1


class Conversion:
    """The conversion leg as a function from proceeds to what they are worth in the buy leg's quote asset.

    Proceeds are at `proceeds_scale` and 9 decimals more; quantities at the leg's own scale and 9 decimals more. A fee in a third coin takes
    none of the proceeds: they are all converted, and what the coins cost in the currency that is converted counts at the best price. Levels
    at which converting costs more than it yields are left out.

    One unit of that currency is worth `rate` / 10^`rate_scale` at the best price. Worths and `rate` are times `times`: the best price
    where the conversion spends the currency, so that they are whole numbers.
    """

    def __init__(self, leg: Leg, proceeds_scale: int, *, sells: bool) -> None:
        self._leg, self._sells = leg, sells
        scale = leg.qty_scale + FINE
        self.lot = leg.lot * TEN[FINE]
        best = leg.levels[0][0]
        self.times = 1 if sells else best
        self.rate, self.rate_scale = (best, leg.px_scale) if sells else (TEN[leg.px_scale], 0)
        self._keep = PPB - leg.quote_fee_ppb - leg.coin_fee_ppb if sells else (PPB - leg.base_fee_ppb) * best
        self.levels = [(price, qty * TEN[FINE]) for price, qty in leg.levels if self._worth_of(price) > 0]
        self._most = most_of(leg, self.levels, scale)
        self.worth_scale = scale + (leg.px_scale if sells else 0)
        self._one, self._px_one = TEN[scale], TEN[leg.px_scale]
        self._proceeds_one, self._proceeds_unit = TEN[proceeds_scale + 9], TEN[proceeds_scale]
        self._spread = PPB + (leg.base_fee_ppb if sells else leg.quote_fee_ppb)  # what one unit takes of the proceeds
        self._worths = [(self._worth_of(price), qty) for price, qty in self.levels]
        self.finest = max(self._worth_of(best), 0)  # the most that one unit of quantity is worth

    def _worth_of(self, price: int) -> int:
        """What a unit of quantity yields at a level's price, after fees, coins deducted."""
        return price * self._keep if self._sells else self._keep - price * self._leg.coin_fee_ppb

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
        """What a quantity yields in the buy leg's quote asset after fees, at `worth_scale` and 9 decimals more; the depth suffices."""
        return walk(self._worths, converted)[0]

    def stretch(self, k: int, income: tuple[int, int]) -> Stretch:
        """The stretch around `k`, where the proceeds of k steps are income[0] + income[1] * k.

        The conversion instrument's levels are taken one after another as long as what one more lot needs is there. Between the last lot of a
        level and the first one of the next dearer level (and when nothing more can be converted) the proceeds grow without filling a lot.
        """
        lot, most = self.lot, self._most // self.lot
        reached, edge = 0, 0  # lots that the levels so far hold, and the first k that has proceeds for one more at their price
        is_allowed, worth, before, spent, earned = False, 0, 0, 0, 0
        for (price, qty), (each, _) in zip(self.levels, self._worths, strict=True):
            held = min((before + qty) // lot, most)
            if held > reached:
                grow, shift, width = self._line(price, income, (before, spent))
                start = ceil_div((reached + 1) * width - shift, grow)
                if k < start:
                    return Stretch(edge, start - 1, edge if is_allowed else start, worth)
                end = ceil_div((held + 1) * width - shift, grow)
                least = ceil_div(least_of(self._leg, price) * TEN[FINE], lot)
                # The worth of all lots at this price, and what the better levels before it brought more.
                gain, over = each * lot, earned - each * before
                if k < end:
                    first = max(start, ceil_div(least * width - shift, grow))
                    return Stretch(start, end - 1, first, over, gain, grow, shift, width)
                reached, edge, is_allowed, worth = held, end, held >= least, over + gain * held
            spent += price * qty
            earned += each * qty
            before += qty
        return Stretch(edge, None, edge if is_allowed else None, worth)

    def _line(self, price: int, income: tuple[int, int], taken: tuple[int, int]) -> tuple[int, int, int]:
        """(grow, shift, width): (grow * k + shift) / width lots can be had for the proceeds of k at a level's price."""
        if self._sells:
            unit = self._one * PPB
            return income[1] * unit, income[0] * unit, self._proceeds_one * self._spread * self.lot
        unit, each = self._one * self._px_one, self._spread * self._proceeds_unit
        before, spent = taken
        return income[1] * unit, income[0] * unit - (spent - price * before) * each, price * each * self.lot

    def marks(self, worth: int) -> list[int]:
        """About the base quantities at which the book changes level, at `worth` proceeds each: only the search's start rests on them."""
        marks, total = [], 0
        for price, qty in self.levels:
            total += qty if self._sells else qty * price // self._px_one
            marks.append(total * self._proceeds_one // (max(worth, 1) * self._one))
        return marks
