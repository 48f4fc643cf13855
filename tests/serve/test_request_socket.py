"""The WebSocket API: requests by id, keys in the parameters or logged on, user streams on the same socket."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.serve.site import KEY, READ_KEY, STANDING, SYMBOL, config, head, run, serving
from tests.trial import MS
from xarb.serve.config import KeyConfig

ROWS = [*head(), (10, STANDING)]
BUY = {"symbol": SYMBOL, "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.5", "price": "90.00"}


def test_public_requests_answer_as_rest_does(tmp_path: Path) -> None:
    """The same results under the request's own id; limits are stated unless the client wants none."""

    async def test() -> None:
        async with serving(tmp_path, ROWS) as site, site.requests() as ws:
            await site.to(10)
            assert (await site.ask(ws, "ping"))["result"] == {}
            depth = await site.ask(ws, "depth", {"symbol": SYMBOL, "limit": 1})
            assert depth["result"] == (await site.get("/api/v3/depth", symbol=SYMBOL, limit=1)).body
            assert (await site.ask(ws, "exchangeInfo", {"symbols": [SYMBOL]}))["result"]["symbols"][0]["symbol"] == SYMBOL
            told = await site.ask(ws, "time", {"returnRateLimits": True})
            assert told["rateLimits"][0]["rateLimitType"] == "REQUEST_WEIGHT"
            assert told["rateLimits"][0]["count"] > 0
            assert "rateLimits" not in depth

    run(test())


def test_orders_and_their_events(tmp_path: Path) -> None:
    """Placed, seen, listed and canceled; each event once on each subscription, none after its end."""

    async def test() -> None:
        async with serving(tmp_path, ROWS) as site, site.requests() as ws, site.requests() as other:
            await site.to(10)
            await site.user_stream(other)
            placed = await site.ask(ws, "order.place", {**BUY, "newClientOrderId": "one"}, sign=True)
            assert (placed["status"], placed["result"]["status"]) == (200, "NEW")
            event = await other.receive_json()
            assert (event["subscriptionId"], event["event"]["c"], event["event"]["x"]) == (0, "one", "NEW")
            money = (await other.receive_json())["event"]
            assert money["B"] == [
                {"a": "BTC", "f": "50.00000000", "l": "0.00000000"},
                {"a": "USDT", "f": "9955.00000000", "l": "45.00000000"},
            ]
            status = await site.ask(ws, "order.status", {"symbol": SYMBOL, "origClientOrderId": "one"}, sign=True)
            assert status["result"]["status"] == "NEW"
            assert len((await site.ask(ws, "openOrders.status", {}, sign=True))["result"]) == 1
            gone = await site.ask(ws, "order.cancel", {"symbol": SYMBOL, "origClientOrderId": "one"}, sign=True)
            assert gone["result"]["status"] == "CANCELED"
            assert [(await other.receive_json())["event"]["e"] for _ in range(2)] == ["executionReport", "outboundAccountPosition"]
            await site.ask(other, "userDataStream.unsubscribe")
            await site.ask(ws, "order.place", BUY, sign=True)
            assert (await site.ask(other, "ping"))["status"] == 200  # `ask` passes nothing over: no event stood before it
            assert (await site.ask(ws, "account.status", {}, sign=True))["result"]["balances"][0]["asset"] == "BTC"
            assert (await site.ask(ws, "myTrades", {"symbol": SYMBOL}, sign=True))["result"] == []

    run(test())


@pytest.mark.parametrize(
    ("method", "params", "key", "status", "code"),
    [
        ("order.place", {}, KEY, 400, -1102),
        ("order.place", BUY, "nobody", 401, -2015),
        ("order.place", BUY, READ_KEY, 401, -2015),
        ("order.cancel", {"symbol": SYMBOL, "orderId": 9}, KEY, 400, -2011),
        ("order.status", {"symbol": SYMBOL, "orderId": 9}, KEY, 400, -2013),
        ("order.mend", {}, KEY, 400, -1000),
        ("depth", {"symbol": "NONE"}, KEY, 400, -1121),
        ("userDataStream.subscribe", {}, KEY, 401, -2015),
        ("session.logon", {}, KEY, 400, -4056),
    ],
)
def test_errors_carry_status_and_code(
    tmp_path: Path, method: str, params: dict[str, Any], key: str, status: int, code: int
) -> None:
    """What is refused on REST is refused here, with the same codes."""

    async def test() -> None:
        async with serving(tmp_path, ROWS) as site, site.requests() as ws:
            site.key = key
            answer = await site.ask(ws, method, params, sign=method != "depth")
            assert (answer["status"], answer["error"]["code"]) == (status, code)

    run(test())


def test_a_wrong_signature_and_no_json(tmp_path: Path) -> None:
    """-1022 for a signature of another secret, -1135 for what is no request."""

    async def test() -> None:
        async with serving(tmp_path, ROWS) as site, site.requests() as ws:
            site.secret = "other"  # noqa: S105  # wrong on purpose
            assert (await site.ask(ws, "order.place", BUY, sign=True))["error"]["code"] == -1022
            for text in ("{", "[]", '{"id": 1}', '{"id": 1, "method": "ping", "params": []}'):
                await ws.send_str(text)
                answer = await ws.receive_json()
                assert (answer["status"], answer.get("error", {}).get("code")) in {(400, -1135), (200, None)}
            await ws.send_str("nonsense")
            assert (await ws.receive_json())["error"]["code"] == -1135

    run(test())


def test_a_session_is_logged_on_with_ed25519(tmp_path: Path) -> None:
    """After the logon requests need no signature, and the user stream none either; after the logout they do."""
    private = Ed25519PrivateKey.generate()
    public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    keys = {"curve": KeyConfig(account="main", api_key="curve", public_key=public)}

    async def test() -> None:
        async with serving(tmp_path, ROWS, config=config(keys=keys)) as site, site.requests() as ws:
            await site.to(10)
            now = site.clock.wall_ns() // MS
            signature = base64.b64encode(private.sign(f"apiKey=curve&timestamp={now}".encode())).decode()
            params = {"apiKey": "curve", "timestamp": now, "signature": signature}
            on = await site.ask(ws, "session.logon", params)
            assert (on["status"], on["result"]["apiKey"]) == (200, "curve")
            assert (await site.ask(ws, "userDataStream.subscribe"))["result"] == {"subscriptionId": 0}
            placed = await site.ask(ws, "order.place", {**BUY, "timestamp": now})
            assert placed["result"]["status"] == "NEW"
            assert (await site.ask(ws, "session.status"))["result"]["userDataStream"] is True
            assert (await site.ask(ws, "session.logout"))["result"]["apiKey"] is None
            assert (await site.ask(ws, "order.place", {**BUY, "timestamp": now}))["error"]["code"] == -1102
            forged = await site.ask(ws, "session.logon", {**params, "signature": base64.b64encode(bytes(64)).decode()})
            assert forged["error"]["code"] == -1022

    run(test())


def test_the_request_log_keeps_no_keys(tmp_path: Path) -> None:
    """Requests, replies and frames with their connections, in order; keys and signatures are blotted out on REST and sockets."""
    kept = tmp_path / "requests.jsonl"

    async def test() -> None:
        async with serving(tmp_path, ROWS, requests=kept) as site, site.requests() as ws:
            await site.to(10)
            await site.user_stream(ws)
            await site.signed("GET", "/api/v3/account")
            await site.ask(ws, "order.place", BUY, sign=True)

    run(test())
    text = kept.read_text()
    rows = [msgspec.json.decode(line) for line in text.splitlines()]
    assert [row["way"] for row in rows][:3] == ["open", "frame_in", "frame_out"]
    assert {row["way"] for row in rows} == {"open", "frame_in", "frame_out", "request", "reply", "close"}
    assert any(row["name"] == "executionReport" for row in rows)
    assert rows == sorted(rows, key=lambda row: row["mono_ns"])
    assert KEY not in text
    assert text.count("***") == 5  # two keys and two signatures on the socket, a signature in a query
