"""Puts the served exchanges together and runs them: one market, a port for each venue, until told to stop."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Final, NamedTuple, Protocol, Self

from aiohttp import web

from xarb.errors import ConfigError
from xarb.log.reader import LogReader
from xarb.loopback import HOST, NAMES, is_for_us
from xarb.model.units import parse_money
from xarb.serve.binance import app as binance
from xarb.serve.binance.venue import BinanceVenue
from xarb.serve.clock import Clock, VenueClock
from xarb.serve.config import ServeConfig
from xarb.serve.desk import Desk
from xarb.serve.exchange import Exchange, Exchanges
from xarb.serve.faults import Fault, Faults
from xarb.serve.inspection import Inspection
from xarb.serve.market import Market
from xarb.serve.okx import app as okx
from xarb.serve.okx.venue import OkxVenue
from xarb.serve.requests import RequestLog
from xarb.serve.socket import House, Socket

HOSTS: Final = {"binance": binance.HOSTS, "okx": okx.HOSTS}  # by wire: the real names that a certificate is good for
_NAMES: Final = frozenset((*NAMES, *(name for names in HOSTS.values() for name in names)))
_STREAMS: Final = {"binance": "/ws", "okx": "/ws/v5/public"}
_REQUESTS: Final = {"binance": "/ws-api/v3", "okx": "/ws/v5/private"}


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Wire(Protocol):
    """One venue's application in a protocol."""

    def routes(self) -> list[web.AbstractRouteDef]:
        """What it serves."""

    def census(self) -> dict[str, int]:
        """Who listens: sockets, streams, users."""

    def end_user_streams(self) -> None:
        """End what sockets are told of accounts, and leave them open."""

    async def pulse(self) -> None:
        """Keep the rhythm of its streams until canceled."""


class Address(NamedTuple):
    """Where a venue listens."""

    venue: str
    wire: str
    port: int
    scheme: str = ""  # "s" with TLS

    @property
    def rest(self) -> str:
        """Base URL of its REST."""
        return f"http{self.scheme}://{HOST}:{self.port}"

    @property
    def streams(self) -> str:
        """URL of its market streams."""
        return f"ws{self.scheme}://{HOST}:{self.port}{_STREAMS[self.wire]}"

    @property
    def requests(self) -> str:
        """URL of its socket for orders and the account."""
        return f"ws{self.scheme}://{HOST}:{self.port}{_REQUESTS[self.wire]}"


class Plan(NamedTuple):
    """What is served.

    venues: each with its port, 0 for a free one.
    wires: the protocol of a venue, Binance's where none is named.
    at_once: the market begins when the server stands, not at the first request.
    skip_to: log time (ns) at which it begins; rows before it are applied already.
    ping_s, pong_s: rhythm of the server's pings, and how long a client may be silent.
    """

    venues: Sequence[tuple[str, int]]
    config: ServeConfig
    wires: Mapping[str, str] = MappingProxyType({})
    faults: tuple[Fault, ...] = ()
    requests: Path | None = None
    tls: ssl.SSLContext | None = None
    at_once: bool = False
    skip_to: int | None = None
    ping_s: float = 20.0  # Binance, web-socket-streams.md, 2026-02
    pong_s: float = 60.0


class _Part(NamedTuple):
    """One venue of the server."""

    exchange: Exchange
    faults: Faults
    clock: VenueClock
    sockets: dict[Socket, None]
    app: Wire
    runner: web.AppRunner


class Server:
    """The served exchanges of one log. Use it as an async context: inside it, they listen.

    Args:
        reader: the log.
        plan: what is served.
        clock: of the replay.

    Attributes:
        reader: the log.
        addresses: where each venue listens, in the plan's order.
        desk: orders, balances and the ledger.
        market: the replay.

    Raises:
        ConfigError: the plan does not fit the log.
    """

    def __init__(self, reader: LogReader, plan: Plan, clock: Clock) -> None:
        names = [venue for venue, _ in plan.venues]
        if len(set(names)) != len(names):
            raise ConfigError(f"a venue is named twice: {', '.join(names)}")
        self.reader = reader
        self._plan = plan
        self._clock = clock
        self.market = Market(reader, names, plan.config, clock)
        self.desk = Desk(self.market, clock, plan.config.opening())
        self.log = RequestLog(plan.requests, clock)
        self._parts = [self._part(venue) for venue in names]
        self.exchanges = {part.exchange.name: part.exchange for part in self._parts}
        self.addresses: list[Address] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._broken: Exception | None = None  # a bug of ours, met while answering
        self._breaks = asyncio.Event()

    def _part(self, venue: str) -> _Part:
        clock = VenueClock(self._clock)
        exchange = Exchange(venue, self.market, self.desk, clock)
        faults = Faults(self._plan.faults, venue, clock)
        sockets: dict[Socket, None] = {}
        queued = self._plan.config.limits.queued_frames
        house = House(venue, faults, self.log, clock, sockets, queued, self._plan.ping_s, self._plan.pong_s)
        app: Wire
        if self._plan.wires.get(venue) == "okx":
            app = okx.OkxApp(OkxVenue(exchange, self._plan.config, house), self._touched)
        else:
            app = binance.BinanceApp(BinanceVenue(exchange, self._plan.config, house), self._touched)
        application = web.Application(client_max_size=1 << 20, middlewares=[self._watched])
        application.add_routes([*Inspection(exchange, faults, app.census).routes(), *app.routes()])
        runner = web.AppRunner(application, access_log=None, handler_cancellation=True, shutdown_timeout=1.0)
        return _Part(exchange, faults, clock, sockets, app, runner)

    async def __aenter__(self) -> Self:
        try:
            for part, (venue, port) in zip(self._parts, self._plan.venues, strict=True):
                await part.runner.setup()
                await web.TCPSite(part.runner, HOST, port, ssl_context=self._plan.tls).start()
                bound = part.runner.addresses[0][1]
                self.addresses.append(Address(venue, self._plan.wires.get(venue, "binance"), bound, "s" if self._plan.tls else ""))
        except BaseException:  # a Ctrl-C too: ports that listen already must not stay open, and __aexit__ is not called
            await self._stop()
            raise
        exchanges = Exchanges(self.exchanges.values(), self.desk, self._clock)
        self._tasks.append(asyncio.ensure_future(self.market.run(exchanges, skip_to=self._plan.skip_to)))
        self._tasks += [asyncio.ensure_future(part.app.pulse()) for part in self._parts]
        if self._plan.at_once:
            self._touched()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._stop()
        if error is None and self._broken is not None:
            raise self._broken

    async def serve(self, stop: asyncio.Event) -> None:
        """Return when `stop` is set.

        Raises:
            LogError: the log is damaged; whatever else ends a part of the server is raised too.
        """
        ends: list[asyncio.Future[Any]] = [asyncio.ensure_future(event.wait()) for event in (stop, self._breaks)]
        watched: list[asyncio.Future[Any]] = [*ends, *self._tasks]
        while not any(one.done() for one in ends):
            done, _ = await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
            for one in done.difference(ends):
                one.result()  # the replay may end; an exception must not be lost
                watched.remove(one)
        for one in ends:
            one.cancel()
        if self._broken is not None:
            raise self._broken

    @web.middleware
    async def _watched(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer a request; what no client can cause ends the server, after its 500."""
        if not is_for_us(request.headers, _NAMES):
            raise web.HTTPForbidden(text="this address is for 127.0.0.1, and for the hosts whose protocol it speaks\n")
        try:
            return await handler(request)
        except (web.HTTPException, ConnectionError):
            raise
        except Exception as error:
            self._broken = self._broken or error
            self._breaks.set()
            raise

    def _touched(self) -> None:
        """The first request begins the market, and the time of the fault schedule."""
        if self.market.begun.is_set():
            return
        self.market.begin()
        for part in self._parts:
            part.faults.begin()
            if part.faults.timed():
                striking = asyncio.ensure_future(self._strike(part))
                striking.add_done_callback(self._struck)
                self._tasks.append(striking)

    def _struck(self, task: asyncio.Task[None]) -> None:
        """A bug of ours in the schedule ends the server, as one in an answer does."""
        error = None if task.cancelled() else task.exception()
        if isinstance(error, Exception):
            self._broken = self._broken or error
            self._breaks.set()

    async def _strike(self, part: _Part) -> None:
        """Do what the schedule says by the clock."""
        passed = 0.0
        later: list[asyncio.Task[None]] = []
        for fault in part.faults.timed():
            assert fault.at_s is not None
            await asyncio.sleep(float(fault.at_s) - passed)
            passed = float(fault.at_s)
            part.faults.struck += 1
            self.log.note(part.exchange.name, "fault", fault.kind)
            if fault.kind == "clock_offset":
                part.clock.offset_ns = fault.offset_ms * 1_000_000
                if fault.for_s:
                    later.append(asyncio.ensure_future(_set_right(part, float(fault.for_s))))
                continue
            if fault.kind == "money" and fault.asset is not None:
                change = parse_money(f"{fault.change:f}")
                part.exchange.desk.move((fault.account, part.exchange.name, fault.asset), change)
                continue
            if fault.kind == "user_stream_end":
                part.app.end_user_streams()
                continue
            for socket in list(part.sockets):
                if fault.kind == "freeze":
                    socket.freeze(float(fault.for_s))
                elif fault.kind == "close":
                    socket.close(fault.code or 1001)
                elif fault.kind == "server_shutdown":
                    if socket.farewell is not None:
                        socket.reply("serverShutdown", socket.farewell(part.exchange.now_ms()))
                    later.append(asyncio.ensure_future(_close_later(socket, float(fault.for_s))))
        await asyncio.gather(*later)

    async def _stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for part in self._parts:
            for socket in list(part.sockets):
                socket.close(1001, b"server stops")
        for part in self._parts:
            await part.runner.cleanup()
        self.log.close()


async def _set_right(part: _Part, seconds: float) -> None:
    await asyncio.sleep(seconds)
    part.clock.offset_ns = 0


async def _close_later(socket: Socket, seconds: float) -> None:
    await asyncio.sleep(seconds)
    socket.close(1001, b"server shutdown")


__all__ = ["HOSTS", "Address", "Plan", "Server"]
