"""A run or start decided again: its summary as the backtest prints it, the curve of its PnL, and what strategies saw at chosen decisions."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Final, NamedTuple

from xarb.assembly import Assembly, Replay
from xarb.console import Advance, Table
from xarb.engine.strategy import Pass, Plan, View, Wake
from xarb.inquiry.comparison import Comparison, Differs
from xarb.inquiry.decided import Decided
from xarb.inquiry.moment import Key, Moment, Watching, look
from xarb.log.reader import LogReader, Selection
from xarb.model.event import OutputRow, output_row
from xarb.model.units import MONEY_ONE
from xarb.provenance import code_digest
from xarb.replay import Rows, replay
from xarb.summary import Summary, accounts_of, summary_of
from xarb.summary.curve import Curve
from xarb.summary.ratios import Period, period_of

_READ_ROWS: Final = 65_536
_MOVES_MONEY: Final = ("fills", "cycle_states")
Of = tuple[str, int]  # strategy and opportunity
Place = tuple[int, str, int]  # after_seq, strategy, opportunity


class Replayed(NamedTuple):
    """What came of it.

    Attributes:
        summary: as of the end; its `total` and `worth` value flows.
        tables: summary, accounts, doubtful marks and assumptions, as `xarb backtest` prints them.
        curves: by currency.
        period: how often changes are looked at.
        begins, ends: `ts_recv` of the first and last input, ns.
        moments: what was seen at the decisions that were wanted.
        assets: base and quote asset of (venue, symbol).
        alike: by address of a token the asset as which it counts.
        opening: balances at first, by (account, venue, asset), money.
        proof: in words, how the rows and the marks came about.
        equal: whether every row came again.
    """

    summary: Summary
    tables: list[Table]
    curves: dict[str, Curve]
    period: Period
    begins: int
    ends: int
    moments: dict[Place, Moment]
    assets: Mapping[tuple[str, str], tuple[str, str]]
    alike: Mapping[str, str]
    opening: Mapping[tuple[str, str, str], int]
    proof: str
    equal: bool


Choose = Callable[[Assembly], Mapping[Of, Sequence[Key]]]


def replayed(decided: Decided, choose: Choose, advance: Advance) -> Replayed:
    """Decide a run or start again and compare every row with the recorded one.

    Where this code decides otherwise than the code of the run, the recorded rows stand, valued at the prices of the last fills.

    Args:
        decided: the run or start.
        choose: which opportunities' decisions are to be looked at, with the instruments concerned, given what will decide again.
        advance: told how far the replay is.

    Raises:
        LogError: a file is damaged.
        Refused: the inputs were pruned, or the log is not the run's.
    """
    begins, ends = decided.times()
    with decided.open_inputs() as reader, LogReader(decided.folder) as recorded:
        onlooker = _Onlooker(decided.replay(reader))
        onlooker.of_interest = choose(onlooker)
        course = Course(summary_of(onlooker), begins, ends)
        comparison = Comparison(recorded.outputs(select=_outputs(decided)))

        def keep(rows: Rows) -> None:
            comparison.take(rows)
            course.take(rows)

        last = reader.last_seq
        try:
            replay(onlooker, onlooker.batches, keep, reached=lambda seq: advance(seq, last))
            comparison.finish()
        except Differs:
            pass
        if comparison.difference is None:
            course.finish()
            tables = [*course.summary.tables(), accounts_of(onlooker), onlooker.doubtful_marks(), onlooker.assumptions()]
            proof = f"all {comparison.rows} rows came again from the inputs; valued at the last mids"
            return _made(course, onlooker, [one for one in tables if one.rows], proof, equal=True)
        how = decided.replay(reader)
        fresh = Assembly(how.resolved, how.ground)
        prices = Prices(fresh)
        course = Course(summary_of(fresh, prices.mark), begins, ends)
        for rows in _in_parts(recorded, decided):
            prices.take(rows)
            course.take(rows)
        course.finish()
        code = "other code than this" if decided.code_digest != code_digest() else "this code"
        proof = f"decided by {code}, and the replay differs after {comparison.rows} rows (see xarb verify): recorded rows, valued at the last fills"
        return _made(course, onlooker, [*course.summary.tables(), fresh.assumptions()], proof, equal=False)


def _made(course: Course, onlooker: _Onlooker, tables: list[Table], proof: str, *, equal: bool) -> Replayed:
    return Replayed(
        summary=course.summary,
        tables=tables,
        curves=course.curves,
        period=course.period,
        begins=course.begins,
        ends=course.ends,
        moments=onlooker.moments,
        assets=onlooker.assets,
        alike=onlooker.alike,
        opening=onlooker.opening,
        proof=proof,
        equal=equal,
    )


def _outputs(decided: Decided) -> Selection:
    span = decided.span
    return Selection() if span is None else span.selection


class _Onlooker(Watching):
    """An assembly that keeps what was seen at the decisions that are wanted, where something was planned."""

    def __init__(self, how: Replay) -> None:
        self.batches = how.batches
        self.moments: dict[Place, Moment] = {}
        self.of_interest: Mapping[Of, Sequence[Key]] = {}
        super().__init__(how)

    def planned(self, of: Of, wake: Wake, view: View, plan: Plan) -> None:
        """Looked at if it is wanted."""
        instruments = self.of_interest.get(of)
        if instruments is not None and not isinstance(plan, Pass):
            seq = self.engine.position
            self.moments[seq, *of] = look(view, wake, plan, instruments=instruments, after_seq=seq)


class Course:
    """The summary moment by moment, with the curve of each currency."""

    def __init__(self, summary: Summary, begins: int, ends: int, period: Period | None = None) -> None:
        self.summary = summary
        self.begins, self.ends = begins, ends
        self.period = period or period_of(ends - begins)
        self.curves = {currency: Curve(begins, ends, self.period) for currency in summary.equity}

    def reach(self, ends: int) -> None:
        """Have it go on to a later end, ns, at least."""
        if ends > self.ends:
            self.ends = max(ends, 2 * self.ends - self.begins)
            self.curves = {currency: curve.until(self.ends, self.period) for currency, curve in self.curves.items()}

    def take(self, rows: Sequence[OutputRow]) -> None:
        """Rows in their one order; the curve has a point for each moment in which money moved and could be valued."""
        for ts, group in groupby(rows, key=_ts):
            part = list(group)
            moved = any(row[0] in _MOVES_MONEY for row in part)
            missed = [equity.missed for equity in self.summary.equity.values()] if moved else []
            self.summary.take(part)
            if moved:
                self._follow(ts, missed)

    def _follow(self, ts: int, missed: Collection[int]) -> None:
        for (currency, equity), before in zip(self.summary.equity.items(), missed, strict=True):
            if equity.missed == before and equity.last is not None:
                self.curves[currency].take(ts, equity.last)

    def now(self, ts: int, *, points: int) -> dict[str, Curve]:
        """The curves if all ended at `ts` ns, the summary having ended: with the period of that time, and fewer points to draw."""
        made = {currency: curve.until(ts, period_of(ts - self.begins), points=points) for currency, curve in self.curves.items()}
        for currency, equity in self.summary.equity.items():
            if equity.last is not None:
                made[currency].take(ts, equity.last)
        return made

    def finish(self) -> None:
        """The end: every change at the last marks."""
        self.summary.finish()
        for currency, equity in self.summary.equity.items():
            if equity.last is not None:
                self.curves[currency].take(self.ends, equity.last)


def _ts(row: OutputRow) -> int:
    ts: int = row[3]
    return ts


class Prices:
    """Marks from recorded fills, for what cannot be replayed: the price of the last one in each asset and currency."""

    def __init__(self, assembly: Assembly) -> None:
        self._assembly = assembly
        self._last: dict[tuple[str, str], int] = {}

    def take(self, rows: Sequence[OutputRow]) -> None:
        """Rows in their one order."""
        for row in rows:
            if row[0] == "fills":
                self._last[self._assembly.assets[row[6], row[7]]] = row[13]

    def mark(self, asset: str, currency: str) -> int | None:
        """Money for one unit of an asset, None before a fill of both."""
        alike = self._assembly.alike
        asset, currency = str(alike.get(asset, asset)), str(alike.get(currency, currency))
        return MONEY_ONE if asset == currency else self._last.get((asset, currency))


def _in_parts(recorded: LogReader, decided: Decided) -> Iterator[list[OutputRow]]:
    part: list[OutputRow] = []
    for kind, row in recorded.outputs(select=_outputs(decided)):
        part.append(output_row(kind, row))
        if len(part) == _READ_ROWS:
            yield part
            part = []
    yield part
