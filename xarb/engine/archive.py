"""Bundles that are done, packed: a fill may come late, so that nothing may be forgotten, and memory must not grow with them.

A done bundle of two orders takes about 3 KB as objects and some 400 bytes packed (measured). A packed bundle that a late report
names is unpacked, and packed again once it is done.
"""

from __future__ import annotations

import marshal
from array import array
from collections.abc import Mapping
from typing import Any

from xarb.engine.bundle import Bundle, Leg, Order, OrderPlan
from xarb.engine.desk import Desk
from xarb.errors import InvariantBroken


class Archive:
    """Orders by number: those of open bundles as they are, the others packed with their bundle."""

    def __init__(self, prefix: str, desks: Mapping[str, Desk]) -> None:
        self._prefix = prefix
        self._desks = desks
        self._bundle_of = array("q")  # bundle of order n stands at n - 1
        self._open: dict[int, Bundle] = {}
        self._orders: dict[int, Order] = {}  # of the open bundles
        self._packed: dict[int, tuple[int, bytes]] = {}  # number of rescales seen, bundle
        self._rescales: list[tuple[int, int, int]] = []

    @property
    def orders(self) -> int:
        """Orders so far."""
        return len(self._bundle_of)

    def open_bundles(self) -> list[Bundle]:
        """Bundles that are not packed, in order of number but for those that were opened again."""
        return list(self._open.values())

    def add(self, bundle: Bundle, plan: OrderPlan) -> Order:
        """The next order, of a bundle."""
        self._bundle_of.append(bundle.number)
        number = len(self._bundle_of)
        order = Order(number, f"{self._prefix}{number}", bundle, plan)
        bundle.orders.append(order)
        self._orders[number] = order
        return order

    def open(self, bundle: Bundle) -> None:
        """Keep a bundle as it is until it is packed."""
        self._open[bundle.number] = bundle
        for order in bundle.orders:
            self._orders[order.number] = order

    def order(self, number: int) -> Order:
        """An order, whose bundle is unpacked if need be; changes are lost unless the bundle is then opened.

        Raises:
            InvariantBroken: there is no such order.
        """
        order = self._orders.get(number)
        if order is not None:
            return order
        if not 1 <= number <= len(self._bundle_of):
            raise InvariantBroken(f"a report names order {number}; {len(self._bundle_of)} were sent")
        bundle = self._unpacked(self._bundle_of[number - 1])
        return next(order for order in bundle.orders if order.number == number)

    def pack(self, bundle: Bundle) -> None:
        """Put a done bundle away."""
        self._open.pop(bundle.number, None)
        for order in bundle.orders:
            self._orders.pop(order.number, None)
        self._packed[bundle.number] = (len(self._rescales), marshal.dumps(_values(bundle)))
        bundle.orders.clear()  # orders point at their bundle: without a ring they go at once

    def rescale(self, number: int, price: int, qty: int) -> None:
        """The scales of an instrument grew; packed bundles follow when they are unpacked."""
        self._rescales.append((number, price, qty))
        for bundle in self._open.values():
            bundle.rescale(number, price, qty)

    def _unpacked(self, at: int) -> Bundle:
        seen, packed = self._packed[at]
        bundle = _bundle(marshal.loads(packed), self._prefix, self._desks)  # noqa: S302  # bytes of our own making that never leave the process
        for number, price, qty in self._rescales[seen:]:
            bundle.rescale(number, price, qty)
        bundle.reckon()
        return bundle


def _values(bundle: Bundle) -> tuple[Any, ...]:
    """What is left of a done bundle: it has no live order, no reservation and waits for nothing."""
    return (
        (bundle.number, bundle.desk.strategy, bundle.opportunity, bundle.sequence, bundle.pair),
        (bundle.state, bundle.filled, bundle.flat, bundle.instruments, bundle.flows, bundle.traded, bundle.attempts, bundle.booked),
        [(leg.instrument, leg.sign, leg.price, leg.qty, leg.released, leg.filled) for leg in bundle.legs],
        [_values_of(order, order.plan) for order in bundle.orders],
    )


def _values_of(order: Order, plan: OrderPlan) -> tuple[Any, ...]:
    what = (order.number, plan.leg, plan.attempt, plan.purpose, *order.side.key, order.price, order.qty)
    return (*what, order.filled, order.state, order.cancels, *order.fill_ids)


def _bundle(values: tuple[Any, ...], prefix: str, desks: Mapping[str, Desk]) -> Bundle:
    """The bundle as it was packed; what its orders and legs are worth at 18 decimals is still to be reckoned."""
    (number, strategy, opportunity, sequence, pair), course, legs, orders = values
    desk = desks[strategy]
    bundle = Bundle(number, desk, [], opportunity=opportunity, sequence=sequence, pair=pair)
    bundle.state, bundle.filled, bundle.flat, bundle.instruments, bundle.flows, bundle.traded, bundle.attempts, booked = course
    bundle.booked = booked
    for instrument, sign, price, qty, released, filled in legs:
        leg = Leg(desk.side(instrument, sign), price, qty)
        leg.released, leg.filled = released, filled
        bundle.legs.append(leg)
    for at, place, attempt, purpose, instrument, sign, price, qty, *course in orders:
        order = Order(at, f"{prefix}{at}", bundle, OrderPlan(place, attempt, purpose, desk.side(instrument, sign), price, qty))
        order.filled, order.state, order.cancels, *fill_ids = course
        order.fill_ids = dict.fromkeys(fill_ids)
        bundle.orders.append(order)
    return bundle
