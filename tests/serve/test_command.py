"""The serve verb as a process: what it prints, how it ends, what it refuses."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import msgspec
import pytest

from xarb.errors import ConfigError
from xarb.log.manifest import Header
from xarb.log.writer import LogWriter
from xarb.serve.command import Options, serve

ROOT = Path(__file__).resolve().parents[2]
LOG = ROOT / "recordings" / "quickstart"


@contextmanager
def process(*words: str) -> Iterator[subprocess.Popen[str]]:
    """`xarb serve` on the shipped recording."""
    command = [sys.executable, "-m", "xarb", "serve", str(LOG), *words]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        try:
            yield running
        finally:
            if running.poll() is None:
                running.kill()


def _addresses(running: subprocess.Popen[str], count: int) -> list[dict[str, str]]:
    assert running.stdout is not None
    lines = [running.stdout.readline().rstrip("\n") for _ in range(count + 2)]
    assert lines[0] == "# Listening"
    return [dict(zip(lines[1].split("\t"), line.split("\t"), strict=True)) for line in lines[2:]]


def _get(url: str) -> dict[str, object]:
    with urllib.request.urlopen(url, timeout=20) as answer:  # noqa: S310  # our own loopback address
        found: dict[str, object] = msgspec.json.decode(answer.read())
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_says_where_it_listens_and_ends_cleanly(number: signal.Signals, tmp_path: Path) -> None:
    """Two venues on two free ports; a signal ends it with 0; the request log can be queried."""
    kept = tmp_path / "requests.jsonl"
    with process("--venue", "alpha", "--venue", "charlie", "--port", "0", "--requests", str(kept)) as running:
        first, second = _addresses(running, 2)
        assert (first["venue"], second["venue"], first["wire"]) == ("alpha", "charlie", "binance")
        assert first["port"] != second["port"]
        assert _get(first["rest"] + "/xarb/status")["begun"] is False
        info = _get(second["rest"] + "/api/v3/exchangeInfo")
        assert {one["symbol"] for one in info["symbols"]} == {"BTCUSDT", "BTCUSDC", "ETHUSDT", "SOLUSDT"}  # type: ignore[attr-defined]  # a list of symbols
        assert _get(first["rest"] + "/xarb/status")["begun"] is True
        running.send_signal(number)
        assert running.wait(20) == 0
    rows = duckdb.read_json(str(kept)).filter("venue = 'charlie'").order("mono_ns").project("way, name, status")
    found = rows.fetchall()
    assert found == [("request", "GET /api/v3/exchangeInfo", None), ("reply", "GET /api/v3/exchangeInfo", 200)]


def test_it_ends_by_itself() -> None:
    """--duration, --at-once and a speed: the market has moved, and the exit code is 0."""
    with process("--venue", "alpha", "--at-once", "--speed", "600", "--duration", "2s") as running:
        _, errors = running.communicate(timeout=60)
        assert running.returncode == 0
        assert "served" in errors
        assert int(errors.split("served ")[1].split()[0]) > 0


@pytest.mark.parametrize(
    ("venues", "ports", "options", "message"),
    [
        (["delta"], [], Options(), "has no venue delta; it has alpha, bravo, charlie"),
        (["alpha"], [], Options(wires=["ftx"]), "--wire ftx: allowed are binance, okx"),
        (["alpha"], [], Options(wires=["okx", "okx"]), "2 wires for 1 venues"),
        (["alpha"], ["1", "2"], Options(), "2 ports for 1 venues"),
        ([], ["http"], Options(), "--port http: must be a number"),
        ([], [], Options(speed="0"), "--speed 0: must be a number above 0"),
        ([], [], Options(duration="soon"), "duration soon"),
        ([], [], Options(skip_to="noon"), "--skip-to = noon"),
        (["alpha", "alpha"], [], Options(), "a venue is named twice"),
        ([], [], Options(config=Path("none.toml")), "none.toml"),
        ([], [], Options(faults=Path("none.toml")), "none.toml"),
    ],
)
def test_what_it_refuses(venues: list[str], ports: list[str], options: Options, message: str) -> None:
    """A line that names the option."""
    with pytest.raises(ConfigError) as caught:
        serve(LOG, venues, ports, options)
    assert message in str(caught.value)


def test_a_run_is_no_market(tmp_path: Path) -> None:
    """A run holds what was decided, not what the market did."""
    LogWriter.create(tmp_path / "run", Header(kind="run", log_id="x", input_digest="y")).close()
    with pytest.raises(ConfigError, match="is a run; a market is served from a log"):
        serve(tmp_path / "run", ["alpha"], [], Options())


def test_a_port_that_is_taken() -> None:
    """Exit code 1 and what the system says."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with process("--venue", "alpha", "--port", str(taken.getsockname()[1])) as running:
            _, errors = running.communicate(timeout=60)
    assert running.returncode == 1
    assert "in use" in errors
