"""What a live adapter and a wire session say to each other: frames and answers in, events out, and what the session asks to be done.

A session is pure: it reads no clock and touches no socket. The adapter sends what it asks to be sent, fetches what it asks to be fetched, and
reconnects when it says so.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from xarb.wires.events import WireEvent


class Send(msgspec.Struct, frozen=True, gc=False):
    """Write this text on the socket: a subscription, a ping, a pong."""

    text: str


class Fetch(msgspec.Struct, frozen=True, gc=False):
    """GET `path` (with its query) at the venue's public REST address; the body goes to `Session.receive(body, native)`."""

    path: str
    native: str


class Reopen(msgspec.Struct, frozen=True, gc=False):
    """Close the connection and open another one, which starts with a new session."""

    reason: str


Ask = Send | Fetch | Reopen


class Session(Protocol):
    """The protocol of one connection: decodes, judges continuity, and says what is to be done."""

    venue: str

    def open(self, ts: int) -> list[Ask]:
        """What to do once connected, at `ts` ns: subscriptions, and snapshots to fetch."""

    def receive(self, payload: bytes, native: str | None = None) -> list[WireEvent]:
        """The events of a frame, or of the answer to a `Fetch` of the instrument with that native name; bad input is a reject."""

    def asks(self) -> list[Ask]:
        """What is to be done after the frames received so far; a call takes them. Nearly always empty."""

    def tick(self, ts: int) -> list[Ask]:
        """Called a few times a second with the time in ns: pings that are due, snapshots that never came."""
