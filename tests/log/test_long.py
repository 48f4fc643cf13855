"""What keeps a start on a long log short: the manifest is read once, and says what else every file would be opened for."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
import pytest

from tests.log.logs import HEADER
from xarb.errors import LogError
from xarb.log import manifest
from xarb.log.check import verify_log
from xarb.log.livelog import LiveLog
from xarb.log.manifest import Header, Manifest, Segment, header_of, last_digest
from xarb.log.prune import prune
from xarb.log.reader import LogReader
from xarb.log.rows import tuples_to_table
from xarb.log.writer import LogWriter
from xarb.model.columns import CONNECTION_EVENTS

DAY = 86_400 * 10**9


def grown(folder: Path, conns: tuple[int, ...] = (0, 6, 3)) -> Path:
    """A log of one segment a day, each with a connection."""
    with LogWriter.create(folder, HEADER, seal_rows=1) as writer:
        for seq, conn in enumerate(conns):
            row = (2 * seq, seq * DAY, conn, "alpha", None, CONNECTION_EVENTS.index("opened"), 1, "test", None, None)
            writer.write("connections", tuples_to_table("connections", [row]))
            writer.write("health", tuples_to_table("health", [(2 * seq + 1, seq * DAY, None, "x", 1, None)]))
            writer.commit()
    return folder


def rewritten(folder: Path, connections: object) -> None:
    """The manifest with another number in every file, chained anew; UNSET is as it was before it was kept."""
    found = Manifest(folder)
    lines = [manifest.line_of(found.header)]
    for segment in found.segments:
        files = tuple(
            msgspec.structs.replace(entry, connections=connections) if entry.kind == "connections" else entry
            for entry in segment.files
        )
        lines.append(
            manifest.line_of(msgspec.structs.replace(segment, files=files, previous=lines[-1].partition(b" ")[0].decode()))
        )
    found.path.write_bytes(b"".join(lines))


def test_the_highest_connection_is_known_without_its_file(tmp_path: Path) -> None:
    """No file of connections is opened: they may all be away."""
    folder = grown(tmp_path / "log")
    for path in folder.glob("kind=connections/*/*.parquet"):
        path.rename(path.with_suffix(".away"))
    with LogReader(folder) as reader:
        assert reader.connections == 7


def test_a_log_that_does_not_say_it_is_read(tmp_path: Path) -> None:
    """A manifest from before the number was kept has it in none of its lines: the files tell, and the log is sound."""
    folder = grown(tmp_path / "log")
    rewritten(folder, msgspec.UNSET)
    assert b'"connections":' not in (folder / manifest.NAME).read_bytes()
    with LogReader(folder) as reader:
        assert reader.connections == 7
    assert verify_log(folder).ok


def test_a_wrong_number_is_found(tmp_path: Path) -> None:
    """The check compares what the manifest says with the rows."""
    folder = grown(tmp_path / "log", (0,))
    rewritten(folder, 5)
    assert [finding.what for finding in verify_log(folder).findings] == ["the manifest says connections 5, the file has 1"]


def test_a_manifest_that_grew_is_the_one_that_is_read_anew(tmp_path: Path) -> None:
    """Segments and a tombstone that came since, line by line, with the same places and heads."""
    folder = grown(tmp_path / "log")
    whole = (folder / manifest.NAME).read_bytes()
    prune(folder, 2 * DAY, by="a test")
    after = (folder / manifest.NAME).read_bytes()
    lines = after.splitlines(keepends=True)
    for count in range(1, len(lines) + 1):
        (folder / manifest.NAME).write_bytes(b"".join(lines[:count]))
        found = Manifest(folder)
        (folder / manifest.NAME).write_bytes(after)
        found.grow()
        found.grow()
        fresh = Manifest(folder)
        assert (found.segments, found.places, found.heads, found.bytes) == (fresh.segments, fresh.places, fresh.heads, fresh.bytes)
        assert found.gone.keys() == fresh.gone.keys()
        assert len(fresh.gone) == 2
        assert found.head == last_digest(folder)
    (folder / manifest.NAME).write_bytes(whole)
    found = Manifest(folder)
    (folder / manifest.NAME).write_bytes(whole + lines[1])
    with pytest.raises(LogError, match="line 5"):
        found.grow()
    (folder / manifest.NAME).write_bytes(whole + b"half")
    with pytest.raises(LogError, match="cut off"):
        Manifest(folder)


def test_the_last_line_is_found_from_the_end_whatever_its_length(tmp_path: Path) -> None:
    """Lines of many blocks, a header alone, and a damaged one, which is refused."""
    for size in (0, 70_000, 200_000):
        folder = tmp_path / str(size)
        folder.mkdir()
        header = Header(kind="log", log_id="0", origin="x" * size)
        (folder / manifest.NAME).write_bytes(manifest.line_of(header))
        assert last_digest(folder) == Manifest(folder).head
        assert header_of(folder) == header
        line = Segment(segment=0, first=0, last=0, first_ts=0, last_ts=0, files=(), previous=Manifest(folder).head)
        digest = manifest.append_line(folder / manifest.NAME, line)
        assert last_digest(folder) == digest == hashlib.sha256(msgspec.json.encode(line)).hexdigest()
        raw = (folder / manifest.NAME).read_bytes()
        (folder / manifest.NAME).write_bytes(raw[:-3] + b"?}\n")
        with pytest.raises(LogError, match="damaged"):
            last_digest(folder)


def test_what_was_read_at_a_start_serves_its_readers(tmp_path: Path) -> None:
    """With the manifest of the opened log a reader needs no other: the file may be away."""
    folder = grown(tmp_path / "log")
    log, found = LiveLog.open_with(folder)
    away = found.path.rename(folder / "away")
    with LogReader(folder, found=found) as reader:
        assert (reader.last_seq, reader.connections) == (log.last, 7)
    away.rename(found.path)
    log.close()
