"""The verbs in Python, for notebooks and programs: they return Polars frames in place of printed tables.

`import xarb`, then `xarb.backtest(...)`, `xarb.query(...)` and so on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from xarb.frames import Frames, scan
from xarb.toml import written

if TYPE_CHECKING:
    from xarb.console import Table
    from xarb.inquiry.sections import Section
    from xarb.verbs.sweep import Hands

Where = Path | str
_NUMBER: Final = re.compile(r"-?\d{1,38}(\.\d{1,18})?")
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z")
_DIGITS: Final = 38


class Answer(Mapping[str, pl.DataFrame]):
    """Tables by key, as items (`answer["orders"]`) and attributes (`answer.orders`); `ok` is the verdict, as the exit code of the verb has it.

    Numbers are integers or exact decimals, times are UTC in ns, ids stay text. A table without rows has its columns.
    """

    def __init__(self, tables: Mapping[str, pl.DataFrame], *, ok: bool = True) -> None:
        self._tables, self.ok = dict(tables), ok

    def __getitem__(self, key: str) -> pl.DataFrame:
        return self._tables[key]

    def __getattr__(self, name: str) -> pl.DataFrame:
        if name.startswith("_") or name not in self._tables:
            raise AttributeError(f"no table is called {name!r}; there are {', '.join(self._tables)}")
        return self._tables[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tables)

    def __len__(self) -> int:
        return len(self._tables)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._tables]


class Run(Answer):
    """A finished backtest: what it printed as tables, its `folder`, the `digest` of its outputs, and `frames` with every row of them."""

    def __init__(self, tables: Mapping[str, pl.DataFrame], folder: Path, digest: str) -> None:
        super().__init__(tables)
        self.folder, self.digest = folder, digest

    @property
    def frames(self) -> Frames:
        """Its rows by kind, as lazy frames."""
        return scan(self.folder)


def backtest(
    experiment: Where, *, log: Where | None = None, out: Where | None = None, settings: Mapping[str, object] | None = None
) -> Run:
    """Replay a recorded log through the engine and the simulated venues.

    Args:
        experiment: the experiment file.
        log: the log, in place of the one that the file names.
        out: the run's folder; `runs/NAME-ID` without one.
        settings: keys to override, such as `{"strategies.cross.min_profit_bps": 3}`.

    Raises:
        ConfigError: the file, a key or the log does not fit.
        LogError: the log is damaged.
    """
    from xarb.config import load_experiment
    from xarb.verbs.backtest import backtest as run

    loaded = load_experiment(Path(experiment), _overrides(settings))
    done = run(loaded, log=_path(log), out=_path(out), advance=_silent)
    return Run(_of_tables(done.tables), done.folder, done.digest)


class Swept(Answer):
    """A finished sweep: what it printed as tables, its `folder`, and `trials` with a row for each run, parameters and figures as columns."""

    def __init__(self, tables: Mapping[str, pl.DataFrame], folder: Path, trials: pl.DataFrame) -> None:
        super().__init__({**tables, "trials": trials})
        self.folder = folder


def sweep(
    experiment: Where,
    *,
    log: Where | None = None,
    out: Where | None = None,
    resume: bool = False,
    hands: Hands | None = None,
    settings: Mapping[str, object] | None = None,
) -> Swept:
    """Backtest many settings of one experiment on one log, on all cores; what is tried stands in its `[sweep]`, or in `settings`.

    Args:
        experiment: the experiment file.
        log: the log, in place of the one that the file names.
        out: the sweep's folder; `runs/NAME-sweep-ID` without one.
        resume: go on with what is there.
        hands: who does the runs, such as `xarb.Hands(workers=2)` or `xarb.Hands(ray="auto")`; one process for each core without it.
        settings: keys to override, such as `{"sweep.trials": 20, "sweep.parameters": {"strategies.cross.open_bps": [4, 6]}}`.

    Raises:
        ConfigError: the file, a key, a value that would be tried, or the log does not fit; the folder holds something else; there is no
            such cluster.
        LogError: the log is damaged, or another process works on the sweep.
        Refused: the decoded inputs do not fit on the disk.
    """
    from xarb.verbs.sweep import Hands, Plan, tables
    from xarb.verbs.sweep import sweep as run
    from xarb.verbs.sweep.table import frame

    plan = Plan(Path(experiment), _overrides(settings))
    found = run(plan, log=_path(log), out=_path(out), resume=resume, hands=hands or Hands(), advance=_silent)
    trials = pl.from_arrow(frame(found.rows, found.keys))
    assert isinstance(trials, pl.DataFrame)
    return Swept(_of_tables(tables(found)), found.folder, trials)


def check(experiment: Where, *, log: Where | None = None, settings: Mapping[str, object] | None = None) -> Answer:
    """What an experiment could trade on its log, and what keeps it from the rest; `ok` where every strategy has something to trade.

    Raises:
        ConfigError: it cannot run at all.
        LogError: the log is damaged.
    """
    from xarb.config import load_experiment
    from xarb.verbs.check import check as look

    found = look(load_experiment(Path(experiment), _overrides(settings)), log=_path(log))
    return Answer(_of_tables(found.tables), ok=bool(found.pairs) and not found.idle)


def verify(folder: Where, *, log: Where | None = None, since: str | None = None, cut: int | None = None) -> Answer:
    """Prove a run, or the starts of a live log, by replay; with `cut` also without what follows so many random inputs.

    Raises:
        ConfigError: nothing was decided there.
        LogError: it is damaged.
        Refused: the inputs were pruned, or the log is not the run's.
    """
    from xarb.verbs.lookahead import lookahead
    from xarb.verbs.verify import verify as prove

    proof = prove(Path(folder), log=_path(log), since=since, advance=_silent)
    if not proof.equal or cut is None:
        return Answer(_of_tables(proof.tables), ok=proof.equal)
    again = lookahead(Path(folder), cut, log=_path(log), advance=_silent)
    return Answer(_of_tables([*proof.tables, *again.tables]), ok=again.equal)


def query(logs: Where | Sequence[Where], sql: str) -> pl.DataFrame:
    """The result of one SQL statement over logs and runs.

    Raises:
        ConfigError: the statement fails, or there is no such log.
        LogError: a log is damaged.
    """
    import pyarrow as pa

    from xarb.sql import open_query

    paths = [logs] if isinstance(logs, Path | str) else list(logs)
    with open_query(paths) as opened:
        result = opened.run(sql, nanoseconds=True)
        table = pa.Table.from_batches(
            list(result.batches()), pa.schema([pa.field(str(n), one.type) for n, one in enumerate(result.schema)])
        )
        names = _unlike(result.columns)
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    return frame.rename(dict(zip(frame.columns, names, strict=True)))


def why(
    folder: Where,
    order: int | str | None = None,
    *,
    opportunity: int | None = None,
    start: int | None = None,
    log: Where | None = None,
) -> Answer:
    """The chain from an order, or an opportunity, back to the market events, what the strategy saw, and what became of it.

    Raises:
        ConfigError: there is no such order or opportunity, or it must be said of which start.
        LogError: the log is damaged.
        Refused: this code decides otherwise than the code of the run did.
    """
    from xarb.verbs.why import Question
    from xarb.verbs.why import why as explain

    question = Question(None if order is None else str(order), opportunity, start)
    return Answer(_of_sections(explain(Path(folder), question, log=_path(log))))


def at(folder: Where, seq: int, *, markets: Sequence[str] = (), depth: int = 5, log: Where | None = None) -> Answer:
    """Books, balances, open orders and bundles, feeds and breakers as the engine had them once an input was applied.

    Raises:
        ConfigError: there is no such input or instrument.
        LogError: the log is damaged.
        Refused: the inputs are gone or not sealed yet, or this code decides otherwise than the code of the run did.
    """
    from xarb.verbs.at import Markets
    from xarb.verbs.at import at as look

    return Answer(_of_sections(look(Path(folder), seq, Markets(markets, depth), log=_path(log), advance=_silent)))


class Branch(Run):
    """A finished branch: a run whose rows up to an input are those of what it branched from; `ok` where the others are too."""

    def __init__(self, tables: Mapping[str, pl.DataFrame], folder: Path, digest: str, *, ok: bool) -> None:
        super().__init__(tables, folder, digest)
        self.ok = ok


def branch(
    run: Where,
    seq: int,
    *,
    settings: Mapping[str, object] | None = None,
    off: Sequence[str] = (),
    log: Where | None = None,
    out: Where | None = None,
) -> Branch:
    """Go on from an input of a run with other parameters: `behind` has both sides beside each other.

    Args:
        run: the run's folder.
        seq: the last input that is decided on as it was.
        settings: keys to override behind it, such as `{"strategies.cross.min_profit_bps": 3}`.
        off: strategies that begin nothing more.
        log: the run's input log, where it does not lie where the run says.
        out: the branch's folder; `runs/branch-ID` without one.

    Raises:
        ConfigError: there is no such input or key, or the key cannot change in the midst of a run.
        LogError: the log is damaged.
        Refused: it is no backtest, the inputs are gone, or this code decides otherwise than the code of the run did.
    """
    from xarb.verbs.branch import Parameters
    from xarb.verbs.branch import branch as go_on

    parameters = Parameters(_overrides(settings), tuple(off))
    done = go_on(Path(run), seq, parameters, log=_path(log), out=_path(out), advance=_silent)
    return Branch(_of_tables(done.tables), done.folder, done.digest, ok=done.equal)


def diff(live: Where, backtest_run: Where, *, start: int | None = None, log: Where | None = None) -> Answer:
    """Where two runs or logs over one market part, each difference with its cause; `ok` where nothing differs.

    Raises:
        ConfigError: they are not over one market, or it must be said which start is meant.
        LogError: one is damaged.
    """
    from xarb.verbs.diff import diff as compare

    found = compare(Path(live), Path(backtest_run), log=_path(log), start=start)
    return Answer(_of_sections(found.sections), ok=found.equal)


def status(log: Where) -> Answer:
    """How live trading stands, from its log alone; `ok` where it runs, is armed and its feeds can be traded on.

    Raises:
        ConfigError: nobody has traded on it.
        LogError: it is damaged.
    """
    from xarb.verbs.status import status as look

    found = look(Path(log))
    return Answer(_of_sections(found.sections), ok=not found.troubles)


def report(
    folders: Where | Sequence[Where], out: Where, *, log: Where | None = None, start: int | None = None, trades: int = 500
) -> Answer:
    """Write one page to look at; `key_figures` is its first table. `ok` where every row of every run came again by replay.

    Args:
        folders: runs, and logs that were traded on.
        out: the file, which must not be there yet.
        log: the input log of the runs, where it does not lie where they say.
        start: which start of live logs; without one all, beside each other.
        trades: how many of each can be opened down to their quotes.

    Raises:
        ConfigError: wrong use, or the file cannot be written.
        LogError: one of them is damaged.
        Refused: inputs were pruned, or the log is not the run's.
    """
    from xarb.verbs.report import Wanted
    from xarb.verbs.report import report as write

    paths = [folders] if isinstance(folders, Path | str) else list(folders)
    made = write(Wanted([Path(one) for one in paths], _path(log), start, trades), Path(out), advance=_silent)
    return Answer(_of_tables([made.key_figures]), ok=made.proven)


def calibrate(
    logs: Where | Sequence[Where], out: Where, *, start: int | None = None, backtests: bool = True, least: int = 20
) -> Answer:
    """Learn from live logs how exchanges take orders, as a model file; `ok` where anything could be learnt and the file is written.

    Args:
        logs: logs that were traded on for real; of recordings the feed alone.
        out: the file, which must not be there yet.
        start: which start of each; without one all, together.
        backtests: whether each start is replayed without and with the model, beside what happened.
        least: observations without which nothing is fitted.

    Raises:
        ConfigError: wrong use, or the file cannot be written.
        LogError: a log is damaged.
        Refused: inputs were pruned.
    """
    from xarb.verbs.calibrate import Wanted
    from xarb.verbs.calibrate import calibrate as learn

    paths = [logs] if isinstance(logs, Path | str) else list(logs)
    found = learn(Wanted([Path(one) for one in paths], start, backtests, least), Path(out), advance=_silent)
    return Answer(_of_sections(found.sections), ok=found.is_learnt)


# --- what they share


def _silent(done: int, total: int, note: str = "") -> None:
    del done, total, note


def _path(where: Where | None) -> Path | None:
    return None if where is None else Path(where)


def _overrides(settings: Mapping[str, object] | None) -> dict[str, str]:
    """Values as `--set` takes them."""
    return {key: written(value) for key, value in (settings or {}).items()}


def _of_tables(tables: Sequence[Table]) -> dict[str, pl.DataFrame]:
    keys = _unlike([re.sub(r"[^a-z0-9]+", "_", one.title.partition(":")[0].partition("(")[0].lower()).strip("_") for one in tables])
    return {key: _frame(one.columns, one.rows) for key, one in zip(keys, tables, strict=True)}


def _of_sections(sections: Sequence[Section]) -> dict[str, pl.DataFrame]:
    return {one.key: _frame(one.columns, one.rows) for one in sections}


def _frame(columns: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> pl.DataFrame:
    names = _unlike([name or "mark" for name in columns])
    cells = list(zip(*rows, strict=True)) if rows else [()] * len(names)
    return pl.DataFrame([_series(name, values) for name, values in zip(names, cells, strict=True)])


def _series(name: str, values: Sequence[Any]) -> pl.Series:
    """A column in the type that all of its cells have."""
    there = [value for value in values if value is not None and value != "-"]
    texts = [value for value in there if isinstance(value, str)]
    if not texts:
        return pl.Series(name, [None if value == "-" else value for value in values])
    if len(texts) < len(there) or name.endswith("_id"):
        return pl.Series(name, [None if value is None else str(value) for value in values])
    if all(map(_NUMBER.fullmatch, texts)):
        scale = max(len(text.partition(".")[2]) for text in texts)
        if all(len(text.partition(".")[0].lstrip("-")) + scale <= _DIGITS for text in texts):
            kind = pl.Decimal(_DIGITS, scale)
            return pl.Series(name, [Decimal(value) if value in texts else None for value in values], dtype=kind)
    if all(map(_TIME.fullmatch, texts)):
        text = pl.Series(name, [None if value in (None, "-") else value[:-1] for value in values], dtype=pl.String)
        return text.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", time_unit="ns")
    return pl.Series(name, values, dtype=pl.String)


def _unlike(names: Sequence[str]) -> list[str]:
    """The names, made different where they are equal."""
    found: list[str] = []
    for name in names:
        number, made = 0, name
        while made in found:
            number += 1
            made = f"{name}_{number}"
        found.append(made)
    return found
