"""A resting book of one synthetic instrument: what its venue sends of it, whole or as changes with continuity."""

from __future__ import annotations

from typing import Final

from xarb.synthetic.draws import Draws
from xarb.wires.decimals import Listing
from xarb.wires.events import APPLY, UNSYNCED, BookEvent, DepthEvent, LinkEvent, WireEvent

DEPTH: Final = 20  # levels on the coarse grid behind the best one
_TOP: Final = 10
Changes = tuple[list[int], list[int]]  # prices and new quantities, 0 removes the level


class Ladder:
    """Bids and asks as price to quantity, at the listing's scales. The best level moves freely, the others stand on a coarse grid.

    Args:
        listing: the instrument; it has a tick and a lot.
        draws: source of quantities.
        size: usual quantity of a level in lots.
        counter: the venue's update counter at the start.
    """

    def __init__(self, listing: Listing, draws: Draws, size: int, counter: int) -> None:
        self.listing = listing
        self.counter = counter
        self._draws = draws
        self._size = size
        self._lot = listing.instrument.lot_int or 1
        self._sides: tuple[dict[int, int], dict[int, int]] = ({}, {})
        self._state = "new"

    def forget(self) -> None:
        """The connection was lost: the next message starts with a snapshot."""
        self._state = "new"

    def book(self, now: int, best: tuple[int, int]) -> BookEvent:
        """The best ten levels once the best prices have become `best`."""
        self._move(0, best[0])
        self._move(1, best[1])
        self.counter += 1
        bids = sorted(self._sides[0], reverse=True)[:_TOP]
        asks = sorted(self._sides[1])[:_TOP]
        qtys = [self._sides[0][price] for price in bids], [self._sides[1][price] for price in asks]
        return BookEvent(self.listing, now, self.counter, bids, qtys[0], asks, qtys[1], *self.listing.scales)

    def message(self, now: int, best: tuple[int, int], *, broken: bool) -> list[WireEvent]:
        """What the connection's session makes of the venue's next message; `broken`: an update before it was lost."""
        instrument = self.listing.instrument
        changes = self._move(0, best[0]), self._move(1, best[1])
        if self._state == "new":
            self._state = "synced"
            return [self._delta(now, changes, UNSYNCED), self._snapshot(now)]
        if not broken and self._state == "broken":
            self._state = "synced"
            resync = LinkEvent(instrument.venue, instrument.symbol, "resync", f"snapshot {self.counter}")
            return [self._delta(now, changes, UNSYNCED), resync, self._snapshot(now)]
        if broken and self._state == "synced":
            self._state = "broken"
            expected = self.counter + 1
            self.counter += 1 + self._draws.below(5)
            event = self._delta(now, changes, UNSYNCED)
            detail = f"expected U = {expected}, got U {event.first_id} u {event.venue_seq}"
            return [LinkEvent(instrument.venue, instrument.symbol, "gap", detail), event]
        return [self._delta(now, changes, UNSYNCED if broken else APPLY)]

    def _delta(self, now: int, changes: tuple[Changes, Changes], verdict: int) -> DepthEvent:
        (bids, bid_qtys), (asks, ask_qtys) = changes
        before = self.counter
        self.counter += max(1, len(bids) + len(asks))
        head = (self.counter, before + 1, before, False)
        return DepthEvent(self.listing, now, *head, verdict, bids, bid_qtys, asks, ask_qtys, *self.listing.scales)

    def _snapshot(self, now: int) -> DepthEvent:
        bids, asks = sorted(self._sides[0], reverse=True), sorted(self._sides[1])
        levels = (bids, [self._sides[0][p] for p in bids], asks, [self._sides[1][p] for p in asks])
        head = (self.counter, None, None, True)
        return DepthEvent(self.listing, now, *head, APPLY, *levels, *self.listing.scales)

    def _move(self, side: int, best: int) -> Changes:
        """Make `best` the best price of a side (0 bids, 1 asks) and keep `DEPTH` levels on the grid behind it."""
        levels, sign = self._sides[side], 1 if side else -1
        tick = self.listing.instrument.tick_int or 1
        grid = tick
        while grid * 10_000 < best:
            grid *= 10
        first = (best // grid + 1) * grid if side else ((best - 1) // grid) * grid
        wanted = [best, *(first + sign * grid * place for place in range(DEPTH))]
        kept = frozenset(wanted)
        changed = {price: 0 for price in levels if price not in kept}
        changed |= {price: self._qty() for price in wanted if price not in levels}
        changed[wanted[self._draws.below(8)]] = self._qty()
        for price, qty in changed.items():
            if qty:
                levels[price] = qty
            else:
                del levels[price]
        prices = sorted(changed, reverse=not side)
        return prices, [changed[price] for price in prices]

    def _qty(self) -> int:
        return (1 + self._draws.wait(self._size)) * self._lot
