"""Four exchanges whose snapshots are fetched: whenever a session says that a book is in sync, it is the exchange's book.

The exchange is a plain model that writes each protocol by its documentation of 2026. It loses, repeats and garbles messages, and answers
requests late and from a state that is ahead of its stream or behind it.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from decimal import Decimal
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.wires.instruments import listing
from tests.wires.replay import Book
from xarb.wires.binance import BinanceSession
from xarb.wires.bitstamp import BitstampSession
from xarb.wires.events import APPLY, DepthEvent, LinkEvent, WireEvent
from xarb.wires.gate import GateSession
from xarb.wires.kucoin import KucoinSession
from xarb.wires.session import Fetch, Session

Side = dict[int, int]  # prices and sizes are whole numbers here, price 0 is none
State = tuple[Side, Side]
START_US = 1_641_343_691_000_000
TOP = 10  # levels that a strategy sees


class Message(NamedTuple):
    """What a protocol writes: the numbers that it covers, and changed levels or all."""

    first: int
    last: int
    bids: list[list[str]]
    asks: list[list[str]]
    is_whole: bool = False


def binance(one: Message) -> bytes:
    """`depthUpdate`, or the answer to a depth request."""
    if one.is_whole:
        return json.dumps({"lastUpdateId": one.last, "bids": one.bids, "asks": one.asks}).encode()
    body = {"e": "depthUpdate", "E": 1723161256299, "s": "X", "U": one.first, "u": one.last, "b": one.bids, "a": one.asks}
    return json.dumps(body).encode()


def kucoin(one: Message) -> bytes:
    """`trade.l2update`, or the answer to a snapshot request, with 100 levels a side."""
    if one.is_whole:
        data: dict[str, Any] = {"sequence": str(one.last), "bids": one.bids[:100], "asks": one.asks[:100]}
        return json.dumps({"code": "200000", "data": data}).encode()
    changes = {name: [[*level, "1"] for level in levels] for name, levels in (("bids", one.bids), ("asks", one.asks))}
    data = {"changes": changes, "sequenceStart": one.first, "sequenceEnd": one.last}
    return json.dumps({"type": "message", "topic": "/market/level2:X", "subject": "trade.l2update", "data": data}).encode()


def gate(one: Message) -> bytes:
    """`spot.order_book_update`, or the answer to a snapshot request."""
    if one.is_whole:
        return json.dumps({"id": one.last, "bids": one.bids, "asks": one.asks}).encode()
    result = {"t": 1606294781123, "s": "X", "U": one.first, "u": one.last, "b": one.bids, "a": one.asks}
    return json.dumps({"channel": "spot.order_book_update", "event": "update", "result": result}).encode()


def gate_whole(one: Message) -> bytes:
    """A `full` message of the stream."""
    result = {"t": 1606294781123, "full": True, "s": "X", "U": one.first, "u": one.last, "b": one.bids, "a": one.asks}
    return json.dumps({"channel": "spot.order_book_update", "event": "update", "result": result}).encode()


def bitstamp(one: Message) -> bytes:
    """`diff_order_book_`, or the answer to a snapshot request; numbers are microseconds."""
    body = {"microtimestamp": str(START_US + one.last), "bids": one.bids, "asks": one.asks}
    return json.dumps(body if one.is_whole else {"data": body, "channel": "diff_order_book_X", "event": "data"}).encode()


class Protocol(NamedTuple):
    """How an exchange writes, what reads it, and what may befall its messages."""

    write: Callable[[Message], bytes]
    session: Callable[[], Session]
    faults: tuple[str, ...]


PROTOCOLS = {
    "binance": Protocol(
        binance, lambda: BinanceSession("spot", [listing("binance", "X", px_scale=0, qty_scale=0)]), ("lost", "garbled", "repeated")
    ),
    "kucoin": Protocol(
        kucoin, lambda: KucoinSession([listing("kucoin", "X", px_scale=0, qty_scale=0)]), ("lost", "garbled", "repeated")
    ),
    "gate": Protocol(
        gate, lambda: GateSession([listing("gate", "X", px_scale=0, qty_scale=0)]), ("lost", "garbled", "repeated", "whole")
    ),
    "bitstamp": Protocol(bitstamp, lambda: BitstampSession([listing("bitstamp", "X", px_scale=0, qty_scale=0)]), ("garbled",)),
}


class Exchange:
    """A book of many levels whose middle wanders, with all that it ever was."""

    def __init__(self, seed: int, levels: int) -> None:
        self.random = random.Random(seed)  # noqa: S311  # a market, no secret
        self._levels = levels
        self.middle = 100_000
        self.number = 1
        self.book: State = ({}, {})
        for distance in range(1, levels + 1):
            self.book[0][self.middle - distance] = self.book[1][self.middle + distance] = self.random.randint(1, 99)
        self.history: dict[int, State] = {1: self._copy()}

    def _copy(self) -> State:
        return dict(self.book[0]), dict(self.book[1])

    def step(self, drift: int) -> Message:
        """A few changes, each of them a number; every touched level is told. A middle that moves takes levels away and brings others."""
        first, touched = self.number + 1, (set[int](), set[int]())
        for _ in range(self.random.randint(1, 3)):
            side = self.random.randrange(2)
            price = self.middle + (1 if side else -1) * self.random.randint(1, self._levels)
            self._set(side, price, self.random.choice((0, self.random.randint(1, 99))), touched)
        self.middle += drift * self.random.randint(0, 2)
        for side in (0, 1):
            for price in [price for price in self.book[side] if (price - self.middle) * (1 if side else -1) <= 0]:
                self._set(side, price, 0, touched)
        for side in (0, 1):
            self._set(side, self.middle + (1 if side else -1), self.random.randint(1, 99), touched)
        changed = [[[str(price), str(self.book[side].get(price, 0))] for price in sorted(touched[side])] for side in (0, 1)]
        return Message(first, self.number, changed[0], changed[1])

    def _set(self, side: int, price: int, qty: int, touched: tuple[set[int], set[int]]) -> None:
        if qty:
            self.book[side][price] = qty
        else:
            self.book[side].pop(price, None)
        touched[side].add(price)
        self.number += 1
        self.history[self.number] = self._copy()

    def whole(self, number: int, first: int = 0) -> Message:
        """The book as it was at a number."""
        bids, asks = self.history[number]
        levels = [[[str(price), str(side[price])] for price in sorted(side, reverse=side is bids)] for side in (bids, asks)]
        return Message(first or number, number, levels[0], levels[1], is_whole=True)


class Subscriber:
    """The books that a session vouches for, checked against the exchange at each event."""

    def __init__(self, exchange: Exchange, session: Session, top: int | None) -> None:
        self.exchange, self.session, self.top = exchange, session, top
        self.book: Book | None = None
        self.checked = self.gaps = self.joined = 0

    def take(self, events: list[WireEvent]) -> None:
        """Apply what is to be applied; whatever stands then was the exchange's book at that number. Messages end within their events."""
        is_open = False
        for event in events:
            if is_open:
                assert isinstance(event, DepthEvent)
                assert event.verdict == APPLY or not event.is_last
            is_open = isinstance(event, DepthEvent) and not event.is_last
            self.joined += is_open
            if isinstance(event, LinkEvent) and event.event == "gap":
                self.book = None
                self.gaps += 1
            if isinstance(event, DepthEvent) and event.verdict == APPLY:
                if self.book is None:
                    assert event.is_snapshot
                    self.book = Book()
                self.book.take(event)
                number = event.venue_seq
                if number is None:
                    assert event.ts_event is not None
                    number = event.ts_event // 1000 - START_US
                self._check(self.exchange.history[number])
        assert not is_open

    def _check(self, truth: State) -> None:
        assert self.book is not None
        for mine, theirs, down in ((self.book.bids, truth[0], True), (self.book.asks, truth[1], False)):
            best = sorted(theirs, reverse=down)[: self.top]
            assert sorted(mine, reverse=down)[: self.top] == best
            assert [mine[Decimal(price)] for price in best] == [theirs[price] for price in best]
        self.checked += 1


def play(seed: int, name: str, *, levels: int, drift: float, top: int | None = None, faults: float = 0.03) -> Subscriber:
    """Three hundred messages, a share of them with faults; requests are answered a few messages later, from a state a few messages before or after."""
    protocol, exchange = PROTOCOLS[name], Exchange(seed, levels)
    draw = exchange.random
    trend = draw.choice((-1, 1))
    one = Subscriber(exchange, protocol.session(), top)
    answers: list[tuple[int, bytes]] = []  # when, by count of messages
    waiting: list[Message] = []  # in the exchange's stream, behind its state
    for count in range(300):
        waiting.append(exchange.step(trend if draw.random() < drift else 0))
        while waiting and draw.random() < 0.6:
            message = waiting.pop(0)
            fault = draw.choice(protocol.faults) if draw.random() < faults else ""
            if fault == "lost":
                continue
            payload = protocol.write(message)
            if fault == "garbled":
                payload = payload[: len(payload) // 2]
            if fault == "whole":
                payload = gate_whole(exchange.whole(message.last, message.first))
            for _ in range(2 if fault == "repeated" else 1):
                one.take(one.session.receive(payload))
        for ask in one.session.asks() + one.session.tick((count + 1) * 10**9):
            if isinstance(ask, Fetch):
                number = draw.choice(sorted(exchange.history)[-20:])
                answers.append((count + draw.randint(0, 6), protocol.write(exchange.whole(number))))
        for due, answer in [item for item in answers if item[0] <= count]:
            answers.remove((due, answer))
            one.take(one.session.receive(answer, "X"))
    return one


@pytest.mark.parametrize("name", PROTOCOLS)
@settings(max_examples=30)
@given(seed=st.integers(0, 2**32))
def test_a_book_in_sync_is_the_exchanges(name: str, seed: int) -> None:
    """Whole books of up to 60 levels a side are equal at every number at which the session says so."""
    play(seed, name, levels=40, drift=0.05)


@settings(max_examples=30)
@given(seed=st.integers(0, 2**32))
def test_what_a_strategy_sees_of_a_deep_book_is_known(seed: int) -> None:
    """KuCoin's snapshot has 100 of 300 levels, and the market walks out of them: the best ten are right whenever there is a book."""
    play(seed, "kucoin", levels=300, drift=0.9, top=TOP, faults=0.002)


def test_the_model_does_what_it_should() -> None:
    """Over some seeds books are checked often, gaps happen and end, and a market that walks leaves KuCoin's snapshots."""
    for name in PROTOCOLS:
        found = [play(seed, name, levels=40, drift=0.05) for seed in range(5)]
        assert sum(one.checked for one in found) > 250
        assert sum(one.gaps for one in found) > 10
        assert sum(one.joined for one in found) > 10
    calm, wild = ([play(seed, "kucoin", levels=300, drift=drift, top=TOP, faults=0.0) for seed in range(5)] for drift in (0.0, 0.9))
    assert sum(one.gaps for one in wild) > sum(one.gaps for one in calm) + 5
