"""What every process that writes a live log does beside its own work: it opens the log, says what it knows, and looks after clock and disk."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from xarb.config import RecordConfig
from xarb.errors import LogError
from xarb.imports.run import LogState, state_of
from xarb.log import manifest
from xarb.log.committer import Policy
from xarb.log.ends import left_off
from xarb.log.livelog import LiveLog
from xarb.log.manifest import Header, Manifest
from xarb.log.reader import LogReader
from xarb.model.instrument import Instrument
from xarb.model.units import NANOS_PER_MS, NANOS_PER_S
from xarb.venues.clock import Clock
from xarb.venues.intake import Intake
from xarb.venues.markets import is_news
from xarb.wires.decimals import Listing

_TICK_S: Final = 1.0
_READINGS_S: Final = 60.0
_LATE_NS: Final = 100 * NANOS_PER_MS  # a loop that comes round so late was blocked: what arrived meanwhile has a late ts_recv
_MB: Final = 10**6


class Opened(NamedTuple):
    """A log to write on, with what is known of its end: its instruments in their latest form, and what is sealed of it."""

    log: LiveLog
    state: LogState
    known: list[Instrument]
    sealed: Manifest


def open_log(folder: Path, origin: str, policy: Policy) -> Opened:
    """A log to write on: one that is there goes on, else it is made.

    Where the process of its last start died, a row says first that nothing from there on was applied by that start.

    Raises:
        ConfigError: the folder is something else.
        LogError: another writer has it, or it is damaged.
    """
    if not (folder / manifest.NAME).is_file():
        header = Header(kind="log", log_id=secrets.token_hex(8), origin=origin)
        return Opened(LiveLog.create(folder, header, policy), LogState(), [], Manifest(folder))
    log, sealed = LiveLog.open_with(folder, policy)
    try:
        with LogReader(folder, found=sealed) as reader:
            state, known = state_of(reader), reader.instruments_at(reader.last_seq + 1)
            rows = left_off(reader, Clock(log.last_ts).now(), f"process {os.getpid()}")
            if rows:
                log.append({"operator": rows})
                log.write()
            return Opened(log, state, known, sealed)
    except BaseException:  # an interrupt among them: the log must not stay claimed
        log.abandon()
        raise


def announce_all(intake: Intake, listings: Mapping[str, Sequence[Listing]], known: Sequence[Instrument]) -> None:
    """What a log must say before the first message: its clock, and what changed about its instruments.

    Args:
        intake: takes it.
        listings: by venue.
        known: the log's instruments in their latest form.
    """
    ahead = intake.clock.ahead_ns
    if ahead:
        intake.health("clock_behind_log_ns", ahead, None, "the wall clock lies before the log's end; time goes on from there")
    before = {(one.venue, one.symbol): one for one in known}
    for mine in listings.values():
        for listing in mine:
            intake.announce(listing, again=is_news(before.get(listing.key), listing.instrument))


class Upkeep:
    """Looks after a log that is being written; `run` it until it is cancelled.

    Args:
        intake: takes the readings.
        log: whose disk and seals are looked at.
        config: the `[record]` section.
    """

    def __init__(self, intake: Intake, log: LiveLog, config: RecordConfig) -> None:
        self._intake, self._log, self._config = intake, log, config
        self._seal_error: str | None = None
        self._checkpoint_error: str | None = None

    async def run(self, looked: Callable[[], None], stepped: Callable[[int], None] | None = None) -> None:
        """Once a second: the wall clock, the disk, the journal, the event loop; then `looked`. `stepped` is told by how much the wall was set, ns.

        Raises:
            LogError: the disk is full.
        """
        intake, clock = self._intake, self._intake.clock
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
                if stepped is not None:
                    stepped(step)
            self._look_at_log()
            if loop.time() >= readings_at:
                readings_at = loop.time() + _READINGS_S
                self._take_readings()
            looked()

    def _look_at_log(self) -> None:
        """The disk and the seals: raw messages are left out first."""
        folder = self._log.folder
        if self._log.is_full:
            raise LogError(f"{folder}: the disk is full; the process stops, and the next start seals what was written")
        stats = self._log.stats
        seal_error, checkpoint_error = stats.seal_error, stats.checkpoint_error
        if seal_error != self._seal_error:
            self._seal_error = seal_error
            self._intake.health("seal_failed", int(seal_error is not None), None, seal_error)
        if checkpoint_error != self._checkpoint_error:
            self._checkpoint_error = checkpoint_error
            self._intake.health("checkpoint_failed", int(checkpoint_error is not None), None, checkpoint_error)
        free = shutil.disk_usage(folder).free
        wanted = self._config.frames and free >= self._config.frames_free_mb * _MB
        if wanted != self._intake.keeps_frames:
            self._intake.keeps_frames = wanted
            self._intake.health("frames_kept", int(wanted), None, f"{free // _MB} MB of disk are free")

    def _take_readings(self) -> None:
        """Once a minute."""
        stats = self._log.stats
        self._intake.health("clock_drift_ns", self._intake.clock.drift())
        self._intake.health("journal_write_p99_ns", stats.write.p99)
        self._intake.health("journal_sync_p99_ns", stats.sync.p99)
        self._intake.health("disk_free_mb", shutil.disk_usage(self._log.folder).free // _MB)
