"""Feeds in plain Python: quotes, quality score, and whether each may be traded.

The states that top-of-book quotes without gaps, losses and crossed rows can reach: down, live, stale, frozen, outlying.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import median_high, median_low

from tests.plain.rows import Coin, Outputs, Quote
from tests.plain.terms import FeedTerms

PPB = 10**9
_SAMPLES = 31


class Feed:
    """One instrument's quote and what is thought of it."""

    def __init__(self, number: int, coin: Coin) -> None:
        self.number, self.coin = number, coin
        self.state, self.tradable = "down", False
        self.quote: Quote | None = None
        self.bid_seq = self.ask_seq = -1
        self.conn = -1
        self.confirmed = self.changed = 0  # times of the last row, and of the last row that changed the quote
        self.freeze_from = 0  # no look at freezing before
        self.peers_moved = 0  # changes of the group since this quote changed
        self.conditions: set[str] = set()  # that are flagged when they begin
        self.usual: tuple[int, int] | None = None  # distance from the median of the peers in ppb, and when it was last confirmed
        self.jumped_at: int | None = None
        self.near: range | None = None  # mids at which only time asks for a look at the distance
        self.next_look = 0
        self.spreads: list[int] = []
        self.next_sample = 0
        self.score = 1000
        self.means = dict.fromkeys(("latency", "depth", "uptime", "rejects", "gaps"), 1000 * 256)
        self.interval_from: int | None = None
        self.interval_ends = 0
        self.interval_rows = self.interval_late = 0
        self.down_since: int | None = None
        self.down_ns = 0

    @property
    def mid(self) -> int:
        """Middle of the quote, rounded down to a price unit."""
        assert self.quote is not None
        return (self.quote.bid + self.quote.ask) // 2


class Feeds:
    """All feeds; `look` is told the instruments whose prices or tradability changed."""

    look: Callable[[int], None]

    def __init__(self, coins: list[Coin], terms: FeedTerms, outputs: Outputs) -> None:
        self.terms, self.outputs = terms, outputs
        self.all = [Feed(number, coin) for number, coin in enumerate(coins)]
        self.heard: dict[int, int] = {}  # connection: last row; a silent one is left out

    # --- rows

    def take(self, row: Quote) -> None:
        """Apply a quote."""
        feed, now, terms = self.all[row.inst], row.ts, self.terms
        self.heard[row.conn] = now
        feed.conn = row.conn
        if now >= feed.interval_ends:
            self._close_interval(feed)
        feed.interval_rows += 1
        latency = now - row.ts_event
        late, early = latency > terms.max_latency_ns, latency < -terms.future_ns
        feed.interval_late += late or early
        self._onset(feed, "late_event", latency, terms.max_latency_ns, holds=late)
        self._onset(feed, "future_event_time", latency, -terms.future_ns, holds=early)
        before, feed.confirmed = feed.quote, now
        if before is None or before[5:] != row[5:]:
            self._store(feed, row)
            event = "live"
        elif self._is_frozen(feed):
            event = "frozen"
            if feed.state != "frozen":
                self._flag(feed, "frozen", now - feed.changed, terms.freeze_ns)
        else:
            event = "live"
        if event != "frozen" and (self._is_outlier(feed) or self._has_jumped(feed)):
            event = "outlying"
        tradability_changed = self._move(feed, event)
        if tradability_changed or before is None or (before.bid, before.ask) != (row.bid, row.ask):
            self.look(feed.number)

    def _store(self, feed: Feed, row: Quote) -> None:
        before, terms = feed.quote, self.terms
        if before is None or (before.bid, before.bid_qty) != (row.bid, row.bid_qty):
            feed.bid_seq = row.seq
        if before is None or (before.ask, before.ask_qty) != (row.ask, row.ask_qty):
            feed.ask_seq = row.seq
        feed.quote, feed.changed = row, row.ts
        for peer in self._group(feed):
            peer.peers_moved += 1
        feed.peers_moved = 0
        spread = row.ask - row.bid
        if len(feed.spreads) >= _SAMPLES // 2:
            bound = median_low(feed.spreads[-_SAMPLES:]) * terms.spread_multiple
            self._onset(feed, "wide_spread", spread, bound, holds=spread > bound)
        if row.ts >= feed.next_sample:
            feed.spreads.append(spread)
            feed.next_sample = row.ts + terms.score_ns

    def _close_interval(self, feed: Feed) -> None:
        """The score is the mean of five running means, each of which moves an eighth of the way to its reading."""
        now, length = self.outputs.now, self.terms.score_ns
        if feed.interval_from is None:
            feed.down_since = now
        else:
            lasted = max(now - feed.interval_from, 1)
            down = feed.down_ns + (0 if feed.down_since is None else now - feed.down_since)
            late = 1000 - 1000 * feed.interval_late // max(feed.interval_rows, 1)
            uptime = 1000 - 1000 * down // lasted
            for _ in range(min(max(lasted // length, 1), 64)):
                _average(feed, "uptime", uptime)
            _average(feed, "latency", late)
            for name in ("depth", "rejects", "gaps"):
                _average(feed, name, 1000)
            feed.score = sum(feed.means.values()) // (5 * 256)
            if feed.down_since is not None:
                feed.down_since = now
        feed.interval_from, feed.down_ns = now, 0
        feed.interval_rows = feed.interval_late = 0
        feed.interval_ends = (now // length + 1) * length
        if feed.state == "live" and self._move(feed, "live"):
            self.look(feed.number)

    # --- deadlines

    def next_deadline(self) -> tuple[int, int, int] | None:
        """The earliest silence (0), expiry (1) or look at freezing (2): (time, kind, connection or instrument)."""
        terms = self.terms
        due = [(last + terms.liveness_ns, 0, conn) for conn, last in self.heard.items()]
        for feed in self.all:
            if feed.state in ("live", "frozen", "outlying"):
                due.append((feed.confirmed + terms.cache_ns, 1, feed.number))
            if feed.state == "live" and terms.freeze_ns > 0:
                due.append((max(feed.changed + terms.freeze_ns, feed.freeze_from), 2, feed.number))
        return min(due, default=None)

    def fire(self, kind: int, number: int) -> None:
        """A deadline, now."""
        now = self.outputs.now
        if kind == 0:
            del self.heard[number]
            for feed in self.all:
                if feed.conn == number and self._move(feed, "stale"):
                    self.look(feed.number)
            return
        feed = self.all[number]
        if kind == 1:
            event = "stale"
        elif self._is_frozen(feed):
            self._flag(feed, "frozen", now - feed.changed, self.terms.freeze_ns)
            event = "frozen"
        else:
            feed.freeze_from = now + self.terms.freeze_ns
            return
        if self._move(feed, event):
            self.look(number)

    # --- judgement

    def _group(self, feed: Feed) -> list[Feed]:
        return [peer for peer in self.all if (peer.coin.base, peer.coin.quote) == (feed.coin.base, feed.coin.quote)]

    def _is_frozen(self, feed: Feed) -> bool:
        terms = self.terms
        stood = self.outputs.now - feed.changed
        return terms.freeze_ns > 0 and stood >= terms.freeze_ns and feed.peers_moved >= terms.freeze_moves

    def _is_outlier(self, feed: Feed) -> bool:
        peers = [peer.mid for peer in self._group(feed) if peer is not feed and peer.state in ("live", "outlying")]
        if len(peers) < 2:
            return False
        middle = min(median_low(peers), median_high(peers), key=lambda one: abs(feed.mid - one))
        deviation = median_low([abs(mid - middle) for mid in peers])
        bound = max(self.terms.outlier_mads * deviation, middle * self.terms.outlier_floor_ppb // PPB)
        distance = abs(feed.mid - middle)
        if distance > bound:
            self._flag(feed, "outlier", distance, bound)
        return distance > bound

    def _has_jumped(self, feed: Feed) -> bool:
        """A look only when the mid has left its surroundings or the fifth interval of the score after it began: each look moves the usual distance."""
        terms, now, mid = self.terms, self.outputs.now, feed.mid
        own_move = feed.jumped_at is not None or feed.near is None or mid not in feed.near
        if terms.jump_ppb == 0 or len(self._group(feed)) < 3 or not (own_move or now >= feed.next_look):
            return False
        reach = mid * (terms.jump_ppb // 4) // PPB
        feed.near, feed.next_look = range(mid - reach, mid + reach + 1), (now // terms.score_ns + 5) * terms.score_ns
        peers = [peer.mid for peer in self._group(feed) if peer is not feed and peer.state in ("live", "outlying")]
        if len(peers) < 2:
            feed.jumped_at = None
            return False
        if feed.usual is not None and now - feed.usual[1] > terms.cache_ns:
            feed.usual = None
        usual = 0 if feed.usual is None else feed.usual[0]
        low, high = (_ppb_above(mid, middle) for middle in (median_low(peers), median_high(peers)))
        distance, middle = (low, median_low(peers)) if abs(low - usual) <= abs(high - usual) else (high, median_high(peers))
        excess, bound = abs(distance - usual), terms.jump_ppb + 2 * PPB // middle
        if feed.usual is not None and own_move and excess > bound:
            if feed.jumped_at is None:
                feed.jumped_at = now
                self._flag(feed, "jump", excess, bound)
            if now - feed.jumped_at < terms.jump_ns:
                return True
            feed.usual = None
        feed.jumped_at = None
        feed.usual = (distance if feed.usual is None else usual + (distance - usual) // 16, now)
        return False

    def _move(self, feed: Feed, event: str) -> bool:
        """Enter the state that a row or deadline asks for; whether tradability changed."""
        state = "down" if event == "stale" and feed.state == "down" else event
        tradable = state == "live" and feed.score >= self.terms.quality_floor
        previous, changed = feed.state, tradable != feed.tradable
        if state != previous or changed:
            now = self.outputs.now
            if previous == "live" != state:
                feed.down_since = now
            elif state == "live" != previous:
                assert feed.down_since is not None
                feed.down_ns, feed.down_since = feed.down_ns + now - feed.down_since, None
            feed.state, feed.tradable = state, tradable
            coin = feed.coin
            self.outputs.emit(
                "feed_states",
                venue=coin.venue,
                symbol=coin.symbol,
                state=state,
                previous=previous,
                score=feed.score,
                tradable=tradable,
            )
        return changed

    def _onset(self, feed: Feed, rule: str, value: int, bound: int, *, holds: bool) -> None:
        if holds and rule not in feed.conditions:
            self._flag(feed, rule, value, bound)
        (feed.conditions.add if holds else feed.conditions.discard)(rule)

    def _flag(self, feed: Feed, rule: str, value: int, bound: int) -> None:
        self.outputs.emit("flags", venue=feed.coin.venue, symbol=feed.coin.symbol, rule=rule, value=value, bound=bound)


def _average(feed: Feed, name: str, reading: int) -> None:
    mean = feed.means[name]
    feed.means[name] = mean + (reading * 256 - mean) // 8


def _ppb_above(mid: int, middle: int) -> int:
    """How far a mid lies above another price, its size rounded down."""
    size = abs(mid - middle) * PPB // middle
    return size if mid >= middle else -size
