"""What the kernel knows of quotes, books and feeds now, as risk, execution and strategies look at it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from xarb.engine.kernel import state
from xarb.engine.kernel.book import ASK, BID
from xarb.engine.outputs import known
from xarb.engine.strategy import BestQuote, FeedView
from xarb.engine.words import fields, place, width, words
from xarb.model.columns import FEED_STATES
from xarb.model.instrument import Instrument
from xarb.model.units import NULL

_NOW: Final = place(state.WORLD, "now")
_SLOT, _BID, _BID_QTY, _ASK, _ASK_QTY = (place(state.INSTRUMENT, name) for name in ("slot", "bid", "bid_qty", "ask", "ask_qty"))
_SIDES: Final = {
    "bid": (_BID, _BID_QTY, BID, place(state.INSTRUMENT, "bids")),
    "ask": (_ASK, _ASK_QTY, ASK, place(state.INSTRUMENT, "asks")),
}
_quote_at = fields(state.INSTRUMENT, "bid", "bid_qty", "ask", "ask_qty", "bid_seq", "ask_seq", "ts_last").unpack_from
_feed_at = fields(state.INSTRUMENT, "state", "tradable", "score").unpack_from
_confirmed_at = fields(state.INSTRUMENT, "tradable", "ts_last").unpack_from
_WORDS, _BYTES = width(state.INSTRUMENT), state.INSTRUMENT.itemsize


class KnownMarket:
    """A `rules.Market`.

    Args:
        kernel: whose memory is read.
        instruments: as they are known now, by number; whoever learns more changes the list.
    """

    def __init__(self, kernel: state.KernelState, instruments: Sequence[Instrument]) -> None:
        self._instruments = instruments
        self._world = words(kernel.block)
        self._feeds = words(kernel.tables[state.INSTRUMENTS])
        self._prices = words(kernel.tables[state.BOOK_PX])
        self._sizes = words(kernel.tables[state.BOOK_QTY])

    @property
    def now(self) -> int:
        """Engine time, ns."""
        return self._world[_NOW]

    def instrument(self, number: int) -> Instrument:
        """The instrument as it is known now."""
        return self._instruments[number]

    def best(self, number: int) -> BestQuote:
        """Best quote."""
        quote = _quote_at(self._feeds, number * _BYTES)
        if NULL in quote:
            bid, bid_qty, ask, ask_qty, *rest = quote
            return BestQuote(known(bid), known(bid_qty), known(ask), known(ask_qty), *rest)
        return BestQuote(*quote)

    def levels(self, number: int, side: str, depth: int = 10) -> list[tuple[int, int | None]]:
        """Best levels of a side, best first."""
        feeds, at = self._feeds, number * _WORDS
        price_at, size_at, half, count_at = _SIDES[side]
        slot = feeds[at + _SLOT]
        if slot < 0:
            price = feeds[at + price_at]
            return [] if price == NULL else [(price, known(feeds[at + size_at]))]
        start = (slot * 2 + half) * state.BOOK_LEVELS
        end = start + feeds[at + count_at]
        first = max(start, end - depth)
        prices, sizes = self._prices[first:end].tolist(), self._sizes[first:end].tolist()
        return [(price, known(size)) for price, size in zip(reversed(prices), reversed(sizes), strict=True)]

    def feed(self, number: int) -> FeedView:
        """State of a feed."""
        kind, tradable, score = _feed_at(self._feeds, number * _BYTES)
        return FeedView(FEED_STATES[kind], score, tradable != 0)

    def confirmed(self, number: int) -> int | None:
        """When the quote was last confirmed, ns; None while the feed is not tradable."""
        tradable, ts = _confirmed_at(self._feeds, number * _BYTES)
        return ts if tradable else None
