"""Files whose rows run from the newest to the oldest, read in the order of time and in bounded memory."""

from __future__ import annotations

import tempfile
from itertools import chain
from typing import TYPE_CHECKING, BinaryIO, Final

from xarb.errors import ConfigError
from xarb.imports.textfile import CHUNK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Rows = tuple[int, bytes]  # number of the line, the line
LOOKED_AT: Final = 100_000  # rows within which a file shows a second time


class InOrder:
    """Rows in the order of time, whichever way the file has them.

    A file is newest first if the second time in it is before the first one and so is its last one. It is then kept in a temporary file.

    Args:
        rows: the file's rows.
        when: the time of a line, None of one that cannot be read.

    Attributes:
        is_newest_first: known with the first row.
    """

    def __init__(self, rows: Iterator[Rows], when: Callable[[bytes], int | None]) -> None:
        self._rows = rows
        self._when = when
        self.is_newest_first = False

    def rows(self) -> Iterator[Rows]:
        """Every row with the number of its line, oldest first.

        Raises:
            ConfigError: the temporary file cannot be written.
        """
        head: list[Rows] = []
        times: list[int] = []
        for row in self._rows:
            head.append(row)
            at = self._when(row[1])
            if at is not None and at not in times:
                times.append(at)
            if len(times) > 1 or len(head) >= LOOKED_AT:
                break
        rows = chain(head, self._rows)
        if len(times) < 2 or times[1] > times[0]:
            yield from rows
            return
        try:
            yield from self._kept(rows, head[0][0], times[0])
        except OSError as error:
            where = tempfile.gettempdir()
            raise ConfigError(f"{where}: a file that begins with its newest row cannot be kept here: {error.strerror}") from None

    def _kept(self, rows: Iterator[Rows], first: int, newest: int) -> Iterator[Rows]:
        """The rows by way of a temporary file; `first` is the number of their first line, `newest` its time."""
        with tempfile.TemporaryFile() as kept:
            count, last = 0, newest
            for _, line in rows:
                kept.write(line + b"\n")
                at, count = self._when(line), count + 1
                last = last if at is None else at
            self.is_newest_first = last < newest
            if self.is_newest_first:
                yield from zip(range(first + count - 1, first - 1, -1), _backwards(kept), strict=True)
            else:
                kept.seek(0)
                yield from ((number, line.removesuffix(b"\n")) for number, line in enumerate(kept, first))


def _backwards(file: BinaryIO) -> Iterator[bytes]:
    """The lines of a file from its last one to its first one; each of them ends with a line end."""
    at, rest = file.seek(0, 2) - 1, b""
    while at > 0:
        length = min(CHUNK, at)
        at -= length
        file.seek(at)
        first, *others = (file.read(length) + rest).split(b"\n")
        yield from reversed(others)
        rest = first
    if at >= 0:
        yield rest
