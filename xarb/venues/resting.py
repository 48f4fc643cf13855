"""Orders that rest, and how the market reaches them. The queue model is pessimistic.

- An order stands behind the whole size that its level showed at its arrival (`ahead`). Where the book says nothing about the level
  (beyond the worst level shown, unknown size, no book), `ahead` is unknown until the level is seen, and is then all of it.
- A public trade at its price whose aggressor takes from its side passes `ahead` first, then fills. A trade of unknown aggressor at the
  price proves nothing.
- Shrinkage proves nothing as long as the level shows at least `ahead`: whoever left stood behind us. Below that, `ahead` falls to
  what is shown, which is certain. Trades reported afterwards may be the cause of that fall, so they make up for it before they
  advance the queue again (`owed`): one execution seen twice counts once.
- A trade beyond its price (below a bid, above an ask) would have met it first: it fills, up to the size of the trade.
- A book whose other side reaches its price would have met it: it fills up to what is there, which is then consumed.
All fills are at the order's own price, as maker. One trade's size fills own orders once, in price, then time order.
"""

from __future__ import annotations

from typing import Final

from xarb.model.command import SubmitOrder
from xarb.venues.accounts import NOTHING
from xarb.venues.captured import RestingCopy
from xarb.venues.lane import Lane

AGGRESSOR_BUY: Final = 0  # as columns.AGGRESSORS
AGGRESSOR_SELL: Final = 1


class Order:
    """An order that has arrived. Prices and quantities are ints at the instrument's scales, times ns."""

    __slots__ = (
        "ahead",
        "buy",
        "command",
        "due",
        "fills",
        "held",
        "lane",
        "ordinal",
        "owed",
        "price",
        "rate",
        "reports",
        "response",
        "rest",
    )

    def __init__(self, command: SubmitOrder, lane: Lane, *, ordinal: int, response: int) -> None:
        self.command = command
        self.lane = lane
        self.ordinal = ordinal
        self.response = response
        self.buy = lane.buy
        self.price = command.price_int
        self.rest = command.qty_int
        self.rate = 0  # the fee coin's last known bid, at the scale of the instrument that prices it
        self.due = self.reports = self.fills = 0  # when its last report reaches us; how many there were, and how many of them fills

    def begin_rest(self) -> None:
        """It stands in the book from here on; an order that never does has none of this."""
        self.held = NOTHING  # of the account's money
        self.ahead: int | None = None
        self.owed = 0

    def capture(self) -> RestingCopy:
        """It as plain values; it rests."""
        return RestingCopy(
            *(self.command, self.ordinal, self.response, self.price, self.rest, self.rate, self.due, self.reports, self.fills),
            *(self.held, self.ahead, self.owed),
        )

    def restore(self, copy: RestingCopy) -> None:
        """Take over a copy."""
        self.price, self.rest, self.rate = copy.price, copy.rest, copy.rate
        self.due, self.reports, self.fills = copy.due, copy.reports, copy.fills
        self.held, self.ahead, self.owed = copy.held, copy.ahead, copy.owed

    def see_level(self, shown: int | None) -> None:
        """The order's own level shows a size; None where the book says nothing."""
        if shown is None:
            return
        if self.ahead is None:
            self.ahead = shown
        elif shown < self.ahead:
            self.owed += self.ahead - shown
            self.ahead = shown

    def meet_trade(self, price: int, size: int, aggressor: int) -> int:
        """How much of a public trade's `size` would have filled this order; the queue advances."""
        beyond = price < self.price if self.buy else price > self.price
        if beyond:
            return min(self.rest, size)
        if price != self.price or aggressor != (AGGRESSOR_SELL if self.buy else AGGRESSOR_BUY) or self.ahead is None:
            return 0
        known = min(self.owed, size)
        self.owed -= known
        passed = min(self.ahead, size - known)
        self.ahead -= passed
        return min(self.rest, size - known - passed)

    def rescale(self, price: int, qty: int) -> None:
        """Finer scales: prices and quantities grow by powers of ten."""
        self.price *= price
        self.rest *= qty
        self.owed *= qty
        if self.ahead is not None:
            self.ahead *= qty


def by_priority(order: Order) -> tuple[int, int]:
    """Sort key of one side's orders: best price first, then arrival."""
    return (-order.price if order.buy else order.price), order.ordinal
