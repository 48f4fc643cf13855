"""The life of a feed: its states, what may happen to it, the table FEED_LIFE of what each event makes of each state, and rule numbers.

The kernel walks the compiled form NEXT_STATE. Rules are those of columns.QUOTE_RULES.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xarb.model.columns import QUOTE_RULES, QUOTE_STATES

FEED_EVENTS = ("good", "same", "crossed", "outlying", "frozen", "silent", "gap", "lost", "connected")


def _indices(names: Sequence[str]) -> list[np.int64]:
    """Numbers of the names as numpy integers: of plain ones numba would compile each called function once a value."""
    return [np.int64(number) for number in range(len(names))]


GOOD, SAME, CROSSED_ROW, OUTLYING_ROW, FROZEN_ROW, SILENT, GAP, LOST, CONNECTED = _indices(FEED_EVENTS)

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
NEXT_STATE = np.array(
    [[QUOTE_STATES.index(FEED_LIFE[state, event]) for event in FEED_EVENTS] for state in QUOTE_STATES], dtype=np.int64
)
LIVE = QUOTE_STATES.index("live")
DOWN = QUOTE_STATES.index("down")
GAPPED = QUOTE_STATES.index("gapped")
FROZEN = QUOTE_STATES.index("frozen")
OUTLYING = QUOTE_STATES.index("outlying")

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
    JUMP,
) = _indices(QUOTE_RULES)
