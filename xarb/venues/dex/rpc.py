"""One connection to a node of an EVM chain: calls and subscriptions over WebSocket or the node's own socket file.

web3 makes and keeps the connection; what arrives is handed on in the pass of the event loop that read it. Its own ways of waiting for an
answer (a spin of the loop), of queueing what was subscribed (500 messages, then nothing is read) and of coming back (with the old subscriptions)
are not used: a `Rpc` lives for one connection, and whoever wants another makes another.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import msgspec

from xarb.errors import ConfigError, Rejected, Retryable

if TYPE_CHECKING:
    from web3.providers.persistent import PersistentConnectionProvider

_BATCH: Final = 100  # calls in one message; public nodes take 100 to 1,000
_ENV: Final = "env:"
_MB: Final = 1 << 20


class RpcLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of a connection.

    Attributes:
        connect_s: time for it to be made.
        call_s: time for an answer.
        ping_s: interval of pings over WebSocket, and how long an answer to one may take.
        close_s: how long the other side may take to say goodbye.
        message_mb: longest message; web3's own bound of 1 MiB ends the connection at a block with some 2,000 logs.
    """

    connect_s: float = 10.0
    call_s: float = 10.0
    ping_s: float = 5.0
    close_s: float = 0.5
    message_mb: int = 64


class Rpc:
    """A connection; `open` it, and `close` it.

    Args:
        address: `ws://` or `wss://`, the path of a socket file, or `env:NAME` of an environment variable that holds either.
        push: takes the name of a subscription and what it says; it must not raise.
        limits: bounds.

    Attributes:
        shown: the address without what may be secret in it.
        messages: that arrived.
        ended: done with the reason when the connection is over.
    """

    def __init__(self, address: str, push: Callable[[str, Any], None], limits: RpcLimits | None = None) -> None:
        self.shown = shown(address)
        self._address, self._push, self._limits = resolved(address), push, limits or RpcLimits()
        self._provider: PersistentConnectionProvider | None = None
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._names: dict[str, str] = {}  # of subscriptions, by their ids
        self._early: dict[str, list[Any]] = {}  # what came for an id whose name is not known yet
        self._next = 0
        self.messages = 0
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def open(self) -> None:
        """Connect.

        Raises:
            Retryable: no connection was to be had.
        """
        self._provider = _provider(self._address, self._limits, take=self._take, end=self.end)
        try:
            async with asyncio.timeout(self._limits.connect_s):
                await self._provider.connect()
        except Exception as error:  # noqa: BLE001  # web3's, websockets' and the system's own: there is no connection
            raise Retryable(f"{self.shown}: {_words(error, self._address)}", reason="unreachable") from None

    async def call(self, method: str, *params: Any) -> Any:
        """What a node answers to one call, as it is in the JSON.

        Raises:
            Retryable: the connection ended, or no answer came in time. Rejected: the node says no.
        """
        return _result(method, (await self._ask([(method, params)]))[0])

    async def many(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        """The answers to many calls, in order, some hundred in a message.

        Raises:
            Retryable: as `call`. Rejected: the node says no to one of them.
        """
        found = await self.each(calls)
        for one in found:
            if isinstance(one, Rejected):
                raise one
        return found

    async def each(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        """The same, with a `Rejected` in the place of each answer that the node denies.

        Raises:
            Retryable: as `call`.
        """
        found: list[Any] = []
        for at in range(0, len(calls), _BATCH):
            part = calls[at : at + _BATCH]
            for (method, _), answer in zip(part, await self._ask(part), strict=True):
                try:
                    found.append(_result(method, answer))
                except Rejected as error:
                    found.append(error)
        return found

    async def subscribe(self, name: str, *params: Any) -> None:
        """Subscribe; what comes goes to `push` under `name`.

        Raises:
            Retryable: as `call`. Rejected: the node has no such subscription.
        """
        number = str(await self.call("eth_subscribe", *params))
        self._names[number] = name
        for said in self._early.pop(number, ()):
            self._push(name, said)

    async def close(self) -> None:
        """End the connection; what is still asked for fails."""
        self.end("closed by us")
        if self._provider is not None:
            try:
                async with asyncio.timeout(2 * self._limits.close_s + 1):
                    await self._provider.disconnect()
            except Exception:  # noqa: BLE001, S110  # it is thrown away in any case
                pass

    async def _ask(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        if self._provider is None or self.ended.done():
            raise Retryable(f"{self.shown}: not connected", reason="lost")
        loop = asyncio.get_running_loop()
        numbers = range(self._next + 1, self._next + 1 + len(calls))
        self._next += len(calls)
        waiting: list[asyncio.Future[Any]] = [loop.create_future() for _ in calls]
        self._answers.update(zip(numbers, waiting, strict=True))
        requests = [
            {"jsonrpc": "2.0", "id": number, "method": method, "params": list(params)}
            for number, (method, params) in zip(numbers, calls, strict=True)
        ]
        try:
            async with asyncio.timeout(self._limits.call_s):
                await self._provider.socket_send(msgspec.json.encode(requests if len(requests) > 1 else requests[0]))
                _pass_on_cancel()
                return list(await asyncio.gather(*waiting))
        except TimeoutError:
            raise Retryable(f"{self.shown}: {calls[0][0]}: no answer in {self._limits.call_s:g} s", reason="late") from None
        except Retryable:
            raise
        except Exception as error:  # noqa: BLE001  # as above: it was not sent, or nobody will answer
            raise Retryable(f"{self.shown}: {calls[0][0]}: {_words(error, self._address)}", reason="lost") from None
        finally:
            for number, one in zip(numbers, waiting, strict=True):
                self._answers.pop(number, None)
                one.cancel()

    def _take(self, message: Any) -> None:
        """Something arrived."""
        self.messages += 1
        if isinstance(message, list):
            for one in message:
                self._take_one(one)
        else:
            self._take_one(message)

    def _take_one(self, message: Any) -> None:
        if not isinstance(message, dict):
            self.end(f"a message is {type(message).__name__}, no object")
        elif message.get("method") == "eth_subscription":
            self._take_push(message.get("params"))
        elif (waiting := self._answers.pop(message.get("id"), None)) is not None and not waiting.done():  # type: ignore[arg-type]  # any JSON
            waiting.set_result(message)

    def _take_push(self, params: Any) -> None:
        if not isinstance(params, dict) or not isinstance(params.get("subscription"), str):
            self.end("a message of a subscription names none")
            return
        number = params["subscription"]
        if number in self._names:
            self._push(self._names[number], params.get("result"))
        elif len(self._early) < len(self._answers) and len(self._early.setdefault(number, [])) < _BATCH:
            self._early[number].append(params.get("result"))  # it overtook the answer that names it

    def end(self, why: str) -> None:
        """The connection is over; what is asked for fails. Whoever made it must still `close` it."""
        if not self.ended.done():
            self.ended.set_result(why)
        for waiting in self._answers.values():
            if not waiting.done():
                waiting.set_exception(Retryable(f"{self.shown}: {why}", reason="lost"))
                waiting.exception()  # seen: whoever asked may be gone


def _pass_on_cancel() -> None:
    """web3 sends within `asyncio.wait_for`, which before Python 3.12 swallows a cancel that comes as the sending ends (bpo-37658)."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _result(method: str, answer: Any) -> Any:
    """The result of an answer.

    Raises:
        Rejected: it is an error.
    """
    if "result" in answer:
        return answer["result"]
    error = answer.get("error")
    said = error if isinstance(error, dict) else {}
    raise Rejected(f"{method}: {said.get('code')} {said.get('message')!s:.300}", reason=f"rpc {said.get('code')}")


def resolved(address: str) -> str:
    """The address itself.

    Raises:
        ConfigError: it names an environment variable that is not set, or is neither a WebSocket's nor a path.
    """
    found = os.environ.get(address.removeprefix(_ENV), "") if address.startswith(_ENV) else address
    if not found:
        raise ConfigError(f"rpc {address}: the environment variable is not set")
    if "://" in found and urlsplit(found).scheme not in ("ws", "wss"):
        raise ConfigError(f"rpc {shown(address)}: allowed are ws:// and wss:// addresses, and paths of a node's socket file")
    return found


def shown(address: str) -> str:
    """An address for logs: of one that may hold a key, its host."""
    if address.startswith(_ENV) or "://" not in address:
        return address
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")


def _words(error: Exception, address: str) -> str:
    """What went wrong, without the address, which may hold a key."""
    return f"{type(error).__name__} {error}".replace(address, shown(address))[:300].strip()


def _provider(address: str, limits: RpcLimits, *, take: Callable[[Any], None], end: Callable[[str], None]) -> Any:
    socket, ipc = _providers()
    bounds: dict[str, Any] = {"request_timeout": limits.call_s, "max_connection_retries": 1}
    if "://" not in address:
        return ipc(take, end, address, read_buffer_limit=limits.message_mb * _MB, **bounds)
    kept = {
        "max_size": limits.message_mb * _MB,
        "ping_interval": limits.ping_s,
        "ping_timeout": limits.ping_s,
        "close_timeout": limits.close_s,
        "open_timeout": limits.connect_s,
        "compression": None,
    }
    return socket(take, end, address, websocket_kwargs=kept, use_text_frames=True, **bounds)


@lru_cache(maxsize=1)
def _providers() -> tuple[Any, Any]:
    """web3's providers for WebSocket and socket files, handing on what they read; imported so that nothing else changes.

    A package below web3 raises the interpreter's limit of recursion (see `venues.wallets.eth_accounts`).
    """
    limit = sys.getrecursionlimit()
    try:
        from web3.exceptions import PersistentConnectionClosedOK
        from web3.providers.persistent import AsyncIPCProvider, WebSocketProvider
    finally:
        sys.setrecursionlimit(limit)

    class Direct:
        """Reads for as long as there is something to read; its listener never sees a message."""

        def __init__(self, take: Callable[[Any], None], end: Callable[[str], None], *words: Any, **named: Any) -> None:
            super().__init__(*words, **named)
            self._hand_on, self._tell_end = take, end

        async def socket_recv(self) -> Any:
            try:
                while True:
                    self._hand_on(await super().socket_recv())  # type: ignore[misc]  # of the provider beside it
            except Exception as error:  # noqa: BLE001  # whatever it is, nothing more is read here, and whoever asked is told
                self._tell_end(f"{type(error).__name__} {error}"[:300])
                raise PersistentConnectionClosedOK(user_message="told") from None  # the listener's own way to end

    class Socket(Direct, WebSocketProvider):
        """WebSocket."""

    class Ipc(Direct, AsyncIPCProvider):
        """The node's socket file."""

        async def _reset_socket(self) -> None:
            """web3 would send on over a new connection, which has none of the subscriptions."""
            raise ConnectionResetError("the node closed its socket")

    return Socket, Ipc


__all__ = ["Rpc", "RpcLimits", "resolved", "shown"]
