"""An account of a simulated exchange in virtual time, with faults drawn from a seed: the seam at which a venue is tried thousands of times.

It has the methods of `Account` and no network. The exchange may take an order late or never, lose replies, show orders and fills late to
look-ups, and push reports late, twice, out of order or not at all. Its own books say what really happened.
"""

from __future__ import annotations

import asyncio
import random
import selectors
from collections.abc import Callable
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, Final, NamedTuple

from xarb.errors import OutcomeUnknown, Rejected, Retryable
from xarb.model.command import SubmitOrder
from xarb.model.instrument import Instrument
from xarb.model.units import Money
from xarb.venues.account import AccountTerms, ClockReading
from xarb.venues.orderrules import RULES
from xarb.venues.passage import Passage
from xarb.venues.replies import OrderSaid, TradeSaid
from xarb.venues.userwires import Told

SYMBOL: Final = "BTC/USDT"
UNIT: Final = 10**13  # one lot of 0.00001
OPENING: Final = {"BTC": Decimal(1), "USDT": Decimal(1_000)}
_NS: Final = 1_000_000_000


class VirtualLoop(asyncio.SelectorEventLoop):
    """Runs as fast as it can: waiting only moves its clock."""

    def __init__(self) -> None:
        self._now = 1000.0
        super().__init__(_NoWaiting(self))

    def time(self) -> float:
        """Virtual seconds."""
        return self._now

    def pass_time(self, seconds: float) -> None:
        """Move the clock."""
        self._now += seconds


class _NoWaiting(selectors.DefaultSelector):
    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> Any:
        """Ready files; a timeout is over at once."""
        if timeout is None:
            raise AssertionError("everything waits for something that never comes")
        if timeout > 0:
            self._loop.pass_time(timeout)
        return super().select(0)


class Odds(NamedTuple):
    """Probabilities of each fault."""

    lose_request: float
    late_request: float
    very_late_request: float
    lose_reply: float
    refuse: float
    lose_push: float
    repeat_push: float
    fail_read: float
    lose_cancel: float


class Placed:
    """An order at the exchange."""

    def __init__(self, number: int, client_id: str, command: SubmitOrder, at: float) -> None:
        self.id = str(number)
        self.client_id = client_id
        self.side = command.side
        self.tif = command.tif
        self.lots = command.qty_int
        self.filled = 0
        self.state = "open"
        self.visible_at = at
        self.fills: list[tuple[float, TradeSaid]] = []  # visible from, fill


class SimulatedAccount:
    """One account with its exchange; `quiet` ends all faults."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)  # noqa: S311  # faults are to be drawn again
        odds = [self.random.random() ** 3 for _ in Odds._fields]  # often little of each, sometimes much of one
        self.odds = Odds(*odds)
        self.terms = AccountTerms(label="main", exchange="binance", may_rest=True)
        self.rules = RULES["binance"]._replace(stream="", acknowledges=self.random.random() < 0.3)
        self.label, self.symbols = "main", (SYMBOL,)
        self.client = SimpleNamespace(fetch_deposits=None, fetch_withdrawals=None, fetch_balance=None)
        self.orders: dict[str, Placed] = {}  # by client id
        self.submits: dict[str, int] = {}
        self.lots: dict[str, int] = {}
        self.revived: set[str] = set()  # taken after more than the settle time
        self.push: Callable[[Told], None] = lambda _: None
        self.is_calm = False  # reads do not fail
        self._fill_count = 0

    # --- time

    def now(self) -> int:
        """Monotonic ns."""
        return int(asyncio.get_running_loop().time() * _NS)

    def wall(self) -> int:
        """Unix ns."""
        return self.now() + 10**18

    async def _travel(self, most: float = 0.3) -> None:
        await asyncio.sleep(self.random.random() * most)

    def quiet(self) -> None:
        """No faults from now on."""
        self.odds = Odds(*([0.0] * len(Odds._fields)))

    def _chance(self, odds: float) -> bool:
        return self.random.random() < odds

    # --- the exchange

    def _take(self, client_id: str, command: SubmitOrder) -> Placed:
        loop = asyncio.get_running_loop()
        order = Placed(len(self.orders) + 1, client_id, command, loop.time() + self.random.random() * 1.5)
        assert client_id not in self.orders, "the exchange got an order twice"
        self.orders[client_id] = order
        self._tell(order, None)
        for _ in range(self.random.randint(0, 3)):
            if order.filled < order.lots:
                self._fill(order, self.random.randint(1, order.lots - order.filled))
        if order.tif == "ioc":
            if order.state == "open":
                order.state = "expired"
                self._tell(order, None)
        else:
            loop.call_later(self.random.random() * 20, self._later, order)
        return order

    def _later(self, order: Placed) -> None:
        if order.state == "open":
            self._fill(order, self.random.randint(1, order.lots - order.filled))

    def _fill(self, order: Placed, lots: int) -> None:
        self._fill_count += 1
        order.filled += lots
        trade = TradeSaid(
            symbol=SYMBOL,
            fill_id=str(self._fill_count),
            venue_order_id=order.id,
            price=Money(10**18),
            qty=Money(lots * UNIT),
            side=order.side,
            fee=Money(lots),
            fee_asset="BTC",
            ts_event=self.wall(),
        )
        order.fills.append((asyncio.get_running_loop().time() + self.random.random(), trade))
        if order.filled == order.lots:
            order.state = "filled"
        self._tell(order, trade)

    def _said(self, order: Placed) -> OrderSaid:
        return OrderSaid(
            symbol=SYMBOL,
            venue_order_id=order.id,
            state=order.state,
            client_id=order.client_id,
            side=order.side,
            qty=Money(order.lots * UNIT),
            cum_qty=Money(order.filled * UNIT),
            ts_event=self.wall(),
        )

    def _tell(self, order: Placed, trade: TradeSaid | None) -> None:
        told = Told(self._said(order), trade)
        for _ in range(1 + self._chance(self.odds.repeat_push)):
            if not self._chance(self.odds.lose_push):
                asyncio.get_running_loop().call_later(self.random.random(), self.push, told)

    def _visible_fills(self, order: Placed) -> list[TradeSaid]:
        now = asyncio.get_running_loop().time()
        return [trade for at, trade in order.fills if at <= now]

    # --- what an account offers

    async def open(self) -> None:
        """Nothing is to be loaded."""

    async def close(self) -> None:
        """Nothing is open."""

    async def clock(self, looks: int = 3) -> ClockReading:
        """The clocks agree."""
        del looks
        return ClockReading(0, 1)

    async def ask(self, call: str, make: Any, read: Any) -> Any:
        """Balances as they are, and no transfers."""
        del make
        await self._travel()
        return read({"free": self._balances(), "used": {}} if call == "balances" else [])

    def _balances(self) -> dict[str, str]:
        found = dict(OPENING)
        for trade in (trade for order in self.orders.values() for _, trade in order.fills):
            found["BTC"] += Decimal(trade.qty - (trade.fee or 0)).scaleb(-18)
            found["USDT"] -= Decimal(trade.price * trade.qty // 10**18).scaleb(-18)
        return {asset: f"{amount:f}" for asset, amount in found.items()}

    async def submit(
        self, instrument: Instrument, command: SubmitOrder, client_id: str, passage: Passage
    ) -> tuple[OrderSaid, list[TradeSaid]]:
        """Send an order, with everything that may happen to it."""
        del instrument
        self.submits[client_id] = self.submits.get(client_id, 0) + 1
        self.lots[client_id] = command.qty_int
        if self._chance(0.05):
            raise Retryable("no connection", reason="exchange_not_available")
        passage.written()
        await self._travel()
        if self._chance(self.odds.refuse):
            raise Rejected("no money", reason="insufficient_funds")
        if self._chance(self.odds.lose_request):
            await asyncio.sleep(self.random.choice([0.0, 5.0]))
            raise OutcomeUnknown("cut", reason="exchange_not_available")
        late = 0.0
        if self._chance(self.odds.late_request):
            late = self.random.random()
        if self._chance(self.odds.very_late_request):
            late = 5 + 5 * self.random.random()
            self.revived.add(client_id)
        if late:
            asyncio.get_running_loop().call_later(late, self._take, client_id, command)
            raise OutcomeUnknown("cut", reason="exchange_not_available")
        order = self._take(client_id, command)
        said, fills = self._said(order), [trade for _, trade in order.fills]
        if self._chance(self.odds.lose_reply):
            await asyncio.sleep(self.random.choice([0.0, 5.0]))
            raise OutcomeUnknown("timeout", reason="timeout")
        await self._travel()
        if self.rules.acknowledges:
            return OrderSaid(symbol=SYMBOL, venue_order_id=order.id, state="open", client_id=client_id), []
        return said, fills

    async def cancel(self, symbol: str, client_id: str, passage: Passage) -> OrderSaid | None:
        """Cancel an order."""
        del symbol
        passage.written()
        await self._travel()
        if self._chance(self.odds.lose_cancel):
            raise OutcomeUnknown("cut", reason="timeout")
        order = self.orders.get(client_id)
        if order is None or order.state != "open":
            raise Rejected("unknown order", reason="order_not_found")
        order.state = "canceled"
        self._tell(order, None)
        if self._chance(self.odds.lose_cancel):
            raise OutcomeUnknown("cut", reason="timeout")
        said = self._said(order)
        await self._travel()
        return None if self.rules.acknowledges else said

    async def lookup(self, symbol: str, client_id: str) -> OrderSaid | None:
        """An order, once it is visible."""
        del symbol
        await self._read()
        order = self.orders.get(client_id)
        visible = order is not None and order.visible_at <= asyncio.get_running_loop().time()
        return self._said(order) if order is not None and visible else None

    async def order_by_venue_id(self, symbol: str, venue_order_id: str) -> OrderSaid | None:
        """An order by the exchange's id."""
        del symbol
        await self._read()
        return next((self._said(order) for order in self.orders.values() if order.id == venue_order_id), None)

    async def open_orders(self, symbol: str) -> list[OrderSaid]:
        """Open and visible ones."""
        del symbol
        await self._read()
        now = asyncio.get_running_loop().time()
        return [self._said(order) for order in self.orders.values() if order.state == "open" and order.visible_at <= now]

    async def order_trades(self, symbol: str, venue_order_id: str) -> list[TradeSaid]:
        """Visible fills of an order."""
        del symbol
        await self._read()
        return [trade for order in self.orders.values() if order.id == venue_order_id for trade in self._visible_fills(order)]

    async def trades_since(self, symbol: str, since_ms: int) -> list[TradeSaid]:
        """Visible fills since a time."""
        del symbol
        await self._read()
        found = [trade for order in self.orders.values() for trade in self._visible_fills(order)]
        return [trade for trade in found if (trade.ts_event or 0) >= since_ms * 1_000_000]

    async def _read(self) -> None:
        await self._travel()
        if not self.is_calm and self._chance(self.odds.fail_read):
            raise Retryable("busy", reason="timeout")
