"""What the public book would have filled of an order: as it was decided, and as the order reached the exchange.

The books are those of the simulated venue, so that a share which is learnt here means there what it means here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from xarb.assembly import RECORDED_ONLY, Ground
from xarb.errors import InvariantBroken
from xarb.log.reader import BACKTEST_KINDS, BATCH_ROWS, LogReader
from xarb.model.columns import KERNEL_KINDS
from xarb.model.units import MONEY_SCALE, NANOS_PER_S
from xarb.starts import Span
from xarb.venues.simulated import SimulatedVenues
from xarb.venues.terms import VenueSetup
from xarb.verbs.calibrate.clocks import Clock, Ints
from xarb.verbs.calibrate.orders import Trace

DECIDED: Final = "decided"
ARRIVED: Final = "arrived"
Key = tuple[int, str]  # number of an order, DECIDED or ARRIVED
ALL: Final = 2**62  # more than any book holds
_LATE_NS: Final = 5 * NANOS_PER_S  # how much later than an order's first word a row of its arrival is looked for


class Probe(NamedTuple):
    """A question: what the book as of input `seq` holds for an order."""

    seq: int
    key: Key
    trace: Trace


class Held(NamedTuple):
    """The answer, money: `whole` is all that the book shows at the order's limit or better, `most` what it would fill of the order."""

    whole: int
    most: int


def held(reader: LogReader, span: Span, ground: Ground, probes: Iterable[Probe]) -> dict[Key, Held]:
    """The answers by key, of books that begin with the start as the engine's do.

    Raises:
        LogError: a file was changed.
        Refused: some of the inputs were pruned.
    """
    left = sorted(probes, key=lambda probe: probe.seq, reverse=True)
    if not left:
        return {}
    setup = VenueSetup(instruments=ground.instruments, sources=ground.sources, fees={}, opening={}, rates={}, seed=0)
    venues = SimulatedVenues(setup, {one.venue: RECORDED_ONLY for one in ground.instruments})
    numbers = {(one.venue, one.symbol): number for number, one in enumerate(ground.instruments)}
    found = {}
    for batch in reader.batches(kinds=BACKTEST_KINDS, rows=BATCH_ROWS, select=span.selection):
        venues.load(batch)
        while left and left[-1].seq <= batch.last_seq:
            probe = left.pop()
            venues.run(min(probe.seq, batch.last_seq))
            found[probe.key] = _held(venues, numbers[probe.trace.venue, probe.trace.symbol], probe.trace)
        venues.run(batch.last_seq)
        if not left:
            break
    for probe in left:  # behind the last market row
        found[probe.key] = _held(venues, numbers[probe.trace.venue, probe.trace.symbol], probe.trace)
    return found


def _held(venues: SimulatedVenues, number: int, trace: Trace) -> Held:
    instrument = venues.instruments[number]
    price = trace.price_int * 10 ** (instrument.px_scale - trace.px_scale)
    qty = trace.qty_int * 10 ** (instrument.qty_scale - trace.qty_scale)
    unit = 10 ** (MONEY_SCALE - instrument.qty_scale)
    whole = venues.fillable(number, trace.side, price, ALL)
    return Held(whole * unit, venues.fillable(number, trace.side, price, qty) * unit)


class Rows(NamedTuple):
    """Rows of one venue around its orders: seq, and the running maximum of the times at which the exchange had them, on our clock."""

    seqs: Ints
    times: Ints

    def last_before(self, time: int) -> int | None:
        """seq of the last row that the exchange had before a time, None where none is there."""
        at = int(np.searchsorted(self.times, time, side="left"))
        return int(self.seqs[at - 1]) if at else None


def rows_around(
    reader: LogReader, span: Span, orders: Sequence[Trace], clocks: Mapping[str, Clock], delays: Mapping[str, int]
) -> dict[str, Rows]:
    """By venue, the market rows between the decisions of orders and some seconds after their first words.

    Args:
        reader: the log.
        span: the start.
        orders: those that were heard of.
        clocks: of exchanges.
        delays: by venue the usual feed latency, ns, of rows without a time of the exchange.
    """
    windows = _merged((one.decided, (one.heard or one.decided) + _LATE_NS) for one in orders)
    parts: dict[str, list[tuple[Ints, Ints]]] = {}
    for kind in KERNEL_KINDS:
        for part in reader.tables(kind, ("venue", "ts_event"), span.selection):
            received = part.column("ts_recv").cast(pa.int64()).to_numpy(zero_copy_only=False)
            at = np.searchsorted(windows[:, 0], received, side="right") - 1
            inside = (at >= 0) & (received <= windows[np.maximum(at, 0), 1])
            near = part.filter(pa.array(inside))
            for venue in pc.unique(near.column("venue")).to_pylist():
                mine = near.filter(pc.equal(near.column("venue"), venue))
                parts.setdefault(venue, []).append(_timed(mine, clocks.get(venue, Clock()), delays.get(venue, 0)))
    return {venue: _ordered(mine) for venue, mine in parts.items()}


def _timed(part: pa.RecordBatch, clock: Clock, delay: int) -> tuple[Ints, Ints]:
    seqs, received = (part.column(name).cast(pa.int64()).to_numpy(zero_copy_only=False) for name in ("seq", "ts_recv"))
    told = part.column("ts_event").cast(pa.int64())
    known = np.asarray(pc.is_valid(told))
    times = clock.ours_all(np.asarray(pc.fill_null(told, 0)), received)
    return seqs, np.where(known, times, received - delay)


def _ordered(parts: list[tuple[Ints, Ints]]) -> Rows:
    seqs, times = (np.concatenate(list(column)) for column in zip(*parts, strict=True))
    order = np.argsort(seqs, kind="stable")
    return Rows(seqs[order], np.maximum.accumulate(times[order]))


def _merged(windows: Iterable[tuple[int, int]]) -> Ints:
    """Windows that do not overlap, rising."""
    found: list[list[int]] = []
    for begin, end in sorted(windows):
        if found and begin <= found[-1][1]:
            found[-1][1] = max(found[-1][1], end)
        else:
            found.append([begin, end])
    if not found:
        raise InvariantBroken("no order to look around")
    return np.array(found, np.int64)
