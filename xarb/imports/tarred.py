"""The only file of a tar, out of a stream of bytes and in bounded memory.

Blocks of 512 bytes as POSIX.1-2001 ("ustar Interchange Format", "pax Interchange Format") and GNU tar write them. Folders and extended headers are passed
over; of the latter only a size that overrides is heeded.
"""

from __future__ import annotations

import re
from itertools import chain
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

BLOCK: Final = 512
_FILES: Final = frozenset({b"0", b"\0"})
_FOLDER: Final = b"5"
_EXTENDED: Final = frozenset({b"x", b"g", b"L", b"K"})  # of pax for one file and for all, long names and links of GNU
_EXTENDED_LIMIT: Final = 1 << 16  # bytes
_PAX_SIZE: Final = re.compile(rb"(?:\A|\n)\d+ size=(\d{1,18})\n")


class NoTar(ValueError):  # it says what a file is not
    """Not a tar of one file, or one that is damaged."""


def is_tar(head: bytes) -> bool:
    """Whether a file that begins so is a tar; text has no zero byte in front of the mark."""
    return len(head) >= BLOCK and head[257:262] == b"ustar" and b"\0" in head[:257]


def only_file(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The bytes of the only file; takes the chunks to their end.

    Raises:
        NoTar: no file, several, something else than a file, or damage.
    """
    blocks, found, size_after = _Blocks(chunks), False, None
    while (header := blocks.take(BLOCK)).strip(b"\0"):
        size, kind = _header(header)
        if kind in _EXTENDED:
            size_after = _overridden(blocks, size, kind, size_after)
            continue
        if kind in _FILES:
            if found:
                raise NoTar("it holds more than one file; one is read")
            found, size = True, size if size_after is None else size_after
            yield from blocks.pieces(size)
            blocks.take(-size % BLOCK)
        elif kind != _FOLDER:
            raise NoTar(f"it holds something of type {kind!r}, which is no file")
        size_after = None
    if not found:
        raise NoTar("it holds no file, or ends in front of one")
    if len(header) < BLOCK:
        raise NoTar("it ends without the mark of its end")
    blocks.drain()


def _header(block: bytes) -> tuple[int, bytes]:
    """Size and type of what a header announces."""
    if len(block) < BLOCK:
        raise NoTar("it ends in the middle of a header")
    if sum(block) - sum(block[148:156]) + 8 * ord(" ") != _number(block[148:156]):
        raise NoTar("the checksum of a header does not fit")
    return _number(block[124:136]), block[156:157]


def _number(field: bytes) -> int:
    if field[0] == 0x80:  # GNU: a binary number, for files of 8 GiB and more
        return int.from_bytes(field[1:], "big")
    text = field.strip(b" \0")
    if not text.isdigit() or text.strip(b"01234567"):
        raise NoTar(f"a header holds {field!r}, which is no octal number")
    return int(text, 8)


def _overridden(blocks: _Blocks, size: int, kind: bytes, size_before: int | None) -> int | None:
    """The size that an extended header states for the file behind it, else what another one said."""
    if size > _EXTENDED_LIMIT:
        raise NoTar(f"an extended header of {size} bytes")
    text = b"".join(blocks.pieces(size))
    blocks.take(-size % BLOCK)
    found = _PAX_SIZE.search(text) if kind == b"x" else None
    return int(found[1]) if found else size_before


class _Blocks:
    """Chunks of any length, taken by length."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._held = b""

    def take(self, length: int) -> bytes:
        """So many bytes; fewer only at the end."""
        while len(self._held) < length:
            chunk = next(self._chunks, None)
            if chunk is None:
                break
            self._held += chunk
        taken, self._held = self._held[:length], self._held[length:]
        return taken

    def pieces(self, length: int) -> Iterator[bytes]:
        """So many bytes in pieces."""
        held, self._held = self._held, b""
        for piece in chain((held,), self._chunks):
            if len(piece) >= length:
                self._held = piece[length:]
                yield piece[:length]
                return
            length -= len(piece)
            yield piece
        raise NoTar(f"it ends {length} bytes before the end of its file")

    def drain(self) -> None:
        """To the end, so that what packs the tar is checked whole."""
        for _ in self._chunks:
            pass
