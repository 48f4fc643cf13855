"""Trades of OKX's archive, written to the layouts that it publishes: today's, in two languages, without a header; hostile rows."""

from __future__ import annotations

import io
import zipfile

import pytest

from tests.imports.conftest import Imported, TextImport
from xarb.errors import ConfigError

INSTRUMENTS = (
    '[[instrument]]\nvenue = "okx"\nsymbol = "BTC/USDT"\nnative = "BTC-USDT"\nkind = "spot"\npx_scale = 1\nqty_scale = 8\nbase = "BTC"\nquote = "USDT"\n'
    '[[instrument]]\nvenue = "okx"\nsymbol = "BTC/USDT:USDT"\nnative = "BTC-USDT-SWAP"\nkind = "perpetual"\npx_scale = 1\nqty_scale = 2\nbase = "BTC"\n'
    'quote = "USDT"\nsettle = "USDT"\ncontract = "linear"\ncontract_size = "0.01"\n'
)
SOURCE = 'instruments = "mine.toml"\n[[source]]\nformat = "okx-trades"\nvenue = "okx"\ntime_rule = "ts_event + 5 ms"\npath = "BTC-USDT-trades-2023-11-14.zip"\n'
SPOT = SOURCE + 'symbol = "BTC/USDT"\n'
HEAD = "instrument_name,trade_id,side,price,size,created_time\n"
OLD = "trade_id/撮合id,side/交易方向,size/数量,price/价格,created_time/成交时间\n"
T = 1_700_000_000 * 10**9


def trade(
    number: object, at: object, *, native: str = "BTC-USDT-SWAP", side: str = "sell", price: str = "78542.2", size: str = "14.07"
) -> str:
    """A row, `at` ms after 1,700,000,000 seconds."""
    return f"{native},{number},{side},{price},{size},170000000000{at}\n"


def run(text_import: TextImport, content: bytes, source: str = SOURCE) -> Imported:
    """The import of one file as it is published."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("BTC-USDT-trades-2023-11-14.csv", content)
    return text_import(source, {"BTC-USDT-trades-2023-11-14.zip": packed.getvalue(), "mine.toml": INSTRUMENTS.encode()})


def seen(found: Imported) -> list[tuple[object, ...]]:
    """Symbol, id, side, price and size with their scales, venue time after `T` in ms."""
    columns = ("symbol", "trade_id", "aggressor", "price_int", "px_scale", "qty_int", "qty_scale")
    return [(*(row[name] for name in columns), (row["ts_event"] - T) / 10**6) for row in found.named("trades")]


def test_todays_layout(text_import: TextImport) -> None:
    """Every row says its instrument; sizes of a swap stay contracts beside the instrument's contract size."""
    text = HEAD.replace("\n", ",source\n") + trade(2885385355, 1).replace("\n", ",0\n")
    text += trade(465953984, 2, native="BTC-USDT", side="buy", price="104933.5", size="0.00044782").replace("\n", ",1\n")
    found = run(text_import, text.encode())
    assert found.rules() == []
    assert seen(found) == [
        ("BTC/USDT:USDT", "2885385355", 1, 785422, 1, 1407, 2, 1),
        ("BTC/USDT", "465953984", 0, 1049335, 1, 44782, 8, 2),
    ]
    assert [row["ts_recv"] - row["ts_event"] for row in found.named("trades")] == [5_000_000] * 2
    assert {row["symbol"]: row["contract_size"] for row in found.named("instruments")} == {
        "BTC/USDT:USDT": 10**16,
        "BTC/USDT": None,
    }


@pytest.mark.parametrize(
    ("head", "encoding"), [(OLD, "gbk"), (OLD, "utf-8"), (OLD, "utf-8-sig"), (OLD.replace("撮合", "交易"), "gb2312"), ("", "ascii")]
)
def test_the_layouts_of_older_years(text_import: TextImport, head: str, encoding: str) -> None:
    """Names in two languages in either encoding, and none before 2022: the first row is no header then."""
    rows = "719977054,buy,0.00527188,84760.0,1700000000003\n719977057,sell,0.0277,84760.1,1700000000003\n"
    found = run(text_import, (head + rows).encode(encoding), SPOT)
    assert found.rules() == []
    assert seen(found) == [
        ("BTC/USDT", "719977054", 0, 847600, 1, 527188, 8, 3),
        ("BTC/USDT", "719977057", 1, 847601, 1, 2770000, 8, 3),
    ]


def test_digits_of_a_float_need_their_decimals(text_import: TextImport) -> None:
    """A size that is a float's digits is a reject, or with stated decimals the number that it stands for; what is near none stays a reject."""
    rows = [trade(number, number, size=size) for number, size in enumerate(("0.00044782999999999997", "1e-05", "0.000000005"), 1)]
    found = run(text_import, (HEAD + "".join(rows)).encode())
    assert found.rules() == [("bad_number", 2)]
    found = run(text_import, (HEAD + "".join(rows)).encode(), SOURCE + "qty_decimals = 8\n")
    assert found.rules() == [("bad_number", 4)]
    assert [(row["qty_int"], row["qty_scale"]) for row in found.named("trades")] == [(44783, 8), (1000, 8)]


@pytest.mark.parametrize(
    ("row", "rule"),
    [
        (trade(2, 2, side="none"), "bad_side"),
        (trade(2, 2, price="inf"), "bad_number"),
        (trade(2, 2, size=""), "bad_number"),
        (trade(2, 2, native="ETH-USDT"), "unknown_instrument"),
        (trade(2, 2, native=""), "unknown_instrument"),
        (trade(2, 2).replace("\n", ",0\n"), "wrong_fields"),
        ("\n", "wrong_fields"),
        (trade(2, "x"), "bad_time"),
        (trade(2, 0), "time_backwards"),
        (trade("x", 2), "duplicate_trade"),
    ],
)
def test_hostile_rows(text_import: TextImport, row: str, rule: str) -> None:
    """A bad row is a reject with its line, the rows around it are kept."""
    found = run(text_import, (HEAD + trade("x", 1) + row + trade(3, 3)).encode())
    assert found.rules() == [(rule, 3)]
    assert [one["trade_id"] for one in found.named("trades")] == ["x", "3"]


def test_a_number_that_comes_again_is_left_to_the_engine(text_import: TextImport) -> None:
    """Some days hold rows twice; ids that are numbers are recorded and flagged there, as they are live."""
    found = run(text_import, (HEAD + trade(7, 1) * 2).encode())
    assert (found.rules(), [row["trade_id"] for row in found.named("trades")]) == ([], ["7", "7"])


@pytest.mark.parametrize(
    ("source", "content", "match"),
    [
        (SOURCE, b"", r"BTC-USDT-trades-2023-11-14\.zip: line 1 is the header of no layout"),
        (SOURCE, b"trade_id,side,price,size\n", "line 1 is the header of no layout"),
        (SOURCE, HEAD.replace("\n", ",fee\n").encode(), "line 1 is the header of no layout"),
        (SOURCE, HEAD.replace("\n", ",size\n").encode(), "line 1 is the header of no layout"),
        (SOURCE, b"id,timestamp,price,volume,side\n", "line 1 is the header of no layout"),
        (SOURCE, OLD.encode("gbk"), "line 1: a layout that names no instrument: state symbol"),
        (SOURCE.replace('"okx"', '"binance"'), HEAD.encode(), "'binance' is not OKX's"),
        (SOURCE.replace('venue = "okx"\n', ""), HEAD.encode(), "okx-trades needs venue"),
        (SOURCE.replace('time_rule = "ts_event + 5 ms"\n', ""), HEAD.encode(), "has no receive time, so time_rule"),
        (SOURCE + "qty_decimals = 16\n", HEAD.encode(), "qty_decimals must lie in 0 to 15"),
    ],
)
def test_what_stops_the_import(text_import: TextImport, source: str, content: bytes, match: str) -> None:
    """Another layout, another venue and what the file does not say are errors that name the file."""
    with pytest.raises(ConfigError, match=match):
        run(text_import, content, source)
