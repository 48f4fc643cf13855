"""A crash at any operation on the disk, in whatever state it leaves the files: what was promised is there, and the log goes on."""

from __future__ import annotations

import random

import pytest

from tests.log.courses import COURSES
from tests.log.crash import crash, crash_again, crash_killed
from tests.log.planted import BUGS, Bug
from xarb.simulation.verb import scratch

STEPS = {  # fewer would mean that something is not watched any more
    "record": 350,
    "seal": 100,
    "recover": 130,
    "recover a lost tail": 130,
    "repair": 250,
    "prune": 15,
    "archive": 80,
    "retain": 50,
    "checkpoints": 25,
}


@pytest.mark.parametrize("name", COURSES)
def test_a_crash_at_any_operation_takes_nothing_that_was_promised(name: str) -> None:
    """Three states at every write, sync, rename, cut and removal: nothing unsynced is there, all of it, and one of the states between."""
    with scratch() as root:
        assert crash(COURSES[name], root, few=True).steps >= STEPS[name]


@pytest.mark.parametrize("name", ["record", "recover", "repair", "archive"])
def test_recoveries_that_crash_again_and_again_lose_nothing(name: str) -> None:
    """Chains of two to six crashes, each but the first at some operation of the recovery from the one before."""
    with scratch() as root:
        assert crash_again(COURSES[name], root, random.Random(3), 8) >= 16  # noqa: S311  # a test's draw


@pytest.mark.parametrize("name", ["seal", "prune"])
def test_a_power_failure_after_a_kill_takes_nothing_that_was_promised(name: str) -> None:
    """Killed before any sync, and the power fails at any step of what goes on then: what the killed process had not synced may be gone."""
    with scratch() as root:
        assert crash_killed(COURSES[name], root, few=True) >= 50


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_planted_bug_is_found(bug: Bug, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each wrong order of writing alone leaves a state that a start does not survive."""
    bug.plant(monkeypatch)
    with scratch() as root, pytest.raises(AssertionError, match=f"^{bug.course}, "):
        crash(COURSES[bug.course], root, few=True)
