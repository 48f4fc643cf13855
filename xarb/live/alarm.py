"""The one call of the event loop by which a driver looks at the time again when nothing came."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from xarb.model.units import NANOS_PER_S, NEVER


class Alarm:
    """Rings once at the time that was set last, or a little later.

    Args:
        ring: called then.
    """

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring = ring
        self._handle: asyncio.TimerHandle | None = None
        self._at = NEVER

    def set(self, at: int, now: int) -> None:
        """Ring at a time, ns of the log's clock, which says `now`; one that rings earlier, but not before `now`, stays: it is set anew then."""
        if self._handle is not None and now < self._at <= at:
            return
        self.cancel()
        self._at = at
        self._handle = asyncio.get_running_loop().call_later(max(at - now, 0) / NANOS_PER_S, self._rings)

    def cancel(self) -> None:
        """Do not ring."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _rings(self) -> None:
        self._handle = None
        self._ring()
