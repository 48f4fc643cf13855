"""Books in memory: two sorted arrays a side of price and quantity, the best level last, so that changes near the top are cheap."""

# No `from __future__ import annotations`: numba reads signatures of compiled functions.
from xarb.engine.kernel.compiled import part
from xarb.engine.kernel.state import BOOK_LEVELS

BID, ASK = 0, 1  # as columns.SIDES
_NEAR = 8  # levels from the top that are tried one by one: most changes hit them, and no branch of theirs is a surprise


@part
def find(levels, count, side, price):
    """Index of the first level at or beyond `price` toward the best; bids ascend, asks descend."""
    sign = 1 if side == BID else -1  # with it both sides ascend; prices are positive, so it cannot overflow
    wanted = price * sign
    near = max(count - _NEAR, 0)
    at = count
    while at > near and levels[at - 1] * sign >= wanted:
        at -= 1
    if at > near or near == 0:
        return at
    low, high = 0, at
    while low < high:
        middle = (low + high) >> 1
        if levels[middle] * sign < wanted:
            low = middle + 1
        else:
            high = middle
    return low


@part
def apply_level(px, qty, count, side, price, size):
    """Set, add or (size 0) remove one level; `px` and `qty` are one side's arrays.

    Returns (count, found): the new number of levels, and 1 if the price had a level before, 0 if not, -1 if the farthest level
    was dropped to keep the bound.
    """
    at = find(px, count, side, price)
    if at < count and px[at] == price:
        if size == 0:
            _close(px, at, count)
            _close(qty, at, count)
            return count - 1, 1
        qty[at] = size
        return count, 1
    if size == 0:
        return count, 0
    if count == BOOK_LEVELS:
        if at > 0:
            _close(px, 0, at)
            _close(qty, 0, at)
            px[at - 1] = price
            qty[at - 1] = size
        return count, -1
    for j in range(count, at, -1):
        px[j] = px[j - 1]
    for j in range(count, at, -1):
        qty[j] = qty[j - 1]
    px[at] = price
    qty[at] = size
    return count + 1, 0


@part
def _close(values, at, end):
    """Move values[at + 1:end] down by one; a loop over one array compiles to a plain memory move."""
    for j in range(at, end - 1):
        values[j] = values[j + 1]
