"""The market events that a decision rested on: the recorded rows by their seq, of whatever kind, with their age at the decision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from xarb.inquiry.decided import Decided
from xarb.inquiry.sections import Section, millis, moment_of, scaled
from xarb.model.columns import INPUTS, KERNEL_KINDS

_MESSAGE_ROWS: Final = 20_000  # how far around a changed level its message is looked for
_COLUMNS: Final = ("seq", "kind", "is", "venue", "symbol", "received", "age_ms", "lag_ms", "venue_seq", "content")
Row = Mapping[str, Any]


def evidence(decided: Decided, roles: Mapping[int, Sequence[str]], ts: int) -> Section:
    """The rows that a decision at `ts` rested on, and the messages that they belong to.

    `age_ms` is from our receipt to the decision, `lag_ms` from the venue's time to our receipt.

    Args:
        decided: the run or start.
        roles: by seq, what the row was to the decision.
        ts: when it was decided, ns.
    """
    found: dict[int, tuple[str, Row, str]] = {}
    gone: list[tuple[Any, ...]] = []
    for seq in sorted(roles):
        if seq < 0:
            continue  # nothing had set that side
        message = _message(decided, seq)
        if not message:
            gone.append((seq, None, ", ".join(roles[seq]), *[None] * (len(_COLUMNS) - 4), "this row is not in the log any more"))
        for kind, row in message:
            role = ", ".join(roles.get(row["seq"], ())) or "of the same message"
            found[row["seq"]] = (kind, row, role)
    rows = gone + [
        _line(*found[seq], ts) for seq in sorted(found, key=lambda seq: (seq not in roles, seq))
    ]  # what it rested on comes first
    return Section("evidence", "The market events that it rested on, with their age at the decision", _COLUMNS, rows)


def _message(decided: Decided, seq: int) -> list[tuple[str, Row]]:
    """The row with that seq, and if it is a changed level all rows of its message."""
    for kind in (*KERNEL_KINDS, *(one for one in INPUTS if one not in KERNEL_KINDS)):
        rows = decided.rows(kind, ("seq", "=", seq))
        if rows and kind == "book_deltas":
            return [(kind, row) for row in _of_message(decided, rows[0])]
        if rows:
            return [(kind, rows[0])]
    return []


def _of_message(decided: Decided, row: Row) -> list[Row]:
    """The rows of a message follow each other and end with `is_last`."""
    same = (("venue", "=", row["venue"]), ("symbol", "=", row["symbol"]), ("conn", "=", row["conn"]))
    near = (("seq", ">=", row["seq"] - _MESSAGE_ROWS), ("seq", "<=", row["seq"] + _MESSAGE_ROWS))
    message: list[Row] = []
    for one in decided.rows("book_deltas", *same, *near):
        message.append(one)
        if one["is_last"]:
            if one["seq"] >= row["seq"]:
                return message
            message = []
    return message


def _line(kind: str, row: Row, role: str, ts: int) -> tuple[Any, ...]:
    event = row.get("ts_event")
    lag = None if event is None else row["ts_recv"] - event
    return (
        row["seq"],
        kind,
        role,
        row.get("venue"),
        row.get("symbol"),
        moment_of(row["ts_recv"]),
        millis(ts - row["ts_recv"]),
        millis(lag),
        row.get("venue_seq"),
        _content(kind, row),
    )


def _content(kind: str, row: Row) -> str:
    """What the row says, exactly."""
    if kind == "quotes":
        return _sides(row, "bid_int", "bid_qty_int", "ask_int", "ask_qty_int")
    if kind == "books":
        return _sides(row, "bid_00_int", "bid_qty_00_int", "ask_00_int", "ask_qty_00_int") + ", a whole book"
    if kind == "book_deltas":
        if row["side"] is None:
            return "an empty message"
        what = "snapshot " if row["is_snapshot"] else ""
        return f"{what}{row['side']} {_priced(row, row['price_int'], row['qty_int'])}, {row['verdict']}"
    if kind == "trades":
        return f"trade {_priced(row, row['price_int'], row['qty_int'])}, {row['aggressor']}"
    return ", ".join(f"{name} {value}" for name, value in row.items() if name not in ("seq", "ts_recv") and value is not None)


def _sides(row: Row, bid: str, bid_qty: str, ask: str, ask_qty: str) -> str:
    return f"bid {_priced(row, row[bid], row[bid_qty])}, ask {_priced(row, row[ask], row[ask_qty])}"


def _priced(row: Row, price: int | None, qty: int | None) -> str:
    if price is None:
        return "none"
    size = scaled(qty, row["qty_scale"])
    return f"{scaled(price, row['px_scale'])} x {'unknown' if size is None else size}"
