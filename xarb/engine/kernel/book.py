"""Books in memory: two sorted arrays a side of price and quantity, the best level last, so that changes near the top are cheap."""

# No `from __future__ import annotations`: numba reads signatures of compiled functions.
from xarb.engine.kernel.compiled import part
from xarb.engine.kernel.state import BOOK_LEVELS

BID, ASK = 0, 1  # as columns.SIDES


@part
def find(levels, count, side, price):
    """Index of the first level at or beyond `price` toward the best; bids ascend, asks descend."""
    low, high = 0, count
    if side == BID:
        while low < high:
            middle = (low + high) // 2
            if levels[middle] < price:
                low = middle + 1
            else:
                high = middle
    else:
        while low < high:
            middle = (low + high) // 2
            if levels[middle] > price:
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
            for j in range(at, count - 1):
                px[j] = px[j + 1]
                qty[j] = qty[j + 1]
            return count - 1, 1
        qty[at] = size
        return count, 1
    if size == 0:
        return count, 0
    dropped = 0
    if count == BOOK_LEVELS:
        dropped = -1
        if at == 0:
            return count, dropped
        for j in range(at - 1):
            px[j] = px[j + 1]
            qty[j] = qty[j + 1]
        px[at - 1] = price
        qty[at - 1] = size
        return count, dropped
    for j in range(count, at, -1):
        px[j] = px[j - 1]
        qty[j] = qty[j - 1]
    px[at] = price
    qty[at] = size
    return count + 1, 0
