"""Runs a sweep: decodes the log once, lets processes do the runs, chooses and judges, and keeps the table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from xarb.assembly import inputs_of, recording_of
from xarb.assembly.resolved import encode_config, resolve_recorded
from xarb.console import Advance
from xarb.errors import ConfigError, Refused
from xarb.log.reader import LogReader
from xarb.model.batch import Batch
from xarb.settings import ts_of
from xarb.verbs.backtest import BATCH_ROWS, RUNS, log_of
from xarb.verbs.sweep.crew import Crew, Hands, crew
from xarb.verbs.sweep.journal import Journal
from xarb.verbs.sweep.plan import Plan, identity
from xarb.verbs.sweep.space import Settings
from xarb.verbs.sweep.table import Row, frame, write
from xarb.verbs.sweep.tape import Part, Tape, part_of
from xarb.verbs.sweep.trial import Outcome, Stage, Task, goal_of
from xarb.verbs.sweep.windows import Span, Split, bounds, edges, splits

Run = tuple[Settings, Span]


class Found(NamedTuple):
    """A sweep that has ended.

    Attributes:
        folder: where its table lies.
        rows: of the table, in order of split, sample and trial.
        splits: in order of time.
        goal: the figure by which trials were chosen.
        keys: of what was tried.
        again: runs that an earlier process had finished.
    """

    folder: Path
    rows: Sequence[Row]
    splits: Sequence[Split]
    goal: str
    keys: Sequence[str]
    again: int


def sweep(
    plan: Plan, *, log: Path | None = None, out: Path | None = None, resume: bool = False, hands: Hands, advance: Advance
) -> Found:
    """Do every run of a sweep that was not finished before, and write its table.

    Without `out` it lies in `runs/NAME-sweep-ID`. What ends the process leaves all finished runs for `resume`.

    Raises:
        ConfigError: the experiment does not fit the log, or the folder holds something else.
        LogError: the log is damaged, or another process works on the sweep.
        Refused: the decoded inputs do not fit on the disk.
    """
    with LogReader(log_of(plan.base, log)) as reader:
        resolve_recorded(plan.base, reader)  # says where what is to be replayed is a run
        tried = plan.tried(reader.instruments)
        recording = recording_of(reader, tried)
        cuts = _cuts(plan, reader)
        heading = plan.heading(tried, recording, cuts)
        folder = out if out is not None else RUNS / f"{plan.base.name}-sweep-{identity(heading)[:12]}"
        journal = Journal(folder, heading, resume=resume)
        with journal:
            parts = _decoded(plan, reader, cuts, folder, advance)
            reader.close()  # its thread: from here on there are forks
            stage = Stage(recording, parts, plan.config.currency, plan.config.period_s)
            with crew(stage, hands) as workers:
                search = _Search(plan, stage, cuts, journal, workers, advance)
                rows = search.rows()
    write(frame(rows, plan.keys), folder)
    return Found(folder, rows, splits(plan.config), plan.config.goal, plan.keys, len(journal.entries))


def _cuts(plan: Plan, reader: LogReader) -> list[int]:
    """Times at which windows meet, of what lies between run.start and run.end."""
    splits(plan.config)  # says what is wrong with them
    if not plan.config.windows or not reader.manifest.segments:
        return []
    run, first, last = plan.base.run, reader.manifest.segments[0].first_ts, reader.manifest.last_ts
    first = first if run.start is None else max(first, ts_of(run.start, "run.start"))
    last = last if run.end is None else min(last, ts_of(run.end, "run.end"))
    return edges(first, last, plan.config.windows)


def _decoded(plan: Plan, reader: LogReader, cuts: Sequence[int], folder: Path, advance: Advance) -> list[Part]:
    """The inputs of each window, decoded once into memory that is shared.

    Raises:
        ConfigError: a window has no input.
        Refused: they do not fit on the disk.
    """
    last = reader.manifest.last

    def noted(batches: Iterable[Batch]) -> Iterator[Batch]:
        for batch in batches:
            yield batch
            advance(batch.last_seq, last, "decoding")

    starts = []
    with closing(Tape(folder)) as tape:
        for window in range(len(cuts) + 1):
            resolved = resolve_recorded(plan.experiment(bounds(Span(window, 1), cuts)), reader)
            starts.append(resolved.run.start)
            try:
                tape.add(noted(inputs_of(resolved, reader, BATCH_ROWS)))
            except OSError as error:
                raise Refused(
                    f"{folder}: the decoded inputs do not fit on its disk ({tape.bytes:,} bytes so far): {error}"
                ) from None
        mapped = tape.mapped()
    found = []
    for window, (batches, start) in enumerate(zip(mapped, starts, strict=True)):
        if not batches:
            raise ConfigError(f"{reader.folder}: no row between run.start and run.end in window {window + 1} of {len(cuts) + 1}")
        found.append(part_of(batches, reader.instruments_at(batches[0].first_seq) if start else reader.instruments))
    return found


class _Search:
    """The runs of one sweep.

    Args:
        plan: what is tried.
        stage: what all runs share.
        cuts: times at which windows meet.
        journal: the runs that are finished.
        hands: who does the others.
        advance: is told of each.
    """

    def __init__(self, plan: Plan, stage: Stage, cuts: Sequence[int], journal: Journal, hands: Crew, advance: Advance) -> None:
        self._plan, self._stage, self._cuts = plan, stage, cuts
        self._journal, self._hands, self._advance = journal, hands, advance
        self._done = 0

    def rows(self) -> list[Row]:
        """Do what is left to do; the table's rows."""
        order, goal = splits(self._plan.config), self._plan.config.goal
        self._total = self._plan.count * len(order) + sum(one.judge is not None for one in order)
        tried = [self._searched(number, split.choose) for number, split in enumerate(order, start=1)]
        chosen = [
            _best([self._known((one, split.choose)) for one in trials], goal) for trials, split in zip(tried, order, strict=True)
        ]
        every = list(zip(order, tried, chosen, strict=True))
        self._do([(trials[best], split.judge) for split, trials, best in every if split.judge and best is not None])
        found = []
        for number, (split, trials, best) in enumerate(every, start=1):
            sample = "all" if split.judge is None else "in"
            found += [self._row((number, sample), at, best, (one, split.choose)) for at, one in enumerate(trials)]
            if split.judge is not None and best is not None:
                found.append(self._row((number, "out"), best, best, (trials[best], split.judge)))
        return found

    def _searched(self, split: int, span: Span) -> list[Settings]:
        """The trials of a split, all done."""
        proposals, trials = self._plan.proposals(split), list[Settings]()
        while batch := proposals.more():
            outcomes = self._do([(settings, span) for settings in batch])
            proposals.tell([goal_of(one, self._plan.config.goal) for one in outcomes])
            trials += batch
        return trials

    def _known(self, run: Run) -> Outcome:
        found = self._journal.outcome(*run)
        assert found is not None, "it was done"
        return found

    def _row(self, place: tuple[int, str], trial: int, best: int | None, run: Run) -> Row:
        settings, span = run
        parts = self._stage.parts[span.first : span.first + span.windows]
        window = bounds(span, self._cuts)
        return Row(*place, trial + 1, trial == best, parts[0].first_ts, parts[-1].last_ts, window, settings, self._known(run))

    def _do(self, runs: Sequence[Run]) -> list[Outcome]:
        """The outcomes of runs, those that are not known yet done by the crew."""
        wanted = {(*span, *sorted(settings.items())): (settings, span) for settings, span in runs}
        left = [(settings, span) for settings, span in wanted.values() if self._journal.outcome(settings, span) is None]
        self._note(len(runs) - len(left))
        for task, outcome in self._hands.run(self._tasks(left)):
            self._journal.keep(*left[task.number], outcome)
            self._note(1)
        return [self._known(run) for run in runs]

    def _tasks(self, runs: Sequence[Run]) -> Iterator[Task]:
        """What the crew has to do; a run whose config does not stand is finished without it."""
        for number, (settings, span) in enumerate(runs):
            try:
                config = encode_config(self._plan.resolved(settings | bounds(span, self._cuts), self._stage.recording.instruments))
            except ConfigError as error:
                self._journal.keep(settings, span, Outcome(error=f"ConfigError: {error}"))
                self._note(1)
            else:
                yield Task(number, span.first, span.windows, config)

    def _note(self, more: int) -> None:
        self._done += more
        self._advance(self._done, self._total, f"run {self._done} of {self._total}")


def _best(outcomes: Sequence[Outcome], goal: str) -> int | None:
    """The number of the trial with the highest goal, the first of equal ones; None where it is undefined for all."""
    values = [(value, -number) for number, one in enumerate(outcomes) if (value := goal_of(one, goal)) is not None]
    return -max(values)[1] if values else None
