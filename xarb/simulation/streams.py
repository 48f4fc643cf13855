"""What the loss of a private stream does to orders: each that left and has not ended is of unknown fate from there on, and the log says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from xarb.simulation.log import Found
from xarb.venues.accountdesk import STREAM_LOST

_STATES: Final = ("sent", "accepted", "fill", "unknown", "canceled", "expired", "rejected", "not_sent")
_ENDS: Final = ("canceled", "expired", "rejected", "not_sent")
Say = Callable[[str, str], None]


class _Order(msgspec.Struct):
    """An order as its reports tell it; `lost_seq`: the loss from which on nobody tells of it, until the next report."""

    venue: str
    left: int
    is_unknown: bool = False
    has_end: bool = False
    lost_seq: int = 0


def judge_losses(found: Found, say: Say) -> None:
    """Judge a log: behind a loss the next that is said of an order is that nobody knows; a process that dies in between says nothing more."""
    qty = {
        row["client_order_id"]: row["qty_int"] * 10 ** (18 - row["qty_scale"])
        for row in found["commands"]
        if row["kind"] == "submit"
    }
    orders: dict[str, _Order] = {}
    rows = [("starts", row) for row in found["starts"]] + [("health", row) for row in found["health"]]
    rows += [("reports", row) for row in found["reports"] if row["event"] in _STATES and row["client_order_id"] in qty]
    for kind, row in sorted(rows, key=lambda one: one[1]["seq"]):
        if kind == "starts":
            orders.clear()  # what its process knew died with it
        elif kind == "reports":
            one = orders.setdefault(row["client_order_id"], _Order(row["venue"], qty[row["client_order_id"]]))
            _report(one, row, say)
        elif (row["metric"], row["value"]) == (STREAM_LOST, 1):
            for one in orders.values():
                if one.venue == row["venue"] and one.left and not one.has_end and not one.is_unknown:
                    one.lost_seq = row["seq"]


def _report(one: _Order, row: dict[str, Any], say: Say) -> None:
    event = row["event"]
    if one.lost_seq and event != "unknown":
        say(
            "stream_lost",
            f"{row['client_order_id']}: behind the loss at seq {one.lost_seq} {event} is told, and not that nobody knows",
        )
    one.lost_seq = 0
    one.is_unknown = event == "unknown"
    one.has_end = one.has_end or event in _ENDS
    if event == "fill":
        one.left -= row["qty"]
