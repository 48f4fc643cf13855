"""Binance's WebSocket API: requests and answers by id, keys in the parameters or logged on, user streams on the same socket."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import msgspec

from xarb.serve.binance.errors import ApiError, missing
from xarb.serve.binance.parameters import Parameters
from xarb.serve.binance.signing import Key, check_signature, check_time
from xarb.serve.binance.venue import BinanceVenue
from xarb.serve.faults import Fault
from xarb.serve.socket import ABORT, Socket
from xarb.serve.untrusted import object_of

_PUBLIC: Final = {
    "ping": "ping",
    "time": "time",
    "exchangeInfo": "exchangeInfo",
    "depth": "depth",
    "trades.recent": "trades",
    "trades.historical": "historicalTrades",
    "trades.aggregate": "aggTrades",
    "klines": "klines",
    "avgPrice": "avgPrice",
    "ticker.24hr": "ticker/24hr",
    "ticker.price": "ticker/price",
    "ticker.book": "ticker/bookTicker",
}
_PRIVATE: Final = (
    "order.place",
    "order.test",
    "order.cancel",
    "order.status",
    "openOrders.status",
    "openOrders.cancelAll",
    "allOrders",
    "myTrades",
    "account.status",
    "account.commission",
    "account.rateLimits.orders",
)
_SESSION: Final = (
    "session.logon",
    "session.status",
    "session.logout",
    "userDataStream.subscribe",
    "userDataStream.subscribe.signature",
    "userDataStream.unsubscribe",
)
_encode = msgspec.json.Encoder().encode


class RequestSocket:
    """One socket of the WebSocket API.

    Args:
        venue: what answers.
        address: the client's, for the limits.
        rate_limits: whether answers state the limits.
    """

    def __init__(self, venue: BinanceVenue, address: str, *, rate_limits: bool) -> None:
        self._venue = venue
        self._address = address
        self._rate_limits = rate_limits
        self._socket: Socket | None = None
        self._key: Key | None = None
        self._logged_on_ms = 0
        self._subscriptions = 0
        self._connected_ms = venue.exchange.now_ms()

    def open(self, socket: Socket) -> None:
        """The socket stands."""
        self._socket = socket
        socket.farewell = _farewell

    def leave(self) -> None:
        """The socket is gone."""
        if self._socket is not None:
            self._venue.users.unsubscribe(self._socket)

    def read(self, text: str) -> None:
        """Answer one request."""
        assert self._socket is not None
        number: object = None
        method, fault = "", None
        faults = self._venue.house.faults
        rate_limits = self._rate_limits
        try:
            message = _message(text)
            number, method = message.get("id"), str(message.get("method"))
            params = message.get("params") or {}
            rate_limits = bool(params.get("returnRateLimits", rate_limits))
            fault = faults.request(method) if faults.any else None
            if fault is not None:
                self._venue.house.log.note(self._venue.house.venue, "fault", fault.kind, conn=self._socket.conn, body=method)
                if fault.kind == "status":
                    raise ApiError(fault.code or -1000, fault.message, status=fault.status, retry_after_s=fault.retry_after_s)
            answer: dict[str, Any] = {"id": number, "status": 200, "result": self._result(method, params)}
        except ApiError as error:
            body = error.body()
            if error.retry_after_s is not None:
                now = self._venue.exchange.now_ms()
                body["data"] = {"serverTime": now, "retryAfter": now + error.retry_after_s * 1000}
            answer = {"id": number, "status": error.status, "error": body}
        if rate_limits:
            answer["rateLimits"] = self._used()
        self._reply(self._socket, method, _encode(answer).decode(), fault)

    @staticmethod
    def _reply(socket: Socket, method: str, text: str, fault: Fault | None) -> None:
        if fault is None or fault.kind == "status":
            socket.reply(method, text)
        elif fault.kind in {"drop_reply", "close"}:
            socket.close(ABORT)
        elif fault.kind == "truncate":
            socket.reply(method, text[: len(text) // 2])
        elif fault.kind == "delay":
            asyncio.get_running_loop().call_later(float(fault.for_s), socket.reply, method, text)

    def _result(self, method: str, params: dict[str, Any]) -> Any:
        venue, parameters = self._venue, Parameters(params)
        name = _PUBLIC.get(method)
        if name is not None:
            venue.weigh(self._address, venue.weight(name, parameters))
            return venue.public(name, parameters)
        if method in _PRIVATE:
            venue.weigh(self._address, venue.weight(method, parameters))
            key = self._authorized(params, parameters, venue.trading.requests[method].permission)
            return venue.private(method, parameters, key)
        if method not in _SESSION:
            raise ApiError(-1000, f"Unknown method: '{method}'")
        venue.weigh(self._address, 2)
        if method == "userDataStream.subscribe.signature":
            return self._subscribe(self._signed(params, parameters, "read"))
        if method == "userDataStream.subscribe":
            if self._key is None:
                raise ApiError(-2015, "The session must be logged on to subscribe without a signature.", status=401)
            return self._subscribe(self._key)
        if method == "userDataStream.unsubscribe":
            assert self._socket is not None
            venue.users.unsubscribe(self._socket, parameters.optional_integer("subscriptionId"))
            return {}
        return self._session(method, params, parameters)

    def _session(self, method: str, params: dict[str, Any], parameters: Parameters) -> dict[str, Any]:
        if method == "session.logon":
            key = self._venue.keys.find(parameters.optional("apiKey"))
            if not key.is_ed25519:
                raise ApiError(-4056, "HMAC_SHA256 API key is not supported.")
            self._key = self._signed(params, parameters, "read")
            self._logged_on_ms = self._venue.exchange.now_ms()
        elif method == "session.logout":
            self._key = None
        return {
            "apiKey": None if self._key is None else self._key.api_key,
            "authorizedSince": None if self._key is None else self._logged_on_ms,
            "connectedSince": self._connected_ms,
            "returnRateLimits": self._rate_limits,
            "serverTime": self._venue.exchange.now_ms(),
            "userDataStream": self._subscriptions > 0,
        }

    def _authorized(self, params: dict[str, Any], parameters: Parameters, permission: str) -> Key:
        """The key of a request: that of the session where the request names none."""
        if self._key is not None and "apiKey" not in parameters:
            self._venue.keys.find(self._key.api_key, permission)
            check_time(parameters, self._venue.exchange.now_ms())
            return self._key
        return self._signed(params, parameters, permission)

    def _signed(self, params: dict[str, Any], parameters: Parameters, permission: str) -> Key:
        if "apiKey" not in parameters:
            raise missing("apiKey")
        key = self._venue.keys.find(parameters.optional("apiKey"), permission)
        check_time(parameters, self._venue.exchange.now_ms())
        payload = "&".join(f"{name}={_text(params[name])}" for name in sorted(params) if name != "signature")
        check_signature(key, payload.encode(), parameters.optional("signature"))
        return key

    def _subscribe(self, key: Key) -> dict[str, Any]:
        assert self._socket is not None
        number = self._subscriptions
        self._subscriptions += 1
        self._venue.users.subscribe(key.account, self._socket, number)
        return {"subscriptionId": number}

    def _used(self) -> list[dict[str, Any]]:
        now = self._venue.house.clock.wall_ns()
        first = self._venue.market_data.rate_limits()[0]
        return [{**first, "count": self._venue.limits.weight_used(self._address, now)}]


def _farewell(now_ms: int) -> str:
    return f'{{"event":{{"e":"serverShutdown","E":{now_ms}}}}}'


def _message(text: str) -> dict[str, Any]:
    try:
        message = object_of(text)
    except ValueError:
        raise ApiError(-1135, "Invalid JSON Request.") from None
    if not isinstance(message.get("method"), str) or not isinstance(message.get("params") or {}, dict):
        raise ApiError(-1135, "Invalid JSON Request: 'method' must be a string and 'params' an object.")
    return message


def _text(value: object) -> str:
    """A parameter as it is signed."""
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


__all__ = ["RequestSocket"]
