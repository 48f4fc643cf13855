"""Bundles that are done, packed: a fill may come late, so that nothing may be forgotten, and memory must not grow with them.

A done bundle of two orders takes about 3 KB as objects and some 480 bytes packed (measured). A packed bundle that a late report
names is unpacked, and packed again once it is done.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping

import msgspec

from xarb.engine.bundle import Bundle, Order, OrderPlan, restored
from xarb.engine.captured import ArchiveCopy, BundleCopy
from xarb.engine.desk import Desk
from xarb.engine.swap import restored_swap
from xarb.errors import InvariantBroken


class Archive:
    """Orders by number: those of open bundles as they are, the others packed with their bundle."""

    def __init__(self, prefix: str, desks: Mapping[str, Desk]) -> None:
        self._prefix = prefix
        self._desks = desks
        self._bundle_of = array("q")  # bundle of order n stands at n - 1
        self._old = array("q")  # that of order -n, which an earlier start sent, at n - 1
        self._open: dict[int, Bundle] = {}
        self._orders: dict[int, Order] = {}  # of the open bundles
        self._packed: dict[int, tuple[int, msgspec.Raw]] = {}  # number of rescales seen, bundle
        self._rescales: list[tuple[int, int, int]] = []

    @property
    def orders(self) -> int:
        """Orders of this start so far."""
        return len(self._bundle_of)

    def open_bundles(self) -> list[Bundle]:
        """Bundles that are not packed, in order of number but for those that were opened again."""
        return list(self._open.values())

    def add(self, bundle: Bundle, plan: OrderPlan) -> Order:
        """The next order, of a bundle."""
        order = Order(*self.take_number(bundle.number), bundle, plan)
        bundle.orders.append(order)
        self._orders[order.number] = order
        return order

    def add_old(self, bundle: Bundle, plan: OrderPlan, client_id: str) -> Order:
        """An order that an earlier start sent for a bundle, under that name; they are numbered downwards from -1."""
        order = Order(self.take_old_number(bundle.number), client_id, bundle, plan)
        bundle.orders.append(order)
        self._orders[order.number] = order
        return order

    def take_old_number(self, bundle: int) -> int:
        """The number of the next order of an earlier start; the order itself is not kept here."""
        self._old.append(bundle)
        return -len(self._old)

    def take_number(self, bundle: int) -> tuple[int, str]:
        """The number of the next order, and its name at the venue; the order itself is not kept here."""
        self._bundle_of.append(bundle)
        number = len(self._bundle_of)
        return number, f"{self._prefix}{number}"

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
        owners, at = (self._bundle_of, number - 1) if number > 0 else (self._old, -number - 1)
        if not 0 <= at < len(owners):
            raise InvariantBroken(f"a report names order {number}; {len(self._bundle_of)} were sent")
        if owners[at] not in self._packed:
            raise InvariantBroken(f"a report of an exchange names order {number}, which is a transaction on a chain")
        for order in self._unpacked(owners[at]).orders:
            if order.number == number:
                return order
        raise InvariantBroken(f"a report of an exchange names order {number}, which is a swap on a chain")

    def pack(self, bundle: Bundle) -> None:
        """Put a done bundle away."""
        self._open.pop(bundle.number, None)
        for order in bundle.orders:
            self._orders.pop(order.number, None)
        self._packed[bundle.number] = (len(self._rescales), msgspec.Raw(msgspec.json.encode(bundle.capture())))
        bundle.orders.clear()  # orders point at their bundle: without a ring they go at once

    def rescale(self, number: int, price: int, qty: int) -> None:
        """The scales of an instrument grew; packed bundles follow when they are unpacked."""
        self._rescales.append((number, price, qty))
        for bundle in self._open.values():
            bundle.rescale(number, price, qty)

    def is_open(self, bundle: Bundle) -> bool:
        """Whether this very object is the bundle: one that is packed and opened again is another."""
        return self._open.get(bundle.number) is bundle

    def bundle(self, number: int) -> Bundle:
        """A bundle that is not packed.

        Raises:
            KeyError: it is packed, or there is none.
        """
        return self._open[number]

    def any_bundle(self, number: int) -> Bundle:
        """A bundle, which is unpacked if need be; changes are lost unless it is then opened."""
        bundle = self._open.get(number)
        return self._unpacked(number) if bundle is None else bundle

    def capture(self) -> ArchiveCopy:
        """All orders and bundles as plain values."""
        return ArchiveCopy(
            self._bundle_of.tolist(),
            [bundle.capture() for bundle in self._open.values()],
            {**self._packed},
            [*self._rescales],
        )

    def restore(self, copy: ArchiveCopy) -> None:
        """Take over all orders and bundles of a copy; there were none but those that were taken up."""
        self._bundle_of = array("q", copy.bundle_of)
        self._open.clear()  # those that were taken up are in the copy
        self._orders.clear()
        self._rescales = [*copy.rescales]
        self._packed = {
            number: (seen, packed.copy()) for number, (seen, packed) in copy.packed.items()
        }  # else all hold the whole text
        for one in copy.open:
            bundle = self._restored(one)
            bundle.reckon()
            self.open(bundle)

    def _restored(self, copy: BundleCopy) -> Bundle:
        desk = self._desks[copy.strategy]
        bundle = restored(copy, desk, self._prefix)
        bundle.swap = None if copy.swap is None else restored_swap(copy.swap, desk)
        return bundle

    def _unpacked(self, at: int) -> Bundle:
        seen, packed = self._packed[at]
        copy = msgspec.json.decode(packed, type=BundleCopy)
        bundle = self._restored(copy)
        for number, price, qty in self._rescales[seen:]:
            bundle.rescale(number, price, qty)
        bundle.reckon()
        return bundle
