"""What exchanges say of their instruments, asked for again while a log is written: steps, minima, and whether they are traded.

A change becomes an `instruments` row. One that is listed no more, or is another thing by now, is no longer active: nothing new begins
there. An answer that fails changes nothing and is told. Requests carry no key and count in the public budget of the address.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

import msgspec

from xarb.errors import Retryable
from xarb.model.instrument import Instrument
from xarb.venues.feeds import Source, ask_listed
from xarb.venues.intake import Intake
from xarb.venues.markets import is_news
from xarb.wires.decimals import Listing, Unrepresentable

CHANGED: Final = "instrument_changed"  # 1: it is traded by other terms than before; 0: it is not traded any more
UNKNOWN: Final = "instruments_unknown"  # how many times in a row an exchange did not say what it lists
_AGAIN_S: Final = 60.0  # an answer that failed is asked for again so soon
_SPREAD: Final = 0.1  # by so much of the interval venues are asked apart, each always at its own time
_SAME: Final = (
    "native",
    "base",
    "quote",
    "settle",
    "kind",
    "contract",
    "contract_size",
)  # what decoders, balances and orders rest on


class Relisting:
    """Asks every exchange of a session or a recording again; `run` it until it is cancelled.

    Args:
        sources: exchanges and symbols.
        listings: of their instruments, by venue, as the log knows them.
        intake: takes rows.
        every_s: interval in seconds; 0: never.
        asked: what an exchange lists of a source's symbols now, by symbol; raises Retryable where it does not say so.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        listings: Mapping[str, Sequence[Listing]],
        intake: Intake,
        *,
        every_s: float,
        asked: Callable[[Source], Awaitable[Mapping[str, Instrument]]] = ask_listed,
    ) -> None:
        self._sources, self._listings, self._intake, self._every_s = sources, listings, intake, every_s
        self._asked = asked
        self._failures: dict[str, int] = {}

    async def run(self) -> None:
        """Until it is cancelled; with an interval of 0 it only waits."""
        if not self._every_s or not self._sources:
            await asyncio.Event().wait()
        await asyncio.gather(*(self._keep(source) for source in self._sources))

    async def _keep(self, source: Source) -> None:
        apart = 1 + _SPREAD * (zlib.crc32(source.venue.encode()) % 1000 / 500 - 1)
        while True:
            again = self._every_s if not self._failures.get(source.venue) else min(self._every_s, _AGAIN_S)
            await asyncio.sleep(again * apart)
            await self.ask(source)

    async def ask(self, source: Source) -> None:
        """Ask one exchange now."""
        try:
            found = await self._asked(source)
        except Retryable as error:
            self._failures[source.venue] = times = self._failures.get(source.venue, 0) + 1
            self._intake.health(UNKNOWN, times, source.venue, str(error))
            return
        if self._failures.pop(source.venue, 0):
            self._intake.health(UNKNOWN, 0, source.venue, "it says again what it lists")
        for listing in self._listings[source.venue]:
            self._take(listing, found.get(listing.instrument.symbol))

    def _take(self, listing: Listing, now: Instrument | None) -> None:
        """What the exchange says of one, None where it lists it no more."""
        before, why = listing.instrument, "it is listed no more"
        if now is not None:
            other = [name for name in _SAME if getattr(now, name) != getattr(before, name)]
            why = f"its {', '.join(other)} changed: it is another thing, for a new log" if other else ""
            if not why:
                why = _make_room(listing, now)
        after = msgspec.structs.replace(before, active=False) if now is None or why else now
        if not is_news(before, after):
            return
        listing.instrument = after
        self._intake.announce(listing, again=True)
        said = why or ("it is traded no more" if not after.active else _terms(before, after))
        self._intake.health(CHANGED, int(after.active), before.venue, f"{before.id}: {said}")


def _make_room(listing: Listing, now: Instrument) -> str:
    """Let the scales grow to those of an instrument; why that cannot be, empty where it can."""
    try:
        if now.px_scale > listing.price.scale:
            listing.price.grow(now.px_scale)
        if now.qty_scale > listing.qty.scale:
            listing.qty.grow(now.qty_scale)
    except Unrepresentable as error:
        return f"its steps cannot be held: {error}"
    return ""


def _terms(before: Instrument, after: Instrument) -> str:
    """What changed, by name."""
    names = ("active", "tick_int", "px_scale", "lot_int", "qty_scale", "min_qty", "min_notional", "expiry")
    changed = [(name, getattr(before, name), getattr(after, name)) for name in names]
    return ", ".join(f"{name} {was} to {is_now}" for name, was, is_now in changed if was != is_now)
