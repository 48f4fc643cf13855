"""Several nodes of one chain compared: who is behind, who names other blocks, who leaves out logs, and who says something else of lenders.

A majority is believed, and the others are not for a while. Where there is none, both sides stay and `health` says that they disagree; of two
nodes that tell different logs of one block the one that leaves some out is wrong, because the header's filter holds what the other one tells.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from xarb.errors import Rejected, Retryable
from xarb.wires.node import BadAnswer, Header, Log, header_of

if TYPE_CHECKING:
    from xarb.pools.financing import Loan
    from xarb.venues.dex.endpoint import ChainPolicy, Endpoint
    from xarb.venues.dex.rpc import Rpc
    from xarb.venues.intake import Intake
    from xarb.wires.follower import Change

_View = TypeVar("_View", bound=Hashable)
_WINDOW: Final = 32  # blocks below the latest one that are compared
_QUEUE: Final = 256  # blocks whose logs wait to be compared


class Followed(Protocol):
    """A feed, as it is compared."""

    @property
    def venue(self) -> str:
        """Its venue id."""

    @property
    def policy(self) -> ChainPolicy:
        """When nodes disagree."""

    @property
    def intake(self) -> Intake:
        """Takes what was found."""

    @property
    def tip(self) -> Header | None:
        """The latest block in the log."""

    @property
    def current(self) -> Endpoint | None:
        """The node that is followed."""

    def usable(self) -> list[Endpoint]:
        """The nodes that answer and are believed."""

    def block(self, number: int) -> Change | None:
        """A block that is in the log, so far as it is kept."""

    async def logs(self, rpc: Rpc, header: Header) -> list[Log]:
        """The logs of a block as a node has them."""

    def lent(self, header: Header) -> tuple[Loan, ...]:
        """What lenders said as of a block that is in the log; nothing where one did not say."""

    async def loans(self, rpc: Rpc, header: Header) -> tuple[Loan, ...]:
        """The same as a node has it."""

    def look(self) -> None:
        """Choose anew whom to follow."""

    def restart(self, why: str) -> None:
        """What is in the log is not the chain's."""


class Comparison:
    """Compares; `run` it until it is cancelled.

    Args:
        feed: whose nodes.
    """

    def __init__(self, feed: Followed) -> None:
        self._feed = feed
        self._behind: dict[int, float] = {}  # by connection since when
        self._differs: dict[tuple[int, int], float] = {}  # by connection and number of the block since when
        self._told: set[tuple[int, int]] = set()  # disagreements that were told
        self._queue: deque[tuple[Change, Endpoint]] = deque()
        self._has_blocks = asyncio.Event()

    async def run(self) -> None:
        """Look at heights and hashes now and then, at logs block by block."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._look_on())
            group.create_task(self._compare_logs())

    def settle(self, change: Change, giver: Endpoint) -> None:
        """A block went into the log, as a node has it."""
        if not any(one is not giver for one in self._feed.usable()):  # nobody to compare with
            return
        if len(self._queue) >= _QUEUE:
            self._feed.intake.health("blocks_not_compared", 1, self._feed.venue, f"{_QUEUE} wait")
            return
        self._queue.append((change, giver))
        self._has_blocks.set()

    # --- heights and hashes

    async def _look_on(self) -> None:
        while True:
            await asyncio.sleep(self._feed.policy.tick_s)
            self._compare_heights()
            for number in self._settled_differences():
                await self._compare_hashes(number)

    def _compare_heights(self) -> None:
        """A node that is too far behind another for too long is not followed until it has caught up."""
        feed, now = self._feed, asyncio.get_running_loop().time()
        nodes = [(one, one.head.number) for one in feed.usable() if one.head is not None]
        best = max((number for _, number in nodes), default=0)
        for one, number in nodes:
            conn = one.feed.conn
            if best - number <= feed.policy.lag_blocks:
                self._behind.pop(conn, None)
                if one.behind_since is not None:
                    one.behind_since = None
                    feed.intake.health("rpc_behind", 0, feed.venue, f"{one.name} has caught up at block {number}")
            elif now - self._behind.setdefault(conn, now) >= feed.policy.lag_s and one.behind_since is None:
                one.behind_since = now
                feed.intake.health("rpc_behind", best - number, feed.venue, f"{one.name} is at block {number}, another at {best}")
                feed.look()

    def _settled_differences(self) -> list[int]:
        """Numbers of blocks of which some node has for long named another one than the log."""
        feed, now = self._feed, asyncio.get_running_loop().time()
        if feed.tip is None:
            return []
        top = feed.tip.number - feed.policy.settled
        open_now = {
            (one.feed.conn, number)
            for one in feed.usable()
            for number in range(top - _WINDOW, top + 1)
            if (ours := feed.block(number)) is not None and one.hashes.get(number, ours.header.hash) != ours.header.hash
        }
        self._differs = {key: self._differs.get(key, now) for key in sorted(open_now)}
        self._told &= open_now
        late = {key for key, since in self._differs.items() if now - since >= feed.policy.disagree_s}
        return sorted({number for _, number in late - self._told})

    async def _compare_hashes(self, number: int) -> None:
        """Ask all nodes for the block of a number, and let the majority decide."""
        votes: dict[Endpoint, str] = {}
        for one in self._feed.usable():
            if one.rpc is None:
                continue
            try:
                said = await one.rpc.call("eth_getBlockByNumber", hex(number), False)  # noqa: FBT003  # without transactions
                votes[one] = header_of(said).hash
            except (Rejected, Retryable):
                continue
            except BadAnswer as error:
                one.distrust(str(error))
                continue
            one.hashes[number] = votes[one]
        if len(set(votes.values())) < 2:
            return  # they agree by now
        if not self._outvote(votes, f"of block {number} names another hash than most nodes"):
            self._told |= {(one.feed.conn, number) for one in votes}
            said = ", ".join(f"{one.name} {digest}" for one, digest in votes.items())
            self._feed.intake.health("rpc_disagree", number, self._feed.venue, f"block {number}: {said}"[:1000])

    # --- logs

    async def _compare_logs(self) -> None:
        while True:
            await self._has_blocks.wait()
            while self._queue:
                change, giver = self._queue.popleft()
                await self._compare_block(change, giver)
                await self._compare_lenders(change.header, giver)
            self._has_blocks.clear()

    async def _compare_block(self, change: Change, giver: Endpoint) -> None:
        """The logs of a block in the log, as one node gave it, beside those that every other one has."""
        feed, header = self._feed, change.header
        views = await self._views(change, giver)
        if len(set(views.values())) > 1:  # a node may announce a block whose logs it has not yet put in order
            await asyncio.sleep(feed.policy.again_s)
            views = await self._views(change, giver)
        if len(set(views.values())) < 2 or not self._stands(header):
            return
        why = f"tells other logs of block {header.number} than "
        if not self._outvote(views, f"{why}most nodes") and not self._outdone(views, f"{why}another node, which has more"):
            said = ", ".join(f"{one.name} {len(logs)}" for one, logs in views.items())
            feed.intake.health("rpc_disagree", header.number, feed.venue, f"logs of block {header.number}: {said}"[:1000])
        if giver.flaw is not None:
            feed.restart(f"{giver.name} {why}others")

    async def _views(self, change: Change, giver: Endpoint) -> dict[Endpoint, tuple[Log, ...]]:
        """The logs of a block as the log has them, and as every other node does."""
        views: dict[Endpoint, tuple[Log, ...]] = {giver: change.logs}
        for one in self._feed.usable():
            if one is giver or one.rpc is None:
                continue
            try:
                views[one] = tuple(await self._feed.logs(one.rpc, change.header))
            except (Rejected, Retryable):  # it does not have the block: then it has nothing to say of it
                continue
            except BadAnswer as error:
                one.reject("bad_answer", str(error), None)
                one.distrust(str(error))
        return views

    def _stands(self, header: Header) -> bool:
        """Whether a block is in the log still."""
        there = self._feed.block(header.number)
        return there is not None and there.header.hash == header.hash

    # --- lenders

    async def _compare_lenders(self, header: Header, giver: Endpoint) -> None:
        """What lenders said as of a block in the log beside what they say by every other node; of two nobody knows which one is right."""
        feed, told = self._feed, self._feed.lent(header)
        if not told:
            return
        views: dict[Endpoint, tuple[Loan, ...]] = {giver: told}
        for one in feed.usable():
            if one is giver or one.rpc is None:
                continue
            try:
                said = await feed.loans(one.rpc, header)
            except Retryable:
                continue
            if said:
                views[one] = said
        if len(set(views.values())) < 2 or not self._stands(header):
            return
        why = f"says something else of lenders as of block {header.number} than "
        if not self._outvote(views, f"{why}most nodes"):
            said_by = ", ".join(f"{one.name} {_differing(loans, views.values())}" for one, loans in views.items())
            feed.intake.health("rpc_disagree", header.number, feed.venue, f"lenders as of block {header.number}: {said_by}"[:1000])
        elif giver.flaw is not None:
            feed.restart(f"{giver.name} {why}others")

    def _outvote(self, votes: Mapping[Endpoint, _View], why: str) -> bool:
        """Whether a majority decided; whoever is not of it is believed no more for a while."""
        ((most, count), *_) = Counter(votes.values()).most_common()
        if 2 * count <= len(votes):
            return False
        for one, view in votes.items():
            if view != most:
                one.distrust(why)
        return True

    def _outdone(self, views: Mapping[Endpoint, tuple[Log, ...]], why: str) -> bool:
        """Whether one has all logs that any other has; those that lack some are believed no more."""
        everything = {log for logs in views.values() for log in logs}
        if not any(len(logs) == len(everything) for logs in views.values()):
            return False
        for one, logs in views.items():
            if len(logs) < len(everything):
                one.distrust(why)
        return True


def _differing(mine: Sequence[Loan], views: Iterable[Sequence[Loan]]) -> str:
    """The first loan that not all have alike, as one has it."""
    every = list(views)
    loan = next(one for at, one in enumerate(mine) if any(other[at] != one for other in every))
    return f"{loan.way} {loan.lender} has {loan.available} for {loan.premium_wad}"
