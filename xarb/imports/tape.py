"""What every format reader shares: the listings of the import, and the clock of one stream of files."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from xarb.wires.decimals import Listing
from xarb.wires.events import RejectEvent, readable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from xarb.catalog import Instruments

IDS_KEPT: Final = 100_000  # text trade ids remembered per instrument; venues repeat ids within seconds, not days


class Listings:
    """One listing per instrument of an import, made when first asked for.

    Args:
        instruments: what may be named.
        scales: decimals that the log knows already, by (venue, symbol).
    """

    def __init__(self, instruments: Instruments, scales: Mapping[tuple[str, str], tuple[int, int]] | None = None) -> None:
        self._instruments = instruments
        self._scales = scales or {}
        self._made: dict[tuple[str, str], Listing] = {}
        self._natives: dict[tuple[str, str], Listing | None] = {}

    def find(self, venue: str, symbol: str) -> Listing | None:
        """The listing of a unified symbol, None when the instrument is not known."""
        found = self._made.get((venue, symbol))
        if found is None:
            instrument = self._instruments.find(venue, symbol)
            if instrument is None:
                return None
            px_scale, qty_scale = self._scales.get((venue, symbol), (None, None))
            found = self._made[venue, symbol] = Listing(instrument, px_scale=px_scale, qty_scale=qty_scale)
        return found

    def require(self, venue: str, symbol: str) -> Listing:
        """The listing of a unified symbol.

        Raises:
            ConfigError: the instrument is not known.
        """
        self._instruments.require(venue, symbol)
        found = self.find(venue, symbol)
        assert found is not None, "required above"
        return found

    def of_venue(self, venue: str) -> list[Listing]:
        """The listings of all instruments of a venue."""
        found = (self.find(venue, one.symbol) for one in self._instruments if one.venue == venue)
        return [listing for listing in found if listing is not None]

    def find_native(self, venue: str, native: str) -> Listing | None:
        """The listing of what the venue calls `native`, None when the instrument is not known."""
        key = (venue, native)
        if key not in self._natives:
            instrument = self._instruments.find_native(venue, native)
            self._natives[key] = None if instrument is None else self.find(venue, instrument.symbol)
        return self._natives[key]


class Tape:
    """The receive clock of one stream of files, and the trade ids seen on it.

    Attributes:
        last: receive time of the last row in order, ns; 0 before any. Rejects without a time of their own take it.
        bytes_read: bytes taken from disk.
        notes: what whoever imports should know of the files, in words.
    """

    def __init__(self, listings: Listings) -> None:
        self.listings = listings
        self.last = 0
        self.bytes_read = 0
        self.notes: list[str] = []
        self._ids: dict[tuple[str, str], OrderedDict[str, None]] = {}

    def backwards(self, ts_recv: int, line: int, payload: bytes | str, venue: str | None) -> RejectEvent | None:
        """A reject when `ts_recv` lies before the last row's time, else None, and the clock moves on."""
        if ts_recv < self.last:
            detail = f"{ts_recv} is {self.last - ts_recv} ns before the row in front of it"
            return RejectEvent("time_backwards", detail, readable(payload), venue, None, line)
        self.last = ts_recv
        return None

    def repeats(self, listing: Listing, trade_id: str) -> bool:
        """Whether a text trade id was seen among the last 100,000 of its instrument; integer ids are left to the engine."""
        if trade_id.isascii() and trade_id.isdigit():
            return False
        seen = self._ids.setdefault(listing.key, OrderedDict())
        if trade_id in seen:
            return True
        seen[trade_id] = None
        if len(seen) > IDS_KEPT:
            seen.popitem(last=False)
        return False
