"""`xarb live` on a chain and at an exchange: a gap between them is swapped, hedged by what came, booked and proven; a revert is not hedged."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp

from tests.chain.contracts import call_data
from tests.chain.stage import Stage
from tests.chain.test_trading import KINDS, REAL, armed, block, stage, weth_of
from tests.chain.watched import Watched, watching
from tests.chain.world import UNIT
from tests.log.logs import connection, instrument, quote
from tests.serve.site import KEY, SECRET
from tests.serve.site import config as served_config
from tests.trial import Rows, quiet, write_log
from tests.verbs.test_record import run
from xarb.log.check import verify_log
from xarb.log.reader import LogReader
from xarb.model.units import parse_money
from xarb.pools.concentrated import Concentrated
from xarb.serve.clock import WallClock
from xarb.serve.config import KeyConfig, VenueTerms
from xarb.serve.server import Plan, Server
from xarb.verbs.verify import verify

__all__ = ["stage"]  # a fixture

LIMIT_S = 240.0  # the first process may have to compile the kernel
SECONDS = 200
ALPHA = ("alpha", "ETH/DAI")
MONEY = {"ETH": 20, "DAI": 60_000}


def price_of(stage: Stage) -> int:
    """Cents of DAI for a WETH in the v3 pool."""
    hop, ours = stage.hop("WETH/DAI 3000", "WETH", is_v3=True)
    assert isinstance(ours.pool, Concentrated)
    square = ours.pool.sqrt_price**2
    return 100 * square >> 192 if hop.zero_for_one else (100 << 192) // square


def market(folder: Path, cents: int) -> Path:
    """An exchange that knows nothing of the chain: its price hardly moves."""
    steps = {"tick_int": 1, "lot_int": 10, "min_qty": parse_money("0.0001"), "min_notional": parse_money("5")}
    names = {"base": "ETH", "quote": "DAI", "settle": "DAI", "native": "ETHDAI"}
    rows: Rows = [(0, connection(0, "alpha")), (0, instrument(ALPHA, 2, 5, **names, **steps))]
    for at in range(0, SECONDS * 1000, 100):
        moved = cents + at // 100 % 3
        sizes = {"bid_qty_int": 2_000_000, "ask_qty_int": 2_000_000}
        rows.append((at, quote(moved - 50, moved + 50, key=ALPHA, scales=(2, 5), conn=0, **sizes)))
    return write_log(folder / "market", rows)


@asynccontextmanager
async def exchange(folder: Path, cents: int) -> AsyncIterator[str]:
    """Serve it from now on; its address."""
    os.environ.update({"XARB_ALPHA_MAIN_API_KEY": KEY, "XARB_ALPHA_MAIN_API_SECRET": SECRET})
    keys = {"trade": KeyConfig(account="main", api_key=KEY, secret=SECRET)}
    accounts = {"main": {"alpha": {name: Decimal(amount) for name, amount in MONEY.items()}}}
    made = Plan([("alpha", 0)], served_config(accounts=accounts, venues={"alpha": VenueTerms()}, keys=keys))
    with LogReader(market(folder, cents)) as reader:
        async with Server(reader, made, WallClock()) as server:
            yield server.addresses[0].rest


async def asked(rest: str, what: str) -> Any:
    """The exchange's own word."""
    async with aiohttp.ClientSession() as http, http.get(f"{rest}/xarb/{what}?account=main") as answer:
        return await answer.json()


def config(stage: Stage, folder: Path, rest: str) -> Path:
    """The WETH/DAI pool of v3 against ETH/DAI of the exchange."""
    weth, dai = (stage.world.tokens[name].lower() for name in ("WETH", "DAI"))
    text = f"""
[run]
currencies = ["DAI"]
[live]
mode = "live"
stop_ms = 5000
[markets.alpha]
exchange = "binance"
symbols = ["ETH/DAI"]
channels = ["quotes"]
rest_url = "{rest}"
stream_url = "{rest.replace("http", "ws")}"
[venues.alpha]
fees = "synthetic-alpha"
[accounts.main.alpha]
[chains.local]
chain_id = 31337
rpc = ["{stage.node.ipc}"]
pools = ["{stage.world.v3_pools["WETH/DAI 3000"]}"]
[chains.local.factories.uniswap3]
address = "{stage.world.v3_factory}"
kind = "v3"
[chains.local.sending]
wallet = "hot"
executor = "{stage.executor}"
tokens = ["{weth}", "{dai}"]
max_fee_gwei = 60
finality_blocks = 2
poll_ms = 50
[onchain.local.simulated]
missed_bps = 0
taken_bps = 0
latency = {{ constant_ms = 100 }}
lag_ms = 50
receipt_ms = 100
[onchain.local]
wrapped = "{weth}"
coins = {{ {weth} = "ETH", {dai} = "DAI" }}
max_fee_gwei = 60
[accounts.main.local]
[strategies.hedged]
kind = "cex_dex"
max_legs = 1
min_profit_bps = 1
min_profit_quote = 0.5
max_notional_quote = 20000
max_open_bundles = 1
cool_down_ms = 100000
latency_threshold_ms = 5000
deadline_ms = 60000
max_edge_bps = 0
success_bps = 10000
wait_risk_bps = 0
execution_timeout_ms = 5000
max_day_loss = {{ DAI = 1000 }}
"""
    path = folder / "hedged.toml"
    path.write_text(text)
    return path


def supply(stage: Stage) -> None:
    """The executor gets DAI to pay with."""
    data = call_data("transfer(address,uint256)", stage.executor, 30_000 * UNIT)
    stage.node.call("eth_sendTransaction", {"from": stage.world.owner, "to": stage.world.tokens["DAI"], "data": data})
    block(stage)


def live(stage: Stage, folder: Path, rest: str, *words: str, paper: str = "") -> AbstractAsyncContextManager[Watched]:
    """`xarb live` until the block ends, killed if it still runs then; `paper` is a chain's money there."""
    path = config(stage, folder, rest)
    if paper:
        money = "".join(f"{name} = {amount}\n" for name, amount in MONEY.items())
        text = path.read_text().replace("[accounts.main.local]\n", f"[accounts.main.local]\n{paper}")
        path.write_text(text.replace("[accounts.main.alpha]\n", f"[accounts.main.alpha]\n{money}"))
    kinds = (*KINDS, "reports", "commands", "bundles", "fills")
    return watching(folder / "log", kinds, "live", str(path), "--out", str(folder / "log"), *(words or REAL))


def booked(log: Path) -> dict[tuple[str, str], int]:
    """The last balance by venue and asset of what the log's engine says."""
    with LogReader(log) as reader:
        return {(row["venue"], row["asset"]): int(row["balance"]) for _, row in reader.outputs(kinds=("ledger",))}


def fall(stage: Stage) -> None:
    """Somebody sells WETH in the pool."""
    stage.node.call("eth_sendTransaction", stage.swap_request(("WETH", "DAI"), 60 * UNIT))


def test_a_gap_is_swapped_hedged_booked_and_proven(stage: Stage, tmp_path: Path) -> None:
    """The order sells what the receipt says came, in whole lots and after it; every balance is the chain's and the exchange's, to the unit."""
    supply(stage)

    async def story() -> None:
        async with exchange(tmp_path, price_of(stage)) as rest, live(stage, tmp_path, rest) as it:
            await armed(stage, it)
            before = stage.held()
            fall(stage)
            block(stage)
            await it.until("transactions", event="sent")
            assert it.found("commands") == []
            block(stage)
            receipt = await it.until("receipts", status="succeeded")
            await it.until("bundles", event="closed")
            for _ in range(3):
                block(stage)
                await asyncio.sleep(0.4)  # the market's own time
            await it.until("cycle_states", state="final")
            await it.stop()
            order, *again = it.found("commands")  # the exchange's price may move before it arrives; then what is left is hedged
            came = int(receipt["amount_out"])
            assert stage.held()["WETH"] == before["WETH"] + came
            assert stage.held()["DAI"] == before["DAI"] - int(receipt["amount_in"])
            lots = came // 10**14 * 10**14
            assert (order["side"], order["qty_int"] * 10 ** (18 - order["qty_scale"])) == ("sell", lots)
            assert {row["purpose"] for row in again} <= {"hedge"}
            assert sum(int(row["qty"]) for row in it.found("fills")) == lots
            found = booked(tmp_path / "log")
            agrees(stage, found, (await asked(rest, "balances"))["main"])
            sold = found["alpha", "DAI"] - MONEY["DAI"] * UNIT
            assert sold > int(receipt["amount_in"])

    run(story(), LIMIT_S)
    assert verify_log(tmp_path / "log").ok
    assert verify(tmp_path / "log", advance=quiet).equal
    assert weth_of(stage) in {asset for _, asset in booked(tmp_path / "log")}


def agrees(stage: Stage, found: dict[tuple[str, str], int], theirs: dict[str, str]) -> None:
    """Our books have what the exchange and the chain say, to the unit."""
    for name in MONEY:
        assert parse_money(theirs[name]) == found["alpha", name]
    tokens = {name: address.lower() for name, address in stage.world.tokens.items()}
    assert found["local", tokens["WETH"]] == stage.held()["WETH"]
    assert found["local", tokens["DAI"]] == stage.held()["DAI"]
    assert hex(found["local", "ETH"]) == stage.node.call("eth_getBalance", stage.wallet.address, "latest")


def test_a_swap_of_a_killed_process_is_hedged_by_the_next(stage: Stage, tmp_path: Path) -> None:
    """`kill -9` between sending and receipt: the next start follows it from the log, books its receipt and sells what came, each once."""
    supply(stage)

    async def story() -> None:
        async with exchange(tmp_path, price_of(stage)) as rest:
            async with live(stage, tmp_path, rest) as it:
                await armed(stage, it)
                fall(stage)
                block(stage)
                sent = await it.until("transactions", event="sent")
            async with live(stage, tmp_path, rest) as it:
                await it.until("starts", number=2)
                assert it.found("receipts") == []
                block(stage)
                receipt = await it.until("receipts", status="succeeded")
                assert receipt["tx_hash"] == sent["tx_hash"]
                await it.until("bundles", event="closed")
                await it.stop()
                assert [row["event"] for row in it.found("bundles")] == ["opened", "carried", "unbalanced", "closed"]
                lots = int(receipt["amount_out"]) // 10**14 * 10**14
                assert {row["purpose"] for row in it.found("commands")} == {"hedge"}
                assert sum(int(row["qty"]) for row in it.found("fills")) == lots
                agrees(stage, booked(tmp_path / "log"), (await asked(rest, "balances"))["main"])

    run(story(), LIMIT_S)
    assert verify_log(tmp_path / "log").ok
    assert verify(tmp_path / "log", advance=quiet).equal


def overtaken(stage: Stage, tx_hash: str) -> None:
    """Somebody takes the gap in the same block, before a transaction: the node orders by arrival, so that it arrives anew."""
    raw = stage.node.call("eth_getRawTransactionByHash", tx_hash)
    stage.node.call("anvil_dropTransaction", tx_hash)
    stage.node.call("eth_sendTransaction", stage.swap_request(("DAI", "WETH"), 200_000 * UNIT))
    stage.node.call("eth_sendRawTransaction", raw)


def test_a_revert_leaves_no_hedge(stage: Stage, tmp_path: Path) -> None:
    """Somebody takes the gap first: gas is booked, the bundle closes, and the exchange never hears of it."""
    supply(stage)

    async def story() -> None:
        async with exchange(tmp_path, price_of(stage)) as rest, live(stage, tmp_path, rest) as it:
            await armed(stage, it)
            before = stage.held()
            fall(stage)
            block(stage)
            sent = await it.until("transactions", event="sent")
            overtaken(stage, sent["tx_hash"])
            block(stage)
            receipt = await it.until("receipts", status="reverted")
            await it.until("bundles", event="closed")
            assert stage.held() == before | {"nonce": before["nonce"] + 1}
            assert it.found("commands") == []
            assert await asked(rest, "orders") == []
            await it.stop()
            cost = int(receipt["gas_used"]) * int(receipt["gas_price_wei"])
            with LogReader(tmp_path / "log") as reader:
                gas = [int(row["delta"]) for _, row in reader.outputs(kinds=("ledger",)) if row["cause"] == "gas"]
            assert gas[0] == -cost

    run(story(), LIMIT_S)
    assert verify(tmp_path / "log", advance=quiet).equal


def test_on_paper_both_sides_are_simulated(stage: Stage, tmp_path: Path) -> None:
    """The same config, market and chain: nothing leaves, and the bundle is swapped, hedged and closed in the simulated venues."""
    tokens = {name: address.lower() for name, address in stage.world.tokens.items()}
    money = f"ETH = 5\n{tokens['WETH']} = 1\n{tokens['DAI']} = 30000\n"
    words = ("--set", "live.mode=paper", "--set", 'chains.local.sending.wallet="nobody"')

    async def story() -> None:
        async with exchange(tmp_path, price_of(stage)) as rest, live(stage, tmp_path, rest, *words, paper=money) as it:
            await armed(stage, it)
            before = stage.held()
            fall(stage)
            block(stage)
            await it.until("sim_receipts", event="sent")
            block(stage)
            await it.until("sim_receipts", event="succeeded")
            await it.until("fills")
            await it.until("bundles", event="closed")
            await it.stop()
            assert (stage.held(), it.found("transactions"), await asked(rest, "orders")) == (before, [], [])

    run(story(), LIMIT_S)
    assert verify(tmp_path / "log", advance=quiet).equal
