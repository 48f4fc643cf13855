"""Risk: the last step before a command becomes an output. It fails closed, with a named reason, the value and the bound."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from xarb.engine.band import Band
from xarb.engine.breaker import Breakers, Key
from xarb.engine.bundle import Leg, Order
from xarb.engine.captured import RiskCopy
from xarb.engine.desk import Desk
from xarb.engine.feechange import Fees
from xarb.engine.outputs import Outputs
from xarb.engine.portfolio import Hold, Portfolio, Till
from xarb.engine.results import LOSS, Pricing, Results, currencies_of
from xarb.engine.rules import Market, Refusal
from xarb.engine.setup import Setup
from xarb.engine.shape import Form, Shape
from xarb.engine.side import SIGNS, Side
from xarb.engine.strategy import BundlePlan, LegPlan, Strategy
from xarb.engine.volumes import Planned, where_of
from xarb.engine.wallets import Wallets
from xarb.engine.worst import Worst
from xarb.errors import ConfigError
from xarb.model.units import MONEY_ONE, MONEY_SCALE, PPB, ceil_div, format_decimal

_NANO: Final = 10 ** (MONEY_SCALE - 9)  # one ns as money of seconds
Way = tuple[Side, tuple[int, int]]  # something that may still fill: price and quantity
Working = Callable[[Desk], list[Way]]  # all of that of a strategy


class Risk:
    """Approves bundles; `desks` are the strategies at work, by id. While not `armed` it approves none; `wallets` is told what they can move.

    `unknown` counts the orders of unknown fate by account and instrument: none of any strategy begins beside one.
    `loss` says whose loss killed trading, and which limit that broke; None while none did.

    Args:
        market: what is known of instruments and quotes now.
        portfolio: whose money orders take.
        setup: fees, terms and what prices fee coins.
        strategies: whose bundles are checked.
        outputs: where the rows of breakers go.

    Raises:
        ConfigError: a strategy has no terms, or they name an asset that nothing in the setup trades.
    """

    def __init__(self, market: Market, portfolio: Portfolio, setup: Setup, strategies: list[Strategy], *, outputs: Outputs) -> None:
        self._market, self._portfolio = market, portfolio
        self.armed = setup.armed
        self.unknown: dict[tuple[str, int], int] = {}
        self.loss: str | None = None
        self.wallets = Wallets(setup.not_transferable_anyway)
        self.fees = Fees(setup.fees, setup.instruments)
        self._rates = setup.rates
        self._coin_margin_ppb = setup.coin_margin_ppb
        self.desks: dict[str, Desk] = {}
        self.pricing = pricing = Pricing(market, setup.instruments, wrapped_as(setup))
        for strategy in strategies:
            if strategy.id not in setup.terms:
                raise ConfigError(f"strategy {strategy.id} has no terms")
            _check_assets(strategy.id, setup)
            terms, results = setup.terms[strategy.id], None
            if currencies_of(terms.limits):
                who = (strategy.account, strategy.id)
                results = Results(who, terms.limits, setup.results, pricing=pricing, portfolio=portfolio, market=market)
            desk = Desk(strategy, terms, market=market, portfolio=portfolio, fees=setup.fees, results=results)
            desk.volumes.carry(setup.volumes)
            if setup.counts_all:
                desk.count_all()
            desk.allowed = _allowed(strategy, setup)
            self.desks[strategy.id] = desk
        self.worst = Worst(pricing, self.hold)
        self._instrument_count = len(setup.instruments)
        self._band = Band(market, setup.groups)
        self._coins = coins_of(setup)
        self._names: dict[str, list[str]] = {coin: [coin] for coin in self._coins.values()}  # of a coin: its own, and its tokens
        for token, coin in self._coins.items():
            self._names[coin].append(token)
        self._shape = Shape(market, setup, strategies)
        feeds = _feeds(self.desks.values(), setup)
        self.breakers = Breakers(market, setup.breakers, feeds, opening=setup.broken, emit=outputs.emit)

    def follow(self, number: int) -> None:
        """Something new is known of an instrument."""
        self._shape.forget()
        for desk in self.desks.values():
            desk.follow(number)

    def capture(self) -> RiskCopy:
        """Arming, desks, wallets and breakers as plain values."""
        desks = {name: desk.capture() for name, desk in self.desks.items()}
        return RiskCopy(self.armed, desks, self.wallets.capture(), self.breakers.capture(), self.loss, self.fees.capture())

    def restore(self, copy: RiskCopy) -> None:
        """Take over a copy."""
        self.armed, self.loss = copy.armed, copy.loss
        self.wallets.restore(copy.wallets)
        self.fees.restore(copy.fees)
        self.breakers.restore(copy.breakers)
        for name, desk in copy.desks.items():
            self.desks[name].restore(desk)

    # --- approval

    @property
    def stands(self) -> Refusal:
        """Why nothing begins while it is not armed."""
        return Refusal("disarmed" if self.loss is None else LOSS)

    def weigh(self, desk: Desk) -> Refusal | None:
        """Disarm for good where a strategy has just lost more than it may, unless its limits are to refuse only: the loss and its bound."""
        crossed = None if desk.results is None or desk.limits.on_loss == "refuse" else desk.results.crossed()
        return None if crossed is None else self.end(desk, crossed)

    def end(self, desk: Desk, crossed: Refusal) -> Refusal | None:
        """Disarm for good, for a limit that a strategy broke; None where one had done so before."""
        if self.loss is not None:
            return None
        assert crossed.value is not None, "limits of loss have numbers"
        assert crossed.bound is not None, "limits of loss have numbers"
        lost, bound = (format_decimal(one, MONEY_SCALE) for one in (crossed.value, crossed.bound))
        self.loss = f"{desk.strategy} is beyond its {crossed.reason}: {lost}, allowed are {bound}"
        self.armed = False
        return crossed._replace(reason=LOSS)

    def approve(self, plan: BundlePlan, desk: Desk, working: Working) -> tuple[list[Leg], Form] | Refusal:
        """The legs as they may be sent, with what each may take, and their form; or the first rule that the bundle breaks."""
        if not self.armed:
            return self.stands
        if len(plan.legs) < 2:
            return Refusal("too_few_legs", -1, len(plan.legs) * MONEY_ONE, 2 * MONEY_ONE)
        if plan.sequence not in ("simultaneous", "hard_leg_first"):
            return Refusal("sequence_unknown")
        now = self._market.now
        legs: list[Leg] = []
        for planned in plan.legs:
            leg = self.leg(planned, desk, now)
            if isinstance(leg, Refusal):
                return leg
            legs.append(leg)
        form = self._shape.form(legs, plan.profit_asset)
        refusal = (
            self._shape.check(legs, form)
            or self.breakers.check(legs)
            or self.check_limits(desk, [Planned(where_of(leg.side), leg.instrument, leg.value) for leg in legs], form.instruments)
            or self.check_open(legs, desk, working)
            or self.check_band(legs, desk)
            or self._check_money(legs, desk)
            or self.check_fate(legs, desk)
            or self.worst.check(legs, desk)
        )
        return (legs, form) if refusal is None else refusal

    def leg(self, planned: LegPlan, desk: Desk, now: int) -> Leg | Refusal:
        """A leg as it may be sent, as far as that does not depend on others."""
        number = planned.instrument
        if not 0 <= number < self._instrument_count:
            return Refusal("instrument_unknown")
        sign = SIGNS.get(planned.side)
        if sign is None:
            return Refusal("side_unknown", number)
        if number not in desk.allowed:
            return Refusal("not_allowed", number)
        side = desk.side(number, sign)
        refusal = side.untradable or side.check_steps(planned.price_int, planned.qty_int)
        if refusal is not None:
            return refusal
        if side.fee is None:
            return Refusal("fee_unknown", number)
        if (changed := self.fees.check(desk.account, number)) is not None:
            return changed
        venue = side.instrument.venue
        if self.wallets.is_closed(venue, side.base) or self.wallets.is_closed(venue, side.quote):
            return Refusal("not_transferable", number)
        confirmed, limit = self._market.confirmed(number), desk.limits.latency_threshold_ns
        if confirmed is None:
            return Refusal("feed_not_tradable", number)
        if now - confirmed > limit:
            return Refusal("stale_quote", number, (now - confirmed) * _NANO, limit * _NANO)
        return Leg(side, planned.price_int, planned.qty_int)

    def moved(self, order: Order, before: str, after: str) -> None:
        """An order's state is another."""
        self.breakers.moved(order, before, after)
        if "unknown" in (before, after):
            self.count_unknown(order, 1 if after == "unknown" else -1)

    def count_unknown(self, order: Order, more: int) -> None:
        """An order is of unknown fate from here on, or no longer."""
        key = (order.bundle.desk.account, order.side.number)
        self.unknown[key] = self.unknown.get(key, 0) + more

    def check_band(self, legs: list[Leg], desk: Desk) -> Refusal | None:
        """No leg's price lies too far from the median of all live venues' mids."""
        return self._band.check(legs, desk.limits.price_band_ppb) if desk.limits.price_band_ppb else None

    def check_fate(self, legs: list[Leg], desk: Desk) -> Refusal | None:
        """What became of each earlier order on the instrument is known."""
        for leg in legs:
            count = self.unknown.get((desk.account, leg.instrument), 0)
            if count:
                return Refusal("order_unknown", leg.instrument, count * MONEY_ONE, 0)
        return None

    def check_limits(self, desk: Desk, planned: Sequence[Planned], instruments: tuple[int, ...]) -> Refusal | None:
        """The first limit that a bundle breaks by what it sends and when; `instruments` are what a cool-down is of."""
        limits = desk.limits
        if desk.open_bundles >= limits.max_open_bundles:
            return Refusal("max_open_bundles", -1, (desk.open_bundles + 1) * MONEY_ONE, limits.max_open_bundles * MONEY_ONE)
        refusal = None if desk.results is None else desk.results.check()
        if refusal is not None:
            return refusal
        now = self._market.now
        until = desk.cool_until.get(instruments, now)
        if until > now:
            return Refusal("cool_down", planned[0].instrument, (until - now) * _NANO, 0)
        if limits.max_notional is not None:
            for one in planned:
                if one.value > limits.max_notional:
                    return Refusal("max_notional", one.instrument, one.value, limits.max_notional)
        refusal = desk.volumes.check(planned)
        if refusal is not None:
            return refusal
        if limits.orders_per_second is not None:
            count = desk.orders_in_last_second() + len(planned)
            if count > limits.orders_per_second:
                return Refusal("orders_per_second", -1, count * MONEY_ONE, limits.orders_per_second * MONEY_ONE)
        if limits.bundles_per_minute is not None:
            count = desk.bundles_in_last_minute() + 1
            if count > limits.bundles_per_minute:
                return Refusal("bundles_per_minute", -1, count * MONEY_ONE, limits.bundles_per_minute * MONEY_ONE)
        return None

    def exposure(self, desk: Desk, asset: str, ways: list[Way]) -> tuple[int, int]:
        """The least and the most of an asset that a strategy may come to, if whatever part of `ways` fills; tokens count as their coins."""
        asset = self._coins.get(asset, asset)
        low = high = sum(self._portfolio.flow(desk.strategy, one) for one in self._names.get(asset, (asset,)))
        for side, order in ways:
            down, up = self.swing(side, order, asset)
            low, high = low - down, high + up
        return low, high

    def check_open(self, legs: list[Leg], desk: Desk, working: Working) -> Refusal | None:
        """Whatever fills of all that may: what it comes to of an asset, and how much that is on a symbol and a venue."""
        limits = desk.limits
        if not limits.max_exposure and limits.max_symbol_open is None and limits.max_venue_open is None:
            return None
        ways = working(desk)
        return self.check_exposure(legs, desk, ways) or _check_notional(legs, desk, ways)

    def check_exposure(self, legs: list[Leg], desk: Desk, ways: list[Way]) -> Refusal | None:
        """Whatever part of all legs fills, and of those before it, the strategy stays within its bound of an asset, long and short."""
        for name, bound in desk.limits.max_exposure.items():
            asset = self._coins.get(name, name)
            low, high = self.exposure(desk, asset, ways)
            number = -1
            for leg in legs:
                down, up = self.swing(leg.side, (leg.price, leg.qty), asset)
                low, high = low - down, high + up
                number = leg.instrument if down or up else number
            if number >= 0 and (high > bound or low < -bound):
                return Refusal("max_exposure", number, high if high > bound else low, bound if high > bound else -bound)
        return None

    def within_exposure(self, desk: Desk, order: tuple[Side, int, int], ways: list[Way]) -> tuple[int, Refusal | None]:
        """How much of an order (side, price, quantity) that flattens keeps the strategy within its bounds, in lots, and what made it less.

        Only the end to which the order moves an asset counts: what is beyond its bound at the other one is lessened by it.
        """
        side, price, wanted = order
        qty: int = wanted
        short: Refusal | None = None
        for asset, bound in desk.limits.max_exposure.items():
            down, up = self.swing(side, (price, wanted), asset)
            if not (moved := down or up):
                continue
            low, high = self.exposure(desk, asset, ways)
            room = bound + low if down else bound - high
            few = max(0, wanted * room // moved // side.lot * side.lot)
            if moved > room and few < qty:
                qty = few
                short = Refusal("max_exposure", side.number, low - down if down else high + up, -bound if down else bound)
        return qty, short

    def _check_money(self, legs: list[Leg], desk: Desk) -> Refusal | None:
        """Whether account and budget can pay for all legs; what each may take is noted in it."""
        wanted: dict[Till, Wanted] = {}
        for leg in legs:
            hold = self.hold(leg.side, leg.price, leg.qty)
            if hold is None:
                return Refusal("fee_rate_unknown", leg.instrument)
            leg.hold = hold
            for till, amount in hold:
                before = wanted.get(till, Wanted(0, leg.instrument))
                wanted[till] = before._replace(amount=before.amount + amount)
        return check_money(wanted, desk)

    # --- what an order may take

    def hold(self, side: Side, price: int, qty: int) -> Hold | None:
        """The most that an order may take from the account, by till; None when its fee coin has no price.

        Each fill rounds its fee up by less than 1e-18, which is not reserved. A coin's price may move until the match: its bid counts
        less `Setup.coin_margin_ppb`. A sale's fee in a coin is reckoned at the best bid, where that is above the limit.
        """
        amount = side.notional(price, qty) if side.sign > 0 else qty * side.qty_unit
        if side.on_top_ppb:
            return ((side.takes, amount + ceil_div(amount * side.on_top_ppb, PPB)),)
        coin = side.coin
        if coin is None:
            return ((side.takes, amount),)  # the fee comes out of what the order receives
        priced = self._rates.get((side.instrument.venue, coin.asset, side.quote))
        bid = None if priced is None else self._market.best(priced).bid
        if priced is None or bid is None:
            return None
        if side.sign < 0:
            price = max(price, self._market.best(side.number).bid or price)
        unit = 10 ** self._market.instrument(priced).px_scale
        fee = ceil_div(side.notional(price, qty) * side.coin_ppb * unit, bid * (PPB - self._coin_margin_ppb))
        return ((side.takes, amount), (coin, fee))

    def swing(self, side: Side, order: tuple[int, int], asset: str) -> tuple[int, int]:
        """By how much an order (price, quantity) may lessen and raise an asset, its fee included where that lessens; zero for others."""
        price, qty = order
        sign = side.sign
        if asset == side.base:
            amount = qty * side.qty_unit
        elif asset == side.quote:
            if sign < 0:
                price = max(price, self._market.best(side.number).bid or price)
            amount, sign = side.notional(price, qty), -sign
        elif side.coin is not None and asset == side.coin.asset:
            hold = self.hold(side, price, qty)
            return (0, 0) if hold is None else (hold[1][1], 0)
        else:
            return 0, 0
        return (0, amount) if sign > 0 else (amount + ceil_div(amount * side.on_top_ppb, PPB), 0)


class Wanted(NamedTuple):
    """What a bundle wants of an asset, and the first instrument that wants it."""

    amount: int
    instrument: int


def check_money(wanted: Mapping[Till, Wanted], desk: Desk) -> Refusal | None:
    """Whether account and budget can pay for all of a bundle."""
    budgeted: dict[str, tuple[int, int]] = {}  # by asset: wanted, left
    for till, (amount, instrument) in wanted.items():
        free = till.pot.balance - till.pot.reserved
        if amount > free:
            return Refusal("balance", instrument, amount, free)
        if till.pot.reserved + amount > desk.most_drawn(till):
            return Refusal("balance_share", instrument, till.pot.reserved + amount, desk.most_drawn(till))
        left = till.share.left
        if left is not None:
            budgeted[till.asset] = (budgeted.get(till.asset, (0, 0))[0] + amount, left)
    for amount, left in budgeted.values():
        if amount > left:
            return Refusal("budget", -1, amount, left)
    return None


def _check_notional(legs: list[Leg], desk: Desk, ways: list[Way]) -> Refusal | None:
    """What may still fill on one symbol, and on one venue, by quote currency."""
    limits = desk.limits
    for reason, column, bound in (("symbol_open", 3, limits.max_symbol_open), ("venue_open", 2, limits.max_venue_open)):
        if bound is None:
            continue
        sums: dict[tuple[str, str], int] = {}
        for side, (price, qty) in ways:
            key = (side.names[column], side.quote)
            sums[key] = sums.get(key, 0) + side.notional(price, qty)
        for leg in legs:
            key = (leg.side.names[column], leg.side.quote)
            sums[key] = after = sums.get(key, 0) + leg.value
            if after > bound:
                return Refusal(reason, leg.instrument, after, bound)
    return None


def wrapped_as(setup: Setup) -> dict[str, str]:
    """By address of a token what it is worth as much as: the coin that it counts as, or the asset that it wraps."""
    return {one.wrapped: one.native for one in setup.chains.values() if one.wrapped} | coins_of(setup)


def coins_of(setup: Setup) -> dict[str, str]:
    """By address of a token of any chain, the coin of exchanges that it counts as."""
    return {token: coin for one in setup.chains.values() for token, coin in one.coins.items()}


def _feeds(desks: Iterable[Desk], setup: Setup) -> dict[Key, list[int]]:
    """By account and venue, what the strategies may send orders on."""
    found: dict[Key, set[int]] = {}
    for desk in desks:
        for number in desk.allowed:
            mine = found.setdefault((desk.account, setup.instruments[number].venue), set())
            if setup.instruments[number].kind != "pool":  # their state is judged block by block, and has no score
                mine.add(number)
    return {key: sorted(numbers) for key, numbers in found.items()}


def _allowed(strategy: Strategy, setup: Setup) -> frozenset[int]:
    """The instruments on which it may send orders."""
    limits = setup.terms[strategy.id].limits
    converts = [pair.convert for pair in strategy.wakes().pairs]
    return frozenset(
        number
        for number, one in enumerate(setup.instruments)
        if (not limits.venues or one.venue in limits.venues)
        and (not limits.symbols or one.symbol in limits.symbols or number in converts)
    )


def _check_assets(strategy: str, setup: Setup) -> None:
    """A limit on an asset that does not exist would hold nobody to anything."""
    terms = setup.terms[strategy]
    known = {asset for one in setup.instruments for asset in (one.base, one.quote)} | {tier.asset for tier in setup.fees.values()}
    known |= {one.native for one in setup.chains.values()}
    limits = terms.limits
    named = {"max_exposure": limits.max_exposure, "max_day_loss": limits.max_day_loss, "max_drawdown": limits.max_drawdown}
    named["max_bundle_loss"] = limits.max_bundle_loss
    for name, assets in {"budget": terms.budget, **named}.items():
        for asset in assets:
            if asset not in known:
                raise ConfigError(f"strategy {strategy}: {name} names {asset}, which no instrument trades and no fee is paid in")
