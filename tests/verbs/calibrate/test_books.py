"""A small log with known answers: how long its rows took, and what its book held when."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.log.logs import START, instrument
from tests.trial import LOT, MS, SYMBOL, VENUES, Rows, head, tick, write_log
from xarb.assembly import SOURCES, Ground
from xarb.log.reader import EVERYTHING, LogReader, Selection
from xarb.model.units import MONEY_ONE, PPB
from xarb.starts import LIVE, Opening, Span, Start
from xarb.venues.fold.draw import splitmix64
from xarb.verbs.calibrate.clocks import Clock
from xarb.verbs.calibrate.depth import ARRIVED, DECIDED, Held, Probe, held, rows_around
from xarb.verbs.calibrate.feeds import drawn, feeds_of
from xarb.verbs.calibrate.orders import Trace
from xarb.verbs.calibrate.source import Part, decay

BUY = Trace(
    venue="alpha",
    symbol=SYMBOL,
    side="buy",
    tif="ioc",
    order=1,
    after_seq=0,
    decided=START + 30 * MS,
    price_int=10_010,
    qty_int=2 * LOT,
    px_scale=2,
    qty_scale=5,
    heard=START + 60 * MS,
)


def told(at: int, ask: int, size: int, *, late: int | None) -> tuple[int, tuple[str, dict[str, object]]]:
    """A quote of alpha that came at `at` ms, `late` ms after the exchange had it; None: it gives no time."""
    event = None if late is None else START + (at - late) * MS
    return at, tick("alpha", 10_000, ask, size=size, ts_event=event)


def market(folder: Path) -> Path:
    """Alpha offers 5, then 3, at 100.10, then nothing below 100.20; the last row gives no time."""
    rows: Rows = [
        *head(),
        told(10, 10_010, 5 * LOT, late=4),
        told(40, 10_010, 3 * LOT, late=8),
        told(55, 10_020, 9 * LOT, late=9),
        told(70, 10_020, 1 * LOT, late=None),
        (80, tick("bravo", ts_event=START + 81 * MS)),
    ]
    return write_log(folder / "log", rows)


def span() -> Span:
    """A start over the whole log."""
    opening = Opening(balances=(), sources={f"{SYMBOL}@{venue}": SOURCES["quotes"] for venue in VENUES}, armed=True)
    start = Start(number=1, log_id="a", code_digest="", config={}, seed=1, mode=LIVE, opening=opening, applied_seq=None)
    return Span(start, 0, 10**6)


def test_a_row_takes_what_lies_between_its_times(tmp_path: Path) -> None:
    """Received less the exchange's time, which stands for the middle of its ms on a clock 2 ms ahead; a row without one counts as such."""
    with LogReader(market(tmp_path)) as reader:
        found = feeds_of(reader, EVERYTHING, {"alpha": Clock((START,), (2 * MS,))})
        part = feeds_of(reader, Selection(first_ts=START + 50 * MS), {})
    alpha = found["alpha"]
    assert (alpha.rows, alpha.timed, alpha.clock.step) == (4, 3, MS)
    assert alpha.latencies.tolist() == [at * MS + 2 * MS - MS // 2 for at in (4, 8, 9)]
    assert found["bravo"].latencies.tolist() == [-MS - MS // 2], "the exchange's clock is ahead, or it is told in another unit"
    assert (part["alpha"].rows, part["alpha"].timed) == (2, 1)


def test_rows_are_drawn_by_their_seq() -> None:
    """Of many rows a share is kept, the one that the plain generator draws."""
    seqs = np.arange(1_000, 6_000)
    kept = drawn(seqs, PPB // 4)
    assert kept.tolist() == [splitmix64(0, seq) % PPB < PPB // 4 for seq in seqs.tolist()]
    assert 0.2 < kept.mean() < 0.3


def test_the_book_is_asked_as_of_decision_and_arrival(tmp_path: Path) -> None:
    """2 are wanted of 5 that are shown; an order that comes 32 ms in meets 3, one that comes at 46 ms none: its row was the last before."""
    with LogReader(market(tmp_path)) as reader:
        seqs = {row["ts_recv"]: row["seq"] for row in _quotes(reader)}
        first = seqs[START + 10 * MS]
        rows = rows_around(reader, span(), [BUY], {"alpha": Clock(step=MS)}, {"alpha": 9 * MS})
        befores = [rows["alpha"].last_before(START + at * MS) for at in (32, 33, 47, 61, 62)]
        assert befores == [None, *(seqs[START + at * MS] for at in (40, 55, 55, 70))]
        ground = Ground(
            instruments=reader.instruments,
            sources=[SOURCES["quotes"]] * len(reader.instruments),
            connections=8,
            log_id="a",
            opening={},
            simulated=False,
            timers_are_rows=True,
            armed=True,
            start=1,
        )
        wanted = [Probe(first, (1, DECIDED), BUY)]
        wanted += [Probe(seqs[START + at * MS], (at, ARRIVED), BUY) for at in (40, 55)]
        sell = BUY._replace(side="sell", price_int=10_000)
        found = held(reader, span(), ground, [*wanted, Probe(first, (2, DECIDED), sell), Probe(10**5, (3, ARRIVED), sell)])
    whole = 2 * MONEY_ONE
    assert found[1, DECIDED] == Held(5 * MONEY_ONE, whole)
    assert found[40, ARRIVED] == Held(3 * MONEY_ONE, whole)
    assert found[55, ARRIVED] == Held(0, 0)
    assert found[2, DECIDED] == Held(5 * MONEY_ONE, whole)
    assert found[3, ARRIVED] == Held(MONEY_ONE, MONEY_ONE), "behind the last row the book stands as that left it"


def test_what_is_left_follows_from_how_late_an_order_is(tmp_path: Path) -> None:
    """Of 5 that were shown 3 are left after 3 ms and none after 17; what is sent at once meets all, and one without a latency is left out."""
    log = market(tmp_path)
    with LogReader(log) as reader:
        seq = min(row["seq"] for row in _quotes(reader))
    part = Part(
        folder=log,
        log_id="a",
        digest="",
        span=span()._replace(first=seq),
        mode=LIVE,
        begin_ts=START,
        end_ts=START,
        is_open=False,
        orders=(BUY._replace(after_seq=seq),),
        clocks={"alpha": Clock(step=MS)},
    )
    for later, left in ((0, PPB), (3 * MS, 3 * PPB // 5), (17 * MS, 0)):
        assert decay(part, lambda _, later=later: later) == {"alpha": [left]}  # type: ignore[misc]  # mypy wants a type for it
    assert decay(part, lambda _: None) == {}


def test_prices_and_sizes_become_finer(tmp_path: Path) -> None:
    """An instrument whose scales grew after the decision is asked at its scales of now."""
    rows: Rows = [*head(), told(10, 10_010, 5 * LOT, late=4)]
    rows.append((20, instrument(("alpha", SYMBOL), 4, 7)))
    with LogReader(write_log(tmp_path / "log", rows)) as reader:
        ground = Ground(
            instruments=reader.known_at(5),
            sources=[0] * len(reader.instruments),
            connections=8,
            log_id="a",
            opening={},
            simulated=False,
            timers_are_rows=True,
            armed=True,
            start=1,
        )
        found = held(reader, span(), ground, [Probe(10**5, (1, ARRIVED), BUY)])
    assert found[1, ARRIVED] == Held(5 * MONEY_ONE, 2 * MONEY_ONE)


def _quotes(reader: LogReader) -> list[dict[str, int]]:
    return [row for part in reader.tables("quotes", ()) for row in part.to_pylist()]
