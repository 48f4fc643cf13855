"""The life of an order: it is sent, its reports move it through `model/order.py`, its fills are posted, silence ends in a cancel.

What an order reserves follows its state: all while it may fill, nothing once it is final. A fill counts once, in every state.
"""

from __future__ import annotations

from xarb.engine.archive import Archive
from xarb.engine.breaker import refuses_key
from xarb.engine.bundle import Bundle, Order, OrderPlan
from xarb.engine.deadlines import Deadlines
from xarb.engine.order_rows import OrderRows
from xarb.engine.portfolio import Hold, Portfolio, release, reserve
from xarb.engine.risk import Risk
from xarb.engine.rules import Market
from xarb.engine.side import Side
from xarb.errors import InvariantBroken
from xarb.model.command import CancelOrder, Command, Report, SubmitOrder
from xarb.model.order import ORDER_LIFE, ORDER_TERMINAL, advance, order_event


class Orders:
    """Sends orders and applies what is heard of them; bundles are not looked after here."""

    def __init__(self, market: Market, rows: OrderRows, portfolio: Portfolio, *, risk: Risk, archive: Archive) -> None:
        self._market = market
        self._rows = rows
        self._portfolio = portfolio
        self._risk = risk
        self._archive = archive
        self._breakers = risk.breakers
        self.deadlines = Deadlines()
        self._commands: list[Command] = []
        self.unhedged: list[int] = []  # bundles whose swap lost its hedge, until somebody gives that up

    def take_commands(self) -> list[Command]:
        """The commands since the last call."""
        commands, self._commands = self._commands, []
        return commands

    # --- out

    def send(self, bundle: Bundle, plan: OrderPlan, hold: Hold) -> None:
        """Send an order of a bundle; `hold` is reserved already.

        Raises:
            InvariantBroken: the strategy may not trade the instrument, so that nothing may leave.
        """
        desk = bundle.desk
        side = plan.side
        if side.number not in desk.allowed:
            raise InvariantBroken(f"strategy {desk.strategy} sends an order on {side.instrument.id}, which it may not trade")
        order = self._archive.add(bundle, plan)
        order.hold = hold
        bundle.live += 1
        now = self._market.now
        desk.count_order(now)
        self._commands.append(
            SubmitOrder(
                ts=now,
                order=order.number,
                client_order_id=order.client_id,
                account=desk.account,
                strategy=desk.strategy,
                instrument=side.number,
                side=side.name,
                tif="ioc",
                price_int=plan.price,
                qty_int=plan.qty,
            )
        )
        self.deadlines.set(now + desk.policy.timeout_ns, order)
        self._rows.submit(order)
        self._rows.state(order, None, None)
        bundle.follow(plan.leg)
        self._breakers.sent(order)

    def time_out(self, order: Order) -> None:
        """Nothing final was heard: the order is UNKNOWN and canceled, and watched on while cancels are left."""
        policy = order.bundle.desk.policy
        self._move(order, "unknown", "execution_timeout")
        if order.cancels < policy.max_cancels:
            self.cancel(order)
            self.deadlines.set(self._market.now + policy.timeout_ns, order)

    def cancel(self, order: Order) -> None:
        """Ask for the end of an order that may still fill."""
        order.cancels += 1
        desk = order.bundle.desk
        self._commands.append(
            CancelOrder(
                ts=self._market.now,
                order=order.number,
                client_order_id=order.client_id,
                account=desk.account,
                strategy=desk.strategy,
                instrument=order.side.number,
            )
        )
        self._rows.cancel(order)

    def cancel_living(self, number: int | None = None) -> None:
        """Ask for the end of every order of this start that may still fill; on one instrument of those of which nobody has yet."""
        for bundle in self._archive.open_bundles():
            for order in bundle.orders:
                if order.alive and order.origin is None and (number is None or (order.side.number == number and not order.cancels)):
                    self.cancel(order)

    def _cancel_unhedged(self, refused: Order) -> None:
        """A venue refuses the account's key: what may fill of each bundle that misses a leg there is canceled, wherever it is.

        A leg is missed that was not sent, or has ended short of its plan; orders that undo something go on.
        """
        account, _, venue, _ = refused.side.names
        for bundle in self._archive.open_bundles():
            if bundle.desk.account != account or not any(leg.lacks and leg.side.names[2] == venue for leg in bundle.legs):
                continue
            if bundle.swap is not None:
                self.unhedged.append(bundle.number)
            for order in bundle.orders:
                if order.alive and order.plan.purpose == "open" and order.origin is None and not order.cancels:
                    self.cancel(order)

    # --- in

    def apply(self, order: Order, report: Report) -> bool:
        """Apply a report; whether it was a fill that counts.

        Raises:
            InvariantBroken: the event has no meaning, or a fill lacks a price, quantity, fee or id.
        """
        event = report.event
        if order.alive:
            self._breakers.heard(order, event, report.reason)
        if event == "fill":
            return self._fill(order, report)
        if (moved := order_event(event, has_fills=order.filled > 0)) is not None:
            self._move(order, moved, report.reason)
            if order.state == "unknown" and order.cancels == 0:
                self.cancel(order)
            if refuses_key(event, report.reason):
                self._cancel_unhedged(order)
        elif event != "sent":
            raise InvariantBroken(f"order {order.number}: no meaning is known for a report of {event!r}")
        return False

    def _move(self, order: Order, event: str, reason: str | None) -> None:
        """Advance an order's state; a new state is a row, and a final one releases what is reserved."""
        before = order.state
        after = order.state = advance(ORDER_LIFE, before, event)
        if after == before:
            return
        self._rows.state(order, before, reason)
        order.bundle.follow(order.plan.leg)
        self._risk.moved(order, before, after)
        if after in ORDER_TERMINAL and before not in ORDER_TERMINAL:
            order.bundle.live -= 1
            order.due = 0
            release(order.hold)
            order.hold = ()
        if order.bundle.live == 0 or (before == "unknown" and order.alive):
            order.bundle.due = 0  # nothing of unknown fate is waited for any more, or it is known to live

    def _fill(self, order: Order, report: Report) -> bool:
        price, qty, fee, fee_coin = report.price_int, report.qty_int, report.fee, report.fee_asset
        if price is None or qty is None or fee is None or fee_coin is None or report.fill_id is None or price <= 0 or qty <= 0:
            raise InvariantBroken(f"order {order.number}: a fill without price, quantity, fee or id")
        if report.fill_id in order.fill_ids:
            return False
        order.fill_ids[report.fill_id] = None
        side, bundle = order.side, order.bundle
        size, value = qty * side.qty_unit, side.fill_value(price, qty)
        order.filled += qty
        order.filled_money += size
        if order.plan.purpose == "open":
            bundle.legs[order.plan.leg].filled += qty
        self._rows.fill(order, report, (price * side.px_unit, size, value))
        residual = bundle.residual
        self._post(order, (side.sign * size, -side.sign * value), (fee_coin, int(fee)))
        before = bundle.traded.get(side.key, (0, 0))
        bundle.traded[side.key] = (before[0] + size, before[1] + value)
        bundle.filled = True
        bundle.due = 0
        if order.plan.purpose == "open":
            bundle.compare(residual)
        self._move(order, "full_fill" if order.filled >= order.qty else "partial_fill", None)
        if order.alive:
            order.hold = self.hold_again(side, (order.price, order.left), order.hold)
        else:
            bundle.follow(order.plan.leg)  # a late fill moves a leg whose order stays as it is
        return True

    def _post(self, order: Order, trade: tuple[int, int], fee: tuple[str, int]) -> None:
        """Post what a fill changes in base and quote, and its fee, to the portfolio and the bundle."""
        side, flows, number = order.side, order.bundle.flows, order.number
        base, quote = side.base, side.quote
        self._portfolio.post(side.base_till, trade[0], "trade", number)
        self._portfolio.post(side.quote_till, trade[1], "trade", number)
        flows[base] = flows.get(base, 0) + trade[0]
        flows[quote] = flows.get(quote, 0) + trade[1]
        coin, paid = fee
        if paid:
            self._portfolio.post(side.fee_till(coin), -paid, "fee", number)
        flows[coin] = flows.get(coin, 0) - paid

    # --- what is reserved

    def hold_again(self, side: Side, order: tuple[int, int], before: Hold) -> Hold:
        """Replace the reservation `before` by what an order of (price, qty) may take; quantity 0 releases all."""
        after = self._risk.hold(side, order[0], order[1]) if order[1] > 0 else ()
        if after is None:
            return before  # the fee coin lost its price: what was reserved stays
        release(before)
        reserve(after)
        return after
