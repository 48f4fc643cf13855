"""A copy of the whole state, laid into fresh parts, goes on as if nothing had happened: engine, strategies and simulated venues."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engine.test_splits import MARKET, Parts, rows_of
from xarb.engine.captured import EngineCopy
from xarb.model.event import OutputRow
from xarb.replay import turn
from xarb.venues.captured import VenuesCopy


class Cut:
    """What came before a cut and after it, with the copy that was taken there, as text."""

    def __init__(self, parts: Parts, first: int, copy: bytes | None = None) -> None:
        self.parts = parts
        if copy is not None:
            engine, venues = decoded(copy)
            parts.engine.restore(engine)
            parts.venues.restore(venues)
        self.copies: list[bytes] = []
        self.rows: list[list[OutputRow]] = []
        for batch in parts.batches[first:]:
            self.copies.append(encoded(parts))
            turn(parts, batch)  # type: ignore[arg-type]  # what the driver uses of an assembly
            self.rows.append(parts.engine.outputs.drain())
        self.copies.append(encoded(parts))


def encoded(parts: Parts) -> bytes:
    """The state as text."""
    return msgspec.json.encode((parts.engine.capture(), parts.venues.capture()))


def decoded(copy: bytes) -> tuple[EngineCopy, VenuesCopy]:
    """The state of a text."""
    return msgspec.json.decode(copy, type=tuple[EngineCopy, VenuesCopy])


def seen_after(parts: Parts, count: int) -> list[tuple[Any, ...]]:
    """What the witness saw but for the first so many times."""
    return parts.witness.seen[count:]


@settings(max_examples=60)
@given(MARKET, st.lists(st.integers(1, 60), max_size=6), st.data())
def test_what_was_restored_goes_on_alike(market: list[tuple[int, tuple[Any, ...]]], cuts: list[int], data: st.DataObject) -> None:
    """Outputs, what strategies see, and every later copy are those of the engine that never stopped."""
    rows = rows_of(market)
    whole = Cut(Parts(rows, cuts), 0)
    at = data.draw(st.integers(0, len(whole.rows)))
    again = Cut(Parts(rows, cuts), at, whole.copies[at])
    assert again.rows == whole.rows[at:]
    assert again.copies == whole.copies[at:]
    seen = again.parts.witness.seen
    assert seen == whole.parts.witness.seen[len(whole.parts.witness.seen) - len(seen) :]


def test_every_cut_of_a_market_that_trades() -> None:
    """Orders on their way, reports that are due, deadlines, done bundles and finer scales: cut before each row, all goes on alike."""
    crossed = [(1, ("quote", 0, 104, 9, 105, 9)), (1, ("book", 1, [(97, 9)], [(98, 9), (99, 9)])), (1, ("instrument", 0, 1, 1))]
    later = [(20, ("quote", 0, 103, 8, 105, 9)), (60, ("quote", 0, 104, 9, 105, 9)), (1, ("instrument", 1, 1, 0))]
    close = [(1, ("quote", 0, 104, 9 - place % 2, 105, 9)) for place in range(45)]
    rows = rows_of([*crossed, *close, *later, *crossed[:2], *close, (500, ("trade", 0, 104, 1, 0)), (900, ("trade", 0, 104, 1, 0))])
    cuts = range(len(rows))
    whole = Cut(Parts(rows, cuts), 0)
    states = [decoded(copy) for copy in whole.copies]
    archives = [engine.decisions.execution.archive for engine, _ in states]
    assert any(one.open for one in archives)
    assert any(one.packed and one.rescales for one in archives)
    assert any(engine.decisions.execution.deadlines for engine, _ in states)
    breakers = [one for engine, _ in states for one in engine.decisions.risk.breakers.breakers]
    assert {one.state for one in breakers} == {"closed", "open", "half_open"}
    assert any(one.probe for one in breakers)
    assert any(one.acks for one in breakers)
    assert any(one.waiting for one in breakers)
    assert any(one.unknown for one in breakers)
    assert any(any(venues.dealings.sent) for _, venues in states)
    assert any(venues.dealings.matching.outbox for _, venues in states)
    for at in range(len(whole.rows) + 1):
        again = Cut(Parts(rows, cuts), at, whole.copies[at])
        assert again.rows == whole.rows[at:]
        assert again.copies == whole.copies[at:]
