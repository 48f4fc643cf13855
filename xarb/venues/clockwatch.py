"""The clock of an exchange while an account trades there: measured, told, and an objection while it is too far from ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from xarb.errors import Refused
from xarb.model.units import NANOS_PER_MS
from xarb.venues.account import Account, ClockReading

CLOCK_LOOKS: Final = 3  # a clock is measured so often in a row at the start, and before it is said to be off
CLOCK_OFF: Final = "clock_off"  # 1: it is too far from ours to trade; 0: no more


class ClockWatch:
    """Measures the clock of one exchange.

    Args:
        account: asks the exchange.
        venue: venue id.
        tell: takes readings: metric, value, detail.

    Attributes:
        objection: what speaks against new orders since the start, None while the clock is right.
    """

    def __init__(self, account: Account, venue: str, tell: Callable[[str, int, str], None]) -> None:
        self._account, self._venue, self._tell = account, venue, tell
        self.objection: str | None = None

    async def check(self) -> None:
        """Measure it.

        Raises:
            Refused: it is too far from ours.
        """
        if (why := self._off(await self._measure(CLOCK_LOOKS))) is not None:
            raise Refused(why)

    async def look(self) -> None:
        """Measure it while trading; one that seems off is measured as at the start before it is said to be."""
        why = self._off(await self._measure(1))
        if why is not None:
            why = self._off(await self._measure(CLOCK_LOOKS))
        if (why is None) != (self.objection is None):
            self.objection = why
            self._tell(CLOCK_OFF, int(why is not None), f"{self._account.label}: {why or 'the clock is right again'}")

    def _off(self, reading: ClockReading) -> str | None:
        """What is wrong with a clock, if anything is."""
        if abs(reading.offset_ns) <= self._account.terms.max_clock_ms * NANOS_PER_MS:
            return None
        away = f"{reading.offset_ns / NANOS_PER_MS:.1f} ms"
        return f"the clock of {self._venue} is {away} from ours, {self._account.terms.max_clock_ms} ms are allowed"

    async def _measure(self, looks: int) -> ClockReading:
        reading = await self._account.clock(looks)
        self._tell("clock_offset_ns", reading.offset_ns, f"{self._account.label}, round trip {reading.round_trip_ns} ns")
        return reading
