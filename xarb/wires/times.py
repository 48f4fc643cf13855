"""Venue and file times as text or integers to exact nanoseconds since 1970 UTC."""

from __future__ import annotations

from typing import Final

from xarb.model.units import parse_decimal, to_scale

UNIT_SCALES: Final = {"s": 9, "ms": 6, "us": 3, "ns": 0}  # decimals of one unit down to the nanosecond
EARLIEST: Final = 946_684_800_000_000_000  # 2000-01-01; a time outside these two is a wrong unit or a broken clock,
LATEST: Final = 4_102_444_800_000_000_000  # 2100-01-01; and one of them would make every later row of its file "earlier"


def nanos_of(text: str, unit: str) -> int:
    """The time `text`, a decimal number of `unit` since 1970, in ns.

    Raises:
        ValueError: no decimal number, finer than a nanosecond, or outside the years 2000 to 2099.
        KeyError: `unit` is none of `s`, `ms`, `us`, `ns`.
    """
    scale = UNIT_SCALES[unit]
    if text.isascii() and text.isdigit() and len(text) < 20:
        return checked(int(text) * 10**scale)
    return checked(to_scale(*parse_decimal(text), scale))


def checked(nanos: int) -> int:
    """`nanos` itself.

    Raises:
        ValueError: outside the years 2000 to 2099.
    """
    if EARLIEST <= nanos < LATEST:
        return nanos
    raise ValueError(f"the time {nanos} ns lies outside the years 2000 to 2099; is the unit right?")
