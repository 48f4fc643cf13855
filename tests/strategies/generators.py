"""Hypothesis generators of legs: small books, so that every size can be tried."""

from __future__ import annotations

from hypothesis import strategies as st

from xarb.strategies.sizing import Leg

ONE = 10**18
RARELY = st.sampled_from([False, False, False, True])
FEES = st.sampled_from([0, 0, 1, 100_000, 1_000_000, 2_600_000, 30_000_000])


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
    in_base = draw(st.booleans())
    fee = draw(FEES)
    bound = draw(st.integers(1, 12 * 10**qty_scale)) if draw(RARELY) else None
    spend = draw(st.integers(0, 1500 * ONE)) if side == "ask" and draw(RARELY) else None
    return Leg(
        levels,
        px_scale,
        qty_scale,
        lot=draw(st.integers(1, 4)),
        quote_fee_ppb=0 if in_base else fee,
        base_fee_ppb=fee if in_base else 0,
        min_qty=draw(st.sampled_from([0, 0, 0, ONE // 100, ONE])),
        min_notional=draw(st.sampled_from([0, 0, 0, 5 * ONE, 200 * ONE])),
        max_qty=bound,
        max_spend=spend,
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
    in_base = draw(st.booleans())
    fee = draw(FEES)
    leg = Leg(
        levels,
        3,
        qty_scale,
        lot=draw(st.integers(1, 40)),
        quote_fee_ppb=0 if in_base else fee,
        base_fee_ppb=fee if in_base else 0,
        min_qty=draw(st.sampled_from([0, 0, 0, ONE, 100 * ONE])),
        min_notional=draw(st.sampled_from([0, 0, 5 * ONE])),
        max_qty=draw(st.integers(0, 900 * 10**qty_scale)) if draw(RARELY) else None,
        max_spend=draw(st.integers(0, 900 * ONE)) if not sells and draw(RARELY) else None,
    )
    return leg, sells
