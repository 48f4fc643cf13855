"""Cancels every open order of a log at one account, without engine, log or private stream, and proves that none is left."""

from __future__ import annotations

from typing import Final

import msgspec

from xarb.errors import OutcomeUnknown, Rejected, Retryable
from xarb.venues.account import Account
from xarb.venues.orderids import ClientIds
from xarb.venues.passage import Passage
from xarb.venues.replies import OrderSaid

ROUNDS: Final = 5  # an order may come to life while others are canceled


class Killed(msgspec.Struct, frozen=True, kw_only=True):
    """What was done: client ids of canceled orders, those that are still open, open orders of others (left alone), and what failed."""

    canceled: tuple[str, ...]
    left: tuple[str, ...]
    foreign: int
    failures: tuple[str, ...]


async def kill(account: Account, log_id: str) -> Killed:
    """Cancel until the exchange lists no open order of the log on the account's symbols; the account is open.

    Raises:
        Retryable, Rejected: the list of open orders cannot be had, so that nothing is proven.
    """
    ids = ClientIds(log_id, account.terms.exchange)
    canceled: dict[str, None] = {}
    failures: list[str] = []
    for _ in range(ROUNDS):
        mine, foreign = await _open(account, ids)
        if not mine:
            return Killed(canceled=tuple(canceled), left=(), foreign=foreign, failures=tuple(failures))
        for order in mine:
            assert order.client_id is not None
            try:
                await account.cancel(order.symbol, order.client_id, Passage())
            except (Rejected, Retryable, OutcomeUnknown) as error:
                failures.append(f"{order.client_id}: {error}")
            else:
                canceled[order.client_id] = None
    mine, foreign = await _open(account, ids)
    left = tuple(order.client_id or "" for order in mine)
    return Killed(canceled=tuple(canceled), left=left, foreign=foreign, failures=tuple(failures))


async def _open(account: Account, ids: ClientIds) -> tuple[list[OrderSaid], int]:
    """Open orders of the log, and how many there are of others."""
    found = [order for symbol in account.symbols for order in await account.open_orders(symbol)]
    mine = [order for order in found if ids.decode(order.client_id) is not None]
    return mine, len(found) - len(mine)
