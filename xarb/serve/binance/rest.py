"""Binance's REST: paths to requests, the gate (limits, key, time, signature), headers, and the faults that strike here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from xarb.serve.binance.errors import ApiError
from xarb.serve.binance.parameters import Parameters
from xarb.serve.binance.signing import check_signature, check_time
from xarb.serve.binance.venue import BinanceVenue
from xarb.serve.replies import Reply, failed, send
from xarb.serve.untrusted import Repeated, body_of, fields_of

if TYPE_CHECKING:
    from aiohttp import web

_PUBLIC: Final = (
    "ping",
    "time",
    "exchangeInfo",
    "depth",
    "trades",
    "historicalTrades",
    "aggTrades",
    "klines",
    "avgPrice",
    "ticker/24hr",
    "ticker/price",
    "ticker/bookTicker",
)
PRIVATE: Final = {
    ("POST", "/api/v3/order"): "order.place",
    ("POST", "/api/v3/order/test"): "order.test",
    ("DELETE", "/api/v3/order"): "order.cancel",
    ("GET", "/api/v3/order"): "order.status",
    ("GET", "/api/v3/openOrders"): "openOrders.status",
    ("DELETE", "/api/v3/openOrders"): "openOrders.cancelAll",
    ("GET", "/api/v3/allOrders"): "allOrders",
    ("GET", "/api/v3/myTrades"): "myTrades",
    ("GET", "/api/v3/account"): "account.status",
    ("GET", "/api/v3/account/commission"): "account.commission",
    ("GET", "/api/v3/rateLimit/order"): "account.rateLimits.orders",
    ("GET", "/sapi/v1/asset/tradeFee"): "tradeFee",
    ("GET", "/sapi/v1/account/apiRestrictions"): "apiRestrictions",
    ("GET", "/sapi/v1/capital/config/getall"): "coins",
    ("GET", "/sapi/v1/bnbBurn"): "bnbBurn",
    # No deposits, withdrawals or margin here: the true answer is an empty list.
    ("GET", "/sapi/v1/capital/deposit/hisrec"): "nothing",
    ("GET", "/sapi/v1/capital/withdraw/history"): "nothing",
    ("GET", "/sapi/v1/margin/allPairs"): "nothing",
    ("GET", "/sapi/v1/margin/isolated/allPairs"): "nothing",
}
_NOT_FOUND: Final = "<html><head><title>404 Not found</title></head><body>404 Not found</body></html>"
_encode = msgspec.json.Encoder().encode


class Rest:
    """The REST side of one venue.

    Args:
        venue: what answers.
    """

    def __init__(self, venue: BinanceVenue) -> None:
        self._venue = venue

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        house, name = self._venue.house, f"{request.method} {request.path}"
        _, _, query = request.raw_path.partition("?")
        body = await body_of(request)
        number = house.log.next_id()
        house.log.note(house.venue, "request", name, exchange_id=number, body=f"{query}{'&' if query and body else ''}{body}")
        fault = house.faults.request(name) if house.faults.any else None
        if fault is not None:
            house.log.note(house.venue, "fault", fault.kind, exchange_id=number, body=name)
        if fault is not None and fault.kind == "status":
            reply = failed(fault, None if fault.code is None else {"code": fault.code, "msg": fault.message})
        elif fault is not None and fault.kind == "empty":
            reply = Reply(200, b"[]", self._headers(request.remote or "", None))
        else:
            reply = self._answer(request, query, body)
        house.log.note(
            house.venue, "reply", name, exchange_id=number, status=reply.status, body=reply.body.decode() if house.log.is_on else ""
        )
        return await send(request, reply, fault)

    def _answer(self, request: web.Request, query: str, body: str) -> Reply:
        public = request.path.removeprefix("/api/v3/")
        name = public if request.method == "GET" and public in _PUBLIC else PRIVATE.get((request.method, request.path))
        if name is None:
            return Reply(404, _NOT_FOUND.encode(), {"Content-Type": "text/html"})
        venue, address = self._venue, request.remote or ""
        account: str | None = None
        try:
            parameters = _parameters(query, body)
            venue.weigh(address, venue.weight(name, parameters))
            if name in _PUBLIC:
                found = venue.public(name, parameters)
            else:
                key = venue.keys.find(request.headers.get("X-MBX-APIKEY"), venue.trading.requests[name].permission)
                account = key.account
                check_time(parameters, venue.exchange.now_ms())
                payload = _unsigned(query) + _unsigned(body)
                check_signature(key, payload.encode(), parameters.optional("signature"))
                found = venue.private(name, parameters, key)
        except ApiError as error:
            headers = self._headers(address, account if name == "order.place" else None)
            if error.retry_after_s is not None:
                headers["Retry-After"] = str(error.retry_after_s)
            return Reply(error.status, _encode(error.body()), headers)
        return Reply(200, _encode(found), self._headers(address, account if name == "order.place" else None))

    def _headers(self, address: str, account: str | None) -> dict[str, str]:
        now = self._venue.house.clock.wall_ns()
        used = str(self._venue.limits.weight_used(address, now))
        headers = {
            "Content-Type": "application/json;charset=UTF-8",
            "X-MBX-USED-WEIGHT": used,
            "X-MBX-USED-WEIGHT-1M": used,
        }
        if account is not None:
            tens, day = self._venue.limits.orders_used(account, now)
            headers |= {"X-MBX-ORDER-COUNT-10S": str(tens), "X-MBX-ORDER-COUNT-1D": str(day)}
        return headers


def _parameters(query: str, body: str) -> Parameters:
    """Of both places; what stands in both is taken from the query, as the exchange documents.

    Raises:
        ApiError: one comes twice in one of them.
    """
    try:
        return Parameters(fields_of(body) | fields_of(query))
    except Repeated:
        raise ApiError(-1101, "Duplicate values for a parameter detected.") from None


def _unsigned(text: str) -> str:
    return "&".join(part for part in text.split("&") if not part.startswith("signature="))


__all__ = ["PRIVATE", "Rest"]
