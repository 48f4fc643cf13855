"""The plain model's rules of validation and feed states, on one row's values; see naive_fold.py for the rows and what they wake."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.engine.naive_feed import Feed
from xarb.engine.kernel.life import FEED_LIFE
from xarb.engine.setup import FeedLimits
from xarb.engine.strategy import Wakes
from xarb.model.instrument import Instrument
from xarb.model.units import PPB

PRESENT = ("live", "frozen", "outlying")  # feeds whose quote counts as the present one


@dataclass
class NaiveRules(ABC):
    """Feeds and what a row makes of them. `rows` and `wakes` grow as the engine's would, as text."""

    instruments: Sequence[Instrument]
    sources: Sequence[str]
    limits: FeedLimits
    wants: Wakes
    connections: int
    now: int = 0
    changes: int = 0
    rows: list[str] = field(default_factory=list)
    times: list[int] = field(default_factory=list)  # of all rows so far
    wakes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """All feeds down."""
        self.feeds = [Feed(one, source) for one, source in zip(self.instruments, self.sources, strict=True)]

    @abstractmethod
    def _scan(self, number: int) -> None:
        """Look at the pairs of an instrument."""

    def _write(self, row: str) -> None:
        self.rows.append(row)
        self.times.append(self.now)

    def _flag(self, number: int, rule: str) -> None:
        self._write(f"flag {self.instruments[number].venue} {rule}")

    def _bad(self, number: int, rule: str) -> None:
        self.feeds[number].score.bad += 1
        self._flag(number, rule)

    def _onset(self, number: int, rule: str, holds: bool) -> None:
        flags = self.feeds[number].flags
        if holds and rule not in flags:
            self._flag(number, rule)
        (flags.add if holds else flags.discard)(rule)

    def _cross(self, number: int, rule: str) -> None:
        self._bad(number, rule)
        self._move(number, "crossed")

    def _top(self, number: int, bid: int | None, bid_qty: int | None, ask: int | None, ask_qty: int | None) -> None:
        me = self.feeds[number]
        before, me.last = (me.bid, me.ask), self.now
        me.score.thin += bid_qty is None or ask_qty is None
        event = "same"
        if (bid, ask, bid_qty, ask_qty) != (me.bid, me.ask, *me.sizes):
            me.bid, me.ask, me.sizes, me.changed = bid, ask, (bid_qty, ask_qty), self.now
            self.changes += 1
            me.seen = self.changes
            event = "good"
            self._check_values(number)
        elif self._is_frozen(me):
            event = "frozen"
            if me.state != "frozen":
                self._flag(number, "frozen")
        if event != "frozen":
            if not self._mid(me):
                event = "outlying" if me.state == "outlying" else event
            elif self._is_outlier(number):
                self._flag(number, "outlier")
                event = "outlying"
            elif self._has_jumped(number):
                event = "outlying"
        moved = self._move(number, event, scan=False)
        if moved or before != (me.bid, me.ask):
            self._scan(number)

    def _check_values(self, number: int) -> None:
        """Spread, tick and lot of a changed quote."""
        me = self.feeds[number]
        if me.bid is not None and me.ask is not None:
            widest = me.widest(self.limits)
            self._onset(number, "wide_spread", widest is not None and me.ask - me.bid > widest)
            if self.now >= me.next_sample:
                me.spreads.append(me.ask - me.bid)
                me.next_sample = self.now + self.limits.score_ns
        tick, lot = me.instrument.tick_int or 1, me.instrument.lot_int or 1
        if tick > 1:
            self._onset(number, "off_tick", any(price is not None and price % tick for price in (me.bid, me.ask)))
        if lot > 1:
            self._onset(number, "off_lot", any(size is not None and size % lot for size in me.sizes))

    def _is_frozen(self, me: Feed) -> bool:
        if not self.limits.freeze_ns or me.changed is None or self.now - me.changed < self.limits.freeze_ns:
            return False
        return self.changes - me.seen >= self.limits.freeze_moves

    def _unit(self, me: Feed) -> int:
        return int(10 ** (me.instrument.px_scale - min(feed.instrument.px_scale for feed in self.feeds)))

    def _mid(self, me: Feed) -> int:
        return 0 if me.bid is None or me.ask is None else (me.bid + me.ask) // 2 // self._unit(me)

    def _off_market(self, me: Feed) -> int:
        """The largest distance from the mid that is no flag: the bound, and one for rounding."""
        return self._mid(me) * self.limits.off_market_ppb // PPB + 1

    def _others(self, number: int) -> list[int]:
        """Mids of the peers that count, in order."""
        peers = [feed for i, feed in enumerate(self.feeds) if i != number and feed.state in ("live", "outlying")]
        return sorted(self._mid(peer) for peer in peers if self._mid(peer))

    def _is_outlier(self, number: int) -> bool:
        mid, others = self._mid(self.feeds[number]), self._others(number)
        if len(others) < 2:
            return False
        lowest = min(mid, *others)
        if max(mid, *others) - lowest <= lowest * self.limits.outlier_floor_ppb // PPB:
            return False
        middles = _middles(others)
        median = min(middles, key=lambda middle: abs(mid - middle))
        deviation = sorted(abs(other - median) for other in others)[(len(others) - 1) // 2]
        floor_ = median * self.limits.outlier_floor_ppb // PPB
        return abs(mid - median) > max(self.limits.outlier_mads * deviation, floor_)

    def _has_jumped(self, number: int) -> bool:
        """Looks only where the rule says so: a distance told more often would make another mean."""
        me, bound = self.feeds[number], self.limits.jump_ppb
        mid, jump = self._mid(me), me.jump
        moved = jump.since is not None or jump.around is None or not jump.around[0] <= mid <= jump.around[1]
        if not bound or len(self.feeds) < 3 or not (moved or self.now >= jump.look):
            return False
        jump.look = (self.now // self.limits.score_ns + 5) * self.limits.score_ns
        jump.around = self._near(mid)
        others = self._others(number)
        if len(others) < 2:
            jump.since = None
            return False
        known = jump.told is not None and self.now - jump.told <= self.limits.cache_ns
        usual = jump.usual if known else 0
        distance, middle = min(((_distance(mid, one), one) for one in _middles(others)), key=lambda pair: abs(pair[0] - usual))
        if known and moved and abs(distance - usual) > bound + 2 * PPB // middle:
            if jump.since is None:
                jump.since = self.now
                self._flag(number, "jump")
            if self.now - jump.since < self.limits.jump_ns:
                return True
            known = False
        jump.since, jump.told = None, self.now
        jump.usual = usual + (distance - usual) // 16 if known else distance
        return False

    def _near(self, mid: int) -> tuple[int, int]:
        reach = mid * (self.limits.jump_ppb // 4) // PPB
        return mid - reach, mid + reach

    def _move(self, number: int, event: str, *, scan: bool = True) -> bool:
        """The state after the event; whether tradability changed."""
        me = self.feeds[number]
        before, me.state = me.state, FEED_LIFE[me.state, event]
        tradable = me.state == "live" and me.score.value >= self.limits.quality_floor
        changed, me.tradable = tradable != me.tradable, tradable
        if before != me.state:
            if (before == "live") != (me.state == "live"):
                me.score.live.append((self.now, me.state == "live"))
            if me.state == "live" and me.changed is not None and max(me.changed + self.limits.freeze_ns, me.check) <= self.now:
                me.check = self.now + self.limits.freeze_ns
        if changed or before != me.state:
            below = " untradable" if me.state == "live" and not tradable else ""
            self._write(f"feed {self.instruments[number].venue} {before} {me.state}{below}")
        if scan and changed:
            self._scan(number)
        return changed


def _middles(values: list[int]) -> list[int]:
    """The middle one of sorted values, or the two."""
    return values[(len(values) - 1) // 2 : len(values) // 2 + 1]


def _distance(mid: int, middle: int) -> int:
    """In ppb, its size rounded down and cut at 10**18."""
    size = min(abs(mid - middle) * PPB // middle, 10**18)
    return size if mid >= middle else -size
