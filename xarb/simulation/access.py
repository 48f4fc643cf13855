"""An account at an exchange of a world, as a trading process has one: requests that travel, get lost, come late or are refused."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from types import SimpleNamespace
from typing import Any, Final, NamedTuple

from xarb.errors import OutcomeUnknown, Rejected, Retryable
from xarb.model.command import SubmitOrder
from xarb.model.instrument import Instrument
from xarb.model.units import MONEY_SCALE, NANOS_PER_MS, NANOS_PER_S, Money, format_decimal
from xarb.simulation.exchange import Exchange, Placed
from xarb.venues import account
from xarb.venues.account import AccountTerms, ClockReading
from xarb.venues.cex import CexVenue
from xarb.venues.orderrules import RULES
from xarb.venues.passage import Passage
from xarb.venues.replies import OrderSaid, TradeSaid

ACCOUNT: Final = "main"
_TRIP_NS: Final = 40 * NANOS_PER_MS  # one way, at most
_TIMEOUT_S: Final = (0.0, 1.0)  # a lost reply is noticed at once, by the connection's end, or by the time-out
_OPEN: Final = {"networks": {"main": {"deposit": True, "withdraw": True}}}


class Reading(NamedTuple):
    """A look at the balances: how many fills, unexplained moves and doings of others there were, what was locked, and what was there in all."""

    fills: int
    moved: int
    foreign: int
    locked: dict[str, int]
    total: dict[str, int]


class Access:
    """One process's account at one exchange; `is_calm` while questions are always answered.

    Attributes:
        readings: each look at the balances.
        submits: how often each client id was sent. ages: how old each order was when it left, ns since it was decided on.
        count_failed_at: when a request for a countdown last failed, ns, -1 before any.
        is_mute: questions may fail. unfit: client ids that left against what the exchange listed by then, and for how long it did, ns.
        left_at, cancels: when each order left, and when a cancel of it was last asked for, ns.
    """

    def __init__(self, exchange: Exchange, *, acknowledges: bool, max_send_lag_ms: int | None) -> None:
        self.exchange, self.world = exchange, exchange.world
        self.terms = AccountTerms(label=ACCOUNT, exchange="binance", max_send_lag_ms=max_send_lag_ms)
        self.label, self.symbols, self.fingerprint, self.key_source = (
            ACCOUNT,
            (exchange.instrument.symbol,),
            "simulated",
            "simulation",
        )
        self.rules = RULES["binance"]._replace(stream="", acknowledges=acknowledges)
        self.fee_asset: str | None = None
        self.is_calm = True
        self.readings: list[Reading] = []
        self.is_near = False  # requests take no time, so that a world is what it would be without them
        self.submits: dict[str, int] = {}
        self.ages: dict[str, int] = {}
        self.left_at: dict[str, int] = {}
        self.cancels: dict[str, int] = {}
        self.count_failed_at = -1
        self.is_mute = exchange.odds.fail_read > 0
        self.unfit: list[tuple[str, int]] = []
        self.client = SimpleNamespace(
            fetch_balance=self._balances,
            fetch_deposits=self._transfers(is_deposit=True),
            fetch_withdrawals=self._transfers(is_deposit=False),
            fetch_trading_fee=_fees,
            fetch_currencies=_networks,
            sapiGetBnbBurn=_no_burn,
            sapiGetAccountApiRestrictions=_rights,
        )

    # --- the private stream

    def connect(self, venue: CexVenue) -> None:
        """Be told of everything from now on; now and then the stream breaks off."""
        desk = venue.desks[ACCOUNT]
        loop = asyncio.get_running_loop()
        exchange, epoch = self.exchange, 0

        def stand() -> None:
            nonlocal epoch
            epoch += 1
            exchange.push = lambda told: loop.call_soon(desk.told, told)
            desk.opened(epoch)
            desk.ready(epoch)
            if self.world.chance(exchange.odds.drop_stream):
                loop.call_later(self.world.draw.random() * 5, fall)

        def fall() -> None:
            exchange.push = None
            self.world.note(f"{exchange.name}: the private stream breaks off")
            desk.lost(epoch, "dropped")
            loop.call_later(self.world.draw.random() * 4, stand)

        stand()

    # --- time and money

    def now(self) -> int:
        """Time of the log, ns."""
        return self.world.unix

    def wall(self) -> int:
        """Unix ns."""
        return self.world.unix

    async def open(self) -> None:
        """Nothing is to be loaded; what happened by now, and by how much clocks may differ later, is no news."""
        self.exchange.began(self.world.unix + self.terms.max_clock_ms * NANOS_PER_MS)

    async def close(self) -> None:
        """Nothing is open."""

    async def clock(self, looks: int = 3) -> ClockReading:
        """The clocks agree."""
        del looks
        return ClockReading(0, 1)

    async def ask(self, _call: str, make: Callable[[], Any], read: Callable[[Any], Any]) -> Any:
        """A question of whatever kind."""
        await self._read()
        return read(await make())

    async def _balances(self, _what: object) -> dict[str, Any]:
        exchange, locked = self.exchange, self.exchange.locked()
        self.readings.append(
            Reading(len(exchange.fills), len(exchange.moved), len(exchange.foreign), locked, {**exchange.balances})
        )
        free = {asset: amount - locked.get(asset, 0) for asset, amount in exchange.balances.items()}
        return {"free": _texts(free), "used": _texts(locked), "timestamp": self.wall() // NANOS_PER_MS}

    def _transfers(self, *, is_deposit: bool) -> Callable[..., Awaitable[list[dict[str, Any]]]]:
        async def fetch(*_: object) -> list[dict[str, Any]]:
            return [{**one} for one in self.exchange.transfers if one["is_deposit"] is is_deposit]

        return fetch

    # --- orders

    async def submit(
        self, _instrument: Instrument, command: SubmitOrder, client_id: str, passage: Passage
    ) -> tuple[OrderSaid, list[TradeSaid]]:
        """Send an order, with everything that may happen to it."""
        self.exchange.sent.add(client_id)
        self.exchange.in_air.add(client_id)
        try:
            return await self._submit(command, client_id, passage)
        finally:
            self.exchange.in_air.discard(client_id)

    async def _submit(self, command: SubmitOrder, client_id: str, passage: Passage) -> tuple[OrderSaid, list[TradeSaid]]:
        world, odds, exchange = self.world, self.exchange.odds, self.exchange
        self.submits[client_id] = self.submits.get(client_id, 0) + 1
        account.check_age(self.terms, command, self.now())
        if world.chance(odds.no_connection):
            raise Retryable("no connection", reason="exchange_not_available")
        self.ages[client_id], self.left_at[client_id] = world.unix - command.ts, world.now
        if exchange.unfit(command) is not None:
            self.unfit.append((client_id, world.now - exchange.listed_at))
        passage.written()
        if world.chance(odds.lose_request):
            await self._time_out()
        for is_revived, chance, first, last in ((False, odds.late_request, 0, 1), (True, odds.very_late_request, 5, 10)):
            if world.chance(chance):
                late = _TRIP_NS + world.draw.randrange(first * NANOS_PER_S, last * NANOS_PER_S)
                exchange.arrive_late(late, client_id, command, is_revived=is_revived)
                await self._time_out()
        if world.chance(odds.refuse):
            await self._trip()
            raise Rejected("the exchange does not want it", reason="invalid_order")
        arrived: asyncio.Future[Placed | str] = asyncio.get_running_loop().create_future()

        def arrive() -> None:
            order = exchange.arrive(client_id, command)
            if not arrived.done():
                arrived.set_result(order)

        world.after(world.draw.randrange(NANOS_PER_MS, _TRIP_NS), arrive)
        order = await arrived
        if world.chance(odds.lose_reply) or (isinstance(order, Placed) and order.is_denied):
            await self._time_out()
        if isinstance(order, str):
            await self._trip()
            raise Rejected("the exchange does not take it", reason=order)
        said, fills = exchange.said(order), exchange.shown_fills(order)
        await self._trip()
        if self.rules.acknowledges:
            return OrderSaid(symbol=said.symbol, venue_order_id=order.id, state="open", client_id=client_id), []
        return said, fills

    async def cancel(self, _symbol: str, client_id: str, passage: Passage) -> OrderSaid | None:
        """Cancel an order."""
        world, odds, exchange = self.world, self.exchange.odds, self.exchange
        self.cancels[client_id] = world.now
        passage.written()
        if world.chance(odds.lose_cancel):
            await self._time_out()
        done: asyncio.Future[OrderSaid | None] = asyncio.get_running_loop().create_future()

        def arrive() -> None:
            found, said = exchange.open_named(client_id), None
            if found is not None:
                side, order = found
                side.cancel(order)
                said = side.said(order)
                if side is not exchange:
                    exchange.astray.add(client_id)
            if not done.done():
                done.set_result(said)

        world.after(world.draw.randrange(NANOS_PER_MS, _TRIP_NS), arrive)
        said = await done
        if world.chance(odds.lose_cancel):
            await self._time_out()
        await self._trip()
        if said is None:
            raise Rejected("unknown order", reason="order_not_found")
        return None if self.rules.acknowledges else said

    async def cancel_after(self, timeout_ms: int) -> None:
        """Have the exchange cancel everything unless this is asked for again in time; 0: no more."""
        odds = 0.0 if self.is_calm else self.exchange.odds.fail_read
        await self._trip()
        is_lost = self.world.chance(odds)
        if not is_lost or self.world.draw.random() < 0.5:
            self.exchange.count_down(timeout_ms)
        await self._trip()
        if is_lost:
            self.count_failed_at = self.world.now
            raise Retryable("busy", reason="timeout")

    # --- questions

    async def lookup(self, _symbol: str, client_id: str) -> OrderSaid | None:
        """An order by client id."""
        await self._read()
        order = self.exchange.shown(client_id)
        return None if order is None else self._said([order])[0]

    async def order_by_venue_id(self, _symbol: str, venue_order_id: str) -> OrderSaid | None:
        """An order by the exchange's id."""
        await self._read()
        return next(iter(self._said(order for order in self.exchange.all_orders() if order.id == venue_order_id)), None)

    async def listed(self) -> dict[str, Instrument]:
        """What the exchange lists now, by symbol."""
        await self._read()
        return {self.exchange.terms.symbol: self.exchange.terms}

    async def open_orders(self, _symbol: str) -> list[OrderSaid]:
        """Open ones, as far as they are shown."""
        await self._read()
        now = self.world.now
        return self._said(one for one in self.exchange.all_orders() if one.state == "open" and one.visible_at <= now)

    def _said(self, orders: Iterable[Placed]) -> list[OrderSaid]:
        found = list(orders)
        for one in found:
            self.exchange.shows(one)
        return [self.exchange.said(one) for one in found]

    async def order_trades(self, _symbol: str, venue_order_id: str) -> list[TradeSaid]:
        """Fills of an order."""
        await self._read()
        orders = [order for order in self.exchange.all_orders() if order.id == venue_order_id]
        return [fill for order in orders for fill in self.exchange.shown_fills(order)]

    async def trades_since(self, _symbol: str, since_ms: int) -> list[TradeSaid]:
        """Fills since a time."""
        await self._read()
        found = [fill for order in self.exchange.all_orders() for fill in self.exchange.shown_fills(order)]
        return [fill for fill in found if (fill.ts_event or 0) >= since_ms * NANOS_PER_MS]

    # --- the way there and back

    async def _trip(self) -> None:
        if not self.is_near:
            await asyncio.sleep(self.world.draw.randrange(NANOS_PER_MS, _TRIP_NS) / NANOS_PER_S)

    async def _read(self) -> None:
        await self._trip()
        if not self.is_calm and self.world.chance(self.exchange.odds.fail_read):
            raise Retryable("busy", reason="timeout")

    async def _time_out(self) -> None:
        await asyncio.sleep(self.world.draw.choice(_TIMEOUT_S))
        raise OutcomeUnknown("cut", reason="timeout")


async def _fees(_symbol: str) -> dict[str, str]:
    return {"maker": "0.001", "taker": "0.001"}


async def _networks() -> dict[str, Any]:
    return {"BTC": _OPEN, "USDT": _OPEN}


async def _no_burn() -> dict[str, bool]:
    return {"spotBNBBurn": False}


async def _rights() -> dict[str, bool]:
    return {"enableSpotAndMarginTrading": True, "enableWithdrawals": False, "ipRestrict": True}


def _texts(amounts: dict[str, int]) -> dict[str, str]:
    return {asset: format_decimal(Money(amount), MONEY_SCALE) for asset, amount in amounts.items()}
