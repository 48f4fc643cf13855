"""One input each: what a quote, a trade, a book, a changed level and a connection row do to the state."""

# No `from __future__ import annotations`: numba reads signatures of compiled functions.
from xarb.engine.kernel import feed, out, tables
from xarb.engine.kernel.book import ASK, BID, apply_level
from xarb.engine.kernel.compiled import part
from xarb.engine.kernel.edges import scan_pairs
from xarb.engine.kernel.state import (
    BOOK_LEVELS,
    INSTRUMENTS,
    SOURCE_BOOKS,
    SOURCE_DELTAS,
    SOURCE_QUOTES,
    STRATEGIES,
    WAKE_EVENT,
)
from xarb.model.units import NULL

_VERDICT_APPLY = 0  # as columns.DELTA_VERDICTS


@part
def begin(k, seq, ts):
    """Start applying an input: it owns the outputs that follow."""
    k["now"] = ts
    k["last_seq"] = seq
    k["n"] = 0
    k["quiet"] = 0


@part
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


@part
def _watch(k, inst):
    """Wake the strategies that asked for every event of the instrument."""
    bits = tables.instrument(k, inst)["events"]
    if bits != 0:
        for s in range(k["count"][STRATEGIES]):
            if bits & (1 << s) != 0:
                out.wake(k, s, WAKE_EVENT, -1, inst)


@part
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


@part
def _validate_quote(k, inst, bid, ask):
    """A quote beside a book: flag its mid where it leaves the book's by more than the bound."""
    me = tables.instrument(k, inst)
    if bid == NULL or ask == NULL or me["bid"] == NULL or me["ask"] == NULL:
        return
    mid = (bid // 2 + ask // 2) // me["mid_unit"]
    distance = abs(mid - me["mid"])
    bound = feed.share(me["mid"], me["off_market_ppb"])
    feed.onset(k, inst, feed.OFF_BOOK, distance > bound + 1, distance, bound)


@part
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


@part
def _clear(k, inst):
    tables.instrument(k, inst)["bids"] = 0
    tables.instrument(k, inst)["asks"] = 0


@part
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


@part
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


@part
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


@part
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


@part
def connection(k, conn, inst, event):
    """A connection row (already begun): a feed event for one instrument, or for all of the connection's when `inst` is -1.

    A gap or a loss empties the books it concerns; `event` -1 is a heartbeat, which only proves liveness.
    """
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
