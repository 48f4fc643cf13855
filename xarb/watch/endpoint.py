"""Serves metrics over HTTP on loopback: read-only, and to no page of a browser that thinks it talks to another host."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from xarb.errors import ConfigError
from xarb.loopback import HOST, is_for_us
from xarb.watch.exposition import CONTENT_TYPE


@asynccontextmanager
async def endpoint(port: int, text: Callable[[], str]) -> AsyncIterator[int]:
    """Serve `text()` at /metrics on loopback; gives the port, a free one when `port` is 0.

    Raises:
        ConfigError: the port is taken.
    """

    async def metrics(request: web.Request) -> web.Response:
        if not is_for_us(request.headers):
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
