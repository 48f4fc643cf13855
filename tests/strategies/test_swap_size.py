"""The size of a swap and of its hedge, against every size there is."""

from __future__ import annotations

import random

import pytest

from tests.instruments import spot
from xarb.model.instrument import FeeTier
from xarb.model.units import MONEY_ONE, Money, Ppb
from xarb.pools.concentrated import Concentrated
from xarb.pools.constant_product import ConstantProduct
from xarb.pools.cycle import Hop
from xarb.strategies.ladder import Level, least_of
from xarb.strategies.legs import bounded_leg, leg_terms
from xarb.strategies.swap_size import Bounds, Size, Tokens, best_size, size_at

NOW = 3_000  # dollars for a coin


def pool(draw: random.Random, units: tuple[int, int], price: float) -> ConstantProduct:
    """Some thousand coins against dollars about that price, with fee."""
    coins = draw.randrange(5, 400)
    return ConstantProduct(
        reserve0=coins * units[0],
        reserve1=int(coins * price * units[1]),
        fee_numerator=draw.choice([500, 3_000]),
        fee_denominator=10**6,
    )


def ranges(draw: random.Random) -> Concentrated:
    """A pool of two dollars that are worth the same, in two ranges."""
    made = Concentrated(fee_pips=100, tick_spacing=1, sqrt_price=1 << 96, tick=0, liquidity=0, ticks={})
    made.change(-50, 50, draw.randrange(10**11, 10**13))
    made.change(-5, 5, draw.randrange(10**10, 10**12))
    return made


def levels(draw: random.Random, side: str) -> list[Level]:
    """Five prices in cents, worse from one to the next, and sizes in thousandths."""
    price, found = NOW * 100 + draw.randrange(-3_000, 3_000), []
    for _ in range(5):
        found.append((price, draw.randrange(10, 400)))
        price += draw.randrange(1, 400) * (1 if side == "ask" else -1)
    return found


@pytest.mark.parametrize("seed", range(25))
def test_no_size_leaves_more(seed: int) -> None:
    """Both sides of a book, one pool or two, fees in quote, base or a coin, poor wallets, minima: the best there is, or none where none earns."""
    draw = random.Random(seed)  # noqa: S311  # a test's draw
    side, unit = draw.choice(["bid", "ask"]), draw.choice([10**18, 10**8])
    hops = [Hop(pool(draw, (unit, 10**6), NOW * draw.uniform(0.97, 1.03)), side == "ask")]
    if draw.random() < 0.4:
        hops = [Hop(ranges(draw), draw.random() < 0.5), *hops] if side == "bid" else [*hops, Hop(ranges(draw), draw.random() < 0.5)]
    units = Tokens(10**12, 10**18 // unit) if side == "bid" else Tokens(10**18 // unit, 10**12)
    one = spot("alpha", "ETH/USD", px_scale=2, qty_scale=3, lot_int=draw.choice([1, 7]), min_notional=Money(5 * MONEY_ONE))
    tier = FeeTier(maker_ppb=Ppb(0), taker_ppb=Ppb(draw.choice([0, 1_000_000])), asset=draw.choice(["quote", "base", "received"]))
    terms = leg_terms(0, one, side, tier)
    most = draw.choice([500, 10**6]) * MONEY_ONE
    leg = bounded_leg(terms, levels(draw, side), (10**6 * MONEY_ONE, 0), most, None)
    bounds = Bounds(draw.choice([400 * MONEY_ONE if side == "bid" else MONEY_ONE // 7, 10**24]), most)

    def may(size: Size | None) -> bool:
        return (
            size is not None
            and size.profit > 0
            and size.amounts[0] * units.unit_in <= bounds.balance
            and size.notional <= bounds.notional
            and size.qty >= least_of(leg, size.price)
            and (leg.max_qty is None or size.qty <= leg.max_qty)
            and (leg.max_spend is None or size.price * size.qty * 10**13 <= leg.max_spend)
        )

    depth = sum(qty for _, qty in leg.levels)
    every = [size_at(hops, units, leg, terms, qty) for qty in range(leg.lot, depth + 1, leg.lot)]
    good = [size.profit for size in every if size is not None and may(size)]
    found = best_size(hops, units, leg, terms, bounds)
    if found is None:
        assert not good
        return
    assert may(found)
    assert found.profit == max(good)
    if side == "bid":
        assert found.amounts[-1] * units.unit_out >= found.qty * terms.unit
    else:
        assert found.amounts[0] * units.unit_in <= found.qty * terms.unit
