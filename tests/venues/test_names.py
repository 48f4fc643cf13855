"""What a venue is given to send must be this start's: a mistake of the caller stops before anything leaves."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from tests.venues.test_countdown import CountingAccount, Desk, live
from tests.venues.trader import LOG_ID
from xarb.errors import InvariantBroken
from xarb.model.command import CancelOrder, SubmitOrder

NAME = f"{LOG_ID[:8]}-1-1"
ABOUT: dict[str, Any] = {"ts": 0, "order": 1, "client_order_id": NAME, "account": "main", "strategy": "s", "instrument": 0}
SUBMIT = SubmitOrder(**ABOUT, side="buy", tif="ioc", price_int=100, qty_int=5)


@pytest.mark.parametrize(
    "wrong",
    [
        {"client_order_id": f"{LOG_ID[:8]}-2-1"},
        {"client_order_id": f"f{NAME[1:]}"},
        {"client_order_id": f"{LOG_ID[:8]}-1-2"},
        {"account": "other"},
    ],
    ids=["another start", "another log", "another order", "another account"],
)
def test_nothing_leaves_under_another_name_or_for_another_account(wrong: dict[str, str]) -> None:
    """Neither an order nor a cancel, nor what was given behind it."""

    async def story() -> None:
        account = CountingAccount()
        async with Desk(account) as at:
            for command in (SUBMIT, CancelOrder(**ABOUT)):
                with pytest.raises(InvariantBroken, match="order 1 "):
                    at.venue.send([msgspec.structs.replace(command, **wrong), SUBMIT])
            await asyncio.sleep(1)
            assert ("submit" not in {act for act, _ in account.acts}, at.events()) == (True, [])

    live(story())


def test_what_was_never_sent_is_not_canceled() -> None:
    """No order of that name is known here."""

    async def story() -> None:
        async with Desk(CountingAccount()) as at:
            with pytest.raises(InvariantBroken, match="never sent"):
                at.venue.send([CancelOrder(**ABOUT)])

    live(story())
