"""A log of a stranger: its manifest names no file but its own, whatever digests it has made to fit."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import msgspec
import pytest

from tests.log.logs import small_log
from xarb.errors import LogError
from xarb.log.info import info
from xarb.log.manifest import NAME, FileEntry, Manifest, Segment
from xarb.log.prune import prune
from xarb.log.reader import LogReader
from xarb.sql.connection import open_query


def forged(log: Path, **changes: object) -> FileEntry:
    """The last line made anew, with its file of quotes changed, and the digest that makes it whole."""
    path = log / NAME
    *before, last = path.read_bytes().splitlines()
    segment = msgspec.json.decode(last.partition(b" ")[2], type=Segment)
    old = next(entry for entry in segment.files if entry.kind == "quotes")
    new = msgspec.structs.replace(old, **changes)
    files = tuple(new if entry is old else entry for entry in segment.files)
    body = msgspec.json.encode(msgspec.structs.replace(segment, files=files))
    path.write_bytes(b"\n".join([*before, hashlib.sha256(body).hexdigest().encode() + b" " + body, b""]))
    return new


@pytest.mark.parametrize(
    ("path", "changes"),
    [
        ("../outside.parquet", {}),
        ("kind=quotes/../../outside.parquet", {}),
        ("kind=quotes/date=2026-01-05/*.parquet", {}),
        ("", {}),
        (None, {}),
        ("kind=../outside/date=2026-01-05/{last}", {"kind": "../outside"}),
        ("kind=quotes/date=../../outside/{last}", {"date": "../../outside"}),
    ],
)
def test_a_file_outside_of_the_log_is_not_touched(tmp_path: Path, path: str | None, changes: dict[str, str]) -> None:
    """A manifest whose digests fit, but that names another's file: nothing reads or removes that, and the error names it."""
    log = small_log(tmp_path / "log")
    entry = next(entry for entry in Manifest(log).files if entry.kind == "quotes")
    outside = tmp_path / "outside.parquet"
    shutil.copyfile(log / entry.path, outside)
    name = str(outside) if path is None else path.replace("{last}", entry.path.rpartition("/")[2])
    forged(log, path=name, **changes)
    for read in (
        Manifest,
        LogReader,
        info,
        lambda folder: open_query([folder]),
        lambda folder: prune(folder, before=10**19, by="test"),
    ):
        with pytest.raises(LogError, match="is no file of a log"):
            read(log)
    assert outside.exists()


def test_a_line_that_is_made_anew_is_taken(tmp_path: Path) -> None:
    """What the other test forges is refused for the name alone."""
    log = small_log(tmp_path / "log")
    assert forged(log, rows=6).path in {entry.path for entry in Manifest(log).files}


def test_a_column_whose_name_is_no_text_is_an_error_of_the_log(tmp_path: Path) -> None:
    """Arrow says so with an error of its own kind, wherever the file is read."""
    log = small_log(tmp_path / "log")
    entry = next(entry for entry in Manifest(log).files if entry.kind == "quotes")
    content = (log / entry.path).read_bytes().replace(b"px_scale", b"px_\xffcale")
    (log / entry.path).write_bytes(content)
    forged(log, sha256=hashlib.sha256(content).hexdigest())
    with LogReader(log) as reader, pytest.raises(LogError, match="cannot be read as Parquet"):
        list(reader.batches())
