"""Validation and feed states, one rule a test."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from tests.defaults import feed_limits
from tests.engine.table import Fold, check, instrument, nanos, pair
from xarb.engine.kernel.fold import connection_row
from xarb.engine.strategy import Wakes
from xarb.model.units import NANOS_PER_S, PPB

HOUR = 3600 * NANOS_PER_S


def test_a_crossed_quote_stays_out_of_the_state() -> None:
    """Bid above ask is flagged, makes the feed crossed, and the last good quote stays."""
    fold = Fold("a")
    check(
        fold,
        """
        0.0 a 100 5 101 5 > feed a down live
        0.1 a 103 5 102 5 > flag a crossed; feed a live crossed
        0.2 a 103 5 102 5 > flag a crossed
        0.3 a 100 5 101 5 > feed a crossed live
        """,
    )


def test_a_locked_quote_stays_out_of_the_state() -> None:
    """Bid equal to ask is no price that anybody trades at: flagged, and the feed is crossed until they part again."""
    fold = Fold("a")
    check(
        fold,
        """
        0.0 a 100 5 101 5 > feed a down live
        0.1 a 101 5 101 5 > flag a locked; feed a live crossed
        0.2 a 101 6 101 5 > flag a locked
        0.3 a 100 5 102 5 > feed a crossed live
        """,
    )
    assert int(fold.kernel.tables[0]["bid_seq"][0]) == 0  # the bid that stands was set before


def test_prices_and_sizes_must_make_sense() -> None:
    """Zero or negative prices and negative sizes are flagged and kept out; a zero size empties the side."""
    fold = Fold("a")
    check(
        fold,
        """
        0.0 a 100 5 101 5 > feed a down live
        0.1 a 0 5 101 5 > flag a bad_price
        0.2 a 100 5 -3 5 > flag a bad_price
        0.3 a 100 -1 101 5 > flag a bad_qty
        0.4 a 100 0 101 5
        """,
    )
    assert int(fold.kernel.tables[0]["bid"][0]) == -(2**63)
    assert int(fold.kernel.tables[0]["ask"][0]) == 101


def test_an_older_update_is_kept_out() -> None:
    """A venue counter that goes back marks the row as old; an equal one is news of the same update."""
    fold = Fold("a")
    fold.quote("0.0", "a", 100, 5, 101, 5, venue_seq=10)
    assert fold.quote("0.1", "a", 90, 5, 91, 5, venue_seq=9) == ["flag a old_update"]
    assert int(fold.kernel.tables[0]["bid"][0]) == 100
    assert fold.quote("0.2", "a", 99, 5, 101, 5, venue_seq=10) == []
    assert fold.quote("0.3", "a", 98, None, 101, 5, venue_seq=10) == []
    assert fold.quote("0.4", "a", 97, None, 101, 5, venue_seq=9) == ["flag a old_update"]


def test_latency_is_flagged_when_it_begins() -> None:
    """Late and future event times are flagged once for each spell."""
    fold = Fold("a", limits=feed_limits(liveness_ns=HOUR, freeze_ns=0, max_latency_ns=NANOS_PER_S, future_ns=NANOS_PER_S))
    fold.quote("10.0", "a", 100, 5, 101, 5, ts_event=nanos("10"))
    assert fold.quote("10.1", "a", 100, 5, 101, 5, ts_event=nanos("9.1")) == []
    assert fold.quote("10.2", "a", 100, 5, 101, 5, ts_event=nanos("9.1")) == ["flag a late_event"]
    assert fold.quote("10.3", "a", 100, 5, 101, 5, ts_event=nanos("9.1")) == []
    assert fold.quote("10.4", "a", 100, 5, 101, 5, ts_event=nanos("11.5")) == ["flag a future_event_time"]
    assert fold.quote("10.5", "a", 100, 5, 101, 5, ts_event=nanos("11.5")) == []
    assert fold.quote("10.6", "a", 100, 5, 101, 5, ts_event=nanos("9.5")) == ["flag a late_event"]
    assert fold.quote("10.7", "a", 100, 5, 101, 5, ts_event=nanos("9.7")) == []
    assert fold.quote("10.8", "a", 100, 5, 101, 5, ts_event=nanos("9.7")) == ["flag a late_event"]


def test_off_grid_values_are_flagged() -> None:
    """Prices off the tick and sizes off the lot are flagged on onset."""
    fold = Fold("a", instruments=[instrument("a", tick_int=5, lot_int=10)])
    check(
        fold,
        """
        0.0 a 100 10 105 10 > feed a down live
        0.1 a 101 10 105 10 > flag a off_tick
        0.2 a 102 10 105 10
        0.3 a 100 15 105 10 > flag a off_lot
        """,
    )


def test_silence_of_the_connection_makes_a_feed_stale_at_the_exact_time() -> None:
    """One second without a row ends liveness: the row carries the deadline's time, not the time of the next input."""
    fold = Fold("ab", limits=feed_limits(liveness_ns=NANOS_PER_S, freeze_ns=0))
    fold.quote("0.0", "a", 100, 5, 101, 5)
    fold.quote("1.0", "b", 100, 5, 101, 5)
    assert fold.quote("1.5", "b", 100, 5, 101, 5) == ["feed a live stale"]
    assert fold.quote("1.6", "a", 100, 5, 101, 5) == ["feed a stale live"]
    fold.advance("9.0")
    assert int(fold.kernel.world["now"]) == nanos("2.6")


def test_a_row_at_the_deadline_itself_keeps_the_feed_live() -> None:
    """At equal time the input comes first."""
    fold = Fold("a", limits=feed_limits(liveness_ns=NANOS_PER_S, freeze_ns=0))
    fold.quote("0.0", "a", 100, 5, 101, 5)
    assert fold.quote("1.0", "a", 100, 5, 101, 5) == []


def test_a_quote_older_than_the_cache_leaves_the_state_on_a_live_connection() -> None:
    """A heartbeat keeps the connection live, but not a quote older than `cache_ns`: stale until a row of its own."""
    fold = Fold("a", limits=feed_limits(liveness_ns=HOUR, freeze_ns=0, cache_ns=300 * NANOS_PER_S))
    fold.quote("0", "a", 100, 5, 101, 5)
    connection_row(fold.kernel.handle, 0, -1, -1)
    assert fold.advance("300") == []
    assert fold.advance("301") == ["feed a live stale"]
    assert int(fold.kernel.world["now"]) == 300 * NANOS_PER_S
    assert fold.quote("302", "a", 100, 5, 101, 5) == ["feed a stale live"]


def test_a_venue_whose_rows_are_late_falls_below_the_floor_and_returns() -> None:
    """Each component of the score counts one fifth, and a score below the floor ends trading while the feed stays live."""
    limits = feed_limits(liveness_ns=HOUR, freeze_ns=0, max_latency_ns=1, quality_floor=900)
    fold = Fold("a", limits=limits)
    caused = [row for second in range(10) for row in fold.quote(str(second + 5), "a", 100 + second, 5, 101 + second, 5, ts_event=0)]
    assert caused == ["flag a late_event", "feed a down live", "feed a live live"]
    record = fold.kernel.tables[0][0]
    assert (int(record["tradable"]), int(record["score"]) < 900, int(record["mean_latency"]) < 128_000) == (0, True, True)
    for second in range(20, 60):
        fold.quote(str(second), "a", 100 + second, 5, 101 + second, 5)
    assert (int(record["tradable"]), int(record["score"]) > 900) == (1, True)


def test_an_unchanged_quote_freezes_only_while_its_peers_move() -> None:
    """Frozen needs both: the limit passed, and enough changes elsewhere."""
    limits = feed_limits(liveness_ns=HOUR, freeze_ns=10 * NANOS_PER_S, freeze_moves=3)
    still = Fold("ab", limits=limits)
    still.quote("0", "a", 100, 5, 101, 5)
    assert still.quote("20", "a", 100, 5, 101, 5) == []
    slow = Fold("ab", limits=limits)
    slow.quote("0", "a", 100, 5, 101, 5)
    for second in range(1, 3):
        slow.quote(str(second), "b", 100 - second % 2, 5, 101, 5)
    assert slow.quote("20", "a", 100, 5, 101, 5) == []
    moving = Fold("ab", limits=limits)
    moving.quote("0", "a", 100, 5, 101, 5)
    for second in range(1, 4):
        moving.quote(str(second), "b", 100 - second % 2, 5, 101, 5)
    assert moving.quote("20", "a", 100, 5, 101, 5) == ["flag a frozen", "feed a live frozen"]
    assert moving.quote("21", "a", 100, 6, 101, 5) == ["feed a frozen live"]


def test_an_outlier_is_kept_out_of_trading_but_not_out_of_the_record() -> None:
    """Against two agreeing peers a mid 26 % away is outlying; with one peer alone nobody can say who is wrong."""
    check(
        Fold("abc"),
        """
        0.0 a 9262 5 9263 5 > feed a down live
        0.1 b 9262 5 9263 5 > feed b down live
        0.2 c 9262 5 9263 5 > feed c down live
        0.3 c 6820 5 9263 5 > flag c outlier; feed c live outlying
        0.4 c 9262 5 9263 5 > feed c outlying live
        """,
    )
    check(Fold("ab"), "0.0 a 9262 5 9263 5 > feed a down live\n0.1 b 6820 5 6821 5 > feed b down live")


def test_of_three_the_one_alone_is_the_outlier() -> None:
    """Where two venues agree and one is far below or above, that one is outlying and not the two."""
    for far in (700, 1300):
        market = Fold("abc")
        market.quote("0.0", "a", 1000, 5, 1001, 5)
        market.quote("0.1", "b", far, 5, far + 1, 5)
        assert market.quote("0.2", "c", 999, 5, 1000, 5) == ["feed c down live"]
        assert market.quote("0.3", "a", 1001, 5, 1002, 5) == []
        assert market.quote("0.4", "b", far - 1, 5, far, 5) == ["flag b outlier", "feed b live outlying"]


def test_a_wide_spread_is_flagged_against_its_own_median() -> None:
    """A spread above 20 times the median of the sampled spreads is flagged."""
    fold = Fold("a")
    for second in range(20):
        fold.quote(str(second), "a", 1000 + second % 2, 5, 1002 + second % 2, 5)
    assert fold.quote("30", "a", 900, 5, 1002, 5) == ["flag a wide_spread"]


def test_an_edge_opens_follows_and_closes() -> None:
    """The pair opens at its threshold, exactly, and closes below the lower one."""
    wakes = Wakes(pairs=(pair(1, 0, open_ppb=PPB // 100, close_ppb=0),), improve_ppb=PPB // 100)
    fold = Fold("ab", wakes=wakes)
    check(
        fold,
        """
        0.0 a 99 5 100 5 > feed a down live
        0.1 b 100 5 102 5 > feed b down live
        0.2 b 101 5 102 5 > opened b>a
        0.3 b 100 5 102 5
        0.4 b 103 5 104 5
        0.5 b 99 5 104 5 > closed b>a
        """,
    )
    assert fold.wakes == ["0.200 open", "0.400 improvement", "0.500 close"]


def test_a_minimum_life_delays_the_opening() -> None:
    """An edge that stands shorter than its minimum life never opens; one that stands opens at the exact time."""
    wakes = Wakes(pairs=(pair(1, 0),), min_life_ns=NANOS_PER_S)
    fold = Fold("ab", wakes=wakes)
    fold.quote("0.0", "a", 99, 5, 100, 5)
    assert fold.quote("0.5", "b", 100, 5, 102, 5) == ["feed b down live"]
    assert fold.quote("1.2", "b", 99, 5, 102, 5) == []
    assert fold.quote("2.0", "b", 100, 5, 102, 5) == []
    assert fold.quote("3.1", "b", 99, 5, 102, 5) == ["opened b>a", "closed b>a"]
    assert fold.wakes == ["3.000 open", "3.100 close"]


def test_an_edge_on_a_feed_that_stops_being_live_closes() -> None:
    """A stale feed closes the episode for the feed's sake."""
    wakes = Wakes(pairs=(pair(1, 0),))
    fold = Fold("ab", wakes=wakes, limits=feed_limits(liveness_ns=NANOS_PER_S, freeze_ns=0))
    fold.quote("0.0", "a", 99, 5, 100, 5)
    fold.quote("0.5", "b", 101, 5, 102, 5)
    assert fold.quote("1.2", "b", 101, 5, 102, 5) == ["feed a live stale", "closed b>a"]


def test_the_timer_wakes_on_the_grid_while_an_edge_stands() -> None:
    """With an open edge the timer fires at the first grid time after activity, and not again until something happens."""
    wakes = Wakes(pairs=(pair(1, 0),), timer_ns=NANOS_PER_S // 10, on_edge=False)
    fold = Fold("ab", wakes=wakes)
    fold.quote("0.01", "a", 99, 5, 100, 5)
    fold.quote("0.52", "b", 101, 5, 102, 5)
    fold.quote("0.55", "b", 101, 6, 102, 5)
    fold.quote("1.23", "b", 101, 5, 102, 5)
    fold.quote("1.30", "b", 99, 5, 102, 5)
    fold.quote("2.0", "b", 99, 6, 102, 5)
    assert fold.wakes == ["0.600 timer"]


@given(
    st.integers(0, 6),
    st.integers(0, 6),
    st.integers(1, 10**12),
    st.integers(1, 10**12),
    st.sampled_from([0, 1, 100_000, 1_000_000, 999_999_999]),
    st.sampled_from([-1_000_000, 0, 1, 123_457, 5_000_000]),
)
def test_the_opening_verdict_is_exact(sell_scale: int, buy_scale: int, bid: int, ask: int, fee: int, threshold: int) -> None:
    """At any scales the episode opens exactly when the fraction says so, on the threshold itself and one unit off."""
    chosen = [instrument("a", px_scale=buy_scale), instrument("b", px_scale=sell_scale)]
    wakes = Wakes(pairs=(pair(1, 0, open_ppb=threshold, close_ppb=threshold, fee_ppb=fee),))
    bound = Fraction(ask, 10**buy_scale) * Fraction((PPB + fee) * (PPB + threshold), (PPB - fee) * PPB) * 10**sell_scale
    for candidate in {bid, int(bound), int(bound) + 1} - {0}:
        if candidate > 10**18:
            continue
        fold = Fold("ab", wakes=wakes, instruments=chosen)
        fold.quote("0.0", "a", None, None, ask, 5)
        caused = fold.quote("0.1", "b", candidate, 5, None, None)
        assert ("opened b>a" in caused) == (Fraction(candidate) >= bound)
