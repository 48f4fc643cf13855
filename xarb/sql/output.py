"""Results as a table for a terminal, and as CSV, JSON or Parquet for a pipe. Decimals stay exact in all of them."""

from __future__ import annotations

import io
import json
import math
from decimal import Decimal
from typing import TYPE_CHECKING, BinaryIO, Final

from xarb.errors import ConfigError
from xarb.sql.connection import Result

if TYPE_CHECKING:
    from rich.console import Console

FORMATS: Final = ("table", "csv", "json", "parquet")
TABLE_ROWS: Final = 1_000  # rows that a terminal gets; pipes get all


def write_result(result: Result, out: BinaryIO, form: str) -> int:
    """Write a result to a binary stream as `csv`, `json` or `parquet`; the number of rows.

    CSV: a header, lines that end with LF, RFC 4180 quotes, null is an empty field, text that is empty is `""`. JSON: an array of objects, a row a line;
    decimals are strings, so that no reader rounds them, and floats that JSON lacks are the strings `NaN` and `Infinity`.
    Parquet: decimals as decimals, times in ns; integers beyond 64 bits as text. Of equal column names the later ones get `_1`, `_2`.

    Raises:
        ConfigError: another format; or the statement fails on a value.
    """
    if form == "csv":
        return _csv(result, out)
    if form == "json":
        return _json(result, out)
    if form == "parquet":
        return _parquet(result, out)
    raise ConfigError(f"unknown format {form!r}; allowed: {', '.join(FORMATS)}")


def print_table(result: Result, console: Console) -> int:
    """Print a result as a table, at most its first 1,000 rows, floats to 12 digits, and say how many rows there are."""
    from rich.table import Table
    from rich.text import Text

    table = Table(show_edge=False, header_style="bold")
    numeric = [_is_number(type_) for type_ in result.types]
    for column, right in zip(result.columns, numeric, strict=True):
        table.add_column(Text(column), justify="right" if right else "left", overflow="fold")
    count = 0
    for row in result.rows():
        count += 1
        if count <= TABLE_ROWS:
            table.add_row(*(Text("" if value is None else _cell(value)) for value in row))
    if result.columns:
        console.print(table)
        more = f", the first {TABLE_ROWS:,} shown" if count > TABLE_ROWS else ""
        console.print(f"{count:,} row{'' if count == 1 else 's'}{more}", style="dim")
    return count


def _is_number(type_: str) -> bool:
    return type_.endswith("INT") or type_ in {"INTEGER", "DOUBLE", "FLOAT", "BIGNUM"} or type_.startswith("DECIMAL")


def _text(value: object) -> str:
    """A value as text: decimals plain and exact without trailing zeros, containers as JSON."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return _plain(value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, list | dict | tuple):
        return json.dumps(_jsonable(value), ensure_ascii=False)
    return str(value)


def _cell(value: object) -> str:
    """A value in a terminal: as `_text`, floats to 12 digits."""
    return f"{value:.12g}" if isinstance(value, float) else _text(value)


def _plain(value: Decimal) -> str:
    found = format(value, "f")
    return found.rstrip("0").rstrip(".") if "." in found else found


def _jsonable(value: object) -> object:
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else ("NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity"))
    if isinstance(value, dict):
        return {str(key): _jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(item) for item in value]
    return _text(value)


def _unique(columns: tuple[str, ...]) -> list[str]:
    """The column names, made different where they are equal."""
    taken: dict[str, None] = {}
    for column in columns:
        found, number = column, 0
        while found in taken:
            number += 1
            found = f"{column}_{number}"
        taken[found] = None
    return list(taken)


def _csv(result: Result, out: BinaryIO) -> int:
    buffer = io.StringIO(newline="")
    buffer.write(",".join(_field(column) for column in _unique(result.columns)) + "\n")
    count = 0
    for row in result.rows():
        buffer.write(",".join("" if value is None else _field(_text(value)) for value in row) + "\n")
        count += 1
        if count % 10_000 == 0:
            out.write(buffer.getvalue().encode())
            buffer.seek(0)
            buffer.truncate()
    out.write(buffer.getvalue().encode())
    return count


def _field(value: str) -> str:
    if value == "" or any(mark in value for mark in ',"\r\n'):
        return '"' + value.replace('"', '""') + '"'
    return value


def _json(result: Result, out: BinaryIO) -> int:
    names = _unique(result.columns)
    count = 0
    out.write(b"[")
    for row in result.rows():
        line = json.dumps(
            {key: _jsonable(value) for key, value in zip(names, row, strict=True)}, ensure_ascii=False, allow_nan=False
        )
        out.write((",\n" if count else "\n").encode() + line.encode())
        count += 1
    out.write(b"\n]\n" if count else b"]\n")
    return count


def _parquet(result: Result, out: BinaryIO) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([pa.field(key, field.type) for key, field in zip(_unique(result.columns), result.schema, strict=True)])
    count = 0
    with pq.ParquetWriter(out, schema, compression="zstd") as writer:
        for batch in result.batches():
            writer.write_batch(pa.RecordBatch.from_arrays(batch.columns, schema=schema))
            count += batch.num_rows
    return count
