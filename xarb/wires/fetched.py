"""Connections whose book snapshots are fetched over REST: what the sessions of such exchanges share around `wires/continuity.py`.

An update that is rejected, because int64 cannot hold a number of it for instance, leaves a hole: its book is given up at once with a `gap`. The
snapshot that would mend it may hold the same number, or the next update may, so such a book is asked for ever more slowly, and the
reject of a snapshot says so. Whatever arrives meanwhile is kept, as `unsynced` rows and as rejects.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Final

from xarb.model.units import NANOS_PER_S
from xarb.wires.asking import Asking
from xarb.wires.continuity import BookSync, Rule, Update
from xarb.wires.decimals import Listing
from xarb.wires.events import DepthEvent, RejectEvent, WireEvent
from xarb.wires.intake import Intake
from xarb.wires.pings import Pings
from xarb.wires.refusal import of_waiting
from xarb.wires.session import Ask, Fetch, Reopen

AGAIN_NS: Final = 5 * NANOS_PER_S  # a snapshot that did not come, or came too old, is asked for again after this long


class Snapshots:
    """Which books wait for a snapshot, and what is fetched for them.

    Args:
        path_of: the REST path of a native name's snapshot.
        syncs: by native name.
    """

    def __init__(self, path_of: Callable[[str], str], syncs: dict[str, BookSync]) -> None:
        self._path_of, self._syncs = path_of, syncs
        self._asking = Asking(syncs, AGAIN_NS)
        self._spoilt: set[str] = set()  # books lost by a message that was rejected, until they are started

    def check(self, native: str) -> None:
        """Look at a symbol after events that may have left it without a book, or given it one."""
        if self._syncs[native].needs_snapshot:
            self._asking.want(native, is_sound=native not in self._spoilt)
        elif self._asking.is_wanted(native):
            self._asking.came(native)
            self._spoilt.discard(native)

    def spoil(self, native: str) -> None:
        """A message of a book was rejected for what it holds."""
        self._spoilt.add(native)

    def asks(self) -> list[Fetch]:
        """The snapshots to fetch now; a call takes them."""
        return [Fetch(self._path_of(native), native) for native in self._asking.due()]

    def tick(self, ts: int) -> list[Fetch]:
        """The same, with the time in ns: those among them that were asked for long ago in vain."""
        self._asking.at(ts)
        return self.asks()


class FetchedSession(ABC):
    """A session with books that start from a fetched snapshot; an exchange's session says what its frames look like.

    Args:
        venue: venue id.
        listings: listing of each native name; names outside it give rejects.
        rule: what follows what.
        path_of: the REST path of a native name's snapshot.
        buffered: updates kept per symbol while waiting for a snapshot; the oldest leaves the buffer first, its rows are recorded.
        pings: the exchange's, None where it wants none of the protocol's.
    """

    def __init__(
        self,
        venue: str,
        listings: Iterable[Listing],
        rule: Rule,
        path_of: Callable[[str], str],
        *,
        buffered: int,
        pings: Pings | None = None,
    ) -> None:
        self.venue = venue
        self._intake = Intake(venue, listings)
        self._syncs = {
            native: BookSync(venue, listing.instrument.symbol, rule, buffered=buffered)
            for native, listing in self._intake.listings.items()
        }
        self._snapshots = Snapshots(path_of, self._syncs)
        self._pings = pings
        self._reopen: str | None = None
        self._unread: tuple[str, ...] = ()  # books of which a frame is an update that cannot be read at all
        self._doubted: tuple[str, ...] = ()  # books that miss an update if the frame at hand is rejected

    def asks(self) -> list[Ask]:
        """Snapshots that are missing, and the reconnect that the exchange announced."""
        asks: list[Ask] = list(self._snapshots.asks())
        if self._reopen is not None:
            asks.append(Reopen(self._reopen))
            self._reopen = None
        return asks

    def tick(self, ts: int) -> list[Ask]:
        """The ping where one is due, and snapshots asked for in vain."""
        return [*(self._pings.tick(ts) if self._pings else ()), *self._snapshots.tick(ts)]

    def receive(self, payload: bytes, native: str | None = None) -> list[WireEvent]:
        """Decode one frame as it arrived, or the answer to a snapshot request for `native`."""
        self._doubted = self._unread
        events = self._intake.guarded(self._read, payload, native)
        if len(events) == 1 and isinstance(reject := events[0], RejectEvent):
            if native is not None:
                return [of_waiting(reject)]
            for one in self._doubted:
                events += self._misses(one, reject.rule)
        return events

    @abstractmethod
    def _read(self, payload: bytes, native: str | None) -> list[WireEvent]:
        """The events of a frame, or of an answer; a reader of a book's update says `_concerns` as soon as it knows.

        Raises:
            Refused: the frame breaks a rule.
            DecodeError: it is not JSON, or not the shape of any known message.
            ValueError: a number is none, or does not fit.
        """

    def _concerns(self, native: str) -> None:
        """The frame at hand is an update of this book: without it, the book has a hole."""
        self._doubted = (native,) if native in self._syncs else ()

    def _misses(self, native: str, rule: str) -> list[WireEvent]:
        """The gap of a book whose update was rejected by `rule`, none where there is no book."""
        if rule != "bad_json":  # it was garbled on its way, which says nothing of the next one
            self._snapshots.spoil(native)
        return self._syncs[native].lose(f"an update was rejected: {rule}")

    def _updated(self, native: str, update: Update) -> list[WireEvent]:
        """The events of an update."""
        events = self._syncs[native].update(update)
        if len(events) > 1 or events[0] is update.event:  # a break, or no book yet
            self._snapshots.check(native)
        return events

    def _started(self, native: str, last: int, event: DepthEvent) -> list[WireEvent]:
        """The events of a snapshot with id `last`."""
        events = self._syncs[native].snapshot(last, event)
        self._snapshots.check(native)
        return events
