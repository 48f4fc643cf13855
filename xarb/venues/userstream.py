"""The private connection of one account: connects, subscribes, hands on what is pushed, and comes back after every loss.

Whoever listens is told at once of each loss, also while nothing is awaited, and of the moment from which pushes are complete again:
what happened in between only a reconciliation tells.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from collections.abc import Callable
from typing import Any, Final, Protocol

import aiohttp

from xarb.errors import ConfigError
from xarb.venues.account import Account
from xarb.venues.replies import UnreadableReply
from xarb.venues.userwires import BinanceUserSession, Ended, Item, Names, OkxUserSession, Ready, UserSession

FIRST_WAIT_S: Final = 0.2
LONGEST_WAIT_S: Final = 30.0
HEARTBEAT_S: Final = 10.0  # a dead connection is noticed within one and a half of it
TEXT_PING_S: Final = 15.0  # OKX closes after 30 s of silence


class Listener(Protocol):
    """Who is told."""

    def opened(self, epoch: int) -> None:
        """A connection stands; nothing is subscribed yet."""

    def ready(self, epoch: int) -> None:
        """Everything is pushed from now on."""

    def lost(self, epoch: int, reason: str) -> None:
        """The connection is gone; nothing is pushed until `ready`."""

    def told(self, item: Item) -> None:
        """Something was pushed."""

    def unreadable(self, text: str, reason: str) -> None:
        """A frame could not be read; the connection goes on."""


class UserStream:
    """Keeps one account's private stream up until it is stopped.

    Args:
        account: whose.
        names: of symbols and assets.
        listener: who is told, from the loop's own thread.
    """

    def __init__(self, account: Account, names: Names, listener: Listener) -> None:
        self._account = account
        self._names = names
        self._listener = listener
        self.url = stream_url(account)
        self.epoch = 0

    async def run(self) -> None:
        """Connect again and again; ends only by cancellation."""
        wait = FIRST_WAIT_S
        while True:
            self.epoch += 1
            reason = await self._once()
            self._listener.lost(self.epoch, reason)
            was_ready, self._was_ready = self._was_ready, False
            wait = FIRST_WAIT_S if was_ready else min(wait * 2, LONGEST_WAIT_S)
            await asyncio.sleep(wait)

    _was_ready = False

    async def _once(self) -> str:
        """One connection; why it ended, without secrets."""
        session = user_session(self._account, self._names)
        try:
            async with self._account.session.ws_connect(self.url, heartbeat=HEARTBEAT_S, max_msg_size=1 << 22) as socket:
                self._listener.opened(self.epoch)
                for text in session.hello():
                    await socket.send_str(text)
                async with contextlib.AsyncExitStack() as stack:
                    if session.ping is not None:
                        pinger = asyncio.create_task(_ping(socket, session.ping))
                        stack.callback(pinger.cancel)
                    return await self._listen(socket, session)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            return self._account.redact(f"{type(error).__name__}: {error}")

    async def _listen(self, socket: aiohttp.ClientWebSocketResponse, session: UserSession) -> str:
        async for message in socket:
            if message.type is not aiohttp.WSMsgType.TEXT:
                continue
            try:
                items, answers = session.take(message.data)
            except UnreadableReply as error:
                self._listener.unreadable(self._account.redact(message.data), str(error))
                continue
            for text in answers:
                await socket.send_str(text)
            for item in items:
                if isinstance(item, Ended):
                    return item.reason
                if isinstance(item, Ready):
                    self._was_ready = True
                    self._listener.ready(self.epoch)
                else:
                    self._listener.told(item)
        return f"closed with code {socket.close_code}"


async def _ping(socket: aiohttp.ClientWebSocketResponse, text: str) -> None:
    while True:
        await asyncio.sleep(TEXT_PING_S)
        with contextlib.suppress(ConnectionError, aiohttp.ClientError):  # the reader sees the loss too, and says so
            await socket.send_str(text)


def user_session(account: Account, names: Names) -> UserSession:
    """The protocol of one connection of an account.

    Raises:
        ConfigError: none is known for the exchange.
    """
    client = account.client
    if account.rules.stream == "binance":
        return BinanceUserSession(client.sign_params, names)
    if account.rules.stream == "okx":
        return OkxUserSession(lambda: _okx_login(client), names)
    raise ConfigError(f"{account.terms.exchange} has no private stream here; its orders are polled")


def stream_url(account: Account) -> str:
    """Address of the private stream."""
    client = account.client
    if account.rules.stream == "binance":
        return str(client.urls["api"]["ws"]["ws-api"]["spot"])
    return str(client.get_url("orders", "private"))


def _okx_login(client: Any) -> dict[str, str]:
    at = str(int(time.time()))
    text = f"{at}GET/users/self/verify"
    signature = client.hmac(client.encode(text), client.encode(client.secret), hashlib.sha256, "base64")
    return {"apiKey": client.apiKey, "passphrase": client.password, "timestamp": at, "sign": signature}


def names_of(account: Account, native: Callable[[str], str]) -> Names:
    """Names for a session: `native` gives the exchange's name of one of our symbols."""
    return Names({native(symbol): symbol for symbol in account.symbols}, account.client.safe_currency_code)
