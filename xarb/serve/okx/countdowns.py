"""OKX's cancel-all-after: when an account's countdown runs out its resting orders are canceled, and it is off until it is set again."""

from __future__ import annotations

import re
from typing import Any, Final

from xarb.model.units import NANOS_PER_S
from xarb.serve.clock import Stamps
from xarb.serve.config import KeyConfig
from xarb.serve.exchange import Exchange
from xarb.serve.limits import TooMany, Windows
from xarb.serve.okx.errors import bad, throttled
from xarb.serve.untrusted import is_flat, whole_of

TAG: Final = re.compile(r"[A-Za-z0-9]{1,16}\Z")
CANCEL_ID: Final = "countdown"  # of orders that one canceled
_LEAST_S, _MOST_S = 10, 120  # OKX, cancel-all-after, 2026-07; 0 switches it off


class Countdowns:
    """Those of one venue: of a whole account, or of its orders that bear a tag.

    Args:
        exchange: the venue.
        clock: of it; countdowns go by monotonic time.
    """

    def __init__(self, exchange: Exchange, clock: Stamps) -> None:
        self._exchange = exchange
        self._clock = clock
        self._windows = Windows()
        self._due: dict[tuple[str, str], int] = {}  # monotonic ns by account and tag; no tag: the whole account

    @property
    def running(self) -> int:
        """How many run."""
        return len(self._due)

    def set(self, values: Any, key: KeyConfig) -> list[dict[str, Any]]:
        """Begin a countdown anew, or switch it off; the answer to the request.

        Raises:
            OkxError: a parameter is wrong, or it was asked for more than once in a second.
        """
        if not is_flat(values):
            raise bad("timeOut")
        seconds, tag = whole_of(str(values.get("timeOut", ""))), str(values.get("tag") or "")
        if seconds is None or (seconds and not _LEAST_S <= seconds <= _MOST_S):
            raise bad("timeOut")
        if tag and not TAG.match(tag):
            raise bad("tag")
        try:
            self._windows.count(tag, key.account, 1, self._clock.mono_ns(), span_ns=NANOS_PER_S)
        except TooMany:
            raise throttled() from None
        self._due.pop((key.account, tag), None)
        now_ms = self._exchange.now_ms()
        if seconds:
            self._due[key.account, tag] = self._clock.mono_ns() + seconds * NANOS_PER_S
        return [{"triggerTime": str(now_ms + seconds * 1000) if seconds else "0", "tag": tag, "ts": str(now_ms)}]

    def look(self) -> None:
        """Cancel the orders of those that ran out."""
        now = self._clock.mono_ns()
        for account, tag in [one for one, due in self._due.items() if due <= now]:
            del self._due[account, tag]
            for order in self._exchange.desk.open_orders(account, self._exchange.name):
                if tag in {"", order.intent.tag}:
                    self._exchange.desk.cancel(order, cancel_id=CANCEL_ID)


__all__ = ["CANCEL_ID", "TAG", "Countdowns"]
