"""Does a recording hold every message byte for byte, whatever breaks, and does it keep up with 20,000 events a second in steady memory?

A server process on the same machine sends numbered quotes of a served Binance. First in bursts of 100 at 5,000 a second, ending every
connection after two seconds; then 20,000 a second without a break. `xarb record` runs as its own process. Printed: messages sent and
missing, disconnects and gaps, CPU of the recorder a message, its memory at the beginning and the end, how late messages were.

    python -m bench.record [SECONDS OF THE SECOND PART]
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow.parquet as pq
import uvloop
from aiohttp import web

from tests.venues.player import exchange_info, ticker
from xarb.log.manifest import Manifest

BURST = 100
CUT_AFTER_S = 2.0
PART_ONE_S = 20.0
MB = 1 << 20


class Feeder:
    """Sends numbered quotes: `rate` a second, in bursts, to whoever is subscribed."""

    def __init__(self, rate: int, burst: int, cut_after_s: float) -> None:
        self.rate, self.burst, self.cut_after_s = rate, burst, cut_after_s
        self.sent = self.cuts = 0
        self.stalled_s = self.connected_s = 0.0
        self.firsts: list[int] = []  # by connection, the first number sent on it
        self.done = asyncio.Event()

    async def listen(self) -> int:
        """Start; the port."""
        app = web.Application()
        app.router.add_get("/api/v3/exchangeInfo", self._info)
        app.router.add_get("/api/v3/time", self._time)
        app.router.add_get("/stream", self._stream)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return int(runner.addresses[0][1])

    async def _info(self, request: web.Request) -> web.Response:
        del request
        return web.json_response(exchange_info())

    async def _time(self, request: web.Request) -> web.Response:
        del request
        return web.json_response({"serverTime": time.time_ns() // 10**6})

    async def _stream(self, request: web.Request) -> web.WebSocketResponse:
        if self.done.is_set():
            raise web.HTTPServiceUnavailable
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        message = await socket.receive()
        await socket.send_str(json.dumps({"result": None, "id": json.loads(message.data)["id"]}))
        answering = asyncio.create_task(_answer(socket))
        began = due = time.monotonic()
        self.firsts.append(self.sent + 1)
        while not self.done.is_set() and not (self.cut_after_s and time.monotonic() - began >= self.cut_after_s):
            data = b"".join(map(_framed, range(self.sent + 1, self.sent + 1 + self.burst)))
            transport = request.transport
            if transport is None or transport.is_closing():
                break
            transport.write(data)  # type: ignore[attr-defined]  # whole frames, as the library would write them one by one
            self.sent += self.burst
            while transport.get_write_buffer_size() > MB:  # type: ignore[attr-defined]  # a slow reader slows us down
                self.stalled_s += 0.001
                await asyncio.sleep(0.001)
            due += self.burst / self.rate
            await asyncio.sleep(max(due - time.monotonic(), 0))
        self.cuts += 1
        self.connected_s += time.monotonic() - began
        answering.cancel()
        await socket.close(code=1001)
        return socket


async def _answer(socket: web.WebSocketResponse) -> None:
    """Pongs, until cancelled."""
    async for _ in socket:
        pass


def _framed(number: int) -> bytes:
    """A text frame as a server sends it (RFC 6455): 126 to 65,535 bytes."""
    text = ticker(number).encode()
    return b"\x81" + (bytes([len(text)]) if len(text) < 126 else b"\x7e" + len(text).to_bytes(2, "big")) + text


def write_config(path: Path, port: int) -> None:
    """A config for the recorder of a feeder."""
    path.write_text(
        f'[markets.binance]\nsymbols = ["BTC/USDT"]\nchannels = ["quotes"]\nrest_url = "http://127.0.0.1:{port}"\n'
        f'stream_url = "ws://127.0.0.1:{port}"\n'
    )


async def measure(folder: Path, *, rate: int, burst: int, cut_after_s: float, seconds: float) -> dict[str, float]:
    """One part: feed a recorder for so many seconds, then stop both; the figures."""
    feeder = Feeder(rate, burst, cut_after_s)
    port = await feeder.listen()
    config = folder.with_suffix(".toml")
    write_config(config, port)
    command = [sys.executable, "-m", "xarb", "record", str(config), "--into", str(folder)]
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while not feeder.sent:  # noqa: ASYNC110  # until the recorder has connected
        await asyncio.sleep(0.01)
    began, sizes = time.monotonic(), []
    while time.monotonic() - began < seconds:
        await asyncio.sleep(1)
        sizes.append(_memory(process.pid))
    feeder.done.set()
    await asyncio.sleep(1.5)
    cpu = _cpu(process.pid)
    process.send_signal(signal.SIGTERM)
    out, err = await process.communicate()
    if process.returncode:
        raise SystemExit(f"the recorder failed: {err.decode()}\n{out.decode()}")
    return {
        "sent": feeder.sent,
        "cuts": feeder.cuts,
        "rate": feeder.sent / feeder.connected_s,
        "stalled_s": feeder.stalled_s,
        "cpu_us": cpu / feeder.sent * 1e6,
        "first_mb": sizes[min(5, len(sizes) - 1)],
        "last_mb": sizes[-1],
        "most_mb": max(sizes),
    }


def check(folder: Path, sent: int) -> tuple[int, int, int]:
    """Messages that are missing or differ, gaps of the connection, and the disorder of seq: all should be as they should be."""
    payloads: list[bytes] = []
    gaps, rows, last = 0, 0, -1
    for entry in sorted(Manifest(folder).files, key=lambda one: one.first):
        table = pq.read_table(folder / entry.path)
        rows, last = rows + len(table), max(last, entry.last)
        if entry.kind == "frames":
            payloads += [one for one in table.column("payload").to_pylist() if b"bookTicker" in one]
        elif entry.kind == "connections":
            gaps += sum(row["event"] == 2 for row in table.to_pylist())
    wanted = (ticker(number).encode() for number in range(1, sent + 1))
    wrong = sum(one != other for one, other in zip(payloads, wanted, strict=False)) + abs(len(payloads) - sent)
    return wrong, gaps, last + 1 - rows


def _memory(pid: int) -> float:
    """Resident MiB of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize() / MB


def _cpu(pid: int) -> float:
    """Seconds of CPU of a process, without those of its children."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Print both parts."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    print(f"load of the machine before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory(prefix="xarb-bench-") as place:
        for name, rate, burst, cut, lasts in (
            ("bursts of 100, cut every 2 s", 5_000, BURST, CUT_AFTER_S, PART_ONE_S),
            ("20,000 a second", 20_000, 20, 0.0, seconds),
        ):
            folder = Path(place) / f"{rate}"
            found = uvloop.run(measure(folder, rate=rate, burst=burst, cut_after_s=cut, seconds=lasts))
            wrong, gaps, holes = check(folder, int(found["sent"]))
            print(
                f"{name}: {found['rate']:.0f}/s while connected in {lasts:.0f} s, {found['stalled_s']:.2f} s of waiting for the recorder"
            )
            print(
                f"  sent {found['sent']:.0f}, missing or different {wrong}; connections ended {found['cuts']:.0f}, gap rows {gaps}"
            )
            print(f"  holes in seq {holes}; recorder's CPU {found['cpu_us']:.1f} us a message (start and seal of the end excluded)")
            print(
                f"  memory {found['first_mb']:.0f} MiB after 5 s, {found['last_mb']:.0f} at the end, {found['most_mb']:.0f} at most"
            )


if __name__ == "__main__":
    main()
