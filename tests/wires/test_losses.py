"""Four exchanges that lose messages: whenever a session says that a book is in sync, it is the exchange's book, to the last digit.

The exchange is a plain model: a full book, of which the best levels are sent as each protocol describes, by its documentation of 2026.
"""

from __future__ import annotations

import json
import random
import re
import zlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wires.instruments import Book, listing
from xarb.model.units import NANOS_PER_S
from xarb.wires.bybit import BybitSession
from xarb.wires.coinbase import CoinbaseSession
from xarb.wires.events import APPLY, DepthEvent, LinkEvent, RejectEvent
from xarb.wires.kraken import KrakenSession
from xarb.wires.okx import OkxSession
from xarb.wires.session import Send
from xarb.wires.streamed import StreamSession

DEPTH = 10
Side = dict[str, str]
Levels = list[tuple[str, str]]


class Message(NamedTuple):
    """What a protocol writes: kind, its number and that of the message before, changed levels, and the checksum of the best ten."""

    kind: str
    number: int
    before: int
    bids: Levels
    asks: Levels
    checksum: int


def okx(one: Message) -> bytes:
    """`books`; numbers skip, as they do there."""
    sides = {name: [[*level, "0", "1"] for level in levels] for name, levels in (("bids", one.bids), ("asks", one.asks))}
    before = -1 if one.kind == "snapshot" else one.before * 7
    item = {**sides, "ts": "1597026383085", "checksum": 0, "prevSeqId": before, "seqId": one.number * 7}
    return json.dumps({"arg": {"channel": "books", "instId": "BTC-USD"}, "action": one.kind, "data": [item]}).encode()


def bybit(one: Message) -> bytes:
    """`orderbook.50`."""
    kind = "snapshot" if one.kind == "snapshot" else "delta"
    data = {"s": "BTC-USD", "b": one.bids, "a": one.asks, "u": one.number, "seq": 1}
    return json.dumps({"topic": "orderbook.50.BTC-USD", "type": kind, "ts": 1672304484978, "data": data}).encode()


def kraken(one: Message) -> bytes:
    """`book`, with bare numbers."""
    sides = [",".join(f'{{"price":{price},"qty":{qty}}}' for price, qty in levels) for levels in (one.bids, one.asks)]
    item = f'"symbol":"BTC-USD","bids":[{sides[0]}],"asks":[{sides[1]}],"checksum":{one.checksum}'
    return f'{{"channel":"book","type":"{one.kind}","data":[{{{item}}}]}}'.encode()


def coinbase(one: Message) -> bytes:
    """`l2_data`."""
    updates = [
        {"side": side, "price_level": price, "new_quantity": qty}
        for side, levels in (("bid", one.bids), ("offer", one.asks))
        for price, qty in levels
    ]
    event = {"type": one.kind, "product_id": "BTC-USD", "updates": updates}
    head = {"channel": "l2_data", "timestamp": "2023-02-09T20:32:50Z", "sequence_num": one.number}
    return json.dumps({**head, "events": [event]}).encode()


class Protocol(NamedTuple):
    """How an exchange writes, and the session that reads it; `removes`: levels that leave the depth are sent as removals."""

    write: Callable[[Message], bytes]
    session: Callable[[Sequence[Any]], StreamSession]
    venue: str
    removes: bool = True


PROTOCOLS = {
    "okx": Protocol(okx, OkxSession, "okx"),
    "bybit": Protocol(bybit, lambda listings: BybitSession("spot", listings), "bybit"),
    "kraken": Protocol(kraken, lambda listings: KrakenSession(listings, depth=DEPTH), "kraken", removes=False),
    "coinbase": Protocol(coinbase, CoinbaseSession, "coinbase"),
}


class Exchange:
    """A full book that changes at random, and what its subscriber was sent."""

    def __init__(self, seed: int, protocol: Protocol) -> None:
        self._random = random.Random(seed)  # noqa: S311  # a market, no secret
        self._protocol = protocol
        self._books: tuple[Side, Side] = ({}, {})
        self._seen: tuple[Side, Side] = ({}, {})
        self._number = 0

    def _change(self) -> None:
        side = self._random.randrange(2)
        step = self._random.randint(1, 2 * DEPTH)
        price = f"{(1000 - step if side == 0 else 1000 + step) / 10:.1f}"
        if self._random.random() < 0.35:
            self._books[side].pop(price, None)
        else:
            self._books[side][price] = f"{self._random.randint(1, 999) / 1000:.8f}"

    def visible(self) -> tuple[Side, Side]:
        """The best levels of each side."""
        bids, asks = self._books
        return (
            {price: bids[price] for price in sorted(bids, key=float, reverse=True)[:DEPTH]},
            {price: asks[price] for price in sorted(asks, key=float)[:DEPTH]},
        )

    def message(self, kind: str) -> bytes:
        """What changed since the last message, or all that is visible."""
        for _ in range(self._random.randint(1, 3) if self._number else 100):
            self._change()
        now = self.visible()
        changed: list[Levels] = []
        for side in (0, 1):
            old = {} if kind == "snapshot" else self._seen[side]
            gone = [price for price in old if price not in (now if self._protocol.removes else self._books)[side]]
            changed.append(
                [(price, qty) for price, qty in now[side].items() if old.get(price) != qty]
                + [(price, "0.00000000") for price in gone]
            )
            self._random.shuffle(changed[-1])
        self._seen = now
        self._number += 1
        return self._protocol.write(Message(kind, self._number, self._number - 1, changed[0], changed[1], _checksum(*now)))


def _checksum(bids: Side, asks: Side) -> int:
    text = "".join(
        price.replace(".", "") + qty.replace(".", "").lstrip("0") for side in (asks, bids) for price, qty in side.items()
    )
    return zlib.crc32(text.encode())


class Subscriber:
    """Feeds what arrives to a session and keeps the book that it is told to keep."""

    def __init__(self, protocol: Protocol) -> None:
        self.session = protocol.session([listing(protocol.venue, "BTC-USD")])
        self.book = Book()
        self.in_sync = False
        self.wants_snapshot = True
        self.gaps = 0
        self._seconds = 0

    def receive(self, message: bytes) -> None:
        """One message, and a second tick half a minute later."""
        for event in self.session.receive(message):
            if isinstance(event, DepthEvent):
                self.in_sync = event.verdict == APPLY
                if self.in_sync:
                    self.book.apply(event)
            elif isinstance(event, LinkEvent) and event.event == "gap":
                self.in_sync = False
                self.gaps += 1
            elif isinstance(event, RejectEvent):  # whether that cost the book shows with the next message
                self.in_sync = False
        self._seconds += 400
        asks = [*self.session.asks(), *self.session.tick(self._seconds * NANOS_PER_S)]
        self.wants_snapshot = any(isinstance(ask, Send) and '"subscribe"' in ask.text for ask in asks)


def equal(book: Book, exchange: Exchange) -> bool:
    """Whether a rebuilt book is what the exchange shows."""
    bids, asks = (
        {round(float(price) * 10): round(float(qty) * 10**8) for price, qty in side.items()} for side in exchange.visible()
    )
    return (book.bids, book.asks) == (bids, asks)


def spoilt(how: str, message: bytes) -> bytes | None:
    """A message as it arrives: whole, cut short, with a size that is none, or not at all."""
    if how == "number":
        return re.sub(rb"0\.\d{8}", b"0.x", message, count=1)
    return {"whole": message, "cut": message[: len(message) // 2], "lost": None}[how]


@pytest.mark.parametrize("name", PROTOCOLS)
@given(
    seed=st.integers(0, 2**32),
    fates=st.lists(st.sampled_from(["whole"] * 7 + ["lost", "cut", "number"]), min_size=20, max_size=60),
)
def test_a_book_in_sync_is_the_exchanges_book(name: str, seed: int, fates: list[str]) -> None:
    """Whatever is lost or spoilt, snapshots too: in sync means equal, and the book comes back once messages are whole again."""
    protocol = PROTOCOLS[name]
    exchange, subscriber = Exchange(seed, protocol), Subscriber(protocol)
    for how in ["whole", *fates, "whole", "whole", "whole"]:
        message = spoilt(how, exchange.message("snapshot" if subscriber.wants_snapshot else "update"))
        if message is not None:
            subscriber.receive(message)
            assert not subscriber.in_sync or equal(subscriber.book, exchange)
    assert subscriber.in_sync
    assert subscriber.gaps <= len(fates) - fates.count("whole")


@pytest.mark.parametrize("name", PROTOCOLS)
def test_without_losses_nothing_is_a_gap(name: str) -> None:
    """A thousand messages of each protocol are applied, one and all."""
    protocol = PROTOCOLS[name]
    exchange, subscriber = Exchange(1, protocol), Subscriber(protocol)
    for number in range(1000):
        subscriber.receive(exchange.message("update" if number else "snapshot"))
        assert subscriber.in_sync
        assert equal(subscriber.book, exchange)
    assert subscriber.gaps == 0
