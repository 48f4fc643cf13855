"""Listings as short as a test of a session needs them."""

from __future__ import annotations

from xarb.model.instrument import Instrument
from xarb.wires.decimals import Listing
from xarb.wires.events import APPLY, OLD, DepthEvent, LinkEvent, WireEvent


def listing(venue: str, native: str, *, kind: str = "spot", px_scale: int = 1, qty_scale: int = 8) -> Listing:
    """A listing whose symbol is its native name."""
    base, _, quote = native.replace("/", "-").partition("-")
    return Listing(
        Instrument(
            venue=venue,
            symbol=native,
            native=native,
            kind=kind,
            base=base,
            quote=quote,
            settle="",
            px_scale=px_scale,
            qty_scale=qty_scale,
        )
    )


def told(events: list[WireEvent]) -> str:
    """Events as words: `gap`, `snapshot 5 apply`, `7 unsynced`, `QuoteEvent`."""
    words = []
    for event in events:
        if isinstance(event, DepthEvent):
            verdict = {APPLY: "apply", OLD: "old"}.get(event.verdict, "unsynced")
            words.append(f"{'snapshot ' if event.is_snapshot else ''}{event.venue_seq} {verdict}")
        else:
            words.append(event.event if isinstance(event, LinkEvent) else type(event).__name__)
    return ", ".join(words)


class Book:
    """A book kept in the plainest way: exact prices to exact sizes, from the events that are to be applied."""

    def __init__(self) -> None:
        self.bids: dict[int, int] = {}
        self.asks: dict[int, int] = {}
        self.px_scale = 0

    def rescale(self, px_scale: int) -> None:
        """Bring the prices to a finer scale."""
        factor = 10 ** (px_scale - self.px_scale)
        self.bids, self.asks = ({price * factor: qty for price, qty in side.items()} for side in (self.bids, self.asks))
        self.px_scale = px_scale

    def apply(self, event: DepthEvent) -> None:
        """Apply a message whose verdict says so."""
        assert event.verdict == APPLY
        if event.is_snapshot:
            self.bids, self.asks = {}, {}
        for side, prices, qtys in ((self.bids, event.bids, event.bid_qtys), (self.asks, event.asks, event.ask_qtys)):
            for price, qty in zip(prices, qtys, strict=True):
                side[price] = qty
                if qty == 0:
                    del side[price]

    def top(self) -> tuple[int, int, int, int]:
        """Best bid and ask with their sizes."""
        bid, ask = max(self.bids), min(self.asks)
        return bid, self.bids[bid], ask, self.asks[ask]
