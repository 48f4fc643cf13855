"""How long does an order take through the live venue: to the network, to its acknowledgement, and beside bare ccxt on the same server?

The server is `tests/venues/exchange_server.py` in a process of its own; every order is signed, sent by REST, filled and reported. Times are of
the client. `pushes` is off, so that every acknowledgement is the reply's.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import time
from typing import Any, Final

import uvloop

from tests.venues.exchange_server import KEY, SECRET, SmallExchange
from tests.venues.trader import trading
from xarb.venues.budgets import Limit
from xarb.venues.exchange import Place, exchange

ORDERS: Final = 1_000
_SERVER: Final = "--serve"


async def _serve() -> None:
    server = SmallExchange()
    server.is_mute = True
    async with server.serving():
        print(server.url, flush=True)
        await asyncio.Event().wait()


async def _venue(url: str) -> tuple[list[float], list[float]]:
    """Microseconds from the command to the row that says that it left, and to the acknowledgement."""
    server = SmallExchange()
    server.url = url
    handed, told = [], []
    plenty = (Limit(count=1_000_000, seconds=1),)
    async with trading(server, order_limits=plenty) as at:
        for number in range(1, ORDERS + 1):
            begun = time.perf_counter()
            await at.submit(number)
            handed.append((time.perf_counter() - begun) * 1e6)
            await at.until(lambda events: "accepted" in events, number)
            told.append((time.perf_counter() - begun) * 1e6)
            at.rows.clear()
    return handed, told


async def _ccxt(url: str) -> list[float]:
    """Microseconds of `create_order` of a plain ccxt client without its limiter."""
    options = {"apiKey": KEY, "secret": SECRET, "enableRateLimit": False, "options": {"fetchMarkets": {"types": ["spot"]}}}
    client: Any = exchange("binance", options=options, place=Place(rest_url=f"http://{url}"))
    client.has = {**client.has, "fetchCurrencies": False}
    client.options["fetchMargins"] = False
    await client.load_markets()
    found = []
    for _ in range(ORDERS):
        begun = time.perf_counter()
        await client.create_order("BTC/USDT", "limit", "buy", 1, 60_000.01, {"timeInForce": "IOC"})
        found.append((time.perf_counter() - begun) * 1e6)
    await client.close()
    return found


def _line(name: str, values: list[float], base: float) -> None:
    cuts = statistics.quantiles(values, n=100)
    print(f"{name:42} p50 {cuts[49]:7.0f} us   p99 {cuts[98]:7.0f} us   {cuts[49] / base:5.2f} of ccxt's round trip", flush=True)


def main() -> None:
    """Print the figures of both."""
    command = [sys.executable, "-m", "bench.real_orders", _SERVER]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        try:
            bare = uvloop.run(_ccxt(url))
            handed, told = uvloop.run(_venue(url))
        finally:
            server.terminate()
    base = statistics.median(bare)
    _line("ccxt create_order, there and back", bare, base)
    _line("command to the network", handed, base)
    _line("command to the acknowledgement as a row", told, base)


if __name__ == "__main__":
    if _SERVER in sys.argv:
        asyncio.run(_serve())
    else:
        main()
