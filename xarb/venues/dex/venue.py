"""A chain as the live driver sees it: takes cycles and paths to be swapped, yields what becomes of them.

Rows are handed on at once, because a transaction leaves only when the row of its intent is in the log. Commands are taken one after the other,
in order: each is simulated first.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Sequence
from typing import Any, Final

from xarb.errors import InvariantBroken
from xarb.model.command import AnySwap, CancelCycle, ChainCommand, SwapPath
from xarb.venues.dex.desk import ChainDesk, Trade
from xarb.venues.dex.executor import NOBODY, Cycle, Funding, Hop, Path
from xarb.venues.orderids import OrderName, named

QUEUE: Final = 100  # commands that wait; an edge does not wait so long
CLOSE_S: Final = 10.0  # how long what is under way is waited for at the end
_FUNDINGS: Final = {
    "callback": Funding.CALLBACK,
    "wallet": Funding.WALLET,
    "balancer": Funding.BALANCER,
    "flash": Funding.FLASH,
    "aave": Funding.AAVE,
}


class ChainVenue:
    """One address on one chain.

    Args:
        desk: does the work; opened and stopped here.

    Attributes:
        failure: what ended its work, if something did.
    """

    def __init__(self, desk: ChainDesk) -> None:
        self.desk = desk
        self.failure: BaseException | None = None
        self._queue: asyncio.Queue[ChainCommand] = asyncio.Queue()  # of at most QUEUE wishes, and what gives up some of them
        self._given_up: set[int] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._is_idle = asyncio.Event()
        self._is_idle.set()
        self._failed = asyncio.Event()

    @property
    def name(self) -> str:
        """Venue id."""
        return self.desk.terms.venue

    async def open(self) -> None:
        """See that it is the right chain and our executor, and what became of what earlier starts sent.

        Raises:
            Refused: it is not. Retryable, Rejected: the node did not say.
        """
        await self.desk.open()

    def listen(self) -> None:
        """From here on follow the chain, and send what is asked for; the start is in the log."""
        self._tasks = [asyncio.create_task(self._guarded(one)) for one in (self.desk.run(), self._work())]

    async def failed(self) -> BaseException:
        """Wait until its work fails; what it was."""
        await self._failed.wait()
        assert self.failure is not None
        return self.failure

    def send(self, commands: Sequence[ChainCommand]) -> None:
        """Take commands, in order; rows tell what becomes of them.

        Raises:
            InvariantBroken: one is of another venue or account, or its client order id is of another log, or of another start where it is no cancel.
        """
        terms = self.desk.terms
        for command in commands:
            if (command.venue, command.account) != (self.name, terms.account):
                raise InvariantBroken(f"order {command.order} for {command.account} at {command.venue} was given to {self.name}")
            if isinstance(command, CancelCycle):
                self._name(command)
                self._given_up.add(command.order)
                if self.failure is not None:
                    continue
            elif command.client_order_id != (name := f"{terms.log_id}-{terms.start}-{command.order}"):
                raise InvariantBroken(f"order {command.order} is called {command.client_order_id}, not {name}")
            elif self._queue.qsize() >= QUEUE or self.failure is not None:
                why = "queue_full" if self.failure is None else "venue_failed"
                # later: who sends is within the pass that writes the log
                asyncio.get_running_loop().call_soon(self.desk.refuse, _trade(command), why)
                continue
            self._is_idle.clear()
            self._queue.put_nowait(command)

    async def cancel_open(self) -> None:
        """Nothing more is begun; what is public and waits is bid for with transfers to oneself, and a relay is asked no more."""
        self.desk.stop()
        await self._is_idle.wait()
        await self.desk.cancel_open()

    async def reconcile(self) -> None:
        """Compare with the chain now.

        Raises:
            Retryable, Rejected: the node did not say. BadAnswer: not in a way that can be read.
        """
        await self.desk.look()

    async def close(self) -> None:
        """End its work; what is being handed over is waited for."""
        self.desk.stop()
        with contextlib.suppress(TimeoutError):  # then it is cancelled, and told as of unknown fate
            async with asyncio.timeout(CLOSE_S):
                await self._is_idle.wait()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _work(self) -> None:
        while True:
            command = await self._queue.get()
            if isinstance(command, CancelCycle):
                await self.desk.cancel(self._name(command))
                self._given_up.discard(command.order)
            elif command.order in self._given_up:
                self.desk.refuse(_trade(command), "canceled")
            else:
                await self.desk.trade(_trade(command))
            if self._queue.empty():
                self._is_idle.set()

    def _name(self, command: CancelCycle) -> OrderName:
        """Which order is given up, of this start or of an earlier one.

        Raises:
            InvariantBroken: its client order id is of another log, or of a later start.
        """
        name = named(command.client_order_id, self.desk.terms.log_id)
        if (
            name is None
            or name.start > self.desk.terms.start
            or (name.start == self.desk.terms.start and name.order != command.order)
        ):
            raise InvariantBroken(f"order {command.order} is called {command.client_order_id}")
        return name

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception as error:
            self.failure = self.failure or error
            self._failed.set()
            self._is_idle.set()
            raise


def _trade(command: AnySwap) -> Trade:
    return Trade(
        strategy=command.strategy,
        order=command.order,
        bundle=command.bundle,
        cycle=_wish(command),
        channel=command.channel,
        gas_limit=command.gas_limit,
        ceiling_wei=command.ceiling_wei,
    )


def _wish(command: AnySwap) -> Cycle | Path:
    """What the contract is to be told."""
    hops = [Hop(one.pool, one.token_in, one.is_v3, one.zero_for_one, one.fee_pips) for one in command.hops]
    if isinstance(command, SwapPath):
        return Path(hops, command.amount, command.token_out, command.min_out, command.deadline_s)
    return Cycle(hops, command.amount, _FUNDINGS[command.funding], command.lender or NOBODY, command.min_profit, command.deadline_s)
