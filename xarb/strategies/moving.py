"""What it costs to bring back what a bundle moves from one venue to another.

A bundle takes base from the venue where it sells to the one where it buys, and quote currency the other way. Moving an amount of an asset costs
by its worth, as far as it takes the balances further from their targets: exactly what would have to be moved more than before to reach
all targets again. With a surplus s at the venue that it leaves, and d missing at the one that it reaches, the first s + d are free; so
nothing is gained by a bundle that brings balances nearer, and nothing is paid for it. Without targets everything that moves costs.

All of it counts as a fee on the notional of the buy leg, beyond the quantity that is free, which is rounded down. Balances are those of the
ledger: what bundles under way are going to move is not known yet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from xarb.model.targets import drifts
from xarb.model.units import MONEY_SCALE, Ppb
from xarb.strategies.ladder import TEN, Level, Steps
from xarb.strategies.legs import LegTerms

_BASE: Final = "base"  # in what a move is counted: the buy leg's base or quote, or what is converted
_QUOTE: Final = "quote"
_GIVEN: Final = "given"
Balance = Callable[[str, str], int]  # venue and asset to money


class MovingTerms(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What moving assets costs, in ppb of their worth, and the targets: by asset the share of each venue, at 18 decimals."""

    costs: dict[str, Ppb]
    shares: dict[str, dict[str, int]]


class Move(NamedTuple):
    """What a bundle takes of an asset from a venue to another, where it may have another name."""

    asset: str
    source: str
    arrives_as: str
    to: str
    cost_ppb: int
    counted_in: str


class Way(NamedTuple):
    """The best price of the conversion leg and its decimals; whether it sells what is converted."""

    price: int = 1
    px_scale: int = 0
    sells: bool = True

    def turned(self, money: int) -> int:
        """What an amount is worth in the buy leg's quote asset, rounded down."""
        one = TEN[self.px_scale]
        return money * self.price // one if self.sells else money * one // self.price


def moves_of(terms: Sequence[LegTerms], costs: Mapping[str, Ppb]) -> tuple[Move, ...]:
    """What the legs of a bundle (sell, buy and, if there is one, conversion) move, of the assets whose moving costs something.

    What one leg brings to a venue and another spends there does not move.
    """
    if not costs:
        return ()
    sell, buy = terms[0].instrument, terms[1].instrument
    found = [_move(costs, (sell.base, sell.venue), (buy.base, buy.venue), _BASE)]
    if len(terms) > 2:
        way = terms[2]
        one = way.instrument
        got = one.quote if way.side == "bid" else one.base
        if one.venue != sell.venue:
            found.append(_move(costs, (way.spends, one.venue), (sell.quote, sell.venue), _GIVEN))
        if one.venue != buy.venue:
            found.append(_move(costs, (buy.quote, buy.venue), (got, one.venue), _QUOTE))
    else:
        found.append(_move(costs, (buy.quote, buy.venue), (sell.quote, sell.venue), _QUOTE))
    return tuple(move for move in found if move.cost_ppb)


def _move(costs: Mapping[str, Ppb], source: tuple[str, str], to: tuple[str, str], counted_in: str) -> Move:
    return Move(*source, *to, costs.get(source[0], 0), counted_in)


def steps_of(
    moves: Sequence[Move], shares: Mapping[str, Mapping[str, int]], balance: Balance, buy: tuple[LegTerms, list[Level]], way: Way
) -> Steps:
    """From which bought quantity on how much more of the notional moving costs, as `Leg.moving` has it.

    Args:
        moves: of the bundle.
        shares: the targets.
        balance: of the account.
        buy: terms and levels of the buy leg.
        way: the conversion's best price.
    """
    leg, levels = buy
    found = []
    for move in moves:
        free = surplus(move.asset, move.source, shares, balance) + surplus(move.arrives_as, move.to, shares, balance, sign=-1)
        if move.counted_in == _BASE:
            found.append((free // leg.unit, move.cost_ppb))
            continue
        money = way.turned(free) if move.counted_in == _GIVEN else free
        found.append((_bought_for(money, levels, TEN[MONEY_SCALE - leg.instrument.scale]), move.cost_ppb))
    return tuple(sorted(found))


def surplus(asset: str, venue: str, shares: Mapping[str, Mapping[str, int]], balance: Balance, *, sign: int = 1) -> int:
    """How far the balance lies above its target, with sign -1 below it; 0 where it does not, or there is no target."""
    mine = shares.get(asset, {})
    if venue not in mine:
        return 0
    return max(sign * drifts({one: balance(one, asset) for one in mine}, mine)[venue], 0)


def _bought_for(money: int, levels: list[Level], unit: int) -> int:
    """The quantity that an amount buys from the best level on, before fees, rounded down; all of it where the depth does not suffice."""
    total, left = 0, money // unit
    for price, qty in levels:
        if price * qty > left:
            return total + left // price
        left -= price * qty
        total += qty
    return total
