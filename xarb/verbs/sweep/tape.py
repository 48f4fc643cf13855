"""A log's inputs decoded once: the columns lie in a file that every process maps, so that all trials read the same memory."""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from xarb.model.batch import NO_BOOKS, NO_DELTAS, NO_QUOTES, NO_TRADES, Batch, Books, Deltas, Quotes, Trades
from xarb.model.instrument import Instrument

_ALIGNED: Final = 64  # bytes
_NONE: Final = (NO_QUOTES, NO_DELTAS, NO_TRADES, NO_BOOKS)
_BLOCKS: Final = dict(zip(("quotes", "deltas", "trades", "books"), _NONE, strict=True))


class Part(NamedTuple):
    """The inputs of one span of time.

    Attributes:
        batches: in order.
        first_ts, last_ts: `ts_recv` of the first and the last input, ns.
        instruments: as they are known before the first of them, by number.
        inputs: how many there are.
    """

    batches: Sequence[Batch]
    first_ts: int
    last_ts: int
    instruments: Sequence[Instrument]
    inputs: int


class _Place(NamedTuple):
    """Where a column lies: its offset in bytes, length in values, and type."""

    offset: int
    length: int
    dtype: np.dtype[Any]


class _Kept(NamedTuple):
    """A batch without its columns, and where those lie, by block; None for a block without rows."""

    bare: Batch
    places: Sequence[Sequence[_Place] | None]


class Tape:
    """Columns on their way into the shared file.

    The file has no name: whatever ends the process, it is gone with the last one that maps it. It lies on the disk of `folder`, so that the
    system may drop its pages when memory is short.

    Attributes:
        bytes: what was decoded.
    """

    def __init__(self, folder: Path) -> None:
        self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115  # `close` does it
        self._parts: list[list[_Kept]] = []
        self.bytes = 0

    def add(self, batches: Iterable[Batch]) -> None:
        """Decode one part, batch by batch: no more than one is in memory."""
        kept = []
        for batch in batches:
            places = [[self._put(column) for column in block] if len(block.seq) else None for block in _blocks(batch)]
            kept.append(_Kept(Batch(batch.first_seq, batch.last_seq, *_NONE, batch.slow), places))
        self._parts.append(kept)

    def _put(self, column: np.ndarray[Any, Any]) -> _Place:
        self._write(bytes(-self.bytes % _ALIGNED))
        offset = self.bytes
        self._write(column.tobytes())
        return _Place(offset, len(column), column.dtype)

    def _write(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            count = self._file.write(left) or 0
            self.bytes += count
            left = left[count:]

    def close(self) -> None:
        """Let go of the file; what is mapped stays."""
        self._file.close()

    def mapped(self) -> list[list[Batch]]:
        """The batches of each part, their columns read-only views of the file."""
        whole = mmap.mmap(self._file.fileno(), self.bytes, access=mmap.ACCESS_READ) if self.bytes else b""
        return [[_placed(one, whole) for one in part] for part in self._parts]


def _placed(kept: _Kept, whole: mmap.mmap | bytes) -> Batch:
    blocks: dict[str, Any] = {}
    for (name, none), columns in zip(_BLOCKS.items(), kept.places, strict=True):
        if columns is not None:
            blocks[name] = type(none)(*(np.frombuffer(whole, one.dtype, one.length, one.offset) for one in columns))
    return kept.bare._replace(**blocks)


def part_of(batches: Sequence[Batch], instruments: Sequence[Instrument]) -> Part:
    """A part with its first and last times and the count of its inputs; it has at least one."""
    inputs = sum(len(block.seq) for one in batches for block in _blocks(one)) + sum(len(one.slow) for one in batches)
    return Part(batches, min(_times(batches[0], 0)), max(_times(batches[-1], -1)), instruments, inputs)


def _blocks(batch: Batch) -> Sequence[Quotes | Deltas | Trades | Books]:
    return batch.quotes, batch.deltas, batch.trades, batch.books


def _times(batch: Batch, at: int) -> list[int]:
    """`ts_recv` of the first (0) or last (-1) row of every kind that a batch has."""
    found = [int(block.ts_recv[at]) for block in _blocks(batch) if len(block.seq)]
    return [*found, *([batch.slow[at].ts_recv] if batch.slow else [])]
