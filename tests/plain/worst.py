"""What a bundle of two legs may lose at worst, reckoned by trying every end that it may come to."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from math import ceil, floor

from tests.plain.bundles import Leg
from tests.plain.feeds import PPB
from tests.plain.terms import StrategyTerms, VenueTerms
from tests.plain.venue import MONEY

Flows = dict[str, Fraction]
Worth = Callable[[Flows], Fraction | None]


def worst_of(legs: tuple[Leg, Leg], terms: StrategyTerms, venues: dict[str, VenueTerms], worth: Worth) -> Fraction | None:
    """The most that is lost in any end, None where nobody knows what one of them is worth."""

    def filled(leg: Leg, cap: int = 0, turn: int = 1) -> Flows:
        """The whole leg as far as a cap from its limit, or what undoes it."""
        coin, sign = leg.feed.coin, turn * leg.sign
        price = leg.price * (1 + sign * Fraction(cap, PPB))
        price = coin.tick * (floor(price / coin.tick) if sign > 0 else ceil(price / coin.tick))
        found = {coin.base: sign * leg.qty, coin.quote: -sign * price * leg.qty}
        tier = venues[coin.venue]
        paid_in = coin.base if tier.fee_asset == "base" or (tier.fee_asset == "received" and sign > 0) else coin.quote
        found[paid_in] -= Fraction(ceil(abs(found[paid_in]) * tier.taker_ppb * MONEY / PPB), MONEY)
        return found

    one, two = legs
    ends = [[filled(one), filled(two)]]
    if terms.residual == "hold":
        ends += [[filled(one)], [filled(two)]]
    else:
        ends += [[filled(one, terms.hedge_cap_ppb), filled(two)], [filled(one), filled(two, terms.hedge_cap_ppb)]]
        ends += [[filled(leg), filled(leg, terms.unwind_cap_ppb, -1)] for leg in legs]
    made = [worth({asset: sum((each.get(asset, Fraction(0)) for each in end), Fraction(0)) for asset in end[0]}) for end in ends]
    return None if None in made else max(-each for each in made if each is not None)
