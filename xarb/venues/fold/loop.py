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
from xarb.model.batch import I64, Books, Deltas, Quotes, Trades
from xarb.model.units import NEVER, NULL
from xarb.venues.fold.book import instruments, mark_trade, prices, review_marks, sizes
from xarb.venues.fold.draw import draw_below
from xarb.venues.fold.state import (
    LATENCIES,
    LATENCY_CONSTANT,
    LATENCY_UNIFORM,
    ROW_BOOK,
    ROW_DELTA,
    ROW_QUOTE,
    ROW_TRADE,
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


@compiled
def run(handle: int, quotes: Quotes, deltas: Deltas, trades: Trades, books: Books, at: I64, limit_seq: int) -> int:
    """Step rows in seq order from the cursors `at` (quotes, deltas, trades, books) up to `limit_seq`, exclusive.

    Returns END, ARRIVAL (world.stop_venue, stop_time; the row is not applied) or TOUCHED (world.stop_instrument, stop_kind, stop_row;
    the row is applied).
    """
    w = view(handle, 1, WORLD)[0]
    while True:
        next_quote = quotes.seq[at[0]] if at[0] < len(quotes.seq) else NEVER
        next_delta = deltas.seq[at[1]] if at[1] < len(deltas.seq) else NEVER
        next_trade = trades.seq[at[2]] if at[2] < len(trades.seq) else NEVER
        next_book = books.seq[at[3]] if at[3] < len(books.seq) else NEVER
        first = min(next_quote, next_delta, next_trade, next_book)
        if first >= limit_seq:
            return END
        if first == next_quote:
            why = _run_quotes(w, quotes, at, min(next_delta, next_trade, next_book, limit_seq))
        elif first == next_delta:
            why = _run_deltas(w, deltas, at, min(next_quote, next_trade, next_book, limit_seq))
        elif first == next_trade:
            why = _run_trades(w, trades, at, min(next_quote, next_delta, next_book, limit_seq))
        else:
            why = _run_books(w, books, at, min(next_quote, next_delta, next_trade, limit_seq))
        if why != END:
            return int(why)


@part
def _run_quotes(w, c, at, limit):
    all_venues, all_instruments = venues(w), instruments(w)
    j, end, why = at[0], len(c.seq), END
    while j < end and c.seq[j] < limit:
        inst = c.inst[j]
        me = all_instruments[inst]
        home = all_venues[me["venue"]]
        time = max(home["time"], c.ts_recv[j] - latency(w, home, c.seq[j]))
        if time > home["next_arrival"]:
            _stop_before(w, me, time)
            why = ARRIVAL
            break
        home["time"] = time
        me["conn"] = c.conn[j]
        j += 1
        if me["source"] == SOURCE_QUOTES and _quote(me, c.bid[j - 1], c.bid_qty[j - 1], c.ask[j - 1], c.ask_qty[j - 1]):
            if me["marks"][0] + me["marks"][1] > 0:
                review_marks(w, inst)
            if me["resting"] > 0:
                _stop_after(w, inst, ROW_QUOTE, j - 1)
                why = TOUCHED
                break
    at[0] = j
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
def _run_deltas(w, c, at, limit):
    all_venues, all_instruments = venues(w), instruments(w)
    j, end, why = at[1], len(c.seq), END
    while j < end and c.seq[j] < limit:
        inst = c.inst[j]
        me = all_instruments[inst]
        home = all_venues[me["venue"]]
        lag = me["message_latency"] if me["message_open"] != 0 else latency(w, home, c.seq[j])
        time = max(home["time"], c.ts_recv[j] - lag)
        if time > home["next_arrival"]:
            _stop_before(w, me, time)
            why = ARRIVAL
            break
        home["time"] = time
        me["conn"] = c.conn[j]
        me["message_open"] = 0 if c.is_last[j] else 1
        me["message_latency"] = lag
        j += 1
        if me["source"] != SOURCE_DELTAS or c.verdict[j - 1] != _VERDICT_APPLY:
            continue
        _delta(w, inst, c.side[j - 1], c.price[j - 1], c.qty[j - 1], c.is_snapshot[j - 1])
        if c.is_last[j - 1]:
            me["snapshot_open"] = 0
            if me["marks"][0] + me["marks"][1] > 0:
                review_marks(w, inst)
            if me["resting"] > 0:
                _stop_after(w, inst, ROW_DELTA, j - 1)
                why = TOUCHED
                break
    at[1] = j
    return why


@part
def _delta(w, inst, side, price, qty, is_snapshot):
    """Apply one changed level; before a snapshot, and for values that no book can hold, nothing."""
    me = instruments(w)[inst]
    if is_snapshot and me["snapshot_open"] == 0:
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
def _run_trades(w, c, at, limit):
    all_venues, all_instruments = venues(w), instruments(w)
    j, end, why = at[2], len(c.seq), END
    while j < end and c.seq[j] < limit:
        inst = c.inst[j]
        me = all_instruments[inst]
        home = all_venues[me["venue"]]
        time = max(home["time"], c.ts_recv[j] - latency(w, home, c.seq[j]))
        if time > home["next_arrival"]:
            _stop_before(w, me, time)
            why = ARRIVAL
            break
        home["time"] = time
        me["conn"] = c.conn[j]
        j += 1
        if c.price[j - 1] > 0 and c.qty[j - 1] > 0:
            if me["marks"][0] + me["marks"][1] > 0:
                mark_trade(w, inst, c.price[j - 1], c.qty[j - 1], c.aggressor[j - 1])
            if me["resting"] > 0:
                _stop_after(w, inst, ROW_TRADE, j - 1)
                why = TOUCHED
                break
    at[2] = j
    return why


@part
def _run_books(w, c, at, limit):
    all_venues, all_instruments = venues(w), instruments(w)
    j, end, why = at[3], len(c.seq), END
    while j < end and c.seq[j] < limit:
        inst = c.inst[j]
        me = all_instruments[inst]
        home = all_venues[me["venue"]]
        time = max(home["time"], c.ts_recv[j] - latency(w, home, c.seq[j]))
        if time > home["next_arrival"]:
            _stop_before(w, me, time)
            why = ARRIVAL
            break
        home["time"] = time
        me["conn"] = c.conn[j]
        j += 1
        if me["source"] != SOURCE_BOOKS:
            continue
        low, high = c.offset[j - 1], c.offset[j]
        if _book(w, inst, c.px, c.qty, low, low + c.bids[j - 1], high):
            if me["marks"][0] + me["marks"][1] > 0:
                review_marks(w, inst)
            if me["resting"] > 0:
                _stop_after(w, inst, ROW_BOOK, j - 1)
                why = TOUCHED
                break
    at[3] = j
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


@part
def _first_of(all_instruments, venue, c, start):
    """ts_recv of the first row from `start` that belongs to the venue, NEVER without one."""
    for j in range(start, len(c.seq)):
        if all_instruments[c.inst[j]]["venue"] == venue:
            return c.ts_recv[j]
    return NEVER


@compiled
def next_receive(handle: int, quotes: Quotes, deltas: Deltas, trades: Trades, books: Books, at: I64, venue: int) -> int:
    """ts_recv of the venue's next row in the batch, NEVER without one."""
    mine = instruments(view(handle, 1, WORLD)[0])
    first = min(_first_of(mine, venue, quotes, at[0]), _first_of(mine, venue, deltas, at[1]))
    return int(min(first, _first_of(mine, venue, trades, at[2]), _first_of(mine, venue, books, at[3])))
