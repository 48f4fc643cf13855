"""The page over HTTP on loopback, and what changes of it as server-sent events; whoever comes, or comes back, gets all of it first.

It is for this machine alone: requests that name another host, and those of other pages, are refused. Nothing can be changed here unless the server has a
token, and then by those alone who show it.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib import resources
from typing import Final

import msgspec
from aiohttp import web

from xarb.errors import ConfigError, XarbError
from xarb.loopback import HOST, is_for_us
from xarb.model.order import KILL_LEVELS, KillLevel

HEADER: Final = "X-Xarb-Token"
LISTENERS: Final = 32  # pages that are open at once
_BEAT_S: Final = 10.0  # after which a line without a meaning goes out: a page notices when it stays away
_STALL_S: Final = 30.0  # after which a page that takes nothing is let go; it comes back by itself
_FAREWELL_S: Final = 2.0
_MOST: Final = 1_024  # bytes of a request's body
_REPORT: Final = "xarb.verbs.report"
_HERE: Final = "xarb.verbs.dashboard"
_FILES: Final = {  # by path: package, name, kind
    "/": (_HERE, "page.html", "text/html"),
    "/palette.css": (_REPORT, "palette.css", "text/css"),
    "/page.css": (_HERE, "page.css", "text/css"),
    "/page.js": (_HERE, "page.js", "text/javascript"),
}
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
Kill = Callable[[KillLevel], str]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Hub:
    """What the page shows now, part by part; those who listen are woken where one changes, and take it when they are ready.

    A listener that is slow gets the newest state of each part, not each state: nothing is queued for it.
    """

    def __init__(self) -> None:
        self._parts: dict[str, tuple[int, bytes]] = {}  # when each changed last, by a count
        self._count = 0
        self._changed = asyncio.Event()
        self.came = asyncio.Event()  # somebody listens who did not before
        self.listeners = 0
        self.closed = False

    def tell(self, parts: dict[str, bytes]) -> None:
        """New states of parts; those that are as they were are left alone."""
        for name, data in parts.items():
            if name not in self._parts or self._parts[name][1] != data:
                self._count += 1
                self._parts[name] = self._count, data
        self._wake()

    def close(self) -> None:
        """Let all listeners go."""
        self.closed = True
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def news(self, since: int) -> tuple[int, dict[str, bytes]]:
        """What changed after a count, once anything did or a while is over; with the count to ask with next."""
        if self._count <= since and not self.closed:
            try:
                async with asyncio.timeout(_BEAT_S):
                    await self._changed.wait()
            except TimeoutError:
                pass
        return self._count, {name: data for name, (at, data) in self._parts.items() if at > since}


class Wish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the button asks for."""

    level: KillLevel


class Pages:
    """Answers requests.

    Args:
        hub: what there is to be shown.
        token: who shows it may kill; None makes all read-only.
        kill: kills, which may take a while; what it did, in words, or an error of ours that says why not.
    """

    def __init__(self, hub: Hub, token: str | None, kill: Kill) -> None:
        self._hub, self._token, self._kill = hub, token, kill
        self._killing = asyncio.Lock()

    def app(self) -> web.Application:
        """The application."""
        app = web.Application(middlewares=[_guarded], client_max_size=_MOST)
        for path, of in _FILES.items():
            app.router.add_get(path, _file(*of))
        app.router.add_get("/events", self.events)
        app.router.add_post("/kill", self.kill)
        return app

    async def events(self, request: web.Request) -> web.StreamResponse:
        """All parts, then those that change."""
        if self._hub.listeners >= LISTENERS:
            raise web.HTTPServiceUnavailable(text=f"{LISTENERS} pages are open already\n")
        self._hub.listeners += 1
        self._hub.came.set()
        try:
            answer = web.StreamResponse(headers={**_HEADERS, "Content-Type": "text/event-stream"})
            await answer.prepare(request)
            await answer.write(b"retry: 1000\n\n")
            since = 0
            while not self._hub.closed:
                since, parts = await self._hub.news(since)
                lines = b"".join(b"event: %s\ndata: %s\n\n" % (name.encode(), data) for name, data in parts.items())
                async with asyncio.timeout(_STALL_S):
                    await answer.write(lines or b"event: beat\ndata: 0\n\n")
        except (TimeoutError, ConnectionError):  # the page is gone, or takes nothing
            pass
        finally:
            self._hub.listeners -= 1
        return answer

    async def kill(self, request: web.Request) -> web.Response:
        """Kill to a level, as `xarb kill` does from another shell."""
        if self._token is None:
            raise web.HTTPForbidden(text="this page is read-only: start it with --token\n")
        if not hmac.compare_digest(request.headers.get(HEADER, "").encode(), self._token.encode()):
            raise web.HTTPForbidden(text="the token is missing or wrong\n")
        if request.headers.get("Origin") != f"http://{request.host}":
            raise web.HTTPForbidden(text="only the page of this server may ask\n")
        if request.content_type != "application/json":
            raise web.HTTPUnsupportedMediaType(text="a level as JSON is expected\n")
        try:
            wish = msgspec.json.decode(await request.read(), type=Wish)
        except msgspec.DecodeError:
            raise web.HTTPBadRequest(text=f"the level must be one of {', '.join(KILL_LEVELS)}\n") from None
        async with self._killing:
            try:
                said, status = await asyncio.to_thread(self._kill, wish.level), 200
            except XarbError as error:
                said, status = str(error), 409
        return web.Response(status=status, text=f"{said}\n")


@asynccontextmanager
async def serving(pages: Pages, port: int) -> AsyncIterator[int]:
    """Answer on loopback; gives the port, a free one when `port` is 0.

    Raises:
        ConfigError: the port is taken.
    """
    runner = web.AppRunner(pages.app(), access_log=None, shutdown_timeout=_FAREWELL_S)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, HOST, port).start()
        except OSError as error:
            raise ConfigError(f"--port {port}: {error.strerror}") from None
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@web.middleware
async def _guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
    """To this host alone, and what a browser is to know of every answer."""
    if not is_for_us(request.headers):
        raise web.HTTPForbidden(text="this address is for 127.0.0.1 and localhost alone\n", headers=_HEADERS)
    try:
        answer = await handler(request)
    except web.HTTPException as error:
        error.headers.update(_HEADERS)
        raise
    if not answer.prepared:
        answer.headers.update(_HEADERS)
    return answer


def _file(package: str, name: str, kind: str) -> Handler:
    """Answers with a file of ours."""
    text = resources.files(package).joinpath(name).read_text(encoding="utf-8")

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(text=text, content_type=kind, charset="utf-8")

    return answer
