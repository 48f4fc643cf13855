"""Books of files that tell levels one by one: what their rows make of a book, and what a row does that cannot be used. One rule for all formats.

Rows that belong together, as each format says, are a message. One that is a snapshot starts the book, those after it move it. A row of a book that is
rejected may have been any level of it: its message moves nothing (`unsynced`), and the book is given up with a `gap` until a snapshot of which no row is
missing. A row of which not even the message is known counts for the message that it stands in, or for the one that begins behind it.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from xarb.wires.events import APPLY, UNSYNCED, DepthEvent, LinkEvent, RejectEvent, WireEvent
from xarb.wires.intake import sides

if TYPE_CHECKING:
    from xarb.wires.decimals import Listing
    from xarb.wires.session import Session

Item = tuple[int, WireEvent]
LEVELS_LIMIT: Final = 1_000_000  # of one side of one message; the deepest books have some ten thousand
BIDS: Final = "bids"
ASKS: Final = "asks"


class Message:
    """Rows that belong together; `key` is what they share, `is_whole` whether all of them could be used."""

    __slots__ = ("is_snapshot", "is_whole", "key", "levels", "ts_event", "ts_recv", "venue_seq")

    def __init__(self, key: Any, ts_event: int | None, ts_recv: int, *, is_snapshot: bool, is_whole: bool) -> None:
        self.key = key
        self.ts_event = ts_event
        self.ts_recv = ts_recv
        self.is_snapshot = is_snapshot
        self.is_whole = is_whole
        self.venue_seq: int | None = None
        self.levels: dict[str, list[tuple[str, str]]] = {BIDS: [], ASKS: []}


class LevelBook:
    """What is known of one instrument's book: the message at hand, and whether the book is in sync; it keeps no book.

    Args:
        listing: the instrument.
        limit: levels of one side that a message may have.

    Attributes:
        held: the message at hand.
    """

    __slots__ = ("_is_synced", "_is_tainted", "_limit", "_listing", "held")

    def __init__(self, listing: Listing, *, limit: int = LEVELS_LIMIT) -> None:
        self.held: Message | None = None
        self._listing = listing
        self._limit = limit
        self._is_synced = False
        self._is_tainted = False  # a row in front of the next one could not be placed

    def row(self, key: Any, ts_event: int | None, ts_recv: int, *, is_snapshot: bool) -> list[Item]:
        """Place a row in the message with that key; returns the events of another message that ends in front of it."""
        ended = self.ended() if self.held is not None and self.held.key != key else []
        if self.held is None:
            self.held = Message(key, ts_event, ts_recv, is_snapshot=is_snapshot, is_whole=not self._is_tainted)
        self._is_tainted = False
        return ended

    def add(self, side: str, level: tuple[str, str]) -> None:
        """Take the level of the row that was placed, (price, size) as decimal text.

        Raises:
            ValueError: a text is no number, or one that the instrument cannot hold; or the message has too many levels.
        """
        assert self.held is not None, "a row is placed first"
        held = self.held.levels[side]
        if len(held) >= self._limit:
            raise ValueError(f"a message of more than {self._limit} {side}, which no book has")
        self._listing.levels([level])
        held.append(level)

    def lose(self, ts_recv: int, why: str, *, is_placed: bool = False) -> list[Item]:
        """Give the book up for a row that cannot be used, placed in its message or not; returns the gap, where there was a book."""
        if self.held is not None:
            self.held.is_whole = False
        self._is_tainted = self._is_tainted or not is_placed
        was_synced, self._is_synced = self._is_synced, False
        return [(ts_recv, LinkEvent(*self._listing.key, "gap", why))] if was_synced else []

    def rejected(self, ts_recv: int, reject: RejectEvent, *, is_placed: bool = False) -> list[Item]:
        """The reject of a row of the book, and the gap that it makes."""
        return [(ts_recv, reject), *self.lose(ts_recv, f"a row of the book was rejected: {reject.rule}", is_placed=is_placed)]

    def ended(self) -> list[Item]:
        """The event of the message at hand, which ends; nothing where it says nothing."""
        held, self.held = self.held, None
        if held is None:
            return []
        bids, asks = held.levels[BIDS], held.levels[ASKS]
        if held.is_snapshot and held.is_whole:
            self._is_synced = True
        elif not (bids or asks):
            return []
        verdict = APPLY if self._is_synced else UNSYNCED
        numbers = sides(self._listing, bids, asks)
        event = DepthEvent(self._listing, held.ts_event, held.venue_seq, None, None, held.is_snapshot, verdict, *numbers)
        return [(held.ts_recv, event)]


def check_order(bids: list[int], asks: list[int]) -> None:
    """Each side of a whole book stands from its best level.

    Raises:
        ValueError: it does not.
    """
    if any(one <= other for one, other in pairwise(bids)) or any(one >= other for one, other in pairwise(asks)):
        raise ValueError("a side does not stand from the best level to the worst")


def missed(session: Session) -> list[WireEvent]:
    """The gaps of a message that a session never sees, because its line cannot be read or placed: those of a frame that is unreadable.

    Most exchanges number their messages, and tell of it themselves with the next one.
    """
    return [event for event in session.receive(b"") if not isinstance(event, RejectEvent)]
