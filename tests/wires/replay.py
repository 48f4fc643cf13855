"""Recorded connections and books rebuilt from them, for the tests of wire sessions."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import pytest

from xarb.wires.events import APPLY, DepthEvent, LinkEvent, WireEvent
from xarb.wires.session import Session

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "data" / "exchange-wire-cryptofeed"


class Frame(NamedTuple):
    """What came: when by the recorder's clock, the request that it answers (empty for the stream), and its bytes."""

    at: float
    url: str
    payload: bytes


def captured(name: str) -> list[Frame]:
    """The received lines of a recording; without it the test is skipped."""
    path = FOLDER / name
    if not path.is_file():
        pytest.skip(f"the real recordings are not there: {path}")
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        head, _, text = line.partition(": ")
        if not text or " <- " in head or "<->" in head:
            continue
        url, _, at = head.rpartition(" -> ")
        found.append(Frame(float(at), url, ast.literal_eval(text) if text.startswith("b'") else text.encode()))
    return found


class Book:
    """A book rebuilt from applied events, keyed by exact prices."""

    def __init__(self) -> None:
        self.bids: dict[Decimal, Decimal] = {}
        self.asks: dict[Decimal, Decimal] = {}
        self.last: int | None = None

    def take(self, event: DepthEvent) -> None:
        """Apply one event."""
        if event.is_snapshot:
            self.bids, self.asks = {}, {}
        for side, prices, qtys in ((self.bids, event.bids, event.bid_qtys), (self.asks, event.asks, event.ask_qtys)):
            for price, qty in zip(prices, qtys, strict=True):
                self.set(side, exact(price, event.px_scale), exact(qty, event.qty_scale))
        self.last = event.venue_seq

    def set(self, side: dict[Decimal, Decimal], price: Decimal, qty: Decimal) -> None:
        """One level; size 0 removes it."""
        if qty:
            side[price] = qty
        else:
            side.pop(price, None)

    @property
    def top(self) -> tuple[Decimal, Decimal, Decimal, Decimal]:
        """Best bid, its size, best ask, its size."""
        bid, ask = max(self.bids), min(self.asks)
        return bid, self.bids[bid], ask, self.asks[ask]


def exact(number: int, scale: int) -> Decimal:
    """An integer at a scale as the number that it stands for."""
    return Decimal(number).scaleb(-scale)


class Replay:
    """Plays frames into a session, as a live adapter does, and rebuilds the books that it vouches for.

    Args:
        session: the session.
        snapshots: the answer to each snapshot request, by native name; None: such a request stays without one.
    """

    def __init__(self, session: Session, snapshots: Callable[[str], bytes | None]) -> None:
        self.session = session
        self.books: dict[str, Book] = {}
        self.links: list[tuple[str | None, str]] = []
        self._snapshots = snapshots

    def feed(self, payload: bytes, native: str | None = None) -> list[WireEvent]:
        """The events of one frame, with those of the snapshots that it made the session ask for."""
        events = self.session.receive(payload, native)
        for event in events:
            if isinstance(event, LinkEvent):
                self.links.append((event.symbol, event.event))
                if event.event == "gap":
                    self.books.pop(event.symbol or "", None)
            elif isinstance(event, DepthEvent) and event.verdict == APPLY:
                self.books.setdefault(event.listing.instrument.symbol, Book()).take(event)
        for wanted in self._fetches():
            answer = self._snapshots(wanted)
            if answer is not None:
                events = events + self.feed(answer, wanted)
        return events

    def _fetches(self) -> Iterator[str]:
        for ask in self.session.asks():
            native = getattr(ask, "native", None)
            if native is not None:
                yield native


def replayed(session: Session, frames: Iterable[Frame], snapshots: Mapping[str, bytes]) -> tuple[Replay, list[WireEvent]]:
    """A replay that answers the first snapshot request of each instrument, and all its events."""
    replay = answering(session, snapshots)
    return replay, [event for frame in frames for event in replay.feed(frame.payload)]


def answering(session: Session, snapshots: Mapping[str, bytes]) -> Replay:
    """A replay that answers the first snapshot request of each instrument."""
    left = dict(snapshots)
    return Replay(session, lambda native: left.pop(native, None))
