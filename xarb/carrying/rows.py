"""Rows of bundles of a log: of a long session millions are looked at by columns, and only those of a few bundles become Python values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

from xarb.log.reader import LogReader, Selection
from xarb.log.rows import from_table

if TYPE_CHECKING:
    from numpy.typing import NDArray

_COLUMNS: Final = {
    "bundles": ("bundle", "event", "plan", "account", "strategy"),
    "commands": (
        *("account", "strategy", "venue", "symbol", "kind", "order", "client_order_id", "bundle", "leg", "attempt", "side"),
        *("price_int", "qty_int", "px_scale", "qty_scale", "purpose"),
    ),
    "orders": ("order", "bundle", "state"),
    "fills": ("venue", "symbol", "order", "bundle", "fill_id", "side", "qty", "notional", "fee", "fee_asset"),
    "residuals": ("bundle", "asset", "qty", "cost", "cost_asset", "cause"),
}


def rows_of(reader: LogReader, kind: str, bundles: NDArray[np.int64], select: Selection) -> Iterator[dict[str, Any]]:
    """The rows of these bundles."""
    if not len(bundles):
        return
    for part in reader.tables(kind, _COLUMNS[kind], select):
        mine = np.isin(part.column("bundle").to_numpy(), bundles)
        if mine.any():
            yield from from_table(kind, part.filter(pa.array(mine)))
