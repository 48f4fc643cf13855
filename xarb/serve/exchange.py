"""The served exchanges: for each venue its listings with books and tapes, and whoever wants to be told when something happens there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from xarb.model.command import Report
from xarb.model.instrument import Instrument
from xarb.model.units import MONEY_SCALE
from xarb.serve.book import BID, Change, ServedBook
from xarb.serve.clock import Clock, Stamps
from xarb.serve.desk import Desk
from xarb.serve.market import Market
from xarb.serve.orders import Fill, ServedOrder
from xarb.serve.tape import Print, Tape

_BUY, _SELL = 0, 1  # as columns.AGGRESSORS; 2 is unknown


class Listing:
    """One instrument of a served venue: its book and its tape.

    Args:
        market: where its instrument is known.
        number: of the instrument in the log.
    """

    __slots__ = ("_market", "book", "number", "tape")

    def __init__(self, market: Market, number: int) -> None:
        self._market = market
        self.number = number
        self.book: ServedBook = market.books[number]
        self.tape = Tape()

    @property
    def instrument(self) -> Instrument:
        """As it is known now."""
        return self._market.instruments[self.number]

    def price(self, price_int: int) -> int:
        """A price at the instrument's scale as money."""
        return price_int * int(10 ** (MONEY_SCALE - self.instrument.px_scale))

    def qty(self, qty_int: int) -> int:
        """A quantity at the instrument's scale as money."""
        return qty_int * int(10 ** (MONEY_SCALE - self.instrument.qty_scale))

    def levels(self, side: int, limit: int) -> list[tuple[int, int]]:
        """The best levels as money."""
        return [(self.price(price), self.qty(qty)) for price, qty in self.book.levels(side, limit)]

    def best(self, side: int) -> tuple[int, int] | None:
        """The best level as money."""
        found = self.book.best(side)
        return None if found is None else (self.price(found.price), self.qty(found.qty))


class Watcher(Protocol):
    """What a wire does when something happens at its venue; prices and quantities of prints and fills are money."""

    def book_moved(self, listing: Listing, changes: Sequence[Change]) -> None:
        """Levels changed, under the number `listing.book.updates`."""

    def printed(self, listing: Listing, one: Print) -> None:
        """A public trade."""

    def order_moved(self, order: ServedOrder, what: str, fill: Fill | None) -> None:
        """An order of some account changed."""

    def money_moved(self, account: str, assets: Sequence[str]) -> None:
        """Balances of an account changed."""


class Exchange:
    """One served venue.

    Args:
        name: the venue.
        market: the replay.
        desk: where orders go.
        clock: what clients are told.
    """

    def __init__(self, name: str, market: Market, desk: Desk, clock: Stamps) -> None:
        self.name = name
        self.market = market
        self.desk = desk
        self.clock = clock
        self.listings = {
            market.instruments[number].native: Listing(market, number)
            for number in market.books
            if market.instruments[number].venue == name
        }
        self.by_number = {listing.number: listing for listing in self.listings.values()}
        self._watchers: list[Watcher] = []
        desk.attach(name, self)

    def watch(self, watcher: Watcher) -> None:
        """Tell this one too."""
        self._watchers.append(watcher)

    def now_ms(self) -> int:
        """The time that clients are told, ms."""
        return self.clock.wall_ns() // 1_000_000

    def fees(self, account: str) -> tuple[int, int]:
        """Maker and taker fee of an account, parts per billion."""
        del account  # one tier a venue
        tier = self.market.tier_of(self.name)
        return int(tier.maker_ppb), int(tier.taker_ppb)

    # --- what the desk says

    def print_fill(self, number: int, price: int, qty: int, *, buyer_is_maker: bool) -> int:
        """Print a client's execution; its id."""
        listing = self.by_number[number]
        one = listing.tape.add(self.now_ms(), price, qty, buyer_is_maker=buyer_is_maker)
        for watcher in self._watchers:
            watcher.printed(listing, one)
        return one.id

    def order_moved(self, order: ServedOrder, what: str, fill: Fill | None) -> None:
        """An order changed."""
        for watcher in self._watchers:
            watcher.order_moved(order, what, fill)

    def money_moved(self, account: str, assets: Sequence[str]) -> None:
        """Balances changed."""
        for watcher in self._watchers:
            watcher.money_moved(account, assets)

    # --- what the market says

    def book_moved(self, listing: Listing, changes: Sequence[Change]) -> None:
        """Levels changed."""
        for watcher in self._watchers:
            watcher.book_moved(listing, changes)

    def traded(self, listing: Listing, price: int, qty: int, *, aggressor: int, ms: int) -> None:
        """A trade of the log. Where it does not say who took, a trade at or below the bid counts as a sale."""
        money = listing.price(price)
        if aggressor not in {_BUY, _SELL}:
            bid = listing.best(BID)
            aggressor = _SELL if bid is not None and money <= bid[0] else _BUY
        one = listing.tape.add(ms, money, listing.qty(qty), buyer_is_maker=aggressor == _SELL)
        for watcher in self._watchers:
            watcher.printed(listing, one)


class Exchanges:
    """All served venues of a process: hands on what the market does to the venue where it happened."""

    def __init__(self, exchanges: Iterable[Exchange], desk: Desk, clock: Clock) -> None:
        self._desk = desk
        self._clock = clock
        self._homes = {number: exchange for exchange in exchanges for number in exchange.by_number}

    def book_moved(self, number: int, changes: Sequence[Change]) -> None:
        """Levels of an instrument's book changed."""
        home = self._homes[number]
        home.book_moved(home.by_number[number], changes)

    def market_traded(self, number: int, price: int, qty: int, *, aggressor: int, ts: int) -> None:
        """A trade of the log."""
        home = self._homes[number]
        home.traded(home.by_number[number], price, qty, aggressor=aggressor, ms=self._clock.wall_of(ts) // 1_000_000)

    def reported(self, reports: Sequence[Report]) -> None:
        """The venue says something of clients' orders."""
        self._desk.take(reports)


__all__ = ["Exchange", "Exchanges", "Listing", "Watcher"]
