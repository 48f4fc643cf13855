"""Bugs of books that are planted one at a time, for the machines to find.

Those of the kernel need it interpreted: `NUMBA_DISABLE_JIT=1 python -m tests.engine.planted_books` tries all of them with sides of twenty
levels, and names each with what found it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

import pytest

from tests.engine import naive_fold
from tests.engine.books_machine import BooksMachine
from tests.machines import Plant, found_by
from xarb.engine.kernel import book, fold, life, tables
from xarb.engine.kernel.compiled import INTERPRETED
from xarb.engine.kernel.state import KernelState
from xarb.engine.slowrows import SlowRows
from xarb.wires import binance, gate, rows
from xarb.wires.bitstamp import BitstampSession
from xarb.wires.continuity import OVERLAP_RULE, BookSync
from xarb.wires.streamed import StreamedBooks

steps: Any = import_module("xarb.engine.kernel.steps")  # its functions are replaced
state: Any = import_module("xarb.engine.kernel.state")  # same
SHALLOW = 20  # levels a side, where the kernel is interpreted

KERNEL: list[Plant] = []
WIRED: list[tuple[str, Plant]] = []  # with the protocol whose books it hurts


def kernel(plant: Plant) -> Plant:
    """Register a bug of the engine's books."""
    KERNEL.append(plant)
    return plant


def wired(name: str) -> Callable[[Plant], Plant]:
    """Register a bug of a session or of the rows that it becomes."""

    def take(plant: Plant) -> Plant:
        WIRED.append((name, plant))
        return plant

    return take


# --- the kernel


@kernel
def snapshot_keeps_old_levels(patch: pytest.MonkeyPatch) -> None:
    """A snapshot's levels are added to those that were there."""
    real = steps.delta

    def delta(k: Any, *row: Any) -> None:
        clear, steps._clear = steps._clear, lambda _: None
        try:
            real(k, *row)
        finally:
            steps._clear = clear

    patch.setattr(fold, "delta", delta)


@kernel
def deltas_go_on_after_a_gap(patch: pytest.MonkeyPatch) -> None:
    """What comes behind a gap makes a book of its own."""
    real = steps.connection

    def connection(k: Any, conn: int, inst: int, event: int) -> None:
        real(k, conn, inst, event)
        if event == life.GAP and inst >= 0:
            tables.instrument(k, inst)["synced"] = 1

    patch.setattr(steps, "connection", connection)


@kernel
def gap_of_one_is_a_gap_of_all(patch: pytest.MonkeyPatch) -> None:
    """A gap of a symbol empties every book of its connection."""
    real = steps.connection

    def connection(k: Any, conn: int, inst: int, event: int) -> None:
        real(k, conn, -1 if event == life.GAP else inst, event)

    patch.setattr(steps, "connection", connection)


@kernel
def size_zero_stays(patch: pytest.MonkeyPatch) -> None:
    """A level that is taken away stays, without a size."""
    real = steps.apply_level

    def apply_level(px: Any, qty: Any, count: int, side: int, price: int, size: int) -> Any:
        at = book.find(px, count, side, price)
        if size == 0 and at < count and px[at] == price:
            qty[at] = 0
            return count, 1
        return real(px, qty, count, side, price, size)

    patch.setattr(steps, "apply_level", apply_level)


@kernel
def full_side_drops_its_best(patch: pytest.MonkeyPatch) -> None:
    """Where there are too many levels the new one takes the place of the best."""
    real = steps.apply_level

    def apply_level(px: Any, qty: Any, count: int, side: int, price: int, size: int) -> Any:
        if count == SHALLOW and size and price not in px[:count]:
            count -= 1
            real(px, qty, count, side, price, size)
            return SHALLOW, -1
        return real(px, qty, count, side, price, size)

    patch.setattr(steps, "apply_level", apply_level)


@kernel
def message_judged_in_its_middle(patch: pytest.MonkeyPatch) -> None:
    """The best prices are told after each level, not after the message."""
    real = steps._apply_delta

    def apply(k: Any, me: Any, inst: int, side: int, price: int, qty: int) -> None:
        real(k, me, inst, side, price, qty)
        if me["synced"]:
            steps.publish_book(k, me, inst, k["last_seq"])

    patch.setattr(steps, "_apply_delta", apply)


@kernel
def crossed_book_is_a_quote(patch: pytest.MonkeyPatch) -> None:
    """Bids may stand above asks."""
    patch.setattr(
        steps.feed, "cross", lambda k, me, inst, _rule, bid, ask: steps.feed.top(k, me, inst, k["last_seq"], bid, 1, ask, 1)
    )


@kernel
def verdict_of_the_wire_ignored(patch: pytest.MonkeyPatch) -> None:
    """What the session called old or unsynced is applied."""
    real = steps.delta
    patch.setattr(fold, "delta", lambda k, *row: real(k, *row[:-1], 0))


@kernel
def finer_scale_forgets_the_book(patch: pytest.MonkeyPatch) -> None:
    """With more decimals the quote is rescaled, the levels are not."""
    real = SlowRows._rescale

    def rescale(self: SlowRows, record: Any, price: int, quantity: int) -> None:
        slot = int(record["slot"])
        record["slot"] = -1
        real(self, record, price, quantity)
        record["slot"] = slot

    patch.setattr(SlowRows, "_rescale", rescale)


@kernel
def checkpoint_swaps_the_sides(patch: pytest.MonkeyPatch) -> None:
    """The levels of a copy are laid back in another order than they were taken."""
    real = state.lay_used
    patch.setattr(state, "lay_used", lambda array, parts, data: real(array, parts[1::-1] + parts[2:], data))


@kernel
def batch_ends_a_message(patch: pytest.MonkeyPatch) -> None:
    """A snapshot that goes on in the next batch begins anew there."""
    real = KernelState.load

    def load(self: KernelState, batch: Any) -> None:
        self.tables[state.INSTRUMENTS]["snapshot_open"] = 0
        real(self, batch)

    patch.setattr(KernelState, "load", load)


# --- sessions and rows


@wired("binance")
def gap_unnoticed(patch: pytest.MonkeyPatch) -> None:
    """Any update follows any other."""
    patch.setattr(binance, "SPOT_RULE", binance.SPOT_RULE._replace(continues=lambda *_: True))


@wired("kucoin")
def buffer_forgotten(patch: pytest.MonkeyPatch) -> None:
    """A snapshot starts a book without what came behind it."""
    real = BookSync.snapshot

    def snapshot(self: BookSync, last: int, event: Any) -> Any:
        newest = self._buffer[-1].last if self._buffer else last
        self._buffer.clear()
        return real(self, max(last, newest), event)

    patch.setattr(BookSync, "snapshot", snapshot)


@wired("gate")
def repetition_moves_the_book(patch: pytest.MonkeyPatch) -> None:
    """An update that lies before the book is applied once more."""
    rule = OVERLAP_RULE._replace(is_old=lambda *_: False)
    patch.setattr(gate, "OVERLAP_RULE", rule)


@wired("binance")
def older_snapshot_taken(patch: pytest.MonkeyPatch) -> None:
    """A snapshot from before the book replaces it."""
    real = BookSync.snapshot

    def snapshot(self: BookSync, last: int, event: Any) -> Any:
        return [event] if self._last is not None and last < self._last else real(self, last, event)

    patch.setattr(BookSync, "snapshot", snapshot)


@wired("bitstamp")
def rejected_update_is_no_loss(patch: pytest.MonkeyPatch) -> None:
    """A frame that cannot be read leaves its book in sync."""
    patch.setattr(BitstampSession, "_misses", lambda *_: [])


@wired("okx")
def lost_book_stays_live(patch: pytest.MonkeyPatch) -> None:
    """A break of the chain is told and the book goes on."""
    patch.setattr(StreamedBooks, "_lose", lambda *_: True)


@wired("kucoin")
def coarse_numbers_in_a_fine_log(patch: pytest.MonkeyPatch) -> None:
    """A message of fewer decimals than the log has is written as it is."""
    patch.setattr(rows, "_rescaled", lambda event, _: event)


@wired("okx")
def asked_for_once(patch: pytest.MonkeyPatch) -> None:
    """A snapshot that does not come is not asked for again."""
    patch.setattr(StreamedBooks, "tick", lambda *_: [])


def main() -> int:
    """Try the kernel's bugs; as many as live are the exit code."""
    assert INTERPRETED, "compiled code cannot be patched: set NUMBA_DISABLE_JIT=1"
    lived = 0
    with pytest.MonkeyPatch.context() as patch:
        for module in (book, state, steps, tables):
            patch.setattr(module, "BOOK_LEVELS", SHALLOW)
        patch.setattr(naive_fold, "MOST_LEVELS", SHALLOW)
        for plant in (_none, *KERNEL):
            said = found_by(BooksMachine, plant)
            lived += (said is None) != (plant is _none)
            sys.stdout.write(f"{plant.__name__.strip('_')}: {said}\n")
    return lived


def _none(_: pytest.MonkeyPatch) -> None:
    """No bug: the machine has nothing to say."""


if __name__ == "__main__":
    sys.exit(main())
