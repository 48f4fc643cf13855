"""What moving inventory costs a bundle, against what would have to be moved back."""

from __future__ import annotations

from fractions import Fraction
from math import ceil, floor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.strategies.board import Board, spot, tier
from tests.strategies.test_micro import PAIR, bundle, conversion, market, micro, reason, wake
from xarb.engine.strategy import BundlePlan, Pass
from xarb.model.units import MONEY_ONE, Ppb
from xarb.strategies.legs import leg_terms
from xarb.strategies.micro import Micro
from xarb.strategies.moving import Move, MovingTerms, Way, moves_of

BPS = 100_000
Shares = dict[str, dict[str, int]]


def charged(shares: Shares | None = None, **costs: int) -> Micro:
    """A strategy to which moving an asset costs so many ppb."""
    terms = MovingTerms(costs={asset: Ppb(cost) for asset, cost in costs.items()}, shares=shares or {})
    return micro(moving=terms)


def evenly(*venues: str) -> dict[str, int]:
    """The same share for each venue."""
    return dict.fromkeys(venues, MONEY_ONE // len(venues))


def test_moving_away_costs_by_the_worth_of_what_moves() -> None:
    """Without targets everything that moves costs: 1 % of the 400 and 420 paid for eight is deducted, and told in the plan."""
    free = bundle(micro().on_wake(wake(), market()))
    found = bundle(charged(BTC=10_000_000).on_wake(wake(), market()))
    assert found.legs == free.legs
    assert found.inventory_cost == 8_200_000_000_000_000_000
    assert found.expected_profit == free.expected_profit - found.inventory_cost
    both = bundle(charged(BTC=10_000_000, USDT=5_000_000).on_wake(wake(), market()))
    assert both.inventory_cost == found.inventory_cost * 3 // 2
    assert bundle(charged(ETH=10_000_000).on_wake(wake(), market())) == free


def test_moving_nearer_to_the_targets_costs_nothing_and_brings_nothing() -> None:
    """100 BTC lie at a and none at b, and each should have half: 8 may go for nothing; where a should have all, none."""
    free = bundle(micro().on_wake(wake(), market()))
    assert bundle(charged({"BTC": evenly("a", "b")}, BTC=10_000_000).on_wake(wake(), market())) == free
    away = charged({"BTC": {"a": MONEY_ONE, "b": 0}}, BTC=10_000_000)
    assert bundle(away.on_wake(wake(), market())).inventory_cost == 8_200_000_000_000_000_000


def test_the_size_ends_where_inventory_costs_more_than_it_earns() -> None:
    """Four may go for nothing: two are too many at a, two missing at b. The fifth to eighth earn less than the 6 % that they cost."""
    board = market()
    board.own("a", "BTC", 6)
    board.own("b", "BTC", 2)
    found = bundle(charged({"BTC": evenly("a", "b")}, BTC=60_000_000).on_wake(wake(), board))
    assert found.legs[0].qty_int == 4
    assert found.inventory_cost == 0
    dear = charged({"BTC": {"a": MONEY_ONE, "b": 0}}, BTC=200_000_000)
    assert reason(dear.on_wake(wake(), board)) == "inventory_cost"


def test_a_bundle_that_only_moving_spoils_is_refused_by_that_name() -> None:
    """The pass tells what moving costs and what it could at most; without the cost the bundle was taken."""
    strategy = micro(min_profit_ppb=Ppb(60_000_000), moving=MovingTerms(costs={"BTC": Ppb(10_000_000)}, shares={}))
    (found,) = strategy.on_wake(wake(), market())
    assert isinstance(found, Pass)
    assert found.reason == "inventory_cost"
    assert found.value == 8_200_000_000_000_000_000
    assert found.bound == (54 - Fraction(820 * 6, 100)) * MONEY_ONE
    assert isinstance(bundle(micro(min_profit_ppb=Ppb(60_000_000)).on_wake(wake(), market())), BundlePlan)


def needed(balances: dict[str, int], shares: dict[str, int]) -> Fraction:
    """What has to be moved to reach the targets: the sum of what is too much."""
    total = sum(balances.values())
    return sum(
        (max(Fraction(0), balances[venue] - Fraction(total * share, MONEY_ONE)) for venue, share in shares.items()), Fraction(0)
    )


@settings(max_examples=300, deadline=None)
@given(
    st.tuples(*[st.integers(8, 40)] * 3),
    st.tuples(*[st.integers(0, 4)] * 3).filter(any),
    st.tuples(*[st.integers(900, 4_000)] * 3),
    st.tuples(*[st.integers(0, 4)] * 3).filter(any),
)
def test_the_cost_is_that_of_what_must_be_moved_back(
    coins: tuple[int, int, int], parts: tuple[int, int, int], dollars: tuple[int, int, int], more: tuple[int, int, int]
) -> None:
    """Free is what does not add to the sum of surpluses over all venues; beyond it each unit's notional costs, base and quote alike."""
    board, venues = market(), ("a", "b", "c")
    shares: Shares = {}
    held: dict[str, dict[str, int]] = {}
    for asset, amounts, portions in (("BTC", coins, parts), ("USDT", dollars, more)):
        for venue, amount in zip(venues, amounts, strict=True):
            board.own(venue, asset, amount)
        mine = {venue: MONEY_ONE * part // sum(portions) for venue, part in zip(venues, portions, strict=True)}
        mine[venues[0]] += MONEY_ONE - sum(mine.values())
        shares[asset], held[asset] = mine, dict(zip(venues, amounts, strict=True))
    found = bundle(charged(shares, BTC=3 * BPS, USDT=2 * BPS).on_wake(wake(), board))
    qty = found.legs[1].qty_int
    paid = [100] * min(qty, 4) + [105] * max(qty - 4, 0)
    expected = Fraction(0)
    steps = [held["BTC"] | {"a": held["BTC"]["a"] - sold, "b": held["BTC"]["b"] + sold} for sold in range(1, qty + 1)]
    free = max(
        [sold for sold, after in enumerate(steps, 1) if needed(after, shares["BTC"]) <= needed(held["BTC"], shares["BTC"])],
        default=0,
    )
    expected += sum(paid[free:]) * Fraction(3, 10_000)
    spent = sum(paid)
    after = held["USDT"] | {"a": held["USDT"]["a"] + spent, "b": held["USDT"]["b"] - spent}
    beyond = max(needed(after, shares["USDT"]) - needed(held["USDT"], shares["USDT"]), Fraction(0))
    free, left = 0, spent - beyond
    while free < qty and paid[free] <= left:  # whole coins only
        left -= paid[free]
        free += 1
    expected += sum(paid[free:]) * Fraction(2, 10_000)
    assert found.inventory_cost == ceil(expected * MONEY_ONE)


@pytest.mark.parametrize(
    ("at", "side", "expected"),
    [
        ("a", "bid", (Move("USDT", "b", "USDT", "a", 2, "quote"),)),  # what is sold for USDC is USDT at once
        ("b", "bid", (Move("USDC", "b", "USDC", "a", 3, "given"),)),  # what b spends came in at b
        ("c", "bid", (Move("USDC", "c", "USDC", "a", 3, "given"), Move("USDT", "b", "USDT", "c", 2, "quote"))),
        ("c", "ask", (Move("USDC", "c", "USDC", "a", 3, "given"), Move("USDT", "b", "USDT", "c", 2, "quote"))),
    ],
)
def test_what_one_leg_brings_and_another_spends_does_not_move(at: str, side: str, expected: tuple[Move, ...]) -> None:
    """Beside base, a conversion moves what it spends where it did not come in, and what is spent where the conversion does not yield it."""
    way = spot("USDC/USDT" if side == "bid" else "USDT/USDC", at)
    legs = [(spot("BTC/USDC", "a"), "bid"), (spot("BTC/USDT", "b"), "ask"), (way, side)]
    terms = [leg_terms(number, one, taken, tier(0)) for number, (one, taken) in enumerate(legs)]
    base = Move("BTC", "a", "BTC", "b", 1, "base")
    assert moves_of(terms, {"BTC": Ppb(1), "USDT": Ppb(2), "USDC": Ppb(3)}) == (base, *expected)
    assert moves_of(terms, {"BTC": Ppb(1)}) == (base,)


def test_what_is_converted_is_free_by_its_worth_at_the_best_price() -> None:
    """USDC too much where they are converted cost nothing to leave, as far as they go in the buy leg's currency, rounded down to whole coins."""
    for side, turned in (("bid", 98), ("ask", 102)):
        board, pair = conversion(side)
        board.own("c", "USDC", 600)
        board.own("a", "USDC", 0)
        shares = {"USDC": {"a": MONEY_ONE // 3, "c": MONEY_ONE - MONEY_ONE // 3}}  # 200 too much at c, and 200 missing at a
        terms = MovingTerms(costs={"USDC": Ppb(10_000_000)}, shares=shares)
        found = bundle(micro((pair,), moving=terms).on_wake(wake(), board))
        worth = Fraction(400 * turned, 100) if side == "bid" else Fraction(400 * 100, turned)
        free = floor(worth / 100)
        assert found.inventory_cost == (5 - free) * 100 * MONEY_ONE // 100


def test_ways_turn_amounts_down() -> None:
    """Against us in either direction."""
    assert Way(98, 2, sells=True).turned(101) == 98
    assert Way(102, 2, sells=False).turned(101) == 99
    assert Way().turned(7) == 7


def test_a_venue_outside_the_targets_gets_nothing_for_free() -> None:
    """Where a has no share of bitcoin, and the others lack none, what leaves it costs."""
    board: Board = market()
    board.own("b", "BTC", 5)
    found = bundle(charged({"BTC": {"b": MONEY_ONE}}, BTC=10_000_000).on_wake(wake(), board))
    assert found.inventory_cost == 8_200_000_000_000_000_000
    assert PAIR.convert < 0
