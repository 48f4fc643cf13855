"""Rows become the batch that a reader makes of them once they are sealed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.log.generators import KEYS, input_row
from tests.log.live import inputs_of
from tests.log.logs import Placed, expected, placed, rows_of
from tests.log.test_round_trip import SLOW_TO_MAKE
from xarb.errors import InvariantBroken
from xarb.log.batching import Batcher
from xarb.model.columns import INPUTS

NUMBERS = {key: number for number, key in enumerate(KEYS)}
READER: Any = SimpleNamespace(instruments=[SimpleNamespace(venue=venue, symbol=symbol) for venue, symbol in KEYS])


@given(rows=st.lists(st.sampled_from(INPUTS).flatmap(input_row), min_size=1, max_size=30))
@settings(max_examples=200, suppress_health_check=SLOW_TO_MAKE)
def test_a_batch_of_rows_is_what_a_reader_gives(rows: list[Placed]) -> None:
    """Any rows of any kind with any values: the same values in the same order; a raw frame keeps its place only."""
    given_rows = placed(rows, first_seq=7)
    batch = Batcher(NUMBERS).batch(inputs_of(given_rows))
    wanted = [("frames", {}) if kind == "frames" else expected(kind, row) for kind, row in given_rows]
    found = rows_of(READER, batch) if "frames" not in dict(given_rows) else None
    if found is not None:
        assert found == wanted
    assert [(row.seq, row.kind, row.values) for row in batch.slow] == [
        (given["seq"], kind, row) for (kind, given), (_, row) in zip(given_rows, wanted, strict=True) if kind in SLOW
    ]
    assert (batch.first_seq, batch.last_seq) == (7, 6 + len(rows))


SLOW = frozenset(INPUTS) - {"quotes", "book_deltas", "trades", "books"}


def test_nothing_makes_no_batch() -> None:
    """A batch has a range; without rows there is none."""
    with pytest.raises(InvariantBroken):
        Batcher(NUMBERS).batch({})
