"""How long market rows were on their way: `ts_recv` less the exchange's time on our clock, by venue."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from xarb.log.reader import LogReader, Selection
from xarb.model.columns import KERNEL_KINDS
from xarb.model.units import PPB
from xarb.verbs.calibrate.clocks import Clock, Ints, step_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

KEPT: Final = 500_000  # rows of a log of which the latency is kept; of more a part is drawn by seq
_COLUMNS: Final = ("venue", "ts_event", "is_last")
_GOLDEN, _MIX_1, _MIX_2 = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB  # as venues.fold.draw
_STEP_ROWS: Final = 10_000  # rows that show what a venue's times are cut to


class Feed(NamedTuple):
    """One venue's rows in a log.

    Attributes:
        rows: market rows, of a delta message the last one.
        timed: those with a time of the exchange.
        latencies: ns, of all of these or of as many as are kept; below zero where the clocks are wrong.
        clock: the exchange's, with the step of these times.
    """

    rows: int
    timed: int
    latencies: Ints
    clock: Clock


class _Gathered:
    """What was read of one venue."""

    def __init__(self) -> None:
        self.rows = self.timed = 0
        self.parts: list[tuple[Ints, Ints]] = []  # receive times and exchange times


def feeds_of(reader: LogReader, select: Selection, clocks: Mapping[str, Clock]) -> dict[str, Feed]:
    """The feeds of a part of a log by venue.

    Raises:
        LogError: a file was changed.
        Refused: some of the rows were pruned.
    """
    total = sum(entry.rows for kind in KERNEL_KINDS for entry in reader.entries(kind, select))
    share = PPB if total <= KEPT else KEPT * PPB // total
    found: dict[str, _Gathered] = {}
    for kind in KERNEL_KINDS:
        names = _COLUMNS if kind == "book_deltas" else _COLUMNS[:2]
        for part in reader.tables(kind, names, select):
            _gather(part, found, share)
    return {venue: _feed(one, clocks.get(venue, Clock())) for venue, one in sorted(found.items())}


def _gather(part: pa.RecordBatch, found: dict[str, _Gathered], share: int) -> None:
    if "is_last" in part.schema.names:
        part = part.filter(part.column("is_last"))
    venues = part.column("venue")
    for venue in pc.unique(venues).to_pylist():
        mine = part.filter(pc.equal(venues, venue))
        one = found.setdefault(venue, _Gathered())
        one.rows += mine.num_rows
        timed = mine.filter(pc.is_valid(mine.column("ts_event")))
        one.timed += timed.num_rows
        if share < PPB:
            timed = timed.filter(pa.array(drawn(timed.column("seq").cast(pa.int64()).to_numpy(zero_copy_only=False), share)))
        if timed.num_rows:
            times = (timed.column(name).cast(pa.int64()).to_numpy(zero_copy_only=False) for name in ("ts_recv", "ts_event"))
            received, told = times
            one.parts.append((received, told))


def drawn(seqs: Ints, share: int) -> NDArray[np.bool_]:
    """Which rows are kept where a share of them, parts per billion, is: by the draw of `splitmix64(0, seq)`, whatever the batches."""
    with np.errstate(over="ignore"):  # modulo 2**64 is meant
        z = (seqs.astype(np.uint64) + np.uint64(1)) * np.uint64(_GOLDEN)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(_MIX_1)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(_MIX_2)
    kept: NDArray[np.bool_] = (z ^ (z >> np.uint64(31))) % np.uint64(PPB) < np.uint64(share)
    return kept


def _feed(one: _Gathered, clock: Clock) -> Feed:
    if not one.parts:
        return Feed(one.rows, one.timed, np.zeros(0, np.int64), clock)
    received, told = (np.concatenate(list(column)) for column in zip(*one.parts, strict=True))
    clock = clock._replace(step=step_of(told[:_STEP_ROWS].tolist()))
    return Feed(one.rows, one.timed, received - clock.ours_all(told, received), clock)
