"""hftbacktest event files, written to their published layout: messages, snapshots, hostile rows, other layouts."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import numpy as np
import pytest

from tests.imports.conftest import TextImport
from xarb.errors import ConfigError
from xarb.imports.hftbacktest_npz import BUY_SIDE, CLEAR, DEPTH, EVENT, EXCHANGE, LOCAL, SELL_SIDE, SNAPSHOT, TRADE

T = 1_723_161_256_070_000_000
BOTH = EXCHANGE | LOCAL
BID, ASK = BOTH | BUY_SIDE, BOTH | SELL_SIDE
SOURCE = (
    '[[source]]\nformat = "hftbacktest-npz"\npath = "a.npz"\nvenue = "binanceusdm"\nsymbol = "BTC/USDT:USDT"\n'
    "price_decimals = 1\nqty_decimals = 3\n"
)


def event(ev: int, px: float, qty: float, *, at: int = T, delay: int = 5) -> tuple[Any, ...]:
    """One row, received `delay` ns after it happened."""
    return (ev, at, at + delay, px, qty, 0, 0, 0.0)


def npz(rows: list[tuple[Any, ...]], dtype: np.dtype[Any] = EVENT, name: str = "data") -> bytes:
    """The file that numpy writes of them."""
    file = io.BytesIO()
    np.savez_compressed(file, **{name: np.array(rows, dtype)})  # type: ignore[arg-type]  # the stub takes names for options
    return file.getvalue()


SNAP = [
    event(CLEAR | BID, 61659.0, 0.0),
    event(SNAPSHOT | BID, 61659.7, 0.1 + 0.2),
    event(SNAPSHOT | BID, 61659.0, 2.0),
    event(CLEAR | ASK, 61660.0, 0.0),
    event(SNAPSHOT | ASK, 61659.8, 7.001),
]


def test_messages_and_trades(text_import: TextImport) -> None:
    """Rows of equal times are one message; a snapshot replaces the book; floats become the decimals that they stand for."""
    rows = [
        event(DEPTH | BID, 61650.0, 1.0, at=T - 9),
        *SNAP,
        event(DEPTH | ASK, 61659.8, 0.0, at=T + 1),
        event(DEPTH | BID, 61659.7, 4.0, at=T + 1),
        event(TRADE | BID, 61659.8, 0.5, at=T + 2),
        event(TRADE | ASK, 61659.7, 0.001, at=T + 2),
        event(TRADE | BOTH, 61659.7, 0.001, at=T + 2),
    ]
    found = text_import(SOURCE, {"a.npz": npz(rows)})
    assert found.rules() == []
    deltas = found.named("book_deltas")
    assert {row["ts_recv"] - row["ts_event"] for row in deltas} == {5}
    assert [(r["side"], r["price_int"], r["qty_int"], r["is_snapshot"], r["is_last"], r["verdict"]) for r in deltas] == [
        (0, 6165000, 1000, False, True, 2),
        (0, 6165970, 300, True, False, 0),
        (0, 6165900, 2000, True, False, 0),
        (1, 6165980, 7001, True, True, 0),
        (0, 6165970, 4000, False, False, 0),
        (1, 6165980, 0, False, True, 0),
    ]
    assert [(row["aggressor"], row["qty_int"], row["trade_id"]) for row in found.named("trades")] == [
        (0, 500, None),
        (1, 1, None),
        (2, 1, None),
    ]


def test_a_row_that_stands_twice_is_read_where_it_was_received(text_import: TextImport) -> None:
    """hftbacktest writes an event that was overtaken once for the exchange and once for the receiver."""
    rows = [
        event(TRADE | EXCHANGE | BUY_SIDE, 61659.8, 0.5, at=T, delay=20),
        event(TRADE | BID, 61659.7, 0.1, at=T + 1),
        event(TRADE | LOCAL | BUY_SIDE, 61659.8, 0.5, at=T, delay=20),
    ]
    trades = text_import(SOURCE, {"a.npz": npz(rows)}).named("trades")
    assert [(row["ts_recv"], row["ts_event"], row["qty_int"]) for row in trades] == [(T + 6, T + 1, 100), (T + 20, T, 500)]


def test_the_book_of_the_day_before_has_no_time_and_takes_the_first(text_import: TextImport) -> None:
    """`create_last_snapshot` writes zeros for times; the file that continues says when."""
    before = [event(kind, px, qty, at=0, delay=0) for kind, _, _, px, qty, *_ in SNAP]
    source = SOURCE + SOURCE.replace("a.npz", "b.npz") + "continues = true\n"
    found = text_import(source, {"a.npz": npz(before), "b.npz": npz([event(DEPTH | BID, 61659.0, 0.0)])})
    assert found.rules() == []
    deltas = found.named("book_deltas")
    assert [(row["ts_recv"], row["ts_event"], row["is_snapshot"], row["verdict"]) for row in deltas] == [
        *[(T + 5, None, True, 0)] * 3,
        (T + 5, T, False, 0),
    ]


def test_half_a_snapshot_gives_the_book_up(text_import: TextImport) -> None:
    """One side alone replaces no book: a gap, and what follows is unsynced until a whole one comes."""
    half = [(row[0], T + 1, T + 6, *row[3:]) for row in SNAP[:3]]
    whole = [(row[0], T + 3, T + 8, *row[3:]) for row in SNAP]
    rows = [*SNAP, *half, event(DEPTH | ASK, 61659.8, 1.0, at=T + 2), *whole]
    found = text_import(SOURCE, {"a.npz": npz(rows)})
    assert [row["verdict"] for row in found.named("book_deltas")] == [0, 0, 0, 2, 2, 2, 0, 0, 0]
    gap = [row for row in found.named("connections") if row["detail"] == "a snapshot of one side only"]
    assert [row["symbol"] for row in gap] == ["BTC/USDT:USDT"]


@pytest.mark.parametrize(
    ("row", "rule"),
    [
        (event(DEPTH | BID, 61659.75, 1.0), "bad_number"),
        (event(DEPTH | BID, float("nan"), 1.0), "bad_number"),
        (event(TRADE | BID, 61659.7, float("inf")), "bad_number"),
        (event(TRADE | BID, 61659.7, -1.0), "bad_number"),
        (event(DEPTH | BOTH, 61659.7, 1.0), "bad_side"),
        (event(TRADE | BID | ASK, 61659.7, 1.0), "bad_side"),
        (event(TRADE | BUY_SIDE, 61659.7, 1.0), "bad_flag"),
        (event(10 | BID, 61659.7, 1.0), "unread_kind"),
        (event(TRADE | BID, 61659.7, 1.0, at=T - 1), "time_backwards"),
        (event(TRADE | BID, 61659.7, 1.0, at=0), "bad_time"),
        (event(SNAPSHOT | BID, 61659.7, 1.0, at=0, delay=0), "bad_time"),
    ],
)
def test_hostile_rows(text_import: TextImport, row: tuple[Any, ...], rule: str) -> None:
    """A bad row is a reject with its number, and the rows around it are kept."""
    good = event(TRADE | BID, 61659.7, 1.0)
    found = text_import(SOURCE, {"a.npz": npz([good, row, good])})
    assert found.rules() == [(rule, 2)]
    assert len(found.rows["trades"]) == 2


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no archive",
        npz([event(TRADE | BID, 1.0, 1.0)])[:-40],
        npz([event(TRADE | BID, 1.0, 1.0)], name="events"),
        npz([(1, 2.0)], np.dtype([("ev", "u8"), ("px", "f8")])),
    ],
)
def test_another_layout_stops_the_import(text_import: TextImport, content: bytes) -> None:
    """A file that is none of hftbacktest's is named."""
    with pytest.raises(ConfigError, match=r"a\.npz"):
        text_import(SOURCE, {"a.npz": content})


def test_objects_are_not_unpickled(text_import: TextImport) -> None:
    """An array of Python objects, which numpy would unpickle, is another layout; so is one that is shorter than its header says."""
    file = io.BytesIO()
    np.savez(file, data=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ConfigError, match="not of hftbacktest's events"):
        text_import(SOURCE, {"a.npz": file.getvalue()})
    whole = io.BytesIO()
    np.save(whole, np.array([event(TRADE | BID, 1.0, 1.0)] * 2, EVENT))
    for content, text in ((whole.getvalue()[:-1], "ends before its 2 rows"), (whole.getvalue() + b"x", "bytes follow")):
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as out:
            out.writestr("data.npy", content)
        with pytest.raises(ConfigError, match=text):
            text_import(SOURCE, {"a.npz": archive.getvalue()})


def test_decimals_must_be_stated(text_import: TextImport) -> None:
    """A float is no decimal number by itself."""
    with pytest.raises(ConfigError, match="state qty_decimals"):
        text_import(SOURCE.replace("qty_decimals = 3\n", ""), {"a.npz": npz(SNAP)})
