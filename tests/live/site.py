"""Two served exchanges that replay a market on loopback, and who trades there with orders that are real to them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import aiohttp

from tests.log.logs import connection, instrument
from tests.serve.site import KEY, SECRET, config
from tests.trial import LOT, Rows, tick, write_log
from xarb.board import Board
from xarb.config import load_experiment
from xarb.live.exchanges import accounts_of
from xarb.live.session import Session
from xarb.log.committer import Policy
from xarb.log.reader import LogReader
from xarb.model.units import parse_money
from xarb.serve.clock import WallClock
from xarb.serve.config import KeyConfig, VenueTerms
from xarb.serve.faults import Fault
from xarb.serve.server import Plan, Server
from xarb.sources import market_sources
from xarb.starts import LIVE
from xarb.venues.account import Account

PHRASE = "test-phrase"
QUICK = Policy(reserve_bytes=4096, separate=False)
VENUES = ("alpha", "bravo")
SECONDS = 120
CONFIG = """
[live]
mode = "live"
stop_ms = 8000

[breakers]
residual_held = false  # the market jumps to and fro, and nobody is there who would reset one

[strategies.cross]
kind = "micro"
min_profit_bps = 1
min_profit_quote = 0.01
max_notional_quote = 200
cool_down_ms = 100
latency_threshold_ms = 3000
execution_timeout_ms = 3000
"""
VENUE = """
[markets.{venue}]
exchange = "{wire}"
symbols = ["BTC/USDT"]
channels = ["quotes"]
rest_url = "{rest}"
stream_url = "{streams}"

[venues.{venue}]
fees = "synthetic-{venue}"

[accounts.main.{venue}]
"""
MONEY = {"USDT": 100_000, "BTC": 50}

TRADED = dict.fromkeys(VENUES, ("BTC/USDT",))


def market(folder: Path) -> Path:
    """Two minutes in which bravo is 1 % dearer, or cheaper, for half of every second."""
    steps = {"tick_int": 1, "lot_int": 10, "min_qty": parse_money("0.0001"), "min_notional": parse_money("5")}
    rows: Rows = []
    for number, venue in enumerate(VENUES):
        rows.append((0, connection(number, venue)))
        rows.append((0, instrument((venue, "BTC/USDT"), 2, 5, native="BTCUSDT", **steps)))
    for at in range(0, SECONDS * 1000, 50):
        apart = (100 if at // 1000 % 2 else -100) if at % 1000 < 500 else 0
        rows.append((at, tick("alpha", 10_000 + at // 50 % 3, 10_010 + at // 50 % 3, size=LOT)))
        rows.append((at + 1, tick("bravo", 10_000 + apart, 10_010 + apart, size=LOT)))
    return write_log(folder / "market", rows)


class Site:
    """Two served exchanges and the config of who trades there."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.server, self.folder = server, folder
        parts = {
            one.venue: VENUE.format(venue=one.venue, wire=one.wire, rest=one.rest, streams=one.rest.replace("http", "ws"))
            for one in server.addresses
        }
        self.config = folder / "live.toml"
        self.config.write_text(CONFIG + "".join(parts.values()))

    async def ask(self, venue: str, what: str) -> Any:
        """The server's own word, such as `orders`."""
        rest = next(one.rest for one in self.server.addresses if one.venue == venue)
        async with aiohttp.ClientSession() as http, http.get(f"{rest}/xarb/{what}?account=main") as answer:
            return await answer.json()


@contextlib.asynccontextmanager
async def site(
    folder: Path,
    faults: tuple[Fault, ...] = (),
    *,
    wire: str = "binance",
    clock: WallClock | None = None,
    plan: Mapping[str, Any] = MappingProxyType({}),
    **changes: Any,
) -> AsyncIterator[Site]:
    """Serve the market from now on, once as fast as it was, in the protocol of an exchange; `plan` and `changes` go before what is usual."""
    secrets = {"API_KEY": KEY, "API_SECRET": SECRET, "PASSWORD": PHRASE}
    os.environ.update({f"XARB_{venue.upper()}_MAIN_{name}": text for venue in VENUES for name, text in secrets.items()})
    changes = {"keys": {"trade": KeyConfig(account="main", api_key=KEY, secret=SECRET, passphrase=PHRASE)}} | changes
    terms = dict.fromkeys(VENUES, VenueTerms())
    accounts = {"main": dict.fromkeys(VENUES, MONEY)}
    served = config(accounts=accounts, venues=terms, **changes)
    more = {"wires": dict.fromkeys(VENUES, wire), **plan}
    made = Plan([(venue, 0) for venue in VENUES], served, faults=faults, **more)
    with LogReader(market(folder)) as reader:
        async with Server(reader, made, clock or WallClock()) as server:
            yield Site(server, folder)


async def traded(at: Site, log: Path, until: Callable[[Session], bool]) -> Session:
    """Trade until something holds and all bundles have ended, then stop as Ctrl-C does."""
    session = Session(load_experiment(at.config), log, mode=LIVE, policy=QUICK)
    task = asyncio.create_task(session.run(None, Board(None)))
    async with asyncio.timeout(90):
        while not (task.done() or (hasattr(session, "summary") and until(session) and not session.open_bundles())):  # noqa: ASYNC110  # no event
            await asyncio.sleep(0.02)
        if not task.done():
            os.kill(os.getpid(), signal.SIGINT)
        await task
    return session


def filled(count: int) -> Callable[[Session], bool]:
    """Whether so many bundles were sent."""
    return lambda session: session.summary.bundles >= count


@contextlib.asynccontextmanager
async def account_at(at: Site, venue: str) -> AsyncIterator[Account]:
    """The account at a venue, open."""
    found = accounts_of(load_experiment(at.config), market_sources(load_experiment(at.config)), TRADED)
    try:
        [account] = found[venue]
        await account.open()
        yield account
    finally:
        for accounts in found.values():
            for one in accounts:
                await one.close()


async def rest(account: Account, name: str) -> None:
    """An order of the account, far from the market, under any name."""
    order = {"type": "LIMIT", "timeInForce": "GTC", "quantity": "0.5", "price": "50", "newClientOrderId": name}
    await account.client.privatePostOrder({"symbol": "BTCUSDT", "side": "BUY"} | order)


async def account_order(at: Site, venue: str, name: str) -> None:
    """The same of an account that is opened for it."""
    async with account_at(at, venue) as account:
        await rest(account, name)


async def left_order(at: Site, log: Path) -> str:
    """Trade a bundle and stop; then an order is open at alpha that the log does not know, with a name of its start."""
    await traded(at, log, filled(1))
    with LogReader(log) as reader:
        name = f"{reader.header.log_id[:8]}-1-9999"
    await account_order(at, "alpha", name)
    return name


async def statuses(at: Site, venue: str) -> dict[str, str]:
    """By client id, how the exchange says that orders stand."""
    return {order["client_id"]: order["status"] for order in await at.ask(venue, "orders")}
