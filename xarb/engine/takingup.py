"""Takes up the bundles that earlier starts left: each becomes a bundle of this start, with its own number and its old orders.

They keep still until the operator arms for the first time. From then on they are settled as any other residual is; a fill of one of their
old orders, or what a receipt says of an old swap, reaches them whenever it is told. What nobody may flatten in this start is booked as inventory at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from xarb.engine.archive import Archive
from xarb.engine.breaker import Breakers
from xarb.engine.bundle import Bundle, Leg, OrderPlan
from xarb.engine.carried import CarriedBundle, CarriedOrder, Planned, PlannedLeg, PlannedSwap, TakenUp
from xarb.engine.desk import Desk
from xarb.engine.order_rows import OrderRows
from xarb.engine.rules import Refusal
from xarb.engine.setup import Setup
from xarb.engine.side import SIGNS
from xarb.engine.swap import DONE, REORGED, Swap, swap_leg
from xarb.model.order import CARRIED, CYCLE_OPEN, ORDER_TERMINAL
from xarb.model.units import MONEY_SCALE, ceil_div, format_decimal, parse_money

ORPHANED: Final = "orphaned"
"""The cause of a `residuals` row of what nobody may flatten."""


class _Orphan(NamedTuple):
    """A bundle that nobody may flatten, its number in this start, and why."""

    number: int
    bundle: CarriedBundle
    why: Refusal


class TakingUp:
    """Opens them in an engine that has applied nothing yet.

    Args:
        setup: what earlier starts left; bundle n of this start is the one at place n - 1 of its bundles.
        desks: by strategy.
        archive: where bundles are kept.
        rows: where rows go.
    """

    def __init__(self, setup: Setup, *, desks: Mapping[str, Desk], archive: Archive, rows: OrderRows) -> None:
        self._desks, self._archive, self._rows, self._chains = desks, archive, rows, setup.chains
        self._numbers = {(one.venue, one.symbol): number for number, one in enumerate(setup.instruments)}
        self._cycles = {(one.start, one.order): one for one in setup.cycles}
        self._orders: dict[tuple[int, int], int] = {}  # by start and number there, the number here
        self._swaps: dict[tuple[int, int], tuple[int, int]] = {}  # the same of swaps, and before it their bundle here
        self._taken: list[tuple[CarriedBundle, Bundle]] = []
        self._orphans: list[_Orphan] = []
        for number, one in enumerate(setup.bundles, start=1):
            why = self._orphaned(one)
            if why is not None:
                self._orphans.append(_Orphan(number, one, why))
            else:
                self._open(number, one)

    def order(self, start: int, order: int) -> int | None:
        """The number here of an earlier start's order, None where no bundle of it was taken up."""
        return self._orders.get((start, order))

    def swap(self, start: int, order: int) -> tuple[int, int] | None:
        """The numbers here of the bundle and the order of an earlier start's swap, None where its bundle was not taken up."""
        return self._swaps.get((start, order))

    def open_books(self, breakers: Breakers) -> None:
        """Write what was taken up, and book what nobody may flatten."""
        for one, bundle in self._taken:
            orders = [(order.number, *order.origin) for order in bundle.orders if order.origin]
            plan = _where_from(one, orders, None if bundle.swap is None else bundle.swap.planned.order)
            self._rows.bundle(bundle, "kept" if bundle.done else "carried", plan)
            if bundle.done:
                self._archive.pack(bundle)
        for orphan in self._orphans:
            self._book(orphan, breakers)

    def _orphaned(self, one: CarriedBundle) -> Refusal | None:
        """Why nobody may flatten a bundle in this start."""
        if one.is_forgotten:
            return Refusal("forgotten")
        if one.swap is not None and not one.swap.base:  # of an older version: how much it may swap is not in the log
            return Refusal("swap_carried")
        if one.swap is not None and one.swap.venue not in self._chains:
            return Refusal("chain_gone")
        desk = self._desks.get(one.strategy)
        if desk is None:
            return Refusal("strategy_gone")
        if desk.account != one.account:
            return Refusal("account_changed")
        for leg in one.legs:
            number = self._numbers.get((leg.venue, leg.symbol))
            if number is None:
                return Refusal("instrument_gone")
            if number not in desk.allowed:
                return Refusal("not_allowed", number)
            if desk.side(number, SIGNS[leg.side]).fee is None:
                return Refusal("fee_unknown", number)
        return None

    def _open(self, number: int, one: CarriedBundle) -> None:
        desk = self._desks[one.strategy]
        legs = []
        for planned in one.legs:
            side = desk.side(self._numbers[planned.venue, planned.symbol], SIGNS[planned.side])
            legs.append(Leg(side, planned.price // side.px_unit, planned.qty // side.qty_unit))
        bundle = Bundle(number, desk, legs, opportunity=None, sequence=one.sequence, pair=-1)
        bundle.state, bundle.flat, bundle.cycle = one.state, one.flat, one.cycle
        bundle.instruments = tuple(sorted(leg.instrument for leg in legs))
        bundle.flows = {**one.flows}
        bundle.unbalanced_at = one.unbalanced_at if bundle.residual else 0
        bundle.is_beyond = one.is_beyond
        for made in one.traded:
            bundle.traded[self._numbers[made.venue, made.symbol], SIGNS[made.side]] = (made.size, made.value)
        bundle.filled = bool(bundle.traded)
        bundle.booked = [(left.asset, left.qty, left.cost, left.cost_asset) for left in one.booked]
        self._archive.open(bundle)
        for old in one.orders:
            self._add(bundle, old)
        if one.swap is not None:
            self._add_swap(bundle, one, one.swap)
        for at in range(len(legs)):
            bundle.follow(at)
        if not bundle.done:
            desk.open_bundles += 1
        self._taken.append((one, bundle))

    def _add(self, bundle: Bundle, old: CarriedOrder) -> None:
        """Give an old order a number here; it keeps its name at the venue."""
        side = bundle.desk.side(self._numbers[old.venue, old.symbol], SIGNS[old.side])
        plan = OrderPlan(old.leg, old.attempt, old.purpose, side, old.price // side.px_unit, old.qty // side.qty_unit)
        order = self._archive.add_old(bundle, plan, old.client_order_id)
        order.origin = (old.start, old.order)
        order.state, order.fill_ids = old.state, dict.fromkeys(old.fill_ids)
        order.filled, order.filled_money = old.filled // side.qty_unit, old.filled
        if old.purpose == "open":
            bundle.legs[old.leg].filled += order.filled
        if old.state not in ORDER_TERMINAL:
            bundle.live += 1
        self._orders[old.start, old.order] = order.number

    def _add_swap(self, bundle: Bundle, one: CarriedBundle, planned: PlannedSwap) -> None:
        """Give the old swap a number here; while a block may hold it nobody knows what becomes of it."""
        number, hedge = self._archive.take_old_number(bundle.number), bundle.legs[0].side
        place = (planned.venue, hedge.number, -hedge.sign)
        leg = swap_leg(bundle.desk, place, parse_money(planned.base), parse_money(planned.quote))
        bundle.swap = Swap(msgspec.structs.replace(planned, order=number), leg)
        bundle.swap.state, bundle.swap.gas = DONE, {**one.gas}
        if (cycle := self._cycles.get((one.start, planned.order))) is not None:
            pools = [self._numbers[cycle.venue, pool] for pool in cycle.pools]
            bundle.instruments = tuple(sorted({*bundle.instruments, *pools}))
            bundle.swap.state = REORGED if cycle.state in CYCLE_OPEN else DONE
        bundle.live += bundle.swap.is_open
        self._swaps[one.start, planned.order] = (bundle.number, number)

    def _book(self, orphan: _Orphan, breakers: Breakers) -> None:
        """What is left of it is inventory, and its venues get no new bundle of its account until a person has looked."""
        number, one, why = orphan
        if one.state != CARRIED:
            return  # it had its end
        who = (one.account, one.strategy, number)
        self._rows.of_nobody("bundles", (*who, "carried", None, _where_from(one, (), None)))
        for was in one.booked:
            self._rows.of_nobody("residuals", (*who, was.asset, -was.qty, -was.cost, was.cost_asset, "late_fill"))
        left = [(asset, one.flows[asset]) for asset in one.flat if one.flows.get(asset)]
        if left:
            self._rows.orphaned(why, one.account, one.strategy)
        if left and not one.is_forgotten:
            breakers.escalate_at(one.account, [leg.venue for leg in one.legs], left[0][1])
        for asset, qty in left:
            self._rows.of_nobody("residuals", (*who, asset, qty, *self._cost(one, asset, qty), ORPHANED))
        self._rows.of_nobody("bundles", (*who, "held" if left else "closed", None, None))

    def _cost(self, one: CarriedBundle, asset: str, qty: int) -> tuple[int, str]:
        """What the fills that made a residual paid on average, and in what; a quote currency is its own cost."""
        for made in one.traded:
            if made.base == asset and SIGNS[made.side] * qty > 0:
                return ceil_div(qty * made.value, made.size), made.quote
        return qty, asset


def _where_from(one: CarriedBundle, orders: Sequence[tuple[int, ...]], swap: int | None) -> str:
    flows = {asset: format_decimal(amount, MONEY_SCALE) for asset, amount in one.flows.items()}
    named = tuple((here, start, there) for here, start, there in orders)
    found = TakenUp(start=one.start, bundle=one.bundle, orders=named, flows=flows, swap=swap)
    return msgspec.json.encode(found).decode()


def plan_text(bundle: Bundle) -> str:
    """The plan of a bundle that begins, as its row has it."""
    legs = []
    for leg in bundle.legs:
        _, _, venue, symbol = leg.side.names
        price = format_decimal(leg.price * leg.side.px_unit, MONEY_SCALE)
        legs.append(
            PlannedLeg(venue=venue, symbol=symbol, side=leg.side.name, price=price, qty=format_decimal(leg.qty_money, MONEY_SCALE))
        )
    planned = Planned(sequence=bundle.sequence, flat=bundle.flat, cycle=bundle.cycle, legs=tuple(legs))
    if bundle.swap is not None:
        planned = msgspec.structs.replace(planned, swap=bundle.swap.planned)
    return msgspec.json.encode(planned).decode()
