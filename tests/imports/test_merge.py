"""Several sources, one order."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.engine.resync import Beside
from tests.imports.conftest import TextImport
from xarb.catalog import load_instruments
from xarb.errors import ConfigError
from xarb.imports.run import LogState

T = 1525783064648


def source(name: str, venue: str) -> str:
    """A quote source."""
    keys = f'format = "quotes-csv"\npath = "{name}"\nvenue = "{venue}"\nsymbol = "BTC/USD"\ntime_unit = "ms"\n'
    return f'[[source]]\n{keys}columns = {{ ts_recv = "time", bid = "bid", ask = "ask" }}\n'


def table(times: list[int]) -> bytes:
    """A quote file whose bids count its rows."""
    return b"time,bid,ask\n" + b"".join(f"{T + time},{row},{row + 1}\n".encode() for row, time in enumerate(times))


VENUES = ("kraken", "bitstamp", "gdax")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=8).map(sorted), min_size=3, max_size=3))
def test_the_order_is_time_then_source_then_row(text_import: TextImport, times: list[list[int]]) -> None:
    """The merged rows equal a plain sort by receive time, place in the sources file, and row."""
    names = [f"{venue}.csv" for venue in VENUES]
    text = "".join(source(name, venue) for name, venue in zip(names, VENUES, strict=True))
    found = text_import(text, {name: table(part) for name, part in zip(names, times, strict=True)})
    plain = sorted((time, place, row) for place, part in enumerate(times) for row, time in enumerate(part))
    rows = found.named("quotes")
    got = [(row["ts_recv"] // 10**6 - T, VENUES.index(row["venue"]), row["bid_int"] // 10 ** row["px_scale"]) for row in rows]
    assert got == plain
    everything = sorted((row[0], row[1]) for part in found.rows.values() for row in part)
    assert [seq for seq, _ in everything] == list(range(len(everything)))
    assert [ts for _, ts in everything] == sorted(ts for _, ts in everything)


def test_rows_lie_between_opened_and_closed(text_import: TextImport) -> None:
    """Each source's connection opens before its first row and closes after its last, at their times; numbers follow the file."""
    found = text_import(source("a.csv", "kraken") + source("b.csv", "gdax"), {"a.csv": table([3, 9]), "b.csv": table([1, 5])})
    links = [(row["conn"], row["venue"], row["event"], row["ts_recv"] // 10**6 - T) for row in found.named("connections")]
    assert links == [(1, "gdax", 0, 1), (0, "kraken", 0, 3), (1, "gdax", 5, 5), (0, "kraken", 5, 9)]


def test_an_instrument_precedes_its_rows(text_import: TextImport) -> None:
    """The instruments row has a lower seq than any row of the instrument."""
    found = text_import(source("a.csv", "kraken"), {"a.csv": table([3, 9])})
    assert found.named("instruments")[0]["seq"] < min(row["seq"] for row in found.named("quotes"))


def test_going_on_with_a_log(text_import: TextImport) -> None:
    """Seq and connection numbers go on, known instruments are not announced again, and scales stay at least as fine."""
    state = LogState(next_seq=500, last_ts=(T + 3) * 10**6, next_conn=7, scales={("kraken", "BTC/USD"): (4, 8)})
    found = text_import(source("a.csv", "kraken"), {"a.csv": table([3, 9])}, state)
    assert (found.summary.first_seq, found.summary.last_seq) == (500, 503)
    assert "instruments" not in found.rows
    assert [(row["conn"], row["event"]) for row in found.named("connections")] == [(7, 0), (7, 5)]
    assert [(row["bid_int"], row["px_scale"]) for row in found.named("quotes")] == [(0, 4), (10000, 4)]


def test_a_source_older_than_the_log_is_refused(text_import: TextImport) -> None:
    """A log only grows forward."""
    with pytest.raises(ConfigError, match=r"a\.csv: begins at .* before the log's end"):
        text_import(source("a.csv", "kraken"), {"a.csv": table([3])}, LogState(next_seq=5, last_ts=(T + 4) * 10**6))


def test_an_empty_source_is_told(text_import: TextImport) -> None:
    """A file with a header only has its connection opened and closed at the end."""
    found = text_import(source("a.csv", "kraken") + source("b.csv", "gdax"), {"a.csv": table([3, 9]), "b.csv": table([])})
    links = [(row["venue"], row["event"], row["ts_recv"] // 10**6 - T) for row in found.named("connections")]
    assert links == [("kraken", 0, 3), ("kraken", 5, 9), ("gdax", 0, 9), ("gdax", 5, 9)]


RAW = '[[source]]\nformat = "binance-raw"\npath = "{}"\nvenue = "binance"\nsymbol = "BTC/USDT"\n'
NS = 1723161253937085768


def line(at: int, body: dict[str, object]) -> bytes:
    """A line of a raw log."""
    return f"{NS + at} {json.dumps(body)}\n".encode()


def depth(at: int, first: int, last: int) -> bytes:
    """A depth update."""
    return line(
        at,
        {
            "stream": "x",
            "data": {"e": "depthUpdate", "E": 1723161255208, "s": "BTCUSDT", "U": first, "u": last, "b": [["1.5", "2"]], "a": []},
        },
    )


SNAPSHOT = line(0, {"lastUpdateId": 5, "bids": [["1", "2"]], "asks": [["3", "4"]]})


def test_a_file_that_continues_keeps_the_book(text_import: TextImport) -> None:
    """The second file goes on with the sequence and the connection of the first, which stays open."""
    sources = RAW.format("a") + RAW.format("b") + "continues = true\n"
    found = text_import(sources, {"a": SNAPSHOT + depth(1, 6, 7), "b": depth(2, 8, 9)})
    assert [row["verdict"] for row in found.named("book_deltas")] == [0, 0, 0, 0]
    assert [(row["conn"], row["event"], row["source"], row["detail"]) for row in found.named("connections")] == [
        (0, 0, "a", "import of binance-raw"),
        (0, 6, "b", "continues a"),
        (0, 5, "b", "end of the source"),
    ]


def test_without_continues_the_second_file_has_no_book(text_import: TextImport) -> None:
    """The same two files as sources of their own: the second one's updates are unsynced."""
    found = text_import(RAW.format("a") + RAW.format("b"), {"a": SNAPSHOT + depth(1, 6, 7), "b": depth(2, 8, 9)})
    assert [row["verdict"] for row in found.named("book_deltas")] == [0, 0, 0, 2]


def test_a_gap_is_a_row(text_import: TextImport) -> None:
    """Lost updates give a gap on the symbol, before the row that shows it; the resync comes with the next snapshot."""
    later = line(4, {"lastUpdateId": 12, "bids": [["1", "2"]], "asks": [["3", "4"]]})
    found = text_import(
        RAW.format("a"), {"a": SNAPSHOT + depth(1, 6, 7) + depth(2, 9, 10) + depth(3, 11, 12) + later + depth(5, 13, 13)}
    )
    assert [row["verdict"] for row in found.named("book_deltas")] == [0, 0, 0, 2, 2, 0, 0, 0]
    links = [(row["event"], row["symbol"], row["detail"]) for row in found.named("connections")]
    assert links[1:3] == [(2, "BTC/USDT", "expected U = 8, got U 9 u 10"), (3, "BTC/USDT", "snapshot 12")]


def test_a_frame_back_in_time_does_not_move_the_book(text_import: TextImport) -> None:
    """It is a reject with its text, and the update that it held is missed as a gap."""
    found = text_import(RAW.format("a"), {"a": SNAPSHOT + depth(5, 6, 7) + depth(4, 8, 9) + depth(6, 10, 11)})
    assert found.rules() == [("time_backwards", 3)]
    assert [row["verdict"] for row in found.named("book_deltas")] == [0, 0, 0, 2]
    assert 2 in [row["event"] for row in found.named("connections")]


def test_hostile_lines(text_import: TextImport) -> None:
    """Lines without a time, without JSON, cut short or empty are rejects with their line."""
    text = (
        SNAPSHOT
        + b"x {}\n"
        + b"\n"
        + f"{NS}\n".encode()
        + f'{NS} {{"a":'.encode()
        + b"\n"
        + f"{NS} \xff\n".encode("latin-1")
        + depth(1, 6, 7)
    )
    found = text_import(RAW.format("a"), {"a": text})
    assert found.rules() == [("bad_time", 2), ("bad_time", 3), ("bad_json", 4), ("bad_json", 5), ("bad_json", 6)]
    assert len(found.rows["book_deltas"]) == 3


def test_an_imported_snapshot_older_than_its_buffer_opens_no_edge(text_import: TextImport) -> None:
    """The snapshot in a raw log stands 10 % above the other venue, the update that waited for it where that stands: no episode."""

    def update(at: int, number: int, before: int, after: int) -> bytes:
        sides = {"b": [[str(before), "0"], [str(after), "5"]], "a": [[str(before + 1), "0"], [str(after + 1), "5"]]}
        return line(at, {"e": "depthUpdate", "E": 1723161255208, "s": "BTCUSDT", "U": number, "u": number, **sides})

    whole = line(3, {"lastUpdateId": 12, "bids": [["110", "5"]], "asks": [["111", "5"]]})
    raw = update(1, 12, 115, 110) + update(2, 13, 110, 100) + whole + update(4, 14, 100, 90)
    found = text_import(RAW.format("a"), {"a": raw})
    one = load_instruments().require("binance", "BTC/USDT")
    beside = Beside(one)
    beside.fold(found.rows)
    assert [(row["verdict"], row["is_last"]) for row in found.named("book_deltas") if row["ts_recv"] == NS + 3] == [
        *[(0, False)] * 5,
        (0, True),
    ]
    # The last update, 10 % below, opens the only one; the end of the source closes it.
    assert beside.edges == ["opened other>binance", "closed other>binance", f"{NS + 4} open 1", f"{NS + 4} close 1"]
