"""What happens when a command reaches a simulated venue, and when the market reaches a resting order.

Checks at arrival, in this order, each with the reason that a rejection carries: `outage`, `rate_limit`, the names of
`Instrument.untradable_because`, `fee_unknown`, `price`, `qty`, `tick`, `lot`, `min_qty`, `min_notional`, `post_only_needs_gtc`,
`too_many_orders`, `post_only_would_cross`, `self_trade`, `fee_rate_unknown`, `balance`, and what the model draws (`VenueModel.refusals`).

Reports: an IOC order gives one fill for each level and then `expired` for what is left (nothing more when it is whole); a FOK order
the same, or `expired` alone; an order that rests gives `accepted` first. A cancel is answered `canceled`; for an order that is done
already the reason is its state (`order_filled`, `order_canceled`, ...), for one that never came `order_unknown`. A cancel refused by an
outage is answered `accepted` with the reason `cancel_outage`: the order still stands.
"""

from __future__ import annotations

from heapq import heappush
from typing import Final

import msgspec

from xarb.engine.kernel.book import ASK, BID
from xarb.engine.words import place, width, words
from xarb.errors import InvariantBroken
from xarb.model.command import CancelOrder, Report, SubmitOrder
from xarb.model.instrument import Instrument
from xarb.model.units import NULL, PPB, Money
from xarb.venues.accounts import NOTHING, Accounts, Fees, fee_asset
from xarb.venues.captured import MatchingCopy
from xarb.venues.fold import book as kernel
from xarb.venues.fold import draw
from xarb.venues.fold.state import FILLS, INSTRUMENT, INSTRUMENTS, WORLD, VenueMemory
from xarb.venues.lane import Lane, Member
from xarb.venues.resting import Order, by_priority
from xarb.venues.terms import VenueModel, VenueSetup

_UNKNOWN: Final = place(WORLD, "unknown")
_VENUE: Final = place(INSTRUMENT, "venue")
_RESTING: Final = place(INSTRUMENT, "resting")
_BUSY: Final = place(INSTRUMENT, "busy")
_WIDTH: Final = width(INSTRUMENT)
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
        self.resting = 0  # orders that rest, at all venues
        self._setup = setup
        self._models = models
        self._refusal_seed, self._share_seed = (
            draw.stream_seed(setup.seed, stream) for stream in (draw.STREAM_REFUSAL, draw.STREAM_SHARE)
        )
        self._handle = memory.handle
        self._world = words(memory.block)
        self._fills = words(memory.tables[FILLS])
        self._records = words(memory.tables[INSTRUMENTS])
        self._members: dict[tuple[str, str], Member] = {}  # by account and venue
        self._lanes: dict[tuple[str, int, str], Lane] = {}  # by account, instrument and side
        self._live: dict[int, Order] = {}
        self._done: dict[int, tuple[str, int, int]] = {}  # by order: state, due time and number of its last report
        self._resting: dict[int, list[Order]] = {}  # by instrument

    def capture(self) -> MatchingCopy:
        """Orders and money as plain values."""
        return MatchingCopy(
            instruments=[*self.instruments],
            purses=self.accounts.capture(),
            outbox=sorted(self.outbox, key=_place),
            arrivals=[(*key, member.arrivals) for key, member in self._members.items()],
            done={**self._done},
            resting=[(number, [order.capture() for order in orders]) for number, orders in self._resting.items()],
        )

    def restore(self, copy: MatchingCopy) -> None:
        """Take over a copy, in place; the compiled memory was restored before, and no order had come."""
        self.instruments[:] = copy.instruments
        self.accounts.restore(copy.purses)
        self.outbox[:] = copy.outbox
        homes = {one.venue: number for number, one in enumerate(self.instruments)}
        for account, venue, arrivals in copy.arrivals:
            self._member(account, homes[venue]).restore(arrivals)
        self._done = {**copy.done}
        for number, orders in copy.resting:
            mine = self._resting[number] = []
            for one in orders:
                order = Order(one.command, self._lane(one.command), ordinal=one.ordinal, response=one.response)
                order.restore(one)
                mine.append(order)
                self._live[one.command.order] = order
        self.resting = len(self._live)

    # --- commands that arrive

    def submit(self, command: SubmitOrder, arrival: int, *, ordinal: int, response: int) -> None:
        """An order reaches its venue, whose book stands as of `arrival`."""
        if command.order in self._live or command.order in self._done:
            raise InvariantBroken(f"order {command.order} was sent twice")
        lane = self._lanes.get((command.account, command.instrument, command.side)) or self._lane(command)
        order = Order(command, lane, ordinal=ordinal, response=response)
        reason = (
            lane.member.turned_away(arrival)
            or lane.refusal(order.price, order.rest)
            or self._unwelcome(order)
            or self._uncovered(order)
            or self._refused(order)
        )
        if reason is not None:
            self._close(order, arrival, "rejected", reason)
            return
        if command.tif == "fok":
            _, found = kernel.walk(self._handle, command.instrument, lane.opposite, order.price, order.rest, 0)
            if self._share_of(order, found) < order.rest:
                self._close(order, arrival, "expired", "size_unknown" if self._world[_UNKNOWN] else "fok_unfillable")
                return
        count, taken = self._take_share(order) if command.tif == "ioc" else self._take(order)
        left = order.rest - taken
        rests = left > 0 and command.tif == "gtc"
        if rests:
            self._live[command.order] = order
            self._report(order, arrival, "accepted")
        for at in range(0, 2 * count, 2):
            self._fill(order, arrival, self._fills[at], self._fills[at + 1], "taker")
        if rests:
            self._rest(order)
        elif left > 0:
            self._close(order, arrival, "expired", "size_unknown" if self._world[_UNKNOWN] else "no_liquidity")
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
        if order.lane.member.is_out(arrival):
            self._report(order, arrival, "accepted", reason="cancel_outage")
            return
        self._leave(order)
        self._close(order, arrival, "canceled", None)

    # --- rows that concern resting orders

    def meet_trade(self, number: int, price: int, size: int, *, aggressor: int, now: int) -> None:
        """A public trade on an instrument with resting orders."""
        lot = self.instruments[number].lot_int or 1
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
            _, qty = self._take(order)
            if qty > 0:
                self._fill_resting(order, now, int(qty))  # interpreted, it is numpy's
            if order.rest > 0:
                order.see_level(self._shown(order))

    def fillable(self, number: int, side: str, price: int, qty: int) -> int:
        """What the book of an instrument would fill of an order; nothing is taken."""
        return int(kernel.walk(self._handle, number, ASK if side == "buy" else BID, price, qty, 0)[1])

    def resting_venues(self) -> list[int]:
        """Numbers of the venues with resting orders, ascending, each once."""
        return sorted({order.lane.member.venue for orders in self._resting.values() for order in orders})

    # --- instruments

    def replace_instrument(self, number: int, after: Instrument) -> None:
        """The instrument is known anew; what is on its way is expressed at its scales."""
        before = self.instruments[number]
        self.instruments[number] = after
        self._lanes.clear()
        price, qty = 10 ** (after.px_scale - before.px_scale), 10 ** (after.qty_scale - before.qty_scale)
        if price == qty == 1:
            return
        for orders in self._resting.values():
            for order in orders:
                order.lane = self._lane(order.command)
                if order.command.instrument == number:
                    order.rescale(price, qty)
                elif order.lane.rate == number:
                    order.rate *= price
        for at, (due, ordinal, count, report) in enumerate(self.outbox):
            if report.instrument == number and report.price_int is not None and report.qty_int is not None:
                finer = _rescaled(report, price, qty)
                self.outbox[at] = (due, ordinal, count, finer)

    # --- parts of an arrival

    def _unwelcome(self, order: Order) -> str | None:
        """Why the order may not be there beside what rests, or None."""
        command, number = order.command, order.command.instrument
        resting = self._resting.get(number, ())
        if command.post_only and command.tif != "gtc":
            return "post_only_needs_gtc"
        if command.tif == "gtc" and len(resting) >= order.lane.member.max_resting:
            return "too_many_orders"
        if command.post_only:
            other = int(kernel.best_price(self._handle, number, order.lane.opposite))
            if other != NULL and (other <= order.price if order.buy else other >= order.price):
                return "post_only_would_cross"
        for mine in resting:
            crosses = mine.price <= order.price if order.buy else mine.price >= order.price
            if crosses and mine.buy != order.buy and mine.command.account == command.account:
                return "self_trade"
        return None

    def _uncovered(self, order: Order) -> str | None:
        """Why the order cannot be paid for, or None."""
        command, lane = order.command, order.lane
        fees, fee_price = lane.fees, order.price
        if fees.needs_rate:
            order.rate = self._rate_of(order)
            if order.rate <= 0:
                return "fee_rate_unknown"
            if not order.buy:  # other fees of a sale do not depend on its price, or come out of its proceeds
                fee_price = max(fee_price, int(kernel.best_price(self._handle, command.instrument, BID)))
        ppb = fees.taker_ppb if command.tif != "gtc" else max(fees.taker_ppb, fees.maker_ppb)
        need = fees.need(order.price, order.rest, fee_price, ppb=ppb, rate=order.rate)
        return None if lane.member.purse.covers(need) else "balance"

    def _refused(self, order: Order) -> str | None:
        """Why the venue refuses an order against which nothing that is simulated speaks, or None."""
        model = self._models[order.lane.member.venue]
        return model.refused(draw.splitmix64(self._refusal_seed, order.command.order)) if model.refusals else None

    def _share_of(self, order: Order, found: int) -> int:
        """How much an order gets where the shown book would fill `found`; whole lots."""
        model = self._models[order.lane.member.venue]
        if not model.fill_shares:
            return found
        got = found * model.share(draw.splitmix64(self._share_seed, order.command.order)) // PPB
        return got - got % (self.instruments[order.command.instrument].lot_int or 1)

    def _take_share(self, order: Order) -> tuple[int, int]:
        """As `_take`, but for the order's share of it."""
        if not self._models[order.lane.member.venue].fill_shares:
            return self._take(order)
        lane = order.lane
        _, found = kernel.walk(self._handle, order.command.instrument, lane.opposite, order.price, order.rest, 0)
        most = self._share_of(order, int(found))
        return self._take(order, most=most if most < found else None)

    def _take(self, order: Order, *, most: int | None = None) -> tuple[int, int]:
        """Take what is left of the order, or the `most` that it gets, from the book at its price or better: levels (see `_fills`) and quantity."""
        lane, qty = order.lane, order.rest if most is None else most
        taken: tuple[int, int] = kernel.walk(
            self._handle, order.command.instrument, lane.opposite, order.price, qty, lane.member.consumption
        )
        return taken

    def _fill(self, order: Order, now: int, price: int, qty: int, liquidity: str) -> None:
        """Book one fill and report it."""
        lane, command = order.lane, order.command
        fees, free = lane.fees, lane.member.purse.free
        base, quote = qty * fees.qty_unit, price * qty * fees.notional_unit
        fee = fees.of(base, quote, fees.taker_ppb if liquidity == "taker" else fees.maker_ppb, order.rate)
        if order.buy:
            free[fees.base] += base
            free[fees.quote] -= quote
        else:
            free[fees.base] -= base
            free[fees.quote] += quote
        free[fees.asset] -= fee
        order.rest -= qty
        order.fills += 1
        due = order.due = max(order.due, now + order.response)
        client_id = command.client_order_id
        report = Report(
            ts=due,
            order=command.order,
            instrument=command.instrument,
            event="fill",
            venue_order_id=_venue_order_id(client_id),
            fill_id=f"{client_id}.{order.fills}",
            price_int=price,
            qty_int=qty,
            fee=Money(fee),
            fee_asset=fees.asset,
            liquidity=liquidity,
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
        order.begin_rest()
        order.see_level(self._shown(order))
        self._hold(order)
        self._resting.setdefault(number, []).append(order)
        self._count(number, 1)

    def _leave(self, order: Order) -> None:
        number = order.command.instrument
        self._release(order)
        self._resting[number].remove(order)
        self._count(number, -1)

    def _count(self, number: int, change: int) -> None:
        """So many more orders rest on an instrument."""
        self.resting += change
        for field in (_RESTING, _BUSY):
            self._records[number * _WIDTH + field] += change

    def _hold(self, order: Order) -> None:
        fees = order.lane.fees
        order.held = fees.need(order.price, order.rest, order.price, ppb=fees.maker_ppb, rate=order.rate)
        order.lane.member.purse.hold(order.held, sign=1)

    @staticmethod
    def _release(order: Order) -> None:
        order.lane.member.purse.hold(order.held, sign=-1)
        order.held = NOTHING

    def _fill_resting(self, order: Order, now: int, qty: int) -> None:
        if order.lane.fees.needs_rate:
            order.rate = self._rate_of(order) or order.rate
        self._release(order)
        self._fill(order, now, order.price, qty, "maker")
        if order.rest > 0:
            self._hold(order)
        else:
            self._leave(order)
            self._finish(order, "filled")

    def _shown(self, order: Order) -> int | None:
        size = int(kernel.shown_size(self._handle, order.command.instrument, order.lane.own, order.price))
        return None if size == kernel.HIDDEN else size

    # --- what an account may do

    def _lane(self, command: SubmitOrder) -> Lane:
        """The lane of an order, made anew where there is none."""
        key = (command.account, command.instrument, command.side)
        if key not in self._lanes:
            instrument, buy = self.instruments[command.instrument], command.side == "buy"
            tier = self._setup.fees.get(key[:2])
            rate = (
                None
                if tier is None
                else self._setup.rates.get((instrument.venue, fee_asset(tier, instrument, buy=buy), instrument.quote))
            )
            fees = None
            if tier is not None:
                fees = Fees(tier, instrument, buy=buy, rate_scale=0 if rate is None else self.instruments[rate].px_scale)
            member = self._member(command.account, command.instrument)
            self._lanes[key] = Lane(member, instrument, fees, buy=buy, rate=-1 if rate is None else rate)
        return self._lanes[key]

    def _member(self, account: str, number: int) -> Member:
        """The account at the venue of an instrument."""
        name = self.instruments[number].venue
        if (account, name) not in self._members:
            venue = self._records[number * _WIDTH + _VENUE]
            self._members[account, name] = Member(venue, self._models[venue], self.accounts.purse(account, name))
        return self._members[account, name]

    def _rate_of(self, order: Order) -> int:
        """Bid of the instrument that prices the fee coin, 0 while unknown."""
        rate = order.lane.rate
        return 0 if rate < 0 else max(0, int(kernel.best_price(self._handle, rate, BID)))


def _place(entry: tuple[int, int, int, Report]) -> tuple[int, int, int]:
    return entry[:3]


def _venue_order_id(client_order_id: str) -> str:
    return f"sim-{client_order_id}"


def _rescaled(report: Report, price: int, qty: int) -> Report:
    return msgspec.structs.replace(report, price_int=(report.price_int or 0) * price, qty_int=(report.qty_int or 0) * qty)


__all__ = ["Matching", "Outbox"]
