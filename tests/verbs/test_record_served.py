"""A recording of our own exchange server, whose account of every frame it sent is the witness."""

from __future__ import annotations

import asyncio
import json
import signal
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.verbs.test_record import ROOT, Command, rows, run
from xarb.log.check import verify_log
from xarb.model.columns import CONNECTION_EVENTS
from xarb.verbs.rederive import rederive

FAULTS = """
[[fault]]
kind = "malformed"
on = "btcusdt@trade"
after = 2
[[fault]]
kind = "gap"
on = "btcusdt@depth@100ms"
after = 10
[[fault]]
kind = "status"
on = "GET /api/v3/depth"
after = 4
status = 429
code = -1003
message = "Too many requests."
retry_after_s = 1
[[fault]]
kind = "close"
on = "btcusdt@depth@100ms"
after = 30
[[fault]]
kind = "freeze"
on = "btcusdt@depth@100ms"
after = 50
for_s = 1
[[fault]]
kind = "server_shutdown"
venue = "alpha"
at_s = 9
for_s = 1
"""


async def _origin(server: Command) -> str:
    """The REST address that the server prints, in the line after the heading."""
    assert server.process.stdout is not None
    async with asyncio.timeout(30):
        for _ in range(2):
            await server.process.stdout.readline()
        return (await server.process.stdout.readline()).decode().split("\t")[3]


def test_everything_that_was_sent_is_recorded_through_every_fault(tmp_path: Path) -> None:
    """Closed, frozen, shut down, a broken frame, a lost update, a refused snapshot: each on record, and every frame byte for byte."""
    (tmp_path / "faults.toml").write_text(FAULTS)
    log, requests = tmp_path / "log", tmp_path / "requests.jsonl"

    async def story() -> None:
        words = ("--venue", "alpha", "--speed", "10", "--faults", str(tmp_path / "faults.toml"), "--requests", str(requests))
        server = await Command.start("serve", str(ROOT / "recordings" / "quickstart"), *words, "--port", "0")
        try:
            origin = await _origin(server)
            config = tmp_path / "config.toml"
            config.write_text(
                f'[markets.alpha]\nexchange = "binance"\nsymbols = ["BTC/USDT", "ETH/USDT"]\nrest_url = "{origin}"\n'
                f'stream_url = "{origin.replace("http", "ws", 1)}"\n'
            )
            recorder = await Command.start("record", str(config), "--into", str(log), "--duration", "12s")
            code, _, err = await recorder.end()
            assert code == 0, err
        finally:
            server.process.send_signal(signal.SIGTERM)
            await server.end()

    run(story())
    assert verify_log(log).ok
    sent: dict[int, list[bytes]] = {}
    for text in requests.read_text().splitlines():
        line = json.loads(text)
        if line["way"] == "frame_out":
            sent.setdefault(line["conn"], []).append(line["body"].encode())
    received = _epochs(log)
    assert len(received) == len(sent) >= 3
    lost = {row["epoch"] for row in rows(log, "connections") if CONNECTION_EVENTS[row["event"]] == "lost"}
    assert lost  # what the server ended; at what we end, a frame may be under way
    for number, frames in enumerate(sent.values(), 1):
        mine = received[number]
        assert len(mine) > 100
        assert mine == frames[: len(mine)]
        if number in lost:
            assert len(mine) == len(frames), "a connection that the server ended lost frames that it had sent"
    events = [CONNECTION_EVENTS[row["event"]] for row in rows(log, "connections") if row["symbol"] is None]
    assert events.count("opened") == len(sent)
    assert sum(a == "gap" and b in {"lost", "closed"} for a, b in pairwise(events)) == len(sent)
    broken = [row for row in rows(log, "connections") if row["symbol"] is not None]
    assert [CONNECTION_EVENTS[row["event"]] for row in broken][:2] == ["gap", "resync"]
    assert {row["rule"] for row in rows(log, "rejects")} == {"bad_json"}
    assert [row["value"] for row in rows(log, "health") if row["metric"] == "fetch_failed_status"] == [429]
    done = rederive(log, tmp_path / "again")
    assert done.before == done.after


def _epochs(log: Path) -> dict[int, list[bytes]]:
    """The streamed frames of each epoch, in order."""
    merged: list[tuple[int, dict[str, Any]]] = [(row["seq"], row) for kind in ("frames", "connections") for row in rows(log, kind)]
    found: dict[int, list[bytes]] = {}
    epoch = 0
    for _, row in sorted(merged, key=lambda one: one[0]):
        if "payload" not in row:
            epoch = row["epoch"]
        elif row["native"] is None:
            found.setdefault(epoch, []).append(row["payload"])
    return found
