"""Orders, bundles, limits and money of the plain model, in fractions: what execution, risk and portfolio promise.

Every bundle has two legs, the sale first, sent at once. Its base asset is to end at zero, its quote asset is the profit.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from math import ceil, floor
from statistics import median

from tests.plain.breakers import Breaker, Told
from tests.plain.bundles import Bundle, Closed, Leg, Plan, Sent
from tests.plain.feeds import PPB, Feed
from tests.plain.results import Broken, Results
from tests.plain.rows import Coin, Outputs
from tests.plain.terms import BreakerTerms, StrategyTerms, VenueTerms
from tests.plain.venue import MONEY, Order, Report
from tests.plain.worst import worst_of

Reason = tuple[str, Feed, Fraction | None, Fraction | None]  # why an order is not sent, where, value and bound
SECOND = 10**9
DAY = 86_400 * SECOND
MAX_CANCELS = 3
FINAL = ("filled", "expired", "rejected", "canceled")
_SIDES = {1: "buy", -1: "sell"}


class Desk:
    """All strategies' orders and the one account's money."""

    def __init__(
        self,
        strategies: list[StrategyTerms],
        venues: dict[str, VenueTerms],
        opening: dict[tuple[str, str], Fraction],
        outputs: Outputs,
        feeds: list[Feed],
        breakers: BreakerTerms,
    ) -> None:
        self.strategies, self.venues, self.outputs = strategies, venues, outputs
        self.results = [Results(terms, feeds) for terms in strategies]
        self.feeds = feeds
        self.breakers = {name: Breaker(name, breakers, [one for one in feeds if one.coin.venue == name]) for name in sorted(venues)}
        self.opening = dict(sorted(opening.items()))
        self.balances = dict(self.opening)
        self.flows: dict[tuple[int, str], Fraction] = {}  # by strategy and asset
        self.orders: list[Sent] = []
        self.alive: list[Sent] = []
        self.bundles = 0
        self.under_way: list[Bundle] = []
        self.open = dict.fromkeys(range(len(strategies)), 0)
        self.volume: list[tuple[int, int, Coin, Fraction]] = []  # strategy, time, market and worth of what was sent
        self.cool: dict[tuple[int, tuple[int, ...]], int] = {}
        self.closed: list[Closed] = []
        self.due: list[tuple[int, int, Sent | Bundle | Closed]] = []  # time, how many were set before, what
        self.deadlines = 0
        self.commands: list[tuple[int, Order | int]] = []  # instrument, and an order or the number of one to cancel
        self.prefix = ""
        self.lost = False  # a loss has killed trading
        self.shares: dict[tuple[str, str], Fraction] = {}  # targets by (venue, asset)

    # --- money

    def open_books(self) -> None:
        """The opening rows."""
        for (venue, asset), amount in self.opening.items():
            self._ledger("", (venue, asset), (amount, amount), "opening", None)

    def _ledger(
        self, strategy: str, place: tuple[str, str], change: tuple[Fraction, Fraction], cause: str, order: int | None
    ) -> None:
        venue, asset = place
        self.outputs.emit(
            "ledger",
            account="main",
            strategy=strategy,
            venue=venue,
            asset=asset,
            delta=change[0],
            balance=change[1],
            cause=cause,
            order=order,
        )

    def hold(self, order: Leg, qty: Fraction) -> tuple[str, Fraction]:
        """(asset, the most that an order takes of it), its fee included where it is charged in what is given."""
        coin, tier = order.feed.coin, self.venues[order.feed.coin.venue]
        asset, amount = (coin.quote, order.price * qty) if order.sign > 0 else (coin.base, qty)
        charged = coin.base if tier.fee_asset == "base" else coin.quote
        if tier.fee_asset != "received" and charged == asset:
            amount += Fraction(ceil(amount * tier.taker_ppb * MONEY / PPB), MONEY)
        return asset, amount

    def reserved(self, venue: str | None, asset: str, strategy: int | None) -> Fraction:
        """What orders on their way may take of an asset, on one venue or on all, of one strategy or of all."""
        total = Fraction(0)
        for one in self.alive:
            if strategy not in (None, one.bundle.plan.strategy):
                continue
            held, amount = self.hold(one.order, one.order.qty - one.filled)
            if held == asset and venue in (None, one.order.feed.coin.venue):
                total += amount
        return total

    def free_on(self, venue: str, asset: str) -> Fraction:
        """What the account has free."""
        return self.balances.get((venue, asset), Fraction(0)) - self.reserved(venue, asset, None)

    def in_budget(self, strategy: int, asset: str) -> Fraction | None:
        """What a strategy's budget leaves of an asset, None where it does not name it."""
        allotted = dict(self.strategies[strategy].budget).get(asset)
        if allotted is None:
            return None
        return allotted + self.flows.get((strategy, asset), Fraction(0)) - self.reserved(None, asset, strategy)

    def free(self, strategy: int, venue: str, asset: str) -> Fraction:
        """What a strategy may spend."""
        left, budget = self.free_on(venue, asset), self.in_budget(strategy, asset)
        share = self.strategies[strategy].balance_share_ppb
        if share:
            left = min(left, self.balances.get((venue, asset), Fraction(0)) * share / 10**9 - self.reserved(venue, asset, None))
        return max(Fraction(0), left if budget is None else min(left, budget))

    # --- bundles

    def submit(self, plan: Plan) -> tuple[int | None, str | None]:
        """Number of the bundle, or the reason of risk."""
        terms = self.strategies[plan.strategy]
        stuck = self.weigh(plan.strategy)
        if self.lost:
            return None, self._refuse(plan, "loss", None, None, None)
        if stuck is not None:
            return None, self._refuse(plan, stuck[0], None, *stuck[1:])
        reason = self._refused(plan, terms)
        if reason is not None:
            return None, reason
        self.bundles += 1
        for leg in plan.legs:
            breaker = self.breakers[leg.feed.coin.venue]
            if breaker.state == "half_open":
                breaker.probe, breaker.proven = self.bundles, False
        bundle = Bundle(self.bundles, plan)
        self.under_way.append(bundle)
        self._life(bundle, "opened", bundle.planned())
        self.open[plan.strategy] += 1
        for leg in plan.legs:
            self._count(plan.strategy, leg)
        for place, leg in enumerate(plan.legs):
            self._send(bundle, place, leg, "open")
        return bundle.number, None

    def _refused(self, plan: Plan, terms: StrategyTerms) -> str | None:
        """Limits that the strategy itself does not look at."""
        now, first = self.outputs.now, plan.legs[0].feed
        for leg in plan.legs:
            breaker = self.breakers[leg.feed.coin.venue]
            self._tell(breaker.ask(now))
            if breaker.state == "open":
                left = None if breaker.until is None else Fraction(breaker.until - now, SECOND)
                return self._refuse(plan, "breaker_open", leg.feed, left, Fraction(0))
            if breaker.probe:
                return self._refuse(plan, "breaker_probing", leg.feed, Fraction(2), Fraction(1))
        broken = self.results[plan.strategy].broken(self._mine(plan.strategy), now)
        if broken is not None:
            return self._refuse(plan, broken[0], None, *broken[1:])
        until = self.cool.get((plan.strategy, _places(plan)), now)
        if until > now:
            return self._refuse(plan, "cool_down", first, Fraction(until - now, SECOND), Fraction(0))
        broken_day = self._too_much_today(plan, terms)
        if broken_day is not None:
            return broken_day
        if terms.orders_per_second is not None:
            mine = [one for one in self.orders if one.bundle.plan.strategy == plan.strategy]
            count = 2 + sum(one.at > now - SECOND for one in mine)
            if count > terms.orders_per_second:
                return self._refuse(plan, "orders_per_second", None, Fraction(count), Fraction(terms.orders_per_second))
        if terms.bundles_per_minute is not None:
            begun: dict[int, int] = {}
            for one in self.orders:
                if one.bundle.plan.strategy == plan.strategy:
                    begun.setdefault(one.bundle.number, one.at)
            count = 1 + sum(at > now - 60 * SECOND for at in begun.values())
            if count > terms.bundles_per_minute:
                return self._refuse(plan, "bundles_per_minute", None, Fraction(count), Fraction(terms.bundles_per_minute))
        return self._too_much_open(plan, terms)

    def _too_much_today(self, plan: Plan, terms: StrategyTerms) -> str | None:
        """What was sent today, in all, on one symbol and on one venue, with what is planned."""
        day, currency = self.outputs.now // DAY, plan.legs[0].feed.coin.quote
        mine = [(coin, worth) for owner, at, coin, worth in self.volume if (owner, at // DAY) == (plan.strategy, day)]
        mine = [one for one in mine if one[0].quote == currency] + [(leg.feed.coin, leg.price * leg.qty) for leg in plan.legs]
        for what, bound in (("volume", terms.daily_volume), ("symbol", terms.daily_symbol), ("venue", terms.daily_venue)):
            for leg in plan.legs:
                there = [worth for coin, worth in mine if what == "volume" or getattr(coin, what) == getattr(leg.feed.coin, what)]
                if bound is not None and sum(there) > bound:
                    return self._refuse(plan, f"daily_{what}", leg.feed, sum(there, Fraction(0)), bound)
        return None

    def exposure(self, strategy: int, asset: str, more: Iterable[Leg]) -> tuple[Fraction, Fraction]:
        """The least and the most of an asset that a strategy may come to, with whatever of its orders and of `more` fills."""
        low = high = self.flows.get((strategy, asset), Fraction(0))
        mine = [(one.order, one.order.qty - one.filled) for one in self.alive if one.bundle.plan.strategy == strategy]
        for order, qty in mine + [(one, one.qty) for one in more]:
            given, amount = self.hold(order, qty)
            if given == asset:
                low -= amount
            elif asset == order.feed.coin.base:
                high += qty
            elif asset == order.feed.coin.quote:
                assert order.feed.quote is not None
                high += max(order.price, Fraction(order.feed.quote.bid, order.feed.coin.px)) * qty
        return low, high

    def _too_much_open(self, plan: Plan, terms: StrategyTerms) -> str | None:
        """What it may come to of an asset; and what may still fill, on one symbol and on one venue."""
        for asset, allowed in terms.max_exposure:
            low, high = self.exposure(plan.strategy, asset, plan.legs)
            concerned = [leg for leg in plan.legs if asset in (leg.feed.coin.base, leg.feed.coin.quote)]
            if concerned and (high > allowed or low < -allowed):
                value, end = (high, allowed) if high > allowed else (low, -allowed)
                return self._refuse(plan, "max_exposure", concerned[-1].feed, value, end)
        mine = [(one.order, one.order.qty - one.filled) for one in self.alive if one.bundle.plan.strategy == plan.strategy]
        for what, bound in (("symbol", terms.max_symbol_open), ("venue", terms.max_venue_open)):
            for place, leg in enumerate(plan.legs):
                planned = [(one, one.qty) for one in plan.legs[: place + 1]]
                name, quote = getattr(leg.feed.coin, what), leg.feed.coin.quote
                there = [(one.price, qty) for one, qty in mine + planned if getattr(one.feed.coin, what) == name]
                after = sum((price * qty for price, qty in there), Fraction(0))
                assert all(one.feed.coin.quote == quote for one, _ in mine), "one quote currency"
                if bound is not None and after > bound:
                    return self._refuse(plan, f"{what}_open", leg.feed, after, bound)
        return self._off_market(plan, Fraction(terms.price_band_ppb, PPB))

    def _off_market(self, plan: Plan, band: Fraction) -> str | None:
        """A leg too far from the median of all that is tradable."""
        for leg in plan.legs if band else ():
            same = [one for one in self.feeds if (one.coin.base, one.coin.quote) == (leg.feed.coin.base, leg.feed.coin.quote)]
            quotes = [(Fraction(one.quote.bid + one.quote.ask, 2 * one.coin.px)) for one in same if one.tradable and one.quote]
            middle = median(quotes)
            if abs(leg.price - middle) > middle * band:
                up = leg.price > middle
                bound = middle * (1 + band if up else 1 - band) * MONEY
                return self._refuse(plan, "price_band", leg.feed, leg.price, Fraction(floor(bound) if up else ceil(bound), MONEY))
        for leg in plan.legs:
            lost = [one for one in self.alive if one.state == "unknown" and one.order.feed is leg.feed]
            if lost:
                return self._refuse(plan, "order_unknown", leg.feed, Fraction(len(lost)), Fraction(0))
        terms = self.strategies[plan.strategy]
        if terms.max_bundle_loss is not None:
            worst = worst_of(plan.legs, terms, self.venues, self.results[plan.strategy].worth)
            if worst is None:
                return self._refuse(plan, "bundle_loss_unknown", None, None, None)
            if worst > terms.max_bundle_loss:
                return self._refuse(plan, "bundle_loss", None, worst, terms.max_bundle_loss)
        return None

    def _refuse(self, plan: Plan, reason: str, feed: Feed | None, value: Fraction | None, bound: Fraction | None) -> str:
        self.outputs.emit(
            "refusals",
            account="main",
            strategy=self.strategies[plan.strategy].name,
            opportunity=plan.pair.opportunity,
            venue=None if feed is None else feed.coin.venue,
            symbol=None if feed is None else feed.coin.symbol,
            reason=reason,
            value=value,
            bound=bound,
        )
        return reason

    def weigh(self, strategy: int, *, is_told: bool = False) -> Broken | None:
        """What a strategy or a bundle of it lost may kill trading, whoever asks; what of an open bundle forbids another."""
        newly = self.results[strategy].newly(self._mine(strategy), self.outputs.now)
        if newly is not None and self._kills(strategy):
            if not is_told:
                self._tell_results(strategy)
            self._end(strategy, newly)
        found = [self._look(one) for one in list(self.under_way) if one.plan.strategy == strategy]
        return next((one for one in found if one is not None), None)

    def _look(self, bundle: Bundle) -> Broken | None:
        """What a bundle has lost, where that is too much or nobody knows."""
        strategy = bundle.plan.strategy
        most = self.strategies[strategy].max_bundle_loss
        if most is None or bundle not in self.under_way:
            return None
        made = self.results[strategy].worth(bundle.made)
        if made is None:
            return "bundle_loss_unknown", None, None
        if -made <= most:
            return None
        if not bundle.beyond:
            bundle.beyond = True
            self._life(bundle, "beyond")
            self._end(strategy, ("bundle_lost", -made, most))
        return "bundle_lost", -made, most

    def _kills(self, strategy: int) -> bool:
        return self.strategies[strategy].on_loss == "kill" and not self.lost

    def _tell_results(self, strategy: int) -> None:
        for told in self.results[strategy].take(self._mine(strategy), self.outputs.now):
            self.outputs.emit("results", account="main", strategy=self.strategies[strategy].name, **told)

    def _end(self, strategy: int, broken: Broken) -> None:
        """A kill for a loss, unless losses only refuse."""
        if self._kills(strategy):
            self.lost, terms = True, self.strategies[strategy]
            more = {"opportunity": None, "venue": None, "symbol": None, "value": broken[1], "bound": broken[2]}
            self.outputs.emit("refusals", account="main", strategy=terms.name, reason="loss", **more)

    def _tell(self, rows: Iterable[Told]) -> None:
        """Write rows of breakers."""
        for row in rows:
            self.outputs.emit("breakers", **row)

    def _mine(self, strategy: int) -> dict[str, Fraction]:
        return {asset: flow for (owner, asset), flow in self.flows.items() if owner == strategy}

    def _count(self, strategy: int, leg: Leg) -> None:
        self.volume.append((strategy, self.outputs.now, leg.feed.coin, leg.price * leg.qty))

    def _send(self, bundle: Bundle, place: int, order: Leg, purpose: str) -> None:
        sent = Sent(len(self.orders) + 1, bundle, place, order, purpose)
        sent.at, sent.attempt = self.outputs.now, 0 if purpose == "open" else bundle.attempts
        self.orders.append(sent)
        self.alive.append(sent)
        bundle.live += 1
        self.commands.append(
            (order.feed.number, Order(sent.number, order.feed.number, order.sign, order.price, order.qty)),
        )
        self._defer(self.strategies[bundle.plan.strategy].timeout_ns, sent)
        self._command(sent, "submit")
        self._state(sent, None, None)

    # --- deadlines

    def _defer(self, wait_ns: int, what: Sent | Bundle | Closed) -> None:
        self.deadlines += 1
        self.due.append((self.outputs.now + wait_ns, self.deadlines, what))

    def next_deadline(self) -> int | None:
        """Time of the next: an order too long without an answer, a residual to look at again, the end of a cool-down."""
        self.due = [
            (ts, place, what)
            for ts, place, what in self.due
            if not (isinstance(what, Sent) and what.state in FINAL) and not (isinstance(what, Bundle) and what.retry_at != ts)
        ]
        return min((ts for ts, _, _ in self.due), default=None)

    def fire(self) -> None:
        """Deadlines due now, in the order in which they were set. An order is canceled again after each further time-out."""
        while self.next_deadline() == self.outputs.now:
            first = min(self.due, key=lambda one: one[:2])
            self.due.remove(first)
            what = first[2]
            if isinstance(what, Closed):
                self.closed.append(what)
            elif isinstance(what, Bundle):
                what.retry_at = 0
                self._look(what)
                if what.live > 0:
                    self._undo(what)
                else:
                    self._settle(what, waited=True)
            else:
                self._move(what, "unknown", "execution_timeout")
                if what.cancels < MAX_CANCELS:
                    what.cancels += 1
                    self.commands.append((what.order.feed.number, what.number))
                    self._command(what, "cancel")
                    self._defer(self.strategies[what.bundle.plan.strategy].timeout_ns, what)
                self._watch(what.bundle)

    def take_closed(self) -> list[Closed]:
        """Closings and ended cool-downs since the last call."""
        found, self.closed = self.closed, []
        return found

    # --- reports

    def report(self, report: Report) -> None:
        """A report reached us."""
        sent = self.orders[report.order - 1]
        self._say(sent, report)
        if sent.state not in FINAL:
            breaker, took = self.breakers[sent.order.feed.coin.venue], None if sent.heard else self.outputs.now - sent.at
            sent.heard = True
            rejected = report.event == "rejected" and not sent.filled
            what = "answered" if not rejected else "lost" if sent.state == "unknown" else "rejected"
            self._tell(breaker.answer(self.outputs.now, took, what, of_probe=sent.bundle.number == breaker.probe))
        if report.event == "fill":
            self._fill(sent, report)
        else:
            self._move(sent, report.event, report.reason)
        bundle = sent.bundle
        self._look(bundle)
        if bundle.live == 0:
            bundle.live = -1  # looked at once, when its last order ends
            self._settle(bundle)
        elif bundle.live > 0:
            self._watch(bundle)

    def _fill(self, sent: Sent, report: Report) -> None:
        assert report.price is not None
        assert report.qty is not None
        assert report.fee is not None
        assert report.fee_asset is not None
        coin, sign, bundle = sent.order.feed.coin, sent.order.sign, sent.bundle
        worth = report.price * report.qty
        sent.filled += report.qty
        bundle.retry_at = 0
        before = bundle.net
        bundle.trade(sent.order.feed.number, sign, report.qty, worth)
        self.outputs.emit(
            "fills",
            **self._names(sent),
            order=sent.number,
            bundle=bundle.number,
            leg=sent.leg,
            fill_id=f"{self.prefix}{sent.number}.{report.fill}",
            side=_SIDES[sign],
            price=report.price,
            qty=report.qty,
            notional=worth,
            fee=report.fee,
            fee_asset=report.fee_asset,
            liquidity="taker",
            purpose=sent.purpose,
        )
        strategy = bundle.plan.strategy
        for asset, delta, cause in (
            (coin.base, sign * report.qty, "trade"),
            (coin.quote, -sign * worth, "trade"),
            (report.fee_asset, -report.fee, "fee"),
        ):
            if delta == 0:
                continue
            place = (coin.venue, asset)
            self.balances[place] = self.balances.get(place, Fraction(0)) + delta
            self.flows[strategy, asset] = self.flows.get((strategy, asset), Fraction(0)) + delta
            bundle.made[asset] = bundle.made.get(asset, Fraction(0)) + delta
            self._ledger(self.strategies[strategy].name, place, (delta, self.balances[place]), cause, sent.number)
            if asset == coin.base:
                bundle.net += delta
        if sent.purpose == "open" and before * bundle.net <= 0:  # what is left of it is another residual
            bundle.unbalanced_at = bundle.attempts = 0
            bundle.given_up = False
        self._move(sent, "filled" if sent.filled >= sent.order.qty else "partially_filled", None)

    def _move(self, sent: Sent, state: str, reason: str | None) -> None:
        """A new state; one that is final stays."""
        before = sent.state
        if before in FINAL or state == before:
            return
        sent.state = state
        self._state(sent, before, reason)
        breaker = self.breakers[sent.order.feed.coin.venue]
        if state == "unknown":
            self._tell(breaker.lose(self.outputs.now, sent.number))
        else:
            breaker.unknown.discard(sent.number)
        if state in FINAL:
            self.alive.remove(sent)
            sent.bundle.live -= 1
        if sent.bundle.live == 0 or (before == "unknown" and state not in FINAL):
            sent.bundle.retry_at = 0

    # --- what the legs leave

    def _watch(self, bundle: Bundle) -> None:
        """Whether a residual waits for nothing but orders of unknown fate; it does not for ever."""
        terms, now = self.strategies[bundle.plan.strategy], self.outputs.now
        living = [one for one in self.alive if one.bundle is bundle]
        if not living or bundle.net == 0 or bundle.retry_at or bundle.given_up or any(one.state != "unknown" for one in living):
            return
        self._note_unbalanced(bundle)
        pauses = [terms.unknown_wait_ns] if terms.unknown_wait_ns else []
        pauses += [max(0, bundle.unbalanced_at + terms.residual_ttl_ns - now)] if terms.residual_ttl_ns else []
        if pauses:
            bundle.retry_at = now + min(pauses)
            self._defer(min(pauses), bundle)

    def _undo(self, bundle: Bundle) -> None:
        """Undo what filled on legs without an order of unknown fate."""
        plan, terms = bundle.plan, self.strategies[bundle.plan.strategy]
        given_up = self._given_up(bundle, terms)
        if given_up == "residual_ttl":
            bundle.given_up = True
            filled = [leg for place, leg in enumerate(plan.legs) if self._filled(bundle, place)]
            self._refuse_residual(bundle, given_up, filled[0].feed, (None, None))
            self._open_breakers(bundle)
        if given_up:
            return
        refusals: list[Reason] = []
        sign = -1 if bundle.net > 0 else 1
        cap = terms.unwind_cap_ppb
        if terms.cap_step_ppb:
            cap = min(cap, terms.cap_step_ppb * (bundle.attempts + 1))
        for place, leg in enumerate(plan.legs):
            if leg.sign == sign or any(one.bundle is bundle and one.leg == place for one in self.alive):
                continue
            found = self._way(bundle, place, sign, (cap, "unwind"))
            if isinstance(found, Leg) and bundle.attempts < terms.max_attempts:
                bundle.attempts += 1
                self._count(plan.strategy, found)
                self._send(bundle, place, found, "unwind")
                return
            refusals += [("max_attempts", found.feed, None, None)] if isinstance(found, Leg) else found
        for reason, feed, value, bound in refusals:
            self._refuse_residual(bundle, reason, feed, (value, bound))
        if refusals and bundle.attempts >= terms.max_attempts:
            bundle.given_up = True
            self._open_breakers(bundle)
        self._watch(bundle)

    def _open_breakers(self, bundle: Bundle) -> None:
        """A residual has to stay: no more begins on its venues."""
        for leg in bundle.plan.legs:
            self._tell(self.breakers[leg.feed.coin.venue].hold(self.outputs.now, bundle.net))

    def _filled(self, bundle: Bundle, place: int) -> Fraction:
        """How much of a leg was filled as planned."""
        mine = [one for one in self.orders if one.bundle is bundle and (one.leg, one.purpose) == (place, "open")]
        return sum((one.filled for one in mine), Fraction(0))

    def _settle(self, bundle: Bundle, *, waited: bool = False) -> None:
        """No order is alive: flatten the residual, wait to try again, or close."""
        plan = bundle.plan
        terms, end = self.strategies[plan.strategy], "closed"
        if bundle.net != 0:
            last = [one for one in self.orders if one.bundle is bundle][-1]
            turned_away = last.state == "rejected" and last.purpose != "open" and bundle.attempts < terms.max_attempts
            self._note_unbalanced(bundle)
            given_up = self._given_up(bundle, terms)
            if turned_away and not waited and not given_up:
                self._wait(bundle, terms)
                return
            refusals: list[Reason] = []
            sign = -1 if bundle.net > 0 else 1
            ways = [(leg.sign != sign, place) for place, leg in enumerate(plan.legs)]
            ways.sort(key=lambda way: way[0] != (terms.residual == "reverse"))  # what the policy wants first
            for undoes, place in ways:
                cap, name = (terms.unwind_cap_ppb, "unwind") if undoes else (terms.hedge_cap_ppb, "hedge")
                if terms.cap_step_ppb:
                    cap = min(cap, terms.cap_step_ppb * (bundle.attempts + 1))
                found = self._way(bundle, place, sign, (cap, name))
                if given_up and found:
                    refusals = [(given_up, plan.legs[place].feed, None, None)]
                    break
                if isinstance(found, Leg):
                    if bundle.attempts >= terms.max_attempts:
                        refusals = [("max_attempts", found.feed, None, None)]
                        break
                    bundle.attempts += 1
                    bundle.live = 0
                    self._count(plan.strategy, found)
                    self._send(bundle, place, found, name)
                    return
                refusals += found
            for reason, feed, value, bound in refusals:
                self._refuse_residual(bundle, reason, feed, (value, bound))
            if refusals and not given_up and bundle.attempts + 1 < terms.max_attempts:
                bundle.attempts += 1
                self._wait(bundle, terms)
                return
            if refusals and given_up != "residual_hold":
                self._open_breakers(bundle)
            self._leave(bundle, "held" if refusals else "dust")
            end = "held" if refusals else "closed"
        self._life(bundle, end)
        self.under_way.remove(bundle)
        self.open[plan.strategy] -= 1
        self._tell_results(plan.strategy)
        self.weigh(plan.strategy, is_told=True)
        for name in sorted(self.breakers):
            self._tell(self.breakers[name].end(bundle.number))
        closed = Closed(plan.strategy, plan.pair)
        if terms.cool_down_ns > 0:
            self.cool[plan.strategy, _places(plan)] = self.outputs.now + terms.cool_down_ns
            self._defer(terms.cool_down_ns, closed)
        else:
            self.closed.append(closed)

    def _note_unbalanced(self, bundle: Bundle) -> None:
        if not bundle.unbalanced_at:
            bundle.unbalanced_at = self.outputs.now
            self._life(bundle, "unbalanced")

    def _life(self, bundle: Bundle, event: str, plan: str | None = None) -> None:
        name = self.strategies[bundle.plan.strategy].name
        more = {"bundle": bundle.number, "event": event, "opportunity": bundle.opportunity, "plan": plan}
        self.outputs.emit("bundles", account="main", strategy=name, **more)

    def _leave(self, bundle: Bundle, cause: str) -> None:
        """The residual is inventory from now on."""
        coin, name = bundle.plan.legs[0].feed.coin, self.strategies[bundle.plan.strategy].name
        more = {"bundle": bundle.number, "asset": coin.base, "qty": bundle.net, "cost": bundle.cost(), "cost_asset": coin.quote}
        self.outputs.emit("residuals", account="main", strategy=name, cause=cause, **more)

    def _given_up(self, bundle: Bundle, terms: StrategyTerms) -> str:
        """Why a residual is left as it is; empty while it is not."""
        if terms.residual == "hold":
            return "residual_hold"
        late = terms.residual_ttl_ns and self.outputs.now >= bundle.unbalanced_at + terms.residual_ttl_ns
        return "residual_ttl" if late else ""

    def _wait(self, bundle: Bundle, terms: StrategyTerms) -> None:
        pause = terms.retry_ns
        if terms.residual_ttl_ns:
            pause = min(pause, bundle.unbalanced_at + terms.residual_ttl_ns - self.outputs.now)
        bundle.retry_at = self.outputs.now + pause
        self._defer(pause, bundle)

    def _way(self, bundle: Bundle, place: int, sign: int, how: tuple[int, str]) -> Leg | list[Reason]:
        """The order that shrinks the residual on a leg's instrument, or why there is none; nothing said: it is dust there."""
        leg, (cap, name) = bundle.plan.legs[place], how
        feed, residual = leg.feed, abs(bundle.net)
        coin, tier = feed.coin, Fraction(cap, PPB)
        price = leg.price * (1 + sign * tier)
        price = coin.tick * (floor(price / coin.tick) if sign > 0 else ceil(price / coin.tick))
        qty = coin.lot * floor(residual / coin.lot)
        if qty == 0:
            return []
        if not feed.tradable:
            return [("feed_not_tradable", feed, None, None)]
        assert feed.quote is not None
        shown = Fraction(feed.quote.ask if sign > 0 else feed.quote.bid, coin.px)
        if sign * (shown - price) > 0:
            return [(f"{name}_cap", feed, shown, price)]
        order, most, short = Leg(feed, sign, price, qty), qty, None
        asset, amount = self.hold(order, qty)
        for reason, free in (
            ("balance", self.free_on(coin.venue, asset)),
            ("budget", self.in_budget(bundle.plan.strategy, asset)),
        ):
            if free is not None and amount > free:
                most = min(most, max(Fraction(0), coin.lot * floor(qty * free / amount / coin.lot)))
                short = (reason, feed, amount, free)
        for name, bound in self.strategies[bundle.plan.strategy].max_exposure:
            low, high = self.exposure(bundle.plan.strategy, name, ())
            least, top = self.exposure(bundle.plan.strategy, name, (order,))
            for moved, room, broken in ((low - least, low + bound, (least, -bound)), (top - high, bound - high, (top, bound))):
                few = max(Fraction(0), coin.lot * floor(qty * room / moved / coin.lot)) if 0 < moved > room else most
                if few < most:
                    most, short = few, ("max_exposure", feed, *broken)
        return [short] if short is not None and most == 0 else order._replace(qty=most)

    # --- rows

    def _refuse_residual(self, bundle: Bundle, reason: str, feed: Feed, numbers: tuple[Fraction | None, Fraction | None]) -> None:
        self.outputs.emit(
            "refusals",
            account="main",
            strategy=self.strategies[bundle.plan.strategy].name,
            opportunity=bundle.opportunity,
            venue=feed.coin.venue,
            symbol=feed.coin.symbol,
            reason=reason,
            value=numbers[0],
            bound=numbers[1],
        )

    def _names(self, sent: Sent) -> dict[str, str]:
        coin = sent.order.feed.coin
        strategy = self.strategies[sent.bundle.plan.strategy].name
        return {"account": "main", "strategy": strategy, "venue": coin.venue, "symbol": coin.symbol}

    def _command(self, sent: Sent, kind: str) -> None:
        bundle, order = sent.bundle, sent.order
        coin = order.feed.coin
        more: dict[str, object] = {}
        if kind == "submit":
            more = {"side": _SIDES[order.sign], "tif": "ioc", "post_only": False}
            more |= {"price_int": int(order.price * coin.px), "qty_int": int(order.qty * coin.qty)}
            more |= {"px_scale": len(str(coin.px)) - 1, "qty_scale": len(str(coin.qty)) - 1}
        self.outputs.emit(
            "commands",
            **self._names(sent),
            kind=kind,
            order=sent.number,
            client_order_id=f"{self.prefix}{sent.number}",
            bundle=bundle.number,
            leg=sent.leg,
            attempt=sent.attempt,
            opportunity=bundle.opportunity,
            purpose=sent.purpose if kind == "submit" else "cancel",
            **more,
        )

    def _state(self, sent: Sent, previous: str | None, reason: str | None) -> None:
        order = sent.order
        self.outputs.emit(
            "orders",
            **self._names(sent),
            order=sent.number,
            bundle=sent.bundle.number,
            leg=sent.leg,
            state=sent.state,
            previous=previous,
            side=_SIDES[order.sign],
            price=order.price,
            qty=order.qty,
            filled_qty=sent.filled,
            reason=reason,
        )

    def _say(self, sent: Sent, report: Report) -> None:
        fills = report.event == "fill"
        unknown = report.event == "canceled" and report.reason == "order_unknown"
        self.outputs.emit(
            "sim_reports",
            **self._names(sent),
            order=sent.number,
            client_order_id=f"{self.prefix}{sent.number}",
            venue_order_id=None if unknown else f"sim-{self.prefix}{sent.number}",
            event=report.event,
            fill_id=f"{self.prefix}{sent.number}.{report.fill}" if fills else None,
            price=report.price,
            qty=report.qty,
            fee=report.fee,
            fee_asset=report.fee_asset,
            liquidity="taker" if fills else None,
            reason=report.reason,
        )


def _places(plan: Plan) -> tuple[int, ...]:
    return tuple(sorted(leg.feed.number for leg in plan.legs))
