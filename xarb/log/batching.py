"""Rows as `RowBuilder` makes them to the batch that the engine folds: the same batch that a reader makes of them once they are sealed."""

from __future__ import annotations

from array import array
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from xarb.errors import InvariantBroken
from xarb.log.decode import frozen
from xarb.model.batch import (
    LEVELS,
    NO_BOOKS,
    NO_DELTAS,
    NO_QUOTES,
    NO_TRADES,
    Batch,
    Books,
    Deltas,
    Quotes,
    Trades,
    field_dtype,
)
from xarb.model.columns import KERNEL_KINDS, TABLES, Type
from xarb.model.event import SlowRow
from xarb.model.units import INT64_MAX, NULL

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from xarb.log.packing import Row

_NAMES: Final = {kind: tuple(column.name for column in TABLES[kind].columns) for kind in TABLES}
_WORDS: Final = {
    kind: tuple(
        (place, column.name, column.values) for place, column in enumerate(TABLES[kind].columns) if column.type is Type.ENUM
    )
    for kind in TABLES
}
_AT: Final = {kind: {name: place for place, name in enumerate(_NAMES[kind])} for kind in KERNEL_KINDS}
_PLAIN: Final = {  # columns of a block that are columns of the table, in the block's order; None where it is made of others
    "quotes": ("seq", "ts_recv", "ts_event", "conn", None, "venue_seq", "bid_int", "bid_qty_int", "ask_int", "ask_qty_int"),
    "book_deltas": (
        *("seq", "ts_recv", "ts_event", "conn", None, "venue_seq"),
        *("side", "price_int", "qty_int", "is_snapshot", "is_last", "verdict"),
    ),
    "trades": ("seq", "ts_recv", "ts_event", "conn", None, None, "price_int", "qty_int", "aggressor"),
    "books": ("seq", "ts_recv", "ts_event", "conn", None, "venue_seq"),
}
_CODES: Final[dict[type[np.generic], str]] = {np.int64: "q", np.int32: "i"}  # of `array`: twice as fast as numpy's own way
_LONGEST_ID: Final = len(str(INT64_MAX))
_FRAMES: Final = "frames"


class Batcher:
    """Makes batches of rows that came together.

    Args:
        numbers: number of each (venue, symbol) of the log; the rows name no other.
    """

    def __init__(self, numbers: Mapping[tuple[str, str], int]) -> None:
        self._numbers = numbers

    def batch(self, rows: Mapping[str, Sequence[Row]]) -> Batch:
        """One batch of all rows, by kind, each kind in seq order.

        Raises:
            InvariantBroken: there are none.
        """
        if not rows:
            raise InvariantBroken("no rows to make a batch of")
        slow = [slow_row(kind, row) for kind, found in rows.items() if kind not in KERNEL_KINDS for row in found]
        slow.sort(key=_seq_of)
        return Batch(
            min(found[0][0] for found in rows.values()),
            max(found[-1][0] for found in rows.values()),
            Quotes(*self._columns("quotes", rows["quotes"], Quotes._fields)) if "quotes" in rows else NO_QUOTES,
            Deltas(*self._columns("book_deltas", rows["book_deltas"], Deltas._fields)) if "book_deltas" in rows else NO_DELTAS,
            self._trades(rows["trades"]) if "trades" in rows else NO_TRADES,
            self._books(rows["books"]) if "books" in rows else NO_BOOKS,
            slow,
        )

    def _columns(self, kind: str, rows: Sequence[Row], fields: Sequence[str]) -> list[NDArray[Any]]:
        """The block's columns up to the last that is a column of the table; `inst` is looked up, what else is made of others is null."""
        at = _AT[kind]
        by_column = list(zip(*rows, strict=True))
        numbers = self._numbers
        found = []
        for field, name in zip(fields, _PLAIN[kind], strict=False):
            if name is not None:
                values: Sequence[Any] = by_column[at[name]]
            elif field == "inst":
                values = [numbers[key] for key in zip(by_column[at["venue"]], by_column[at["symbol"]], strict=True)]
            else:
                values = [_trade_id(text) for text in by_column[at["trade_id"]]]
            found.append(_array(values, field))
        return found

    def _trades(self, rows: Sequence[Row]) -> Trades:
        return Trades(*self._columns("trades", rows, Trades._fields))

    def _books(self, rows: Sequence[Row]) -> Books:
        head: list[Any] = self._columns("books", rows, Books._fields)
        first = _AT["books"]["venue_seq"] + 3  # the levels follow the two scales
        bids, sizes, px, qty = [], [], [], []
        for row in rows:
            (bid_px, bid_qty), (ask_px, ask_qty) = _side(row, first, 0), _side(row, first, 1)
            bids.append(len(bid_px))
            sizes.append(len(bid_px) + len(ask_px))
            px += [*bid_px, *ask_px]
            qty += [*bid_qty, *ask_qty]
        offset = list(accumulate(sizes, initial=0))
        tail = [_array(offset, "offset"), _array(bids, "bids"), _array(px, "px"), _array(qty, "qty")]
        return Books._make([*head, *tail])


def slow_row(kind: str, row: Row) -> SlowRow:
    """A row outside the compiled kinds as the engine takes it; of a raw frame nothing but its place."""
    if kind == _FRAMES:
        return SlowRow(row[0], row[1], kind, {})
    values = dict(zip(_NAMES[kind], row, strict=True))
    for place, name, words in _WORDS[kind]:
        if row[place] is not None:
            values[name] = words[row[place]]
    return SlowRow(row[0], row[1], kind, values)


def _side(row: Row, first: int, side: int) -> tuple[list[int], list[int]]:
    """Prices and quantities of one side of a book row, from the best: the fixed columns, then the deep ones."""
    at, deep = first + side * 2 * LEVELS, first + 4 * LEVELS + side * 2
    prices = [value for value in row[at : at + LEVELS] if value is not None]
    sizes = [NULL if value is None else value for value in row[at + LEVELS : at + LEVELS + len(prices)]]
    return [*prices, *(row[deep] or ())], [*sizes, *(row[deep + 1] or ())]


def _array(values: Sequence[Any], field: str) -> NDArray[Any]:
    code = _CODES.get(field_dtype(field))
    if code is not None:
        try:
            found: NDArray[Any] = np.frombuffer(array(code, values), field_dtype(field))
        except (TypeError, ValueError):  # null among them, or none at all
            pass
        else:
            found.flags.writeable = False
            return found
    if None in values:
        null = -1 if field in ("side", "verdict", "aggressor") else NULL
        values = [null if value is None else value for value in values]
    return frozen(np.array(values, field_dtype(field)))


def _trade_id(text: str | None) -> int | None:
    """The id where it is a decimal integer of 63 bits without leading zeros."""
    if text is None or not text.isascii() or not text.isdigit() or len(text) > _LONGEST_ID or (text[0] == "0" and len(text) > 1):
        return None
    number = int(text)
    return number if number <= INT64_MAX else None


def _seq_of(row: SlowRow) -> int:
    return row.seq
