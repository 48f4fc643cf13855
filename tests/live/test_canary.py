"""Canary secrets through every way in which a request of real trading fails: nothing that anybody may read holds them."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest

from tests.live.canary import Printed, environment, keys, leaks, of_log, xarb
from tests.live.site import VENUES, Site, filled, site, traded
from tests.watch.listener import Listener
from xarb.cli import app
from xarb.cli.keys import keys_app
from xarb.cli.parts import config_app, log_app
from xarb.config import load_experiment
from xarb.errors import Refused
from xarb.live.kill import kill
from xarb.log.reader import LogReader
from xarb.serve.faults import Fault
from xarb.venues import killing

FAULTS = (
    Fault(kind="hang", on="POST /api/v3/order", after=1, count=1),
    Fault(kind="drop_reply", on="POST /api/v3/order", after=2, count=1),
    Fault(kind="truncate", on="POST /api/v3/order", after=3, count=1),
    Fault(kind="status", on="POST /api/v3/order", after=4, count=1, status=503, code=-1000),
    Fault(kind="status", on="POST /api/v3/order", after=5, count=1, status=400, code=-2015),
    Fault(kind="truncate", on="GET /api/v3/order", after=1, count=1),
    Fault(kind="drop_reply", on="GET /api/v3/order", after=2, count=1),
    Fault(kind="status", on="GET /api/v3/order", after=3, count=1, status=418, code=-1003),
)
ALWAYS: dict[str, Callable[[str], Fault]] = {
    "drop": lambda on: Fault(kind="close", on=on, after=1, count=0),
    "truncate": lambda on: Fault(kind="truncate", on=on, after=1, count=0),
    "status": lambda on: Fault(kind="status", on=on, after=1, count=0, status=503, code=-1000),
    "refused": lambda on: Fault(kind="status", on=on, after=1, count=0, status=401, code=-2015),
    "hang": lambda on: Fault(kind="hang", on=on, after=1, count=0),
}


OKX_FAULTS = (
    Fault(kind="hang", on="POST /api/v5/trade/batch-orders", after=1, count=1),
    Fault(kind="drop_reply", on="POST /api/v5/trade/batch-orders", after=2, count=1),
    Fault(kind="truncate", on="POST /api/v5/trade/batch-orders", after=3, count=1),
    Fault(kind="status", on="POST /api/v5/trade/batch-orders", after=4, count=1, status=503, code=50001),
    Fault(kind="status", on="POST /api/v5/trade/batch-orders", after=5, count=1, status=401, code=50113),
    Fault(kind="truncate", on="GET /api/v5/trade/order", after=1, count=1),
    Fault(kind="drop_reply", on="GET /api/v5/trade/order", after=2, count=1),
)
HOOK = {"HOOK_TOKEN": "canaryTOKEN9d3e"}
WATCHED = """
[watch]
disk_mb = 0
[[alerts]]
kind = "webhook"
url = "{url}"
token_env = "HOOK_TOKEN"
[[alerts]]
kind = "command"
command = ["{python}", "-m", "tests.live.hand_on", "{url}/command"]
"""


def quick(at: Site, **times: int) -> Path:
    """The config with short times."""
    text = at.config.read_text().replace("stop_ms = 8000", "".join(f"{name}_ms = {ms}\n" for name, ms in times.items()))
    at.config.write_text(text)
    return at.config


def add(config: Path, text: str) -> None:
    """More of a config."""
    config.write_text(config.read_text() + text)


@pytest.fixture(autouse=True)
def untouched(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a site sets in the environment is gone after a test."""
    for name in environment():
        monkeypatch.setenv(name, "")


async def looked_on(log: Path, config: Path, listener: Listener) -> dict[str, bytes]:
    """What `xarb watch` makes of a log that was killed: metrics, messages, and what a command is told and given."""
    once = await xarb("watch", log, config, "--once", **HOOK)
    command = (sys.executable, "-m", "xarb", "watch", str(log), str(config), "--metrics-port", "0")
    process = await asyncio.create_subprocess_exec(*command, env=os.environ | environment() | HOOK, stderr=asyncio.subprocess.PIPE)
    try:
        assert process.stderr is not None
        async with asyncio.timeout(60):
            first = await process.stderr.readline()
            assert first.startswith(b"metrics at "), first
            async with aiohttp.ClientSession() as http, http.get(first.decode().split()[-1]) as answer:
                page = await answer.read()
            await listener.until(lambda: {path for _, path, _, _ in listener.got} >= {"/", "/command"})
            process.send_signal(signal.SIGTERM)
            _, rest = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
    assert b"xarb_kill_level" in page
    alerts = repr([(path, body) for _, path, body, _ in listener.got])
    assert HOOK["HOOK_TOKEN"] not in alerts
    return {"metrics": once.stdout + page, "alerts": alerts.encode(), "watch": once.stderr + first + rest}


@pytest.mark.parametrize(("wire", "faults"), [("binance", FAULTS), ("okx", OKX_FAULTS)])
def test_trading_through_faults_leaks_nothing(tmp_path: Path, wire: str, faults: tuple[Fault, ...]) -> None:
    """`live` with orders hung, dropped, cut, refused and throttled, then `kill`, `status`, `watch`, `rebalance`: nothing printed, kept, served or sent holds a secret."""
    log = tmp_path / "log"

    async def story() -> dict[str, dict[str, bytes]]:
        async with site(tmp_path, faults, wire=wire, keys=keys()) as at, Listener().serving() as listener:
            config = quick(at, stop=3000, request_timeout=1000)
            ran = await xarb("live", config, "--out", log, "--live", "--account", "main", "--duration", "12s")
            killed = await xarb("kill", log, "--config", config, "--wait", "5s")
            assert b"REAL ORDERS" in ran.stderr
            add(config, SHARES + WATCHED.format(url=listener.url, python=sys.executable))
            return {
                "live": ran.channels,
                "kill": killed.channels,
                "status": (await xarb("status", log)).channels,
                "rebalance": (await xarb("rebalance", log, "--plan", "--ask", "--config", config)).channels,
                "watch": await looked_on(log, config, listener),
            }

    told = asyncio.run(story())
    with LogReader(log) as reader:
        events = {row["event"] for row in reader.rows("reports")}
    assert {"sent", "unknown", "rejected"} <= events
    assert {name: leaks(channels) for name, channels in (told | {"log": of_log(log)}).items()} == {
        name: {} for name in (*told, "log")
    }


SHARES = "".join(f"[inventory.shares.main.{venue}]\nUSDT = 0.5\nBTC = 0.5\n" for venue in VENUES)
LISTS = {"binance": "GET /api/v3/openOrders", "okx": "GET /api/v5/trade/orders-pending"}
# How a connection fails is the same on both wires; what an exchange answers is not.
WAYS = (*(("binance", how) for how in ALWAYS), ("okx", "status"), ("okx", "refused"))
PRIVATE = {"binance": "GET /api/v3/account", "okx": "GET /api/v5/account/*"}


@pytest.mark.parametrize(("wire", "how"), WAYS)
def test_refusals_before_trading_leak_nothing(tmp_path: Path, wire: str, how: str) -> None:
    """`keys check`, `check` and `live` at exchanges that answer no private request: they fail by name, without a secret."""

    async def story() -> list[Printed]:
        async with site(tmp_path, (ALWAYS[how](PRIVATE[wire]),), wire=wire, keys=keys()) as at:
            config = quick(at, stop=1000, request_timeout=500)
            return [
                await xarb("keys", "check", config),
                await xarb("check", config, "--measure", "0s"),
                await xarb("live", config, "--out", tmp_path / "log", "--live", "--account", "main", "--duration", "1s"),
            ]

    for printed in asyncio.run(story()):
        assert printed.code in {1, 2}, "a reply that was cut off was taken for an answer"
        assert b"Traceback" not in printed.stderr
        assert leaks(printed.channels) == {}


@pytest.mark.parametrize("wire", PRIVATE)
def test_wrong_secret_leaks_nothing(tmp_path: Path, wire: str) -> None:
    """A signature that does not hold."""

    async def story() -> Printed:
        async with site(tmp_path, wire=wire, keys=keys("another")) as at:
            return await xarb("keys", "check", at.config)

    printed = asyncio.run(story())
    assert printed.code == 1
    assert b"Sign" in printed.stdout + printed.stderr
    assert leaks(printed.channels) == {}


def test_kills_that_prove_nothing_leak_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists of open orders are dropped, cut, refused or never come: each kill says what it could not prove, and shows no secret."""
    monkeypatch.setattr(killing, "PATIENCE_S", 0.0)
    log = tmp_path / "log"
    said: dict[str, bytes] = {}

    async def story() -> None:
        async with site(tmp_path, keys=keys()) as at:
            os.environ.update(environment())
            await traded(at, log, filled(1))
        for wire, how in WAYS:
            folder = tmp_path / f"{wire} {how}"
            folder.mkdir()
            async with site(folder, (ALWAYS[how](LISTS[wire]),), wire=wire, keys=keys()) as at:
                os.environ.update(environment())
                experiment = load_experiment(quick(at, stop=1000, request_timeout=300, settle=100))
                with pytest.raises(Refused, match=r"NOT PROVEN: main at alpha: orders on BTC/USDT") as error:
                    await asyncio.to_thread(kill, log, wait_s=1, experiment=experiment)
                said[folder.name] = str(error.value).encode()

    asyncio.run(story())
    assert len(said) == len(WAYS)
    assert leaks(said | of_log(log)) == {}


def test_a_kill_of_a_process_that_hangs_leaks_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It stands with an order of unknown fate; cancels are cut, look-ups hang, are cut, garbled and refused: what all of them print holds no secret."""
    monkeypatch.setattr(killing, "PATIENCE_S", 1.5)
    log = tmp_path / "log"
    look = "GET /api/v3/order"
    faults = (
        Fault(kind="hang", on="POST /api/v3/order", after=1, count=0),
        Fault(kind="gap", on="executionReport", after=1, count=0),
        Fault(kind="close", on="DELETE /api/v3/order", after=1, count=0),
        Fault(kind="hang", on=look, after=1, count=1),
        Fault(kind="close", on=look, after=2, count=1),
        Fault(kind="truncate", on=look, after=3, count=1),
        Fault(kind="status", on=look, after=4, count=1, status=503, code=-1000),
        Fault(kind="status", on=look, after=5, count=0, status=401, code=-2015),
    )

    async def story() -> dict[str, bytes]:
        async with site(tmp_path, faults, keys=keys()) as at:
            config = quick(at, hang=600_000, request_timeout=500, settle=100)
            words = ("live", config, "--out", log, "--live", "--account", "main")
            hung = await asyncio.create_subprocess_exec(
                *(sys.executable, "-X", "dev", "-m", "xarb", *map(str, words)),
                env=os.environ | environment(),
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            try:
                async with asyncio.timeout(60):
                    while not await at.ask("alpha", "orders"):
                        assert hung.returncode is None
                        await asyncio.sleep(0.05)
                hung.send_signal(signal.SIGSTOP)
                os.environ.update(environment())
                with pytest.raises(Refused, match=r"NOT PROVEN: main at alpha: .*-1-1: ") as error:
                    await asyncio.to_thread(kill, log, wait_s=0.2, experiment=load_experiment(config))
                async with asyncio.timeout(30):
                    stdout, stderr = await hung.communicate()
            finally:
                if hung.returncode is None:
                    hung.kill()
                    await hung.communicate()
            assert hung.returncode == -signal.SIGKILL
            return {"stdout": stdout, "stderr": stderr, "kill": repr(error.value).encode()}

    told = asyncio.run(story())
    assert b"REAL ORDERS" in told["stderr"]
    assert leaks(told | of_log(log)) == {}


def test_no_traceback_shows_locals() -> None:
    """Typer's tracebacks with the values of variables are off in every application."""
    for one in (app, keys_app, log_app, config_app):
        assert one.pretty_exceptions_show_locals is False
    assert app.pretty_exceptions_enable is False
