"""Orders that earlier starts left without an end: they are looked up at their exchange before another start begins."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from xarb.log.reader import LogReader, Selection
from xarb.model.order import ORDER_TERMINAL
from xarb.model.units import MONEY_SCALE, Money
from xarb.starts import Span
from xarb.venues.liveorders import Expected
from xarb.venues.orderids import OrderName

_TELLING = ("start", "order", "event", "fill_id", "qty")
_ENDS = frozenset({"canceled", "expired", "rejected", "not_sent"})


def left_orders(reader: LogReader, span: Span) -> tuple[Expected, ...]:
    """The orders without an end as of the end of the log, the last start being `span`.

    What its engine wrote tells of its own orders; reports, which also come before a start and after the last input that an engine applied,
    tell of all.
    """
    found = {expected.name: expected for expected in map(_expected, span.start.opening.left)}
    for kind, row in reader.outputs(kinds=("commands", "orders", "fills"), select=span.selection):
        name = OrderName(span.start.number, row["order"])
        if kind == "commands":
            if row["kind"] == "submit":
                found[name] = Expected(
                    name=name,
                    account=row["account"],
                    strategy=row["strategy"],
                    venue=row["venue"],
                    symbol=row["symbol"],
                    side=row["side"],
                    qty=Money(row["qty_int"] * 10 ** (MONEY_SCALE - row["qty_scale"])),
                )
        elif kind == "orders":
            if row["state"] in ORDER_TERMINAL:
                found.pop(name, None)
        elif name in found:
            found[name] = _filled(found[name], row["fill_id"], row["qty"])
    since = Selection(
        first_seq=span.start.applied_seq
    )  # what is reported behind it was not known when the start wrote what was left
    for row in reader.rows("reports", columns=_TELLING, select=since):
        name = OrderName(row["start"] or 0, row["order"] or 0)
        expected = found.get(name)
        if expected is None:
            continue
        if row["event"] in _ENDS:
            del found[name]
        elif row["event"] == "fill" and row["fill_id"] not in expected.fill_ids:
            found[name] = _filled(expected, row["fill_id"], row["qty"])
    return tuple(one for one in found.values() if one.filled_qty < one.qty)


def as_opening(left: Iterable[Expected]) -> tuple[dict[str, object], ...]:
    """The orders as plain data, for the opening state of a start."""
    return tuple(msgspec.to_builtins(one) for one in left)


def _expected(plain: dict[str, object]) -> Expected:
    return msgspec.convert(plain, Expected)


def _filled(expected: Expected, fill_id: str, qty: int) -> Expected:
    return msgspec.structs.replace(expected, fill_ids=(*expected.fill_ids, fill_id), filled_qty=Money(expected.filled_qty + qty))
