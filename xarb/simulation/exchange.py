"""An exchange of a world: a top of book, one account's money, orders, and everything that may go wrong on the way there and back.

Its own books are the truth against which a trader is judged. `Access` is an account at it as a trading process has one: it has the
methods of `venues.account.Account` and no network. What has left a process arrives although the process dies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import count
from typing import Any, Final, NamedTuple

import msgspec

from xarb.engine.breaker import NO_MONEY
from xarb.model.command import SubmitOrder
from xarb.model.instrument import Instrument
from xarb.model.units import MONEY_SCALE, NANOS_PER_MS, NANOS_PER_S, PPB, Money, ceil_div, format_decimal
from xarb.simulation.faults import Moved, Odds
from xarb.simulation.world import World
from xarb.venues.orderids import ClientIds, OrderName
from xarb.venues.replies import OrderSaid, TradeSaid
from xarb.venues.userwires import Told

FEE_PPB: Final = 1_000_000  # 10 bps, of what an order receives
NOBODY: Final = OrderName(-1, -1)  # the name of an order that is not of this log
Push = Callable[[Told], object]


class Wish(NamedTuple):
    """An order as somebody else wants it: `buy` or `sell`, the price in ticks, the quantity in lots."""

    side: str
    price_int: int
    qty_int: int


class Foreign(NamedTuple):
    """What somebody else changed of the account, by asset, and when: a fill as the exchange states it, else (None) a deposit or withdrawal."""

    changes: dict[str, int]
    at: int
    said: TradeSaid | None


class Made(NamedTuple):
    """A fill as it truly was: of which order, what it changed by asset, when, and from when on the exchange tells of it."""

    order: Placed
    said: TradeSaid
    changes: dict[str, int]
    at: int
    told_at: int

    @property
    def is_denied(self) -> bool:
        """Whether the exchange told of it later than it happened, or the order came when it was proven not to be there."""
        return self.order.is_revived or self.told_at > self.at


class Placed:
    """An order that arrived; quantities in lots of the instrument."""

    def __init__(
        self, number: int, client_id: str, command: SubmitOrder | Wish, name: OrderName, *, arrived_at: int, visible_at: int
    ) -> None:
        self.id = f"{number}"
        self.client_id = client_id
        self.name = name
        self.side, self.price, self.lots = command.side, command.price_int, command.qty_int
        self.filled = 0
        self.state = "open"
        self.arrived_at, self.visible_at = arrived_at, visible_at
        self.is_denied = False  # nothing is said of it before it is visible, whatever asks or listens
        self.is_revived = False  # it came so late that it was proven not to be there
        self.fills: list[Made] = []

    @property
    def left(self) -> int:
        """Lots that may still fill."""
        return self.lots - self.filled


class Purse:
    """What those who trade on one account have in common.

    Args:
        balances: money by asset.

    Attributes:
        moved: money that came or went without a word. theirs: orders of somebody else, by the exchange's id.
        transfers: deposits and withdrawals, as ccxt states them. sides: the account as each process knows it.
        order_numbers, fill_numbers: the exchange's next ones.
    """

    def __init__(self, balances: dict[str, int]) -> None:
        self.balances = balances
        self.moved: list[Moved] = []
        self.theirs: dict[str, Placed] = {}
        self.transfers: list[dict[str, Any]] = []
        self.sides: list[Exchange] = []
        self.order_numbers, self.fill_numbers = count(1), count(1)


class Exchange:
    """One exchange with one account.

    Args:
        world: whose time and chance it has.
        odds: what goes wrong there.
        instrument: what is traded.
        purse: the account's money; where two processes trade on it each has an exchange of its own with this in common.
        log_id: of the log whose orders these are.

    Attributes:
        lot: money of a lot of the base asset.
        terms, listed_at: the instrument as the exchange lists it now, and since when.
        countdown_ms: how long it waits for its account when it is told to, 0: it cannot. runs_out_at: when it cancels everything, None: never.
        linger_ns: how long an immediate order stays open, at most.
        orders: by client id. fills: in order. doubles: client ids that arrived twice. short: ids of orders that money lacked for.
        foreign: what others and transfers changed. astray: orders of another process that this one had canceled.
        sent: ids of orders that were asked for here. in_air: those whose request is not answered.
        is_crossed: the process was told of another's order whose name is that of one which is in the air, or never was here.
        rival_at: when the process that lives was first told of an order by which it must know another xarb, Unix ns; None: not yet.
    """

    def __init__(
        self,
        world: World,
        odds: Odds,
        instrument: Instrument,
        purse: Purse,
        log_id: str,
    ) -> None:
        self.world, self.odds, self.instrument = world, odds, instrument
        self.name = instrument.venue
        self.terms, self.listed_at = instrument, 0
        self.ids = ClientIds(log_id, "binance")
        self.purse = purse
        self.balances, self.moved, self.theirs, self.transfers = purse.balances, purse.moved, purse.theirs, purse.transfers
        self.sides = purse.sides
        self.sides.append(self)
        self.orders: dict[str, Placed] = {}
        self.fills: list[Made] = []
        self.doubles: list[str] = []
        self.short: list[str] = []
        self.foreign: list[Foreign] = []
        self.astray: set[str] = set()
        self.sent: set[str] = set()
        self.in_air: set[str] = set()
        self.is_crossed = False
        self.rival_at: int | None = None
        self._opened_at = 0  # Unix ns: fills by then show nothing
        self._taken: dict[str, int] = {}  # what others ever took, by asset
        self.arrived: Callable[[], object] = _nothing  # called at each arrival
        self.push: Push | None = None  # of the private stream, while one stands
        self.bid = self.ask = self.size = 0
        self.under_way = 0  # orders that will come late
        self.countdown_ms = 0
        self.linger_ns = 6 * NANOS_PER_S
        self.runs_out_at: int | None = None
        self.ran_out: Callable[[Exchange], object] = _unheard  # called when it has canceled everything
        self._px_unit = 10 ** (MONEY_SCALE - instrument.px_scale)
        self.lot = 10 ** (MONEY_SCALE - instrument.qty_scale)
        self._value_unit = 10 ** (MONEY_SCALE - instrument.scale)

    # --- the market

    def quote(self, bid: int, ask: int, size: int) -> None:
        """The market moved."""
        self.bid, self.ask, self.size = bid, ask, size

    def list_as(self, terms: Instrument) -> None:
        """The market is traded by other terms from now on, or not at all."""
        self.terms, self.listed_at = terms, self.world.now
        steps = f"prices in steps of {terms.tick_int}, lots of {terms.lot_int}"
        self.world.note(f"{self.name}: " + (steps if terms.active else "nothing is traded"))

    def halt(self, *, cancels: bool) -> None:
        """Nothing is traded any more; what rests is canceled, or stays and fills nothing."""
        self.list_as(msgspec.structs.replace(self.terms, active=False))
        for order in [*self.all_orders()] if cancels else ():
            if order.state == "open":
                self._end(order, "canceled")

    def unfit(self, order: SubmitOrder | Wish) -> str | None:
        """Why an order is not taken by the present terms, None where it is."""
        if not self.terms.active:
            return "nothing is traded"
        if order.price_int % (self.terms.tick_int or 1):
            return "price is off the step"
        return "quantity is off the lot" if order.qty_int % (self.terms.lot_int or 1) else None

    # --- money

    def locked(self) -> dict[str, int]:
        """What open orders may take, by asset."""
        return self._held(self.all_orders())

    def _held(self, orders: Iterable[Placed]) -> dict[str, int]:
        base, quote = self.instrument.base, self.instrument.quote
        found = {base: 0, quote: 0}
        for order in orders:
            if order.state == "open" and order.side == "buy":
                found[quote] += order.price * order.left * self._value_unit
            elif order.state == "open":
                found[base] += order.left * self.lot
        return found

    def _lacking(self, command: SubmitOrder | Wish) -> tuple[str, int]:
        """Of what there is too little for an order, and how much is missing: zero or less where there is enough."""
        buys = command.side == "buy"
        asset = self.instrument.quote if buys else self.instrument.base
        amount = command.price_int * command.qty_int * self._value_unit if buys else command.qty_int * self.lot
        return asset, amount - (self.balances[asset] - self.locked()[asset])

    def _taken_by_others(self, asset: str) -> int:
        """What somebody else ever took of an asset, or holds locked now."""
        return self._taken.get(asset, 0) + self._held(self.others_orders())[asset]

    def move(self, one: Moved) -> None:
        """Money comes or goes, and nothing says why."""
        self.balances[one.asset] = self.balances.get(one.asset, 0) + one.amount
        self.moved.append(one)
        self.world.note(f"{self.name}: {one.amount} of {one.asset} move without a word")

    @property
    def has_lost(self) -> bool:
        """Whether money ever went without a word: orders may lack it."""
        return any(one.amount < 0 for one in self.moved)

    # --- orders

    def arrive(self, client_id: str, command: SubmitOrder, *, is_revived: bool = False) -> Placed | str:
        """An order reaches the exchange; a text: it is refused, for that reason."""
        name = self.ids.decode(client_id)
        if client_id in self.orders or name is None:
            self.doubles.append(client_id)
            return "duplicate"
        if (why := self.unfit(command)) is not None:
            self.world.note(f"{self.name}: {client_id} is refused, {why}")
            return "invalid_order"
        asset, missing = self._lacking(command)
        if missing > 0:
            if not self.has_denied and not self.has_lost and not is_revived and missing > self._taken_by_others(asset):
                self.short.append(client_id)
            self.world.note(f"{self.name}: {client_id} lacks money")
            return NO_MONEY
        now, draw = self.world.now, self.world.draw
        hidden = draw.randrange(2 * NANOS_PER_S) if self.world.chance(self.odds.hide) else 0
        is_denied = self.world.chance(self.odds.deny)
        if is_denied:
            hidden = draw.randrange(3 * NANOS_PER_S, 20 * NANOS_PER_S)
        order = Placed(next(self.purse.order_numbers), client_id, command, name, arrived_at=now, visible_at=now + hidden)
        order.is_denied = is_denied
        order.is_revived = is_revived
        self.orders[client_id] = order
        self.world.note(f"{self.name}: {client_id} arrives, {order.side} {order.lots} at {order.price}")
        self.arrived()
        lingers = self.world.chance(self.odds.linger)
        share = draw.random() if self.world.chance(self.odds.partial) or lingers else 1.0
        self._match(order, int(order.lots * share))
        if order.state == "open" and not lingers:
            self._end(order, "expired")
        elif order.state == "open":
            self._tell(order, None)
            self.world.after(draw.randrange(50 * NANOS_PER_MS, self.linger_ns), lambda: self._come_to_end(order))
        return order

    def _come_to_end(self, order: Placed) -> None:
        if order.state == "open" and self.world.draw.random() < 0.5:
            self._match(order, order.left)
        if order.state == "open":
            self._end(order, "expired")

    # --- others

    @property
    def has_others(self) -> bool:
        """Whether somebody else ever did something on the account."""
        return bool(self.foreign or any(self.others_orders()))

    def all_orders(self) -> Iterator[Placed]:
        """All of the account, whoever's they are."""
        yield from self.orders.values()
        yield from self.others_orders()

    def others_orders(self) -> Iterator[Placed]:
        """All of the account that are not of this log."""
        yield from self.theirs.values()
        yield from (order for side in self.sides if side is not self for order in side.orders.values())

    @property
    def has_hidden(self) -> bool:
        """Whether it ever denied for long what it had of others."""
        return any(order.is_denied for order in self.others_orders())

    def began(self, wall: int) -> None:
        """A process opens the account, which takes fills up to that time (Unix ns) for what was before it."""
        self.rival_at, self._opened_at = None, wall

    def shows(self, order: Placed, *, is_all: bool = True) -> None:
        """The process is told of an order, or (not `is_all`) only that it has ended.

        Where it is another xarb's, and open or filled since the process began, it must know that now.
        """
        if order.name is NOBODY or self.orders.get(order.client_id) is order:
            return
        if order.client_id in self.sent and (order.client_id in self.in_air or order.client_id not in self.orders):
            self.is_crossed = True
        if order.client_id in self.in_air:
            return  # it is taken for ours, until a reply says that ours is another one
        is_late = any(made.told_at <= self.world.now and (made.said.ts_event or 0) > self._opened_at for made in order.fills)
        if is_all and self.rival_at is None and (order.state == "open" or is_late):
            self.rival_at = self.world.unix

    def open_named(self, client_id: str) -> tuple[Exchange, Placed] | None:
        """The open order of that name, and whose it is; of two it is that of who asks."""
        for side in sorted(self.sides, key=lambda side: side is not self):
            order = side.orders.get(client_id)
            if order is not None and order.state == "open":
                return side, order
        return None

    def take_theirs(self, wish: Wish, client_id: str, rests_ns: int) -> None:
        """Somebody else's order arrives; it takes what is there, or rests for so long."""
        if self.unfit(wish) is not None or self._lacking(wish)[1] > 0:
            self.world.note(f"{self.name}: an order of somebody else is refused")
            return
        now = self.world.now
        order = Placed(next(self.purse.order_numbers), client_id, wish, NOBODY, arrived_at=now, visible_at=now)
        self.theirs[order.id] = order
        self.world.note(f"{self.name}: {order.side} {order.lots} at {order.price} of somebody else")
        if not rests_ns:
            self._match(order, order.lots)
            if order.state == "open":
                self._end(order, "expired")
        else:
            self._tell(order, None)
            self.world.after(rests_ns, lambda: self._end_theirs(order))

    def _end_theirs(self, order: Placed) -> None:
        if order.state == "open" and self.world.draw.random() < 0.5:
            before, order.price = order.price, self.ask if order.side == "buy" else self.bid  # they change their mind
            if any(amount > self.balances[asset] for asset, amount in self.locked().items()):
                order.price = before  # for which they lack money
            self._match(order, order.left)
        if order.state == "open":
            self._end(order, "canceled")

    def transfer(self, asset: str, amount: int, pending_ns: int) -> None:
        """Somebody deposits, or withdraws what is free; the exchange lists it. A deposit is there once it is credited, a withdrawn amount is gone at once."""
        if amount < 0:
            amount = -min(-amount, self.balances[asset] - self.locked()[asset])
        if not amount:
            return
        listed = {
            "id": f"{self.name}-{len(self.transfers) + 1}",
            "currency": asset,
            "network": "main",
            "amount": format_decimal(Money(abs(amount)), MONEY_SCALE),
            "status": "pending",
            "timestamp": self.world.unix // NANOS_PER_MS,
            "updated": self.world.unix // NANOS_PER_MS,
            "is_deposit": amount > 0,
        }
        self.transfers.append(listed)
        self.world.note(f"{self.name}: {amount} of {asset} are on their way")
        if amount < 0:
            self._bring(asset, amount)

        def arrive() -> None:
            listed.update(status="ok", updated=self.world.unix // NANOS_PER_MS)
            self.world.note(f"{self.name}: {amount} of {asset} have arrived")
            if amount > 0:
                self._bring(asset, amount)

        self.world.after(pending_ns, arrive)

    def _bring(self, asset: str, amount: int) -> None:
        self.balances[asset] += amount
        for side in self.sides:
            side.note_others({asset: amount}, None)

    def note_others(self, changes: dict[str, int], said: TradeSaid | None) -> None:
        """Others changed what the account has."""
        for asset, change in changes.items():
            self._taken[asset] = self._taken.get(asset, 0) - min(change, 0)
        self.foreign.append(Foreign(changes, self.world.now, said))

    def arrive_late(self, delay_ns: int, client_id: str, command: SubmitOrder, *, is_revived: bool) -> None:
        """An order reaches the exchange so much later, whatever becomes of who sent it."""
        self.under_way += 1

        def arrive() -> None:
            self.under_way -= 1
            self.arrive(client_id, command, is_revived=is_revived)

        self.world.after(delay_ns, arrive)

    @property
    def is_at_rest(self) -> bool:
        """Whether nothing more happens there of itself: no order is open or under way, and everything is told."""
        if any(side.under_way for side in self.sides) or any(one["status"] != "ok" for one in self.transfers):
            return False
        now = self.world.now
        return all(
            order.state != "open" and order.visible_at <= now and all(made.told_at <= now for made in order.fills)
            for order in self.all_orders()
        )

    @property
    def has_denied(self) -> bool:
        """Whether it ever took an order or a fill of which it had said that there is none: nobody can reckon with such."""
        orders = [order for side in self.sides for order in side.orders.values()]
        return any(order.is_revived or any(made.is_denied for made in order.fills) for order in orders)

    def cancel(self, order: Placed) -> None:
        """Take an open order out of the book."""
        if order.left and self.world.chance(self.odds.stale_end):
            self._match(order, 1 + self.world.draw.randrange(order.left))  # it filled while the cancel was on its way
        if order.state == "open":
            self._end(order, "canceled")

    def count_down(self, timeout_ms: int) -> None:
        """Cancel everything after that time unless this is asked for again; 0: do not."""
        at = self.runs_out_at = self.world.now + timeout_ms * NANOS_PER_MS if timeout_ms else None
        self.world.note(f"{self.name}: the countdown " + (f"runs out at {at}" if timeout_ms else "is off"))
        if at is not None:
            self.world.at(at, lambda: self._run_out(at))

    def _run_out(self, at: int) -> None:
        if self.runs_out_at != at:
            return
        self.runs_out_at = None
        self.world.note(f"{self.name}: the countdown has run out")
        for order in [*self.all_orders()]:
            if order.state == "open":
                self.cancel(order)
        self.ran_out(self)

    def _end(self, order: Placed, state: str) -> None:
        order.state = state
        self.world.note(f"{self.name}: {order.client_id} {state}, {order.filled} filled")
        self._tell(order, None)

    def _match(self, order: Placed, lots: int) -> None:
        """Fill up to so many lots at the best price, in one or two parts."""
        price = self.ask if order.side == "buy" else self.bid
        crosses = price > 0 and (price <= order.price if order.side == "buy" else price >= order.price)
        lots, step = min(lots, self.size) if crosses and self.terms.active else 0, self.terms.lot_int or 1
        lots -= lots % step
        first = self.world.draw.randrange(lots) if lots > 1 and self.world.draw.random() < 0.3 else 0
        first -= first % step
        for part in (first, lots - first):
            if part:
                self._fill(order, price, part)

    def _fill(self, order: Placed, price: int, lots: int) -> None:
        buys = order.side == "buy"
        qty, value = lots * self.lot, price * lots * self._value_unit
        base, quote = self.instrument.base, self.instrument.quote
        fee_asset = base if buys else quote
        fee = ceil_div((qty if buys else value) * FEE_PPB, PPB)
        changes = {base: qty if buys else -qty, quote: -value if buys else value}
        changes[fee_asset] -= fee
        for asset, change in changes.items():
            self.balances[asset] += change
        order.filled += lots
        self.size -= lots
        draw, now = self.world.draw, self.world.now
        told_at = now
        if self.world.chance(self.odds.stale_end):
            told_at = now + draw.randrange(NANOS_PER_S, 8 * NANOS_PER_S)
        said = TradeSaid(
            symbol=self.instrument.symbol,
            fill_id=f"{self.name}{next(self.purse.fill_numbers)}",
            venue_order_id=order.id,
            price=Money(price * self._px_unit),
            qty=Money(qty),
            side=order.side,
            fee=Money(fee),
            fee_asset=fee_asset,
            liquidity="taker",
            ts_event=self.world.unix,
        )
        made = Made(order, said, changes, now, told_at)
        order.fills.append(made)
        if order.name is not NOBODY:
            self.fills.append(made)
        for side in self.sides:
            if order.name is NOBODY or side is not self:
                side.note_others(changes, said)
        if order.left == 0:
            order.state = "filled"
        self.world.note(f"{self.name}: {order.client_id} fill {said.fill_id}, {lots} at {price}, told at {told_at}")
        self.world.at(told_at, lambda: self._tell(order, said))

    # --- what it says

    def said(self, order: Placed) -> OrderSaid:
        """The order as the exchange states it now: fills that it tells of later do not count yet."""
        counted = sum(made.said.qty for made in order.fills if made.told_at <= self.world.now)
        state = "expired" if order.state == "filled" and counted < order.lots * self.lot else order.state
        return OrderSaid(
            symbol=self.instrument.symbol,
            venue_order_id=order.id,
            state=state,
            client_id=order.client_id or None,
            side=order.side,
            qty=Money(order.lots * self.lot),
            cum_qty=Money(counted),
            ts_event=self.world.unix,
        )

    def shown(self, client_id: str) -> Placed | None:
        """An order as far as questions find it."""
        found = [side.orders[client_id] for side in self.sides if client_id in side.orders]
        order = max(found, key=lambda one: one.arrived_at, default=None)  # of two of one name the last
        return order if order is not None and order.visible_at <= self.world.now else None

    def shown_fills(self, order: Placed) -> list[TradeSaid]:
        """Fills of an order as far as questions find them."""
        now = self.world.now
        return [made.said for made in order.fills if max(made.told_at, order.visible_at) <= now]

    def _tell(self, order: Placed, trade: TradeSaid | None) -> None:
        """Push what is so now, as the private stream brings it."""
        if order.is_denied and order.visible_at > self.world.now:
            return
        told = Told(self.said(order), trade)
        for side in self.sides:
            side.push_on(order, told)

    def push_on(self, order: Placed, told: Told) -> None:
        """Bring something to the process over its private stream, as far as nothing is wrong with that."""
        if self.push is None or self.world.chance(self.odds.lose_push):
            return
        for _ in range(2 if self.world.chance(self.odds.repeat_push) else 1):
            late = 5 * NANOS_PER_S if self.world.chance(self.odds.late_push) else 20 * NANOS_PER_MS
            self.world.after(NANOS_PER_MS + self.world.draw.randrange(late), partial(self._bring_push, self.push, order, told))

    def _bring_push(self, push: Push, order: Placed, told: Told) -> None:
        """What is pushed arrives, where somebody listens still."""
        push(told)
        self.shows(order, is_all=told.order.state == "open" or told.trade is not None)


def _nothing() -> None:
    """Nobody waits for arrivals."""


def _unheard(_: Exchange) -> None:
    """Nobody waits for it."""
