"""A market that stands still: everything that a strategy may look at, written down by hand."""

from __future__ import annotations

from collections.abc import Sequence

from tests.instruments import instrument
from xarb.engine.strategy import BestQuote, Edge, Entry, FeedView
from xarb.model.instrument import FeeTier, Instrument
from xarb.model.units import MONEY_ONE, NANOS_PER_S, Money, Ppb

NOW = 1_000 * NANOS_PER_S
Levels = Sequence[tuple[int, int | None]]


def tier(taker_ppb: int, asset: str = "quote") -> FeeTier:
    """A fee tier."""
    return FeeTier(maker_ppb=Ppb(0), taker_ppb=Ppb(taker_ppb), asset=asset)


def spot(symbol: str, venue: str, **changes: object) -> Instrument:
    """A spot instrument named by its symbol, without decimals unless changed."""
    return instrument(venue, symbol, **changes)


class Board:
    """A view over given books. Balances not named are zero."""

    def __init__(self, instruments: Sequence[Instrument], books: Sequence[tuple[Levels, Levels]]) -> None:
        self.now = NOW
        self.instruments = list(instruments)
        self.books = list(books)
        self.seqs = list(range(100, 100 + len(books)))
        self.times = [NOW] * len(books)
        self.tradable = [True] * len(books)
        self.fees = [tier(0)] * len(books)
        self.money: dict[tuple[str, str], Money] = {}
        self.bundles = 0
        self.standing: list[Edge] = []
        self.entries: dict[str, Entry] = {}

    def own(self, venue: str, asset: str, units: int) -> None:
        """Put whole units into an account."""
        self.money[venue, asset] = Money(units * MONEY_ONE)

    def quote(self, instrument: int) -> BestQuote:
        """Best quote."""
        bids, asks = self.books[instrument]
        bid, ask = (side[0] if side else (None, None) for side in (bids, asks))
        return BestQuote(bid[0], bid[1], ask[0], ask[1], self.seqs[instrument], self.seqs[instrument], self.times[instrument])

    def levels(self, instrument: int, side: str, depth: int = 10) -> list[tuple[int, int | None]]:
        """Best levels of a side."""
        return list(self.books[instrument][side == "ask"][:depth])

    def feed(self, instrument: int) -> FeedView:
        """State of a feed."""
        return FeedView("live" if self.tradable[instrument] else "stale", 1000, self.tradable[instrument])

    def pool(self, instrument: int) -> None:
        """No instrument is a pool."""

    def block(self, venue: str) -> None:
        """No venue is a chain."""

    def decimals(self, venue: str, token: str) -> None:
        """No venue is a chain."""

    def loans(self, venue: str, token: str) -> tuple[()]:
        """No venue is a chain."""
        del venue, token
        return ()

    def fee(self, instrument: int) -> FeeTier:
        """Fee tier."""
        return self.fees[instrument]

    def free(self, venue: str, asset: str) -> Money:
        """Free balance."""
        return self.money.get((venue, asset), Money(0))

    def balance(self, venue: str, asset: str) -> Money:
        """Balance, all of it free."""
        return self.free(venue, asset)

    def entry(self, venue: str) -> Entry:
        """What the test says of a venue, else free."""
        return self.entries.get(venue, Entry("free"))

    def open_bundles(self) -> int:
        """Open bundles."""
        return self.bundles

    def edges(self) -> list[Edge]:
        """Open episodes."""
        return self.standing


def edge(pair: int = 0, *, opportunity: int = 1, ppb: int = 10_000_000, abnormal: bool = False) -> Edge:
    """An open episode."""
    return Edge(pair, opportunity, ppb, ppb, NOW, abnormal)
