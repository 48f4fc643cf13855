"""Numbers that no scale can hold, in a book that is in sync: the book is given up at once and asked for ever more slowly, all is kept."""

from __future__ import annotations

from typing import Any

import pytest

from tests.wires import test_fetched_losses as fetched
from tests.wires import test_losses as streamed
from tests.wires.instruments import listing, told
from xarb.model.units import NANOS_PER_S
from xarb.wires.events import LinkEvent, RejectEvent
from xarb.wires.session import Fetch, Send, Session

START_S = 1_000_000
UNHELD = [["99999999999999999999", "1"], ["1", "99999999999999999999"], ["1e-30", "1"], ["1", "1e-30"]]
SAYS = "; the book waits for a snapshot, which is asked for ever later"
TWICE_AS_LONG = [5, 15, 35, 75, 155, 315, 635, 955, 1275, 1595, 1915]  # s after the first request: 5, 10, 20, ..., 320


def whole(number: int, levels: list[list[str]]) -> fetched.Message:
    """A whole book with these bids."""
    return fetched.Message(number, number, [["10", "1"], *levels], [["11", "1"]], is_whole=True)


def change(number: int, levels: list[list[str]]) -> fetched.Message:
    """An update with these bids."""
    return fetched.Message(number, number, levels, [])


def fetches(session: Session, second: int) -> int:
    """Snapshots that are asked for at a second."""
    asks = [*session.asks(), *session.tick((START_S + second) * NANOS_PER_S)]
    return sum(isinstance(ask, Fetch) for ask in asks)


def in_sync(name: str) -> Session:
    """A session whose book began long before second 0."""
    write, session = fetched.PROTOCOLS[name].write, fetched.PROTOCOLS[name].session()
    assert fetches(session, -1000) == 0
    assert told(session.receive(write(change(11, [["10", "1"]])))).endswith(" unsynced")
    assert fetches(session, -1000) == 1
    assert "apply" in told(session.receive(write(whole(11, [])), "X"))
    assert "apply" in told(session.receive(write(change(12, [["10", "2"]]))))
    assert fetches(session, 0) == 0
    return session


def details(events: list[Any]) -> list[str | None]:
    """What the gaps among the events say."""
    return [event.detail for event in events if isinstance(event, LinkEvent) and event.event == "gap"]


@pytest.mark.parametrize("levels", UNHELD)
@pytest.mark.parametrize("name", fetched.PROTOCOLS)
def test_a_fetched_book_that_misses_a_level_is_a_gap_at_once(name: str, levels: list[str]) -> None:
    """Not with the next update, which may be long in coming: with the very one that could not be kept; the next snapshot mends it."""
    write, session = fetched.PROTOCOLS[name].write, in_sync(name)
    found = session.receive(write(change(13, [levels])))
    assert told(found) == "RejectEvent, gap"
    assert details(found) == ["an update was rejected: bad_number"]
    assert isinstance(found[0], RejectEvent)
    assert levels[0] in (found[0].payload or "")
    assert told(session.receive(write(change(14, [["10", "3"]])))).endswith(" unsynced")
    assert fetches(session, 1) == 1
    assert told(session.receive(write(whole(14, [])), "X")).startswith("resync, snapshot ")
    assert told(session.receive(write(change(15, [["10", "4"]])))).endswith(" apply")


@pytest.mark.parametrize("name", fetched.PROTOCOLS)
def test_a_snapshot_that_holds_the_same_number_is_fetched_ever_more_slowly(name: str) -> None:
    """Each is a reject that says so; one that can be kept starts the book."""
    write, session = fetched.PROTOCOLS[name].write, in_sync(name)
    session.receive(write(change(13, [UNHELD[0]])))
    session.receive(write(change(14, [["10", "3"]])))
    assert fetches(session, 0) == 1
    asked = []
    for second in range(2000):
        if fetches(session, second):
            asked.append(second)
            (reject,) = session.receive(write(whole(14, [UNHELD[0]])), "X")
            assert isinstance(reject, RejectEvent)
            assert reject.detail.endswith(SAYS)
    assert asked == TWICE_AS_LONG
    assert told(session.receive(write(whole(14, [])), "X")).startswith("resync, snapshot ")


@pytest.mark.parametrize("name", fetched.PROTOCOLS)
def test_updates_that_spoil_each_new_book_are_no_storm_of_snapshots(name: str) -> None:
    """The snapshot is good and the next update is not, every second: each gap is on record, and requests become rare."""
    write, session = fetched.PROTOCOLS[name].write, in_sync(name)
    asked, gaps = [], 0
    for second in range(2000):
        number = 13 + 2 * second
        gaps += len(details(session.receive(write(change(number, [UNHELD[1]])))))
        session.receive(write(change(number + 1, [["10", "3"]])))
        if fetches(session, second):
            asked.append(second)
            assert told(session.receive(write(whole(number + 1, [])), "X")).startswith("resync, snapshot ")
    assert asked == [0, *TWICE_AS_LONG]
    assert gaps == len(asked) + 1  # the last one waits


def test_a_break_that_is_none_of_ours_is_answered_at_once() -> None:
    """A hole in the stream says nothing of the next snapshot: no wait, however often, also after a number that could not be kept."""
    write, session = fetched.PROTOCOLS["binance"].write, in_sync("binance")
    session.receive(write(change(13, [UNHELD[0]])))
    for second in range(1, 100):
        number = 20 * second
        assert "gap" in told(session.receive(write(change(number, [["10", "3"]])))) or second == 1
        assert fetches(session, second) == 1
        assert told(session.receive(write(whole(number, [])), "X")).startswith("resync, snapshot ")


def test_a_frame_that_was_garbled_on_its_way_is_answered_at_once() -> None:
    """It says nothing of the next one either: Bitstamp's book, which has no counter, is given up and fetched again without a wait."""
    write, session = fetched.PROTOCOLS["bitstamp"].write, in_sync("bitstamp")
    for second in range(1, 50):
        assert told(session.receive(write(change(20 * second, [["10", "3"]]))[:-9])) == "RejectEvent, gap"
        session.receive(write(change(20 * second + 1, [["10", "3"]])))
        assert fetches(session, second) == 1
        assert told(session.receive(write(whole(20 * second + 1, [])), "X")).startswith("resync, snapshot ")


def message(kind: str, number: int, bids: list[tuple[str, str]]) -> streamed.Message:
    """A message of a book that starts in the stream; its checksum holds for a book of one bid and nothing else."""
    return streamed.Message(kind, number, number - 1, bids, [], streamed._checksum(dict(bids), {}))


@pytest.mark.parametrize("level", UNHELD)
@pytest.mark.parametrize("name", streamed.PROTOCOLS)
def test_a_streamed_book_that_misses_a_level_is_a_gap_and_asked_for_ever_more_slowly(name: str, level: list[str]) -> None:
    """The same where snapshots come in the stream: each one that cannot be kept is a reject which says so."""
    protocol = streamed.PROTOCOLS[name]
    session = protocol.session([listing(protocol.venue, "BTC-USD")])

    def asks(second: int) -> bool:
        found = [*session.asks(), *session.tick((START_S + second) * NANOS_PER_S)]
        return any(isinstance(ask, Send) and '"subscribe"' in ask.text for ask in found)

    bid, bad = ("100.0", "0.50000000"), (level[0], level[1])
    assert not asks(-1000)
    assert told(session.receive(protocol.write(message("snapshot", 1, [bid])))).endswith("apply")
    assert not asks(1)
    found = session.receive(protocol.write(message("update", 2, [bad])))
    assert told(found) == "RejectEvent, gap"
    assert details(found) == ["a message was rejected: bad_number"]
    asked, number = [], 2
    for second in range(1, 2000):
        if asks(second):
            asked.append(second)
            number += 1
            (reject,) = session.receive(protocol.write(message("snapshot", number, [bad])))
            assert isinstance(reject, RejectEvent)
            assert reject.detail.endswith(SAYS)
    assert asked == [1, 21, 61, 141, 301, 621, 941, 1261, 1581, 1901]
    assert told(session.receive(protocol.write(message("snapshot", number + 1, [bid])))).startswith("resync, snapshot ")
