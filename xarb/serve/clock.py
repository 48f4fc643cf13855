"""Where the replay stands: log time as a function of the wall clock, and the wall time that clients are told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from fractions import Fraction
from typing import Final, Protocol

from xarb.model.units import NANOS_PER_S

_LONGEST_S: Final = 3600.0


class Stamps(Protocol):
    """What time it is. ns since 1970 but for `mono_ns`."""

    def wall_ns(self) -> int:
        """The time that clients are told."""

    def mono_ns(self) -> int:
        """Monotonic time, for limits and measurements."""


class Clock(Stamps, Protocol):
    """The replay's clock."""

    def aim(self, first: int) -> None:
        """Log time will start at `first`; earlier times lie before now by as much as they lie before it."""

    def start(self) -> None:
        """Log time moves from here on."""

    def log_ns(self) -> int:
        """Log time now; before the start, a time before any row."""

    def wall_of(self, log_ns: int) -> int:
        """The wall time at which log time was, or will be, `log_ns`."""

    async def wait_until(self, log_ns: int) -> None:
        """Return when log time has come to `log_ns`, or somewhat earlier."""

    async def pause(self, seconds: float) -> None:
        """Wait so long on the wall."""


class WallClock:
    """The machine's clock, read once and carried on by monotonic time, so that steps of the wall clock do not move the market.

    Args:
        speed: log seconds per second.
        monotonic, wall: the machine's clocks.
    """

    def __init__(
        self,
        speed: Fraction = Fraction(1),
        *,
        monotonic: Callable[[], int] = time.monotonic_ns,
        wall: Callable[[], int] = time.time_ns,
    ) -> None:
        self._monotonic = monotonic
        self._offset = wall() - monotonic()
        self._up, self._down = speed.numerator, speed.denominator
        self._first = 0
        self._started: int | None = None

    def wall_ns(self) -> int:
        """The time that clients are told."""
        return self._monotonic() + self._offset

    def mono_ns(self) -> int:
        """Monotonic time."""
        return self._monotonic()

    def aim(self, first: int) -> None:
        """Log time will start at `first`."""
        self._first = first

    def start(self) -> None:
        """Log time moves from here on."""
        self._started = self._monotonic()

    def log_ns(self) -> int:
        """Log time now."""
        if self._started is None:
            return -(2**62)
        return self._first + (self._monotonic() - self._started) * self._up // self._down

    def wall_of(self, log_ns: int) -> int:
        """The wall time of a log time."""
        started = self._monotonic() if self._started is None else self._started
        return started + self._offset + (log_ns - self._first) * self._down // self._up

    async def wait_until(self, log_ns: int) -> None:
        """Return when log time has come to `log_ns`, or after an hour."""
        left = (self.wall_of(log_ns) - self.wall_ns()) / NANOS_PER_S
        await asyncio.sleep(min(max(left, 0.0), _LONGEST_S))

    async def pause(self, seconds: float) -> None:
        """Wait so long."""
        await asyncio.sleep(seconds)


class VenueClock:
    """One venue's clock: the replay's, wrong by `offset_ns` while a fault makes it so."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.offset_ns = 0

    def wall_ns(self) -> int:
        """The time that the venue's clients are told."""
        return self._clock.wall_ns() + self.offset_ns

    def mono_ns(self) -> int:
        """Monotonic time."""
        return self._clock.mono_ns()


__all__ = ["Clock", "Stamps", "VenueClock", "WallClock"]
