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

UNREADABLE: Final = (OSError, UnicodeDecodeError, pa.ArrowException)  # the second of a column whose name is no UTF-8
_BYTES: Final = 1 << 16
_ROWS: Final = 1_024
_KEPT: Final = 128
_KEPT_BYTES: Final = 40 << 20  # of all of them, decoded: lists of levels may be many times what they take on the disk
_LARGEST_KEPT: Final = 4 << 20
# by kind and digest, which names what is in a file and is never out of date: the rows, and their bytes in memory
_tables: OrderedDict[tuple[str, str], tuple[pa.Table, int]] = OrderedDict()
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
    return None if found is None else found[0]


def read(path: Path, entry: FileEntry) -> pa.Table:
    """Read a small file whole, page checksums included, and keep its rows.

    Raises:
        LogError: the columns are not those of its kind.
        OSError, UnicodeDecodeError, pyarrow.ArrowException: it cannot be read, or has another digest (`UNREADABLE`).
    """
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != entry.sha256:
        raise OSError(f"its bytes have not the digest {entry.sha256}")
    with pq.ParquetFile(pa.BufferReader(data), pre_buffer=False, page_checksum_verification=True) as file:
        if not file.schema_arrow.equals(arrow_schema(entry.kind)):
            raise LogError(f"{path} has not the columns of {entry.kind}")
        table = file.read(use_threads=False)
    size = table.nbytes
    if size <= _LARGEST_KEPT:
        _keep((entry.kind, entry.sha256), table, size)
    return table


def _keep(key: tuple[str, str], table: pa.Table, size: int) -> None:
    """Keep a table, and let go of those that were not asked for the longest where there are too many, or they are too large."""
    with _lock:
        _tables[key] = table, size
        _tables.move_to_end(key)
        held = sum(one for _, one in _tables.values())
        while len(_tables) > _KEPT or held > _KEPT_BYTES:
            held -= _tables.popitem(last=False)[1][1]
