"""Rows that the kernel writes: outputs with their place in the total order, and wakes for the strategies."""

# No `from __future__ import annotations`: numba reads signatures of compiled functions.
from xarb.engine.kernel import tables
from xarb.engine.kernel.compiled import part
from xarb.engine.kernel.state import OUT_FEED, OUT_FLAG, OUT_OPPORTUNITY
from xarb.model.units import NULL

OPENED, DECIDED, CLOSED = range(3)  # as columns.OPPORTUNITY_PHASES


@part
def _row(k, kind):
    at = k["outs"]
    row = tables.out_row(k, at)
    row[0] = kind
    row[1] = k["last_seq"]
    row[2] = k["n"]
    row[3] = k["now"]
    k["n"] += 1
    k["outs"] = at + 1
    return row


@part
def flag(k, inst, rule, value, bound):
    """A `flags` row for the current input."""
    row = _row(k, OUT_FLAG)
    row[4] = inst
    row[5] = rule
    row[6] = value
    row[7] = bound


@part
def feed_state(k, inst, previous):
    """A `feed_states` row with the instrument's present state."""
    me = tables.instrument(k, inst)
    row = _row(k, OUT_FEED)
    row[4] = inst
    row[5] = me["state"]
    row[6] = previous
    row[7] = me["score"]
    row[8] = me["tradable"]
    k["feed_changes"] += 1


@part
def opportunity(k, pair, phase, edge, reason):
    """An `opportunities` row of the pair's episode; `edge` may be null."""
    mine = tables.pair(k, pair)
    sell = tables.instrument(k, mine["sell"])
    buy = tables.instrument(k, mine["buy"])
    row = _row(k, OUT_OPPORTUNITY)
    row[4] = pair
    row[5] = phase
    row[6] = mine["opportunity"]
    row[7] = edge
    row[8] = mine["best_edge"]
    row[9] = sell["bid"]
    row[10] = buy["ask"]
    row[11] = sell["bid_seq"]
    row[12] = buy["ask_seq"]
    row[13] = reason
    row[14] = k["now"] - mine["since"] if phase == CLOSED else NULL


@part
def wake(k, strategy, kind, pair, inst):
    """Queue a wake; the kernel returns after the current input or deadline."""
    at = k["wakes"]
    row = tables.wake_row(k, at)
    row[0] = strategy
    row[1] = kind
    row[2] = pair
    row[3] = inst
    k["wakes"] = at + 1
    k["wake_count"] += 1
