"""Readers of a log that is being written: sealed files and open tail together, no row twice, none missing."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.log.live import head, quotes, refusal
from tests.log.logs import HEADER, START, small_log
from tests.log.recorder import rows_from
from tests.log.test_livelog import QUICK, rotated, wait_for
from xarb.errors import LogError, Refused
from xarb.inspection import info_tables, repair_table, verify_tables
from xarb.log import tail
from xarb.log.check import verify_log
from xarb.log.committer import Policy
from xarb.log.info import info
from xarb.log.journal import FOLDER, journals
from xarb.log.livelog import LiveLog
from xarb.log.manifest import Manifest
from xarb.log.reader import LogReader
from xarb.log.tail import Tail
from xarb.sql import open_query
from xarb.sql.connection import Query

VIEWS = ("quotes", "refusals", "instruments", "tops")
ROOT = Path(__file__).resolve().parents[2]
COUNTS = "SELECT count(*), count(DISTINCT seq), min(seq), max(seq), CAST(sum(bid_int) AS BIGINT) FROM quotes"


@contextmanager
def writing(folder: Path) -> Iterator[LiveLog]:
    """A new log with its head written, which is abandoned at the end."""
    log = LiveLog.create(folder, HEADER, QUICK)
    log.append(head())
    log.write()
    try:
        yield log
    finally:
        log.abandon()


def ignore(done: int, total: int, note: str = "") -> None:
    """Progress that nobody sees."""


def one(query: Query, sql: str) -> tuple[object, ...]:
    """The only row of a result."""
    (row,) = query.run(sql).rows()
    return row


def test_a_query_sees_what_was_written_before_it(tmp_path: Path) -> None:
    """Rows are in the next statement's result as soon as they are written, through seals, the end of the recording and the next one."""
    folder = tmp_path / "log"
    with writing(folder) as log, open_query([folder]) as query:
        for n in range(2, 12):
            if n % 4 == 0:
                rotated(log)
                log._policy = Policy(seal_rows=1)
            log.append(quotes(n, 1), [refusal(n, 0, 5 * 10**18)])
            log.write()
            log._policy = QUICK
            assert one(query, COUNTS) == (n - 1, n - 1, 2, n, sum(100 + m for m in range(2, n + 1)))
            assert one(query, "SELECT count(*), sum(value) FROM refusals") == (n - 1, 5 * (n - 1))
        wait_for(lambda: len(Manifest(folder).segments) == 2)
        assert one(query, COUNTS)[:4] == (10, 10, 2, 11)
        log.append(quotes(12, 1))
        log.close()
        assert one(query, COUNTS)[:4] == (11, 11, 2, 12)
        with LiveLog.open(folder, QUICK) as again:
            again.append(quotes(13, 1))
            again.write()
            assert one(query, COUNTS)[:4] == (12, 12, 2, 13)


def test_the_tail_has_the_columns_of_the_files(tmp_path: Path) -> None:
    """Each view has the same columns and values, whether its rows are sealed or not; dates, times and prices among them."""
    folder = tmp_path / "log"
    with writing(folder) as log:
        log.append(quotes(2, 3), [refusal(4, 0, -(10**30))])
        log.write()
        with open_query([folder]) as query:
            shapes = {view: query.columns(view) for view in query.views}
            before = {view: list(query.run(f"FROM {view}").rows()) for view in VIEWS}
            assert one(query, "SELECT rows, first_ts, last_ts FROM logs") == (6, START, START + 4000)
        log.close()
    with open_query([folder]) as query:
        assert shapes == {view: query.columns(view) for view in query.views}
        assert before == {view: list(query.run(f"FROM {view}").rows()) for view in VIEWS}


def test_logs_at_work_stand_beside_others(tmp_path: Path) -> None:
    """A log that is written and one that is not are told apart by `source`, and only data files of the first may be touched beside."""
    small_log(tmp_path / "old")
    with writing(tmp_path / "it's") as log, open_query([tmp_path / "old", tmp_path / "it's"]) as query:
        log.append(quotes(2, 1))
        log.write()
        found = list(query.run("SELECT source, count(*) FROM quotes GROUP BY 1 ORDER BY 1").rows())
        assert found == [("it's", 1), ("old", 6)]
        for path in (tmp_path / "it's" / FOLDER / "00000000.journal", tmp_path / "it's" / "manifest.jsonl", Path("/etc/hostname")):
            with pytest.raises(Refused):
                query.run(f"FROM read_blob('{str(path).replace(chr(39), chr(39) * 2)}')")


def test_readers_never_see_a_row_twice_or_miss_one(tmp_path: Path) -> None:
    """While a recorder writes and a process of its own seals, every look of a tail and of a query is whole up to its last row."""
    folder = tmp_path / "log"
    command = [sys.executable, "-m", "tests.log.recorder", str(folder), "3", "0.01"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=ROOT) as recorder:
        try:
            wait_for(lambda: bool(journals(folder)))
            found = Tail(folder)
            segments: set[int] = set()
            with open_query([folder]) as query:
                until = time.monotonic() + 60
                while len(segments) < 4 and time.monotonic() < until:
                    count, distinct, first, last, _ = one(query, COUNTS)
                    assert (count, distinct, first) == (last - 1, last - 1, 2)  # type: ignore[operator]  # an int
                    found.refresh()
                    rows = sum(entry.rows for entry in found.manifest.files if entry.kind == "quotes") + found.rows.get("quotes", 0)
                    assert rows == found.last_seq - 1
                    assert found.last_seq >= last  # type: ignore[operator]  # an int
                    segments |= {len(found.manifest.segments)}
        finally:
            recorder.kill()
    assert len(segments) == 4


def test_a_tail_that_grows_costs_what_came(tmp_path: Path) -> None:
    """A second look decodes the new frames only, and is as good as a first one; without new rows it says that nothing changed."""
    with writing(tmp_path / "log") as log:
        tail = Tail(tmp_path / "log")
        assert (tail.rows, tail.refresh()) == ({"instruments": 1, "connections": 1}, False)
        for n in range(2, 150):
            log.append(*rows_from(n, 1))
            log.write()
            assert tail.refresh()
        fresh = Tail(tmp_path / "log")
        assert tail.rows == fresh.rows
        assert tail.table("quotes").equals(fresh.table("quotes"))
        assert (tail.last_seq, tail.last_ts, tail.bytes) == (149, START + 149_000, fresh.bytes)
        assert tail.first_ts == START


def test_what_info_and_verify_say_of_an_open_log(tmp_path: Path) -> None:
    """Both name what is not sealed, while it is written and after its writer died; a torn end is no finding, and said."""
    folder = tmp_path / "log"
    log = LiveLog.create(folder, HEADER, QUICK)
    log.append(head())
    log.append(quotes(2, 3))
    log.write()
    found = info(folder).tail
    assert found is not None
    assert (found.rows, found.last_seq, found.is_being_written, found.torn_bytes) == (
        {"quotes": 3, "instruments": 1, "connections": 1},
        4,
        True,
        0,
    )
    tables, good = verify_tables(folder, advance=ignore)
    assert good
    assert ("open tail: rows, bytes", f"5, {found.bytes}; every frame checked") in tables[0].rows
    assert ("open tail", "being written") in info_tables(folder)[0].rows
    log.abandon()
    (_, path) = journals(folder)[0]
    with path.open("ab") as file:
        file.write(b"half a frame")
    report = verify_log(folder)
    assert (report.ok, report.tail_rows, report.torn_bytes) == (True, 5, 12)
    assert ("torn", "12 bytes behind the last sound frame") in info_tables(folder)[0].rows
    with LogReader(folder) as reader:
        assert (reader.is_open, reader.last_seq) == (True, -1)
    data = bytearray(path.read_bytes())
    data[5] ^= 1
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    (copy / path.relative_to(folder)).write_bytes(data)
    assert [finding.file for finding in verify_log(copy).findings] == ["journal"]
    with pytest.raises(LogError, match="header is damaged"):
        open_query([copy])
    assert ("segments sealed", "1") in repair_table(folder).rows
    with LogReader(folder) as reader:
        assert (reader.is_open, reader.last_seq) == (False, 5)


def test_verify_sees_rows_that_do_not_follow(tmp_path: Path) -> None:
    """A journal whose checksums hold, though its rows go back in time, is a finding: a writer with a bug made it."""
    folder = tmp_path / "log"
    with writing(folder) as log:
        log._committer.check()
        row = quotes(2, 1)["quotes"][0]
        log._put({"quotes": [(2, START - 5, *row[2:])]}, 0)
        log._put({"quotes": [(9, START, *row[2:])]}, 0)
        found = [finding.what for finding in verify_log(folder).findings]
    assert found == ["seq 9 stands where 3 should be", "ts_recv goes back at seq 2"]


def test_a_look_while_the_last_journal_is_sealed_sees_its_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The writer closes between a look at the manifest and one at the journals: the look is made again."""
    log = LiveLog.create(tmp_path / "log", HEADER, QUICK)
    log.append(head())
    log.append(quotes(2, 10))
    log.write()
    found = Tail(log.folder)
    closed: list[bool] = []

    def closing(folder: Path) -> list[tuple[int, Path]]:
        if not closed:
            closed.append(True)
            log.close()
        return journals(folder)

    monkeypatch.setattr(tail, "journals", closing)
    assert found.refresh()
    assert (found.last_seq, len(found.manifest.segments)) == (11, 1)


def test_rows_of_one_log_are_shown_though_another_one_failed_a_look(tmp_path: Path) -> None:
    """A statement fails because one of two manifests cannot be read; the next one has what the other log got meanwhile."""
    with writing(tmp_path / "a") as one_log, writing(tmp_path / "b"), open_query([tmp_path / "a", tmp_path / "b"]) as query:
        one_log.append(quotes(2, 5))
        one_log.write()
        path = tmp_path / "b" / "manifest.jsonl"
        whole = path.read_bytes()
        path.write_bytes(whole + b"0")
        with pytest.raises(LogError):
            query.run("SELECT 1")
        path.write_bytes(whole)
        assert list(query.run("SELECT count(*) FROM quotes").rows()) == [(5,)]


def test_a_query_waits_for_a_line_that_is_being_written(tmp_path: Path) -> None:
    """Half a manifest line, as a reader may see it, is looked at again until it is whole."""
    folder = tmp_path / "log"
    with writing(folder):
        path = folder / "manifest.jsonl"
        whole = path.read_bytes()
        path.write_bytes(whole + b"0")
        mend = threading.Timer(0.02, path.write_bytes, [whole])
        mend.start()
        assert Tail(folder).last_seq == 1
        mend.join()
        path.write_bytes(whole + b"0")
        with pytest.raises(LogError, match="ends in the middle of a line"):
            Tail(folder)
