"""What is learnt of each venue from its orders and its feed, all logs together, and the model that this makes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final

import msgspec

from xarb.config import VenueConfig
from xarb.config.latency import LatencyConfig
from xarb.model.units import MONEY_SCALE, NANOS_PER_MS, PPB, PPB_PER_BPS
from xarb.verbs.calibrate.clocks import Clock
from xarb.verbs.calibrate.depth import ARRIVED, DECIDED, Held, Key
from xarb.verbs.calibrate.feeds import Feed
from xarb.verbs.calibrate.fitting import LEAST, Ratio, feed_table, latency_table, share_table
from xarb.verbs.calibrate.orders import Trace

# Refusals that the simulated venue finds itself, by the word that live trading has for them.
SIMULATED: Final = ("insufficient_funds", "rate_limit", "order_immediately_fillable")


class Learnt:
    """What the logs say of one venue. Times are ns, shares parts per billion.

    Attributes:
        rows, timed: of its feed; `feed`: latencies that were kept.
        offsets: readings of its clock; the middle ones of each log in `offset_ns`.
        orders: sent and answered. unanswered, unknown, asked: others, and those whose fate was unknown, or heard of only by asking.
        refused: by reason.
        own, there, back: decision to network, decision to exchange, exchange to us.
        halves: half of the whole way, of orders of which the exchange told no time.
        heard, filled, canceled: decision to first word, to first fill; decision of a cancel to the order's end.
        astray: orders that the exchange seems to have had before they were decided on or after it answered; they count as at that moment.
        decay: of what the book showed for an order at its decision, what it showed as the order came.
        shares: of what the book would have filled of an IOC or FOK order as it came, what it got.
        beyond: such orders that got more than the book showed.
        whole: IOC and FOK orders that were not refused, and of these the ones that were filled whole.
    """

    def __init__(self) -> None:
        self.rows = self.timed = self.offsets = 0
        self.feed: list[int] = []
        self.offset_ns: list[int] = []
        self.orders = self.unanswered = self.unknown = self.asked = self.astray = self.beyond = 0
        self.refused: Counter[str] = Counter()
        self.own: list[int] = []
        self.there: list[int] = []
        self.back: list[int] = []
        self.halves: list[int] = []
        self.heard: list[int] = []
        self.filled: list[int] = []
        self.canceled: list[int] = []
        self.decay: list[int] = []
        self.shares: list[int] = []
        self.whole = Ratio(0, 0)

    def take_feed(self, feed: Feed) -> None:
        """Add the feed of one log."""
        self.rows += feed.rows
        self.timed += feed.timed
        self.feed += feed.latencies.tolist()
        self.offsets += len(feed.clock.times)
        if feed.clock.middle_ns is not None:
            self.offset_ns.append(feed.clock.middle_ns)

    def take_order(self, one: Trace, clock: Clock) -> None:
        """Add what was heard of one order and when; `clock` has the step of the exchange's times in reports."""
        if one.sent is None and one.heard is None:
            return  # it never left
        self.unknown += one.is_unknown
        if one.heard is None:
            self.unanswered += 1
            return
        self.orders += 1
        if one.refused is not None:
            self.refused[one.refused] += 1
        if one.sent is not None:
            self.own.append(one.sent - one.decided)
        if one.canceled is not None:
            self.canceled.append(one.canceled[1] - one.canceled[0])
        if one.is_asked:
            self.asked += 1
            return
        self.heard.append(one.heard - one.decided)
        if one.first_fill is not None:
            self.filled.append(one.first_fill - one.decided)
        if one.told is None:
            self.halves.append((one.heard - one.decided) // 2)
            return
        arrived = one.arrival(clock)
        self.astray += not one.decided <= arrived <= one.heard
        arrived = min(max(arrived, one.decided), one.heard)
        self.there.append(arrived - one.decided)
        self.back.append(one.heard - arrived)

    def take_depth(self, one: Trace, decided: Held, arrived: Held) -> None:
        """Add what the book held for an order as it was decided and as it came."""
        if (left := left_of(decided, arrived)) is not None:
            self.decay.append(left)
        if not one.is_immediate or one.refused is not None:
            return
        qty = one.qty_int * 10 ** (MONEY_SCALE - one.qty_scale)
        self.whole = Ratio(self.whole.hits + (one.filled >= qty), self.whole.total + 1)
        self.beyond += one.filled > arrived.most
        if arrived.most:
            self.shares.append(min(one.filled, arrived.most) * PPB // arrived.most)

    def is_split(self, least: int) -> bool:
        """Whether the ways there and back are taken as halves: fewer orders than `least` have a time of the exchange."""
        return len(self.there) < least <= len(self.halves) + len(self.there)

    def ways(self, least: int) -> tuple[list[int], list[int]]:
        """The ways there and back on which the model rests."""
        if not self.is_split(least):
            return self.there, self.back
        halves = [*self.halves, *((there + back) // 2 for there, back in zip(self.there, self.back, strict=True))]
        return halves, halves

    @property
    def refusals(self) -> dict[str, Ratio]:
        """By reason, the refusals that the simulated venue does not find itself, of the orders that those do not concern."""
        others = self.orders - sum(self.refused[reason] for reason in SIMULATED)
        return {reason: Ratio(count, others) for reason, count in sorted(self.refused.items()) if reason not in SIMULATED}


class Fit:
    """The model of one venue, of no fewer than `least` observations each; empty tables were not fitted.

    Latencies are ns; shares, and refusals by reason, parts per billion.
    """

    def __init__(self, learnt: Learnt, least: int = LEAST) -> None:
        self.least = least
        there, back = learnt.ways(least)
        self.order = latency_table(there, least)
        self.response = latency_table(back, least)
        self.feed = feed_table(learnt.feed, self.response, least)
        self.is_of_refusals = learnt.orders >= least
        ratios = learnt.refusals if self.is_of_refusals else {}
        self.refusals = {reason: ratio.hits * PPB // ratio.total for reason, ratio in ratios.items()}
        self.shares = share_table(learnt.shares, least)
        self.counts = {
            "feed_latency": len(learnt.feed),
            "order_latency": len(there),
            "response_latency": len(back),
            "reject_bps": learnt.orders,
            "fill_share_bps": len(learnt.shares),
        }

    @property
    def keys(self) -> dict[str, object]:
        """The keys of a `[venues.NAME]` section that it states."""
        found: dict[str, object] = {}
        for name, table in (("order_latency", self.order), ("feed_latency", self.feed), ("response_latency", self.response)):
            if table:
                found[name] = LatencyConfig(table_ms=tuple(Decimal(ns) / NANOS_PER_MS for ns in table))
        if self.refusals:
            found["reject_bps"] = {reason: _bps(ppb) for reason, ppb in self.refusals.items()}
        if self.shares:
            found["fill_share_bps"] = tuple(map(_bps, self.shares))
        return found

    def applied(self, config: VenueConfig) -> VenueConfig:
        """A venue's section with the model in it."""
        return msgspec.structs.replace(config, **self.keys)


def left_of(decided: Held, arrived: Held) -> int | None:
    """Of what a book showed for an order at its decision, what it showed as it came, parts per billion; None where it showed nothing."""
    return min(arrived.whole, decided.whole) * PPB // decided.whole if decided.whole else None


def _bps(ppb: int) -> Decimal:
    return Decimal(ppb) / PPB_PER_BPS


def learn_orders(
    learnt: Mapping[str, Learnt], orders: Sequence[Trace], clocks: Mapping[str, Clock], books: Mapping[Key, Held]
) -> None:
    """Add the orders of one start, with the books as of decision and arrival where they are known."""
    for one in orders:
        mine = learnt[one.venue]
        mine.take_order(one, clocks[one.venue])
        at = tuple(books.get((one.order, when)) for when in (DECIDED, ARRIVED))
        if at[0] is not None and at[1] is not None:
            mine.take_depth(one, at[0], at[1])
