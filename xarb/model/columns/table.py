"""What a table of columns is, and short names for the columns that most tables are made of."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class Type(Enum):
    """What a column holds; the Arrow type is in the comment."""

    INT64 = "int64"
    INT32 = "int32"
    INT16 = "int16"
    INT8 = "int8"
    BOOL = "bool"
    TIME = "time"  # int64, nanoseconds since 1970 UTC
    ENUM = "enum"  # int8, an index into Column.values
    TEXT = "text"  # utf8, dictionary-encoded
    WIDE = "wide"  # utf8: a decimal integer of up to 256 bits
    MONEY = "money"  # decimal128(38, 18)
    INTS = "ints"  # list<int64>
    WIDES = "wides"  # list<utf8>: decimal integers of up to 256 bits
    BYTES = "bytes"  # binary


class Encoding(Enum):
    """How Parquet stores the column (measured in the benchmark of layouts)."""

    DELTA = "delta"
    DICTIONARY = "dictionary"
    PLAIN = "plain"


class Column(NamedTuple):
    """One column of a table."""

    name: str
    type: Type
    doc: str
    nullable: bool = False
    values: tuple[str, ...] = ()
    encoding: Encoding = Encoding.DICTIONARY


class Table(NamedTuple):
    """One kind of event."""

    name: str
    doc: str
    columns: tuple[Column, ...]
    is_input: bool

    @property
    def key(self) -> tuple[str, ...]:
        """The columns that order the rows: `seq`, or `after_seq` and `n`."""
        return ("seq",) if self.is_input else ("after_seq", "n")

    def column(self, name: str) -> Column:
        """The column of that name.

        Raises:
            KeyError: the table has no such column.
        """
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(f"{self.name} has no column {name}")


def time(name: str, doc: str, *, nullable: bool = False) -> Column:
    """A time in ns."""
    return Column(name, Type.TIME, doc, nullable, encoding=Encoding.DELTA)


def enum(name: str, values: tuple[str, ...], doc: str, *, nullable: bool = False) -> Column:
    """One of a few words."""
    return Column(name, Type.ENUM, doc, nullable, values)


def text(name: str, doc: str, *, nullable: bool = False) -> Column:
    """A text out of few."""
    return Column(name, Type.TEXT, doc, nullable)


def whole(name: str, doc: str, *, nullable: bool = False) -> Column:
    """A whole number."""
    return Column(name, Type.INT64, doc, nullable)


def counter(name: str, doc: str, *, nullable: bool = False) -> Column:
    """A number that mostly grows by little."""
    return Column(name, Type.INT64, doc, nullable, encoding=Encoding.DELTA)


def money(name: str, doc: str, *, nullable: bool = False) -> Column:
    """An amount, exact to 18 decimals."""
    return Column(name, Type.MONEY, doc, nullable)


def wide(name: str, doc: str, *, nullable: bool = False) -> Column:
    """An integer of up to 256 bits."""
    return Column(name, Type.WIDE, doc, nullable)


def flag(name: str, doc: str, *, nullable: bool = False) -> Column:
    """True or false."""
    return Column(name, Type.BOOL, doc, nullable)


def small(name: str, doc: str, *, nullable: bool = False) -> Column:
    """A small whole number."""
    return Column(name, Type.INT32, doc, nullable)


def input_table(name: str, doc: str, *columns: Column) -> Table:
    """A kind of input."""
    return Table(name, doc, columns, is_input=True)
