"""How good each feed is while it is recorded: the engine's score of docs/validation.md, from what shows without books and peers.

A fold over the events that become rows, with the engine's arithmetic and its default limits. What an engine alone finds is not in it: books that cross
or hold bad levels, sides of a book kept from deltas that are empty, rows that repeat or go back, quotes that are frozen or
outlying, and silence. So it is the engine's score where nothing of that kind happens, and seldom below it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from xarb.wires.events import APPLY, BookEvent, DepthEvent, LinkEvent, QuoteEvent, RejectEvent, WireEvent
from xarb.wires.rows import Link

FULL: Final = 1000
_UNIT: Final = 256  # fixed point of the running means
_SHARE: Final = 8  # a new interval counts one eighth
_LONGEST_SPELL: Final = 64  # intervals without a row that still count one by one
_SOURCES: Final[tuple[tuple[str, type], ...]] = (("deltas", DepthEvent), ("books", BookEvent), ("quotes", QuoteEvent))
_ENDS: Final = frozenset({"gap", "lost", "closed"})

_Means = tuple[int, int, int, int, int]  # latency, depth, uptime, rejects, gaps
Market = QuoteEvent | DepthEvent | BookEvent
Key = tuple[str, str]  # venue and symbol


class Limits(NamedTuple):
    """Receive time minus venue time above which a row is late, how far it may be negative, and the interval of the score; all ns."""

    late_ns: int
    future_ns: int
    interval_ns: int


class Score:
    """The score of one instrument.

    Args:
        limits: of lateness, and the interval.
        source: the kind of event that moves it; None where none does, and every event shows that it lives.
    """

    __slots__ = (
        "_bad",
        "_down_ns",
        "_down_since",
        "_from",
        "_gaps",
        "_late",
        "_limits",
        "_means",
        "_next",
        "_rows",
        "_thin",
        "conn",
        "source",
    )

    def __init__(self, limits: Limits, source: type | None) -> None:
        self._limits, self.source = limits, source
        self.conn = -1  # number of the connection that it last came on
        self._means: _Means = (FULL * _UNIT,) * 5
        self._rows = self._late = self._thin = self._bad = self._gaps = 0
        self._from: int | None = None  # begin of the interval, None before the first row
        self._next = self._down_ns = 0
        self._down_since: int | None = 0  # None while live

    def take(self, ts: int, count: int, ts_event: int | None) -> None:
        """`count` rows were received at `ts` ns, of the venue's time `ts_event`."""
        if ts >= self._next:
            self._close(ts)
        self._rows += count
        if ts_event is not None and not -self._limits.future_ns <= ts - ts_event <= self._limits.late_ns:
            self._late += count

    def moved(self, ts: int, verdict: str) -> None:
        """What a row of the source says: `good`, `thin` (good, with a side or size unknown), `bad` (it cannot be) or `crossed`."""
        if verdict in {"bad", "crossed"}:
            self._bad += 1
        if verdict == "crossed":
            self._down(ts)
        elif verdict != "bad":
            self._thin += verdict == "thin"
            if self._down_since is not None:
                self._down_ns += ts - self._down_since
                self._down_since = None

    def rejected(self) -> None:
        """A message of it was rejected."""
        self._bad += 1

    def ended(self, ts: int, event: str) -> None:
        """A `gap`, or the end of its connection."""
        self._gaps += event == "gap"
        self._down(ts)

    def at(self, now: int) -> int | None:
        """The score as a row received at `now` ns would leave it, None before the first row."""
        if self._from is None:
            return None
        return sum(self._closed(now, self._from) if now >= self._next else self._means) // (5 * _UNIT)

    def _down(self, ts: int) -> None:
        if self._down_since is None:
            self._down_since = ts

    def _close(self, now: int) -> None:
        if self._from is not None:
            self._means = self._closed(now, self._from)
            self._rows = self._late = self._thin = self._bad = self._gaps = 0
        self._from, self._down_ns = now, 0
        self._next = (now // self._limits.interval_ns + 1) * self._limits.interval_ns
        if self._down_since is not None:
            self._down_since = now

    def _closed(self, now: int, began: int) -> _Means:
        """The means once the interval since `began` is closed at `now`."""
        latency, depth, uptime, rejects, gaps = self._means
        down = self._down_ns + (0 if self._down_since is None else now - self._down_since)
        length, rows = max(now - began, 1), max(self._rows, 1)
        up = FULL - min(down, length) * FULL // length
        for _ in range(min(max(length // self._limits.interval_ns, 1), _LONGEST_SPELL)):
            uptime = _mean(uptime, up)
        return (
            _mean(latency, FULL - FULL * self._late // rows),
            _mean(depth, FULL - FULL * self._thin // rows),
            uptime,
            _mean(rejects, FULL - FULL * min(self._bad, rows) // rows),
            _mean(gaps, 0 if self._gaps else FULL),
        )


class Quality:
    """The scores of a recording.

    Args:
        limits: of lateness, and the interval.
        channels: what is subscribed of each instrument.
    """

    def __init__(self, limits: Limits, channels: Mapping[Key, Sequence[str]]) -> None:
        self._scores = {key: Score(limits, _source(names)) for key, names in channels.items()}

    def take(self, ts: int, link: Link, event: WireEvent) -> None:
        """An event that was received at `ts` ns on `link`."""
        if isinstance(event, LinkEvent):
            if event.event in _ENDS:
                self._ended(ts, link, event)
        elif isinstance(event, RejectEvent):
            found = self._scores.get((event.venue or link.venue, event.symbol or ""))
            if found is not None:
                found.rejected()
        elif (score := self._scores.get(event.listing.key)) is not None:
            score.conn = link.conn
            kind = type(event)
            count = (len(event.bids) + len(event.asks) or 1) if kind is DepthEvent else 1  # type: ignore[union-attr]  # a row a level
            score.take(ts, count, event.ts_event)
            if kind is score.source:
                verdict = verdict_of(event)  # type: ignore[arg-type]  # a source
                if verdict:
                    score.moved(ts, verdict)
            elif score.source is None:
                score.moved(ts, "good")

    def _ended(self, ts: int, link: Link, event: LinkEvent) -> None:
        if event.symbol is not None:
            found = self._scores.get((event.venue, event.symbol))
            if found is not None:
                found.ended(ts, event.event)
            return
        for score in self._scores.values():
            if score.conn == link.conn:
                score.ended(ts, event.event)

    def lowest(self, keys: Iterable[Key], now: int) -> int | None:
        """The lowest score of some instruments at `now` ns, None before anything of them came."""
        found = [score for key in keys if (score := self._scores[key].at(now)) is not None]
        return min(found, default=None)


def verdict_of(event: Market) -> str:
    """What an event says that moves its instrument, empty where it moves nothing: see `Score.moved`."""
    if isinstance(event, DepthEvent):
        return "good" if event.verdict == APPLY and event.is_last else ""
    if isinstance(event, BookEvent):
        bid, bid_qty = (event.bids[0], event.bid_qtys[0]) if event.bids else (None, None)
        ask, ask_qty = (event.asks[0], event.ask_qtys[0]) if event.asks else (None, None)
    else:
        bid, bid_qty, ask, ask_qty = event.bid, event.bid_qty, event.ask, event.ask_qty
    if any(price is not None and price <= 0 for price in (bid, ask)) or any(
        qty is not None and qty < 0 for qty in (bid_qty, ask_qty)
    ):
        return "bad"
    is_two_sided = bid is not None and ask is not None and bid_qty != 0 and ask_qty != 0  # a size of zero is an empty side
    if is_two_sided and bid >= ask:  # type: ignore[operator]  # neither is None
        return "crossed"
    return "good" if is_two_sided and bid_qty is not None and ask_qty is not None else "thin"


def _source(channels: Sequence[str]) -> type | None:
    return next((kind for name, kind in _SOURCES if name in channels), None)


def _mean(mean: int, reading: int) -> int:
    return mean + (reading * _UNIT - mean) // _SHARE
