"""The table of a sweep: a row for each run, parameters and figures as columns, in one Parquet file that `xarb query` reads."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from xarb import toml
from xarb.model.units import MONEY_SCALE
from xarb.verbs.sweep.space import Settings
from xarb.verbs.sweep.trial import Outcome

_NUMBER: Final = re.compile(r"-?\d+(\.\d+)?")
_MONEY: Final = pa.decimal128(38, MONEY_SCALE)
_TYPES: Final = {
    "int": pa.int64(),
    "float": pa.float64(),
    "str": pa.string(),
    "Decimal": _MONEY,
}


class Row(NamedTuple):
    """One run of the table.

    `sample` is "all" without windows, else "in" where settings are chosen and "out" where the choice is judged; `is_chosen` marks the best
    of a split. `begin` and `end` are when the run's inputs begin and end, ns; `window` is `run.start` and `run.end` as a backtest takes them.
    """

    split: int
    sample: str
    trial: int
    is_chosen: bool
    begin: int
    end: int
    window: Settings
    settings: Settings
    outcome: Outcome


def frame(rows: Sequence[Row], keys: Sequence[str]) -> pa.Table:
    """The rows as Arrow: split, sample, trial, chosen, begin, end, run.start, run.end, a column for each parameter, the figures."""
    columns: dict[str, pa.Array] = {
        "split": pa.array([row.split for row in rows], pa.int32()),
        "sample": pa.array([row.sample for row in rows], pa.string()),
        "trial": pa.array([row.trial for row in rows], pa.int32()),
        "chosen": pa.array([row.is_chosen for row in rows], pa.bool_()),
        "begin": pa.array([row.begin for row in rows], pa.timestamp("ns")),
        "end": pa.array([row.end for row in rows], pa.timestamp("ns")),
        "run.start": pa.array([_text(row.window.get("run.start")) for row in rows], pa.string()),
        "run.end": pa.array([_text(row.window.get("run.end")) for row in rows], pa.string()),
    }
    columns |= {key: _parameter([row.settings[key] for row in rows]) for key in keys}
    for name, hint in Outcome.__annotations__.items():
        values = [getattr(row.outcome, name) for row in rows]
        columns[name] = pa.array(values, _TYPES[str(hint).partition(" ")[0]])
    return pa.table(columns)


def write(table: pa.Table, folder: Path) -> None:
    """Put the table into the sweep's folder, in place of an earlier one, whole or not at all."""
    from xarb.sql import TRIALS  # it loads DuckDB, which the processes of a sweep need not share

    made = folder / f".{TRIALS}"
    pq.write_table(table, made)
    with made.open("rb") as file:
        os.fsync(file.fileno())
    made.replace(folder / TRIALS)


def _text(value: str | None) -> str | None:
    """What a TOML text says."""
    return None if value is None else str(toml.loads(f"value = {value}")["value"])


def _parameter(texts: Sequence[str]) -> pa.Array:
    """Values of one key in the type that all of them have: integers, exact decimals, truth, else text."""
    values: list[Any] = [toml.loads(f"value = {text}", parse_float=str)["value"] for text in texts]
    if all(isinstance(value, bool) for value in values):
        return pa.array(values, pa.bool_())
    if all(_NUMBER.fullmatch(text) for text in texts):
        scale = max(len(text.partition(".")[2]) for text in texts)
        if scale == 0:
            return pa.array(map(int, texts), pa.int64())
        return pa.array([Decimal(text) for text in texts], pa.decimal128(38, scale))
    return pa.array([value if isinstance(value, str) else text for value, text in zip(values, texts, strict=True)], pa.string())
