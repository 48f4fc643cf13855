"""`verify_log` names every broken promise. The logs are forged: digests and chain hold, the rows are wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.log.logs import BTC, HEADER, Row, connection, forge, instrument, placed, quote, read_all, rewrite, small_log, write
from xarb.errors import LogError
from xarb.log.check import CheckProgress, verify_log
from xarb.log.findings import FINDINGS_LIMIT, Report
from xarb.log.info import info
from xarb.log.manifest import Header, Segment
from xarb.log.writer import LogWriter

Change = Callable[[list[Row]], list[Row]]


def at(place: int, **values: Any) -> Change:
    """A change of some values in one row."""
    return lambda rows: [row | values if number == place else row for number, row in enumerate(rows)]


@pytest.mark.parametrize(
    ("kind", "change", "entry", "file", "row", "what"),
    [
        ("quotes", at(2, seq=5), {}, "kind=quotes", 2, "seq does not increase"),
        ("quotes", lambda rows: rows[:2] + rows[3:], {"rows": 5}, "manifest", None, "seq 7 follows 5"),
        ("quotes", lambda rows: rows[:-1], {"rows": 5}, "manifest", None, "rows end at seq 8, the segment at 9"),
        ("quotes", lambda rows: rows, {"rows": 7}, "kind=quotes", None, "manifest says rows 7, the file has 6"),
        ("quotes", at(3, ts_recv=0), {}, "kind=quotes", 3, "time goes back"),
        ("quotes", at(5, ts_recv=1_800_000_000_000_000_000), {}, "kind=quotes", 0, "rows of 2027-01-15 in a file of 2023-11-14"),
        ("quotes", lambda rows: rows, {"date": "2023-11-15"}, "kind=quotes", 0, "rows of 2023-11-14 in a file of 2023-11-15"),
        ("quotes", lambda rows: rows, {"first": 5}, "kind=quotes", 0, "the manifest says first 5"),
        ("quotes", lambda rows: rows, {"last": 8}, "kind=quotes", None, "the manifest says last 8, the file has 9"),
        ("quotes", lambda rows: rows, {"last_ts": 5}, "kind=quotes", None, "the manifest says last_ts 5"),
        ("quotes", lambda rows: rows, {"schema": "0" * 16}, "kind=quotes", None, "other columns than this version reads"),
        ("quotes", lambda rows: rows, {"instruments": ("BTC/USDT@binance",)}, "kind=quotes", None, "manifest says instruments"),
        ("quotes", at(1, px_scale=3), {}, "kind=quotes", 1, "scales differ from the latest instruments row of BTC/USDT@binance"),
        ("quotes", at(1, symbol="X"), {}, "kind=quotes", 1, "no instruments row of X@binance stands before it"),
        ("quotes", at(4, conn=7), {}, "kind=quotes", 4, "no connections row of number 7 stands before it"),
        ("instruments", at(0, seq=3, ts_recv=1_700_000_000_000_004_000), {}, "kind=instruments", 1, "seq does not increase"),
        ("connections", at(1, conn=0), {}, "kind=quotes", 0, "no connections row of number 1 stands before it (and 2 rows"),
    ],
)
def test_a_broken_promise_is_named(
    tmp_path: Path, kind: str, change: Change, entry: Row, file: str, row: int | None, what: str
) -> None:
    """Each breach is found with its file, its row where one is at fault, and what is wrong."""
    folder = small_log(tmp_path / "log")
    rewrite(folder, kind, change, **entry)
    found = [(one.file, one.row, one.what) for one in verify_log(folder).findings]
    assert [one for one in found if one[0].startswith(file) and one[1] == row and what in one[2]], found


def test_a_row_before_its_instrument_is_an_error(tmp_path: Path) -> None:
    """An instrument that is announced only after its first row is found, and so are scales that shrink."""
    rows = [connection(0), quote(1, 2), instrument(BTC, 2, 5), quote(1, 2), instrument(BTC, 1, 5), quote(1, 2)]
    write(tmp_path / "log", placed(rows))
    found = [(one.row, one.what) for one in verify_log(tmp_path / "log").findings]
    assert (0, "no instruments row of BTC/USDT@binance stands before it") in found
    assert (1, "scales of BTC/USDT@binance shrink") in found
    assert (2, "scales differ from the latest instruments row of BTC/USDT@binance") in found


def test_the_reader_refuses_what_the_kernel_could_not_survive(tmp_path: Path) -> None:
    """A row of an unknown instrument or connection never becomes a number outside the kernel's tables."""
    rewrite(small_log(tmp_path / "a"), "quotes", at(1, symbol="X"))
    with pytest.raises(LogError, match=r"kind=quotes.*seq 5: no instruments row names X@binance"):
        read_all(tmp_path / "a")
    rewrite(small_log(tmp_path / "b"), "quotes", at(4, conn=7))
    with pytest.raises(LogError, match=r"kind=quotes.*seq 8: no connections row has the number 7"):
        read_all(tmp_path / "b")


def test_kinds_that_take_turns_are_sound(tmp_path: Path) -> None:
    """Seq is gap-free over all kinds together, however they take turns and however they are cut into files."""
    body = [quote(n, n + 1) if n % 3 else ("health", {"metric": "m", "value": n}) for n in range(40)]
    write(tmp_path / "log", placed([connection(0), instrument(BTC, 2, 5), *body]), commits=4, row_group=3, seal_rows=15)
    assert verify_log(tmp_path / "log").findings == []
    assert len(read_all(tmp_path / "log")) == 42


def test_a_gap_between_segments_is_found(tmp_path: Path) -> None:
    """A segment that does not begin where the one before it ended is named by its line."""
    write(tmp_path / "log", placed([connection(0)] * 6), commits=3, seal_rows=1)

    def moved(one: Segment) -> Segment:
        return msgspec.structs.replace(one, first=one.first - 1) if one.segment == 1 else one

    forge(tmp_path / "log", moved)
    report = verify_log(tmp_path / "log")
    assert ("manifest.jsonl line 3", "segment begins at seq 1, 2 should follow") in [
        (one.file, one.what) for one in report.findings
    ]


@pytest.mark.parametrize(
    ("places", "what"),
    [
        ([(0, 0), (0, 1), (3, 0), (9, 0), (9, 1)], None),
        ([(0, 0), (0, 2)], "output (0, 2) follows (0, 0)"),
        ([(0, 0), (3, 1)], "output (3, 1) follows (0, 0)"),
        ([(4, 1)], "output (4, 1) follows"),
    ],
)
def test_ordinals_of_a_run_leave_none_out(tmp_path: Path, places: list[tuple[int, int]], what: str | None) -> None:
    """n counts from 0 for each after_seq over all kinds together."""
    folder = tmp_path / "run"
    with LogWriter.create(folder, Header(kind="run", log_id="r")) as writer:
        for kind in ("feed_states", "flags"):
            more = {"rule": "locked"} if kind == "flags" else {"state": "live", "previous": "down", "score": 1, "tradable": True}
            mine = places[(kind == "flags") :: 2]
            writer.write_rows(kind, [{"after_seq": a, "n": n, "ts": a, "venue": "v", "symbol": "s"} | more for a, n in mine])
    report = verify_log(folder)
    assert report.ok is (what is None)
    assert what is None or what in report.findings[0].what


def test_findings_are_bounded() -> None:
    """A hopeless log is reported in bounded memory; the rest is counted."""
    report = Report(folder="x")
    for number in range(FINDINGS_LIMIT + 5):
        report.add("f", "bad", number)
    assert (len(report.findings), report.more_findings, report.ok) == (FINDINGS_LIMIT, 5, False)


def test_progress_reaches_the_whole(tmp_path: Path) -> None:
    """Progress grows to all bytes of all files."""
    steps: list[CheckProgress] = []
    verify_log(small_log(tmp_path / "log"), steps.append)
    assert [step.bytes_done for step in steps] == sorted(step.bytes_done for step in steps)
    assert steps[-1].bytes_done == steps[-1].bytes_total > 0


def test_info_counts_what_is_there(tmp_path: Path) -> None:
    """Header, ranges, rows per kind and rows per instrument of a log, and of an empty one."""
    folder = small_log(tmp_path / "log")
    found = info(folder)
    assert (found.header.log_id, found.rows, found.files, found.first_seq, found.last_seq) == ("test", 10, 3, 0, 9)
    assert {kind: one.rows for kind, one in found.kinds.items()} == {"connections": 2, "instruments": 2, "quotes": 6}
    assert found.instruments == {"BTC/KRW@upbit": {"quotes": 3}, "BTC/USDT@binance": {"quotes": 3}}
    assert (found.kinds["quotes"].first, found.kinds["quotes"].bytes_per_row * 6) == (4, found.kinds["quotes"].bytes)
    with LogWriter.create(tmp_path / "empty", HEADER):
        pass
    assert (info(tmp_path / "empty").rows, info(tmp_path / "empty").last_seq) == (0, None)
