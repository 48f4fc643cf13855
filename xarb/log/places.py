"""The places of raw frames that were pruned: seq has no gaps, so that what no other kind owns was theirs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from xarb.model.batch import NO_BOOKS, NO_DELTAS, NO_QUOTES, NO_TRADES, Batch
from xarb.model.event import SlowRow

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from xarb.log.manifest import FileEntry


def filled(batches: Iterator[Batch], gone: Sequence[FileEntry], seqs: tuple[int, int]) -> Iterator[Batch]:
    """The batches of all kinds with a row of kind `frames`, without time and values, in the place of each that is gone.

    Args:
        batches: in seq order.
        gone: the files of frames that are gone.
        seqs: the first and the last that are asked for.
    """
    expected, last = seqs
    for batch in batches:
        there = np.arange(expected, batch.last_seq + 1)
        places = _places(np.setdiff1d(there, _seqs(batch), assume_unique=True), gone)
        expected = batch.last_seq + 1
        slow = sorted([*batch.slow, *places], key=_seq_of) if places else batch.slow
        yield batch._replace(first_seq=min([batch.first_seq, *(row.seq for row in places[:1])]), slow=slow)
    rest = _places(np.arange(expected, last + 1), gone)
    if rest:
        yield Batch(rest[0].seq, rest[-1].seq, NO_QUOTES, NO_DELTAS, NO_TRADES, NO_BOOKS, rest)


def _places(seqs: NDArray[np.int64], gone: Sequence[FileEntry]) -> list[SlowRow]:
    """A row for each seq that lies within a file that is gone."""
    inside = np.zeros(len(seqs), np.bool_)
    for entry in gone:
        inside |= (seqs >= entry.first) & (seqs <= entry.last)
    return [SlowRow(seq, 0, "frames", {}) for seq in seqs[inside].tolist()]


def _seqs(batch: Batch) -> NDArray[np.int64]:
    blocks = (batch.quotes, batch.deltas, batch.trades, batch.books)
    slow = np.array([row.seq for row in batch.slow], np.int64)
    return np.concatenate([slow, *(block.seq for block in blocks)])


def _seq_of(row: SlowRow) -> int:
    return row.seq
