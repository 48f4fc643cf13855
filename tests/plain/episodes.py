"""Episodes and timers in plain Python: which pairs stand above their threshold, whom that wakes, and when scans are due."""

from __future__ import annotations

from typing import NamedTuple

from tests.plain.feeds import PPB, Feed
from tests.plain.rows import Outputs
from tests.plain.terms import StrategyTerms


class Wake(NamedTuple):
    """`pair` is None for the timer."""

    strategy: int
    kind: str
    pair: Pair | None


class Pair:
    """A directed pair of one strategy, and the episode that stands or stood last."""

    def __init__(self, strategy: int, number: int, sell: Feed, buy: Feed) -> None:
        self.strategy, self.number, self.sell, self.buy = strategy, number, sell, buy
        self.fees = (0, 0)  # of the sell and the buy side, ppb
        self.status = "closed"
        self.since = 0
        self.opportunity = 0
        self.best = self.told = 0  # best edge of the episode; edge at its opening or last improvement wake
        self.abnormal = False

    @property
    def edge(self) -> int:
        """bid / ask - 1, in ppb, rounded down."""
        assert self.sell.quote is not None
        assert self.buy.quote is not None
        return self.sell.quote.bid * self.buy.coin.px * PPB // (self.buy.quote.ask * self.sell.coin.px) - PPB

    def pays(self, threshold_ppb: int) -> bool:
        """bid * (1 - fee) >= ask * (1 + fee) * (1 + threshold)."""
        assert self.sell.quote is not None
        assert self.buy.quote is not None
        income = self.sell.quote.bid * self.buy.coin.px * (PPB - self.fees[0]) * PPB
        return income >= self.buy.quote.ask * self.sell.coin.px * (PPB + self.fees[1]) * (PPB + threshold_ppb)


class Episodes:
    """All pairs of all strategies, in order of (sell, strategy, number)."""

    def __init__(self, pairs: list[Pair], strategies: list[StrategyTerms], outputs: Outputs) -> None:
        self.pairs = sorted(pairs, key=lambda pair: (pair.sell.number, pair.strategy, pair.number))
        self.strategies, self.outputs = strategies, outputs
        self.opened = 0
        self.wakes: list[Wake] = []
        self._sells: dict[int, list[Pair]] = {}
        self._buys: dict[int, list[Pair]] = {}
        for pair in self.pairs:
            self._sells.setdefault(pair.sell.number, []).append(pair)
            self._buys.setdefault(pair.buy.number, []).append(pair)
        self._standing = dict.fromkeys(range(len(strategies)), 0)  # open episodes by strategy
        self._not_before = dict.fromkeys(range(len(strategies)), 0)  # one period after its last scan, by strategy
        self._activity = self._active = 0  # number and time of the last input, report or deadline
        self._scanned = dict.fromkeys(range(len(strategies)), -1)  # number of the activity that its last scan followed

    def look(self, number: int) -> None:
        """An instrument's prices or tradability changed: its pairs as sell side, then as buy side."""
        for pair in self._sells.get(number, []):
            self._check(pair)
        for pair in self._buys.get(number, []):
            self._check(pair)

    def open(self, strategy: int) -> list[Pair]:
        """Pairs with an open episode, in the order of the strategy's list."""
        found = [pair for pair in self.pairs if pair.strategy == strategy and pair.status == "open"]
        return sorted(found, key=lambda pair: pair.number)

    def _check(self, pair: Pair) -> None:
        terms = self.strategies[pair.strategy]
        usable = pair.sell.tradable and pair.buy.tradable
        if pair.status == "open":
            if not usable:
                self._close(pair, "feed")
            elif not pair.pays(terms.close_ppb):
                self._close(pair, "edge_gone")
            else:
                self._follow(pair)
        elif not (usable and pair.pays(terms.open_ppb)):
            pair.status = "closed"
        elif terms.min_life_ns == 0:
            self.open_now(pair)
        elif pair.status == "closed":
            pair.status, pair.since = "pending", self.outputs.now

    def open_now(self, pair: Pair) -> None:
        """The episode opens."""
        limit = self.strategies[pair.strategy].max_edge_ppb
        self.opened += 1
        self._standing[pair.strategy] += 1
        pair.status, pair.since, pair.opportunity = "open", self.outputs.now, self.opened
        pair.best = pair.told = pair.edge
        self.emit(pair, phase="opened", edge_ppb=pair.edge)
        pair.abnormal = 0 < limit < pair.edge
        if pair.abnormal:
            coin = pair.sell.coin
            self.outputs.emit("flags", venue=coin.venue, symbol=coin.symbol, rule="abnormal_edge", value=pair.edge, bound=limit)
        self.wakes.append(Wake(pair.strategy, "open", pair))

    def _close(self, pair: Pair, reason: str) -> None:
        pair.status = "closed"
        self._standing[pair.strategy] -= 1
        self.emit(
            pair,
            phase="closed",
            edge_ppb=pair.edge if reason == "edge_gone" else None,
            reason=reason,
            life_ns=self.outputs.now - pair.since,
        )
        self.wakes.append(Wake(pair.strategy, "close", pair))

    def _follow(self, pair: Pair) -> None:
        terms, edge = self.strategies[pair.strategy], pair.edge
        pair.best = max(pair.best, edge)
        pair.abnormal = 0 < terms.max_edge_ppb < edge
        if 0 < terms.improve_ppb <= edge - pair.told:
            pair.told = edge
            self.wakes.append(Wake(pair.strategy, "improvement", pair))

    def emit(self, pair: Pair, **values: object) -> None:
        """An `opportunities` row."""
        assert pair.sell.quote is not None
        assert pair.buy.quote is not None
        self.outputs.emit(
            "opportunities",
            opportunity=pair.opportunity,
            strategy=self.strategies[pair.strategy].name,
            sell_venue=pair.sell.coin.venue,
            sell_symbol=pair.sell.coin.symbol,
            buy_venue=pair.buy.coin.venue,
            buy_symbol=pair.buy.coin.symbol,
            best_edge_ppb=pair.best,
            bid_int=pair.sell.quote.bid,
            ask_int=pair.buy.quote.ask,
            sell_seq=pair.sell.bid_seq,
            buy_seq=pair.buy.ask_seq,
            **values,
        )

    # --- pending episodes and timers

    def next_pending(self) -> tuple[int, int, int] | None:
        """The earliest pending episode: (time, 3, place among the pairs)."""
        lives = [terms.min_life_ns for terms in self.strategies]
        if not any(lives):
            return None
        pending = [(pair.since + lives[pair.strategy], 3, at) for at, pair in enumerate(self.pairs) if pair.status == "pending"]
        return min(pending, default=None)

    def act(self) -> None:
        """An input, a report or a deadline happens now."""
        self._activity += 1
        self._active = self.outputs.now

    def timers(self) -> list[tuple[int, int]]:
        """(time, strategy) of the scans to come if nothing happens before: one each, at its first grid time since the last activity."""
        due = []
        for number, terms in enumerate(self.strategies):
            if terms.scan_ns > 0 and self._standing[number] > 0 and self._scanned[number] != self._activity:
                grid = -(-self._active // terms.scan_ns) * terms.scan_ns
                due.append((max(grid, self._not_before[number]), number))
        return due

    def scan(self, strategy: int) -> None:
        """The strategy's timer, now."""
        self._scanned[strategy] = self._activity
        self._not_before[strategy] = self.outputs.now + self.strategies[strategy].scan_ns
        self.wakes.append(Wake(strategy, "timer", None))
