"""Crypto Lake files, written to the published columns: both names of them, absent levels, hostile rows, other tables."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.imports.conftest import TextImport
from xarb.errors import ConfigError

T = 1_700_000_000 * 10**9
SOURCE = (
    '[[source]]\nformat = "cryptolake-parquet"\npath = "a.parquet"\nvenue = "binance"\nsymbol = "BTC/USDT"\n'
    "price_decimals = 2\nqty_decimals = 5\n"
)
CLIENT = {"timestamp": "origin_time", "receipt_timestamp": "received_time", "amount": "quantity", "id": "trade_id"}
NAN = float("nan")


def parquet(columns: dict[str, list[Any]], **types: Any) -> dict[str, bytes]:
    """A file of these columns."""
    table = pa.table({name: pa.array(cells, types.get(name)) for name, cells in columns.items()})
    file = io.BytesIO()
    pq.write_table(table, file)
    return {"a.parquet": file.getvalue()}


def trades(rows: list[tuple[Any, ...]]) -> dict[str, list[Any]]:
    """Trades as they lie in the store: (side, amount, price, id, timestamp, receipt_timestamp)."""
    names = ("side", "amount", "price", "id", "timestamp", "receipt_timestamp")
    return {name: [row[at] for row in rows] for at, name in enumerate(names)}


def book(*rows: dict[str, Any], depth: int = 20) -> dict[str, bytes]:
    """Books: levels 61,659.00 down and 61,660.00 up by 1, size 0.3, with the stated cells in their place."""
    names = [f"{side}_{n}_{what}" for n in range(depth) for side in ("bid", "ask") for what in ("price", "size")]
    columns: dict[str, list[Any]] = {
        "timestamp": [],
        "receipt_timestamp": [],
        "sequence_number": [],
        **{name: [] for name in names},
    }
    for number, cells in enumerate(rows):
        row = {"timestamp": T + number, "receipt_timestamp": T + number + 5, "sequence_number": number + 7}
        for n in range(depth):
            row |= {f"bid_{n}_price": 61659.0 - n, f"ask_{n}_price": 61660.0 + n, f"bid_{n}_size": 0.1 + 0.2, f"ask_{n}_size": 2.5}  # type: ignore[dict-item]  # times are integers, levels floats
        for name, cell in (row | cells).items():
            columns[name].append(cell)
    types = {name: pa.float64() for name in names}
    return parquet(columns, timestamp=pa.int64(), receipt_timestamp=pa.int64(), sequence_number=pa.int64(), **types)


def deltas(rows: list[tuple[Any, ...]]) -> dict[str, bytes]:
    """Rows of book_delta_v2: (timestamp, receipt_timestamp, sequence_number, side_is_bid, price, size)."""
    names = ("timestamp", "receipt_timestamp", "sequence_number", "side_is_bid", "price", "size")
    return parquet({name: [row[at] for row in rows] for at, name in enumerate(names)}, price=pa.float64(), size=pa.float64())


@pytest.mark.parametrize("client", [False, True])
def test_trades(text_import: TextImport, client: bool) -> None:  # a case of the test
    """The store's columns and the client's give the same; floats become the decimals that they stand for, a time that is not positive is none."""
    rows = [
        ("buy", 0.1 + 0.2, 61659.7, 17, T, T + 5),
        ("sell", 1.0, 61659.71, 18, -1, T + 6),
        ("sell", 1.0, 61659.0, None, None, T + 6),
    ]
    columns = trades(rows)
    types: dict[str, Any] = {"timestamp": pa.int64(), "receipt_timestamp": pa.int64()}
    if client:
        columns = {CLIENT.get(name, name): cells for name, cells in columns.items()} | {
            "exchange": ["BINANCE"] * 3,
            "symbol": ["BTC-USDT"] * 3,
        }
        text = pa.dictionary(pa.int8(), pa.string())
        types = {
            "origin_time": pa.timestamp("ns"),
            "received_time": pa.timestamp("ns"),
            "side": text,
            "exchange": text,
            "symbol": text,
        }
    found = text_import(SOURCE, parquet(columns, **types))
    assert found.rules() == []
    assert [
        (row["ts_event"], row["ts_recv"], row["price_int"], row["qty_int"], row["aggressor"], row["trade_id"])
        for row in found.named("trades")
    ] == [
        (T, T + 5, 6165970, 30_000_000, 0, "17"),
        (None, T + 6, 6165971, 100_000_000, 1, "18"),
        (None, T + 6, 6165900, 100_000_000, 1, None),
    ]


def test_times_of_other_units(text_import: TextImport) -> None:
    """A timestamp of microseconds knows its unit."""
    columns = trades(
        [("buy", 1.0, 61659.7, "x", datetime(2023, 11, 14, tzinfo=UTC), datetime(2023, 11, 14, 0, 0, 0, 7, tzinfo=UTC))] * 2
    )
    kind = pa.timestamp("us", "UTC")
    found = text_import(SOURCE, parquet(columns, timestamp=kind, receipt_timestamp=kind))
    (row,) = found.named("trades")
    assert (row["ts_event"], row["ts_recv"]) == (1_699_920_000 * 10**9, 1_699_920_000 * 10**9 + 7_000)
    assert found.rules() == [("duplicate_trade", 2)]


def test_books(text_import: TextImport) -> None:
    """Twenty levels a side; those that are absent at the end make a side shorter."""
    short = {f"ask_{n}_{what}": cell for n in range(2, 20) for what, cell in (("price", NAN), ("size", None))}
    found = text_import(SOURCE, book({}, short))
    whole, half = found.named("books")
    assert (whole["ts_event"], whole["ts_recv"], whole["venue_seq"], whole["bid_00_int"], whole["bid_09_int"]) == (
        T,
        T + 5,
        7,
        6165900,
        6165000,
    )
    assert (whole["bid_qty_00_int"], whole["ask_09_int"], whole["ask_qty_00_int"]) == (30_000_000, 6166900, 250_000_000)
    assert [half[f"ask_0{n}_int"] for n in range(3)] == [6166000, 6166100, None]
    assert found.rules() == []


def test_level_1_is_a_quote(text_import: TextImport) -> None:
    """The table of best levels; a side may be absent, and one that is neither there nor absent is a reject."""
    absent = {"ask_0_price": None, "ask_0_size": NAN}
    found = text_import(SOURCE, book({}, absent, {**absent, "bid_0_price": NAN, "bid_0_size": NAN}, {"bid_0_size": 0.0}, depth=1))
    assert [[row[f"{name}_int"] for name in ("bid", "bid_qty", "ask", "ask_qty")] for row in found.named("quotes")] == [
        [6165900, 30_000_000, 6166000, 250_000_000],
        [6165900, 30_000_000, None, None],
    ]
    assert found.rules() == [("empty_quote", 3), ("bad_number", 4)]


def test_deltas_are_recorded_and_move_no_book(text_import: TextImport) -> None:
    """Rows of equal times are one message, of which nothing says that a book was there before; a bad row leaves the others."""
    rows = [
        (T, T + 5, 7, True, 61659.0, 0.3),
        (T, T + 5, 8, False, 61660.0, 0.0),
        (T, T + 6, 9, True, 61658.0, 1.0),
        (T, T + 6, 9, True, 61658.005, 1.0),
        (T, T + 6, 9, None, 61658.0, 1.0),
        (T, T + 7, -1, False, 61661.0, 1.0),
    ]
    found = text_import(SOURCE, deltas(rows))
    assert [
        (
            row["ts_recv"] - T,
            row["venue_seq"],
            row["side"],
            row["price_int"],
            row["qty_int"],
            row["is_last"],
            row["verdict"],
            row["is_snapshot"],
        )
        for row in found.named("book_deltas")
    ] == [
        (5, 8, 0, 6165900, 30_000_000, False, 2, False),
        (5, 8, 1, 6166000, 0, True, 2, False),
        (6, 9, 0, 6165800, 100_000_000, True, 2, False),
        (7, None, 1, 6166100, 100_000_000, True, 2, False),
    ]
    assert found.rules() == [("bad_number", 4), ("bad_side", 5)]


@pytest.mark.parametrize(
    ("cells", "rule"),
    [
        ({"receipt_timestamp": 17}, "bad_time"),
        ({"receipt_timestamp": None}, "bad_time"),
        ({"timestamp": 17}, "bad_time"),
        ({"receipt_timestamp": T + 4}, "time_backwards"),
        ({"bid_3_price": 61655.999}, "bad_number"),
        ({"bid_3_price": NAN}, "bad_number"),
        ({"bid_3_size": float("inf")}, "bad_number"),
        ({"bid_3_size": -1.0}, "bad_number"),
        ({"bid_3_size": 0.0}, "bad_number"),
        ({"bid_3_price": None, "bid_3_size": None}, "bad_number"),
        ({"bid_3_price": 61659.0}, "unsorted_book"),
    ],
)
def test_hostile_rows(text_import: TextImport, cells: dict[str, Any], rule: str) -> None:
    """A bad row is a reject with its number, the rows around it are kept."""
    found = text_import(SOURCE, book({}, cells, {}))
    assert (found.rules(), len(found.rows["books"])) == ([(rule, 2)], 2)


def test_a_file_of_several_instruments_gives_the_first(text_import: TextImport) -> None:
    """The client puts the instruments of a request into one table: rows of another than the first are rejects."""
    columns = trades([("buy", 1.0, 61659.7, number, T, T + 5) for number in range(3)])
    columns |= {"exchange": ["BINANCE"] * 3, "symbol": ["BTC-USDT", "ETH-USDT", "BTC-USDT"]}
    found = text_import(SOURCE, parquet(columns))
    assert ([row["trade_id"] for row in found.named("trades")], found.rules()) == (["0", "2"], [("unknown_instrument", 2)])


GOOD = trades([("buy", 1.0, 61659.7, 1, T, T + 5)])


@pytest.mark.parametrize(
    "files",
    [
        {"a.parquet": b"no parquet"},
        parquet({**GOOD, "open": [1.0]}),
        parquet({name: cells for name, cells in GOOD.items() if name != "id"}),
        parquet({**GOOD, "price": ["61659.7"]}),
        parquet({**GOOD, "timestamp": [1.7e18]}),
        parquet({**GOOD, "origin_time": [T]}),
        parquet({**GOOD, "side": [1]}),
        book({}, depth=5),
        parquet({name: [1.0] for name in ("start", "open", "high", "low", "close", "volume")}),
    ],
)
def test_another_table_stops_the_import(text_import: TextImport, files: dict[str, bytes]) -> None:
    """Candles, and columns that are missing, too many or of another type, are named."""
    with pytest.raises(ConfigError, match=r"a\.parquet: "):
        text_import(SOURCE, files)


def test_decimals_must_be_stated(text_import: TextImport) -> None:
    """A float is no decimal number by itself."""
    with pytest.raises(ConfigError, match="state qty_decimals"):
        text_import(SOURCE.replace("qty_decimals = 5\n", ""), parquet(GOOD))
