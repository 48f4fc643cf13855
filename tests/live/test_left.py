"""Orders without an end, found by columns, beside the same found row by row."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import msgspec

from tests.log.logs import HEADER
from xarb.live.left import as_opening, left_orders
from xarb.log.reader import LogReader
from xarb.log.rows import outputs_to_table, tuples_to_table
from xarb.log.writer import LogWriter
from xarb.model.columns import TABLES, Type
from xarb.model.order import ORDER_TERMINAL
from xarb.model.units import Money
from xarb.starts import LIVE, Opening, Start, spans
from xarb.venues.liveorders import Expected
from xarb.venues.orderids import OrderName

ENDS = ("canceled", "expired", "rejected", "not_sent")
EVENTS = next(column.values for column in TABLES["reports"].columns if column.name == "event")
STATES = ("accepted", "partially_filled", "canceled", "filled", "unknown")


def row_of(kind: str, known: dict[str, Any]) -> tuple[Any, ...]:
    """A row with nothing in the columns that are not given."""
    empty: dict[Type, Any] = {Type.TEXT: "x"}
    return tuple(known.get(column.name, None if column.nullable else empty.get(column.type, 0)) for column in TABLES[kind].columns)


def expected(start: int, order: int, qty: int = 4) -> Expected:
    """An order of three venues' worth of nothing."""
    return Expected(
        name=OrderName(start, order), account="x", strategy="x", venue="x", symbol="x", side="buy", qty=Money(qty * 10**18)
    )


def write(folder: Path, draw: random.Random) -> Path:
    """Two starts, orders of the second and what became of them, in several segments; reports of both, and of others' orders."""
    with LogWriter.create(folder, HEADER, seal_rows=20) as writer:
        left = as_opening([expected(1, order) for order in (2, 3, 7)])
        for seq, (number, opening, applied) in enumerate([(1, (), None), (2, left, 0)]):
            start = Start(
                number=number,
                log_id="0",
                code_digest="",
                config={},
                seed=1,
                mode=LIVE,
                opening=Opening(balances=(), sources={}, armed=False, left=opening),
                applied_seq=applied,
            )
            writer.write("starts", tuples_to_table("starts", [(seq, seq, *start.row())]))
        writer.commit()
        sent = 0
        for seq in range(2, 150):
            order, start_ = draw.randrange(12), draw.choice([1, 2, 2, 2, None])
            said = {"order": order, "fill_id": str(draw.randrange(9)), "qty": draw.choice([1, 2, 4]) * 10**18, "qty_int": 4}
            said |= {"qty_scale": 0, "after_seq": seq, "ts": seq, "kind": "submit", "side": "buy", "liquidity": "taker"}
            event = EVENTS.index(draw.choice([*ENDS[:2], "accepted", "fill", "fill", "fill"]))
            report = {"seq": seq, "ts_recv": seq, "event": event, "start": start_, "order": None if start_ is None else order}
            report |= {"side": 0, "liquidity": 0}  # of inputs they are indices
            writer.write("reports", tuples_to_table("reports", [row_of("reports", said | report)]))
            kind = draw.choice(["commands", "orders", "fills"])
            if kind == "commands":
                sent += 1
                said["order"] = sent
                said["kind"] = draw.choice(["submit", "submit", "cancel"])
            elif sent:
                said["order"] = draw.randrange(1, sent + 1)
            if kind == "commands" or sent:
                values = said | {"n": 0, "state": draw.choice(STATES)}
                writer.write(kind, outputs_to_table(kind, [(kind, *row_of(kind, values))]))
            writer.commit()
    return folder


def naive(reader: LogReader) -> set[Expected]:
    """Row by row, in the order of the log."""
    span = list(spans(reader))[-1]
    found = {one.name: one for one in (msgspec.convert(plain, Expected) for plain in span.start.opening.left)}
    for kind, row in reader.outputs(kinds=("commands", "orders", "fills"), select=span.selection):
        name = OrderName(span.start.number, row["order"])
        if kind == "commands" and row["kind"] == "submit":
            found[name] = expected(*name)
        elif kind == "orders" and row["state"] in ORDER_TERMINAL:
            found.pop(name, None)
        elif kind == "fills" and name in found:
            found[name] = filled(found[name], row)
    for row in reader.rows("reports"):
        one = found.get(OrderName(row["start"] or 0, row["order"] or 0))
        if one is not None and row["event"] in ENDS:
            del found[one.name]
        elif one is not None and row["event"] == "fill" and row["fill_id"] not in one.fill_ids:
            found[one.name] = filled(one, row)
    return {one for one in found.values() if one.filled_qty < one.qty}


def filled(one: Expected, row: dict[str, Any]) -> Expected:
    """The order with a fill more."""
    return msgspec.structs.replace(one, fill_ids=(*one.fill_ids, row["fill_id"]), filled_qty=Money(one.filled_qty + row["qty"]))


def test_orders_that_are_left_are_those_found_row_by_row(tmp_path: Path) -> None:
    """Twenty logs of any order of things: same orders, same fills; some are left in many of them."""
    several = 0
    for seed in range(20):
        folder = write(tmp_path / str(seed), random.Random(seed))  # noqa: S311  # a test's draw
        with LogReader(folder) as reader:
            [*_, span] = spans(reader)
            found = left_orders(reader, span)
            assert set(found) == naive(reader)
            assert len(set(found)) == len(found)
            several += len(found) > 2
    assert several > 2


def test_nothing_is_left_before_anything_was_sent(tmp_path: Path) -> None:
    """A log with a start alone."""
    opening = Opening(balances=(), sources={}, armed=False)
    start = Start(number=1, log_id="0", code_digest="", config={}, seed=1, mode=LIVE, opening=opening, applied_seq=None)
    with LogWriter.create(tmp_path / "log", HEADER) as writer:
        writer.write("starts", tuples_to_table("starts", [(0, 0, *start.row())]))
        writer.commit()
    with LogReader(tmp_path / "log") as reader:
        [span] = spans(reader)
        assert left_orders(reader, span) == ()
