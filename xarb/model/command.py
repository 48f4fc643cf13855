"""Commands are wishes: what the engine asks of a venue; reports are what a venue says back."""

from __future__ import annotations

import msgspec

from xarb.model.units import Money


class SubmitOrder(msgspec.Struct, frozen=True, kw_only=True):
    """Send an order. `instrument` is the engine's instrument number; price and quantity are at that instrument's scales.

    `ts` is the decision time: a simulated venue adds its order latency to it. `order` counts from 1 within a start or run.
    """

    ts: int
    order: int
    client_order_id: str
    account: str
    strategy: str
    instrument: int
    side: str  # "buy" | "sell"
    tif: str  # "ioc" | "fok" | "gtc"
    price_int: int
    qty_int: int
    post_only: bool = False


class CancelOrder(msgspec.Struct, frozen=True, kw_only=True):
    """Cancel an order by our number."""

    ts: int
    order: int
    client_order_id: str
    account: str
    strategy: str
    instrument: int


Command = SubmitOrder | CancelOrder


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a venue says of one order at `ts` (the time it reaches us).

    `event` is one of `columns.REPORT_EVENTS`. Fill price and quantity are at the instrument's scales; `fee` is money, positive is
    paid, in `fee_asset`.
    """

    ts: int
    order: int
    instrument: int
    event: str
    venue_order_id: str | None = None
    fill_id: str | None = None
    price_int: int | None = None
    qty_int: int | None = None
    fee: Money | None = None
    fee_asset: str | None = None
    liquidity: str | None = None
    reason: str | None = None
