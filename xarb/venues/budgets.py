"""Budgets of requests: how much may be asked of an exchange in which time, so that its limits are never exceeded.

Each limit is a sliding window over what was spent, longer than the exchange's own by the time that requests may bunch up on their way:
in no window of the exchange, wherever it starts, arrives more than its limit. Times are handed in: monotonic, ns.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

import msgspec

from xarb.errors import ConfigError
from xarb.model.units import NANOS_PER_S

SLACK_NS: Final = NANOS_PER_S  # a request may be so much longer on its way than another
_PARTS: Final = 600  # a window forgets in steps of this part of its length, so that it never holds more than so many numbers


class Limit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """At most `count` units in any `seconds`."""

    count: int
    seconds: int

    def __post_init__(self) -> None:
        if self.count < 1 or self.seconds < 1:
            raise ConfigError(f"limit of {self.count} in {self.seconds} s: both must be above 0")


class Window:
    """What was spent of one limit."""

    __slots__ = ("_limit", "_spent", "_step", "_total", "span")

    def __init__(self, limit: Limit) -> None:
        self._limit = limit.count
        self.span = limit.seconds * NANOS_PER_S + SLACK_NS
        self._step = max(1, self.span // _PARTS)
        self._spent: deque[list[int]] = deque()  # time of the latest spending of a step, units
        self._total = 0

    def left(self, now: int) -> int:
        """Units that may be spent now."""
        while self._spent and self._spent[0][0] + self.span <= now:
            self._total -= self._spent.popleft()[1]
        return self._limit - self._total

    def used(self, now: int) -> int:
        """Units spent within the window."""
        return self._limit - self.left(now)

    def wait(self, now: int, units: int) -> int:
        """Ns until `units` may be spent, if nothing else is; 0: now.

        Raises:
            ConfigError: more than the limit is asked for at once.
        """
        if units > self._limit:
            raise ConfigError(f"{units} units are asked for at once, the limit is {self._limit}")
        lacking = units - self.left(now)
        for time, spent in self._spent:
            if lacking <= 0:
                return 0
            lacking -= spent
            if lacking <= 0:
                return time + self.span - now
        return 0

    def spend(self, now: int, units: int) -> None:
        """Count units as spent; more than are left when the exchange itself says so."""
        self._total += units
        if self._spent and self._spent[-1][0] // self._step == now // self._step:
            self._spent[-1][0] = now
            self._spent[-1][1] += units
        else:
            self._spent.append([now, units])


class Budget:
    """One pool of units, such as an address's request weight or an account's orders, with a reserve for what must not wait.

    Args:
        limits: all of them hold.
        reserve: part of each limit, per thousand, that only urgent requests (cancels, lookups) may use.
    """

    def __init__(self, limits: Sequence[Limit], *, reserve: int = 200) -> None:
        self._reserve = reserve
        self._paused_until = 0
        self._windows: tuple[Window, ...] = ()
        self._kept: tuple[int, ...] = ()
        self.adopt(0, limits)

    def adopt(self, now: int, limits: Sequence[Limit]) -> None:
        """Hold these limits from now on; what was spent of the ones before counts as spent now."""
        spent = max((window.used(now) for window in self._windows), default=0)
        self._windows = tuple(Window(limit) for limit in limits)
        self._kept = tuple(limit.count * self._reserve // 1000 for limit in limits)
        if spent:
            self.spend(now, spent)

    def wait(self, now: int, units: int, *, urgent: bool = False) -> int:
        """Ns until so many units may be spent; 0: now."""
        found = max(0, self._paused_until - now)
        for window, kept in zip(self._windows, self._kept, strict=True):
            found = max(found, window.wait(now, units + (0 if urgent else kept)))
        return found

    def spend(self, now: int, units: int) -> None:
        """Count units as spent."""
        for window in self._windows:
            window.spend(now, units)

    def stated(self, now: int, used: int, seconds: int) -> None:
        """The exchange says how much is used of its limit over so many seconds; what we did not count was spent by others."""
        for window in self._windows:
            if window.span == seconds * NANOS_PER_S + SLACK_NS and (more := used - window.used(now)) > 0:
                window.spend(now, more)

    def pause(self, until: int) -> None:
        """Nothing may be spent before that time: the exchange asked for it."""
        self._paused_until = max(self._paused_until, until)
