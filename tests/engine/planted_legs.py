"""Bugs of orders, legs and bundles that are planted one at a time, for the machine of legs to find: some of the simulator's, and these."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tests.machines import Plant
from tests.simulation.planted import BUGS
from xarb.engine import bundle
from xarb.engine.bundle import Bundle
from xarb.engine.deadlines import Deadlines
from xarb.engine.execution import Execution
from xarb.engine.orders import Orders
from xarb.engine.portfolio import release
from xarb.engine.risk import Risk

if TYPE_CHECKING:
    import pytest

SHARED: Final = (
    *("duplicate_ignored", "late_fill_dropped_by_the_venue", "end_told_before_its_fills", "unknown_is_a_refusal"),
    *("cancel_that_found_nothing_is_an_end", "new_order_after_a_time_out", "both_legs_retried", "flattened_while_an_order_lives"),
    *("late_fill_dropped_by_the_engine", "unknown_counts_as_nothing", "unknown_frees_its_money", "nothing_reserved"),
    *("fee_forgotten", "fee_in_the_wrong_coin", "partial_fill_is_the_whole", "exposure_not_bounded"),
    *("kill_is_a_disarm", "residuals_flattened_after_a_kill"),
)
"""Of the simulator's bugs those that lie in what this machine runs."""


def copy_without_holds(patch: pytest.MonkeyPatch) -> None:
    """An order of a checkpoint no longer knows what is reserved for it."""
    patch.setattr(bundle, "_hold", lambda *_: ())


def copy_without_deadlines(patch: pytest.MonkeyPatch) -> None:
    """Nothing that was due before a checkpoint happens after it."""
    patch.setattr(Deadlines, "restore", lambda *_: None)


def limits_not_asked(patch: pytest.MonkeyPatch) -> None:
    """Any number of bundles may be open."""
    patch.setattr(Risk, "check_limits", lambda *_: None)


def hard_leg_releases_all(patch: pytest.MonkeyPatch) -> None:
    """The first fill of a hard leg releases the whole of the others."""
    real = Execution._release_others

    def release_others(self: Execution, mine: Bundle) -> None:
        first = mine.legs[0]
        filled, first.filled = first.filled, first.qty if first.filled else 0
        real(self, mine)
        first.filled = filled

    patch.setattr(Execution, "_release_others", release_others)


def reserved_until_the_end(patch: pytest.MonkeyPatch) -> None:
    """A partial fill leaves reserved what it took."""
    real = Orders.hold_again
    patch.setattr(Orders, "hold_again", lambda self, side, order, before: before or real(self, side, order, before))


def rejected_frees_twice(patch: pytest.MonkeyPatch) -> None:
    """What a rejected order had reserved is given back twice."""
    real = Orders._move

    def move(self: Orders, order: Any, event: str, reason: str | None) -> None:
        if event == "rejected" and order.alive:
            release(order.hold)
        real(self, order, event, reason)

    patch.setattr(Orders, "_move", move)


PLANTED: Final[tuple[Plant, ...]] = (
    *(one.plant for one in BUGS if one.name in SHARED),
    copy_without_holds,
    copy_without_deadlines,
    limits_not_asked,
    hard_leg_releases_all,
    reserved_until_the_end,
    rejected_frees_twice,
)
