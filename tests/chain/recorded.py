"""Makes `recordings/hedged` anew: the local chain with its seeded traders, and a served exchange beside it whose book moves about the pools' price.

    python -m tests.chain.recorded FOLDER

The chain is run through once, as fast as it goes, for its prices; then anew, a block a second, while `xarb record` follows it and the exchange. The
exchange shows what the pool is going to be a few blocks later, and wanders about that, so that gaps open on both sides and close by themselves.
"""

from __future__ import annotations

import asyncio
import random
import signal
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.chain.__main__ import V2_FEE_PPM
from tests.chain.market import Market
from tests.chain.node import Node, running
from tests.chain.states import concentrated
from tests.chain.world import World, build
from tests.log.logs import book_row, connection, instrument
from tests.serve.site import config as served_config
from tests.trial import Rows, write_log
from tests.verbs.test_record import Command
from xarb.log.reader import LogReader
from xarb.model.units import parse_money
from xarb.serve.clock import WallClock
from xarb.serve.config import VenueTerms
from xarb.serve.server import Plan, Server

SEED: Final = 7
BLOCKS: Final = 100
AHEAD: Final = 3  # blocks by which the exchange knows what the pool is going to be
STILL_S: Final = 8  # until the recorder follows both
BOOK_MS: Final = 500
MARKET: Final = ("alpha", "ETH/USDC")
POOLS: Final = (("v2_pairs", "uniswap WETH/USDC"), ("v3_pools", "WETH/USDC 500"), ("v2_pairs", "sushi WETH/USDC"))


def price_of(node: Node, world: World) -> int:
    """Cents of USDC (of 6 decimals) for a WETH in the deepest pool of v3."""
    pool = concentrated(node, world.v3_pools["WETH/USDC 500"])
    is_first = world.tokens["WETH"].lower() < world.tokens["USDC"].lower()
    square = pool.sqrt_price**2
    return square * 10**14 >> 192 if is_first else (10**14 << 192) // square


def traders(node: Node, world: World) -> Market:
    """The same each time."""
    return Market(node, world, seed=SEED, rate=3.0, interval_s=1.0)


def foreseen(folder: Path) -> list[int]:
    """The price after each block."""
    with running(folder) as node:
        world = build(node)
        market = traders(node, world)
        prices = [price_of(node, world)]
        for _ in range(BLOCKS + AHEAD):
            market.block()
            prices.append(price_of(node, world))
        return prices


def exchange_log(folder: Path, prices: Sequence[int]) -> Path:
    """What the exchange shows: five levels a side, a tenth of a percent apart over all, some ETH on each."""
    draw = random.Random(SEED)  # noqa: S311  # a market's draw
    steps = {"tick_int": 1, "lot_int": 1, "min_qty": parse_money("0.001"), "min_notional": parse_money("5")}
    names = {"base": "ETH", "quote": "USDC", "settle": "USDC", "native": "ETHUSDC"}
    rows: Rows = [(0, connection(0, "alpha")), (0, instrument(MARKET, 2, 3, **names, **steps))]
    away = 0.0
    for at in range(0, (BLOCKS + STILL_S + 5) * 1000, BOOK_MS):
        block = min(max(at // 1000 - STILL_S, 0) + AHEAD, len(prices) - 1)
        away = away * 0.9 + draw.gauss(0, 12)  # in 0.01 %
        middle = round(prices[block] * (1 + away / 10_000))
        sides = [
            [(middle + way * round(middle * (2 + 2 * level) / 10_000), draw.randrange(300, 2_500)) for level in range(5)]
            for way in (-1, 1)
        ]
        row = {"conn": 0, "venue": MARKET[0], "symbol": MARKET[1], "px_scale": 2, "qty_scale": 3}
        rows.append((at, ("books", row | book_row(*sides))))
    return write_log(folder / "market", rows)


def recorder_config(folder: Path, node: Node, world: World, rest: str) -> Path:
    """The exchange, and a few pools of the chain."""
    pools = ", ".join(f'"{getattr(world, kind)[label]}"' for kind, label in POOLS)
    text = f"""
[markets.alpha]
exchange = "binance"
symbols = ["ETH/USDC"]
channels = ["deltas"]
rest_url = "{rest}"
stream_url = "{rest.replace("http", "ws")}"
[record]
frames = false
[chains.local]
chain_id = 31337
rpc = ["ws://127.0.0.1:{node.port}"]
pools = [{pools}]
[chains.local.factories.uniswap]
address = "{world.v2_factories["uniswap"]}"
kind = "v2"
fee_ppm = {V2_FEE_PPM}
[chains.local.factories.sushi]
address = "{world.v2_factories["sushi"]}"
kind = "v2"
fee_ppm = {V2_FEE_PPM}
[chains.local.factories.uniswap3]
address = "{world.v3_factory}"
kind = "v3"
"""
    path = folder / "record.toml"
    path.write_text(text)
    return path


async def record(folder: Path, prices: Sequence[int], into: Path) -> str:
    """Record it; what the recorder said at the end."""
    made = Plan([("alpha", 0)], served_config(accounts={}, venues={"alpha": VenueTerms()}, keys={}))
    (folder / "again").mkdir()
    with running(folder / "again") as node, LogReader(exchange_log(folder, prices)) as reader:
        world = build(node)
        market = traders(node, world)
        async with Server(reader, made, WallClock()) as server:
            config = recorder_config(folder, node, world, server.addresses[0].rest)
            recorder = await Command.start("record", str(config), "--into", str(into))
            await asyncio.sleep(STILL_S)
            if recorder.process.returncode is not None:
                raise SystemExit((await recorder.end())[2])
            stop = threading.Event()
            moving = asyncio.create_task(asyncio.to_thread(market.run, stop))
            await asyncio.sleep(BLOCKS)
            stop.set()
            await moving
            await asyncio.sleep(1)
            recorder.process.send_signal(signal.SIGINT)
            code, out, err = await recorder.end()
            return out if code == 0 else out + err


def main() -> None:
    """Do it."""
    with tempfile.TemporaryDirectory(prefix="xarb-hedged-") as place:
        folder = Path(place)
        (folder / "once").mkdir()
        prices = foreseen(folder / "once")
        print(asyncio.run(record(folder, prices, Path(sys.argv[1]))))  # noqa: T201  # what a person reads


if __name__ == "__main__":
    main()
