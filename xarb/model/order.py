"""Life cycles as tables: an illegal pair raises. The diagrams in the documentation are generated from these tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from xarb.errors import InvariantBroken

# FIX order states. A fill may arrive in any state: quantity follows fills, not the state.
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
    ("accepted", "canceled"): "canceled",
    ("accepted", "expired"): "expired",
    ("accepted", "unknown"): "unknown",
    ("partially_filled", "accepted"): "partially_filled",
    ("partially_filled", "partial_fill"): "partially_filled",
    ("partially_filled", "full_fill"): "filled",
    ("partially_filled", "canceled"): "canceled",
    ("partially_filled", "expired"): "expired",
    ("partially_filled", "unknown"): "unknown",
    ("filled", "accepted"): "filled",
    ("filled", "canceled"): "filled",
    ("filled", "expired"): "filled",
    ("canceled", "accepted"): "canceled",
    ("canceled", "canceled"): "canceled",  # a cancel of a done order is answered
    ("canceled", "partial_fill"): "canceled",
    ("canceled", "full_fill"): "filled",
    ("expired", "accepted"): "expired",
    ("expired", "canceled"): "expired",
    ("expired", "partial_fill"): "expired",
    ("expired", "full_fill"): "filled",
    ("rejected", "canceled"): "rejected",
    ("unknown", "accepted"): "accepted",
    ("unknown", "partial_fill"): "partially_filled",
    ("unknown", "full_fill"): "filled",
    ("unknown", "rejected"): "rejected",
    ("unknown", "canceled"): "canceled",
    ("unknown", "expired"): "expired",
    ("unknown", "unknown"): "unknown",
}
ORDER_TERMINAL: Final = frozenset({"filled", "canceled", "rejected", "expired"})

# A bundle: its planned legs, then the residual if the legs did not balance.
BUNDLE_LIFE: Final[dict[tuple[str, str], str]] = {
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
    ("closed", "late_fill"): "residual",
}


def advance(table: Mapping[tuple[str, str], str], state: str, event: str) -> str:
    """The state that follows `state` on `event`.

    Raises:
        InvariantBroken: the table has no such pair.
    """
    try:
        return table[state, event]
    except KeyError:
        raise InvariantBroken(f"no transition from {state!r} on {event!r}") from None
