"""Market data of any exchange that ccxt knows and no wire of ours decodes: ccxt's parsed structures, streamed or polled.

They coalesce: ccxt hands out the latest book, and what came between two looks is gone (measured: 69 of 20,000 back-to-back messages were
seen). The row of the opened connection says so. Whole books are recorded, quotes and trades where asked for. ccxt's numbers are
floats; their shortest exact text (`repr`) is what is recorded, which is the exchange's own text up to 15 digits. Raw messages are
kept, every one, as they reach ccxt.
"""

from __future__ import annotations

import asyncio
import random
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from xarb.errors import ConfigError, InvariantBroken
from xarb.model.units import NANOS_PER_MS, NANOS_PER_S
from xarb.venues.exchange import Place
from xarb.venues.markets import data_client
from xarb.venues.pace import Backoff
from xarb.venues.stream import Meter, StreamPolicy
from xarb.wires.events import BUY, SELL, UNKNOWN, BookEvent, QuoteEvent, RejectEvent, TradeEvent, WireEvent, readable
from xarb.wires.rows import Link

if TYPE_CHECKING:
    from xarb.venues.intake import Intake
    from xarb.wires.decimals import Listing

CHANNELS: Final = ("quotes", "books", "trades")
BOOK_LEVELS: Final = 20  # a side: ccxt hands out whole books, and each of them would be recorded
_IDS_KEPT: Final = 10_000  # trade ids remembered an instrument: polls overlap
_STABLE_NS: Final = 10 * NANOS_PER_S
_CLOSE_S: Final = 5.0


class GenericFeed(NamedTuple):
    """What a client carries: venue id in the log, ccxt's id, its connection's number, and the interval of polls, None to stream."""

    venue: str
    exchange: str
    conn: int
    listings: Sequence[Listing]
    channels: Sequence[str]
    place: Place
    poll_s: float | None = None


class GenericStream:
    """Keeps one ccxt client. `run` lasts until it is cancelled.

    Args:
        feed: what it carries.
        intake: takes what arrives.
        policy: when it is given up; of it the pauses and `age_s`.

    Raises:
        ConfigError: a channel that ccxt's structures do not have.
    """

    def __init__(self, feed: GenericFeed, *, intake: Intake, policy: StreamPolicy) -> None:
        strange = [name for name in feed.channels if name not in CHANNELS]
        if strange:
            raise ConfigError(f"{feed.venue}: through ccxt there are {', '.join(CHANNELS)}, not {', '.join(strange)}")
        self.feed, self.meter, self.is_open = feed, Meter(), False
        self._intake, self._policy = intake, policy
        rng = random.Random(policy.seed + feed.conn)  # noqa: S311  # spreads reconnects, guards nothing
        self._backoff = Backoff(policy.first_pause_s, policy.longest_pause_s, rng)
        self._link = Link(feed.conn, feed.venue, f"ccxt:{feed.exchange}", epoch=0)
        self._markets: dict[str, Any] | None = None
        self._ids: dict[Listing, OrderedDict[str, None]] = {listing: OrderedDict() for listing in feed.listings}
        self._opened = 0
        self._ending: asyncio.Future[str]

    async def run(self) -> None:
        """Make a client, stay, make another.

        Raises:
            CancelledError: always in the end.
        """
        while True:
            await self._stay()
            if self.meter.last_ts - self._opened >= _STABLE_NS:
                self._backoff.reset()
            await asyncio.sleep(self._backoff.next())

    async def _stay(self) -> None:
        """The life of one client."""
        self._ending = asyncio.get_running_loop().create_future()
        symbols = [listing.instrument.symbol for listing in self.feed.listings]
        client = data_client(self.feed.exchange, symbols, place=self.feed.place)
        tap(client, self._take_raw, self._end)
        tasks: list[asyncio.Task[None]] = []
        event, why = "closed", "stopped"
        try:
            if self._markets is None:
                self._markets = await client.load_markets()
            else:
                client.set_markets(self._markets)
            tasks = [asyncio.create_task(self._guarded(work)) for work in (*self._works(client), self._watch())]
            event, why = "lost", await self._ending
        except Exception as error:  # noqa: BLE001  # ccxt's errors, and whatever its parsers raise
            event, why = "lost", f"{type(error).__name__} {str(error)[:300]}"
        finally:
            for task in tasks:
                task.cancel()
            if self.is_open:
                self.is_open = False
                self.meter.gaps += 1
                self._intake.link(self._link, "gap", why)
                self._intake.link(self._link, event, why)
            elif event == "lost":
                self._intake.health("connect_failed_status", 0, self.feed.venue, f"{self._link.source}: {why}")
            await asyncio.gather(*tasks, return_exceptions=True)
            await _close(client)

    def _works(self, client: Any) -> list[Coroutine[Any, Any, None]]:
        """What runs side by side: one loop an instrument and channel."""
        works: list[Coroutine[Any, Any, None]] = []
        for listing in self.feed.listings:
            symbol = listing.instrument.symbol
            for channel in self.feed.channels:
                call, poll_s = _call(client, channel, symbol, self.feed.poll_s)
                works.append(self._repeat(call, poll_s, channel, listing))
        return works

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        """What ends one loop ends the client: ccxt may leave a broken one hanging."""
        try:
            await work
        except InvariantBroken as error:
            self._intake.fail(error)
        except Exception as error:  # noqa: BLE001  # ccxt's errors, and whatever its parsers raise
            self._end(f"{type(error).__name__} {str(error)[:300]}")

    async def _repeat(
        self, call: Callable[[], Coroutine[Any, Any, Any]], poll_s: float | None, channel: str, listing: Listing
    ) -> None:
        readers: dict[str, Callable[[Listing, Any], Sequence[WireEvent]]] = {
            "books": self._book,
            "quotes": self._quote,
            "trades": self._trades,
        }
        read = readers[channel]
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + (poll_s or 0.0)
            found = await call()
            ts = self._heard()
            try:
                events = read(listing, found)
            except (ValueError, TypeError, KeyError, IndexError) as error:
                reject = RejectEvent("bad_number", repr(error), readable(repr(found)), self.feed.venue, listing.instrument.symbol)
                events = [reject]
                self.meter.rejects += 1
            for event in events:
                self.meter.events += 1
                if not isinstance(event, RejectEvent) and (when := getattr(event, "ts_event", None)) is not None:
                    self.meter.lag_ns = ts - when
                self._intake.event(ts, self._link, event)
            if poll_s is not None:
                await asyncio.sleep(max(due - loop.time(), 0.0))

    async def _watch(self) -> None:
        """ccxt may wait forever on a connection that is dead: whatever is older than the limit begins anew."""
        limit_ns = round(self._policy.age_s * NANOS_PER_S)
        began = self._intake.clock.now()
        while True:
            await asyncio.sleep(self._policy.tick_s)
            age = self._intake.clock.now() - max(self.meter.last_ts, began)
            if limit_ns and age >= limit_ns:
                self._end(f"nothing came for {age // NANOS_PER_S} s")

    def _end(self, why: str) -> None:
        if not self._ending.done():
            self._ending.set_result(why)

    def _heard(self) -> int:
        """Now; what is heard first opens the connection."""
        if not self.is_open and not self._ending.done():
            self.is_open = True
            self._link.epoch += 1
            self._opened = self._intake.clock.now()
            way = f"polled every {self.feed.poll_s:g} s" if self.feed.poll_s else "streamed"
            detail = f"coalescing: ccxt {self.feed.exchange}, {way}, gives the latest state only; channels={','.join(self.feed.channels)}"
            self._intake.link(self._link, "opened", detail)
        self.meter.last_ts = self._intake.clock.now()
        return self.meter.last_ts

    def _take_raw(self, payload: bytes) -> None:
        """A message as ccxt's socket gave it."""
        self._heard()
        self.meter.frames += 1
        self.meter.bytes += len(payload)
        self._intake.frame(self._link, payload)

    def _book(self, listing: Listing, found: Mapping[str, Any]) -> list[WireEvent]:
        bids, asks = ([(text_of(level[0]), text_of(level[1])) for level in found[side][:BOOK_LEVELS]] for side in ("bids", "asks"))
        prices, qtys = listing.levels(bids + asks)
        cut = len(bids)
        sides = (prices[:cut], qtys[:cut], prices[cut:], qtys[cut:])
        return [BookEvent(listing, _when(found), _counter(found.get("nonce")), *sides, *listing.scales)]

    def _quote(self, listing: Listing, found: Mapping[str, Any]) -> list[WireEvent]:
        one = found.get(listing.instrument.symbol, found)
        texts = [None if one.get(name) is None else text_of(one[name]) for name in ("bid", "bidVolume", "ask", "askVolume")]
        if texts[0] is None and texts[2] is None:
            return []  # a ticker without a best price, as Binance's miniTicker is
        return [QuoteEvent(listing, _when(one), None, *listing.quote(*texts), *listing.scales)]

    def _trades(self, listing: Listing, found: Sequence[Mapping[str, Any]]) -> list[WireEvent]:
        events: list[WireEvent] = []
        for one in found:
            number = None if one.get("id") is None else str(one["id"])
            if number is not None and not self._is_new(listing, number):
                continue
            prices, qtys = listing.levels([(text_of(one["price"]), text_of(one["amount"]))])
            aggressor = {"buy": BUY, "sell": SELL}.get(one.get("side") or "", UNKNOWN)
            events.append(TradeEvent(listing, _when(one), None, number, prices[0], qtys[0], aggressor, *listing.scales))
        return events

    def _is_new(self, listing: Listing, number: str) -> bool:
        seen = self._ids[listing]
        if number in seen:
            return False
        seen[number] = None
        if len(seen) > _IDS_KEPT:
            seen.popitem(last=False)
        return True


def tap(client: Any, take: Callable[[bytes], None], end: Callable[[str], None]) -> None:
    """Hand every message of a ccxt client's sockets to `take`, and the end of a socket or a message that ccxt cannot read to `end`.

    ccxt itself says nothing while nobody waits, and a message that it cannot read ends its reader in silence.
    """
    make, on_close, on_error = client.client, client.on_close, client.on_error

    def tapped(url: str) -> Any:
        found = make(url)
        read = found.handle_text_or_binary_message
        if not getattr(read, "is_tap", False):

            def handle(data: str | bytes) -> None:
                take(data.encode() if isinstance(data, str) else data)
                try:
                    read(data)
                except Exception as error:  # noqa: BLE001  # whatever ccxt's parsers raise
                    end(f"ccxt could not read a message: {error!r}"[:300])

            handle.is_tap = True  # type: ignore[attr-defined]  # a mark for the next call
            found.handle_text_or_binary_message = handle
        return found

    def closed(socket: Any, error: Any) -> None:
        on_close(socket, error)
        end(f"a socket closed: {error}"[:300])

    def failed(socket: Any, error: Any) -> None:
        on_error(socket, error)
        end(f"a socket failed: {error!r}"[:300])

    client.client, client.on_close, client.on_error = tapped, closed, failed


async def _close(client: Any) -> None:
    try:
        async with asyncio.timeout(_CLOSE_S):
            await client.close()
    except Exception:  # noqa: BLE001, S110  # it is thrown away in any case
        pass


def _call(
    client: Any, channel: str, symbol: str, poll_s: float | None
) -> tuple[Callable[[], Coroutine[Any, Any, Any]], float | None]:
    """What gives the next structure of a channel, and how long to wait between two calls, None for as soon as it comes."""
    has = client.has
    if poll_s is None:
        if channel == "books" and has.get("watchOrderBook"):
            return lambda: client.watch_order_book(symbol), None
        if channel == "trades" and has.get("watchTrades"):
            return lambda: client.watch_trades(symbol), None
        if channel == "quotes" and has.get("watchBidsAsks"):
            return lambda: client.watch_bids_asks([symbol]), None
        if channel == "quotes" and has.get("watchTicker"):
            return lambda: client.watch_ticker(symbol), None
    poll_s = poll_s or 1.0
    if channel == "books":
        return lambda: client.fetch_order_book(symbol), poll_s
    if channel == "trades":
        return lambda: client.fetch_trades(symbol), poll_s
    return lambda: client.fetch_ticker(symbol), poll_s


def text_of(number: float | str) -> str:
    """The exact decimal text of a number as ccxt gives it.

    Raises:
        TypeError: it gave something else.
    """
    if isinstance(number, str):
        return number
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise TypeError(f"{number!r} is no number")
    return repr(number)


def _when(found: Mapping[str, Any]) -> int | None:
    stamp = found.get("timestamp")
    return int(stamp) * NANOS_PER_MS if stamp else None


def _counter(value: Any) -> int | None:
    return value if isinstance(value, int) and 0 <= value < 2**63 else None
