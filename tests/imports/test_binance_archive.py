"""Binance's public archive, written to its published layouts: what each kind of file becomes, its checksum, its unit of time, hostile rows."""

from __future__ import annotations

import gzip
import hashlib
import io
import zipfile
from pathlib import Path

import pytest

from tests.imports.conftest import Imported, TextImport
from xarb.errors import ConfigError
from xarb.model.columns import CONNECTION_EVENTS

SYMBOLS = {"binance": "BTC/USDT", "binanceusdm": "BTC/USDT:USDT", "binancecoinm": "BTC/USD:BTC"}
NATIVES = {"binance": "BTCUSDT", "binanceusdm": "BTCUSDT", "binancecoinm": "BTCUSD_PERP"}
TRADES = "id,price,qty,quote_qty,time,is_buyer_maker\n"
AGGREGATES = "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker\n"
TICKERS = "update_id,best_bid_price,best_bid_qty,best_ask_price,best_ask_qty,transaction_time,event_time\n"
MS = 1704067200000  # 2024-01-01
SPOT = f"28457,42000.10,0.50000000,21000.05000000,{MS},True,True\n28458,42000.2,1.25,52500.25,{MS + 3},False,False\n"


def zipped(text: str, name: str = "inside.csv") -> bytes:
    """A zip of one file."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, text)
    return target.getvalue()


def run(
    text_import: TextImport, text: str, *, venue: str = "binance", kind: str = "trades", more: dict[str, bytes] | None = None
) -> Imported:
    """The import of one zip, named as the archive names it."""
    name = f"{NATIVES[venue]}-{kind}-2024-01-01.zip"
    return text_import(source(name, venue), {name: zipped(text), **(more or {})})


def source(name: str, venue: str, further: str = "") -> str:
    """A source of the archive."""
    keys = f'path = "{name}"\nvenue = "{venue}"\nsymbol = "{SYMBOLS[venue]}"\n{further}'
    return f'[[source]]\nformat = "binance-archive"\ntime_rule = "ts_event + 5 ms"\n{keys}'


def prints(found: Imported) -> list[tuple[str, int, int, int, int]]:
    """Id, price, size, aggressor (0 buys, 1 sells) and the venue's time of every trade, in ns after the start of 2024."""
    rows = found.named("trades")
    assert all(row["ts_recv"] - row["ts_event"] == 5_000_000 for row in rows)
    return [(row["trade_id"], row["price_int"], row["qty_int"], row["aggressor"], row["ts_event"] - MS * 10**6) for row in rows]


def test_trades_of_spot(text_import: TextImport) -> None:
    """A buyer who was the maker means that the seller took; with or without a header, zipped or not, all is the same."""
    wanted = [("28457", 4200010, 50_000_000, 1, 0), ("28458", 4200020, 125_000_000, 0, 3_000_000)]
    header = TRADES.replace("maker\n", "maker,is_best_match\n")
    for text in (SPOT, header + SPOT):
        found = run(text_import, text)
        assert (prints(found), found.rules()) == (wanted, [])
    name = "BTCUSDT-trades-2024-01.csv"
    assert prints(text_import(source(name, "binance"), {name: SPOT.encode()})) == wanted


def test_microseconds_of_spot(text_import: TextImport) -> None:
    """Since 2025 spot has microseconds: 16 digits where there were 13."""
    found = run(text_import, SPOT.replace(f"{MS}", f"{MS}007").replace(f"{MS + 3}", f"{MS + 3}004"))
    assert [row[4] for row in prints(found)] == [7_000, 3_004_000]
    with pytest.raises(ConfigError, match=r"trades-2024-01-01\.zip: line 2 has its time in ms, line 1 in us"):
        run(text_import, SPOT.replace(f"{MS}", f"{MS}007"))


def test_trades_of_futures(text_import: TextImport) -> None:
    """USD-M in coins; COIN-M in contracts, whose worth the instrument states and `base_qty` confirms."""
    found = run(text_import, TRADES + f"7,42000.1,0.003,126.0003,{MS},true\n", venue="binanceusdm")
    assert prints(found) == [("7", 4200010, 3, 1, 0)]
    text = TRADES.replace("quote", "base") + f"8,78526.1,83.0,0.10569734,{MS},false\n"
    found = run(text_import, text, venue="binancecoinm")
    assert prints(found) == [("8", 785261, 83, 0, 0)]
    assert [row["contract_size"] for row in found.named("instruments")] == [100 * 10**18]
    with pytest.raises(
        ConfigError, match=r"83\.0 contracts at 78526\.1 are worth 0\.01056973 by base_qty, 0\.105697\d* by the contract_size"
    ):
        run(text_import, text.replace("0.10569734", "0.01056973"), venue="binancecoinm")


@pytest.mark.parametrize("venue", NATIVES)
def test_aggregates(text_import: TextImport, venue: str) -> None:
    """An aggregate is a trade with the id of the aggregate; spot has a column more."""
    row = f"100,42000.5,2,200,205,{MS},true" + (",True" if venue == "binance" else "")
    found = run(text_import, row + "\n", venue=venue, kind="aggTrades")
    assert [(one[0], one[3]) for one in prints(found)] == [("100", 1)]
    assert found.rules() == []


@pytest.mark.parametrize("venue", ["binanceusdm", "binancecoinm"])
def test_tickers(text_import: TextImport, venue: str) -> None:
    """Best prices are quotes at the time of the transaction; an empty side, which has size zero, is null."""
    text = TICKERS + f"9001,49999.9,1,50000.1,2,{MS},{MS + 9}\n9002,0,0,50000.2,3,{MS + 1},{MS + 9}\n"
    found = run(text_import, text, venue=venue, kind="bookTicker")
    names = ("venue_seq", "bid_int", "bid_qty_int", "ask_int", "ask_qty_int", "ts_event")
    unit = 10 ** found.named("quotes")[0]["qty_scale"]
    px = 10 ** found.named("quotes")[0]["px_scale"] // 10
    assert [[row[name] for name in names] for row in found.named("quotes")] == [
        [9001, 499999 * px, unit, 500001 * px, 2 * unit, MS * 10**6],
        [9002, None, None, 500002 * px, 3 * unit, (MS + 1) * 10**6],
    ]


def test_the_checksum(text_import: TextImport) -> None:
    """A right one is told, an absent one is told, a wrong one stops the import."""
    name = "BTCUSDT-trades-2024-01-01.zip"
    beside, digest = f"{name}.CHECKSUM", hashlib.sha256(zipped(SPOT)).hexdigest()
    found = run(text_import, SPOT)
    assert found.summary.notes == (f"{name} was not verified: no {beside} beside it",)
    found = run(text_import, SPOT, more={beside: f"{digest}  {name}\n".encode()})
    assert found.summary.notes == (f"{name} has the SHA-256 of {beside}",)
    rows = [(CONNECTION_EVENTS[row["event"]], row["detail"]) for row in found.named("connections")]
    assert rows[1] == ("heartbeat", found.summary.notes[0])
    for text, match in (
        (f"{digest[:-1]}{'0' if digest[-1] != '0' else '1'}  {name}\n", f"its SHA-256 is {digest}, {beside} says"),
        (f"{digest}  BTCUSDT-trades-2024-01-02.zip\n", r"the digest of BTCUSDT-trades-2024-01-02\.zip, not of"),
        ("<html>", "is no SHA-256 digest"),
        ("", "is no SHA-256 digest"),
    ):
        with pytest.raises(ConfigError, match=match):
            run(text_import, SPOT, more={beside: text.encode()})


@pytest.mark.parametrize(
    ("row", "rule"),
    [
        (f"28457,42000.1,0.5,21000.05,{MS},maybe,True\n", "bad_flag"),
        (f"x,42000.1,0.5,21000.05,{MS},True,True\n", "wrong_type"),
        (f"28457,,0.5,21000.05,{MS},True,True\n", "bad_number"),
        (f"28457,NaN,0.5,21000.05,{MS},True,True\n", "bad_number"),
        (f"28457,42000.1,0.5,21000.05,{MS},True\n", "wrong_fields"),
        ("\n", "wrong_fields"),
        ("28457,42000.1,0.5,21000.05,1704067200,True,True\n", "bad_time"),
        ("28457,42000.1,0.5,21000.05,9904067200000,True,True\n", "bad_time"),
        (f"28457,42000.1,0.5,21000.05,{MS - 1},True,True\n", "time_backwards"),
        (f"28457,42000.1,0.5,21000.05,{MS},\xff,True\n", "bad_flag"),
    ],
)
def test_hostile_rows(text_import: TextImport, row: str, rule: str) -> None:
    """A bad row is a reject with its line, the rows around it are kept."""
    first, last = SPOT.splitlines(keepends=True)
    found = run(text_import, first + row + last)
    assert (found.rules(), [one[0] for one in prints(found)]) == ([(rule, 2)], ["28457", "28458"])
    assert found.named("rejects")[0]["payload"] == row.removesuffix("\n")


def test_a_cut_gzip(text_import: TextImport) -> None:
    """A file that somebody packed anew and cut gives the lines that are whole, and says so."""
    name = "BTCUSDT-trades-2024-01-01.csv.gz"
    text = "".join(f"{number},42000.1,0.{number * 7919},1,{MS},True,True\n" for number in range(1, 4000))
    found = text_import(source(name, "binance"), {name: gzip.compress(text.encode())[:20_000]})
    assert found.rules()[-1][0] == "truncated_file"
    assert len(found.rows["trades"]) > 100


@pytest.mark.parametrize(
    ("venue", "name", "text", "match"),
    [
        ("binance", "trades.csv", SPOT, r"trades\.csv: not named as in Binance's archive, such as BTCUSDT-trades-2024-01-01\.zip"),
        ("binance", "ETHUSDT-trades-2024-01-01.csv", SPOT, "named as a file of ETHUSDT, but the source is of BTCUSDT"),
        (
            "binance",
            "BTCUSDT-bookTicker-2024-01-01.csv",
            TICKERS,
            "bookTicker are not read for binance: read are trades, aggTrades",
        ),
        ("binance", "BTCUSDT_T_DEPTH_2022-11-01_depth_snap.csv", "", "depth_snap are not read for binance"),
        ("binance", "BTCUSDT-1m-2024-01-01.csv", "", "files of 1m are not read for binance"),
        (
            "binanceusdm",
            "BTCUSDT-bookDepth-2024-01-01.csv",
            "",
            "sums within bands of per cent .* read are trades, aggTrades, bookTicker, T_DEPTH",
        ),
        ("binance", "BTCUSDT-trades-2024-01-01.csv", "", "the file is empty"),
        ("binance", "BTCUSDT-trades-2024-01-01.csv", "time,bid,ask\n", "line 1 is neither the header nor a row of trades"),
        ("binance", "BTCUSDT-aggTrades-2024-01-01.csv", SPOT, "line 1 is neither the header nor a row of aggTrades"),
        ("binanceusdm", "BTCUSDT-trades-2024-01-01.csv", SPOT, "line 1 is neither the header nor a row of trades"),
        ("binancecoinm", "BTCUSD_PERP-trades-2024-01-01.csv", TRADES, "line 1 is neither the header nor a row of trades"),
        ("binance", "BTCUSDT-trades-2024-01-01.zip", SPOT, "not a zip file"),
    ],
)
def test_another_file_stops_the_import(text_import: TextImport, venue: str, name: str, text: str, match: str) -> None:
    """A file of another name, instrument or layout is named, with what it would have to be."""
    with pytest.raises(ConfigError, match=match):
        text_import(source(name, venue), {name: text.encode()})


def test_files_go_on(text_import: TextImport) -> None:
    """The days of one kind follow each other on one connection, each with a unit of its own; another kind does not."""
    days = [f"BTCUSDT-trades-2024-12-3{day}.csv" for day in (0, 1)]
    later = SPOT.replace(f"{MS}", f"{MS + 10}000").replace(f"{MS + 3}", f"{MS + 13}000")
    sources = source(days[0], "binance") + source(days[1], "binance", "continues = true\n")
    found = text_import(sources, {days[0]: SPOT.encode(), days[1]: later.encode()})
    assert [row[4] // 10**6 for row in prints(found)] == [0, 3, 10, 13]
    other = "BTCUSDT-aggTrades-2024-12-31.csv"
    with pytest.raises(ConfigError, match="continues files of trades with one of aggTrades"):
        text_import(sources.replace(days[1], other), {other: b""})


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ('time_rule = "ts_event + 5 ms"\n', "", "binance-archive has no receive time, so time_rule must say"),
        ("ts_event + 5 ms", "5 ms", "is not of the form"),
        ('venue = "binance"\nsymbol = "BTC/USDT"', 'venue = "kraken"\nsymbol = "BTC/USD"', "is none of Binance's"),
        ('symbol = "BTC/USDT"\n', "", "needs venue and symbol"),
        ('symbol = "BTC/USDT"\n', 'symbol = "BTC/USDT"\nrest = "x.csv"\n', "rest names the depth_snap file"),
        ('symbol = "BTC/USDT"\n', 'symbol = "BTC/USDT"\ntime_unit = "ms"\n', "unknown key 'time_unit'"),
    ],
)
def test_keys(text_import: TextImport, tmp_path: Path, old: str, new: str, match: str) -> None:
    """What the file does not say must be stated, and nothing else may be."""
    name = "BTCUSDT-trades-2024-01-01.csv"
    (tmp_path / "x.csv").write_text("")
    text = source(name, "binance")
    assert old in text
    with pytest.raises(ConfigError, match=match):
        text_import(text.replace(old, new), {name: SPOT.encode()})
