"""Orders of the served exchange's clients, and what happened to them. Prices, quantities and values are money (18 decimals)."""

from __future__ import annotations

from typing import Final

import msgspec

# By order type: whether it has a limit price, and what lets it live.
LIMIT: Final = "LIMIT"
MARKET: Final = "MARKET"
LIMIT_MAKER: Final = "LIMIT_MAKER"
NEW: Final = "NEW"
PARTIALLY_FILLED: Final = "PARTIALLY_FILLED"
FILLED: Final = "FILLED"
CANCELED: Final = "CANCELED"
EXPIRED: Final = "EXPIRED"
EXPIRED_IN_MATCH: Final = "EXPIRED_IN_MATCH"
REJECTED: Final = "REJECTED"
OPEN: Final = (NEW, PARTIALLY_FILLED)


class Intent(msgspec.Struct, frozen=True, kw_only=True):
    """What a client asks for, checked against the instrument. `price_int` is the worst price, `qty_int` the size, at its scales.

    `kind` is LIMIT, MARKET or LIMIT_MAKER; `quote_value` is set when a market order states what to spend or to earn;
    `tag` is a client's own word for orders that it treats alike.
    """

    account: str
    number: int
    buy: bool
    kind: str
    tif: str  # "gtc" | "ioc" | "fok"
    price_int: int
    qty_int: int
    client_id: str
    quote_value: int = 0
    tag: str = ""
    kept: tuple[str, ...] = ("self_trade",)  # reasons for which the venue takes the order and lets it expire, in place of a refusal


class Fill(msgspec.Struct, frozen=True, kw_only=True):
    """One execution; `trade_id` is that of the public print."""

    trade_id: int
    ms: int
    price: int
    qty: int
    value: int
    fee: int
    fee_asset: str
    is_maker: bool


class ServedOrder(msgspec.Struct, kw_only=True):
    """An order as the exchange knows it; `cancel_id` is the client's id of the request that canceled it."""

    id: int
    intent: Intent
    symbol: str
    price: int
    qty: int
    ms: int
    updated_ms: int
    status: str = NEW
    filled: int = 0
    value: int = 0
    fills: list[Fill] = []
    cancel_id: str = ""
    reason: str | None = None
    announced: bool = False

    @property
    def is_open(self) -> bool:
        """Whether it can still fill."""
        return self.status in OPEN


class LedgerRow(msgspec.Struct, frozen=True, kw_only=True):
    """One movement of money: `cause` is opening, fill, fee or moved; `change` is money, negative for what left."""

    ms: int
    account: str
    venue: str
    asset: str
    change: int
    cause: str
    order: int = 0
    trade: int = 0
