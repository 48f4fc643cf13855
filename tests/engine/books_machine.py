"""Books in any course: snapshots in pieces, deltas, resyncs, gaps, losses, finer scales, too many levels, checkpoints, batches cut anywhere.

A machine of two books moved by deltas, which share a connection, and one of whole books, through the engine's own door; beside it the plain
model of naive_fold.py, whose books are dicts. Compared are every row that was caused, every wake, every level and the best quotes.
"""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec.structs import astuple

from tests.engine import naive_fold
from tests.engine.market import NO_LIMITS, Level, Market, Row, book, connection, message
from tests.engine.naive_fold import NaiveFold
from tests.engine.table import instrument
from xarb.engine.captured import DecisionsCopy
from xarb.engine.strategy import Wakes

LETTERS = "abc"
SOURCES = ("deltas", "books", "deltas")
CONNECTION_OF = (0, 1, 0)
INSTRUMENTS = tuple(instrument(letter) for letter in LETTERS)
WAKES = Wakes(every_event=(0, 1, 2))
MIDDLE = 10_000  # where prices meet
FINEST = 4  # decimals that a scale may gain; farther ones are kernel/test_hostile.py's

NEAR = st.integers(MIDDLE - 2, MIDDLE + 3)
FAR = st.deferred(lambda: st.sampled_from([1, MIDDLE - naive_fold.MOST_LEVELS, MIDDLE + naive_fold.MOST_LEVELS, 2 * MIDDLE]))
SIZES = st.sampled_from([0, 1, 2, 3])
SOUND: st.SearchStrategy[Level] = st.builds(
    lambda away, size: ("bid", MIDDLE + 1 + away, size) if away < 0 else ("ask", MIDDLE + 1 + away, size), st.integers(-3, 2), SIZES
)
BAD = st.sampled_from([("bid", 0, 1), ("ask", MIDDLE, -1), ("bid", MIDDLE, None)])
ANY = SOUND | st.tuples(st.sampled_from(["bid", "ask"]), NEAR | FAR, SIZES) | BAD
LEVELS = st.lists(SOUND, min_size=1, max_size=5) | st.lists(ANY, max_size=4)
HOW = st.sampled_from(["change", "change", "change", "change", "snapshot", "snapshot", "begun", "old", "unsynced"])
BEYOND = st.integers(-3, 3)  # so many steps behind the farthest level, or before the best
PRICES = st.lists(NEAR, max_size=4)
COUNTERS = st.none() | st.integers(0, 5)
OF_DELTAS = st.sampled_from([0, 0, 0, 2])
EVENTS = st.sampled_from(["gap", "gap", "gap", "lost", "subscribed", "resync"])


class BooksMachine(RuleBasedStateMachine):
    """The engine and the plain model, row by row."""

    def __init__(self) -> None:
        super().__init__()
        self.real = _market()
        self.plain = NaiveFold(INSTRUMENTS, SOURCES, NO_LIMITS, WAKES, len(INSTRUMENTS))
        self.now = 0
        self.waiting: list[Row] = []
        self.expected: list[str] = []
        self.heard: list[str] = []
        self.scales = [(0, 0)] * len(INSTRUMENTS)
        self.flooded = False
        self.held, self.cuts = 0, list[int]()

    @initialize(full=st.sampled_from([*[None] * 8, "bid", "ask"]))
    def begin(self, full: str | None) -> None:
        """All three have a book, sometimes one that is full to the brim."""
        for number in (0, 2):
            self._send(message(1, number, [("bid", MIDDLE, 1), ("ask", MIDDLE + 1, 1)], snapshot=True), number)
        self._send([book(1, 1, [("bid", MIDDLE, 1)], [("ask", MIDDLE + 1, 1)])], 1)
        if full:
            self.flood(0, full, [-1, 1, 2])

    # --- what an exchange may send

    @rule(number=OF_DELTAS, levels=LEVELS, how=HOW)
    def deltas(self, number: int, levels: list[Level], how: str) -> None:
        """A changed book, or a new one, whose message may go on with what comes next; no level at all confirms the book."""
        verdict, is_new = (how if how in ("old", "unsynced") else "apply"), how in ("snapshot", "begun")
        levels = self._finer(number, levels)
        self._send(message(self._later(), number, levels, snapshot=is_new, verdict=verdict, ends=how != "begun"), number)

    @rule(bids=PRICES, asks=PRICES, size=st.sampled_from([0, 1, 2, 3, None, -1]), counter=COUNTERS, is_sorted=st.booleans())
    def whole(self, bids: list[int], asks: list[int], size: int | None, counter: int | None, is_sorted: bool) -> None:
        """A whole book: sound, crossed, or to be kept out for its order or for a size; empty levels are none."""
        if is_sorted or size == -1:
            bids, asks = sorted({*bids}, reverse=True), sorted({*asks})
        if is_sorted and size != -1:  # two sides that do not meet
            bids, asks = [px for px in bids if px <= MIDDLE], [px for px in asks if px > MIDDLE]
        self._whole([[("bid", px, size) for px in bids], [("ask", px, 1) for px in asks]], counter)

    @precondition(lambda self: not self.flooded)  # one takes a tenth of a second
    @rule(number=st.integers(0, 2), side=st.sampled_from(["bid", "ask"]), further=st.lists(BEYOND, min_size=1, max_size=3))
    def flood(self, number: int, side: str, further: list[int]) -> None:
        """A side that lacks one level of all that it may have, and some more levels at its ends; a whole book has them at once."""
        self.flooded = True
        way, best = (-1, MIDDLE) if side == "bid" else (1, MIDDLE + 1)
        levels: list[Level] = [(side, best + way * at, 1) for at in range(naive_fold.MOST_LEVELS - 1)]
        if number != 1:
            self._send(message(self._later(), number, self._finer(number, levels), snapshot=True), number)
            levels = [
                (side, best - way * away if away > 0 else best + way * (naive_fold.MOST_LEVELS - away), 2) for away in further
            ]
            self._send(message(self._later(), number, self._finer(number, levels)), number)
            return
        levels += [(side, best + way * (naive_fold.MOST_LEVELS + at), at % 2) for at in range(len(further))]
        self._whole([levels, [("ask", MIDDLE + 1, 1)]] if side == "bid" else [[("bid", MIDDLE, 1)], levels], None)

    # --- what may befall a connection

    @rule(number=st.integers(0, 2), event=EVENTS, whole=st.booleans(), then=st.none() | LEVELS)
    def interrupt(self, number: int, event: str, whole: bool, then: list[Level] | None) -> None:
        """A gap, a loss, a new start of one symbol or of the whole connection, in the middle of a message too; and what comes behind it."""
        self._take([connection(self._later(), CONNECTION_OF[number], event, INSTRUMENTS[number], whole=whole)])
        if number != 1 and then is not None:
            self.deltas(number, then, "change")

    @rule(number=st.integers(0, 2), price=st.integers(0, 1), quantity=st.integers(0, 1))
    def finer(self, number: int, price: int, quantity: int) -> None:
        """The exchange writes more decimals from now on."""
        px, qty = self.scales[number]
        self.scales[number] = px, qty = min(px + price, FINEST), min(qty + quantity, FINEST)
        after = msgspec.structs.replace(INSTRUMENTS[number], px_scale=px, qty_scale=qty)
        self._take([Row("instruments", self._later(), msgspec.structs.asdict(after))])

    # --- how it comes to the engine

    @rule(count=st.integers(1, 5), cuts=st.lists(st.integers(0, 20), max_size=3))
    def hold(self, count: int, cuts: list[int]) -> None:
        """What is sent by the next few steps comes together, in batches that are cut anywhere."""
        self.held, self.cuts = count, cuts

    def _deliver(self) -> None:
        rows, self.waiting, self.held = self.waiting, [], 0
        ends = sorted({min(cut, len(rows)) for cut in self.cuts} | {len(rows)})
        told: list[str] = []
        for start, end in zip([0, *ends], ends, strict=False):
            if start < end:
                told += self.real.feed(rows[start:end])
        expected, self.expected, self.cuts = self.expected, [], []
        assert told == expected, f"the engine told {told}, the model {expected}"
        assert self.heard + self.real.listeners[0].heard == self.plain.wakes

    @rule()
    def restart(self) -> None:
        """Another engine goes on from a copy of this one's state."""
        self._deliver()
        copy = self.real.engine.capture()
        decisions = msgspec.json.decode(msgspec.json.encode(copy.decisions), type=DecisionsCopy)
        self.heard += self.real.listeners[0].heard
        seq, self.real = self.real.seq, _market()
        self.real.seq = seq
        self.real.engine.restore(type(copy)(copy.memory, decisions))

    @invariant()
    def books_are_equal(self) -> None:
        """Level by level, and in what a strategy sees first; of what waits nothing can be said yet."""
        if self.waiting:
            return
        for number, me in enumerate(self.plain.feeds):
            for side, levels in me.books.items():
                mine = self.real.engine.market.levels(number, side, naive_fold.MOST_LEVELS + 1)
                assert mine == sorted(levels.items(), reverse=side == "bid"), f"the {side}s of {LETTERS[number]}"
            best = astuple(self.real.engine.market.best(number))[:4]
            assert best == (me.bid, me.sizes[0], me.ask, me.sizes[1]), f"the best quote of {LETTERS[number]}"
            assert self.real.engine.market.feed(number).state == me.state, f"the feed of {LETTERS[number]}"

    def teardown(self) -> None:
        """What waits is delivered."""
        self._deliver()
        self.books_are_equal()

    def _later(self) -> int:
        self.now += 1
        return self.now

    def _finer(self, number: int, levels: list[Level]) -> list[Level]:
        """Levels that were drawn at the first scales, at the present ones."""
        px, qty = (int(10**scale) for scale in self.scales[number])
        return [(side, price and price * px, size if size in (None, -1) else size * qty) for side, price, size in levels]

    def _whole(self, sides: list[list[Level]], counter: int | None) -> None:
        bids, asks = (self._finer(1, side) for side in sides)
        self._send([book(self._later(), 1, bids, asks, counter)], 1)

    def _send(self, rows: list[Row], number: int) -> None:
        """Rows of an instrument, over its connection."""
        self._take([row._replace(values=row.values | {"conn": CONNECTION_OF[number]}) for row in rows])

    def _take(self, rows: list[Row]) -> None:
        for row in rows:
            self.expected += self.plain.apply(row)
        self.waiting += rows
        self.held -= 1
        if self.held < 0:
            self._deliver()


def _market() -> Market:
    found: Any = Market(LETTERS, instruments=INSTRUMENTS, sources=SOURCES, limits=NO_LIMITS, wakes=[WAKES], connections=3)
    market: Market = found
    return market


MACHINES = (BooksMachine,)
