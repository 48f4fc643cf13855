"""Between inputs: internal deadlines at their exact times, and timers on their grid, one thing at a time."""

# No `from __future__ import annotations`: numba reads signatures of compiled functions.
import numpy as np

from xarb.engine.kernel import feed, life, out, peers, tables
from xarb.engine.kernel.compiled import part
from xarb.engine.kernel.edges import grid_after, open_episode, plan_timers, scan_pairs
from xarb.engine.kernel.state import (
    CONNECTIONS,
    INSTRUMENTS,
    OUT_ROWS,
    OUT_SLACK,
    PAIR_PENDING,
    PAIRS,
    STRATEGIES,
    WAKE_TIMER,
)
from xarb.model.units import NEVER, NULL

# Why the fold handed over.
END, STOP, WAKE, FULL, SLOW = range(5)


# Kinds of internal deadlines, in the order in which they fire at equal time.
_SILENCE, _EXPIRY, _FREEZE, _LIFE = range(4)


@part
def _earliest_deadline(k):
    """(time, kind, index) of the earliest internal deadline; at equal time the lower kind, then the lower index.

    A connection falls silent, a quote expires, an unchanged quote is looked at for freezing, a pending episode opens.
    """
    when, kind, index = NEVER, -1, -1
    for c in range(k["count"][CONNECTIONS]):
        link = tables.connection(k, c)
        if link["known"] != 0 and link["stale"] == 0 and link["last"] + link["liveness_ns"] < when:
            when, kind, index = link["last"] + link["liveness_ns"], _SILENCE, c
    for i in range(k["count"][INSTRUMENTS]):
        me = tables.instrument(k, i)
        if feed.expires(me["state"]) and me["ts_last"] + me["cache_ns"] < when:
            when, kind, index = me["ts_last"] + me["cache_ns"], _EXPIRY, i
    for i in range(k["count"][INSTRUMENTS]):
        me = tables.instrument(k, i)
        if me["freeze_ns"] > 0 and me["ts_change"] != NULL and me["state"] == life.LIVE and feed.freeze_due(me) < when:
            when, kind, index = feed.freeze_due(me), _FREEZE, i
    if k["pending_pairs"] > 0:
        for p in range(k["count"][PAIRS]):
            mine = tables.pair(k, p)
            if mine["status"] == PAIR_PENDING:
                due = mine["since"] + tables.strategy(k, mine["strategy"])["min_life_ns"]
                if due < when:
                    when, kind, index = due, _LIFE, p
    return when, kind, index


@part
def _fire_deadline(k, when, kind, index):
    k["now"] = max(k["now"], when)  # under other parameters than before it may have been due already
    k["quiet"] = 0
    if kind == _SILENCE:
        tables.connection(k, index)["stale"] = 1
        for i in range(k["count"][INSTRUMENTS]):
            me = tables.instrument(k, i)
            if me["conn"] == index and feed.move(k, me, i, life.SILENT):
                scan_pairs(k, me)
    elif kind == _EXPIRY:
        me = tables.instrument(k, index)
        if feed.move(k, me, index, life.SILENT):
            scan_pairs(k, me)
    elif kind == _FREEZE:
        me = tables.instrument(k, index)
        if peers.is_frozen(k, me):
            out.flag(k, index, life.FROZEN_RULE, k["now"] - me["ts_change"], me["freeze_ns"])
            if feed.move(k, me, index, life.FROZEN_ROW):
                scan_pairs(k, me)
        else:
            me["freeze_check"] = k["now"] + me["freeze_ns"]
    else:
        k["pending_pairs"] -= 1
        open_episode(k, index)


@part
def _pass_timers(k, when, limit):
    """Grid time `when`: wake each strategy whose scan is due, unless nothing happened since its last one; then on to `limit`."""
    for s in range(k["count"][STRATEGIES]):
        mine = tables.strategy(k, s)
        if mine["timer_ns"] > 0 and mine["next_timer"] == when and (mine["open_pairs"] > 0 or mine["needs_edge"] == 0):
            bit = np.int64(1) << s
            if k["quiet"] & bit != 0:
                mine["next_timer"] = grid_after(limit, mine["timer_ns"])
            else:
                k["now"] = when
                k["quiet"] |= bit
                out.wake(k, s, np.int64(WAKE_TIMER), np.int64(-1), np.int64(-1))
                mine["next_timer"] = when + mine["timer_ns"]
    plan_timers(k)


@part
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
            _pass_timers(k, k["next_timer"], limit)
        elif stop < ts:
            k["stopped_for"] = ts
            return STOP
        else:
            k["next_event"] = min(deadline, k["next_timer"], stop)
            return END
        if k["wakes"] > 0:
            return WAKE
        if k["outs"] > OUT_ROWS - OUT_SLACK:
            return FULL
