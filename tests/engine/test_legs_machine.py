"""Any course of orders, legs and bundles; each planted bug is found by the courses that the suite runs."""

from __future__ import annotations

import pytest

from tests.engine.legs_machine import LegsMachine
from tests.engine.planted_legs import PLANTED, SHARED
from tests.machines import Plant, found_by, run


def test_any_course_of_legs_keeps_the_rules() -> None:
    """50 courses of 50 steps: bounds, evidence, one order an intent, each fill once, exact reservations, and everything ends."""
    run(LegsMachine)


@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
def test_a_planted_bug_is_found(plant: Plant) -> None:
    """Those courses see what is missing."""
    assert found_by(LegsMachine, plant), f"{plant.__name__} lives"


def test_the_simulators_bugs_are_there() -> None:
    """Each that is named is among its list."""
    assert len(PLANTED) >= len(SHARED) + 6
