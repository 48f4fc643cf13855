"""The world that tests trade in: tokens, pools of two v2 exchanges and one v3, a vault and a lender with something to lend.

It is built once, dumped, and loaded into a chain of its own for each test. Times are fixed, so that two builds end at the same block.
"""

from __future__ import annotations

from math import log
from pathlib import Path
from typing import Any, Final

import msgspec

from tests.chain.contracts import AAVE, BALANCER, V2, V2_ROUTER, V3, V3_PERIPHERY, bytecode, call_data, deploy, read
from tests.chain.node import Node
from xarb.pools.ticks import sqrt_price_at

FOREVER: Final = 1 << 40
UNIT: Final = 10**18
V3_FEES: Final = {500: 10, 3000: 60, 10000: 200}
MAX: Final = (1 << 256) - 1


class World(msgspec.Struct, frozen=True, kw_only=True):
    """Addresses of what was deployed, and the block it ended at."""

    owner: str
    tokens: dict[str, str]
    v2_factories: dict[str, str]
    v2_routers: dict[str, str]
    v2_pairs: dict[str, str]
    v3_factory: str
    v3_manager: str
    v3_router: str
    quoter: str
    tick_lens: str
    v3_pools: dict[str, str]
    vault: str
    lender: str
    block: int
    block_hash: str


class _Builder:
    """Deploys with one account."""

    def __init__(self, node: Node) -> None:
        self.node, self.owner = node, node.accounts()[0]

    def deploy(self, path: str, types: list[str] | None = None, *values: Any, libraries: dict[str, str] | None = None) -> str:
        return deploy(self.node, self.owner, bytecode(path, libraries), types or [], values)

    def send(self, to: str, signature: str, *values: Any, value: int = 0) -> None:
        self.node.transact(self.owner, to, call_data(signature, *values), value=value)

    def ask(self, to: str, signature: str, *values: Any, returns: str = "address") -> Any:
        return read(self.node, to, signature, *values, returns=[returns])[0]

    def approve(self, token: str, *spenders: str) -> None:
        for spender in spenders:
            self.send(token, "approve(address,uint256)", spender, MAX)


def build(node: Node) -> World:
    """Deploy everything. WETH is worth some 3,000 USD and WBTC some 20 WETH; prices differ a little from pool to pool."""
    make = _Builder(node)
    weth = make.deploy("canonical-weth/build/contracts/WETH9.json")
    make.send(weth, "deposit()", value=9_000 * UNIT)
    tokens = {"WETH": weth}
    for symbol, decimals, supply in (("USDC", 6, 10**9), ("DAI", 18, 10**9), ("WBTC", 8, 10**6)):
        path = f"{AAVE}mocks/tokens/MintableERC20.sol/MintableERC20.json"
        tokens[symbol] = make.deploy(path, ["string", "string", "uint8"], symbol, symbol, decimals)
        make.send(tokens[symbol], "mint(uint256)", supply * 10**decimals)
    factories, routers, pairs = {}, {}, {}
    for name, shift in (("uniswap", 1000), ("sushi", 1004)):
        factories[name] = make.deploy(f"{V2}UniswapV2Factory.json", ["address"], make.owner)
        routers[name] = make.deploy(f"{V2_ROUTER}UniswapV2Router02.json", ["address", "address"], factories[name], weth)
        for base, quote, amounts in (
            ("WETH", "USDC", (500 * UNIT, 1_500 * shift * 10**6)),
            ("WETH", "DAI", (300 * UNIT, 900 * shift * UNIT)),
            ("WBTC", "WETH", (40 * 10**8, 800 * UNIT * shift // 1000)),
        ):
            for token in (tokens[base], tokens[quote]):
                make.approve(token, routers[name])
            make.send(
                routers[name],
                "addLiquidity(address,address,uint256,uint256,uint256,uint256,address,uint256)",
                *(tokens[base], tokens[quote], *amounts, 0, 0, make.owner, FOREVER),
            )
            pair = make.ask(factories[name], "getPair(address,address)", tokens[base], tokens[quote])
            pairs[f"{name} {base}/{quote}"] = pair
    v3 = _v3(make, tokens)
    vault, lender = _lenders(make, tokens)
    block = node.call("eth_getBlockByNumber", "latest", False)
    return World(
        owner=make.owner,
        tokens=tokens,
        v2_factories=factories,
        v2_routers=routers,
        v2_pairs=pairs,
        vault=vault,
        lender=lender,
        block=int(block["number"], 16),
        block_hash=block["hash"],
        **v3,
    )


def _v3(make: _Builder, tokens: dict[str, str]) -> dict[str, Any]:
    """Uniswap v3 with three pools: tight and wide positions around the price, and some that begin away from it."""
    weth = tokens["WETH"]
    factory = make.deploy(f"{V3}UniswapV3Factory.sol/UniswapV3Factory.json")
    both = ["address", "address"]
    descriptor = make.owner  # asked for pictures of positions only
    path = f"{V3_PERIPHERY}NonfungiblePositionManager.sol/NonfungiblePositionManager.json"
    manager = make.deploy(path, [*both, "address"], factory, weth, descriptor)
    router = make.deploy(f"{V3_PERIPHERY}SwapRouter.sol/SwapRouter.json", both, factory, weth)
    quoter = make.deploy(f"{V3_PERIPHERY}lens/QuoterV2.sol/QuoterV2.json", both, factory, weth)
    lens = make.deploy(f"{V3_PERIPHERY}lens/TickLens.sol/TickLens.json")
    pools = {}
    for base, quote, fee, price in (
        ("WETH", "USDC", 500, 3_006e-12),
        ("WETH", "DAI", 3000, 2_998.0),
        ("WBTC", "WETH", 3000, 20.03e10),
    ):
        token0, token1 = sorted((tokens[base], tokens[quote]), key=str.lower)
        ratio = price if token0 == tokens[base] else 1 / price
        spacing = V3_FEES[fee]
        tick = _nearest(ratio, spacing)
        make.send(
            manager,
            "createAndInitializePoolIfNecessary(address,address,uint24,uint160)",
            *(token0, token1, fee, sqrt_price_at(tick) + 12_345),
        )
        make.approve(tokens[base], manager, router)
        make.approve(tokens[quote], manager, router)
        for low, high, share in ((-200, 200, 40), (-20, 20, 20), (-4, 4, 10), (-60, -10, 10), (10, 60, 10), (-887_200, 887_200, 5)):
            lower, upper = (
                max(tick + low * spacing, -spacing * (887_272 // spacing)),
                min(tick + high * spacing, spacing * (887_272 // spacing)),
            )
            amounts = [share * (10**8 if token == tokens["WBTC"] else UNIT) for token in (token0, token1)]
            if "USDC" in (base, quote):
                amounts = [share * 3_000 * 10**6 if token == tokens["USDC"] else share * UNIT for token in (token0, token1)]
            elif "DAI" in (base, quote):
                amounts = [share * 3_000 * UNIT if token == tokens["DAI"] else share * UNIT for token in (token0, token1)]
            make.send(
                manager,
                "mint((address,address,uint24,int24,int24,uint256,uint256,uint256,uint256,address,uint256))",
                (token0, token1, fee, lower, upper, *amounts, 0, 0, make.owner, FOREVER),
            )
        pools[f"{base}/{quote} {fee}"] = make.ask(factory, "getPool(address,address,uint24)", token0, token1, fee)
    return {
        "v3_factory": factory,
        "v3_manager": manager,
        "v3_router": router,
        "quoter": quoter,
        "tick_lens": lens,
        "v3_pools": pools,
    }


def _nearest(ratio: float, spacing: int) -> int:
    """The tick on the spacing next to a price."""
    return round(log(ratio) / log(1.0001) / spacing) * spacing


def _lenders(make: _Builder, tokens: dict[str, str]) -> tuple[str, str]:
    """Balancer's vault, which a transfer fills, and Aave's pool with the tokens as reserves and a premium of 0.05 %."""
    authorizer = make.deploy(f"{BALANCER}20210418-authorizer/artifact/Authorizer.json", ["address"], make.owner)
    vault = make.deploy(
        f"{BALANCER}20210418-vault/artifact/Vault.json",
        ["address", "address", "uint256", "uint256"],
        *(authorizer, tokens["WETH"], 7_776_000, 2_592_000),
    )
    for symbol, amount in (("WETH", 500 * UNIT), ("USDC", 10**12), ("DAI", 10**6 * UNIT)):
        make.send(tokens[symbol], "transfer(address,uint256)", vault, amount)
    return vault, _aave(make, tokens)


def _aave(make: _Builder, tokens: dict[str, str]) -> str:
    """Aave v3: libraries, addresses, roles, pool, configurator, reserves, something to lend."""
    logic = "protocol/libraries/logic/"
    names = ("Borrow", "Bridge", "EMode", "Liquidation", "Supply", "Pool", "Configurator")
    libraries: dict[str, str] = {}
    for name in names:
        path = f"{AAVE}{logic}{name}Logic.sol/{name}Logic.json"
        libraries[f"{name}Logic"] = make.deploy(path, libraries=libraries)
    path = f"{AAVE}{logic}FlashLoanLogic.sol/FlashLoanLogic.json"
    libraries["FlashLoanLogic"] = make.deploy(path, libraries=libraries)
    configuration = f"{AAVE}protocol/configuration/"
    provider = make.deploy(
        f"{configuration}PoolAddressesProvider.sol/PoolAddressesProvider.json", ["string", "address"], "local", make.owner
    )
    make.send(provider, "setACLAdmin(address)", make.owner)
    manager = make.deploy(f"{configuration}ACLManager.sol/ACLManager.json", ["address"], provider)
    make.send(provider, "setACLManager(address)", manager)
    for role in ("addPoolAdmin(address)", "addAssetListingAdmin(address)"):
        make.send(manager, role, make.owner)
    pool_code = make.deploy(f"{AAVE}protocol/pool/Pool.sol/Pool.json", ["address"], provider, libraries=libraries)
    make.send(provider, "setPoolImpl(address)", pool_code)
    pool = make.ask(provider, "getPool()")
    configurator_code = make.deploy(f"{AAVE}protocol/pool/PoolConfigurator.sol/PoolConfigurator.json", libraries=libraries)
    make.send(provider, "setPoolConfiguratorImpl(address)", configurator_code)
    configurator = make.ask(provider, "getPoolConfigurator()")
    make.send(configurator, "updateFlashloanPremiumTotal(uint128)", 5)
    tokenization = f"{AAVE}protocol/tokenization/"
    kinds = [
        make.deploy(f"{tokenization}{name}.sol/{name}.json", ["address"], pool)
        for name in ("AToken", "StableDebtToken", "VariableDebtToken")
    ]
    ray = 10**27
    strategy = make.deploy(
        f"{AAVE}protocol/pool/DefaultReserveInterestRateStrategy.sol/DefaultReserveInterestRateStrategy.json",
        ["address", *["uint256"] * 9],
        *(
            provider,
            ray * 8 // 10,
            0,
            ray * 4 // 100,
            ray * 6 // 10,
            ray * 2 // 100,
            ray * 6 // 10,
            ray * 2 // 100,
            ray * 5 // 100,
            ray * 2 // 10,
        ),
    )
    inputs = "(address,address,address,uint8,address,address,address,address,string,string,string,string,string,string,bytes)"
    rows = []
    for symbol, decimals in (("WETH", 18), ("USDC", 6), ("DAI", 18)):
        texts = [f"{kind}{symbol}" for kind in ("a", "a", "v", "v", "s", "s")]
        rows.append((*kinds, decimals, strategy, tokens[symbol], make.owner, "0x" + "00" * 20, *texts, b""))
    make.send(configurator, f"initReserves({inputs}[])", rows)
    for symbol, amount in (("WETH", 500 * UNIT), ("USDC", 10**12), ("DAI", 10**6 * UNIT)):
        make.send(configurator, "setReserveFlashLoaning(address,bool)", tokens[symbol], True)
        make.approve(tokens[symbol], pool)
        make.send(pool, "supply(address,uint256,address,uint16)", tokens[symbol], amount, make.owner, 0)
    return str(pool)


def dump(node: Node, world: World, folder: Path) -> None:
    """Keep the chain's state and the addresses in a folder."""
    state = bytes.fromhex(node.call("anvil_dumpState")[2:])
    (folder / "state.bin").write_bytes(state)
    (folder / "world.json").write_bytes(msgspec.json.encode(world))


def load(node: Node, folder: Path) -> World:
    """Put a kept state into a fresh node."""
    node.call("anvil_loadState", "0x" + (folder / "state.bin").read_bytes().hex())
    return msgspec.json.decode((folder / "world.json").read_bytes(), type=World)
