"""The branch verb: what would have happened from an input on with other parameters, as a run of its own and beside what did happen."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from xarb.assembly import Assembly, Turn
from xarb.assembly.alike import check_changes
from xarb.assembly.altered import altered
from xarb.assembly.resolved import Resolved, decode_config, encode_config
from xarb.branches import branch_of, branched, id_of
from xarb.config.reader import shown
from xarb.console import Advance, Table
from xarb.errors import ConfigError, Refused
from xarb.inquiry.comparison import Comparison, Differs
from xarb.inquiry.origin import find_log, open_log_of
from xarb.log.canonical import OutputDigest
from xarb.log.manifest import Branch, Header
from xarb.log.reader import LogReader
from xarb.log.writer import LogWriter
from xarb.model.event import output_row
from xarb.provenance import code_digest
from xarb.replay import Rows, replay
from xarb.summary import Summary, accounts_of, summary_of
from xarb.summary.since import Since, comparison_table
from xarb.verbs.backtest import BATCH_ROWS, RUNS, place_run

_PART: Final = 65_536  # recorded rows that are looked at together


class Parameters(NamedTuple):
    """What is other behind the input: dotted keys with TOML values as `--set` takes them, and strategies that begin nothing any more."""

    settings: Mapping[str, str]
    off: tuple[str, ...] = ()


class Branched(NamedTuple):
    """A finished branch: its folder, the digest of all its outputs, whether those behind the input are the original's, and what was counted."""

    folder: Path
    digest: str
    equal: bool
    summary: Summary
    tables: list[Table]


def branch(
    folder: Path, seq: int, parameters: Parameters, *, log: Path | None = None, out: Path | None = None, advance: Advance
) -> Branched:
    """Bring a run to an input, and go on from there with other parameters over the same inputs.

    The branch is a run: its rows up to the input are those of the original, the others its own. Without `out` it lies in
    `runs/branch-ID`.

    Args:
        folder: the run.
        seq: the last input that is decided on as it was.
        parameters: what is other behind it.
        log: the run's input log, where it does not lie where the run says.
        out: the folder of the branch.
        advance: told how far the replay is.

    Raises:
        ConfigError: there is no such input or key, or the key cannot change in the midst of a run; `out` exists already.
        LogError: the log is damaged.
        Refused: the folder is no run, the inputs were pruned, or this code decides otherwise than the code of the run did.
    """
    with LogReader(folder) as recorded:
        base = _base_of(recorded)
        if not 0 <= seq <= base.last:
            raise ConfigError(f"{folder} has inputs 0 to {base.last}, not {seq}")
        with open_log_of(base.header, find_log(folder, base.header.origin, log)) as reader:
            turn = _turn(base, reader, seq, parameters)
            return _branch(base, turn, (reader, recorded), out, advance)


class _Base(NamedTuple):
    """What is branched from: its first line, its config, and the last input that it saw."""

    folder: Path
    header: Header
    resolved: Resolved
    last: int


def _base_of(recorded: LogReader) -> _Base:
    """The run, if anybody can go on from it.

    Raises:
        ConfigError: nothing was decided there.
        Refused: a log that was traded on, what is a branch itself, or a run that was never finished.
    """
    folder, header, summary = recorded.folder, recorded.manifest.header, recorded.manifest.summary
    if header.kind != "run" or header.config is None:
        if not any(entry.kind == "starts" for entry in recorded.manifest.files):
            raise ConfigError(f"{folder} is a log, on which nothing was decided; branch from a backtest of it")
        raise Refused(
            f"{folder} was traded on: orders and money of its venues cannot be handed to a simulated venue in their midst; backtest it "
            "(xarb backtest EXPERIMENT --log LOG) and branch from that run"
        )
    if branch_of(header) is not None:
        raise Refused(f"{folder} is a branch itself; branch from what it came from, with all settings at once")
    if summary is None:
        raise Refused(f"{folder} was never finished: its last line, the summary, is missing; run the backtest again")
    return _Base(folder, header, decode_config(header.config), summary.last_seq)


def _turn(base: _Base, reader: LogReader, seq: int, parameters: Parameters) -> Turn:
    """The other config, checked.

    Raises:
        ConfigError: as `branch`.
    """
    for name in parameters.off:
        if name not in base.resolved.strategies:
            there = ", ".join(sorted(base.resolved.strategies))
            raise ConfigError(f"--off {name}: no such strategy; there are {there}")
    return Turn(seq, altered(base.resolved, parameters.settings, reader.instruments), tuple(sorted({*parameters.off})))


def _branch(base: _Base, turn: Turn, readers: tuple[LogReader, LogReader], out: Path | None, advance: Advance) -> Branched:
    reader, recorded = readers
    changes = check_changes(base.resolved, turn.resolved)
    how = branched(base.resolved, turn, reader, rows=BATCH_ROWS)
    assembly = Assembly(how.resolved, how.ground)
    summary, digest = summary_of(assembly), OutputDigest()
    course = _Course(assembly, recorded, turn.seq)
    header = _header(base, turn, reader)
    with place_run(out, RUNS / f"branch-{header.log_id[:12]}") as (made, folder):
        header = msgspec.structs.replace(
            header, origin=os.path.relpath(reader.folder, folder), branch=_moved(header, base.folder, folder)
        )
        with LogWriter.create(made, header) as writer:

            def keep(rows: Rows) -> None:
                course.take(rows)
                writer.write_outputs(rows)
                digest.take(rows)
                summary.take(rows)

            try:
                replay(assembly, how.batches, keep, reached=lambda seq: advance(seq, reader.manifest.last))
            except Differs:
                raise Refused(
                    f"{base.folder}: up to seq {turn.seq} this code decides otherwise than the code that decided then; xarb verify shows where"
                ) from None
            course.finish()
            summary.finish()
            tables = [
                _head(base, reader, turn, course),
                _changed(changes, turn),
                comparison_table(turn.seq, course.original, course.own, assembly.currencies, summary.total),
                assembly.assumptions(),
                *summary.tables(),
            ]
            tables += [table for table in (accounts_of(assembly), assembly.doubtful_marks()) if table.rows]
            writer.finish(digest.hex(), assembly.engine.position)
    return Branched(folder, digest.hex(), course.equal, summary, tables)


def _header(base: _Base, turn: Turn, reader: LogReader) -> Header:
    before = base.header
    assert before.config is not None, "it is a run"
    header = Header(
        kind="run",
        log_id="",
        input_digest=reader.digest,
        config=encode_config(turn.resolved),
        code_digest=code_digest(),
        seed=turn.resolved.run.seed,
        branch=Branch(origin="", log_id=before.log_id, seq=turn.seq, config=before.config, off=turn.off),
    )
    return msgspec.structs.replace(header, log_id=id_of(header, reader.digest))


def _moved(header: Header, original: Path, folder: Path) -> Branch:
    assert isinstance(header.branch, Branch), "it was made with one"
    return msgspec.structs.replace(header.branch, origin=os.path.relpath(original, folder))


class _Course:
    """Rows of the branch as they come, beside the recorded ones of the original: equal up to the input, counted on both sides behind it.

    `rows` came again as recorded; `equal` says whether all did, also behind the input.
    """

    def __init__(self, assembly: Assembly, recorded: LogReader, seq: int) -> None:
        self._assembly, self._seq = assembly, seq
        self._recorded = recorded.outputs()
        self._comparison = Comparison(self._recorded)
        self.original, self.own = Since(assembly.alike), Since(assembly.alike)
        self._digests = OutputDigest(), OutputDigest()
        self.equal = False

    @property
    def rows(self) -> int:
        """How many rows came again before the turn."""
        return self._comparison.rows

    def take(self, rows: Rows) -> None:
        """Output rows of the branch.

        Raises:
            Differs: one before the turn is not as recorded.
        """
        if self._assembly.ground.turn is not None:
            self._comparison.take(rows)
            return
        self.own.take(rows)
        self._digests[0].take(rows)

    def finish(self) -> None:
        """Count what the original went on with."""
        if self._assembly.ground.turn is not None:
            self._comparison.finish()
        for part in _in_parts(self._recorded):
            self.original.take(part)
            self._digests[1].take(part)
        one, other = self._digests
        self.equal = one.hex() == other.hex()


def _in_parts(recorded: Iterator[tuple[str, Mapping[str, Any]]]) -> Iterator[Rows]:
    part = []
    for one in recorded:
        part.append(output_row(*one))
        if len(part) == _PART:
            yield part
            part = []
    if part:
        yield part


def _head(base: _Base, reader: LogReader, turn: Turn, course: _Course) -> Table:
    behind = "the same rows as the original's" if course.equal else "others than the original's"
    rows = (
        ("branched from", f"{base.folder}"),
        ("log", f"{reader.folder}"),
        ("last input decided on as it was", f"{turn.seq}"),
        ("rows up to there", f"{course.rows}, all as recorded"),
        ("rows behind it", behind),
    )
    return Table("Branch", ("what", "value"), rows)


def _changed(changes: list[tuple[str, Any, Any]], turn: Turn) -> Table:
    rows = [(key, _text(was), _text(now)) for key, was, now in changes]
    rows += [(f"strategies.{name}", "on", "off") for name in turn.off]
    return Table("Settings behind the input", ("key", "original", "branch"), tuple(rows))


def _text(value: Any) -> str:
    return "default" if value is None else shown(value)
