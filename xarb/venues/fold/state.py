"""Memory of the simulated venues: one record a venue, one an instrument, books and marks of own consumption.

As in the engine's kernel one address leads to everything; dtypes are made once.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from xarb.engine.kernel import pointer
from xarb.engine.kernel.memory import Memory, Part, lay, lay_used, used
from xarb.engine.kernel.state import BOOK_LEVELS
from xarb.errors import LogError
from xarb.model.batch import Batch

MARKS: Final = 64  # levels a side whose consumption is remembered; an order takes no further level beyond
BEFORE_ALL: Final = -(2**62)  # a venue time before any row

# Feed latency models.
LATENCY_CONSTANT, LATENCY_UNIFORM, LATENCY_TABLE = range(3)
# Kinds of rows, as the cursors count them.
ROW_QUOTE, ROW_DELTA, ROW_TRADE, ROW_BOOK = range(4)

WORLD: Final = np.dtype(
    [
        ("stop_venue", "i8"),  # ARRIVAL: the venue whose order comes before the next row
        ("stop_time", "i8"),  # ARRIVAL: venue time of that row
        ("stop_instrument", "i8"),  # TOUCHED: the instrument with resting orders that the last row concerned
        ("stop_kind", "i8"),  # TOUCHED: which kind of row
        ("stop_row", "i8"),  # TOUCHED: its index in the block
        ("unknown", "i8"),  # the last walk met a level of unknown size
        ("cursor", "i8", (4,)),  # next row of each block of the batch, by kind of row
        ("rows", "i8", (4,)),  # rows of each block
        ("levels", "i8"),  # levels of all books of the batch
        ("column", "i8", (4, 10)),  # address of each column of the batch, in the order of COLUMNS
        ("at", "i8", (7,)),  # address of each table below
        ("count", "i8", (7,)),  # its length
    ]
)

# The columns of a batch that the fold reads, by kind of row.
COLUMNS: Final = (
    ("seq", "ts_recv", "conn", "inst", "bid", "bid_qty", "ask", "ask_qty"),
    ("seq", "ts_recv", "conn", "inst", "side", "price", "qty", "is_snapshot", "is_last", "verdict"),
    ("seq", "ts_recv", "conn", "inst", "price", "qty", "aggressor"),
    ("seq", "ts_recv", "conn", "inst", "offset", "bids", "px", "qty"),
)
SEQ, TS_RECV, CONN, INST = range(4)

VENUE: Final = np.dtype(
    [
        ("time", "i8"),  # venue time of its last row: running maximum of ts_recv - feed latency
        ("next_arrival", "i8"),  # arrival time of the first command on its way, NEVER without one
        ("latency_kind", "i8"),
        ("latency_low", "i8"),
        ("latency_span", "i8"),  # uniform: high - low + 1; table: its length
        ("latency_from", "i8"),  # table: where it starts in LATENCIES
        ("seed", "i8"),
    ]
)

INSTRUMENT: Final = np.dtype(
    [
        ("venue", "i8"),
        ("source", "i8"),  # as engine.kernel.state.SOURCES
        ("conn", "i8"),  # connection of its last row, -1 before any
        ("best_px", "i8", (2,)),  # where quotes move the book: the one level of each side
        ("best_qty", "i8", (2,)),
        ("levels", "i8", (2,)),  # levels in memory by side
        ("slot", "i8"),  # place in the book arrays, -1 where quotes move the book
        ("synced", "i8"),  # a snapshot was seen since the last gap
        ("snapshot_open", "i8"),  # inside a snapshot message
        ("message_open", "i8"),  # the last delta row was not the last of its message
        ("message_latency", "i8"),  # the feed latency of that message
        ("assumed", "i8"),  # quantity taken for unknown sizes, INT64_MIN for none
        ("lot", "i8"),
        ("marks", "i8", (2,)),
        ("resting", "i8"),  # resting orders
        ("busy", "i8"),  # marks and resting orders together: rows of the others need no second look
    ]
)

MARK: Final = np.dtype(
    [
        ("price", "i8"),
        ("left", "i8"),  # own consumption still subtracted
        ("shown", "i8"),  # size of the level when it was last seen
        ("traded", "i8"),  # public trades that took from the level since, not yet matched with growth
    ]
)

VENUES, INSTRUMENTS, LATENCIES, PRICES, SIZES, MARKED, FILLS = range(7)
Tables = dict[int, NDArray[np.generic]]
_DTYPES: Final = {VENUES: VENUE, INSTRUMENTS: INSTRUMENT, MARKED: MARK}
_COPIED: Final = (VENUES, INSTRUMENTS, MARKED)
# What a model says of a venue and its instruments; every other field is what happened, or follows from the log.
_PARAMETERS: Final = {
    VENUES: ("latency_kind", "latency_low", "latency_span", "latency_from", "seed"),
    INSTRUMENTS: ("assumed",),
}


class VenueMemory:
    """Owns the tables; `handle` is what compiled functions take.

    Args:
        venues: number of venues.
        instruments: number of instruments.
        books: number of instruments whose book has depth.
        latencies: latency tables of all venues, one after the other, ns.
    """

    def __init__(self, venues: int, instruments: int, *, books: int, latencies: list[int]) -> None:
        sizes = {
            VENUES: venues,
            INSTRUMENTS: instruments,
            LATENCIES: len(latencies),
            PRICES: books * 2 * BOOK_LEVELS,
            SIZES: books * 2 * BOOK_LEVELS,
            MARKED: instruments * 2 * MARKS,
            FILLS: 2 * MARKS,
        }
        self.tables: Tables = {
            table: np.zeros(max(size, 1), _DTYPES.get(table, np.dtype(np.int64))) for table, size in sizes.items()
        }
        self.tables[LATENCIES][: len(latencies)] = latencies
        self.block: NDArray[np.void] = np.zeros(1, WORLD)
        for table, array in self.tables.items():
            self.block[0]["at"][table] = pointer.address(array)
            self.block[0]["count"][table] = len(array)
        self.handle = pointer.address(self.block)
        pointer.own([self.block, *self.tables.values()])

    def load(self, batch: Batch) -> None:
        """Point the fold at the rows of a batch, whose columns must outlive its use.

        Addresses cost nothing in a call; passing the 41 arrays themselves took 15 us each time the fold was entered (measured).
        """
        world = self.world
        world["cursor"] = 0
        world["levels"] = len(batch.books.px)
        owned = []
        blocks: tuple[Any, ...] = (batch.quotes, batch.deltas, batch.trades, batch.books)
        for kind, block in enumerate(blocks):
            world["rows"][kind] = len(block.seq)
            if len(block.seq) == 0:
                continue
            for at, name in enumerate(COLUMNS[kind]):
                column = getattr(block, name)
                world["column"][kind, at] = pointer.address(column)
                owned.append(column)
        pointer.own(owned)

    def capture(self) -> Memory:
        """A copy of it between two batches."""
        parts = self._parts()
        tables = tuple(self.tables[table].tobytes() for table in _COPIED)
        return Memory((), tables, used(self.tables[PRICES], parts), used(self.tables[SIZES], parts))

    def restore(self, copy: Memory) -> None:
        """Lay a copy back, in place.

        Raises:
            LogError: it is of other tables.
        """
        if any(self.tables[table].nbytes != len(data) for table, data in zip(_COPIED, copy.tables, strict=False)):
            raise LogError("the tables of the checkpoint are not those of these venues: other instruments or another config")
        lay([self.tables[table] for table in _COPIED], copy.tables)
        parts = self._parts()
        lay_used(self.tables[PRICES], parts, copy.prices)
        lay_used(self.tables[SIZES], parts, copy.sizes)

    def adopt(self, copy: Memory) -> None:
        """As `restore`, of venues with other models: what those say of a venue is left out.

        Raises:
            LogError: as `restore`.
        """
        laid: dict[int, Any] = {table: self.tables[table].copy() for table in _PARAMETERS}
        self.restore(copy)
        for table, names in _PARAMETERS.items():
            mine: Any = self.tables[table]
            for name in names:
                mine[name] = laid[table][name]

    def _parts(self) -> list[Part]:
        """The levels in use of all books, side by side."""
        table: Any = self.tables[INSTRUMENTS]
        books = [(slot, counts) for slot, counts in zip(table["slot"].tolist(), table["levels"].tolist(), strict=True) if slot >= 0]
        sides = [((slot * 2 + side) * BOOK_LEVELS, count) for slot, counts in books for side, count in enumerate(counts)]
        return [(start, start + count) for start, count in sides]

    @property
    def world(self) -> np.void:
        """The WORLD record, a view."""
        record: np.void = self.block[0]
        return record
