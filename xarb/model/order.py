"""Life cycles as tables: an illegal pair raises. The diagrams in the documentation are generated from these tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, get_args

from xarb.errors import InvariantBroken

# FIX order states. The table is total: a venue may say anything at any time. A fill may arrive in any state: quantity follows fills,
# not the state. A state that was final stays, but for the fill that completes the order.
ORDER_LIFE: Final[dict[tuple[str, str], str]] = {
    ("pending", "accepted"): "accepted",
    ("pending", "partial_fill"): "partially_filled",
    ("pending", "full_fill"): "filled",
    ("pending", "rejected"): "rejected",
    ("pending", "canceled"): "canceled",
    ("pending", "expired"): "expired",
    ("pending", "unknown"): "unknown",
    ("accepted", "accepted"): "accepted",
    ("accepted", "partial_fill"): "partially_filled",
    ("accepted", "full_fill"): "filled",
    ("accepted", "rejected"): "rejected",
    ("accepted", "canceled"): "canceled",
    ("accepted", "expired"): "expired",
    ("accepted", "unknown"): "unknown",
    ("partially_filled", "accepted"): "partially_filled",
    ("partially_filled", "partial_fill"): "partially_filled",
    ("partially_filled", "full_fill"): "filled",
    ("partially_filled", "rejected"): "canceled",
    ("partially_filled", "canceled"): "canceled",
    ("partially_filled", "expired"): "expired",
    ("partially_filled", "unknown"): "unknown",
    ("unknown", "accepted"): "accepted",
    ("unknown", "partial_fill"): "partially_filled",
    ("unknown", "full_fill"): "filled",
    ("unknown", "rejected"): "rejected",
    ("unknown", "canceled"): "canceled",
    ("unknown", "expired"): "expired",
    ("unknown", "unknown"): "unknown",
} | {
    (final, event): "filled" if event == "full_fill" else final
    for final in ("filled", "canceled", "expired", "rejected")
    for event in ("accepted", "partial_fill", "full_fill", "rejected", "canceled", "expired", "unknown")
}
ORDER_TERMINAL: Final = frozenset({"filled", "canceled", "rejected", "expired"})
# What a report says of an order's state, and what it means for one with fills.
_REPORTED: Final = {one: one for one in ("accepted", "canceled", "rejected", "expired", "unknown")} | {
    "not_sent": "rejected"  # certain that nothing happened at the venue
}
_AFTER_FILLS: Final = {"accepted": "partial_fill", "rejected": "canceled"}

# A bundle: its planned legs, then the residual if the legs did not balance. One that an earlier start left begins as `carried`.
CARRIED: Final = "carried"  # an earlier start left it without an end; it keeps still until the operator arms
BUNDLE_LIFE: Final[dict[tuple[str, str], str]] = {
    ("carried", "balanced"): "closed",
    ("carried", "nothing_filled"): "closed",
    ("carried", "residual"): "residual",
    ("open", "balanced"): "closed",
    ("open", "nothing_filled"): "closed",
    ("open", "residual"): "residual",
    ("residual", "hedge_sent"): "hedging",
    ("residual", "unwind_sent"): "unwinding",
    ("residual", "dust"): "closed",
    ("residual", "held"): "held",
    ("residual", "balanced"): "closed",
    ("hedging", "residual"): "residual",
    ("hedging", "balanced"): "closed",
    ("unwinding", "residual"): "residual",
    ("unwinding", "balanced"): "closed",
    ("held", "closed_by_operator"): "closed",
    ("held", "late_fill"): "residual",
    ("closed", "late_fill"): "residual",
}
BUNDLE_DONE: Final = frozenset({"closed", "held"})

# A leg of a bundle, as its orders stand, those that flatten it among them: `sent` while one may fill, `unknown` while nobody knows of those that may,
# else by how much of the plan filled. No second order leaves for one that is `sent` or `unknown`, pieces of a leg that waits for another apart. What
# filled is never less: a leg that has ended may have a late fill, and a flattening order, and no order of it comes to life again. One that is
# `planned` was never sent; from there any state may be found at a start.
_LEG_ENDS: Final = ("missed", "partial", "filled")
LEG_LIFE: Final[dict[tuple[str, str], str]] = (
    {(state, "sent"): "sent" for state in ("planned", "sent", "unknown", *_LEG_ENDS)}
    | {(state, "unknown"): "unknown" for state in ("planned", "sent", "unknown")}
    | {(state, end): end for state in ("planned", "sent", "unknown") for end in _LEG_ENDS}
    | {(_LEG_ENDS[at], end): end for at in range(3) for end in _LEG_ENDS[at:]}
)
LEG_OPEN: Final = frozenset({"sent", "unknown"})

# Whether a venue gets new bundles: freely, none, or one small one at a time that shows whether it works again.
BREAKER_LIFE: Final[dict[tuple[str, str], str]] = {
    ("closed", "tripped"): "open",
    ("open", "tripped"): "open",
    ("open", "paused"): "half_open",
    ("half_open", "tripped"): "open",
    ("half_open", "proven"): "closed",
}

# A transaction of ours: `intent` is in the log before anything leaves, and takes a nonce. A dropped one left its nonce unspent, but whoever kept
# it may bring it in later; a replaced one lost its nonce to another; a reorganised chain takes back what it held; what is deep is final.
TRANSACTION_LIFE: Final[dict[tuple[str, str], str]] = {
    ("intent", "sent"): "sent",
    ("intent", "not_sent"): "dropped",
    ("intent", "unknown"): "unknown",
    ("sent", "sent"): "sent",
    ("unknown", "sent"): "sent",
    ("dropped", "sent"): "sent",
    ("sent", "unknown"): "unknown",
    ("unknown", "unknown"): "unknown",
    ("mined", "reorged"): "sent",
    ("replaced", "reorged"): "sent",
    ("mined", "final"): "final",
    ("replaced", "final"): "final",
} | {
    (state, event): event
    for state in ("intent", "sent", "unknown", "dropped")
    for event in ("mined", "replaced", "dropped")
    if (state, event) != ("dropped", "dropped")
}
TRANSACTION_OPEN: Final = frozenset({"intent", "sent", "unknown"})  # may be mined as it is

# A cycle of ours on a chain, whatever transactions bid for it: receipts alone fill it. A chain that is reorganised takes a receipt back; a dropped
# one is over, but whoever kept its transaction may still bring it in. `refused`: no transaction was made; `final`: its block is deep enough.
CYCLE_LIFE: Final[dict[tuple[str, str], str]] = (
    {("pending", "refused"): "refused", ("sent", "refused"): "sent"}
    | {(state, event): "sent" for state in ("pending", "sent") for event in ("sent", "unknown")}
    | {(state, event): event for state in ("pending", "sent") for event in ("succeeded", "reverted", "dropped")}
    | {(state, event): state for state in ("succeeded", "reverted") for event in ("sent", "unknown", "refused", "dropped")}
    | {(state, "reorged"): "sent" for state in ("succeeded", "reverted")}
    | {(state, "final"): "final" for state in ("succeeded", "reverted", "dropped")}
    | {("dropped", event): event for event in ("succeeded", "reverted")}
    | {("dropped", event): "dropped" for event in ("sent", "unknown", "refused", "dropped")}
)
CYCLE_OPEN: Final = frozenset({"pending", "sent"})  # may still be included

# How far a kill goes, each level with all before it but that `unwind` sends the orders that undo; none goes back without a reset.
ENTRIES: Final = "entries"  # no new bundles; those under way end by their policy
CANCEL: Final = "cancel"  # every order is canceled and nothing more is sent: what is left is held
UNWIND: Final = "unwind"  # every order is canceled, and what is left is undone within its caps
STOP: Final = "stop"  # as `cancel`, and the process ends
KillLevel = Literal["entries", "cancel", "unwind", "stop"]
KILL_LEVELS: Final = get_args(KillLevel)


def order_event(reported: str, *, has_fills: bool) -> str | None:
    """The event of `ORDER_LIFE` that a report is, None for a fill and for one that says nothing of the state."""
    event = _REPORTED.get(reported)
    return _AFTER_FILLS.get(event, event) if has_fills and event is not None else event


def advance(table: Mapping[tuple[str, str], str], state: str, event: str) -> str:
    """The state that follows `state` on `event`.

    Raises:
        InvariantBroken: the table has no such pair.
    """
    try:
        return table[state, event]
    except KeyError:
        raise InvariantBroken(f"no transition from {state!r} on {event!r}") from None
