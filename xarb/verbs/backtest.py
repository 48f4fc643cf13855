"""The backtest verb: a recorded log through the engine and the simulated venues, into a sealed run."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from xarb.assembly import Assembly, inputs_of, recorded_ground
from xarb.assembly.resolved import encode_config, resolve_recorded, run_id
from xarb.config import Experiment
from xarb.console import Advance, Table
from xarb.errors import ConfigError
from xarb.log.canonical import OutputDigest
from xarb.log.manifest import NAME as MANIFEST
from xarb.log.manifest import Header, Manifest
from xarb.log.reader import LogReader
from xarb.log.writer import LogWriter
from xarb.model.units import NANOS_PER_MS
from xarb.provenance import code_digest
from xarb.replay import Rows, replay
from xarb.summary import Line, Summary, accounts_of, summary_of

BATCH_ROWS: Final = 262_144
LADDER_MS: Final = (0, 50, 100, 250, 500)
RUNS: Final = Path("runs")


class Result(NamedTuple):
    """A finished run: its folder, the digest of its outputs, and what was counted."""

    folder: Path
    digest: str
    summary: Summary
    tables: list[Table]


def backtest(
    experiment: Experiment, *, log: Path | None = None, out: Path | None = None, advance: Advance, batch_rows: int = BATCH_ROWS
) -> Result:
    """Run an experiment and keep its outputs.

    Without `out` the run lies in `runs/NAME-ID` and, once it is finished, replaces one of the same id, which by the law of replay
    differs only if the code does. An exception, Ctrl-C among them, leaves no half run.

    Raises:
        ConfigError: the experiment does not fit the log; `out` exists already.
        LogError: the log is damaged.
    """
    with LogReader(log_of(experiment, log)) as reader:
        return _backtest(experiment, reader, out, advance=advance, batch_rows=batch_rows)


def _backtest(experiment: Experiment, reader: LogReader, out: Path | None, *, advance: Advance, batch_rows: int) -> Result:
    resolved = resolve_recorded(experiment, reader)
    config = encode_config(resolved)
    identity = run_id(config, reader.digest)
    assembly = Assembly(resolved, recorded_ground(resolved, reader))
    summary = summary_of(assembly)
    digest = OutputDigest()
    with place_run(out, RUNS / f"{experiment.name}-{identity[:12]}") as (made, folder):
        header = Header(
            kind="run",
            log_id=identity,
            origin=os.path.relpath(reader.folder, folder),
            input_digest=reader.digest,
            config=config,
            code_digest=code_digest(),
            seed=experiment.run.seed,
        )
        with LogWriter.create(made, header) as writer:

            def keep(rows: Rows) -> None:
                writer.write_outputs(rows)
                digest.take(rows)
                summary.take(rows)

            batches = inputs_of(resolved, reader, batch_rows)
            inputs = replay(assembly, batches, keep, reached=lambda seq: advance(seq, reader.manifest.last))
            summary.finish()
            counts = (("inputs", f"{inputs}"), ("wakes", f"{assembly.engine.wakes}"), ("bundles", f"{summary.bundles}"))
            tables = [_head(reader, folder, digest.hex(), counts), assembly.assumptions(), *summary.tables()]
            tables += [table for table in (accounts_of(assembly), assembly.doubtful_marks()) if table.rows]
            writer.finish(digest.hex(), assembly.engine.position)
    return Result(folder, digest.hex(), summary, tables)


@contextmanager
def place_run(out: Path | None, default: Path) -> Iterator[tuple[Path, Path]]:
    """Where a run is to be written, and where it stands in the end: `out`; or `default`, where it replaces an earlier run once it is finished.

    Raises:
        ConfigError: something else lies there.
    """
    if out is not None:
        yield out, out
        return
    _check_replaceable(default)
    made = default.with_name(f".{default.name}.{os.getpid()}")
    yield made, default
    _put(made, default)


def ladder(experiment: Experiment, *, log: Path | None = None, advance: Advance, run: Result | None = None) -> Table:
    """Trading PnL per strategy with 0, 50, 100, 250 and 500 ms added to every order latency; nothing is kept.

    `run` is the finished backtest of the same experiment and log, which is the first rung; without it that rung is replayed too. The
    rungs share nothing, so they run in as many processes as there are cores.

    Raises:
        ConfigError: the experiment does not fit the log.
        LogError: the log is damaged.
    """
    names = sorted(experiment.strategies)
    found = {} if run is None else {0: [run.summary.line(name) for name in names]}
    left = [added for added in LADDER_MS if added not in found]
    path = log_of(experiment, log)
    with closing(_rungs([(experiment, path, added) for added in left])) as rungs:
        for added, lines in zip(left, rungs, strict=True):
            found[added] = lines
            advance(len(found), len(LADDER_MS))
    rows = [(f"{added} ms", name, *line) for added in LADDER_MS for name, line in zip(names, found[added], strict=True)]
    return Table(
        "Latency ladder: trading PnL with more order latency",
        ("added", "strategy", "orders", "fill ratio", "trading PnL"),
        tuple(rows),
    )


def _rungs(tasks: Sequence[tuple[Experiment, Path, int]]) -> Generator[list[Line], None, None]:
    """The lines of each rung in order. Only Linux forks: there a process starts with modules and compiled code in place.

    A terminal sends Ctrl-C to every process of the command: this one answers it and ends the others, which hold it blocked.
    """
    workers = min(len(tasks), len(os.sched_getaffinity(0))) if sys.platform == "linux" else 1
    if workers == 1:
        yield from map(_rung, tasks)
        return
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(workers, multiprocessing.get_context("fork")) as pool:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])  # as the processes inherit it
        try:
            lines = pool.map(_rung, tasks)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        try:
            yield from lines
        except BaseException:  # an interrupt among them: the processes hold it blocked and would run on
            for child in multiprocessing.active_children():
                child.terminate()
            raise


def _rung(task: tuple[Experiment, Path, int]) -> list[Line]:
    """One replay with `added` ms of order latency: a line for each strategy by name."""
    experiment, path, added = task
    with LogReader(path) as reader:
        resolved = msgspec.structs.replace(resolve_recorded(experiment, reader), added_latency_ns=added * NANOS_PER_MS)
        assembly = Assembly(resolved, recorded_ground(resolved, reader))
        summary = summary_of(assembly)
        replay(assembly, inputs_of(resolved, reader, BATCH_ROWS), summary.take)
        summary.finish()
        return [summary.line(name) for name in sorted(resolved.strategies)]


def log_of(experiment: Experiment, log: Path | None) -> Path:
    """The log to replay: the one given, else the one that the experiment names.

    Raises:
        ConfigError: neither names one.
    """
    if log is not None:
        return log
    if experiment.run.log is None:
        raise ConfigError(f"{experiment.origin}: run.log is missing; name a log there or give --log")
    return Path(os.path.normpath(experiment.folder / experiment.run.log))


def _check_replaceable(folder: Path) -> None:
    """What stands in a run's place must be a run and nothing else: anything more is not ours to remove."""
    if folder.is_symlink():
        raise ConfigError(f"{folder} is a link and would be replaced; give another folder with --out")
    if not folder.exists():
        return
    if Manifest(folder).header.kind != "run":
        raise ConfigError(f"{folder} exists and is no run; give another folder with --out")
    mine = _named_files(folder)
    stranger = next((path for path in _entries(folder) if path not in mine), None)
    if stranger is not None:
        raise ConfigError(
            f"{folder} would be replaced, but its manifest does not name {stranger.relative_to(folder)}; "
            "move it away, or give another folder with --out"
        )


def _put(made: Path, folder: Path) -> None:
    """Move a finished run to its place; an earlier one of the same id goes when this one stands there.

    Only the files that its manifest names are removed. What was put beside them since the run began stays, and so does their folder.
    """
    earlier = made.with_name(f"{made.name}.earlier")
    try:
        if folder.exists():
            folder.rename(earlier)
        made.rename(folder)
    except BaseException:  # an interrupt among them: the run that stood there comes back
        if earlier.exists() and not folder.exists():
            earlier.rename(folder)
        shutil.rmtree(made, ignore_errors=True)
        raise
    if earlier.exists():
        _remove(earlier, folder)


def _remove(earlier: Path, folder: Path) -> None:
    """Remove a run file by file, its folders when they are empty.

    Raises:
        ConfigError: something else lies in it; it is not touched.
    """
    mine = _named_files(earlier)
    for path in _entries(earlier):
        if path in mine:
            path.unlink()
    left = _entries(earlier)
    if left:
        raise ConfigError(f"the run is kept in {folder}; the earlier one is gone, but {left[0]} is no file of it and stays there")
    for path in sorted(earlier.rglob("*"), reverse=True):
        path.rmdir()
    earlier.rmdir()


def _entries(folder: Path) -> list[Path]:
    """Everything in a folder that is not itself a folder, links among them, in order; no link is followed."""
    return sorted(path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())


def _named_files(folder: Path) -> set[Path]:
    """The manifest of a run and the files that it names, as paths below the folder."""
    return {folder / MANIFEST, *(folder / entry.path for entry in Manifest(folder).files)}


def _head(reader: LogReader, folder: Path, digest: str, counts: Sequence[tuple[str, str]]) -> Table:
    rows: Sequence[tuple[str, str]] = (
        ("log", f"{reader.folder} ({reader.manifest.header.origin or 'no origin stated'})"),
        *counts,
        ("run", str(folder)),
        ("output digest", digest),
    )
    if reader.is_open:
        rows = (*rows, ("not read", "the open tail: the log is being recorded, or its writer died; sealed rows only"))
    return Table("Backtest", ("what", "value"), tuple(rows))
