"""The arrival rule, in tables: orders take 10 ms, reports 5 ms, the feed 1 ms, unless a test says otherwise."""

from __future__ import annotations

import msgspec
import pytest

from tests.instruments import instrument
from tests.venues.market import MS, Row, batch_of, plain_model, setup_of, submit
from tests.venues.table import check
from xarb.errors import InvariantBroken
from xarb.venues.simulated import SimulatedVenues
from xarb.venues.terms import ConstantLatency


def test_a_row_at_the_arrival_time_comes_first() -> None:
    """An order decided at 0 arrives at 10; a row received at 11 happened at 10 and is met."""
    check("""
        0  a q 100 5 101 5
        > buy 1 ioc 9@105
        11 a q 100 5 103 2
        99 b q 100 5 101 5
        = 15 1 fill 2@103 taker
        = 15 1 expired no_liquidity
    """)


@pytest.mark.parametrize(
    ("first", "then", "met"),
    [
        (["b 100x5 / 101x5"], ["b 100x5 / 103x2"], ["fill 2@103 taker", "expired no_liquidity"]),
        (
            ["d bid 100 5 snap more", "d ask 101 5 snap"],
            ["d ask 101 0 more", "d ask 103 2"],
            ["fill 2@103 taker", "expired no_liquidity"],
        ),
        (["q 100 5 101 5"], ["c gap"], ["expired no_liquidity"]),
    ],
)
def test_a_row_of_any_kind_at_the_arrival_time_comes_first(first: list[str], then: list[str], met: list[str]) -> None:
    """The rule for equal times is one for all rows that move a book: whole books, messages of deltas, and a gap that empties it."""
    check(
        "\n".join(
            [
                *(f"0 a {row}" for row in first),
                "> buy 1 ioc 9@105",
                *(f"11 a {row}" for row in then),
                f"99 a {first[0].removesuffix(' more')}",
                *(f"= 15 1 {report}" for report in met),
            ]
        ),
        books=first[0].startswith("b"),
        deltas=first[0].startswith("d"),
    )


def test_a_row_just_after_the_arrival_is_not_met() -> None:
    """A row of the same venue that happened a nanosecond after the arrival changes nothing for the order."""
    check("""
        0  a q 100 5 101 5
        > buy 1 ioc 5@105
        11.000001 a q 100 5 103 2
        99 b q 100 5 101 5
        = 15 1 fill 5@101 taker
    """)


def test_other_venues_neither_hold_up_nor_trigger_an_order() -> None:
    """Rows of b around the arrival leave the order on a to the book of a as of its arrival."""
    check("""
        0  a q 100 5 101 5
        > buy 1 ioc 2@105
        5  b q 90 5 91 5
        10 b q 90 5 91 5
        10.5 a q 100 5 102 4
        12 b q 90 5 91 5
        13 a q 100 5 104 4
        14 b q 90 5 91 5
        16 b q 90 5 91 5
        = 15 1 fill 2@102 taker
    """)


def test_orders_that_arrive_together_go_in_command_order() -> None:
    """Of two orders with one arrival time the first command takes what is there."""
    check("""
        0  a q 100 5 101 5
        > buy 7 ioc 4@101
        > buy 2 ioc 4@101
        99 a q 100 5 101 5
        = 15 7 fill 4@101 taker
        = 15 2 fill 1@101 taker
        = 15 2 expired no_liquidity
    """)


def test_a_report_comes_after_all_inputs_of_its_time() -> None:
    """A report due at 15 is handed over after the row received at 15 and before the one after."""
    rows = [Row("quote", at * MS, 0, (100, 5, 101, 5)) for at in (0, 15, 15, 16)]
    instruments = [instrument("a")]
    venues = SimulatedVenues(setup_of(instruments), {"a": plain_model()})
    venues.load(batch_of(rows, instruments, 0))
    venues.run(0)
    venues.take([submit(1, "buy", 101, 1)])
    assert venues.horizon() == 15 * MS
    venues.run(2)
    assert venues.reports(15 * MS - 1) == []
    assert [report.event for report in venues.reports(15 * MS)] == ["fill"]


def test_a_response_is_never_quicker_than_the_feed() -> None:
    """A response latency below the feed's maximum is raised to it, and counted."""
    model = plain_model(feed_latency=ConstantLatency(8 * MS), response_latency=ConstantLatency(5 * MS))
    venues = check(
        """
        0  a q 100 5 101 5
        > buy 1 ioc 5@101
        99 a q 100 5 101 5
        = 18 1 fill 5@101 taker
        """,
        model=model,
    )
    assert venues.clipped == 1


def test_nothing_is_drained_after_the_last_input() -> None:
    """A report that is due at the last input's time or later stays undelivered: the fold ends there."""
    check("""
        0  a q 100 5 101 5
        > buy 1 ioc 5@101
        15 a q 100 5 101 5
    """)


def test_an_order_never_meets_half_a_message() -> None:
    """The rows of a delta message are one thing: the snapshot's first row alone is never the book that an order meets."""
    check(
        """
        0  a d ask 101 5 snap more
        0  a d ask 102 5 snap
        > buy 1 ioc 8@105
        11 a d ask 103 1 snap more
        11 a d ask 104 1 snap
        99 b q 1 1 2 2
        = 15 1 fill 1@103 taker
        = 15 1 fill 1@104 taker
        = 15 1 expired no_liquidity
        """,
        deltas=True,
    )


def test_an_order_never_meets_a_snapshot_older_than_what_waited_for_it() -> None:
    """A fetched snapshot and the updates behind it are one message: what the snapshot alone offers is gone when an order arrives."""
    check(
        """
        0  a d ask 101 5 snap
        > buy 1 ioc 8@105
        11 a d ask 100 5 snap more
        11 a d ask 100 0 more
        11 a d ask 104 2
        99 b q 1 1 2 2
        = 15 1 fill 2@104 taker
        = 15 1 expired no_liquidity
        """,
        deltas=True,
    )


def test_a_gap_empties_the_book_until_the_next_quote() -> None:
    """An order that arrives between a gap and the next quote finds nothing; one after it fills."""
    check("""
        0  a q 100 5 101 5
        2  a c gap
        > buy 1 ioc 5@101
        20 a q 100 5 101 5
        > buy 2 ioc 5@101
        99 a q 100 5 101 5
        = 17 1 expired no_liquidity
        = 35 2 fill 5@101 taker
    """)


def test_a_cancel_never_overtakes_its_order() -> None:
    """A cancel sent with its order arrives with or after it, whatever was drawn for it."""
    check("""
        0  a q 100 5 101 5
        > buy 1 gtc 3@99
        > cancel 1
        99 a q 100 5 101 5
        = 15 1 accepted
        = 15 1 canceled
    """)


def test_cancels_of_done_orders_are_answered() -> None:
    """A cancel that finds its order done says what became of it."""
    check("""
        0  a q 100 5 101 5
        > buy 1 ioc 3@101
        > cancel 1
        > buy 2 ioc 3@98
        > cancel 2
        > cancel 5
        99 a q 100 5 101 5
        = 15 1 fill 3@101 taker
        = 15 1 canceled order_filled
        = 15 2 expired no_liquidity
        = 15 2 canceled order_expired
        = 15 5 canceled order_unknown
    """)


def test_finer_scales_carry_orders_and_books_along() -> None:
    """When an instrument's scales grow, orders on their way, books and reports are expressed at the new ones."""
    check("""
        0  a q 100 5 101 5
        > buy 1 ioc 7@101
        2  a i px_scale=1 qty_scale=2 tick_int=1 lot_int=1
        99 a q 1000 500 1010 500
        = 15 1 fill 500@1010 taker
        = 15 1 expired no_liquidity
    """)


def test_a_book_that_no_longer_fits_is_emptied() -> None:
    """A price that 64 bits cannot hold at the finer scale leaves the book instead of wrapping into another price."""
    check("""
        0  a q 1200000000000000000 5 1200000000000000001 5
        2  a i px_scale=1 qty_scale=0 tick_int=1 lot_int=1
        > buy 1 ioc 1@1010
        99 a q 1000 5 1010 5
        = 17 1 expired no_liquidity
    """)


def test_a_venue_that_ran_ahead_is_a_bug() -> None:
    """Commands whose arrival lies before the venue's time, and orders sent twice, are refused as broken invariants."""
    instruments = [instrument("a")]
    venues = SimulatedVenues(setup_of(instruments), {"a": plain_model()})
    venues.load(batch_of([Row("quote", 50 * MS, 0, (100, 5, 101, 5))], instruments, 0))
    venues.run(0)
    with pytest.raises(InvariantBroken, match="past the arrival of order 1"):
        venues.take([submit(1, "buy", 101, 1)])
    late = msgspec.structs.replace(submit(2, "buy", 101, 1), ts=50 * MS)
    venues.take([late, late])
    with pytest.raises(InvariantBroken, match="order 2 was sent twice"):
        venues.reports(99 * MS)
