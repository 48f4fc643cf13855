"""Hypothesis generators of rows of every kind, with the extreme values of every column type."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tests.log.logs import BTC, KRW, Placed, book_row
from xarb.model.columns import TABLES, Column, Type

KEYS = (BTC, KRW, ("δέλτα", "ＢＴＣ/₮"))
INT64 = st.one_of(st.sampled_from([0, 1, -1, 2**63 - 1, -(2**63) + 1]), st.integers(-(2**63) + 1, 2**63 - 1))
MONEY = st.one_of(st.sampled_from([0, 1, -1, 10**38 - 1, 1 - 10**38]), st.integers(1 - 10**38, 10**38 - 1))
WIDE = st.one_of(st.sampled_from(["0", str(2**256 - 1), str(-(2**255))]), st.integers(0, 2**256 - 1).map(str))
TEXT = st.one_of(st.sampled_from(["", "BTC/USDT", "日本", "🐸", "a'b\"c", "\x00", "9223372036854775808"]), st.text(max_size=8))
TRADE_IDS = st.one_of(
    st.none(),
    st.sampled_from(["0", "007", "9223372036854775807", "9223372036854775808", "99999999999999999999", "-5", "x-1", "", "١"]),
    st.integers(0, 2**63 - 1).map(str),
)
BY_TYPE = {
    Type.INT64: INT64,
    Type.TIME: INT64,
    Type.INT32: st.integers(-(2**31), 2**31 - 1),
    Type.INT16: st.integers(-(2**15), 2**15 - 1),
    Type.INT8: st.integers(-128, 127),
    Type.BOOL: st.booleans(),
    Type.TEXT: TEXT,
    Type.WIDE: WIDE,
    Type.MONEY: MONEY,
    Type.INTS: st.lists(INT64, max_size=3),
    Type.WIDES: st.lists(WIDE, max_size=3),
    Type.BYTES: st.binary(max_size=8),
}
SIDE = st.lists(st.tuples(INT64, INT64), max_size=14)
_GIVEN = {"seq", "ts_recv", "venue", "symbol"}


def value(column: Column) -> st.SearchStrategy[Any]:
    """Values of a column, null where it may be."""
    known = st.sampled_from(column.values) if column.type is Type.ENUM else BY_TYPE[column.type]
    return st.one_of(st.none(), known) if column.nullable else known


@st.composite
def input_row(draw: st.DrawFn, kind: str) -> Placed:
    """A row of an input kind, of one of three instruments, on one of two connections, without seq and ts_recv."""
    table = TABLES[kind]
    names = {column.name for column in table.columns}
    row: dict[str, Any] = {}
    for column in table.columns:
        if column.name not in _GIVEN and not column.name.startswith(("bid_", "ask_") if kind == "books" else ("\n",)):
            row[column.name] = draw(value(column))
    if "venue" in names:
        row["venue"], symbol = draw(st.sampled_from(KEYS))
        if "symbol" in names:
            row["symbol"] = symbol
    if kind == "books":
        row |= book_row(draw(SIDE), draw(SIDE))
    if kind == "trades":
        row["trade_id"] = draw(TRADE_IDS)
    if "conn" in names and kind != "connections":
        row["conn"] = draw(st.integers(0, 1))
    if kind == "connections":
        row["conn"] = draw(st.integers(0, 1))
    return kind, row
