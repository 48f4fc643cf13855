"""Messages to webhooks, Telegram and commands: what arrives, what is tried again, and that no secret is ever said."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.watch.listener import Listener
from xarb.config.watch import AlertConfig
from xarb.errors import ConfigError
from xarb.watch import channels
from xarb.watch.channels import Channel, target_of, text_of
from xarb.watch.rules import Notice

TOKEN = "t0ken-canary-123456"  # noqa: S105  # a test's
BOT = "TOKEN"  # the environment variable
GAPS = Notice("gaps", "", "20 gaps within a minute")


def run(test: Coroutine[Any, Any, None]) -> None:
    """Run a test's coroutine with a limit of time."""

    async def limited() -> None:
        async with asyncio.timeout(60):
            await test

    asyncio.run(limited())


@asynccontextmanager
async def channel(
    config: AlertConfig, said: list[str] | None = None, rests_s: tuple[float, ...] = (0.01, 0.01)
) -> AsyncIterator[Channel]:
    """A channel at work."""
    broken = "line-canary\nmore-canary"
    target = target_of(1, config, {"TOKEN": TOKEN, "BROKEN": broken, "SECRET_URL": "http://127.0.0.1:9/hook-canary-987"})
    async with aiohttp.ClientSession() as http:
        say = (said if said is not None else []).append
        made = Channel(target, http, about="log", say=say, rests_s=rests_s)
        task = asyncio.create_task(made.run())
        try:
            yield made
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def test_a_webhook_gets_text_and_fields() -> None:
    """JSON with the sentence, the rule, whether it is over, and the bearer token."""

    async def story() -> None:
        async with Listener().serving() as listener:
            config = AlertConfig(kind="webhook", url=f"{listener.url}/hook", token_env=BOT)
            async with channel(config) as made:
                made.tell(GAPS)
                made.tell(Notice("gaps", "", "20 gaps", is_over=True, times=3))
                await made.idle()
                assert made.sent == 2
        (method, path, body, headers), (_, _, over, _) = listener.got
        assert (method, path, headers["Authorization"]) == ("POST", "/hook", f"Bearer {TOKEN}")
        assert body["text"] == body["content"] == "xarb log: gaps: 20 gaps within a minute"
        assert (body["rule"], body["state"], body["log"]) == ("gaps", "on", "log")
        assert (over["state"], over["times"]) == ("over", 3)
        assert over["text"] == "xarb log: over: gaps: 20 gaps (3 times since the last message)"

    run(story())


def test_telegram_gets_a_message_of_the_bot() -> None:
    """`chat`, and the token in the path, as the Bot API wants it."""

    async def story() -> None:
        async with Listener().serving() as listener:
            config = AlertConfig(kind="telegram", url=listener.url, token_env=BOT, chat="-100123")
            async with channel(config) as made:
                made.tell(GAPS)
                await made.idle()
        ((method, path, body, _),) = listener.got
        assert (method, path) == ("POST", f"/bot{TOKEN}/sendMessage")
        assert body == {"chat_id": "-100123", "text": text_of(GAPS, "log")}

    run(story())


def test_a_command_gets_the_text_and_the_rule(tmp_path: Path) -> None:
    """On standard input and in the environment; no shell reads either."""
    out = tmp_path / "out"
    script = "import os, sys; open(sys.argv[1], 'a').write(os.environ['XARB_RULE'] + '|' + os.environ['XARB_STATE'] + '|' + sys.stdin.read())"

    async def story() -> None:
        async with channel(AlertConfig(kind="command", command=(sys.executable, "-c", script, str(out)))) as made:
            made.tell(Notice("feed_down", "$(touch x)", "`lost`"))
            await made.idle()
            assert made.sent == 1

    run(story())
    assert out.read_text() == "feed_down|on|xarb log: feed_down $(touch x): `lost`"


def test_a_command_gets_no_secret_but_its_own(tmp_path: Path) -> None:
    """Neither the keys of accounts nor what other tables name; what its own table names, and whatever else there is."""
    out = tmp_path / "out"
    script = "import os, sys; open(sys.argv[1], 'w').write(' '.join(sorted(os.environ)))"
    config = AlertConfig(kind="command", command=(sys.executable, "-c", script, str(out)), token_env="MINE")  # noqa: S106  # a name
    environment = {"MINE": TOKEN, "OTHER": TOKEN, "LANG": "C", "XARB_BINANCE_MAIN_API_SECRET": "x", "XARB_OKX_MAIN_PASSWORD": "x"}
    target = target_of(1, config, environment, secrets={"MINE", "OTHER"})

    async def story() -> None:
        async with aiohttp.ClientSession() as http:
            await Channel(target, http, about="log", say=print)._deliver(GAPS)

    run(story())
    found = set(out.read_text().split())
    assert found >= {"MINE", "LANG", "XARB_RULE"}
    assert not found & {"OTHER", "XARB_BINANCE_MAIN_API_SECRET", "XARB_OKX_MAIN_PASSWORD"}


def test_a_command_that_hangs_is_killed_with_what_it_began(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A script whose child hangs: neither is left over, and the message is lost with a line."""
    monkeypatch.setattr(channels, "_COMMAND_S", 0.5)
    said: list[str] = []
    fifo = tmp_path / "held"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    command = ("/bin/sh", "-c", f"sleep 600 > {fifo} & wait")

    async def story() -> None:
        async with channel(AlertConfig(kind="command", command=command), said, rests_s=()) as made:
            made.tell(GAPS)
            await made.idle()
            assert made.lost == 1
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(reader, ended.set)  # ready when the last writer is gone
        await asyncio.wait_for(ended.wait(), 10)
        loop.remove_reader(reader)

    run(story())
    os.close(reader)
    assert "took more than" in said[0]


def test_a_command_that_fails_is_tried_again_and_then_said(tmp_path: Path) -> None:
    """Another exit code than 0, and a program that is not there: three tries, then a line; the next message goes its way."""
    said: list[str] = []
    out = tmp_path / "out"
    script = f"open({str(out)!r}, 'a').write('x'); raise SystemExit(3)"

    async def story() -> None:
        async with channel(AlertConfig(kind="command", command=(sys.executable, "-c", script)), said) as made:
            made.tell(GAPS)
            await made.idle()
            assert (made.sent, made.lost) == (0, 1)
        async with channel(AlertConfig(kind="command", command=("/nowhere/at-all",)), said, rests_s=()) as made:
            made.tell(GAPS)
            await made.idle()
            assert made.lost == 1

    run(story())
    assert out.read_text() == "xxx"
    assert "ended with 3" in said[0]
    assert "No such file" in said[1]


def test_what_does_not_arrive_is_tried_again() -> None:
    """Statuses other than 2xx, a redirect among them, and a rest that the server asks for."""

    async def story() -> None:
        async with Listener().serving() as listener:
            listener.answers = [(500, {}), (429, {"Retry-After": "1"}), (200, {})]
            async with channel(AlertConfig(kind="webhook", url=listener.url)) as made:
                loop = asyncio.get_running_loop()
                began = loop.time()
                made.tell(GAPS)
                await made.idle()
                assert (made.sent, made.lost, len(listener.got)) == (1, 0, 3)
                assert loop.time() - began >= 1.0
                listener.answers = [(302, {"Location": f"{listener.url}/elsewhere"})] * 3
                made.tell(GAPS)
                await made.idle()
                assert made.lost == 1
        assert "/elsewhere" not in {path for _, path, _, _ in listener.got}

    run(story())


def test_a_slow_place_holds_up_nobody_and_its_queue_is_bounded() -> None:
    """More messages than it holds: the oldest go, each with a line; `tell` never waits."""
    said: list[str] = []

    async def story() -> None:
        async with channel(AlertConfig(kind="webhook", url_env="SECRET_URL"), said, rests_s=(60,)) as made:
            for _ in range(150):
                made.tell(GAPS)
            assert made.lost == 50
            assert made._waiting.qsize() == 100

    run(story())
    assert len(said) == 50
    assert "too many wait" in said[0]


def test_a_full_queue_gives_up_what_it_has_most_of() -> None:
    """One kill before 150 gaps: the kill stays."""
    said: list[str] = []

    async def story() -> None:
        async with channel(AlertConfig(kind="webhook", url_env="SECRET_URL"), said, rests_s=(60,)) as made:
            made.tell(Notice("killed", "", "by ann"))
            for number in range(150):
                made.tell(GAPS._replace(text=f"{number}"))
            left = [made._waiting.get_nowait() for _ in range(100)]
            assert [one.text for one in left] == ["by ann", *(f"{number}" for number in range(51, 150))]

    run(story())


def test_what_http_cannot_carry_is_lost_with_a_line() -> None:
    """A host beyond what names may be, a token of two lines, a rest that is no number, a NUL for a program: none ends the watch."""
    said: list[str] = []

    async def story() -> None:
        async with Listener().serving() as listener:
            for url, token in ((f"http://{'a' * 70}.example/", None), (listener.url, "BROKEN")):
                async with channel(AlertConfig(kind="webhook", url=url, token_env=token), said, rests_s=()) as made:
                    made.tell(GAPS)
                    await made.idle()
                    assert made.lost == 1
            listener.answers = [(429, {"Retry-After": "\u00b2"})]
            async with channel(AlertConfig(kind="webhook", url=listener.url), said, rests_s=(0.01,)) as made:
                made.tell(GAPS)
                await made.idle()
                assert made.sent == 1
        async with channel(AlertConfig(kind="command", command=(sys.executable, "-c", "")), said, rests_s=()) as made:
            made.tell(Notice("feed_down", "a\0b", "lost"))
            await made.idle()
            assert made.lost == 1

    run(story())
    assert len(said) == 3
    assert not any("canary" in line for line in said)


def test_no_secret_is_said() -> None:
    """Tokens and secret addresses are in no line, no repr and no message, whatever the error shows of them."""
    said: list[str] = []

    async def story() -> None:
        for config in (
            AlertConfig(kind="webhook", url_env="SECRET_URL", token_env=BOT),
            AlertConfig(kind="telegram", url="http://127.0.0.1:9", token_env=BOT, chat="1"),
        ):
            async with channel(config, said, rests_s=()) as made:
                made.tell(Notice("unreadable", "", f"token={TOKEN} secret=abcdefgh"))
                await made.idle()
                said.append(repr(made.target))
                said.append(made.target.redact(text_of(Notice("x", "", f"see {TOKEN}"), "log")))

    run(story())
    assert len(said) == 6
    assert not any("canary" in line or "abcdefgh" in line for line in said), said


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (AlertConfig(kind="webhook"), "url or url_env is missing"),
        (AlertConfig(kind="heartbeat"), "url or url_env is missing"),
        (AlertConfig(kind="telegram", token_env=BOT), "chat is missing"),
        (AlertConfig(kind="telegram", chat="1"), "token_env is missing"),
        (AlertConfig(kind="command"), "command is missing"),
        (AlertConfig(kind="webhook", url="ftp://x"), "must begin with https"),
        (AlertConfig(kind="webhook", url="http://x", url_env="SECRET_URL"), "exclude each other"),
        (AlertConfig(kind="webhook", url_env="NOT_THERE"), "NOT_THERE: no such environment variable"),
        (AlertConfig(kind="webhook", url="http://x", daily_at="25:00"), "daily_at = 25:00: must be a time of day"),
        (AlertConfig(kind="webhook", url="http://x", daily_at="6"), "daily_at = 6: must be a time of day"),
    ],
)
def test_what_a_table_lacks_is_named(config: AlertConfig, words: str) -> None:
    """By the number of the table, its kind and the key, before anything is watched."""
    with pytest.raises(ConfigError, match=words) as found:
        target_of(2, config, {"TOKEN": TOKEN, "SECRET_URL": "http://127.0.0.1:9/x"})
    assert str(found.value).startswith(f"alerts number 2 ({config.kind}): ")
