"""The user stream: executionReport and outboundAccountPosition to every subscription of an account."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from xarb.serve.binance import order_shapes
from xarb.serve.book import Change
from xarb.serve.exchange import Exchange, Listing
from xarb.serve.orders import Fill, ServedOrder
from xarb.serve.socket import Socket
from xarb.serve.tape import Print

_encode = msgspec.json.Encoder().encode


class Users:
    """Who is told of which account at one venue.

    Args:
        exchange: the venue.
    """

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._subscriptions: dict[str, dict[tuple[Socket, int], None]] = {}  # by account: socket and number there
        self._events = 0
        exchange.watch(self)

    @property
    def count(self) -> int:
        """Subscriptions of all accounts."""
        return sum(len(subscriptions) for subscriptions in self._subscriptions.values())

    def subscribe(self, account: str, socket: Socket, number: int) -> None:
        """Tell a socket what happens to an account."""
        self._subscriptions.setdefault(account, {})[socket, number] = None

    def unsubscribe(self, socket: Socket, number: int | None = None) -> None:
        """Tell it no more: one subscription, or all of the socket."""
        for subscriptions in self._subscriptions.values():
            for key in [key for key in subscriptions if key[0] is socket and number in {None, key[1]}]:
                del subscriptions[key]

    def terminate(self) -> None:
        """End every subscription with the event that says so."""
        event = {"e": "eventStreamTerminated", "E": self._exchange.now_ms()}
        for account in self._subscriptions:
            self._tell(account, "eventStreamTerminated", event)
        self._subscriptions.clear()

    def order_moved(self, order: ServedOrder, what: str, fill: Fill | None) -> None:
        """An order changed."""
        self._events += 1
        event = order_shapes.execution(order, what, fill, event_id=self._events, now_ms=self._exchange.now_ms())
        self._tell(order.intent.account, "executionReport", event)

    def money_moved(self, account: str, assets: Sequence[str]) -> None:
        """Balances changed."""
        purse = self._exchange.desk.purse(account, self._exchange.name)
        self._tell(account, "outboundAccountPosition", order_shapes.position(purse, assets, now_ms=self._exchange.now_ms()))

    def book_moved(self, listing: Listing, changes: Sequence[Change]) -> None:
        """Public."""

    def printed(self, listing: Listing, one: Print) -> None:
        """Public."""

    def _tell(self, account: str, name: str, event: dict[str, Any]) -> None:
        for socket, number in self._subscriptions.get(account, ()):
            socket.push(name, _encode({"subscriptionId": number, "event": event}).decode())


__all__ = ["Users"]
