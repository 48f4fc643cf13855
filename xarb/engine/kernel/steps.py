"""One input each: what a quote, a trade, a book, a changed level and a connection row do to the state."""

# No `from __future__ import annotations`: numba reads signatures of compiled functions.
import numpy as np

from xarb.engine.kernel import feed, life, out, peers, tables
from xarb.engine.kernel.book import ASK, BID, apply_level
from xarb.engine.kernel.compiled import part, pasted
from xarb.engine.kernel.edges import scan_pairs
from xarb.engine.kernel.state import (
    BOOK_LEVELS,
    INSTRUMENTS,
    RECENT_TRADES,
    SOURCE_BOOKS,
    SOURCE_DELTAS,
    SOURCE_QUOTES,
    STRATEGIES,
    WAKE_EVENT,
)
from xarb.model.units import NULL

_VERDICT_APPLY = 0  # as columns.DELTA_VERDICTS
_BOOK_BITS = (1 << int(life.NO_SNAPSHOT)) | (1 << int(life.ABSENT_LEVEL)) | (1 << int(life.TOO_MANY_LEVELS))  # a snapshot ends them


@pasted
def begin(k, seq, ts):
    """Start applying an input: it owns the outputs that follow."""
    k["now"] = ts
    k["last_seq"] = seq
    k["n"] = 0
    k["quiet"] = 0


@part
def _connect(k, me, link):
    """A connection heard for the first time, or again after silence, gets a place among the deadlines."""
    if link["known"] == 0:
        link["known"] = 1
        link["liveness_ns"] = me["liveness_ns"]
    link["stale"] = 0
    link["last"] = k["now"]
    k["next_deadline"] = min(k["next_deadline"], link["last"] + link["liveness_ns"])
    k["next_event"] = min(k["next_event"], k["next_deadline"])


@pasted
def _arrive(k, me, inst, conn, seq, ts, ts_event):
    """What any market row does before its own content counts."""
    begin(k, seq, ts)
    link = tables.connection(k, conn)
    if link["known"] == 0 or link["stale"] != 0:
        _connect(k, me, link)
    feed.receive(k, me, inst, link, conn, ts_event)


@part
def _watch(k, inst, bits):
    """Wake the strategies that asked for every event of the instrument."""
    for s in range(k["count"][STRATEGIES]):
        if bits & (np.int64(1) << s) != 0:
            out.wake(k, s, np.int64(WAKE_EVENT), np.int64(-1), inst)


@pasted
def quote(k, seq, ts, ts_event, conn, inst, venue_seq, bid, bid_qty, ask, ask_qty):
    """Apply one quote row."""
    me = tables.instrument(k, inst)
    _arrive(k, me, inst, conn, seq, ts, ts_event)
    sound = bid > 0 and ask > bid and bid_qty > 0 and ask_qty > 0 and (venue_seq == NULL or venue_seq >= me["venue_seq"])
    if sound and me["source"] == SOURCE_QUOTES:  # the bulk, in one test; null is below zero
        if venue_seq != NULL:
            me["venue_seq"] = venue_seq
        feed.top(k, me, inst, seq, bid, bid_qty, ask, ask_qty)
    else:
        _odd_quote(k, me, inst, seq, venue_seq, bid, bid_qty, ask, ask_qty)
    if me["events"] != 0:
        _watch(k, inst, me["events"])


@part
def _odd_quote(k, me, inst, seq, venue_seq, bid, bid_qty, ask, ask_qty):
    """A quote with a side or size absent, a bad one, a crossed or locked one, or one beside a book."""
    if (bid != NULL and bid <= 0) or (ask != NULL and ask <= 0):
        feed.bad_row(k, me, inst, life.BAD_PRICE, bid, ask)
    elif (bid_qty != NULL and bid_qty < 0) or (ask_qty != NULL and ask_qty < 0):
        feed.bad_row(k, me, inst, life.BAD_QTY, bid_qty, ask_qty)
    elif me["source"] != SOURCE_QUOTES:
        _validate_quote(k, me, inst, bid, ask)
    elif venue_seq != NULL and venue_seq < me["venue_seq"]:
        feed.bad_row(k, me, inst, life.OLD_UPDATE, venue_seq, me["venue_seq"])
    else:
        if venue_seq != NULL:
            me["venue_seq"] = venue_seq
        if bid_qty == 0 or bid == NULL:
            bid = bid_qty = NULL
        if ask_qty == 0 or ask == NULL:
            ask = ask_qty = NULL
        if bid != NULL and ask != NULL and bid >= ask:
            feed.cross(k, me, inst, life.LOCKED if bid == ask else life.CROSSED, bid, ask)
        else:
            feed.top(k, me, inst, seq, bid, bid_qty, ask, ask_qty)


@part
def _validate_quote(k, me, inst, bid, ask):
    """A quote beside a book: flag its mid where it leaves the book's by more than the bound."""
    if bid == NULL or ask == NULL or me["mid"] == 0 or not feed.expires(me["state"]):
        return
    distance = abs(feed.middle(bid, ask) // me["mid_unit"] - me["mid"])
    bound = peers.share(me["mid"], me["off_market_ppb"])
    feed.onset(k, me, inst, life.OFF_BOOK, distance - 1 > bound, distance, bound)


@part
def trade(k, seq, ts, ts_event, conn, inst, trade_id, price, qty):
    """Apply one public trade: validation only, trades do not move the book."""
    me = tables.instrument(k, inst)
    _arrive(k, me, inst, conn, seq, ts, ts_event)
    if price <= 0 or qty <= 0:
        feed.bad_row(k, me, inst, life.BAD_TRADE, price, qty)
    else:
        if trade_id != NULL:
            _check_trade_id(k, me, inst, trade_id)
        if me["mid"] > 0 and feed.expires(me["state"]):
            distance = abs(price // me["mid_unit"] - me["mid"])
            bound = peers.share(me["mid"], me["off_market_ppb"])
            if distance - 1 > bound:  # one unit for the rounding of mids
                out.flag(k, inst, life.TRADE_OFF_MARKET, distance, bound)
    if me["events"] != 0:
        _watch(k, inst, me["events"])


@part
def _check_trade_id(k, me, inst, trade_id):
    """A repeated id, one that goes back, or a hole where ids are dense.

    The last RECENT_TRADES dense ids are known exactly; of sparse ones each stands until another with the same low bits.
    """
    last = me["trade_id"]
    place = trade_id & (RECENT_TRADES - 1)
    if me["recent_trades"][place] == trade_id:
        feed.bad_row(k, me, inst, life.DUPLICATE_TRADE, trade_id, last)
        return
    if last != NULL and trade_id < last:
        out.flag(k, inst, life.TRADE_DISORDER, trade_id, last)
    elif last != NULL and trade_id > last + 1 and me["dense_trade_ids"] != 0:
        out.flag(k, inst, life.TRADE_GAP, trade_id, last)
    me["recent_trades"][place] = max(trade_id, me["recent_trades"][place])
    me["trade_id"] = max(last, trade_id)


@part
def _clear(me):
    me["bids"] = 0
    me["asks"] = 0


@part
def publish_book(k, me, inst, seq):
    """A whole message was applied: the best levels become the quote. A book whose best prices meet or cross is wrong."""
    slot = me["slot"]
    bid = bid_qty = ask = ask_qty = NULL
    if me["bids"] > 0:
        bid = tables.prices(k, slot, BID)[me["bids"] - 1]
        bid_qty = tables.sizes(k, slot, BID)[me["bids"] - 1]
    if me["asks"] > 0:
        ask = tables.prices(k, slot, ASK)[me["asks"] - 1]
        ask_qty = tables.sizes(k, slot, ASK)[me["asks"] - 1]
    if bid != NULL and ask != NULL and bid >= ask:
        feed.cross(k, me, inst, life.BOOK_CROSSED, bid, ask)
    else:
        feed.top(k, me, inst, seq, bid, bid_qty, ask, ask_qty)


@part
def delta(k, seq, ts, ts_event, conn, inst, side, price, qty, is_snapshot, is_last, verdict):
    """Apply one changed level; the state moves at the end of its message, and an empty message confirms the book."""
    me = tables.instrument(k, inst)
    _arrive(k, me, inst, conn, seq, ts, ts_event)
    if verdict == _VERDICT_APPLY and me["source"] == SOURCE_DELTAS:
        if is_snapshot and me["snapshot_open"] == 0:
            _clear(me)
            me["snapshot_open"] = 1
            me["synced"] = 1
            me["flag_bits"] &= ~_BOOK_BITS
        if price != NULL:
            _apply_delta(k, me, inst, side, price, qty)
        if is_last:
            me["snapshot_open"] = 0
            if me["synced"] != 0:
                publish_book(k, me, inst, seq)
    if is_last and me["events"] != 0:
        _watch(k, inst, me["events"])


@part
def _apply_delta(k, me, inst, side, price, qty):
    if me["synced"] == 0 or price <= 0 or qty < 0:
        _bad_delta(k, me, inst, price, qty)
        return
    slot = me["slot"]
    count = me["bids"] if side == BID else me["asks"]
    count, found = apply_level(tables.prices(k, slot, side), tables.sizes(k, slot, side), count, side, price, qty)
    if side == BID:
        me["bids"] = count
    else:
        me["asks"] = count
    if found < 0:
        feed.onset(k, me, inst, life.TOO_MANY_LEVELS, True, price, count)
    elif found == 0 and qty == 0:
        feed.onset(k, me, inst, life.ABSENT_LEVEL, True, price, qty)


@part
def _bad_delta(k, me, inst, price, qty):
    if me["synced"] == 0:
        me["bad_rows"] += 1
        feed.onset(k, me, inst, life.NO_SNAPSHOT, True, price, qty)
    elif price <= 0:
        feed.bad_row(k, me, inst, life.BAD_PRICE, price, qty)
    else:
        feed.bad_row(k, me, inst, life.BAD_QTY, price, qty)


@part
def _load_side(levels, sizes, px, qty):
    """Copy a side that comes best first to where the best is last; levels of size 0 are none. The number of levels.

    Returns -1 for a price that is not positive, -2 for a negative size, -3 where prices do not run strictly away from the best, and
    then the side is not to be used.
    """
    given = len(px)
    kept = 0
    for j in range(given):
        if px[j] <= 0:
            return -1
        if qty[j] < 0 and qty[j] != NULL:
            return -2
        kept += qty[j] != 0
    if given > 1:
        rising = px[1] > px[0]
        for j in range(1, given):
            if px[j] == px[j - 1] or (px[j] > px[j - 1]) != rising:
                return -3
    kept = min(kept, BOOK_LEVELS)
    at = kept
    for j in range(given):
        if qty[j] != 0 and at > 0:
            at -= 1
            levels[at] = px[j]
            sizes[at] = qty[j]
    return kept


@part
def book(k, seq, ts, ts_event, conn, inst, venue_seq, px, qty, bids):
    """Apply a whole book: `px[:bids]` from the best bid, `px[bids:]` from the best ask."""
    me = tables.instrument(k, inst)
    _arrive(k, me, inst, conn, seq, ts, ts_event)
    if me["source"] == SOURCE_BOOKS:
        if venue_seq != NULL and venue_seq < me["venue_seq"]:
            feed.bad_row(k, me, inst, life.OLD_UPDATE, venue_seq, me["venue_seq"])
        else:
            if venue_seq != NULL:
                me["venue_seq"] = venue_seq
            _replace_book(k, me, inst, seq, px, qty, bids)
    if me["events"] != 0:
        _watch(k, inst, me["events"])


@part
def _replace_book(k, me, inst, seq, px, qty, bids):
    slot = me["slot"]
    kept_bids = _load_side(tables.prices(k, slot, BID), tables.sizes(k, slot, BID), px[:bids], qty[:bids])
    kept_asks = _load_side(tables.prices(k, slot, ASK), tables.sizes(k, slot, ASK), px[bids:], qty[bids:])
    backward = (bids > 1 and px[1] > px[0]) or (len(px) - bids > 1 and px[bids + 1] < px[bids])
    fault = min(kept_bids, kept_asks, -3 if backward else 0)
    if fault < 0:
        _clear(me)
        rule = life.BAD_PRICE if fault == -1 else (life.BAD_QTY if fault == -2 else life.UNSORTED_LEVELS)
        feed.bad_row(k, me, inst, rule, px[0], qty[0])
        if feed.move(k, me, inst, life.GAP):
            scan_pairs(k, me)
        return
    me["bids"], me["asks"] = kept_bids, kept_asks
    most = max(bids, len(px) - bids)
    if most > BOOK_LEVELS or me["flag_bits"] & _BOOK_BITS != 0:
        feed.onset(k, me, inst, life.TOO_MANY_LEVELS, most > BOOK_LEVELS, most, BOOK_LEVELS)
    publish_book(k, me, inst, seq)


@part
def connection(k, conn, inst, event):
    """A connection row (already begun): a feed event for one instrument, or for all of the connection's when `inst` is -1.

    A gap or a loss empties the books it concerns and no other; a loss and a new connection end the life of the venue's counter.
    `event` -1 is a heartbeat, which only proves liveness.
    """
    link = tables.connection(k, conn)
    if event == life.CONNECTED or event == -1:
        link["last"] = k["now"]
        if event == -1:
            link["stale"] = 0
            k["next_deadline"] = min(k["next_deadline"], link["last"] + link["liveness_ns"])
            k["next_event"] = min(k["next_event"], k["next_deadline"])
            return
    if event == life.LOST and inst < 0:
        link["known"] = 0  # its silence is no news until it is heard again
    for i in range(k["count"][INSTRUMENTS]):
        me = tables.instrument(k, i)
        if (inst < 0 and me["conn"] != conn) or (inst >= 0 and i != inst):
            continue
        if event != life.GAP:
            me["venue_seq"] = NULL
        if event == life.GAP or event == life.LOST:
            me["gaps"] += 1 if event == life.GAP else 0
            me["synced"] = 0
            me["snapshot_open"] = 0
            _clear(me)
        if feed.move(k, me, i, event):
            scan_pairs(k, me)
