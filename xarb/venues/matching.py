"""What happens when a command reaches a simulated venue, and when the market reaches a resting order.

Checks at arrival, in this order, each with the reason that a rejection carries: `outage`, `rate_limit`, the names of
`Instrument.untradable_because`, `fee_unknown`, `price`, `qty`, `tick`, `lot`, `min_qty`, `min_notional`, `post_only_needs_gtc`,
`too_many_orders`, `post_only_would_cross`, `self_trade`, `fee_rate_unknown`, `balance`.

Reports: an IOC order gives one fill for each level and then `expired` for what is left (nothing more when it is whole); a FOK order
the same, or `expired` alone; an order that rests gives `accepted` first. A cancel is answered `canceled`; for an order that is done
already the reason is its state (`order_filled`, `order_canceled`, ...), for one that never came `order_unknown`. A cancel refused by an
outage is answered `accepted` with the reason `cancel_outage`: the order still stands.
"""

from __future__ import annotations

from collections import deque
from heapq import heappush
from typing import Any

import msgspec

from xarb.engine.kernel.book import ASK, BID
from xarb.errors import InvariantBroken
from xarb.model.command import CancelOrder, Report
from xarb.model.instrument import Instrument
from xarb.model.units import MONEY_SCALE, NANOS_PER_S, NULL, Money
from xarb.venues.accounts import Accounts, Fees
from xarb.venues.fold import book as kernel
from xarb.venues.fold.state import FILLS, INSTRUMENTS, VenueMemory
from xarb.venues.resting import Order, by_priority
from xarb.venues.terms import VenueModel, VenueSetup

Outbox = list[tuple[int, int, int, Report]]  # a heap: due time, number of the command, number of its report


class Matching:
    """Orders and money of all simulated venues of a run.

    Args:
        memory: the compiled books.
        setup: what the venues share.
        models: by venue number.
    """

    def __init__(self, memory: VenueMemory, setup: VenueSetup, models: list[VenueModel]) -> None:
        self.instruments: list[Instrument] = list(setup.instruments)
        self.accounts = Accounts(setup.opening)
        self.outbox: Outbox = []
        self._setup = setup
        self._models = models
        self._handle = memory.handle
        self._world = memory.world
        self._fills = memory.tables[FILLS]
        self._records: Any = memory.tables[INSTRUMENTS]
        self._fees: dict[tuple[str, int, bool], Fees | None] = {}
        self._arrivals: dict[tuple[str, int], deque[int]] = {}
        self._live: dict[int, Order] = {}
        self._done: dict[int, tuple[str, int, int]] = {}  # by order: state, due time and number of its last report
        self._resting: dict[int, list[Order]] = {}  # by instrument

    # --- commands that arrive

    def submit(self, order: Order, arrival: int) -> None:
        """An order reaches its venue, whose book stands as of `arrival`."""
        command = order.command
        if command.order in self._live or command.order in self._done:
            raise InvariantBroken(f"order {command.order} was sent twice")
        reason = self._refusal(order, arrival)
        if reason is not None:
            self._close(order, arrival, "rejected", reason)
            return
        side = ASK if order.buy else BID
        number = command.instrument
        if command.tif == "fok":
            _, found = kernel.walk(self._handle, number, side, order.price, order.rest, 0)
            if found < order.rest:
                self._close(order, arrival, "expired", "size_unknown" if self._world["unknown"] else "fok_unfillable")
                return
        self._live[command.order] = order
        fills = self._take(order, order.rest)
        left = order.rest - sum(qty for _, qty in fills)
        rests = command.tif == "gtc" and left > 0
        if rests:
            self._report(order, arrival, "accepted")
        for price, qty in fills:
            self._fill(order, arrival, (price, qty), maker=False)
        if rests:
            self._rest(order)
        elif left > 0:
            self._close(order, arrival, "expired", "size_unknown" if self._world["unknown"] else "no_liquidity")
        else:
            self._finish(order, "filled")

    def cancel(self, command: CancelOrder, arrival: int, *, ordinal: int, response: int) -> None:
        """A cancel reaches the venue."""
        order = self._live.get(command.order)
        if order is None:
            state, due, count = self._done.get(command.order, ("unknown", 0, 0))
            due = max(due, arrival + response)
            self._done[command.order] = (state, due, count + 1)
            report = Report(
                ts=due,
                order=command.order,
                instrument=command.instrument,
                event="canceled",
                venue_order_id=None if state == "unknown" else _venue_order_id(command.client_order_id),
                reason=f"order_{state}",
            )
            heappush(self.outbox, (due, ordinal, 0, report))
            return
        order.response, order.ordinal = response, ordinal
        if self._is_out(order.venue, arrival):
            self._report(order, arrival, "accepted", reason="cancel_outage")
            return
        self._leave(order)
        self._close(order, arrival, "canceled", None)

    # --- rows that concern resting orders

    def meet_trade(self, number: int, price: int, size: int, *, aggressor: int, now: int) -> None:
        """A public trade on an instrument with resting orders."""
        lot = self._lot(number)
        left = size
        for order in sorted(self._resting[number], key=by_priority):
            qty = order.meet_trade(price, left, aggressor)
            qty -= qty % lot
            if qty > 0:
                left -= qty
                self._fill_resting(order, now, qty)

    def meet_book(self, number: int, now: int) -> None:
        """The book of an instrument with resting orders changed."""
        for order in sorted(self._resting[number], key=by_priority):
            fills = self._take(order, order.rest)
            qty = sum(qty for _, qty in fills)
            if qty > 0:
                self._fill_resting(order, now, qty)
            if order.rest > 0:
                order.see_level(self._shown(order))

    def resting_venues(self) -> list[int]:
        """Numbers of the venues with resting orders, ascending, each once."""
        return sorted({order.venue for orders in self._resting.values() for order in orders})

    # --- instruments

    def replace_instrument(self, number: int, after: Instrument) -> None:
        """The instrument is known anew; what is on its way is expressed at its scales."""
        before = self.instruments[number]
        self.instruments[number] = after
        self._fees.clear()
        price, qty = 10 ** (after.px_scale - before.px_scale), 10 ** (after.qty_scale - before.qty_scale)
        if price == qty == 1:
            return
        for orders in self._resting.values():
            for order in orders:
                order.fees = self._fees_of(order) or order.fees
                if order.command.instrument == number:
                    order.rescale(price, qty)
                elif self._rate_number(order) == number:
                    order.rate *= price
        for at, (due, ordinal, count, report) in enumerate(self.outbox):
            if report.instrument == number and report.price_int is not None and report.qty_int is not None:
                finer = _rescaled(report, price, qty)
                self.outbox[at] = (due, ordinal, count, finer)

    # --- parts of an arrival

    def _refusal(self, order: Order, arrival: int) -> str | None:
        """Why the venue refuses the order, or None."""
        command = order.command
        number = command.instrument
        instrument = self.instruments[number]
        if self._is_out(order.venue, arrival):
            return "outage"
        if self._over_rate(command.account, order.venue, arrival):
            return "rate_limit"
        reason = instrument.untradable_because()
        if reason is not None:
            return reason
        fees = self._fees_of(order)
        if fees is None:
            return "fee_unknown"
        order.fees = fees
        return _broken_step(instrument, order) or self._unwelcome(order) or self._uncovered(order)

    def _unwelcome(self, order: Order) -> str | None:
        command, number = order.command, order.command.instrument
        resting = self._resting.get(number, ())
        if command.post_only and command.tif != "gtc":
            return "post_only_needs_gtc"
        if command.tif == "gtc" and len(resting) >= self._models[order.venue].max_resting:
            return "too_many_orders"
        if command.post_only:
            other = int(kernel.best_price(self._handle, number, ASK if order.buy else BID))
            if other != NULL and (other <= order.price if order.buy else other >= order.price):
                return "post_only_would_cross"
        for mine in resting:
            crosses = mine.price <= order.price if order.buy else mine.price >= order.price
            if crosses and mine.buy != order.buy and mine.command.account == command.account:
                return "self_trade"
        return None

    def _uncovered(self, order: Order) -> str | None:
        command, fees = order.command, order.fees
        if fees.needs_rate:
            order.rate = self._rate_of(order)
            if order.rate <= 0:
                return "fee_rate_unknown"
        ppb = fees.tier.taker_ppb if command.tif != "gtc" else max(fees.tier.taker_ppb, fees.tier.maker_ppb)
        fee_price = order.price
        if not order.buy and fees.needs_rate:  # other fees of a sale do not depend on its price, or come out of its proceeds
            fee_price = max(fee_price, int(kernel.best_price(self._handle, command.instrument, BID)))
        need = fees.need(order.price, order.rest, fee_price=fee_price, ppb=ppb, rate=order.rate)
        venue = self.instruments[command.instrument].venue
        return None if self.accounts.covers(command.account, venue, need) else "balance"

    def _take(self, order: Order, qty: int) -> list[tuple[int, int]]:
        """Take from the book at the order's price or better: (price, quantity) a level."""
        count, _ = kernel.walk(
            self._handle,
            order.command.instrument,
            ASK if order.buy else BID,
            order.price,
            qty,
            int(self._models[order.venue].consumption),
        )
        flat = self._fills[: 2 * count].tolist()
        return list(zip(flat[::2], flat[1::2], strict=True))

    def _fill(self, order: Order, now: int, fill: tuple[int, int], *, maker: bool) -> None:
        """Book one fill of (price, quantity) and report it."""
        price, qty = fill
        command, fees = order.command, order.fees
        fee = fees.of(price, qty, ppb=fees.tier.maker_ppb if maker else fees.tier.taker_ppb, rate=order.rate)
        base, quote = qty * fees.qty_unit, price * qty * fees.notional_unit
        changes = (base, -quote) if order.buy else (-base, quote)
        self.accounts.settle(command.account, self.instruments[command.instrument], changes, fee=(fees.asset, fee))
        order.rest -= qty
        order.fills += 1
        due = order.due = max(order.due, now + order.response)
        report = Report(
            ts=due,
            order=command.order,
            instrument=command.instrument,
            event="fill",
            venue_order_id=_venue_order_id(command.client_order_id),
            fill_id=f"{command.client_order_id}.{order.fills}",
            price_int=price,
            qty_int=qty,
            fee=Money(fee),
            fee_asset=fees.asset,
            liquidity="maker" if maker else "taker",
        )
        heappush(self.outbox, (due, order.ordinal, order.reports, report))
        order.reports += 1

    def _report(self, order: Order, now: int, event: str, *, reason: str | None = None) -> None:
        due = order.due = max(order.due, now + order.response)
        command = order.command
        report = Report(
            ts=due,
            order=command.order,
            instrument=command.instrument,
            event=event,
            venue_order_id=_venue_order_id(command.client_order_id),
            reason=reason,
        )
        heappush(self.outbox, (due, order.ordinal, order.reports, report))
        order.reports += 1

    def _close(self, order: Order, now: int, event: str, reason: str | None) -> None:
        self._report(order, now, event, reason=reason)
        self._finish(order, event)

    def _finish(self, order: Order, state: str) -> None:
        self._live.pop(order.command.order, None)
        self._done[order.command.order] = (state, order.due, order.reports)

    # --- resting orders

    def _rest(self, order: Order) -> None:
        number = order.command.instrument
        order.see_level(self._shown(order))
        self._hold(order)
        self._resting.setdefault(number, []).append(order)
        self._records[number]["resting"] += 1
        self._records[number]["busy"] += 1

    def _leave(self, order: Order) -> None:
        number = order.command.instrument
        self.accounts.hold(order.command.account, self.instruments[number].venue, order.held, sign=-1)
        order.held = {}
        self._resting[number].remove(order)
        self._records[number]["resting"] -= 1
        self._records[number]["busy"] -= 1

    def _hold(self, order: Order) -> None:
        fees = order.fees
        order.held = fees.need(order.price, order.rest, fee_price=order.price, ppb=fees.tier.maker_ppb, rate=order.rate)
        self.accounts.hold(order.command.account, self.instruments[order.command.instrument].venue, order.held, sign=1)

    def _fill_resting(self, order: Order, now: int, qty: int) -> None:
        if order.fees.needs_rate:
            order.rate = self._rate_of(order) or order.rate
        self.accounts.hold(order.command.account, self.instruments[order.command.instrument].venue, order.held, sign=-1)
        order.held = {}
        self._fill(order, now, (order.price, qty), maker=True)
        if order.rest > 0:
            self._hold(order)
        else:
            self._leave(order)
            self._finish(order, "filled")

    def _shown(self, order: Order) -> int | None:
        size = int(kernel.shown_size(self._handle, order.command.instrument, BID if order.buy else ASK, order.price))
        return None if size == kernel.HIDDEN else size

    # --- what an account may do

    def _is_out(self, venue: int, arrival: int) -> bool:
        return any(outage.from_ts <= arrival < outage.to_ts for outage in self._models[venue].outages)

    def _over_rate(self, account: str, venue: int, arrival: int) -> bool:
        limit = self._models[venue].rate_limit
        if limit is None:
            return False
        window = self._arrivals.setdefault((account, venue), deque())
        while window and window[0] <= arrival - NANOS_PER_S:
            window.popleft()
        window.append(arrival)
        if len(window) > limit + 1:
            window.popleft()  # bounded: no more than the limit's latest arrivals matter
        return len(window) > limit

    def _fees_of(self, order: Order) -> Fees | None:
        command = order.command
        key = (command.account, command.instrument, order.buy)
        if key not in self._fees:
            tier = self._setup.fees.get(key[:2])
            instrument = self.instruments[command.instrument]
            if tier is None:
                self._fees[key] = None
            else:
                fees = Fees(tier, instrument, buy=order.buy)
                rate = self._setup.rates.get((instrument.venue, fees.asset, instrument.quote))
                if rate is not None:
                    fees = Fees(tier, instrument, buy=order.buy, rate_scale=self.instruments[rate].px_scale)
                self._fees[key] = fees
        return self._fees[key]

    def _rate_of(self, order: Order) -> int:
        """Bid of the instrument that prices the fee coin, 0 while unknown."""
        number = self._rate_number(order)
        return 0 if number is None else max(0, kernel.best_price(self._handle, number, BID))

    def _rate_number(self, order: Order) -> int | None:
        """The instrument that prices the order's fee coin."""
        instrument = self.instruments[order.command.instrument]
        return self._setup.rates.get((instrument.venue, order.fees.asset, instrument.quote))

    def _lot(self, number: int) -> int:
        return self.instruments[number].lot_int or 1


def _broken_step(instrument: Instrument, order: Order) -> str | None:
    """The first of the instrument's steps and minima that the order breaks."""
    price, qty = order.price, order.rest
    if price <= 0:
        return "price"
    if qty <= 0:
        return "qty"
    if price % (instrument.tick_int or 1):
        return "tick"
    if qty % (instrument.lot_int or 1):
        return "lot"
    if instrument.min_qty is not None and qty * 10 ** (MONEY_SCALE - instrument.qty_scale) < instrument.min_qty:
        return "min_qty"
    if instrument.min_notional is not None and price * qty * 10 ** (MONEY_SCALE - instrument.scale) < instrument.min_notional:
        return "min_notional"
    return None


def _venue_order_id(client_order_id: str) -> str:
    return f"sim-{client_order_id}"


def _rescaled(report: Report, price: int, qty: int) -> Report:
    return msgspec.structs.replace(report, price_int=(report.price_int or 0) * price, qty_int=(report.qty_int or 0) * qty)


__all__ = ["Matching", "Outbox"]
