"""Arrow record batches of the compiled kinds to the blocks of `model/batch.py`, column by column, without a loop over rows.

Arrays that a Parquet page decodes to are handed on without a copy unless they hold nulls. All are read-only, because compiled code
is specialised on that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from xarb.errors import LogError
from xarb.model.batch import LEVELS, Books, Deltas, Quotes, Trades
from xarb.model.columns import SIDES
from xarb.model.units import INT64_MAX, NULL

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Block = Quotes | Deltas | Trades | Books
_Array = NDArray[Any]

_FEED: Final = ("seq", "ts_recv", "ts_event", "conn", "venue", "symbol", "venue_seq")
_FIXED: Final = {name: tuple(f"{side}{name}_{level:02d}_int" for side in SIDES for level in range(LEVELS)) for name in ("", "_qty")}
_DEEP: Final = tuple(f"{side}{name}_deep_int" for name in ("", "_qty") for side in SIDES)
COLUMNS: Final[dict[str, tuple[str, ...]]] = {
    "quotes": (*_FEED, "bid_int", "bid_qty_int", "ask_int", "ask_qty_int"),
    "book_deltas": (*_FEED, "side", "price_int", "qty_int", "is_snapshot", "is_last", "verdict"),
    "trades": (*(name for name in _FEED if name != "venue_seq"), "trade_id", "price_int", "qty_int", "aggressor"),
    "books": (*_FEED, *_FIXED[""], *_FIXED["_qty"], *_DEEP),
}
_BOOK_ROWS: Final = ("seq", "ts_recv", "ts_event", "conn", "inst", "venue_seq", "bids")  # one value a row
_LARGEST: Final = str(INT64_MAX)
_LEAST: Final = np.array([0, 0] + [10**digits for digits in range(1, len(_LARGEST))], np.int64)  # by length, without leading zeros


class Decoder:
    """Turns record batches of one kind into blocks.

    Args:
        kind: one of the compiled kinds.
        numbers: number of each (venue, symbol) of the log.
        connections: one more than the highest connection number of the log.
    """

    def __init__(self, kind: str, numbers: Mapping[tuple[str, str], int], connections: int) -> None:
        makers: dict[str, Callable[[pa.RecordBatch], Block]] = {
            "quotes": self._quotes,
            "book_deltas": self._deltas,
            "trades": self._trades,
            "books": self._books,
        }
        self._make = makers[kind]
        self._numbers = numbers
        self._connections = connections

    def block(self, batch: pa.RecordBatch) -> Block:
        """The rows of `batch`, which has the columns `COLUMNS[kind]`.

        Raises:
            LogError: a row names an instrument or a connection that the log does not know, or book levels with holes.
        """
        return self._make(batch)

    def _head(self, batch: pa.RecordBatch) -> tuple[_Array, _Array, _Array, _Array, _Array]:
        seq = _plain(batch, "seq")
        conn = _plain(batch, "conn")
        if len(conn) and (int(conn.min()) < 0 or int(conn.max()) >= self._connections):
            row = int(np.flatnonzero((conn < 0) | (conn >= self._connections))[0])
            raise LogError(f"seq {seq[row]}: no connections row has the number {conn[row]}")
        return seq, _plain(batch, "ts_recv"), _nullable(batch, "ts_event"), conn, self._instruments(batch, seq)

    def _instruments(self, batch: pa.RecordBatch, seq: _Array) -> _Array:
        venue, symbol = batch.column("venue"), batch.column("symbol")
        venues, symbols = venue.dictionary.to_pylist(), symbol.dictionary.to_pylist()
        known = self._numbers
        table = np.array([known.get((one, two), -1) for one in venues for two in symbols] or [-1], np.int32)
        codes = symbol.indices.to_numpy()
        if len(venues) > 1:
            codes = venue.indices.to_numpy() * np.int32(len(symbols)) + codes
        found = np.take(table, codes, mode="wrap")  # no code lies outside: half the time of indexing, which looks
        if (table < 0).any() and (found < 0).any():
            row = int(np.flatnonzero(found < 0)[0])
            raise LogError(f"seq {seq[row]}: no instruments row names {symbol[row]}@{venue[row]}")
        return frozen(found)

    def _quotes(self, batch: pa.RecordBatch) -> Quotes:
        return Quotes(
            *self._head(batch),
            _nullable(batch, "venue_seq"),
            _nullable(batch, "bid_int"),
            _nullable(batch, "bid_qty_int"),
            _nullable(batch, "ask_int"),
            _nullable(batch, "ask_qty_int"),
        )

    def _deltas(self, batch: pa.RecordBatch) -> Deltas:
        return Deltas(
            *self._head(batch),
            _nullable(batch, "venue_seq"),
            _nullable(batch, "side", -1),
            _nullable(batch, "price_int"),
            _nullable(batch, "qty_int"),
            _plain(batch, "is_snapshot"),
            _plain(batch, "is_last"),
            _plain(batch, "verdict"),
        )

    def _trades(self, batch: pa.RecordBatch) -> Trades:
        head = self._head(batch)
        return Trades(*head, _trade_ids(batch), _plain(batch, "price_int"), _plain(batch, "qty_int"), _plain(batch, "aggressor"))

    def _books(self, batch: pa.RecordBatch) -> Books:
        head = self._head(batch)
        return Books(*head, _nullable(batch, "venue_seq"), *_levels(batch, head[0]))


def frozen(array: _Array) -> _Array:
    """The array, C-contiguous and read-only."""
    array = np.ascontiguousarray(array)
    array.flags.writeable = False
    return array


def cut(block: Any, start: int, stop: int) -> Any:
    """Rows `start` to `stop` of a block (the same kind of block), without a copy of its columns."""
    if start == 0 and stop == len(block.seq):
        return block
    if isinstance(block, Books):
        first, last = int(block.offset[start]), int(block.offset[stop])
        rows: dict[str, Any] = {name: getattr(block, name)[start:stop] for name in _BOOK_ROWS}
        offset = frozen(block.offset[start : stop + 1] - first)
        return Books(**rows, offset=offset, px=block.px[first:last], qty=block.qty[first:last])
    return type(block)(*(column[start:stop] for column in block))


def chosen(block: Any, keep: NDArray[np.bool_]) -> Any:
    """The rows of a block for which `keep` is true, as the same kind of block."""
    if isinstance(block, Books):
        sizes = np.diff(block.offset)
        levels = np.repeat(keep, sizes)
        offset = _offsets(sizes[keep])
        rows: dict[str, Any] = {name: frozen(getattr(block, name)[keep]) for name in _BOOK_ROWS}
        return Books(**rows, offset=offset, px=frozen(block.px[levels]), qty=frozen(block.qty[levels]))
    return type(block)(*(frozen(column[keep]) for column in block))


def _plain(batch: pa.RecordBatch, name: str) -> _Array:
    return frozen(batch.column(name).to_numpy(zero_copy_only=False))


def _nullable(batch: pa.RecordBatch, name: str, null: int = NULL) -> _Array:
    column = batch.column(name)
    if column.null_count == 0:
        return frozen(column.to_numpy())
    if column.null_count == len(column):
        return frozen(np.full(len(column), null, column.type.to_pandas_dtype()))
    import pyarrow.compute as pc  # 45 ms, and many logs have no nulls in the columns that a backtest reads

    return frozen(pc.fill_null(column, null).to_numpy())


def _trade_ids(batch: pa.RecordBatch) -> _Array:
    """Ids that are decimal integers of 63 bits without leading zeros as int64, all others as null."""
    import pyarrow.compute as pc

    column = batch.column("trade_id")
    texts = column.dictionary
    size = pc.binary_length(texts)
    fits = pc.less(size, len(_LARGEST))
    if not pc.all(fits, min_count=0).as_py():
        fits = pc.or_(fits, pc.and_(pc.equal(size, len(_LARGEST)), pc.less_equal(texts, _LARGEST)))
    is_number = pc.and_(pc.ascii_is_decimal(texts), fits)
    numbers = pc.cast(pc.if_else(is_number, texts, pa.scalar(None, pa.utf8())), pa.int64())
    known = pc.fill_null(numbers, NULL).to_numpy()
    known = np.where(known >= _LEAST[np.minimum(size.to_numpy(), len(_LARGEST))], known, NULL)
    codes = column.indices
    if codes.null_count == 0:
        return frozen(known[codes.to_numpy()])
    table = np.append(known, NULL)
    return frozen(table[pc.fill_null(codes, len(known)).to_numpy()])


def _levels(batch: pa.RecordBatch, seq: _Array) -> tuple[_Array, _Array, _Array, _Array]:
    """`offset`, `bids`, `px`, `qty` of a `Books`."""
    rows = batch.num_rows
    columns = [batch.column(name) for name in _FIXED[""]]
    full = all(column.null_count == 0 for column in columns)
    if full and all(batch.column(name).null_count == rows for name in _DEEP):
        offset = np.arange(0, (rows + 1) * 2 * LEVELS, 2 * LEVELS, dtype=np.int64)
        return frozen(offset), frozen(np.full(rows, LEVELS, np.int32)), _whole(batch, ""), _whole(batch, "_qty")
    there = np.stack([~column.is_null().to_numpy(zero_copy_only=False) for column in columns], axis=1)
    for side in (there[:, :LEVELS], there[:, LEVELS:]):
        holes = (side[:, 1:] & ~side[:, :-1]).any(axis=1)
        if holes.any():
            raise LogError(f"seq {seq[int(np.flatnonzero(holes)[0])]}: a book level stands behind an absent one")
    fixed = [there[:, :LEVELS].sum(axis=1), there[:, LEVELS:].sum(axis=1)]
    deep = [_deep(batch, f"{side}_deep_int") for side in SIDES]
    counts = [top + sizes for top, (sizes, _) in zip(fixed, deep, strict=True)]
    offset = _offsets(counts[0] + counts[1])
    starts = (offset[:-1], offset[:-1] + counts[0])
    found = []
    for name in ("", "_qty"):
        out = np.empty(int(offset[-1]), np.int64)
        for place, name_of_side in enumerate(SIDES):
            for level in range(LEVELS):
                rows_there = there[:, place * LEVELS + level]
                values = _nullable(batch, f"{name_of_side}{name}_{level:02d}_int")
                out[starts[place][rows_there] + level] = values[rows_there]
            sizes, values = _deep(batch, f"{name_of_side}{name}_deep_int")
            if not np.array_equal(sizes, deep[place][0]) or (sizes[fixed[place] < LEVELS] > 0).any():
                raise LogError(
                    f"seq {seq[0]} to {seq[-1]}: deep {name_of_side} levels without their quantities or behind absent ones"
                )
            out[np.repeat(starts[place] + LEVELS - _offsets(sizes)[:-1], sizes) + np.arange(len(values))] = values
        found.append(frozen(out))
    return offset, frozen(counts[0].astype(np.int32)), found[0], found[1]


def _whole(batch: pa.RecordBatch, name: str) -> _Array:
    """All fixed levels row by row, of books that have every one of them.

    In memory of Arrow's pool, which keeps what is given back: the system would clear its pages anew for every block, at the cost of the copy.
    """
    memory = pa.allocate_buffer(batch.num_rows * 2 * LEVELS * 8)
    out = np.frombuffer(memory, np.int64).reshape(batch.num_rows, 2 * LEVELS)
    for place, column in enumerate(_FIXED[name]):
        out[:, place] = _nullable(batch, column)
    return frozen(out.reshape(-1))


def _deep(batch: pa.RecordBatch, name: str) -> tuple[_Array, _Array]:
    """Lengths of the lists (0 for null) and their values, end to end."""
    import pyarrow.compute as pc

    column = batch.column(name)
    sizes = pc.fill_null(pc.list_value_length(column), 0).to_numpy().astype(np.int64)
    return sizes, column.flatten().to_numpy(zero_copy_only=False)


def _offsets(sizes: _Array) -> _Array:
    return frozen(np.concatenate(([0], np.cumsum(sizes, dtype=np.int64))).astype(np.int64))
