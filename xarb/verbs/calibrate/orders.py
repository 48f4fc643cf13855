"""What became of each order of a live start, and when: from its commands and what the exchanges said of them.

Times are ns of our clock (`ts_recv` of rows, `ts` of commands), but for `told`, which is the exchange's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from xarb.verbs.calibrate.clocks import Clock

Row = Mapping[str, Any]
_WORDS: Final = ("accepted", "fill", "canceled", "rejected", "expired")  # by which an exchange says what became of an order
_AT_ONCE: Final = ("send", "stream")  # where it says so by itself; a lookup or a list of trades says when we asked
_WHOLE: Final = ("ioc", "fok")


class Trace(NamedTuple):
    """One order.

    Attributes:
        venue, symbol, side, tif: where and how.
        order: its number.
        after_seq, decided: the input on which it was decided, and when.
        price_int, qty_int, px_scale, qty_scale: what it asked for.
        sent: when it was handed to the network; None: it never was.
        heard: when the exchange's first word of it came.
        told: when the exchange had it, by the exchange's clock.
        first_fill: when its first fill was reported.
        filled: money, all fills.
        refused: why the exchange refused it.
        is_unknown: its fate was unknown for a time.
        is_asked: its first word came because we asked.
        canceled: (when the cancel was decided, when its end was heard of).
    """

    venue: str
    symbol: str
    side: str
    tif: str
    order: int
    after_seq: int
    decided: int
    price_int: int
    qty_int: int
    px_scale: int
    qty_scale: int
    sent: int | None = None
    heard: int | None = None
    told: int | None = None
    first_fill: int | None = None
    filled: int = 0
    refused: str | None = None
    is_unknown: bool = False
    is_asked: bool = False
    canceled: tuple[int, int] | None = None

    @property
    def is_immediate(self) -> bool:
        """Whether nothing of it could rest."""
        return self.tif in _WHOLE

    def arrival(self, clock: Clock) -> int:
        """When the exchange had an order that was heard of, on our clock; halfway to its first word where it did not say."""
        assert self.heard is not None
        return (self.decided + self.heard) // 2 if self.told is None else clock.ours(self.told, self.heard)


def traces(commands: Iterable[Row], reports: Iterable[Row]) -> list[Trace]:
    """The orders in the order of their commands; `reports` are of the same start, in the order of their `seq`."""
    said: dict[int, list[Row]] = {}
    for row in reports:
        said.setdefault(row["order"], []).append(row)
    cancels: dict[int, int] = {}
    submits: list[Row] = []
    for row in commands:
        if row["kind"] == "cancel":
            cancels.setdefault(row["order"], row["ts"])
        else:
            submits.append(row)
    return [_trace(row, said.get(row["order"], []), cancels.get(row["order"])) for row in submits]


def _trace(command: Row, said: list[Row], cancel: int | None) -> Trace:
    asked = {name: command[name] for name in ("venue", "symbol", "side", "tif", "order", "after_seq", "price_int", "qty_int")}
    words = [row for row in said if row["event"] in _WORDS]
    fills = [row for row in words if row["event"] == "fill"]
    first = words[0] if words else None
    end = next((row for row in words if row["event"] == "canceled"), None)
    trace = Trace(**asked, px_scale=command["px_scale"], qty_scale=command["qty_scale"], decided=command["ts"])
    return trace._replace(
        sent=next((row["ts_recv"] for row in said if row["event"] == "sent"), None),
        heard=None if first is None else first["ts_recv"],
        told=_told(words, is_immediate=trace.is_immediate),
        first_fill=fills[0]["ts_recv"] if fills else None,
        filled=sum(row["qty"] for row in fills),
        refused=next((row["reason"] or "unnamed" for row in words if row["event"] == "rejected"), None),
        is_unknown=any(row["event"] == "unknown" for row in said),
        is_asked=first is not None and first["source"] not in _AT_ONCE,
        canceled=None if cancel is None or end is None or end["source"] not in (*_AT_ONCE, "cancel") else (cancel, end["ts_recv"]),
    )


def _told(words: list[Row], *, is_immediate: bool) -> int | None:
    """The exchange's time of its first word; of an order that cannot rest any of its words will do, since all are of its arrival."""
    if not words:
        return None
    if words[0]["ts_event"] is not None or not is_immediate:
        time: int | None = words[0]["ts_event"]
        return time
    return min((row["ts_event"] for row in words if row["ts_event"] is not None), default=None)
