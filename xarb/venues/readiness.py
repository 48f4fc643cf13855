"""Whether an account may trade for real: its clock, its key's permissions, its true fees, its money, its networks, and what speaks against it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from xarb.errors import Rejected, Retryable
from xarb.model.instrument import FeeTier
from xarb.model.units import NANOS_PER_MS
from xarb.venues import funds
from xarb.venues.account import Account, ClockReading
from xarb.venues.funds import Rights
from xarb.venues.userwires import BalanceTold
from xarb.venues.venue import VenueRow


class Readiness(msgspec.Struct, frozen=True, kw_only=True):
    """What was found; None or absent where the exchange did not tell, with the reason among the objections.

    objections: each forbids real orders. warnings: each is said and forbids nothing. wallets: rows of `wallets`.
    """

    account: str
    exchange: str
    venue: str
    fingerprint: str
    clock: ClockReading | None
    rights: Rights | None
    fees: dict[str, FeeTier]
    balances: tuple[BalanceTold, ...]
    wallets: tuple[VenueRow, ...]
    objections: tuple[str, ...]
    warnings: tuple[str, ...]


KEYS: Final = "keys"
"""The act of an operator's row that says with which key an account trades: what it may do and where it was found, nothing of the key."""
WARNING: Final = "account_warning"  # how many things forbid nothing and should be known


def told(account: Account, venue: str, found: Readiness) -> VenueRow:
    """The row of the key's rights."""
    said = f"{account.label} at {venue}: {', '.join(_words(found.rights))}; from {account.key_source or 'the process that began this one'}"
    return VenueRow("operator", {"action": KEYS, "actor": "session", "detail": said})


def _words(rights: Rights | None) -> list[str]:
    """What a key may do."""
    if rights is None:
        return ["rights not known"]
    known = (("may trade", "may not trade", rights.can_trade), ("may withdraw", "may not withdraw", rights.can_withdraw))
    words = [yes if value else no if value is not None else f"{yes}: not known" for yes, no, value in known]
    return [*words, "bound to addresses" if rights.is_bound_to_addresses else "not bound to addresses"]


class _Notes:
    """Collects what is found and what speaks against it."""

    def __init__(self) -> None:
        self.objections: list[str] = []
        self.warnings: list[str] = []

    async def ask(self, what: str, answer: Any, *, needed: bool = True) -> Any:
        """An answer, or None with a note why there is none."""
        try:
            return await answer
        except (Rejected, Retryable) as error:
            (self.objections if needed else self.warnings).append(f"{what} unknown: {error}")
            return None


async def inspect(account: Account, venue: str, assets: Iterable[str]) -> Readiness:
    """Ask the exchange everything that decides whether the account may trade; the account is open.

    Args:
        account: whose.
        venue: venue id.
        assets: those whose networks matter.
    """
    notes, terms = _Notes(), account.terms
    clock = await notes.ask("clock", account.clock())
    if clock is not None and abs(clock.offset_ns) > terms.max_clock_ms * NANOS_PER_MS:
        notes.objections.append(f"clock is {clock.offset_ns / NANOS_PER_MS:.1f} ms off, {terms.max_clock_ms} ms are allowed")
    rights = await notes.ask("permissions", funds.rights(account))
    if rights is not None:
        _judge(rights, notes, may_withdraw=terms.allow_withdraw)
    fees = {}
    for symbol in account.symbols:
        tier = await notes.ask(f"fees of {symbol}", funds.fee_tier(account, symbol))
        if tier is not None:
            fees[symbol] = tier
    balances = await notes.ask("balances", funds.balances(account))
    wallets = await notes.ask("wallets", funds.wallets(account, venue, assets), needed=False)
    return Readiness(
        account=account.label,
        exchange=terms.exchange,
        venue=venue,
        fingerprint=account.fingerprint,
        clock=clock,
        rights=rights,
        fees=fees,
        balances=tuple(balances or ()),
        wallets=tuple(wallets or ()),
        objections=tuple(notes.objections),
        warnings=tuple(notes.warnings),
    )


def _judge(rights: Rights, notes: _Notes, *, may_withdraw: bool) -> None:
    if rights.can_trade is not True:
        notes.objections.append(
            "the key may not trade" if rights.can_trade is False else "it is not known whether the key may trade"
        )
    if rights.can_withdraw is not False and not may_withdraw:
        what = "the key may withdraw" if rights.can_withdraw else "it is not known whether the key may withdraw"
        notes.objections.append(f"{what}; allow_withdraw permits such a key")
    if rights.is_bound_to_addresses is not True:
        notes.warnings.append("the key is not bound to addresses")
