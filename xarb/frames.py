"""`xarb.scan(LOG)`: a log or run as Polars lazy frames, one per kind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from xarb.errors import LogError
from xarb.log.manifest import Manifest
from xarb.model.columns import TABLES, Column, Table, Type

if TYPE_CHECKING:
    import polars as pl

_QTY: Final = "qty"


class Frames(Mapping[str, "pl.LazyFrame"]):
    """Lazy frames by kind, as attributes (`frames.quotes`) and as items (`frames["quotes"]`).

    Every kind is there: one that the log has no rows of is an empty frame with its columns. Only files that the manifest names are
    read. Enums are `pl.Enum`, texts `pl.Categorical`, money Decimal(38, 18), integers stay exact. Beside them stand `time` (the
    receive time, or an output's time, as a timestamp) and, as floats, the value of every `<name>_int` under `<name>`.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self.manifest = Manifest(self.folder)
        self._made: dict[str, pl.LazyFrame] = {}

    def __getitem__(self, kind: str) -> pl.LazyFrame:
        if kind not in TABLES:
            raise KeyError(kind)
        if kind not in self._made:
            files = [entry for entry in self.manifest.files if entry.kind == kind]
            files.sort(key=lambda entry: (entry.first, entry.last))
            self._made[kind] = _frame(TABLES[kind], [self.folder / entry.path for entry in files])
        return self._made[kind]

    def __getattr__(self, name: str) -> pl.LazyFrame:
        if name in TABLES:
            return self[name]
        raise AttributeError(f"no kind of event is called {name!r}; there are {', '.join(TABLES)}")

    def __iter__(self) -> Iterator[str]:
        return iter(TABLES)

    def __len__(self) -> int:
        return len(TABLES)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *TABLES]


def scan(folder: Path | str) -> Frames:
    """The log or run in `folder` as Polars lazy frames by kind.

    Raises:
        ConfigError: the folder is no log.
        LogError: its manifest is damaged.
    """
    return Frames(folder)


def scales_of(table: Table, column: Column) -> str | None:
    """The column that holds the decimals of an `<name>_int` column, None where there is none beside it."""
    names = [one.name for one in table.columns]
    if not column.name.endswith("_int"):
        return None
    scale = "qty_scale" if _QTY in column.name or column.name == "lot_int" else "px_scale"
    return scale if scale in names else None


def _frame(table: Table, paths: list[Path]) -> pl.LazyFrame:
    import polars as pl

    if not paths:
        frame = pl.LazyFrame(schema={column.name: _stored(column) for column in table.columns})
    else:
        for path in paths:
            if not path.is_file():
                raise LogError(f"{path} is missing; run xarb log verify")
        frame = pl.scan_parquet(paths, hive_partitioning=False, glob=False)
    shown = []
    for column in table.columns:
        value = pl.col(column.name)
        if column.type is Type.ENUM:
            kind = pl.Enum(list(column.values))
            value = value.replace_strict(list(range(len(column.values))), list(column.values), return_dtype=kind)
        elif column.type is Type.TEXT:
            value = value.cast(pl.Categorical)
        shown.append(value.alias(column.name))
    time = pl.col("ts_recv" if table.is_input else "ts").cast(pl.Datetime("ns")).alias("time")
    floats = [_float(column, scale) for column in table.columns if (scale := scales_of(table, column)) is not None]
    return frame.select(*shown, time, *floats)


def _float(column: Column, scale: str) -> pl.Expr:
    """The nearest float to an integer over ten to its scale."""
    import polars as pl

    factor = pl.lit(10.0) ** pl.col(scale).cast(pl.Float64)
    value = pl.col(column.name)
    shown = value.cast(pl.List(pl.Float64)) if column.type is Type.INTS else value.cast(pl.Float64)
    return (shown / factor).alias(column.name.removesuffix("_int"))


def _stored(column: Column) -> pl.DataType:
    """The type in which Polars reads a column."""
    import polars as pl

    types: dict[Type, pl.DataType] = {
        Type.INT64: pl.Int64(),
        Type.TIME: pl.Int64(),
        Type.INT32: pl.Int32(),
        Type.INT16: pl.Int16(),
        Type.INT8: pl.Int8(),
        Type.ENUM: pl.Int8(),
        Type.BOOL: pl.Boolean(),
        Type.TEXT: pl.Categorical(),
        Type.WIDE: pl.String(),
        Type.MONEY: pl.Decimal(38, 18),
        Type.INTS: pl.List(pl.Int64()),
        Type.WIDES: pl.List(pl.String()),
        Type.BYTES: pl.Binary(),
    }
    return types[column.type]
