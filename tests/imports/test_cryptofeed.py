"""Raw captures of cryptofeed: the originals give what their sessions gave before, and lines of every kind are read or refused."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from tests.imports.conftest import Imported, TextImport, imported
from xarb.errors import ConfigError
from xarb.imports.sources import load_sources

FOLDER = "exchange-wire-cryptofeed"
BITSTAMP = ("sgbeur", "ethusd", "xrpeur", "bateur", "usdteur", "usdtusd", "xlmgbp", "adaeur", "batbtc", "galaeur")
BINANCE = ("NKNUSDT", "BLZETH", "LRCBTC", "RUNEEUR")


def instruments(venue: str, natives: tuple[str, ...]) -> str:
    """An instruments file whose symbols are made of the native names."""
    return "".join(
        f'[[instrument]]\nvenue = "{venue}"\nsymbol = "{name.upper()[:3]}{number}/{name.upper()[3:]}"\nnative = "{name}"\nkind = "spot"\npx_scale = 2\nqty_scale = 4\n'
        f'base = "{name.upper()[:3]}{number}"\nquote = "{name.upper()[3:]}"\n'
        for number, name in enumerate(natives)
    )


def capture(shared: Path, tmp_path: Path, venue: str, natives: tuple[str, ...], *names: str) -> Imported:
    """The import of an original: its stream, and its answers where there are any."""
    if not (shared / FOLDER).is_dir():
        pytest.skip(f"the real recordings are not there: {shared / FOLDER}")
    paths = [shared / FOLDER / name for name in names]
    (tmp_path / "mine.toml").write_text(instruments(venue, natives))
    text = f'instruments = "mine.toml"\n[[source]]\nformat = "cryptofeed-raw"\npath = "{paths[0]}"\nvenue = "{venue}"\n'
    (tmp_path / "sources.toml").write_text(text + "".join(f'rest = "{path}"\n' for path in paths[1:]))
    return imported(load_sources(tmp_path / "sources.toml"))


def natives(shared: Path, name: str, pattern: str) -> tuple[str, ...]:
    """The native names that stand in an original."""
    path = shared / FOLDER / name
    return tuple(dict.fromkeys(re.findall(pattern, path.read_text(encoding="utf-8")))) if path.is_file() else ()


def rejected(found: Imported) -> set[str]:
    """What the rejects say."""
    return {row["detail"] for row in found.named("rejects")}


def verdicts(found: Imported) -> dict[tuple[bool, int], int]:
    """Book messages by whether they are snapshots and by verdict: 0 apply, 1 old, 2 unsynced."""
    return Counter((row["is_snapshot"], row["verdict"]) for row in found.named("book_deltas") if row["is_last"])


def test_binance(shared: Path, tmp_path: Path) -> None:
    """Original: four books start with the answers, in the order of the recorder's clock; times are exact to the last digit."""
    found = capture(shared, tmp_path, "binance", BINANCE, "BINANCE.ws.1.0", "BINANCE.http.0.0")
    assert verdicts(found) == {(False, 0): 172, (False, 1): 1, (False, 2): 4, (True, 0): 4}
    assert rejected(found) == {"message type 'kline' is not decoded"}
    first = found.named("quotes")[0]
    assert (first["ts_recv"], first["venue_seq"]) == (1633998513377805000, 499869768)
    assert (first["bid_int"], first["bid_qty_int"], first["ask_int"], first["ask_qty_int"]) == (35210, 6720000, 35260, 31990000)
    snapshot = next(row for row in found.named("book_deltas") if row["is_snapshot"])
    assert (snapshot["ts_recv"], snapshot["venue_seq"]) == (1633998512320639000, 499869752)


def test_bitstamp(shared: Path, tmp_path: Path) -> None:
    """Original: the answers came before the stream, of which 102 updates are in them already."""
    found = capture(shared, tmp_path, "bitstamp", BITSTAMP, "BITSTAMP.ws.1.0", "BITSTAMP.http.0.0")
    assert verdicts(found) == {(False, 0): 615, (False, 1): 102, (True, 0): 10}
    assert (len(found.rows["trades"]), found.rules()) == (10, [])


def test_okx_and_upbit_without_answers(shared: Path, tmp_path: Path) -> None:
    """Originals: every checksum of OKX is met; the frames of Upbit stand as bytes literals."""
    found = capture(shared, tmp_path, "okx", ("BTC-USDT", "BTC-USD-220527", "UNI-USD-SWAP"), "OKX.ws.1.0")
    assert (verdicts(found), rejected(found)) == ({(False, 0): 287, (True, 0): 3}, {"channel 'tickers' is not decoded"})
    codes = natives(shared, "UPBIT.ws.62.0", '"cd":"([^"]+)"')
    found = capture(shared, tmp_path, "upbit", codes, "UPBIT.ws.62.0")
    assert (len(found.rows["books"]) > 0, len(found.rows["trades"]), found.rules()) == (True, 304, [])


def test_kucoin_and_gate(shared: Path, tmp_path: Path) -> None:
    """Originals: the book of an answer is the one that its address names."""
    names = natives(shared, "KUCOIN.http.0.0", r"symbol=(\S+)")
    found = capture(shared, tmp_path, "kucoin", names, "KUCOIN.ws.1.0", "KUCOIN.http.0.0")
    assert verdicts(found) == {(False, 0): 3805, (False, 1): 39, (False, 2): 9, (True, 0): 9}
    names = natives(shared, "GATEIO.http.0.0", "pair=([A-Z0-9_]+)")
    found = capture(shared, tmp_path, "gate", names, "GATEIO.ws.1.0", "GATEIO.http.0.0")
    assert verdicts(found) == {(False, 0): 159, (False, 1): 4, (False, 2): 10, (True, 0): 9}
    assert len(found.rows["trades"]) == 9


@pytest.mark.parametrize(("venue", "name"), [("kraken", "KRAKEN.ws.50.0"), ("coinbase", "COINBASE.ws.28.0")])
def test_a_stream_of_another_form_is_refused(shared: Path, tmp_path: Path, venue: str, name: str) -> None:
    """Originals: version 1 of Kraken and the Exchange API of Coinbase are not what these sessions read."""
    with pytest.raises(ConfigError, match=rf"{name}: a capture of"):
        capture(shared, tmp_path, venue, ("BTC-USD",), name)


SOURCE = '[[source]]\nformat = "cryptofeed-raw"\npath = "a"\nrest = "b"\nvenue = "binance"\n'
CONNECT = "wss://stream.binance.com:443/stream?streams=btcusdt@depth <-> 1700000000.5\n"
URL = "https://api.binance.com/api/v3/depth?limit=1000&symbol="


def update(at: str, first: int, last: int) -> str:
    """A line with an update."""
    data = f'{{"e":"depthUpdate","E":1700000001000,"s":"BTCUSDT","U":{first},"u":{last},"b":[["1.5","{last}"]],"a":[]}}'
    return f'{at}: {{"stream":"btcusdt@depth","data":{data}}}\n'


def answer(at: str, last: int, native: str = "BTCUSDT") -> str:
    """A line with a snapshot."""
    return f'{URL}{native} -> {at}: {{"lastUpdateId":{last},"bids":[["1.5","7"]],"asks":[["2.5","8"]]}}\n'


def test_a_further_connection_starts_without_books(text_import: TextImport) -> None:
    """What was lost between two connections is not known: a gap, and the book waits for the next answer."""
    stream = CONNECT + update("1700000001.1", 5, 6) + update("1700000001.3", 7, 8) + CONNECT.replace("00.5", "02.5")
    stream += "\nwss://stream.binance.com <- 1700000002.6: {}\n" + update("1700000003.0", 9, 9) + update("1700000004.0", 10, 10)
    found = text_import(SOURCE, {"a": stream.encode(), "b": (answer("1700000001.2", 6) + answer("1700000003.5", 9)).encode()})
    messages = [
        (row["ts_recv"] // 10**8 - 17 * 10**9, row["is_snapshot"], row["verdict"])
        for row in found.named("book_deltas")
        if row["is_last"]
    ]
    assert messages == [(11, False, 2), (12, True, 0), (13, False, 0), (30, False, 2), (35, True, 0), (40, False, 0)]
    assert [row["ts_recv"] for row in found.named("connections") if row["detail"] == "the recorder connected anew"] == [
        1700000002500000000
    ]
    assert found.rules() == []


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("nonsense\n", "bad_line"),
        ("wss://stream.binance.com <-> 1700000001.0: x\n", "bad_line"),
        ("1700000001.0\n", "bad_line"),
        ("1700000001.0: b'\\x0'\n", "bad_line"),
        ("17: {}\n", "bad_time"),
        ("1700000000.0: {}\n", "time_backwards"),
        ("1700000001.0: {\n", "bad_json"),
        (answer("1700000001.0", 5, "ETHUSDT"), "unknown_instrument"),
    ],
)
def test_hostile_lines(text_import: TextImport, line: str, rule: str) -> None:
    """A bad line is a reject with its number, of the answers' file with its name; the lines around it are kept."""
    stream = CONNECT + line + update("1700000002.0", 5, 6)
    found = text_import(SOURCE.replace('rest = "b"\n', ""), {"a": stream.encode()})
    assert found.rules() == [(rule, 2)]
    assert len(found.rows["book_deltas"]) == 1
    if rule != "time_backwards":
        found = text_import(
            SOURCE, {"a": (CONNECT + update("1700000002.0", 5, 6)).encode(), "b": (answer("1700000000.6", 4) + line).encode()}
        )
        assert (found.rules(), found.named("rejects")[0]["detail"][:10]) == ([(rule, None)], "b, line 2:")


@pytest.mark.parametrize(
    "content", [b"seq,price\n1,2\n", b"{}\n", CONNECT.replace("/stream?", "/ws?").encode(), b"wss://[ <-> 1700000000\n"]
)
def test_another_layout_stops_the_import(text_import: TextImport, content: bytes) -> None:
    """A file that is no capture of this stream is named."""
    with pytest.raises(ConfigError, match="/a: "):
        text_import(SOURCE.replace('rest = "b"\n', ""), {"a": content})


@pytest.mark.parametrize("venue", ["", 'venue = "exmo"\n', 'venue = "upbit"\n'])
def test_the_venue_must_have_a_wire_and_instruments(text_import: TextImport, venue: str) -> None:
    """Without either nothing could be decoded."""
    with pytest.raises(ConfigError, match=r"needs venue|no wire of venue|no instrument of upbit"):
        text_import(SOURCE.replace('venue = "binance"\n', venue), {"a": b"", "b": b""})


def test_a_line_that_cannot_be_placed_gives_up_a_book_without_numbers(text_import: TextImport) -> None:
    """Bitstamp numbers nothing: the update that a bad line may have held would be missed by nobody. A bad answer is no update."""

    def update(at: str, us: int) -> str:
        levels = f'{{"timestamp":"1","microtimestamp":"17000000000000{us:02}","bids":[["1.5","1"]],"asks":[]}}'
        return f'{at}: {{"event":"data","channel":"diff_order_book_btcusd","data":{levels}}}\n'

    stream = "wss://ws.bitstamp.net <-> 1700000000.5\n" + update("1700000001.0", 1) + update("1700000002.0", 3)
    stream += update("1700000003.0", 4) + "nonsense\n" + update("1700000004.0", 6)
    book = '{"timestamp":"1","microtimestamp":"1700000000000002","bids":[["1.5","7"]],"asks":[]}'
    answers = f"https://www.bitstamp.net/api/v2/order_book/btcusd/ -> 1700000001.5: {book}\nnonsense\n"
    found = text_import(SOURCE.replace('"binance"', '"bitstamp"'), {"a": stream.encode(), "b": answers.encode()})
    assert [row["verdict"] for row in found.named("book_deltas") if row["is_last"]] == [2, 0, 0, 0, 2]
    assert found.rules() == [("bad_line", None), ("bad_line", 5)]
