"""The journal's file format: what of a log is not sealed yet, as frames in `<log>/journal/<segment>.journal`.

A file begins with `MAGIC` and a header (length, CRC32C, MessagePack of `Opening`), then frames follow without a space between them.
A frame is `HEAD` and its payload. The CRC32C covers everything of the frame but itself. Segment and salt stand in every frame, so
that bytes of another file are never taken for frames of this one. The last frame of a file that is complete has the flag ENDED.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import struct
from functools import cache
from typing import TYPE_CHECKING, Final, NamedTuple

import google_crc32c
import msgspec
import pyarrow as pa

from xarb.errors import InvariantBroken, LogError
from xarb.log import manifest
from xarb.log.disk import DISK, Disk
from xarb.log.packing import KINDS, NUMBERS, Row, pack, unpack
from xarb.log.schema import schema_digest
from xarb.model.columns import TABLES
from xarb.model.event import OutputRow

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

FOLDER: Final = "journal"
SUFFIX: Final = ".journal"
MAGIC: Final = b"XARBJRN1"
HEAD: Final = struct.Struct("<IIIIqqIIII")  # crc32c, length, segment, salt, first seq, synced, inputs, outputs, raw length, flags
ENDED: Final = 1
COMPRESS_BYTES: Final = 4_096  # measured: below it zstd saves little and costs more than the write
FRAME_BYTES: Final = 1 << 30
_CRC: Final = struct.Struct("<I")
_FILE_HEAD: Final = struct.Struct("<II")
_MARK: Final = struct.Struct("<II")  # segment and salt, as they stand 8 bytes into a frame
_MARK_AT: Final = 8
_ZSTD: Final = pa.Codec("zstd", compression_level=1)
_PAYLOAD: Final = msgspec.msgpack.Decoder(dict[int, msgspec.Raw])
_OPENING_BYTES: Final = 1 << 16


class Opening(msgspec.Struct, frozen=True, kw_only=True):
    """The header of a journal file.

    `schema` is the digest of all column tables, `head` the digest of the manifest's last line when the file was made, `previous` the
    salt of the journal before it, 0 when that was sealed already. `replaces` are the salts of damaged journals whose rows it holds.
    """

    segment: int
    salt: int
    schema: str
    head: str
    log_id: str
    previous: int = 0
    replaces: tuple[int, ...] = ()


class Frame(NamedTuple):
    """One frame: its place in the file, the seq of its first input (of the next one when it has none), and what it holds.

    `synced` is the last seq that was known to be on the disk when the frame was written: a witness against a lost tail.
    """

    start: int
    stop: int
    first_seq: int
    synced: int
    inputs: int
    outputs: int
    raw_length: int
    flags: int
    payload: bytes

    def rows(self) -> dict[str, list[Row]]:
        """The rows by kind, in the order of KINDS; output rows without their kind, enums as text.

        Raises:
            LogError: the payload is none, though its checksum holds (a bug, or another version).
        """
        payload = self.payload
        try:
            if self.raw_length:
                payload = _ZSTD.decompress(payload, self.raw_length, asbytes=True)
            packed = _PAYLOAD.decode(payload)
            if packed and min(packed) < 0:
                raise IndexError("a kind of a number below zero")
            found = {KINDS[number]: unpack(KINDS[number], raw) for number, raw in sorted(packed.items())}
        except (pa.ArrowException, OSError, msgspec.MsgspecError, IndexError, RecursionError) as error:
            raise LogError(f"the frame at byte {self.start} cannot be read: {error}") from None
        inputs = outputs = 0
        for kind, rows in found.items():
            if TABLES[kind].is_input:
                inputs += len(rows)
            else:
                outputs += len(rows)
        if (inputs, outputs) != (self.inputs, self.outputs):
            raise LogError(f"the frame at byte {self.start} holds {[inputs, outputs]} rows, not {[self.inputs, self.outputs]}")
        return found


class Walk:
    """Goes over the sound frames that follow each other in the bytes of a journal file, once.

    Args:
        data: what stands in the file from byte `start` on, where a frame begins.
        opening: header of the file.
        start: place of the first byte.
        next_seq: seq that the first frame must have, None when that is not known.

    Attributes:
        end: place behind the last sound frame so far.
        next_seq: seq of the next input, None before any frame of an unknown beginning.
        ended: the last frame so far says that the file is complete.
        trouble: what is wrong behind `end`, None when nothing stands there or the walk is under way.
        later: place of a sound frame behind the trouble: with one it is damage, without one it may be a torn tail.
    """

    def __init__(self, data: bytes, opening: Opening, *, start: int, next_seq: int | None = None) -> None:
        self._data, self._opening, self._start = data, opening, start
        self.end = start
        self.next_seq = next_seq
        self.ended = False
        self.trouble: str | None = None
        self.later: int | None = None

    def __iter__(self) -> Iterator[Frame]:
        data = self._data
        while (at := self.end - self._start) < len(data):
            frame = _frame_at(data, at, self._opening)
            if self.ended:
                self.trouble, self.later = "bytes stand behind the end of a complete journal", self.end
            elif isinstance(frame, str):
                found = _later(data, at, self._opening)
                self.trouble, self.later = frame, None if found is None else self._start + found
            elif self.next_seq is not None and frame.first_seq != self.next_seq:
                self.trouble = f"a frame begins at seq {frame.first_seq} where {self.next_seq} should be"
                self.later = self.end
            if self.trouble is not None or isinstance(frame, str):
                return
            self.end, self.ended = self._start + frame.stop, bool(frame.flags & ENDED)
            self.next_seq = frame.first_seq + frame.inputs
            yield frame._replace(start=self._start + at, stop=self.end)

    @property
    def torn_bytes(self) -> int:
        """Bytes behind the last sound frame."""
        return self._start + len(self._data) - self.end


@cache
def tables_digest() -> str:
    """Digest of all column tables in their order: a journal is read with the tables that it was written with."""
    return hashlib.sha256(repr([(kind, schema_digest(kind)) for kind in KINDS]).encode()).hexdigest()[:16]


def journals(folder: Path) -> list[tuple[int, Path]]:
    """The journal files of a log with their segment numbers, in order."""
    place = folder / FOLDER
    try:
        names = os.listdir(place)  # noqa: PTH208  # `iterdir` makes a path of each, whatever it is
    except (FileNotFoundError, NotADirectoryError):
        return []
    found = [name.removesuffix(SUFFIX) for name in names if name.endswith(SUFFIX)]
    return sorted((int(stem), place / f"{stem}{SUFFIX}") for stem in found if stem.isascii() and stem.isdigit())


def frame_bytes(opening: Opening, rows: Mapping[str, Sequence[Row]], *, first_seq: int, synced: int, flags: int = 0) -> bytes:
    """One frame.

    Args:
        opening: header of the file that it is for.
        rows: rows by kind, as `xarb.log.packing` takes them.
        first_seq: seq of its first input, of the next one when there is none.
        synced: last seq known to be on the disk.
        flags: ENDED for the last frame of a file.

    Raises:
        InvariantBroken: a row does not fit its table, or all of them make more than FRAME_BYTES.
    """
    packed = {NUMBERS[kind]: msgspec.Raw(pack(kind, mine)) for kind, mine in rows.items() if mine}
    payload, raw_length = msgspec.msgpack.encode(packed), 0
    if len(payload) > FRAME_BYTES:
        raise InvariantBroken(f"a frame of {len(payload)} bytes; write more often")
    if len(payload) >= COMPRESS_BYTES:
        small = _ZSTD.compress(payload, asbytes=True)
        if len(small) < len(payload):
            payload, raw_length = small, len(payload)
    inputs = sum(len(mine) for kind, mine in rows.items() if TABLES[kind].is_input)
    outputs = sum(map(len, rows.values())) - inputs
    head = HEAD.pack(0, len(payload), opening.segment, opening.salt, first_seq, synced, inputs, outputs, raw_length, flags)
    body = head[_CRC.size :] + payload
    return _CRC.pack(google_crc32c.value(body)) + body


def by_kind(inputs: Mapping[str, Sequence[Row]], outputs: Sequence[OutputRow]) -> dict[str, list[Row]]:
    """Rows by kind, of inputs that are so already and of outputs that begin with their kind."""
    found: dict[str, list[Row]] = {kind: list(rows) for kind, rows in inputs.items() if rows}
    for row in outputs:
        found.setdefault(row[0], []).append(row[1:])
    return found


def make_journal(folder: Path, opening: Opening, frames: Iterable[bytes] = ()) -> Path:
    """A new journal file with its header and frames, durable under its name; nobody ever sees half of it."""
    path = folder / FOLDER / f"{opening.segment:08d}{SUFFIX}"
    body = msgspec.msgpack.encode(opening)
    temporary = path.with_name(f".{path.name}.tmp")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        write_whole(handle, MAGIC + _FILE_HEAD.pack(len(body), google_crc32c.value(body)) + body)
        for data in frames:
            write_whole(handle, data)
        os.fsync(handle)
    finally:
        os.close(handle)
    temporary.rename(path)
    manifest.sync_folder(path.parent)
    return path


def new_opening(segment: int, head: str, log_id: str, previous: int = 0) -> Opening:
    """The header of a new journal, with a salt that no other file has."""
    salt = 1 + secrets.randbelow(2**32 - 1)  # never 0: a tail of zeros is no frame
    return Opening(segment=segment, salt=salt, schema=tables_digest(), head=head, log_id=log_id, previous=previous)


def write_whole(handle: int, data: bytes, disk: Disk = DISK) -> None:
    """Write all of the bytes: a nearly full disk takes a part of them first (measured).

    Raises:
        OSError: the disk is full or fails; a part may stand in the file.
    """
    view = memoryview(data)
    while view:
        view = view[disk.write(handle, view) :]


def read_opening(path: Path) -> tuple[Opening, int]:
    """The header of a journal file and the place of its first frame.

    Raises:
        LogError: the header is damaged, or of another version of xarb.
        FileNotFoundError: the file is not there; a seal removes it.
    """
    found, start = read_header(path)
    if found.schema != tables_digest():
        raise LogError(f"{path} has columns of another version of xarb, which must seal it: its xarb log repair does")
    return found, start


def read_header(path: Path) -> tuple[Opening, int]:
    """`read_opening` for a file of any version.

    Raises:
        LogError: the header is damaged.
        FileNotFoundError: the file is not there.
    """
    with path.open("rb") as file:
        raw = file.read(len(MAGIC) + _FILE_HEAD.size + _OPENING_BYTES)
    at = len(MAGIC) + _FILE_HEAD.size
    try:
        length, crc = _FILE_HEAD.unpack_from(raw, len(MAGIC))
        body = raw[at : at + length]
        if not raw.startswith(MAGIC) or length > _OPENING_BYTES or len(body) != length or google_crc32c.value(body) != crc:
            raise LogError(f"{path}: its header is damaged; run: xarb log repair {path.parents[1]}")
        found = msgspec.msgpack.decode(body, type=Opening)
    except (struct.error, msgspec.MsgspecError) as error:
        raise LogError(f"{path}: its header is damaged: {error}; run: xarb log repair {path.parents[1]}") from None
    if f"{found.segment:08d}" != path.stem:
        raise LogError(f"{path} is the journal of segment {found.segment}; run: xarb log repair {path.parents[1]}")
    return found, at + length


def salvage(data: bytes, opening: Opening, *, start: int) -> Iterator[Frame]:
    """Every sound frame of the bytes that stand in the file from `start` on, whatever lies between them."""
    at = 0
    while at < len(data):
        frame = _frame_at(data, at, opening)
        if isinstance(frame, str):
            found = _later(data, at, opening)
            if found is None:
                return
            at = found
            continue
        yield frame._replace(start=start + at, stop=start + frame.stop)
        at = frame.stop


def guess_opening(data: bytes, segment: int) -> tuple[Opening, int] | None:
    """What the frames of a file say of its header, and the place of the first sound one; None when there is none."""
    mark = segment.to_bytes(4, "little")
    at = data.find(mark, _MARK_AT)
    while at >= 0:
        salt = int.from_bytes(data[at + 4 : at + 8], "little")
        opening = Opening(segment=segment, salt=salt, schema=tables_digest(), head="", log_id="")
        if not isinstance(_frame_at(data, at - _MARK_AT, opening), str):
            return opening, at - _MARK_AT
        at = data.find(mark, at + 1)
    return None


def _frame_at(data: bytes, at: int, opening: Opening) -> Frame | str:
    """The frame at a place, or what is wrong there; its places count from the beginning of `data`."""
    if at + HEAD.size > len(data):
        return "the file ends within the head of a frame"
    crc, length, segment, salt, first, synced, inputs, outputs, raw_length, flags = HEAD.unpack_from(data, at)
    if (segment, salt) != (opening.segment, opening.salt):
        return "the bytes are no frame of this file"
    stop = at + HEAD.size + length
    if stop > len(data):
        return "the file ends within a frame"
    if raw_length > FRAME_BYTES or google_crc32c.value(data[at + _CRC.size : stop]) != crc:
        return "the checksum of a frame does not hold"
    return Frame(at, stop, first, synced, inputs, outputs, raw_length, flags, data[at + HEAD.size : stop])


def _later(data: bytes, at: int, opening: Opening) -> int | None:
    """The place of a sound frame behind `at`."""
    mark = _MARK.pack(opening.segment, opening.salt)
    found = data.find(mark, at + 1 + _MARK_AT)
    while found >= 0:
        if not isinstance(_frame_at(data, found - _MARK_AT, opening), str):
            return found - _MARK_AT
        found = data.find(mark, found + 1)
    return None
