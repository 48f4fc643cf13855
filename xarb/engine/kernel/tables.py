"""Accessors of the kernel's tables: each takes the WORLD record and gives a row or an array, without copying."""

# No `from __future__ import annotations`: numba reads signatures of compiled functions.
import numpy as np

from xarb.engine.kernel.compiled import part
from xarb.engine.kernel.pointer import view
from xarb.engine.kernel.state import (
    BOOK_LEVELS,
    BOOK_PX,
    BOOK_QTY,
    BUYS,
    CONNECTION,
    CONNECTIONS,
    CONVERTS,
    GROUP,
    GROUPS,
    INSTRUMENT,
    INSTRUMENTS,
    MEMBERS,
    OUT,
    OUT_WIDTH,
    PAIR,
    PAIRS,
    SCRATCH,
    SCREEN,
    SCREENED,
    SCREENS,
    STRATEGIES,
    STRATEGY,
    WAKE_WIDTH,
    WAKES,
)


@part
def instrument(k, index):
    """The record of instrument `index`."""
    return view(k["at"][INSTRUMENTS], k["count"][INSTRUMENTS], INSTRUMENT)[index]


@part
def pair(k, index):
    """The record of pair `index`."""
    return view(k["at"][PAIRS], k["count"][PAIRS], PAIR)[index]


@part
def connection(k, index):
    """The record of connection `index`."""
    return view(k["at"][CONNECTIONS], k["count"][CONNECTIONS], CONNECTION)[index]


@part
def strategy(k, index):
    """The record of strategy `index`."""
    return view(k["at"][STRATEGIES], k["count"][STRATEGIES], STRATEGY)[index]


@part
def group(k, index):
    """The record of group `index`."""
    return view(k["at"][GROUPS], k["count"][GROUPS], GROUP)[index]


@part
def screen(k, index):
    """The record of screen `index`."""
    return view(k["at"][SCREENS], k["count"][SCREENS], SCREEN)[index]


@part
def screened(k):
    """Instrument numbers ordered by screen."""
    return view(k["at"][SCREENED], k["count"][SCREENED], np.int64)


@part
def converts(k):
    """Pair numbers ordered by the instrument that converts for them."""
    return view(k["at"][CONVERTS], k["count"][CONVERTS], np.int64)


@part
def buys(k):
    """Pair numbers ordered by buy side."""
    return view(k["at"][BUYS], k["count"][BUYS], np.int64)


@part
def members(k):
    """Instrument numbers ordered by group."""
    return view(k["at"][MEMBERS], k["count"][MEMBERS], np.int64)


@part
def scratch(k):
    """Room for sorting a few values."""
    return view(k["at"][SCRATCH], k["count"][SCRATCH], np.int64)


@part
def out_row(k, index):
    """Row `index` of the output buffer."""
    return view(k["at"][OUT], k["count"][OUT], np.int64)[index * OUT_WIDTH : (index + 1) * OUT_WIDTH]


@part
def wake_row(k, index):
    """Row `index` of the wake buffer."""
    return view(k["at"][WAKES], k["count"][WAKES], np.int64)[index * WAKE_WIDTH : (index + 1) * WAKE_WIDTH]


@part
def prices(k, slot, side):
    """Prices of one side of a book, best last."""
    start = (slot * 2 + side) * BOOK_LEVELS
    return view(k["at"][BOOK_PX], k["count"][BOOK_PX], np.int64)[start : start + BOOK_LEVELS]


@part
def sizes(k, slot, side):
    """Quantities of one side of a book, best last."""
    start = (slot * 2 + side) * BOOK_LEVELS
    return view(k["at"][BOOK_QTY], k["count"][BOOK_QTY], np.int64)[start : start + BOOK_LEVELS]
