"""Where the money of a plan goes, by a second model in fractions: books, fee assets, balances and conversions at random."""

from __future__ import annotations

from collections import defaultdict
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.defaults import micro_params
from tests.strategies.board import NOW, Board, edge, spot, tier
from xarb.engine.strategy import BundlePlan, LegPlan, Pair, Wake
from xarb.model.units import MONEY_ONE, Money, Ppb
from xarb.strategies.micro import Micro

Flows = dict[tuple[str, str], Fraction]
BNB_BID, BNB_ASK = 10, 12  # their ratio times any fee is whole in ppb, where the strategy would round it up


@st.composite
def boards(draw: st.DrawFn) -> tuple[Board, Pair]:
    """A profitable-looking market of two or three legs with any fee assets and balances."""
    through = draw(st.sampled_from(["", "bid", "ask"]))
    sell_quote = "USDC" if through else "USDT"
    convert = "USDT/USDC" if through == "ask" else "USDC/USDT"
    scales = [draw(st.integers(0, 2)) for _ in range(3)]
    instruments = [
        spot(f"BTC/{sell_quote}", "a", qty_scale=scales[0], lot_int=draw(st.integers(1, 3))),
        spot("BTC/USDT", "b", qty_scale=scales[1], lot_int=draw(st.integers(1, 3))),
        spot(convert, "a", px_scale=2, qty_scale=scales[2], lot_int=draw(st.integers(1, 30))),
        spot("BNB/USDT", "x"),
        spot("BNB/USDC", "x"),
    ]
    board = Board(instruments, [([], [])] * 3 + [([(BNB_BID, 1)], [(BNB_ASK, 1)])] * 2)
    sizes = st.integers(1, 400)
    board.books[0] = ([(p, draw(sizes)) for p in (112, 108, 105)][: draw(st.integers(1, 3))], [])
    board.books[1] = ([], [(p, draw(sizes)) for p in (100, 103, 106)][: draw(st.integers(1, 3))])
    board.books[2] = ([(p, draw(sizes) * 20) for p in (98, 97)], [(p, draw(sizes) * 20) for p in (102, 103)])
    for number in range(3):
        asset = draw(st.sampled_from(["quote", "base", "received", "BNB"]))
        board.fees[number] = tier(draw(st.sampled_from([0, 100_000, 1_000_000, 2_600_000])), asset)
    for venue, asset in (("a", "BTC"), ("b", "USDT"), ("a", "USDC"), ("a", "USDT"), ("a", "BNB"), ("b", "BNB")):
        units = draw(st.sampled_from([10**6, 10**6, 3, 400] if asset != "BNB" else [10**6, 1]))
        board.own(venue, asset, units)
    return board, Pair(0, 1, 0, 0, 0, 0)._replace(convert=2 if through else -1, convert_side=through)


def settle(board: Board, leg: LegPlan, flows: Flows, *, at_limit: bool) -> Fraction:
    """Book what an order moves on its venue when it fills: against the book, or all at its limit price. What its coins cost in its quote asset."""
    one, fees = board.instruments[leg.instrument], board.fees[leg.instrument]
    unit, price_unit = Fraction(1, 10**one.qty_scale), Fraction(1, 10**one.px_scale)
    sign = 1 if leg.side == "buy" else -1
    assert leg.qty_int > 0
    assert one.lot_int
    assert leg.qty_int % one.lot_int == 0
    left, notional = leg.qty_int, Fraction(0)
    for price, size in board.books[leg.instrument][leg.side == "buy"]:
        part = min(left, size or 0) if price * sign <= leg.price_int * sign else 0
        notional += price * price_unit * part * unit
        left -= part
    assert left == 0, "the plan rests on depth that is not there"
    qty = leg.qty_int * unit
    if at_limit:
        notional = leg.price_int * price_unit * qty
    ratio = Fraction(int(fees.taker_ppb), 10**9)
    asset = {"received": "base" if leg.side == "buy" else "quote"}.get(fees.asset, fees.asset)
    flows[one.venue, one.base] += sign * qty - (qty * ratio if asset == "base" else 0)
    flows[one.venue, one.quote] += -sign * notional - (notional * ratio if asset == "quote" else 0)
    if asset != "BNB":
        return Fraction(0)
    coins = notional * ratio / BNB_BID
    flows[one.venue, "BNB"] -= coins
    return coins * BNB_ASK


def left_at_most(board: Board, leg: LegPlan, most: int) -> Fraction | None:
    """What a conversion may leave: less than a lot, two where it buys; None where depth, balances or the limit may have ended it."""
    one, asks = board.instruments[leg.instrument], leg.side == "buy"
    lot = Fraction(one.lot_int or 0, 10**one.qty_scale)
    depth = sum(size or 0 for _, size in board.books[leg.instrument][asks])
    poor = any(board.free("a", asset) < 10**6 * MONEY_ONE for asset in ("USDC", "USDT", "BNB"))
    if most < 10**6 or poor or leg.qty_int + (one.lot_int or 0) > depth:
        return None
    return 2 * lot * leg.price_int / 100 if asks else lot


@settings(max_examples=250, deadline=None)
@given(boards(), st.sampled_from(["simultaneous", "hard_leg_first"]), st.sampled_from([10**6, 700]))
def test_plans_keep_what_they_promise(case: tuple[Board, Pair], sequence: str, most: int) -> None:
    """Filled as planned: no asset is overdrawn even at the limit prices, base does not shrink, and the profit is the one stated.

    Nothing that a further lot of the conversion would take is left over.
    """
    board, pair = case
    params = micro_params(
        min_profit_ppb=Ppb(0),
        min_profit_quote=Money(0),
        max_notional_quote=Money(most * MONEY_ONE),
        sequence=sequence,
    )
    rates = {(one.venue, "BNB", one.quote): 3 if one.quote == "USDT" else 4 for one in board.instruments}
    (plan,) = Micro("m", "main", [pair], params, rates=rates, assumed_qty={}).on_wake(Wake(NOW, "open", edge()), board)
    if not isinstance(plan, BundlePlan):
        return
    actual: Flows = defaultdict(Fraction)
    cost: dict[str, Fraction] = defaultdict(Fraction)
    for leg in plan.legs:
        worst: Flows = defaultdict(Fraction)
        one = board.instruments[leg.instrument]
        cost[one.quote] += settle(board, leg, actual, at_limit=False)
        settle(board, leg, worst, at_limit=True)
        for (venue, asset), flow in worst.items():
            assert -flow * MONEY_ONE <= board.free(venue, asset), asset
        assert leg.qty_int * leg.price_int <= most * 10**one.scale
    total: dict[str, Fraction] = defaultdict(Fraction)
    for (_, asset), flow in actual.items():
        total[asset] += flow
    buy = next(leg for leg in plan.legs if leg.instrument == 1)
    lot = Fraction(int(board.instruments[1].lot_int or 0), 10 ** board.instruments[1].qty_scale)
    assert 0 <= total["BTC"] < lot, buy
    assert total["USDC"] >= 0
    for leg in plan.legs[2:]:
        most_left = left_at_most(board, leg, most)
        assert most_left is None or total["USDC"] < most_left
    usdc = Fraction(98, 100) if pair.convert_side == "bid" else Fraction(100, 102)
    assert plan.expected_profit == (total["USDT"] - cost["USDT"] - cost["USDC"] * usdc) * MONEY_ONE // 1
