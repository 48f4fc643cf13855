"""What is asked of an exchange before an order that it does not know is given up, and what is told where the answers do not agree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from xarb.errors import OutcomeUnknown, Rejected, Retryable
from xarb.model.units import NANOS_PER_S
from xarb.venues import absence
from xarb.venues.account import Account
from xarb.venues.balancecheck import BalanceCheck
from xarb.venues.liveorders import LiveOrders, Watched
from xarb.venues.passage import Passage
from xarb.venues.userwires import BalanceTold
from xarb.venues.venue import VenueRow

UNPROVEN: Final = "order_unproven"  # look-ups that did not find an order, and what speaks against its being dead


class Desk(Protocol):
    """The account's desk, as far as it is needed here."""

    account: Account
    orders: LiveOrders
    check: BalanceCheck

    def say(self, rows: Sequence[VenueRow]) -> None:
        """Tell rows of orders."""

    def reading(self, metric: str, value: int, detail: str) -> None:
        """Note a reading."""

    async def ask_fills(self, symbol: str) -> bool:
        """Report the fills on a symbol; whether there is one of an order that nobody names."""

    async def ask_balances(self) -> list[BalanceTold]:
        """Ask for all balances, and tell them."""


class Settling:
    """The last proofs of orders that look-ups do not find.

    Args:
        desk: asks and tells.
        start: number of this start.
        ended_at: when the log ended before it, Unix ns.
    """

    def __init__(self, desk: Desk, start: int, ended_at: int) -> None:
        self._desk, self._start, self._ended_at = desk, start, ended_at

    async def give_up(self, one: Watched) -> None:
        """Prove that the exchange does not have an order, or find it after all, or say what speaks against either.

        Raises:
            Retryable, Rejected: the exchange did not tell.
        """
        desk = self._desk
        against = await self._never_known(one)
        is_denied = against is None
        if against is None:
            against = await self._shown_by_the_balance(one)
        if one.is_done or one.is_placed:
            return
        if against is None:
            desk.say(desk.orders.never_arrived(one))
            desk.say(desk.orders.release())
            return
        one.denied_at = (one.denied_at or desk.account.now()) if is_denied else 0
        if against != one.doubt:
            one.doubt = against
            desk.reading(UNPROVEN, one.misses, f"{one.sent_id} is not found, and not proven to be dead: {against}")

    def is_denied(self, one: Watched) -> bool:
        """Whether nothing but the balance has spoken for an order for so long that what differs is to be told."""
        return one.denied_at > 0 and self._desk.account.now() - one.denied_at >= absence.DOUBT_S * NANOS_PER_S

    async def _never_known(self, one: Watched) -> str | None:
        """What a cancel, the open orders or the fills say for an order that look-ups do not find; None: nothing."""
        desk, symbol = self._desk, one.expected.symbol
        try:
            said = await desk.account.cancel(symbol, one.sent_id, Passage())
        except (Rejected, Retryable, OutcomeUnknown) as error:
            if error.reason != "order_not_found":
                return f"what its cancel came to is not known ({error.reason})"
        else:
            if said is not None:
                desk.say(desk.orders.heard(said, source="cancel"))
            return "a cancel found it"
        for said in await desk.account.open_orders(symbol):
            desk.say(desk.orders.heard(said, source="lookup"))
        return f"nobody names the order of a fill on {symbol}" if await desk.ask_fills(symbol) else None

    async def _shown_by_the_balance(self, one: Watched) -> str | None:
        """What in the balance may be a fill of an order that all else denies; None: nothing, or the order is too old for that to say more."""
        desk = self._desk
        if one.expected.name.start < self._start and desk.account.wall() - self._ended_at >= absence.OLD_NS:
            return None
        more = desk.check.differences(await desk.ask_balances())
        if more is None:
            return "nobody knows what the account should have"
        return absence.doubt(one.expected, more, [other.expected for other in desk.orders.open_orders() if other is not one])
