"""What execution remembers: orders, and the bundles whose legs they carry."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from xarb.engine.captured import BundleCopy, LegCopy, OrderCopy
from xarb.engine.captured import Hold as HoldCopy
from xarb.engine.desk import Desk
from xarb.engine.portfolio import Hold
from xarb.engine.side import Side
from xarb.model.order import BUNDLE_DONE, LEG_LIFE, LEG_OPEN, ORDER_TERMINAL, advance
from xarb.model.units import ceil_div

if TYPE_CHECKING:
    from collections.abc import Mapping

    from xarb.engine.swap import Swap


class OrderPlan(NamedTuple):
    """An order to send; price and quantity at the instrument's scales as of sending."""

    leg: int
    attempt: int
    purpose: str  # "open" | "hedge" | "unwind"
    side: Side
    price: int
    qty: int

    @property
    def instrument(self) -> int:
        """Number of the instrument."""
        return self.side.number

    @property
    def sign(self) -> int:
        """+1 buys, -1 sells."""
        return self.side.sign


class Order:
    """One order on its way or done.

    `price`, `qty` and `filled` are at the instrument's present scales; `price_money`, `qty_money` and `filled_money` the same at 18
    decimals. `hold` is what is reserved for it. `due` is when it is UNKNOWN if nothing was heard, 0 when no time-out waits. `names`
    are the columns with which its rows begin: account, strategy, venue, symbol, order, bundle, leg. `origin` is start and number of an order
    that an earlier start sent, None of one of this start's.
    """

    __slots__ = (
        *("bundle", "cancels", "client_id", "due", "fill_ids", "filled", "filled_money", "hold", "names", "number", "plan"),
        *("origin", "price", "price_money", "qty", "qty_money", "side", "state"),
    )

    def __init__(self, number: int, client_id: str, bundle: Bundle, plan: OrderPlan) -> None:
        self.number = number
        self.client_id = client_id
        self.bundle = bundle
        self.plan = plan
        self.side = side = plan.side
        self.price = price = plan.price
        self.qty = qty = plan.qty
        self.filled = 0
        self.price_money = price * side.px_unit
        self.qty_money = qty * side.qty_unit
        self.filled_money = 0
        self.names = (*side.names, number, bundle.number, plan.leg)
        self.state = "pending"
        self.hold: Hold = ()
        self.fill_ids: dict[str, None] = {}  # an ordered set
        self.cancels = 0  # sent
        self.due = 0
        self.origin: tuple[int, int] | None = None

    @property
    def alive(self) -> bool:
        """Whether the venue may still fill it in the ordinary course; UNKNOWN counts as alive."""
        return self.state not in ORDER_TERMINAL

    @property
    def left(self) -> int:
        """What may still fill; nothing when the venue filled more than was ordered."""
        return max(0, self.qty - self.filled)

    def capture(self) -> OrderCopy:
        """It as plain values."""
        plan = self.plan
        return OrderCopy(
            number=self.number,
            leg=plan.leg,
            attempt=plan.attempt,
            purpose=plan.purpose,
            instrument=plan.instrument,
            sign=plan.sign,
            price=self.price,
            qty=self.qty,
            filled=self.filled,
            state=self.state,
            cancels=self.cancels,
            fill_ids=[*self.fill_ids],
            hold=_held(self.hold),
            due=self.due,
            origin=self.origin,
            client_id=self.client_id if self.origin else "",
        )


class Leg:
    """One planned leg: how much of it was sent and filled as planned, and what is reserved for the rest.

    `qty_money` and `value` are quantity and notional as planned, at 18 decimals. `state` is one of `LEG_LIFE`.
    """

    __slots__ = ("filled", "hold", "instrument", "price", "qty", "qty_money", "released", "side", "sign", "state", "value")

    def __init__(self, side: Side, price: int, qty: int) -> None:
        self.side = side
        self.instrument = side.number
        self.sign = side.sign
        self.price = price
        self.qty = qty
        self.qty_money = qty * side.qty_unit
        self.value = side.notional(price, qty)
        self.released = 0
        self.filled = 0
        self.hold: Hold = ()
        self.state = "planned"

    @property
    def lacks(self) -> bool:
        """Whether some of it was not filled, and no order of it may fill that."""
        return self.filled < self.qty and self.state not in LEG_OPEN

    def capture(self) -> LegCopy:
        """It as plain values."""
        return LegCopy(*self.side.key, self.price, self.qty, self.released, self.filled, _held(self.hold))


class Bundle:
    """The legs of one decision and what their fills did.

    `flows` is the change of each asset by fills, fees included; `traded` is quantity and notional by (instrument, sign), all at 18
    decimals; `flat` are the assets that are to end at zero, the rest is the profit. In a `cycle` each leg spends what another one brings.
    `instruments` are the legs' in ascending order: what a cool-down holds for. `pair` is the kernel pair of the episode that the decision rests on, -1 without one. `live` counts
    its orders that are alive. `began` is when it was decided on. `due` is when a residual that could not be flattened is looked at again, 0 when none waits. `unbalanced_at` is
    when its residual appeared, 0 without one; `is_given_up` says that its time or its tries ran out beside an order of unknown fate. `is_beyond` says
    that it once had lost more than it may. `booked` is what was booked as inventory: asset, quantity, cost, quote asset. `swap` is what its one
    leg hedges, None where it has none; while a block may hold that, it counts as an order that is alive.
    """

    __slots__ = (
        *("attempts", "booked", "desk", "due", "filled", "flat", "flows", "instruments", "legs", "live", "number", "opportunity"),
        *("began", "orders", "pair", "cycle", "sequence", "state", "swap", "traded", "unbalanced_at", "is_beyond", "is_given_up"),
    )

    def __init__(self, number: int, desk: Desk, legs: list[Leg], *, opportunity: int | None, sequence: str, pair: int) -> None:
        self.number = number
        self.desk = desk
        self.legs = legs
        self.opportunity = opportunity
        self.sequence = sequence
        self.pair = pair
        self.flat: tuple[str, ...] = ()
        self.cycle = False
        self.instruments: tuple[int, ...] = ()
        self.orders: list[Order] = []
        self.state = "open"
        self.live = 0
        self.filled = False
        self.began = 0
        self.due = 0
        self.unbalanced_at = 0
        self.is_given_up = False
        self.is_beyond = False
        self.flows: dict[str, int] = {}
        self.traded: dict[tuple[int, int], tuple[int, int]] = {}
        self.attempts: dict[str, int] = {}
        self.booked: list[tuple[str, int, int, str]] = []
        self.swap: Swap | None = None

    def follow(self, at: int) -> None:
        """A leg goes on as its orders stand.

        Raises:
            InvariantBroken: an order of a leg that had ended lives, or less of it is filled than was.
        """
        leg, states = self.legs[at], [order.state for order in self.orders if order.plan.leg == at]
        if not states:
            return
        alive = [state for state in states if state not in ORDER_TERMINAL]
        if alive:
            event = "sent" if any(state != "unknown" for state in alive) else "unknown"
        elif leg.filled >= leg.qty:
            event = "filled"
        else:
            event = "partial" if leg.filled else "missed"
        leg.state = advance(LEG_LIFE, leg.state, event)

    @property
    def residual(self) -> dict[str, int]:
        """What is left of the assets that are to end at zero and do not stand there."""
        return {asset: left for asset in self.flat if (left := self.flows.get(asset, 0))}

    def left_of(self, asset: str) -> tuple[str, int, int, str]:
        """A residual as inventory: asset, quantity, its cost at the average price of the fills that made it, against us, and in what."""
        qty = self.flows[asset]
        for (number, sign), (size, value) in self.traded.items():
            side = self.desk.side(number, sign)
            if side.base == asset and sign * qty > 0:
                return asset, qty, ceil_div(qty * value, size), side.quote
        return asset, qty, qty, asset  # a quote currency is its own cost

    def compare(self, before: Mapping[str, int]) -> None:
        """A leg filled further: what is left is a new residual, with a time and tries of its own, unless some of the one `before` is."""
        if self.unbalanced_at and not any(self.flows[asset] * left > 0 for asset, left in before.items()):
            self.forget_residual()

    def forget_residual(self) -> None:
        """There is none, or it is a new one."""
        self.unbalanced_at, self.is_given_up = 0, False
        self.attempts.clear()

    @property
    def done(self) -> bool:
        """Closed or held."""
        return self.state in BUNDLE_DONE

    def capture(self) -> BundleCopy:
        """It as plain values, its legs and orders among them."""
        return BundleCopy(
            number=self.number,
            strategy=self.desk.strategy,
            opportunity=self.opportunity,
            sequence=self.sequence,
            pair=self.pair,
            state=self.state,
            live=self.live,
            filled=self.filled,
            due=self.due,
            flat=self.flat,
            instruments=self.instruments,
            flows={**self.flows},
            traded=[(*key, *value) for key, value in self.traded.items()],
            attempts={**self.attempts},
            booked=[*self.booked],
            legs=[leg.capture() for leg in self.legs],
            orders=[order.capture() for order in self.orders],
            unbalanced_at=self.unbalanced_at,
            is_given_up=self.is_given_up,
            is_beyond=self.is_beyond,
            cycle=self.cycle,
            began=self.began,
            swap=None if self.swap is None else self.swap.capture(),
        )

    def rescale(self, number: int, price: int, qty: int) -> None:
        """The scales of an instrument grew: its orders and legs grow by these powers of ten."""
        for order in self.orders:
            if order.side.number == number:
                order.price, order.qty, order.filled = order.price * price, order.qty * qty, order.filled * qty
        for leg in self.legs:
            if leg.instrument == number:
                leg.price, leg.qty = leg.price * price, leg.qty * qty
                leg.released, leg.filled = leg.released * qty, leg.filled * qty

    def reckon(self) -> None:
        """State orders and legs at 18 decimals by what they are at the present scales."""
        for order in self.orders:
            side = order.side
            order.price_money = order.price * side.px_unit
            order.qty_money, order.filled_money = order.qty * side.qty_unit, order.filled * side.qty_unit
        for leg in self.legs:
            leg.qty_money, leg.value = leg.qty * leg.side.qty_unit, leg.side.notional(leg.price, leg.qty)


def restored(copy: BundleCopy, desk: Desk, prefix: str) -> Bundle:
    """The bundle of a copy; `reckon` states it at 18 decimals once its scales are the present ones.

    Args:
        copy: the bundle.
        desk: of its strategy.
        prefix: with which client order ids begin.
    """
    bundle = Bundle(copy.number, desk, [], opportunity=copy.opportunity, sequence=copy.sequence, pair=copy.pair)
    bundle.state, bundle.live, bundle.filled, bundle.due = copy.state, copy.live, copy.filled, copy.due
    bundle.flat, bundle.instruments = copy.flat, copy.instruments
    bundle.unbalanced_at, bundle.is_given_up, bundle.is_beyond = copy.unbalanced_at, copy.is_given_up, copy.is_beyond
    bundle.cycle, bundle.began = copy.cycle, copy.began
    bundle.flows, bundle.attempts, bundle.booked = {**copy.flows}, {**copy.attempts}, [*copy.booked]
    bundle.traded = {(instrument, sign): (size, value) for instrument, sign, size, value in copy.traded}
    for one in copy.legs:
        leg = Leg(desk.side(one.instrument, one.sign), one.price, one.qty)
        leg.released, leg.filled, leg.hold = one.released, one.filled, _hold(one.hold, desk)
        bundle.legs.append(leg)
    for this in copy.orders:
        plan = OrderPlan(this.leg, this.attempt, this.purpose, desk.side(this.instrument, this.sign), this.price, this.qty)
        order = Order(this.number, this.client_id or f"{prefix}{this.number}", bundle, plan)
        order.origin = this.origin
        order.filled, order.state, order.cancels, order.due = this.filled, this.state, this.cancels, this.due
        order.fill_ids, order.hold = dict.fromkeys(this.fill_ids), _hold(this.hold, desk)
        bundle.orders.append(order)
    for at in range(len(bundle.legs)):
        bundle.follow(at)
    return bundle


def _held(hold: Hold) -> HoldCopy:
    return [(till.names[2], till.asset, amount) for till, amount in hold]


def _hold(copy: HoldCopy, desk: Desk) -> Hold:
    return tuple([(desk.till(venue, asset), amount) for venue, asset, amount in copy])
