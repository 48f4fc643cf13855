"""Frames in, events or one reject out: what the sessions of all exchanges share around their decoders.

A decoder raises what is wrong with a frame; `Intake.guarded` makes it a reject with the rule that was broken and the text itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from xarb.model.units import INT64_MAX
from xarb.wires.decimals import Listing
from xarb.wires.events import QuoteEvent, WireEvent
from xarb.wires.refusal import FAULTS, Refused, reject_of
from xarb.wires.times import nanos_of

_DIGITS: Final = len(str(INT64_MAX))


class Intake:
    """The instruments of one connection, and the guard around its decoders.

    Args:
        venue: venue id.
        listings: listing of each instrument of the connection.
    """

    __slots__ = ("_named", "listings", "venue")

    def __init__(self, venue: str, listings: Iterable[Listing]) -> None:
        self.venue = venue
        self.listings = {listing.instrument.native: listing for listing in listings}
        self._named: str | None = None  # native name that the frame at hand gives, for its reject

    def guarded(self, read: Callable[[bytes, str | None], list[WireEvent]], payload: bytes, native: str | None) -> list[WireEvent]:
        """The events that `read` finds in a frame, or the one reject that it becomes; nothing is raised."""
        self._named = native
        try:
            return read(payload, native)
        except FAULTS as error:
            return [reject_of(error, payload, self.venue, self._named, self.listings.get(self._named or ""))]

    def about(self, native: str | None) -> None:
        """The frame at hand gives this native name, for its reject."""
        self._named = native

    def listing(self, native: str | None) -> Listing:
        """The listing of a native name that a frame gives.

        Raises:
            Refused: no instrument of this connection.
        """
        self._named = native
        listing = self.listings.get(native or "")
        if listing is None:
            raise Refused("unknown_instrument", f"{native!r} is no instrument of this connection")
        return listing


def sides(
    listing: Listing, bids: Sequence[tuple[str, ...]], asks: Sequence[tuple[str, ...]]
) -> tuple[list[int], list[int], list[int], list[int], int, int]:
    """The last six fields of a book or depth event: bids, their sizes, asks, their sizes, and the scales of all these.

    Args:
        listing: the instrument.
        bids: levels as (price, size, ...) in decimal text.
        asks: likewise.

    Raises:
        ValueError: a text is no decimal number.
        Unrepresentable: a number does not fit.
    """
    prices, qtys = listing.levels([*bids, *asks])
    cut = len(bids)
    return prices[:cut], qtys[:cut], prices[cut:], qtys[cut:], *listing.scales


def best(
    listing: Listing, when: int | None, number: int | None, texts: tuple[str | None, str | None, str | None, str | None]
) -> QuoteEvent:
    """A quote from (bid, its size, ask, its size) in decimal text; a side of size zero is empty, which is null.

    Raises:
        ValueError: a text is no decimal number.
        Unrepresentable: a number does not fit.
    """
    bid, bid_qty, ask, ask_qty = listing.quote(*texts)
    if bid_qty == 0:
        bid = bid_qty = None
    if ask_qty == 0:
        ask = ask_qty = None
    return QuoteEvent(listing, when, number, bid, bid_qty, ask, ask_qty, *listing.scales)


def millis(value: int | None) -> int | None:
    """A time in ms as ns; None stays None.

    Raises:
        ValueError: outside the years 2000 to 2099.
    """
    return None if value is None else nanos_of(str(value), "ms")


def counter(text: str, name: str) -> int:
    """A counter of the venue that it writes as decimal digits in text.

    Raises:
        Refused: anything but digits, or more than 63 bits.
    """
    if text.isascii() and text.isdigit() and len(text) <= _DIGITS and int(text) <= INT64_MAX:
        return int(text)
    raise Refused("wrong_type", f"{name} must be a whole number of at most 63 bits")
