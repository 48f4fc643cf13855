"""Our wallet, its executor and its desk on a chain with a builder between: what the tests of sending stand on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import aiohttp
from eth_utils.crypto import keccak

from tests.chain.builder import Builder
from tests.chain.conftest import Chain
from tests.chain.contracts import call_data, deploy, read
from tests.chain.states import concentrated, constant_product
from tests.chain.world import FOREVER, UNIT
from xarb.model.columns import TABLES
from xarb.model.command import SwapCycle, SwapHop
from xarb.pools.cycle import Best, best_input
from xarb.pools.cycle import Hop as PoolHop
from xarb.venues.dex.desk import ChainDesk, DeskTerms, Trade
from xarb.venues.dex.executor import NOBODY, Cycle, Funding, Hop
from xarb.venues.dex.fees import FeePolicy
from xarb.venues.dex.nonces import Channel, Nonces, rebuilt
from xarb.venues.dex.outgoing import Access, ChainNode
from xarb.venues.dex.permits import Permits
from xarb.venues.dex.relay import Relay
from xarb.venues.dex.stuck import StuckPolicy
from xarb.venues.venue import VenueRow
from xarb.venues.wallets import Wallet, account_of

GWEI: Final = 10**9
KEY: Final = "0x" + "c0ffee" * 10 + "beef"
RELAY_KEY: Final = "0x" + "5eed" * 16
FEES: Final = FeePolicy(tip_wei=GWEI, cap_wei=500 * GWEI, rises=1)
STUCK: Final = StuckPolicy(wait_blocks=2, max_replacements=2, max_cancels=2)
GAS: Final = 420_000


LIMIT_S: Final = 60.0  # of one story


def runs(story: Callable[[], Awaitable[None]]) -> None:
    """A story, within its time."""

    async def timed() -> None:
        async with asyncio.timeout(LIMIT_S):
            await story()

    asyncio.run(timed())


class Stage:
    """The parts; `rows` is the log of what the desk told."""

    def __init__(self, chain: Chain, code: str) -> None:
        self.chain, self.node, self.world = chain, chain.node, chain.world
        self.wallet = Wallet("hot", account_of(KEY, "a test"))
        self.friend = Wallet("relay", account_of(RELAY_KEY, "a test"))
        for path, amount in ((("WETH", "DAI"), UNIT), (("DAI", "WETH"), 3_000 * UNIT)):
            self.swap(path, amount, is_v3=False)
            self.swap(path, amount)
        self.swap(("WETH", "DAI"), 10 * UNIT)
        self.node.call("anvil_setBalance", self.wallet.address, hex(100 * UNIT))
        self.node.call("anvil_impersonateAccount", self.wallet.address)
        self.executor = deploy(self.node, self.wallet.address, code).lower()
        self.node.call("anvil_stopImpersonatingAccount", self.wallet.address)
        self.node.call("anvil_setBlockTimestampInterval", 12)
        self.node.call("evm_setAutomine", False)  # a word of the node
        self.builder = Builder(self.node)
        self.builder.friends.add(self.friend.address)
        self.builder.watch = self._arrived
        self.rows: list[VenueRow] = []
        self.came = asyncio.Event()
        self.arrived: list[str] = []
        self.relay: Relay | None = None

    # --- others on the chain

    def swap_request(self, path: tuple[str, str], amount: int, *, is_v3: bool = True, owner: str | None = None) -> dict[str, Any]:
        """Somebody's swap."""
        who, tokens = owner or self.world.owner, [self.world.tokens[symbol] for symbol in path]
        if is_v3:
            signature = "exactInputSingle((address,address,uint24,address,uint256,uint256,uint256,uint160))"
            to, data = self.world.v3_router, call_data(signature, (*tokens, 3000, who, FOREVER, amount, 0, 0))
        else:
            signature = "swapExactTokensForTokens(uint256,uint256,address[],address,uint256)"
            to, data = self.world.v2_routers["uniswap"], call_data(signature, amount, 0, tokens, who, FOREVER)
        return {"from": who, "to": to, "data": data, "gas": hex(2_000_000)}

    def swap(self, path: tuple[str, str], amount: int, *, is_v3: bool = True) -> None:
        """Somebody swaps, at once."""
        request = self.swap_request(path, amount, is_v3=is_v3)
        self.node.transact(request["from"], request["to"], request["data"])

    def close_the_edge(self) -> dict[str, Any]:
        """A competitor buys the cheap WETH."""
        return self.swap_request(("DAI", "WETH"), 29_000 * UNIT)

    # --- ours

    def desk(self, *, start: int = 1, chain_id: int | None = None, node: ChainNode | None = None, **terms: Any) -> ChainDesk:
        """A desk that knows what the rows so far say; `node`: None is the builder."""
        world, address = self.world, self.wallet.address.lower()
        found = int(self.node.call("eth_chainId"), 16) if chain_id is None else chain_id
        given: dict[str, Any] = {
            "fees": FEES,
            "stuck": STUCK,
            "finality_blocks": 3,
            "relay_blocks": 2,
            "unseen_blocks": 2,
            "poll_s": 0.05,
        }
        permits = Permits(
            chain_id=found,
            executor=self.executor,
            tokens=frozenset(token.lower() for token in world.tokens.values()),
            pools=frozenset(pool.lower() for pool in (*world.v2_pairs.values(), *world.v3_pools.values())),
            lenders=frozenset({world.vault.lower(), world.lender.lower(), world.v3_pools["WETH/USDC 500"].lower()}),
            max_gas=2_000_000,
            max_fee_wei=FEES.cap_wei,
        )
        nonces = rebuilt(Nonces("local", found, address), (row.values for row in self.rows if row.kind == "transactions"))
        return ChainDesk(
            DeskTerms(account="hot", venue="local", log_id="0badcafe", start=start, conn=7, **(given | terms)),
            Access(self.wallet, node or self.builder, self.relay),
            permits=permits,
            nonces=nonces,
            keep=self.keep,
        )

    def keep(self, rows: Sequence[VenueRow]) -> None:
        """As the log does."""
        for row in rows:
            names = {column.name for column in TABLES[row.kind].columns} - {"seq", "ts_recv"}
            assert row.kind == "health" or set(row.values) == names
        self.rows += rows
        self.came.set()

    def _arrived(self, raw: str) -> None:
        """Whatever leaves is in the log before."""
        tx_hash = "0x" + keccak(bytes.fromhex(raw[2:])).hex()
        self.arrived.append(raw)
        assert any(row.kind == "transactions" and row.values["tx_hash"] == tx_hash for row in self.rows), (
            "it left before its intent"
        )

    async def until(self, event: str) -> None:
        """Wait until something happened."""
        while event not in self.events():
            self.came.clear()
            await self.came.wait()

    @asynccontextmanager
    async def relaying(self) -> AsyncIterator[None]:
        """With a relay."""
        async with self.builder.listening(), aiohttp.ClientSession() as http:
            self.relay = Relay(self.builder.url, http, self.friend, timeout_s=2)
            yield

    def hop(self, label: str, token_in: str, *, is_v3: bool) -> tuple[Hop, PoolHop]:
        """A pool, for the contract and for our maths."""
        pools, symbols = (self.world.v3_pools, label.split(maxsplit=1)[0]) if is_v3 else (self.world.v2_pairs, label.split()[1])
        pair = sorted((self.world.tokens[symbol] for symbol in symbols.split("/")), key=str.lower)
        way = pair[0] == self.world.tokens[token_in]
        state = concentrated(self.node, pools[label]) if is_v3 else constant_product(self.node, pools[label])
        return Hop(pools[label], self.world.tokens[token_in], is_v3, way, 0 if is_v3 else 3000), PoolHop(state, way)

    def planned(self, funding: Funding = Funding.CALLBACK, *, lender: str = NOBODY, blocks: int = 4) -> tuple[Cycle, Best]:
        """WETH sold in the v2 pool and bought back in the v3 pool, to the last unit of profit, for so many blocks from now."""
        hops = [self.hop("uniswap WETH/DAI", "WETH", is_v3=False), self.hop("WETH/DAI 3000", "DAI", is_v3=True)]
        best = best_input([ours for _, ours in hops])
        assert best is not None
        now = int(self.node.call("eth_getBlockByNumber", "latest", False)["timestamp"], 16)  # without transactions
        cycle = Cycle([theirs for theirs, _ in hops], best.amounts[0], funding, lender, best.profit * 9 // 10, now + 12 * blocks)
        return cycle, best

    def trade(self, cycle: Cycle, *, order: int = 1, channel: Channel = "public", ceiling_wei: int | None = None) -> Trade:
        """An order to swap it."""
        return Trade(
            strategy="dex", order=order, bundle=order, cycle=cycle, channel=channel, gas_limit=GAS, ceiling_wei=ceiling_wei
        )

    def command(self, cycle: Cycle, *, order: int = 1, **given: Any) -> SwapCycle:
        """The engine's wish to swap it."""
        hops = tuple(
            SwapHop(pool=one.pool, token_in=one.token_in, is_v3=one.is_v3, zero_for_one=one.zero_for_one, fee_pips=one.fee_pips)
            for one in cycle.hops
        )
        usual: dict[str, Any] = {
            "ts": 1,
            "order": order,
            "client_order_id": f"0badcafe-1-{order}",
            "account": "hot",
            "strategy": "dex",
            "venue": "local",
            "bundle": order,
            "hops": hops,
            "amount": cycle.amount,
            "funding": cycle.funding.name.lower(),
            "lender": "" if cycle.lender == NOBODY else cycle.lender,
            "min_profit": cycle.min_profit,
            "deadline_s": cycle.deadline,
            "channel": "public",
            "gas_limit": GAS,
        }
        return SwapCycle(**(usual | given))

    # --- what became of it

    def held(self) -> dict[str, int]:
        """What the executor has, and the nonce and wei of the wallet."""
        tokens = self.world.tokens.items()
        found = {
            name: read(self.node, token, "balanceOf(address)", self.executor, returns=["uint256"])[0] for name, token in tokens
        }
        return found | {"nonce": int(self.node.call("eth_getTransactionCount", self.wallet.address, "latest"), 16)}

    def events(self) -> list[str]:
        """What happened, in a word each: `transactions` by event and reason, `receipts` by status and reason."""
        found = []
        for row in self.rows:
            if row.kind == "transactions":
                values = row.values
                words = [values["event"], values["purpose"] if values["event"] == "intent" else values["reason"]]
                found.append(" ".join(word for word in words if word))
            elif row.kind == "receipts":
                found.append(f"receipt {row.values['status']}")
        return found

    def last(self, kind: str) -> dict[str, Any]:
        """The last row of a kind."""
        return [row.values for row in self.rows if row.kind == kind][-1]
