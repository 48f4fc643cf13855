"""The check of chains: nodes and pools as they are, and tokens that take a fee on transfer refused."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from tests.chain.__main__ import config
from tests.chain.conftest import Chain
from tests.chain.contracts import V2_ROUTER, bytecode, call_data, deploy, read
from tests.chain.following import source_of
from tests.chain.proxy import proxied
from tests.chain.test_feed import run
from tests.chain.test_nodes import answers
from tests.chain.world import FOREVER, UNIT
from tests.test_cli import xarb
from xarb.config import load_experiment
from xarb.venues.dex.feed import ChainSource
from xarb.venues.dex.reading import facts_of
from xarb.venues.dex.rpc import Rpc
from xarb.venues.dex.transfers import Verdict, verdicts_of
from xarb.verbs.check.chains import check_chains
from xarb.wires.node import header_of


async def verdicts(source: ChainSource) -> list[Verdict]:
    """Of the tokens of all pools, in order."""
    rpc = Rpc(source.rpc[0], lambda *_: None)
    await rpc.open()
    try:
        header = header_of(await rpc.call("eth_getBlockByNumber", "latest", False))
        pools = [one.pool for one in await facts_of(rpc, source.pools, source.factories, header)]
        return list((await verdicts_of(rpc, pools, header)).values())
    finally:
        await rpc.close()


def deflating(chain: Chain) -> str:
    """A pool of WETH and a token that burns a hundredth of each transfer: Uniswap's own test token."""
    node, world = chain
    token = deploy(node, world.owner, bytecode(f"{V2_ROUTER}DeflatingERC20.json"), ["uint256"], [1000 * UNIT])
    router, weth = world.v2_routers["uniswap"], world.tokens["WETH"]
    for each in (token, weth):
        node.transact(world.owner, each, call_data("approve(address,uint256)", router, 1 << 255))
    signature = "addLiquidity(address,address,uint256,uint256,uint256,uint256,address,uint256)"
    node.transact(world.owner, router, call_data(signature, token, weth, 100 * UNIT, UNIT, 0, 0, world.owner, FOREVER))
    (pool,) = read(node, world.v2_factories["uniswap"], "getPair(address,address)", token, weth, returns=["address"])
    return str(pool).lower()


def test_tokens_of_the_world_arrive_whole(chain: Chain) -> None:
    """From every pool, and back to it."""

    async def story() -> None:
        found = await verdicts(source_of(chain.world, str(chain.node.ipc)))
        assert found == [Verdict("what is sent arrives", is_exact=True)] * 18

    run(story())


def test_a_fee_on_transfer_is_found(chain: Chain) -> None:
    """By what arrives, whatever the token says of itself."""
    pool = deflating(chain)

    async def story() -> None:
        source = source_of(chain.world, str(chain.node.ipc))
        found = await verdicts(msgspec.structs.replace(source, pools=(pool,)))
        assert sorted(found) == [
            Verdict("of a transfer from the pool 10000 ppm do not arrive", is_exact=False),
            Verdict("what is sent arrives", is_exact=True),
        ]

    run(story())


def test_what_cannot_be_asked_is_said(chain: Chain) -> None:
    """A node that simulates nothing."""

    async def story() -> None:
        async with proxied(chain.node.port) as proxy:
            proxy.rewrite = lambda message, method: (
                [{"jsonrpc": "2.0", "id": message["id"], "error": {"code": -32601, "message": "no such method"}}]
                if method == "eth_simulateV1"
                else [message]
            )
            found = await verdicts(source_of(chain.world, proxy.url))
            assert {one.is_exact for one in found} == {None}
            assert all("the node does not simulate" in one.why for one in found)
            proxy.rewrite = answers("eth_simulateV1", lambda _: [])
            with pytest.raises(ValueError, match="a simulation is"):
                await verdicts(source_of(chain.world, proxy.url))

    run(story())


def test_the_command_says_what_it_found(chain: Chain, tmp_path: Path) -> None:
    """Nodes and pools when all is well; what is wrong by name, and exit code 1, when not."""
    file = tmp_path / "chain.toml"
    text = config(chain.node, chain.world)
    file.write_text(text)
    done = xarb("check", file, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "9 pools can be recorded" in done.stderr
    assert done.stdout.count("can be followed") == 2 + 9
    assert "anvil" in done.stdout
    assert done.stdout.count("\tlends\n") == 3 * 3 - 1  # the pool has no DAI
    assert "lends none of it" in done.stdout
    file.write_text(text.replace("chain_id = 31337", "chain_id = 1"))
    done = xarb("check", file, cwd=tmp_path)
    assert (done.returncode, "is of chain 31337, not 1" in done.stderr) == (1, True)


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("pools = [", 'pools = ["{vault}", ', "the contract at {vault} is no pool"),
        ("pools = [", 'pools = ["{owner}", ', "there is no contract at {owner}"),
        ("pools = [", 'pools = ["{deflating}", ', "10000 ppm do not arrive"),
        ('"ws://', '"ws://127.0.0.1:1", "ws://', "ws://127.0.0.1:1"),
        ('kind = "v3"', 'kind = "v2"\nfee_ppm = 1', "is no factory of its kind"),
        ('kind = "aave"', 'kind = "flash"', "flash {aave} does not say what it lends of"),
        ("{v3_factory}", "{owner}", "which is not among the allowed ones"),
    ],
)
def test_what_is_wrong_with_chains_is_named(chain: Chain, tmp_path: Path, old: str, new: str, why: str) -> None:
    """No pool, no contract, a fee on transfer, a node that is not there, another kind, a factory that is not allowed."""
    world = chain.world
    names = {
        "vault": world.vault.lower(),
        "owner": world.owner.lower(),
        "v3_factory": world.v3_factory,
        "aave": world.lender.lower(),
    }
    if "{deflating}" in new:
        names["deflating"] = deflating(chain)
    file = tmp_path / "chain.toml"
    text = config(chain.node, world)
    assert old.format(**names) in text
    file.write_text(text.replace(old.format(**names), new.format(**names), 1))
    found = check_chains(load_experiment(file))
    assert [one for one in found.objections if why.format(**names) in one], found.objections
