"""An exchange's stream through its session, the rows of the log and the engine: in sync means that the book is the exchange's.

The model is the exchange itself: a dict a side, and what it was at each number. Messages are lost, cut short and repeated, answers come late and of
any age, connections break, and prices gain decimals. At the end everything arrives, and the book must come back.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any, ClassVar, NamedTuple

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.engine.market import Market
from tests.wires import test_losses as streamed
from tests.wires.instruments import listing
from tests.wires.test_fetched_losses import PROTOCOLS, START_US, Message, gate_whole
from xarb.engine.engine import Stop
from xarb.engine.kernel.state import BOOK_LEVELS
from xarb.log.batching import Batcher
from xarb.wires.events import APPLY, DepthEvent, LinkEvent, WireEvent
from xarb.wires.okx import OkxSession
from xarb.wires.rows import Link, RowBuilder
from xarb.wires.session import Ask, Fetch, Send, Session

MIDDLE = 100_000  # hundredths, as all prices here; sizes are tenths
OKX_STEP = 7  # its numbers skip
STILL_ASKED_S = 400  # longer than a session ever waits before it asks again
SETTLES = 12  # rounds in which everything arrives

Side = dict[int, int]
CHANGES = st.lists(st.tuples(st.integers(0, 1), st.integers(1, 9), st.sampled_from([0, 0, 1, 5, 10, 25])), min_size=1, max_size=4)
UNITS = st.sampled_from([100, 100, 100, 10, 1])
WHOLE = 99  # a fate that is no fault
SELDOM = 4  # changes of the book between two pauses


class Wire(NamedTuple):
    """A protocol: how it writes an update and a whole book, what reads it, and what may befall a message."""

    venue: str
    native: str
    write: Callable[[Message, int], bytes]  # and the number of the message before
    session: Callable[[], Session]
    faults: tuple[str, ...]


def _okx(one: Message, before: int) -> bytes:
    bids, asks = ([(price, qty) for price, qty in side] for side in (one.bids, one.asks))
    kind = "snapshot" if one.is_whole else "update"
    return streamed.okx(streamed.Message(kind, one.last, before, bids, asks, 0))


def _fetched(name: str) -> Wire:
    one = PROTOCOLS[name]
    return Wire(name, "X", lambda message, _: one.write(message), one.session, one.faults)


def _okx_session() -> Session:
    return OkxSession([listing("okx", "BTC-USD", px_scale=0, qty_scale=0)], ["deltas"])


WIRES = {name: _fetched(name) for name in PROTOCOLS} | {"okx": Wire("okx", "BTC-USD", _okx, _okx_session, ("lost", "garbled"))}


class Truth:
    """The exchange's book, what it was at each number, and what it sent last."""

    def __init__(self) -> None:
        self.number = 1
        self.sides: tuple[Side, Side] = ({}, {})
        for away in range(1, 6):
            self.sides[0][MIDDLE - away * 100] = self.sides[1][MIDDLE + away * 100] = 10
        self.history: dict[int, tuple[Side, Side]] = {1: self._copy()}
        self.told = 1

    def _copy(self) -> tuple[Side, Side]:
        return {**self.sides[0]}, {**self.sides[1]}

    def change(self, changes: list[tuple[int, int, int]], unit: int) -> Message:
        """Levels so many units from the middle get a size, 0 removes them; each change is a number."""
        first, touched = self.number + 1, (set[int](), set[int]())
        for side, away, size in changes:
            price = MIDDLE + (away if side else -away) * unit
            self.sides[side][price] = size
            if not size:
                del self.sides[side][price]
            touched[side].add(price)
            self.number += 1
            self.history[self.number] = self._copy()
        bids, asks = ([[_text(px, 2), _text(self.sides[at].get(px, 0), 1)] for px in sorted(touched[at])] for at in (0, 1))
        return Message(first, self.number, bids, asks)

    def whole(self, number: int, first: int = 0) -> Message:
        """The book as it was at a number, best levels first."""
        bids, asks = self.history[number]
        written = [[[_text(px, 2), _text(side[px], 1)] for px in sorted(side, reverse=side is bids)] for side in (bids, asks)]
        return Message(first or number, number, written[0], written[1], is_whole=True)


def _text(number: int, scale: int) -> str:
    return f"{Decimal(number).scaleb(-scale).normalize():f}"


class WiredMachine(RuleBasedStateMachine):
    """One protocol; see the module."""

    wire: ClassVar[Wire]

    def __init__(self) -> None:
        super().__init__()
        self.truth = Truth()
        instrument = listing(self.wire.venue, self.wire.native, px_scale=0, qty_scale=0).instrument
        self.market = Market("a", sources="deltas", instruments=[instrument])
        self.builder, self.link = RowBuilder(), Link(0, self.wire.venue, "wire")
        self.batcher = Batcher({(instrument.venue, instrument.symbol): 0})
        self.seconds = 0
        self.number = 0  # of the last message that the session applied
        self.trades = 0

    @initialize()
    def connect(self) -> None:
        """A new connection: nothing of the last one comes any more."""
        self.session = self.wire.session()
        self.coming: list[tuple[Message, int]] = []  # and the number before, in the exchange's stream
        self.asked = 0
        self._heed(self.session.open(self.seconds * 10**9))

    @rule(
        changes=CHANGES, unit=UNITS, count=st.integers(0, 3), fate=st.integers(0, 5), ages=st.lists(st.integers(0, 12), max_size=2)
    )
    def trade(self, changes: list[tuple[int, int, int]], unit: int, count: int, fate: int, ages: list[int]) -> None:
        """The exchange's book changes; some of the messages on their way come, and a request may be answered.

        The first to come may be hurt. The answer is of a state that may be older than what came since, or newer; it may come twice.
        """
        self.trades += 1
        message = self.truth.change(changes, unit)
        self.coming.append((message, self.truth.told))
        self.truth.told = message.last
        for _ in range(min(count, len(self.coming))):
            self._arrive(self.wire.faults[fate] if fate < len(self.wire.faults) else "")
            fate = WHOLE
        answers = [self.truth.whole(max(self.truth.number - age, 1)) for age in ages if self.asked]
        self.asked -= bool(answers)
        for answer in answers:
            self._receive(self.wire.write(answer, 0), self.wire.native)

    @precondition(lambda self: self.trades >= SELDOM)
    @rule(is_lost=st.booleans())
    def pause(self, is_lost: bool) -> None:
        """Time passes, so that what was asked for in vain is asked for again; or the connection is lost, and made anew."""
        self.trades = 0
        if is_lost:
            self._fold([LinkEvent(self.wire.venue, None, "lost"), LinkEvent(self.wire.venue, None, "opened")])
            self.connect()
            return
        self.seconds += STILL_ASKED_S
        self._heed(self.session.tick(self.seconds * 10**9))

    @invariant()
    def book_is_the_exchanges(self) -> None:
        """Where the engine has a book it is what the exchange had at that number; without one it has no level."""
        mine = [self.market.engine.market.levels(0, side, BOOK_LEVELS) for side in ("bid", "ask")]
        if not self._in_sync():
            assert mine == [[], []], "levels without a book"
            return
        one = self.market.engine.instruments[0]
        px, qty = Decimal(100).scaleb(-one.px_scale), Decimal(10).scaleb(-one.qty_scale)
        found: Any = [[(price * px, None if size is None else size * qty) for price, size in side] for side in mine]
        bids, asks = self.truth.history[self.number]
        expected = [sorted(bids.items(), reverse=True), sorted(asks.items())]
        assert found == expected, f"the engine has {found}, the exchange had {expected} at {self.number}"

    def teardown(self) -> None:
        """Everything arrives from now on: the book comes back, and is the exchange's as it is."""
        for _ in range(SETTLES):
            self.trade([(0, 1, 10), (1, 1, 10)], 100, len(self.coming) + 1, WHOLE, [0])
            self.pause(is_lost=False)
            self.book_is_the_exchanges()
        self.trade([(0, 1, 15), (1, 1, 15)], 100, len(self.coming) + 1, WHOLE, [0])
        assert self._in_sync(), "the book never came back"
        assert self.number == self.truth.number

    def _in_sync(self) -> bool:
        return bool(self.market.record()["synced"])

    def _arrive(self, fault: str) -> None:
        """The next message: whole, lost, cut short, twice, or as the whole book that it leads to."""
        message, before = self.coming.pop(0)
        payload = self.wire.write(message, before)
        if fault == "garbled":
            payload = payload[: len(payload) // 2]
        elif fault == "whole":
            payload = gate_whole(self.truth.whole(message.last, message.first))
        for _ in range({"lost": 0, "repeated": 2}.get(fault, 1)):
            self._receive(payload)

    def _receive(self, payload: bytes, native: str | None = None) -> None:
        self._fold(self.session.receive(payload, native))
        self._heed(self.session.asks())

    def _heed(self, asks: list[Ask]) -> None:
        for ask in asks:
            if isinstance(ask, Fetch):
                self.asked += 1
            elif isinstance(ask, Send) and '"subscribe"' in ask.text:
                self._snapshot()

    def _snapshot(self) -> None:
        self.coming.append((self.truth.whole(self.truth.number), 0))
        self.truth.told = self.truth.number

    def _fold(self, events: list[WireEvent]) -> None:
        for event in events:
            self.builder.add(self.seconds * 10**9, self.link, event)
            if isinstance(event, DepthEvent) and event.verdict == APPLY and event.is_last:
                self.number = self._number(event)
        rows = self.builder.take()
        if rows:
            self.market.engine.load(self.batcher.batch(rows))
            assert self.market.engine.run() is Stop.END
            list(self.market.engine.outputs.drain())

    def _number(self, event: DepthEvent) -> int:
        if event.venue_seq is None:  # Bitstamp's are times
            assert event.ts_event is not None
            return event.ts_event // 1000 - START_US
        return event.venue_seq // (OKX_STEP if self.wire.venue == "okx" else 1)


def machine_of(name: str) -> type[WiredMachine]:
    """The machine of a protocol."""
    return type(f"Wired{name.title()}", (WiredMachine,), {"wire": WIRES[name]})


MACHINES = tuple(machine_of(name) for name in WIRES)
