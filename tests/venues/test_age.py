"""Orders that wait for a connection: one that grows too old meanwhile never leaves."""

from __future__ import annotations

import asyncio
import socket

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from tests.venues.exchange_server import SmallExchange
from tests.venues.trader import Trader, trading
from xarb.venues.exchange import Place
from xarb.venues.passage import trace_passages


class Gate(AbstractResolver):
    """Finds the exchange's address once the gate is open: until then nobody gets a connection."""

    def __init__(self) -> None:
        self.is_open = asyncio.Event()
        self.waits = asyncio.Event()

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> list[ResolveResult]:
        """The loopback address, in time."""
        del family
        self.waits.set()
        await self.is_open.wait()
        return [ResolveResult(hostname=host, host="127.0.0.1", port=port, family=socket.AF_INET, proto=0, flags=0)]

    async def close(self) -> None:
        """Nothing is held."""


async def _shut(at: Trader, gate: Gate) -> None:
    """From here on each request of the account needs a connection of its own, which the gate holds up."""
    account = at.venue.desks["main"].account
    await account.session.close()
    connector = aiohttp.TCPConnector(resolver=gate, use_dns_cache=False, force_close=True)
    account.client.session = account.session = aiohttp.ClientSession(connector=connector, trace_configs=[trace_passages()])


def _place(server: SmallExchange) -> Place:
    port = server.url.rpartition(":")[2]
    return Place(rest_url=f"http://localhost:{port}", stream_url=f"ws://{server.url}")


def test_order_that_grows_too_old_waiting_for_a_connection_never_leaves() -> None:
    """It is told as not sent when its time is up, and nothing of it reaches the exchange, whenever there is a connection."""

    async def work() -> None:
        server = SmallExchange()
        async with server.serving(), trading(server, place=_place(server), timeout_ms=10_000, max_send_lag_ms=300) as at:
            gate = Gate()
            await _shut(at, gate)
            await at.submit(1)
            assert at.events(1) == ["not_sent too_old"]
            gate.is_open.set()
            await at.submit(2)
            await at.until(lambda events: "fill 1" in events, 2)
            assert len(server.orders) == 1

    asyncio.run(asyncio.wait_for(work(), 30))


def test_connection_that_comes_in_time_carries_the_order() -> None:
    """Its age counts until it has a connection; the reply may come later than that."""

    async def work() -> None:
        server = SmallExchange()
        async with server.serving(), trading(server, place=_place(server), timeout_ms=10_000, max_send_lag_ms=5_000) as at:
            gate = Gate()
            await _shut(at, gate)
            submitting = asyncio.ensure_future(at.submit(1))
            await gate.waits.wait()
            assert at.events(1) == []
            gate.is_open.set()
            await submitting
            await at.until(lambda events: "fill 1" in events, 1)

    asyncio.run(asyncio.wait_for(work(), 30))
