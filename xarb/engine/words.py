"""The kernel's records as Python reads them: 64-bit words of one memory, by number.

A field of a numpy record as an int takes 13 times as long as a word of a memoryview, which is one already (measured); a decision reads
some hundred of them. Several fields of one record are read at once (`fields`), for about half of what their words cost one by one. A
float field's word is its bits: nobody reads it here.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Words = memoryview  # of int64: words[i] is an int and may be set


def words(array: NDArray[Any]) -> Words:
    """The memory of a contiguous array of records or int64 as words, shared with it."""
    return memoryview(array.view(np.int64))  # type: ignore[arg-type]  # numpy arrays have the buffer protocol


def place(record: np.dtype[np.void], field: str) -> int:
    """Number of the word of a record at which a field starts."""
    fields = record.fields
    assert fields is not None
    return int(fields[field][1]) // 8


def fields(record: np.dtype[np.void], *names: str) -> Struct:
    """What unpacks these fields, which must be named in their order in the record, from where the record starts in bytes."""
    layout, at = "=", 0
    for name in names:
        gap = place(record, name) - at
        assert gap >= 0, f"{name} lies before the field named before it"
        layout += f"{gap * 8}xq"
        at += gap + 1
    return Struct(layout)


def width(record: np.dtype[np.void]) -> int:
    """Words in a record."""
    return record.itemsize // 8
