"""Stateful machines: how the suite runs them, how a planted bug is looked for, and `python -m tests.machines [SEEDS [FIRST]]` for a long run.

The suite runs the same few courses each time, by the numbers of their seeds; a long run others. What breaks a machine is named step by step.
"""

from __future__ import annotations

import secrets
import sys
import time
from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Final

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

Plant = Callable[[pytest.MonkeyPatch], None]
SEEDS: Final = 10  # of the suite
LONG: Final = 500
ALL: Final = ("tests.engine.books_machine", "tests.engine.wired_machine", "tests.engine.legs_machine")  # modules with MACHINES
COURSES: Final = settings(
    max_examples=5,  # the first two are always the simplest
    stateful_step_count=50,
    deadline=None,
    database=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
"""Some courses of a seed: of many in one run Hypothesis makes most out of others, and shrinking a course would take minutes."""


def run(machine: type[RuleBasedStateMachine], seeds: Iterable[int] = range(SEEDS)) -> None:
    """Run a machine through the courses of some seeds.

    Raises:
        AssertionError: it found something.
    """
    for number in seeds:
        run_state_machine_as_test(seed(number)(type(machine.__name__, (machine,), {})), settings=COURSES)


def found_by(machine: type[RuleBasedStateMachine], plant: Plant) -> str | None:
    """What a machine says of a planted bug within the suite's courses; None: the bug lives."""
    with pytest.MonkeyPatch.context() as patch:
        plant(patch)
        try:
            run(machine)
        except AssertionError as error:
            return (str(error) or "an assertion").splitlines()[0]
    return None


def main(arguments: list[str]) -> int:
    """A long run of all machines."""
    count = int(arguments[0]) if arguments else LONG
    first = int(arguments[1]) if len(arguments) > 1 else secrets.randbelow(2**31)
    for module in ALL:
        for machine in import_module(module).MACHINES:
            began = time.monotonic()
            run(machine, range(first, first + count))
            sys.stdout.write(
                f"{machine.__name__}: {count} seeds from {first} on in {time.monotonic() - began:.0f} s, nothing found\n"
            )
            sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
