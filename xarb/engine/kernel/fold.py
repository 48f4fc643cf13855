"""The compiled fold: steps inputs in seq order, fires deadlines and timers between them, stops when a decision is needed.

`run` works on the columns of a batch, `step_quote` on one live quote; both go through the same inlined steps. Interpreted (JIT off)
the functions give identical results.
"""

# No `from __future__ import annotations`: numba reads signatures of compiled functions.
from xarb.engine.kernel.compiled import compiled

from xarb.engine.kernel import feed, out, tables
from xarb.engine.kernel.book import ASK, BID, apply_level
from xarb.engine.kernel.edges import grid_after, open_episode, plan_timers, scan_pairs
from xarb.engine.kernel.pointer import view
from xarb.engine.kernel.state import (
    BOOK_LEVELS,
    CONNECTIONS,
    INSTRUMENTS,
    OUT_ROWS,
    OUT_SLACK,
    PAIR_PENDING,
    PAIRS,
    SOURCE_BOOKS,
    SOURCE_DELTAS,
    SOURCE_QUOTES,
    STRATEGIES,
    WAKE_EVENT,
    WAKE_ROWS,
    WAKE_TIMER,
    WORLD,
)
from xarb.model.units import NEVER, NULL

# Why `run` returned.
END, STOP, WAKE, FULL, SLOW = range(5)
_VERDICT_APPLY = 0  # as columns.DELTA_VERDICTS


@compiled
def _earliest_deadline(k):
    """(time, kind, index) of the earliest internal deadline: 0 a silent connection, 1 a frozen feed, 2 a pending episode."""
    when, kind, index = NEVER, -1, -1
    for c in range(k["count"][CONNECTIONS]):
        link = tables.connection(k, c)
        if link["known"] != 0 and link["stale"] == 0 and link["last"] + link["liveness_ns"] < when:
            when, kind, index = link["last"] + link["liveness_ns"], 0, c
    for i in range(k["count"][INSTRUMENTS]):
        me = tables.instrument(k, i)
        if me["freeze_ns"] > 0 and me["ts_change"] != NULL and me["state"] == feed.LIVE:
            check = max(me["ts_change"] + me["freeze_ns"], me["freeze_check"])
            if check < when:
                when, kind, index = check, 1, i
    if k["pending_pairs"] > 0:
        for p in range(k["count"][PAIRS]):
            mine = tables.pair(k, p)
            if mine["status"] == PAIR_PENDING:
                due = mine["since"] + tables.strategy(k, mine["strategy"])["min_life_ns"]
                if due < when:
                    when, kind, index = due, 2, p
    return when, kind, index


@compiled
def _fire_deadline(k, when, kind, index):
    k["now"] = when
    k["quiet"] = 0
    if kind == 0:
        tables.connection(k, index)["stale"] = 1
        for i in range(k["count"][INSTRUMENTS]):
            if tables.instrument(k, i)["conn"] == index and feed.move(k, i, feed.SILENT):
                scan_pairs(k, i)
    elif kind == 1:
        me = tables.instrument(k, index)
        if feed.is_frozen(k, index):
            out.flag(k, index, feed.FROZEN_RULE, when - me["ts_change"], me["freeze_ns"])
            if feed.move(k, index, feed.FROZEN_ROW):
                scan_pairs(k, index)
        else:
            me["freeze_check"] = when + me["freeze_ns"]
    else:
        mine = tables.pair(k, index)
        k["pending_pairs"] -= 1
        open_episode(k, index)
        mine["since"] = when


@compiled
def _fire_timers(k, when):
    fired = k["quiet"] == 0
    if fired:
        k["now"] = when
    for s in range(k["count"][STRATEGIES]):
        mine = tables.strategy(k, s)
        if mine["timer_ns"] > 0 and mine["next_timer"] == when and (mine["open_pairs"] > 0 or mine["needs_edge"] == 0):
            if fired:
                out.wake(k, s, WAKE_TIMER, -1, -1)
            mine["next_timer"] = when + mine["timer_ns"]
    if fired:
        k["quiet"] = 1
    plan_timers(k)


@compiled
def _skip_timers(k, ts):
    """Nothing happened since the last timer: grid times before `ts` are coalesced away."""
    for s in range(k["count"][STRATEGIES]):
        mine = tables.strategy(k, s)
        if mine["timer_ns"] > 0 and mine["next_timer"] < ts:
            mine["next_timer"] = grid_after(ts, mine["timer_ns"])
    plan_timers(k)


@compiled
def before(k, ts):
    """Fire what is due before an input at `ts`, one thing at a time; END when the input may be applied."""
    while True:
        deadline, kind, index = _earliest_deadline(k)
        k["next_deadline"] = deadline
        stop = k["stop_ts"]
        limit = min(ts, stop)
        inclusive = k["stop_inclusive"] != 0 and stop < ts
        if deadline <= k["next_timer"] and (deadline < limit or (inclusive and deadline == limit)):
            _fire_deadline(k, deadline, kind, index)
        elif k["next_timer"] < limit:
            if k["quiet"] != 0:
                _skip_timers(k, limit)
            else:
                _fire_timers(k, k["next_timer"])
        elif stop < ts:
            return STOP
        else:
            k["next_event"] = min(deadline, k["next_timer"], stop)
            return END
        if k["wakes"] > 0:
            return WAKE
        if k["outs"] > OUT_ROWS - OUT_SLACK:
            return FULL


@compiled
def begin(k, seq, ts):
    """Start applying an input: it owns the outputs that follow."""
    k["now"] = ts
    k["last_seq"] = seq
    k["n"] = 0
    k["quiet"] = 0


@compiled
def connect(k, inst, conn):
    """A connection seen for the first time gets its liveness limit and a place among the deadlines."""
    link = tables.connection(k, conn)
    if link["known"] == 0:
        link["known"] = 1
        link["liveness_ns"] = tables.instrument(k, inst)["liveness_ns"]
        link["last"] = k["now"]
        k["next_deadline"] = min(k["next_deadline"], link["last"] + link["liveness_ns"])
        k["next_event"] = min(k["next_event"], k["next_deadline"])
    elif link["stale"] != 0:
        link["last"] = k["now"]
        k["next_deadline"] = min(k["next_deadline"], link["last"] + link["liveness_ns"])
        k["next_event"] = min(k["next_event"], k["next_deadline"])


@compiled
def _watch(k, inst):
    """Wake the strategies that asked for every event of the instrument."""
    bits = tables.instrument(k, inst)["events"]
    if bits != 0:
        for s in range(k["count"][STRATEGIES]):
            if bits & (1 << s) != 0:
                out.wake(k, s, WAKE_EVENT, -1, inst)


@compiled
def quote(k, seq, ts, ts_event, conn, inst, venue_seq, bid, bid_qty, ask, ask_qty):
    """Apply one quote row."""
    begin(k, seq, ts)
    me = tables.instrument(k, inst)
    link = tables.connection(k, conn)
    if link["known"] == 0 or link["stale"] != 0:
        connect(k, inst, conn)
    feed.receive(k, inst, conn, ts_event)
    if (bid != NULL and bid <= 0) or (ask != NULL and ask <= 0):
        feed.bad_row(k, inst, feed.BAD_PRICE, bid, ask)
    elif (bid_qty != NULL and bid_qty < 0) or (ask_qty != NULL and ask_qty < 0):
        feed.bad_row(k, inst, feed.BAD_QTY, bid_qty, ask_qty)
    elif venue_seq != NULL and venue_seq < me["venue_seq"]:
        feed.bad_row(k, inst, feed.OLD_UPDATE, venue_seq, me["venue_seq"])
    else:
        if venue_seq != NULL and me["source"] == SOURCE_QUOTES:
            me["venue_seq"] = venue_seq
        if bid_qty == 0:
            bid = NULL
            bid_qty = NULL
        if ask_qty == 0:
            ask = NULL
            ask_qty = NULL
        if me["source"] == SOURCE_QUOTES:
            feed.top(k, inst, seq, bid, bid_qty, ask, ask_qty)
        else:
            _validate_quote(k, inst, bid, ask)
    _watch(k, inst)


@compiled
def _validate_quote(k, inst, bid, ask):
    """A quote beside a book: flag its mid where it leaves the book's by more than the bound."""
    me = tables.instrument(k, inst)
    if bid == NULL or ask == NULL or me["bid"] == NULL or me["ask"] == NULL:
        return
    mid = (bid // 2 + ask // 2) // me["mid_unit"]
    distance = abs(mid - me["mid"])
    bound = feed.share(me["mid"], me["off_market_ppb"])
    feed.onset(k, inst, feed.OFF_BOOK, distance > bound + 1, distance, bound)


@compiled
def trade(k, seq, ts, ts_event, conn, inst, trade_id, price, qty):
    """Apply one public trade: validation only, trades do not move the book."""
    begin(k, seq, ts)
    me = tables.instrument(k, inst)
    if tables.connection(k, conn)["known"] == 0 or tables.connection(k, conn)["stale"] != 0:
        connect(k, inst, conn)
    feed.receive(k, inst, conn, ts_event)
    if price <= 0 or qty <= 0:
        feed.bad_row(k, inst, feed.BAD_TRADE, price, qty)
    else:
        if trade_id != NULL:
            last = me["trade_id"]
            if trade_id == last:
                feed.bad_row(k, inst, feed.DUPLICATE_TRADE, trade_id, last)
            elif last != NULL and trade_id < last:
                out.flag(k, inst, feed.TRADE_DISORDER, trade_id, last)
            elif last != NULL and trade_id > last + 1:
                out.flag(k, inst, feed.TRADE_GAP, trade_id, last)
            me["trade_id"] = max(last, trade_id)
        if me["mid"] > 0:
            distance = abs(price // me["mid_unit"] - me["mid"])
            bound = feed.share(me["mid"], me["off_market_ppb"])
            if distance > bound + 1:
                out.flag(k, inst, feed.TRADE_OFF_MARKET, distance, bound)
    _watch(k, inst)


@compiled
def _clear(k, inst):
    tables.instrument(k, inst)["bids"] = 0
    tables.instrument(k, inst)["asks"] = 0


@compiled
def publish_book(k, inst, seq):
    """A whole message was applied: the best levels become the quote."""
    me = tables.instrument(k, inst)
    slot = me["slot"]
    bid = bid_qty = ask = ask_qty = NULL
    if me["bids"] > 0:
        bid = tables.prices(k, slot, BID)[me["bids"] - 1]
        bid_qty = tables.sizes(k, slot, BID)[me["bids"] - 1]
    if me["asks"] > 0:
        ask = tables.prices(k, slot, ASK)[me["asks"] - 1]
        ask_qty = tables.sizes(k, slot, ASK)[me["asks"] - 1]
    if bid != NULL and ask != NULL and bid > ask:
        out.flag(k, inst, feed.BOOK_CROSSED, bid, ask)
    feed.top(k, inst, seq, bid, bid_qty, ask, ask_qty)


@compiled
def delta(k, seq, ts, ts_event, conn, inst, venue_seq, side, price, qty, is_snapshot, is_last, verdict):
    """Apply one changed level; the state moves at the end of its message."""
    begin(k, seq, ts)
    me = tables.instrument(k, inst)
    if tables.connection(k, conn)["known"] == 0 or tables.connection(k, conn)["stale"] != 0:
        connect(k, inst, conn)
    feed.receive(k, inst, conn, ts_event)
    if verdict == _VERDICT_APPLY and me["source"] == SOURCE_DELTAS:
        if is_snapshot and me["snapshot_open"] == 0:
            _clear(k, inst)
            me["snapshot_open"] = 1
            me["synced"] = 1
        if price != NULL:
            _apply_delta(k, inst, side, price, qty)
        if is_last:
            me["snapshot_open"] = 0
            if me["touched"] != 0 or is_snapshot:
                me["touched"] = 0
                publish_book(k, inst, seq)
    if is_last:
        _watch(k, inst)


@compiled
def _apply_delta(k, inst, side, price, qty):
    me = tables.instrument(k, inst)
    if me["synced"] == 0:
        feed.bad_row(k, inst, feed.NO_SNAPSHOT, price, qty)
        return
    if price <= 0:
        feed.bad_row(k, inst, feed.BAD_PRICE, price, qty)
        return
    if qty < 0:
        feed.bad_row(k, inst, feed.BAD_QTY, price, qty)
        return
    slot = me["slot"]
    count = me["bids"] if side == BID else me["asks"]
    count, found = apply_level(tables.prices(k, slot, side), tables.sizes(k, slot, side), count, side, price, qty)
    if side == BID:
        me["bids"] = count
    else:
        me["asks"] = count
    me["touched"] = 1
    if found < 0:
        feed.onset(k, inst, feed.TOO_MANY_LEVELS, True, price, count)
    elif found == 0 and qty == 0:
        feed.onset(k, inst, feed.ABSENT_LEVEL, True, price, qty)


@compiled
def book(k, seq, ts, ts_event, conn, inst, px, qty, bids, levels):
    """Apply a whole book: `px[:bids]` from the best bid, `px[bids:levels]` from the best ask."""
    begin(k, seq, ts)
    me = tables.instrument(k, inst)
    if tables.connection(k, conn)["known"] == 0 or tables.connection(k, conn)["stale"] != 0:
        connect(k, inst, conn)
    feed.receive(k, inst, conn, ts_event)
    if me["source"] == SOURCE_BOOKS:
        sound = True
        for j in range(levels):
            if px[j] <= 0 or (qty[j] != NULL and qty[j] < 0):
                feed.bad_row(k, inst, feed.BAD_PRICE, px[j], qty[j])
                sound = False
                break
            if j > 0 and j != bids and ((j < bids and px[j] >= px[j - 1]) or (j > bids and px[j] <= px[j - 1])):
                feed.bad_row(k, inst, feed.UNSORTED_LEVELS, px[j], px[j - 1])
                sound = False
                break
        if sound:
            slot = me["slot"]
            limit = BOOK_LEVELS
            kept = min(bids, limit)
            for j in range(kept):
                tables.prices(k, slot, BID)[kept - 1 - j] = px[j]
                tables.sizes(k, slot, BID)[kept - 1 - j] = qty[j]
            me["bids"] = kept
            kept = min(levels - bids, limit)
            for j in range(kept):
                tables.prices(k, slot, ASK)[kept - 1 - j] = px[bids + j]
                tables.sizes(k, slot, ASK)[kept - 1 - j] = qty[bids + j]
            me["asks"] = kept
            if bids > limit or levels - bids > limit:
                feed.onset(k, inst, feed.TOO_MANY_LEVELS, True, levels, limit)
            publish_book(k, inst, seq)
    _watch(k, inst)


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


@compiled
def _pause(k):
    """Whether the fold must hand over after an input."""
    if k["wakes"] > 0:
        return WAKE
    if k["outs"] > OUT_ROWS - OUT_SLACK:
        return FULL
    return END


@compiled
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


@compiled
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


@compiled
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


@compiled
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
def connection(handle, conn, inst, event):
    """A connection row (already begun): a feed event for one instrument, or for all of the connection's when `inst` is -1.

    A gap or a loss empties the books it concerns; `event` -1 is a heartbeat, which only proves liveness.
    """
    k = view(handle, 1, WORLD)[0]
    link = tables.connection(k, conn)
    if event == feed.CONNECTED or event == -1:
        link["last"] = k["now"]
        if event == -1:
            link["stale"] = 0
            k["next_deadline"] = min(k["next_deadline"], link["last"] + link["liveness_ns"])
            k["next_event"] = min(k["next_event"], k["next_deadline"])
            return
    if event == feed.LOST and inst < 0:
        link["known"] = 0  # its silence is no news until it is heard again
    for i in range(k["count"][INSTRUMENTS]):
        me = tables.instrument(k, i)
        if (inst < 0 and me["conn"] != conn) or (inst >= 0 and i != inst):
            continue
        if event == feed.GAP or event == feed.LOST:
            me["gaps"] += 1 if event == feed.GAP else 0
            me["synced"] = 0
            me["snapshot_open"] = 0
            me["touched"] = 0
            _clear(k, i)
        if feed.move(k, i, event):
            scan_pairs(k, i)


assert WAKE_ROWS >= OUT_SLACK  # one input wakes at most as often as it writes
