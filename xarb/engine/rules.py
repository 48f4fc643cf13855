"""What a rule looks at, what it says when it is broken, and the rules of an instrument's steps."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from xarb.engine.amounts import lot_money, notional_money, qty_money
from xarb.engine.strategy import BestQuote, FeedView
from xarb.model.instrument import Instrument
from xarb.model.units import MONEY_SCALE


class Market(Protocol):
    """What risk and execution look at; everything is as of now."""

    @property
    def now(self) -> int:
        """Engine time, ns."""

    def instrument(self, number: int) -> Instrument:
        """The instrument as it is known now."""

    def best(self, number: int) -> BestQuote:
        """Best quote."""

    def feed(self, number: int) -> FeedView:
        """State of its feed."""


class Refusal(NamedTuple):
    """Why something is not sent: value and bound as money where the rule has them, times in seconds."""

    reason: str
    instrument: int = -1
    value: int | None = None
    bound: int | None = None


def check_steps(instrument: Instrument, number: int, price: int, qty: int) -> Refusal | None:
    """Whether price and quantity keep to tick, lot, least quantity and least notional; the instrument is tradable."""
    if price <= 0:
        return Refusal("bad_price", number)
    if qty <= 0:
        return Refusal("bad_qty", number)
    assert instrument.tick_int is not None
    assert instrument.lot_int is not None
    if price % instrument.tick_int:
        unit = 10 ** (MONEY_SCALE - instrument.px_scale)
        return Refusal("tick", number, price * unit, instrument.tick_int * unit)
    if qty % instrument.lot_int:
        return Refusal("lot", number, qty_money(instrument, qty), lot_money(instrument))
    if instrument.min_qty is not None and qty_money(instrument, qty) < instrument.min_qty:
        return Refusal("min_qty", number, qty_money(instrument, qty), instrument.min_qty)
    if instrument.min_notional is not None and notional_money(instrument, price, qty) < instrument.min_notional:
        return Refusal("min_notional", number, notional_money(instrument, price, qty), instrument.min_notional)
    return None
