"""Feed quality: the state machine of a feed, its score, and what validation does with each row.

The table FEED_LIFE is the machine; the kernel walks its compiled form. Rules are those of columns.FLAG_RULES.
"""

# No `from __future__ import annotations`: numba reads signatures of compiled functions.
import numpy as np

from xarb.engine.kernel import out, tables
from xarb.engine.kernel.compiled import part
from xarb.engine.kernel.edges import refresh_floats, scan_pairs
from xarb.engine.kernel.state import SPREAD_SAMPLES
from xarb.model.columns import FEED_STATES, FLAG_RULES
from xarb.model.units import NULL, PPB

FEED_EVENTS = ("good", "same", "crossed", "outlying", "frozen", "silent", "gap", "lost", "connected")
GOOD, SAME, CROSSED_ROW, OUTLYING_ROW, FROZEN_ROW, SILENT, GAP, LOST, CONNECTED = range(9)

# What each event makes of each state. `good` is a row with a new usable quote, `same` one that repeats the last.
FEED_LIFE = {
    ("down", "good"): "live",
    ("down", "same"): "live",
    ("down", "crossed"): "crossed",
    ("down", "outlying"): "outlying",
    ("down", "frozen"): "frozen",
    ("down", "silent"): "down",
    ("down", "gap"): "gapped",
    ("down", "lost"): "down",
    ("down", "connected"): "stale",
    ("live", "good"): "live",
    ("live", "same"): "live",
    ("live", "crossed"): "crossed",
    ("live", "outlying"): "outlying",
    ("live", "frozen"): "frozen",
    ("live", "silent"): "stale",
    ("live", "gap"): "gapped",
    ("live", "lost"): "down",
    ("live", "connected"): "live",
    ("stale", "good"): "live",
    ("stale", "same"): "live",
    ("stale", "crossed"): "crossed",
    ("stale", "outlying"): "outlying",
    ("stale", "frozen"): "frozen",
    ("stale", "silent"): "stale",
    ("stale", "gap"): "gapped",
    ("stale", "lost"): "down",
    ("stale", "connected"): "stale",
    ("gapped", "good"): "live",
    ("gapped", "same"): "live",
    ("gapped", "crossed"): "crossed",
    ("gapped", "outlying"): "outlying",
    ("gapped", "frozen"): "frozen",
    ("gapped", "silent"): "gapped",
    ("gapped", "gap"): "gapped",
    ("gapped", "lost"): "down",
    ("gapped", "connected"): "gapped",
    ("crossed", "good"): "live",
    ("crossed", "same"): "live",
    ("crossed", "crossed"): "crossed",
    ("crossed", "outlying"): "outlying",
    ("crossed", "frozen"): "frozen",
    ("crossed", "silent"): "stale",
    ("crossed", "gap"): "gapped",
    ("crossed", "lost"): "down",
    ("crossed", "connected"): "crossed",
    ("frozen", "good"): "live",
    ("frozen", "same"): "live",
    ("frozen", "crossed"): "crossed",
    ("frozen", "outlying"): "outlying",
    ("frozen", "frozen"): "frozen",
    ("frozen", "silent"): "stale",
    ("frozen", "gap"): "gapped",
    ("frozen", "lost"): "down",
    ("frozen", "connected"): "frozen",
    ("outlying", "good"): "live",
    ("outlying", "same"): "live",
    ("outlying", "crossed"): "crossed",
    ("outlying", "outlying"): "outlying",
    ("outlying", "frozen"): "frozen",
    ("outlying", "silent"): "stale",
    ("outlying", "gap"): "gapped",
    ("outlying", "lost"): "down",
    ("outlying", "connected"): "outlying",
}
_NEXT_STATE = np.array(
    [[FEED_STATES.index(FEED_LIFE[state, event]) for event in FEED_EVENTS] for state in FEED_STATES], dtype=np.int64
)
LIVE = FEED_STATES.index("live")
DOWN = FEED_STATES.index("down")
GAPPED = FEED_STATES.index("gapped")
FROZEN = FEED_STATES.index("frozen")
OUTLYING = FEED_STATES.index("outlying")

(
    FUTURE,
    LATE,
    BAD_PRICE,
    BAD_QTY,
    LOCKED,
    CROSSED,
    OFF_TICK,
    OFF_LOT,
    WIDE_SPREAD,
    OFF_BOOK,
    OUTLIER,
    OLD_UPDATE,
    NO_SNAPSHOT,
    UNSORTED_LEVELS,
    ABSENT_LEVEL,
    TOO_MANY_LEVELS,
    BOOK_CROSSED,
    BAD_TRADE,
    DUPLICATE_TRADE,
    TRADE_GAP,
    TRADE_DISORDER,
    TRADE_OFF_MARKET,
    _ABNORMAL_EDGE,
    FROZEN_RULE,
) = range(len(FLAG_RULES))

_SCORE_UNIT = 256  # fixed point of the running means
_SCORE_SHARE = 8  # a new interval counts one eighth


@part
def onset(k, inst, rule, holds, value, bound):
    """Flag a lasting condition when it begins, not on each row while it lasts."""
    me = tables.instrument(k, inst)
    bit = 1 << rule
    if holds:
        if me["flag_bits"] & bit == 0:
            me["flag_bits"] |= bit
            out.flag(k, inst, rule, value, bound)
    elif me["flag_bits"] & bit != 0:
        me["flag_bits"] &= ~bit


@part
def move(k, inst, event):
    """Walk the state machine; a change is a row, and pairs are looked at again when tradability changed. True if it did."""
    me = tables.instrument(k, inst)
    previous = me["state"]
    state = _NEXT_STATE[previous, event]
    tradable = 1 if state == LIVE and me["score"] >= me["quality_floor"] else 0
    changed = tradable != me["tradable"]
    if state != previous or changed:
        me["state"] = state
        me["tradable"] = tradable
        out.feed_state(k, inst, previous)
        if changed:
            refresh_floats(k, inst)
    return changed


@part
def _mean(mean, reading):
    return mean + (reading * _SCORE_UNIT - mean) // _SCORE_SHARE


@part
def score(k, inst):
    """Close a scoring interval: five running means of 0 to 1000 (latency, depth, uptime, rejects, gaps) make the score."""
    me = tables.instrument(k, inst)
    rows = max(me["rows"], 1)
    me["mean_latency"] = _mean(me["mean_latency"], 1000 - 1000 * me["late_rows"] // rows)
    me["mean_depth"] = _mean(me["mean_depth"], 1000 - 1000 * me["thin_rows"] // rows)
    me["mean_uptime"] = _mean(me["mean_uptime"], 1000 - 1000 * min(me["down_rows"], rows) // rows)
    me["mean_rejects"] = _mean(me["mean_rejects"], 1000 - 1000 * min(me["bad_rows"], rows) // rows)
    me["mean_gaps"] = _mean(me["mean_gaps"], 0 if me["gaps"] > 0 else 1000)
    total = me["mean_latency"] + me["mean_depth"] + me["mean_uptime"] + me["mean_rejects"] + me["mean_gaps"]
    me["score"] = total // (5 * _SCORE_UNIT)
    me["rows"] = me["late_rows"] = me["thin_rows"] = me["down_rows"] = me["bad_rows"] = me["gaps"] = 0
    me["next_score"] = (k["now"] // me["score_ns"] + 1) * me["score_ns"]


@part
def receive(k, inst, conn, ts_event):
    """Book-keeping of any market row: liveness of its connection, latency, scoring interval."""
    me = tables.instrument(k, inst)
    link = tables.connection(k, conn)
    link["last"] = k["now"]
    link["stale"] = 0
    me["conn"] = conn
    if k["now"] >= me["next_score"]:
        score(k, inst)
    me["rows"] += 1
    if ts_event != NULL:
        latency = k["now"] - ts_event
        if latency > me["max_latency_ns"]:
            me["late_rows"] += 1
        if latency > me["max_latency_ns"] or latency < -me["future_ns"] or me["flag_bits"] & 3 != 0:
            onset(k, inst, LATE, latency > me["max_latency_ns"], latency, me["max_latency_ns"])
            onset(k, inst, FUTURE, latency < -me["future_ns"], latency, -me["future_ns"])


@part
def bad_row(k, inst, rule, value, bound):
    """Flag a row that is kept out of the state."""
    tables.instrument(k, inst)["bad_rows"] += 1
    out.flag(k, inst, rule, value, bound)


@part
def _sample_spread(k, inst):
    """At most one spread a second goes into a ring; its median is the yardstick of `wide_spread`."""
    me = tables.instrument(k, inst)
    spread = me["ask"] - me["bid"]
    if me["spread_count"] >= SPREAD_SAMPLES // 2:
        bound = me["median_spread"] * me["spread_multiple"]
        onset(k, inst, WIDE_SPREAD, spread > bound and me["median_spread"] > 0, spread, bound)
    if k["now"] < me["next_sample"]:
        return
    me["next_sample"] = k["now"] + me["score_ns"]
    ring = me["spreads"]
    values = tables.scratch(k)
    ring[me["spread_count"] % SPREAD_SAMPLES] = spread
    me["spread_count"] += 1
    count = min(me["spread_count"], SPREAD_SAMPLES)
    for i in range(count):
        values[i] = ring[i]
    me["median_spread"] = _median(values, count)


@part
def _median(values, count):
    """Median of the first `count` values, the lower of the two middles; sorts in place."""
    for i in range(1, count):
        value = values[i]
        j = i - 1
        while j >= 0 and values[j] > value:
            values[j + 1] = values[j]
            j -= 1
        values[j + 1] = value
    return values[(count - 1) // 2]


@part
def share(value, ratio_ppb):
    """`ratio_ppb` of a non-negative int64, rounded down, without overflow for ratios up to 9."""
    return value // PPB * ratio_ppb + value % PPB * ratio_ppb // PPB


@part
def _is_outlier(k, inst):
    """Whether the mid lies off the median of the other members' mids by more than k MAD and the floor.

    At least two other members must count: with one alone nobody can say which is wrong. A group whose mids all lie within the
    floor of each other cannot hold an outlier, because their median lies among them.
    """
    me = tables.instrument(k, inst)
    group = tables.group(k, me["group"])
    if group["member_to"] - group["member_from"] < 3 or me["mid"] == 0:
        return False
    mids = tables.scratch(k)
    lowest = me["mid"]
    highest = me["mid"]
    count = 0
    for at in range(group["member_from"], group["member_to"]):
        other = tables.members(k)[at]
        if other == inst:
            continue
        peer = tables.instrument(k, other)
        if peer["mid"] != 0 and (peer["state"] == LIVE or peer["state"] == OUTLYING):
            mids[count] = peer["mid"]
            count += 1
            lowest = min(lowest, peer["mid"])
            highest = max(highest, peer["mid"])
    if count < 2 or highest - lowest <= share(lowest, me["outlier_floor_ppb"]):
        return False
    median = _median(mids, count)
    for i in range(count):
        mids[i] = abs(mids[i] - median)
    deviation = _median(mids, count)
    distance = abs(me["mid"] - median)
    bound = max(me["outlier_mads"] * deviation, share(median, me["outlier_floor_ppb"]))
    if distance > bound:
        out.flag(k, inst, OUTLIER, distance, bound)
        return True
    return False


@part
def is_frozen(k, inst):
    """Whether the quote stood unchanged beyond its limit while its peers moved often enough."""
    me = tables.instrument(k, inst)
    if me["ts_change"] == NULL or me["freeze_ns"] <= 0 or k["now"] - me["ts_change"] < me["freeze_ns"]:
        return False
    return tables.group(k, me["group"])["changes"] - me["group_changes_seen"] >= me["freeze_moves"]


@part
def _check_steps(k, inst):
    me = tables.instrument(k, inst)
    if me["tick"] > 1:
        off = (me["bid"] != NULL and me["bid"] % me["tick"] != 0) or (me["ask"] != NULL and me["ask"] % me["tick"] != 0)
        onset(k, inst, OFF_TICK, off, me["bid"], me["tick"])
    if me["lot"] > 1:
        off = (me["bid_qty"] != NULL and me["bid_qty"] % me["lot"] != 0) or (
            me["ask_qty"] != NULL and me["ask_qty"] % me["lot"] != 0
        )
        onset(k, inst, OFF_LOT, off, me["bid_qty"], me["lot"])


@part
def top(k, inst, seq, bid, bid_qty, ask, ask_qty):
    """A new best bid and ask from the source that moves the instrument: validate, store, classify, track edges.

    Values are null where a side or size is absent. A crossed quote does not enter the state.
    """
    me = tables.instrument(k, inst)
    if bid != NULL and ask != NULL and bid > ask:
        bad_row(k, inst, CROSSED, bid, ask)
        me["down_rows"] += 1
        if move(k, inst, CROSSED_ROW):
            scan_pairs(k, inst)
        return
    now = k["now"]
    me["ts_last"] = now
    prices_changed = bid != me["bid"] or ask != me["ask"]
    changed = prices_changed or bid_qty != me["bid_qty"] or ask_qty != me["ask_qty"]
    if bid_qty == NULL or ask_qty == NULL:
        me["thin_rows"] += 1
    event = SAME
    if changed:
        _store(k, inst, seq, bid, bid_qty, ask, ask_qty)
        event = GOOD
    elif is_frozen(k, inst):
        event = FROZEN_ROW
        if me["state"] != FROZEN:
            out.flag(k, inst, FROZEN_RULE, now - me["ts_change"], me["freeze_ns"])
    if event != FROZEN_ROW and _is_outlier(k, inst):
        event = OUTLYING_ROW
    if me["state"] != LIVE:
        me["down_rows"] += 1
    moved = False
    if event != GOOD or me["state"] != LIVE or (me["score"] >= me["quality_floor"]) != (me["tradable"] != 0):
        moved = move(k, inst, event)
    if prices_changed:
        refresh_floats(k, inst)
    if moved or prices_changed:
        scan_pairs(k, inst)


@part
def _store(k, inst, seq, bid, bid_qty, ask, ask_qty):
    me = tables.instrument(k, inst)
    if bid != me["bid"] or bid_qty != me["bid_qty"]:
        me["bid_seq"] = seq
    if ask != me["ask"] or ask_qty != me["ask_qty"]:
        me["ask_seq"] = seq
    me["bid"] = bid
    me["bid_qty"] = bid_qty
    me["ask"] = ask
    me["ask_qty"] = ask_qty
    me["ts_change"] = k["now"]
    group = tables.group(k, me["group"])
    group["changes"] += 1
    me["group_changes_seen"] = group["changes"]
    if bid != NULL and ask != NULL:
        me["mid"] = (bid >> 1) + (ask >> 1) + (bid & ask & 1)
        if me["mid_unit"] > 1:
            me["mid"] = me["mid"] // me["mid_unit"]
        if bid == ask or me["flag_bits"] & (1 << LOCKED) != 0:
            onset(k, inst, LOCKED, bid == ask, bid, NULL)
        _sample_spread(k, inst)
    else:
        me["mid"] = 0
    if me["tick"] > 1 or me["lot"] > 1:
        _check_steps(k, inst)
