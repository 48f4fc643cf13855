"""Risk: the last step before a command becomes an output. It fails closed, with a named reason, the value and the bound."""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple, Protocol

from xarb.engine.bundle import Hold, instruments_of
from xarb.engine.portfolio import Place, Portfolio
from xarb.engine.setup import Setup
from xarb.engine.strategy import BestQuote, BundlePlan, FeedView, LegPlan, Strategy
from xarb.engine.terms import StrategyTerms
from xarb.errors import ConfigError
from xarb.model.instrument import FeeTier, Instrument
from xarb.model.units import MONEY_ONE, MONEY_SCALE, NANOS_PER_S, PPB, ceil_div

_DAY_NS: Final = 86_400 * NANOS_PER_S
_NANO: Final = 10 ** (MONEY_SCALE - 9)  # one ns as money of seconds
_CONVERT_TOLERANCE: Final = 100  # a conversion leg may miss what it converts by a hundredth, for fees on either side
_COIN_MARGIN_PPB: Final = 10_000_000  # a fee coin is reserved at a bid 1 % below the present one: it may fall until the match


class Market(Protocol):
    """What risk and execution look at; everything is as of now."""

    @property
    def now(self) -> int:
        """Engine time, ns."""

    def instrument(self, number: int) -> Instrument:
        """The instrument as it is known now."""

    def best(self, number: int) -> BestQuote:
        """Best quote."""

    def feed(self, number: int) -> FeedView:
        """State of its feed."""


class Refusal(NamedTuple):
    """Why something is not sent: value and bound as money where the rule has them, times in seconds."""

    reason: str
    instrument: int = -1
    value: int | None = None
    bound: int | None = None


class Risk:
    """Approves bundles and keeps count of what limits need: volume of the day, orders of the last second, cool-downs.

    Raises:
        ConfigError: a strategy has no terms.
    """

    def __init__(self, market: Market, portfolio: Portfolio, setup: Setup, strategies: list[Strategy]) -> None:
        self._market = market
        self._portfolio = portfolio
        self._fees = setup.fees
        self._rates = setup.rates
        self._terms: dict[str, StrategyTerms] = {}
        for strategy in strategies:
            if strategy.id not in setup.terms:
                raise ConfigError(f"strategy {strategy.id} has no terms")
            self._terms[strategy.id] = setup.terms[strategy.id]
        self._instrument_count = len(setup.instruments)
        self._group_of = {number: at for at, group in enumerate(setup.groups) for number in group}
        self._pairs = {
            (s.id, pair.sell, pair.buy): -2 if pair.premium else pair.convert for s in strategies for pair in s.wakes().pairs
        }
        self._volume: dict[tuple[str, str], tuple[int, int]] = {}  # day, notional sent
        self._sent: dict[str, deque[int]] = {s.id: deque() for s in strategies}
        self._cool: dict[tuple[str, tuple[int, ...]], int] = {}

    def terms(self, strategy: str) -> StrategyTerms:
        """Terms of a strategy."""
        return self._terms[strategy]

    # --- approval

    def check(self, plan: BundlePlan, strategy: Strategy, open_bundles: int) -> Refusal | None:
        """The first rule that the bundle breaks, None when it may be sent."""
        if len(plan.legs) < 2:
            return Refusal("too_few_legs", -1, len(plan.legs) * MONEY_ONE, 2 * MONEY_ONE)
        if plan.sequence not in ("simultaneous", "hard_leg_first"):
            return Refusal("sequence_unknown")
        for leg in plan.legs:
            refusal = self._check_leg(leg, strategy)
            if refusal is not None:
                return refusal
        return (
            self._check_shape(plan, strategy)
            or self._check_limits(plan, strategy, open_bundles)
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

    def _check_shape(self, plan: BundlePlan, strategy: Strategy) -> Refusal | None:
        """The legs must be proven the same thing, balance, and meet in one currency."""
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
        step = max(lot_money(self._market.instrument(leg.instrument)) for leg in main)
        gross = sum(
            (1 if leg.side == "buy" else -1) * qty_money(self._market.instrument(leg.instrument), leg.qty_int) for leg in main
        )
        if gross != 0 and not 0 <= flows[base] < step:
            return Refusal("unbalanced", plan.legs[0].instrument, flows[base], step)
        return self._check_currencies(plan, flows, others, base)

    def _check_proof(self, strategy: str, sell: int, buy: int, others: list[LegPlan]) -> Refusal | None:
        group = self._group_of.get(sell)
        if group is not None and group == self._group_of.get(buy):
            return None
        convert = self._pairs.get((strategy, sell, buy))
        if convert is None:
            return Refusal("identity_unproven", buy)
        if convert == -2:
            return Refusal("premium", buy)
        if self._market.instrument(sell).quote != self._market.instrument(buy).quote and all(
            leg.instrument != convert for leg in others
        ):
            return Refusal("mixed_currency", buy)
        return None

    def _check_currencies(self, plan: BundlePlan, flows: dict[str, int], others: list[LegPlan], base: str) -> Refusal | None:
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
        qty = qty_money(instrument, leg.qty_int)
        sign = 1 if leg.side == "buy" else -1
        flat = next(asset for asset in quotes if asset != plan.profit_asset)
        if flat == instrument.base:
            change, room = sign * qty, lot_money(instrument)
        else:
            change = -sign * notional_money(instrument, leg.price_int, leg.qty_int)
            room = notional_money(instrument, leg.price_int, instrument.lot_int or 1)
        left = flows[flat] + change
        bound = room + abs(flows[flat]) // _CONVERT_TOLERANCE
        return Refusal("unbalanced", leg.instrument, left, bound) if abs(left) > bound else None

    def _flows(self, legs: list[LegPlan], account: str) -> dict[str, int]:
        """What the legs change by asset when they fill at their limits; only a fee in base or quote is counted."""
        flows: dict[str, int] = {}
        for leg in legs:
            instrument = self._market.instrument(leg.instrument)
            fee = self._fees[account, leg.instrument]
            sign = 1 if leg.side == "buy" else -1
            qty = qty_money(instrument, leg.qty_int)
            value = notional_money(instrument, leg.price_int, leg.qty_int)
            flows[instrument.base] = flows.get(instrument.base, 0) + sign * qty
            flows[instrument.quote] = flows.get(instrument.quote, 0) - sign * value
            coin = fee_asset(instrument, fee, sign)
            if coin == instrument.base:
                flows[coin] -= ceil_div(qty * fee.taker_ppb, PPB)
            elif coin == instrument.quote:
                flows[coin] -= ceil_div(value * fee.taker_ppb, PPB)
        return flows

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

    def _check_money(self, plan: BundlePlan, strategy: Strategy) -> Refusal | None:
        wanted: dict[Place, int] = {}
        for leg in plan.legs:
            hold = self.hold(strategy.account, leg.instrument, 1 if leg.side == "buy" else -1, (leg.price_int, leg.qty_int))
            if hold is None:
                return Refusal("fee_rate_unknown", leg.instrument)
            for place, amount in hold:
                wanted[place] = wanted.get(place, 0) + amount
        of_asset: dict[str, int] = {}
        for place, amount in wanted.items():
            free = self._portfolio.free_of_account(place)
            if amount > free:
                number = next(leg.instrument for leg in plan.legs if self._market.instrument(leg.instrument).venue == place[1])
                return Refusal("balance", number, amount, free)
            of_asset[place[2]] = of_asset.get(place[2], 0) + amount
        for asset, amount in of_asset.items():
            left = self._portfolio.free_of_budget(strategy.id, asset)
            if left is not None and amount > left:
                return Refusal("budget", -1, amount, left)
        return None

    # --- what an order may take

    def hold(self, account: str, number: int, sign: int, order: tuple[int, int]) -> Hold | None:
        """The most that an order (price, quantity) may take from the account, by place; None when its fee coin has no price."""
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
        unit = 10 ** self._market.instrument(priced).px_scale
        return [main, ((account, venue, coin), ceil_div(value * rate * unit, bid * (PPB - _COIN_MARGIN_PPB)))]

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


def check_steps(instrument: Instrument, number: int, price: int, qty: int) -> Refusal | None:
    """Whether price and quantity keep to tick, lot, least quantity and least notional; the instrument is tradable."""
    if price <= 0:
        return Refusal("bad_price", number)
    if qty <= 0:
        return Refusal("bad_qty", number)
    assert instrument.tick_int is not None
    assert instrument.lot_int is not None
    if price % instrument.tick_int:
        unit = 10 ** (MONEY_SCALE - instrument.px_scale)
        return Refusal("tick", number, price * unit, instrument.tick_int * unit)
    if qty % instrument.lot_int:
        return Refusal("lot", number, qty_money(instrument, qty), lot_money(instrument))
    if instrument.min_qty is not None and qty_money(instrument, qty) < instrument.min_qty:
        return Refusal("min_qty", number, qty_money(instrument, qty), instrument.min_qty)
    if instrument.min_notional is not None and notional_money(instrument, price, qty) < instrument.min_notional:
        return Refusal("min_notional", number, notional_money(instrument, price, qty), instrument.min_notional)
    return None


def qty_money(instrument: Instrument, qty: int) -> int:
    """A quantity at 18 decimals."""
    return int(qty * 10 ** (MONEY_SCALE - instrument.qty_scale))


def lot_money(instrument: Instrument) -> int:
    """The lot at 18 decimals."""
    return qty_money(instrument, instrument.lot_int or 1)


def notional_money(instrument: Instrument, price: int, qty: int) -> int:
    """Price times quantity at 18 decimals; the instrument's scales add up to 18 at most."""
    return int(price * qty * 10 ** (MONEY_SCALE - instrument.px_scale - instrument.qty_scale))


def fee_asset(instrument: Instrument, fee: FeeTier, sign: int) -> str:
    """The asset in which a fill's fee is charged; `sign` +1 for a buy."""
    if fee.asset == "quote" or (fee.asset == "received" and sign < 0):
        return instrument.quote
    if fee.asset in ("base", "received"):
        return instrument.base
    return fee.asset


__all__ = [
    "Market",
    "Refusal",
    "Risk",
    "check_steps",
    "fee_asset",
    "lot_money",
    "notional_money",
    "qty_money",
]
