"""The watch verb: follow a log from another process, serve its metrics, tell people what is wrong with it."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import aiohttp

from xarb.config.watch import AlertConfig, WatchConfig
from xarb.errors import ConfigError, LogError, Retryable
from xarb.log.claim import LOCK, is_claimed
from xarb.log.follow import Follower, last_ts_of
from xarb.log.journal import FOLDER
from xarb.log.manifest import last_digest
from xarb.model.units import NANOS_PER_S
from xarb.process import notify, run_loop, stop_on_signals
from xarb.venues.keys import Redactor
from xarb.watch.channels import Channel, Say, Target, minute_of, request, target_of
from xarb.watch.daily import summary
from xarb.watch.endpoint import endpoint
from xarb.watch.exposition import exposition
from xarb.watch.rules import Condition, News, Notice, Place, conditions
from xarb.watch.state import ALWAYS, KINDS, Watched

_TICK_S: Final = 1.0
_LAST_PORT: Final = 65_535
_FAREWELL_S: Final = 10.0  # how long a stop waits for messages that are on their way
_DAY_NS: Final = 86_400 * NANOS_PER_S
_MINUTE_NS: Final = 60 * NANOS_PER_S
NOBODY: Final[tuple[AlertConfig, ...]] = ()  # to be told
_GONE: Final = ("dead", "stopped", "silent", "unreadable")  # with one of these no heartbeat goes out


class Watch:
    """One log, watched. Use as a context manager.

    Args:
        folder: the log.
        config: the `[watch]` section.
        now: the clock, ns.

    Raises:
        ConfigError: the folder is no log.
        LogError: it is damaged.
    """

    def __init__(self, folder: Path, config: WatchConfig, *, now: Callable[[], int] = time.time_ns) -> None:
        self.folder, self.config = folder, config
        self.state = Watched(tuple(config.drawdown))
        self.found: list[Condition] = []
        self._now = now
        today = now() // _DAY_NS * _DAY_NS
        start = last_ts_of(folder, "starts")
        self._follower = Follower(folder, KINDS, always=ALWAYS, since=today if start is None else min(start, today))
        self._news = News(config.repeat_s)
        self._trouble: str | None = None
        self._redact = Redactor()

    def look(self) -> list[Notice]:
        """Read what came; what is news of it."""
        try:
            self.state.take(self._follower.take())
            self._trouble = None
        except (LogError, OSError) as error:
            self._trouble = self._redact(str(error))
        place = self.place()
        self.found = conditions(self.state, place, self.config)
        return self._news.look(place.now, self.found)

    def place(self) -> Place:
        """What the machine says now."""
        try:
            claimed_at = (self.folder / LOCK).stat().st_mtime_ns
        except OSError:
            claimed_at = 0
        try:
            disk_free: int | None = shutil.disk_usage(self.folder).free
        except OSError:
            disk_free = None
        return Place(
            now=self._now(),
            claimed=is_claimed(self.folder),
            claimed_at=claimed_at,
            is_sealed=not (self.folder / FOLDER).is_dir(),
            disk_free=disk_free,
            trouble=self._trouble,
        )

    @property
    def is_written(self) -> bool:
        """Whether a process writes the log, as of the last look."""
        return not any(one.rule in _GONE for one in self.found)

    def head(self) -> str | None:
        """The digest of the last sealed line, None where it cannot be read."""
        try:
            return last_digest(self.folder)
        except (LogError, OSError):
            return None

    def metrics(self) -> str:
        """All metrics, as of the last look."""
        return exposition(self.state, self.place())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._follower.close()


def metrics_once(folder: Path, config: WatchConfig) -> str:
    """The metrics of a log as it stands.

    Raises:
        ConfigError: the folder is no log.
        LogError: it is damaged.
    """
    with Watch(folder, config) as watch:
        watch.look()
        return watch.metrics()


def port_of(text: str | None) -> int | None:
    """A port as it is given on the command line.

    Raises:
        ConfigError: it is no port.
    """
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and int(text) <= _LAST_PORT):
        raise ConfigError(f"--metrics-port {text}: must be a number from 0 to {_LAST_PORT}")
    return int(text)


def watch(
    folder: Path, config: WatchConfig, alerts: Sequence[AlertConfig], *, environment: Mapping[str, str], say: Say, port: int | None
) -> None:
    """Watch a log until SIGINT or SIGTERM.

    Args:
        folder: the log.
        config: the `[watch]` section.
        alerts: the `[[alerts]]` tables.
        environment: where their secrets are.
        say: prints a line for the person.
        port: in place of `watch.metrics_port`.

    Raises:
        ConfigError: the folder is no log, an alert lacks a key or a secret, the port is taken.
        LogError: the log is damaged at the start; later that is told as `unreadable`.
    """
    secrets = {name for one in alerts for name in (one.url_env, one.token_env) if name is not None}
    targets = [target_of(number, one, environment, secrets=secrets) for number, one in enumerate(alerts, start=1)]
    wanted = config.metrics_port if port is None else port
    run_loop(_run(Watch(folder, config), targets, say, None if port is None and not wanted else wanted))


async def _run(watch: Watch, targets: Sequence[Target], say: Say, port: int | None) -> None:
    with stop_on_signals() as stop:
        async with AsyncExitStack() as stack:
            stack.enter_context(watch)
            http = await stack.enter_async_context(aiohttp.ClientSession())
            told = [one for one in targets if one.config.kind != "heartbeat"]
            channels = [Channel(one, http, about=watch.folder.name, say=say) for one in told]
            tell(channels, watch.look())
            if port is not None:
                say(f"metrics at http://127.0.0.1:{await stack.enter_async_context(endpoint(port, watch.metrics))}/metrics")
            beats = [heartbeat(watch, one, http, say) for one in targets if one.config.kind == "heartbeat"]
            tasks = [asyncio.ensure_future(work) for work in (*(one.run() for one in channels), *beats, _look(watch, channels))]
            ended = asyncio.ensure_future(stop.wait())
            notify("READY=1")
            try:
                await asyncio.wait({*tasks, ended}, return_when=asyncio.FIRST_COMPLETED)
                notify("STOPPING=1")
                await asyncio.wait([asyncio.ensure_future(one.idle()) for one in channels] or [ended], timeout=_FAREWELL_S)
            finally:
                for task in (*tasks, ended):
                    task.cancel()
                found = await asyncio.gather(*tasks, return_exceptions=True)
            for one in found:
                if isinstance(one, Exception):
                    raise one


async def _look(watch: Watch, channels: Sequence[Channel]) -> None:
    """Look once a second, and once a day at length."""
    loop = asyncio.get_running_loop()
    due = loop.time()
    daily = [Daily(one) for one in channels if one.target.config.daily_at is not None]
    while True:
        due = max(due + _TICK_S, loop.time())
        await asyncio.sleep(due - loop.time())
        tell(channels, watch.look())
        for one in daily:
            one.look(watch)
        notify("WATCHDOG=1")


def tell(channels: Sequence[Channel], notices: Sequence[Notice]) -> None:
    """Hand each message to those who want it."""
    for notice in notices:
        for channel in channels:
            if channel.wants(notice.rule):
                channel.tell(notice)


class Daily:
    """Sends a summary when its time of day comes; one that was missed is not made up for."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._at = minute_of(channel.target.config.daily_at or "", channel.target.name) * _MINUTE_NS
        self._next: int | None = None

    def look(self, watch: Watch) -> None:
        """Send it if it is time."""
        place = watch.place()
        if self._next is not None and place.now >= self._next:
            self._channel.tell(Notice("daily", "", summary(watch.folder.name, watch.state, place, watch.found, head=watch.head())))
            self._next = None
        if self._next is None:
            days = (place.now - self._at) // _DAY_NS + 1
            self._next = days * _DAY_NS + self._at


async def heartbeat(watch: Watch, target: Target, http: aiohttp.ClientSession, say: Say) -> None:
    """Ask an address every so often while the log is written: who expects that notices when either process is gone."""
    loop = asyncio.get_running_loop()
    due = loop.time()
    is_good = True
    while True:
        if watch.is_written:
            try:
                await request(http, "GET", target, target.url)
                is_good = True
            except Retryable as error:
                if is_good:  # said once
                    say(target.redact(f"{target.name}: {error}"))
                is_good = False
        due = max(due + target.config.every_s, loop.time())
        await asyncio.sleep(due - loop.time())
