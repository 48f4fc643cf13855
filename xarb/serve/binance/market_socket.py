"""What a client may say on a market stream socket: SUBSCRIBE, UNSUBSCRIBE, LIST_SUBSCRIPTIONS and the `combined` property."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from xarb.serve.binance.streams import Listener, Streams, is_stream
from xarb.serve.socket import Socket
from xarb.serve.untrusted import object_of

_encode = msgspec.json.Encoder().encode
_METHODS: Final = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY")


class MarketSocket:
    """One socket on the streams.

    Args:
        streams: of the venue.
        names: streams of the address it connected to.
        combined: whether frames name their stream.
        most: streams that one socket may have.
    """

    def __init__(self, streams: Streams, names: list[str], *, combined: bool, most: int) -> None:
        self._streams = streams
        self._first = names
        self._combined = combined
        self._most = most
        self._listener: Listener | None = None

    def open(self, socket: Socket) -> None:
        """The socket stands."""
        self._listener = Listener(socket, combined=self._combined)
        socket.farewell = self._farewell
        self._streams.subscribe(self._listener, self._first)

    def _farewell(self, now_ms: int) -> str:
        event = f'{{"e":"serverShutdown","E":{now_ms}}}'
        combined = self._listener is not None and self._listener.combined
        return f'{{"stream":"!serverShutdown","data":{event}}}' if combined else event

    def leave(self) -> None:
        """The socket is gone."""
        if self._listener is not None:
            self._streams.leave(self._listener)

    def read(self, text: str) -> None:
        """Answer one message."""
        assert self._listener is not None
        self._listener.socket.reply("answer", _encode(self._answer(self._listener, text)).decode())

    def _answer(self, listener: Listener, text: str) -> dict[str, Any]:
        try:
            message = object_of(text)
        except ValueError as error:
            return _error(3, f"Invalid JSON: {error}", None)
        method, params, number = message.get("method"), message.get("params"), message.get("id")
        if method not in _METHODS:
            return _error(2, f"Invalid request: unknown variant `{method}`, expected one of {', '.join(_METHODS)}", number)
        if method == "LIST_SUBSCRIPTIONS":
            return {"result": list(listener.names), "id": number}
        if method == "GET_PROPERTY":
            return {"result": listener.combined, "id": number}
        if not isinstance(params, list):
            return _error(2, "Invalid request: params must be an array", number)
        if method == "SET_PROPERTY":
            if len(params) != 2 or params[0] != "combined" or not isinstance(params[1], bool):
                return _error(0, "Unknown property", number)
            listener.combined = params[1]
            return {"result": None, "id": number}
        if not all(isinstance(name, str) for name in params):
            return _error(2, "Invalid request: request params must be strings", number)
        names = [name for name in params if is_stream(name)]
        if method == "UNSUBSCRIBE":
            self._streams.unsubscribe(listener, names)
        elif len({*listener.names, *names}) > self._most:
            return _error(4, f"Too many streams: at most {self._most} on one connection", number)
        else:
            self._streams.subscribe(listener, names)
        return {"result": None, "id": number}


def _error(code: int, message: str, number: object) -> dict[str, Any]:
    return {"error": {"code": code, "msg": message}, "id": number}


__all__ = ["MarketSocket"]
