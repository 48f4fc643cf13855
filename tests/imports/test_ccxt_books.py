"""Order books of ccxt, written as Python's json writes the structure that ccxt documents: exact numbers, times, hostile lines."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.imports.conftest import TextImport
from xarb.errors import ConfigError

T = 1_700_000_000_123
SOURCE = '[[source]]\nformat = "ccxt-books"\npath = "a"\nvenue = "binance"\n'
RULE = SOURCE + 'time_rule = "ts_event + 5 ms"\n'
STATED = SOURCE + 'columns.ts_recv = "received"\ntime_unit = "s"\n'


def book(**more: Any) -> dict[str, Any]:
    """A book as ccxt gives it."""
    return {
        "bids": [[61659.7, 0.1], [61659.0, 1e-05]],
        "asks": [[61659.8, 7.001, 1700000000]],
        "symbol": "BTC/USDT",
        "timestamp": T,
        "datetime": "2023-11-14T22:13:20.123Z",
        "nonce": 17,
        **more,
    }


def lines(*books: dict[str, Any]) -> bytes:
    """One a line."""
    return "".join(json.dumps(one) + "\n" for one in books).encode()


def test_a_book_is_exact(text_import: TextImport) -> None:
    """Numbers are those of the text, the receive time is what the rule makes of the exchange's."""
    found = text_import(RULE, {"a": lines(book(), book(asks=[], nonce=None, symbol="BTC/USDT"))})
    assert found.rules() == []
    first, second = found.named("books")
    assert (first["ts_event"], first["ts_recv"], first["venue_seq"]) == (T * 10**6, (T + 5) * 10**6, 17)
    assert [first[f"bid_{at}_int"] for at in ("00", "01", "qty_00", "qty_01")] == [6165970, 6165900, 10_000_000, 1000]
    assert [first[f"ask_{at}_int"] for at in ("00", "01", "qty_00")] == [6165980, None, 700_100_000]
    assert (second["venue_seq"], second["ask_00_int"], second["bid_00_int"]) == (None, None, 6165970)


def test_a_stated_receive_time(text_import: TextImport) -> None:
    """A key of the object says when it was received; the exchange's time may then be null, and the symbol that of the source."""
    stated = STATED + 'symbol = "BTC/USDT"\n'
    found = text_import(stated, {"a": lines(book(received=1700000000.5, timestamp=None, symbol=None))})
    assert [(row["ts_recv"], row["ts_event"]) for row in found.named("books")] == [(1700000000500000000, None)]


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        (b"{\n", "bad_json"),
        (b"[]\n", "bad_json"),
        (b'{"a": "\xff"}\n', "wrong_fields"),
        (lines({"bids": []}), "wrong_fields"),
        (lines(book(symbol="ETH/USDT")), "unknown_instrument"),
        (lines(book(symbol=5)), "unknown_instrument"),
        (lines(book(timestamp=None)), "bad_time"),
        (lines(book(timestamp=17)), "bad_time"),
        (lines(book(timestamp=T - 1)), "time_backwards"),
        (lines(book(nonce=-1)), "bad_number"),
        (lines(book(bids=[[1.5, None]])), "bad_number"),
        (lines(book(bids=[["1.5", 2]])), "bad_number"),
        (lines(book(bids=[[1.5]])), "bad_number"),
        (lines(book(bids={})), "bad_number"),
        (b'{"x":' * 5000 + b"\n", "bad_json"),
        (lines(book(bids=["NEST"])).replace(b'"NEST"', b"[" * 5000), "bad_json"),
        (lines(book(bids=[[1.5, 1], [1.6, 1]])), "unsorted_book"),
        (lines(book(asks=[[1.5, 1], [1.5, 1]])), "unsorted_book"),
    ],
)
def test_hostile_lines(text_import: TextImport, line: bytes, rule: str) -> None:
    """A bad line is a reject with its number, the lines around it are kept."""
    found = text_import(RULE, {"a": lines(book()) + line + lines(book())})
    assert found.rules() == [(rule, 2)]
    assert len(found.rows["books"]) == 2


@pytest.mark.parametrize(
    ("source", "text", "message"),
    [
        (RULE, "time,bid,ask\n", "/a: line 1 is no order book of ccxt"),
        (RULE, "{}\n", "/a: line 1 is no order book of ccxt"),
        (SOURCE, "", "so time_rule must say"),
        (RULE + 'columns.ts_recv = "received"\ntime_unit = "s"\n', "", "remove one of them"),
        (STATED.replace('time_unit = "s"\n', ""), "", "time_unit is missing"),
        (RULE + 'time_unit = "s"\n', "", "time_unit belongs to columns.ts_recv"),
        (STATED + 'columns.bid = "b"\n', "", "unknown key columns.bid"),
        (RULE.replace('venue = "binance"\n', ""), "", "needs venue"),
    ],
)
def test_another_layout_or_a_wrong_source_stops_the_import(text_import: TextImport, source: str, text: str, message: str) -> None:
    """What cannot be read is named."""
    with pytest.raises(ConfigError, match=message):
        text_import(source, {"a": text.encode()})
