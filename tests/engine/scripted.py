"""A scripted venue around the real engine: what it says of each order, and when, is given; time moves by quotes.

It is honest in what it fills: never more than ordered, never at a worse price than the limit. Everything else may come in any order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from heapq import heappop, heappush
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from tests.engine.desk import Desk
from xarb.engine.engine import Stop
from xarb.model.batch import NO_BOOKS, NO_DELTAS, NO_TRADES, Batch, Quotes, field_dtype
from xarb.model.command import AnyCommand, Report, SubmitOrder
from xarb.model.order import ORDER_TERMINAL
from xarb.model.units import MONEY_ONE, NANOS_PER_MS, NANOS_PER_S, NULL, PPB, Money, ceil_div

FINAL = ("canceled", "rejected", "expired")


class Said(NamedTuple):
    """One thing that a venue says of an order, `delay_ms` after the one before: an event, or a fill of up to `qty`, or one again."""

    delay_ms: int
    event: str
    qty: int = 1


class Tick(NamedTuple):
    """A quote, `gap_ms` after the one before."""

    gap_ms: int
    number: int
    bid: int


class Venue:
    """Answers commands by scripts: order n uses script n, cyclically, a cancel the same way."""

    def __init__(
        self, desk: Desk, scripts: Sequence[Sequence[Said]], cancels: Sequence[Sequence[Said]], fee: tuple[str, int]
    ) -> None:
        self.desk = desk
        self.scripts = scripts
        self.cancels = cancels
        self.fee_asset, self.fee_ppb = fee
        self.queue: list[tuple[int, int, Report]] = []
        self.orders: dict[int, SubmitOrder] = {}
        self.filled: dict[int, int] = {}
        self.last_fill: dict[int, Report] = {}
        self.final: set[int] = set()
        self.late = False
        self.expected: dict[tuple[str, str], Fraction] = {}
        self.count = 0

    def take(self, commands: Sequence[AnyCommand]) -> None:
        """What follows from commands."""
        for command in commands:
            if isinstance(command, SubmitOrder):
                self.orders[command.order] = command
                self.plan(command.order, command.ts, self.scripts[command.order % len(self.scripts)])
            elif self.cancels:
                self.plan(command.order, command.ts, self.cancels[command.order % len(self.cancels)])

    def plan(self, number: int, ts: int, script: Sequence[Said]) -> None:
        """Put a script's reports into the queue."""
        for said in script:
            ts += said.delay_ms * NANOS_PER_MS
            report = self.report(number, said)
            if report is not None:
                self.count += 1
                heappush(self.queue, (ts, self.count, report))

    def report(self, number: int, said: Said) -> Report | None:
        """A report whose `ts` is set when it is due."""
        order = self.orders[number]
        if said.event == "again":
            return self.last_fill.get(number)
        if said.event != "fill":
            return Report(ts=0, order=number, instrument=order.instrument, event=said.event)
        qty = min(said.qty, order.qty_int - self.filled.get(number, 0))
        if qty == 0:
            return None
        self.filled[number] = self.filled.get(number, 0) + qty
        sign = 1 if order.side == "buy" else -1
        value = qty * order.price_int * MONEY_ONE
        asset = {"quote": "USD", "base": "BTC"}.get(self.fee_asset, self.fee_asset)
        fee = ceil_div((qty * MONEY_ONE if asset == "BTC" else value) * self.fee_ppb, PPB * (100 if asset == "BNB" else 1))
        venue = self.desk.letters[order.instrument]
        for name, change in (("BTC", sign * qty * MONEY_ONE), ("USD", -sign * value), (asset, -fee)):
            self.expected[venue, name] = self.expected.get((venue, name), Fraction(0)) + Fraction(change, MONEY_ONE)
        made = Report(
            ts=0,
            order=number,
            instrument=order.instrument,
            event="fill",
            fill_id=f"f{self.filled[number]}",
            price_int=order.price_int,
            qty_int=qty,
            fee=Money(fee),
            fee_asset=asset,
        )
        self.last_fill[number] = made
        return made

    def due(self, ts: int) -> list[Report]:
        """Reports due up to `ts`."""
        found = []
        while self.queue and self.queue[0][0] <= ts:
            _, _, report = heappop(self.queue)
            if report.event == "fill" and report.order in self.final:
                self.late = True
            if report.event in FINAL:
                self.final.add(report.order)
            found.append(report)
        return found

    def run(self, ticks: Sequence[Tick], cuts: Sequence[int] = (), check: Callable[[], None] = lambda: None) -> None:
        """Fold quotes in batches that end before each of `cuts`; `check` is called whenever the engine stopped."""
        engine = self.desk.engine
        bounds = [0, *sorted({cut for cut in cuts if 0 < cut < len(ticks)}), len(ticks)]
        for start, end in pairwise(bounds):
            if start == end:
                continue
            engine.load(self.batch(ticks[start:end]))
            while True:
                until = self.queue[0][0] if self.queue else self.desk.now + 10**18
                why = engine.run(until)
                check()
                if why is Stop.COMMANDS:
                    self.take(engine.take_commands())
                elif why is Stop.UNTIL:
                    engine.take_reports(until, self.due(until))
                    check()
                else:
                    break

    def batch(self, ticks: Sequence[Tick]) -> Batch:
        """Quotes as one batch."""
        columns: dict[str, list[int]] = {name: [] for name in Quotes._fields}
        first = self.desk.seq
        for tick in ticks:
            self.desk.now += tick.gap_ms * NANOS_PER_MS
            row = {"seq": self.desk.seq, "ts_recv": self.desk.now, "ts_event": NULL, "conn": tick.number, "inst": tick.number}
            row |= {"venue_seq": NULL, "bid": tick.bid, "bid_qty": 1000, "ask": tick.bid + 1, "ask_qty": 1000}
            for name, value in row.items():
                columns[name].append(value)
            self.desk.seq += 1
        block = Quotes(*(np.array(columns[name], field_dtype(name)) for name in Quotes._fields))
        return Batch(first, self.desk.seq - 1, block, NO_DELTAS, NO_TRADES, NO_BOOKS, [])

    def finish(self, check: Callable[[], None] = lambda: None) -> None:
        """Nobody plans any more; let everything be said, then have every order that lives canceled, until no bundle is open.

        New orders get an honest answer from here on: a venue that says of every one that it was not sent, and fills it, ends no bundle ever.
        """
        self.scripts, self.cancels = [[Said(1, "fill", 10**6)]], []
        execution = self.desk.engine.execution
        for told in self.desk.told.values():
            told.always = None
        for _ in range(200):
            self.run([Tick(1000, 0, 100)], check=check)
            alive = [n for n in range(1, execution.orders + 1) if execution.order(n).state not in ORDER_TERMINAL]
            if not self.queue and not alive and not any(execution.open_bundles(name) for name in self.desk.told):
                return
            if not self.queue:
                for number in alive:
                    self.plan(number, self.desk.now, [Said(1, "canceled")])
        raise AssertionError("a bundle never ends")


def rows_of(desk: Desk) -> list[tuple[Any, ...]]:
    """All output rows so far, drained."""
    return list(desk.engine.outputs.drain())


__all__ = ["FINAL", "NANOS_PER_S", "Said", "Tick", "Venue", "rows_of"]
