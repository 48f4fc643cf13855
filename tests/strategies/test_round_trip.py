"""The size of a cycle, against every size there is, reckoned anew in fractions."""

from __future__ import annotations

from fractions import Fraction
from random import Random

import msgspec
import pytest

from xarb.model.units import MONEY_ONE
from xarb.strategies.ladder import Leg
from xarb.strategies.round_trip import Moving, RoundTrip, Trade, best_round_trip
from xarb.strategies.sizing import TooSmall

PPB = 10**9


def one_trade(rng: Random, *, sells: bool, middle: int, lots: int) -> Trade:
    """A book of a few levels around a price, with fees of some kind, at scales of its own."""
    px_scale, qty_scale = rng.randint(0, 3), rng.randint(0, 1)
    price = middle * 10**px_scale + rng.randint(0, 9) * (10**px_scale // 10)
    levels = []
    for _ in range(rng.randint(1, 4)):
        levels.append((max(price, 1), rng.randint(1, lots) * 10**qty_scale))
        price += rng.randint(1, 3) * max(10**px_scale // 20, 1) * (-1 if sells else 1)
        if price <= 0:
            break
    fee, kind = rng.choice([0, 1_000_000, 30_000_000]), rng.choice(["quote", "base", "coin"])
    leg = Leg(
        levels,
        px_scale,
        qty_scale,
        rng.choice([1, 2, 5]) * 10 ** rng.randint(0, qty_scale),
        quote_fee_ppb=fee if kind == "quote" else 0,
        base_fee_ppb=fee if kind == "base" else 0,
        coin_fee_ppb=fee if kind == "coin" else 0,
        min_qty=rng.choice([0, 0, 2 * MONEY_ONE]),
        min_notional=rng.choice([0, 0, 5 * MONEY_ONE]),
        max_qty=rng.choice([None, 3 * lots * 10**qty_scale // 2]) if sells else None,
        max_spend=rng.choice([None, middle * lots * MONEY_ONE]) if not sells else None,
    )
    moving = Moving(rng.randint(0, 20) * MONEY_ONE, 2_000_000) if rng.random() < 0.3 else Moving()
    return Trade(leg, sells, moving)


def cycle(seed: int) -> list[Trade]:
    """Three or four trades in which about as much comes back as goes in."""
    rng = Random(seed)  # noqa: S311  # a test's draw
    lots = rng.choice([5, 30])
    trades: list[Trade] = []
    for _ in range(rng.randint(3, 4)):
        sells = rng.random() < 0.5
        trades.append(one_trade(rng, sells=sells, middle=rng.randint(1, 2) if trades else 1, lots=lots))
    return trades


def taken(trade: Trade, qty: int) -> tuple[Fraction, Fraction, Fraction, int] | None:
    """What a quantity spends, brings and costs in coins (in quote), and its limit; None where it is not allowed."""
    leg = trade.leg
    left, value, price = qty, Fraction(0), 0
    for level, size in leg.levels:
        part = min(left, size)
        if part:
            value += Fraction(level * part, 10 ** (leg.px_scale + leg.qty_scale))
            price, left = level, left - part
    if left or qty <= 0:
        return None
    base, limit = Fraction(qty, 10**leg.qty_scale), Fraction(price * qty, 10 ** (leg.px_scale + leg.qty_scale))
    if base * MONEY_ONE < leg.min_qty or limit * MONEY_ONE < leg.min_notional:
        return None
    if leg.max_qty is not None and qty > leg.max_qty:
        return None
    if leg.max_spend is not None and limit * MONEY_ONE > leg.max_spend:
        return None
    base_fee, quote_fee, coins = (Fraction(one, PPB) for one in (leg.base_fee_ppb, leg.quote_fee_ppb, leg.coin_fee_ppb))
    if trade.sells:
        return base * (1 + base_fee), value * (1 - quote_fee), value * coins, price
    return value * (1 + quote_fee), base * (1 - base_fee), value * coins, price


def first_rate(trade: Trade) -> Fraction:
    """What a unit brings at the best price."""
    spent, got, _, _ = taken(
        Trade(msgspec.structs.replace(trade.leg, min_qty=0, min_notional=0, max_qty=None, max_spend=None), trade.sells), 1
    ) or (
        Fraction(1),
        Fraction(0),
        Fraction(0),
        0,
    )
    return got / spent


def earned(trades: list[Trade], first: int, reaches: list[tuple[int, int]]) -> Fraction | None:
    """What a quantity of the first leg earns, each later leg taking all that it can pay for; None where that is not allowed.

    `reaches` is `reach` of each trade, which is slow and the same for all quantities.
    """
    worths = [Fraction(1)]
    for trade in reversed(trades[1:]):
        worths.append(worths[-1] * first_rate(trade))
    worths.reverse()
    amount = start = costs = Fraction(0)
    for at, trade in enumerate(trades):
        qty = first
        if at:
            qty = 0
            bound, most = _unbound(trade.leg), reaches[at][0]
            loose = msgspec.structs.replace(trade, leg=bound)
            while qty < most and (more := taken(loose, qty + trade.leg.lot)) and more[0] <= amount:
                qty += trade.leg.lot
            bound = _unbound(trade.leg)
            now = (
                taken(msgspec.structs.replace(trade, leg=bound), qty)
                if qty
                else (Fraction(0), Fraction(0), Fraction(0), bound.levels[0][0])
            )
            assert now is not None
            lot = Fraction(trade.leg.lot, 10**trade.leg.qty_scale)
            room = lot if trade.sells else 2 * lot * Fraction(reaches[at][1], 10**trade.leg.px_scale)
            if amount - now[0] >= room:
                return None
        found = taken(trade, qty)
        if found is None:
            return None
        spent, got, coins, _ = found
        if at == 0:
            start = spent
        costs += coins * (worths[at] if trade.sells else (worths[at - 1] if at else Fraction(1)))
        beyond = spent - Fraction(trade.moving.free, MONEY_ONE)
        costs += max(beyond, Fraction(0)) * Fraction(trade.moving.cost_ppb, PPB) * (worths[at - 1] if at else Fraction(1))
        amount = got
    return amount - start - costs


def reach(trade: Trade) -> tuple[int, int]:
    """The largest quantity that depth and bounds allow, and its limit price."""
    leg = trade.leg
    loose = msgspec.structs.replace(trade, leg=msgspec.structs.replace(leg, min_qty=0, min_notional=0))
    allowed = [qty for qty in range(leg.lot, sum(size for _, size in leg.levels) + 1, leg.lot) if taken(loose, qty)]
    found = taken(loose, allowed[-1]) if allowed else None
    return (allowed[-1], found[3]) if found else (0, leg.levels[0][0])


def _unbound(leg: Leg) -> Leg:
    return msgspec.structs.replace(leg, min_qty=0, min_notional=0, max_qty=None, max_spend=None)


def every(trades: list[Trade]) -> list[tuple[int, Fraction]]:
    """All first quantities that are allowed, with what they earn."""
    leg, reaches = trades[0].leg, [reach(one) for one in trades]
    found = []
    for qty in range(leg.lot, sum(size for _, size in leg.levels) + 1, leg.lot):
        one = earned(trades, qty, reaches)
        if one is not None:
            found.append((qty, one))
    return found


SEEDS = range(100)


@pytest.fixture(scope="module")
def compared() -> list[tuple[Fraction, Fraction]]:
    """Of each cycle with a size that earns: the best of all, and what was found, which is reckoned anew."""
    found = []
    for seed in SEEDS:
        trades = cycle(seed)
        trip, sizes = best_round_trip(trades), every(trades)
        best = max((one for _, one in sizes), default=None)
        if isinstance(trip, TooSmall):
            assert best is None or best <= 0, (seed, trip, best)
            continue
        mine = earned(trades, trip.orders[0][0], [reach(one) for one in trades])
        assert mine is not None, (seed, trip)
        assert 0 <= mine - Fraction(trip.profit, MONEY_ONE) < Fraction(1, 10**15), (seed, trip, mine)
        assert_orders(trades, trip)
        if best is not None and best > 0:
            found.append((best, mine))
    return found


def assert_orders(trades: list[Trade], trip: RoundTrip) -> None:
    """Quantities lie on the grid, limits reach as far as the book is walked."""
    for trade, (qty, price) in zip(trades, trip.orders, strict=True):
        found = taken(trade, qty)
        assert found is not None
        assert (qty % trade.leg.lot, price) == (0, found[3])


def test_the_best_size_is_found_or_nearly(compared: list[tuple[Fraction, Fraction]]) -> None:
    """In nine of ten cycles it is the best of all sizes; where lots meet far from the peak something is missed."""
    assert len(compared) > 20
    assert all(mine <= best for best, mine in compared)
    assert sum(mine == best for best, mine in compared) >= len(compared) * 9 // 10


def test_what_is_missed(compared: list[tuple[Fraction, Fraction]]) -> None:
    """Over all cycles together less than a hundredth of what the best sizes earn."""
    assert sum(mine for _, mine in compared) >= sum(best for best, _ in compared) * Fraction(99, 100)
