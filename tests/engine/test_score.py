"""The quality score, one component a test: readings of an interval, their running means, and the floor."""

from __future__ import annotations

import msgspec
import pytest

from tests.engine.market import NO_LIMITS, Market, Row, quote
from tests.engine.table import pair
from xarb.engine.strategy import Wakes
from xarb.model.units import NANOS_PER_MS, NANOS_PER_S

S = NANOS_PER_S
COMPONENTS = ("latency", "depth", "uptime", "rejects", "gaps")
LIMITS = msgspec.structs.replace(NO_LIMITS, max_latency_ns=S // 2, future_ns=50 * NANOS_PER_MS)


def mean(*readings: int) -> int:
    """The documented running mean: from 1000, one eighth of each new reading, fixed point of 1/256, rounded down."""
    value = 1000 * 256
    for reading in readings:
        value += (reading * 256 - value) // 8
    return value


def means(market: Market, letter: str = "a") -> dict[str, int]:
    """The five means, of those only that are not full."""
    record = market.record(letter)
    return {name: int(record[f"mean_{name}"]) for name in COMPONENTS if int(record[f"mean_{name}"]) != 256_000}


def ten_rows(second: int, odd: int = 0, **changes: object) -> list[Row]:
    """Ten sound quotes within a second, the last `odd` of them with changed values."""
    rows = [quote(second * S + at * S // 10, 0, 100 + at, 5, 102 + at, 5, ts_event=second * S + at * S // 10) for at in range(10)]
    return [row._replace(values=row.values | changes) if at >= 10 - odd else row for at, row in enumerate(rows)]


def test_an_interval_closes_at_the_first_row_of_the_next() -> None:
    """Nothing is read before; the first interval begins with the first row, so that the time before it is no downtime."""
    market = Market(limits=LIMITS)
    market.feed(ten_rows(5, odd=5, ts_event=0))
    assert means(market) == {}
    market.feed(ten_rows(6)[:1])
    assert means(market) == {"latency": mean(500)}


@pytest.mark.parametrize(
    ("component", "changes"),
    [
        ("latency", {"ts_event": 0}),
        ("latency", {"ts_event": 100 * S}),
        ("depth", {"bid_qty": None}),
        ("depth", {"ask": None, "ask_qty": None}),
        ("rejects", {"bid": 0}),
        ("rejects", {"ask_qty": -1}),
    ],
)
def test_a_component_reads_the_share_of_its_rows(component: str, changes: dict[str, int | None]) -> None:
    """Three of ten rows that are late, early, thin or bad read 700, then 1000 again; the score is the fifth of the means' sum."""
    market = Market(limits=LIMITS)
    market.feed([*ten_rows(5, odd=3, **changes), *ten_rows(6)[:1]])
    assert means(market) == {component: mean(700)}
    assert int(market.record()["score"]) == (4 * 256_000 + mean(700)) // (5 * 256)
    market.feed(ten_rows(7)[:1])
    assert means(market) == {component: mean(700, 1000)}


def test_crossed_rows_and_rejected_ones_are_rejects() -> None:
    """A crossed quote and a `rejects` row of the instrument each count once; more rejects than rows read 0, not less."""
    market = Market(limits=LIMITS)
    market.check("5.0 a quote 100 5 102 5 > feed a down live\n5.1 a quote 103 5 102 5 > flag a crossed; feed a live crossed")
    market.check("5.2 a quote 100 5 102 5 > feed a crossed live\n5.3 a reject\n5.4 a quote 100 5 103 5\n6.0 a quote 100 5 102 5")
    assert int(market.record()["mean_rejects"]) == mean(500)
    market.check("6.1 a reject\n6.2 a reject\n6.3 a reject\n7.0 a quote 100 5 103 5")
    assert int(market.record()["mean_rejects"]) == mean(500, 0)


def test_one_gap_or_many_read_the_same() -> None:
    """An interval with a gap reads 0, the next one without 1000; the gapped time counts as not live."""
    market = Market(limits=LIMITS)
    market.check(
        """
        5.0 a quote 100 5 102 5 > feed a down live
        5.2 a gap > feed a live gapped
        5.3 a gap
        5.7 a quote 100 5 102 5 > feed a gapped live
        6.0 a quote 100 5 102 5
        7.0 a quote 100 5 102 5
        """
    )
    assert means(market) == {"gaps": mean(0, 1000), "uptime": mean(500, 1000)}


def test_uptime_is_the_live_share_of_the_interval() -> None:
    """Down from its first row on, live after a quarter; a spell that crosses the interval's end is shared out."""
    market = Market(limits=LIMITS)
    market.check(
        """
        5.0 a quote 103 5 102 5 > flag a crossed; feed a down crossed
        5.25 a quote 100 5 102 5 > feed a crossed live
        5.9 a quote 103 5 102 5 > flag a crossed; feed a live crossed
        6.0 a quote 103 5 102 5 > flag a crossed
        6.3 a quote 100 5 102 5 > feed a crossed live
        7.0 a quote 100 5 103 5
        """
    )
    assert int(market.record()["mean_uptime"]) == mean(650, 700)


@pytest.mark.parametrize(("seconds", "times"), [(1, 1), (2, 2), (9, 9), (64, 64), (65, 64), (10**6, 64)])
def test_a_silent_spell_counts_once_for_each_whole_interval(seconds: int, times: int) -> None:
    """A feed that is gapped for n intervals reads 0 n times, at most 64."""
    market = Market(limits=LIMITS)
    market.check(
        "5.0 a quote 100 5 102 5 > feed a down live\n6.0 a gap > feed a live gapped\n6.0 a quote 101 5 102 5 > feed a gapped live"
    )
    market.check("6.0 a gap > feed a live gapped")
    market.check(f"{6 + seconds} a quote 100 5 102 5 > feed a gapped live")
    assert int(market.record()["mean_uptime"]) == mean(1000, *[0] * times)


def test_the_floor_gates_trading_and_the_row_says_so() -> None:
    """A live feed whose score falls below the floor closes its episodes with the reason `feed`, and opens them again above it."""
    limits = msgspec.structs.replace(LIMITS, quality_floor=976)
    market = Market("ab", limits=limits, wakes=[Wakes(pairs=(pair(0, 1),))])
    market.feed([quote(5 * S, 1, 90, 5, 91, 5)])
    market.feed(ten_rows(5, odd=10, ts_event=0))
    assert market.feed(ten_rows(6)) == ["feed a live live untradable", "closed a>b"]
    assert market.rows[-1]["reason"] == "feed"
    assert int(market.record()["score"]) == 975
    assert market.rows[-2]["score"] == 975
    assert market.feed(ten_rows(7)) == ["feed a live live", "opened a>b"]
    assert market.rows[-2]["score"] == 978


def test_a_score_at_the_floor_trades() -> None:
    """The floor itself is good enough."""
    market = Market(limits=msgspec.structs.replace(LIMITS, quality_floor=975))
    market.feed(ten_rows(5, odd=10, ts_event=0))
    assert market.feed(ten_rows(6)) == []
    assert int(market.record()["tradable"]) == 1


def test_a_feed_that_comes_back_below_the_floor_is_live_and_untradable() -> None:
    """The state says live, the column tradable says no."""
    market = Market(limits=msgspec.structs.replace(LIMITS, quality_floor=1000))
    market.feed([*ten_rows(5, odd=10, ts_event=0), *ten_rows(6)])
    market.check("6.95 a gap > feed a live gapped\n6.96 a quote 100 5 102 5 > feed a gapped live untradable")


def test_trades_and_rows_of_other_sources_count_as_rows() -> None:
    """Each market row of the instrument is one, so that a late trade lowers the latency of its feed."""
    market = Market(limits=LIMITS)
    market.check("5.0 a quote 100 5 102 5 > feed a down live\n5.1 a trade 1 101 5\n5.2 a trade 1 101 5 > flag a duplicate_trade")
    market.check("5.3 a book b1*1 a2*1\n6.0 a quote 100 5 102 5")
    assert means(market) == {"rejects": mean(750)}
