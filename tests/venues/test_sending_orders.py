"""Orders on their way to an exchange and what ends them: a cancel behind them, a venue that is closed, rows that nobody takes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from tests.venues.test_countdown import CountingAccount, Desk, live
from tests.venues.trader import LOG_ID
from xarb.model.command import CancelOrder, SubmitOrder
from xarb.venues import cex

if TYPE_CHECKING:
    import pytest

ABOUT: dict[str, Any] = {
    "ts": 0,
    "order": 1,
    "client_order_id": f"{LOG_ID[:8]}-1-1",
    "account": "main",
    "strategy": "s",
    "instrument": 0,
}
ORDER = SubmitOrder(**ABOUT, side="buy", tif="gtc", price_int=100, qty_int=5)


class Held(CountingAccount):
    """Its order requests leave, and their replies wait."""

    def __init__(self) -> None:
        super().__init__()
        self.goes_on = asyncio.Event()

    async def submit(self, instrument: Any, command: Any, client_id: str, passage: Any) -> Any:
        """Wait with the bytes on their way."""
        passage.written()
        await self.goes_on.wait()
        return await super().submit(instrument, command, client_id, passage)


def test_a_cancel_never_overtakes_its_order() -> None:
    """An exchange that does not know the order yet would say that there is none, and it would live on."""

    async def story() -> None:
        account = Held()
        async with Desk(account) as at:
            at.venue.send([ORDER, CancelOrder(**ABOUT)])
            await asyncio.sleep(30)
            assert "cancel_sent" not in [event for event, _ in at.events()]
            account.goes_on.set()
            await asyncio.sleep(30)
            events = [event for event, _ in at.events()]
            assert events.index("accepted") < events.index("cancel_sent") < events.index("canceled")

    live(story())


def test_a_reply_that_is_not_waited_for_leaves_its_order_of_unknown_fate() -> None:
    """It left, so that nobody may call it unsent: the next start looks it up."""

    async def story() -> None:
        at = Desk(Held())
        async with at:
            at.venue.send([ORDER])
            await asyncio.sleep(1)
        assert at.events()[-1] == ("unknown", "closed")

    live(story())


def test_no_order_leaves_while_nobody_takes_what_becomes_of_orders(monkeypatch: pytest.MonkeyPatch) -> None:
    """The queue of rows is bounded; what is not sent is said."""
    monkeypatch.setattr(cex, "QUEUE_ROWS", 0)

    async def story() -> None:
        async with Desk(CountingAccount()) as at:
            await at.send()
            assert at.events() == [("not_sent", "queue_full")]

    live(story())
