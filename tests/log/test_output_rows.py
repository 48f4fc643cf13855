"""Output rows on their way to disk and into the digest."""

from __future__ import annotations

from typing import Any

import pytest

from xarb.errors import InvariantBroken
from xarb.log.canonical import OutputDigest
from xarb.log.rows import from_table, outputs_to_table, to_table
from xarb.model.columns import OUTPUTS, TABLES, Column, Type
from xarb.model.event import OutputRow, named, output_row

MOST = 10**38 - 1


def _value(column: Column, number: int) -> Any:
    if column.nullable and number == 0:
        return None
    if column.type is Type.TEXT:
        return "BTC/€\t\\"
    if column.type is Type.ENUM:
        return column.values[number % len(column.values)]
    if column.type is Type.BOOL:
        return number == 1
    if column.type is Type.MONEY:
        return (0, MOST, -MOST)[number]
    if column.type is Type.WIDE:
        return ("0", str(2**256 - 1), str(-(2**255)))[number]
    return number


def _rows(kind: str) -> list[OutputRow]:
    return [(kind, *(_value(column, number) for column in TABLES[kind].columns)) for number in range(3)]


@pytest.mark.parametrize("kind", OUTPUTS)
def test_a_tuple_lands_on_disk_as_its_dict_does(kind: str) -> None:
    """Nulls, every kind of column and the largest money give the same Arrow table from tuples as from dicts, and come back."""
    rows = _rows(kind)
    table = outputs_to_table(kind, rows)
    table.validate(full=True)
    dicts = [named(row) for row in rows]
    assert table.equals(to_table(kind, dicts))
    assert [output_row(kind, values) for values in from_table(kind, table)] == rows


@pytest.mark.parametrize("money", [MOST + 1, -MOST - 1, 2**130, "1", 1.5])
def test_money_that_is_no_38_digit_integer_is_our_bug(money: object) -> None:
    """More digits than DECIMAL(38,18) holds, text and floats raise with the column's name."""
    row = ("ledger", 1, 0, 1, "main", "s", "alpha", "BTC", money, 0, "trade", 1)
    with pytest.raises(InvariantBroken, match=r"ledger\.delta"):
        outputs_to_table("ledger", [row])


def test_an_unknown_enum_text_or_a_row_of_another_length_is_our_bug() -> None:
    """Both raise instead of writing another value."""
    row = ("ledger", 1, 0, 1, "main", "s", "alpha", "BTC", 1, 0, "gift", 1)
    with pytest.raises(InvariantBroken, match="gift"):
        outputs_to_table("ledger", [row])
    with pytest.raises(InvariantBroken, match=r"rows of 10 values, the table has 11 columns"):
        outputs_to_table("ledger", [row[:-1]])


def test_the_digest_knows_no_batches_but_every_value() -> None:
    """Cutting the rows anywhere leaves the digest; a changed value, null or order changes it."""
    rows = [row for kind in OUTPUTS for row in _rows(kind)]

    def digest(*parts: list[OutputRow]) -> str:
        made = OutputDigest()
        for part in parts:
            made.take(part)
        return made.hex()

    whole = digest(rows)
    assert {digest(rows[:cut], rows[cut:]) for cut in range(len(rows) + 1)} == {whole}
    assert digest(rows[1:], rows[:1]) != whole
    for at in range(1, len(rows[0])):
        assert digest([(*rows[0][:at], "other", *rows[0][at + 1 :]), *rows[1:]]) != whole
