"""A fetched snapshot and the updates that waited for it are one message: the engine never sees the older state in between."""

from __future__ import annotations

import pytest

from tests.engine.resync import Beside
from tests.wires.instruments import listing
from tests.wires.test_fetched_losses import PROTOCOLS, Message


def book(number: int, best_bid: int) -> Message:
    """A whole book of one level a side, a unit apart."""
    return Message(number, number, [[str(best_bid), "5"]], [[str(best_bid + 1), "5"]], is_whole=True)


def moved(number: int, before: int, after: int) -> Message:
    """The best prices move from `before` to `after`."""
    bids = [[str(before), "0"], [str(after), "5"]]
    asks = [[str(before + 1), "0"], [str(after + 1), "5"]]
    return Message(number, number, bids, asks)


@pytest.mark.parametrize("splits", [False, True])
@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_snapshot_older_than_its_buffer_opens_no_edge(name: str, *, splits: bool) -> None:
    """The snapshot stands 10 % above the other venue, the update behind it where that stands: nothing opens, and the book is right."""
    write, session = PROTOCOLS[name].write, PROTOCOLS[name].session()
    beside = Beside(listing(name, "X", px_scale=0, qty_scale=0).instrument, splits=splits)
    for number, before, after in ((11, 120, 115), (12, 115, 110), (13, 110, 100)):
        beside.take(number, session.receive(write(moved(number, before, after))))
    rows = beside.take(20, session.receive(write(book(12, 110)), "X"))
    assert beside.edges == []
    assert [row.values["is_last"] for row in rows if row.kind == "deltas"] == [False] * 5 + [True]
    record = beside.market.record()
    assert (record["bid"], record["bid_qty"], record["ask"], record["ask_qty"]) == (100, 5, 101, 5)
    beside.take(21, session.receive(write(moved(14, 100, 110))))  # an edge that is one
    assert beside.edges != []
