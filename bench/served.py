"""What does a served exchange cost a frame, how many does it push a second, and how long does an order take?

The shipped recording's venue alpha behind Binance's wire in a process of its own: quotes and trades of all three symbols to one client that
only counts, at a speed that the server cannot keep up with, so that it pushes as fast as it can; then LIMIT orders over REST, one after
another, on the market that stands still. Beside it, what bare aiohttp needs to push the same number of frames of that length.

    python -m bench.served [ORDERS]
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import multiprocessing
import resource
import statistics
import sys
import time
from fractions import Fraction
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

import aiohttp
import uvloop
from aiohttp import web

from xarb.log.reader import LogReader
from xarb.serve.clock import WallClock
from xarb.serve.config import DEMO_KEY, DEMO_SECRET, Limits, ServeConfig, demo_config
from xarb.serve.server import Plan, Server

LOG: Final = Path(__file__).resolve().parents[1] / "recordings" / "quickstart"
SYMBOLS: Final = ("btcusdt", "ethusdt", "solusdt")
STREAMS: Final = "/".join(f"{symbol}@{stream}" for symbol in SYMBOLS for stream in ("bookTicker", "trade"))
FRAME: Final = '{"u":12345,"s":"BTCUSDT","b":"92440.20000000","B":"0.22144000","a":"92442.22000000","A":"0.02408000"}'
_SPEED: Final = Fraction(100_000)


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def _serve(pipe: Connection) -> None:
    """Serve; tell the port, then what the market's rows cost."""
    with LogReader(LOG) as reader:
        demo = demo_config(one for one in reader.instruments if one.venue == "alpha")
        config = ServeConfig(keys=demo.keys, accounts=demo.accounts, limits=Limits(orders_10s=10**9, weight_1m=10**9))
        async with Server(reader, Plan([("alpha", 0)], config), WallClock(_SPEED)) as server:
            pipe.send(server.addresses[0].port)
            await server.market.begun.wait()
            began = _cpu()
            await server.market.ended.wait()
            await asyncio.sleep(0.5)
            pipe.send((server.market.applied, _cpu() - began))
            await asyncio.to_thread(pipe.recv)


async def _bare(pipe: Connection) -> None:
    """Push one text so many times, as fast as aiohttp can."""

    async def push(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse(compress=False)
        await ws.prepare(request)
        count, began = int(request.query["count"]), _cpu()
        for _ in range(count):
            await ws.send_str(FRAME)
        pipe.send((count, _cpu() - began))
        await ws.close()
        return ws

    app = web.Application()
    app.add_routes([web.get("/", push)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    pipe.send(runner.addresses[0][1])
    await asyncio.to_thread(pipe.recv)
    await runner.cleanup()


def _run(main: str, pipe: Connection) -> None:
    uvloop.run({"serve": _serve, "bare": _bare}[main](pipe))


async def _count(url: str, pipe: Connection) -> tuple[int, float]:
    """Frames until the other side has told its cost and is silent; the seconds from the first to the last."""
    count, first, last = 0, 0.0, 0.0
    async with aiohttp.ClientSession() as http, http.ws_connect(url) as ws:
        while True:
            try:
                message = await ws.receive(timeout=1.0)
            except TimeoutError:
                if pipe.poll():
                    return count, last - first
                continue
            if message.type is not aiohttp.WSMsgType.TEXT:
                return count, last - first
            last = time.perf_counter()
            first = first or last
            count += 1


async def _orders(rest: str, number: int) -> list[float]:
    """Seconds of each order, one after another."""
    found = []
    headers = {"X-MBX-APIKEY": DEMO_KEY}
    async with aiohttp.ClientSession() as http:
        for at in range(number):
            side = {"symbol": "BTCUSDT", "side": ("BUY", "SELL")[at % 2], "type": "LIMIT", "timeInForce": "IOC"}
            query = urlencode({**side, "quantity": "0.0001", "price": "90000", "timestamp": time.time_ns() // 1_000_000})
            signature = hmac.new(DEMO_SECRET.encode(), query.encode(), hashlib.sha256).hexdigest()
            began = time.perf_counter()
            async with http.post(f"{rest}/api/v3/order?{query}&signature={signature}", headers=headers) as answer:
                text = await answer.text()
            found.append(time.perf_counter() - began)
            if answer.status != 200:
                raise SystemExit(text)
    return found


def main() -> None:
    """Measure and print."""
    orders = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    context = multiprocessing.get_context("spawn")
    costs = {}
    for kind in ("serve", "bare"):
        mine, other = context.Pipe()
        process = context.Process(target=_run, args=(kind, other), daemon=True)
        process.start()
        port = mine.recv()
        path = f"/stream?streams={STREAMS}" if kind == "serve" else f"/?count={costs['serve'][0]}"
        count, seconds = uvloop.run(_count(f"http://127.0.0.1:{port}{path}", mine))
        rows, cpu = mine.recv()
        costs[kind] = count, cpu
        print(f"{kind}: {count} frames of {rows} rows, {count / seconds:,.0f} frames/s, {cpu / count * 1e6:.1f} us of CPU a frame")
        if kind == "serve":
            times = sorted(uvloop.run(_orders(f"http://127.0.0.1:{port}", orders)))
            p50, p99 = statistics.median(times), times[len(times) * 99 // 100]
            print(f"an order over REST, {orders} of them: p50 {p50 * 1e3:.2f} ms, p99 {p99 * 1e3:.2f} ms")
        mine.send("enough")
        process.join()
    (frames, served), (_, bare) = costs["serve"], costs["bare"]
    print(f"a served frame costs {served / frames / (bare / frames):.1f} times a bare one")


if __name__ == "__main__":
    main()
