"""The check for lookahead, `xarb verify --cut N`: what was decided up to random inputs comes again where nothing that follows is there.

The inputs are handed over in pieces that end at the cuts. When a piece is decided on, no later input has been read from the log.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from xarb.assembly import Assembly
from xarb.console import Advance, Table
from xarb.errors import ConfigError
from xarb.inquiry.comparison import Comparison, Differs, difference_table
from xarb.inquiry.decided import Decided, open_decided, starts_in
from xarb.log.manifest import Manifest
from xarb.log.reader import LogReader
from xarb.replay import replay
from xarb.sql.connection import open_query
from xarb.verbs.verify import Proof


class _Checked(NamedTuple):
    """Of a run or start: how many cuts, which difference there is, and the cut before which it came."""

    title: str
    cuts: int
    comparison: Comparison
    cut: int | None


def lookahead(folder: Path, cuts: int, *, log: Path | None = None, advance: Advance) -> Proof:
    """Decide a run, or each sealed start of a live log, once more with its inputs cut at random places, and compare all that was decided.

    The cuts follow from the log's digest and their number: the same command makes the same ones.

    Raises:
        ConfigError: there are no cuts, or the folder is neither.
        LogError: a file is damaged.
        Refused: the inputs were pruned, or the log is not the run's.
    """
    if cuts < 1:
        raise ConfigError(f"--cut {cuts}: must be 1 or more")
    checked = [_check(folder, start, cuts, log, advance) for start in _starts(folder)]
    found = [one for one in checked if one.comparison.difference is not None]
    rows = tuple(
        (
            one.title,
            str(one.cuts),
            str(one.comparison.rows),
            "no lookahead" if one.cut is None else f"DIFFERENT before the cut at {one.cut}",
        )
        for one in checked
    )
    tables = [Table("Decided without what follows", ("of", "cuts", "rows compared", "result"), rows)]
    tables += [difference_table(one.comparison.difference) for one in found[:1] if one.comparison.difference is not None]
    return Proof(not found, tables)


def _starts(folder: Path) -> Sequence[int | None]:
    if Manifest(folder).header.kind == "run":
        return [None]
    with open_query([folder]) as query:
        return [span.start.number for span in starts_in(query) if span.first <= Manifest(folder).last]


def _check(folder: Path, start: int | None, cuts: int, log: Path | None, advance: Advance) -> _Checked:
    with open_decided(folder, log=log, start=start) as decided, decided.open_inputs() as reader, LogReader(folder) as recorded:
        first, last = _range(decided, reader)
        draw = random.Random(f"{reader.digest} {cuts}")  # noqa: S311  # no secret: the same cuts for the same log
        chosen = sorted(draw.sample(range(first, last), min(cuts, max(0, last - first))))
        how = decided.replay(reader, last=last, cuts=chosen)
        assembly = Assembly(how.resolved, how.ground)
        comparison = Comparison(recorded.outputs() if decided.span is None else recorded.outputs(select=decided.span.selection))
        try:
            replay(assembly, how.batches, comparison.take, reached=lambda seq: advance(seq - first, last - first))
            comparison.finish()
        except Differs:
            pass
        cut = None
        if comparison.difference is not None:
            at = min(side[1]["after_seq"] for side in comparison.difference if side is not None)
            cut = next((one for one in chosen if one >= at), last)
        return _Checked(decided.title, len(chosen), comparison, cut)


def _range(decided: Decided, reader: LogReader) -> tuple[int, int]:
    if decided.span is not None:
        return decided.span.first, min(decided.span.last, reader.last_seq)
    summary = Manifest(decided.folder).summary
    if summary is None:
        raise ConfigError(f"{decided.folder} was never finished: run the backtest again")
    return 0, summary.last_seq
