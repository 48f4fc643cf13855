"""The record verb: live market data of many venues into one log, until someone stops it."""

from __future__ import annotations

import asyncio
import gc
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import aiohttp
import msgspec

from xarb.board import Board
from xarb.config import FeedConfig, RecordConfig
from xarb.console import Table
from xarb.errors import Interrupted
from xarb.imports.run import LogState
from xarb.log.committer import Policy
from xarb.log.info import info
from xarb.log.livelog import LiveLog
from xarb.log.manifest import last_digest
from xarb.model.instrument import Instrument
from xarb.model.units import NANOS_PER_S
from xarb.process import notify, run_loop, stop_on_signals, unless_stopped
from xarb.settings import nanos
from xarb.upkeep import Upkeep, announce_all, open_log
from xarb.venues.clock import Clock
from xarb.venues.feeds import AnySource, Connection, Feeds, Source, listings_of, load_all
from xarb.venues.intake import Intake
from xarb.venues.quality import Limits, Quality
from xarb.venues.relisting import Relisting
from xarb.venues.stream import StreamPolicy
from xarb.wires.decimals import Listing
from xarb.wires.rows import Row, RowBuilder

_DAY_S: Final = 86_400


class RecordReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a recording wrote: rows by kind, the range of seq, and its feeds as printed.

    `seconds` run from the first connection to the stop; `digest` is that of the log's last line, after everything was sealed.
    """

    log: str
    first_seq: int
    last_seq: int
    seconds: float
    rows: dict[str, int]
    feeds: Table
    digest: str = ""


def record(
    sources: Sequence[AnySource],
    folder: Path | str,
    *,
    config: RecordConfig | None = None,
    duration_s: float | None = None,
    board: Board | None = None,
    policy: Policy | None = None,
) -> RecordReport:
    """Record into a log, new or existing, until SIGINT, SIGTERM or the end of the duration; then seal it.

    Args:
        sources: venues and symbols.
        folder: a log that goes on, an empty folder, or one that does not exist yet.
        config: the `[record]` section.
        duration_s: seconds after which it stops by itself, None for never.
        board: shows how it goes.
        policy: how the log is written.

    Raises:
        ConfigError: an exchange, symbol or channel does not exist, or the folder is something else.
        Retryable: an exchange could not be reached at the start.
        LogError: another writer has the log, it is damaged, or it cannot be written any more.
    """
    recorder = Recorder(sources, Path(folder), config or RecordConfig(), policy or Policy())
    return run_loop(recorder.run(duration_s, board or Board(None)))


class Recorder:
    """One recording.

    Attributes:
        feeds, log, intake: its parts, there once it runs.
    """

    feeds: Feeds
    log: LiveLog
    intake: Intake

    def __init__(self, sources: Sequence[AnySource], folder: Path, config: RecordConfig, policy: Policy) -> None:
        for source in sources:
            if isinstance(source, Source):
                source.wire()
        self._sources, self._folder, self._config, self._policy = sources, folder, config, policy

    async def run(self, duration_s: float | None, board: Board) -> RecordReport:
        """Record until a signal or the end of the duration."""
        with stop_on_signals() as stop:
            instruments = await unless_stopped(stop, load_all(self._sources))
            if instruments is None:
                raise Interrupted("stopped before anything was recorded")
            origin = "record of " + ", ".join(f"{one.venue} ({' '.join(one.symbols)})" for one in self._sources)
            log, state, known = open_log(self._folder, origin[:1000], self._policy)[:3]
            async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
                with log:
                    listings = listings_of(instruments, state.scales)
                    report = await self._record(log, state, known, listings=listings, http=http, ends=(stop, duration_s, board))
                return msgspec.structs.replace(report, digest=last_digest(self._folder))

    async def _record(
        self,
        log: LiveLog,
        state: LogState,
        known: Sequence[Instrument],
        *,
        listings: dict[str, list[Listing]],
        http: aiohttp.ClientSession,
        ends: tuple[asyncio.Event, float | None, Board],
    ) -> RecordReport:
        stop, duration_s, board = ends
        clock = Clock(log.last_ts)
        builder = RowBuilder(log.last + 1, log.last_ts, state.scales)
        keeps_frames, self._quality = self._config.frames, self._scores(listings)
        self.log, self.intake = log, Intake(builder, clock, self._deliver, keeps_frames=keeps_frames, quality=self._quality)
        policy = StreamPolicy(age_s=float(self._config.max_age_ms) / 1000)
        self.feeds = Feeds(self._sources, listings, intake=self.intake, http=http, first_conn=state.next_conn, policy=policy)
        first, began = builder.next_seq, clock.now()
        announce_all(self.intake, listings, known)
        upkeep = Upkeep(self.intake, log, self._config)
        gc.collect()
        gc.freeze()  # what was built so far stays: later collections need not look at it
        markets = [one for one in self._sources if isinstance(one, Source)]
        relisting = Relisting(markets, listings, self.intake, every_s=self._config.instruments_ms / 1000)
        works = (self.feeds.run(), relisting.run(), upkeep.run(lambda: self._show(board, began)))
        tasks = [asyncio.ensure_future(work) for work in works]
        ended = asyncio.ensure_future(stop.wait())
        notify("READY=1")
        try:
            anything: set[asyncio.Future[Any]] = {*tasks, ended, self.intake.failure}
            await asyncio.wait(anything, timeout=duration_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            notify("STOPPING=1")
            seconds = (clock.now() - began) / NANOS_PER_S
            title = "Feeds, as they were at the stop"
            feeds = board.feed_table(self.feeds.streams, clock.now(), title, scores=self._score)
            for task in (*tasks, ended):
                task.cancel()
            await asyncio.gather(*tasks, ended, return_exceptions=True)
            self.intake.flush()
            gc.unfreeze()
        for one in (self.intake.failure, *tasks):
            if one.done() and not one.cancelled() and (error := one.exception()) is not None:
                raise error
        rows = {kind: count for kind, count in builder.counts.items() if count}
        return RecordReport(
            log=str(self._folder), first_seq=first, last_seq=builder.next_seq - 1, seconds=seconds, rows=rows, feeds=feeds
        )

    def _show(self, board: Board, began: int) -> None:
        now = self.intake.clock.now()
        notify("WATCHDOG=1")  # the loop turns, and the log was looked after
        board.update(self.feeds.streams, now, self.log.stats, (now - began) / NANOS_PER_S, scores=self._score)

    def _scores(self, listings: dict[str, list[Listing]]) -> Quality:
        """The quality of all feeds, by the limits of a config that says nothing else."""
        usual = FeedConfig()
        limits = Limits(nanos(usual.max_latency_ms), nanos(usual.future_ms), nanos(usual.score_ms))
        return Quality(limits, {one.key: source.subscribed() for source in self._sources for one in listings[source.venue]})

    def _score(self, stream: Connection) -> int | None:
        return self._quality.lowest((one.key for one in stream.feed.listings), self.intake.clock.now())

    def _deliver(self, parts: dict[str, list[Row]]) -> None:
        self.log.append(parts)
        self.log.write()


def estimate(sources: Sequence[AnySource], *, config: RecordConfig, seconds: float, board: Board | None = None) -> Table:
    """Record for a while into a folder that is then removed, and say what a day would take of the disk.

    Raises:
        ConfigError: as `record`.
        Retryable: as `record`.
        LogError: as `record`.
    """
    with tempfile.TemporaryDirectory(prefix="xarb-estimate-") as place:
        folder = Path(place) / "log"
        report = record(sources, folder, config=config, duration_s=seconds, board=board)
        kinds = info(folder).kinds
        days = _DAY_S / report.seconds
        rows = [
            (kind, f"{one.rows}", f"{one.rows / report.seconds:.1f}", f"{one.bytes_per_row:.1f}", f"{one.bytes * days / 1e9:.3f}")
            for kind, one in sorted(kinds.items(), key=lambda item: -item[1].bytes)
        ]
        count, size = sum(one.rows for one in kinds.values()), sum(one.bytes for one in kinds.values())
        rows.append(("all", f"{count}", f"{count / report.seconds:.1f}", f"{size / max(count, 1):.1f}", f"{size * days / 1e9:.3f}"))
    title = f"Disk space, from {report.seconds:.0f} s of recording; short files compress less, so a day takes rather less"
    return Table(title, ("table", "rows", "rows/s", "bytes a row", "GB a day"), tuple(rows))


def report_tables(report: RecordReport) -> list[Table]:
    """What a recording wrote, as tables."""
    what = (
        ("log", report.log),
        ("seq", f"{report.first_seq} to {report.last_seq}"),
        ("seconds", f"{report.seconds:.1f}"),
        ("digest", report.digest),
    )
    rows = tuple((kind, f"{count}") for kind, count in report.rows.items())
    return [Table("Recorded", ("what", "value"), what), Table("Rows by kind", ("kind", "rows"), rows), report.feeds]
