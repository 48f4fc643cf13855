"""Lines of a text file, plain, gzip or the only file of a zip or a tar (plain or gzip), in bounded memory, with every flaw named."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from itertools import chain
from typing import TYPE_CHECKING, Final

from xarb.errors import ConfigError
from xarb.imports.tarred import BLOCK, NoTar, is_tar, only_file
from xarb.imports.zipped import member_of

if TYPE_CHECKING:
    from pathlib import Path

CHUNK: Final = 1 << 18
LINE_LIMIT: Final = 1 << 24  # bytes; a longer line means that the file is no text
_Read = Callable[[int], bytes]
_GZIP_MAGIC: Final = b"\x1f\x8b"
_TAR_NAMES: Final = (".tar", ".tar.gz", ".tgz")
_ZIP_MAGIC: Final = (b"PK\x03\x04", b"PK\x05\x06")  # with files, and empty
_GZIP: Final = 31  # zlib window bits that read a gzip member and check its CRC


class TextFile:
    """A text file that is read once, from the start.

    Attributes:
        bytes_read: bytes taken from the disk so far.
        truncated: set at the end of a gzip file that stops in the middle of a member.

    Raises:
        ConfigError: missing, not readable, named `.gz`, `.zip` or `.tar` without being one, damaged, a zip or tar of other than one file, or without line
            ends for 16 MB.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.bytes_read = 0
        self.truncated = False

    def lines(self) -> Iterator[tuple[int, bytes]]:
        r"""Line numbers from 1 and lines without their end (`\\n` or `\\r\\n`); a UTF-8 byte order mark is no part of line 1."""
        number, rest = 0, b""
        for chunk in self._chunks():
            parts = (rest + chunk).split(b"\n")
            rest = parts.pop()
            if len(rest) > LINE_LIMIT:
                raise ConfigError(
                    f"{self.path}: line {number + len(parts) + 1} is longer than {LINE_LIMIT} bytes: this is no text file"
                )
            for line in parts:
                number += 1
                yield number, _clean(line, number)
        if rest:
            yield number + 1, _clean(rest, number + 1)

    def _chunks(self) -> Iterator[bytes]:
        try:
            with self.path.open("rb") as file:
                head = file.read(CHUNK)
                self.bytes_read = len(head)
                if head.startswith(_GZIP_MAGIC):
                    yield from self._untarred(self._inflated(head, file.read))
                    return
                if self.path.suffix == ".gz" and head:
                    raise ConfigError(f"{self.path}: not a gzip file although its name says so")
                if head.startswith(_ZIP_MAGIC):
                    with member_of(self.path, file) as member:
                        while chunk := member.read(CHUNK):
                            self.bytes_read = file.tell()
                            yield chunk
                    return
                if self.path.suffix == ".zip" and head:
                    raise ConfigError(f"{self.path}: not a zip file although its name says so")
                yield from self._untarred(self._plain(head, file.read))
        except OSError as error:
            raise ConfigError(f"{self.path}: cannot be read: {error.strerror or error}") from None

    def _plain(self, data: bytes, read: _Read) -> Iterator[bytes]:
        while data:
            yield data
            data = read(CHUNK)
            self.bytes_read += len(data)

    def _untarred(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """The chunks, or those of the only file of the tar that they are; one in a gzip file that was cut is read as far as it goes."""
        head = b""
        for chunk in chunks:
            head += chunk
            if len(head) >= BLOCK:
                break
        if not is_tar(head):
            if self.path.name.endswith(_TAR_NAMES) and head:
                raise ConfigError(f"{self.path}: not a tar file although its name says so")
            yield from chain((head,), chunks)
            return
        try:
            yield from only_file(chain((head,), chunks))
        except NoTar as error:
            if not self.truncated:
                raise ConfigError(f"{self.path}: a tar that cannot be read: {error}; nothing of it was imported") from None

    def _inflated(self, data: bytes, read: _Read) -> Iterator[bytes]:
        member = zlib.decompressobj(_GZIP)
        try:
            while True:
                while data:
                    yield member.decompress(data, CHUNK)
                    data = member.unconsumed_tail
                    if member.eof:
                        data = member.unused_data.lstrip(b"\0")  # gzip allows zero padding between members
                        if not data:
                            data = read(CHUNK).lstrip(b"\0")
                            self.bytes_read += len(data)
                            if not data:
                                return
                        member = zlib.decompressobj(_GZIP)
                data = read(CHUNK)
                self.bytes_read += len(data)
                if not data:
                    yield member.flush()
                    self.truncated = not member.eof
                    return
        except zlib.error as error:
            raise ConfigError(f"{self.path}: damaged gzip: {error}; nothing of it was imported") from None


def _clean(line: bytes, number: int) -> bytes:
    if number == 1:
        line = line.removeprefix(b"\xef\xbb\xbf")
    return line.removesuffix(b"\r")
