"""Rows of execution: commands, states of orders, fills, refusals, reports of simulated venues. Columns as in `model/columns.py`."""

from __future__ import annotations

from typing import Any

from xarb.engine.amounts import qty_money
from xarb.engine.bundle import SIDES, Order
from xarb.engine.outputs import Outputs
from xarb.engine.rules import Market, Refusal
from xarb.model.command import Report
from xarb.model.units import MONEY_SCALE


class OrderRows:
    """Writes them, in the order in which things happen."""

    def __init__(self, market: Market, outputs: Outputs) -> None:
        self._market = market
        self._outputs = outputs
        self.last_refusal: str | None = None  # reason of the last `refusals` row

    def command(self, order: Order, kind: str) -> None:
        """A wish that leaves: "submit" or "cancel"."""
        plan, bundle = order.plan, order.bundle
        cause = (kind, order.number, order.client_id, bundle.number, plan.leg, plan.attempt)
        wish: tuple[Any, ...] = (None,) * 7
        purpose = "cancel"
        if kind == "submit":
            instrument = self._market.instrument(plan.instrument)
            wish = (SIDES[plan.sign], "ioc", False, order.price, order.qty, instrument.px_scale, instrument.qty_scale)
            purpose = plan.purpose
        self._outputs.emit("commands", (*self._names(order), *cause, *wish, bundle.opportunity, purpose))

    def state(self, order: Order, previous: str | None, reason: str | None) -> None:
        """A new state of an order."""
        instrument = self._market.instrument(order.plan.instrument)
        self._outputs.emit(
            "orders",
            (
                *self._names(order),
                order.number,
                order.bundle.number,
                order.plan.leg,
                order.state,
                previous,
                SIDES[order.plan.sign],
                order.price * 10 ** (MONEY_SCALE - instrument.px_scale),
                qty_money(instrument, order.qty),
                qty_money(instrument, order.filled),
                reason,
            ),
        )

    def fill(self, order: Order, report: Report, money: tuple[int, int]) -> None:
        """An execution; `money` is quantity and notional at 18 decimals."""
        instrument = self._market.instrument(order.plan.instrument)
        assert report.price_int is not None
        self._outputs.emit(
            "fills",
            (
                *self._names(order),
                order.number,
                order.bundle.number,
                order.plan.leg,
                report.fill_id,
                SIDES[order.plan.sign],
                report.price_int * 10 ** (MONEY_SCALE - instrument.px_scale),
                *money,
                report.fee,
                report.fee_asset,
                report.liquidity or "taker",
                order.plan.purpose,
            ),
        )

    def refusal(self, refusal: Refusal, actor: tuple[str, str], opportunity: int | None) -> None:
        """Something is not sent; `actor` is account and strategy."""
        instrument = self._market.instrument(refusal.instrument) if refusal.instrument >= 0 else None
        self.last_refusal = refusal.reason
        place = (None, None) if instrument is None else (instrument.venue, instrument.symbol)
        self._outputs.emit("refusals", (*actor, opportunity, *place, refusal.reason, refusal.value, refusal.bound))

    def report(self, order: Order, report: Report) -> None:
        """What a simulated venue said."""
        instrument = self._market.instrument(order.plan.instrument)
        price, qty = report.price_int, report.qty_int
        self._outputs.emit(
            "sim_reports",
            (
                *self._names(order),
                order.number,
                order.client_id,
                report.venue_order_id,
                report.event,
                report.fill_id,
                None if price is None else price * 10 ** (MONEY_SCALE - instrument.px_scale),
                None if qty is None else qty_money(instrument, qty),
                report.fee,
                report.fee_asset,
                report.liquidity,
                report.reason,
            ),
        )

    def _names(self, order: Order) -> tuple[str, str, str, str]:
        """Account, strategy, venue and symbol, as the rows of an order begin."""
        instrument = self._market.instrument(order.plan.instrument)
        return order.bundle.account, order.bundle.strategy, instrument.venue, instrument.symbol
