"""Bybit's archive of order books: the original gives its books exactly, and lines of every kind are read or refused."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from tests.imports.conftest import Imported, TextImport, imported
from xarb.errors import ConfigError
from xarb.imports.sources import load_sources
from xarb.model.columns import CONNECTION_EVENTS

INSTRUMENT = (
    '[[instrument]]\nvenue = "bybit"\nsymbol = "XRP/USDT"\nnative = "XRPUSDT"\nkind = "spot"\npx_scale = 4\nqty_scale = 2\n'
    'base = "XRP"\nquote = "USDT"\n'
)
KEYS = 'format = "bybit-ob500"\nvenue = "bybit"\nsymbol = "XRP/USDT"\n'
SOURCE = f'instruments = "mine.toml"\n[[source]]\n{KEYS}time_rule = "ts_event + 5 ms"\npath = "a.zip"\n'


def message(u: int, at: int, *, kind: str = "delta", topic: str = "orderbook.500.XRPUSDT", bid: str = "1.5") -> bytes:
    """A line of the archive; `cts` is `at` ms after a second."""
    data = f'{{"s":"XRPUSDT","b":[["{bid}","{u}"]],"a":[["2.5","1"]],"u":{u},"seq":9}}'
    return f'{{"topic":"{topic}","type":"{kind}","ts":1700000000999,"data":{data},"cts":{1700000000000 + at}}}\n'.encode()


def zipped(*contents: bytes) -> bytes:
    """An archive with a file for each of the contents."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, content in enumerate(contents):
            archive.writestr(f"2023-11-14_{number}_ob500.data", content)
    return target.getvalue()


def run(text_import: TextImport, content: bytes, source: str = SOURCE) -> Imported:
    """The import of one file."""
    return text_import(source, {"a.zip": content, "mine.toml": INSTRUMENT.encode()})


def verdicts(found: Imported) -> list[tuple[int, bool, int]]:
    """Counter, snapshot and verdict (0 apply, 2 unsynced) of every message."""
    return [(row["venue_seq"], row["is_snapshot"], row["verdict"]) for row in found.named("book_deltas") if row["is_last"]]


def test_the_original(shared: Path, tmp_path: Path) -> None:
    """Original: 50 messages without a hole, all 3,966 levels, and the top of the book that they end with."""
    path = shared / "vendor-formats" / "bybit" / "xrpusdt-ob500.data.zip"
    if not path.is_file():
        pytest.skip(f"the real recording is not there: {path}")
    (tmp_path / "mine.toml").write_text(INSTRUMENT)
    (tmp_path / "sources.toml").write_text(SOURCE.replace("a.zip", str(path)))
    found = imported(load_sources(tmp_path / "sources.toml"))
    assert verdicts(found) == [(20254869 + number, number == 0, 0) for number in range(50)]
    rows = found.named("book_deltas")
    assert (len(rows), found.rules()) == (3966, [])
    assert (rows[0]["ts_event"], rows[0]["ts_recv"]) == (1733011200589000000, 1733011200594000000)
    assert (rows[0]["price_int"], rows[0]["qty_int"], rows[-1]["ts_event"]) == (19531, 620300, 1733011205488000000)
    sides: dict[str | int, dict[int, int]] = {}
    for row in rows:
        levels = sides.setdefault(row["side"], {})
        levels[row["price_int"]] = row["qty_int"]
        if not row["qty_int"]:
            del levels[row["price_int"]]
    bids, asks = sides.values()
    assert (max(bids), min(asks), len(bids), len(asks)) == (19537, 19538, 500, 500)


def test_a_hole_waits_for_a_snapshot(text_import: TextImport) -> None:
    """A message that does not continue the counter loses the book until the next snapshot."""
    lines = message(5, 1, kind="snapshot") + message(6, 2) + message(8, 3) + message(9, 4) + message(20, 5, kind="snapshot")
    found = run(text_import, zipped(lines))
    assert verdicts(found) == [(5, True, 0), (6, False, 0), (8, False, 2), (9, False, 2), (20, True, 0)]
    assert [CONNECTION_EVENTS[row["event"]] for row in found.named("connections")] == ["opened", "gap", "resync", "closed"]
    assert found.named("connections")[0]["time_rule"] == "ts_event + 5 ms"


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        (b"{\n", "bad_json"),
        (b"\n", "bad_json"),
        (b'{"x":' + b"[" * 100_000 + b"\n", "bad_json"),
        (b'{"topic":"\xff"}\n', "bad_json"),
        (message(6, 2, topic="orderbook.50.XRPUSDT"), "unknown_message"),
        (message(6, 2).replace(b'"cts":1700', b'"cts":1'), "bad_time"),
        (message(6, 0), "time_backwards"),
        (message(6, 2, topic="orderbook.500.BTCUSDT"), "unknown_instrument"),
        (message(6, 2, bid="1e"), "bad_number"),
    ],
)
def test_bad_lines(text_import: TextImport, line: bytes, rule: str) -> None:
    """A line that cannot be used is a reject with its number."""
    found = run(text_import, zipped(message(5, 1, kind="snapshot") + line))
    assert found.rules() == [(rule, 2)]


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "no row of any source"),
        (b"{}\n", "not a zip"),
        (zipped(), "a zip of 0 files"),
        (zipped(b"", b""), "a zip of 2 files"),
        (zipped(b"id,timestamp,price\n"), "line 1 is no message"),
        (zipped(message(5, 1, topic="publicTrade.XRPUSDT")), "line 1 is no message"),
        (zipped(message(5, 1, kind="snapshot"))[:-30], "damaged zip: it stops before its end, which lists what it holds"),
    ],
)
def test_another_file_stops_the_import(text_import: TextImport, content: bytes, match: str) -> None:
    """A file that is no archive of one book is named."""
    with pytest.raises(ConfigError, match=match):
        run(text_import, content)


def test_a_damaged_member_stops_the_import(text_import: TextImport) -> None:
    """What does not have the CRC that the archive states is not imported."""
    content = bytearray(zipped(message(5, 1, kind="snapshot")))
    content[80] ^= 0x10
    with pytest.raises(ConfigError, match="damaged zip"):
        run(text_import, bytes(content))


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ('time_rule = "ts_event + 5 ms"\n', "", "has no receive time, so time_rule"),
        ("ts_event + 5 ms", "5 ms", "is not of the form"),
        ('venue = "bybit"', 'venue = "binance"', "binance"),
        ('symbol = "XRP/USDT"\n', "", "needs venue and symbol"),
    ],
)
def test_keys(text_import: TextImport, old: str, new: str, match: str) -> None:
    """What the file does not say must be stated."""
    with pytest.raises(ConfigError, match=match):
        run(text_import, zipped(message(5, 1)), SOURCE.replace(old, new))
