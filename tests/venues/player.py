"""A loopback server that speaks as much of Binance spot as a recorder needs, and does what a test tells it to."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

NAMES = ("BTCUSDT", "ETHUSDT")


def exchange_info(names: tuple[str, ...] = NAMES) -> dict[str, Any]:
    """An answer to exchangeInfo with the filters that matter."""
    symbols = [
        {
            "symbol": name,
            "status": "TRADING",
            "baseAsset": name[:-4],
            "baseAssetPrecision": 8,
            "quoteAsset": name[-4:],
            "quotePrecision": 8,
            "quoteAssetPrecision": 8,
            "orderTypes": ["LIMIT", "MARKET"],
            "isSpotTradingAllowed": True,
            "isMarginTradingAllowed": False,
            "filters": [
                {"filterType": "PRICE_FILTER", "minPrice": "0.01000000", "maxPrice": "1000000.00000000", "tickSize": "0.01000000"},
                {"filterType": "LOT_SIZE", "minQty": "0.00001000", "maxQty": "9000.00000000", "stepSize": "0.00001000"},
                {
                    "filterType": "NOTIONAL",
                    "minNotional": "5.00000000",
                    "applyMinToMarket": True,
                    "maxNotional": "9000000.00000000",
                },
            ],
            "permissions": [],
            "permissionSets": [["SPOT"]],
        }
        for name in names
    ]
    return {"timezone": "UTC", "serverTime": 1_700_000_000_000, "rateLimits": [], "exchangeFilters": [], "symbols": symbols}


def ticker(number: int, name: str = "BTCUSDT") -> str:
    """A bookTicker frame with update id `number`, as the combined stream wraps it."""
    bid = 60_000 + number % 1000 / 100
    data = {"u": number, "s": name, "b": f"{bid:.8f}", "B": "1.50000000", "a": f"{bid + 1:.8f}", "A": "2.25000000"}
    return json.dumps({"stream": f"{name.lower()}@bookTicker", "data": data}, separators=(",", ":"))


def trade(number: int, name: str = "BTCUSDT", price: str = "60000.00000000") -> str:
    """A trade frame."""
    data = {
        "e": "trade",
        "E": 1_700_000_000_000,
        "s": name,
        "t": number,
        "p": price,
        "q": "0.00100000",
        "T": 1_700_000_000_000,
        "m": True,
    }
    return json.dumps({"stream": f"{name.lower()}@trade", "data": data}, separators=(",", ":"))


def depth(first: int, last: int, name: str = "BTCUSDT", price: str = "59999.00000000") -> str:
    """A depth update of one bid."""
    data = {
        "e": "depthUpdate",
        "E": time.time_ns() // 10**6,
        "s": name,
        "U": first,
        "u": last,
        "b": [[price, "1.00000000"]],
        "a": [],
    }
    return json.dumps({"stream": f"{name.lower()}@depth@100ms", "data": data}, separators=(",", ":"))


def snapshot(last: int) -> str:
    """A depth snapshot of one level a side."""
    return json.dumps(
        {"lastUpdateId": last, "bids": [["59998.00000000", "1.00000000"]], "asks": [["60002.00000000", "1.00000000"]]}
    )


class Player:
    """The server. Tests send on `sockets` and change `depth_answer` and `refuse`.

    Attributes:
        sockets: those that are open, in order of their connects.
        heard: texts that clients sent.
        requests: paths of REST requests.
        connected: set at each connect; who waits clears it first.
    """

    def __init__(self) -> None:
        self.sockets: list[web.WebSocketResponse] = []
        self.heard: list[str] = []
        self.requests: list[str] = []
        self.pings = 0
        self.answers_pings = True
        self.refuse: int | None = None
        self.refusal: dict[str, str] = {}
        self.subscribed = asyncio.Event()
        self.depth_answer: Callable[[str], tuple[int, str, dict[str, str]]] = lambda _: (200, snapshot(0), {})
        self.answers = asyncio.Event()  # cleared: depth requests wait
        self.answers.set()
        self.trades: list[dict[str, Any]] = []
        self.port = 0

    @property
    def rest_url(self) -> str:
        """Origin of its REST service."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def stream_url(self) -> str:
        """Origin of its stream."""
        return f"ws://127.0.0.1:{self.port}"

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Player]:
        """Listen on a free port."""
        app = web.Application()
        app.router.add_get("/api/v3/exchangeInfo", self._info)
        app.router.add_get("/api/v3/time", self._time)
        app.router.add_get("/api/v3/depth", self._depth)
        app.router.add_get("/api/v3/aggTrades", self._trades)
        app.router.add_get("/stream", self._stream)
        app.router.add_get("/stream/{tail:.*}", self._stream)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = runner.addresses[0][1]
        try:
            yield self
        finally:
            for socket in self.sockets:
                await socket.close()
            await runner.cleanup()

    async def _info(self, request: web.Request) -> web.Response:
        self.requests.append(request.path_qs)
        return web.json_response(exchange_info())

    async def _time(self, request: web.Request) -> web.Response:
        self.requests.append(request.path_qs)
        return web.json_response({"serverTime": time.time_ns() // 10**6})

    async def _depth(self, request: web.Request) -> web.Response:
        self.requests.append(request.path_qs)
        await self.answers.wait()
        status, text, headers = self.depth_answer(request.query["symbol"])
        return web.Response(status=status, text=text, headers=headers, content_type="application/json")

    async def _trades(self, request: web.Request) -> web.Response:
        self.requests.append(request.path_qs)
        return web.json_response(self.trades)

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        if self.refuse is not None:
            return web.Response(status=self.refuse, headers=self.refusal)
        socket = web.WebSocketResponse(autoping=False, compress=False)
        await socket.prepare(request)
        self.sockets.append(socket)
        async for message in socket:
            if message.type is web.WSMsgType.TEXT:
                self.heard.append(message.data)
                await socket.send_str(json.dumps({"result": None, "id": json.loads(message.data)["id"]}))
                self.subscribed.set()
            elif message.type is web.WSMsgType.PING:
                self.pings += 1
                if self.answers_pings:
                    await socket.pong(message.data)
        self.sockets.remove(socket)
        return socket

    async def next_subscription(self) -> web.WebSocketResponse:
        """The newest socket, once its client has subscribed."""
        async with asyncio.timeout(10):
            await self.subscribed.wait()
        self.subscribed.clear()
        return self.sockets[-1]
