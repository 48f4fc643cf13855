"""A connection against a real server on loopback: every message arrives, every end of it is on record, and it comes back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from msgspec.structs import replace

from tests.venues.player import NAMES, Player, depth, snapshot, ticker, trade
from xarb.errors import InvariantBroken, LogError, Retryable
from xarb.model.columns import CONNECTION_EVENTS, TABLES
from xarb.model.instrument import Instrument
from xarb.model.units import NANOS_PER_S
from xarb.venues.clock import Clock
from xarb.venues.intake import Intake
from xarb.venues.rest import PublicRest, retry_after
from xarb.venues.stream import Feed, Stream, StreamPolicy
from xarb.wires.decimals import Listing
from xarb.wires.events import WireEvent
from xarb.wires.exchanges import WIRES, Lookup, Wire
from xarb.wires.rows import Row, RowBuilder
from xarb.wires.session import Ask, Send

QUICK = StreamPolicy(first_pause_s=0.01, longest_pause_s=0.05, tick_s=0.02, connect_s=2)
WIRE = WIRES["binance"]


def listings() -> list[Listing]:
    """The two instruments of the server."""
    more: dict[str, Any] = {"venue": "binance", "kind": "spot", "quote": "USDT", "settle": "USDT", "px_scale": 2, "qty_scale": 5}
    return [Listing(Instrument(symbol=f"{name[:3]}/USDT", native=name, base=name[:3], **more)) for name in NAMES]


class Desk:
    """A stream, its server, and everything that it delivered, as rows with their kinds in the order of seq."""

    def __init__(self, player: Player, stream: Any, intake: Intake) -> None:
        self.player, self.stream, self.intake = player, stream, intake
        self.rows: list[dict[str, Any]] = []
        self.arrived = asyncio.Event()

    def deliver(self, parts: dict[str, list[Row]]) -> None:
        """Take rows."""
        for kind, rows in parts.items():
            names = ["kind", *(column.name for column in TABLES[kind].columns)]
            self.rows += [dict(zip(names, (kind, *row), strict=True)) for row in rows]
        self.rows.sort(key=lambda row: row["seq"])
        self.arrived.set()

    def of(self, kind: str, **values: Any) -> list[dict[str, Any]]:
        """The rows of a kind with these values."""
        return [row for row in self.rows if row["kind"] == kind and all(row[name] == value for name, value in values.items())]

    def events(self) -> list[str]:
        """What happened to the connection, as words."""
        words = TABLES["connections"].column("event").values
        return [words[row["event"]] for row in self.of("connections")]

    async def until(self, done: Callable[[], object]) -> None:
        """Wait until rows make something true."""
        async with asyncio.timeout(10):
            while not done():
                self.arrived.clear()
                await self.arrived.wait()


@asynccontextmanager
async def desk(
    *,
    wire: Wire = WIRE,
    policy: StreamPolicy = QUICK,
    channels: tuple[str, ...] = ("quotes", "deltas"),
    player: Player | None = None,
) -> AsyncIterator[Desk]:
    """A running stream on a running server."""
    player = player or Player()
    async with player.serving(), aiohttp.ClientSession() as http:
        made: list[Desk] = []
        intake = Intake(RowBuilder(), Clock(), lambda parts: made[0].deliver(parts))  # noqa: PLW0108  # made below
        feed = Feed("binance", wire, 0, listings(), channels, "" if wire.lookup else player.stream_url)
        stream = Stream(feed, PublicRest(http, player.rest_url), http, intake=intake, policy=policy)
        made.append(Desk(player, stream, intake))
        task = asyncio.create_task(stream.run())
        try:
            yield made[0]
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def run(test: Coroutine[Any, Any, None]) -> None:
    """Run a test's coroutine, for 30 s at most."""

    async def limited() -> None:
        async with asyncio.timeout(30):
            await test

    asyncio.run(limited())


def test_every_frame_is_kept_as_it_came_and_every_disconnect_is_a_gap() -> None:
    """Bursts of 100 with a forced disconnect after each fifth: all frames byte for byte in order, one gap for each disconnect."""

    async def story() -> None:
        async with desk(channels=("quotes",)) as it:
            sent: list[bytes] = []
            for cut in range(4):
                socket = await it.player.next_subscription()
                for _ in range(5):
                    for _ in range(100):
                        text = ticker(len(sent) + 1)
                        sent.append(text.encode())
                        await socket.send_str(text)
                    await asyncio.sleep(0)
                await socket.close(code=1001)
                await it.until(lambda cut=cut: it.events().count("gap") == cut + 1)  # type: ignore[misc]  # bound in the loop
            frames = [row["payload"] for row in it.of("frames") if b"bookTicker" in row["payload"]]
            assert frames == sent
            assert [row["venue_seq"] for row in it.of("quotes")] == list(range(1, 2001))
            assert it.events()[:8] == ["opened", "subscribed", "gap", "lost", "opened", "subscribed", "gap", "lost"]
            assert [row["epoch"] for row in it.of("connections", event=0)] == list(range(1, 5))
            assert it.of("connections", event=2)[0]["detail"] == "close, code 1001"
            assert [row["seq"] for row in it.rows] == list(range(len(it.rows)))

    run(story())


def test_an_aborted_connection_is_a_gap_at_once() -> None:
    """A connection that breaks without a word is on record though nobody waits for anything, and what came before it is there."""

    async def story() -> None:
        async with desk(channels=("quotes",)) as it:
            socket = await it.player.next_subscription()
            await socket.send_str(ticker(1))
            await it.until(lambda: it.of("quotes"))
            transport = socket._req.transport  # type: ignore[union-attr]  # the server's side, to be cut
            assert transport is not None
            transport.abort()
            await it.until(lambda: "lost" in it.events())
            await it.player.next_subscription()
            assert it.events()[2:4] == ["gap", "lost"]

    run(story())


def test_what_cannot_be_decoded_is_a_reject_and_the_next_frame_goes_on() -> None:
    """Broken JSON, bytes that are no UTF-8, binary frames, an unknown message: all kept raw, rejected by name, on one connection."""

    async def story() -> None:
        bad = [b'{"stream":', b"\xff\xfe\xfd", b"[]", b'{"e":"nonsense"}', b""]
        async with desk(channels=("quotes",)) as it:
            socket = await it.player.next_subscription()
            for payload in bad:
                await socket.send_bytes(payload)
            await socket.send_frame(b'{"u":1,"s":"B\xff', aiohttp.WSMsgType.TEXT)
            await socket.send_str(ticker(1))
            await it.until(lambda: it.of("quotes"))
            assert [row["payload"] for row in it.of("frames")][1:-1] == [*bad, b'{"u":1,"s":"B\xff']
            assert len(it.of("rejects")) == 6
            assert (it.events(), it.stream.meter.rejects) == (["opened", "subscribed"], 6)

    run(story())


def test_a_book_is_synced_from_a_snapshot_and_resynced_after_a_gap() -> None:
    """Updates wait for the snapshot, which is a frame with the instrument's name; a hole gives a gap and another snapshot, a 429 a rest."""

    async def story() -> None:
        async with desk(channels=("deltas",)) as it:
            answers = [(429, "slow down", {"Retry-After": "0"}), (200, snapshot(10), {}), (200, snapshot(30), {})]
            it.player.depth_answer = lambda _: answers.pop(0)
            socket = await it.player.next_subscription()
            await socket.send_str(depth(8, 10))
            await it.until(lambda: it.of("health", metric="fetch_failed_status"))
            assert it.of("health")[0]["value"] == 429
            now = it.stream._intake.clock.now()
            it.stream._session.tick(now)  # the session asks again after five seconds
            it.stream._do(it.stream._session.tick(now + 6 * NANOS_PER_S))
            await it.until(lambda: it.of("book_deltas", is_snapshot=True))
            await socket.send_str(depth(11, 12))
            await socket.send_str(depth(15, 30))
            await it.until(lambda: "resync" in it.events())
            await it.until(lambda: len(it.of("book_deltas", is_snapshot=True)) == 4)
            assert [row["native"] for row in it.of("frames") if row["native"]] == ["BTCUSDT", "BTCUSDT"]
            assert [row["symbol"] for row in it.of("connections", event=2)] == ["BTC/USDT"]
            assert it.player.requests == ["/api/v3/depth?symbol=BTCUSDT&limit=1000"] * 3

    run(story())


def test_a_snapshot_on_its_way_ends_with_its_connection() -> None:
    """The next connection fetches its own, although the answer to the last one's request never came."""

    async def story() -> None:
        async with desk(channels=("deltas",)) as it:
            it.player.depth_answer = lambda _: (200, snapshot(10), {})
            it.player.answers.clear()
            socket = await it.player.next_subscription()
            await socket.send_str(depth(8, 10))
            await it.until(lambda: bool(it.player.requests))
            await socket.close()
            socket = await it.player.next_subscription()
            it.player.answers.set()
            await socket.send_str(depth(8, 10))
            await it.until(lambda: it.of("book_deltas", is_snapshot=True))
            assert it.player.requests == ["/api/v3/depth?symbol=BTCUSDT&limit=1000"] * 2

    run(story())


def test_more_messages_than_may_wait_to_be_sent_end_the_connection() -> None:
    """Nothing is left out in silence: a gap that says why, counted, and another connection."""

    async def story() -> None:
        async with desk(channels=("quotes",)) as it:
            await it.player.next_subscription()
            it.stream._do([Send("{}")] * 1_001)
            await it.player.next_subscription()
            (gap,) = it.of("connections", event=CONNECTION_EVENTS.index("gap"))
            assert gap["detail"] == "by us: more than 1000 messages wait to be sent"
            assert it.stream.meter.gaps == 1

    run(story())


def test_an_announced_shutdown_makes_it_reconnect() -> None:
    """`serverShutdown` and `eventStreamTerminated` are answered with a new connection, closed by us."""

    async def story() -> None:
        async with desk(channels=("quotes",)) as it:
            for number, name in enumerate(("serverShutdown", "eventStreamTerminated"), 1):
                socket = await it.player.next_subscription()
                await socket.send_str(json.dumps({"e": name, "E": 1}))
                await it.until(lambda number=number: it.events().count("closed") == number)  # type: ignore[misc]  # bound in the loop
                assert it.of("connections", event=5)[-1]["detail"] == f"by us: {name}"
            await it.player.next_subscription()

    run(story())


@pytest.mark.parametrize(
    ("wire", "policy", "event", "why"),
    [
        (WIRE._replace(silence_s=0), QUICK, "lost", "silent for 0 s"),
        (WIRE, replace(QUICK, life_s=0.05), "closed", "by us: planned, after 0 s"),
        (WIRE, replace(QUICK, age_s=0.05), "closed", "by us: no quote or book of BTC/USDT for 0 s"),
    ],
)
def test_the_watchdogs_give_a_connection_up(wire: Wire, policy: StreamPolicy, event: str, why: str) -> None:
    """Silence, age of the connection, and age of one instrument's data end it, with the reason, and it comes back."""

    async def story() -> None:
        async with desk(wire=wire, policy=policy) as it:
            await it.until(lambda: event in it.events())
            words = TABLES["connections"].column("event").values
            assert it.of("connections", event=words.index(event))[0]["detail"] == why
            await it.until(lambda: it.events().count("opened") == 2)

    run(story())


def test_old_data_are_given_twice_as_long_the_next_time() -> None:
    """A quiet market must not make a connection begin anew again and again."""

    async def story() -> None:
        async with desk(policy=replace(QUICK, age_s=0.1)) as it:
            await it.until(lambda: it.events().count("closed") == 3)
            times = [row["ts_recv"] for row in it.of("connections") if row["event"] in {0, 5}]
            lives = [ended - opened for opened, ended in zip(times[::2], times[1::2], strict=False)]
            assert lives[1] >= 0.2 * NANOS_PER_S
            assert lives[2] >= 0.4 * NANOS_PER_S

    run(story())


def test_trades_are_signs_of_life_where_nothing_else_is_subscribed() -> None:
    """They are none beside quotes, whose absence they would hide."""

    async def story() -> None:
        policy = replace(QUICK, age_s=1.0)
        for channels, ends in ((("trades",), 0), (("quotes", "trades"), 1)):
            async with desk(policy=policy, channels=channels) as it:
                socket = await it.player.next_subscription()
                for number in range(26):
                    if socket.closed:
                        break
                    for name in NAMES:
                        await socket.send_str(trade(number, name))
                    await asyncio.sleep(0.05)
                assert min(it.events().count("closed"), 1) == ends

    run(story())


def test_after_too_many_requests_everyone_rests() -> None:
    """A 429 holds all later requests to the venue for as long as it says; one that is not paced does not wait."""

    async def story() -> None:
        player = Player()
        player.depth_answer = lambda _: (429, "slow down", {"Retry-After": "1"})
        async with player.serving(), aiohttp.ClientSession() as http:
            rest, loop = PublicRest(http, player.rest_url), asyncio.get_running_loop()
            assert (await rest.fetch("/api/v3/depth?symbol=BTCUSDT")).status == 429
            began = loop.time()
            assert (await rest.fetch("/api/v3/time", paced=False)).status == 200
            assert loop.time() - began < 0.9
            assert (await rest.fetch("/api/v3/time")).status == 200
            assert loop.time() - began >= 0.9
            with pytest.raises(Retryable):
                await PublicRest(http, "http://127.0.0.1:9").fetch("/x")

    run(story())


def test_a_ping_that_waits_behind_a_backlog_ends_the_connection() -> None:
    """An exchange that answered pings and then does not is behind, or we are; one that never answered is not judged by it."""

    async def story() -> None:
        policy = StreamPolicy(first_pause_s=0.01, tick_s=0.02, ping_s=0.02, backlog_s=0.1)
        async with desk(policy=policy) as it:
            await it.until(lambda: "heartbeat" in it.events())
            assert it.stream.meter.round_trip_ns is not None
            it.player.answers_pings = False
            await it.until(lambda: "lost" in it.events())
            assert it.of("connections", event=4)[0]["detail"] == "a ping is unanswered for 0.1 s: messages wait"
        player = Player()
        player.answers_pings = False
        async with desk(policy=policy, player=player) as it:
            await it.player.next_subscription()
            await asyncio.sleep(0.4)  # several times the limit: nothing must happen
            assert it.events() == ["opened", "subscribed"]

    run(story())


def test_a_quiet_connection_shows_that_it_lives() -> None:
    """Without a message its heartbeats come at least every second, as long as pings are answered; with messages there are none."""

    async def story() -> None:
        async with desk(policy=StreamPolicy()) as it:
            socket = await it.player.next_subscription()
            await it.until(lambda: it.events().count("heartbeat") == 3)
            beats = [row["ts_recv"] for row in it.of("connections", event=6)]
            assert beats[2] - beats[0] >= 1.3 * NANOS_PER_S  # not faster than once in 0.7 s
            for number in range(20):
                await socket.send_str(ticker(number))
                await asyncio.sleep(0.05)
            assert it.events().count("heartbeat") <= 4

    run(story())


def test_a_refused_connection_is_tried_again_with_growing_pauses() -> None:
    """A status in place of a handshake and a port that nobody listens on are readings, not ends."""

    async def story() -> None:
        player = Player()
        player.refuse = 503
        async with desk(player=player) as it:
            await it.until(lambda: len(it.of("health")) >= 3)
            assert {row["value"] for row in it.of("health", metric="connect_failed_status")} == {503}
            player.refuse = None
            await it.player.next_subscription()
        async with desk() as it:
            socket = await it.player.next_subscription()
            it.stream.feed = it.stream.feed._replace(
                wire=WIRE._replace(stream_url="ws://h/x?token=secret"), stream_url="ws://127.0.0.1:9"
            )
            await socket.close()
            await it.until(lambda: it.of("health", value=0))
            assert "secret" not in it.of("health", value=0)[0]["detail"]

    run(story())


def test_a_refused_connection_rests_as_long_as_it_is_told() -> None:
    """`Retry-After` of the handshake is kept to, though our own pauses are shorter."""

    async def story() -> None:
        player = Player()
        player.refuse, player.refusal = 429, {"Retry-After": "1"}
        async with desk(player=player) as it:
            await it.until(lambda: len(it.of("health")) == 2)
            first, second = it.of("health")
            assert second["ts_recv"] - first["ts_recv"] >= NANOS_PER_S

    run(story())


def test_an_address_may_have_to_be_looked_up() -> None:
    """Where the wire says so, a request gives the stream's address; its query, which holds a token, is not recorded."""

    async def story() -> None:
        player = Player()
        lookup = Lookup("GET", "/api/v3/time", lambda _: f"{player.stream_url}/stream?token=secret")
        async with desk(wire=WIRE._replace(lookup=lookup), player=player) as it:
            await it.player.next_subscription()
            await it.until(lambda: "subscribed" in it.events())
            assert it.of("connections")[0]["source"] == f"{player.stream_url}/stream"
            assert player.requests[0] == "/api/v3/time"

    run(story())


def _buggy(payload: bytes, native: str | None = None) -> list[WireEvent]:
    raise ZeroDivisionError(payload, native)


def test_a_decoder_that_fails_costs_a_connection_and_not_the_recording() -> None:
    """The frame is a reject and kept raw, and the connection begins anew with a fresh session."""

    async def story() -> None:
        async with desk(channels=("quotes",)) as it:
            socket = await it.player.next_subscription()
            it.stream._session.receive = _buggy  # a decoder with a bug
            await socket.send_str(ticker(1))
            await it.until(lambda: "lost" in it.events())
            assert it.of("rejects")[0]["rule"] == "decoder_failed"
            socket = await it.player.next_subscription()
            await socket.send_str(ticker(2))
            await it.until(lambda: it.of("quotes"))

    run(story())


def test_what_nobody_expected_ends_the_connection_and_a_broken_promise_the_recording() -> None:
    """An exception out of a watchdog is on record and the connection begins anew; one of our own broken promises reaches whoever waits."""

    def unexpected(ts: int) -> list[Ask]:
        raise ZeroDivisionError(ts)

    def broken(ts: int) -> list[Ask]:
        raise InvariantBroken(f"a promise at {ts}")

    async def story() -> None:
        async with desk(channels=("quotes",)) as it:
            await it.player.next_subscription()
            it.stream._session.tick = unexpected
            await it.until(lambda: "lost" in it.events())
            assert it.of("connections", event=4)[0]["detail"].startswith("unexpected: ZeroDivisionError")
            await it.player.next_subscription()
            it.stream._session.tick = broken
            with pytest.raises(InvariantBroken, match="a promise"):
                await it.intake.failure

    run(story())


def test_a_delivery_that_fails_ends_the_intake() -> None:
    """What the log refuses reaches whoever waits, and nothing is delivered after it."""

    async def story() -> None:
        calls = []

        def deliver(parts: dict[str, list[Row]]) -> None:
            calls.append(parts)
            raise LogError("no more")

        intake = Intake(RowBuilder(), Clock(), deliver)
        intake.health("one", 1)
        with pytest.raises(LogError, match="no more"):
            await intake.failure
        intake.health("two", 2)
        intake.flush()
        assert len(calls) == 1

    run(story())


def test_two_instances_of_an_exchange_have_their_own_names() -> None:
    """Connection and reject rows bear the venue's name in the log, whatever the session calls its exchange."""

    async def story() -> None:
        async with desk() as it:
            socket = await it.player.next_subscription()
            it.stream.feed = it.stream.feed._replace(venue="other")
            await socket.send_str("[]")
            await it.until(lambda: it.of("rejects"))
            assert it.of("rejects")[0]["venue"] == "other"

    run(story())


@pytest.mark.parametrize(("text", "seconds"), [(None, 10), ("7", 7), ("-1", 10), ("soon", 10), ("99999999999", 3600)])
def test_retry_after_is_taken_within_reason(text: str | None, seconds: float) -> None:
    """Seconds as the venue says, at most an hour, ten where it says nothing that can be read."""
    assert retry_after(text) == seconds
