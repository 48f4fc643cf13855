"""Imports of the real recordings give the answers that their README states."""

from __future__ import annotations

import gzip
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from itertools import groupby, pairwise
from operator import itemgetter
from pathlib import Path
from typing import Any

import pytest

from tests.imports.conftest import ROOT, Imported, imported
from xarb.imports.sources import load_sources
from xarb.model.columns import TABLES
from xarb.wires.rows import Row

_DELTAS = {column.name: place for place, column in enumerate(TABLES["book_deltas"].columns)}
_QUOTES = {column.name: place for place, column in enumerate(TABLES["quotes"].columns)}


@pytest.fixture(scope="module")
def binance(shared: Path) -> Imported:
    """The five Binance files in one log."""
    del shared
    return imported(load_sources(ROOT / "experiments" / "binance-2024-sources.toml"))


@pytest.fixture(scope="module")
def quotes(shared: Path) -> Imported:
    """The four-venue quote set in one log."""
    del shared
    return imported(load_sources(ROOT / "experiments" / "btcusd-2018-sources.toml"))


def tickers(binance: Imported, venue: str) -> tuple[list[int], list[tuple[int, int]]]:
    """Update ids and tops of the venue's bookTickers."""
    rows = [row for row in binance.rows["quotes"] if row[_QUOTES["venue"]] == venue]
    ids = [row[_QUOTES["venue_seq"]] for row in rows]
    assert ids == sorted(ids)
    return ids, [(row[_QUOTES["bid_int"]], row[_QUOTES["ask_int"]]) for row in rows]


MIDNIGHT = 1723161600000000000
# On the second day two spot updates end three and four ids behind the last ticker, in the middle of a fast move: the level that it
# names was gone by then, and the next update says so again. The README's answers are for the first day, where all agree.
BETWEEN_TICKERS = {"binance": [50093478174, 50093480542]}


@pytest.mark.parametrize(
    ("venue", "first_day", "second_day"),
    [("binance", 3449, 3044), ("binanceusdm", 6547, 0), ("binancecoinm", 26824, 17948)],
)
def test_the_book_equals_the_ticker_after_every_update(binance: Imported, venue: str, first_day: int, second_day: int) -> None:
    """Best bid and ask of a plain book built from the rows equal the last bookTicker not above the update, after every one."""
    ids, tops = tickers(binance, venue)
    book: tuple[dict[int, int], dict[int, int]] = ({}, {})
    rows = (row for row in binance.rows["book_deltas"] if row[_DELTAS["venue"]] == venue and row[_DELTAS["verdict"]] == 0)
    price, qty, side = _DELTAS["price_int"], _DELTAS["qty_int"], _DELTAS["side"]
    agreed: Counter[bool] = Counter()
    compared, differing = 0, []
    for (_, update), message in groupby(rows, key=itemgetter(_DELTAS["is_snapshot"], _DELTAS["venue_seq"])):
        levels = list(message)
        if levels[0][_DELTAS["is_snapshot"]]:
            book[0].clear()
            book[1].clear()
        for row in levels:
            if row[price] is None:
                continue
            if row[qty]:
                book[row[side]][row[price]] = row[qty]
            else:
                book[row[side]].pop(row[price], None)
        if levels[0][_DELTAS["is_snapshot"]]:
            continue
        agreed[levels[0][1] >= MIDNIGHT] += 1
        at = bisect_right(ids, update) - 1
        if at >= 0:
            compared += 1
            if (max(book[0]), min(book[1])) != tops[at]:
                differing.append(update)
    assert (agreed[False], agreed[True]) == (first_day, second_day)
    assert compared >= first_day + second_day - 1
    assert differing == BETWEEN_TICKERS.get(venue, [])


def test_no_gap_and_nothing_bad(binance: Imported) -> None:
    """The files have no gap, no reject, and the second days go on with the books of the first: three snapshots in all."""
    assert Counter(row["event"] for row in binance.named("connections")) == {0: 3, 5: 3, 6: 2}
    assert "rejects" not in binance.rows
    snapshots = {(row[_DELTAS["venue"]], row[_DELTAS["seq"]]) for row in _begun(binance) if row[_DELTAS["is_snapshot"]]}
    assert sorted(venue for venue, _ in snapshots) == ["binance", "binancecoinm", "binanceusdm"]


def _begun(binance: Imported) -> Iterator[Row]:
    """The first row of each message of changed levels, which is a snapshot's or an update's."""
    before: dict[str, bool] = {}  # whether the last row of a venue ended its message
    for row in binance.rows["book_deltas"]:
        if before.get(row[_DELTAS["venue"]], True):
            yield row
        before[row[_DELTAS["venue"]]] = row[_DELTAS["is_last"]]
    assert all(before.values())  # no message is left open


def test_lines_are_all_there(binance: Imported) -> None:
    """Quotes and trades count as the README's bookTicker and trade columns do."""
    found = Counter(row[_QUOTES["venue"]] for row in binance.rows["quotes"])
    assert found == {"binance": 28040 + 45134, "binanceusdm": 66089, "binancecoinm": 19136 + 29219}
    assert len(binance.rows["trades"]) == 9757 + 10147 + 21313 + 2286 + 2949


def test_updates_before_the_snapshot_are_kept(binance: Imported) -> None:
    """Spot 2, USD-M 4 and COIN-M 23 updates older than the snapshot appear once and are never applied."""
    for venue, old in (("binance", 2), ("binanceusdm", 4), ("binancecoinm", 23)):
        seen: dict[int, set[int]] = {}
        for row in binance.rows["book_deltas"]:
            if row[_DELTAS["venue"]] == venue and not row[_DELTAS["is_snapshot"]]:
                seen.setdefault(row[_DELTAS["venue_seq"]], set()).add(row[_DELTAS["verdict"]])
        assert sum(0 not in verdicts for verdicts in seen.values()) == old


def test_seq_and_time_over_all_kinds(binance: Imported, quotes: Imported) -> None:
    """Each log's seq leaves none out over all kinds together, and time never goes back in its order."""
    for log in (binance, quotes):
        order = sorted((row[0], row[1]) for rows in log.rows.values() for row in rows)
        assert [seq for seq, _ in order] == list(range(len(order)))
        assert all(one[1] <= two[1] for one, two in pairwise(order))


@pytest.mark.parametrize(
    ("venue", "rows", "times", "crossed", "repeated"),
    [
        ("kraken", 61275, 60220, 19, 30210),
        ("bitstamp", 61103, 60069, 0, 28507),
        ("gdax", 59834, 58792, 0, 55203),
        ("exmo", 61246, 60197, 12, 36249),
    ],
)
def test_quotes_of_four_venues(quotes: Imported, venue: str, rows: int, times: int, crossed: int, repeated: int) -> None:
    """Rows, distinct times, self-crossed rows and repeated quotes are those of the README; sizes and venue times are absent."""
    found = [row for row in quotes.named("quotes") if row["venue"] == venue]
    assert len(found) == rows
    assert len({row["ts_recv"] for row in found}) == times
    assert sum(row["bid_int"] >= row["ask_int"] for row in found) == crossed
    same = sum((a["bid_int"], a["ask_int"]) == (b["bid_int"], b["ask_int"]) for a, b in pairwise(found))
    assert same == repeated
    assert {(row["bid_qty_int"], row["ask_qty_int"], row["ts_event"], row["venue_seq"]) for row in found} == {
        (None, None, None, None)
    }


def test_every_quote_is_its_text(quotes: Imported, shared: Path) -> None:
    """Times and prices equal the text of the file, digit by digit."""
    for venue in ("kraken", "bitstamp", "gdax", "exmo"):
        lines = (shared / "quotes-btcusd-2018-05" / f"{venue}_btc_usd.csv").read_text().splitlines()[1:]
        found = [row for row in quotes.rows["quotes"] if row[_QUOTES["venue"]] == venue]
        for line, row in zip(lines, found, strict=True):
            time, bid, ask = line.split(",")
            scale = row[_QUOTES["px_scale"]]
            assert row[1] == int(time) * 10**6
            assert (row[_QUOTES["bid_int"]], row[_QUOTES["ask_int"]]) == (_shifted(bid, scale), _shifted(ask, scale))


def _shifted(text: str, scale: int) -> int:
    """The plain text's digits with the point moved right; fails when a digit other than zero is left behind it."""
    whole, _, fraction = text.partition(".")
    kept, rest = fraction[:scale].ljust(scale, "0"), fraction[scale:]
    assert rest.strip("0") == ""
    return int(whole + kept)


def test_tardis_samples_decode_exactly(shared: Path) -> None:
    """All five layouts give their rows, with the numbers and times of the text."""
    del shared
    found = imported(load_sources(ROOT / "experiments" / "tardis-sources.toml"))
    assert {kind: len(rows) for kind, rows in found.rows.items() if kind not in {"instruments", "connections"}} == {
        "quotes": 10,
        "books": 20,
        "book_deltas": 15,
        "trades": 10,
    }
    trade = found.named("trades")[0]
    assert (trade["trade_id"], trade["price_int"], trade["px_scale"], trade["qty_int"], trade["aggressor"]) == (
        "ccc3c1fa-212c-e8b0-1706-9b9c4f3d5ecf",
        85315,
        1,
        2152,
        1,
    )
    assert (trade["ts_event"], trade["ts_recv"]) == (1583020803145000000, 1583020803307160000)
    quote = found.named("quotes")[0]
    assert (quote["bid_int"], quote["bid_qty_int"], quote["ask_int"], quote["ask_qty_int"]) == (86292, 806, 86293, 5494)
    deltas = found.named("book_deltas")
    assert [row["is_last"] for row in deltas] == [False] * 14 + [True]
    assert {(row["is_snapshot"], row["verdict"], row["side"]) for row in deltas} == {(True, 0, 1)}
    assert (deltas[0]["price_int"], deltas[0]["qty_int"], deltas[-1]["price_int"]) == (64215, 18640, 64285)
    books = found.named("books")
    assert Counter(row["bid_deep_int"] and len(row["bid_deep_int"]) for row in books) == {None: 10, 15: 10}
    first = books[0]
    assert (first["ask_00_int"], first["ask_qty_00_int"], first["bid_04_int"], first["bid_05_int"]) == (
        1165708,
        1714,
        1165568,
        None,
    )
    assert found.summary.rejects == {}


def test_every_tardis_book_cell(shared: Path) -> None:
    """Every level of the 25-level samples is the number in its cell, columns and lists alike."""
    path = shared / "vendor-formats" / "tardis" / "binance-futures_book_snapshot_25_BTCUSDT.csv"
    found = imported(load_sources(ROOT / "experiments" / "tardis-sources.toml"))
    books = [row for row in found.named("books") if row["bid_deep_int"]]
    for line, book in zip(path.read_text().splitlines()[1:], books, strict=True):
        cells = line.split(",")[4:]
        for start, side, scale in ((0, "ask", 2), (1, "ask_qty", 3), (2, "bid", 2), (3, "bid_qty", 3)):
            assert _levels(book, side) == [_shifted(cell, scale) for cell in cells[start::4]]


def _levels(book: dict[str, Any], side: str) -> list[int]:
    return [book[f"{side}_{level:02d}_int"] for level in range(10)] + list(book[f"{side}_deep_int"])


def test_float_quotes_of_a_vendor(shared: Path) -> None:
    """Quotes stored as floats are read as the decimals they stand for, none is refused, and the rule makes the receive time."""
    del shared
    found = imported(load_sources(ROOT / "experiments" / "binance-parquet-sources.toml"))
    rows = found.named("quotes")
    assert len(rows) == 451
    first = rows[0]
    assert (first["bid_int"], first["bid_qty_int"], first["ask_int"], first["ask_qty_int"]) == (3943299, 310000, 3943362, 6685100)
    assert {row["ts_recv"] - row["ts_event"] for row in rows} == {5_000_000}
    assert found.named("connections")[0]["time_rule"] == "ts_event + 5 ms"
    assert found.summary.rejects == {}


def test_a_cut_recording_keeps_what_is_whole(shared: Path, tmp_path: Path) -> None:
    """Half of a real gzip file imports up to the cut, and says that it was cut."""
    whole = (shared / "binance-wire-2024-08" / "spot" / "btcusdt_20240808.gz").read_bytes()
    (tmp_path / "half.gz").write_bytes(whole[: len(whole) // 8])
    (tmp_path / "s.toml").write_text(
        '[[source]]\nformat = "binance-raw"\npath = "half.gz"\nvenue = "binance"\nsymbol = "BTC/USDT"\n'
    )
    found = imported(load_sources(tmp_path / "s.toml"))
    lines = gzip.decompress(whole).splitlines()
    rules = found.rules()
    assert rules[-1][0] == "truncated_file"
    assert {rule for rule, _ in rules[:-1]} <= {"bad_json", "bad_time"}
    kept = len(found.rows["quotes"]) + len(found.rows["trades"])
    messages = {row[_DELTAS["venue_seq"]] for row in found.rows["book_deltas"]}
    assert 1000 < kept + len(messages) + len(rules) - 1 < len(lines)
