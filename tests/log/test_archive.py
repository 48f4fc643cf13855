"""Archiving: the old part of a log becomes a log of its own with the same lines, and nothing is removed before that is whole."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from tests.log.aged import DAY, PER_DAY, aged, named, paths
from tests.log.live import read_inputs, read_outputs
from tests.log.logs import START
from xarb.errors import ConfigError, LogError, Refused
from xarb.log import archive as archive_module
from xarb.log import manifest
from xarb.log.archive import archive
from xarb.log.check import verify_log
from xarb.log.info import info
from xarb.log.manifest import Manifest
from xarb.log.prune import prune
from xarb.log.reader import LogReader
from xarb.log.tombstones import ENGINE_INPUTS, FRAMES

THIRD = START + 2 * DAY


def test_an_archive_is_a_log_with_the_same_lines(tmp_path: Path) -> None:
    """It holds every row of its days, its digest is one that the log had, and the log refuses what is there by the archive's name."""
    folder, old = aged(tmp_path / "log"), tmp_path / "old"
    rows, outputs, heads = read_inputs(folder), read_outputs(folder), Manifest(folder).heads
    told: list[tuple[int, int]] = []
    done = archive(folder, THIRD, old, by="a test", progress=lambda copied, total: told.append((copied, total)))
    assert (done.to, done.files) == (str(old), len(named(folder, (*ENGINE_INPUTS, *FRAMES), range(2))))
    assert read_inputs(old) == [pair for pair in rows if pair[1]["seq"] < 2 * PER_DAY]
    assert read_outputs(old) == [pair for pair in outputs if pair[1]["after_seq"] < 2 * PER_DAY]
    assert read_outputs(folder) == outputs
    assert (folder / manifest.NAME).read_bytes().startswith((old / manifest.NAME).read_bytes())
    assert Manifest(old).head == heads[2]
    assert verify_log(folder).ok
    assert verify_log(old).ok
    assert [told[0][1], told[-1]] == [info(old).bytes, (info(old).bytes, info(old).bytes)]
    with LogReader(folder) as reader, pytest.raises(Refused, match=rf"were archived \(a test, .*, to {old}\)"):
        reader.batches()
    with LogReader(old) as reader:
        assert len(list(reader.batches(rows=1))) > 4


def test_one_archive_follows_another(tmp_path: Path) -> None:
    """The second one has the lines of the first days too, with tombstones for what lies in the first; both are whole."""
    folder = aged(tmp_path / "log")
    prune(folder, START + DAY, by="a test", frames_only=True)
    archive(folder, START + DAY, tmp_path / "first", by="a test")
    archive(folder, THIRD, tmp_path / "second", by="a test")
    for place in (folder, tmp_path / "first", tmp_path / "second"):
        assert (verify_log(place).findings, verify_log(place).leftovers) == ([], [])
    assert [stone.reason for stone in Manifest(tmp_path / "first").tombstones] == ["pruned"]
    second = Manifest(tmp_path / "second")
    assert [(stone.reason, stone.to) for stone in second.tombstones] == [
        ("pruned", None),
        ("archived", str(tmp_path / "first")),
    ]
    assert sorted(second.gone) == named(folder, (*ENGINE_INPUTS, *FRAMES), range(1))
    quotes = {row["seq"] for kind, row in read_inputs(tmp_path / "second") if kind == "quotes"}
    assert quotes == {8, 9, 12}


def test_nothing_old_makes_no_archive(tmp_path: Path) -> None:
    """Neither a folder nor a line, and a dry run makes neither where there is something."""
    folder, old = aged(tmp_path / "log"), tmp_path / "old"
    lines = (folder / manifest.NAME).read_bytes()
    assert archive(folder, START, old, by="a test").parts == ()
    said = archive(folder, THIRD, old, by="a test", dry_run=True)
    assert (old.exists(), (folder / manifest.NAME).read_bytes()) == (False, lines)
    assert archive(folder, THIRD, old, by="a test") == said


def test_an_archive_that_is_there_is_taken_when_it_is_whole(tmp_path: Path) -> None:
    """After a crash between archive and tombstone the next call goes on with it; with a damaged file it removes nothing."""
    folder, old = aged(tmp_path / "log"), tmp_path / "old"
    before = shutil.copytree(folder, tmp_path / "before")
    archive(folder, THIRD, old, by="a test")
    there = paths(before)
    path = old / Manifest(old).files[0].path
    data = path.read_bytes()
    path.write_bytes(data[:-1])
    with pytest.raises(LogError, match="nothing was removed from the log"):
        archive(before, THIRD, old, by="a test")
    assert paths(before) == there
    path.write_bytes(data)
    archive(before, THIRD, old, by="a test")
    assert paths(before) == paths(folder)
    assert verify_log(before).ok


def test_an_archive_needs_a_place_of_its_own(tmp_path: Path) -> None:
    """A folder with anything in it, a file, another archive and a place within a log are refused, and nothing is removed."""
    folder = aged(tmp_path / "log")
    there = paths(folder)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("")
    other = aged(tmp_path / "other", 3)
    for to, what in (
        (tmp_path / "full", "exists already"),
        (tmp_path / "full" / "x", "exists already"),
        (other, "exists already"),
        (folder / "old", "lies inside the log"),
        (folder, "exists already"),
    ):
        with pytest.raises(ConfigError, match=what):
            archive(folder, THIRD, to, by="a test")
        assert paths(folder) == there
    (tmp_path / "empty").mkdir()
    assert archive(folder, THIRD, tmp_path / "empty", by="a test").to == str(tmp_path / "empty")


def test_a_damaged_file_stops_an_archive(tmp_path: Path) -> None:
    """What is not as it was sealed is not archived, and nothing is removed: neither here nor a half archive there."""
    folder, old = aged(tmp_path / "log"), tmp_path / "old"
    path = folder / named(folder, ("ledger",), range(2))[1]
    data = path.read_bytes()
    path.write_bytes(data[:40] + bytes([data[40] ^ 1]) + data[41:])
    there = paths(tmp_path)
    with pytest.raises(LogError, match="was changed after it was sealed"):
        archive(folder, THIRD, old, by="a test")
    assert paths(tmp_path) == there


def test_a_full_disk_stops_an_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the place and what the system said; log and folder are as before."""
    folder, old = aged(tmp_path / "log"), tmp_path / "old"
    there = paths(tmp_path)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as broken:
        broken.setattr(archive_module, "_copy", full)
        with pytest.raises(LogError, match="No space left"):
            archive(folder, THIRD, old, by="a test")
    assert paths(tmp_path) == there
    assert archive(folder, THIRD, old, by="a test").files > 0
