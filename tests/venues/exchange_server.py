"""A small exchange on loopback that speaks enough of Binance spot for real orders, with faults that a test asks for.

It matches nothing by itself: a test says how much of the next orders fills, and at once. Its own books say what really happened.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import time
import zlib
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from aiohttp import WSMsgType, web

KEY, SECRET = "canary-key-0123456789abcdef", "canary-secret-fedcba9876543210"
SYMBOL = "BTCUSDT"
FINAL = {"FILLED", "CANCELED", "EXPIRED", "REJECTED"}


class SmallExchange:
    """The exchange; `fill` is the part of an order that fills on arrival, `faults` are taken one for each new order.

    Faults: `drop` (accept, then cut the connection), `hang` (accept, never answer), `lose` (cut without accepting), `truncate` (accept,
    answer 200 with half a body), `stranger` (accept, answer for another order), `503`, `accept_503`, `429`, `late` (accept after `late_s`,
    cut now), or a pair of error code and text.
    """

    def __init__(self) -> None:
        self.orders: dict[int, dict[str, Any]] = {}
        self.trades: list[dict[str, Any]] = []
        self.faults: list[Any] = []
        self.fill = Decimal(1)
        self.late_s = 0.5
        self.clock_ms = 0
        self.repeat_pushes = 1
        self.is_mute = False  # nothing is pushed
        self.hides_trades = False
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        self.balances = {"USDT": Decimal(1_000_000), "BTC": Decimal(100), "BNB": Decimal(5)}
        self.opening = dict(self.balances)
        self.deposits: list[dict[str, Any]] = []
        self.tells_withdrawals = True
        self.cuts_reads, self.kept = False, 0.0  # replies to reads end after so much of them
        self.flood: str | None = None  # answers are endless, or `gzip`: small, and 100 MiB once they are unpacked
        self.used_weight = 1
        self.used_orders = 0
        self.rate_limits: list[dict[str, Any]] = []
        self.can_withdraw = False
        self.has_wallet = True  # whether it serves /sapi, which a test network does not
        self.fees_known = True
        self.coins: list[dict[str, Any]] = []
        self.stale_lists: list[list[int]] = []  # the numbers of orders that the next lists of open ones show, whatever is open
        self.hidden: set[str] = set()  # client ids that no list shows
        self.unknown = 0  # so many look-ups and cancels by id find nothing
        self.denies_ids = False  # by the exchange's own id nothing is found either
        self.cancel_faults: list[str] = []  # `lose` (cut without canceling), `drop` (cancel, then cut), `ban`
        self.sockets: list[web.WebSocketResponse] = []
        self.subscribed = asyncio.Event()
        self.url = ""
        self._tasks: list[asyncio.Future[None]] = []

    # --- the server

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[SmallExchange]:
        """Serve on a free port."""
        app = web.Application()
        app.router.add_get("/ws-api/v3", self._socket)
        app.router.add_route("*", "/{path:.*}", self._any)
        runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield self
        finally:
            await runner.cleanup()

    async def _any(self, request: web.Request) -> web.StreamResponse:
        path, body = request.path, await request.text()
        query = body if request.method == "POST" else request.query_string
        values = dict(parse_qsl(query))
        self.seen.append((request.method, path, values))
        if "signature" in values:
            text = query.rsplit("&signature=", 1)[0]
            if hmac.new(SECRET.encode(), text.encode(), hashlib.sha256).hexdigest() != values["signature"]:
                return _error(-1022, "Signature for this request is not valid.")
            if abs(int(values["timestamp"]) - self._now()) > 5000:
                return _error(-1021, "Timestamp for this request is outside of the recvWindow.")
        if path.startswith("/sapi") and not self.has_wallet:
            return web.json_response({"code": -1, "msg": path}, status=404)
        for (method, end), handler in self._routes().items():
            if path.endswith(end) and request.method == method:
                reply = handler(values)
                found = await reply if asyncio.iscoroutine(reply) else reply
                if isinstance(found, web.StreamResponse):
                    return found
                if found is None:
                    assert request.transport is not None
                    request.transport.abort()
                    return web.Response()
                if self.flood is not None:
                    return await _flooded(request, self.flood)
                used = {"X-MBX-USED-WEIGHT-1M": str(self.used_weight), "X-MBX-ORDER-COUNT-10S": str(self.used_orders)}
                if self.cuts_reads and request.method == "GET":
                    text = msgspec.json.encode(found).decode()
                    return web.Response(text=text[: int(len(text) * self.kept)], content_type="application/json")
                return web.json_response(found, headers=used)
        return web.json_response({"code": -1, "msg": path}, status=404)

    def _routes(self) -> dict[tuple[str, str], Callable[[dict[str, str]], Any]]:
        return {
            ("GET", "/time"): lambda _: {"serverTime": self._now()},
            ("GET", "/exchangeInfo"): lambda _: {**_INFO, "rateLimits": self.rate_limits},
            ("POST", "/order"): self._submit,
            ("GET", "/order"): self._order,
            ("DELETE", "/order"): self._cancel,
            ("GET", "/openOrders"): lambda _: [self._shown(order) for order in self._listed()],
            ("GET", "/myTrades"): self._my_trades,
            ("GET", "/account"): lambda _: {
                "updateTime": self._now(),
                "balances": [{"asset": a, "free": f"{v:f}", "locked": "0.00000000"} for a, v in self.balances.items()],
            },
            ("GET", "/deposit/hisrec"): lambda _: self.deposits,
            ("GET", "/withdraw/history"): lambda _: [] if self.tells_withdrawals else _error(-1000, "An unknown error occurred"),
            ("GET", "/tradeFee"): lambda _: (
                [{"symbol": SYMBOL, "makerCommission": "0.00075", "takerCommission": "0.001"}] if self.fees_known else []
            ),
            ("GET", "/bnbBurn"): lambda _: {"spotBNBBurn": False, "interestBNBBurn": False},
            ("GET", "/config/getall"): lambda _: self.coins,
            ("GET", "/apiRestrictions"): lambda _: {
                "ipRestrict": True,
                "enableWithdrawals": self.can_withdraw,
                "enableSpotAndMarginTrading": True,
            },
        }

    def _now(self) -> int:
        return time.time_ns() // 1_000_000 + self.clock_ms

    # --- orders

    async def _submit(self, values: dict[str, str]) -> Any:
        fault = self.faults.pop(0) if self.faults else None
        if fault == "lose":
            return None
        if fault in ("503", "429"):
            words = {"503": '{"code":-1000,"msg":"An unknown error occurred"}', "429": '{"code":-1003,"msg":"Too many requests."}'}
            return web.Response(status=int(fault), text=words[fault], content_type="application/json", headers={"Retry-After": "1"})
        if isinstance(fault, tuple):
            return _error(*fault)
        if fault == "late":
            asyncio.get_running_loop().call_later(self.late_s, self.accept, values)
            return None
        order = self.accept(values)
        if fault == "drop":
            return None
        if fault == "hang":
            await asyncio.sleep(3600)
        if fault == "truncate":
            text = msgspec.json.encode(self._shown(order)).decode()
            return web.Response(text=text[: len(text) // 2], content_type="application/json")
        if fault == "stranger":
            return {**self._shown(order), "clientOrderId": "another"}
        if fault == "accept_503":
            return web.Response(status=503, text='{"code":-1000,"msg":"LOT_SIZE"}', content_type="application/json")
        fills = [t for t in self.trades if t["orderId"] == order["orderId"]]
        names = ("price", "qty", "commission", "commissionAsset")
        return {**self._shown(order), "fills": [{**{n: t[n] for n in names}, "tradeId": t["id"]} for t in fills]}

    def accept(self, values: dict[str, str]) -> dict[str, Any]:
        """Take an order: fill what the test said, then push."""
        number = len(self.orders) + 1
        order: dict[str, Any] = {
            "symbol": values["symbol"],
            "orderId": number,
            "clientOrderId": values["newClientOrderId"],
            "price": values["price"],
            "origQty": values["quantity"],
            "executedQty": "0",
            "status": "NEW",
            "timeInForce": values.get("timeInForce", "GTC"),
            "side": values["side"],
            "type": values["type"],
            "transactTime": self._now(),
            "time": self._now(),
            "updateTime": self._now(),
        }
        self.orders[number] = order
        self._push(order, "NEW")
        qty = Decimal(order["origQty"]) * self.fill
        if qty:
            self.execute(number, qty)
        if order["timeInForce"] == "IOC" and order["status"] not in FINAL:
            order["status"] = "EXPIRED"
            self._push(order, "EXPIRED")
        return order

    def execute(self, number: int, qty: Decimal) -> None:
        """Fill a part of an order, and push it."""
        order = self.orders[number]
        fee = qty * Decimal("0.001")
        trade = {
            "id": 1000 + len(self.trades),
            "orderId": number,
            "symbol": order["symbol"],
            "price": order["price"],
            "qty": f"{qty:f}",
            "quoteQty": f"{qty * Decimal(order['price']):f}",
            "commission": f"{fee:f}",
            "commissionAsset": "BTC" if order["side"] == "BUY" else "USDT",
            "time": self._now(),
            "isBuyer": order["side"] == "BUY",
            "isMaker": False,
        }
        self.trades.append(trade)
        sign = 1 if order["side"] == "BUY" else -1
        self.balances["BTC"] += sign * qty
        self.balances["USDT"] -= sign * qty * Decimal(order["price"])
        self.balances[str(trade["commissionAsset"])] -= fee
        order["executedQty"] = f"{Decimal(order['executedQty']) + qty:f}"
        order["status"] = "FILLED" if Decimal(order["executedQty"]) == Decimal(order["origQty"]) else "PARTIALLY_FILLED"
        self._push(order, "TRADE", trade)

    def _listed(self) -> list[dict[str, Any]]:
        """What a list of open orders shows."""
        if self.stale_lists:
            return [self.orders[number] | {"status": "NEW"} for number in self.stale_lists.pop(0)]
        return [one for one in self.orders.values() if one["status"] not in FINAL and one["clientOrderId"] not in self.hidden]

    def _find(self, values: dict[str, str]) -> dict[str, Any] | None:
        if self.unknown and "origClientOrderId" in values:
            self.unknown -= 1
            return None
        if self.denies_ids and "orderId" in values:
            return None
        for order in self.orders.values():
            if values.get("origClientOrderId") == order["clientOrderId"] or values.get("orderId") == str(order["orderId"]):
                return order
        return None

    def _order(self, values: dict[str, str]) -> Any:
        order = self._find(values)
        return self._shown(order) if order else _error(-2013, "Order does not exist.")

    def _cancel(self, values: dict[str, str]) -> Any:
        fault = self.cancel_faults.pop(0) if self.cancel_faults else None
        order = self._find(values)
        if fault == "lose":
            return None
        if fault == "ban":
            return web.json_response({"code": -1003, "msg": "Too many requests."}, status=418, headers={"Retry-After": "3600"})
        if order is None or order["status"] in FINAL:
            return _error(-2011, "Unknown order sent.")
        order["status"] = "CANCELED"
        self._push(order, "CANCELED")
        if fault == "drop":
            return None
        return {**self._shown(order), "clientOrderId": "cancel-1", "origClientOrderId": order["clientOrderId"]}

    def _my_trades(self, values: dict[str, str]) -> Any:
        if self.hides_trades:
            return []
        return [t for t in self.trades if "orderId" not in values or values["orderId"] == str(t["orderId"])]

    def _shown(self, order: dict[str, Any]) -> dict[str, Any]:
        return {**order, "cummulativeQuoteQty": f"{Decimal(order['executedQty']) * Decimal(order['price']):f}"}

    # --- the private stream

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                asked = msgspec.json.decode(message.data)
                await socket.send_str(f'{{"id":"{asked["id"]}","status":200,"result":{{"subscriptionId":0}}}}')
                self.sockets.append(socket)
                self.subscribed.set()
        if socket in self.sockets:
            self.sockets.remove(socket)
        return socket

    def _push(self, order: dict[str, Any], kind: str, trade: dict[str, Any] | None = None) -> None:
        event = {
            "e": "executionReport",
            "E": self._now(),
            "s": order["symbol"],
            "c": order["clientOrderId"] if kind != "CANCELED" else "cancel-1",
            "C": order["clientOrderId"] if kind == "CANCELED" else "",
            "S": order["side"],
            "f": order["timeInForce"],
            "q": order["origQty"],
            "p": order["price"],
            "x": kind,
            "X": order["status"],
            "r": "NONE",
            "i": order["orderId"],
            "l": trade["qty"] if trade else "0",
            "L": trade["price"] if trade else "0",
            "z": order["executedQty"],
            "n": trade["commission"] if trade else "0",
            "N": trade["commissionAsset"] if trade else None,
            "t": trade["id"] if trade else -1,
            "m": False,
            "T": self._now(),
        }
        self.push({"subscriptionId": 0, "event": event})

    def push(self, frame: Any) -> None:
        """Push a frame, as often as the test said."""
        if self.is_mute:
            return
        text = frame if isinstance(frame, str) else msgspec.json.encode(frame).decode()
        for socket in list(self.sockets):
            for _ in range(self.repeat_pushes):
                self._tasks.append(asyncio.ensure_future(socket.send_str(text)))


async def _flooded(request: web.Request, kind: str) -> web.StreamResponse:
    """An answer without end, or of which little is sent."""
    if kind == "gzip":
        packer = zlib.compressobj(wbits=31)
        body = b"".join(packer.compress(b" " * (1 << 20)) for _ in range(100)) + packer.flush()
        return web.Response(body=body, content_type="application/json", headers={"Content-Encoding": "gzip"})
    answer = web.StreamResponse()
    answer.content_type = "application/json"
    await answer.prepare(request)
    with contextlib.suppress(ConnectionError):
        while True:
            await answer.write(b" " * (1 << 16))
    return answer


def _error(code: int, text: str) -> web.Response:
    return web.json_response({"code": code, "msg": text}, status=400)


_INFO: dict[str, Any] = {
    "timezone": "UTC",
    "rateLimits": [],
    "symbols": [
        {
            "symbol": SYMBOL,
            "status": "TRADING",
            "baseAsset": "BTC",
            "baseAssetPrecision": 8,
            "quoteAsset": "USDT",
            "quotePrecision": 8,
            "quoteAssetPrecision": 8,
            "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET"],
            "isSpotTradingAllowed": True,
            "isMarginTradingAllowed": False,
            "filters": [
                {"filterType": "PRICE_FILTER", "minPrice": "0.01000000", "maxPrice": "1000000.00000000", "tickSize": "0.01000000"},
                {"filterType": "LOT_SIZE", "minQty": "0.00001000", "maxQty": "9000.00000000", "stepSize": "0.00001000"},
                {"filterType": "NOTIONAL", "minNotional": "5.00000000"},
            ],
            "permissions": ["SPOT"],
        }
    ],
}
