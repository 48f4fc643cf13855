"""Raw data of Tardis, written to its published layouts: frames of originals, generated books, disconnects, hostile lines."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.imports.conftest import Imported, TextImport, imported
from tests.imports.test_cryptofeed import instruments
from xarb.errors import ConfigError
from xarb.imports.sources import load_sources

SOURCE = '[[source]]\nformat = "tardis-raw"\npath = "a"\nvenue = "binance"\nsymbol = "BTC/USDT"\n'
LINES = 4_000  # of the original, beyond its snapshot


def clock(ticks: int) -> str:
    """A time in units of 100 ns as Tardis writes it."""
    seconds, rest = divmod(ticks, 10**7)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:07}Z"


def at(ms: int) -> str:
    """A time of the tests."""
    return clock(17_000_000_000_000_000 + ms * 10_000)


def raw(ms: int, message: object) -> bytes:
    """A line of a feed."""
    return f"{at(ms)} {json.dumps(message, separators=(',', ':'))}\n".encode()


def replayed(ms: int, message: object) -> bytes:
    """The same from Tardis Machine."""
    return f'{{"localTimestamp":"{at(ms)}","message":{json.dumps(message)}}}\n'.encode()


def update(first: int, last: int) -> dict[str, Any]:
    """A frame with an update."""
    data = {"e": "depthUpdate", "E": 1700000001000, "s": "BTCUSDT", "U": first, "u": last, "b": [["1.5", str(last)]], "a": []}
    return {"stream": "btcusdt@depth@100ms", "data": data}


def book(last: int) -> dict[str, Any]:
    """A generated snapshot."""
    data = {"lastUpdateId": last, "bids": [["1.5", "7"]], "asks": [["2.5", "8"]]}
    return {"stream": "btcusdt@depthSnapshot", "generated": True, "data": data}


def trade(stream: str, number: int) -> dict[str, Any]:
    """A trade in either of Binance's forms."""
    key = "t" if stream == "trade" else "a"
    data = {"e": stream, "E": 1700000001000, "s": "BTCUSDT", key: number, "p": "1.5", "q": "2", "T": 1700000001000, "m": True}
    return {"stream": f"btcusdt@{stream}", "data": data}


def verdicts(found: Imported) -> list[tuple[int, bool, int]]:
    """Number, whether it is a snapshot and verdict of every book message: 0 apply, 1 old, 2 unsynced."""
    return [(row["venue_seq"], row["is_snapshot"], row["verdict"]) for row in found.named("book_deltas") if row["is_last"]]


def gaps(found: Imported) -> list[str]:
    """Why books were given up."""
    return [row["detail"] for row in found.named("connections") if row["event"] == 2]


@pytest.mark.parametrize("line", [raw, replayed])
def test_frames_of_an_original(shared: Path, tmp_path: Path, line: Any) -> None:
    """The frames of a recording give in Tardis' layouts what they give in their own, to 100 ns."""
    path = shared / "binance-wire-2024-08" / "spot" / "btcusdt_20240808.gz"
    if not path.is_file():
        pytest.skip(f"the real recording is not there: {path}")
    plain, wrapped = [], []
    with gzip.open(path) as file:
        for number, text in enumerate(file):
            ns, _, payload = text.rstrip(b"\n").partition(b" ")
            ticks = int(ns) // 100
            plain.append(b"%d %s\n" % (ticks * 100, payload))
            if payload.startswith(b'{"lastUpdateId"'):
                payload = b'{"stream":"btcusdt@depthSnapshot","generated":true,"data":%s}' % payload
            written = b'{"localTimestamp":"%s","message":%s}\n' if line is replayed else b"%s %s\n"
            wrapped.append(written % (clock(ticks).encode(), payload))
            if number == LINES:
                break
    (tmp_path / "plain").write_bytes(b"".join(plain))
    (tmp_path / "wrapped.gz").write_bytes(gzip.compress(b"".join(wrapped), 1))
    found = []
    for name, form in (("plain", "binance-raw"), ("wrapped.gz", "tardis-raw")):
        (tmp_path / "sources.toml").write_text(SOURCE.replace("tardis-raw", form).replace('"a"', f'"{name}"'))
        found.append(imported(load_sources(tmp_path / "sources.toml")))
    assert found[1].rules() == []
    assert Counter(verdict for _, _, verdict in verdicts(found[1]))[0] > 300
    for kind in ("quotes", "trades", "book_deltas"):
        assert found[1].rows[kind] == found[0].rows[kind]


@pytest.mark.parametrize("line", [raw, replayed])
@pytest.mark.parametrize("mark", [b"\n", b"\r\n", b"null\n", b"\n\n"])
def test_a_disconnect_starts_books_anew(text_import: TextImport, line: Any, mark: bytes) -> None:
    """What was lost meanwhile is not known: one gap, even where the numbers seem to go on, and the next generated book starts anew."""
    messages = [line(1, update(5, 6)), line(2, book(6)), line(3, update(7, 8)), mark, line(4, update(9, 9)), line(5, book(9))]
    found = text_import(SOURCE, {"a": mark + b"".join([*messages, line(6, update(10, 10))])})
    assert verdicts(found) == [(6, False, 2), (6, True, 0), (8, False, 0), (9, False, 2), (9, True, 0), (10, False, 0)]
    assert (gaps(found), found.rules()) == (["the recorder was disconnected"], [])


def test_of_two_streams_of_the_same_trades_one_is_read(text_import: TextImport) -> None:
    """A feed without filters holds both trade and aggTrade: volume is not counted twice."""
    lines = [raw(1, trade("aggTrade", 4)), raw(2, trade("trade", 9)), raw(3, trade("trade", 10)), raw(4, trade("aggTrade", 5))]
    found = text_import(SOURCE, {"a": b"".join(lines)})
    assert [row["trade_id"] for row in found.named("trades")] == ["4", "5"]
    assert found.rules() == [("duplicate_trade", 2), ("duplicate_trade", 3)]


def test_trades_beside_the_book_are_rejects(text_import: TextImport) -> None:
    """Futures: what the insurance fund or a deleveraging took over was no trade of the market."""
    lines = []
    for number, kind in enumerate(("MARKET", "ADL", "INSURANCE_FUND")):
        message = trade("trade", number)
        message["data"]["X"] = kind
        lines.append(raw(number, message))
    found = text_import(SOURCE, {"a": b"".join(lines)})
    assert [row["trade_id"] for row in found.named("trades")] == ["0"]
    assert found.rules() == [("off_book_trade", 2), ("off_book_trade", 3)]


def test_other_messages_of_tardis_are_rejects(text_import: TextImport) -> None:
    """Open interest that Tardis polled is no frame of the stream."""
    message = {"stream": "btcusdt@openInterest", "generated": True, "data": {"openInterest": "1", "symbol": "BTCUSDT"}}
    assert text_import(SOURCE, {"a": raw(1, update(1, 1)) + raw(1, message)}).rules() == [("unread_kind", 2)]


LEVELS = {"bids": [["1.5", "7"]], "asks": [["2.5", "8"]]}


@pytest.mark.parametrize(
    ("venue", "native", "message", "number"),
    [
        ("binanceusdm", "BTCUSDT", book(6) | {"data": {"lastUpdateId": 6, "E": 1700000000000, "T": 1700000000000, **LEVELS}}, 6),
        (
            "kucoin",
            "BTC-USDT",
            {
                "type": "message",
                "generated": True,
                "topic": "/market/level2Snapshot:BTC-USDT",
                "subject": "trade.l2Snapshot",
                "code": "200000",
                "data": {"time": 1700000000000, "sequence": "6", **LEVELS},
            },
            6,
        ),
        (
            "gate",
            "BTC_USDT",
            {
                "result": {"id": 6, "current": 1700000000000, "update": 1700000000000, **LEVELS},
                "event": "snapshot",
                "channel": "spot.order_book_update",
                "symbol": "BTC_USDT",
                "generated": True,
            },
            6,
        ),
        (
            "bitstamp",
            "btcusd",
            {
                "data": {"timestamp": "1700000000", "microtimestamp": "1700000000000000", **LEVELS},
                "event": "snapshot",
                "channel": "diff_order_book_btcusd",
                "generated": True,
            },
            None,
        ),
    ],
)
def test_generated_books_by_exchange(
    text_import: TextImport, venue: str, native: str, message: dict[str, Any], number: int | None
) -> None:
    """The four forms of a book that Tardis fetched; a name that is not listed is a reject."""
    source = f'instruments = "i.toml"\n[[source]]\nformat = "tardis-raw"\npath = "a"\nvenue = "{venue}"\n'
    line = raw(1, message).replace(b"BTC", b"NKN").replace(b"btc", b"nkn")  # a name that is not among those that ship
    lines = line + raw(2, message).replace(b"BTC", b"XRP").replace(b"btc", b"xrp")
    natives = (native.replace("BTC", "NKN").replace("btc", "nkn"),)
    found = text_import(source, {"a": lines, "i.toml": instruments(venue, natives).encode()})
    assert verdicts(found) == [(number, True, 0)]
    assert [(row["side"], row["price_int"]) for row in found.named("book_deltas")] == [(0, 150), (1, 250)]
    assert found.rules() == [("unknown_instrument", 2)]


def test_the_channel_of_books_is_stated(text_import: TextImport) -> None:
    """OKX: of two channels the stated one makes the book, the other is a reject and breaks no chain."""
    source = 'instruments = "i.toml"\n[[source]]\nformat = "tardis-raw"\npath = "a"\nvenue = "okx"\nbook_channel = "books-l2-tbt"\n'

    def message(channel: str, action: str, prev: int, last: int) -> dict[str, Any]:
        item = {
            "asks": [["2.5", "8", "0", "1"]],
            "bids": [],
            "ts": "1700000000000",
            "checksum": 0,
            "seqId": last,
            "prevSeqId": prev,
        }
        return {"arg": {"channel": channel, "instId": "BTC-USDT"}, "action": action, "data": [item]}

    tbt, slow = "books-l2-tbt", "books"
    lines = [
        raw(1, message(tbt, "snapshot", -1, 3)),
        raw(2, message(slow, "snapshot", -1, 3)),
        raw(3, message(tbt, "update", 3, 5)),
    ]
    found = text_import(source, {"a": b"".join(lines), "i.toml": instruments("okx", ("BTC-USDT",)).encode()})
    assert verdicts(found) == [(3, True, 0), (5, False, 0)]
    assert found.rules() == [("unknown_message", 2)]


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        (b"nonsense\n", "bad_line"),
        (at(2).encode() + b"\n", "bad_line"),
        (at(2).encode() + b" nonsense\n", "bad_line"),
        (b'{"localTimestamp":"%s"}\n' % at(2).encode(), "bad_line"),
        (b'{"type":"trade","localTimestamp":"%s"}\n' % at(2).encode(), "bad_line"),
        (b"2023-02-30T00:00:00.0000000Z {}\n", "bad_time"),
        (b"1700000001.0 {}\n", "bad_time"),
        (raw(0, update(7, 8)), "time_backwards"),
        (at(2).encode() + b" {\n", "bad_json"),
        (at(2).encode() + b' {"x":' + b"[" * 100_000 + b"\n", "bad_json"),
    ],
)
def test_hostile_lines(text_import: TextImport, line: bytes, rule: str) -> None:
    """A bad line is a reject with its number; the lines around it are kept."""
    found = text_import(SOURCE, {"a": raw(1, update(5, 6)) + line + raw(3, update(9, 9))})
    assert found.rules() == [(rule, 2)]
    assert len(found.rows["book_deltas"]) == 2


def test_a_line_that_cannot_be_placed_gives_up_a_book_without_numbers(text_import: TextImport) -> None:
    """Bitstamp numbers nothing: the update that a bad line may have held would be missed by nobody."""

    def diff(us: int) -> dict[str, Any]:
        return {
            "event": "data",
            "channel": "diff_order_book_btcusd",
            "data": {"microtimestamp": str(us), "timestamp": "1", **LEVELS},
        }

    start = 1_700_000_000_000_000
    snapshot = {**diff(start), "event": "snapshot", "generated": True}
    lines = raw(0, diff(start - 1)) + raw(1, snapshot) + raw(2, diff(start + 1)) + b"x\n" + raw(4, diff(start + 3))
    found = text_import('[[source]]\nformat = "tardis-raw"\npath = "a"\nvenue = "bitstamp"\n', {"a": lines})
    assert [verdict for _, _, verdict in verdicts(found)] == [2, 0, 0, 2]
    assert (found.rules(), len(gaps(found))) == ([("bad_line", 4)], 1)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"seq,price\n1,2\n", "/a: line 1 is no line"),
        (b'\n{"type":"trade","symbol":"BTCUSDT"}\n', "/a: line 2 is no line"),
        (at(1).encode() + b' [0,{"as":[]},"book-1000","XBT/USD"]\n', "/a: line 1 is a frame of another version"),
        (b"", "no row of any source"),
    ],
)
def test_another_layout_stops_the_import(text_import: TextImport, content: bytes, match: str) -> None:
    """Tables, normalised messages and version 1 of Kraken are named."""
    with pytest.raises(ConfigError, match=match):
        text_import(SOURCE, {"a": content})


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ('venue = "binance"\nsymbol = "BTC/USDT"\n', "", "needs venue"),
        ('"binance"\nsymbol = "BTC/USDT"', '"deribit"', "no wire of venue 'deribit'"),
        ('"binance"\nsymbol = "BTC/USDT"', '"binance-futures"', "which is binanceusdm here"),
        ('"binance"\nsymbol = "BTC/USDT"', '"coinbase"', "feed of Coinbase Exchange"),
        ('"binance"\nsymbol = "BTC/USDT"', '"upbit"', "long field names"),
        ('"binance"\nsymbol = "BTC/USDT"', '"kraken"', r"book_channel is missing; allowed: book\.10"),
        ('"binance"\nsymbol = "BTC/USDT"', '"bybit"\nbook_channel = "books"', r"'books' is not known; allowed: orderbook\.50"),
        ("symbol", 'book_channel = "depth"\nsymbol', "binance has one channel of books"),
    ],
)
def test_keys(text_import: TextImport, old: str, new: str, match: str) -> None:
    """What cannot be decoded is refused by its name."""
    with pytest.raises(ConfigError, match=match):
        text_import(SOURCE.replace(old, new), {"a": raw(1, update(1, 1))})
