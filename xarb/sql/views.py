"""The SQL behind the views: one view per kind, over the files that the manifests name and no others.

Each log is cast before the logs are put together, so that a file never decides a type. Filters on `date`, `venue`, `symbol`, the times
and `seq` reach the Parquet reader: `date` is read from the file's name, which prunes whole files, the others prune row groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from xarb.errors import LogError
from xarb.log.manifest import FileEntry, Manifest
from xarb.log.schema import schema_digest
from xarb.log.tail import open_tail
from xarb.model.columns import TABLES, Column, Table, Type
from xarb.model.units import MAX_SCALE

_SQL_TYPES: Final = {
    Type.INT64: "BIGINT",
    Type.TIME: "BIGINT",
    Type.INT32: "INTEGER",
    Type.INT16: "SMALLINT",
    Type.INT8: "TINYINT",
    Type.ENUM: "TINYINT",
    Type.BOOL: "BOOLEAN",
    Type.TEXT: "VARCHAR",
    Type.WIDE: "VARCHAR",
    Type.MONEY: "DECIMAL(38,18)",
    Type.INTS: "BIGINT[]",
    Type.WIDES: "VARCHAR[]",
    Type.BYTES: "BLOB",
}
TRIALS: Final = "trials.parquet"
"""The table in the folder of a sweep."""
_FILE_NAME: Final = len("2026-01-05/") + 20 + len("-") + 20 + len(".parquet")
_DATE: Final = f"CAST(left(right(filename, {_FILE_NAME}), 10) AS DATE)"
_LEADING: Final = {"ts_recv": "time", "ts": "time"}

MACROS: Final[tuple[tuple[str, str], ...]] = (
    # Backwards, because ~s = -1 - s cannot overflow: what cannot fail DuckDB computes once for each value of a dictionary, not once a row.
    ("pow10(s)", "([" + ", ".join(f"{10**s}e0" for s in reversed(range(MAX_SCALE + 1))) + "])[~s]"),
    (
        "exact(i, s)",
        "CAST(i AS DECIMAL(19,0)) * (CAST(["
        + ", ".join("1" if s == 0 else "0." + "0" * (s - 1) + "1" for s in range(MAX_SCALE + 1))
        + "] AS DECIMAL(19,18)[]))[s + 1]",
    ),
    ("bps(x, y)", "(CAST(x AS DOUBLE) / nullif(CAST(y AS DOUBLE), 0) - 1) * 1e4"),
    ("mid(bid, ask)", "(bid + ask) / 2"),
    (
        "edge_bps(bid, ask, sell_fee := 0, buy_fee := 0)",
        "(CAST(bid AS DOUBLE) * (1 - sell_fee) / nullif(CAST(ask AS DOUBLE) * (1 + buy_fee), 0) - 1) * 1e4",
    ),
    (
        "notional(price, qty, contract, contract_size)",
        "qty * CASE contract WHEN 'inverse' THEN 1 ELSE price END * CASE contract WHEN 'none' THEN 1 ELSE CAST(contract_size AS DOUBLE) END",
    ),
    ("wide(t)", "CAST(t AS BIGNUM)"),
    ("wide_sum(t)", "sum(CAST(t AS BIGNUM))"),
    ("wide_int(t)", "TRY_CAST(t AS HUGEINT)"),
    ("wide_double(t)", "CAST(t AS DOUBLE)"),
    ("units(t, decimals)", "CAST(t AS DOUBLE) / pow(10, decimals)"),
    (
        "v3_price(sqrt_price_x96, decimals0, decimals1)",
        "pow(CAST(sqrt_price_x96 AS DOUBLE) / pow(2, 96), 2) * pow(10, decimals0 - decimals1)",
    ),
    (
        "v2_price(reserve0, reserve1, decimals0, decimals1)",
        "CAST(reserve1 AS DOUBLE) / nullif(CAST(reserve0 AS DOUBLE), 0) * pow(10, decimals0 - decimals1)",
    ),
)
"""Macros by signature. Prices may be DOUBLE or exact; `exact` gives DECIMAL(38,18); wide texts are integers of up to 256 bits."""

EPISODES: Final = """
SELECT {source}strategy, opportunity, sell_venue, sell_symbol, buy_venue, buy_symbol, legs,
    min(ts) FILTER (phase = 'opened') AS opened_ts, make_timestamp_ns(min(ts) FILTER (phase = 'opened')) AS opened,
    max(ts) FILTER (phase = 'closed') AS closed_ts, max(life_ns) FILTER (phase = 'closed') AS life_ns,
    max(best_edge_bps) AS best_edge_bps, count(*) FILTER (verdict = 'taken') AS taken, count(*) FILTER (verdict = 'refused') AS refused,
    list(DISTINCT reason ORDER BY reason) FILTER (verdict = 'refused') AS reasons, list(bundle ORDER BY bundle) FILTER (verdict = 'taken') AS bundles,
    max(reason) FILTER (phase = 'closed') AS closed_because
FROM opportunities GROUP BY ALL
"""


_TOP: Final = "seq, ts_recv, time, date, ts_event, conn, venue, symbol, bid, bid_qty, ask, ask_qty"
TOPS: Final = f"SELECT {{source}}{_TOP} FROM quotes UNION ALL SELECT {{source}}{_TOP} FROM books"


class Source:
    """A log or run that is queried: its name in the `source` column, its folder, and its tail when it is being written."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder
        self.tail = open_tail(folder)
        self._manifest = Manifest(folder) if self.tail is None else None
        self._bytes = 0 if self._manifest is None else self._manifest.bytes

    @property
    def manifest(self) -> Manifest:
        """What is sealed, as of the last look at the tail."""
        if self._manifest is not None:
            return self._manifest
        assert self.tail is not None
        return self.tail.manifest

    def refresh(self) -> bool:
        """Look at the log again; whether its tail has grown, or files of it were pruned.

        Raises:
            LogError: the manifest or a journal is damaged.
        """
        if self.tail is not None:
            return self.tail.refresh()
        assert self._manifest is not None
        if self._manifest.path.stat().st_size == self._bytes:
            return False
        found = Manifest(self.folder)
        self._bytes = found.bytes
        news = found.gone.keys() != self._manifest.gone.keys()
        self._manifest.gone = found.gone  # segments that came since are not shown: their files may not be opened
        return news

    def tail_name(self, kind: str) -> str:
        """The name of the table that stands for the tail's rows of a kind."""
        return f"tail {self.name} {kind}"

    def files(self, kind: str) -> list[str]:
        """Absolute paths of the files of a kind, oldest first.

        Raises:
            LogError: a file is missing or has columns of another version.
        """
        found = []
        for entry in self.manifest.files:
            if entry.kind == kind:
                found.append(str(self._checked(entry)))
        return found

    def _checked(self, entry: FileEntry) -> Path:
        path = (self.folder / entry.path).resolve()
        if not path.is_file():
            raise LogError(f"{path} is missing, the manifest names it; run xarb log verify {self.folder}")
        if entry.schema != schema_digest(entry.kind):
            raise LogError(f"{path} has columns of another version of xarb")
        if path.stat().st_size != entry.bytes:
            raise LogError(
                f"{path} has {path.stat().st_size} bytes, the manifest says {entry.bytes}; run xarb log verify {self.folder}"
            )
        return path


def view_sql(kind: str, sources: Sequence[Source]) -> str:
    """The SELECT of a kind's view; with several sources a leading column says which one a row is from."""
    table = TABLES[kind]
    parts = []
    for source in sources:
        files = source.files(kind)
        named = f"{text(source.name)} AS source, " if len(sources) > 1 else ""
        if source.tail is not None:
            parts.append(f"SELECT {named}{_projection(table, _tail_date(table))} FROM {name(source.tail_name(kind))}")
        if files:
            listed = ", ".join(text(path) for path in files)
            parts.append(f"SELECT {named}{_projection(table, _DATE)} FROM read_parquet([{listed}], hive_partitioning = false)")
    if not parts:
        named = "CAST(NULL AS VARCHAR) AS source, " if len(sources) > 1 else ""
        nulls = ", ".join(f"CAST(NULL AS {_SQL_TYPES[column.type]}) AS {name(column.name)}" for column in table.columns)
        parts.append(f"SELECT {named}{_projection(table, 'CAST(NULL AS DATE)')} FROM (SELECT {nulls}) WHERE false")
    return "\nUNION ALL ".join(parts)


def _tail_date(table: Table) -> str:
    """The date of a row that is in no file yet."""
    return f"CAST(make_timestamp_ns({'ts_recv' if table.is_input else 'ts'}) AS DATE)"


def logs_sql(sources: Sequence[Source]) -> str:
    """The SELECT of the view `logs`: what was opened."""
    rows = []
    for source in sources:
        manifest, header = source.manifest, source.manifest.header
        counts = sum(entry.rows for entry in manifest.files)
        first = manifest.segments[0].first_ts if manifest.segments else None
        last = manifest.last_ts if manifest.segments else None
        if source.tail is not None and source.tail.first_ts is not None:
            counts += sum(source.tail.rows.values())
            first, last = source.tail.first_ts if first is None else first, source.tail.last_ts
        input_digest = "NULL" if header.input_digest is None else text(header.input_digest)
        words = ", ".join(text(word) for word in (source.name, header.kind, header.log_id, header.origin, manifest.head))
        times = ", ".join("NULL" if end is None else str(end) for end in (first, last))
        rows.append(f"({words}, {input_digest}, {counts}, {times})")
    columns = "source, kind, log_id, origin, digest, input_digest, rows, first_ts, last_ts"
    listed = ", ".join(rows) or f"({', '.join(['NULL'] * 9)})"
    return f"""SELECT source, kind, log_id, origin, digest, CAST(input_digest AS VARCHAR) AS input_digest, CAST(rows AS BIGINT) AS rows,
    CAST(first_ts AS BIGINT) AS first_ts, CAST(last_ts AS BIGINT) AS last_ts, make_timestamp_ns(CAST(first_ts AS BIGINT)) AS first_time,
    make_timestamp_ns(CAST(last_ts AS BIGINT)) AS last_time FROM (VALUES {listed}) AS t({columns}) WHERE source IS NOT NULL"""


def trials_sql(sweeps: Sequence[Path]) -> str:
    """The SELECT of the view `trials`: the tables of sweeps, which have the columns that each has; with several a leading column says which."""
    if len(sweeps) == 1:
        return f"SELECT * FROM read_parquet({text(str(sweeps[0]))})"
    parts = [f"SELECT {text(path.parent.name)} AS sweep, * FROM read_parquet({text(str(path))})" for path in sweeps]
    return "\nUNION ALL BY NAME ".join(parts)


def text(value: str) -> str:
    """A string literal."""
    return "'" + value.replace("'", "''") + "'"


def name(value: str) -> str:
    """An identifier."""
    return '"' + value.replace('"', '""') + '"'


def _projection(table: Table, date: str) -> str:
    """The columns of a view: exact values as stored, and beside them what people read."""
    scaled = any(column.name == "px_scale" for column in table.columns)
    found = []
    for column in table.columns:
        found.append(f"{_stored(column)} AS {name(column.name)}")
        if column.name in _LEADING:
            found.append(f"make_timestamp_ns({name(column.name)}) AS time")
            found.append(f"{date} AS date")
        elif column.type is Type.TIME:
            found.append(f"make_timestamp_ns({name(column.name)}) AS time_{column.name.removeprefix('ts_').removesuffix('_ts')}")
        elif column.name.endswith("_ppb"):
            found.append(f"{name(column.name)} / 1e5 AS {name(column.name.removesuffix('ppb') + 'bps')}")
        elif scaled and column.name.endswith("_int"):
            found.append(f"{_as_double(column)} AS {name(column.name.removesuffix('_int'))}")
    if table.name == "books":
        for side in ("bid", "ask"):
            found.append(f"{name(side + '_00_int')} / pow10(px_scale) AS {side}")
            found.append(f"{name(side + '_qty_00_int')} / pow10(qty_scale) AS {side}_qty")
    return ", ".join(found)


def _stored(column: Column) -> str:
    if column.type is Type.ENUM:
        words = ", ".join(text(value) for value in column.values)
        return f"([{words}])[{name(column.name)} + 1]"
    return f"CAST({name(column.name)} AS {_SQL_TYPES[column.type]})"


def _as_double(column: Column) -> str:
    """A price or quantity as DOUBLE: the integer over a power of ten, one correctly rounded division."""
    scale = "qty_scale" if "qty" in column.name or column.name.startswith("lot") else "px_scale"
    if column.type is Type.INTS:
        return f"list_transform({name(column.name)}, lambda x: x / pow10({scale}))"
    return f"{name(column.name)} / pow10({scale})"
