"""Rows as dicts to Arrow tables and back: enums as text, money as an int at 18 decimals, wide integers as text."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Context, Decimal
from typing import Any, Final

import pyarrow as pa

from xarb.errors import InvariantBroken
from xarb.log.schema import arrow_schema, arrow_type
from xarb.model.columns import TABLES, Column, Type
from xarb.model.units import MONEY_SCALE

_EXACT: Final = Context(prec=60)


def to_table(kind: str, rows: Sequence[dict[str, Any]]) -> pa.Table:
    """Rows of one kind as an Arrow table; an absent key is null.

    Raises:
        InvariantBroken: a value has the wrong type, an enum text is unknown, or a null stands where none may.
    """
    schema = arrow_schema(kind)
    arrays = []
    for column in TABLES[kind].columns:
        values = [row.get(column.name) for row in rows]
        if not column.nullable and any(value is None for value in values):
            raise InvariantBroken(f"{kind}.{column.name} must not be null")
        try:
            arrays.append(_array(column, values))
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError, ValueError, TypeError) as error:
            raise InvariantBroken(f"{kind}.{column.name}: {error}") from error
    return pa.Table.from_arrays(arrays, schema=schema)


def _array(column: Column, values: list[Any]) -> pa.Array:
    if column.type is Type.ENUM:
        places = {text: place for place, text in enumerate(column.values)}
        unknown = {str(value) for value in values if value is not None} - places.keys()
        if unknown:
            raise ValueError(f"{sorted(unknown)} not among {column.values}")
        return pa.array([None if value is None else places[value] for value in values], pa.int8())
    if column.type is Type.MONEY:
        return pa.array([None if value is None else money_decimal(value) for value in values], arrow_type(column))
    if column.type is Type.TEXT:
        return pa.array(values, pa.utf8()).dictionary_encode()
    return pa.array(values, arrow_type(column))


def money_decimal(value: int) -> Decimal:
    """Money as an exact Decimal."""
    return Decimal(value).scaleb(-MONEY_SCALE, _EXACT)


def from_table(kind: str, table: pa.Table | pa.RecordBatch) -> list[dict[str, Any]]:
    """Rows as dicts, the reverse of `to_table`; only the columns that the table has."""
    columns: dict[str, list[Any]] = {}
    for column in TABLES[kind].columns:
        if column.name not in table.schema.names:
            continue
        values = table.column(column.name).to_pylist()
        if column.type is Type.ENUM:
            values = [None if value is None else column.values[value] for value in values]
        elif column.type is Type.MONEY:
            values = [None if value is None else int(value.scaleb(MONEY_SCALE, _EXACT)) for value in values]
        columns[column.name] = values
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
