"""When a book that has no snapshot is asked for one: at once, then ever more slowly while that does not help."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from xarb.model.units import NANOS_PER_S

LONGEST_NS: Final = 320 * NANOS_PER_S
CALM_NS: Final = 60 * NANOS_PER_S  # a book that lived this long was sound: its next loss is answered at once


class _Book:
    """What became of the requests for one book; times are ns."""

    __slots__ = ("asked", "since", "tries")

    def __init__(self) -> None:
        self.asked = 0  # when the last request was made
        self.since = 0  # when the last snapshot came that started the book
        self.tries = 0  # requests since the book was last sound


class Asking:
    """Which books of a connection wait for a snapshot, and when each is asked for.

    Args:
        natives: the books, by native name.
        first_ns: wait between the first request and the second one; doubled for each further one, up to `LONGEST_NS`.
    """

    def __init__(self, natives: Iterable[str], first_ns: int) -> None:
        self._books = {native: _Book() for native in natives}
        self._first_ns = first_ns
        self._due: dict[str, int] = {}  # when each is asked for (again)
        self._now, self._is_timed = 0, False  # 0 until somebody says what time it is

    def expect(self, ts: int, until: int) -> None:
        """Snapshots of all books come by themselves; those that did not by `until` ns are asked for. It is `ts` ns."""
        self._now, self._is_timed = ts, True
        self._due = dict.fromkeys(self._books, until)

    def want(self, native: str, *, is_sound: bool = False) -> None:
        """A book waits for a snapshot. `is_sound`: nothing says that the next snapshot would not hold, so it is asked for at once."""
        if native in self._due:
            return
        book = self._books[native]
        if is_sound or self._now - book.since >= CALM_NS:
            book.tries = 0
        self._due[native] = book.asked + self._wait_ns(book) if book.tries else self._now

    def is_wanted(self, native: str) -> bool:
        """Whether a book waits."""
        return native in self._due

    def came(self, native: str) -> None:
        """A snapshot came and started the book."""
        self._due.pop(native, None)
        self._books[native].since = self._now

    def at(self, ts: int) -> None:
        """It is `ts` ns; what was asked before anybody knew the time was asked just now."""
        if not self._is_timed:
            self._is_timed = True
            for book in self._books.values():
                book.asked = ts
            self._due = {native: due + ts for native, due in self._due.items()}
        self._now = ts

    def due(self) -> list[str]:
        """The books to ask for now; a call takes them."""
        if not self._due:
            return []
        ready = [native for native, due in self._due.items() if due <= self._now]
        for native in ready:
            book = self._books[native]
            book.asked = self._now
            book.tries += 1
            self._due[native] = self._now + self._wait_ns(book)
        return ready

    def _wait_ns(self, book: _Book) -> int:
        return min(self._first_ns << min(max(book.tries - 1, 0), 16), LONGEST_NS)
