"""An order that is refused for lack of money speaks against new orders, until balances were compared with the exchange since."""

from __future__ import annotations

import asyncio

from tests.venues.test_countdown import CountingAccount, Desk, live
from tests.venues.test_streamloss import Gate
from xarb.venues.accountdesk import MONEY_SHORT


def test_a_lack_of_money_speaks_against_orders_until_everything_was_compared() -> None:
    """A comparison is asked for at once, and one that fails or found something to be confirmed is not enough; each change is told once."""

    async def story() -> None:
        account = CountingAccount()
        async with Desk(account) as at:
            gate = Gate(account)
            at.desk.lacks_money("insufficient balance")
            at.desk.lacks_money("insufficient balance again")
            [why] = at.desk.objections
            assert "main at okx has less money" in why
            gate.fails = True
            await asyncio.sleep(30)
            assert at.desk.objections == [why]
            at.desk.check.is_open = True  # a difference that another ask is to confirm
            gate.fails = False
            gate.opens.set()
            await asyncio.sleep(30)
            assert at.desk.objections == [why]
            at.desk.check.is_open = False
            await asyncio.sleep(30)
            assert at.desk.objections == []
            assert at.readings(MONEY_SHORT) == [1, 0]

    live(story())
