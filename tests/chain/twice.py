"""One market twice on the tests' chain: recorded alone, and traded on live, block by block with the same seeded traders."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

from tests.chain.conftest import Chain
from tests.chain.contracts import call_data
from tests.chain.node import RpcError, running
from tests.chain.stage import GWEI, KEY, Stage
from tests.chain.traders import Traders
from tests.chain.watched import Watched, watching
from tests.chain.world import FOREVER, load
from tests.verbs.test_record import run
from xarb.venues.wallets import account_of, add_wallet

WORDS: Final = "canary pass phrase 71c3"
KINDS: Final = ("operator", "blocks", "cycle_states")
PAUSE_S: Final = 0.25  # between blocks: more than it takes to decide and to send
LIMIT_S: Final = 240.0  # the first process may have to compile the kernel
BID: Final = {"maxFeePerGas": hex(50 * GWEI), "maxPriorityFeePerGas": hex(5 * GWEI)}
Acts = Callable[["Paced", Stage, Traders], None]


class Paced:
    """A chain whose traders send what the next block holds as soon as there is one, and bid so much that whatever we send comes after it."""

    def __init__(self, stage: Stage, acts: Acts, seed: int) -> None:
        self.stage, self._acts = stage, acts
        self._traders = Traders(stage.node, stage.world, seed=seed)
        self._sent: list[tuple[str, str | None]] = []
        self.count = 0

    def block(self) -> int:
        """Mine what waits, and let the traders send what comes next; the number of the block."""
        node = self.stage.node
        latest = int(node.call("eth_getBlockByNumber", "latest", False)["timestamp"], 16)
        node.call("evm_mine", {"timestamp": max(int(time.time()), latest)})
        for name, digest in self._sent:
            receipt = None if digest is None else node.call("eth_getTransactionReceipt", digest)
            self._traders.settle(name, receipt if receipt is not None and receipt["status"] == "0x1" else None)
        self._sent = []
        self.count += 1
        self._acts(self, self.stage, self._traders)
        return int(node.call("eth_blockNumber"), 16)

    def trade(self, count: int) -> None:
        """So many acts of the traders, as their seed has them."""
        for _ in range(count):
            name, calls = self._traders.wish()
            self._sent.append((name, [self._send(to, data) for to, data in calls][-1]))

    def _send(self, to: str, data: str) -> str | None:
        request = {"from": self.stage.world.owner, "to": to, "data": data, "gas": hex(2_000_000)} | BID
        try:
            return str(self.stage.node.call("eth_sendTransaction", request))
        except RpcError:
            return None


@contextmanager
def staged(world_folder: Path, folder: Path, code: str) -> Iterator[Stage]:
    """The world on a node of its own with our executor, as each time before."""
    folder.mkdir()
    with running(folder, order="fees") as node:
        stage = Stage(Chain(node, load(node, world_folder)), code)
        node.call("anvil_removeBlockTimestampInterval")
        node.call("eth_sendTransaction", stage.close_the_edge())
        for _ in range(2):  # a pair's first price of all is dearer to write than any later one
            used(stage)
            latest = int(node.call("eth_getBlockByNumber", "latest", False)["timestamp"], 16)
            node.call("evm_mine", {"timestamp": latest + 1})
        yield stage


def used(stage: Stage) -> None:
    """Somebody swaps a little in every pair, both ways."""
    world = stage.world
    for label in world.v2_pairs:
        exchange, _, symbols = label.partition(" ")
        tokens = [world.tokens[symbol] for symbol in symbols.split("/")]
        for path in (tokens, tokens[::-1]):
            data = call_data(
                "swapExactTokensForTokens(uint256,uint256,address[],address,uint256)", 10**6, 0, path, world.owner, FOREVER
            )
            request = {"from": world.owner, "to": world.v2_routers[exchange], "data": data, "gas": hex(2_000_000)}
            stage.node.call("eth_sendTransaction", request)


def config(stage: Stage, folder: Path, **changes: str) -> Path:
    """All pools of the world, cycles of up to three; `changes` are keys of the simulated chain."""
    world = stage.world
    weth, tokens = world.tokens["WETH"].lower(), [token.lower() for token in world.tokens.values()]
    model = {"latency": "{ constant_ms = 20 }", "lag_ms": "0", "receipt_ms": "50", "missed_bps": "0", "taken_bps": "0"}
    simulated = "\n".join(
        f"{key} = {value}" for key, value in (model | {"finality_blocks": "2", "sees_own_swaps": "true"} | changes).items()
    )
    factories = "\n".join(
        f'[chains.local.factories.{name}]\naddress = "{address}"\nkind = "v2"\nfee_ppm = 3000'
        for name, address in sorted(world.v2_factories.items())
    )
    wei = int(stage.node.call("eth_getBalance", stage.wallet.address, "latest"), 16)
    text = f"""
[run]
currencies = ["ETH"]
[live]
mode = "live"
stop_ms = 5000
[chains.local]
chain_id = 31337
rpc = ["{stage.node.ipc}"]
pools = {[*world.v2_pairs.values(), *world.v3_pools.values()]}
{factories}
[chains.local.factories.uniswap3]
address = "{world.v3_factory}"
kind = "v3"
[chains.local.sending]
wallet = "hot"
executor = "{stage.executor}"
tokens = {tokens}
max_fee_gwei = 60
finality_blocks = 2
poll_ms = 50
[onchain.local]
wrapped = "{weth}"
max_fee_gwei = 60
[onchain.local.simulated]
{simulated}
[accounts.main.local]
ETH = {wei // 10**18}.{wei % 10**18:018d}
[strategies.cycles]
kind = "dex_dex"
max_legs = 3
min_profit_bps = 1
min_profit_quote = 0.0005
max_notional_quote = 50
latency_threshold_ms = 5000
deadline_ms = 60000
max_edge_bps = 0
success_bps = 10000
max_day_loss = {{ ETH = 1 }}
""".replace("'", '"')
    path = folder / "cycles.toml"
    path.write_text(text)
    return path


@asynccontextmanager
async def process(folder: Path, *words: str) -> AsyncIterator[Watched]:
    """A command that writes `folder`, until the block ends: it is asked to end, and must do so well."""
    async with watching(folder, KINDS, *words) as it:
        yield it
        await it.stop()


def waits(it: Watched) -> bool:
    """Whether a wish of ours has not left yet."""
    last = {row["order"]: row["state"] for row in it.found("cycle_states")}
    return "pending" in last.values()


async def played(it: Watched, paced: Paced, blocks: int, *, is_live: bool) -> None:
    """Let the market go through its blocks, each once whoever follows has seen the one before and done what it wanted to."""
    number = paced.block()
    await it.until("blocks", block_number=number)
    if is_live:
        await it.until("operator", action="arm")
    for _ in range(blocks):
        await asyncio.sleep(PAUSE_S)  # the market's own time
        await it.until_so(lambda: not waits(it))
        number = paced.block()
        await it.until("blocks", block_number=number)
    await asyncio.sleep(PAUSE_S)


def play(world_folder: Path, folder: Path, code: str, *, market: tuple[Acts, int], blocks: int, is_live: bool) -> int:
    """Let a market (what happens in each block, and a seed) be recorded, or traded on, into `folder/log`; what WETH the executor has in the end."""
    with staged(world_folder, folder, code) as stage:
        path, log = config(stage, folder), folder / "log"
        words = ("live", str(path), "--out", str(log), "--live", "--account", "main")

        async def story() -> None:
            async with process(log, *(words if is_live else ("record", str(path), "--into", str(log)))) as it:
                await played(it, Paced(stage, *market), blocks, is_live=is_live)

        run(story(), LIMIT_S)
        return stage.held()["WETH"]


def wallet(folder: Path) -> Mapping[str, str]:
    """Keys on disk, and the environment that finds them."""
    place = {"XARB_WALLETS": str(folder / "wallets")}
    add_wallet("hot", account_of(KEY, "a test"), WORDS, place, scrypt_n=2)
    return place | {"XARB_WALLET_HOT_PASSPHRASE": WORDS}
