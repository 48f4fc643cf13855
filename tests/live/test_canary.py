"""Canary secrets through every way in which a request of real trading fails: nothing that anybody may read holds them."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.live.site import VENUES, site
from xarb.cli import app
from xarb.cli_keys import keys_app
from xarb.log.reader import LogReader
from xarb.model.columns import INPUTS
from xarb.serve.config import KeyConfig
from xarb.serve.faults import Fault
from xarb.verbs import config_app, log_app

KEY, SECRET = "canaryKEY7f3a91c2", "canarySECRET5be0d4"
SIGNED = re.compile(rb"(?i)(signature=|x-mbx-apikey['\"]?\s*[:=]\s*['\"]?)(?!\*\*\*)")
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


async def xarb(*words: str | Path, stdin: bytes = b"") -> tuple[int, bytes]:
    """Run a command in asyncio's debug mode; its exit code, and everything that it printed."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-X", "dev", "-m", "xarb", *map(str, words)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(90):
            printed, _ = await process.communicate(stdin)
    finally:
        if process.returncode is None:
            process.kill()
    return process.returncode or 0, printed


def assert_clean(text: bytes) -> None:
    """No canary, signature or header with a key."""
    assert KEY.encode() not in text
    assert SECRET.encode() not in text
    assert SIGNED.search(text) is None


def written(log: Path) -> bytes:
    """Everything of a log, as it lies there and decoded."""
    parts = [path.read_bytes() for path in sorted(log.rglob("*")) if path.is_file()]
    parts += [repr(pq.read_table(path).to_pylist()).encode() for path in sorted(log.rglob("*.parquet"))]
    with LogReader(log) as reader:
        parts += [repr(row).encode() for kind in INPUTS if kind != "frames" for row in reader.rows(kind)]
    return b"".join(parts)


@pytest.fixture
def canaries(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], dict[str, KeyConfig]]:
    """Sets canary keys for both venues, and gives the served exchange's idea of them."""

    def use(secret: str) -> dict[str, KeyConfig]:
        for venue in VENUES:
            monkeypatch.setenv(f"XARB_{venue.upper()}_MAIN_API_KEY", KEY)
            monkeypatch.setenv(f"XARB_{venue.upper()}_MAIN_API_SECRET", SECRET)
        return {"it": KeyConfig(account="main", api_key=KEY, secret=secret)}

    return use


def test_trading_through_faults_leaks_nothing(tmp_path: Path, canaries: Callable[[str], dict[str, KeyConfig]]) -> None:
    """`live` with orders hung, dropped, cut, refused and throttled, then `kill`, `status`: neither what is printed nor the log holds a secret."""
    log = tmp_path / "log"

    async def story() -> list[bytes]:
        async with site(tmp_path, FAULTS, keys=canaries(SECRET)) as at:
            canaries(SECRET)  # after the site's own
            at.config.write_text(at.config.read_text().replace("stop_ms = 8000", "stop_ms = 3000\nrequest_timeout_ms = 1000"))
            ran = await xarb("live", at.config, "--out", log, "--live", "--account", "main", "--duration", "12s")
            killed = await xarb("kill", log, "--config", at.config, "--wait", "5s")
            return [ran[1], killed[1], (await xarb("status", log))[1]]

    printed = asyncio.run(story())
    assert b"REAL ORDERS" in printed[0]
    with LogReader(log) as reader:
        events = {row["event"] for row in reader.rows("reports")}
    assert {"sent", "unknown", "rejected"} <= events
    for text in (*printed, written(log)):
        assert_clean(text)


@pytest.mark.parametrize("how", ALWAYS)
def test_refusals_before_trading_leak_nothing(tmp_path: Path, canaries: Callable[[str], dict[str, KeyConfig]], how: str) -> None:
    """`keys check` and `live` at exchanges that answer no private request: they fail by name, without a secret."""

    async def story() -> list[tuple[int, bytes]]:
        async with site(tmp_path, (ALWAYS[how]("GET /api/v3/account"),), keys=canaries(SECRET)) as at:
            canaries(SECRET)
            at.config.write_text(at.config.read_text().replace("stop_ms = 8000", "stop_ms = 1000\nrequest_timeout_ms = 500"))
            return [
                await xarb("keys", "check", at.config),
                await xarb("live", at.config, "--out", tmp_path / "log", "--live", "--account", "main", "--duration", "1s"),
            ]

    for code, text in asyncio.run(story()):
        assert code in {1, 2}, "a reply that was cut off was taken for an answer"
        assert b"Traceback" not in text
        assert_clean(text)


def test_wrong_secret_leaks_nothing(tmp_path: Path, canaries: Callable[[str], dict[str, KeyConfig]]) -> None:
    """A signature that does not hold."""

    async def story() -> tuple[int, bytes]:
        async with site(tmp_path, keys=canaries("another")) as at:
            canaries("another")
            return await xarb("keys", "check", at.config)

    code, text = asyncio.run(story())
    assert code == 1
    assert b"Signature" in text
    assert_clean(text)


def test_no_traceback_shows_locals() -> None:
    """Typer's tracebacks with the values of variables are off in every application."""
    for one in (app, keys_app, log_app, config_app):
        assert one.pretty_exceptions_show_locals is False
    assert app.pretty_exceptions_enable is False
