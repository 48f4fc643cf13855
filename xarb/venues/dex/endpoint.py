"""One address of a chain's node, kept connected and watched: heads come from it, and it answers while it is there."""

from __future__ import annotations

import asyncio
import random
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from xarb.errors import Rejected, Retryable, VenueError
from xarb.model.units import NANOS_PER_S
from xarb.venues.dex.rpc import Rpc, RpcLimits
from xarb.venues.pace import Backoff
from xarb.venues.stream import Meter
from xarb.wires.events import RejectEvent, readable
from xarb.wires.node import BadAnswer, Header, Waiting, header_of, number_of, waiting_of
from xarb.wires.rows import Link

if TYPE_CHECKING:
    from xarb.venues.intake import Intake
    from xarb.wires.decimals import Listing

_HASHES: Final = 128  # numbers of blocks whose hashes are remembered
_WAITING: Final = 1_000  # transactions that are looked up one by one; beyond it they are left out, and counted


class ChainPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """When a node is given up, and what is compared; all in seconds, but for what is in blocks.

    Attributes:
        limits: of a connection.
        silent_s: no head for so long: the node is asked for its latest block.
        lag_blocks: a node so many blocks behind another is not followed.
        lag_s: for so long.
        disagree_s: nodes that name different blocks of one number for so long disagree.
        distrust_s: for how long a node is not asked again that was wrong.
        again_s: after which nodes that tell different logs are asked once more.
        settled: blocks below the latest one, from which on nodes are compared.
        history: blocks that can be undone.
        reach: blocks that are filled in after a gap; beyond it pools are read anew.
        refresh_s: interval at which a pool is read again, one after the other; 0: never.
        tick_s: interval at which all this is looked at.
        first_pause_s: before the next connection, doubled each time.
        longest_pause_s: its cap.
        seed: of the chance in pauses.
    """

    limits: RpcLimits = RpcLimits()
    silent_s: float = 30.0
    lag_blocks: int = 3
    lag_s: float = 5.0
    disagree_s: float = 5.0
    distrust_s: float = 600.0
    again_s: float = 1.0
    settled: int = 1
    history: int = 64
    reach: int = 512
    refresh_s: float = 60.0
    tick_s: float = 0.2
    first_pause_s: float = 0.2
    longest_pause_s: float = 30.0
    seed: int = 1


class ChainLink(NamedTuple):
    """What a connection carries, as boards and logs name it."""

    venue: str
    conn: int
    listings: Sequence[Listing]
    channels: Sequence[str]


class Endpoint:
    """Keeps one node connected. `run` lasts until it is cancelled.

    Args:
        feed: what it carries.
        address: of the node, as `Rpc` takes it.
        chain_id: that it must have.
        intake: takes what becomes of the connection.
        policy: when it is given up.
        heard: is told of this endpoint and a head; None: of one that could not be read.
        changed: is called when the connection opened or ended.
        waiting: takes transactions before their inclusion; None: they are not subscribed.

    Attributes:
        rpc: the connection, None while there is none that can be used.
        head: the highest block that it announced on this connection.
        hashes: by number the hash that it announced last.
        flaw: why nothing of it is believed for a while.
        behind_since: loop time since which it is behind another node.
    """

    def __init__(
        self,
        feed: ChainLink,
        address: str,
        *,
        chain_id: int,
        intake: Intake,
        policy: ChainPolicy,
        tells: Tells,
    ) -> None:
        self.feed, self.address, self.meter = feed, address, Meter()
        self.is_open = False
        self._chain_id, self._intake, self._policy, self._tells = chain_id, intake, policy, tells
        self.rpc: Rpc | None = None
        self.head: Header | None = None
        self.hashes: OrderedDict[int, str] = OrderedDict()
        self.flaw: str | None = None
        self.behind_since: float | None = None
        rng = random.Random(policy.seed + feed.conn)  # noqa: S311  # spreads reconnects, guards nothing
        self._backoff = Backoff(policy.first_pause_s, policy.longest_pause_s, rng)
        made = Rpc(address, self._take, policy.limits)
        self.link = Link(feed.conn, feed.venue, made.shown, epoch=0)
        self._heard_at = 0.0
        self._lookups: deque[str] = deque()
        self._has_lookups = asyncio.Event()

    @property
    def name(self) -> str:
        """Its address without what may be secret in it."""
        return self.link.source

    async def run(self) -> None:
        """Connect, stay, come back.

        Raises:
            CancelledError: always in the end.
        """
        while True:
            began = self._now()
            await self._stay()
            if self.flaw is not None:
                await asyncio.sleep(self._policy.distrust_s)
                self.flaw = None
                continue
            if self._now() - began >= self._policy.longest_pause_s:
                self._backoff.reset()
            await asyncio.sleep(self._backoff.next())

    def give_up(self, why: str) -> None:
        """End the connection; the next one is new."""
        if self.rpc is not None:
            self.rpc.end(f"by us: {why}")

    def distrust(self, why: str) -> None:
        """Believe nothing of it for a while, and then only on a new connection."""
        if self.flaw is None:
            self.flaw = why
            self._intake.health("rpc_distrusted", self.feed.conn, self.feed.venue, f"{self.name}: {why}")
            self.give_up(why)
            self._tells.changed()

    # --- one connection

    async def _stay(self) -> None:
        rpc = Rpc(self.address, self._take, self._policy.limits)
        tasks: list[asyncio.Task[None]] = []
        event, why = "closed", "stopped"
        try:
            await rpc.open()
            await self._enter(rpc)
            tasks = [asyncio.ensure_future(self._guarded(one)) for one in (self._watch(rpc), self._look_up(rpc))]
            event, why = "lost", await rpc.ended
            if why.startswith("by us"):
                event = "closed"
        except (VenueError, BadAnswer) as error:
            self._intake.health("connect_failed_status", 0, self.feed.venue, f"{self.name}: {error}"[:500])
        finally:
            self.rpc, self.head = None, None
            self.hashes.clear()
            if self.is_open:
                self.is_open = False
                self.meter.gaps += 1
                self._intake.link(self.link, event, why)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await rpc.close()
            self._tells.changed()

    async def _enter(self, rpc: Rpc) -> None:
        """Make sure that it is the chain's node and has caught up, and listen to it.

        Raises:
            Retryable: it is still catching up, or its connection ended. Rejected: it has no such subscriptions. BadAnswer: it is no node.
        """
        found = number_of(await rpc.call("eth_chainId"))
        if found != self._chain_id:
            self.distrust(f"it is of chain {found}, not {self._chain_id}")
            raise Retryable("another chain", reason="chain")
        if await rpc.call("eth_syncing") is not False:
            raise Retryable("the node is still catching up", reason="syncing")
        await rpc.subscribe("heads", "newHeads")
        if self._tells.waiting is not None:
            await self._subscribe_waiting(rpc)
        latest = header_of(await rpc.call("eth_getBlockByNumber", "latest", False))  # noqa: FBT003  # without transactions
        self.link.epoch += 1
        self._intake.link(self.link, "opened", f"chain={self._chain_id} pools={len(self.feed.listings)} block={latest.number}")
        self.rpc, self.is_open, self.behind_since = rpc, True, None
        self._take_head(latest)
        self._tells.changed()

    async def _subscribe_waiting(self, rpc: Rpc) -> None:
        """Whole transactions where the node gives them, else their hashes, each to be looked up."""
        try:
            await rpc.subscribe("waiting", "newPendingTransactions", True)  # noqa: FBT003  # whole ones
        except Rejected:
            await rpc.subscribe("waiting", "newPendingTransactions")

    def _take(self, name: str, said: Any) -> None:
        """Something was pushed."""
        self.meter.frames += 1
        if name == "heads":
            try:
                header = header_of(said)
            except BadAnswer as error:
                self.reject("bad_head", str(error), said)
                self._tells.heard(self, None)
            else:
                self._take_head(header)
        elif isinstance(said, str):
            if len(self._lookups) < _WAITING:
                self._lookups.append(said)
                self._has_lookups.set()
            else:
                self._intake.health("pending_left_out", 1, self.feed.venue, f"{self.name}: {_WAITING} wait to be looked up")
        else:
            self._take_waiting(said)

    def _take_head(self, header: Header) -> None:
        self._heard_at = self._now()
        self.meter.last_ts = self._intake.clock.now()
        self.hashes[header.number] = header.hash
        self.hashes.move_to_end(header.number)
        while len(self.hashes) > _HASHES:
            self.hashes.popitem(last=False)
        if self.head is None or header.number >= self.head.number:
            self.head = header
        self._tells.heard(self, header)

    def _take_waiting(self, said: Any) -> None:
        try:
            sent = waiting_of(said)
        except BadAnswer as error:
            self.reject("bad_transaction", str(error), said)
        else:
            assert self._tells.waiting is not None, "transactions come only if they were subscribed"
            self._tells.waiting(self, sent)

    def reject(self, rule: str, detail: str, said: Any) -> None:
        """Keep what could not be read."""
        self.meter.rejects += 1
        self._intake.event(
            self._intake.clock.now(), self.link, RejectEvent(rule, detail, readable(repr(said)), self.feed.venue, None)
        )

    async def _guarded(self, work: Any) -> None:
        """What ends one task ends the connection."""
        try:
            await work
        except Exception as error:  # noqa: BLE001  # the top of a task
            self.give_up(f"{type(error).__name__} {error}"[:300])

    async def _watch(self, rpc: Rpc) -> None:
        """Ask a node that announces nothing for its latest block: the chain rests, or the subscription is dead, or the node."""
        while True:
            await asyncio.sleep(max(self._heard_at + self._policy.silent_s - self._now(), self._policy.tick_s))
            if self._now() - self._heard_at < self._policy.silent_s:
                continue
            before = self.head
            try:
                latest = header_of(await rpc.call("eth_getBlockByNumber", "latest", False))  # noqa: FBT003  # without transactions
            except Retryable as error:
                self.give_up(f"silent for {self._policy.silent_s:g} s, and {error}")
                return
            if before is not None and self.head is before and latest.hash != before.hash:
                self.give_up(f"heads are not announced any more: block {latest.number} was not")
                return
            self._heard_at = self._now()
            self._intake.health(
                "chain_silent_ms", round(self._policy.silent_s * 1000), self.feed.venue, f"{self.name}: no new block"
            )

    async def _look_up(self, rpc: Rpc) -> None:
        """Transactions of which only the hash was told."""
        while True:
            await self._has_lookups.wait()
            while self._lookups:
                try:
                    said = await rpc.call("eth_getTransactionByHash", self._lookups.popleft())
                except Rejected:
                    said = None
                if said is not None:  # else it is gone again
                    self._take_waiting(said)
            self._has_lookups.clear()

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


class Tells(NamedTuple):
    """Who is told what by an endpoint; see there."""

    heard: Callable[[Endpoint, Header | None], None]
    changed: Callable[[], None]
    waiting: Callable[[Endpoint, Waiting], None] | None = None


def lag_of(endpoint: Endpoint, header: Header, now: int) -> None:
    """Note how old a block was when it went out."""
    endpoint.meter.lag_ns = now - header.timestamp_s * NANOS_PER_S


__all__ = ["ChainLink", "ChainPolicy", "Endpoint", "Tells", "lag_of"]
