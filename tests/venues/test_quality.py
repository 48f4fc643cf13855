"""The recorder's score of a feed is the engine's, wherever nothing happens that an engine alone can see."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.engine.market import NO_LIMITS, Market, Row, connection, message, quote
from tests.wires.instruments import listing
from xarb.model.units import NANOS_PER_MS, NANOS_PER_S
from xarb.venues.quality import Limits, Quality, Score, verdict_of
from xarb.wires.events import APPLY, UNSYNCED, BookEvent, DepthEvent, LinkEvent, QuoteEvent, RejectEvent, WireEvent
from xarb.wires.rows import Link

S = NANOS_PER_S
LIMITS = Limits(S // 2, 50 * NANOS_PER_MS, S)
ENGINE_LIMITS = msgspec.structs.replace(NO_LIMITS, max_latency_ns=LIMITS.late_ns, future_ns=LIMITS.future_ns, score_ns=S)
ONE, OTHER = listing("kraken", "A-B"), listing("kraken", "C-D")
LINK = Link(0, "kraken", "here")


def sides(venue_bid: int | None, bid_qty: int | None, ask: int | None, ask_qty: int | None, when: int | None) -> QuoteEvent:
    """A quote."""
    return QuoteEvent(ONE, when, None, venue_bid, bid_qty, ask, ask_qty, 1, 8)


class Both:
    """An engine and the recorder's score, fed with the same."""

    def __init__(self, source: str = "quotes") -> None:
        self.market = Market(sources=source, limits=ENGINE_LIMITS)
        self.quality = Quality(LIMITS, {ONE.key: (source,)})

    def take(self, ts: int, event: WireEvent, rows: Sequence[Row]) -> None:
        """An event and the rows that it becomes; the scores are the same."""
        self.market.feed(rows)
        self.quality.take(ts, LINK, event)
        score: Score = self.quality._scores[ONE.key]
        record = self.market.record()
        assert score._means == tuple(int(record[f"mean_{name}"]) for name in ("latency", "depth", "uptime", "rejects", "gaps"))

    def quote(self, ts: int, values: tuple[int | None, int | None, int | None, int | None], age: int | None) -> None:
        """A quote that is so old."""
        when = None if age is None else ts - age
        self.take(ts, sides(*values, when), [quote(ts, 0, *values, ts_event=when)])

    def link(self, ts: int, event: str, *, whole: bool) -> None:
        """A row of the connection, or of the symbol."""
        found = LinkEvent("kraken", None if whole else "A-B", event)
        self.take(ts, found, [connection(ts, 0, event, self.market.engine.instruments[0], whole=whole)])

    def reject(self, ts: int) -> None:
        """A rejected message."""
        one = self.market.engine.instruments[0]
        self.take(ts, RejectEvent("x", "", None, "kraken", "A-B"), [Row("rejects", ts, {"venue": one.venue, "symbol": one.symbol})])


QUOTES = st.tuples(
    st.sampled_from([100, 101, 102, None, 0, -1]),
    st.sampled_from([1, 2, None, 0, -1]),
    st.sampled_from([101, 102, 103, None, 0]),
    st.sampled_from([1, 2, None, 0, -1]),
)
AGES = st.sampled_from([None, 0, S // 4, S // 2, S // 2 + 1, 3 * S, -(S // 20), -(S // 20) - 1, -S])
HAPPENINGS = st.one_of(
    st.tuples(st.just("quote"), QUOTES, AGES),
    st.tuples(st.just("link"), st.sampled_from(["gap", "lost", "closed", "opened", "subscribed", "heartbeat"]), st.booleans()),
    st.tuples(st.just("reject")),
)


@given(st.lists(st.tuples(st.integers(0, 5 * S // 2), HAPPENINGS), max_size=60))
def test_quotes_score_as_in_the_engine(story: list[tuple[int, tuple[Any, ...]]]) -> None:
    """Late, early, thin, crossed and impossible quotes, rejects, gaps and losses: all five means are equal after each."""
    both, ts = Both(), 7 * S
    for after, (what, *values) in story:
        ts += after
        if what == "quote":
            both.quote(ts, values[0], values[1])
        elif what == "link":
            both.link(ts, values[0], whole=values[1])
        else:
            both.reject(ts)


@given(st.lists(st.tuples(st.integers(0, 5 * S // 2), st.sampled_from(["snap", "delta", "unsynced", "gap"])), max_size=40))
def test_books_score_as_in_the_engine(story: list[tuple[int, str]]) -> None:
    """A message counts a row a level; what is unsynced does not bring a lost book back, a snapshot does."""
    both, ts, is_whole = Both("deltas"), 7 * S, False
    for after, what in story:
        ts += after
        if what == "gap":
            is_whole = False
            both.link(ts, "gap", whole=False)
            continue
        is_whole = is_whole or what == "snap"
        verdict = APPLY if is_whole and what != "unsynced" else UNSYNCED
        levels = [("bid", 100, 5), ("ask", 101, 5), ("ask", 102, 5)]
        event = DepthEvent(ONE, None, None, None, None, what == "snap", verdict, [100], [5], [101, 102], [5, 5], 1, 8)
        both.take(
            ts,
            event,
            message(ts, 0, levels, snapshot=what == "snap", verdict="apply" if verdict == APPLY else "unsynced"),
        )


@pytest.mark.parametrize(
    ("bids", "asks", "expected"),
    [
        ([100], [101], "good"),
        ([100], [], "thin"),
        ([101], [101], "crossed"),
        ([0], [101], "bad"),
    ],
)
def test_whole_books_tell_by_their_best_levels(bids: list[int], asks: list[int], expected: str) -> None:
    """A side that is missing is thin, one that crosses the other or has no positive price cannot be."""
    assert verdict_of(BookEvent(ONE, None, None, bids, [1] * len(bids), asks, [1] * len(asks), 1, 8)) == expected


def test_the_lowest_score_of_a_connection_is_shown_as_it_is_now() -> None:
    """Nothing before the first row; a gap of one symbol lowers that one, a loss all of the connection, the longer the more."""
    quality = Quality(LIMITS, {ONE.key: ("quotes",), OTHER.key: ("quotes", "trades")})
    keys = [ONE.key, OTHER.key]
    assert quality.lowest(keys, 10 * S) is None
    for event in (sides(100, 1, 101, 1, None), msgspec.structs.replace(sides(100, 1, 101, 1, None), listing=OTHER)):
        quality.take(10 * S, LINK, event)
    assert quality.lowest(keys, 10 * S) == 1000
    quality.take(10 * S, LINK, LinkEvent("kraken", "C-D", "gap"))
    assert quality.lowest([ONE.key], 11 * S) == 1000
    assert quality.lowest(keys, 11 * S) == 950  # an eighth less of two in five
    assert quality.lowest(keys, 10 * S) == 1000
    quality.take(11 * S, LINK, LinkEvent("kraken", None, "lost"))
    found = [quality.lowest([ONE.key], second * S) for second in (12, 20, 80, 900)]
    assert found == sorted(found, key=lambda score: -(score or 0))
    assert found[-1] == 800
    quality.take(12 * S, Link(1, "kraken", "there"), LinkEvent("kraken", None, "gap"))  # another connection
    assert quality.lowest([ONE.key], 12 * S) == found[0]


def test_a_feed_without_quotes_and_books_lives_by_its_trades() -> None:
    """Nothing else of it can show that it does; an instrument that is not recorded is left alone."""
    quality = Quality(LIMITS, {ONE.key: ()})
    for second in (10, 20):
        quality.take(second * S, LINK, sides(None, None, None, None, None))
    assert quality.lowest([ONE.key], 30 * S) == 1000
    quality.take(30 * S, LINK, RejectEvent("x", "", None, "kraken", None))
    quality.take(30 * S, LINK, LinkEvent("kraken", "X-Y", "gap"))
    quality.take(30 * S, LINK, msgspec.structs.replace(sides(1, 1, 2, 1, None), listing=OTHER))
    assert quality.lowest([ONE.key], 30 * S) == 1000
