"""Fees that a venue states while a start trades: where they are dearer than what it reckons with, nothing is planned there on the old ones.

What a start reckons with stands in its row and stays; thresholds, reservations and profits rest on it. A cheaper fee changes nothing: what
was planned costs that at most. One that is as before again lets plans through again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from xarb.engine.rules import Refusal
from xarb.errors import LogError
from xarb.model.instrument import FeeTier, Instrument
from xarb.model.units import MONEY_SCALE

FEE: Final = "fee"
"""The act of an operator's row that says what an account pays on a symbol by now."""
CHANGED: Final = "fee_changed"  # the reason of a refusal
_RATIO: Final = 10 ** (MONEY_SCALE - 9)  # a part per billion as money


class FeeTold(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an account pays on a symbol by the word of its venue, in parts per billion of the notional; `asset` as of a `FeeTier`."""

    account: str
    venue: str
    symbol: str
    maker_ppb: int
    taker_ppb: int
    asset: str

    @property
    def text(self) -> str:
        """As a row has it."""
        return msgspec.json.encode(self).decode()


def read_fee(seq: int, detail: str | None) -> FeeTold:
    """The reverse of `FeeTold.text`, from the row of that seq.

    Raises:
        LogError: it is none.
    """
    try:
        return msgspec.json.decode(detail or "", type=FeeTold)
    except msgspec.DecodeError as error:
        raise LogError(f"seq {seq}: what is said of a fee cannot be read: {error}") from None


class Fees:
    """Which fees are dearer by now than a start reckons with.

    Args:
        known: by account and instrument number, what it reckons with.
        instruments: by number.
    """

    def __init__(self, known: Mapping[tuple[str, int], FeeTier], instruments: Sequence[Instrument]) -> None:
        self._known = known
        self._numbers = {(one.venue, one.symbol): number for number, one in enumerate(instruments)}
        self._dearer: dict[tuple[str, int], tuple[int, int]] = {}  # what is asked by now, and what is reckoned with, ppb

    def take(self, told: FeeTold) -> None:
        """A venue said what an account pays; of what is not traded here it changes nothing."""
        key = (told.account, self._numbers.get((told.venue, told.symbol), -1))
        before = self._known.get(key)
        if before is None:
            return
        pairs = ((told.taker_ppb, int(before.taker_ppb)), (told.maker_ppb, int(before.maker_ppb)))
        dearer = next((pair for pair in pairs if pair[0] > pair[1]), pairs[0] if told.asset != before.asset else None)
        if dearer is None:
            self._dearer.pop(key, None)
        else:
            self._dearer[key] = dearer

    def check(self, account: str, number: int) -> Refusal | None:
        """Why nothing may be planned on an instrument; its value is the ratio that is asked by now, its bound the one reckoned with."""
        found = self._dearer.get((account, number))
        return None if found is None else Refusal(CHANGED, number, found[0] * _RATIO, found[1] * _RATIO)

    def capture(self) -> list[tuple[str, int, int, int]]:
        """Account, instrument number and both ratios, as plain values."""
        return [(*key, *pair) for key, pair in self._dearer.items()]

    def restore(self, copy: Sequence[tuple[str, int, int, int]]) -> None:
        """Take over a copy."""
        self._dearer = {(account, number): (now, before) for account, number, now, before in copy}


def told_by(account: str, venue: str, symbol: str, tier: FeeTier) -> dict[str, Any]:
    """The values of the operator's row with which an account tells a tier."""
    told = FeeTold(
        account=account,
        venue=venue,
        symbol=symbol,
        maker_ppb=int(tier.maker_ppb),
        taker_ppb=int(tier.taker_ppb),
        asset=tier.asset,
    )
    return {"action": FEE, "actor": f"account {account} at {venue}", "detail": told.text}
