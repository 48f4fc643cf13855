"""What one leg may do: how its fee is taken, what it draws on, and how far balances and limits let it go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from xarb.model.instrument import FeeTier, Instrument
from xarb.model.units import MONEY_ONE, MONEY_SCALE, PPB, ceil_div
from xarb.strategies.ladder import Leg, Level

_TEN: Final[tuple[int, ...]] = tuple(10**power for power in range(64))


class Rate(msgspec.Struct, frozen=True):
    """What a fee coin costs in the leg's quote asset: the bid at which a venue prices it and the ask at which it is bought back."""

    bid: int
    ask: int
    px_scale: int


class LegTerms(msgspec.Struct, frozen=True):
    """A leg's fixed terms: the side of the book that it takes, and how its taker fee is charged.

    One of the three fee parts is the tier's taker fee, or none: a rebate in a third coin is worth nothing to us. `spends` is the asset that
    it draws on: base for "bid", quote for "ask".
    """

    number: int
    instrument: Instrument
    side: str  # "bid": it sells into bids; "ask": it buys from asks
    quote_fee_ppb: int
    base_fee_ppb: int
    coin: str
    coin_fee_ppb: int
    spends: str
    refused: str | None  # why orders on it are refused by name
    key: int  # number of this side of the instrument's book
    unit: int  # one step of quantity at 18 decimals


def leg_terms(number: int, instrument: Instrument, side: str, tier: FeeTier) -> LegTerms:
    """The terms of taking `side` of an instrument's book under a fee tier."""
    asset = tier.asset
    if asset == "received":
        asset = "base" if side == "ask" else "quote"
    elif asset == instrument.quote:
        asset = "quote"
    elif asset == instrument.base:
        asset = "base"
    fee = int(tier.taker_ppb)
    is_coin = asset not in {"quote", "base"} and fee > 0
    return LegTerms(
        number,
        instrument,
        side,
        fee if asset == "quote" else 0,
        fee if asset == "base" else 0,
        asset if is_coin else "",
        fee if is_coin else 0,
        instrument.base if side == "bid" else instrument.quote,
        instrument.untradable_because(),
        number * 2 + (side == "ask"),
        _TEN[max(MONEY_SCALE - instrument.qty_scale, 0)],
    )


def draws_of(terms: Sequence[LegTerms]) -> list[tuple[int, int]]:
    """For each leg how many draw on the balance that it spends, and on that of its fee coin."""
    found = []
    for leg in terms:
        near = [one for one in terms if one.instrument.venue == leg.instrument.venue]
        found.append(tuple(sum((one.spends == asset) + (one.coin == asset) for one in near) for asset in (leg.spends, leg.coin)))
    return [(spends, coins) for spends, coins in found]


def bounded_leg(terms: LegTerms, levels: list[Level], funds: tuple[int, int], most: int, rate: Rate | None) -> Leg:
    """The leg as the size search takes it; what buying back the coins of a fee costs is rounded up to a whole ppb of the notional.

    Args:
        terms: its terms; `refused` is None.
        levels: at least one level, best first, quantities known.
        funds: free money of the asset that it spends, and of its fee coin.
        most: the largest notional in its quote asset.
        rate: price of the fee coin, None without one.
    """
    one = terms.instrument
    free, free_coin = funds
    spend, bound = most, "max_notional"
    coins = 0
    if rate is not None:
        coins = ceil_div(terms.coin_fee_ppb * rate.ask, rate.bid)
        payable = free_coin * rate.bid * PPB // (_TEN[rate.px_scale] * terms.coin_fee_ppb)
        if payable < spend:
            spend, bound = payable, "balance"
    max_qty = max_spend = None
    if terms.side == "bid":
        # A sale never brings more than its quantity at the best bid.
        unit = _TEN[one.px_scale + one.qty_scale]
        max_qty = spend * unit // (levels[0][0] * MONEY_ONE)
        owned = free * PPB // (PPB + terms.base_fee_ppb) // terms.unit
        if owned < max_qty:
            max_qty, bound = owned, "balance"
    else:
        max_spend = spend
        owned = free * PPB // (PPB + terms.quote_fee_ppb)
        if owned < max_spend:
            max_spend, bound = owned, "balance"
    return Leg(
        levels,
        one.px_scale,
        one.qty_scale,
        one.lot_int or 1,
        terms.quote_fee_ppb,
        terms.base_fee_ppb,
        coins,
        one.min_qty or 0,
        one.min_notional or 0,
        max_qty,
        max_spend,
        bound,
    )


def spent_by(terms: LegTerms, price: int, qty: int, rate: Rate | None) -> tuple[int, int]:
    """The most that an order takes of the asset that it spends and of its fee coin, fees included, rounded up."""
    value = price * qty * _TEN[MONEY_SCALE - terms.instrument.scale]
    if terms.side == "bid":
        sold = qty * terms.unit
        spent = sold - (-sold * max(terms.base_fee_ppb, 0) // PPB)
    else:
        spent = value - (-value * max(terms.quote_fee_ppb, 0) // PPB)
    if rate is None:
        return spent, 0
    return spent, ceil_div(value * terms.coin_fee_ppb * _TEN[rate.px_scale], rate.bid * PPB)


def without(levels: list[Level], qty: int) -> list[Level]:
    """The levels that are left after `qty` was taken from the best on."""
    left = []
    for price, size in levels:
        part = min(size, qty)
        qty -= part
        if size > part:
            left.append((price, size - part))
    return left
