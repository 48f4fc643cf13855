"""Rows outside compiled code: inputs that the engine handles one at a time, and outputs. Their fields follow the column tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from xarb.model.columns import OUTPUTS, TABLES

_NAMES: Final = {kind: tuple(column.name for column in TABLES[kind].columns) for kind in OUTPUTS}


class SlowRow(msgspec.Struct, frozen=True):
    """One input row outside the compiled kinds: its kind and its values by column name (null is None, enums are their text).

    Money is an int at 18 decimals, wide integers are text, times are ns.
    """

    seq: int
    ts_recv: int
    kind: str
    values: dict[str, Any]


OutputRow = tuple[Any, ...]  # kind, then its values in column order: enums as text, money as an int at 18 decimals, absent as None


def named(row: OutputRow) -> dict[str, Any]:
    """The values of an output row by column name."""
    return dict(zip(_NAMES[row[0]], row[1:], strict=True))


def output_row(kind: str, values: Mapping[str, Any]) -> OutputRow:
    """The reverse of `named`; a name left out is None."""
    return (kind, *map(values.get, _NAMES[kind]))
