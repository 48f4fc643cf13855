"""The life of a leg: its orders move it through the table, and what the table does not have breaks."""

from __future__ import annotations

import pytest

from tests.engine.desk import Desk
from xarb.engine.engine import Engine
from xarb.errors import InvariantBroken
from xarb.model.order import LEG_LIFE, LEG_OPEN, advance

GOOD = ("buy a 101 5", "sell b 100 5")


def states(desk: Desk, order: int = 1) -> list[str]:
    """Of the legs of an order's bundle."""
    return [leg.state for leg in desk.engine.execution.order(order).bundle.legs]


def test_a_leg_follows_its_orders() -> None:
    """Sent, of unknown fate, filled in part; what flattens it is an order of it too; a late fill counts."""
    desk = Desk()
    desk.tell(*GOOD)
    assert states(desk) == ["sent", "sent"]
    desk.report(1, "unknown")
    assert states(desk) == ["unknown", "sent"]
    desk.fill(1, 101, 3)
    assert states(desk) == ["sent", "sent"]
    desk.report(1, "canceled")
    assert states(desk) == ["partial", "sent"]
    desk.report(2, "rejected")
    assert states(desk) == ["partial", "sent"], "the residual is completed there"
    desk.report(3, "unknown")
    assert states(desk) == ["partial", "unknown"]
    desk.fill(3, 100, 3)
    assert states(desk) == ["partial", "missed"], "what flattens is no part of the plan"
    desk.fill(1, 101, 2, "f2")
    assert states(desk)[0] == "filled"


def test_a_leg_that_waits_was_not_sent() -> None:
    """A hard leg that fills nothing leaves the others planned."""
    desk = Desk()
    desk.tell(*GOOD, sequence="hard_leg_first")
    assert states(desk) == ["sent", "planned"]
    desk.report(1, "expired")
    assert states(desk) == ["missed", "planned"]


def test_nothing_comes_to_life_again_or_is_less_than_it_was() -> None:
    """Pairs that the table leaves out; a leg's end has any order of it no more."""
    for state in ("missed", "partial", "filled"):
        for event in {"missed", "partial", "unknown"} - {state}:
            if (state, event) == ("missed", "partial"):
                continue
            with pytest.raises(InvariantBroken, match=f"no transition from '{state}' on '{event}'"):
                advance(LEG_LIFE, state, event)
    assert {"planned", *LEG_LIFE.values()} == {state for state, _ in LEG_LIFE}
    assert {*LEG_LIFE.values()} > LEG_OPEN


def test_a_leg_is_the_same_behind_a_checkpoint() -> None:
    """Its state follows from the orders that the copy has."""
    desk = Desk()
    desk.tell(*GOOD, sequence="hard_leg_first")
    desk.report(1, "unknown")
    copy = desk.engine.capture()
    again = Desk()
    again.engine = Engine(desk.engine.setup, [*desk.told.values()])
    again.engine.restore(copy)
    assert states(again) == ["unknown", "planned"]
