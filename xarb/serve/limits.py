"""Rate limits of a served venue: request weight by address, orders by account, connections by address, and bans of who goes on."""

from __future__ import annotations

from collections import deque
from typing import Final

from xarb.model.units import NANOS_PER_S
from xarb.serve.config import Limits

MINUTE_NS: Final = 60 * NANOS_PER_S
_FIVE_MINUTES_NS: Final = 5 * MINUTE_NS


class TooMany(Exception):  # a verdict that each wire puts in its own words
    """A limit was broken: `what` is weight, orders or connections; `wait_s` until it holds no more; banned or only turned away."""

    def __init__(self, what: str, wait_s: int, *, banned: bool = False) -> None:
        super().__init__(what)
        self.what = what
        self.wait_s = wait_s
        self.banned = banned


class _Spans:
    """A count in the current span of a fixed grid, as the exchange counts: by calendar minute, ten seconds, day."""

    __slots__ = ("count", "length", "span")

    def __init__(self, length: int) -> None:
        self.length = length
        self.span = 0
        self.count = 0

    def add(self, now: int, weight: int) -> int:
        """The count with `weight` more."""
        span = now // self.length
        if span != self.span:
            self.span, self.count = span, 0
        self.count += weight
        return self.count

    def left_s(self, now: int) -> int:
        """Seconds until the span ends, rounded up."""
        return -(-(self.length - now % self.length) // NANOS_PER_S)


class RateLimits:
    """One venue's counters. Times are wall time, ns."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._weights: dict[str, _Spans] = {}
        self._orders: dict[str, tuple[_Spans, _Spans]] = {}
        self._connections: dict[str, deque[int]] = {}
        self._offences: dict[str, int] = {}
        self._banned: dict[str, int] = {}

    def request(self, address: str, weight: int, now: int) -> int:
        """Count a request; the weight used in this minute.

        Raises:
            TooMany: it is not answered.
        """
        until = self._banned.get(address, 0)
        if now < until:
            raise TooMany("weight", -(-(until - now) // NANOS_PER_S), banned=True)
        spans = self._weights.setdefault(address, _Spans(MINUTE_NS))
        used = spans.add(now, weight)
        if used <= self.limits.weight_1m:
            self._offences.pop(address, None)
            return used
        self._offences[address] = self._offences.get(address, 0) + 1
        if self._offences[address] > self.limits.tolerated:
            self._banned[address] = now + self.limits.ban_s * NANOS_PER_S
            raise TooMany("weight", self.limits.ban_s, banned=True)
        raise TooMany("weight", spans.left_s(now))

    def order(self, account: str, now: int) -> tuple[int, int]:
        """Count an order; those of this ten seconds and of this day.

        Raises:
            TooMany: it is not taken.
        """
        tens, days = self._orders.setdefault(account, (_Spans(10 * NANOS_PER_S), _Spans(1440 * MINUTE_NS)))
        counts = tens.add(now, 1), days.add(now, 1)
        if counts[0] > self.limits.orders_10s:
            raise TooMany("orders", tens.left_s(now))
        if counts[1] > self.limits.orders_1d:
            raise TooMany("orders", days.left_s(now))
        return counts

    def orders_used(self, account: str, now: int) -> tuple[int, int]:
        """Orders of this ten seconds and of this day."""
        if account not in self._orders:
            return 0, 0
        tens, days = self._orders[account]
        return tens.add(now, 0), days.add(now, 0)

    def weight_used(self, address: str, now: int) -> int:
        """Weight of this minute."""
        return self._weights[address].add(now, 0) if address in self._weights else 0

    def connect(self, address: str, now: int) -> None:
        """Count a connection.

        Raises:
            TooMany: more than allowed within five minutes.
        """
        times = self._connections.setdefault(address, deque())
        while times and times[0] <= now - _FIVE_MINUTES_NS:
            times.popleft()
        if len(times) >= self.limits.connections_5m:
            raise TooMany("connections", -(-(times[0] + _FIVE_MINUTES_NS - now) // NANOS_PER_S))
        times.append(now)


class Windows:
    """Counts of short spans, each under a name of its own, as OKX limits each path and address, and each account's orders."""

    def __init__(self) -> None:
        self._spans: dict[tuple[str, str], _Spans] = {}

    def count(self, what: str, who: str, most: int, now: int, *, span_ns: int = 2 * NANOS_PER_S) -> None:
        """Count one more; a name keeps the span with which it was counted first.

        Raises:
            TooMany: more than `most` in this span.
        """
        spans = self._spans.setdefault((what, who), _Spans(span_ns))
        if spans.add(now, 1) > most:
            raise TooMany(what, spans.left_s(now))


__all__ = ["RateLimits", "TooMany", "Windows"]
