"""Ends every transaction of a log that may still be included at one address, without engine or desk, and proves which of a nonce's was mined.

A nonce is spent once. What waits is bid for with a transfer to ourselves, at least a tenth higher and under the cap, and higher again while no block
takes it; so is each nonce below it that nothing bids for, since nothing behind it is mined before. A nonce has ended when the chain counts it
and a receipt says by which of its transactions; where none does `MISSES` times over `SETTLE_S`, by one that the log does not know. No look begins
later than `PATIENCE_S` after the first one ended, and none lasts beyond `LONGEST_S` in all; what is not proven by then is said.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from xarb.errors import Rejected, Retryable
from xarb.pools.basefee import next_base_fee
from xarb.venues.dex.fees import FeePolicy, Fees
from xarb.venues.dex.nonces import Attempt, Nonces, Whose
from xarb.venues.dex.outgoing import Access, Call, Outgoing
from xarb.venues.dex.permits import Permits
from xarb.venues.dex.stuck import CANCEL_GAS, Head, is_over
from xarb.venues.keys import Redactor
from xarb.venues.killing import Killed
from xarb.venues.venue import VenueRow
from xarb.wires.node import BadAnswer, header_of, number_of
from xarb.wires.receipts import Receipt, receipt_of

PATIENCE_S: Final = 60.0  # five blocks of the slowest chain that is traded on
LONGEST_S: Final = 180.0
MISSES: Final = 5  # looks at a nonce that is spent without a receipt, over
SETTLE_S: Final = 2.0  # seconds
_SPENT: Final = frozenset({"mined", "replaced", "final"})
_NOT_LOOKED: Final = "not looked at"


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """How transactions of an address are ended.

    Attributes:
        account: label of whose they are.
        permits, fees: what may be signed, and how fees are bid.
        wait_blocks: blocks that a bid waits before a higher one.
        unread: why the log does not say which transactions wait; then all that the node counts as waiting are ended. None where it says.
        look_s: pause between looks. patience_s: as `PATIENCE_S`.
    """

    account: str
    permits: Permits
    fees: FeePolicy
    wait_blocks: int
    unread: str | None = None
    look_s: float = 0.5
    patience_s: float = PATIENCE_S


async def kill(terms: Terms, access: Access, nonces: Nonces, keep: Callable[[Sequence[VenueRow]], None]) -> Killed:
    """Bid for what waits and look until everything is proven, or the time for it is over.

    Args:
        terms: how.
        access: who signs, and the node; a relay is not asked for anything.
        nonces: of the address, as the log has them.
        keep: takes the rows of what leaves, and returns once they cannot be lost.
    """
    hunt = _Hunt(terms, access, nonces, keep)
    loop = asyncio.get_running_loop()
    until: float | None = None
    with contextlib.suppress(TimeoutError):  # a node may take long over each answer; what is known is said
        async with asyncio.timeout(LONGEST_S):
            while until is None or loop.time() + terms.look_s <= until:
                await hunt.look()
                if hunt.is_over:
                    break
                until = until or loop.time() + terms.patience_s
                await asyncio.sleep(terms.look_s)
    return hunt.result()


def may_be_included(nonces: Nonces) -> list[str]:
    """Hashes of transactions that may still be included by the word of the log alone."""
    return [one.intent.tx_hash for nonce in nonces.nonces() for one in nonces.attempts(nonce) if one.is_open]


class _Hunt:
    """The nonces of an address that may be spent still, and what is known of each."""

    def __init__(self, terms: Terms, access: Access, nonces: Nonces, keep: Callable[[Sequence[VenueRow]], None]) -> None:
        self._terms, self._node, self._nonces, self._keep_row = terms, access.node, nonces, keep
        self._address = access.signer.address
        self._outgoing = Outgoing(access, permits=terms.permits, fees=terms.fees, nonces=nonces, keep=self._keep)
        self._open: dict[int, str] = {}  # by nonce why it is not proven
        self._canceled: dict[int, str] = {}
        self._ended: dict[int, str] = {}
        self._bids: dict[int, Fees] = {}  # by nonce what we bid last
        self._misses: dict[int, tuple[int, float]] = {}  # by nonce looks without a receipt, and the loop's time of the first
        self._failures: dict[str, None] = {}
        self._foreign = 0
        self._trouble: str | None = _NOT_LOOKED
        self._said = ""  # of the last transaction that did not leave; empty: it left

    @property
    def is_over(self) -> bool:
        """Whether everything is proven."""
        return self._trouble is None and not self._open

    def result(self) -> Killed:
        """What is known."""
        trouble = [] if self._trouble is None else [self._trouble]
        unread = [] if self._terms.unread is None else [self._terms.unread]
        return Killed(
            canceled=tuple(self._canceled.values()),
            ended=tuple(self._ended.values()),
            unproven=(*(f"nonce {nonce}: {why}" for nonce, why in self._open.items()), *trouble, *unread),
            foreign=self._foreign,
            failures=tuple(self._failures),
        )

    async def look(self) -> None:
        """Compare with the chain, and bid for what waits; what keeps it from that is said."""
        try:
            await self._look()
        except (Retryable, Rejected, BadAnswer) as error:
            self._trouble = Redactor()(f"{error}")[:300]
            self._failures[self._trouble] = None

    async def _look(self) -> None:
        terms, nonces = self._terms, self._nonces
        if (found := number_of(await self._node.call("eth_chainId"))) != terms.permits.chain_id:
            self._trouble = f"the node is of chain {found}, not {terms.permits.chain_id}"
            return
        header = header_of(await self._node.call("eth_getBlockByNumber", "latest", False))  # noqa: FBT003  # without transactions
        base_fee = next_base_fee(header.base_fee_wei or 0, header.gas_used, header.gas_limit)
        head = Head(header.number, header.timestamp_s, base_fee)
        latest = number_of(await self._node.call("eth_getTransactionCount", self._address, {"blockHash": header.hash}))
        pending = number_of(await self._node.call("eth_getTransactionCount", self._address, "pending"))
        if (lowest := min(nonces.nonces(), default=latest if nonces.next is None else nonces.next)) > latest:
            self._trouble = f"the chain counts {latest} transactions, and {lowest} are final: another chain, or the node is behind"
            return
        self._trouble = None
        if nonces.next is None or latest > nonces.next:
            self._keep(nonces.adopt(latest, "opened" if nonces.next is None else "foreign"))
        assert nonces.next is not None, "adopted"
        self._foreign = max(pending - max(nonces.next, latest), 0) if terms.unread is None else 0
        self._open = {}
        for nonce in nonces.nonces():
            if nonce < latest:
                await self._settle(nonce, head)
        alive = [one for one in nonces.nonces() if one >= latest and not all(is_over(it, head) for it in nonces.attempts(one))]
        highest = max([*alive, *([pending - 1] if terms.unread is not None else [])], default=latest - 1)
        for nonce in range(latest, highest + 1):
            self._open[nonce] = self._waits(nonce)
            await self._bid(nonce, head)

    def _waits(self, nonce: int) -> str:
        waiting = [one.intent.tx_hash for one in self._nonces.attempts(nonce) if one.is_open]
        return f"{' or '.join(waiting) or 'a transaction'} may still be included"

    # --- nonces that are spent

    async def _settle(self, nonce: int, head: Head) -> None:
        """By which of its transactions a nonce was spent."""
        attempts = self._nonces.attempts(nonce)
        if any(one.state in _SPENT for one in attempts):  # the log says so already
            return
        for one in reversed(attempts):  # the highest bid first
            tx_hash = one.intent.tx_hash
            receipt = receipt_of(await self._node.call("eth_getTransactionReceipt", tx_hash), tx_hash)
            if receipt is not None and receipt.block_number <= head.number:
                self._tell(nonce, one, receipt)
                return
        now = asyncio.get_running_loop().time()
        misses, since = self._misses.get(nonce, (0, now))
        self._misses[nonce] = (misses + 1, since)
        if misses + 1 < MISSES or now - since < SETTLE_S:
            self._open[nonce] = "it is spent, and no receipt says by what"
        else:
            self._ended[nonce] = f"nonce {nonce}: spent by a transaction that the log does not know"

    def _tell(self, nonce: int, mined: Attempt, receipt: Receipt) -> None:
        ours = [one.intent.tx_hash for one in self._nonces.attempts(nonce) if one.intent.purpose != "cancel"]
        self._canceled.pop(nonce, None)
        self._ended.pop(nonce, None)  # a block may have been taken back since
        if mined.intent.purpose == "cancel":
            what = ", ".join(ours) or f"nonce {nonce}"
            self._canceled[nonce] = f"{what} by {receipt.tx_hash} in block {receipt.block_number}"
        else:
            how = "succeeded" if receipt.succeeded else "reverted"
            self._ended[nonce] = f"{receipt.tx_hash} {how} in block {receipt.block_number}"

    # --- nonces that wait

    async def _bid(self, nonce: int, head: Head) -> None:
        """A transfer of nothing to ourselves, where none waits or the one that does has waited long enough."""
        waiting = [one for one in self._nonces.attempts(nonce) if one.is_open]
        made = max((one.intent.at_block for one in waiting if one.intent.purpose == "cancel"), default=None)
        if made is not None and head.number - made < self._terms.wait_blocks:
            return
        fees = self._fees(nonce, head)
        if fees is None:
            self._open[nonce] += f"; a higher bid is above the cap of {self._terms.fees.cap_wei} wei"
            return
        whose = waiting[-1].intent.whose if waiting else Whose(account=self._terms.account)
        call = Call(whose=whose, purpose="cancel", channel="public", to=self._address, data=b"", gas_limit=CANCEL_GAS)
        self._said = ""
        await self._outgoing.leave(call, head, nonce=nonce, fees=fees)
        if not self._said or self._said.startswith("underpriced"):  # then a higher one is bid at the next look
            self._bids[nonce] = fees
        if self._said:
            self._open[nonce] += f"; its cancel: {self._said}"
            self._failures[f"nonce {nonce}: {self._said}"] = None

    def _fees(self, nonce: int, head: Head) -> Fees | None:
        """What outbids all that is known of a nonce, and what was refused of us; None: more than the cap."""
        known = [one for one in (self._nonces.bid(nonce), self._bids.get(nonce)) if one is not None]
        if not known:
            return self._terms.fees.first(head.next_base_fee_wei)
        old = Fees(max(one.max_fee_wei for one in known), max(one.tip_wei for one in known))
        return self._terms.fees.replacing(old, head.next_base_fee_wei)

    def _keep(self, rows: Sequence[VenueRow]) -> None:
        for row in rows:
            if row.values["event"] in ("refused", "not_sent", "unknown"):
                self._said = ": ".join(filter(None, (row.values["reason"], row.values["error"])))
        self._keep_row(rows)
