"""Rows to bytes and back, for the journal: MessagePack, one list of tuples a kind, money as 16 bytes, little-endian and signed.

What is packed is checked against the column table first, types and ranges, by the decoder that will read it: a row that could not
be sealed never reaches the disk. Input rows have enums as indices (as `RowBuilder` makes them), output rows as text.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from xarb.errors import InvariantBroken, LogError
from xarb.model.columns import TABLES, Column, Type
from xarb.model.units import check_wide

if TYPE_CHECKING:
    from collections.abc import Sequence

Row = tuple[Any, ...]  # the values of one row in column order
KINDS: Final = tuple(TABLES)  # a kind's number in a frame is its place here; the schema digest of a journal covers it
NUMBERS: Final = {kind: number for number, kind in enumerate(KINDS)}
_ENCODER: Final = msgspec.msgpack.Encoder()
_MONEY_BYTES: Final = 16
_MONEY_END: Final = 10**38
_BITS: Final = {Type.INT64: 64, Type.TIME: 64, Type.INT32: 32, Type.INT16: 16, Type.INT8: 8}
_MONEY: Final = {
    kind: tuple(place for place, column in enumerate(table.columns) if column.type is Type.MONEY) for kind, table in TABLES.items()
}
_WIDE: Final = {
    kind: tuple(place for place, column in enumerate(table.columns) if column.type in (Type.WIDE, Type.WIDES))
    for kind, table in TABLES.items()
}
_REFUSED: Final = (msgspec.MsgspecError, TypeError, ValueError, OverflowError, AttributeError, IndexError)


def pack(kind: str, rows: Sequence[Row]) -> bytes:
    """Rows of one kind as bytes.

    Args:
        kind: the kind of all rows.
        rows: tuples of plain values in column order: money as an int at 18 decimals, absent as None.

    Raises:
        InvariantBroken: a row has another width, a value of the wrong type or out of range, or a null where none may stand.
    """
    try:
        for place in _WIDE[kind]:
            check_wide([row[place] for row in rows])
        packed = _ENCODER.encode(_with_money(rows, _MONEY[kind]) if _MONEY[kind] else rows)
        _decoder(kind).decode(packed)
    except _REFUSED as error:
        raise InvariantBroken(f"{kind}: a row does not fit its table: {error}") from None
    return packed


def unpack(kind: str, packed: bytes | msgspec.Raw) -> list[Row]:
    """The rows that `pack` was given.

    Raises:
        LogError: the bytes are not rows of that kind.
    """
    places = _MONEY[kind]
    try:
        rows = _decoder(kind).decode(packed)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise LogError(f"rows of {kind} cannot be read: {error}") from None
    return [_without_money(row, places) for row in rows] if places else rows


def _with_money(rows: Sequence[Row], places: Sequence[int]) -> list[list[Any]]:
    found = []
    for row in rows:
        values = list(row)
        for place in places:
            value = values[place]
            if value is not None:
                if not -_MONEY_END < value < _MONEY_END:
                    raise ValueError("money of more than 38 digits")
                values[place] = value.to_bytes(_MONEY_BYTES, "little", signed=True)
        found.append(values)
    return found


def _without_money(row: Row, places: Sequence[int]) -> Row:
    values = list(row)
    for place in places:
        if values[place] is not None:
            values[place] = int.from_bytes(values[place], "little", signed=True)
    return tuple(values)


@cache
def _decoder(kind: str) -> msgspec.msgpack.Decoder[list[Row]]:
    table = TABLES[kind]
    types = tuple(_type(column, is_input=table.is_input) for column in table.columns)
    return msgspec.msgpack.Decoder(list[tuple.__class_getitem__(types)], strict=True)  # type: ignore[misc]  # built from the table


def _type(column: Column, *, is_input: bool) -> Any:
    """What msgspec is told of a column."""
    found: Any
    if column.type is Type.ENUM:
        found = Annotated[int, Meta(ge=0, le=len(column.values) - 1)] if is_input else Literal[column.values]
    elif column.type in _BITS:
        found = _integer(_BITS[column.type])
    else:
        found = {
            Type.BOOL: bool,
            Type.TEXT: str,
            Type.WIDE: str,
            Type.MONEY: Annotated[bytes, Meta(min_length=_MONEY_BYTES, max_length=_MONEY_BYTES)],
            Type.INTS: list[_integer(64)],  # type: ignore[misc]  # an annotated int
            Type.WIDES: list[str],
            Type.BYTES: bytes,
        }[column.type]
    return found | None if column.nullable else found


def _integer(bits: int) -> Any:
    return Annotated[int, Meta(ge=-(2 ** (bits - 1)), le=2 ** (bits - 1) - 1)]
