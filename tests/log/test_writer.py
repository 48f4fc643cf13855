"""The writer: whole or not at all, one at a time, split by dates and sizes, nothing accepted that breaks a promise."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tests.log.logs import BTC, HEADER, KRW, START, connection, instrument, placed, quote, read_all, small_log, write
from xarb.errors import ConfigError, InvariantBroken, LogError
from xarb.log import manifest
from xarb.log.check import verify_log
from xarb.log.growing import note_instruments
from xarb.log.manifest import Header, Manifest
from xarb.log.reader import LogReader
from xarb.log.rows import to_table, tuples_to_table
from xarb.log.schema import arrow_schema
from xarb.log.writer import LogWriter
from xarb.model.units import NANOS_PER_S

ROOT = Path(__file__).resolve().parents[2]
DAY = 86_400 * NANOS_PER_S


def test_an_exception_leaves_no_new_log(tmp_path: Path) -> None:
    """A log that was being created disappears with the exception that stopped it, even an interrupt."""

    def fail(error: type[BaseException]) -> None:
        with LogWriter.create(tmp_path / "log", HEADER, seal_rows=1) as writer:
            writer.write_rows("connections", [placed([connection(0)])[0][1]])
            writer.commit()
            assert len(Manifest(tmp_path / "log").segments) == 1
            raise error

    for error in (ValueError, KeyboardInterrupt):
        with pytest.raises(error):
            fail(error)
        assert not (tmp_path / "log").exists()


def test_an_exception_leaves_an_old_log_as_it_was(tmp_path: Path) -> None:
    """An append that fails leaves the same files, the same bytes and no empty folder."""
    folder = small_log(tmp_path / "log")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(InvariantBroken, match="seq is not gap-free"), LogWriter.append_to(folder) as writer:
        writer.write_rows("health", [{"seq": 12, "ts_recv": 2 * 10**18, "metric": "m", "value": 1}])
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert not (folder / "kind=health").exists()


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    """Two writers never share a log, within a process or between processes; the lock is free again after an abort and a close."""
    folder = small_log(tmp_path / "log")
    code = f"from xarb.log.writer import LogWriter\nLogWriter.append_to({str(folder)!r}).close()"
    with LogWriter.append_to(folder):
        with pytest.raises(LogError, match="is being written by another process"):
            LogWriter.append_to(folder)
        other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
        assert "is being written by another process" in other.stderr
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=ROOT).returncode == 0
    LogWriter.append_to(folder).abort()
    LogWriter.append_to(folder).close()
    assert not (folder / ".lock").exists()


def test_create_never_touches_what_is_there(tmp_path: Path) -> None:
    """A folder with anything in it, and a file, are refused; an empty folder is taken."""
    (tmp_path / "some").mkdir()
    (tmp_path / "some" / "file").write_text("mine")
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "some", tmp_path / "some" / "file"):
        with pytest.raises(ConfigError, match="exists already"):
            LogWriter.create(path, HEADER)
    with LogWriter.create(tmp_path / "empty", HEADER):
        pass
    assert (tmp_path / "some" / "file").read_text() == "mine"


def test_a_finished_run_stays_finished(tmp_path: Path) -> None:
    """Nothing can be added behind the summary of a run, and the refusal leaves no lock behind."""
    with LogWriter.create(tmp_path / "run", Header(kind="run", log_id="r")) as writer:
        writer.finish("abc", 7)
    for _ in range(2):
        with pytest.raises(LogError, match="is a finished run"):
            LogWriter.append_to(tmp_path / "run")
    assert Manifest(tmp_path / "run").summary is not None


def test_dates_split_files(tmp_path: Path) -> None:
    """No file holds two UTC dates: the last nanosecond of a day and the first of the next lie in different folders."""
    midnight = 20_000 * DAY
    times = [midnight - 2, midnight - 1, midnight, midnight, midnight + DAY]
    head = [connection(0), instrument(BTC, 2, 5)]
    rows = placed([*head, *(quote(n, n + 1, ts_recv=ts) for n, ts in enumerate(times, 1))], ts=midnight - 10, step=1)
    write(tmp_path / "log", rows)
    found = {entry.date: (entry.rows, entry.path) for entry in Manifest(tmp_path / "log").files if entry.kind == "quotes"}
    assert {date: count for date, (count, _) in found.items()} == {"2024-10-03": 2, "2024-10-04": 2, "2024-10-05": 1}
    assert all(f"date={date}/" in path for date, (_, path) in found.items())
    assert verify_log(tmp_path / "log").ok


def test_files_and_segments_end_where_they_should(tmp_path: Path) -> None:
    """A kind goes on in a new file of one segment beyond the file size; a segment ends at the commit beyond its own size."""
    rows = placed([connection(0), instrument(BTC, 2, 5), *(quote(n, n + 1) for n in range(1, 40))])
    with LogWriter.create(tmp_path / "files", HEADER, seal_rows=None, file_rows=10, row_group=4) as writer:
        for start in range(0, len(rows), 7):
            for kind in ("connections", "instruments", "quotes"):
                writer.write_rows(kind, [row for one, row in rows[start : start + 7] if one == kind])
            writer.commit()
    (segment,) = Manifest(tmp_path / "files").segments
    assert [entry.rows for entry in segment.files if entry.kind == "quotes"] == [12, 14, 13]
    write(tmp_path / "segments", rows, commits=6, seal_rows=10)
    assert [(one.first, one.last) for one in Manifest(tmp_path / "segments").segments] == [(0, 13), (14, 27), (28, 40)]
    assert read_all(tmp_path / "files") == read_all(tmp_path / "segments")
    assert verify_log(tmp_path / "files").ok
    assert verify_log(tmp_path / "segments").ok


@pytest.mark.parametrize(
    ("seqs", "times", "message"),
    [
        ([10, 10], [1, 1], "seq does not increase"),
        ([11, 10], [1, 1], "seq does not increase"),
        ([10, 11], [2, 1], "times go back"),
        ([10, 12], [1, 1], "seq is not gap-free"),
        ([11], [1], "seq is not gap-free"),
        ([10], [-(10**18)], "ts_recv goes back"),
    ],
)
def test_what_breaks_the_order_is_refused(tmp_path: Path, seqs: list[int], times: list[int], message: str) -> None:
    """Gaps, repeats and times that go back are bugs of the caller and never reach the disk."""
    folder = small_log(tmp_path / "log")
    rows = [{"seq": seq, "ts_recv": 2 * 10**18 + ts, "metric": "m", "value": 1} for seq, ts in zip(seqs, times, strict=True)]
    if message == "ts_recv goes back":
        rows[0]["ts_recv"] = 5
    with pytest.raises(InvariantBroken, match=message), LogWriter.append_to(folder) as writer:
        writer.write_rows("health", rows)
    assert verify_log(folder).ok


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"metric": None}, "health.metric must not be null"),
        ({"value": 2**63}, "health.value"),
        ({"value": "5"}, "health.value"),
        ({"colour": 1}, "health has no column colour"),
    ],
)
def test_rows_that_do_not_fit_are_refused(row: dict[str, object], message: str) -> None:
    """A null where none may stand, a number that does not fit, a wrong type and an unknown column name the column."""
    with pytest.raises(InvariantBroken, match=message):
        to_table("health", [{"seq": 0, "ts_recv": 0, "metric": "m", "value": 1} | row])


def test_enums_that_do_not_exist_are_refused() -> None:
    """An unknown word and an index outside the table are refused by name; rows of the wrong width too."""
    with pytest.raises(InvariantBroken, match=r"connections.event: \['exploded'\] not among"):
        to_table("connections", [connection(0, event="exploded")[1] | {"seq": 0, "ts_recv": 0}])
    good = (0, 1, 0, "v", None, 0, 1, "s", None, None)
    for wrong, message in (((*good[:5], 7, *good[6:]), "event: an index outside 0 to 6"), (good[:-1], "rows of 9 values")):
        with pytest.raises(InvariantBroken, match=message):
            tuples_to_table("connections", [wrong])
    assert tuples_to_table("connections", [good]).num_rows == 1
    assert tuples_to_table("connections", []).schema.equals(arrow_schema("connections"))


def test_a_table_of_another_schema_is_refused(tmp_path: Path) -> None:
    """Columns that are not those of the kind are refused."""
    with pytest.raises(InvariantBroken, match="schema is not that of the log"), LogWriter.create(tmp_path / "x", HEADER) as writer:
        writer.write("quotes", pa.table({"seq": [1]}))


def test_a_manifest_line_that_cannot_be_written_leaves_none(tmp_path: Path) -> None:
    """A failed write of a line leaves no half of it: the manifest is as long as before."""
    folder = small_log(tmp_path / "log")
    before = (folder / manifest.NAME).read_bytes()
    code = (
        "import resource, signal, sys\nfrom pathlib import Path\nfrom xarb.log import manifest\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"path = Path({str(folder / manifest.NAME)!r})\n"
        "size = path.stat().st_size + 20\nresource.setrlimit(resource.RLIMIT_FSIZE, (size, size))\n"
        "manifest.append_line(path, manifest.Header(kind='log', log_id='x' * 100))\n"
    )
    failed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert "File too large" in failed.stderr
    assert (folder / manifest.NAME).read_bytes() == before


def test_instruments_of_a_file_stand_in_order_of_appearance() -> None:
    """Names are noted once each, in the order of their first rows, whatever the dictionaries of the chunks are."""
    known: dict[str, None] = {}
    keys = [KRW, BTC, KRW, ("a", "BTC/USDT"), BTC]
    for part in (keys[:3], keys[2:]):
        columns = [pa.array(list(values)).dictionary_encode() for values in zip(*part, strict=True)]
        note_instruments(pa.record_batch(columns, names=["venue", "symbol"]), known)
    assert list(known) == ["BTC/KRW@upbit", "BTC/USDT@binance", "BTC/USDT@a"]
    many = pa.array([str(n) for n in range(3000)])
    codes = pa.array(np.arange(3000, dtype=np.int32)[::-1])
    columns = [pa.DictionaryArray.from_arrays(codes, many)] * 2
    note_instruments(pa.record_batch(columns, names=["venue", "symbol"]), known)
    assert list(known)[3:5] == ["2999@2999", "2998@2998"]


def test_the_manifest_names_the_instruments_of_market_files(tmp_path: Path) -> None:
    """Market kinds list what they hold, other kinds nothing."""
    found = {entry.kind: entry.instruments for entry in Manifest(small_log(tmp_path / "log")).files}
    assert found == {"quotes": ("BTC/KRW@upbit", "BTC/USDT@binance"), "instruments": (), "connections": ()}
    with LogReader(tmp_path / "log") as reader:
        assert reader.kinds_of == [("quotes",), ("quotes",)]


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="descriptors are named by Linux only")
def test_a_segment_is_durable_before_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file is synced under its first name, then every folder once, then the manifest: no line names what a crash can take."""
    folder = tmp_path / "log"
    synced: list[str] = []
    really = os.fsync

    def sync(handle: int) -> None:
        synced.append(Path(f"/proc/self/fd/{handle}").readlink().relative_to(folder).as_posix())
        really(handle)

    rows = [connection(0), instrument(BTC, 2, 5), quote(100, 101)]
    rows += [quote(100, 101, ts_recv=START + day * DAY) for day in (1, 2)]
    with LogWriter.create(folder, HEADER) as writer:
        for kind, row in placed(rows):
            writer.write_rows(kind, [row])
        writer.commit()
        monkeypatch.setattr(os, "fsync", sync)
    entries = Manifest(folder).files
    files, folders, line = synced[: len(entries)], synced[len(entries) : -1], synced[-1]
    assert len(entries) == 5
    assert Counter(Path(path).parent.as_posix() for path in files) == Counter(
        Path(entry.path).parent.as_posix() for entry in entries
    )
    assert all(path.endswith(".tmp") for path in files)
    parents = {parent.as_posix() for entry in entries for parent in Path(entry.path).parents}
    assert sorted(folders) == sorted(parents)
    assert line == manifest.NAME
