"""The manifest: one line a segment, `<sha256 of the JSON> <JSON>`, each JSON carrying the digest of the line before it.

The first line is the header. A file exists when a line names it; everything else in the folder is a leftover.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from xarb.errors import ConfigError, LogError
from xarb.model.columns import FORMAT_VERSION

if TYPE_CHECKING:
    from pathlib import Path

NAME: Final = "manifest.jsonl"
Line = TypeVar("Line")


class FileEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One Parquet file: `first` and `last` are seq (inputs) or after_seq (outputs), times are ns.

    `instruments` are those that a file of market rows holds, such as "BTC/USDT@binance", in order of first appearance; a file of
    another kind has none.
    """

    path: str
    kind: str
    date: str
    rows: int
    first: int
    last: int
    first_ts: int
    last_ts: int
    sha256: str
    bytes: int
    schema: str
    instruments: tuple[str, ...] = ()


class Segment(msgspec.Struct, frozen=True, kw_only=True):
    """One sealed segment: the input range [first, last] (for a run: after_seq) and its files over all kinds."""

    segment: int
    first: int
    last: int
    first_ts: int
    last_ts: int
    files: tuple[FileEntry, ...]
    previous: str


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """The first line: what this folder is.

    `kind` is "log" or "run". A run names the digest of its input log, its whole effective config, and the code that made it.
    """

    kind: str
    log_id: str
    format: int = FORMAT_VERSION
    origin: str = ""
    input_digest: str | None = None
    config: dict[str, Any] | None = None
    code_digest: str | None = None
    seed: int | None = None


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """The last line of a finished run: the digest of all its outputs and the last input that it saw."""

    output_digest: str
    last_seq: int
    previous: str


class Manifest:
    """The manifest of one folder, with its chain checked.

    Args:
        folder: the log or run.
        head: digest of the line at which to stop, one of `heads`: the log as it stood then; None is all of it.

    Raises:
        ConfigError: the folder is no log.
        LogError: a line is damaged, out of place, or of another format, and the message names the line; or none has the digest `head`.
    """

    def __init__(self, folder: Path, head: str | None = None) -> None:
        self.folder = folder
        self.path = folder / NAME
        self.bytes = 0  # what was read of the file, which only grows
        try:
            raw = self.path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            raise ConfigError(f"{folder} is no log: it has no {NAME}") from None
        self.bytes = len(raw)
        if not raw.endswith(b"\n"):
            raise LogError(f"{self.path} ends in the middle of a line: it was cut off; run xarb log verify")
        lines = raw[:-1].split(b"\n")
        self.header = _decode(self.path, 1, lines[0], Header)
        if self.header.format != FORMAT_VERSION:
            raise LogError(f"{self.path} has format {self.header.format}, this version reads {FORMAT_VERSION}")
        self.segments: list[Segment] = []
        self.summary: Summary | None = None
        previous = _digest_of(lines[0])
        for number, line in enumerate(lines[1:], start=2):
            entry = self._take(number, line)
            if entry.previous != previous:
                raise LogError(f"{self.path} line {number}: the chain is broken, the line before it was changed or removed")
            previous = _digest_of(line)
        self.head = previous
        if head is not None and head != self.head:
            self._stop_at(head)

    def _stop_at(self, head: str) -> None:
        if head not in self.heads:
            raise LogError(f"{self.path}: no line has the digest {head}")
        self.segments = self.segments[: self.heads.index(head)]
        self.summary, self.head = None, head

    def _take(self, number: int, line: bytes) -> Segment | Summary:
        if self.summary is not None:
            raise LogError(f"{self.path} line {number}: a line follows the summary of a finished run")
        if b'"output_digest"' in line:
            self.summary = _decode(self.path, number, line, Summary)
            return self.summary
        segment = _decode(self.path, number, line, Segment)
        if segment.segment != len(self.segments):
            raise LogError(f"{self.path} line {number}: segment {segment.segment} where {len(self.segments)} should be")
        self.segments.append(segment)
        return segment

    @property
    def heads(self) -> list[str]:
        """What `head` was with no segment, with one, and so on: the log is what any of them names, and more."""
        found = [segment.previous for segment in self.segments]
        if self.summary is not None:
            found.append(self.summary.previous)
        return [*found, self.head]

    @property
    def files(self) -> list[FileEntry]:
        """All files in segment order."""
        return [entry for segment in self.segments for entry in segment.files]

    @property
    def last(self) -> int:
        """Last seq of the log, -1 when it is empty."""
        return self.segments[-1].last if self.segments else -1

    @property
    def last_ts(self) -> int:
        """ts_recv of the last input, 0 when the log is empty."""
        return self.segments[-1].last_ts if self.segments else 0


def _decode(path: Path, number: int, line: bytes, what: type[Line]) -> Line:
    if not is_whole(line):
        raise LogError(f"{path} line {number} is damaged: its digest does not match")
    try:
        return msgspec.json.decode(line.partition(b" ")[2], type=what, strict=True)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise LogError(f"{path} line {number} is damaged: {error}") from None


def is_whole(line: bytes) -> bool:
    """Whether a line without its end is sound: its digest holds."""
    stated, _, text = line.partition(b" ")
    return hashlib.sha256(text).hexdigest().encode() == stated


def _digest_of(line: bytes) -> str:
    return line.partition(b" ")[0].decode()


def append_line(path: Path, entry: msgspec.Struct) -> str:
    """Append one line and make it durable; the digest of the line."""
    text = msgspec.json.encode(entry)
    stated = hashlib.sha256(text).hexdigest()
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    before = os.fstat(handle).st_size
    try:
        view = memoryview(stated.encode() + b" " + text + b"\n")
        while view:
            view = view[os.write(handle, view) :]
        os.fsync(handle)
    except BaseException:  # an interrupt among them
        os.ftruncate(handle, before)  # half a line would make the whole log unreadable
        raise
    finally:
        os.close(handle)
    return stated


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def file_digest(path: Path) -> str:
    """sha256 of a file's bytes."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
