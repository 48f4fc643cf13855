"""Market data for other tools: Tardis CSV files, and Arrow files of every kind."""

from __future__ import annotations

import csv
import gzip
import io
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, NamedTuple

import pyarrow as pa

from xarb.console import Advance
from xarb.errors import ConfigError
from xarb.model.columns import TABLES
from xarb.sql import Query
from xarb.sql.views import name, text
from xarb.verbs.export.cells import plain

DEPTH: Final = 5  # levels of a book snapshot
_HEAD: Final = ("exchange", "symbol", "timestamp", "local_timestamp")
_TIMES: Final = "coalesce(d.ts_event, d.ts_recv) // 1000, d.ts_recv // 1000"


class _Layout(NamedTuple):
    """A Tardis data type: the kind of rows, its columns after the common ones, the SQL that gives them, and which rows it holds."""

    kind: str
    columns: tuple[str, ...]
    values: str
    rows: str = "true"


def _price(column: str) -> str:
    return f"exact(d.{column}_int, d.px_scale)"


def _qty(column: str) -> str:
    return f"exact(d.{column}_int, d.qty_scale)"


def _snapshot() -> _Layout:
    sides = [("asks", "ask"), ("bids", "bid")]
    columns = [f"{side}[{n}].{what}" for n in range(DEPTH) for side, _ in sides for what in ("price", "amount")]
    values = [part for n in range(DEPTH) for _, side in sides for part in (_price(f"{side}_{n:02}"), _qty(f"{side}_qty_{n:02}"))]
    return _Layout("books", tuple(columns), ", ".join(values))


LAYOUTS: Final = {
    "quotes": _Layout(
        "quotes",
        ("ask_amount", "ask_price", "bid_price", "bid_amount"),
        f"{_qty('ask_qty')}, {_price('ask')}, {_price('bid')}, {_qty('bid_qty')}",
    ),
    "trades": _Layout("trades", ("id", "side", "price", "amount"), f"d.trade_id, d.aggressor, {_price('price')}, {_qty('qty')}"),
    "incremental_book_L2": _Layout(
        "book_deltas",
        ("is_snapshot", "side", "price", "amount"),
        f"d.is_snapshot, d.side, {_price('price')}, {_qty('qty')}",
        "d.verdict = 'apply' AND d.side IS NOT NULL",
    ),
    f"book_snapshot_{DEPTH}": _snapshot(),
}
"""Layouts of the Tardis documentation ("Downloadable CSV files"), by data type."""


def tardis(query: Query, folder: Path, *, advance: Advance) -> list[tuple[str, int]]:
    """Write Tardis CSV files, one a data type, UTC day and instrument: `EXCHANGE_TYPE_DATE_SYMBOL.csv.gz`. Files and their rows.

    Exchange and symbol are the venue's id and the venue's own name of the instrument. Times are microseconds, as Tardis has them: what a log has
    below that is cut off. A venue's time that a log lacks is the receive time, as Tardis does it.

    Raises:
        ConfigError: the folder is not empty, or cannot be written.
        LogError: a log is damaged.
    """
    natives = _natives(query)
    written: list[tuple[str, int]] = []
    with _folder(folder) as half:
        for at, (kind, layout) in enumerate(LAYOUTS.items()):
            for date, venue, symbol in list(query.run(_instruments_sql(layout)).rows()):
                native = natives.get((str(venue), str(symbol)), str(symbol))
                path = half / f"{venue}_{kind}_{date}_{re.sub(r'[^A-Za-z0-9._-]', '-', native)}.csv.gz"
                sql = f"""SELECT {text(str(venue))}, {text(native)}, {_TIMES}, {layout.values} FROM {layout.kind} d
                    WHERE d.date = {text(str(date))} AND d.venue = {text(str(venue))} AND d.symbol = {text(str(symbol))} AND {layout.rows}
                    ORDER BY d.ts_recv, d.seq"""
                written.append((path.name, _write(path, (*_HEAD, *layout.columns), query.run(sql).rows())))
            advance(at + 1, len(LAYOUTS))
    return written


def arrow(query: Query, folder: Path, *, advance: Advance) -> list[tuple[str, int]]:
    """Write an Arrow file (IPC, zstd) of each kind that has rows, with the columns that `xarb query` shows: `KIND.arrow`. Files and their rows.

    Raises:
        ConfigError: the folder is not empty, or cannot be written.
        LogError: a log is damaged.
    """
    written: list[tuple[str, int]] = []
    with _folder(folder) as half:
        for at, (kind, table) in enumerate(TABLES.items()):
            order = ", ".join(name(key) for key in table.key)
            result = query.run(f"SELECT * FROM {name(kind)} ORDER BY {order}", nanoseconds=True)
            rows, path = 0, half / f"{kind}.arrow"
            with pa.ipc.new_file(str(path), result.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as file:
                for batch in result.batches():
                    file.write_batch(pa.RecordBatch.from_arrays(batch.columns, schema=result.schema))
                    rows += batch.num_rows
            if rows:
                written.append((path.name, rows))
            else:
                path.unlink()
            advance(at + 1, len(TABLES))
    return written


def _natives(query: Query) -> dict[tuple[str, str], str]:
    """By venue and symbol the venue's own name, as it was known last."""
    rows = query.run("SELECT venue, symbol, arg_max(native, (ts_recv, seq)) FROM instruments GROUP BY ALL ORDER BY ALL").rows()
    return {(str(venue), str(symbol)): str(native) for venue, symbol, native in rows}


def _instruments_sql(layout: _Layout) -> str:
    return f"SELECT DISTINCT d.date, d.venue, d.symbol FROM {layout.kind} d WHERE {layout.rows} ORDER BY ALL"


@contextmanager
def _folder(folder: Path) -> Iterator[Path]:
    """A folder to write into that becomes the wanted one once all is written."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder} is there and not empty: name another folder")
    half = folder.with_name(f".{folder.name}.part")
    try:
        half.mkdir(parents=True)
        yield half
        if folder.exists():
            folder.rmdir()
        half.rename(folder)
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be written: {error.strerror or error}") from None
    finally:
        shutil.rmtree(half, ignore_errors=True)  # renamed, or not to be kept


def _write(path: Path, columns: tuple[str, ...], rows: Iterator[tuple[Any, ...]]) -> int:
    count = 0
    with gzip.GzipFile(path, "wb", mtime=0) as packed, io.TextIOWrapper(packed, "utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        for row in rows:
            writer.writerow([_field(value) for value in row])
            count += 1
    return count


def _field(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return plain(value) if isinstance(value, Decimal) else str(value)
