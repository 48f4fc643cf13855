"""Cycles on chains in a course: each is one order, whose plan is its hops and what pays, and whose outcome is what its receipt says."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, Final

from xarb.inquiry.decided import Decided

PURPOSE: Final = "cycle"
_LAST: Final = "final"  # says nothing new of what became of it


def cycle_fields(
    decided: Decided, flows: Mapping[int, tuple[dict[str, int], dict[str, int]]]
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each cycle's bundle, and the fields of it as an order, in the order of their numbers.

    Args:
        decided: the side.
        flows: by order what the ledger says it changed, profits and gas together, and fees of exchanges.
    """
    states: defaultdict[int, list[dict[str, Any]]] = defaultdict(list)
    for row in decided.rows("cycle_states"):
        states[row["order"]].append(row)
    wishes = decided.rows("cycles")
    for row in wishes:
        if row["kind"] != "submit":
            continue
        number, told = row["order"], states[row["order"]]
        last = next(state for state in reversed(told) if state["state"] != _LAST)
        what = f"{row['hops']}, {row['funding']} {row['lender']}".rstrip() + f", at least {row['min_profit']}"
        yield (
            row["bundle"],
            {
                "number": number,
                "leg": 0,
                "attempt": 0,
                "purpose": PURPOSE,
                "market": (row["venue"], row["hops"].split()[1]),
                "plan": (what, row["channel"], int(row["ceiling_wei"]), row["notional"]),
                "account": row["account"],
                "ts": row["ts"],
                "state": last["state"],
                "reason": last["reason"],
                "fills": (),
                "trades": dict(flows[number][0]),
                "fees": {},
                "heard_ns": told[1]["ts"] - row["ts"] if len(told) > 1 else None,
                "canceled": tuple(one["ts"] for one in wishes if one["kind"] == "cancel" and one["order"] == number),
            },
        )
