"""Many streams, one order: merges the rows of several kinds by key, chunk-wise, holding one chunk of each stream.

A stream's rows come in chunks. The merge never looks at single rows: it finds the largest key up to which every stream is known,
and each stream gives up its rows to there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

Position = tuple[int, int]  # key and ordinal: (seq, 0) of an input, (after_seq, n) of an output
END: Final[Position] = (2**63 - 1, 2**31 - 1)


class Chunk(NamedTuple):
    """Rows of one kind in order: their keys, their ordinals (outputs only), and the rows themselves, which `cut` slices."""

    keys: NDArray[np.int64]
    ordinals: NDArray[np.int32] | None
    rows: Any
    cut: Callable[[Any, int, int], Any]

    def position(self, row: int) -> Position:
        """Where a row stands in the order."""
        return int(self.keys[row]), 0 if self.ordinals is None else int(self.ordinals[row])

    def until(self, position: Position) -> int:
        """Number of rows at or before `position`."""
        key, ordinal = position
        if self.ordinals is None:
            return int(np.searchsorted(self.keys, key, "right"))
        start, stop = (int(np.searchsorted(self.keys, key, side)) for side in ("left", "right"))
        return start + int(np.searchsorted(self.ordinals[start:stop], ordinal, "right"))


class Part(NamedTuple):
    """What a stream gives to one step of the merge."""

    kind: str
    keys: NDArray[np.int64]
    ordinals: NDArray[np.int32] | None
    rows: Any


class Stream:
    """The chunks of one kind, decoded when the merge gets there.

    Args:
        kind: its name.
        first: no row comes before this position, so that nothing is opened earlier than needed.
        chunks: what is left to decode. A chunk without rows is allowed; one of `(position, None)` says only how far the stream is.
    """

    def __init__(self, kind: str, first: Position, chunks: Iterator[tuple[Position, Chunk | None]]) -> None:
        self.kind = kind
        self._chunks = chunks
        self._bound: Position | None = first
        self._chunk: Chunk | None = None
        self._at = 0

    @property
    def low(self) -> Position:
        """Nothing is left before this position."""
        if self._chunk is not None:
            return self._chunk.position(self._at)
        return self._bound or END

    @property
    def high(self) -> Position:
        """All rows before it, or at it where it is a row in memory, are known; END when nothing is left to decode."""
        if self._bound is None:
            return END
        if self._chunk is not None:
            return self._chunk.position(-1)
        key, ordinal = self._bound
        return (key, ordinal - 1) if ordinal else (key - 1, END[1])

    def fill(self, low: Position) -> bool:
        """Decode a chunk if the stream has none and might have rows at `low`; whether it did."""
        if self._chunk is not None or self._bound is None or self._bound > low:
            return False
        found = next(self._chunks, None)
        if found is None:
            self._bound = None
            return True
        self._bound, chunk = found
        if chunk is not None and len(chunk.keys):
            self._chunk, self._at = chunk, 0
        return True

    def take(self, position: Position) -> Part | None:
        """The rows at or before `position`, which is not beyond `high`."""
        chunk, start = self._chunk, self._at
        if chunk is None:
            return None
        stop = chunk.until(position)
        if stop <= start:
            return None
        if stop == len(chunk.keys):
            self._chunk = None
        self._at = stop
        ordinals = None if chunk.ordinals is None else chunk.ordinals[start:stop]
        return Part(self.kind, chunk.keys[start:stop], ordinals, chunk.cut(chunk.rows, start, stop))


def merged(streams: Sequence[Stream], rows: int | None = None) -> Iterator[list[Part]]:
    """Steps of the merge: each holds all rows of a range of positions, the ranges follow each other.

    With `rows` a step covers at most that many keys.
    """
    while True:
        low = min((stream.low for stream in streams), default=END)
        while any(stream.fill(low) for stream in streams):
            low = min(stream.low for stream in streams)
        if low == END:
            return
        high = min(stream.high for stream in streams)
        if rows is not None:
            high = min(high, (low[0] + rows - 1, END[1]))
        parts = [part for stream in streams if (part := stream.take(high)) is not None]
        if parts:
            yield parts
