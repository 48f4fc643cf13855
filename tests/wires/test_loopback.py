"""Recorded frames through real sockets: the live adapter and the sessions of KuCoin, Gate, Bitstamp and Upbit together."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from typing import Any, NamedTuple

import aiohttp
import pytest
from aiohttp import web

from tests.wires.instruments import listing
from tests.wires.replay import Frame, captured
from xarb.model.columns import TABLES
from xarb.venues.clock import Clock
from xarb.venues.intake import Intake
from xarb.venues.rest import PublicRest
from xarb.venues.stream import Feed, Stream, StreamPolicy
from xarb.wires.exchanges import WIRES
from xarb.wires.rows import Row, RowBuilder


class Case(NamedTuple):
    """One exchange: two instruments of its recording, how it greets and what it is asked, and what must be in the log in the end."""

    natives: tuple[str, str]
    stream: str
    snapshots: str
    greeting: str
    requests: int  # subscriptions, sent before anything comes
    update: str  # pattern of a frame that updates a book, with its native name
    rows: dict[str, int]


CASES = {
    "kucoin": Case(
        ("BCHSV-USDT", "SNX-BTC"),
        "KUCOIN.ws.1.0",
        "KUCOIN.http.0.0",
        '{"id":"1","type":"welcome"}',
        3,
        '"topic":"/market/level2:([A-Z-]+)"',
        {"quotes": 438},
    ),
    "gate": Case(
        ("NEO_BTC", "DIS_USDT"), "GATEIO.ws.1.0", "GATEIO.http.0.0", "", 4, '"depthUpdate".*"s":"([A-Z0-9_]+)"', {"trades": 6}
    ),
    "bitstamp": Case(
        ("ethusd", "adaeur"),
        "BITSTAMP.ws.1.0",
        "BITSTAMP.http.0.0",
        "",
        6,
        '"diff_order_book_([a-z]+)","event":"data"',
        {"trades": 10},
    ),
    "upbit": Case(("KRW-LAMB", "KRW-WAVES"), "UPBIT.ws.62.0", "", "", 1, "(?!)", {"books": 113, "trades": 302}),
}


class Server:
    """Answers what the exchange of a case would, from its recording; an update waits until the snapshot of its book was fetched."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.frames: list[Frame] = captured(case.stream)
        recorded = captured(case.snapshots) if case.snapshots else []
        self.snapshots = {native: one.payload for native in case.natives for one in recorded if native in one.url}
        self.fetched = {native: asyncio.Event() for native in self.snapshots}
        self.heard: list[str] = []
        self.port = 0

    def application(self) -> web.Application:
        """The stream at /, the address of it where KuCoin gives it, and snapshots at every other path."""
        app = web.Application()
        app.router.add_get("/", self._stream)
        app.router.add_post("/api/v1/bullet-public", self._bullet)
        app.router.add_get("/{path:.+}", self._snapshot)
        return app

    async def _bullet(self, _: web.Request) -> web.Response:
        server = {"endpoint": f"ws://127.0.0.1:{self.port}/", "pingInterval": 18000, "pingTimeout": 10000}
        return web.json_response({"code": "200000", "data": {"token": "a/b=", "instanceServers": [server]}})

    async def _snapshot(self, request: web.Request) -> web.Response:
        native = next(native for native in self.case.natives if native in request.path_qs)
        self.fetched[native].set()
        return web.Response(body=self.snapshots[native], content_type="application/json")

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        if self.case.greeting:
            assert request.query["token"] == "a/b="  # noqa: S105  # of this test
            await socket.send_str(self.case.greeting)
        async for message in socket:
            self.heard.append(message.data)
            if len(self.heard) == self.case.requests:
                await self._play(socket)
        return socket

    async def _play(self, socket: web.WebSocketResponse) -> None:
        for frame in self.frames:
            await socket.send_bytes(frame.payload)
            updated = re.search(self.case.update, frame.payload.decode())
            if updated is not None and updated[1] in self.fetched:
                await self.fetched[updated[1]].wait()


@pytest.mark.parametrize("venue", CASES)
def test_a_recording_played_over_sockets_is_whole_in_the_log(venue: str) -> None:
    """Recording: every frame is kept, every quote, book and trade is a row, each book starts from a fetched snapshot, and none has a gap."""
    case = CASES[venue]
    rows: dict[str, list[dict[str, Any]]] = {}
    arrived = asyncio.Event()

    def deliver(parts: dict[str, list[Row]]) -> None:
        for kind, part in parts.items():
            names = [column.name for column in TABLES[kind].columns]
            rows.setdefault(kind, []).extend(dict(zip(names, row, strict=True)) for row in part)
        arrived.set()

    async def story() -> Server:
        server = Server(case)
        runner = web.AppRunner(server.application(), shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        server.port = runner.addresses[0][1]
        url = f"http://127.0.0.1:{server.port}"
        async with aiohttp.ClientSession() as http:
            intake = Intake(RowBuilder(), Clock(), deliver)
            wire = WIRES[venue] if WIRES[venue].lookup else WIRES[venue]._replace(stream_url=f"{url}/")
            feed = Feed(venue, wire, 0, [listing(venue, one) for one in case.natives], wire.channels, "")
            stream = Stream(feed, PublicRest(http, url), http, intake=intake, policy=StreamPolicy(tick_s=0.02))
            task = asyncio.create_task(stream.run())
            try:
                while not _is_whole(rows, server):
                    arrived.clear()
                    await arrived.wait()
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                await runner.cleanup()
        return server

    async def limited() -> Server:
        async with asyncio.timeout(30):
            return await story()

    server = asyncio.run(limited())
    assert {kind: len(rows[kind]) for kind in case.rows} == case.rows
    assert [row["payload"] for row in rows["frames"] if row["native"] is None][-len(server.frames) :] == [
        frame.payload for frame in server.frames
    ]
    events = Counter(TABLES["connections"].column("event").values[row["event"]] for row in rows["connections"] if row["symbol"])
    assert not events["gap"]
    snapshots = {row["symbol"] for row in rows.get("book_deltas", []) if row["is_snapshot"]}
    assert snapshots == {row["symbol"] for row in rows.get("book_deltas", [])}
    sources = {row["source"] for row in rows["connections"]}
    assert not any("token" in source for source in sources)


def _is_whole(rows: dict[str, list[dict[str, Any]]], server: Server) -> bool:
    """Whether every frame has come, and every book that has updates its snapshot."""
    streamed = sum(row["native"] is None for row in rows.get("frames", []))
    deltas = rows.get("book_deltas", [])
    waiting = {row["symbol"] for row in deltas} - {row["symbol"] for row in deltas if row["is_snapshot"]}
    return streamed >= len(server.frames) + bool(server.case.greeting) and not waiting
