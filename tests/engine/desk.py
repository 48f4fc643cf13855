"""A trading desk for tests: an engine over hand-made quotes, plans and reports, with what it does as short texts.

Instruments are letters, each on a venue of that name: BTC/USD with prices and sizes without decimals and money in whole units. A strategy
plans whatever it was told to on the next event. Expected texts stand beside what was done.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from tests.defaults import engine_setup, feed_limits, strategy_terms
from tests.engine.table import Nothing, instrument
from xarb.engine.engine import Engine, Stop
from xarb.engine.kernel import state
from xarb.engine.strategy import BundlePlan, LegPlan, Pair, Plan, Strategy, View, Wake, Wakes
from xarb.engine.terms import StrategyTerms
from xarb.model.batch import NO_BOOKS, NO_DELTAS, NO_QUOTES, NO_TRADES, Batch, Quotes, field_dtype
from xarb.model.command import AnyCommand, Report, SubmitOrder
from xarb.model.event import SlowRow, named
from xarb.model.instrument import FeeTier, Instrument
from xarb.model.units import MONEY_ONE, NANOS_PER_S, NULL, Money, Ppb

HOUR = 3600 * NANOS_PER_S
FEE = Ppb(1_000_000)  # 10 bps


class Told:
    """A strategy that plans what it was told at the next event of any instrument."""

    def __init__(self, name: str, count: int, pairs: tuple[Pair, ...] = (), account: str = "main") -> None:
        self.id = name
        self.account = account
        self.state: msgspec.Struct = Nothing()
        self.plans: list[Plan] = []
        self.always: Callable[[], Plan] | None = None  # what it plans at every event besides
        self.woken: list[str] = []
        self._wakes = Wakes(every_event=tuple(range(count)), own_reports=True, pairs=pairs)

    def wakes(self) -> Wakes:
        """Every event of every instrument, and own reports."""
        return self._wakes

    def on_wake(self, wake: Wake, view: View) -> Sequence[Plan]:
        """What was told, once."""
        self.woken.append(wake.kind)
        if wake.kind != "event":
            return ()
        plans, self.plans = self.plans, []
        return plans if self.always is None else [*plans, self.always()]


class Desk:
    """An engine with instruments a, b, ... at 100 bid and 101 ask, rich accounts, and one or more strategies that do as told.

    A `quiet` one has no quotes yet.

    The strategies of `real`, whose terms are among the others, decide for themselves.
    """

    def __init__(
        self,
        letters: str = "ab",
        *,
        instruments: Sequence[Instrument] | None = None,
        terms: Mapping[str, StrategyTerms] | None = None,
        fee: FeeTier | None = None,
        opening: Mapping[tuple[str, str, str], Money] | None = None,
        real: Sequence[Strategy] = (),
        **setup: Any,
    ) -> None:
        self.letters = letters
        chosen = list(instruments or (instrument(letter) for letter in letters))
        terms = terms or {"s": strategy_terms()}
        if opening is None:
            opening = {("main", i.venue, asset): money(1_000_000) for i in chosen for asset in (i.base, i.quote)}
        tier = fee or FeeTier(maker_ppb=FEE, taker_ppb=FEE)
        pairs, quiet = setup.pop("pairs", ()), setup.pop("quiet", False)
        base: dict[str, Any] = {
            "instruments": chosen,
            "groups": [list(range(len(chosen)))],
            "sources": [state.SOURCE_QUOTES] * len(chosen),
            "limits": [feed_limits(liveness_ns=48 * HOUR, cache_ns=48 * HOUR, freeze_ns=0, outlier_floor_ppb=10**9, jump_ppb=0)]
            * len(chosen),
            "fees": {("main", number): tier for number in range(len(chosen))},
            "opening": opening,
            "connections": len(chosen),
            "log_id": "testlog1",
            "terms": terms,
        }
        deciding = {one.id: one for one in real}
        self.told = {name: Told(name, len(chosen), pairs) for name in terms if name not in deciding}
        self.engine = Engine(engine_setup(**(base | setup)), [*self.told.values(), *real])
        self.now = 0
        self.seq = 0
        self.rows: list[tuple[str, dict[str, Any]]] = []
        self.sent: list[AnyCommand] = []
        for number in () if quiet else range(len(chosen)):
            self.quote(number)

    def quote(self, number: int, bid: int = 100, ask: int = 101, *, ts: int | None = None, size: int = 1000) -> list[str]:
        """One quote a millisecond later, or at `ts`; what the engine did."""
        self.now = self.now + 1_000_000 if ts is None else ts
        self._load([self._row(number, bid, ask, size)])
        return self.advance()

    def quotes(self, when: Sequence[tuple[int, int]], *, size: int, learned: bool = False) -> list[str]:
        """Quotes of instruments at times, in batches of so many, behind a row of `instruments` if wanted; what the engine did."""
        did: list[str] = []
        for at in range(0, len(when), size):
            slow = []
            if learned and not at:
                slow = [SlowRow(self.seq, when[0][1], "instruments", msgspec.structs.asdict(self.engine.instruments[0]))]
                self.seq += 1
            rows = []
            for number, self.now in when[at : at + size]:
                rows.append(self._row(number, 100, 101, 1000))
            self._load(rows, slow)
            did += self.advance()
        return did

    def _row(self, number: int, bid: int, ask: int, size: int) -> dict[str, int]:
        values = {"seq": self.seq, "ts_recv": self.now, "ts_event": NULL, "conn": number, "inst": number, "venue_seq": NULL}
        self.seq += 1
        return values | {"bid": bid, "bid_qty": size, "ask": ask, "ask_qty": size}

    def _load(self, rows: Sequence[Mapping[str, int]], slow: Sequence[SlowRow] = ()) -> None:
        block = Quotes(*(np.array([row[name] for row in rows], field_dtype(name)) for name in Quotes._fields))
        first = slow[0].seq if slow else rows[0]["seq"]
        self.engine.load(Batch(first, rows[-1]["seq"], block, NO_DELTAS, NO_TRADES, NO_BOOKS, [*slow]))

    def learn(self, number: int, **changes: Any) -> list[str]:
        """An `instruments` row that replaces what is known of one, a millisecond later; what the engine did."""
        return self.slow("instruments", msgspec.structs.asdict(self.engine.instruments[number]) | changes)

    def slow(self, kind: str, values: dict[str, Any], *, ts: int | None = None) -> list[str]:
        """A row outside the compiled kinds a millisecond later, or at `ts`; what the engine did."""
        self.now = self.now + 1_000_000 if ts is None else ts
        row = SlowRow(self.seq, self.now, kind, values)
        self.engine.load(Batch(self.seq, self.seq, NO_QUOTES, NO_DELTAS, NO_TRADES, NO_BOOKS, [row]))
        self.seq += 1
        return self.advance()

    def advance(self) -> list[str]:
        """Run what was loaded; what the engine did."""
        did: list[str] = []
        while self.engine.run() is Stop.COMMANDS:
            did += self._did()
        return did + self._did()

    def tell(self, *legs: str, name: str = "s", sequence: str = "simultaneous", **plan: Any) -> list[str]:
        """Have a strategy plan legs such as "buy a 101 5", then let the next quote come; what the engine did."""
        self.told[name].plans.append(self.plan(*legs, sequence=sequence, **plan))
        return self.quote(0)

    def plan(self, *legs: str, sequence: str = "simultaneous", **changes: Any) -> BundlePlan:
        """A bundle of legs such as "sell b 100 5"."""
        made = []
        for leg in legs:
            side, letter, price, qty = leg.split()
            made.append(LegPlan(self.letters.index(letter), side, int(price), int(qty)))
        plan = BundlePlan(
            opportunity=None,
            legs=tuple(made),
            sequence=sequence,
            quote_seqs=(0, 1),
            expected_profit=Money(0),
            profit_asset="USD",
            edge_ppb=0,
        )
        return msgspec.structs.replace(plan, **changes)

    def report(self, order: int, event: str, *, later: int = 1_000_000, **values: Any) -> list[str]:
        """A report of an order a millisecond later; what the engine did."""
        self.now += later
        plan = self.engine.execution.order(order).plan
        made = Report(ts=self.now, order=order, instrument=plan.instrument, event=event, **values)
        self.engine.take_reports(self.now, [made])
        return self._did()

    def fill(self, order: int, price: int, qty: int, ident: str = "f1", *, fee: int = 0, fee_asset: str = "USD") -> list[str]:
        """A fill of an order; fees in whole units."""
        return self.report(
            order, "fill", price_int=price, qty_int=qty, fill_id=ident, fee=money(fee), fee_asset=fee_asset, liquidity="taker"
        )

    def drained(self, kind: str) -> list[dict[str, Any]]:
        """Rows of a kind so far."""
        return [row for name, row in self.rows if name == kind]

    def balance(self, letter: str, asset: str) -> int:
        """Balance in whole units."""
        return self.engine.portfolio.balance(("main", letter, asset)) // MONEY_ONE

    @property
    def bundle(self) -> Any:
        """The bundle of the last order."""
        return self.engine.execution.order(self.engine.execution.orders).bundle

    def _did(self) -> list[str]:
        did = []
        for drained in self.engine.outputs.drain():
            kind, row = drained[0], named(drained)
            self.rows.append((kind, row))
            if kind == "refusals":
                did.append(f"refuse {row['reason']}")
            elif kind == "commands" and row["kind"] == "submit":
                did.append(f"{row['purpose']} {row['order']} {row['side']} {row['venue']} {row['price_int']} {row['qty_int']}")
            elif kind == "commands":
                did.append(f"cancel {row['order']}")
        self.sent += self.engine.commands
        self.engine.commands.clear()
        return did


def money(units: int) -> Money:
    """Whole units as money."""
    return Money(units * MONEY_ONE)


__all__ = ["FEE", "HOUR", "Desk", "SubmitOrder", "Told", "money"]
