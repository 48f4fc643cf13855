"""The kernel's state: structured records, one array each for globals, instruments, pairs, connections, strategies and groups.

Dtypes are made once; numba dispatches on the object, and a new equal dtype would cost a second compile.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from xarb.engine.kernel import pointer
from xarb.engine.kernel.memory import Memory, Part, lay, lay_used, trimmed, used
from xarb.errors import LogError
from xarb.model.batch import NO_BOOKS, NO_DELTAS, NO_QUOTES, NO_TRADES, Batch, Books, Deltas, Quotes, Trades

SPREAD_SAMPLES: Final = 31
RECENT_TRADES: Final = 64  # a power of two
BOOK_LEVELS: Final = 5000  # a side; farther levels are dropped from memory and flagged
OUT_WIDTH: Final = 15
OUT_ROWS: Final = 16384
OUT_SLACK: Final = 1024  # rows kept free for one more input; the kernel returns before they could be missing
WAKE_ROWS: Final = 1024
# One input or deadline may touch every instrument and pair: a connection that carries them all falls silent. Beyond the fixed rows
# the buffers hold so many: a pair opens (abnormal or not) and closes at most twice, at the score's turn and at the quote itself.
OUT_ROWS_A_PAIR: Final = 6
WAKE_ROWS_A_PAIR: Final = 4
WAKE_WIDTH: Final = 4  # strategy, kind, pair, instrument

# Kinds of rows in the output buffer, and of wakes.
OUT_FEED, OUT_FLAG, OUT_OPPORTUNITY = range(3)
WAKE_KINDS: Final = ("open", "improvement", "close", "rearm", "timer", "event", "report")
WAKE_OPEN, WAKE_IMPROVEMENT, WAKE_CLOSE, WAKE_REARM, WAKE_TIMER, WAKE_EVENT, WAKE_REPORT = range(7)
CLOSE_REASONS: Final = ("", "edge_gone", "feed")
REASON_NONE, REASON_EDGE, REASON_FEED = range(3)
PAIR_CLOSED, PAIR_PENDING, PAIR_OPEN = range(3)
SOURCES: Final = ("quotes", "books", "deltas")
SOURCE_QUOTES, SOURCE_BOOKS, SOURCE_DELTAS = range(3)

# Columns of a batch: their addresses lie one after another in WORLD.columns, block by block in the order of CURSORS.
CURSORS: Final = ("quotes", "deltas", "trades", "books")
AT_QUOTES, AT_DELTAS, AT_TRADES, AT_BOOKS = range(4)
FIRST_QUOTES: Final = 0
FIRST_DELTAS: Final = FIRST_QUOTES + len(Quotes._fields)
FIRST_TRADES: Final = FIRST_DELTAS + len(Deltas._fields)
FIRST_BOOKS: Final = FIRST_TRADES + len(Trades._fields)
COLUMNS: Final = FIRST_BOOKS + len(Books._fields)

# Tables of the state; `WORLD.at[...]` holds their addresses.
(
    INSTRUMENTS,
    PAIRS,
    BUYS,
    CONNECTIONS,
    STRATEGIES,
    GROUPS,
    MEMBERS,
    SCRATCH,
    OUT,
    WAKES,
    BOOK_PX,
    BOOK_QTY,
    CONVERTS,
    SCREENS,
    SCREENED,
) = range(15)
TABLES: Final = 15

WORLD: Final = np.dtype(
    [
        ("now", "i8"),  # engine time
        ("last_seq", "i8"),  # last applied input
        ("n", "i8"),  # outputs since that input
        ("outs", "i8"),  # rows in the output buffer
        ("wakes", "i8"),  # rows in the wake buffer
        ("next_deadline", "i8"),  # lower bound of the next internal deadline
        ("next_timer", "i8"),
        ("next_event", "i8"),  # an input later than this needs a look at deadlines, timers or the stop
        ("stop_ts", "i8"),  # the kernel stops before the first input later than this
        ("stop_inclusive", "i8"),  # internal deadlines at stop_ts itself fire before the stop
        ("stopped_for", "i8"),  # ts_recv of the input before which the kernel stopped last
        ("quiet", "i8"),  # strategies, a bit each, whose last timer nothing followed
        ("opportunities", "i8"),  # episodes opened so far
        ("pending_pairs", "i8"),
        ("feed_changes", "i8"),
        ("wake_count", "i8"),
        ("at", "i8", (TABLES,)),  # address of each table below
        ("count", "i8", (TABLES,)),  # its length
        ("cursor", "i8", (4,)),  # next row of each block of the loaded batch
        ("rows", "i8", (4,)),  # rows of each block
        ("columns", "i8", (COLUMNS,)),  # address of each column
    ]
)

INSTRUMENT: Final = np.dtype(
    [
        # what every quote reads, close together
        ("conn", "i8"),
        ("source", "i8"),
        ("state", "i8"),
        ("tradable", "i8"),
        ("bid", "i8"),
        ("bid_qty", "i8"),
        ("ask", "i8"),
        ("ask_qty", "i8"),
        ("bid_seq", "i8"),
        ("ask_seq", "i8"),
        ("ts_last", "i8"),  # last row that confirmed the quote
        ("ts_change", "i8"),  # last row that changed it
        ("venue_seq", "i8"),
        ("flag_bits", "i8"),  # conditions that are flagged on onset only
        ("events", "i8"),  # strategies woken by every event, a bit each
        ("next_score", "i8"),
        ("rows", "i8"),  # rows of the scoring interval: all, late, thin, bad
        ("late_rows", "i8"),
        ("thin_rows", "i8"),
        ("bad_rows", "i8"),
        ("max_latency_ns", "i8"),
        ("future_ns", "i8"),
        ("tick", "i8"),  # 0 or 1: no check
        ("lot", "i8"),
        ("group", "i8"),
        ("group_changes_seen", "i8"),  # changes of the group when this quote changed last
        ("mid", "i8"),  # (bid + ask) / 2 in the group's unit, 0 while unknown
        ("mid_unit", "i8"),  # divides the mid down to the group's coarsest scale
        ("look_low", "i8"),  # the mid may move within [look_low, look_high] without a look at the peers
        ("look_high", "i8"),
        ("spread_bound", "i8"),  # a wider spread is flagged; INT64_MAX until the median is known
        ("next_sample", "i8"),
        ("score", "i8"),
        ("quality_floor", "i8"),
        ("float_bid", "f8"),  # price in quote units, for the pre-filter only; 0 and infinity where it may not be used
        ("float_ask", "f8"),
        ("float_unit", "f8"),  # 10 ** -px_scale
        ("screen", "i8"),  # its screen, -1 without plain pairs
        ("always", "i8"),  # it stands in a pair that no screen covers
        ("sell_from", "i8"),  # its pairs as the sell side: pairs[sell_from:sell_to]
        ("sell_to", "i8"),
        ("buy_from", "i8"),  # its pairs as the buy side: buys[buy_from:buy_to]
        ("buy_to", "i8"),
        ("convert_from", "i8"),  # the pairs it converts for: converts[convert_from:convert_to]
        ("convert_to", "i8"),
        # the rest
        ("freeze_check", "i8"),  # earliest time at which freezing is looked at again
        ("trade_id", "i8"),
        ("slot", "i8"),  # place in the book arrays, -1 without a book
        ("bids", "i8"),  # levels in memory
        ("asks", "i8"),
        ("synced", "i8"),  # a snapshot was seen since the last gap
        ("snapshot_open", "i8"),  # inside a snapshot message
        # limits
        ("liveness_ns", "i8"),
        ("cache_ns", "i8"),
        ("freeze_ns", "i8"),
        ("freeze_moves", "i8"),
        ("outlier_mads", "i8"),
        ("outlier_floor_ppb", "i8"),
        ("jump_ppb", "i8"),
        ("jump_ns", "i8"),
        ("spread_multiple", "i8"),
        ("off_market_ppb", "i8"),
        ("dense_trade_ids", "i8"),
        ("score_ns", "i8"),
        # jumps
        ("jump_low", "i8"),  # the mid may move within [jump_low, jump_high] without a look at a jump; empty: look at each row
        ("jump_high", "i8"),
        ("next_look", "i8"),  # then its distance from the peers is told anyway
        ("usual_ppb", "i8"),  # usual distance from the median of the peers, mid / median - 1
        ("usual_ts", "i8"),  # last look that confirmed it, null before the first
        ("jump_since", "i8"),  # the mid stands off its usual distance since then, null while it does not
        # score
        ("score_from", "i8"),  # begin of the scoring interval, null before the first row
        ("down_since", "i8"),  # not live since then, null while live
        ("down_ns", "i8"),  # time not live within the interval, up to down_since
        ("gaps", "i8"),
        ("mean_latency", "i8"),
        ("mean_depth", "i8"),
        ("mean_uptime", "i8"),
        ("mean_rejects", "i8"),
        ("mean_gaps", "i8"),
        # samples
        ("spread_count", "i8"),
        ("median_spread", "i8"),
        ("spreads", "i8", (SPREAD_SAMPLES,)),
        ("recent_trades", "i8", (RECENT_TRADES,)),  # trade ids, each in the place of its low bits
    ]
)

PAIR: Final = np.dtype(
    [
        ("sell", "i8"),
        ("buy", "i8"),
        ("status", "i8"),
        ("open_low", "f8"),  # pre-filter: surely below when bid < ask * open_low
        ("strategy", "i8"),
        ("number", "i8"),  # index in the strategy's own list
        ("screen", "i8"),  # -1: none covers it
        ("since", "i8"),  # pending since, then opened at
        ("opportunity", "i8"),
        ("best_edge", "i8"),
        ("edge", "i8"),  # now, while the episode is open: every change of a quote that it rests on is followed
        ("wake_edge", "i8"),  # edge at the last wake
        ("abnormal", "i8"),
        ("open_left", "i8"),  # the episode opens when bid * open_left >= ask * open_right
        ("open_right", "i8"),
        ("close_left", "i8"),
        ("close_right", "i8"),
        ("edge_left", "i8"),  # 1 + edge in ppb is bid * edge_left / (ask * edge_right)
        ("edge_right", "i8"),
        ("conversion", "i8"),  # how the bid becomes the buy leg's currency, see CONVERSIONS
        ("convert", "i8"),  # the instrument that does it, -1 without
        ("convert_mul", "i8"),
        ("convert_div", "i8"),
        ("peg", "f8"),  # pre-filter: the constant rate of a premium, else 1
    ]
)
# How the bid of the sell leg becomes a price in the buy leg's currency.
CONVERSIONS: Final = ("same", "at_bid", "at_ask", "peg")
SAME_CURRENCY, AT_BID, AT_ASK, AT_PEG = range(4)

# A set of pairs that no quote within its caps can open: while every bid is at most bid_cap and every ask at least ask_floor.
SCREEN: Final = np.dtype(
    [
        ("bid_cap", "f8"),  # -1: no caps, every change is looked at
        ("ask_floor", "f8"),
        ("open_low", "f8"),  # the least of its pairs
        ("active", "i8"),  # pairs of it that are pending or open
        ("member_from", "i8"),  # its instruments: screened[member_from:member_to]
        ("member_to", "i8"),
    ]
)

CONNECTION: Final = np.dtype([("last", "i8"), ("stale", "i8"), ("liveness_ns", "i8"), ("known", "i8")])

STRATEGY: Final = np.dtype(
    [
        ("timer_ns", "i8"),
        ("needs_edge", "i8"),
        ("next_timer", "i8"),
        ("open_pairs", "i8"),
        ("min_life_ns", "i8"),
        ("improve_ppb", "i8"),
        ("max_edge_ppb", "i8"),
        ("on_edge", "i8"),
    ]
)

# The members' mids all lie within [band_low, band_high] while that is not empty, and the band is too narrow to hold an outlier.
GROUP: Final = np.dtype(
    [
        ("member_from", "i8"),
        ("member_to", "i8"),
        ("px_scale", "i8"),  # the coarsest of its members', at which their mids are compared
        ("changes", "i8"),
        ("floor_ppb", "i8"),
        ("band_low", "i8"),
        ("band_high", "i8"),
    ]
)

_BUFFERS: Final = (OUT, WAKES)  # nothing is read of them that was not written before: two megabytes that need no clearing
_COPIED: Final = (INSTRUMENTS, PAIRS, BUYS, STRATEGIES, GROUPS, MEMBERS, CONVERTS, SCREENS, SCREENED)  # whole, in this order
_CLOCK: Final = WORLD.names.index("at")  # type: ignore[union-attr]  # words of WORLD before the addresses, one a field

Records = NDArray[np.void]
Ints = NDArray[np.int64]

_CURSOR, _ROWS, _FIRST = (int(WORLD.fields[name][1]) // 8 for name in ("cursor", "rows", "columns"))  # type: ignore[index]  # words
_COLUMN: Final = (_FIRST + FIRST_QUOTES, _FIRST + FIRST_DELTAS, _FIRST + FIRST_TRADES, _FIRST + FIRST_BOOKS)  # by place in CURSORS
_DTYPES: Final = {
    INSTRUMENTS: INSTRUMENT,
    PAIRS: PAIR,
    CONNECTIONS: CONNECTION,
    STRATEGIES: STRATEGY,
    GROUPS: GROUP,
    SCREENS: SCREEN,
}


_NONE: Final = tuple(  # the blocks that batches without rows of a kind share, and where their columns lie: most of a live batch
    (block, tuple(pointer.address(column) for column in block)) for block in (NO_QUOTES, NO_DELTAS, NO_TRADES, NO_BOOKS)
)


class KernelState:
    """The kernel's memory: one WORLD record whose addresses lead to the tables; `tables[i]` are the arrays that own them.

    One pointer goes through all compiled calls. Passing the arrays themselves would cost a reference count for each of them in
    each call: 630 ns a quote instead of about 40 (measured).

    Args:
        sizes: rows by table number; those of OUT and WAKES follow from INSTRUMENTS and PAIRS, BOOK_PX and BOOK_QTY count slots.
    """

    def __init__(self, sizes: dict[int, int]) -> None:
        self.tables: dict[int, NDArray[Any]] = {}
        for table in range(TABLES):
            make = np.empty if table in _BUFFERS else np.zeros
            self.tables[table] = make(_shape(table, sizes), _DTYPES.get(table, np.dtype(np.int64)))
        self.block: Records = np.zeros(1, WORLD)
        for table, rows in self.tables.items():
            self.block[0]["at"][table] = rows.ctypes.data
            self.block[0]["count"][table] = len(rows)
        self.handle = int(self.block.ctypes.data)
        pointer.own([self.block, *self.tables.values()])
        self._words = memoryview(self.block.view(np.int64))  # type: ignore[arg-type]  # numpy arrays have the buffer protocol
        self._blocks: tuple[Quotes | Deltas | Trades | Books, ...] = tuple(none for none, _ in _NONE)
        for at, (_, known) in enumerate(_NONE):
            self._lay_columns(at, known)

    def load(self, batch: Batch) -> None:
        """Point the cursors at the first rows of a batch; it is kept until the next one is loaded."""
        pointer.disown(column for block in self._blocks for column in block)
        before, self._blocks = self._blocks, (batch.quotes, batch.deltas, batch.trades, batch.books)
        pointer.own(column for block in self._blocks for column in block)
        for at, block in enumerate(self._blocks):
            self._words[_CURSOR + at] = 0
            self._words[_ROWS + at] = len(block[0])
            if block is not before[at]:  # in a live batch most are the empty ones, as before
                none, known = _NONE[at]
                self._lay_columns(at, known if block is none else _places(block))

    def _lay_columns(self, at: int, places: Sequence[int]) -> None:
        start = _COLUMN[at]
        self._words[start : start + len(places)] = array(self._words.format, places)  # "l" or "q", as the platform calls them

    def capture(self) -> Memory:
        """A copy of it between two batches, when the buffers are empty."""
        parts = self._parts()
        return Memory(
            tuple(self.block.view(np.int64)[:_CLOCK].tolist()),
            (*(self.tables[table].tobytes() for table in _COPIED), trimmed(self.tables[CONNECTIONS])),
            used(self.tables[BOOK_PX], parts),
            used(self.tables[BOOK_QTY], parts),
        )

    def restore(self, copy: Memory) -> None:
        """Lay a copy back, in place: the addresses stay.

        Raises:
            LogError: it is of other tables.
        """
        if any(self.tables[table].nbytes != len(data) for table, data in zip(_COPIED, copy.tables, strict=False)):
            raise LogError("the tables of the checkpoint are not those of this engine: other instruments or another config")
        lay([self.tables[table] for table in (*_COPIED, CONNECTIONS)], copy.tables)
        if len(copy.words) != _CLOCK:
            raise LogError("the globals of the checkpoint are not those of this engine")
        self.block.view(np.int64)[:_CLOCK] = copy.words
        parts = self._parts()
        lay_used(self.tables[BOOK_PX], parts, copy.prices)
        lay_used(self.tables[BOOK_QTY], parts, copy.sizes)

    def _parts(self) -> list[Part]:
        """The levels in use of all books, bids before asks."""
        table: Any = self.tables[INSTRUMENTS]
        slots, counts = table["slot"].tolist(), zip(table["bids"].tolist(), table["asks"].tolist(), strict=True)
        sides = [
            ((slot * 2 + side) * BOOK_LEVELS, count)
            for slot, two in zip(slots, counts, strict=True)
            for side, count in enumerate(two)
            if slot >= 0
        ]
        return [(start, start + count) for start, count in sides]

    @property
    def world(self) -> np.void:
        """The WORLD record, a view."""
        record: np.void = self.block[0]
        return record


def _places(block: Sequence[NDArray[Any]]) -> list[int]:
    """Where the columns of a block lie."""
    return [pointer.address(column) for column in block]


def _shape(table: int, sizes: dict[int, int]) -> tuple[int, ...]:
    if table == OUT:
        return ((OUT_ROWS + sizes[INSTRUMENTS] + OUT_ROWS_A_PAIR * sizes[PAIRS]) * OUT_WIDTH,)
    if table == WAKES:
        return ((WAKE_ROWS + WAKE_ROWS_A_PAIR * sizes[PAIRS]) * WAKE_WIDTH,)
    if table in (BOOK_PX, BOOK_QTY):
        return (max(sizes.get(table, 0), 1) * 2 * BOOK_LEVELS,)
    return (max(sizes.get(table, 0), 1),)
