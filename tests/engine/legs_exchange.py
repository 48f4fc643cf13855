"""Two exchanges as they truly are, for the machine of legs: what became of each order, every fill, the money, and what is on its way to us."""

from __future__ import annotations

from dataclasses import dataclass, field

from xarb.model.command import SubmitOrder
from xarb.model.units import MONEY_ONE, PPB, Money, ceil_div
from xarb.venues.orderids import OrderName
from xarb.venues.replies import OrderSaid, TradeSaid

SYMBOL = "BTC/USD"
ENDS = ("filled", "canceled", "expired", "rejected")
NEVER = "never"  # it does not arrive, and will not


@dataclass
class Placed:
    """An order: `decided`, `coming` (sent, and not there yet), `open`, one of ENDS, or NEVER; quantities in whole units."""

    name: OrderName
    venue: str
    command: SubmitOrder
    client_id: str
    state: str = "decided"
    filled: int = 0
    denied: int = 0  # of that, what the exchange left out when it told the order's end
    trades: list[TradeSaid] = field(default_factory=list)

    @property
    def venue_id(self) -> str:
        """The exchange's id."""
        return f"v{self.name.start}.{self.name.order}"

    @property
    def was_there(self) -> bool:
        """Whether the exchange ever took it."""
        return self.state in ("open", "filled", "canceled", "expired")

    @property
    def may_fill(self) -> bool:
        """Whether it may fill yet, whatever anybody knows of it."""
        return self.state in ("decided", "coming", "open")

    def said(self) -> OrderSaid:
        """It as the exchange states it now."""
        return OrderSaid(
            symbol=SYMBOL,
            venue_order_id=self.venue_id,
            state=self.state,
            client_id=self.client_id,
            side=self.command.side,
            qty=Money(self.command.qty_int * MONEY_ONE),
            cum_qty=Money((self.filled - self.denied) * MONEY_ONE),
        )


@dataclass
class Push:
    """Something that an exchange says unasked."""

    venue: str
    order: OrderSaid
    trade: TradeSaid | None = None


class Exchanges:
    """The truth.

    Args:
        balances: by venue and asset.
        fee_ppb: of a taker, in `fee_asset`: quote or base.
    """

    def __init__(self, balances: dict[tuple[str, str], int], fee_ppb: int, fee_asset: str) -> None:
        self.balances = {**balances}
        self.orders: dict[OrderName, Placed] = {}
        self.pushes: list[Push] = []
        self._fee = fee_ppb, fee_asset

    def arrive(self, one: Placed) -> None:
        """An order comes to its exchange."""
        one.state = "open"
        self.pushes.append(Push(one.venue, one.said()))

    def fill(self, one: Placed, qty: int, better: int) -> None:
        """Some of an order fills, at its limit or so much better; the whole ends it."""
        qty = min(qty, one.command.qty_int - one.filled)
        buys = one.command.side == "buy"
        price = one.command.price_int - better if buys else one.command.price_int + better
        one.filled += qty
        if one.filled == one.command.qty_int:
            one.state = "filled"
        sign, value = 1 if buys else -1, qty * price * MONEY_ONE
        rate, kind = self._fee
        asset = "BTC" if kind == "base" else "USD"
        fee = ceil_div((qty * MONEY_ONE if asset == "BTC" else value) * rate, PPB)
        for coin, change in (("BTC", sign * qty * MONEY_ONE), ("USD", -sign * value), (asset, -fee)):
            self.balances[one.venue, coin] += change
        trade = TradeSaid(
            symbol=SYMBOL,
            fill_id=f"{one.venue_id}/{len(one.trades)}",
            venue_order_id=one.venue_id,
            price=Money(price * MONEY_ONE),
            qty=Money(qty * MONEY_ONE),
            client_id=one.client_id,
            side=one.command.side,
            fee=Money(fee),
            fee_asset=asset,
        )
        one.trades.append(trade)
        self.pushes.append(Push(one.venue, one.said(), trade))

    def end(self, one: Placed, state: str, *, is_stale: bool = False) -> None:
        """An open order ends; a stale end does not count the last fill, which is told all the same, whenever it is."""
        one.state = state
        if is_stale and one.trades:
            one.denied = one.trades[-1].qty // MONEY_ONE
        self.pushes.append(Push(one.venue, one.said()))

    def of(self, *states: str) -> list[Placed]:
        """Orders in one of these states, in order of their sending."""
        return [one for one in self.orders.values() if one.state in states]
