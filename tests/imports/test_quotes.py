"""Generic quote files, CSV and Parquet: mapping, units, absent cells, and hostile rows."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.imports.conftest import Imported, TextImport, imported
from xarb.errors import ConfigError
from xarb.imports.quotes_parquet import decimal_of_float
from xarb.imports.sources import load_sources

T = 1525783064648
HEAD = b"time,bid,ask\n"
FIXED = """
[[source]]
format = "quotes-csv"
path = "a.csv"
venue = "kraken"
symbol = "BTC/USD"
time_unit = "ms"
columns = { ts_recv = "time", bid = "bid", ask = "ask" }
"""
MAPPED = """
[[source]]
format = "quotes-csv"
path = "a.csv"
time_unit = "s"
time_rule = "ts_event + 5 ms"
columns = { ts_event = "t", venue = "v", symbol = "s", bid = "b", bid_qty = "bq", ask = "a", ask_qty = "aq", venue_seq = "n" }
ignore = ["note"]
"""


def test_fixed_instrument(text_import: TextImport) -> None:
    """Times in ms become ns, sizes are null, zero and crossed prices are market data and stay."""
    found = text_import(FIXED, {"a.csv": HEAD + f"{T},9093.00000,9099.10000\n{T},0,-1\n{T + 1},9100,9000\n".encode()})
    rows = found.named("quotes")
    assert [(row["ts_recv"], row["bid_int"], row["ask_int"], row["px_scale"]) for row in rows] == [
        (T * 10**6, 90930, 90991, 1),
        (T * 10**6, 0, -10, 1),
        ((T + 1) * 10**6, 91000, 90000, 1),
    ]
    assert {(row["ts_event"], row["bid_qty_int"]) for row in rows} == {(None, None)}
    assert found.rules() == []


def test_mapped_columns(text_import: TextImport) -> None:
    """Venue and symbol per row, fractions of seconds, absent cells, a rule for the receive time, and a connection per venue."""
    content = (
        b"\xef\xbb\xbft,v,s,b,bq,a,aq,n,note\r\n"
        b"1525783064.648,kraken,BTC/USD,9093,1.5,,,7,x\r\n"
        b'1525783064.649,bitstamp,BTC/USD,,,9094.01,0,,"a,b"\r\n'
    )
    found = text_import(MAPPED, {"a.csv": content})
    first, second = found.named("quotes")
    assert (first["venue"], first["bid_int"], first["bid_qty_int"], first["ask_int"], first["venue_seq"]) == (
        "kraken",
        90930,
        15 * 10**7,
        None,
        7,
    )
    assert (second["venue"], second["bid_int"], second["ask_int"], second["ask_qty_int"]) == ("bitstamp", None, 909401, 0)
    assert (second["ts_event"], second["ts_recv"]) == (1525783064649000000, 1525783064654000000)
    links = found.named("connections")
    assert [(row["conn"], row["venue"], row["event"], row["time_rule"]) for row in links] == [
        (0, "kraken", 0, "ts_event + 5 ms"),
        (1, "bitstamp", 0, "ts_event + 5 ms"),
        (0, "kraken", 5, None),
        (1, "bitstamp", 5, None),
    ]


@pytest.mark.parametrize(
    ("row", "rule"),
    [
        (b"1525783064648,NaN,9000", "bad_number"),
        (b"1525783064648,9000,inf", "bad_number"),
        (b"1525783064648,9000,-Infinity", "bad_number"),
        (b"1525783064648,9000, 9001", "bad_number"),
        (b"1525783064648,9000,0x1", "bad_number"),
        (b"1525783064648,9000,1e-30", "bad_number"),
        (b"1525783064648,9000,99999999999999999999", "bad_number"),
        (b"1525783064648,9000,\xd9\xa1", "bad_number"),
        (b"1525783064648,9000,\xff", "bad_number"),
        (b"1525783064648,9000,\x00", "bad_number"),
        (b"1525783064648,,", "empty_quote"),
        (b"1525783064648,9000", "wrong_fields"),
        (b"1525783064648,9000,9001,1", "wrong_fields"),
        (b"", "wrong_fields"),
        (b'1525783064648,9000,"9001', "bad_csv"),
        (b",9000,9001", "bad_time"),
        (b"soon,9000,9001", "bad_time"),
        (b"1525783064,9000,9001", "bad_time"),
        (b"9999999999999999999999,9000,9001", "bad_time"),
        (b"1525783064647,9000,9001", "time_backwards"),
    ],
)
def test_hostile_rows(text_import: TextImport, row: bytes, rule: str) -> None:
    """A bad row is one reject with its line, rule and text, at the last good time; rows around it are kept."""
    good = f"{T},9093,9094\n".encode()
    found = text_import(FIXED, {"a.csv": HEAD + good + row + b"\n" + good})
    assert found.rules() == [(rule, 3)]
    (reject,) = found.named("rejects")
    assert reject["payload"] == row.decode("utf-8", "backslashreplace")
    assert (reject["ts_recv"], reject["source"], reject["venue"]) == (T * 10**6, "a.csv", "kraken")
    assert len(found.rows["quotes"]) == 2
    assert found.summary.rejects == {"a.csv": {rule: 1}}


def test_exponents_and_finer_values(text_import: TextImport) -> None:
    """Exponents are exact, and a finer price announces a finer scale for all rows after it."""
    found = text_import(FIXED, {"a.csv": HEAD + f"{T},9.0935e3,9094\n{T},9093.125,9094\n{T},9093,9094\n".encode()})
    rows = found.named("quotes")
    assert [(row["bid_int"], row["px_scale"]) for row in rows] == [(90935, 1), (9093125, 3), (9093000, 3)]
    assert [(row["px_scale"], row["tick_int"]) for row in found.named("instruments")] == [(1, 1), (3, 100)]


def test_an_unknown_instrument_in_a_row(text_import: TextImport) -> None:
    """A row of a venue that is not listed is a reject without a connection of its own, and the file goes on."""
    content = b"t,v,s,b,bq,a,aq,n,note\n1525783064.648,nowhere,BTC/USD,1,,2,,,\n1525783064.649,kraken,BTC/USD,1,,2,,,\n1525783064.6,,,1,,2,,,\n"
    found = text_import(MAPPED, {"a.csv": content})
    assert found.rules() == [("unknown_instrument", 2), ("unknown_instrument", 4)]
    first, second = found.named("rejects")
    assert (first["venue"], first["conn"], second["venue"], second["conn"]) == ("nowhere", None, "kraken", 0)
    assert len(found.rows["quotes"]) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no column 'time'; the file has ''"),
        (b"time,bid\n", "no column 'ask'"),
        (b"time,bid,ask,ask\n", "more than one column 'ask'"),
        (b"time,bid,ask,last\n", "column 'last' is neither mapped in columns nor listed in ignore"),
        (b"time,Bid,ask\n", "no column 'bid'"),
        (b'"time,bid,ask\n', "no CSV header"),
        (b"\xff\xfet\x00i\x00", "no CSV header"),
    ],
)
def test_wrong_headers(text_import: TextImport, content: bytes, message: str) -> None:
    """A header that does not match the mapping stops the import."""
    with pytest.raises(ConfigError, match=message):
        text_import(FIXED, {"a.csv": content})


def test_a_file_of_rejects_only(text_import: TextImport) -> None:
    """When no row of any source has a valid time there is nothing to import; beside a good source the rejects are kept."""
    with pytest.raises(ConfigError, match="no row of any source has a valid time"):
        text_import(FIXED, {"a.csv": HEAD + b"x,1,2\n"})
    both = FIXED + FIXED.replace("a.csv", "b.csv").replace("kraken", "bitstamp")
    found = text_import(both, {"a.csv": HEAD + b"x,1,2\n", "b.csv": HEAD + f"{T},1,2\n".encode()})
    assert found.rules() == [("bad_time", 2)]
    assert found.named("rejects")[0]["ts_recv"] == T * 10**6
    assert [(row["venue"], row["event"]) for row in found.named("connections")] == [
        ("bitstamp", 0),
        ("bitstamp", 5),
        ("kraken", 0),
        ("kraken", 5),
    ]


def test_gzip_csv(text_import: TextImport) -> None:
    """A packed file gives the same rows, and a cut one says that it was cut."""
    content = HEAD + b"".join(f"{T + n},{9000 + n % 7},{9010 + n % 13}\n".encode() for n in range(5000))
    whole = text_import(FIXED, {"a.csv": content})
    packed = text_import(FIXED, {"a.csv": gzip.compress(content)})
    assert packed.rows == whole.rows
    cut = text_import(FIXED, {"a.csv": gzip.compress(content)[:-500]})
    assert cut.rules()[-1][0] == "truncated_file"
    assert cut.rows["quotes"] == whole.rows["quotes"][: len(cut.rows["quotes"])]


PARQUET = """
[[source]]
format = "quotes-parquet"
path = "a.parquet"
venue = "kraken"
symbol = "BTC/USD"
"""


def parquet(folder: Path, keys: str, **columns: Any) -> Imported:
    """Import a Parquet file of these columns."""
    pq.write_table(pa.table(columns), folder / "a.parquet")
    (folder / "s.toml").write_text(PARQUET + keys)
    return imported(load_sources(folder / "s.toml"))


COLUMNS = 'columns = { ts_recv = "t", bid = "b", ask = "a" }\n'


@pytest.mark.parametrize(
    ("values", "extra"),
    [
        (["9093.5", None], ""),
        ([Decimal("9093.50"), None], ""),
        ([9093.5, None], "price_decimals = 1\n"),
    ],
)
def test_parquet_types(tmp_path: Path, values: list[Any], extra: str) -> None:
    """Text, decimals and floats with stated decimals give the same integers; null stays null."""
    found = parquet(tmp_path, COLUMNS + 'time_unit = "ms"\n' + extra, t=[T, T], b=values, a=[9094, 9095])
    assert [(row["bid_int"], row["ask_int"]) for row in found.named("quotes")] == [(90935, 90940), (None, 90950)]


def test_parquet_timestamps(tmp_path: Path) -> None:
    """A timestamp column carries its unit."""
    times = pa.array([T * 1000 + 7], type=pa.timestamp("us", tz="UTC"))
    found = parquet(tmp_path, COLUMNS, t=times, b=["1"], a=["2"])
    assert found.named("quotes")[0]["ts_recv"] == T * 10**6 + 7000


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c | {"b": [1.5]}, "column 'b' holds floats, which are no exact numbers: state price_decimals"),
        (lambda c: c | {"b": [True]}, "column 'b' is of type bool"),
        (lambda c: c | {"t": [1.5]}, "column 't' is of type double, which is no exact time"),
        (lambda c: c | {"z": [1]}, "column 'z' is neither mapped"),
        (lambda c: {key: value for key, value in c.items() if key != "a"}, "no column 'a'"),
        (lambda c: c | {"t": pa.array([1], type=pa.timestamp("ms"))}, "remove time_unit"),
    ],
)
def test_wrong_parquet(tmp_path: Path, change: Callable[[dict[str, Any]], dict[str, Any]], message: str) -> None:
    """Columns that cannot be read exactly stop the import by name."""
    with pytest.raises(ConfigError, match=message):
        parquet(tmp_path, COLUMNS + 'time_unit = "ms"\n', **change({"t": [T], "b": ["1"], "a": ["2"]}))


def test_no_parquet(tmp_path: Path) -> None:
    """Another file under the name of a Parquet file is refused."""
    file = io.BytesIO()
    pq.write_table(pa.table({"bid": [1.5]}), file)
    (tmp_path / "s.toml").write_text(PARQUET + COLUMNS)
    for content in (b"time,bid,ask\n", file.getvalue().replace(b"bid", b"b\xffd")):
        (tmp_path / "a.parquet").write_bytes(content)
        with pytest.raises(ConfigError, match="cannot be read as Parquet"):
            imported(load_sources(tmp_path / "s.toml"))


def test_floats_that_are_no_decimals(tmp_path: Path) -> None:
    """NaN, infinity and values with more decimals than stated are rejects with their row."""
    values = [float("nan"), float("inf"), 9093.55, 9093.5]
    found = parquet(tmp_path, COLUMNS + 'time_unit = "ms"\nprice_decimals = 1\n', t=[T] * 4, b=values, a=["2"] * 4)
    assert found.rules() == [("bad_number", 1), ("bad_number", 2), ("bad_number", 3)]
    assert len(found.rows["quotes"]) == 1


def test_decimal_of_float() -> None:
    """A sum of roundings is forgiven, a different number is not."""
    assert decimal_of_float(0.00031099999999999997, 6) == "0.000311"
    assert decimal_of_float(0.1 + 0.2, 1) == "0.3"
    with pytest.raises(ValueError, match="is not a number of 5 decimals"):
        decimal_of_float(0.000311, 5)
