"""CoinAPI flat files, written to their published layouts: trades, quotes, books, hostile rows, other headers."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from tests.imports.conftest import TextImport, imported
from xarb.errors import ConfigError
from xarb.imports.sources import load_sources

SOURCE = '[[source]]\nformat = "coinapi-csv"\npath = "a.csv.gz"\nvenue = "binance"\nsymbol = "BTC/USDT"\n'
TRADES = "time_exchange;time_coinapi;guid;price;base_amount;taker_side\r\n"
QUOTES = "id_site_coinapi;time_exchange;time_coinapi;ask_px;ask_sx;bid_px;bid_sx\r\n"
BOOK = "time_exchange;time_coinapi;is_buy;update_type;entry_px;entry_sx;order_id\r\n"
AT = "2023-07-01T12:00:00."
T = 1688212800 * 10**9


def packed(text: str) -> dict[str, bytes]:
    """The file as it is sold."""
    return {"a.csv.gz": gzip.compress(text.encode())}


def change(kind: str, is_buy: str, price: str, size: str, *, at: int = 5, order: str = "") -> str:
    """A row of a book, received `at` tenths of a microsecond after noon."""
    return f"{AT}{at - 1:07};{AT}{at:07}Z;{is_buy};{kind};{price};{size};{order}\r\n"


def test_trades(text_import: TextImport) -> None:
    """Seven decimals of a second are exact, an estimated aggressor is unknown, equal times mean that the exchange gave none."""
    rows = [("1234567", "BUY"), ("1234567", "SELL"), ("1234568", "SELL_ESTIMATED"), ("1234569", "UNKNOWN")]
    text = TRADES + "".join(f"{AT}1234567;{AT}{at};g;61659.70;0.00012;{side}\r\n" for at, side in rows)
    found = text_import(SOURCE, packed(text))
    assert found.rules() == []
    assert [(row["ts_event"], row["ts_recv"] - T, row["aggressor"]) for row in found.named("trades")] == [
        (None, 123456700, 0),
        (None, 123456700, 1),
        (T + 123456700, 123456800, 2),
        (T + 123456700, 123456900, 2),
    ]
    assert {(row["price_int"], row["qty_int"], row["trade_id"]) for row in found.named("trades")} == {(6165970, 12000, None)}


def test_an_id_of_the_exchange_that_comes_again_is_a_reject(text_import: TextImport) -> None:
    """Later files have the exchange's own id."""
    row = f"{AT}1;{AT}2;g;1.5;1;BUY;x\r\n"
    found = text_import(SOURCE, packed(TRADES.replace("\r\n", ";id_trade\r\n") + row * 2))
    assert ([row["trade_id"] for row in found.named("trades")], found.rules()) == (["x"], [("duplicate_trade", 3)])


def test_quotes(text_import: TextImport) -> None:
    """A size of zero stands for none, an empty side is absent."""
    text = QUOTES + f"s;{AT}1;{AT}2;61659.8;0.5;61659.7;0.000\r\ns;{AT}1;{AT}3;;;61659.7;2\r\ns;{AT}1;{AT}4;;;;\r\n"
    found = text_import(SOURCE, packed(text))
    assert [[row[f"{name}_int"] for name in ("bid", "bid_qty", "ask", "ask_qty")] for row in found.named("quotes")] == [
        [6165970, None, 6165980, 50_000_000],
        [6165970, 200_000_000, None, None],
    ]
    assert found.rules() == [("empty_quote", 4)]


def test_a_book(text_import: TextImport) -> None:
    """The block of SNAPSHOT is one message; later rows of equal times are one; what is not read gives the book up."""
    snapshot = change("SNAPSHOT", "1", "1.5", "7") + change("SNAPSHOT", "0", "2.5", "8", at=6)
    text = BOOK + change("SET", "1", "1.4", "1", at=2) + snapshot
    text += change("SET", "0", "2.5", "0", at=7) + change("SET", "0", "2.6", "3", at=7)
    text += change("SUB", "0", "2.6", "1", at=8) + change("SET", "1", "1.5", "6", at=9)
    text += snapshot.replace(":00.", ":01.") + change("SET", "1", "1.5", "5", at=3).replace(":00.", ":02.")
    text += change("ADD", "1", "1.5", "5", at=4, order="17").replace(":00.", ":02.")
    found = text_import(SOURCE, packed(text))
    rows = found.named("book_deltas")
    assert [(row["side"], row["price_int"], row["is_snapshot"], row["is_last"], row["verdict"]) for row in rows] == [
        (0, 140, False, True, 2),
        (0, 150, True, False, 0),
        (1, 250, True, True, 0),
        (1, 250, False, False, 0),
        (1, 260, False, True, 0),
        (0, 150, False, True, 2),
        (0, 150, True, False, 0),
        (1, 250, True, True, 0),
        (0, 150, False, True, 0),
    ]
    assert [row["ts_recv"] - T for row in rows[:4]] == [200, 600, 600, 700]
    assert found.rules() == [("unread_kind", 7), ("unread_kind", 12)]
    gaps = [row for row in found.named("connections") if row["detail"] == "a row of the book was rejected: unread_kind"]
    assert len(gaps) == 2


def test_a_time_of_day_belongs_to_the_day_of_the_path(tmp_path: Path) -> None:
    """The files of the store lie in a folder for each day."""
    folder = tmp_path / "T-TRADES" / "D-20230701"
    folder.mkdir(parents=True)
    (folder / "a.csv.gz").write_bytes(gzip.compress((TRADES + "12:00:00.0000001;12:00:00.0000002;g;1.5;1;BUY\r\n").encode()))
    (tmp_path / "sources.toml").write_text(SOURCE.replace("a.csv.gz", "T-TRADES/D-20230701/a.csv.gz"))
    found = imported(load_sources(tmp_path / "sources.toml"))
    assert [(row["ts_event"] - T, row["ts_recv"] - T) for row in found.named("trades")] == [(100, 200)]


@pytest.mark.parametrize(
    ("row", "rule"),
    [
        (f"{AT}1;{AT}6;g;1.5;1;SHORT\r\n", "bad_side"),
        (f"{AT}1;{AT}6;g;NaN;1;BUY\r\n", "bad_number"),
        (f"{AT}1;{AT}6;g;;1;BUY\r\n", "bad_number"),
        (f"{AT}1;{AT}6;g;1.5;1\r\n", "wrong_fields"),
        (f"{AT}1;12:00:00;g;1.5;1;BUY\r\n", "bad_time"),
        (f"{AT}1;2023-07-01T25:00:00;g;1.5;1;BUY\r\n", "bad_time"),
        (f"{AT}1;{AT}4;g;1.5;1;BUY\r\n", "time_backwards"),
    ],
)
def test_hostile_rows(text_import: TextImport, row: str, rule: str) -> None:
    """A bad row is a reject with its line, the rows around it are kept."""
    good = f"{AT}1;{AT}5;g;1.5;1;BUY\r\n"
    found = text_import(SOURCE, packed(TRADES + good + row + good.replace(".5;", ".7;")))
    assert found.rules() == [(rule, 3)]
    assert len(found.rows["trades"]) == 2


@pytest.mark.parametrize(("is_buy", "price", "rule"), [("2", "1.6", "bad_side"), ("1", "x", "bad_number")])
def test_a_bad_level_leaves_the_rest_of_its_message(text_import: TextImport, is_buy: str, price: str, rule: str) -> None:
    """As rows that move no book, as in the other formats."""
    text = BOOK + change("SNAPSHOT", "1", "1.5", "7") + change("SNAPSHOT", is_buy, price, "7") + change("SNAPSHOT", "0", "2.5", "7")
    found = text_import(SOURCE, packed(text))
    assert found.rules() == [(rule, 3)]
    assert [row["verdict"] for row in found.named("book_deltas")] == [2, 2]


@pytest.mark.parametrize(
    "header", ["", "time,bid,ask\n", TRADES.replace("price;", ""), TRADES.replace("guid", "other"), TRADES.replace("guid", "price")]
)
def test_another_header_stops_the_import(text_import: TextImport, header: str) -> None:
    """A file of another layout is named."""
    with pytest.raises(ConfigError, match=r"a\.csv\.gz: line 1 is the header of no CoinAPI layout"):
        text_import(SOURCE, packed(header))
