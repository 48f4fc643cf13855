"""The parts of logs from which a model is learnt: what was traded for real, start by start, and the feeds of all of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import pyarrow.compute as pc

from xarb.errors import ConfigError
from xarb.inquiry.sections import moment_of
from xarb.log.manifest import Manifest
from xarb.log.reader import EVERYTHING, LogReader
from xarb.starts import LIVE, PAPER, Span, ground_of, spans
from xarb.verbs.calibrate.clocks import Clock, clocks_of, step_of
from xarb.verbs.calibrate.depth import ARRIVED, DECIDED, Held, Key, Probe, held, rows_around
from xarb.verbs.calibrate.feeds import feeds_of
from xarb.verbs.calibrate.fitting import quantile
from xarb.verbs.calibrate.learning import Learnt, learn_orders, left_of
from xarb.verbs.calibrate.orders import Trace, traces

_TOLD: Final = ("starts", "operator", "timers", "reports", "health", "connections")  # kinds by which a start is dated


class Part(NamedTuple):
    """One start of a log, or a log on which nobody traded for real.

    Attributes:
        folder, log_id, digest: which log.
        span: the start; None where there is none, or where its orders were simulated.
        mode: live, paper or recorded.
        begin_ts, end_ts: of its first and last input that is sealed.
        is_open: whether the log is being written, so that what is not sealed yet is not read.
        orders: of a live start.
        clocks: of exchanges, with the steps of the times that their rows have.
        delays: by venue the usual feed latency, ns.
    """

    folder: Path
    log_id: str
    digest: str
    span: Span | None
    mode: str
    begin_ts: int
    end_ts: int
    is_open: bool
    orders: tuple[Trace, ...] = ()
    clocks: Mapping[str, Clock] = {}
    delays: Mapping[str, int] = {}

    @property
    def number(self) -> int:
        """Number of the start; 0 where there is none."""
        return 0 if self.span is None else self.span.start.number


def learn(folder: Path, start: int | None, learnt: dict[str, Learnt]) -> list[Part]:
    """Learn from a log; what was learnt is added by venue.

    Raises:
        ConfigError: it is no log, or has no such start, or nothing of it is sealed.
        LogError: it is damaged.
        Refused: inputs of it were pruned.
    """
    if Manifest(folder).header.kind != "log":
        raise ConfigError(f"{folder} is a run: what its orders met is simulated; give a log that was recorded or traded on")
    with LogReader(folder) as reader:
        chosen = _chosen(reader, start)
        select = EVERYTHING if start is None else chosen[0].selection
        clocks = clocks_of(reader.rows("health", columns=("seq", "ts_recv", "venue", "metric", "value")))
        found = feeds_of(reader, select, clocks)
        for venue, feed in found.items():
            learnt.setdefault(venue, Learnt()).take_feed(feed)
            clocks[venue] = feed.clock
        delays = {venue: quantile(sorted(feed.latencies.tolist()), 0.5) or 0 for venue, feed in found.items()}
        live = [_part(reader, span)._replace(clocks=clocks, delays=delays) for span in chosen if span.start.mode == LIVE]
        return [_learnt(reader, part, learnt) for part in live] or [_recorded(reader, chosen, start)]


def decay(part: Part, pick: Callable[[Trace], int | None]) -> dict[str, list[int]]:
    """By venue, of what the book showed for each order of a start at its decision, what it showed some time later, parts per billion.

    `pick` says how much later, ns; None leaves the order out.

    Raises:
        LogError: the log is damaged.
        Refused: inputs of it were pruned.
    """
    came: dict[int, int] = {}
    for one in _heard(part.orders):
        later = pick(one)
        if later is not None:
            came[one.order] = one.decided + later
    with LogReader(part.folder) as reader:
        books = _books(reader, part, came)
    found: dict[str, list[int]] = {}
    for one in part.orders:
        if one.order in came and (share := left_of(books[one.order, DECIDED], books[one.order, ARRIVED])) is not None:
            found.setdefault(one.venue, []).append(share)
    return found


def _chosen(reader: LogReader, start: int | None) -> list[Span]:
    found = [span for span in spans(reader) if span.first <= reader.last_seq]
    if start is None:
        return found
    mine = [span for span in found if span.start.number == start]
    if not mine:
        there = f"there are 1 to {found[-1].start.number}" if found else "nobody traded on it"
        raise ConfigError(f"{reader.folder} has no start {start} that is sealed; {there}")
    return mine


def _learnt(reader: LogReader, part: Part, learnt: dict[str, Learnt]) -> Part:
    """Learn the orders of a start; the part with them."""
    span = part.span
    assert span is not None
    reports = [row for row in reader.rows("reports", select=span.selection) if row["start"] == span.start.number]
    mine = [row for row in reports if span.first <= row["seq"] <= span.last and row["order"] is not None]
    commands = [row for _, row in reader.outputs(kinds=("commands",), select=span.selection)]
    part = part._replace(orders=tuple(traces(commands, mine)))
    clocks = _stepped(part.clocks, mine, part.orders)
    for one in part.orders:
        learnt.setdefault(one.venue, Learnt())
    came = {one.order: one.arrival(clocks[one.venue]) for one in _heard(part.orders)}
    learn_orders(learnt, part.orders, clocks, _books(reader, part, came))
    return part


def _heard(orders: Sequence[Trace]) -> list[Trace]:
    """Those that the exchange told of by itself."""
    return [one for one in orders if one.heard is not None and not one.is_asked]


def _stepped(clocks: Mapping[str, Clock], reports: Sequence[Mapping[str, Any]], orders: Sequence[Trace]) -> dict[str, Clock]:
    """The clocks with the steps of the times that reports have."""
    told: dict[str, list[int]] = {one.venue: [] for one in orders}
    for row in reports:
        if row["ts_event"] is not None:
            told.setdefault(row["venue"], []).append(row["ts_event"])
    return {venue: clocks.get(venue, Clock())._replace(step=step_of(times)) for venue, times in told.items()}


def _books(reader: LogReader, part: Part, came: Mapping[int, int]) -> dict[Key, Held]:
    """What the books held for orders as they were decided and as they came; `came` is by order, on our clock."""
    span, orders = part.span, [one for one in part.orders if one.order in came]
    if span is None or not orders:
        return {}
    rows = rows_around(reader, span, orders, part.clocks, part.delays)
    probes = []
    for one in orders:
        seq = rows[one.venue].last_before(came[one.order]) if one.venue in rows else None
        probes.append(Probe(one.after_seq, (one.order, DECIDED), one))
        probes.append(Probe(max(one.after_seq, -1 if seq is None else seq), (one.order, ARRIVED), one))
    ground = ground_of(span.start, reader.known_at(span.first), max(reader.connections, 1))
    return held(reader, span, ground, probes)


def _part(reader: LogReader, span: Span, mode: str = LIVE) -> Part:
    times = [
        int(ts)
        for kind in _TOLD
        for part in reader.tables(kind, (), span.selection)
        for ts in (pc.min(part.column("ts_recv")).as_py(), pc.max(part.column("ts_recv")).as_py())
    ]
    return Part(reader.folder, reader.header.log_id, reader.digest, span, mode, min(times), max(times), reader.is_open)


def _recorded(reader: LogReader, chosen: Sequence[Span], start: int | None) -> Part:
    """A log, or one start of it, whose orders teach nothing."""
    if start is not None:
        return _part(reader, chosen[0], PAPER)._replace(span=None)
    segments = reader.manifest.segments
    if not segments:
        raise ConfigError(f"{reader.folder}: nothing of it is sealed yet; try again after the next seal")
    times = segments[0].first_ts, segments[-1].last_ts
    mode = PAPER if chosen else "recorded"
    return Part(reader.folder, reader.header.log_id, reader.digest, None, mode, *times, reader.is_open)


def named(part: Part) -> str:
    """A part in a few words."""
    return part.folder.resolve().name + (f", start {part.number}" if part.span is not None else "")


def spanned(part: Part) -> tuple[str, str]:
    """Its first and last time as text."""
    begin, end = moment_of(part.begin_ts), moment_of(part.end_ts)
    assert begin is not None
    assert end is not None
    return begin, end
