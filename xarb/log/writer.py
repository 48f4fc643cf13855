"""The writer that every verb shares: rows stream into temporary files, a seal publishes them.

Publishing: write, fsync, rename, fsync of the folder, sha256, then one fsynced manifest line. Until that line stands, nothing of
the segment exists for a reader; leftovers start with a dot and are removed by the next writer.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np

from xarb.errors import InvariantBroken, LogError
from xarb.log import manifest
from xarb.log.claim import Claim
from xarb.log.growing import GrowingFile, publish, reread
from xarb.log.journal import journals
from xarb.log.manifest import Header, Manifest, Segment, Summary
from xarb.log.rows import outputs_to_table, to_table
from xarb.log.schema import ROW_GROUP, arrow_schema
from xarb.model.columns import TABLES, Table
from xarb.model.units import NANOS_PER_S

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType

    import pyarrow as pa

    from xarb.model.event import OutputRow

SEAL_ROWS: Final = 8_000_000  # a segment is sealed at the next commit beyond this many rows; readers check files one ahead
FILE_ROWS: Final = 8_000_000  # a kind goes on in a new file of the same segment beyond this many rows
HELD_OUTPUTS: Final = 16_384  # output rows that wait to become a table
_DAY_NS: Final = 86_400 * NANOS_PER_S


class LogWriter:
    """Appends rows to a log or a run.

    Rows are given kind by kind; `commit` says that everything given so far closes a range: for inputs, seq without a gap over
    all kinds. Use as a context manager: an exception aborts, and a log that was created by this writer disappears with it.

    A segment is sealed at a commit beyond `seal_rows` rows, with None only at the end, so that everything written appears at once
    or not at all. A kind's file holds about `file_rows` rows.

    Raises:
        ConfigError: the folder exists already (create) or is no log (append).
        LogError: another writer holds the log, or it cannot be continued.
    """

    def __init__(
        self,
        folder: Path,
        header: Header | None,
        *,
        row_group: int = ROW_GROUP,
        seal_rows: int | None = SEAL_ROWS,
        file_rows: int = FILE_ROWS,
        sealing: tuple[Claim, Manifest] | None = None,
    ) -> None:
        self.folder = folder
        self._row_group, self._seal_rows, self._file_rows = row_group, seal_rows, file_rows
        self._claim = Claim(folder, header) if sealing is None else sealing[0]
        self._is_seal = sealing is not None  # of a journal, for the process that holds the claim
        try:
            self.manifest = Manifest(folder) if sealing is None else sealing[1]
            if self.manifest.summary is not None:
                raise LogError(f"{folder} is a finished run; nothing can be added to it")
            if not self._is_seal and journals(folder):
                raise LogError(f"{folder} has a journal that is not sealed; let it be recovered first: xarb log repair {folder}")
            self._remove_leftovers()
        except BaseException:  # an interrupt among them
            self._give_up()
            raise
        self._files: dict[tuple[str, str], GrowingFile] = {}
        self._full: list[GrowingFile] = []
        self._outputs: defaultdict[str, list[OutputRow]] = defaultdict(list)  # held, by kind
        self._held = 0
        self._made = 0
        self._pending: list[tuple[Table, np.ndarray, np.ndarray]] = []
        self._segment_first = -1
        self._rows = 0
        self.last = self.manifest.last
        self.last_ts = self.manifest.last_ts

    @classmethod
    def create(
        cls,
        folder: Path,
        header: Header,
        *,
        row_group: int = ROW_GROUP,
        seal_rows: int | None = SEAL_ROWS,
        file_rows: int = FILE_ROWS,
    ) -> LogWriter:
        """A writer of a new log or run in a folder that does not exist yet or is empty."""
        return cls(Path(folder), header, row_group=row_group, seal_rows=seal_rows, file_rows=file_rows)

    @classmethod
    def append_to(cls, folder: Path, *, seal_rows: int | None = SEAL_ROWS) -> LogWriter:
        """A writer that goes on at the end of an existing log."""
        return cls(Path(folder), None, seal_rows=seal_rows)

    @classmethod
    def sealing(cls, found: Manifest, claim: Claim) -> LogWriter:
        """A writer of one segment out of a journal, under the claim of the log's writer, which it leaves alone; the manifest grows by it.

        What it wrote is read again before the manifest names it, and leaving after an exception drops this segment only.
        """
        return cls(found.folder, None, seal_rows=None, sealing=(claim, found))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    def _remove_leftovers(self) -> None:
        """Remove what an interrupted writer left: temporary files, and files beyond the log's end that no manifest line names."""
        for path in _leftovers(self.manifest):
            path.unlink()  # of one with a name the manifest line was never written: it does not exist

    def write_rows(self, kind: str, rows: Sequence[dict[str, Any]]) -> None:
        """`write` for rows as dicts; see `xarb.log.rows`."""
        if rows:
            self.write(kind, to_table(kind, rows))

    def write_outputs(self, rows: Sequence[OutputRow]) -> None:
        """Take output rows of any kinds in their one order; a call closes a range.

        They are held until some ten thousand are there: a table of few rows costs as much as one of a thousand.
        """
        for row in rows:
            self._outputs[row[0]].append(row)
        self._held += len(rows)
        if self._held >= HELD_OUTPUTS:
            self._write_held()

    def _write_held(self) -> None:
        for kind, rows in self._outputs.items():
            self.write(kind, outputs_to_table(kind, rows))
        self._outputs.clear()
        self._held = 0
        self.commit()

    def write(self, kind: str, table: pa.Table) -> None:
        """Take rows of one kind, in key order.

        Raises:
            InvariantBroken: another schema, or a key or time that goes back.
        """
        if len(table) == 0:
            return
        expected = arrow_schema(kind)
        if not table.schema.equals(expected):
            raise InvariantBroken(f"{kind}: the table's schema is not that of the log:\n{table.schema}\nexpected\n{expected}")
        columns = TABLES[kind]
        keys = table.column(columns.key[0]).to_numpy()
        times = table.column("ts_recv" if columns.is_input else "ts").to_numpy()
        steps = np.diff(keys)
        if len(steps) and (steps.min() < 0 or (columns.is_input and steps.min() == 0)):
            raise InvariantBroken(f"{kind}: {columns.key[0]} does not increase")
        if len(times) > 1 and np.diff(times).min() < 0:
            raise InvariantBroken(f"{kind}: times go back")
        self._pending.append((columns, keys, times))
        days = times // _DAY_NS
        start = 0
        for stop in [*(np.flatnonzero(np.diff(days)) + 1).tolist(), len(days)]:
            date = date_of(int(days[start]))
            file = self._files.get((kind, date))
            if file is None:
                self._made += 1
                file = self._files[kind, date] = GrowingFile(self.folder, kind, date, self._made, self._row_group)
            file.add(table.slice(start, stop - start), keys[start:stop], times[start:stop])
            if file.rows >= self._file_rows:
                file.end()
                self._full.append(self._files.pop((kind, date)))
            start = stop

    def commit(self) -> None:
        """Close the range of everything given since the last commit; seals when the segment is large enough.

        Raises:
            InvariantBroken: inputs leave a gap in seq, or times go back over kinds.
        """
        if not self._pending:
            return
        inputs = [(keys, times) for table, keys, times in self._pending if table.is_input]
        outputs = [(keys, times) for table, keys, times in self._pending if not table.is_input]
        if inputs:
            self._extend(*_in_order(inputs), is_input=True)
        if outputs:
            keys, times = _in_order(outputs)
            if self.manifest.header.kind == "log":
                self._check_outputs(keys)
            else:
                self._extend(keys, times, is_input=False)
        self._rows += sum(len(keys) for _, keys, _ in self._pending)
        self._pending = []
        if self._seal_rows is not None and self._rows >= self._seal_rows:
            self.seal()

    def _extend(self, keys: np.ndarray, times: np.ndarray, *, is_input: bool) -> None:
        """Move the segment's end to the last of these keys: of inputs in a log, of outputs in a run."""
        if is_input:
            if keys[0] != self.last + 1 or (len(keys) > 1 and not bool((np.diff(keys) == 1).all())):
                raise InvariantBroken(f"seq is not gap-free after {self.last}")
            if times[0] < self.last_ts or (len(times) > 1 and np.diff(times).min() < 0):
                raise InvariantBroken(f"ts_recv goes back after seq {self.last}")
        if self._segment_first < 0:
            self._segment_first, self._segment_first_ts = int(keys[0]), int(times[0])
        self.last, self.last_ts = int(keys[-1]), int(times.max())

    def _check_outputs(self, keys: np.ndarray) -> None:
        """Outputs in a log lie within the inputs of their segment."""
        if self._segment_first < 0 or keys[0] < self._segment_first or keys[-1] > self.last:
            raise InvariantBroken(
                f"outputs after seq {keys[0]} to {keys[-1]} are not of the segment's inputs, which end at {self.last}"
            )

    def seal(self) -> None:
        """Publish the segment of everything committed so far."""
        if self._pending:
            raise InvariantBroken("seal before commit")
        self._full += self._files.values()
        self._files = {}
        if not self._full:
            return
        self._full.sort(key=lambda file: (file.kind, file.date, file.first))
        entries = publish(self._full, self.folder)
        if self._is_seal:
            for entry in entries:
                reread(self.folder, entry)
        segment = Segment(
            segment=len(self.manifest.segments),
            first=self._segment_first,
            last=self.last,
            first_ts=self._segment_first_ts,
            last_ts=self.last_ts,
            files=tuple(entries),
            previous=self.manifest.head,
        )
        manifest.append_line(self.manifest.path, segment)
        self.manifest.grow()
        self._full = []
        self._segment_first, self._rows = -1, 0

    def finish(self, output_digest: str, last_seq: int) -> None:
        """Seal a run and write its closing line."""
        self._write_held()
        self.seal()
        entry = Summary(output_digest=output_digest, last_seq=last_seq, previous=self.manifest.head)
        manifest.append_line(self.manifest.path, entry)
        self.manifest.grow()

    def close(self) -> None:
        """Commit, seal and let go of the log; if that fails, what was not sealed is dropped."""
        try:
            self._write_held()
            self.seal()
        except BaseException:  # an interrupt among them: nothing half-written is left, and the log not claimed
            self.abort()
            raise
        if not self._is_seal:
            self._claim.release()

    def abort(self) -> None:
        """Drop everything that is not sealed; a log that this writer created is removed whole."""
        for file in (*self._files.values(), *self._full):
            file.drop()
        self._files, self._full, self._pending = {}, [], []
        self._outputs.clear()
        self._give_up()

    def _give_up(self) -> None:
        if not self._is_seal:
            self._claim.discard()


def _leftovers(found: Manifest) -> Iterator[Path]:
    """Temporary files, and files beyond a log's end that no manifest line names."""
    since = date_of(max(found.last_ts // _DAY_NS - 1, 0))  # time does not go back; a day of many thousand files is enough
    named: set[str] | None = None
    for folder in found.folder.glob("kind=*/date=*"):
        if folder.name.removeprefix("date=") < since:
            continue
        for path in folder.iterdir():
            if path.name.startswith(".") and path.suffix == ".tmp":
                yield path
                continue
            first = path.name.partition("-")[0]
            if path.suffix != ".parquet" or not (first.isascii() and first.isdigit()) or int(first) <= found.last:
                continue
            named = {entry.path for entry in found.files} if named is None else named
            if path.relative_to(found.folder).as_posix() not in named:
                yield path


def check_leftovers(found: Manifest) -> None:
    """Refuse a log without journals that has files beyond its end: no seal leaves them, and the next one would remove them.

    Raises:
        LogError: names the first.
    """
    if journals(found.folder):
        return
    path = next((path for path in _leftovers(found) if path.suffix == ".parquet"), None)
    if path is not None:
        raise LogError(
            f"{path} lies beyond the log's end: {manifest.NAME} has lost lines, or is older than the files. Restore its last copy; where "
            "an import was cut off, import again"
        )


def date_of(day: int) -> str:
    """The UTC date, YYYY-MM-DD, of the day that many days after 1970-01-01."""
    return dt.datetime.fromtimestamp(day * 86_400, tz=dt.UTC).date().isoformat()


def _in_order(parts: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Keys and times of several kinds in the order of the keys."""
    keys = np.concatenate([keys for keys, _ in parts])
    times = np.concatenate([times for _, times in parts])
    if len(parts) > 1:
        order = np.argsort(keys, kind="stable")
        keys, times = keys[order], times[order]
    return keys, times
