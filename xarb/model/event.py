"""Input rows of the kinds that the engine handles one at a time in Python; their fields follow the column tables."""

from __future__ import annotations

from typing import Any

import msgspec


class SlowRow(msgspec.Struct, frozen=True):
    """One input row outside the compiled kinds: its kind and its values by column name (null is None, enums are their text).

    Money is an int at 18 decimals, wide integers are text, times are ns.
    """

    seq: int
    ts_recv: int
    kind: str
    values: dict[str, Any]
