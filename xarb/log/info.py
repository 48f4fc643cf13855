"""What a log or run holds, as plain data: its header, ranges, rows and bytes per kind, rows per instrument."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import pyarrow.parquet as pq

from xarb.errors import LogError
from xarb.log.checkpoints import checkpoint_paths
from xarb.log.claim import is_claimed
from xarb.log.growing import MARKET_KINDS
from xarb.log.manifest import Header, Manifest
from xarb.log.tail import Tail, open_tail
from xarb.log.tombstones import Tombstone

_COUNTED: Final = (*MARKET_KINDS, "pools", "swaps")  # by instrument


class KindInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One kind: its files, rows and bytes on disk, its range of seq (after_seq of outputs) and of time in ns."""

    files: int
    rows: int
    bytes: int
    first: int
    last: int
    first_ts: int
    last_ts: int

    @property
    def bytes_per_row(self) -> float:
        """Bytes on disk a row."""
        return self.bytes / self.rows


class TailInfo(msgspec.Struct, frozen=True, kw_only=True):
    """The open tail: its journals, sound bytes, torn bytes, rows by kind, the last seq with it and its time in ns."""

    journals: tuple[str, ...]
    bytes: int
    torn_bytes: int
    rows: dict[str, int]
    last_seq: int
    last_ts: int
    is_being_written: bool


class GoneInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What one tombstone covers: why, when (ns), by whom, where it was archived; its kinds, files, rows and bytes, and their seqs."""

    reason: str
    ts: int
    by: str
    to: str | None
    kinds: tuple[str, ...]
    files: int
    rows: int
    bytes: int
    first: int
    last: int


class LogInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One folder.

    Files, rows, bytes, kinds and instruments are of what is there, `gone` is what was pruned. `first_seq` to `last_seq` and the times are
    None when it is empty; `instruments` counts rows by name and kind, `checkpoints` are the inputs as of which there is one.

    All of it is of sealed rows; `tail` says what is not sealed, None when the log has no journal.
    """

    folder: str
    header: Header
    digest: str
    segments: int
    files: int
    rows: int
    bytes: int
    first_seq: int | None
    last_seq: int | None
    first_ts: int | None
    last_ts: int | None
    kinds: dict[str, KindInfo]
    instruments: dict[str, dict[str, int]]
    output_digest: str | None
    tail: TailInfo | None = None
    gone: tuple[GoneInfo, ...] = ()
    checkpoints: tuple[int, ...] = ()


def info(folder: Path | str) -> LogInfo:
    """What the log or run holds. Nothing is verified but the manifest; only the names of instruments are read from the files.

    Raises:
        ConfigError: the folder is no log.
        LogError: the manifest is damaged, or a file cannot be read.
    """
    folder = Path(folder)
    tail = open_tail(folder)
    found = Manifest(folder) if tail is None else tail.manifest
    segments, files = found.segments, found.files
    kinds: dict[str, KindInfo] = {}
    for kind in sorted({entry.kind for entry in files}):
        mine = [entry for entry in files if entry.kind == kind]
        kinds[kind] = KindInfo(
            files=len(mine),
            rows=sum(entry.rows for entry in mine),
            bytes=sum(entry.bytes for entry in mine),
            first=min(entry.first for entry in mine),
            last=max(entry.last for entry in mine),
            first_ts=min(entry.first_ts for entry in mine),
            last_ts=max(entry.last_ts for entry in mine),
        )
    counts: dict[str, Counter[str]] = {}
    for entry in files:
        if len(entry.instruments) == 1:
            counts.setdefault(entry.instruments[0], Counter())[entry.kind] += entry.rows
        elif entry.kind in _COUNTED:
            for name, rows in _rows_of(folder / entry.path).items():
                counts.setdefault(name, Counter())[entry.kind] += rows
    return LogInfo(
        folder=str(folder),
        header=found.header,
        digest=found.head,
        segments=len(segments),
        files=len(files),
        rows=sum(entry.rows for entry in files),
        bytes=sum(entry.bytes for entry in files),
        first_seq=segments[0].first if segments else None,
        last_seq=segments[-1].last if segments else None,
        first_ts=segments[0].first_ts if segments else None,
        last_ts=segments[-1].last_ts if segments else None,
        kinds=kinds,
        instruments={name: dict(counted) for name, counted in sorted(counts.items())},
        output_digest=None if found.summary is None else found.summary.output_digest,
        tail=None if tail is None else _tail_info(folder, tail),
        gone=tuple(_gone_info(found, stone) for stone in found.tombstones),
        checkpoints=tuple(int(path.stem) for path in checkpoint_paths(folder)),
    )


def _gone_info(found: Manifest, stone: Tombstone) -> GoneInfo:
    mine = [entry for one in found.segments for entry in one.files if found.gone.get(entry.path) is stone]
    return GoneInfo(
        reason=stone.reason,
        ts=stone.ts,
        by=stone.by,
        to=stone.to,
        kinds=tuple(sorted({entry.kind for entry in mine})),
        files=len(mine),
        rows=sum(entry.rows for entry in mine),
        bytes=sum(entry.bytes for entry in mine),
        first=min(entry.first for entry in mine),
        last=max(entry.last for entry in mine),
    )


def _tail_info(folder: Path, tail: Tail) -> TailInfo:
    return TailInfo(
        journals=tuple(tail.journals),
        bytes=tail.bytes,
        torn_bytes=tail.torn_bytes,
        rows=tail.rows,
        last_seq=tail.last_seq,
        last_ts=tail.last_ts,
        is_being_written=is_claimed(folder),
    )


def _rows_of(path: Path) -> Counter[str]:
    """Rows of each instrument in a file."""
    counts: Counter[str] = Counter()
    try:
        with pq.ParquetFile(path, pre_buffer=False) as file:
            for batch in file.iter_batches(131_072, columns=["venue", "symbol"], use_threads=False):
                venue, symbol = batch.column("venue"), batch.column("symbol")
                venues, symbols = venue.dictionary.to_pylist(), symbol.dictionary.to_pylist()
                pairs: Any = venue.indices.to_numpy().astype(np.int64) * len(symbols) + symbol.indices.to_numpy()
                places, rows = np.unique(pairs, return_counts=True)
                for pair, count in zip(places.tolist(), rows.tolist(), strict=True):
                    counts[f"{symbols[pair % len(symbols)]}@{venues[pair // len(symbols)]}"] += count
    except OSError as error:
        raise LogError(f"{path}: cannot be read: {error}; run xarb log verify") from None
    return counts
