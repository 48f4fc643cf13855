"""A client's socket as the server pushes to it: one bounded queue, one writer, and whatever the fault schedule does to its frames."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

from aiohttp import WSCloseCode, web

from xarb.serve.faults import Fault, Faults
from xarb.serve.requests import RequestLog

QUEUE: Final = 100_000  # frames; a client that is further behind is cut off
ABORT: Final = 1006  # a close code that no frame carries: the connection just ends


class Socket:
    """Pushes text frames in order.

    Args:
        ws: the prepared connection.
        request: with which it was opened.
        faults: of its venue.
        log: where frames are noted.
        conn: the connection's number; `venue`: the served venue.
    """

    def __init__(self, ws: web.WebSocketResponse, request: web.Request, faults: Faults, log: RequestLog, *, conn: int) -> None:
        self._ws = ws
        self._transport = request.transport
        self._faults = faults
        self._log = log
        self.conn = conn
        self.venue = ""
        self._queue: deque[str] = deque()
        self._wake = asyncio.Event()
        self._thaw = asyncio.Event()
        self._thaw.set()
        self._held: str | None = None
        self._closing: tuple[int, bytes] | None = None
        self._later: list[asyncio.TimerHandle] = []

    def push(self, name: str, text: str) -> None:
        """Send a frame of stream or event `name` after those before it."""
        if self._faults.any:
            fault = self._faults.frame(name)
            if fault is not None:
                self._log.note(self.venue, "fault", fault.kind, conn=self.conn, body=name)
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
            self._queue.clear()
            if self._transport is not None:
                self._transport.abort()
            return
        self._closing = (code, reason)
        self._wake.set()

    async def write(self) -> None:
        """Send what is pushed until the connection ends."""
        ws, queue = self._ws, self._queue
        try:
            while not ws.closed:
                await self._wake.wait()
                self._wake.clear()
                while queue:
                    await self._thaw.wait()
                    await ws.send_str(queue.popleft())
                if self._closing is not None:
                    await self._thaw.wait()
                    await ws.close(code=self._closing[0], message=self._closing[1])
                    return
        except ConnectionError:
            return  # the reader sees it too and tidies up
        finally:
            for handle in self._later:
                handle.cancel()

    def _put(self, name: str, text: str) -> None:
        if self._ws.closed or self._closing is not None:
            return
        if len(self._queue) >= QUEUE:
            self._queue.clear()
            self.close(WSCloseCode.POLICY_VIOLATION, b"too slow")
            return
        self._queue.append(text)
        if self._log.is_on:
            self._log.note(self.venue, "frame_out", name, conn=self.conn, body=text)
        self._wake.set()

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


__all__ = ["ABORT", "QUEUE", "Socket"]
