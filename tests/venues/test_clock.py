"""Time of a live process, and how an exchange's clock is compared with it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xarb.model.units import NANOS_PER_MS, NANOS_PER_S
from xarb.venues.clock import TIMES, Clock, TimeRequest, offset_of

START = 1_700_000_000 * NANOS_PER_S


class World:
    """Two clocks that a test sets."""

    def __init__(self) -> None:
        self.wall_ns, self.monotonic_ns = START, 5 * NANOS_PER_S

    def pass_by(self, ns: int, *, stepped: int = 0) -> None:
        """Time passes, and the wall is set besides."""
        self.monotonic_ns += ns
        self.wall_ns += ns + stepped

    def clock(self, floor: int = 0) -> Clock:
        """A clock in this world."""
        return Clock(floor, wall=lambda: self.wall_ns, monotonic=lambda: self.monotonic_ns)


@given(st.lists(st.tuples(st.integers(0, 10**12), st.integers(-(10**12), 10**12)), max_size=20), st.integers(0, 2 * START))
def test_time_never_decreases_and_never_follows_the_wall(passes: list[tuple[int, int]], floor: int) -> None:
    """Whatever is done to the wall, time goes on by what really passed, from the wall or the log's end, whichever is later."""
    world = World()
    clock = world.clock(floor)
    assert (clock.now(), clock.ahead_ns) == (max(START, floor), max(floor - START, 0))
    for ns, stepped in passes:
        before = clock.now()
        world.pass_by(ns, stepped=stepped)
        assert clock.now() == before + ns


@given(st.lists(st.tuples(st.integers(0, 10**10), st.integers(-(10**12), 10**12)), max_size=20), st.integers(0, 2 * START))
def test_each_step_of_the_wall_is_told_once(passes: list[tuple[int, int]], floor: int) -> None:
    """A step of 10 ms or more is told at the next look with its size and sign; smaller ones are slewing, seen in the drift alone."""
    world = World()
    clock = world.clock(floor)
    for ns, stepped in passes:
        world.pass_by(ns, stepped=stepped)
        assert clock.step() == (stepped if abs(stepped) >= 10 * NANOS_PER_MS else None)
        assert clock.step() is None
    assert clock.drift() == sum(stepped for _, stepped in passes)


@pytest.mark.parametrize(
    ("name", "body", "ns"),
    [
        ("binance", b'{"serverTime":1700000000123}', 1_700_000_000_123 * NANOS_PER_MS),
        ("okx", b'{"code":"0","msg":"","data":[{"ts":"1700000000123"}]}', 1_700_000_000_123 * NANOS_PER_MS),
        ("bybit", b'{"retCode":0,"result":{"timeSecond":"1700000000"},"time":1700000000123}', 1_700_000_000_123 * NANOS_PER_MS),
        ("kraken", b'{"error":[],"result":{"unixtime":1700000000,"rfc1123":"x"}}', START),
        ("kucoin", b'{"code":"200000","data":1700000000123}', 1_700_000_000_123 * NANOS_PER_MS),
        ("gate", b'{"server_time":1700000000123}', 1_700_000_000_123 * NANOS_PER_MS),
    ],
)
def test_an_exchange_clock_is_read_from_its_answer(name: str, body: bytes, ns: int) -> None:
    """Frames from each exchange's documentation: its time against the middle of the round trip, half a unit added for what was cut off."""
    request = TIMES[name]
    half = NANOS_PER_S // 2 if request.unit == "s" else NANOS_PER_MS // 2
    found = offset_of(request, body, START, START + 40_000)
    assert found == (ns + half - START - 20_000, 40_000)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"serverTime":null}', b'{"serverTime":"x"}', b'{"serverTime":{}}', b"\xff"])
def test_an_answer_without_a_time_is_none(body: bytes) -> None:
    """Whatever came in place of it."""
    with pytest.raises(ValueError, match="no time at serverTime"):
        offset_of(TimeRequest("/time", ("serverTime",), "ms"), body, 0, 1)
