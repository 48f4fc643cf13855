"""Tardis files: messages, hostile rows, headers."""

from __future__ import annotations

import pytest

from tests.imports.conftest import TextImport
from xarb.errors import ConfigError

SOURCE = '[[source]]\nformat = "tardis-csv"\npath = "a.csv"\n'
HEAD = "exchange,symbol,timestamp,local_timestamp"
LEVELS = f"{HEAD},is_snapshot,side,price,amount\n"
TRADES = f"{HEAD},id,side,price,amount\n"
QUOTES = f"{HEAD},ask_amount,ask_price,bid_price,bid_amount\n"
T = 1585699200355684


def level(flag: str, side: str, price: str, amount: str, *, at: int = T) -> str:
    """One row of an incremental book."""
    return f"deribit,BTC-PERPETUAL,{at - 5},{at},{flag},{side},{price},{amount}\n"


def test_rows_of_one_message_stay_together(text_import: TextImport) -> None:
    """Rows of equal times and flag are one message, bids first; rows before any snapshot are unsynced."""
    text = (
        LEVELS
        + level("false", "bid", "6400", "10")
        + level("true", "ask", "6421.5", "20", at=T + 1)
        + level("true", "bid", "6421", "30", at=T + 1)
        + level("false", "ask", "6421.5", "0", at=T + 1)
        + level("false", "bid", "6420", "40", at=T + 2)
    )
    found = text_import(SOURCE, {"a.csv": text.encode()})
    rows = found.named("book_deltas")
    assert [(r["side"], r["price_int"], r["qty_int"], r["is_snapshot"], r["is_last"], r["verdict"]) for r in rows] == [
        (0, 64000, 10, False, True, 2),
        (0, 64210, 30, True, False, 0),
        (1, 64215, 20, True, True, 0),
        (1, 64215, 0, False, True, 0),
        (0, 64200, 40, False, True, 0),
    ]
    assert rows[0]["ts_event"] == (T - 5) * 1000


@pytest.mark.parametrize(
    ("row", "rule"),
    [
        (level("maybe", "bid", "1", "1"), "bad_flag"),
        (level("true", "left", "1", "1"), "bad_side"),
        (level("true", "bid", "NaN", "1"), "bad_number"),
        (level("true", "bid", "", "1"), "bad_number"),
        (level("true", "bid", "1", "1,1"), "wrong_fields"),
        (level("true", "bid", "1", "1").replace("BTC-PERPETUAL", "ETH-PERPETUAL"), "unknown_instrument"),
        (level("true", "bid", "1", "1").replace("deribit", ""), "unknown_instrument"),
        (level("true", "bid", "1", "1", at=17), "bad_time"),
        (level("true", "bid", "1", "1", at=T - 1), "time_backwards"),
        ("\n", "wrong_fields"),
    ],
)
def test_hostile_levels(text_import: TextImport, row: str, rule: str) -> None:
    """A bad row is a reject with its line, and the rest of its message is kept as rows."""
    good = level("true", "ask", "6421.5", "20")
    found = text_import(SOURCE, {"a.csv": (LEVELS + good + row + good).encode()})
    assert found.rules() == [(rule, 3)]
    assert len(found.rows["book_deltas"]) == 2


def test_trades(text_import: TextImport) -> None:
    """Sides are buy, sell or unknown; a text id that comes again is a reject, an integer id is left to the engine."""
    rows = [("x", "buy"), ("x", "buy"), ("7", "sell"), ("7", "sell"), ("", "unknown"), ("", ""), ("y", "long")]
    text = TRADES + "".join(f"bitmex,XBTUSD,{T},{T},{id_},{side},8531.5,1\n" for id_, side in rows)
    found = text_import(SOURCE, {"a.csv": text.encode()})
    assert [(row["trade_id"], row["aggressor"]) for row in found.named("trades")] == [
        ("x", 0),
        ("7", 1),
        ("7", 1),
        (None, 2),
        (None, 2),
    ]
    assert found.rules() == [("duplicate_trade", 3), ("bad_side", 8)]


def test_quotes_with_empty_sides(text_import: TextImport) -> None:
    """An empty cell is null, and a quote without any side is a reject."""
    text = QUOTES + f"huobi-dm-swap,BTC-USD,{T},{T},,,8629.2,806\n" + f"huobi-dm-swap,BTC-USD,{T},{T},,,,\n"
    found = text_import(SOURCE, {"a.csv": text.encode()})
    (row,) = found.named("quotes")
    assert (row["ask_int"], row["ask_qty_int"], row["bid_int"], row["bid_qty_int"]) == (None, None, 86292, 806)
    assert found.rules() == [("empty_quote", 3)]


def test_shallow_snapshots(text_import: TextImport) -> None:
    """A side may be shorter than the layout, but not have a hole."""
    names = ",".join(f"asks[{n}].price,asks[{n}].amount,bids[{n}].price,bids[{n}].amount" for n in range(5))
    short = "1.2,1,1.1,2," + "1.3,1,,," + ",,,," * 2 + ",,,"
    hole = "1.2,1,1.1,2," + ",,,," + "1.3,1,,," + ",,,," + ",,,"
    text = f"{HEAD},{names}\n" + "".join(f"binance-futures,BTCUSDT,{T},{T},{cells}\n" for cells in (short, hole))
    found = text_import(SOURCE, {"a.csv": text.encode()})
    (book,) = found.named("books")
    assert [book[f"ask_0{n}_int"] for n in range(3)] == [120, 130, None]
    assert [book[f"bid_0{n}_int"] for n in range(2)] == [110, None]
    assert found.rules() == [("bad_number", 3)]


def test_a_stated_instrument_is_enforced(text_import: TextImport) -> None:
    """Rows of another instrument than the stated one are rejects."""
    text = LEVELS + level("true", "ask", "6421.5", "20")
    stated = SOURCE + 'venue = "bitmex"\nsymbol = "BTC/USD:BTC"\n'
    with pytest.raises(ConfigError, match="no row of any source has a valid time"):
        text_import(stated, {"a.csv": text.encode()})


@pytest.mark.parametrize("header", ["", "time,bid,ask", f"{HEAD},id,side,price", f"{HEAD},asks[0].price"])
def test_wrong_headers(text_import: TextImport, header: str) -> None:
    """A header of no known layout stops the import."""
    with pytest.raises(ConfigError, match="header of no Tardis layout"):
        text_import(SOURCE, {"a.csv": header.encode()})
