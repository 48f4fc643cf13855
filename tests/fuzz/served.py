"""Fuzzed: what strangers send: requests and frames of clients to a served exchange, and private streams of an exchange to us."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import hashlib
import hmac
import logging
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random
from typing import Any, Final
from urllib.parse import quote

import aiohttp
import msgspec
from yarl import URL

from tests.fuzz.targets import CORPUS, Target
from tests.serve.site import KEY, SECRET, STANDING, Site, config, head, serving
from xarb.model.units import NANOS_PER_S
from xarb.serve.config import KeyConfig, Limits, load_config
from xarb.serve.faults import load_faults
from xarb.venues.replies import OrderSaid, TradeSaid, UnreadableReply
from xarb.venues.userwires import BinanceUserSession, Names, OkxUserSession, Told, UserSession

_PHRASE: Final = "test-phrase"
_PLENTY: Final = 10**9
_LIMITS: Final = Limits(weight_1m=_PLENTY, orders_10s=_PLENTY, orders_1d=_PLENTY, connections_5m=_PLENTY, frames_1s=_PLENTY)
_ANSWER_S: Final = 5.0
_WIRES: Final = ("binance", "okx")


def served(folder: Path) -> list[Target]:
    """All of them, with what they write kept in `folder`."""
    return [*(_server(folder, wire) for wire in _WIRES), *(_user(wire) for wire in _WIRES), *_tables(folder)]


class _Client:
    """A served exchange in this process and a client of it, on a loop of their own that runs while a case is fed."""

    def __init__(self, folder: Path, wire: str) -> None:
        self._wire = wire
        logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)  # tells of every request that is no HTTP
        self._loop = asyncio.new_event_loop()
        self._stack = AsyncExitStack()
        keys = {"it": KeyConfig(account="main", api_key=KEY, secret=SECRET, passphrase=_PHRASE)}
        plan = {"wires": {"alpha": wire}, "config": config(keys=keys, limits=_LIMITS)}
        opening = self._stack.enter_async_context(serving(folder, [*head(), (10, STANDING)], **plan))
        self._site: Site = self._loop.run_until_complete(opening)
        self._loop.run_until_complete(self._site.to(10))

    def feed(self, data: bytes, random: Random) -> None:
        """One case: a method, a path, and what goes with it; or WS, a path, and a frame.

        Raises:
            Exception: what ended the server.
        """
        self._loop.run_until_complete(self._fed(data, random))

    async def _fed(self, data: bytes, random: Random) -> None:
        method, path, rest = [*data.decode("utf-8", "surrogateescape").split(" ", 2), "", ""][:3]
        self._site.clock.passed_ns += 3 * NANOS_PER_S  # so that OKX's limits, which are of 2 s, do not end the case
        self._site.clock.shift_ns += 3 * NANOS_PER_S
        try:
            async with asyncio.timeout(_ANSWER_S):
                if method == "WS":
                    await self._frame(path, rest, is_signed=bool(random.randrange(4)))
                else:
                    await self._request(method, path, rest, is_signed=bool(random.randrange(4)))
        except (aiohttp.ClientError, ValueError, OSError):
            pass  # what no client can send, or what the server ended
        broken = self._site.server._broken  # a bug that was met while answering
        if broken is not None:
            raise broken

    async def _request(self, method: str, path: str, rest: str, *, is_signed: bool) -> None:
        headers: dict[str, str] = {}
        now = self._site.clock.wall_ns()
        query, body = (rest, "") if method in {"GET", "DELETE"} or self._wire == "binance" else ("", rest)
        query = quote(query, safe="=&%,[]{}:\"'+-_.", errors="surrogateescape")
        if is_signed and self._wire == "binance":
            query = f"{query}&timestamp={now // 10**6}"
            query += f"&signature={hmac.new(SECRET.encode(), query.encode(), hashlib.sha256).hexdigest()}"
            headers = {"X-MBX-APIKEY": KEY}
        elif is_signed:
            stamp = dt.datetime.fromtimestamp(now / NANOS_PER_S, dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
            target = f"{path}?{query}" if query else path
            payload = f"{stamp}{method}{target}{body.encode('utf-8', 'surrogateescape').decode('utf-8', 'replace')}"
            sign = base64.b64encode(hmac.new(SECRET.encode(), payload.encode(), hashlib.sha256).digest()).decode()
            headers = {"OK-ACCESS-KEY": KEY, "OK-ACCESS-PASSPHRASE": _PHRASE, "OK-ACCESS-TIMESTAMP": stamp, "OK-ACCESS-SIGN": sign}
        url = URL(f"{self._site.base}{path}{'?' if query else ''}{query}", encoded=True)
        data = body.encode("utf-8", "surrogateescape") or None
        async with self._site.http.request(method, url, data=data, headers=headers) as answer:
            await answer.read()

    async def _frame(self, path: str, text: str, *, is_signed: bool) -> None:
        async with self._site.http.ws_connect(URL(self._site.base + path, encoded=True)) as socket:
            if is_signed:
                await socket.send_str(self._signed_frame(text))
                await socket.receive()
            await socket.send_bytes(text.encode("utf-8", "surrogateescape"))
            await socket.send_str("ping")
            await socket.receive()

    def _signed_frame(self, text: str) -> str:
        """Binance: the frame with its parameters signed, where it has some; OKX: a login before it."""
        now = self._site.clock.wall_ns()
        if self._wire == "okx":
            stamp = str(now // NANOS_PER_S)
            sign = hmac.new(SECRET.encode(), f"{stamp}GET/users/self/verify".encode(), hashlib.sha256).digest()
            words = {"apiKey": KEY, "passphrase": _PHRASE, "timestamp": stamp, "sign": base64.b64encode(sign).decode()}
            return msgspec.json.encode({"op": "login", "args": [words]}).decode()
        try:
            frame = msgspec.json.decode(text.encode("utf-8", "surrogateescape"))
            values: dict[str, Any] = {**frame["params"], "apiKey": KEY, "timestamp": now // 10**6}
            payload = "&".join(f"{name}={values[name]}" for name in sorted(values))
            values["signature"] = hmac.new(SECRET.encode(), payload.encode(), hashlib.sha256).hexdigest()
            return msgspec.json.encode({**frame, "params": values}).decode()
        except (msgspec.MsgspecError, LookupError, TypeError, ValueError, RecursionError):
            return '{"id":1,"method":"ping"}'

    def close(self) -> None:
        """End server, client and loop."""
        self._loop.run_until_complete(self._stack.aclose())
        self._loop.close()


def _server(folder: Path, wire: str) -> Target:
    client = _Client(folder / f"served {wire}", wire)
    lines = (CORPUS / "served" / f"{wire}.txt").read_bytes().splitlines()
    return Target(f"served {wire}", lines, client.feed, client.close)


def _user(wire: str) -> Target:
    """Frames between sound ones; what is taken of them has the types that it says."""
    lines = (CORPUS / "users" / f"{wire}.txt").read_bytes().splitlines()
    names = Names({"ETHBTC": "ETH/BTC", "BTC-USDT": "BTC/USDT"}, lambda code: {"XBT": "BTC"}.get(code, code))

    def session() -> UserSession:
        return BinanceUserSession(lambda given: given, names) if wire == "binance" else OkxUserSession(dict, names)

    def feed(data: bytes, random: Random) -> None:
        taking = session()
        for frame in (random.choice(lines), data, random.choice(lines)):
            try:
                items, _ = taking.take(frame.decode("utf-8", "replace"))  # no other text comes out of a socket
            except UnreadableReply:
                continue
            for item in items:
                if isinstance(item, Told):
                    for part, kind in ((item.order, OrderSaid), (item.trade, TradeSaid | None)):
                        msgspec.convert(msgspec.to_builtins(part), kind)
                else:
                    assert all(isinstance(value, str | int | None) for value in item)

    return Target(f"user stream {wire}", lines, feed)


def _tables(folder: Path) -> list[Target]:
    """The TOML files of `xarb serve`."""
    found = []
    for name, read in (("config", load_config), ("faults", load_faults)):
        path = folder / f"serve-{name}.toml"

        def feed(data: bytes, random: Random, path: Path = path, read: Any = read) -> None:
            del random
            path.write_bytes(data)
            read(path)

        found.append(Target(f"serve {name}", [(CORPUS / "served" / f"{name}.toml").read_bytes()], feed))
    return found
