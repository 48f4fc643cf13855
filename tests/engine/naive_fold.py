"""A second, slow and plain model of the fold over quotes: feed states, episodes, deadlines and timers, with dicts and fractions.

It follows docs/architecture.md and docs/validation.md, and shares no code with the kernel but the table of feed states. It knows no
score (its tests switch the floor off), no spreads and no latency.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from math import floor

from xarb.engine.kernel.feed import FEED_LIFE
from xarb.engine.setup import CONVERT_DIGITS, FeedLimits
from xarb.engine.strategy import Pair, Wakes
from xarb.model.units import PPB

_EXPIRING = ("live", "frozen", "outlying")


@dataclass
class Feed:
    """One instrument, on a connection of its own."""

    state: str = "down"
    bid: int | None = None
    ask: int | None = None
    sizes: tuple[int | None, int | None] = (None, None)
    last: int | None = None
    changed: int | None = None
    seen: int = 0  # changes of the group at its own last change
    heard: int | None = None  # last row of the connection, sound or not
    silent: bool = False
    check: int = 0


@dataclass
class Episode:
    """One pair."""

    status: str = "closed"
    since: int = 0
    wake_edge: Fraction = Fraction(0)


@dataclass
class NaiveFold:
    """The model. `rows` and `wakes` grow as the kernel's would, as text."""

    letters: str
    limits: FeedLimits
    wants: Wakes
    scale: int = 0
    now: int = 0
    changes: int = 0
    next_timer: int = 0
    quiet: bool = False
    rows: list[str] = field(default_factory=list)
    wakes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """All feeds down, all pairs closed."""
        self.feeds = [Feed() for _ in self.letters]
        self.episodes = [Episode() for _ in self.wants.pairs]

    # --- inputs

    def quote(self, ts: int, number: int, bid: int | None, bid_qty: int | None, ask: int | None, ask_qty: int | None) -> None:
        """One quote, after everything that falls due before it."""
        self.advance(ts)
        self.now, self.quiet = ts, False
        me = self.feeds[number]
        me.heard, me.silent = ts, False
        if bid is None or bid_qty == 0:
            bid = bid_qty = None
        if ask is None or ask_qty == 0:
            ask = ask_qty = None
        if bid is not None and ask is not None and bid > ask:
            self.rows.append(f"flag {self.letters[number]} crossed")
            self._move(number, "crossed")
            return
        before = (me.bid, me.ask)
        me.last = ts
        event = "same"
        if (bid, ask, bid_qty, ask_qty) != (me.bid, me.ask, *me.sizes):
            me.bid, me.ask, me.sizes, me.changed = bid, ask, (bid_qty, ask_qty), ts
            self.changes += 1
            me.seen = self.changes
            event = "good"
        elif self._is_frozen(me):
            event = "frozen"
            if me.state != "frozen":
                self.rows.append(f"flag {self.letters[number]} frozen")
        if event != "frozen" and self._is_outlier(number):
            self.rows.append(f"flag {self.letters[number]} outlier")
            event = "outlying"
        moved = self._move(number, event, scan=False)
        if moved or before != (me.bid, me.ask):
            self._scan(number)

    def heartbeat(self, ts: int, number: int) -> None:
        """A heartbeat of the instrument's connection."""
        self.advance(ts)
        self.now, self.quiet = ts, False
        if self.feeds[number].heard is not None:
            self.feeds[number].heard, self.feeds[number].silent = ts, False

    def gap(self, ts: int, number: int) -> None:
        """A gap in the instrument's stream."""
        self.advance(ts)
        self.now, self.quiet = ts, False
        self._move(number, "gap")

    # --- what falls due

    def advance(self, ts: int) -> None:
        """Everything due before an input at `ts`: deadlines first at equal time."""
        while True:
            due = min(self._deadlines(), default=None)
            timer = self._timer()
            if due is not None and due[0] < ts and (timer is None or due[0] <= timer):
                self._fire(*due)
            elif timer is not None and timer < ts:
                if self.quiet:
                    self.next_timer = self._grid(ts)
                else:
                    self.now, self.quiet = timer, True
                    self.wakes.append(f"{timer} timer")
                    self.next_timer = timer + self.wants.timer_ns
            else:
                return

    def _grid(self, ts: int) -> int:
        return -(-ts // self.wants.timer_ns) * self.wants.timer_ns

    def _timer(self) -> int | None:
        if self.wants.timer_ns and any(episode.status == "open" for episode in self.episodes):
            return self.next_timer
        return None

    def _deadlines(self) -> list[tuple[int, int, int]]:
        found: list[tuple[int, int, int]] = []
        for number, me in enumerate(self.feeds):
            if me.heard is not None and not me.silent:
                found.append((me.heard + self.limits.liveness_ns, 0, number))
            if me.last is not None and me.state in _EXPIRING:
                found.append((me.last + self.limits.cache_ns, 1, number))
            if self.limits.freeze_ns and me.changed is not None and me.state == "live":
                found.append((max(me.changed + self.limits.freeze_ns, me.check), 2, number))
        for number, episode in enumerate(self.episodes):
            if episode.status == "pending":
                found.append((episode.since + self.wants.min_life_ns, 3, number))
        return found

    def _fire(self, when: int, kind: int, number: int) -> None:
        self.now, self.quiet = when, False
        if kind == 0:
            self.feeds[number].silent = True
            self._move(number, "silent")
        elif kind == 1:
            self._move(number, "silent")
        elif kind == 3:
            self._open(number)
        elif self._is_frozen(self.feeds[number]):
            self.rows.append(f"flag {self.letters[number]} frozen")
            self._move(number, "frozen")
        else:
            self.feeds[number].check = when + self.limits.freeze_ns

    # --- rules

    def _is_frozen(self, me: Feed) -> bool:
        if not self.limits.freeze_ns or me.changed is None or self.now - me.changed < self.limits.freeze_ns:
            return False
        return self.changes - me.seen >= self.limits.freeze_moves

    def _mid(self, me: Feed) -> int:
        return 0 if me.bid is None or me.ask is None else (me.bid + me.ask) // 2

    def _is_outlier(self, number: int) -> bool:
        mid = self._mid(self.feeds[number])
        others = [
            self._mid(f) for i, f in enumerate(self.feeds) if i != number and f.state in ("live", "outlying") and self._mid(f)
        ]
        if mid == 0 or len(others) < 2:
            return False
        lowest = min(mid, *others)
        if max(mid, *others) - lowest <= lowest * self.limits.outlier_floor_ppb // PPB:
            return False
        median = sorted(others)[(len(others) - 1) // 2]
        deviation = sorted(abs(other - median) for other in others)[(len(others) - 1) // 2]
        floor_ = median * self.limits.outlier_floor_ppb // PPB
        return abs(mid - median) > max(self.limits.outlier_mads * deviation, floor_)

    def _move(self, number: int, event: str, *, scan: bool = True) -> bool:
        me = self.feeds[number]
        before, me.state = me.state, FEED_LIFE[me.state, event]
        if before != me.state:
            if me.state == "live" and me.changed is not None and max(me.changed + self.limits.freeze_ns, me.check) <= self.now:
                me.check = self.now + self.limits.freeze_ns
            self.rows.append(f"feed {self.letters[number]} {before} {me.state}")
        changed = (before == "live") != (me.state == "live")
        if scan and changed:
            self._scan(number)
        return changed

    # --- episodes

    def _scan(self, number: int) -> None:
        pairs = list(enumerate(self.wants.pairs))
        order = [at for at, pair in sorted(pairs, key=lambda item: item[1].sell) if pair.sell == number]
        order += [at for at, pair in sorted(pairs, key=lambda item: item[1].sell) if pair.buy == number]
        order += [at for at, pair in sorted(pairs, key=lambda item: item[1].sell) if pair.convert == number]
        for at in order:
            self._check(at)

    def _bid(self, pair: Pair) -> Fraction | None:
        bid = self.feeds[pair.sell].bid
        if bid is None or pair.convert < 0:
            return None if bid is None else Fraction(bid)
        rate = self.feeds[pair.convert].bid if pair.convert_side == "bid" else self.feeds[pair.convert].ask
        if rate is None:
            return None
        real = Fraction(bid * rate) if pair.convert_side == "bid" else Fraction(bid, rate)
        return Fraction(floor(real * 10**CONVERT_DIGITS), 10**CONVERT_DIGITS)

    def _prices(self, pair: Pair) -> tuple[Fraction, int] | None:
        legs = [pair.sell, pair.buy, *([pair.convert] if pair.convert >= 0 else [])]
        bid, ask = self._bid(pair), self.feeds[pair.buy].ask
        if bid is None or ask is None or any(self.feeds[leg].state != "live" for leg in legs):
            return None
        return bid, ask

    def _stands(self, pair: Pair, bid: Fraction, ask: int, threshold_ppb: int) -> bool:
        net = bid * Fraction(PPB - pair.sell_fee_ppb, PPB)
        cost = ask * Fraction(PPB + pair.buy_fee_ppb, PPB) * Fraction(PPB + threshold_ppb, PPB)
        if pair.convert >= 0 and pair.convert_side == "bid":
            net *= Fraction(PPB - pair.convert_fee_ppb, PPB)
        elif pair.convert >= 0:
            cost *= Fraction(PPB + pair.convert_fee_ppb, PPB)
        return net >= cost

    def _check(self, at: int) -> None:
        pair, episode, prices = self.wants.pairs[at], self.episodes[at], self._prices(self.wants.pairs[at])
        name = f"{self.letters[pair.sell]}>{self.letters[pair.buy]}"
        if episode.status == "open":
            if prices is None or not self._stands(pair, *prices, pair.close_ppb):
                episode.status = "closed"
                self.rows.append(f"closed {name}")
                self.wakes.append(f"{self.now} close")
            elif self.wants.improve_ppb:
                edge = Fraction(floor(prices[0] / prices[1] * PPB) - PPB)
                if edge >= episode.wake_edge + self.wants.improve_ppb:
                    episode.wake_edge = edge
                    self.wakes.append(f"{self.now} improvement")
            return
        above = prices is not None and self._stands(pair, *prices, pair.open_ppb)
        if episode.status == "pending" and not above:
            episode.status = "closed"
        elif episode.status == "closed" and above:
            if self.wants.min_life_ns:
                episode.status, episode.since = "pending", self.now
            else:
                self._open(at)

    def _open(self, at: int) -> None:
        pair, episode, prices = self.wants.pairs[at], self.episodes[at], self._prices(self.wants.pairs[at])
        assert prices is not None
        if self.wants.timer_ns and not any(other.status == "open" for other in self.episodes):
            self.next_timer = max(self.next_timer, self._grid(self.now))
        episode.status, episode.since = "open", self.now
        episode.wake_edge = Fraction(floor(prices[0] / prices[1] * PPB) - PPB)
        self.rows.append(f"opened {self.letters[pair.sell]}>{self.letters[pair.buy]}")
        self.wakes.append(f"{self.now} open")
