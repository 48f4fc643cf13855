"""A file within a zip, read in bounded memory, with every flaw of the zip named."""

from __future__ import annotations

import struct
import zipfile
import zlib
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, BinaryIO, Final

from xarb.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_METHODS: Final = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}  # what exchanges, vendors and numpy write; LZMA may ask for 4 GB
# ValueError: places before the file's start, and names that are no UTF-8; RuntimeError: a password, and flags of later versions
_FLAWS: Final = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, RuntimeError, struct.error)


@contextmanager
def member_of(path: Path, file: BinaryIO, name: str | None = None) -> Iterator[IO[bytes]]:
    """The file of that name in the zip, or its only one; the CRC is checked at its end, by the read that reaches it.

    Raises:
        ConfigError: cut, damaged, compressed or locked in a way that is not read, without that file, or of several where one is meant.
    """
    if not zipfile.is_zipfile(file):  # its list of files, which is its end
        raise ConfigError(f"{path}: damaged zip: it stops before its end, which lists what it holds; nothing of it was imported")
    try:
        with zipfile.ZipFile(file) as archive:
            held = [one for one in archive.infolist() if not one.is_dir()]
            chosen = held if name is None else [one for one in held if one.filename == name]
            if len(chosen) != 1:
                raise ConfigError(
                    f"{path}: a zip of {len(held)} files; " + ("one is read" if name is None else f"not one is {name}")
                )
            if chosen[0].compress_type not in _METHODS:
                raise ConfigError(
                    f"{path}: a zip that cannot be read: it is compressed by method {chosen[0].compress_type}, not by deflate"
                )
            with archive.open(chosen[0]) as member:
                yield member
    except _FLAWS as error:
        why = str(error) or "the file in it stops before its end"  # EOFError says nothing
        raise ConfigError(f"{path}: damaged zip: {why}; nothing of it was imported") from None
