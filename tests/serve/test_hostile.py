"""Nothing that a client sends ends the server, which stops at any error of ours: each message is refused in the exchange's words."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import hashlib
import hmac
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.serve.site import KEY, READ_KEY, SECRET, STANDING, SYMBOL, Site, config, head, run, serving
from xarb.serve.config import KeyConfig, VenueTerms

ROWS = [*head(), (10, STANDING)]
DEEP = '{"id":' + "[" * 100_000
LONG = "1" * 5000  # more digits than Python turns into a number
PHRASE = "test-phrase"
GOOD_ORDER = {"instId": "BTC-USDT", "tdMode": "cash", "side": "buy", "ordType": "limit", "px": "50", "sz": "0.1"}


@asynccontextmanager
async def standing(folder: Path, **changes: Any) -> AsyncIterator[Site]:
    """A site whose book stands; at its end the server must still be whole."""
    async with serving(folder, ROWS, **changes) as site:
        await site.to(20)
        stop = asyncio.Event()
        serves = asyncio.ensure_future(site.server.serve(stop))
        yield site
        stop.set()
        await serves  # raises what a client broke


@asynccontextmanager
async def okx(folder: Path) -> AsyncIterator[Site]:
    """The same behind OKX's wire."""
    keys = {"t": KeyConfig(account="main", api_key=KEY, secret=SECRET, passphrase=PHRASE)}
    async with standing(folder, wires={"alpha": "okx"}, config=config(keys=keys)) as site:
        yield site


async def raw(site: Site, request: bytes) -> bytes:
    """Bytes as they are, and the first line of the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", site.server.addresses[0].port)
    writer.write(request)
    await writer.drain()
    line = await reader.readline()
    writer.close()
    return line


async def okx_raw(site: Site, method: str, path: str, body: str = "", **headers: str) -> bytes:
    """A signed request of OKX, header by header replaced; the first line of the answer."""
    stamp = headers.get("timestamp") or dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")
    mac = hmac.new(SECRET.encode(), f"{stamp}{method}{path}{body}".encode("utf-8", "surrogateescape"), hashlib.sha256)
    fields = {"key": KEY, "passphrase": PHRASE, "sign": base64.b64encode(mac.digest()).decode(), "timestamp": stamp} | headers
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}"]
    lines += [f"OK-ACCESS-{name.upper()}: {value}" for name, value in fields.items()]
    return await raw(site, ("\r\n".join(lines) + "\r\n\r\n" + body).encode("utf-8", "surrogateescape"))


async def told(site: Site, path: str, text: str) -> Any:
    """What a new socket is told about a text."""
    async with site.http.ws_connect(site.base + path) as ws:
        await ws.send_str(text)
        return await ws.receive_json(timeout=5)


def test_rest_refuses_what_cannot_be_read(tmp_path: Path) -> None:
    """A body that is no UTF-8, an unknown charset, a signature that is no ASCII and a window of 5,000 digits are refused in order."""

    async def check() -> None:
        async with standing(tmp_path) as site:
            head_lines = f"POST /api/v3/order HTTP/1.1\r\nHost: localhost\r\nX-MBX-APIKEY: {KEY}\r\nContent-Length: 2\r\n".encode()
            assert b" 400 " in await raw(site, head_lines + b"\r\n\xff\xfe")
            assert b" 400 " in await raw(site, head_lines + b"Content-Type: text/plain; charset=nope\r\n\r\nab")
            assert (await site.signed("GET", "/api/v3/account", signature="%C3%A9")).body["code"] == -1022
            assert (await site.signed("GET", "/api/v3/account", recvWindow=LONG)).body["code"] == -1100
            assert (await site.signed("GET", "/api/v3/account")).status == 200

    run(check())


def test_an_ed25519_signature_that_is_no_base64_is_wrong(tmp_path: Path) -> None:
    """Also one with letters beyond ASCII."""
    pem = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n"
    keys = {"e": KeyConfig(account="main", api_key=KEY, public_key=pem)}

    async def check() -> None:
        async with standing(tmp_path, config=config(keys=keys)) as site:
            for signature in ("%C3%A9", "abc", "AAAA"):
                assert (await site.signed("GET", "/api/v3/account", signature=signature)).body["code"] == -1022

    run(check())


@pytest.mark.parametrize("path", ["/ws", "/ws-api/v3"])
def test_sockets_refuse_messages_nested_too_deeply(tmp_path: Path, path: str) -> None:
    """100,000 brackets are an error of the client's."""

    async def check() -> None:
        async with standing(tmp_path) as site:
            answer = await told(site, path, DEEP)
            assert answer["error"]["code"] == (3 if path == "/ws" else -1135)

    run(check())


def test_a_socket_refuses_a_signature_beyond_ascii(tmp_path: Path) -> None:
    """As on REST."""

    async def check() -> None:
        async with standing(tmp_path) as site, site.requests() as ws:
            values = {"apiKey": READ_KEY, "timestamp": time.time_ns() // 1_000_000, "signature": "é"}
            assert (await site.ask(ws, "account.status", values))["error"]["code"] == -1022

    run(check())


def test_orders_beyond_64_bits_meet_a_filter(tmp_path: Path) -> None:
    """A sale at a price that the engine's integers cannot hold is refused by the price filter; the largest one that fits is taken."""

    async def check() -> None:
        async with standing(tmp_path) as site:
            for price in ("99999999999999999999", "92233720368547758.08"):
                refused = await site.order("SELL", "0.001", price)
                assert refused.body == {"code": -1013, "msg": "Filter failure: PRICE_FILTER"}
            assert (await site.order("SELL", "99999999999999999999", "100.00")).body["msg"] == "Filter failure: LOT_SIZE"
            assert (await site.order("SELL", "0.001", "92233720368547758.07")).status == 200
            assert len((await site.signed("GET", "/api/v3/openOrders", symbol=SYMBOL)).body) == 1

    run(check())


def test_the_filters_state_the_orders_that_the_config_allows(tmp_path: Path) -> None:
    """MAX_NUM_ORDERS of exchangeInfo is the figure at which orders are refused."""

    async def check() -> None:
        async with standing(tmp_path, config=config(venues={"alpha": VenueTerms(max_open_orders=2)})) as site:
            filters = (await site.get("/api/v3/exchangeInfo")).body["symbols"][0]["filters"]
            assert {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": 2} in filters
            statuses = [(await site.order("BUY", "0.1", "50.00")).status for _ in range(3)]
            assert statuses == [200, 200, 400]

    run(check())


def test_large_answers_to_a_client_that_reads_nothing_are_bounded(tmp_path: Path) -> None:
    """A client that asks with ids of a megabyte and reads no answer is cut off long before its frames are too many."""

    async def check() -> None:
        async with standing(tmp_path) as site, site.requests() as ws:
            text = msgspec.json.encode({"id": "x" * 1_000_000, "method": "nothing"}).decode()
            for _ in range(100):
                await ws.send_str(text)
            while (await site.get("/xarb/status")).body["sockets"]:
                pass

    run(check())


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"/api/v5/trade/orders-pending?limit={LONG}", b" 400 "),
        (f"/api/v5/trade/order?instId=BTC-USDT&ordId={LONG}", b" 200 "),
        (f"/api/v5/trade/fills?begin={LONG}", b" 200 "),
        (f"/api/v5/market/books?instId=BTC-USDT&sz={LONG}", b" 400 "),
        (f"/api/v5/market/candles?instId=BTC-USDT&after={LONG}", b" 200 "),
    ],
)
def test_okx_refuses_numbers_without_end(tmp_path: Path, path: str, status: bytes) -> None:
    """5,000 digits are no number."""

    async def check() -> None:
        async with okx(tmp_path) as site:
            assert status in await okx_raw(site, "GET", path)

    run(check())


def test_okx_refuses_headers_that_cannot_be_right(tmp_path: Path) -> None:
    """Passphrases, signatures and times beyond ASCII, also as bytes that are no text, are wrong ones."""
    path = "/api/v5/account/balance"

    async def check() -> None:
        async with okx(tmp_path) as site:
            assert b" 200 " in await okx_raw(site, "GET", path)
            for wrong in ({"passphrase": "é"}, {"sign": "é"}, {"sign": "\udcff"}, {"timestamp": "0001-01-01T00:00:00+23:59"}):
                assert b" 401 " in await okx_raw(site, "GET", path, **wrong)
            today = dt.datetime.now(dt.UTC)
            assert b" 500 " not in await okx_raw(site, "GET", path, timestamp=f"{today:%Y-%m-%d}\udcff{today:%H:%M:%S}+00:00")

    run(check())


@pytest.mark.parametrize(
    "body",
    [
        *(msgspec.json.encode({**GOOD_ORDER, name: [1]}).decode() for name in ("side", "ordType", "instId", "tag")),
        msgspec.json.encode({**GOOD_ORDER, "instId": "", "instIdCode": {}}).decode(),
        DEEP,
        "[]",
    ],
)
def test_okx_refuses_orders_of_the_wrong_form(tmp_path: Path, body: str) -> None:
    """A list where a word belongs, brackets without end, a list in place of an order."""

    async def check() -> None:
        async with okx(tmp_path) as site:
            assert b" 400 " in await okx_raw(site, "POST", "/api/v5/trade/order", body)
            assert b" 200 " in await okx_raw(site, "POST", "/api/v5/trade/order", msgspec.json.encode(GOOD_ORDER).decode())

    run(check())


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ({"op": ["order"], "args": [{}]}, "60012"),
        ({"op": "login", "args": [{"apiKey": []}]}, "60012"),
        ({"op": "login", "args": [{"apiKey": KEY, "passphrase": PHRASE, "timestamp": "inf"}]}, "60004"),
        ({"op": "login", "args": [{"apiKey": KEY, "passphrase": PHRASE, "timestamp": "NOW", "sign": "é"}]}, "60007"),
        ({"op": "subscribe", "args": [{"channel": "books", "instId": ["BTC-USDT"]}]}, "60012"),
    ],
)
def test_okx_sockets_refuse_messages_of_the_wrong_form(tmp_path: Path, message: dict[str, Any], code: str) -> None:
    """Each is answered by an error, and the socket stays."""
    text = msgspec.json.encode(message).decode().replace("NOW", str(int(time.time())))

    async def check() -> None:
        async with okx(tmp_path) as site:
            for path in ("/ws/v5/public", "/ws/v5/private"):
                answer = await told(site, path, text)
                assert (answer["event"], answer["code"]) == ("error", code)
            assert len((await told(site, "/ws/v5/public", DEEP))["msg"]) < 300

    run(check())


def test_a_parameter_that_comes_twice_is_refused(tmp_path: Path) -> None:
    """In the query or in the form; of one that stands in both the query counts, as Binance documents."""

    async def check() -> None:
        async with standing(tmp_path) as site:
            twice = await site.get("/api/v3/depth?symbol=BTCUSDT&limit=5&limit=1")
            assert (twice.status, twice.body["code"]) == (400, -1101)
            assert (await site.get("/api/v3/depth?symbol=BTCUSDT&limit=5")).status == 200
            order = (
                f"symbol={SYMBOL}&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.1&timestamp={site.clock.wall_ns() // 1_000_000}"
            )
            for query, form, code in (
                ("", f"{order}&price=50&price=60", -1101),
                (f"{order}&price=50&price=60", "", -1101),
                ("price=50", f"{order}&price=60", 0),
            ):
                signature = hmac.new(SECRET.encode(), (query + form).encode(), hashlib.sha256).hexdigest()
                path = f"{site.base}/api/v3/order?{query}{'&' if query else ''}signature={signature}"
                headers = {"X-MBX-APIKEY": KEY, "Content-Type": "application/x-www-form-urlencoded"}
                async with site.http.post(path, data=form, headers=headers) as answer:
                    assert (await answer.json()).get("code", 0) == code
            [order] = (await site.get("/xarb/orders", account="main")).body
            assert order["price"] == "50"

    run(check())


def test_okx_refuses_a_parameter_that_comes_twice(tmp_path: Path) -> None:
    """With its name."""

    async def check() -> None:
        async with okx(tmp_path) as site:
            twice = await site.get("/api/v5/market/books?instId=BTC-USDT&sz=1&sz=5")
            assert (twice.status, twice.body["code"], twice.body["msg"]) == (400, "51000", "Parameter sz error")

    run(check())
