"""Buying, or selling, one instrument for one strategy: all that does not change from order to order, computed once.

An order, a leg or a fill asks its side for money, steps, fees and names instead of deriving them from the instrument each time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from xarb.engine.portfolio import Till
from xarb.engine.rules import Refusal
from xarb.model.instrument import FeeTier, Instrument
from xarb.model.units import MONEY_SCALE, PPB, ceil_div

BUY: Final = 1
SELL: Final = -1
SIGNS: Final = {"buy": BUY, "sell": SELL}


class Side:
    """One direction of trading an instrument on the terms of one strategy and account.

    `sign` is +1 for buying and -1 for selling, `name` its word, `names` the columns account, strategy, venue and symbol. `takes` is
    what an order takes from: the quote of a buy, the base of a sale. `base_fee_ppb` and `quote_fee_ppb` are the taker fee where it is
    charged in that asset, else 0. Of the higher of both fees, `on_top_ppb` is what an order takes besides, and `coin_ppb` what it takes
    of a third `coin` (None without one). `fee` is None where the account's fees are unknown; then nothing is sent.

    `px_unit` and `qty_unit` are the money of one step of the scales. `tick` and `lot` are 1 where the instrument does not say.
    `untradable` is why the instrument itself forbids orders.
    """

    __slots__ = (
        *("base", "base_fee_ppb", "base_till", "coin", "coin_ppb", "fee", "instrument", "key", "least_product", "least_qty"),
        *("lot", "lot_money", "name", "names", "number", "on_top_ppb", "px_unit", "qty_unit", "quote", "quote_fee_ppb"),
        *("quote_till", "sign", "takes", "tick", "till", "untradable", "value_divisor", "value_unit"),
    )

    instrument: Instrument
    px_unit: int
    qty_unit: int
    value_unit: int
    value_divisor: int
    tick: int
    lot: int
    lot_money: int
    least_qty: int
    least_product: int
    untradable: Refusal | None

    def __init__(self, number: int, sign: int, instrument: Instrument, fee: FeeTier | None, *, till: Callable[[str], Till]) -> None:
        self.number = number
        self.sign = sign
        self.name = "buy" if sign == BUY else "sell"
        self.key = (number, sign)
        self.base, self.quote = instrument.base, instrument.quote
        self.till = till
        self.base_till, self.quote_till = till(self.base), till(self.quote)
        account, strategy, venue, _ = self.base_till.names
        self.names = (account, strategy, venue, instrument.symbol)
        self.takes = self.quote_till if sign == BUY else self.base_till
        self.fee = fee
        self._lay_fees(fee)
        self.lay(instrument)

    def _lay_fees(self, fee: FeeTier | None) -> None:
        self.base_fee_ppb = self.quote_fee_ppb = self.on_top_ppb = self.coin_ppb = 0
        self.coin: Till | None = None
        if fee is None:
            return
        charged = self.fee_asset(fee)
        most = max(fee.taker_ppb, fee.maker_ppb, 0)
        if charged == self.base:
            self.base_fee_ppb = int(fee.taker_ppb)
        elif charged == self.quote:
            self.quote_fee_ppb = int(fee.taker_ppb)
        elif most > 0:
            self.coin, self.coin_ppb = self.till(charged), most
        if charged == self.takes.asset:
            self.on_top_ppb = most

    def fee_asset(self, fee: FeeTier) -> str:
        """The asset in which a fill's fee is charged."""
        if fee.asset == "quote" or (fee.asset == "received" and self.sign == SELL):
            return self.quote
        if fee.asset in ("base", "received"):
            return self.base
        return fee.asset

    def fee_till(self, asset: str) -> Till:
        """What a fee in an asset is paid from."""
        if asset == self.quote:
            return self.quote_till
        return self.base_till if asset == self.base else self.till(asset)

    def lay(self, instrument: Instrument) -> None:
        """Take over what is known of the instrument now: scales, steps, least sizes, whether it may be traded."""
        self.instrument = instrument
        self.px_unit = 10 ** (MONEY_SCALE - instrument.px_scale)
        self.qty_unit = 10 ** (MONEY_SCALE - instrument.qty_scale)
        self.value_unit = 10 ** max(MONEY_SCALE - instrument.scale, 0)
        self.value_divisor = 10 ** max(instrument.scale - MONEY_SCALE, 0)
        self.tick, self.lot = instrument.tick_int or 1, instrument.lot_int or 1
        self.lot_money = self.lot * self.qty_unit
        self.least_qty = ceil_div(instrument.min_qty or 0, self.qty_unit)
        least = instrument.min_notional or 0  # notional rounds up, so that any product above (least - 1) will do
        self.least_product = ceil_div((least - 1) * self.value_divisor + 1, self.value_unit)
        because = instrument.untradable_because()
        self.untradable = None if because is None else Refusal(because, self.number)

    # --- money

    def notional(self, price: int, qty: int) -> int:
        """Price times quantity at 18 decimals, exact where the instrument is tradable, else rounded up."""
        value = price * qty * self.value_unit
        return value if self.value_divisor == 1 else ceil_div(value, self.value_divisor)

    def fill_value(self, price: int, qty: int) -> int:
        """What a fill is worth at 18 decimals: where scales grew beyond 18 after the order was sent it is rounded against us."""
        value = price * qty * self.value_unit
        if self.value_divisor == 1:
            return value
        return ceil_div(value, self.value_divisor) if self.sign == BUY else value // self.value_divisor

    # --- steps

    def no_worse(self, price: int) -> int:
        """The nearest price on the step that is no worse for us; the step may have grown since an order was planned."""
        return price // self.tick * self.tick if self.sign == BUY else ceil_div(price, self.tick) * self.tick

    def check_steps(self, price: int, qty: int) -> Refusal | None:
        """Whether price and quantity keep to tick, lot, least quantity and least notional; the instrument is tradable."""
        if price <= 0:
            return Refusal("bad_price", self.number)
        if qty <= 0:
            return Refusal("bad_qty", self.number)
        if price % self.tick:
            return Refusal("tick", self.number, price * self.px_unit, self.tick * self.px_unit)
        if qty % self.lot:
            return Refusal("lot", self.number, qty * self.qty_unit, self.lot_money)
        if qty < self.least_qty:
            return Refusal("min_qty", self.number, qty * self.qty_unit, self.instrument.min_qty)
        if price * qty < self.least_product:
            return Refusal("min_notional", self.number, self.notional(price, qty), self.instrument.min_notional)
        return None


def turned_over(side: Side, price: int, left: tuple[str, int]) -> int:
    """The quantity that turns an amount of an asset over without going too far, fees included, rounded down to the lot."""
    asset, amount = left
    in_base = asset == side.base
    taken = in_base == (side.sign < 0)  # the order gives the asset away: its fee comes on top
    fee = side.base_fee_ppb if in_base else side.quote_fee_ppb
    amount = amount * PPB // (PPB + fee) if taken else amount * PPB // (PPB - fee)
    if in_base:
        return amount // side.qty_unit // side.lot * side.lot
    return amount // (price * side.value_unit) // side.lot * side.lot if price > 0 else 0


def capped_price(side: Side, reference: int, cap_ppb: int) -> int:
    """The worst price allowed: `cap_ppb` beyond `reference` for an order of that side, rounded to the tick within the cap."""
    tick = side.tick
    if side.sign > 0:
        return reference * (PPB + cap_ppb) // PPB // tick * tick
    return ceil_div(ceil_div(reference * (PPB - cap_ppb), PPB), tick) * tick
