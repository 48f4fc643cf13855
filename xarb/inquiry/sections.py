"""A report as named tables of values: printed as tables, or given as JSON in which no number is rounded.

A column's name gives its unit: `_ns` and `ts` are nanoseconds, `money` columns are ints at 18 decimals. Cells are text, int, bool or None.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from xarb.console import Table, show
from xarb.errors import ConfigError
from xarb.model.units import MONEY_SCALE, format_decimal

FORMATS: Final = ("table", "json")
TABLE_ROWS: Final = 60  # rows of a section that are printed; JSON has all


class Section(NamedTuple):
    """One table: its key in JSON, a title, columns and rows. Cells are what JSON gets; `None` is unknown or does not apply."""

    key: str
    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[Any, ...]]


def check_format(output: str | None) -> None:
    """Refuse a format that does not exist.

    Raises:
        ConfigError: it does not.
    """
    if output is not None and output not in FORMATS:
        raise ConfigError(f"--format {output}: allowed are {', '.join(FORMATS)}")


def publish(sections: Sequence[Section], output: str | None) -> None:
    """Print to standard output: as tables (drawn on a terminal, else tab-separated), or as one JSON object."""
    if output == "json":
        sys.stdout.write(as_json(sections) + "\n")
    else:
        show([as_table(section) for section in sections if section.rows])


Shown = str | tuple[str, Callable[[Any], Any]]  # a column, or a column and what makes a cell of its value


def listed(key: str, title: str, rows: Iterable[Mapping[str, Any]], *columns: Shown) -> Section:
    """A section of rows by column name."""
    shown = [(one, _as_it_is) if isinstance(one, str) else one for one in columns]
    cells = [tuple(make(row[name]) for name, make in shown) for row in rows]
    return Section(key, title, tuple(name for name, _ in shown), cells)


def as_table(section: Section) -> Table:
    """The section as it is printed."""
    rows = tuple(tuple("-" if cell is None else str(cell) for cell in row) for row in section.rows[:TABLE_ROWS])
    more = f" (the first {TABLE_ROWS} of {len(section.rows)}; --format json has all)" if len(section.rows) > TABLE_ROWS else ""
    return Table(section.title + more, section.columns, rows)


def as_json(sections: Sequence[Section]) -> str:
    """One object: by key, an array of objects, a row each."""
    plain = {one.key: [dict(zip(one.columns, row, strict=True)) for row in one.rows] for one in sections}
    return msgspec.json.format(msgspec.json.encode(plain), indent=2).decode()


def _as_it_is(value: Any) -> Any:
    return value


def amount(value: int | None) -> str | None:
    """Money (18 decimals) as exact decimal text."""
    return None if value is None else format_decimal(value, MONEY_SCALE)


def scaled(value: int | None, scale: int) -> str | None:
    """A price or quantity as exact decimal text."""
    return None if value is None else format_decimal(value, scale)


def millis(nanos: int | None) -> str | None:
    """A duration in ns as exact milliseconds."""
    return None if nanos is None else format_decimal(nanos, 6)


def bps(ppb: int | None) -> str | None:
    """A ratio in parts per billion as exact basis points."""
    return None if ppb is None else format_decimal(ppb, 5)


def moment_of(ts: int | None) -> str | None:
    """A time in ns as ISO 8601 in UTC, to the nanosecond."""
    if ts is None:
        return None
    import datetime as dt

    whole = dt.datetime.fromtimestamp(ts // 1_000_000_000, tz=dt.UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{whole}.{ts % 1_000_000_000:09d}Z"
