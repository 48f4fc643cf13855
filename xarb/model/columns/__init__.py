"""One column table per event: the source from which Arrow schemas, kernel dtypes, SQL views and documentation derive.

Inputs carry `seq`, the gap-free order over all kinds and venues. Outputs carry `(after_seq, n)`: the last input applied
before them, and an ordinal that starts at 0 for each `after_seq` and runs over all kinds of output together.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from xarb.model.columns.account import ACCOUNTS
from xarb.model.columns.chain import CHAINS
from xarb.model.columns.market import MARKETS
from xarb.model.columns.outputs import OUTPUT_TABLES
from xarb.model.columns.running import RUNNING
from xarb.model.columns.table import Column, Encoding, Table, Type
from xarb.model.columns.words import (
    AGGRESSORS,
    BLOCK_EVENTS,
    BREAKER_STATES,
    BUNDLE_EVENTS,
    COMMAND_KINDS,
    CONNECTION_EVENTS,
    CONTRACT_KINDS,
    CYCLE_EVENTS,
    CYCLE_STATES,
    DELTA_VERDICTS,
    DIRECTIONS,
    FEED_STATES,
    FLAG_RULES,
    FUNDINGS,
    INSTRUMENT_KINDS,
    LEDGER_CAUSES,
    LENDERS,
    LEVELS,
    LIQUIDITY,
    LIVE_REPORT_EVENTS,
    OPPORTUNITY_PHASES,
    ORDER_STATES,
    POOL_CAUSES,
    POOL_KINDS,
    QUOTE_RULES,
    QUOTE_STATES,
    RECEIPT_STATUSES,
    REPORT_EVENTS,
    REPORT_SOURCES,
    RESIDUAL_CAUSES,
    SIDES,
    TIME_IN_FORCE,
    TRANSACTION_CHANNELS,
    TRANSACTION_EVENTS,
    TRANSACTION_PURPOSES,
    VERDICTS,
)

FORMAT_VERSION: Final = 1
TABLES: Final[dict[str, Table]] = {table.name: table for table in (*MARKETS, *CHAINS, *ACCOUNTS, *RUNNING, *OUTPUT_TABLES)}
INPUTS: Final = tuple(name for name, table in TABLES.items() if table.is_input)
OUTPUTS: Final = tuple(name for name, table in TABLES.items() if not table.is_input)
KERNEL_KINDS: Final = ("quotes", "books", "book_deltas", "trades")  # stepped by the compiled kernel, the rest in Python

_NUMPY: Final = {
    Type.INT64: np.int64,
    Type.TIME: np.int64,
    Type.INT32: np.int32,
    Type.INT16: np.int16,
    Type.INT8: np.int8,
    Type.ENUM: np.int8,
    Type.BOOL: np.bool_,
}


def numpy_dtype(column: Column) -> np.dtype[np.generic]:
    """The dtype in which a fixed-width column reaches the kernel; a nullable column is always int64, null is INT64_MIN.

    Raises:
        KeyError: the column is text, money, a list or bytes and does not reach the kernel.
    """
    fixed = _NUMPY[column.type]
    return np.dtype(np.int64 if column.nullable else fixed)


__all__ = [
    "AGGRESSORS",
    "BLOCK_EVENTS",
    "BREAKER_STATES",
    "BUNDLE_EVENTS",
    "COMMAND_KINDS",
    "CONNECTION_EVENTS",
    "CONTRACT_KINDS",
    "CYCLE_EVENTS",
    "CYCLE_STATES",
    "DELTA_VERDICTS",
    "DIRECTIONS",
    "FEED_STATES",
    "FLAG_RULES",
    "FORMAT_VERSION",
    "FUNDINGS",
    "INPUTS",
    "INSTRUMENT_KINDS",
    "KERNEL_KINDS",
    "LEDGER_CAUSES",
    "LENDERS",
    "LEVELS",
    "LIQUIDITY",
    "LIVE_REPORT_EVENTS",
    "OPPORTUNITY_PHASES",
    "ORDER_STATES",
    "OUTPUTS",
    "POOL_CAUSES",
    "POOL_KINDS",
    "QUOTE_RULES",
    "QUOTE_STATES",
    "RECEIPT_STATUSES",
    "REPORT_EVENTS",
    "REPORT_SOURCES",
    "RESIDUAL_CAUSES",
    "SIDES",
    "TABLES",
    "TIME_IN_FORCE",
    "TRANSACTION_CHANNELS",
    "TRANSACTION_EVENTS",
    "TRANSACTION_PURPOSES",
    "VERDICTS",
    "Column",
    "Encoding",
    "Table",
    "Type",
    "numpy_dtype",
]
