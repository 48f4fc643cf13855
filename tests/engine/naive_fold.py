"""A second, slow and plain model of the fold: validation, feed states, score, episodes, deadlines and timers, with dicts and fractions.

It follows docs/architecture.md and docs/validation.md, and shares no code with the kernel but the table of feed states. It takes the
rows of tests/engine/market.py one at a time and knows one strategy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from math import floor
from typing import Any

import msgspec

from tests.engine.market import Row
from tests.engine.naive_rules import PRESENT, NaiveRules
from xarb.engine.setup import CONVERT_DIGITS
from xarb.engine.strategy import Pair
from xarb.model.columns import DELTA_VERDICTS, SIDES
from xarb.model.instrument import Instrument
from xarb.model.units import PPB

MOST_LEVELS = 5000  # a side, as docs/validation.md has it
_FEED_EVENTS = {"gap": "gap", "lost": "lost", "closed": "lost", "opened": "connected", "subscribed": "connected"}


@dataclass
class Link:
    """One connection."""

    heard: int = 0
    known: bool = False
    silent: bool = False


@dataclass
class Episode:
    """One pair."""

    status: str = "closed"
    since: int = 0
    wake_edge: int = 0


@dataclass
class NaiveFold(NaiveRules):
    """The model of a whole engine."""

    next_timer: int = 0
    quiet: bool = False

    def __post_init__(self) -> None:
        """Nothing heard, all pairs closed."""
        super().__post_init__()
        self.links = [Link() for _ in range(self.connections)]
        self.episodes = [Episode() for _ in self.wants.pairs]

    # --- inputs

    def apply(self, row: Row) -> list[str]:
        """One row, after everything that falls due before it; what it caused."""
        self.rows = []
        self.advance(row.ts)
        self.now, self.quiet = row.ts, False
        values = row.values
        slow: dict[str, Callable[[dict[str, Any]], None]] = {
            "connections": self._connection,
            "instruments": self._instrument,
            "rejects": self._reject,
        }
        if row.kind in slow:
            slow[row.kind](values)
            return self.rows
        number = values["inst"]
        self._arrive(number, values["conn"], values["ts_event"])
        {"quotes": self._quote, "deltas": self._delta, "books": self._book, "trades": self._trade}[row.kind](number, values)
        if number in self.wants.every_event and values.get("is_last", True):
            self.wakes.append(f"{self.now} event {number}")
        return self.rows

    def _arrive(self, number: int, conn: int, ts_event: int | None) -> None:
        me, link = self.feeds[number], self.links[conn]
        link.known, link.silent, link.heard = True, False, self.now
        me.conn = conn
        if self.now >= me.score.due:
            me.score.close(self.now, self.limits.score_ns)
            if me.state == "live":
                self._move(number, "same")
        me.score.rows += 1
        if ts_event is not None:
            latency = self.now - ts_event
            late, early = latency > self.limits.max_latency_ns, latency < -self.limits.future_ns
            me.score.late += late or early
            self._onset(number, "late_event", late)
            self._onset(number, "future_event_time", early)

    def _quote(self, number: int, values: dict[str, Any]) -> None:
        me = self.feeds[number]
        bid, bid_qty, ask, ask_qty = (values[name] for name in ("bid", "bid_qty", "ask", "ask_qty"))
        if any(price is not None and price <= 0 for price in (bid, ask)):
            self._bad(number, "bad_price")
        elif any(size is not None and size < 0 for size in (bid_qty, ask_qty)):
            self._bad(number, "bad_qty")
        elif me.source != "quotes":
            if bid is not None and ask is not None and self._mid(me) and me.state in PRESENT:
                away = abs((bid + ask) // 2 // self._unit(me) - self._mid(me))
                self._onset(number, "off_book", away > self._off_market(me))
        elif self._is_news(number, values["venue_seq"]):
            if bid is None or bid_qty == 0:
                bid = bid_qty = None
            if ask is None or ask_qty == 0:
                ask = ask_qty = None
            if bid is not None and ask is not None and bid >= ask:
                self._cross(number, "locked" if bid == ask else "crossed")
            else:
                self._top(number, bid, bid_qty, ask, ask_qty)

    def _is_news(self, number: int, counter: int | None) -> bool:
        me = self.feeds[number]
        if counter is not None and me.counter is not None and counter < me.counter:
            self._bad(number, "old_update")
            return False
        me.counter = me.counter if counter is None else counter
        return True

    def _delta(self, number: int, values: dict[str, Any]) -> None:
        me = self.feeds[number]
        if me.source != "deltas" or DELTA_VERDICTS[values["verdict"]] != "apply":
            return
        if values["is_snapshot"] and not me.inside_snapshot:
            me.empty()
            me.inside_snapshot = me.synced = True
            me.flags -= {"no_snapshot", "absent_level", "too_many_levels"}
        price, size = values["price"], values["qty"]
        if price is None:
            pass
        elif not me.synced:
            me.score.bad += 1
            self._onset(number, "no_snapshot", holds=True)
        elif price <= 0 or size is None or size < 0:
            self._bad(number, "bad_price" if price <= 0 else "bad_qty")
        else:
            self._level(number, SIDES[values["side"]], price, size)
        if values["is_last"]:
            me.inside_snapshot = False
            if me.synced:
                self._publish(number)

    def _level(self, number: int, side: str, price: int, size: int) -> None:
        """One level is set, or removed with size 0; where there are too many the farthest goes, which may be the new one."""
        book = self.feeds[number].books[side]
        if not size:
            if book.pop(price, None) is None:
                self._onset(number, "absent_level", holds=True)
            return
        book[price] = size
        if len(book) > MOST_LEVELS:
            del book[min(book) if side == "bid" else max(book)]
            self._onset(number, "too_many_levels", holds=True)

    def _book(self, number: int, values: dict[str, Any]) -> None:
        me = self.feeds[number]
        if me.source != "books" or not self._is_news(number, values["venue_seq"]):
            return
        levels = [(px, None if qty < -(2**62) else qty) for px, qty in zip(values["px"], values["qty"], strict=True)]
        sides = (levels[: values["bids"]], levels[values["bids"] :])
        faults = [fault for fault, side in zip(map(_fault, sides, (-1, 1)), sides, strict=True) if fault and side]
        me.empty()
        if faults:
            self._bad(number, min(faults, key=("unsorted_levels", "bad_qty", "bad_price").index))
            self._move(number, "gap")
            return
        for name, side in zip(SIDES, sides, strict=True):
            me.books[name] = dict([(px, qty) for px, qty in side if qty != 0][:MOST_LEVELS])
        self._onset(number, "too_many_levels", max(map(len, sides)) > MOST_LEVELS)
        self._publish(number)

    def _publish(self, number: int) -> None:
        best = self.feeds[number].best()
        if best[0] is not None and best[2] is not None and best[0] >= best[2]:
            self._cross(number, "book_crossed")
        else:
            self._top(number, *best)

    def _trade(self, number: int, values: dict[str, Any]) -> None:
        me = self.feeds[number]
        trade_id, price, size = values["trade_id"], values["price"], values["qty"]
        if price is None or size is None or price <= 0 or size <= 0:
            self._bad(number, "bad_trade")
            return
        if trade_id is not None:
            if me.trades.get(trade_id % 64) == trade_id:
                self._bad(number, "duplicate_trade")
            else:
                if me.trade_id is not None and trade_id < me.trade_id:
                    self._flag(number, "trade_disorder")
                elif me.trade_id is not None and trade_id > me.trade_id + 1 and self.limits.dense_trade_ids:
                    self._flag(number, "trade_gap")
                me.trades[trade_id % 64] = max(trade_id, me.trades.get(trade_id % 64, trade_id))
                me.trade_id = trade_id if me.trade_id is None else max(trade_id, me.trade_id)
        if self._mid(me) and me.state in PRESENT and abs(price // self._unit(me) - self._mid(me)) > self._off_market(me):
            self._flag(number, "trade_off_market")

    def _connection(self, values: dict[str, Any]) -> None:
        link, event = self.links[values["conn"]], values["event"]
        names = [(one.venue, one.symbol) for one in self.instruments]
        whole = values["symbol"] is None
        if event == "heartbeat":
            link.heard, link.silent = self.now, False
        feed_event = _FEED_EVENTS.get(event)
        if feed_event is None:
            return
        if feed_event == "connected":
            link.heard = self.now
        if feed_event == "lost" and whole:
            link.known = False
        for number, me in enumerate(self.feeds):
            if (me.conn == values["conn"]) if whole else (names[number] == (values["venue"], values["symbol"])):
                if feed_event == "gap":
                    me.score.gaps += 1
                else:
                    me.counter = None
                if feed_event != "connected":
                    me.synced = me.inside_snapshot = False
                    me.empty()
                self._move(number, feed_event)

    def _instrument(self, values: dict[str, Any]) -> None:
        number = [(one.venue, one.symbol) for one in self.instruments].index((values["venue"], values["symbol"]))
        before = min(feed.instrument.px_scale for feed in self.feeds)
        self.feeds[number].rescale(msgspec.convert(values, Instrument))
        growth = 10 ** (min(feed.instrument.px_scale for feed in self.feeds) - before)
        for feed in self.feeds:
            if feed.jump.around is not None:
                feed.jump.around = (feed.jump.around[0] * growth, feed.jump.around[1] * growth)

    def _reject(self, values: dict[str, Any]) -> None:
        number = [(one.venue, one.symbol) for one in self.instruments].index((values["venue"], values["symbol"]))
        self.feeds[number].score.bad += 1

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
        found = [
            (link.heard + self.limits.liveness_ns, 0, c) for c, link in enumerate(self.links) if link.known and not link.silent
        ]
        for number, me in enumerate(self.feeds):
            if me.last is not None and me.state in PRESENT:
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
            self.links[number].silent = True
            for at, me in enumerate(self.feeds):
                if me.conn == number:
                    self._move(at, "silent")
        elif kind == 1:
            self._move(number, "silent")
        elif kind == 3:
            self._open(number)
        elif self._is_frozen(self.feeds[number]):
            self._flag(number, "frozen")
            self._move(number, "frozen")
        else:
            self.feeds[number].check = when + self.limits.freeze_ns

    # --- episodes

    def _scan(self, number: int) -> None:
        order = sorted(range(len(self.wants.pairs)), key=lambda at: self.wants.pairs[at].sell)
        for side in ("sell", "buy", "convert"):
            for at in order:
                if getattr(self.wants.pairs[at], side) == number:
                    self._check(at)

    def _price(self, number: int, side: str) -> Fraction | None:
        me = self.feeds[number]
        value: int | None = getattr(me, side)
        return None if value is None else Fraction(value, 10**me.instrument.px_scale)

    def _prices(self, pair: Pair) -> tuple[Fraction, Fraction] | None:
        """The bid in the buy leg's currency and the ask, while all feeds are tradable."""
        legs = [pair.sell, pair.buy, *([pair.convert] if pair.convert >= 0 else [])]
        bid, ask = self._price(pair.sell, "bid"), self._price(pair.buy, "ask")
        if bid is None or ask is None or not all(self.feeds[leg].tradable for leg in legs):
            return None
        if pair.convert >= 0:
            rate = self._price(pair.convert, pair.convert_side)
            if rate is None:
                return None
            digits = 10 ** (self.feeds[pair.buy].instrument.px_scale + CONVERT_DIGITS)
            bid = Fraction(floor((bid * rate if pair.convert_side == "bid" else bid / rate) * digits), digits)
        return bid, ask

    def _stands(self, pair: Pair, prices: tuple[Fraction, Fraction] | None, threshold_ppb: int) -> bool:
        if prices is None:
            return False
        net = prices[0] * Fraction(PPB - pair.sell_fee_ppb, PPB)
        cost = prices[1] * Fraction(PPB + pair.buy_fee_ppb, PPB) * Fraction(PPB + threshold_ppb, PPB)
        if pair.convert >= 0 and pair.convert_side == "bid":
            net *= Fraction(PPB - pair.convert_fee_ppb, PPB)
        elif pair.convert >= 0:
            cost *= Fraction(PPB + pair.convert_fee_ppb, PPB)
        return net >= cost

    def _check(self, at: int) -> None:
        pair, episode = self.wants.pairs[at], self.episodes[at]
        prices = self._prices(pair)
        if episode.status == "open":
            if not self._stands(pair, prices, pair.close_ppb):
                episode.status = "closed"
                self._write(f"closed {self._name(pair)}")
                self.wakes.append(f"{self.now} close {at}")
            elif self.wants.improve_ppb and prices is not None and _edge(prices) >= episode.wake_edge + self.wants.improve_ppb:
                episode.wake_edge = _edge(prices)
                self.wakes.append(f"{self.now} improvement {at}")
            return
        above = self._stands(pair, prices, pair.open_ppb)
        if episode.status == "pending" and not above:
            episode.status = "closed"
        elif episode.status == "closed" and above:
            if self.wants.min_life_ns:
                episode.status, episode.since = "pending", self.now
            else:
                self._open(at)

    def _open(self, at: int) -> None:
        pair, episode = self.wants.pairs[at], self.episodes[at]
        prices = self._prices(pair)
        assert prices is not None
        if self.wants.timer_ns and not any(other.status == "open" for other in self.episodes):
            self.next_timer = max(self.next_timer, self._grid(self.now))
        episode.status, episode.since, episode.wake_edge = "open", self.now, _edge(prices)
        self._write(f"opened {self._name(pair)}")
        if 0 < self.wants.max_edge_ppb < episode.wake_edge:
            self._flag(pair.sell, "abnormal_edge")
        self.wakes.append(f"{self.now} open {at}")

    def _name(self, pair: Pair) -> str:
        return f"{self.instruments[pair.sell].venue}>{self.instruments[pair.buy].venue}"


def _edge(prices: tuple[Fraction, Fraction]) -> int:
    return floor(prices[0] / prices[1] * PPB) - PPB


def _fault(side: Sequence[tuple[int, int | None]], way: int) -> str | None:
    """The rule that a side of a whole book breaks; `way` is -1 where prices must fall from the best on, 1 where they must rise."""
    for px, qty in side:
        if px <= 0:
            return "bad_price"
        if qty is not None and qty < 0:
            return "bad_qty"
    steps = [(after[0] - before[0]) * way for before, after in pairwise(side)]
    return None if all(step > 0 for step in steps) else "unsorted_levels"
