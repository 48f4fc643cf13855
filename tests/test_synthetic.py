"""The synthetic market: the same rows from the same seed, a log like any other, and every mishap that it promises."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from xarb.errors import ConfigError
from xarb.log.manifest import Manifest
from xarb.log.rows import from_table
from xarb.model.columns import INPUTS, LEVELS
from xarb.synthetic import EVENTS, SEED, make_quickstart
from xarb.synthetic.draws import Draws

ROOT = Path(__file__).resolve().parents[1]
QUICKSTART = ROOT / "recordings" / "quickstart"
Rows = dict[str, list[dict[str, Any]]]
PINNED = [76424, 638174, 446116, 277287]


def _table(folder: Path, kind: str) -> pa.Table | None:
    parts = [pq.read_table(folder / entry.path, partitioning=None) for entry in Manifest(folder).files if entry.kind == kind]
    return pa.concat_tables(parts).unify_dictionaries() if parts else None


@pytest.fixture(scope="module")
def again(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped recording, made again."""
    return make_quickstart(tmp_path_factory.mktemp("synthetic") / "again")


@pytest.fixture(scope="module")
def rows() -> Rows:
    """The rows of the shipped recording by kind."""
    found = {}
    for kind in INPUTS:
        table = _table(QUICKSTART, kind)
        found[kind] = [] if table is None else from_table(kind, table)
    return found


def test_the_shipped_recording_is_what_its_seed_gives(again: Path) -> None:
    """Every row of every kind is made again; where pyarrow wrote both with one version the chain of digests is equal too."""
    shipped, made = Manifest(QUICKSTART), Manifest(again)
    assert made.header == shipped.header
    assert [entry.path for entry in made.files] == [entry.path for entry in shipped.files]
    for mine, theirs in zip(made.files, shipped.files, strict=True):
        left, right = (
            pq.read_table(again / mine.path, partitioning=None),
            pq.read_table(QUICKSTART / theirs.path, partitioning=None),
        )
        assert left.equals(right), mine.path
    writers = {pq.read_metadata(folder / entry.path).created_by for folder in (again, QUICKSTART) for entry in made.files}
    if len(writers) == 1:
        assert made.head == shipped.head


def test_it_is_small_and_says_that_it_is_synthetic(rows: Rows) -> None:
    """At most 8 MB, about 200,000 rows, and neither header nor instruments can be mistaken for a real market."""
    manifest = Manifest(QUICKSTART)
    assert sum(path.stat().st_size for path in QUICKSTART.rglob("*") if path.is_file()) <= 8_000_000
    assert abs(manifest.last + 1 - EVENTS) <= EVENTS // 50
    assert "synthetic" in manifest.header.origin
    assert "not real" in manifest.header.origin
    assert all("synthetic" in row["origin"] for row in rows["instruments"])
    assert {row["venue"] for row in rows["instruments"]} == {"alpha", "bravo", "charlie"}


def test_seq_is_gap_free_and_instruments_come_first(rows: Rows) -> None:
    """The rows of all kinds together have every seq once, times never go back, and no row precedes its instrument."""
    every = sorted((row["seq"], row["ts_recv"]) for kind in rows.values() for row in kind)
    assert [seq for seq, _ in every] == list(range(len(every)))
    assert all(before[1] <= after[1] for before, after in pairwise(every))
    known = {(row["venue"], row["symbol"]): row["seq"] for row in rows["instruments"]}
    for kind in ("quotes", "books", "book_deltas", "trades", "marks"):
        assert rows[kind], kind
        assert all(row["seq"] > known[row["venue"], row["symbol"]] for row in rows[kind])


def test_every_mishap_is_there(rows: Rows) -> None:
    """Gaps with resyncs, lost and reopened connections, heartbeats, rejects, crossed, locked, one-sided and outlying quotes."""
    events = Counter((row["venue"], row["symbol"], row["event"]) for row in rows["connections"])
    assert events["charlie", "BTC/USDT", "gap"] == events["charlie", "BTC/USDT", "resync"] == 2
    assert events["charlie", "ETH/USDT", "gap"] == events["charlie", "ETH/USDT", "resync"] == 1
    assert events["bravo", None, "lost"] == 2  # two connections
    assert events["charlie", None, "lost"] == 1
    assert events["alpha", None, "heartbeat"] > 1_000
    assert {row["epoch"] for row in rows["connections"] if row["venue"] == "bravo"} == {1, 2}
    assert [row["rule"] for row in rows["rejects"]] == ["bad_number", "malformed", "unknown_instrument"]
    quotes = rows["quotes"]
    assert sum(row["bid_int"] is None for row in quotes) == 1
    two = [row for row in quotes if row["bid_int"] is not None]
    assert sum(row["bid_int"] > row["ask_int"] for row in two) == 1
    assert sum(row["bid_int"] == row["ask_int"] for row in two) == 1
    charlie = [row["bid_int"] for row in two if (row["venue"], row["symbol"]) == ("charlie", "SOL/USDT")]
    assert sum(bid < 0.8 * float(np.median(charlie)) for bid in charlie) == 2
    assert {row["metric"] for row in rows["health"]} == {"clock_offset_ns", "disk_free_bytes", "queue_rows", "feed_lag_ns"}


def test_a_feed_freezes_and_a_connection_falls_silent(rows: Rows) -> None:
    """Bravo's SOL/USDT repeats one quote for over 300 s, and alpha sends nothing at all, no heartbeat either, for over 5 s."""
    longest = since = 0
    before: tuple[int | None, ...] | None = None
    for row in rows["quotes"]:
        if (row["venue"], row["symbol"]) == ("bravo", "SOL/USDT"):
            quote = row["bid_int"], row["ask_int"], row["bid_qty_int"], row["ask_qty_int"]
            since = row["ts_recv"] if quote != before else since
            before, longest = quote, max(longest, row["ts_recv"] - since)
    assert longest > 300 * 10**9
    times = sorted(row["ts_recv"] for kind in ("quotes", "trades", "connections") for row in rows[kind] if row["venue"] == "alpha")
    silent = max(later - earlier for earlier, later in pairwise(times))
    assert 5 * 10**9 < silent < 7 * 10**9


def test_deltas_make_a_sound_book(rows: Rows) -> None:
    """Applied changes continue each other, remove only levels that are there, and leave no crossed book; a gap ends with a snapshot."""
    books: dict[str, tuple[dict[int, int], dict[int, int]]] = {}
    last: dict[str, int] = {}
    fresh = True
    applied = 0
    for row in rows["book_deltas"]:
        symbol = row["symbol"]
        if row["verdict"] == "apply":
            if row["is_snapshot"]:
                if fresh:
                    books[symbol] = {}, {}
            else:
                assert row["prev_id"] == last[symbol]
            side = books[symbol][0 if row["side"] == "bid" else 1]
            if row["qty_int"]:
                side[row["price_int"]] = row["qty_int"]
            else:
                del side[row["price_int"]]
        fresh = row["is_last"]
        if row["is_last"] and row["verdict"] == "apply":
            last[symbol] = row["venue_seq"]
            bids, asks = books[symbol]
            assert max(bids) < min(asks)
            assert min(len(bids), len(asks)) >= LEVELS
            applied += 1
    assert applied > 5_000


def test_books_are_sorted_and_never_crossed(rows: Rows) -> None:
    """Every whole book has ten levels a side in order and a best bid below its best ask."""
    for row in rows["books"]:
        bids = [row[f"bid_{level:02d}_int"] for level in range(LEVELS)]
        asks = [row[f"ask_{level:02d}_int"] for level in range(LEVELS)]
        assert bids == sorted(bids, reverse=True)
        assert asks == sorted(asks)
        assert bids[0] < asks[0]


def test_prices_and_sizes_lie_on_the_grid(rows: Rows) -> None:
    """Quotes and trades keep to tick and lot, but for the outliers."""
    steps = {(row["venue"], row["symbol"]): (row["tick_int"], row["lot_int"]) for row in rows["instruments"]}
    off = 0
    for row in rows["quotes"]:
        tick, lot = steps[row["venue"], row["symbol"]]
        off += (row["bid_int"] or 0) % tick != 0 or row["ask_int"] % tick != 0
        assert row["ask_qty_int"] % lot == 0
    assert off <= 2
    for row in rows["trades"]:
        tick, lot = steps[row["venue"], row["symbol"]]
        assert row["price_int"] % tick == row["qty_int"] % lot == 0
        assert row["qty_int"] > 0


def test_hash_seeds_do_not_matter_and_seeds_do(tmp_path: Path) -> None:
    """Two processes with different PYTHONHASHSEED write equal logs; another seed writes another market."""
    heads = []
    for number in ("0", "1"):
        folder = tmp_path / number
        code = f"from xarb.synthetic import make_quickstart; make_quickstart({str(folder)!r}, events=2000)"
        subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": number})
        heads.append(Manifest(folder).head)
    other = make_quickstart(tmp_path / "other", seed=SEED + 1, events=2_000)
    assert heads[0] == heads[1] != Manifest(other).head


@pytest.mark.parametrize("what", [{"events": 999}, {"events": 20_000_001}, {"seed": -1}])
def test_numbers_out_of_range_are_refused(tmp_path: Path, what: dict[str, int]) -> None:
    """A count or seed out of range is an error that states the range, and leaves no folder."""
    with pytest.raises(ConfigError, match=r"must be .* not"):
        make_quickstart(tmp_path / "log", **what)
    assert not (tmp_path / "log").exists()


def test_an_existing_folder_is_not_overwritten(tmp_path: Path) -> None:
    """A folder with something in it is refused and left as it was."""
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match="exists already"):
        make_quickstart(tmp_path, events=1_000)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_draws_are_fixed_words() -> None:
    """The first words of a stream, pinned: another generator or seeding would change every recording."""
    draws = Draws(1, "pinned")
    assert [draws.below(1_000_000) for _ in range(4)] == PINNED
    many = Draws(2, "mean")
    assert 95 < sum(many.wait(100) for _ in range(20_000)) / 20_000 < 105
