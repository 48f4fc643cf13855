"""Verifies one sealed file: what its manifest entry says of it, and what its rows promise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from xarb.log.growing import MARKET_KINDS, note_instruments
from xarb.log.writer import date_of
from xarb.model.columns import TABLES, Type
from xarb.model.units import check_wide

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa

    from xarb.log.findings import Report
    from xarb.log.manifest import FileEntry
    from xarb.log.merge import Position

_PER_FILE: Final = 20
Key = tuple[str, str]  # venue, symbol
Form = tuple[int, int, int]  # seq, px_scale, qty_scale


class FileCheck:
    """What one file promises by itself, and about its rows and the instruments and connections they name.

    Args:
        entry: what the manifest says of it.
        report: takes the breaches.
        forms: by instrument, its forms so far, in order.
        conns: by connection number, the seq of its first row.
    """

    def __init__(self, entry: FileEntry, report: Report, forms: Mapping[Key, list[Form]], conns: Mapping[int, int]) -> None:
        self.entry = entry
        self.table = TABLES[entry.kind]
        self._report = report
        self._forms = forms
        self._conns = conns
        self._rows = 0
        self._said = 0
        self._last: Position | None = None
        self._last_ts = entry.first_ts
        self._instruments: dict[str, None] = {}
        self._connections_end = 0

    def take(self, batch: pa.RecordBatch) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
        """Check rows; their keys, ordinals (outputs) and times."""
        keys = batch.column(self.table.key[0]).to_numpy()
        ordinals = None if self.table.is_input else batch.column("n").to_numpy()
        times = batch.column("ts_recv" if self.table.is_input else "ts").to_numpy()
        self._order(keys, ordinals, times)
        self._values(batch)
        if self.entry.kind in MARKET_KINDS:
            note_instruments(batch, self._instruments)
            self._scales(batch, keys)
        if self.entry.kind == "connections":
            self._connections_end = max(self._connections_end, 1 + int(batch.column("conn").fill_null(-1).to_numpy().max()))
        if "conn" in batch.schema.names and self.entry.kind != "connections":
            self._connections(batch.column("conn"), keys)
        self._rows += len(keys)
        self._last_ts = int(times[-1])
        self._last = int(keys[-1]), 0 if ordinals is None else int(ordinals[-1])
        return keys, ordinals, times

    def finish(self, ranges: dict[str, tuple[int, int]]) -> None:
        """Check what the manifest says of the whole file; `ranges` are those of the file's own statistics, by which readers prune."""
        entry = self.entry
        last_key = self._last[0] if self._last else None
        stated = {"rows": (entry.rows, self._rows), "last": (entry.last, last_key), "last_ts": (entry.last_ts, self._last_ts)}
        stated["instruments"] = (entry.instruments, tuple(self._instruments))  # type: ignore[assignment]  # compared, nothing else
        if entry.connections is not msgspec.UNSET:
            stated["connections"] = (entry.connections, self._connections_end)
        for name, range_ in ranges.items():
            of = (entry.first, entry.last) if name in self.table.key else (entry.first_ts, entry.last_ts)
            stated[f"range of {name}"] = (of, range_)  # type: ignore[assignment]  # compared, nothing else
        for name, (said, is_) in stated.items():
            if said != is_:
                self._say(f"the manifest says {name} {said}, the file has {is_}", None)

    def _say(self, what: str, row: int | None) -> None:
        self._said += 1
        if self._said <= _PER_FILE:
            self._report.add(self.entry.path, what, row)
        else:
            self._report.more_findings += 1

    def _first_of(self, wrong: np.ndarray, what: str) -> None:
        """Report the first row of a batch for which `wrong` is true, and how many there are."""
        if wrong.any():
            row, count = self._rows + int(np.argmax(wrong)), int(wrong.sum())
            self._say(what if count == 1 else f"{what} (and {count - 1} rows after it)", row)

    def _order(self, keys: np.ndarray, ordinals: np.ndarray | None, times: np.ndarray) -> None:
        entry = self.entry
        if self._last is None and (int(keys[0]), int(times[0])) != (entry.first, entry.first_ts):
            self._say(f"the manifest says first {entry.first} at {entry.first_ts}, the file has {keys[0]} at {times[0]}", 0)
        last, last_n = self._last or (int(keys[0]) - 1, -1)
        steps = np.diff(keys, prepend=last)
        if ordinals is None:
            self._first_of(steps <= 0, "seq does not increase")
        else:
            self._first_of(
                (steps < 0) | ((steps == 0) & (np.diff(ordinals, prepend=last_n) <= 0)), "(after_seq, n) does not increase"
            )
        self._first_of(np.diff(times, prepend=self._last_ts) < 0, "time goes back")
        days = times // (86_400 * 10**9)
        strange = [day for day in (int(days[0]), int(days[-1])) if date_of(day) != entry.date]
        if strange:
            self._say(f"rows of {date_of(strange[0])} in a file of {entry.date}", self._rows)

    def _values(self, batch: pa.RecordBatch) -> None:
        for column in self.table.columns:
            values = batch.column(column.name)
            if values.null_count and not column.nullable:
                self._first_of(values.is_null().to_numpy(zero_copy_only=False), f"{column.name} is null")
            if column.type is Type.ENUM:
                codes = values.fill_null(0).to_numpy()
                self._first_of((codes < 0) | (codes >= len(column.values)), f"{column.name} is none of {column.values}")
            elif column.type in (Type.WIDE, Type.WIDES):
                strange = np.fromiter((not _is_wide(value) for value in values.to_pylist()), np.bool_, len(values))
                self._first_of(strange, f"{column.name} is no integer of 256 bits")

    def _scales(self, batch: pa.RecordBatch, keys: np.ndarray) -> None:
        """Each row's scales are those of the latest instruments row before it."""
        venue, symbol = batch.column("venue"), batch.column("symbol")
        venues, symbols = venue.dictionary.to_pylist(), symbol.dictionary.to_pylist()
        pairs = venue.indices.to_numpy().astype(np.int64) * len(symbols) + symbol.indices.to_numpy()
        px, qty = batch.column("px_scale").to_numpy(), batch.column("qty_scale").to_numpy()
        for pair in np.unique(pairs).tolist():
            key = venues[pair // len(symbols)], symbols[pair % len(symbols)]
            forms = np.array(self._forms.get(key, []), np.int64).reshape(-1, 3)
            mine = pairs == pair
            at = np.searchsorted(forms[:, 0], keys[mine]) - 1
            wrong = np.zeros(len(keys), np.bool_)
            wrong[mine] = at < 0
            self._first_of(wrong, f"no instruments row of {key[1]}@{key[0]} stands before it")
            if len(forms):
                wrong[mine] = (at >= 0) & ((px[mine] != forms[at, 1]) | (qty[mine] != forms[at, 2]))
                self._first_of(wrong, f"scales differ from the latest instruments row of {key[1]}@{key[0]}")

    def _connections(self, column: Any, keys: np.ndarray) -> None:
        numbers = column.fill_null(-1).to_numpy()
        there = ~column.is_null().to_numpy(zero_copy_only=False)
        for number in np.unique(numbers[there]).tolist():
            first = self._conns.get(number)
            wrong = there & (numbers == number) & (keys < first if first is not None else True)
            self._first_of(wrong, f"no connections row of number {number} stands before it")


def _is_wide(value: Any) -> bool:
    try:
        check_wide([value])
    except (ValueError, TypeError):
        return False
    return True
