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


def test_at_a_loss_every_order_without_an_end_is_of_unknown_fate_until_it_is_looked_up() -> None:
    """At once, once however often it is lost, and told by the stream; one that ended stays ended, and what is found there is accepted anew."""

    async def story() -> None:
        account = CountingAccount()
        async with Desk(account) as at:
            at.desk.ready(1)
            await at.send(1)
            account.orders[next(iter(account.orders))].state = "canceled"
            await asyncio.sleep(20)
            await at.send(2)
            before = len(at.rows)
            at.desk.lost(1, "cut")
            at.desk.lost(2, "cut again before it stood")
            reports = [row.values for row in at.rows[before:] if row.kind == "reports"]
            assert [(one["order"], one["event"], one["reason"], one["source"], one["error"]) for one in reports] == [
                (2, "unknown", STREAM_LOST, "stream", "cut")
            ]
            await asyncio.sleep(2)
            assert at.events(2)[-1][0] == "accepted"
            assert "unknown" not in {event for event, _ in at.events(1)}

    live(story())


def test_where_look_ups_alone_tell_of_an_order_it_is_unknown_once_one_is_not_answered() -> None:
    """Without a private stream, or while it is down; with one a look-up that fails says nothing."""

    async def story() -> None:
        account, real = CountingAccount(), CountingAccount.lookup
        is_dumb = False

        async def lookup(symbol: str, client_id: str) -> OrderSaid | None:
            if is_dumb:
                raise Retryable("no route", reason="timeout")
            return await real(account, symbol, client_id)

        account.lookup = lookup  # type: ignore[method-assign]  # the exchange does not answer
        async with Desk(account) as at:
            at.desk.ready(1)
            await at.send()
            is_dumb = True
            await asyncio.sleep(40)
            assert at.readings("lookup_failed")
            assert "unknown" not in {event for event, _ in at.events()}
            is_dumb = False
            at.desk.lost(1, "cut")
            await asyncio.sleep(2)
            assert at.events()[-1][0] == "accepted"
            is_dumb = True
            await asyncio.sleep(5)
            assert at.events()[-1] == ("unknown", "lookup_failed")
            is_dumb = False
            await asyncio.sleep(40)
            assert at.events()[-1][0] == "accepted"

    live(story())
