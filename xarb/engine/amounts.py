"""What prices and quantities of an instrument are as money, and the asset of its fees."""

from __future__ import annotations

from xarb.model.instrument import FeeTier, Instrument
from xarb.model.units import MONEY_SCALE, ceil_div


def qty_money(instrument: Instrument, qty: int) -> int:
    """A quantity at 18 decimals."""
    return int(qty * 10 ** (MONEY_SCALE - instrument.qty_scale))


def lot_money(instrument: Instrument) -> int:
    """The lot at 18 decimals."""
    return qty_money(instrument, instrument.lot_int or 1)


def notional_money(instrument: Instrument, price: int, qty: int) -> int:
    """Price times quantity at 18 decimals, exact where the instrument is tradable, else rounded up."""
    return fill_value(instrument, price, qty, 1)


def fill_value(instrument: Instrument, price: int, qty: int, sign: int) -> int:
    """What a fill is worth at 18 decimals: where scales grew beyond 18 after the order was sent it is rounded against us."""
    shift = MONEY_SCALE - instrument.px_scale - instrument.qty_scale
    if shift >= 0:
        return int(price * qty * 10**shift)
    return int(ceil_div(price * qty, 10**-shift) if sign > 0 else price * qty // 10**-shift)


def fee_asset(instrument: Instrument, fee: FeeTier, sign: int) -> str:
    """The asset in which a fill's fee is charged; `sign` +1 for a buy."""
    if fee.asset == "quote" or (fee.asset == "received" and sign < 0):
        return instrument.quote
    if fee.asset in ("base", "received"):
        return instrument.base
    return fee.asset
