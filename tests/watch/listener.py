"""A server on loopback that people's alert services stand for: it keeps what it is sent and answers what it is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web


class Listener:
    """Takes requests.

    Attributes:
        got: method, path, JSON body (None without one) and headers of each request.
        answers: status and headers of the next answers; 200 once they are used up.
        url: its address.
    """

    def __init__(self) -> None:
        self.got: list[tuple[str, str, Any, dict[str, str]]] = []
        self.answers: list[tuple[int, dict[str, str]]] = []
        self.url = ""
        self._news = asyncio.Condition()

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.json() if request.can_read_body else None
        async with self._news:
            self.got.append((request.method, request.path, body, dict(request.headers)))
            self._news.notify_all()
        status, headers = self.answers.pop(0) if self.answers else (200, {})
        return web.Response(status=status, headers=headers)

    async def until(self, done: Callable[[], bool], seconds: float = 30) -> None:
        """Wait until what came is enough."""
        async with asyncio.timeout(seconds), self._news:
            await self._news.wait_for(done)

    def texts(self) -> list[str]:
        """The text of each message."""
        return [body["text"] for _, _, body, _ in self.got if body is not None]

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Listener]:
        """Listen."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._take)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            yield self
        finally:
            await runner.cleanup()
