"""How far a request came: whether a byte of it can have left, when it was handed to the network, and what status came back.

An error's class does not say whether the exchange may have the order; whether a connection was there does. A request runs within
`Passage`, and the session's trace tells the passage of the task that makes it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar, Token
from types import SimpleNamespace
from typing import Any, Final, Self

import aiohttp

_CURRENT: Final[ContextVar[Passage | None]] = ContextVar("passage", default=None)


class Passage:
    """What became of the requests made within it (`with`), in the task that entered it.

    may_have_left: a request had a connection; from then on its fate is the exchange's to tell.
    status, headers: of the last reply; 0 and empty without one. requests: how many were begun.
    """

    def __init__(self) -> None:
        self.may_have_left = False
        self.status = 0
        self.headers: Mapping[str, str] = {}
        self.requests = 0
        self._on_sent: Callable[[], None] | None = None
        self._on_connected: Callable[[], None] | None = None
        self._token: Token[Passage | None] | None = None

    def __enter__(self) -> Self:
        self._token = _CURRENT.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._token is not None
        _CURRENT.reset(self._token)

    def when_sent(self, call: Callable[[], None]) -> None:
        """Call this once when the bytes were written."""
        self._on_sent = call

    def when_connected(self, call: Callable[[], None]) -> None:
        """Call this once when a request has a connection, before any byte leaves."""
        self._on_connected = call

    def connected(self) -> None:
        """There is a connection: from here on the fate of the request is the exchange's to tell."""
        self.may_have_left = True
        if self._on_connected is not None:
            call, self._on_connected = self._on_connected, None
            call()

    def written(self) -> None:
        """Its bytes were written to the connection."""
        self.may_have_left = True
        if self._on_sent is not None:
            call, self._on_sent = self._on_sent, None
            call()


def trace_passages() -> aiohttp.TraceConfig:
    """A trace that tells the current passage how its requests go."""
    trace = aiohttp.TraceConfig()

    async def started(*_: Any) -> None:
        if (passage := _CURRENT.get()) is not None:
            passage.requests += 1

    async def connected(*_: Any) -> None:
        if (passage := _CURRENT.get()) is not None:
            passage.connected()

    async def written(*_: Any) -> None:
        if (passage := _CURRENT.get()) is not None:
            passage.written()

    async def answered(_: aiohttp.ClientSession, __: SimpleNamespace, params: aiohttp.TraceRequestEndParams) -> None:
        if (passage := _CURRENT.get()) is not None:
            passage.status, passage.headers = params.response.status, params.response.headers

    trace.on_request_start.append(started)
    trace.on_connection_create_end.append(connected)
    trace.on_connection_reuseconn.append(connected)
    trace.on_request_headers_sent.append(written)
    trace.on_request_end.append(answered)
    return trace
