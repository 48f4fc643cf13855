"""Pools read again now and then, one after the other, so that who follows the log sees whether he has what the chain has.

A pool is read as of the latest block while later ones arrive; their events are applied to what was read, and the whole goes out with the
next block. So no block waits for it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple, Protocol

import msgspec

from xarb.errors import Rejected, Retryable
from xarb.pools.constant_product import ConstantProduct
from xarb.venues.dex.reading import PoolState, states_of
from xarb.wires.chains import Pool
from xarb.wires.evm import Crossed, PoolEvent, Resized, Synced, decode
from xarb.wires.node import BadAnswer, Header

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xarb.venues.dex.endpoint import Endpoint
    from xarb.wires.follower import Change


class Refreshed(Protocol):
    """A feed, as its pools are read again."""

    @property
    def tip(self) -> Header | None:
        """The latest block in the log."""

    @property
    def current(self) -> Endpoint | None:
        """The node that is followed."""

    @property
    def followed(self) -> Sequence[Pool]:
        """The pools; none before the first snapshot."""

    def block(self, number: int) -> Change | None:
        """A block that is in the log, so far as it is kept."""


class _Read(NamedTuple):
    """A pool as it was after a block."""

    header: Header
    pool: Pool
    state: PoolState


class Refresh:
    """Reads; `run` it until it is cancelled.

    Args:
        feed: whose pools.
        interval_s: between two of them; 0: never.
    """

    def __init__(self, feed: Refreshed, interval_s: float) -> None:
        self._feed, self._interval_s = feed, interval_s
        self._read: _Read | None = None

    async def run(self) -> None:
        """Read one pool at a time."""
        if not self._interval_s:
            return
        number = 0
        while True:
            await asyncio.sleep(self._interval_s)
            feed = self._feed
            header, endpoint = feed.tip, feed.current
            if self._read is not None or header is None or endpoint is None or endpoint.rpc is None or not feed.followed:
                continue  # what was read waits for its block: no other pool takes its place
            pool = feed.followed[number % len(feed.followed)]
            try:
                states = await states_of(endpoint.rpc, [pool], header)
            except (Rejected, Retryable):  # it has the block no more, or went
                continue
            except BadAnswer as error:
                endpoint.reject("bad_answer", str(error), None)
                number += 1
                continue
            self._read = _Read(header, pool, states[pool.address])
            number += 1

    def due(self, header: Header) -> tuple[Pool, PoolState] | None:
        """What was read, as of the end of the block that goes out now; None where there is nothing, or a reorganisation took its block.

        Raises:
            BadAnswer: what was read and the logs since contradict each other.
        """
        read, self._read = self._read, None
        if read is None or header.number <= read.header.number:
            return None
        there = self._feed.block(read.header.number)
        if there is None or there.header.hash != read.header.hash:
            return None
        state = read.state
        for number in range(read.header.number + 1, header.number + 1):
            change = self._feed.block(number)
            if change is None:
                return None
            for log in change.logs:
                if log.address == read.pool.address:
                    state = moved(state, decode(read.pool.kind, log.topics, log.data))
        return read.pool, state


def moved(state: PoolState, event: PoolEvent | None) -> PoolState:
    """A pool after an event.

    Raises:
        BadAnswer: it cannot be an event of this pool.
    """
    try:
        if isinstance(state, ConstantProduct):
            if isinstance(event, Synced):
                return msgspec.structs.replace(state, reserve0=event.reserve0, reserve1=event.reserve1)
        elif isinstance(event, Crossed):
            state.move(event.sqrt_price, event.tick, event.liquidity)
        elif isinstance(event, Resized):
            state.change(event.lower, event.upper, event.liquidity)
    except ValueError as error:
        raise BadAnswer(f"an event contradicts the state: {error}") from None
    return state
