"""The nonces of one address on one chain: which are taken, by what, and what became of it.

Everything that it knows follows from `transactions` rows: a method says which rows a change comes to, and applies them as a start does that
reads them from the log. A nonce is taken before anything leaves, one whose transactions were all dropped is given out again before a new
one (else nothing behind it could be mined), and several transactions may bid for one nonce: at most one of them is mined. No clock and
no I/O here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal

import msgspec

from xarb.errors import InvariantBroken
from xarb.model.order import TRANSACTION_LIFE, TRANSACTION_OPEN, advance
from xarb.venues.dex.fees import Fees
from xarb.venues.venue import VenueRow

Purpose = Literal["trade", "replacement", "cancel", "approve"]
Channel = Literal["public", "relay"]
KIND: Final = "transactions"
OBJECTIONS: Final = "chain_objections"  # the reading of how many there are, and what they say
_SPENT: Final = frozenset({"mined", "replaced"})
KEPT: Final = (
    64  # transactions of one nonce that are known; of dropped ones beyond that the oldest are forgotten, whose time is long over
)


class Whose(msgspec.Struct, frozen=True, kw_only=True):
    """Who asked for a transaction: account, strategy, and the order of a start where there is one."""

    account: str
    strategy: str = ""
    start: int | None = None
    order: int | None = None


class Intent(msgspec.Struct, frozen=True, kw_only=True):
    """A signed transaction before it leaves.

    Attributes:
        nonce, tx_hash: the hash is lower-case hex with 0x.
        purpose, channel: what it is for, and how it leaves.
        fees, gas_limit: what it bids.
        ceiling_wei: most that a replacement of it may bid for each gas; None: what the policy allows.
        deadline_s: latest block time at which it is of use; None: any.
        at_block: head when it was made.
        whose: who asked for it.
    """

    nonce: int
    tx_hash: str
    purpose: Purpose
    channel: Channel
    fees: Fees
    gas_limit: int
    ceiling_wei: int | None
    deadline_s: int | None
    at_block: int
    whose: Whose


class Attempt:
    """A transaction that bids for a nonce; `block` is the one that holds it, once one does. `has_left`: somebody else may have it."""

    __slots__ = ("block", "has_left", "intent", "state")

    def __init__(self, intent: Intent) -> None:
        self.intent = intent
        self.state = "intent"
        self.has_left = False
        self.block: tuple[int, str] | None = None

    @property
    def is_open(self) -> bool:
        """It may be mined as it is."""
        return self.state in TRANSACTION_OPEN

    def told(self) -> tuple[Intent, str, bool, tuple[int, str] | None]:
        """Everything that is known of it."""
        return self.intent, self.state, self.has_left, self.block


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """How nonces and chain compare.

    Attributes:
        adopt: nonces below this one are spent by transactions that the log does not know; None where there are no such.
        gaps: free nonces below ones that wait: nothing behind the first is mined before it.
        objections: what speaks against sending anything, each in words.
    """

    adopt: int | None
    gaps: tuple[int, ...]
    objections: tuple[str, ...]


class Nonces:
    """The nonces of an address.

    Args:
        venue: venue id of the chain.
        chain_id: its EIP-155 id.
        address: lower-case hex with 0x.

    Attributes:
        address: as given.
        next: the lowest nonce that was never given out; None before the chain was asked.
        halted: why nothing is sent any more; None while it is.
    """

    def __init__(self, venue: str, chain_id: int, address: str) -> None:
        self._venue, self._chain_id, self.address = venue, chain_id, address.lower()
        self._slots: dict[int, list[Attempt]] = {}
        self._by_hash: dict[str, Attempt] = {}
        self.next: int | None = None
        self.halted: str | None = None

    # --- what others ask

    def attempts(self, nonce: int) -> list[Attempt]:
        """The transactions of a nonce whose fate is not final, in order of their making."""
        return self._slots.get(nonce, [])

    def attempt(self, tx_hash: str) -> Attempt | None:
        """A transaction by its hash; None: not ours, or final."""
        return self._by_hash.get(tx_hash)

    def nonces(self) -> list[int]:
        """Those that were given out and are not final, in order."""
        return sorted(self._slots)

    def waiting(self) -> list[int]:
        """Those of which a transaction may be mined as it is."""
        return [nonce for nonce in self.nonces() if any(one.is_open for one in self._slots[nonce])]

    def free(self) -> list[int]:
        """Those that were given out, and whose transactions were all dropped."""
        return [nonce for nonce in self.nonces() if all(one.state == "dropped" for one in self._slots[nonce])]

    def bid(self, nonce: int) -> Fees | None:
        """The highest fees of a nonce that nodes may remember, which another transaction must outbid; None: no node can know one."""
        known = [one.intent.fees for one in self.attempts(nonce) if one.has_left and one.intent.channel == "public"]
        if not known:
            return None
        return Fees(max(fees.max_fee_wei for fees in known), max(fees.tip_wei for fees in known))

    def to_take(self) -> int:
        """The nonce of the next transaction.

        Raises:
            InvariantBroken: the chain was not asked yet, or nothing is to be sent any more.
        """
        if self.next is None or self.halted is not None:
            raise InvariantBroken(f"a nonce of {self.address} was asked for: {self.halted or 'the chain was not asked yet'}")
        return min(self.free(), default=self.next)

    def standing(self, latest: int, pending: int) -> Standing:
        """Compare with the chain's counts of the address: of the latest block, and with what waits.

        Where another process sends from the address, or another node than the one that knows our transactions is asked, this shows it.
        """
        known = latest if self.next is None else self.next
        objections = []
        final = min(self._slots, default=known)
        if latest < final:
            told = f"the chain counts {latest} transactions of {self.address}, and {final} are final"
            objections.append(f"{told}: it is another chain, or the node is behind")
        if pending > max(known, latest):
            objections.append(f"{pending - max(known, latest)} transactions of {self.address} wait that this log does not know")
        highest = max(self.waiting(), default=-1)
        return Standing(
            adopt=latest if self.next is None or latest > self.next else None,
            gaps=tuple(nonce for nonce in self.free() if latest <= nonce < highest),
            objections=tuple(objections),
        )

    # --- changes, each as rows

    def intend(self, intent: Intent) -> list[VenueRow]:
        """A transaction is about to leave; the row must be in the log before it does."""
        return self._told(self._row(intent, "intent", block_number=intent.at_block))

    def sent(self, tx_hash: str) -> list[VenueRow]:
        """A node or a relay has it, whatever was thought before."""
        one = self._by_hash[tx_hash]
        return [] if one.state in ("sent", "final", *_SPENT) else self._told(self._row(one.intent, "sent"))

    def not_sent(self, tx_hash: str, reason: str, error: str | None = None) -> list[VenueRow]:
        """Certain that it did not leave; if it was seen meanwhile, somebody is wrong, and its fate is unknown."""
        if self._by_hash[tx_hash].state != "intent":
            return self.lost(tx_hash, reason, error)
        return self._told(self._row(self._by_hash[tx_hash].intent, "not_sent", reason=reason, error=error))

    def lost(self, tx_hash: str, reason: str, error: str | None = None) -> list[VenueRow]:
        """It may have left."""
        one = self._by_hash[tx_hash]
        return self._told(self._row(one.intent, "unknown", reason=reason, error=error)) if one.is_open else []

    def dropped(self, tx_hash: str, reason: str, error: str | None = None) -> list[VenueRow]:
        """Neither chain nor node has it."""
        one = self._by_hash[tx_hash]
        return self._told(self._row(one.intent, "dropped", reason=reason, error=error)) if one.is_open else []

    def mined(self, tx_hash: str, number: int, block_hash: str) -> list[VenueRow]:
        """A block holds it; the others of its nonce are replaced. In another block than before, it was taken back first."""
        one = self._by_hash[tx_hash]
        if one.state == "final" or one.block == (number, block_hash):
            return []
        rows = [] if one.state not in _SPENT else self.reorged(one.intent.nonce)
        rows += self._told(self._row(one.intent, "mined", block_number=number, block_hash=block_hash))
        for other in self._slots[one.intent.nonce]:
            if other is not one and other.state not in _SPENT:
                rows += self._told(self._row(other.intent, "replaced", reason="ours", block_number=number, block_hash=block_hash))
        return rows

    def taken_by_others(self, nonce: int, number: int) -> list[VenueRow]:
        """The chain counts the nonce as spent at a block, and none of its transactions spent it."""
        rows: list[VenueRow] = []
        for one in self._slots[nonce]:
            if one.state not in _SPENT:
                rows += self._told(self._row(one.intent, "replaced", reason="foreign", block_number=number))
        return rows

    def reorged(self, nonce: int) -> list[VenueRow]:
        """The block that spent it is gone: its transactions bid again, as far as anybody still has them."""
        rows: list[VenueRow] = []
        for one in self._slots[nonce]:
            if one.state in _SPENT:
                number, block_hash = one.block or (None, None)
                rows += self._told(self._row(one.intent, "reorged", block_number=number, block_hash=block_hash))
        return rows

    def deep(self, head: int, depth: int) -> list[VenueRow]:
        """Nonces whose block lies `depth` blocks below the head or more are final, from the lowest on, and forgotten."""
        rows: list[VenueRow] = []
        for nonce in self.nonces():
            left = [one for one in self._slots[nonce] if one.state != "final"]
            if any(one.state not in _SPENT or one.block is None or one.block[0] + depth > head for one in left):
                break
            for one in left:
                number, block_hash = one.block or (None, None)
                rows += self._told(self._row(one.intent, "final", block_number=number, block_hash=block_hash))
        return rows

    def adopt(self, nonce: int, reason: str) -> list[VenueRow]:
        """Nonces below this one are spent, by others or before this log."""
        return self._told(self._bare("adopted", nonce, reason))

    def halt(self, reason: str) -> list[VenueRow]:
        """Nothing is sent any more, until another start has compared."""
        return [] if self.halted is not None else self._told(self._bare("halted", None, reason))

    def refused(self, whose: Whose, reason: str, error: str | None = None) -> list[VenueRow]:
        """A transaction was not made, and no nonce taken."""
        row = self._bare("refused", None, reason)
        return [VenueRow(KIND, {**row.values, **msgspec.structs.asdict(whose), "error": error})]

    # --- rows

    def apply(self, values: Mapping[str, Any]) -> None:
        """Take a row of the log in, whoever made it; rows of another address or chain are left alone.

        Raises:
            InvariantBroken: it does not follow on what was before.
        """
        if (values["venue"], values["chain_id"], values["address"]) != (self._venue, self._chain_id, self.address):
            return
        event, nonce = values["event"], values["nonce"]
        if event == "refused":
            return
        if event == "halted":
            self.halted = values["reason"]
        elif event == "adopted":
            self.next = max(nonce, self.next or 0)
        elif event == "intent":
            self._take(_intent(values))
        else:
            self._move(self._by_hash[values["tx_hash"]], values)

    def _take(self, intent: Intent) -> None:
        if self.next is None or intent.nonce > self.next or (intent.nonce < self.next and intent.nonce not in self._slots):
            raise InvariantBroken(f"nonce {intent.nonce} of {self.address} is none to be taken: {self.next} is the next one")
        if intent.tx_hash in self._by_hash:
            raise InvariantBroken(f"transaction {intent.tx_hash} is known already")
        self.next = max(self.next, intent.nonce + 1)
        slot = self._slots.setdefault(intent.nonce, [])
        if len(slot) >= KEPT and (old := next((one for one in slot if one.state == "dropped"), None)) is not None:
            slot.remove(old)
            del self._by_hash[old.intent.tx_hash]
        attempt = self._by_hash[intent.tx_hash] = Attempt(intent)
        slot.append(attempt)

    def _move(self, one: Attempt, values: Mapping[str, Any]) -> None:
        event = values["event"]
        one.state = advance(TRANSACTION_LIFE, one.state, event)
        one.has_left = one.has_left or event in ("sent", "unknown", "mined")
        if event in ("mined", "replaced"):
            one.block = (values["block_number"], values["block_hash"] or "")
        elif event == "reorged":
            one.block = None
        slot = self._slots[one.intent.nonce]
        if event == "final" and all(other.state == "final" for other in slot):
            for other in self._slots.pop(one.intent.nonce):
                del self._by_hash[other.intent.tx_hash]

    def _told(self, row: VenueRow) -> list[VenueRow]:
        self.apply(row.values)
        return [row]

    def _row(self, intent: Intent, event: str, **more: Any) -> VenueRow:
        values = {
            **self._bare(event, intent.nonce, None).values,
            **msgspec.structs.asdict(intent.whose),
            "tx_hash": intent.tx_hash,
            "purpose": intent.purpose,
            "channel": intent.channel,
            "max_fee_wei": str(intent.fees.max_fee_wei),
            "tip_wei": str(intent.fees.tip_wei),
            "ceiling_wei": None if intent.ceiling_wei is None else str(intent.ceiling_wei),
            "gas_limit": intent.gas_limit,
            "deadline_s": intent.deadline_s,
        }
        return VenueRow(KIND, values | more)

    def _bare(self, event: str, nonce: int | None, reason: str | None) -> VenueRow:
        whose = {"account": "", "strategy": "", "venue": self._venue, "chain_id": self._chain_id, "address": self.address}
        about = {"event": event, "nonce": nonce, "tx_hash": "", "purpose": "none", "channel": "none", "reason": reason}
        absent = (
            "start",
            "order",
            "max_fee_wei",
            "tip_wei",
            "ceiling_wei",
            "gas_limit",
            "deadline_s",
            "block_number",
            "block_hash",
        )
        return VenueRow(KIND, {**whose, **about, **dict.fromkeys((*absent, "error"))})


def rebuilt(nonces: Nonces, rows: Iterable[Mapping[str, Any]]) -> Nonces:
    """What a start knows that reads the `transactions` rows of its log in order; a halt ends with the start that came to it."""
    for values in rows:
        nonces.apply(values)
    nonces.halted = None
    return nonces


def _intent(values: Mapping[str, Any]) -> Intent:
    ceiling = values["ceiling_wei"]
    return Intent(
        nonce=values["nonce"],
        tx_hash=values["tx_hash"],
        purpose=values["purpose"],
        channel=values["channel"],
        fees=Fees(int(values["max_fee_wei"]), int(values["tip_wei"])),
        gas_limit=values["gas_limit"],
        ceiling_wei=None if ceiling is None else int(ceiling),
        deadline_s=values["deadline_s"],
        at_block=values["block_number"],
        whose=Whose(account=values["account"], strategy=values["strategy"], start=values["start"], order=values["order"]),
    )
