"""The second wire: OKX v5 through ccxt, through our own decoder, and request by request."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import hashlib
import hmac
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import ccxt.pro
import msgspec
import pytest

from tests.serve.books import Sides, applied
from tests.serve.site import KEY, LOTS, READ_KEY, SECRET, STANDING, Site, book, config, head, run, serving, serving_log, trade
from tests.serve.test_ccxt import Resolver
from tests.serve.test_streams import final_book
from tests.trial import Rows
from xarb.log.reader import LogReader
from xarb.model.units import NANOS_PER_S
from xarb.serve.certificates import AUTHORITY, tls_context
from xarb.serve.config import KeyConfig, Limits, ServeConfig
from xarb.serve.faults import Fault
from xarb.serve.okx.app import HOSTS
from xarb.wires.decimals import Listing
from xarb.wires.events import APPLY, DepthEvent, LinkEvent, QuoteEvent, RejectEvent, TradeEvent
from xarb.wires.okx import OkxSession
from xarb.wires.session import Send

ROOT = Path(__file__).resolve().parents[2]
PAIR, NAME = "BTC/USDT", "BTC-USDT"
PHRASE = "test-phrase"
ROWS: Rows = [*head(), (10, STANDING)]
OKX = {"alpha": "okx"}
LIMIT = {"instId": NAME, "tdMode": "cash", "side": "buy", "ordType": "limit", "sz": "0.5", "px": "90"}


def okx_config(**changes: Any) -> ServeConfig:
    """The usual accounts; the keys have a passphrase."""
    keys = {
        "trade": KeyConfig(account="main", api_key=KEY, secret=SECRET, passphrase=PHRASE),
        "read": KeyConfig(account="main", api_key=READ_KEY, secret=SECRET, passphrase=PHRASE, permissions=("read",)),
    }
    return config(keys=keys, **changes)


def site_of(folder: Path, rows: Rows = ROWS, **changes: Any) -> Any:
    """A served alpha that speaks OKX."""
    return serving(folder, rows, **({"wires": OKX, "config": okx_config()} | changes))


@asynccontextmanager
async def client(site: Site) -> AsyncIterator[Any]:
    """A ccxt.pro client whose addresses are the server's."""
    options = {"fetchMarkets": {"types": ["spot"]}, "defaultType": "spot"}
    keys = {"apiKey": KEY, "secret": SECRET, "password": PHRASE}
    exchange = ccxt.pro.okx({**keys, "enableRateLimit": False, "options": options})
    urls: Any = exchange.urls
    urls["api"] |= {"rest": site.base, "ws": f"{site.base.replace('http', 'ws')}/ws/v5"}
    try:
        yield exchange
    finally:
        await exchange.close()


def test_market_data_through_ccxt(tmp_path: Path) -> None:
    """Markets, books, tickers, trades and candles; what is watched follows the market."""
    rows: Rows = [*ROWS, (20, book([(9_992, LOTS)], [(10_001, LOTS)])), (30, trade(10_001, LOTS))]

    async def test() -> None:
        async with site_of(tmp_path, rows) as site, client(site) as exchange:
            await site.to(10)
            market = (await exchange.load_markets())[PAIR]
            assert (market["id"], market["precision"]["price"], market["precision"]["amount"]) == (NAME, 0.01, 0.0001)
            assert market["limits"]["amount"]["min"] == 0.0001
            assert abs(await exchange.fetch_time() - exchange.milliseconds()) < 1000
            assert (await exchange.fetch_order_book(PAIR))["asks"][0][:2] == [100.0, 1.0]
            calls = (exchange.watch_order_book(PAIR), exchange.watch_trades(PAIR), exchange.watch_ticker(PAIR))
            watched = [asyncio.ensure_future(one) for one in calls]
            await site.listened(streams=3)
            await site.to(30)
            depth, trades, ticker = await asyncio.gather(*watched)
            while depth["bids"][0][:2] != [99.92, 1.0]:
                depth = await exchange.watch_order_book(PAIR)
            assert (trades[-1]["price"], trades[-1]["amount"], trades[-1]["side"]) == (100.01, 1.0, "buy")
            assert ticker["bid"] in {99.9, 99.92}
            quote = await exchange.watch_bids_asks([PAIR])
            assert (quote[PAIR]["bid"], quote[PAIR]["ask"]) == (99.92, 100.01)
            assert (await exchange.fetch_ticker(PAIR))["last"] == 100.01
            assert (await exchange.fetch_trades(PAIR))[-1]["price"] == 100.01
            assert (await exchange.fetch_ohlcv(PAIR, "1m"))[-1][4] == 100.01

    run(test())


def test_orders_through_ccxt(tmp_path: Path) -> None:
    """REST and socket orders, their user stream, lists, fills, fees and balances."""

    async def test() -> None:
        async with site_of(tmp_path) as site, client(site) as exchange:
            await site.to(10)
            await exchange.load_markets()
            news = asyncio.ensure_future(exchange.watch_orders(PAIR))
            await site.listened(users=1)
            made = await exchange.create_order(PAIR, "limit", "buy", 1.5, 100.05, {"timeInForce": "IOC", "clOrdId": "a1"})
            assert (await news)[0]["clientOrderId"] == "a1"
            order = await exchange.fetch_order(made["id"], PAIR)
            assert (order["status"], order["filled"], order["average"]) == ("canceled", 1.0, 100.0)
            assert order["fee"] == {"currency": "BTC", "cost": 0.001}
            rests = await exchange.create_order_ws(PAIR, "limit", "buy", 0.5, 99.0)
            assert [one["id"] for one in await exchange.fetch_open_orders(PAIR)] == [rests["id"]]
            assert (await exchange.fetch_balance())["USDT"]["used"] == 49.5
            await exchange.cancel_order_ws(rests["id"], PAIR)
            assert (await exchange.fetch_order(rests["id"], PAIR))["status"] == "canceled"
            sold = await exchange.create_order(PAIR, "market", "sell", 0.25)
            assert (await exchange.fetch_order(sold["id"], PAIR))["average"] == 99.9
            await exchange.create_market_buy_order_with_cost(PAIR, 50)
            mine = await exchange.fetch_my_trades(PAIR)
            assert [(one["side"], one["takerOrMaker"]) for one in mine] == [("buy", "taker"), ("sell", "taker"), ("buy", "taker")]
            assert mine[-1]["cost"] <= 50
            assert (await exchange.fetch_trading_fee(PAIR))["taker"] == 0.001
            assert (await exchange.fetch_currencies())["BTC"]["withdraw"] is True
            balances = (await site.get("/xarb/balances")).body["main"]
            assert (await exchange.fetch_balance())["BTC"]["total"] == float(balances["BTC"])

    run(test())


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda x: x.create_order(PAIR, "limit", "buy", 1000, 100), "InsufficientFunds"),
        (lambda x: x.fetch_order("99", PAIR), "OrderNotFound"),
        (lambda x: x.cancel_order("99", PAIR), "OrderNotFound"),
        (lambda x: x.create_order_ws(PAIR, "limit", "buy", 1000, 100), "InsufficientFunds"),
    ],
)
def test_errors_are_mapped_as_in_production(tmp_path: Path, call: Any, error: str) -> None:
    """ccxt knows each refusal by its code."""

    async def test() -> None:
        async with site_of(tmp_path) as site, client(site) as exchange:
            await site.to(10)
            await exchange.load_markets()
            with pytest.raises(getattr(ccxt, error)):
                await call(exchange)

    run(test())


async def signed(site: Site, method: str, path: str, body: Any = None, **changed: str) -> tuple[int, Any]:
    """A signed request with changed headers; status and answer."""
    text = "" if body is None else msgspec.json.encode(body).decode()
    stamp = dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    headers = {"OK-ACCESS-KEY": KEY, "OK-ACCESS-PASSPHRASE": PHRASE, "OK-ACCESS-TIMESTAMP": stamp} | changed
    payload = f"{headers['OK-ACCESS-TIMESTAMP']}{method}/api/v5/{path}{text}"
    sign = base64.b64encode(hmac.new(SECRET.encode(), payload.encode(), hashlib.sha256).digest()).decode()
    headers = {name: value for name, value in ({"OK-ACCESS-SIGN": sign} | headers | changed).items() if value}
    async with site.http.request(method, f"{site.base}/api/v5/{path}", data=text or None, headers=headers) as answer:
        return answer.status, msgspec.json.decode(await answer.read())


@pytest.mark.parametrize(
    ("changed", "status", "code"),
    [
        ({"OK-ACCESS-KEY": ""}, 401, "50103"),
        ({"OK-ACCESS-KEY": "nobody"}, 401, "50111"),
        ({"OK-ACCESS-PASSPHRASE": "wrong"}, 401, "50105"),
        ({"OK-ACCESS-TIMESTAMP": "2020-01-01T00:00:00.000Z"}, 401, "50102"),
        ({"OK-ACCESS-TIMESTAMP": "noon"}, 401, "50112"),
        ({"OK-ACCESS-SIGN": "AAAA"}, 401, "50113"),
        ({"OK-ACCESS-KEY": READ_KEY}, 401, "50120"),
    ],
)
def test_who_may_not_trade(tmp_path: Path, changed: dict[str, str], status: int, code: str) -> None:
    """Each header is checked, and the permission."""

    async def test() -> None:
        async with site_of(tmp_path) as site:
            answer = await signed(site, "POST", "trade/order", LIMIT, **changed)
            assert (answer[0], answer[1]["code"]) == (status, code)

    run(test())


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"instId": "ETH-USDT"}, "51001"),
        ({"px": "90.001"}, "51000"),
        ({"sz": "0.00015"}, "51121"),
        ({"sz": "0.00001"}, "51020"),
        ({"sz": "0.0001", "px": "90"}, "51020"),
        ({"sz": "-1"}, "51000"),
        ({"tdMode": "cross"}, "51000"),
        ({"ordType": "stop"}, "51000"),
        ({"side": "long"}, "51000"),
        ({"clOrdId": "a-b"}, "51000"),
        ({"sz": "1000", "px": "100"}, "51008"),
    ],
)
def test_a_bad_order_has_its_own_code(tmp_path: Path, changes: dict[str, str], code: str) -> None:
    """Envelope 1, the order's code beside it; nothing happened."""

    async def test() -> None:
        async with site_of(tmp_path) as site:
            await site.to(10)
            _, answer = await signed(site, "POST", "trade/order", LIMIT | changes)
            assert (answer["code"], answer["data"][0]["sCode"]) == ("1", code)
            assert site.server.desk.orders("main", "alpha") == []

    run(test())


def test_batches_and_orders_that_may_not_take(tmp_path: Path) -> None:
    """A batch is taken as far as it goes; a post-only order that would take is canceled, and says why."""

    async def test() -> None:
        async with site_of(tmp_path, config=okx_config(limits=Limits(orders_2s=4, frames_1s=1000))) as site:
            await site.to(10)
            batch = [LIMIT | {"clOrdId": "one"}, LIMIT | {"clOrdId": "one"}, LIMIT | {"ordType": "post_only", "px": "101"}]
            _, answer = await signed(site, "POST", "trade/batch-orders", batch)
            assert (answer["code"], [one["sCode"] for one in answer["data"]]) == ("2", ["0", "51016", "0"])
            number = answer["data"][2]["ordId"]
            _, known = await signed(site, "GET", f"trade/order?instId={NAME}&ordId={number}")
            assert (known["data"][0]["state"], known["data"][0]["cancelSource"]) == ("canceled", "31")
            _, gone = await signed(site, "POST", "trade/cancel-order", {"instId": NAME, "clOrdId": "one"})
            assert gone["code"] == "0"
            _, again = await signed(site, "POST", "trade/cancel-order", {"instId": NAME, "clOrdId": "one"})
            assert again["data"][0]["sCode"] == "51401"
            codes = [(await signed(site, "POST", "trade/order", LIMIT))[1]["data"][0]["sCode"] for _ in range(5)]
            assert "50011" in codes

    run(test())


def test_served_books_add_up_to_the_log_s_own_book() -> None:
    """Our own OKX decoder follows `books` without a gap, over the log's own gaps, and has quotes and trades."""
    log = ROOT / "recordings" / "quickstart"

    async def test() -> None:
        async with serving_log(log, ("charlie",), wires={"charlie": "okx"}, config=ServeConfig()) as site:
            with LogReader(log) as reader:
                number = reader.number("charlie", "BTC/USDT")
                assert number is not None
                one = msgspec.structs.replace(reader.instruments[number], native=NAME)
                session = OkxSession([Listing(one)], ("quotes", "deltas", "trades"))
                first = next(reader.batches()).slow[0].ts_recv
            follower = Follower(session)
            async with site.http.ws_connect(site.base + "/ws/v5/public") as ws:
                for ask in session.open(0):
                    assert isinstance(ask, Send)
                    await ws.send_str(ask.text)
                await ws.send_str("ping")
                for minute in (1, 5, 7, 8, 14):
                    await site.at(first + minute * 60 * NANOS_PER_S)
                    while follower.seq < site.server.market.books[number].updates:
                        follower.take((await ws.receive_str()).encode())
                    assert follower.book == final_book(log, number, first + minute * 60 * NANOS_PER_S)
            assert follower.quotes > 100
            assert follower.trades > 20

    run(test())


class Follower:
    """Applies what our own decoder makes of the served frames."""

    def __init__(self, session: OkxSession) -> None:
        self.session = session
        self.book: Sides = ({}, {})
        self.seq = -1
        self.quotes = self.trades = 0

    def take(self, payload: bytes) -> None:
        """Apply one frame."""
        for event in self.session.receive(payload):
            assert not isinstance(event, RejectEvent), event
            if isinstance(event, DepthEvent):
                assert event.verdict == APPLY
                self.book = applied(self.book, event)
                self.seq = event.venue_seq or 0
            elif isinstance(event, LinkEvent):
                assert event.event != "gap", event
            self.quotes += isinstance(event, QuoteEvent)
            self.trades += isinstance(event, TradeEvent)


def test_what_a_socket_refuses(tmp_path: Path) -> None:
    """No login, a wrong one, unknown channels, and what is no request."""

    async def test() -> None:
        async with site_of(tmp_path) as site, site.http.ws_connect(site.base + "/ws/v5/private") as ws:
            login = {"apiKey": KEY, "passphrase": PHRASE, "timestamp": "1", "sign": "x"}
            for message, code in (
                ({"op": "subscribe", "args": [{"channel": "orders", "instType": "ANY"}]}, "60011"),
                ({"op": "subscribe", "args": [{"channel": "books", "instId": NAME}]}, "60018"),
                ({"op": "login", "args": [login | {"apiKey": "nobody"}]}, "60005"),
                ({"op": "login", "args": [login | {"passphrase": "wrong"}]}, "60024"),
                ({"op": "login", "args": [login]}, "60006"),
                ({"op": "dance", "args": []}, "60012"),
                ({"op": "login", "args": ["x"]}, "60012"),
                ({"op": "order", "id": "1", "args": [LIMIT]}, "60011"),
            ):
                await ws.send_json(message)
                assert (await ws.receive_json())["code"] == code
            await ws.send_str("{")
            assert (await ws.receive_json())["code"] == "60012"
            await ws.send_str("ping")
            assert await ws.receive_str() == "pong"

    run(test())


def test_an_address_opens_three_sockets_a_second(tmp_path: Path) -> None:
    """The next one is turned away with the time to wait, and taken when that has passed."""

    async def test() -> None:
        async with site_of(tmp_path, config=okx_config(limits=Limits(frames_1s=1000))) as site:
            for at in range(2):
                site.clock.passed_ns = -(time.monotonic_ns() % NANOS_PER_S) + at * NANOS_PER_S  # a second has just begun
                for path in ("public", "private", "business"):
                    await site.http.ws_connect(f"{site.base}/ws/v5/{path}")
                with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                    await site.http.ws_connect(f"{site.base}/ws/v5/public")
                assert refused.value.status == 429
                assert refused.value.headers is not None
                assert refused.value.headers["Retry-After"] == "1"

    run(test())


def test_faults_strike_here_too(tmp_path: Path) -> None:
    """A lost reply of an order that was taken, a status, and a frame of `books` that never comes: our decoder sees the gap."""
    faults = (
        Fault(kind="drop_reply", on="POST /api/v5/trade/order", after=1),
        Fault(kind="status", on="POST /api/v5/trade/order", after=2, status=503, code=50001),
        Fault(kind="gap", on=f"books:{NAME}", after=2),
    )
    moves: Rows = [(20 + n, book([(9_900 + n, LOTS)], [(10_000, LOTS)])) for n in range(2)]

    async def test() -> None:
        async with site_of(tmp_path, [*ROWS, *moves], faults=faults) as site:
            await site.to(10)
            with pytest.raises(aiohttp.ServerDisconnectedError):
                await signed(site, "POST", "trade/order", LIMIT)
            assert (await signed(site, "POST", "trade/order", LIMIT))[1]["code"] == "50001"
            assert len(site.server.desk.orders("main", "alpha")) == 1
            async with site.http.ws_connect(site.base + "/ws/v5/public") as ws:
                await ws.send_json({"op": "subscribe", "args": [{"channel": "books", "instId": NAME}]})
                assert (await ws.receive_json())["event"] == "subscribe"
                first = (await ws.receive_json())["data"][0]
                await site.to(20)
                await asyncio.wait_for(_struck(site), 5)
                await site.to(21)
                second = (await ws.receive_json())["data"][0]
                assert second["prevSeqId"] > first["seqId"]

    run(test())


async def _struck(site: Site) -> None:
    """Until all three faults have struck."""
    while (await site.get("/xarb/status")).body["faults"] < 3:
        pass


def test_real_host_names(tmp_path: Path) -> None:
    """No URL is overridden: only the resolver and the trusted authority are ours."""

    async def test() -> None:
        tls = tls_context(tmp_path / "tls", HOSTS)
        async with site_of(tmp_path, tls=tls) as site:
            trust = ssl.create_default_context(cafile=str(tmp_path / "tls" / AUTHORITY))
            resolver = Resolver(site.server.addresses[0].port, HOSTS)
            session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=resolver, ssl=trust))
            keys = {"apiKey": KEY, "secret": SECRET, "password": PHRASE}
            exchange: Any = ccxt.pro.okx({**keys, "enableRateLimit": False, "options": {"fetchMarkets": {"types": ["spot"]}}})
            exchange.session, exchange.ssl_context = session, trust
            try:
                site.server.market.begin()
                await site.clock.set(site.clock.log_ns() + 10_000_000)
                await site.server.market.ended.wait()
                assert (await exchange.watch_order_book(PAIR))["asks"][0][:2] == [100.0, 1.0]
                made = await exchange.create_order_ws(PAIR, "limit", "buy", 0.5, 100.0)
                assert (await exchange.fetch_order(made["id"], PAIR))["status"] == "closed"
                assert set(resolver.asked) == set(HOSTS) - {"localhost"}
            finally:
                await exchange.close()
                await session.close()

    run(test())
