"""Serves metrics over HTTP on loopback: read-only, and to no page of a browser that thinks it talks to another host."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import web

from xarb.errors import ConfigError
from xarb.watch.exposition import CONTENT_TYPE

HOST: Final = "127.0.0.1"
_NAMES: Final = ("127.0.0.1", "localhost")


@asynccontextmanager
async def endpoint(port: int, text: Callable[[], str]) -> AsyncIterator[int]:
    """Serve `text()` at /metrics on loopback; gives the port, a free one when `port` is 0.

    Raises:
        ConfigError: the port is taken.
    """

    async def metrics(request: web.Request) -> web.Response:
        name = request.host.rpartition(":")[0] or request.host
        if name not in _NAMES:
            raise web.HTTPForbidden(text="this address is for 127.0.0.1 and localhost alone\n")
        return web.Response(body=text().encode(), headers={"Content-Type": CONTENT_TYPE, "Cache-Control": "no-store"})

    app = web.Application()
    app.router.add_get("/metrics", metrics)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, HOST, port)
        try:
            await site.start()
        except OSError as error:
            raise ConfigError(f"watch.metrics_port = {port}: {error.strerror}") from None
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()
