"""Feed quality: how a feed's state moves (the machine is in life.py), its score, and what validation does with each row."""

# No `from __future__ import annotations`: numba reads signatures of compiled functions.
import numpy as np

from xarb.engine.kernel import out, tables
from xarb.engine.kernel.compiled import part, pasted
from xarb.engine.kernel.edges import refresh_floats, scan_pairs
from xarb.engine.kernel.life import (
    CROSSED_ROW,
    FROZEN,
    FROZEN_ROW,
    FROZEN_RULE,
    FUTURE,
    GOOD,
    LATE,
    LIVE,
    NEXT_STATE,
    OFF_LOT,
    OFF_TICK,
    OUTLYING,
    OUTLYING_ROW,
    SAME,
    WIDE_SPREAD,
)
from xarb.engine.kernel.peers import is_frozen, median, stands_out
from xarb.engine.kernel.state import SPREAD_SAMPLES
from xarb.engine.kernel.wide import quotient
from xarb.model.units import INT64_MAX, NULL

_SCORE_UNIT = 256  # fixed point of the running means
_SCORE_SHARE = 8  # a new interval counts one eighth
_LONGEST_SPELL = 64  # intervals without a row that still count one by one; after them the mean is at its limit
_EARLY_OR_LATE = (1 << int(LATE)) | (1 << int(FUTURE))
_SPREAD_BIT = 1 << int(WIDE_SPREAD)


@part
def onset(k, me, inst, rule, holds, value, bound):
    """Flag a lasting condition when it begins, not on each row while it lasts."""
    bit = np.int64(1) << rule
    if holds:
        if me["flag_bits"] & bit == 0:
            me["flag_bits"] |= bit
            out.flag(k, inst, rule, value, bound)
    elif me["flag_bits"] & bit != 0:
        me["flag_bits"] &= ~bit


@part
def move(k, me, inst, event):
    """Walk the state machine; a change of state or tradability is a row. True if tradability changed: look at its pairs again."""
    previous = me["state"]
    state = NEXT_STATE[previous, event]
    tradable = 1 if state == LIVE and me["score"] >= me["quality_floor"] else 0
    changed = tradable != me["tradable"]
    if state == previous and not changed:
        return False
    if state != previous:
        if previous == LIVE:
            me["down_since"] = k["now"]
        elif state == LIVE:
            me["down_ns"] += k["now"] - me["down_since"]
            me["down_since"] = NULL
    me["state"] = state
    if state != previous and expires(state):
        _plan(k, me)
    me["tradable"] = tradable
    out.feed_state(k, inst, previous)
    if changed:
        refresh_floats(me)
    return changed


@part
def expires(state):
    """Whether the feed's quote counts as the present one, so that age alone can change the feed: any other waits for a row anyway."""
    return state in (LIVE, FROZEN, OUTLYING)


@part
def freeze_due(me):
    """When a live quote that stays unchanged is next looked at for freezing."""
    return max(me["ts_change"] + me["freeze_ns"], me["freeze_check"])


@part
def _plan(k, me):
    """A feed came back: its deadlines lie ahead of now, and the bound of the next one must know them.

    A quote that came back unchanged after longer than the limit has just been looked at; the next look is a whole limit later.
    """
    due = me["ts_last"] + me["cache_ns"]
    if me["state"] == LIVE and me["freeze_ns"] > 0:
        if freeze_due(me) <= k["now"]:
            me["freeze_check"] = k["now"] + me["freeze_ns"]
        due = min(due, freeze_due(me))
    k["next_deadline"] = min(k["next_deadline"], due)
    k["next_event"] = min(k["next_event"], k["next_deadline"])


@part
def _mean(mean, reading):
    return mean + (reading * _SCORE_UNIT - mean) // _SCORE_SHARE


@part
def score(k, me, inst):
    """Close a scoring interval: five running means of 0 to 1000 (latency, depth, uptime, rejects, gaps) make the score.

    The formula stands in docs/validation.md. The interval ends with the first row after its grid time, so that a silent spell is one
    long interval; its uptime counts as many times as it holds whole intervals.
    """
    now = k["now"]
    if me["score_from"] == NULL:
        me["score_from"] = now
        me["down_ns"] = 0
        me["down_since"] = NULL if me["state"] == LIVE else now
    else:
        down = me["down_ns"] + (0 if me["down_since"] == NULL else now - me["down_since"])
        length = max(now - me["score_from"], 1)
        rows = max(me["rows"], 1)
        spells = min(max(length // me["score_ns"], 1), _LONGEST_SPELL)
        uptime = 1000 - quotient(min(down, length), 1000, length)
        for _ in range(spells):
            me["mean_uptime"] = _mean(me["mean_uptime"], uptime)
        me["mean_latency"] = _mean(me["mean_latency"], 1000 - 1000 * me["late_rows"] // rows)
        me["mean_depth"] = _mean(me["mean_depth"], 1000 - 1000 * me["thin_rows"] // rows)
        me["mean_rejects"] = _mean(me["mean_rejects"], 1000 - 1000 * min(me["bad_rows"], rows) // rows)
        me["mean_gaps"] = _mean(me["mean_gaps"], 0 if me["gaps"] > 0 else 1000)
        total = me["mean_latency"] + me["mean_depth"] + me["mean_uptime"] + me["mean_rejects"] + me["mean_gaps"]
        me["score"] = total // (5 * _SCORE_UNIT)
        me["rows"] = me["late_rows"] = me["thin_rows"] = me["bad_rows"] = me["gaps"] = 0
        me["score_from"] = now
        me["down_ns"] = 0
        if me["down_since"] != NULL:
            me["down_since"] = now
    me["next_score"] = (now // me["score_ns"] + 1) * me["score_ns"]
    if now >= me["next_look"]:
        me["look_low"], me["look_high"] = 1, 0
    if me["state"] == LIVE and (me["score"] >= me["quality_floor"]) != (me["tradable"] != 0) and move(k, me, inst, SAME):
        scan_pairs(k, me)


@pasted
def receive(k, me, inst, link, conn, ts_event):
    """Book-keeping of any market row: liveness of its connection, latency, scoring interval."""
    now = k["now"]
    link["last"] = now
    link["stale"] = 0
    me["conn"] = conn
    if now >= me["next_score"]:
        score(k, me, inst)
    me["rows"] += 1
    if ts_event != NULL:
        latency = now - ts_event
        if latency > me["max_latency_ns"] or latency < -me["future_ns"] or me["flag_bits"] & _EARLY_OR_LATE != 0:
            _flag_latency(k, me, inst, latency)


@part
def _flag_latency(k, me, inst, latency):
    late = latency > me["max_latency_ns"]
    early = latency < -me["future_ns"]
    if late or early:
        me["late_rows"] += 1
    onset(k, me, inst, LATE, late, latency, me["max_latency_ns"])
    onset(k, me, inst, FUTURE, early, latency, -me["future_ns"])


@part
def bad_row(k, me, inst, rule, value, bound):
    """Flag a row that is kept out of the state."""
    me["bad_rows"] += 1
    out.flag(k, inst, rule, value, bound)


@part
def _sample_spread(k, me, spread):
    """At most one spread an interval of the score goes into a ring; its median is the yardstick of `wide_spread`."""
    me["next_sample"] = k["now"] + me["score_ns"]
    ring = me["spreads"]
    values = tables.scratch(k)
    ring[me["spread_count"] % SPREAD_SAMPLES] = spread
    me["spread_count"] += 1
    count = min(me["spread_count"], SPREAD_SAMPLES)
    for i in range(count):
        values[i] = ring[i]
    me["median_spread"] = median(values, count)
    me["spread_bound"] = INT64_MAX
    usual, multiple = me["median_spread"], me["spread_multiple"]
    if count >= SPREAD_SAMPLES // 2 and usual > 0 and 0 < multiple <= INT64_MAX // usual:
        me["spread_bound"] = usual * multiple


@part
def _check_steps(k, me, inst):
    if me["tick"] > 1:
        off = (me["bid"] != NULL and me["bid"] % me["tick"] != 0) or (me["ask"] != NULL and me["ask"] % me["tick"] != 0)
        onset(k, me, inst, OFF_TICK, off, me["bid"], me["tick"])
    if me["lot"] > 1:
        off = (me["bid_qty"] != NULL and me["bid_qty"] % me["lot"] != 0) or (
            me["ask_qty"] != NULL and me["ask_qty"] % me["lot"] != 0
        )
        onset(k, me, inst, OFF_LOT, off, me["bid_qty"], me["lot"])


@part
def cross(k, me, inst, rule, bid, ask):
    """A crossed or locked quote or book: flagged, and the feed is crossed until a sound one comes; the last sound quote stays."""
    bad_row(k, me, inst, rule, bid, ask)
    if move(k, me, inst, CROSSED_ROW):
        scan_pairs(k, me)


@part
def _repeats(k, me, inst):
    """The event of a row that repeats the quote."""
    if is_frozen(k, me):
        if me["state"] != FROZEN:
            out.flag(k, inst, FROZEN_RULE, k["now"] - me["ts_change"], me["freeze_ns"])
        return FROZEN_ROW
    return SAME


@pasted
def middle(bid, ask):
    """(bid + ask) / 2, rounded down, without overflow."""
    return (bid >> 1) + (ask >> 1) + (bid & ask & 1)


@pasted
def top(k, me, inst, seq, bid, bid_qty, ask, ask_qty):
    """A new best bid and ask from the source that moves the instrument, not crossed: store, classify, track edges.

    Values are null where a side or size is absent.
    """
    me["ts_last"] = k["now"]
    prices_changed = bid != me["bid"] or ask != me["ask"]
    if bid_qty == NULL or ask_qty == NULL:
        me["thin_rows"] += 1
    group = tables.group(k, me["group"])
    if prices_changed or bid_qty != me["bid_qty"] or ask_qty != me["ask_qty"]:
        _store(k, me, inst, group, seq, bid, bid_qty, ask, ask_qty)
        event = GOOD
    else:
        event = _repeats(k, me, inst)
    if event != FROZEN_ROW and (me["mid"] < me["look_low"] or me["mid"] > me["look_high"]) and stands_out(k, me, inst):
        event = OUTLYING_ROW
    moved = False
    if event >= OUTLYING_ROW or me["state"] != LIVE:
        moved = move(k, me, inst, event)
    if prices_changed:
        refresh_floats(me)
    if moved or prices_changed:
        scan_pairs(k, me)


@pasted
def _store(k, me, inst, group, seq, bid, bid_qty, ask, ask_qty):
    if bid != me["bid"] or bid_qty != me["bid_qty"]:
        me["bid_seq"] = seq
    if ask != me["ask"] or ask_qty != me["ask_qty"]:
        me["ask_seq"] = seq
    me["bid"] = bid
    me["bid_qty"] = bid_qty
    me["ask"] = ask
    me["ask_qty"] = ask_qty
    me["ts_change"] = k["now"]
    group["changes"] += 1
    me["group_changes_seen"] = group["changes"]
    if bid != NULL and ask != NULL:
        mid = middle(bid, ask)
        if me["mid_unit"] > 1:
            mid = mid // me["mid_unit"]
        me["mid"] = mid
        spread = ask - bid
        if spread > me["spread_bound"] or me["flag_bits"] & _SPREAD_BIT != 0:
            onset(k, me, inst, WIDE_SPREAD, spread > me["spread_bound"], spread, me["spread_bound"])
        if k["now"] >= me["next_sample"]:
            _sample_spread(k, me, spread)
    else:
        me["mid"] = 0
    if me["tick"] > 1 or me["lot"] > 1:
        _check_steps(k, me, inst)
