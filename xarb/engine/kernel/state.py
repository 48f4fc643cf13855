"""The kernel's state: structured records, one array each for globals, instruments, pairs, connections, strategies and groups.

Dtypes are made once; numba dispatches on the object, and a new equal dtype would cost a second compile.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from xarb.engine.kernel import pointer

SPREAD_SAMPLES: Final = 31
BOOK_LEVELS: Final = 5000  # a side; farther levels are dropped from memory and flagged
OUT_WIDTH: Final = 15
OUT_ROWS: Final = 16384
OUT_SLACK: Final = 1024  # rows that one input may need at most; the kernel returns before they could be missing
WAKE_ROWS: Final = 1024
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
        ("quiet", "i8"),  # nothing happened since the last timer
        ("opportunities", "i8"),  # episodes opened so far
        ("pending_pairs", "i8"),
        ("feed_changes", "i8"),
        ("wake_count", "i8"),
        ("at", "i8", (12,)),  # address of each table below, in the order of TABLES
        ("count", "i8", (12,)),  # its length
    ]
)

INSTRUMENT: Final = np.dtype(
    [
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
        ("float_bid", "f8"),  # price in quote units, for the pre-filter only
        ("float_ask", "f8"),
        ("float_unit", "f8"),  # 10 ** -px_scale
        ("tick", "i8"),  # 0 or 1: no check
        ("lot", "i8"),
        ("sell_from", "i8"),  # its pairs as the sell side: pairs[sell_from:sell_to]
        ("sell_to", "i8"),
        ("buy_from", "i8"),  # its pairs as the buy side: buy_index[buy_from:buy_to]
        ("buy_to", "i8"),
        ("group", "i8"),
        ("mid_unit", "i8"),  # divides bid + ask down to the group's coarsest scale
        ("mid", "i8"),  # bid + ask in that unit, 0 while unknown
        ("group_changes_seen", "i8"),  # changes of the group when this quote changed last
        ("freeze_check", "i8"),  # earliest time at which freezing is looked at again
        ("venue_seq", "i8"),
        ("trade_id", "i8"),
        ("slot", "i8"),  # place in the book arrays, -1 without a book
        ("bids", "i8"),  # levels in memory
        ("asks", "i8"),
        ("synced", "i8"),  # a snapshot was seen since the last gap
        ("snapshot_open", "i8"),  # inside a snapshot message
        ("touched", "i8"),  # a level was applied in the open message
        ("flag_bits", "i8"),  # conditions that are flagged on onset only
        ("events", "i8"),  # strategies woken by every event, a bit each
        ("quote_mid", "i8"),  # bid + ask of the validating quotes where books move the state
        # limits
        ("liveness_ns", "i8"),
        ("max_latency_ns", "i8"),
        ("future_ns", "i8"),
        ("freeze_ns", "i8"),
        ("freeze_moves", "i8"),
        ("outlier_mads", "i8"),
        ("outlier_floor_ppb", "i8"),
        ("spread_multiple", "i8"),
        ("off_market_ppb", "i8"),
        ("quality_floor", "i8"),
        ("score_ns", "i8"),
        # score
        ("score", "i8"),
        ("next_score", "i8"),
        ("rows", "i8"),
        ("bad_rows", "i8"),
        ("late_rows", "i8"),
        ("thin_rows", "i8"),
        ("down_rows", "i8"),
        ("gaps", "i8"),
        ("mean_latency", "i8"),
        ("mean_depth", "i8"),
        ("mean_uptime", "i8"),
        ("mean_rejects", "i8"),
        ("mean_gaps", "i8"),
        # sampled spreads
        ("spread_count", "i8"),
        ("next_sample", "i8"),
        ("median_spread", "i8"),
        ("spreads", "i8", (SPREAD_SAMPLES,)),
    ]
)

PAIR: Final = np.dtype(
    [
        ("sell", "i8"),
        ("buy", "i8"),
        ("strategy", "i8"),
        ("number", "i8"),  # index in the strategy's own list
        ("status", "i8"),
        ("since", "i8"),  # pending since, then opened at
        ("opportunity", "i8"),
        ("best_edge", "i8"),
        ("wake_edge", "i8"),  # edge at the last wake
        ("abnormal", "i8"),
        ("open_left", "i8"),  # the episode opens when bid * open_left >= ask * open_right
        ("open_right", "i8"),
        ("close_left", "i8"),
        ("close_right", "i8"),
        ("open_low", "f8"),  # pre-filter: surely below when bid < ask * open_low
        ("edge_left", "i8"),  # 1 + edge in ppb is bid * edge_left / (ask * edge_right)
        ("edge_right", "i8"),
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

GROUP: Final = np.dtype([("member_from", "i8"), ("member_to", "i8"), ("changes", "i8")])

Records = NDArray[np.void]
Ints = NDArray[np.int64]

# Tables of the state; `WORLD.at[...]` holds their addresses.
INSTRUMENTS, PAIRS, BUYS, CONNECTIONS, STRATEGIES, GROUPS, MEMBERS, SCRATCH, OUT, WAKES, BOOK_PX, BOOK_QTY = range(12)
_DTYPES: Final = {
    INSTRUMENTS: INSTRUMENT,
    PAIRS: PAIR,
    CONNECTIONS: CONNECTION,
    STRATEGIES: STRATEGY,
    GROUPS: GROUP,
}


class KernelState:
    """The kernel's memory: one WORLD record whose addresses lead to the tables; `tables[i]` are the arrays that own them.

    One pointer goes through all compiled calls. Passing the arrays themselves would cost a reference count for each of them in
    each call: 630 ns a quote instead of about 40 (measured).

    Args:
        sizes: rows by table number; OUT and WAKES have fixed sizes, BOOK_PX and BOOK_QTY count slots.
    """

    def __init__(self, sizes: dict[int, int]) -> None:
        self.tables: dict[int, NDArray[np.generic]] = {}
        for table in range(12):
            self.tables[table] = np.zeros(_shape(table, sizes), _DTYPES.get(table, np.dtype(np.int64)))
        self.block: Records = np.zeros(1, WORLD)
        for table, array in self.tables.items():
            self.block[0]["at"][table] = array.ctypes.data
            self.block[0]["count"][table] = len(array)
        self.handle = int(self.block.ctypes.data)
        pointer.own([self.block, *self.tables.values()])

    @property
    def world(self) -> np.void:
        """The WORLD record, a view."""
        record: np.void = self.block[0]
        return record


def _shape(table: int, sizes: dict[int, int]) -> tuple[int, ...]:
    if table == OUT:
        return (OUT_ROWS * OUT_WIDTH,)
    if table == WAKES:
        return (WAKE_ROWS * WAKE_WIDTH,)
    if table in (BOOK_PX, BOOK_QTY):
        return (max(sizes.get(table, 0), 1) * 2 * BOOK_LEVELS,)
    return (max(sizes.get(table, 0), 1),)
