"""NautilusTrader catalog files, written to the Arrow schemas that it publishes: both widths, messages, hostile rows, other layouts."""

from __future__ import annotations

import io
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.imports.conftest import TextImport
from xarb.errors import ConfigError
from xarb.imports.nautilus_parquet import ADD, CLEAR, DELETE, LAST, LAYOUTS, SNAPSHOT, UPDATE

T = 1_700_000_000_000_000_000
SOURCE = '[[source]]\nformat = "nautilus-parquet"\npath = "a.parquet"\nvenue = "binance"\nsymbol = "BTC/USDT"\n'
PRECISION = {"instrument_id": "BTCUSDT.BINANCE", "price_precision": "2", "size_precision": "5"}


def parquet(kind: str, rows: list[tuple[Any, ...]], *, width: int = 8, metadata: dict[str, str] | None = None) -> dict[str, bytes]:
    """A file of the catalog; numbers are given in units of its fixed point."""
    fields = [pa.field(name, pa.binary(width) if isinstance(of, str) else of) for name, of in LAYOUTS[kind].items()]
    schema = pa.schema(fields, PRECISION if metadata is None else metadata)
    cells = [[row[at] for row in rows] for at in range(len(fields))]
    arrays = [
        pa.array([None if one is None else one.to_bytes(width, "little", signed=True) for one in column], field.type)
        if pa.types.is_fixed_size_binary(field.type)
        else pa.array(column, field.type)
        for column, field in zip(cells, fields, strict=True)
    ]
    file = io.BytesIO()
    pq.write_table(pa.table(arrays, schema=schema), file)
    return {"a.parquet": file.getvalue()}


def delta(action: int, side: int, price: int, size: int, *, at: int = 1, flags: int = 0, order: int = 0) -> tuple[Any, ...]:
    """A row of a book; price and size at 9 decimals."""
    return (action, side, price, size, order, flags, 0, T, T + at)


@pytest.mark.parametrize(("width", "unit"), [(8, 10**7), (16, 10**14)])
def test_quotes_and_trades(text_import: TextImport, width: int, unit: int) -> None:
    """Numbers are exact in both precisions, `ts_init` is the receive time."""
    quote = (6165970 * unit, 6165980 * unit, 12 * unit // 1000, 5 * unit, T, T + 7)
    found = text_import(SOURCE, parquet("QuoteTick", [quote], width=width))
    row = found.named("quotes")[0]
    assert [row[f"{name}_int"] for name in ("bid", "bid_qty", "ask", "ask_qty")] == [6165970, 12000, 6165980, 5_000_000]
    assert (row["ts_event"], row["ts_recv"], found.rules()) == (T, T + 7, [])
    trades = [(150 * unit, 100 * unit, side, name, T, T + 8) for side, name in ((1, "x"), (2, "y"), (0, "z"), (1, "x"), (3, "w"))]
    found = text_import(SOURCE, parquet("TradeTick", trades, width=width))
    assert [(row["trade_id"], row["price_int"], row["qty_int"], row["aggressor"]) for row in found.named("trades")] == [
        ("x", 150, 100_000_000, 0),
        ("y", 150, 100_000_000, 1),
        ("z", 150, 100_000_000, 2),
    ]
    assert found.rules() == [("duplicate_trade", 4), ("bad_side", 5)]


def test_a_book(text_import: TextImport) -> None:
    """A message ends with its flag or its time; a clear starts a snapshot, alone it gives the book up, and so does a single order."""
    bid, ask, one = 15 * 10**8, 25 * 10**8, 10**9
    rows = [
        delta(UPDATE, 1, bid, one),
        delta(CLEAR, 0, 0, 0, at=2),
        delta(ADD, 1, bid, one, at=2),
        delta(ADD, 2, ask, one, at=2, flags=LAST),
        delta(DELETE, 2, ask, one, at=2, flags=LAST),
        delta(UPDATE, 2, ask, 2 * one, at=3),
        delta(CLEAR, 0, 0, 0, at=4, flags=LAST),
        delta(ADD, 1, bid, one, at=5),
        delta(ADD, 1, bid, one, at=6, flags=SNAPSHOT | LAST),
        delta(ADD, 1, bid, one, at=7, order=17),
        delta(ADD, 1, bid, one, at=8),
    ]
    found = text_import(SOURCE, parquet("OrderBookDelta", rows))
    messages = [
        (row["ts_recv"] - T, row["side"], row["qty_int"], row["is_snapshot"], row["is_last"], row["verdict"])
        for row in found.named("book_deltas")
    ]
    assert messages == [
        (1, 0, 10**8, False, True, 2),
        (2, 0, 10**8, True, False, 0),
        (2, 1, 10**8, True, True, 0),
        (2, 1, 0, False, True, 0),
        (3, 1, 2 * 10**8, False, True, 0),
        (5, 0, 10**8, False, True, 2),
        (6, 0, 10**8, True, True, 0),
        (8, 0, 10**8, False, True, 2),
    ]
    assert found.rules() == [("unread_kind", 10)]
    gaps = [(row["ts_recv"] - T, row["detail"]) for row in found.named("connections") if row["event"] == 2]
    assert gaps == [(4, "the book was cleared"), (7, "a row of the book was rejected: unread_kind")]


@pytest.mark.parametrize(
    ("row", "rule"),
    [
        ((15 * 10**8 + 1, 10**9, 1, "b", T, T + 7), "bad_number"),
        ((None, 10**9, 1, "b", T, T + 7), "bad_number"),
        ((2**63 - 1, 10**9, 1, "b", T, T + 7), "bad_number"),
        ((15 * 10**8, 10**9, None, "b", T, T + 7), "bad_side"),
        ((15 * 10**8, 10**9, 1, "b", 17, T + 7), "bad_time"),
        ((15 * 10**8, 10**9, 1, "b", T, None), "bad_time"),
        ((15 * 10**8, 10**9, 1, "b", T, T + 6), "time_backwards"),
    ],
)
def test_hostile_rows(text_import: TextImport, row: tuple[Any, ...], rule: str) -> None:
    """A bad row is a reject with its number, the rows around it are kept."""
    good = [(15 * 10**8, 10**9, 1, name, T, T + 7) for name in "ac"]
    found = text_import(SOURCE, parquet("TradeTick", [good[0], row, good[1]]))
    assert (found.rules(), len(found.rows["trades"])) == ([(rule, 2)], 2)


@pytest.mark.parametrize(
    "files",
    [
        {"a.parquet": b"no parquet"},
        {name: whole.replace(b"price", b"pr\xffce") for name, whole in parquet("TradeTick", []).items()},
        parquet("TradeTick", [], metadata={}),
        parquet("TradeTick", [], metadata={**PRECISION, "price_precision": "10"}),
        parquet("TradeTick", [], width=4),
    ],
)
def test_another_layout_stops_the_import(text_import: TextImport, files: dict[str, bytes]) -> None:
    """A file of another layout is named."""
    with pytest.raises(ConfigError, match=r"a\.parquet: "):
        text_import(SOURCE, files)
