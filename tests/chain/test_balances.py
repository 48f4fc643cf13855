"""What a wallet and its executor have on a real node, compared with our books while it trades."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.chain.conftest import Chain
from tests.chain.contracts import call_data
from tests.chain.stage import Stage, runs
from tests.chain.world import UNIT
from xarb.venues.dex.desk import ChainDesk, Compared


@pytest.fixture
def stage(chain: Chain, code: str) -> Stage:
    """Everything."""
    return Stage(chain, code)


class Books:
    """Ours, as receipts move them."""

    def __init__(self, stage: Stage, opening: dict[str, int]) -> None:
        self.stage, self.opening, self.now = stage, opening, 1

    def ours(self, account: str, venue: str) -> dict[str, int]:
        """Opening, profits and gas."""
        assert (account, venue) == ("hot", "local")
        found = dict(self.opening)
        for row in self.stage.rows:
            if row.kind == "receipts" and row.values["block_number"] is not None:
                if row.values["profit"] is not None:
                    found[row.values["profit_token"]] += int(row.values["profit"])
                found["ETH"] -= int(row.values["gas_used"]) * int(row.values["gas_price_wei"])
        return found

    def clock(self) -> int:
        """A minute later at each look."""
        self.now += 60 * 10**9
        return self.now


async def comparing(stage: Stage) -> ChainDesk:
    """A desk that compares, and whose books were opened."""
    desk = stage.desk()
    await desk.open()
    tokens = [stage.world.tokens[symbol].lower() for symbol in ("WETH", "DAI")]
    books = Books(stage, {**await desk.holdings(tokens, "ETH")})
    desk.compare_with(books.ours, Compared(tokens, "ETH", books.clock))
    return desk


def told(stage: Stage) -> list[dict[str, Any]]:
    """Differences that were told."""
    rows = [row.values for row in stage.rows if row.kind == "operator"]
    assert all(row["action"] == "discrepancy" for row in rows)
    return [msgspec.json.decode(row["detail"]) for row in rows]


def given(stage: Stage) -> None:
    """Somebody gives the executor a WETH, in the next block."""
    data = call_data("transfer(address,uint256)", stage.executor, UNIT)
    request = {"from": stage.world.owner, "to": stage.world.tokens["WETH"], "data": data, "gas": hex(200_000)}
    stage.node.call("eth_sendTransaction", request)


def test_balances_are_of_the_block_up_to_which_receipts_were_told(stage: Stage) -> None:
    """Another start is opened, and a block takes in what the one before sent: that is in the balances once its receipt was told, and not before."""

    async def story() -> None:
        first = stage.desk()
        await first.open()
        cycle, best = stage.planned()
        assert await first.trade(stage.trade(cycle)) is not None
        desk, weth = stage.desk(start=2), stage.world.tokens["WETH"].lower()
        await desk.open()
        before = stage.held()["WETH"]
        stage.builder.build()
        assert (await desk.holdings([weth], "ETH"))[weth] == before
        await desk.look()
        assert stage.last("receipts")["status"] == "succeeded"
        assert (await desk.holdings([weth], "ETH"))[weth] == before + best.profit

    runs(story)


def test_what_receipts_explain_is_no_difference(stage: Stage) -> None:
    """Before a trade, while it waits, once it is included: to the wei; whatever is under way is no difference."""

    async def story() -> None:
        desk = await comparing(stage)
        cycle, best = stage.planned()
        before = stage.held()
        for step in (None, lambda: desk.trade(stage.trade(cycle)), None):
            if step is not None:
                assert await step() is not None
            for _ in range(3):
                await desk.compare()
            stage.builder.build()
        for _ in range(3):
            await desk.compare()
        assert stage.held()["WETH"] == before["WETH"] + best.profit
        assert "receipt succeeded" in stage.events()
        assert told(stage) == []

    runs(story)


def test_what_nothing_explains_is_told_once_two_asks_found_it(stage: Stage) -> None:
    """Tokens that come, and wei that goes: each by its asset and amount, with what both say; not by one ask alone."""

    async def story() -> None:
        desk = await comparing(stage)
        await desk.compare()
        await desk.compare()
        given(stage)
        stage.builder.build()
        wei = int(stage.node.call("eth_getBalance", stage.wallet.address, "latest"), 16)
        stage.node.call("anvil_setBalance", stage.wallet.address, hex(wei - UNIT))
        stage.builder.build()
        await desk.compare()
        assert told(stage) == []
        await desk.compare()
        assert [(one["asset"], one["difference"]) for one in told(stage)] == [
            (stage.world.tokens["WETH"].lower(), "1"),
            ("ETH", "-1"),
        ]
        assert all(int(one["agreed"]) > 0 for one in told(stage))

    runs(story)


def test_a_receipt_between_two_asks_makes_them_begin_anew(stage: Stage) -> None:
    """What one ask found may be of a moment before it: only two behind the last receipt count."""

    async def story() -> None:
        desk = await comparing(stage)
        given(stage)
        stage.builder.build()
        cycle, _ = stage.planned()
        await desk.trade(stage.trade(cycle))
        await desk.compare()
        stage.builder.build()
        await desk.compare()
        assert told(stage) == []
        await desk.compare()
        assert len(told(stage)) == 1

    runs(story)
