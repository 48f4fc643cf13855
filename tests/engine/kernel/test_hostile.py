"""The kernel under extreme and hostile input: nothing overflows, no buffer is too small, and nothing is read beyond a table."""

from __future__ import annotations

import os

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import astuple

from tests.engine.market import NO_LIMITS, Market, Row, quote
from tests.engine.naive_fold import NaiveFold
from tests.engine.table import instrument, pair
from xarb.engine.kernel.state import OUT_ROWS, OUT_SLACK, WAKE_ROWS
from xarb.engine.strategy import Wakes
from xarb.errors import ConfigError, LogError
from xarb.model.units import INT64_MAX, NANOS_PER_S

FLAGS = 20_000 if os.environ.get("NUMBA_DISABLE_JIT") == "1" else 100_000  # several times the buffer
EXTREMES = (1, 2, 3, 10**9, 2**62, INT64_MAX - 1, INT64_MAX)
extreme = st.none() | st.sampled_from(EXTREMES) | st.integers(1, INT64_MAX)
quotes = st.lists(st.tuples(st.integers(0, 2), extreme, extreme, extreme, extreme), max_size=12)


@settings(deadline=None, max_examples=150)
@given(st.tuples(*[st.integers(0, 9)] * 3), quotes, *[st.sampled_from([0, 20_000_000, 9 * 10**9])] * 2, st.integers(0, 20))
def test_prices_of_any_size_at_any_scale_are_judged_as_the_plain_model_does(
    scales: tuple[int, ...], given_quotes: list[tuple[int, ...]], floor_ppb: int, jump_ppb: int, mads: int
) -> None:
    """Mids, spreads, outliers, jumps and edges of prices from 1 to INT64_MAX equal those of unbounded integers."""
    limits = msgspec.structs.replace(
        NO_LIMITS,
        outlier_floor_ppb=floor_ppb,
        outlier_mads=mads,
        jump_ppb=jump_ppb,
        max_latency_ns=INT64_MAX // 2,
        score_ns=NANOS_PER_S,
    )
    wakes = Wakes(pairs=tuple(pair(a, b, fee_ppb=1_000_000) for a in range(3) for b in range(3) if a != b), max_edge_ppb=10**8)
    three = tuple(instrument(letter, px_scale=scale) for letter, scale in zip("abc", scales, strict=True))
    real = Market("abc", instruments=three, limits=limits, wakes=[wakes])
    plain = NaiveFold(three, ["quotes"] * 3, limits, wakes, 3)
    for step, (number, *sides) in enumerate(given_quotes):
        row = quote((step + 1) * NANOS_PER_S, number, *sides)
        assert real.feed([row]) == plain.apply(row)


def test_a_row_without_any_value_is_a_quote_without_sides() -> None:
    """Null prices and sizes, and sizes of zero, empty both sides; the feed is live and no pair opens."""
    market = Market("ab", wakes=[Wakes(pairs=(pair(0, 1),))])
    market.check(
        """
        0.0 a quote - - - - > feed a down live
        0.1 b quote 100 0 101 0 > feed b down live
        0.2 a quote 0 - - - > flag a bad_price
        0.3 a quote - -5 - - > flag a bad_qty
        """
    )
    assert astuple(market.engine.market.best(1))[:4] == (None, None, None, None)


def test_flags_beyond_the_output_buffer_all_arrive() -> None:
    """Many times as many flags as the buffer holds, in one batch: each is a row, in order, with a place of its own."""
    market = Market()
    rows = [quote(0, 0, -at - 1, 1, 5, 1) for at in range(FLAGS)]
    caused = market.feed(rows)
    assert len(caused) == FLAGS > OUT_ROWS
    assert [row["value"] for row in market.rows] == [-at - 1 for at in range(FLAGS)]
    assert [(row["after_seq"], row["n"]) for row in market.rows] == [(seq, 0) for seq in range(FLAGS)]


def crowd(count: int, **limits: int) -> tuple[Market, list[Row]]:
    """A market of instruments that share one connection, and rows that bring all up at 0 and fill the output buffer as far as inputs can.

    The kernel hands over when more than OUT_ROWS - OUT_SLACK rows wait; here exactly so many do, so that what follows in the same batch
    meets the buffer as full as it ever is.
    """
    names = [instrument("v", symbol=f"A{number}/USD") for number in range(count)]
    groups = [[number] for number in range(count)]
    tight = msgspec.structs.replace(NO_LIMITS, **limits)
    market = Market("a", instruments=names, limits=tight, sources=["quotes"] * count, groups=groups, connections=1)
    rows = [_over_one(quote(0, number, 1, 1, 2, 1)) for number in range(count)]
    return market, rows + [_over_one(quote(0, 0, -1, 1, 2, 1))] * (OUT_ROWS - OUT_SLACK - count)


def test_one_connection_of_thousands_of_instruments_falls_silent_at_once() -> None:
    """One deadline may cause more rows than a buffer's slack: each feed gets its row at the exact time."""
    count = 3 * OUT_SLACK
    market, rows = crowd(count, liveness_ns=NANOS_PER_S)
    caused = market.feed([*rows, _over_one(quote(3 * NANOS_PER_S, 0, 1, 1, 2, 1))])
    assert caused[OUT_ROWS - OUT_SLACK :] == [*["feed v live stale"] * count, "feed v stale live"]
    assert {row["ts"] for row in market.rows if row.get("state") == "stale"} == {NANOS_PER_S}


def test_deadlines_between_two_inputs_cause_more_rows_than_the_buffer_holds() -> None:
    """Every quote freezes, then the connection falls silent, all before the next input: the kernel hands over between deadlines."""
    count = OUT_SLACK // 2 + 16
    market, rows = crowd(count, liveness_ns=NANOS_PER_S, freeze_ns=NANOS_PER_S // 2, freeze_moves=0)
    caused = market.feed([*rows, _over_one(quote(3 * NANOS_PER_S, 0, 2, 1, 3, 1))])
    after = [*["flag v frozen", "feed v live frozen"] * count, *["feed v frozen stale"] * count, "feed v stale live"]
    assert caused[OUT_ROWS - OUT_SLACK :] == after
    places = [(row["after_seq"], row["n"]) for row in market.rows[OUT_ROWS - OUT_SLACK : -1]]
    assert places == [(len(rows) - 1, n) for n in range(1, 3 * count + 1)]


def test_one_quote_closes_more_episodes_than_the_slack_of_a_full_buffer() -> None:
    """62 strategies with 20 episodes each on one pair: a quote that closes all of them meets a buffer as full as inputs make it."""
    market = Market("ab", wakes=[Wakes(pairs=(pair(0, 1),) * 20)] * 62)
    market.check("0.0 b quote 90 1 91 1 > feed b down live")
    market.feed([quote(0, 0, 100, 1, 101, 1)])
    flags = [quote(0, 0, -1, 1, 101, 1)] * (OUT_ROWS - OUT_SLACK)
    caused = market.feed([*flags, quote(0, 0, 80, 1, 81, 1)])
    assert caused == [*["flag a bad_price"] * len(flags), *["closed a>b"] * (62 * 20)]


def _over_one(row: Row) -> Row:
    return row._replace(values=row.values | {"conn": 0})


def test_a_deadline_that_closes_more_episodes_than_the_wake_buffer_holds() -> None:
    """62 strategies with 20 episodes each on one pair: all close and all are woken, in id order."""
    many = Wakes(pairs=(pair(0, 1),) * 20)
    market = Market("ab", wakes=[many] * 62)
    assert WAKE_ROWS < 62 * 20
    market.check("0.0 b quote 90 1 91 1 > feed b down live")
    opened = market.feed([quote(NANOS_PER_S, 0, 100, 1, 101, 1)])
    assert opened == ["feed a down live", *["opened a>b"] * (62 * 20)]
    assert market.feed(market.parse(["2.0", "a", "gap"])) == ["feed a live gapped", *["closed a>b"] * (62 * 20)]
    assert {len(listener.heard) for listener in market.listeners} == {40}


def test_one_asker_hears_every_input_in_whatever_company() -> None:
    """Alone, with an output row, with a second asker, beside an edge that opens, and as the log's very first input."""
    asker, other = Wakes(every_event=(0, 1)), Wakes(every_event=(1,), pairs=(pair(0, 1),))
    market = Market("ab", wakes=[asker, other])
    market.check("""
        0.0 a trade 1 1 1
        0.1 a quote 100 1 101 1 > feed a down live
        0.2 b quote 98 1 99 1   > feed b down live; opened a>b
        0.3 a quote 100 2 101 1
        0.4 b quote 98 2 99 1
    """)
    seconds = NANOS_PER_S // 10
    assert market.listeners[0].heard == [f"{at * seconds} event {number}" for at, number in enumerate((0, 0, 1, 0, 1))]
    assert market.listeners[1].heard == [f"{2 * seconds} open 0", f"{2 * seconds} event 1", f"{4 * seconds} event 1"]


def test_62_strategies_each_have_their_own_events() -> None:
    """The last event bit is as good as the first: each strategy is woken by its instrument alone; a 63rd is refused by name."""
    market = Market("ab", wakes=[Wakes(every_event=(number % 2,)) for number in range(62)])
    market.check("0.0 a quote 1 1 2 1 > feed a down live\n0.1 b quote 1 1 2 1 > feed b down live\n0.2 b trade 1 1 1")
    assert [listener.heard for listener in market.listeners[:2]] == [["0 event 0"], ["100000000 event 1", "200000000 event 1"]]
    assert all(listener.heard == market.listeners[number % 2].heard for number, listener in enumerate(market.listeners))
    with pytest.raises(ConfigError, match="63 strategies"):
        Market(wakes=[Wakes()] * 63)


@pytest.mark.parametrize("conn", [-1, 1, 2**31 - 1])
def test_a_connection_beyond_the_table_is_refused(conn: int) -> None:
    """A connections row whose number the log never counted stops the fold and names the row, before memory is touched."""
    market = Market()
    rows = market.parse(["0.0", "a", "heartbeat"])
    with pytest.raises(LogError, match=f"seq 0: connection {conn} is not"):
        market.feed([row._replace(values=row.values | {"conn": conn}) for row in rows])


def test_a_symbol_that_the_log_does_not_know_moves_no_feed() -> None:
    """A gap of an unknown symbol is not the gap of the whole connection."""
    market = Market()
    market.check("0.0 a quote 1 1 2 1 > feed a down live")
    gap = market.parse(["0.1", "a", "gap"])[0]
    assert market.feed([gap._replace(values=gap.values | {"symbol": "DOGE/USD"})]) == []


def test_equal_times_keep_the_order_of_seq() -> None:
    """Any number of rows may share one time; an input at the time of a deadline comes before it, one later after it."""
    limits = msgspec.structs.replace(NO_LIMITS, liveness_ns=NANOS_PER_S)
    wakes = Wakes(pairs=(pair(0, 1),), timer_ns=NANOS_PER_S, min_life_ns=NANOS_PER_S)
    market = Market("ab", limits=limits, wakes=[wakes])
    market.check(
        """
        0.0 a quote 100 1 101 1 > feed a down live
        0.0 b quote 90 1 91 1 > feed b down live
        0.0 b quote 99 1 100 1
        1.0 a quote 100 1 101 1
        1.0 a quote 103 1 102 1 > flag a crossed; feed a live crossed
        1.0 a quote 100 1 101 1 > feed a crossed live
        1.000000001 a quote 100 1 101 1 > feed b live stale
        2.0 b quote 99 1 100 1 > feed b stale live
        3.0 b quote 99 1 100 1 > feed a live stale
        """
    )
    assert market.listeners[0].heard == []


def test_an_instrument_that_appears_late_is_down_until_its_first_row() -> None:
    """It has no deadline, no part in the median and no pair before; from its first row on it counts like the others."""
    limits = msgspec.structs.replace(NO_LIMITS, outlier_floor_ppb=20_000_000, freeze_ns=0)
    market = Market("abc", limits=limits, wakes=[Wakes(pairs=(pair(0, 2),))])
    market.check(
        """
        0.0 a quote 1000 1 1001 1 > feed a down live
        0.1 b quote 700 1 701 1 > feed b down live
        90000.0 c scale 1 0
        90000.1 c quote 9980 1 9985 1 > feed c down live; opened a>c
        90000.2 b quote 701 1 702 1 > flag b outlier; feed b live outlying
        """
    )


def test_values_that_do_not_fit_a_finer_scale_leave_the_state() -> None:
    """They never wrap into another price: the quote is gone, the feed gapped, its episodes closed, and the next sound row mends it."""
    market = Market("ab", wakes=[Wakes(pairs=(pair(0, 1),))])
    market.check(
        f"""
        0.0 a quote {INT64_MAX - 1} 1 {INT64_MAX} 1 > feed a down live
        0.1 b quote 90 1 91 1 > feed b down live; opened a>b
        0.2 a scale 1 0 > feed a live gapped; closed a>b
        0.3 a quote 100 1 110 1 > feed a gapped live
        0.4 b scale 0 5
        0.5 b scale 0 18
        """
    )
    assert astuple(market.engine.market.best(0))[:4] == (100, 1, 110, 1)
    assert astuple(market.engine.market.best(1))[:4] == (90, 10**18, 91, 10**18)
    sizes = Market(sources="deltas")
    sizes.check(f"0.0 a snap b9*1 b8*{INT64_MAX // 10 + 1} a10*1 > feed a down live\n0.1 a scale 0 1 > feed a live gapped")
    assert sizes.engine.market.levels(0, "bid") == []
    assert astuple(sizes.engine.market.best(0))[:4] == (None, None, None, None)
    fits = Market(sources="deltas")
    fits.check(f"0.0 a snap b9*1 b8*{INT64_MAX // 10} a10*1 > feed a down live\n0.1 a scale 0 1")
    assert fits.engine.market.levels(0, "bid")[1] == (8, INT64_MAX // 10 * 10)


def test_spreads_that_do_not_fit_a_finer_scale_are_sampled_anew() -> None:
    """An extreme spread of the past must not become a wrapped median."""
    market = Market(limits=msgspec.structs.replace(NO_LIMITS, spread_multiple=2))
    market.check(f"0 a quote 1 1 {INT64_MAX} 1 > feed a down live\n1 a quote 1 1 3 1\n2 a scale 1 0\n3 a quote 10 1 20 1")
    assert (int(market.record()["spread_count"]), int(market.record()["median_spread"])) == (1, 10)
