"""ccxt's binance client against the served exchange: with URLs overridden, and unchanged under the real host names."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import ccxt.pro
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from tests.serve.site import KEY, LOTS, SECRET, STANDING, Site, book, config, head, run, serving, trade
from tests.trial import Rows
from xarb.serve.binance.app import HOSTS
from xarb.serve.certificates import AUTHORITY, tls_context
from xarb.serve.config import KeyConfig

PAIR = "BTC/USDT"
ROWS: Rows = [*head(), (10, STANDING)]
SPOT = {"defaultType": "spot", "fetchMarkets": {"types": ["spot"]}, "fetchCurrencies": False, "fetchMargins": False}


@asynccontextmanager
async def client(site: Site, secret: str = SECRET, key: str = KEY) -> AsyncIterator[Any]:
    """A ccxt.pro client whose addresses are the server's."""
    exchange = ccxt.pro.binance({"apiKey": key, "secret": secret, "enableRateLimit": False, "options": SPOT})
    urls: Any = exchange.urls
    base, sockets = site.base, site.base.replace("http", "ws")
    urls["api"] |= {"public": f"{base}/api/v3", "private": f"{base}/api/v3", "v1": f"{base}/api/v1", "sapi": f"{base}/sapi/v1"}
    urls["api"]["ws"] |= {"spot": f"{sockets}/stream/ws", "ws-api": {"spot": f"{sockets}/ws-api/v3"}}
    try:
        yield exchange
    finally:
        await exchange.close()


def test_market_data(tmp_path: Path) -> None:
    """Markets with their filters, book, tickers and trades; what is watched follows the market."""
    rows: Rows = [*ROWS, (20, book([(9_992, LOTS)], [(10_001, LOTS)])), (30, trade(10_001, LOTS))]

    async def test() -> None:
        async with serving(tmp_path, rows) as site, client(site) as exchange:
            await site.to(10)
            market = (await exchange.load_markets())[PAIR]
            assert market["precision"]["price"] == 0.01
            assert (market["precision"]["amount"], market["limits"]["amount"]["min"], market["limits"]["cost"]["min"]) == (
                0.0001,
                0.0001,
                5.0,
            )
            assert abs(await exchange.fetch_time() - exchange.milliseconds()) < 1000
            assert (await exchange.fetch_order_book(PAIR))["asks"][0] == [100.0, 1.0]
            watched = [asyncio.ensure_future(one) for one in (exchange.watch_bids_asks([PAIR]), exchange.watch_trades(PAIR))]
            watched.append(asyncio.ensure_future(exchange.watch_order_book(PAIR)))
            await site.listened(streams=3)
            await site.to(30)
            quote, trades, depth = await asyncio.gather(*watched)
            assert (quote[PAIR]["bid"], quote[PAIR]["ask"]) == (99.92, 100.01)
            assert (trades[-1]["price"], trades[-1]["amount"], trades[-1]["side"]) == (100.01, 1.0, "buy")
            while depth["bids"][0] != [99.92, 1.0]:  # the snapshot came first, the difference follows within 100 ms
                depth = await exchange.watch_order_book(PAIR)
            ticker = await exchange.fetch_ticker(PAIR)
            assert (ticker["last"], ticker["baseVolume"]) == (100.01, 1.0)
            assert (await exchange.fetch_bids_asks([PAIR]))[PAIR]["bid"] == 99.92
            assert (await exchange.fetch_trades(PAIR))[-1]["price"] == 100.01
            assert (await exchange.fetch_ohlcv(PAIR, "1m"))[-1][4] == 100.01

    run(test())


def test_orders_over_rest_and_socket(tmp_path: Path) -> None:
    """Place, look up, cancel, list, fees, balances, and the user stream."""

    async def test() -> None:
        async with serving(tmp_path, ROWS) as site, client(site) as exchange:
            await site.to(10)
            await exchange.load_markets()
            news = asyncio.ensure_future(exchange.watch_orders(PAIR))
            await site.listened(users=1)
            order = await exchange.create_order(PAIR, "limit", "buy", 1.5, 100.05, {"timeInForce": "IOC", "clientOrderId": "a-1"})
            assert (order["status"], order["filled"], order["average"], order["clientOrderId"]) == ("expired", 1.0, 100.0, "a-1")
            assert order["fee"] == {"currency": "BTC", "cost": 0.001}
            assert (await news)[0]["clientOrderId"] == "a-1"
            rests = await exchange.create_order_ws(PAIR, "limit", "buy", 0.5, 99.0)
            assert rests["status"] == "open"
            assert [one["id"] for one in await exchange.fetch_open_orders(PAIR)] == [rests["id"]]
            assert (await exchange.fetch_order_ws(rests["id"], PAIR))["status"] == "open"
            assert (await exchange.fetch_balance())["USDT"]["used"] == 49.5
            told = (await exchange.fetch_balance_ws())["info"]["balances"]  # ccxt 4.5.90 parses no spot balance of this answer
            assert {"asset": "USDT", "free": "9850.50000000", "locked": "49.50000000"} in told
            assert (await exchange.cancel_order_ws(rests["id"], PAIR))["status"] == "canceled"
            market = await exchange.create_order(PAIR, "market", "sell", 0.25)
            assert (market["status"], market["average"]) == ("closed", 99.9)
            assert len(await exchange.fetch_orders(PAIR)) == 3
            mine = await exchange.fetch_my_trades(PAIR)
            assert [(one["side"], one["amount"], one["takerOrMaker"]) for one in mine] == [
                ("buy", 1.0, "taker"),
                ("sell", 0.25, "taker"),
            ]
            assert (await exchange.fetch_trading_fees())[PAIR]["taker"] == 0.001
            assert (await exchange.sapi_get_account_apirestrictions())["enableWithdrawals"] is False
            exchange.options["fetchCurrencies"] = True
            coins = await exchange.fetch_currencies()
            assert (coins["BTC"]["deposit"], coins["BTC"]["withdraw"]) == (True, True)
            assert await exchange.fetch_deposits() == []

    run(test())


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda x: x.create_order(PAIR, "limit", "buy", 1000, 100), "InsufficientFunds"),
        (lambda x: x.create_order(PAIR, "limit", "buy", 1, 101, {"postOnly": True}), "OrderImmediatelyFillable"),
        (lambda x: x.fetch_order("99", PAIR), "OrderNotFound"),
        (lambda x: x.cancel_order("99", PAIR), "OrderNotFound"),
        (lambda x: x.create_order(PAIR, "limit", "buy", 0.01, 100), "BadRequest"),
        (lambda x: x.cancel_order_ws("99", PAIR), "OrderNotFound"),
    ],
)
def test_errors_are_mapped_as_in_production(tmp_path: Path, call: Any, error: str) -> None:
    """ccxt knows each refusal by its code and text."""

    async def test() -> None:
        async with serving(tmp_path, ROWS) as site, client(site) as exchange:
            await site.to(10)
            await exchange.load_markets()
            with pytest.raises(getattr(ccxt, error)):
                await call(exchange)

    run(test())


def test_a_wrong_secret_and_ed25519(tmp_path: Path) -> None:
    """HMAC with another secret is refused; an Ed25519 key signs over REST and on the socket."""
    private = Ed25519PrivateKey.generate()
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode().strip()
    public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    keys = config().keys | {"curve": KeyConfig(account="main", api_key="curve-key", public_key=public)}

    async def test() -> None:
        async with serving(tmp_path, ROWS, config=config(keys=keys)) as site:
            await site.to(10)
            async with client(site, "wrong") as wrong:
                with pytest.raises(ccxt.AuthenticationError):
                    await wrong.fetch_balance()
            async with client(site, pem, "curve-key") as exchange:
                assert (await exchange.fetch_balance())["USDT"]["free"] == 10_000.0
                assert (await exchange.create_order_ws(PAIR, "limit", "buy", 0.5, 100.0))["status"] == "closed"

    run(test())


class Resolver(AbstractResolver):
    """Sends the exchange's real names to the server, and nothing anywhere else."""

    def __init__(self, port: int, hosts: Sequence[str] = HOSTS) -> None:
        self._port = port
        self._hosts = hosts
        self.asked: list[str] = []

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> list[ResolveResult]:
        """127.0.0.1 for the names of the certificate."""
        del port, family
        assert host in self._hosts, f"{host} is none of ours"
        self.asked.append(host)
        return [
            ResolveResult(
                hostname=host, host="127.0.0.1", port=self._port, family=socket.AF_INET, proto=0, flags=socket.AI_NUMERICHOST
            )
        ]

    async def close(self) -> None:
        """Nothing to close."""


def test_real_host_names(tmp_path: Path) -> None:
    """No URL is overridden: only the resolver and the trusted authority are ours; error classes are production's."""

    async def test() -> None:
        tls = tls_context(tmp_path / "tls", HOSTS)
        async with serving(tmp_path, ROWS, tls=tls) as site:
            trust = ssl.create_default_context(cafile=str(tmp_path / "tls" / AUTHORITY))
            resolver = Resolver(site.server.addresses[0].port)
            connector = aiohttp.TCPConnector(resolver=resolver, ssl=trust)
            session = aiohttp.ClientSession(connector=connector)
            exchange: Any = ccxt.pro.binance({"apiKey": KEY, "secret": SECRET, "enableRateLimit": False, "options": SPOT})
            exchange.session, exchange.ssl_context = session, trust
            try:
                site.server.market.begin()
                await site.clock.set(site.clock.log_ns() + 10_000_000)
                await site.server.market.ended.wait()
                assert list(await exchange.load_markets()) == [PAIR]
                assert (await exchange.watch_order_book(PAIR))["asks"][0] == [100.0, 1.0]
                assert (await exchange.create_order_ws(PAIR, "limit", "buy", 0.5, 100.0))["status"] == "closed"
                assert (await exchange.create_order(PAIR, "market", "sell", 0.25))["status"] == "closed"
                with pytest.raises(ccxt.InsufficientFunds):
                    await exchange.create_order(PAIR, "limit", "buy", 1000, 100)
                assert set(resolver.asked) == set(HOSTS) - {"localhost"}
            finally:
                await exchange.close()
                await session.close()

    run(test())
