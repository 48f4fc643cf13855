"""Fields of kernel records as words."""

from __future__ import annotations

import numpy as np
import pytest

from xarb.engine.words import fields, place, width, words

RECORD = np.dtype([("first", "i8"), ("ratio", "f8"), ("many", "i8", (3,)), ("last", "i8")])


def test_fields_are_read_at_once_from_any_record() -> None:
    """Whatever lies between them, and null and negative values as they are."""
    table = np.zeros(3, RECORD)
    table[2]["first"], table[2]["many"], table[2]["last"] = -(2**63), [-1, 8, 9], 2**63 - 1
    some = fields(RECORD, "first", "many", "last")
    assert some.unpack_from(words(table), 2 * RECORD.itemsize) == (-(2**63), -1, 2**63 - 1)
    assert some.unpack_from(words(table), RECORD.itemsize) == (0, 0, 0)
    assert [words(table)[2 * width(RECORD) + place(RECORD, name)] for name in ("first", "last")] == [-(2**63), 2**63 - 1]


def test_fields_must_be_named_in_their_order() -> None:
    """Else values would go to the wrong names."""
    with pytest.raises(AssertionError, match="first lies before"):
        fields(RECORD, "last", "first")
