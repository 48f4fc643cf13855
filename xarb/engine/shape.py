"""The shape of a bundle: its legs are proven the same thing, balance in base, and meet in one currency."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from xarb.engine.amounts import fee_asset, lot_money, notional_money, qty_money
from xarb.engine.rules import Market, Refusal
from xarb.engine.setup import Setup
from xarb.engine.strategy import BundlePlan, LegPlan, Strategy
from xarb.model.units import PPB, ceil_div

_PREMIUM: Final = -2  # in place of a pair's conversion instrument


class Shape:
    """Checks it."""

    def __init__(self, market: Market, setup: Setup, strategies: Sequence[Strategy]) -> None:
        self._market = market
        self._fees = setup.fees
        self._group_of = {number: at for at, group in enumerate(setup.groups) for number in group}
        self._pairs = {
            (s.id, pair.sell, pair.buy): _PREMIUM if pair.premium else pair.convert for s in strategies for pair in s.wakes().pairs
        }

    def check(self, plan: BundlePlan, strategy: Strategy) -> Refusal | None:
        """What is wrong with the shape, None when nothing is; each leg by itself was checked before."""
        numbers = [leg.instrument for leg in plan.legs]
        for at, number in enumerate(numbers):
            if number in numbers[:at]:
                return Refusal("self_trade", number)
        base = self._market.instrument(plan.legs[0].instrument).base
        main = [leg for leg in plan.legs if self._market.instrument(leg.instrument).base == base]
        others = [leg for leg in plan.legs if self._market.instrument(leg.instrument).base != base]
        sells = [leg for leg in main if leg.side == "sell"]
        buys = [leg for leg in main if leg.side == "buy"]
        if not sells or not buys:
            return Refusal("mixed_currency", plan.legs[-1].instrument)
        for sell in sells:
            for buy in buys:
                refusal = self._check_proof(strategy.id, sell.instrument, buy.instrument, others)
                if refusal is not None:
                    return refusal
        flows = self._flows(main, strategy.account)
        step = max(lot_money(self._market.instrument(leg.instrument)) for leg in buys)
        if not 0 <= flows[base] < step:
            return Refusal("unbalanced", plan.legs[0].instrument, flows[base], step)
        return self._check_currencies(plan, strategy.account, (main, others), base)

    def _check_proof(self, strategy: str, sell: int, buy: int, others: list[LegPlan]) -> Refusal | None:
        group = self._group_of.get(sell)
        if group is not None and group == self._group_of.get(buy):
            return None
        convert = self._pairs.get((strategy, sell, buy))
        if convert is None:
            return Refusal("identity_unproven", buy)
        if convert == _PREMIUM:
            return Refusal("premium", buy)
        if self._market.instrument(sell).quote != self._market.instrument(buy).quote and all(
            leg.instrument != convert for leg in others
        ):
            return Refusal("mixed_currency", buy)
        return None

    def _check_currencies(
        self, plan: BundlePlan, account: str, legs: tuple[list[LegPlan], list[LegPlan]], base: str
    ) -> Refusal | None:
        """All quote currencies but the profit's must be converted by one leg, to less than its lot.

        What the legs bring lies between their limits and the best quotes. At the limits less than a lot may be left over (two where
        the conversion spends its quote asset: the next level may cost more than the limit); at the best quotes nothing may be missing.
        """
        main, others = legs
        flows = self._flows(main, account)
        quotes = sorted(asset for asset in flows if asset != base)
        if plan.profit_asset not in quotes:
            return Refusal("mixed_currency", plan.legs[0].instrument)
        if len(quotes) == 1:
            return Refusal("mixed_currency", others[0].instrument) if others else None
        if len(quotes) > 2 or len(others) != 1:
            return Refusal("mixed_currency", plan.legs[-1].instrument)
        leg = others[0]
        instrument = self._market.instrument(leg.instrument)
        if sorted((instrument.base, instrument.quote)) != quotes:
            return Refusal("mixed_currency", leg.instrument)
        flat = next(asset for asset in quotes if asset != plan.profit_asset)
        room = lot_money(instrument)
        if flat == instrument.quote:
            room = 2 * notional_money(instrument, leg.price_int, instrument.lot_int or 1)
        left = flows[flat] + self._flows(others, account)[flat]
        if left >= room:
            return Refusal("unbalanced", leg.instrument, left, room)
        most = sum(self._flows(part, account, at_best=True)[flat] for part in (main, others))
        return Refusal("unbalanced", leg.instrument, most, 0) if most < 0 else None

    def _flows(self, legs: list[LegPlan], account: str, *, at_best: bool = False) -> dict[str, int]:
        """What the legs change by asset when they fill at their limits, or at the best quotes where these are better.

        Only a fee in base or quote is counted.
        """
        flows: dict[str, int] = {}
        for leg in legs:
            instrument = self._market.instrument(leg.instrument)
            fee = self._fees[account, leg.instrument]
            sign = 1 if leg.side == "buy" else -1
            price = leg.price_int
            if at_best:
                best = self._market.best(leg.instrument)
                price = min(price, best.ask or price) if sign > 0 else max(price, best.bid or price)
            qty = qty_money(instrument, leg.qty_int)
            value = notional_money(instrument, price, leg.qty_int)
            flows[instrument.base] = flows.get(instrument.base, 0) + sign * qty
            flows[instrument.quote] = flows.get(instrument.quote, 0) - sign * value
            coin = fee_asset(instrument, fee, sign)
            if coin == instrument.base:
                flows[coin] -= ceil_div(qty * fee.taker_ppb, PPB)
            elif coin == instrument.quote:
                flows[coin] -= ceil_div(value * fee.taker_ppb, PPB)
        return flows
