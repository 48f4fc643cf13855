"""How the journal's bytes reach the disk: the two calls whose failure or loss everything else must survive."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final, NamedTuple

Bytes = bytes | memoryview


class Disk(NamedTuple):
    """The disk as a live log uses it for its journal.

    Attributes:
        write: hands bytes of an open file to the operating system; how many it took.
        flush: returns when what was written to an open file is on the disk.
    """

    write: Callable[[int, Bytes], int]
    flush: Callable[[int], None]


def _write(handle: int, data: Bytes) -> int:
    return os.write(handle, data)


def _flush(handle: int) -> None:
    os.fdatasync(handle)


DISK: Final = Disk(_write, _flush)
