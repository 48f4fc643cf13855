"""Bundles of all starts together: each comes to an end, once, and what is left of their fills is what became inventory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from xarb.model.units import MONEY_ONE
from xarb.simulation.log import Found

_BASE: Final = "BTC"
_DONE: Final = ("closed", "held")
Say = Callable[[str, str], None]
_Name = tuple[int, int]  # the start in which it began, and its number there


def judge_endings(found: Found, say: Say) -> None:
    """Judge a log whose last start came to rest."""
    rows = sorted(found.get("bundles", ()), key=lambda row: (row["after_seq"], row["n"]))
    starts = [(row["seq"], row["number"]) for row in found["starts"]]
    names: dict[_Name, _Name] = {}  # by start and number there
    states: dict[_Name, str] = {}
    carried: dict[_Name, list[int]] = {}  # the starts that took it up
    for row in rows:
        start = max(number for seq, number in starts if seq <= row["after_seq"])
        here = (start, row["bundle"])
        if row["event"] in ("carried", "kept"):
            plan = msgspec.json.decode(row["plan"])
            name = names[here] = (plan["start"], plan["bundle"])
            carried.setdefault(name, []).append(start)
            if row["event"] == "carried" and states.get(name) in _DONE and not _has_late_fill(found, name, row):
                say("endings", f"bundle {name} ended, and start {start} goes on with it")
        else:
            name = names.setdefault(here, here)
        states[name] = row["event"]
    for name, state in states.items():
        if state not in (*_DONE, "kept"):
            say("endings", f"bundle {name[1]} of start {name[0]} has no end: {state}")
    for name, where in carried.items():
        if len(set(where)) != len(where):
            say("endings", f"bundle {name} is taken up twice by one start: {where}")
    _judge_inventory(found, say)


def _has_late_fill(found: Found, name: _Name, row: Mapping[str, Any]) -> bool:
    """Whether a fill of it was told before that row, of which no start that went before knew."""
    orders = {one["order"] for one in found["commands"] if one["kind"] == "submit" and one["bundle"] == name[1]}
    return any(
        one["event"] == "fill" and one["start"] == name[0] and one["order"] in orders and one["seq"] < row["after_seq"]
        for one in found["reports"]
    )


def _judge_inventory(found: Found, say: Say) -> None:
    """What all fills of a strategy that were ever told add up to in what must end at zero is what residuals booked."""
    owners = {one["client_order_id"]: one["strategy"] for one in found["commands"] if one["kind"] == "submit"}
    sides = {one["client_order_id"]: one["side"] for one in found["commands"] if one["kind"] == "submit"}
    flows: dict[str, int] = {}
    told: set[tuple[str, str]] = set()
    for row in found["reports"]:
        owner, fill = owners.get(row["client_order_id"]), (row["venue"], row["fill_id"])
        if row["event"] != "fill" or owner is None or fill in told:
            continue
        told.add(fill)
        sign = 1 if sides[row["client_order_id"]] == "buy" else -1
        flows[owner] = flows.get(owner, 0) + sign * row["qty"] - (row["fee"] if row["fee_asset"] == _BASE else 0)
    for row in found["residuals"]:
        if row["asset"] == _BASE:
            flows[row["strategy"]] = flows.get(row["strategy"], 0) - row["qty"]
    for owner, left in sorted(flows.items()):
        if left:
            say("inventory", f"{left / MONEY_ONE} {_BASE} of {owner} is neither flat nor booked, in all starts")
