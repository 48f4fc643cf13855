"""Pings that a protocol asks its client to send."""

from __future__ import annotations

from collections.abc import Callable

from xarb.wires.session import Send


class Pings:
    """Says when the next ping is due.

    Args:
        every_ns: time between two pings, ns; seen by ticks, so up to a second late.
        text: what a ping says, from the time in ns.
    """

    __slots__ = ("_every", "_last", "_text")

    def __init__(self, every_ns: int, text: Callable[[int], str]) -> None:
        self._every, self._text = every_ns, text
        self._last: int | None = None

    def tick(self, ts: int) -> list[Send]:
        """The ping that is due at `ts` ns, if one is; the first tick starts the clock."""
        if self._last is None:
            self._last = ts
        elif ts - self._last >= self._every:
            self._last = ts
            return [Send(self._text(ts))]
        return []
