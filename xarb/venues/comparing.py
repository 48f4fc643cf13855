"""What an account has more than its log says, where no process compares: asked for at a kill, with the fills and transfers that came since."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec

from xarb.errors import Retryable, VenueError
from xarb.model.units import MONEY_SCALE, format_decimal
from xarb.venues.account import Account
from xarb.venues.funds import Transfers, balances
from xarb.venues.replies import TradeSaid, UnreadableReply


class Ledger(Protocol):
    """What accounts should have by a log."""

    def take(self, kind: str, values: Mapping[str, Any], /) -> None:
        """A fill of `reports` or a row of `transfers`, which counts once."""

    def totals(self, account: str, venue: str, /) -> Mapping[str, int]:
        """By asset what an account should have, free and locked."""


class Since(msgspec.Struct, frozen=True, kw_only=True):
    """Of which account the comparison is, and from when (Unix ms by the exchange) fills and transfers may lack in the ledger."""

    account: Account
    venue: str
    ledger: Ledger
    symbols: Sequence[str]
    since_ms: int


class Comparison:
    """Of one account at one venue."""

    def __init__(self, since: Since) -> None:
        self._of = since
        self._transfers = Transfers(since.account, since.venue)
        self.unasked: str | None = None  # why transfers are not known

    async def more(self) -> dict[str, int]:
        """By asset what it has more (negative: less) than the log and what came since say.

        Fills are asked for where a coin of their symbol differs: each moves both.

        Raises:
            Retryable, Rejected: the exchange did not tell.
        """
        found = await self._differences()
        differing = {asset for asset, amount in found.items() if amount}
        if not differing:
            return found
        for symbol in self._of.symbols:
            if differing & set(_coins(symbol)):
                for trade in await self._of.account.trades_since(symbol, self._of.since_ms):
                    self._of.ledger.take("reports", self._fill(trade))
        try:
            for row in await self._transfers.fresh(self._of.since_ms):
                self._of.ledger.take(row.kind, row.values)
            self.unasked = None
        except (VenueError, UnreadableReply) as error:  # a key for trading alone may not see them
            self.unasked = f"deposits and withdrawals are not known: {error}"
        return await self._differences()

    async def _differences(self) -> dict[str, int]:
        try:
            theirs = {one.asset: one.free + one.locked for one in await balances(self._of.account)}
        except UnreadableReply as error:
            raise Retryable(str(error), reason="unreadable_reply") from None
        ours = self._of.ledger.totals(self._of.account.label, self._of.venue)
        return {asset: theirs.get(asset, 0) - ours.get(asset, 0) for asset in sorted({*ours, *theirs})}

    def _fill(self, trade: TradeSaid) -> dict[str, Any]:
        names = ("symbol", "fill_id", "side", "price", "qty", "fee", "fee_asset")
        whose = {"account": self._of.account.label, "venue": self._of.venue, "event": "fill"}
        return whose | {name: getattr(trade, name) for name in names}


def in_words(more: Mapping[str, int], unasked: str | None) -> str:
    """Differences in words, and what may be missing from them; empty without one."""
    parts = [f"{format_decimal(amount, MONEY_SCALE)} {asset}" for asset, amount in more.items() if amount]
    return "; ".join(filter(None, (", ".join(parts), unasked))) if parts else ""


def _coins(symbol: str) -> tuple[str, str]:
    base, _, quote = symbol.partition("/")
    return base, quote.partition(":")[0]
