"""The compiled fold: steps inputs in seq order, fires deadlines and timers between them, stops when a decision is needed.

`run` works on the columns of a batch, `step_quote` on one live quote; both go through the same steps. Interpreted (JIT off) the
functions give identical results. Every entry takes the address of the WORLD record.
"""

# No `from __future__ import annotations`: numba reads signatures of compiled functions.
import numpy as np

from xarb.engine.kernel import steps
from xarb.engine.kernel.compiled import compiled, inlined, part
from xarb.engine.kernel.deadlines import END, FULL, SLOW, STOP, WAKE, before
from xarb.engine.kernel.pointer import view
from xarb.engine.kernel.state import (
    AT_BOOKS,
    AT_DELTAS,
    AT_QUOTES,
    AT_TRADES,
    FIRST_BOOKS,
    FIRST_DELTAS,
    FIRST_QUOTES,
    FIRST_TRADES,
    OUT_ROWS,
    OUT_SLACK,
    WAKE_EVENT,
    WORLD,
)
from xarb.engine.kernel.steps import begin, book, delta, quote, trade
from xarb.engine.kernel.tables import wake_row
from xarb.model.units import NEVER

EVENT = 64  # above all reasons to hand over and all strategies

__all__ = [
    "END",
    "EVENT",
    "FULL",
    "SLOW",
    "STOP",
    "WAKE",
    "before_row",
    "begin_row",
    "connection_row",
    "run",
    "step_quote",
]


@compiled
def run(handle, limit_seq):
    """Step the loaded batch (KernelState.load) in seq order from its cursors up to `limit_seq`, exclusive.

    Returns END at the end of the batch, SLOW when the input `limit_seq` is next, else why it stopped; the cursors tell where.
    An input that did nothing but wake one strategy that asked for every event of an instrument gives EVENT * (instrument + 1) + strategy,
    and leaves nothing in the buffers.
    """
    k = view(handle, 1, WORLD)[0]
    while True:
        next_quote = _next_seq(k, AT_QUOTES, FIRST_QUOTES)
        next_delta = _next_seq(k, AT_DELTAS, FIRST_DELTAS)
        next_trade = _next_seq(k, AT_TRADES, FIRST_TRADES)
        next_book = _next_seq(k, AT_BOOKS, FIRST_BOOKS)
        first = min(next_quote, next_delta, next_trade, next_book)
        if first >= limit_seq:
            return END if limit_seq == NEVER else SLOW
        if first == next_quote:
            why = _run_quotes(k, min(next_delta, next_trade, next_book, limit_seq))
        elif first == next_delta:
            why = _run_deltas(k, min(next_quote, next_trade, next_book, limit_seq))
        elif first == next_trade:
            why = _run_trades(k, min(next_quote, next_delta, next_book, limit_seq))
        else:
            why = _run_books(k, min(next_quote, next_delta, next_trade, limit_seq))
        if why != END:
            return _lone_event(k) if why == WAKE else why


@part
def _lone_event(k):
    """WAKE; or, where an input did nothing but wake one strategy that asked for it, who it is, without a way through the buffer."""
    row = wake_row(k, 0)
    if k["wakes"] > 1 or k["outs"] > 0 or row[1] != WAKE_EVENT:
        return WAKE
    k["wakes"] = 0
    return EVENT * (row[3] + 1) + row[0]


@part
def _next_seq(k, block, first):
    at = k["cursor"][block]
    return ints(k, block, first)[at] if at < k["rows"][block] else NEVER


@inlined
def ints(k, block, column):
    """An int64 column of a block."""
    return view(k["columns"][column], k["rows"][block], np.int64)


@inlined
def smalls(k, block, column):
    """An int32 column of a block."""
    return view(k["columns"][column], k["rows"][block], np.int32)


@inlined
def flags(k, block, column):
    """An int8 or bool column of a block."""
    return view(k["columns"][column], k["rows"][block], np.int8)


@part
def _pause(k):
    """Whether the fold must hand over after an input."""
    if k["wakes"] > 0:
        return WAKE
    if k["outs"] > OUT_ROWS - OUT_SLACK:
        return FULL
    return END


@part
def _run_quotes(k, limit):
    seqs = ints(k, AT_QUOTES, FIRST_QUOTES)
    times = ints(k, AT_QUOTES, FIRST_QUOTES + 1)
    event_times = ints(k, AT_QUOTES, FIRST_QUOTES + 2)
    conns = smalls(k, AT_QUOTES, FIRST_QUOTES + 3)
    insts = smalls(k, AT_QUOTES, FIRST_QUOTES + 4)
    venue_seqs = ints(k, AT_QUOTES, FIRST_QUOTES + 5)
    bids = ints(k, AT_QUOTES, FIRST_QUOTES + 6)
    bid_qtys = ints(k, AT_QUOTES, FIRST_QUOTES + 7)
    asks = ints(k, AT_QUOTES, FIRST_QUOTES + 8)
    ask_qtys = ints(k, AT_QUOTES, FIRST_QUOTES + 9)
    j = k["cursor"][AT_QUOTES]
    end = k["rows"][AT_QUOTES]
    why = END
    while j < end and seqs[j] < limit:
        ts = times[j]
        if ts > k["next_event"]:
            why = before(k, ts)
            if why != END:
                break
        inst, conn = np.int64(insts[j]), np.int64(conns[j])
        quote(k, seqs[j], ts, event_times[j], conn, inst, venue_seqs[j], bids[j], bid_qtys[j], asks[j], ask_qtys[j])
        j += 1
        why = _pause(k)
        if why != END:
            break
    k["cursor"][AT_QUOTES] = j
    return why


@part
def _run_deltas(k, limit):
    seqs = ints(k, AT_DELTAS, FIRST_DELTAS)
    times = ints(k, AT_DELTAS, FIRST_DELTAS + 1)
    event_times = ints(k, AT_DELTAS, FIRST_DELTAS + 2)
    conns = smalls(k, AT_DELTAS, FIRST_DELTAS + 3)
    insts = smalls(k, AT_DELTAS, FIRST_DELTAS + 4)
    sides = flags(k, AT_DELTAS, FIRST_DELTAS + 6)
    prices = ints(k, AT_DELTAS, FIRST_DELTAS + 7)
    qtys = ints(k, AT_DELTAS, FIRST_DELTAS + 8)
    snapshots = flags(k, AT_DELTAS, FIRST_DELTAS + 9)
    lasts = flags(k, AT_DELTAS, FIRST_DELTAS + 10)
    verdicts = flags(k, AT_DELTAS, FIRST_DELTAS + 11)
    j = k["cursor"][AT_DELTAS]
    end = k["rows"][AT_DELTAS]
    why = END
    while j < end and seqs[j] < limit:
        ts = times[j]
        if ts > k["next_event"]:
            why = before(k, ts)
            if why != END:
                break
        inst, conn, side = np.int64(insts[j]), np.int64(conns[j]), np.int64(sides[j])
        whole, last = snapshots[j] != 0, lasts[j] != 0
        delta(k, seqs[j], ts, event_times[j], conn, inst, side, prices[j], qtys[j], whole, last, verdicts[j])
        j += 1
        why = _pause(k)
        if why != END:
            break
    k["cursor"][AT_DELTAS] = j
    return why


@part
def _run_trades(k, limit):
    j = k["cursor"][AT_TRADES]
    end = k["rows"][AT_TRADES]
    why = END
    while j < end and ints(k, AT_TRADES, FIRST_TRADES)[j] < limit:
        ts = ints(k, AT_TRADES, FIRST_TRADES + 1)[j]
        if ts > k["next_event"]:
            why = before(k, ts)
            if why != END:
                break
        trade(
            k,
            ints(k, AT_TRADES, FIRST_TRADES)[j],
            ts,
            ints(k, AT_TRADES, FIRST_TRADES + 2)[j],
            np.int64(smalls(k, AT_TRADES, FIRST_TRADES + 3)[j]),
            np.int64(smalls(k, AT_TRADES, FIRST_TRADES + 4)[j]),
            ints(k, AT_TRADES, FIRST_TRADES + 5)[j],
            ints(k, AT_TRADES, FIRST_TRADES + 6)[j],
            ints(k, AT_TRADES, FIRST_TRADES + 7)[j],
        )
        j += 1
        why = _pause(k)
        if why != END:
            break
    k["cursor"][AT_TRADES] = j
    return why


@part
def _run_books(k, limit):
    j = k["cursor"][AT_BOOKS]
    end = k["rows"][AT_BOOKS]
    offsets = view(k["columns"][FIRST_BOOKS + 6], end + 1, np.int64)
    levels = offsets[end]
    px = view(k["columns"][FIRST_BOOKS + 8], levels, np.int64)
    qty = view(k["columns"][FIRST_BOOKS + 9], levels, np.int64)
    why = END
    while j < end and ints(k, AT_BOOKS, FIRST_BOOKS)[j] < limit:
        ts = ints(k, AT_BOOKS, FIRST_BOOKS + 1)[j]
        if ts > k["next_event"]:
            why = before(k, ts)
            if why != END:
                break
        low, high = offsets[j], offsets[j + 1]
        book(
            k,
            ints(k, AT_BOOKS, FIRST_BOOKS)[j],
            ts,
            ints(k, AT_BOOKS, FIRST_BOOKS + 2)[j],
            np.int64(smalls(k, AT_BOOKS, FIRST_BOOKS + 3)[j]),
            np.int64(smalls(k, AT_BOOKS, FIRST_BOOKS + 4)[j]),
            ints(k, AT_BOOKS, FIRST_BOOKS + 5)[j],
            px[low:high],
            qty[low:high],
            np.int64(smalls(k, AT_BOOKS, FIRST_BOOKS + 7)[j]),
        )
        j += 1
        why = _pause(k)
        if why != END:
            break
    k["cursor"][AT_BOOKS] = j
    return why


@compiled
def step_quote(handle, seq, ts, ts_event, conn, inst, venue_seq, bid, bid_qty, ask, ask_qty):
    """Apply one live quote; END when it was applied and nothing needs a decision, else why to look.

    STOP and WAKE from `before` leave the quote unapplied: world.last_seq tells.
    """
    k = view(handle, 1, WORLD)[0]
    if ts > k["next_event"]:
        why = before(k, ts)
        if why != END:
            return why
    quote(k, seq, ts, ts_event, conn, inst, venue_seq, bid, bid_qty, ask, ask_qty)
    return _pause(k)


@compiled
def before_row(handle, ts):
    """`before` for an input that is applied outside the compiled kinds."""
    return before(view(handle, 1, WORLD)[0], ts)


@compiled
def begin_row(handle, seq, ts):
    """`begin` for an input that is applied outside the compiled kinds."""
    begin(view(handle, 1, WORLD)[0], seq, ts)


@compiled
def connection_row(handle, conn, inst, event):
    """`connection` for a row that is applied outside the compiled kinds."""
    steps.connection(view(handle, 1, WORLD)[0], conn, inst, event)
