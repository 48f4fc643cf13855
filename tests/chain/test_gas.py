"""The gas that financing reckons with: never less than a cycle takes on the chain, and not much more."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final

from tests.chain.conftest import Chain
from tests.chain.contracts import deploy
from tests.chain.node import Node, RpcError
from tests.chain.states import concentrated
from tests.chain.test_executor import Desk, funded, swapped_v2, swapped_v3, v2_hop, v3_hop
from tests.chain.world import FOREVER, UNIT
from xarb.pools.cycle import Hop as PoolHop
from xarb.pools.financing import MEASURED, Way
from xarb.venues.dex.executor import NOBODY, Cycle, Funding, Hop, execute_data

WAYS: Final[dict[Funding, Way]] = {
    Funding.WALLET: "wallet",
    Funding.CALLBACK: "callback",
    Funding.BALANCER: "balancer",
    Funding.AAVE: "aave",
    Funding.FLASH: "flash",
}


def sent(desk: Desk, data: bytes) -> dict[str, Any]:
    """A transaction to the executor, alone in the next block. Once the chain was taken back the node may mine what was taken back as well: then again."""
    node, owner = desk.chain.node, desk.chain.world.owner
    request = {"from": owner, "to": desk.executor, "data": "0x" + data.hex(), "gas": hex(2_000_000)}
    for _ in range(50):
        mark, head = node.call("evm_snapshot"), int(node.call("eth_blockNumber"), 16)
        node.call("anvil_dropAllTransactions")
        try:
            name = node.call("eth_sendTransaction", request | {"nonce": node.call("eth_getTransactionCount", owner, "latest")})
        except RpcError:  # one that was taken back has its nonce
            continue
        for _ in range(20):
            receipt = node.call("eth_getTransactionReceipt", name)
            if receipt is not None or int(node.call("eth_blockNumber"), 16) > head:
                break
            time.sleep(0.005)
        if receipt is not None and int(receipt["blockNumber"], 16) == head + 1 and int(receipt["transactionIndex"], 16) == 0:
            return dict(receipt)
        node.call("evm_revert", mark)
    raise AssertionError("no block has it alone")


def mined(desk: Desk, cycle: Cycle) -> dict[str, Any]:
    """The receipt of a cycle, and the chain as it was before."""
    node = desk.chain.node
    mark = node.call("evm_snapshot")
    receipt = sent(desk, execute_data(cycle))
    _back(node, mark)
    return receipt


def _back(node: Node, mark: object) -> None:
    """The chain as it was at a mark. Transactions that are taken back wait again, and would be mined among the next ones."""
    node.call("evm_revert", mark)
    node.call("anvil_dropAllTransactions")


def crossed(desk: Desk, cycle: Cycle) -> int:
    """Initialised ticks that a cycle crosses."""
    node = desk.chain.node
    pools = [hop.pool for hop in cycle.hops if hop.is_v3]
    before = [concentrated(node, pool) for pool in pools]
    mark = node.call("evm_snapshot")
    sent(desk, execute_data(cycle))
    after = [concentrated(node, pool).tick for pool in pools]
    _back(node, mark)
    spans = [(min(one.tick, tick), max(one.tick, tick), one.net) for one, tick in zip(before, after, strict=True)]
    return sum(low < tick <= high for low, high, ticks in spans for tick in ticks)


def test_gas_is_what_was_measured(chain: Chain, code: str) -> None:
    """Two and four hops over v2 and v3 in any order, within a range and over ticks, mined and reverted at the end."""
    desk = Desk(chain, deploy(chain.node, chain.world.owner, code))
    for path, amount in ((("WETH", "DAI"), UNIT), (("DAI", "WETH"), 3_000 * UNIT)):
        swapped_v2(chain, path, amount)
        swapped_v3(chain, path, 3000, amount)
    swapped_v3(chain, ("WETH", "DAI"), 3000, 10 * UNIT)
    swapped_v3(chain, ("WETH", "USDC"), 500, 60 * UNIT)
    swapped_v2(chain, ("DAI", "WETH"), 90_000 * UNIT)
    funded(desk, "WETH", 10**21)
    sold = v2_hop(desk, "WETH", "uniswap WETH/DAI")
    dollars = [v2_hop(desk, "WETH", "sushi WETH/USDC"), v3_hop(desk, "USDC", "WETH/USDC 500")]
    ways: list[list[tuple[Hop, PoolHop]]] = [
        [sold, v2_hop(desk, "DAI", "sushi WETH/DAI")],
        [sold, v3_hop(desk, "DAI")],
        [sold, v3_hop(desk, "DAI"), *dollars],
        [*dollars, sold, v2_hop(desk, "DAI", "sushi WETH/DAI")],
    ]
    world, shares = chain.world, []
    lenders = {Funding.BALANCER: world.vault, Funding.AAVE: world.lender, Funding.FLASH: world.v3_pools["WETH/USDC 500"]}
    for hops in ways:
        for funding, way in WAYS.items():
            if funding == Funding.FLASH and len(hops) > 2:  # the lender is in the cycle
                continue
            for amount in (UNIT // 10, 20 * UNIT):
                cycle = Cycle([hop for hop, _ in hops], amount, funding, lenders.get(funding, NOBODY), 0, FOREVER)
                shares.append(_share(desk, cycle, way))
    found: Sequence[float] = [share for share in shares if share is not None]
    assert len(found) > 20
    assert max(found) <= 1
    assert max(found) > 0.97
    assert min(found) > 0.75


def _share(desk: Desk, cycle: Cycle, way: Way) -> float | None:
    """Its gas as a share of what is reckoned with; None where it does not earn. One that reverts is within what is reckoned for that."""
    receipt = mined(desk, cycle)
    if receipt["status"] != "0x1":
        return None
    use, hops = MEASURED[way], len(cycle.hops)
    gas = int(receipt["gasUsed"], 16)
    reverted = int(mined(desk, cycle._replace(min_profit=1 << 100))["gasUsed"], 16)
    assert gas < reverted <= gas + use.more_of_revert(hops)
    return gas / use.of(hops, crossed(desk, cycle))
