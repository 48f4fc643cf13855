"""Splitting a log anywhere changes nothing: engine, simulated venues and strategies over generated rows of every compiled kind.

Venue a gives quotes, b whole books, c deltas; all of them trades, gaps, connection rows and finer scales. The driver is the real one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.defaults import (
    breaker_limits,
    engine_setup,
    execution_policy,
    feed_limits,
    micro_params,
    risk_limits,
    strategy_terms,
    venue_model,
)
from tests.engine.table import Nothing
from tests.instruments import instrument
from tests.venues.market import MS, RICH, Row, batch_of
from xarb.engine.engine import Engine
from xarb.engine.strategy import Pair, Plan, View, Wake, Wakes
from xarb.model.event import OutputRow, named
from xarb.model.instrument import FeeTier
from xarb.model.units import MONEY_ONE, Money, Ppb
from xarb.replay import replay
from xarb.strategies.micro import Micro
from xarb.venues.simulated import SimulatedVenues
from xarb.venues.terms import ConstantLatency, UniformLatency, VenueSetup

if TYPE_CHECKING:
    import msgspec

START: Final = 1_700_000_000_000_000_000
INSTRUMENTS: Final = [instrument(venue) for venue in "abc"]
PAIRS: Final = tuple(Pair(sell, buy, 0, 0, 100_000, 100_000) for sell in range(3) for buy in range(3) if sell != buy)
FEES: Final = {("main", number): FeeTier(maker_ppb=Ppb(0), taker_ppb=Ppb(100_000)) for number in range(3)}
OPENING: Final = {("main", venue, asset): RICH for venue in "abc" for asset in ("BTC", "USD")}
LIMITS: Final = feed_limits(freeze_ns=400 * MS, freeze_moves=2, outlier_mads=2, outlier_floor_ppb=60_000_000, cache_ns=3_000 * MS)


BREAKER: Final = breaker_limits(
    unknown=1, errors=4, error_recovery_ns=200 * MS, ack_ns=35 * MS, pause_ns=10 * MS, max_pause_ns=40 * MS, residual_held=False
)


class Witness:
    """A strategy that writes down every event, report and timer that it is woken by, and what it sees then."""

    def __init__(self) -> None:
        self.id = "witness"
        self.account = "main"
        self.state: msgspec.Struct = Nothing()
        self.seen: list[tuple[Any, ...]] = []

    def wakes(self) -> Wakes:
        """Everything."""
        return Wakes(pairs=PAIRS, every_event=(0, 1, 2), own_reports=True, timer_ns=70 * MS, timer_needs_edge=False)

    def on_wake(self, wake: Wake, view: View) -> Sequence[Plan]:
        """Look, and plan nothing."""
        quotes = [view.quote(number) for number in range(3)]
        books = [view.levels(number, side) for number in range(3) for side in ("bid", "ask")]
        self.seen.append((wake, view.now, quotes, books, [view.feed(number) for number in range(3)], view.edges()))
        return ()


class Parts:
    """An engine and its venues over given rows, cut into batches before the given places."""

    def __init__(self, rows: Sequence[Row], cuts: Sequence[int]) -> None:
        bounds = [0, *sorted({cut for cut in cuts if 0 < cut < len(rows)}), len(rows)]
        self.batches = [batch_of(rows[first:last], INSTRUMENTS, first) for first, last in pairwise(bounds) if first < last]
        self.witness = Witness()
        base: dict[str, Any] = {
            "min_profit_ppb": Ppb(0),
            "min_profit_quote": Money(0),
            "max_notional_quote": Money(3_000 * MONEY_ONE),
        }
        quick = Micro(
            "quick", "main", PAIRS, micro_params(**base, execution_timeout_ns=25 * MS, max_edge_ppb=0), rates={}, assumed_qty={}
        )
        calm = Micro(
            "calm",
            "main",
            PAIRS,
            micro_params(**base, min_life_ns=10 * MS, sequence="hard_leg_first", cool_down_ns=50 * MS, max_edge_ppb=80_000_000),
            rates={},
            assumed_qty={},
        )
        self.engine = Engine(
            engine_setup(
                instruments=INSTRUMENTS,
                groups=[[0, 1, 2]],
                sources=[0, 1, 2],
                limits=[LIMITS] * 3,
                fees=FEES,
                opening=OPENING,
                connections=3,
                log_id="splitted",
                breakers=dict.fromkeys("abc", BREAKER),
                terms={
                    "quick": strategy_terms(
                        limits=risk_limits(max_bundle_loss={"USD": Money(MONEY_ONE)}, on_loss="refuse"),
                        execution=execution_policy(timeout_ns=25 * MS, retry_ns=40 * MS),
                    ),
                    "calm": strategy_terms(
                        limits=risk_limits(cool_down_ns=50 * MS, orders_per_second=6, max_drawdown={"USD": Money(MONEY_ONE // 10)})
                    ),
                    "witness": strategy_terms(),
                },
            ),
            [quick, calm, self.witness],
        )
        model = venue_model(
            feed_latency=UniformLatency(0, 3 * MS),
            order_latency=UniformLatency(0, 40 * MS),
            response_latency=ConstantLatency(4 * MS),
        )
        self.venues = SimulatedVenues(
            VenueSetup(instruments=INSTRUMENTS, sources=[0, 1, 2], fees=FEES, opening=OPENING, rates={}, seed=5),
            dict.fromkeys("abc", model),
        )

    def pass_on(self, seq: int) -> None:
        """Nothing takes over."""

    def note_marks(self) -> None:
        """Nothing: no account is valued here."""


def outcome(rows: Sequence[Row], cuts: Sequence[int]) -> tuple[list[OutputRow], list[tuple[Any, ...]], dict[Any, int]]:
    """Output rows, what the witness saw, and the venues' balances."""
    parts = Parts(rows, cuts)
    found: list[OutputRow] = []
    replay(parts, parts.batches, found.extend)  # type: ignore[arg-type]  # what the driver uses of an assembly
    return found, parts.witness.seen, parts.venues.balances()


PRICE = st.integers(95, 105)
SIZE = st.integers(0, 9)
FULL = st.integers(1, 9)
ANY_SIDE = st.lists(st.tuples(PRICE, FULL), max_size=4, unique_by=lambda level: level[0])
ANY_QUOTE = st.tuples(st.just("quote"), st.just(0), PRICE, SIZE, PRICE, SIZE)
ANY_BOOK = st.tuples(st.just("book"), st.just(1), ANY_SIDE, ANY_SIDE)
QUOTE = st.tuples(PRICE, FULL, FULL).map(lambda one: ("quote", 0, one[0] - 1, one[1], one[0] + 1, one[2]))
BOOK = st.tuples(PRICE, FULL, FULL).map(lambda one: ("book", 1, [(one[0] - 1, one[1])], [(one[0] + 1, one[2]), (one[0] + 2, 5)]))
DELTA = st.tuples(
    st.just("delta"), st.just(2), st.integers(0, 1), PRICE, SIZE, st.integers(0, 9).map(lambda n: n == 0), st.booleans(), st.just(0)
)
HEAD = [
    (0, ("quote", 0, 99, 5, 100, 5)),
    (1, ("book", 1, [(99, 5)], [(100, 5)])),
    (1, ("delta", 2, 0, 99, 5, True, False, 0)),
    (0, ("delta", 2, 1, 100, 5, True, True, 0)),
]
TRADE = st.tuples(st.just("trade"), st.integers(0, 2), PRICE, st.integers(1, 9), st.integers(0, 2))
LINK = st.tuples(
    st.just("connection"), st.integers(0, 2), st.sampled_from(["gap", "lost", "opened", "heartbeat", "resync"]), st.booleans()
)
FINER = st.tuples(st.just("instrument"), st.integers(0, 2), st.integers(0, 1), st.integers(0, 1))
WAITS = st.sampled_from([0, 0, 1, 1, 2, 5, 5, 15, 15, 40, 60, 130, 300, 1_400, 4_000])
MARKET = st.lists(
    st.tuples(WAITS, st.one_of(*[QUOTE] * 4, *[BOOK] * 4, *[DELTA] * 3, ANY_QUOTE, ANY_BOOK, TRADE, LINK, FINER)), max_size=60
)


def rows_of(market: Sequence[tuple[int, tuple[Any, ...]]]) -> list[Row]:
    """The generated market as rows: times in ns, prices and sizes at the scales that the instrument has by then."""
    ts, scales, rows = START, [[0, 0], [0, 0], [0, 0]], []
    for wait, (kind, inst, *values) in [*HEAD, *market]:
        ts += wait * MS
        px, qty = (10**scale for scale in scales[inst])
        if kind == "instrument":
            rows.append(Row(kind, ts, inst, (_finer(scales[inst], values),)))
        else:
            rows.append(Row(kind, ts, inst, _WRITERS[kind](values, px, qty)))
    return rows


def _quote(values: Any, px: int, qty: int) -> tuple[Any, ...]:
    bid, bid_qty, ask, ask_qty = values
    return bid * px, bid_qty * qty, ask * px, ask_qty * qty


def _book(values: Any, px: int, qty: int) -> tuple[Any, ...]:
    bids, asks = sorted(values[0], reverse=True), sorted(values[1])
    return tuple([(price * px, size * qty) for price, size in side] for side in (bids, asks))


def _delta(values: Any, px: int, qty: int) -> tuple[Any, ...]:
    side, price, size, *rest = values
    return side, price * px, size * qty, *rest


def _trade(values: Any, px: int, qty: int) -> tuple[Any, ...]:
    return values[0] * px, values[1] * qty, values[2]


def _link(values: Any, *scales: int) -> tuple[Any, ...]:
    del scales
    return tuple(values)


def _finer(scales: list[int], more: Sequence[int]) -> dict[str, int]:
    """Further decimals, at most three; tick and lot stay what they are."""
    for at in range(2):
        scales[at] = min(3, scales[at] + more[at])
    return {"px_scale": scales[0], "qty_scale": scales[1], "tick_int": 10 ** scales[0], "lot_int": 10 ** scales[1]}


_WRITERS: Final[dict[str, Callable[[Any, int, int], tuple[Any, ...]]]] = {
    "quote": _quote,
    "book": _book,
    "delta": _delta,
    "trade": _trade,
    "connection": _link,
}


@settings(max_examples=60)
@given(MARKET, st.lists(st.integers(1, 60), max_size=6))
def test_any_split_gives_the_outputs_of_no_split(market: list[tuple[int, tuple[Any, ...]]], cuts: list[int]) -> None:
    """Cut at random places or before every row, outputs, what strategies saw and the venues' money are those of one batch."""
    rows = rows_of(market)
    whole = outcome(rows, ())
    assert outcome(rows, cuts) == whole
    assert outcome(rows, range(len(rows))) == whole


def test_the_generated_markets_trade() -> None:
    """A market of the generator's kind makes both strategies send orders over changes of scales, so that the property speaks of orders."""
    crossed = [(1, ("quote", 0, 104, 9, 105, 9)), (1, ("book", 1, [(97, 9)], [(98, 9), (99, 9)])), (1, ("instrument", 0, 1, 1))]
    later = [(20, ("quote", 0, 103, 8, 105, 9)), (60, ("quote", 0, 104, 9, 105, 9)), (1, ("instrument", 1, 1, 0))]
    rows = rows_of([*crossed, *later, *crossed[:2], (500, ("trade", 0, 104, 1, 0)), (900, ("trade", 0, 104, 1, 0))])
    whole = outcome(rows, ())
    assert {named(row)["strategy"] for row in whole[0] if row[0] == "commands"} == {"quick", "calm"}
    assert sum(row[0] == "fills" for row in whole[0]) >= 3
    for cuts in ([1], [3], [5, 6], range(len(rows))):
        assert outcome(rows, cuts) == whole
