"""A browser's part in the tests of the live page: reads pushed parts from the socket until they say what is waited for."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xarb.verbs.dashboard import Page
from xarb.verbs.dashboard.board import Pace

if TYPE_CHECKING:
    import aiohttp

LIMIT_S = 60
PACE = Pace(0.02, 0.2, 0.2, 0, 0.05)


class Reader:
    """The parts of the page as they were pushed last."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._answer = answer
        self.parts: dict[str, Any] = {}

    async def until(self, done: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """Read on until the parts are so; all of them."""
        name = ""
        while not done(self.parts):
            line = (await self._answer.content.readline()).decode()
            assert line, "the server let us go"
            if line.startswith("event: "):
                name = line.removeprefix("event: ").strip()
            elif line.startswith("data: ") and name != "beat":
                self.parts[name] = json.loads(line.removeprefix("data: "))
        return self.parts

    def rows(self, part: str, key: str) -> list[list[str]]:
        """The rows of a table."""
        tables = self.parts[part]["tables"] if part == "slow" else self.parts[part]
        found: list[list[str]] = next((one["rows"] for one in tables if one["key"] == key), [])
        return found

    def tile(self, what: str) -> dict[str, str]:
        """One of the figures at the top."""
        found: dict[str, str] = next(one for one in self.parts["tiles"] if one["what"].startswith(what))
        return found


@asynccontextmanager
async def reading(http: aiohttp.ClientSession, url: str) -> AsyncIterator[Reader]:
    """Listen to what is pushed."""
    # A part may be longer than a line that the client expects.
    async with http.get(f"{url}events", read_bufsize=1 << 22, max_line_size=1 << 22) as answer:
        assert answer.status == 200
        assert answer.content_type == "text/event-stream"
        yield Reader(answer)


@asynccontextmanager
async def shown(folder: Path, *, token: str | None = None, log: Path | None = None) -> AsyncIterator[str]:
    """The address of a page that is served in this process."""
    stop, said = asyncio.Event(), asyncio.Queue[str]()
    task = asyncio.ensure_future(Page(folder, log, 0, token, PACE).show(stop, said.put_nowait))
    address = asyncio.ensure_future(said.get())
    try:
        await asyncio.wait({task, address}, timeout=LIMIT_S, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
        yield (await address).split(": ", 1)[1].partition("#")[0]
    finally:
        stop.set()
        address.cancel()
        async with asyncio.timeout(LIMIT_S):
            await task
