"""The sorted arrays of a book against a plain dict."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from xarb.engine.kernel.book import ASK, BID, apply_level
from xarb.engine.kernel.state import BOOK_LEVELS

changes = st.lists(st.tuples(st.integers(1, 30), st.integers(0, 5)), max_size=80)


@given(st.sampled_from([BID, ASK]), changes)
def test_book_holds_what_a_dict_holds(side: int, messages: list[tuple[int, int]]) -> None:
    """After any changes the levels equal a dict's, sorted with the best last, and `found` tells whether the price was there."""
    px, qty = np.zeros(BOOK_LEVELS, np.int64), np.zeros(BOOK_LEVELS, np.int64)
    count = 0
    plain: dict[int, int] = {}
    for price, size in messages:
        count, found = apply_level(px, qty, count, side, price, size)
        assert found == int(price in plain)
        if size:
            plain[price] = size
        else:
            plain.pop(price, None)
    ordered = sorted(plain.items(), reverse=side == ASK)
    assert list(zip(px[:count].tolist(), qty[:count].tolist(), strict=True)) == ordered


def test_the_farthest_level_goes_when_the_bound_is_reached() -> None:
    """One level beyond the bound drops the worst level, or itself when it is the worst."""
    px, qty = np.zeros(BOOK_LEVELS, np.int64), np.zeros(BOOK_LEVELS, np.int64)
    count = 0
    for price in range(10, 10 + BOOK_LEVELS):
        count, found = apply_level(px, qty, count, BID, price, 1)
        assert found == 0
    assert apply_level(px, qty, count, BID, 9, 1) == (BOOK_LEVELS, -1)
    assert px[0] == 10
    assert apply_level(px, qty, count, BID, 10 + BOOK_LEVELS, 7) == (BOOK_LEVELS, -1)
    assert (px[0], px[BOOK_LEVELS - 1], qty[BOOK_LEVELS - 1]) == (11, 10 + BOOK_LEVELS, 7)
    assert apply_level(px, qty, BOOK_LEVELS, BID, 12, 0) == (BOOK_LEVELS - 1, 1)
    assert apply_level(px, qty, BOOK_LEVELS - 1, BID, 1, 1) == (BOOK_LEVELS, 0)
    assert apply_level(px, qty, BOOK_LEVELS, BID, 5, 3) == (BOOK_LEVELS, -1)
    assert (px[0], qty[0], px[1]) == (5, 3, 11)
