"""Rows of one kind by simple conditions, without SQL at the caller's: money as an int at 18 decimals, enums as text, as a reader gives them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Context, Decimal
from typing import Any, Final

from xarb.errors import InvariantBroken
from xarb.model.columns import TABLES
from xarb.model.units import MONEY_SCALE
from xarb.sql.connection import Query
from xarb.sql.views import name, text

Condition = tuple[str, str, Any]  # column, operator, value; `in` takes a list
_OPERATORS: Final = ("=", "<", "<=", ">", ">=", "in")
_EXACT: Final = Context(prec=60)


def pick(
    query: Query, kind: str, *where: Condition, newest: bool = False, limit: int | None = None, columns: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """The rows of a kind that meet all conditions, in the log's order.

    Args:
        query: one log or run, with its tail where it is being written.
        kind: a kind of event.
        where: conditions.
        newest: the last row first.
        limit: at most so many rows.
        columns: only these; all without any.

    Raises:
        LogError: a file of the log is damaged.
    """
    table = TABLES[kind]
    names = list(columns) or [column.name for column in table.columns]
    conditions = " AND ".join(_condition(*one) for one in where) or "true"
    order = ", ".join(f"{name(key)}{' DESC' if newest else ''}" for key in table.key)
    sql = f"SELECT {', '.join(map(name, names))} FROM {name(kind)} WHERE {conditions} ORDER BY {order}"
    if limit is not None:
        sql += f" LIMIT {limit}"
    return [dict(zip(names, map(_value, row), strict=True)) for row in query.run(sql).rows()]


def tally(query: Query, kind: str, by: Sequence[str], *where: Condition) -> list[tuple[Any, ...]]:
    """How many rows there are of each combination of the columns `by`: their values, then the count, in order of the values.

    Raises:
        LogError: a file of the log is damaged.
    """
    conditions = " AND ".join(_condition(*one) for one in where) or "true"
    listed = "".join(f"{name(one)}, " for one in by)
    sql = f"SELECT {listed}count(*) FROM {name(kind)} WHERE {conditions} GROUP BY ALL ORDER BY ALL"
    return list(query.run(sql).rows())


def latest(query: Query, kind: str, by: Sequence[str], *where: Condition, keep: Condition | None = None) -> list[dict[str, Any]]:
    """The last row for each combination of the columns `by`, in order of their values; of these only the ones that meet `keep`.

    Raises:
        LogError: a file of the log is damaged.
    """
    names = [column.name for column in TABLES[kind].columns]
    kept = "true" if keep is None else _condition(*keep)
    keys = ", ".join(map(name, by))
    sql = f"{_last_of(kind, names, by, where)} AND {kept} ORDER BY {keys}"
    return [dict(zip(names, map(_value, row), strict=True)) for row in query.run(sql).rows()]


def tally_latest(query: Query, kind: str, by: Sequence[str], column: str, *where: Condition) -> list[tuple[Any, int]]:
    """How many of the rows that `latest` gives have each value of a column, in order of the values.

    Raises:
        LogError: a file of the log is damaged.
    """
    sql = f"SELECT {name(column)}, count(*) FROM ({_last_of(kind, [column], by, where)}) GROUP BY ALL ORDER BY ALL"
    return list(query.run(sql).rows())  # type: ignore[arg-type]  # the columns of the statement above


def summed(query: Query, kind: str, by: Sequence[str], column: str, *where: Condition) -> list[tuple[Any, ...]]:
    """The exact sum of a money column for each combination of the columns `by`: their values, then the sum, in order of the values.

    Raises:
        LogError: a file of the log is damaged.
    """
    conditions = " AND ".join(_condition(*one) for one in where) or "true"
    sql = f"SELECT {', '.join(map(name, by))}, sum({name(column)}) FROM {name(kind)} WHERE {conditions} GROUP BY ALL ORDER BY ALL"
    return [tuple(map(_value, row)) for row in query.run(sql).rows()]


def read(query: Query, sql: str) -> Iterator[tuple[Any, ...]]:
    """The rows of a statement, with values as `pick` gives them.

    Raises:
        LogError: a file of the log is damaged.
    """
    for row in query.run(sql).rows():
        yield tuple(map(_value, row))


def time_range(query: Query, kind: str, *where: Condition) -> tuple[int, int] | None:
    """First and last `ts_recv` of an input kind, None where there is no row.

    Raises:
        LogError: a file of the log is damaged.
    """
    conditions = " AND ".join(_condition(*one) for one in where) or "true"
    row = next(iter(query.run(f"SELECT min(ts_recv), max(ts_recv) FROM {name(kind)} WHERE {conditions}").rows()))
    first, last = row
    return (first, last) if isinstance(first, int) and isinstance(last, int) else None


def unmatched(query: Query, kind: str, ignoring: Sequence[str]) -> list[tuple[int, str, str | None, str, int]]:
    """The rows of an input kind that one of two sources has more often than the other, in order of time.

    Each as ts_recv, venue, symbol, the source that has more, and how many more. `query` has two sources; columns in `ignoring` make
    no difference.

    Raises:
        LogError: a file of the log is damaged.
    """
    one, other = (source.name for source in query.sources)
    values = ", ".join(name(column.name) for column in TABLES[kind].columns if column.name not in ignoring)
    sql = f"""SELECT ts_recv, venue, symbol, CASE WHEN more > 0 THEN {text(one)} ELSE {text(other)} END, abs(more) FROM (
        SELECT {values}, CAST(sum(CASE source WHEN {text(one)} THEN 1 ELSE -1 END) AS BIGINT) AS more
        FROM {name(kind)} GROUP BY ALL) WHERE more <> 0 ORDER BY ALL"""
    return list(query.run(sql).rows())  # type: ignore[arg-type]  # the columns of the statement above


def _last_of(kind: str, names: Sequence[str], by: Sequence[str], where: Sequence[Condition]) -> str:
    conditions = " AND ".join(_condition(*one) for one in where) or "true"
    keys, order = ", ".join(map(name, by)), ", ".join(f"{name(key)} DESC" for key in TABLES[kind].key)
    return f"""SELECT {", ".join(map(name, names))} FROM {name(kind)} WHERE {conditions}
    QUALIFY row_number() OVER (PARTITION BY {keys} ORDER BY {order}) = 1"""


def _condition(column: str, operator: str, value: Any) -> str:
    if operator not in _OPERATORS:
        raise InvariantBroken(f"no operator {operator}")
    if operator == "in":
        return f"{name(column)} IN ({', '.join(map(_literal, value))})" if value else "false"
    return f"{name(column)} {operator} {_literal(value)}"


def _literal(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else text(value)


def _value(value: object) -> object:
    return int(value.scaleb(MONEY_SCALE, _EXACT)) if isinstance(value, Decimal) else value
