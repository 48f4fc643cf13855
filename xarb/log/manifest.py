"""The manifest: one line a segment, `<sha256 of the JSON> <JSON>`, each JSON carrying the digest of the line before it.

The first line is the header. A file exists when a line names it and no later tombstone covers it; everything else in the folder is a
leftover.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import msgspec

from xarb.errors import ConfigError, LogError
from xarb.log.tombstones import MARK, Tombstone, covered
from xarb.model.columns import FORMAT_VERSION

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

NAME: Final = "manifest.jsonl"
_BLOCK: Final = 65_536  # bytes that are read at once from the end
_PLACE: Final = re.compile(r"kind=([a-z_]{1,64})/date=[0-9]{4}-[0-9]{2}-[0-9]{2}/[-0-9]{20}-[-0-9]{20}\.parquet")
Line = TypeVar("Line")


class FileEntry(msgspec.Struct, frozen=True, kw_only=True, gc=False):  # a log has hundreds of thousands, in no cycle
    """One Parquet file: `first` and `last` are seq (inputs) or after_seq (outputs), times are ns.

    `instruments` are those that a file of market rows holds, such as "BTC/USDT@binance", in order of first appearance; a file of
    another kind has none. `connections` is one more than the highest connection number in a file of that kind; files of other kinds, and
    those that were written before this was kept, have none.
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
    connections: int | msgspec.UnsetType = msgspec.UNSET


class Segment(msgspec.Struct, frozen=True, kw_only=True):
    """One sealed segment: the input range [first, last] (for a run: after_seq) and its files over all kinds."""

    segment: int
    first: int
    last: int
    first_ts: int
    last_ts: int
    files: tuple[FileEntry, ...]
    previous: str


class Branch(msgspec.Struct, frozen=True, kw_only=True):
    """What a run branched from: the folder, relative to its own, and there the input behind which other parameters hold.

    Attributes:
        origin: the run or live log.
        log_id: its id.
        seq: the input.
        config: the config up to there, as a header holds it.
        off: strategies that begin nothing behind it.
        start: which start of a live log; None of a run.
    """

    origin: str
    log_id: str
    seq: int
    config: dict[str, Any]
    off: tuple[str, ...] = ()
    start: int | None = None


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """The first line: what this folder is.

    `kind` is "log" or "run". A run names the digest of its input log, its whole effective config, and the code that made it; a `branch` is what
    it branched from, whose config held until then.
    """

    kind: str
    log_id: str
    format: int = FORMAT_VERSION
    origin: str = ""
    input_digest: str | None = None
    config: dict[str, Any] | None = None
    code_digest: str | None = None
    seed: int | None = None
    branch: Branch | msgspec.UnsetType = msgspec.UNSET


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """The last line of a finished run: the digest of all its outputs and the last input that it saw."""

    output_digest: str
    last_seq: int
    previous: str


class Manifest:
    """The manifest of one folder, with its chain checked.

    Args:
        folder: the log or run.
        head: digest of the line at which to stop, one of `heads`: the log as it stood then, but for files that are gone since; None
            is all of it.

    Attributes:
        segments: every segment, with all files that it ever had.
        tombstones: what says that files are gone, in order.
        gone: the tombstone of each file that is gone, by path.
        places: of each segment that was read, the number of its line and the place in the file where that ends.

    Raises:
        ConfigError: the folder is no log.
        LogError: a line is damaged, out of place, or of another format, and the message names the line; or none has the digest `head`.
    """

    def __init__(self, folder: Path, head: str | None = None) -> None:
        self.folder = folder
        self.path = folder / NAME
        try:
            raw = self.path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            raise ConfigError(f"{folder} is no log: it has no {NAME}") from None
        lines = self._lines_of(raw)
        self.header = _decode(self.path, 1, lines[0], Header)
        if self.header.format != FORMAT_VERSION:
            raise LogError(f"{self.path} has format {self.header.format}, this version reads {FORMAT_VERSION}")
        self.segments: list[Segment] = []
        self.summary: Summary | None = None
        self.tombstones: list[Tombstone] = []
        self.gone: dict[str, Tombstone] = {}
        self.places: list[tuple[int, int]] = []
        self._stood: dict[str, int] = {}  # by digest of a line: how many segments there were with it
        self.head = _digest_of(lines[0])
        self.bytes = len(lines[0]) + 1  # what was read of the file, which only grows
        self._read(lines[1:])
        if head is not None and head != self.head:
            self._stop_at(head)

    def grow(self) -> None:
        """Take the lines that were appended since; what was read before never changes, and costs nothing again.

        Raises:
            LogError: as when it was read; also where it was read up to an earlier line.
        """
        with self.path.open("rb") as file:
            file.seek(self.bytes)
            raw = file.read()
        if raw:
            self._read(self._lines_of(raw))

    def _lines_of(self, raw: bytes) -> list[bytes]:
        if not raw.endswith(b"\n"):
            raise LogError(f"{self.path} ends in the middle of a line: it was cut off; run xarb log verify")
        return raw[:-1].split(b"\n")

    def _read(self, lines: Sequence[bytes]) -> None:
        """Take lines that follow each other and what was read."""
        for number, line in enumerate(lines, start=len(self._stood) + 2):
            entry = self._take(number, line)
            if entry.previous != self.head:
                raise LogError(f"{self.path} line {number}: the chain is broken, the line before it was changed or removed")
            self._stood[self.head] = len(self.segments) - isinstance(entry, Segment)
            self.head, self.bytes = _digest_of(line), self.bytes + len(line) + 1
            if isinstance(entry, Segment):
                self.places.append((number, self.bytes))

    def _stop_at(self, head: str) -> None:
        if head not in self._stood:
            raise LogError(f"{self.path}: no line has the digest {head}")
        self.segments = self.segments[: self._stood[head]]
        self.summary, self.head = None, head

    def _take(self, number: int, line: bytes) -> Segment | Summary | Tombstone:
        if self.summary is not None:
            raise LogError(f"{self.path} line {number}: a line follows the summary of a finished run")
        if b'"output_digest"' in line:
            self.summary = _decode(self.path, number, line, Summary)
            return self.summary
        if MARK in line:
            return self._bury(number, _decode(self.path, number, line, Tombstone))
        segment = _decode(self.path, number, line, Segment)
        strange = next((entry.path for entry in segment.files if not _is_own(entry)), None)
        if strange is not None:
            raise LogError(
                f"{self.path} line {number}: {strange!r} is no file of a log; who made this one may want others read or removed"
            )
        if segment.segment != len(self.segments):
            raise LogError(f"{self.path} line {number}: segment {segment.segment} where {len(self.segments)} should be")
        self.segments.append(segment)
        return segment

    def _bury(self, number: int, tombstone: Tombstone) -> Tombstone:
        if self.header.kind != "log":
            raise LogError(f"{self.path} line {number}: a tombstone in a {self.header.kind}, of which nothing is ever removed")
        try:
            found = covered(tombstone.gone, self.segments, self.gone)
        except LogError as error:
            raise LogError(f"{self.path} line {number}: {error}") from None
        self.gone |= dict.fromkeys((entry.path for entry in found), tombstone)
        self.tombstones.append(tombstone)
        return tombstone

    @property
    def heads(self) -> list[str]:
        """What `head` was after each line: the log is what any of them names, and more, but for what is gone."""
        return [*self._stood, self.head]

    @property
    def files(self) -> list[FileEntry]:
        """All files that are there, in segment order."""
        return [entry for segment in self.segments for entry in segment.files if entry.path not in self.gone]

    @property
    def last(self) -> int:
        """Last seq of the log, -1 when it is empty."""
        return self.segments[-1].last if self.segments else -1

    @property
    def last_ts(self) -> int:
        """ts_recv of the last input, 0 when the log is empty."""
        return self.segments[-1].last_ts if self.segments else 0


def _is_own(entry: FileEntry) -> bool:
    """Whether a file lies where files of its kind do: a log of a stranger must not name what lies outside of it."""
    place = _PLACE.fullmatch(entry.path)
    return place is not None and place[1] == entry.kind


def _decode(path: Path, number: int, line: bytes, what: type[Line]) -> Line:
    if not is_whole(line):
        raise LogError(f"{path} line {number} is damaged: its digest does not match")
    try:
        return msgspec.json.decode(line.partition(b" ")[2], type=what, strict=True)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise LogError(f"{path} line {number} is damaged: {error}") from None


def header_of(folder: Path) -> Header:
    """The header alone, which can be had of a log that is damaged behind it.

    Raises:
        ConfigError: the folder is no log.
        LogError: the first line is damaged.
    """
    path = folder / NAME
    try:
        with path.open("rb") as file:
            return _decode(path, 1, file.readline().removesuffix(b"\n"), Header)
    except (FileNotFoundError, NotADirectoryError):
        raise ConfigError(f"{folder} is no log: it has no {NAME}") from None


def last_digest(folder: Path) -> str:
    """The digest of the last line alone, whatever the length of the manifest.

    Raises:
        LogError: that line is damaged.
    """
    line = _last_line(folder / NAME)
    if line is None:
        raise LogError(f"{folder / NAME}: the last line is damaged; run xarb log verify")
    return _digest_of(line)


def _last_line(path: Path) -> bytes | None:
    """The last line without its end, None when it is not whole."""
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        start, raw = end, b""
        while start and b"\n" not in raw[:-1]:
            start = max(0, start - _BLOCK)
            file.seek(start)
            raw = file.read(end - start)
    line = raw[:-1].rpartition(b"\n")[2]
    return line if raw.endswith(b"\n") and is_whole(line) else None


class TornEnd(NamedTuple):
    """What stands behind the last sound line of a manifest: a line that a power failure stopped, or a damaged one.

    Attributes:
        at: place in the file where it begins.
        rest: its bytes.
        lines: the sound lines before it.
    """

    at: int
    rest: bytes
    lines: list[bytes]


def torn_end(path: Path) -> TornEnd | None:
    """The torn end of a manifest; None when its last line is sound, whatever stands before it."""
    if _last_line(path) is not None:
        return None  # however long it is
    raw = path.read_bytes()
    at, lines = 0, list[bytes]()
    while (end := raw.find(b"\n", at)) >= 0 and is_whole(raw[at:end]):
        lines.append(raw[at:end])
        at = end + 1
    return TornEnd(at, raw[at:], lines)


def cut(path: Path, size: int) -> None:
    """Cut a file, durable."""
    with path.open("r+b") as file:
        file.truncate(size)
        os.fsync(file.fileno())


def is_whole(line: bytes) -> bool:
    """Whether a line without its end is sound: its digest holds."""
    stated, _, text = line.partition(b" ")
    return hashlib.sha256(text).hexdigest().encode() == stated


def _digest_of(line: bytes) -> str:
    return line.partition(b" ")[0].decode()


def line_of(entry: msgspec.Struct) -> bytes:
    """The line of an entry, its end included."""
    text = msgspec.json.encode(entry)
    return hashlib.sha256(text).hexdigest().encode() + b" " + text + b"\n"


def append_line(path: Path, entry: msgspec.Struct) -> str:
    """Append one line and make it durable; the digest of the line."""
    line = line_of(entry)
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    before = os.fstat(handle).st_size
    try:
        view = memoryview(line)
        while view:
            view = view[os.write(handle, view) :]
        os.fsync(handle)
    except BaseException:  # an interrupt among them
        os.ftruncate(handle, before)  # half a line would make the whole log unreadable
        raise
    finally:
        os.close(handle)
    return _digest_of(line)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it that are missing, durable under their names, also where a killed process made some of them."""
    folder.mkdir(parents=True, exist_ok=True)
    sync_names(folder)


def sync_names(folder: Path) -> None:
    """Make the name of a folder durable, and those of all above it on the same disk."""
    for above in folder.absolute().parents:
        with contextlib.suppress(PermissionError):  # what may not be read was there before us
            sync_folder(above)
        if above.is_mount():
            return


def sync_lines(path: Path) -> None:
    """Make lines durable that a writer may have left when it was killed: before anything goes that they stand for."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def file_digest(path: Path) -> str:
    """sha256 of a file's bytes."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
