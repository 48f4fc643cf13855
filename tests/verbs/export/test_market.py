"""Market data for other tools: Tardis files that say what the log says, and Arrow files of all kinds."""

from __future__ import annotations

import csv
import gzip
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
import pytest

from xarb import scan
from xarb.errors import ConfigError
from xarb.imports.run import import_into
from xarb.imports.sources import load_sources
from xarb.log.manifest import Manifest
from xarb.log.reader import LogReader
from xarb.verbs.export.command import Wanted, export
from xarb.verbs.export.market import DEPTH, LAYOUTS

ROOT: Final = Path(__file__).resolve().parents[3]
QUICKSTART: Final = ROOT / "recordings" / "quickstart"
SAMPLES: Final = ROOT.parent / "shared" / "data" / "vendor-formats" / "tardis"


@pytest.fixture(scope="module")
def tardis(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The quickstart as Tardis files."""
    folder = tmp_path_factory.mktemp("tardis") / "files"
    export(Wanted("tardis", [QUICKSTART]), folder)
    return folder


def lines(path: Path) -> list[dict[str, str]]:
    """The rows of a file."""
    with gzip.open(path, "rt", newline="") as file:
        return list(csv.DictReader(file))


def numbers(row: dict[str, str]) -> dict[str, Any]:
    """A row with its numbers as such."""
    return {key: Decimal(value) if value and value.lstrip("-").replace(".", "").isdigit() else value for key, value in row.items()}


def test_every_row_of_the_log_is_in_a_file(tardis: Path) -> None:
    """Quotes and trades, books and their changes, each in the file of its day and instrument, in order."""
    frames = scan(QUICKSTART)
    for kind, layout in LAYOUTS.items():
        files = sorted(tardis.glob(f"*_{kind}_*"))
        found = [row for path in files for row in lines(path)]
        rows = frames[layout.kind].collect()
        if layout.kind == "book_deltas":
            rows = rows.filter((pl.col("verdict") == "apply") & pl.col("side").is_not_null())
        assert len(found) == rows.height, kind
        for path in files:
            times = [int(row["local_timestamp"]) for row in lines(path)]
            assert times == sorted(times)
    (one,) = tardis.glob("alpha_quotes_2026-01-05_ETHUSDT*")
    first = frames.quotes.filter((pl.col("venue") == "alpha") & (pl.col("symbol") == "ETH/USDT")).head(1).collect().to_dicts()[0]
    scale = 10 ** first["px_scale"]
    assert numbers(lines(one)[0]) == {
        "exchange": "alpha",
        "symbol": "ETHUSDT",
        "timestamp": first["ts_event"] // 1000,
        "local_timestamp": first["ts_recv"] // 1000,
        "ask_price": Decimal(first["ask_int"]) / scale,
        "bid_price": Decimal(first["bid_int"]) / scale,
        "ask_amount": Decimal(first["ask_qty_int"]) / 10 ** first["qty_scale"],
        "bid_amount": Decimal(first["bid_qty_int"]) / 10 ** first["qty_scale"],
    }


def test_what_is_written_is_read_back_as_the_same_market(tardis: Path, tmp_path: Path) -> None:
    """Imported again, quotes and trades have the same prices, sizes and times down to the microsecond."""
    (tmp_path / "instruments.toml").write_text(
        "".join(
            f'[[instrument]]\nvenue = "{one.venue}"\nsymbol = "{one.symbol}"\nnative = "{one.native}"\nkind = "{one.kind}"\nbase = "{one.base}"\n'
            f'quote = "{one.quote}"\nsettle = "{one.settle}"\ntick = "{_step(one.tick_int, one.px_scale)}"\nlot = "{_step(one.lot_int, one.qty_scale)}"\n'
            for one in LogReader(QUICKSTART).instruments
            if (one.venue, one.symbol) == ("alpha", "ETH/USDT")
        )
    )
    paths = [*sorted(tardis.glob("alpha_quotes_*_ETHUSDT*")), *sorted(tardis.glob("alpha_trades_*_ETHUSDT*"))]
    (tmp_path / "sources.toml").write_text(
        'instruments = "instruments.toml"\n' + "".join(f'[[source]]\nformat = "tardis-csv"\npath = "{path}"\n' for path in paths)
    )
    import_into(load_sources(tmp_path / "sources.toml"), tmp_path / "log")
    for kind, columns in (("quotes", ["bid", "bid_qty", "ask", "ask_qty"]), ("trades", ["price", "qty", "aggressor"])):
        was = scan(QUICKSTART)[kind].filter((pl.col("venue") == "alpha") & (pl.col("symbol") == "ETH/USDT")).collect()
        now = scan(tmp_path / "log")[kind].collect()
        assert was.height == now.height > 0
        assert was.select(columns).equals(now.select(columns))
        assert np.array_equal(was["ts_recv"].to_numpy() // 1000, now["ts_recv"].to_numpy() // 1000)


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="the recorded samples are not beside the checkout")
def test_the_vendors_own_files_come_out_as_they_went_in(tmp_path: Path) -> None:
    """Trades, quotes, changes and snapshots of Tardis, imported and exported: the same values in the same order."""
    import_into(load_sources(ROOT / "experiments" / "tardis-sources.toml"), tmp_path / "log")
    export(Wanted("tardis", [tmp_path / "log"]), tmp_path / "files")
    for kind, sample in (
        ("trades", "bitmex_trades_XBTUSD.csv"),
        ("incremental_book_L2", "deribit_incremental_book_L2_BTC-PERPETUAL.csv"),
        ("quotes", "huobi-dm-swap_quotes_BTC-USD.csv"),
        (f"book_snapshot_{DEPTH}", "binance-futures_book_snapshot_5_BTCUSDT.csv"),
    ):
        with (SAMPLES / sample).open(newline="") as file:
            given = [numbers(row) for row in csv.DictReader(file)]
        native = str(given[0]["symbol"])
        found = [numbers(row) for path in sorted((tmp_path / "files").glob(f"*_{kind}_*_{native}*")) for row in lines(path)]
        for row in (*given, *found):
            del row["exchange"]
        if kind.startswith("book"):  # the sample of 25 levels is of the same instrument
            found = [row for row in given if row in found]
        assert found == given, kind


def test_arrow_files_hold_what_a_query_shows(tmp_path: Path) -> None:
    """Each kind that has rows, no other; readable without us."""
    export(Wanted("arrow", [QUICKSTART]), tmp_path / "arrow")
    kinds = {entry.kind for entry in Manifest(QUICKSTART).files}
    assert {path.stem for path in (tmp_path / "arrow").iterdir()} == kinds
    found = pl.read_ipc(tmp_path / "arrow" / "quotes.arrow")
    was = scan(QUICKSTART).quotes.collect()
    assert found["seq"].to_list() == was["seq"].to_list()
    assert found["bid"].equals(was["bid"])
    assert found["time"].dtype == pl.Datetime("ns")


def test_wrong_use_leaves_nothing_behind(tmp_path: Path) -> None:
    """No folder, one that is not empty, options of books, several logs; a failure in the middle."""
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("")
    for wanted, out, part in (
        (Wanted("tardis", [QUICKSTART]), None, "name it with --out"),
        (Wanted("arrow", [QUICKSTART]), tmp_path / "full", "is there and not empty"),
        (Wanted("arrow", [QUICKSTART], year="2026"), tmp_path / "a", "--year is of fills, transfers and ledger"),
        (Wanted("tardis", [QUICKSTART, ROOT / "recordings" / "pools"]), tmp_path / "a", "takes one log at a time"),
    ):
        with pytest.raises(ConfigError, match=part):
            export(wanted, out)
    with pytest.raises(KeyboardInterrupt):
        _interrupted(tmp_path / "half")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["full"]


def _step(step: int | None, scale: int) -> str:
    return f"{Decimal(step or 1).scaleb(-scale):f}"


def _interrupted(folder: Path) -> None:
    from xarb.sql import open_query
    from xarb.verbs.export.market import tardis as write

    def stop(done: int, total: int, note: str = "") -> None:
        del done, total, note
        raise KeyboardInterrupt

    with open_query([QUICKSTART]) as query:
        write(query, folder, advance=stop)
