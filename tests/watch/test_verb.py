"""The watch as a process of its own beside one that writes: metrics over HTTP, messages, heartbeats, and every way in which it ends."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from typer.testing import CliRunner

from tests.live.test_session import VENUES, market
from tests.watch.listener import Listener
from tests.watch.test_state import values
from xarb.cli import app
from xarb.config import load_experiment
from xarb.config.watch import WatchConfig
from xarb.errors import ConfigError
from xarb.live import requests
from xarb.live.verb import KILLED
from xarb.model.units import NANOS_PER_S
from xarb.watch.channels import Channel, target_of
from xarb.watch.endpoint import endpoint
from xarb.watch.exposition import CONTENT_TYPE
from xarb.watch.verb import Daily, Watch, port_of

ROOT = Path(__file__).resolve().parents[2]
QUICKSTART = ROOT / "recordings" / "quickstart"
NOON = 1_700_000_000 // 86_400 * 86_400 * NANOS_PER_S + 43_200 * NANOS_PER_S


def run(test: Coroutine[Any, Any, None]) -> None:
    """Run a test's coroutine with a limit of time."""

    async def limited() -> None:
        async with asyncio.timeout(120):
            await test

    asyncio.run(limited())


@asynccontextmanager
async def process(*words: str | Path, **more: str) -> AsyncIterator[Process]:
    """A process of ours, killed at the end if it still runs."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | more
    made = await asyncio.create_subprocess_exec(
        sys.executable, "-m", *map(str, words), cwd=ROOT, env=environment, stdout=PIPE, stderr=PIPE
    )
    try:
        yield made
    finally:
        if made.returncode is None:
            made.kill()
        await made.communicate()


async def line(stream: asyncio.StreamReader | None) -> str:
    """The next line."""
    assert stream is not None
    return (await stream.readline()).decode().strip()


async def fetched(url: str, **headers: str) -> tuple[int, str, str]:
    """Status, content type and text."""
    async with aiohttp.ClientSession() as http, http.get(url, headers=headers) as answer:
        return answer.status, answer.headers.get("Content-Type", ""), await answer.text()


def test_a_process_that_dies_is_told_and_its_heartbeat_ends(tmp_path: Path) -> None:
    """While the log is written heartbeats go out and metrics show it; after `kill -9` the message comes, and no heartbeat any more."""

    async def story() -> None:
        folder, config = tmp_path / "log", tmp_path / "watch.toml"
        async with Listener().serving() as listener, process("tests.watch.writer", folder) as writer:
            await line(writer.stdout)
            config.write_text(
                "[watch]\nrepeat_s = 3600\ndisk_mb = 0\n"
                f'[[alerts]]\nkind = "webhook"\nurl_env = "HOOK"\non = ["dead", "silent"]\n'
                f'[[alerts]]\nkind = "heartbeat"\nurl = "{listener.url}/beat"\nevery_s = 1\n'
            )
            words = ("xarb", "watch", folder, config, "--metrics-port", "0")
            async with process(*words, HOOK=f"{listener.url}/hook") as watch:
                url = (await line(watch.stderr)).removeprefix("metrics at ")
                await listener.until(lambda: [path for _, path, _, _ in listener.got].count("/beat") >= 2)
                status, kind, text = await fetched(url)
                assert (status, kind) == (200, CONTENT_TYPE)
                before = values(text)
                assert before["xarb_up"] == "1"
                assert int(before['xarb_rows_total{kind="health"}']) > 0
                assert float(before["xarb_last_row_age_seconds"]) < 5
                writer.kill()
                await writer.wait()
                await listener.until(lambda: bool(listener.texts()))
                assert listener.texts()[0].startswith("xarb log: dead: the process is gone and left rows that are not sealed")
                beats = len(listener.got)
                await asyncio.sleep(2.5)  # that nothing comes takes time to see
                assert len(listener.got) == beats
                assert values((await fetched(url))[2])["xarb_up"] == "0"
                async with process("tests.watch.writer", folder) as again:
                    await line(again.stdout)
                    await listener.until(lambda: len(listener.texts()) == 2)
                    assert listener.texts()[1].startswith("xarb log: over: dead")
                    await listener.until(lambda: len(listener.got) > beats + 1)
                watch.send_signal(signal.SIGTERM)
                assert await watch.wait() == 0

    run(story())


def test_trading_is_seen_from_arming_to_a_kill(tmp_path: Path) -> None:
    """`xarb live` with the same config: metrics show it armed and trading; a kill is told, and that the process ended in order."""

    async def until(url: str, *wanted: str) -> dict[str, str]:
        while True:
            found = values((await fetched(url))[2])
            if all(float(found.get(name, "0")) > 0 for name in wanted):
                return found
            await asyncio.sleep(0.2)

    async def story() -> None:
        folder = tmp_path / "log"
        async with Listener().serving() as listener, market() as made:
            config = made.config(tmp_path)
            alerts = f'[watch]\ndisk_mb = 0\n[[alerts]]\nkind = "webhook"\nurl = "{listener.url}"\n'
            config.write_text(config.read_text() + alerts)
            async with process("xarb", "live", config, "--out", folder) as live:
                while not (folder / "manifest.jsonl").exists():  # noqa: ASYNC110  # another process makes it
                    await asyncio.sleep(0.05)
                async with process("xarb", "watch", folder, config, "--metrics-port", "0") as watch:
                    url = (await line(watch.stderr)).removeprefix("metrics at ")
                    taken = 'xarb_decisions_total{verdict="taken"}'
                    found = await until(url, "xarb_armed", taken, 'xarb_fills_total{purpose="open"}')
                    assert found["xarb_kill_level"] == "0"
                    assert {name for name in found if name.startswith("xarb_feed_up")} >= {
                        f'xarb_feed_up{{venue="{venue}",conn="{conn}"}}' for conn, venue in enumerate(VENUES)
                    }
                    assert 'xarb_trading_pnl{currency="USDT"}' in found
                    requests.ask(folder, "kill")
                    assert await live.wait() == KILLED
                    await listener.until(lambda: len(listener.texts()) >= 2)
                    last = values((await fetched(url))[2])
                    assert (last["xarb_armed"], last["xarb_kill_level"], last["xarb_up"]) == ("0", "4", "0")
                    watch.send_signal(signal.SIGTERM)
                    assert await watch.wait() == 0
            assert [body["rule"] for _, _, body, _ in listener.got] == ["killed", "stopped"]

    run(story())


def test_metrics_answer_only_who_means_this_machine() -> None:
    """Another Host, as a page of a browser sends after its name was pointed here, is refused; so is every method but GET."""

    async def story() -> None:
        async with endpoint(0, lambda: "xarb_up 1\n") as port:
            url = f"http://127.0.0.1:{port}/metrics"
            assert (await fetched(url))[::2] == (200, "xarb_up 1\n")
            assert (await fetched(url, Host=f"localhost:{port}"))[0] == 200
            for host in (f"evil.example:{port}", "evil.example", f"127.0.0.1.evil.example:{port}", ""):
                assert (await fetched(url, Host=host))[0] in (400, 403), host
            assert (await fetched(url, Origin=f"http://localhost:{port}"))[0] == 200
            for origin in ("https://evil.example", "http://127.0.0.1.evil.example", "null", "http://[", ""):
                assert (await fetched(url, Origin=origin))[0] == 403, origin
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /metrics HTTP/1.0\r\n\r\n")
            assert b" 403 " in await reader.readline()
            writer.close()
            await writer.wait_closed()
            async with aiohttp.ClientSession() as http:
                for method in ("POST", "PUT", "DELETE"):
                    async with http.request(method, url) as answer:
                        assert answer.status == 405
                async with http.get(f"http://127.0.0.1:{port}/") as answer:
                    assert answer.status == 404
            with pytest.raises(ConfigError, match=f"metrics_port = {port}"):
                async with endpoint(port, lambda: ""):
                    pass

    run(story())


def test_the_summary_comes_once_a_day(tmp_path: Path) -> None:
    """`daily_at`, in UTC: when its time comes, not before, not twice, and the next one a day later."""
    config = tmp_path / "watch.toml"
    config.write_text('[[alerts]]\nkind = "webhook"\nurl = "http://127.0.0.1:9"\ndaily_at = "12:30"\n')

    async def story() -> None:
        now = [NOON]
        async with aiohttp.ClientSession() as http:
            target = target_of(1, load_experiment(config).alerts[0], {})
            channel = Channel(target, http, about="log", say=print)
            daily = Daily(channel)
            with Watch(QUICKSTART, WatchConfig(), now=lambda: now[0]) as watch:
                told = []
                for minute in range(0, 2 * 1440, 10):
                    now[0] = NOON + minute * 60 * NANOS_PER_S
                    daily.look(watch)
                    while not channel._waiting.empty():
                        told.append((minute, channel._waiting.get_nowait().rule))
        assert told == [(30, "daily"), (30 + 1440, "daily")]

    run(story())


def test_rules_go_to_those_who_want_them(tmp_path: Path) -> None:
    """`on` names them; without it all are told; an unknown word is an error that lists what is allowed."""
    config = tmp_path / "watch.toml"
    config.write_text(
        '[[alerts]]\nkind = "webhook"\nurl = "http://127.0.0.1:9"\non = ["killed"]\n[[alerts]]\nkind = "command"\ncommand = ["true"]\n'
    )
    one, two = load_experiment(config).alerts

    async def story() -> None:
        async with aiohttp.ClientSession() as http:
            some = Channel(target_of(1, one, {}), http, about="log", say=print)
            every = Channel(target_of(2, two, {}), http, about="log", say=print)
            assert [some.wants(rule) for rule in ("killed", "gaps")] == [True, False]
            assert [every.wants(rule) for rule in ("killed", "gaps")] == [True, True]

    run(story())
    config.write_text('[[alerts]]\nkind = "webhook"\nurl = "http://127.0.0.1:9"\non = ["everything"]\n')
    with pytest.raises(ConfigError, match=r"alerts number 1\.on = \[everything\]: allowed: killed, disarmed"):
        load_experiment(config)
    config.write_text('[alerts]\nkind = "webhook"\n')
    with pytest.raises(ConfigError, match=r"must be written as \[\[alerts\]\] tables"):
        load_experiment(config)


def test_once_prints_the_metrics_and_leaves() -> None:
    """For whoever collects files: the same text, without a server."""
    done = CliRunner().invoke(app, ["watch", str(QUICKSTART), "--once"])
    assert done.exit_code == 0
    assert int(values(done.stdout)['xarb_rows_total{kind="quotes"}']) > 10_000


def test_a_port_is_a_number() -> None:
    """What is none is refused by name."""
    assert [port_of(text) for text in (None, "0", "9100")] == [None, 0, 9100]
    for text in ("65536", "-1", "x", ""):
        with pytest.raises(ConfigError, match="--metrics-port"):
            port_of(text)


def test_the_port_of_the_config_is_served(tmp_path: Path) -> None:
    """`watch.metrics_port`; and what an alert lacks ends the watch before it begins, with exit code 2."""

    async def story() -> None:
        async with endpoint(0, lambda: "") as port:
            pass
        config = tmp_path / "watch.toml"
        config.write_text(f"[watch]\nmetrics_port = {port}\n")
        async with process("xarb", "watch", QUICKSTART, config) as watch:
            assert await line(watch.stderr) == f"metrics at http://127.0.0.1:{port}/metrics"
            assert (await fetched(f"http://127.0.0.1:{port}/metrics"))[0] == 200
            watch.send_signal(signal.SIGINT)
            assert await watch.wait() == 0
        config.write_text('[[alerts]]\nkind = "webhook"\nurl_env = "NOT_THERE"\n')
        async with process("xarb", "watch", QUICKSTART, config) as watch:
            assert "NOT_THERE" in await line(watch.stderr)
            assert await watch.wait() == 2

    run(story())
