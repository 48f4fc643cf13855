"""Places that are told: webhooks, Telegram, commands. Each has a queue and a task of its own, so that a slow one holds up nobody."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, Protocol

import aiohttp
import msgspec

from xarb.config.watch import AlertConfig
from xarb.errors import ConfigError, Retryable
from xarb.venues.keys import Redactor
from xarb.watch.rules import Notice

TELEGRAM: Final = "https://api.telegram.org"
_WAITING: Final = 100  # messages that a channel holds
_TEXT_LIMIT: Final = 3_500  # Telegram takes 4,096 characters
_RESTS_S: Final = (1.0, 2.0, 5.0, 15.0, 30.0, 60.0)  # between the tries of one message
_REST_LIMIT_S: Final = 120.0  # of what a server asks for
_TIMEOUT: Final = aiohttp.ClientTimeout(total=10)
_COMMAND_S: Final = 30.0
_KEYS: Final = re.compile(
    r"XARB_.+_(API_KEY|API_SECRET|PASSWORD|UID|PRIVATE_KEY_FILE|PASSPHRASE|PASSPHRASE_FILE)"
)  # of accounts, see `venues.keys`
Say = Callable[[str], None]


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """A `[[alerts]]` table with its secrets looked up.

    Attributes:
        config: the table.
        name: by which it is spoken of.
        url, token: empty where it has none.
        redact: hides them in texts.
        environment: what a command gets; without API keys and what other tables name.
    """

    config: AlertConfig
    name: str
    url: str
    token: str
    redact: Redactor
    environment: Mapping[str, str]

    def __repr__(self) -> str:
        return f"Target({self.name})"


def target_of(number: int, config: AlertConfig, environment: Mapping[str, str], *, secrets: Collection[str] = ()) -> Target:
    """Look up what a table names.

    Args:
        number: of the table, from 1.
        config: the table.
        environment: where secrets are.
        secrets: variables that any table names.

    Raises:
        ConfigError: a key is missing or an environment variable is not set; never shows a value.
    """
    name = f"alerts number {number} ({config.kind})"
    if config.url is not None and config.url_env is not None:
        raise ConfigError(f"{name}: url and url_env exclude each other")
    url = _secret(name, "url_env", config.url_env, environment) or config.url or ""
    token = _secret(name, "token_env", config.token_env, environment)
    missing = {
        "webhook": not url and "url or url_env",
        "heartbeat": not url and "url or url_env",
        "telegram": (not config.chat and "chat") or (not token and "token_env"),
        "command": not config.command and "command",
    }[config.kind]
    if missing:
        raise ConfigError(f"{name}: {missing} is missing")
    if url and not url.startswith(("http://", "https://")):
        raise ConfigError(f"{name}: its address must begin with https:// or http://")
    if config.daily_at is not None:
        minute_of(config.daily_at, name)
    mine = (config.url_env, config.token_env)
    left = {
        name: value for name, value in environment.items() if name in mine or (name not in secrets and not _KEYS.fullmatch(name))
    }
    return Target(config=config, name=name, url=url, token=token, redact=Redactor([url, token]), environment=left)


def _secret(name: str, key: str, variable: str | None, environment: Mapping[str, str]) -> str:
    if variable is None:
        return ""
    value = environment.get(variable, "").strip()
    if not value:
        raise ConfigError(f"{name}: {key} = {variable}: no such environment variable, or it is empty")
    return value


def minute_of(text: str, where: str) -> int:
    """A time of day such as 06:30 as minutes since midnight.

    Raises:
        ConfigError: it is none; the message begins with `where`.
    """
    hours, colon, minutes = text.partition(":")
    if (
        colon
        and text.isascii()
        and hours.isdigit()
        and minutes.isdigit()
        and len(minutes) == 2
        and int(hours) < 24
        and int(minutes) < 60
    ):
        return int(hours) * 60 + int(minutes)
    raise ConfigError(f"{where}: daily_at = {text}: must be a time of day in UTC such as 06:00")


class Send(Protocol):
    """Sends one message, once."""

    async def __call__(self, notice: Notice, text: str) -> None:
        """Raise Retryable when it did not arrive."""


class Channel:
    """Sends messages one after the other, each until it arrives or its tries are up; `run` it until it is cancelled.

    Args:
        target: where to.
        http: for its requests.
        about: what the messages are of, such as the log's folder.
        say: prints a line when a message is lost.
        rests_s: pauses between tries.

    Attributes:
        sent, lost: messages so far.
    """

    def __init__(
        self, target: Target, http: aiohttp.ClientSession, *, about: str, say: Say, rests_s: tuple[float, ...] = _RESTS_S
    ) -> None:
        self.target = target
        self.sent = self.lost = 0
        self._http, self._about, self._say, self._rests_s = http, about, say, rests_s
        self._waiting: asyncio.Queue[Notice] = asyncio.Queue(_WAITING)
        self._idle = asyncio.Event()
        self._idle.set()
        sends: dict[str, Send] = {"webhook": self._post, "telegram": self._telegram, "command": self._command}
        self._send = sends.get(target.config.kind, self._post)

    def wants(self, rule: str) -> bool:
        """Whether it is told of a rule."""
        return not self.target.config.on or rule in self.target.config.on

    def tell(self, notice: Notice) -> None:
        """Take a message; when too many wait, the oldest of the rule of which most wait is given up."""
        if self._waiting.full():
            waiting = [self._waiting.get_nowait() for _ in range(self._waiting.qsize())]
            counts = Counter(one.rule for one in waiting)
            given_up = max(waiting, key=lambda one: counts[one.rule])  # of equals the first
            waiting.remove(given_up)
            for one in waiting:
                self._waiting.put_nowait(one)
            self._lose(given_up, "too many wait")
        self._waiting.put_nowait(notice)
        self._idle.clear()

    async def idle(self) -> None:
        """Wait until nothing is left to be sent."""
        await self._idle.wait()

    async def run(self) -> None:
        """Send what comes."""
        while True:
            await self._deliver(await self._waiting.get())
            if self._waiting.empty():
                self._idle.set()

    async def _deliver(self, notice: Notice) -> None:
        is_daily = notice.rule == "daily"
        text = self.target.redact(notice.text, _TEXT_LIMIT) if is_daily else self.target.redact(text_of(notice, self._about))
        for rest_s in (*self._rests_s, None):
            try:
                await self._send(notice, text)
            except Retryable as error:
                if rest_s is None:
                    self._lose(notice, str(error))
                    return
                await asyncio.sleep(max(rest_s, _asked_s(error)))
            else:
                self.sent += 1
                return

    def _lose(self, notice: Notice, why: str) -> None:
        self.lost += 1
        self._say(self.target.redact(f"{self.target.name}: a message about {notice.rule} was not delivered: {why}"))

    # --- ways to send

    async def _post(self, notice: Notice, text: str) -> None:
        body = {
            "text": text,
            "content": text,
            "rule": notice.rule,
            "subject": notice.subject,
            "state": "over" if notice.is_over else "on",
            "times": notice.times,
            "log": self._about,
        }
        headers = {"Authorization": f"Bearer {self.target.token}"} if self.target.token else {}
        await request(self._http, "POST", self.target, self.target.url, json=body, headers=headers)

    async def _telegram(self, notice: Notice, text: str) -> None:
        del notice
        url = f"{(self.target.url or TELEGRAM).rstrip('/')}/bot{self.target.token}/sendMessage"
        await request(self._http, "POST", self.target, url, json={"chat_id": self.target.config.chat, "text": text})

    async def _command(self, notice: Notice, text: str) -> None:
        environment = {
            **self.target.environment,
            "XARB_RULE": notice.rule,
            "XARB_SUBJECT": notice.subject,
            "XARB_STATE": "over" if notice.is_over else "on",
            "XARB_LOG": self._about,
        }
        program = self.target.config.command
        try:
            process = await asyncio.create_subprocess_exec(
                *program, stdin=asyncio.subprocess.PIPE, env=environment, start_new_session=True
            )
        except (OSError, ValueError) as error:  # the latter: a NUL in what the environment gets
            raise Retryable(f"{program[0]}: {error}") from None
        try:
            async with asyncio.timeout(_COMMAND_S):
                await process.communicate(text.encode())
        except TimeoutError:
            raise Retryable(f"{program[0]} took more than {_COMMAND_S:g} s") from None
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):  # it has just ended
                    os.killpg(process.pid, signal.SIGKILL)  # and whatever it began
                await process.wait()
        if process.returncode:
            raise Retryable(f"{program[0]} ended with {process.returncode}")


def text_of(notice: Notice, about: str) -> str:
    """A message as a person reads it."""
    subject = f" {notice.subject}" if notice.subject else ""
    times = f" ({notice.times} times since the last message)" if notice.times > 1 else ""
    return f"xarb {about}: {'over: ' if notice.is_over else ''}{notice.rule}{subject}: {notice.text}{times}"


async def request(http: aiohttp.ClientSession, method: str, target: Target, url: str, **more: Any) -> None:
    """One request.

    Raises:
        Retryable: it was not answered with a status of 200 to 299; without secrets.
    """
    try:
        async with http.request(method, url, timeout=_TIMEOUT, allow_redirects=False, **more) as answer:
            status, rest = answer.status, answer.headers.get("Retry-After", "")
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:  # the last: a host or a token that HTTP cannot carry
        raise Retryable(target.redact(f"{type(error).__name__} {error}")) from None
    if not 200 <= status < 300:
        raise Retryable(f"status {status}", reason=rest)


def _asked_s(error: Retryable) -> float:
    """How long a server asked to rest."""
    return min(float(error.reason), _REST_LIMIT_S) if error.reason.isascii() and error.reason.isdigit() else 0.0
