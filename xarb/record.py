"""The record verb: live market data of many venues into one log, until someone stops it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import secrets
import shutil
import signal
import tempfile
from collections.abc import Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import aiohttp
import msgspec

from xarb.board import Board
from xarb.config import RecordConfig
from xarb.console import Table
from xarb.errors import ConfigError, LogError
from xarb.imports.run import LogState, state_of
from xarb.log import manifest
from xarb.log.committer import Policy
from xarb.log.info import info
from xarb.log.livelog import LiveLog
from xarb.log.manifest import Header
from xarb.log.reader import LogReader
from xarb.model.instrument import Instrument
from xarb.model.units import NANOS_PER_MS, NANOS_PER_S
from xarb.venues.clock import Clock
from xarb.venues.feeds import Feeds, Source, listings_of, load_all
from xarb.venues.intake import Intake
from xarb.venues.stream import StreamPolicy
from xarb.wires.decimals import Listing
from xarb.wires.rows import Row, RowBuilder

_DAY_S: Final = 86_400
_TICK_S: Final = 1.0
_READINGS_S: Final = 60.0
_LATE_NS: Final = 100 * NANOS_PER_MS  # a loop that comes round so late was blocked: what arrived meanwhile has a late ts_recv
_MB: Final = 10**6
_Made = TypeVar("_Made")


class RecordReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a recording wrote: rows by kind, the range of seq, seconds from the first connection to the stop; and its feeds, as printed."""

    log: str
    first_seq: int
    last_seq: int
    seconds: float
    rows: dict[str, int]
    feeds: Table


def run_loop(main: Coroutine[Any, Any, _Made]) -> _Made:
    """Run a coroutine on the fastest event loop that is there."""
    try:
        import uvloop
    except ImportError:  # no wheels for this platform
        return asyncio.run(main)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


def record(
    sources: Sequence[Source],
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


@contextlib.contextmanager
def stop_on_signals() -> Iterator[asyncio.Event]:
    """An event that SIGINT and SIGTERM set, in place of what they do else."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    try:
        yield stop
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


def open_log(folder: Path, origin: str, policy: Policy) -> tuple[LiveLog, LogState, list[Instrument]]:
    """A log to write on: one that is there goes on, else it is made; with what is known of its end.

    Raises:
        ConfigError: the folder is something else.
        LogError: another writer has it, or it is damaged.
    """
    if not (folder / manifest.NAME).is_file():
        header = Header(kind="log", log_id=secrets.token_hex(8), origin=origin)
        return LiveLog.create(folder, header, policy), LogState(), []
    log = LiveLog.open(folder, policy)
    try:
        with LogReader(folder) as reader:
            return log, state_of(reader), reader.instruments_at(reader.last_seq + 1)
    except BaseException:  # an interrupt among them: the log must not stay claimed
        log.abandon()
        raise


class Recorder:
    """One recording.

    Attributes:
        feeds, log, intake: its parts, there once it runs.
    """

    feeds: Feeds
    log: LiveLog
    intake: Intake

    def __init__(self, sources: Sequence[Source], folder: Path, config: RecordConfig, policy: Policy) -> None:
        for source in sources:
            source.wire()
        self._sources, self._folder, self._config, self._policy = sources, folder, config, policy
        self._seal_error: str | None = None

    async def run(self, duration_s: float | None, board: Board) -> RecordReport:
        """Record until a signal or the end of the duration."""
        with stop_on_signals() as stop:
            instruments = await self._until(stop, load_all(self._sources))
            if instruments is None:
                raise ConfigError("stopped before anything was recorded")
            origin = "record of " + ", ".join(f"{one.venue} ({' '.join(one.symbols)})" for one in self._sources)
            log, state, known = open_log(self._folder, origin[:1000], self._policy)
            async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
                with log:
                    listings = listings_of(instruments, state.scales)
                    return await self._record(log, state, known, listings=listings, http=http, ends=(stop, duration_s, board))

    async def _until(self, stop: asyncio.Event, work: Coroutine[Any, Any, _Made]) -> _Made | None:
        """The result of `work`, None when the stop comes first."""
        task, stopped = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
            return task.result() if task.done() else None
        finally:
            for one in (task, stopped):
                one.cancel()
            await asyncio.gather(task, stopped, return_exceptions=True)

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
        self.log, self.intake = log, Intake(builder, clock, self._deliver, keeps_frames=self._config.frames)
        policy = StreamPolicy(age_s=float(self._config.max_age_ms) / 1000)
        self.feeds = Feeds(self._sources, listings, intake=self.intake, http=http, first_conn=state.next_conn, policy=policy)
        first, began = builder.next_seq, clock.now()
        self._begin(listings, known)
        gc.collect()
        gc.freeze()  # what was built so far stays: later collections need not look at it
        tasks = [asyncio.ensure_future(self.feeds.run()), asyncio.ensure_future(self._look_after(board, began))]
        ended = asyncio.ensure_future(stop.wait())
        try:
            anything: set[asyncio.Future[Any]] = {*tasks, ended, self.intake.failure}
            await asyncio.wait(anything, timeout=duration_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (*tasks, ended):
                task.cancel()
            await asyncio.gather(*tasks, ended, return_exceptions=True)
            self.intake.flush()
            gc.unfreeze()
        for one in (self.intake.failure, *tasks):
            if one.done() and not one.cancelled() and (error := one.exception()) is not None:
                raise error
        seconds = (clock.now() - began) / NANOS_PER_S
        rows = {kind: count for kind, count in builder.counts.items() if count}
        feeds = board.feed_table(self.feeds.streams, clock.now(), "Feeds")
        return RecordReport(
            log=str(self._folder), first_seq=first, last_seq=builder.next_seq - 1, seconds=seconds, rows=rows, feeds=feeds
        )

    def _deliver(self, parts: dict[str, list[Row]]) -> None:
        self.log.append(parts)
        self.log.write()

    def _begin(self, listings: dict[str, list[Listing]], known: Sequence[Instrument]) -> None:
        """What the log must say before the first message: its clock, and what changed about its instruments."""
        ahead = self.intake.clock.ahead_ns
        if ahead:
            self.intake.health(
                "clock_behind_log_ns", ahead, None, "the wall clock lies before the log's end; time goes on from there"
            )
        before = {(one.venue, one.symbol): one for one in known}
        for mine in listings.values():
            for listing in mine:
                self.intake.announce(listing, again=_is_news(before.get(listing.key), listing.instrument))

    async def _look_after(self, board: Board, began: int) -> None:
        """Once a second: the wall clock, the disk, the journal, the event loop; and the board."""
        intake, clock = self.intake, self.intake.clock
        loop = asyncio.get_running_loop()
        due, readings_at = loop.time() + _TICK_S, 0.0
        while True:
            await asyncio.sleep(due - loop.time())
            late_ns = round((loop.time() - due) * NANOS_PER_S)
            due = max(due + _TICK_S, loop.time())
            if late_ns >= _LATE_NS:
                intake.health("loop_late_ns", late_ns)
            step = clock.step()
            if step is not None:
                intake.health("clock_step_ns", step, None, "the wall clock was set; ts_recv goes on as before")
            self._look_at_log()
            if loop.time() >= readings_at:
                readings_at = loop.time() + _READINGS_S
                self._take_readings()
            board.update(self.feeds.streams, clock.now(), self.log.stats, (clock.now() - began) / NANOS_PER_S)

    def _look_at_log(self) -> None:
        """The disk and the seals: raw messages are left out first."""
        if self.log.is_full:
            raise LogError(f"{self._folder}: the disk is full; the recording stops, and what was written is sealed")
        seal_error = self.log.stats.seal_error
        if seal_error != self._seal_error:
            self._seal_error = seal_error
            self.intake.health("seal_failed", int(seal_error is not None), None, seal_error)
        free = shutil.disk_usage(self._folder).free
        wanted = self._config.frames and free >= self._config.frames_free_mb * _MB
        if wanted != self.intake.keeps_frames:
            self.intake.keeps_frames = wanted
            self.intake.health("frames_kept", int(wanted), None, f"{free // _MB} MB of disk are free")

    def _take_readings(self) -> None:
        """Once a minute."""
        stats = self.log.stats
        self.intake.health("clock_drift_ns", self.intake.clock.drift())
        self.intake.health("journal_write_p99_ns", stats.write.p99)
        self.intake.health("journal_sync_p99_ns", stats.sync.p99)
        self.intake.health("disk_free_mb", shutil.disk_usage(self._folder).free // _MB)


def _is_news(before: Instrument | None, now: Instrument) -> bool:
    """Whether the log knows an instrument but for something other than its scales, which grow by themselves."""
    if before is None:
        return False
    same_scales = msgspec.structs.replace(now, px_scale=before.px_scale, qty_scale=before.qty_scale, origin=before.origin)
    finer = (before.px_scale - now.px_scale, before.qty_scale - now.qty_scale)
    steps = [
        None if step is None or decimals < 0 else step * 10**decimals
        for step, decimals in zip((now.tick_int, now.lot_int), finer, strict=True)
    ]
    return msgspec.structs.replace(same_scales, tick_int=steps[0], lot_int=steps[1]) != before


def estimate(sources: Sequence[Source], *, config: RecordConfig, seconds: float, board: Board | None = None) -> Table:
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
    )
    rows = tuple((kind, f"{count}") for kind, count in report.rows.items())
    return [Table("Recorded", ("what", "value"), what), Table("Rows by kind", ("kind", "rows"), rows), report.feeds]
