"""The states in which a crash may leave a folder, at every step of what a process did to it.

A step is on the disk for certain once a sync of its file or folder followed; a move once one of its two folders was synced, because every
journaling file system moves in one piece. Of the other steps any may be there and any may not, in whatever order they were made: a name
without the bytes, the bytes without the name, a later write without an earlier one, a write that is torn, zeros or other bytes where a
block never came.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import Enum
from typing import NamedTuple

from tests.log.trace import Data, Link, Move, Resize, Step, Sync, Trace, Tree, Unlink, Write


class Fate(Enum):
    """What becomes of a step that was not synced."""

    LOST = "lost"
    KEPT = "kept"
    FIRST = "one byte"
    HALF = "half"
    SHORT = "all but one byte"
    ZEROS = "zeros"
    HOLE = "zeros for its first half"
    OTHER = "other bytes"


class State(NamedTuple):
    """What a crash left.

    Attributes:
        step: how many steps were done.
        what: which of those that were not synced are there.
        tree: the folder.
        must: last seq that must be in it.
        is_holed: bytes of a file are lost although later ones of it are there: a start may take that for damage.
    """

    step: int
    what: str
    tree: Tree
    must: int
    is_holed: bool


_TORN = (Fate.FIRST, Fate.HALF, Fate.SHORT, Fate.ZEROS, Fate.HOLE, Fate.OTHER)
Course = tuple[str, dict[int, Fate]]


def states(trace: Trace, *, few: bool = False, only: int | None = None, first: int = 0) -> Iterator[State]:
    """Every state at every step from the first on, or at one, or with `few` four at each: the first three, and one of the others in turn."""
    for count in range(first, len(trace.steps) + 1) if only is None else (only,):
        loose = unsynced(trace.steps[:count])
        courses = list(_courses(trace.steps, loose))
        if few and len(courses) > 4:
            courses = [*courses[:3], courses[3 + count % (len(courses) - 3)]]
        for course in courses:
            yield _state(trace, count, loose, course)


def state(trace: Trace, count: int, which: int) -> State:
    """One of the states after so many steps, none with a hole."""
    loose = unsynced(trace.steps[:count])
    courses = [course for course in _courses(trace.steps, loose) if not _is_holed(trace.steps, loose, course[1])]
    return _state(trace, count, loose, courses[which % len(courses)])


def torn(trace: Trace, count: int, which: int, suffix: str) -> State | None:
    """A state in which an unsynced write of a file that got a name with this end is torn, and what came later is lost; None without one."""
    loose = unsynced(trace.steps[:count])
    nodes = {step.node for step in trace.steps if isinstance(step, Move) and step.new.endswith(suffix)}
    writes = [number for number in loose if isinstance(step := trace.steps[number], Write) and step.node in nodes]
    if not writes:
        return None
    last, fate = writes[which % len(writes)], _TORN[which % len(_TORN)]
    fates = {number: Fate.KEPT for number in loose if number < last} | {last: fate}
    return _state(trace, count, loose, (f"up to step {last}: {fate.value}", fates))


def _state(trace: Trace, count: int, loose: list[int], course: Course) -> State:
    what, fates = course
    synced, written = trace.promises[count]
    is_killed = all(fates.get(number) is Fate.KEPT for number in loose)
    return State(
        step=count,
        what=what,
        tree=_made(trace, count, set(loose), fates),
        must=max(synced, written) if is_killed else synced,
        is_holed=_is_holed(trace.steps, loose, fates),
    )


def unsynced(steps: Sequence[Step]) -> list[int]:
    """The steps that are not on the disk for certain."""
    synced: set[int] = set()  # what is synced behind the step that is looked at
    loose = []
    for number in range(len(steps) - 1, -1, -1):
        step = steps[number]
        if isinstance(step, Sync):
            synced.add(step.node)
        elif not synced & set(_needed(step)):
            loose.append(number)
    return loose[::-1]


def _needed(step: Step) -> tuple[int, ...]:
    """The nodes of which one has to be synced for a step."""
    match step:
        case Write(node, _, _) | Resize(node, _):
            return (node,)
        case Link(folder, _, _, _) | Unlink(folder, _):
            return (folder,)
        case Move(folder, _, to, _, _):
            return folder, to
    return ()


def _courses(steps: Sequence[Step], loose: list[int]) -> Iterator[Course]:
    """What may become of the loose steps; writes of one file that follow each other share a fate, but for the last."""
    yield "nothing unsynced is there", {}
    yield "everything is there", dict.fromkeys(loose, Fate.KEPT)
    units = _units(steps, loose)
    data = [number for number in loose if isinstance(steps[number], Data)]
    names = [number for number in loose if not isinstance(steps[number], Data)]
    yield "names without bytes", dict.fromkeys(names, Fate.KEPT)
    if data and names:
        yield "bytes without names", dict.fromkeys(data, Fate.KEPT)
    if data:
        yield "zeros for bytes", dict.fromkeys(names, Fate.KEPT) | dict.fromkeys(data, Fate.ZEROS)
        for fate in _TORN:
            yield f"the last write: {fate.value}", dict.fromkeys(loose, Fate.KEPT) | {data[-1]: fate}
    for place, unit in enumerate(units):
        before = [number for other in units[:place] for number in other]
        after = [number for other in units[place + 1 :] for number in other]
        said = f"steps {unit[0]} to {unit[-1]}" if len(unit) > 1 else f"step {unit[0]}"
        if len(units) > 1:
            yield f"{said} alone", dict.fromkeys(unit, Fate.KEPT)
            yield f"all but {said}", dict.fromkeys((*before, *after), Fate.KEPT)
        if before and after:
            yield f"up to {said}", dict.fromkeys((*before, *unit), Fate.KEPT)
        if isinstance(steps[unit[-1]], Data):
            for fate in _TORN:
                yield f"up to {said}: {fate.value}", dict.fromkeys((*before, *unit), Fate.KEPT) | {unit[-1]: fate}


def _units(steps: Sequence[Step], loose: list[int]) -> list[list[int]]:
    """Loose steps, those together that write to one file without another loose step between them."""
    units: list[list[int]] = []
    for number in loose:
        step, last = steps[number], steps[units[-1][-1]] if units else None
        if isinstance(step, Write) and isinstance(last, Write) and step.node == last.node:
            units[-1].append(number)
        else:
            units.append([number])
    return units


def _made(trace: Trace, count: int, loose: set[int], fates: dict[int, Fate]) -> Tree:
    nodes = trace.start.copy()
    for number, step in enumerate(trace.steps[:count]):
        fate = fates.get(number, Fate.LOST) if number in loose else Fate.KEPT
        left = _left(step, fate)
        if left is not None:
            nodes.take(left)
        elif isinstance(step, Link):
            nodes.know(step)  # it is there, without a name
    return nodes.tree()


def _left(step: Step, fate: Fate) -> Step | None:
    """What is left of a step."""
    if fate is Fate.LOST or (not isinstance(step, Write) and fate is not Fate.KEPT):
        return None
    if not isinstance(step, Write) or fate is Fate.KEPT:
        return step
    size = len(step.data)
    data = {
        Fate.FIRST: step.data[:1],
        Fate.HALF: step.data[: size // 2],
        Fate.SHORT: step.data[:-1],
        Fate.ZEROS: bytes(size),
        Fate.HOLE: bytes(size // 2) + step.data[size // 2 :],
        Fate.OTHER: bytes(byte ^ 0x5A for byte in step.data),
    }[fate]
    return step._replace(data=data)


def _is_holed(steps: Sequence[Step], loose: list[int], fates: dict[int, Fate]) -> bool:
    """Whether bytes are missing or wrong in a file that are followed by bytes which are there."""
    hurt: set[int] = set()
    for number in loose:
        step = steps[number]
        if isinstance(step, Data):
            if fates.get(number, Fate.LOST) is not Fate.KEPT:
                hurt.add(step.node)
            elif step.node in hurt and isinstance(step, Write):
                return True
    return False
