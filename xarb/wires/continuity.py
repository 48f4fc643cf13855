"""Order books that start from a fetched snapshot and go on with numbered updates: the steps that such exchanges share.

Updates that come before a snapshot are handed back as `unsynced` and buffered. A snapshot that reaches the buffer is handed back, and after
it, again and with verdict `apply`, the buffered updates that are newer: all of it is one message, so that nobody trades on the
older state that the snapshot holds. A break gives a `gap`, and updates are `unsynced` until the next snapshot, which gives a `resync`. A snapshot
behind which the buffer has a break starts no book: what it could tell is older than the break. It is `unsynced` and another one is
wanted. What follows what is each exchange's own `Rule`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

import msgspec

from xarb.wires.events import APPLY, OLD, UNSYNCED, DepthEvent, LinkEvent, WireEvent

BUFFERED: Final = 2048  # updates kept per symbol while waiting for a snapshot: 200 s at 100 ms, several at the raw pace
OLD_IN_A_ROW: Final = 1_000  # no snapshot is so far ahead of its stream; a counter that began again at a lower number is,
OLD_WHEN_STARTED: Final = 50  # and none of these follows an update that was applied: repetitions come in ones


class Update(msgspec.Struct, frozen=True, gc=False):
    """A decoded update with the exchange's ids; `prev` is None where it has none."""

    first: int
    last: int
    prev: int | None
    event: DepthEvent


class Rule(NamedTuple):
    """What follows what: each is given the last id of the book, whether the next update is the first after a snapshot, and the update."""

    is_old: Callable[[int, bool, Update], bool]
    continues: Callable[[int, bool, Update], bool]
    expected: Callable[[int, bool], str]  # for the text of a gap: last id, whether it is the first


def _overlap_is_old(last: int, starting: bool, update: Update) -> bool:  # noqa: FBT001, ARG001  # columns of the rule
    return update.last <= last


def _overlap_continues(last: int, starting: bool, update: Update) -> bool:  # noqa: FBT001, ARG001  # same
    return update.first <= last + 1


def _overlap_expected(last: int, starting: bool) -> str:  # noqa: FBT001, ARG001  # same
    return f"U <= {last + 1}"


OVERLAP_RULE: Final = Rule(_overlap_is_old, _overlap_continues, _overlap_expected)
"""Sizes are absolute, so an update may begin before the book's last id: U <= last + 1 <= u, at the start and later."""


class BookSync:
    """What is known of one symbol's sequence. It keeps no book, only what proves that one can be kept.

    Args:
        venue: venue id.
        symbol: unified symbol.
        rule: the exchange's.
        buffered: updates kept while waiting for a snapshot; the oldest leaves first, its rows are recorded.
    """

    __slots__ = ("_broken", "_buffer", "_last", "_old", "_rule", "_starting", "_symbol", "_venue")

    def __init__(self, venue: str, symbol: str, rule: Rule, *, buffered: int = BUFFERED) -> None:
        self._venue, self._symbol, self._rule = venue, symbol, rule
        self._last: int | None = None  # last update id of the book, None while there is none
        self._starting = False  # the next update is the first after a snapshot
        self._broken = False  # a gap was seen since the last sync
        self._old = 0  # updates in a row that were old
        self._buffer: deque[Update] = deque(maxlen=buffered)

    @property
    def needs_snapshot(self) -> bool:
        """Whether there are updates but no book in sync."""
        return self._last is None and bool(self._buffer)

    def update(self, update: Update) -> list[WireEvent]:
        """The events of an update: it continues the book, is old, breaks it, or waits for a snapshot."""
        last = self._last
        if last is None:
            self._buffer.append(update)
            return [update.event]
        rule, starting = self._rule, self._starting
        if rule.is_old(last, starting, update):
            return self._is_old(update)
        self._old = 0
        if not rule.continues(last, starting, update):
            detail = f"expected {rule.expected(last, starting)}, got {_ids(update)}"
            self._last, self._starting, self._broken = None, False, True
            self._buffer.append(update)
            return [LinkEvent(self._venue, self._symbol, "gap", detail), update.event]
        self._last, self._starting = update.last, False
        return [msgspec.structs.replace(update.event, verdict=APPLY)]

    def _is_old(self, update: Update) -> list[WireEvent]:
        """An old update moves nothing; too many of them are none, or the book would stand still and nobody would know."""
        self._old += 1
        old: WireEvent = msgspec.structs.replace(update.event, verdict=OLD)
        if self._old < (OLD_IN_A_ROW if self._starting else OLD_WHEN_STARTED):
            return [old]
        detail = (
            f"{self._old} updates in a row lie before the book's {self._last}, the last is {_ids(update)}: a counter began again"
        )
        return [old, *self.lose(detail)]

    def lose(self, detail: str) -> list[WireEvent]:
        """The gap of a book that can no longer be vouched for, which waits for a snapshot now; nothing where there is no book."""
        if self._last is None:
            return []
        self._last, self._starting, self._broken = None, False, True
        return [LinkEvent(self._venue, self._symbol, "gap", detail)]

    def snapshot(self, last: int, event: DepthEvent) -> list[WireEvent]:
        """The events of a snapshot with id `last`, and of the buffered updates that it makes usable."""
        if self._last is not None and last < self._last:
            return [msgspec.structs.replace(event, verdict=OLD)]
        newer = [update for update in self._buffer if not self._rule.is_old(last, True, update)]
        if newer and not self._rule.continues(last, True, newer[0]):
            self._broken = True
            detail = f"snapshot {last} is older than the oldest update waiting, {_ids(newer[0])}"
            return [LinkEvent(self._venue, self._symbol, "gap", detail), msgspec.structs.replace(event, verdict=UNSYNCED)]
        was_broken = self._broken
        self._last, self._starting, self._broken, self._old = last, True, False, 0
        self._buffer.clear()
        followed = [one for update in newer for one in self.update(update)]
        gap = next((one for one in followed if isinstance(one, LinkEvent)), None)
        if gap is not None:  # a break inside the buffer, which holds what came behind it again
            return [gap, msgspec.structs.replace(event, verdict=UNSYNCED)]
        events = one_message([event, *followed])
        if was_broken:
            events.insert(0, LinkEvent(self._venue, self._symbol, "resync", f"snapshot {last}"))
        return events


def one_message(events: list[WireEvent]) -> list[WireEvent]:
    """The events of one book, of which those up to the last to be applied become one message; repetitions behind it stand alone."""
    last = max(place for place, event in enumerate(events) if isinstance(event, DepthEvent) and event.verdict == APPLY)
    return [msgspec.structs.replace(event, is_last=False) for event in events[:last]] + events[last:]


def _ids(update: Update) -> str:
    prev = "" if update.prev is None else f" pu {update.prev}"
    return f"U {update.first} u {update.last}{prev}"
