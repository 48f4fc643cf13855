"""`xarb.scan`: a log as Polars lazy frames."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

import xarb
from tests.log.logs import BTC, KRW, book_row, connection, instrument, placed, quote, small_log, write
from xarb.errors import ConfigError, LogError
from xarb.model.columns import TABLES

ROOT = Path(__file__).resolve().parents[1]


def test_frames_hold_what_the_log_holds(tmp_path: Path) -> None:
    """Integers are exact, floats stand beside them, enums and texts are words, times are timestamps, and kinds are attributes."""
    feed = {"conn": 0, "venue": BTC[0], "symbol": BTC[1], "px_scale": 2, "qty_scale": 5}
    book = ("books", feed | book_row([(1000 - n, n) for n in range(12)], [(1001, 7)]))
    write(tmp_path / "log", placed([connection(0), instrument(BTC, 2, 5), quote(6183763, None, bid_qty_int=123), book]))
    frames = xarb.scan(tmp_path / "log")
    row = frames.quotes.collect().row(0, named=True)
    assert (row["bid_int"], row["bid"], row["bid_qty"], row["ask"], row["ask_int"]) == (6183763, 61837.63, 0.00123, None, None)
    assert (row["venue"], row["symbol"], row["time"].isoformat()) == ("binance", "BTC/USDT", "2023-11-14T22:13:20.000002")
    assert frames["connections"].select("event").collect().item() == "opened"
    assert frames.connections.collect_schema()["event"] == pl.Enum(list(TABLES["connections"].column("event").values))
    book_row_found = frames.books.collect().row(0, named=True)
    assert (book_row_found["bid_00"], book_row_found["bid_deep"], book_row_found["ask_qty_00"]) == (10.0, [9.9, 9.89], 0.00007)


def test_absent_kinds_are_empty_frames_of_the_same_schema(tmp_path: Path) -> None:
    """Every kind is there, typed; a kind with rows has the schema that it has without."""
    frames, empty = xarb.scan(small_log(tmp_path / "log")), xarb.scan(_empty(tmp_path / "empty"))
    assert list(frames) == list(TABLES)
    for kind in TABLES:
        assert frames[kind].collect_schema() == empty[kind].collect_schema()
        assert frames[kind].collect().height == (6 if kind == "quotes" else 2 if kind in {"instruments", "connections"} else 0)


def _empty(folder: Path) -> Path:
    write(folder, [])
    return folder


def test_only_files_of_the_manifest_are_read(tmp_path: Path) -> None:
    """A stray file changes nothing; a missing one is an error that names it."""
    folder = small_log(tmp_path / "log")
    (path,) = (folder / "kind=quotes").rglob("*.parquet")
    path.with_name("stray.parquet").write_bytes(path.read_bytes())
    assert xarb.scan(folder).quotes.collect().height == 6
    path.unlink()
    with pytest.raises(LogError, match=path.name):
        _ = xarb.scan(folder).quotes


def test_several_dates_and_scales_stay_exact(tmp_path: Path) -> None:
    """Rows of instruments with different scales, in files of different dates, keep their integers and their order."""
    head = [connection(0), instrument(BTC, 2, 5), instrument(KRW, 0, 8)]
    body = [quote(n, n, key=(BTC, KRW)[n % 2], scales=((2, 5), (0, 8))[n % 2]) for n in range(1, 9)]
    write(tmp_path / "a [odd] *name", placed([*head, *body], step=6 * 3600 * 10**9))
    found = xarb.scan(tmp_path / "a [odd] *name").quotes.collect()
    assert found["bid_int"].to_list() == list(range(1, 9))
    assert found["bid"].to_list() == [n if n % 2 else n / 100 for n in range(1, 9)]


def test_wrong_names_are_refused(tmp_path: Path) -> None:
    """No log, an unknown kind as attribute and as item, an unknown name of the package."""
    with pytest.raises(ConfigError, match="is no log"):
        xarb.scan(tmp_path)
    frames = xarb.scan(small_log(tmp_path / "log"))
    with pytest.raises(AttributeError, match="no kind of event is called 'quote'"):
        _ = frames.quote
    with pytest.raises(KeyError):
        _ = frames["quote"]
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = xarb.nothing


def test_import_stays_light() -> None:
    """`import xarb` loads neither Polars nor Arrow nor Numba."""
    code = "import sys, xarb; print([name for name in ('polars', 'pyarrow', 'numba', 'duckdb') if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout == "[]\n"


def test_no_module_hides_a_public_name() -> None:
    """A module of that name, once imported anywhere, would stand where the function was."""
    modules = {path.stem for path in Path(xarb.__file__).parent.iterdir()}
    assert not modules & set(xarb.__all__)
