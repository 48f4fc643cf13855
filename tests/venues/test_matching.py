"""What orders get, in tables: depth, own consumption, queues, refusals, money."""

from __future__ import annotations

import pytest

from tests.instruments import instrument
from tests.venues.market import MS, plain_model, setup_of
from tests.venues.table import check, one
from xarb.errors import ConfigError
from xarb.model.instrument import FeeTier
from xarb.model.units import MONEY_ONE, PPB, Money, Ppb
from xarb.venues.terms import Outage, VenueSetup


def test_depth_is_walked_best_price_first() -> None:
    """An order takes level after level up to its limit, one fill a level, and its rest expires."""
    check(
        """
        0  a b 100x5 99x2 / 101x1 102x2 104x9
        > buy 1 ioc 7@103
        > sell 2 ioc 6@99
        99 a b 100x5 / 101x1
        = 15 1 fill 1@101 taker
        = 15 1 fill 2@102 taker
        = 15 1 expired no_liquidity
        = 15 2 fill 5@100 taker
        = 15 2 fill 1@99 taker
        """,
        books=True,
    )


def test_a_share_of_what_the_book_would_fill() -> None:
    """Where others take half, an IOC order gets half of what the book would fill of it, best price first, in whole lots; a FOK nothing."""
    check(
        """
        0  a b 100x5 99x2 / 101x2 102x2 104x9
        > buy 1 ioc 7@103
        > sell 2 fok 6@99
        > sell 3 gtc 6@99
        99 a b 100x5 / 101x1
        = 15 1 fill 2@101 taker
        = 15 1 expired no_liquidity
        = 15 2 expired fok_unfillable
        = 15 3 fill 5@100 taker
        = 15 3 fill 1@99 taker
        """,
        books=True,
        model=plain_model(fill_shares=(PPB // 2,)),
    )


def test_the_model_refuses_what_nothing_else_speaks_against() -> None:
    """A venue that refuses every order for a reason of its own says so, but for an order that lacks the money."""
    check(
        """
        0  a q 100 5 101 5
        > buy 1 ioc 4@101
        > buy 2 ioc 90000000@101
        99 a q 100 5 101 5
        = 15 1 rejected busy
        = 15 2 rejected balance
        """,
        model=plain_model(refusals=(("busy", PPB),)),
    )


def test_fok_is_all_or_nothing() -> None:
    """A FOK order fills whole over several levels or expires and takes nothing."""
    check(
        """
        0  a b 100x5 / 101x1 102x2
        > buy 1 fok 4@103
        > buy 2 fok 3@103
        99 a b 100x5 / 101x1
        = 15 1 expired fok_unfillable
        = 15 2 fill 1@101 taker
        = 15 2 fill 2@102 taker
        """,
        books=True,
    )


def test_what_was_taken_stays_subtracted() -> None:
    """A repeated quote shows a level of which our part is gone; only growth adds to it."""
    check("""
        0  a q 100 5 101 5
        > buy 1 ioc 4@101
        20 a q 100 5 101 5
        > buy 2 ioc 4@101
        40 a q 100 5 101 7
        > buy 3 ioc 4@101
        99 a q 100 5 101 7
        = 15 1 fill 4@101 taker
        = 35 2 fill 1@101 taker
        = 35 2 expired no_liquidity
        = 55 3 fill 2@101 taker
        = 55 3 expired no_liquidity
    """)


def test_a_level_that_vanished_forgets_what_was_taken() -> None:
    """After the best ask moved beyond the level, a new one at its price is whole."""
    check("""
        0  a q 100 5 101 5
        > buy 1 ioc 4@101
        20 a q 100 5 102 5
        21 a q 100 5 101 5
        > buy 2 ioc 4@101
        99 a q 100 5 101 7
        = 15 1 fill 4@101 taker
        = 36 2 fill 4@101 taker
    """)


def test_a_better_best_hides_a_level_without_clearing_it() -> None:
    """A level behind a better best keeps what was taken from it, and so it does over a gap."""
    check("""
        0  a q 100 5 102 5
        > buy 1 ioc 4@102
        20 a q 100 5 101 1
        21 a c gap
        22 a q 100 5 102 5
        > buy 2 ioc 4@102
        99 a q 100 5 102 5
        = 15 1 fill 4@102 taker
        = 37 2 fill 1@102 taker
        = 37 2 expired no_liquidity
    """)


@pytest.mark.parametrize(("aggressor", "filled"), [("buy", 2), ("sell", 1), ("unknown", 1)])
def test_growth_after_trades_refills(aggressor: str, filled: int) -> None:
    """A level that trades took from and that grew back counts as refilled; trades of another aggressor prove nothing."""
    check(f"""
        0  a q 100 5 101 5
        > buy 1 ioc 4@101
        20 a t 101 1 {aggressor}
        21 a q 100 5 101 4
        22 a q 100 5 101 5
        > buy 2 ioc 4@101
        99 a q 100 5 101 7
        = 15 1 fill 4@101 taker
        = 37 2 fill {filled}@101 taker
        = 37 2 expired no_liquidity
    """)


def test_what_is_not_shown_cannot_be_subtracted() -> None:
    """A level that shrank below what we took and grew again gives its growth."""
    check("""
        0  a q 100 5 101 5
        > buy 1 ioc 4@101
        21 a q 100 5 101 1
        22 a q 100 5 101 4
        > buy 2 ioc 4@101
        99 a q 100 5 101 7
        = 15 1 fill 4@101 taker
        = 37 2 fill 3@101 taker
        = 37 2 expired no_liquidity
    """)


def test_a_queue_is_passed_by_trades_only() -> None:
    """A bid stands behind the 5 seen at its arrival; trades pass them, cancellations do not, then it fills as maker."""
    check("""
        0  a q 100 5 101 5
        > buy 1 gtc 3@100
        20 a q 100 8 101 5
        21 a q 100 6 101 5
        22 a t 100 5 sell
        23 a t 100 2 sell
        24 a t 100 9 buy
        25 a t 100 9 sell
        99 b q 100 5 101 5
        = 15 1 accepted
        = 27 1 fill 2@100 maker
        = 29 1 fill 1@100 maker
    """)


def test_one_execution_seen_twice_counts_once() -> None:
    """Shrinkage below what was ahead is certain, and the trade that explains it afterwards does not advance the queue again."""
    check("""
        0  a q 100 5 101 5
        > buy 1 gtc 3@100
        20 a q 100 1 101 5
        21 a t 100 4 sell
        22 a t 100 2 sell
        99 b q 100 5 101 5
        = 15 1 accepted
        = 26 1 fill 1@100 maker
    """)


def test_trades_beyond_and_crossing_books_fill() -> None:
    """A trade below a bid fills it up to the trade's size, a book that crosses it up to what is there."""
    check("""
        0  a q 100 5 101 5
        > buy 1 gtc 9@100
        20 a t 99 2 sell
        21 a q 98 5 100 4
        22 a q 98 5 100 4
        99 b q 100 5 101 5
        = 15 1 accepted
        = 24 1 fill 2@100 maker
        = 25 1 fill 4@100 maker
    """)


def test_post_only_rests_or_is_refused() -> None:
    """A post-only order that would take is rejected; beside the market it rests, and inside the spread nobody is ahead."""
    check("""
        0  a q 100 5 103 5
        > buy 1 gtc 3@103 post
        > buy 2 gtc 3@101 post
        > buy 3 ioc 3@101 post
        20 a t 101 2 sell
        99 b q 100 5 101 5
        = 15 1 rejected post_only_would_cross
        = 15 2 accepted
        = 15 3 rejected post_only_needs_gtc
        = 24 2 fill 2@101 maker
    """)


def test_an_order_never_meets_its_own_account() -> None:
    """An order that would cross a resting one of its account is rejected."""
    check("""
        0  a q 100 5 103 5
        > buy 1 gtc 3@101
        > sell 2 ioc 3@101
        99 b q 100 5 101 5
        = 15 1 accepted
        = 15 2 rejected self_trade
    """)


def test_unknown_sizes_do_not_fill_unless_assumed() -> None:
    """A level of unknown size refuses to fill; with `assumed_qty` it holds that quantity, and what was taken stays taken."""
    table = """
        0  a q 100 - 101 -
        > buy 1 ioc 3@101
        > buy 2 fok 3@101
        99 b q 100 5 101 5
    """
    check(table + "= 15 1 expired size_unknown\n= 15 2 expired size_unknown")
    check(
        table + "= 15 1 fill 3@101 taker\n= 15 2 expired fok_unfillable",
        model=plain_model(assumed_qty=Money(4 * MONEY_ONE)),
    )


def test_the_rate_limit_slides() -> None:
    """Two orders a second: the third within a second is rejected but counts, one after it passes again, the next does not."""
    check(
        """
        0    a q 100 5 101 50
        > buy 1 ioc 1@101
        > buy 2 ioc 1@101
        999  a q 100 5 101 50
        > buy 3 ioc 1@101
        1500 a q 100 5 101 50
        > buy 4 ioc 1@101
        1600 a q 100 5 101 50
        > buy 5 ioc 1@101
        9999 b q 100 5 101 5
        = 15 1 fill 1@101 taker
        = 15 2 fill 1@101 taker
        = 1014 3 rejected rate_limit
        = 1515 4 fill 1@101 taker
        = 1615 5 rejected rate_limit
        """,
        model=plain_model(rate_limit=2),
    )


def test_an_outage_refuses_what_arrives_in_it() -> None:
    """Orders arriving in [10, 20) ms are rejected, a cancel is refused while its order stands; at 20 ms both pass."""
    check(
        """
        -1 a q 100 5 101 50
        > buy 1 gtc 1@99
        0  a q 100 5 101 50
        > buy 2 ioc 1@101
        > cancel 1
        10 a q 100 5 101 50
        > buy 3 ioc 1@101
        > cancel 1
        99 b q 100 5 101 5
        = 14 1 accepted
        = 15 2 rejected outage
        = 15 1 accepted cancel_outage
        = 25 3 fill 1@101 taker
        = 25 1 canceled
        """,
        model=plain_model(outages=(Outage(10 * MS, 20 * MS),)),
    )


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        ("buy 1 ioc 10@101", "tick"),
        ("buy 1 ioc 11@100", "lot"),
        ("buy 1 ioc 0@100", "qty"),
        ("buy 1 ioc 10@0", "price"),
        ("buy 1 ioc 2@1000", "min_qty"),
        ("buy 1 ioc 4@100", "min_notional"),
        ("buy 1 ioc 1000000@100", "balance"),
        ("sell 1 ioc 1000000@100", "balance"),
    ],
)
def test_each_check_at_arrival_refuses_by_name(order: str, reason: str) -> None:
    """Steps, minima and balances refuse an order by name."""
    mine = one(tick_int=2, lot_int=2, min_qty=Money(4 * MONEY_ONE), min_notional=Money(500 * MONEY_ONE))
    setup = setup_of([mine], opening={("main", "a", asset): Money(10**5 * MONEY_ONE) for asset in ("BTC", "USD")})
    check(f"0 a q 100 50 101 50\n> {order}\n99 a q 1 1 2 2\n= 15 1 rejected {reason}", setup=setup)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"kind": "perpetual"}, "derivative_not_supported"),
        ({"active": False}, "instrument_inactive"),
        ({"px_scale": 10, "qty_scale": 9}, "scale_too_fine"),
        ({"tick_int": None}, "steps_unknown"),
    ],
)
def test_untradable_instruments_refuse_by_name(changes: dict[str, object], reason: str) -> None:
    """Derivatives, halted instruments and those of unknown steps refuse every order."""
    check(f"0 a q 100 5 101 5\n> buy 1 ioc 1@101\n99 a q 1 1 2 2\n= 15 1 rejected {reason}", setup=setup_of([one(**changes)]))


def test_without_a_fee_tier_nothing_trades() -> None:
    """There is no default fee."""
    setup = setup_of([one()], fees={})
    check("0 a q 100 5 101 5\n> buy 1 ioc 1@101\n99 a q 1 1 2 2\n= 15 1 rejected fee_unknown", setup=setup)


def test_resting_orders_hold_their_money() -> None:
    """A resting bid holds its notional, so that the next order finds the rest; a cancel gives it back."""
    setup = setup_of([one()], opening={("main", "a", "USD"): Money(300 * MONEY_ONE)})
    venues = check(
        """
        0  a q 100 5 101 5
        > buy 1 gtc 2@100
        > buy 2 ioc 1@101
        1  a q 100 5 101 5
        > cancel 1
        2  a q 100 5 101 5
        > buy 3 ioc 1@101
        99 a q 100 5 101 5
        = 15 1 accepted
        = 15 2 rejected balance
        = 16 1 canceled
        = 17 3 fill 1@101 taker
        """,
        setup=setup,
    )
    assert venues.balances()["main", "a", "USD"] == 199 * MONEY_ONE


@pytest.mark.parametrize(("units", "told"), [(100_100, "fill 1@100 taker fee 0.1 USD"), (100_099, "rejected balance")])
def test_a_fee_in_what_is_given_must_be_free_as_well(units: int, told: str) -> None:
    """Buying for 100 USD with 0.1 % in USD takes 100.1: a thousandth less is refused."""
    tier = FeeTier(maker_ppb=Ppb(0), taker_ppb=Ppb(1_000_000), asset="quote")
    setup = setup_of([one()], fee=tier, opening={("main", "a", "USD"): Money(units * MONEY_ONE // 1000)})
    check(f"0 a q 99 5 100 5\n> buy 1 ioc 1@100\n99 a q 1 1 2 2\n= 15 1 {told}", setup=setup)


def _bnb_setup(**opening: int) -> VenueSetup:
    instruments = [one(), instrument("a", "BNB/USD")]
    tier = FeeTier(maker_ppb=Ppb(1_000_000), taker_ppb=Ppb(1_000_000), asset="BNB")
    money = {("main", "a", asset): Money(units * MONEY_ONE) for asset, units in opening.items()}
    return setup_of(instruments, fee=tier, opening=money, rates={("a", "BNB", "USD"): 1})


def test_a_third_coin_pays_the_fee_at_its_bid() -> None:
    """0.1 % of 101 USD at 7 USD a coin is rounded up at the 18th decimal; without a bid the order is rejected."""
    venues = check(
        """
        0  a q 100 5 101 5
        > buy 1 ioc 1@101
        12 b q 7 1 8 1
        20 a q 100 5 101 5
        > buy 2 ioc 1@101
        99 a q 100 5 101 5
        = 15 1 rejected fee_rate_unknown
        = 35 2 fill 1@101 taker fee 0.0144286 BNB
        """,
        setup=_bnb_setup(USD=1000, BNB=1),
    )
    assert venues.balances()["main", "a", "BNB"] == MONEY_ONE - 14_428_571_428_571_429


def test_a_resting_order_pays_at_a_rate_of_finer_scale() -> None:
    """The fee of a later fill uses the coin's bid at the scale that its instrument has by then; without a bid, the last one known."""
    table = """
        0  b q 8 1 9 1
        1  a q 100 5 101 5
        > buy 1 gtc 2@100
        20 b i px_scale=2
        21 b {later}
        22 a t 99 1 sell
        99 a q 100 5 101 5
        = 16 1 accepted
        = 26 1 fill 1@100 maker fee {fee} BNB
    """
    check(table.format(later="q 1000 1 1100 1", fee="0.01"), setup=_bnb_setup(USD=1000, BNB=1))
    check(table.format(later="c gap", fee="0.0125"), setup=_bnb_setup(USD=1000, BNB=1))


def test_without_the_coin_the_order_is_refused() -> None:
    """A fee coin that the account does not hold refuses the order."""
    table = "0 b q 7 1 8 1\n1 a q 100 5 101 5\n> buy 1 ioc 1@101\n99 a q 1 1 2 2\n= 16 1 rejected balance"
    check(table, setup=_bnb_setup(USD=1000))


@pytest.mark.parametrize(
    ("asset", "side", "fee"),
    [("quote", "buy", "0.1 USD"), ("base", "sell", "0.001 BTC"), ("received", "buy", "0.001 BTC"), ("received", "sell", "0.1 USD")],
)
def test_fees_are_charged_in_the_tiers_coin(asset: str, side: str, fee: str) -> None:
    """0.1 % of one coin at 100."""
    setup = setup_of([one()], fee=FeeTier(maker_ppb=Ppb(0), taker_ppb=Ppb(1_000_000), asset=asset))
    check(f"0 a q 100 5 100 5\n> {side} 1 ioc 1@100\n99 a q 1 1 2 2\n= 15 1 fill 1@100 taker fee {fee}", setup=setup)


def test_a_rate_must_price_its_coin_on_its_venue() -> None:
    """A rate that names another instrument is an error of the setup."""
    with pytest.raises(ConfigError, match="BTC/USD@a does not price BNB in USD on a"):
        check("0 a q 1 1 2 2", setup=setup_of([one()], rates={("a", "BNB", "USD"): 0}))
