"""The plain model's memory of one feed: its quote, its book as dicts, its spreads and its score, as docs/validation.md has them."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from xarb.engine.setup import FeedLimits
from xarb.model.instrument import Instrument

SAMPLES = 31
READINGS = ("latency", "depth", "uptime", "rejects", "gaps")


@dataclass
class Score:
    """Counts of the running interval, and the means."""

    since: int | None = None
    due: int = 0
    rows: int = 0
    late: int = 0
    thin: int = 0
    bad: int = 0
    gaps: int = 0
    value: int = 1000
    means: dict[str, int] = field(default_factory=lambda: dict.fromkeys(READINGS, 256_000))
    live: list[tuple[int, bool]] = field(default_factory=lambda: [(0, False)])  # (since, live), to add up the time not live

    def close(self, now: int, score_ns: int) -> None:
        """The first row of a new interval: read the last one."""
        if self.since is not None:
            rows, length = max(self.rows, 1), max(now - self.since, 1)
            readings = {
                "latency": 1000 - 1000 * self.late // rows,
                "depth": 1000 - 1000 * self.thin // rows,
                "uptime": 1000 - 1000 * self._down(now) // length,
                "rejects": max(1000 - 1000 * self.bad // rows, 0),
                "gaps": 0 if self.gaps else 1000,
            }
            for name, reading in readings.items():
                for _ in range(min(max(length // score_ns, 1), 64) if name == "uptime" else 1):
                    self.means[name] += (reading * 256 - self.means[name]) // 8
            self.value = sum(self.means.values()) // (5 * 256)
            self.rows = self.late = self.thin = self.bad = self.gaps = 0
        self.since = now
        self.due = (now // score_ns + 1) * score_ns

    def _down(self, now: int) -> int:
        assert self.since is not None
        ends = [since for since, _ in self.live[1:]] + [now]
        return sum(max(end - max(begin, self.since), 0) for (begin, live), end in zip(self.live, ends, strict=True) if not live)


@dataclass
class Jump:
    """The usual distance from the peers, in ppb, and the last look at it."""

    usual: int = 0
    told: int | None = None  # when it was last confirmed
    since: int | None = None  # the mid stands off it since then
    around: tuple[int, int] | None = None  # mids between which nothing but time asks for a look
    look: int = 0


@dataclass
class Feed:
    """One instrument."""

    instrument: Instrument
    source: str
    state: str = "down"
    tradable: bool = False
    conn: int = -1
    bid: int | None = None
    ask: int | None = None
    sizes: tuple[int | None, int | None] = (None, None)
    last: int | None = None  # the row that confirmed the quote last
    changed: int | None = None
    seen: int = 0  # changes of the group at its own last change
    check: int = 0  # freezing is not looked at before
    counter: int | None = None  # the venue's
    flags: set[str] = field(default_factory=set)  # conditions that last
    books: dict[str, dict[int, int | None]] = field(default_factory=lambda: {"bid": {}, "ask": {}})
    synced: bool = False
    inside_snapshot: bool = False
    trade_id: int | None = None
    trades: dict[int, int] = field(default_factory=dict)  # by the low six bits
    spreads: deque[int] = field(default_factory=lambda: deque(maxlen=SAMPLES))
    next_sample: int = 0
    score: Score = field(default_factory=Score)
    jump: Jump = field(default_factory=Jump)

    def empty(self) -> None:
        """No level is left."""
        self.books = {"bid": {}, "ask": {}}

    def best(self) -> tuple[int | None, int | None, int | None, int | None]:
        """Bid, its size, ask, its size of the book."""
        bid, ask = max(self.books["bid"], default=None), min(self.books["ask"], default=None)
        return (
            bid,
            None if bid is None else self.books["bid"][bid],
            ask,
            None if ask is None else self.books["ask"][ask],
        )

    def widest(self, limits: FeedLimits) -> int | None:
        """The spread above which one is flagged, None while unknown."""
        if len(self.spreads) < SAMPLES // 2 or not limits.spread_multiple:
            return None
        median = sorted(self.spreads)[(len(self.spreads) - 1) // 2]
        return median * limits.spread_multiple if median else None

    def rescale(self, after: Instrument) -> None:
        """The same values at finer scales."""
        price = 10 ** (after.px_scale - self.instrument.px_scale)
        quantity = 10 ** (after.qty_scale - self.instrument.qty_scale)

        def finer(value: int | None, factor: int) -> int | None:
            return None if value is None else value * factor

        self.bid, self.ask = finer(self.bid, price), finer(self.ask, price)
        self.sizes = (finer(self.sizes[0], quantity), finer(self.sizes[1], quantity))
        self.spreads = deque((spread * price for spread in self.spreads), maxlen=SAMPLES)
        self.books = {side: {p * price: finer(q, quantity) for p, q in book.items()} for side, book in self.books.items()}
        self.instrument = after
