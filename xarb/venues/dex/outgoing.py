"""Transactions on their way out of one address: made, judged, signed, noted in the log, and only then handed over.

One leaves at a time, so that nonces follow each other. Whatever a hand-over comes to, a row tells it; an answer that did not come makes the
transaction one of unknown fate, and whoever looks at the chain finds out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

import msgspec
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from xarb.errors import InvariantBroken, OutcomeUnknown, Refused, Rejected, Retryable
from xarb.venues.dex.fees import FeePolicy, Fees
from xarb.venues.dex.nonces import Channel, Intent, Nonces, Purpose, Whose
from xarb.venues.dex.permits import Permits
from xarb.venues.dex.relay import Relay
from xarb.venues.dex.stuck import Head
from xarb.venues.keys import Redactor
from xarb.venues.venue import VenueRow
from xarb.venues.wallets import Signer

# What nodes say of a transaction that they have (go-ethereum, Erigon, Nethermind, anvil), and of a nonce that is spent.
_KNOWN: Final = ("already known", "already imported", "alreadyknown", "already exists")
_SPENT: Final = ("nonce too low", "oldnonce", "nonce is too low")
_WORDS: Final = (
    ("insufficient funds", "no_gas_money"),
    ("underpriced", "underpriced"),
    ("less than block base fee", "base_fee"),
    ("gas limit", "gas_limit"),
)
_CALLS: Final = 1_000  # transactions whose bytes are kept for another bid


class ChainNode(Protocol):
    """Answers calls of JSON-RPC."""

    async def call(self, method: str, *params: Any) -> Any:
        """What it answers.

        Raises:
            Retryable: no answer came. Rejected: it says no.
        """


class Access(NamedTuple):
    """Who signs for an address, the node that answers and takes what is public, and the relay that takes what is not, where there is one."""

    signer: Signer
    node: ChainNode
    relay: Relay | None


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be sent.

    Attributes:
        whose: who asked for it.
        purpose, channel: what it is for, and how it leaves.
        to, data: who is called, and with what.
        gas_limit: most gas that it may use.
        deadline_s: latest block time at which it is of use; None: any.
        ceiling_wei: most that is worth bidding for each gas; None: what the policy allows.
        client_order_id, bundle: the engine's names of it.
    """

    whose: Whose
    purpose: Purpose
    channel: Channel
    to: str
    data: bytes
    gas_limit: int
    deadline_s: int | None = None
    ceiling_wei: int | None = None
    client_order_id: str | None = None
    bundle: int | None = None


class Left(msgspec.Struct, frozen=True, kw_only=True):
    """A transaction that was handed over, or was to be: its call and its bytes."""

    call: Call
    raw: bytes


class Outgoing:
    """What leaves one address.

    Args:
        access: who signs, and who takes it.
        permits: what may be signed.
        fees: how fees are bid.
        nonces: its nonces.
        keep: takes rows, and returns once the log holds them.
    """

    def __init__(
        self,
        access: Access,
        *,
        permits: Permits,
        fees: FeePolicy,
        nonces: Nonces,
        keep: Callable[[Sequence[VenueRow]], None],
    ) -> None:
        self._signer, self._node, self._relay = access
        self._permits, self._fees, self._nonces, self._keep = permits, fees, nonces, keep
        self._lock = asyncio.Lock()
        self._left: dict[str, Left] = {}

    def left(self, tx_hash: str) -> Left | None:
        """A transaction of this process; None: of an earlier one, or long ago."""
        return self._left.get(tx_hash)

    async def leave(self, call: Call, head: Head, *, nonce: int | None = None, fees: Fees | None = None) -> str | None:
        """Send a call under the next nonce and the usual fees, or under given ones; its hash, or None where it was refused.

        Args:
            call: what to send.
            head: the latest block.
            nonce: that it bids for; None: the next one.
            fees: what it bids; None: what the policy says.
        """
        async with self._lock:
            try:
                intent, raw = await self._signed(call, head, nonce, fees)
            except Refused as error:
                self._keep(self._nonces.refused(call.whose, *_parts(error)))
                return None
            self._left[intent.tx_hash] = Left(call=call, raw=raw)
            while len(self._left) > _CALLS:
                del self._left[next(iter(self._left))]
            self._keep(self._nonces.intend(intent))
            try:
                await self._hand_over(intent, raw, head)
            except asyncio.CancelledError:
                self._keep(self._nonces.lost(intent.tx_hash, "closed", "the answer was not waited for"))
                raise
            return intent.tx_hash

    async def again(self, tx_hash: str, head: Head) -> None:
        """Ask the relay for the inclusion of a transaction in the block after this one; what it says no to is dropped."""
        attempt, left = self._nonces.attempt(tx_hash), self._left.get(tx_hash)
        if attempt is not None and left is not None and attempt.is_open:
            async with self._lock:
                await self._to_relay(attempt.intent, left.raw, head)

    async def _signed(self, call: Call, head: Head, nonce: int | None, fees: Fees | None) -> tuple[Intent, bytes]:
        """The call as a signed transaction.

        Raises:
            Refused: it is not to be signed, or what it would have to bid is too much; its first word is the reason.
        """
        if self._nonces.halted is not None:
            raise Refused(f"halted: {self._nonces.halted}")
        if call.channel == "relay" and self._relay is None:
            raise Refused("no_relay")
        taken = self._nonces.to_take() if nonce is None else nonce
        bid = fees or self._bid(call, taken, head)
        transaction: dict[str, Any] = {
            "type": 2,
            "chainId": self._permits.chain_id,
            "from": self._signer.address,
            "to": to_checksum_address(call.to),
            "nonce": taken,
            "value": 0,
            "gas": call.gas_limit,
            "maxFeePerGas": bid.max_fee_wei,
            "maxPriorityFeePerGas": bid.tip_wei,
            "data": call.data,
        }
        raw = await self._sign(transaction)
        while self._nonces.attempt("0x" + keccak(raw).hex()) is not None:  # the same was dropped: another hash keeps the two apart
            transaction["gas"] -= 1
            raw = await self._sign(transaction)
        intent = Intent(
            nonce=taken,
            tx_hash="0x" + keccak(raw).hex(),
            purpose=call.purpose,
            channel=call.channel,
            fees=bid,
            gas_limit=transaction["gas"],
            ceiling_wei=call.ceiling_wei,
            deadline_s=call.deadline_s,
            at_block=head.number,
            whose=call.whose,
        )
        return intent, raw

    async def _sign(self, transaction: Mapping[str, Any]) -> bytes:
        """The transaction signed.

        Raises:
            Refused: it is not among what may be signed.
        """
        if (why := self._permits.objection(transaction)) is not None:
            raise Refused(f"{why}: not among what may be signed")
        return await self._signer.sign_transaction(transaction)

    def _bid(self, call: Call, nonce: int, head: Head) -> Fees:
        cap = self._fees.cap_wei if call.ceiling_wei is None else min(self._fees.cap_wei, call.ceiling_wei)
        policy = msgspec.structs.replace(self._fees, cap_wei=cap)
        known = self._nonces.bid(nonce) if call.channel == "public" else None
        bid = policy.first(head.next_base_fee_wei) if known is None else policy.replacing(known, head.next_base_fee_wei)
        if bid is None:
            raise Refused(f"fee_cap: {head.next_base_fee_wei} wei of base fee, at most {cap} are bid")
        return bid

    async def _hand_over(self, intent: Intent, raw: bytes, head: Head) -> None:
        if intent.channel == "relay":
            await self._to_relay(intent, raw, head)
        else:
            self._keep(await self._to_node(intent, raw))

    async def _to_node(self, intent: Intent, raw: bytes) -> list[VenueRow]:
        tx_hash = intent.tx_hash
        try:
            said = await self._node.call("eth_sendRawTransaction", "0x" + raw.hex())
        except Retryable as error:  # it may have arrived all the same
            return self._nonces.lost(tx_hash, error.reason or "no_answer", _shown(error))
        except Rejected as error:
            words = str(error).lower()
            if any(word in words for word in _KNOWN):
                return self._nonces.sent(tx_hash)
            if any(word in words for word in _SPENT):  # by whom, the chain tells
                return self._nonces.lost(tx_hash, "nonce_spent", _shown(error))
            reason = next((reason for word, reason in _WORDS if word in words), "refused")
            return self._nonces.not_sent(tx_hash, reason, _shown(error))
        if str(said).lower() != tx_hash:
            raise InvariantBroken(f"a node took {tx_hash} and calls it {str(said)[:100]}")
        return self._nonces.sent(tx_hash)

    async def _to_relay(self, intent: Intent, raw: bytes, head: Head) -> None:
        """Simulate, and ask for inclusion in the next block: nothing whose simulation fails is asked for."""
        tx_hash, block = intent.tx_hash, head.number + 1
        assert self._relay is not None, "refused before"
        attempt = self._nonces.attempt(tx_hash)
        is_new = attempt is not None and attempt.state == "intent"
        no = self._nonces.not_sent if is_new else self._nonces.dropped
        try:
            simulated = await self._relay.simulate([raw], block)
            if simulated.failure is not None:
                self._keep(no(tx_hash, "simulation", Redactor()(simulated.failure)))
                return
            await self._relay.send([raw], block, until_s=intent.deadline_s)
        except (Rejected, Retryable) as error:
            self._keep(no(tx_hash, error.reason or "relay", _shown(error)))
        except OutcomeUnknown as error:
            self._keep(self._nonces.lost(tx_hash, error.reason or "no_answer", _shown(error)))
        else:
            self._keep(self._nonces.sent(tx_hash))


def _parts(error: Refused) -> tuple[str, str | None]:
    """The reason that an error's text begins with, and the rest."""
    reason, _, rest = str(error).partition(": ")
    return reason, rest or None


def _shown(error: Exception) -> str:
    return Redactor()(str(error))[:300]
