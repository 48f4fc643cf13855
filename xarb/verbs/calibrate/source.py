"""The parts of logs from which a model is learnt: what was traded for real, start by start, and the feeds of all of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import pyarrow.compute as pc

from xarb.errors import ConfigError
from xarb.inquiry.sections import moment_of
from xarb.log.manifest import Manifest
from xarb.log.reader import EVERYTHING, LogReader
from xarb.starts import LIVE, Span, ground_of, spans
from xarb.verbs.calibrate.clocks import Clock, clocks_of, step_of
from xarb.verbs.calibrate.depth import ARRIVED, DECIDED, Held, Key, Probe, held, rows_around
from xarb.verbs.calibrate.feeds import feeds_of
from xarb.verbs.calibrate.fitting import quantile
from xarb.verbs.calibrate.learning import Learnt, learn_orders
from xarb.verbs.calibrate.orders import Trace, traces

_TOLD: Final = ("starts", "operator", "timers", "reports", "health", "connections")  # kinds by which a start is dated


class Part(NamedTuple):
    """One start of a log, or a log on which nobody traded for real.

    Attributes:
        folder, log_id, digest: which log.
        span: the start; None where there is none, or where its orders were simulated.
        mode: live, paper or recorded.
        begin_ts, end_ts: of its first and last input that is sealed.
        orders: of a live start.
    """

    folder: Path
    log_id: str
    digest: str
    span: Span | None
    mode: str
    begin_ts: int
    end_ts: int
    orders: tuple[Trace, ...] = ()

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
        live = [span for span in chosen if span.start.mode == LIVE]
        parts = [_part(reader, span, _orders(reader, span, learnt, clocks)) for span in live]
        return parts or [_recorded(reader, paper=bool(chosen))]


def _chosen(reader: LogReader, start: int | None) -> list[Span]:
    found = [span for span in spans(reader) if span.first <= reader.last_seq]
    if start is None:
        return found
    mine = [span for span in found if span.start.number == start]
    if not mine:
        there = f"there are 1 to {found[-1].start.number}" if found else "nobody traded on it"
        raise ConfigError(f"{reader.folder} has no start {start} that is sealed; {there}")
    return mine


def _orders(reader: LogReader, span: Span, learnt: dict[str, Learnt], clocks: Mapping[str, Clock]) -> tuple[Trace, ...]:
    """Learn the orders of a start."""
    reports = [row for row in reader.rows("reports", select=span.selection) if row["start"] == span.start.number]
    mine = [row for row in reports if span.first <= row["seq"] <= span.last and row["order"] is not None]
    commands = [row for _, row in reader.outputs(kinds=("commands",), select=span.selection)]
    orders = tuple(traces(commands, mine))
    clocks = _stepped(clocks, mine, orders)
    for one in orders:
        learnt.setdefault(one.venue, Learnt())
    learn_orders(learnt, orders, clocks, _books(reader, span, orders, clocks, learnt))
    return orders


def _stepped(clocks: Mapping[str, Clock], reports: Sequence[Mapping[str, Any]], orders: Sequence[Trace]) -> dict[str, Clock]:
    """The clocks with the steps of the times that reports have."""
    told: dict[str, list[int]] = {one.venue: [] for one in orders}
    for row in reports:
        if row["ts_event"] is not None:
            told.setdefault(row["venue"], []).append(row["ts_event"])
    return {venue: clocks.get(venue, Clock())._replace(step=step_of(times)) for venue, times in told.items()}


def _books(
    reader: LogReader, span: Span, orders: Sequence[Trace], clocks: Mapping[str, Clock], learnt: Mapping[str, Learnt]
) -> dict[Key, Held]:
    """What the books held for each order that was heard of at once, as it was decided and as it came."""
    heard = [one for one in orders if one.heard is not None and not one.is_asked]
    if not heard:
        return {}
    usual = {venue: quantile(sorted(one.feed), 0.5) or 0 for venue, one in learnt.items()}
    rows = rows_around(reader, span, heard, clocks, usual)
    probes = []
    for one in heard:
        assert one.heard is not None
        came = one.decided + (one.heard - one.decided) // 2 if one.told is None else clocks[one.venue].ours(one.told, one.heard)
        seq = rows[one.venue].last_before(came) if one.venue in rows else None
        probes.append(Probe(one.after_seq, (one.order, DECIDED), one))
        probes.append(Probe(max(one.after_seq, -1 if seq is None else seq), (one.order, ARRIVED), one))
    ground = ground_of(span.start, reader.known_at(span.first), max(reader.connections, 1))
    return held(reader, span, ground, probes)


def _part(reader: LogReader, span: Span, orders: tuple[Trace, ...]) -> Part:
    times = [
        int(ts)
        for kind in _TOLD
        for part in reader.tables(kind, (), span.selection)
        for ts in (pc.min(part.column("ts_recv")).as_py(), pc.max(part.column("ts_recv")).as_py())
    ]
    return Part(reader.folder, reader.header.log_id, reader.digest, span, LIVE, min(times), max(times), orders)


def _recorded(reader: LogReader, *, paper: bool) -> Part:
    segments = reader.manifest.segments
    if not segments:
        raise ConfigError(f"{reader.folder}: nothing of it is sealed yet; try again after the next seal")
    mode = "paper" if paper else "recorded"
    return Part(reader.folder, reader.header.log_id, reader.digest, None, mode, segments[0].first_ts, segments[-1].last_ts)


def named(part: Part) -> str:
    """A part in a few words."""
    return part.folder.resolve().name + (f", start {part.number}" if part.span is not None else "")


def spanned(part: Part) -> tuple[str, str]:
    """Its first and last time as text."""
    begin, end = moment_of(part.begin_ts), moment_of(part.end_ts)
    assert begin is not None
    assert end is not None
    return begin, end
