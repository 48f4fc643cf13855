"""The compiled fold: steps inputs in seq order, fires deadlines and timers between them, stops when a decision is needed.

`run` works on the columns of a batch, `step_quote` on one live quote; both go through the same steps. Interpreted (JIT off) the
functions give identical results. Every entry takes the address of the WORLD record.
"""

# No `from __future__ import annotations`: numba reads signatures of compiled functions.
from xarb.engine.kernel import steps
from xarb.engine.kernel.compiled import compiled, part
from xarb.engine.kernel.deadlines import END, FULL, SLOW, STOP, WAKE, before
from xarb.engine.kernel.pointer import view
from xarb.engine.kernel.state import OUT_ROWS, OUT_SLACK, WORLD
from xarb.engine.kernel.steps import begin, book, delta, quote, trade
from xarb.model.units import NEVER

__all__ = ["END", "FULL", "SLOW", "STOP", "WAKE", "before_row", "begin_row", "connection_row", "run", "step_quote"]


@compiled
def run(handle, quotes, deltas, trades, books, at, limit_seq):
    """Step the compiled kinds in seq order from the cursors `at` (quotes, deltas, trades, books) up to `limit_seq`, exclusive.

    Returns END at the end of the batch, SLOW when the input `limit_seq` is next, else why it stopped; the cursors tell where.
    """
    k = view(handle, 1, WORLD)[0]
    while True:
        next_quote = quotes.seq[at[0]] if at[0] < len(quotes.seq) else NEVER
        next_delta = deltas.seq[at[1]] if at[1] < len(deltas.seq) else NEVER
        next_trade = trades.seq[at[2]] if at[2] < len(trades.seq) else NEVER
        next_book = books.seq[at[3]] if at[3] < len(books.seq) else NEVER
        first = min(next_quote, next_delta, next_trade, next_book)
        if first >= limit_seq:
            return END if limit_seq == NEVER else SLOW
        if first == next_quote:
            why = _run_quotes(k, quotes, at, min(next_delta, next_trade, next_book, limit_seq))
        elif first == next_delta:
            why = _run_deltas(k, deltas, at, min(next_quote, next_trade, next_book, limit_seq))
        elif first == next_trade:
            why = _run_trades(k, trades, at, min(next_quote, next_delta, next_book, limit_seq))
        else:
            why = _run_books(k, books, at, min(next_quote, next_delta, next_trade, limit_seq))
        if why != END:
            return why


@part
def _pause(k):
    """Whether the fold must hand over after an input."""
    if k["wakes"] > 0:
        return WAKE
    if k["outs"] > OUT_ROWS - OUT_SLACK:
        return FULL
    return END


@part
def _run_quotes(k, c, at, limit):
    j = at[0]
    end = len(c.seq)
    why = END
    while j < end and c.seq[j] < limit:
        ts = c.ts_recv[j]
        if ts > k["next_event"]:
            why = before(k, ts)
            if why != END:
                break
        quote(k, c.seq[j], ts, c.ts_event[j], c.conn[j], c.inst[j], c.venue_seq[j], c.bid[j], c.bid_qty[j], c.ask[j], c.ask_qty[j])
        j += 1
        if k["wakes"] > 0 or k["outs"] > OUT_ROWS - OUT_SLACK:
            why = _pause(k)
            break
    at[0] = j
    return why


@part
def _run_deltas(k, c, at, limit):
    j = at[1]
    end = len(c.seq)
    why = END
    while j < end and c.seq[j] < limit:
        ts = c.ts_recv[j]
        if ts > k["next_event"]:
            why = before(k, ts)
            if why != END:
                break
        delta(
            k,
            c.seq[j],
            ts,
            c.ts_event[j],
            c.conn[j],
            c.inst[j],
            c.venue_seq[j],
            c.side[j],
            c.price[j],
            c.qty[j],
            c.is_snapshot[j],
            c.is_last[j],
            c.verdict[j],
        )
        j += 1
        why = _pause(k)
        if why != END:
            break
    at[1] = j
    return why


@part
def _run_trades(k, c, at, limit):
    j = at[2]
    end = len(c.seq)
    why = END
    while j < end and c.seq[j] < limit:
        ts = c.ts_recv[j]
        if ts > k["next_event"]:
            why = before(k, ts)
            if why != END:
                break
        trade(k, c.seq[j], ts, c.ts_event[j], c.conn[j], c.inst[j], c.trade_id[j], c.price[j], c.qty[j])
        j += 1
        why = _pause(k)
        if why != END:
            break
    at[2] = j
    return why


@part
def _run_books(k, c, at, limit):
    j = at[3]
    end = len(c.seq)
    why = END
    while j < end and c.seq[j] < limit:
        ts = c.ts_recv[j]
        if ts > k["next_event"]:
            why = before(k, ts)
            if why != END:
                break
        low, high = c.offset[j], c.offset[j + 1]
        book(k, c.seq[j], ts, c.ts_event[j], c.conn[j], c.inst[j], c.px[low:high], c.qty[low:high], c.bids[j], high - low)
        j += 1
        why = _pause(k)
        if why != END:
            break
    at[3] = j
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
