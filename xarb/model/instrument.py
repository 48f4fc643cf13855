"""Instruments: what is traded where, in which steps, and what it may be compared with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from xarb.model.units import MONEY_SCALE, Money, Ppb


class Instrument(msgspec.Struct, frozen=True, kw_only=True):
    """One symbol on one venue: `BTC/USDT@binance`.

    Prices are integers at `px_scale`, quantities at `qty_scale`. `tick_int` and `lot_int` are None while unknown; such an
    instrument is recorded, not traded. `contract_size` is in base units for linear and in quote units for inverse contracts.
    """

    venue: str
    symbol: str
    native: str
    kind: str
    base: str
    quote: str
    settle: str
    px_scale: int
    qty_scale: int
    tick_int: int | None = None
    lot_int: int | None = None
    min_qty: Money | None = None
    min_notional: Money | None = None
    contract: str = "none"
    contract_size: Money | None = None
    expiry: int | None = None
    active: bool = True
    origin: str = ""

    @property
    def id(self) -> str:
        """`symbol@venue`."""
        return f"{self.symbol}@{self.venue}"

    @property
    def scale(self) -> int:
        """Decimals of price times quantity."""
        return self.px_scale + self.qty_scale

    def untradable_because(self) -> str | None:
        """Why orders on it are refused by name, or None when nothing in the instrument itself forbids them."""
        if self.kind == "pool":
            return "pool_takes_no_orders"
        if self.kind != "spot":
            return "derivative_not_supported"
        if not self.active:
            return "instrument_inactive"
        if self.scale > MONEY_SCALE:
            return "scale_too_fine"
        if self.tick_int is None or self.lot_int is None:
            return "steps_unknown"
        return None


_FIELDS: Final = frozenset(Instrument.__struct_fields__)


def instrument_fields(values: Mapping[str, Any]) -> dict[str, Any]:
    """What an `instruments` row says of its instrument: the row's values by column name, without its place in the log."""
    return {name: value for name, value in values.items() if name in _FIELDS}


class FeeTier(msgspec.Struct, frozen=True, kw_only=True):
    """Fees of one account on one venue: ratios of the notional in parts per billion, and the asset they are charged in.

    `asset` is `"quote"`, `"base"`, `"received"` (base of a buy, quote of a sell) or an asset id, the third coin, for which `rates`
    of the backtest must name an instrument that prices it.
    """

    maker_ppb: Ppb
    taker_ppb: Ppb
    asset: str = "quote"
    source: str = ""


MAX_INSTRUMENTS: Final = 4096
