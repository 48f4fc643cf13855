"""Pacing of requests, and pauses between tries."""

from __future__ import annotations

import asyncio
import random
from bisect import bisect_left

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wires.instruments import listing
from xarb.venues.pace import Backoff, Pace
from xarb.wires.exchanges import WIRES, Rate


class _Loop(asyncio.SelectorEventLoop):
    """An event loop whose time jumps to the next thing that is due, so that hours pass in no time."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 1000.0

    def time(self) -> float:
        """Its own time."""
        return self._now

    def _run_once(self) -> None:
        if not self._ready and self._scheduled:  # type: ignore[attr-defined]  # of asyncio's own loop
            self._now = max(self._now, self._scheduled[0]._when)  # type: ignore[attr-defined]  # same
        super()._run_once()  # type: ignore[misc]  # same


def times_of(burst: int, per_s: float, arrivals: list[float], hold: tuple[float, float] | None = None) -> list[float]:
    """When each caller passed, seconds after the start; callers come in the order of their arrivals."""
    passed: list[float] = []

    async def story() -> None:
        loop = asyncio.get_running_loop()
        pace, start = Pace(burst, per_s), loop.time()

        async def caller(at: float) -> None:
            await asyncio.sleep(at)
            await pace.wait()
            passed.append(loop.time() - start)

        async def holder() -> None:
            if hold is not None:
                await asyncio.sleep(hold[0])
                pace.hold(hold[1])

        await asyncio.gather(holder(), *(caller(at) for at in sorted(arrivals)))

    loop = _Loop()
    try:
        loop.run_until_complete(story())
    finally:
        loop.close()
    return passed


@given(
    st.integers(1, 5),
    st.sampled_from([0.5, 1.0, 4.0]),
    st.lists(st.floats(0, 30).map(lambda one: round(one, 2)), min_size=1, max_size=30),
)
def test_no_span_of_time_sees_more_than_burst_and_rate(burst: int, per_s: float, arrivals: list[float]) -> None:
    """Between any two passes lie at most `burst` callers and what the rate allows; nobody waits when there was room."""
    passed = times_of(burst, per_s, arrivals)
    for first in range(len(passed)):
        for last in range(first, len(passed)):
            assert last - first + 1 <= burst + (passed[last] - passed[first]) * per_s + 1e-6
    assert passed[0] == pytest.approx(min(arrivals))


def most_within(passed: list[float], span_s: float) -> int:
    """The most that passed in any span of so long."""
    return max(bisect_left(passed, at + span_s) - place for place, at in enumerate(passed))


# What the exchanges state (`wires/exchanges.py` names the pages): at most so many in so many seconds, and how many of them are not
# paced: pings below the protocol, of which we send two a second at most.
MESSAGES = [
    ("binance", 5, 1, 2),
    ("binanceusdm", 10, 1, 2),
    ("binancecoinm", 10, 1, 2),
    ("okx", 480, 3600, 0),
    ("coinbase", 8, 1, 0),
    ("kucoin", 100, 10, 0),
    ("upbit", 5, 1, 0),
    ("upbit", 100, 60, 0),
    ("bitstamp", 400, 1, 0),
]
SNAPSHOTS = [
    ("binance", 6000 // 50, 60, 0),
    ("binanceusdm", 2400 // 20, 60, 0),
    ("binancecoinm", 2400 // 20, 60, 0),
    ("kucoin", 2000 // 4, 30, 0),
    ("gate", 200, 10, 0),
    ("bitstamp", 400, 1, 0),
    ("bitstamp", 10_000, 600, 0),
]


@pytest.mark.parametrize(
    ("what", "venue", "limit", "span_s", "others"),
    [("messages", *row) for row in MESSAGES] + [("snapshots", *row) for row in SNAPSHOTS],
)
def test_no_exchange_is_asked_for_more_than_it_states(what: str, venue: str, limit: int, span_s: int, others: int) -> None:
    """Twice as many callers as the limit allows, all at once and again when the span is over: none sees more than it."""
    rate: Rate = getattr(WIRES[venue], what)
    passed = times_of(*rate, [0.0] * limit + [span_s * 1.0] * limit)
    assert len(passed) == 2 * limit
    assert most_within(passed, span_s) + others <= limit


def test_a_connection_of_a_hundred_books_at_gate_is_subscribed_in_two_seconds() -> None:
    """Its books are subscribed one by one, its quotes and trades in a message each; at four a second it took 25 s."""
    wire = WIRES["gate"]
    listings = [listing("gate", f"A{number}_USDT") for number in range(wire.max_instruments)]
    asks = wire.session(listings, wire.channels).open(0)
    assert len(asks) == 102
    assert times_of(*wire.messages, [0.0] * len(asks))[-1] < 2.0


def test_a_hold_keeps_everyone_who_comes_later() -> None:
    """The next one passes at the end of it, those behind at the rate."""
    assert times_of(3, 1.0, [0.0, 2.0, 3.0, 30.0], hold=(1.0, 10.0)) == [0.0, 11.0, 12.0, 30.0]


@given(st.integers(0, 2**32), st.integers(1, 80))
def test_pauses_double_up_to_the_cap_and_shrink_by_chance(seed: int, tries: int) -> None:
    """Each lies between half of its place in 0.2, 0.4, 0.8 ... 30 s and all of it; after a reset they begin again."""
    backoff = Backoff(0.2, 30.0, random.Random(seed))  # noqa: S311  # spreads pauses
    for number in range(tries):
        full = min(0.2 * 2**number, 30.0)
        assert full / 2 <= backoff.next() <= full
    backoff.reset()
    assert backoff.next() <= 0.2
