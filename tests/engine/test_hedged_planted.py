"""Bugs of hedged swaps that are planted one at a time: each is caught by a test of `test_hedged`, which fails with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import pytest

from tests.engine import test_hedged as tests
from xarb.engine import execution, swap
from xarb.engine.bundle import Bundle
from xarb.engine.execution import Execution
from xarb.engine.hedged import Hedged
from xarb.engine.onchain import OnChain
from xarb.engine.sentcycle import SentCycle
from xarb.engine.swap import DONE, NOTHING, REORGED, Changed
from xarb.errors import InvariantBroken

Plant = Callable[[pytest.MonkeyPatch], None]


def hedge_before_the_receipt(patch: pytest.MonkeyPatch) -> None:
    """The order leaves with the swap, whatever the config says."""
    real = Execution.begin_swap

    def begin(self: Execution, desk: Any, approved: Hedged, *, opportunity: int | None, sequence: str) -> tuple[int, int, str]:
        del sequence
        return real(self, desk, approved, opportunity=opportunity, sequence="simultaneous")

    patch.setattr(Execution, "begin_swap", begin)


def hedge_of_what_was_planned(patch: pytest.MonkeyPatch) -> None:
    """A receipt releases the whole order, however much came."""

    def planned(bundle: Bundle) -> int:
        leg = bundle.legs[0]
        return 0 if leg.released or not bundle.flows.get(leg.side.base) else leg.qty

    patch.setattr(execution, "to_hedge", planned)


def revert_is_hedged(patch: pytest.MonkeyPatch) -> None:
    """What a revert would have swapped counts as swapped."""
    real = Execution.on_swap

    def on_swap(self: Execution, number: int, state: str, change: Changed) -> None:
        bundle = self._archive.any_bundle(number)
        assert bundle.swap is not None
        leg = bundle.swap.leg
        wrong = change._replace(swapped=(leg.sign * leg.qty, -leg.sign * leg.value))
        real(self, number, state, wrong if state == DONE and change.swapped is None else change)

    patch.setattr(Execution, "on_swap", on_swap)


def reorg_is_ignored(patch: pytest.MonkeyPatch) -> None:
    """The bundle is not told that its receipt was taken back."""
    real = Execution.on_swap

    def on_swap(self: Execution, number: int, state: str, change: Changed) -> None:
        if state != REORGED:
            real(self, number, state, change)

    patch.setattr(Execution, "on_swap", on_swap)


def reorg_keeps_the_money(patch: pytest.MonkeyPatch) -> None:
    """The bundle waits for the swap again, but what it brought stays counted."""
    real = OnChain._change

    def change(self: OnChain, one: SentCycle, booked: Any, sign: int) -> Changed:
        return real(self, one, booked, sign) if sign > 0 else NOTHING

    patch.setattr(OnChain, "_change", change)


def swap_in_flight_is_not_exposure(patch: pytest.MonkeyPatch) -> None:
    """Only orders count as what may still fill."""
    patch.setattr(swap.Swap, "is_open", property(lambda *_: False))


def deadline_ends_nothing(patch: pytest.MonkeyPatch) -> None:
    """A path whose time is over waits on."""
    patch.setattr(OnChain, "on_block", lambda *_: [])


def hedge_takes_no_reservation(patch: pytest.MonkeyPatch) -> None:
    """What the exchange must have for the hedge is not set aside."""
    patch.setattr(execution, "reserve", lambda *_: None)


FOUND_BY: Final[dict[Plant, Callable[[], None]]] = {
    hedge_before_the_receipt: tests.test_the_receipt_releases_the_hedge_of_what_came,
    hedge_of_what_was_planned: tests.test_the_receipt_releases_the_hedge_of_what_came,
    revert_is_hedged: lambda: tests.test_what_did_not_come_about_is_not_hedged("reverted"),
    reorg_is_ignored: tests.test_a_reorganisation_takes_the_swap_back_and_waits_for_it,
    reorg_keeps_the_money: tests.test_a_swap_that_is_gone_for_good_leaves_the_hedge_to_be_undone,
    swap_in_flight_is_not_exposure: tests.test_what_may_come_counts_in_the_exposure,
    deadline_ends_nothing: tests.test_a_deadline_that_is_past_gives_the_swap_up_and_the_bundle_lives_on,
    hedge_takes_no_reservation: tests.test_the_swap_leaves_alone_and_reserves_both_sides,
}


@pytest.mark.parametrize("plant", FOUND_BY, ids=lambda plant: plant.__name__)
def test_each_is_found(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test that is to find it passes without it, and fails with it."""
    FOUND_BY[plant]()
    plant(monkeypatch)
    with pytest.raises((AssertionError, InvariantBroken)):
        FOUND_BY[plant]()
