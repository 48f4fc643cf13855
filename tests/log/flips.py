"""Flips every bit of every file of a small whole log, and cuts each at every byte: it is found and named, or changes nothing.

`python -m tests.log.flips [FILE ...] [--every N]` takes the files whose name holds one of these words (all without any). The log has sealed files of
every kind that it needs, a tombstone, a checkpoint, a journal that is complete and one that is not. For each flip and cut, what a reader of
that file makes of it is compared with what the log holds (`Hurt.quick`); for every Nth the whole log is checked, read and opened (`Hurt.whole`).
Prints figures; ends at the first that is neither found nor harmless.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from tests.log.aged import DAY, aged
from tests.log.courses import checkpoint_of
from tests.log.live import Values, quotes, read_inputs, read_outputs
from tests.log.logs import START
from xarb.errors import LogError
from xarb.log import tail
from xarb.log.check import verify_log
from xarb.log.checkpoints import checkpoint_paths, read_checkpoint, write_checkpoint
from xarb.log.committer import Policy
from xarb.log.files import Files
from xarb.log.journal import FOLDER, Walk, journals, read_opening
from xarb.log.livelog import LiveLog
from xarb.log.manifest import NAME, Manifest
from xarb.log.packing import Row
from xarb.log.prune import prune
from xarb.log.recovery import TRUNCATED
from xarb.log.tail import Tail
from xarb.simulation.verb import scratch

QUIET = Policy(by_hand=True, reserve_bytes=0, separate=False)
IN_FIRST = 5  # rows of the first journal
Damage = tuple[str, bytes]  # what was done to a file, and what stands in it now


def whole_log(folder: Path) -> Path:
    """Three sealed segments, of which the first has lost its inputs to a prune, a checkpoint, and two journals."""
    aged(folder, 2)
    prune(folder, START + DAY, by="a test")
    log = LiveLog.open(folder, QUIET)
    held = log._committer
    held._hand_over = lambda: None  # type: ignore[method-assign]  # the journals stay
    last = log.last
    for size in (2, 3, 2, 1):
        log.append({"quotes": [(row[0], log.last_ts, *row[2:]) for row in quotes(log.last + 1, size)["quotes"]]})
        log.sync()
        if log.last == last + IN_FIRST:
            held.want_next()
            held._prepare()
            log._rotate()
    log.abandon()
    write_checkpoint(folder, checkpoint_of(folder, 3))
    return folder


def flips(data: bytes) -> Iterator[Damage]:
    """Every bit of it."""
    for place in range(len(data) * 8):
        damaged = bytearray(data)
        damaged[place // 8] ^= 1 << place % 8
        yield f"bit {place % 8} of byte {place // 8}", bytes(damaged)


def cuts(data: bytes) -> Iterator[Damage]:
    """Every length that is less."""
    for size in range(len(data)):
        yield f"cut at byte {size}", data[:size]


class Truth(NamedTuple):
    """What a log holds."""

    inputs: list[Values]
    outputs: list[Values]
    tail: list[Row]
    segments: list[object]


def _values(rows: Sequence[tuple[str, dict[str, object]]]) -> list[Values]:
    return [(kind, *row.values()) for kind, row in rows]


def _tail_rows(folder: Path) -> tuple[list[Row], int]:
    """The rows of the tail, and how many bytes behind them are torn."""
    found = Tail(folder)
    return [tuple(row.values()) for row in found.table("quotes").to_pylist()], found.torn_bytes


class Figures(NamedTuple):
    """Damages that were found and named, that were taken for a torn tail and said so, and that changed nothing."""

    named: int
    torn: int
    harmless: int
    whole: int


class Hurt:
    """A log of which one file after the other is damaged.

    Args:
        folder: a sound log; it is sound again after each call.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.truth = Truth(
            _values(read_inputs(folder)), _values(read_outputs(folder)), _tail_rows(folder)[0], list(Manifest(folder).segments)
        )
        self.manifest = Manifest(folder)

    def files(self) -> list[Path]:
        """Every file of it."""
        return sorted(path for path in self.folder.rglob("*") if path.is_file())

    def damage(self, path: Path, damages: Iterator[Damage], every: int) -> Figures:
        """Damage one file in every way, and look at what becomes of it.

        Raises:
            AssertionError: it was not found, or other rows came out.
        """
        data = path.read_bytes()
        counts = dict.fromkeys(Figures._fields, 0)
        name = path.relative_to(self.folder).as_posix()
        quick = self._quick(path)
        for number, (what, damaged) in enumerate(damages):
            path.write_bytes(damaged)
            try:
                counts[quick(path)] += 1
                if number % every == 0:
                    self._whole(path)
                    counts["whole"] += 1
            except Exception as error:
                raise AssertionError(f"{name}, {what}: {type(error).__name__}: {error}") from error
            finally:
                path.write_bytes(data)
        return Figures(**counts)

    # --- what reads this file

    def _quick(self, path: Path) -> Callable[[Path], str]:
        if path.name == NAME:
            return self._manifest
        if path.suffix == ".parquet":
            return self._parquet
        return self._journal if path.parent.name == FOLDER else self._checkpoint

    def _manifest(self, path: Path) -> str:
        """The line is named."""
        try:
            found = Manifest(path.parent)
        except LogError as error:
            return _named(error, str(path))
        assert found.head in self.manifest.heads, "other lines"
        return "torn"

    def _parquet(self, path: Path) -> str:
        """The file is named, before a row of it is used."""
        name = path.relative_to(self.folder).as_posix()
        (entry,) = (entry for entry in self.manifest.files if entry.path == name)
        files = Files(self.folder)
        try:
            files.check(entry)
        except LogError as error:
            return _named(error, str(path))
        finally:
            files.close()
        raise AssertionError("it was taken for what was sealed")

    def _checkpoint(self, path: Path) -> str:
        try:
            read_checkpoint(path, self.manifest)
        except LogError as error:
            return _named(error, str(path))
        raise AssertionError("it was taken for a checkpoint")

    def _journal(self, path: Path) -> str:
        """The header is named; of the frames a sound beginning is read, and the place behind it is named."""
        number = [one for _, one in journals(self.folder)].index(path)
        try:
            opening, start = read_opening(path)
        except LogError as error:
            return _named(error, str(path))
        data = path.read_bytes()
        walk = Walk(data[start:], opening, start=start)
        rows = [row for frame in walk for row in frame.rows().get("quotes", [])]
        assert rows == self.truth.tail[IN_FIRST * number :][: len(rows)], "other rows"
        if walk.trouble is None:
            assert len(data) == walk.end
            return "torn"  # cut between two frames: what is left is a journal
        assert 0 < walk.end < len(data)
        return "torn" if walk.later is None else "named"

    # --- everything that reads a log

    def _whole(self, path: Path) -> None:
        """Check, read and open it: no error but a LogError, no other row, and the damage is told."""
        name = path.relative_to(self.folder).as_posix()
        report = verify_log(self.folder)
        is_shorter = path.name == NAME and path.read_bytes().endswith(b"\n")  # whole lines are gone: the files of them are named
        word = f"{FOLDER}/" if name.startswith(FOLDER) else name  # a gap between two journals is told of the second
        told = [found for found in report.findings if is_shorter or word in f"{found.file}: {found.what}"]
        self._read(report.torn_bytes, told=bool(told))
        copy = self.folder.with_name("opened")
        shutil.copytree(self.folder, copy)
        try:
            self._open(copy, name, is_found=bool(told))
        finally:
            shutil.rmtree(copy)

    def _read(self, torn_bytes: int, *, told: bool) -> None:
        """What readers hand out is what the log holds, or its beginning where a tail is torn."""
        try:
            inputs, outputs = _values(read_inputs(self.folder)), _values(read_outputs(self.folder))
            rows, torn = _tail_rows(self.folder)
        except LogError:
            if told:
                return
            raise
        assert inputs == self.truth.inputs[: len(inputs) if told else None], "other inputs"
        assert outputs == self.truth.outputs[: len(outputs) if told else None], "other outputs"
        assert rows == self.truth.tail[: len(rows)], "other rows in the tail"
        assert torn == torn_bytes
        for one in checkpoint_paths(self.folder):
            try:
                read_checkpoint(one, self.manifest)
            except LogError:
                if not told:
                    raise

    def _open(self, copy: Path, name: str, *, is_found: bool) -> None:
        """A start refuses it by name, or goes on: with all rows, or with a beginning of the tail and a row that says so."""
        try:
            LiveLog.open(copy, QUIET).close()
            rows = _values(read_inputs(copy))
        except LogError:
            if is_found:
                return
            raise
        said = [row for row in rows if row[0] == "health" and TRUNCATED in row]
        kept = [row for row in rows if row not in said][len(self.truth.inputs) :]
        assert rows[: len(self.truth.inputs)] == self.truth.inputs, "other rows after a start"
        assert [row[1] for row in kept] == [row[0] for row in self.truth.tail[: len(kept)]], "other rows after a start"
        assert len(kept) == len(self.truth.tail) or said or name.startswith(FOLDER), "rows are gone, and nothing says so"


def _named(error: LogError, path: str) -> str:
    assert path in str(error), f"the file is not named: {error}"
    return "named"


def damage(words: Sequence[str], every: int, *, of: Callable[[bytes], Iterator[Damage]], step: int = 1) -> dict[str, Figures]:
    """Damage the files of a small whole log whose names hold one of these words, all of them without any; `step` leaves out damages.

    Raises:
        AssertionError: a damage was neither found nor harmless.
    """
    tail._TRIES, before = 1, tail._TRIES  # type: ignore[misc]  # nobody writes it meanwhile
    try:
        with scratch() as root:
            hurt = Hurt(whole_log(root / "log"))
            return {
                path.relative_to(hurt.folder).as_posix(): hurt.damage(path, islice(of(path.read_bytes()), 0, None, step), every)
                for path in hurt.files()
                if not words or any(word in path.as_posix() for word in words)
            }
    finally:
        tail._TRIES = before  # type: ignore[misc]  # as above


def main() -> None:
    """The command."""
    wanted = argparse.ArgumentParser("python -m tests.log.flips")
    wanted.add_argument("files", nargs="*")
    wanted.add_argument("--every", type=int, default=8)
    asked = wanted.parse_args()
    for title, of in (("flipped", flips), ("cut", cuts)):
        began = time.monotonic()
        for name, found in damage(asked.files, asked.every, of=of).items():
            sys.stdout.write(f"{title} {name}: {found._asdict()}\n")
        sys.stdout.write(f"{time.monotonic() - began:.0f} s\n")


if __name__ == "__main__":
    main()
