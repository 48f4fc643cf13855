"""Rules of public trades, one a test, through the whole engine."""

from __future__ import annotations

import msgspec

from tests.engine.market import NO_LIMITS, Market
from xarb.model.units import INT64_MAX


def test_a_trade_needs_a_positive_price_and_size() -> None:
    """Zero, negative and absent prices and sizes are flagged with what they were, and their ids are not taken."""
    market = Market()
    market.check(
        """
        0.0 a trade 1 0 5 > flag a bad_trade
        0.1 a trade 2 100 0 > flag a bad_trade
        0.2 a trade 3 -1 5 > flag a bad_trade
        0.3 a trade 4 100 -7 > flag a bad_trade
        0.4 a trade 5 - 5 > flag a bad_trade
        0.5 a trade 3 100 5
        """
    )
    assert int(market.record()["bad_rows"]) == 5
    assert [(row["value"], row["bound"]) for row in market.rows] == [(0, 5), (100, 0), (-1, 5), (100, -7), (None, 5)]


def test_a_repeated_id_is_a_duplicate() -> None:
    """An id among the last 64 dense ones is known again, also when later ones came between, and counts as a bad row."""
    market = Market()
    market.check(
        """
        0.0 a trade 10 100 5
        0.1 a trade 10 100 5 > flag a duplicate_trade
        0.2 a trade 11 100 5
        0.3 a trade 10 100 5 > flag a duplicate_trade
        """
    )
    assert market.last("duplicate_trade") == (10, 11)
    assert int(market.record()["bad_rows"]) == 2


def test_64_dense_ids_are_remembered_and_no_more() -> None:
    """The id 63 back is a duplicate, the id 64 back has left the ring and is only out of order."""
    market = Market()
    for trade_id in range(100, 165):
        market.check(f"0.0 a trade {trade_id} 100 5")
    market.check("0.0 a trade 101 100 5 > flag a duplicate_trade\n0.0 a trade 100 100 5 > flag a trade_disorder")


def test_an_id_that_goes_back_is_disorder() -> None:
    """A new id below the last one is flagged and not bad; the highest stays the measure, and it is known when it comes again."""
    market = Market()
    market.check(
        """
        0.0 a trade 10 100 5
        0.1 a trade 8 100 5 > flag a trade_disorder
        0.2 a trade 9 100 5 > flag a trade_disorder
        0.3 a trade 8 100 5 > flag a duplicate_trade
        0.4 a trade 11 100 5
        """
    )
    assert market.last("trade_disorder") == (9, 10)


def test_a_hole_is_a_gap_where_ids_are_dense() -> None:
    """With dense ids a skipped one is flagged with both ends; the first id of all is no hole; sparse ids may skip."""
    dense = Market(limits=msgspec.structs.replace(NO_LIMITS, dense_trade_ids=True))
    dense.check("0.0 a trade 10 100 5\n0.1 a trade 11 100 5\n0.2 a trade 13 100 5 > flag a trade_gap\n0.3 a trade 14 100 5")
    assert dense.last("trade_gap") == (13, 11)
    Market().check("0.0 a trade 10 100 5\n0.2 a trade 13 100 5")


def test_trades_without_an_id_are_compared_with_nothing() -> None:
    """A null id is neither a duplicate nor a hole."""
    market = Market(limits=msgspec.structs.replace(NO_LIMITS, dense_trade_ids=True))
    market.check("0.0 a trade - 100 5\n0.1 a trade - 100 5\n0.2 a trade 7 100 5\n0.3 a trade - 100 5\n0.4 a trade 8 100 5")


def test_a_price_away_from_the_book_is_off_market() -> None:
    """1 % from the mid is the bound, one unit more is the rounding of mids: beyond them each trade is flagged with distance and bound; the book stays."""
    market = Market()
    market.check(
        """
        0.0 a trade 1 5000 1
        0.1 a quote 9999 5 10001 5 > feed a down live
        0.2 a trade 2 10101 1
        0.3 a trade 3 10102 1 > flag a trade_off_market
        0.4 a trade 4 9898 1 > flag a trade_off_market
        """
    )
    assert market.last("trade_off_market") == (102, 100)
    assert (int(market.record()["bid"]), int(market.record()["mid"])) == (9999, 10000)


def test_a_book_that_no_longer_counts_says_nothing_of_a_trade() -> None:
    """After a gap, a loss or silence there is no book to be away from; once it is whole again there is."""
    market = Market(sources="deltas")
    market.check(
        """
        0.0 a snap b9999*5 a10001*5 > feed a down live
        0.1 a gap > feed a live gapped
        0.2 a trade 1 20000 1
        0.3 a snap b9999*5 a10001*5 > feed a gapped live
        0.4 a trade 2 20000 1 > flag a trade_off_market
        0.5 A lost > feed a live down
        0.6 a trade 3 20000 1
        """
    )


def test_extreme_ids_and_prices_are_judged_without_overflow() -> None:
    """The largest price and id are ordinary values."""
    market = Market(limits=msgspec.structs.replace(NO_LIMITS, dense_trade_ids=True))
    market.check(
        f"""
        0.0 a quote 1 1 2 1 > feed a down live
        0.1 a trade {INT64_MAX} {INT64_MAX} {INT64_MAX} > flag a trade_off_market
        0.2 a trade {INT64_MAX} 1 1 > flag a duplicate_trade
        0.3 a quote {INT64_MAX - 1} 1 {INT64_MAX} 1
        0.4 a trade 1 1 1 > flag a trade_disorder; flag a trade_off_market
        0.5 a trade 2 {INT64_MAX} 1 > flag a trade_disorder
        """
    )
