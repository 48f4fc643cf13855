"""Trades of Bybit's archive, written to the layouts that it publishes: exact numbers, hostile rows, other headers."""

from __future__ import annotations

import gzip

import pytest

from tests.imports.conftest import Imported, TextImport
from xarb.errors import ConfigError
from xarb.model.columns import CONNECTION_EVENTS

INSTRUMENTS = "".join(
    f'[[instrument]]\nvenue = "{venue}"\nsymbol = "{symbol}"\nnative = "{native}"\nkind = "{kind}"\npx_scale = 2\nqty_scale = 3\n'
    f'base = "BTC"\nquote = "{quote}"\n{more}\n'
    for venue, symbol, native, kind, quote, more in (
        ("bybit", "BTC/USDT", "BTCUSDT", "spot", "USDT", ""),
        (
            "bybitlinear",
            "BTC/USDT:USDT",
            "BTCUSDT",
            "perpetual",
            "USDT",
            'settle = "USDT"\ncontract = "linear"\ncontract_size = "1"',
        ),
        (
            "bybitlinear",
            "ETH/USDT:USDT",
            "ETHUSDT",
            "perpetual",
            "USDT",
            'settle = "USDT"\ncontract = "linear"\ncontract_size = "1"',
        ),
        ("bybitinverse", "BTC/USD:BTC", "BTCUSD", "perpetual", "USD", 'settle = "BTC"\ncontract = "inverse"\ncontract_size = "1"'),
    )
)
SOURCE = 'instruments = "mine.toml"\n[[source]]\nformat = "bybit-trades"\nvenue = "{venue}"\n{more}time_rule = "ts_event + 5 ms"\npath = "a.csv.gz"\n'
LINEAR = SOURCE.format(venue="bybitlinear", more="")
SPOT = SOURCE.format(venue="bybit", more='symbol = "BTC/USDT"\n')
HEAD = "timestamp,symbol,side,size,price,tickDirection,trdMatchID,grossValue,homeNotional,foreignNotional\n"
INVERSE = "1700000001.0925,BTCUSD,Sell,79,78513.00,PlusTick,e94f18f9,100620.27944416848,79,0.0010062027944416848\n"
T = 1_700_000_000 * 10**9


def trade(
    at: str,
    trade_id: str,
    *,
    side: str = "Buy",
    native: str = "BTCUSDT",
    size: str = "0.02",
    price: str = "57199.5",
    value: str = "1143.99",
) -> str:
    """A row of contracts, `at` seconds after 1,700,000,000 as decimal text."""
    return f"170000000{at},{native},{side},{size},{price},ZeroMinusTick,{trade_id},1.14399e+11,0.02,{value}\n"


def run(text_import: TextImport, text: str, source: str = LINEAR) -> Imported:
    """The import of one file as it is published."""
    return text_import(source, {"a.csv.gz": gzip.compress(text.encode()), "mine.toml": INSTRUMENTS.encode()})


def test_contracts(text_import: TextImport) -> None:
    """Decimal seconds, prices and sizes are exact, the exchange's id is kept, the receive time is what the rule makes."""
    found = run(text_import, HEAD + trade("0.0647", "a") + trade("0.557895", "b", side="Sell", size="1e-05"))
    assert found.rules() == []
    first, second = found.named("trades")
    assert (first["ts_event"], first["ts_recv"]) == (T + 64_700_000, T + 69_700_000)
    assert (first["price_int"], first["qty_int"], first["px_scale"], first["qty_scale"]) == (5_719_950, 20, 2, 3)
    assert (first["trade_id"], first["aggressor"], first["venue_seq"]) == ("a", 0, None)
    assert (second["ts_event"], second["qty_int"], second["qty_scale"]) == (T + 557_895_000, 1, 5)
    assert (second["trade_id"], second["aggressor"]) == ("b", 1)
    opened = found.named("connections")[0]
    assert (CONNECTION_EVENTS[opened["event"]], opened["time_rule"]) == ("opened", "ts_event + 5 ms")


def test_inverse_contracts_stay_contracts(text_import: TextImport) -> None:
    """A size of an inverse contract is what the file says; what it is worth is the instrument's `contract_size`."""
    found = run(
        text_import, HEAD.replace("\n", ",RPI\n") + INVERSE.replace("\n", ",0\n"), SOURCE.format(venue="bybitinverse", more="")
    )
    assert [(one["qty_int"], one["qty_scale"], one["price_int"]) for one in found.named("trades")] == [(79_000, 3, 7_851_300)]
    assert [one["contract_size"] for one in found.named("instruments")] == [1 * 10**18]


@pytest.mark.parametrize(("venue", "size", "row"), [("bybitlinear", "0.01", trade("1", "a")), ("bybitinverse", "100", INVERSE)])
def test_another_contract_size_stops_the_import(text_import: TextImport, venue: str, size: str, row: str) -> None:
    """The file states what its trades are worth, which the instrument's contract size must make of them; a value that is rounded away shows nothing."""
    source = SOURCE.format(venue=venue, more="")
    text = HEAD + row.rpartition(",")[0].replace("Tick,", "Tick,other ") + ",0\n" + row
    other = INSTRUMENTS.replace('contract_size = "1"', f'contract_size = "{size}"')
    assert run(text_import, text, source).summary.rows["trades"] == 2
    with pytest.raises(
        ConfigError,
        match=rf"a\.csv\.gz: .* contracts at .* by the contract_size of BTC/USD.*, which is {size.replace('0.01', '1/100')};",
    ):
        text_import(source, {"a.csv.gz": gzip.compress(text.encode()), "mine.toml": other.encode()})


def test_spot(text_import: TextImport) -> None:
    """Times in ms; the `id` counts the rows of a file and is no id of a trade, so that there is none."""
    text = "id,timestamp,price,volume,side,rpi\n1,1700000000074,106453.8,0.003718,sell,0\n2,1700000000150,106456.9,0.000500,buy,1\n"
    for rows in (text, text.replace(",rpi", "").replace("sell,0", "sell").replace("buy,1", "buy")):
        found = run(text_import, rows, SPOT)
        assert found.rules() == []
        assert [(one["ts_event"] - T, one["price_int"], one["trade_id"], one["aggressor"]) for one in found.named("trades")] == [
            (74_000_000, 10_645_380, None, 1),
            (150_000_000, 10_645_690, None, 0),
        ]
        assert [(one["qty_int"], one["qty_scale"]) for one in found.named("trades")] == [(3718, 6), (500, 6)]


def test_a_file_that_begins_with_its_newest_row(text_import: TextImport) -> None:
    """As those of the first years do: read from its end, which a note and a row of the connection say, with the numbers of its lines."""
    rows = trade("3.5", "d"), trade("3.5", "c"), trade("2.5", "bad", side="x"), trade("1.5", "b"), trade("1.5", "a")
    found = run(text_import, HEAD + "".join(rows))
    assert [(one["trade_id"], one["ts_event"] - T) for one in found.named("trades")] == [
        ("a", 1_500_000_000),
        ("b", 1_500_000_000),
        ("c", 3_500_000_000),
        ("d", 3_500_000_000),
    ]
    assert found.rules() == [("bad_side", 4)]
    assert [CONNECTION_EVENTS[row["event"]] for row in found.named("connections")] == ["opened", "heartbeat", "closed"]
    words = "a.csv.gz: the newest row comes first; read from the end"
    assert (found.named("connections")[1]["detail"], found.summary.notes) == (words, (words,))


@pytest.mark.parametrize(
    ("row", "rule"),
    [
        (trade("1.2", "x", side="None"), "bad_side"),
        (trade("1.2", "x", side=""), "bad_side"),
        (trade("1.2", "x", price="NaN"), "bad_number"),
        (trade("1.2", "x", size=""), "bad_number"),
        (trade("1.2", "x", size="0.00044782999999999997"), "bad_number"),
        (trade("1.2", "x").replace("\n", ",0\n"), "wrong_fields"),
        ("\n", "wrong_fields"),
        (trade("x", "x"), "bad_time"),
        (trade("1.2", "x")[1:], "bad_time"),
        (trade("0.5", "x"), "time_backwards"),
        (trade("1.2", "a"), "duplicate_trade"),
        (trade("1.2", "x", native="DOGEUSDT"), "unknown_instrument"),
        ("\udcff\n", "wrong_fields"),
    ],
)
def test_hostile_rows(text_import: TextImport, row: str, rule: str) -> None:
    """A bad row is a reject with its line, the rows around it are kept."""
    text = HEAD + trade("1.1", "a") + row + trade("1.3", "b")
    source = {"a.csv.gz": gzip.compress(text.encode("utf-8", "surrogateescape")), "mine.toml": INSTRUMENTS.encode()}
    found = text_import(LINEAR, source)
    assert found.rules() == [(rule, 3)]
    assert [one["trade_id"] for one in found.named("trades")] == ["a", "b"]


def test_a_symbol_that_is_stated_is_the_only_one(text_import: TextImport) -> None:
    """Rows of another instrument than the stated one are rejects."""
    source = SOURCE.format(venue="bybitlinear", more='symbol = "BTC/USDT:USDT"\n')
    found = run(text_import, HEAD + trade("1.1", "a") + trade("1.2", "b", native="ETHUSDT"), source)
    assert found.rules() == [("unknown_instrument", 3)]
    assert len(found.rows["trades"]) == 1


def test_a_file_that_is_cut_off_says_so(text_import: TextImport) -> None:
    """The rows before the cut are kept."""
    packed = gzip.compress((HEAD + trade("1.1", "a") * 1).encode())
    found = text_import(LINEAR, {"a.csv.gz": packed[:-8], "mine.toml": INSTRUMENTS.encode()})
    assert [rule for rule, _ in found.rules()] == ["truncated_file"]
    assert len(found.rows["trades"]) == 1


@pytest.mark.parametrize(
    ("source", "text", "match"),
    [
        (LINEAR, "", "line 1 is the header of no layout"),
        (LINEAR, trade("1.1", "a"), "line 1 is the header of no layout"),
        (LINEAR, HEAD.replace("size,price", "price,size"), r"a\.csv\.gz: line 1 is the header of no layout"),
        (LINEAR, "id,timestamp,price,volume,side\n", "header of spot, which are not traded on venue 'bybitlinear'"),
        (SPOT, HEAD, "header of contracts, which are not traded on venue 'bybit'"),
        (SOURCE.format(venue="bybit", more=""), "id,timestamp,price,volume,side\n", "line 1: a layout that names no instrument"),
        (SOURCE.format(venue="binance", more=""), HEAD, "none of Bybit's"),
        (LINEAR.replace('venue = "bybitlinear"\n', ""), HEAD, "bybit-trades needs venue"),
        (LINEAR.replace('time_rule = "ts_event + 5 ms"\n', ""), HEAD, "has no receive time, so time_rule"),
    ],
)
def test_what_stops_the_import(text_import: TextImport, source: str, text: str, match: str) -> None:
    """Another layout, another market and what the file does not say are errors that name the file."""
    with pytest.raises(ConfigError, match=match):
        run(text_import, text, source)
