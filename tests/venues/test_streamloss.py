"""A private stream that is lost speaks against new orders, until another stands and everything was compared with the exchange since."""

from __future__ import annotations

import asyncio

from tests.venues.test_countdown import CountingAccount, Desk, live
from xarb.errors import Retryable
from xarb.venues.accountdesk import STREAM_LOST
from xarb.venues.replies import OrderSaid


class Gate:
    """Comparisons with the exchange wait for it, or fail."""

    def __init__(self, account: CountingAccount) -> None:
        self.opens, self.fails = asyncio.Event(), False
        self._real = account.open_orders
        account.open_orders = self.asked  # type: ignore[method-assign]  # held back, passed on as it is

    async def asked(self, symbol: str) -> list[OrderSaid]:
        """The first request of a comparison."""
        if self.fails:
            raise Retryable("busy", reason="timeout")
        await self.opens.wait()
        return await self._real(symbol)


def test_a_loss_speaks_against_orders_until_everything_was_compared() -> None:
    """That it is back is not enough, nor a comparison that fails; each change is told once."""

    async def story() -> None:
        account = CountingAccount()
        async with Desk(account) as at:
            at.desk.ready(1)
            await asyncio.sleep(5)
            assert at.desk.objections == []
            gate = Gate(account)
            gate.fails = True
            at.desk.lost(1, "cut")
            at.desk.lost(2, "cut again before it stood")
            [why] = at.desk.objections
            assert "private stream of main" in why
            at.desk.ready(3)
            await asyncio.sleep(5)
            assert at.desk.objections == [why]
            gate.fails = False
            await asyncio.sleep(10)
            assert at.desk.objections == [why]
            gate.opens.set()
            await asyncio.sleep(1)
            assert at.desk.objections == []
            assert at.readings(STREAM_LOST) == [1, 0]

    live(story())


def test_a_comparison_for_a_stream_that_is_lost_again_ends_nothing() -> None:
    """It counts for the stream after whose return it began; the next one needs its own."""

    async def story() -> None:
        account = CountingAccount()
        async with Desk(account) as at:
            at.desk.ready(1)
            await asyncio.sleep(5)
            gate = Gate(account)
            at.desk.lost(1, "cut")
            at.desk.ready(2)
            await asyncio.sleep(1)
            at.desk.lost(2, "cut")
            gate.opens.set()
            await asyncio.sleep(5)
            assert at.desk.objections
            at.desk.ready(3)
            await asyncio.sleep(1)
            assert at.desk.objections == []
            assert at.readings(STREAM_LOST) == [1, 0]

    live(story())


def test_a_start_without_a_stream_goes_on_with_polling() -> None:
    """A connection that never stood is no loss."""

    async def story() -> None:
        async with Desk(CountingAccount()) as at:
            at.desk.lost(1, "no route")
            assert at.desk.objections == []

    live(story())
