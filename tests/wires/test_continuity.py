"""What the books share that start from a fetched snapshot, beside what the tests of their sessions show."""

from __future__ import annotations

from tests.wires.instruments import listing, told
from xarb.wires.continuity import OLD_IN_A_ROW, OLD_WHEN_STARTED, OVERLAP_RULE, BookSync, Update
from xarb.wires.events import APPLY, UNSYNCED, DepthEvent, LinkEvent, WireEvent
from xarb.wires.fetched import Snapshots
from xarb.wires.session import Fetch

LISTING = listing("kucoin", "BTC-USDT")


def book() -> BookSync:
    """A book without a snapshot."""
    return BookSync("kucoin", "BTC-USDT", OVERLAP_RULE)


def update(number: int) -> Update:
    """An empty update of one id."""
    return Update(number, number, None, DepthEvent(LISTING, None, number, number, None, False, UNSYNCED, [], [], [], [], 1, 8))


def snapshot(number: int) -> DepthEvent:
    """An empty snapshot."""
    return DepthEvent(LISTING, None, number, None, None, True, APPLY, [], [], [], [], 1, 8)


def test_a_counter_that_begins_again_does_not_freeze_the_book() -> None:
    """Fifty old updates in a row behind one that was applied are a gap; the next snapshot starts a book at the low numbers."""
    sync = book()
    sync.snapshot(1000, snapshot(1000))
    assert told(sync.update(update(1001))) == "1001 apply"
    for number in range(1, OLD_WHEN_STARTED):
        assert told(sync.update(update(number))) == f"{number} old"
    found = sync.update(update(OLD_WHEN_STARTED))
    assert told(found) == "50 old, gap"
    assert isinstance(found[1], LinkEvent)
    assert found[1].detail == "50 updates in a row lie before the book's 1001, the last is U 50 u 50: a counter began again"
    assert told(sync.update(update(51))) == "51 unsynced"
    assert told(sync.snapshot(51, snapshot(51))) == "resync, snapshot 51 apply"
    assert told(sync.update(update(52))) == "52 apply"


def test_repetitions_between_updates_are_no_gap() -> None:
    """Old updates count in a row only."""
    sync = book()
    sync.snapshot(1000, snapshot(1000))
    for number in range(1001, 1001 + 3 * OLD_WHEN_STARTED):
        assert told(sync.update(update(number))) == f"{number} apply"
        assert told(sync.update(update(number))) == f"{number} old"


def test_a_stream_may_lie_far_behind_its_snapshot() -> None:
    """Up to a thousand updates that the snapshot holds already are no gap; that many are, and the count begins anew with a snapshot."""
    sync = book()
    for last in (5_000, 6_000):
        sync.snapshot(last, snapshot(last))
        for number in range(last - OLD_IN_A_ROW + 1, last):
            assert told(sync.update(update(number))) == f"{number} old"
    assert told(sync.update(update(6_000))) == "6000 old, gap"


def test_a_book_is_lost_once() -> None:
    """A book that waits for a snapshot cannot be lost again; its updates stay in the buffer."""
    sync = book()
    assert sync.lose("x") == []
    sync.update(update(5))
    assert sync.lose("x") == []
    assert told(sync.snapshot(4, snapshot(4))) == "snapshot 4 apply, 5 apply"
    assert told(sync.lose("x")) == "gap"
    assert sync.lose("y") == []
    assert told(sync.snapshot(6, snapshot(6))) == "resync, snapshot 6 apply"
    assert told(sync.update(update(8))) == "gap, 8 unsynced"


def ends(events: list[WireEvent]) -> list[bool]:
    """Which of the depth events end a message."""
    return [event.is_last for event in events if isinstance(event, DepthEvent)]


def test_a_snapshot_and_what_waited_for_it_are_one_message() -> None:
    """Its last part ends it; a repetition inside is a part of it, one behind it is not; a snapshot that nothing follows is whole."""
    sync = book()
    for number in (5, 6, 6, 7, 7):
        sync.update(update(number))
    found = sync.snapshot(4, snapshot(4))
    assert told(found) == "snapshot 4 apply, 5 apply, 6 apply, 6 old, 7 apply, 7 old"
    assert ends(found) == [False, False, False, False, True, True]
    assert ends(sync.update(update(8))) == [True]
    assert ends(sync.snapshot(9, snapshot(9))) == [True]
    assert ends(sync.snapshot(3, snapshot(3))) == [True]


def test_a_snapshot_with_a_break_behind_it_starts_no_book() -> None:
    """Whatever it and the updates up to the break could tell is older than the break; the next snapshot behind the break does."""
    sync = book()
    for number in (5, 6, 9, 10):
        sync.update(update(number))
    found = sync.snapshot(4, snapshot(4))
    assert told(found) == "gap, snapshot 4 unsynced"
    assert isinstance(found[0], LinkEvent)
    assert found[0].detail == "expected U <= 7, got U 9 u 9"
    assert ends(found) == [True]
    assert sync.needs_snapshot
    found = sync.snapshot(8, snapshot(8))
    assert told(found) == "resync, snapshot 8 apply, 9 apply, 10 apply"
    assert ends(found) == [False, False, True]


def test_a_snapshot_that_came_unasked_is_not_asked_for() -> None:
    """A book that got its snapshot before it was asked for needs none, and one that waits anew is asked for once."""
    sync = book()
    snapshots = Snapshots("/{}".format, {"BTC-USDT": sync})

    def step(events: list[WireEvent]) -> None:
        assert events
        snapshots.check("BTC-USDT")

    step(sync.update(update(5)))
    step(sync.snapshot(5, snapshot(5)))
    assert snapshots.asks() == []
    step(sync.update(update(9)))
    step(sync.snapshot(9, snapshot(9)))
    step(sync.update(update(20)))
    assert snapshots.asks() == [Fetch("/BTC-USDT", "BTC-USDT")]
