"""The web application of one venue that speaks OKX: REST, and its public, private and business sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

import msgspec
from aiohttp import web

from xarb.serve.config import KeyConfig
from xarb.serve.conversation import Visitor, converse
from xarb.serve.faults import Fault
from xarb.serve.limits import TooMany
from xarb.serve.okx.channels import PRIVATE
from xarb.serve.okx.errors import OkxError
from xarb.serve.okx.rest import OkxRest, batch_answer
from xarb.serve.okx.venue import OkxVenue
from xarb.serve.socket import ABORT, Socket
from xarb.serve.untrusted import is_flat, object_of

HOSTS: Final = ("www.okx.com", "ws.okx.com", "localhost")
_BEAT_S: Final = 0.1
_FLUSH_BEATS: Final = 10
_ECHO: Final = 200  # characters of a message that is said to be illegal
_OPS: Final = ("order", "batch-orders", "cancel-order", "batch-cancel-orders")
_NOTICE: Final = {
    "event": "notice",
    "code": "64008",
    "msg": "The connection will soon be closed for a service upgrade. Please reconnect.",
}
_encode = msgspec.json.Encoder().encode


class OkxApp:
    """Requests and sockets of one venue.

    Args:
        venue: what answers.
        touched: called at every request and connection.
    """

    def __init__(self, venue: OkxVenue, touched: Callable[[], None]) -> None:
        self._venue = venue
        self._touched = touched
        self._rest = OkxRest(venue)

    def routes(self) -> list[web.AbstractRouteDef]:
        """What the application serves."""
        sockets = [web.get(f"/ws/v5/{name}", self._socket) for name in ("public", "private", "business")]
        return [*sockets, web.route("*", "/{path:.*}", self._any)]

    def census(self) -> dict[str, int]:
        """Open sockets, public channels that somebody listens to, sockets on private ones, countdowns that run."""
        channels, sockets = self._venue.channels, len(self._venue.house.sockets)
        return {
            "sockets": sockets,
            "streams": channels.listened,
            "users": channels.users,
            "countdowns": self._venue.countdowns.running,
        }

    def end_user_streams(self) -> None:
        """OKX has no such event: the login ends, and with it what is told."""
        self._venue.channels.forget_accounts()

    async def pulse(self) -> None:
        """Keep the rhythm of the channels until canceled."""
        loop, beat = asyncio.get_running_loop(), 0
        start = loop.time()
        while True:
            beat += 1
            await asyncio.sleep(max(0.0, start + beat * _BEAT_S - loop.time()))
            self._venue.countdowns.look()
            self._venue.channels.beat()
            if beat % _FLUSH_BEATS == 0:
                self._venue.house.log.flush()

    async def _any(self, request: web.Request) -> web.StreamResponse:
        self._touched()
        return await self._rest.handle(request)

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        self._touched()
        try:
            self._venue.connect(request.remote or "")
        except TooMany as many:
            return web.Response(status=429, headers={"Retry-After": str(many.wait_s)})
        socket = OkxSocket(self._venue, request.path.rpartition("/")[2])
        return await converse(request, self._venue.house, Visitor(socket.open, socket.read, socket.leave))


class OkxSocket:
    """One socket: subscriptions, a login, and on a private one orders.

    Args:
        venue: what answers.
        kind: public, private or business.
    """

    def __init__(self, venue: OkxVenue, kind: str) -> None:
        self._venue = venue
        self._kind = kind
        self._socket: Socket | None = None
        self._key: KeyConfig | None = None

    def open(self, socket: Socket) -> None:
        """The socket stands."""
        self._socket = socket
        socket.farewell = lambda _: _encode(_NOTICE | {"connId": f"{socket.conn:08x}"}).decode()

    def leave(self) -> None:
        """The socket is gone."""
        if self._socket is not None:
            self._venue.channels.forget(self._socket)

    def read(self, text: str) -> None:
        """Answer one message."""
        socket = self._socket
        assert socket is not None
        if text == "ping":
            socket.reply("pong", "pong")
            return
        try:
            message = _read(text)
            op, args = message.get("op"), message.get("args")
            if not isinstance(op, str) or not isinstance(args, list) or not all(is_flat(one) for one in args):
                raise _illegal(text)
            if op in _OPS:
                self._order(socket, message)
            elif op == "login":
                self._key = self._venue.keys.of_login(args[0] if args else {}, now_ms=self._venue.exchange.now_ms())
                self._say(socket, {"event": "login", "code": "0", "msg": ""})
            elif op in {"subscribe", "unsubscribe"}:
                for arg in args:
                    self._subscription(socket, op, arg)
            else:
                raise _illegal(text)
        except OkxError as error:
            self._say(socket, {"event": "error", "code": error.code, "msg": error.message})

    def _subscription(self, socket: Socket, op: str, arg: dict[str, Any]) -> None:
        channels, channel = self._venue.channels, arg.get("channel")
        is_private = channel in PRIVATE
        if is_private and (self._key is None or self._kind != "private"):
            raise OkxError("60011", "Please log in")
        if not is_private and (self._kind != "public" or not channels.knows(arg)):
            named = ",".join(f"{name}:{value}" for name, value in arg.items())
            raise OkxError("60018", f"Wrong URL or {named} doesn't exist. Please use the correct URL, channel and parameters.")
        if op == "unsubscribe":
            channels.forget(socket, arg)
        self._say(socket, {"event": op, "arg": arg})
        if op == "subscribe" and is_private:
            assert self._key is not None
            channels.listen_privately(socket, arg, self._key.account)
        elif op == "subscribe":
            channels.listen(socket, arg)

    def _order(self, socket: Socket, message: dict[str, Any]) -> None:
        op, args, faults = message["op"], message["args"], self._venue.house.faults
        fault = faults.request(op) if faults.any else None
        if fault is not None:
            self._venue.house.log.note(self._venue.house.venue, "fault", fault.kind, conn=socket.conn, body=op)
        answer = {"id": str(message.get("id", "")), "op": op}
        try:
            if fault is not None and fault.kind == "status":
                raise OkxError(str(fault.code or 50001), fault.message)
            if self._key is None or self._kind != "private":
                raise OkxError("60011", "Please log in")
            if "trade" not in self._key.permissions:
                raise OkxError("50120", "This API key doesn't have permission to use this function")
            self._venue.countdowns.look()
            trading = self._venue.trading
            act = trading.cancel if "cancel" in op else trading.place
            answer |= batch_answer(act(args, self._key)) | {"msg": ""}  # on a socket the items alone say what is wrong
        except OkxError as error:
            answer |= error.body()
        now = str(self._venue.exchange.now_ms() * 1000)
        _deliver(socket, op, _encode({**answer, "inTime": now, "outTime": now}).decode(), fault)

    def _say(self, socket: Socket, message: dict[str, Any]) -> None:
        socket.reply("answer", _encode({**message, "connId": f"{socket.conn:08x}"}).decode())


def _read(text: str) -> dict[str, Any]:
    try:
        return object_of(text)
    except ValueError:
        raise _illegal(text) from None


def _illegal(text: str) -> OkxError:
    return OkxError("60012", f"Illegal request: {text[:_ECHO]}")


def _deliver(socket: Socket, op: str, text: str, fault: Fault | None) -> None:
    """Answer an order as the fault lets it through."""
    if fault is None or fault.kind == "status":
        socket.reply(op, text)
    elif fault.kind in {"drop_reply", "close"}:
        socket.close(ABORT)
    elif fault.kind == "truncate":
        socket.reply(op, text[: len(text) // 2])
    elif fault.kind == "delay":
        asyncio.get_running_loop().call_later(float(fault.for_s), socket.reply, op, text)


__all__ = ["HOSTS", "OkxApp"]
