"""What execution remembers: orders, and the bundles whose legs they carry."""

from __future__ import annotations

from typing import Final, NamedTuple

from xarb.engine.portfolio import Place
from xarb.engine.strategy import BundlePlan
from xarb.model.order import BUNDLE_DONE, ORDER_TERMINAL

SIDES: Final = {1: "buy", -1: "sell"}
Hold = list[tuple[Place, int]]  # what is reserved, by place


class OrderPlan(NamedTuple):
    """An order to send: `sign` +1 buys, -1 sells; price and quantity at the instrument's scales as of sending."""

    leg: int
    attempt: int
    purpose: str  # "open" | "hedge" | "unwind"
    instrument: int
    sign: int
    price: int
    qty: int


class Order:
    """One order on its way or done."""

    __slots__ = ("bundle", "cancels", "client_id", "fill_ids", "filled", "hold", "number", "plan", "price", "qty", "state")

    def __init__(self, number: int, client_id: str, bundle: Bundle, plan: OrderPlan) -> None:
        self.number = number
        self.client_id = client_id
        self.bundle = bundle
        self.plan = plan
        self.price = plan.price  # at the instrument's present scales, as qty and filled
        self.qty = plan.qty
        self.filled = 0
        self.state = "pending"
        self.hold: Hold = []
        self.fill_ids: dict[str, None] = {}  # an ordered set
        self.cancels = 0  # sent

    @property
    def alive(self) -> bool:
        """Whether the venue may still fill it in the ordinary course; UNKNOWN counts as alive."""
        return self.state not in ORDER_TERMINAL

    @property
    def left(self) -> int:
        """What may still fill; nothing when the venue filled more than was ordered."""
        return max(0, self.qty - self.filled)


class Leg:
    """One planned leg: how much of it was sent and filled as planned, and what is reserved for the rest."""

    __slots__ = ("filled", "hold", "instrument", "price", "qty", "released", "sign")

    def __init__(self, instrument: int, sign: int, price: int, qty: int) -> None:
        self.instrument = instrument
        self.sign = sign
        self.price = price
        self.qty = qty
        self.released = 0
        self.filled = 0
        self.hold: Hold = []


class Bundle:
    """The legs of one decision and what their fills did.

    `flows` is the change of each asset by fills, fees included; `traded` is quantity and notional by (instrument, sign), all at 18
    decimals; `flat` are the assets that are to end at zero, the rest is the profit. `pair` is the kernel pair of the episode that
    the decision rests on, -1 without one. `retry_at` is when a residual that could not be flattened is looked at again, 0 when none
    waits. `booked` is what was booked as inventory: asset, quantity, cost, quote asset.
    """

    __slots__ = (
        "account",
        "attempts",
        "booked",
        "filled",
        "flat",
        "flows",
        "instruments",
        "legs",
        "live",
        "number",
        "opportunity",
        "orders",
        "pair",
        "profit_asset",
        "retry_at",
        "sequence",
        "state",
        "strategy",
        "traded",
    )

    def __init__(self, number: int, strategy: str, account: str, plan: BundlePlan, *, pair: int = -1) -> None:
        self.number = number
        self.strategy = strategy
        self.account = account
        self.pair = pair
        self.opportunity = plan.opportunity
        self.sequence = plan.sequence
        self.profit_asset = plan.profit_asset
        self.legs = [Leg(leg.instrument, 1 if leg.side == "buy" else -1, leg.price_int, leg.qty_int) for leg in plan.legs]
        self.instruments = instruments_of(plan)
        self.orders: list[Order] = []
        self.state = "open"
        self.live = 0
        self.filled = False
        self.retry_at = 0
        self.flat: tuple[str, ...] = ()
        self.flows: dict[str, int] = {}
        self.traded: dict[tuple[int, int], tuple[int, int]] = {}
        self.attempts: dict[str, int] = {}
        self.booked: list[tuple[str, int, int, str]] = []

    @property
    def done(self) -> bool:
        """Closed or held."""
        return self.state in BUNDLE_DONE

    def rescale(self, number: int, price: int, qty: int) -> None:
        """The scales of an instrument grew: its orders and legs grow by these powers of ten."""
        for order in self.orders:
            if order.plan.instrument == number:
                order.price, order.qty, order.filled = order.price * price, order.qty * qty, order.filled * qty
        for leg in self.legs:
            if leg.instrument == number:
                leg.price, leg.qty = leg.price * price, leg.qty * qty
                leg.released, leg.filled = leg.released * qty, leg.filled * qty


def instruments_of(plan: BundlePlan) -> tuple[int, ...]:
    """The instruments of a plan in ascending order: what a cool-down holds for."""
    return tuple(sorted(leg.instrument for leg in plan.legs))
