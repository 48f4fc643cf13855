"""Verifies the open tail: every frame of every journal, and that the journals go on where the sealed segments end."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from xarb.errors import LogError
from xarb.log.tail import Tail, open_tail
from xarb.model.columns import INPUTS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from xarb.log.findings import Report


def check_tail(folder: Path, report: Report) -> None:
    """Check all frames of a log's journals: checksums, types and ranges of every row, gap-free seq, no ts_recv that goes back.

    A log may be written meanwhile. Torn bytes at the very end are no finding: a frame under way, or one that was cut off when the
    writer died, and never acknowledged.
    """
    try:
        tail = open_tail(folder)
    except LogError as error:
        report.add("journal", str(error))
        return
    if tail is None:
        return
    if tail.lost is not None:
        tail.refresh()  # a writer may have ended the journal and gone on in the next one while they were read
    if tail.lost is not None:
        report.add("journal", tail.lost)
    counts = tail.rows
    report.tail_rows, report.tail_bytes, report.torn_bytes = sum(counts.values()), tail.bytes, tail.torn_bytes
    _check_order(tail, counts, report)


def _check_order(tail: Tail, counts: Mapping[str, int], report: Report) -> None:
    """Inputs of all kinds together are gap-free in seq and never go back in time."""
    tables = [tail.table(kind) for kind in counts if kind in INPUTS]
    if not tables:
        return
    keys = np.concatenate([table.column("seq").to_numpy() for table in tables])
    times = np.concatenate([table.column("ts_recv").to_numpy() for table in tables])
    order = np.argsort(keys, kind="stable")
    keys, times = keys[order], times[order]
    first = tail.manifest.last + 1
    wrong = np.flatnonzero(keys != np.arange(first, first + len(keys)))
    if len(wrong):
        report.add("journal", f"seq {keys[wrong[0]]} stands where {first + wrong[0]} should be")
    back = np.flatnonzero(np.diff(times, prepend=tail.manifest.last_ts) < 0)
    if len(back):
        report.add("journal", f"ts_recv goes back at seq {keys[back[0]]}")
