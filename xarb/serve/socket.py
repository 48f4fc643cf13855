"""A client's socket as the server pushes to it: one bounded queue, one writer, and whatever the fault schedule does to its frames."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

from aiohttp import WSCloseCode, web

from xarb.serve.clock import Stamps
from xarb.serve.faults import Fault, Faults
from xarb.serve.requests import RequestLog

_PATIENCE_S: Final = 2.0
_MOST_WAITING: Final = 1 << 26  # characters that may wait for one socket, whatever the number of frames
ABORT: Final = 1006  # a close code that no frame carries: the connection just ends


class House(NamedTuple):
    """What every socket of a venue shares.

    sockets: those that are open.
    queued: frames that may wait for one socket.
    ping_s, pong_s: rhythm of the server's pings, and how long a client may leave them unanswered.
    """

    venue: str
    faults: Faults
    log: RequestLog
    clock: Stamps
    sockets: dict[Socket, None]
    queued: int
    ping_s: float
    pong_s: float


class Socket:
    """Pushes text frames in order.

    Args:
        ws: the prepared connection.
        request: with which it was opened.
        house: its venue's.
        conn: the connection's number.
    """

    def __init__(self, ws: web.WebSocketResponse, request: web.Request, house: House, *, conn: int) -> None:
        self._ws = ws
        self._transport = request.transport
        self._faults = house.faults
        self._log = house.log
        self.conn = conn
        self.farewell: Callable[[int], str] | None = None  # the announced end in the socket's own form, at a time in ms
        self._venue = house.venue
        self._most = house.queued
        self._queue: deque[str] = deque()
        self._waiting = 0  # characters of the queue
        self._wake = asyncio.Event()
        self._thaw = asyncio.Event()
        self._thaw.set()
        self._held: str | None = None
        self.finished = asyncio.Event()
        self._closing: tuple[int, bytes] | None = None
        self._later: list[asyncio.TimerHandle] = []

    def push(self, name: str, text: str) -> None:
        """Send a frame of stream or event `name` after those before it."""
        if self._faults.any:
            fault = self._faults.frame(name)
            if fault is not None:
                self._log.note(self._venue, "fault", fault.kind, conn=self.conn, body=name)
                self._strike(fault, name, text)
                return
        self._put(name, text)
        if self._held is not None:
            held, self._held = self._held, None
            self._put(name, held)

    def reply(self, name: str, text: str) -> None:
        """Send an answer; only requests' faults strike those."""
        self._put(name, text)

    def freeze(self, seconds: float) -> None:
        """Say nothing for so long; what is pushed meanwhile is sent afterwards."""
        self._thaw.clear()
        self._later.append(asyncio.get_running_loop().call_later(seconds, self._thaw.set))

    def close(self, code: int = WSCloseCode.GOING_AWAY, reason: bytes = b"") -> None:
        """End the connection once what waits was sent; with ABORT at once and without a word."""
        if code == ABORT:
            self._forget()
            if self._transport is not None:
                self._transport.abort()
            return
        self._closing = (code, reason)
        self._wake.set()

    def give_up(self, reason: bytes) -> None:
        """End the connection of a client that may read nothing any more: in good order if it can be, else without a word."""
        self.close(WSCloseCode.POLICY_VIOLATION, reason)
        self._later.append(asyncio.get_running_loop().call_later(_PATIENCE_S, self.close, ABORT))

    @property
    def parting(self) -> tuple[int, bytes]:
        """Code and reason with which the server ends the connection."""
        return self._closing or (WSCloseCode.GOING_AWAY, b"")

    async def write(self) -> None:
        """Send what is pushed until the connection ends, or is `finished`: then the reader says goodbye and waits for the answer."""
        ws, queue = self._ws, self._queue
        try:
            while not ws.closed:
                await self._wake.wait()
                self._wake.clear()
                while queue:
                    await self._thaw.wait()
                    text = queue.popleft()
                    self._waiting -= len(text)
                    await ws.send_str(text)
                if self._closing is not None:
                    await self._thaw.wait()
                    self.finished.set()
                    return
        except ConnectionError:
            return  # the reader sees it too and tidies up
        finally:
            for handle in self._later:
                handle.cancel()

    def _put(self, name: str, text: str) -> None:
        if self._ws.closed or self._closing is not None:
            return
        if len(self._queue) >= self._most or self._waiting + len(text) > _MOST_WAITING:
            self._forget()
            self.give_up(b"too slow")
            return
        self._queue.append(text)
        self._waiting += len(text)
        if self._log.is_on:
            self._log.note(self._venue, "frame_out", name, conn=self.conn, body=text)
        self._wake.set()

    def _forget(self) -> None:
        self._queue.clear()
        self._waiting = 0

    def _strike(self, fault: Fault, name: str, text: str) -> None:
        if fault.kind == "malformed":
            self._put(name, text[: len(text) // 2])
        elif fault.kind == "duplicate":
            self._put(name, text)
            self._put(name, text)
        elif fault.kind == "reorder":
            self._held = text
        elif fault.kind == "delay":
            self._later.append(asyncio.get_running_loop().call_later(float(fault.for_s), self._put, name, text))
        elif fault.kind == "freeze":
            self._put(name, text)
            self.freeze(float(fault.for_s))
        elif fault.kind == "close":
            self.close(fault.code or WSCloseCode.GOING_AWAY)


__all__ = ["ABORT", "House", "Socket"]
