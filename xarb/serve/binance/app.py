"""The web application of one venue that speaks Binance: which path leads where, and the rhythm of its streams."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from aiohttp import web

from xarb.serve.binance.errors import ApiError
from xarb.serve.binance.market_socket import MarketSocket
from xarb.serve.binance.request_socket import RequestSocket
from xarb.serve.binance.rest import Rest
from xarb.serve.binance.streams import FAST_MS, SLOW_MS, is_stream
from xarb.serve.binance.venue import CONNECTION_WEIGHT, BinanceVenue
from xarb.serve.conversation import Visitor, converse
from xarb.serve.limits import TooMany

HOSTS: Final = ("api.binance.com", "stream.binance.com", "ws-api.binance.com", "localhost")
_FAST_IN_SLOW: Final = SLOW_MS // FAST_MS


class BinanceApp:
    """Requests, streams and the WebSocket API of one venue.

    Args:
        venue: what answers.
        touched: called at every request and connection.
    """

    def __init__(self, venue: BinanceVenue, touched: Callable[[], None]) -> None:
        self._venue = venue
        self._touched = touched
        self._rest = Rest(venue)

    def routes(self) -> list[web.AbstractRouteDef]:
        """What the application serves."""
        return [
            web.get("/ws-api/v3", self._requests),
            web.get("/ws", self._raw),
            web.get("/ws/{names:.*}", self._raw),
            web.get("/stream", self._combined),
            web.get("/stream/ws{names:.*}", self._raw),
            web.route("*", "/{path:.*}", self._any),
        ]

    def census(self) -> dict[str, int]:
        """Open sockets, streams that somebody listens to, subscriptions to user streams."""
        venue = self._venue
        return {"sockets": len(venue.house.sockets), "streams": venue.streams.listened, "users": venue.users.count}

    def end_user_streams(self) -> None:
        """Tell every user stream that it ends, and end it; its socket stays."""
        self._venue.users.terminate()

    async def pulse(self) -> None:
        """Keep the rhythm of the streams until canceled."""
        beat = 0
        loop = asyncio.get_running_loop()
        start = loop.time()
        while True:
            beat += 1
            await asyncio.sleep(max(0.0, start + beat * FAST_MS / 1000 - loop.time()))
            self._venue.streams.fast()
            if beat % _FAST_IN_SLOW == 0:
                self._venue.streams.slow()
                self._venue.house.log.flush()

    async def _any(self, request: web.Request) -> web.StreamResponse:
        self._touched()
        return await self._rest.handle(request)

    async def _raw(self, request: web.Request) -> web.StreamResponse:
        """`/ws`, `/ws/btcusdt@trade`, `/ws/a@trade/b@trade`; a part without `@` only tells sockets of one client apart (ccxt)."""
        names = [name for name in request.match_info.get("names", "").split("/") if "@" in name]
        return await self._stream(request, names, combined=False)

    async def _combined(self, request: web.Request) -> web.StreamResponse:
        names = [name for name in request.query.get("streams", "").split("/") if name]
        return await self._stream(request, names, combined=True)

    async def _stream(self, request: web.Request, names: list[str], *, combined: bool) -> web.StreamResponse:
        limits = self._venue.limits.limits
        names = [name for name in dict.fromkeys(names) if is_stream(name)]  # others are passed over, as in SUBSCRIBE
        if len(names) > limits.streams:
            return web.Response(status=400)
        socket = MarketSocket(self._venue.streams, names, combined=combined, most=limits.streams)
        return await self._socket(request, Visitor(socket.open, socket.read, socket.leave, frames_1s=limits.frames_1s))

    async def _requests(self, request: web.Request) -> web.StreamResponse:
        rate_limits = request.query.get("returnRateLimits", "true") != "false"
        socket = RequestSocket(self._venue, request.remote or "", rate_limits=rate_limits)
        return await self._socket(request, Visitor(socket.open, socket.read, socket.leave))

    async def _socket(self, request: web.Request, visitor: Visitor) -> web.StreamResponse:
        self._touched()
        address = request.remote or ""
        try:
            self._venue.weigh(address, CONNECTION_WEIGHT)
            self._venue.limits.connect(address, self._venue.house.clock.wall_ns())
        except ApiError as error:
            return _turned_away(error.status, error.retry_after_s or 1)
        except TooMany as many:
            return _turned_away(429, many.wait_s)
        return await converse(request, self._venue.house, visitor)


def _turned_away(status: int, wait_s: int) -> web.Response:
    return web.Response(status=status, headers={"Retry-After": str(wait_s)})


__all__ = ["HOSTS", "BinanceApp"]
