"""The executor on the node: every funding, what it earns and costs, and that it is nothing or all."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.chain.conftest import Chain
from tests.chain.contracts import call_data, deploy, read
from tests.chain.node import RpcError
from tests.chain.states import concentrated, constant_product
from tests.chain.world import FOREVER, UNIT
from xarb.errors import ConfigError, InvariantBroken
from xarb.pools.cycle import Best, best_input
from xarb.pools.cycle import Hop as PoolHop
from xarb.pools.ticks import sqrt_price_at
from xarb.venues.dex import executor
from xarb.venues.dex.executor import NOBODY, Cycle, Funding, Hop, creation_code, earned, execute_data, withdraw_data

CEILINGS = {
    Funding.WALLET: 165_000,
    Funding.CALLBACK: 165_000,
    Funding.BALANCER: 205_000,
    Funding.FLASH: 215_000,
    Funding.AAVE: 300_000,
}


class Desk(NamedTuple):
    """The executor on a chain with an edge between a v3 and a v2 pool of WETH and DAI."""

    chain: Chain
    executor: str

    def balances(self) -> dict[str, int]:
        """What the executor holds."""
        tokens = self.chain.world.tokens.items()
        return {
            name: read(self.chain.node, token, "balanceOf(address)", self.executor, returns=["uint256"])[0]
            for name, token in tokens
        }

    def send(self, data: bytes, sender: str | None = None) -> dict[str, Any]:
        """A transaction to the executor, mined whatever becomes of it."""
        request = {"from": sender or self.chain.world.owner, "to": self.executor, "data": "0x" + data.hex(), "gas": hex(2_000_000)}
        return dict(self.chain.node.call("eth_sendTransactionSync", request))

    def would_earn(self, cycle: Cycle, sender: str | None = None) -> int:
        """What a call on the latest block returns.

        Raises:
            RpcError: it would revert.
        """
        request = {"from": sender or self.chain.world.owner, "to": self.executor, "data": "0x" + execute_data(cycle).hex()}
        return int(self.chain.node.call("eth_call", request, "latest"), 16)


def swapped_v3(chain: Chain, path: tuple[str, str], fee: int, amount: int) -> None:
    """Somebody swaps in a v3 pool."""
    signature = "exactInputSingle((address,address,uint24,address,uint256,uint256,uint256,uint160))"
    tokens = tuple(chain.world.tokens[symbol] for symbol in path)
    data = call_data(signature, (*tokens, fee, chain.world.owner, FOREVER, amount, 0, 0))
    chain.node.transact(chain.world.owner, chain.world.v3_router, data)


def swapped_v2(chain: Chain, path: tuple[str, str], amount: int) -> None:
    """Somebody swaps in a v2 pool."""
    tokens = [chain.world.tokens[symbol] for symbol in path]
    signature = "swapExactTokensForTokens(uint256,uint256,address[],address,uint256)"
    data = call_data(signature, amount, 0, tokens, chain.world.owner, FOREVER)
    chain.node.transact(chain.world.owner, chain.world.v2_routers["uniswap"], data)


@pytest.fixture
def desk(chain: Chain, code: str) -> Desk:
    """Pools that were used before, as every real one was, and an edge: 10 WETH were sold into the v3 pool, so that it is cheaper there."""
    for path, amount in ((("WETH", "DAI"), UNIT), (("DAI", "WETH"), 3_000 * UNIT)):
        swapped_v2(chain, path, amount)
        swapped_v3(chain, path, 3000, amount)
    swapped_v3(chain, ("WETH", "USDC"), 500, UNIT)
    swapped_v3(chain, ("WETH", "DAI"), 3000, 10 * UNIT)
    return Desk(chain, deploy(chain.node, chain.world.owner, code))


def v3_hop(desk: Desk, token_in: str, label: str = "WETH/DAI 3000") -> tuple[Hop, PoolHop]:
    """A v3 pool, for the contract and for our maths."""
    return _hop(desk, desk.chain.world.v3_pools[label], label.split(" ", maxsplit=1)[0], token_in, is_v3=True)


def v2_hop(desk: Desk, token_in: str, label: str = "uniswap WETH/DAI") -> tuple[Hop, PoolHop]:
    """A v2 pool."""
    return _hop(desk, desk.chain.world.v2_pairs[label], label.split(" ")[1], token_in, is_v3=False)


def _hop(desk: Desk, pool: str, symbols: str, token_in: str, *, is_v3: bool) -> tuple[Hop, PoolHop]:
    tokens = desk.chain.world.tokens
    pair = sorted((tokens[symbol] for symbol in symbols.split("/")), key=str.lower)
    way = pair[0] == tokens[token_in]
    state = concentrated(desk.chain.node, pool) if is_v3 else constant_product(desk.chain.node, pool)
    return Hop(pool, tokens[token_in], is_v3, way, 0 if is_v3 else 3000), PoolHop(state, way)


def planned(hops: list[tuple[Hop, PoolHop]], funding: Funding, lender: str = NOBODY) -> tuple[Cycle, Best]:
    """The cycle with its best input."""
    best = best_input([ours for _, ours in hops])
    assert best is not None
    return Cycle([theirs for theirs, _ in hops], best.amounts[0], funding, lender, 0, FOREVER), best


def lender_of(desk: Desk, funding: Funding) -> tuple[str, Callable[[int], int]]:
    """Who lends DAI, and what it costs."""
    world = desk.chain.world
    return {
        Funding.WALLET: (NOBODY, lambda _: 0),
        Funding.CALLBACK: (NOBODY, lambda _: 0),
        Funding.BALANCER: (world.vault, lambda _: 0),
        Funding.AAVE: (world.lender, lambda amount: (amount * 5 + 5_000) // 10_000),
        Funding.FLASH: (world.v3_pools["WETH/USDC 500"], lambda amount: -(-amount * 500 // 10**6)),
    }[funding]


def funded(desk: Desk, symbol: str, amount: int) -> None:
    """Tokens for the executor's own wallet."""
    node, world = desk.chain
    node.transact(world.owner, world.tokens[symbol], call_data("transfer(address,uint256)", desk.executor, amount))


def cycle_of(desk: Desk, *, v3_first: bool) -> list[tuple[Hop, PoolHop]]:
    """The edge of the fixture: WETH bought in the v3 pool and sold in the v2 pool, begun with DAI or with WETH."""
    bought, sold = v3_hop(desk, "DAI"), v2_hop(desk, "WETH")
    return [bought, sold] if v3_first else [sold, bought]


# A lender of DAI by v3 flash would be the very pool that is swapped in.
WAYS = [(funding, first) for funding in Funding for first in (True, False) if (funding, first) != (Funding.FLASH, True)]


@pytest.mark.parametrize(("funding", "v3_first"), WAYS, ids=[f"{f.name.lower()} {'v3' if v else 'v2'} first" for f, v in WAYS])
def test_every_funding_earns_what_was_computed(desk: Desk, funding: Funding, v3_first: bool) -> None:
    """To the last unit, by the event, by the balance and by the call before it."""
    symbol = "DAI" if v3_first else "WETH"
    if funding == Funding.WALLET:
        funded(desk, symbol, 10**21 if symbol == "WETH" else 10**22)
    lender, cost = lender_of(desk, funding)
    cycle, best = planned(cycle_of(desk, v3_first=v3_first), funding, lender)
    profit = best.profit - cost(best.amounts[0])
    assert profit > 0
    before = desk.balances()
    cycle = cycle._replace(min_profit=profit)
    assert desk.would_earn(cycle) == profit
    receipt = desk.send(execute_data(cycle))
    assert receipt["status"] == "0x1"
    mine = [log for log in receipt["logs"] if log["address"].lower() == desk.executor.lower()]
    (event,) = [earned(log["topics"], log["data"]) for log in mine]
    assert event == (desk.chain.world.tokens[symbol].lower(), best.amounts[0], profit)
    assert desk.balances() == before | {symbol: before[symbol] + profit}


@pytest.mark.parametrize(("funding", "v3_first"), WAYS, ids=[f"{f.name.lower()} {'v3' if v else 'v2'} first" for f, v in WAYS])
def test_gas_stays_under_its_ceiling(desk: Desk, funding: Funding, v3_first: bool) -> None:
    """Two hops within one range of used pools, by an executor that holds some of the token."""
    symbol = "DAI" if v3_first else "WETH"
    funded(desk, symbol, 10**21 if symbol == "WETH" else 10**22)
    hops = cycle_of(desk, v3_first=v3_first)
    lender, _ = lender_of(desk, funding)
    cycle = Cycle([hop for hop, _ in hops], 900 * UNIT if v3_first else 3 * UNIT // 10, funding, lender, 0, FOREVER)
    receipt = desk.send(execute_data(cycle))
    assert receipt["status"] == "0x1"
    assert int(receipt["gasUsed"], 16) <= CEILINGS[funding]


@pytest.mark.parametrize(("funding", "used", "unused"), [(Funding.WALLET, 140_869, 175_069), (Funding.CALLBACK, 148_821, 183_021)])
def test_gas_of_two_pools_of_v2(desk: Desk, funding: Funding, used: int, unused: int) -> None:
    """Under its ceiling, but where one of them writes its first cumulative prices: two words that were zero, 17,100 more each."""
    swapped_v2(desk.chain, ("DAI", "WETH"), 90_000 * UNIT)
    funded(desk, "WETH", 10**21)
    hops = [v2_hop(desk, "WETH")[0], v2_hop(desk, "DAI", "sushi WETH/DAI")[0]]
    found = []
    for _ in range(2):
        receipt = desk.send(execute_data(Cycle(hops, UNIT // 10, funding, NOBODY, 0, FOREVER)))
        assert receipt["status"] == "0x1"
        found.append(int(receipt["gasUsed"], 16))
    assert found[0] - found[1] == 2 * 17_100
    assert found[1] <= CEILINGS[funding]
    assert abs(found[0] - unused) < 100
    assert abs(found[1] - used) < 100


@pytest.mark.parametrize("funding", list(Funding))
def test_it_is_nothing_or_all(desk: Desk, funding: Funding) -> None:
    """A unit more than it earns, the other way round, and too late: each is refused by name and mined without any change but gas."""
    funded(desk, "WETH", 10**21)
    lender, cost = lender_of(desk, funding)
    cycle, best = planned(cycle_of(desk, v3_first=False), funding, lender)
    profit = best.profit - cost(best.amounts[0])
    way_back = [v3_hop(desk, "WETH")[0], v2_hop(desk, "DAI")[0]]
    before = desk.balances()
    now = int(desk.chain.node.call("eth_getBlockByNumber", "latest", False)["timestamp"], 16)
    for wrong, why in (
        (cycle._replace(min_profit=profit + 1), "UNPROFITABLE"),
        (cycle._replace(hops=way_back), "revert"),
        (cycle._replace(deadline=now), "LATE"),
    ):
        receipt = desk.send(execute_data(wrong))
        assert (receipt["status"], receipt["logs"]) == ("0x0", [])
        assert desk.balances() == before
        with pytest.raises(RpcError, match=why):
            desk.would_earn(wrong)
    later = int(desk.chain.node.call("eth_getBlockByNumber", "latest", False)["timestamp"], 16)
    assert desk.would_earn(cycle._replace(min_profit=profit, deadline=later + 1)) == profit


def test_nobody_else_is_served(desk: Desk) -> None:
    """Not a stranger who begins a cycle or withdraws, and nobody who calls back unasked."""
    node, world = desk.chain
    stranger = node.accounts()[1]
    funded(desk, "DAI", 5_000 * UNIT)
    cycle, _ = planned(cycle_of(desk, v3_first=True), Funding.CALLBACK)
    before = desk.balances()
    with pytest.raises(RpcError, match="OWNER"):
        desk.would_earn(cycle, stranger)
    assert desk.send(execute_data(cycle), stranger)["status"] == "0x0"
    assert desk.send(withdraw_data(world.tokens["DAI"], 1), stranger)["status"] == "0x0"
    data = execute_data(cycle)[4 : 4 + 288]
    for signature, values in (
        ("uniswapV3SwapCallback(int256,int256,bytes)", (10**18, -1, b"")),
        ("pancakeV3SwapCallback(int256,int256,bytes)", (10**18, -1, data)),
        ("uniswapV3FlashCallback(uint256,uint256,bytes)", (1, 1, data)),
        ("pancakeV3FlashCallback(uint256,uint256,bytes)", (1, 1, data)),
        ("uniswapV2Call(address,uint256,uint256,bytes)", (desk.executor, 1, 1, data)),
        ("pancakeCall(address,uint256,uint256,bytes)", (desk.executor, 1, 1, data)),
        ("receiveFlashLoan(address[],uint256[],uint256[],bytes)", ([world.tokens["DAI"]], [1], [1], data)),
        ("executeOperation(address,uint256,uint256,address,bytes)", (world.tokens["DAI"], 1, 1, desk.executor, data)),
    ):
        for sender in (stranger, world.owner):
            request = {"from": sender, "to": desk.executor, "data": call_data(signature, *values)}
            with pytest.raises(RpcError, match="CALLER"):
                node.call("eth_call", request, "latest")
    assert desk.balances() == before
    assert desk.send(withdraw_data(world.tokens["DAI"], 2_000 * UNIT))["status"] == "0x1"
    assert desk.balances() == before | {"DAI": 3_000 * UNIT}


@pytest.mark.parametrize("funding", [Funding.WALLET, Funding.CALLBACK, Funding.BALANCER])
def test_three_and_four_hops(desk: Desk, funding: Funding) -> None:
    """Through v2 and v3 in turn, each earning what was computed; a pool of v2 directly behind one of v2 is paid by it."""
    funded(desk, "WETH", 10**21)
    swapped_v3(desk.chain, ("WETH", "USDC"), 500, 60 * UNIT)
    swapped_v2(desk.chain, ("DAI", "WETH"), 90_000 * UNIT)
    lender, _ = lender_of(desk, funding)
    sold = v2_hop(desk, "WETH", "uniswap WETH/DAI")
    chains = [
        [sold, v2_hop(desk, "DAI", "sushi WETH/DAI")],
        [sold, v3_hop(desk, "DAI"), v2_hop(desk, "WETH", "sushi WETH/USDC"), v3_hop(desk, "USDC", "WETH/USDC 500")],
        [
            v2_hop(desk, "WETH", "sushi WETH/USDC"),
            v3_hop(desk, "USDC", "WETH/USDC 500"),
            sold,
            v2_hop(desk, "DAI", "sushi WETH/DAI"),
        ],
    ]
    for hops in chains:
        cycle, best = planned(hops, funding, lender)
        assert desk.would_earn(cycle) == best.profit


def test_where_a_pool_takes_less_than_is_offered(desk: Desk) -> None:
    """Liquidity ends within a hop: refused, since what is left over would be lost to the hops behind it."""
    node, world = desk.chain
    pair = sorted((world.tokens["WETH"], world.tokens["DAI"]), key=str.lower)
    tick = concentrated(node, world.v3_pools["WETH/DAI 3000"]).tick // 10 * 10
    new = "createAndInitializePoolIfNecessary(address,address,uint24,uint160)"
    node.transact(world.owner, world.v3_manager, call_data(new, *pair, 500, sqrt_price_at(tick)))
    mint = "mint((address,address,uint24,int24,int24,uint256,uint256,uint256,uint256,address,uint256))"
    amounts = [10 * UNIT if token == world.tokens["WETH"] else 30_000 * UNIT for token in pair]
    values = (*pair, 500, tick - 10, tick + 10, *amounts, 0, 0, world.owner, FOREVER)
    node.transact(world.owner, world.v3_manager, call_data(mint, values))
    (thin,) = read(node, world.v3_factory, "getPool(address,address,uint24)", *pair, 500, returns=["address"])
    funded(desk, "WETH", 10**21)
    hop = Hop(thin, world.tokens["WETH"], True, pair[0] == world.tokens["WETH"], 0)
    offered = 900 * UNIT
    assert concentrated(node, thin).quote_in(offered, zero_for_one=hop.zero_for_one).amount_in < offered
    with pytest.raises(RpcError, match="LIQUIDITY"):
        desk.would_earn(Cycle([hop, v2_hop(desk, "DAI")[0]], offered, Funding.WALLET, NOBODY, 0, FOREVER))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"hops": []}, "0 hops"),
        ({"hops": [Hop(NOBODY, NOBODY, True, True, 0)] * 5}, "5 hops"),
        ({"amount": 0}, "amount 0"),
        ({"min_profit": -1}, "least profit -1"),
        ({"funding": Funding.AAVE}, "funding aave with lender"),
        ({"lender": "0x" + "11" * 20}, "funding wallet with lender"),
    ],
)
def test_what_the_contract_is_never_told(change: dict[str, Any], why: str) -> None:
    """Refused before it leaves."""
    cycle = Cycle([Hop(NOBODY, NOBODY, True, True, 0)] * 2, 1, Funding.WALLET, NOBODY, 0, 1)
    assert len(execute_data(cycle)) == 4 + 13 * 32
    with pytest.raises(ValueError, match=why):
        execute_data(cycle._replace(**change))


def test_only_the_code_that_was_tested_is_deployed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Another compiler, none, or another source."""
    source = tmp_path / "executor.vy"
    source.write_text(executor.SOURCE.read_text(encoding="utf-8").replace("LATE", "LATER"))
    with monkeypatch.context() as patch:
        patch.setattr(executor, "SOURCE", source)
        with pytest.raises(InvariantBroken, match="SHA-256"):
            creation_code()
    with monkeypatch.context() as patch:
        patch.setattr("vyper.__version__", "0.4.2")
        with pytest.raises(ConfigError, match="pinned to"):
            creation_code()
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "vyper", None)
        with pytest.raises(ConfigError, match="pip install"):
            creation_code()
