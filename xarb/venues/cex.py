"""A centralised exchange as the live driver sees it: takes commands, yields reports, balances, transfers and wallets.

It trades; market data comes over other connections. Each account has its own client, keys, budgets, private stream and orders. Whatever
a request's fate, the rows tell it: `sent` when its bytes were handed to the network, then what replies, the private stream and look-ups
say. An order of unknown fate is looked up until it is known, and nothing is ever sent twice.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from typing import Any, Final

from xarb.engine.breaker import NO_MONEY
from xarb.errors import ConfigError, InvariantBroken, OutcomeUnknown, Rejected, Retryable
from xarb.model.command import Command, SubmitOrder
from xarb.model.instrument import Instrument
from xarb.model.units import MONEY_SCALE, Money
from xarb.venues.account import Account
from xarb.venues.accountdesk import AccountDesk, Wishes
from xarb.venues.liveorders import Expected, Watched
from xarb.venues.orderids import OrderName
from xarb.venues.passage import Passage
from xarb.venues.venue import VenueRow

QUEUE_ROWS: Final = 100_000  # rows that wait for the driver; beyond it no new order leaves
_SHORT: Final = ("ioc", "fok")  # times in force that end at once
CLOSE_S: Final = 10.0  # how long requests in flight are waited for at the end


class CexVenue:
    """One exchange with one or more accounts; a `Venue`.

    Args:
        name: venue id.
        accounts: by label; opened and closed here.
        instruments: by the engine's number; read when an order is sent, so that what the engine learns is known here.
        wishes: whose orders these are, and what was left.
        conns: number in the log of each account's private connection, by label.
    """

    def __init__(
        self,
        name: str,
        accounts: Sequence[Account],
        instruments: Sequence[Instrument],
        *,
        wishes: Wishes,
        conns: Mapping[str, int],
    ) -> None:
        self._name = name
        self._instruments = instruments
        self._wishes = wishes
        self._rows: deque[VenueRow] = deque()
        self._wake = asyncio.Event()
        self._is_closed = False
        self._tasks: set[asyncio.Task[None]] = set()
        natives = {one.symbol: one.native for one in instruments if one.venue == name}
        self._desks: dict[str, AccountDesk] = {}
        for account in accounts:
            if account.label in self._desks:
                raise ConfigError(f"two accounts of {name} are called {account.label}")
            if (known := set(account.symbols) - set(natives)) != set():
                raise ConfigError(f"{name} has no instrument {', '.join(sorted(known))} in this log")
            desk = AccountDesk(account, name, natives, wishes=wishes, tell=self._tell, spawn=self._spawn)
            desk.conn = conns.get(account.label, -1)
            self._desks[account.label] = desk

    @property
    def name(self) -> str:
        """Venue id."""
        return self._name

    @property
    def desks(self) -> Mapping[str, AccountDesk]:
        """What is done for each account, by label."""
        return self._desks

    async def open(self) -> None:
        """Load markets, connect the private streams, reconcile every account: afterwards each order's fate is told or being looked up.

        Raises:
            Refused: a clock is too far from ours. VenueError: an account could not be opened or reconciled.
        """
        for desk in self._desks.values():
            await desk.open()

    async def reconcile(self) -> None:
        """Compare with the exchange now: open orders, unknown ones, fills, balances, transfers."""
        for desk in self._desks.values():
            await desk.reconcile()

    # --- rows

    def _tell(self, rows: Sequence[VenueRow]) -> None:
        self._rows.extend(rows)
        if rows:
            self._wake.set()

    def take_rows(self) -> list[VenueRow]:
        """Every row that came since, at once; for a driver that is woken by `rows_came`."""
        rows = list(self._rows)
        self._rows.clear()
        self._wake.clear()
        return rows

    async def rows_came(self) -> None:
        """Wait until `take_rows` has something to give, or the venue is closed."""
        await self._wake.wait()

    async def rows(self) -> AsyncIterator[VenueRow]:
        """Rows in the order of their arrival until the venue is closed."""
        while True:
            while self._rows:
                yield self._rows.popleft()
            if self._is_closed:
                return
            self._wake.clear()
            await self._wake.wait()

    # --- commands

    def send(self, commands: Sequence[Command]) -> None:
        """Begin to send commands, in order, at the scales that the instruments have now; what becomes of them the rows tell.

        Raises:
            InvariantBroken: an account or instrument that this venue does not have, a client order id of another start, or one that was
                sent before: nothing from that command on is sent.
        """
        for command in commands:
            self._begin(command, self._instruments[command.instrument])

    def _begin(self, command: Command, instrument: Instrument) -> None:
        desk = self._desks.get(command.account)
        if desk is None or instrument.venue != self._name:
            raise InvariantBroken(f"order {command.order} for {command.account} on {instrument.id} was given to {self._name}")
        name = OrderName(self._wishes.start, command.order)
        if command.client_order_id != desk.ids.canonical(name):
            raise InvariantBroken(f"order {command.order} is called {command.client_order_id}, not {desk.ids.canonical(name)}")
        if isinstance(command, SubmitOrder):
            if desk.orders.order(name) is not None:
                raise InvariantBroken(f"{command.client_order_id} was sent already")
            one = desk.leaves(_expected(command, instrument, name))
            self._spawn(self._submit(desk, one, (command, instrument)))
            return
        if (known := desk.orders.order(name)) is None:
            raise InvariantBroken(f"{command.client_order_id} is to be canceled and was never sent")
        self._spawn(self._cancel(desk, known))

    async def _submit(self, desk: AccountDesk, one: Watched, order: tuple[SubmitOrder, Instrument]) -> None:
        (command, instrument), passage = order, Passage()
        passage.when_sent(lambda: desk.say(desk.orders.sent(one, desk.account.now())))
        try:
            if (command.post_only or command.tif not in _SHORT) and not desk.may_rest:
                raise Rejected(f"an order that rests at {self._name} outlives us: no countdown cancels it there", reason="may_rest")
            if self.failure is not None:
                raise Retryable("the venue's own work failed", reason="venue_failed")
            if len(self._rows) >= QUEUE_ROWS:
                raise Retryable("reports are not taken", reason="queue_full")
            said, trades = await desk.account.submit(instrument, command, desk.ids.encode(one.expected.name), passage)
        except Rejected as error:
            told = desk.orders.refused if passage.may_have_left else desk.orders.not_sent
            desk.say(told(one, error.reason, str(error)))
            if error.reason == NO_MONEY:
                desk.lacks_money(str(error))
        except Retryable as error:
            desk.say(desk.orders.not_sent(one, error.reason, str(error)))
        except OutcomeUnknown as error:
            desk.say(desk.orders.lost(one, error.reason, str(error)))
        except asyncio.CancelledError:
            desk.say(desk.orders.lost(one, "closed", "the reply was not waited for"))
            raise
        else:
            desk.say(desk.orders.heard(said, trades, source="send"))
            if desk.account.rules.acknowledges:
                desk.resolve(one)
        finally:
            desk.answered(one)

    async def _cancel(self, desk: AccountDesk, one: Watched) -> None:
        """A cancel never overtakes its order: it waits for the order's reply, or for the end of that wait."""
        await desk.until_answered(one)
        await desk.cancel(one, Passage())

    @property
    def left(self) -> list[Watched]:
        """Orders of earlier starts that are open, or whose fate is not known."""
        return [
            one
            for desk in self._desks.values()
            for one in desk.orders.open_orders()
            if one.expected.name.start != self._wishes.start
        ]

    async def cancel_left(self) -> None:
        """Cancel what earlier starts left open; rows tell what came of it."""
        for one in self.left:
            await self._desks[one.expected.account].cancel(one, Passage())

    async def cancel_open(self) -> None:
        """Cancel whatever may still fill, of this start too; done when each cancel was answered or lost."""
        open_orders = [(desk, one) for desk in self._desks.values() for one in desk.orders.open_orders()]
        await asyncio.gather(*(self._cancel(desk, one) for desk, one in open_orders))

    # --- the end

    async def close(self) -> None:
        """End the connections; requests in flight are waited for, then `rows` ends after the last row."""
        for desk in self._desks.values():
            desk.stop()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CLOSE_S)
        for task in [*self._tasks]:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for desk in self._desks.values():
            await desk.close()
        self._is_closed = True
        self._wake.set()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.failure = error if self.failure is None else self.failure
            self._tell(
                [VenueRow("health", {"venue": self._name, "metric": "venue_failed", "value": 1, "detail": type(error).__name__})]
            )

    failure: BaseException | None = None


def _expected(command: SubmitOrder, instrument: Instrument, name: OrderName) -> Expected:
    return Expected(
        name=name,
        account=command.account,
        strategy=command.strategy,
        venue=instrument.venue,
        symbol=instrument.symbol,
        side=command.side,
        qty=Money(command.qty_int * 10 ** (MONEY_SCALE - instrument.qty_scale)),
    )
