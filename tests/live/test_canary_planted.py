"""Leaks that are planted in every channel: the canary's search finds each, so that a clean run says something."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from asyncio.subprocess import DEVNULL
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.live.canary import KEY, SECRETS, environment, keys, leaks, of_log, xarb
from tests.live.site import site
from tests.watch.listener import Listener
from xarb.config.watch import AlertConfig
from xarb.serve.faults import Fault
from xarb.watch import channels
from xarb.watch.channels import Channel, target_of
from xarb.watch.rules import Notice

ROOT = Path(__file__).resolve().parents[2]
PLANTED = "tests.live.planted"
CUT = Fault(kind="close", on="GET /api/v3/account", after=1, count=0)
BLIND = (  # long after a start the private stream ends, and the comparison that follows fails at a signed address
    Fault(kind="user_stream_end", at_s=Decimal(15)),
    Fault(kind="close", on="GET /api/v3/openOrders", at_s=Decimal(15), after=1, count=0),
)


@pytest.fixture(autouse=True)
def untouched(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a site sets in the environment is gone after a test."""
    for name in environment():
        monkeypatch.setenv(name, "")


@pytest.mark.parametrize(
    ("plant", "channel"), [("redaction", "stdout"), ("printed", "stdout"), ("logged", "stderr"), ("traceback", "stderr")]
)
def test_leak_in_what_is_printed_is_found(tmp_path: Path, plant: str, channel: str) -> None:
    """A text that is not redacted, one that is printed, logged, or stands in a traceback."""

    async def story() -> dict[str, list[str]]:
        async with site(tmp_path, (CUT,), keys=keys()) as at:
            return leaks((await xarb("keys", "check", at.config, module=PLANTED, PLANT=plant)).channels)

    assert any("signature=" in text for text in asyncio.run(story())[channel])


def test_leak_in_a_log_is_found(tmp_path: Path) -> None:
    """In the journal of a process that is killed, and in the files that another seals it into."""
    log = tmp_path / "log"

    async def story() -> set[str]:
        found: set[str] = set()
        async with site(tmp_path, BLIND, keys=keys()) as at:
            words = ("live", str(at.config), "--out", str(log), "--live", "--account", "main")
            given = os.environ | environment() | {"PLANT": "redaction"}
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", PLANTED, *words, env=given, stdout=DEVNULL, stderr=DEVNULL
            )
            try:
                async with asyncio.timeout(120):
                    while "journal" not in leaks(of_log(log) if (log / "manifest.jsonl").exists() else {}):  # noqa: ASYNC110  # another process writes it
                        await asyncio.sleep(0.2)
            finally:
                process.kill()
                await process.wait()
            found |= leaks(of_log(log)).keys()
            assert (await xarb("log", "repair", log)).code == 0
            return found | leaks(of_log(log)).keys()

    assert {"journal", "parquet", "rows"} <= asyncio.run(story())


def test_leak_in_metrics_is_found() -> None:
    """A line of them."""
    printed = asyncio.run(xarb("watch", ROOT / "recordings" / "quickstart", "--once", module=PLANTED, PLANT="metrics"))
    assert leaks(printed.channels) == {"stdout": [KEY]}


async def sent(notice: Notice) -> bytes:
    """What a webhook is sent."""
    async with Listener().serving() as listener, aiohttp.ClientSession() as http:
        target = target_of(1, AlertConfig(kind="webhook", url=listener.url), {})
        channel = Channel(target, http, about="log", say=print)
        channel.tell(notice)
        task = asyncio.ensure_future(channel.run())
        await listener.until(lambda: bool(listener.got))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return repr(listener.got).encode()


def test_leak_in_alerts_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the text of a message, and in the environment of a command."""
    monkeypatch.setattr(channels, "text_of", lambda *given: f"{given} {KEY}")
    assert leaks({"alerts": asyncio.run(sent(Notice("dead", "", "x")))}) == {"alerts": [KEY]}
    monkeypatch.setattr(channels, "_KEYS", re.compile("nothing"))
    target = target_of(1, AlertConfig(kind="command", command=("x",)), environment())
    assert set(leaks({"command": repr(target.environment).encode()})["command"]) == set(SECRETS)


@pytest.mark.parametrize("rule", ["dead", "daily"])
def test_what_alerts_say_is_redacted(rule: Any) -> None:
    """Of the daily summary too, which is longer than other messages."""
    text = f"GET https://x/y?a=1&signature={'ab' * 20} failed " + "line\n" * 200
    told = asyncio.run(sent(Notice(rule, "", text)))
    assert leaks({"alerts": told}) == {}
    assert (told.count(b"line") > 300) is (rule == "daily")
