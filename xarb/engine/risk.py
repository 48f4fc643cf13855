"""Risk: the last step before a command becomes an output. It fails closed, with a named reason, the value and the bound."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Final

from xarb.engine.amounts import fee_asset, notional_money, qty_money
from xarb.engine.bundle import Hold, instruments_of
from xarb.engine.portfolio import Place, Portfolio
from xarb.engine.rules import Market, Refusal, check_steps
from xarb.engine.setup import Setup
from xarb.engine.shape import Shape
from xarb.engine.strategy import BundlePlan, LegPlan, Strategy
from xarb.engine.terms import StrategyTerms
from xarb.errors import ConfigError
from xarb.model.units import MONEY_ONE, MONEY_SCALE, NANOS_PER_S, PPB, ceil_div

_DAY_NS: Final = 86_400 * NANOS_PER_S
_NANO: Final = 10 ** (MONEY_SCALE - 9)  # one ns as money of seconds


class Risk:
    """Approves bundles and keeps count of what limits need: volume of the day, orders of the last second, cool-downs.

    Raises:
        ConfigError: a strategy has no terms, or they name an asset that nothing in the setup trades.
    """

    def __init__(self, market: Market, portfolio: Portfolio, setup: Setup, strategies: list[Strategy]) -> None:
        self._market = market
        self._portfolio = portfolio
        self._fees = setup.fees
        self._rates = setup.rates
        self._coin_margin_ppb = setup.coin_margin_ppb
        self._terms: dict[str, StrategyTerms] = {}
        for strategy in strategies:
            if strategy.id not in setup.terms:
                raise ConfigError(f"strategy {strategy.id} has no terms")
            self._terms[strategy.id] = setup.terms[strategy.id]
            _check_assets(strategy.id, setup)
        self._instrument_count = len(setup.instruments)
        self._shape = Shape(market, setup, strategies)
        self._volume: dict[tuple[str, str], tuple[int, int]] = {}  # day, notional sent
        self._sent: dict[str, deque[int]] = {s.id: deque() for s in strategies}
        self._cool: dict[tuple[str, tuple[int, ...]], int] = {}

    def terms(self, strategy: str) -> StrategyTerms:
        """Terms of a strategy."""
        return self._terms[strategy]

    # --- approval

    def check(
        self, plan: BundlePlan, strategy: Strategy, open_bundles: int, exposed: Mapping[str, tuple[int, int]]
    ) -> Refusal | None:
        """The first rule that the bundle breaks, None when it may be sent.

        `exposed` is the strategy's exposure (least, most) in the assets that `max_exposure` names.
        """
        if len(plan.legs) < 2:
            return Refusal("too_few_legs", -1, len(plan.legs) * MONEY_ONE, 2 * MONEY_ONE)
        if plan.sequence not in ("simultaneous", "hard_leg_first"):
            return Refusal("sequence_unknown")
        for leg in plan.legs:
            refusal = self._check_leg(leg, strategy)
            if refusal is not None:
                return refusal
        return (
            self._shape.check(plan, strategy)
            or self._check_limits(plan, strategy, open_bundles)
            or self._check_exposure(plan, strategy, exposed)
            or self._check_money(plan, strategy)
        )

    def _check_leg(self, leg: LegPlan, strategy: Strategy) -> Refusal | None:
        number = leg.instrument
        if not 0 <= number < self._instrument_count:
            return Refusal("instrument_unknown")
        if leg.side not in ("buy", "sell"):
            return Refusal("side_unknown", number)
        instrument = self._market.instrument(number)
        because = instrument.untradable_because()
        if because is not None:
            return Refusal(because, number)
        refusal = check_steps(instrument, number, leg.price_int, leg.qty_int)
        if refusal is not None:
            return refusal
        if (strategy.account, number) not in self._fees:
            return Refusal("fee_unknown", number)
        if not self._market.feed(number).tradable:
            return Refusal("feed_not_tradable", number)
        age = self._market.now - self._market.best(number).ts
        limit = self._terms[strategy.id].limits.latency_threshold_ns
        if age > limit:
            return Refusal("stale_quote", number, age * _NANO, limit * _NANO)
        return None

    def _check_limits(self, plan: BundlePlan, strategy: Strategy, open_bundles: int) -> Refusal | None:
        limits = self._terms[strategy.id].limits
        now = self._market.now
        if open_bundles >= limits.max_open_bundles:
            return Refusal("max_open_bundles", -1, (open_bundles + 1) * MONEY_ONE, limits.max_open_bundles * MONEY_ONE)
        until = self._cool.get((strategy.id, instruments_of(plan)), now)
        if until > now:
            return Refusal("cool_down", plan.legs[0].instrument, (until - now) * _NANO, 0)
        volumes: dict[str, int] = {}
        for leg in plan.legs:
            instrument = self._market.instrument(leg.instrument)
            value = notional_money(instrument, leg.price_int, leg.qty_int)
            if limits.max_notional is not None and value > limits.max_notional:
                return Refusal("max_notional", leg.instrument, value, limits.max_notional)
            volumes[instrument.quote] = volumes.get(instrument.quote, 0) + value
        if limits.daily_volume is not None:
            for asset, value in volumes.items():
                after = self.volume_today(strategy.id, asset) + value
                if after > limits.daily_volume:
                    return Refusal("daily_volume", plan.legs[0].instrument, after, limits.daily_volume)
        if limits.orders_per_second is not None:
            count = self._sent_in_window(strategy.id) + len(plan.legs)
            if count > limits.orders_per_second:
                return Refusal("orders_per_second", -1, count * MONEY_ONE, limits.orders_per_second * MONEY_ONE)
        return None

    def _check_exposure(self, plan: BundlePlan, strategy: Strategy, exposed: Mapping[str, tuple[int, int]]) -> Refusal | None:
        """Whatever part of all legs fills, and of those before it, the strategy stays within its bound of an asset, long and short."""
        for asset, bound in self._terms[strategy.id].limits.max_exposure.items():
            low, high = exposed[asset]
            number = -1
            for leg in plan.legs:
                sign = 1 if leg.side == "buy" else -1
                down, up = self.swing(leg.instrument, sign, (leg.price_int, leg.qty_int), asset)
                low, high = low - down, high + up
                number = leg.instrument if down or up else number
            if number >= 0 and (high > bound or low < -bound):
                return Refusal("max_exposure", number, high if high > bound else low, bound if high > bound else -bound)
        return None

    def _check_money(self, plan: BundlePlan, strategy: Strategy) -> Refusal | None:
        wanted: dict[Place, int] = {}
        takes: dict[Place, int] = {}  # the first leg that draws on a place
        for leg in plan.legs:
            hold = self.hold(strategy.account, leg.instrument, 1 if leg.side == "buy" else -1, (leg.price_int, leg.qty_int))
            if hold is None:
                return Refusal("fee_rate_unknown", leg.instrument)
            for place, amount in hold:
                wanted[place] = wanted.get(place, 0) + amount
                takes.setdefault(place, leg.instrument)
        of_asset: dict[str, int] = {}
        for place, amount in wanted.items():
            free = self._portfolio.free_of_account(place)
            if amount > free:
                return Refusal("balance", takes[place], amount, free)
            of_asset[place[2]] = of_asset.get(place[2], 0) + amount
        for asset, amount in of_asset.items():
            left = self._portfolio.free_of_budget(strategy.id, asset)
            if left is not None and amount > left:
                return Refusal("budget", -1, amount, left)
        return None

    # --- what an order may take

    def hold(self, account: str, number: int, sign: int, order: tuple[int, int]) -> Hold | None:
        """The most that an order (price, quantity) may take from the account, by place; None when its fee coin has no price.

        Each fill rounds its fee up by less than 1e-18, which is not reserved. A coin's price may move until the match: its bid counts
        less `Setup.coin_margin_ppb`. A sale's fee in a coin is reckoned at the best bid, where that is above the limit.
        """
        instrument = self._market.instrument(number)
        fee = self._fees[account, number]
        price, qty_int = order
        venue = instrument.venue
        value = notional_money(instrument, price, qty_int)
        qty = qty_money(instrument, qty_int)
        coin = fee_asset(instrument, fee, sign)
        rate = max(fee.taker_ppb, fee.maker_ppb, 0)
        taken = instrument.quote if sign > 0 else instrument.base
        amount = value if sign > 0 else qty
        if coin == taken:
            return [((account, venue, taken), amount + ceil_div(amount * rate, PPB))]
        main = ((account, venue, taken), amount)
        if coin in (instrument.base, instrument.quote) or rate == 0:
            return [main]  # the fee comes out of what the order receives
        priced = self._rates.get((venue, coin, instrument.quote))
        if priced is None:
            return None
        bid = self._market.best(priced).bid
        if bid is None:
            return None
        if sign < 0:
            value = max(value, notional_money(instrument, self._market.best(number).bid or price, qty_int))
        unit = 10 ** self._market.instrument(priced).px_scale
        return [main, ((account, venue, coin), ceil_div(value * rate * unit, bid * (PPB - self._coin_margin_ppb)))]

    def fee_in(self, account: str, number: int, sign: int, asset: str) -> int:
        """The taker fee of an order in ppb where it is charged in `asset`, else 0."""
        fee = self._fees[account, number]
        return fee.taker_ppb if fee_asset(self._market.instrument(number), fee, sign) == asset else 0

    def swing(self, number: int, sign: int, order: tuple[int, int], asset: str) -> tuple[int, int]:
        """By how much an order (price, quantity) may lessen and raise an asset; both are zero for one that it does not trade."""
        instrument = self._market.instrument(number)
        price, qty = order
        if asset == instrument.base:
            amount = qty_money(instrument, qty)
        elif asset == instrument.quote:
            if sign < 0:
                price = max(price, self._market.best(number).bid or price)
            amount, sign = notional_money(instrument, price, qty), -sign
        else:
            return 0, 0
        return (0, amount) if sign > 0 else (amount, 0)

    # --- counts

    def volume_today(self, strategy: str, asset: str) -> int:
        """Notional sent in the present UTC day, in one quote currency."""
        day, amount = self._volume.get((strategy, asset), (0, 0))
        return amount if day == self._market.now // _DAY_NS else 0

    def count_volume(self, strategy: str, asset: str, value: int) -> None:
        """A notional counts towards the day."""
        self._volume[strategy, asset] = (self._market.now // _DAY_NS, self.volume_today(strategy, asset) + value)

    def count_order(self, strategy: str) -> None:
        """An order was sent."""
        if self._terms[strategy].limits.orders_per_second is not None:
            self._sent[strategy].append(self._market.now)

    def _sent_in_window(self, strategy: str) -> int:
        sent = self._sent[strategy]
        while sent and sent[0] <= self._market.now - NANOS_PER_S:
            sent.popleft()
        return len(sent)

    def cool(self, strategy: str, instruments: tuple[int, ...]) -> int | None:
        """A bundle closed: its instruments rest until the returned time, None where no cool-down is set."""
        pause = self._terms[strategy].limits.cool_down_ns
        if pause <= 0:
            return None
        until = self._market.now + pause
        self._cool[strategy, instruments] = until
        return until


def _check_assets(strategy: str, setup: Setup) -> None:
    """A limit on an asset that does not exist would hold nobody to anything."""
    terms = setup.terms[strategy]
    known = {asset for one in setup.instruments for asset in (one.base, one.quote)} | {tier.asset for tier in setup.fees.values()}
    for name, assets in (("budget", terms.budget), ("max_exposure", terms.limits.max_exposure)):
        for asset in assets:
            if asset not in known:
                raise ConfigError(f"strategy {strategy}: {name} names {asset}, which no instrument trades and no fee is paid in")
