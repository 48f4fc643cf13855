"""The market data of all venues: instruments looked up, connections shared out, clocks compared."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from xarb.errors import ConfigError, Retryable
from xarb.model.instrument import Instrument
from xarb.venues.clock import TIMES, Offset, TimeRequest, offset_of
from xarb.venues.dex.endpoint import Endpoint
from xarb.venues.dex.feed import ChainFeed, ChainSource
from xarb.venues.dex.loading import load_pools
from xarb.venues.exchange import OWN_PLACE, Place
from xarb.venues.generic import CHANNELS, GenericFeed, GenericStream
from xarb.venues.markets import Listed, ask_instruments, load_listed
from xarb.venues.rest import PublicRest
from xarb.venues.stream import Feed, Stream, StreamPolicy
from xarb.wires.decimals import Listing
from xarb.wires.exchanges import WIRES, Wire

if TYPE_CHECKING:
    import aiohttp

    from xarb.venues.intake import Intake

_TRIES: Final = 5
_PAUSE_S: Final = 1.0
_OFFSET_SAMPLES: Final = 5
_OFFSET_EVERY_S: Final = 60.0


GENERIC_CHANNELS: Final = ("books", "trades")  # what is subscribed through ccxt where nothing else is said


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """A venue that data comes from.

    Attributes:
        venue: venue id in the log.
        exchange: the wire's name, which is ccxt's id of the exchange but where one exchange has several services.
        symbols: unified symbols.
        channels: what to subscribe, of `quotes`, `deltas`, `books`, `trades`, `marks`; none means all that the wire offers, or books and
            trades without a wire.
        place: where it is, when not under its own name.
        poll_s: seconds between two requests for the same thing, in place of a stream.
    """

    venue: str
    exchange: str
    symbols: tuple[str, ...]
    channels: tuple[str, ...] = ()
    place: Place = OWN_PLACE
    poll_s: float | None = None

    def subscribed(self) -> tuple[str, ...]:
        """The channels that are subscribed."""
        wire = self.wire()
        return self.channels or (GENERIC_CHANNELS if wire is None else wire.channels)

    def wire(self) -> Wire | None:
        """The wire that decodes it, None where ccxt's structures are taken.

        Raises:
            ConfigError: it has no such channel.
        """
        found = WIRES.get(self.exchange) if self.poll_s is None else None
        there = found.channels if found else CHANNELS
        for channel in self.channels:
            if channel not in there:
                raise ConfigError(f"{self.venue}: {self.exchange} has no channel {channel}; it has: {', '.join(there)}")
        return found


AnySource = Source | ChainSource
Connection = Stream | GenericStream | Endpoint


async def load_all(sources: Sequence[AnySource]) -> dict[str, list[Instrument]]:
    """The instruments of every source, by venue; those of a chain are its pools.

    Raises:
        ConfigError: an exchange or symbol does not exist.
        Retryable: an exchange could not be reached, several times.
    """
    chains = [one for one in sources if isinstance(one, ChainSource)]
    listed = await list_all([one for one in sources if isinstance(one, Source)])
    pools = await asyncio.gather(*(load_pools(one) for one in chains))
    by_venue = {venue: [one.instrument for one in found] for venue, found in listed.items()}
    return by_venue | {one.venue: found for one, found in zip(chains, pools, strict=True)}


async def list_all(sources: Sequence[Source]) -> dict[str, list[Listed]]:
    """As `load_all`, with what ccxt states as taker fees.

    Raises:
        ConfigError: as `load_all`.
        Retryable: as `load_all`.
    """
    found = await asyncio.gather(*(_load(source) for source in sources))
    return {source.venue: listed for source, listed in zip(sources, found, strict=True)}


def listings_of(
    instruments: Mapping[str, Sequence[Instrument]], scales: Mapping[tuple[str, str], tuple[int, int]]
) -> dict[str, list[Listing]]:
    """Their listings, at the scales of the log where it has some already."""
    found: dict[str, list[Listing]] = {}
    for venue, mine in instruments.items():
        for one in mine:
            px_scale, qty_scale = scales.get((one.venue, one.symbol), (None, None))
            found.setdefault(venue, []).append(Listing(one, px_scale=px_scale, qty_scale=qty_scale))
    return found


async def ask_listed(source: Source) -> dict[str, Instrument]:
    """What an exchange lists now of a source's symbols, by symbol, asked once.

    Raises:
        Retryable: it does not say so.
    """
    name, kinds = _name_of(source)
    return await ask_instruments(name, source.venue, source.symbols, kinds=kinds, place=source.place)


def _name_of(source: Source) -> tuple[str, Sequence[str]]:
    """ccxt's id of the exchange, and its words for the markets to load."""
    wire = WIRES.get(source.exchange)
    return (wire.exchange or wire.venue, wire.markets) if wire else (source.exchange, ())


async def _load(source: Source) -> list[Listed]:
    name, kinds = _name_of(source)
    for left in range(_TRIES - 1, -1, -1):
        try:
            return await load_listed(name, source.venue, source.symbols, kinds=kinds, place=source.place)
        except Retryable:
            if not left:
                raise
        await asyncio.sleep(_PAUSE_S)
    raise AssertionError("the last try returns or raises")


def all_speak(streams: Sequence[Connection]) -> bool:
    """Whether something came of every stream; of a chain's nodes one is enough."""
    found: dict[str, bool] = {}
    for number, stream in enumerate(streams):
        name = stream.feed.venue if isinstance(stream, Endpoint) else f"{number}"
        found[name] = found.get(name, False) or bool(stream.is_open and stream.meter.events)
    return all(found.values())


class Feeds:
    """All connections of a recording. `run` lasts until it is cancelled or one of them fails.

    Args:
        sources: where from.
        listings: by venue, as `listings_of` gives them.
        intake: takes what arrives.
        http: makes sockets and requests.
        first_conn: number of the first connection; numbers are unique in a log.
        policy: when a connection is given up.
    """

    def __init__(
        self,
        sources: Sequence[AnySource],
        listings: Mapping[str, Sequence[Listing]],
        *,
        intake: Intake,
        http: aiohttp.ClientSession,
        first_conn: int,
        policy: StreamPolicy,
    ) -> None:
        self._intake = intake
        self.streams: list[Connection] = []
        self._runs: list[Callable[[], Coroutine[Any, Any, None]]] = []
        self._rests: list[tuple[Source, PublicRest]] = []
        numbers = itertools.count(first_conn)
        for source in sources:
            if isinstance(source, ChainSource):
                chain = ChainFeed(source, listings[source.venue], intake=intake, first_conn=next(numbers))
                for _ in chain.streams[1:]:
                    next(numbers)  # each address has its own
                self.streams += chain.streams
                self._runs.append(chain.run)
                continue
            mine, wire = listings[source.venue], source.wire()
            if wire is None:
                name = WIRES[source.exchange].exchange if source.exchange in WIRES else ""
                exchange, channels = name or source.exchange, source.subscribed()
                generic = GenericFeed(source.venue, exchange, next(numbers), mine, channels, source.place, source.poll_s)
                self._keep(GenericStream(generic, intake=intake, policy=policy))
                continue
            rest = PublicRest(http, source.place.rest_url or wire.rest_url, rate=wire.snapshots)
            self._rests.append((source, rest))
            for part in _parts(mine, wire.max_instruments):
                url = source.place.stream_url or ""
                feed = Feed(source.venue, wire, next(numbers), part, source.subscribed(), url)
                self._keep(Stream(feed, rest, http, intake=intake, policy=policy))

    def _keep(self, stream: Stream | GenericStream) -> None:
        self.streams.append(stream)
        self._runs.append(stream.run)

    async def run(self) -> None:
        """Keep all connections."""
        async with asyncio.TaskGroup() as group:
            for run in self._runs:
                group.create_task(run())
            for source, rest in self._rests:
                if time_request(source.exchange) is not None:
                    group.create_task(self._compare(source, rest))

    async def _compare(self, source: Source, rest: PublicRest) -> None:
        """Measure the venue's clock against ours, at once and every minute: `clock_offset_ns` is its time minus ours."""
        while True:
            try:
                found = await measure_offset(source.exchange, rest, self._intake.clock.now)
            except Retryable as error:
                self._intake.health("clock_unknown", 0, source.venue, str(error))
            else:
                detail = f"round trip {found.round_trip_ns} ns"
                self._intake.health("clock_offset_ns", found.offset_ns, source.venue, detail)
            await asyncio.sleep(_OFFSET_EVERY_S)


async def measure_offset(exchange: str, rest: PublicRest, now: Callable[[], int], *, samples: int = _OFFSET_SAMPLES) -> Offset:
    """The offset of an exchange's clock, by the sample with the shortest round trip.

    Raises:
        Retryable: no sample succeeded, or the exchange's time is not known to be had.
    """
    request = time_request(exchange)
    if request is None:
        raise Retryable(f"{exchange}: where it tells its time is not known")
    best: Offset | None = None
    why = ""
    for _ in range(samples):
        sent = now()
        try:
            answer = await rest.fetch(request.path, paced=False)
            if answer.status != 200:
                raise Retryable(f"{request.path}: status {answer.status}")
            found = offset_of(request, answer.body, sent, now())
        except (Retryable, ValueError) as error:
            why = str(error)
            continue
        if best is None or found.round_trip_ns < best.round_trip_ns:
            best = found
    if best is None:
        raise Retryable(why)
    return best


def time_request(wire: str) -> TimeRequest | None:
    """Where the exchange behind a wire tells its time, None where that is not known."""
    return TIMES.get(wire) or TIMES.get(WIRES[wire].exchange if wire in WIRES else "")


def _parts(listings: Sequence[Listing], size: int) -> list[Sequence[Listing]]:
    """The listings in as few parts of at most `size` as there must be, of about equal length."""
    count = -(-len(listings) // size)
    return [listings[number::count] for number in range(count)]
