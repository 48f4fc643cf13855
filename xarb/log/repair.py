"""Mends a log whose journals are damaged: every row that is sound goes into the log, the damaged files are kept, the loss is on record.

Rows before the damage stay as they are. Sound rows behind it follow with new seqs, after a `gap` row for every connection and a
`health` row that counts what is missing; what they say of other rows (`after_seq`, causes) is renumbered with them, and null where it
points into the loss. A row whose instrument, scale or connection was announced in the loss cannot be read any more: it is left out
and counted. Proof by replay ends at the damage.
"""

from __future__ import annotations

import os
import time
from bisect import bisect_right
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from xarb.errors import LogError
from xarb.log.claim import Claim
from xarb.log.journal import (
    ENDED,
    Frame,
    Opening,
    frame_bytes,
    guess_opening,
    journals,
    make_journal,
    new_opening,
    read_header,
    read_opening,
    salvage,
)
from xarb.log.manifest import Manifest
from xarb.log.packing import KINDS
from xarb.log.reader import LogReader
from xarb.log.recovery import belongs, keep, mend_manifest, recover
from xarb.log.seal import seal_ended
from xarb.log.writer import check_leftovers
from xarb.model.columns import CONNECTION_EVENTS, INPUTS, TABLES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from xarb.log.packing import Row

LOST: Final = "journal_lost_rows"  # metric of the health row that stands for the damage
_PLACE: Final = {kind: {column.name: place for place, column in enumerate(TABLES[kind].columns)} for kind in KINDS}
_SCALED: Final = ("quotes", "books", "book_deltas", "trades", "marks")
_CAUSES: Final = {"opportunities": ("sell_seq", "buy_seq"), "starts": ("applied_seq",)}
_GAP: Final = CONNECTION_EVENTS.index("gap")


class Repair(msgspec.Struct, frozen=True, kw_only=True):
    """What a repair did: rows that went into the log, seqs that are lost, rows left out, and where the damaged files are."""

    rows: int
    lost: int
    left_out: int
    kept: tuple[str, ...]
    sealed: int


def repair(folder: Path) -> Repair:
    """Bring a log into a state in which it can be continued. A log whose journals are sound is sealed as a start would.

    Raises:
        ConfigError: the folder is no log.
        LogError: a writer is at work; or the manifest or a sealed file is damaged, which no journal mends.
    """
    claim = Claim(folder, None)
    try:
        mend_manifest(folder)
        check_leftovers(Manifest(folder))
        try:
            found = recover(Manifest(folder), claim)
        except LogError:
            return _rebuild(folder, claim)
        return Repair(rows=0, lost=0, left_out=0, kept=(), sealed=found.sealed if found else 0)
    finally:
        claim.release()


def _rebuild(folder: Path, claim: Claim) -> Repair:
    """One new journal out of the sound rows of all journals of this log, in place of them, then sealed."""
    found = Manifest(folder)
    pile = _Pile(folder, found)
    salts: list[int] = []
    previous = 0
    replaced: set[int] = set()  # by a repair that was stopped before it could remove them
    paths = [path for _, path in journals(folder)]
    for path in paths:
        guessed = _opening_of(path)
        if (
            guessed is not None
            and guessed[0].salt not in replaced
            and (not guessed[0].log_id or belongs(guessed[0], found, previous))
        ):
            replaced.update(guessed[0].replaces)
            previous = guessed[0].salt
            salts.append(previous)
            for frame in salvage(path.read_bytes()[guessed[1] :], guessed[0], start=guessed[1]):
                pile.take(frame)
        elif guessed is not None and guessed[0].salt not in replaced:
            for frame in salvage(path.read_bytes()[guessed[1] :], guessed[0], start=guessed[1]):
                pile.exclude(frame)
    kept = [_keep_copy(path) for path in paths]
    opening = new_opening(len(found.segments), found.head, found.header.log_id)
    opening = msgspec.structs.replace(opening, replaces=tuple(salts))
    made = make_journal(folder, opening, pile.frames(opening))
    for path in paths:
        if path != made:
            path.unlink()
    if not pile.rows:
        made.unlink()
    sealed = seal_ended(found, claim)
    names = tuple(path.relative_to(folder).as_posix() for path in kept)
    return Repair(rows=pile.rows, lost=pile.lost, left_out=pile.left_out, kept=names, sealed=len(sealed))


def _keep_copy(path: Path) -> Path:
    """A second name for a journal under `journal/damaged/`; the first stays until the repair is whole."""
    twin = path.with_name(f".{path.stem}.twin.tmp")
    twin.unlink(missing_ok=True)
    os.link(path, twin)
    return keep(twin, path.stem)


def _opening_of(path: Path) -> tuple[Opening, int] | None:
    """The header of a journal and the place of its first frame, guessed from its frames when it is damaged.

    Raises:
        LogError: it is of another version of xarb.
    """
    try:
        read_header(path)
    except LogError:
        return guess_opening(path.read_bytes(), int(path.stem))
    return read_opening(path)


class _Pile:
    """Collects rows of frames in order, renumbered from the first loss on."""

    def __init__(self, folder: Path, found: Manifest) -> None:
        self.rows = self.lost = self.left_out = 0
        self._first_seq = self._next = found.last + 1  # seq that the next row gets
        self._expected = found.last + 1  # seq that the next frame should begin with
        self._last_ts = found.last_ts
        self._output_ts = 0  # of the last output
        self._is_whole = True
        self._old: list[int] = []  # seqs of kept rows as they were, and as they are
        self._new: list[int] = []
        self._ordinal = (-1, -1)
        self._out: list[tuple[int, dict[str, list[Row]]]] = []
        self._connections: dict[int, tuple[str, int, str]] = {}  # venue, epoch, source by number
        self._scales: dict[tuple[str, str], tuple[int, int]] = {}
        with LogReader(folder) as reader:
            for form in reader.instruments_at(found.last + 1):
                self._scales[form.venue, form.symbol] = form.px_scale, form.qty_scale
            for batch in reader.batches(kinds=("connections",)):
                for row in batch.slow:
                    self._connections[row.values["conn"]] = row.values["venue"], row.values["epoch"], row.values["source"]

    def take(self, frame: Frame) -> None:
        """Take the rows of the next sound frame."""
        if frame.first_seq < self._expected:
            self.left_out += frame.inputs + frame.outputs  # seen already: a copy of earlier bytes
            return
        if frame.first_seq > self._expected:
            self._lose(frame.first_seq - self._expected)
            self._expected = frame.first_seq
        found = self._sound_rows(frame)
        if found is None:
            self._lose(frame.inputs)
            self.left_out += frame.outputs
            self._expected += frame.inputs
            return
        self._expected += frame.inputs
        rows: dict[str, list[Row]] = {}
        first = self._next
        inputs = sorted((row[0], kind, row) for kind, mine in found.items() if kind in INPUTS for row in mine)
        for _, kind, row in inputs:
            self._input(kind, row, rows)
        outputs = sorted((row[0], row[1], kind, row) for kind, mine in found.items() if kind not in INPUTS for row in mine)
        for _, _, kind, row in outputs:
            self._output(kind, row, rows)
        if rows:
            self._out.append((first, rows))

    def _sound_rows(self, frame: Frame) -> dict[str, list[Row]] | None:
        """The rows of a frame whose checksum holds, None where they cannot be read or do not follow what was taken."""
        try:
            found = frame.rows()
        except LogError:
            return None
        inputs = sorted((row[0], row[1]) for kind, mine in found.items() if kind in INPUTS for row in mine)
        outputs = sorted((row[0], row[1], row[2]) for kind, mine in found.items() if kind not in INPUTS for row in mine)
        times = [self._last_ts, *(ts for _, ts in inputs)]
        said = [self._output_ts, *(ts for _, _, ts in outputs)]
        follows = (
            [seq for seq, _ in inputs] == list(range(frame.first_seq, frame.first_seq + frame.inputs))
            and times == sorted(times)
            and said == sorted(said)
        )
        if not follows:
            return None
        self._output_ts = said[-1]
        return found

    def exclude(self, frame: Frame) -> None:
        """A sound frame of a journal that does not belong to the log: its rows are counted only."""
        self.left_out += frame.inputs + frame.outputs

    def frames(self, opening: Opening) -> Iterator[bytes]:
        """The frames of the journal that stands for all rows taken, its last frame among them."""
        for first, rows in self._out:
            yield frame_bytes(opening, rows, first_seq=first, synced=first - 1)
        yield frame_bytes(opening, {}, first_seq=self._next, synced=self._next - 1, flags=ENDED)

    def _lose(self, count: int) -> None:
        """Put the loss on record: a gap of every connection, and how many inputs are missing."""
        self._is_whole = False
        self.lost += count
        ts = self._last_ts or time.time_ns()
        first = self._next
        gaps: list[Row] = []
        for conn, (venue, epoch, source) in sorted(self._connections.items()):
            gaps.append((self._next, ts, conn, venue, None, _GAP, epoch, source, None, f"{count} rows of the journal were lost"))
            self._next += 1
        rows: dict[str, list[Row]] = {"connections": gaps} if gaps else {}
        rows["health"] = [
            (self._next, ts, None, LOST, count, f"seq {self._expected} to {self._expected + count - 1} before the repair")
        ]
        self._next += 1
        self.rows += len(gaps) + 1
        self._out.append((first, rows))

    def _input(self, kind: str, row: Row, rows: dict[str, list[Row]]) -> None:
        place = _PLACE[kind]
        if not self._is_whole and not self._is_readable(kind, row):
            self.left_out += 1
            return
        if kind == "connections":
            self._connections[row[place["conn"]]] = row[place["venue"]], row[place["epoch"]], row[place["source"]]
        elif kind == "instruments":
            self._scales[row[place["venue"]], row[place["symbol"]]] = row[place["px_scale"]], row[place["qty_scale"]]
        self._old.append(row[0])
        self._new.append(self._next)
        rows.setdefault(kind, []).append(self._renumbered(kind, (self._next, *row[1:])))
        self._last_ts, self._next, self.rows = row[1], self._next + 1, self.rows + 1

    def _output(self, kind: str, row: Row, rows: dict[str, list[Row]]) -> None:
        at = bisect_right(self._old, row[0]) - 1
        after = max(self._ordinal[0], self._new[at] if at >= 0 else self._first_seq)
        n = self._ordinal[1] + 1 if after == self._ordinal[0] else 0
        self._ordinal = after, n
        rows.setdefault(kind, []).append(self._renumbered(kind, (after, n, *row[2:])))
        self.rows += 1

    def _is_readable(self, kind: str, row: Row) -> bool:
        """Whether what the row refers to was announced in what is left."""
        place = _PLACE[kind]
        if kind != "connections" and "conn" in place and row[place["conn"]] not in {None, *self._connections}:
            return False
        if kind not in _SCALED:
            return True
        scales = row[place["px_scale"]], row[place["qty_scale"]]
        return self._scales.get((row[place["venue"]], row[place["symbol"]])) == scales

    def _renumbered(self, kind: str, row: Row) -> Row:
        """The row with what it says of other rows as they are numbered now; null for one that is lost."""
        if self._is_whole or kind not in _CAUSES:
            return row
        values = list(row)
        for name in _CAUSES[kind]:
            place = _PLACE[kind][name]
            if values[place] is not None and values[place] >= self._first_seq:
                at = bisect_right(self._old, values[place]) - 1
                values[place] = self._new[at] if at >= 0 and self._old[at] == values[place] else None
        return tuple(values)
