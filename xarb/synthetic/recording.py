"""Writes the synthetic market as a log, by the rules of any log."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from heapq import heapify, heapreplace
from operator import attrgetter
from pathlib import Path
from typing import Any, Final, NamedTuple

from xarb.errors import ConfigError
from xarb.log.manifest import Header
from xarb.log.rows import to_table, tuples_to_table
from xarb.log.writer import LogWriter
from xarb.model.units import NANOS_PER_MS, NANOS_PER_S
from xarb.synthetic.draws import Draws
from xarb.synthetic.market import FEEDS, START_NS, Market
from xarb.synthetic.streams import Line, Placed, Stream, open_lines
from xarb.wires.events import LinkEvent, RejectEvent, WireEvent
from xarb.wires.rows import Link, RowBuilder

SEED: Final = 20260105
EVENTS: Final = 200_000
MIN_EVENTS: Final = 1_000
MAX_EVENTS: Final = 20_000_000
ORIGIN: Final = "synthetic market made by xarb.synthetic; not real data"
_FLUSH: Final = 131_072
_HEARTBEAT_NS: Final = 500 * NANOS_PER_MS
_HEALTH_NS: Final = 10 * NANOS_PER_S


class _Unreadable(NamedTuple):
    """A frame that the recorder could not use, at this part per thousand of the recording."""

    at: int
    venue: str
    symbol: str | None
    rule: str
    detail: str
    payload: str


_UNREADABLE: Final = (
    _Unreadable(
        205, "bravo", "SOL/USDT", "bad_number", "not a decimal number: 'NaN'", '{"s":"SOLUSDT","b":"NaN","B":"1.20","a":"137.02"}'
    ),
    _Unreadable(510, "alpha", None, "malformed", "no JSON: cut off after 38 bytes", '{"stream":"btcusdt@ticker","data":{"s":'),
    _Unreadable(
        805, "charlie", "DOGE/USDT", "unknown_instrument", "no instrument DOGE/USDT@charlie", '{"i":"DOGEUSDT","b":"0.14"}'
    ),
)


def make_quickstart(folder: Path | str, *, seed: int = SEED, events: int = EVENTS) -> Path:
    """Write a synthetic market of about `events` rows (8.4 ms of market time each) as a new log, and return its folder.

    The log is that of a recorder: inputs only, over midnight UTC. Its header and its instruments say that it is synthetic.

    Args:
        folder: where the log goes; it must not exist yet, or be empty.
        seed: any integer from 0; other seeds are other markets with the same mishaps.
        events: 1,000 to 20,000,000; the count is met within a few percent.

    Raises:
        ConfigError: the folder is taken, a number is out of range, or the shipped instruments lack those of the market.
    """
    if seed < 0:
        raise ConfigError(f"seed must be 0 or more, not {seed}")
    if not MIN_EVENTS <= events <= MAX_EVENTS:
        raise ConfigError(f"events must be {MIN_EVENTS:,} to {MAX_EVENTS:,}, not {events:,}")
    folder = Path(folder)
    market = Market(seed, events)
    placed = _in_order(market)
    log_id = hashlib.sha256(f"synthetic {seed} {events}".encode()).hexdigest()[:16]
    header = Header(kind="log", log_id=log_id, origin=f"{ORIGIN}; seed {seed}, events {events}", seed=seed)
    with LogWriter.create(folder, header) as writer:
        _write(writer, placed)
    return folder


def _in_order(market: Market) -> list[Placed]:
    """All rows of the market by receive time; ties stand as they were made."""
    lines = open_lines(market)
    streams = [Stream(market, feed, lines[feed.venue, feed.line]) for feed in FEEDS]
    heap = [(stream.next, number) for number, stream in enumerate(streams)]
    heapify(heap)
    while heap[0][0] < market.end:
        number = heap[0][1]
        streams[number].step()
        heapreplace(heap, (streams[number].next, number))
    placed = [row for line in lines.values() for row in _life(market, line)]
    placed.extend(_health(market, lines))
    placed.sort(key=attrgetter("ts_recv"))
    return placed


def _life(market: Market, line: Line) -> Iterator[Placed]:
    """The rows of a connection between its connects, losses and heartbeats; what was under way when it was lost never arrives."""
    venue = line.link.venue
    lost = [(start, start + lasts) for start, lasts, s in market.spells if s.what == "lost" and s.venue == venue]
    silent = [(start, start + lasts) for start, lasts, s in market.spells if s.what == "silence" and s.venue == venue]
    acts: list[tuple[int, WireEvent]] = [(START_NS, LinkEvent(venue, None, "opened", "synthetic"))]
    for start, stop in lost:
        acts.append((start, LinkEvent(venue, None, "lost", "no answer to a ping")))
        acts.append((stop, LinkEvent(venue, None, "opened", "reconnected")))
    for odd in _UNREADABLE:
        if odd.venue == venue and line.number == 0:
            at = START_NS + odd.at * market.length // 1000
            acts.append((at, RejectEvent(odd.rule, odd.detail, odd.payload, venue, odd.symbol)))
    rows = [row for row in line.rows if not any(start <= row.ts_recv < stop for start, stop in lost)]
    rows.extend(Placed(ts, line.link, event) for ts, event in acts)
    end = max(market.end, line.last) + NANOS_PER_MS
    rows.append(Placed(end, line.link, LinkEvent(venue, None, "closed", "end of the recording")))
    rows.sort(key=attrgetter("ts_recv"))
    before = START_NS
    for row in rows:
        for ts in range(before + _HEARTBEAT_NS, row.ts_recv, _HEARTBEAT_NS):
            if not any(start <= ts < stop for start, stop in (*lost, *silent)):
                yield Placed(ts, line.link, LinkEvent(venue, None, "heartbeat"))
        before = row.ts_recv
        yield row


def _health(market: Market, lines: dict[tuple[str, int], Line]) -> Iterator[Placed]:
    """Readings of the recorder's machine every ten seconds."""
    draws, link = Draws(market.seed, "health"), Link(-1, "", "")
    free = 400 * 10**9
    for ts in range(START_NS + NANOS_PER_S, market.end, _HEALTH_NS):
        free -= draws.below(2_000_000)
        yield Placed(ts, link, None, (None, "clock_offset_ns", draws.bell(400_000)))
        yield Placed(ts, link, None, (None, "disk_free_bytes", free))
        yield Placed(ts, link, None, (None, "queue_rows", draws.wait(12)))
        for line in lines.values():
            if line.number == 0:
                lag = line.venue.latency + draws.wait(line.venue.jitter)
                yield Placed(ts, link, None, (line.link.venue, "feed_lag_ns", lag))


def _write(writer: LogWriter, placed: list[Placed]) -> None:
    builder = RowBuilder()
    health: list[dict[str, Any]] = []
    for row in placed:
        if row.event is None:
            venue, metric, value = row.health
            reading = {"seq": builder.next_seq, "ts_recv": row.ts_recv, "venue": venue, "metric": metric, "value": value}
            builder.next_seq += 1
            builder.last_ts = row.ts_recv
            health.append(reading)
            continue
        if isinstance(row.event, LinkEvent) and row.event.detail == "reconnected":
            row.link.epoch += 1
        builder.add(row.ts_recv, row.link, row.event)
        if builder.held >= _FLUSH:
            _flush(writer, builder, health)
    _flush(writer, builder, health)


def _flush(writer: LogWriter, builder: RowBuilder, health: list[dict[str, Any]]) -> None:
    for kind, rows in builder.take().items():
        writer.write(kind, tuples_to_table(kind, rows))
    writer.write("health", to_table("health", health))
    health.clear()
    writer.commit()
