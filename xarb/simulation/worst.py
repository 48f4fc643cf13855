"""What a bundle of two legs in a world may lose at worst, reckoned by trying each end that it may come to; a second, naive reckoning."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from xarb.config.strategies import StrategyConfig
from xarb.model.units import MONEY_ONE, PPB, ceil_div, parse_money
from xarb.settings import ratio_of
from xarb.simulation.exchange import FEE_PPB

_BASE: Final = "BTC"
_QUOTE: Final = "USDT"
_TICK: Final = MONEY_ONE // 100
Worth = Callable[[Mapping[str, int]], int | None]


def worst_of(legs: Sequence[Mapping[str, Any]], config: StrategyConfig, worth: Worth) -> int | None:
    """The most that is lost in any end, None where nobody knows what one of them is worth.

    Args:
        legs: as the row of a bundle that begins has them.
        config: whose caps.
        worth: of amounts by asset, in the quote currency.
    """
    one, two = [(1 if leg["side"] == "buy" else -1, parse_money(leg["price"]), parse_money(leg["qty"])) for leg in legs]
    hedge, unwind = ratio_of(config.hedge_cap_bps), ratio_of(config.unwind_cap_bps)
    if config.residual == "hold":
        ends = [[(*one, 0), (*two, 0)], [(*one, 0)], [(*two, 0)]]
    else:
        ends = [[(*one, hedge), (*two, 0)], [(*one, 0), (*two, hedge)]]
        ends += [[(sign, price, qty, 0), (-sign, price, qty, unwind)] for sign, price, qty in (one, two)]
    made = [worth(_filled(end)) for end in ends]
    return None if None in made else max(-each for each in made if each is not None)


def _filled(orders: Sequence[tuple[int, int, int, int]]) -> dict[str, int]:
    """What orders change that fill as far from their price as a cap allows; fees are paid in what is received."""
    flows = {_BASE: 0, _QUOTE: 0}
    for sign, limit, qty, cap in orders:
        if sign > 0:
            price = limit * (PPB + cap) // PPB // _TICK * _TICK
            flows[_BASE] += qty - qty * FEE_PPB // PPB
            flows[_QUOTE] -= price * qty // MONEY_ONE
        else:
            price = ceil_div(ceil_div(limit * (PPB - cap), PPB), _TICK) * _TICK
            value = price * qty // MONEY_ONE
            flows[_BASE] -= qty
            flows[_QUOTE] += value - value * FEE_PPB // PPB
    return flows
