"""Hypothesis generators of legs: small books, so that every size can be tried."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from xarb.strategies.ladder import Leg

ONE = 10**18
PLACES = st.sampled_from(["quote", "base", "coin"])  # where a fee is taken
MOSTLY_BASE = st.sampled_from(["base", "base", "base", "quote", "coin"])
RARELY = st.sampled_from([False, False, False, True])
FEES = st.sampled_from([0, 0, 1, 100_000, 1_000_000, 2_600_000, 30_000_000])


def fees_in(ratios: st.SearchStrategy[int], places: st.SearchStrategy[str] = PLACES) -> st.SearchStrategy[dict[str, Any]]:
    """A fee, and where it is taken, as fields of a leg."""
    return st.tuples(places, ratios).map(lambda one: {f"{one[0]}_fee_ppb": one[1]})


def steps(most: int) -> st.SearchStrategy[tuple[tuple[int, int], ...]]:
    """What moving inventory costs, mostly nothing: up to three steps from quantities of up to `most` on."""
    ratios = st.sampled_from([100_000, 2_000_000, 30_000_000])
    some = st.lists(st.tuples(st.integers(0, most), ratios), min_size=1, max_size=3).map(lambda found: tuple(sorted(found)))
    return st.one_of(st.just(()), some)


@st.composite
def legs(draw: st.DrawFn, side: str) -> Leg:
    """A sell leg ("bid": prices fall) or a buy leg ("ask": prices rise) around 100, with any fee, minima and bounds."""
    px_scale = draw(st.integers(0, 2))
    qty_scale = draw(st.integers(0, 2))
    unit = 10**px_scale
    price = draw(st.integers(98 * unit, 103 * unit))
    levels = []
    for _ in range(draw(st.integers(1, 4))):
        levels.append((price, draw(st.integers(0, 5 * 10**qty_scale + 5))))
        step = draw(st.integers(1, unit))
        price += -step if side == "bid" else step
    fees = draw(fees_in(FEES))
    bound = draw(st.integers(1, 12 * 10**qty_scale)) if draw(RARELY) else None
    spend = draw(st.integers(0, 1500 * ONE)) if side == "ask" and draw(RARELY) else None
    return Leg(
        levels,
        px_scale,
        qty_scale,
        lot=draw(st.integers(1, 4)),
        **fees,
        min_qty=draw(st.sampled_from([0, 0, 0, ONE // 100, ONE])),
        min_notional=draw(st.sampled_from([0, 0, 0, 5 * ONE, 200 * ONE])),
        max_qty=bound,
        max_spend=spend,
        moving=draw(steps(12 * 10**qty_scale)) if side == "ask" else (),
    )


@st.composite
def conversions(draw: st.DrawFn) -> tuple[Leg, bool]:
    """A conversion leg near par and whether it sells the proceeds (its bids are given) or spends them (its asks)."""
    sells = draw(st.booleans())
    qty_scale = draw(st.integers(0, 1))
    price = draw(st.integers(990, 1010))
    levels = []
    for _ in range(draw(st.integers(1, 3))):
        levels.append((price, draw(st.integers(0, 900 * 10**qty_scale))))
        price += -draw(st.integers(1, 5)) if sells else draw(st.integers(1, 5))
    fees = draw(fees_in(FEES))
    leg = Leg(
        levels,
        3,
        qty_scale,
        lot=draw(st.integers(1, 40)),
        **fees,
        min_qty=draw(st.sampled_from([0, 0, 0, ONE, 100 * ONE])),
        min_notional=draw(st.sampled_from([0, 0, 5 * ONE])),
        max_qty=draw(st.integers(0, 900 * 10**qty_scale)) if draw(RARELY) else None,
        max_spend=draw(st.integers(0, 900 * ONE)) if not sells and draw(RARELY) else None,
    )
    return leg, sells


@st.composite
def deep_legs(draw: st.DrawFn, side: str) -> Leg:
    """A leg of lots of one unit and up to 6,000 of them, around 10,000, whose fee of 5 to 50 bps is mostly taken in base."""
    price = draw(st.integers(9_990, 10_020) if side == "ask" else st.integers(10_000, 10_120))
    levels = []
    for _ in range(draw(st.integers(1, 4))):
        levels.append((price, draw(st.integers(0, 1_500))))
        step = draw(st.integers(1, 40))
        price += -step if side == "bid" else step
    fees = draw(fees_in(st.integers(500_000, 5_000_000) | st.sampled_from([500_000, 1_000_000, 2_000_000, 5_000_000]), MOSTLY_BASE))
    return Leg(
        levels,
        0,
        0,
        lot=1,
        **fees,
        min_qty=draw(st.sampled_from([0, 0, 0, 700 * ONE])),
        min_notional=draw(st.sampled_from([0, 0, 0, 9_000_000 * ONE])),
        moving=draw(steps(4_000)) if side == "ask" else (),
    )


@st.composite
def deep_conversions(draw: st.DrawFn) -> tuple[Leg, bool]:
    """A conversion leg near par with lots of one unit, up to 60,000 of them, and whether it sells the proceeds."""
    sells = draw(st.booleans())
    price = draw(st.integers(995, 1005))
    levels = []
    for _ in range(draw(st.integers(1, 3))):
        levels.append((price, draw(st.integers(0, 20_000))))
        price += -draw(st.integers(1, 3)) if sells else draw(st.integers(1, 3))
    fees = draw(fees_in(st.sampled_from([0, 100_000, 500_000])))
    least = draw(st.sampled_from([0, 0, 0, 5_000 * ONE]))
    return Leg(levels, 3, 0, lot=1, **fees, min_qty=least), sells
