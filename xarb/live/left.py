"""Orders that earlier starts left without an end: they are looked up at their exchange before another start begins."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np
import pyarrow as pa

from xarb.log.reader import LogReader, Selection
from xarb.log.rows import from_table
from xarb.model.columns import TABLES
from xarb.model.order import ORDER_TERMINAL
from xarb.model.units import MONEY_SCALE, Money
from xarb.starts import Span
from xarb.venues.liveorders import Expected
from xarb.venues.orderids import OrderName

if TYPE_CHECKING:
    from numpy.typing import NDArray

_COLUMNS: Final = {
    "commands": ("account", "strategy", "venue", "symbol", "kind", "order", "side", "qty_int", "qty_scale"),
    "fills": ("order", "fill_id", "qty"),
    "reports": ("start", "order", "event", "fill_id", "qty"),
}
_ENDS: Final = frozenset({"canceled", "expired", "rejected", "not_sent"})


def _places(kind: str, name: str, values: Iterable[str]) -> tuple[str, list[int]]:
    """An enum column and the indices of some of its values."""
    known = next(column.values for column in TABLES[kind].columns if column.name == name)
    return name, [known.index(value) for value in values]


_SUBMIT: Final = _places("commands", "kind", ("submit",))
_TERMINAL: Final = _places("orders", "state", sorted(ORDER_TERMINAL))


def left_orders(reader: LogReader, span: Span) -> tuple[Expected, ...]:
    """The orders without an end as of the end of the log, the last start being `span`.

    What its engine wrote tells of its own orders; reports, which also come before a start and after the last input that an engine applied,
    tell of all. Of a long session millions of rows are looked at, and only those of orders that are open become Python values.
    """
    found = {expected.name: expected for expected in map(_expected, span.start.opening.left)}
    number = span.start.number
    ended = _orders_of(reader, "orders", span.selection, _TERMINAL)
    open_ = np.setdiff1d(_orders_of(reader, "commands", span.selection, _SUBMIT), ended)
    for row in _rows_of(reader, "commands", open_, span.selection):
        if row["kind"] == "submit":
            name = OrderName(number, row["order"])
            found[name] = Expected(
                name=name,
                account=row["account"],
                strategy=row["strategy"],
                venue=row["venue"],
                symbol=row["symbol"],
                side=row["side"],
                qty=Money(row["qty_int"] * 10 ** (MONEY_SCALE - row["qty_scale"])),
            )
    for row in _rows_of(reader, "fills", open_, span.selection):
        name = OrderName(number, row["order"])
        found[name] = _filled(found[name], row["fill_id"], row["qty"])
    # what is reported behind `applied_seq` was not known when the start wrote what was left
    since = Selection(first_seq=span.start.applied_seq)
    for row in _rows_of(reader, "reports", np.array([name.order for name in found], np.int64), since):
        name = OrderName(row["start"] or 0, row["order"])
        expected = found.get(name)
        if expected is None:
            continue
        if row["event"] in _ENDS:
            del found[name]
        elif row["event"] == "fill" and row["fill_id"] not in expected.fill_ids:
            found[name] = _filled(expected, row["fill_id"], row["qty"])
    return tuple(one for one in found.values() if one.filled_qty < one.qty)


def _orders_of(reader: LogReader, kind: str, select: Selection, which: tuple[str, list[int]]) -> NDArray[np.int64]:
    """The numbers of the orders of rows in which an enum column has one of these values."""
    column, values = which
    found = [np.array([], np.int64)]
    for part in reader.tables(kind, ("order", column), select):
        found.append(part.column("order").to_numpy()[np.isin(part.column(column).to_numpy(), values)])
    return np.concatenate(found)


def _rows_of(reader: LogReader, kind: str, orders: NDArray[np.int64], select: Selection) -> Iterator[dict[str, Any]]:
    """The rows of these orders, of whatever start."""
    if not len(orders):
        return
    for part in reader.tables(kind, _COLUMNS[kind], select):
        mine = np.isin(part.column("order").fill_null(-1).to_numpy(), orders)
        if mine.any():
            yield from from_table(kind, part.filter(pa.array(mine)))


def as_opening(left: Iterable[Expected]) -> tuple[dict[str, object], ...]:
    """The orders as plain data, for the opening state of a start."""
    return tuple(msgspec.to_builtins(one) for one in left)


def _expected(plain: dict[str, object]) -> Expected:
    return msgspec.convert(plain, Expected)


def _filled(expected: Expected, fill_id: str, qty: int) -> Expected:
    return msgspec.structs.replace(expected, fill_ids=(*expected.fill_ids, fill_id), filled_qty=Money(expected.filled_qty + qty))
