"""Execution: turns bundles into orders, follows them by their reports, and flattens what the legs leave unbalanced.

States move through the tables of `model/order.py` only. Fills are applied whenever they come; a fill id counts once.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import Any, Final, NamedTuple

from xarb.engine.bundle import SIDES, Bundle, Hold, Leg, Order, OrderPlan
from xarb.engine.order_rows import OrderRows
from xarb.engine.outputs import Outputs
from xarb.engine.portfolio import FillMoney, Holding, Portfolio
from xarb.engine.residual import Flattening, flat_assets
from xarb.engine.risk import Market, Risk, notional_money, qty_money
from xarb.engine.setup import Setup
from xarb.engine.strategy import BundlePlan, Strategy
from xarb.errors import InvariantBroken
from xarb.model.command import CancelOrder, Command, Report, SubmitOrder
from xarb.model.order import BUNDLE_LIFE, ORDER_LIFE, ORDER_TERMINAL, advance
from xarb.model.units import NEVER, ceil_div

_TIMEOUT, _REARM = range(2)
_STATE_EVENTS: Final = {
    "accepted": "accepted",
    "canceled": "canceled",
    "rejected": "rejected",
    "expired": "expired",
    "unknown": "unknown",
    "not_sent": "rejected",  # certain that nothing happened at the venue
}


class Closed(NamedTuple):
    """A bundle closed, or the cool-down that followed it ended."""

    strategy: str
    opportunity: int | None


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
        self._prefix = f"{setup.log_id[:8]}-{setup.start}-"
        self._orders: list[Order] = []  # order n stands at n - 1
        self._bundles = 0
        self._open: dict[str, int] = {}
        self._deadlines: list[tuple[int, int, int, Any]] = []  # heap: time, ordinal, kind, order or closed bundle
        self._ordinal = 0
        self._closed: list[Closed] = []
        self._commands: list[Command] = []

    # --- what the engine calls

    def submit(self, plan: BundlePlan, strategy: Strategy) -> tuple[list[Command], int | None]:
        """Commands and number of the bundle; without a number risk refused it, and a `refusals` row says why."""
        refusal = self._risk.check(plan, strategy, self.open_bundles(strategy.id))
        if refusal is not None:
            self._rows.refusal(refusal, (strategy.account, strategy.id), plan.opportunity)
            return [], None
        self._bundles += 1
        bundle = Bundle(self._bundles, strategy.id, strategy.account, plan)
        bundle.flat = flat_assets(bundle, self._market)
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
        order = self._order(report.order)
        if report.event == "fill":
            self._fill(order, report)
        elif report.event in _STATE_EVENTS:
            self._move(order, _STATE_EVENTS[report.event], report.reason)
            if order.state == "unknown":
                self._cancel(order)
        elif report.event != "sent":
            raise InvariantBroken(f"order {report.order}: no meaning is known for a report of {report.event!r}")
        self._progress(order.bundle)
        return self._taken()

    def on_deadline(self, ts: int) -> list[Command]:
        """Fire the deadlines up to `ts`: orders without a final report turn UNKNOWN and are canceled; cool-downs end."""
        while self._deadlines and self._deadlines[0][0] <= ts:
            _, _, kind, what = heappop(self._deadlines)
            if kind == _REARM:
                self._closed.append(what)
            elif what.alive and what.state != "unknown":
                self._move(what, "unknown", "execution_timeout")
                self._cancel(what)
        return self._taken()

    def next_deadline(self) -> int:
        """Time of the next deadline, NEVER without one."""
        deadlines = self._deadlines
        while deadlines and deadlines[0][2] == _TIMEOUT and (not deadlines[0][3].alive or deadlines[0][3].state == "unknown"):
            heappop(deadlines)
        return deadlines[0][0] if deadlines else NEVER

    @property
    def last_refusal(self) -> str | None:
        """Reason of the last refusal."""
        return self._rows.last_refusal

    def closed_since_last(self) -> list[Closed]:
        """Bundles closed and cool-downs ended since the last call."""
        closed, self._closed = self._closed, []
        return closed

    def owner(self, order: int) -> str:
        """Strategy that sent an order."""
        return self._order(order).bundle.strategy

    def open_bundles(self, strategy: str) -> int:
        """Open bundles of a strategy; a held one counts as closed."""
        return self._open.get(strategy, 0)

    def free(self, strategy: Strategy, venue: str, asset: str) -> int:
        """What a strategy may spend of an asset on a venue: free in the account and left in its budget, never below zero."""
        free = self._portfolio.free_of_account((strategy.account, venue, asset))
        left = self._portfolio.free_of_budget(strategy.id, asset)
        return max(0, free if left is None else min(free, left))

    def exposure(self, strategy: str, asset: str) -> tuple[int, int]:
        """The least and the most of an asset that the strategy's fills may come to, orders in flight and UNKNOWN at worst."""
        low = high = self._portfolio.flows(strategy).get(asset, 0)
        for order in self._orders:
            if order.alive and order.bundle.strategy == strategy:
                instrument = self._market.instrument(order.plan.instrument)
                left = order.qty - order.filled
                for part, amount, sign in (
                    (instrument.base, qty_money(instrument, left), order.plan.sign),
                    (instrument.quote, notional_money(instrument, order.price, left), -order.plan.sign),
                ):
                    if part == asset:
                        low, high = (low, high + amount) if sign > 0 else (low - amount, high)
        return low, high

    def record_report(self, report: Report) -> None:
        """Write a report of a simulated venue as the `sim_reports` row that it is."""
        self._rows.report(self._order(report.order), report)

    def rescale(self, number: int, price: int, qty: int) -> None:
        """The scales of an instrument grew: its orders and legs grow by these powers of ten."""
        for order in self._orders:
            if order.plan.instrument == number:
                order.price, order.qty, order.filled = order.price * price, order.qty * qty, order.filled * qty
        bundles = {order.bundle.number: order.bundle for order in self._orders}
        for bundle in bundles.values():
            for leg in bundle.legs:
                if leg.instrument == number:
                    leg.price, leg.qty, leg.released = leg.price * price, leg.qty * qty, leg.released * qty

    # --- orders

    def _order(self, number: int) -> Order:
        if not 1 <= number <= len(self._orders):
            raise InvariantBroken(f"a report names order {number}; {len(self._orders)} were sent")
        return self._orders[number - 1]

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
        leg.hold = self._reserve(bundle, (leg.instrument, leg.sign), (leg.price, rest), leg.hold)

    def _send(self, bundle: Bundle, plan: OrderPlan) -> None:
        number = len(self._orders) + 1
        order = Order(number, f"{self._prefix}{number}", bundle, plan)
        self._orders.append(order)
        bundle.orders.append(order)
        bundle.live += 1
        order.hold = self._reserve(bundle, (plan.instrument, plan.sign), (plan.price, plan.qty), [])
        self._risk.count_order(bundle.strategy)
        now = self._market.now
        self._commands.append(
            SubmitOrder(
                ts=now,
                order=number,
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
        self._defer(now + self._risk.terms(bundle.strategy).execution.timeout_ns, _TIMEOUT, order)
        self._rows.command(order, "submit")
        self._rows.state(order, None, None)

    def _cancel(self, order: Order) -> None:
        """Ask once for the end of an order whose fate is unknown."""
        if order.cancel_sent:
            return
        order.cancel_sent = True
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
        order.fill_ids.add(report.fill_id)
        bundle, plan = order.bundle, order.plan
        instrument = self._market.instrument(plan.instrument)
        size, value = qty_money(instrument, qty), notional_money(instrument, price, qty)
        order.filled += qty
        self._rows.fill(order, report, (size, value))
        account, strategy = bundle.account, bundle.strategy
        venue, base, quote = instrument.venue, instrument.base, instrument.quote
        self._portfolio.apply(
            FillMoney(account, strategy, venue, base, quote, order.number, plan.sign, size, value, int(fee), fee_coin)
        )
        bundle.filled = True
        flows = bundle.flows
        flows[base] = flows.get(base, 0) + plan.sign * size
        flows[quote] = flows.get(quote, 0) - plan.sign * value
        flows[fee_coin] = flows.get(fee_coin, 0) - fee
        before = bundle.traded.get((plan.instrument, plan.sign), (0, 0))
        bundle.traded[plan.instrument, plan.sign] = (before[0] + size, before[1] + value)
        self._move(order, "full_fill" if order.filled >= order.qty else "partial_fill", None)
        if order.alive:
            left = (order.price, order.qty - order.filled)
            order.hold = self._reserve(bundle, (plan.instrument, plan.sign), left, order.hold)
        if bundle.done:
            self._reopen(bundle)

    # --- bundles

    def _progress(self, bundle: Bundle) -> None:
        """What follows for a bundle once a report was applied."""
        if bundle.done:
            return
        if bundle.state == "open" and bundle.plan.sequence == "hard_leg_first":
            self._release_others(bundle)
        if bundle.live == 0:
            self._settle(bundle)

    def _release_others(self, bundle: Bundle) -> None:
        """Each fill of the first leg releases the others in proportion, rounded down to lots, once a venue takes the size."""
        first = bundle.legs[0]
        filled = sum(order.filled for order in bundle.orders if order.plan.leg == 0)
        for at in range(1, len(bundle.legs)):
            leg = bundle.legs[at]
            instrument = self._market.instrument(leg.instrument)
            lot = instrument.lot_int or 1
            qty = min(leg.qty, leg.qty * filled // first.qty) // lot * lot - leg.released
            if qty <= 0 or (instrument.min_qty is not None and qty_money(instrument, qty) < instrument.min_qty):
                continue
            if instrument.min_notional is None or notional_money(instrument, leg.price, qty) >= instrument.min_notional:
                self._release(bundle, at, qty)

    def _settle(self, bundle: Bundle) -> None:
        """No order is alive: close, flatten what is left, or hold it."""
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
        held = False
        for asset in left:
            step = self._flattening.next_step(bundle, asset)
            if step.order is not None:
                bundle.attempts[asset] = step.order.attempt
                bundle.state = advance(BUNDLE_LIFE, bundle.state, f"{step.order.purpose}_sent")
                instrument = self._market.instrument(step.order.instrument)
                value = notional_money(instrument, step.order.price, step.order.qty)
                self._risk.count_volume(bundle.strategy, instrument.quote, value)
                self._send(bundle, step.order)
                return
            for refusal in step.refusals:
                held = True
                self._rows.refusal(refusal, (bundle.account, bundle.strategy), bundle.plan.opportunity)
        bundle.state = advance(BUNDLE_LIFE, bundle.state, "held" if held else "dust")
        for asset in left:
            self._book(bundle, asset)
        self._close(bundle)

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
        closed = Closed(bundle.strategy, bundle.plan.opportunity)
        until = self._risk.cool(bundle.strategy, bundle.instruments)
        if until is None:
            self._closed.append(closed)
        else:
            self._defer(until, _REARM, closed)

    def _reopen(self, bundle: Bundle) -> None:
        """A fill came after the bundle was done: what was booked is taken back, the residual is looked at again."""
        for asset, qty, cost, quote in bundle.booked:
            self._portfolio.hold(bundle.strategy, asset, Holding(-qty, -cost, quote))
        bundle.booked.clear()
        bundle.state = advance(BUNDLE_LIFE, bundle.state, "late_fill")
        self._open[bundle.strategy] += 1

    def _defer(self, ts: int, kind: int, what: Order | Closed) -> None:
        self._ordinal += 1
        heappush(self._deadlines, (ts, self._ordinal, kind, what))
