"""An exchange that refuses the key of questions or cancels speaks against new orders until everything was compared."""

from __future__ import annotations

import asyncio

import pytest

from tests.venues.test_countdown import CountingAccount, Desk, live
from xarb.errors import Rejected
from xarb.venues.keywatch import REFUSED
from xarb.venues.passage import Passage


@pytest.mark.parametrize(("reason", "readings"), [("authentication_error", [1, 0]), ("order_not_found", [])])
@pytest.mark.parametrize("question", ["lookup", "open_orders", "cancel"])
def test_a_refused_key_speaks_against_orders_until_a_comparison_went_through(
    question: str, reason: str, readings: list[int]
) -> None:
    """Whatever was asked, and told once; another refusal says nothing of the key."""

    async def story() -> None:
        account = CountingAccount()

        async def refuse(*_: object) -> None:
            raise Rejected("the exchange does not want it", reason=reason)

        async with Desk(account) as at:
            await at.send()
            setattr(account, question, refuse)
            if question == "cancel":
                [one] = at.desk.orders.open_orders()
                await at.desk.cancel(one, Passage())
            else:
                await asyncio.sleep(65 if question == "open_orders" else 10)
            assert at.desk.objections == ["okx refuses the key of main"] * len(readings[:1])
            delattr(account, question)
            await asyncio.sleep(90)
            assert at.desk.objections == []
            assert at.readings(REFUSED) == readings

    live(story())
