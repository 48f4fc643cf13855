"""The engine: a fold over inputs that decides. The same object runs a recorded log and a live one.

The driver loads batches, calls `run`, carries commands to venues and reports back. The engine never waits and reads no clock.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from struct import Struct
from typing import Final

import msgspec

from xarb.engine.captured import DecisionsCopy, EngineCopy
from xarb.engine.chains import KINDS as CHAIN_KINDS
from xarb.engine.chains import Chains
from xarb.engine.cycle_rows import receipt_row
from xarb.engine.cycles import Cycles
from xarb.engine.discrepancy import DISCREPANCY, Discrepancies, Discrepancy, read_discrepancy
from xarb.engine.episodes import Episodes
from xarb.engine.execution import Execution
from xarb.engine.feechange import FEE, read_fee
from xarb.engine.kernel import fold, state
from xarb.engine.kernel.compiled import machine_code
from xarb.engine.liverows import KINDS, LiveRows, timers_wanted
from xarb.engine.market import KnownMarket
from xarb.engine.onchain import OnChain
from xarb.engine.others import Others, Strangers
from xarb.engine.outputs import Outputs
from xarb.engine.portfolio import Portfolio
from xarb.engine.receipts import KINDS as ONCHAIN_KINDS
from xarb.engine.relaid import lay_parameters, parameters
from xarb.engine.risk import Risk
from xarb.engine.setup import Setup, build_state, lay_mid_units
from xarb.engine.slowrows import PLACE, SlowRows
from xarb.engine.strategy import AtomicPlan, BundlePlan, CycleFound, CycleNote, LeftOut, Pass, Plan, Strategy, SwapPlan, View, Wake
from xarb.engine.view import StrategyView
from xarb.engine.words import place, words
from xarb.errors import ConfigError, InvariantBroken, LogError
from xarb.model.batch import Batch
from xarb.model.command import AnyCommand, CycleReport, Report
from xarb.model.event import SlowRow
from xarb.model.instrument import Instrument
from xarb.model.order import ENTRIES
from xarb.model.units import MONEY_ONE, NEVER

# Words of the kernel's records.
_NOW, _LAST_SEQ, _QUIET, _OUTS, _WAKES, _WAKE_COUNT, _STOP_TS, _STOP_INCLUSIVE, _NEXT_DEADLINE, _NEXT_TIMER, _NEXT_EVENT = (
    place(state.WORLD, name)
    for name in (
        "now",
        "last_seq",
        "quiet",
        "outs",
        "wakes",
        "wake_count",
        "stop_ts",
        "stop_inclusive",
        "next_deadline",
        "next_timer",
        "next_event",
    )
)
_STOPPED_FOR: Final = place(state.WORLD, "stopped_for")
_EVENT: Final = fold.EVENT
OnWake = Callable[[Wake, View], Sequence[Plan]]
_wakes_in = Struct(f"={state.WAKE_WIDTH}q").iter_unpack


class Stop(Enum):
    """Why `Engine.run` returned."""

    END = "the batch is used up"
    COMMANDS = "commands wait to be taken"
    UNTIL = "the next input is later than `until`"


class Engine:
    """Folds inputs into outputs and commands.

    Args:
        setup: instruments, limits, fees and opening balances.
        strategies: whose ids are unique; they are called in id order.

    Raises:
        ConfigError: two strategies have one id, a strategy has no terms, or pairs cannot be compared.
    """

    def __init__(self, setup: Setup, strategies: Sequence[Strategy]) -> None:
        self.instruments: list[Instrument] = list(setup.instruments)
        self.setup = setup
        self._strategies = sorted(strategies, key=lambda s: s.id)
        ids = [strategy.id for strategy in self._strategies]
        if len(set(ids)) < len(ids):
            raise ConfigError(f"strategy ids must be unique: {', '.join(ids)}")
        self._kernel, pairs = build_state(setup, self._strategies)
        lay_mid_units(self._kernel, setup.groups, self.instruments)
        self._world = words(self._kernel.block)
        self.market = KnownMarket(self._kernel, self.instruments)
        self.episodes = Episodes(self._kernel)
        self._woken = words(self._kernel.tables[state.WAKES])
        self._handle = self._kernel.handle
        self._step = machine_code(fold.run)
        self.outputs = Outputs(self._kernel, self.instruments)
        self.outputs.pairs = pairs
        self.cycles = Cycles(self._kernel, self.outputs, self.instruments)
        self.commands: list[AnyCommand] = []
        self.portfolio = Portfolio(self.outputs, setup.opening, setup.terms, setup.flows)
        risk = Risk(self.market, self.portfolio, setup, self._strategies, outputs=self.outputs)
        self.execution = Execution(self.market, self.outputs, self.portfolio, risk=risk, setup=setup)
        self._risk = risk
        self._live_rows = LiveRows(self.execution, risk, self.instruments, self._strategies, start=setup.start)
        self.chains = Chains(
            self.instruments,
            setup.heads,
            self.outputs.emit,
            loans={venue: terms.loans for venue, terms in setup.chains.items()},
        )
        self.onchain = OnChain(self.market, self.chains, self.outputs, execution=self.execution, risk=risk, setup=setup)
        self._discrepancies = Discrepancies(self.portfolio, self.outputs, risk.pricing, setup=setup)
        self._others = Others(self.market, self.outputs, risk.pricing, setup=setup)
        self.distrust: Discrepancy | Strangers | None = None  # what showed last that somebody else moves too much of our money
        self._slow_rows = SlowRows(
            self._kernel, self.instruments, setup.groups, pairs=pairs, risk=risk, changed=self.execution.follow
        )
        self._books_open = False
        self._batch: Batch | None = None
        self._slow_at = 0
        self._own_reports = {s.id: number for number, s in enumerate(self._strategies) if s.wakes().own_reports}
        self._on_blocks = [(number, s.wakes().blocks) for number, s in enumerate(self._strategies) if s.wakes().blocks]
        self._by_id = {s.id: number for number, s in enumerate(self._strategies)}
        views: list[View] = [StrategyView(self, s, number) for number, s in enumerate(self._strategies)]
        self._calls: list[tuple[OnWake, View]] = [(s.on_wake, view) for s, view in zip(self._strategies, views, strict=True)]
        self._events = {  # whom to call for which instrument, by what the fold returns
            fold.EVENT * (instrument + 1) + number: (s.on_wake, views[number], number, instrument)
            for number, s in enumerate(self._strategies)
            for instrument in s.wakes().every_event
        }

    # --- its whole state

    def capture(self) -> EngineCopy:
        """All that decides later outputs, between two batches.

        Raises:
            InvariantBroken: commands or rows were not taken yet.
        """
        if self.commands or self.outputs.waiting or self._world[_WAKES]:
            raise InvariantBroken("the engine's state is whole only once its commands and rows were taken")
        return EngineCopy(self._kernel.capture(), self.decisions())

    def decisions(self) -> DecisionsCopy:
        """What of it is not the kernel's, as it stands."""
        return DecisionsCopy(
            instruments=[*self.instruments],
            books_open=self._books_open,
            portfolio=self.portfolio.capture(),
            risk=self._risk.capture(),
            execution=self.execution.capture(),
            cycles=self.cycles.capture(),
            strategies={one.id: msgspec.Raw(msgspec.json.encode(one.state)) for one in self._strategies},
            chains=self.chains.capture(),
            onchain=self.onchain.capture(),
            others=self._others.capture(),
        )

    def restore(self, copy: EngineCopy) -> None:
        """Go on where a copy was taken; this engine is of the same setup, and has applied nothing.

        Raises:
            InvariantBroken: it has applied inputs.
            LogError: the copy is of another setup.
        """
        if self.position >= 0:
            raise InvariantBroken(f"this engine has applied inputs up to {self.position} already")
        decisions = copy.decisions
        if [one.id for one in decisions.instruments] != [one.id for one in self.instruments] or {*decisions.strategies} != {
            *self._by_id
        }:
            raise LogError("the instruments or the strategies of the checkpoint are not those of this engine")
        self._kernel.restore(copy.memory)
        self.instruments[:] = decisions.instruments
        self._books_open = decisions.books_open
        self.portfolio.restore(decisions.portfolio)
        self._risk.restore(decisions.risk)
        self.execution.restore(decisions.execution)
        self.chains.restore(decisions.chains)
        self.onchain.restore(decisions.onchain)
        self._others.restore(decisions.others)
        self.cycles.restore(decisions.cycles)
        for strategy in self._strategies:
            state = msgspec.json.decode(decisions.strategies[strategy.id], type=type(strategy.state))
            for name in state.__struct_fields__:
                setattr(strategy.state, name, getattr(state, name))

    def adopt(self, copy: EngineCopy) -> None:
        """As `restore`, of an engine with other parameters but the same instruments and pairs: what happened is the copy's, what holds is one's own.

        Raises:
            InvariantBroken: as `restore`.
            LogError: as `restore`.
        """
        laid = parameters(self._kernel)
        self.restore(copy)
        lay_parameters(self._kernel, laid)
        self.execution.losses.go_on(self.now)

    # --- the fold

    @property
    def position(self) -> int:
        """seq of the last applied input, -1 before the first."""
        return self._world[_LAST_SEQ]

    @property
    def now(self) -> int:
        """Engine time, ns."""
        return self._world[_NOW]

    @property
    def wakes(self) -> int:
        """Wakes delivered so far."""
        return self._world[_WAKE_COUNT]

    def load(self, batch: Batch) -> None:
        """Take the next batch; the one before must have been run to its end."""
        self._batch = batch
        self._kernel.load(batch)
        self._slow_at = 0

    def run(self, until: int = NEVER) -> Stop:
        """Apply inputs with ts_recv up to `until`, and deadlines and timers before `until`.

        Returns when commands wait, when the next input is later than `until`, or at the end of the batch. Reports due at
        `until` are then to be given to `take_reports` before `run` goes on.
        """
        batch = self._batch
        if batch is None:
            raise InvariantBroken("run before load")
        if self.commands:
            return Stop.COMMANDS
        step, handle, world, events = self._step, self._handle, self._world, self._events
        self._set_stop(until)  # deadlines change with rows, reports and plans: with those the loop ends, or looks again
        slow, limit = self._next_slow(batch)
        while True:
            why = step(handle, limit)
            if not self._books_open:
                self._open_books()
                self._set_stop(until)
                early = why == fold.SLOW and (slow is None or slow.seq != limit)
                slow, limit = self._next_slow(batch)
                if early:
                    continue
            if why >= _EVENT:  # a strategy that asks for every event waits for little else than this
                on_wake, view, number, instrument = events[why]
                plans = on_wake(Wake(world[_NOW], "event", None, instrument), view)
                for plan in plans:
                    self._carry_out(number, plan)
                if self.commands:
                    return Stop.COMMANDS
                if plans:
                    self._set_stop(until)
                continue
            if why == fold.SLOW and slow is not None:
                is_place = slow.kind == PLACE  # it moves no time: where it was pruned, only its seq is known
                why = fold.before_row(self._handle, world[_NOW] if is_place else slow.ts_recv)
                if why == fold.END:
                    self._slow_rows.apply(slow, world[_NOW] if is_place else slow.ts_recv)
                    self.commands += self.execution.take()  # cancels of what lives where nothing is traded any more
                    if slow.kind in KINDS:
                        self._apply_live(slow)
                    elif slow.kind in CHAIN_KINDS:
                        self._apply_chain(slow)
                    elif slow.kind in ONCHAIN_KINDS:
                        self._apply_receipt(slow)
                    self._slow_at += 1
                    self._open_books()
                    slow, limit = self._next_slow(batch)
                    why = fold.WAKE
            if why == fold.END:
                self.outputs.take_kernel_rows()
                return Stop.END
            if why != fold.STOP:
                self._settle()
                self._set_stop(until)  # a plan that is refused may find a loss, which ends what is carried
            elif world[_STOP_TS] == until:
                return Stop.UNTIL
            else:
                self._fire_deadline()
                self._set_stop(until)
            if self.commands:
                return Stop.COMMANDS

    def _next_slow(self, batch: Batch) -> tuple[SlowRow | None, int]:
        """The next row outside the compiled kinds, and the seq before which the fold stops."""
        slow = batch.slow[self._slow_at] if self._slow_at < len(batch.slow) else None
        limit = NEVER if slow is None else slow.seq
        if not self._books_open:
            limit = min(limit, _first_seq(batch) + 1)  # the opening rows follow the first input, wherever batches are cut
        return slow, limit

    def take_commands(self) -> list[AnyCommand]:
        """The commands that wait, in the order in which they were decided."""
        taken, self.commands = self.commands, []
        return taken

    def take_reports(self, ts: int, reports: Sequence[Report]) -> None:
        """Apply simulated reports that are due at `ts`, in command order.

        Raises:
            InvariantBroken: `ts` lies before the engine's time.
        """
        if ts < self._world[_NOW]:
            raise InvariantBroken(f"reports due at {ts} come at {self._world[_NOW]}: the engine was run too far")
        if not reports:
            return  # none was due yet: a venue's horizon is a bound, and may depend on the batch
        self._world[_NOW] = ts
        self._world[_QUIET] = 0
        for report in reports:
            self.execution.record_report(report)
            self._hear(report)
        self._rearm()

    def take_cycle_reports(self, ts: int, reports: Sequence[CycleReport]) -> None:
        """Apply what simulated chains say of transactions at `ts`, in order, after the reports of orders at that time."""
        if ts < self._world[_NOW]:
            raise InvariantBroken(f"reports due at {ts} come at {self._world[_NOW]}: the engine was run too far")
        if not reports:
            return
        self._world[_NOW] = ts
        self._world[_QUIET] = 0
        for report in reports:
            self.outputs.emit("sim_receipts", receipt_row(report))
            self._hear_cycle(report)

    def _hear(self, report: Report) -> None:
        """Apply a report and wake the strategy that asked for those of its orders."""
        self.commands += self.execution.on_report(report)
        if self.execution.unhedged:
            self.commands += self.onchain.give_up(self.execution.unhedged)
        if self._own_reports:
            number = self._own_reports.get(self.execution.owner(report.order))
            if number is not None:
                self._call(number, Wake(report.ts, "report", None, report.instrument, report))

    def _apply_live(self, row: SlowRow) -> None:
        """Apply a row that only a live log has, after its time was taken note of."""
        if row.kind == "timers":
            number = self._live_rows.strategy(row)
            if self._strategies[number].id in dict(self.timers()):
                self._world[_WAKE_COUNT] += 1
                self._call(number, Wake(row.ts_recv, "timer", None))
        elif row.kind == "operator" and row.values["action"] == DISCREPANCY:
            self._stop_for(self._discrepancies.take(read_discrepancy(row.seq, row.values["detail"])))
        elif row.kind == "operator" and row.values["action"] == FEE:
            self._risk.fees.take(read_fee(row.seq, row.values["detail"]))
        elif row.kind == "operator":
            self.commands += self._live_rows.operate(row.values)
            if self._live_rows.cancels(row.values):
                self.commands += self.onchain.cancel_all()
        elif row.kind == "transfers":
            self._live_rows.transfer(row)
        else:
            report = self._live_rows.report(row)
            if report is not None:
                self._hear(report)
                self._rearm()
            else:
                self._stop_for(self._others.take(row.values))

    def _apply_chain(self, row: SlowRow) -> None:
        """Apply a row that says something of a chain; a block wakes the strategies that asked for those of its chain."""
        self.chains.apply(row)
        if row.kind != "blocks":
            return
        venue = row.values["venue"]
        self.commands += self.onchain.on_block(venue)
        for number, venues in self._on_blocks:
            if venue in venues:
                self._world[_WAKE_COUNT] += 1
                self._call(number, Wake(row.ts_recv, "block", venue=venue))

    def _apply_receipt(self, row: SlowRow) -> None:
        """Apply what a row says of a transaction of ours."""
        report = self.onchain.read(row)
        if report is not None:
            self._hear_cycle(report)

    def _hear_cycle(self, report: CycleReport) -> None:
        """Apply what became of a transaction, and wake the strategy that asked for what becomes of its own."""
        self.commands += self.onchain.apply(report)
        number = self._own_reports.get(report.strategy) if report.order is not None else None
        if number is not None:
            self._call(number, Wake(report.ts, "cycle", venue=report.venue, cycle=report))

    def _stop_for(self, found: Discrepancy | Strangers | None) -> None:
        """A venue has other money than our books, or others trade too much there: the end of new bundles; None: nothing is wrong."""
        if found is not None:
            self.distrust = found
            self._risk.armed = False
            self.commands += self.execution.kill(ENTRIES)

    def timers(self) -> list[tuple[str, int]]:
        """(strategy id, interval in ns) of the timers that are wanted now; a driver that delivers timers as rows asks for it."""
        return timers_wanted(self._strategies, self._kernel.tables[state.STRATEGIES])

    @property
    def next_due(self) -> int:
        """When the next deadline of the fold or of execution is due, ns; an input with a later ts_recv fires it. NEVER without one.

        The fold looks again at each input: what it knows of may lie later than this, never earlier. The beat at which losses are looked at
        needs no input of its own.
        """
        return min(self._world[_NEXT_DEADLINE], self._next_due())

    def _next_due(self) -> int:
        return min(self.execution.next_deadline(), self.chains.next_deadline())

    def _open_books(self) -> None:
        """Write the opening balances once, right after the first input."""
        if not self._books_open and self.position >= 0:
            self._books_open = True
            self.outputs.take_kernel_rows()
            self.portfolio.open_books(self._world[_NOW])
            self._risk.breakers.open_books()
            self.execution.open_books()
            self.onchain.open_books()

    def _set_stop(self, until: int) -> None:
        world = self._world
        stop = min(until, self._next_due(), self.execution.losses.next_beat)
        world[_STOP_TS] = stop
        world[_STOP_INCLUSIVE] = int(stop < until)
        world[_NEXT_EVENT] = min(world[_NEXT_DEADLINE], world[_NEXT_TIMER], stop)

    def _fire_deadline(self) -> None:
        world = self._world
        world[_NOW] = ts = world[_STOP_TS]
        if self._next_due() <= ts:
            world[_QUIET] = 0
            self.chains.on_deadline(ts)
            self.commands += self.execution.on_deadline(ts)
        if self.execution.losses.next_beat <= ts:
            self.execution.losses.beat(ts, world[_STOPPED_FOR])
            self.commands += self.execution.take()
        self._rearm()

    # --- wakes

    def _settle(self) -> None:
        """Hand the kernel's rows over and call the strategies that were woken."""
        world = self._world
        if world[_OUTS]:
            self.outputs.take_kernel_rows()
        count = world[_WAKES]
        if count == 0:
            return
        world[_WAKES] = 0
        now = world[_NOW]
        for strategy, kind, pair, instrument in sorted(_wakes_in(self._woken[: count * state.WAKE_WIDTH]), key=_strategy_of):
            self._call(strategy, Wake(now, state.WAKE_KINDS[kind], None if pair < 0 else self.episodes.edge(pair), instrument))

    def _rearm(self) -> None:
        """A bundle closed: its pair wakes again if its episode still stands."""
        for strategy, pair in self.execution.closed_since_last():
            if self.episodes.is_open(pair):
                self._call(self._by_id[strategy], Wake(self._world[_NOW], "rearm", self.episodes.edge(pair)))

    def _call(self, number: int, wake: Wake) -> None:
        on_wake, view = self._calls[number]
        for plan in on_wake(wake, view):
            self._carry_out(number, plan)

    def _carry_out(self, number: int, plan: Plan) -> None:
        if self._others.is_open:
            self._stop_for(self._others.judge())
        if isinstance(plan, CycleNote):
            self.cycles.note(self._strategies[number].id, plan)
            return
        if isinstance(plan, LeftOut):
            who = self._strategies[number]
            self.outputs.emit(
                "refusals", (who.account, who.id, None, None, None, plan.reason, plan.count * MONEY_ONE, plan.bound * MONEY_ONE)
            )
            return
        if isinstance(plan, AtomicPlan | SwapPlan):
            self._on_chain(number, plan)
            return
        if plan.cycle is not None:
            self._on_cycle(number, plan, plan.cycle)
            return
        pair = -1 if plan.opportunity is None else self._pair_of(number, plan.opportunity)
        if isinstance(plan, Pass):
            strategy = self._strategies[number]
            if plan.opportunity is None:
                raise InvariantBroken(f"strategy {strategy.id} passes on nothing: neither an opportunity nor a cycle")
            row = (strategy.account, strategy.id, plan.opportunity, None, None, plan.reason, plan.value, plan.bound)
            self.outputs.emit("refusals", row)
            self._decide(pair, plan.opportunity, "refused", plan.reason, None)
        else:
            self._submit(number, plan, pair)

    def _on_cycle(self, number: int, plan: BundlePlan | Pass, cycle: CycleFound) -> None:
        """A decision on a cycle: its rows bear the number of its opportunity."""
        strategy = self._strategies[number]
        opportunity = self.cycles.opportunity(strategy.id, cycle)
        bundle, reason = None, None
        if isinstance(plan, Pass):
            row = (strategy.account, strategy.id, opportunity, None, None, plan.reason, plan.value, plan.bound)
            self.outputs.emit("refusals", row)
            reason = plan.reason
        else:
            commands, bundle = self.execution.submit(msgspec.structs.replace(plan, opportunity=opportunity), strategy)
            self.commands += commands
            reason = self.execution.last_refusal if bundle is None else None
        self.cycles.decided(strategy.id, cycle, "refused" if bundle is None else "taken", reason=reason, bundle=bundle)

    def _on_chain(self, number: int, plan: AtomicPlan | SwapPlan) -> None:
        """A cycle that one transaction is to swap, or a path with an order that hedges it."""
        strategy, cycle = self._strategies[number].id, plan.cycle
        opportunity = None if cycle is None else self.cycles.opportunity(strategy, cycle)
        commands: Sequence[AnyCommand]
        if isinstance(plan, AtomicPlan):
            commands, bundle = self.onchain.submit(plan, strategy, opportunity)
        else:
            commands, bundle = self.onchain.submit_path(plan, strategy, opportunity)
        self.commands += commands
        if cycle is not None:
            reason = self.execution.last_refusal if bundle is None else None
            self.cycles.decided(strategy, cycle, "refused" if bundle is None else "taken", reason=reason, bundle=bundle)

    def _submit(self, number: int, plan: BundlePlan, pair: int) -> None:
        commands, bundle = self.execution.submit(plan, self._strategies[number], pair=pair)
        self.commands += commands
        if plan.opportunity is None:
            return
        if bundle is None:
            self._decide(pair, plan.opportunity, "refused", self.execution.last_refusal, None)
        else:
            self._decide(pair, plan.opportunity, "taken", None, bundle)

    def _decide(self, pair: int, opportunity: int, verdict: str, reason: str | None, bundle: int | None) -> None:
        standing, since = self.episodes.standing(pair)
        decided = (*standing, verdict, reason, bundle, self._world[_NOW] - since, None)
        self.outputs.emit("opportunities", (*self.outputs.episode(pair, opportunity, "decided"), *decided))

    def _pair_of(self, number: int, opportunity: int) -> int:
        pair = self.episodes.pair_of(number, opportunity)
        if pair is None:
            raise InvariantBroken(f"strategy {self._strategies[number].id} decided on unknown opportunity {opportunity}")
        return pair


def _first_seq(batch: Batch) -> int:
    """seq of the first compiled row, NEVER - 1 without one."""
    blocks = (batch.quotes, batch.deltas, batch.trades, batch.books)
    return min((int(block.seq[0]) for block in blocks if len(block.seq)), default=NEVER - 1)


def _strategy_of(row: tuple[int, ...]) -> int:
    return row[0]
