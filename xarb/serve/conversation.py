"""One client's WebSocket from handshake to end: reading, answering pings, pinging, and the limit on what a client may send."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

from aiohttp import WSCloseCode, WSMessage, WSMsgType, web

from xarb.model.units import NANOS_PER_S
from xarb.serve.socket import House, Socket

_LARGEST: Final = 1 << 20
_GOODBYE_S: Final = 2.0  # for the client's answer to a close frame
_ENDS: Final = (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR)
_numbers = itertools.count(1)


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
    ws = web.WebSocketResponse(autoping=False, heartbeat=None, compress=False, max_msg_size=_LARGEST, timeout=_GOODBYE_S)
    await ws.prepare(request)
    socket = Socket(ws, request, house, conn=next(_numbers))
    house.sockets[socket] = None
    house.log.note(house.venue, "open", request.path, conn=socket.conn)
    heard = [house.clock.mono_ns()]
    writer = asyncio.ensure_future(socket.write())
    pinger = asyncio.ensure_future(_ping(ws, socket, house, heard))
    try:
        visitor.open(socket)
        await _read(ws, socket, house, visitor, heard)
    finally:
        visitor.leave()
        del house.sockets[socket]
        pinger.cancel()
        writer.cancel()
        ended = await asyncio.gather(pinger, writer, return_exceptions=True)
        house.log.note(house.venue, "close", request.path, conn=socket.conn, status=ws.close_code or 0)
    for one in ended:
        if isinstance(one, Exception) and not isinstance(one, ConnectionError):
            raise one  # a bug of ours must not end with the socket
    return ws


async def _read(ws: web.WebSocketResponse, socket: Socket, house: House, visitor: Visitor, heard: list[int]) -> None:
    times: deque[int] = deque()
    while True:
        message = await _next(ws, socket)
        if message is None or message.type in _ENDS:
            return
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


async def _next(ws: web.WebSocketResponse, socket: Socket) -> WSMessage | None:
    """The client's next message; None when the server ends the connection first, and has said so."""
    receive = asyncio.ensure_future(ws.receive())
    finished = asyncio.ensure_future(socket.finished.wait())
    try:
        await asyncio.wait({receive, finished}, return_when=asyncio.FIRST_COMPLETED)
        if receive.done():
            return receive.result()
        receive.cancel()  # `close` reads the client's answer itself
        await asyncio.gather(receive, return_exceptions=True)
        code, reason = socket.parting
        await ws.close(code=code, message=reason)
        return None
    finally:
        receive.cancel()
        finished.cancel()


async def _ping(ws: web.WebSocketResponse, socket: Socket, house: House, heard: list[int]) -> None:
    """Ping as the exchange does, and end the connection of a client that never answers."""
    while True:
        await asyncio.sleep(house.ping_s)
        if house.clock.mono_ns() - heard[0] > house.pong_s * NANOS_PER_S:
            socket.give_up(b"Pong timeout")
            return
        await ws.ping(str(house.clock.wall_ns() // 1_000_000).encode())


__all__ = ["Visitor", "converse"]
