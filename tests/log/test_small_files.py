"""Small sealed files: decoded once for each digest, and never without a look at the bytes that are on the disk."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import msgspec
import pytest

from tests.log.live import head, quotes
from tests.log.logs import HEADER
from xarb.errors import LogError
from xarb.log import smallfiles
from xarb.log.committer import Policy
from xarb.log.files import Files
from xarb.log.livelog import LiveLog
from xarb.log.manifest import FileEntry, Manifest
from xarb.log.schema import schema_digest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sealed log of a few rows."""
    folder = tmp_path / "log"
    with LiveLog.create(folder, HEADER, Policy()) as log:
        log.append(head())
        log.append(quotes(2, 10))
    return folder


def _quotes(folder: Path) -> FileEntry:
    return next(one for one in Manifest(folder).files if one.kind == "quotes")


def test_rows_are_decoded_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a seal has read again is known by its digest: no file is opened as Parquet after it, and the rows are those of the file."""
    entry = _quotes(folder)
    assert smallfiles.is_small(entry)
    with monkeypatch.context() as patch:
        patch.setattr("xarb.log.smallfiles.pq.ParquetFile", None)
        known = list(Files(folder).batches(entry, ["seq", "bid_int"], 4))
    assert [batch.num_rows for batch in known] == [4, 4, 2]
    monkeypatch.setattr(smallfiles, "_tables", OrderedDict())
    again = list(Files(folder).batches(entry, ["seq", "bid_int"], 4))
    assert again == known
    chosen = list(Files(folder).chosen(entry, ["seq", "bid_int"], 4))
    assert chosen == known


@pytest.mark.parametrize("at", [0, 40, -1])
def test_what_is_known_is_not_taken_for_what_is_there(folder: Path, at: int) -> None:
    """A file that was changed after its rows became known is refused, not answered from memory."""
    entry = _quotes(folder)
    list(Files(folder).batches(entry, ["seq"], 4))
    path = folder / entry.path
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)
    with pytest.raises(LogError, match="was changed after it was sealed"):
        list(Files(folder).batches(entry, ["seq"], 4))
    path.unlink()
    with pytest.raises(LogError, match="cannot be read"):
        list(Files(folder).batches(entry, ["seq"], 4))


def test_what_is_known_answers_for_no_other_kind(folder: Path) -> None:
    """A manifest that calls known bytes by another kind is refused as it is when they are read for the first time."""
    entry = _quotes(folder)
    list(Files(folder).batches(entry, ["seq"], 4))
    other = msgspec.structs.replace(entry, kind="trades", schema=schema_digest("trades"))
    with pytest.raises(LogError, match="has not the columns of trades"):
        list(Files(folder).batches(other, ["seq"], 4))


def test_large_files_are_read_in_parts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file beyond the bounds goes the long way, in a thread, to the same rows."""
    entry = _quotes(folder)
    small = list(Files(folder).chosen(entry, ["seq", "ts_recv", "venue"], 4))
    monkeypatch.setattr(smallfiles, "_ROWS", 9)
    assert not smallfiles.is_small(entry)
    files = Files(folder)
    files.ahead(entry)
    large = list(files.chosen(entry, ["seq", "ts_recv", "venue"], 4))
    files.close()
    assert [batch.to_pylist() for batch in large] == [batch.to_pylist() for batch in small]


def test_memory_is_bounded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows of the files that were read longest ago are forgotten."""
    monkeypatch.setattr(smallfiles, "_KEPT", 1)
    entries = Manifest(folder).files[:2]
    for entry in entries:
        smallfiles.read(folder / entry.path, entry)
    assert [smallfiles.kept(entry) is not None for entry in entries] == [False, True]


def test_memory_is_bounded_by_what_rows_take(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that are many times what they are on the disk, as lists of levels may be, push out others, or are not kept at all."""
    monkeypatch.setattr(smallfiles, "_tables", OrderedDict())
    entries = Manifest(folder).files[:2]
    sizes = [smallfiles.read(folder / entry.path, entry).nbytes for entry in entries]
    monkeypatch.setattr(smallfiles, "_KEPT_BYTES", max(sizes))
    for entry in entries:
        smallfiles.read(folder / entry.path, entry)
    assert [smallfiles.kept(entry) is not None for entry in entries] == [False, True]
    monkeypatch.setattr(smallfiles, "_tables", OrderedDict())
    monkeypatch.setattr(smallfiles, "_LARGEST_KEPT", min(sizes) - 1)
    for entry in entries:
        smallfiles.read(folder / entry.path, entry)
    assert [smallfiles.kept(entry) is not None for entry in entries] == [False, False]
