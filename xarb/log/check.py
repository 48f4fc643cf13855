"""Verifies a whole log or run: every promise that readers rely on, each breach named with its file and row."""

from __future__ import annotations

from itertools import chain, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np

from xarb.errors import LogError
from xarb.log import checkpoints, manifest
from xarb.log.claim import LOCK
from xarb.log.ends import CANCELS_FILE, HANG, KILL_FILE
from xarb.log.filecheck import FileCheck, Form, Key
from xarb.log.files import Files
from xarb.log.findings import Report
from xarb.log.journal import FOLDER
from xarb.log.manifest import FileEntry, Manifest, Segment
from xarb.log.merge import Chunk, Part, Position, Stream, merged
from xarb.log.schema import schema_digest
from xarb.log.tailcheck import check_tail
from xarb.model.columns import TABLES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CHUNK_ROWS: Final = 65_536


class CheckProgress(msgspec.Struct, frozen=True):
    """How far a check is: bytes of sealed files checked, of all of them."""

    bytes_done: int
    bytes_total: int


def verify_log(folder: Path | str, progress: Callable[[CheckProgress], None] | None = None) -> Report:
    """Check manifest chain, file digests, schemas, order, gap-free seq, times, dates, counts, ranges, instruments and scales.

    A file whose bytes differ from the manifest is reported and not looked into, because nothing in it can be trusted. Where a tombstone
    covers files of a segment, exactly their rows are missing in it.

    Raises:
        ConfigError: the folder is no log.
    """
    folder = Path(folder)
    report = Report(folder=str(folder), findings=[], leftovers=[])
    try:
        found = Manifest(folder)
    except LogError as error:
        report.add(manifest.NAME, str(error))
        return report
    report.digest, report.segments = found.head, len(found.segments)
    _check_strays(folder, found, report)
    files = Files(folder)
    try:
        _Check(found, files, report, progress).run()
    finally:
        files.close()
    check_tail(folder, report)
    _check_checkpoints(folder, report)
    return report


def _check_checkpoints(folder: Path, report: Report) -> None:
    """Each is sound and of this log: of the manifest as it is by now, since a writer at work makes them of lines that it just wrote."""
    paths = checkpoints.checkpoint_paths(folder)
    if not paths:
        return
    found = Manifest(folder)
    for path in paths:
        try:
            checkpoints.read_checkpoint(path, found)
        except LogError as error:
            if path.exists():  # else a writer at work has removed it meanwhile
                report.add(path.relative_to(folder).as_posix(), str(error))
        report.checkpoints += 1


def _check_strays(folder: Path, found: Manifest, report: Report) -> None:
    named = {entry.path for entry in found.files} | {manifest.NAME, LOCK}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if name.startswith(f"{FOLDER}/"):
            if path.parent.name != FOLDER and not path.is_dir():
                report.leftovers.append(name)
            continue
        if path.is_symlink() or not path.is_dir():
            if (
                name.startswith(f"{checkpoints.FOLDER}/")
                and path.suffix == checkpoints.SUFFIX
                and path.stem.isascii()
                and path.stem.isdigit()
            ):
                continue
            if path.parent == folder and (name.startswith(HANG) or name in (KILL_FILE, CANCELS_FILE)):
                continue
            is_temporary = path.name.startswith(".") and path.name.endswith(".tmp")
            if is_temporary or name in found.gone or (name not in named and _is_under_way(path, found)):
                report.leftovers.append(name)
            elif name not in named:
                report.add(name, "no manifest line names this file")


def _is_under_way(path: Path, found: Manifest) -> bool:
    """Whether a file may be of a seal that goes on: of a log with a journal, beyond what was sealed when the check began."""
    first = path.name.partition("-")[0]
    return (
        path.suffix == ".parquet"
        and first.isascii()
        and first.isdigit()
        and int(first) > found.last
        and (found.folder / FOLDER).is_dir()
    )


class _Check:
    """One run over a log, segment by segment."""

    def __init__(self, found: Manifest, files: Files, report: Report, progress: Callable[[CheckProgress], None] | None) -> None:
        self.manifest = found
        self.files = files
        self.report = report
        self._progress = progress
        self._total = sum(entry.bytes for entry in found.files)
        self._forms: dict[Key, list[Form]] = {}  # in order
        self._conns: dict[int, int] = {}  # number: seq of its first row
        self._outputs_at: Position = (-(2**63), -1)
        self._last_ts = 0

    def run(self) -> None:
        """Check everything."""
        expected = 0
        segments = self.manifest.segments
        for segment, following, (line, _) in zip_longest(segments, segments[1:], self.manifest.places):
            where = f"{manifest.NAME} line {line}"
            inputs = [entry for entry in segment.files if TABLES[entry.kind].is_input] if self._known(segment, where) else []
            if inputs and segment.first != expected:
                self.report.add(where, f"segment begins at seq {segment.first}, {expected} should follow")
            expected = segment.last + 1
            for entry in (*self._there(segment), *(self._there(following) if following else ())):
                self.files.ahead(entry)
            self._check_segment(segment, where)

    def _there(self, segment: Segment) -> list[FileEntry]:
        """The files of a segment that no tombstone covers."""
        return [entry for entry in segment.files if entry.path not in self.manifest.gone]

    def _known(self, segment: Segment, where: str) -> bool:
        """Whether every file of the segment is of a kind that is known and lies inside the segment's range."""
        for entry in segment.files:
            if entry.kind not in TABLES:
                self.report.add(where, f"{entry.path} is of a kind that is not known: {entry.kind}")
                return False
            if not segment.first <= entry.first <= entry.last <= segment.last:
                self.report.add(where, f"{entry.path} does not lie within the segment's range")
        return True

    def _check_segment(self, segment: Segment, where: str) -> None:
        good: list[FileEntry] = []
        there = self._there(segment)
        gone = [entry for entry in segment.files if entry.path in self.manifest.gone]
        self.report.gone_files += len(gone)
        self.report.gone_rows += sum(entry.rows for entry in gone)
        for entry in there:
            self.report.files += 1
            self.report.rows += entry.rows
            self.report.bytes += entry.bytes
            if self._bytes_are_good(entry):
                good.append(entry)
            if self._progress is not None:
                self._progress(CheckProgress(self.report.bytes, self._total))
        for kind in ("instruments", "connections"):
            for entry in good:
                if entry.kind == kind:
                    self._learn(entry)
        for wants_inputs in (True, False):
            kinds = dict.fromkeys(entry.kind for entry in there if TABLES[entry.kind].is_input is wants_inputs)
            entries = {kind: [entry for entry in good if entry.kind == kind] for kind in kinds}
            streams = [self._stream(kind, found) for kind, found in entries.items() if found]
            whole = sum(map(len, entries.values())) == sum(entry.kind in kinds for entry in there)
            try:
                if not wants_inputs:
                    self._check_outputs(merged(streams), where, whole=whole)
                elif gone:
                    self._check_what_is_left(merged(streams), segment, gone, where, whole=whole)
                else:
                    self._check_inputs(merged(streams), segment, where, whole=whole)
            except LogError as error:
                self.report.add(where, str(error))

    def _bytes_are_good(self, entry: FileEntry) -> bool:
        path = self.files.folder / entry.path
        if not path.is_file():
            self.report.add(entry.path, "the file is missing")
        elif path.stat().st_size != entry.bytes:
            self.report.add(entry.path, f"the file has {path.stat().st_size} bytes, {entry.bytes} were sealed")
        elif entry.schema != schema_digest(entry.kind):
            self.report.add(entry.path, f"{entry.kind} has other columns than this version reads")
        else:
            try:
                self.files.check(entry)
            except LogError:
                self.report.add(entry.path, "the bytes differ from those that were sealed (sha256)")
            else:
                return True
        return False

    def _learn(self, entry: FileEntry) -> None:
        """Take instruments and connections before the rows that name them are checked."""
        table = TABLES[entry.kind]
        for batch in self.files.batches(entry, [column.name for column in table.columns], CHUNK_ROWS):
            if entry.kind == "connections":
                for seq, conn in zip(batch.column("seq").to_pylist(), batch.column("conn").to_pylist(), strict=True):
                    self._conns.setdefault(conn, seq)
                continue
            columns = (batch.column(name).to_pylist() for name in ("venue", "symbol", "seq", "px_scale", "qty_scale"))
            for row, (venue, symbol, *form) in enumerate(zip(*columns, strict=True)):
                forms = self._forms.setdefault((venue, symbol), [])
                if forms and (form[1] < forms[-1][1] or form[2] < forms[-1][2]):
                    self.report.add(entry.path, f"scales of {symbol}@{venue} shrink", row)
                forms.append((form[0], form[1], form[2]))

    def _stream(self, kind: str, entries: list[FileEntry]) -> Stream:
        entries = sorted(entries, key=lambda entry: (entry.first, entry.last))
        return Stream(kind, (entries[0].first, 0), self._chunks(entries))

    def _chunks(self, entries: list[FileEntry]) -> Iterator[tuple[Position, Chunk | None]]:
        for number, entry in enumerate(entries):
            if number:
                yield (entry.first, 0), None
            inside = FileCheck(entry, self.report, self._forms, self._conns)
            for batch in self.files.batches(entry, [column.name for column in TABLES[entry.kind].columns], CHUNK_ROWS):
                keys, ordinals, times = inside.take(batch)
                chunk = Chunk(keys, ordinals, times, _slice)
                yield ((int(keys[-1]) + 1, 0) if ordinals is None else (int(keys[-1]), int(ordinals[-1]) + 1)), chunk
            inside.finish(self.files.ranges(entry))

    def _check_inputs(self, steps: Iterator[list[Part]], segment: Segment, where: str, *, whole: bool) -> None:
        """Seq leaves none out and ts_recv never decreases over all kinds."""
        expected = segment.first
        for parts in steps:
            keys, times = _in_order(parts)
            wrong = np.flatnonzero(np.diff(keys, prepend=expected - 1) != 1)
            if whole and len(wrong):
                self.report.add(where, f"seq {keys[wrong[0]]} follows {keys[wrong[0] - 1] if wrong[0] else expected - 1}")
            back = np.flatnonzero(np.diff(times, prepend=self._last_ts) < 0)
            if len(back):
                self.report.add(where, f"ts_recv goes back at seq {keys[back[0]]}")
            expected, self._last_ts = int(keys[-1]) + 1, int(times[-1])
        if whole and expected != segment.last + 1 and expected != segment.first:
            self.report.add(where, f"rows end at seq {expected - 1}, the segment at {segment.last}")

    def _check_what_is_left(
        self, steps: Iterator[list[Part]], segment: Segment, gone: list[FileEntry], where: str, *, whole: bool
    ) -> None:
        """Seq leaves out as many as tombstones cover, within the ranges of their files, and ts_recv never decreases."""
        spans = [(entry.first, entry.last) for entry in gone]
        last, rows = segment.first - 1, 0
        ends = np.array([segment.last + 1])
        for keys, times in chain(map(_in_order, steps), ((ends, ends[:0]),)):
            before = np.concatenate(([last], keys[:-1]))
            wrong = np.flatnonzero(keys <= before)
            if len(wrong):
                self.report.add(where, f"seq {keys[wrong[0]]} follows {before[wrong[0]]}")
            for place in np.flatnonzero(keys - before > 1) if whole else ():
                first, end = int(before[place]) + 1, int(keys[place]) - 1
                if not any(one <= first for one, _ in spans) or not any(end <= other for _, other in spans):
                    self.report.add(where, f"seq {first} to {end} are missing, and no tombstone covers them")
            back = np.flatnonzero(np.diff(times, prepend=self._last_ts) < 0)
            if len(back):
                self.report.add(where, f"ts_recv goes back at seq {keys[back[0]]}")
            last, rows = int(keys[-1]), rows + len(times)
            self._last_ts = int(times[-1]) if len(times) else self._last_ts
        missing = segment.last + 1 - segment.first - rows
        if whole and missing != sum(entry.rows for entry in gone):
            self.report.add(where, f"{missing} rows are missing, tombstones cover {sum(entry.rows for entry in gone)}")

    def _check_outputs(self, steps: Iterator[list[Part]], where: str, *, whole: bool) -> None:
        """Ordinals count from 0 for each after_seq over all kinds."""
        for parts in steps:
            keys = np.concatenate([part.keys for part in parts])
            ordinals = np.concatenate([part.ordinals for part in parts if part.ordinals is not None]).astype(np.int64)
            order = np.lexsort((ordinals, keys))
            keys, ordinals = keys[order], ordinals[order]
            before_keys = np.concatenate(([self._outputs_at[0]], keys[:-1]))
            before = np.concatenate(([self._outputs_at[1]], ordinals[:-1]))
            wrong = np.flatnonzero(ordinals != np.where(keys == before_keys, before + 1, 0))
            if whole and len(wrong):
                row = wrong[0]
                self.report.add(where, f"output ({keys[row]}, {ordinals[row]}) follows ({before_keys[row]}, {before[row]})")
            self._outputs_at = int(keys[-1]), int(ordinals[-1])


def _in_order(parts: list[Part]) -> tuple[np.ndarray, np.ndarray]:
    """Keys and times of several kinds in the order of the keys."""
    keys = np.concatenate([part.keys for part in parts])
    order = np.argsort(keys, kind="stable")
    return keys[order], np.concatenate([part.rows for part in parts])[order]


def _slice(times: np.ndarray, start: int, stop: int) -> np.ndarray:
    return times[start:stop]
