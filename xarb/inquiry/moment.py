"""What a strategy saw when it decided: its run or start is replayed up to that decision, and looked at while the strategy is asked.

Nothing is put together from rows: the same code runs on the same inputs, and the decision that comes out is compared with the recorded
one, so that what is shown is what was there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from xarb.assembly import Assembly, Replay
from xarb.assembly.wrapped import Wrapped
from xarb.engine.pool import Maths
from xarb.engine.strategy import (
    AtomicPlan,
    BestQuote,
    BundlePlan,
    CycleNote,
    Edge,
    FeedView,
    LeftOut,
    Plan,
    Strategy,
    SwapPlan,
    View,
    Wake,
)
from xarb.engine.view import StrategyView
from xarb.errors import Refused
from xarb.inquiry.decided import Decided
from xarb.model.command import SubmitOrder
from xarb.model.event import OutputRow, output_row
from xarb.model.instrument import Instrument
from xarb.pools.financing import Loan
from xarb.replay import Rows, replay

DEPTH: Final = 10
Key = tuple[str, str]  # venue, symbol


class PoolSeen(NamedTuple):
    """A pool as it stood: None while it is not known; `block`: the number of the one that it is as of."""

    maths: Maths | None
    block: int | None


class Seen(NamedTuple):
    """An instrument, by its number, as it stood: quote, levels (price, quantity; best first) and feed; integers at the scales of `instrument`.

    `pool` is of pools alone, which have no quote and no levels.
    """

    number: int
    instrument: Instrument
    quote: BestQuote
    bids: list[tuple[int, int | None]]
    asks: list[tuple[int, int | None]]
    feed: FeedView
    pool: PoolSeen | None


class Moment(NamedTuple):
    """What could be seen at one moment.

    Attributes:
        after_seq: the last input applied before it.
        ts: engine time, ns.
        wake: why the strategy was called; None when execution acted by itself.
        edge: the episode that the wake is about.
        seen: the instruments concerned.
        free: what the strategy could spend: (venue, asset, money).
        open_bundles: open bundles of the strategy.
        edges: open episodes of the strategy.
        plan: what the strategy asked for; None when execution acted by itself.
        loans: who lends the tokens concerned: (venue, token, loan).
    """

    after_seq: int
    ts: int
    wake: str | None
    edge: Edge | None
    seen: list[Seen]
    free: list[tuple[str, str, int]]
    open_bundles: int
    edges: int
    plan: Plan | None
    loans: list[tuple[str, str, Loan]]


class Wanted(NamedTuple):
    """Which decisions to look at.

    Attributes:
        strategy: whose they are.
        opportunity: the episode that they are about.
        decisions: how many the record has of it, up to the last that is wanted.
        order: the order up to whose command the replay goes; None ends it after the last decision.
        instruments: what to look at, beside the legs of what was planned.
    """

    strategy: str
    opportunity: int | None
    decisions: int
    order: int | None
    instruments: tuple[Key, ...]


class Witness(NamedTuple):
    """What was seen: at each decision on the opportunity in order, and right after the order was sent."""

    decisions: list[Moment]
    sending: Moment | None


class _Reached(Exception):  # no error: it ends the replay
    pass


class Watching(Assembly):
    """An assembly that is told of what strategies decide on opportunities, before anything of it is carried out."""

    def __init__(self, how: Replay) -> None:
        self.watched: list[Strategy] = []
        super().__init__(how.resolved, how.ground)

    def strategies(self, rates: Mapping[tuple[str, str, str], int]) -> Sequence[Strategy]:
        """The config's strategies, watched."""
        self.watched = [_Watched(one, self) for one in super().strategies(rates)]
        return self.watched

    def check(self) -> None:
        """A strategy is going to be asked."""

    def planned(self, of: tuple[str, int], wake: Wake, view: View, plan: Plan) -> None:
        """A strategy made a plan on an opportunity; `of` are its id and the opportunity's number."""


class _Watched(Wrapped):
    """A strategy that is looked at while it decides."""

    def __init__(self, inner: Strategy, watching: Watching) -> None:
        super().__init__(inner)
        self._watching = watching

    def on_wake(self, wake: Wake, view: View) -> Sequence[Plan]:
        """As the strategy says; nothing was carried out yet when it is looked at."""
        self._watching.check()
        plans = self._inner.on_wake(wake, view)
        cycles, begun = self._watching.engine.cycles, dict[int, int]()
        for plan in plans:
            if isinstance(plan, CycleNote):
                if plan.phase == "opened":
                    begun[plan.cycle.number] = cycles.count + len(begun) + 1
                continue
            if isinstance(plan, LeftOut):
                continue
            opportunity = None if isinstance(plan, AtomicPlan | SwapPlan) else plan.opportunity
            if plan.cycle is not None:
                opportunity = begun.get(plan.cycle.number) or cycles.opportunity(self.id, plan.cycle)
            if opportunity is not None:
                self._watching.planned((self.id, opportunity), wake, view, plan)
        return plans


class _UpTo(Watching):
    """An assembly that looks at the decisions that are wanted, and ends the replay after them."""

    def __init__(self, how: Replay, wanted: Wanted) -> None:
        self.wanted = wanted
        self.decisions: list[Moment] = []
        self.sending: Moment | None = None
        super().__init__(how)

    def note_marks(self) -> None:
        """Commands wait: nothing was applied since they were decided."""
        super().note_marks()
        order = self.wanted.order
        if order is not None and any(isinstance(one, SubmitOrder) and one.order == order for one in self.engine.commands):
            number = next(at for at, one in enumerate(self.watched) if one.id == self.wanted.strategy)
            view = StrategyView(self.engine, self.watched[number], number)
            self.sending = self._look(view, None, self.decisions[-1].plan if self.decisions else None)._replace(plan=None)
            raise _Reached

    def check(self) -> None:
        """End the replay once everything wanted was seen."""
        if self.wanted.order is None and len(self.decisions) >= self.wanted.decisions:
            raise _Reached

    def planned(self, of: tuple[str, int], wake: Wake, view: View, plan: Plan) -> None:
        """Looked at if it is on the opportunity that is wanted."""
        if of == (self.wanted.strategy, self.wanted.opportunity):
            self.decisions.append(self._look(view, wake, plan))

    def _look(self, view: View, wake: Wake | None, plan: Plan | None) -> Moment:
        return look(view, wake, plan, instruments=self.wanted.instruments, after_seq=self.engine.position)


def look(view: View, wake: Wake | None, plan: Plan | None, *, instruments: Sequence[Key], after_seq: int) -> Moment:
    """What can be seen now: of the instruments named, and of those of the plan's legs."""
    numbers = {(one.venue, one.symbol): number for number, one in enumerate(view.instruments)}
    shown = [numbers[key] for key in instruments if key in numbers]
    if isinstance(plan, BundlePlan):
        shown += [leg.instrument for leg in plan.legs if leg.instrument not in shown]
    seen = [
        Seen(
            one,
            view.instruments[one],
            view.quote(one),
            view.levels(one, "bid", DEPTH),
            view.levels(one, "ask", DEPTH),
            view.feed(one),
            _pool(view, one),
        )
        for one in shown
    ]
    assets = sorted({(one.instrument.venue, asset) for one in seen for asset in (one.instrument.base, one.instrument.quote)})
    return Moment(
        after_seq=after_seq,
        ts=view.now,
        wake=None if wake is None else wake.kind,
        edge=None if wake is None else wake.edge,
        seen=seen,
        free=[(venue, asset, view.free(venue, asset)) for venue, asset in assets],
        open_bundles=view.open_bundles(),
        edges=len(view.edges()),
        plan=plan,
        loans=[(venue, asset, loan) for venue, asset in assets for loan in view.loans(venue, asset)],
    )


def _pool(view: View, number: int) -> PoolSeen | None:
    one = view.instruments[number]
    if one.kind != "pool":
        return None
    block = view.block(one.venue)
    return PoolSeen(view.pool(number), None if block is None else block.number)


def witness(decided: Decided, wanted: Wanted, recorded: Sequence[tuple[str, Mapping[str, Any]]]) -> Witness:
    """Replay up to the decisions that are wanted.

    Args:
        decided: the run or start.
        wanted: which decisions.
        recorded: output rows (kind, values) that the replay must give again.

    Raises:
        LogError: a file is damaged.
        Refused: a row does not come again: this code decides otherwise than the code of the run did.
    """
    expected = [output_row(*one) for one in recorded]
    places = {row[:3] for row in expected}
    found: list[OutputRow] = []

    def keep(rows: Rows) -> None:
        found.extend(row for row in rows if row[:3] in places)

    with decided.open_inputs() as reader:
        how = decided.replay(reader)
        watching = _UpTo(how, wanted)
        last = max((row[1] for row in expected), default=-1)
        try:
            replay(watching, how.batches, keep, reached=lambda seq: _stop_after(last, seq))
        except _Reached:
            keep(watching.engine.outputs.drain())
    _check_equal(expected, found)
    return Witness(watching.decisions[: wanted.decisions], watching.sending)


def _stop_after(last: int, seq: int) -> None:
    """What was decided after input `last` is known once a later input was applied."""
    if seq > last:
        raise _Reached


def _check_equal(expected: Iterable[OutputRow], found: Sequence[OutputRow]) -> None:
    for row in expected:
        if row not in found:
            raise Refused(
                f"the replay does not give the row of {row[0]} after seq {row[1]}, number {row[2]}: what was seen cannot be shown; "
                "xarb verify says where this code decides otherwise"
            )
