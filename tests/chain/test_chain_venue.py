"""A chain as the live driver has it: cycles in, receipts out, over a real connection to the node and over the builder."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.chain.conftest import Chain
from tests.chain.stage import Stage, runs
from xarb.errors import InvariantBroken, LogError
from xarb.model.command import CancelCycle
from xarb.venues.dex.executor import NOBODY, Funding
from xarb.venues.dex.rpc import Rpc
from xarb.venues.dex.venue import QUEUE, ChainVenue
from xarb.venues.venue import VenueRow


@pytest.fixture
def stage(chain: Chain, code: str) -> Stage:
    """Everything."""
    return Stage(chain, code)


def test_over_the_nodes_own_socket(stage: Stage) -> None:
    """The node mines by itself; two orders, one after the other, each filled by its receipt, the second with another loan."""

    async def story() -> None:
        stage.node.call("evm_setAutomine", True)  # a word of the node
        rpc = Rpc(str(stage.node.ipc), lambda _name, _said: None)
        await rpc.open()
        venue = ChainVenue(stage.desk(node=rpc))
        try:
            await venue.open()
            venue.listen()
            for order, (funding, lender) in enumerate(((Funding.CALLBACK, NOBODY), (Funding.BALANCER, stage.world.vault)), start=1):
                cycle, best = stage.planned(funding, lender=lender)
                venue.send([stage.command(cycle, order=order)])
                while len([row for row in stage.rows if row.kind == "receipts"]) < order:
                    stage.came.clear()
                    await stage.came.wait()
                receipt = stage.last("receipts")
                assert (receipt["status"], receipt["profit"]) == ("succeeded", str(best.profit))
                assert receipt["client_order_id"] == f"0badcafe-1-{order}"
                stage.swap(("WETH", "DAI"), 5 * 10**18)
        finally:
            await venue.close()
            await rpc.close()

    runs(story)


def test_commands_of_others_and_too_many(stage: Stage) -> None:
    """Another account's is our own mistake; what does not fit is refused by its name."""

    async def story() -> None:
        venue = ChainVenue(stage.desk())
        await venue.open()
        cycle, _ = stage.planned()
        changes: tuple[dict[str, Any], ...] = ({"account": "cold"}, {"venue": "other"})
        for change in changes:
            with pytest.raises(InvariantBroken, match="was given to local"):
                venue.send([stage.command(cycle, **change)])
        with pytest.raises(InvariantBroken, match="is called 0badcafe-2-1, not 0badcafe-1-1"):
            venue.send([stage.command(cycle, client_order_id="0badcafe-2-1")])
        venue.send([stage.command(cycle, order=order) for order in range(1, QUEUE + 3)])
        await stage.until("refused queue_full")
        assert stage.events()[1:] == ["refused queue_full"] * 2
        assert stage.last("transactions")["order"] == QUEUE + 2

    runs(story)


def test_a_kill_lets_nothing_through(stage: Stage) -> None:
    """What waits in the queue is refused, what is out is canceled, and the balances are as they were."""

    async def story() -> None:
        venue = ChainVenue(stage.desk())
        await venue.open()
        venue.listen()
        before = stage.held()
        cycle, _ = stage.planned(blocks=20)
        venue.send([stage.command(cycle)])
        await stage.until("sent")
        venue.send([stage.command(cycle, order=order) for order in (2, 3)])
        await venue.cancel_open()
        stage.builder.build()
        await venue.reconcile()
        await venue.close()
        assert [event for event in stage.events() if event.startswith("refused")] == ["refused stopped"] * 2
        assert stage.events()[-4:] == ["receipt succeeded", "mined", "replaced ours", "receipt dropped"]
        assert stage.held() == before | {"nonce": before["nonce"] + 1}

    runs(story)


def test_a_cancel_reaches_what_an_earlier_start_sent(stage: Stage) -> None:
    """By the name that it had there, whatever its number is here; one of another log, or of a start to come, is our own mistake."""

    async def story() -> None:
        first = stage.desk()
        await first.open()
        cycle, _ = stage.planned(blocks=20)
        await first.trade(stage.trade(cycle))
        venue = ChainVenue(stage.desk(start=2))
        await venue.open()
        venue.listen()
        cancel = CancelCycle(ts=1, order=-1, client_order_id="0badcafe-1-1", account="hot", strategy="dex", venue="local")
        for name in ("0badcaff-1-1", "0badcafe-3-1", "0badcafe-2-7"):
            with pytest.raises(InvariantBroken, match=f"order -1 is called {name}"):
                venue.send([msgspec.structs.replace(cancel, client_order_id=name)])
        venue.send([cancel])
        await stage.until("intent cancel")
        stage.builder.build()
        await venue.reconcile()
        await venue.close()
        assert stage.last("receipts")["status"] == "dropped"
        assert stage.last("receipts")["client_order_id"] == "0badcafe-1-1"

    runs(story)


def test_a_log_that_cannot_be_written(stage: Stage) -> None:
    """Nothing leaves whose intent is not in it, and the venue says what failed."""

    async def story() -> None:
        desk = stage.desk()
        venue = ChainVenue(desk)
        await venue.open()
        venue.listen()

        def full(rows: Any) -> None:
            if any(row.kind == "transactions" for row in rows):
                raise LogError("the disk is full")

        desk._outgoing._keep = full  # as the log does
        cycle, _ = stage.planned()
        venue.send([stage.command(cycle)])
        assert isinstance(await venue.failed(), LogError)
        assert stage.builder.pool == []
        venue.send([stage.command(cycle, order=2)])
        await stage.until("refused venue_failed")
        await venue.close()

    runs(story)


def test_objections_are_told_when_they_change(stage: Stage) -> None:
    """A node that stops to answer, and answers again."""

    async def story() -> None:
        venue = ChainVenue(stage.desk())
        await venue.open()
        venue.listen()
        stage.builder.silent.add("eth_getBlockByNumber")
        while not _readings(stage.rows):
            stage.came.clear()
            await stage.came.wait()
        stage.builder.silent.clear()
        while len(_readings(stage.rows)) < 2:
            stage.came.clear()
            await stage.came.wait()
        assert _readings(stage.rows) == [1, 0]
        await venue.close()

    runs(story)


def _readings(rows: list[VenueRow]) -> list[int]:
    return [row.values["value"] for row in rows if row.kind == "health" and row.values["metric"] == "chain_objections"]
