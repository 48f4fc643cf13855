"""Sources become connections: shared out, numbered, each with its wire; and exchanges' clocks are measured."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from tests.venues.player import Player
from tests.verbs.test_record import run
from xarb.errors import ConfigError, Retryable
from xarb.model.instrument import Instrument
from xarb.venues.clock import TIMES, Clock
from xarb.venues.exchange import Place
from xarb.venues.feeds import Feeds, Source, _parts, listings_of, measure_offset, time_request
from xarb.venues.generic import GenericStream
from xarb.venues.intake import Intake
from xarb.venues.rest import PublicRest
from xarb.venues.stream import Stream, StreamPolicy
from xarb.wires.decimals import Listing
from xarb.wires.exchanges import WIRES
from xarb.wires.rows import RowBuilder


def listings(venue: str, count: int) -> list[Listing]:
    """So many instruments."""
    more = {"kind": "spot", "base": "A", "quote": "B", "settle": "B"}
    made = [Instrument(venue=venue, symbol=f"S{n}/B", native=f"S{n}B", px_scale=2, qty_scale=3, **more) for n in range(count)]  # type: ignore[arg-type]  # texts
    return [Listing(one) for one in made]


@given(st.integers(1, 200), st.integers(1, 60))
def test_instruments_are_shared_out_evenly(count: int, size: int) -> None:
    """Each goes to one connection, none carries more than it may, there are as few as possible, and none has two more than another."""
    mine = listings("v", count)
    parts = _parts(mine, size)
    assert sorted(one.instrument.symbol for part in parts for one in part) == sorted(one.instrument.symbol for one in mine)
    lengths = [len(part) for part in parts]
    assert max(lengths) <= size
    assert len(parts) == -(-count // size)
    assert max(lengths) - min(lengths) <= 1


def test_connections_are_numbered_over_all_sources() -> None:
    """From the first free number of the log on, in the order of sources; a poll interval or a strange exchange goes through ccxt."""

    async def story() -> None:
        async with aiohttp.ClientSession() as http:
            intake = Intake(RowBuilder(), Clock(), lambda _: None)
            sources = [
                Source(venue="coinbase", exchange="coinbase", symbols=("x",)),
                Source(venue="polled", exchange="binance", symbols=("x",), poll_s=1.0),
                Source(venue="bitvavo", exchange="bitvavo", symbols=("x",), channels=("quotes",)),
                Source(venue="two", exchange="bybitlinear", symbols=("x",), channels=("marks",)),
            ]
            counts = {"coinbase": 25, "polled": 1, "bitvavo": 1, "two": 1}
            mine = {venue: listings(venue, count) for venue, count in counts.items()}
            feeds = Feeds(sources, mine, intake=intake, http=http, first_conn=7, policy=StreamPolicy())
            assert [(one.feed.conn, one.feed.venue) for one in feeds.streams] == [
                *((number, "coinbase") for number in (7, 8, 9)),
                (10, "polled"),
                (11, "bitvavo"),
                (12, "two"),
            ]
            assert [type(one) for one in feeds.streams] == [Stream, Stream, Stream, GenericStream, GenericStream, Stream]
            assert feeds.streams[0].feed.channels == WIRES["coinbase"].channels
            assert feeds.streams[3].feed.channels == ("books", "trades")
            assert feeds.streams[5].feed.channels == ("marks",)

    run(story())


def test_a_channel_that_a_wire_does_not_have_is_refused() -> None:
    """By name, with those that there are."""
    with pytest.raises(ConfigError, match="upbit has no channel deltas; it has: books, trades"):
        Source(venue="upbit", exchange="upbit", symbols=("x",), channels=("deltas",)).wire()


def test_listings_begin_at_the_scales_of_the_log() -> None:
    """A log that grew to finer values is continued at its scales."""
    one = listings("v", 2)
    found = listings_of({"v": [listing.instrument for listing in one]}, {("v", "S1/B"): (5, 1)})
    assert [listing.scales for listing in found["v"]] == [(2, 3), (5, 3)]


class Gate:
    """Gate's stream and its books over REST: each book that is subscribed gets one update, so that a snapshot is wanted."""

    def __init__(self) -> None:
        self.subscribed: list[str] = []
        self.fetched: list[str] = []
        self.changed = asyncio.Event()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[int]:
        """Listen on the port that this yields."""
        app = web.Application()
        app.router.add_get("/ws/v4/", self._stream)
        app.router.add_get("/api/v4/spot/order_book", self._book)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            yield runner.addresses[0][1]
        finally:
            await runner.cleanup()

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        async for message in socket:
            asked = json.loads(message.data)
            if asked["channel"] == "spot.order_book_update":
                name = asked["payload"][0]
                self.subscribed.append(name)
                result = {"t": 1606294781123, "s": name, "U": 2, "u": 2, "b": [["1", "1"]], "a": [["2", "1"]]}
                await socket.send_json({"channel": asked["channel"], "event": "update", "result": result})
        return socket

    async def _book(self, request: web.Request) -> web.Response:
        self.fetched.append(request.query["currency_pair"])
        self.changed.set()
        return web.json_response({"id": 1, "bids": [["1", "1"]], "asks": [["2", "1"]]})


def test_each_exchange_is_asked_at_its_own_pace() -> None:
    """Sixty books at Gate are subscribed and fetched within ten seconds; at Binance's pace they would take 15 and 27."""

    async def story() -> None:
        gate = Gate()
        async with gate.serving() as port, aiohttp.ClientSession() as http:
            place = Place(stream_url=f"ws://127.0.0.1:{port}", rest_url=f"http://127.0.0.1:{port}")
            source = Source(venue="gate", exchange="gate", symbols=("x",), channels=("deltas",), place=place)
            intake = Intake(RowBuilder(), Clock(), lambda _: None)
            mine = {"gate": listings("gate", 60)}
            feeds = Feeds([source], mine, intake=intake, http=http, first_conn=0, policy=StreamPolicy())
            task = asyncio.create_task(feeds.run())
            try:
                async with asyncio.timeout(10):
                    while len(gate.fetched) < 60:
                        gate.changed.clear()
                        await gate.changed.wait()
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        assert sorted(gate.subscribed) == sorted(gate.fetched) == sorted(one.instrument.native for one in mine["gate"])

    run(story())


def test_an_offset_is_the_one_of_the_fastest_answer() -> None:
    """Of five samples that with the shortest round trip; without any good one, the reason."""

    async def story() -> None:
        async with Player().serving() as player, aiohttp.ClientSession() as http:
            rest = PublicRest(http, player.rest_url)
            found = await measure_offset("binance", rest, Clock().now)
            assert abs(found.offset_ns) < 50_000_000
            assert player.requests == ["/api/v3/time"] * 5
            with pytest.raises(Retryable, match="status 404"):
                await measure_offset("binanceusdm", rest, Clock().now)
            with pytest.raises(Retryable, match="not known"):
                await measure_offset("upbit", rest, Clock().now)

    run(story())


def test_services_of_one_exchange_share_its_clock() -> None:
    """Bybit's contracts tell the time where its spot market does; a wire without a known place has none."""
    assert time_request("bybitlinear") == time_request("bybit") == TIMES["bybit"]
    assert time_request("upbit") is None
    assert time_request("nowhere") is None
