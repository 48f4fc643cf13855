"""A WebSocket between a client and the node that fails as asked: it loses, doubles, changes and holds messages, freezes, closes and breaks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from aiohttp import web

Message = dict[str, Any]
Rewrite = Callable[
    [Message, str], Sequence[Message]
]  # a message of the node, the method that it answers; what the client gets in its place


def untouched(message: Message, method: str) -> Sequence[Message]:
    """As it came."""
    del method
    return [message]


def is_head(message: Message) -> bool:
    """Whether it announces a block."""
    result = message.get("params", {}).get("result")
    return isinstance(result, dict) and "parentHash" in result


class FaultProxy:
    """One node behind an address of its own.

    Attributes:
        url: where clients connect.
        rewrite: what becomes of messages of the node.
        calls: methods that clients called, in order.
        opened: connections so far.
    """

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream
        self.url = ""
        self.rewrite: Rewrite = untouched
        self.calls: list[str] = []
        self.opened = 0
        self.refuses = False
        self._goes_on = asyncio.Event()
        self._goes_on.set()
        self._clients: set[web.WebSocketResponse] = set()

    async def close(self, code: int = 1000) -> None:
        """Say goodbye to every client."""
        for client in list(self._clients):
            await client.close(code=code)

    def cut(self) -> None:
        """Break every connection without a word."""
        for client in list(self._clients):
            transport = client._req.transport if client._req else None  # aiohttp has no public way to break one
            if transport is not None:
                transport.abort()

    def freeze(self) -> None:
        """Neither read nor write from now on: not even pings are answered."""
        self._goes_on.clear()

    def thaw(self) -> None:
        """Go on."""
        self._goes_on.set()

    async def inject(self, message: object) -> None:
        """Something that the node never said."""
        await self.inject_text(json.dumps(message))

    async def inject_text(self, text: str) -> None:
        """The same, as text."""
        for client in list(self._clients):
            await client.send_str(text)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One client."""
        if self.refuses:
            return web.Response(status=503)
        self.opened += 1
        client = web.WebSocketResponse(autoping=False, max_msg_size=0, compress=False)
        await client.prepare(request)
        self._clients.add(client)
        methods: dict[int, str] = {}
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(self._upstream, max_msg_size=0, compress=0) as node,
        ):
            up, down = (
                asyncio.ensure_future(self._up(client, node, methods)),
                asyncio.ensure_future(self._down(node, client, methods)),
            )
            try:
                await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                self._clients.discard(client)
                for task in (up, down):
                    task.cancel()
                await asyncio.gather(up, down, return_exceptions=True)
        return client

    async def _up(self, client: web.WebSocketResponse, node: aiohttp.ClientWebSocketResponse, methods: dict[int, str]) -> None:
        while True:
            await self._goes_on.wait()
            message = await client.receive()
            await self._goes_on.wait()
            if message.type is aiohttp.WSMsgType.PING:
                await client.pong(message.data)
            elif message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                asked = json.loads(message.data)
                for one in asked if isinstance(asked, list) else [asked]:
                    methods[one["id"]] = one["method"]
                    self.calls.append(one["method"])
                await node.send_str(json.dumps(asked))
            else:
                return

    async def _down(self, node: aiohttp.ClientWebSocketResponse, client: web.WebSocketResponse, methods: dict[int, str]) -> None:
        async for message in node:
            said = json.loads(message.data)
            if isinstance(said, list):
                parts = [part for one in said for part in self.rewrite(one, methods.get(one.get("id"), ""))]
                out = [json.dumps(parts)] if parts else []
            else:
                out = [json.dumps(part) for part in self.rewrite(said, methods.get(said.get("id"), ""))]
            await self._goes_on.wait()
            for text in out:
                await client.send_str(text)


@asynccontextmanager
async def proxied(port: int) -> AsyncIterator[FaultProxy]:
    """A proxy before the node at a port."""
    proxy = FaultProxy(f"http://127.0.0.1:{port}")
    app = web.Application()
    app.router.add_get("/", proxy.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    (address,) = runner.addresses
    proxy.url = f"ws://127.0.0.1:{address[1]}"
    try:
        yield proxy
    finally:
        proxy.thaw()
        proxy.cut()
        await runner.cleanup()
