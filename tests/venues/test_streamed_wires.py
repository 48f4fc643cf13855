"""Sessions whose books start in the stream, over real sockets on loopback: the four protocols by a server that loses messages.

What a lost message costs goes the whole way: the session sees it, the connection sends the new subscription, the server answers with a
snapshot, and the rows say gap and resync; the other instrument's rows go on.
"""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, NamedTuple

import aiohttp
import pytest
from aiohttp import web

from tests.wires.instruments import listing
from xarb.model.columns import CONNECTION_EVENTS, DELTA_VERDICTS, TABLES
from xarb.venues.clock import Clock
from xarb.venues.intake import Intake
from xarb.venues.rest import PublicRest
from xarb.venues.stream import Feed, Stream, StreamPolicy
from xarb.wires.exchanges import WIRES
from xarb.wires.rows import Row, RowBuilder

QUICK: Final = StreamPolicy(first_pause_s=0.01, longest_pause_s=0.05, tick_s=0.02, connect_s=2)
NATIVES: Final = ("BTC-USD", "ETH-USD")


class Protocol(NamedTuple):
    """`asked`: names whose books a client's message begins to subscribe; `write`: kind, name, number in its book, number of the message."""

    asked: Callable[[dict[str, Any]], list[str]]
    write: Callable[[str, str, int, int], str]


def _okx_asked(body: dict[str, Any]) -> list[str]:
    return [arg["instId"] for arg in body["args"] if body["op"] == "subscribe" and arg["channel"] == "books"]


def _okx(kind: str, name: str, number: int, _: int) -> str:
    item = {"asks": [["2.5", "1", "0", "1"]], "bids": [["1.5", str(number), "0", "1"]], "ts": "1597026383085", "checksum": 0}
    ids = {"prevSeqId": -1 if kind == "snapshot" else number - 1, "seqId": number}
    return json.dumps({"arg": {"channel": "books", "instId": name}, "action": kind, "data": [{**item, **ids}]})


def _bybit_asked(body: dict[str, Any]) -> list[str]:
    return [topic.removeprefix("orderbook.50.") for topic in body.get("args", ()) if body["op"] == "subscribe"]


def _bybit(kind: str, name: str, number: int, _: int) -> str:
    data = {"s": name, "b": [["1.5", str(number)]], "a": [["2.5", "1"]], "u": number, "seq": 1}
    kind = "snapshot" if kind == "snapshot" else "delta"
    return json.dumps({"topic": f"orderbook.50.{name}", "type": kind, "ts": 1672304484978, "data": data})


def _kraken_asked(body: dict[str, Any]) -> list[str]:
    return list(body["params"]["symbol"]) if body["method"] == "subscribe" else []


def _kraken(kind: str, name: str, number: int, _: int) -> str:
    """Each message adds a level, so that a lost one changes every checksum after it."""
    first = 1 if kind == "snapshot" else number
    levels = "".join(f'{{"price":{1000 + at}.0,"qty":1.50000000}},' for at in range(first, number + 1)).rstrip(",")
    best = "".join(f"{1000 + at}0150000000" for at in range(number, max(0, number - 10), -1))
    return (
        f'{{"channel":"book","type":"{kind}","data":[{{"symbol":"{name}","bids":[{levels}],"asks":[],'
        f'"checksum":{zlib.crc32(best.encode())},"timestamp":"2023-10-06T17:35:55.440295Z"}}]}}'
    )


def _coinbase_asked(body: dict[str, Any]) -> list[str]:
    return list(body["product_ids"]) if body["type"] == "subscribe" and body["channel"] == "level2" else []


def _coinbase(kind: str, name: str, number: int, message: int) -> str:
    updates = [{"side": "bid", "price_level": "1.5", "new_quantity": str(number)}]
    head = {"channel": "l2_data", "timestamp": "2023-02-09T20:32:50Z", "sequence_num": message}
    return json.dumps({**head, "events": [{"type": kind, "product_id": name, "updates": updates}]})


PROTOCOLS: Final = {
    "okx": Protocol(_okx_asked, _okx),
    "bybit": Protocol(_bybit_asked, _bybit),
    "kraken": Protocol(_kraken_asked, _kraken),
    "coinbase": Protocol(_coinbase_asked, _coinbase),
}


class Server:
    """Sends a snapshot to whoever subscribes a book, then updates of both books by turns, of which one is left out."""

    def __init__(self, protocol: Protocol, lost: int) -> None:
        self._protocol = protocol
        self._lost = lost
        self._numbers = dict.fromkeys(NATIVES, 0)
        self._messages = 0
        self.asked: list[list[str]] = []

    def _next(self, kind: str, name: str) -> str:
        self._numbers[name] += 1
        self._messages += 1
        return self._protocol.write(kind, name, self._numbers[name], self._messages)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One connection."""
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        sending = asyncio.create_task(self._send(socket))
        try:
            async for message in socket:
                if message.data == "ping":
                    continue
                names = self._protocol.asked(json.loads(message.data))
                if names:
                    self.asked.append(names)
                for name in names:
                    await socket.send_str(self._next("snapshot", name))
        finally:
            sending.cancel()
        return socket

    async def _send(self, socket: web.WebSocketResponse) -> None:
        with suppress(ConnectionError):
            while True:
                await asyncio.sleep(0.002)
                for name in NATIVES:
                    if self._numbers[name]:
                        text = self._next("update", name)
                        if self._numbers[name] != self._lost or name != NATIVES[0]:
                            await socket.send_str(text)


async def story(venue: str, rows: list[dict[str, Any]], *, lost: int) -> Server:
    """Connect, lose one message of the first book, and wait until that book was resynced and went on."""
    server, arrived = Server(PROTOCOLS[venue], lost), asyncio.Event()

    def deliver(parts: dict[str, list[Row]]) -> None:
        for kind, found in parts.items():
            names = ["kind", *(column.name for column in TABLES[kind].columns)]
            rows.extend(dict(zip(names, (kind, *row), strict=True)) for row in found)
        arrived.set()

    app = web.Application()
    app.router.add_get("/{path:.*}", server.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    try:
        async with aiohttp.ClientSession() as http:
            listings = [listing(venue, native) for native in NATIVES]
            feed = Feed(venue, WIRES[venue], 0, listings, ("deltas",), f"ws://127.0.0.1:{port}")
            intake = Intake(RowBuilder(), Clock(), deliver)
            stream = Stream(feed, PublicRest(http, f"http://127.0.0.1:{port}"), http, intake=intake, policy=QUICK)
            task = asyncio.create_task(stream.run())
            try:
                while not _is_over(rows):
                    arrived.clear()
                    await arrived.wait()
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
    finally:
        await runner.cleanup()
    return server


def _events(rows: list[dict[str, Any]], event: str) -> list[dict[str, Any]]:
    return [row for row in rows if row["kind"] == "connections" and CONNECTION_EVENTS[row["event"]] == event]


def _is_over(rows: list[dict[str, Any]]) -> bool:
    """Whether twenty rows of the first book followed its resync."""
    resyncs = [row["seq"] for row in _events(rows, "resync") if row["symbol"] == NATIVES[0]]
    return bool(resyncs) and sum(row["kind"] == "book_deltas" and row["seq"] > resyncs[0] for row in rows) > 40


@pytest.mark.parametrize("venue", PROTOCOLS)
def test_a_lost_message_is_mended_on_the_same_connection(venue: str) -> None:
    """Gap, new subscription, resync; only Coinbase, whose counter is of the connection, subscribes the other book anew as well."""
    rows: list[dict[str, Any]] = []

    async def limited() -> Server:
        async with asyncio.timeout(30):
            return await story(venue, rows, lost=10)

    server = asyncio.run(limited())
    rows.sort(key=lambda row: row["seq"])
    both = venue == "coinbase"
    assert [sorted(names) for names in server.asked] == [list(NATIVES), list(NATIVES) if both else [NATIVES[0]]]
    assert len(_events(rows, "opened")) == 1
    assert [row["symbol"] for row in _events(rows, "gap")][:1] == [None if both else NATIVES[0]]
    assert {row["symbol"] for row in _events(rows, "resync")} == (set(NATIVES) if both else {NATIVES[0]})
    gap, resync = _events(rows, "gap")[0]["seq"], _events(rows, "resync")[0]["seq"]
    verdicts = {
        native: [
            DELTA_VERDICTS[row["verdict"]]
            for row in rows
            if row["kind"] == "book_deltas" and row["symbol"] == native and gap < row["seq"] < resync
        ]
        for native in NATIVES
    }
    assert set(verdicts[NATIVES[0]]) <= {"unsynced"}
    assert set(verdicts[NATIVES[1]]) <= ({"unsynced"} if both else {"apply"})
    after = [row for row in rows if row["kind"] == "book_deltas" and row["symbol"] == NATIVES[0] and row["seq"] > resync]
    assert after[0]["is_snapshot"]
    assert {DELTA_VERDICTS[row["verdict"]] for row in after} == {"apply"}
    assert not [row for row in rows if row["kind"] == "rejects"]
