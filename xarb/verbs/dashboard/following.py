"""A run or a start of a live log decided again as it grows: engine and venues as they stand, and what the recorded rows come to.

Figures are folded from the recorded rows, by the summary and the curve that `xarb report` has. The same inputs go through an engine of our own, whose rows
are compared with the recorded ones: its books give the last mids, and its state what is known now. Where a row does not come again the recorded rows stand
alone, valued at the last fills, as in a report.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any, Final

from xarb.assembly import Assembly, Replay
from xarb.checkpoint import restore
from xarb.console import Advance
from xarb.errors import LogError, Refused
from xarb.inquiry.decided import BATCH_ROWS, Decided
from xarb.inquiry.rewound import checkpoint_before
from xarb.log.checkpoints import Checkpoint
from xarb.log.openreader import OpenReader
from xarb.log.reader import LogReader, Selection
from xarb.model.batch import Batch
from xarb.model.columns import INPUTS
from xarb.model.event import OutputRow, named, output_row
from xarb.provenance import code_digest
from xarb.replay import turn
from xarb.starts import Span, ground_of, spans_of
from xarb.summary import summary_of
from xarb.summary.ratios import Period
from xarb.verbs.report.replayed import Course, Prices

REFUSALS: Final = 30  # the last ones that are kept
_SPARE: Final = 64  # connection numbers beyond those that are known: a feed that is opened anew gets another one
_SECOND: Final = Period(1, "second")
_ABOVE_ALL: Final = 2**62


class Begun(Exception):  # no error: another start began, or the log must be opened in another way
    """All is to be opened again."""


class Following:
    """What is known of a run or start, as of the last `look`.

    Args:
        decided: it.
        advance: told how far the first look is.

    Attributes:
        assembly: engine and venues, as of the last input where `doubt` is None.
        course: the summary of the recorded rows, and the curves.
        doubt: why the engine is not trusted, None while every row came again.
        position: the last input that was applied, -1 before the first.
        ends: `ts_recv` of that input, ns.
        rows: how many rows came again.
        since: the input of the checkpoint from which it was replayed; None is from the first one on.
        refusals: the last ones by column name, the newest last.

    Raises:
        ConfigError: the parts do not fit together, or the code of a user's strategy was not named.
        LogError: a file is damaged.
        Refused: inputs of a run were pruned, or its log is another one.
    """

    def __init__(self, decided: Decided, advance: Advance) -> None:
        self.decided = decided
        self.doubt: str | None = None
        self.rows = 0
        self.refusals: deque[dict[str, Any]] = deque(maxlen=REFUSALS)
        self._replayed: deque[OutputRow] = deque()
        self._recorded: deque[OutputRow] = deque()
        self._place = (-1, -1)  # of the last recorded row that was taken
        self._held: list[OutputRow] = []  # of the last moment, to which more may belong
        self._open = None if decided.span is None else OpenReader(decided.log)
        self._inputs: LogReader = self._open or decided.open_inputs()
        self._outputs: LogReader = self._open or LogReader(decided.folder)
        self._seen = None if self._open is None else self._acts(self._open)
        self._whole = -1  # all outputs of inputs up to that one were taken
        found = self._checkpoint()
        self.since = None if found is None else found.seq
        self._proven_from = (-1, -1) if found is None else (found.seq, found.n)
        self.position = -1 if decided.span is None else decided.span.first - 1
        if found is not None:
            self.position = found.seq
        how = self._how()
        self._connections = how.ground.connections
        self.assembly = Assembly(how.resolved, how.ground)
        if found is not None:
            restore(self.assembly, found.state)
        self._prices = Prices(self.assembly)
        begins, self.ends = decided.times()
        self.course = Course(summary_of(self.assembly, self._mark), begins, self.ends, _SECOND)
        self._fold(how.batches, advance)

    def close(self) -> None:
        """Let go of the files."""
        self._inputs.close()
        self._outputs.close()

    def look(self, advance: Advance) -> bool:
        """Take what came since; whether anything did.

        Raises:
            Begun: another start began.
            LogError: the log is damaged.
        """
        if self._open is None or not self._open.refresh():
            self._show(all_of_it=True)
            return False
        before = self.decided.span
        assert before is not None
        acts = self._acts(self._open)
        span = before if acts == self._seen else self._last_span(self._open)
        self._seen = acts
        was_sealed = self.decided.outputs.sources[0].tail is None  # when it was opened, and now it goes on
        if was_sealed or span.first != before.first or self._open.connections > self._connections:
            raise Begun
        self.decided.span = span
        self._fold(self._batches() if self.doubt is None else iter(()), advance)
        return True

    def _acts(self, reader: OpenReader) -> tuple[str, int, int]:
        """What is another one where a start began or ended."""
        return reader.digest, reader.unsealed.get("starts", 0), reader.unsealed.get("operator", 0)

    def _last_span(self, reader: OpenReader) -> Span:
        found = spans_of(list(reader.rows("starts")), list(reader.rows("operator")), last_seq=_ABOVE_ALL)
        return list(found)[-1]

    def _mark(self, asset: str, currency: str) -> int | None:
        """The last mid, or the price of the last fill where the engine is not trusted."""
        return self.assembly.mark(asset, currency) if self.doubt is None else self._prices.mark(asset, currency)

    # --- the beginning

    def _checkpoint(self) -> Checkpoint | None:
        """The newest one that this code made, if it can be read; a log is whole without them."""
        try:
            return checkpoint_before(self.decided, self._inputs.manifest.last)
        except LogError:
            return None

    def _how(self) -> Replay:
        decided = self.decided
        if decided.span is None:
            return decided.replay(self._inputs)
        reader = self._inputs
        ground = ground_of(decided.span.start, reader.known_at(decided.span.first), reader.connections + _SPARE)
        try:
            batches = self._batches()
        except Refused as error:  # inputs were pruned, and no checkpoint is of this code
            self._distrust(str(error))
            batches = iter(())
        return Replay(decided.resolved, ground, batches)

    def _batches(self) -> Iterator[Batch]:
        """The inputs that were not applied yet."""
        assert self.decided.span is not None
        select = Selection(first_seq=self.position + 1, last_seq=self.decided.span.last)
        return self._inputs.batches(kinds=INPUTS, rows=BATCH_ROWS, select=select)

    # --- the fold

    def _fold(self, batches: Iterator[Batch], advance: Advance) -> None:
        recorded, last = _Ahead(self._new_rows()), self._inputs.last_seq
        for batch in batches:
            turn(self.assembly, batch)
            self._replayed.extend(self.assembly.engine.outputs.drain())
            self.position, self.ends = batch.last_seq, self.assembly.engine.now
            self._compare()  # deadlines after the input before fire with this one, and were recorded as after that
            self._take(recorded.until(self.position))
            advance(min(self.position, last), last)
            if self.doubt is not None:
                break
        while rows := recorded.some():
            self._take(rows)
        span = self.decided.span
        is_over = span is None or span.last <= last
        if self.doubt is not None:  # the engine stands still where it was
            self.position = last if span is None else min(last, span.last)
            self.ends = self._open.last_ts if self._open is not None and not is_over else self.decided.times()[1]
        self._whole = self._outputs.manifest.last
        if (span is None or span.last <= self._whole) and (self._recorded or self._replayed):
            self._differs()
        self._show(all_of_it=is_over)

    def _new_rows(self) -> Iterator[OutputRow]:
        """The recorded rows that were not taken yet."""
        span, place = self.decided.span, self._place
        first = None if span is None else max(span.first, place[0], self._whole + 1)
        last = None if span is None else span.last
        for kind, row in self._outputs.outputs(select=Selection(first_seq=first, last_seq=last)):
            if (row["after_seq"], row["n"]) > place:
                yield output_row(kind, row)

    def _take(self, rows: list[OutputRow]) -> None:
        if not rows:
            return
        self._place = rows[-1][1], rows[-1][2]
        self._held += rows
        if self.doubt is None:
            self._recorded.extend(row for row in rows if (row[1], row[2]) >= self._proven_from)
            self._compare()
        self._show(all_of_it=False)

    def _show(self, *, all_of_it: bool) -> None:
        """Count what was recorded, but for a moment that goes on with the next input, which the curve must not have in two parts."""
        rows = self._held if all_of_it else [row for row in self._held if row[3] < self.ends]
        if rows:
            self._held = self._held[len(rows) :]
            self._prices.take(rows)
            self.course.reach(rows[-1][3])
            self.course.take(rows)
            self.refusals.extend(named(row) for row in rows if row[0] == "refusals")

    def _compare(self) -> None:
        """Rows of both sides, as far as both have any: what is decided is written right behind its inputs."""
        recorded, replayed = self._recorded, self._replayed
        while recorded and replayed:
            if recorded[0] != replayed[0]:
                self._differs()
                return
            recorded.popleft()
            replayed.popleft()
            self.rows += 1

    def _differs(self) -> None:
        code = "other code than this" if self.decided.code_digest != code_digest() else "this code"
        self._distrust(f"decided by {code}, and the replay differs after {self.rows} rows (see xarb verify)")

    def _distrust(self, why: str) -> None:
        self.doubt = why
        self._recorded.clear()
        self._replayed.clear()


class _Ahead:
    """Rows that are taken up to an input, one held back."""

    def __init__(self, rows: Iterator[OutputRow]) -> None:
        self._rows = rows
        self._next = next(rows, None)

    def until(self, seq: int) -> list[OutputRow]:
        """Those after inputs up to that one."""
        found: list[OutputRow] = []
        while self._next is not None and self._next[1] <= seq:
            found.append(self._next)
            self._next = next(self._rows, None)
        return found

    def some(self) -> list[OutputRow]:
        """The next ones, BATCH_ROWS at most."""
        found: list[OutputRow] = []
        while self._next is not None and len(found) < BATCH_ROWS:
            found.append(self._next)
            self._next = next(self._rows, None)
        return found
