"""Transactions through a builder that reorders, drops, sandwiches, lands late and forgets, with the real executor in real pools."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest

from tests.chain.conftest import Chain
from tests.chain.contracts import call_data, read
from tests.chain.stage import FEES, GWEI, KEY, RELAY_KEY, Stage, runs
from tests.chain.world import UNIT
from xarb.errors import Refused
from xarb.pools.basefee import next_base_fee
from xarb.pools.financing import MEASURED, GasPrice, Need, Purse, Way, financing
from xarb.venues.dex.executor import NOBODY, Funding
from xarb.venues.dex.fees import FeePolicy
from xarb.venues.dex.lending import Lender, Lending
from xarb.venues.dex.rpc import Rpc
from xarb.venues.dex.stuck import Head
from xarb.wires.node import header_of

FUNDINGS: dict[str, Funding] = {
    "callback": Funding.CALLBACK,
    "wallet": Funding.WALLET,
    "balancer": Funding.BALANCER,
    "flash": Funding.FLASH,
    "aave": Funding.AAVE,
}


@pytest.fixture
def stage(chain: Chain, code: str) -> Iterator[Stage]:
    """Everything, and no secret in what it told."""
    made = Stage(chain, code)
    yield made
    told = repr(made.rows).lower()
    assert KEY[2:] not in told
    assert RELAY_KEY[2:] not in told
    assert all(raw[2:].lower() not in told for raw in made.arrived)  # who reads the log could send them


@pytest.mark.parametrize("channel", ["public", "relay"])
def test_profit_is_what_was_computed(stage: Stage, channel: str) -> None:
    """Sent, included, provisional, then final: one receipt with the profit to the last unit, and the executor has it."""

    async def story() -> None:
        async with stage.relaying():
            desk = stage.desk()
            await desk.open()
            before = stage.held()
            cycle, best = stage.planned()
            sent = await desk.trade(stage.trade(cycle, channel=channel))  # type: ignore[arg-type]  # one of two words
            assert stage.events() == ["adopted opened", "intent trade", "sent"]
            block = stage.builder.build()
            await desk.look()
            receipt = stage.last("receipts")
            assert (receipt["tx_hash"], receipt["block_number"], receipt["status"]) == (sent, block, "succeeded")
            assert (receipt["profit_token"], receipt["profit"]) == (stage.world.tokens["WETH"].lower(), str(best.profit))
            assert (receipt["client_order_id"], receipt["bundle"], receipt["account"]) == ("0badcafe-1-1", 1, "hot")
            held = before | {"WETH": before["WETH"] + best.profit, "nonce": before["nonce"] + 1}
            assert stage.held() == held
            for _ in range(2):
                stage.builder.build()
                await desk.look()
            assert stage.events()[3:] == ["receipt succeeded", "mined"]
            stage.builder.build()
            await desk.look()
            assert stage.events()[3:] == ["receipt succeeded", "mined", "final"]
            assert desk.nonces.nonces() == []

    runs(story)


@pytest.mark.parametrize("way", list(FUNDINGS))
def test_every_way_costs_what_the_chain_said(stage: Stage, way: Way) -> None:
    """Premium and depth are read there; what financing expects to be earned is earned, and its gas is not exceeded."""

    async def story() -> None:
        desk = stage.desk()
        await desk.open()
        world, weth = stage.world, stage.world.tokens["WETH"].lower()
        stage.node.call("evm_setAutomine", True)  # a word of the node
        stage.node.transact(world.owner, world.tokens["WETH"], call_data("transfer(address,uint256)", stage.executor, 100 * UNIT))
        stage.node.call("evm_setAutomine", False)  # a word of the node
        lenders = [
            Lender(way="balancer", address=world.vault.lower(), tokens=(weth,)),
            Lender(way="aave", address=world.lender.lower(), tokens=(weth,)),
            Lender(way="flash", address=world.v3_pools["WETH/USDC 500"].lower(), tokens=(weth,)),
        ]
        cycle, best = stage.planned()
        header = header_of(stage.node.call("eth_getBlockByNumber", "latest", False))  # without transactions
        lending, rpc = Lending(lenders), Rpc(str(stage.node.ipc), lambda *_: None)
        await rpc.open()
        await lending.begin(rpc, header)
        await rpc.close()
        (balance,) = read(stage.node, weth, "balanceOf(address)", stage.executor, returns=["uint256"])
        purse = Purse(balance=balance, loans=tuple(one.loan for one in lending.latest()))
        assert purse.balance == 100 * UNIT
        premiums = {loan.way: loan.premium_wad for loan in purse.loans}
        assert premiums == {"balancer": 0, "aave": 5 * 10**14, "flash": 5 * 10**14}
        mine = msgspec.structs.replace(purse, loans=tuple(loan for loan in purse.loans if loan.way == way))
        need = Need(
            amount=best.amounts[0],
            profit=best.profit,
            pools=tuple(hop.pool.lower() for hop in cycle.hops),
            ticks=1,  # the best input of these pools goes a little into the next range
            is_atomic=True,
            success_ppm=10**6,
            slip_ppm=0,
            min_net=1,
        )
        base_fee = next_base_fee(header.base_fee_wei or 0, header.gas_used, header.gas_limit)
        price = GasPrice(base_fee_wei=base_fee, tip_wei=GWEI, cap_wei=FEES.cap_wei, worth=(1, 1), pays_reverts=True)
        wish = "flashloan" if way in ("balancer", "aave", "flash") else way
        taken = financing(wish, need, mine, price=price, gas=MEASURED).taken  # type: ignore[arg-type]  # one of its words
        assert taken is not None
        assert taken.way == way
        assert taken.min_profit == best.profit - taken.premium
        cycle = cycle._replace(funding=FUNDINGS[way], lender=taken.lender or NOBODY, min_profit=taken.min_profit)
        assert await desk.trade(stage.trade(cycle)) is not None
        stage.builder.build()
        await desk.look()
        receipt = stage.last("receipts")
        assert receipt["status"] == "succeeded"
        assert 0 <= int(receipt["profit"]) - taken.min_profit <= 1  # Aave rounds to the nearest unit, we up
        assert receipt["gas_used"] <= taken.gas
        assert taken.net <= int(receipt["profit"]) - receipt["gas_used"] * (base_fee + GWEI)

    runs(story)


def test_a_competitor_before_us(stage: Stage) -> None:
    """Reordered: ours reverts, costs its gas and nonce, and leaves every balance as it was."""

    async def story() -> None:
        desk = stage.desk()
        await desk.open()
        before = stage.held()
        cycle, _ = stage.planned()
        await desk.trade(stage.trade(cycle))
        stage.builder.build(first=[stage.close_the_edge()])
        await desk.look()
        assert stage.last("receipts")["status"] == "reverted"
        assert stage.last("receipts")["profit"] is None
        assert stage.held() == before | {"nonce": before["nonce"] + 1}

    runs(story)


@pytest.mark.parametrize("channel", ["public", "relay"])
def test_a_sandwich(stage: Stage, channel: str) -> None:
    """Somebody moves the price before us and back behind us: nothing is lost but gas, and through a relay not even that."""

    async def story() -> None:
        async with stage.relaying():
            desk = stage.desk()
            await desk.open()
            before = stage.held()
            cycle, _ = stage.planned()
            await desk.trade(stage.trade(cycle, channel=channel))  # type: ignore[arg-type]  # one of two words
            front = stage.swap_request(("DAI", "WETH"), 6_000 * UNIT)
            back = stage.swap_request(("WETH", "DAI"), 2 * UNIT)
            stage.builder.build(first=[front], last=[back], with_bundles=channel == "public")
            await desk.look()
            held = stage.held()
            if channel == "public":
                assert stage.last("receipts")["status"] == "reverted"
                assert held == before | {"nonce": before["nonce"] + 1}
            else:
                assert held == before

    runs(story)


def test_a_relay_that_drops(stage: Stage) -> None:
    """Asked for each block as long as it makes sense, then dropped: the nonce is unspent, its order ends, and the next order has the nonce."""

    async def story() -> None:
        async with stage.relaying():
            desk = stage.desk()
            await desk.open()
            before = stage.held()
            cycle, best = stage.planned(blocks=3)
            await desk.trade(stage.trade(cycle, channel="relay"))
            for _ in range(2):
                stage.builder.build(with_bundles=False)
                await desk.look()
            assert stage.builder.asked == {"eth_callBundle": 2, "eth_sendBundle": 2}
            assert stage.events()[1:] == ["intent trade", "sent", "dropped not_included"]
            assert stage.held() == before
            stage.builder.build()
            await desk.look()
            assert stage.events()[4:] == ["receipt dropped"]
            cycle, best = stage.planned()
            await desk.trade(stage.trade(cycle, order=2, channel="relay"))
            stage.builder.build()
            await desk.look()
            assert stage.last("receipts")["profit"] == str(best.profit)
            assert stage.last("receipts")["nonce"] == before["nonce"]

    runs(story)


@pytest.mark.parametrize("blocks", [3, 9])
def test_a_relay_that_lands_late(stage: Stage, blocks: int) -> None:
    """What was dropped is included after all: within its time it is a fill like any other; behind it the contract undoes it."""

    async def story() -> None:
        async with stage.relaying():
            desk = stage.desk()
            await desk.open()
            before = stage.held()
            cycle, best = stage.planned(blocks=blocks)
            await desk.trade(stage.trade(cycle, channel="relay"))
            (kept,) = stage.builder.bundles.values()
            kept = [list(one) for one in kept]
            for _ in range(4):
                stage.builder.build(with_bundles=False)
                await desk.look()
            assert "dropped not_included" in stage.events()
            stage.node.call("eth_sendRawTransaction", kept[0][0])
            stage.builder.build()
            await desk.look()
            receipt = stage.last("receipts")
            is_in_time = blocks > 5
            assert receipt["status"] == ("succeeded" if is_in_time else "reverted")
            assert stage.held()["WETH"] == before["WETH"] + (best.profit if is_in_time else 0)
            assert [event for event in stage.events() if event.startswith("receipt")] == (
                ["receipt succeeded"] if is_in_time else ["receipt dropped", "receipt reverted"]
            )

    runs(story)


def test_nothing_is_sent_whose_simulation_fails(stage: Stage) -> None:
    """In public it is not even signed; the relay is not asked to include it, neither at once nor for the next block."""

    async def story() -> None:
        async with stage.relaying():
            desk = stage.desk()
            await desk.open()
            cycle, best = stage.planned()
            too_much = cycle._replace(min_profit=best.profit + 1)
            assert await desk.trade(stage.trade(too_much)) is None
            assert stage.events()[1:] == ["refused simulation"]
            assert "UNPROFITABLE" in stage.last("transactions")["error"] or "revert" in stage.last("transactions")["error"]
            assert stage.builder.pool == []
            await desk.trade(stage.trade(cycle, order=2, channel="relay"))
            stage.builder.build(first=[stage.close_the_edge()], with_bundles=False)
            await desk.look()
            assert stage.builder.asked == {"eth_callBundle": 2, "eth_sendBundle": 1}
            assert stage.events()[2:] == ["intent trade", "sent", "dropped simulation"]
            assert not stage.builder.bundles

    runs(story)


def test_a_relay_that_does_not_know_us(stage: Stage) -> None:
    """A stranger's signature is refused there, and the nonce is free again."""

    async def story() -> None:
        async with stage.relaying():
            stage.builder.friends.clear()
            desk = stage.desk()
            await desk.open()
            cycle, _ = stage.planned()
            await desk.trade(stage.trade(cycle, channel="relay"))
            assert stage.events()[1:] == ["intent trade", "not_sent relay_refused"]
            assert "invalid signature" in stage.last("transactions")["error"]
            assert desk.nonces.free() == [stage.held()["nonce"]]

    runs(story)


def test_the_same_again(stage: Stage) -> None:
    """What was dropped is asked for once more, to the last byte: it is another transaction, of another order."""

    async def story() -> None:
        async with stage.relaying():
            desk = stage.desk()
            await desk.open()
            cycle, best = stage.planned()
            stage.builder.refused["eth_sendBundle"] = "busy"
            hashes = [await desk.trade(stage.trade(cycle, order=order, channel="relay")) for order in (1, 2, 3)]
            stage.builder.refused.clear()
            hashes.append(await desk.trade(stage.trade(cycle, order=4, channel="relay")))
            assert len({*hashes}) == 4
            stage.builder.build()
            await desk.look()
            ends = {row.values["bundle"]: row.values for row in stage.rows if row.kind == "receipts"}
            assert {bundle: row["status"] for bundle, row in ends.items()} == {4: "succeeded"} | dict.fromkeys((1, 2, 3), "dropped")
            assert (ends[4]["tx_hash"], ends[4]["profit"]) == (hashes[3], str(best.profit))

    runs(story)


def test_a_base_fee_that_jumps(stage: Stage) -> None:
    """Another bid of the same call, a tenth higher at least, is included in its place; one receipt."""

    async def story() -> None:
        desk = stage.desk(fees=FeePolicy(tip_wei=GWEI, cap_wei=500 * GWEI, rises=0))
        await desk.open()
        before = stage.held()
        cycle, best = stage.planned(blocks=9)
        first = await desk.trade(stage.trade(cycle))
        for _ in range(2):
            stage.node.call("anvil_setNextBlockBaseFeePerGas", hex(60 * GWEI))
            stage.builder.build(with_pool=False)
            await desk.look()
        (waiting,) = stage.builder.pool
        assert waiting.tx_hash != first
        assert stage.events()[1:] == ["intent trade", "sent", "intent replacement", "sent"]
        stage.builder.build()
        await desk.look()
        assert stage.events()[5:] == ["receipt succeeded", "mined", "replaced ours"]
        receipt = stage.last("receipts")
        assert (receipt["tx_hash"], receipt["profit"]) == (waiting.tx_hash, str(best.profit))
        assert stage.held()["nonce"] == before["nonce"] + 1

    runs(story)


def test_what_is_not_worth_more_is_canceled(stage: Stage) -> None:
    """Beyond its ceiling: a transfer to ourselves takes the nonce, the order has ended, and balances are as they were."""

    async def story() -> None:
        desk = stage.desk()
        await desk.open()
        before = stage.held()
        cycle, _ = stage.planned(blocks=9)
        await desk.trade(stage.trade(cycle, ceiling_wei=5 * GWEI))
        for _ in range(2):
            stage.builder.build(with_pool=False)
            await desk.look()
        assert stage.events()[1:3] == ["intent trade", "sent"]
        assert stage.events()[3:] == ["intent replacement", "sent"]
        for _ in range(2):
            stage.node.call("anvil_setNextBlockBaseFeePerGas", hex(60 * GWEI))
            stage.builder.build(with_pool=False)
            await desk.look()
        assert stage.events()[5:] == ["intent cancel", "sent"]
        stage.builder.build()
        await desk.look()
        assert stage.events()[7:] == ["receipt succeeded", "mined", "replaced ours", "replaced ours", "receipt dropped"]
        canceled, ended = [row.values for row in stage.rows if row.kind == "receipts"]
        assert (canceled["client_order_id"], canceled["reason"]) == (None, "cancel")
        assert (ended["client_order_id"], ended["reason"]) == ("0badcafe-1-1", "replaced")
        assert stage.held() == before | {"nonce": before["nonce"] + 1}

    runs(story)


def test_a_cancel_that_is_refused_is_tried_again(stage: Stage) -> None:
    """The same bid a second time is another transaction, which a node can still take."""

    async def story() -> None:
        desk = stage.desk()
        await desk.open()
        before = stage.held()
        cycle, _ = stage.planned(blocks=9)
        await desk.trade(stage.trade(cycle))
        stage.builder.refused["eth_sendRawTransaction"] = "insufficient funds for gas"
        for _ in range(2):
            await desk.cancel_open()
        stage.builder.refused.clear()
        await desk.cancel_open()
        assert stage.events()[3:] == [*["intent cancel", "not_sent no_gas_money"] * 2, "intent cancel", "sent"]
        stage.builder.build()
        await desk.look()
        assert stage.held() == before | {"nonce": before["nonce"] + 1}

    runs(story)


def test_a_reorganisation_takes_a_receipt_back(stage: Stage) -> None:
    """The block is gone, and with it the profit; no node has the transaction any more, so that another bid of it is sent, and included."""

    async def story() -> None:
        desk = stage.desk()
        await desk.open()
        before = stage.held()
        cycle, best = stage.planned(blocks=30)
        await desk.trade(stage.trade(cycle))
        stage.builder.build()
        await desk.look()
        assert stage.held()["WETH"] == before["WETH"] + best.profit
        stage.node.call("anvil_reorg", 1, [])
        await desk.look()
        assert stage.events()[3:] == ["receipt succeeded", "mined", "reorged"]
        assert stage.held() == before
        for _ in range(3):
            stage.builder.build()
            await desk.look()
        assert stage.events()[6:] == ["intent replacement", "sent", "receipt succeeded", "mined", "replaced ours"]
        receipt = stage.last("receipts")
        assert (receipt["nonce"], receipt["profit"]) == (before["nonce"], str(best.profit))
        assert stage.held()["WETH"] == before["WETH"] + best.profit

    runs(story)


def test_a_count_that_runs_ahead_of_receipts(stage: Stage) -> None:
    """Once is no proof that another has the nonce; twice is, until the receipt comes after all."""

    async def story() -> None:
        for looks, told in ((1, []), (2, ["replaced foreign", "receipt dropped"])):
            desk = stage.desk(finality_blocks=1)
            await desk.open()
            mark = len(stage.events())
            cycle, _ = stage.planned()
            await desk.trade(stage.trade(cycle, order=looks))
            stage.builder.build()
            stage.builder.hidden.add("eth_getTransactionReceipt")
            for _ in range(looks):
                await desk.look()
            assert stage.events()[mark + 2 :] == told
            stage.builder.hidden.clear()
            await desk.look()
            assert stage.events()[mark + 2 :] == [*told, "receipt succeeded", *(["reorged"] if told else []), "mined"]
            stage.builder.build(first=[stage.swap_request(("WETH", "DAI"), 5 * UNIT)])
            await desk.look()

    runs(story)


def test_an_answer_that_does_not_come(stage: Stage) -> None:
    """The transaction is one of unknown fate, never sent twice; the chain tells."""

    async def story() -> None:
        desk = stage.desk()
        await desk.open()
        cycle, _ = stage.planned()
        stage.builder.silent.add("eth_sendRawTransaction")
        await desk.trade(stage.trade(cycle))
        assert stage.events()[1:] == ["intent trade", "unknown late"]
        await desk.look()
        assert stage.events()[3:] == ["sent"]
        stage.builder.build()
        await desk.look()
        assert stage.events()[4:] == ["receipt succeeded", "mined"]

    runs(story)


@pytest.mark.parametrize("fate", ["mined", "waits", "never left"])
def test_a_process_that_died(stage: Stage, fate: str) -> None:
    """Another start knows from the rows what the one before sent, asks the chain, and sends nothing before its fate is known."""

    async def story() -> None:
        desk = stage.desk()
        await desk.open()
        cycle, best = stage.planned(blocks=9)
        await desk.trade(stage.trade(cycle))
        if fate == "mined":
            stage.builder.build()
        if fate == "never left":
            stage.builder.pool.clear()
        mark = len(stage.events())
        desk = stage.desk(start=2)
        assert desk.objections
        await desk.open()
        if fate == "mined":
            assert stage.events()[mark:] == ["receipt succeeded", "mined"]
            assert stage.last("receipts")["profit"] == str(best.profit)
        if fate == "waits":
            assert "earlier starts" in desk.objections[0]
            assert await desk.trade(stage.trade(cycle)) is None
            await desk.cancel_open()
            stage.builder.build()
            await desk.look()
            assert stage.events()[mark:] == [
                "refused objection",
                "intent cancel",
                "sent",
                "receipt succeeded",
                "mined",
                "replaced ours",
                "receipt dropped",
            ]
        if fate == "never left":
            for _ in range(2):
                stage.builder.build()
                await desk.look()
            assert stage.events()[mark:] == ["dropped unseen"], "whoever has it may bring it in before its deadline"
        assert desk.objections == []

    runs(story)


def test_somebody_else_uses_the_address(stage: Stage) -> None:
    """What was spent by others is adopted; what waits of theirs stops sending until it is gone."""

    async def story() -> None:
        desk = stage.desk()
        await desk.open()
        other = {"from": stage.wallet.address, "to": stage.world.owner, "value": "0x1"}
        stage.node.call("anvil_impersonateAccount", stage.wallet.address)
        stage.node.call("eth_sendTransaction", other)
        await desk.look()
        assert "does not know" in desk.objections[0]
        cycle, _ = stage.planned()
        assert await desk.trade(stage.trade(cycle)) is None
        stage.builder.build()
        await desk.look()
        assert stage.events()[1:] == ["refused objection", "adopted foreign"]
        assert desk.objections == []
        assert desk.nonces.to_take() == stage.held()["nonce"]
        assert desk.rival is not None
        assert f"nonces 1 to 1 of {stage.wallet.address.lower()} spent by transactions that this log does not know" in desk.rival
        assert stage.last("health")["metric"] == "chain_rival"
        stage.node.call("eth_sendTransaction", other)
        stage.builder.build()
        after = stage.desk(start=2)
        await after.open()
        assert after.rival is None, "before a start it may have been the owner"

    runs(story)


def test_another_chain_and_another_contract_are_refused(stage: Stage) -> None:
    """Before anything is signed."""

    async def story() -> None:
        with pytest.raises(Refused, match="of chain 31337, not 1"):
            await stage.desk(chain_id=1).open()
        executor, stage.executor = stage.executor, stage.world.vault.lower()
        with pytest.raises(Refused, match="not the executor that was tested"):
            await stage.desk().open()
        stage.executor = executor
        stage.wallet = stage.friend
        with pytest.raises(Refused, match="not 0x"):
            await stage.desk().open()
        assert stage.rows == []

    runs(story)


def test_a_kill(stage: Stage) -> None:
    """What is public is canceled by its nonce, and a relay is asked no more; nothing is sent behind it."""

    async def story() -> None:
        async with stage.relaying():
            desk = stage.desk()
            await desk.open()
            before = stage.held()
            cycle, _ = stage.planned(blocks=9)
            await desk.trade(stage.trade(cycle))
            await desk.trade(stage.trade(cycle, order=2, channel="relay"))
            desk.stop()
            await desk.cancel_open()
            assert await desk.trade(stage.trade(cycle, order=3)) is None
            stage.builder.bundles.clear()
            stage.builder.build()
            await desk.look()
            assert stage.events()[-3:] == ["mined", "replaced ours", "receipt dropped"]
            assert stage.held() == before | {"nonce": before["nonce"] + 1}
            assert "refused stopped" in stage.events()

    runs(story)


def test_our_base_fee_is_the_chains(stage: Stage) -> None:
    """Of the next block, block after block, full and empty."""
    for request in (None, stage.close_the_edge(), None, None, stage.swap_request(("WETH", "DAI"), UNIT)):
        header = header_of(stage.node.call("eth_getBlockByNumber", "latest", False))  # without transactions
        stage.builder.build(first=[] if request is None else [request])
        after = header_of(stage.node.call("eth_getBlockByNumber", "latest", False))  # without transactions
        head = Head(header.number, header.timestamp_s, next_base_fee(header.base_fee_wei or 0, header.gas_used, header.gas_limit))
        assert after.base_fee_wei == head.next_base_fee_wei
