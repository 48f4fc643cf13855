"""Others on our account in some worlds: somebody who trades there by hand or by another program, and brings money or takes it away.

Drawn apart, so that worlds without them are what they would be.
"""

from __future__ import annotations

import random
from decimal import Decimal
from functools import partial
from typing import Final, NamedTuple

from xarb.model.units import MONEY_ONE, NANOS_PER_MS, NANOS_PER_S
from xarb.simulation.exchange import Exchange, Wish
from xarb.simulation.world import World

_MEETS: Final = 0.05  # worlds in which somebody else is on the account
_RESTS: Final = 0.4  # of their orders, those that rest for a while
_AWAY: Final = 60  # cents of price by which an order that rests is away from the market
_LATER: Final = 0.6  # of such worlds, those whose market goes on when a start is older than ten seconds
_TRANSFER: Final = 0.25  # of what they do, what moves money and is no trade
_CENTS: Final = 10_000  # about the price of a BTC
_LOTS: Final = 100_000  # of one BTC
_BOUNDS: Final = ("0", "40", "100", "100", "100000")
_NAMES: Final = ("web_1f", "x-shop-7", "")  # of their orders, which need not have one


class Act(NamedTuple):
    """What a stranger does: an order, or a transfer.

    Attributes:
        share_ppm: when, in millionths of the market's time. place: at which exchange, in millionths of their number.
        asset: what is moved, empty for an order. cents: its worth, negative where it is sold or taken away.
        rests_ns: how long an order rests away from the market, 0: it takes what is there.
        pending_ns: how long a transfer is under way.
        name: of the order.
    """

    share_ppm: int
    place: int
    asset: str
    cents: int
    rests_ns: int
    pending_ns: int
    name: str


class Met(NamedTuple):
    """Who else is on the account: what they do, what their fills of a day may come to, and after which pause the market goes on, ns; 0: it does not."""

    acts: tuple[Act, ...] = ()
    bound: Decimal = Decimal(100)
    pause_ns: int = 0


def draw_strangers(seed: int) -> Met:
    """Who else is on the account of a world, mostly nobody."""
    draw = random.Random(f"strangers {seed}")  # noqa: S311  # a case is to be drawn again
    if draw.random() >= _MEETS:
        return Met()
    bound = Decimal(draw.choice(_BOUNDS))
    pause_ns = draw.randrange(10 * NANOS_PER_S, 14 * NANOS_PER_S) if draw.random() < _LATER else 0
    return Met(tuple(_act(draw) for _ in range(draw.choice([1, 2, 3, 5]))), bound, pause_ns)


def _act(draw: random.Random) -> Act:
    is_transfer = draw.random() < _TRANSFER
    return Act(
        share_ppm=draw.randrange(1_000_000),
        place=draw.randrange(1_000_000),
        asset=draw.choice(["BTC", "USDT"]) if is_transfer else "",
        cents=draw.randrange(200, 6_000) * draw.choice([1, -1]),
        rests_ns=draw.randrange(NANOS_PER_S, 6 * NANOS_PER_S) if draw.random() < _RESTS else 0,
        pending_ns=draw.choice([0, 500 * NANOS_PER_MS, 8 * NANOS_PER_S]),
        name=draw.choice(_NAMES),
    )


def let_act(world: World, exchanges: list[Exchange], one: Act, *, at: int) -> None:
    """Have a stranger do something at a time of the world."""
    exchange = exchanges[one.place * len(exchanges) // 1_000_000]
    if not one.asset:
        world.at(at, partial(_trade, exchange, one))
    else:
        amount = one.cents * MONEY_ONE // (_CENTS if one.asset == "BTC" else 100)
        world.at(at, partial(exchange.transfer, one.asset, amount, one.pending_ns))


def _trade(exchange: Exchange, one: Act) -> None:
    """An order of theirs at the price that stands, or away from it."""
    side = "buy" if one.cents > 0 else "sell"
    price = exchange.ask if one.cents > 0 else exchange.bid
    if price > 0:
        price += 0 if not one.rests_ns else -_AWAY if one.cents > 0 else _AWAY
        exchange.take_theirs(Wish(side, price, max(1, abs(one.cents) * _LOTS // _CENTS)), one.name, one.rests_ns)
