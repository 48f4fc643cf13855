"""What the plain model's desk keeps: plans, bundles under way and their orders."""

from __future__ import annotations

import json
from decimal import Decimal
from fractions import Fraction
from math import ceil
from typing import NamedTuple

from tests.plain.episodes import Pair
from tests.plain.feeds import Feed
from tests.plain.venue import MONEY


class Leg(NamedTuple):
    """One planned leg."""

    feed: Feed
    sign: int
    price: Fraction
    qty: Fraction


class Plan(NamedTuple):
    """A bundle that a strategy asks for."""

    strategy: int
    pair: Pair
    legs: tuple[Leg, Leg]


class Bundle:
    """A bundle under way."""

    def __init__(self, number: int, plan: Plan) -> None:
        self.number, self.plan = number, plan
        self.opportunity = plan.pair.opportunity
        self.net = Fraction(0)  # base bought less base sold, fees in base included
        self.traded: dict[tuple[int, int], tuple[Fraction, Fraction]] = {}  # by instrument and sign: quantity and worth
        self.made: dict[str, Fraction] = {}  # what its fills changed, fees included
        self.beyond = False  # it had lost too much, and that was told
        self.live = self.attempts = 0
        self.retry_at = self.unbalanced_at = 0
        self.given_up = False  # its time or its tries ran out beside an order of unknown fate

    def planned(self) -> str:
        """The plan as its row has it."""
        legs = [
            {
                "venue": leg.feed.coin.venue,
                "symbol": leg.feed.coin.symbol,
                "side": "buy" if leg.sign > 0 else "sell",
                "price": _text(leg.price),
                "qty": _text(leg.qty),
            }
            for leg in self.plan.legs
        ]
        what = {"sequence": "simultaneous", "flat": [self.plan.legs[0].feed.coin.base], "cycle": False, "legs": legs}
        return json.dumps(what, separators=(",", ":"))

    def trade(self, instrument: int, sign: int, qty: Fraction, worth: Fraction) -> None:
        """A fill of one of its orders."""
        size, value = self.traded.get((instrument, sign), (Fraction(0), Fraction(0)))
        self.traded[instrument, sign] = (size + qty, value + worth)

    def cost(self) -> Fraction:
        """What the net base was paid for, on average of the fills of its side that came first; rounded up to money."""
        sign = 1 if self.net > 0 else -1
        size, value = next(traded for (_, side), traded in self.traded.items() if side == sign)
        return Fraction(ceil(self.net * value / size * MONEY), MONEY)


class Sent:
    """An order of ours."""

    def __init__(self, number: int, bundle: Bundle, leg: int, order: Leg, purpose: str) -> None:
        self.number, self.bundle, self.leg, self.order, self.purpose = number, bundle, leg, order, purpose
        self.state = "pending"
        self.filled = Fraction(0)
        self.at = self.attempt = 0
        self.cancels = 0
        self.heard = False


class Closed(NamedTuple):
    """A bundle of the pair closed, or the cool-down after it ended."""

    strategy: int
    pair: Pair


def _text(amount: Fraction) -> str:
    """A decimal without zeros at its end."""
    found = Decimal(amount.numerator) / Decimal(amount.denominator)
    return f"{found.normalize():f}"
