"""Crashes at every operation on the disk, and every state that each may leave; the log is opened after each.

`python -m tests.log.crash [COURSE ...] [--few] [--again N]` takes the courses one after the other (all of them when none is named): each
is done once under the eye of `tests.log.trace`, and for each step of it every state of `tests.log.states` is made in memory, opened,
compared with what had been promised by then, opened again, and written on. `--killed` adds a power failure at each step
after a kill. `--few` takes three states a step. `--again` adds N chains of up to
six crashes, each but the first during the recovery from the one before. Prints figures; ends at the first state that a start does not survive.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

from tests.log.courses import COURSES, Course
from tests.log.states import Fate, State, states
from tests.log.trace import Sync, Trace, Tree, watched, write_tree
from xarb.errors import XarbError
from xarb.log.prune import COPY
from xarb.simulation.verb import scratch

MOST_CRASHES = 6


class Figures(NamedTuple):
    """What was tried: steps of the course, states that were made, and those of them that differ."""

    steps: int
    states: int
    tried: int


def record(course: Course, root: Path) -> Trace:
    """Do a course once, watched.

    Raises:
        AssertionError: it cannot even be done.
    """
    root.mkdir()
    course.prepare(root)
    try:
        with watched(root) as trace:
            course.act(root, trace)
    except (OSError, XarbError) as error:
        raise AssertionError(f"{course.name}, not stopped: {type(error).__name__}: {error}") from error
    return trace


def crash(course: Course, root: Path, *, few: bool = False) -> Figures:
    """Crash a course at every step of it.

    Raises:
        AssertionError: a state that a start does not survive.
    """
    trace = record(course, root / "once")
    made = 0
    seen: dict[object, int] = {}
    for state in states(trace, few=few):
        made += 1
        key = _key(state.tree, few=few)
        if seen.get(key, -2) >= state.must:
            continue  # this was tried, with as much that had to be there
        seen[key] = state.must
        place = root / f"at{made}"
        write_tree(state.tree, place)
        with _told(course, state):
            course.resume(place, state)
            course.judge(place, state)
        shutil.rmtree(place)
    return Figures(len(trace.steps), made, len(seen))


def _key(tree: Tree, *, few: bool) -> object:
    """What tells a state from another; with few, not the bytes of files that have no name yet, which nobody reads."""
    return frozenset((path, None if few and _is_nameless(path) else data) for path, data in tree.items())


def _is_nameless(path: str) -> bool:
    return any(part.startswith(".") and part.endswith(".tmp") and part != COPY for part in path.split("/"))


def crash_again(course: Course, root: Path, draw: random.Random, chains: int) -> int:
    """Crash a course anywhere, then the recovery from it, and so on; how many crashes there were.

    Raises:
        AssertionError: a state that a start does not survive.
    """
    first = record(course, root / "once")
    crashes = 0
    for number in range(chains):
        trace, is_holed, is_other = first, False, False
        for depth in range(draw.randint(2, MOST_CRASHES)):
            state = draw.choice(list(states(trace, only=draw.randint(0, len(trace.steps)))))
            is_holed = is_holed or state.is_holed
            is_other = is_other or Fate.OTHER.value in state.what
            what = f"{state.what}, once {Fate.OTHER.value}" if is_other else state.what  # which stay until somebody cuts them
            state = state._replace(is_holed=is_holed, what=what)
            crashes += 1
            place = root / f"chain{number}-{depth}"
            write_tree(state.tree, place)
            with _told(course, state), watched(place) as trace:
                trace.promise = partial(_promised, state.must)
                course.resume(place, state)
        with _told(course, state):
            course.judge(place, state)
        for path in root.glob(f"chain{number}-*"):
            shutil.rmtree(path)
    return crashes


def crash_killed(course: Course, root: Path, *, few: bool = False) -> int:
    """Kill a course before each of its syncs, and cut the power at every step of the start that follows; how many states there were.

    What the killed process had not synced is still not synced then.

    Raises:
        AssertionError: a state that a start does not survive.
    """
    first, tried, seen = record(course, root / "once"), 0, set[object]()
    for count, step in enumerate(first.steps):
        if not isinstance(step, Sync):
            continue
        (killed,) = (one for one in states(first, only=count) if one.what == "everything is there")
        place = root / f"killed{count}"
        write_tree(killed.tree, place)
        with _told(course, killed), watched(place) as trace:
            trace.follow(first, count)
            trace.promise = partial(_promised, first.promises[count][0])
            course.resume(place, killed)
        for state in states(trace, few=few, first=count):
            key = _key(state.tree, few=few)
            if key in seen:
                continue
            seen.add(key)
            tried += 1
            at = root / f"killed{count}-{tried}"
            write_tree(state.tree, at)
            with _told(course, state):
                course.resume(at, state)
                course.judge(at, state)
            shutil.rmtree(at)
        shutil.rmtree(place)
    return tried


def _promised(must: int) -> tuple[int, int]:
    return must, must


@contextmanager
def _told(course: Course, state: State) -> Iterator[None]:
    """Say where it was."""
    try:
        yield
    except Exception as error:
        where = f"{course.name}, step {state.step}, {state.what}, up to {state.must} had to be there"
        raise AssertionError(f"{where}: {type(error).__name__}: {error}") from error


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    wanted = argparse.ArgumentParser("python -m tests.log.crash")
    wanted.add_argument("courses", nargs="*", choices=[[], *COURSES])
    wanted.add_argument("--few", action="store_true")
    wanted.add_argument("--killed", action="store_true")
    wanted.add_argument("--again", type=int, default=0)
    wanted.add_argument("--seed", type=int, default=1)
    asked = wanted.parse_args(arguments)
    for name in asked.courses or COURSES:
        began = time.monotonic()
        with scratch() as root:
            found = crash(COURSES[name], root, few=asked.few)
        if asked.killed:
            with scratch() as root:
                after = crash_killed(COURSES[name], root, few=asked.few)
            sys.stdout.write(f"{name}: {after} states of a power failure after a kill\n")
        crashes = 0
        with scratch() as root:
            if asked.again:
                crashes = crash_again(COURSES[name], root, random.Random(asked.seed), asked.again)  # noqa: S311  # a test's draw
        seconds = time.monotonic() - began
        sys.stdout.write(
            f"{name}: {found.steps} steps, {found.states} states, {found.tried} differ and were tried; "
            f"{crashes} crashes in chains; {seconds:.0f} s\n"
        )
        sys.stdout.flush()


if __name__ == "__main__":
    main()
