"""A chain's pools as a feed: whole blocks in order into the log, whatever the nodes behind it do.

One node is followed, the others are compared with it. The pure follower (`wires.follower`) says what is to be asked and which blocks are
complete; here it is asked, and the rows of a block are put down at once. Where no chain of blocks leads from what is in the log to what the
node has, a `gap` says so and pools are read anew, all at one block.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from xarb.errors import Rejected, Retryable
from xarb.pools.financing import Loan
from xarb.venues.dex.compare import Comparison
from xarb.venues.dex.endpoint import ChainLink, ChainPolicy, Endpoint, Tells, lag_of
from xarb.venues.dex.lending import Lender, Lending
from xarb.venues.dex.reading import Factory, PoolState, facts_of, states_of
from xarb.venues.dex.refresh import Refresh
from xarb.wires.chains import Block, ChainRow, LoanRow, PendingRow, Pool, block_row, loan_row, log_rows, snapshot_row
from xarb.wires.chains import Log as ChainLog
from xarb.wires.evm import SIGNATURES, BadLog
from xarb.wires.follower import Ask, AskHeader, AskLatest, AskLogs, BlockFollower, Change, Lost
from xarb.wires.node import BadAnswer, Header, Log, Waiting, header_of, logs_of

if TYPE_CHECKING:
    from xarb.venues.dex.rpc import Rpc
    from xarb.venues.intake import Intake
    from xarb.wires.decimals import Listing

_PATIENCE: Final = 5  # times in a row that a node may not have what it announced, before its connection is made anew
_REST_S: Final = 0.1  # before it is asked again
_HEADER: Final = ("number", "hash", "parent_hash", "timestamp_s", "base_fee_wei", "gas_used", "gas_limit", "miner")
_SEEN: Final = 20_000  # waiting transactions whose hashes are remembered


class ChainSource(msgspec.Struct, frozen=True, kw_only=True):
    """A chain that data comes from.

    Attributes:
        venue: venue id in the log.
        chain_id: EIP-155.
        rpc: addresses of nodes, the preferred one first (`dex.rpc`).
        pools: addresses.
        factories: whose pools are allowed.
        lenders: who is asked what it takes and has, at each block.
        pending: whether transactions before their inclusion are recorded.
        policy: when a node is given up.
    """

    venue: str
    chain_id: int
    rpc: tuple[str, ...]
    pools: tuple[str, ...]
    factories: tuple[Factory, ...]
    lenders: tuple[Lender, ...] = ()
    pending: bool = False
    policy: ChainPolicy = ChainPolicy()

    @property
    def symbols(self) -> tuple[str, ...]:
        """Symbols of its instruments: the pools' addresses."""
        return self.pools

    def subscribed(self) -> tuple[str, ...]:
        """What comes from it."""
        return ("blocks", "pools", "swaps", *(["loans"] if self.lenders else []), *(["pending"] if self.pending else []))


class ChainFeed:
    """Follows one chain. `run` lasts until it is cancelled.

    Args:
        source: where from.
        listings: of the pools, as `load_pools` gave them.
        intake: takes the rows.
        first_conn: number of the first node's connection; each address has one.

    Attributes:
        streams: the connections, for boards.
    """

    def __init__(self, source: ChainSource, listings: Sequence[Listing], *, intake: Intake, first_conn: int) -> None:
        self._source, self._intake = source, intake
        self._pools: Mapping[str, Pool] = {}
        kinds = {one.kind for one in source.factories}
        topics = sorted({topic for kind in kinds for topic in SIGNATURES[kind].values()})
        self._filter = {"address": sorted(source.pools), "topics": [topics]}
        tells = Tells(self._heard, self.look, self._take_waiting if source.pending else None)
        self.streams = [
            Endpoint(
                ChainLink(source.venue, first_conn + number, listings, source.subscribed()),
                address,
                chain_id=source.chain_id,
                intake=intake,
                policy=source.policy,
                tells=tells,
            )
            for number, address in enumerate(source.rpc)
        ]
        self._current: Endpoint | None = None
        self._follower: BlockFollower | None = None
        self._lost: str | None = None  # why pools must be read anew
        self._counts: OrderedDict[str, int] = OrderedDict()  # rows of the blocks that can be removed, by hash
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._kick = asyncio.Event()
        self._failures = 0
        self._comparison = Comparison(self)
        self._refresh = Refresh(self, source.policy.refresh_s)
        self._lending = Lending(source.lenders)

    async def run(self) -> None:
        """Follow."""
        async with asyncio.TaskGroup() as group:
            for stream in self.streams:
                group.create_task(stream.run())
            group.create_task(self._follow())
            group.create_task(self._comparison.run())
            group.create_task(self._refresh.run())

    # --- for who compares and reads again

    @property
    def venue(self) -> str:
        """Venue id."""
        return self._source.venue

    @property
    def policy(self) -> ChainPolicy:
        """When a node is given up."""
        return self._source.policy

    @property
    def intake(self) -> Intake:
        """Where rows go."""
        return self._intake

    @property
    def current(self) -> Endpoint | None:
        """The node that is followed."""
        return self._current

    @property
    def tip(self) -> Header | None:
        """The latest block in the log."""
        return None if self._follower is None else self._follower.tip

    @property
    def followed(self) -> Sequence[Pool]:
        """The pools; none before the first snapshot."""
        return list(self._pools.values())

    def usable(self) -> list[Endpoint]:
        """The nodes that answer and are believed."""
        return [one for one in self.streams if _is_usable(one)]

    def block(self, number: int) -> Change | None:
        """A block that is in the log, so far as it is kept."""
        return None if self._follower is None else self._follower.kept(number)

    async def logs(self, rpc: Rpc, header: Header) -> list[Log]:
        """The logs of a block as a node has them.

        Raises:
            BadAnswer: it lies. Retryable, Rejected: it has none.
        """
        return logs_of(await rpc.call("eth_getLogs", {"blockHash": header.hash, **self._filter}), header, self._source.pools)

    def lent(self, header: Header) -> tuple[Loan, ...]:
        """What lenders said as of a block that is in the log; nothing where there are none, or one did not say."""
        return self._lending.given(header)

    async def loans(self, rpc: Rpc, header: Header) -> tuple[Loan, ...]:
        """The same as a node has it; nothing where it does not say all of it.

        Raises:
            Retryable: it does not answer.
        """
        asked = self._lending.ask(header)
        return self._lending.heard(asked, await rpc.each(asked.calls))

    def restart(self, why: str) -> None:
        """Read all pools anew: what is in the log is not the chain's."""
        if self._lost is None and self._current is not None:
            self._lose(self._current, why)
        self.look()

    def look(self) -> None:
        """Choose anew whom to follow, and see what there is."""
        self._kick.set()

    # --- what endpoints say

    def _heard(self, endpoint: Endpoint, header: Header | None) -> None:
        if endpoint is self._current and self._follower is not None:
            if header is None:
                self._follower.doubts()
            else:
                self._follower.hears(header)
            self.look()

    def _take_waiting(self, endpoint: Endpoint, sent: Waiting) -> None:
        if endpoint is not self._current or sent.tx_hash in self._seen:
            return
        self._seen[sent.tx_hash] = None
        if len(self._seen) > _SEEN:
            self._seen.popitem(last=False)
        feed = endpoint.feed
        row = PendingRow(conn=feed.conn, venue=feed.venue, chain_id=self._source.chain_id, **sent._asdict())
        endpoint.meter.events += 1
        self._intake.chain(self._intake.clock.now(), [row])

    # --- following

    async def _follow(self) -> None:
        while True:
            self._kick.clear()
            self._choose()
            endpoint = self._current
            if endpoint is not None and endpoint.rpc is not None and _is_usable(endpoint):  # else its end is told in a moment
                await self._advance(endpoint, endpoint.rpc)
            await self._kick.wait()

    def _choose(self) -> None:
        """Stay with the node that is followed, or take the first one that can be: another one is looked at from where the log is."""
        usable = self.usable()
        best = max((one.head.number for one in usable if one.head is not None), default=0)
        wanted = [one for one in usable if one.behind_since is None]
        wanted = wanted or [one for one in usable if one.head is not None and one.head.number == best]
        if self._current in wanted or not wanted:
            return
        before, self._current = self._current, wanted[0]
        detail = f"{self._current.name} in place of {before.name}" if before else self._current.name
        self._intake.health("rpc_followed", self._current.feed.conn, self.venue, detail)
        self._failures = 0
        if self._follower is not None:
            self._follower.fail()

    async def _advance(self, endpoint: Endpoint, rpc: Rpc) -> None:
        """Everything that can be had now."""
        try:
            if self._follower is None or self._lost is not None:
                await self._begin(endpoint, rpc)
            while _is_usable(endpoint):
                follower = self._follower
                assert follower is not None, "just begun"
                self._put(endpoint, follower.take())
                if self._lost is not None:
                    break
                asks = follower.asks()
                if not asks:
                    self._failures = 0
                    return
                await self._serve(endpoint, rpc, follower, asks)
        except BadAnswer as error:
            endpoint.reject("bad_answer", str(error), None)
            endpoint.distrust(str(error))
        except Rejected as error:  # it does not have what it announced: behind its own other half, or the block is gone
            await self._have_patience(endpoint, str(error))
        except Retryable as error:
            endpoint.give_up(str(error))
        if self._follower is not None:
            self._follower.fail()  # what was asked for and not answered
        self.look()

    async def _have_patience(self, endpoint: Endpoint, why: str) -> None:
        self._failures += 1
        if self._failures >= _PATIENCE:
            self._failures = 0
            endpoint.give_up(f"{_PATIENCE} times in a row it did not have what it announced: {why}")
        await asyncio.sleep(_REST_S)

    async def _serve(self, endpoint: Endpoint, rpc: Rpc, follower: BlockFollower, asks: Sequence[Ask]) -> None:
        """Ask the node; logs of many blocks at once."""
        headers = [ask.header for ask in asks if isinstance(ask, AskLogs)]
        calls = [("eth_getLogs", ({"blockHash": header.hash, **self._filter},)) for header in headers]
        lending = [self._lending.ask(header) for header in headers]
        answers = await rpc.each([*calls, *(call for asked in lending for call in asked.calls)])
        at = len(headers)
        for header, said, asked in zip(headers, answers[:at], lending, strict=True):
            if isinstance(said, Rejected):
                raise said
            count = len(asked.calls)
            self._lending.takes(asked, answers[at : at + count])
            follower.takes_logs(header, logs_of(said, header, self._source.pools))
            at += count
        for ask in asks:
            lost: Lost | None = None
            if isinstance(ask, AskLatest):
                lost = follower.takes_latest(header_of(await rpc.call("eth_getBlockByNumber", "latest", False)))  # noqa: FBT003  # without transactions
            elif isinstance(ask, AskHeader):
                lost = follower.takes_header(header_of(await rpc.call("eth_getBlockByHash", ask.hash, False)))  # noqa: FBT003  # same
            if lost is not None:
                self._lose(endpoint, lost.why)

    async def _begin(self, endpoint: Endpoint, rpc: Rpc) -> None:
        """Read all pools at the latest block and begin there."""
        header = header_of(await rpc.call("eth_getBlockByNumber", "latest", False))  # noqa: FBT003  # without transactions
        follower = BlockFollower(header, history=self.policy.history, reach=self.policy.reach)
        was, self._follower = self._follower, follower  # hears what comes from here on
        try:
            known = await facts_of(rpc, self._source.pools, self._source.factories, header)
            self._pools = {one.pool.address: one.pool for one in known}
            states = await states_of(rpc, list(self._pools.values()), header)
            await self._lending.begin(rpc, header)
        except BaseException:  # it was not begun: the next try begins anew, a cancelled one never
            self._follower = was
            raise
        self._lost = None
        self._counts.clear()
        self._put_snapshot(endpoint, header, states)
        follower.doubts()  # what was announced while it was read may have been lost
        if was is not None:
            self._intake.link(endpoint.link, "resync", f"all pools as of block {header.number}")

    # --- rows

    def _put_snapshot(self, endpoint: Endpoint, header: Header, states: Mapping[str, PoolState]) -> None:
        block = self._block(endpoint, header)
        rows: list[ChainRow] = [snapshot_row(block, self._pools[address], states[address]) for address in sorted(states)]
        rows += self._loans(block, header)
        self._close(endpoint, header, rows)

    def _put(self, endpoint: Endpoint, changes: Sequence[Change]) -> None:
        """The rows of blocks, and of those that were removed."""
        for change in changes:
            if change.is_removed:
                count = self._counts.pop(change.header.hash)
                row = block_row(self._block(endpoint, change.header), count, removed=True)
                self._intake.chain(self._intake.clock.now(), [row])
                self._lending.again()  # what was told in it is no more
                continue
            self._put_block(endpoint, change)
            self._comparison.settle(change, endpoint)

    def _put_block(self, endpoint: Endpoint, change: Change) -> None:
        """A block; where one of its logs cannot be read, nothing that follows counts until pools are read anew."""
        block = self._block(endpoint, change.header)
        rows: list[ChainRow] = []
        for log in change.logs:
            try:
                rows += log_rows(block, self._pools[log.address], ChainLog(**_place(log)))
            except BadLog as error:
                endpoint.reject("bad_log", f"block {block.number}, log {log.log_index}: {error}", log)
                if self._lost is None:
                    self._lose(endpoint, f"a log of pool {log.address} in block {block.number} cannot be read")
        try:
            due = self._refresh.due(change.header) if self._lost is None else None
        except BadAnswer as error:
            endpoint.reject("bad_state", f"block {block.number}: {error}", None)
        else:
            if due is not None:
                rows.append(snapshot_row(block, *due))
                self._lending.again()  # as pools are read again, so that a part of the log knows them too
        rows += self._loans(block, change.header)
        self._close(endpoint, change.header, rows)

    def _loans(self, block: Block, header: Header) -> list[LoanRow]:
        """What lenders say otherwise than was told before."""
        return [loan_row(block, one.loan, one.token) for one in self._lending.changed(header)]

    def _lose(self, endpoint: Endpoint, why: str) -> None:
        """What the log has of the pools is not the chain's any more."""
        self._lost = why
        self._intake.link(endpoint.link, "gap", why)
        endpoint.meter.gaps += 1

    def _close(self, endpoint: Endpoint, header: Header, rows: list[ChainRow]) -> None:
        """All rows of a block at once, and the one that completes it."""
        now = self._intake.clock.now()
        closing = block_row(self._block(endpoint, header), len(rows))
        self._intake.chain(now, [*rows, closing])
        endpoint.meter.events += len(rows) + 1
        lag_of(endpoint, header, now)
        self._counts[header.hash] = len(rows)
        while len(self._counts) > self.policy.history + self.policy.reach:
            self._counts.popitem(last=False)

    def _block(self, endpoint: Endpoint, header: Header) -> Block:
        return Block(
            venue=self.venue,
            conn=endpoint.feed.conn,
            chain_id=self._source.chain_id,
            **{name: getattr(header, name) for name in _HEADER},
        )


def _is_usable(endpoint: Endpoint) -> bool:
    return endpoint.is_open and endpoint.flaw is None and endpoint.rpc is not None and not endpoint.rpc.ended.done()


def _place(log: Log) -> dict[str, Any]:
    """A log as rows take it, whose pool is known."""
    found = log._asdict()
    del found["address"]
    return found
