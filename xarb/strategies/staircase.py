"""The highest point of a line plus a staircase, found exactly in as many steps as Euclid's algorithm takes."""

from __future__ import annotations

from typing import NamedTuple


class Staircase(NamedTuple):
    """f(x) = slope * x + rise * floor((grow * x + shift) / width) for whole x from 0 on; `width` is above zero, `grow` not below it."""

    slope: int
    rise: int
    grow: int
    shift: int
    width: int


def highest(stair: Staircase, last: int) -> tuple[int, int]:
    """(f(x), x) of the x in 0..`last` at which f is highest, the smallest of equal ones.

    Only the first x of a step (where the line falls) or the last one (where it rises) can be the highest. As a function of the number
    of the step these are a line plus a staircase again, with `grow` and `width` changed places, so that the numbers shrink as in
    Euclid's algorithm: a few dozen steps for any quantities and fees.
    """
    slope, rise, grow, shift, width = stair
    slope += rise * (grow // width)
    foot = rise * (shift // width)
    grow, shift = grow % width, shift % width
    steps = (grow * last + shift) // width
    end = foot + slope * last + rise * steps
    best, at = (end, last) if end > foot else (foot, 0)
    if steps == 0 or rise == 0 or (slope > 0) == (rise > 0) or (slope == 0 and rise < 0):
        return best, at
    if slope <= 0:  # the first x of the steps 1 to `steps`, counted from 0
        turned = width - shift + grow - 1
        value, step = highest(Staircase(rise, slope, width, turned, grow), steps - 1)
        value += rise
    else:  # the last x of the steps 0 to `steps` - 1; that of the step `steps` is `last`
        turned = width - shift - 1
        value, step = highest(Staircase(rise, slope, width, turned, grow), steps - 1)
    value, x = value + foot, (width * step + turned) // grow
    return (value, x) if (value, -x) > (best, -at) else (best, at)
