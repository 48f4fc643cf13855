"""How the market reaches a recorder: connections that keep their rows in order, and one stream of updates per feed."""

from __future__ import annotations

from typing import Final, NamedTuple

from xarb.catalog import load_instruments
from xarb.model.units import NANOS_PER_MS, NANOS_PER_S, PPB, PPB_PER_BPS, Money
from xarb.synthetic.draws import Draws
from xarb.synthetic.ladder import Ladder
from xarb.synthetic.market import ASSETS, FEEDS, LATE_NS, START_NS, UNIT, VENUES, Feed, Market, Pushes, Venue
from xarb.wires.decimals import Listing
from xarb.wires.events import BUY, SELL, MarkEvent, QuoteEvent, TradeEvent, WireEvent
from xarb.wires.rows import Link

_DOLLAR: Final = next(feed for feed in FEEDS if feed.asset == "USDC")


class Placed(NamedTuple):
    """An event on its way into the log; `event` is None for a health reading, given in `health` as (venue, metric, value)."""

    ts_recv: int
    link: Link
    event: WireEvent | None
    health: tuple[str | None, str, int] = (None, "", 0)


class Line:
    """A connection and what came over it, in order."""

    def __init__(self, link: Link, number: int, draws: Draws) -> None:
        self.link = link
        self.number = number  # among the connections of its venue, from 0
        self.venue: Venue = VENUES[link.venue]
        self.rows: list[Placed] = []
        self.last = 0
        self._draws = draws

    def arrive(self, ts_event: int, extra: int = 0) -> int:
        """Receive time of what the venue sent at `ts_event`; never before what it sent earlier."""
        self.last = max(self.last, ts_event + self.venue.latency + self._draws.wait(self.venue.jitter) + extra)
        return self.last


def open_lines(market: Market) -> dict[tuple[str, int], Line]:
    """The connections of all feeds by venue and number."""
    lines: dict[tuple[str, int], Line] = {}
    for feed in FEEDS:
        if (feed.venue, feed.line) not in lines:
            conn = len(lines)
            link = Link(conn, feed.venue, f"synthetic://{feed.venue}/{feed.line}")
            lines[feed.venue, feed.line] = Line(link, feed.line, Draws(market.seed, f"line {conn}"))
    return lines


class Stream:
    """One feed: makes its updates one by one."""

    def __init__(self, market: Market, feed: Feed, line: Line) -> None:
        self.market, self.feed, self.line = market, feed, line
        self.listing = Listing(load_instruments().require(feed.venue, feed.symbol))
        self.draws = Draws(market.seed, f"feed {feed.venue} {feed.symbol}")
        one = self.listing.instrument
        self.lot = one.lot_int or 1
        self.lots = max(1, feed.size * UNIT * 10**one.qty_scale // (ASSETS[feed.asset].opening * self.lot))
        self.pushes = Pushes(market, feed)
        self.next = self.before = START_NS + 5 * NANOS_PER_MS + self.draws.wait(feed.mean)
        self.counter = 1_000 * (1 + self.draws.below(1_000))
        self.trades = self.draws.below(1_000_000)
        self.ladder = Ladder(self.listing, self.draws, self.lots, self.counter) if feed.form != "quotes" else None
        self.held: tuple[int, int] | None = None
        self.marked = 0

    def step(self) -> None:
        """Make the update that is due and set the time of the next one."""
        market, feed, now = self.market, self.feed, self.next
        self.next += NANOS_PER_MS + self.draws.wait(feed.mean)
        mishap, self.before = market.due(feed, self.before, now), now
        if any(market.inside(what, feed, now) for what in ("silence", "quiet", "lost")):
            if self.ladder is not None and market.inside("lost", feed, now):
                self.ladder.forget()
            return
        extra = LATE_NS if market.inside("late", feed, now) else 0
        if market.inside("frozen", feed, now):
            self.held = self.held or self.best(now)
        else:
            self.held = None
        bid, ask = self.held or self.best(now)
        ts = self.line.arrive(now, extra)
        if self.ladder is None:
            self._quote(ts, now, bid, ask, mishap)
        else:
            self._depth(ts, now, (bid, ask))
        if self.held is None and self.draws.below(100) < 7:
            self._trade(ts, now, bid, ask)
        if feed.symbol.endswith(":USDT") and now - self.marked > NANOS_PER_S:
            self._mark(ts, now, (bid + ask) // 2)

    def best(self, now: int) -> tuple[int, int]:
        """Best bid and ask at the instrument's scale and tick."""
        market, one = self.market, self.listing.instrument
        latent = market.price(self.feed, now)
        if one.quote == "USDC":
            latent = latent * UNIT // market.price(_DOLLAR, now)
        if one.kind != "spot":
            latent += latent * 3 * PPB_PER_BPS // PPB
        mid = latent + latent * (self.pushes.at(now) + self.draws.bell(self.feed.spread_ppb // 3)) // PPB
        half = latent * (self.feed.spread_ppb // 2 + self.draws.wait(self.feed.spread_ppb // 2)) // PPB
        tick = one.tick_int or 1
        unit = tick * 10 ** (8 - one.px_scale)
        bid = (mid - half) // unit
        return bid * tick, max(bid + 1, -(-(mid + half) // unit)) * tick

    def _size(self) -> int:
        """A quantity in units of the lot."""
        return (1 + self.draws.wait(self.lots)) * self.lot

    def _put(self, ts: int, event: WireEvent) -> None:
        self.line.rows.append(Placed(ts, self.line.link, event))

    def _quote(self, ts: int, now: int, bid: int, ask: int, mishap: str) -> None:
        self.counter += 1 + self.draws.below(5)
        bid_qty: int | None = self.lots * self.lot if self.held else self._size()
        ask_qty = self.lots * self.lot if self.held else self._size()
        low: int | None = bid
        if mishap == "outlier":
            low, ask = bid * 736 // 1000, ask * 736 // 1000
        elif mishap == "crossed":
            low, ask = ask, bid
        elif mishap == "locked":
            low = ask
        elif mishap == "one_sided":
            low = bid_qty = None
        self._put(ts, QuoteEvent(self.listing, now, self.counter, low, bid_qty, ask, ask_qty, *self.listing.scales))

    def _depth(self, ts: int, now: int, best: tuple[int, int]) -> None:
        assert self.ladder is not None, "a feed of quotes has no ladder"
        if self.feed.form == "books":
            self._put(ts, self.ladder.book(now, best))
            return
        for event in self.ladder.message(now, best, broken=self.market.inside("gap", self.feed, now)):
            self._put(ts, event)

    def _trade(self, ts: int, now: int, bid: int, ask: int) -> None:
        self.trades += 1
        side = BUY if self.draws.below(2) else SELL
        qty = (1 + self.draws.wait(max(1, self.lots // 8))) * self.lot
        price = ask if side == BUY else bid
        self._put(ts, TradeEvent(self.listing, now, None, str(self.trades), price, qty, side, *self.listing.scales))

    def _mark(self, ts: int, now: int, mid: int) -> None:
        self.marked = now
        rate = 10**14 + self.draws.below(10**5) * 10**9  # 0.01 % and a little, at 18 decimals
        funding = (now // (8 * 3600 * NANOS_PER_S) + 1) * 8 * 3600 * NANOS_PER_S
        index = mid - mid * 3 * PPB_PER_BPS // PPB
        self._put(ts, MarkEvent(self.listing, now, mid, index, Money(rate), funding, *self.listing.scales))
