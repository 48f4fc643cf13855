"""One public connection to an exchange: kept open, watched, every message handed on as it arrived and decoded by the wire's session.

There is no queue between the socket and the intake: a message is decoded in the pass of the event loop that read it. What has not been
read waits in the socket, whose buffer is bounded, so that a process that is too slow slows the sender down; a ping that goes
through the same stream shows how far behind it is, and beyond `StreamPolicy.backlog_s` the connection is given up with a `gap`.
"""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar
from urllib.parse import urlsplit

import aiohttp
import msgspec

from xarb.errors import InvariantBroken, Retryable
from xarb.model.units import NANOS_PER_S
from xarb.venues.pace import Backoff, Pace
from xarb.venues.rest import SLOW_DOWN, retry_after
from xarb.wires.events import LinkEvent, MarkEvent, RejectEvent, TradeEvent, WireEvent, readable
from xarb.wires.rows import Link
from xarb.wires.session import Ask, Fetch, Reopen, Send

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from xarb.venues.intake import Intake
    from xarb.venues.rest import PublicRest
    from xarb.wires.decimals import Listing
    from xarb.wires.exchanges import Wire
    from xarb.wires.session import Session

_Socket = aiohttp.ClientWebSocketResponse[bool]
_Event = TypeVar("_Event", LinkEvent, RejectEvent)
_LARGEST_FRAME: Final = 64 << 20  # bytes; a whole level-2 book of Coinbase has several millions
_CLOSE_S: Final = 0.5  # how long the other side may take to say goodbye
_SENDS_WAITING: Final = 1_000
_QUIET_NS: Final = (
    7 * NANOS_PER_S // 10
)  # a connection that says nothing for so long is asked whether it lives: the answer is there
# within the second after which the engine takes its feeds for stale (`liveness_ms`), and it is 86 pings a minute at most
_STABLE_NS: Final = 10 * NANOS_PER_S  # a connection that held so long was a good one


class StreamPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """When a connection is given up, and how it comes back; all in seconds.

    Attributes:
        connect_s: time for a connection to be made.
        first_pause_s: pause after a connection that did not hold, doubled each time.
        longest_pause_s: its cap.
        age_s: an instrument of which no quote or book came for so long, on a connection that lives, makes it reconnect; twice as long
            the next time, because markets may be quiet. 0 switches it off.
        life_s: age at which a connection is replaced, before the exchange ends it (Binance: 24 h).
        ping_s: interval of our pings.
        backlog_s: a ping answered later than this shows that we are behind, or the exchange is.
        tick_s: interval at which all this is looked at.
        seed: of the chance in pauses and lives, which keeps many connections out of step.
    """

    connect_s: float = 10.0
    first_pause_s: float = 0.2
    longest_pause_s: float = 30.0
    age_s: float = 300.0
    life_s: float = 23 * 3_600.0
    ping_s: float = 15.0
    backlog_s: float = 10.0
    tick_s: float = 0.2
    seed: int = 1


class Feed(NamedTuple):
    """What a connection carries: of which venue of the log, over which wire, from where, and what is subscribed.

    `venue` is the venue id in the log, which is the wire's but for a second instance of the same exchange. `stream_url`, where it is not
    empty, is the origin (`ws://127.0.0.1:9001`) in place of that of the wire's address; the path stays.
    """

    venue: str
    wire: Wire
    conn: int
    listings: Sequence[Listing]
    channels: Sequence[str]
    stream_url: str = ""


class Meter:
    """What a connection did so far: counts, and the latest readings in ns."""

    __slots__ = ("bytes", "events", "frames", "gaps", "lag_ns", "last_ts", "rejects", "round_trip_ns")

    def __init__(self) -> None:
        self.frames = self.bytes = self.events = self.gaps = self.rejects = 0
        self.last_ts = 0  # ts_recv of the last message
        self.lag_ns: int | None = None  # ts_recv minus ts_event of the last event with a venue time
        self.round_trip_ns: int | None = None  # of the last ping, through everything that waited


class Stream:
    """Keeps one connection. `run` lasts until it is cancelled.

    Args:
        feed: what it carries.
        rest: the venue's REST service, for snapshots and addresses.
        http: the session that makes sockets.
        intake: takes what arrives.
        policy: when it is given up.
    """

    def __init__(self, feed: Feed, rest: PublicRest, http: aiohttp.ClientSession, *, intake: Intake, policy: StreamPolicy) -> None:
        self.feed, self.meter = feed, Meter()
        self.is_open = False
        rng = random.Random(policy.seed + feed.conn)  # noqa: S311  # spreads reconnects, guards nothing
        self._rest, self._http, self._intake, self._policy = rest, http, intake, policy
        self._backoff = Backoff(policy.first_pause_s, policy.longest_pause_s, rng)
        self._life_ns = round(policy.life_s * (1 - rng.random() / 10) * NANOS_PER_S)
        self._link = Link(feed.conn, feed.venue, _shown(moved(feed.wire.stream_url or rest.base_url, feed.stream_url)), epoch=0)
        self._age_ns = dict.fromkeys(feed.listings, round(policy.age_s * NANOS_PER_S))
        self._session: Session = feed.wire.session(feed.listings, feed.channels)
        self._seen: dict[Listing, int] = {}
        self._trades_count = not any(
            name in feed.channels for name in ("quotes", "deltas", "books")
        )  # as signs of life: nothing else comes
        self._ending: asyncio.Future[str]
        self._sends: asyncio.Queue[str]
        self._fetching: dict[str, asyncio.Task[None]] = {}
        self._opened = self._heard = self._pinged = 0  # ts of the connect, of the last word of theirs, of our last ping
        self._waits_for_pong = False
        self._rest_s = 0.0  # pause that the exchange asked for when it last refused a connection

    async def run(self) -> None:
        """Connect, stay, come back; when cancelled, say goodbye.

        Raises:
            CancelledError: always in the end.
        """
        while True:
            socket = await self._connect()
            if socket is None:
                await asyncio.sleep(max(self._backoff.next(), self._rest_s))
                continue
            await self._stay(socket)
            if self._heard - self._opened >= _STABLE_NS:
                self._backoff.reset()
            await asyncio.sleep(self._backoff.next())

    async def _connect(self) -> _Socket | None:
        """A new connection, None when there is none to be had; why is a `health` row."""
        try:
            async with asyncio.timeout(self._policy.connect_s):
                url = await self._address()
                self._link.source = _shown(url)
                return await self._http.ws_connect(
                    url,
                    autoping=False,
                    compress=0,
                    max_msg_size=_LARGEST_FRAME,
                    decode_text=False,
                    timeout=aiohttp.ClientWSTimeout(ws_close=_CLOSE_S),
                )
        except aiohttp.WSServerHandshakeError as error:
            asked = error.headers.get("Retry-After") if error.headers else None
            self._rest_s = retry_after(asked) if asked is not None or error.status in SLOW_DOWN else 0.0
            self._intake.health("connect_failed_status", error.status, self.feed.venue, f"{self._link.source}: {error.message}")
        except (aiohttp.ClientError, OSError, TimeoutError, Retryable, ValueError) as error:
            self._rest_s = 0.0
            what = f"{self._link.source}: {type(error).__name__} {error}"
            self._intake.health("connect_failed_status", 0, self.feed.venue, what)
        return None

    async def _address(self) -> str:
        wire = self.feed.wire
        url = wire.stream_url
        if wire.lookup is not None:
            answer = await self._rest.fetch(wire.lookup.path, method=wire.lookup.method, paced=False)
            if answer.status != 200:
                raise Retryable(f"{wire.lookup.path}: status {answer.status}")
            url = wire.lookup.url_of(answer.body)
        return moved(url, self.feed.stream_url)

    async def _stay(self, socket: _Socket) -> None:
        """From the connect to the end of the connection, which is on record the moment it is known."""
        loop = asyncio.get_running_loop()
        self._ending, self._sends = loop.create_future(), asyncio.Queue(_SENDS_WAITING)
        self._session = self.feed.wire.session(self.feed.listings, self.feed.channels)
        self._link.epoch += 1
        now = self._opened = self._heard = self._intake.clock.now()
        self._pinged = now - round(self._policy.ping_s * NANOS_PER_S)  # the first ping goes at the first tick
        self._seen = dict.fromkeys(self.feed.listings, now)
        self._waits_for_pong = False
        self._intake.link(self._link, "opened", carried(self.feed))
        self.is_open = True
        tasks = [loop.create_task(self._guarded(one)) for one in (self._read(socket), self._write(socket), self._watch(socket))]
        event, why = "closed", "stopped"
        try:
            self._do(self._session.open(now))
            event, why = "lost", await self._ending
            if why.startswith(_OURS):
                event = "closed"
        finally:
            self.is_open = False
            self.meter.gaps += 1
            self._intake.link(self._link, "gap", why)
            self._intake.link(self._link, event, why)
            tasks += self._fetching.values()
            for task in tasks:
                task.cancel()
            self._fetching = {}
            await asyncio.gather(*tasks, return_exceptions=True)
            await socket.close()

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        """What nobody expected ends the connection, on record; a broken promise of our own code ends the recording."""
        try:
            await work
        except InvariantBroken as error:
            self._intake.fail(error)
        except Exception as error:  # noqa: BLE001  # the top of a task
            self._end(f"unexpected: {error!r}")

    def _end(self, why: str) -> None:
        if not self._ending.done():
            self._ending.set_result(why)

    async def _read(self, socket: _Socket) -> None:
        """Hand on every message until there is none."""
        try:
            while True:
                message = await socket.receive()
                kind = message.type
                if kind is aiohttp.WSMsgType.TEXT or kind is aiohttp.WSMsgType.BINARY:
                    self._take(message.data)
                    if self._ending.done():
                        return
                elif kind is aiohttp.WSMsgType.PING:
                    self._heard = self._intake.clock.now()
                    await socket.pong(message.data)
                elif kind is aiohttp.WSMsgType.PONG:
                    self._take_pong()
                else:
                    said = message.extra or (repr(message.data) if kind is aiohttp.WSMsgType.ERROR else "")
                    self._end(f"{kind.name.lower()}, code {socket.close_code}" + (f", {said}" if said else ""))
                    return
        except (aiohttp.ClientError, OSError) as error:
            self._end(f"{type(error).__name__} {error}")

    def _take(self, payload: bytes, native: str | None = None) -> None:
        """One message: kept raw, decoded, its events placed, and what the session asks for done."""
        intake, meter, link = self._intake, self.meter, self._link
        ts = intake.frame(link, payload, native)
        meter.frames += 1
        meter.bytes += len(payload)
        if native is None:
            self._heard = meter.last_ts = ts
        try:
            events = self._session.receive(payload, native)
            asks = self._session.asks()
        except Exception as error:  # noqa: BLE001  # a bug of a decoder costs this connection, on record, and not the recording
            self._count(ts, RejectEvent("decoder_failed", repr(error), readable(payload), link.venue, native))
            self._end(f"the decoder failed: {error!r}")
            return
        for event in events:
            self._count(ts, event)
        if asks:
            self._do(asks)

    def _count(self, ts: int, event: WireEvent) -> None:
        """Place an event; note what it says of the connection and its instruments."""
        meter, kind = self.meter, type(event)
        meter.events += 1
        if kind is LinkEvent or kind is RejectEvent:
            meter.gaps += kind is LinkEvent and event.event == "gap"  # type: ignore[union-attr]  # a LinkEvent
            meter.rejects += kind is RejectEvent
            event = _of(self.feed.venue, event)  # type: ignore[type-var]  # one of the two
        else:
            if event.ts_event is not None:  # type: ignore[union-attr]  # a market event
                meter.lag_ns = ts - event.ts_event  # type: ignore[union-attr]  # same
            if self._trades_count or (kind is not TradeEvent and kind is not MarkEvent):
                self._seen[event.listing] = ts  # type: ignore[union-attr]  # same
        self._intake.event(ts, self._link, event)

    def _take_pong(self) -> None:
        """An answer to our ping came through the stream, behind everything that was sent before it."""
        now = self._intake.clock.now()
        self._waits_for_pong = False
        self.meter.round_trip_ns = now - self._pinged
        if now - self.meter.last_ts >= _QUIET_NS // 2:
            self._intake.link(self._link, "heartbeat")

    def _do(self, asks: Sequence[Ask]) -> None:
        """What the session wants."""
        for ask in asks:
            if isinstance(ask, Send):
                try:
                    self._sends.put_nowait(ask.text)
                except asyncio.QueueFull:
                    self._end(f"{_OURS}: more than {_SENDS_WAITING} messages wait to be sent")
            elif isinstance(ask, Fetch):
                if ask.native not in self._fetching:
                    self._fetching[ask.native] = asyncio.get_running_loop().create_task(self._guarded(self._fetch(ask)))
            elif isinstance(ask, Reopen):
                self._end(f"{_OURS}: {ask.reason}")

    async def _fetch(self, ask: Fetch) -> None:
        """A snapshot; one that did not come is asked for again by the session."""
        try:
            answer = await self._rest.fetch(ask.path)
            self._fetching.pop(ask.native, None)  # the session may want another one because of this one
            if answer.status == 200:
                self._take(answer.body, ask.native)
            else:
                detail = f"{ask.path}: {readable(answer.body[:500])}"
                self._intake.health("fetch_failed_status", answer.status, self.feed.venue, detail)
        except Retryable as error:
            self._fetching.pop(ask.native, None)
            self._intake.health("fetch_failed_status", 0, self.feed.venue, str(error))

    async def _write(self, socket: _Socket) -> None:
        """Send what is to be sent, no faster than the exchange allows."""
        pace = Pace(*self.feed.wire.messages)
        try:
            while True:
                text = await self._sends.get()
                await pace.wait()
                await socket.send_str(text)
        except (aiohttp.ClientError, OSError) as error:
            self._end(f"a message could not be sent: {type(error).__name__} {error}")

    async def _watch(self, socket: _Socket) -> None:
        """Look after the connection, a few times a second."""
        try:
            while True:
                await asyncio.sleep(self._policy.tick_s)
                now = self._intake.clock.now()
                self._do(self._session.tick(now))
                why = self._why_end(now)
                if why is not None:
                    self._end(why)
                elif self._is_ping_due(now):
                    self._pinged, self._waits_for_pong = now, True
                    await socket.ping()
        except (aiohttp.ClientError, OSError) as error:
            self._end(f"a ping could not be sent: {type(error).__name__} {error}")

    def _is_ping_due(self, now: int) -> bool:
        is_quiet = now - max(self._heard, self._pinged) >= _QUIET_NS
        return not self._waits_for_pong and (is_quiet or now - self._pinged >= self._policy.ping_s * NANOS_PER_S)

    def _why_end(self, now: int) -> str | None:
        """Why the connection is to be given up at `now`, None when it is sound."""
        policy = self._policy
        if now - self._heard >= self.feed.wire.silence_s * NANOS_PER_S:
            return f"silent for {self.feed.wire.silence_s} s"
        if self._waits_for_pong and now - self._pinged >= policy.backlog_s * NANOS_PER_S and self._has_ponged():
            return f"a ping is unanswered for {policy.backlog_s:g} s: messages wait"
        if now - self._opened >= self._life_ns:
            return f"{_OURS}: planned, after {(now - self._opened) // NANOS_PER_S} s"
        aged = [listing for listing, seen in self._seen.items() if policy.age_s and now - seen >= self._age_ns[listing]]
        for listing in aged:
            self._age_ns[listing] *= 2
        if aged:
            seconds = (now - self._seen[aged[0]]) // NANOS_PER_S
            return f"{_OURS}: no quote or book of {aged[0].instrument.symbol} for {seconds} s"
        return None

    def _has_ponged(self) -> bool:
        """Whether the exchange ever answered a ping; one that never does tells nothing by its silence."""
        return self.meter.round_trip_ns is not None


def carried(feed: Feed) -> str:
    """What a connection carries, as the row of its opening says it: all that is needed to decode its frames again."""
    symbols = ",".join(listing.instrument.symbol for listing in feed.listings)
    return f"wire={feed.wire.venue} channels={','.join(feed.channels)} symbols={symbols}"


_OURS: Final = "by us"  # how a reason begins when it was not the exchange or the network that ended the connection


def _of(venue: str, event: _Event) -> _Event:
    """The event under the venue's name in this log."""
    return event if event.venue == venue else msgspec.structs.replace(event, venue=venue)


def moved(url: str, origin: str) -> str:
    """The address with another scheme, host and port where `origin` is not empty."""
    if not origin:
        return url
    parts = urlsplit(url)
    return origin.rstrip("/") + parts.path + (f"?{parts.query}" if parts.query else "")


def _shown(url: str) -> str:
    """An address without its query, which may hold a token."""
    return url.partition("?")[0]


__all__ = ["Feed", "Meter", "Stream", "StreamPolicy", "carried"]
