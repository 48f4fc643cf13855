"""The verify verb: proof by replay. The inputs are fed to this code again and every output row is compared with the recorded one.

A run is compared with a replay of its input log, a live log with a replay of its own inputs, each start alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final, NamedTuple, NoReturn

from xarb.assembly import Assembly
from xarb.assembly.resolved import decode_config
from xarb.branches import id_of, replay_of
from xarb.carrying import Left, closing_results
from xarb.checkpoint import restore
from xarb.console import Advance, Table
from xarb.errors import ConfigError, InvariantBroken, LogError, Refused
from xarb.inquiry.comparison import Comparison, Differs, difference_table
from xarb.inquiry.origin import find_log, open_log_of
from xarb.log.checkpoints import Checkpoint, find_checkpoint, read_checkpoint
from xarb.log.manifest import Manifest
from xarb.log.reader import LogReader, Selection
from xarb.log.tombstones import ENGINE_INPUTS
from xarb.provenance import code_digest
from xarb.replay import replay
from xarb.starts import (
    LIVE,
    PAPER,
    Span,
    Start,
    carried_into,
    closing_breakers,
    closing_foreign,
    closing_volumes,
    opening_of,
    replay_of_start,
    spans,
)

BATCH_ROWS: Final = 262_144


class Proof(NamedTuple):
    """The outcome: whether all rows are equal, and tables that say so."""

    equal: bool
    tables: list[Table]


def verify(run: Path, *, log: Path | None = None, since: str | None = None, advance: Advance) -> Proof:
    """Replay a run, or every start of a live log, and compare. A run's log that has grown since is replayed as far as it went then.

    `since` is the input of a checkpoint of a live log, or `last`: proof begins behind it, with the state that it holds.

    Raises:
        ConfigError: `run` is a log that nothing was decided on, its log is not found, or there is no such checkpoint.
        LogError: the run or the log is damaged, the run's header or last line was changed, or the checkpoint is damaged or another log's.
        Refused: the log given is not the one that the run was made from, the run was never finished, or the inputs were pruned: of a log
            that has starts behind them, those are proven and the others named.
    """
    with LogReader(run) as recorded:
        header, summary = recorded.manifest.header, recorded.manifest.summary
        if header.kind != "run" or header.config is None:
            return _verify_starts(recorded, None if since is None else find_checkpoint(run, since), advance)
        if since is not None:
            raise ConfigError(f"{run} is a run: it has no checkpoints, and is proven from its beginning")
        if summary is None:
            raise Refused(f"{run} was never finished: its last line, the summary, is missing; run the backtest again")
        found = find_log(run, header.origin, log)
        with open_log_of(header, found) as reader:
            later = Manifest(found).last - reader.last_seq
            comparison, last_seq = _replayed(recorded, reader, advance)
    if comparison.difference is None and (comparison.digest.hex(), last_seq) != (summary.output_digest, summary.last_seq):
        raise LogError(f"{run}: rows are equal but the digest or the last input in its last line is not theirs")
    return _proof(run, comparison, header.code_digest, later)


def _replayed(recorded: LogReader, reader: LogReader, advance: Advance) -> tuple[Comparison, int]:
    """The comparison of the run with a replay of the log, and the last input applied."""
    run, header = recorded.folder, recorded.manifest.header
    assert header.config is not None, "it is a run"
    seed = decode_config(header.config).run.seed
    if header.log_id != id_of(header, reader.digest) or header.seed != seed:
        raise LogError(f"{run}: the id or the seed in its header is not that of its config and its log: the header was changed")
    comparison = Comparison(recorded.outputs())
    how = replay_of(header, reader, rows=BATCH_ROWS)
    assembly = Assembly(how.resolved, how.ground)
    try:
        replay(assembly, how.batches, comparison.take, reached=lambda seq: advance(seq, reader.manifest.last))
        comparison.finish()
    except Differs:
        pass
    return comparison, assembly.engine.position


class _Part(NamedTuple):
    """What is proven of a start: all of it, or what lies behind a checkpoint."""

    span: Span
    checkpoint: Checkpoint | None = None

    @property
    def selection(self) -> Selection:
        """Its inputs."""
        return self.span.behind(None if self.checkpoint is None else self.checkpoint.seq)


def _verify_starts(log: LogReader, path: Path | None, advance: Advance) -> Proof:
    """Replay each start of a live log on its own inputs; with a checkpoint that start's from there on, and those after it."""
    found = list(spans(log))
    if not found and log.is_open:
        raise Refused(
            f"{log.folder}: no start is sealed yet. Its open tail is not read: it is being written (try again after a seal), or its writer "
            f"died (run: xarb log repair {log.folder})"
        )
    if not found:
        raise ConfigError(
            f"{log.folder} is a log without a start: nothing was decided on it; check it with: xarb log verify {log.folder}"
        )
    checkpoint = None if path is None else _checkpoint_of(log, path, found)
    parts = [_Part(span) for span in found if checkpoint is None or span.start.number >= checkpoint.start]
    parts[0] = parts[0]._replace(checkpoint=checkpoint)
    lost = [bool(log.gone(ENGINE_INPUTS, part.selection)) for part in parts]
    if all(lost):
        _refuse(log, parts[-1])
    rows: list[tuple[str, ...]] = []
    for number, part in enumerate(parts):
        start = part.span.start
        after = parts[number + 1].span.start if number + 1 < len(parts) else None
        head = (f"{start.number}", start.mode, f"{part.selection.first_seq} to {part.selection.last_seq}")
        if lost[number]:
            rows.append((*head, "-", "-", "-", "not provable: inputs were pruned"))
            if after is not None:
                _check_opening(log, part.span, after, None)
            continue
        comparison, assembly = _replayed_start(log, part, advance)
        rows.append(
            (
                *head,
                f"{comparison.rows}",
                comparison.digest.hex()[:16],
                _code(start.code_digest),
                "DIFFERENT" if comparison.difference else "equal",
            )
        )
        if comparison.difference is not None:
            return Proof(False, [_starts_table(log, rows, checkpoint), difference_table(comparison.difference)])  # noqa: FBT003  # a named field
        if after is not None:
            _check_opening(log, part.span, after, assembly)
    return Proof(True, [_starts_table(log, rows, checkpoint)])  # noqa: FBT003  # a named field


def _checkpoint_of(log: LogReader, path: Path, found: Sequence[Span]) -> Checkpoint:
    """A checkpoint that lies in one of the log's starts and was made by this code.

    Raises:
        LogError: it is damaged, or of another log or another start.
        Refused: another code made it.
    """
    checkpoint = read_checkpoint(path, log.manifest)
    if checkpoint.code_digest != code_digest():
        made_by, now = checkpoint.code_digest[:16], code_digest()[:16]
        raise Refused(
            f"{path} was made by other code ({made_by}, this is {now}): only the whole start can be proven, without --from"
        )
    if not any(span.start.number == checkpoint.start and span.first <= checkpoint.seq <= span.last for span in found):
        raise LogError(f"{path} is of start {checkpoint.start}, to which input {checkpoint.seq} of this log does not belong")
    return checkpoint


def _refuse(log: LogReader, part: _Part) -> NoReturn:
    """Say which inputs of a start are gone, and where what is left begins.

    Raises:
        Refused: always.
    """
    try:
        log.batches(kinds=ENGINE_INPUTS, select=part.selection)
    except Refused as error:
        raise Refused(f"start {part.span.start.number} cannot be proven: {error}") from None
    raise InvariantBroken(f"nothing of start {part.span.start.number} is gone")


def _replayed_start(log: LogReader, part: _Part, advance: Advance) -> tuple[Comparison, Assembly]:
    """The comparison of a start's outputs with a replay of its inputs, and what was replayed."""
    span, checkpoint = part
    how = replay_of_start(log, span, rows=BATCH_ROWS, behind=None if checkpoint is None else checkpoint.seq)
    assembly = Assembly(how.resolved, how.ground)
    if checkpoint is None:
        comparison = Comparison(log.outputs(select=span.selection))
    else:
        restore(assembly, checkpoint.state)
        comparison = Comparison(_outputs_behind(log, checkpoint, span.last))
    try:
        try:
            replay(assembly, how.batches, comparison.take, reached=lambda seq: advance(seq, log.last_seq))
        except (InvariantBroken, LogError):
            comparison.take(assembly.engine.outputs.drain())  # rows before the failure may differ already, and then tell more
            raise
        comparison.finish()
    except Differs:
        pass
    return comparison, assembly


def _outputs_behind(log: LogReader, checkpoint: Checkpoint, last: int) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The outputs that were not written yet when a checkpoint was made: deadlines may fire after its input."""
    select = Selection(first_seq=checkpoint.seq, last_seq=last)
    for kind, row in log.outputs(select=select):
        if (row["after_seq"], row["n"]) >= (checkpoint.seq, checkpoint.n):
            yield kind, row


def _check_opening(log: LogReader, span: Span, after: Start, assembly: Assembly | None) -> None:
    """A start opens with what the one before it ended with: its results, volumes, breakers, bundles, flows, what is not final on chains and what others traded, and on paper, where nothing else moves it, its money.

    They are reckoned from orders, money and outputs, which no log ever loses; the money is that of the replay, None without one.

    Raises:
        LogError: it does not.
    """
    opening, before = after.opening, span.start
    left = Left(log, span, until=opening.told_seq)
    results = carried_into(decode_config(after.config), closing_results(log, span, left, until=opening.told_seq))
    pairs: list[tuple[Sequence[object], Sequence[object]]] = [
        (results, opening.results),
        (closing_volumes(log, span), opening.volumes),
        (closing_breakers(log, span, until=opening.told_seq), opening.broken),
        (left.bundles, opening.bundles),
    ]
    if opening.flows is not None:
        pairs.append((left.flows, opening.flows))
    if opening.cycles is not None and opening.transactions is not None:
        pairs += [(left.cycles, opening.cycles), (left.transactions, opening.transactions)]
    if opening.foreign is not None and before.mode == LIVE:
        pairs.append((closing_foreign(log, span, until=opening.known_seq), opening.foreign))
    if assembly is not None and after.mode == before.mode == PAPER:
        pairs.append((opening_of(assembly.engine.portfolio.balances(), (), (), armed=False).balances, opening.balances))
    for ended, opened in pairs:
        for mine, theirs in zip_longest(ended, opened):
            if mine != theirs:
                raise LogError(f"start {after.number} opens with {theirs}, but start {before.number} ended with {mine}")


def _starts_table(log: LogReader, rows: Sequence[tuple[str, ...]], checkpoint: Checkpoint | None) -> Table:
    head = ("start", "mode", "inputs", "rows compared", "digest", "code", "result")
    since = "" if checkpoint is None else f" from the checkpoint of input {checkpoint.seq} on"
    title = f"Proof of {log.folder}{since}" + (
        "; the open tail was not read: it is being written, or its writer died" if log.is_open else ""
    )
    return Table(title, head, tuple(rows))


def _proof(run: Path, comparison: Comparison, made_by: str | None, later: int) -> Proof:
    """The outcome; `later` inputs came to the log after the run."""
    rows = [("rows compared", f"{comparison.rows}"), ("code", _code(made_by))]
    if later:
        rows.append(("log", f"has {later} more inputs than the run saw"))
    if comparison.difference is None:
        rows += [("digest", comparison.digest.hex()), ("result", "equal: every output row is reproduced")]
        return Proof(True, [Table(f"Proof of {run}", ("what", "value"), tuple(rows))])  # noqa: FBT003  # a named field
    rows.append(("result", "DIFFERENT: see the first difference"))
    return Proof(False, [Table(f"Proof of {run}", ("what", "value"), tuple(rows)), difference_table(comparison.difference)])  # noqa: FBT003  # a named field


def _code(made_by: str | None) -> str:
    now = code_digest()
    return (
        f"the same as the run's ({now[:16]})"
        if made_by == now
        else f"OTHER than the run's: {now[:16]}, the run was made by {str(made_by)[:16]}"
    )
