"""A DuckDB in memory that sees the files of some logs and runs, and nothing else of the machine."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import duckdb
import pyarrow as pa

from xarb.errors import ConfigError, LogError, Refused
from xarb.model.columns import TABLES
from xarb.sql.views import EPISODES, MACROS, TOPS, TRIALS, Source, logs_sql, name, text, trials_sql, view_sql

BATCH_ROWS: Final = 65_536
_MESSAGE_LINES: Final = 24
_ALLOWED: Final = ("SELECT", "EXPLAIN", "CREATE", "DROP")
# DuckDB hands these to Arrow rounded, as raw bytes, or as something that Parquet cannot hold; their text is exact.
_AS_TEXT: Final = (
    "HUGEINT",
    "BIGNUM",
    "INTERVAL",
    "UNION",
    "BIT",
    "VARIANT",
    "UUID",
    "TIME WITH TIME ZONE",
    "TIMESTAMP WITH TIME ZONE",
    "TIMESTAMPTZ",
)
_NANOSECONDS: Final = ("TIMESTAMP_NS", "TIME_NS")  # Python's datetime has no nanoseconds


class Result:
    """The result of one statement: `columns`, the SQL `types` beside them, and the rows as Arrow batches, once.

    Values that Arrow cannot carry exactly (HUGEINT, BIGNUM, intervals) come as text.
    """

    def __init__(self, owner: Query, columns: Sequence[str], types: Sequence[str], reader: pa.RecordBatchReader) -> None:
        self.columns = tuple(columns)
        self.types = tuple(types)
        self._owner = owner
        self._reader = reader

    @property
    def schema(self) -> pa.Schema:
        """Arrow schema of the batches, with the names of `columns`."""
        return pa.schema([pa.field(column, field.type) for column, field in zip(self.columns, self._reader.schema, strict=True)])

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows, in order, as they are computed.

        Raises:
            ConfigError: the statement fails on a value (a cast, a division of decimals, memory).
            LogError: a file of the log is damaged.
        """
        while True:
            with self._owner.speaking():
                try:
                    batch = self._reader.read_next_batch()
                except StopIteration:
                    return
            yield batch.rename_columns([str(number) for number in range(len(self.columns))])

    def rows(self) -> Iterator[tuple[object, ...]]:
        """The rows as tuples of Python values: int, float, exact Decimal, str, bool, bytes, list, dict, None."""
        for batch in self.batches():
            yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


class Query:
    """SQL over one or more logs and runs. Use as a context manager.

    Of a log that is being written it sees the sealed files and the open tail, which is read again before every statement: what was
    written before the statement is in its result.

    Views: one per kind of event, `tops` (best prices of quotes and books), `episodes` (opportunities folded), `logs` (what is open),
    `trials` where tables of sweeps are given. `xarb.sql.views` has the macros.
    """

    def __init__(
        self, sources: Sequence[Source], *, sweeps: Sequence[Path] = (), threads: int | None = None, memory_limit: str = "50%"
    ) -> None:
        self.sources = tuple(sources)
        self._sweeps = tuple(path.resolve() for path in sweeps)
        self.files = self._paths()
        self._is_stale = False  # a log has grown since its views were made
        self._scratch = tempfile.TemporaryDirectory(prefix="xarb-query-")
        self._connection = duckdb.connect(":memory:")
        try:
            with self.speaking():
                self._lock_down(threads, memory_limit)
                self._make_macros()
                self._give_tails()
                self._make_views()
                self._connection.execute("SET lock_configuration = true")
        except BaseException:  # an interrupt among them: the scratch folder must go
            self.close()
            raise

    def _paths(self) -> tuple[str, ...]:
        return (*(path for source in self.sources for kind in TABLES for path in source.files(kind)), *map(str, self._sweeps))

    def _lock_down(self, threads: int | None, memory_limit: str) -> None:
        """Nothing but the named files may be touched from here on; there is no way back within DuckDB."""
        settings = {
            "python_enable_replacements": "false",
            "autoload_known_extensions": "false",
            "autoinstall_known_extensions": "false",
            "allow_community_extensions": "false",
            "parquet_metadata_cache": "true",
            "memory_limit": text(memory_limit),
            "temp_directory": text(self._scratch.name),
            "allowed_paths": "[" + ", ".join(text(path) for path in self.files) + "]",
        }
        growing = [source.folder.resolve() for source in self.sources if source.tail is not None]
        if growing:  # files that are not there yet
            folders = (text(f"{folder}/kind={kind}/") for folder in growing for kind in TABLES)
            settings["allowed_directories"] = "[" + ", ".join(folders) + "]"
        if threads is not None:
            settings["threads"] = str(threads)
        settings["enable_external_access"] = "false"
        for key, value in settings.items():
            self._connection.execute(f"SET {key} = {value}")

    def _make_macros(self) -> None:
        for signature, body in MACROS:
            self._connection.execute(f"CREATE MACRO {signature} AS {body}")

    def _make_views(self) -> None:
        for kind in TABLES:
            self._connection.execute(f"CREATE OR REPLACE VIEW {name(kind)} AS {view_sql(kind, self.sources)}")
        source = "source, " if len(self.sources) > 1 else ""
        self._connection.execute(f"CREATE OR REPLACE VIEW tops AS {TOPS.format(source=source)}")
        self._connection.execute(f"CREATE OR REPLACE VIEW episodes AS {EPISODES.format(source=source)}")
        self._connection.execute(f"CREATE OR REPLACE VIEW logs AS {logs_sql(self.sources)}")
        if self._sweeps:
            self._connection.execute(f"CREATE OR REPLACE VIEW trials AS {trials_sql(self._sweeps)}")

    def _give_tails(self) -> None:
        for source in self.sources:
            if source.tail is not None:
                for kind in TABLES:
                    self._connection.register(source.tail_name(kind), source.tail.table(kind))

    def refresh(self) -> bool:
        """Look at the logs again; whether one that is being written has grown, or one was pruned. `run` does it by itself.

        Raises:
            LogError: a manifest or a journal is damaged.
        """
        for source in self.sources:
            if source.refresh():
                self._is_stale = True  # also where the next one fails: its rows are shown once all can be read
        if not self._is_stale:
            return False
        self.files = self._paths()
        self._give_tails()
        self._make_views()
        self._is_stale = False
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the files and of what was spilled to disk."""
        self._connection.close()
        self._scratch.cleanup()

    @property
    def views(self) -> tuple[str, ...]:
        """Names of all views, in the order of `model/columns`."""
        return (*TABLES, "tops", "episodes", "logs", *(["trials"] if self._sweeps else []))

    def columns(self, view: str) -> list[tuple[str, str]]:
        """Column names and SQL types of a view.

        Raises:
            ConfigError: no such view.
        """
        if view not in self.views:
            raise ConfigError(f"no view {view!r}; there are {', '.join(self.views)}")
        found = self._connection.execute(f"DESCRIBE {name(view)}").fetchall()
        return [(row[0], row[1]) for row in found]

    def statements(self, sql: str) -> list[str]:
        """The statements of a text, split where SQL splits them: a semicolon in a string or comment does not.

        Raises:
            ConfigError: the text is no SQL.
        """
        with self.speaking():
            return [found.query.strip().rstrip(";") for found in self._connection.extract_statements(sql)]

    def run(self, sql: str, *, nanoseconds: bool = False) -> Result:
        """Run one statement; its rows are computed as they are taken.

        Args:
            sql: one SELECT, EXPLAIN, DESCRIBE, SHOW, or a CREATE or DROP of something in memory.
            nanoseconds: keep TIMESTAMP_NS as Arrow timestamps (for Parquet) rather than as text.

        Raises:
            ConfigError: no statement, several, one that is not allowed, or one that fails; with the position where DuckDB knows it.
            LogError: a file of the log is damaged.
        """
        with self.speaking():
            self.refresh()
            found = self._connection.extract_statements(sql)
            if len(found) != 1:
                raise ConfigError(f"one SQL statement is expected, {len(found)} were given")
            kind = found[0].type.name
            if kind not in _ALLOWED:
                raise ConfigError(
                    f"{kind} is not allowed: a query reads logs; allowed are {', '.join(_ALLOWED)}, DESCRIBE and SHOW"
                )
            relation = self._bound(found[0].query)
            if relation is None:
                return Result(self, (), (), pa.RecordBatchReader.from_batches(pa.schema([]), []))
            columns, types = list(relation.columns), [str(type_) for type_ in relation.types]
            odd = _AS_TEXT if nanoseconds else (*_AS_TEXT, *_NANOSECONDS)
            casts = [f"CAST(c{n} AS VARCHAR) AS c{n}" if any(o in t for o in odd) else f"c{n}" for n, t in enumerate(types)]
            if kind == "SELECT" and any("CAST" in cast for cast in casts):
                places = ", ".join(f"c{n}" for n in range(len(columns)))
                bare = found[0].query.strip().rstrip(";")
                relation = self._connection.sql(f"SELECT {', '.join(casts)} FROM (\n{bare}\n) AS result({places})")
            return Result(self, columns, types, relation.to_arrow_reader(BATCH_ROWS))

    def _bound(self, sql: str) -> duckdb.DuckDBPyRelation | None:
        """The relation of a statement, bound and not yet computed; None when it has no result."""
        try:
            return self._connection.sql(sql)
        except (duckdb.CatalogException, duckdb.BinderException):
            self._connection.execute(sql)  # fails the same way, and its message has the position
            raise

    def interrupt(self) -> None:
        """Stop the statement that runs; may be called from another thread or a signal handler."""
        self._connection.interrupt()

    @contextmanager
    def speaking(self) -> Iterator[None]:
        """Turn DuckDB's errors into ours."""
        try:
            yield
        except duckdb.InterruptException:
            raise KeyboardInterrupt from None
        except (duckdb.Error, pa.ArrowException, RuntimeError) as error:
            raise self._translated(error) from None

    def _translated(self, error: Exception) -> Exception:
        lines = str(error).strip().splitlines()
        message = "\n".join(line for line in lines if not line.startswith(("\t", "    Candidate")))
        shown = "\n".join(message.splitlines()[:_MESSAGE_LINES])
        damaged = [path for path in self.files if path in message]
        if isinstance(error, duckdb.PermissionException):
            return Refused(f"a query sees only the files of its logs: {shown}")
        if damaged or isinstance(error, duckdb.IOException):
            return LogError(f"a file of the log cannot be read, run xarb log verify: {shown}")
        if isinstance(error, duckdb.CatalogException) and "Table with name" in message:
            shown += f"\nviews: {', '.join(self.views)}"
        return ConfigError(shown)


def open_query(paths: Sequence[Path | str], *, threads: int | None = None, memory_limit: str = "50%") -> Query:
    """Open logs and runs for SQL.

    Args:
        paths: folders of logs, runs and sweeps, any number of each. A log beside a run gives the inputs of the one and the outputs of
            the other, so that `after_seq` joins to `seq`; with several, every view has a leading column `source`.
        threads: DuckDB's threads; None takes all cores.
        memory_limit: what DuckDB may use before it spills to a temporary folder, such as `2GB` or `50%` of the machine's memory.

    Raises:
        ConfigError: no path, a folder that is no log, or one given twice.
        LogError: a manifest or a file is damaged or missing.
    """
    folders = [Path(path) for path in paths]
    if not folders:
        raise ConfigError("a query needs at least one log or run")
    if len({folder.resolve() for folder in folders}) != len(folders):
        raise ConfigError("the same log is given twice")
    sweeps = [folder / TRIALS for folder in folders if (folder / TRIALS).is_file()]
    folders = [folder for folder in folders if folder / TRIALS not in sweeps]
    names = [folder.resolve().name for folder in folders]
    sources = []
    for folder, short in zip(folders, names, strict=True):
        label = short if names.count(short) == 1 else folder.as_posix()
        sources.append(Source(label, folder))
    return Query(sources, sweeps=sweeps, threads=threads, memory_limit=memory_limit)
