"""Pacing: so many at once, then so many a second; and pauses that grow."""

from __future__ import annotations

import asyncio
import random
from typing import Final

_DOUBLINGS: Final = 32  # beyond them the cap holds whatever it is


class Pace:
    """Lets `burst` callers pass at once and `per_s` a second after that, in the order in which they come."""

    def __init__(self, burst: int, per_s: float) -> None:
        self._burst, self._interval = burst, 1 / per_s
        self._due = 0.0  # when the next one may pass if none were saved up, loop time

    async def wait(self) -> None:
        """Return when it is this caller's turn."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        at = max(self._due, now - self._burst * self._interval) + self._interval
        self._due = at
        if at > now:
            await asyncio.sleep(at - now)

    def hold(self, seconds: float) -> None:
        """Nobody who comes from now on passes for so long."""
        until = asyncio.get_running_loop().time() + seconds
        self._due = max(self._due, until - self._interval)


class Backoff:
    """Pauses between tries: doubling from `first_s` up to `cap_s`, each shortened by up to half by chance.

    Args:
        first_s: the first pause, seconds.
        cap_s: the longest.
        rng: draws the shortening, so that many clients do not return in step.
    """

    def __init__(self, first_s: float, cap_s: float, rng: random.Random) -> None:
        self._first, self._cap, self._rng = first_s, cap_s, rng
        self._tries = 0

    def reset(self) -> None:
        """The last try was good: the next pause is the first one again."""
        self._tries = 0

    def next(self) -> float:
        """The next pause in seconds."""
        pause = min(self._first * float(1 << min(self._tries, _DOUBLINGS)), self._cap)
        self._tries += 1
        return pause * (1 - self._rng.random() / 2)
