"""What is done for one address on one chain while it trades: transactions sent, looked at block by block, bid for anew, given up.

Receipts are the only fills. Nothing is sent before the chain was compared with the log, and nothing whose simulation fails. A receipt is
provisional until its block is deep enough; a block that is gone takes it back, and the row that says so is of `transactions`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from xarb.errors import Refused, Rejected, Retryable
from xarb.model.units import Money
from xarb.pools.basefee import next_base_fee
from xarb.venues.balancecheck import RECONCILE_S, BalanceCheck, Ours
from xarb.venues.dex.executor import Cycle, Path, execute_data, owner_of, path_data
from xarb.venues.dex.fees import FeePolicy, Fees
from xarb.venues.dex.fills import dropped_row, receipt_row
from xarb.venues.dex.holdings import Holder, holdings_of
from xarb.venues.dex.nonces import OBJECTIONS, Attempt, Channel, Nonces, Whose
from xarb.venues.dex.outgoing import Access, Call, Outgoing
from xarb.venues.dex.permits import Permits
from xarb.venues.dex.stuck import CANCEL_GAS, Head, Step, StuckPolicy, is_over, next_step
from xarb.venues.keys import Redactor
from xarb.venues.orderids import OrderName
from xarb.venues.userwires import BalanceTold
from xarb.venues.venue import VenueRow
from xarb.wires.node import BadAnswer, bytes_of, header_of, number_of
from xarb.wires.receipts import Receipt, receipt_of

RIVAL: Final = "chain_rival"  # the reading that somebody else sends from an address of ours


class DeskTerms(msgspec.Struct, frozen=True, kw_only=True):
    """How an address is used.

    Attributes:
        account, venue: their labels.
        log_id, start: whose orders these are.
        conn: number of the connection in the log.
        fees, stuck: how fees are bid, and how patient to be.
        finality_blocks: a receipt is provisional until so many blocks stand on its own.
        relay_blocks: blocks for which a relay is asked to include a transaction.
        unseen_blocks: a public transaction that the node does not know for so long is dropped.
        poll_s: the chain is looked at so often, and whenever somebody says that there is a block.
    """

    account: str
    venue: str
    log_id: str
    start: int
    conn: int
    fees: FeePolicy
    stuck: StuckPolicy
    finality_blocks: int
    relay_blocks: int
    unseen_blocks: int
    poll_s: float


class Compared(NamedTuple):
    """Which balances are compared: the executor's of `tokens`, the address's of `native`, the chain's own asset; `now`: the log's clock, ns."""

    tokens: Sequence[str]
    native: str
    now: Callable[[], int]


class Trade(msgspec.Struct, frozen=True, kw_only=True):
    """A cycle or a path to be swapped for an order: how it leaves, what gas it may use, and up to which fee it is worth it."""

    strategy: str
    order: int
    bundle: int | None
    cycle: Cycle | Path
    channel: Channel
    gas_limit: int
    ceiling_wei: int | None


class ChainDesk:
    """One address on one chain; its methods are called from the loop's own thread.

    Args:
        terms: how it is used.
        access: who signs for it, who answers, and who takes what is sent.
        permits: what may be signed.
        nonces: its nonces, as the log has them.
        keep: takes rows, and returns once the log holds them.

    Attributes:
        head: the latest block that was looked at; None before the first look.
        check: compares what the address and its executor have with our books.
        rival: what shows that somebody else sends from the address while this start does; None where nothing does.
    """

    def __init__(
        self,
        terms: DeskTerms,
        access: Access,
        *,
        permits: Permits,
        nonces: Nonces,
        keep: Callable[[Sequence[VenueRow]], None],
    ) -> None:
        self.terms, self.nonces, self.head = terms, nonces, None
        self.rival: str | None = None
        self._signer, self._node, self._permits, self._put = access.signer, access.node, permits, keep
        self.check = BalanceCheck(terms.account, terms.venue)
        self._compared: Compared | None = None
        self._moved = 0  # counts what blocks included of ours, and took back
        self._outgoing = Outgoing(access, permits=permits, fees=terms.fees, nonces=nonces, keep=keep)
        self._standing: tuple[str, ...] = ("the chain was not compared yet",)
        self._silent: str | None = None
        self._seen = ""  # hash of the block that was looked at last
        self._unseen: dict[str, int] = {}  # by hash the block since which the node does not know it
        self._asked: dict[str, int] = {}  # by hash the head as of which the relay was asked last
        self._misses: dict[int, int] = {}  # by nonce how often no receipt was found although the chain counts it
        self._ended: set[tuple[int | None, int | None]] = set()  # orders whose end was told
        self._bundles: dict[int, int] = {}
        self._looking = asyncio.Lock()
        self._nudged = asyncio.Event()
        self._stopping = asyncio.Event()
        self._is_stopped = False
        self._told: list[str] = []

    head: Head | None

    # --- begin and end

    async def holdings(self, tokens: Sequence[str], native: str) -> dict[str, Money]:
        """What the address has of the chain's own asset, called `native`, and the executor of tokens, as of the block that was looked at last.

        What was told of receipts by then is in it, and nothing that is told later.

        Raises:
            Retryable, Rejected, BadAnswer: as `look`.
        """
        return await holdings_of(self._node, Holder(self._signer.address, self._permits.executor, native), tokens, self._seen)

    @property
    def waiting(self) -> list[str]:
        """Transactions that may still be included, by hash."""
        nonces = self.nonces
        return [one.intent.tx_hash for nonce in nonces.nonces() for one in nonces.attempts(nonce) if one.is_open]

    @property
    def objections(self) -> list[str]:
        """What speaks against sending anything now."""
        found = [*self._standing]
        if self._silent is not None:
            found.append(self._silent)
        if self.nonces.halted is not None:
            found.append(f"halted: {self.nonces.halted}")
        if self.left:
            found.append(f"{len(self.left)} transactions of earlier starts may still be included")
        return [f"{self.terms.account} at {self.terms.venue}: {why}" for why in found]

    @property
    def left(self) -> list[Attempt]:
        """Transactions of earlier starts whose fate is open."""
        nonces = self.nonces
        found = [one for nonce in nonces.nonces() for one in nonces.attempts(nonce) if one.is_open]
        return [one for one in found if one.intent.whose.start not in (None, self.terms.start)]

    async def open(self) -> None:
        """See that it is the right chain and our executor, and compare nonces; nothing is sent, since no start is in the log yet.

        Raises:
            Refused: it is another chain, or not our executor. Retryable, Rejected: the node did not say.
        """
        found = number_of(await self._node.call("eth_chainId"))
        if found != self._permits.chain_id:
            raise Refused(f"{self.terms.venue}: the node is of chain {found}, not {self._permits.chain_id}")
        owner = owner_of(bytes_of(await self._node.call("eth_getCode", self._permits.executor, "latest")))
        if owner is None:
            raise Refused(f"{self.terms.venue}: what stands at {self._permits.executor} is not the executor that was tested")
        if owner != self._signer.address.lower():
            raise Refused(
                f"{self.terms.venue}: the executor at {self._permits.executor} is {owner}'s, not {self._signer.address}'s"
            )
        await self.look(acts=False)
        if self._misses:  # it counts more than it told of: what its balances hold must be known
            await self.look(acts=False)

    def compare_with(self, ours: Ours, compared: Compared) -> None:
        """From here on compare balances with our books while it runs."""
        self.check.begin(ours, {})
        self._compared = compared

    async def compare(self) -> None:
        """Compare what there is with our books; rows tell of differences that two asks found, between which no block held anything of ours.

        Raises:
            Retryable, Rejected, BadAnswer: as `look`.
        """
        assert self._compared is not None, "told what to compare"
        await self.look()
        moved = self._moved
        held = await self.holdings(self._compared.tokens, self._compared.native)
        if moved == self._moved and not self._misses:
            told = [BalanceTold(asset, amount, Money(0), None) for asset, amount in held.items()]
            self._keep(self.check.look(self._compared.now(), told, moved, moving=()))
        else:
            self.check.void()

    async def run(self) -> None:
        """Look at the chain until stopped, and compare balances every `RECONCILE_S`, or sooner where a difference is to be confirmed."""
        loop = asyncio.get_running_loop()
        compared = loop.time()
        while not self._stopping.is_set():
            self._nudged.clear()
            try:
                async with asyncio.timeout(self.terms.poll_s):
                    await self._nudged.wait()
            except TimeoutError:
                pass
            if self._stopping.is_set():
                return
            every_s = self.check.again_s if self.check.wants_again else RECONCILE_S
            is_due = self._compared is not None and loop.time() - compared >= every_s
            await self._look_on(self.compare if is_due else self.look)
            compared = loop.time() if is_due else compared

    def nudge(self) -> None:
        """There is a block."""
        self._nudged.set()

    def stop(self) -> None:
        """End `run`; nothing is sent any more."""
        self._is_stopped = True
        self._stopping.set()
        self._nudged.set()

    async def _look_on(self, look: Callable[[], Awaitable[None]]) -> None:
        words = ""
        try:
            await look()
        except (Retryable, Rejected, BadAnswer) as error:
            self._silent = "the node does not answer as it must"
            words = Redactor()(f"{type(error).__name__}: {error}")[:300]
        self._tell_objections(words)

    def _tell_objections(self, words: str) -> None:
        """A reading of what speaks against sending, whenever that changes."""
        if (now := self.objections) != self._told:
            self._told = now
            self._reading(OBJECTIONS, len(now), "; ".join([*now, words]).strip("; ")[:1_000])

    # --- what is sent

    async def trade(self, trade: Trade) -> str | None:
        """Send it, if its simulation earns or brings what it must; the hash, or None where it was refused. Rows tell the rest."""
        whose = Whose(account=self.terms.account, strategy=trade.strategy, start=self.terms.start, order=trade.order)
        call = Call(
            whose=whose,
            purpose="trade",
            channel=trade.channel,
            to=self._permits.executor,
            data=path_data(trade.cycle) if isinstance(trade.cycle, Path) else execute_data(trade.cycle),
            gas_limit=trade.gas_limit,
            deadline_s=trade.cycle.deadline,
            ceiling_wei=trade.ceiling_wei,
        )
        if trade.bundle is not None:
            self._bundles[trade.order] = trade.bundle
        return await self._leave(call)

    def refuse(self, trade: Trade, reason: str) -> None:
        """A cycle is not sent."""
        whose = Whose(account=self.terms.account, strategy=trade.strategy, start=self.terms.start, order=trade.order)
        self._keep(self.nonces.refused(whose, reason))

    async def _leave(self, call: Call) -> str | None:
        if self._is_stopped or self.head is None or self.objections:
            why = "stopped" if self._is_stopped else "objection"
            self._keep(self.nonces.refused(call.whose, why, "; ".join(self.objections)[:300] or None))
            return None
        if (failure := await self._simulated(call)) is not None:
            self._keep(self.nonces.refused(call.whose, "simulation", failure))
            return None
        tx_hash = await self._outgoing.leave(call, self.head)
        if tx_hash is not None:
            self._asked[tx_hash] = self.head.number
            self._tell_ends()
        return tx_hash

    async def _simulated(self, call: Call) -> str | None:
        """Why a call would fail on top of the latest block; None: it would not."""
        wish = {"from": self._signer.address, "to": call.to, "data": "0x" + call.data.hex(), "gas": hex(call.gas_limit)}
        try:
            await self._node.call("eth_call", wish, "latest")
        except (Rejected, Retryable) as error:
            return Redactor()(str(error))[:300]
        return None

    # --- what is seen

    async def look(self, *, acts: bool = True) -> None:
        """Compare with the chain as of its latest block: what was included, taken back, dropped; then do what has to be done, if it `acts`.

        Raises:
            Retryable, Rejected: the node did not say. BadAnswer: not in a way that can be read.
        """
        async with self._looking:
            header = header_of(await self._node.call("eth_getBlockByNumber", "latest", False))  # noqa: FBT003  # without transactions
            base_fee = next_base_fee(header.base_fee_wei or 0, header.gas_used, header.gas_limit)
            head = Head(header.number, header.timestamp_s, base_fee)
            address = self._signer.address
            latest = number_of(await self._node.call("eth_getTransactionCount", address, {"blockHash": header.hash}))
            pending = number_of(await self._node.call("eth_getTransactionCount", address, "pending"))
            standing = self.nonces.standing(latest, pending)
            if standing.adopt is not None:
                was = self.nonces.next
                self._keep(self.nonces.adopt(standing.adopt, "opened" if was is None else "foreign"))
                if was is not None:
                    self._found_rival(f"nonces {was} to {standing.adopt - 1}", is_start=not acts)
            self._standing, self._silent, self.head = standing.objections, None, head
            for nonce in self.nonces.nonces():
                await self._settle(nonce, latest, head, is_start=not acts)
            self._seen = header.hash
            self._keep(self.nonces.deep(head.number, self.terms.finality_blocks))
            self._tell_ends()
            if acts and not self._is_stopped:
                await self._act(next_step(self.nonces, latest, head, stuck=self.terms.stuck, fees=self.terms.fees))
                self._tell_ends()

    def _found_rival(self, nonces: str, *, is_start: bool) -> None:
        """Nonces were spent that no row of the log explains; what was before a start may be the owner's, who withdrew or approved."""
        if not is_start and self.rival is None:
            what = f"{nonces} of {self._signer.address.lower()} spent by transactions that this log does not know"
            self.rival = f"{self.terms.account} at {self.terms.venue}: {what}"
            self._reading(RIVAL, 1, self.rival)

    async def _settle(self, nonce: int, latest: int, head: Head, *, is_start: bool) -> None:
        """Find out what became of a nonce's transactions."""
        attempts = list(self.nonces.attempts(nonce))
        is_spent = any(one.state in ("mined", "replaced", "final") for one in attempts)
        if nonce < latest or is_spent:
            receipt = await self._receipt(attempts, head)
            if receipt is not None:
                self._misses.pop(nonce, None)
                self._mined(receipt)
            elif nonce >= latest or any(one.state == "mined" for one in attempts):
                self._keep(self.nonces.reorged(nonce))
            else:
                self._misses[nonce] = self._misses.get(nonce, 0) + 1
                if self._misses[nonce] > 1:  # the count and the receipt may be of two moments
                    self._keep(self.nonces.taken_by_others(nonce, head.number))
                    self._found_rival(f"nonce {nonce}", is_start=is_start)
            return
        for one in attempts:
            if one.is_open and one.intent.channel == "relay":
                await self._ask_again(one, head)
            elif one.is_open:
                await self._seek(one, head)

    async def _receipt(self, attempts: Sequence[Attempt], head: Head) -> Receipt | None:
        """The receipt of that one that a block holds; first of the one that was mined as far as we know."""
        for one in sorted(attempts, key=lambda one: one.state != "mined"):
            tx_hash = one.intent.tx_hash
            found = receipt_of(await self._node.call("eth_getTransactionReceipt", tx_hash), tx_hash)
            if found is not None and found.block_number <= head.number:
                return found
        return None

    def _mined(self, receipt: Receipt) -> None:
        attempt = self.nonces.attempt(receipt.tx_hash)
        assert attempt is not None, "it was asked for because it is known"
        rows = self.nonces.mined(receipt.tx_hash, receipt.block_number, receipt.block_hash)
        if rows:
            if attempt.intent.purpose != "cancel":  # which ends its order too, but does not fill it
                self._ended.add((attempt.intent.whose.start, attempt.intent.whose.order))
            told = receipt_row(self._place(attempt), attempt, receipt, self._permits.executor)
            self._keep([VenueRow("receipts", told), *rows])  # in this order a torn log tells it twice, and not never

    async def _seek(self, one: Attempt, head: Head) -> None:
        """Ask whether the node knows a public transaction."""
        tx_hash = one.intent.tx_hash
        said = await self._node.call("eth_getTransactionByHash", tx_hash)
        if said is not None:
            self._unseen.pop(tx_hash, None)
            self._keep(self.nonces.sent(tx_hash))
        elif head.number - self._unseen.setdefault(tx_hash, head.number) >= self.terms.unseen_blocks:
            del self._unseen[tx_hash]
            self._keep(self.nonces.dropped(tx_hash, "unseen"))

    async def _ask_again(self, one: Attempt, head: Head) -> None:
        """Ask the relay for the next block, as long as it makes sense."""
        made = one.intent
        if head.number <= self._asked.get(made.tx_hash, made.at_block):
            return
        is_late = made.deadline_s is not None and head.timestamp_s >= made.deadline_s
        if (
            is_late
            or self._is_stopped
            or head.number - made.at_block >= self.terms.relay_blocks
            or not self._outgoing.left(made.tx_hash)
        ):
            self._keep(self.nonces.dropped(made.tx_hash, "not_included"))
            return
        self._asked[made.tx_hash] = head.number
        await self._outgoing.again(made.tx_hash, head)

    # --- what is done about it

    async def _act(self, step: Step | None) -> None:
        if step is None or self.head is None:
            return
        if step.act == "halt":
            self._keep(self.nonces.halt(step.reason))
            return
        made = None if step.attempt is None else self._outgoing.left(step.attempt.intent.tx_hash)
        if step.act == "replace" and made is not None and await self._simulated(made.call) is None:
            call = msgspec.structs.replace(made.call, purpose="replacement")
            await self._outgoing.leave(call, self.head, nonce=step.nonce, fees=step.fees)
            return
        whose = Whose(account=self.terms.account) if step.attempt is None else step.attempt.intent.whose
        await self._cancel(step.nonce, whose, step.fees)

    async def _cancel(self, nonce: int, whose: Whose, fees: Fees | None) -> None:
        """Take a nonce with a transfer of nothing to oneself."""
        assert self.head is not None, "compared before"
        address = self._signer.address
        call = Call(whose=whose, purpose="cancel", channel="public", to=address, data=b"", gas_limit=CANCEL_GAS)
        await self._outgoing.leave(call, self.head, nonce=nonce, fees=fees)

    async def cancel_open(self) -> None:
        """Give up everything that waits."""
        await self._give_up(self.nonces.waiting())

    async def cancel(self, order: OrderName) -> None:
        """Give up an order of this or an earlier start; nothing where no transaction of it waits."""
        waiting = [nonce for nonce in self.nonces.waiting() if order in self._whose(nonce)]
        await self._give_up(waiting)

    def _whose(self, nonce: int) -> set[tuple[int | None, int | None]]:
        return {(one.intent.whose.start, one.intent.whose.order) for one in self.nonces.attempts(nonce) if one.is_open}

    async def _give_up(self, nonces: Sequence[int]) -> None:
        """Bid for the nonce of what is public with a transfer to oneself; a relay is asked no more."""
        if self.head is None:
            return
        for nonce in nonces:
            waiting = [one for one in self.nonces.attempts(nonce) if one.is_open]
            if all(one.intent.channel == "relay" for one in waiting):
                for one in waiting:
                    self._asked[one.intent.tx_hash] = 1 << 62
                    self._keep(self.nonces.dropped(one.intent.tx_hash, "not_included"))
            elif waiting[-1].intent.purpose != "cancel":
                await self._cancel(nonce, waiting[-1].intent.whose, None)
        self._tell_ends()

    # --- rows

    def _tell_ends(self) -> None:
        """The end of orders, of earlier starts too, that no transaction of theirs can succeed for any more."""
        assert self.head is not None, "compared before"
        for nonce in self.nonces.nonces():
            attempts = self.nonces.attempts(nonce)
            by_order: dict[tuple[int, int], list[Attempt]] = {}
            for one in attempts:
                whose = one.intent.whose
                if whose.start is not None and whose.order is not None and one.intent.purpose != "cancel":
                    by_order.setdefault((whose.start, whose.order), []).append(one)
            for key, mine in by_order.items():
                if key in self._ended or not all(is_over(one, self.head) for one in mine):
                    continue
                self._ended.add(key)
                reason = "replaced" if any(one.state == "replaced" for one in mine) else "dropped"
                self._keep([VenueRow("receipts", dropped_row(self._place(mine[-1]), mine[-1], reason))])

    def _place(self, one: Attempt) -> Mapping[str, Any]:
        terms, whose = self.terms, one.intent.whose
        is_ours = whose.start is not None and whose.order is not None and one.intent.purpose != "cancel"
        return {
            "conn": terms.conn,
            "venue": terms.venue,
            "chain_id": self._permits.chain_id,
            "bundle": self._bundles.get(whose.order or 0) if is_ours and whose.start == terms.start else None,
            "client_order_id": f"{terms.log_id}-{whose.start}-{whose.order}" if is_ours else None,
        }

    def _keep(self, rows: Sequence[VenueRow]) -> None:
        self._moved += sum(row.kind == "receipts" or row.values.get("event") in ("mined", "replaced", "reorged") for row in rows)
        self._put(rows)

    def _reading(self, metric: str, value: int, detail: str) -> None:
        self._keep([VenueRow("health", {"venue": self.terms.venue, "metric": metric, "value": value, "detail": detail})])


__all__ = ["ChainDesk", "DeskTerms", "Trade"]
