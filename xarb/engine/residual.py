"""What to do with what a bundle left unbalanced: complete it, undo it, or hold it.

A residual is first completed on the leg that fell short (hedge), where the market still trades within the hedge cap beyond that leg's limit;
else the leg that went too far is undone (unwind) within the unwind cap beyond its own limit. Orders go out with the cap as their
limit: an IOC fills at the book's prices, so smaller steps would only cost time. What is too small for every venue is dust.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from xarb.engine.amounts import qty_money
from xarb.engine.bundle import Bundle, Leg, OrderPlan
from xarb.engine.portfolio import Portfolio
from xarb.engine.risk import Risk
from xarb.engine.rules import Market, Refusal, check_steps
from xarb.model.instrument import Instrument
from xarb.model.units import MONEY_SCALE, PPB, ceil_div

_TOO_SMALL: Final = ("bad_qty", "min_qty", "min_notional")


class Step(NamedTuple):
    """`order` to send; without one the residual is dust (no refusals) or must be held, for the reasons in `refusals`."""

    order: OrderPlan | None
    refusals: tuple[Refusal, ...] = ()


def flat_assets(bundle: Bundle, market: Market) -> tuple[str, ...]:
    """The assets that must end at zero, the traded base first: all of the legs' but the profit's."""
    assets: list[str] = []
    for leg in bundle.legs:
        assets.append(market.instrument(leg.instrument).base)
    for leg in bundle.legs:
        assets.append(market.instrument(leg.instrument).quote)
    return tuple(asset for asset in dict.fromkeys(assets) if asset != bundle.profit_asset)


class Flattening:
    """Chooses the next order for a residual."""

    def __init__(self, market: Market, portfolio: Portfolio, risk: Risk) -> None:
        self._market = market
        self._portfolio = portfolio
        self._risk = risk

    def next_step(self, bundle: Bundle, asset: str) -> Step:
        """The next order for the bundle's residual of `asset`."""
        policy = self._risk.terms(bundle.strategy).execution
        residual = bundle.flows[asset]
        refusals: list[Refusal] = []
        tries: list[tuple[str, int, int, int]] = []  # purpose, leg, sign, cap
        for at, leg in enumerate(bundle.legs):
            sign = self._sign_for(leg, asset, residual, bundle)
            if sign != 0:
                completes = sign == leg.sign
                cap = policy.hedge_cap_ppb if completes else policy.unwind_cap_ppb
                tries.append(("hedge" if completes else "unwind", at, sign, cap))
        tries.sort()
        attempt = bundle.attempts.get(asset, 0) + 1
        for purpose, at, sign, most in tries:
            found = self._try(bundle, bundle.legs[at], (asset, residual), (sign, most))
            if isinstance(found, Refusal):
                if found.reason not in _TOO_SMALL:
                    refusals.append(found)
            elif attempt > policy.max_attempts:
                return Step(None, (Refusal("max_attempts", bundle.legs[at].instrument),))
            else:
                price, qty = found
                return Step(OrderPlan(at, attempt, purpose, bundle.legs[at].instrument, sign, price, qty))
        return Step(None, tuple(refusals))

    def _sign_for(self, leg: Leg, asset: str, residual: int, bundle: Bundle) -> int:
        """+1 or -1 when an order on the leg's instrument shrinks the residual, 0 when it does not trade the asset as it should."""
        instrument = self._market.instrument(leg.instrument)
        if instrument.base == asset:
            return -1 if residual > 0 else 1
        converts = instrument.base != self._market.instrument(bundle.legs[0].instrument).base
        if converts and instrument.quote == asset:
            return 1 if residual > 0 else -1
        return 0

    def _try(self, bundle: Bundle, leg: Leg, left: tuple[str, int], how: tuple[int, int]) -> tuple[int, int] | Refusal:
        """Price and quantity of an order, or why there is none."""
        asset, residual = left
        sign, cap = how
        number = leg.instrument
        instrument = self._market.instrument(number)
        because = instrument.untradable_because()
        if because is not None:
            return Refusal(because, number)
        price = capped_price(instrument, leg.price, sign, cap)
        qty = self._qty_for(bundle.account, number, (asset, abs(residual)), (sign, price))
        small = check_steps(instrument, number, price, qty)
        if small is not None:
            return small
        if not self._market.feed(number).tradable:
            return Refusal("feed_not_tradable", number)
        best = self._market.best(number)
        shown = best.ask if sign > 0 else best.bid
        unit = 10 ** (MONEY_SCALE - instrument.px_scale)
        if shown is None or (shown > price if sign > 0 else shown < price):
            name = "hedge_cap" if sign == leg.sign else "unwind_cap"
            return Refusal(name, number, None if shown is None else shown * unit, price * unit)
        return self._affordable(bundle, number, sign, (price, qty))

    def _affordable(self, bundle: Bundle, number: int, sign: int, order: tuple[int, int]) -> tuple[int, int] | Refusal:
        """The order cut down to what the account and the strategy's budget can pay for."""
        price, qty = order
        instrument = self._market.instrument(number)
        lot = instrument.lot_int or 1
        hold = self._risk.hold(bundle.account, number, sign, order)
        if hold is None:
            return Refusal("fee_rate_unknown", number)
        short: Refusal | None = None
        for place, amount in hold:
            budget = self._portfolio.free_of_budget(bundle.strategy, place[2])
            for reason, free in (("balance", self._portfolio.free_of_account(place)), ("budget", budget)):
                if free is not None and amount > free:
                    qty = min(qty, max(0, order[1] * free // amount // lot * lot))  # a fee's last digit may be rounded up
                    short = Refusal(reason, number, amount, free)
        if short is not None and check_steps(instrument, number, price, qty) is not None:
            return short
        return price, qty

    def _qty_for(self, account: str, number: int, left: tuple[str, int], how: tuple[int, int]) -> int:
        """The quantity that turns an amount of an asset over without going too far, fees included, rounded down to the lot."""
        asset, amount = left
        sign, price = how
        instrument = self._market.instrument(number)
        lot = instrument.lot_int or 1
        taken = (asset == instrument.base) == (sign < 0)  # the order gives the asset away: its fee comes on top
        fee = self._risk.fee_in(account, number, sign, asset)
        amount = amount * PPB // (PPB + fee) if taken else amount * PPB // (PPB - fee)
        if asset == instrument.base:
            return amount // qty_money(instrument, 1) // lot * lot
        unit = 10 ** (MONEY_SCALE - instrument.px_scale - instrument.qty_scale)
        return amount // (price * unit) // lot * lot if price > 0 else 0


def capped_price(instrument: Instrument, reference: int, sign: int, cap_ppb: int) -> int:
    """The worst price allowed: `cap_ppb` beyond `reference` for an order of that sign, rounded to the tick within the cap."""
    tick = instrument.tick_int or 1
    if sign > 0:
        return reference * (PPB + cap_ppb) // PPB // tick * tick
    return ceil_div(ceil_div(reference * (PPB - cap_ppb), PPB), tick) * tick
