"""Opportunity tracking: which pairs stand above their threshold, since when, and whom that wakes.

Two float filters throw out the bulk (a screen for a whole set of pairs, then one for each pair); every verdict that matters is taken
on exact 128-bit products.
"""

# No `from __future__ import annotations`: numba reads signatures of compiled functions.
import numpy as np

from xarb.engine.kernel import out, tables
from xarb.engine.kernel.compiled import part
from xarb.engine.kernel.state import (
    AT_ASK,
    AT_BID,
    AT_PEG,
    PAIR_CLOSED,
    PAIR_OPEN,
    PAIR_PENDING,
    REASON_EDGE,
    REASON_FEED,
    REASON_NONE,
    SAME_CURRENCY,
    STRATEGIES,
    WAKE_CLOSE,
    WAKE_IMPROVEMENT,
    WAKE_OPEN,
)
from xarb.engine.kernel.wide import at_least, quotient
from xarb.model.columns import FLAG_RULES
from xarb.model.units import INT64_MAX, NEVER, NULL, PPB

ABNORMAL = np.int64(FLAG_RULES.index("abnormal_edge"))
_SCREEN_ROOM = 1e-9  # least relative room between the best quotes of a screen for caps to be worth setting
_SCREEN_MARGIN = 1e-12  # keeps caps apart by far more than float rounding (2**-53 an operation)


@part
def sell_price(k, pair):
    """What the pair's sell leg yields for one unit, in the buy leg's currency; null while that is unknown.

    Within one currency it is the bid itself, at the sell leg's scale. Converted it is rounded down at CONVERT_DIGITS decimals below
    the buy leg's scale: bid * mul / div at the converting instrument's bid, bid * mul / ask / div at its ask, or at the constant
    peg. A value that does not fit 63 bits is held as the largest that does, which is lower than the truth: against us.
    """
    mine = tables.pair(k, pair)
    bid = tables.instrument(k, mine["sell"])["bid"]
    how = mine["conversion"]
    if how == SAME_CURRENCY or bid == NULL:
        return bid
    if how == AT_PEG:
        return quotient(bid, mine["convert_mul"], mine["convert_div"])
    rate = tables.instrument(k, mine["convert"])
    if how == AT_BID:
        if rate["bid"] == NULL:
            return np.int64(NULL)
        return quotient(bid, quotient(rate["bid"], mine["convert_mul"], 1), mine["convert_div"])
    if rate["ask"] == NULL:
        return np.int64(NULL)
    return quotient(bid, mine["convert_mul"], rate["ask"]) // mine["convert_div"]


@part
def edge_ppb(k, pair):
    """The pair's edge bid / ask - 1 in ppb, rounded down, from the converted bid; null while a side is unknown."""
    mine = tables.pair(k, pair)
    bid = sell_price(k, pair)
    ask = tables.instrument(k, mine["buy"])["ask"]
    if bid == NULL or ask == NULL:
        return np.int64(NULL)
    right = mine["edge_right"]
    if ask <= INT64_MAX // right:
        return quotient(bid, mine["edge_left"], ask * right) - PPB
    return quotient(bid, mine["edge_left"], right) // ask - PPB  # floors nest: the same value


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
    mine["edge"] = edge
    mine["wake_edge"] = edge
    mine["abnormal"] = 0
    out.opportunity(k, pair, out.OPENED, edge, np.int64(REASON_NONE))
    if owner["max_edge_ppb"] > 0 and edge > owner["max_edge_ppb"]:
        mine["abnormal"] = 1
        out.flag(k, mine["sell"], ABNORMAL, edge, owner["max_edge_ppb"])
    owner["open_pairs"] += 1
    if owner["open_pairs"] == 1 and owner["timer_ns"] > 0:
        if owner["needs_edge"] != 0:
            owner["next_timer"] = max(owner["next_timer"], grid_after(k["now"], owner["timer_ns"]))
        plan_timers(k)
    if owner["on_edge"] != 0:
        out.wake(k, mine["strategy"], np.int64(WAKE_OPEN), pair, np.int64(-1))


@part
def close_episode(k, pair, reason):
    """Close the pair's episode now: row, timer, wake."""
    mine = tables.pair(k, pair)
    owner = tables.strategy(k, mine["strategy"])
    edge = edge_ppb(k, pair) if reason == REASON_EDGE else np.int64(NULL)
    out.opportunity(k, pair, out.CLOSED, edge, reason)
    mine["status"] = PAIR_CLOSED
    _count_active(k, mine, -1)
    owner["open_pairs"] -= 1
    if owner["open_pairs"] == 0 and owner["timer_ns"] > 0:
        plan_timers(k)
    if owner["on_edge"] != 0:
        out.wake(k, mine["strategy"], np.int64(WAKE_CLOSE), pair, np.int64(-1))


@part
def _count_active(k, mine, change):
    """A pair became pending or open (1), or closed (-1): while one is active its screen has no caps."""
    if mine["screen"] >= 0:
        screen = tables.screen(k, mine["screen"])
        screen["active"] += change
        screen["bid_cap"] = -1.0


@part
def _is_eligible(k, mine):
    """Whether every feed that the pair rests on may be traded."""
    if tables.instrument(k, mine["sell"])["tradable"] == 0 or tables.instrument(k, mine["buy"])["tradable"] == 0:
        return False
    return mine["convert"] < 0 or tables.instrument(k, mine["convert"])["tradable"] != 0


@part
def check_pair(k, pair):
    """Bring the pair's episode up to date with its quotes."""
    mine = tables.pair(k, pair)
    bid = np.int64(NULL)
    ask = np.int64(NULL)
    if _is_eligible(k, mine):
        bid = sell_price(k, pair)
        ask = tables.instrument(k, mine["buy"])["ask"]
    known = bid != NULL and ask != NULL
    if mine["status"] == PAIR_OPEN:
        if not known:
            close_episode(k, pair, np.int64(REASON_FEED))
        elif not at_least(bid, mine["close_left"], ask, mine["close_right"]):
            close_episode(k, pair, np.int64(REASON_EDGE))
        else:
            _follow(k, pair)
        return
    above = known and at_least(bid, mine["open_left"], ask, mine["open_right"])
    if mine["status"] == PAIR_PENDING:
        if not above:
            mine["status"] = PAIR_CLOSED
            _count_active(k, mine, -1)
            k["pending_pairs"] -= 1
    elif above:
        _count_active(k, mine, 1)
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
    mine["edge"] = edge
    mine["best_edge"] = max(mine["best_edge"], edge)
    if owner["max_edge_ppb"] > 0:
        mine["abnormal"] = 1 if edge > owner["max_edge_ppb"] else 0
    if owner["on_edge"] != 0 and owner["improve_ppb"] > 0 and edge - mine["wake_edge"] >= owner["improve_ppb"]:
        mine["wake_edge"] = edge
        out.wake(k, mine["strategy"], np.int64(WAKE_IMPROVEMENT), pair, np.int64(-1))


@part
def scan_pairs(k, me):
    """Look at the pairs of an instrument whose quote or tradability changed.

    While every bid of a screen is at most its cap and every ask at least its floor, none of its pairs can open, and none is open:
    nothing needs a look. An untradable instrument has float_bid 0 and float_ask infinity.
    """
    beyond = False
    if me["screen"] >= 0:
        screen = tables.screen(k, me["screen"])
        beyond = me["float_bid"] > screen["bid_cap"] or me["float_ask"] < screen["ask_floor"]
    if beyond or me["always"] != 0:
        _scan(k, me, beyond)


@part
def _scan(k, me, beyond):
    """Look at each pair as sell side, buy side and conversion; then set the screen's caps anew where they were left."""
    buys = tables.buys(k)
    converts = tables.converts(k)
    for pair in range(me["sell_from"], me["sell_to"]):
        _look(k, pair)
    for at in range(me["buy_from"], me["buy_to"]):
        _look(k, buys[at])
    for at in range(me["convert_from"], me["convert_to"]):
        _look(k, converts[at])
    if beyond:
        _set_caps(k, tables.screen(k, me["screen"]))


@part
def _look(k, pair):
    """Check the pair unless it is closed and surely below its threshold.

    The filter's margin of 1e-12 is far above the rounding of the float operations behind it (fewer than eight of 2**-53 each).
    """
    mine = tables.pair(k, pair)
    if mine["status"] == PAIR_CLOSED:
        bid = tables.instrument(k, mine["sell"])["float_bid"] * mine["peg"]
        if mine["conversion"] == AT_BID:
            bid *= tables.instrument(k, mine["convert"])["float_bid"]
        elif mine["conversion"] == AT_ASK:
            bid /= tables.instrument(k, mine["convert"])["float_ask"]
        if bid < tables.instrument(k, mine["buy"])["float_ask"] * mine["open_low"]:
            return
    check_pair(k, pair)


@part
def _set_caps(k, screen):
    """Caps halfway (in ratio) between the screen's highest bid and lowest ask, where there is room and no pair is active."""
    screen["bid_cap"] = -1.0
    if screen["active"] > 0:
        return
    highest, lowest = 0.0, np.inf
    instruments = tables.screened(k)
    for at in range(screen["member_from"], screen["member_to"]):
        me = tables.instrument(k, instruments[at])
        highest = max(highest, me["float_bid"])
        lowest = min(lowest, me["float_ask"])
    if highest == 0.0 or lowest == np.inf:
        screen["bid_cap"], screen["ask_floor"] = highest, lowest
        return
    room = lowest * screen["open_low"] / highest
    if room > 1.0 + _SCREEN_ROOM:
        middle = highest * np.sqrt(room)
        screen["bid_cap"] = middle * (1.0 - _SCREEN_MARGIN)
        screen["ask_floor"] = middle / screen["open_low"] * (1.0 + _SCREEN_MARGIN)


@part
def refresh_floats(me):
    """Recompute the pre-filter's floats from the exact quote."""
    usable = me["tradable"] != 0
    me["float_bid"] = me["bid"] * me["float_unit"] if usable and me["bid"] != NULL else 0.0
    me["float_ask"] = me["ask"] * me["float_unit"] if usable and me["ask"] != NULL else np.inf
