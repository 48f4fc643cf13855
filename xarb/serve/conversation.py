"""One client's WebSocket from handshake to end: reading, answering pings, pinging, and the limit on what a client may send."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

from aiohttp import WSCloseCode, WSMsgType, web

from xarb.model.units import NANOS_PER_S
from xarb.serve.clock import Stamps
from xarb.serve.faults import Faults
from xarb.serve.requests import RequestLog
from xarb.serve.socket import Socket

PING_S: Final = 20.0  # Binance, web-socket-streams.md, 2026-02
PONG_S: Final = 60.0
_LARGEST: Final = 1 << 20
_numbers = itertools.count(1)


class House(NamedTuple):
    """What every socket of a venue shares."""

    venue: str
    faults: Faults
    log: RequestLog
    clock: Stamps
    sockets: dict[Socket, None]
    ping_s: float = PING_S
    pong_s: float = PONG_S


class Visitor(NamedTuple):
    """What one kind of socket does: `open` is told of the new one, `read` of each text, `leave` of the end.

    frames_1s: frames a second that a client may send, pings among them; 0 for no limit.
    """

    open: Callable[[Socket], None]
    read: Callable[[str], None]
    leave: Callable[[], None]
    frames_1s: int = 0


async def converse(request: web.Request, house: House, visitor: Visitor) -> web.WebSocketResponse:
    """Serve one socket until it ends."""
    ws = web.WebSocketResponse(autoping=False, heartbeat=None, compress=False, max_msg_size=_LARGEST)
    await ws.prepare(request)
    socket = Socket(ws, request, house.faults, house.log, conn=next(_numbers))
    socket.venue = house.venue
    house.sockets[socket] = None
    house.log.note(house.venue, "open", request.path, conn=socket.conn)
    heard = [house.clock.mono_ns()]
    writer = asyncio.ensure_future(socket.write())
    pinger = asyncio.ensure_future(_ping(ws, house, heard))
    try:
        visitor.open(socket)
        await _read(ws, socket, house, visitor, heard)
    finally:
        visitor.leave()
        del house.sockets[socket]
        pinger.cancel()
        writer.cancel()
        await asyncio.gather(pinger, writer, return_exceptions=True)
        house.log.note(house.venue, "close", request.path, conn=socket.conn, status=ws.close_code or 0)
    return ws


async def _read(ws: web.WebSocketResponse, socket: Socket, house: House, visitor: Visitor, heard: list[int]) -> None:
    times: deque[int] = deque()
    async for message in ws:
        now = house.clock.mono_ns()
        if visitor.frames_1s:
            times.append(now)
            while times[0] <= now - NANOS_PER_S:
                times.popleft()
            if len(times) > visitor.frames_1s:
                socket.close(WSCloseCode.POLICY_VIOLATION, b"Too many requests")
                continue
        if message.type is WSMsgType.PING:
            await ws.pong(message.data)
        elif message.type is WSMsgType.PONG:
            heard[0] = now
        elif message.type in {WSMsgType.TEXT, WSMsgType.BINARY}:
            text = message.data if isinstance(message.data, str) else bytes(message.data).decode("utf-8", "replace")
            house.log.note(house.venue, "frame_in", "", conn=socket.conn, body=text)
            visitor.read(text)


async def _ping(ws: web.WebSocketResponse, house: House, heard: list[int]) -> None:
    """Ping as the exchange does, and end the connection of a client that never answers."""
    while True:
        await asyncio.sleep(house.ping_s)
        if house.clock.mono_ns() - heard[0] > house.pong_s * NANOS_PER_S:
            await ws.close(code=WSCloseCode.POLICY_VIOLATION, message=b"Pong timeout")
            return
        await ws.ping(str(house.clock.wall_ns() // 1_000_000).encode())


__all__ = ["House", "Visitor", "converse"]
