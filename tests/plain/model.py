"""A whole backtest in plain Python, slow and meant to be obviously right: a second opinion on the engine, its venues and its strategy.

It shares no code with them. It knows the bench's markets: top-of-book quotes with both sides, tick and lot 1, one account, micro
strategies with simultaneous legs. What it gives are the output rows of a run, all of them, in their order.
"""

from __future__ import annotations

from fractions import Fraction

from tests.plain.bundles import Plan
from tests.plain.desk import SECOND, Desk
from tests.plain.episodes import Episodes, Pair, Wake
from tests.plain.feeds import Feeds
from tests.plain.rows import Log, Outputs, Quote, Row
from tests.plain.rule import Rule
from tests.plain.terms import Terms
from tests.plain.venue import Order, Report, Venue


class Model:
    """One run."""

    def __init__(self, log: Log, terms: Terms) -> None:
        self.log = log
        self.outputs = Outputs()
        venues = {venue.name: venue for venue in terms.venues}
        strategies = sorted(terms.strategies, key=lambda one: one.name)
        self.feeds = Feeds(log.coins, terms.feeds, self.outputs)
        pairs: list[Pair] = []
        for number in range(len(strategies)):
            mine: list[Pair] = []
            for sell in self.feeds.all:
                for buy in self.feeds.all:
                    if sell is not buy and (sell.coin.base, sell.coin.quote) == (buy.coin.base, buy.coin.quote):
                        pair = Pair(number, len(mine), sell, buy)
                        pair.fees = (venues[sell.coin.venue].taker_ppb, venues[buy.coin.venue].taker_ppb)
                        mine.append(pair)
            pairs += mine
        self.episodes = Episodes(pairs, strategies, self.outputs)
        self.feeds.look = self.episodes.look
        opening = dict(terms.opening)
        self.desk = Desk(strategies, venues, opening, self.outputs, self.feeds.all, terms.breakers)
        self.desk.shares = dict(terms.shares)
        self.rules = [Rule(number, self.desk, self.episodes, self.outputs) for number in range(len(strategies))]
        self.venues = {
            name: Venue(one, log.coins, {asset: amount for (venue, asset), amount in opening.items() if venue == name}, terms.seed)
            for name, one in venues.items()
        }
        self.outbox: list[Report] = []
        self.commands = 0
        self.beat: int | None = None  # when losses are looked at next

    def run(self, prefix: str) -> list[tuple[str, Row]]:
        """The output rows as (kind, row); `prefix` begins the client order ids."""
        self.desk.prefix = prefix
        names = sorted(self.venues)
        for seq, ts, quote in self.log.rows:
            while self._fire_next(ts):
                pass
            self.outputs.begin(seq, ts)
            self.episodes.act()
            for name in self._venues_of(seq, quote, names):
                self.venues[name].row(seq, ts, quote)
            if quote is not None:
                self.feeds.take(quote)
            if seq == 0:
                self.desk.open_books()
                self.beat = (ts // SECOND + 1) * SECOND
            self._wake()
        return self.outputs.rows

    def _venues_of(self, seq: int, quote: Quote | None, names: list[str]) -> list[str]:
        """The venue whose row it is. The bench's head rows, connections and instruments, come before anything can be sent."""
        return names if quote is None and seq == 0 else [] if quote is None else [self.log.coins[quote.inst].venue]

    def balances(self) -> dict[tuple[str, str], Fraction]:
        """What the venues hold of account `main` at the end, by (venue, asset)."""
        return {(name, asset): amount for name, venue in self.venues.items() for asset, amount in venue.free.items()}

    # --- between inputs

    def _fire_next(self, before: int) -> bool:
        """Fire the earliest thing due before a time; at equal time reports, feeds and episodes, orders, losses, then timers."""
        due: list[tuple[int, int]] = []
        reports = [report.due for report in self.outbox]
        reports += [when for venue in self.venues.values() if (when := venue.next_due()) is not None]
        if reports:
            due.append((min(reports), 0))
        quiet = min((found for found in (self.feeds.next_deadline(), self.episodes.next_pending()) if found), default=None)
        if quiet is not None:
            due.append((quiet[0], 1))
        order = self.desk.next_deadline()
        if order is not None:
            due.append((order, 2))
        if self.beat is not None:
            due.append((self.beat, 3))
        timers = self.episodes.timers()
        if timers:
            due.append((min(timers)[0], 4))
        when, kind = min(due, default=(before, 0))
        if when >= before:
            return False
        self.outputs.now = when
        if kind == 0:
            self._take_reports(when)
        elif kind == 1 and quiet is not None:
            self.episodes.act()
            if quiet[1] == 3:
                self.episodes.open_now(self.episodes.pairs[quiet[2]])
            else:
                self.feeds.fire(quiet[1], quiet[2])
            self._wake()
        elif kind == 2:
            self.episodes.act()
            self.desk.fire()
            self._carry()
            self._rearm()
        elif kind == 3:
            self.beat = max(when + SECOND, (before - 1) // SECOND * SECOND)  # nothing happens in a gap of the log
            for strategy in range(len(self.desk.strategies)):
                self.desk.weigh(strategy)
        else:
            for _, strategy in sorted(one for one in timers if one[0] == when):
                self.episodes.scan(strategy)
            self._wake()
        return True

    def _take_reports(self, now: int) -> None:
        for venue in self.venues.values():
            self.outbox += venue.settle(now)
        due = sorted(report for report in self.outbox if report.due <= now)
        self.outbox = [report for report in self.outbox if report.due > now]
        if due:
            self.episodes.act()
        for report in due:
            self.desk.report(report)
            self._carry()
        self._rearm()

    def _rearm(self) -> None:
        for closed in self.desk.take_closed():
            if closed.pair.status == "open":
                self._decide(Wake(closed.strategy, "rearm", closed.pair))

    # --- wakes

    def _wake(self) -> None:
        """Wake whom an input, a deadline or the timer concerns, strategies in order."""
        wakes, self.episodes.wakes = self.episodes.wakes, []
        for wake in sorted(wakes, key=lambda one: one.strategy):
            self._decide(wake)

    def _decide(self, wake: Wake) -> None:
        for found in self.rules[wake.strategy].on_wake(wake):
            if isinstance(found, Plan):
                bundle, reason = self.desk.submit(found)
                self._carry()
            else:
                bundle, reason = None, found.reason
                self.outputs.emit(
                    "refusals",
                    account="main",
                    strategy=self.desk.strategies[wake.strategy].name,
                    opportunity=found.pair.opportunity,
                    reason=found.reason,
                    value=found.value,
                    bound=found.bound,
                )
            pair = found.pair
            self.episodes.emit(
                pair,
                phase="decided",
                edge_ppb=pair.edge if pair.status == "open" else None,
                verdict="refused" if bundle is None else "taken",
                reason=reason,
                bundle=bundle,
                life_ns=self.outputs.now - pair.since,
            )

    def _carry(self) -> None:
        """Commands leave for their venues."""
        commands, self.desk.commands = self.desk.commands, []
        for inst, what in commands:
            venue = self.venues[self.log.coins[inst].venue]
            if isinstance(what, Order):
                venue.send(self.outputs.now, self.commands, what)
            else:
                venue.cancel(self.outputs.now, self.commands, what)
            self.commands += 1
