"""The micro strategy on hand-written markets: what it plans, why it passes, and what it remembers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from tests.defaults import micro_params
from tests.strategies.board import NOW, Board, edge, spot, tier
from xarb.engine.strategy import BundlePlan, Entry, LegPlan, Pair, Pass, Wake
from xarb.model.units import MONEY_ONE, NANOS_PER_S, Money, Ppb
from xarb.strategies.micro import Micro, MicroParams, MicroState

PAIR = Pair(0, 1, 0, 0, 0, 0)


def params(**changes: object) -> MicroParams:
    """Parameters that take any profit above zero."""
    plain = {"min_profit_ppb": Ppb(1), "min_profit_quote": Money(1), "max_notional_quote": Money(10**6 * MONEY_ONE)}
    return micro_params(**(plain | changes))


def market() -> Board:
    """BTC/USDT: sell at a (110, 108), buy at b (100, 105), money on both sides, no fees."""
    board = Board(
        [spot("BTC/USDT", "a"), spot("BTC/USDT", "b")],
        [([(110, 5), (108, 5), (104, 9)], [(111, 9)]), ([(99, 9)], [(100, 4), (105, 4), (109, 9)])],
    )
    board.own("a", "BTC", 100)
    board.own("b", "USDT", 10_000)
    return board


def micro(pairs: tuple[Pair, ...] = (PAIR,), **changes: object) -> Micro:
    """A strategy on the pair."""
    return Micro("m", "main", pairs, params(**changes), rates={}, assumed_qty={})


def wake(kind: str = "open") -> Wake:
    """A wake on the first pair's episode."""
    return Wake(NOW, kind, None if kind == "timer" else edge())


def reason(plans: object) -> str | None:
    """The reason of a single pass, None where there is nothing."""
    assert isinstance(plans, list | tuple)
    if not plans:
        return None
    (one,) = plans
    assert isinstance(one, Pass)
    return one.reason


def bundle(plans: object) -> BundlePlan:
    """The single bundle."""
    assert isinstance(plans, list)
    (one,) = plans
    assert isinstance(one, BundlePlan)
    return one


def test_walks_both_books_as_far_as_they_earn() -> None:
    """Eight are traded: the last bid used is 108, the last ask 105; the next pair of levels would lose."""
    found = bundle(micro().on_wake(wake(), market()))
    assert found.legs == (LegPlan(0, "sell", 108, 8), LegPlan(1, "buy", 105, 8))
    assert found.expected_profit == (5 * 110 + 3 * 108 - 4 * 100 - 4 * 105) * MONEY_ONE
    assert (found.profit_asset, found.quote_seqs, found.sequence) == ("USDT", (100, 101), "simultaneous")


def test_a_fee_in_base_buys_more_than_it_sells() -> None:
    """With 0.1 % taken from what is received, 1 BTC bought is 0.999 to sell."""
    board = Board(
        [spot("BTC/USDT", "a", qty_scale=3), spot("BTC/USDT", "b", qty_scale=3)],
        [([(110, 999)], []), ([], [(100, 1000)])],
    )
    board.fees[1] = tier(1_000_000, "received")
    board.own("a", "BTC", 10)
    board.own("b", "USDT", 1000)
    found = bundle(micro().on_wake(wake(), board))
    assert found.legs == (LegPlan(0, "sell", 110, 999), LegPlan(1, "buy", 100, 1000))
    assert found.expected_profit == (110 * 999 - 100 * 1000) * MONEY_ONE // 1000


def test_an_open_breaker_is_passed_by() -> None:
    """Told once; whichever leg's venue it is."""
    for venue in "ab":
        board, strategy = market(), micro()
        board.entries[venue] = Entry("none")
        assert reason(strategy.on_wake(wake(), board)) == "breaker_open"
        assert reason(strategy.on_wake(wake("improvement"), board)) is None
        del board.entries[venue]
        bundle(strategy.on_wake(wake("improvement"), board))


@pytest.mark.parametrize("venue", ["a", "b"])
def test_a_probe_is_as_small_as_can_be(venue: str) -> None:
    """One lot, or twice as much until the ratio is earned; the least profit in quote is not asked for."""
    board = market()
    board.entries[venue] = Entry("probe")
    few: dict[str, Any] = {"min_profit_quote": Money(15 * MONEY_ONE)}
    assert bundle(micro(**few).on_wake(wake(), board)).legs == (LegPlan(0, "sell", 110, 1), LegPlan(1, "buy", 100, 1))
    board.instruments[0] = spot("BTC/USDT", "a", min_qty=Money(3 * MONEY_ONE))
    assert bundle(micro(**few).on_wake(wake(), board)).legs == (LegPlan(0, "sell", 110, 3), LegPlan(1, "buy", 100, 3))
    board = market()
    board.entries[venue] = Entry("probe")
    board.fees = [tier(0), tier(300_000, "base")]
    board.own("a", "BTC", 10_000)
    board.own("b", "USDT", 10_000_000)
    board.books = [([(110, 5000)], [(111, 9)]), ([(99, 9)], [(100, 5000)])]
    probe = bundle(micro(min_profit_ppb=Ppb(99_000_000)).on_wake(wake(), board))
    assert probe.legs == (LegPlan(0, "sell", 110, 2048), LegPlan(1, "buy", 100, 2049))


def test_a_probe_keeps_its_bound() -> None:
    """On the venue that it is for; beyond it there is none."""
    board = market()
    board.entries["b"] = Entry("probe", Money(300 * MONEY_ONE))
    board.instruments[0] = spot("BTC/USDT", "a", min_qty=Money(3 * MONEY_ONE))
    assert bundle(micro().on_wake(wake(), board)).legs[1] == LegPlan(1, "buy", 100, 3)
    board.entries["b"] = Entry("probe", Money(299 * MONEY_ONE))
    assert reason(micro().on_wake(wake(), board)) == "max_notional"


def conversion(side: str) -> tuple[Board, Pair]:
    """BTC sold for USDC at a, bought for USDT at b, converted at c by selling USDC ("bid") or buying USDT ("ask")."""
    symbol, book = ("USDC/USDT", ([(98, 900)], [(102, 900)])) if side == "bid" else ("USDT/USDC", ([(98, 900)], [(102, 900)]))
    board = Board(
        [spot("BTC/USDC", "a"), spot("BTC/USDT", "b"), spot(symbol, "c", px_scale=2)],
        [([(110, 5)], []), ([], [(100, 5)]), (book[0], book[1])],
    )
    board.own("a", "BTC", 100)
    board.own("b", "USDT", 10_000)
    board.own("c", "USDC", 10_000)
    return board, PAIR._replace(convert=2, convert_side=side)


@pytest.mark.parametrize(
    ("side", "leg", "income"),
    [("bid", LegPlan(2, "sell", 98, 550), 539), ("ask", LegPlan(2, "buy", 102, 539), 539)],
)
def test_conversion_is_a_leg_of_the_bundle(side: str, leg: LegPlan, income: int) -> None:
    """550 USDC are turned into USDT at the conversion's book, in whole lots, as the third leg."""
    board, pair = conversion(side)
    found = bundle(micro((pair,)).on_wake(wake(), board))
    assert found.legs[2] == leg
    assert found.expected_profit == (income - 500) * MONEY_ONE
    assert found.quote_seqs == (100, 101, 102)


def test_a_third_coin_is_paid_from_its_own_balance() -> None:
    """A fee in BNB counts at BNB's ask, is bounded by the BNB there are, and its price's row is one that the plan rests on."""
    board = market()
    board.instruments.append(spot("BNB/USDT", "b"))
    board.books.append(([(10, 1)], [(12, 1)]))
    board.seqs.append(102)
    board.times.append(NOW)
    board.tradable.append(True)
    board.fees = [tier(0), tier(10_000_000, "BNB"), tier(0)]
    strategy = Micro("m", "main", (PAIR,), params(), rates={("b", "BNB", "USDT"): 2}, assumed_qty={})
    assert reason(strategy.on_wake(wake(), board)) == "balance"
    board.own("b", "BNB", 1)  # pays 1 % of 1000 USDT at 10 USDT: 10 BTC would cost more
    found = bundle(strategy.on_wake(wake("improvement"), board))
    assert found.legs[1] == LegPlan(1, "buy", 105, 8)
    assert found.expected_profit == 54 * MONEY_ONE - 820 * MONEY_ONE * 12 // 1000
    assert found.quote_seqs == (100, 101, 102)
    board.tradable[2] = False
    assert (
        reason(Micro("m", "main", (PAIR,), params(), rates={("b", "BNB", "USDT"): 2}, assumed_qty={}).on_wake(wake(), board))
        == "fee_rate_unknown"
    )
    board.tradable[2] = True
    elsewhere = {("a", "BNB", "USDT"): 2, ("b", "BNB", "USDC"): 2}
    assert (
        reason(Micro("m", "main", (PAIR,), params(), rates=elsewhere, assumed_qty={}).on_wake(wake(), board)) == "fee_rate_unknown"
    )
    assert reason(micro().on_wake(wake(), board)) == "fee_rate_unknown"


def test_a_rebate_in_a_third_coin_is_worth_nothing() -> None:
    """It needs neither the coin nor its price, and adds nothing to the profit."""
    plain, board = market(), market()
    board.fees = [tier(-10_000_000, "BNB"), tier(-10_000_000, "BNB"), tier(0)]
    plans = [bundle(micro().on_wake(wake(), one)) for one in (plain, board)]
    assert plans[0] == plans[1]


def test_lots_of_two_venues_meet_at_their_common_multiple() -> None:
    """Lots of 2 and 3 trade 6 at a time."""
    board = market()
    board.instruments = [spot("BTC/USDT", "a", lot_int=2), spot("BTC/USDT", "b", lot_int=3)]
    assert [leg.qty_int for leg in bundle(micro().on_wake(wake(), board)).legs] == [6, 6]


def test_hard_leg_goes_first() -> None:
    """The leg with less depth up to its limit price, in multiples of its order, is the first one; without that policy the sale is."""
    board = market()
    assert [leg.side for leg in bundle(micro(sequence="hard_leg_first").on_wake(wake(), board)).legs] == ["buy", "sell"]
    board.books[1] = (board.books[1][0], [(100, 4), (105, 90)])
    assert [leg.side for leg in bundle(micro(sequence="hard_leg_first").on_wake(wake(), board)).legs] == ["sell", "buy"]


def _balance_a(board: Board) -> None:
    board.money.pop(("a", "BTC"))


def _balance_b(board: Board) -> None:
    board.money.pop(("b", "USDT"))


def _stale(board: Board) -> None:
    board.times[1] = NOW - NANOS_PER_S - 1


def _untradable(board: Board) -> None:
    board.tradable[0] = False


def _no_size(board: Board) -> None:
    board.books[0] = ([(110, None)], [])


def _empty(board: Board) -> None:
    board.books[1] = ([], [])


def _perpetual(board: Board) -> None:
    board.instruments[0] = spot("BTC/USDT", "a", kind="perpetual")


def _halted(board: Board) -> None:
    board.instruments[1] = spot("BTC/USDT", "b", active=False)


def _stepless(board: Board) -> None:
    board.instruments[1] = spot("BTC/USDT", "b", lot_int=None)


def _fine(board: Board) -> None:
    board.instruments[1] = spot("BTC/USDT", "b", px_scale=10, qty_scale=10)


def _minimum(board: Board) -> None:
    board.instruments[1] = spot("BTC/USDT", "b", min_qty=Money(99 * MONEY_ONE))


def _fee(board: Board) -> None:
    board.fees[0] = tier(200_000_000)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (_balance_a, "balance"),
        (_balance_b, "balance"),
        (_stale, "stale_quote"),
        (_untradable, "feed_not_tradable"),
        (_no_size, "unknown_size"),
        (_empty, "depth"),
        (_perpetual, "derivative_not_supported"),
        (_halted, "instrument_inactive"),
        (_stepless, "steps_unknown"),
        (_fine, "scale_too_fine"),
        (_minimum, "depth"),
        (_fee, "min_profit_bps"),
    ],
)
def test_the_market_refuses(change: Callable[[Board], None], expected: str) -> None:
    """Each thing that a trade needs is missed by name."""
    board = market()
    change(board)
    assert reason(micro().on_wake(wake(), board)) == expected


@pytest.mark.parametrize(
    ("changes", "expected", "value", "bound"),
    [
        ({"max_notional_quote": Money(99 * MONEY_ONE)}, "max_notional", 0, MONEY_ONE),
        ({"max_open_bundles": 0}, "max_open_bundles", 0, 0),
        ({"min_profit_quote": Money(55 * MONEY_ONE)}, "min_profit_quote", 54 * MONEY_ONE, 55 * MONEY_ONE),
        ({"min_profit_ppb": Ppb(70_000_000)}, "min_profit_bps", 65_853_658 * 10**9, 70_000_000 * 10**9),
    ],
)
def test_the_limits_refuse(changes: dict[str, Any], expected: str, value: int, bound: int) -> None:
    """Each limit trips with what was asked and what is allowed; the ratio is of the buy notional (54 of 820)."""
    strategy = micro(**changes)
    (found,) = strategy.on_wake(wake(), market())
    assert found == Pass(opportunity=1, reason=expected, value=Money(value), bound=Money(bound))


def test_premium_and_abnormal_edges_are_never_traded() -> None:
    """A pair through a peg, and an edge beyond the guard, are recorded only."""
    assert reason(micro((PAIR._replace(premium=True),)).on_wake(wake(), market())) == "premium"
    assert reason(micro().on_wake(Wake(NOW, "open", edge(abnormal=True)), market())) == "abnormal_edge"


def test_assumed_size_is_used_where_the_config_gives_it() -> None:
    """Unknown sizes take the venue's assumed one, at the instrument's scale."""
    board = market()
    board.books[0] = ([(110, None)], [])
    strategy = Micro("m", "main", (PAIR,), params(), rates={}, assumed_qty={"a": Money(3 * MONEY_ONE)})
    assert bundle(strategy.on_wake(wake(), board)).legs == (LegPlan(0, "sell", 110, 3), LegPlan(1, "buy", 100, 3))


def test_a_conversion_that_is_too_small_or_stale() -> None:
    """The conversion's own minima, money and age refuse the bundle."""
    board, pair = conversion("bid")
    board.money.pop(("c", "USDC"))
    assert reason(micro((pair,)).on_wake(wake(), board)) == "conversion"
    board, pair = conversion("bid")
    board.times[2] = NOW - 2 * NANOS_PER_S
    assert reason(micro((pair,)).on_wake(wake(), board)) == "stale_quote"


def test_a_reason_is_told_once_in_an_episode() -> None:
    """The timer repeats a refusal only when the reason is another or the episode is new."""
    board, strategy = market(), micro()
    board.standing = [edge()]
    board.times[0] = 0
    assert reason(strategy.on_wake(wake("timer"), board)) == "stale_quote"
    assert reason(strategy.on_wake(wake("timer"), board)) is None
    board.tradable[0] = False
    assert reason(strategy.on_wake(wake("timer"), board)) == "feed_not_tradable"
    board.tradable[0] = True
    assert reason(strategy.on_wake(wake("timer"), board)) is None
    board.standing = [edge(opportunity=2)]
    assert reason(strategy.on_wake(wake("timer"), board)) == "stale_quote"


def test_close_forgets_the_episode() -> None:
    """A closed episode leaves no memory of its reasons and plans nothing."""
    board, strategy = market(), micro()
    board.times[0] = 0
    strategy.on_wake(wake(), board)
    assert strategy.on_wake(wake("close"), board) == ()
    assert strategy.state == MicroState()


def test_one_bundle_of_a_pair_at_a_time() -> None:
    """While its bundle is open a pair waits in silence; the bundle's end lets it trade what is left of the same rows."""
    board, strategy = market(), micro(max_notional_quote=Money(300 * MONEY_ONE))
    board.standing = [edge()]
    assert bundle(strategy.on_wake(wake(), board)).legs[1] == LegPlan(1, "buy", 100, 2)
    board.bundles = 1
    assert strategy.on_wake(wake("timer"), board) == []
    board.bundles = 0
    assert bundle(strategy.on_wake(wake("rearm"), board)).legs[1] == LegPlan(1, "buy", 100, 2)
    assert bundle(strategy.on_wake(wake("rearm"), board)).legs[1] == LegPlan(1, "buy", 105, 2)


def test_a_plan_is_not_repeated_on_the_rows_on_which_risk_refused_it() -> None:
    """Without an open bundle and on the same rows nothing is planned again; a new row is a new chance, with its liquidity whole."""
    board, strategy = market(), micro()
    board.standing = [edge()]
    bundle(strategy.on_wake(wake(), board))
    assert strategy.on_wake(wake("timer"), board) == []
    board.seqs = [200, 201]
    assert bundle(strategy.on_wake(wake("timer"), board)).legs[0] == LegPlan(0, "sell", 108, 8)


def test_sides_in_flight_are_left_alone_by_other_pairs() -> None:
    """Two pairs that buy at the same asks: the better one plans, the other passes until the first is done or times out."""
    board = market()
    board.instruments.append(spot("BTC/USDT", "c"))
    board.books.append(([(112, 5)], []))
    board.seqs.append(102)
    board.times.append(NOW)
    board.tradable.append(True)
    board.fees.append(tier(0))
    board.own("c", "BTC", 100)
    strategy = micro((PAIR, Pair(2, 1, 0, 0, 0, 0)))
    board.standing = [edge(0, ppb=10), edge(1, opportunity=2, ppb=20)]
    first, second = strategy.on_wake(wake("timer"), board)
    assert isinstance(first, BundlePlan)
    assert first.opportunity == 2
    assert second == Pass(opportunity=1, reason="leg_in_flight")
    board.bundles = 1
    board.now += 5 * NANOS_PER_S
    board.seqs, board.times = [300, 301, 302], [board.now] * 3
    assert isinstance(strategy.on_wake(wake("timer"), board)[0], BundlePlan)


def test_plans_of_one_wake_share_the_money() -> None:
    """The second plan of a wake spends what the first has left."""
    board = market()
    board.instruments += [spot("ETH/USDT", "a"), spot("ETH/USDT", "b")]
    board.books += [([(110, 5)], []), ([], [(100, 5)])]
    board.seqs += [102, 103]
    board.times += [NOW, NOW]
    board.tradable += [True, True]
    board.fees += [tier(0), tier(0)]
    board.own("a", "ETH", 100)
    board.own("b", "USDT", 1_000)
    board.standing = [edge(0, ppb=20), edge(1, opportunity=2, ppb=10)]
    plans = micro((PAIR, Pair(2, 3, 0, 0, 0, 0))).on_wake(wake("timer"), board)
    assert [plan.legs[1].qty_int for plan in plans if isinstance(plan, BundlePlan)] == [8, 1]  # 8 at 105, then 160 are left


def test_cool_down() -> None:
    """After a bundle a pair rests from the bundle's end on."""
    board, strategy = market(), micro(cool_down_ns=NANOS_PER_S)
    bundle(strategy.on_wake(wake(), board))
    board.now += NANOS_PER_S // 2
    board.times, board.seqs = [board.now] * 2, [200, 201]
    assert reason(strategy.on_wake(Wake(board.now, "rearm", edge()), board)) == "cool_down"
    board.now += NANOS_PER_S - 1
    board.times = [board.now] * 2
    assert reason(strategy.on_wake(Wake(board.now, "timer"), board)) is None
    board.standing = [edge()]
    assert reason(strategy.on_wake(Wake(board.now, "timer"), board)) is None
    board.now += 1
    assert bundle(strategy.on_wake(Wake(board.now, "rearm", edge()), board))


def test_wrong_parameters_are_refused() -> None:
    """A sequence that does not exist and negative or empty limits are named."""
    for name, value in (("sequence", "both"), ("max_levels", 0), ("cool_down_ns", -1)):
        with pytest.raises(ValueError, match=name):
            params(**{name: value})


def test_state_is_one_struct_of_plain_values() -> None:
    """The memory goes through msgspec unchanged, so that a checkpoint can hold it."""
    board, strategy = market(), micro(cool_down_ns=1)
    strategy.on_wake(wake(), board)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(strategy.state), type=MicroState) == strategy.state


def test_wakes() -> None:
    """It asks for its pairs' edges and for the scan timer while one stands."""
    found = micro(scan_ns=5, min_life_ns=6, improve_ppb=7, max_edge_ppb=8).wakes()
    assert (found.pairs, found.timer_ns, found.timer_needs_edge) == ((PAIR,), 5, True)
    assert (found.min_life_ns, found.improve_ppb, found.max_edge_ppb) == (6, 7, 8)
