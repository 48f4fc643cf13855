"""A changed byte, a cut, a stray file: found by `verify_log`, and by the reader before it hands out a row of the file."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.log.logs import HEADER, connection, instrument, placed, quote, read_all, small_log, write
from xarb.errors import ConfigError, LogError
from xarb.log import manifest
from xarb.log.check import verify_log
from xarb.log.manifest import Manifest
from xarb.log.reader import LogReader
from xarb.log.writer import LogWriter

STRIDE = 5  # every 5th byte of a data file, with a rotating bit: each bit of each byte would take minutes


def files_of(folder: Path) -> list[Path]:
    """The sealed files."""
    return sorted(folder.rglob("*.parquet"))


def flips(path: Path, stride: int = 1) -> Iterator[int]:
    """Flip one bit of every `stride`-th byte in turn, the bit rotating, and mend it afterwards; yields the place."""
    whole = path.read_bytes()
    for place in [*range(0, len(whole), stride), len(whole) - 1]:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << (place % 8)
        path.write_bytes(damaged)
        yield place
    path.write_bytes(whole)


def read_quotes(folder: Path, seen: list[int]) -> None:
    """Read a log one row at a time, noting every quote that is handed out."""
    with LogReader(folder) as reader:
        for batch in reader.batches(rows=1):
            seen += batch.quotes.seq.tolist()


def test_a_sound_log_has_no_findings(tmp_path: Path) -> None:
    """A log as written is sound, and all its files, rows and bytes were looked at."""
    folder = small_log(tmp_path / "log")
    report = verify_log(folder)
    assert report.ok
    assert (report.files, report.rows, report.segments, report.leftovers) == (3, 10, 1, [])
    assert report.bytes == sum(path.stat().st_size for path in files_of(folder))
    assert report.digest == Manifest(folder).head


def test_every_flipped_bit_of_the_manifest_is_found(tmp_path: Path) -> None:
    """Each byte of the manifest, with a rotating bit: nothing is read, and the check says so."""
    folder = small_log(tmp_path / "log")
    for place in flips(folder / manifest.NAME):
        with pytest.raises(LogError):
            LogReader(folder)
        if place % 50 == 0:
            assert verify_log(folder).findings[0].file == manifest.NAME


def test_flipped_bits_of_files_are_found_by_the_check(tmp_path: Path) -> None:
    """Every 5th byte and the last one of every file, with a rotating bit: the finding names the file."""
    folder = small_log(tmp_path / "log")
    for path in files_of(folder):
        for _ in flips(path, STRIDE * 7 if path.parts[-3] != "kind=quotes" else STRIDE):
            assert path.relative_to(folder).as_posix() in {found.file for found in verify_log(folder).findings}


def test_flipped_bits_of_files_are_found_before_use(tmp_path: Path) -> None:
    """Every 5th byte and the last one of every file, with a rotating bit: no row of it reaches the reader's caller."""
    folder = small_log(tmp_path / "log")
    for path in files_of(folder):
        for _ in flips(path, STRIDE):
            seen: list[int] = []
            with pytest.raises(LogError, match=r"was changed after it was sealed.*xarb log verify"):
                read_quotes(folder, seen)
            assert not seen


def test_good_files_are_used_before_a_bad_one_is_met(tmp_path: Path) -> None:
    """A bad second file stops the reading at its first row, not before: what was handed out was checked."""
    rows = placed([connection(0), instrument(("binance", "BTC/USDT"), 2, 5), *(quote(n, n + 1) for n in range(1, 19))])
    write(tmp_path / "log", rows, commits=2, seal_rows=10)
    first, second = files_of(tmp_path / "log" / "kind=quotes")
    second.write_bytes(second.read_bytes()[:-1] + b"\0")
    seen: list[int] = []
    with pytest.raises(LogError, match=second.name):
        read_quotes(tmp_path / "log", seen)
    assert seen == list(range(2, 10))
    assert first.exists()


def test_a_file_that_changes_between_two_readings_is_found(tmp_path: Path) -> None:
    """A reader that is used again checks a file again once it was touched."""
    folder = small_log(tmp_path / "log")
    with LogReader(folder) as reader:
        assert len(list(reader.batches())) > 0
        (path,) = files_of(folder / "kind=quotes")
        path.write_bytes(path.read_bytes()[:-1] + b"\0")
        with pytest.raises(LogError, match="was changed"):
            list(reader.batches())


@pytest.mark.parametrize("kept", [0, 1, 4, 100, -1])
def test_cut_and_missing_files_are_found(tmp_path: Path, kept: int) -> None:
    """A file that is cut anywhere or gone is named by check and reader."""
    folder = small_log(tmp_path / "log")
    for path in files_of(folder):
        whole, name = path.read_bytes(), path.relative_to(folder).as_posix()
        path.write_bytes(whole[:kept])
        assert [found.file for found in verify_log(folder).findings if "bytes" in found.what] == [name]
        with pytest.raises(LogError, match=path.name):
            read_all(folder)
        path.unlink()
        assert [found.file for found in verify_log(folder).findings if "missing" in found.what] == [name]
        with pytest.raises(LogError, match=f"{path.name}: cannot be read"):
            read_all(folder)
        path.write_bytes(whole)


def test_a_manifest_that_is_cut_is_found(tmp_path: Path) -> None:
    """Cut anywhere within a line it is refused; cut after a line, the files of the lost lines are strays."""
    folder = small_log(tmp_path / "log")
    path = folder / manifest.NAME
    whole = path.read_bytes()
    ends = [n + 1 for n, byte in enumerate(whole) if byte == 10]
    for length in range(1, len(whole)):
        path.write_bytes(whole[:length])
        if length in ends:
            assert [found.what for found in verify_log(folder).findings] == ["no manifest line names this file"] * 3
        else:
            with pytest.raises(LogError, match=r"ends in the middle of a line"):
                Manifest(folder)


def test_lines_cannot_be_removed_or_swapped(tmp_path: Path) -> None:
    """The chain breaks when a line in the middle is gone, repeated or out of place, and the message names the line."""
    write(tmp_path / "log", placed([connection(0)] * 9), commits=3, seal_rows=1)
    path = tmp_path / "log" / manifest.NAME
    header, one, two, three = path.read_bytes().splitlines(keepends=True)
    for lines in (
        [header, two, three],
        [header, one, three],
        [header, two, one, three],
        [header, one, one, two],
        [one, two],
        [header] * 2,
    ):
        path.write_bytes(b"".join(lines))
        with pytest.raises(LogError, match=r"line [1-4]"):
            Manifest(tmp_path / "log")


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_a_line_that_was_changed_and_sealed_anew_breaks_the_chain(tmp_path: Path, number: int) -> None:
    """A line with a digest that fits it is still not the one that the next line names; the last one is the log's digest itself."""
    write(tmp_path / "log", placed([connection(0)] * 9), commits=3, seal_rows=1)
    path = tmp_path / "log" / manifest.NAME
    head = Manifest(tmp_path / "log").head
    lines = path.read_bytes().splitlines(keepends=True)
    _, text = lines[number - 1].split(b" ", 1)
    changed = text.rstrip(b"\n").replace(b'"log_id":"', b'"log_id":"x').replace(b'"first_ts":', b'"first_ts":1')
    assert changed != text.rstrip(b"\n")
    lines[number - 1] = hashlib.sha256(changed).hexdigest().encode() + b" " + changed + b"\n"
    path.write_bytes(b"".join(lines))
    if number == len(lines):
        assert Manifest(tmp_path / "log").head != head
        return
    with pytest.raises(LogError, match=rf"line {number + 1}: the chain is broken"):
        Manifest(tmp_path / "log")


def test_strays_and_leftovers(tmp_path: Path) -> None:
    """A file that no line names is a finding wherever it lies; a temporary file of a writer is only mentioned."""
    folder = small_log(tmp_path / "log")
    (quotes,) = files_of(folder / "kind=quotes")
    shutil.copy(quotes, quotes.with_name("copy.parquet"))
    (folder / "notes.txt").write_text("hello")
    (quotes.parent / ".1-000001.tmp").write_text("")
    report = verify_log(folder)
    assert [found.file for found in report.findings] == [
        quotes.with_name("copy.parquet").relative_to(folder).as_posix(),
        "notes.txt",
    ]
    assert report.leftovers == [(quotes.parent / ".1-000001.tmp").relative_to(folder).as_posix()]


def test_what_a_crash_between_rename_and_manifest_line_leaves(tmp_path: Path) -> None:
    """Renamed files without their line do not exist for a reader; the next writer removes them and the log goes on."""
    head = [connection(0), instrument(("binance", "BTC/USDT"), 2, 5), quote(1, 2)]
    rows = placed([*head, quote(3, 4), quote(5, 6)])
    write(tmp_path / "whole", rows, commits=2, seal_rows=1)
    shutil.copytree(tmp_path / "whole", tmp_path / "log")
    path = tmp_path / "log" / manifest.NAME
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    (tmp_path / "log" / "kind=quotes" / "date=2023-11-14" / ".99-000001.tmp").write_text("half a file")
    assert len(read_all(tmp_path / "log")) == 3
    assert not verify_log(tmp_path / "log").ok
    with LogWriter.append_to(tmp_path / "log") as writer:
        writer.write_rows("quotes", [row for _, row in rows[3:]])
    assert verify_log(tmp_path / "log").ok
    assert read_all(tmp_path / "log") == read_all(tmp_path / "whole")


def test_a_writer_never_removes_what_lies_before_the_end(tmp_path: Path) -> None:
    """An unnamed file inside the log's range was no crash: the writer leaves it for the check to name."""
    folder = small_log(tmp_path / "log")
    (quotes,) = files_of(folder / "kind=quotes")
    stray = quotes.with_name(f"{3:020d}-{4:020d}.parquet")
    shutil.copy(quotes, stray)
    with LogWriter.append_to(folder):
        pass
    assert stray.exists()
    assert [found.file for found in verify_log(folder).findings] == [stray.relative_to(folder).as_posix()]


def test_no_log_is_told_apart_from_a_damaged_one(tmp_path: Path) -> None:
    """A folder without manifest, a file, and nothing at all are the caller's mistake."""
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "file", tmp_path / "nothing"):
        for use in (LogReader, verify_log, LogWriter.append_to):
            with pytest.raises(ConfigError, match="is no log"):
                use(path)


def test_a_manifest_of_another_format_is_refused(tmp_path: Path) -> None:
    """A log of a later format is refused with both numbers."""
    (tmp_path / "log").mkdir()
    manifest.append_line(tmp_path / "log" / manifest.NAME, type(HEADER)(kind="log", log_id="x", format=99))
    with pytest.raises(LogError, match="has format 99, this version reads 1"):
        Manifest(tmp_path / "log")
