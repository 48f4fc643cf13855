"""The fold over a batch: every row of a venue moves its time and its books; an order that arrives before a row stops the fold.

Venue time of a row is max(venue time before, ts_recv - feed latency of the row). The rows of one delta message share the latency that
was drawn for its first row: a message is one thing at the venue, and an order must not meet half of it.
"""

# No `from __future__ import annotations`: numba reads signatures of compiled functions.
import numpy as np

from xarb.engine.kernel.book import apply_level
from xarb.engine.kernel.compiled import compiled, inlined, part
from xarb.engine.kernel.pointer import view
from xarb.engine.kernel.state import BOOK_LEVELS, SOURCE_BOOKS, SOURCE_DELTAS, SOURCE_QUOTES
from xarb.model.units import NEVER, NULL
from xarb.venues.fold.book import instruments, mark_trade, prices, review_marks, sizes
from xarb.venues.fold.draw import draw_below
from xarb.venues.fold.state import (
    CONN,
    INST,
    LATENCIES,
    LATENCY_CONSTANT,
    LATENCY_UNIFORM,
    ROW_BOOK,
    ROW_DELTA,
    ROW_QUOTE,
    ROW_TRADE,
    SEQ,
    TS_RECV,
    VENUE,
    VENUES,
    WORLD,
)

# Why the fold handed over: nothing left below the limit, an order comes first, a row concerned resting orders.
END, ARRIVAL, TOUCHED = range(3)
_VERDICT_APPLY = 0  # as columns.DELTA_VERDICTS


@inlined
def venues(w):
    """The records of all venues."""
    return view(w["at"][VENUES], w["count"][VENUES], VENUE)


@part
def _varying(w, home, seq):
    """A drawn feed latency."""
    drawn = draw_below(home["seed"], seq, home["latency_span"])
    if home["latency_kind"] == LATENCY_UNIFORM:
        return home["latency_low"] + drawn
    return view(w["at"][LATENCIES], w["count"][LATENCIES], np.int64)[home["latency_from"] + drawn]


@inlined
def latency(w, home, seq):
    """Feed latency of row `seq` at a venue, ns."""
    if home["latency_kind"] == LATENCY_CONSTANT:
        return home["latency_low"]
    return _varying(w, home, seq)


@part
def _stop_before(w, me, time):
    w["stop_venue"] = me["venue"]
    w["stop_time"] = time


@part
def _stop_after(w, inst, kind, row):
    w["stop_instrument"] = inst
    w["stop_kind"] = kind
    w["stop_row"] = row


@inlined
def _ints(w, kind, column):
    """An int64 column of the batch."""
    return view(w["column"][kind, column], w["rows"][kind], np.int64)


@inlined
def _short(w, kind, column):
    """An int32 column of the batch."""
    return view(w["column"][kind, column], w["rows"][kind], np.int32)


@inlined
def _bytes(w, kind, column):
    """An int8 column of the batch, or one of booleans, as they are stored."""
    return view(w["column"][kind, column], w["rows"][kind], np.int8)


@part
def _next_seq(w, kind):
    """seq of the next row of a kind, NEVER without one."""
    at = w["cursor"][kind]
    return _ints(w, kind, SEQ)[at] if at < w["rows"][kind] else NEVER


@compiled
def run(handle: int, limit_seq: int) -> int:
    """Step the rows of the batch in seq order from the cursors up to `limit_seq`, exclusive.

    Returns END, ARRIVAL (world.stop_venue, stop_time; the row is not applied) or TOUCHED (world.stop_instrument, stop_kind, stop_row;
    the row is applied).
    """
    w = view(handle, 1, WORLD)[0]
    while True:
        next_quote = _next_seq(w, ROW_QUOTE)
        next_delta = _next_seq(w, ROW_DELTA)
        next_trade = _next_seq(w, ROW_TRADE)
        next_book = _next_seq(w, ROW_BOOK)
        first = min(next_quote, next_delta, next_trade, next_book)
        if first >= limit_seq:
            return END
        if first == next_quote:
            why = _run_quotes(w, min(next_delta, next_trade, next_book, limit_seq))
        elif first == next_delta:
            why = _run_deltas(w, min(next_quote, next_trade, next_book, limit_seq))
        elif first == next_trade:
            why = _run_trades(w, min(next_quote, next_delta, next_book, limit_seq))
        else:
            why = _run_books(w, min(next_quote, next_delta, next_trade, limit_seq))
        if why != END:
            return int(why)


@part
def _settle(w, inst, kind, row):
    """The book of an instrument with marks or resting orders changed."""
    me = instruments(w)[inst]
    if me["marks"][0] + me["marks"][1] > 0:
        review_marks(w, inst)
    if me["resting"] > 0:
        _stop_after(w, inst, kind, row)
        return TOUCHED
    return END


@part
def _run_quotes(w, limit):
    all_venues, all_instruments = venues(w), instruments(w)
    seqs, receives, conns, insts = _ints(w, 0, SEQ), _ints(w, 0, TS_RECV), _short(w, 0, CONN), _short(w, 0, INST)
    bids, bid_sizes, asks, ask_sizes = _ints(w, 0, 4), _ints(w, 0, 5), _ints(w, 0, 6), _ints(w, 0, 7)
    j, end, why = w["cursor"][ROW_QUOTE], w["rows"][ROW_QUOTE], END
    while j < end and seqs[j] < limit and why == END:
        inst = insts[j]
        me = all_instruments[inst]
        home = all_venues[me["venue"]]
        time = max(home["time"], receives[j] - latency(w, home, seqs[j]))
        if time > home["next_arrival"]:
            _stop_before(w, me, time)
            why = ARRIVAL
            break
        home["time"] = time
        me["conn"] = conns[j]
        if me["source"] == SOURCE_QUOTES and _quote(me, bids[j], bid_sizes[j], asks[j], ask_sizes[j]) and me["busy"] != 0:
            why = _settle(w, inst, ROW_QUOTE, j)
        j += 1
    w["cursor"][ROW_QUOTE] = j
    return why


@part
def _quote(me, bid, bid_qty, ask, ask_qty):
    """Take a quote as the book of one level a side; False for one that no book can hold."""
    if (bid != NULL and bid <= 0) or (ask != NULL and ask <= 0):
        return False
    if (bid_qty != NULL and bid_qty < 0) or (ask_qty != NULL and ask_qty < 0):
        return False
    me["best_px"][0] = bid
    me["best_qty"][0] = bid_qty
    me["best_px"][1] = ask
    me["best_qty"][1] = ask_qty
    me["levels"][0] = 1 if bid != NULL and bid_qty != 0 else 0
    me["levels"][1] = 1 if ask != NULL and ask_qty != 0 else 0
    return True


@part
def _run_deltas(w, limit):
    all_venues, all_instruments = venues(w), instruments(w)
    seqs, receives, conns, insts = _ints(w, 1, SEQ), _ints(w, 1, TS_RECV), _short(w, 1, CONN), _short(w, 1, INST)
    sides, levels, amounts = _bytes(w, 1, 4), _ints(w, 1, 5), _ints(w, 1, 6)
    snapshots, lasts, verdicts = _bytes(w, 1, 7), _bytes(w, 1, 8), _bytes(w, 1, 9)
    j, end, why = w["cursor"][ROW_DELTA], w["rows"][ROW_DELTA], END
    while j < end and seqs[j] < limit and why == END:
        inst = insts[j]
        me = all_instruments[inst]
        home = all_venues[me["venue"]]
        lag = me["message_latency"] if me["message_open"] != 0 else latency(w, home, seqs[j])
        time = max(home["time"], receives[j] - lag)
        if time > home["next_arrival"]:
            _stop_before(w, me, time)
            why = ARRIVAL
            break
        home["time"] = time
        me["conn"] = conns[j]
        me["message_open"] = 1 - lasts[j]
        me["message_latency"] = lag
        if me["source"] == SOURCE_DELTAS and verdicts[j] == _VERDICT_APPLY:
            _delta(w, me, sides[j], levels[j], amounts[j], snapshots[j])
            if lasts[j] != 0:
                me["snapshot_open"] = 0
                if me["busy"] != 0:
                    why = _settle(w, inst, ROW_DELTA, j)
        j += 1
    w["cursor"][ROW_DELTA] = j
    return why


@part
def _delta(w, me, side, price, qty, is_snapshot):
    """Apply one changed level; before a snapshot, and for values that no book can hold, nothing."""
    if is_snapshot != 0 and me["snapshot_open"] == 0:
        me["levels"][0] = 0
        me["levels"][1] = 0
        me["snapshot_open"] = 1
        me["synced"] = 1
    if me["synced"] == 0 or price <= 0 or qty < 0 or side < 0:
        return
    slot = me["slot"]
    count, _ = apply_level(prices(w, slot, side), sizes(w, slot, side), me["levels"][side], side, price, qty)
    me["levels"][side] = count


@part
def _run_trades(w, limit):
    all_venues, all_instruments = venues(w), instruments(w)
    seqs, receives, conns, insts = _ints(w, 2, SEQ), _ints(w, 2, TS_RECV), _short(w, 2, CONN), _short(w, 2, INST)
    levels, amounts, aggressors = _ints(w, 2, 4), _ints(w, 2, 5), _bytes(w, 2, 6)
    j, end, why = w["cursor"][ROW_TRADE], w["rows"][ROW_TRADE], END
    while j < end and seqs[j] < limit and why == END:
        inst = insts[j]
        me = all_instruments[inst]
        home = all_venues[me["venue"]]
        time = max(home["time"], receives[j] - latency(w, home, seqs[j]))
        if time > home["next_arrival"]:
            _stop_before(w, me, time)
            why = ARRIVAL
            break
        home["time"] = time
        me["conn"] = conns[j]
        if me["busy"] != 0 and levels[j] > 0 and amounts[j] > 0:
            mark_trade(w, inst, levels[j], amounts[j], aggressors[j])
            if me["resting"] > 0:
                _stop_after(w, inst, ROW_TRADE, j)
                why = TOUCHED
        j += 1
    w["cursor"][ROW_TRADE] = j
    return why


@part
def _run_books(w, limit):
    all_venues, all_instruments = venues(w), instruments(w)
    seqs, receives, conns, insts = _ints(w, 3, SEQ), _ints(w, 3, TS_RECV), _short(w, 3, CONN), _short(w, 3, INST)
    offsets, bids = view(w["column"][ROW_BOOK, 4], w["rows"][ROW_BOOK] + 1, np.int64), _short(w, 3, 5)
    px, qty = view(w["column"][ROW_BOOK, 6], w["levels"], np.int64), view(w["column"][ROW_BOOK, 7], w["levels"], np.int64)
    j, end, why = w["cursor"][ROW_BOOK], w["rows"][ROW_BOOK], END
    while j < end and seqs[j] < limit and why == END:
        inst = insts[j]
        me = all_instruments[inst]
        home = all_venues[me["venue"]]
        time = max(home["time"], receives[j] - latency(w, home, seqs[j]))
        if time > home["next_arrival"]:
            _stop_before(w, me, time)
            why = ARRIVAL
            break
        home["time"] = time
        me["conn"] = conns[j]
        low, high = offsets[j], offsets[j + 1]
        if me["source"] == SOURCE_BOOKS and _book(w, inst, px, qty, low, low + bids[j], high) and me["busy"] != 0:
            why = _settle(w, inst, ROW_BOOK, j)
        j += 1
    w["cursor"][ROW_BOOK] = j
    return why


@part
def _book(w, inst, px, qty, low, middle, high):
    """Replace a book: bids at px[low:middle], asks at px[middle:high], best first; False for one that is none.

    Levels of size 0 are absent; levels beyond the bound are left out.
    """
    for j in range(low, high):
        if px[j] <= 0 or (qty[j] != NULL and qty[j] < 0):
            return False
        if j > low and j != middle and ((j < middle and px[j] >= px[j - 1]) or (j > middle and px[j] <= px[j - 1])):
            return False
    me = instruments(w)[inst]
    for side in range(2):
        first, past = (low, middle) if side == 0 else (middle, high)
        levels, amounts = prices(w, me["slot"], side), sizes(w, me["slot"], side)
        kept = 0
        for j in range(min(past, first + BOOK_LEVELS) - 1, first - 1, -1):
            if qty[j] != 0:
                levels[kept] = px[j]
                amounts[kept] = qty[j]
                kept += 1
        me["levels"][side] = kept
    return True


@compiled
def slow_row(handle: int, venue: int, seq: int, ts_recv: int) -> int:
    """Move the venue's time for a row outside the compiled kinds; ARRIVAL, and nothing done, when an order comes first."""
    w = view(handle, 1, WORLD)[0]
    home = venues(w)[venue]
    time = max(home["time"], ts_recv - latency(w, home, seq))
    if time > home["next_arrival"]:
        w["stop_venue"] = venue
        w["stop_time"] = time
        return ARRIVAL
    home["time"] = time
    return END


@compiled
def empty_books(handle: int, conn: int, inst: int) -> None:
    """A gap or a lost connection: the book of `inst` is unknown, or those of the connection's instruments when `inst` is -1."""
    all_instruments = instruments(view(handle, 1, WORLD)[0])
    for i in range(len(all_instruments)):
        me = all_instruments[i]
        if i == inst or (inst < 0 and me["conn"] == conn):
            me["levels"][0] = 0
            me["levels"][1] = 0
            me["synced"] = 0
            me["snapshot_open"] = 0
            me["message_open"] = 0


@compiled
def next_receive(handle: int, venue: int) -> int:
    """ts_recv of the venue's next row in the batch, NEVER without one."""
    w = view(handle, 1, WORLD)[0]
    mine = instruments(w)
    first = NEVER
    for kind in range(4):
        if w["cursor"][kind] == w["rows"][kind]:
            continue
        insts, receives = _short(w, kind, INST), _ints(w, kind, TS_RECV)
        for j in range(w["cursor"][kind], w["rows"][kind]):
            if mine[insts[j]]["venue"] == venue:
                first = min(first, receives[j])
                break
    return int(first)
