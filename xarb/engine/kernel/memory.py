"""A copy of compiled memory, to be laid back later: the plain words of the globals and the bytes of the tables.

Of a book's 5,000 places a side only the levels in use are copied. A copy fits the same layout on a little-endian machine only.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from xarb.errors import LogError

if TYPE_CHECKING:
    from numpy.typing import NDArray

Part = tuple[int, int]  # the levels in use of one side of a book: from, to
_LEVEL_BYTES: Final = 8


class Memory(msgspec.Struct, frozen=True):
    """The copy: `words` of the globals, `tables` in the owner's order, then prices and sizes of the levels in use."""

    words: tuple[int, ...]
    tables: tuple[bytes, ...]
    prices: bytes
    sizes: bytes


def used(array: NDArray[Any], parts: Iterable[Part]) -> bytes:
    """The levels in use, one part after the other."""
    return b"".join([array[start:end].tobytes() for start, end in parts])


def lay_used(array: NDArray[Any], parts: Iterable[Part], data: bytes) -> None:
    """Lay levels back; what is not in use is zero.

    Raises:
        LogError: there are more or fewer of them.
    """
    parts = list(parts)
    if sum(end - start for start, end in parts) * _LEVEL_BYTES != len(data):
        raise LogError("the levels of the checkpoint are not those that its books count")
    array[:] = 0
    at = 0
    for start, end in parts:
        array[start:end] = np.frombuffer(data, np.int64, end - start, at)
        at += (end - start) * _LEVEL_BYTES


def lay(arrays: Sequence[NDArray[Any]], tables: Sequence[bytes]) -> None:
    """Lay tables back in place; one that was copied without its empty end gets that again.

    Raises:
        LogError: they are not as many, or one is longer than its place.
    """
    if len(arrays) != len(tables) or any(len(data) > array.nbytes for array, data in zip(arrays, tables, strict=True)):
        raise LogError("the tables of the checkpoint are not those of this engine: other instruments or another config")
    for array, data in zip(arrays, tables, strict=True):
        raw = array.view(np.uint8)
        raw[: len(data)] = np.frombuffer(data, np.uint8)
        raw[len(data) :] = 0


def trimmed(array: NDArray[Any]) -> bytes:
    """The records of a table up to the last that holds anything: how many empty ones follow is not known before a log's end."""
    data = array.tobytes()
    filled = len(data.rstrip(b"\0"))
    return data[: -(-filled // array.itemsize) * array.itemsize]
