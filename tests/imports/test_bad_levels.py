"""A level that cannot be used, in every format of levels: its message moves no book, and the book is given up until a snapshot that is whole."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from tests.imports import test_coinapi as coinapi
from tests.imports import test_hftbacktest as hft
from tests.imports import test_nautilus as nautilus
from tests.imports import test_tardis as tardis
from tests.imports.conftest import TextImport
from tests.imports.test_cryptofeed import instruments
from xarb.catalog import load_instruments
from xarb.imports import hftbacktest_npz, nautilus_parquet
from xarb.imports.levels import ASKS, BIDS, LevelBook
from xarb.imports.tape import Listings


class Row(NamedTuple):
    """A level of the tests: when, whether of a snapshot, its side, and what is wrong with it: `level`, `place` or nothing."""

    at: int
    is_snapshot: bool
    is_bid: bool = True
    flaw: str = ""


Files = dict[str, bytes]


def of_tardis(rows: list[Row]) -> tuple[str, Files]:
    """Incremental book; a row of too few fields has no place."""
    text = tardis.LEVELS
    for row in rows:
        line = tardis.level(
            str(row.is_snapshot).lower(),
            "bid" if row.is_bid else "ask",
            "x" if row.flaw == "level" else "6421.5" if row.is_bid else "6422",
            "20",
            at=tardis.T + row.at,
        )
        text += line.replace(",20\n", "\n") if row.flaw == "place" else line
    return tardis.SOURCE, {"a.csv": text.encode()}


def of_coinapi(rows: list[Row]) -> tuple[str, Files]:
    """limitbook_full; a row without a time has no place."""
    text = coinapi.BOOK
    for row in rows:
        kind, price = "SNAPSHOT" if row.is_snapshot else "SET", "1.5" if row.is_bid else "2.5"
        line = coinapi.change(kind, str(int(row.is_bid)), "x" if row.flaw == "level" else price, "7", at=row.at)
        text += line.replace("T", "-") if row.flaw == "place" else line
    return coinapi.SOURCE, coinapi.packed(text)


def of_hft(rows: list[Row]) -> tuple[str, Files]:
    """hftbacktest; a row that nobody saw has no place."""
    events = []
    for row in rows:
        kind = (hftbacktest_npz.SNAPSHOT if row.is_snapshot else hftbacktest_npz.DEPTH) | (
            hftbacktest_npz.BUY_SIDE if row.is_bid else hftbacktest_npz.SELL_SIDE
        )
        kind |= 0 if row.flaw == "place" else hft.BOTH
        events.append(hft.event(kind, float("nan") if row.flaw == "level" else 61659.0 + (not row.is_bid), 1.0, at=hft.T + row.at))
    return hft.SOURCE, {"a.npz": hft.npz(events)}


def of_nautilus(rows: list[Row]) -> tuple[str, Files]:
    """NautilusTrader; a row without `ts_event` has no place."""
    deltas: list[tuple[Any, ...]] = []
    for row in rows:
        price = 15 * 10**8 + (row.flaw == "level") if row.is_bid else 25 * 10**8
        flags = nautilus_parquet.SNAPSHOT if row.is_snapshot else 0
        found = nautilus.delta(nautilus_parquet.ADD, 1 if row.is_bid else 2, price, 10**9, at=row.at, flags=flags)
        deltas.append((*found[:-2], 17, found[-1]) if row.flaw == "place" else found)
    return nautilus.SOURCE, nautilus.parquet("OrderBookDelta", deltas)


FORMATS: dict[str, Callable[[list[Row]], tuple[str, Files]]] = {
    "tardis": of_tardis,
    "coinapi": of_coinapi,
    "hftbacktest": of_hft,
    "nautilus": of_nautilus,
}


def snapshot(at: int) -> list[Row]:
    """A whole one."""
    return [Row(at, is_snapshot=True), Row(at, is_snapshot=True, is_bid=False)]


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(
    ("middle", "verdicts"),
    [
        pytest.param([Row(3, False), Row(3, False, flaw="level"), Row(3, False, False)], [0, 0, 2, 2, 0, 0], id="in an update"),
        pytest.param([Row(3, False, flaw="level"), Row(3, False)], [0, 0, 2, 2, 0, 0], id="first in an update"),
        pytest.param([Row(3, False, flaw="level")], [0, 0, 2, 0, 0], id="a whole update"),
        pytest.param([*snapshot(3), Row(3, True, flaw="level")], [0, 0, 2, 2, 0, 0], id="last in a snapshot"),
        pytest.param([Row(3, True, flaw="level"), *snapshot(3)], [0, 0, 2, 2, 0, 0], id="first in a snapshot"),
        pytest.param([Row(3, False, flaw="place")], [0, 2, 2, 0, 0], id="without a place"),
        pytest.param([Row(3, False), Row(3, False, flaw="place"), Row(3, False)], [0, 0, 2, 2, 0, 0], id="without a place, within"),
        pytest.param([Row(3, True, flaw="place"), *snapshot(3)], [0, 2, 2, 2, 0, 0], id="without a place, before a snapshot"),
        pytest.param(
            [Row(3, True), Row(3, True, flaw="place"), *snapshot(3)], [0, 0, 2, 2, 0, 0], id="without a place, in a snapshot"
        ),
    ],
)
def test_a_bad_level(text_import: TextImport, form: str, middle: list[Row], verdicts: list[int]) -> None:
    """One reject, one gap at once, and nothing moves the book until the next whole snapshot; all good levels are recorded."""
    rows = [*snapshot(1), Row(2, False), *middle, Row(4, False), *snapshot(5), Row(6, False)]
    source, files = FORMATS[form](rows)
    found = text_import(source, files)
    levels = found.named("book_deltas")
    assert [row["verdict"] for row in levels if row["is_last"]] == verdicts
    assert len(levels) == len([row for row in rows if not row.flaw])
    assert [line for _, line in found.rules()] == [
        rows.index(bad) + (1 if form in {"hftbacktest", "nautilus"} else 2) for bad in rows if bad.flaw
    ]
    gaps = [row for row in found.named("connections") if row["event"] == 2]
    (reject,) = found.named("rejects")
    assert [(row["ts_recv"], row["seq"]) for row in gaps] == [(reject["ts_recv"], reject["seq"] + 1)]
    assert gaps[0]["detail"] == f"a row of the book was rejected: {reject['rule']}"


def test_a_message_has_a_limit() -> None:
    """Rows of one key without end, as in a damaged file, do not fill the memory: they are bad levels."""
    book = LevelBook(Listings(load_instruments()).require("binance", "BTC/USDT"), limit=2)
    book.row(1, None, 17, is_snapshot=True)
    for price in ("1.5", "1.4"):
        book.add(BIDS, (price, "1"))
    book.add(ASKS, ("2.5", "1"))
    with pytest.raises(ValueError, match="more than 2 bids"):
        book.add(BIDS, ("1.3", "1"))


def test_bad_rows_of_other_kinds_leave_the_book_alone(text_import: TextImport) -> None:
    """hftbacktest: a trade that cannot be used, or a row of a user's own kind, is no level."""
    rows = [*hft.SNAP, hft.event(hftbacktest_npz.TRADE | hft.BID, float("nan"), 1.0), hft.event(99 | hft.BID, 1.0, 1.0)]
    found = text_import(
        hft.SOURCE, {"a.npz": hft.npz([*rows, hft.event(hftbacktest_npz.DEPTH | hft.BID, 61659.0, 1.0, at=hft.T + 2)])}
    )
    assert [rule for rule, _ in found.rules()] == ["bad_number", "unread_kind"]
    assert {row["verdict"] for row in found.named("book_deltas")} == {0}


def test_a_bad_level_is_of_one_book(text_import: TextImport) -> None:
    """Tardis: of a file of many symbols the others go on, unless the row does not say its symbol."""

    def both(flag: str, at: int) -> str:
        row = tardis.level(flag, "ask", "6421.5", "20", at=tardis.T + at)
        return row + row.replace("BTC-PERPETUAL", "NKNUSD")

    bad = tardis.level("false", "ask", "x", "20", at=tardis.T + 2)
    for row, verdicts in ((bad, [0, 0, 0, 0, 2, 0]), (bad.replace(",x,", ","), [0, 0, 0, 2, 2, 2])):
        text = tardis.LEVELS + both("true", 0) + both("false", 1) + row + both("false", 3)
        files = {"a.csv": text.encode(), "i.toml": instruments("deribit", ("NKNUSD",)).encode()}
        found = text_import('instruments = "i.toml"\n' + tardis.SOURCE, files)
        assert [level["verdict"] for level in found.named("book_deltas")] == verdicts


def test_a_file_that_stops_gives_the_book_up(text_import: TextImport) -> None:
    """What is cut off is missing in the file that continues: its last message moves nothing, and the book waits."""
    text = tardis.LEVELS + tardis.level("true", "ask", "6421.5", "20") + tardis.level("false", "ask", "6422", "20", at=tardis.T + 1)
    whole = gzip.compress(text.encode())
    second = tardis.LEVELS + tardis.level("false", "ask", "6422", "30", at=tardis.T + 2)
    source = tardis.SOURCE + tardis.SOURCE.replace("a.csv", "b.csv") + "continues = true\n"
    found = text_import(source, {"a.csv": whole[:-4], "b.csv": second.encode()})
    assert [row["verdict"] for row in found.named("book_deltas")] == [0, 2, 2]
    assert [rule for rule, _ in found.rules()] == ["truncated_file"]
    first = coinapi.change("SNAPSHOT", "1", "1.5", "7") + coinapi.change("SET", "1", "1.5", "8", at=6)
    files = (
        coinapi.packed(coinapi.BOOK + first)["a.csv.gz"][:-4],
        coinapi.packed(coinapi.BOOK + coinapi.change("SET", "1", "1.5", "9", at=7)),
    )
    source = coinapi.SOURCE + coinapi.SOURCE.replace("a.csv", "b.csv") + "continues = true\n"
    found = text_import(source, {"a.csv.gz": files[0], "b.csv.gz": files[1]["a.csv.gz"]})
    assert [row["verdict"] for row in found.named("book_deltas")] == [0, 2, 2]
