"""The shape of a bundle: a pair or a cycle.

The legs of a pair are proven the same thing, balance in base, and meet in one currency. In a cycle of three or more legs each one spends what
another one brings, so that only the profit's asset is left; where two legs on different venues meet in an asset, its names there are proven
to mean the same. What is sound as a pair is one; a triangle may be both.

What the legs' instruments and sides decide is the bundle's form; it is found once for each set of sides and kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from xarb.engine.bundle import Leg
from xarb.engine.rules import Market, Refusal
from xarb.engine.setup import Setup
from xarb.engine.side import BUY, SELL, Side
from xarb.engine.strategy import Strategy
from xarb.model.units import PPB, ceil_div

_PREMIUM: Final = -2  # in place of a pair's conversion instrument
_LEAST_CYCLE: Final = 3  # legs
_MAX_FORMS: Final = 10_000  # kept at most; then all are found anew
_Key = tuple[str, tuple[Side, ...]]  # profit asset, sides


class Form:
    """What the sides of the legs and the profit asset decide, whatever prices and quantities.

    `refusal` is what is wrong before the quantities are looked at, `unconverted` what is wrong with the currencies if those are
    right. `mains` are the places of the legs in the first one's base, `step` the money of their largest lot on the buying side. `conversion`
    is the place of the leg that converts, -1 without one, and `converted` the asset that it brings to zero. `flat` are the assets that
    must end at zero, bases first: all but the profit's. `instruments` are in ascending order. `cycle` are the places of a cycle's legs in the
    order in which the asset of the profit goes round, empty for a pair.
    """

    __slots__ = ("conversion", "converted", "cycle", "flat", "instruments", "mains", "refusal", "step", "unconverted")

    def __init__(self, sides: Sequence[Side], profit_asset: str) -> None:
        self.instruments = tuple(sorted(side.number for side in sides))
        assets = dict.fromkeys([*(side.base for side in sides), *(side.quote for side in sides)])
        self.flat = tuple(asset for asset in assets if asset != profit_asset)
        base = sides[0].base
        self.mains = [at for at, side in enumerate(sides) if side.base == base]
        self.step = max((sides[at].lot_money for at in self.mains if sides[at].sign == BUY), default=0)
        self.conversion, self.converted = -1, ""
        self.cycle: tuple[int, ...] = ()
        self.refusal: Refusal | None = None
        self.unconverted = self._convert(sides, profit_asset)

    def close(self, cycle: Sequence[int], sides: Sequence[Side]) -> None:
        """It is a cycle of these legs."""
        self.cycle = tuple(cycle)
        self.flat = tuple(_gets(sides[at]) for at in cycle[:-1])

    def _convert(self, sides: Sequence[Side], profit_asset: str) -> Refusal | None:
        """All quote currencies but the profit's must be converted by one leg."""
        others = [at for at in range(len(sides)) if at not in self.mains]
        quotes = sorted({sides[at].quote for at in self.mains})
        if profit_asset not in quotes:
            return Refusal("mixed_currency", sides[0].number)
        if len(quotes) == 1:
            return Refusal("mixed_currency", sides[others[0]].number) if others else None
        if len(quotes) > 2 or len(others) != 1:
            return Refusal("mixed_currency", sides[-1].number)
        side = sides[others[0]]
        if sorted((side.base, side.quote)) != quotes:
            return Refusal("mixed_currency", side.number)
        self.conversion = others[0]
        self.converted = next(asset for asset in quotes if asset != profit_asset)
        return None


class Shape:
    """Checks it."""

    def __init__(self, market: Market, setup: Setup, strategies: Sequence[Strategy]) -> None:
        self._market = market
        self._group_of = {number: at for at, group in enumerate(setup.groups) for number in group}
        self._identities = setup.identities
        self._pairs = {
            (s.id, pair.sell, pair.buy): _PREMIUM if pair.premium else pair.convert for s in strategies for pair in s.wakes().pairs
        }
        self._forms: dict[_Key, Form] = {}

    def form(self, legs: Sequence[Leg], profit_asset: str) -> Form:
        """The form of a bundle of these legs."""
        sides = tuple([leg.side for leg in legs])
        key = (profit_asset, sides)
        form = self._forms.get(key)
        if form is None:
            if len(self._forms) >= _MAX_FORMS:
                self._forms.clear()
            form = self._forms[key] = Form(sides, profit_asset)
            form.refusal = self._check_sides(sides, form)
            if form.refusal is not None or form.unconverted is not None:
                cycle = _cycle_of(sides, profit_asset)
                if cycle:
                    form.close(cycle, sides)
                    form.refusal = self._check_names(sides, cycle)
        return form

    def forget(self) -> None:
        """Something new is known of an instrument: steps may differ."""
        self._forms.clear()

    def check(self, legs: Sequence[Leg], form: Form) -> Refusal | None:
        """What is wrong with the shape, None when nothing is; each leg by itself was checked before."""
        if form.refusal is not None:
            return form.refusal
        if form.cycle:
            return self._check_cycle(legs, form)
        left = 0
        for at in form.mains:
            left += _base_flow(legs[at])
        if not 0 <= left < form.step:
            return Refusal("unbalanced", legs[0].instrument, left, form.step)
        if form.conversion >= 0:
            return self._check_conversion(legs, form)
        return form.unconverted

    def _check_sides(self, sides: Sequence[Side], form: Form) -> Refusal | None:
        numbers = [side.number for side in sides]
        for at, number in enumerate(numbers):
            if number in numbers[:at]:
                return Refusal("self_trade", number)
        mains = [sides[at] for at in form.mains]
        sells, buys = ([side for side in mains if side.sign == sign] for sign in (SELL, BUY))
        if not sells or not buys:
            return Refusal("mixed_currency", numbers[-1])
        others = [side.number for side in sides if side not in mains]
        for sell in sells:
            for buy in buys:
                refusal = self._check_proof(sell, buy, others)
                if refusal is not None:
                    return refusal
        return None

    def _check_proof(self, sell: Side, buy: Side, others: Sequence[int]) -> Refusal | None:
        group = self._group_of.get(sell.number)
        if group is not None and group == self._group_of.get(buy.number):
            return None
        _, strategy, _, _ = sell.names
        convert = self._pairs.get((strategy, sell.number, buy.number))
        if convert is None:
            return Refusal("identity_unproven", buy.number)
        if convert == _PREMIUM:
            return Refusal("premium", buy.number)
        if sell.quote != buy.quote and convert not in others:
            return Refusal("mixed_currency", buy.number)
        return None

    def _check_names(self, sides: Sequence[Side], cycle: Sequence[int]) -> Refusal | None:
        """Where two legs meet on different venues, the name of the asset must have been proven to mean the same on both."""
        for at, into in enumerate(cycle):
            out = sides[cycle[(at + 1) % len(cycle)]]
            asset = _gets(sides[into])
            venues = (sides[into].instrument.venue, out.instrument.venue)
            if venues[0] != venues[1]:
                known = self._identities.get((venues[0], asset))
                if known is None or known != self._identities.get((venues[1], asset)):
                    return Refusal("identity_unproven", out.number)
        return None

    def _check_cycle(self, legs: Sequence[Leg], form: Form) -> Refusal | None:
        """Each asset but the profit's must be turned over to less than a lot, as a conversion must (`_check_turnover`)."""
        cycle = form.cycle
        for at, asset in enumerate(form.flat):
            out = legs[cycle[at + 1]]
            refusal = self._check_turnover((legs[cycle[at]], out), out, asset)
            if refusal is not None:
                return refusal
        return None

    def _check_conversion(self, legs: Sequence[Leg], form: Form) -> Refusal | None:
        """The conversion must turn over what the other legs bring."""
        leg = legs[form.conversion]
        trades = [legs[at] for at in form.mains if legs[at].side.quote == form.converted] + [leg]
        return self._check_turnover(trades, leg, form.converted)

    def _check_turnover(self, trades: Sequence[Leg], leg: Leg, flat: str) -> Refusal | None:
        """Of an asset that one leg turns over, less than its lot may be left.

        What the trades bring lies between their limits and the best quotes. At the limits less than a lot may be left over (two where
        the leg spends its quote asset: the next level may cost more than the limit); at the best quotes nothing may be missing.
        """
        side = leg.side
        room = side.lot_money if flat == side.base else 2 * side.notional(leg.price, side.lot)
        left = sum(_flow(one, flat, one.value) for one in trades)
        if left >= room:
            return Refusal("unbalanced", leg.instrument, left, room)
        most = sum(_flow(one, flat, self._best_value(one)) for one in trades)
        return Refusal("unbalanced", leg.instrument, most, 0) if most < 0 else None

    def _best_value(self, leg: Leg) -> int:
        """What the leg is worth at the best quote, where that is better than its limit."""
        best = self._market.best(leg.instrument)
        price = min(leg.price, best.ask or leg.price) if leg.sign > 0 else max(leg.price, best.bid or leg.price)
        return leg.side.notional(price, leg.qty)


def _gets(side: Side) -> str:
    """The asset that an order brings."""
    return side.base if side.sign == BUY else side.quote


def _spends(side: Side) -> str:
    """The asset that an order spends."""
    return side.quote if side.sign == BUY else side.base


def _cycle_of(sides: Sequence[Side], profit_asset: str) -> list[int]:
    """The places of the legs in the order in which the profit's asset goes round through all of them, empty where it does not."""
    spends = {_spends(side): at for at, side in enumerate(sides)}
    cycle: list[int] = []
    asset = profit_asset
    while asset in spends and len(cycle) < len(sides):
        cycle.append(spends[asset])
        asset = _gets(sides[cycle[-1]])
        if asset == profit_asset:
            break
    return cycle if asset == profit_asset and len(cycle) == len(sides) >= _LEAST_CYCLE else []


def _base_flow(leg: Leg) -> int:
    """What the leg changes in its base when it fills; only a fee in base is counted."""
    flow, fee_ppb = leg.sign * leg.qty_money, leg.side.base_fee_ppb
    return flow - ceil_div(leg.qty_money * fee_ppb, PPB) if fee_ppb else flow


def _flow(leg: Leg, asset: str, value: int) -> int:
    """What the leg changes in one of its assets when it fills for `value`; only a fee in that asset is counted."""
    if asset == leg.side.base:
        return _base_flow(leg)
    return -leg.sign * value - ceil_div(value * leg.side.quote_fee_ppb, PPB)
