"""Swaps along a path on chains in a course: each is one order of a bundle, whose plan is its hops, and whose outcome is what its receipt says."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, Final

from xarb.inquiry.decided import Decided

PURPOSE: Final = "swap"
_LAST: Final = "final"  # says nothing new of what became of it


def swap_fields(
    decided: Decided, flows: Mapping[int, tuple[dict[str, int], dict[str, int]]]
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each swap's bundle, and the fields of it as an order, in the order of their numbers.

    Args:
        decided: the side.
        flows: by order what the ledger says it changed, swaps and gas together, and fees of exchanges.
    """
    wishes = [row for row in decided.rows("cycles") if row["kind"] == "cancel" or row["token_out"] is not None]
    if not any(row["kind"] == "submit" for row in wishes):
        return
    states: defaultdict[int, list[dict[str, Any]]] = defaultdict(list)
    for row in decided.rows("cycle_states"):
        states[row["order"]].append(row)
    for row in wishes:
        if row["kind"] != "submit":
            continue
        number, told = row["order"], states[row["order"]]
        last = next(state for state in reversed(told) if state["state"] != _LAST)
        yield (
            row["bundle"],
            {
                "number": number,
                "leg": 0,
                "attempt": 0,
                "purpose": PURPOSE,
                "market": (row["venue"], row["hops"].split()[1]),
                "plan": (f"{row['hops']}, at least {row['min_out']}", row["channel"], int(row["ceiling_wei"]), row["amount"]),
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
