"""A run, or one start of a live log, opened as what it is: decisions, and the inputs that they were made on, which replay makes again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from xarb.assembly import Replay
from xarb.assembly.resolved import decode_config
from xarb.branches import replay_of
from xarb.errors import ConfigError, LogError, Refused
from xarb.inquiry.origin import find_log, open_log_of
from xarb.log.manifest import Header, Manifest
from xarb.log.reader import LogReader
from xarb.model.columns import INPUTS
from xarb.settings import ts_of
from xarb.sql.connection import Query, open_query
from xarb.sql.pick import Condition, pick, time_range
from xarb.starts import PAPER, Span, replay_of_start, spans_of

BATCH_ROWS: Final = 65_536  # a replay up to one decision reads at most so many rows too much
_ABOVE_ALL: Final = 2**62


class Decided:
    """A run with its input log, or one start of a live log. Use as a context manager.

    Attributes:
        folder: the run, or the live log.
        log: the folder of the inputs: the run's log, or the live log itself.
        outputs: SQL over what was decided.
        inputs: SQL over the inputs.
        span: the start; None of a run.
        resolved: the config.
        reports: the kind of the venues' reports, `sim_reports` or `reports`.
    """

    def __init__(self, folder: Path, log: Path, outputs: Query, *, header: Header, span: Span | None) -> None:
        self.folder = folder
        self.log = log
        self.outputs = outputs
        self.inputs = outputs if log == folder else open_query([log])
        self.span = span
        self._header = header
        config: Any = header.config if span is None else span.start.config
        self.resolved = decode_config(config)
        self.reports = "sim_reports" if span is None or span.start.mode == PAPER else "reports"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the files."""
        self.outputs.close()
        if self.inputs is not self.outputs:
            self.inputs.close()

    @property
    def title(self) -> str:
        """What it is, for a heading."""
        return f"{self.folder}" if self.span is None else f"{self.folder}, start {self.span.start.number} ({self.span.start.mode})"

    @property
    def code_digest(self) -> str | None:
        """The code that decided."""
        return self._header.code_digest if self.span is None else self.span.start.code_digest

    @property
    def number(self) -> int:
        """Number of the start, 1 of a run."""
        return 1 if self.span is None else self.span.start.number

    def rows(self, kind: str, *where: Condition, **more: Any) -> list[dict[str, Any]]:
        """Rows of a kind: outputs of this run or start, inputs up to its last one; as `pick`."""
        if kind in INPUTS:
            bound = [] if self.span is None else [("seq", "<=", self.span.last)]
            return pick(self.inputs, kind, *bound, *where, **more)
        return pick(self.outputs, kind, *self.bounds, *where, **more)

    @property
    def bounds(self) -> list[Condition]:
        """What the outputs of this run or start meet."""
        return [] if self.span is None else [("after_seq", ">=", self.span.first), ("after_seq", "<=", self.span.last)]

    def times(self) -> tuple[int, int]:
        """`ts_recv` of the first and the last input that were applied.

        Raises:
            LogError: the log has no inputs.
        """
        first = None if self.span is None else self.span.first
        last = None if self.span is None else self.span.last
        if self.span is None:
            summary = Manifest(self.folder).summary
            last = None if summary is None else summary.last_seq
        known = [self._end(kind, first, last) for kind in INPUTS]
        ends = [one for one in known if one is not None]
        if not ends:
            raise LogError(f"{self.log} has no inputs")
        times = min(one[0] for one in ends), max(one[1] for one in ends)
        run = self.resolved.run
        start = times[0] if run.start is None or self.span is not None else max(times[0], ts_of(run.start, "run.start"))
        return start, times[1]

    def _end(self, kind: str, first: int | None, last: int | None) -> tuple[int, int] | None:
        """`ts_recv` of the first and last row of a kind within a range of seq."""
        where: list[Condition] = [] if first is None else [("seq", ">=", first)]
        where += [] if last is None else [("seq", "<=", last)]
        return time_range(self.inputs, kind, *where)

    def replay(self, reader: LogReader, *, last: int | None = None, behind: int | None = None, cuts: Sequence[int] = ()) -> Replay:
        """What decides again what was decided.

        Args:
            reader: from `open_inputs`.
            last: the last input that is wanted; None is all.
            behind: of a start, the input of a checkpoint behind which it goes on.
            cuts: inputs at each of which a batch ends, in order.
        """
        if self.span is None:
            return replay_of(self._header, reader, rows=BATCH_ROWS, last=last, cuts=cuts)
        span = self.span if last is None else self.span._replace(last=min(last, self.span.last))
        return replay_of_start(reader, span, rows=BATCH_ROWS, behind=behind, cuts=cuts)

    def pruned(self) -> str | None:
        """Which of the inputs on which it was decided are gone, None when all are there.

        Raises:
            LogError: a file is damaged.
            Refused: the log is not the one that the run was made from.
        """
        with self.open_inputs() as reader:
            try:
                self.replay(reader)
            except Refused as error:
                return str(error)
        return None

    def open_inputs(self) -> LogReader:
        """The sealed inputs as they stood when the run was made, or as they stand now.

        Raises:
            LogError: a file is damaged.
            Refused: the log is not the one that the run was made from.
        """
        return LogReader(self.log) if self.span is not None else open_log_of(self._header, self.log)


def open_decided(folder: Path, *, log: Path | None = None, start: int | None = None, seq: int | None = None) -> Decided:
    """Open a run, or a start of a live log.

    Args:
        folder: the run or the live log.
        log: the run's input log, where it does not lie where the run says.
        start: which start of a live log; None is its only one.
        seq: an input that says which start is meant, where nothing else does.

    Raises:
        ConfigError: the folder is neither, the log is not found, or which start is meant must be said.
        LogError: it is damaged.
    """
    header = Manifest(folder).header
    outputs = open_query([folder])
    try:
        if header.kind == "run" and header.config is not None:
            if start not in (None, 1):
                raise ConfigError(f"{folder} is a run: it has no start {start}")
            return Decided(folder, find_log(folder, header.origin, log), outputs, header=header, span=None)
        return Decided(folder, folder, outputs, header=header, span=_chosen(folder, outputs, start, seq))
    except BaseException:  # an interrupt among them: nobody else would close it
        outputs.close()
        raise


def starts_in(query: Query) -> list[Span]:
    """The starts of a live log, those in its open tail too.

    Raises:
        LogError: a row cannot be read by this version.
    """
    return list(spans_of(pick(query, "starts"), pick(query, "operator"), last_seq=_ABOVE_ALL))


def _chosen(folder: Path, query: Query, start: int | None, seq: int | None) -> Span:
    found = starts_in(query)
    if not found:
        raise ConfigError(f"{folder} is a log without a start: nothing was decided on it")
    if start is None and seq is not None:
        start = next((one.start.number for one in found if one.first <= seq <= one.last), None)
        if start is None:
            raise ConfigError(f"{folder}: no start applied input {seq}")
    if start is None and len(found) > 1:
        raise ConfigError(f"{folder} has starts 1 to {found[-1].start.number}; say which with --start, or give a client order id")
    span = found[0] if start is None else next((one for one in found if one.start.number == start), None)
    if span is None:
        raise ConfigError(f"{folder} has no start {start}; there are 1 to {found[-1].start.number}")
    return span
