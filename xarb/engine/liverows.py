"""Inputs that only a live log has: timers as they were delivered, reports of real venues, deposits and withdrawals, acts of the operator.

A timer wakes its strategy under the kernel's own condition. A report of an earlier start's order counts where this start took up its bundle; one
of any other order, or of an order that is not ours, is recorded and changes nothing here: the start after it opens with what reconciliation
found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from xarb.engine.discrepancy import fill_changes, is_complete
from xarb.engine.execution import Execution
from xarb.engine.portfolio import FOREIGN
from xarb.engine.risk import Risk
from xarb.engine.strategy import Strategy
from xarb.errors import LogError
from xarb.model.columns import REPORT_EVENTS
from xarb.model.command import Command, Report
from xarb.model.event import SlowRow
from xarb.model.instrument import Instrument
from xarb.model.order import ENTRIES, KILL_LEVELS, STOP
from xarb.model.units import MONEY_SCALE, NANOS_PER_S

if TYPE_CHECKING:
    import numpy as np

KINDS: Final = ("timers", "reports", "operator", "transfers")
ARM: Final = "arm"
DISARM: Final = "disarm"
CANCEL: Final = "cancel"  # every order that may still fill, and nothing else
KILL: Final = "kill"  # disarm, for good, and as far as its level says (`kill_level`); it takes a `reset` before another start
RESET: Final = "reset"
_SURE_NS: Final = 10 * NANOS_PER_S  # so long after the opening a fill is in no balance asked for before it, whatever clocks say
CREDITED: Final = "ok"  # the word for a transfer that is done, and for one on its way
ASKED: Final = "pending"
RESET_BREAKERS: Final = "reset_breakers"  # between starts: the next one begins with all breakers closed
FORGET_INVENTORY: Final = "forget_inventory"  # between starts: the next one begins flat, with no exposure and no open bundle
FORGET: Final = "forget_losses"  # between starts: the next one counts its losses, and the peak of its result, from nothing


class LiveRows:
    """Applies them after the kernel has taken note of the row's time.

    Args:
        execution: follows our orders.
        risk: whose `armed` the operator sets.
        instruments: by number, as they are known now.
        strategies: in id order, as the kernel numbers them.
        start: number of this start: reports of other starts' orders are not of ours.
    """

    def __init__(
        self, execution: Execution, risk: Risk, instruments: Sequence[Instrument], strategies: Sequence[Strategy], *, start: int
    ) -> None:
        self._execution = execution
        self._portfolio = execution.portfolio
        self._risk = risk
        self._instruments = instruments
        self._numbers = {(one.venue, one.symbol): number for number, one in enumerate(instruments)}
        self._strategies = {strategy.id: number for number, strategy in enumerate(strategies)}
        self._start = start

    def strategy(self, row: SlowRow) -> int:
        """The number of the strategy that a timer is for.

        Raises:
            LogError: there is none of that id.
        """
        number = self._strategies.get(row.values["strategy"])
        if number is None:
            raise LogError(f"seq {row.seq}: a timer for {row.values['strategy']!r}, which is no strategy of this start")
        return number

    def report(self, row: SlowRow) -> Report | None:
        """The report of a row, None where it changes nothing: of an order that this start does not know, or no news of its state.

        Raises:
            LogError: the order, the instrument or the price is none of this start's.
        """
        values = row.values
        order = values["order"]
        if values["start"] != self._start or order is None:
            order = None if order is None else self._execution.order_of(values["start"], order)
            self._stray(row, is_taken_up=order is not None)
            if order is None:
                return None
        if values["event"] not in REPORT_EVENTS:
            return None
        number = self._numbers.get((values["venue"], values["symbol"]))
        if number is None or order > self._execution.orders or order == 0:
            where = f"{values['symbol']}@{values['venue']}"
            raise LogError(f"seq {row.seq}: a report of order {order} on {where}; {self._execution.orders} orders were sent")
        one = self._instruments[number]
        return Report(
            ts=row.ts_recv,
            order=order,
            instrument=number,
            event=values["event"],
            venue_order_id=values["venue_order_id"],
            fill_id=values["fill_id"],
            price_int=_at_scale(row.seq, "price", values["price"], one.px_scale),
            qty_int=_at_scale(row.seq, "qty", values["qty"], one.qty_scale),
            fee=values["fee"],
            fee_asset=values["fee_asset"],
            liquidity=values["liquidity"],
            reason=values["reason"] or values["error"],
        )

    def _stray(self, row: SlowRow, *, is_taken_up: bool) -> None:
        """A fill of another start's order, or of somebody else's, is booked where it came after what our books opened with.

        Where it may have been in that already, or nobody says which side it was, it may explain why the venue has other money. One that `is_taken_up`
        is booked as our own fills are; what it changed may have been adjusted before it was told, and is then taken back.
        """
        values = row.values
        number = self._numbers.get((values["venue"], values["symbol"]))
        if values["event"] != "fill" or number is None or not is_complete(values):
            return
        side, happened = values["side"], values["ts_event"]
        is_new = happened is not None and happened > self._portfolio.opened_at + _SURE_NS
        signs = (1, -1) if side is None else (1,) if side == "buy" else (-1,)
        for sign in signs:
            for asset, change in fill_changes(values, self._instruments[number], sign).items():
                place = (values["account"], values["venue"], asset)
                if is_taken_up:
                    if not is_new:
                        self._portfolio.stray(place, -change, row.ts_recv)
                elif is_new and side is not None:
                    self._portfolio.charge(place, change, FOREIGN)
                else:
                    self._portfolio.stray(place, change, row.ts_recv)

    def transfer(self, row: SlowRow) -> None:
        """A deposit counts once it is credited, a withdrawal from its request on until it failed.

        A withdrawal that was asked for before this start is left out: what the start opened with had left already. One of the last seconds before
        it may have left after that was asked for, and explains a difference.
        """
        values, asked, opened_at = row.values, row.values["ts_event"], self._portfolio.opened_at
        place = (values["account"], values["venue"], values["asset"])
        if values["qty"] < 0 and (asked is None or asked < opened_at):
            if asked is not None and asked > opened_at - _SURE_NS and values["status"] == CREDITED:
                self._portfolio.stray(place, transferred(values), row.ts_recv)
            return
        self._portfolio.transfer(transfer_name(values), place, transferred(values))

    def cancels(self, values: Mapping[str, Any]) -> bool:
        """Whether what a person asked ends every order that may still fill."""
        return values["action"] == CANCEL or (values["action"] == KILL and kill_level(values["detail"]) != ENTRIES)

    def operate(self, values: Mapping[str, Any]) -> list[Command]:
        """Do what a person asked; the commands that follow. An act that is none of ours changes nothing."""
        action = values["action"]
        if action in (ARM, DISARM, KILL):
            self._risk.armed = action == ARM and self._execution.killed is None
        if action == KILL:
            return self._execution.kill(kill_level(values["detail"]))
        if action == ARM and self._risk.armed:
            return self._execution.go_on()
        return self._execution.cancel_all() if action == CANCEL else []


def kill_level(detail: str | None) -> str:
    """The level of a kill's row: its detail up to a colon, behind which it says why; or the highest where that is none."""
    level = "" if detail is None else detail.partition(":")[0]
    return level if level in KILL_LEVELS else STOP


def transfer_name(values: Mapping[str, Any]) -> str:
    """What the rows of one deposit or withdrawal have in common."""
    qty = values["qty"]
    name = values["transfer_id"] or f"{qty} {values['ts_event']}"
    return f"{values['account']}|{values['venue']}|{values['asset']}|{'in' if qty > 0 else 'out'}|{name}"


def transferred(values: Mapping[str, Any]) -> int:
    """What a deposit or withdrawal has changed in all, once it stands as a row of `transfers` says."""
    qty, status = values["qty"], values["status"]
    if qty > 0:
        return qty if status == CREDITED else 0
    return qty - (values["fee"] or 0) if status in (CREDITED, ASKED) else 0


def timers_wanted(strategies: Sequence[Strategy], table: np.ndarray[Any, np.dtype[Any]]) -> list[tuple[str, int]]:
    """(strategy id, interval in ns) of the scans that are wanted now: those that need an edge only while one stands.

    Args:
        strategies: in id order.
        table: the kernel's STRATEGIES table.
    """
    wanted = []
    for number, strategy in enumerate(strategies):
        wakes = strategy.wakes()
        if wakes.timer_ns > 0 and (not wakes.timer_needs_edge or table[number]["open_pairs"] > 0):
            wanted.append((strategy.id, wakes.timer_ns))
    return wanted


def _at_scale(seq: int, name: str, value: int | None, scale: int) -> int | None:
    """Money as an integer at an instrument's scale.

    Raises:
        LogError: it has more decimals than that.
    """
    if value is None:
        return None
    unit: int = 10 ** (MONEY_SCALE - scale)
    whole, rest = divmod(value, unit)
    if rest:
        raise LogError(f"seq {seq}: the report's {name} has more than the instrument's {scale} decimals")
    return whole
