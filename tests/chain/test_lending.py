"""What lenders say, as a feed puts it into the log, against the real contracts: each change in its block, and nothing else."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from tests.chain.conftest import Chain
from tests.chain.contracts import call_data, read
from tests.chain.following import PATIENT, QUICK, Rebuilt, following, source_of
from tests.chain.proxy import proxied
from tests.chain.test_feed import run, websocket
from tests.chain.test_nodes import answers
from tests.chain.world import UNIT
from xarb.venues.dex.lending import Lender

Loans = dict[tuple[str, str, str], tuple[str | None, str | None]]
POOL = "WETH/USDC 500"


class Bank:
    """The lenders of the world, and who changes them."""

    def __init__(self, chain: Chain) -> None:
        self.node, self.world = chain
        self.tokens = {symbol: address.lower() for symbol, address in self.world.tokens.items()}
        self.vault, self.aave = self.world.vault.lower(), self.world.lender.lower()
        self.pool = self.world.v3_pools[POOL].lower()
        self.asked = tuple(self.tokens[symbol] for symbol in ("WETH", "DAI", "WBTC"))
        ways = (("balancer", self.vault), ("aave", self.aave), ("flash", self.pool))
        self.lenders = tuple(Lender(way=way, address=address, tokens=self.asked) for way, address in ways)  # type: ignore[arg-type]  # its words
        (provider,) = read(self.node, self.aave, "ADDRESSES_PROVIDER()", returns=["address"])
        (self.configurator,) = read(self.node, provider, "getPoolConfigurator()", returns=["address"])
        (self.collector,) = read(self.node, self.vault, "getProtocolFeesCollector()", returns=["address"])

    def act(self, to: str, signature: str, *values: Any) -> None:
        """Somebody's transaction, in a block of its own."""
        self.node.transact(self.world.owner, to, call_data(signature, *values))

    def give(self, symbol: str, to: str, amount: int) -> None:
        """A transfer."""
        self.act(self.tokens[symbol], "transfer(address,uint256)", to, amount)

    def take_of_loans(self, share_wad: int) -> None:
        """The vault takes that much from now on."""
        (authorizer,) = read(self.node, self.vault, "getAuthorizer()", returns=["address"])
        signature = "setFlashLoanFeePercentage(uint256)"
        selector = bytes.fromhex(call_data(signature, 0)[2:10])
        (action,) = read(self.node, self.collector, "getActionId(bytes4)", selector, returns=["bytes32"])
        self.act(authorizer, "grantRole(bytes32,address)", action, self.world.owner)
        self.act(self.collector, signature, share_wad)

    def has(self, symbol: str, whom: str) -> int:
        """A balance."""
        return int(read(self.node, self.tokens[symbol], "balanceOf(address)", whom, returns=["uint256"])[0])

    def expected(self, *, vault_wad: int = 0, aave_bps: int = 5, lends: tuple[str, ...] = ("WETH", "DAI")) -> Loans:
        """What the rows must add up to, as the chain is now."""
        found: Loans = {}
        for symbol in ("WETH", "DAI", "WBTC"):
            token = self.tokens[symbol]
            found["balancer", self.vault, token] = (str(vault_wad), str(self.has(symbol, self.vault)))
            kinds = ["uint256", *["uint128"] * 5, "uint40", "uint16", "address"]
            holder = read(self.node, self.aave, "getReserveData(address)", token, returns=kinds)[-1]
            there = self.has(symbol, holder) if symbol in lends else 0
            found["aave", self.aave, token] = (str(aave_bps * 10**14), str(there))
            found["flash", self.pool, token] = (str(5 * 10**14), str(self.has("WETH", self.pool) if symbol == "WETH" else 0))
        return found


def test_each_change_is_in_its_block(chain: Chain) -> None:
    """Premiums and depths of a vault, a reserve and a pool: after each block the rows add up to what the contracts say, and tell no more than that."""
    bank = Bank(chain)

    async def story() -> None:
        async with following(source_of(chain.world, str(chain.node.ipc), lenders=bank.lenders)) as feed:
            assert Rebuilt(feed.rows).loans == bank.expected()

            async def tells(count: int, **changed: Any) -> None:
                before = len(feed.of("loans"))
                await feed.reach(chain.node)
                assert Rebuilt(feed.rows).loans == bank.expected(**changed)
                assert len(feed.of("loans")) == before + count

            bank.give("WETH", bank.vault, 7 * UNIT + 3)
            await tells(1)
            bank.give("WETH", bank.pool, UNIT)
            await tells(1)
            bank.give("USDC", bank.world.owner, 1)
            await tells(0)
            bank.act(bank.configurator, "updateFlashloanPremiumTotal(uint128)", 9)
            await tells(3, aave_bps=9)
            for signature, off, on in (
                ("setReserveFlashLoaning(address,bool)", False, True),
                ("setReservePause(address,bool)", True, False),
            ):
                for value, lends in ((off, ("WETH",)), (on, ("WETH", "DAI"))):
                    bank.act(bank.configurator, signature, bank.tokens["DAI"], value)
                    await tells(1, aave_bps=9, lends=lends)
            bank.take_of_loans(3 * 10**14)
            await tells(3, aave_bps=9, vault_wad=3 * 10**14)
            assert not feed.of("rejects")

    run(story())


def test_what_a_removed_block_told_is_told_anew(chain: Chain) -> None:
    """After a reorganisation, and after a gap, the rows add up to the chain again."""
    bank = Bank(chain)

    async def story() -> None:
        policy = msgspec.structs.replace(QUICK, history=8)
        source = source_of(chain.world, str(chain.node.ipc), policy=policy, lenders=bank.lenders)
        async with following(source) as feed:
            for depth, gaps in ((2, 0), (12, 1)):
                for _ in range(depth + 1):
                    bank.give("WETH", bank.vault, UNIT)
                await feed.reach(chain.node)
                assert Rebuilt(feed.rows).loans == bank.expected()
                chain.node.call("anvil_reorg", depth, [])
                chain.node.call("anvil_mine", "0x1")
                await feed.reach(chain.node)
                assert len(feed.links("gap")) == gaps
                assert Rebuilt(feed.rows).loans == bank.expected()
            bank.give("WETH", bank.vault, 5)
            await feed.reach(chain.node)
            again = {"from": chain.world.owner, "to": bank.tokens["WETH"], "gas": hex(100_000)}
            again["data"] = call_data("transfer(address,uint256)", bank.vault, 5)
            chain.node.call("anvil_reorg", 1, [[again, 0]])  # the new block says what the one that is gone had said
            chain.node.call("anvil_mine", "0x1")
            await feed.reach(chain.node)
            rebuilt = Rebuilt(feed.rows)
            assert (rebuilt.removed, rebuilt.loans) == (3, bank.expected())

    run(story())


def test_all_are_told_again_with_a_pool_that_is_read_again(chain: Chain) -> None:
    """So whoever begins to read in the middle of a log knows them soon."""
    bank = Bank(chain)

    async def story() -> None:
        policy = msgspec.structs.replace(QUICK, refresh_s=0.05)
        source = source_of(chain.world, str(chain.node.ipc), policy=policy, lenders=bank.lenders)
        async with following(source) as feed:

            def again() -> bool:
                chain.node.call("anvil_mine", "0x1")
                return len(feed.of("loans")) >= 3 * 9

            await feed.until(again, "all of them twice more")
            assert Rebuilt(feed.rows).loans == bank.expected()
            hashes = {row["block_hash"] for row in feed.of("pools") if row["cause"] == "snapshot"}
            assert {row["block_hash"] for row in feed.of("loans")} <= hashes

    run(story())


def test_who_does_not_answer_is_not_known(chain: Chain) -> None:
    """Of a stranger, or of a contract of another kind, the rows say nothing, and the pools and others are told as ever."""
    bank = Bank(chain)
    weth = bank.tokens["WETH"]
    nobody, other = "0x" + "77" * 20, Lender(way="aave", address=bank.vault, tokens=(weth,))
    strangers = (Lender(way="flash", address=nobody, tokens=(weth,)), other, bank.lenders[0])

    async def story() -> None:
        async with following(source_of(chain.world, str(chain.node.ipc), lenders=strangers)) as feed:
            for _ in range(2):
                bank.give("WETH", bank.vault, 1)
                await feed.reach(chain.node)
                loans = Rebuilt(feed.rows).loans
                assert (loans["flash", nobody, weth], loans["aave", bank.vault, weth]) == ((None, None), (None, None))
                assert loans["balancer", bank.vault, weth] == ("0", str(bank.has("WETH", bank.vault)))
            Rebuilt(feed.rows).compare(chain.node)

    run(story())


@pytest.mark.parametrize("honest", [1, 2])
def test_a_node_that_says_something_else_of_lenders_is_found(chain: Chain, honest: int) -> None:
    """Two others outvote it, and all is read anew from one of them; of two nobody knows which is right, and both stay named."""
    bank = Bank(chain)
    had = bank.has("WETH", bank.vault)

    def lie(said: Any) -> Any:
        return f"0x{had + 1:064x}" if said == f"0x{had:064x}" else said

    async def story() -> None:
        async with proxied(chain.node.port) as proxy:
            nodes = (str(chain.node.ipc), websocket(chain))[:honest]
            async with following(source_of(chain.world, proxy.url, *nodes, policy=PATIENT, lenders=bank.lenders)) as feed:
                liar, *others = feed.feed.streams
                await feed.until(lambda: all(one.is_open for one in feed.feed.streams), "all nodes")
                for one in others:
                    while feed.feed.current is one:
                        one.give_up("the test wants the liar")
                        await asyncio.sleep(0.02)  # it comes back, and another one is followed meanwhile
                await feed.until(lambda: all(one.is_open for one in others) and feed.feed.current is liar, "the liar followed")
                proxy.rewrite = answers("eth_call", lie)
                bank.give("USDC", bank.world.owner, 1)
                if honest == 1:
                    await feed.until(lambda: feed.health("rpc_disagree"), "the disagreement")
                    (detail,) = {row["detail"].partition(": ")[2] for row in feed.health("rpc_disagree")}
                    assert detail == ", ".join(
                        f"{one.name} balancer {bank.vault} has {had + extra} for 0" for one, extra in ((liar, 1), (others[0], 0))
                    )
                    assert not feed.health("rpc_distrusted")
                    return
                await feed.until(lambda: feed.health("rpc_distrusted") and feed.links("resync"), "the liar found")
                bank.give("USDC", bank.world.owner, 1)
                await feed.reach(chain.node)
                (row,) = feed.health("rpc_distrusted")
                assert (row["value"], "of lenders" in row["detail"]) == (0, True)
                assert Rebuilt(feed.rows).loans == bank.expected()

    run(story())
