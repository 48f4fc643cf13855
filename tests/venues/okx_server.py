"""A small exchange on loopback that speaks enough of OKX v5 for real orders over ccxt; its orders fill as a test says."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import time
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import msgspec
from aiohttp import WSMsgType, web

from tests.venues.exchange_server import KEY, SECRET

PASSWORD = "canary-pass-phrase"  # noqa: S105  # of a server in this process
NATIVE = "BTC-USDT"
PAGE = 100


class SmallOkx:
    """The exchange. `fill` is the part of an order that fills on arrival; faults as in `SmallExchange`: `drop`, `lose`, code and text."""

    def __init__(self) -> None:
        self.orders: dict[str, dict[str, Any]] = {}
        self.fills: list[dict[str, Any]] = []
        self.balances = {"USDT": Decimal("1000002.5")}
        self.frozen = {"USDT": Decimal(2)}
        self.opening = dict(self.balances)
        self.faults: list[Any] = []
        self.fill = Decimal(1)
        self.is_mute = False
        self.refused = 0
        self.seen: list[tuple[str, str]] = []
        self.sockets: list[web.WebSocketResponse] = []
        self.url = ""
        self._sending: list[asyncio.Future[None]] = []

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[SmallOkx]:
        """Serve on a free port."""
        app = web.Application()
        app.router.add_get("/ws/v5/private", self._socket)
        app.router.add_route("*", "/{path:.*}", self._any)
        runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield self
        finally:
            await runner.cleanup()

    async def _any(self, request: web.Request) -> web.StreamResponse:
        body = await request.text()
        self.seen.append((request.method, request.path_qs + body))
        if "OK-ACCESS-SIGN" in request.headers:
            text = request.headers["OK-ACCESS-TIMESTAMP"] + request.method + request.path_qs + body
            sign = base64.b64encode(hmac.new(SECRET.encode(), text.encode(), hashlib.sha256).digest()).decode()
            if sign != request.headers["OK-ACCESS-SIGN"] or request.headers["OK-ACCESS-PASSPHRASE"] != PASSWORD:
                self.refused += 1
                return web.json_response({"code": "50113", "msg": "Invalid Sign", "data": []}, status=401)
        query = dict(request.query) | (msgspec.json.decode(body)[0] if body.startswith("[") else {})
        query |= msgspec.json.decode(body) if body.startswith("{") else {}
        found = self._answer(request.method, request.path.removeprefix("/api/v5/"), query)
        if found is None:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        return web.json_response({"code": "0", "msg": "", "data": []} | found)

    def _answer(self, method: str, path: str, query: dict[str, Any]) -> dict[str, Any] | None:
        match method, path:
            case "GET", "public/time":
                return {"data": [{"ts": str(_now())}]}
            case "GET", "public/instruments":
                return {"data": [_INSTRUMENT] if query["instType"] == "SPOT" else []}
            case "POST", "trade/batch-orders":
                return self._submit(query)
            case "GET", "trade/order":
                order = self._find(query)
                return {"data": [order]} if order else {"code": "51603", "msg": "Order does not exist"}
            case "POST", "trade/cancel-order" | "trade/cancel-batch-orders":
                return self._cancel(query)
            case "GET", "trade/orders-pending":
                return {"data": [o for o in self.orders.values() if o["state"] in ("live", "partially_filled")]}
            case "GET", "trade/fills":
                return {"data": self._fills(query)}
            case "GET", "account/balance":
                details = [
                    {
                        "ccy": asset,
                        "availBal": f"{have - self.frozen.get(asset, 0):f}",
                        "frozenBal": f"{self.frozen.get(asset, 0):f}",
                    }
                    | {"cashBal": f"{have:f}", "eq": f"{have:f}"}
                    for asset, have in self.balances.items()
                ]
                return {"data": [{"uTime": str(_now()), "details": details}]}
            case "GET", "account/trade-fee":
                return {"data": [{"instType": "SPOT", "maker": "-0.0008", "taker": "-0.001", "ts": str(_now()), "level": "Lv1"}]}
            case "GET", "account/config":
                return {"data": [{"perm": "read_only,trade", "ip": "1.2.3.4"}]}
            case "GET", "asset/deposit-history" | "asset/withdrawal-history":
                return {}
        return {"code": "50404", "msg": path}

    def _submit(self, values: dict[str, Any]) -> dict[str, Any] | None:
        fault = self.faults.pop(0) if self.faults else None
        if fault == "lose":
            return None
        if isinstance(fault, tuple):
            item = {"clOrdId": values["clOrdId"], "ordId": "", "sCode": fault[0], "sMsg": fault[1]}
            return {"code": "1", "msg": "All operations failed", "data": [item]}
        number = str(len(self.orders) + 1)
        order = {
            "instId": values["instId"],
            "instType": "SPOT",
            "ordId": number,
            "clOrdId": values["clOrdId"],
            "ordType": values["ordType"],
            "px": values["px"],
            "sz": values["sz"],
            "side": values["side"],
            "accFillSz": "0",
            "state": "live",
            "uTime": str(_now()),
            "cTime": str(_now()),
            "tgtCcy": "base_ccy",
            "feeCcy": "",
            "fee": "0",
            "rebate": "0",
            "rebateCcy": "",
            "avgPx": "",
            "tradeId": "",
        }
        self.orders[number] = order
        self._push(order)
        if qty := Decimal(values["sz"]) * self.fill:
            self.execute(number, qty)
        if order["ordType"] == "ioc" and order["state"] != "filled":
            order["state"] = "canceled"
            self._push(order)
        return None if fault == "drop" else {"data": [{"clOrdId": values["clOrdId"], "ordId": number, "sCode": "0", "sMsg": ""}]}

    def execute(self, number: str, qty: Decimal) -> None:
        """Fill a part of an order, and push it."""
        order = self.orders[number]
        sign = 1 if order["side"] == "buy" else -1
        self.balances["BTC"] = self.balances.get("BTC", Decimal(0)) + sign * qty - qty / 1000
        self.balances["USDT"] -= sign * qty * Decimal(order["px"])
        fill = {
            "instId": order["instId"],
            "instType": "SPOT",
            "tradeId": str(5000 + len(self.fills)),
            "ordId": number,
            "clOrdId": order["clOrdId"],
            "fillPx": order["px"],
            "fillSz": f"{qty:f}",
            "side": order["side"],
            "execType": "T",
            "fee": f"{-qty / 1000:f}",
            "feeCcy": "BTC",
            "ts": str(_now()),
        }
        self.fills.append(fill)
        order["accFillSz"] = f"{Decimal(order['accFillSz']) + qty:f}"
        order["state"] = "filled" if Decimal(order["accFillSz"]) == Decimal(order["sz"]) else "partially_filled"
        told = {name: fill[name] for name in ("tradeId", "fillPx", "fillSz", "execType")}
        self._push({**order, **told, "fillFee": fill["fee"], "fillFeeCcy": "BTC", "fillTime": fill["ts"]})

    def _find(self, query: dict[str, Any]) -> dict[str, Any] | None:
        for order in self.orders.values():
            if query.get("clOrdId") == order["clOrdId"] or query.get("ordId") == order["ordId"]:
                return order
        return None

    def _cancel(self, query: dict[str, Any]) -> dict[str, Any]:
        order = self._find(query)
        if order is None or order["state"] in ("filled", "canceled"):
            item = {
                "clOrdId": query.get("clOrdId", ""),
                "ordId": "",
                "sCode": "51400",
                "sMsg": "Cancellation failed as the order does not exist.",
            }
            return {"code": "1", "msg": "All operations failed", "data": [item]}
        order["state"] = "canceled"
        self._push(order)
        return {"data": [{"clOrdId": order["clOrdId"], "ordId": order["ordId"], "sCode": "0", "sMsg": ""}]}

    def _fills(self, query: dict[str, Any]) -> list[dict[str, Any]]:
        """Newest first, at most a page."""
        begin, end = int(query.get("begin", 0)), int(query.get("end", 1 << 60))
        found = [f for f in self.fills if begin <= int(f["ts"]) <= end and query.get("ordId") in (None, f["ordId"])]
        return found[::-1][: min(PAGE, int(query.get("limit", PAGE)))]

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            if message.type is not WSMsgType.TEXT:
                continue
            if message.data == "ping":
                await socket.send_str("pong")
                continue
            asked = msgspec.json.decode(message.data)
            if asked["op"] == "login":
                (about,) = asked["args"]
                text = f"{about['timestamp']}GET/users/self/verify"
                sign = base64.b64encode(hmac.new(SECRET.encode(), text.encode(), hashlib.sha256).digest()).decode()
                code = "0" if (about["sign"], about["apiKey"], about["passphrase"]) == (sign, KEY, PASSWORD) else "60009"
                await socket.send_json({"event": "login" if code == "0" else "error", "code": code, "msg": ""})
            else:
                for channel in asked["args"]:
                    await socket.send_json({"event": "subscribe", "arg": channel})
                self.sockets.append(socket)
        if socket in self.sockets:
            self.sockets.remove(socket)
        return socket

    def _push(self, order: dict[str, Any]) -> None:
        if self.is_mute:
            return
        text = msgspec.json.encode({"arg": {"channel": "orders", "instType": "SPOT"}, "data": [order]}).decode()
        self._sending += [asyncio.ensure_future(socket.send_str(text)) for socket in list(self.sockets)]


def _now() -> int:
    return time.time_ns() // 1_000_000


_INSTRUMENT = {
    "instId": NATIVE,
    "instType": "SPOT",
    "baseCcy": "BTC",
    "quoteCcy": "USDT",
    "tickSz": "0.01",
    "lotSz": "0.00001",
    "minSz": "0.00001",
    "state": "live",
    "ctVal": "",
    "lever": "",
    "settleCcy": "",
    "uly": "",
    "instFamily": "",
    "expTime": "",
    "listTime": "1",
    "stk": "",
    "optType": "",
    "ctType": "",
    "maxLmtSz": "1000",
}
