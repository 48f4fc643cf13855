"""The kernel's memory under other parameters: what happened stays, what a config says is that of the new one.

What only spares a look (bands, caps, bounds of the next deadline) is forgotten: the next row looks again, and every verdict is taken on exact
integers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from xarb.engine.kernel import state
from xarb.engine.setup import FeedLimits
from xarb.model.units import INT64_MAX, NEVER

# What `setup` lays from a config; every other field is what happened, or follows from the instruments alone.
_PARAMETERS: Final = {
    state.INSTRUMENTS: (*FeedLimits.__struct_fields__, "events"),
    state.PAIRS: (
        *("open_low", "open_left", "open_right", "close_left", "close_right", "edge_left", "edge_right"),
        *("conversion", "convert", "convert_mul", "convert_div", "peg"),
    ),
    state.STRATEGIES: ("timer_ns", "needs_edge", "min_life_ns", "improve_ppb", "max_edge_ppb", "on_edge"),
    state.GROUPS: ("floor_ppb",),
    state.SCREENS: ("open_low",),
}
_FREEZES: Final = ("freeze_ns", "freeze_moves")
_JUDGED: Final = ("jump_ppb", "jump_low", "jump_high", "next_look")
Tables = Mapping[int, Any]


def parameters(kernel: state.KernelState) -> Tables:
    """What the config has laid into a kernel that has applied nothing."""
    return {table: kernel.tables[table].copy() for table in _PARAMETERS}


def lay_parameters(kernel: state.KernelState, laid: Tables) -> None:
    """Lay them over the memory of a kernel with the same instruments and pairs that went on with others."""
    before = {table: kernel.tables[table].copy() for table in (state.INSTRUMENTS, state.STRATEGIES)}
    for table, names in _PARAMETERS.items():
        mine: Any = kernel.tables[table]
        for name in names:
            mine[name] = laid[table][name]
    _lay_feeds(kernel, before[state.INSTRUMENTS], laid[state.INSTRUMENTS])
    _lay_timers(kernel, before[state.STRATEGIES])
    groups: Any = kernel.tables[state.GROUPS]
    groups["band_low"], groups["band_high"] = 1, 0
    screens: Any = kernel.tables[state.SCREENS]
    screens["bid_cap"] = -1.0
    world = kernel.world
    world["next_deadline"] = world["next_event"] = world["now"]


def _lay_feeds(kernel: state.KernelState, before: Any, laid: Any) -> None:
    """What is reckoned from limits of feeds and kept."""
    feeds: Any = kernel.tables[state.INSTRUMENTS]
    feeds["look_low"], feeds["look_high"] = 1, 0
    for number in range(len(feeds)):
        record = feeds[number]
        if any(record[name] != before[number][name] for name in _FREEZES):
            record["freeze_check"] = 0
        if record["jump_ppb"] != before[number]["jump_ppb"]:
            for name in _JUDGED:
                record[name] = laid[number][name]
        if record["spread_multiple"] != before[number]["spread_multiple"]:
            record["spread_bound"] = _spread_bound(record)
    links: Any = kernel.tables[state.CONNECTIONS]
    for number in range(len(feeds)):
        conn = int(feeds[number]["conn"])
        if conn >= 0 and feeds[number]["liveness_ns"] != before[number]["liveness_ns"]:
            links[conn]["liveness_ns"] = feeds[number]["liveness_ns"]


def _spread_bound(record: Any) -> int:
    """As the kernel has it after a sample."""
    usual, multiple = int(record["median_spread"]), int(record["spread_multiple"])
    known = record["spread_count"] >= state.SPREAD_SAMPLES // 2 and usual > 0 and multiple > 0
    return min(usual * multiple, INT64_MAX) if known else INT64_MAX


def _lay_timers(kernel: state.KernelState, before: Any) -> None:
    """A timer with another interval goes on at the next place of its own grid, one that is as before where it was."""
    world, soonest = kernel.world, NEVER
    now, count = int(world["now"]), int(world["count"][state.STRATEGIES])
    for number in range(count):
        record: Any = kernel.tables[state.STRATEGIES][number]
        period = int(record["timer_ns"])
        if period > 0 and period != before[number]["timer_ns"]:
            record["next_timer"] = np.int64(now // period + 1) * period
        if period > 0 and (record["open_pairs"] > 0 or record["needs_edge"] == 0):
            soonest = min(soonest, int(record["next_timer"]))
    world["next_timer"] = soonest
