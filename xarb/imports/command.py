"""The import verb as the command line has it: a sources file or one format with paths, and the summary as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from xarb.console import Advance, Table
from xarb.errors import ConfigError
from xarb.imports.run import ImportSummary, Progress, import_into
from xarb.imports.sources import FORMATS, Sources, load_sources, single

_INTEGERS: Final = ("price_decimals", "qty_decimals")


def import_tables(what: str, paths: Sequence[Path], into: Path, keys: Mapping[str, str | None], *, advance: Advance) -> list[Table]:
    """Import and say what was written.

    Args:
        what: a sources file, or a format when `paths` are given.
        paths: files of one source.
        into: the log to create or to continue.
        keys: further keys of the source, as text; None is absent. `columns.NAME` maps one column.
        advance: moves a progress bar by bytes read.

    Raises:
        ConfigError: wrong use, or an input that cannot be used.
        LogError: the log cannot be continued.
    """
    sources = _sources(what, paths, {key: value for key, value in keys.items() if value is not None})

    def report(progress: Progress) -> None:
        advance(progress.bytes_read, progress.bytes_total, f"{progress.rows} rows")

    return summary_tables(import_into(sources, into, progress=report))


def _sources(what: str, paths: Sequence[Path], keys: Mapping[str, str]) -> Sources:
    if what in FORMATS:
        if not paths:
            raise ConfigError(f"import {what}: give the files to import, or a sources file instead of the format")
        return single(what, list(paths), **_typed(keys))
    if paths:
        raise ConfigError(f"import: {what!r} is no format; formats: {', '.join(FORMATS)}")
    if keys:
        raise ConfigError(f"import {what}: a sources file states {', '.join(keys)} itself; options belong to a format with paths")
    return load_sources(Path(what))


def _typed(keys: Mapping[str, str]) -> dict[str, Any]:
    """Texts of the command line as the values of a sources file."""
    typed: dict[str, Any] = {}
    for key, value in keys.items():
        table, dot, name = key.partition(".")
        if dot:
            typed.setdefault(table, {})[name] = value
        elif key in _INTEGERS:
            if not (value.isascii() and value.isdigit()):
                raise ConfigError(f"--set {key}={value}: must be a whole number")
            typed[key] = int(value)
        elif key == "ignore":
            typed[key] = value.split(",")
        else:
            typed[key] = value
    return typed


def summary_tables(summary: ImportSummary) -> list[Table]:
    """An import's summary as tables."""
    rows = (
        ("log", summary.log),
        ("sources", f"{summary.sources}"),
        ("seq", f"{summary.first_seq} to {summary.last_seq}"),
        ("ts_recv, ns", f"{summary.first_ts} to {summary.last_ts}"),
    )
    counts = tuple((kind, f"{count}") for kind, count in summary.rows.items())
    rejects = tuple((source, rule, f"{count}") for source, rules in summary.rejects.items() for rule, count in rules.items())
    tables = [Table("Import", ("what", "value"), rows), Table("Rows by kind", ("kind", "rows"), counts)]
    if rejects:
        tables.append(Table("Rejects by source and rule", ("source", "rule", "rows"), rejects))
    if summary.notes:
        tables.append(Table("Files", ("note",), tuple((note,) for note in summary.notes)))
    return tables
