"""The world itself: built alike each time, and loaded as it was kept."""

from __future__ import annotations

from pathlib import Path

import msgspec

from tests.chain.conftest import Chain
from tests.chain.contracts import read
from tests.chain.node import running
from tests.chain.states import concentrated
from tests.chain.traders import Traders
from tests.chain.world import World, build


def test_two_builds_end_at_the_same_block(world_folder: Path, tmp_path: Path) -> None:
    """Times are fixed, and so is the fork of the rules: every hash is the same."""
    kept = msgspec.json.decode((world_folder / "world.json").read_bytes(), type=World)
    with running(tmp_path) as node:
        assert build(node) == kept
        for _ in range(2):
            traders = Traders(node, kept, seed=5)
            for _ in range(20):
                traders.act()
        one = node.call("eth_getBlockByNumber", "latest", False)["hash"]
    with running(tmp_path) as node:
        build(node)
        for _ in range(2):
            traders = Traders(node, kept, seed=5)
            for _ in range(20):
                traders.act()
        assert node.call("eth_getBlockByNumber", "latest", False)["hash"] == one


def test_a_loaded_chain_is_the_one_that_was_kept(chain: Chain) -> None:
    """Block, balances and pools; and each test's chain is its own."""
    node, world = chain
    assert int(node.call("eth_blockNumber"), 16) == world.block
    (premium,) = read(node, world.lender, "FLASHLOAN_PREMIUM_TOTAL()", returns=["uint128"])
    assert premium == 5
    for pair in world.v2_pairs.values():
        reserves = read(node, pair, "getReserves()", returns=["uint112", "uint112", "uint32"])
        assert min(reserves) > 0
    for pool in world.v3_pools.values():
        state = concentrated(node, pool)
        assert state.liquidity == sum(net for tick, net in state.net.items() if tick <= state.tick) > 0
        assert len(state.net) >= 11
