"""Accessors of the kernel's tables: each takes the WORLD record and gives a row or an array, without copying."""

# No `from __future__ import annotations`: numba reads signatures of compiled functions.
import numpy as np

from xarb.engine.kernel.compiled import compiled
from xarb.engine.kernel.pointer import view
from xarb.engine.kernel.state import (
    BOOK_LEVELS,
    BOOK_PX,
    BOOK_QTY,
    BUYS,
    CONNECTION,
    CONNECTIONS,
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
    STRATEGIES,
    STRATEGY,
    WAKE_WIDTH,
    WAKES,
)


@compiled
def instrument(k, index):
    """The record of instrument `index`."""
    return view(k["at"][INSTRUMENTS], k["count"][INSTRUMENTS], INSTRUMENT)[index]


@compiled
def pair(k, index):
    """The record of pair `index`."""
    return view(k["at"][PAIRS], k["count"][PAIRS], PAIR)[index]


@compiled
def connection(k, index):
    """The record of connection `index`."""
    return view(k["at"][CONNECTIONS], k["count"][CONNECTIONS], CONNECTION)[index]


@compiled
def strategy(k, index):
    """The record of strategy `index`."""
    return view(k["at"][STRATEGIES], k["count"][STRATEGIES], STRATEGY)[index]


@compiled
def group(k, index):
    """The record of group `index`."""
    return view(k["at"][GROUPS], k["count"][GROUPS], GROUP)[index]


@compiled
def buys(k):
    """Pair numbers ordered by buy side."""
    return view(k["at"][BUYS], k["count"][BUYS], np.int64)


@compiled
def members(k):
    """Instrument numbers ordered by group."""
    return view(k["at"][MEMBERS], k["count"][MEMBERS], np.int64)


@compiled
def scratch(k):
    """Room for sorting a few values."""
    return view(k["at"][SCRATCH], k["count"][SCRATCH], np.int64)


@compiled
def out_row(k, index):
    """Row `index` of the output buffer."""
    return view(k["at"][OUT], k["count"][OUT], np.int64)[index * OUT_WIDTH : (index + 1) * OUT_WIDTH]


@compiled
def wake_row(k, index):
    """Row `index` of the wake buffer."""
    return view(k["at"][WAKES], k["count"][WAKES], np.int64)[index * WAKE_WIDTH : (index + 1) * WAKE_WIDTH]


@compiled
def prices(k, slot, side):
    """Prices of one side of a book, best last."""
    start = (slot * 2 + side) * BOOK_LEVELS
    return view(k["at"][BOOK_PX], k["count"][BOOK_PX], np.int64)[start : start + BOOK_LEVELS]


@compiled
def sizes(k, slot, side):
    """Quantities of one side of a book, best last."""
    start = (slot * 2 + side) * BOOK_LEVELS
    return view(k["at"][BOOK_QTY], k["count"][BOOK_QTY], np.int64)[start : start + BOOK_LEVELS]
