"""Rows of execution: bundles, commands, states of orders, fills, residuals, refusals, reports of simulated venues. Columns as in `model/columns`."""

from __future__ import annotations

from typing import Any, Final

from xarb.engine.bundle import Bundle, Order
from xarb.engine.desk import Desk
from xarb.engine.outputs import Outputs
from xarb.engine.rules import Market, Refusal
from xarb.model.command import Report

_NO_WISH: Final[tuple[Any, ...]] = (None,) * 7  # side, tif, post-only, price, quantity and their scales of a cancel


class OrderRows:
    """Writes them, in the order in which things happen."""

    def __init__(self, market: Market, outputs: Outputs) -> None:
        self._market = market
        self._emit = outputs.emit
        self.last_refusal: str | None = None  # reason of the last `refusals` row

    def submit(self, order: Order) -> None:
        """The wish for an order leaves."""
        side, instrument = order.side, order.side.instrument
        wish = (side.name, "ioc", False, order.price, order.qty, instrument.px_scale, instrument.qty_scale)
        self._command(order, "submit", wish, order.plan.purpose)

    def cancel(self, order: Order) -> None:
        """The wish for an order's end leaves."""
        self._command(order, "cancel", _NO_WISH, "cancel")

    def _command(self, order: Order, kind: str, wish: tuple[Any, ...], purpose: str) -> None:
        plan, bundle = order.plan, order.bundle
        cause = (kind, order.number, order.client_id, bundle.number, plan.leg, plan.attempt)
        self._emit("commands", order.side.names + cause + wish + (bundle.opportunity, purpose))

    def state(self, order: Order, previous: str | None, reason: str | None) -> None:
        """A new state of an order."""
        state = (order.state, previous, order.side.name, order.price_money, order.qty_money, order.filled_money, reason)
        self._emit("orders", order.names + state)

    def fill(self, order: Order, report: Report, money: tuple[int, int, int]) -> None:
        """An execution; `money` is price, quantity and notional at 18 decimals."""
        price, qty, notional = money
        what = (
            report.fill_id,
            order.side.name,
            price,
            qty,
            notional,
            report.fee,
            report.fee_asset,
            report.liquidity or "taker",
            order.plan.purpose,
        )
        self._emit("fills", order.names + what)

    def bundle(self, bundle: Bundle, event: str, plan: str | None = None) -> None:
        """Something happened to a bundle as a whole."""
        self._emit("bundles", (bundle.desk.account, bundle.desk.strategy, bundle.number, event, bundle.opportunity, plan))

    def orphaned(self, why: Refusal, account: str, strategy: str) -> None:
        """A bundle that an earlier start left cannot be taken up."""
        self._refused(why, account, strategy, None)

    def of_nobody(self, kind: str, row: tuple[Any, ...]) -> None:
        """A row of a bundle of which no desk knows."""
        self._emit(kind, row)

    def results(self, desk: Desk) -> None:
        """What a strategy made, where a limit of loss asks for it, as a bundle ended."""
        for taken in () if desk.results is None else desk.results.take():
            self._emit("results", (desk.account, desk.strategy, *taken))

    def residual(self, bundle: Bundle, left: tuple[str, int, int, str], cause: str) -> None:
        """Something that a bundle left became inventory, or does so no longer: asset, quantity, cost and its asset."""
        self._emit("residuals", (bundle.desk.account, bundle.desk.strategy, bundle.number, *left, cause))

    def refusal(self, refusal: Refusal, desk: Desk, opportunity: int | None) -> None:
        """Something is not sent."""
        self.last_refusal = refusal.reason
        self._refused(refusal, desk.account, desk.strategy, opportunity)

    def _refused(self, refusal: Refusal, account: str, strategy: str, opportunity: int | None) -> None:
        venue = symbol = None
        if refusal.instrument >= 0:
            instrument = self._market.instrument(refusal.instrument)
            venue, symbol = instrument.venue, instrument.symbol
        row = (account, strategy, opportunity, venue, symbol, refusal.reason, refusal.value, refusal.bound)
        self._emit("refusals", row)

    def report(self, order: Order, report: Report) -> None:
        """What a simulated venue said."""
        side, price, qty = order.side, report.price_int, report.qty_int
        what = (
            order.number,
            order.client_id,
            report.venue_order_id,
            report.event,
            report.fill_id,
            None if price is None else price * side.px_unit,
            None if qty is None else qty * side.qty_unit,
            report.fee,
            report.fee_asset,
            report.liquidity,
            report.reason,
        )
        self._emit("sim_reports", side.names + what)
