"""A served exchange for tests: a small log, a clock that the test moves, and a client that signs.

The log: venue alpha, BTC/USDT with prices in cents and sizes in 0.00001 BTC, tick 0.01, lot 0.0001, least notional 5 USDT.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar
from urllib.parse import urlencode

import aiohttp
import msgspec
from yarl import URL

from tests.log.logs import START, Placed, book_row, connection, instrument
from tests.trial import MS, Rows, write_log
from xarb.log.reader import LogReader
from xarb.model.units import parse_money
from xarb.serve.clock import WallClock
from xarb.serve.config import KeyConfig, Limits, ServeConfig, VenueTerms
from xarb.serve.server import Plan, Server

KEY: Final = "test-key"
SECRET: Final = "test-secret"  # noqa: S105  # of a test's own exchange
READ_KEY: Final = "read-key"
SYMBOL: Final = "BTCUSDT"
LOTS: Final = 100_000  # one BTC
_T = TypeVar("_T")


def config(**changes: Any) -> ServeConfig:
    """One rich account with a key that trades and one that reads; 10 bps of what is received."""
    fields: dict[str, Any] = {
        "keys": {
            "trade": KeyConfig(account="main", api_key=KEY, secret=SECRET),
            "read": KeyConfig(account="main", api_key=READ_KEY, secret=SECRET, permissions=("read",)),
        },
        "accounts": {"main": {"alpha": {"USDT": Decimal(10_000), "BTC": Decimal(50)}}},
        "venues": {"alpha": VenueTerms()},
        "limits": Limits(frames_1s=1000),
    }
    return ServeConfig(**(fields | changes))


def head() -> Rows:
    """A connection and the instrument."""
    steps = {"tick_int": 1, "lot_int": 10, "min_qty": parse_money("0.0001"), "min_notional": parse_money("5")}
    return [(0, connection(0, "alpha")), (0, instrument(("alpha", "BTC/USDT"), 2, 5, native=SYMBOL, **steps))]


def book(bids: Sequence[tuple[int, int]], asks: Sequence[tuple[int, int]]) -> Placed:
    """A whole book: prices in cents, sizes in lots of 0.00001 BTC, best first."""
    row = {"conn": 0, "venue": "alpha", "symbol": "BTC/USDT", "px_scale": 2, "qty_scale": 5}
    return "books", row | book_row(bids, asks)


def trade(price: int, qty: int, aggressor: str = "buy") -> Placed:
    """A public trade."""
    row = {"conn": 0, "venue": "alpha", "symbol": "BTC/USDT", "price_int": price, "qty_int": qty, "aggressor": aggressor}
    return "trades", row | {"px_scale": 2, "qty_scale": 5}


STANDING: Final = book([(9_990, LOTS), (9_980, 2 * LOTS)], [(10_000, LOTS), (10_010, 2 * LOTS), (10_020, 3 * LOTS)])


class ManualClock(WallClock):
    """Wall time is the machine's; log time is what the test says."""

    def __init__(self) -> None:
        super().__init__()
        self._now = START
        self._moved = asyncio.Condition()
        self.idle = asyncio.Event()
        self.shift_ns = 0
        self.passed_ns = 0

    def mono_ns(self) -> int:
        """The machine's time and what the test lets pass."""
        return super().mono_ns() + self.passed_ns

    def wall_ns(self) -> int:
        """The machine's time and what the test adds to it."""
        return super().wall_ns() + self.shift_ns

    def start(self) -> None:
        """Log time is the test's."""

    def log_ns(self) -> int:
        """As the test set it."""
        return self._now

    def wall_of(self, log_ns: int) -> int:
        """Now."""
        del log_ns
        return self.wall_ns()

    async def wait_until(self, log_ns: int) -> None:
        """Until the test says so."""
        async with self._moved:
            self.idle.set()
            await self._moved.wait_for(lambda: self._now >= log_ns)

    async def set(self, log_ns: int) -> None:
        """Move log time."""
        async with self._moved:
            self.idle.clear()
            self._now = log_ns
            self._moved.notify_all()


class Reply(NamedTuple):
    """A reply: status, JSON and headers."""

    status: int
    body: Any
    headers: Any


class Site:
    """A served log and a client of it."""

    def __init__(self, server: Server, clock: ManualClock, http: aiohttp.ClientSession) -> None:
        self.server = server
        self.clock = clock
        self.http = http
        self.base = server.addresses[0].rest
        self.key = KEY
        self.secret = SECRET

    async def to(self, ms: int) -> None:
        """Let the market come to so many ms after its start."""
        await self.at(START + ms * MS)

    async def at(self, log_ns: int) -> None:
        """Let the market come to a log time."""
        self.server.market.begin()
        await self.clock.set(log_ns)
        waits = [asyncio.ensure_future(event.wait()) for event in (self.clock.idle, self.server.market.ended)]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for one in waits:
            one.cancel()

    async def get(self, path: str, **params: Any) -> Reply:
        """A public request."""
        return await self._read("GET", f"{path}?{urlencode(params)}" if params else path, {})

    async def signed(self, method: str, path: str, **params: Any) -> Reply:
        """A signed request; `timestamp` and `signature` may be given."""
        params = {"timestamp": self.clock.wall_ns() // MS, **params}
        given = params.pop("signature", None)
        query = urlencode(params)
        signature = given or hmac.new(self.secret.encode(), query.encode(), hashlib.sha256).hexdigest()
        return await self._read(method, f"{path}?{query}&signature={signature}", {"X-MBX-APIKEY": self.key})

    async def order(self, side: str, qty: str, price: str | None = None, **more: Any) -> Reply:
        """A limit order, or a market order without a price."""
        params = {"symbol": SYMBOL, "side": side, "type": "MARKET", "quantity": qty}
        if price is not None:
            params |= {"type": "LIMIT", "price": price, "timeInForce": "GTC"}
        params = {name: value for name, value in (params | more).items() if value is not None}
        return await self.signed("POST", "/api/v3/order", **params)

    async def listened(self, **counts: int) -> None:
        """Wait until the server counts so many streams or users that are listened to."""
        while True:
            status = (await self.get("/xarb/status")).body
            if all(status[name] >= count for name, count in counts.items()):
                return

    async def _read(self, method: str, path: str, headers: dict[str, str]) -> Reply:
        async with self.http.request(method, URL(self.base + path, encoded=True), headers=headers) as answer:
            text = await answer.text()
            try:
                return Reply(answer.status, msgspec.json.decode(text), answer.headers)
            except msgspec.DecodeError:
                return Reply(answer.status, text, answer.headers)

    def streams(self, path: str = "/ws") -> Any:
        """A socket on the streams."""
        return self.http.ws_connect(self.base + path)

    def requests(self) -> Any:
        """A socket of the WebSocket API."""
        return self.http.ws_connect(self.base + "/ws-api/v3?returnRateLimits=false")

    async def ask(self, ws: Any, method: str, params: dict[str, Any] | None = None, *, sign: bool = False) -> Any:
        """A request on a socket and its answer; user events that come before it are passed over."""
        values = dict(params or {})
        if sign:
            values |= {"apiKey": self.key, "timestamp": self.clock.wall_ns() // MS}
            payload = "&".join(f"{name}={values[name]}" for name in sorted(values))
            values["signature"] = hmac.new(self.secret.encode(), payload.encode(), hashlib.sha256).hexdigest()
        number = time.monotonic_ns()
        await ws.send_json({"id": number, "method": method, "params": values})
        while True:
            answer = await ws.receive_json()
            if answer.get("id") == number:
                return answer

    async def user_stream(self, ws: Any) -> None:
        """Subscribe the socket to the account's events."""
        answer = await self.ask(ws, "userDataStream.subscribe.signature", sign=True)
        assert answer["result"] == {"subscriptionId": 0}


@asynccontextmanager
async def serving(folder: Path, rows: Rows, **changes: Any) -> AsyncIterator[Site]:
    """Serve rows of venue alpha; `changes` are fields of Plan."""
    log = write_log(folder / "log", rows)
    async with serving_log(log, **changes) as site:
        yield site


@asynccontextmanager
async def serving_log(log: Path, venues: Sequence[str] = ("alpha",), **changes: Any) -> AsyncIterator[Site]:
    """Serve venues of a log."""
    clock = ManualClock()
    with LogReader(log) as reader:
        fields: dict[str, Any] = {"venues": [(venue, 0) for venue in venues], "config": config()}
        plan = Plan(**(fields | changes))
        async with Server(reader, plan, clock) as server, aiohttp.ClientSession() as http:
            yield Site(server, clock, http)


def run(test: Coroutine[Any, Any, _T], seconds: float = 30.0) -> _T:
    """Run a test's coroutine, at most so long."""

    async def bounded() -> _T:
        return await asyncio.wait_for(test, seconds)

    return asyncio.run(bounded())
