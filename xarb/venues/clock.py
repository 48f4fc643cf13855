"""Time of a live process: monotonic, anchored to the wall once; what the wall does meanwhile is measured and told, never followed."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, NamedTuple

import msgspec

from xarb.model.units import NANOS_PER_MS, NANOS_PER_S

STEP_NS: Final = 10 * NANOS_PER_MS  # NTP slews at most 0.5 ms in a second; what moves the wall further in one look set it
_UNITS: Final = {"s": NANOS_PER_S, "ms": NANOS_PER_MS}


class Clock:
    """`ts_recv` in ns: the wall time of its making plus the monotonic time since. It never decreases.

    Args:
        floor: ts_recv of the log's last row, ns. Where the wall is behind it, time goes on from there and `ahead_ns` says by how much.
        wall: reads the wall, ns since 1970 UTC.
        monotonic: reads a clock that never jumps, ns.

    Attributes:
        ahead_ns: how far this clock was put ahead of the wall when it was made, 0 in a sound world.
    """

    def __init__(
        self, floor: int = 0, *, wall: Callable[[], int] = time.time_ns, monotonic: Callable[[], int] = time.monotonic_ns
    ) -> None:
        now = wall()
        self.ahead_ns = max(floor - now, 0)
        self._wall, self._monotonic = wall, monotonic
        self._offset = now + self.ahead_ns - monotonic()
        self._seen = self._offset  # wall minus monotonic time, as of the last look

    def now(self) -> int:
        """This moment, ns since 1970 UTC."""
        return self._offset + self._monotonic()

    def step(self) -> int | None:
        """By how much the wall was set since the last look, ns, None when it was not. Look about once a second."""
        found = self._wall() + self.ahead_ns - self._monotonic()
        step, self._seen = found - self._seen, found
        return step if abs(step) >= STEP_NS else None

    def drift(self) -> int:
        """The wall minus this clock, ns: slewing and steps since it was anchored."""
        return self._wall() + self.ahead_ns - self.now()


class TimeRequest(NamedTuple):
    """Where an exchange tells its time: a path below its REST address, the keys that lead to the number, and its unit."""

    path: str
    keys: tuple[str | int, ...]
    unit: str


TIMES: Final[dict[str, TimeRequest]] = {  # from the exchanges' REST documentation, 2026
    "binance": TimeRequest("/api/v3/time", ("serverTime",), "ms"),
    "binanceusdm": TimeRequest("/fapi/v1/time", ("serverTime",), "ms"),
    "binancecoinm": TimeRequest("/dapi/v1/time", ("serverTime",), "ms"),
    "okx": TimeRequest("/api/v5/public/time", ("data", 0, "ts"), "ms"),
    "bybit": TimeRequest("/v5/market/time", ("time",), "ms"),
    "kraken": TimeRequest("/0/public/Time", ("result", "unixtime"), "s"),
    "kucoin": TimeRequest("/api/v1/timestamp", ("data",), "ms"),
    "gate": TimeRequest("/api/v4/spot/time", ("server_time",), "ms"),
}


class Offset(NamedTuple):
    """A measurement of an exchange's clock, ns: its time minus ours, true within half of the round trip and one unit of its figure."""

    offset_ns: int
    round_trip_ns: int


def offset_of(request: TimeRequest, body: bytes, sent: int, received: int) -> Offset:
    """The offset that an answer shows, taken to have been written in the middle between `sent` and `received`.

    An exchange cuts its time to whole units, so half a unit is added.

    Raises:
        ValueError: the body does not hold the time where it should.
    """
    try:
        found = msgspec.json.decode(body)
        for key in request.keys:
            found = found[key]
        value = int(found)
    except (msgspec.DecodeError, KeyError, IndexError, TypeError, ValueError) as error:
        raise ValueError(f"no time at {'.'.join(map(str, request.keys))}: {error!r}") from None
    unit = _UNITS[request.unit]
    return Offset(value * unit + unit // 2 - (sent + received) // 2, received - sent)
