"""Opportunity tracking: which pairs stand above their threshold, since when, and whom that wakes.

A float pre-filter throws out the bulk; every verdict that matters is taken on exact 128-bit products.
"""

# No `from __future__ import annotations`: numba reads signatures of compiled functions.
import numpy as np

from xarb.engine.kernel import out, tables
from xarb.engine.kernel.compiled import part
from xarb.engine.kernel.state import (
    PAIR_CLOSED,
    PAIR_OPEN,
    PAIR_PENDING,
    REASON_EDGE,
    REASON_FEED,
    REASON_NONE,
    STRATEGIES,
    WAKE_CLOSE,
    WAKE_IMPROVEMENT,
    WAKE_OPEN,
)
from xarb.engine.kernel.wide import at_least, quotient
from xarb.model.columns import FLAG_RULES
from xarb.model.units import NEVER, NULL, PPB

ABNORMAL = FLAG_RULES.index("abnormal_edge")


@part
def edge_ppb(k, pair):
    """The pair's edge bid / ask - 1 in ppb, rounded down."""
    mine = tables.pair(k, pair)
    bid = tables.instrument(k, mine["sell"])["bid"]
    ask = tables.instrument(k, mine["buy"])["ask"]
    return quotient(bid, mine["edge_left"], ask * mine["edge_right"]) - PPB


@part
def grid_after(ts, period):
    """The first time on the epoch-aligned grid at or after `ts`."""
    return ((ts + period - 1) // period) * period


@part
def plan_timers(k):
    """Recompute the earliest timer over the strategies."""
    soonest = NEVER
    for s in range(k["count"][STRATEGIES]):
        mine = tables.strategy(k, s)
        if mine["timer_ns"] > 0 and (mine["open_pairs"] > 0 or mine["needs_edge"] == 0):
            soonest = min(soonest, mine["next_timer"])
    k["next_timer"] = soonest
    k["next_event"] = min(k["next_deadline"], soonest, k["stop_ts"])


@part
def open_episode(k, pair):
    """Open the pair's episode now: row, flag of an abnormal edge, timer, wake."""
    mine = tables.pair(k, pair)
    owner = tables.strategy(k, mine["strategy"])
    edge = edge_ppb(k, pair)
    mine["status"] = PAIR_OPEN
    mine["since"] = k["now"]
    k["opportunities"] += 1
    mine["opportunity"] = k["opportunities"]
    mine["best_edge"] = edge
    mine["wake_edge"] = edge
    mine["abnormal"] = 0
    out.opportunity(k, pair, out.OPENED, edge, REASON_NONE)
    if owner["max_edge_ppb"] > 0 and edge > owner["max_edge_ppb"]:
        mine["abnormal"] = 1
        out.flag(k, mine["sell"], ABNORMAL, edge, owner["max_edge_ppb"])
    owner["open_pairs"] += 1
    if owner["open_pairs"] == 1 and owner["timer_ns"] > 0:
        if owner["needs_edge"] != 0:
            owner["next_timer"] = max(owner["next_timer"], grid_after(k["now"], owner["timer_ns"]))
        plan_timers(k)
    if owner["on_edge"] != 0:
        out.wake(k, mine["strategy"], WAKE_OPEN, pair, -1)


@part
def close_episode(k, pair, reason):
    """Close the pair's episode now: row, timer, wake."""
    mine = tables.pair(k, pair)
    owner = tables.strategy(k, mine["strategy"])
    edge = edge_ppb(k, pair) if reason == REASON_EDGE else NULL
    out.opportunity(k, pair, out.CLOSED, edge, reason)
    mine["status"] = PAIR_CLOSED
    owner["open_pairs"] -= 1
    if owner["open_pairs"] == 0 and owner["timer_ns"] > 0:
        plan_timers(k)
    if owner["on_edge"] != 0:
        out.wake(k, mine["strategy"], WAKE_CLOSE, pair, -1)


@part
def check_pair(k, pair):
    """Bring the pair's episode up to date with both quotes."""
    mine = tables.pair(k, pair)
    sell = tables.instrument(k, mine["sell"])
    buy = tables.instrument(k, mine["buy"])
    eligible = sell["tradable"] != 0 and buy["tradable"] != 0 and sell["bid"] != NULL and buy["ask"] != NULL
    if mine["status"] == PAIR_OPEN:
        if not eligible:
            close_episode(k, pair, REASON_FEED)
        elif not at_least(sell["bid"], mine["close_left"], buy["ask"], mine["close_right"]):
            close_episode(k, pair, REASON_EDGE)
        else:
            _follow(k, pair)
        return
    above = eligible and at_least(sell["bid"], mine["open_left"], buy["ask"], mine["open_right"])
    if mine["status"] == PAIR_PENDING:
        if not above:
            mine["status"] = PAIR_CLOSED
            k["pending_pairs"] -= 1
    elif above:
        life = tables.strategy(k, mine["strategy"])["min_life_ns"]
        if life == 0:
            open_episode(k, pair)
        else:
            mine["status"] = PAIR_PENDING
            mine["since"] = k["now"]
            k["pending_pairs"] += 1
            k["next_deadline"] = min(k["next_deadline"], k["now"] + life)
            k["next_event"] = min(k["next_event"], k["next_deadline"])


@part
def _follow(k, pair):
    mine = tables.pair(k, pair)
    owner = tables.strategy(k, mine["strategy"])
    edge = edge_ppb(k, pair)
    mine["best_edge"] = max(mine["best_edge"], edge)
    if owner["max_edge_ppb"] > 0:
        mine["abnormal"] = 1 if edge > owner["max_edge_ppb"] else 0
    if owner["on_edge"] != 0 and owner["improve_ppb"] > 0 and edge >= mine["wake_edge"] + owner["improve_ppb"]:
        mine["wake_edge"] = edge
        out.wake(k, mine["strategy"], WAKE_IMPROVEMENT, pair, -1)


@part
def scan_pairs(k, inst):
    """Look at every pair of an instrument whose quote or tradability changed.

    An untradable instrument has float_bid 0 and float_ask infinity, so that the pre-filter alone passes over it. The filter's
    margin of 1e-12 is far above the rounding of the three float operations behind it (each at most 2**-53).
    """
    me = tables.instrument(k, inst)
    bid = me["float_bid"]
    ask = me["float_ask"]
    for pair in range(me["sell_from"], me["sell_to"]):
        mine = tables.pair(k, pair)
        if mine["status"] == PAIR_CLOSED and bid < tables.instrument(k, mine["buy"])["float_ask"] * mine["open_low"]:
            continue
        check_pair(k, pair)
    for at in range(me["buy_from"], me["buy_to"]):
        pair = tables.buys(k)[at]
        mine = tables.pair(k, pair)
        if mine["status"] == PAIR_CLOSED and tables.instrument(k, mine["sell"])["float_bid"] < ask * mine["open_low"]:
            continue
        check_pair(k, pair)


@part
def refresh_floats(k, inst):
    """Recompute the pre-filter's floats from the exact quote."""
    me = tables.instrument(k, inst)
    usable = me["tradable"] != 0
    me["float_bid"] = me["bid"] * me["float_unit"] if usable and me["bid"] != NULL else 0.0
    me["float_ask"] = me["ask"] * me["float_unit"] if usable and me["ask"] != NULL else np.inf
