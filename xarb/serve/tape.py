"""What was traded on one instrument since the server began: the latest prints, bars of a second and a minute, 24 hour figures.

Prices, quantities and values are money: integers at 18 decimals. Times are ms since 1970, as clients are told them.
"""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

from xarb.model.units import MONEY_ONE

SECOND_MS: Final = 1000
MINUTE_MS: Final = 60_000
DAY_MS: Final = 86_400_000
INTERVALS: Final = {
    "1s": SECOND_MS,
    "1m": MINUTE_MS,
    "3m": 3 * MINUTE_MS,
    "5m": 5 * MINUTE_MS,
    "15m": 15 * MINUTE_MS,
    "30m": 30 * MINUTE_MS,
    "1h": 60 * MINUTE_MS,
    "2h": 120 * MINUTE_MS,
    "4h": 240 * MINUTE_MS,
    "6h": 360 * MINUTE_MS,
    "8h": 480 * MINUTE_MS,
    "12h": 720 * MINUTE_MS,
    "1d": DAY_MS,
    "3d": 3 * DAY_MS,
}
_PRINTS: Final = 10_000
_SECONDS: Final = 7_200
_MINUTES: Final = 4_320


class Print(NamedTuple):
    """One public trade; ids count from 1 without holes."""

    id: int
    ms: int
    price: int
    qty: int
    buyer_is_maker: bool

    @property
    def value(self) -> int:
        """Price times quantity as money; exact where both have at most 18 decimals together."""
        return self.price * self.qty // MONEY_ONE


class Bar:
    """Trades of one span of time."""

    __slots__ = ("close", "count", "first", "high", "last", "low", "ms", "open", "taker_qty", "taker_value", "value", "volume")

    def __init__(self, ms: int, one: Print) -> None:
        self.ms = ms
        self.open = self.high = self.low = self.close = one.price
        self.volume = self.value = self.taker_qty = self.taker_value = self.count = 0
        self.first = self.last = one.id

    def add(self, one: Print) -> None:
        """Take one more trade."""
        self.high, self.low, self.close = max(self.high, one.price), min(self.low, one.price), one.price
        self.volume += one.qty
        self.value += one.value
        self.count += 1
        self.last = one.id
        if not one.buyer_is_maker:
            self.taker_qty += one.qty
            self.taker_value += one.value

    def join(self, later: Bar) -> None:
        """Take a later bar's trades too."""
        self.high, self.low, self.close = max(self.high, later.high), min(self.low, later.low), later.close
        self.last = later.last
        for field in ("volume", "value", "taker_qty", "taker_value", "count"):
            setattr(self, field, getattr(self, field) + getattr(later, field))

    def copy(self, ms: int) -> Bar:
        """The same as a bar that begins at `ms`."""
        made = Bar.__new__(Bar)
        for field in self.__slots__:
            setattr(made, field, getattr(self, field))
        made.ms = ms
        return made


class Tape:
    """The trades of one instrument. The last 10,000 prints, two hours of seconds and three days of minutes are kept."""

    def __init__(self) -> None:
        self.prints: deque[Print] = deque(maxlen=_PRINTS)
        self.last_id = 0
        self._bars: dict[int, deque[Bar]] = {SECOND_MS: deque(maxlen=_SECONDS), MINUTE_MS: deque(maxlen=_MINUTES)}

    def add(self, ms: int, price: int, qty: int, *, buyer_is_maker: bool) -> Print:
        """Print a trade under the next id."""
        self.last_id += 1
        one = Print(self.last_id, ms, price, qty, buyer_is_maker)
        self.prints.append(one)
        for step, bars in self._bars.items():
            start = ms - ms % step
            if not bars or bars[-1].ms < start:
                bars.append(Bar(start, one))
            bars[-1].add(one)
        return one

    def bars(self, interval: str) -> list[Bar]:
        """Bars of an interval (a key of INTERVALS), oldest first; spans without trades have none."""
        step = INTERVALS[interval]
        if step == SECOND_MS:
            return list(self._bars[SECOND_MS])
        found: list[Bar] = []
        for bar in self._bars[MINUTE_MS]:
            start = bar.ms - bar.ms % step
            if found and found[-1].ms == start:
                found[-1].join(bar)
            else:
                found.append(bar.copy(start))
        return found

    def day(self, now_ms: int) -> Bar | None:
        """All trades of the last 24 hours, to the minute, as one bar; None without any."""
        found: Bar | None = None
        for bar in self._bars[MINUTE_MS]:
            if bar.ms <= now_ms - DAY_MS:
                continue
            if found is None:
                found = bar.copy(bar.ms)
            else:
                found.join(bar)
        return found


__all__ = ["DAY_MS", "INTERVALS", "Bar", "Print", "Tape"]
