"""Batches: the column blocks of one seq range, as the reader hands them to the engine and to the simulated venue.

Arrays are C-contiguous, read-only and of one length per block; rows are in seq order; int64 nulls are INT64_MIN. `inst` is the
number of the instrument in the log: the n-th distinct (venue, symbol) of its `instruments` rows, from 0. A batch may be split
anywhere: no output depends on where.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from xarb.model.columns import LEVELS
from xarb.model.event import SlowRow

I64 = NDArray[np.int64]
I32 = NDArray[np.int32]
I8 = NDArray[np.int8]
Bools = NDArray[np.bool_]


class Quotes(NamedTuple):
    """Columns of `quotes`."""

    seq: I64
    ts_recv: I64
    ts_event: I64
    conn: I32
    inst: I32
    venue_seq: I64
    bid: I64
    bid_qty: I64
    ask: I64
    ask_qty: I64


class Deltas(NamedTuple):
    """Columns of `book_deltas`; side, price and qty are null (INT64_MIN, side -1) in an empty message."""

    seq: I64
    ts_recv: I64
    ts_event: I64
    conn: I32
    inst: I32
    venue_seq: I64
    side: I8
    price: I64
    qty: I64
    is_snapshot: Bools
    is_last: Bools
    verdict: I8


class Trades(NamedTuple):
    """Columns of `trades`; `trade_id` is the id as int64 where it is a decimal integer, else null."""

    seq: I64
    ts_recv: I64
    ts_event: I64
    conn: I32
    inst: I32
    trade_id: I64
    price: I64
    qty: I64
    aggressor: I8


class Books(NamedTuple):
    """Columns of `books`. Levels of row r are `px[offset[r]:offset[r + 1]]`: bids from the best, then asks from the best.

    `bids[r]` is the number of bid levels of row r; the other levels of the row are asks.
    """

    seq: I64
    ts_recv: I64
    ts_event: I64
    conn: I32
    inst: I32
    venue_seq: I64
    offset: I64  # length rows + 1
    bids: I32
    px: I64
    qty: I64


class Batch(NamedTuple):
    """One seq range [first_seq, last_seq] of a log: compiled kinds as columns, the rest as rows."""

    first_seq: int
    last_seq: int
    quotes: Quotes
    deltas: Deltas
    trades: Trades
    books: Books
    slow: list[SlowRow]


def _frozen(length: int, dtype: type[np.generic]) -> np.ndarray[tuple[int], np.dtype[np.generic]]:
    array: np.ndarray[tuple[int], np.dtype[np.generic]] = np.zeros(length, dtype)
    array.flags.writeable = False
    return array


_ROW_TYPES: dict[str, type[np.generic]] = {
    "conn": np.int32,
    "inst": np.int32,
    "side": np.int8,
    "verdict": np.int8,
    "aggressor": np.int8,
    "bids": np.int32,
    "is_snapshot": np.bool_,
    "is_last": np.bool_,
}


def field_dtype(field: str) -> type[np.generic]:
    """The dtype of a block's field."""
    return _ROW_TYPES.get(field, np.int64)


def _empty(block: type[tuple[object, ...]], fields: tuple[str, ...]) -> tuple[object, ...]:
    return block(*(_frozen(1 if name == "offset" else 0, field_dtype(name)) for name in fields))


NO_QUOTES: Quotes = _empty(Quotes, Quotes._fields)  # type: ignore[assignment]  # a Quotes without rows
NO_DELTAS: Deltas = _empty(Deltas, Deltas._fields)  # type: ignore[assignment]  # a Deltas without rows
NO_TRADES: Trades = _empty(Trades, Trades._fields)  # type: ignore[assignment]  # a Trades without rows
NO_BOOKS: Books = _empty(Books, Books._fields)  # type: ignore[assignment]  # a Books without rows

__all__ = [
    "LEVELS",
    "NO_BOOKS",
    "NO_DELTAS",
    "NO_QUOTES",
    "NO_TRADES",
    "Batch",
    "Books",
    "Deltas",
    "Quotes",
    "SlowRow",
    "Trades",
    "field_dtype",
]
