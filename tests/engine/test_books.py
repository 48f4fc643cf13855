"""Rules of books and deltas, one a test, through the whole engine."""

from __future__ import annotations

import msgspec

from tests.engine.market import NO_LIMITS, Market, book, message
from tests.engine.table import pair
from xarb.engine.kernel.state import BOOK_LEVELS
from xarb.engine.strategy import Wakes
from xarb.model.units import INT64_MAX

Levels = list[tuple[int, int | None]]


def sides(market: Market, number: int = 0, depth: int = 10) -> tuple[Levels, Levels]:
    """Bids and asks as a strategy sees them."""
    return market.engine.market.levels(number, "bid", depth), market.engine.market.levels(number, "ask", depth)


def deltas(letters: str = "a") -> Market:
    """A market whose books are moved by deltas."""
    return Market(letters, sources="deltas")


def test_b1_no_delta_counts_before_a_snapshot() -> None:
    """Deltas without a snapshot are flagged once, kept out and bad; the snapshot ends that; after a gap it begins anew."""
    market = deltas()
    market.check(
        """
        0.0 a delta b100*5 > flag a no_snapshot
        0.1 a delta a101*5
        0.2 a snap b99*1 a102*1 > feed a down live
        0.3 a delta b100*5
        0.4 a gap > feed a live gapped
        0.5 a delta b98*5 > flag a no_snapshot
        """
    )
    assert int(market.record()["bad_rows"]) == 3
    assert sides(market) == ([], [])


def test_the_verdict_of_the_wire_is_final() -> None:
    """Deltas that the session called old or unsynced neither change the book nor publish it."""
    market = deltas()
    market.check(
        """
        0.0 a unsynced b100*5 a101*5
        0.1 a snap b99*1 a102*1 > feed a down live
        0.2 a old b100*5
        0.3 a unsynced a101*5
        """
    )
    assert sides(market) == ([(99, 1)], [(102, 1)])
    assert int(market.record()["ts_last"]) == 100_000_000


def test_b4_a_book_must_be_sorted_best_first() -> None:
    """Repeated, unordered and backward levels are flagged on either side; the feed is gapped until the next whole book."""
    market = Market(sources="books")
    market.check("0.0 a book b100*1 b99*1 a101*1 a102*1 > feed a down live")
    for at, levels in enumerate(
        ["b100*1 b100*2 a101*1", "b99*1 b100*1 a101*1", "b100*1 b98*1 b99*1 a101*1", "b9*1 a102*1 a101*1", "b9*1 a11*1 a11*1"]
    ):
        market.check(f"{at + 1} a book {levels} > flag a unsorted_levels; feed a live gapped")
        assert sides(market) == ([], [])
        market.check(f"{at + 1} a book b100*1 a101*1 > feed a gapped live")
        assert sides(market) == ([(100, 1)], [(101, 1)])


def test_b5_prices_are_positive_and_sizes_not_negative() -> None:
    """A bad delta is flagged with its values and leaves the book; a whole book with one bad level goes altogether."""
    market = deltas()
    market.check(
        """
        0.0 a snap b100*5 a101*5 > feed a down live
        0.1 a delta b0*5 > flag a bad_price
        0.2 a delta b100*-1 > flag a bad_qty
        0.3 a delta b99*- > flag a bad_qty
        0.4 a delta a-3*2 > flag a bad_price
        """
    )
    assert sides(market) == ([(100, 5)], [(101, 5)])
    assert [(row["value"], row["bound"]) for row in market.rows[1:]] == [(0, 5), (100, -1), (99, None), (-3, 2)]
    whole = Market(sources="books")
    whole.check(
        """
        0.0 a book b100*5 a101*5 > feed a down live
        0.1 a book b100*5 b0*1 a101*5 > flag a bad_price; feed a live gapped
        0.2 a book b100*5 a101*5 a102*-1 > flag a bad_qty
        0.3 a book b100*- a101*0 a102*3 > feed a gapped live
        """
    )
    assert sides(whole) == ([(100, None)], [(102, 3)])


def test_b5_size_zero_deletes_and_an_absent_level_is_flagged_once() -> None:
    """Deleting what is not there is flagged on onset, counted by nothing else, and again after the next snapshot."""
    market = deltas()
    market.check(
        """
        0.0 a snap b100*5 b99*2 a101*5 > feed a down live
        0.1 a delta b100*0
        0.2 a delta b98*0 > flag a absent_level
        0.3 a delta b97*0
        0.4 a snap b100*5 a101*5
        0.5 a delta a105*0 > flag a absent_level
        """
    )
    assert market.last("absent_level") == (105, 0)
    assert int(market.record()["bad_rows"]) == 0


def test_b6_a_book_is_judged_after_a_whole_message() -> None:
    """Crossed inside a message is nothing; crossed or locked after it is flagged, and the last sound quote stays until it uncrosses."""
    market = deltas()
    market.check(
        """
        0.0 a snap b100*5 a101*5 > feed a down live
        0.1 a delta b102*5 a101*0 a103*5
        0.2 a delta b103*1 > flag a book_crossed; feed a live crossed
        0.3 a delta b104*1 > flag a book_crossed
        0.4 a delta b103*0 b104*0 b101*9 > feed a crossed live
        """
    )
    assert market.last("book_crossed") == (104, 103)
    assert sides(market)[0] == [(102, 5), (101, 9), (100, 5)]
    assert int(market.record()["bid"]) == 102
    whole = Market(sources="books")
    whole.check("0.0 a book b100*1 a101*1 > feed a down live\n0.1 a book b101*1 a101*1 > flag a book_crossed; feed a live crossed")


def test_b10_a_gap_empties_the_book_of_its_symbol_alone() -> None:
    """A gap of a symbol leaves the others of the connection; one without a symbol empties all of the connection and no other."""
    market = Market("abc", sources="deltas", connections=3)
    rows = [row for number in range(3) for row in message(0, number, [("bid", 100, 5), ("ask", 101, 5)], snapshot=True)]
    rows = [row._replace(values=row.values | {"conn": row.values["conn"] // 2}) for row in rows]  # a and b on 0, c on 1
    assert market.feed(rows) == ["feed a down live", "feed b down live", "feed c down live"]
    market.check("1.0 a gap > feed a live gapped")
    assert [len(sides(market, number)[0]) for number in range(3)] == [0, 1, 1]
    market.check("1.1 A gap > feed b live gapped")
    assert [len(sides(market, number)[0]) for number in range(3)] == [0, 0, 1]
    assert [int(market.record(letter)["gaps"]) for letter in "abc"] == [2, 1, 0]


def test_a_gap_within_a_snapshot_leaves_no_half_of_it() -> None:
    """What came before the gap is gone; the next snapshot starts empty."""
    market = deltas()
    half = message(0, 0, [("bid", 100, 5), ("ask", 101, 5)], snapshot=True)[:1]
    assert market.feed(half) == []
    market.check("0.1 a gap > feed a down gapped\n0.2 a snap b90*1 a91*1 > feed a gapped live")
    assert sides(market) == ([(90, 1)], [(91, 1)])


def test_a_snapshot_and_what_waited_for_it_are_one_message() -> None:
    """The state between them is never the book: no edge, no quote, no wake; empty parts and repetitions inside do no harm."""
    pairs = (pair(0, 1), pair(1, 0))
    market = Market("ab", sources="deltas", wakes=[Wakes(pairs=pairs, every_event=(0,))])
    market.check(
        """
        0.0 b snap b100*5 a101*5 > feed b down live
        0.1 a more b110*5 a111*5
        0.1 a delta b110*0 b100*6 a111*0 a101*6 > feed a down live
        1.0 a gap > feed a live gapped
        1.1 a resync
        1.2 a more
        1.2 a delta b100*7 a101*7 > feed a gapped live
        """
    )
    assert sides(market) == ([(100, 7)], [(101, 7)])
    assert market.listeners[0].heard == ["100000000 event 0", "1200000000 event 0"]


def test_b11_a_snapshot_in_the_stream_replaces_the_book() -> None:
    """No level of before survives, and the book stays one as long as the message runs."""
    market = deltas()
    market.check("0.0 a snap b100*5 b99*5 a101*5 > feed a down live\n0.1 a snap b98*1 b97*2 a105*1 a106*1\n0.2 a delta b99*3")
    assert sides(market) == ([(99, 3), (98, 1), (97, 2)], [(105, 1), (106, 1)])


def test_b12_a_side_holds_5000_levels_and_the_farthest_go() -> None:
    """Level 5,001 drops the worst of its side and is flagged once; a better one still enters; asks and bids are bounded apart."""
    market = deltas()
    bids = [("bid", price, 1) for price in range(10_000, 10_000 + BOOK_LEVELS)]
    asks = [("ask", price, 2) for price in range(19_999 + BOOK_LEVELS, 19_999, -1)]
    assert market.feed(message(0, 0, [*bids, *asks], snapshot=True)) == ["feed a down live"]
    market.check("1 a delta b15000*7 > flag a too_many_levels\n2 a delta b15001*7 a19999*3 a30000*1")
    assert market.last("too_many_levels") == (15_000, BOOK_LEVELS)
    kept = sides(market, depth=BOOK_LEVELS + 5)
    assert (len(kept[0]), kept[0][0], kept[0][-1]) == (BOOK_LEVELS, (15_001, 7), (10_002, 1))
    assert (len(kept[1]), kept[1][0], kept[1][-1]) == (BOOK_LEVELS, (19_999, 3), (24_998, 2))


def test_b12_holds_for_whole_books_too() -> None:
    """Of a book with more levels the nearest stay; the flag begins anew after a book within the bound."""
    market = Market(sources="books")
    asks = [("ask", 200 + at, 1) for at in range(BOOK_LEVELS + 3)]
    large, small = book(0, 0, [("bid", 100, 1)], asks), book(0, 0, [("bid", 100, 1)], asks[:2])
    assert market.feed([large]) == ["flag a too_many_levels", "feed a down live"]
    assert market.last("too_many_levels") == (BOOK_LEVELS + 3, BOOK_LEVELS)
    assert sides(market, depth=BOOK_LEVELS + 5)[1][-1] == (199 + BOOK_LEVELS, 1)
    assert market.feed([large, small, large]) == ["flag a too_many_levels"]


def test_an_older_book_is_kept_out() -> None:
    """The venue's counter may stand still but not go back, until the connection is lost or opened anew."""
    market = Market(sources="books")
    market.check(
        """
        0.0 a book b100*1 a101*1 #10 > feed a down live
        0.1 a book b90*1 a91*1 #9 > flag a old_update
        0.2 a book b99*1 a101*1 #10
        0.3 A lost > feed a live down
        0.4 a book b98*1 a101*1 #3 > feed a down live
        0.5 a subscribed
        0.6 a book b97*1 a101*1 #1
        """
    )
    assert market.last("old_update") == (9, 10)
    assert sides(market)[0] == [(97, 1)]


def test_off_book_a_quote_beside_a_book_only_validates_it() -> None:
    """A quote whose mid leaves the book's by more than the bound is flagged on onset; the book does not move, crossed quotes included."""
    market = deltas()
    market.check(
        """
        0.0 a quote 1 1 2 1
        0.1 a snap b9999*5 a10001*5 > feed a down live
        0.2 a quote 10101 5 10101 5
        0.3 a quote 10101 5 10103 5 > flag a off_book
        0.4 a quote 10103 5 10101 5
        0.5 a quote 9999 5 10001 5
        0.6 a quote 9890 5 9892 5 > flag a off_book
        0.7 a quote - - 10001 5
        0.8 a gap > feed a live gapped
        0.9 a quote 1 5 2 5
        """
    )
    assert market.last("off_book") == (109, 100)
    assert int(market.record()["bid"]) == 9999


def test_an_empty_message_confirms_the_book() -> None:
    """It changes nothing but the time at which the quote was last confirmed, and before a snapshot nothing at all."""
    market = deltas()
    market.check("0.0 a delta\n0.1 a snap b100*5 a101*5 > feed a down live\n0.2 a delta")
    record = market.record()
    assert (int(record["ts_last"]), int(record["ts_change"])) == (200_000_000, 100_000_000)


def test_a_book_without_a_side_is_a_quote_without_it() -> None:
    """The last level of a side takes the side's price away, and episodes on it close."""
    market = Market("ab", sources="deltas", wakes=[Wakes(pairs=(pair(0, 1),))])
    market.check(
        """
        0.0 a snap b110*5 a111*5 > feed a down live
        0.1 b snap b100*5 a101*5 > feed b down live; opened a>b
        0.2 b delta a101*0 > closed a>b
        0.3 b delta a105*1 > opened a>b
        0.4 b snap > closed a>b
        """
    )
    assert sides(market, 1) == ([], [])


def test_rows_of_other_sources_move_no_book() -> None:
    """Where deltas move the book, whole books do not; where quotes do, neither books nor deltas do."""
    market = deltas()
    market.check("0.0 a snap b100*5 a101*5 > feed a down live\n0.1 a book b90*5 a91*5")
    assert sides(market) == ([(100, 5)], [(101, 5)])
    quotes = Market()
    quotes.check("0.0 a quote 100 5 101 5 > feed a down live\n0.1 a book b90*5 a91*5\n0.2 a snap b90*5 a91*5")
    assert sides(quotes) == ([(100, 5)], [(101, 5)])


def test_finer_scales_rescale_the_book_in_memory() -> None:
    """After an instruments row with finer scales the same book stands in finer units, null sizes stay null, and deltas go on."""
    market = Market(sources="books")
    market.check("0.0 a book b100*5 b99*- a101*5 > feed a down live\n0.1 a scale 2 1")
    assert sides(market) == ([(10000, 50), (9900, None)], [(10100, 50)])
    one = deltas()
    one.check("0.0 a snap b100*5 a101*5 > feed a down live\n0.1 a scale 2 1\n0.2 a delta b10000*7 b10050*1")
    assert sides(one) == ([(10050, 1), (10000, 7)], [(10100, 50)])


def test_extreme_prices_and_sizes_stand_in_a_book() -> None:
    """From 1 to INT64_MAX: found, changed, removed and compared without overflow, on both sides."""
    market = Market("ab", sources="deltas", limits=msgspec.structs.replace(NO_LIMITS, spread_multiple=20, outlier_mads=8))
    top = INT64_MAX
    market.check(
        f"""
        0.0 a snap b1*{top} b2*1 b{top - 1}*{top} a{top}*{top} > feed a down live
        0.1 b snap b1*1 a{top}*1 > feed b down live
        0.2 a delta b{top - 1}*0 b1*0
        0.3 a delta b2*{top}
        0.4 a trade 1 {top} {top} > flag a trade_off_market
        0.5 a quote {top - 1} 1 {top} 1 > flag a off_book
        0.6 a delta a{top}*0 a3*1
        """
    )
    assert sides(market) == ([(2, top)], [(3, 1)])
