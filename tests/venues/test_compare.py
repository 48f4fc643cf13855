"""Who is blamed for what stands in the log: the node that gave it, whichever one is followed by now."""

from __future__ import annotations

import asyncio

import pytest

from xarb.errors import Rejected
from xarb.pools.financing import Loan
from xarb.venues.clock import Clock
from xarb.venues.dex.compare import Comparison
from xarb.venues.dex.endpoint import ChainLink, ChainPolicy, Endpoint, Tells
from xarb.venues.dex.rpc import Rpc
from xarb.venues.intake import Intake
from xarb.wires.follower import Change
from xarb.wires.node import Header, Log
from xarb.wires.rows import RowBuilder

WAIT_S = 20.0
HEAD = Header(number=7, hash="0x7", parent_hash="0x6", timestamp_s=1, base_fee_wei=1, gas_used=0, gas_limit=1, miner="0xm", bloom=0)
TRUE = (Log(address="0xp", topics=("0xt",), data="0x", log_index=0, tx_index=0, tx_hash="0xa"),)
FALSE: tuple[Log, ...] = ()


class Feed:
    """A feed with nodes of which each has its own truth; `current` may be another one than gave the block."""

    venue, tip = "local", HEAD
    policy = ChainPolicy(again_s=0.0, tick_s=60.0)

    def __init__(self, truths: dict[str, tuple[Log, ...]], change: Change) -> None:
        self.intake = Intake(RowBuilder(), Clock(0), lambda _: None)
        tells = Tells(lambda *_: None, lambda: None)
        self.nodes = [
            Endpoint(
                ChainLink("local", number, (), ()),
                f"/nodes/{name}",
                chain_id=1,
                intake=self.intake,
                policy=self.policy,
                tells=tells,
            )
            for number, name in enumerate(truths)
        ]
        self.truths = dict(zip((one.name for one in self.nodes), truths.values(), strict=True))
        for one in self.nodes:
            one.rpc = Rpc(one.address, lambda *_: None)
        self.change: Change | None = change
        self.away: list[Endpoint] = []
        self.restarted = asyncio.Event()

    @property
    def current(self) -> Endpoint | None:
        """The first that is there."""
        return self.usable()[0]

    def usable(self) -> list[Endpoint]:
        """Those that are there and believed."""
        return [one for one in self.nodes if one not in self.away and one.flaw is None]

    def block(self, number: int) -> Change | None:
        """The only one."""
        return self.change if number == HEAD.number else None

    async def logs(self, rpc: Rpc, header: Header) -> list[Log]:
        """As that node has them."""
        del header
        return [*self.truths[rpc.shown]]

    def lent(self, header: Header) -> tuple[Loan, ...]:
        """Nobody lends."""
        del header
        return ()

    async def loans(self, rpc: Rpc, header: Header) -> tuple[Loan, ...]:
        """Nobody lends."""
        raise Rejected(f"{rpc} {header}")

    def look(self) -> None:
        """Nobody else is chosen."""

    def restart(self, why: str) -> None:
        """All is read anew."""
        assert "tells other logs" in why
        self.restarted.set()


@pytest.mark.parametrize("others", [1, 2])
def test_who_gave_a_block_answers_for_it_after_another_one_is_followed(others: int) -> None:
    """It went before its block was compared: what it left out is found all the same, and nobody else is blamed."""

    async def story() -> None:
        change = Change(HEAD, FALSE)
        feed = Feed({"liar": FALSE} | {f"honest{number}": TRUE for number in range(others)}, change)
        comparison = Comparison(feed)
        comparison.settle(change, feed.nodes[0])
        feed.away.append(feed.nodes[0])
        task = asyncio.ensure_future(comparison.run())
        try:
            async with asyncio.timeout(WAIT_S):
                await feed.restarted.wait()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        assert [one.flaw is not None for one in feed.nodes] == [True, *[False] * others]

    asyncio.run(story())
