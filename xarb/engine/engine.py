"""The engine: a fold over inputs that decides. The same object runs a recorded log and a live one.

The driver loads batches, calls `run`, carries commands to venues and reports back. The engine never waits and reads no clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

import msgspec

from xarb.engine.execution import Execution
from xarb.engine.kernel import feed, fold, state
from xarb.engine.kernel.book import ASK, BID
from xarb.engine.outputs import Outputs
from xarb.engine.portfolio import Portfolio
from xarb.engine.risk import Risk
from xarb.engine.setup import Setup, build_state, lay_mid_units, lay_steps, lay_thresholds
from xarb.engine.strategy import BestQuote, BundlePlan, Edge, FeedView, Pass, Strategy, Wake
from xarb.errors import InvariantBroken
from xarb.model.batch import Batch
from xarb.model.columns import FEED_STATES
from xarb.model.command import Command, Report
from xarb.model.event import SlowRow
from xarb.model.instrument import FeeTier, Instrument
from xarb.model.units import NEVER, NULL, Money

if TYPE_CHECKING:
    import numpy as np

_CONNECTION_EVENTS: Final = {
    "opened": feed.CONNECTED,
    "subscribed": feed.CONNECTED,
    "gap": feed.GAP,
    "lost": feed.LOST,
    "closed": feed.LOST,
    "heartbeat": -1,
}


class Stop(Enum):
    """Why `Engine.run` returned."""

    END = "the batch is used up"
    COMMANDS = "commands wait to be taken"
    UNTIL = "the next input is later than `until`"


class Engine:
    """Folds inputs into outputs and commands.

    Args:
        setup: instruments, limits, fees and opening balances.
        strategies: in id order; their ids are unique.
    """

    def __init__(self, setup: Setup, strategies: Sequence[Strategy]) -> None:
        self.instruments: list[Instrument] = list(setup.instruments)
        self._setup = setup
        self._strategies = sorted(strategies, key=lambda s: s.id)
        self._kernel, pairs = build_state(setup, self._strategies)
        lay_mid_units(self._kernel, setup.groups, self.instruments)
        self._world = self._kernel.world
        self._handle = self._kernel.handle
        self._records: Any = self._kernel.tables[state.INSTRUMENTS]
        self._pairs: Any = self._kernel.tables[state.PAIRS]
        self.outputs = Outputs(self._kernel, self.instruments)
        self.outputs.pairs = pairs
        self._pairs_of = [
            [at for at in range(len(pairs)) if self._pairs[at]["strategy"] == number] for number in range(len(self._strategies))
        ]
        places = [int(record["number"]) for record in self._pairs]
        for mine in self._pairs_of:
            mine.sort(key=places.__getitem__)
        self._numbers = {(i.venue, i.symbol): number for number, i in enumerate(self.instruments)}
        self.commands: list[Command] = []
        self.portfolio = Portfolio(self.outputs, setup.opening, setup.terms)
        risk = Risk(self, self.portfolio, setup, self._strategies)
        self.execution = Execution(self, self.outputs, self.portfolio, risk=risk, setup=setup)
        self._books_open = False
        self._batch: Batch | None = None
        self._slow_at = 0
        self._views = [StrategyView(self, s, number) for number, s in enumerate(self._strategies)]

    # --- the fold

    @property
    def position(self) -> int:
        """seq of the last applied input, -1 before the first."""
        return int(self._world["last_seq"])

    @property
    def now(self) -> int:
        """Engine time, ns."""
        return int(self._world["now"])

    @property
    def wakes(self) -> int:
        """Wakes delivered so far."""
        return int(self._world["wake_count"])

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
        while True:
            if self.commands:
                return Stop.COMMANDS
            slow = batch.slow[self._slow_at] if self._slow_at < len(batch.slow) else None
            limit = NEVER if slow is None else slow.seq
            if not self._books_open:
                limit = min(limit, _first_seq(batch) + 1)  # the opening rows follow the first input, wherever batches are cut
            self._set_stop(until)
            why = fold.run(self._handle, limit)
            if not self._books_open:
                self._open_books()
            if why == fold.SLOW and (slow is None or slow.seq != limit):
                continue
            if why == fold.SLOW and slow is not None:
                why = fold.before_row(self._handle, slow.ts_recv)
                if why == fold.END:
                    self._apply_slow(slow)
                    self._slow_at += 1
                    self._open_books()
                    why = fold.WAKE
            if why == fold.END:
                self.outputs.take_kernel_rows()
                return Stop.END
            if why == fold.STOP:
                if int(self._world["stop_ts"]) == until:
                    return Stop.UNTIL
                self._fire_deadline()
            else:
                self._settle()

    def take_commands(self) -> list[Command]:
        """The commands that wait, in the order in which they were decided."""
        taken, self.commands = self.commands, []
        return taken

    def take_reports(self, ts: int, reports: Sequence[Report]) -> None:
        """Apply simulated reports that are due at `ts`, in command order."""
        self._world["now"] = ts
        self._world["quiet"] = 0
        for report in reports:
            self.execution.record_report(report)
            self.commands += self.execution.on_report(report)
            for number, strategy in enumerate(self._strategies):
                if strategy.wakes().own_reports and self.execution.owner(report.order) == strategy.id:
                    self._call(number, Wake(self.now, "report", None, report.instrument, report))
        self._rearm()

    def _open_books(self) -> None:
        """Write the opening balances once, right after the first input."""
        if not self._books_open and self.position >= 0:
            self._books_open = True
            self.outputs.take_kernel_rows()
            self.portfolio.open_books()

    def _set_stop(self, until: int) -> None:
        world = self._world
        stop = min(until, self.execution.next_deadline())
        world["stop_ts"] = stop
        world["stop_inclusive"] = int(stop < until)
        world["next_event"] = min(int(world["next_deadline"]), int(world["next_timer"]), stop)

    def _fire_deadline(self) -> None:
        ts = int(self._world["stop_ts"])
        self._world["now"] = ts
        self._world["quiet"] = 0
        self.commands += self.execution.on_deadline(ts)
        self._rearm()

    # --- wakes

    def _settle(self) -> None:
        """Hand the kernel's rows over and call the strategies that were woken."""
        count = int(self._world["wakes"])
        self.outputs.take_kernel_rows()
        if count == 0:
            return
        rows = self._kernel.tables[state.WAKES][: count * state.WAKE_WIDTH].reshape(count, state.WAKE_WIDTH).tolist()
        self._world["wakes"] = 0
        rows.sort(key=_strategy_of)
        for strategy, kind, pair, instrument in rows:
            edge = self.edge(pair) if pair >= 0 else None
            self._call(strategy, Wake(self.now, state.WAKE_KINDS[kind], edge, instrument))

    def _rearm(self) -> None:
        """A bundle closed: its pair wakes again if its episode still stands."""
        for closed in self.execution.closed_since_last():
            if closed.opportunity is None:
                continue
            for number, strategy in enumerate(self._strategies):
                if strategy.id != closed.strategy:
                    continue
                for pair in self._pairs_of[number]:
                    record = self._pairs[pair]
                    if record["status"] == state.PAIR_OPEN and record["opportunity"] == closed.opportunity:
                        self._call(number, Wake(self.now, "rearm", self.edge(pair)))

    def _call(self, number: int, wake: Wake) -> None:
        strategy = self._strategies[number]
        for plan in strategy.on_wake(wake, self._views[number]):
            if isinstance(plan, Pass):
                self._decide(number, plan.opportunity, "refused", plan.reason, None)
            else:
                self._submit(number, plan)

    def _submit(self, number: int, plan: BundlePlan) -> None:
        commands, bundle = self.execution.submit(plan, self._strategies[number])
        self.commands += commands
        if plan.opportunity is None:
            return
        if bundle is None:
            refusal = self.outputs.last_refusal
            self._decide(number, plan.opportunity, "refused", refusal["reason"] if refusal else "refused", None)
        else:
            self._decide(number, plan.opportunity, "taken", None, bundle)

    def _decide(self, number: int, opportunity: int, verdict: str, reason: str | None, bundle: int | None) -> None:
        pair = next((at for at in self._pairs_of[number] if self._pairs[at]["opportunity"] == opportunity), None)
        if pair is None:
            raise InvariantBroken(f"strategy {self._strategies[number].id} decided on unknown opportunity {opportunity}")
        record = self._pairs[pair]
        sell, buy = self._records[record["sell"]], self._records[record["buy"]]
        standing = record["status"] == state.PAIR_OPEN
        row: dict[str, Any] = self.outputs.episode(pair, opportunity)
        row["phase"] = "decided"
        row["edge_ppb"] = int(fold.pair_edge(self._handle, pair)) if standing else None
        row["best_edge_ppb"] = int(record["best_edge"])
        row["bid_int"], row["ask_int"] = _known(sell["bid"]), _known(buy["ask"])
        row["sell_seq"], row["buy_seq"] = int(sell["bid_seq"]), int(buy["ask_seq"])
        row["verdict"], row["reason"], row["bundle"] = verdict, reason, bundle
        row["life_ns"] = self.now - int(record["since"])
        self.outputs.emit("opportunities", row)

    def edge(self, pair: int) -> Edge:
        """The episode of a kernel pair as a strategy sees it."""
        record = self._pairs[pair]
        standing = record["status"] == state.PAIR_OPEN
        return Edge(
            int(record["number"]),
            int(record["opportunity"]),
            int(fold.pair_edge(self._handle, pair)) if standing else 0,
            int(record["best_edge"]),
            int(record["since"]),
            bool(record["abnormal"]),
        )

    def open_edges(self, number: int) -> list[Edge]:
        """Open episodes of a strategy in pair order."""
        status = self._pairs["status"]
        return [self.edge(at) for at in self._pairs_of[number] if status[at] == state.PAIR_OPEN]

    # --- rows outside the compiled kinds

    def _apply_slow(self, row: SlowRow) -> None:
        fold.begin_row(self._handle, row.seq, row.ts_recv)
        if row.kind == "instruments":
            self._apply_instrument(row.values)
        elif row.kind == "connections":
            self._apply_connection(row.values)
        elif row.kind == "rejects":
            number = self._numbers.get((row.values["venue"] or "", row.values["symbol"] or ""))
            if number is not None:
                self._records[number]["bad_rows"] += 1

    def _apply_connection(self, values: dict[str, Any]) -> None:
        event = _CONNECTION_EVENTS.get(values["event"])
        if event is None:
            return  # a resync is shown by the snapshot rows that follow it
        number = -1 if values["symbol"] is None else self._numbers.get((values["venue"], values["symbol"]), -1)
        if number < 0 and values["symbol"] is not None:
            return
        fold.connection_row(self._handle, int(values["conn"]), number, event)

    def _apply_instrument(self, values: dict[str, Any]) -> None:
        number = self._numbers[values["venue"], values["symbol"]]
        before = self.instruments[number]
        fields = {field.name for field in msgspec.structs.fields(Instrument)}
        after = msgspec.structs.replace(before, **{name: value for name, value in values.items() if name in fields})
        if after == before:
            return
        self.instruments[number] = after
        record = self._records[number]
        price, quantity = 10 ** (after.px_scale - before.px_scale), 10 ** (after.qty_scale - before.qty_scale)
        self._rescale(record, price, quantity)
        if price != 1 or quantity != 1:
            self.execution.rescale(number, price, quantity)
        lay_steps(record, after)
        if after.px_scale != before.px_scale:
            lay_mid_units(self._kernel, self._setup.groups, self.instruments)
        for at, (_, pair) in enumerate(self.outputs.pairs):
            if number in (pair.sell, pair.buy, pair.convert):
                lay_thresholds(self._pairs[at], pair, self.instruments)

    def _rescale(self, record: np.void, price: int, quantity: int) -> None:
        """A finer scale: every stored price and quantity grows by a power of ten."""
        if price == quantity == 1:
            return
        for field, factor in (("bid", price), ("ask", price), ("bid_qty", quantity), ("ask_qty", quantity)):
            if record[field] != NULL:
                record[field] *= factor
        record["median_spread"] *= price
        record["spreads"] *= price
        slot = int(record["slot"])
        if slot >= 0:
            start, end = slot * 2 * state.BOOK_LEVELS, (slot + 1) * 2 * state.BOOK_LEVELS
            prices: Any = self._kernel.tables[state.BOOK_PX][start:end]
            prices *= price
            sizes: Any = self._kernel.tables[state.BOOK_QTY][start:end]
            sizes[sizes != NULL] *= quantity

    # --- what execution, risk and strategies may look at

    def instrument(self, number: int) -> Instrument:
        """The instrument as it is known now."""
        return self.instruments[number]

    def best(self, number: int) -> BestQuote:
        """Best quote."""
        record = self._records[number]
        return BestQuote(
            _known(record["bid"]),
            _known(record["bid_qty"]),
            _known(record["ask"]),
            _known(record["ask_qty"]),
            int(record["bid_seq"]),
            int(record["ask_seq"]),
            int(record["ts_last"]),
        )

    def levels(self, number: int, side: str, depth: int = 10) -> list[tuple[int, int | None]]:
        """Best levels of a side, best first."""
        record = self._records[number]
        slot = int(record["slot"])
        if slot < 0:
            price, size = _known(record[side]), _known(record[f"{side}_qty"])
            return [] if price is None else [(price, size)]
        start = (slot * 2 + (BID if side == "bid" else ASK)) * state.BOOK_LEVELS
        end = start + int(record[f"{side}s"])
        first = max(start, end - depth)
        prices = self._kernel.tables[state.BOOK_PX][first:end].tolist()
        sizes = self._kernel.tables[state.BOOK_QTY][first:end].tolist()
        return [(price, _known(size)) for price, size in zip(reversed(prices), reversed(sizes), strict=True)]

    def feed(self, number: int) -> FeedView:
        """State of a feed."""
        record = self._records[number]
        return FeedView(FEED_STATES[int(record["state"])], int(record["score"]), bool(record["tradable"]))

    def fee(self, account: str, number: int) -> FeeTier:
        """Fee tier of an account on the instrument's venue."""
        return self._setup.fees[account, number]


class StrategyView:
    """The engine as one strategy sees it: its own account, bundles and episodes."""

    def __init__(self, engine: Engine, strategy: Strategy, number: int) -> None:
        self._engine = engine
        self._strategy = strategy
        self._number = number
        self.instrument = engine.instrument
        self.quote = engine.best
        self.levels = engine.levels
        self.feed = engine.feed

    @property
    def now(self) -> int:
        """Engine time, ns."""
        return self._engine.now

    @property
    def instruments(self) -> Sequence[Instrument]:
        """Instruments by number."""
        return self._engine.instruments

    def fee(self, instrument: int) -> FeeTier:
        """Fee tier of this strategy's account there."""
        return self._engine.fee(self._strategy.account, instrument)

    def free(self, venue: str, asset: str) -> Money:
        """Free balance of this strategy's account within its budget."""
        return Money(self._engine.execution.free(self._strategy, venue, asset))

    def open_bundles(self) -> int:
        """Open bundles of this strategy."""
        return self._engine.execution.open_bundles(self._strategy.id)

    def edges(self) -> list[Edge]:
        """Open episodes of this strategy, in pair order."""
        return self._engine.open_edges(self._number)


def _first_seq(batch: Batch) -> int:
    """seq of the first compiled row, NEVER - 1 without one."""
    blocks = (batch.quotes, batch.deltas, batch.trades, batch.books)
    return min((int(block.seq[0]) for block in blocks if len(block.seq)), default=NEVER - 1)


def _strategy_of(row: list[int]) -> int:
    return row[0]


def _known(value: Any) -> int | None:  # a numpy scalar or an int
    return None if value == NULL else int(value)
