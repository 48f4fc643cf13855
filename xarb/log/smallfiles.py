"""Small sealed files: read whole, so that the bytes that were checked are those that are decoded, and decoded once for each digest.

A log that was started anew now and then has a dozen files a start, each of some rows. Opening one as Parquet takes a quarter of a
millisecond, many times what its rows need, and a start, a proof and a report each read them again.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.parquet as pq

from xarb.errors import LogError
from xarb.log.schema import arrow_schema

if TYPE_CHECKING:
    from pathlib import Path

    from xarb.log.manifest import FileEntry

UNREADABLE: Final = (OSError, pa.ArrowException)
_BYTES: Final = 1 << 16
_ROWS: Final = 1_024
_KEPT: Final = 128  # at most some 40 MB of them: a row of a book has 47 columns
_tables: OrderedDict[tuple[str, str], pa.Table] = (
    OrderedDict()
)  # by kind and digest, which names what is in a file: never out of date
_lock = threading.Lock()


def is_small(entry: FileEntry) -> bool:
    """Whether a file is read whole."""
    return entry.bytes <= _BYTES and entry.rows <= _ROWS


def kept(entry: FileEntry) -> pa.Table | None:
    """What a file of this digest holds, if that is known already; the caller has checked that it has it."""
    key = (entry.kind, entry.sha256)  # a manifest may call a file what it is not
    with _lock:
        found = _tables.get(key)
        if found is not None:
            _tables.move_to_end(key)
    return found


def read(path: Path, entry: FileEntry) -> pa.Table:
    """Read a small file whole, page checksums included, and keep its rows.

    Raises:
        LogError: the columns are not those of its kind.
        OSError, pyarrow.ArrowException: it cannot be read, or has another digest (`UNREADABLE`).
    """
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != entry.sha256:
        raise OSError(f"its bytes have not the digest {entry.sha256}")
    with pq.ParquetFile(pa.BufferReader(data), pre_buffer=False, page_checksum_verification=True) as file:
        if not file.schema_arrow.equals(arrow_schema(entry.kind)):
            raise LogError(f"{path} has not the columns of {entry.kind}")
        table = file.read(use_threads=False)
    with _lock:
        _tables[entry.kind, entry.sha256] = table
        while len(_tables) > _KEPT:
            _tables.popitem(last=False)
    return table
