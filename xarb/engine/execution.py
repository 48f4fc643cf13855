"""Execution: turns bundles into orders, follows them by their reports, and flattens what the legs leave unbalanced.

States move through the tables of `model/order.py` only. Fills are applied whenever they come; a fill id counts once.
"""

from __future__ import annotations

from typing import Final

from xarb.engine.amounts import fill_value, notional_money, qty_money
from xarb.engine.archive import Archive
from xarb.engine.bundle import SIDES, Bundle, Hold, Leg, Order, OrderPlan
from xarb.engine.deadlines import Closed, Deadlines
from xarb.engine.order_rows import OrderRows
from xarb.engine.outputs import Outputs
from xarb.engine.portfolio import FillMoney, Holding, Portfolio
from xarb.engine.residual import Flattening, flat_assets
from xarb.engine.risk import Risk
from xarb.engine.rules import Market
from xarb.engine.setup import Setup
from xarb.engine.strategy import BundlePlan, Strategy
from xarb.errors import InvariantBroken
from xarb.model.command import CancelOrder, Command, Report, SubmitOrder
from xarb.model.order import BUNDLE_LIFE, ORDER_LIFE, ORDER_TERMINAL, advance
from xarb.model.units import ceil_div

_STATE_EVENTS: Final = {
    "accepted": "accepted",
    "canceled": "canceled",
    "rejected": "rejected",
    "expired": "expired",
    "unknown": "unknown",
    "not_sent": "rejected",  # certain that nothing happened at the venue
}
_AFTER_FILLS: Final = {"accepted": "partial_fill", "rejected": "canceled"}  # what a report means for an order with fills


class Execution:
    """Owns orders and bundles of all strategies.

    Args:
        market: what is known of instruments and quotes now.
        outputs: where rows go.
        portfolio: where fills go.
        risk: what approves.
        setup: log id and start, for client order ids.
    """

    def __init__(self, market: Market, outputs: Outputs, portfolio: Portfolio, *, risk: Risk, setup: Setup) -> None:
        self._market = market
        self._rows = OrderRows(market, outputs)
        self._portfolio = portfolio
        self._risk = risk
        self._flattening = Flattening(market, portfolio, risk)
        self._archive = Archive(f"{setup.log_id[:8]}-{setup.start}-")
        self._bundles = 0
        self._open: dict[str, int] = {}
        self._deadlines = Deadlines()
        self._closed: list[Closed] = []
        self._commands: list[Command] = []

    # --- what the engine calls

    def submit(self, plan: BundlePlan, strategy: Strategy, *, pair: int = -1) -> tuple[list[Command], int | None]:
        """Commands and number of the bundle; without a number risk refused it, and a `refusals` row says why.

        `pair` is the kernel pair whose episode the plan rests on.
        """
        exposed = {asset: self.exposure(strategy.id, asset) for asset in self._risk.terms(strategy.id).limits.max_exposure}
        refusal = self._risk.check(plan, strategy, self.open_bundles(strategy.id), exposed)
        if refusal is not None:
            self._rows.refusal(refusal, (strategy.account, strategy.id), plan.opportunity)
            return [], None
        self._bundles += 1
        bundle = Bundle(self._bundles, strategy.id, strategy.account, plan, pair=pair)
        bundle.flat = flat_assets(bundle, self._market)
        self._archive.open(bundle)
        self._open[bundle.strategy] = self._open.get(bundle.strategy, 0) + 1
        for leg in bundle.legs:
            leg.hold = self._reserve(bundle, (leg.instrument, leg.sign), (leg.price, leg.qty), [])
            instrument = self._market.instrument(leg.instrument)
            self._risk.count_volume(bundle.strategy, instrument.quote, notional_money(instrument, leg.price, leg.qty))
        for at in range(len(bundle.legs) if plan.sequence == "simultaneous" else 1):
            self._release(bundle, at, bundle.legs[at].qty)
        return self._taken(), bundle.number

    def on_report(self, report: Report) -> list[Command]:
        """Apply a report; commands that follow from it.

        Raises:
            InvariantBroken: the order is not ours, the event has no meaning, or a fill lacks a price, quantity, fee or id.
        """
        order = self._archive.order(report.order)
        if report.instrument != order.plan.instrument:
            raise InvariantBroken(f"order {report.order} is on instrument {order.plan.instrument}, not {report.instrument}")
        if report.event == "fill":
            self._fill(order, report)
        elif report.event in _STATE_EVENTS:
            event = _STATE_EVENTS[report.event]
            self._move(order, _AFTER_FILLS.get(event, event) if order.filled else event, report.reason)
            if order.state == "unknown" and order.cancels == 0:
                self._cancel(order)
        elif report.event != "sent":
            raise InvariantBroken(f"order {report.order}: no meaning is known for a report of {report.event!r}")
        self._progress(order.bundle)
        return self._taken()

    def on_deadline(self, ts: int) -> list[Command]:
        """Fire the deadlines up to `ts`.

        An order without a final report turns UNKNOWN and is canceled, again after each further time-out, until the policy's number of
        cancels was sent; then it stays UNKNOWN until a report comes. Cool-downs end, residuals that wait are looked at again.
        """
        while (due := self._deadlines.pop(ts)) is not None:
            if isinstance(due, Order):
                self._time_out(due)
            elif isinstance(due, Bundle):
                due.retry_at = 0
                self._settle(due, waited=True)
            else:
                self._closed.append(due)
        return self._taken()

    def next_deadline(self) -> int:
        """Time of the next deadline, NEVER without one."""
        return self._deadlines.next()

    @property
    def last_refusal(self) -> str | None:
        """Reason of the last refusal."""
        return self._rows.last_refusal

    def closed_since_last(self) -> list[Closed]:
        """Bundles closed and cool-downs ended since the last call, where their pair is known."""
        closed, self._closed = self._closed, []
        return closed

    def order(self, number: int) -> Order:
        """An order, to look at.

        Raises:
            InvariantBroken: there is no such order.
        """
        return self._archive.order(number)

    @property
    def orders(self) -> int:
        """Orders sent so far; they are numbered from 1."""
        return self._archive.orders

    def owner(self, order: int) -> str:
        """Strategy that sent an order."""
        return self._archive.order(order).bundle.strategy

    def open_bundles(self, strategy: str) -> int:
        """Open bundles of a strategy; a held one counts as closed."""
        return self._open.get(strategy, 0)

    def free(self, strategy: Strategy, venue: str, asset: str) -> int:
        """What a strategy may spend of an asset on a venue: free in the account and left in its budget, never below zero."""
        free = self._portfolio.free_of_account((strategy.account, venue, asset))
        left = self._portfolio.free_of_budget(strategy.id, asset)
        return max(0, free if left is None else min(free, left))

    def exposure(self, strategy: str, asset: str) -> tuple[int, int]:
        """The least and the most of an asset that the strategy's fills may come to, fees apart.

        Orders in flight and UNKNOWN count at worst, and so does what a hard leg may still release.
        """
        low = high = self._portfolio.flows(strategy).get(asset, 0)
        for bundle in self._archive.open_bundles():
            if bundle.strategy != strategy:
                continue
            ways = [(order.plan.instrument, order.plan.sign, order.price, order.left) for order in bundle.orders if order.alive]
            ways += [(leg.instrument, leg.sign, leg.price, max(0, leg.qty - leg.released)) for leg in bundle.legs if leg.hold]
            for number, sign, price, qty in ways:
                down, up = self._risk.swing(number, sign, (price, qty), asset)
                low, high = low - down, high + up
        return low, high

    def record_report(self, report: Report) -> None:
        """Write a report of a simulated venue as the `sim_reports` row that it is."""
        self._rows.report(self._archive.order(report.order), report)

    def rescale(self, number: int, price: int, qty: int) -> None:
        """The scales of an instrument grew: its orders and legs grow by these powers of ten; reservations are money and stay."""
        self._archive.rescale(number, price, qty)

    # --- orders

    def _taken(self) -> list[Command]:
        commands, self._commands = self._commands, []
        return commands

    def _reserve(self, bundle: Bundle, side: tuple[int, int], order: tuple[int, int], before: Hold) -> Hold:
        """Replace the reservation `before` by what an order of (price, qty) may take; quantity 0 releases all."""
        after: Hold = []
        if order[1] > 0:
            found = self._risk.hold(bundle.account, side[0], side[1], order)
            after = before if found is None else found  # the fee coin lost its price: what was reserved stays
        if after is not before:
            for place, amount in before:
                self._portfolio.reserve(place, bundle.strategy, -amount)
            for place, amount in after:
                self._portfolio.reserve(place, bundle.strategy, amount)
        return after

    def _release(self, bundle: Bundle, at: int, qty: int) -> None:
        """Send `qty` of a planned leg; its reservation moves from the leg to the order."""
        leg = bundle.legs[at]
        leg.released += qty
        self._hold_rest(bundle, leg, max(0, leg.qty - leg.released))
        self._send(bundle, OrderPlan(at, 0, "open", leg.instrument, leg.sign, leg.price, qty))

    def _hold_rest(self, bundle: Bundle, leg: Leg, rest: int) -> None:
        if leg.hold:
            leg.hold = self._reserve(bundle, (leg.instrument, leg.sign), (leg.price, rest), leg.hold)

    def _send(self, bundle: Bundle, plan: OrderPlan) -> None:
        order = self._archive.add(bundle, plan)
        bundle.live += 1
        order.hold = self._reserve(bundle, (plan.instrument, plan.sign), (plan.price, plan.qty), [])
        self._risk.count_order(bundle.strategy)
        now = self._market.now
        self._commands.append(
            SubmitOrder(
                ts=now,
                order=order.number,
                client_order_id=order.client_id,
                account=bundle.account,
                strategy=bundle.strategy,
                instrument=plan.instrument,
                side=SIDES[plan.sign],
                tif="ioc",
                price_int=plan.price,
                qty_int=plan.qty,
            )
        )
        self._deadlines.set(now + self._risk.terms(bundle.strategy).execution.timeout_ns, order)
        self._rows.command(order, "submit")
        self._rows.state(order, None, None)

    def _time_out(self, order: Order) -> None:
        policy = self._risk.terms(order.bundle.strategy).execution
        self._move(order, "unknown", "execution_timeout")
        if order.cancels < policy.max_cancels:
            self._cancel(order)
            self._deadlines.set(self._market.now + policy.timeout_ns, order)

    def _cancel(self, order: Order) -> None:
        """Ask for the end of an order whose fate is unknown."""
        order.cancels += 1
        self._commands.append(
            CancelOrder(
                ts=self._market.now,
                order=order.number,
                client_order_id=order.client_id,
                account=order.bundle.account,
                strategy=order.bundle.strategy,
                instrument=order.plan.instrument,
            )
        )
        self._rows.command(order, "cancel")

    def _move(self, order: Order, event: str, reason: str | None) -> None:
        """Advance an order's state; a new state is a row, and a final one releases what is reserved."""
        before = order.state
        order.state = advance(ORDER_LIFE, before, event)
        if order.state != before:
            self._rows.state(order, before, reason)
        if before not in ORDER_TERMINAL and order.state in ORDER_TERMINAL:
            order.bundle.live -= 1
            order.hold = self._reserve(order.bundle, (order.plan.instrument, order.plan.sign), (order.price, 0), order.hold)

    def _fill(self, order: Order, report: Report) -> None:
        price, qty, fee, fee_coin = report.price_int, report.qty_int, report.fee, report.fee_asset
        if price is None or qty is None or fee is None or fee_coin is None or report.fill_id is None or price <= 0 or qty <= 0:
            raise InvariantBroken(f"order {order.number}: a fill without price, quantity, fee or id")
        if report.fill_id in order.fill_ids:
            return
        order.fill_ids[report.fill_id] = None
        bundle, plan = order.bundle, order.plan
        instrument = self._market.instrument(plan.instrument)
        size, value = qty_money(instrument, qty), fill_value(instrument, price, qty, plan.sign)
        order.filled += qty
        if plan.purpose == "open":
            bundle.legs[plan.leg].filled += qty
        self._rows.fill(order, report, (size, value))
        account, strategy = bundle.account, bundle.strategy
        venue, base, quote = instrument.venue, instrument.base, instrument.quote
        self._portfolio.apply(
            FillMoney(account, strategy, venue, base, quote, order.number, plan.sign, size, value, int(fee), fee_coin)
        )
        bundle.filled = True
        bundle.retry_at = 0
        flows = bundle.flows
        flows[base] = flows.get(base, 0) + plan.sign * size
        flows[quote] = flows.get(quote, 0) - plan.sign * value
        flows[fee_coin] = flows.get(fee_coin, 0) - fee
        before = bundle.traded.get((plan.instrument, plan.sign), (0, 0))
        bundle.traded[plan.instrument, plan.sign] = (before[0] + size, before[1] + value)
        self._move(order, "full_fill" if order.filled >= order.qty else "partial_fill", None)
        if order.alive:
            order.hold = self._reserve(bundle, (plan.instrument, plan.sign), (order.price, order.left), order.hold)
        if bundle.done:
            self._reopen(bundle)

    # --- bundles

    def _progress(self, bundle: Bundle) -> None:
        """What follows for a bundle once a report was applied."""
        if bundle.done:
            return
        if bundle.state == "open" and bundle.sequence == "hard_leg_first":
            self._release_others(bundle)
        if bundle.live == 0 and bundle.retry_at == 0:
            self._settle(bundle)

    def _release_others(self, bundle: Bundle) -> None:
        """Each fill of the first leg releases the others in proportion, rounded down to lots, once a venue takes the size."""
        first = bundle.legs[0]
        for at in range(1, len(bundle.legs)):
            leg = bundle.legs[at]
            instrument = self._market.instrument(leg.instrument)
            lot = instrument.lot_int or 1
            qty = min(leg.qty, leg.qty * first.filled // first.qty) // lot * lot - leg.released
            if qty <= 0 or (instrument.min_qty is not None and qty_money(instrument, qty) < instrument.min_qty):
                continue
            if instrument.min_notional is None or notional_money(instrument, leg.price, qty) >= instrument.min_notional:
                self._release(bundle, at, qty)

    def _settle(self, bundle: Bundle, *, waited: bool = False) -> None:
        """No order is alive: close, flatten what is left, wait to try again, or hold it."""
        for leg in bundle.legs:
            self._hold_rest(bundle, leg, 0)
        left = [asset for asset in bundle.flat if bundle.flows.get(asset, 0) != 0]
        if not left:
            event = "balanced" if bundle.filled or bundle.state != "open" else "nothing_filled"
            bundle.state = advance(BUNDLE_LIFE, bundle.state, event)
            self._close(bundle)
            return
        if bundle.state != "residual":
            bundle.state = advance(BUNDLE_LIFE, bundle.state, "residual")
        if not waited and self._was_turned_away(bundle):
            self._wait(bundle)
            return
        blocked: list[str] = []
        for asset in left:
            step = self._flattening.next_step(bundle, asset)
            if step.order is not None:
                self._send_step(bundle, asset, step.order)
                return
            for refusal in step.refusals:
                self._rows.refusal(refusal, (bundle.account, bundle.strategy), bundle.opportunity)
            if step.refusals:
                blocked.append(asset)
        if not self._waits(bundle, blocked):
            bundle.state = advance(BUNDLE_LIFE, bundle.state, "held" if blocked else "dust")
            for asset in left:
                self._book(bundle, asset)
            self._close(bundle)

    def _send_step(self, bundle: Bundle, asset: str, plan: OrderPlan) -> None:
        bundle.attempts[asset] = plan.attempt
        bundle.state = advance(BUNDLE_LIFE, bundle.state, f"{plan.purpose}_sent")
        instrument = self._market.instrument(plan.instrument)
        self._risk.count_volume(bundle.strategy, instrument.quote, notional_money(instrument, plan.price, plan.qty))
        self._send(bundle, plan)

    def _waits(self, bundle: Bundle, blocked: list[str]) -> bool:
        """Whether a residual that nothing can flatten now is looked at again later; that uses up an attempt."""
        policy = self._risk.terms(bundle.strategy).execution
        waits = False
        for asset in blocked:
            attempt = bundle.attempts.get(asset, 0) + 1
            if attempt < policy.max_attempts:
                bundle.attempts[asset] = attempt
                waits = True
        if waits:
            self._wait(bundle)
        return waits

    def _was_turned_away(self, bundle: Bundle) -> bool:
        """Whether a venue rejected the last flattening order, for its rate limit or an outage: at once it would do so again."""
        last = bundle.orders[-1]
        return last.state == "rejected" and 0 < last.plan.attempt < self._risk.terms(bundle.strategy).execution.max_attempts

    def _wait(self, bundle: Bundle) -> None:
        bundle.retry_at = self._market.now + self._risk.terms(bundle.strategy).execution.retry_ns
        self._deadlines.set(bundle.retry_at, bundle)

    def _book(self, bundle: Bundle, asset: str) -> None:
        """A residual becomes inventory at the average price of the fills that made it, rounded against us."""
        qty = bundle.flows[asset]
        for (number, sign), (size, value) in bundle.traded.items():
            instrument = self._market.instrument(number)
            if instrument.base == asset and sign * qty > 0:
                cost = ceil_div(qty * value, size)
                bundle.booked.append((asset, qty, cost, instrument.quote))
                self._portfolio.hold(bundle.strategy, asset, Holding(qty, cost, instrument.quote))
                return
        bundle.booked.append((asset, qty, qty, asset))  # a quote currency is its own cost
        self._portfolio.hold(bundle.strategy, asset, Holding(qty, qty, asset))

    def _close(self, bundle: Bundle) -> None:
        self._open[bundle.strategy] -= 1
        until = self._risk.cool(bundle.strategy, bundle.instruments)
        if bundle.pair >= 0:
            closed = Closed(bundle.strategy, bundle.pair)
            if until is None:
                self._closed.append(closed)
            else:
                self._deadlines.set(until, closed)
        self._archive.pack(bundle)

    def _reopen(self, bundle: Bundle) -> None:
        """A fill came after the bundle was done: what was booked is taken back, the residual is a new one."""
        for asset, qty, cost, quote in bundle.booked:
            self._portfolio.hold(bundle.strategy, asset, Holding(-qty, -cost, quote))
        bundle.booked.clear()
        bundle.attempts.clear()
        bundle.state = advance(BUNDLE_LIFE, bundle.state, "late_fill")
        self._open[bundle.strategy] += 1
        self._archive.open(bundle)
