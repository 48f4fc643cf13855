"""What an account pays, asked for again while it trades: each change is a row, and an answer that fails is told and changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from xarb.engine.feechange import told_by
from xarb.errors import Rejected, Retryable
from xarb.model.instrument import FeeTier
from xarb.venues.account import Account
from xarb.venues.funds import fee_tier
from xarb.venues.venue import VenueRow

UNKNOWN: Final = "fees_unknown"  # 1: an exchange did not say what an account pays on a symbol


class FeeWatch:
    """Of one account at one venue.

    Args:
        account: asks.
        venue: venue id.
        known: by symbol, what was told last.
    """

    def __init__(self, account: Account, venue: str, known: Mapping[str, FeeTier]) -> None:
        self._account, self._venue = account, venue
        self._told = {symbol: _plain(tier) for symbol, tier in known.items()}

    async def fresh(self) -> list[VenueRow]:
        """Rows of what has changed since it was told last, and of what the exchange did not say."""
        rows, label = list[VenueRow](), self._account.label
        self._account.fee_asset = None  # that is asked for again too
        for symbol in self._account.symbols:
            try:
                tier = await fee_tier(self._account, symbol)
            except (Retryable, Rejected) as error:
                about = {"venue": self._venue, "metric": UNKNOWN, "value": 1, "detail": f"{label}: {symbol}: {error}"}
                rows.append(VenueRow("health", about))
                continue
            if self._told.get(symbol) != _plain(tier):
                self._told[symbol] = _plain(tier)
                rows.append(VenueRow("operator", told_by(label, self._venue, symbol, tier)))
        return rows


def _plain(tier: FeeTier) -> tuple[int, int, str]:
    return int(tier.maker_ppb), int(tier.taker_ppb), tier.asset
