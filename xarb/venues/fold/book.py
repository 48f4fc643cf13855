"""The venue's books and what we took from them.

Own consumption. A fill leaves a mark on its level (instrument, side, price). The exact rule:

1. What may be filled at a level is its shown size minus the mark's `left`, rounded down to lots.
2. A level whose shown size falls below `left` lowers it to that size: what is not there cannot be subtracted. A later increase is
   new liquidity and is ours to take.
3. A level that grows after public trades took from it counts as refilled by as much as it grew, no more than was traded there since
   the fill: `left` falls by that. Growth without trades adds itself only; trades whose aggressor is unknown prove nothing.
4. The mark goes when `left` is zero, or when the level vanished: the book shows a level at the same side that is worse, and not
   this one. A price beyond the worst level shown says nothing; nor do a gap and an empty side. Such marks stay.
"""

# No `from __future__ import annotations`: numba reads signatures of compiled functions.
import numpy as np

from xarb.engine.kernel.book import ASK, BID, find
from xarb.engine.kernel.compiled import compiled, inlined, part
from xarb.engine.kernel.pointer import view
from xarb.engine.kernel.state import BOOK_LEVELS
from xarb.model.units import NULL
from xarb.venues.fold.state import (
    FILLS,
    INSTRUMENT,
    INSTRUMENTS,
    MARK,
    MARKED,
    MARKS,
    PRICES,
    SIZES,
    WORLD,
)

HIDDEN = -1  # size of a level that the book says nothing about


@inlined
def instruments(w):
    """The records of all instruments."""
    return view(w["at"][INSTRUMENTS], w["count"][INSTRUMENTS], INSTRUMENT)


@part
def prices(w, slot, side):
    """Prices of one side of a book with depth, best last."""
    start = (slot * 2 + side) * BOOK_LEVELS
    return view(w["at"][PRICES], w["count"][PRICES], np.int64)[start : start + BOOK_LEVELS]


@part
def sizes(w, slot, side):
    """Quantities of one side of a book with depth, best last."""
    start = (slot * 2 + side) * BOOK_LEVELS
    return view(w["at"][SIZES], w["count"][SIZES], np.int64)[start : start + BOOK_LEVELS]


@part
def level(w, inst, side, at):
    """(price, size) of level `at` from the best; the size is the assumed one, or null, where it is unknown."""
    me = instruments(w)[inst]
    if me["slot"] < 0:
        price, size = me["best_px"][side], me["best_qty"][side]
    else:
        place = me["levels"][side] - 1 - at
        price, size = prices(w, me["slot"], side)[place], sizes(w, me["slot"], side)[place]
    return price, me["assumed"] if size == NULL else size


@part
def shown(w, inst, side, price):
    """Size of a level: 0 where the book shows that it is absent, HIDDEN where it says nothing or the size is unknown."""
    me = instruments(w)[inst]
    count = me["levels"][side]
    if count == 0:
        return HIDDEN
    if me["slot"] < 0:
        at = 0
        best = me["best_px"][side]
        if best != price:
            return 0 if (best < price) == (side == BID) else HIDDEN
    else:
        at = find(prices(w, me["slot"], side), count, side, price)
        if at == count or prices(w, me["slot"], side)[at] != price:
            return 0 if at > 0 else HIDDEN
        at = count - 1 - at
    size = level(w, inst, side, at)[1]
    return HIDDEN if size == NULL else size


@inlined
def _marks(w, inst, side):
    start = (inst * 2 + side) * MARKS
    return view(w["at"][MARKED], w["count"][MARKED], MARK)[start : start + MARKS]


@part
def _drop(w, inst, side, at):
    """Forget mark `at`; the last one takes its place."""
    me = instruments(w)[inst]
    last = me["marks"][side] - 1
    marks = _marks(w, inst, side)
    marks[at]["price"] = marks[last]["price"]
    marks[at]["left"] = marks[last]["left"]
    marks[at]["shown"] = marks[last]["shown"]
    marks[at]["traded"] = marks[last]["traded"]
    me["marks"][side] = last
    me["busy"] -= 1


@part
def review_marks(w, inst):
    """The book of an instrument changed: rules 2, 3 and 4."""
    me = instruments(w)[inst]
    for side in range(2):
        marks = _marks(w, inst, side)
        at = 0
        while at < me["marks"][side]:
            mark = marks[at]
            size = shown(w, inst, side, mark["price"])
            if size != HIDDEN:
                grown = size - mark["shown"]
                if grown > 0:
                    refilled = min(grown, mark["traded"])
                    mark["traded"] -= refilled
                    mark["left"] -= refilled
                mark["shown"] = size
                mark["left"] = min(mark["left"], size)
                if mark["left"] <= 0:
                    _drop(w, inst, side, at)
                    continue
            at += 1


@part
def mark_trade(w, inst, price, qty, aggressor):
    """A public trade at a marked level: `aggressor` 0 took from the asks, 1 from the bids."""
    if aggressor > 1:
        return
    side = ASK if aggressor == 0 else BID
    marks = _marks(w, inst, side)
    for at in range(instruments(w)[inst]["marks"][side]):
        if marks[at]["price"] == price:
            marks[at]["traded"] += qty


@part
def _mark_of(w, inst, side, price):
    marks = _marks(w, inst, side)
    for at in range(instruments(w)[inst]["marks"][side]):
        if marks[at]["price"] == price:
            return at
    return -1


@part
def _consume(w, inst, side, at, price, size, qty):
    """Add a fill to the level's mark, `at` or a new one; what was traded before the fill proves nothing for it."""
    me = instruments(w)[inst]
    if at < 0:
        at = me["marks"][side]
        me["marks"][side] = at + 1
        me["busy"] += 1
        _marks(w, inst, side)[at]["price"] = price
        _marks(w, inst, side)[at]["left"] = 0
    mark = _marks(w, inst, side)[at]
    mark["left"] += qty
    mark["shown"] = size
    mark["traded"] = 0


@compiled
def walk(handle: int, inst: int, side: int, limit: int, qty: int, commit: int) -> tuple[int, int]:
    """Take up to `qty` from `side` (0 the bids, 1 the asks) of an instrument's book at `limit` or better, best price first.

    The fills stand in FILLS as (price, quantity) pairs, one a level. With `commit` 0 nothing is consumed. `world.unknown` is 1 when the
    walk ended at a level of unknown size.

    Returns:
        (number of fills, total quantity).
    """
    w = view(handle, 1, WORLD)[0]
    me = instruments(w)[inst]
    fills = view(w["at"][FILLS], w["count"][FILLS], np.int64)
    w["unknown"] = 0
    count, rest, free_marks = 0, qty, MARKS - me["marks"][side]
    for at in range(me["levels"][side]):
        price, size = level(w, inst, side, at)
        if rest == 0 or count == MARKS or (price > limit if side == ASK else price < limit):
            break
        if size == NULL:
            w["unknown"] = 1
            break
        mark = _mark_of(w, inst, side, price)
        available = size
        if mark >= 0:
            available -= _marks(w, inst, side)[mark]["left"]
        available = min(available - available % me["lot"], rest)
        if available <= 0:
            continue
        if mark < 0:
            if free_marks == 0:
                break
            free_marks -= 1
        if commit != 0:
            _consume(w, inst, side, mark, price, size, available)
        fills[2 * count] = price
        fills[2 * count + 1] = available
        count += 1
        rest -= available
    return count, qty - rest


@compiled
def shown_size(handle: int, inst: int, side: int, price: int) -> int:
    """`shown` from outside."""
    return int(shown(view(handle, 1, WORLD)[0], inst, side, price))


@compiled
def best_price(handle: int, inst: int, side: int) -> int:
    """Best price of a side, INT64_MIN without one."""
    w = view(handle, 1, WORLD)[0]
    if instruments(w)[inst]["levels"][side] == 0:
        return NULL
    return int(level(w, inst, side, 0)[0])
