"""Views, macros, several logs at once, and what a query may touch."""

from __future__ import annotations

import re
import shutil
import threading
import time
from decimal import Decimal
from pathlib import Path

import pytest

from tests.sql.conftest import DAY, NOON, ODD, QUICKSTART, ROOT, write_log
from xarb.errors import ConfigError, LogError, Refused
from xarb.log.manifest import NAME, Header, Manifest
from xarb.log.writer import LogWriter
from xarb.model.columns import INPUTS, OUTPUTS, TABLES
from xarb.sql import EXAMPLES, Example, Query, open_query

SHARED = ROOT.parent / "shared" / "data"
# sell at, buy at: common rounds, crossed, of them fresh, above 20 bps, of them fresh (README of the recordings)
CROSSED = """\
kraken bitstamp 60047 23376 19706 260 215
bitstamp kraken 60047 11017 9518 63 30
kraken gdax 58770 38352 11621 4831 1370
gdax kraken 58770 13806 4945 78 42
kraken exmo 60175 7051 4317 1318 823
exmo kraken 60175 39250 26714 25530 17832
bitstamp gdax 58620 26129 8556 3579 1013
gdax bitstamp 58620 15450 5843 124 19
bitstamp exmo 60024 5089 3631 561 483
exmo bitstamp 60024 39628 29264 26346 19463
gdax exmo 58747 4523 1185 842 288
exmo gdax 58747 42591 12141 29462 8887"""


def test_prices_stand_beside_exact_integers(log: Path) -> None:
    """Prices and quantities are DOUBLE under plain names, integers as stored, nulls null, dates and times beside the ns."""
    with open_query([log]) as query:
        found = list(query.run("SELECT seq, bid_int, bid, bid_qty, ask, ask_qty, date, time_event FROM quotes ORDER BY seq").rows())
        assert [row[:6] for row in found[:2]] == [(0, 10_001, 100.01, 1.5, 100.03, None), (1, None, None, 1.5, 100.0, None)]
        assert [str(row[6]) for row in found] == ["2026-01-05"] * 2 + ["2026-01-06"] * 2
        assert found[2][7] == "2026-01-06 11:59:59.999999993"
        assert next(iter(query.run("SELECT count(*) FROM quotes WHERE date = '2026-01-06' AND venue = 'a'").rows())) == (1,)


def test_the_best_of_a_book_is_at_the_scales_of_its_row(tmp_path: Path) -> None:
    """Prices of a book are shifted by the scale of prices, sizes by that of sizes, and so is the mid made of them."""
    levels = {"bid_00_int": 10_001, "bid_qty_00_int": 1_500, "ask_00_int": 10_003, "ask_qty_00_int": 2_500}
    row = {"seq": 0, "ts_recv": NOON, "conn": 0, "venue": "a", "symbol": ODD, "px_scale": 2, "qty_scale": 3}
    with LogWriter.create(tmp_path / "log", Header(kind="log", log_id="L1")) as log:
        log.write_rows("books", [row | levels])
    for view in ("books", "tops"):
        with open_query([tmp_path / "log"]) as query:
            found = list(query.run(f"SELECT bid, bid_qty, ask, ask_qty, mid(bid, ask) FROM {view}").rows())
        assert found == [(100.01, 1.5, 100.03, 2.5, pytest.approx(100.02))]


def test_every_kind_has_a_view_of_one_shape(log: Path, run: Path) -> None:
    """A kind has the same columns and types whether the log has it or not; absent kinds are empty."""
    with open_query([log]) as one, open_query([run]) as other:
        for kind in TABLES:
            assert one.columns(kind) == other.columns(kind), kind
            assert {column.name for column in TABLES[kind].columns} <= {column for column, _ in one.columns(kind)}
        absent = [kind for kind in INPUTS if kind not in {"quotes", "pools"}] + list(OUTPUTS)
        for kind in absent:
            assert list(one.run(f"SELECT * FROM {kind}").rows()) == []


def test_columns_named_kind_and_date_are_the_rows_own(log: Path) -> None:
    """`pools.kind` is v2 although the folder is kind=pools, and a log inside a folder date=... keeps its own dates."""
    with open_query([log]) as query:
        assert list(query.run("SELECT kind, CAST(date AS VARCHAR) FROM pools").rows()) == [("v2", "2026-01-06")]


def test_a_log_beside_its_run_joins_effects_to_causes(log: Path, run: Path) -> None:
    """Inputs come from the log, outputs from the run, `source` says which, and after_seq meets seq."""
    with open_query([log, run]) as query:
        sql = "SELECT c.source, q.source, q.seq, c.price, c.price_int, q.bid, c.kind FROM commands c JOIN quotes q ON q.seq = c.after_seq"
        assert list(query.run(sql).rows()) == [("run", log.name, 3, 100.1, 10_010, 100.1, "submit")]
        assert query.columns("quotes")[0] == query.columns("fills")[0] == ("source", "VARCHAR")
        assert sorted(query.run("SELECT source, kind, rows FROM logs").rows()) == [(log.name, "log", 5), ("run", "run", 12)]


def test_equal_folder_names_are_told_apart(log: Path, tmp_path: Path) -> None:
    """Two logs of one folder name are named by their paths, and both are there."""
    for place in ("x", "y"):
        shutil.copytree(log, tmp_path / place / "same")
    with open_query([tmp_path / "x" / "same", tmp_path / "y" / "same"]) as query:
        found = list(query.run("SELECT source, count(*) FROM quotes GROUP BY ALL ORDER BY ALL").rows())
    assert found == [((tmp_path / place / "same").as_posix(), 4) for place in ("x", "y")]
    with pytest.raises(ConfigError, match="given twice"):
        open_query([log, log])
    with pytest.raises(ConfigError, match="at least one"):
        open_query([])


def test_money_enums_and_bps_in_outputs(run: Path) -> None:
    """Money is DECIMAL(38,18) and sums exactly, enums are text, ppb have bps beside them."""
    with open_query([run]) as query:
        assert list(query.run("SELECT sum(delta), typeof(any_value(delta)) FROM ledger").rows()) == [
            (Decimal("1150.119969999999999999"), "DECIMAL(38,18)")
        ]
        assert list(query.run("SELECT phase, best_edge_bps FROM opportunities WHERE phase = 'closed'").rows()) == [("closed", 5.0)]
        episode = list(
            query.run("SELECT opportunity, taken, refused, reasons, bundles, closed_because, life_ns FROM episodes").rows()
        )
        assert episode == [(1, 1, 1, ["below_min_profit"], [7], "edge_gone", 5_000_000)]


def test_macros(log: Path) -> None:
    """bps, mid, edge_bps with fees, exact at both ends of its range, and wide integers of 256 bits."""
    with open_query([log]) as query:

        def one(sql: str) -> object:
            return next(query.run(f"SELECT {sql}").rows())[0]

        assert one("bps(101, 100)") == pytest.approx(100)
        assert one("bps(1, 0)") is None
        assert one("mid(1.0, 2.0)") == 1.5
        assert one("edge_bps(101, 100)") == pytest.approx(100)
        assert one("edge_bps(101, 100, sell_fee := 0.001, buy_fee := 0.002)") == pytest.approx((101 * 0.999 / 100.2 - 1) * 1e4)
        assert one("exact(9223372036854775807, 0)") == Decimal(2**63 - 1)
        assert one("exact(-9223372036854775807, 18)") == Decimal("-9.223372036854775807")
        assert one("typeof(exact(1, 2))") == "DECIMAL(38,18)"
        assert one("wide(reserve0) + wide(reserve1) FROM pools") == str(2**256 - 1 - 2**255)
        assert one("wide_int(reserve0) FROM pools") is None
        assert one("wide_int('170141183460469231731687303715884105727')") == str(2**127 - 1)
        assert one("wide_double(sqrt_price_x96) FROM pools") == pytest.approx(2.0**160)
        assert one("units('1500000', 6)") == 1.5
        assert one("v2_price('2000000', '3000000000000000000', 6, 18)") == pytest.approx(1.5)
        assert one("v2_price('0', '1', 6, 18)") is None
        assert one("CAST(wide_sum(reserve0) AS VARCHAR) FROM pools") == str(2**256 - 1)
        assert one("v3_price(CAST(1::HUGEINT << 96 AS VARCHAR), 18, 6)") == pytest.approx(1e12)


@pytest.mark.parametrize("column", ["date = '2026-01-06'", f"ts_recv >= {NOON + DAY}", "seq >= 2", "seq = 3"])
def test_filters_reach_the_files(log: Path, column: str) -> None:
    """A filter on date reads one file of two, and one on time or seq reads the row groups of one."""
    with open_query([log]) as query:
        plan = _plan(query, f"{column} AND venue = 'a'")
        assert re.search(r"Row Groups Scanned: 1 /", plan), plan
        assert "venue = 'a'" in plan
        assert "Row Groups Scanned: 2 / 2" in _plan(query, "true")


def _plan(query: Query, where: str) -> str:
    """The plan of a scan with what it read."""
    return "\n".join(str(row[1]) for row in query.run(f"EXPLAIN ANALYZE SELECT max(bid) FROM quotes WHERE {where}").rows())


@pytest.mark.parametrize(
    ("sql", "error", "says"),
    [
        ("SELECT * FROM nope", ConfigError, r"nope does not exist[\s\S]*LINE 1[\s\S]*\^[\s\S]*views: quotes, books"),
        ("SELECT nope FROM quotes", ConfigError, r'"nope" not found[\s\S]*LINE 1'),
        ("SELEC 1", ConfigError, r'syntax error at or near "SELEC"[\s\S]*LINE 1'),
        ("SELECT 1; SELECT 2", ConfigError, "one SQL statement is expected, 2 were given"),
        ("", ConfigError, "one SQL statement is expected, 0"),
        ("-- nothing", ConfigError, "0 were given"),
        ("SELECT CAST(symbol AS INTEGER) FROM quotes", ConfigError, "Could not convert string"),
        ("SELECT 'it''s", ConfigError, r"unterminated string[\s\S]*LINE 1"),
        ("COPY (SELECT 1) TO 'x.csv'", ConfigError, "COPY is not allowed"),
        ("ATTACH 'x.db'", ConfigError, "ATTACH is not allowed"),
        ("INSTALL httpfs", ConfigError, "not allowed"),
        ("LOAD httpfs", ConfigError, "not allowed"),
        ("SET threads = 1", ConfigError, "SET is not allowed"),
        ("SELECT * FROM read_csv('/etc/passwd')", Refused, "sees only the files of its logs"),
        ("SELECT * FROM '/etc/passwd'", ConfigError, "does not exist"),
        ("SELECT * FROM glob('/etc/*')", Refused, "sees only the files"),
        ("SELECT getenv('HOME')", ConfigError, "getenv does not exist"),
        ("SELECT * FROM tmp_path", ConfigError, "does not exist"),
        ("EXPLAIN ANALYZE COPY (SELECT 1) TO 'x.csv'", Refused, "sees only the files"),
        ("CREATE TABLE t AS SELECT * FROM read_parquet('/etc/*.parquet')", Refused, "sees only the files"),
    ],
)
def test_wrong_and_forbidden_statements(log: Path, sql: str, error: type[Exception], says: str) -> None:
    """A wrong statement is a clear error with its position; nothing but the logs' files can be read, nothing written or loaded."""
    tmp_path = [1]  # a Python variable is no table
    with open_query([log]) as query, pytest.raises(error, match=says):
        list(query.run(sql).rows())
    assert tmp_path == [1]
    assert not Path("x.csv").exists()


def test_only_files_of_the_manifest_count(log: Path, tmp_path: Path) -> None:
    """A stray Parquet file beside the named ones is neither read nor readable."""
    folder = tmp_path / "log"
    shutil.copytree(log, folder)
    named = folder / Manifest(folder).files[0].path
    stray = named.with_name("99999999999999999990-99999999999999999999.parquet")
    shutil.copy(named, stray)
    with open_query([folder]) as query:
        assert next(query.run("SELECT count(*) FROM quotes").rows()) == (4,)
        with pytest.raises(Refused):
            query.run(f"SELECT * FROM read_parquet('{stray}')")


def test_damage_is_a_log_error(tmp_path: Path) -> None:
    """A flipped bit of the manifest, a missing file, a cut file and a wrecked footer are LogErrors that name the file."""
    for number, wreck in enumerate(("manifest", "missing", "cut", "footer")):
        folder = write_log(tmp_path / str(number))
        path = folder / next(entry.path for entry in Manifest(folder).files if entry.kind == "quotes")
        data = path.read_bytes()
        if wreck == "manifest":
            line = bytearray((folder / NAME).read_bytes())
            line[100] ^= 1
            (folder / NAME).write_bytes(line)
        elif wreck == "missing":
            path.unlink()
        elif wreck == "cut":
            path.write_bytes(data[:-10])
        else:
            path.write_bytes(data[:-8] + b"\xff" * 8)
        with pytest.raises(LogError, match=r"manifest|parquet"), open_query([folder]) as query:
            list(query.run("SELECT sum(bid) FROM quotes").rows())
    with pytest.raises(ConfigError, match="is no log"):
        open_query([tmp_path])


def test_an_empty_log_answers_with_nothing(tmp_path: Path) -> None:
    """A log without a segment has all views, all empty, and `logs` names it."""
    LogWriter.create(tmp_path / "empty", Header(kind="log", log_id="E")).close()
    with open_query([tmp_path / "empty"]) as query:
        assert list(query.run("SELECT * FROM tops").rows()) == []
        assert list(query.run("SELECT kind, rows, first_ts, last_time FROM logs").rows()) == [("log", 0, None, None)]


def test_odd_symbols_and_venues_survive(log: Path) -> None:
    """A symbol with quotes and semicolons is data like any other."""
    with open_query([log]) as query:
        literal = ODD.replace("'", "''")
        assert next(query.run(f"SELECT count(*) FROM quotes WHERE symbol = '{literal}'").rows()) == (4,)


def test_a_running_statement_can_be_stopped(log: Path) -> None:
    """`interrupt` from another thread ends a long statement with KeyboardInterrupt, and the next one runs."""
    with open_query([log]) as query:
        timer = threading.Timer(0.3, query.interrupt)
        timer.start()
        began = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            list(query.run("SELECT sum(a.range * b.range) FROM range(1000000) a, range(1000000) b").rows())
        assert time.monotonic() - began < 20
        timer.join()
        assert next(query.run("SELECT 1").rows()) == (1,)


@pytest.mark.parametrize("example", [e for e in EXAMPLES if e.needs == "log"], ids=lambda e: e.title[:30])
def test_examples_of_a_log_run_on_the_quickstart(example: Example) -> None:
    """Each example gives rows on the shipped recording; those for polled recordings and for chains give none there."""
    title, sql, _ = example
    with open_query([QUICKSTART]) as query:
        found = list(query.run(sql).rows())
    assert bool(found) == ("polled" not in title and "block" not in title)


def test_examples_of_chains(tmp_path: Path) -> None:
    """Prices after each block that stands and moved a pool; swaps of a removed block are left out, sums are exact."""
    block = {"ts_recv": NOON, "ts_event": NOON, "conn": 0, "venue": "eth", "chain_id": 1, "block_number": 7}
    place = {"tx_index": 0, "log_index": 0, "tx_hash": "0x7", "symbol": "0xp"}
    pool = {"kind": "v2", "token0": "0x0", "token1": "0x1", "decimals0": 18, "decimals1": 6, "fee_ppm": 3000}
    head = {"parent_hash": "0x0", "base_fee_wei": "3000000000", "gas_used": 1, "gas_limit": 2, "miner": "0xm", "rows": 2}
    gone, here = {"block_hash": "0xg"}, {"block_hash": "0xh"}
    reserves = {"reserve0": str(2 * 10**18), "reserve1": "5000000"}
    swap = {"sender": "0xs", "recipient": "0xr", "delta1": "-1"}
    with LogWriter.create(tmp_path / "log", Header(kind="log", log_id="L1")) as log:
        states = [{"seq": 0} | gone | reserves, {"seq": 4} | here | reserves | {"reserve1": "6000000"}]
        log.write_rows("pools", [block | place | pool | {"cause": "sync"} | state for state in states])
        swaps = [{"seq": 1, "delta0": str(2**200)} | gone, {"seq": 5, "delta0": str(2**190)} | here]
        log.write_rows("swaps", [block | place | swap | one for one in swaps])
        blocks = [{"seq": 2, "event": "added"} | gone, {"seq": 3, "event": "removed"} | gone, {"seq": 6, "event": "added"} | here]
        log.write_rows("blocks", [block | head | one for one in blocks])
    prices, swaps_sql = (next(e.sql for e in EXAMPLES if e.title.startswith(word)) for word in ("Price of each pool", "Swaps per"))
    with open_query([tmp_path / "log"]) as query:
        assert [row[1:] for row in query.run(prices).rows()] == [("eth", "0xp", 7, 3.0, 3.0)]
        assert list(query.run(swaps_sql).rows()) == [("eth", "0xp", 1, str(2**190), "0")]


@pytest.mark.parametrize("example", [e for e in EXAMPLES if e.needs != "log"], ids=lambda e: e.title[:30])
def test_examples_of_a_run(example: Example, log: Path, run: Path) -> None:
    """Each example runs on a run alone or beside its log and gives rows, but for the one whose rows would be mistakes."""
    title, sql, needs = example
    with open_query([log, run] if needs == "both" else [run]) as query:
        found = list(query.run(sql).rows())
    assert bool(found) == ("mistake" not in title)


def test_pnl_of_a_run_leaves_the_opening_out(run: Path) -> None:
    """Trading PnL is what orders changed: the trade less its fee, without the opening balance."""
    sql = next(e.sql for e in EXAMPLES if e.title.startswith("Trading PnL"))
    with open_query([run]) as query:
        assert list(query.run(sql).rows()) == [("m1", "USDT", Decimal("150.119969999999999999"), Decimal("-0.030030000000000001"))]


def test_a_gap_of_the_ledger_is_found(run: Path) -> None:
    """The conservation example compares: with a balance off by one unit it would give the row."""
    sql = next(e.sql for e in EXAMPLES if "mistake" in e.title)
    with open_query([run]) as query:
        off = sql.replace("FROM ledger", "FROM (SELECT * REPLACE (balance + 0.000000000000000001 AS balance) FROM ledger)")
        assert len(list(query.run(off).rows())) == 1


def test_crossed_moments_of_the_four_venues_of_2018(tmp_path: Path) -> None:
    """The shipped query gives the twelve rows of the recordings' README exactly."""
    if not SHARED.is_dir():
        pytest.skip(f"the real recordings are not there: {SHARED}")
    from xarb.imports.run import import_into
    from xarb.imports.sources import load_sources

    import_into(load_sources(ROOT / "experiments" / "btcusd-2018-sources.toml"), tmp_path / "log")
    sql = next(e.sql for e in EXAMPLES if "polled" in e.title)
    with open_query([tmp_path / "log"]) as query:
        found = {f"{row[1]} {row[2]} " + " ".join(map(str, row[3:])) for row in query.run(sql).rows()}
    assert found == set(CROSSED.splitlines())
