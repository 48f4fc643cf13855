"""Swaps of own tokens into another token on the node: what comes, what they cost, and that they are nothing or all."""

from __future__ import annotations

from typing import Any, Final

import pytest

from tests.chain.conftest import Chain
from tests.chain.contracts import call_data
from tests.chain.node import RpcError
from tests.chain.stage import GAS, Stage, runs
from tests.chain.test_executor import Desk, desk, funded, v2_hop, v3_hop
from tests.chain.world import FOREVER, UNIT
from xarb.model.command import CancelCycle, SwapHop, SwapPath
from xarb.pools.cycle import Hop as PoolHop
from xarb.pools.cycle import amounts_of
from xarb.pools.financing import PATH
from xarb.venues.dex.executor import NOBODY, Hop, Path, path_data, swapped
from xarb.venues.dex.venue import ChainVenue

__all__ = ["desk"]  # a fixture

CEILINGS: Final = {"v3": 110_000, "v2": 110_000, "v3 v2": 195_000, "v3 v2 v2 v3": 330_000}
AMOUNT: Final = 900 * UNIT


@pytest.fixture
def stage(chain: Chain, code: str) -> Stage:
    """Everything."""
    return Stage(chain, code)


def ways(desk: Desk) -> dict[str, tuple[list[tuple[Hop, PoolHop]], str]]:
    """One to four pools of either kind that take DAI, and where they end."""
    dollars = v2_hop(desk, "WETH", "sushi WETH/USDC")
    long = [
        v3_hop(desk, "DAI"),
        v2_hop(desk, "WETH"),
        v2_hop(desk, "DAI", "sushi WETH/DAI"),
        v3_hop(desk, "WETH", "WETH/USDC 500"),
    ]
    return {
        "v3": ([v3_hop(desk, "DAI")], "WETH"),
        "v2": ([v2_hop(desk, "DAI")], "WETH"),
        "v3 v2": ([v3_hop(desk, "DAI"), dollars], "USDC"),
        "v3 v2 v2 v3": (long, "USDC"),
    }


def planned(desk: Desk, name: str) -> tuple[Path, str]:
    """That path with all that comes as the least, and its end."""
    hops, end = ways(desk)[name]
    wanted = amounts_of([ours for _, ours in hops], AMOUNT)[-1]
    return Path([hop for hop, _ in hops], AMOUNT, desk.chain.world.tokens[end].lower(), wanted, FOREVER), end


def would_bring(desk: Desk, path: Path, sender: str | None = None) -> int:
    """What a call on the latest block returns."""
    request = {"from": sender or desk.chain.world.owner, "to": desk.executor, "data": "0x" + path_data(path).hex()}
    return int(desk.chain.node.call("eth_call", request, "latest"), 16)


@pytest.mark.parametrize("name", CEILINGS)
def test_what_comes_is_what_was_computed(desk: Desk, name: str) -> None:
    """To the last unit, by the call before it, the event and the balances, and gas stays under its ceiling."""
    funded(desk, "DAI", 5_000 * UNIT)
    funded(desk, "WETH", UNIT)
    funded(desk, "USDC", 10**6)
    path, end = planned(desk, name)
    before = desk.balances()
    assert would_bring(desk, path) == path.min_out
    receipt = desk.send(path_data(path))
    assert receipt["status"] == "0x1"
    mine = [log for log in receipt["logs"] if log["address"].lower() == desk.executor.lower()]
    (event,) = [swapped(log["topics"], log["data"]) for log in mine]
    assert event == (desk.chain.world.tokens["DAI"].lower(), AMOUNT, path.token_out, path.min_out)
    assert desk.balances() == before | {"DAI": before["DAI"] - AMOUNT, end: before[end] + path.min_out}
    gas = int(receipt["gasUsed"], 16)
    assert CEILINGS[name] * 3 // 4 < gas <= CEILINGS[name]


@pytest.mark.parametrize("name", CEILINGS)
def test_what_a_backtest_reckons_with_is_the_most(desk: Desk, name: str) -> None:
    """The first units of a token that the executor has none of take more gas, and that is in it."""
    funded(desk, "DAI", 5_000 * UNIT)
    path, _ = planned(desk, name)
    used = int(desk.send(path_data(path))["gasUsed"], 16)
    assert PATH.of(len(path.hops), 0) * 7 // 10 < used <= PATH.of(len(path.hops), 0)


def test_it_is_nothing_or_all(desk: Desk) -> None:
    """A unit more than comes, another token than the last pool gives, more than the executor has, too late, a stranger: no change but gas."""
    funded(desk, "DAI", 5_000 * UNIT)
    tokens, stranger = desk.chain.world.tokens, desk.chain.node.accounts()[1]
    before = desk.balances()
    now = int(desk.chain.node.call("eth_getBlockByNumber", "latest", False)["timestamp"], 16)
    for name in ("v2", "v3 v2 v2 v3"):
        path, _ = planned(desk, name)
        for wrong, sender, why in (
            (path._replace(min_out=path.min_out + 1), None, "OUTPUT"),
            (path._replace(token_out=tokens["WBTC"].lower()), None, "OUTPUT"),
            (path._replace(amount=5_001 * UNIT, min_out=1), None, "revert"),
            (path._replace(deadline=now), None, "LATE"),
            (path, stranger, "OWNER"),
        ):
            receipt = desk.send(path_data(wrong), sender)
            assert (receipt["status"], receipt["logs"]) == ("0x0", []), why
            assert desk.balances() == before
            with pytest.raises(RpcError, match=why):
                would_bring(desk, wrong, sender)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"hops": []}, "0 hops"),
        ({"hops": [Hop(NOBODY, NOBODY, True, True, 0)] * 5}, "5 hops"),
        ({"amount": 0}, "amount 0"),
        ({"min_out": 0}, "least output 0"),
        ({"token_out": "0x" + "0A" * 20}, "a path from"),
        ({"token_out": NOBODY}, "a path from"),
    ],
)
def test_what_the_contract_is_never_told(change: dict[str, Any], why: str) -> None:
    """Refused before it leaves."""
    path = Path([Hop("0x" + "01" * 20, "0x" + "0a" * 20, True, True, 0)], 1, "0x" + "0b" * 20, 1, 1)
    assert len(path_data(path)) == 4 + 12 * 32
    with pytest.raises(ValueError, match=why):
        path_data(path._replace(**change))


def command(stage: Stage, order: int, least: int, **given: Any) -> tuple[SwapPath, int]:
    """The engine's wish to sell a DAI for WETH in the v3 pool, and what comes: `least` of 100 parts of it are insisted on."""
    hop, ours = stage.hop("WETH/DAI 3000", "DAI", is_v3=True)
    comes = amounts_of([ours], UNIT)[-1]
    now = int(stage.node.call("eth_getBlockByNumber", "latest", False)["timestamp"], 16)
    usual: dict[str, Any] = {
        "ts": 1,
        "order": order,
        "client_order_id": f"0badcafe-1-{order}",
        "account": "hot",
        "strategy": "dex",
        "venue": "local",
        "bundle": order,
        "hops": (SwapHop(pool=hop.pool, token_in=hop.token_in, is_v3=True, zero_for_one=hop.zero_for_one, fee_pips=0),),
        "amount": UNIT,
        "token_out": stage.world.tokens["WETH"].lower(),
        "min_out": comes * least // 100,
        "deadline_s": now + 240,
        "channel": "public",
        "gas_limit": GAS,
    }
    return SwapPath(**(usual | given)), comes


def given_up(order: int) -> CancelCycle:
    """The engine's wish to give an order up."""
    return CancelCycle(ts=2, order=order, client_order_id=f"0badcafe-1-{order}", account="hot", strategy="dex", venue="local")


async def supplied(stage: Stage) -> ChainVenue:
    """A venue that listens, whose executor has three DAI."""
    data = call_data("transfer(address,uint256)", stage.executor, 3 * UNIT)
    stage.node.call("eth_sendTransaction", {"from": stage.world.owner, "to": stage.world.tokens["DAI"], "data": data})
    stage.node.call("evm_mine")
    venue = ChainVenue(stage.desk())
    await venue.open()
    venue.listen()
    return venue


def test_a_path_is_an_order_like_a_cycle(stage: Stage) -> None:
    """Its receipt says what went in and came out; one that would bring less is refused; a token off the list is never signed."""

    async def story() -> None:
        venue = await supplied(stage)
        before = stage.held()
        wish, comes = command(stage, 1, 99)
        venue.send([wish, command(stage, 2, 101)[0]])
        await stage.until("refused simulation")
        stage.builder.build()
        await venue.reconcile()
        receipt = stage.last("receipts")
        assert (receipt["status"], receipt["profit"], receipt["bundle"]) == ("succeeded", None, 1)
        found = {name: receipt[name] for name in ("token_in", "amount_in", "token_out", "amount_out")}
        tokens = {name: address.lower() for name, address in stage.world.tokens.items()}
        assert found == {
            "token_in": tokens["DAI"],
            "amount_in": str(UNIT),
            "token_out": tokens["WETH"],
            "amount_out": str(comes),
        }
        held = stage.held()
        assert (held["DAI"], held["WETH"]) == (before["DAI"] - UNIT, before["WETH"] + comes)
        await venue.close()

    runs(story)


def test_an_order_is_given_up_alone(stage: Stage) -> None:
    """Of two that wait one is bid for with a transfer to oneself; what has not left yet does not leave; one that is not known changes nothing."""

    async def story() -> None:
        venue = await supplied(stage)
        before = stage.held()
        orders = [command(stage, order, 90)[0] for order in (1, 2)]
        venue.send(orders)
        while stage.events().count("sent") < 2:
            stage.came.clear()
            await stage.came.wait()
        venue.send([given_up(2), given_up(7), command(stage, 3, 90)[0], given_up(3)])
        await stage.until("refused canceled")
        stage.builder.build()
        await venue.reconcile()
        assert stage.held()["DAI"] == before["DAI"] - UNIT
        assert stage.held()["nonce"] == before["nonce"] + 2
        ends = [(row.values["bundle"], row.values["status"]) for row in stage.rows if row.kind == "receipts"]
        assert ends == [(1, "succeeded"), (None, "succeeded"), (2, "dropped")]
        await venue.close()

    runs(story)
